//! One history, and who has how much of it.
pub mod log;
pub mod ring;
pub mod merge;
