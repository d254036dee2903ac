//! The only code that says glommio, file, clock, thread and signal.
pub mod cli;
