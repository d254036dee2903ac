//! Slots that move as a whole from us to another node of our make, and from another one to us.
//!
//! ```text
//!   source   ESTABLISH >   copying   | writers wait |  FINISH >   theirs: writers are sent on
//!   target   receiving, under nobody's eyes         |  ours under a new epoch, on disk, then the answer
//! ```
//!
//! Until the end the source serves everything. What the target has by then are copies, that clients do not get to see;
//! it counts for nothing until FINISH, and is dropped when the move fails. Keys are copied and copied again when they
//! change (`node/exporting.rs`), so the order in which that happens is of no account; the last copies are made while
//! all writers of the source stand still.
//!
//! **Who owns the slots is decided in one place**: by the target, when it takes FINISH. It does not when it has heard
//! nothing of the source for longer than [`PATIENCE_MS`]. The source, when the answer to FINISH is lost or is no (a
//! target that started anew does not know that it said yes), lets its writers wait until the bus tells who owns the
//! slots, or until twice that time is over: then the target has not taken them, and will not.
//!
//! Who starts anew knows by the file which slots were being received or were handed over lately, and drops their keys.

use super::id::NodeId;
use super::machine::{Cluster, Level, Output};
use super::node::{Key, Ms};
use super::slots::Slots;
use crate::base::limits::SLOTS;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use core::net::IpAddr;

mod source;
#[cfg(test)]
mod tests;

/// A target that hears nothing of its source for so long gives up.
pub const PATIENCE_MS: Ms = 10_000;

/// Writers wait for so long at most until the last copies are made.
const DRAIN_MS: Ms = 5_000;

/// How long writers wait is said again at each tick, for this long.
const PAUSE_MS: u64 = 2_000;

/// The source says that it is there.
const KEEP_ALIVE_MS: Ms = 1_000;

/// A target that still removes keys of an earlier move is asked again after this.
const ASK_AGAIN_MS: Ms = 300;

/// Keys of slots that were handed over are gone by then.
const REMOVAL_MS: Ms = 60_000;

/// Moves that are over, as far as they are remembered.
const REMEMBERED: usize = 100;

/// The state of a move; the names are Valkey's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Others are before it.
    Waiting,
    Establishing,
    Copying,
    Pausing,
    Draining,
    /// The target was told to take the slots.
    Finishing,
    /// It did not answer.
    Unsure,
    Receiving,
    Success,
    Failed,
    Cancelled,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Waiting => "connecting",
            Self::Establishing => "reading-establish-response",
            Self::Copying => "snapshotting",
            Self::Pausing => "waiting-to-pause",
            Self::Draining => "failover-paused",
            Self::Finishing | Self::Unsure => "failover-granted",
            Self::Receiving => "receiving-snapshot",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    fn is_over(self) -> bool {
        matches!(self, Self::Success | Self::Failed | Self::Cancelled)
    }
}

/// One move, of slots to another node or from one.
#[derive(Debug)]
struct Job {
    number: u64,
    name: NodeId,
    slots: Slots,
    source: NodeId,
    target: NodeId,
    state: State,
    message: String,
    /// Wall clock, in seconds.
    created: Ms,
    updated: Ms,
    acked: Ms,
    /// When its state began; when the other side was spoken to or heard last.
    since: Ms,
    heard: Ms,
    /// Writers wait in the pause of this number; 0: they do not.
    pause: u64,
    /// FINISH was answered, by no.
    refused: bool,
}

/// All moves.
#[derive(Debug, Default)]
pub(super) struct Moves {
    jobs: Vec<Job>,
    next: u64,
    /// Of a file: slots whose keys were of no use when the process ended.
    pub leftover: Slots,
}

/// What the target is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    Establish,
    KeepAlive,
    Finish,
    /// Nobody waits for the answer.
    Fail,
}

