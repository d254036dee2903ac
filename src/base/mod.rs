//! What std could have had; knows no Redis.
pub mod time;
pub mod prng;
pub mod limits;
pub mod num;
pub mod long_double;
pub mod crc;
pub mod glob;
pub mod map;
pub mod prefetch;
