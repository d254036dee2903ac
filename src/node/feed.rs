//! What is being sent to each attached replica: words of the handshake, a snapshot, the ring.
//!
//! A feed is an ordered queue of bytes and, behind it, a cursor into the ring. The runtime asks for
//! the next bytes, sends what fits *before* any reply of the same turn leaves, and says how much
//! that was. Ring bytes are sent from where they lie.

use crate::node::outbox::Conn;
use crate::replication::ring::Ring;
use bytes::Bytes;
use std::collections::VecDeque;

/// One replica's outgoing bytes.
#[derive(Debug)]
pub struct Feed {
    pub conn: Conn,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// Send of the ring from here on.
    ring_from: Option<u64>,
    /// It is a flow: its queue has frames, and it says when they are sent.
    pub flow: bool,
    /// Bytes of the queue that belong to a snapshot that has wholly been queued.
    pub snapshot: SnapshotPart,
}

/// How far a snapshot is in a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotPart {
    None,
    /// More chunks come.
    Growing,
    /// The last of it is in the queue.
    Queued,
}

/// What was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// Words or snapshot bytes; `snapshot_done`: the last of it.
    Queue {
        snapshot_done: bool,
    },
    /// Bytes of the ring.
    Ring(usize),
    Nothing,
}

impl Feed {
    #[must_use]
    pub fn new(conn: Conn) -> Self {
        Self {
            conn,
            queue: VecDeque::new(),
            queued: 0,
            ring_from: None,
            flow: false,
            snapshot: SnapshotPart::None,
        }
    }

    /// Queues bytes behind what waits already.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    /// Go on with the ring from `offset` when the queue is empty.
    pub fn follow_ring(&mut self, offset: u64) {
        self.ring_from = Some(offset);
    }

    /// The ring is no more sent by this one.
    pub fn leave_ring(&mut self) {
        self.ring_from = None;
    }

    /// Bytes that wait in the queue (the ring's do not count: they are there anyway).
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Up to which byte of the ring its replica was sent; `None` while other bytes go before.
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        self.ring_from.filter(|_| self.queue.is_empty())
    }

    /// What to send next; empty if there is nothing.
    #[must_use]
    pub fn next<'a>(&'a self, ring: Option<&'a Ring>) -> &'a [u8] {
        match (self.queue.front(), self.ring_from, ring) {
            (Some(front), ..) => front,
            (None, Some(from), Some(ring)) if from < ring.end() => ring.read(from),
            _ => &[],
        }
    }

    /// So many bytes of `next` were sent.
    pub fn sent(&mut self, bytes: usize) -> Fed {
        let Some(front) = self.queue.front_mut() else {
            return match self.ring_from.as_mut() {
                Some(from) if bytes > 0 => {
                    *from += bytes as u64;
                    Fed::Ring(bytes)
                }
                _ => Fed::Nothing,
            };
        };
        let bytes = bytes.min(front.len());
        self.queued -= bytes;
        drop(front.split_to(bytes));
        if front.is_empty() {
            self.queue.pop_front();
        }
        let done = self.queue.is_empty() && self.snapshot == SnapshotPart::Queued;
        if done {
            self.snapshot = SnapshotPart::None;
        }
        Fed::Queue { snapshot_done: done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_goes_before_the_ring_and_both_resume_where_they_stopped() {
        let mut ring = Ring::new(10);
        ring.append(b"stream");
        let mut feed = Feed::new(Conn(1));
        feed.follow_ring(12);
        feed.push(Bytes::from_static(b"+CONTINUE\r\n"));
        assert_eq!(feed.sent(4), Fed::Queue { snapshot_done: false });
        assert_eq!(feed.next(Some(&ring)), b"TINUE\r\n");
        assert_eq!((feed.sent(7), feed.queued_bytes()), (Fed::Queue { snapshot_done: false }, 0));
        assert_eq!(feed.next(Some(&ring)), b"ream");
        assert_eq!(feed.sent(3), Fed::Ring(3));
        assert_eq!(feed.next(Some(&ring)), b"m");
        assert_eq!((feed.sent(1), feed.next(Some(&ring))), (Fed::Ring(1), &[][..]));
    }

    #[test]
    fn the_last_byte_of_a_snapshot_is_told() {
        let mut feed = Feed::new(Conn(1));
        feed.snapshot = SnapshotPart::Growing;
        feed.push(Bytes::from_static(b"ab"));
        assert_eq!(feed.sent(2), Fed::Queue { snapshot_done: false });
        feed.push(Bytes::from_static(b"c"));
        feed.snapshot = SnapshotPart::Queued;
        assert_eq!(feed.sent(1), Fed::Queue { snapshot_done: true });
        assert_eq!(feed.sent(0), Fed::Nothing);
    }
}
