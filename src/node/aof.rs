//! The append-only file: what the stream has is on disk, and how soon is the operator's choice.
//!
//! ```text
//!   ring bytes -> Write -> [Sync] -> replies may leave (appendfsync always)
//!                                 -> once a second     (everysec)
//!   cut of a snapshot -> a new increment from that byte on -> base whole -> manifest -> old files go
//! ```
//!
//! The file is one more reader of the ring, with one log for all cores, in the order of tickets: so Redis
//! can load it, and a start goes on with the history at the byte at which the file ends. What a write needs
//! stays in the ring until it is on the file, so a full disk costs nothing but refused writes: the same bytes
//! are written again once a second, until they fit.
//!
//! Files and their order: `aof/manifest.rs`. Loading: `aof/load.rs`. Rewriting: `aof/rewrite.rs`. System calls:
//! `runtime/append.rs`, which does steps in order and answers each.
//!
//! The trap: a reply that was held for a sync that then failed must not leave as if nothing were. It is
//! dropped with its connection: whoever waited for it does not know, and is told nothing wrong.

pub mod load;
pub mod manifest;
pub mod rewrite;

use crate::base::limits::AOF_BEHIND_BYTES;
use crate::base::time::Mono;
use crate::node::aof::load::Load;
use crate::node::aof::manifest::{File, Manifest};
use crate::node::control::{Control, ControlCx};
use crate::node::message::Message;
use crate::node::outbox::{Action, Level};
use crate::node::settings::AppendFsync;
use crate::replication::psync::Replid;
use crate::replication::ring::Ring;
use crate::replication::{acks, replica};
use std::collections::VecDeque;
use std::sync::Arc;

/// A step of the outside, each answered, in order.
#[derive(Clone, Debug)]
pub enum AofStep {
    /// A whole small file; answered by its bytes, or nothing where there is none.
    Read {
        path: Vec<u8>,
    },
    /// Close what is open, synced, and append to this file from here on: behind its first `keep` bytes,
    /// which it must have, or behind all.
    Open {
        path: Vec<u8>,
        keep: Option<u64>,
    },
    Write(Vec<u8>),
    Sync,
    /// At any moment there is the old file or the new one.
    Replace {
        path: Vec<u8>,
        bytes: Vec<u8>,
    },
    Remove {
        path: Vec<u8>,
    },
    /// After a step that failed, all others fail until this.
    Recover,
}

/// Why a step failed that was not tried: one before it had.
pub const NOT_TRIED: &str = "an earlier step failed";

/// What became of a step.
pub type Answer = Result<Option<Vec<u8>>, String>;

/// See the file's header.
#[derive(Debug, Default)]
pub struct Aof {
    pub(super) state: State,
    /// As it is on disk.
    pub(super) manifest: Manifest,
    /// Steps that were not answered.
    jobs: VecDeque<Job>,
    /// The ring's bytes up to here were handed over, are on the file, are synced.
    handed: u64,
    written: u64,
    synced: u64,
    /// Everything up to these tickets is on the file, is synced.
    on_file: u64,
    durable: u64,
    /// The increment being written, and where it goes on after a failure.
    open: Option<Open>,
    good: Option<Open>,
    /// The history that the file was last told.
    told: Option<Replid>,
    /// The manifest and its files have all of the data.
    whole: bool,
    failed: Option<Arc<str>>,
    /// No recovery, and no sync, before that.
    next_try: Mono,
    next_sync: Mono,
    pub(super) rewrite: rewrite::Rewrite,
    /// Bytes of the base and of the increments before the open one.
    pub(super) base_bytes: u64,
    pub(super) earlier_bytes: u64,
    /// Syncs that were due while one was under way.
    delayed: u64,
}

#[derive(Debug, Default)]
pub(super) enum State {
    #[default]
    Off,
    /// The manifest is being read: at the start, or since `appendonly` was switched on.
    Asking {
        start: bool,
    },
    Loading(Box<Load>),
    /// What is on disk is not this data: a rewrite is to make it so.
    Unfit,
    On,
}

/// An increment.
#[derive(Clone, Debug)]
struct Open {
    file: File,
    size: u64,
    /// The history's length after its last byte.
    offset: u64,
}

