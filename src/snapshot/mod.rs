//! A shard at one instant, as RDB bytes.
pub mod format;
pub mod lzf;
pub mod error;
pub mod encode;
pub mod encode_value;
pub mod items;
mod old_packed;
mod build_stream;
pub mod build;
pub mod decode;
pub mod commands;
pub mod cut;
pub mod payload;
