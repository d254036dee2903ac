//! What clients take, and who goes when all of them take too much (`maxmemory-clients`).
//!
//! Nothing is counted on the way of a request. A client whose input, output or transaction grows is weighed
//! where that happens; all others when the round over the sessions passes them (`sweep.rs`), once a second.
//! A client of at least [`HEAVY_CLIENT_BYTES`] is *heavy* and known by its connection; of the light ones only
//! the sum is known.
//!
//! ```text
//!   core 0: heavy {a: 9 MB, b: 1 MB}, light 3 MB  ->  host.client_bytes 14 MB    host.heaviest[0] 9 MB
//!   core 1: heavy {c: 1 MB}                       ->                             host.heaviest[1] 1 MB
//! ```
//!
//! Over the limit the heaviest of all goes: each core looks at the others' heaviest, and closes its own where
//! there is no heavier one. So nobody asks anybody, and a core that sleeps looks at its next tick. Where only
//! light ones are left those go that a look at some thousands finds, the heaviest first; a look a tick, for there
//! may be nobody who may go.
//!
//! Replicas and masters have limits of their own and do not count; clients of `CLIENT NO-EVICT` and of the
//! doors for administration count, and stay.
//!
//! Not here: the limit of one client's output (`lifecycle.rs`) and input (`input.rs`).

use crate::base::limits::{
    EVICTED_CLIENTS_PER_TICK, EVICTED_CLIENTS_PER_TURN, HEAVY_CLIENT_BYTES, SWEPT_ROWS_PER_TURN,
};
use crate::base::map::HashMap;
use crate::node::core::Core;
use crate::node::outbox::{Action, Conn, Level, Outbox};
use crate::node::session::{Kind, Session};
use std::sync::atomic::Ordering;

/// See the file's header.
#[derive(Debug, Default)]
pub struct Weights {
    heavy: HashMap<Conn, usize>,
    heavy_bytes: usize,
    /// Of all others, as the last round found them.
    light_bytes: usize,
    /// What the host was last told.
    told: u64,
    told_heaviest: u64,
    /// Where the search for light clients goes on.
    next: usize,
}

impl Weights {
    /// A client was weighed; 0 is one that is gone or does not count. True: it is heavy.
    pub fn note(&mut self, conn: Conn, bytes: usize) -> bool {
        let is_heavy = bytes >= HEAVY_CLIENT_BYTES;
        if !is_heavy && self.heavy.is_empty() {
            return false;
        }
        let before = match is_heavy {
            true => self.heavy.insert(conn, bytes),
            false => self.heavy.remove(&conn),
        };
        self.heavy_bytes -= before.unwrap_or(0);
        self.heavy_bytes += if is_heavy { bytes } else { 0 };
        is_heavy
    }

    /// What a round found of the clients that are not heavy.
    pub fn set_light(&mut self, bytes: usize) {
        self.light_bytes = bytes;
    }

    /// What all clients of this core take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.heavy_bytes + self.light_bytes) as u64
    }
}

impl Core {
    /// What a client takes, for whoever shows it.
    pub(super) fn client_bytes(&self, conn: Conn, session: &Session) -> usize {
        let listens = if session.subscribed { self.pubsub.memory(conn) } else { 0 };
        session.memory() + listens
    }

    /// A client's input, output or queue has grown, or is gone.
    pub(super) fn weigh(&mut self, conn: Conn) {
        let session = self.sessions.get(conn).filter(|it| it.kind == Kind::Normal && !it.closing);
        let bytes = session.map_or(0, |session| self.client_bytes(conn, session));
        self.weights.note(conn, bytes);
    }

