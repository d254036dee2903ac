//! Bytes <-> values of the Redis protocol.
pub mod error;
pub mod reply;
