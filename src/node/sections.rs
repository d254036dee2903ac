//! Core 0's side of a section: one operation at a time, step by step. See `section.rs`.

use crate::node::control::{Control, ControlCx, Op};
use crate::node::core::Core;
use crate::node::message::{Message, Return};
use crate::node::outbox::{Level, Outbox};
use crate::node::section::{Answer, Step};
use crate::node::session::Stall;
use crate::replication::ring::Ring;
use crate::resp::error::ErrorKind;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// The sections to come, and the one under way.
#[derive(Debug, Default)]
pub struct Sections {
    queue: VecDeque<(Op, Asker)>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    op: Op,
    from: Asker,
    phase: Phase,
    /// Cores that have not answered yet.
    left: usize,
    reply: Vec<u8>,
}

/// Who wants a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Client(Return),
    /// A unit of our master's stream, or a cut between two.
    Link,
    Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Freezing,
    Stepping,
}

impl Sections {
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.queue.is_empty()
    }
}

impl Control {
    /// Queues an operation; it runs when those before it are done.
    pub(super) fn section(&mut self, cx: &mut ControlCx<'_>, op: Op, from: Option<Return>) {
        self.sections.queue.push_back((op, from.map_or(Asker::Node, Asker::Client)));
        self.run_sections(cx);
    }

    pub(super) fn section_of_link(&mut self, cx: &mut ControlCx<'_>, op: Op) {
        self.sections.queue.push_back((op, Asker::Link));
        self.run_sections(cx);
    }

    pub(super) fn run_sections(&mut self, cx: &mut ControlCx<'_>) {
        // What the stream of our master has begun is done first.
        while self.sections.running.is_none() && self.following.transactions == 0 {
            let Some((op, from)) = self.sections.queue.pop_front() else { return };
            if let Asker::Client(asker) = from
                && self.view.is_read_only()
                && writes(&op)
            {
                // It was let through before the role changed.
                cx.answer_error(asker, &ErrorKind::ReadOnly);
                continue;
            }
            let (left, phase, reply) = (self.cores, Phase::Freezing, Vec::new());
            self.sections.running = Some(Running { op, from, phase, left, reply });
            self.mail_all(cx, || Message::Freeze);
            cx.core.freeze();
            if cx.core.has_nothing_under_way() && cx.core.frozen.stands_still() {
                self.core_frozen(cx);
            }
        }
    }

    /// A core stands still.
    pub(super) fn core_frozen(&mut self, cx: &mut ControlCx<'_>) {
        if self.answered(Phase::Freezing) {
            self.all_frozen(cx);
        }
    }

    /// A core did its step.
    pub(super) fn core_stepped(&mut self, cx: &mut ControlCx<'_>, answer: Answer) {
        let Some(running) = self.sections.running.as_ref() else { return };
        match answer {
            Answer::Done => {}
            Answer::Busy => cx.log(Level::Warning, "A core was already walking its shard"),
        }
        let phase = running.phase;
        if self.answered(phase) {
            match phase {
                Phase::Freezing => {}
                Phase::Stepping => self.all_stepped(cx),
            }
        }
    }

    fn answered(&mut self, phase: Phase) -> bool {
        let Some(running) = self.sections.running.as_mut() else { return false };
        if running.phase != phase || running.left == 0 {
            return false;
        }
        running.left -= 1;
        running.left == 0
    }

    fn all_frozen(&mut self, cx: &mut ControlCx<'_>) {
        self.seal_here(cx);
        let Some(running) = self.sections.running.as_mut() else { return };
        let step = match &running.op {
            Op::Flush { db, .. } => Step::Flush { db: *db },
            Op::Swap { a, b, .. } => Step::Swap { a: *a, b: *b },
            Op::Functions { change, .. } => {
                let change = change.clone();
                match cx.core.change_functions(&change) {
                    Ok(reply) => self.reply_section(&reply),
                    Err(error) => {
                        let mut reply = Vec::new();
                        error.write_to(&mut reply);
                        self.reply_section(&reply);
                        return self.end_section(cx);
                    }
                }
                Step::Functions(change)
            }
            Op::Stream { on } => Step::Stream { on: *on },
            Op::Still { pause } => {
                let pause = *pause;
                self.stood_still(cx, pause);
                return self.end_section(cx);
            }
            Op::Cut => {
                let commands = self.cuts_commands();
                Step::Cut { stream: self.cut_streams(), commands }
            }
            Op::Users(change) => {
                let change = change.clone();
                let reply = self.change_users(cx, &change);
                self.reply_section(&reply);
                return self.end_section(cx);
            }
            Op::Role => match self.change_role(cx) {
                Some(on) => Step::Stream { on },
                None => return self.end_section(cx),
            },
        };
        let Some(running) = self.sections.running.as_mut() else { return };
        running.phase = Phase::Stepping;
        running.left = self.cores - 1;
        self.snapshots.note_changes(std::mem::take(&mut cx.core.changes));
        // Libraries are changed here already.
        if !matches!(step, Step::Functions(_)) {
            cx.core.step(step.clone());
        }
        self.mail_all(cx, || Message::Step(step.clone()));
        if self.cores == 1 {
            self.all_stepped(cx);
        }
    }

    fn all_stepped(&mut self, cx: &mut ControlCx<'_>) {
        let Some(running) = self.sections.running.as_ref() else { return };
        match running.op.clone() {
            Op::Flush { in_db, words, .. } => {
                self.log_section(cx, in_db, &words);
                self.snapshots.note_changes(1);
                self.reply_section(b"+OK\r\n");
            }
            Op::Swap { in_db, words, .. } => {
                self.log_section(cx, in_db, &words);
                self.reply_section(b"+OK\r\n");
            }
            Op::Functions { in_db, words, .. } => {
                self.log_section(cx, in_db, &words);
                self.snapshots.note_changes(1);
            }
            Op::Cut => self.cut_done(cx),
            Op::Stream { on } => self.stream_switched(cx, on),
            Op::Role => self.role_changed(cx),
            Op::Users(_) | Op::Still { .. } => {}
        }
        self.end_section(cx);
    }