    /// Tells the others what this core's clients take.
    pub(super) fn tell_client_bytes(&mut self) {
        let weights = &mut self.weights;
        let bytes = weights.bytes();
        let host = &self.shared.host;
        if bytes != weights.told {
            let before = std::mem::replace(&mut weights.told, bytes);
            host.client_bytes.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
        }
        let heaviest = self.heaviest().map_or(0, |it| it.1 as u64);
        if heaviest != self.weights.told_heaviest {
            self.weights.told_heaviest = heaviest;
            if let Some(place) = self.shared.host.heaviest.get(self.id) {
                place.store(heaviest, Ordering::Relaxed);
            }
        }
    }

    /// The heaviest of this core's clients that may go.
    fn heaviest(&self) -> Option<(Conn, usize)> {
        let heavy = self.weights.heavy.iter().map(|(conn, bytes)| (*conn, *bytes));
        let may_go = |it: &(Conn, usize)| self.sessions.get(it.0).is_some_and(may_go);
        // Of two alike always the same one, whatever the order of the map.
        heavy.filter(may_go).max_by_key(|(conn, bytes)| (*bytes, conn.0))
    }

    /// Closes clients until all of them together are within the limit.
    pub(super) fn evict_clients(&mut self, out: &mut Outbox) {
        let limit = self.view.client_bytes_max;
        for _ in 0..EVICTED_CLIENTS_PER_TURN {
            if limit == 0 || self.shared.host.client_bytes.load(Ordering::Relaxed) <= limit {
                return;
            }
            self.tell_client_bytes();
            let Some((conn, bytes)) = self.heaviest() else { break };
            let others = self.shared.host.heaviest.iter().enumerate();
            let heavier = others.filter(|(core, _)| *core != self.id).any(|(core, it)| {
                let theirs = it.load(Ordering::Relaxed);
                theirs > bytes as u64 || (theirs == bytes as u64 && core < self.id)
            });
            if heavier {
                return;
            }
            self.evict_client(conn, bytes, out);
        }
    }

    /// A tick: where no heavy client is left that may go, light ones do.
    pub(super) fn evict_light_clients(&mut self, out: &mut Outbox) {
        let limit = self.view.client_bytes_max;
        let host = &self.shared.host;
        let some_is_heavy = host.heaviest.iter().any(|it| it.load(Ordering::Relaxed) > 0);
        if limit == 0 || some_is_heavy || host.client_bytes.load(Ordering::Relaxed) <= limit {
            return;
        }
        let rows = self.sessions.rows();
        let start = if self.weights.next < rows { self.weights.next } else { 0 };
        let end = rows.min(start + SWEPT_ROWS_PER_TURN);
        let conns = (start..end).map(|index| Conn(u32::try_from(index).unwrap_or(u32::MAX)));
        let mut found: Vec<(usize, Conn)> = conns
            .filter_map(|conn| {
                let session = self.sessions.get(conn).filter(|session| may_go(session))?;
                Some((self.client_bytes(conn, session), conn))
            })
            .collect();
        self.weights.next = end;
        found.sort_unstable_by_key(|(bytes, conn)| (std::cmp::Reverse(*bytes), conn.0));
        for (bytes, conn) in found.into_iter().take(EVICTED_CLIENTS_PER_TICK) {
            if self.shared.host.client_bytes.load(Ordering::Relaxed) <= limit {
                return;
            }
            self.evict_client(conn, bytes, out);
            self.weights.light_bytes = self.weights.light_bytes.saturating_sub(bytes);
            self.sweep.forget(conn, bytes);
            self.tell_client_bytes();
        }
    }

    fn evict_client(&mut self, conn: Conn, bytes: usize, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.closing = true;
        let id = session.id;
        self.stats.evicted_clients += 1;
        self.say(out, Level::Notice, format!("Evicting client {id}, which takes {bytes} bytes"));
        out.actions.push(Action::CloseNow(conn));
        self.weights.note(conn, 0);
        self.tell_client_bytes();
    }
}

