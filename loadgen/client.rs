//! The clients of one thread: where each is in its life, what it has in flight, what it sends next,
//! how long replies took.
//!
//! ```text
//!   Away -> Dialing -> Greeting -> Up -> Leaving        `comings.rs` has the ways between them
//!     ^________________________________|
//! ```
//!
//! No socket and no clock: the driver hands in what happened and the time, sends what is put into
//! its buffer, and does what [`Clients::next_action`] says. Times are nanoseconds from the run's
//! start.
//!
//! Latency counts from the *planned* time of an open loop's request and from the moment a closed
//! loop's batch was handed to the driver. Slots that found their connection free are measured a
//! second time: how late this program itself was (the scheduling error). Slots that found the
//! connection at its pipeline limit, or away, wait their turn and are counted as held: they are late
//! through the server, and their latency says so.
//!
//! What is in flight on a connection is a queue of runs: neighbours with one time and one command.
//! So a closed loop's batch is one entry, and its replies are recorded with one addition.
//!
//! Invariant: a client costs one [`Row`]; what it has in flight lies in slabs that all share.

use crate::again::Again;
use crate::draw::{Draw, nanoseconds, to_usize};
use crate::failure::Failure;
use crate::fifo::{Fifo, Fifos};
use crate::ledger::Ledger;
use crate::pace::Pacer;
use crate::places::Places;
use crate::plan::{Kind, Pace, Plan};
use crate::scan::{Scanned, Scanner};
use crate::series::Interval;
use crate::source::{Expected, Source};
use crate::stamps;
use crate::tally::Tally;
use crate::wheel::Wheel;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

/// Slots that may wait for their connections. Beyond it the schedule itself waits: nothing is
/// skipped, and nothing grows.
const WAITING_MAX: u64 = 1 << 20;

/// All clients of one thread.
pub struct Clients {
    pub(crate) rows: Vec<Row>,
    pub(crate) groups: Vec<Group>,
    pub(crate) runs: Fifos<Run>,
    slots: Fifos<u64>,
    /// Key and number of each write in flight, for the ledger.
    pub(crate) writes: Fifos<Option<(u64, u64)>>,
    /// Where several servers serve: who does.
    pub(crate) places: Option<Arc<Places>>,
    /// What is to be sent once more.
    pub(crate) again: Again,
    /// Beginnings of torn stamps.
    carries: BTreeMap<u32, Vec<u8>>,
    /// Rows that have something to send.
    touched: Vec<u32>,
    pub(crate) comings: Comings,
    seed: u64,
    pub(crate) started: bool,
    warm_up_end: u64,
    pub(crate) end: u64,
    pub(crate) in_flight: u64,
    pub(crate) waiting: u64,
    /// Closed loops' requests still to send; what the end of time leaves over is not sent.
    left: u64,
    /// Some clients just hold on until the end.
    lasts: bool,
    /// Slots planned before this were held back by [`WAITING_MAX`].
    blocked_until: u64,
    /// Slots handed to the driver since the last [`Self::flushed`].
    on_time: Vec<u64>,
    pub tally: Tally,
    pub interval: Interval,
}

/// What concerns coming and going; its code is in `comings.rs`.
#[derive(Default)]
pub(crate) struct Comings {
    pub actions: VecDeque<Action>,
    pub introduction: (Vec<u8>, u8),
    /// Of clients that dial replicas.
    pub reads: (Vec<u8>, u8),
    pub reconnect: bool,
    /// Rows up to here have been told to dial before the start.
    pub dialed: u32,
    pub connect_pace: Option<Pacer>,
    /// First dials that wait for fewer to be under way.
    pub queue: VecDeque<(u32, u64)>,
    pub dials_max: u32,
    pub dialing: u32,
    pub up: u32,
    pub wheel: Wheel<Timer>,
    pub churn: Option<Pacer>,
    pub churn_next: u32,
    /// Storms to come, the last one first: time, who is in it.
    pub storms: Vec<(u64, Vec<u32>)>,
    pub lost_dials: u64,
}

impl Comings {
    pub fn introduction_of(&self, reads: bool) -> &(Vec<u8>, u8) {
        if reads { &self.reads } else { &self.introduction }
    }
}

