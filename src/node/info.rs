//! INFO: every core puts down its figures, and the core that was asked writes the text.
//!
//! Core 0's figures hold what it owns besides: replication, saving, the node's age. Names of figures
//! are this file's and `info/write.rs`' own; names of fields are Redis 7.0's, to the letter and in order.
//!
//! Not here: the Replication section's text (`replication/info.rs`), which core 0 writes whole.

pub mod write;

use crate::command::args::Args;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::node::control::Control;
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::feeding::why;
use crate::node::figures::Figures;
use crate::node::gather::Summary;
use crate::node::host::Load;
use crate::node::outbox::{Action, Outbox, Report};
use crate::node::pubsub::Topic;
use crate::node::stats::Stats;
use crate::replication::info::{MasterLink, Replication};
use crate::replication::master::Master;
use crate::replication::ring::Ring;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use std::sync::atomic::{AtomicU64, Ordering};

pub const COMMANDS: &[Command<NodeFn>] = &[Command::new(rows::INFO, info)];

/// A section of INFO; the order is that of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Server,
    Clients,
    Memory,
    Persistence,
    Stats,
    Replication,
    Cpu,
    Modules,
    Commandstats,
    Errorstats,
    Latencystats,
    Cluster,
    Keyspace,
    /// What only this server has: figures by core.
    Ringfold,
}

/// When a section is shown without being named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Shown {
    ByDefault,
    InAll,
    InEverything,
}

#[rustfmt::skip] // One section, one line.
const SECTIONS: [(Section, &str, Shown); 14] = {
    use Section as S;
    use Shown::{ByDefault, InAll, InEverything};
    [
        (S::Server,       "server",       ByDefault),
        (S::Clients,      "clients",      ByDefault),
        (S::Memory,       "memory",       ByDefault),
        (S::Persistence,  "persistence",  ByDefault),
        (S::Stats,        "stats",        ByDefault),
        (S::Replication,  "replication",  ByDefault),
        (S::Cpu,          "cpu",          ByDefault),
        (S::Modules,      "modules",      ByDefault),
        (S::Commandstats, "commandstats", InAll),
        (S::Errorstats,   "errorstats",   ByDefault),
        (S::Latencystats, "latencystats", InAll),
        (S::Cluster,      "cluster",      ByDefault),
        (S::Keyspace,     "keyspace",     ByDefault),
        (S::Ringfold,     "ringfold",     InEverything),
    ]
};

/// A word for the parts: figures of how long commands took are wanted, too.
const WITH_LATENCIES: &str = "latencies";

/// `INFO [section ...]`
fn info(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let sections = chosen(args);
    let latencies: &[&[u8]] = match sections.contains(&Section::Latencystats) {
        true => &[WITH_LATENCIES.as_bytes()],
        false => &[],
    };
    cx.ask_all("info", Args::new(latencies), Summary::Info { sections });
    Ok(())
}

/// The sections asked for, each once and in order; a name that is none asks for nothing.
fn chosen(args: Args<'_>) -> Vec<Section> {
    let asks = |(_, name, shown): &(Section, &str, Shown)| {
        let named = |at: usize| match () {
            () if args.is(at, "default") => *shown == Shown::ByDefault,
            () if args.is(at, "all") => *shown <= Shown::InAll,
            () if args.is(at, "everything") => true,
            () => args.is(at, name),
        };
        match args.len() {
            0 | 1 => *shown == Shown::ByDefault,
            words => (1..words).any(named),
        }
    };
    SECTIONS.iter().filter(|row| asks(row)).map(|row| row.0).collect()
}

/// This core's figures.
pub(super) fn part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.bulk(&core.figures(args.is(0, WITH_LATENCIES)).to_bytes());
}