fn may_go(session: &Session) -> bool {
    let stays = session.no_evict || session.admitted || session.closing;
    session.kind == Kind::Normal && !stays
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{Client, Node};

    /// Leaves a request of that many bytes without its end.
    fn fill(node: &mut Node, client: Client, bytes: usize) {
        let mut request = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", 2 * bytes).into_bytes();
        request.resize(bytes, b'x');
        assert_eq!(node.send(client, &request), b"");
    }

    fn field(node: &mut Node, client: Client, name: &str) -> u64 {
        let info = String::from_utf8(node.send(client, b"INFO everything\r\n")).unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {info}")).parse().unwrap()
    }

    #[test]
    fn the_heaviest_client_of_all_cores_goes_first() {
        for cores in [1, 3] {
            let mut node = Node::with(cores, |it| it.maxmemory_clients = b"1000000".to_vec());
            let admin = node.connect();
            let clients: Vec<Client> = (0..5).map(|_| node.connect()).collect();
            assert_eq!(node.send(clients[4], b"CLIENT NO-EVICT on\r\n"), b"+OK\r\n");
            for (client, bytes) in clients.iter().zip([200_000, 300_000, 100_000, 250_000, 400_000])
            {
                fill(&mut node, *client, bytes);
            }
            node.advance(2_000);
            // 1.25 MB: without the second one it is 0.95 MB.
            let closed: Vec<bool> = clients.iter().map(|it| node.is_closed(*it)).collect();
            assert_eq!(closed, [false, true, false, false, false], "{cores} cores");
            assert_eq!(field(&mut node, admin, "evicted_clients"), 1);
            assert_eq!(node.send(admin, b"CONFIG SET maxmemory-clients 600000\r\n"), b"+OK\r\n");
            node.advance(2_000);
            let closed: Vec<bool> = clients.iter().map(|it| node.is_closed(*it)).collect();
            assert_eq!(closed, [true, true, false, true, false], "{cores} cores");
            // Who may not be evicted counts all the same; the others cannot make room for him.
            assert_eq!(node.send(admin, b"CONFIG SET maxmemory-clients 390000\r\n"), b"+OK\r\n");
            node.advance(3_000);
            assert!(node.is_closed(clients[2]) && !node.is_closed(clients[4]), "{cores} cores");
        }
    }

    #[test]
    fn very_many_light_clients_go_too() {
        let mut node = Node::with(1, |it| it.maxmemory_clients = b"131072".to_vec());
        let many = 3_000;
        let clients: Vec<Client> = (0..many).map(|_| node.connect()).collect();
        node.advance(5_000);
        let left = clients.iter().filter(|it| !node.is_closed(**it)).count();
        let bytes = left * size_of::<Session>();
        assert!((100_000..=128 << 10).contains(&bytes), "{left} clients");
    }

    #[test]
    fn what_a_client_has_is_shown_and_counts_against_maxmemory() {
        let mut node = Node::with(1, |_| {});
        let (admin, other) = (node.connect(), node.connect());
        let before = field(&mut node, admin, "mem_clients_normal");
        fill(&mut node, other, 2_000_000);
        node.advance(1_000);
        let more = field(&mut node, admin, "mem_clients_normal") - before;
        assert!((2_000_000..4_100_000).contains(&more), "{more}");
        let list = String::from_utf8(node.send(admin, b"CLIENT LIST ID 2\r\n")).unwrap();
        let total = list.split("tot-mem=").nth(1).unwrap().split(' ').next().unwrap();
        assert!(total.parse::<u64>().unwrap() >= 2_000_000, "{list}");
        assert_eq!(node.send(admin, b"CONFIG SET maxmemory 1500000\r\n"), b"+OK\r\n");
        assert!(node.send(admin, b"SET k v\r\n").starts_with(b"-OOM"));
        assert_eq!(node.send(admin, b"CLIENT KILL ID 2\r\n"), b":1\r\n");
        node.advance(1_000);
        assert_eq!(node.send(admin, b"SET k v\r\n"), b"+OK\r\n");
    }
}
