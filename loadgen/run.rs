//! A run: threads, phases, and what came of it.
//!
//! Every thread connects its clients; when all are in, one start time is given to all, and each
//! thread drives its clients alone until they are done. Between threads there are only counters to
//! read (replies so far) and one flag (stop: another thread failed).
//!
//! CPU time is read at the end of the warm-up and at the end of the run, for the whole process, so
//! that everything loadgen does counts.

use crate::client::{Clients, Tally};
use crate::drive::{Clock, Event, Stream, Wire, check_descriptors, cpu_ns, name};
use crate::failure::Failure;
use crate::fresh::{Fresh, ReadBack, fill, read_back};
use crate::histogram::Histogram;
use crate::plan::{Plan, nanoseconds};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// The longest wait without a look at the stop flag.
const WAIT_MAX_NS: u64 = 100_000_000;
/// From the last connection to the first request.
const START_DELAY_NS: u64 = 2_000_000;
/// How often the progress line changes.
const PROGRESS: Duration = Duration::from_millis(250);

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    pub tally: Tally,
    /// Time to connect, per connection.
    pub connect: Histogram,
    /// The measured window: its length, its replies, and CPU time used in it by loadgen and by the
    /// server (where its process was named).
    pub window_ns: u64,
    pub window_replies: u64,
    pub cpu_ns: u64,
    pub server_cpu_ns: Option<u64>,
    pub read_back: Option<ReadBack>,
    /// Why the run ended early.
    pub failure: Option<Failure>,
}

/// What the progress line shows.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    pub seconds: f64,
    pub replies: u64,
    pub replies_per_second: f64,
    pub warming_up: bool,
}

/// What threads share.
struct Shared {
    clock: Clock,
    start_ns: AtomicU64,
    stop: AtomicBool,
    replies: Vec<AtomicU64>,
    /// All threads and the one that waits for them.
    connected: Barrier,
    started: Barrier,
}

/// What one thread brings home.
struct Part {
    tally: Tally,
    connect: Histogram,
    failure: Option<Failure>,
}

