//! All families of commands, put together into the node's table.

use crate::command::spec::Command;
use crate::engine::{generic, strings};
use crate::node::cx::NodeFn;
use crate::node::part::PARTS;
use crate::node::table::Table;
use crate::node::{clients, connection, debug, info, keys, multi, replicate, server};

/// The families that the node runs itself.
const NODE: &[&[Command<NodeFn>]] = &[
    connection::COMMANDS,
    clients::COMMANDS,
    multi::COMMANDS,
    keys::COMMANDS,
    replicate::COMMANDS,
    server::COMMANDS,
    debug::COMMANDS,
    info::COMMANDS,
];

/// The table of every command that this server has.
#[must_use]
pub fn table() -> Table {
    Table::new(&[strings::COMMANDS, generic::COMMANDS], NODE, PARTS)
}
