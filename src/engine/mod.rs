//! One shard: what commands do to its keys.
pub mod keyspace;
pub mod lookup;
pub mod collections;
pub mod edit;
pub mod scan;
pub mod walk;
pub mod watch;
pub mod parcel;
pub mod expire;
pub mod digest;
pub mod effect;
pub mod shard;
pub mod draw;
pub mod strings;
pub mod lists;
pub mod streams;
pub mod hashes;
pub mod sets;
pub mod bits;
pub mod bitfield;
pub mod hyperloglog;
pub mod generic;
#[cfg(test)]
pub mod transcript;