#[derive(Debug)]
enum Job {
    Manifest,
    /// Opened, removed, recovered: nothing follows.
    Plain,
    Opened(Open),
    Write {
        to: u64,
        bytes: u64,
        ticket: u64,
    },
    /// Bytes that are not the stream's.
    Header {
        bytes: u64,
    },
    Sync {
        to: u64,
        ticket: u64,
    },
    /// The manifest is this one from here on. `base`: it ends a rewrite.
    Listed {
        manifest: Manifest,
        base: Option<u64>,
    },
}

impl Aof {
    #[must_use]
    pub(super) fn is_loading(&self) -> bool {
        matches!(self.state, State::Loading(_) | State::Asking { start: true })
    }

    #[must_use]
    pub(super) fn is_on(&self) -> bool {
        !matches!(self.state, State::Off)
    }

    /// The oldest byte of the ring that the file still needs.
    #[must_use]
    pub(super) fn needs(&self) -> Option<u64> {
        let recovers = self.failed.is_some().then_some(self.good.as_ref()).flatten();
        let from = recovers.map_or(self.written, |good| good.offset.min(self.written));
        matches!(self.state, State::On).then_some(from)
    }

    #[must_use]
    pub(super) fn failure(&self) -> Option<Arc<str>> {
        self.failed.clone()
    }

    /// Bytes of all files.
    #[must_use]
    pub(super) fn size(&self) -> u64 {
        self.base_bytes + self.earlier_bytes + self.open.as_ref().map_or(0, |it| it.size)
    }

    #[must_use]
    pub(super) fn unwritten(&self, end: u64) -> u64 {
        if matches!(self.state, State::On) { end.saturating_sub(self.written) } else { 0 }
    }

    /// How much of the history is synced, where the files have all of the data.
    #[must_use]
    pub(super) fn synced(&self) -> Option<u64> {
        (self.whole && matches!(self.state, State::On)).then_some(self.synced)
    }

    #[must_use]
    pub(super) fn syncs_under_way(&self) -> usize {
        self.jobs.iter().filter(|job| matches!(job, Job::Sync { .. })).count()
    }

    #[must_use]
    pub(super) fn delayed_syncs(&self) -> u64 {
        self.delayed
    }

    fn writes_under_way(&self) -> bool {
        self.jobs.iter().any(|job| matches!(job, Job::Write { .. }))
    }
}

impl Control {
    pub(super) fn aof_path(&self, name: &[u8]) -> Vec<u8> {
        let settings = &self.view.settings;
        [&settings.dir[..], b"/", &settings.appenddirname, b"/", name].concat()
    }

    pub(super) fn manifest_path(&self) -> Vec<u8> {
        self.aof_path(&[&self.view.settings.appendfilename[..], b".manifest"].concat())
    }

    fn aof_step(&mut self, cx: &mut ControlCx<'_>, step: AofStep, job: Job) {
        self.aof.jobs.push_back(job);
        cx.out.actions.push(Action::Aof(step));
    }

    /// At the start, or when it is switched on: what is there?
    pub(super) fn ask_manifest(&mut self, cx: &mut ControlCx<'_>, start: bool) {
        self.aof.state = State::Asking { start };
        let path = self.manifest_path();
        self.aof_step(cx, AofStep::Read { path }, Job::Manifest);
    }

    /// The setting `appendonly` may have changed.
    pub(super) fn settle_aof(&mut self, cx: &mut ControlCx<'_>) {
        match (self.view.settings.appendonly, self.aof.is_on()) {
            (true, false) => self.ask_manifest(cx, false),
            (false, true) if !self.aof.is_loading() => {
                self.aof_pump(cx);
                self.aof_step(cx, AofStep::Sync, Job::Plain);
                self.abandon_base(cx, "appendonly was switched off");
                (self.aof.state, self.aof.whole, self.aof.good) = (State::Off, false, None);
                self.aof_failed(cx, None);
                self.wait(cx, acks::Input::NoFile);
                self.tell_synced(cx);
            }
            _ => {}
        }
    }

    /// Up to which ticket replies may leave.
    pub(super) fn answerable(&self) -> u64 {
        let merged = self.merger.merged_through();
        let holds = self.aof.whole && matches!(self.aof.state, State::On);
        if !holds || self.aof.failed.is_some() {
            return merged;
        }
        // Without a sync it is the kernel's at least: a process that dies loses nothing. But for the moment of the
        // sync once a second, behind which writes queue: nobody waits for that, as with Redis.
        let always = self.view.settings.appendfsync == AppendFsync::Always;
        if !always && self.aof.syncs_under_way() > 0 {
            return merged;
        }
        merged.min(if always { self.aof.durable } else { self.aof.on_file })
    }

