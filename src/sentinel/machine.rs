//! A Sentinel: what happened goes in, what is to be done comes out. No socket, clock, file or thread.
//!
//! ```text
//!   Tick, Received, Connected, Saved, ..  ->  Sentinel::handle(now)  ->  Send, Dial, Save, ..
//! ```
//!
//! **What is promised is on disk first.** Epochs, votes and configurations are part of the file. A
//! change marks the state as unsaved; at the end of `handle` one `Save` of the whole file goes out if
//! none is under way. Until `Saved` says that it is on disk, no answer that depends on it leaves
//! (`client.rs`), no hello speaks of it, no vote is asked for, and no failover goes on (`is_saved`).
//! Pings, and answers that promise nothing, go on meanwhile: a slow disk makes nobody look dead.
//!
//! **Clock.** Everything is measured with the monotonic clock, so a step of the wall clock is no
//! event. A tick that comes far too late means that we were stopped: TILT.

use super::address::Book;
use super::client::Client;
use super::instance::{Id, Instances, LinkId, Ms};
use super::link::{Link, Side};
use super::record::Record;
use super::scripts::{Ended, Scripts};
use super::settings::{Failures, Globals, Periods, Settings};
use crate::base::prng::Prng;
use crate::base::time::Now;
use std::collections::BTreeMap;

/// A connection, by its number outside: one that we dialled, or a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conn {
    Wire(u32),
    Client(u32),
}

/// How a line counts in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// Some time passed: see [`Sentinel::tick_ms`].
    Tick,
    /// A connection that was dialled is up; our address on it.
    Connected {
        wire: u32,
        local: String,
    },
    Accepted {
        client: u32,
        peer: String,
        local: String,
        is_loopback: bool,
    },
    Received {
        conn: Conn,
        bytes: &'a [u8],
    },
    /// It ended, or never came to be.
    Closed {
        conn: Conn,
    },
    /// The file with this number is on disk, or is not.
    Saved {
        number: u64,
        result: Result<(), String>,
    },
    Resolved {
        name: String,
        ip: Option<String>,
    },
    ScriptStarted {
        job: u64,
        result: Result<u32, String>,
    },
    /// `signal` is 0 where it ended by itself.
    ScriptEnded {
        job: u64,
        code: i32,
        signal: i32,
    },
    /// The process is asked to end.
    Terminate,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// What is sent before it is up is kept for it.
    Dial {
        wire: u32,
        ip: String,
        port: u16,
    },
    Send {
        conn: Conn,
        bytes: Vec<u8>,
    },
    /// After what was sent.
    Close {
        conn: Conn,
    },
    Resolve {
        name: String,
    },
    /// Replace the file by this text, whole or not at all, and say `Saved`.
    Save {
        number: u64,
        text: Vec<u8>,
    },
    Log {
        level: Level,
        text: String,
    },
    Run {
        job: u64,
        argv: Vec<String>,
    },
    Kill {
        job: u64,
    },
    Exit {
        code: u8,
    },
}

/// What is on disk of the state.
#[derive(Debug, Default)]
pub(super) struct Saving {
    /// Counts changes; the number of a file is that of the last change in it.
    pub wanted: u64,
    pub saved: u64,
    under_way: bool,
    failed_at: Option<Ms>,
}

/// A Sentinel.
#[derive(Debug)]
pub struct Sentinel {
    pub(super) settings: Settings,
    pub(super) globals: Globals,
    pub(super) periods: Periods,
    pub(super) failures: Failures,
    pub(super) myid: String,
    pub(super) epoch: u64,
    pub(super) masters: BTreeMap<String, Id>,
    pub(super) instances: Instances,
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) wires: BTreeMap<u32, (LinkId, Side)>,
    pub(super) clients: BTreeMap<u32, Client>,
    pub(super) book: Book,
    pub(super) scripts: Scripts,
    pub(super) tilt_since: Option<Ms>,
    pub(super) last_tick: Ms,
    pub(super) started: Ms,
    pub(super) saving: Saving,
    /// The file as it was read: what is not ours stays as it is.
    pub(super) original: Vec<u8>,
    pub(super) prng: Prng,
    pub(super) next_link: u32,
    pub(super) next_wire: u32,
    pub(super) next_client_id: u64,
    pub(super) counts: Counts,
    pub(super) now: Ms,
    /// Tells, and decides nothing.
    pub(super) wall_us: u64,
    pub(super) record: Record,
    pub(super) out: Vec<Output>,
    #[cfg(test)]
    pub(super) plant: Option<super::sim::Plant>,
}

