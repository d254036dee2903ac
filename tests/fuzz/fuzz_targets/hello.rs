//! Any bytes as what a Sentinel overhears: hello messages, and the INFO of whoever says that it is a server.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::sentinel::hello::Hello;
use ringfold::sentinel::info;

fuzz_target!(|input: &[u8]| {
    if let Some(hello) = Hello::parse(input) {
        assert_eq!(Hello::parse(hello.text().as_bytes()), Some(hello));
    }
    assert_eq!(info::parse(input), info::parse(input));
});