/// What is to be done for a move of this number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ask the target.
    Ask { job: u64, question: Question, ip: IpAddr, port: u16, words: Vec<Vec<u8>> },
    /// Copy the keys of these slots, and again those that change.
    Copy { job: u64, ip: IpAddr, port: u16, slots: Slots },
    /// Nobody writes any more: say when the last copies are made.
    Drain { job: u64 },
    /// It is over: copy no more.
    End { job: u64 },
}

/// What has become of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The target's answer; `Err(None)`: none came.
    Answer { question: Question, result: Result<(), Option<String>> },
    /// All keys were copied once.
    Copied,
    /// All copies are as their keys are.
    Drained,
    /// Something could not be copied.
    Broken(String),
}

/// `CLUSTER MIGRATESLOTS`, one block of it.
pub struct Wish<'a> {
    pub slots: Slots,
    pub to: &'a [u8],
}

impl Cluster {
    /// CLUSTER MIGRATESLOTS.
    ///
    /// # Errors
    /// We do not have them, or they cannot go there.
    pub fn migrate_slots(&mut self, wishes: Vec<Wish<'_>>) -> Result<(), ErrorKind> {
        self.may_move()?;
        let (mut all, mut found) = (Slots::default(), Vec::new());
        for wish in wishes {
            for slot in wish.slots.iter() {
                let number = i64::from(slot);
                match self.table.owner(slot) {
                    None => return Err(ErrorKind::MoveUnserved { slot: number }),
                    Some(it) if it != self.me => return Err(ErrorKind::MoveNotOurs),
                    Some(_) if self.is_moving(slot) => {
                        return Err(ErrorKind::MoveTwice { slot: number });
                    }
                    Some(_) if !all.insert(slot) => return Err(ErrorKind::MoveOverlap),
                    Some(_) => {}
                }
            }
            let to = self.find(wish.to)?;
            match () {
                () if to == self.me => return Err(ErrorKind::MoveToSelf),
                () if self.node(to).is_replica() => return Err(ErrorKind::ClusterTargetReplica),
                () => found.push((wish.slots, self.node(to).id)),
            }
        }
        for (slots, target) in found {
            let (name, source) = (NodeId::draw(&mut self.prng), self.me().id);
            self.add_job(name, slots, source, target, State::Waiting);
        }
        self.step_moves();
        Ok(())
    }

    /// CLUSTER CANCELSLOTMIGRATIONS.
    ///
    /// # Errors
    /// There are none.
    pub fn cancel_moves(&mut self) -> Result<(), ErrorKind> {
        let exports = self.exports();
        if exports.is_empty() {
            return Err(ErrorKind::MoveNone);
        }
        for at in exports {
            // Where the target was told to take them it is not ours to say.
            if !matches!(self.job(at).state, State::Finishing | State::Unsure) {
                self.end_export(at, State::Cancelled, "Cancelled by a user");
            }
        }
        self.step_moves();
        Ok(())
    }

    /// CLUSTER GETSLOTMIGRATIONS.
    pub fn moves_reply(&self, reply: &mut Reply<'_>) {
        reply.array(self.moves.jobs.len());
        for job in self.moves.jobs.iter().rev() {
            let operation = if job.source == self.me().id { "EXPORT" } else { "IMPORT" };
            reply.map(12);
            let texts = [
                ("name", job.name.to_string()),
                ("operation", operation.to_string()),
                ("slot_ranges", ranges(&job.slots)),
                ("target_node", job.target.to_string()),
                ("source_node", job.source.to_string()),
            ];
            let mut text = |name: &str, value: &str| {
                reply.bulk(name.as_bytes());
                reply.bulk(value.as_bytes());
            };
            texts.iter().for_each(|(name, value)| text(name, value));
            for (name, value) in [
                ("create_time", job.created),
                ("last_update_time", job.updated),
                ("last_ack_time", job.acked),
            ] {
                reply.bulk(name.as_bytes());
                reply.int(value);
            }
            for (name, value) in [("state", job.state.name()), ("message", job.message.as_str())] {
                reply.bulk(name.as_bytes());
                reply.bulk(value.as_bytes());
            }
            for name in ["cow_size", "remaining_repl_size"] {
                reply.bulk(name.as_bytes());
                reply.int(0);
            }
        }
    }

