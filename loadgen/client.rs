//! The clients of one thread: what each has in flight, what it sends next, how long replies took.
//!
//! No socket and no clock: the driver hands in received bytes and the time, and sends what is put
//! into its buffer. Times are nanoseconds from the run's start.
//!
//! Latency counts from the *planned* time of an open loop's request and from the moment a closed
//! loop's batch was handed to the driver. Slots that found their connection free are measured a
//! second time: how late this program itself was (the scheduling error). Slots that found the
//! connection at its pipeline limit wait their turn and are counted as held: they are late through
//! the server, and their latency says so.
//!
//! What is in flight on a connection is a queue of runs: neighbours with one time and one command.
//! So a closed loop's batch is one entry, and its replies are recorded with one addition.

use crate::histogram::Histogram;
use crate::ledger::Ledger;
use crate::pace::Pacer;
use crate::plan::{Draw, Pace, Plan, nanoseconds, to_usize};
use crate::scan::{NoResp, Scanner};
use crate::source::Source;
use std::collections::{BTreeMap, VecDeque};

/// Slots that may wait for their connections. Beyond it the schedule itself waits: nothing is
/// skipped, and nothing grows.
const WAITING_MAX: u64 = 1 << 20;
/// Different error codes that are told apart.
const ERROR_CODES_MAX: usize = 100;

/// All clients of one thread.
pub struct Clients {
    rows: Vec<Row>,
    groups: Vec<Group>,
    /// Rows that have a slot to send.
    touched: Vec<u32>,
    warm_up_end: u64,
    end: u64,
    in_flight: u64,
    waiting: u64,
    /// Closed loops' requests still to send; what the end of time leaves over is not sent.
    left: u64,
    /// Slots planned before this were held back by [`WAITING_MAX`].
    blocked_until: u64,
    /// Slots handed to the driver since the last [`Self::flushed`].
    on_time: Vec<u64>,
    pub tally: Tally,
}

/// What a thread measured.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Per command of the plan, without errors.
    pub latencies: Vec<Histogram>,
    pub scheduling_error: Histogram,
    /// Replies of the whole run, warm-up and errors included.
    pub replies: u64,
    pub nulls: u64,
    /// Slots that waited for their connection's earlier replies.
    pub held: u64,
    pub errors: BTreeMap<String, u64>,
    /// The first error's whole line.
    pub first_error: Option<String>,
    pub ledger: Option<Ledger>,
}

struct Group {
    source: Source,
    pipeline: u32,
    /// None: a closed loop.
    pacer: Option<Pacer>,
    /// The pacer's connections are rows.
    rows: Vec<u32>,
}

struct Row {
    connection: u64,
    stream: u64,
    group: u16,
    touched: bool,
    in_flight: u32,
    /// The next request's number on this connection, and how many a closed loop may send still.
    next: u64,
    left: u64,
    runs: VecDeque<Run>,
    waiting: VecDeque<u64>,
    /// Key and number of each write in flight, for the ledger.
    writes: VecDeque<Option<(u64, u64)>>,
    scanner: Scanner,
}

struct Run {
    since: u64,
    count: u32,
    kind: u16,
}

impl Clients {
    /// The clients of `thread`, in the order of their connections.
    pub fn new(plan: &Plan, thread: u32) -> Result<Self, String> {
        let (mut rows, mut groups) = (Vec::new(), Vec::new());
        let end = nanoseconds(plan.warm_up_seconds + plan.seconds);
        let threads = u64::from(plan.threads);
        let mut first = 0u64;
        for (index, (group, source)) in plan.groups.iter().zip(Source::all(plan)?).enumerate() {
            let connections = u64::from(group.connections);
            let own = (first..first + connections).filter(|it| it % threads == u64::from(thread));
            let from = u32::try_from(rows.len()).unwrap_or(u32::MAX);
            for connection in own {
                let left = share(group.requests, connection - first, connections);
                rows.push(Row::new(plan.seed, connection, index, left));
            }
            let to = u32::try_from(rows.len()).unwrap_or(u32::MAX);
            let quota = rows.iter().skip(to_usize(u64::from(from))).map(|it| it.left);
            let quota = quota.fold(0, u64::saturating_add);
            groups.push(Group {
                source,
                pipeline: group.pipeline,
                pacer: pacer(plan, index, thread, to - from, quota),
                rows: (from..to).collect(),
            });
            first += connections;
        }
        let closed = |row: &&Row| groups[usize::from(row.group)].pacer.is_none();
        let left = rows.iter().filter(closed).map(|row| row.left).fold(0, u64::saturating_add);
        let kinds = plan.kinds().len();
        let keys = plan.groups.iter().map(|group| group.keys).max().unwrap_or(0);
        let tally = Tally {
            latencies: vec![Histogram::default(); kinds],
            ledger: plan.verify.then(|| Ledger::new(keys)),
            ..Tally::default()
        };
        let warm_up_end = nanoseconds(plan.warm_up_seconds);
        Ok(Self {
            rows,
            groups,
            touched: Vec::new(),
            warm_up_end,
            end,
            in_flight: 0,
            waiting: 0,
            left,
            blocked_until: 0,
            on_time: Vec::new(),
            tally,
        })
    }

