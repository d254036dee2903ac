//! Containers behind values; they know no command and no RESP.
pub mod packed;
pub mod chain;
pub mod list;
pub mod log;
pub mod intset;
pub mod dict;
pub mod packing;
pub mod object;
pub mod arena;
pub mod record;
pub mod hll;
pub mod large;
pub mod segment;
pub mod store;
pub mod fields;
pub mod members;
pub mod table;
