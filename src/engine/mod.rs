//! One shard: what commands do to its keys.
pub mod effect;
pub mod keyspace;
pub mod lookup;
pub mod scan;
pub mod walk;
pub mod expire;
