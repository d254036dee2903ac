//! What a run found, as data: made once, then written as JSON, as text (`text.rs`) and as a page
//! (`page.rs`), which reads reports of earlier runs too. Times are microseconds, except where a
//! name says seconds.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_types,
    reason = "the terminal, and the date of a publication"
)]

use crate::args::Page;
use crate::failure::Failure;
use crate::histogram::Histogram;
use crate::page;
use crate::plan::{Pace, Plan};
use crate::run::Outcome;
use crate::series::{Series, upper};
use crate::text;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

#[rustfmt::skip] // The percentiles of every report.
pub const QUANTILES: &[(&str, f64)] = &[
    ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("p99.999", 0.99999),
];
/// Buckets of a series that are one cell of a heat map: eight cells for each power of two.
const CELL_BUCKETS: u16 = 4;

/// The JSON report.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct Report {
    pub loadgen: String,
    pub unix_seconds: u64,
    pub host: Host,
    pub command_line: Vec<String>,
    /// What ran; a lag probe has none.
    pub plan: Option<Plan>,
    pub seconds: f64,
    pub requests: u64,
    pub requests_per_second: f64,
    pub nulls: u64,
    pub messages: u64,
    pub errors: BTreeMap<String, u64>,
    pub first_error: Option<String>,
    pub latency: Latency,
    pub commands: Vec<Command>,
    pub connect: Latency,
    /// Every phase that was measured, `connect` among them.
    pub phases: BTreeMap<String, Latency>,
    /// Only of an open loop: how late loadgen itself was, and slots held back by earlier replies.
    pub scheduling_error: Option<Latency>,
    pub held: u64,
    /// Requests in flight on connections that were cut, and connections that were lost.
    pub abandoned: u64,
    pub lost: u64,
    /// Requests that were refused and sent once more, by the word of the refusal.
    pub refusals: BTreeMap<String, u64>,
    /// The longest time without any reply to a request, and when it was over, from the start.
    pub silence_seconds: f64,
    pub silence_over_seconds: f64,
    pub storms: Vec<StormReport>,
    pub cpu_ns_per_request: f64,
    pub server_cpu_ns_per_request: Option<f64>,
    pub gather_seconds: f64,
    /// The most anonymous memory that loadgen had.
    pub resident_bytes: u64,
    pub verified: Option<Verified>,
    pub failure: Option<String>,
    pub events: Vec<(f64, String)>,
    pub curves: Vec<Curve>,
    pub series: Columns,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Host {
    pub kernel: String,
    pub cpu: String,
    pub congestion_control: String,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Command {
    pub command: String,
    pub latency: Latency,
}

#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Latency {
    pub samples: u64,
    pub mean_us: f64,
    pub min_us: f64,
    pub max_us: f64,
    pub percentiles_us: BTreeMap<String, f64>,
}

/// Clients cut off at one moment: how many, and how long until all were back.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct StormReport {
    pub at_seconds: f64,
    pub cut: u64,
    pub missing: u64,
    pub back_seconds: f64,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Verified {
    pub keys: u64,
    pub lost: u64,
    pub old: u64,
    pub wrong: u64,
    pub examples: Vec<String>,
}

/// A distribution to draw.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Curve {
    pub name: String,
    /// Share of all values, the value that it does not exceed in microseconds, how many those are.
    pub points: Vec<(f64, f64, u64)>,
}

/// The time series, column by column.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
#[serde(default)]
pub struct Columns {
    pub interval_seconds: f64,
    pub requests_per_second: Vec<f64>,
    pub messages_per_second: Vec<f64>,
    pub errors: Vec<u64>,
    pub connections: Vec<u64>,
    pub connects: Vec<u64>,
    /// Cores in use; the server's only where its process was named.
    pub cpu_loadgen: Vec<f64>,
    pub cpu_server: Vec<f64>,
    pub p50_us: Vec<Option<f64>>,
    pub p99_us: Vec<Option<f64>>,
    pub p999_us: Vec<Option<f64>>,
    pub max_us: Vec<Option<f64>>,
    /// Per interval: cells of the heat map (the highest latency of each) and their counts.
    pub heat: Vec<Vec<(f64, u64)>>,
}

