//! The command line: what a user writes, and the plan that it means. Words are redis-benchmark's
//! and memtier's where they have one.
//!
//! Without a sub-command it is a run. What describes clients can be said once for all, or once for
//! each `--group`, in the same words.

use crate::crowd::{Crowd, Stage, Storm};
use crate::failure::EXIT_CODES;
use crate::keys::Distribution;
use crate::places::Service;
use crate::plan::{Group, Kind, Pace, Plan, Share, Sizes};
use crate::secured::Secured;
use crate::target::{Sources, Target};
use crate::template::split;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Time for a run that is bounded by its requests.
const SECONDS_WITH_REQUESTS: f64 = 86_400.0;
const SECONDS: f64 = 10.0;
/// How much an open loop's connection may have in flight where nothing is said: enough to keep to
/// the schedule, as a pipelining client library would.
const PIPELINE_OPEN: u32 = 128;
const CONNECTIONS: u32 = 50;
const KEYS: u64 = 1_000_000;
const COMMANDS: &[(&str, u32)] = &[("set", 1), ("get", 10)];

/// Drives simulated clients against a Redis-compatible server and measures their latency.
///
/// With --rate it is an open loop: requests leave at planned times, whatever the server does, and
/// latency counts from the planned time. Without, a closed loop: each connection sends its next
/// batch when the replies to the last are in.
#[derive(Parser, Debug)]
#[command(
    name = "loadgen",
    version,
    after_help = EXIT_CODES,
    args_conflicts_with_subcommands = true,
    subcommand_help_heading = "Other commands",
    subcommand_value_name = "COMMAND"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: Run,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    /// Check on any server that it has the acknowledged writes of a ledger (what --ledger wrote)
    Verify(Verify),
    /// Measure how long a write takes to be seen on replicas
    Lag(Lag),
    /// Draw one HTML page from the JSON reports of one or more runs
    Page(Page),
}

/// Where to connect to.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Server")]
pub struct Server {
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
    /// The server is a node of a cluster: clients go where their keys are, and follow redirects
    #[arg(long, conflicts_with_all = ["sentinel", "unix"])]
    pub cluster: bool,
    /// The server is a Sentinel, which knows the master by this name: clients go to that, and to
    /// its successor. User and password are the master's
    #[arg(long, value_name = "NAME", conflicts_with = "unix")]
    pub sentinel: Option<String>,
    /// Clients whose commands are all `get` read from replicas
    #[arg(long)]
    pub read_replicas: bool,
    /// Speak TLS
    #[arg(long, requires = "cacert", conflicts_with = "unix")]
    pub tls: bool,
    /// Certificate of the authority by which the server is known
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub cacert: Option<String>,
    /// Certificate to show to the server, and its key
    #[arg(long, value_name = "FILE", requires = "key")]
    pub cert: Option<String>,
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub key: Option<String>,
    /// Versions of TLS to speak: `TLSv1.2`, `TLSv1.3`, or both
    #[arg(long, value_name = "VERSIONS", default_value = "")]
    pub tls_protocols: String,
}

/// What clients are and do.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Clients (for all, or inside --group)")]
pub struct Clients {
    /// Connections over all threads [default: 50]
    #[arg(short, long)]
    pub connections: Option<u32>,
    /// Most requests in flight per connection [default: 1; with --rate 128]
    #[arg(short = 'P', long, value_name = "N")]
    pub pipeline: Option<u32>,
    /// Open loop: planned requests per second over all connections
    #[arg(short, long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Open loop: each connection sends once in so many seconds, all of them evenly spread
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["rate", "arrival"])]
    pub every: Option<f64>,
    /// How an open loop's requests are spaced [default: poisson]
    #[arg(long, value_enum)]
    pub arrival: Option<Arrival>,
    /// Closed loop: mean pause before a client's next batch (exponential)
    #[arg(long, value_name = "MILLISECONDS")]
    pub think: Option<f64>,
    /// Requests to send
    #[arg(short = 'n', long, value_name = "N")]
    pub requests: Option<u64>,
    /// What clients do with their connection [default: requests]
    #[arg(long, value_enum)]
    pub kind: Option<Kind>,
    /// A command of the mix, repeatable: `get`, `set`, or a template with {key} {other} {value}
    /// {seq} {connection} {random:N} {now} [default: set and get, 1 to 10]. {now} is a time stamp;
    /// subscribers and blocking clients measure from it
    #[arg(long, value_name = "TEMPLATE")]
    pub command: Vec<String>,
    /// The weight of each --command, in the same order: `--ratio 1,10`
    #[arg(long, value_delimiter = ',', value_name = "WEIGHTS")]
    pub ratio: Vec<u32>,
    /// Size of the key space [default: 1000000]
    #[arg(short, long)]
    pub keys: Option<u64>,
    /// Choose keys by Zipf's law with this exponent instead of evenly
    #[arg(long, value_name = "EXPONENT")]
    pub zipf: Option<f64>,
    /// Size of values: bytes, or a range `16-1024` [default: 16]
    #[arg(long, value_name = "BYTES")]
    pub value: Option<String>,
}

