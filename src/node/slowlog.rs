//! SLOWLOG and LATENCY: what `slow.rs` noted on all cores.

use crate::base::num::parse_i64;
use crate::command::args::Args;
use crate::command::docs;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::gather::Summary;
use crate::node::slow::{Samples, histogram};
use crate::node::table::Table;
use crate::resp::decode::{self, Value};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use std::collections::BTreeMap;

pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::container(rows::SLOWLOG, slowlog_alone, SLOWLOG),
    Command::container(rows::LATENCY, latency_alone, LATENCY),
];

#[rustfmt::skip] // One row, one line.
const SLOWLOG: &[Command<NodeFn>] = &[
    Command::new(rows::SLOWLOG_GET,   get),
    Command::new(rows::SLOWLOG_HELP,  slowlog_help),
    Command::new(rows::SLOWLOG_LEN,   len),
    Command::new(rows::SLOWLOG_RESET, reset),
];

#[rustfmt::skip]
const LATENCY: &[Command<NodeFn>] = &[
    Command::new(rows::LATENCY_DOCTOR,    doctor),
    Command::new(rows::LATENCY_GRAPH,     graph),
    Command::new(rows::LATENCY_HELP,      latency_help),
    Command::new(rows::LATENCY_HISTOGRAM, histograms),
    Command::new(rows::LATENCY_HISTORY,   history),
    Command::new(rows::LATENCY_LATEST,    latest),
    Command::new(rows::LATENCY_RESET,     forget),
];

/// How the answers of all cores become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The newest entries: so many.
    Entries {
        count: usize,
    },
    /// How many entries there are.
    Length,
    Latest,
    History {
        event: Vec<u8>,
    },
    Graph {
        event: Vec<u8>,
    },
    Doctor,
    /// How many kinds were forgotten.
    Forgotten,
    Histograms,
}

fn slowlog_alone(_: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    Err(ErrorKind::WrongArity { command: "SLOWLOG" })
}

fn latency_alone(_: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    Err(ErrorKind::WrongArity { command: "LATENCY" })
}

fn slowlog_help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    docs::write_help("SLOWLOG", SLOWLOG, &mut cx.reply);
    Ok(())
}

fn latency_help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    docs::write_help("LATENCY", LATENCY, &mut cx.reply);
    Ok(())
}

/// Entries that are shown to who does not say how many.
const SHOWN: i64 = 10;

/// `SLOWLOG GET [count]`: -1 is all.
fn get(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let count = match (args.get(2), args.len()) {
        (None, _) => SHOWN,
        (Some(count), 3) => {
            let count = parse_i64(count).filter(|count| *count >= -1);
            count.ok_or(ErrorKind::SlowlogCount)?
        }
        _ => return Err(ErrorKind::wrong_subcommand("SLOWLOG", &args[1])),
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let max = cx.core.slow.entries_max;
    let shown = Shown::Entries { count: count.min(max) };
    cx.ask_all("slowlog", args.skip(2), Summary::Slow(shown));
    Ok(())
}

fn len(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("slowlog-len", args, Summary::Slow(Shown::Length));
    Ok(())
}

fn reset(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("slowlog-reset", args, Summary::AllOk);
    Ok(())
}

fn latest(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("latency", args, Summary::Slow(Shown::Latest));
    Ok(())
}

/// `LATENCY HISTORY event`
fn history(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let event = args[2].to_vec();
    cx.ask_all("latency", args, Summary::Slow(Shown::History { event }));
    Ok(())
}

/// `LATENCY GRAPH event`
fn graph(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let event = args[2].to_vec();
    cx.ask_all("latency", args, Summary::Slow(Shown::Graph { event }));
    Ok(())
}

fn doctor(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("latency", args, Summary::Slow(Shown::Doctor));
    Ok(())
}

/// `LATENCY RESET [event ...]`
fn forget(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("latency-reset", args.skip(2), Summary::Slow(Shown::Forgotten));
    Ok(())
}

/// `LATENCY HISTOGRAM [command ...]`
fn histograms(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("latency-histogram", args.skip(2), Summary::Slow(Shown::Histograms));
    Ok(())
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// This core's entries, the newest first.
pub(super) fn entries_part(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    reply.array(core.slow.log.len());
    for entry in &core.slow.log {
        reply.array(6);
        reply.int(int(entry.id));
        reply.int(i64::from(entry.at));
        reply.int(int(entry.micros));
        reply.array(entry.words.len());
        entry.words.iter().for_each(|word| reply.bulk(word));
        reply.bulk(entry.addr.as_bytes());
        reply.bulk(&entry.name);
    }
}

pub(super) fn length_part(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    reply.int(int(core.slow.log.len() as u64));
}

pub(super) fn reset_part(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    core.slow.log.clear();
    reply.ok();
}

/// This core's samples: `[name, most, [second, ms, ..]]`.
pub(super) fn samples_part(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    reply.array(core.slow.samples.len());
    for (name, samples) in &core.slow.samples {
        reply.array(3);
        reply.bulk(name.as_bytes());
        reply.int(int(samples.most_ms));
        reply.array(2 * samples.last.len());
        for (at, ms) in &samples.last {
            reply.int(i64::from(*at));
            reply.int(int(*ms));
        }
    }
}

/// `[event ..]`: the names of those that were forgotten here; no words mean all.
pub(super) fn forget_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let named = |name: &str| args.len() == 0 || args.iter().any(|it| it == name.as_bytes());
    let gone: Vec<&str> = core.slow.samples.keys().copied().filter(|name| named(name)).collect();
    core.slow.samples.retain(|name, _| !named(name));
    reply.array(gone.len());
    gone.iter().for_each(|name| reply.bulk(name.as_bytes()));
}

/// `[command ..]`: `[name, [nanoseconds, calls, ..]]` of each command that was called here.
pub(super) fn histogram_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let table = &core.shared.table;
    let number = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
    let kept = core.slow.histograms.iter().enumerate();
    let found: Vec<_> = kept
        .filter_map(|(at, histogram)| Some((number(at), histogram.as_ref()?)))
        .filter(|(number, _)| is_named(table, *number, args))
        .collect();
    reply.array(found.len());
    for (number, histogram) in found {
        reply.array(2);
        reply.bulk(table.row(number).full_name.as_bytes());
        let values: Vec<(u64, u64)> = histogram
            .iter_recorded()
            .map(|it| (it.value_iterated_to(), it.count_at_value()))
            .collect();
        reply.array(2 * values.len());
        for (value, calls) in values {
            reply.int(int(value));
            reply.int(int(calls));
        }
    }
}