    /// Are replies to writes that cannot be synced to be dropped?
    pub(super) fn drops_replies(&self) -> bool {
        self.aof.failed.is_some() && self.view.settings.appendfsync == AppendFsync::Always
    }

    /// How much of the ring may go to the file: on a replica no more than is handed out to be executed.
    fn aof_limit(&self) -> Option<u64> {
        let ring = self.ring.as_ref()?;
        let limit = if self.view.is_replica() {
            self.following.applied_offset().min(ring.end())
        } else {
            ring.end()
        };
        let fits = ring.start() <= self.aof.handed && self.aof.handed <= ring.end();
        (matches!(self.aof.state, State::On) && fits).then_some(limit)
    }

    /// Hands over what the stream has and the file lacks, one write at a time: what comes meanwhile is the
    /// next one.
    pub(super) fn aof_pump(&mut self, cx: &mut ControlCx<'_>) {
        if self.aof.failed.is_some() || self.aof.writes_under_way() {
            return;
        }
        let Some(limit) = self.aof_limit() else { return };
        if self.aof.handed < limit {
            self.aof_write(cx, limit);
            if self.view.settings.appendfsync == AppendFsync::Always {
                self.aof_sync(cx);
            }
        }
    }

    fn aof_write(&mut self, cx: &mut ControlCx<'_>, limit: u64) {
        if self.aof.told != Some(self.history.replid) {
            self.aof_tell_history(cx);
        }
        let Some(ring) = self.ring.as_ref() else { return };
        let from = self.aof.handed;
        let bytes = bytes_of(ring, from, limit);
        self.aof.handed = limit;
        let ticket = self.handed_ticket();
        let job = Job::Write { to: limit, bytes: bytes.len() as u64, ticket };
        self.aof_step(cx, AofStep::Write(bytes), job);
    }

    /// A comment to every reader but `aof/load.rs`: which history this is, and how long it is here.
    fn aof_tell_history(&mut self, cx: &mut ControlCx<'_>) {
        let replid = self.history.replid;
        let text = load::annotation(&replid, self.aof.handed);
        self.aof.told = Some(replid);
        let job = Job::Header { bytes: text.len() as u64 };
        self.aof_step(cx, AofStep::Write(text), job);
    }

    fn aof_sync(&mut self, cx: &mut ControlCx<'_>) {
        let job = Job::Sync { to: self.aof.handed, ticket: self.handed_ticket() };
        self.aof_step(cx, AofStep::Sync, job);
    }

    /// All that was merged is in the ring; what was handed over has it if that is all of the ring.
    fn handed_ticket(&self) -> u64 {
        let all = self.ring.as_ref().is_some_and(|ring| ring.end() == self.aof.handed);
        if all { self.merger.merged_through() } else { self.aof.durable }
    }

    /// Ten times a second.
    pub(super) fn aof_tick(&mut self, cx: &mut ControlCx<'_>) {
        let now = cx.now().mono;
        match self.aof.state {
            State::Off | State::Asking { .. } | State::Loading(_) => return,
            State::Unfit => {
                if now >= self.aof.next_try && !self.view.loading {
                    self.aof.next_try = now.plus_ms(5_000);
                    self.want_base(cx);
                }
                return;
            }
            State::On => {}
        }
        if let (Some(ring), false) = (&self.ring, self.view.loading)
            && !(ring.start()..=ring.end()).contains(&self.aof.handed)
        {
            return self.aof_unfit(cx);
        }
        if self.aof.failed.is_some() {
            if now >= self.aof.next_try && self.aof.jobs.is_empty() {
                self.aof_recover(cx);
            }
            return;
        }
        self.aof_pump(cx);
        let everysec = self.view.settings.appendfsync == AppendFsync::Everysec;
        if everysec && self.aof.written > self.aof.synced && now >= self.aof.next_sync {
            self.aof.next_sync = now.plus_ms(1_000);
            if self.aof.syncs_under_way() > 0 {
                self.aof.delayed += 1;
            } else {
                self.aof_sync(cx);
            }
        }
        self.auto_rewrite(cx);
    }

