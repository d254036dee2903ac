//! One history, and who has how much of it.
pub mod log;
pub mod ring;
pub mod merge;
pub mod psync;
pub mod units;
pub mod attached;
pub mod master;
pub mod replica;
