//! Any bytes as what RESTORE is given: nothing panics, and a value that was taken is written, taken again, and
//! written the same.
//!
//! The footer is made right, for without it nearly every input ends at once; the first byte of the input may leave
//! that out.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::snapshot::build::Making;
use ringfold::snapshot::encode_value::{self, Slices};
use ringfold::snapshot::payload::{self, Restored};
use ringfold::types::object::Body;
use ringfold::types::packing::Packing;
use ringfold::types::store::Hasher;

fuzz_target!(|input: &[u8]| {
    let [choice, input @ ..] = input else { return };
    let mut bytes = input.to_vec();
    if choice % 8 != 0 {
        payload::seal(&mut bytes);
    }
    let Some(value) = payload::open(&bytes) else { return };
    let Some(Restored::Collection(body)) = payload::read(value, making()) else { return };
    let Some(written) = write(body) else { return };
    let Some(Restored::Collection(again)) = payload::read(&written, making()) else {
        panic!("what was written is not read: {}", written.escape_ascii());
    };
    assert_eq!(write(again), Some(written));
});

fn making() -> Making {
    Making { hasher: Hasher::new([1, 2, 3, 4]), packing: Packing::default() }
}

fn write(body: Body) -> Option<Vec<u8>> {
    match body {
        Body::Packed(encoding, bytes) => {
            let mut out = vec![encode_value::type_code(encoding)?];
            encode_value::packed(&mut out, encoding, &bytes, None);
            Some(out)
        }
        Body::Object(object) => {
            let mut out = vec![encode_value::type_code(object.encoding())?];
            let mut slices = Slices::new(object);
            while !slices.write(&mut out, None) {}
            Some(out)
        }
    }
}
