//! The table of all settings: one row each, the one source for files, `CONFIG GET` and
//! `CONFIG SET`.
//!
//! Names, defaults and what may be changed are Redis 7.0's, and are compared with what a real
//! server told (`tests/golden/config-get-7.0.15.txt`); every default that differs on purpose is in
//! the list of that test with its reason. What Redis 7.2 added follows at the end.
//!
//! To make a setting work: give it a field in `Settings`, name it in its row, and say `Works`.

use super::field::{Held, Home, Home::Kept, field};
use super::kind::{Kind, Kind::*, Value};
use super::reason::Reason;
use super::{
    AclPubsubDefault, AppendFsync, AuthClients, CertificateUser, EndpointType, LogFormat, LogLevel,
    MaxmemoryPolicy, Protected, ReplFlows, Supervised, SyslogFacility,
};

/// One setting.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    /// Its older name, or empty.
    pub alias: &'static str,
    pub kind: Kind,
    /// As a file would say it.
    pub default: &'static str,
    pub change: Change,
    pub effect: Effect,
    pub home: Home,
    /// Whether `CONFIG GET` shows it only to those who know its name.
    pub hidden: bool,
}

/// When a setting may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Runtime,
    AtStart,
    /// At run time, as far as `enable-protected-configs` allows.
    Guarded,
}

/// What a setting does here.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    Works,
    /// Only these values do; why the others do not.
    Only(&'static [&'static str], &'static str),
    None(&'static str),
}

/// The row of a setting by its name or its older name, in either case.
#[must_use]
pub fn find(name: &[u8]) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.names().any(|it| it.as_bytes().eq_ignore_ascii_case(name)))
}

impl Row {
    /// Its name, and its older name if it has one.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        [self.name, self.alias].into_iter().filter(|name| !name.is_empty())
    }

    /// Panics where the table has a default that its own kind refuses; a test reads them all.
    #[must_use]
    pub fn default_value(&self) -> Value {
        let words = self.kind.split(self.default.as_bytes());
        let value = self.kind.parse(&words, &Value::Bool(false));
        value.unwrap_or_else(|why| unreachable!("default of {}: {why}", self.name))
    }
}

const NO_AOF: &str = "a base is always an RDB file, written and synced on threads of its own";
const NO_DEFRAG: &str = "memory is not moved to join free space";
const NO_FILES_IN_SYNC: &str = "replicas are always fed without a file between";
const NO_MODULES: &str = "there are no modules";
const NO_DH: &str = "keys are agreed on by elliptic curves only";
const NO_UPSTART: &str = "upstart is not told about readiness";
const ALWAYS_LAZY: &str = "large values are always freed in slices";
const FOR_TESTS: &str = "it is for Redis' own tests";
const NOT_THIS_PROCESS: &str = "it tunes something that this process does not have or do";
const NOT_YET: &str = "it is not implemented yet";
const OWN_ACCEPTS: &str = "new connections have a budget per turn of a core's loop";
const OWN_BUS_LIMIT: &str = "what waits for a node of the cluster has a bound of its own";
const OWN_HANDSHAKES: &str = "handshakes have a budget per turn of a core's loop";
const OWN_ENCODINGS: &str = "collections choose their own form in memory";
const OWN_TICKET_AGE: &str =
    "how long a session may be gone on with is not set: new certificates end them all";
const USE_CORES: &str = "threads are one per core: see the setting cores";

