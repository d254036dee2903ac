//! All families of commands, put together into the node's table.

use crate::command::spec::Command;
use crate::engine::shard::ShardFn;
use crate::engine::{
    bits, generic, geo, hashes, hyperloglog, lists, sets, sort, sorted_sets, streams, strings,
};
use crate::node::cx::NodeFn;
use crate::node::part::PARTS;
use crate::node::scripts::{self, ScriptFn};
use crate::node::table::Table;
use crate::node::{
    access, clients, cluster, connection, debug, dump, functions, info, keys, memory_report,
    migrate, monitor, multi, publish, replicate, server, slowlog,
};
use std::sync::LazyLock;

/// The families that run on the shard of their keys.
const SHARD: &[&[Command<ShardFn>]] = &[
    strings::COMMANDS,
    lists::COMMANDS,
    streams::COMMANDS,
    hashes::COMMANDS,
    sets::COMMANDS,
    sorted_sets::COMMANDS,
    geo::COMMANDS,
    bits::COMMANDS,
    hyperloglog::COMMANDS,
    generic::COMMANDS,
    generic::MEMORY,
    sort::COMMANDS,
    dump::COMMANDS,
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
    migrate::COMMANDS,
    replicate::COMMANDS,
    cluster::COMMANDS,
    server::COMMANDS,
    debug::COMMANDS,
    info::COMMANDS,
    access::COMMANDS,
    slowlog::COMMANDS,
    memory_report::COMMANDS,
    monitor::COMMANDS,
];

/// The table of every command that this server has.
#[must_use]
pub fn table() -> &'static Table {
    // Shared by reference: a count of its users would be a cache line that all cores write.
    static TABLE: LazyLock<Table> = LazyLock::new(|| {
        Table::new(SHARD, SCRIPTS, NODE, PARTS, &[]).unwrap_or_else(|why| unreachable!("{why}"))
    });
    &TABLE
}

/// As [`table`], with the names that `rename-command` lines give; it stays until the process ends.
///
/// # Errors
/// Why these names cannot be given.
pub fn renamed(names: &[(Vec<u8>, Vec<u8>)]) -> Result<&'static Table, String> {
    if names.is_empty() {
        return Ok(table());
    }
    Ok(Box::leak(Box::new(Table::new(SHARD, SCRIPTS, NODE, PARTS, names)?)))
}