/// For INFO.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub connections: u64,
    pub commands: u64,
    pub errors: u64,
    pub rejected: u64,
}

impl Sentinel {
    /// A Sentinel that has done nothing yet. [`Sentinel::begin`] comes first.
    #[must_use]
    pub fn new(now: Now, seed: u64, settings: Settings) -> Self {
        let wall_us = now.wall.0;
        let now = ms(now);
        Self {
            settings,
            globals: Globals::default(),
            periods: Periods::default(),
            failures: Failures::default(),
            myid: String::new(),
            epoch: 0,
            masters: BTreeMap::new(),
            instances: Instances::default(),
            links: BTreeMap::new(),
            wires: BTreeMap::new(),
            clients: BTreeMap::new(),
            book: Book::default(),
            scripts: Scripts::default(),
            tilt_since: None,
            last_tick: now,
            started: now,
            saving: Saving::default(),
            original: Vec::new(),
            prng: Prng::new(seed),
            next_link: 0,
            next_wire: 0,
            next_client_id: 0,
            counts: Counts::default(),
            now,
            wall_us,
            record: Record::default(),
            out: Vec::new(),
            #[cfg(test)]
            plant: None,
        }
    }

    /// After the configuration is loaded: takes an id if it has none, and says what it watches.
    pub fn begin(&mut self, now: Now, out: &mut Vec<Output>) {
        self.now = ms(now);
        self.last_tick = self.now;
        if self.myid.is_empty() {
            self.myid = (0..40).map(|_| hex_digit(self.prng.below(16))).collect();
        }
        self.touch();
        self.log(Level::Warning, format!("Sentinel ID is {}", self.myid));
        for id in self.master_ids() {
            let quorum = self.instances.master(id).quorum;
            self.event_of(Level::Warning, "+monitor", id, &format!(" quorum {quorum}"));
        }
        self.finish(out);
    }

