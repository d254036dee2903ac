//! Applying our master's stream: its units go to the cores that own their keys.
//!
//! Units and commands travel as requests of [`LINK`]; their replies only count down what is under way.
//! Commands of one key keep their order on the road to its core. A command or a MULTI..EXEC over keys of
//! several cores is a transaction, whose asking for keys keeps its place on the road, too. What touches
//! the whole keyspace waits until nothing is under way and then runs in a section. The offset that we
//! acknowledge moves only when everything before it is applied.
//!
//! A client's transaction that reads may have a key that the stream is to change: then the stream
//! waits, but never for one that itself waits (`intents.rs`).
//!
//! Not here: the link, and loading (`following.rs`).

use crate::base::limits::{APPLY_BYTES_MAX, APPLY_UNDER_WAY_MAX};
use crate::base::time::Mono;
use crate::command::args::Args;
use crate::node::client::Call;
use crate::node::control::{Control, ControlCx, Op};
use crate::node::core::Core;
use crate::node::flow_link::Routed;
use crate::node::following::{LINK, Queued};
use crate::node::functions::Change;
use crate::node::message::{self, Origin, RequestHead};
use crate::node::outbox::{Action, Level, Outbox};
use crate::node::owner::Plain;
use crate::node::publish;
use crate::node::rehearsal;
use crate::node::table::Run;
use crate::node::transactions::{Asker, Form, NOBODY, Wanted, Wants, Work};
use crate::replication::replica::Input;
use crate::replication::units::Unit;
use crate::resp::reply::Proto;
use crate::resp::request::{self, RequestLimits};

/// As `Log` writes it, and as every master does.
const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

impl Control {
    pub(super) fn queue_unit(&mut self, now: Mono, unit: Unit, bytes: &[u8], end: u64) {
        self.following.came.note(now, end);
        if let Some(ring) = self.ring.as_mut() {
            self.merger.verbatim(bytes, ring);
        }
        let work = match unit {
            Unit::Command | Unit::Transaction => bytes.to_vec(),
            Unit::Ping | Unit::GetAck => Vec::new(),
        };
        self.following.units_bytes += work.len();
        self.following.units.push_back(Queued { bytes: work, routed: None, end });
    }

    /// As `queue_unit`, of units that flow `flow` brought and its core has read.
    pub(super) fn queue_routed(
        &mut self,
        cx: &mut ControlCx<'_>,
        flow: usize,
        routed: Routed,
        bytes: &[u8],
        end: u64,
    ) {
        self.following.came.note(cx.now().mono, end);
        cx.core.stats.repl_input_bytes += bytes.len() as u64;
        if let Some(ring) = self.ring.as_mut() {
            self.merger.verbatim_by(flow, routed.first_db, bytes, ring);
        }
        self.following.units_bytes += bytes.len();
        let routed = Some((Box::new(routed), bytes.len()));
        self.following.units.push_back(Queued { bytes: Vec::new(), routed, end });
    }

    /// Applies what may be applied now.
    pub(super) fn pump_units(&mut self, cx: &mut ControlCx<'_>) {
        if std::mem::replace(&mut self.following.pumping, true) {
            return; // A section that ran at once: the loop below goes on by itself.
        }
        while self.may_apply() {
            if self.following.cut_wanted && !self.following.begun {
                if self.following.under_way > 0 || self.following.load.is_some() {
                    break;
                }
                self.following.cut_wanted = false;
                self.apply_in_section(cx, Op::Cut);
                continue;
            }
            let Some(Queued { bytes: mut unit, routed, end }) = self.following.units.pop_front()
            else {
                break;
            };
            cx.core.shared.host.record.heard_of_master(cx.now().wall);
            if let Some((mut routed, bytes)) = routed {
                self.following.begun = !self.apply_routed(cx, &mut routed);
                if self.following.begun {
                    let routed = Some((routed, bytes));
                    self.following.units.push_front(Queued { bytes: unit, routed, end });
                    break;
                }
                self.following.units_bytes -= bytes;
                self.following.applied = end;
                continue;
            }
            let used = self.apply_unit(cx, &unit);
            self.following.units_bytes -= used;
            if used == unit.len() {
                self.following.applied = end;
                continue;
            }
            let waits = self.following.blocked
                || (!self.following.in_section && self.following.under_way > 0);
            unit.drain(..used);
            self.following.units.push_front(Queued { bytes: unit, routed: None, end });
            if waits {
                break;
            }
        }
        self.following.pumping = false;
        self.tell_replicas(cx, crate::replication::master::Input::Appended);
        self.trim();
        self.settle_applied(cx);
        self.pace_link(cx);
        self.begin_change(cx);
    }

