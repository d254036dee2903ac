//! What is told at `/metrics`, as data: families of metrics made of the figures of all cores.
//!
//! One row a family where one figure is one metric; what has labels follows in functions. The text is made by
//! whoever serves it (`runtime/metrics.rs`).
//!
//! Names follow Prometheus: base units, `_total` (which the encoder adds) for what only grows. A name that is
//! told once stays: dashboards and alerts are made of them (`tuning/grafana/`).

use crate::node::figures::Figures;
use crate::node::host::Host;
use crate::node::memory_report::Taken;
use crate::node::settings::Settings;
use crate::node::table::Table;
use std::sync::atomic::Ordering;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    Gauge,
    Histogram,
}

/// What one metric says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Number(f64),
    /// How many took at most so long: up to an end, so many of them alone.
    Histogram {
        sum: f64,
        count: u64,
        buckets: Vec<(f64, u64)>,
    },
}

/// Metrics of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Without the beginning that all have, and without `_total`.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub metrics: Vec<(Vec<(&'static str, String)>, Said)>,
}

/// What families are made of.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    pub figures: &'a Figures,
    pub host: &'a Host,
    pub settings: &'a Settings,
    pub table: &'a Table,
    pub cores: usize,
    /// Cores whose figures are not in them: they had no time.
    pub silent: &'a [usize],
}

use Kind::{Counter, Gauge, Histogram};

const NS_PER_S: f64 = 1e9;

#[rustfmt::skip] // One family, one line: its name, the figure, what one of it is worth, what it is, help.
const PLAIN: &[(&str, &str, f64, Kind, &str)] = &[
    ("uptime_seconds", "uptime", 1.0, Gauge, "Seconds since the start"),
    ("loading", "is_loading", 1.0, Gauge, "1 while the data set is being loaded"),
    ("replica", "is_replica", 1.0, Gauge, "1 where this is a replica, 0 where it is a master"),
    ("connected_clients", "clients", 1.0, Gauge, "Clients, without replicas"),
    ("connected_replicas", "replicas", 1.0, Gauge, "Replicas"),
    ("blocked_clients", "blocked", 1.0, Gauge, "Clients that wait for a key or for replicas"),
    ("tracking_clients", "tracking_clients", 1.0, Gauge, "Clients that are told of keys that change"),
    ("connections_received", "connections", 1.0, Counter, "Clients that came"),
    ("connections_rejected", "rejected_connections", 1.0, Counter, "Clients that were turned away"),
    ("evicted_clients", "evicted_clients", 1.0, Counter, "Clients closed since all of them took too much memory"),
    ("output_limit_disconnections", "output_disconnections", 1.0, Counter, "Clients closed since too much of their output waited"),
    ("input_limit_disconnections", "input_disconnections", 1.0, Counter, "Clients closed since too much of their input waited"),
    ("commands_processed", "processed", 1.0, Counter, "Commands that ran"),
    ("error_replies", "error_replies", 1.0, Counter, "Errors that were answered"),
    ("net_input_bytes", "input_bytes", 1.0, Counter, "Bytes from clients"),
    ("net_output_bytes", "output_bytes", 1.0, Counter, "Bytes to clients"),
    ("repl_input_bytes", "repl_input_bytes", 1.0, Counter, "Bytes from a master"),
    ("repl_output_bytes", "repl_output_bytes", 1.0, Counter, "Bytes to replicas"),
    ("keyspace_hits", "hits", 1.0, Counter, "Keys that were read and there"),
    ("keyspace_misses", "misses", 1.0, Counter, "Keys that were read and not there"),
    ("expired_keys", "expired", 1.0, Counter, "Keys whose time was over"),
    ("evicted_keys", "evicted", 1.0, Counter, "Keys that went since memory was short"),
    ("pubsub_channels", "pubsub_channels", 1.0, Gauge, "Channels that somebody listens to, of each core"),
    ("scripts", "scripts", 1.0, Gauge, "Scripts that EVALSHA knows"),
    ("rdb_changes_since_last_save", "changes", 1.0, Gauge, "Changes since the last snapshot on disk"),
    ("rdb_saving", "saving", 1.0, Gauge, "1 while a snapshot is written to disk"),
    ("rdb_last_save_timestamp_seconds", "last_save", 1.0, Gauge, "When the last snapshot was on disk"),
    ("rdb_last_save_ok", "last_ok", 1.0, Gauge, "0 where the last snapshot failed"),
    ("writes_refused", "writes_refused", 1.0, Gauge, "1 while writes are refused since the disk, or replicas, are not there"),
    ("aof_enabled", "aof_on", 1.0, Gauge, "1 with an append-only file"),
    ("aof_failed", "aof_failed", 1.0, Gauge, "1 while the append-only file cannot be written"),
    ("aof_size_bytes", "aof_size", 1.0, Gauge, "Bytes of the append-only file"),
    ("repl_offset_bytes", "repl_offset", 1.0, Gauge, "Where the stream of writes is"),
    ("repl_backlog_bytes", "ring_bytes", 1.0, Gauge, "Bytes of the stream that are kept in memory"),
    ("repl_spilled_bytes", "spilled_bytes", 1.0, Gauge, "Bytes of the stream that lie in a file"),
    ("repl_full_syncs", "sync_full", 1.0, Counter, "Full copies for replicas"),
    ("repl_partial_syncs", "sync_partial_ok", 1.0, Counter, "Replicas that went on where they had left"),
    ("repl_partial_syncs_refused", "sync_partial_err", 1.0, Counter, "Replicas that could not"),
    ("repl_writers_waited", "writers_waited", 1.0, Counter, "Times that writers waited for a replica"),
    ("repl_writers_waited_seconds", "writers_waited_ms", 1e-3, Counter, "For how long they did"),
    ("master_link_up", "master_link_up", 1.0, Gauge, "1 while a replica hears its master; 0 on a master, too"),
    ("master_last_io_seconds", "master_last_io_s", 1.0, Gauge, "Seconds since a replica heard its master; -1 without a link"),
];

