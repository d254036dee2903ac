//! INFO's text from merged figures: fields and order are those of Redis 7.0.15, section by section.
//!
//! A field about something that this server does not have (AOF, modules, scripts, forks) says 0, -1
//! or what Redis says where it is switched off. What is only ours stands behind Redis' own fields.

use crate::base::glob;
use crate::base::time::Now;
use crate::node::figures::Figures;
use crate::node::host::Host;
use crate::node::info::{OF_CORES, Section};
use crate::node::memory_report::Taken;
use crate::node::settings::Settings;
use crate::node::table::Table;
use crate::node::{REDIS_VERSION, config};
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the text is written from.
#[derive(Debug)]
pub struct Report<'a> {
    pub figures: &'a Figures,
    pub host: &'a Host,
    pub settings: &'a Settings,
    pub table: &'a Table,
    pub cores: usize,
    pub loading: bool,
    pub now: Now,
}

impl Report<'_> {
    /// The sections one after another, an empty line between two.
    #[must_use]
    pub fn write(&self, sections: &[Section]) -> String {
        let mut out = Lines(String::new());
        for section in sections {
            if !out.0.is_empty() {
                out.0.push_str("\r\n");
            }
            match section {
                Section::Server => self.server(&mut out),
                Section::Clients => self.clients(&mut out),
                Section::Memory => self.memory(&mut out),
                Section::Persistence => self.persistence(&mut out),
                Section::Stats => self.stats(&mut out),
                Section::Replication => out.0.push_str(self.figures.text_of("replication")),
                Section::Cpu => self.cpu(&mut out),
                Section::Modules => out.title("Modules"),
                Section::Commandstats => self.commandstats(&mut out),
                Section::Errorstats => self.errorstats(&mut out),
                Section::Latencystats => self.latencystats(&mut out),
                Section::Cluster => {
                    out.title("Cluster");
                    out.field("cluster_enabled", u8::from(self.settings.cluster_enabled));
                }
                Section::Keyspace => self.keyspace(&mut out),
                Section::Ringfold => self.ringfold(&mut out),
            }
        }
        out.0
    }

    fn get(&self, name: &str) -> i64 {
        self.figures.get(name)
    }

    fn setting(&self, name: &str) -> String {
        let found = config::get(self.settings, &[name.as_bytes()], glob::matches_with);
        found.iter().map(|(_, value)| String::from_utf8_lossy(value)).collect()
    }

    fn server(&self, out: &mut Lines) {
        const CLOCK_MASK: u64 = (1 << 24) - 1;
        let (host, settings) = (self.host, self.settings);
        let micros = self.now.wall.0;
        let uptime = self.get("uptime");
        let supervised = if host.supervised.is_empty() { "no" } else { host.supervised };
        out.title("Server");
        out.field("redis_version", REDIS_VERSION);
        out.field("redis_git_sha1", "00000000");
        out.field("redis_git_dirty", 0);
        out.field("redis_build_id", 0);
        let mode = if settings.cluster_enabled { "cluster" } else { "standalone" };
        out.field("redis_mode", mode);
        out.field("os", &host.os);
        out.field("arch_bits", usize::BITS);
        out.field("monotonic_clock", "POSIX clock_gettime");
        out.field("multiplexing_api", "io_uring");
        out.field("atomicvar_api", "none");
        out.field("gcc_version", "0.0.0");
        out.field("process_id", host.process_id);
        out.field("process_supervised", supervised);
        out.field("run_id", self.figures.text_of("run_id"));
        let port = if settings.port == 0 { settings.tls_port } else { settings.port };
        out.field("tcp_port", port);
        out.field("server_time_usec", micros);
        out.field("uptime_in_seconds", uptime);
        out.field("uptime_in_days", uptime / 86_400);
        out.field("hz", settings.hz);
        out.field("configured_hz", settings.hz);
        out.field("lru_clock", (micros / 1_000_000) & CLOCK_MASK);
        out.field("executable", &host.executable);
        out.field("config_file", &host.config_file);
        out.field("io_threads_active", 0);
        self.listeners(out);
        out.field("ringfold_version", env!("CARGO_PKG_VERSION"));
        out.field("cores", self.cores);
    }

    /// As Redis 7.2 tells where it listens.
    fn listeners(&self, out: &mut Lines) {
        let settings = self.settings;
        let by = |name: &str, binds: &[Vec<u8>], port: u16| {
            let binds = binds.iter().map(|it| format!(",bind={}", String::from_utf8_lossy(it)));
            format!("name={name}{},port={port}", binds.collect::<String>())
        };
        let unix = |path: &[u8]| format!("name=unix,bind={}", String::from_utf8_lossy(path));
        let all = [
            (settings.port != 0).then(|| by("tcp", &settings.bind, settings.port)),
            (settings.admin_port != 0)
                .then(|| by("tcp", &settings.admin_bind, settings.admin_port)),
            (!settings.unixsocket.is_empty()).then(|| unix(&settings.unixsocket)),
            (!settings.admin_unixsocket.is_empty()).then(|| unix(&settings.admin_unixsocket)),
            (settings.tls_port != 0).then(|| by("tls", &settings.bind, settings.tls_port)),
        ];
        for (number, listener) in all.into_iter().flatten().enumerate() {
            out.field(&format!("listener{number}"), listener);
        }
    }

    fn clients(&self, out: &mut Lines) {
        out.title("Clients");
        out.field("connected_clients", self.get("clients"));
        out.field("cluster_connections", 0);
        out.field("maxclients", self.settings.maxclients);
        out.field("client_recent_max_input_buffer", self.get("input_max"));
        out.field("client_recent_max_output_buffer", self.get("output_max"));
        out.field("blocked_clients", self.get("blocked"));
        out.field("tracking_clients", self.get("tracking_clients"));
        out.field("clients_in_timeout_table", 0);
        out.field("total_blocking_keys", self.get("blocking_keys"));
        out.field("total_blocking_keys_on_nokey", self.get("blocking_keys_on_nokey"));
        let host = self.host;
        out.field("socket_admin_clients", signed(&host.admitted));
        out.field("sockets_with_descriptor", signed(&host.seated));
        out.field("sockets_parked", signed(&host.parked));
        out.field("socket_tables", signed(&host.tables));
        out.field("socket_descriptors_max", signed(&host.seats));
    }

    #[rustfmt::skip] // One field, one line.
    fn memory(&self, out: &mut Lines) {
        let taken = Taken::new(self.figures, self.host, self.settings);
        let (used, active, rss, peak) = (taken.used(), taken.active(), taken.rss, taken.peak);
        let (vm, scripts) = (taken.interpreters, taken.scripts);
        let total = i64::try_from(self.host.memory_bytes).unwrap_or(i64::MAX);
        let maxmemory = i64::try_from(self.settings.maxmemory).unwrap_or(i64::MAX);
        out.title("Memory");
        out.bytes("used_memory", used);
        out.bytes("used_memory_rss", rss);
        out.bytes("used_memory_peak", peak);
        out.field("used_memory_peak_perc", percent(used, peak));
        out.field("used_memory_overhead", taken.overhead());
        out.field("used_memory_startup", 0);
        out.field("used_memory_dataset", taken.keys);
        out.field("used_memory_dataset_perc", percent(taken.keys, used));
        out.field("allocator_allocated", used);
        out.field("allocator_active", active);
        out.field("allocator_resident", rss);
        out.bytes("total_system_memory", total);
        out.field("used_memory_lua", vm);
        out.field("used_memory_vm_eval", vm);
        out.field("used_memory_lua_human", human(vm));
        out.field("used_memory_scripts_eval", self.get("script_bytes"));
        out.field("number_of_cached_scripts", self.get("scripts"));
        out.field("number_of_functions", self.get("functions"));
        out.field("number_of_libraries", self.get("libraries"));
        out.field("used_memory_vm_functions", 0); // They share the interpreter of EVAL.
        out.bytes("used_memory_vm_total", vm);
        out.field("used_memory_functions", self.get("function_bytes"));
        out.bytes("used_memory_scripts", scripts);
        out.bytes("maxmemory", maxmemory);
        out.field("maxmemory_policy", self.setting("maxmemory-policy"));
        out.field("allocator_frag_ratio", ratio(active, used));
        out.field("allocator_frag_bytes", active - used);
        out.field("allocator_rss_ratio", ratio(rss, active));
        out.field("allocator_rss_bytes", rss - active);
        out.field("rss_overhead_ratio", ratio(rss, rss));
        out.field("rss_overhead_bytes", 0);
        out.field("mem_fragmentation_ratio", ratio(rss, used));
        out.field("mem_fragmentation_bytes", rss - used);
        out.field("mem_not_counted_for_evict", taken.not_counted());
        out.field("mem_replication_backlog", taken.ring);
        out.field("mem_total_replication_buffers", taken.ring + taken.feeds);
        out.field("mem_clients_slaves", taken.links);
        out.field("mem_clients_normal", taken.clients);
        out.field("mem_cluster_links", 0);
        out.field("mem_aof_buffer", taken.aof);
        out.field("mem_allocator", "libc");
        out.field("active_defrag_running", 0);
        out.field("lazyfree_pending_objects", 0);
        out.field("lazyfreed_objects", 0);
    }

    fn persistence(&self, out: &mut Lines) {
        let status = if self.get("last_ok") == 1 { "ok" } else { "err" };
        out.title("Persistence");
        out.field("loading", u8::from(self.loading));
        out.zeros(&["async_loading", "current_cow_peak", "current_cow_size"]);
        out.field("current_cow_size_age", 0);
        out.field("current_fork_perc", "0.00");
        out.zeros(&["current_save_keys_processed", "current_save_keys_total"]);
        out.field("rdb_changes_since_last_save", self.get("changes"));
        out.field("rdb_bgsave_in_progress", self.get("saving"));
        out.field("rdb_last_save_time", self.get("last_save"));
        out.field("rdb_last_bgsave_status", status);
        out.field("rdb_last_bgsave_time_sec", self.get("last_took"));
        out.field("rdb_current_bgsave_time_sec", self.get("taking"));
        out.field("rdb_saves", self.get("saves"));
        out.zeros(&["rdb_last_cow_size", "rdb_last_load_keys_expired"]);
        out.field("rdb_last_load_keys_loaded", self.get("loaded"));
        self.append_only(out);
        out.zeros(&["aof_last_cow_size", "module_fork_in_progress", "module_fork_last_cow_size"]);
        if self.get("aof_on") != 0 {
            out.field("aof_current_size", self.get("aof_size"));
            out.field("aof_base_size", self.get("aof_base"));
            out.field("aof_pending_rewrite", self.get("aof_scheduled"));
            out.field("aof_buffer_length", self.get("aof_buffer"));
            out.field("aof_pending_bio_fsync", self.get("aof_syncs"));
            out.field("aof_delayed_fsync", self.get("aof_delayed"));
        }
        if self.loading {
            self.load_progress(out);
        }
    }

    /// A length that is not known is 0, as where Redis loads from a socket.
    fn load_progress(&self, out: &mut Lines) {
        let (total, loaded) = (self.get("load_total"), self.get("load_bytes"));
        let began = self.get("load_began");
        let seconds = i64::try_from(self.now.wall.ms() / 1_000).unwrap_or(began) - began;
        let left = (total - loaded).max(0);
        let eta = if loaded > 0 { seconds * left / loaded } else { 1 };
        out.field("loading_start_time", began);
        out.field("loading_total_bytes", total);
        out.field("loading_rdb_used_mem", 0);
        out.field("loading_loaded_bytes", loaded);
        let percent = if total > 0 { loaded as f64 * 100.0 / total as f64 } else { 0.0 };
        out.field("loading_loaded_perc", format!("{percent:.2}"));
        out.field("loading_eta_seconds", eta);
    }

    fn append_only(&self, out: &mut Lines) {
        let status = |name| if self.get(name) == 0 { "ok" } else { "err" };
        out.field("aof_enabled", self.get("aof_on"));
        out.field("aof_rewrite_in_progress", self.get("aof_rewriting"));
        out.field("aof_rewrite_scheduled", self.get("aof_scheduled"));
        out.field("aof_last_rewrite_time_sec", self.get("aof_took"));
        out.field("aof_current_rewrite_time_sec", self.get("aof_taking"));
        out.field("aof_last_bgrewrite_status", status("aof_rewrite_failed"));
        out.field("aof_rewrites", self.get("aof_rewrites"));
        out.field("aof_rewrites_consecutive_failures", self.get("aof_failures"));
        out.field("aof_last_write_status", status("aof_failed"));
    }

    #[rustfmt::skip] // Groups of fields, as they stand in the text.
    fn stats(&self, out: &mut Lines) {
        let kbps = |name: &str| format!("{:.2}", self.get(name) as f64 / 1024.0);
        out.title("Stats");
        out.field("total_connections_received", self.get("connections"));
        out.field("total_commands_processed", self.get("processed"));
        out.field("instantaneous_ops_per_sec", self.get("ops_rate"));
        out.field("total_net_input_bytes", self.get("input_bytes"));
        out.field("total_net_output_bytes", self.get("output_bytes"));
        out.field("total_net_repl_input_bytes", self.get("repl_input_bytes"));
        out.field("total_net_repl_output_bytes", self.get("repl_output_bytes"));
        out.field("instantaneous_input_kbps", kbps("input_rate"));
        out.field("instantaneous_output_kbps", kbps("output_rate"));
        out.field("instantaneous_input_repl_kbps", kbps("repl_input_rate"));
        out.field("instantaneous_output_repl_kbps", kbps("repl_output_rate"));
        out.field("rejected_connections", self.get("rejected_connections"));
        out.field("sync_full", self.get("sync_full"));
        out.field("sync_partial_ok", self.get("sync_partial_ok"));
        out.field("sync_partial_err", self.get("sync_partial_err"));
        out.field("expired_keys", self.get("expired"));
        out.field("expired_stale_perc", "0.00");
        out.zeros(&["expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds"]);
        out.field("evicted_keys", self.get("evicted"));
        out.field("evicted_clients", self.get("evicted_clients"));
        out.zeros(&["total_eviction_exceeded_time", "current_eviction_exceeded_time"]);
        out.field("keyspace_hits", self.get("hits"));
        out.field("keyspace_misses", self.get("misses"));
        for name in ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels"] {
            out.field(name, self.get(name));
        }
        out.zeros(&["latest_fork_usec",
                    "total_forks", "migrate_cached_sockets", "slave_expires_tracked_keys",
                    "active_defrag_hits", "active_defrag_misses", "active_defrag_key_hits",
                    "active_defrag_key_misses", "total_active_defrag_time",
                    "current_active_defrag_time"]);
        out.field("tracking_total_keys", self.get("tracking_keys"));
        out.field("tracking_total_items", self.get("tracking_items"));
        out.field("tracking_total_prefixes", self.get("tracking_prefixes"));
        out.zeros(&["unexpected_error_replies"]);
        out.field("total_error_replies", self.get("error_replies"));
        out.field("dump_payload_sanitizations", 0);
        out.field("total_reads_processed", self.get("reads"));
        out.field("total_writes_processed", self.get("writes"));
        out.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed",
                    "reply_buffer_shrinks", "reply_buffer_expands"]);
        out.field("client_query_buffer_limit_disconnections", self.get("input_disconnections"));
        out.field("client_output_buffer_limit_disconnections", self.get("output_disconnections"));
        for name in ["auth", "cmd", "key", "channel"] {
            out.field(&format!("acl_access_denied_{name}"), self.get(&format!("denied_{name}")));
        }
    }

    fn cpu(&self, out: &mut Lines) {
        let seconds = |micros: &AtomicU64| {
            let micros = micros.load(Ordering::Relaxed);
            format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
        };
        out.title("CPU");
        out.field("used_cpu_sys", seconds(&self.host.cpu_system_us));
        out.field("used_cpu_user", seconds(&self.host.cpu_user_us));
        out.field("used_cpu_sys_children", "0.000000");
        out.field("used_cpu_user_children", "0.000000");
        out.field("used_cpu_sys_main_thread", seconds(&self.host.main_system_us));
        out.field("used_cpu_user_main_thread", seconds(&self.host.main_user_us));
    }

    fn commandstats(&self, out: &mut Lines) {
        out.title("Commandstats");
        for (number, row) in self.table.iter() {
            let get = |what: &str| self.get(&format!("command.{number:05}.{what}"));
            let (calls, rejected, failed) = (get("calls"), get("rejected"), get("failed"));
            if calls + rejected + failed == 0 {
                continue;
            }
            let micros = get("ns") / 1_000;
            let per_call = if calls == 0 { 0.0 } else { get("ns") as f64 / 1e3 / calls as f64 };
            let line = format!(
                "calls={calls},usec={micros},usec_per_call={per_call:.2},\
                 rejected_calls={rejected},failed_calls={failed}"
            );
            out.field(&format!("cmdstat_{}", row.full_name), line);
        }
    }

    fn latencystats(&self, out: &mut Lines) {
        out.title("Latencystats");
        let percentiles = str::from_utf8(&self.settings.latency_tracking_info_percentiles);
        let percentiles: Vec<&str> = percentiles.unwrap_or_default().split_whitespace().collect();
        for (number, histogram) in self.figures.latencies() {
            let Some(row) = self.table.get(number) else { continue };
            let shown = percentiles.iter().filter_map(|it| Some((it, it.parse::<f64>().ok()?)));
            let shown = shown.map(|(text, percentile)| {
                let nanoseconds = histogram.value_at_percentile(percentile);
                format!("p{text}={:.3}", nanoseconds as f64 / 1_000.0)
            });
            let line = shown.collect::<Vec<_>>().join(",");
            out.field(&format!("latency_percentiles_usec_{}", row.full_name), line);
        }
    }

    fn errorstats(&self, out: &mut Lines) {
        out.title("Errorstats");
        for (code, count) in self.figures.sums_of("error.") {
            out.field(&format!("errorstat_{code}"), format_args!("count={count}"));
        }
    }

    fn keyspace(&self, out: &mut Lines) {
        out.title("Keyspace");
        for (name, keys) in self.figures.sums_of("db.") {
            let Some(db) = name.strip_suffix(".keys") else { continue };
            let expires = self.get(&format!("db.{db}.expires"));
            let ttl = self.get(&format!("db.{db}.ttl")).checked_div(expires).unwrap_or(0);
            let number: usize = db.parse().unwrap_or(0);
            out.field(
                &format!("db{number}"),
                format_args!("keys={keys},expires={expires},avg_ttl={ttl}"),
            );
        }
    }

    fn ringfold(&self, out: &mut Lines) {
        out.title("Ringfold");
        for core in 0..self.cores {
            let number = |name: &&str| self.get(&format!("core.{core:03}.{name}"));
            let line: Vec<String> =
                OF_CORES.iter().map(|name| format!("{name}={}", number(name))).collect();
            out.field(&format!("core{core}"), line.join(","));
        }
        out.field("tickets", self.get("tickets"));
        out.field("tickets_merged", self.get("tickets_merged"));
        for line in self.figures.text_of("lags").lines() {
            if let Some((name, value)) = line.split_once(':') {
                out.field(name, value);
            }
        }
        out.field("sync_full_paced", self.get("syncs_paced"));
        out.field("sync_full_resumed", self.get("syncs_resumed"));
        out.field("sync_full_awaited", self.get("syncs_away"));
        out.field("repl_spilled_bytes", self.get("spilled_bytes"));
        out.field("repl_spilled_chunks", self.get("spilled_chunks"));
        out.field("repl_writers_waited", self.get("writers_waited"));
        out.field("repl_writers_waited_ms", self.get("writers_waited_ms"));
        out.field("repl_flows", self.get("flows"));
        out.field("repl_flows_up", self.get("flows_up"));
        for (name, at) in self.host.record.fields() {
            out.field(name, at);
        }
        for (reason, count) in self.figures.sums_of("reason.") {
            out.field(&format!("sync_full_reason_{reason}"), count);
        }
    }
}

