//! What a run found, for people (text) and for programs (JSON). Prints; decides nothing.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_types,
    reason = "the terminal, and the date of a publication"
)]

use crate::drive::name;
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::pace::Slot;
use crate::plan::{Draw, Pace, Plan};
use crate::run::{Outcome, Progress};
use crate::source::Source;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

#[rustfmt::skip] // The percentiles of every report.
const QUANTILES: &[(&str, f64)] = &[
    ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("p99.999", 0.99999),
];

/// The JSON report.
#[derive(Serialize)]
struct Report<'p> {
    loadgen: &'static str,
    unix_seconds: u64,
    host: Host,
    command_line: Vec<String>,
    plan: &'p Plan,
    seconds: f64,
    requests: u64,
    requests_per_second: f64,
    nulls: u64,
    errors: &'p BTreeMap<String, u64>,
    first_error: Option<&'p str>,
    latency: Latency,
    commands: Vec<Command>,
    connect: Latency,
    /// Only of an open loop: how late loadgen itself was, and slots held back by earlier replies.
    scheduling_error: Option<Latency>,
    held: u64,
    cpu_ns_per_request: f64,
    server_cpu_ns_per_request: Option<f64>,
    verified: Option<Verified<'p>>,
    failure: Option<String>,
}

#[derive(Serialize)]
struct Host {
    kernel: String,
    cpu: String,
    congestion_control: String,
}

#[derive(Serialize)]
struct Command {
    command: String,
    latency: Latency,
}

#[derive(Serialize)]
struct Latency {
    samples: u64,
    mean_us: f64,
    min_us: f64,
    max_us: f64,
    percentiles_us: BTreeMap<&'static str, f64>,
}

#[derive(Serialize)]
struct Verified<'p> {
    keys: u64,
    lost: u64,
    old: u64,
    wrong: u64,
    examples: &'p [String],
}

/// The report in the terminal.
pub fn print(plan: &Plan, outcome: &Outcome) {
    print!("{}", text(plan, outcome));
}

/// Errors go to the other stream, so that a report can be piped.
pub fn print_failure(failure: &Failure) {
    eprintln!("loadgen: {failure}");
}

/// One line that is written over, where somebody watches.
pub fn show_progress(progress: Progress) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let phase = if progress.warming_up { "warm-up " } else { "" };
        let Progress { seconds, replies, replies_per_second, .. } = progress;
        // A terminal that went away is no reason to stop.
        let _shown = write!(
            stderr,
            "\r\x1b[K{phase}{seconds:.1} s  {replies} requests  {replies_per_second:.0}/s"
        );
    }
}

/// Takes the progress line away.
pub fn end_progress() {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _cleared = write!(stderr, "\r\x1b[K");
    }
}

/// Writes the JSON report.
pub fn write_json(path: &Path, plan: &Plan, outcome: &Outcome) -> Result<(), Failure> {
    let report = report(plan, outcome);
    let text = serde_json::to_string_pretty(&report)
        .map_err(|it| Failure::Output(format!("making the report: {it}")))?;
    write(path, &(text + "\n"))
}

/// Writes the distribution of all commands together.
pub fn write_hgrm(path: &Path, outcome: &Outcome) -> Result<(), Failure> {
    write(path, &outcome.tally.latency().hgrm())
}

/// Reads a plan back: the first line of what [`print_plan`] printed, or the `plan` of a report.
pub fn read_plan(path: &Path) -> Result<Plan, Failure> {
    let wrong = |why: String| Failure::Plan(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|it| wrong(it.to_string()))?;
    let first = text.lines().next().unwrap_or_default();
    let plan: Plan = serde_json::from_str(first)
        .or_else(|error| {
            let report: serde_json::Value = serde_json::from_str(&text).map_err(|_| error)?;
            serde_json::from_value(report["plan"].clone())
        })
        .map_err(|it| wrong(it.to_string()))?;
    plan.check().map(|()| plan).map_err(wrong)
}

/// Prints the plan: a line of JSON that `--plan` takes, then the first `count` requests. An open
/// loop's carry their times; a closed loop's are shown connection by connection in turn.
pub fn print_plan(plan: &Plan, count: usize) -> Result<(), Failure> {
    let header = serde_json::to_string(plan).map_err(|it| Failure::Plan(it.to_string()))?;
    println!("{header}");
    let sources = Source::all(plan).map_err(Failure::Plan)?;
    let mut first = 0;
    for (index, (group, source)) in plan.groups.iter().zip(&sources).enumerate() {
        let mut next = BTreeMap::<u64, u64>::new();
        for (at, connection) in slots(plan, index, first).take(count) {
            let request = next.entry(connection).or_default();
            let mut bytes = Vec::new();
            source.write(&mut bytes, Draw::stream(plan.seed, connection), connection, *request);
            *request += 1;
            let shown = bytes[..bytes.len().min(200)].escape_ascii();
            match at {
                Some(at) => println!("# {at} ns connection {connection}: {shown}"),
                None => println!("# connection {connection}: {shown}"),
            }
        }
        first += u64::from(group.connections);
    }
    Ok(())
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
        let limit = usize::try_from(group.requests.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        return Box::new((0u64..).map(move |it| (None, first + it % connections)).take(limit));
    }
    let mut pacers: Vec<_> = crate::client::schedules(plan, index, first);
    Box::new(std::iter::from_fn(move || {
        let earliest = |it: &(_, crate::pace::Pacer)| it.1.peek().map(|slot: Slot| slot.at);
        let (own, pacer) =
            pacers.iter_mut().filter(|it| earliest(it).is_some()).min_by_key(|it| earliest(it))?;
        let own: &Vec<u64> = own;
        let slot = pacer.due(u64::MAX)?;
        let connection = own.get(usize::try_from(slot.connection).ok()?)?;
        Some((Some(slot.at), *connection))
    }))
}