/// What is told of each core: the name, the figure of `info::OF_CORES`, what one of it is worth.
#[rustfmt::skip] // As above.
const OF_A_CORE: &[(&str, &str, f64, Kind, &str)] = &[
    ("core_connections", "connections", 1.0, Gauge, "Connections of a core"),
    ("core_keys", "keys", 1.0, Gauge, "Keys of a core"),
    ("core_hops", "hops", 1.0, Counter, "Requests, or parts of them, that a core sent to others"),
    ("core_commands", "ops", 1.0, Counter, "Commands that a core ran"),
    ("core_busy_ratio", "busy_permille", 1e-3, Gauge, "How much of the last second a core had a CPU"),
    ("core_cpu_seconds", "cpu_us", 1e-6, Counter, "CPU time of a core's thread"),
    ("core_turns", "turns", 1.0, Counter, "Turns of a core's loop"),
    ("core_loop_lag_seconds", "lag_us", 1e-6, Gauge, "How long the last turn of a core took"),
    ("core_loop_lag_max_seconds", "lag_max_us", 1e-6, Gauge, "The longest turn of a core in the last second"),
    ("core_memory_bytes", "key_bytes", 1.0, Gauge, "What a core's keys take"),
    ("core_client_bytes", "client_bytes", 1.0, Gauge, "What a core's clients take"),
    ("core_sockets", "sockets", 1.0, Gauge, "Sockets of a core that have a descriptor"),
    ("core_sockets_parked", "parked", 1.0, Gauge, "Sockets of a core that have none"),
];

/// Ends of the buckets of how long commands take, in nanoseconds.
const BUCKETS: [u64; 13] = {
    let us = 1_000;
    let ms = 1_000 * us;
    [
        us,
        2 * us,
        5 * us,
        10 * us,
        25 * us,
        50 * us,
        100 * us,
        250 * us,
        ms,
        5 * ms,
        25 * ms,
        100 * ms,
        500 * ms,
    ]
};

