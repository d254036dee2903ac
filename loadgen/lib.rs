//! The load generator as a library, so that its parts can be tested: modules in the order in which
//! a request meets them. Only `drive` and `run` touch the outside, and `report` its files.
pub mod plan;
pub mod args;
pub mod keys;
pub mod template;
pub mod source;
pub mod pace;
pub mod scan;
pub mod histogram;
pub mod ledger;
pub mod failure;
pub mod client;
pub mod drive;
pub mod fresh;
pub mod run;
pub mod report;
