//! The answers of several cores become one reply.

use crate::engine::digest::{Digest, Sum};
use crate::node::client_list;
use crate::node::core::Core;
use crate::node::figures::Figures;
use crate::node::flight::Gathering;
use crate::node::info::{Section, write::Report};
use crate::node::memory_report::{self, Taken};
use crate::node::slowlog::{self, Shown};
use crate::resp::decode::{self, Value};
use crate::resp::reply::{Proto, Reply};
use std::collections::BTreeSet;

/// How the parts of a node command become its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Summary {
    /// Integers, added.
    Sum,
    /// Arrays, one after another.
    Concat,
    /// Arrays of names: each name once, wherever it comes from.
    Names,
    /// As `Names`: how many they are.
    CountNames,
    /// Arrays of names and numbers in turn, all of the same names: the numbers, added.
    Counts,
    /// Bulk strings, one after another in one bulk (or verbatim) string.
    Text,
    /// `+OK` where all say so, else the first error.
    AllOk,
    /// All say the same: it, or the first error.
    First,
    /// One of the cores' keys, as likely as the core has keys.
    RandomKey,
    /// XOR of 20 bytes each.
    Digest,
    /// Figures of all cores, written as INFO.
    Info { sections: Vec<Section> },
    /// As `Info`, written as MEMORY tells it.
    Memory(memory_report::Shown),
    /// Lines of `CLIENT LIST`: by number, or these in this order.
    Clients { ids: Vec<u64> },
    /// What was slow on all cores.
    Slow(Shown),
    /// What was refused, of all cores: so many of the newest.
    Refusals { count: usize },
    /// Of each key 20 bytes, not zero on one core at most.
    DigestValues,
    /// Integers: closed clients; a client that kills itself is answered first.
    Killed { old_form: bool },
    /// Where the client is to which another one redirects (`caching.rs`).
    Tracking,
    /// What WATCH saw of its keys (`multi.rs`).
    Watched,
    /// Where a client is. Where one has it, core 0 answers (`clients.rs`).
    Unblock { error: bool },
}

impl Core {
    /// Writes the one reply that the parts make.
    pub(super) fn combine(&mut self, gathering: &Gathering, proto: Proto, out: &mut Vec<u8>) {
        let parts: Vec<&[u8]> = gathering.parts.iter().flatten().map(Vec::as_slice).collect();
        // A part that failed speaks for all.
        if let Some(error) = parts.iter().find(|part| part.first() == Some(&b'-')) {
            out.extend_from_slice(error);
            return;
        }
        let mut reply = Reply { out, proto };
        self.summarize(&gathering.combine, &parts, &mut reply);
    }

    fn summarize(&mut self, summary: &Summary, parts: &[&[u8]], reply: &mut Reply<'_>) {
        match summary {
            Summary::Sum => reply.int(sum(parts)),
            Summary::AllOk => reply.ok(),
            Summary::First => reply.raw(parts.first().copied().unwrap_or_default()),
            Summary::Concat => concat(parts, reply),
            Summary::Names => {
                let names = names(parts);
                reply.array(names.len());
                names.iter().for_each(|name| reply.bulk(name));
            }
            Summary::CountNames => reply.int(i64::try_from(names(parts).len()).unwrap_or(0)),
            Summary::Counts => counts(parts, reply),
            Summary::Text => {
                let mut text = Vec::new();
                parts.iter().for_each(|part| text.extend_from_slice(&bulk(part)));
                reply.verbatim(*b"txt", &text);
            }
            Summary::RandomKey => self.choose_key(parts, reply),
            Summary::Digest => {
                let mut all = Digest::new(self.keyspace.databases());
                parts.iter().for_each(|part| all.merge_bytes(&bulk(part)));
                reply.simple(hex(&all.finish()).as_bytes());
            }
            Summary::Info { sections } => self.write_info(sections, parts, reply),
            Summary::Memory(shown) => {
                let figures = figures(parts);
                let taken = Taken::new(&figures, &self.shared.host, &self.view.settings);
                let replicas = figures.get("replicas");
                memory_report::summarize(*shown, &figures, &taken, replicas, reply);
            }
            Summary::Clients { ids } => {
                let texts: Vec<Vec<u8>> = parts.iter().map(|part| bulk(part)).collect();
                client_list::merge(&texts, ids, reply);
            }
            Summary::Slow(shown) => slowlog::summarize(shown, parts, reply),
            Summary::Refusals { count } => {
                super::access::merge_log(parts, *count, self.now.wall, reply);
            }
            Summary::DigestValues => digest_values(parts, reply),
            Summary::Killed { old_form } => match (sum(parts), old_form) {
                (0, true) => reply.error(&crate::resp::error::ErrorKind::NoSuchClient),
                (_, true) => reply.ok(),
                (killed, false) => reply.int(killed),
            },
            // Where it waited for keys its own core has ended that.
            Summary::Unblock { .. } => reply.int(sum(parts)),
            // Tracking begins, or does not, in `caching.rs`.
            Summary::Watched | Summary::Tracking => reply.ok(),
        }
    }

