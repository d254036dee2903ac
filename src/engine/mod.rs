//! One shard: what commands do to its keys.
pub mod effect;
