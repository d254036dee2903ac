//! What took long: single requests that were timed, for SLOWLOG and LATENCY.
//!
//! Reading a clock twice for every GET would cost more than many of them do. So a command is timed by
//! itself only if it may be long by its nature (its complexity is no constant), or if the settings ask for
//! requests that are not even a millisecond long. All others are charged evenly for the turn that ran
//! them, which is what they cost.
//!
//! The stopwatch is lent by the outside and measures only: nothing is decided by it.

use crate::base::limits::{SLOWLOG_ENTRIES_MAX, SLOWLOG_WORD_BYTES_MAX, SLOWLOG_WORDS_MAX};
use crate::command::args::Args;
use crate::command::spec::{Flags, Spec};
use crate::node::core::Core;
use crate::node::message::Message;
use crate::node::outbox::{Conn, Outbox};
use crate::node::settings::Settings;
use crate::node::table::Table;
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;

/// One slow request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlowEntry {
    pub id: u64,
    /// Seconds since the epoch.
    pub at: u32,
    pub micros: u64,
    pub words: Vec<Vec<u8>>,
    pub addr: String,
    pub name: Vec<u8>,
}

/// What was noted of one kind of latency: so much at these seconds, and the most of all time.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    pub last: VecDeque<(u32, u64)>,
    pub most_ms: u64,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct Slow {
    /// By a row's number: timed whenever it runs.
    long: Vec<bool>,
    everything: bool,
    /// `None`: nothing is slow.
    slower_than_us: Option<u64>,
    pub(super) entries_max: usize,
    /// 0: no samples are kept.
    samples_from_ms: u64,
    tracks: bool,
    pub(super) log: VecDeque<SlowEntry>,
    pub(super) samples: BTreeMap<&'static str, Samples>,
    /// By a row's number.
    pub(super) histograms: Vec<Option<Box<Histogram<u64>>>>,
    /// Slow requests whose client is not known yet.
    pending: Vec<SlowEntry>,
    /// Those of clients of other cores.
    foreign: Vec<(usize, Conn, u32, SlowEntry)>,
}

/// Samples of one kind of latency.
const SAMPLES: usize = 160;
/// Requests this short are only seen where all are timed.
const TIMED_BY_NATURE_US: i64 = 1_000;

impl Slow {
    #[must_use]
    pub fn new(table: &Table, settings: &Settings) -> Self {
        let long =
            |spec: &Spec| !spec.flags.has(Flags::FAST) && !spec.complexity.starts_with("O(1)");
        let long: Vec<bool> = table.iter().map(|(_, row)| long(row.spec)).collect();
        let histograms = long.iter().map(|_| None).collect();
        let mut slow = Self { long, histograms, ..Self::default() };
        slow.configure(settings);
        slow
    }

    pub fn configure(&mut self, settings: &Settings) {
        let slower_than = settings.slowlog_log_slower_than;
        self.slower_than_us = u64::try_from(slower_than).ok();
        self.everything = (0..TIMED_BY_NATURE_US).contains(&slower_than);
        let max = usize::try_from(settings.slowlog_max_len).unwrap_or(usize::MAX);
        self.entries_max = max.min(SLOWLOG_ENTRIES_MAX);
        self.log.truncate(self.entries_max);
        self.samples_from_ms = u64::try_from(settings.latency_monitor_threshold).unwrap_or(0);
        self.tracks = settings.latency_tracking;
        if !self.tracks {
            self.histograms.fill_with(|| None);
        }
    }

    /// Is this command timed by itself?
    #[inline]
    #[must_use]
    pub fn times(&self, number: u16) -> bool {
        self.everything || self.long.get(usize::from(number)).is_some_and(|it| *it)
    }

    /// So many calls of a command took so long each.
    pub fn record(&mut self, number: u16, nanoseconds: u64, calls: u64) {
        if !self.tracks {
            return;
        }
        if let Some(place) = self.histograms.get_mut(usize::from(number)) {
            let histogram = place.get_or_insert_with(|| Box::new(histogram()));
            histogram.saturating_record_n(nanoseconds.max(1), calls);
        }
    }

    fn note(&mut self, kind: &'static str, at: u32, ms: u64) {
        let samples = self.samples.entry(kind).or_default();
        samples.most_ms = samples.most_ms.max(ms);
        match samples.last.back_mut() {
            Some(last) if last.0 == at => last.1 = last.1.max(ms),
            _ => samples.last.push_back((at, ms)),
        }
        if samples.last.len() > SAMPLES {
            samples.last.pop_front();
        }
    }

    pub(super) fn keep(&mut self, entry: SlowEntry) {
        self.log.push_front(entry);
        self.log.truncate(self.entries_max);
    }

