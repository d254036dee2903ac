//! Containers behind values; they know no command and no RESP.
pub mod run;
pub mod tree;
pub mod member;
pub mod ranked;
pub mod packed;
pub mod intset;
pub mod arena;
pub mod record;
pub mod hll;
pub mod large;
pub mod segment;
pub mod store;
pub mod table;
