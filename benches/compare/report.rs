//! What was measured, as a table for people and as JSON, with everything needed to repeat it.

use crate::bars::Bench;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::process::Command;

#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    Nanoseconds,
    PerSecond,
    Bytes,
    Microseconds,
    Percent,
    Count,
}

/// All samples of one contestant in one run.
pub struct Row {
    bar: u32,
    what: String,
    who: String,
    unit: Unit,
    samples: Vec<f64>,
}

impl Row {
    pub fn new(bar: u32, what: &str, who: &str, unit: Unit, samples: &[f64]) -> Self {
        Self { bar, what: what.into(), who: who.into(), unit, samples: samples.into() }
    }

    fn median(&self) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        }
    }

    fn least(&self) -> f64 {
        self.samples.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn most(&self) -> f64 {
        self.samples.iter().copied().fold(0.0, f64::max)
    }
}

/// The targets, as they are written in the plan.
#[rustfmt::skip] // One row, one line.
const TARGETS: &[(u32, &str)] = &[
    (1,  "CPU per GET / SET at pipeline 1: <= 1.12 L / 1.16 L, <= 0.9x best; floor to ship <= 1.25 L"),
    (2,  "at pipeline 16: <= 1.65 L / 1.9 L, <= 0.6x best, <= 0.33x Redis 7.0; floor <= 0.8x best"),
    (3,  "at pipeline 64: <= 0.45x / 0.5x best, <= 0.22x Redis 7.0; floor <= 0.7x best"),
    (4,  "at 1,000 and 10,000 connections: <= 1.15 L; floor <= 1.3 L"),
    (5,  "throughput of one core: >= 1.12x / 2x best at pipeline 1 / 16, >= 2.5x Redis 7.0 at 16; floor >= best"),
    (7,  "bytes of user memory per idle connection: <= 160, no peak above it; floor <= 400"),
    (8,  "bytes per key of 16 + 16: <= 46 (52 at the worst fill); floor <= 56"),
    (9,  "full sync: >= 0.35x one loopback stream, >= 4x best, <= 0.3x CPU of the best; floor >= 2x best"),
    (10, "memory of the master and its children during a sync under SETs: <= 2 % of the data + 16 MiB; floor <= 5 %"),
    (11, "during a sync: p99.9 <= 1.3x without, max <= 2 ms; floor p99.9 <= 2x, max <= 10 ms"),
    (12, "lag p99 <= 300 us; CPU per SET at pipeline 16 <= 1.08x / 1.2x with 1 / 4 replicas; no full sync meanwhile; floor lag p99 <= best"),
    (14, "CPU of loadgen per operation: <= 4,600 / 330 / 105 ns at pipeline 1 / 16 / 64; floor <= 0.8x best"),
    (15, "CPU on two cores against one: <= 1.35x at pipeline 1, <= 1.6x at 16; floor <= 1.6x / 2x"),
];

pub struct Report {
    rows: Vec<Row>,
    commands: BTreeSet<String>,
    host: Value,
}