/// A group as written in --group.
#[derive(Parser, Debug)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct GroupLine {
    name: String,
    #[command(flatten)]
    clients: Clients,
}

/// How clients come and go.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Coming and going")]
pub struct Comings {
    /// Connects per second before the start [default: as fast as it goes]
    #[arg(long, value_name = "PER_SECOND")]
    pub connect_rate: Option<f64>,
    /// Most connects under way at once while clients come for the first time [default: 1000]
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    pub dials: u32,
    /// Clients come during the run: so many clients, in so many seconds, then the next stage; the
    /// same number again is a plateau: `--ramp 1000:5,1000:10,20000:30`
    #[arg(long, value_delimiter = ',', value_name = "CLIENTS:SECONDS,..")]
    pub ramp: Vec<String>,
    /// Each client of a ramp comes up to this much later
    #[arg(long, default_value_t = 0.0, value_name = "SECONDS", hide_default_value = true)]
    pub jitter: f64,
    /// Clients replaced per second: one leaves when its replies are in, another connects
    #[arg(long, value_name = "PER_SECOND")]
    pub churn: Option<f64>,
    /// Cut all clients (or a share of them) off and let them reconnect at once, repeatable: `5`,
    /// `12.5:0.3`
    #[arg(long, value_name = "SECONDS[:SHARE]")]
    pub storm: Vec<String>,
    /// Send PING on every new connection, for its time to the first reply [default: when clients
    /// come and go during the run]
    #[arg(long)]
    pub greet: bool,
    /// Dial again when the server closes a connection, instead of giving up
    #[arg(long)]
    pub reconnect: bool,
    /// Source address, or range of them, repeatable [default: the kernel's choice; addresses of
    /// 127/8 for many clients of this host]
    #[arg(long, value_name = "FIRST[-LAST]")]
    pub source: Vec<String>,
    /// Clients for each source address [default: 4000]
    #[arg(long, default_value_t = 0, value_name = "N", hide_default_value = true)]
    pub per_source: u32,
}

/// One run.
#[derive(Args, Debug, Clone)]
pub struct Run {
    #[command(flatten)]
    pub server: Server,
    #[command(flatten)]
    pub clients: Clients,
    /// Clients with words of their own, repeatable: a name, then options as above, which stand for
    /// this group only: `--group 'hot -c 1000 -r 20000 --command get'`
    #[arg(long, value_name = "'NAME OPTIONS'")]
    pub group: Vec<String>,
    #[command(flatten)]
    pub comings: Comings,

