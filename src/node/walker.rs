//! A core's part in a snapshot: the walk over its shard, in slices between requests.
//!
//! The walk begins at the cut and gives chunks to core 0, a few at a time: core 0 says when one was
//! consumed. So a slow disk or replica slows the walk and not the memory, and a writer that meets a
//! record not yet walked hands the old one over and goes on. When much was handed over, the
//! slices grow.

use crate::base::limits::{WALK_CHUNKS_MAX, WALK_POOL_BYTES, WALK_RECORDS_PER_TURN};
use crate::engine::walk::Walk;
use crate::node::core::Core;
use crate::node::message::Message;
use crate::node::outbox::Outbox;
use crate::snapshot::cut::{Cut, Record, RecordValue};

/// The walk under way, if there is one.
#[derive(Default)]
pub struct Walker {
    cut: Option<Cut>,
    /// The keyspace has been walked to its end; what is left is in `cut`.
    walked: bool,
    /// Chunks sent that core 0 has not consumed.
    unconsumed: usize,
}

impl std::fmt::Debug for Walker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Walker {{ active: {}, .. }}", self.cut.is_some())
    }
}

impl Walker {
    /// Would a turn get something done without any input?
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.cut.is_some() && self.unconsumed < WALK_CHUNKS_MAX
    }

    pub fn begin(&mut self, cut: Cut) {
        self.cut = Some(cut);
        self.walked = false;
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
        let Some(mut cut) = self.walker.cut.take() else { return };
        let pressed = self.keyspace.pool_bytes() / WALK_POOL_BYTES;
        let budget = WALK_RECORDS_PER_TURN * (1 + pressed);
        let mut keys = 0;
        if !self.walker.walked {
            let walk = self.keyspace.walk(budget, &mut |record| {
                keys += 1;
                let value = match (record.value.object(), record.value.encoding()) {
                    (Some(object), _) => RecordValue::Object(object.clone()),
                    (None, encoding) if !encoding.is_string() => {
                        RecordValue::Packed(encoding, record.value.bytes())
                    }
                    _ => match record.value.shared() {
                        Some(value) => RecordValue::Shared(value),
                        None => RecordValue::String(record.value.bytes()),
                    },
                };
                let (db, key, expiry_ms) = (record.db, record.key, record.expiry);
                cut.add(&Record { db, key, value, expiry_ms });
            });
            if walk == Walk::Done {
                self.walker.walked = true;
                cut.finish();
            }
        }
        let mut last = false;
        while self.walker.unconsumed < WALK_CHUNKS_MAX && !last {
            let chunk = cut.take();
            last = chunk.is_none() && self.walker.walked;
            if chunk.is_none() && !last && keys == 0 {
                break;
            }
            let none = chunk.is_none();
            self.walker.unconsumed += usize::from(!none);
            let message = Message::Chunk { chunk, last, keys: std::mem::take(&mut keys) };
            if self.id == 0 {
                self.message(0, message, out);
            } else {
                out.mail[0].push(message);
            }
            if none {
                break;
            }
        }
        if !last {
            self.walker.cut = Some(cut);
        }
    }

    /// Nobody wants the snapshot any more.
    pub(super) fn abandon_walk(&mut self) {
        if self.walker.cut.take().is_some() {
            self.keyspace.abandon_walk();
        }
    }
}