fn text(plan: &Plan, outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let (seconds, rate) = rate(outcome);
    let mut text = format!(
        "{} requests to {} in {seconds:.3} s: {rate:.0} per second, {} connections, {} threads\n\n",
        outcome.window_replies,
        name(&plan.target),
        plan.connections(),
        plan.threads,
    );
    text += &header();
    let all = tally.latency();
    for ((_, share), histogram) in plan.kinds().iter().zip(&tally.latencies) {
        if plan.kinds().len() > 1 {
            text += &row(&share.command, histogram);
        }
    }
    text += &row("all", &all);
    if plan.groups.iter().any(|it| it.pace != Pace::Closed) {
        text += &row("scheduling error", &tally.scheduling_error);
        text += &format!("\n{} slots waited for earlier replies of their connection\n", tally.held);
    }
    text += &row("connect", &outcome.connect);
    let per_request = |ns: u64| ns as f64 / outcome.window_replies.max(1) as f64;
    text += &format!("\nCPU per request: loadgen {:.0} ns", per_request(outcome.cpu_ns));
    if let Some(ns) = outcome.server_cpu_ns {
        text += &format!(", server {:.0} ns", per_request(ns));
    }
    text += &format!("\nseed {}; {} replies were null\n", plan.seed, tally.nulls);
    if let Some(found) = outcome.read_back.as_ref().filter(|it| it.faults() == 0) {
        text += &format!("verified: all {} keys with acknowledged writes have them\n", found.keys);
    }
    text
}

fn header() -> String {
    let mut line = format!("{:<20}{:>11}", "latency, us", "samples");
    for (title, _) in QUANTILES {
        line += &format!("{title:>10}");
    }
    line + &format!("{:>11}\n", "max")
}

fn row(title: &str, histogram: &Histogram) -> String {
    let short: String = title.chars().take(19).collect();
    let mut line = format!("{short:<20}{:>11}", histogram.count());
    for (_, quantile) in QUANTILES {
        line += &format!("{:>10.1}", histogram.at(*quantile) as f64 / 1000.0);
    }
    line + &format!("{:>11.1}\n", histogram.max() as f64 / 1000.0)
}

fn report<'p>(plan: &'p Plan, outcome: &'p Outcome) -> Report<'p> {
    let tally = &outcome.tally;
    let (seconds, rate) = rate(outcome);
    let per_request = |ns: u64| ns as f64 / outcome.window_replies.max(1) as f64;
    let open = plan.groups.iter().any(|it| it.pace != Pace::Closed);
    let commands = plan.kinds().into_iter().zip(&tally.latencies);
    Report {
        loadgen: env!("CARGO_PKG_VERSION"),
        unix_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs()),
        host: host(),
        command_line: std::env::args().collect(),
        plan,
        seconds,
        requests: outcome.window_replies,
        requests_per_second: rate,
        nulls: tally.nulls,
        errors: &tally.errors,
        first_error: tally.first_error.as_deref(),
        latency: latency(&tally.latency()),
        commands: commands
            .map(|((_, share), it)| Command { command: share.command, latency: latency(it) })
            .collect(),
        connect: latency(&outcome.connect),
        scheduling_error: open.then(|| latency(&tally.scheduling_error)),
        held: tally.held,
        cpu_ns_per_request: per_request(outcome.cpu_ns),
        server_cpu_ns_per_request: outcome.server_cpu_ns.map(per_request),
        verified: outcome.read_back.as_ref().map(|it| Verified {
            keys: it.keys,
            lost: it.lost,
            old: it.old,
            wrong: it.wrong,
            examples: &it.examples,
        }),
        failure: outcome.verdict().map(|it| it.to_string()),
    }
}

fn latency(histogram: &Histogram) -> Latency {
    let us = |ns: u64| ns as f64 / 1000.0;
    Latency {
        samples: histogram.count(),
        mean_us: histogram.mean() / 1000.0,
        min_us: us(histogram.min()),
        max_us: us(histogram.max()),
        percentiles_us: QUANTILES
            .iter()
            .map(|(title, at)| (*title, us(histogram.at(*at))))
            .collect(),
    }
}

fn rate(outcome: &Outcome) -> (f64, f64) {
    let seconds = outcome.window_ns as f64 / 1e9;
    (seconds, if seconds > 0.0 { outcome.window_replies as f64 / seconds } else { 0.0 })
}

/// What a publication must name; empty where the host does not say.
fn host() -> Host {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let cpus = read("/proc/cpuinfo");
    let cpu = cpus.lines().find_map(|it| it.strip_prefix("model name")?.split_once(": "));
    Host {
        kernel: read("/proc/sys/kernel/osrelease"),
        cpu: cpu.map_or(String::new(), |it| it.1.to_string()),
        congestion_control: read("/proc/sys/net/ipv4/tcp_congestion_control"),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text)
        .map_err(|it| Failure::Output(format!("cannot write {}: {it}", path.display())))
}
