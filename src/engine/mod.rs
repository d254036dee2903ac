//! One shard: what commands do to its keys.
pub mod keyspace;
pub mod effect;
pub mod shard;
pub mod strings;
pub mod generic;
#[cfg(test)]
pub mod transcript;
