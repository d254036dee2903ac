//! `loadgen lag`: how long a write takes until a replica shows it.
//!
//! One thread writes numbered values to a few keys of the master, at a planned pace, and notes when
//! each was sent and when it was acknowledged. One thread for each replica reads all those keys again
//! and again; the first read that shows a number (or a later one of that key) ends that write's lag.
//! So a lag is too long by up to one read and its pause, which are measured too: the resolution.
//!
//! Two lags: since the write was sent, and since its client was told of it. The second is what a
//! client sees who writes and then reads from a replica; it is 0 where the replica was first.

use crate::args::Lag;
use crate::drive::{Clock, precise_timers};
use crate::failure::Failure;
use crate::fresh::{Answer, Fresh};
use crate::histogram::Histogram;
use crate::report::{Report, curve, framed, latency, print_text, write, write_json};
use crate::stamps;
use crate::target::Target;
use crate::template::{array, bulk, stamp};
use crate::text;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const WRITES_MAX: u64 = 100_000_000;
const KEYS_MAX: u32 = 1_024;

/// What all threads see: per write, when it was sent and acknowledged, in nanoseconds; 0: not yet.
struct Shared {
    clock: Clock,
    sent: Vec<AtomicU64>,
    acknowledged: Vec<AtomicU64>,
    /// Writes that were made; all of them once `done` is set.
    written: AtomicU64,
    done: AtomicBool,
    stop: AtomicBool,
}

/// What was measured at one replica.
#[derive(Default)]
struct Seen {
    name: String,
    since_sent: Histogram,
    since_acknowledged: Histogram,
    /// Time between two reads.
    resolution: Histogram,
}

/// `loadgen lag`.
pub fn measure(args: &Lag) -> Result<(), Failure> {
    let master = args.server.target();
    let replicas: Vec<Target> =
        args.replica.iter().map(|it| replica(&master, it)).collect::<Result<_, _>>()?;
    let writes = writes(args)?;
    let slots = || (0..writes).map(|_| AtomicU64::new(0)).collect();
    let shared = Shared {
        clock: Clock::new(),
        sent: slots(),
        acknowledged: slots(),
        written: AtomicU64::new(0),
        done: AtomicBool::new(false),
        stop: AtomicBool::new(false),
    };
    let (written, seen) = std::thread::scope(|scope| {
        let readers: Vec<_> = replicas
            .iter()
            .map(|replica| {
                let shared = &shared;
                scope.spawn(move || stopping(shared, read(args, replica, shared)))
            })
            .collect();
        let written = stopping(&shared, write_all(args, &master, &shared));
        shared.done.store(true, Ordering::Release);
        let lost = || Err(Failure::Lost("a reading thread ended".into()));
        let seen = readers.into_iter().map(|it| it.join().unwrap_or_else(|_| lost()));
        (written, seen.collect::<Result<Vec<_>, _>>())
    });
    let (acknowledgement, seconds) = written?;
    let seen = seen?;
    print_text(&table(args, &seen, &acknowledgement, seconds));
    if let Some(path) = &args.json {
        write_json(path, &report(&seen, &acknowledgement, seconds))?;
    }
    if let Some(path) = &args.hgrm {
        for (replica, seen) in replicas.iter().zip(&seen) {
            let path = format!("{}.{}", path.display(), replica.port);
            write(Path::new(&path), &seen.since_acknowledged.hgrm())?;
        }
    }
    Ok(())
}

