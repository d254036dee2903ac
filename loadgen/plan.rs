//! The plan: everything that a run will do, as data, before the first socket opens.
//!
//! A plan is made from the command line or read back from JSON, and all that happens later follows
//! from it: request `k` of connection `c` draws its command, key and value from a generator seeded
//! by `(seed, c, k)`, so it does not depend on which connection was answered first; an open loop's
//! send times come from a generator seeded by `(seed, group, thread)`.
//!
//! Clients come in groups, each with its own pace, commands, keys and values: a plan file may hold
//! several, the command line makes one. Connections are numbered through over all groups, and
//! connection `c` is driven by thread `c % threads`.
//!
//! Invariant: whatever passed [`Plan::check`] can be run; later parts do not check again.
//!
//! Not here: what a command looks like on the wire (`template.rs`), when it leaves (`pace.rs`).

use crate::crowd::Crowd;
use crate::draw::to_usize;
use crate::keys::Distribution;
use crate::places::Service;
use crate::target::{Sources, Target};
use crate::template::Template;
use serde::{Deserialize, Serialize};

/// Keys that a ledger may watch: two words each, in one array per thread.
pub const LEDGER_KEYS_MAX: u64 = 1 << 24;
/// A value that a ledger checks begins with its write's number in hexadecimal.
pub const LEDGER_VALUE_MIN: u64 = 16;
/// Redis' own bound for one string.
pub const VALUE_MAX: u64 = 512 << 20;
/// The twelve digits that `{key}` is written with.
pub const KEYS_MAX: u64 = 1_000_000_000_000;
/// Clients are numbered with 31 bits, and ports and memory end before.
pub const CONNECTIONS_MAX: u64 = 10_000_000;
/// Requests in flight on one connection.
pub const PIPELINE_MAX: u32 = 65_536;

/// One run.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Plan {
    pub seed: u64,
    pub target: Target,
    pub threads: u32,
    /// One CPU per thread to pin it to; empty: the kernel chooses.
    pub cores: Vec<usize>,
    /// Seconds that clients send; the run ends when the last reply is in.
    pub seconds: f64,
    /// Seconds before those, driven but not measured.
    pub warm_up_seconds: f64,
    /// Seconds without any reply after which the server is given up.
    pub timeout_seconds: f64,
    /// Set every key once before the run.
    pub fill: bool,
    /// Keep a ledger of acknowledged SETs and read it back at the end.
    pub verify: bool,
    #[serde(default)]
    pub sources: Sources,
    #[serde(default)]
    pub crowd: Crowd,
    pub groups: Vec<Group>,
}

/// Clients that behave alike.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Group {
    /// In reports, where there are several.
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub kind: Kind,
    pub connections: u32,
    pub pace: Pace,
    /// The most requests in flight on one connection.
    pub pipeline: u32,
    /// Requests of the whole group; beside the plan's seconds, whatever ends first.
    pub requests: Option<u64>,
    /// A closed loop's mean pause between a batch's replies and the next batch.
    #[serde(default)]
    pub think_seconds: f64,
    pub mix: Vec<Share>,
    pub keys: u64,
    pub distribution: Distribution,
    pub value_bytes: Sizes,
}

/// What clients do with their connection.
#[derive(Serialize, Deserialize, clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Send requests and measure their replies
    #[default]
    Requests,
    /// Send the command once (SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE) and take what is published
    Subscriber,
    /// Wait in the command (BLPOP and its like): the wait is no latency, and ends with the run
    Blocking,
    /// Hold the connection and send nothing
    Idle,
}

/// When the next request leaves.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As soon as the replies to a connection's batch are in: measures capacity.
    Closed,
    /// At planned times, evenly spaced, connections in turn; `rate` is the group's, per second.
    Uniform { rate: f64 },
    /// At planned times, a Poisson process for each connection.
    Poisson { rate: f64 },
}

/// One command of a mix.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub command: String,
    pub weight: u32,
}

/// Value sizes, evenly between both ends.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub min: u64,
    pub max: u64,
}