/// Puts a run's report together.
#[must_use]
pub fn report(plan: &Plan, outcome: &Outcome) -> Report {
    let tally = &outcome.tally;
    let seconds = outcome.window_ns as f64 / 1e9;
    let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let per_request = |ns: u64| ns as f64 / outcome.window_replies.max(1) as f64;
    let open = plan.groups.iter().any(|it| it.pace != Pace::Closed);
    let all = tally.latency();
    let kinds = titles(plan);
    let measured = tally.phases().into_iter().filter(|it| it.1.count() > 0);
    let mut curves = vec![curve("latency", &all)];
    if kinds.len() > 1 {
        curves.extend(kinds.iter().zip(&tally.latencies).map(|(title, it)| curve(title, it)));
    }
    curves.extend(measured.clone().map(|(name, it)| curve(name, it)));
    curves.retain(|it| !it.points.is_empty());
    Report {
        plan: Some(plan.clone()),
        seconds,
        requests: outcome.window_replies,
        requests_per_second: per_second(outcome.window_replies),
        nulls: tally.nulls,
        messages: tally.messages,
        errors: tally.errors.clone(),
        first_error: tally.first_error.clone(),
        latency: latency(&all),
        commands: kinds
            .into_iter()
            .zip(&tally.latencies)
            .map(|(command, it)| Command { command, latency: latency(it) })
            .collect(),
        connect: latency(&tally.connect),
        phases: measured.map(|(name, it)| (name.to_string(), latency(it))).collect(),
        scheduling_error: open.then(|| latency(&tally.scheduling_error)),
        held: tally.held,
        abandoned: tally.abandoned,
        lost: tally.lost,
        refusals: tally.refusals.clone(),
        silence_seconds: tally.silence.0 as f64 / 1e9,
        silence_over_seconds: tally.silence.1 as f64 / 1e9,
        storms: storms(outcome),
        cpu_ns_per_request: per_request(outcome.cpu_ns),
        server_cpu_ns_per_request: outcome.server_cpu_ns.map(per_request),
        gather_seconds: outcome.gather_ns as f64 / 1e9,
        resident_bytes: outcome.resident_bytes,
        verified: outcome.read_back.as_ref().map(|it| Verified {
            keys: it.keys,
            lost: it.lost,
            old: it.old,
            wrong: it.wrong,
            examples: it.examples.clone(),
        }),
        failure: outcome.verdict().map(|it| it.to_string()),
        events: outcome.events.clone(),
        curves,
        series: columns(&outcome.series, outcome.server_cpu_ns.is_some()),
        ..framed()
    }
}

/// A report that says where and when, and nothing else yet.
#[must_use]
pub fn framed() -> Report {
    Report {
        loadgen: env!("CARGO_PKG_VERSION").into(),
        unix_seconds: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs()),
        host: host(),
        command_line: command_line(),
        ..Report::default()
    }
}

/// What was called, without the folder that the program lies in: a report may be published.
fn command_line() -> Vec<String> {
    let mut words: Vec<String> = std::env::args().collect();
    if let Some(program) = words.first_mut() {
        let name = Path::new(program).file_name().map(|it| it.to_string_lossy().into_owned());
        *program = name.unwrap_or_else(|| "loadgen".into());
    }
    words
}

/// The commands of a plan by name; with their groups where there are several.
#[must_use]
pub fn titles(plan: &Plan) -> Vec<String> {
    let title = |(group, share): (usize, crate::plan::Share)| match plan.groups.get(group) {
        Some(it) if plan.groups.len() > 1 => {
            let number = (group + 1).to_string();
            let name = if it.name.is_empty() { number } else { it.name.clone() };
            format!("{name}: {}", share.command)
        }
        _ => share.command,
    };
    plan.kinds().into_iter().map(title).collect()
}

#[must_use]
pub fn latency(histogram: &Histogram) -> Latency {
    let us = |ns: u64| ns as f64 / 1000.0;
    Latency {
        samples: histogram.count(),
        mean_us: histogram.mean() / 1000.0,
        min_us: us(histogram.min()),
        max_us: us(histogram.max()),
        percentiles_us: QUANTILES
            .iter()
            .map(|(title, at)| ((*title).to_string(), us(histogram.at(*at))))
            .collect(),
    }
}

#[must_use]
pub fn curve(name: &str, histogram: &Histogram) -> Curve {
    let points = histogram.curve().into_iter();
    let points = points.map(|(share, ns, count)| (share, ns as f64 / 1000.0, count)).collect();
    Curve { name: name.into(), points }
}

