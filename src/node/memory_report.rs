//! MEMORY STATS, DOCTOR, MALLOC-STATS and PURGE: where the memory is, and what of that is wrong.
//!
//! Names and order of what STATS tells are Redis 7.0's. A figure is about the thing that has the name's place
//! here: what Redis calls overhead of a hash table is here the table of a database, and of all databases
//! together, since they share their pages; it is shown at the first one that has keys.
//!
//! [`Taken`] is the one sum that `INFO memory` and these commands are written from.
//!
//! Not here: MEMORY USAGE, which is about a key (`engine/generic.rs`).

use crate::base::huge;
use crate::command::args::Args;
use crate::command::docs;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::node::cx::{NodeCx, NodeFn};
use crate::node::figures::Figures;
use crate::node::gather::Summary;
use crate::node::host::Host;
use crate::node::outbox::Action;
use crate::node::settings::Settings;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use std::sync::atomic::{AtomicU64, Ordering};

pub const COMMANDS: &[Command<NodeFn>] = &[Command::container(rows::MEMORY, alone, MEMORY)];

#[rustfmt::skip] // One row, one line.
const MEMORY: &[Command<NodeFn>] = &[
    Command::new(rows::MEMORY_DOCTOR,       doctor),
    Command::new(rows::MEMORY_HELP,         help),
    Command::new(rows::MEMORY_MALLOC_STATS, malloc_stats),
    Command::new(rows::MEMORY_PURGE,        purge),
    Command::new(rows::MEMORY_STATS,        stats),
];

/// How the figures of all cores become the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    Stats,
    Doctor,
}

/// Bytes, summed over the cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub keys: i64,
    pub clients: i64,
    /// Links to replicas and to a master.
    pub links: i64,
    pub ring: i64,
    /// What of the ring is more than `repl-backlog-size`.
    pub ring_beyond: i64,
    pub feeds: i64,
    /// What only a snapshot still holds on to.
    pub walk: i64,
    pub aof: i64,
    /// Interpreters, and the texts that they know.
    pub interpreters: i64,
    pub scripts: i64,
    pub rss: i64,
    pub peak: i64,
    /// Pages of records that hold none.
    pub unused: i64,
}

impl Taken {
    #[must_use]
    pub fn new(figures: &Figures, host: &Host, settings: &Settings) -> Self {
        let ring = figures.get("ring_bytes");
        let backlog = i64::try_from(settings.repl_backlog_size).unwrap_or(i64::MAX);
        let mut taken = Self {
            keys: figures.get("key_bytes"),
            clients: figures.get("client_bytes"),
            links: figures.get("link_bytes"),
            ring,
            ring_beyond: (ring - backlog).max(0),
            feeds: figures.get("feed_bytes"),
            walk: figures.get("walk_bytes"),
            aof: figures.get("aof_buffer"),
            interpreters: figures.get("script_machine_bytes"),
            scripts: figures.get("script_text_bytes"),
            rss: signed(&host.rss_bytes),
            peak: signed(&host.peak_bytes),
            unused: figures.get("page_bytes_unused"),
        };
        taken.peak = taken.peak.max(taken.used());
        taken
    }

    /// All but the keys.
    #[must_use]
    pub fn overhead(&self) -> i64 {
        let clients = self.clients + self.links;
        let scripts = self.interpreters + self.scripts;
        clients + scripts + self.ring + self.feeds + self.walk
    }

    #[must_use]
    pub fn used(&self) -> i64 {
        self.keys + self.overhead()
    }

    /// What of it eviction does not look at.
    #[must_use]
    pub fn not_counted(&self) -> i64 {
        self.links + self.feeds + self.walk + self.ring_beyond + self.interpreters + self.scripts
    }

    /// With the pages that records lie in.
    #[must_use]
    pub fn active(&self) -> i64 {
        self.used() + self.unused
    }
}

fn alone(_: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    Err(ErrorKind::WrongArity { command: "MEMORY" })
}

fn stats(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("info", Args::new(&[]), Summary::Memory(Shown::Stats));
    Ok(())
}

fn doctor(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("info", Args::new(&[]), Summary::Memory(Shown::Doctor));
    Ok(())
}

fn malloc_stats(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.reply.verbatim(*b"txt", huge::statistics().as_bytes());
    Ok(())
}

/// `MEMORY PURGE`: begun, and done beside the loops.
fn purge(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.out.actions.push(Action::GiveBackMemory);
    cx.reply.ok();
    Ok(())
}

fn help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let mut specs: Vec<_> = MEMORY.iter().map(|row| &row.spec).collect();
    specs.push(&rows::MEMORY_USAGE);
    docs::write_help_of("MEMORY", &specs, &mut cx.reply);
    Ok(())
}