    /// Seconds to send for [default: 10, or as long as --requests takes]
    #[arg(short, long, value_name = "SECONDS", help_heading = "Run")]
    pub duration: Option<f64>,
    /// Seconds to drive without measuring first
    #[arg(short, long, default_value_t = 0.0, value_name = "SECONDS", help_heading = "Run")]
    pub warm_up: f64,
    /// Give up when no reply comes for this long
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS", help_heading = "Run")]
    pub timeout: f64,
    /// Threads
    #[arg(short, long, help_heading = "Run")]
    pub threads: Option<u32>,
    /// CPUs to pin threads to, one each: `1,3`, or `all` that this process may use
    #[arg(long, value_name = "LIST", help_heading = "Run")]
    pub cores: Option<String>,
    /// Set every key once before the run
    #[arg(long, help_heading = "Run")]
    pub fill: bool,
    /// What all random choices derive from
    #[arg(long, default_value_t = 1, help_heading = "Run")]
    pub seed: u64,
    /// Print the plan as JSON and its first N requests, and send nothing
    #[arg(
        long, visible_alias = "plan-only", value_name = "N", num_args = 0..=1,
        default_missing_value = "20", help_heading = "Run"
    )]
    pub print_plan: Option<usize>,
    /// Run this plan (what --print-plan printed, or a JSON report) instead of one made from options
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    pub plan: Option<PathBuf>,

    /// Keep a ledger of acknowledged writes, and fail if one is lost or wrong at the end
    #[arg(long, help_heading = "Results")]
    pub verify: bool,
    /// Keep a ledger of acknowledged writes in this file, for `loadgen verify`
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub ledger: Option<PathBuf>,
    /// Process of the server (on this host), to report its CPU time too
    #[arg(long, value_name = "PID", help_heading = "Results")]
    pub server_pid: Option<i32>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub json: Option<PathBuf>,
    /// Write the latency distribution in HdrHistogram's percentile format (microseconds)
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub hgrm: Option<PathBuf>,
    /// Write the report as one HTML page
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub page: Option<PathBuf>,
    /// Name a moment in the report, repeatable: `7.5:kill`
    #[arg(long, value_name = "SECONDS:NAME", help_heading = "Results")]
    pub mark: Vec<String>,
    /// Take lines from standard input: `mark NAME` names this moment, `storm` cuts all clients
    /// off, `stop` ends the run
    #[arg(long, help_heading = "Run")]
    pub control: bool,
    /// One progress line instead of the live view
    #[arg(short, long, help_heading = "Results")]
    pub quiet: bool,
}

/// `loadgen verify`.
#[derive(Args, Debug, Clone)]
pub struct Verify {
    /// What --ledger wrote
    pub ledger: PathBuf,
    #[command(flatten)]
    pub server: Server,
    /// Give up when no reply comes for this long
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub timeout: f64,
}

/// `loadgen lag`.
#[derive(Args, Debug, Clone)]
pub struct Lag {
    #[command(flatten)]
    pub server: Server,
    /// A replica to read from, repeatable
    #[arg(long, value_name = "[HOST:]PORT", required = true)]
    pub replica: Vec<String>,
    /// Writes per second to the master
    #[arg(short, long, default_value_t = 1000.0, value_name = "PER_SECOND")]
    pub rate: f64,
    /// Seconds to write for
    #[arg(short, long, default_value_t = 10.0, value_name = "SECONDS")]
    pub duration: f64,
    /// Keys that are written in turn
    #[arg(short, long, default_value_t = 16)]
    pub keys: u32,
    /// Pause between two reads of a replica: what is between them is the error of the lag
    #[arg(long, default_value_t = 20, value_name = "MICROSECONDS")]
    pub pause: u64,
    /// Fail when a write is not seen for this long
    #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
    pub timeout: f64,
    /// Write the report as JSON; `loadgen page` draws it
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write each replica's distribution in HdrHistogram's format, as FILE.<port>
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
}

/// `loadgen page`.
#[derive(Args, Debug, Clone)]
pub struct Page {
    /// JSON reports of runs (--json), drawn over each other
    #[arg(required = true)]
    pub reports: Vec<PathBuf>,
    /// The page to write
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// The page's title
    #[arg(long)]
    pub title: Option<String>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Independent clients
    Poisson,
    /// A metronome
    Uniform,
}

impl Server {
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            host: self.host.clone(),
            port: self.port,
            unix: self.unix.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            db: self.db,
            resp: self.resp,
            service: match (self.cluster, &self.sentinel) {
                (true, _) => Service::Cluster,
                (false, Some(name)) => Service::Sentinel(name.clone()),
                (false, None) => Service::One,
            },
            read_replicas: self.read_replicas,
            tls: self.cacert.clone().filter(|_| self.tls).map(|cacert| Secured {
                cacert,
                shown: self.cert.clone().zip(self.key.clone()),
                protocols: self.tls_protocols.clone(),
            }),
        }
    }
}