fn storms(outcome: &Outcome) -> Vec<StormReport> {
    let storms = outcome.tally.storms.iter().map(|it| StormReport {
        at_seconds: it.at_ns as f64 / 1e9,
        cut: it.cut,
        missing: it.away,
        back_seconds: it.over_ns.saturating_sub(it.at_ns) as f64 / 1e9,
    });
    storms.collect()
}

fn columns(series: &Series, with_server: bool) -> Columns {
    let seconds = series.interval_ns as f64 / 1e9;
    let mut columns = Columns { interval_seconds: seconds, ..Columns::default() };
    for row in &series.rows {
        let counts = &row.counts;
        let us =
            |quantile: f64| (!row.latencies.is_empty()).then(|| row.at(quantile) as f64 / 1000.0);
        columns.requests_per_second.push(counts.replies as f64 / seconds);
        columns.messages_per_second.push(counts.messages as f64 / seconds);
        columns.errors.push(counts.errors);
        columns.connections.push(row.up);
        columns.connects.push(counts.connects);
        columns.cpu_loadgen.push(row.cpu_ns as f64 / 1e9 / seconds);
        if with_server {
            columns.cpu_server.push(row.server_cpu_ns as f64 / 1e9 / seconds);
        }
        columns.p50_us.push(us(0.5));
        columns.p99_us.push(us(0.99));
        columns.p999_us.push(us(0.999));
        columns.max_us.push(us(1.0));
        let mut cells = BTreeMap::<u16, u64>::new();
        for (bucket, count) in &row.latencies {
            *cells.entry(bucket / CELL_BUCKETS).or_default() += count;
        }
        let cell =
            |(cell, count)| (upper(cell * CELL_BUCKETS + CELL_BUCKETS - 1) as f64 / 1000.0, count);
        columns.heat.push(cells.into_iter().map(cell).collect());
    }
    columns
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

/// The report in the terminal.
pub fn print(plan: &Plan, outcome: &Outcome) {
    print!("{}", text::run(plan, outcome));
}

/// Text in the terminal.
pub fn print_text(text: &str) {
    print!("{text}");
}

/// Errors go to the other stream, so that a report can be piped.
pub fn print_failure(failure: &Failure) {
    eprintln!("loadgen: {failure}");
}

/// Writes the JSON report.
pub fn write_json(path: &Path, report: &Report) -> Result<(), Failure> {
    let text = serde_json::to_string(report)
        .map_err(|it| Failure::Output(format!("making the report: {it}")))?;
    write(path, &(text + "\n"))
}

/// Writes the distribution of all commands together.
pub fn write_hgrm(path: &Path, outcome: &Outcome) -> Result<(), Failure> {
    write(path, &outcome.tally.latency().hgrm())
}

/// Writes one run's page.
pub fn write_page(path: &Path, report: &Report) -> Result<(), Failure> {
    let name = path.file_stem().map_or("run".into(), |it| it.to_string_lossy().into_owned());
    write(path, &page::page(None, &[(name, report.clone())]))
}

/// `loadgen page`: one page of several reports.
pub fn write_page_of(args: &Page) -> Result<(), Failure> {
    let mut runs = Vec::new();
    for path in &args.reports {
        let wrong = |it: &dyn std::fmt::Display| Failure::Plan(format!("{}: {it}", path.display()));
        let text = fs::read_to_string(path).map_err(|it| wrong(&it))?;
        let report: Report = serde_json::from_str(&text).map_err(|it| wrong(&it))?;
        if report.curves.is_empty() {
            return Err(wrong(&"has no curves: it is not a report that --json wrote"));
        }
        let name = path.file_stem().map_or("run".into(), |it| it.to_string_lossy().into_owned());
        runs.push((name, report));
    }
    write(&args.out, &page::page(args.title.as_deref(), &runs))
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

/// Prints the plan: a line of JSON that `--plan` takes, then the first `count` requests.
pub fn print_plan(plan: &Plan, count: usize) -> Result<(), Failure> {
    print!("{}", text::plan(plan, count).map_err(Failure::Plan)?);
    Ok(())
}

/// Writes a result.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text)
        .map_err(|it| Failure::Output(format!("cannot write {}: {it}", path.display())))
}