fn writes(args: &Lag) -> Result<u64, Failure> {
    if !(1..=KEYS_MAX).contains(&args.keys) {
        return Err(Failure::Plan(format!("the probe writes between 1 and {KEYS_MAX} keys")));
    }
    let writes = args.rate * args.duration;
    if !(1.0..=WRITES_MAX as f64).contains(&writes) || args.rate <= 0.0 {
        return Err(Failure::Plan(format!("the probe makes between 1 and {WRITES_MAX} writes")));
    }
    if args.timeout.is_nan() || args.timeout <= 0.0 {
        return Err(Failure::Plan("the time limit must be above 0".into()));
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    Ok(writes as u64)
}

/// The master's target with another address.
fn replica(master: &Target, text: &str) -> Result<Target, Failure> {
    let wrong = || Failure::Plan(format!("--replica: `{text}` is not [HOST:]PORT"));
    let (host, port) = text.rsplit_once(':').unwrap_or((&master.host, text));
    let host = if host.is_empty() { &master.host } else { host };
    let port = port.parse().map_err(|_| wrong())?;
    Ok(Target { host: host.into(), port, unix: None, ..master.clone() })
}

/// A thread that fails stops the others.
fn stopping<T>(shared: &Shared, result: Result<T, Failure>) -> Result<T, Failure> {
    if result.is_err() {
        shared.stop.store(true, Ordering::Relaxed);
    }
    result
}

/// Writes at the planned pace; returns the times to acknowledgement and how long all took.
fn write_all(args: &Lag, master: &Target, shared: &Shared) -> Result<(Histogram, f64), Failure> {
    let _precise = precise_timers();
    let mut fresh = Fresh::connect(master, args.timeout)?.introduced()?;
    let mut times = Histogram::default();
    let start = shared.clock.now();
    let mut request = Vec::new();
    for (index, (sent, acknowledged)) in shared.sent.iter().zip(&shared.acknowledged).enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "a run ends within years")]
        let planned = start + (index as f64 * 1e9 / args.rate) as u64;
        pause_until(shared.clock, planned);
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let number = index as u64;
        let now = shared.clock.now();
        request.clear();
        put(&mut request, number % u64::from(args.keys), number, now);
        sent.store(now, Ordering::Relaxed);
        // A reader that sees this number in a value finds the time that belongs to it.
        shared.written.store(number + 1, Ordering::Release);
        fresh.send(&request)?;
        if let Answer::Error(text) = fresh.answer()? {
            return Err(Failure::Replied(format!("{text} (while writing)")));
        }
        let end = shared.clock.now();
        acknowledged.store(end, Ordering::Release);
        times.record(end - now, 1);
    }
    Ok((times, (shared.clock.now() - start) as f64 / 1e9))
}

/// `SET lag:<key> <number, 16 digits><stamp>`
fn put(request: &mut Vec<u8>, key: u64, number: u64, now: u64) {
    let mut value = format!("{number:016x}").into_bytes();
    value.resize(16 + stamps::LEN, 0);
    stamps::write(&mut value[16..], now);
    array(request, 3);
    bulk(request, b"SET");
    bulk(request, format!("lag:{key}").as_bytes());
    bulk(request, &value);
}

/// Reads all keys until every write was seen.
fn read(args: &Lag, replica: &Target, shared: &Shared) -> Result<Seen, Failure> {
    let _precise = precise_timers();
    let mut fresh = Fresh::connect(replica, args.timeout)?.introduced()?;
    let mut seen = Seen { name: replica.name(), ..Seen::default() };
    let keys = u64::from(args.keys);
    let mut request = Vec::new();
    for key in 0..keys {
        array(&mut request, 2);
        bulk(&mut request, b"GET");
        bulk(&mut request, format!("lag:{key}").as_bytes());
    }
    // The number that each key is to show next.
    let mut next: Vec<u64> = (0..keys).collect();
    let (mut before, mut progress) = (shared.clock.now(), shared.clock.now());
    loop {
        let done = shared.done.load(Ordering::Acquire);
        fresh.send(&request)?;
        let mut missing = false;
        for next in &mut next {
            let value = match fresh.answer()? {
                Answer::Bulk(value) => Some(value),
                Answer::Error(text) => {
                    let text = format!("{text} (while reading from {})", seen.name);
                    return Err(Failure::Replied(text));
                }
                Answer::Null | Answer::Other => None,
            };
            let now = shared.clock.now();
            let written = shared.written.load(Ordering::Acquire);
            // What an earlier run left there is above what was written, or of another key.
            let shown = value.as_deref().and_then(stamp).filter(|it| *it < written);
            let shown = shown.filter(|it| it % keys == *next % keys && is_own(*it, &value, shared));
            while shown.is_some_and(|it| it >= *next) {
                seen.note(*next, now, shared);
                *next += keys;
                progress = now;
            }
            missing |= *next < written;
        }
        let now = shared.clock.now();
        seen.resolution.record(now - before, 1);
        before = now;
        if (done && !missing) || shared.stop.load(Ordering::Relaxed) {
            return Ok(seen);
        }
        let idle = now.saturating_sub(progress) as f64 / 1e9;
        if missing && idle > args.timeout {
            return Err(Failure::Unverified(format!(
                "{} does not show what was written {idle:.1} seconds ago",
                seen.name
            )));
        }
        std::thread::park_timeout(Duration::from_micros(args.pause));
    }
}

