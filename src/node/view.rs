//! What every core knows of the node: settings, role, and reasons to refuse commands.
//!
//! Core 0 decides it and sends all others a copy when it changes; on a road it arrives in order
//! with everything else that core 0 sends, so that a core is never ahead of itself.

use crate::acl::users::Users;
use crate::cluster::show::Map;
use crate::command::spec::{Flags, Spec};
use crate::engine::keyspace::Keyspace;
use crate::engine::notices::Wanted;
use crate::node::memory::{Limit, counting, policy};
use crate::node::settings::{AppendFsync, Settings};
use crate::resp::error::ErrorKind;
use crate::resp::request::RequestLimits;
use crate::types::packing::Packing;
use std::sync::Arc;

/// What this node is in replication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    #[default]
    Master,
    Replica {
        /// The link is up and the master's data set is here.
        linked: bool,
    },
}

/// See the file's header.
#[derive(Clone, Debug)]
pub struct View {
    pub settings: Arc<Settings>,
    pub users: Arc<Users>,
    pub role: Role,
    /// The data set is being loaded, from a file or from a master.
    pub loading: bool,
    /// The last save failed, and writes are refused until one succeeds.
    pub save_failed: bool,
    /// The append-only file cannot be written, and why: writes are refused until it can.
    pub aof_failed: Option<Arc<str>>,
    /// Fewer good replicas than `min-replicas-to-write`.
    pub few_replicas: bool,
    /// Somebody wants the stream: writes are logged.
    pub streaming: bool,
    /// The node is about to end, or to hand its role over: writes wait.
    pub writes_wait: bool,
    /// What is told of keys (`notify-keyspace-events`).
    pub notices: Wanted,
    /// `maxmemory` and what belongs to it.
    pub limit: Limit,
    /// What all clients may take together; 0: any.
    pub client_bytes_max: u64,
    /// Where clients of a cluster are to go; `None`: this is no node of one.
    pub cluster: Option<Arc<Map>>,
    /// Cores that have clients of MONITOR.
    pub watching: Vec<usize>,
    plain: bool,
}

impl View {
    #[must_use]
    pub fn new(settings: Arc<Settings>, users: Arc<Users>) -> Self {
        // Until the mind has said anything, nobody serves any slot.
        let settings_cluster = settings.cluster_enabled.then(Arc::default);
        let mut view = Self {
            settings,
            users,
            role: Role::Master,
            loading: false,
            save_failed: false,
            aof_failed: None,
            few_replicas: false,
            streaming: false,
            writes_wait: false,
            notices: Wanted::default(),
            limit: Limit::default(),
            client_bytes_max: 0,
            cluster: settings_cluster,
            watching: Vec::new(),
            plain: false,
        };
        view.settle();
        view
    }

    /// Works out anew whether any command can be refused; after every change.
    pub fn settle(&mut self) {
        self.notices = Wanted::parse(&self.settings.notify_keyspace_events);
        self.limit = Limit::new(&self.settings, self.is_replica());
        self.client_bytes_max = self.settings.client_bytes_max();
        self.plain = self.role == Role::Master
            && !self.loading
            && !self.save_failed
            && self.aof_failed.is_none()
            && !self.few_replicas
            && !self.limit.is_set()
            && self.cluster.is_none()
            && self.watching.is_empty();
    }

    /// No reason to refuse anything: the usual case, one branch on the hot path.
    #[inline]
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// Do answers to writes wait until these are synced?
    #[must_use]
    pub fn answers_wait_for_disk(&self) -> bool {
        self.settings.appendonly && self.settings.appendfsync == AppendFsync::Always
    }

    #[must_use]
    pub fn is_replica(&self) -> bool {
        matches!(self.role, Role::Replica { .. })
    }

    /// A replica that takes writes from its master only.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.is_replica() && self.settings.replica_read_only
    }

    /// Is what this replica has not to be shown?
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let linked = !matches!(self.role, Role::Replica { linked: false });
        !linked && !self.settings.replica_serve_stale_data
    }

    /// Reasons to refuse a client's command, in Redis' order. `out_of_memory`: there is no room, and none can
    /// be made.
    ///
    /// # Errors
    /// The first reason that applies.
    pub fn gate(&self, spec: &Spec, out_of_memory: bool) -> Result<(), ErrorKind> {
        let flags = spec.flags;
        let writes = spec.is_write();
        if out_of_memory && flags.has(Flags::DENYOOM) {
            return Err(ErrorKind::Oom);
        }
        // PING, too, so that whoever watches this server sees that it is not well.
        if self.save_failed && (writes || spec.name == "PING") && !self.is_replica() {
            return Err(ErrorKind::MisconfRdb);
        }
        if let Some(why) = &self.aof_failed
            && (writes || spec.name == "PING")
            && !self.is_replica()
        {
            return Err(ErrorKind::MisconfAof { why: why.as_bytes().into() });
        }
        if self.few_replicas && writes && !self.is_replica() {
            return Err(ErrorKind::NoReplicas);
        }
        if let Role::Replica { linked } = self.role {
            if writes && self.settings.replica_read_only {
                return Err(ErrorKind::ReadOnly);
            }
            let stale = !linked && !self.settings.replica_serve_stale_data;
            if stale && !flags.has(Flags::STALE) {
                return Err(ErrorKind::MasterDown);
            }
        }
        if self.loading && !flags.has(Flags::LOADING) {
            return Err(ErrorKind::Loading);
        }
        Ok(())
    }

    /// What a request may be like.
    #[must_use]
    pub fn request_limits(&self, authenticated: bool) -> RequestLimits {
        RequestLimits {
            bulk_bytes_max: self.string_bytes_max(),
            authenticated,
            ..RequestLimits::DEFAULT
        }
    }

    /// Up to where collections are packed.
    #[must_use]
    pub fn packing(&self) -> Packing {
        let settings = &self.settings;
        let int = |it: i64| usize::try_from(it).unwrap_or(0);
        let size = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
        Packing {
            hash_entries: int(settings.hash_max_listpack_entries),
            hash_value_bytes: size(settings.hash_max_listpack_value),
            intset_entries: int(settings.set_max_intset_entries),
            set_entries: int(settings.set_max_listpack_entries),
            set_value_bytes: size(settings.set_max_listpack_value),
            zset_entries: int(settings.zset_max_listpack_entries),
            zset_value_bytes: size(settings.zset_max_listpack_value),
            list_node_size: settings.list_max_listpack_size,
            list_compress_depth: int(settings.list_compress_depth),
            stream_node_bytes: size(settings.stream_node_max_bytes),
            stream_node_entries: int(settings.stream_node_max_entries),
        }
    }

    /// What a shard must know of the settings.
    pub fn tune(&self, keyspace: &mut Keyspace) {
        let bytes = |number| usize::try_from(number).unwrap_or(usize::MAX);
        keyspace.set_string_bytes_max(self.string_bytes_max());
        keyspace.set_packing(self.packing());
        keyspace.set_wanted(self.notices);
        let settings = &self.settings;
        keyspace.set_policy(policy(settings.maxmemory_policy), counting(settings));
        keyspace.set_hll_sparse_bytes_max(bytes(self.settings.hll_sparse_max_bytes));
    }

    /// `proto-max-bulk-len`
    #[must_use]
    pub fn string_bytes_max(&self) -> usize {
        usize::try_from(self.settings.proto_max_bulk_len).unwrap_or(usize::MAX)
    }
}
