//! Requests that are sent once more, since who was asked does not serve them (any more, or yet).
//!
//! Behind a refused request others may be in flight on the same connection, some of which are answered well: the server
//! had changed its mind. Were the refused one sent again then, it would overtake them. So nothing more is sent until all
//! replies are in, and then everything from the refused request on goes again in its order, to whoever serves by then.
//! Until it is answered there nothing of it counts as acknowledged.
//!
//! ```text
//!   refused -> draining -> MOVED: dial that one   ASK: that one answers one request   else: a pause, then dial
//! ```

use crate::client::{Action, Clients, State, Timer};
use crate::failure::Failure;
use crate::places::Refusal;
use crate::plan::Kind;
use crate::scan::Scanned;
use std::collections::{BTreeMap, VecDeque};
use std::io;

/// Before who was refused asks again.
const PAUSE_NS: u64 = 20_000_000;

/// What is to be sent once more, by client.
#[derive(Debug, Default)]
pub(crate) struct Again {
    all: BTreeMap<u32, Late>,
    /// When clients were sent elsewhere last: two servers may each name the other.
    moved: BTreeMap<u32, u64>,
}

#[derive(Debug)]
struct Late {
    why: Refusal,
    /// While draining: the number of the refused request, and when it and those behind it were to leave first.
    draining: Option<(u64, VecDeque<u64>)>,
    /// When each was to leave first that waits to be sent again, in the order of their numbers.
    since: VecDeque<u64>,
}

impl Again {
    pub fn has(&self, index: u32) -> bool {
        self.all.contains_key(&index)
    }

    pub fn is_draining(&self, index: u32) -> bool {
        self.all.get(&index).is_some_and(|it| it.draining.is_some())
    }

    /// All replies are in, or will never be: the number of the request to go on with.
    pub fn end_drain(&mut self, index: u32) -> Option<u64> {
        let late = self.all.get_mut(&index)?;
        let (from, mut since) = late.draining.take()?;
        since.append(&mut late.since);
        late.since = since;
        Some(from)
    }
}

impl Clients {
    /// Takes out of these replies what was refused, and what came behind a refusal. The rest, if there is any.
    pub(crate) fn take_refused<'b>(
        &mut self,
        index: u32,
        mut scanned: Scanned<'b>,
        now: u64,
    ) -> Result<Option<Scanned<'b>>, Failure> {
        let row = &self.rows[index as usize];
        let requests = self.groups[usize::from(row.group)].kind == Kind::Requests;
        if self.places.is_none() || !requests {
            return Ok(Some(scanned));
        }
        if self.again.is_draining(index) {
            if let Some(line) = scanned.error.filter(|it| Refusal::of(it).is_some()) {
                self.tally.refused(&line);
            }
            self.take_back(index, scanned.replies);
            return Ok(None);
        }
        let Some(why) = scanned.error.as_deref().and_then(Refusal::of) else {
            return Ok(Some(scanned));
        };
        if let Some(line) = scanned.error.take() {
            self.tally.refused(&line);
        }
        scanned.replies -= 1;
        self.settle_answered(index, scanned, now)?;
        let row = &self.rows[index as usize];
        let from = row.next - u64::from(row.in_flight);
        let late = self.again.all.entry(index);
        let none = || Late { why, draining: None, since: VecDeque::new() };
        let late = late.or_insert_with(none);
        (late.why, late.draining) = (why, Some((from, VecDeque::new())));
        self.take_back(index, 1);
        Ok(None)
    }

    /// The oldest of a client's requests in flight are to be sent again.
    fn take_back(&mut self, index: u32, count: u32) {
        let row = &mut self.rows[index as usize];
        for _ in 0..count {
            let Some(run) = self.runs.front_mut(row.runs) else { break };
            let since = run.since;
            run.count -= 1;
            if run.count == 0 {
                self.runs.pop(&mut row.runs);
            }
            if self.tally.ledger.is_some() {
                self.writes.pop(&mut row.writes);
            }
            row.in_flight -= 1;
            self.in_flight -= 1;
            self.waiting += 1;
            let late = self.again.all.get_mut(&index).and_then(|it| it.draining.as_mut());
            late.into_iter().for_each(|it| it.1.push_back(since));
        }
    }

    /// All replies are in: goes where it was sent, or asks again after a pause.
    pub(crate) fn turn_back(&mut self, index: u32, now: u64) {
        let Some(from) = self.again.end_drain(index) else { return };
        self.rows[index as usize].next = from;
        let (connection, reads) = (self.connection(index), self.reads(index));
        let Some(why) = self.again.all.get(&index).map(|it| it.why) else { return };
        let before = self.again.moved.insert(index, now).unwrap_or(0);
        let at_once = before == 0 || now.saturating_sub(before) > PAUSE_NS;
        match why {
            Refusal::Ask(server) => {
                let mut bytes = Vec::new();
                self.send_one_again(index, now, &mut bytes);
                self.rows[index as usize].state = State::Asking;
                self.comings.actions.push_back(Action::AskThere(index, server, bytes));
            }
            Refusal::Moved(server) if at_once && !reads => {
                self.places.iter().for_each(|it| it.moved(connection, server));
                self.cut(index);
                self.dial(index, now);
            }
            Refusal::Moved(_) | Refusal::Later => {
                self.places.iter().for_each(|it| it.doubt());
                self.cut(index);
                self.comings.wheel.add(now + PAUSE_NS, Timer::Dial(index));
            }
        }
    }

    fn reads(&self, index: u32) -> bool {
        self.groups[usize::from(self.rows[index as usize].group)].reads
    }

    /// What another server answered as an exception.
    pub fn asked(
        &mut self,
        index: u32,
        reply: io::Result<Vec<u8>>,
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if self.rows[index as usize].state != State::Asking {
            return Ok(());
        }
        self.rows[index as usize].state = State::Up;
        match reply {
            Ok(bytes) => self.received(index, &bytes, now, out),
            // Whether it was done nobody knows.
            Err(_) => self.gone(index, now),
        }
    }

    /// Sends again what waits for that. May new requests be sent behind it?
    pub(crate) fn send_again(&mut self, index: u32, now: u64, out: &mut Vec<u8>) -> bool {
        if !self.again.has(index) {
            return true;
        }
        if self.again.is_draining(index) {
            return false;
        }
        let pipeline = self.groups[usize::from(self.rows[index as usize].group)].pipeline;
        while self.rows[index as usize].in_flight < pipeline {
            if !self.send_one_again(index, now, out) {
                self.again.all.remove(&index);
                return true;
            }
        }
        false
    }

    fn send_one_again(&mut self, index: u32, now: u64, out: &mut Vec<u8>) -> bool {
        let late = self.again.all.get_mut(&index);
        let Some(since) = late.and_then(|it| it.since.pop_front()) else { return false };
        self.waiting -= 1;
        self.in_flight += 1;
        self.request(index, 1, since, now, out);
        true
    }

    /// The server of client `index` has lost its role: nothing more is expected of it.
    pub fn depart(&mut self, index: u32, now: u64) {
        if self.rows[index as usize].state != State::Away {
            self.cut(index);
            self.dial(index, now);
        }
    }
}