/// The text so far.
struct Lines(String);

impl Lines {
    fn title(&mut self, name: &str) {
        self.line(format_args!("# {name}"));
    }

    fn field(&mut self, name: &str, value: impl Display) {
        self.line(format_args!("{name}:{value}"));
    }

    fn zeros(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.field(name, 0));
    }

    /// A number of bytes, and the same for people.
    fn bytes(&mut self, name: &str, bytes: i64) {
        self.field(name, bytes);
        self.field(&format!("{name}_human"), human(bytes));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{line}\r\n");
    }
}

fn signed(number: &AtomicU64) -> i64 {
    i64::try_from(number.load(Ordering::Relaxed)).unwrap_or(i64::MAX)
}

fn human(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1_024 {
        return format!("{bytes}B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.2}{}", UNITS[unit])
}

fn percent(part: i64, whole: i64) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    format!("{percent:.2}%")
}

fn ratio(a: i64, b: i64) -> String {
    let ratio = if b == 0 { 0.0 } else { a as f64 / b as f64 };
    format!("{ratio:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::{Mono, Wall};
    use crate::node::families;

    fn text(figures: &Figures, sections: &[Section]) -> String {
        let now = Now { mono: Mono(0), wall: Wall(1_700_000_000_123_456) };
        let (host, settings, table) = (Host::default(), Settings::new(), families::table());
        let report = Report {
            figures,
            host: &host,
            settings: &settings,
            table,
            cores: 2,
            loading: false,
            now,
        };
        report.write(sections)
    }

    /// Every field of redis-server 7.0.15, in its order; ours stand at a section's end.
    #[test]
    fn fields_are_a_stock_servers() {
        use Section::*;
        let golden = include_str!("../../../tests/golden/info-fields-7.0.15.txt");
        let sections = [
            Server,
            Clients,
            Memory,
            Persistence,
            Stats,
            Cpu,
            Modules,
            Commandstats,
            Errorstats,
            Latencystats,
            Cluster,
            Keyspace,
        ];
        let text = text(&Figures::default(), &sections);
        let name = |line: &str| line.split(':').next().unwrap_or_default().to_string();
        let ours: Vec<String> = text
            .split("\r\n")
            .map(name)
            .filter(|it| it != "ringfold_version" && it != "cores" && !it.starts_with("socket"))
            .filter(|it| !it.starts_with("listener") && !it.starts_with("total_blocking_keys"))
            .filter(|it| !it.starts_with("acl_access_denied") && !it.ends_with("_disconnections"))
            .collect();
        let mut expected: Vec<String> = golden.lines().map(str::to_string).collect();
        // Core 0 writes that section (`replication/info.rs` has a test of its own).
        let from = expected.iter().position(|it| it == "# Replication").unwrap();
        let to = expected.iter().position(|it| it == "# CPU").unwrap();
        expected.drain(from..to);
        expected.push(String::new());
        assert_eq!(ours, expected);
    }

    #[test]
    fn figures_become_lines() {
        let mut figures = Figures::default();
        figures.add("db.00010.keys", 3);
        figures.add("db.00010.expires", 2);
        figures.add("db.00010.ttl", 3_000);
        figures.add("db.00002.keys", 1);
        figures.add("error.WRONGTYPE", 2);
        figures.add("error.ERR", 7);
        figures.add("core.000.keys", 1);
        figures.add("core.001.lag_us", 7);
        figures.add("latency.00000.1000", 9);
        figures.add("latency.00000.50000", 1);
        figures.add("reason.no_data", 4);
        let number =
            families::table().iter().find(|(_, row)| row.full_name == "config|get").unwrap().0;
        figures.add(format!("command.{number:05}.calls"), 2);
        figures.add(format!("command.{number:05}.ns"), 6_500);
        let sections =
            [Section::Keyspace, Section::Errorstats, Section::Commandstats, Section::Latencystats];
        assert_eq!(
            text(&figures, &sections).replace("\r\n", "|"),
            "# Keyspace|db2:keys=1,expires=0,avg_ttl=0|db10:keys=3,expires=2,avg_ttl=1500||\
             # Errorstats|errorstat_ERR:count=7|errorstat_WRONGTYPE:count=2||\
             # Commandstats|cmdstat_config|get:calls=2,usec=6,usec_per_call=3.25,rejected_calls=0,failed_calls=0||\
             # Latencystats|latency_percentiles_usec_"
                .to_string()
                + &families::table().row(0).full_name
                + ":p50=1.003,p99=50.175,p99.9=50.175|"
        );
        assert_eq!(
            text(&figures, &[Section::Ringfold]).replace("\r\n", "|"),
            "# Ringfold|core0:connections=0,keys=1,hops=0,ops=0,busy_permille=0,cpu_us=0,turns=0,lag_us=0,\
             lag_max_us=0,key_bytes=0,client_bytes=0,sockets=0,parked=0|core1:connections=0,keys=0,hops=0,ops=0,\
             busy_permille=0,cpu_us=0,turns=0,lag_us=7,lag_max_us=0,key_bytes=0,client_bytes=0,sockets=0,parked=0|\
             tickets:0|tickets_merged:0|sync_full_paced:0|sync_full_resumed:0|sync_full_awaited:0|repl_spilled_bytes:0|repl_spilled_chunks:0|repl_writers_waited:0|repl_writers_waited_ms:0|repl_flows:0|repl_flows_up:0|\
             failover_last_write_us:0|failover_last_heard_us:0|failover_promoted_us:0|failover_first_write_us:0|\
             failover_last_moved_us:0|failover_demoted_us:0|sync_full_reason_no_data:4|"
        );
        assert_eq!(
            [0, 1_023, 1_024, 1_138_808, 25_276_502_016].map(human),
            ["0B", "1023B", "1.00K", "1.09M", "23.54G"]
        );
    }
}
