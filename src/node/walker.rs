//! A core's part in a snapshot: the walk over its shard, in slices between requests.
//!
//! The walk begins at the cut and gives chunks to core 0, a few at a time: core 0 says when one was
//! consumed. So a slow disk or replica slows the walk and not the memory, and a writer that meets a
//! record not yet walked hands the old one over and goes on. When much was handed over, the
//! slices grow.

use crate::base::limits::{WALK_CHUNKS_MAX, WALK_POOL_BYTES, WALK_RECORDS_PER_TURN};
use crate::node::core::Core;
use crate::node::message::Message;
use crate::node::outbox::Outbox;
use crate::snapshot::cut::Walk;

/// The walk under way, if there is one.
#[derive(Debug, Default)]
pub struct Walker {
    walk: Option<Walk>,
    /// Chunks sent that core 0 has not consumed.
    unconsumed: usize,
}

impl Walker {
    /// Would a turn get something done without any input?
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.walk.is_some() && self.unconsumed < WALK_CHUNKS_MAX
    }

    pub fn begin(&mut self, walk: Walk) {
        self.walk = Some(walk);
        self.unconsumed = 0;
    }

    pub fn taken(&mut self) {
        self.unconsumed = self.unconsumed.saturating_sub(1);
    }
}

impl Core {
    /// One slice of the walk.
    pub(super) fn walk_some(&mut self, out: &mut Outbox) {
        if !self.walker.has_work() {
            return;
        }
        let Some(walk) = self.walker.walk.as_mut() else { return };
        let pressed = self.keyspace.pool_bytes() / WALK_POOL_BYTES;
        let budget = WALK_RECORDS_PER_TURN * (1 + pressed);
        let Some(chunk) = walk.step(&mut self.keyspace, budget) else { return };
        let last = chunk.last;
        self.walker.unconsumed += 1;
        if last {
            self.walker.walk = None;
        }
        let message =
            Message::Chunk { bytes: chunk.bytes, crc: chunk.crc, last, keys: chunk.keys };
        if self.id == 0 {
            self.message(0, message, out);
        } else {
            out.mail[0].push(message);
        }
    }

    /// Nobody wants the snapshot any more.
    pub(super) fn abandon_walk(&mut self) {
        if self.walker.walk.take().is_some() {
            self.keyspace.abandon_walk();
        }
    }
}
