//! What std could have had; knows no Redis.
pub mod time;
pub mod prng;
pub mod limits;
pub mod num;
pub mod long_double;
pub mod glob;
