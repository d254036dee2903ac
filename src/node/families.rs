//! All families of commands, put together into the node's table.

use crate::command::spec::Command;
use crate::engine::shard::ShardFn;
use crate::engine::{bits, generic, hashes, hyperloglog, lists, sets, streams, strings};
use crate::node::cx::NodeFn;
use crate::node::part::PARTS;
use crate::node::scripts::{self, ScriptFn};
use crate::node::table::Table;
use crate::node::{
    clients, connection, debug, functions, info, keys, multi, publish, replicate, server,
};

/// The families that run on the shard of their keys.
const SHARD: &[&[Command<ShardFn>]] = &[
    strings::COMMANDS,
    lists::COMMANDS,
    streams::COMMANDS,
    hashes::COMMANDS,
    sets::COMMANDS,
    bits::COMMANDS,
    hyperloglog::COMMANDS,
    generic::COMMANDS,
];

/// The families that run scripts.
const SCRIPTS: &[&[Command<ScriptFn>]] = &[scripts::CALLS];

/// The families that the node runs itself.
const NODE: &[&[Command<NodeFn>]] = &[
    connection::COMMANDS,
    publish::COMMANDS,
    scripts::COMMANDS,
    functions::COMMANDS,
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
    Table::new(SHARD, SCRIPTS, NODE, PARTS)
}
