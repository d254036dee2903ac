//! One shard: what commands do to its keys.
pub mod keyspace;
pub mod lookup;
pub mod scan;
pub mod walk;
pub mod watch;
pub mod parcel;
pub mod expire;
pub mod digest;
pub mod effect;
pub mod shard;
pub mod strings;
pub mod generic;
#[cfg(test)]
pub mod transcript;
