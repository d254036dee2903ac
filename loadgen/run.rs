//! A run: threads, phases, and what came of it.
//!
//! Every thread lets its clients connect; when all are there (or at once, where the plan has a ramp)
//! one start time is given to all, and each thread drives its clients alone until they are done
//! (`drive_loop.rs`). Between threads there are only counters to read, two flags, and a channel on
//! which they hand over what they counted, interval by interval.
//!
//! CPU time is read at the end of the warm-up and at the end of the run, for the whole process, so
//! that everything loadgen does counts.

use crate::draw::nanoseconds;
use crate::drive::{Clock, cpu_ns, descriptors, resident_bytes, resolve};
use crate::drive_loop::{Part, part};
use crate::failure::Failure;
use crate::fresh::{ReadBack, fill, read_back};
use crate::places::{Places, Service};
use crate::plan::Plan;
use crate::scout::{learn, look, scout};
use crate::series::{Ended, INTERVAL_NS, Series};
use crate::tally::Tally;
use crate::target::Route;
use std::io::BufRead;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// From the last connection to the first request.
const START_DELAY_NS: u64 = 2_000_000;
/// How often the view changes.
const VIEW_NS: u64 = 250_000_000;

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    pub tally: Tally,
    /// The measured window: its length, its replies, and CPU time used in it by loadgen and by the
    /// server (where its process was named).
    pub window_ns: u64,
    pub window_replies: u64,
    pub cpu_ns: u64,
    pub server_cpu_ns: Option<u64>,
    /// How long it took until all clients were there, before the start.
    pub gather_ns: u64,
    /// The most anonymous memory that loadgen had.
    pub resident_bytes: u64,
    pub series: Series,
    /// What happened when, in seconds from the start.
    pub events: Vec<(f64, String)>,
    pub read_back: Option<ReadBack>,
    /// Why the run ended early.
    pub failure: Option<Failure>,
}

/// What a run has beside its plan, and what does not change what is sent.
#[derive(Debug, Default)]
pub struct Around {
    /// The server's process, for its CPU time.
    pub server: Option<i32>,
    /// Names of moments, in seconds from the start.
    pub marks: Vec<(f64, String)>,
    /// Take lines from standard input: `mark NAME`, `storm`, `stop`.
    pub control: bool,
    /// Read the ledger back at the end.
    pub read_back: bool,
    /// Ends the run early when it is set.
    pub interrupt: Arc<AtomicBool>,
}

/// What somebody who watches sees.
#[derive(Clone, Copy, Debug)]
pub struct View<'v> {
    pub phase: Phase,
    pub seconds: f64,
    pub replies: u64,
    pub up: u64,
    pub clients: u64,
    pub series: &'v Series,
    pub events: &'v [(f64, String)],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Connecting,
    WarmUp,
    Measuring,
}

/// What threads share.
pub(crate) struct Shared {
    pub clock: Clock,
    pub start_ns: AtomicU64,
    pub stop: AtomicBool,
    /// Storms that were asked for from outside.
    pub storms: AtomicU64,
    pub replies: Vec<AtomicU64>,
    pub up: Vec<AtomicU64>,
    /// All threads and the one that waits for them.
    pub started: Barrier,
}

/// What threads say to the one that waits for them.
pub(crate) enum Message {
    /// This thread's clients are there, or cannot be.
    Ready,
    Interval(Ended),
    Done(Box<Result<Part, Failure>>),
    Control(String),
}

