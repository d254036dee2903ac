//! What a checker from outside may see of a core: the simulator asks after every turn.
//!
//! Nothing here changes anything, and nothing in the server depends on it.

use crate::node::core::Core;
use crate::node::outbox::Conn;
use crate::replication::psync::{FullReason, Replid};
use std::ops::Range;

/// A node's replication at one instant, as core 0 knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    pub replid: Replid,
    /// The history before, and its length when this node left it.
    pub second: Option<(Replid, u64)>,
    /// The bytes in the ring.
    pub held: Option<Range<u64>>,
    pub is_master: bool,
    /// A replica's: the stream flows.
    pub linked: bool,
    /// A replica's data is a prefix of the history.
    pub has_data: bool,
    /// How long the prefix is that a replica executes, and of which it is known to be executed.
    pub applied: u64,
    pub executed: u64,
    /// Nothing of the stream, of a load or of a section is under way.
    pub at_rest: bool,
    /// Bytes that wait for an earlier ticket, and snapshot bytes that wait in feeds.
    pub merging_bytes: usize,
    pub feed_bytes: usize,
    pub fulls: Vec<(FullReason, u64)>,
    /// The append-only file has all of the data.
    pub files_whole: bool,
}

impl Core {
    /// Core 0's view of the node's replication; `None` on other cores.
    #[must_use]
    pub fn observe(&self) -> Option<Observation> {
        let control = self.control.as_ref()?;
        let following = &control.following;
        let status = following.replica.status(self.now.mono);
        let is_master = following.master.is_none();
        let merging_bytes = control.merger.waiting_bytes();
        Some(Observation {
            replid: control.history.replid,
            second: control.history.second,
            held: control.ring.as_ref().map(crate::replication::ring::Ring::held),
            is_master,
            linked: status.up,
            has_data: following.replica.has_data(),
            applied: following.applied_offset(),
            executed: status.applied,
            at_rest: following.is_at_rest() && control.sections.is_idle() && merging_bytes == 0,
            merging_bytes,
            feed_bytes: control.feeds.iter().map(crate::node::feed::Feed::queued_bytes).sum(),
            fulls: control.reasons.clone(),
            files_whole: control.aof.synced().is_some(),
        })
    }

    /// The replicas that are sent the ring, and up to which byte each was.
    #[must_use]
    pub fn cursors(&self) -> Vec<(Conn, u64)> {
        let Some(control) = &self.control else { return Vec::new() };
        control.feeds.iter().filter_map(|feed| Some((feed.conn, feed.cursor()?))).collect()
    }

    /// The ring's bytes from `offset` on, as far as they lie in one piece.
    #[must_use]
    pub fn ring_bytes(&self, offset: u64) -> &[u8] {
        let ring = self.control.as_ref().and_then(|control| control.ring.as_ref());
        ring.map_or(&[], |ring| ring.read(offset))
    }

    /// Turns whose answers wait for the stream.
    #[must_use]
    pub fn held_turns(&self) -> usize {
        self.roads.held_turns()
    }

    /// No transaction over several cores has anything of this core, or is begun by it.
    #[must_use]
    pub fn transactions_at_rest(&self) -> bool {
        self.tx.is_at_rest()
    }

    /// Connections that have a session here.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.sessions.len()
    }
}
