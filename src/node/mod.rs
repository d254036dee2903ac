//! One process put together from the parts above, without I/O.
pub mod settings;
pub mod config;