impl Core {
    /// Tells its figures where somebody wants a report.
    pub(super) fn report_figures(&mut self, out: &mut Outbox) {
        let number = self.shared.host.report_wanted.load(Ordering::Relaxed);
        if number != self.reported {
            self.reported = number;
            let (figures, settings) = (self.figures(true), self.settings());
            let report = Report { number, core: self.id, figures, settings };
            out.actions.push(Action::Report(Box::new(report)));
        }
    }

    /// This core's figures; with latencies they are some thousands.
    pub(super) fn figures(&self, latencies: bool) -> Figures {
        let core = self;
        let mut figures = Figures::default();
        count_clients(core, &mut figures);
        count_keys(core, &mut figures);
        count_stats(&core.stats, &mut figures);
        count_core(core, &mut figures);
        if latencies {
            count_latencies(core, &mut figures);
        }
        if let Some(control) = &core.control {
            control.describe(core, &mut figures);
        }
        figures
    }
}

fn count_clients(core: &Core, figures: &mut Figures) {
    let totals = core.session_totals();
    figures.add("clients", core.sessions.len().saturating_sub(totals.replicas));
    figures.add("blocked", totals.blocked);
    let (keys, of_group) = core.waiting.keys();
    figures.add("blocking_keys", keys);
    figures.add("blocking_keys_on_nokey", of_group);
    figures.peak("input_max", totals.input_max);
    figures.peak("output_max", totals.output_max);
    figures.add("client_bytes", totals.client_bytes);
    figures.add("link_bytes", totals.link_bytes);
    figures.add("replicas", totals.replicas);
    let scripting = &core.scripting;
    figures.add("script_machine_bytes", scripting.machine.used_bytes());
    figures.add("script_text_bytes", scripting.scripts.bytes());
    // All cores have the same ones.
    figures.peak("scripts", scripting.scripts.len());
    figures.peak("script_bytes", scripting.scripts.bytes());
    figures.peak("libraries", scripting.libraries.iter().len());
    figures.peak("functions", scripting.libraries.functions_len());
    let code = scripting.libraries.iter().map(|it| it.code.len()).sum::<usize>();
    figures.peak("function_bytes", code);
}

fn count_keys(core: &Core, figures: &mut Figures) {
    for db in 0..core.keyspace.databases() {
        let keys = core.keyspace.len(db);
        if keys == 0 {
            continue;
        }
        let expires = core.keyspace.expires(db);
        figures.add(format!("db.{db:05}.keys"), keys);
        figures.add(format!("db.{db:05}.expires"), expires);
        // The mean of means must be weighed.
        let ttl = core.keyspace.avg_ttl(db).saturating_mul(expires as u64);
        figures.add(format!("db.{db:05}.ttl"), ttl);
        figures.add(format!("db.{db:05}.table"), core.keyspace.table_bytes(db));
    }
    let stats = core.keyspace.stats();
    figures.add("hits", stats.hits);
    figures.add("pubsub_channels", core.pubsub.names(Topic::Channel).len());
    figures.add("pubsub_patterns", core.pubsub.names(Topic::Pattern).len());
    figures.add("pubsubshard_channels", core.pubsub.names(Topic::Shard).len());
    figures.add("misses", stats.misses);
    figures.add("expired", stats.expired);
    figures.add("evicted", stats.evicted);
    core.add_tracking_figures(figures);
    figures.add("key_bytes", core.keyspace.used_bytes());
    figures.add("page_bytes_unused", core.keyspace.unused_bytes());
    figures.add("walk_bytes", core.keyspace.pool_bytes());
}

/// What is told of each core by itself, in this order.
pub const OF_CORES: [&str; 13] = [
    "connections",
    "keys",
    "hops",
    "ops",
    "busy_permille",
    "cpu_us",
    "turns",
    "lag_us",
    "lag_max_us",
    "key_bytes",
    "client_bytes",
    "sockets",
    "parked",
];