/// A name is that of a command or sub-command, or of a container, which means all that it has.
fn is_named(table: &Table, number: u16, args: Args<'_>) -> bool {
    let row = table.row(number);
    let is = |name: &[u8]| {
        row.full_name.as_bytes().eq_ignore_ascii_case(name)
            || row.container.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(name))
    };
    args.len() == 0 || args.iter().any(is)
}

/// Writes the one reply.
pub(super) fn summarize(shown: &Shown, parts: &[&[u8]], reply: &mut Reply<'_>) {
    let items: Vec<Value> = parts.iter().flat_map(|part| array(part)).collect();
    match shown {
        Shown::Entries { count } => {
            let mut entries: Vec<Value> = items;
            entries.sort_by_key(|entry| std::cmp::Reverse(number(entry, 0)));
            entries.truncate(*count);
            reply.array(entries.len());
            entries.iter().for_each(|entry| write(entry, reply));
        }
        Shown::Length => {
            let sum = parts.iter().map(|part| match decode::decode(part) {
                Ok(Some((Value::Int(length), _))) => length,
                _ => 0,
            });
            reply.int(sum.sum());
        }
        Shown::Forgotten => {
            let names: std::collections::BTreeSet<Vec<u8>> =
                items.into_iter().filter_map(bulk).collect();
            reply.int(int(names.len() as u64));
        }
        Shown::Latest => {
            let all = samples(items);
            reply.array(all.len());
            for (name, samples) in &all {
                let (at, ms) = samples.last.back().copied().unwrap_or_default();
                reply.array(4);
                reply.bulk(name);
                reply.int(i64::from(at));
                reply.int(int(ms));
                reply.int(int(samples.most_ms));
            }
        }
        Shown::History { event } => {
            let all = samples(items);
            let last = all.get(event).map(|it| it.last.iter()).into_iter().flatten();
            let last: Vec<_> = last.collect();
            reply.array(last.len());
            for (at, ms) in last {
                reply.array(2);
                reply.int(i64::from(*at));
                reply.int(int(*ms));
            }
        }
        Shown::Graph { event } => match samples(items).get(event) {
            Some(samples) => reply.verbatim(*b"txt", &draw(event, samples)),
            None => reply.error(&ErrorKind::NoSamples { event: event.as_slice().into() }),
        },
        Shown::Doctor => reply.verbatim(*b"txt", advice(&samples(items)).as_bytes()),
        Shown::Histograms => write_histograms(items, reply),
    }
}

fn array(part: &[u8]) -> Vec<Value> {
    match decode::decode(part) {
        Ok(Some((Value::Array(items), _))) => items,
        _ => Vec::new(),
    }
}