/// Runs the plan. What fails before the first request is an error; what fails later is told in the
/// outcome, beside what was measured until then.
pub fn run(
    plan: &Plan,
    around: &Around,
    show: &mut dyn FnMut(View<'_>),
) -> Result<Outcome, Failure> {
    let descriptors = descriptors(plan)?;
    let clock = Clock::new();
    let servers = resolve(&plan.target, Duration::from_secs_f64(plan.timeout_seconds))?;
    let mut route =
        Route::new(servers, &plan.sources, plan.connections()).map_err(Failure::Plan)?;
    let places = match plan.target.service {
        Service::One => None,
        Service::Cluster | Service::Sentinel(_) => Some(Arc::new(learn(plan, clock)?)),
    };
    if let Some(places) = &places {
        route = route.over(Arc::clone(places), plan);
    }
    let places = places.as_deref();
    if plan.fill {
        fill(plan, places)?;
        // A replica that had nothing yet is not named.
        places.map_or(Ok(()), |it| look(plan, it, clock)).map_err(Failure::Connect)?;
    }
    let parties = usize::try_from(plan.threads).unwrap_or(usize::MAX).saturating_add(1);
    let counters = || (0..plan.threads).map(|_| AtomicU64::new(0)).collect();
    let shared = Shared {
        clock,
        start_ns: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        storms: AtomicU64::new(0),
        replies: counters(),
        up: counters(),
        started: Barrier::new(parties),
    };
    let (sender, receiver) = channel();
    if around.control {
        listen(sender.clone());
    }
    let over = AtomicBool::new(false);
    let mut outcome = std::thread::scope(|scope| {
        if let Some(places) = places {
            scope.spawn(|| scout(plan, places, clock, &over));
        }
        for thread in 0..plan.threads {
            let (shared, sender, route) = (&shared, sender.clone(), route.clone());
            scope.spawn(move || {
                pin(plan, thread);
                let done = part(plan, thread, shared, (route, descriptors), &sender);
                // The receiver waits for every thread, so there is somebody to take it.
                let _sent = sender.send(Message::Done(Box::new(done)));
            });
        }
        let outcome = Watch::new(plan, around, &shared).watch(&receiver, show);
        over.store(true, Ordering::Relaxed);
        outcome
    })?;
    let start = shared.start_ns.load(Ordering::Relaxed);
    for (at, what) in places.map(Places::changes).unwrap_or_default() {
        outcome.events.push((at.saturating_sub(start) as f64 / 1e9, what));
    }
    outcome.events.sort_by(|a, b| a.0.total_cmp(&b.0));
    outcome.resident_bytes = outcome.resident_bytes.max(resident_bytes());
    if let Some(ledger) = outcome.tally.ledger.as_ref().filter(|_| around.read_back) {
        match read_back(plan, ledger, places) {
            Ok(found) => outcome.read_back = Some(found),
            // A server that went away is the reason, and reading back only finds the same.
            Err(failure) => outcome.failure = outcome.failure.or(Some(failure)),
        }
    }
    Ok(outcome)
}

impl Outcome {
    /// The failure that decides the exit code: a lost write is worse than a lost server.
    #[must_use]
    pub fn verdict(&self) -> Option<Failure> {
        if let Some(failure) = self.read_back.as_ref().and_then(ReadBack::failure) {
            return Some(failure);
        }
        let replied = || {
            let total: u64 = self.tally.errors.values().sum();
            let first = self.tally.first_error.as_ref()?;
            let kinds: Vec<String> =
                self.tally.errors.iter().map(|(code, count)| format!("{code} {count}")).collect();
            Some(Failure::Replied(format!("{first}\n  {total} errors: {}", kinds.join(", "))))
        };
        self.failure.clone().or_else(replied)
    }
}

/// The thread that waits for the others: gives the start, reads the CPU clocks, shows progress, and
/// gathers the parts.
struct Watch<'w> {
    plan: &'w Plan,
    around: &'w Around,
    shared: &'w Shared,
    outcome: Outcome,
    window: Option<Reading>,
    error: Option<Failure>,
    /// Threads that drive still.
    left: u32,
    /// CPU time at the last reading, of loadgen and the server, and when the next is due.
    cpu: (u64, u64),
    next_reading: u64,
    next_view: u64,
}

