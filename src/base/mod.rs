//! What std could have had; knows no Redis.
pub mod time;
pub mod prng;
pub mod limits;
pub mod map;
pub mod prefetch;
pub mod huge;
pub mod chunks;
pub mod spsc;
pub mod long_double;
pub mod num;
pub mod crc;
pub mod glob;
pub mod settings;
