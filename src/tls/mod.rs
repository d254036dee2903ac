//! TLS as a transform of bytes: what a socket brings in, what it must be sent out. Knows no socket.
pub mod stream;
pub mod identity;
pub mod trust;
pub mod choice;
mod keys;
pub mod contexts;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod stream_tests;
