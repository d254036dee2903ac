//! A shard at one instant, as RDB bytes.
pub mod format;
pub mod lzf;
pub mod error;
pub mod encode;
pub mod items;
pub mod decode;
pub mod cut;