const INT_MAX: i64 = i32::MAX as i64;
const INT: Kind = int(0, INT_MAX);
const LONG: Kind = int(0, i64::MAX);
const PORT: Kind = int(0, 65_535);
const MEMORY: Kind = Memory { min: 0, max: u64::MAX };
const TEXT: Kind = Text(|_| Ok(()));

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const ROWS: &[Row] = &{ use Change::*; use Effect::{Only, Works}; [
    //  name, older name, kind, default, change, effect, home
    // Works here.
    row("bind", "", Addresses, "* -::*", Runtime, Works, field!(bind)),
    row("port", "", PORT, "6379", Runtime, Works, field!(port)),
    row("unixsocket", "", TEXT, "", AtStart, Works, field!(unixsocket)),
    row("unixsocketperm", "", Octal { max: 0o777 }, "0", AtStart, Works, field!(unixsocketperm)),
    row("tcp-backlog", "", INT, "511", AtStart, Works, field!(tcp_backlog)),
    row("timeout", "", INT, "0", Runtime, Works, field!(timeout)),
    row("tcp-keepalive", "", INT, "300", Runtime, Works, field!(tcp_keepalive)),
    row("maxclients", "", int(1, 4_294_967_295), "1048576", Runtime, Works, field!(maxclients)),
    row("protected-mode", "", Bool, "yes", Runtime, Works, field!(protected_mode)),
    row("proto-max-bulk-len", "", memory(1 << 20), "536870912", Runtime, Works, field!(proto_max_bulk_len)),
    row("client-query-buffer-limit", "", memory(1 << 20), "1073741824", Runtime, Works, field!(client_query_buffer_limit)),
    row("client-output-buffer-limit", "", Buffers, "normal 256mb 64mb 60 replica 256mb 64mb 60 pubsub 32mb 8mb 60", Runtime, Works, field!(client_output_buffer_limit)),
    row("daemonize", "", Bool, "no", AtStart, Works, field!(daemonize)),
    row("supervised", "", Choice(Supervised::NAMES), "no", AtStart, Only(&["no", "systemd", "auto"], NO_UPSTART), field!(supervised)),
    row("pidfile", "", TEXT, "", AtStart, Works, field!(pidfile)),
    row("loglevel", "", Choice(LogLevel::NAMES), "notice", Runtime, Works, field!(loglevel)),
    row("logfile", "", TEXT, "", AtStart, Works, field!(logfile)),
    row("databases", "", int(1, INT_MAX), "16", AtStart, Works, field!(databases)),
    row("hz", "", Hz, "10", Runtime, Works, field!(hz)),
    row("shutdown-timeout", "", INT, "10", Runtime, Works, field!(shutdown_timeout)),
    row("busy-reply-threshold", "lua-time-limit", LONG, "5000", Runtime, Works, field!(busy_reply_threshold)),
    row("slowlog-log-slower-than", "", int(-1, i64::MAX), "10000", Runtime, Works, field!(slowlog_log_slower_than)),
    row("slowlog-max-len", "", LONG, "128", Runtime, Works, field!(slowlog_max_len)),
    row("requirepass", "", Secret, "", Runtime, Works, field!(requirepass)),
    row("enable-protected-configs", "", Choice(Protected::NAMES), "no", AtStart, Works, field!(enable_protected_configs)),
    row("enable-debug-command", "", Choice(Protected::NAMES), "no", AtStart, Works, field!(enable_debug_command)),
    row("replicaof", "slaveof", Master, "", AtStart, Works, field!(replicaof)),
    row("masterauth", "", Secret, "", Runtime, Works, field!(masterauth)),
    row("masteruser", "", Secret, "", Runtime, Works, field!(masteruser)),
    row("replica-read-only", "slave-read-only", Bool, "yes", Runtime, Works, field!(replica_read_only)),
    row("replica-serve-stale-data", "slave-serve-stale-data", Bool, "yes", Runtime, Works, field!(replica_serve_stale_data)),
    row("replica-priority", "slave-priority", INT, "100", Runtime, Works, field!(replica_priority)),
    row("replica-announce-ip", "slave-announce-ip", TEXT, "", Runtime, Works, field!(replica_announce_ip)),
    row("replica-announce-port", "slave-announce-port", PORT, "0", Runtime, Works, field!(replica_announce_port)),
    row("replica-announced", "", Bool, "yes", Runtime, Works, field!(replica_announced)),
    row("repl-backlog-size", "", memory(1), "1048576", Runtime, Works, field!(repl_backlog_size)),
    row("repl-backlog-ttl", "", LONG, "3600", Runtime, Works, field!(repl_backlog_ttl)),
    row("repl-timeout", "", int(1, INT_MAX), "60", Runtime, Works, field!(repl_timeout)),
    row("repl-ping-replica-period", "repl-ping-slave-period", int(1, INT_MAX), "10", Runtime, Works, field!(repl_ping_replica_period)),
    row("repl-diskless-sync-delay", "", INT, "0", Runtime, Works, field!(repl_diskless_sync_delay)),
    row("repl-diskless-sync-max-replicas", "", INT, "0", Runtime, Works, field!(repl_diskless_sync_max_replicas)),
    row("repl-disable-tcp-nodelay", "", Bool, "no", Runtime, Works, field!(repl_disable_tcp_nodelay)),
    row("min-replicas-to-write", "min-slaves-to-write", INT, "0", Runtime, Works, field!(min_replicas_to_write)),
    row("min-replicas-max-lag", "min-slaves-max-lag", INT, "10", Runtime, Works, field!(min_replicas_max_lag)),
    row("maxmemory", "", MEMORY, "0", Runtime, Works, field!(maxmemory)),
    row("maxmemory-policy", "", Choice(MaxmemoryPolicy::NAMES), "noeviction", Runtime, Works, field!(maxmemory_policy)),
    row("dir", "", TEXT, ".", Guarded, Works, field!(dir)),
    row("dbfilename", "", Text(|it| plain(it, Reason::NotAFileName("dbfilename"))), "dump.rdb", Guarded, Works, field!(dbfilename)),
    row("save", "", Save, "3600 1 300 100 60 10000", Runtime, Works, field!(save)),
    row("rdbcompression", "", Bool, "yes", Runtime, Works, field!(rdbcompression)),
    row("rdbchecksum", "", Bool, "yes", AtStart, Works, field!(rdbchecksum)),
    row("stop-writes-on-bgsave-error", "", Bool, "yes", Runtime, Works, field!(stop_writes_on_bgsave_error)),
    row("appendonly", "", Bool, "no", Runtime, Works, field!(appendonly)),
    row("appendfsync", "", Choice(AppendFsync::NAMES), "everysec", Runtime, Works, field!(appendfsync)),
    row("appendfilename", "", Text(|it| plain(it, Reason::NotAFileName("appendfilename"))), "appendonly.aof", AtStart, Works, field!(appendfilename)),
    row("appenddirname", "", Text(|it| plain(it, Reason::NotADirName("appenddirname"))), "appendonlydir", AtStart, Works, field!(appenddirname)),
    row("aof-load-truncated", "", Bool, "yes", Runtime, Works, field!(aof_load_truncated)),
    row("aof-use-rdb-preamble", "", Bool, "yes", Runtime, Works, field!(aof_use_rdb_preamble)),
    row("auto-aof-rewrite-percentage", "", INT, "100", Runtime, Works, field!(auto_aof_rewrite_percentage)),
    row("auto-aof-rewrite-min-size", "", memory(0), "67108864", Runtime, Works, field!(auto_aof_rewrite_min_size)),
    row("repl-backlog-seconds", "", int(0, 3600), "60", Runtime, Works, field!(repl_backlog_seconds)),
    row("repl-backlog-max", "", memory(0), "268435456", Runtime, Works, field!(repl_backlog_max)),
    row("repl-spill-size", "", memory(0), "1073741824", Runtime, Works, field!(repl_spill_size)),
    row("repl-writers-wait", "", INT, "5", Runtime, Works, field!(repl_writers_wait)),
    row("repl-flows", "", Choice(ReplFlows::NAMES), "no", Runtime, Works, field!(repl_flows)),
    row("replicas-follow-empty-master", "", Bool, "no", Runtime, Works, field!(replicas_follow_empty_master)),
    row("admin-port", "", PORT, "0", AtStart, Works, field!(admin_port)),
    row("admin-bind", "", Addresses, "127.0.0.1 -::1", AtStart, Works, field!(admin_bind)),
    row("admin-unixsocket", "", TEXT, "", AtStart, Works, field!(admin_unixsocket)),
    row("metrics-port", "", PORT, "0", AtStart, Works, field!(metrics_port)),
    row("metrics-bind", "", Addresses, "127.0.0.1 -::1", AtStart, Works, field!(metrics_bind)),
    row("log-format", "", Choice(LogFormat::NAMES), "redis-text", AtStart, Works, field!(log_format)),
    row("cores", "", Cores, "all", AtStart, Works, field!(cores)),
    row("sentinel-file", "", TEXT, "", AtStart, Works, field!(sentinel_file)),
    row("cluster-node-per-core", "", Bool, "no", AtStart, Works, field!(cluster_node_per_core)),

    // Without effect.
    row("acl-pubsub-default", "", Choice(AclPubsubDefault::NAMES), "resetchannels", Runtime, Works, field!(acl_pubsub_default)),
    row("aclfile", "", TEXT, "", AtStart, Works, field!(aclfile)),
    row("acllog-max-len", "", LONG, "128", Runtime, Works, field!(acllog_max_len)),
    row("active-defrag-cycle-max", "", int(1, 99), "25", Runtime, Effect::None(NO_DEFRAG), Kept),
    row("active-defrag-cycle-min", "", int(1, 99), "1", Runtime, Effect::None(NO_DEFRAG), Kept),
    row("active-defrag-ignore-bytes", "", memory(1), "104857600", Runtime, Effect::None(NO_DEFRAG), Kept),
    row("active-defrag-max-scan-fields", "", int(1, i64::MAX), "1000", Runtime, Effect::None(NO_DEFRAG), Kept),
    row("active-defrag-threshold-lower", "", int(0, 1_000), "10", Runtime, Effect::None(NO_DEFRAG), Kept),
    row("active-defrag-threshold-upper", "", int(0, 1_000), "100", Runtime, Effect::None(NO_DEFRAG), Kept),
    row("active-expire-effort", "", int(1, 10), "1", Runtime, Works, field!(active_expire_effort)),
    row("activedefrag", "", Bool, "no", Runtime, Effect::None(NO_DEFRAG), Kept),
    row("activerehashing", "", Bool, "yes", Runtime, Effect::None(OWN_ENCODINGS), Kept),
    row("always-show-logo", "", Bool, "no", AtStart, Effect::None(NOT_THIS_PROCESS), Kept),
    row("aof-disable-auto-gc", "", Bool, "no", Runtime, Effect::None(NO_AOF), Kept),
    row("aof-rewrite-incremental-fsync", "", Bool, "yes", Runtime, Effect::None(NO_AOF), Kept),
    row("aof-timestamp-enabled", "", Bool, "no", Runtime, Effect::None(NO_AOF), Kept),
    row("aof_rewrite_cpulist", "", TEXT, "", AtStart, Effect::None(NO_AOF), Kept),
    row("bgsave_cpulist", "", TEXT, "", AtStart, Effect::None(USE_CORES), Kept),
    row("bind-source-addr", "", TEXT, "", Runtime, Effect::None(NOT_YET), Kept),
    row("bio_cpulist", "", TEXT, "", AtStart, Effect::None(USE_CORES), Kept),
    row("cluster-allow-pubsubshard-when-down", "", Bool, "yes", Runtime, Works, field!(cluster_allow_pubsubshard_when_down)),
    row("cluster-allow-reads-when-down", "", Bool, "no", Runtime, Works, field!(cluster_allow_reads_when_down)),
    row("cluster-allow-replica-migration", "", Bool, "yes", Runtime, Works, field!(cluster_allow_replica_migration)),
    row("cluster-announce-bus-port", "", PORT, "0", Runtime, Works, field!(cluster_announce_bus_port)),
    row("cluster-announce-hostname", "", Text(host_name), "", Runtime, Works, field!(cluster_announce_hostname)),
    row("cluster-announce-ip", "", TEXT, "", Runtime, Works, field!(cluster_announce_ip)),
    row("cluster-announce-port", "", PORT, "0", Runtime, Works, field!(cluster_announce_port)),
    row("cluster-announce-tls-port", "", PORT, "0", Runtime, Works, field!(cluster_announce_tls_port)),
    row("cluster-config-file", "", TEXT, "nodes.conf", AtStart, Works, field!(cluster_config_file)),
    row("cluster-enabled", "", Bool, "no", AtStart, Works, field!(cluster_enabled)),
    row("cluster-link-sendbuf-limit", "", MEMORY, "0", Runtime, Effect::None(OWN_BUS_LIMIT), Kept),
    row("cluster-migration-barrier", "", INT, "1", Runtime, Works, field!(cluster_migration_barrier)),
    row("cluster-node-timeout", "", LONG, "15000", Runtime, Works, field!(cluster_node_timeout)),
    row("cluster-port", "", PORT, "0", AtStart, Works, field!(cluster_port)),
    row("cluster-preferred-endpoint-type", "", Choice(EndpointType::NAMES), "ip", Runtime, Works, field!(cluster_preferred_endpoint_type)),
    row("cluster-replica-no-failover", "cluster-slave-no-failover", Bool, "no", Runtime, Works, field!(cluster_replica_no_failover)),
    row("cluster-replica-validity-factor", "cluster-slave-validity-factor", INT, "10", Runtime, Works, field!(cluster_replica_validity_factor)),
    row("cluster-require-full-coverage", "", Bool, "yes", Runtime, Works, field!(cluster_require_full_coverage)),
    row("crash-log-enabled", "", Bool, "yes", Runtime, Works, field!(crash_log_enabled)),
    row("crash-memcheck-enabled", "", Bool, "yes", Runtime, Effect::None(NOT_THIS_PROCESS), Kept),
    row("disable-thp", "", Bool, "yes", AtStart, Effect::None(NOT_THIS_PROCESS), Kept),
    row("dynamic-hz", "", Bool, "yes", Runtime, Effect::None(NOT_THIS_PROCESS), Kept),
    row("enable-module-command", "", Choice(Protected::NAMES), "no", AtStart, Effect::None(NO_MODULES), Kept),
    row("hash-max-listpack-entries", "hash-max-ziplist-entries", LONG, "512", Runtime, Works, field!(hash_max_listpack_entries)),
    row("hash-max-listpack-value", "hash-max-ziplist-value", memory(0), "64", Runtime, Works, field!(hash_max_listpack_value)),
    row("hll-sparse-max-bytes", "", memory(0), "3000", Runtime, Works, field!(hll_sparse_max_bytes)),
    row("ignore-warnings", "", TEXT, "", Runtime, Effect::None(NOT_THIS_PROCESS), Kept),
    row("io-threads", "", int(1, 128), "1", AtStart, Effect::None(USE_CORES), Kept),
    row("io-threads-do-reads", "", Bool, "no", AtStart, Effect::None(USE_CORES), Kept),
    row("jemalloc-bg-thread", "", Bool, "yes", Runtime, Effect::None(NOT_THIS_PROCESS), Kept),
    row("latency-monitor-threshold", "", LONG, "0", Runtime, Works, field!(latency_monitor_threshold)),
    row("latency-tracking", "", Bool, "yes", Runtime, Works, field!(latency_tracking)),
    row("latency-tracking-info-percentiles", "", Percentiles, "50 99 99.9", Runtime, Works, field!(latency_tracking_info_percentiles)),
    row("lazyfree-lazy-eviction", "", Bool, "no", Runtime, Works, field!(lazyfree_lazy_eviction)),
    row("lazyfree-lazy-expire", "", Bool, "no", Runtime, Works, field!(lazyfree_lazy_expire)),
    row("lazyfree-lazy-server-del", "", Bool, "no", Runtime, Effect::None(ALWAYS_LAZY), Kept),
    row("lazyfree-lazy-user-del", "", Bool, "no", Runtime, Effect::None(ALWAYS_LAZY), Kept),
    row("lazyfree-lazy-user-flush", "", Bool, "no", Runtime, Effect::None(ALWAYS_LAZY), Kept),
    row("lfu-decay-time", "", INT, "1", Runtime, Works, field!(lfu_decay_time)),
    row("lfu-log-factor", "", INT, "10", Runtime, Works, field!(lfu_log_factor)),
    row("list-compress-depth", "", INT, "0", Runtime, Works, field!(list_compress_depth)),
    row("list-max-listpack-size", "list-max-ziplist-size", int(-INT_MAX - 1, INT_MAX), "-2", Runtime, Works, field!(list_max_listpack_size)),
    row("maxmemory-clients", "", MemoryOrPercent, "0", Runtime, Works, field!(maxmemory_clients)),
    row("maxmemory-eviction-tenacity", "", int(0, 100), "10", Runtime, Works, field!(maxmemory_eviction_tenacity)),
    row("maxmemory-samples", "", int(1, INT_MAX), "5", Runtime, Works, field!(maxmemory_samples)),
    row("no-appendfsync-on-rewrite", "", Bool, "no", Runtime, Effect::None(NO_AOF), Kept),
    row("notify-keyspace-events", "", KeyspaceEvents, "", Runtime, Works, field!(notify_keyspace_events)),
    row("oom-score-adj", "", OomAdjust, "no", Runtime, Effect::None(NOT_THIS_PROCESS), Kept),
    row("oom-score-adj-values", "", OomScores, "0 200 800", Runtime, Effect::None(NOT_THIS_PROCESS), Kept),
    row("proc-title-template", "", Text(title_template), "{title} {listen-addr} {server-mode}", Runtime, Effect::None(NOT_THIS_PROCESS), Kept),
    row("propagation-error-behavior", "", Choice(&["ignore", "panic", "panic-on-replicas"]), "ignore", Runtime, Effect::None(NOT_YET), Kept),
    row("rdb-del-sync-files", "", Bool, "no", Runtime, Effect::None(NO_FILES_IN_SYNC), Kept),
    row("rdb-save-incremental-fsync", "", Bool, "yes", Runtime, Effect::None(NO_FILES_IN_SYNC), Kept),
    row("repl-diskless-load", "", Choice(&["disabled", "on-empty-db", "swapdb"]), "disabled", Runtime, Effect::None(NO_FILES_IN_SYNC), Kept),
    row("repl-diskless-sync", "", Bool, "yes", Runtime, Effect::None(NO_FILES_IN_SYNC), Kept),
    row("replica-ignore-disk-write-errors", "", Bool, "no", Runtime, Effect::None(NOT_YET), Kept),
    row("replica-ignore-maxmemory", "slave-ignore-maxmemory", Bool, "yes", Runtime, Works, field!(replica_ignore_maxmemory)),
    row("replica-lazy-flush", "slave-lazy-flush", Bool, "no", Runtime, Effect::None(ALWAYS_LAZY), Kept),
    row("sanitize-dump-payload", "", Choice(&["no", "yes", "clients"]), "no", Runtime, Effect::None(NOT_YET), Kept),
    row("server_cpulist", "", TEXT, "", AtStart, Effect::None(USE_CORES), Kept),
    row("set-max-intset-entries", "", LONG, "512", Runtime, Works, field!(set_max_intset_entries)),
    row("set-proc-title", "", Bool, "yes", AtStart, Effect::None(NOT_THIS_PROCESS), Kept),
    row("shutdown-on-sigint", "", ShutdownOptions, "default", Runtime, Works, field!(shutdown_on_sigint)),
    row("shutdown-on-sigterm", "", ShutdownOptions, "default", Runtime, Works, field!(shutdown_on_sigterm)),
    row("socket-mark-id", "", int(0, 4_294_967_295), "0", AtStart, Effect::None(NOT_YET), Kept),
    row("stream-node-max-bytes", "", memory(0), "4096", Runtime, Works, field!(stream_node_max_bytes)),
    row("stream-node-max-entries", "", LONG, "100", Runtime, Works, field!(stream_node_max_entries)),
    row("syslog-enabled", "", Bool, "no", AtStart, Works, field!(syslog_enabled)),
    row("syslog-facility", "", Choice(SyslogFacility::NAMES), "local0", AtStart, Works, field!(syslog_facility)),
    row("syslog-ident", "", TEXT, "redis", AtStart, Works, field!(syslog_ident)),
    row("tls-auth-clients", "", Choice(AuthClients::NAMES), "yes", Runtime, Works, field!(tls_auth_clients)),
    row("tls-ca-cert-dir", "", TEXT, "", Runtime, Works, field!(tls_ca_cert_dir)),
    row("tls-ca-cert-file", "", TEXT, "", Runtime, Works, field!(tls_ca_cert_file)),
    row("tls-cert-file", "", TEXT, "", Runtime, Works, field!(tls_cert_file)),
    row("tls-ciphers", "", TEXT, "", Runtime, Works, field!(tls_ciphers)),
    row("tls-ciphersuites", "", TEXT, "", Runtime, Works, field!(tls_ciphersuites)),
    row("tls-client-cert-file", "", TEXT, "", Runtime, Works, field!(tls_client_cert_file)),
    row("tls-client-key-file", "", TEXT, "", Runtime, Works, field!(tls_client_key_file)),
    row("tls-client-key-file-pass", "", Secret, "", Runtime, Works, field!(tls_client_key_file_pass)),
    row("tls-cluster", "", Bool, "no", Runtime, Works, field!(tls_cluster)),
    row("tls-dh-params-file", "", TEXT, "", Runtime, Effect::None(NO_DH), Kept),
    row("tls-key-file", "", TEXT, "", Runtime, Works, field!(tls_key_file)),
    row("tls-key-file-pass", "", Secret, "", Runtime, Works, field!(tls_key_file_pass)),
    row("tls-port", "", PORT, "0", Runtime, Works, field!(tls_port)),
    row("tls-prefer-server-ciphers", "", Bool, "no", Runtime, Works, field!(tls_prefer_server_ciphers)),
    row("tls-protocols", "", TEXT, "", Runtime, Works, field!(tls_protocols)),
    row("tls-replication", "", Bool, "no", Runtime, Works, field!(tls_replication)),
    row("tls-session-cache-size", "", INT, "20480", Runtime, Works, field!(tls_session_cache_size)),
    row("tls-session-cache-timeout", "", INT, "300", Runtime, Effect::None(OWN_TICKET_AGE), Kept),
    row("tls-session-caching", "", Bool, "yes", Runtime, Works, field!(tls_session_caching)),
    row("tracking-table-max-keys", "", LONG, "1000000", Runtime, Works, field!(tracking_table_max_keys)),
    row("zset-max-listpack-entries", "zset-max-ziplist-entries", LONG, "128", Runtime, Works, field!(zset_max_listpack_entries)),
    row("zset-max-listpack-value", "zset-max-ziplist-value", memory(0), "64", Runtime, Works, field!(zset_max_listpack_value)),

    // Since Redis 7.2.
    row("cluster-announce-human-nodename", "", TEXT, "", Runtime, Works, field!(cluster_announce_human_nodename)),
    row("locale-collate", "", TEXT, "", Runtime, Effect::None(NOT_YET), Kept),
    row("max-new-connections-per-cycle", "", int(1, 1_000), "10", Runtime, Effect::None(OWN_ACCEPTS), Kept),
    row("max-new-tls-connections-per-cycle", "", int(1, 1_000), "1", Runtime, Effect::None(OWN_HANDSHAKES), Kept),
    row("set-max-listpack-entries", "", LONG, "128", Runtime, Works, field!(set_max_listpack_entries)),
    row("set-max-listpack-value", "", memory(0), "64", Runtime, Works, field!(set_max_listpack_value)),

    // Since Redis 8.6.
    row("tls-auth-clients-user", "", Choice(CertificateUser::NAMES), "off", Runtime, Works, field!(tls_auth_clients_user)),

    // For Redis' own tests: no pattern shows them.
    hidden(row("key-load-delay", "", int(-INT_MAX - 1, INT_MAX), "0", Runtime, Effect::None(FOR_TESTS), Kept)),
    hidden(row("loading-process-events-interval-bytes", "", int(1_024, INT_MAX), "2097152", Runtime, Effect::None(FOR_TESTS), Kept)),
    hidden(row("rdb-key-save-delay", "", int(-INT_MAX - 1, INT_MAX), "0", Runtime, Effect::None(FOR_TESTS), Kept)),
    hidden(row("use-exit-on-panic", "", Bool, "no", Runtime, Effect::None(FOR_TESTS), Kept)),
    hidden(row("watchdog-period", "", INT, "0", Runtime, Effect::None(FOR_TESTS), Kept)),
] };

