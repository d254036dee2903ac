//! Core 0's side of a section: one operation at a time, step by step. See `section.rs`.

use crate::command::args::Args;
use crate::engine::generic::moves::Copy;
use crate::engine::keyspace::ExpiryMode;
use crate::node::client::Call;
use crate::node::control::{Control, ControlCx, Op};
use crate::node::core::Core;
use crate::node::message::{Message, Origin, Return};
use crate::node::outbox::{Level, Outbox};
use crate::node::section::{self, Answer, Record, Step};
use crate::node::session::Stall;
use crate::node::table::{Run, Table};
use crate::replication::ring::Ring;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Proto;
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
    records: Vec<Record>,
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
    Taking,
    Putting,
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
        while self.sections.running.is_none() {
            let Some((op, from)) = self.sections.queue.pop_front() else { return };
            if let Asker::Client(asker) = from
                && self.view.is_read_only()
                && writes(&op, &cx.core.shared.table)
            {
                // It was let through before the role changed.
                cx.answer_error(asker, &ErrorKind::ReadOnly);
                continue;
            }
            let left = self.cores - 1;
            let (records, reply) = (Vec::new(), Vec::new());
            let phase = Phase::Freezing;
            self.sections.running = Some(Running { op, from, phase, left, records, reply });
            cx.core.frozen.freeze();
            self.mail_all(cx, || Message::Freeze);
            if left == 0 {
                self.all_frozen(cx);
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
        let Some(running) = self.sections.running.as_mut() else { return };
        match answer {
            Answer::Records(mut records) => running.records.append(&mut records),
            Answer::Done => {}
            Answer::Busy => cx.log(Level::Warning, "A core was already walking its shard"),
        }
        let phase = running.phase;
        if self.answered(phase) {
            match phase {
                Phase::Freezing => {}
                Phase::Stepping => self.all_stepped(cx),
                Phase::Taking => self.run_keys(cx),
                Phase::Putting => self.end_section(cx),
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
            Op::Cut => Step::Cut { stream: self.cut_streams() },
            Op::Keys { .. } => return self.take_keys(cx),
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
            Op::Keys { .. } => {}
        }
        self.end_section(cx);
    }

    /// Collects the records of a command's keys from the cores that own them.
    fn take_keys(&mut self, cx: &mut ControlCx<'_>) {
        let Some(running) = self.sections.running.as_mut() else { return };
        let Op::Keys { keys, .. } = &running.op else { return };
        let mut by_core: Vec<Vec<(usize, Vec<u8>)>> = vec![Vec::new(); self.cores];
        for (db, key) in keys {
            let owner = &mut by_core[cx.core.owner(key)];
            if !owner.contains(&(*db, key.clone())) {
                owner.push((*db, key.clone()));
            }
        }
        running.phase = Phase::Taking;
        running.left = 0;
        for (core, keys) in by_core.into_iter().enumerate().skip(1) {
            if !keys.is_empty() {
                running.left += 1;
                cx.out.mail[core].push(Message::Step(Step::Take { keys }));
            }
        }
        if running.left == 0 {
            self.run_keys(cx);
        }
    }

    /// All keys of the command are here: runs it, and sends back what is left of them.
    fn run_keys(&mut self, cx: &mut ControlCx<'_>) {
        let Some(running) = self.sections.running.as_mut() else { return };
        let Op::Keys { command, db, proto, words, keys } = &running.op else { return };
        let records = std::mem::take(&mut running.records);
        cx.core.put(records);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let table = std::sync::Arc::clone(&cx.core.shared.table);
        if let Run::Shard(run) = table.row(*command).run {
            let of_link = running.from == Asker::Link;
            let origin = if of_link { Origin::Master } else { Origin::Client };
            let args = Args::new(&words);
            let call = Call { number: *command, run, db: *db, proto: *proto, origin };
            cx.core.execute(call, args, &mut running.reply);
        }
        let mut back: Vec<Vec<Record>> = vec![Vec::new(); self.cores];
        let foreign: Vec<_> =
            keys.iter().filter(|(_, key)| cx.core.owner(key) != 0).cloned().collect();
        for record in cx.core.take(&foreign) {
            let owner = cx.core.owner(&record.key);
            back[owner].push(record);
        }
        running.phase = Phase::Putting;
        running.left = 0;
        for (core, records) in back.into_iter().enumerate() {
            if !records.is_empty() {
                running.left += 1;
                cx.out.mail[core].push(Message::Step(Step::Put { records }));
            }
        }
        let done = running.left == 0;
        self.seal_here(cx);
        if done {
            self.end_section(cx);
        }
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
            self.begin_stream(cx);
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
    /// This core's part of a section.
    pub(super) fn step(&mut self, step: Step) -> Answer {
        match step {
            Step::Flush { db: Some(db) } => self.keyspace.flush(db),
            Step::Flush { db: None } => self.keyspace.flush_all(),
            Step::Swap { a, b } => self.keyspace.swap(a, b),
            Step::Functions(change) => {
                // As on core 0, where it went well.
                let _ = self.change_functions(&change);
            }
            Step::Stream { on } => self.stream(on),
            Step::Cut { stream } => {
                self.stream(stream);
                if !self.keyspace.cut() {
                    return Answer::Busy;
                }
                self.begin_walk();
            }
            Step::Take { keys } => return Answer::Records(self.take(&keys)),
            Step::Put { records } => self.put(records),
        }
        Answer::Done
    }

    /// Takes keys out of the shard. What is met expired goes into the stream now: later it would
    /// delete what the command puts in its place.
    fn take(&mut self, keys: &[(usize, Vec<u8>)]) -> Vec<Record> {
        let mode = self.travel_mode();
        let records = section::take(&mut self.keyspace, keys, self.now.wall);
        self.keyspace.set_expiry_mode(mode);
        self.settle(0, Args::new(&[]), Origin::Client);
        records
    }

    fn put(&mut self, records: Vec<Record>) {
        let mode = self.travel_mode();
        section::put(&mut self.keyspace, records, self.now.wall);
        self.keyspace.set_expiry_mode(mode);
    }

    /// On a replica an expired key travels like any other: only its master's DEL ends it.
    fn travel_mode(&mut self) -> ExpiryMode {
        let mode = self.keyspace.expiry_mode();
        if self.view.is_replica() {
            self.keyspace.set_expiry_mode(ExpiryMode::Ignore);
        }
        mode
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
        // Core 0's control is at work here, and requests may ask for it: they run after that.
        if self.id != 0 {
            self.run_kept_requests();
        }
        let _ = out;
    }

    /// Requests of other cores that came while this one stood still.
    pub(super) fn run_kept_requests(&mut self) {
        if !self.frozen.is_frozen() && self.frozen.has_requests() {
            for (from, frames) in self.frozen.take_requests() {
                self.requests(from, frames);
            }
        }
    }

    /// A command over keys of several cores, or of another: in one piece where one core owns all.
    pub(super) fn exclusive(
        &mut self,
        conn: crate::node::outbox::Conn,
        number: u16,
        row: &crate::node::table::Row,
        args: Args<'_>,
        out: &mut Outbox,
    ) {
        let Run::Shard(run) = row.run else { return };
        match self.only_owner(row, args) {
            Some(core) if core == self.id => self.run_here(conn, number, run, args, out),
            Some(core) => self.depart(conn, number, row, (core, 0), args, out),
            None => {
                let Some(session) = self.sessions.get(conn) else { return };
                let (db, proto) = (usize::from(session.db), session.proto);
                let op = keys_op(number, row, (db, self.keyspace.databases()), proto, args);
                self.ask_for(conn, crate::node::control::Ask::Section(op), out);
            }
        }
    }
}

fn writes(op: &Op, table: &Table) -> bool {
    match op {
        Op::Flush { .. } | Op::Swap { .. } | Op::Functions { .. } => true,
        Op::Keys { command, .. } => table.row(*command).spec.is_write(),
        Op::Cut | Op::Stream { .. } | Op::Role => false,
    }
}

/// The operation that runs a command over keys of several cores.
pub(super) fn keys_op(
    command: u16,
    row: &crate::node::table::Row,
    (db, databases): (usize, usize),
    proto: Proto,
    args: Args<'_>,
) -> Op {
    let words: Vec<Vec<u8>> = args.iter().map(<[u8]>::to_vec).collect();
    let mut keys = Vec::new();
    for at in crate::command::keys::keys_found(row.spec, args) {
        if let Some(name) = args.get(at) {
            keys.push((db, name.to_vec()));
        }
    }
    // COPY may name another database for its second key; the key is then taken from both.
    if args.is(0, "COPY")
        && let Ok(copy) = Copy::parse(args, db, databases)
        && copy.to_db != db
    {
        let more: Vec<_> = keys.iter().skip(1).map(|(_, key)| (copy.to_db, key.clone())).collect();
        keys.extend(more);
    }
    Op::Keys { command, db, proto, words, keys }
}
