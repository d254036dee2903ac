//! One history, and who has how much of it.
pub mod log;
pub mod ring;
pub mod merge;
pub mod psync;
pub mod units;
pub mod resume;
pub mod flows;
pub mod spread;
pub mod gather;
pub mod attached;
pub mod admission;
pub mod behind;
pub mod lag;
pub mod recent;
pub mod master;
pub mod replica;
pub mod acks;
pub mod failover;
pub mod info;
#[cfg(test)]
mod master_tests;
#[cfg(test)]
mod replica_tests;
#[cfg(test)]
mod sim;