/// All families, in the order in which they are told.
#[must_use]
pub fn families(source: &Source<'_>) -> Vec<Family> {
    let mut all = vec![build(source)];
    all.extend(PLAIN.iter().map(|(name, figure, worth, kind, help)| Family {
        name,
        help,
        kind: *kind,
        metrics: vec![(Vec::new(), Said::Number(source.figures.get(figure) as f64 * worth))],
    }));
    all.extend(memory(source));
    all.extend(databases(source));
    all.extend(errors(source));
    all.extend(commands(source));
    all.extend(replicas(source));
    all.extend(cores(source));
    all
}

fn gauge(name: &'static str, help: &'static str, number: f64) -> Family {
    Family { name, help, kind: Gauge, metrics: vec![(Vec::new(), Said::Number(number))] }
}

fn build(source: &Source<'_>) -> Family {
    let labels = vec![
        ("version", env!("CARGO_PKG_VERSION").to_string()),
        ("run_id", source.figures.text_of("run_id").to_string()),
    ];
    let (name, help) = ("build_info", "Always 1: which build this is, and which run of it");
    Family { name, help, kind: Gauge, metrics: vec![(labels, Said::Number(1.0))] }
}

fn memory(source: &Source<'_>) -> Vec<Family> {
    let taken = Taken::new(source.figures, source.host, source.settings);
    let seconds = |it: &std::sync::atomic::AtomicU64| it.load(Ordering::Relaxed) as f64 / 1e6;
    let (user, system) = (&source.host.cpu_user_us, &source.host.cpu_system_us);
    let mut cpu = gauge("cpu_seconds", "CPU time of the process", seconds(user) + seconds(system));
    cpu.kind = Counter;
    let settings = source.settings;
    vec![
        gauge(
            "memory_used_bytes",
            "What keys, clients, scripts and streams take",
            taken.used() as f64,
        ),
        gauge("memory_rss_bytes", "Resident memory of the process", taken.rss as f64),
        gauge("memory_peak_bytes", "The most that was used", taken.peak as f64),
        gauge("memory_dataset_bytes", "What the keys take", taken.keys as f64),
        gauge("memory_clients_bytes", "What the clients take", taken.clients as f64),
        gauge("memory_max_bytes", "maxmemory; 0: no limit", settings.maxmemory as f64),
        gauge("clients_max", "maxclients", f64::from(settings.maxclients)),
        cpu,
    ]
}

fn databases(source: &Source<'_>) -> Vec<Family> {
    let of = |what: &'static str| {
        let all = source.figures.sums_of("db.");
        let all = all.filter_map(|(name, number)| {
            let db = name.strip_suffix(what)?.parse::<usize>().ok()?;
            Some((vec![("db", db.to_string())], Said::Number(number as f64)))
        });
        all.collect()
    };
    vec![
        Family { name: "db_keys", help: "Keys of a database", kind: Gauge, metrics: of(".keys") },
        Family {
            name: "db_expires",
            help: "Keys of a database that expire",
            kind: Gauge,
            metrics: of(".expires"),
        },
    ]
}

fn errors(source: &Source<'_>) -> Vec<Family> {
    let of = |prefix: &'static str, label: &'static str| {
        let all = source.figures.sums_of(prefix);
        all.map(|(name, count)| (vec![(label, name.to_string())], Said::Number(count as f64)))
            .collect()
    };
    let (errors, reasons) = (of("error.", "code"), of("reason.", "reason"));
    vec![
        Family { name: "errors", help: "Errors by code", kind: Counter, metrics: errors },
        Family {
            name: "repl_full_sync_reasons",
            help: "Why replicas were copied as a whole",
            kind: Counter,
            metrics: reasons,
        },
        Family {
            name: "access_denied",
            help: "What was refused for want of rights",
            kind: Counter,
            metrics: of("denied_", "about"),
        },
    ]
}