    /// While all cores stand still only the section that a unit asked for changes anything.
    fn may_apply(&self) -> bool {
        let following = &self.following;
        !following.in_section
            && !following.blocked
            && following.under_way < if following.alone { 1 } else { APPLY_UNDER_WAY_MAX }
            && self.sections.is_idle()
    }

    /// A snapshot of a replica is cut between two units, with nothing under way: what it holds is
    /// then what its offset says.
    pub(super) fn cut_between_units(&mut self, cx: &mut ControlCx<'_>) {
        self.following.cut_wanted = true;
        self.pump_units(cx);
    }

    /// Nothing is under way: everything up to `applied` is executed.
    fn settle_applied(&mut self, cx: &mut ControlCx<'_>) {
        let following = &self.following;
        if following.under_way == 0 && !following.in_section && following.load.is_none() {
            let offset = following.applied;
            if self.following.replica.status(cx.now().mono).applied < offset {
                let (now, following) = (cx.now().mono, &mut self.following);
                following.came.reached(&mut following.applied_lag, now, offset);
                self.tell_link(cx, Input::Applied { offset }, &[]);
            }
        }
    }

    /// A master that sends faster than we apply is not read from for a while.
    pub(super) fn pace_link(&mut self, cx: &mut ControlCx<'_>) {
        let following = &mut self.following;
        let link = following.link;
        if link.is_none() && !following.flows.are_draining() {
            return;
        }
        let full = self.held_back.since.is_some()
            || following.units_bytes > APPLY_BYTES_MAX
            || following.under_way > APPLY_UNDER_WAY_MAX;
        if full != following.paused {
            following.paused = full;
            let action = if full { Action::Pause } else { Action::Resume };
            cx.out.actions.extend(link.map(action));
            self.pace_flows(cx);
        }
    }

    /// Applies one unit; how much of it. The rest waits until nothing is under way, or until the
    /// section is over that a command of it needs.
    fn apply_unit(&mut self, cx: &mut ControlCx<'_>, unit: &[u8]) -> usize {
        let limits = RequestLimits::DEFAULT;
        let (mut rest, mut words) = (unit, Vec::new());
        if unit.starts_with(MULTI)
            && let Some(used) = self.apply_transaction(cx, unit)
        {
            return used;
        }
        while !rest.is_empty() {
            words.clear();
            let Some(used) = request::next(rest, &limits, &mut words) else {
                self.refuse_unit(cx, "what is no command");
                return unit.len();
            };
            if !self.apply_command(cx, Args::new(&words)) {
                break;
            }
            rest = &rest[used..];
            if self.following.in_section {
                break;
            }
        }
        unit.len() - rest.len()
    }

    /// What a flow's core has read. False: core 0's part, which comes first, waits; what of it is done is taken off.
    fn apply_routed(&mut self, cx: &mut ControlCx<'_>, routed: &mut Routed) -> bool {
        self.following.alone = false;
        for part in &mut routed.parts {
            if part.core == 0 {
                let left = self.apply_frames(cx, &part.frames);
                if left > 0 {
                    drop(part.frames.drain(..part.frames.len() - left));
                    return false;
                }
                part.frames.clear();
            } else {
                self.following.under_way += part.requests;
                cx.core.roads.to(part.core).extend_from_slice(&part.frames);
            }
        }
        self.snapshots.note_changes(routed.commands);
        self.following.db = routed.last_db;
        true
    }

    /// Core 0's requests; how many bytes of them are left, because the next one waits.
    fn apply_frames(&mut self, cx: &mut ControlCx<'_>, frames: &[u8]) -> usize {
        let table = cx.core.shared.table;
        let (mut rest, mut words) = (frames, Vec::new());
        while !rest.is_empty() {
            let left = rest.len();
            words.clear();
            let Some(head) = message::pop_request(&mut rest, &mut words) else { break };
            let (args, number) = (Args::new(&words), head.command);
            if self.must_wait(cx, number, args) {
                return left;
            }
            let mut reply = Vec::new();
            if let Run::Shard(run) = table.row(number).run {
                let (db, origin) = (usize::from(head.db), Origin::Master);
                let call = Call { number, run, db, proto: Proto::Resp2, origin };
                cx.core.execute(call, args, &mut reply);
                report(cx, args, &reply);
            } else {
                let frames = args.get(1).unwrap_or_default();
                let _ = cx.core.run_shard_frames(frames, None, &mut reply);
                cx.core.serve_ready();
            }
        }
        0
    }