/// What the driver shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Dial(u32),
    Close(u32),
    /// Have that server answer this request of a client, as an exception.
    AskThere(u32, SocketAddr, Vec<u8>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    Dial(u32),
    Think(u32),
}

pub(crate) struct Group {
    first: u64,
    /// Its first row on this thread; the others follow.
    from: u32,
    source: Source,
    pub pipeline: u32,
    pub kind: Kind,
    /// Its clients dial replicas.
    pub reads: bool,
    think_ns: u64,
    /// None: a closed loop.
    pacer: Option<Pacer>,
    /// What each connection sends at most, and how many of the first ones send one more.
    quota: u64,
    extra: u64,
}

pub(crate) struct Row {
    /// The next request's number on this connection.
    pub next: u64,
    pub runs: Fifo,
    waiting: Fifo,
    pub writes: Fifo,
    pub scanner: Scanner,
    connection: u32,
    pub in_flight: u32,
    pub group: u16,
    pub state: State,
    /// Replies to the introduction still to come.
    pub greetings: u8,
    touched: bool,
    /// It has been connected before.
    pub again: bool,
}

/// Where a client is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Away,
    Dialing,
    Greeting,
    Up,
    /// Another server has its one request in flight.
    Asking,
    /// It sends no more, and goes when its replies are in.
    Leaving,
}

/// Requests in flight; of a client that is not up yet, the time at which it was to dial.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub since: u64,
    sent: u64,
    pub count: u32,
    kind: u16,
    expected: Expected,
}

impl Clients {
    /// The clients of `thread`, in the order of their connections.
    pub fn new(plan: &Plan, thread: u32) -> Result<Self, String> {
        let (mut rows, mut groups) = (Vec::new(), Vec::new());
        let threads = u64::from(plan.threads);
        let mut first = 0u64;
        for (index, (group, source)) in plan.groups.iter().zip(Source::all(plan)?).enumerate() {
            let connections = u64::from(group.connections);
            let own = (first..first + connections).filter(|it| it % threads == u64::from(thread));
            let from = narrow(rows.len());
            rows.extend(own.map(|connection| Row::new(connection, index)));
            let to = narrow(rows.len());
            let mut group = Group {
                first,
                from,
                source,
                pipeline: group.pipeline,
                kind: group.kind,
                reads: plan.reads_replicas(group),
                think_ns: nanoseconds(group.think_seconds),
                pacer: None,
                quota: group.requests.map_or(u64::MAX, |it| it / connections),
                extra: group.requests.map_or(0, |it| it % connections),
            };
            let own = &rows[from as usize..to as usize];
            let quota = own.iter().map(|row: &Row| group.quota_of(row.connection));
            let quota = quota.fold(0, u64::saturating_add);
            group.pacer = pacer(plan, index, thread, to - from, quota);
            groups.push(group);
            first += connections;
        }
        rows.shrink_to_fit();
        let closed = |row: &&Row| groups[usize::from(row.group)].is_closed();
        let quota = |row: &Row| groups[usize::from(row.group)].quota_of(row.connection);
        let left = rows.iter().filter(closed).map(quota).fold(0, u64::saturating_add);
        let keys = plan.groups.iter().map(|group| group.keys).max().unwrap_or(0);
        let tally = Tally {
            latencies: vec![Default::default(); plan.kinds().len()],
            ledger: plan.verify.then(|| Ledger::new(keys)),
            ..Tally::default()
        };
        let mut clients = Self {
            lasts: plan.groups.iter().any(|it| it.kind != Kind::Requests),
            rows,
            groups,
            runs: Fifos::default(),
            slots: Fifos::default(),
            writes: Fifos::default(),
            places: None,
            again: Again::default(),
            carries: BTreeMap::new(),
            touched: Vec::new(),
            comings: Comings::default(),
            seed: plan.seed,
            started: false,
            warm_up_end: nanoseconds(plan.warm_up_seconds),
            end: nanoseconds(plan.warm_up_seconds + plan.seconds),
            in_flight: 0,
            waiting: 0,
            left,
            blocked_until: 0,
            on_time: Vec::new(),
            tally,
            interval: Interval::default(),
        };
        clients.expect_comings(plan, thread);
        Ok(clients)
    }

