//! All families of commands, put together into the node's table.

use crate::engine::{generic, strings};
use crate::node::part::PARTS;
use crate::node::table::Table;
use crate::node::{debug, info, keys, replicate, server};

/// The table of every command that this server has.
#[must_use]
pub fn table() -> Table {
    Table::new(
        &[strings::COMMANDS, generic::COMMANDS],
        &[keys::COMMANDS, replicate::COMMANDS, server::COMMANDS, debug::COMMANDS, info::COMMANDS],
        PARTS,
    )
}
