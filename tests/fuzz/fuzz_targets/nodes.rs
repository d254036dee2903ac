//! Any bytes as a node's file: nothing panics, and a file that is taken is written, taken, and written the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::base::time::{Mono, Now, Wall};
use ringfold::cluster::machine::Cluster;
use ringfold::cluster::settings::Settings;

fuzz_target!(|input: &[u8]| {
    let now = Now { mono: Mono(1_000_000_000), wall: Wall(1_700_000_000_000_000) };
    let Ok(cluster) = Cluster::load(now, 1, Settings::default(), input) else { return };
    let text = cluster.file();
    let again = Cluster::load(now, 2, Settings::default(), &text);
    let again = again.unwrap_or_else(|why| panic!("{why}\n{}", String::from_utf8_lossy(&text)));
    assert_eq!(
        String::from_utf8_lossy(&again.file()).lines().count(),
        String::from_utf8_lossy(&text).lines().count()
    );
});
