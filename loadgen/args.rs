//! The command line: what a user writes, and the plan that it means. Words are redis-benchmark's
//! and memtier's where they have one.

use crate::failure::EXIT_CODES;
use crate::keys::Distribution;
use crate::plan::{Group, Pace, Plan, Share, Sizes, Target};
use clap::Parser;
use std::path::PathBuf;

/// Time for a run that is bounded by its requests.
const SECONDS_WITH_REQUESTS: f64 = 86_400.0;
const SECONDS: f64 = 10.0;
/// How much an open loop's connection may have in flight where nothing is said: enough to keep to
/// the schedule, as a pipelining client library would.
const PIPELINE_OPEN: u32 = 128;
const COMMANDS: &[(&str, u32)] = &[("set", 1), ("get", 10)];

/// Drives simulated clients against a Redis-compatible server and measures their latency.
///
/// With --rate it is an open loop: requests leave at planned times, whatever the server does, and
/// latency counts from the planned time. Without, a closed loop: each connection sends its next
/// batch when the replies to the last are in.
#[derive(Parser, Debug)]
#[command(name = "loadgen", version, after_help = EXIT_CODES)]
pub struct Args {
    /// The server's name or address
    #[arg(short = 'H', long, default_value = "127.0.0.1")]
    pub host: String,
    /// The server's port
    #[arg(short, long, default_value_t = 6379)]
    pub port: u16,
    /// Connect to this Unix socket instead
    #[arg(short = 's', long, value_name = "PATH")]
    pub unix: Option<String>,
    /// User to authenticate as
    #[arg(long)]
    pub user: Option<String>,
    /// Password to authenticate with
    #[arg(short = 'a', long)]
    pub password: Option<String>,
    /// Database number
    #[arg(long, default_value_t = 0)]
    pub db: u32,
    /// Protocol version: 2, or 3 (HELLO 3)
    #[arg(long, default_value_t = 2, value_name = "VERSION")]
    pub resp: u8,

    /// Connections over all threads
    #[arg(short, long, default_value_t = 50)]
    pub connections: u32,
    /// Threads
    #[arg(short, long)]
    pub threads: Option<u32>,
    /// CPUs to pin threads to, one each: `1,3`, or `all` that this process may use
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// Most requests in flight per connection [default: 1; with --rate 128]
    #[arg(short = 'P', long, value_name = "N")]
    pub pipeline: Option<u32>,

    /// Open loop: planned requests per second over all connections
    #[arg(short, long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// How an open loop's requests are spaced
    #[arg(long, value_enum, default_value_t = Arrival::Poisson)]
    pub arrival: Arrival,
    /// Seconds to send for [default: 10, or as long as --requests takes]
    #[arg(short, long, value_name = "SECONDS")]
    pub duration: Option<f64>,
    /// Requests to send
    #[arg(short = 'n', long, value_name = "N")]
    pub requests: Option<u64>,
    /// Seconds to drive without measuring first
    #[arg(short, long, default_value_t = 0.0, value_name = "SECONDS")]
    pub warm_up: f64,
    /// Give up when no reply comes for this long
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub timeout: f64,

    /// A command of the mix, repeatable: `get`, `set`, or a template with {key} {other} {value}
    /// {seq} {connection} {random:N} [default: set and get, 1 to 10]
    #[arg(long, value_name = "TEMPLATE")]
    pub command: Vec<String>,
    /// The weight of each --command, in the same order: `--ratio 1,10`
    #[arg(long, value_delimiter = ',', value_name = "WEIGHTS")]
    pub ratio: Vec<u32>,
    /// Size of the key space
    #[arg(short, long, default_value_t = 1_000_000)]
    pub keys: u64,
    /// Choose keys by Zipf's law with this exponent instead of evenly
    #[arg(long, value_name = "EXPONENT")]
    pub zipf: Option<f64>,
    /// Size of values: bytes, or a range `16-1024`
    #[arg(long, default_value = "16", value_name = "BYTES")]
    pub value: String,
    /// Set every key once before the run
    #[arg(long)]
    pub fill: bool,
    /// What all random choices derive from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Keep a ledger of acknowledged writes, and fail if one is lost or wrong at the end
    #[arg(long)]
    pub verify: bool,
    /// Process of the server (on this host), to report its CPU time too
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<i32>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the latency distribution in HdrHistogram's percentile format (microseconds)
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Print the plan as JSON and its first N requests, and send nothing
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "20")]
    pub print_plan: Option<usize>,
    /// Run this plan (what --print-plan printed) instead of one made from options
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Independent clients
    Poisson,
    /// A metronome
    Uniform,
}

