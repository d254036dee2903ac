//! A run and a plan as text for the terminal.

use crate::client::schedules;
use crate::crowd;
use crate::draw::Draw;
use crate::histogram::Histogram;
use crate::pace::{Pacer, Slot};
use crate::plan::{Kind, Pace, Plan};
use crate::report::{QUANTILES, titles};
use crate::run::Outcome;
use crate::source::Source;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The report of a run.
#[must_use]
pub fn run(plan: &Plan, outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let seconds = outcome.window_ns as f64 / 1e9;
    let rate = outcome.window_replies as f64 / seconds.max(1e-9);
    let mut text = format!(
        "{} requests to {} in {seconds:.3} s: {rate:.0} per second, {} connections, {} threads\n\n",
        outcome.window_replies,
        plan.target.name(),
        plan.connections(),
        plan.threads,
    );
    text += &header("latency, us");
    let kinds = titles(plan);
    if kinds.len() > 1 {
        kinds.iter().zip(&tally.latencies).for_each(|(title, it)| text += &row(title, it));
    }
    text += &row("all", &tally.latency());
    for (name, histogram) in tally.phases() {
        if histogram.count() > 0 {
            text += &row(name, histogram);
        }
    }
    // Writing to a String cannot fail.
    if plan.groups.iter().any(|it| it.pace != Pace::Closed) {
        let _written =
            writeln!(text, "\n{} slots waited for earlier replies of their connection", tally.held);
    }
    for storm in &tally.storms {
        let (at, back) = (storm.at_ns as f64 / 1e9, storm.over_ns.saturating_sub(storm.at_ns));
        let back = match storm.away {
            0 => format!("all back after {:.3} s", back as f64 / 1e9),
            away => format!("{away} are not back"),
        };
        let _written = writeln!(text, "storm at {at:.1} s: {} clients cut off, {back}", storm.cut);
    }
    if tally.messages > 0 {
        let _written = writeln!(text, "{} messages to subscribers", tally.messages);
    }
    if tally.lost + tally.abandoned > 0 {
        let (lost, abandoned) = (tally.lost, tally.abandoned);
        let _written = writeln!(text, "{lost} connections lost, {abandoned} requests abandoned");
    }
    if !tally.refusals.is_empty() {
        let all: Vec<String> =
            tally.refusals.iter().map(|(word, count)| format!("{word} {count}")).collect();
        let (length, over) = tally.silence;
        let (length, over) = (length as f64 / 1e9, over as f64 / 1e9);
        let all = all.join(", ");
        let _written = writeln!(
            text,
            "refused and sent once more: {all}; the longest time without a reply was {length:.3} s, \
             until {over:.3} s"
        );
    }
    let per_request = |ns: u64| ns as f64 / outcome.window_replies.max(1) as f64;
    let _written = write!(text, "\nCPU per request: loadgen {:.0} ns", per_request(outcome.cpu_ns));
    if let Some(ns) = outcome.server_cpu_ns {
        let _written = write!(text, ", server {:.0} ns", per_request(ns));
    }
    let mib = outcome.resident_bytes as f64 / f64::from(1 << 20);
    let _written = writeln!(text, "; memory of loadgen {mib:.1} MiB");
    let _written = writeln!(text, "seed {}; {} replies were null", plan.seed, tally.nulls);
    if let Some(found) = outcome.read_back.as_ref().filter(|it| it.faults() == 0) {
        let keys = found.keys;
        let _written =
            writeln!(text, "verified: all {keys} keys with acknowledged writes have them");
    }
    text
}

/// The head of a table of distributions.
#[must_use]
pub fn header(title: &str) -> String {
    let mut line = format!("{title:<22}{:>11}", "samples");
    for (title, _) in QUANTILES {
        line += &format!("{title:>10}");
    }
    line + &format!("{:>11}\n", "max")
}

/// A row of it.
#[must_use]
pub fn row(title: &str, histogram: &Histogram) -> String {
    let short: String = title.chars().take(21).collect();
    let mut line = format!("{short:<22}{:>11}", histogram.count());
    for (_, quantile) in QUANTILES {
        line += &format!("{:>10.1}", histogram.at(*quantile) as f64 / 1000.0);
    }
    line + &format!("{:>11.1}\n", histogram.max() as f64 / 1000.0)
}

/// A plan: a line of JSON that `--plan` takes, then each group's first `count` connects (where they
/// are planned) and requests. An open loop's carry their times; a closed loop's are shown
/// connection by connection in turn.
pub fn plan(plan: &Plan, count: usize) -> Result<String, String> {
    let mut text = serde_json::to_string(plan).map_err(|it| it.to_string())? + "\n";
    let sources = Source::all(plan)?;
    let mut first = 0;
    for (index, (group, source)) in plan.groups.iter().zip(&sources).enumerate() {
        let connections = u64::from(group.connections);
        if !plan.crowd.ramp.is_empty() {
            for connection in (first..first + connections).take(count) {
                let at = crowd::dial_time(plan, connection, first, connections);
                let _written = writeln!(text, "# {at} ns connection {connection} dials");
            }
        }
        let mut next = BTreeMap::<u64, u64>::new();
        let sends = if group.kind == Kind::Idle { 0 } else { count };
        for (at, connection) in slots(plan, index, first).take(sends) {
            let request = next.entry(connection).or_default();
            let mut bytes = Vec::new();
            let stream = Draw::stream(plan.seed, connection);
            source.write(&mut bytes, stream, connection, *request, at.unwrap_or(0));
            *request += 1;
            let shown = bytes[..bytes.len().min(200)].escape_ascii();
            let _written = match at {
                Some(at) => writeln!(text, "# {at} ns connection {connection}: {shown}"),
                None => writeln!(text, "# connection {connection}: {shown}"),
            };
        }
        first += connections;
    }
    for storm in &plan.crowd.storms {
        let taken = storm.share * 100.0;
        let _written =
            writeln!(text, "# {} s storm over {taken} % of the clients", storm.at_seconds);
    }
    Ok(text)
}

/// When and on which connection a group's requests leave, over all threads, in order.
fn slots(
    plan: &Plan,
    index: usize,
    first: u64,
) -> Box<dyn Iterator<Item = (Option<u64>, u64)> + '_> {
    let group = &plan.groups[index];
    let connections = u64::from(group.connections);
    if group.pace == Pace::Closed {
        let all = if group.kind == Kind::Subscriber { connections } else { u64::MAX };
        let limit = usize::try_from(group.requests.unwrap_or(all)).unwrap_or(usize::MAX);
        return Box::new((0u64..).map(move |it| (None, first + it % connections)).take(limit));
    }
    let mut pacers: Vec<_> = schedules(plan, index, first);
    Box::new(std::iter::from_fn(move || {
        let earliest = |it: &(_, Pacer)| it.1.peek().map(|slot: Slot| slot.at);
        let (own, pacer) =
            pacers.iter_mut().filter(|it| earliest(it).is_some()).min_by_key(|it| earliest(it))?;
        let own: &Vec<u64> = own;
        let slot = pacer.due(u64::MAX)?;
        let connection = own.get(usize::try_from(slot.connection).ok()?)?;
        Some((Some(slot.at), *connection))
    }))
}
