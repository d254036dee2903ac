//! A master's side of flows: which bytes of the stream go to a replica by which connection.
//!
//! ```text
//!   stream   [core 1][core 0][core 1][PING][core 2]..      marks: whose batch lies where
//!   lane 0           [core 0]        [PING]                what has no mark, too
//!   lane 1   [core 1]        [core 1]
//!   lane 2                                 [core 2]
//! ```
//!
//! Each byte from where the flows began is some lane's, once. A lane that joins anew gets everything from what its replica has,
//! whosever it is: so its own that were lost come again, and the replica drops what it has already.
//!
//! Invariants: a lane's pieces are in the order of the stream; what is in flight was taken off its queue and is told by
//! `cursor` until it was sent. A queue is bounded: past its bound a stuck lane's bytes go by another.
//!
//! Not here: the bytes, connections and time.

use std::collections::VecDeque;
use std::ops::Range;

use crate::base::limits::{FLOW_FRAME_BYTES_MAX, FLOW_PIECES_MAX, FLOW_SEND_BYTES};
use crate::replication::attached::LinkId;

/// Bytes of the stream that are whole units, whose they are, and in which database the first runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub range: Range<u64>,
    pub lane: usize,
    pub db: u16,
}

/// Bytes that go by one lane; with a database they are whole units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub range: Range<u64>,
    pub db: Option<u16>,
}

/// See the file's header.
#[derive(Debug, Clone)]
pub struct Spread {
    lanes: Vec<Lane>,
    /// Once it is on: bytes before this are some lane's.
    assigned: Option<u64>,
    /// Who got the last of them.
    last: usize,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    link: Option<LinkId>,
    queue: VecDeque<Piece>,
    /// The first byte in flight.
    flying: Option<u64>,
}