impl Plan {
    /// Whether this can be run; else what to change.
    pub fn check(&self) -> Result<(), String> {
        if self.groups.is_empty() {
            return Err("a plan needs at least one group of clients".into());
        }
        if self.threads == 0 || u64::from(self.threads) > self.connections() {
            return Err(format!(
                "{} threads cannot share {} connections: each thread needs one at least",
                self.threads,
                self.connections()
            ));
        }
        if !self.cores.is_empty() && self.cores.len() != to_usize(u64::from(self.threads)) {
            return Err("name one core for each thread, or none".into());
        }
        if !(2..=3).contains(&self.target.resp) {
            return Err("RESP has versions 2 and 3".into());
        }
        let seconds = [self.seconds, self.warm_up_seconds, self.timeout_seconds];
        if !seconds.iter().all(|it| (0.0..=31_536_000.0).contains(it)) {
            return Err("durations lie between 0 and 31536000 seconds".into());
        }
        if self.timeout_seconds == 0.0 || self.seconds == 0.0 {
            return Err("the duration and the time limit for replies must be above 0".into());
        }
        self.groups.iter().try_for_each(|group| group.check())?;
        if self.connections() > CONNECTIONS_MAX {
            return Err(format!("one process drives {CONNECTIONS_MAX} connections at most"));
        }
        self.crowd.check(self.connections())?;
        self.sources.check()?;
        self.check_service()?;
        if self.verify { self.check_ledger() } else { Ok(()) }
    }

