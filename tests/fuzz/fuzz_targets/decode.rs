//! Any bytes as replies: the three ways to find a reply's end agree, nothing panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::resp::decode::{Scan, decode, skip};

fuzz_target!(|input: &[u8]| {
    let mut scan = Scan::default();
    let mut resumed = Ok(None);
    for upto in 0..=input.len() {
        resumed = scan.resume(&input[..upto]);
        if resumed != Ok(None) {
            break;
        }
    }
    let skipped = skip(input);
    if let Ok(Some(end)) = skipped {
        assert_eq!(resumed, skipped);
        if let Ok(decoded) = decode(input) {
            assert_eq!(decoded.map(|it| it.1), Some(end.len));
        }
    } else {
        assert_eq!(decode(input).err(), skipped.err());
    }
});
