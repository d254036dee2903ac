//! Sockets over io_uring, for the server and for loadgen: the one home of unsafe I/O.
//!
//! One [`driver::Driver`] belongs to one thread. It knows sockets, bytes and wake-ups, and nothing
//! of what the bytes mean.
pub mod buffers;
pub mod driver;
mod driver_tests;
pub mod fit;
mod hearing;
mod parking;
pub mod room;
mod rows;
mod scratch;
mod sending;
pub mod sys;
mod warmth;
