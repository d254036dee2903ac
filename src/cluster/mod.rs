//! Cluster: nodes that share the hash slots among them, tell each other who is there, and put replicas in the
//! place of masters that fail. A state machine (`machine.rs`); stock nodes take ours for one of theirs.
pub mod id;
pub mod slots;
pub mod flags;
pub mod extension;
pub mod packet;
pub mod framing;
pub mod settings;
pub mod node;
pub mod table;
pub mod machine;
pub mod moves;
pub mod saved;
pub mod links;
pub mod receive;
pub mod view;
pub mod health;
pub mod failover;
pub mod admin;
pub mod show;
pub mod commands;
#[cfg(test)]
mod sim;
