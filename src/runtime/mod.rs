//! The only code that says glommio, file, clock, thread and signal.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the I/O layer")]
pub mod clock;
pub mod host;
pub mod logs;
pub mod crash;
pub mod notify;
pub mod mesh;
pub mod append;
pub mod spill;
pub mod disk;
pub mod links;
pub mod migrations;
pub mod slices;
pub mod texts;
pub mod company;
pub mod tls;
pub mod doors;
pub mod streams;
pub mod metrics;
#[cfg(test)]
mod streams_tests;
pub mod looping;
pub mod securing;
pub mod serve;
pub mod keep;
pub mod sentinel;
pub mod bus;
pub mod sentinel_start;
pub mod papers;
pub mod asking;
pub mod top;
pub mod migrate;
pub mod cli;