    fn write_info(&self, sections: &[Section], parts: &[&[u8]], reply: &mut Reply<'_>) {
        let figures = figures(parts);
        let report = Report {
            figures: &figures,
            host: &self.shared.host,
            settings: &self.view.settings,
            table: self.shared.table,
            cores: self.cores,
            loading: self.view.loading,
            now: self.now,
        };
        reply.verbatim(*b"txt", report.write(sections).as_bytes());
    }

    fn choose_key(&mut self, parts: &[&[u8]], reply: &mut Reply<'_>) {
        let decoded: Vec<(u64, Vec<u8>)> =
            parts.iter().filter_map(|part| counted_key(part)).collect();
        let total: u64 = decoded.iter().map(|(keys, _)| keys).sum();
        let mut at = self.prng.below(total);
        for (keys, key) in decoded {
            if at < keys {
                return reply.bulk(&key);
            }
            at -= keys;
        }
        reply.null();
    }
}

fn figures(parts: &[&[u8]]) -> Figures {
    let mut figures = Figures::default();
    parts.iter().for_each(|part| figures.merge_bytes(&bulk(part)));
    figures
}

fn digest_values(parts: &[&[u8]], reply: &mut Reply<'_>) {
    let mut all: Vec<u8> = Vec::new();
    for part in parts {
        let sums = bulk(part);
        all.resize(sums.len().max(all.len()), 0);
        all.iter_mut().zip(sums).for_each(|(mine, theirs)| *mine ^= theirs);
    }
    let sums = all.chunks_exact(size_of::<Sum>());
    reply.array(sums.len());
    sums.for_each(|sum| reply.simple(hex(sum).as_bytes()));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sum(parts: &[&[u8]]) -> i64 {
    parts.iter().map(|part| integer(part)).fold(0, i64::saturating_add)
}

fn integer(part: &[u8]) -> i64 {
    match decode::decode(part) {
        Ok(Some((Value::Int(number), _))) => number,
        _ => 0,
    }
}

/// The bytes of a bulk string.
pub(super) fn bulk(part: &[u8]) -> Vec<u8> {
    match decode::decode(part) {
        Ok(Some((Value::Bulk(bytes), _))) => bytes.to_vec(),
        _ => Vec::new(),
    }
}

fn counted_key(part: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (Value::Array(items), _) = decode::decode(part).ok()?? else { return None };
    match items.as_slice() {
        [Value::Int(keys), Value::Bulk(key)] => Some((u64::try_from(*keys).ok()?, key.to_vec())),
        _ => None,
    }
}

/// The bulk strings of all arrays, each once.
fn names(parts: &[&[u8]]) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    for part in parts {
        let Ok(Some((Value::Array(items), _))) = decode::decode(part) else { continue };
        names.extend(items.into_iter().filter_map(|it| match it {
            Value::Bulk(name) => Some(name),
            _ => None,
        }));
    }
    names
}

/// `[name, number, ..]` of all cores, added up.
fn counts(parts: &[&[u8]], reply: &mut Reply<'_>) {
    let (mut order, mut sums) = (Vec::new(), Vec::new());
    for part in parts {
        let Ok(Some((Value::Array(items), _))) = decode::decode(part) else { continue };
        for (index, pair) in items.chunks_exact(2).enumerate() {
            let [Value::Bulk(name), Value::Int(number)] = pair else { continue };
            if index == order.len() {
                order.push(name.clone());
                sums.push(0);
            }
            if let Some(sum) = sums.get_mut(index) {
                *sum += number;
            }
        }
    }
    reply.array(2 * order.len());
    for (name, sum) in order.iter().zip(sums) {
        reply.bulk(name);
        reply.int(sum);
    }
}

/// The header of an array reply: how many elements, and where they begin.
fn array(part: &[u8]) -> (usize, usize) {
    let line = part.iter().position(|&byte| byte == b'\n').map_or(part.len(), |at| at + 1);
    let digits = part.get(1..line.saturating_sub(2)).unwrap_or_default();
    let len = crate::base::num::parse_i64(digits).and_then(|len| usize::try_from(len).ok());
    (len.unwrap_or(0), line)
}

fn concat(parts: &[&[u8]], reply: &mut Reply<'_>) {
    reply.array(parts.iter().map(|part| array(part).0).sum());
    parts.iter().for_each(|part| reply.raw(&part[array(part).1..]));
}
