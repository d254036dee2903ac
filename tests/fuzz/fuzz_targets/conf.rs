//! Any bytes as redis.conf, and as a word that CONFIG REWRITE has to write.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::base::settings::grammar::{quote, split_words};
use ringfold::node::settings::load::{Source, load};

fuzz_target!(|input: &[u8]| {
    assert_eq!(split_words(&quote(input)), Some(vec![input.to_vec()]));
    let source = Source { name: "redis.conf".into(), text: input.to_vec() };
    let mut none = |_: &[u8]| Ok(Vec::new());
    let _ = load(&[source], &mut none);
});