    /// CLUSTER SYNCSLOTS ESTABLISH: a source wants to copy slots here. `keys`: how many we have of a slot.
    ///
    /// # Errors
    /// They cannot come here.
    pub fn begin_import(
        &mut self,
        name: &[u8],
        source: &[u8],
        slots: Slots,
        keys: &dyn Fn(u16) -> u64,
    ) -> Result<(), ErrorKind> {
        self.may_move()?;
        let name = NodeId::parse(name).ok_or(ErrorKind::Syntax)?;
        let from = self.find(source)?;
        if slots.iter().any(|slot| self.table.owner(slot) != Some(from)) || from == self.me {
            return Err(ErrorKind::MoveNotTheirs);
        }
        if let Some(slot) = slots.iter().find(|slot| self.is_moving(*slot)) {
            return Err(ErrorKind::MoveTwice { slot: slot.into() });
        }
        if slots.iter().any(|slot| keys(slot) > 0) {
            // Copies of a move that came to nothing: they must not come alive.
            self.out.push(Output::DropKeys { slots });
            return Err(ErrorKind::MoveLeftover);
        }
        let (source, target) = (self.node(from).id, self.me().id);
        self.add_job(name, slots, source, target, State::Receiving);
        self.touch();
        Ok(())
    }

    /// CLUSTER SYNCSLOTS KEEPALIVE, FINISH, FAIL.
    ///
    /// # Errors
    /// There is no such move, or it is too late for it.
    pub fn import_news(&mut self, name: &[u8], question: Question) -> Result<(), ErrorKind> {
        let id = NodeId::parse(name).ok_or(ErrorKind::Syntax)?;
        let named = |it: &Job| it.name == id;
        let at = self.moves.jobs.iter().position(named).ok_or(ErrorKind::MoveUnknown)?;
        match self.job(at).state {
            State::Receiving => {}
            // Asked again, since the connection broke before our answer.
            State::Success if question == Question::Finish => return Ok(()),
            _ => return Err(ErrorKind::MoveUnknown),
        }
        if question == Question::Fail {
            self.end_import(at, "The source gave it up");
            return Ok(());
        }
        self.check_import(at);
        if self.job(at).state.is_over() {
            return Err(ErrorKind::MoveUnknown);
        }
        let (now, wall) = (self.now, self.wall / 1_000);
        let job = self.job_mut(at);
        (job.heard, job.acked) = (now, wall);
        if question == Question::Finish {
            for slot in self.job(at).slots.clone().iter() {
                let me = self.me;
                self.give_slot(slot, Some(me));
            }
            // A new epoch, so that everybody believes it.
            self.bump_epoch();
            self.touch_claim();
            self.announce_when_saved();
            self.saving.claim = self.saving.wanted;
            self.unsettled = true;
            self.end_job(at, State::Success, "");
        }
        Ok(())
    }