    /// How many clients there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// The global number of client `index`.
    #[must_use]
    pub fn connection(&self, index: u32) -> u64 {
        self.rows.get(index as usize).map_or(0, |row| u64::from(row.connection))
    }

    #[must_use]
    pub fn is_started(&self) -> bool {
        self.started
    }

    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Whether somebody waits for the server: for a reply, or to be connected and send.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.in_flight > 0 || self.waiting > 0 || self.comings.dialing > 0
    }

    /// Whether everything planned was sent and answered.
    #[must_use]
    pub fn is_done(&self, now: u64) -> bool {
        self.in_flight == 0
            && self.waiting == 0
            && ((self.left == 0 && !self.lasts) || now >= self.end)
            && self.next_slot().is_none()
    }

    /// When the next slot is due.
    #[must_use]
    pub fn next_slot(&self) -> Option<u64> {
        let slots = self.groups.iter().filter_map(|group| group.pacer.as_ref()?.peek());
        slots.map(|slot| slot.at).min()
    }

    /// From here on clients send: those that are there at once.
    pub fn start(&mut self, now: u64) {
        self.started = true;
        if self.comings.wheel.next().is_none() {
            // Its time was that of connecting; the run's begins at 0.
            self.comings.wheel = Wheel::default();
        }
        for index in 0..narrow(self.rows.len()) {
            let row = &self.rows[index as usize];
            if row.state == State::Up && self.groups[usize::from(row.group)].is_closed() {
                self.think(index, now);
            }
        }
    }

    /// Hands all slots whose time has come to their connections; [`Self::next_touched`] names
    /// those that can send.
    pub fn tick(&mut self, now: u64) {
        for group in &mut self.groups {
            let Some(pacer) = &mut group.pacer else { continue };
            while self.waiting < WAITING_MAX
                && let Some(slot) = pacer.due(now)
            {
                let index = group.from + slot.connection;
                let row = &mut self.rows[index as usize];
                self.slots.push(&mut row.waiting, slot.at);
                self.waiting += 1;
                if !row.touched && row.in_flight < group.pipeline && row.state == State::Up {
                    row.touched = true;
                    self.touched.push(index);
                }
            }
        }
        if self.waiting >= WAITING_MAX {
            self.blocked_until = now;
        }
    }

    /// A client that has something to send, once.
    pub fn next_touched(&mut self) -> Option<u32> {
        let index = self.touched.pop()?;
        self.rows[index as usize].touched = false;
        Some(index)
    }

    pub(crate) fn touch(&mut self, index: u32) {
        let row = &mut self.rows[index as usize];
        if !row.touched {
            row.touched = true;
            self.touched.push(index);
        }
    }

    /// Lets a closed loop's client send: now, or after its pause.
    pub(crate) fn think(&mut self, index: u32, now: u64) {
        let row = &self.rows[index as usize];
        let think_ns = self.groups[usize::from(row.group)].think_ns;
        if think_ns == 0 {
            return self.touch(index);
        }
        let stream = Draw::stream(self.seed, u64::from(row.connection));
        let unit = Draw::new(stream ^ 0x7417_4b3d, row.next).unit();
        // Exponential, as of people that do not know of each other.
        let pause = (-(1.0 - unit).ln() * think_ns as f64).min(86_400e9);
        #[expect(clippy::cast_possible_truncation, reason = "at most a day")]
        self.comings.wheel.add(now + pause as u64, Timer::Think(index));
    }

    /// Puts what client `index` may send now into `out`; `scheduled` says that it was free to send
    /// when its slot came.
    pub fn fill(&mut self, index: u32, now: u64, scheduled: bool, out: &mut Vec<u8>) {
        if self.rows[index as usize].state != State::Up || !self.send_again(index, now, out) {
            return;
        }
        let row = &self.rows[index as usize];
        let group = &self.groups[usize::from(row.group)];
        if group.pacer.is_some() {
            let pipeline = group.pipeline;
            while self.rows[index as usize].in_flight < pipeline
                && let Some(planned) = self.slots.pop(&mut self.rows[index as usize].waiting)
            {
                self.waiting -= 1;
                self.in_flight += 1;
                self.request(index, 1, planned, now, out);
                if planned >= self.warm_up_end {
                    if scheduled && planned > self.blocked_until {
                        self.on_time.push(planned);
                    } else {
                        self.tally.held += 1;
                    }
                }
            }
        } else if row.in_flight == 0 && now < self.end && self.started && group.is_closed() {
            let left = group.quota_of(row.connection).saturating_sub(row.next);
            let batch = left.min(u64::from(group.pipeline));
            self.left = self.left.saturating_sub(batch);
            if group.kind == Kind::Requests {
                self.in_flight += batch;
            }
            self.request(index, narrow(to_usize(batch)), now, now, out);
        }
    }

    /// Writes the next `count` requests of client `index`.
    pub(crate) fn request(
        &mut self,
        index: u32,
        count: u32,
        since: u64,
        sent: u64,
        out: &mut Vec<u8>,
    ) {
        let row = &mut self.rows[index as usize];
        let source = &self.groups[usize::from(row.group)].source;
        let connection = u64::from(row.connection);
        let stream = Draw::stream(self.seed, connection);
        for _ in 0..count {
            let drawn = source.write(out, stream, connection, row.next, since);
            row.next += 1;
            match self.runs.back_mut(row.runs) {
                Some(run) if run.since == since && run.sent == sent && run.kind == drawn.kind => {
                    run.count += 1;
                }
                _ => {
                    let (kind, expected) = (drawn.kind, drawn.expected);
                    self.runs.push(&mut row.runs, Run { since, sent, count: 1, kind, expected });
                }
            }
            if let Some(ledger) = &mut self.tally.ledger {
                if drawn.write {
                    ledger.sent(drawn.key, drawn.number);
                }
                let write = drawn.write.then_some((drawn.key, drawn.number));
                self.writes.push(&mut row.writes, write);
            }
        }
        row.in_flight += count;
    }

    /// Puts what a subscriber sends once into `out`.
    pub(crate) fn subscribe(&mut self, index: u32, now: u64, out: &mut Vec<u8>) {
        let row = &self.rows[index as usize];
        let source = &self.groups[usize::from(row.group)].source;
        let connection = u64::from(row.connection);
        source.write(out, Draw::stream(self.seed, connection), connection, 0, now);
    }

    /// All that was filled for slots is sent: the scheduling error counts until here, so it is
    /// rather too large than too small.
    pub fn flushed(&mut self, now: u64) {
        for planned in self.on_time.drain(..) {
            self.tally.scheduling_error.record(now.saturating_sub(planned), 1);
        }
    }

    /// Takes what the server sent to client `index`, and puts what that client sends next into
    /// `out`.
    pub fn received(
        &mut self,
        index: u32,
        mut bytes: &[u8],
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        while self.rows[index as usize].state == State::Greeting {
            bytes = self.greeted(index, bytes, now, out)?;
            if bytes.is_empty() {
                return Ok(());
            }
        }
        let row = &self.rows[index as usize];
        if !matches!(row.state, State::Up | State::Leaving) {
            return Ok(());
        }
        let kind = self.groups[usize::from(row.group)].kind;
        if kind != Kind::Requests {
            self.delivered(index, bytes, now);
        }
        let row = &self.rows[index as usize];
        if row.in_flight == 0 && kind != Kind::Subscriber && bytes.first() == Some(&b'-') {
            return self.sent_away(bytes);
        }
        let limit = if kind == Kind::Subscriber { u32::MAX } else { row.in_flight };
        let mut rest = bytes;
        loop {
            let row = &mut self.rows[index as usize];
            let scanned = row.scanner.scan(rest, limit).map_err(|it| Failure::NoResp(it.0))?;
            rest = scanned.rest;
            if kind == Kind::Subscriber {
                self.messages(&scanned);
            } else {
                self.settle(index, scanned, now)?;
            }
            if rest.is_empty() {
                break;
            }
        }
        self.go_on(index, now, out);
        Ok(())
    }

    /// An error that answers no request: the server wants no more clients, or not this one.
    fn sent_away(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let line = bytes[1..].split(|it| *it == b'\r').next().unwrap_or_default();
        if !self.comings.reconnect {
            let line = String::from_utf8_lossy(line);
            return Err(Failure::Replied(format!("{line} (without a request)")));
        }
        self.tally.error(line);
        Ok(())
    }

    /// What a client does after replies: send more, think, or leave.
    fn go_on(&mut self, index: u32, now: u64, out: &mut Vec<u8>) {
        if self.rows[index as usize].in_flight == 0 && self.again.is_draining(index) {
            return self.turn_back(index, now);
        }
        let row = &self.rows[index as usize];
        if row.state == State::Leaving {
            if row.in_flight == 0 {
                self.leave(index, now);
            }
            return;
        }
        let group = &self.groups[usize::from(row.group)];
        if group.think_ns > 0 && group.pacer.is_none() {
            if row.in_flight == 0 {
                self.think(index, now);
            }
        } else {
            self.fill(index, now, false, out);
        }
    }

    fn messages(&mut self, scanned: &Scanned<'_>) {
        let messages = u64::from(scanned.replies + scanned.pushes);
        self.tally.messages += messages;
        self.interval.counts.messages += messages;
        if let Some(line) = &scanned.error {
            self.interval.counts.errors += 1;
            self.tally.error(line);
        }
    }

    /// Measures how long stamped values travelled.
    fn delivered(&mut self, index: u32, bytes: &[u8], now: u64) {
        let mut carry = self.carries.remove(&index).unwrap_or_default();
        let (tally, interval, measured) = (&mut self.tally, &mut self.interval, self.warm_up_end);
        stamps::find(&mut carry, bytes, |sent| {
            if sent >= measured && sent <= now {
                tally.delivery.record(now - sent, 1);
                interval.record(now - sent, 1);
            }
        });
        if !carry.is_empty() {
            self.carries.insert(index, carry);
        }
    }

    /// The oldest requests in flight were answered: well, or the last one with an error, which is
    /// not measured (a refusal may be quick).
    fn settle(&mut self, index: u32, scanned: Scanned<'_>, now: u64) -> Result<(), Failure> {
        match self.take_refused(index, scanned, now)? {
            Some(scanned) => self.settle_answered(index, scanned, now),
            None => Ok(()),
        }
    }

    pub(crate) fn settle_answered(
        &mut self,
        index: u32,
        scanned: Scanned<'_>,
        now: u64,
    ) -> Result<(), Failure> {
        if scanned.replies > 0 {
            self.tally.heard(now);
        }
        let row = &mut self.rows[index as usize];
        row.in_flight -= scanned.replies;
        let blocking = self.groups[usize::from(row.group)].kind == Kind::Blocking;
        if !blocking {
            self.in_flight -= u64::from(scanned.replies);
        }
        self.tally.replies += u64::from(scanned.replies);
        self.interval.counts.replies += u64::from(scanned.replies);
        self.tally.nulls += u64::from(scanned.nulls);
        let failed = u32::from(scanned.error.is_some());
        let (mut oks, mut bulks, mut any) = (0, 0, 0);
        let (mut well, mut left) = (scanned.replies - failed, scanned.replies);
        while left > 0
            && let Some(run) = self.runs.front_mut(row.runs)
        {
            let n = run.count.min(if well > 0 { well } else { left });
            if well > 0 {
                well -= n;
                match run.expected {
                    Expected::Ok => oks += n,
                    Expected::Bulk => bulks += n,
                    Expected::Any => any += n,
                }
                let latency = now.saturating_sub(run.since);
                if !blocking {
                    self.interval.record(latency, n);
                }
                if run.since >= self.warm_up_end && !blocking {
                    self.tally.latencies[usize::from(run.kind)].record(latency, u64::from(n));
                    if run.sent != run.since {
                        self.tally.service.record(now.saturating_sub(run.sent), u64::from(n));
                    }
                }
            }
            run.count -= n;
            left -= n;
            if run.count == 0 {
                self.runs.pop(&mut row.runs);
            }
        }
        if any == 0 && (oks, bulks) != (scanned.oks, scanned.bulks) {
            return Err(Failure::NoResp("a reply does not fit its request".into()));
        }
        if let Some(ledger) = &mut self.tally.ledger {
            for at in 0..scanned.replies {
                if let Some(Some((key, number))) = self.writes.pop(&mut row.writes)
                    && at + failed < scanned.replies
                {
                    ledger.acknowledged(key, number);
                }
            }
        }
        if let Some(line) = scanned.error {
            self.interval.counts.errors += 1;
            self.tally.error(&line);
        }
        Ok(())
    }

    /// Forgets what client `index` has in flight: its connection is no more.
    pub(crate) fn abandon(&mut self, index: u32) {
        let row = &mut self.rows[index as usize];
        if self.groups[usize::from(row.group)].kind == Kind::Requests {
            self.in_flight -= u64::from(row.in_flight);
            self.tally.abandoned += u64::from(row.in_flight);
        }
        row.in_flight = 0;
        row.greetings = 0;
        row.scanner = Scanner::default();
        while self.runs.pop(&mut row.runs).is_some() {}
        while self.writes.pop(&mut row.writes).is_some() {}
        if let Some(from) = self.again.end_drain(index) {
            row.next = from;
        }
        self.carries.remove(&index);
    }

    /// Remembers when client `index` was to dial.
    pub(crate) fn note_dial(&mut self, index: u32, since: u64) {
        let row = &mut self.rows[index as usize];
        let run = Run { since, sent: since, count: 0, kind: 0, expected: Expected::Any };
        self.runs.push(&mut row.runs, run);
    }

    /// Whether slots wait for client `index`.
    pub(crate) fn has_waiting(&self, index: u32) -> bool {
        !self.rows[index as usize].waiting.is_empty()
    }
}

