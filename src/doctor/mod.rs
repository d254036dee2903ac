//! What this host can bear: readings, findings, a forecast, the change that mends each and its undo.
//!
//! ```text
//!   readings   files of the host into plain data       the only reader
//!   forecast   clients and data into memory            pure
//!   findings   readings against needs                  pure, a row per subject
//!   tune       findings' changes, written and undone   the only writer
//!   prove      connections really opened, and counted
//!   report     for people and for programs
//! ```
//!
//! Not here: refusing to start (`uring/fit.rs` and `runtime/serve.rs` do that by themselves).
pub mod host;
pub mod readings;
pub mod forecast;
pub mod findings;
pub mod prove;
pub mod report;
pub mod tune;
pub mod command;
pub mod timeline;
pub mod failover_report;