fn bulk(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

fn number(value: &Value, at: usize) -> i64 {
    match value {
        Value::Array(items) => match items.get(at) {
            Some(Value::Int(number)) => *number,
            _ => 0,
        },
        _ => 0,
    }
}

fn write(value: &Value, reply: &mut Reply<'_>) {
    match value {
        Value::Int(number) => reply.int(*number),
        Value::Bulk(bytes) => reply.bulk(bytes),
        Value::Array(items) => {
            reply.array(items.len());
            items.iter().for_each(|item| write(item, reply));
        }
        _ => reply.null(),
    }
}

/// The samples of all cores: of one second the longest.
fn samples(items: Vec<Value>) -> BTreeMap<Vec<u8>, Samples> {
    let mut seconds: BTreeMap<Vec<u8>, (u64, BTreeMap<u32, u64>)> = BTreeMap::new();
    for item in items {
        let Value::Array(fields) = item else { continue };
        let [Value::Bulk(name), Value::Int(most), Value::Array(last)] = fields.as_slice() else {
            continue;
        };
        let (most_ms, all) = seconds.entry(name.clone()).or_default();
        *most_ms = (*most_ms).max(u64::try_from(*most).unwrap_or(0));
        for pair in last.chunks_exact(2) {
            let [Value::Int(at), Value::Int(ms)] = pair else { continue };
            let ms = u64::try_from(*ms).unwrap_or(0);
            let place = all.entry(u32::try_from(*at).unwrap_or(0)).or_default();
            *place = (*place).max(ms);
        }
    }
    let samples = |(name, (most_ms, all)): (Vec<u8>, (u64, BTreeMap<u32, u64>))| {
        (name, Samples { last: all.into_iter().collect(), most_ms })
    };
    seconds.into_iter().map(samples).collect()
}

const GRAPH_ROWS: u64 = 4;
const GRAPH_COLUMNS: usize = 80;

/// Columns of hashes, the newest on the right.
fn draw(event: &[u8], samples: &Samples) -> Vec<u8> {
    let from = samples.last.len().saturating_sub(GRAPH_COLUMNS);
    let shown: Vec<u64> = samples.last.iter().skip(from).map(|(_, ms)| *ms).collect();
    let (high, low) =
        (shown.iter().max().copied().unwrap_or(0), shown.iter().min().copied().unwrap_or(0));
    let mut text = event.to_vec();
    let line = format!(
        " - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        samples.most_ms,
        "-".repeat(GRAPH_COLUMNS)
    );
    text.extend(line.into_bytes());
    for row in (0..GRAPH_ROWS).rev() {
        for ms in &shown {
            // The lowest is a line, the highest fills all rows.
            let height = (ms - low) * GRAPH_ROWS / (high - low).max(1);
            text.push(if height > row {
                b'#'
            } else if row == 0 {
                b'_'
            } else {
                b' '
            });
        }
        text.push(b'\n');
    }
    text
}

fn advice(all: &BTreeMap<Vec<u8>, Samples>) -> String {
    if all.is_empty() {
        return "No latency was noted: either nothing took long, or `latency-monitor-threshold` is 0. \
                Set it to the number of milliseconds that is too long for you.\n"
            .into();
    }
    let mut text = String::from("What took longer than latency-monitor-threshold:\n");
    for (name, samples) in all {
        let name = String::from_utf8_lossy(name);
        let sum: u64 = samples.last.iter().map(|(_, ms)| ms).sum();
        let mean = sum / (samples.last.len() as u64).max(1);
        text.push_str(&format!(
            "- {name}: {} seconds with such, {mean} ms on average, {} ms at most\n",
            samples.last.len(),
            samples.most_ms
        ));
    }
    text.push_str(
        "\nSLOWLOG GET names the requests. A request that works on many elements stops its core for so \
         long: ask for less at once (SCAN for KEYS, ranges for whole collections). The other cores go on.\n",
    );
    text
}

/// In powers of two of a microsecond: how many calls took so long at most.
fn write_histograms(items: Vec<Value>, reply: &mut Reply<'_>) {
    let mut all: BTreeMap<Vec<u8>, hdrhistogram::Histogram<u64>> = BTreeMap::new();
    for item in items {
        let Value::Array(fields) = item else { continue };
        let [Value::Bulk(name), Value::Array(values)] = fields.as_slice() else { continue };
        let merged = all.entry(name.clone()).or_insert_with(histogram);
        for pair in values.chunks_exact(2) {
            let [Value::Int(value), Value::Int(calls)] = pair else { continue };
            let (value, calls) = (u64::try_from(*value), u64::try_from(*calls));
            if let (Ok(value), Ok(calls)) = (value, calls) {
                merged.saturating_record_n(value, calls);
            }
        }
    }
    reply.map(all.len());
    for (name, histogram) in &all {
        reply.bulk(name);
        reply.map(2);
        reply.bulk(b"calls");
        reply.int(int(histogram.len()));
        reply.bulk(b"histogram_usec");
        let buckets = buckets(histogram);
        reply.map(buckets.len());
        for (micros, calls) in buckets {
            reply.int(int(micros));
            reply.int(int(calls));
        }
    }
}

/// The buckets that hold something, each with all calls up to its end.
fn buckets(histogram: &hdrhistogram::Histogram<u64>) -> Vec<(u64, u64)> {
    const FIRST: u64 = 1_024;
    let mut buckets: Vec<(u64, u64)> = Vec::new();
    let (mut level, mut before) = (FIRST, 0);
    while before < histogram.len() {
        let end = histogram.highest_equivalent(level);
        let calls = histogram.count_between(0, end);
        if calls > before {
            buckets.push((end / 1_000, calls));
            before = calls;
        }
        match level.checked_mul(2) {
            Some(next) => level = next,
            None => break,
        }
    }
    buckets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{Node, check_with};

    /// In tests every look at the stopwatch is ten milliseconds after the last.
    #[test]
    fn slow_requests_are_logged_whoever_ran_them() {
        for cores in [1, 3] {
            let mut node = Node::with(cores, |settings| settings.slowlog_log_slower_than = 10_000);
            let client = node.connect_on(0);
            node.send(client, b"CLIENT SETNAME me\r\nRPUSH list a b c\r\n");
            for key in 0..20 {
                node.send(client, format!("DEL {{{key}}}a {{{key}}}b\r\n").as_bytes());
            }
            node.send(client, b"GET x\r\nSET x 1\r\nKEYS *\r\n");
            let said = node.send(client, b"SLOWLOG GET 100\r\n");
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains("$3\r\nDEL\r\n$5\r\n{19}a\r\n$5\r\n{19}b\r\n"), "{said}");
            assert!(said.contains("$11\r\n127.0.0.1:1\r\n$2\r\nme\r\n"), "{said}");
            assert!(!said.contains("$3\r\nGET") && !said.contains("$3\r\nSET"), "{said}");
            assert_eq!(node.send(client, b"SLOWLOG RESET\r\n"), b"+OK\r\n");
            // It was slow itself, after it had forgotten the others.
            let said = node.send(client, b"SLOWLOG GET\r\n");
            assert!(said.starts_with(b"*1\r\n"), "{}", said.escape_ascii());
            node.send(client, b"CONFIG SET slowlog-log-slower-than 0\r\n");
            node.send(client, b"GET x\r\nAUTH a b\r\nACL SETUSER u >secret\r\nCONFIG SET requirepass \"\" masterauth secret\r\n");
            let said = node.send(client, b"SLOWLOG GET -1\r\n");
            let said = String::from_utf8(said).unwrap();
            assert!(said.contains("$3\r\nGET\r\n$1\r\nx\r\n"), "{said}");
            assert!(said.contains("(redacted)") && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn words_of_slowlog_and_latency() {
        check_with(
            |settings| settings.slowlog_log_slower_than = -1,
            r#"
            a> SLOWLOG GET -2
            a< -ERR count should be greater than or equal to -1
            a> SLOWLOG GET x
            a< -ERR count should be greater than or equal to -1
            a> SLOWLOG LEN
            a< :0
            a> SLOWLOG FOO
            a< -ERR unknown subcommand 'FOO'. Try SLOWLOG HELP.
            a> LATENCY LATEST
            a< *0
            a> LATENCY HISTORY command
            a< *0
            a> LATENCY RESET
            a< :0
            a> LATENCY GRAPH command
            a< -ERR No samples available for event 'command'
            a> KEYS *
            a< *0
            a> LATENCY LATEST
            a< *0
            a> CONFIG SET latency-monitor-threshold 10
            a< +OK
            a> KEYS *
            a< *0
            a> LATENCY LATEST
            a< *1 *4 $7 command :1700000000 :10 :10
            a> LATENCY HISTORY command
            a< *1 *2 :1700000000 :10
            a> LATENCY RESET nope
            a< :0
            a> LATENCY RESET nope command
            a< :1
            a> LATENCY LATEST
            a< *0
            a> SLOWLOG LEN
            a< :0
            "#,
        );
    }

    #[test]
    fn buckets_are_powers_of_two_and_add_up() {
        let mut one = histogram();
        for (value, calls) in [(500, 2), (1_500, 1), (40_000, 3), (2_000_000, 1)] {
            one.saturating_record_n(value, calls);
        }
        assert_eq!(buckets(&one), [(1, 2), (2, 3), (66, 6), (2_113, 7)]);
    }
}
