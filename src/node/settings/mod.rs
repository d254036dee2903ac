//! What the process was told to do: every setting of Redis, typed where something here uses it.
//!
//! `table.rs` is the one list of settings. Configuration files (`load.rs`), `CONFIG GET` and
//! `CONFIG SET` (`node/config.rs`) all work from its rows; a field of [`Settings`] without a row,
//! or a row whose kind does not fit its field, fails a test.
//!
//! `Settings` is plain data. Every core has a copy of its own; a change makes a new one.
//!
//! Not here: files (`runtime/cli.rs`), and acting on a change (whoever owns the thing changed).
//!
//! The trap: `maxclients` is a wish until [`Settings::settle_clients`] was told what the host allows.

pub mod field;
pub mod kind;
pub mod load;
pub mod reason;
pub mod rewrite;
pub mod table;

use crate::base::limits::{CLIENT_BYTES_MAX_MIN, CLIENTS_DEFAULT_MAX};
use crate::base::settings::value::Cores;
use field::{Home, choices};
use kind::{BufferLimits, Master, SaveRule, Value};
use std::collections::BTreeMap;
use table::{Effect, Row};

/// All settings. `Default` has every field empty: begin with [`Settings::new`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    // Network. An address with a `-` in front may be missing on this host.
    pub bind: Vec<Vec<u8>>,
    pub port: u16,
    pub unixsocket: Vec<u8>,
    pub unixsocketperm: u32,
    pub tcp_backlog: u32,
    // Doors that only links between nodes and administrators know.
    pub admin_port: u16,
    pub admin_bind: Vec<Vec<u8>>,
    pub admin_unixsocket: Vec<u8>,
    /// Where `/metrics` and `/healthz` are told; 0: nowhere.
    pub metrics_port: u16,
    pub metrics_bind: Vec<Vec<u8>>,
    /// Seconds without a request until a client is closed; 0 is never.
    pub timeout: u32,
    pub tcp_keepalive: u32,
    pub maxclients: u32,
    pub protected_mode: bool,
    pub proto_max_bulk_len: u64,
    pub hll_sparse_max_bytes: u64,
    pub client_query_buffer_limit: u64,
    pub client_output_buffer_limit: BufferLimits,

    // Process.
    pub cores: Cores,
    /// The configuration of a Sentinel that runs beside the cores; empty: none does.
    pub sentinel_file: Vec<u8>,
    pub daemonize: bool,
    pub supervised: Supervised,
    pub pidfile: Vec<u8>,
    pub loglevel: LogLevel,
    pub logfile: Vec<u8>,
    pub log_format: LogFormat,
    pub syslog_enabled: bool,
    pub syslog_ident: Vec<u8>,
    pub syslog_facility: SyslogFacility,
    /// What a panic leaves behind is logged.
    pub crash_log_enabled: bool,
    pub databases: u32,
    pub hz: u16,
    /// So many times the usual work goes into keys that have expired.
    pub active_expire_effort: u16,
    /// Seconds that a shutdown waits for lagging replicas.
    pub shutdown_timeout: u32,
    /// Words of SHUTDOWN that a signal means; `default`: none.
    pub shutdown_on_sigint: Vec<u8>,
    pub shutdown_on_sigterm: Vec<u8>,
    /// Milliseconds that a script may run before clients are told BUSY; 0 or less: they never are.
    pub busy_reply_threshold: i64,
    pub slowlog_log_slower_than: i64,
    pub slowlog_max_len: i64,
    /// Milliseconds from which samples are kept for LATENCY; 0 keeps none.
    pub latency_monitor_threshold: i64,
    /// Distributions of how long commands take are kept.
    pub latency_tracking: bool,
    /// Numbers in words, as `INFO latencystats` shows them.
    pub latency_tracking_info_percentiles: Vec<u8>,

    // TLS.
    pub tls_port: u16,
    pub tls_cert_file: Vec<u8>,
    pub tls_key_file: Vec<u8>,
    pub tls_key_file_pass: Secret,
    /// What is shown where this server connects, if not the same.
    pub tls_client_cert_file: Vec<u8>,
    pub tls_client_key_file: Vec<u8>,
    pub tls_client_key_file_pass: Secret,
    pub tls_ca_cert_file: Vec<u8>,
    pub tls_ca_cert_dir: Vec<u8>,
    pub tls_auth_clients: AuthClients,
    pub tls_auth_clients_user: CertificateUser,
    pub tls_protocols: Vec<u8>,
    pub tls_ciphers: Vec<u8>,
    pub tls_ciphersuites: Vec<u8>,
    pub tls_prefer_server_ciphers: bool,
    pub tls_session_caching: bool,
    pub tls_session_cache_size: u32,
    pub tls_replication: bool,
    pub tls_cluster: bool,

    // Access.
    pub requirepass: Secret,
    pub aclfile: Vec<u8>,
    pub acl_pubsub_default: AclPubsubDefault,
    pub tracking_table_max_keys: i64,
    /// Letters of what is told of keys.
    pub notify_keyspace_events: Vec<u8>,
    /// Entries of `ACL LOG`.
    pub acllog_max_len: i64,
    pub enable_protected_configs: Protected,
    pub enable_debug_command: Protected,

    // Replication.
    pub replicaof: Option<Master>,
    pub masterauth: Secret,
    pub masteruser: Secret,
    pub replica_read_only: bool,
    pub replica_serve_stale_data: bool,
    pub replica_priority: u32,
    pub replica_announce_ip: Vec<u8>,
    pub replica_announce_port: u16,
    pub replica_announced: bool,
    pub repl_backlog_size: u64,
    /// Besides its bytes the backlog keeps what was written in so many seconds, up to a maximum.
    pub repl_backlog_seconds: u32,
    pub repl_backlog_max: u64,
    /// Bytes of it that may lie in a file besides, while a replica is far behind.
    pub repl_spill_size: u64,
    /// Seconds that writers wait for a replica past its limit that takes nothing.
    pub repl_writers_wait: u32,
    /// Whether the stream goes to a replica of ours by a connection for each core of its master.
    pub repl_flows: ReplFlows,
    pub repl_backlog_ttl: i64,
    pub repl_timeout: u32,
    pub repl_ping_replica_period: u32,
    pub repl_disable_tcp_nodelay: bool,
    pub repl_diskless_sync_delay: i64,
    pub repl_diskless_sync_max_replicas: i64,
    pub replicas_follow_empty_master: bool,
    pub min_replicas_to_write: u32,
    pub min_replicas_max_lag: u32,

    // Cluster.
    pub cluster_enabled: bool,
    /// Each core is a node of its own.
    pub cluster_node_per_core: bool,
    pub cluster_config_file: Vec<u8>,
    pub cluster_node_timeout: i64,
    /// 0: 10,000 above `port`.
    pub cluster_port: u16,
    pub cluster_announce_ip: Vec<u8>,
    pub cluster_announce_port: u16,
    pub cluster_announce_tls_port: u16,
    pub cluster_announce_bus_port: u16,
    pub cluster_announce_hostname: Vec<u8>,
    pub cluster_announce_human_nodename: Vec<u8>,
    pub cluster_migration_barrier: i64,
    pub cluster_allow_replica_migration: bool,
    pub cluster_replica_no_failover: bool,
    pub cluster_replica_validity_factor: i64,
    pub cluster_require_full_coverage: bool,
    pub cluster_allow_reads_when_down: bool,
    pub cluster_allow_pubsubshard_when_down: bool,
    pub cluster_preferred_endpoint_type: EndpointType,

    // Memory and disk.
    pub maxmemory: u64,
    /// Bytes, or a share of `maxmemory` (`5%`); see [`Settings::client_bytes_max`].
    pub maxmemory_clients: Vec<u8>,
    pub maxmemory_policy: MaxmemoryPolicy,
    pub maxmemory_samples: i64,
    pub maxmemory_eviction_tenacity: i64,
    pub replica_ignore_maxmemory: bool,
    pub lfu_log_factor: i64,
    pub lfu_decay_time: i64,
    /// Keys go out to replicas as UNLINK, not as DEL: what makes room, and what has expired.
    pub lazyfree_lazy_eviction: bool,
    pub lazyfree_lazy_expire: bool,
    pub dir: Vec<u8>,
    pub dbfilename: Vec<u8>,
    pub save: Vec<SaveRule>,
    pub rdbcompression: bool,
    pub rdbchecksum: bool,
    pub stop_writes_on_bgsave_error: bool,
    pub appendonly: bool,
    pub appendfsync: AppendFsync,
    pub appendfilename: Vec<u8>,
    pub appenddirname: Vec<u8>,
    pub aof_load_truncated: bool,
    pub aof_use_rdb_preamble: bool,
    pub auto_aof_rewrite_percentage: u32,
    pub auto_aof_rewrite_min_size: u64,

    // Up to where collections are packed.
    pub hash_max_listpack_entries: i64,
    pub hash_max_listpack_value: u64,
    pub set_max_intset_entries: i64,
    pub set_max_listpack_entries: i64,
    pub set_max_listpack_value: u64,
    pub zset_max_listpack_entries: i64,
    pub zset_max_listpack_value: u64,
    pub list_max_listpack_size: i64,
    pub list_compress_depth: i64,
    pub stream_node_max_bytes: u64,
    pub stream_node_max_entries: i64,

    /// `user` lines, each as its words after `user`.
    pub users: Vec<Vec<Vec<u8>>>,
    /// `rename-command` lines: the old name and the new one, which is empty to forbid it.
    pub renamed_commands: Vec<(Vec<u8>, Vec<u8>)>,
    /// The `maxclients` that was asked for, and the lower one that the host allows.
    settled_clients: Option<(u32, u32)>,
    /// Values of rows without a field, where they are not the default.
    kept: BTreeMap<&'static str, Value>,
}

