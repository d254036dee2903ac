//! Ringfold: modules in the order in which a byte meets them. `src/ARCHITECTURE.md` is the map.
pub mod base;
pub mod uring;
pub mod tls;
pub mod resp;
pub mod script;
pub mod types;
pub mod command;
pub mod acl;
pub mod engine;
pub mod snapshot;
pub mod replication;
pub mod sentinel;
pub mod cluster;
pub mod node;
pub mod doctor;
pub mod runtime;