    #[inline]
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// From a nanosecond to a second in two digits, as Redis keeps them.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    const SECOND: u64 = 1_000_000_000;
    Histogram::new_with_bounds(1, SECOND, 2).unwrap_or_else(|why| unreachable!("{why}"))
}

impl Core {
    /// A timed request is done.
    #[cold]
    pub(super) fn took(&mut self, number: u16, started: u64, args: Args<'_>) {
        let nanoseconds = (self.shared.stopwatch)().saturating_sub(started);
        let spec = self.shared.table.row(number).spec;
        let seconds = self.stats.seconds;
        let ms = nanoseconds / 1_000_000;
        self.stats.took(number, nanoseconds);
        self.slow.record(number, nanoseconds, 1);
        if self.slow.samples_from_ms > 0 && ms >= self.slow.samples_from_ms {
            let fast = spec.flags.has(Flags::FAST);
            self.slow.note(if fast { "fast-command" } else { "command" }, seconds, ms);
        }
        let micros = nanoseconds / 1_000;
        let slow = self.slow.slower_than_us.is_some_and(|limit| micros >= limit);
        if slow && !spec.flags.has(Flags::SKIP_SLOWLOG) && self.slow.entries_max > 0 {
            let id = self.shared.slow_ids.fetch_add(1, Ordering::Relaxed);
            let words = shown(&self.shared.table.row(number).full_name, args);
            self.slow.pending.push(SlowEntry {
                id,
                at: seconds,
                micros,
                words,
                ..Default::default()
            });
        }
    }

    /// The slow requests since the last time were of this client of ours.
    #[cold]
    pub(super) fn slow_of(&mut self, conn: Conn) {
        for mut entry in std::mem::take(&mut self.slow.pending) {
            if let Some(session) = self.sessions.get(conn) {
                (entry.addr, entry.name) = (self.addresses(session).0, session.name().to_vec());
            }
            self.slow.keep(entry);
        }
    }

    /// They were of a client of another core.
    #[cold]
    pub(super) fn slow_of_other(&mut self, core: usize, conn: Conn, generation: u32) {
        let entries = std::mem::take(&mut self.slow.pending);
        self.slow.foreign.extend(entries.into_iter().map(|it| (core, conn, generation, it)));
    }

    /// At the end of a turn: tells other cores of their clients' slow requests.
    pub(super) fn tell_slow(&mut self, out: &mut Outbox) {
        for (core, conn, generation, entry) in std::mem::take(&mut self.slow.foreign) {
            out.mail[core].push(Message::Slow { conn, generation, entry: Box::new(entry) });
        }
        for entry in std::mem::take(&mut self.slow.pending) {
            self.slow.keep(entry);
        }
    }

    /// A request of one of our clients was slow on another core.
    pub(super) fn slow_elsewhere(&mut self, conn: Conn, generation: u32, mut entry: SlowEntry) {
        if self.sessions.same(conn, generation).is_some()
            && let Some(session) = self.sessions.get(conn)
        {
            (entry.addr, entry.name) = (self.addresses(session).0, session.name().to_vec());
        }
        self.slow.keep(entry);
    }
}

/// A request as the log keeps it: not all of it, and no passwords.
fn shown(name: &str, args: Args<'_>) -> Vec<Vec<u8>> {
    let secret_from = match name {
        "acl|setuser" => 2,
        "auth" => 1,
        "hello" => 3,
        "config|set" => 3,
        _ => usize::MAX,
    };
    let kept = if args.len() > SLOWLOG_WORDS_MAX { SLOWLOG_WORDS_MAX - 1 } else { args.len() };
    let word = |(at, word): (usize, &[u8])| {
        if at >= secret_from && (name != "config|set" || is_secret(args, at)) {
            return b"(redacted)".to_vec();
        }
        match word.len().checked_sub(SLOWLOG_WORD_BYTES_MAX) {
            Some(more @ 1..) => {
                let mut text = word[..SLOWLOG_WORD_BYTES_MAX].to_vec();
                text.extend(format!("... ({more} more bytes)").into_bytes());
                text
            }
            _ => word.to_vec(),
        }
    };
    let mut words: Vec<Vec<u8>> = args.iter().take(kept).enumerate().map(word).collect();
    if kept < args.len() {
        words.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    words
}

/// Is this word of a CONFIG SET the value of a secret?
fn is_secret(args: Args<'_>, at: usize) -> bool {
    let names = [
        "masterauth",
        "masteruser",
        "requirepass",
        "tls-key-file-pass",
        "tls-client-key-file-pass",
    ];
    at % 2 == 1 && names.iter().any(|name| args.is(at - 1, name))
}
