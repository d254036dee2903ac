//! Sentinel: watches masters, agrees with others on which are down, and puts replicas in their place.
//! A state machine (`machine.rs`) that Redis' own Sentinels and clients take for one of theirs.
pub mod address;
pub mod instance;
pub mod link;
pub mod info;
pub mod hello;
pub mod scripts;
pub mod settings;
pub mod rewrite;
pub mod record;
pub mod machine;
pub mod config;
pub mod roster;
pub mod events;
pub mod contact;
pub mod claims;
pub mod learn;
pub mod down;
pub mod vote;
pub mod failover;
pub mod client;
pub mod commands;
#[cfg(test)]
mod sim;