impl Report {
    pub fn new(bench: &Bench) -> Self {
        let peers: Vec<Value> = bench.peers.iter().map(|it| version(&it.command[0])).collect();
        let host = json!({
            "date": output("date", &["-u", "+%FT%TZ"]),
            "commit": output("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
            "machine": cpu_model(),
            "cores": output("nproc", &[]),
            "memory": first_line("/proc/meminfo"),
            "kernel": output("uname", &["-sr"]),
            "mitigations": mitigations(),
            "congestion control": first_line("/proc/sys/net/ipv4/tcp_congestion_control"),
            "load average": first_line("/proc/loadavg"),
            "pinning": "servers on core 0, load on core 1",
            "rounds": bench.rounds,
            "seconds per run": bench.secs,
            "peers": peers,
        });
        Self { rows: Vec::new(), commands: BTreeSet::new(), host }
    }

    /// Samples of the same contestant in the same run are added to those it has.
    pub fn add(&mut self, row: Row) {
        let same = |it: &&mut Row| {
            it.bar == row.bar && it.what == row.what && it.who == row.who && it.unit == row.unit
        };
        match self.rows.iter_mut().find(same) {
            Some(known) => known.samples.extend(row.samples),
            None => self.rows.push(row),
        }
    }

    /// Remembers how something was run; ports and process ids are replaced by their meaning.
    pub fn command(&mut self, command: &Command) {
        let mut words = vec!["taskset -c".to_string()];
        let mut args = command.get_args().map(|it| it.to_string_lossy().into_owned()).skip(2);
        while let Some(word) = args.next() {
            let name = word.rsplit_once('/').map_or(word.as_str(), |(_, name)| name).to_string();
            words.push(name);
            if matches!(word.as_str(), "--port" | "--pid" | "-p" | "--replica") {
                args.next();
                words.push(word.trim_start_matches('-').to_uppercase());
            }
        }
        self.commands.insert(words.join(" "));
    }

    /// Prints the rows whose run has this in its name.
    pub fn print_last(&self, what: &str) {
        let rows: Vec<&Row> = self.rows.iter().filter(|it| it.what.contains(what)).collect();
        println!("{}", self.table(&rows));
    }

    pub fn write(&self, folder: &str) {
        fs::create_dir_all(folder).unwrap();
        let date = output("date", &["-u", "+%F"]);
        let path = format!("{folder}/{date}-compare");
        let text = self.markdown();
        println!("{text}");
        fs::write(format!("{path}.md"), text).unwrap();
        let rows: Vec<Value> = self.rows.iter().map(json_row).collect();
        let all = json!({ "host": self.host, "rows": rows, "commands": self.commands });
        fs::write(format!("{path}.json"), serde_json::to_string_pretty(&all).unwrap()).unwrap();
        println!("written: {path}.md and .json");
    }

    fn markdown(&self) -> String {
        let mut text = "# Side by side\n\n".to_string();
        for (name, value) in self.host.as_object().expect("an object") {
            let value = value.as_str().map_or_else(|| value.to_string(), ToString::to_string);
            writeln!(text, "- {name}: {value}").unwrap();
        }
        for (bar, target) in TARGETS {
            let rows: Vec<&Row> = self.rows.iter().filter(|it| it.bar == *bar).collect();
            if !rows.is_empty() {
                writeln!(text, "\n## Bar {bar}\n\n{target}\n\n{}", self.table(&rows)).unwrap();
            }
        }
        text.push_str("\n## Commands\n\n```text\n");
        self.commands.iter().for_each(|it| writeln!(text, "{it}").unwrap());
        text.push_str("```\n");
        text
    }

    fn table(&self, rows: &[&Row]) -> String {
        let mut text =
            "| run | who | median | min | max | x L | x best of the others |\n".to_string();
        text.push_str("|---|---|---:|---:|---:|---:|---:|\n");
        for row in rows {
            let (floor, best) = (self.floor_of(row), self.best_of_others(row));
            let ratio = |to: Option<f64>| {
                to.filter(|it| *it > 0.0)
                    .map_or("-".into(), |it| format!("{:.2}", row.median() / it))
            };
            let unit = match row.unit {
                Unit::Nanoseconds => "ns",
                Unit::PerSecond => "/s",
                Unit::Bytes => "B",
                Unit::Microseconds => "us",
                Unit::Percent => "%",
                Unit::Count => "",
            };
            writeln!(
                text,
                "| {} | {} | {} {unit} | {} | {} | {} | {} |",
                row.what,
                row.who,
                digits(row.median()),
                digits(row.least()),
                digits(row.most()),
                ratio(floor),
                ratio(best),
            )
            .unwrap();
        }
        text
    }

    fn floor_of(&self, row: &Row) -> Option<f64> {
        let floor = self.rivals(row).find(|it| it.who == "L");
        floor.map(Row::median).filter(|_| row.who != "L")
    }

    fn best_of_others(&self, row: &Row) -> Option<f64> {
        if row.who == "L" {
            return None;
        }
        let others = self.rivals(row).filter(|it| it.who != "L").map(Row::median);
        // Of rates the highest is the best, of costs the lowest.
        if row.unit == Unit::PerSecond { others.reduce(f64::max) } else { others.reduce(f64::min) }
    }

    fn rivals<'r>(&'r self, row: &'r Row) -> impl Iterator<Item = &'r Row> {
        let same = |it: &&Row| {
            let run = it.bar == row.bar && it.what == row.what && it.unit == row.unit;
            run && it.who != row.who
        };
        self.rows.iter().filter(same)
    }
}

/// Enough digits to compare by.
fn digits(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn json_row(row: &Row) -> Value {
    json!({
        "bar": row.bar, "run": row.what, "who": row.who,
        "min": row.least(), "median": row.median(), "max": row.most(), "samples": row.samples,
    })
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    output.map_or("?".into(), |it| String::from_utf8_lossy(&it.stdout).trim().to_string())
}

fn version(program: &str) -> Value {
    json!({ "program": program, "version": output(program, &["--version"]) })
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("?").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|it| it.strip_prefix("model name"));
    model.map_or("?".into(), |it| it.trim_start_matches([' ', '\t', ':']).to_string())
}

fn mitigations() -> String {
    let folder = fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten();
    let mut found: Vec<String> = folder
        .flatten()
        .map(|it| {
            let name = it.file_name().to_string_lossy().into_owned();
            format!("{name}: {}", first_line(&it.path().to_string_lossy()))
        })
        .filter(|it| !it.ends_with("Not affected"))
        .collect();
    found.sort();
    found.join("; ")
}
