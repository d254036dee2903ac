//! Who serves what, where there is more than one server: the map of a cluster, or a master as its Sentinels name it.
//!
//! **A client of a cluster keeps to one slot.** Its keys carry its number as their hash tag, so one connection is all
//! it needs, its requests stay in one order, and a million clients spread over the cluster as their tags fall. What it
//! asks for may be refused by who does not serve the slot (any more): it then goes where it was sent, or where the map
//! says by now, and asks again.
//!
//! ```text
//!   scout (a thread, `scout.rs`) -> Places <- MOVED (the clients' threads)
//!                                     |
//!                                     +-> whom client c dials
//! ```
//!
//! Not here: sockets.

#![expect(
    clippy::disallowed_types,
    reason = "threads share the map; it is looked at when somebody dials"
)]

use crate::plan::Plan;
use ringfold::command::keys;
use ringfold::resp::decode::Value;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SLOTS: usize = 16_384;
/// A map names this many nodes at most.
const NODES_MAX: usize = 16_384;
/// Changes that are told one by one.
const CHANGES_MAX: usize = 200;

/// What stands behind the named address.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// One server.
    #[default]
    One,
    /// A node of a cluster.
    Cluster,
    /// A Sentinel, which knows a master by this name.
    Sentinel(String),
}

/// The number of a server; it stays the same for a run.
pub type Server = u16;

/// Which server serves each slot; a master under Sentinels has one for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Map {
    owners: Vec<Option<Server>>,
    replicas: Vec<Vec<Server>>,
}

/// See the file's header.
#[derive(Debug)]
pub struct Places {
    service: Service,
    connections: u64,
    state: Mutex<State>,
    version: AtomicU64,
    /// Somebody found the map wrong.
    doubted: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    servers: Vec<SocketAddr>,
    map: Map,
    /// What changed, and when by the scout's clock.
    changes: Vec<(u64, String)>,
}

