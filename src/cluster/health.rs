//! Who is alive: pings, PFAIL and FAIL, and the tick.
//!
//! A node that does not answer us in time is PFAIL, which is our own affair. When the majority of the masters
//! with slots says so it is FAIL, and whoever sees that first tells all.

use super::flags::Flags;
use super::id::NodeId;
use super::machine::{Cluster, Level};
use super::node::{Key, Ms};
use super::packet::{Body, Heartbeat};

/// What another master said holds for so many time-outs; so long a FAIL stays if nobody takes over.
const REPORT_VALID: Ms = 2;
const FAIL_UNDO: Ms = 2;

impl Cluster {
    /// Ten times a second.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
        self.end_handshakes();
        for key in self.nodes.keys() {
            if key != self.me && !self.node(key).flags.has(Flags::NOADDR) {
                self.dial(key);
            }
        }
        if self.ticks.is_multiple_of(10) {
            self.ping_somebody();
        }
        for key in self.nodes.keys() {
            let skipped = Flags::NOADDR.and(Flags::HANDSHAKE);
            if key != self.me && !self.node(key).flags.has(skipped) {
                self.look_after(key);
            }
        }
        if self.me().is_replica() && self.following.is_none() {
            self.follow_master();
        }
        self.step_failover();
        self.step_moves();
        if self.me().is_replica() {
            self.consider_migration();
        }
        if !self.is_ok {
            self.unsettled = true;
        }
    }

    fn end_handshakes(&mut self) {
        let patience = self.settings.node_timeout.max(1_000);
        for key in self.nodes.keys() {
            let node = self.node(key);
            if node.in_handshake() && self.now - node.created > patience {
                self.forget(key);
            }
        }
    }

    /// Of five at random, the one that was heard of longest ago.
    fn ping_somebody(&mut self) {
        let keys = self.nodes.keys();
        let mut chosen: Option<(Option<Ms>, Key)> = None;
        for _ in 0..5 {
            let count = u64::try_from(keys.len()).unwrap_or(1);
            let at = usize::try_from(self.prng.below(count)).unwrap_or(0);
            let Some(&key) = keys.get(at) else { continue };
            let node = self.node(key);
            let busy = key == self.me || node.in_handshake() || node.ping_sent.is_some();
            if busy || self.out_link(key).is_none() {
                continue;
            }
            let pong = node.pong_received;
            if chosen.is_none_or(|(oldest, _)| pong < oldest) {
                chosen = Some((pong, key));
            }
        }
        if let Some((_, key)) = chosen {
            self.ping(key);
        }
    }

    pub(super) fn ping(&mut self, key: Key) {
        if let Some(link) = self.out_link(key) {
            self.heartbeat(link, Heartbeat::Ping);
        }
    }

    /// Connections that stand still are made anew, pings are sent, silence is noticed.
    fn look_after(&mut self, key: Key) {
        let timeout = self.settings.node_timeout;
        let interval =
            if self.settings.ping_interval > 0 { self.settings.ping_interval } else { timeout / 2 };
        let node = self.node(key);
        let now = self.now;
        let since = |at: Option<Ms>| at.map_or(Ms::MAX, |at| now - at);
        let waits = node.ping_sent.map(|at| self.now - at);
        let quiet = since(node.data_received);
        let age = node.out.map(super::machine::LinkId::Out).and_then(|it| self.links.get(&it));
        let age = age.map_or(0, |link| self.now - link.created);
        let stuck = waits.is_some_and(|it| it > timeout / 2) && quiet > timeout / 2;
        if age > timeout && stuck {
            self.drop_out(key);
        }
        if waits.is_none() && since(self.node(key).pong_received) > interval {
            return self.ping(key);
        }
        // Whoever takes over from us is to know soon that nothing more is written.
        if self.manual.until.is_some() && self.me().is_master() && self.manual.replica == Some(key)
        {
            return self.ping(key);
        }
        let silent = waits.is_some_and(|it| it.min(quiet) > timeout);
        if silent && !self.node(key).flags.has(Flags::PFAIL.and(Flags::FAIL)) {
            let id = self.node(key).id;
            self.log(Level::Debug, format!("*** NODE {id} possibly failing"));
            self.node_mut(key).flags.set(Flags::PFAIL, true);
            self.changed = true;
            self.unsettled = true;
            // Alone it may be the majority.
            self.mark_if_failed(key);
        }
    }

    /// A master says that it reaches a node, or that it does not.
    pub(super) fn report(&mut self, about: Key, by: Key, down: bool) {
        let now = self.now;
        let id = self.node(by).id;
        let node = self.node_mut(about);
        let new = if down {
            node.reports.insert(by, now).is_none()
        } else {
            node.reports.remove(&by).is_some()
        };
        if new {
            let what = if down { "as not reachable" } else { "is back online" };
            let text = format!("Node {id} reported node {} {what}.", self.node(about).id);
            self.log(Level::Verbose, text);
        }
        if down {
            self.mark_if_failed(about);
        }
    }

    /// How many masters say that it is down.
    pub fn reports_of(&mut self, key: Key) -> usize {
        let oldest = self.now - self.settings.node_timeout * REPORT_VALID;
        let Some(node) = self.nodes.get_mut(key) else { return 0 };
        node.reports.retain(|_, at| *at >= oldest);
        node.reports.len()
    }

    fn mark_if_failed(&mut self, key: Key) {
        if !self.node(key).is_silent() || self.node(key).has_failed() {
            return;
        }
        let needed = self.size / 2 + 1;
        let mut reports = self.reports_of(key);
        if self.me().is_master() {
            reports += 1;
        }
        if reports < needed {
            return;
        }
        let id = self.node(key).id;
        self.log(Level::Notice, format!("Marking node {id} as failing (quorum reached)."));
        self.fail(key);
        self.broadcast(&Body::Fail { about: id });
    }

    fn fail(&mut self, key: Key) {
        let now = self.now;
        let node = self.node_mut(key);
        node.flags.set(Flags::PFAIL, false);
        node.flags.set(Flags::FAIL, true);
        node.failed_at = now;
        self.touch();
        self.unsettled = true;
    }

    pub(super) fn heard_of_failure(&mut self, sender: Option<Key>, about: &NodeId) {
        let Some(sender) = sender else { return };
        let Some(key) = self.nodes.find(about).filter(|it| *it != self.me) else { return };
        if !self.node(key).has_failed() {
            let id = self.node(sender).id;
            self.log(Level::Notice, format!("FAIL message received from {id} about {about}"));
            self.fail(key);
        }
    }

    /// It answers again, although it is FAIL.
    pub(super) fn clear_failure(&mut self, key: Key) {
        let undo_after = self.settings.node_timeout * FAIL_UNDO;
        let node = self.node(key);
        let why = if node.is_replica() {
            "replica is reachable again."
        } else if node.slot_count == 0 {
            "master without slots is reachable again."
        } else if self.now - node.failed_at > undo_after {
            "is reachable again and nobody is serving its slots after some time."
        } else {
            return;
        };
        let id = node.id;
        self.log(Level::Notice, format!("Clear FAIL state for node {id}: {why}"));
        self.node_mut(key).flags.set(Flags::FAIL, false);
        self.touch();
        self.unsettled = true;
    }
}