impl Spread {
    #[must_use]
    pub fn new(lanes: usize) -> Self {
        assert!(lanes > 0);
        Self { lanes: vec![Lane::default(); lanes], assigned: None, last: 0 }
    }

    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Does the stream go by the lanes?
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.assigned.is_some()
    }

    /// Is there a connection for every lane?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lanes.iter().all(|lane| lane.link.is_some())
    }

    /// Lanes that have a connection.
    pub fn links(&self) -> impl Iterator<Item = LinkId> + '_ {
        self.lanes.iter().filter_map(|lane| lane.link)
    }

    #[must_use]
    pub fn link_of(&self, lane: usize) -> Option<LinkId> {
        self.lanes.get(lane).and_then(|lane| lane.link)
    }

    /// Which lane a connection is.
    #[must_use]
    pub fn lane_of(&self, link: LinkId) -> Option<usize> {
        self.lanes.iter().position(|lane| lane.link == Some(link))
    }

    /// A connection for a lane, whose replica has the stream up to `offset`; the one before it.
    pub fn join(&mut self, lane: usize, link: LinkId, offset: u64) -> Option<LinkId> {
        let assigned = self.assigned;
        let lane = self.lanes.get_mut(lane)?;
        lane.flying = None;
        if let Some(assigned) = assigned {
            lane.queue.clear();
            if offset < assigned {
                lane.queue.push_back(Piece { range: offset..assigned, db: None });
            }
        }
        lane.link.replace(link)
    }

    /// A lane lost its connection: what was in flight may be lost, and what comes next waits. Its replica is known to have
    /// the stream up to `acked`, and will want all from there on.
    pub fn leave(&mut self, link: LinkId, acked: u64) {
        let on = self.is_on();
        if let Some(lane) = self.lane_of(link) {
            let lane = &mut self.lanes[lane];
            let flying = lane.flying.map_or(acked, |at| at.min(acked));
            (lane.link, lane.flying) = (None, on.then_some(flying));
        }
    }

    /// The lanes go on from `at`.
    pub fn begin(&mut self, at: u64) {
        assert!(self.is_complete() && !self.is_on(), "the main link has the stream");
        self.assigned = Some(at);
    }

    /// The stream has grown to `end`.
    pub fn assign(&mut self, marks: &[Mark], end: u64) {
        let Some(mut at) = self.assigned else { return };
        for Mark { range, lane, db } in marks {
            if range.end <= at || range.end > end {
                continue;
            }
            if at < range.start {
                self.give(0, at..range.start, None);
            }
            let db = (at <= range.start).then_some(*db);
            self.give(lane % self.lanes.len(), at.max(range.start)..range.end, db);
            at = range.end;
        }
        if at < end {
            self.give(0, at..end, None);
        }
        self.assigned = Some(end.max(at));
    }

    fn give(&mut self, mut lane: usize, range: Range<u64>, db: Option<u16>) {
        let is_full = |lane: &Lane| lane.queue.len() >= FLOW_PIECES_MAX;
        if is_full(&self.lanes[lane]) {
            let queued = |lane: &usize| self.lanes[*lane].queue.len();
            lane = (0..self.lanes.len()).min_by_key(queued).unwrap_or(lane);
            if is_full(&self.lanes[lane]) {
                lane = self.last; // It ends where this begins, and takes it in.
            }
        }
        let Lane { queue, .. } = &mut self.lanes[lane];
        let full = queue.len() >= FLOW_PIECES_MAX;
        let back = queue.back_mut().filter(|back| back.range.end == range.start);
        match back {
            Some(back) if full => {
                back.range.end = range.end;
                back.db = back.db.filter(|_| db.is_some());
            }
            Some(back)
                if back.db.is_some() == db.is_some()
                    && (db.is_none() || fits(&(back.range.start..range.end))) =>
            {
                back.range.end = range.end;
            }
            _ => queue.push_back(Piece { range, db }),
        }
        self.last = lane;
    }

    /// What a lane sends next: as much as suits, each piece no more than a frame. Nothing while something is in flight.
    pub fn take(&mut self, lane: usize) -> Vec<Piece> {
        let mut taken = Vec::new();
        let Some(lane) = self.lanes.get_mut(lane) else { return taken };
        if lane.link.is_none() || lane.flying.is_some() {
            return taken;
        }
        let mut bytes = 0;
        while bytes < FLOW_SEND_BYTES
            && let Some(front) = lane.queue.front_mut()
        {
            let mut piece = front.clone();
            if fits(&piece.range) {
                lane.queue.pop_front();
            } else {
                piece.range.end = piece.range.start + FLOW_FRAME_BYTES_MAX as u64;
                piece.db = None;
                (front.range.start, front.db) = (piece.range.end, None);
            }
            bytes += piece.range.end - piece.range.start;
            taken.push(piece);
        }
        lane.flying = taken.first().map(|piece| piece.range.start);
        taken
    }

    /// What was taken is sent. False: nothing was.
    pub fn sent(&mut self, lane: usize) -> bool {
        self.lanes.get_mut(lane).and_then(|lane| lane.flying.take()).is_some()
    }

    /// The last of what was taken is not at hand yet; where that is all, nothing is in flight.
    pub fn put_back(&mut self, lane: usize, rest: Vec<Piece>) {
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        if rest.first().map(|piece| piece.range.start) == lane.flying {
            lane.flying = None;
        }
        rest.into_iter().rev().for_each(|piece| lane.queue.push_front(piece));
    }

    /// The first byte that a lane has not sent.
    #[must_use]
    pub fn lane_cursor(&self, lane: usize) -> Option<u64> {
        let lane = self.lanes.get(lane)?;
        lane.flying.or_else(|| lane.queue.front().map(|piece| piece.range.start))
    }

    /// The first byte that some lane has not sent; `None` while it is not on.
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        let first = (0..self.lanes.len()).filter_map(|lane| self.lane_cursor(lane)).min();
        self.assigned.map(|assigned| first.map_or(assigned, |first| first.min(assigned)))
    }
}

