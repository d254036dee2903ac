//! The replies of one connection that wait for other cores, in the order of the requests.
//!
//! A connection whose requests all ran on its own core has no flight: its replies go straight out.
//! As soon as one waits for another core, every later reply queues behind it here.
//!
//! ```text
//!   slots   [ready][waiting][ready][gather]      slot `s` answers request `base + s`
//!   bytes   |.....|        |.......|             replies that are ready, in order of arrival
//! ```
//!
//! Replies of one pipeline leave together: while plain requests of it are under way, what is ready
//! waits for them ([`Flight::holds`]), up to a bound. Each send costs more than a request, and a
//! pipeline that changes cores at every request would be answered by as many segments.
//!
//! **Program order.** Commands of one connection take effect in the order in which they were sent:
//! a request may start while others are under way only if all of those are on the very core that
//! it goes to (a road keeps its order), or if it and all of them only read ([`Flight::admits`]).

use crate::base::limits::{FLIGHT_HELD_BYTES_MAX, SPARE_BYTES_MAX};
use crate::node::gather::Summary;
use std::collections::VecDeque;

/// Where the requests under way are, and whether one of them writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    Nowhere,
    On { core: usize, writes: bool },
    OnSeveral { writes: bool },
}

/// See the file's header.
#[derive(Debug)]
pub struct Flight {
    base: u32,
    slots: VecDeque<Slot>,
    bytes: Vec<u8>,
    /// So many of `bytes` are not sent.
    queued: usize,
    /// So many at the front of `bytes` answer requests from before the first slot.
    ahead: usize,
    waiting: u32,
    away: Away,
    /// Nothing of this connection runs until everything under way is answered.
    barrier: bool,
    /// As `barrier`, until the flight is over: an EXEC goes on by itself.
    piecewise: bool,
    /// Its first request took the client's socket along, and whether anything came after it.
    lent: bool,
    follows: bool,
    /// What is queued may tell of writes up to this ticket (noted only while answers wait for the disk).
    ticket: u64,
}

#[derive(Debug)]
enum Slot {
    Waiting { muted: bool },
    Ready { start: usize, end: usize },
    Gather(Box<Gathering>),
}

/// A split request: its parts come back one by one and become one reply.
#[derive(Debug)]
pub struct Gathering {
    /// How parts become one reply.
    pub combine: Summary,
    /// Reply bytes of each part, in the order in which the parts were sent.
    pub parts: Vec<Option<Vec<u8>>>,
    pub muted: bool,
}

impl Flight {
    #[must_use]
    pub fn new(base: u32) -> Self {
        Self {
            base,
            slots: VecDeque::new(),
            bytes: Vec::new(),
            queued: 0,
            ahead: 0,
            waiting: 0,
            away: Away::Nowhere,
            barrier: false,
            piecewise: false,
            lent: false,
            follows: false,
            ticket: 0,
        }
    }

    /// Its only request took the client's socket along.
    pub fn lend(&mut self) {
        self.lent = true;
    }

    /// Something of the connection will wait behind the request that has its socket, if one has. True the first time.
    pub fn follow(&mut self) -> bool {
        self.lent && !std::mem::replace(&mut self.follows, true)
    }

    /// Does something wait for the socket's return?
    #[must_use]
    pub fn is_followed(&self) -> bool {
        self.follows
    }

    /// What is queued was answered in the turn that this ticket seals.
    pub fn depends_on(&mut self, ticket: u64) {
        self.ticket = ticket;
    }

    /// Is something queued that may tell of a write after `ticket`?
    #[must_use]
    pub fn tells_of_more_than(&self, ticket: u64) -> bool {
        self.queued > 0 && self.ticket > ticket
    }

    /// Replies that were written before this flight began and have not left go before all others.
    pub fn put_ahead(&mut self, replies: &[u8]) {
        debug_assert!(self.bytes.is_empty());
        self.bytes.extend_from_slice(replies);
        self.ahead = replies.len();
        self.queued += replies.len();
    }