/// A password or a user's name: compared and sent, never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(empty)" } else { "Secret(..)" })
    }
}

choices! {
    /// How much is logged.
    LogLevel { Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning" }
}
choices! {
    /// What a line of the log looks like.
    LogFormat { RedisText = "redis-text", Json = "json" }
}
choices! {
    /// As which part of the system it speaks to syslog.
    SyslogFacility {
        User = "user", Local0 = "local0", Local1 = "local1", Local2 = "local2", Local3 = "local3",
        Local4 = "local4", Local5 = "local5", Local6 = "local6", Local7 = "local7",
    }
}
choices! {
    /// Who watches this process and wants to be told when it is ready.
    Supervised { Upstart = "upstart", Systemd = "systemd", Auto = "auto", No = "no" }
}
choices! {
    /// Who may do what could harm the host.
    Protected { No = "no", Yes = "yes", Local = "local" }
}
choices! {
    /// Whether clients must show a certificate.
    AuthClients { No = "no", Yes = "yes", Optional = "optional" }
}
choices! {
    /// By what of its certificate a client is a user without a password.
    CertificateUser { Off = "off", CommonName = "CN" }
}
choices! {
    /// Which channels a new user may use.
    AclPubsubDefault { AllChannels = "allchannels", ResetChannels = "resetchannels" }
}
choices! {
    /// When what was appended is synced.
    AppendFsync { Everysec = "everysec", Always = "always", No = "no" }
}
choices! {
    /// Where flows are wanted: `Auto`, where there are several cores.
    ReplFlows { Auto = "auto", Yes = "yes", No = "no" }
}
choices! {
    /// By what name clients are sent to the nodes of a cluster.
    EndpointType { Ip = "ip", Hostname = "hostname", Unknown = "unknown-endpoint" }
}
choices! {
    /// Which keys make room at `maxmemory`.
    MaxmemoryPolicy {
        VolatileLru = "volatile-lru", VolatileLfu = "volatile-lfu",
        VolatileRandom = "volatile-random", VolatileTtl = "volatile-ttl",
        AllkeysLru = "allkeys-lru", AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random", NoEviction = "noeviction",
    }
}

impl Settings {
    /// Every setting at its default.
    #[must_use]
    pub fn new() -> Self {
        let mut settings = Self::default();
        for row in table::ROWS {
            if let Home::Field { set, .. } = row.home {
                set(&mut settings, row.default_value());
            }
        }
        settings
    }

    /// What this setting is now.
    #[must_use]
    pub fn value(&self, row: &'static Row) -> Value {
        match row.home {
            Home::Field { get, .. } => get(self),
            Home::Kept => self.kept.get(row.name).cloned().unwrap_or_else(|| row.default_value()),
        }
    }

    /// What a file shall say of this setting: as [`Settings::value`], but what was asked for where it
    /// is only the host that gave less.
    #[must_use]
    pub fn value_to_keep(&self, row: &'static Row) -> Value {
        match self.settled_clients {
            Some((asked, settled)) if row.name == "maxclients" && settled == self.maxclients => {
                Value::Int(i64::from(asked))
            }
            _ => self.value(row),
        }
    }

    /// Changes one setting. `value` came from the row's own kind.
    pub fn put(&mut self, row: &'static Row, value: Value) {
        match row.home {
            Home::Field { set, .. } => set(self, value),
            Home::Kept => {
                self.kept.insert(row.name, value);
            }
        }
    }

    /// What all clients may take together; 0: they may take any.
    #[must_use]
    pub fn client_bytes_max(&self) -> u64 {
        let text = str::from_utf8(&self.maxmemory_clients).unwrap_or_default();
        let bytes = match text.strip_suffix('%') {
            Some(percent) => {
                let percent: u64 = percent.parse().unwrap_or(0);
                self.maxmemory / 100 * percent + self.maxmemory % 100 * percent / 100
            }
            None => text.parse().unwrap_or(0),
        };
        // With less nobody could talk to the server to set it right.
        if bytes == 0 { 0 } else { bytes.max(CLIENT_BYTES_MAX_MIN) }
    }

    /// The file of users, as a path from the root where `dir` is one; empty where there is none.
    #[must_use]
    pub fn users_path(&self) -> Vec<u8> {
        match self.aclfile.as_slice() {
            [] | [b'/', ..] => self.aclfile.clone(),
            name => [self.dir.as_slice(), b"/", name].concat(),
        }
    }

    /// Once at the start, told how many clients the host can bear: lowers `maxclients` to that.
    /// Returns what was asked for where somebody asked for more, to be logged.
    pub fn settle_clients(&mut self, host_allows: u32) -> Option<u32> {
        let asked = self.maxclients;
        self.maxclients = asked.min(host_allows.max(1));
        self.settled_clients = Some((asked, self.maxclients));
        (asked > self.maxclients && asked != CLIENTS_DEFAULT_MAX).then_some(asked)
    }
}

/// Something in the configuration that is not done here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub name: &'static str,
    /// Empty where `CONFIG SET` said it.
    pub file: String,
    pub line: usize,
    pub why: &'static str,
    /// The value given is the one that holds anyway, so nobody misses anything.
    pub at_default: bool,
}