fn commands(source: &Source<'_>) -> Vec<Family> {
    let of = |what: &str| {
        let mut metrics = Vec::new();
        for (number, row) in source.table.iter() {
            let count = source.figures.get(&format!("command.{number:05}.{what}"));
            if count > 0 {
                let labels = vec![("command", row.full_name.clone())];
                metrics.push((labels, Said::Number(count as f64)));
            }
        }
        metrics
    };
    let latencies = source.figures.latencies();
    let histograms = latencies.iter().filter_map(|(number, histogram)| {
        let labels = vec![("command", source.table.get(*number)?.full_name.clone())];
        let nanoseconds = source.figures.get(&format!("command.{number:05}.ns"));
        let mut from = 0;
        let mut buckets = Vec::with_capacity(BUCKETS.len() + 1);
        for end in BUCKETS {
            let count = histogram.count_between(from, end);
            buckets.push((end as f64 / NS_PER_S, count));
            from = histogram.next_non_equivalent(end);
        }
        let below: u64 = buckets.iter().map(|(_, count)| count).sum();
        let count = histogram.len();
        buckets.push((f64::MAX, count.saturating_sub(below)));
        let sum = nanoseconds as f64 / NS_PER_S;
        Some((labels, Said::Histogram { sum, count, buckets }))
    });
    vec![
        Family {
            name: "command_calls",
            help: "Calls of a command",
            kind: Counter,
            metrics: of("calls"),
        },
        Family {
            name: "command_rejected",
            help: "Calls that were refused before they ran",
            kind: Counter,
            metrics: of("rejected"),
        },
        Family {
            name: "command_failed",
            help: "Calls that ended with an error",
            kind: Counter,
            metrics: of("failed"),
        },
        Family {
            name: "command_duration_seconds",
            help: "How long commands took",
            kind: Histogram,
            metrics: histograms.collect(),
        },
    ]
}

fn replicas(source: &Source<'_>) -> Vec<Family> {
    let of = |what: &'static str, worth: f64| {
        let all = source.figures.sums_of("replica.");
        let all = all.filter_map(|(name, number)| {
            let replica = name.strip_suffix(what)?.to_string();
            Some((vec![("replica", replica)], Said::Number(number as f64 * worth)))
        });
        all.collect()
    };
    vec![
        Family {
            name: "replica_offset_bytes",
            help: "How far a replica says that it is",
            kind: Gauge,
            metrics: of("|offset", 1.0),
        },
        Family {
            name: "replica_lag_seconds",
            help: "Seconds since a replica said so",
            kind: Gauge,
            metrics: of("|lag", 1.0),
        },
        Family {
            name: "replica_online",
            help: "1 for a replica that has everything but the last writes",
            kind: Gauge,
            metrics: of("|online", 1.0),
        },
    ]
}

fn cores(source: &Source<'_>) -> Vec<Family> {
    let answers = |core: usize| !source.silent.contains(&core);
    let mut all: Vec<Family> = Vec::new();
    for (name, figure, worth, kind, help) in OF_A_CORE {
        let metrics = (0..source.cores).filter(|core| answers(*core)).map(|core| {
            let number = source.figures.get(&format!("core.{core:03}.{figure}"));
            (vec![("core", core.to_string())], Said::Number(number as f64 * worth))
        });
        all.push(Family { name, help, kind: *kind, metrics: metrics.collect() });
    }
    let metrics = (0..source.cores).map(|core| {
        (vec![("core", core.to_string())], Said::Number(u8::from(answers(core)).into()))
    });
    all.push(Family {
        name: "core_answered",
        help: "0 for a core that had no time to tell its figures: they are missing here",
        kind: Gauge,
        metrics: metrics.collect(),
    });
    all
}

