//! What we know of one node, ourselves included, and the table of all of them.
//!
//! A node has a [`Key`] for as long as we know it, and a name that a handshake may change. Keys are never used
//! again, so one that is kept too long finds nothing, never somebody else.

use super::flags::Flags;
use super::id::NodeId;
use super::slots::Slots;
use core::net::IpAddr;
use std::collections::BTreeMap;

/// Milliseconds of the monotonic clock.
pub type Ms = i64;

/// One node in our table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u32);

/// Which extensions of pings a node takes, by what it has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extended {
    #[default]
    No,
    /// Hostnames, as Redis 7.0.
    Hostname,
    All,
}

/// One node.
#[derive(Clone, Debug)]
pub struct Node {
    pub id: NodeId,
    pub ip: Option<IpAddr>,
    pub port: u16,
    pub second_port: u16,
    pub bus_port: u16,
    pub hostname: String,
    pub human_name: String,
    pub shard: NodeId,
    pub flags: Flags,
    pub master: Option<Key>,
    pub config_epoch: u64,
    pub slots: Slots,
    /// How many slots those are.
    pub slot_count: usize,
    pub offset: u64,
    pub extended: Extended,
    pub created: Ms,
    /// The ping that is not answered yet.
    pub ping_sent: Option<Ms>,
    pub pong_received: Option<Ms>,
    pub data_received: Option<Ms>,
    pub failed_at: Ms,
    /// Masters that do not reach it, and when each said so.
    pub reports: BTreeMap<Key, Ms>,
    /// When we voted for a replica of it.
    pub voted_at: Option<Ms>,
    pub orphaned_since: Option<Ms>,
    /// Our connection to it, and the one that it has to us.
    pub out: Option<u32>,
    pub inbound: Option<u32>,
}

impl Node {
    #[must_use]
    pub fn new(id: NodeId, shard: NodeId, flags: Flags, now: Ms) -> Self {
        Self {
            id,
            ip: None,
            port: 0,
            second_port: 0,
            bus_port: 0,
            hostname: String::new(),
            human_name: String::new(),
            shard,
            flags,
            master: None,
            config_epoch: 0,
            slots: Slots::default(),
            slot_count: 0,
            offset: 0,
            extended: Extended::default(),
            created: now,
            ping_sent: None,
            pong_received: None,
            data_received: None,
            failed_at: now,
            reports: BTreeMap::new(),
            voted_at: None,
            orphaned_since: None,
            out: None,
            inbound: None,
        }
    }

    #[must_use]
    pub fn is_master(&self) -> bool {
        self.flags.has(Flags::MASTER)
    }

    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.flags.has(Flags::REPLICA)
    }

    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.flags.has(Flags::FAIL)
    }

    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.flags.has(Flags::PFAIL)
    }

    #[must_use]
    pub fn in_handshake(&self) -> bool {
        self.flags.has(Flags::HANDSHAKE)
    }

    /// A master that has a say.
    #[must_use]
    pub fn votes(&self) -> bool {
        self.is_master() && self.slot_count > 0
    }
}

/// All nodes.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    rows: BTreeMap<Key, Node>,
    names: BTreeMap<NodeId, Key>,
    next: u32,
}

impl Nodes {
    /// A name that is there already keeps its node.
    pub fn insert(&mut self, node: Node) -> Key {
        if let Some(key) = self.names.get(&node.id) {
            return *key;
        }
        let key = Key(self.next);
        self.next += 1;
        self.names.insert(node.id, key);
        self.rows.insert(key, node);
        key
    }

    pub fn remove(&mut self, key: Key) -> Option<Node> {
        let node = self.rows.remove(&key)?;
        self.names.remove(&node.id);
        Some(node)
    }

    /// Nothing happens where another node has that name.
    pub fn rename(&mut self, key: Key, id: NodeId) {
        if self.names.contains_key(&id) {
            return;
        }
        if let Some(node) = self.rows.get_mut(&key) {
            self.names.remove(&node.id);
            self.names.insert(id, key);
            node.id = id;
        }
    }

    #[must_use]
    pub fn find(&self, id: &NodeId) -> Option<Key> {
        self.names.get(id).copied()
    }

    #[must_use]
    pub fn get(&self, key: Key) -> Option<&Node> {
        self.rows.get(&key)
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut Node> {
        self.rows.get_mut(&key)
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// By name, so that the order is the same for everybody.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &Node)> {
        self.names.values().filter_map(|key| Some((*key, self.rows.get(key)?)))
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.rows.values_mut()
    }

    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.names.values().copied().collect()
    }

    /// The replicas of a master.
    pub fn replicas(&self, master: Key) -> impl Iterator<Item = (Key, &Node)> {
        self.iter().filter(move |(_, node)| node.master == Some(master))
    }

    /// How many of them are not failed.
    #[must_use]
    pub fn good_replicas(&self, master: Key) -> usize {
        self.replicas(master).filter(|(_, node)| !node.has_failed()).count()
    }
}
