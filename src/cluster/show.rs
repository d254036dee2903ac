//! What clients are told of the cluster: CLUSTER NODES, INFO, SLOTS, SHARDS, LINKS; and the map by which each
//! core sends them on.

use super::flags::Flags;
use super::id::NodeId;
use super::machine::{Cluster, LinkId};
use super::node::{Key, Node};
use super::packet::TYPE_NAMES;
use crate::base::limits::SLOTS;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;

/// By what name clients are sent to a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Endpoint {
    #[default]
    Ip,
    Hostname,
    /// Wherever they reached us.
    Unknown,
}

/// Where clients are sent, as every core has it.
#[derive(Clone, Debug, Default)]
pub struct Map {
    /// Which of `nodes` serves a slot; [`NOBODY`]: none.
    owners: Vec<u16>,
    nodes: Vec<Place>,
    /// Slots on their way from us, and to whom; slots on their way to us.
    migrating: Vec<(u16, u16)>,
    importing: Vec<u16>,
    pub myself: u16,
    /// Our master, if we are a replica.
    pub master: Option<u16>,
    pub is_ok: bool,
    pub id: Option<NodeId>,
    pub shard: Option<NodeId>,
}

/// A slot without an owner.
pub const NOBODY: u16 = u16::MAX;

#[derive(Clone, Debug)]
struct Place {
    endpoint: String,
    port: u16,
}

impl Map {
    #[must_use]
    pub fn owner(&self, slot: u16) -> u16 {
        self.owners.get(usize::from(slot)).copied().unwrap_or(NOBODY)
    }

    /// Is any slot on its way?
    #[must_use]
    pub fn moves(&self) -> bool {
        !self.migrating.is_empty() || !self.importing.is_empty()
    }

    /// Where a slot of ours is on its way to.
    #[must_use]
    pub fn migrating(&self, slot: u16) -> Option<u16> {
        let at = self.migrating.binary_search_by_key(&slot, |it| it.0).ok()?;
        self.migrating.get(at).map(|it| it.1)
    }

    #[must_use]
    pub fn is_importing(&self, slot: u16) -> bool {
        self.importing.binary_search(&slot).is_ok()
    }

    /// `slot host:port`, as MOVED and ASK have it.
    #[must_use]
    pub fn place(&self, slot: u16, node: u16) -> Box<[u8]> {
        let place = self.nodes.get(usize::from(node));
        let (endpoint, port) = place.map_or(("", 0), |it| (it.endpoint.as_str(), it.port));
        format!("{slot} {endpoint}:{port}").into_bytes().into()
    }
}

impl Cluster {
    /// The map for all cores.
    #[must_use]
    pub fn map(&self, by: Endpoint) -> Map {
        let keys = self.nodes.keys();
        let number = |key: Key| {
            let at = keys.iter().position(|it| *it == key);
            at.and_then(|it| u16::try_from(it).ok()).unwrap_or(NOBODY)
        };
        let mut owners = vec![NOBODY; usize::from(SLOTS)];
        for (start, end, key) in self.table.runs() {
            let range = usize::from(start)..=usize::from(end);
            if let Some(part) = owners.get_mut(range) {
                part.fill(number(key));
            }
        }
        let place =
            |key: &Key| Place { endpoint: self.endpoint(*key, by), port: self.node(*key).port };
        Map {
            owners,
            nodes: keys.iter().map(place).collect(),
            migrating: self.table.migrating.iter().map(|(slot, to)| (*slot, number(*to))).collect(),
            importing: {
                let opened = self.table.importing.keys().copied();
                let mut slots: Vec<u16> = opened.chain(self.received_slots()).collect();
                slots.sort_unstable();
                slots
            },
            myself: number(self.me),
            master: self.me().master.map(number),
            is_ok: self.is_ok,
            id: Some(self.me().id),
            shard: Some(self.me().shard),
        }
    }

