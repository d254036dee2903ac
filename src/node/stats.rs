//! What a core counts. How the counts of all cores become one: `info.rs`.
//!
//! Counting costs an addition on the hot path; time is charged a turn at a time by the runtime,
//! evenly over the commands that ran in it, because nothing here reads a clock.

use crate::base::map::HashMap;
use crate::base::time::{Mono, Now};
use crate::node::session;
use crate::resp::error::ErrorKind;

/// One command's counts, as `INFO commandstats` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandStats {
    pub calls: u64,
    pub nanoseconds: u64,
    pub rejected: u64,
    pub failed: u64,
}

/// See the file's header.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Seconds since the epoch, read once a turn.
    pub seconds: u32,
    pub commands: Vec<CommandStats>,
    pub errors: HashMap<String, u64>,
    pub processed: u64,
    pub connections: u64,
    pub rejected_connections: u64,
    pub evicted_clients: u64,
    /// Clients closed since too much of their output, or of their input, waited.
    pub output_disconnections: u64,
    pub input_disconnections: u64,
    pub input_bytes: u64,
    pub output_bytes: u64,
    pub repl_input_bytes: u64,
    pub repl_output_bytes: u64,
    pub error_replies: u64,
    /// Refusals for want of rights: of commands, keys, channels, and passwords (`acl::log::Why`).
    pub denied: [u64; 4],
    /// Chunks received, and segments handed over to be sent.
    pub reads: u64,
    pub writes: u64,
    /// Requests, or parts of them, sent to other cores.
    pub hops: u64,
    /// Commands of this turn, to be charged, and what others took that were timed.
    turn: Vec<u16>,
    timed: u64,
    rates: [Rate; 5],
}

/// The rate of a counter over the last 16 tenths of a second, as Redis samples it.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    last: u64,
    samples: [u64; 16],
    at: usize,
}

impl Stats {
    #[must_use]
    pub fn new(commands: usize) -> Self {
        Self { commands: vec![CommandStats::default(); commands], ..Self::default() }
    }

    /// The time of the turn that begins.
    pub fn begin(&mut self, now: Now) {
        self.seconds = session::seconds(now);
    }

    #[inline]
    pub fn called(&mut self, number: u16, failed: bool) {
        let stats = &mut self.commands[usize::from(number)];
        stats.calls += 1;
        stats.failed += u64::from(failed);
        self.processed += 1;
        self.turn.push(number);
    }

    /// The last of these calls was none: it was one part of another.
    pub fn not_called(&mut self, number: u16) {
        self.commands[usize::from(number)].calls -= 1;
        self.processed -= 1;
    }

    pub fn rejected(&mut self, number: Option<u16>) {
        if let Some(number) = number {
            self.commands[usize::from(number)].rejected += 1;
        }
    }

    /// An error reply was sent.
    pub fn failed(&mut self, error: &ErrorKind) {
        self.failed_with(error.code());
    }

    /// An error reply of that code was sent.
    pub fn failed_with(&mut self, code: &str) {
        self.error_replies += 1;
        if let Some(count) = self.errors.get_mut(code) {
            *count += 1;
        } else if self.errors.len() < crate::base::limits::ERROR_CODES_MAX {
            self.errors.insert(code.to_string(), 1);
        }
    }

    #[inline]
    pub fn received(&mut self, bytes: usize) {
        self.input_bytes += bytes as u64;
        self.reads += 1;
    }

    /// What a turn wrote for clients.
    #[inline]
    pub fn sent(&mut self, bytes: usize, segments: usize) {
        self.output_bytes += bytes as u64;
        self.writes += segments as u64;
    }

    /// The last of these calls was timed.
    pub fn took(&mut self, number: u16, nanoseconds: u64) {
        if self.turn.last() == Some(&number) {
            self.turn.pop();
            self.timed += nanoseconds;
            self.commands[usize::from(number)].nanoseconds += nanoseconds;
        }
    }

    /// Charges the turn's time to its commands: `each` is told how many calls of one took how long.
    pub fn charge(&mut self, nanoseconds: u64, mut each: impl FnMut(u16, u64, u64)) {
        let left = nanoseconds.saturating_sub(std::mem::take(&mut self.timed));
        let share = left / (self.turn.len() as u64).max(1);
        for same in self.turn.chunk_by(|one, next| one == next) {
            let calls = same.len() as u64;
            self.commands[usize::from(same[0])].nanoseconds += share * calls;
            each(same[0], share, calls);
        }
        self.turn.clear();
    }

    /// Ten times a second.
    pub fn tick(&mut self, _now: Now) {
        let counters = [
            self.processed,
            self.input_bytes,
            self.output_bytes,
            self.repl_input_bytes,
            self.repl_output_bytes,
        ];
        for (rate, counter) in self.rates.iter_mut().zip(counters) {
            rate.samples[rate.at] = counter.saturating_sub(rate.last) * 10;
            rate.last = counter;
            rate.at = (rate.at + 1) % rate.samples.len();
        }
    }

    /// Per second, lately: commands, bytes in and out of clients, bytes in and out of replication.
    #[must_use]
    pub fn rates(&self) -> [u64; 5] {
        self.rates.map(|rate| rate.samples.iter().sum::<u64>() / rate.samples.len() as u64)
    }

    /// `CONFIG RESETSTAT`.
    pub fn reset(&mut self) {
        let (seconds, commands) = (self.seconds, self.commands.len());
        *self = Self { seconds, ..Self::new(commands) };
    }

    /// Whole seconds from `start` to `now`.
    #[must_use]
    pub fn uptime(start: Mono, now: Now) -> u64 {
        now.mono.ms_since(start) / 1_000
    }
}