impl<'w> Watch<'w> {
    fn new(plan: &'w Plan, around: &'w Around, shared: &'w Shared) -> Self {
        Self {
            plan,
            around,
            shared,
            outcome: Outcome::default(),
            window: None,
            error: None,
            left: plan.threads,
            cpu: (0, 0),
            next_reading: INTERVAL_NS,
            next_view: 0,
        }
    }

    fn watch(
        mut self,
        receiver: &Receiver<Message>,
        show: &mut dyn FnMut(View<'_>),
    ) -> Result<Outcome, Failure> {
        self.gather(receiver, show);
        let start = self.shared.clock.now() + START_DELAY_NS;
        self.outcome.gather_ns = self.shared.clock.now();
        self.shared.start_ns.store(start, Ordering::Relaxed);
        self.cpu = self.cpu_now();
        if self.plan.warm_up_seconds == 0.0 {
            self.window = Some(Reading::take(self.around.server, 0, 0)?);
        } else {
            self.note(self.plan.warm_up_seconds, "measured from here");
        }
        for storm in &self.plan.crowd.storms {
            self.note(storm.at_seconds, "storm");
        }
        self.outcome.events.extend(self.around.marks.iter().cloned());
        self.shared.started.wait();
        let clock = self.shared.clock.later(start);
        let warm_up = nanoseconds(self.plan.warm_up_seconds);
        while self.left > 0 {
            let mut until = self.next_reading;
            if self.window.is_none() {
                until = until.min(warm_up);
            }
            let pause = until.saturating_sub(clock.now()).max(1);
            match receiver.recv_timeout(Duration::from_nanos(pause)) {
                Ok(message) => self.take(message, clock),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = clock.now();
            if self.window.is_none() && now >= warm_up {
                self.window = Some(Reading::take(self.around.server, now, self.replies())?);
            }
            self.read(now);
            self.view(now, show);
        }
        if let Some(failure) = self.error {
            return Err(failure);
        }
        if let Some(window) = self.window {
            window.close(self.around.server, clock.now(), &mut self.outcome);
        }
        self.outcome.events.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(self.outcome)
    }

    /// Waits until every thread's clients are there.
    fn gather(&mut self, receiver: &Receiver<Message>, show: &mut dyn FnMut(View<'_>)) {
        let mut missing = self.plan.threads;
        while missing > 0 {
            match receiver.recv_timeout(Duration::from_nanos(INTERVAL_NS)) {
                Ok(Message::Ready) => missing -= 1,
                Ok(Message::Control(line)) => self.control(&line, self.shared.clock),
                Ok(_) | Err(_) => {}
            }
            if self.around.interrupt.load(Ordering::Relaxed) {
                self.shared.stop.store(true, Ordering::Relaxed);
            }
            let now = self.shared.clock.now();
            if now >= self.next_view {
                self.next_view = now + VIEW_NS;
                show(self.seen(Phase::Connecting, now));
            }
        }
        self.next_view = VIEW_NS;
    }

    fn take(&mut self, message: Message, clock: Clock) {
        match message {
            Message::Ready => {}
            Message::Interval(ended) => self.outcome.series.add(&ended),
            Message::Control(line) => self.control(&line, clock),
            Message::Done(done) => {
                self.left -= 1;
                match *done {
                    Ok(part) => self.gained(part, clock),
                    Err(failure) => self.error = self.error.take().or(Some(failure)),
                }
            }
        }
    }

    fn gained(&mut self, part: Part, clock: Clock) {
        self.outcome.tally.merge(part.tally);
        if let Some(failure) = part.failure {
            self.note(clock.now() as f64 / 1e9, "failed");
            self.outcome.failure.get_or_insert(failure);
        }
    }

    fn control(&mut self, line: &str, clock: Clock) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let seconds = clock.now() as f64 / 1e9;
        match word {
            "mark" => self.note(seconds, rest.trim()),
            "storm" => {
                self.note(seconds, "storm");
                self.shared.storms.fetch_add(1, Ordering::Relaxed);
            }
            "stop" => self.shared.stop.store(true, Ordering::Relaxed),
            _ => {}
        }
    }

    fn note(&mut self, seconds: f64, name: &str) {
        self.outcome.events.push((seconds, name.to_string()));
    }

    /// CPU time of the interval that has ended, if one has.
    fn read(&mut self, now: u64) {
        if now < self.next_reading {
            return;
        }
        let cpu = self.cpu_now();
        let (own, server) = (cpu.0 - self.cpu.0, cpu.1.saturating_sub(self.cpu.1));
        let at = now / INTERVAL_NS * INTERVAL_NS;
        self.outcome.series.add_cpu(at, own, server);
        (self.cpu, self.next_reading) = (cpu, at + INTERVAL_NS);
        if self.around.interrupt.load(Ordering::Relaxed) {
            self.shared.stop.store(true, Ordering::Relaxed);
        }
    }

    fn cpu_now(&self) -> (u64, u64) {
        let server = self.around.server.and_then(|pid| cpu_ns(Some(pid)).ok());
        (cpu_ns(None).unwrap_or(0), server.unwrap_or(self.cpu.1))
    }

    fn view(&mut self, now: u64, show: &mut dyn FnMut(View<'_>)) {
        if now < self.next_view {
            return;
        }
        self.next_view = now + VIEW_NS;
        self.outcome.resident_bytes = self.outcome.resident_bytes.max(resident_bytes());
        let phase = if self.window.is_none() { Phase::WarmUp } else { Phase::Measuring };
        show(self.seen(phase, now));
    }

    fn seen(&self, phase: Phase, now: u64) -> View<'_> {
        View {
            phase,
            seconds: now as f64 / 1e9,
            replies: self.replies(),
            up: self.shared.up.iter().map(|it| it.load(Ordering::Relaxed)).sum(),
            clients: self.plan.connections(),
            series: &self.outcome.series,
            events: &self.outcome.events,
        }
    }

    fn replies(&self) -> u64 {
        self.shared.replies.iter().map(|it| it.load(Ordering::Relaxed)).sum()
    }
}

/// The clocks at the beginning of the measured window.
struct Reading {
    at: u64,
    replies: u64,
    cpu_ns: u64,
    server_cpu_ns: Option<u64>,
}

impl Reading {
    fn take(server: Option<i32>, at: u64, replies: u64) -> Result<Self, Failure> {
        let server_cpu_ns = server.map(|pid| {
            let cannot = |it| Failure::Plan(format!("cannot read the CPU time of {pid}: {it}"));
            cpu_ns(Some(pid)).map_err(cannot)
        });
        let server_cpu_ns = server_cpu_ns.transpose()?;
        Ok(Self { at, replies, cpu_ns: cpu_ns(None).unwrap_or(0), server_cpu_ns })
    }

    /// What was used since; a server that is gone has no clock any more.
    fn close(self, server: Option<i32>, now: u64, outcome: &mut Outcome) {
        outcome.window_ns = now - self.at;
        outcome.window_replies = outcome.tally.replies - self.replies;
        outcome.cpu_ns = cpu_ns(None).unwrap_or(0) - self.cpu_ns;
        outcome.server_cpu_ns =
            self.server_cpu_ns.and_then(|before| Some(cpu_ns(server).ok()?.saturating_sub(before)));
    }
}

/// Passes on what is written to standard input. The thread ends with it, or with the process.
fn listen(sender: Sender<Message>) {
    #[expect(clippy::disallowed_methods, reason = "standard input can only be waited for")]
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(Message::Control(line)).is_err() {
                return;
            }
        }
    });
}

fn pin(plan: &Plan, thread: u32) {
    if let Some(&id) = plan.cores.get(usize::try_from(thread).unwrap_or(usize::MAX)) {
        core_affinity::set_for_current(core_affinity::CoreId { id });
    }
}