impl Args {
    /// The plan that these options mean; `usable` are the CPUs that this process may use.
    pub fn plan(&self, usable: &[usize]) -> Result<Plan, String> {
        let cores = match self.cores.as_deref() {
            None => Vec::new(),
            Some("all") => usable.to_vec(),
            Some(list) => list
                .split(',')
                .map(|it| it.trim().parse().map_err(|_| format!("--cores: `{it}` is no number")))
                .collect::<Result<_, _>>()?,
        };
        if let Some(core) = cores.iter().find(|it| !usable.contains(it)) {
            return Err(format!("this process may not use core {core}, only {usable:?}"));
        }
        let per_core = u32::try_from(cores.len().max(1)).unwrap_or(u32::MAX);
        let pace = match (self.rate, self.arrival) {
            (None, _) => Pace::Closed,
            (Some(rate), Arrival::Poisson) => Pace::Poisson { rate },
            (Some(rate), Arrival::Uniform) => Pace::Uniform { rate },
        };
        let pipeline = if self.rate.is_some() { PIPELINE_OPEN } else { 1 };
        let seconds = if self.requests.is_some() { SECONDS_WITH_REQUESTS } else { SECONDS };
        let plan = Plan {
            seed: self.seed,
            target: Target {
                host: self.host.clone(),
                port: self.port,
                unix: self.unix.clone(),
                user: self.user.clone(),
                password: self.password.clone(),
                db: self.db,
                resp: self.resp,
            },
            threads: self.threads.unwrap_or(per_core),
            cores,
            seconds: self.duration.unwrap_or(seconds),
            warm_up_seconds: self.warm_up,
            timeout_seconds: self.timeout,
            fill: self.fill,
            verify: self.verify,
            groups: vec![Group {
                connections: self.connections,
                pace,
                pipeline: self.pipeline.unwrap_or(pipeline),
                requests: self.requests,
                mix: self.mix()?,
                keys: self.keys,
                distribution: self
                    .zipf
                    .map_or(Distribution::Uniform, |exponent| Distribution::Zipf { exponent }),
                value_bytes: sizes(&self.value)?,
            }],
        };
        plan.check().map(|()| plan)
    }

    fn mix(&self) -> Result<Vec<Share>, String> {
        let share = |command: &str, weight| Share { command: command.into(), weight };
        if self.command.is_empty() && self.ratio.is_empty() {
            return Ok(COMMANDS.iter().map(|(command, weight)| share(command, *weight)).collect());
        }
        if !self.ratio.is_empty() && self.ratio.len() != self.command.len() {
            return Err("--ratio needs one weight for each --command".into());
        }
        let weights = self.ratio.iter().copied().chain(std::iter::repeat(1));
        Ok(self.command.iter().zip(weights).map(|(it, weight)| share(it, weight)).collect())
    }
}

fn sizes(text: &str) -> Result<Sizes, String> {
    let number = |it: &str| {
        it.trim().parse::<u64>().map_err(|_| format!("--value: `{it}` is no number of bytes"))
    };
    let (min, max) = text.split_once('-').unwrap_or((text, text));
    Ok(Sizes { min: number(min)?, max: number(max)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Result<Plan, String> {
        let words = std::iter::once("loadgen").chain(line.split_whitespace());
        Args::try_parse_from(words).map_err(|it| it.to_string())?.plan(&[0, 1])
    }

    #[test]
    fn options_become_a_plan() {
        let group = |line| plan(line).unwrap().groups.remove(0);
        assert_eq!(group("").pace, Pace::Closed);
        assert_eq!(group("").pipeline, 1);
        assert_eq!(group("--rate 5").pace, Pace::Poisson { rate: 5.0 });
        assert_eq!(group("--rate 5").pipeline, PIPELINE_OPEN);
        assert_eq!(group("--rate 5 --arrival uniform").pace, Pace::Uniform { rate: 5.0 });
        assert_eq!(group("--value 16-64").value_bytes, Sizes { min: 16, max: 64 });
        assert_eq!(group("--zipf 0.99").distribution, Distribution::Zipf { exponent: 0.99 });
        let mix = group("--command get --command PING --ratio 3,1").mix;
        assert_eq!((mix[0].weight, mix[1].command.as_str()), (3, "PING"));
        assert_eq!(plan("--cores all").unwrap().threads, 2);
        assert_eq!(plan("-n 5").unwrap().seconds, SECONDS_WITH_REQUESTS);
    }

    #[test]
    fn wrong_options_say_what_is_wrong() {
        let refused = |line, because: &str| {
            let error = plan(line).unwrap_err();
            assert!(error.contains(because), "{error}");
        };
        refused("--cores 7", "may not use core 7");
        refused("--cores x", "`x`");
        refused("--value big", "`big`");
        refused("--command get --ratio 1,2", "one weight for each");
        refused("--command {x}", "{x}");
        refused("--rate -1", "");
        refused("--connections 0", "0 connections");
    }
}