    fn apply_command(&mut self, cx: &mut ControlCx<'_>, args: Args<'_>) -> bool {
        let name = args.name();
        if name.eq_ignore_ascii_case(b"SELECT") {
            self.following.db = selected(args);
            return true;
        }
        if name.eq_ignore_ascii_case(b"MULTI") || name.eq_ignore_ascii_case(b"EXEC") {
            return true;
        }
        if let Some((topic, channel, message)) = publish::of_stream(args) {
            cx.core.broadcast(topic, channel, message);
            cx.core.deliver_heard(cx.out);
            return true;
        }
        let table = cx.core.shared.table;
        let db = self.following.db;
        if let Some(op) = whole_keyspace(args, db) {
            return self.apply_in_section(cx, op);
        }
        let Some(number) = table.find(args) else {
            let name = String::from_utf8_lossy(name).into_owned();
            self.refuse_unit(cx, &format!("{name}, which is unknown here"));
            return true;
        };
        let row = table.row(number);
        let Run::Shard(run) = row.run else { return true };
        if !(row.spec.is_write() || row.spec.changes_keys()) || !row.spec.arity.accepts(args.len())
        {
            let name = String::from_utf8_lossy(name).into_owned();
            self.refuse_unit(cx, &format!("{name}, which is no write"));
            return true;
        }
        let alone = cx.core.cores > 1 && rehearsal::follows_keys(row.spec, args);
        if alone && self.following.under_way > 0 {
            return false;
        }
        self.following.alone = alone;
        self.snapshots.note_changes(1);
        let call = Call { number, run, db, proto: Proto::Resp2, origin: Origin::Master };
        match cx.core.only_owner(row, args) {
            Some(0) => {
                if self.must_wait(cx, number, args) {
                    return false;
                }
                let mut reply = Vec::new();
                cx.core.execute(call, args, &mut reply);
                report(cx, args, &reply);
            }
            Some(core) => self.send_apply(cx, core, number, db, args),
            None => {
                let mut wants = Wants::default();
                cx.core.want(row, db, args, &mut wants);
                let mut frames = Vec::new();
                message::push_request(&mut frames, &head(number, db), args.iter());
                self.begin_transaction(cx, frames, wants.into_keys());
            }
        }
        true
    }

    fn refuse_unit(&mut self, cx: &mut ControlCx<'_>, what: &str) {
        if self.aof.is_loading() {
            self.following.refused.get_or_insert_with(|| format!("it has {what}"));
        } else {
            cx.log(Level::Warning, format!("The master sent {what}; ignored"));
        }
    }

    /// A client's transaction reads what core 0 is to change now: the stream waits for it.
    fn must_wait(&mut self, cx: &mut ControlCx<'_>, number: u16, args: Args<'_>) -> bool {
        if cx.core.has_script() {
            self.following.blocked = true;
            return true; // Its end calls `unblocked`.
        }
        let blocked = cx.core.blocked_by(number, args);
        cx.core.tx.woken = None;
        if let Some((hash, mode)) = blocked {
            cx.core.tx.intents.wait(Plain::Link, hash, mode, true);
        }
        self.following.blocked = blocked.is_some();
        self.following.blocked
    }

    /// What waited may go on.
    pub(super) fn unblocked(&mut self, cx: &mut ControlCx<'_>) {
        self.following.blocked = false;
        self.pump_units(cx);
    }

    fn begin_transaction(&mut self, cx: &mut ControlCx<'_>, frames: Vec<u8>, wanted: Vec<Wanted>) {
        self.following.under_way += 1;
        self.following.transactions += 1;
        let (asker, form) = (Asker::Link, Form::Part);
        cx.core.begin_work(Work { asker, frames, form, writes: true, waits: false, wanted });
    }

    /// A whole MULTI..EXEC, applied as one: by one core, or as a transaction over several. How much of
    /// it; `None` where it is to be applied command by command.
    fn apply_transaction(&mut self, cx: &mut ControlCx<'_>, unit: &[u8]) -> Option<usize> {
        let table = cx.core.shared.table;
        let (mut rest, mut words, mut db) = (unit, Vec::new(), self.following.db);
        let (mut frames, mut wants, mut commands) = (Vec::new(), Wants::default(), 0);
        while !rest.is_empty() {
            words.clear();
            let used = request::next(rest, &RequestLimits::DEFAULT, &mut words)?;
            rest = &rest[used..];
            let args = Args::new(&words);
            if args.is(0, "MULTI") || args.is(0, "EXEC") {
                continue;
            }
            if args.is(0, "SELECT") {
                db = selected(args);
                continue;
            }
            let number = table.find(args)?;
            let row = table.row(number);
            let changes = row.spec.is_write() || row.spec.changes_keys();
            let publishes = publish::of_stream(args).is_some();
            let whole = publishes || matches!(row.run, Run::Shard(_)) && changes;
            if !whole || !row.spec.arity.accepts(args.len()) {
                return None;
            }
            message::push_request(&mut frames, &head(number, db), args.iter());
            cx.core.want(row, db, args, &mut wants);
            commands += 1;
        }
        let wanted = wants.into_keys();
        let one = wanted.first().map_or(0, |it| it.core);
        let alone = cx.core.cores > 1 && cx.core.frames_follow_keys(&frames);
        if alone && self.following.under_way > 0 {
            return Some(0);
        }
        self.following.alone = alone;
        if alone || wanted.iter().any(|it| it.core != one) {
            self.begin_transaction(cx, frames, wanted);
        } else if one == 0 {
            let exec = table.part("exec");
            if self.must_wait(cx, exec, Args::new(&[b"", &frames])) {
                return Some(0);
            }
            let _ = cx.core.run_shard_frames(&frames, None, &mut Vec::new());
            cx.core.serve_ready();
        } else {
            let words: [&[u8]; 2] = [b"", &frames];
            self.send_apply(cx, one, table.part("exec"), db, Args::new(&words));
        }
        self.snapshots.note_changes(commands);
        self.following.db = db;
        Some(unit.len())
    }