    /// The data is other data from here on: what is on disk has nothing to do with it.
    pub(super) fn aof_unfit(&mut self, cx: &mut ControlCx<'_>) {
        if matches!(self.aof.state, State::On | State::Unfit) {
            self.abandon_base(cx, "the data was replaced");
            (self.aof.state, self.aof.whole, self.aof.good) = (State::Unfit, false, None);
            self.aof.next_try = cx.now().mono;
        }
    }

    /// Begins to write to `open`. What was open before must be synced by a step of its own: of one that fails nobody
    /// may believe a second one.
    fn aof_open(&mut self, cx: &mut ControlCx<'_>, open: Open) {
        let path = self.aof_path(&open.file.name);
        let step = AofStep::Open { path, keep: Some(open.size) };
        self.aof.handed = open.offset;
        self.aof_step(cx, step, Job::Opened(open));
    }

    fn aof_list(&mut self, cx: &mut ControlCx<'_>, manifest: Manifest, base: Option<u64>) {
        let (path, bytes) = (self.manifest_path(), manifest.text());
        self.aof_step(cx, AofStep::Replace { path, bytes }, Job::Listed { manifest, base });
    }

    fn aof_recover(&mut self, cx: &mut ControlCx<'_>) {
        self.aof_step(cx, AofStep::Recover, Job::Plain);
        let Some(good) = self.aof.good.clone() else { return self.aof_unfit(cx) };
        self.aof.told = None;
        self.aof_open(cx, good);
        if let Some(limit) = self.aof_limit() {
            self.aof_write(cx, limit);
        }
        self.aof_sync(cx);
    }

    /// The outside has done a step, or could not.
    pub(super) fn aof_answered(&mut self, cx: &mut ControlCx<'_>, answer: Answer) {
        let Some(job) = self.aof.jobs.pop_front() else { return };
        match answer {
            Ok(text) => self.aof_done(cx, job, text),
            Err(why) => self.aof_refused(cx, &job, &why),
        }
        self.aof_pump(cx);
        self.tell_answerable(cx);
        self.tell_synced(cx);
        self.exit_when_ready(cx);
        self.trim();
    }

    /// Whoever waits for the file hears of it: our clients, and our master's.
    fn tell_synced(&mut self, cx: &mut ControlCx<'_>) {
        if self.view.is_replica() {
            let synced = self.aof.synced();
            self.tell_link(cx, replica::Input::Synced(synced), &[]);
        } else {
            self.wait(cx, acks::Input::Acked);
        }
    }

    fn aof_done(&mut self, cx: &mut ControlCx<'_>, job: Job, text: Option<Vec<u8>>) {
        let aof = &mut self.aof;
        match job {
            Job::Manifest => self.manifest_read(cx, text),
            Job::Plain => {}
            Job::Opened(open) => {
                aof.written = open.offset;
                // What was before a new file is synced, or is in the base that is to come; what is in an old one may be not.
                let fresh = open.size == 0;
                aof.synced = if fresh { open.offset } else { aof.synced.min(open.offset) };
                aof.rewrite.rolled_bytes = aof.open.take().map_or(0, |old| old.size);
                aof.open = Some(open);
            }
            Job::Write { to, bytes, ticket } => {
                aof.written = to;
                aof.on_file = aof.on_file.max(ticket);
                if let Some(open) = aof.open.as_mut() {
                    (open.size, open.offset) = (open.size + bytes, to);
                }
                self.aof_is_good();
            }
            Job::Header { bytes } => {
                if let Some(open) = aof.open.as_mut() {
                    open.size += bytes;
                }
                self.aof_is_good();
            }
            Job::Sync { to, ticket } => {
                aof.synced = aof.synced.max(to);
                aof.durable = aof.durable.max(ticket);
                if aof.failed.is_some() {
                    cx.log(
                        Level::Warning,
                        "AOF write error looks solved. The server can write again.",
                    );
                    self.aof_failed(cx, None);
                }
            }
            Job::Listed { manifest, base } => self.aof_listed(cx, manifest, base),
        }
    }

    /// Where writing goes on after a failure: not in a file that no manifest names.
    fn aof_is_good(&mut self) {
        let aof = &mut self.aof;
        let listed = aof.manifest.increments.last().map(|it| it.seq);
        if aof.open.as_ref().map(|it| it.file.seq) == listed {
            aof.good.clone_from(&aof.open);
        }
    }