impl Group {
    /// Whether its clients send as soon as they may.
    pub fn is_closed(&self) -> bool {
        self.pacer.is_none() && matches!(self.kind, Kind::Requests | Kind::Blocking)
    }

    fn quota_of(&self, connection: u32) -> u64 {
        self.quota.saturating_add(u64::from(u64::from(connection) - self.first < self.extra))
    }
}

impl Row {
    fn new(connection: u64, group: usize) -> Self {
        Self {
            next: 0,
            runs: Fifo::EMPTY,
            waiting: Fifo::EMPTY,
            writes: Fifo::EMPTY,
            scanner: Scanner::default(),
            connection: u32::try_from(connection).unwrap_or(u32::MAX),
            in_flight: 0,
            group: u16::try_from(group).unwrap_or(u16::MAX),
            state: State::Away,
            greetings: 0,
            touched: false,
            again: false,
        }
    }
}

/// The schedules of group `index`, one per thread, each with the connections of its slots. `first`
/// is the group's first connection.
#[must_use]
pub fn schedules(plan: &Plan, index: usize, first: u64) -> Vec<(Vec<u64>, Pacer)> {
    let Some(group) = plan.groups.get(index) else { return Vec::new() };
    let connections = u64::from(group.connections);
    let threads = u64::from(plan.threads);
    let share = |connection: u64| match group.requests {
        None => u64::MAX,
        Some(it) => it / connections + u64::from(connection - first < it % connections),
    };
    let schedule = |thread: u32| {
        let all = first..first + connections;
        let own: Vec<u64> = all.filter(|it| it % threads == u64::from(thread)).collect();
        let quota = own.iter().map(|it| share(*it)).fold(0, u64::saturating_add);
        let count = narrow(own.len());
        Some((own, pacer(plan, index, thread, count, quota)?))
    };
    (0..plan.threads).filter_map(schedule).collect()
}

/// The schedule of group `index` on one thread, if that group keeps one.
fn pacer(plan: &Plan, index: usize, thread: u32, own: u32, quota: u64) -> Option<Pacer> {
    let group = plan.groups.get(index)?;
    let (rate, poisson) = match group.pace {
        Pace::Closed => return None,
        Pace::Uniform { rate } => (rate, false),
        Pace::Poisson { rate } => (rate, true),
    };
    if own == 0 {
        return None;
    }
    let rate = rate * f64::from(own) / f64::from(group.connections);
    let seed = Draw::new(Draw::stream(plan.seed, index as u64), u64::from(thread)).next_u64();
    let end = nanoseconds(plan.warm_up_seconds + plan.seconds);
    Some(Pacer::new(seed, poisson, rate, own, end, quota))
}

pub(crate) fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What one client costs while it is idle, beside the driver's own row.
const _: () = assert!(size_of::<Row>() <= 80);
