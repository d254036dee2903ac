//! What std could have had; knows no Redis.
pub mod time;
pub mod prng;
pub mod limits;
pub mod map;
pub mod prefetch;