/// The figures of this core alone.
fn count_core(core: &Core, figures: &mut Figures) {
    let keys: usize = (0..core.keyspace.databases()).map(|db| core.keyspace.len(db)).sum();
    let host = &core.shared.host;
    let load = |of: fn(&Load) -> &AtomicU64| {
        host.loads.get(core.id).map_or(0, |load| of(load).load(Ordering::Relaxed))
    };
    let lag = host.lags.get(core.id).map_or(0, |lag| lag.load(Ordering::Relaxed));
    let numbers: [u64; OF_CORES.len()] = [
        core.sessions.len() as u64,
        keys as u64,
        core.stats.hops,
        core.stats.processed,
        load(|it| &it.busy_permille),
        load(|it| &it.cpu_us),
        load(|it| &it.turns),
        lag / 1_000,
        load(|it| &it.longest_ns) / 1_000,
        core.keyspace.used_bytes() as u64,
        core.weights.bytes(),
        load(|it| &it.seated),
        load(|it| &it.parked),
    ];
    for (name, number) in OF_CORES.iter().zip(numbers) {
        figures.add(format!("core.{:03}.{name}", core.id), number);
    }
}

/// How long commands took: of each so many calls in each bucket.
fn count_latencies(core: &Core, figures: &mut Figures) {
    for (number, histogram) in core.slow.histograms.iter().enumerate() {
        let Some(histogram) = histogram else { continue };
        for it in histogram.iter_recorded() {
            let name = format!("latency.{number:05}.{}", it.value_iterated_to());
            figures.add(name, it.count_at_value());
        }
    }
}

fn count_denied(stats: &Stats, figures: &mut Figures) {
    let names = ["denied_cmd", "denied_key", "denied_channel", "denied_auth"];
    names.iter().zip(stats.denied).for_each(|(name, count)| figures.add(*name, count));
}

fn count_stats(stats: &Stats, figures: &mut Figures) {
    for (number, it) in stats.commands.iter().enumerate() {
        if it.calls + it.rejected + it.failed > 0 {
            figures.add(format!("command.{number:05}.calls"), it.calls);
            figures.add(format!("command.{number:05}.ns"), it.nanoseconds);
            figures.add(format!("command.{number:05}.rejected"), it.rejected);
            figures.add(format!("command.{number:05}.failed"), it.failed);
        }
    }
    for (code, count) in &stats.errors {
        figures.add(format!("error.{code}"), *count);
    }
    for (name, number) in [
        ("processed", stats.processed),
        ("connections", stats.connections),
        ("rejected_connections", stats.rejected_connections),
        ("evicted_clients", stats.evicted_clients),
        ("output_disconnections", stats.output_disconnections),
        ("input_disconnections", stats.input_disconnections),
        ("input_bytes", stats.input_bytes),
        ("output_bytes", stats.output_bytes),
        ("repl_input_bytes", stats.repl_input_bytes),
        ("repl_output_bytes", stats.repl_output_bytes),
        ("error_replies", stats.error_replies),
        ("reads", stats.reads),
        ("writes", stats.writes),
    ] {
        figures.add(name, number);
    }
    count_denied(stats, figures);
    let names = ["ops_rate", "input_rate", "output_rate", "repl_input_rate", "repl_output_rate"];
    names.iter().zip(stats.rates()).for_each(|(name, rate)| figures.add(*name, rate));
}