/// Writes the one reply.
pub(super) fn summarize(
    shown: Shown,
    figures: &Figures,
    taken: &Taken,
    replicas: i64,
    reply: &mut Reply<'_>,
) {
    match shown {
        Shown::Stats => write_stats(figures, taken, reply),
        Shown::Doctor => reply.verbatim(*b"txt", advice(figures, taken, replicas).as_bytes()),
    }
}

/// A value of STATS.
enum Fact {
    Int(i64),
    Double(f64),
    /// A database: its tables.
    Tables([i64; 3]),
}

/// Percent, or a ratio; 0 of nothing is 0.
fn share(part: i64, whole: i64, of: f64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * of }
}

fn facts(figures: &Figures, taken: &Taken) -> Vec<(String, Fact)> {
    use Fact::{Double, Int, Tables};
    let (used, active, rss) = (taken.used(), taken.active(), taken.rss);
    let databases: Vec<&str> =
        figures.sums_of("db.").filter_map(|(name, _)| name.strip_suffix(".keys")).collect();
    let keys = databases.iter().map(|db| figures.get(&format!("db.{db}.keys"))).sum::<i64>();
    let mut facts: Vec<(String, Fact)> = Vec::new();
    let mut fact = |name: &str, value| facts.push((name.into(), value));
    fact("peak.allocated", Int(taken.peak));
    fact("total.allocated", Int(used));
    fact("startup.allocated", Int(0));
    fact("replication.backlog", Int(taken.ring));
    fact("clients.slaves", Int(taken.links + taken.feeds));
    fact("clients.normal", Int(taken.clients));
    fact("cluster.links", Int(0));
    fact("aof.buffer", Int(taken.aof));
    fact("lua.caches", Int(taken.scripts));
    fact("functions.caches", Int(figures.get("function_bytes")));
    for db in &databases {
        let name = format!("db.{}", db.parse::<usize>().unwrap_or(0));
        let table = figures.get(&format!("db.{db}.table"));
        // An expiry lies in its record, and a slot has no list of its keys: neither has a table of its own.
        fact(&name, Tables([table, 0, 0]));
    }
    fact("overhead.total", Int(taken.overhead()));
    fact("keys.count", Int(keys));
    fact("keys.bytes-per-key", Int(used.checked_div(keys).unwrap_or(0)));
    fact("dataset.bytes", Int(taken.keys));
    fact("dataset.percentage", Double(share(taken.keys, used, 100.0)));
    fact("peak.percentage", Double(share(used, taken.peak, 100.0)));
    fact("allocator.allocated", Int(used));
    fact("allocator.active", Int(active));
    fact("allocator.resident", Int(rss));
    fact("allocator-fragmentation.ratio", Double(share(active, used, 1.0)));
    fact("allocator-fragmentation.bytes", Int(active - used));
    fact("allocator-rss.ratio", Double(share(rss, active, 1.0)));
    fact("allocator-rss.bytes", Int(rss - active));
    fact("rss-overhead.ratio", Double(share(rss, rss, 1.0)));
    fact("rss-overhead.bytes", Int(0));
    fact("fragmentation", Double(share(rss, used, 1.0)));
    fact("fragmentation.bytes", Int(rss - used));
    facts
}

fn write_stats(figures: &Figures, taken: &Taken, reply: &mut Reply<'_>) {
    let facts = facts(figures, taken);
    reply.map(facts.len());
    for (name, fact) in &facts {
        reply.bulk(name.as_bytes());
        match fact {
            Fact::Int(number) => reply.int(*number),
            Fact::Double(number) => reply.double(*number),
            Fact::Tables(tables) => {
                const NAMES: [&str; 3] = ["main", "expires", "slot-to-keys"];
                reply.map(NAMES.len());
                for (name, bytes) in NAMES.iter().zip(tables) {
                    reply.bulk(format!("overhead.hashtable.{name}").as_bytes());
                    reply.int(*bytes);
                }
            }
        }
    }
}

const MB: i64 = 1 << 20;