    fn apply_in_section(&mut self, cx: &mut ControlCx<'_>, op: Op) -> bool {
        if self.following.under_way > 0 {
            return false;
        }
        self.following.in_section = true;
        self.section_of_link(cx, op);
        true
    }

    pub(super) fn send_apply(
        &mut self,
        cx: &mut ControlCx<'_>,
        core: usize,
        command: u16,
        db: usize,
        args: Args<'_>,
    ) {
        self.following.under_way += 1;
        let head = head(command, db);
        message::push_request(cx.core.roads.to(core), &head, args.iter());
    }

    /// A section is over; `of_link`: it was a unit's.
    pub(super) fn section_over(&mut self, cx: &mut ControlCx<'_>, of_link: bool) {
        if of_link {
            self.following.in_section = false;
        }
        if self.aof.is_loading() {
            self.aof_goes_on(cx);
        } else if self.following.master.is_some() {
            self.pump_units(cx);
        }
    }

    /// Another core executed one of the requests that we sent it.
    pub(super) fn applied(&mut self, cx: &mut ControlCx<'_>, reply: &[u8]) {
        self.following.under_way = self.following.under_way.saturating_sub(1);
        if reply.first() == Some(&b'-') {
            let text = String::from_utf8_lossy(reply).trim_end().to_string();
            cx.log(Level::Warning, format!("Applying what was sent failed: {text}"));
        }
        if self.aof.is_loading() {
            self.aof_goes_on(cx);
        } else if self.following.load.is_some() {
            self.load_goes_on(cx);
        } else if self.following.under_way == 0 || !self.following.units.is_empty() {
            self.pump_units(cx);
        }
        self.begin_change(cx);
    }
}

impl Core {
    pub(super) fn applied(&mut self, reply: &[u8], out: &mut Outbox) {
        self.with_control(out, |control, cx| control.applied(cx, reply));
    }

    /// A unit of the stream over several cores was run.
    pub(super) fn transaction_applied(&mut self, reply: &[u8], out: &mut Outbox) {
        self.with_control(out, |control, cx| {
            control.following.transactions -= 1;
            control.applied(cx, reply);
            control.run_sections(cx);
        });
    }
}

/// The head of a request that the stream makes.
pub(super) fn head(command: u16, db: usize) -> RequestHead {
    let db = u16::try_from(db).unwrap_or(0);
    RequestHead { conn: LINK, command, db, origin: Origin::Master, ..NOBODY }
}

pub(super) fn selected(args: Args<'_>) -> usize {
    let db = args.get(1).and_then(crate::base::num::parse_i64);
    db.and_then(|db| usize::try_from(db).ok()).unwrap_or(0)
}

/// FLUSHALL, FLUSHDB, SWAPDB and FUNCTION of a master.
pub(super) fn whole_keyspace(args: Args<'_>, db: usize) -> Option<Op> {
    let words = args.iter().map(<[u8]>::to_vec).collect();
    let number = |at| {
        let number = args.get(at).and_then(crate::base::num::parse_i64)?;
        usize::try_from(number).ok()
    };
    if args.is(0, "FLUSHALL") {
        return Some(Op::Flush { db: None, in_db: db, words });
    }
    if args.is(0, "FLUSHDB") {
        return Some(Op::Flush { db: Some(db), in_db: db, words });
    }
    if args.is(0, "SWAPDB") {
        return Some(Op::Swap { a: number(1)?, b: number(2)?, in_db: db, words });
    }
    if let Some(Ok(change)) = Change::of(args) {
        return Some(Op::Functions { change, in_db: db, words });
    }
    None
}

fn report(cx: &mut ControlCx<'_>, args: Args<'_>, reply: &[u8]) {
    if reply.first() == Some(&b'-') {
        let name = String::from_utf8_lossy(args.name()).into_owned();
        let text = String::from_utf8_lossy(reply).trim_end().to_string();
        cx.log(Level::Warning, format!("{name} of the master failed here: {text}"));
    }
}