const fn row(
    name: &'static str,
    alias: &'static str,
    kind: Kind,
    default: &'static str,
    change: Change,
    effect: Effect,
    home: Home,
) -> Row {
    Row { name, alias, kind, default, change, effect, home, hidden: false }
}

const fn hidden(row: Row) -> Row {
    Row { hidden: true, ..row }
}

const fn int(min: i64, max: i64) -> Kind {
    Int { min, max }
}

/// Sizes that Redis keeps in a signed type.
const fn memory(min: u64) -> Kind {
    Memory { min, max: i64::MAX as u64 }
}

fn plain(text: &[u8], why: Reason) -> Result<(), Reason> {
    if text.contains(&b'/') { Err(why) } else { Ok(()) }
}

fn host_name(text: &[u8]) -> Result<(), Reason> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if text.iter().all(allowed) { Ok(()) } else { Err(Reason::HostName) }
}

/// `{name}` may stand anywhere, for a few known names.
fn title_template(text: &[u8]) -> Result<(), Reason> {
    const NAMES: [&[u8]; 7] = [
        b"title",
        b"listen-addr",
        b"server-mode",
        b"port",
        b"tls-port",
        b"unixsocket",
        b"config-file",
    ];
    let mut parts = text.split(|&byte| byte == b'{');
    parts.next();
    for part in parts {
        let name = part.split(|&byte| byte == b'}').next().unwrap_or_default();
        if name.len() == part.len() || !NAMES.contains(&name) {
            return Err(Reason::TitleTemplate);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::settings::Settings;
    use std::collections::{BTreeMap, BTreeSet};

    const GOLDEN: &str = include_str!("../../../tests/golden/config-get-7.0.15.txt");

    /// Defaults that are not Redis', and why.
    const DEVIATIONS: &[(&str, &str)] = &[
        (
            "client-output-buffer-limit",
            "a client that does not read must not fill the memory, so normal clients have one too",
        ),
        (
            "repl-diskless-sync-delay",
            "a snapshot costs no fork, so a replica need not wait for others to share one",
        ),
    ];

    /// What is not as in Redis is told where a stranger looks.
    #[test]
    fn the_readme_names_what_differs() {
        let readme = include_str!("../../../README.md");
        let settings = readme.split("\n## Settings\n").nth(1).unwrap();
        let rows = settings.split("\n## ").next().unwrap();
        let golden: BTreeSet<&str> = GOLDEN.lines().filter_map(|it| it.split(' ').next()).collect();
        let since_7_2 = ROWS.iter().position(|it| it.name == "cluster-announce-human-nodename");
        let own = ROWS[..since_7_2.unwrap()].iter().map(|it| it.name);
        let own = own.filter(|name| !golden.contains(name));
        for name in own.chain(DEVIATIONS.iter().map(|it| it.0)) {
            assert!(rows.contains(name), "README.md, Settings: {name} is missing");
        }
        assert!(!rows.contains("no-such-setting"));
    }

    #[test]
    fn names_defaults_and_changeability_are_those_of_redis() {
        let settings = Settings::new();
        let mut names = BTreeSet::new();
        let mut deviations: BTreeMap<&str, &str> = DEVIATIONS.iter().copied().collect();
        for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
            let mut parts = line.splitn(3, ' ');
            let (name, change) = (parts.next().unwrap(), parts.next().unwrap());
            let expected = parts.next().unwrap_or_default();
            let row = find(name.as_bytes()).unwrap_or_else(|| panic!("{name} is missing"));
            assert!(!row.hidden, "{name}");
            let known = match row.change {
                Change::Runtime => "runtime",
                Change::AtStart => "immutable",
                Change::Guarded => "protected",
            };
            assert_eq!(known, change, "{name}");
            let printed = String::from_utf8(row.kind.print(&settings.value(row))).unwrap();
            if expected != "?" && printed != expected {
                assert!(deviations.remove(row.name).is_some(), "{name}: {printed:?}, {expected:?}");
            }
            names.insert(name);
        }
        assert_eq!(names.len(), 192);
        assert!(deviations.is_empty(), "no longer deviating: {deviations:?}");
        let beyond: Vec<&str> = ROWS
            .iter()
            .filter(|row| !row.hidden)
            .flat_map(Row::names)
            .filter(|name| !names.contains(name))
            .collect();
        assert_eq!(
            beyond,
            [
                "repl-backlog-seconds",
                "repl-backlog-max",
                "repl-spill-size",
                "repl-writers-wait",
                "repl-flows",
                "replicas-follow-empty-master",
                "admin-port",
                "admin-bind",
                "admin-unixsocket",
                "metrics-port",
                "metrics-bind",
                "log-format",
                "cores",
                "sentinel-file",
                "cluster-node-per-core",
                "cluster-announce-human-nodename",
                "locale-collate",
                "max-new-connections-per-cycle",
                "max-new-tls-connections-per-cycle",
                "set-max-listpack-entries",
                "set-max-listpack-value",
                "tls-auth-clients-user"
            ]
        );
    }

    #[test]
    fn names_are_unique_and_lower_case() {
        let mut names: Vec<&str> = ROWS.iter().flat_map(Row::names).collect();
        assert!(names.iter().all(|name| name.to_ascii_lowercase() == *name));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn extremes_fit_their_fields_and_prints_are_read_back() {
        for row in ROWS {
            let texts: Vec<String> = match row.kind {
                Int { min, max } => vec![min.to_string(), max.to_string()],
                Octal { max } => vec!["0".into(), format!("{max:o}")],
                Memory { min, max } => vec![min.to_string(), max.to_string()],
                Choice(names) => names.iter().map(|name| (*name).to_string()).collect(),
                Bool => vec!["yes".into(), "no".into()],
                Hz => vec!["0".into(), "2147483647".into()],
                Cores => vec!["3".into(), "0-3,7".into()],
                Master => vec!["host 65535".into()],
                _ => vec![],
            };
            for text in texts.iter().map(String::as_str).chain([row.default]) {
                let mut settings = Settings::new();
                let old = settings.value(row);
                let value = row.kind.parse(&row.kind.split(text.as_bytes()), &old);
                // A file's words are appended to the rules there are; CONFIG SET begins anew.
                let value = if matches!(row.kind, Save) { Ok(old) } else { value };
                let value = value.unwrap_or_else(|why| panic!("{} {text}: {why}", row.name));
                settings.put(row, value.clone());
                assert_eq!(settings.value(row), value, "{} {text}", row.name);
                let printed = row.kind.print(&value);
                let empty = Value::Bool(false);
                let again = row.kind.parse(&row.kind.split(&printed), &empty);
                assert_eq!(again, Ok(value), "{} {text}", row.name);
            }
        }
    }

    #[test]
    fn templates_know_their_names() {
        let check = |text: &str, good| {
            assert_eq!(title_template(text.as_bytes()).is_ok(), good, "{text}");
        };
        check("{title} {listen-addr} {server-mode}", true);
        check("", true);
        check("x {port}y", true);
        check("{zz}", false);
        check("{title", false);
        check("{}", false);
    }
}
