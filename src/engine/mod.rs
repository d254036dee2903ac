//! One shard: what commands do to its keys.
