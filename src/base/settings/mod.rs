//! The grammar of a configuration file and of the plain values in it. Which settings there are,
//! and what they mean, is `node/settings/`.
pub mod grammar;
pub mod value;