/// Is the node well, for whoever asks `/healthz`?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// What is wrong; empty: nothing.
    pub wrong: Vec<&'static str>,
    pub replica: bool,
}

impl Health {
    #[must_use]
    pub fn new(source: &Source<'_>) -> Self {
        let is = |name: &str| source.figures.get(name) != 0;
        let replica = is("is_replica");
        let wrong = [
            (!source.silent.is_empty(), "a core does not answer"),
            (is("is_loading"), "loading"),
            (replica && !is("master_link_up"), "no link to the master"),
            (is("aof_failed"), "the append-only file cannot be written"),
            (is("save_failed"), "the last snapshot failed, and writes are refused"),
            (is("few_replicas"), "too few replicas, and writes are refused"),
        ];
        let wrong = wrong.into_iter().filter(|it| it.0).map(|it| it.1).collect();
        Self { wrong, replica }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::families;
    use std::collections::BTreeSet;

    fn with<T>(figures: &Figures, silent: &[usize], then: impl Fn(&Source<'_>) -> T) -> T {
        let (host, settings) = (Host::default(), Settings::new());
        let table = families::table();
        then(&Source { figures, host: &host, settings: &settings, table, cores: 2, silent })
    }

    #[test]
    fn names_are_prometheus_names_and_unique() {
        let all = with(&Figures::default(), &[], families);
        let names: BTreeSet<&str> = all.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), all.len());
        for family in &all {
            let ok = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(family.name.bytes().all(ok), "{}", family.name);
            assert!(!family.name.ends_with("_total"), "{}: the encoder says that", family.name);
            assert!(!family.help.is_empty());
        }
    }

    #[test]
    fn figures_become_metrics_with_labels() {
        let mut figures = Figures::default();
        figures.add("clients", 3);
        figures.add("db.00010.keys", 4);
        figures.add("replica.10.0.0.1:7000|lag", 2);
        figures.add("core.001.lag_us", 1_500);
        figures.add("command.00000.ns", 3_000);
        figures.add("latency.00000.1000", 2);
        figures.add("latency.00000.900000000", 1);
        let all = with(&figures, &[0], families);
        let find = |name: &str| &all.iter().find(|it| it.name == name).unwrap().metrics;
        let one = |labels: &[(&'static str, &str)], number| {
            let labels = labels.iter().map(|(name, value)| (*name, value.to_string())).collect();
            vec![(labels, Said::Number(number))]
        };
        assert_eq!(find("connected_clients"), &one(&[], 3.0));
        assert_eq!(find("db_keys"), &one(&[("db", "10")], 4.0));
        assert_eq!(find("replica_lag_seconds"), &one(&[("replica", "10.0.0.1:7000")], 2.0));
        assert_eq!(find("core_loop_lag_seconds"), &one(&[("core", "1")], 0.0015));
        let [(_, Said::Histogram { sum, count, buckets })] =
            find("command_duration_seconds").as_slice()
        else {
            panic!("no histogram");
        };
        assert_eq!((*sum, *count), (3e-6, 3));
        assert_eq!(buckets.iter().map(|it| it.1).sum::<u64>(), 3);
        assert_eq!((buckets[0], buckets[13].1), ((1e-6, 2), 1));
    }

    #[test]
    fn a_node_is_well_until_something_is_wrong() {
        let check = |names: &[&str], silent: &[usize], wrong: &[&str]| {
            let mut figures = Figures::default();
            names.iter().for_each(|name| figures.add(*name, 1));
            assert_eq!(with(&figures, silent, Health::new).wrong, wrong, "{names:?}");
        };
        check(&[], &[], &[]);
        check(&["is_loading"], &[], &["loading"]);
        check(&["is_replica"], &[], &["no link to the master"]);
        check(&["is_replica", "master_link_up"], &[], &[]);
        check(
            &["aof_failed"],
            &[1],
            &["a core does not answer", "the append-only file cannot be written"],
        );
    }
}
