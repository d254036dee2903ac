//! All sessions of a core are looked at once a second, a few at a time: who is closed since nothing comes
//! of it, and what they take together, for INFO.
//!
//! A core may have half a million sessions, and no turn may take as long as looking at all of them
//! does. So each tick asks for a tenth of the rows, and each turn looks at a few thousand until that is
//! done. INFO counts for itself while there are few, and tells what the last round found while there
//! are many.

use crate::base::limits::{HANDSHAKE_SECONDS_MAX, SWEPT_ROWS_PER_TURN};
use crate::node::core::Core;
use crate::node::outbox::{Conn, Outbox};
use crate::node::session::{Kind, Session};

/// Parts of a round: as many as there are ticks in a second.
const PARTS: usize = 10;

/// What the sessions of a core are and take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub replicas: usize,
    pub blocked: usize,
    /// The longest input and output that wait.
    pub input_max: usize,
    pub output_max: usize,
    pub client_bytes: usize,
    pub link_bytes: usize,
}

/// Where the round is.
#[derive(Debug, Default)]
pub struct Sweep {
    next: usize,
    /// Rows that this tick still asks for.
    left: usize,
    totals: Totals,
    /// What those clients take that are not heavy (`client_memory.rs`).
    light_bytes: usize,
    last: Totals,
}

impl Totals {
    fn add(&mut self, session: &Session) {
        let queued = session.flight.as_ref().map_or(0, |flight| flight.queued_bytes());
        let rare = session.rare.as_ref();
        let output = queued + rare.map_or(0, |rare| rare.backlog_bytes);
        let input = session.input_bytes();
        self.replicas += usize::from(session.kind == Kind::Replica);
        self.blocked += usize::from(rare.is_some_and(|rare| rare.blocked));
        self.input_max = self.input_max.max(input);
        self.output_max = self.output_max.max(output);
        let bytes = session.memory();
        if session.kind == Kind::Normal {
            self.client_bytes += bytes;
        } else {
            self.link_bytes += bytes;
        }
    }
}

impl Sweep {
    /// A light client was closed: if the round has counted it already, it does no longer.
    pub fn forget(&mut self, conn: Conn, bytes: usize) {
        if (conn.0 as usize) < self.next {
            self.light_bytes = self.light_bytes.saturating_sub(bytes);
        }
    }

    /// Is the part that the last tick asked for not done?
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.left > 0
    }
}

impl Core {
    /// A tick: a part of the round is due.
    pub(super) fn ask_for_sweep(&mut self) {
        self.sweep.left = self.sessions.rows().div_ceil(PARTS);
    }

    /// Looks at a few sessions: closes those that were idle for longer than `timeout`, and those that do
    /// not say who they are.
    pub(super) fn sweep_some(&mut self, out: &mut Outbox) {
        if self.sweep.left == 0 {
            return;
        }
        let timeout = self.view.settings.timeout;
        let now = self.stats.seconds;
        let rows = self.sessions.rows();
        let end = rows.min(self.sweep.next + self.sweep.left.min(SWEPT_ROWS_PER_TURN));
        let mut late = Vec::new();
        for index in self.sweep.next..end {
            let conn = Conn(u32::try_from(index).unwrap_or(u32::MAX));
            let Some(session) = self.sessions.get(conn) else { continue };
            self.sweep.totals.add(session);
            if session.kind == Kind::Normal && !session.closing {
                let bytes = self.client_bytes(conn, session);
                if !self.weights.note(conn, bytes) {
                    self.sweep.light_bytes += bytes;
                }
            }
            if session.closing || session.kind != Kind::Normal {
                continue;
            }
            let idle = now.saturating_sub(session.active);
            let handshake = !session.authenticated
                && now.saturating_sub(session.created) > HANDSHAKE_SECONDS_MAX;
            let blocked = session.rare.as_ref().is_some_and(|rare| rare.blocked);
            let waits = blocked || session.subscribed;
            if (timeout > 0 && idle > timeout && !waits) || handshake {
                late.push(conn);
            }
        }
        self.sweep.left = self.sweep.left.saturating_sub(SWEPT_ROWS_PER_TURN);
        self.sweep.next = end;
        if end == rows {
            // What a tick asks for beyond the end is of the next round.
            (self.sweep.next, self.sweep.left) = (0, 0);
            self.weights.set_light(std::mem::take(&mut self.sweep.light_bytes));
            self.sweep.last = std::mem::take(&mut self.sweep.totals);
        }
        for conn in late {
            self.hang_up(conn, out);
        }
    }

    /// What the sessions are and take: now, or where there are many as the last round found it.
    pub(super) fn session_totals(&self) -> Totals {
        if self.sessions.rows() > SWEPT_ROWS_PER_TURN {
            return self.sweep.last;
        }
        let mut totals = Totals::default();
        self.sessions.iter().for_each(|(_, session)| totals.add(session));
        totals
    }
}

#[cfg(test)]
mod tests {
    use crate::base::limits::SWEPT_ROWS_PER_TURN;
    use crate::node::testing::Node;

    /// A round passes all rows, however many there are, in no more than about a second.
    #[test]
    fn a_round_finds_who_is_idle_among_very_many() {
        let mut node = Node::new(1);
        let many = 2 * SWEPT_ROWS_PER_TURN + 100;
        let clients: Vec<_> = (0..many).map(|_| node.connect()).collect();
        node.send(clients[0], b"CONFIG SET timeout 5\r\n");
        node.advance(3_000);
        let info = node.send(clients[1], b"INFO clients\r\n");
        let info = String::from_utf8(info).unwrap();
        assert!(info.contains(&format!("connected_clients:{many}\r\n")), "{info}");
        node.advance(4_500);
        assert!(!node.is_closed(clients[1]) && node.is_closed(clients[2]));
        assert!(node.is_closed(clients[many - 1]));
    }
}
