//! Keyspace notifications on their way to whoever listens on any core.
//!
//! A notice becomes a message of the channel of its key, of its event, or of both, like any other message
//! (`publish.rs`), when the command that caused it is over: so those of one key are heard in their order.
//!
//! A core that feeds listeners of another core waits for room on the road before it takes a further
//! write (`may_notify`), as PUBLISH does.

use crate::base::num::write_i64;
use crate::engine::notices::Notice;
use crate::node::core::Core;
use crate::node::outbox::Conn;
use crate::node::pubsub::Topic;

/// The channel of a notice: `__keyspace@0__:key` or `__keyevent@0__:event`.
fn channel(kind: &str, db: usize, name: &[u8]) -> Vec<u8> {
    let mut channel = Vec::with_capacity(kind.len() + name.len() + 8);
    channel.extend_from_slice(kind.as_bytes());
    write_i64(&mut channel, i64::try_from(db).unwrap_or(0));
    channel.extend_from_slice(b"__:");
    channel.extend_from_slice(name);
    channel
}

impl Core {
    /// Tells what happened to keys since this was last done.
    #[cold]
    pub(super) fn tell_notices(&mut self) {
        if self.keyspace.has_changed() {
            self.tell_changes();
        }
        let notices = self.keyspace.take_notices();
        for Notice { db, event, key } in notices.iter() {
            let event = event.as_bytes();
            if self.view.notices.by_key {
                self.broadcast(Topic::Channel, &channel("__keyspace@", db, key), event);
            }
            if self.view.notices.by_event {
                self.broadcast(Topic::Channel, &channel("__keyevent@", db, event), key);
            }
        }
        self.keyspace.reuse_notices(notices);
    }

    /// Is there room on the roads to all who may hear of what a client is about to do?
    #[inline]
    pub(super) fn may_notify(&mut self, conn: Conn) -> bool {
        !self.view.notices.is_any() || self.cores == 1 || self.may_publish(conn)
    }
}