fn fits(range: &Range<u64>) -> bool {
    range.end - range.start <= FLOW_FRAME_BYTES_MAX as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(range: Range<u64>, lane: usize) -> Mark {
        Mark { range, lane, db: 0 }
    }

    fn on(lanes: usize, at: u64) -> Spread {
        let mut spread = Spread::new(lanes);
        (0..lanes).for_each(|lane| assert_eq!(spread.join(lane, lane as u64, 0), None));
        spread.begin(at);
        spread
    }

    fn ranges(pieces: &[Piece]) -> Vec<(u64, u64, bool)> {
        pieces.iter().map(|it| (it.range.start, it.range.end, it.db.is_some())).collect()
    }

    #[test]
    fn each_byte_is_some_lanes_once() {
        let mut spread = on(2, 10);
        // Of a batch that the main link has half of, the rest is no whole unit.
        spread.assign(&[mark(5..9, 1), mark(8..12, 1), mark(15..20, 1), mark(20..21, 1)], 30);
        assert_eq!(ranges(&spread.take(1)), [(10, 12, false), (15, 21, true)]);
        assert_eq!(ranges(&spread.take(0)), [(12, 15, false), (21, 30, false)]);
        assert!(spread.take(0).is_empty(), "one send at a time");
        assert_eq!((spread.cursor(), spread.sent(1)), (Some(10), true));
        assert_eq!((spread.cursor(), spread.sent(0), spread.sent(0)), (Some(12), true, false));
        assert_eq!(spread.cursor(), Some(30));
    }

    #[test]
    fn a_lane_that_joins_anew_gets_all_from_there_on() {
        let mut spread = on(2, 0);
        spread.assign(&[mark(0..4, 0), mark(4..8, 1), mark(8..12, 0)], 12);
        let _ = (spread.take(0), spread.take(1), spread.sent(1));
        spread.leave(0, 1);
        assert_eq!(spread.cursor(), Some(0), "what flew may be lost");
        spread.assign(&[mark(12..13, 0)], 13);
        assert!(spread.take(0).is_empty() && !spread.is_complete());
        assert_eq!(spread.join(0, 7, 2), None);
        assert_eq!((spread.lane_of(7), spread.cursor()), (Some(0), Some(2)));
        assert_eq!(ranges(&spread.take(0)), [(2, 13, false)]);
        assert_eq!(spread.join(0, 8, 13), Some(7), "the old one stood on our side");
        assert!(spread.take(0).is_empty());
    }

    #[test]
    fn what_is_not_at_hand_is_taken_again() {
        let mut spread = on(1, 0);
        spread.assign(&[mark(0..4, 0), mark(4..6, 0)], 8);
        let taken = spread.take(0);
        assert_eq!(ranges(&taken), [(0, 6, true), (6, 8, false)]);
        spread.put_back(0, taken[1..].to_vec());
        assert_eq!((spread.cursor(), spread.sent(0), spread.cursor()), (Some(0), true, Some(6)));
        let taken = spread.take(0);
        spread.put_back(0, taken);
        assert_eq!((spread.cursor(), spread.sent(0)), (Some(6), false));
        assert_eq!(ranges(&spread.take(0)), [(6, 8, false)]);
    }

    #[test]
    fn large_pieces_are_cut_and_queues_are_bounded() {
        let frame = FLOW_FRAME_BYTES_MAX as u64;
        let mut spread = on(1, 0);
        spread.assign(&[mark(0..2 * frame + 1, 0)], 2 * frame + 1);
        let taken = spread.take(0);
        let cut = [(0, frame, false), (frame, 2 * frame, false), (2 * frame, 2 * frame + 1, false)];
        let shown = ranges(&taken);
        assert!(cut.starts_with(&shown) && !shown.is_empty());

        let mut spread = on(2, 0);
        let end = 20 * FLOW_PIECES_MAX as u64;
        for at in 0..end {
            // Each piece for itself: single bytes of units, and bytes of none between.
            let marks = [mark(2 * at..2 * at + 1, (at % 2) as usize)];
            spread.assign(&marks, 2 * at + 2);
        }
        assert!(spread.lanes.iter().all(|it| it.queue.len() <= FLOW_PIECES_MAX + 1));
        let all = spread.lanes.iter().flat_map(|it| &it.queue);
        assert_eq!(all.map(|it| it.range.end - it.range.start).sum::<u64>(), 2 * end);
    }
}