impl Run {
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
        let groups = match self.group.as_slice() {
            [] => vec![self.clients.group(String::new())?],
            lines => lines.iter().map(|it| self.grouped(it)).collect::<Result<_, _>>()?,
        };
        let bounded = groups.iter().all(|it| it.requests.is_some());
        let seconds = if bounded { SECONDS_WITH_REQUESTS } else { SECONDS };
        let plan = Plan {
            seed: self.seed,
            target: self.server.target(),
            threads: self.threads.unwrap_or(per_core),
            cores,
            seconds: self.duration.unwrap_or(seconds),
            warm_up_seconds: self.warm_up,
            timeout_seconds: self.timeout,
            fill: self.fill,
            verify: self.verify || self.ledger.is_some(),
            sources: Sources {
                addresses: self.comings.source.clone(),
                clients_each: self.comings.per_source,
            },
            crowd: self.comings.crowd()?,
            groups,
        };
        plan.check().map(|()| plan)
    }

    /// Moments that are to be named.
    pub fn marks(&self) -> Result<Vec<(f64, String)>, String> {
        let mark = |it: &String| {
            let wrong = || format!("--mark: `{it}` is not SECONDS:NAME");
            let (seconds, name) = it.split_once(':').ok_or_else(wrong)?;
            Ok((seconds.trim().parse().map_err(|_| wrong())?, name.to_string()))
        };
        self.mark.iter().map(mark).collect()
    }

    fn grouped(&self, line: &str) -> Result<Group, String> {
        let group = GroupLine::try_parse_from(split(line)?);
        let group = group.map_err(|it| format!("--group '{line}': {it}"))?;
        group.clients.over(&self.clients).group(group.name)
    }
}

impl Clients {
    /// These options; where they say nothing, those of `outside`.
    fn over(self, outside: &Self) -> Self {
        let paced = self.rate.is_some() || self.every.is_some() || self.think.is_some();
        let paced = paced || self.kind.is_some_and(|it| it != Kind::Requests);
        let (own_mix, outer) = (!self.command.is_empty(), outside.clone());
        Self {
            connections: self.connections.or(outer.connections),
            pipeline: self.pipeline.or(outer.pipeline),
            rate: if paced { self.rate } else { outer.rate },
            every: if paced { self.every } else { outer.every },
            think: if paced { self.think } else { outer.think },
            arrival: self.arrival.or(outer.arrival),
            requests: self.requests.or(outer.requests),
            kind: self.kind.or(outer.kind),
            command: if own_mix { self.command } else { outer.command },
            ratio: if own_mix { self.ratio } else { outer.ratio },
            keys: self.keys.or(outer.keys),
            zipf: self.zipf.or(outer.zipf),
            value: self.value.or(outer.value),
        }
    }

    fn group(&self, name: String) -> Result<Group, String> {
        let connections = self.connections.unwrap_or(CONNECTIONS);
        let pace = match (self.rate, self.every, self.arrival.unwrap_or(Arrival::Poisson)) {
            (None, None, _) => Pace::Closed,
            (None, Some(seconds), _) => Pace::Uniform { rate: f64::from(connections) / seconds },
            (Some(rate), _, Arrival::Poisson) => Pace::Poisson { rate },
            (Some(rate), _, Arrival::Uniform) => Pace::Uniform { rate },
        };
        let pipeline = if pace == Pace::Closed { 1 } else { PIPELINE_OPEN };
        Ok(Group {
            name,
            kind: self.kind.unwrap_or_default(),
            connections,
            pace,
            pipeline: self.pipeline.unwrap_or(pipeline),
            requests: self.requests,
            think_seconds: self.think.unwrap_or(0.0) / 1000.0,
            mix: self.mix()?,
            keys: self.keys.unwrap_or(KEYS),
            distribution: self
                .zipf
                .map_or(Distribution::Uniform, |exponent| Distribution::Zipf { exponent }),
            value_bytes: sizes(self.value.as_deref().unwrap_or("16"))?,
        })
    }