impl Control {
    /// What core 0 knows of the node.
    fn describe(&self, core: &Core, figures: &mut Figures) {
        let snapshots = &self.snapshots;
        let now_s = core.now.wall.ms() / 1_000;
        figures.add("uptime", Stats::uptime(self.started, core.now));
        figures.text("run_id", self.run_id.as_str());
        figures.text("replication", self.replication_text(core));
        self.describe_state(core, figures);
        figures.add("changes", snapshots.changes);
        figures.add("saving", i64::from(snapshots.is_saving()));
        figures.add("last_save", snapshots.last_save_s);
        figures.add("last_ok", i64::from(snapshots.last_ok));
        let took = snapshots.last_took_s.map_or(-1, |it| i64::try_from(it).unwrap_or(i64::MAX));
        figures.add("last_took", took);
        let began = snapshots.save_began_s().filter(|_| snapshots.is_saving());
        let taking = began.and_then(|at| i64::try_from(now_s.saturating_sub(at)).ok());
        figures.add("taking", taking.unwrap_or(-1));
        figures.add("saves", snapshots.saves);
        let (aof, rewrite) = (&self.aof, &self.aof.rewrite);
        let flag = |it: bool| i64::from(it);
        let seconds = |it: Option<u64>| it.map_or(-1, |it| i64::try_from(it).unwrap_or(i64::MAX));
        figures.add("aof_on", flag(aof.is_on()));
        figures.add("aof_rewriting", flag(rewrite.began_s().is_some()));
        figures.add("aof_scheduled", flag(snapshots.base_wanted));
        figures.add("aof_took", seconds(rewrite.took_s));
        let taking = rewrite.began_s().map(|began| now_s.saturating_sub(began));
        figures.add("aof_taking", seconds(taking));
        figures.add("aof_rewrite_failed", flag(rewrite.failed));
        figures.add("aof_rewrites", rewrite.done);
        figures.add("aof_failures", rewrite.failures);
        figures.add("aof_failed", flag(aof.failure().is_some()));
        figures.add("aof_size", aof.size());
        figures.add("aof_base", rewrite.base_bytes);
        figures.add("aof_buffer", aof.unwritten(self.offset()));
        figures.add("aof_syncs", aof.syncs_under_way());
        figures.add("aof_delayed", aof.delayed_syncs());
        figures.add("loaded", self.following.loaded_keys);
        figures.add("load_began", self.following.load_began_s);
        figures.add("load_bytes", self.following.load_bytes);
        let sync = self.following.replica.status(core.now.mono).sync;
        figures.add("load_total", sync.map_or(0, |it| it.total));
        let counters = self.master.counters();
        figures.add("sync_full", counters.sync_full);
        figures.add("sync_partial_ok", counters.sync_partial_ok);
        figures.add("sync_partial_err", counters.sync_partial_err);
        let spilled = self.ring.as_ref().map_or(0, Ring::spilled_bytes);
        figures.add("spilled_bytes", spilled);
        figures.add("spilled_chunks", self.spilling.chunks);
        figures.text("lags", self.lag_lines());
        figures.add("syncs_paced", self.syncs_paced);
        figures.add("syncs_resumed", self.master.counters().sync_resumed);
        figures.add("syncs_away", self.master.away());
        let (flows, up) = self.following.flows.count();
        figures.add("flows", flows);
        figures.add("flows_up", up);
        figures.add("writers_waited", self.held_back.times);
        let since = self.held_back.since.map_or(0, |since| core.now.mono.ms_since(since));
        figures.add("writers_waited_ms", self.held_back.ms + since);
        for (reason, count) in &self.reasons {
            figures.add(format!("reason.{}", why(*reason)), *count);
        }
        let held = self.ring.as_ref().map(Ring::held);
        figures.add("ring_bytes", held.map_or(0, |held| held.end - held.start) - spilled);
        figures.add("feed_bytes", self.feeds.iter().map(|feed| feed.queued_bytes()).sum::<usize>());
        let (taken, merged) = self.tickets(core);
        figures.add("tickets", taken);
        figures.add("tickets_merged", merged);
    }