/// Runs the plan. What fails before the first request is an error; what fails later is told in the
/// outcome, beside what was measured until then.
pub fn run(
    plan: &Plan,
    server: Option<i32>,
    show: &mut dyn FnMut(Progress),
) -> Result<Outcome, Failure> {
    check_descriptors(plan)?;
    if plan.fill {
        fill(plan)?;
    }
    let parties = usize::try_from(plan.threads).unwrap_or(usize::MAX).saturating_add(1);
    let shared = Shared {
        clock: Clock::new(),
        start_ns: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        replies: (0..plan.threads).map(|_| AtomicU64::new(0)).collect(),
        connected: Barrier::new(parties),
        started: Barrier::new(parties),
    };
    let (sender, receiver) = channel();
    let mut outcome = std::thread::scope(|scope| {
        for thread in 0..plan.threads {
            let (shared, sender) = (&shared, sender.clone());
            scope.spawn(move || {
                pin(plan, thread);
                // The receiver waits for every thread, so there is somebody to take it.
                let _sent = sender.send(part(plan, thread, shared));
            });
        }
        watch(plan, server, &shared, &receiver, show)
    })?;
    if let Some(ledger) = &outcome.tally.ledger {
        match read_back(plan, ledger) {
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
        if let Some(found) = self.read_back.as_ref().filter(|it| it.faults() > 0) {
            return Some(Failure::Unverified(format!(
                "of {} keys with acknowledged writes {} are gone, {} are older, {} are wrong\n  {}",
                found.keys,
                found.lost,
                found.old,
                found.wrong,
                found.examples.join("\n  ")
            )));
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

/// One thread's whole life.
fn part(plan: &Plan, thread: u32, shared: &Shared) -> Result<Part, Failure> {
    let mut connect_times = Histogram::default();
    let ready = Clients::new(plan, thread).map_err(Failure::Plan).and_then(|clients| {
        let streams = connect(plan, clients.count(), shared, &mut connect_times)?;
        let wire = Wire::new(streams).map_err(|it| lost(plan, "preparing sockets", &it))?;
        Ok((clients, wire))
    });
    if ready.is_err() {
        shared.stop.store(true, Ordering::Relaxed);
    }
    shared.connected.wait();
    shared.started.wait();
    let (mut clients, mut wire) = ready?;
    let clock = shared.clock.later(shared.start_ns.load(Ordering::Relaxed));
    let replies = &shared.replies[usize::try_from(thread).unwrap_or(0)];
    let driven = drive(plan, clock, &mut clients, &mut wire, &shared.stop, replies);
    if driven.is_err() {
        shared.stop.store(true, Ordering::Relaxed);
    }
    Ok(Part { tally: clients.tally, connect: connect_times, failure: driven.err() })
}

fn connect(
    plan: &Plan,
    count: usize,
    shared: &Shared,
    times: &mut Histogram,
) -> Result<Vec<Stream>, Failure> {
    let mut connecting = Vec::with_capacity(count);
    for _ in 0..count {
        if shared.stop.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let before = shared.clock.now();
        connecting.push(Fresh::connect(plan)?);
        times.record(shared.clock.now() - before, 1);
    }
    connecting.into_iter().map(|it| Ok(it.introduced(plan)?.into_stream())).collect()
}

/// The loop: send what is due, take what came.
fn drive(
    plan: &Plan,
    clock: Clock,
    clients: &mut Clients,
    wire: &mut Wire,
    stop: &AtomicBool,
    replies: &AtomicU64,
) -> Result<(), Failure> {
    let timeout = nanoseconds(plan.timeout_seconds);
    let mut out = Vec::new();
    let mut last_reply = clock.now();
    while clock.now() == 0 {
        std::hint::spin_loop();
    }
    for client in (0u32..).take(clients.count()) {
        clients.fill(client, clock.now(), false, &mut out);
        send(wire, client, &mut out);
    }
    loop {
        let now = clock.now();
        send_due(plan, clock, clients, wire, &mut out)?;
        if clients.is_done(now) || stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if clients.in_flight() == 0 {
            last_reply = now;
        } else if now.saturating_sub(last_reply) > timeout {
            return Err(Failure::Lost(format!(
                "no reply from {} for {} seconds, {} requests are unanswered",
                name(&plan.target),
                plan.timeout_seconds,
                clients.in_flight()
            )));
        }
        let next = clients.next_slot().map_or(WAIT_MAX_NS, |at| at.saturating_sub(clock.now()));
        wire.wait(next.min(WAIT_MAX_NS)).map_err(|it| lost(plan, "waiting", &it))?;
        while let Some(event) = wire.next_event() {
            let (client, bytes) = match event {
                Event::Received(client, bytes) => (client, bytes),
                Event::Gone(_) => return Err(gone(plan, clients)),
            };
            last_reply = clock.now();
            clients
                .received(client, bytes, last_reply, &mut out)
                .map_err(|it| Failure::NoResp(it.0))?;
            send(wire, client, &mut out);
            if clients.next_slot().is_some_and(|at| at <= last_reply) {
                send_due(plan, clock, clients, wire, &mut out)?;
            }
        }
        replies.store(clients.tally.replies, Ordering::Relaxed);
    }
}

/// Sends every request whose time has come.
fn send_due(
    plan: &Plan,
    clock: Clock,
    clients: &mut Clients,
    wire: &mut Wire,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    clients.tick(clock.now());
    let mut sent = false;
    while let Some(client) = clients.next_touched() {
        clients.fill(client, clock.now(), true, out);
        send(wire, client, out);
        sent = true;
    }
    if sent {
        wire.flush().map_err(|it| lost(plan, "sending", &it))?;
        clients.flushed(clock.now());
    }
    Ok(())
}

fn send(wire: &mut Wire, client: u32, out: &mut Vec<u8>) {
    if !out.is_empty() {
        wire.send(client, out);
        out.clear();
    }
}

/// Gives the start, reads the CPU clocks, shows progress, and gathers the parts.
fn watch(
    plan: &Plan,
    server: Option<i32>,
    shared: &Shared,
    receiver: &Receiver<Result<Part, Failure>>,
    show: &mut dyn FnMut(Progress),
) -> Result<Outcome, Failure> {
    shared.connected.wait();
    let start = shared.clock.now() + START_DELAY_NS;
    shared.start_ns.store(start, Ordering::Relaxed);
    shared.started.wait();
    let clock = shared.clock.later(start);
    let warm_up = nanoseconds(plan.warm_up_seconds);
    let replies = || shared.replies.iter().map(|it| it.load(Ordering::Relaxed)).sum::<u64>();
    let mut window = (warm_up == 0).then(|| Reading::take(server, 0, 0)).transpose()?;
    let (mut outcome, mut left, mut before) = (Outcome::default(), plan.threads, (0, 0));
    let mut error = None;
    while left > 0 {
        let now = clock.now();
        let pause = if window.is_none() { warm_up.saturating_sub(now) } else { u64::MAX };
        match receiver.recv_timeout(PROGRESS.min(Duration::from_nanos(pause))) {
            Ok(Ok(part)) => {
                left -= 1;
                outcome.tally.merge(part.tally);
                outcome.connect.add(&part.connect);
                outcome.failure = outcome.failure.or(part.failure);
            }
            Ok(Err(failure)) => (left, error) = (left - 1, error.or(Some(failure))),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let (now, so_far) = (clock.now(), replies());
        if window.is_none() && now >= warm_up {
            window = Some(Reading::take(server, now, so_far)?);
        }
        if now.saturating_sub(before.0) >= 200_000_000 {
            let rate = (so_far - before.1) as f64 * 1e9 / (now - before.0) as f64;
            show(Progress {
                seconds: now as f64 / 1e9,
                replies: so_far,
                replies_per_second: rate,
                warming_up: window.is_none(),
            });
            before = (now, so_far);
        }
    }
    if let Some(failure) = error {
        return Err(failure);
    }
    if let Some(window) = window {
        window.close(server, clock.now(), &mut outcome);
    }
    Ok(outcome)
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

fn pin(plan: &Plan, thread: u32) {
    if let Some(&id) = plan.cores.get(usize::try_from(thread).unwrap_or(usize::MAX)) {
        core_affinity::set_for_current(core_affinity::CoreId { id });
    }
}

fn lost(plan: &Plan, doing: &str, error: &std::io::Error) -> Failure {
    Failure::Lost(format!("{doing}: lost the connection to {}: {error}", name(&plan.target)))
}

fn gone(plan: &Plan, clients: &Clients) -> Failure {
    Failure::Lost(format!(
        "{} closed a connection in the middle of the run; {} requests were in flight",
        name(&plan.target),
        clients.in_flight()
    ))
}