    /// What has become of an order.
    pub fn move_news(&mut self, number: u64, news: News) {
        let Some(at) = self.moves.jobs.iter().position(|it| it.number == number) else { return };
        let state = self.job(at).state;
        if state.is_over() {
            return;
        }
        match (state, news) {
            (_, News::Answer { question: Question::Fail, .. }) => {}
            (_, News::Answer { question: Question::KeepAlive, result: Ok(()) }) => {
                self.job_mut(at).acked = self.wall / 1_000;
            }
            // The answer to FINISH tells.
            (
                State::Finishing | State::Unsure,
                News::Answer { question: Question::KeepAlive, .. },
            ) => {}
            (
                State::Establishing,
                News::Answer { question: Question::Establish, result: Ok(()) },
            ) => {
                self.begin_copying(at);
            }
            (
                State::Establishing,
                News::Answer { question: Question::Establish, result: Err(Some(why)) },
            ) if why.starts_with("TRYAGAIN") && self.now - self.job(at).since < PATIENCE_MS => {
                self.job_mut(at).heard = self.now + 1;
            }
            (State::Copying, News::Copied) => self.enter(at, State::Pausing),
            (State::Draining, News::Drained) => {
                self.enter(at, State::Finishing);
                self.ask_target(at, Question::Finish);
            }
            (State::Finishing, News::Answer { question: Question::Finish, result: Ok(()) }) => {
                self.hand_over(at);
            }
            (State::Finishing, News::Answer { question: Question::Finish, result: Err(why) }) => {
                self.job_mut(at).refused = why.is_some();
                self.enter(at, State::Unsure);
            }
            (_, News::Answer { result: Err(why), .. }) => {
                let why = why.unwrap_or_else(|| "Connection lost to target".into());
                self.end_export(at, State::Failed, &why);
            }
            (State::Finishing | State::Unsure, _) => {}
            (_, News::Broken(why)) => self.end_export(at, State::Failed, &why),
            (_, News::Answer { .. } | News::Copied | News::Drained) => {}
        }
        self.step_moves();
    }

    /// Time passed, or a fact is another one.
    pub(super) fn step_moves(&mut self) {
        for at in 0..self.moves.jobs.len() {
            match self.job(at).state {
                State::Receiving => self.check_import(at),
                state if !state.is_over() => self.check_export(at),
                _ => {}
            }
        }
        let active = |it: &&usize| self.job(**it).state != State::Waiting;
        let exports = self.exports();
        let Some(at) = exports.iter().find(active).or(exports.first()).copied() else { return };
        self.step_export(at);
    }

    /// A replica of ours takes over: that comes first.
    pub(super) fn give_moves_up(&mut self, why: &str) {
        for at in self.exports() {
            if !matches!(self.job(at).state, State::Finishing | State::Unsure) {
                self.end_export(at, State::Failed, why);
            }
        }
    }

    /// Which slots' keys may be written here though they are another's.
    pub(super) fn received_slots(&self) -> impl Iterator<Item = u16> {
        let open = self.moves.jobs.iter().filter(|it| it.state == State::Receiving);
        open.flat_map(|it| it.slots.iter())
    }

    /// Slots whose keys are of no use, should the process end now: copies, and what was handed over lately, whose
    /// keys may not all be gone.
    pub(super) fn useless_slots(&self) -> Slots {
        let gone = |it: &Job| {
            let lately = self.now - it.since < REMOVAL_MS;
            it.state == State::Success && it.source == self.me().id && lately
        };
        let jobs = self.moves.jobs.iter().filter(|it| it.state == State::Receiving || gone(it));
        let slots = jobs.flat_map(|it| it.slots.iter());
        slots.filter(|it| self.table.owner(*it) != Some(self.me)).collect()
    }

    /// What was of no use when the process ended goes.
    pub(super) fn drop_leftover(&mut self) {
        let slots = std::mem::take(&mut self.moves.leftover);
        let others = |slot: &u16| {
            self.table.owner(*slot) != Some(self.me) && !self.table.importing.contains_key(slot)
        };
        let slots: Slots = slots.iter().filter(others).collect();
        if !slots.is_empty() && self.me().is_master() {
            self.out.push(Output::DropKeys { slots });
        }
    }

    fn may_move(&self) -> Result<(), ErrorKind> {
        match () {
            () if self.me().is_replica() => Err(ErrorKind::MoveReplica),
            () if !self.table.importing.is_empty() => Err(ErrorKind::MoveManualImport),
            () if !self.table.migrating.is_empty() => Err(ErrorKind::MoveManualExport),
            () => Ok(()),
        }
    }

    /// Is it on its way as part of a move?
    pub(super) fn is_moving(&self, slot: u16) -> bool {
        self.moves.jobs.iter().any(|it| !it.state.is_over() && it.slots.contains(slot))
    }