    /// Do the replies that are ready wait for those under way? Not where what is under way may take
    /// long, nor where much has come together.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.waiting > 0 && self.is_short()
    }

    /// Is what is queued little, and nothing under way that may take long?
    #[must_use]
    pub fn is_short(&self) -> bool {
        !self.barrier && self.queued < FLIGHT_HELD_BYTES_MAX
    }

    /// May a request for `core` (`None`: several cores) that `writes` start now?
    #[must_use]
    pub fn admits(&self, core: Option<usize>, writes: bool) -> bool {
        if self.barrier {
            return false;
        }
        match self.away {
            Away::Nowhere => true,
            Away::On { core: there, writes: wrote } => core == Some(there) || (!writes && !wrote),
            Away::OnSeveral { writes: wrote } => !writes && !wrote,
        }
    }

    /// Opens a slot for a request that goes to `core` (`None`: several); returns its number.
    pub fn depart(&mut self, core: Option<usize>, writes: bool, muted: bool) -> u32 {
        self.leave(core, writes);
        self.slots.push_back(Slot::Waiting { muted });
        self.last()
    }

    /// Opens a slot for a request that was split.
    pub fn depart_split(&mut self, gathering: Gathering, writes: bool) -> u32 {
        self.leave(None, writes);
        self.slots.push_back(Slot::Gather(Box::new(gathering)));
        self.last()
    }

    /// Lets nothing more start until all is answered: WAIT and its like block the connection.
    pub fn set_barrier(&mut self) {
        self.barrier = true;
    }

    /// As `set_barrier`, and it stays when all is answered, for more is to come.
    pub fn set_piecewise(&mut self) {
        (self.barrier, self.piecewise) = (true, true);
    }

    /// Does whoever made it go on by itself when all is answered?
    #[must_use]
    pub fn is_piecewise(&self) -> bool {
        self.piecewise
    }

    /// Queues the reply of a request that ran here: `write` puts it down.
    pub fn answer_here(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.queued += self.bytes.len() - start;
        self.slots.push_back(Slot::Ready { start, end: self.bytes.len() });
    }

    /// The reply to slot `number` (part `part` of it, where it was split) has come. Returns the
    /// gathering when its last part is in; its combined reply is then given by `answer`.
    pub fn arrive(&mut self, number: u32, part: usize, reply: &[u8]) -> Option<Gathering> {
        let index = number.wrapping_sub(self.base) as usize;
        match self.slots.get_mut(index)? {
            Slot::Waiting { .. } => self.answer(number, reply),
            Slot::Gather(gathering) => {
                *gathering.parts.get_mut(part)? = Some(reply.to_vec());
                if gathering.parts.iter().all(Option::is_some) {
                    let muted = gathering.muted;
                    let done = std::mem::replace(&mut self.slots[index], Slot::Waiting { muted });
                    if let Slot::Gather(gathering) = done {
                        return Some(*gathering);
                    }
                }
            }
            Slot::Ready { .. } => debug_assert!(false, "a slot is answered once"),
        }
        None
    }

    /// Fills slot `number` with its whole reply.
    pub fn answer(&mut self, number: u32, reply: &[u8]) {
        let index = number.wrapping_sub(self.base) as usize;
        let Some(slot @ Slot::Waiting { .. }) = self.slots.get_mut(index) else { return };
        let muted = matches!(slot, Slot::Waiting { muted: true });
        let start = self.bytes.len();
        if !muted {
            self.bytes.extend_from_slice(reply);
        }
        *slot = Slot::Ready { start, end: self.bytes.len() };
        self.queued += self.bytes.len() - start;
        self.waiting -= 1;
        if self.waiting == 0 {
            self.away = Away::Nowhere;
            self.barrier = self.piecewise;
        }
    }

    /// The first bytes of slot `number`'s reply: more of it is to come, and the last by `answer`. `false`
    /// where something before it is not answered.
    pub fn answer_in_part(&mut self, number: u32, part: &[u8]) -> bool {
        let Some(Slot::Waiting { muted }) = self.slots.front() else { return false };
        if number != self.base {
            return false;
        }
        if !muted {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(part);
            self.queued += part.len();
            // In front of the slot, which keeps its number.
            self.slots.push_front(Slot::Ready { start, end: self.bytes.len() });
            self.base = self.base.wrapping_sub(1);
        }
        true
    }

    /// Moves the replies whose turn has come to `out`.
    pub fn emit(&mut self, out: &mut Vec<u8>) {
        let ahead = std::mem::take(&mut self.ahead);
        out.extend_from_slice(&self.bytes[..ahead]);
        self.queued -= ahead;
        while let Some(Slot::Ready { start, end }) = self.slots.front() {
            out.extend_from_slice(&self.bytes[*start..*end]);
            self.queued -= end - start;
            self.slots.pop_front();
            self.base = self.base.wrapping_add(1);
        }
        if self.slots.is_empty() {
            self.bytes.clear();
            self.bytes.shrink_to(SPARE_BYTES_MAX);
        } else if self.bytes.len() > SPARE_BYTES_MAX.max(2 * self.queued) {
            self.compact();
        }
    }

    /// Forgets what was sent (nothing is ahead any more). A client that asks without a pause is never answered everything.
    fn compact(&mut self) {
        let mut bytes = Vec::with_capacity(self.queued);
        for slot in &mut self.slots {
            if let Slot::Ready { start, end } = slot {
                let from = bytes.len();
                bytes.extend_from_slice(&self.bytes[*start..*end]);
                (*start, *end) = (from, bytes.len());
            }
        }
        self.bytes = bytes;
    }

    /// Nothing waits and nothing is queued.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.slots.is_empty()
    }

    /// Is something of it not answered?
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Bytes of replies that wait for their turn.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// What it takes: replies that wait, and the places of those to come.
    #[must_use]
    pub fn memory(&self) -> usize {
        let parts = self.slots.iter().map(|slot| match slot {
            Slot::Gather(it) => {
                it.parts.iter().flatten().map(Vec::len).sum::<usize>() + size_of::<Gathering>()
            }
            Slot::Waiting { .. } | Slot::Ready { .. } => 0,
        });
        let slots = self.slots.len() * size_of::<Slot>();
        size_of::<Self>() + self.queued + slots + parts.sum::<usize>()
    }

    /// Its connection is gone: nobody waits for anything any more.
    pub fn forget(&mut self) {
        self.slots.clear();
        self.bytes.clear();
        (self.queued, self.ahead, self.waiting) = (0, 0, 0);
        (self.lent, self.follows) = (false, false);
    }

    /// Ready for another connection, with its memory kept.
    pub fn reset(&mut self, base: u32) {
        debug_assert!(self.is_over());
        self.base = base;
        self.ticket = 0;
        self.bytes.clear();
        (self.barrier, self.piecewise) = (false, false);
        (self.lent, self.follows) = (false, false);
    }

    /// The number that the next slot will have.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.last().wrapping_add(1)
    }

    fn last(&self) -> u32 {
        let slots = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        self.base.wrapping_add(slots).wrapping_sub(1)
    }

    fn leave(&mut self, core: Option<usize>, writes: bool) {
        self.waiting += 1;
        self.away = match (self.away, core) {
            (Away::Nowhere, Some(core)) => Away::On { core, writes },
            (Away::On { core: there, writes: wrote }, Some(core)) if core == there => {
                Away::On { core, writes: writes || wrote }
            }
            (Away::Nowhere, None) => Away::OnSeveral { writes },
            (Away::On { writes: wrote, .. } | Away::OnSeveral { writes: wrote }, _) => {
                Away::OnSeveral { writes: writes || wrote }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(flight: &mut Flight) -> String {
        let mut out = Vec::new();
        flight.emit(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let mut flight = Flight::new(u32::MAX); // numbers wrap
        let first = flight.depart(Some(1), false, false);
        flight.answer_here(|out| out.extend_from_slice(b"b"));
        let third = flight.depart(Some(1), false, false);
        assert_eq!(emitted(&mut flight), "");
        assert!(flight.arrive(third, 0, b"c").is_none());
        assert_eq!(emitted(&mut flight), "");
        assert!(flight.arrive(first, 0, b"a").is_none());
        assert_eq!(emitted(&mut flight), "abc");
        assert!(flight.is_over());
    }

    #[test]
    fn a_write_waits_for_what_is_under_way_elsewhere() {
        let mut flight = Flight::new(0);
        let read = flight.depart(Some(1), false, false);
        assert!(flight.admits(Some(2), false) && flight.admits(Some(1), true));
        assert!(!flight.admits(Some(2), true) && !flight.admits(None, true));
        flight.answer(read, b"");
        assert!(flight.admits(Some(2), true));
        let write = flight.depart(Some(1), true, false);
        assert!(!flight.admits(Some(2), false), "a read does not pass a write");
        assert!(flight.admits(Some(1), false), "the road to one core keeps its order");
        flight.set_barrier();
        assert!(!flight.admits(Some(1), false));
        flight.answer(write, b"");
        assert!(flight.admits(Some(2), true));
    }

    #[test]
    fn ready_replies_wait_for_the_rest_of_their_pipeline_but_not_for_what_may_take_long() {
        let mut flight = Flight::new(0);
        flight.put_ahead(b"a");
        let away = flight.depart(Some(1), false, false);
        flight.answer_here(|out| out.extend_from_slice(b"c"));
        assert!(flight.holds());
        flight.set_barrier();
        assert!(!flight.holds());
        assert_eq!(emitted(&mut flight), "a");
        flight.answer(away, b"b");
        assert!(!flight.holds());
        assert_eq!(emitted(&mut flight), "bc");
        flight.depart(Some(1), false, false);
        flight.answer_here(|out| out.resize(FLIGHT_HELD_BYTES_MAX, b'x'));
        assert!(!flight.holds(), "much is not kept");
    }

    #[test]
    fn a_split_request_is_whole_when_its_last_part_is_in() {
        let mut flight = Flight::new(5);
        let combine = Summary::Sum;
        let number =
            flight.depart_split(Gathering { combine, parts: vec![None, None], muted: false }, true);
        assert!(flight.arrive(number, 1, b":1\r\n").is_none());
        let done = flight.arrive(number, 0, b":2\r\n").unwrap();
        assert_eq!(done.parts, [Some(b":2\r\n".to_vec()), Some(b":1\r\n".to_vec())]);
        flight.answer(number, b":3\r\n");
        assert_eq!(emitted(&mut flight), ":3\r\n");
    }

    /// One request is always under way, so that the flight never ends.
    #[test]
    fn a_flight_without_end_keeps_nothing_that_was_sent() {
        let mut flight = Flight::new(0);
        let reply = [b'x'; 10_000];
        let mut next = flight.depart(Some(1), false, false);
        for _ in 0..1_000 {
            let last = next;
            flight.answer_here(|out| out.extend_from_slice(&reply));
            next = flight.depart(Some(1), false, false);
            flight.answer(last, &reply);
            assert_eq!(flight.queued_bytes(), 20_000);
            let mut out = Vec::new();
            flight.emit(&mut out);
            assert_eq!(out.len(), 20_000);
            assert_eq!(flight.queued_bytes(), 0);
            assert!(flight.bytes.capacity() <= 2 * SPARE_BYTES_MAX);
        }
    }

    #[test]
    fn a_long_reply_comes_in_parts_when_it_is_its_turn() {
        let mut flight = Flight::new(0);
        let first = flight.depart(Some(1), false, false);
        let long = flight.depart(None, true, false);
        flight.set_barrier();
        assert!(!flight.answer_in_part(long, b"x"));
        flight.answer(first, b"a");
        assert_eq!(emitted(&mut flight), "a");
        assert!(flight.answer_in_part(long, b"b"));
        assert_eq!(emitted(&mut flight), "b");
        assert!(flight.answer_in_part(long, b"c"));
        flight.answer(long, b"d");
        assert_eq!(emitted(&mut flight), "cd");
        assert!(flight.is_over());
    }

    #[test]
    fn a_muted_reply_leaves_nothing() {
        let mut flight = Flight::new(0);
        let number = flight.depart(Some(1), true, true);
        flight.answer(number, b"+OK\r\n");
        assert_eq!(emitted(&mut flight), "");
        assert!(flight.is_over());
    }
}
