//! Any bytes as a Sentinel's file: it is taken or refused, and what was taken can be begun with.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::base::time::{Mono, Now, Wall};
use ringfold::sentinel::machine::Sentinel;
use ringfold::sentinel::settings::{Facts, Settings};

fuzz_target!(|input: &[u8]| {
    let now = Now { mono: Mono(1_000_000_000), wall: Wall(1_700_000_000_000_000) };
    let settings = Settings {
        port: 26_379,
        requirepass: Vec::new(),
        users: Vec::new(),
        protected_mode: false,
        maxclients: 100,
        is_executable: |_| false,
        facts: Facts::default(),
    };
    let mut sentinel = Sentinel::new(now, 1, settings);
    if sentinel.load(input).is_ok() {
        let mut out = Vec::new();
        sentinel.begin(now, &mut out);
        assert!(!sentinel.id().is_empty());
    }
});