    fn endpoint(&self, key: Key, by: Endpoint) -> String {
        let node = self.node(key);
        match by {
            Endpoint::Ip => node.ip.map_or(String::new(), |ip| ip.to_string()),
            Endpoint::Hostname if node.hostname.is_empty() => "?".into(),
            Endpoint::Hostname => node.hostname.clone(),
            Endpoint::Unknown => String::new(),
        }
    }

    /// Are we a replica?
    #[must_use]
    pub fn is_replica(&self) -> bool {
        self.me().is_replica()
    }

    /// CLUSTER NODES.
    #[must_use]
    pub fn nodes_text(&self) -> String {
        let mut text = String::new();
        for (key, node) in self.nodes.iter() {
            self.describe(key, node, false, &mut text);
            text.push('\n');
        }
        text
    }

    /// CLUSTER REPLICAS.
    ///
    /// # Errors
    /// It is no master that we know.
    pub fn replicas_of(&self, id: &[u8]) -> Result<Vec<String>, ErrorKind> {
        let master = self.find(id)?;
        if self.node(master).is_replica() {
            return Err(ErrorKind::ClusterNoMaster);
        }
        let line = |(key, node): (Key, &Node)| {
            let mut text = String::new();
            self.describe(key, node, false, &mut text);
            text
        };
        Ok(self.nodes.replicas(master).map(line).collect())
    }

    /// CLUSTER INFO.
    #[must_use]
    pub fn info_text(&self) -> String {
        let (mut assigned, mut ok, mut silent, mut failed) = (0, 0, 0, 0);
        for slot in 0..SLOTS {
            let Some(owner) = self.table.owner(slot) else { continue };
            assigned += 1;
            match self.node(owner).flags {
                flags if flags.has(Flags::FAIL) => failed += 1,
                flags if flags.has(Flags::PFAIL) => silent += 1,
                _ => ok += 1,
            }
        }
        let shown = self.me().master.and_then(|it| self.nodes.get(it)).unwrap_or(self.me());
        let mut text = format!(
            "cluster_state:{}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{ok}\r\n\
             cluster_slots_pfail:{silent}\r\ncluster_slots_fail:{failed}\r\n\
             cluster_known_nodes:{}\r\ncluster_size:{}\r\ncluster_current_epoch:{}\r\n\
             cluster_my_epoch:{}\r\n",
            if self.is_ok { "ok" } else { "fail" },
            self.nodes.count(),
            self.size,
            self.current_epoch,
            shown.config_epoch,
        );
        for (counts, way) in [(&self.counts.sent, "sent"), (&self.counts.received, "received")] {
            for (name, count) in TYPE_NAMES.iter().zip(counts).filter(|(_, count)| **count > 0) {
                text.push_str(&format!("cluster_stats_messages_{name}_{way}:{count}\r\n"));
            }
            let all: u64 = counts.iter().sum();
            text.push_str(&format!("cluster_stats_messages_{way}:{all}\r\n"));
        }
        text.push_str("total_cluster_links_buffer_limit_exceeded:0\r\n");
        text
    }

    /// CLUSTER SLOTS.
    pub fn slots_reply(&self, by: Endpoint, reply: &mut Reply<'_>) {
        let runs = self.table.runs();
        reply.array(runs.len());
        for (start, end, owner) in runs {
            let replicas: Vec<Key> = self
                .nodes
                .replicas(owner)
                .filter(|(key, node)| !node.has_failed() && self.offset_of(*key) != 0)
                .map(|(key, _)| key)
                .collect();
            reply.array(3 + replicas.len());
            reply.int(i64::from(start));
            reply.int(i64::from(end));
            self.node_reply(owner, by, reply);
            for replica in replicas {
                self.node_reply(replica, by, reply);
            }
        }
    }