/// What is wrong, by Redis' thresholds.
fn advice(figures: &Figures, taken: &Taken, replicas: i64) -> String {
    let (used, active, rss) = (taken.used(), taken.active(), taken.rss);
    if used < 5 * MB {
        return "This server is empty, or nearly: what it takes says nothing yet.".into();
    }
    let clients = figures.get("clients");
    let mut wrong: Vec<String> = Vec::new();
    let over = |a: i64, b: i64, ratio: f64| share(a, b, 1.0) > ratio && a - b > 10 * MB;
    if share(taken.peak, used, 1.0) > 1.5 {
        wrong.push(format!(
            "It once took {} times what it takes now. The allocator keeps some of that, so the resident \
             memory may stay above what is used; new keys will take it.",
            tenths(taken.peak, used)
        ));
    }
    if over(active, used, 1.1) {
        wrong.push(format!(
            "Pages of records are {} times as large as the records in them: many keys are gone from among \
             others. New keys of the same sizes fill the gaps; MEMORY PURGE gives back what is empty.",
            tenths(active, used)
        ));
    }
    if over(rss, active, 1.4) {
        wrong.push(format!(
            "The process has {} times as much resident memory as it uses: buffers of clients or large values \
             are gone and the allocator holds on to their memory. MEMORY PURGE gives it back.",
            tenths(rss, active)
        ));
    }
    if (taken.links + taken.feeds).checked_div(replicas).unwrap_or(0) > 10 * MB {
        wrong.push(
            "Replicas wait for more than 10 MB each: their links are slow for what is written, or they are \
             away too often. See INFO replication."
                .into(),
        );
    }
    if taken.clients.checked_div(clients).unwrap_or(0) > 200 << 10 {
        wrong.push(
            "Clients take more than 200 kB each: some do not read their replies, or send without waiting. \
             CLIENT LIST tells which (tot-mem); maxmemory-clients bounds them all."
                .into(),
        );
    }
    if figures.get("scripts") > 1_000 {
        wrong.push(
            "There are more than 1000 scripts: they are probably made anew with other constants each time. \
             Give them arguments, and SCRIPT FLUSH the old ones."
                .into(),
        );
    }
    if wrong.is_empty() {
        return "Nothing is wrong with the memory of this server.".into();
    }
    let mut text = String::from("What is wrong with the memory of this server:\n\n");
    wrong.iter().for_each(|it| text.push_str(&format!(" * {it}\n\n")));
    text
}

fn tenths(a: i64, b: i64) -> String {
    format!("{:.1}", share(a, b, 1.0))
}

fn signed(number: &AtomicU64) -> i64 {
    i64::try_from(number.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Node;
    use crate::resp::decode::{self, Value};

    fn names(value: &Value, out: &mut Vec<String>) {
        let Value::Array(items) = value else { panic!("{value:?}") };
        for pair in items.chunks(2) {
            let Value::Bulk(name) = &pair[0] else { panic!("{pair:?}") };
            out.push(String::from_utf8(name.clone()).unwrap());
            match &pair[1] {
                Value::Array(_) => names(&pair[1], out),
                Value::Int(_) => {}
                Value::Bulk(text) => assert!(str::from_utf8(text).unwrap().parse::<f64>().is_ok()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Names and order of redis-server 7.0.15 with keys in databases 0 and 3.
    #[test]
    fn stats_are_named_as_a_stock_servers() {
        let golden = include_str!("../../tests/golden/memory-stats-7.0.15.txt");
        for cores in [1, 3] {
            let mut node = Node::new(cores);
            let client = node.connect();
            node.send(client, b"SET a 1\r\nSELECT 3\r\nSET b 2 EX 100\r\n");
            let reply = node.send(client, b"MEMORY STATS\r\n");
            let (value, used) = decode::decode(&reply).unwrap().unwrap();
            assert_eq!(used, reply.len());
            let mut found = Vec::new();
            names(&value, &mut found);
            assert_eq!(found, golden.lines().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_doctor_speaks_of_what_is_wrong_and_of_nothing_else() {
        let check = |taken: Taken, figures: &[(&str, i64)], replicas: i64, said: &[&str]| {
            let mut all = Figures::default();
            figures.iter().for_each(|(name, number)| all.add(*name, *number));
            let text = advice(&all, &taken, replicas);
            let words = [
                "is empty, or",
                "Nothing",
                "once took",
                "Pages",
                "resident memory as",
                "Replicas",
                "Clients",
                "scripts",
            ];
            let found: Vec<&str> = words.into_iter().filter(|it| text.contains(it)).collect();
            assert_eq!(found, said, "{taken:?}");
        };
        let fine = Taken { keys: 100 * MB, rss: 110 * MB, peak: 100 * MB, ..Taken::default() };
        check(Taken { keys: MB, ..fine }, &[], 0, &["is empty, or"]);
        check(fine, &[], 0, &["Nothing"]);
        check(Taken { peak: 200 * MB, ..fine }, &[], 0, &["once took"]);
        check(Taken { unused: 50 * MB, ..fine }, &[], 0, &["Pages"]);
        check(Taken { rss: 300 * MB, ..fine }, &[], 0, &["resident memory as"]);
        check(Taken { feeds: 50 * MB, ..fine }, &[], 2, &["Replicas"]);
        check(Taken { clients: MB, ..fine }, &[("clients", 3)], 0, &["Clients"]);
        check(fine, &[("scripts", 2_000)], 0, &["scripts"]);
    }
}
