//! Hash maps whose order is the same in every run of a seed, so that a failing run can be replayed.
//!
//! The seed is fixed: these maps are for keys that we or an operator choose. What clients choose
//! (keys of the keyspace) is hashed with a secret seed by `types/store.rs`.

#![expect(clippy::disallowed_types, reason = "the one place that names std's maps")]

use std::hash::{BuildHasher, BuildHasherDefault};

/// `std`'s map with ahash under a fixed seed; `HashMap::default()` makes an empty one.
pub type HashMap<K, V> = std::collections::HashMap<K, V, FixedSeed>;

/// `std`'s set with ahash under a fixed seed; `HashSet::default()` makes an empty one.
pub type HashSet<K> = std::collections::HashSet<K, FixedSeed>;

/// Builds ahash hashers that all start alike.
#[derive(Clone, Copy, Debug, Default)]
pub struct FixedSeed;

impl BuildHasher for FixedSeed {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> ahash::AHasher {
        // The hasher's `Default` has constant keys, unlike `RandomState`'s.
        BuildHasherDefault::<ahash::AHasher>::default().build_hasher()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_maps_with_the_same_content_have_the_same_order() {
        let build = || (0..1_000u32).map(|n| (n, ())).collect::<HashMap<_, _>>();
        assert!(build().keys().eq(build().keys()));
        let set: HashSet<u32> = build().into_keys().collect();
        assert_eq!(set.len(), 1_000);
    }
}