impl Warning {
    /// What there is to say about `value` for `row`, if anything.
    #[must_use]
    pub fn about(row: &Row, value: &Value, file: &str, line: usize) -> Option<Self> {
        let why = match row.effect {
            Effect::Works => return None,
            Effect::None(why) => why,
            Effect::Only(names, why) => {
                let printed = row.kind.print(value);
                if names.iter().any(|name| name.as_bytes() == printed) {
                    return None;
                }
                why
            }
        };
        let at_default = *value == row.default_value();
        Some(Self { name: row.name, file: file.to_string(), line, why, at_default })
    }
}

/// The lines to log for these warnings: one for each setting that asks for something, and one
/// for all that only repeat the default, since stock files spell out dozens of those.
#[must_use]
pub fn report(warnings: &[Warning]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut defaults: Vec<&str> = Vec::new();
    for warning in warnings {
        if warning.at_default {
            defaults.push(warning.name);
            continue;
        }
        let place = match warning.file.as_str() {
            "" => String::new(),
            file => format!("{file}:{}: ", warning.line),
        };
        lines.push(format!("{place}{} has no effect: {}", warning.name, warning.why));
    }
    if !defaults.is_empty() {
        defaults.sort_unstable();
        defaults.dedup();
        lines.push(format!(
            "{} settings without effect were given at their defaults: {}",
            defaults.len(),
            defaults.join(" ")
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_settled_once_the_host_is_known() {
        let check = |asked: u32, host: u32, expected: u32, told: Option<u32>| {
            let mut settings = Settings { maxclients: asked, ..Settings::new() };
            assert_eq!(settings.settle_clients(host), told, "{asked} on {host}");
            assert_eq!(settings.maxclients, expected, "{asked} on {host}");
        };
        check(Settings::new().maxclients, 5_000, 5_000, None);
        check(Settings::new().maxclients, u32::MAX, CLIENTS_DEFAULT_MAX, None);
        check(2_000_000, u32::MAX, 2_000_000, None);
        check(10_000, 4_000, 4_000, Some(10_000));
        check(10, 0, 1, Some(10));
    }

    #[test]
    fn clients_may_take_bytes_or_a_share() {
        let check = |asked: &str, maxmemory: u64, expected: u64| {
            let maxmemory_clients = asked.as_bytes().to_vec();
            let settings = Settings { maxmemory, maxmemory_clients, ..Settings::new() };
            assert_eq!(settings.client_bytes_max(), expected, "{asked} of {maxmemory}");
        };
        check("0", 1 << 30, 0);
        check("1000000", 1, 1_000_000);
        check("5", 0, 128 << 10);
        check("10%", 1_000_000_050, 100_000_005);
        check("100%", u64::MAX, u64::MAX);
        check("10%", 0, 0);
        check("0%", 1 << 30, 0);
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = Settings { requirepass: Secret(b"swordfish".to_vec()), ..Settings::new() };
        assert!(!format!("{settings:?}").contains(&format!("{:?}", b"swordfish".to_vec())));
        assert!(format!("{settings:?}").contains("requirepass: Secret(..)"));
    }

    #[test]
    fn defaults_share_one_line_of_the_report() {
        let warning = |name, line, at_default| Warning {
            name,
            file: "a.conf".into(),
            line,
            why: "reason",
            at_default,
        };
        let lines = report(&[warning("b", 2, true), warning("c", 3, false), warning("a", 4, true)]);
        assert_eq!(
            lines,
            [
                "a.conf:3: c has no effect: reason",
                "2 settings without effect were given at their defaults: a b"
            ]
        );
    }
}
