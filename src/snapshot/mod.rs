//! A shard at one instant, as RDB bytes.