    /// How it is, for whoever watches it.
    fn describe_state(&self, core: &Core, figures: &mut Figures) {
        let view = &self.view;
        let status = self.following.replica.status(core.now.mono);
        let refused = view.save_failed || view.aof_failed.is_some() || view.few_replicas;
        for (name, is) in [
            ("is_loading", view.loading),
            ("is_replica", view.is_replica()),
            ("master_link_up", view.is_replica() && status.up),
            ("save_failed", view.save_failed),
            ("few_replicas", view.few_replicas),
            ("writes_refused", refused),
        ] {
            figures.add(name, i64::from(is));
        }
        let last_io_s = if view.is_replica() { status.last_io_s } else { -1 };
        figures.add("master_last_io_s", last_io_s);
        figures.add("repl_offset", self.offset());
        for row in self.master.rows(core.now.mono) {
            let name = format!("replica.{}:{}", String::from_utf8_lossy(row.ip), row.port);
            figures.add(format!("{name}|offset"), row.offset);
            figures.add(format!("{name}|lag"), row.lag_s);
            figures.add(format!("{name}|online"), i64::from(row.state == "online"));
        }
    }

    /// How far replicas are behind, in time, by stage; and how far we are, if we are one.
    fn lag_lines(&self) -> String {
        let mut lines = String::new();
        for (at, replica) in self.master.following().enumerate() {
            let ip = String::from_utf8_lossy(&replica.ip);
            let who = format!("ip={ip},port={}", replica.port);
            let (sent, acknowledged) = (replica.sent_lag.summary(), replica.ack_lag.summary());
            let (flows, on) = Master::flows(replica);
            if flows > 0 {
                lines.push_str(&format!("slave{at}_flows:{who},up={flows},on={}\n", u8::from(on)));
            }
            lines.push_str(&format!("slave{at}_lag_us_sent:{who},{sent}\n"));
            lines.push_str(&format!("slave{at}_lag_us_acknowledged:{who},{acknowledged}\n"));
        }
        if self.following.master.is_some() {
            let applied = self.following.applied_lag.summary();
            lines.push_str(&format!("replica_lag_us_applied:{applied}\n"));
        }
        lines
    }

    fn replication_text(&self, core: &Core) -> String {
        let (now, settings) = (core.now.mono, &self.view.settings);
        let master = self.following.master.as_ref();
        let host = master.map(|(host, _)| String::from_utf8_lossy(host)).unwrap_or_default();
        let rows: Vec<_> = self.master.rows(now).collect();
        let wants_replicas =
            settings.min_replicas_to_write > 0 && settings.min_replicas_max_lag > 0;
        let lag_max = u64::from(settings.min_replicas_max_lag);
        let mut text = String::new();
        Replication {
            master: master.map(|(_, port)| MasterLink {
                host: &host,
                port: *port,
                status: self.following.replica.status(now),
                priority: settings.replica_priority,
                read_only: settings.replica_read_only,
                announced: settings.replica_announced,
            }),
            rows: &rows,
            good_replicas: wants_replicas.then(|| self.master.good_replicas(now, lag_max)),
            failover_state: self.failover.name(),
            history: &self.history,
            offset: self.offset(),
            backlog: self.ring.as_ref().map(Ring::held),
            backlog_size: settings.repl_backlog_size,
        }
        .write_to(&mut text);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sections that redis-server 7.0.15 shows, and ours.
    #[test]
    fn sections_are_chosen_by_name_and_by_group() {
        let check = |line: &str, expected: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let sections = chosen(Args::new(&words));
            let names = SECTIONS.iter().filter(|row| sections.contains(&row.0)).map(|row| row.1);
            assert_eq!(names.collect::<Vec<_>>().join(" "), expected, "{line}");
        };
        let default = "server clients memory persistence stats replication cpu modules errorstats \
            cluster keyspace";
        let all = "server clients memory persistence stats replication cpu modules commandstats \
            errorstats latencystats cluster keyspace";
        check("INFO", default);
        check("INFO default", default);
        check("INFO ALL", all);
        check("INFO everything", &format!("{all} ringfold"));
        check("INFO nosuch", "");
        check("INFO keyspace nosuch SERVER server", "server keyspace");
        check(
            "INFO default commandstats ringfold",
            "server clients memory persistence stats replication cpu modules commandstats \
             errorstats cluster keyspace ringfold",
        );
    }
}