    /// Connections of all groups.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.groups.iter().map(|group| u64::from(group.connections)).sum()
    }

    /// Every command of every group, in order: `(group, share)`. The index is a command's `kind`.
    #[must_use]
    pub fn kinds(&self) -> Vec<(usize, Share)> {
        let shares = |(index, group): (usize, &Group)| {
            group.mix.iter().map(move |share| (index, share.clone())).collect::<Vec<_>>()
        };
        self.groups.iter().enumerate().flat_map(shares).collect()
    }

    /// Whether every connection has keys of its own: a ledger needs that, and so does a client of a cluster.
    #[must_use]
    pub fn has_own_keys(&self) -> bool {
        self.verify || self.target.service == Service::Cluster
    }

    /// Whether the connections of a group read from replicas.
    #[must_use]
    pub fn reads_replicas(&self, group: &Group) -> bool {
        let gets = |it: &Share| Template::parse(&it.command).is_ok_and(|it| it.is_plain_get());
        self.target.read_replicas && group.mix.iter().all(gets)
    }

    fn check_service(&self) -> Result<(), String> {
        let target = &self.target;
        if target.service == Service::One {
            return match target.read_replicas {
                true => Err("replicas are known of a cluster, or by Sentinels".into()),
                false => Ok(()),
            };
        }
        if target.unix.is_some() {
            return Err("servers of a cluster and of Sentinels are found by address".into());
        }
        if self.groups.iter().any(|it| !matches!(it.kind, Kind::Requests | Kind::Idle)) {
            return Err("in a cluster and under Sentinels clients send requests, or idle".into());
        }
        if target.service != Service::Cluster {
            return Ok(());
        }
        if target.db != 0 {
            return Err("a cluster has one database".into());
        }
        match self.groups.iter().all(|it| it.keys >= self.connections()) {
            true => Ok(()),
            false => {
                Err("each client of a cluster has keys of its own: --keys must be the number of \
                          connections or more"
                    .into())
            }
        }
    }

    fn check_ledger(&self) -> Result<(), String> {
        let connections = self.connections();
        for group in &self.groups {
            if !(connections..=LEDGER_KEYS_MAX).contains(&group.keys) {
                return Err(format!(
                    "with --verify every connection writes keys of its own: --keys must lie between \
                     the number of connections, {connections}, and {LEDGER_KEYS_MAX}"
                ));
            }
            if group.value_bytes.min < LEDGER_VALUE_MIN {
                return Err(format!(
                    "with --verify values need {LEDGER_VALUE_MIN} bytes or more, to be unique"
                ));
            }
            if group.kind != Kind::Requests {
                return Err("with --verify all clients send requests".into());
            }
            for share in &group.mix {
                let template = Template::parse(&share.command)?;
                if !template.is_plain_set() && !template.is_plain_get() {
                    return Err(format!(
                        "with --verify only the commands `set` and `get` can run, not `{}`: the \
                         ledger could not know what it left behind",
                        share.command
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Group {
    fn check(&self) -> Result<(), String> {
        if self.connections == 0 {
            return Err("a group needs at least one connection".into());
        }
        if !(1..=PIPELINE_MAX).contains(&self.pipeline) {
            return Err(format!("a pipeline holds between 1 and {PIPELINE_MAX} requests"));
        }
        if !(1..=KEYS_MAX).contains(&self.keys) {
            return Err(format!("there may be between 1 and {KEYS_MAX} keys"));
        }
        let Sizes { min, max } = self.value_bytes;
        if min > max || max > VALUE_MAX {
            return Err(format!("value sizes run from small to large, at most {VALUE_MAX} bytes"));
        }
        if let Pace::Uniform { rate } | Pace::Poisson { rate } = self.pace
            && !(rate.is_finite() && (1e-3..=1e9).contains(&rate))
        {
            return Err("a rate lies between 0.001 and 1000000000 requests a second".into());
        }
        if !(0.0..=86_400.0).contains(&self.think_seconds) {
            return Err("clients think between 0 and 86400 seconds".into());
        }
        if self.kind != Kind::Requests && self.pace != Pace::Closed {
            return Err("only clients that send requests can have a rate".into());
        }
        if self.think_seconds > 0.0 && self.pace != Pace::Closed {
            return Err("an open loop leaves no time to think: use a rate or a pause".into());
        }
        if self.mix.is_empty() || self.mix.iter().map(|it| u64::from(it.weight)).sum::<u64>() == 0 {
            return Err("a mix needs a command with a ratio above 0".into());
        }
        self.distribution.check()?;
        self.mix.iter().try_for_each(|share| Template::parse(&share.command).map(|_| ()))
    }
}

/// A plan for tests: one closed group of `get` and `set`.
#[cfg(test)]
pub fn sample() -> Plan {
    Plan {
        seed: 1,
        target: Target {
            host: "127.0.0.1".into(),
            port: 6379,
            unix: None,
            user: None,
            password: None,
            db: 0,
            resp: 2,
            service: Service::One,
            read_replicas: false,
            tls: None,
        },
        threads: 1,
        cores: Vec::new(),
        seconds: 1.0,
        warm_up_seconds: 0.0,
        timeout_seconds: 1.0,
        fill: false,
        verify: false,
        sources: Sources::default(),
        crowd: Crowd::default(),
        groups: vec![Group {
            name: String::new(),
            kind: Kind::Requests,
            think_seconds: 0.0,
            connections: 4,
            pace: Pace::Closed,
            pipeline: 2,
            requests: None,
            mix: vec![
                Share { command: "get".into(), weight: 1 },
                Share { command: "set".into(), weight: 1 },
            ],
            keys: 100,
            distribution: Distribution::Uniform,
            value_bytes: Sizes { min: 16, max: 16 },
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Plan), because: &str) {
        let mut plan = sample();
        change(&mut plan);
        let error = plan.check().unwrap_err();
        assert!(error.contains(because), "{error}");
    }

    #[test]
    fn what_cannot_run_is_refused_with_its_reason() {
        assert_eq!(sample().check(), Ok(()));
        refused(|it| it.groups.clear(), "at least one group");
        refused(|it| it.threads = 5, "5 threads cannot share 4 connections");
        refused(|it| it.cores = vec![0, 1], "one core for each thread");
        refused(|it| it.seconds = f64::NAN, "durations");
        refused(|it| it.groups[0].pipeline = 0, "pipeline");
        refused(|it| it.groups[0].value_bytes = Sizes { min: 2, max: 1 }, "value sizes");
        refused(|it| it.groups[0].pace = Pace::Poisson { rate: 0.0 }, "rate");
        refused(|it| it.groups[0].mix.clear(), "mix");
        refused(|it| it.groups[0].think_seconds = -1.0, "think");
        refused(|it| it.crowd.churn_rate = Some(0.0), "times a second");
        refused(|it| it.sources.addresses = vec!["x".into()], "`x`");
        let rated = |it: &mut Plan| it.groups[0].pace = Pace::Uniform { rate: 1.0 };
        refused(|it| (rated(it), it.groups[0].kind = Kind::Idle).1, "have a rate");
        refused(|it| (rated(it), it.groups[0].think_seconds = 1.0).1, "time to think");
        refused(|it| it.groups[0].mix[0].command = "GET {nothing}".into(), "{nothing}");
        let cluster = |it: &mut Plan| it.target.service = Service::Cluster;
        refused(|it| (cluster(it), it.target.db = 1).1, "one database");
        refused(|it| (cluster(it), it.groups[0].keys = 3).1, "keys of its own");
        refused(
            |it| (cluster(it), it.groups[0].kind = Kind::Subscriber).1,
            "send requests, or idle",
        );
        refused(|it| it.target.read_replicas = true, "by Sentinels");
        let verify = |it: &mut Plan| it.verify = true;
        refused(|it| (verify(it), it.groups[0].keys = 3).1, "number of connections");
        refused(|it| (verify(it), it.groups[0].value_bytes.min = 8).1, "16 bytes or more");
        refused(|it| (verify(it), it.groups[0].mix[0].command = "DEL a".into()).1, "`DEL a`");
    }

    #[test]
    fn a_plan_survives_its_own_json() {
        let mut plan = sample();
        plan.groups[0].pace = Pace::Poisson { rate: 1234.5 };
        plan.groups[0].distribution = Distribution::Zipf { exponent: 0.99 };
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
