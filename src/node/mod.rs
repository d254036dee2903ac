//! One process put together from the parts above, without I/O.
pub mod settings;
pub mod config;
pub mod outbox;
pub mod session;
pub mod admission;
pub mod flight;
pub mod message;
pub mod table;
pub mod cx;
pub mod view;
pub mod stats;
pub mod sweep;
pub mod pauses;
pub mod pubsub;
pub mod section;
pub mod intents;
pub mod core;
pub mod client;
pub mod input;
pub mod lifecycle;
pub mod route;
pub mod owner;
pub mod transactions;
pub mod rehearsal;
pub mod waiting;
pub mod blocked;
pub mod busy;
pub mod multi;
pub mod mail;
pub mod part;
pub mod gather;
pub mod walker;
pub mod kept;
pub mod feed;
pub mod feeding;
pub mod control;
pub mod sections;
pub mod snapshots;
pub mod texts;
pub mod certificates;
pub mod aof;
pub mod spilling;
pub mod flow_out;
pub mod slow;
pub mod slowlog;
pub mod monitor;
pub mod rights;
pub mod access;
pub mod following;
pub mod flow_link;
pub mod flow_in;
pub mod loading;
pub mod failover;
pub mod applying;
pub mod exit;
pub mod exporting;
pub mod observe;
pub mod keys;
pub mod publish;
pub mod notices;
pub mod memory;
pub mod tracking;
pub mod caching;
pub mod scripts;
pub mod functions;
pub mod dump;
pub mod migrate;
pub mod connection;
pub mod clients;
pub mod client_list;
pub mod client_memory;
pub mod listing;
pub mod client_kill;
pub mod replicate;
pub mod cluster;
pub mod redirect;
pub mod server;
pub mod debug;
pub mod figures;
pub mod record;
pub mod host;
pub mod memory_report;
pub mod metrics;
pub mod info;
pub mod families;
#[cfg(test)]
mod rights_tests;
#[cfg(test)]
mod across_tests;
#[cfg(test)]
mod blocking_tests;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod following_tests;
#[cfg(test)]
mod scripts_tests;
#[cfg(test)]
mod sort_tests;

/// The version of Redis whose behaviour this server has, as it tells clients that ask.
pub const REDIS_VERSION: &str = "7.2.4";