    fn node_reply(&self, key: Key, by: Endpoint, reply: &mut Reply<'_>) {
        let node = self.node(key);
        reply.array(4);
        match by {
            Endpoint::Unknown => reply.null(),
            by => reply.bulk(self.endpoint(key, by).as_bytes()),
        }
        reply.int(i64::from(node.port));
        reply.bulk(node.id.as_bytes());
        let ip = by != Endpoint::Ip;
        let hostname = by != Endpoint::Hostname && !node.hostname.is_empty();
        reply.map(usize::from(ip) + usize::from(hostname));
        if ip {
            reply.bulk(b"ip");
            reply.bulk(node.ip.map_or(String::new(), |it| it.to_string()).as_bytes());
        }
        if hostname {
            reply.bulk(b"hostname");
            reply.bulk(node.hostname.as_bytes());
        }
    }

    fn offset_of(&self, key: Key) -> u64 {
        if key == self.me { self.facts.offset } else { self.node(key).offset }
    }

    /// CLUSTER SHARDS.
    pub fn shards_reply(&self, by: Endpoint, reply: &mut Reply<'_>) {
        let mut shards: Vec<Vec<Key>> = Vec::new();
        for (key, _) in self.nodes.iter().filter(|(_, node)| node.master.is_none()) {
            let mut shard = vec![key];
            shard.extend(self.nodes.replicas(key).map(|(key, _)| key));
            shards.push(shard);
        }
        reply.array(shards.len());
        for shard in shards {
            reply.map(2);
            reply.bulk(b"slots");
            let ranges = shard.first().map_or(Vec::new(), |it| self.node(*it).slots.ranges());
            reply.array(ranges.len() * 2);
            for range in ranges {
                reply.int(i64::from(*range.start()));
                reply.int(i64::from(*range.end()));
            }
            reply.bulk(b"nodes");
            reply.array(shard.len());
            for key in shard {
                self.shard_node_reply(key, by, reply);
            }
        }
    }

    fn shard_node_reply(&self, key: Key, by: Endpoint, reply: &mut Reply<'_>) {
        let node = self.node(key);
        let named = !node.hostname.is_empty();
        let offset = self.offset_of(key);
        reply.map(7 + usize::from(named));
        reply.bulk(b"id");
        reply.bulk(node.id.as_bytes());
        reply.bulk(b"port");
        reply.int(i64::from(node.port));
        reply.bulk(b"ip");
        reply.bulk(node.ip.map_or(String::new(), |it| it.to_string()).as_bytes());
        reply.bulk(b"endpoint");
        reply.bulk(self.endpoint(key, by).as_bytes());
        if named {
            reply.bulk(b"hostname");
            reply.bulk(node.hostname.as_bytes());
        }
        reply.bulk(b"role");
        reply.bulk(if node.is_replica() { b"replica" } else { b"master" });
        reply.bulk(b"replication-offset");
        reply.int(i64::try_from(offset).unwrap_or(i64::MAX));
        reply.bulk(b"health");
        let health: &[u8] = match () {
            () if node.has_failed() => b"fail",
            () if node.is_replica() && offset == 0 => b"loading",
            () => b"online",
        };
        reply.bulk(health);
    }

    /// CLUSTER LINKS.
    pub fn links_reply(&self, reply: &mut Reply<'_>) {
        let links: Vec<_> = self.links.iter().filter(|(_, link)| link.node.is_some()).collect();
        reply.array(links.len());
        for (id, link) in links {
            let node = link.node.and_then(|it| self.nodes.get(it));
            reply.map(6);
            reply.bulk(b"direction");
            reply.bulk(if matches!(id, LinkId::Out(_)) { b"to" } else { b"from" });
            reply.bulk(b"node");
            reply.bulk(node.map_or(&[], |it| it.id.as_bytes().as_slice()));
            reply.bulk(b"create-time");
            reply.int(self.wall_ms_of(Some(link.created)));
            reply.bulk(b"events");
            reply.bulk(b"r");
            reply.bulk(b"send-buffer-allocated");
            reply.int(0);
            reply.bulk(b"send-buffer-used");
            reply.int(0);
        }
    }
}
