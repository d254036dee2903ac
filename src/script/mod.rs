//! Scripts: Lua 5.1 in a sandbox that is Redis' to the letter, as a machine that stands still whenever it
//! needs its host.
pub mod lua;
pub mod machine;
pub mod sandbox;
pub mod convert;
pub mod redis;
pub mod random;
pub mod bit;
pub mod structs;
pub mod msgpack;
pub mod json;
pub mod flags;
pub mod scripts;
pub mod library;
#[cfg(test)]
mod golden_tests;