    /// How many clients there are; the driver numbers its sockets like them.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    /// Whether everything planned was sent and answered.
    #[must_use]
    pub fn is_done(&self, now: u64) -> bool {
        self.in_flight == 0
            && self.waiting == 0
            && (self.left == 0 || now >= self.end)
            && self.next_slot().is_none()
    }

    /// When the next slot is due.
    #[must_use]
    pub fn next_slot(&self) -> Option<u64> {
        let slots = self.groups.iter().filter_map(|group| group.pacer.as_ref()?.peek());
        slots.map(|slot| slot.at).min()
    }

    /// Hands all slots whose time has come to their connections; [`Self::next_touched`] names
    /// those that can send.
    pub fn tick(&mut self, now: u64) {
        for group in &mut self.groups {
            let Some(pacer) = &mut group.pacer else { continue };
            while self.waiting < WAITING_MAX
                && let Some(slot) = pacer.due(now)
            {
                let index = group.rows[to_usize(u64::from(slot.connection))];
                let row = &mut self.rows[to_usize(u64::from(index))];
                row.waiting.push_back(slot.at);
                self.waiting += 1;
                if !row.touched && row.in_flight < group.pipeline {
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
        self.rows[to_usize(u64::from(index))].touched = false;
        Some(index)
    }

    /// Puts what client `index` may send now into `out`; `scheduled` says that it was free to send
    /// when its slot came.
    pub fn fill(&mut self, index: u32, now: u64, scheduled: bool, out: &mut Vec<u8>) {
        let row = &mut self.rows[to_usize(u64::from(index))];
        let group = &self.groups[usize::from(row.group)];
        if group.pacer.is_some() {
            while row.in_flight < group.pipeline
                && let Some(planned) = row.waiting.pop_front()
            {
                self.waiting -= 1;
                self.in_flight += 1;
                row.request(group, planned, out, &mut self.tally.ledger);
                if planned >= self.warm_up_end {
                    if scheduled && planned > self.blocked_until {
                        self.on_time.push(planned);
                    } else {
                        self.tally.held += 1;
                    }
                }
            }
        } else if row.in_flight == 0 && now < self.end {
            let batch = row.left.min(u64::from(group.pipeline));
            row.left -= batch;
            self.left = self.left.saturating_sub(batch);
            self.in_flight += batch;
            for _ in 0..batch {
                row.request(group, now, out, &mut self.tally.ledger);
            }
        }
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
    ) -> Result<(), NoResp> {
        loop {
            let row = &mut self.rows[to_usize(u64::from(index))];
            let scanned = row.scanner.scan(bytes, row.in_flight)?;
            let failed = u32::from(scanned.error.is_some());
            row.in_flight -= scanned.replies;
            self.in_flight -= u64::from(scanned.replies);
            self.tally.replies += u64::from(scanned.replies);
            self.tally.nulls += u64::from(scanned.nulls);
            row.settle(scanned.replies - failed, now, self.warm_up_end, true, &mut self.tally);
            row.settle(failed, now, self.warm_up_end, false, &mut self.tally);
            if let Some(line) = scanned.error {
                self.tally.error(&line);
            }
            bytes = scanned.rest;
            if bytes.is_empty() {
                break;
            }
        }
        self.fill(index, now, false, out);
        Ok(())
    }
}

impl Tally {
    /// All commands together.
    #[must_use]
    pub fn latency(&self) -> Histogram {
        let mut all = Histogram::default();
        self.latencies.iter().for_each(|it| all.add(it));
        all
    }

    /// Takes in what another thread measured.
    pub fn merge(&mut self, other: Self) {
        self.latencies
            .resize_with(self.latencies.len().max(other.latencies.len()), Histogram::default);
        self.latencies.iter_mut().zip(&other.latencies).for_each(|(own, it)| own.add(it));
        self.scheduling_error.add(&other.scheduling_error);
        self.replies += other.replies;
        self.nulls += other.nulls;
        self.held += other.held;
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        self.first_error = self.first_error.take().or(other.first_error);
        match (&mut self.ledger, other.ledger) {
            (Some(own), Some(theirs)) => own.merge(&theirs),
            (own, theirs) => *own = own.take().or(theirs),
        }
    }

    fn error(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(&line[..line.len().min(500)]).into_owned();
        let code = line.split_whitespace().next().unwrap_or_default().to_string();
        if self.errors.len() < ERROR_CODES_MAX || self.errors.contains_key(&code) {
            *self.errors.entry(code).or_default() += 1;
        } else {
            *self.errors.entry("(others)".into()).or_default() += 1;
        }
        self.first_error.get_or_insert(line);
    }
}

impl Row {
    fn new(seed: u64, connection: u64, group: usize, left: u64) -> Self {
        Self {
            connection,
            stream: Draw::stream(seed, connection),
            group: u16::try_from(group).unwrap_or(u16::MAX),
            touched: false,
            in_flight: 0,
            next: 0,
            left,
            runs: VecDeque::new(),
            waiting: VecDeque::new(),
            writes: VecDeque::new(),
            scanner: Scanner::default(),
        }
    }

    /// Writes the next request.
    fn request(
        &mut self,
        group: &Group,
        since: u64,
        out: &mut Vec<u8>,
        ledger: &mut Option<Ledger>,
    ) {
        let drawn = group.source.write(out, self.stream, self.connection, self.next);
        self.next += 1;
        self.in_flight += 1;
        match self.runs.back_mut() {
            Some(run) if run.since == since && run.kind == drawn.kind => run.count += 1,
            _ => self.runs.push_back(Run { since, count: 1, kind: drawn.kind }),
        }
        if let Some(ledger) = ledger {
            if drawn.write {
                ledger.sent(drawn.key, drawn.number);
            }
            self.writes.push_back(drawn.write.then_some((drawn.key, drawn.number)));
        }
    }

    /// The oldest `count` requests in flight were answered: well, or with an error, which is not
    /// measured (a refusal may be quick).
    fn settle(&mut self, count: u32, now: u64, warm_up_end: u64, well: bool, tally: &mut Tally) {
        if let Some(ledger) = &mut tally.ledger {
            for _ in 0..count {
                if let Some(Some((key, number))) = self.writes.pop_front()
                    && well
                {
                    ledger.acknowledged(key, number);
                }
            }
        }
        let mut left = count;
        while left > 0
            && let Some(run) = self.runs.front_mut()
        {
            let n = run.count.min(left);
            if well && run.since >= warm_up_end {
                let latency = now.saturating_sub(run.since);
                tally.latencies[usize::from(run.kind)].record(latency, u64::from(n));
            }
            run.count -= n;
            left -= n;
            if run.count == 0 {
                self.runs.pop_front();
            }
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
    let schedule = |thread: u32| {
        let all = first..first + connections;
        let own: Vec<u64> = all.filter(|it| it % threads == u64::from(thread)).collect();
        let quota = own.iter().map(|it| share(group.requests, it - first, connections));
        let quota = quota.fold(0, u64::saturating_add);
        let count = u32::try_from(own.len()).unwrap_or(u32::MAX);
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

/// What connection `index` of `connections` does of `requests`.
fn share(requests: Option<u64>, index: u64, connections: u64) -> u64 {
    let Some(requests) = requests else { return u64::MAX };
    requests / connections + u64::from(index < requests % connections)
}