impl Places {
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self {
            service: plan.target.service.clone(),
            connections: plan.connections(),
            state: Mutex::default(),
            version: AtomicU64::new(0),
            doubted: AtomicBool::new(false),
        }
    }

    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Counts changes of who serves at all.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The map is wrong: to be asked for anew.
    pub fn doubt(&self) {
        self.doubted.store(true, Ordering::Release);
    }

    /// Whether it was, since this was asked last.
    pub fn take_doubt(&self) -> bool {
        self.doubted.swap(false, Ordering::AcqRel)
    }

    /// The servers that were heard of so far.
    #[must_use]
    pub fn servers(&self) -> Vec<SocketAddr> {
        self.state().servers.clone()
    }

    /// The server of a connection: a master, or for one that only reads a replica of it.
    #[must_use]
    pub fn of(&self, connection: u64, reads: bool) -> Option<(Server, SocketAddr)> {
        let at = self.slot(connection);
        let state = self.state();
        let replicas = state.map.replicas.get(at).map_or(&[][..], Vec::as_slice);
        let count = replicas.len().max(1) as u64;
        let replica = replicas.get(crate::draw::to_usize(connection % count));
        let master = *state.map.owners.get(at)?;
        let server = if reads { replica.copied().or(master)? } else { master? };
        Some((server, *state.servers.get(usize::from(server))?))
    }

    /// Whether a server still has the role in which a connection uses it: as a master of whatever slots, or, where
    /// there are any, as a replica of this one's.
    #[must_use]
    pub fn is_good(&self, connection: u64, reads: bool, server: Server) -> bool {
        let state = self.state();
        let replicas = state.map.replicas.get(self.slot(connection));
        match replicas.filter(|it| reads && !it.is_empty()) {
            Some(replicas) => replicas.contains(&server),
            None => state.map.owners.contains(&Some(server)),
        }
    }

    /// A server said that a connection's slot is another's.
    pub fn moved(&self, connection: u64, address: SocketAddr) {
        let at = self.slot(connection);
        let mut state = self.state();
        let Some(server) = state.number(address) else { return };
        if let Some(owner) = state.map.owners.get_mut(at) {
            *owner = Some(server);
        }
    }

    /// What CLUSTER SLOTS answered; `asked` stands for nodes that do not name their address.
    pub fn take_slots(&self, reply: &Value, asked: IpAddr, now: u64) -> Result<(), String> {
        let Value::Array(ranges) = reply else { return Err(format!("{reply:?}")) };
        let mut state = self.state();
        let mut map = Map { owners: vec![None; SLOTS], replicas: vec![Vec::new(); SLOTS] };
        for range in ranges {
            let Value::Array(parts) = range else { continue };
            let [Value::Int(first), Value::Int(last), nodes @ ..] = parts.as_slice() else {
                continue;
            };
            let (first, last) = (usize::try_from(*first), usize::try_from(*last));
            let (Ok(first), Ok(last)) = (first, last) else { continue };
            let nodes: Vec<Server> = nodes
                .iter()
                .filter_map(|it| node_address(it, asked))
                .filter_map(|it| state.number(it))
                .collect();
            let Some((master, replicas)) = nodes.split_first() else { continue };
            for slot in first..=last.min(SLOTS - 1) {
                map.owners[slot] = Some(*master);
                map.replicas[slot] = replicas.to_vec();
            }
        }
        self.replace(&mut state, map, now);
        Ok(())
    }

    /// What Sentinels say of their master.
    pub fn take_master(&self, master: SocketAddr, replicas: &[SocketAddr], now: u64) {
        let mut state = self.state();
        let replicas = replicas.iter().filter_map(|it| state.number(*it)).collect();
        let owners = vec![state.number(master)];
        self.replace(&mut state, Map { owners, replicas: vec![replicas] }, now);
    }

    fn replace(&self, state: &mut State, map: Map, now: u64) {
        if map == state.map {
            return;
        }
        let masters = |map: &Map| {
            let mut all: Vec<Server> = map.owners.iter().flatten().copied().collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let (before, after) = (masters(&state.map), masters(&map));
        let known = !state.map.owners.is_empty();
        state.map = map;
        let names = |numbers: Vec<Server>| {
            let name = |it: Server| state.servers.get(usize::from(it)).map(ToString::to_string);
            numbers.into_iter().filter_map(name).collect::<Vec<_>>().join(" ")
        };
        if before != after && known {
            let gone = before.iter().filter(|it| !after.contains(it)).copied().collect();
            let come = after.iter().filter(|it| !before.contains(it)).copied().collect();
            let text = format!("masters: -{} +{}", names(gone), names(come));
            if state.changes.len() < CHANGES_MAX {
                state.changes.push((now, text));
            }
        }
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// What changed during the run, with its time by the scout's clock.
    #[must_use]
    pub fn changes(&self) -> Vec<(u64, String)> {
        self.state().changes.clone()
    }

    fn slot(&self, connection: u64) -> usize {
        match self.service {
            Service::Cluster => usize::from(keys::slot(tag(connection).as_bytes())),
            Service::One | Service::Sentinel(_) => 0,
        }
    }

    /// The connection that a key belongs to.
    #[must_use]
    pub fn connection_of(&self, key: u64) -> u64 {
        key % self.connections.max(1)
    }

    /// Nobody panics while holding it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn number(&mut self, address: SocketAddr) -> Option<Server> {
        let known = self.servers.iter().position(|it| *it == address);
        let at = known.unwrap_or_else(|| {
            self.servers.push(address);
            self.servers.len() - 1
        });
        Server::try_from(at).ok().filter(|_| at < NODES_MAX)
    }
}

/// The hash tag of a connection's keys.
#[must_use]
pub fn tag(connection: u64) -> String {
    format!("{{{connection:07}}}")
}

/// Bytes of [`tag`], for all connections that a plan can have.
pub const TAG_LEN: usize = 9;

fn node_address(node: &Value, asked: IpAddr) -> Option<SocketAddr> {
    let Value::Array(parts) = node else { return None };
    let port = match parts.get(1)? {
        Value::Int(port) => u16::try_from(*port).ok()?,
        _ => return None,
    };
    let ip = match parts.first()? {
        Value::Bulk(ip) if !ip.is_empty() => str::from_utf8(ip).ok()?.parse().ok()?,
        _ => asked,
    };
    Some(SocketAddr::new(ip, port))
}

