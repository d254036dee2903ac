//! The commands of a Sentinel: a table of them, one of `SENTINEL`'s sub-commands, and what is checked before
//! any of them runs, in the order and the words of Redis.

pub mod change;
pub mod clients;
pub mod connection;
pub mod facts;
pub mod help;
pub mod show;
pub mod statistics;

use super::client::Then;
use super::machine::Sentinel;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;

/// What every command is: the client's number, the request, and where the answer goes.
pub type Run = fn(&mut Sentinel, u32, &[&[u8]], &mut Reply<'_>) -> Result<Then, ErrorKind>;

/// A row: as in Redis, a negative arity is a minimum.
pub struct Row {
    pub name: &'static str,
    pub arity: i32,
    pub run: Run,
}

const fn row(name: &'static str, arity: i32, run: Run) -> Row {
    Row { name, arity, run }
}

#[rustfmt::skip] // One row, one line.
const COMMANDS: &[Row] = &[
    row("PING",         -1, connection::ping),
    row("SENTINEL",     -2, sentinel),
    row("SUBSCRIBE",    -2, connection::subscribe),
    row("UNSUBSCRIBE",  -1, connection::unsubscribe),
    row("PSUBSCRIBE",   -2, connection::psubscribe),
    row("PUNSUBSCRIBE", -1, connection::punsubscribe),
    row("PUBLISH",       3, connection::publish),
    row("INFO",         -1, statistics::info),
    row("ROLE",          1, show::role),
    row("CLIENT",       -2, clients::client),
    row("SHUTDOWN",     -1, connection::shutdown),
    row("AUTH",         -2, connection::auth),
    row("HELLO",        -1, connection::hello),
    row("ACL",          -2, connection::acl),
    row("COMMAND",      -1, facts::command),
];

#[rustfmt::skip] // One row, one line.
const SENTINEL: &[Row] = &[
    row("masters",                  2, show::masters),
    row("primaries",                2, show::masters),
    row("master",                   3, show::master),
    row("primary",                  3, show::master),
    row("replicas",                 3, show::replicas),
    row("slaves",                   3, show::replicas),
    row("sentinels",                3, show::sentinels),
    row("get-master-addr-by-name",  3, show::address_of),
    row("get-primary-addr-by-name", 3, show::address_of),
    row("is-master-down-by-addr",   6, show::is_down),
    row("is-primary-down-by-addr",  6, show::is_down),
    row("myid",                     2, show::myid),
    row("ckquorum",                 3, show::ckquorum),
    row("info-cache",              -3, show::info_cache),
    row("pending-scripts",          2, show::pending_scripts),
    row("reset",                    3, change::reset),
    row("failover",                -3, change::failover),
    row("monitor",                  6, change::monitor),
    row("remove",                   3, change::remove),
    row("set",                     -5, change::set),
    row("flushconfig",              2, change::flushconfig),
    row("config",                  -3, change::config),
    row("simulate-failure",        -3, change::simulate_failure),
    row("debug",                   -2, change::debug),
    row("help",                     2, help::sentinel),
];

impl Sentinel {
    /// One request of a client.
    pub(super) fn run(
        &mut self,
        client: u32,
        args: &[&[u8]],
        reply: &mut Reply<'_>,
    ) -> Result<Then, ErrorKind> {
        let Some(row) = find(COMMANDS, args.first()) else {
            return Err(ErrorKind::unknown_command(args));
        };
        let sub = match (row.name, args.get(1)) {
            ("SENTINEL", Some(name)) => Some(
                find(SENTINEL, Some(name))
                    .ok_or_else(|| ErrorKind::unknown_subcommand("SENTINEL", name))?,
            ),
            _ => None,
        };
        if !fits(row.arity, args.len()) {
            return Err(ErrorKind::WrongArity { command: row.name });
        }
        if let Some(sub) = sub
            && !fits(sub.arity, args.len())
        {
            return Err(wrong_arity_of(sub.name));
        }
        if let Some(client) = self.clients.get_mut(&client) {
            client.last_command = row.name;
            if !client.authenticated && !matches!(row.name, "AUTH" | "HELLO") {
                return Err(ErrorKind::NoAuth);
            }
            let is_for_listeners = row.name.ends_with("SUBSCRIBE") || row.name == "PING";
            if client.listens() && !is_for_listeners {
                let command = row.name.to_lowercase().into_bytes().into();
                return Err(ErrorKind::OnlySubscriberCommands { command });
            }
        }
        (row.run)(self, client, args, reply)
    }
}

fn sentinel(
    this: &mut Sentinel,
    client: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Result<Then, ErrorKind> {
    match find(SENTINEL, args.get(1)) {
        Some(row) => (row.run)(this, client, args, reply),
        None => Err(ErrorKind::WrongArity { command: "SENTINEL" }),
    }
}

fn find<'r>(rows: &'r [Row], name: Option<&&[u8]>) -> Option<&'r Row> {
    let name = name?;
    rows.iter().find(|row| row.name.as_bytes().eq_ignore_ascii_case(name))
}

fn fits(arity: i32, count: usize) -> bool {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    if arity >= 0 { count == arity } else { count >= -arity }
}

fn wrong_arity_of(subcommand: &'static str) -> ErrorKind {
    ErrorKind::WrongSubcommandArity { command: "SENTINEL", subcommand }
}

/// A number in decimal, as a string.
pub(super) fn bulk_number(reply: &mut Reply<'_>, number: i64) {
    reply.bulk(number.to_string().as_bytes());
}

pub(super) fn is(word: &[u8], expected: &str) -> bool {
    word.eq_ignore_ascii_case(expected.as_bytes())
}

pub(super) fn lossy(word: &[u8]) -> String {
    String::from_utf8_lossy(word).into_owned()
}