    fn mix(&self) -> Result<Vec<Share>, String> {
        let share = |command: &str, weight| Share { command: command.into(), weight };
        if self.command.is_empty() && self.ratio.is_empty() {
            if matches!(self.kind, Some(Kind::Subscriber | Kind::Blocking)) {
                return Err("subscribers and blocking clients need a --command".into());
            }
            return Ok(COMMANDS.iter().map(|(command, weight)| share(command, *weight)).collect());
        }
        if !self.ratio.is_empty() && self.ratio.len() != self.command.len() {
            return Err("--ratio needs one weight for each --command".into());
        }
        let weights = self.ratio.iter().copied().chain(std::iter::repeat(1));
        Ok(self.command.iter().zip(weights).map(|(it, weight)| share(it, weight)).collect())
    }
}

impl Comings {
    fn crowd(&self) -> Result<Crowd, String> {
        let ramp = self.ramp.iter().map(|it| stage(it)).collect::<Result<_, _>>()?;
        let storms = self.storm.iter().map(|it| storm(it)).collect::<Result<_, _>>()?;
        let mut crowd = Crowd {
            connect_rate: self.connect_rate,
            dials_max: self.dials,
            ramp,
            jitter_seconds: self.jitter,
            churn_rate: self.churn,
            storms,
            greet: self.greet,
            reconnect: self.reconnect,
        };
        crowd.greet |= crowd.moves();
        Ok(crowd)
    }
}

fn stage(text: &str) -> Result<Stage, String> {
    let wrong = || format!("--ramp: `{text}` is not CLIENTS:SECONDS");
    let (clients, seconds) = text.split_once(':').ok_or_else(wrong)?;
    let clients = clients.trim().parse().map_err(|_| wrong())?;
    Ok(Stage { clients, seconds: seconds.trim().parse().map_err(|_| wrong())? })
}

fn storm(text: &str) -> Result<Storm, String> {
    let wrong = || format!("--storm: `{text}` is not SECONDS or SECONDS:SHARE");
    let (at, share) = text.split_once(':').unwrap_or((text, "1"));
    let at_seconds = at.trim().parse().map_err(|_| wrong())?;
    Ok(Storm { at_seconds, share: share.trim().parse().map_err(|_| wrong())? })
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
        let words = split(&format!("loadgen {line}")).unwrap();
        Cli::try_parse_from(words).map_err(|it| it.to_string())?.run.plan(&[0, 1])
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
    fn groups_say_their_own_and_take_the_rest_from_outside() {
        let line = "--keys 7 -r 100 --group 'hot -c 10 -r 2000 --command get' \
                    --group 'cold -c 990 --every 60' --group 'ears -c 3 --kind subscriber \
                    --command \"SUBSCRIBE news\"' --group 'same -c 1'";
        let plan = plan(line).unwrap();
        let group = |at: usize| &plan.groups[at];
        assert_eq!(plan.connections(), 1004);
        assert_eq!((group(0).name.as_str(), group(0).mix.len(), group(0).keys), ("hot", 1, 7));
        assert_eq!(group(0).pace, Pace::Poisson { rate: 2000.0 });
        assert_eq!(group(1).pace, Pace::Uniform { rate: 16.5 });
        assert_eq!((group(2).kind, group(2).pace), (Kind::Subscriber, Pace::Closed));
        assert_eq!(group(2).mix[0].command, "SUBSCRIBE news");
        assert_eq!(group(3).pace, Pace::Poisson { rate: 100.0 });
    }

    #[test]
    fn clients_come_and_go_as_written() {
        let crowd = plan("-c 200 --ramp 100:1,100:2,200:3 --storm 5 --storm 6:0.5").unwrap().crowd;
        assert_eq!(crowd.ramp[2], Stage { clients: 200, seconds: 3.0 });
        assert_eq!(crowd.storms[1], Storm { at_seconds: 6.0, share: 0.5 });
        assert!(crowd.greet && !crowd.reconnect);
        assert!(!plan("-c 200").unwrap().crowd.greet);
        assert_eq!(plan("--think 5").unwrap().groups[0].think_seconds, 0.005);
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
        refused("--ramp 10", "`10`");
        refused("--storm x", "`x`");
        refused("--kind blocking", "need a --command");
        refused("--group 'a --nothing'", "--nothing");
        refused("--think 5 --rate 5", "time to think");
        refused("--every 5 --rate 5", "cannot be used with");
    }
}
