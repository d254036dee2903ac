//! What a command is, as data; executes nothing.
pub mod args;
pub mod spec;
pub mod arguments;
pub mod keys;
pub mod lookup;
pub mod node_rows;
pub mod docs;