    fn aof_listed(&mut self, cx: &mut ControlCx<'_>, manifest: Manifest, base: Option<u64>) {
        let old = std::mem::replace(&mut self.aof.manifest, manifest);
        self.aof_is_good();
        match base {
            None => self.aof.earlier_bytes += self.aof.rewrite.rolled_bytes,
            Some(bytes) => {
                (self.aof.base_bytes, self.aof.earlier_bytes) = (bytes, 0);
                self.aof.whole = true;
                let kept = self.aof.manifest.clone();
                let stays = |file: &File| kept.to_load().any(|it| it.name == file.name);
                let all = old.base.iter().chain(&old.increments).chain(&old.history);
                for file in all.filter(|file| !stays(file)) {
                    let path = self.aof_path(&file.name);
                    self.aof_step(cx, AofStep::Remove { path }, Job::Plain);
                }
                self.rewrite_done(cx);
            }
        }
    }

    fn aof_refused(&mut self, cx: &mut ControlCx<'_>, job: &Job, why: &str) {
        if matches!(job, Job::Manifest) {
            return self.manifest_unreadable(cx, why);
        }
        if matches!(self.aof.state, State::Off | State::Unfit) {
            return;
        }
        let (whole, first) = (self.aof.whole, self.aof.failed.is_none());
        if first {
            cx.log(Level::Warning, format!("Error writing to the AOF file: {why}"));
            self.abandon_base(cx, "the append-only file cannot be written");
            if whole {
                self.aof_failed(cx, Some(why.into()));
            }
        }
        self.aof.next_try = cx.now().mono.plus_ms(1_000);
        // After a failed sync nobody knows what of the file is on disk, be it the first one or that of a recovery; and
        // without a base nothing is.
        let failed_sync = matches!(job, Job::Sync { .. }) && why != NOT_TRIED;
        if failed_sync || (first && !whole) {
            self.aof_step(cx, AofStep::Recover, Job::Plain);
            self.aof_unfit(cx);
            self.aof.next_try = cx.now().mono.plus_ms(5_000);
        }
    }

    pub(super) fn aof_failed(&mut self, cx: &mut ControlCx<'_>, why: Option<Arc<str>>) {
        self.aof.failed.clone_from(&why);
        if self.view.aof_failed != why {
            self.view.aof_failed = why;
            self.show(cx);
        }
    }

    /// Is everything on disk that is to be before the process ends? Else it is on its way.
    pub(super) fn aof_flushed(&mut self, cx: &mut ControlCx<'_>) -> bool {
        if self.aof.failed.is_some() || !self.aof.whole {
            return true;
        }
        let Some(limit) = self.aof_limit() else { return true };
        self.aof_pump(cx);
        let aof = &self.aof;
        if aof.synced >= limit && !aof.writes_under_way() {
            return true;
        }
        if aof.handed == limit && aof.syncs_under_way() == 0 {
            self.aof_sync(cx);
        }
        false
    }

    /// Does the file keep up? If not, writers wait.
    pub(super) fn aof_is_behind(&self) -> bool {
        // Of clients no writes are taken while it fails.
        let takes_writes = self.aof.failed.is_none() || self.view.is_replica();
        self.aof.unwritten(self.offset()) > AOF_BEHIND_BYTES && takes_writes
    }

    /// What cores may answer from here on: the streamed tickets, or those whose answers are lost.
    pub(super) fn tell_answerable(&mut self, cx: &mut ControlCx<'_>) {
        let (ticket, lost) = (self.answerable(), self.drops_replies());
        if ticket <= self.streamed {
            return;
        }
        self.streamed = ticket;
        if lost {
            cx.core.lost(ticket, cx.out);
        }
        cx.core.streamed(ticket);
        for core in 1..self.cores {
            cx.out.mail[core].push(Message::Streamed { ticket, lost });
        }
    }
}

fn bytes_of(ring: &Ring, mut from: u64, to: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while from < to {
        let piece = ring.read(from);
        let left = usize::try_from(to - from).unwrap_or(usize::MAX);
        let piece = &piece[..piece.len().min(left)];
        bytes.extend_from_slice(piece);
        from += piece.len() as u64;
    }
    bytes
}