    fn exports(&self) -> Vec<usize> {
        let jobs = self.moves.jobs.iter().enumerate();
        let open = |it: &Job| !it.state.is_over() && it.state != State::Receiving;
        jobs.filter(|(_, it)| open(it)).map(|(at, _)| at).collect()
    }

    #[expect(clippy::indexing_slicing, reason = "places are of the list that they are used on")]
    fn job(&self, at: usize) -> &Job {
        &self.moves.jobs[at]
    }

    #[expect(clippy::indexing_slicing, reason = "places are of the list that they are used on")]
    fn job_mut(&mut self, at: usize) -> &mut Job {
        &mut self.moves.jobs[at]
    }

    fn add_job(
        &mut self,
        name: NodeId,
        slots: Slots,
        source: NodeId,
        target: NodeId,
        state: State,
    ) {
        if self.moves.jobs.len() >= REMEMBERED
            && let Some(at) = self.moves.jobs.iter().position(|it| it.state.is_over())
        {
            self.moves.jobs.remove(at);
        }
        self.moves.next += 1;
        let wall = self.wall / 1_000;
        self.log(Level::Notice, format!("Move {name} of slots {} begins", ranges(&slots)));
        self.moves.jobs.push(Job {
            number: self.moves.next,
            name,
            slots,
            source,
            target,
            state,
            message: String::new(),
            created: wall,
            updated: wall,
            acked: wall,
            since: self.now,
            heard: self.now,
            pause: 0,
            refused: false,
        });
        self.changed = true;
    }

    fn enter(&mut self, at: usize, state: State) {
        let (now, wall) = (self.now, self.wall / 1_000);
        let job = self.job_mut(at);
        (job.state, job.since, job.updated) = (state, now, wall);
        self.changed = true;
    }

    fn end_job(&mut self, at: usize, state: State, why: &str) {
        self.enter(at, state);
        self.job_mut(at).message = why.into();
        let (name, told) = (self.job(at).name, state.name());
        self.log(Level::Notice, format!("Move {name} of slots: {told} {why}"));
    }

    /// Is the source still there, and are they still its slots?
    fn check_import(&mut self, at: usize) {
        let job = self.job(at);
        let from = self.nodes.find(&job.source);
        let theirs = |from: Key| job.slots.iter().all(|it| self.table.owner(it) == Some(from));
        let why = match from {
            _ if self.now - job.heard > PATIENCE_MS => "The source is silent",
            _ if self.me().is_replica() => "This node is a replica now",
            Some(from) if self.node(from).has_failed() => "The source has failed",
            Some(from) if theirs(from) => return,
            _ => "The slots are another node's now",
        };
        self.end_import(at, why);
    }

    fn end_import(&mut self, at: usize, why: &str) {
        let others = |slot: &u16| self.table.owner(*slot) != Some(self.me);
        let slots: Slots = self.job(at).slots.iter().filter(others).collect();
        if self.me().is_master() {
            self.out.push(Output::DropKeys { slots });
        }
        self.touch();
        self.end_job(at, State::Failed, why);
    }
}

/// `0-10 12-12`, as Valkey shows them.
pub(super) fn ranges(slots: &Slots) -> String {
    let ranges = slots.ranges();
    let texts: Vec<String> =
        ranges.iter().map(|it| format!("{}-{}", it.start(), it.end())).collect();
    texts.join(" ")
}

/// What [`ranges`] has written, with commas.
pub(super) fn parse_ranges(text: &str) -> Option<Slots> {
    let mut slots = Slots::default();
    for range in text.split(',') {
        let (start, end) = range.split_once('-')?;
        let (start, end): (u16, u16) = (start.parse().ok()?, end.parse().ok()?);
        if end >= SLOTS {
            return None;
        }
        (start..=end).for_each(|slot| {
            slots.insert(slot);
        });
    }
    Some(slots)
}