/// Whether the value's time is the one at which this run sent that number.
fn is_own(number: u64, value: &Option<Vec<u8>>, shared: &Shared) -> bool {
    let at = crate::draw::to_usize(number);
    let sent = shared.sent.get(at).map_or(0, |it| it.load(Ordering::Relaxed));
    let (mut own, mut carry) = (false, Vec::new());
    stamps::find(&mut carry, value.as_deref().unwrap_or_default(), |it| own |= it == sent);
    own
}

impl Seen {
    fn note(&mut self, number: u64, now: u64, shared: &Shared) {
        let at = crate::draw::to_usize(number);
        let load = |list: &[AtomicU64]| list.get(at).map_or(0, |it| it.load(Ordering::Acquire));
        let (sent, acknowledged) = (load(&shared.sent), load(&shared.acknowledged));
        self.since_sent.record(now.saturating_sub(sent), 1);
        let told = if acknowledged == 0 { now } else { acknowledged };
        self.since_acknowledged.record(now.saturating_sub(told), 1);
    }
}

/// Sleeps most of the time, and watches the clock at the end.
fn pause_until(clock: Clock, planned: u64) {
    loop {
        let left = planned.saturating_sub(clock.now());
        if left == 0 {
            return;
        }
        if left > 100_000 {
            std::thread::park_timeout(Duration::from_nanos(left - 50_000));
        } else {
            std::hint::spin_loop();
        }
    }
}

fn table(args: &Lag, seen: &[Seen], acknowledgement: &Histogram, seconds: f64) -> String {
    let count = acknowledgement.count();
    let rate = count as f64 / seconds.max(1e-9);
    let mut out = format!(
        "{count} writes to {} in {seconds:.3} s: {rate:.0} per second, {} keys, {} replicas\n\n",
        args.server.target().name(),
        args.keys,
        seen.len()
    );
    out += &text::header("us");
    out += &text::row("acknowledged after", acknowledgement);
    for it in seen {
        out += &format!("\n{}\n", it.name);
        out += &text::row("  seen after sent", &it.since_sent);
        out += &text::row("  after acknowledged", &it.since_acknowledged);
        out += &text::row("  between two reads", &it.resolution);
    }
    out
}

fn report(seen: &[Seen], acknowledgement: &Histogram, seconds: f64) -> Report {
    let mut all = vec![("acknowledged after".to_string(), acknowledgement)];
    for it in seen {
        all.push((format!("{} after sent", it.name), &it.since_sent));
        all.push((format!("{} after acknowledged", it.name), &it.since_acknowledged));
        all.push((format!("{} between two reads", it.name), &it.resolution));
    }
    Report {
        seconds,
        requests: acknowledgement.count(),
        requests_per_second: acknowledgement.count() as f64 / seconds.max(1e-9),
        latency: latency(acknowledgement),
        phases: all.iter().map(|(name, it)| (name.clone(), latency(it))).collect(),
        curves: all.iter().map(|(name, it)| curve(name, it)).collect(),
        ..framed()
    }
}