    /// All cores go on, and whoever asked is answered.
    fn end_section(&mut self, cx: &mut ControlCx<'_>) {
        let Some(running) = self.sections.running.take() else { return };
        self.mail_all(cx, || Message::Thaw);
        cx.core.thaw(cx.out);
        if let Asker::Client(from) = running.from {
            cx.answer(from, &running.reply);
        }
        self.section_over(cx, running.from == Asker::Link);
        self.run_sections(cx);
    }

    fn reply_section(&mut self, reply: &[u8]) {
        if let Some(running) = self.sections.running.as_mut() {
            running.reply.extend_from_slice(reply);
        }
    }

    /// A section's effect goes into the stream by core 0, after everything before it.
    fn log_section(&mut self, cx: &mut ControlCx<'_>, db: usize, words: &[Vec<u8>]) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        cx.core.log.append_request(db, &words);
        self.seal_here(cx);
    }

    /// Core 0's own log, sealed while its control is at work.
    pub(super) fn seal_here(&mut self, cx: &mut ControlCx<'_>) {
        if !cx.core.log.is_empty() {
            let ticket = cx.core.shared.tickets.fetch_add(1, Ordering::AcqRel) + 1;
            let batch = cx.core.log.seal(ticket);
            self.effects(cx, batch);
            cx.core.wrote(ticket);
        }
    }

    /// The ring from now on holds everything: a new history, unless one is being continued.
    pub(super) fn begin_stream(&mut self, cx: &mut ControlCx<'_>) {
        if self.ring.is_none() {
            if !self.view.is_replica() {
                let replid = self.new_replid();
                self.history.begin(replid);
            }
            self.ring = Some(Ring::new(self.following.idle_offset));
            cx.log(Level::Notice, "Replication backlog created");
        }
        self.view.streaming = true;
    }

    fn stream_switched(&mut self, cx: &mut ControlCx<'_>, on: bool) {
        if on {
            if !self.resume_history(cx) {
                self.begin_stream(cx);
                if self.view.loading && self.aof.is_on() {
                    self.begin_to_serve(cx);
                }
            }
        } else {
            self.following.idle_offset = self.offset();
            self.ring = None;
            self.view.streaming = false;
            cx.log(Level::Notice, "Replication backlog freed: no replica for repl-backlog-ttl");
        }
    }

    fn mail_all(&self, cx: &mut ControlCx<'_>, message: impl Fn() -> Message) {
        for core in 1..self.cores {
            cx.out.mail[core].push(message());
        }
    }
}

impl Core {
    /// Executes nothing from here on until `thaw`.
    pub(super) fn freeze(&mut self) {
        self.frozen.freeze();
        self.tx.intents.pause(true);
        self.park_transactions();
    }

    /// Are all grants released?
    pub(super) fn has_nothing_under_way(&self) -> bool {
        self.tx.intents.is_free() && !self.has_script()
    }

    /// Tells core 0 when this core stands still.
    pub(super) fn stand_still(&mut self, out: &mut Outbox) {
        if !self.has_nothing_under_way() || !self.frozen.stands_still() {
            return;
        }
        self.seal(out);
        if self.id == 0 {
            self.with_control(out, |control, cx| control.core_frozen(cx));
        } else {
            out.mail[0].push(Message::Frozen);
        }
    }

    /// This core's part of a section.
    pub(super) fn step(&mut self, step: Step) -> Answer {
        match step {
            Step::Flush { db } => {
                match db {
                    Some(db) => self.keyspace.flush(db),
                    None => self.keyspace.flush_all(),
                }
                self.tell_flush();
                self.emptied_while_exporting();
            }
            Step::Swap { a, b } => self.keyspace.swap(a, b),
            Step::Functions(change) => {
                // As on core 0, where it went well.
                let _ = self.change_functions(&change);
            }
            Step::Stream { on } => self.stream(on),
            Step::Cut { stream, commands } => {
                self.stream(stream);
                if !self.keyspace.cut() {
                    return Answer::Busy;
                }
                self.begin_walk(commands);
            }
        }
        Answer::Done
    }

    /// Logs what commands do from here on, or no longer.
    fn stream(&mut self, on: bool) {
        self.log.set_active(on);
        self.effect.listen(on);
    }

    /// The section is over: whoever waited goes on.
    pub(super) fn thaw(&mut self, out: &mut Outbox) {
        for conn in self.frozen.thaw() {
            self.wake(conn, Stall::Frozen);
        }
        self.tx.intents.pause(false);
        self.unpark_transactions();
        self.serve_postponed();
        // Core 0's control is at work here, and requests may ask for it: they run after that.
        if self.id != 0 {
            self.run_kept_requests();
        }
        let _ = out;
    }

    /// Requests of other cores that came while this one stood still.
    pub(super) fn run_kept_requests(&mut self) {
        if !self.frozen.is_frozen() && !self.has_script() && self.frozen.has_requests() {
            for (from, frames) in self.frozen.take_requests() {
                self.requests(from, frames);
            }
        }
    }
}

fn writes(op: &Op) -> bool {
    match op {
        Op::Flush { .. } | Op::Swap { .. } | Op::Functions { .. } => true,
        Op::Cut | Op::Stream { .. } | Op::Role | Op::Users(_) | Op::Still { .. } => false,
    }
}
