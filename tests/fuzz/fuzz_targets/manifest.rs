//! Any bytes as the manifest of an append-only file: what is taken is written and taken the same, and names no file
//! outside its folder.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::node::aof::manifest::Manifest;

fuzz_target!(|input: &[u8]| {
    let Ok(manifest) = Manifest::parse(input) else { return };
    for file in manifest.to_load() {
        assert!(!file.name.contains(&b'/') && !file.name.is_empty(), "{file:?}");
    }
    let text = manifest.text();
    if !text.is_empty() {
        let again = Manifest::parse(&text).expect("it was taken before");
        assert_eq!(again.text(), text);
    }
});