/// Why a request was refused, where another server, or the same one later, would take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Moved(SocketAddr),
    Ask(SocketAddr),
    Later,
}

impl Refusal {
    /// Of an error line without its `-`.
    #[must_use]
    pub fn of(line: &[u8]) -> Option<Self> {
        let line = str::from_utf8(line).ok()?;
        let mut words = line.split_ascii_whitespace();
        match words.next()? {
            "MOVED" => words.nth(1)?.parse().ok().map(Self::Moved),
            "ASK" => words.nth(1)?.parse().ok().map(Self::Ask),
            "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY" => Some(Self::Later),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    fn places(service: Service) -> Places {
        let mut plan = sample();
        plan.target.service = service;
        Places::new(&plan)
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, ports: &[i64]) -> Value {
        let node = |port: &i64| Value::Array(vec![bulk(""), Value::Int(*port), bulk("id")]);
        let mut parts = vec![Value::Int(first), Value::Int(last)];
        parts.extend(ports.iter().map(node));
        Value::Array(parts)
    }

    #[test]
    fn a_map_says_whom_each_client_dials() {
        let places = places(Service::Cluster);
        assert_eq!(places.of(0, false), None);
        let home = IpAddr::from([127, 0, 0, 1]);
        let slots =
            Value::Array(vec![range(0, 8_191, &[7001, 7003]), range(8_192, 16_383, &[7002])]);
        places.take_slots(&slots, home, 1).unwrap();
        for connection in 0..100 {
            let low = places.slot(connection) < 8_192;
            let master = address(if low { 7001 } else { 7002 });
            assert_eq!(places.of(connection, false).unwrap().1, master);
            let replica = address(if low { 7003 } else { 7002 });
            assert_eq!(places.of(connection, true).unwrap().1, replica);
        }
        let version = places.version();
        places.take_slots(&slots, home, 2).unwrap();
        assert_eq!(places.version(), version, "nothing changed");
        places.moved(5, address(7009));
        assert_eq!(places.of(5, false).unwrap().1, address(7009));
    }

    #[test]
    fn a_server_that_lost_its_role_is_not_good_any_more() {
        let places = places(Service::Sentinel("m".into()));
        places.take_master(address(1), &[address(2)], 1);
        let (old, _) = places.of(3, false).unwrap();
        let (replica, _) = places.of(3, true).unwrap();
        assert!(places.is_good(3, false, old) && places.is_good(3, true, replica));
        assert!(!places.is_good(3, false, replica));
        places.take_master(address(2), &[], 7);
        assert!(!places.is_good(3, false, old));
        assert_eq!(places.changes(), [(7, "masters: -127.0.0.1:1 +127.0.0.1:2".to_string())]);
    }

    #[test]
    fn refusals_are_told_from_errors() {
        assert_eq!(Refusal::of(b"MOVED 5 127.0.0.1:7"), Some(Refusal::Moved(address(7))));
        assert_eq!(Refusal::of(b"ASK 5 127.0.0.1:7"), Some(Refusal::Ask(address(7))));
        assert_eq!(Refusal::of(b"CLUSTERDOWN The cluster is down"), Some(Refusal::Later));
        for other in [&b"ERR no"[..], b"MOVED 5", b"MOVED 5 here:7", b"", b"OOM x"] {
            assert_eq!(Refusal::of(other), None);
        }
    }

    #[test]
    fn malformed_maps_are_refused_or_skipped() {
        let places = places(Service::Cluster);
        let home = IpAddr::from([127, 0, 0, 1]);
        assert!(places.take_slots(&Value::Int(1), home, 0).is_err());
        let odd =
            Value::Array(vec![Value::Int(1), range(-1, 5, &[1]), range(3, 99_999, &[70_000])]);
        places.take_slots(&odd, home, 0).unwrap();
        assert_eq!(places.of(0, false), None);
    }
}
