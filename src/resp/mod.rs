//! Bytes <-> values of the Redis protocol.
pub mod error;
pub mod reply;
pub mod request;
pub mod inline;
pub mod partial;
pub mod decode;