    /// The only way in.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>) {
        self.now = ms(now);
        self.wall_us = now.wall.0;
        match input {
            Input::Tick => self.tick(),
            Input::Connected { wire, local } => self.wire_up(wire, local),
            Input::Accepted { client, peer, local, is_loopback } => {
                self.client_accepted(client, peer, local, is_loopback);
            }
            Input::Received { conn: Conn::Wire(wire), bytes } => self.wire_received(wire, bytes),
            Input::Received { conn: Conn::Client(client), bytes } => {
                self.client_received(client, bytes);
            }
            Input::Closed { conn: Conn::Wire(wire) } => self.wire_closed(wire),
            Input::Closed { conn: Conn::Client(client) } => self.client_closed(client),
            Input::Saved { number, result } => self.saved(number, result),
            Input::Resolved { name, ip } => self.resolved(&name, ip),
            Input::ScriptStarted { job, result } => self.script_started(job, result),
            Input::ScriptEnded { job, code, signal } => self.script_ended(job, code, signal),
            Input::Terminate => {
                self.log(Level::Warning, "User requested shutdown...".into());
                self.out.push(Output::Exit { code: 0 });
            }
        }
        self.finish(out);
    }

    /// How long until the next `Tick`. A shorter patience is looked after more often, and no two
    /// Sentinels keep step: those that ask for votes at the same moment get none.
    #[must_use]
    pub fn tick_ms(&mut self) -> u64 {
        let patience = self.master_ids().iter().map(|id| self.instances[*id].down_after).min();
        let longest = (patience.unwrap_or(1_000) / 10).clamp(10, 100);
        let longest = u64::try_from(longest).unwrap_or(100);
        longest / 2 + self.prng.below(longest / 2 + 1)
    }

    /// Our own id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.myid
    }

    pub(super) fn master_ids(&self) -> Vec<Id> {
        self.masters.values().copied().collect()
    }

    /// The state changed: it is to be saved.
    pub(super) fn touch(&mut self) {
        self.saving.wanted += 1;
    }

    /// Everything that we know is on disk.
    pub(super) fn is_saved(&self) -> bool {
        #[cfg(test)]
        if self.plant == Some(super::sim::Plant::NothingWaitsForTheDisk) {
            return true;
        }
        self.saving.saved == self.saving.wanted
    }

    pub(super) fn log(&mut self, level: Level, text: String) {
        self.out.push(Output::Log { level, text });
    }

    fn saved(&mut self, number: u64, result: Result<(), String>) {
        self.saving.under_way = false;
        match result {
            Ok(()) => {
                self.saving.saved = self.saving.saved.max(number);
                self.saving.failed_at = None;
                self.log(Level::Notice, "Sentinel new configuration saved on disk".into());
                self.release(number, true);
                for id in self.master_ids() {
                    self.act(id);
                }
            }
            Err(why) => {
                let text =
                    "WARNING: Sentinel was not able to save the new configuration on disk!!!";
                self.log(Level::Warning, format!("{text}: {why}"));
                self.saving.failed_at = Some(self.now);
                self.release(number, false);
            }
        }
    }

    /// Hands out what is to be done, and saves what changed.
    fn finish(&mut self, out: &mut Vec<Output>) {
        let may = self.saving.failed_at.is_none_or(|at| self.now - at >= SAVE_AGAIN_MS);
        if self.saving.saved < self.saving.wanted && !self.saving.under_way && may {
            self.saving.under_way = true;
            let text = self.file();
            self.out.push(Output::Save { number: self.saving.wanted, text });
        }
        out.append(&mut self.out);
    }

    fn resolved(&mut self, name: &str, ip: Option<String>) {
        self.book.answer(name, ip.clone(), self.now);
        match ip {
            Some(ip) => {
                let mut moved = Vec::new();
                for (id, instance) in self.instances.iter() {
                    if instance.address.host == name && instance.address.ip != ip {
                        moved.push(id);
                    }
                }
                for id in moved {
                    self.instances[id].address.ip.clone_from(&ip);
                }
            }
            None => self.log(Level::Warning, format!("Failed to resolve hostname '{name}'")),
        }
        self.clients_go_on(name);
        self.book.forget_failures(self.now);
    }

    fn script_started(&mut self, job: u64, result: Result<u32, String>) {
        match result {
            Ok(pid) => self.scripts.started(job, pid),
            Err(_) => self.script_ended(job, 2, 0), // as a shell that finds nothing to run
        }
    }

    fn script_ended(&mut self, job: u64, code: i32, signal: i32) {
        let delay = self.periods.script_retry_delay;
        if let Ended::Failed(path) = self.scripts.ended(job, code, signal, self.now, delay) {
            let text = format!("{path} {signal} {code}");
            self.event(Level::Warning, "-script-error", None, &text);
        }
    }

    /// Starts scripts that are due, and ends those that run for too long.
    pub(super) fn run_scripts(&mut self) {
        while let Some((job, argv)) = self.scripts.start(self.now) {
            self.out.push(Output::Run { job, argv });
        }
        while let Some((job, path, pid)) =
            self.scripts.overdue(self.now, self.periods.script_max_runtime)
        {
            self.event(Level::Warning, "-script-timeout", None, &format!("{path} {pid}"));
            self.out.push(Output::Kill { job });
        }
    }
}

/// After a save that failed.
const SAVE_AGAIN_MS: Ms = 1_000;

/// Milliseconds of the monotonic clock.
pub(super) fn ms(now: Now) -> Ms {
    i64::try_from(now.mono.0 / 1_000_000).unwrap_or(i64::MAX)
}

fn hex_digit(digit: u64) -> char {
    u32::try_from(digit).ok().and_then(|it| char::from_digit(it, 16)).unwrap_or('0')
}
