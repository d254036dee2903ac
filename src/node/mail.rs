//! What a core does with a message of another core, and what it does for its own keys in between.

use crate::base::limits::{EXPIRE_BUCKETS_PER_TURN, EXPIRE_BUCKETS_PER_TURN_PRESSED};
use crate::base::time::Mono;
use crate::command::args::Args;
use crate::engine::effect::Part;
use crate::engine::keyspace::{Expiry, ExpiryMode};
use crate::node::control::Ask;
use crate::node::core::Core;
use crate::node::flight::Flight;
use crate::node::functions::Change;
use crate::node::message::{Loaded, Message, Origin, Return};
use crate::node::outbox::{Action, Conn, Outbox};
use crate::node::pauses::Scope;
use crate::node::section::Step;
use crate::node::view::View;
use crate::replication::log::encode_request;
use crate::snapshot::cut::Cut;
use std::sync::Arc;

/// The commands of a unit of the stream, as they come.
#[derive(Debug, Default)]
pub(super) struct UnitLog {
    bytes: Vec<u8>,
    /// Database, and where the command ends in `bytes`.
    ends: Vec<(usize, usize)>,
}

impl Core {
    pub(super) fn message(&mut self, from: usize, message: Message, out: &mut Outbox) {
        if !self.has_script() {
            self.take_message(from, message, out);
        } else if let Some(message) = self.postpone(from, message) {
            self.take_message(from, message, out);
        }
    }

    fn take_message(&mut self, from: usize, message: Message, out: &mut Outbox) {
        match message {
            Message::Requests(frames) if self.frozen.is_frozen() || self.frozen.has_requests() => {
                self.frozen.keep(from, frames);
            }
            Message::Requests(frames) => {
                self.requests(from, frames);
                self.deliver_heard(out);
            }
            Message::Replies { frames, answered, .. } => self.replies(from, frames, answered, out),
            Message::Transactions { notes, after } => self.noted(from, notes, after, out),
            Message::Answer(frame) => self.deliver(&frame, out),
            Message::Effects(batch) => self.with_control(out, |it, cx| it.effects(cx, batch)),
            Message::Streamed { ticket, lost } => {
                if lost {
                    self.lost(ticket, out);
                }
                self.streamed(ticket);
            }
            Message::Freeze => {
                self.freeze();
                self.stand_still(out);
            }
            Message::Frozen => self.with_control(out, |it, cx| it.core_frozen(cx)),
            Message::Thaw => self.thaw(out),
            Message::Step(step) => {
                // A file has them from its cut on.
                self.report_changes(out);
                let answer = self.step(step);
                self.seal(out);
                out.mail[0].push(Message::Stepped(answer));
            }
            Message::Empty => {
                self.keyspace.flush_all();
                self.tell_flush();
                self.step(Step::Functions(Change::Flush));
            }
            Message::Function(change) => {
                self.step(Step::Functions(*change));
            }
            Message::Load(loaded) => {
                let taken = self.take_loaded(*loaded);
                out.mail[0].push(Message::Taken(taken));
            }
            Message::Taken(taken) => self.told_taken(taken, out),
            Message::Stepped(answer) => {
                self.with_control(out, |it, cx| it.core_stepped(cx, answer))
            }
            Message::Ask { from, ask } => self.with_control(out, |it, cx| it.asked(cx, from, *ask)),
            Message::View(view) => self.see(*view),
            Message::Lines(lines) => self.show_lines(&lines, out),
            Message::List(note) => self.told_of_list(from, note.0, note.1, out),
            Message::Unwatched => self.with_control(out, |it, cx| it.watch(cx, from, false)),
            Message::Slow { conn, generation, entry } => {
                self.slow_elsewhere(conn, generation, *entry);
            }
            Message::Pause(pause) => self.pause_here(pause, out),
            Message::Chunk { chunk, last, keys } => {
                self.with_control(out, |it, cx| it.chunk(cx, from, chunk, last, keys));
            }
            Message::ChunkTaken => self.walker.taken(),
            Message::AbandonWalk => self.abandon_walk(),
            Message::Export(order) => self.export(*order),
            Message::Exported(note) => self.tell_of_export(note.0, note.1, out),
            Message::DropSlots(slots) => self.drop_slots(&slots),
            Message::ToFlow(told) => self.flow_told(*told, out),
            Message::FromFlow(said) => self.with_control(out, |it, cx| it.flow_said(cx, *said)),
            Message::Bus(said) => out.actions.push(Action::Bus(*said)),
            Message::Changes(n) => self.with_control(out, |it, _| it.snapshots.note_changes(n)),
        }
    }

    fn told_taken(&mut self, taken: bool, out: &mut Outbox) {
        let reply: &[u8] = if taken { b"+OK" } else { b"-no room for a collection" };
        self.with_control(out, |it, cx| it.applied(cx, reply));
    }

    /// A collection of a file or a full sync becomes a key of this core; false: there is no room.
    pub(super) fn take_loaded(&mut self, loaded: Loaded) -> bool {
        let Loaded { db, key, body, expiry_ms } = loaded;
        let mode = self.keyspace.expiry_mode();
        self.keyspace.set_expiry_mode(ExpiryMode::Ignore);
        let key = self.keyspace.key(&key);
        let expiry = expiry_ms.map_or(Expiry::None, Expiry::At);
        let taken = self.keyspace.put_body(db, key, body, expiry, self.now.wall).is_ok();
        self.keyspace.set_expiry_mode(mode);
        taken
    }

    /// The node's roles and settings changed.
    pub(super) fn see(&mut self, view: View) {
        if view.is_replica() && !self.view.is_replica() {
            self.end_all_waits();
        }
        // While writes wait the history must not grow by a key's end either.
        let hides = view.is_replica() || view.writes_wait || view.loading;
        let mode = if hides { ExpiryMode::Hide } else { ExpiryMode::Delete };
        self.keyspace.set_expiry_mode(mode);
        view.tune(&mut self.keyspace);
        self.effect.set_unlinks_expired(view.settings.lazyfree_lazy_expire);
        self.pauses.writes_wait = view.writes_wait;
        self.slow.configure(&view.settings);
        let same_users = Arc::ptr_eq(&self.view.users, &view.users);
        let moved = match (&self.view.cluster, &view.cluster) {
            (Some(old), Some(new)) => !Arc::ptr_eq(old, new),
            _ => false,
        };
        *self.view = view;
        if moved {
            self.send_waiters_on();
        }
        if !same_users {
            self.review_sessions();
        }
    }

    /// `CLIENT PAUSE` and `UNPAUSE` on this core.
    pub(super) fn pause_here(&mut self, pause: Option<(Mono, Scope)>, out: &mut Outbox) {
        match pause {
            Some((end, scope)) => self.pauses.pause(end, scope),
            None => {
                self.pauses.unpause();
                self.unpause(out);
            }
        }
    }

    /// What a command did goes into this turn's log.
    #[inline]
    pub(super) fn settle(&mut self, db: usize, args: Args<'_>, origin: Origin) {
        if self.has_script() {
            return; // The effect is that of the script that stands still.
        }
        if self.keyspace.has_leftovers() {
            let effect = &mut self.effect;
            self.keyspace.drain_expired(&mut |db, key| effect.expired(db, key));
            self.tell_notices();
        }
        self.changes += self.effect.changes();
        if !self.effect.is_empty() && origin == Origin::Client {
            match self.unit.is_some() {
                true => self.add_to_unit(db, args),
                false => self.log_effect(db, args),
            }
        }
        self.effect.clear();
    }

    fn log_effect(&mut self, db: usize, args: Args<'_>) {
        let (log, effect) = (&mut self.log, &self.effect);
        if effect.len() == 1 {
            for part in effect.parts() {
                match part {
                    Part::Request => log.append_request(db, args.words()),
                    Part::Command { db, resp } => {
                        log.append(db, |out| out.extend_from_slice(resp));
                    }
                }
            }
            return;
        }
        log.append_transaction(|transaction| {
            for part in effect.parts() {
                match part {
                    Part::Request => transaction.request(db, args.words()),
                    Part::Command { db, resp } => transaction.encoded(db, resp),
                }
            }
        });
    }

    /// What commands do from here on is one unit of the stream.
    pub(super) fn begin_unit(&mut self) {
        self.unit = Some(UnitLog::default());
    }

    fn add_to_unit(&mut self, db: usize, args: Args<'_>) {
        let Some(unit) = self.unit.as_mut().filter(|_| self.log.is_active()) else { return };
        for part in self.effect.parts() {
            let db = match part {
                Part::Request => {
                    encode_request(args.words(), &mut unit.bytes);
                    db
                }
                Part::Command { db, resp } => {
                    unit.bytes.extend_from_slice(resp);
                    db
                }
            };
            unit.ends.push((db, unit.bytes.len()));
        }
    }

    /// A request of the node's own is part of the unit.
    pub(super) fn log_in_unit(&mut self, db: usize, args: Args<'_>) {
        if self.log.is_active()
            && !self.view.is_replica()
            && let Some(unit) = self.unit.as_mut()
        {
            encode_request(args.words(), &mut unit.bytes);
            unit.ends.push((db, unit.bytes.len()));
        }
    }

    /// The unit is complete: as one it goes into this turn's log.
    pub(super) fn end_unit(&mut self) {
        let Some(unit) = self.unit.take().filter(|unit| !unit.ends.is_empty()) else { return };
        self.log.append_transaction(|transaction| {
            let mut start = 0;
            for (db, end) in unit.ends {
                transaction.encoded(db, &unit.bytes[start..end]);
                start = end;
            }
        });
    }

    /// A slice of active expiry; a replica leaves that to its master.
    pub(super) fn expire_some(&mut self) {
        let view = &self.view;
        let idle = view.is_replica() || view.loading || view.writes_wait;
        if idle || self.now.mono < self.next_expiry {
            return;
        }
        let budget = if self.expire_pressed {
            EXPIRE_BUCKETS_PER_TURN_PRESSED
        } else {
            EXPIRE_BUCKETS_PER_TURN
        };
        let budget = budget * usize::from(view.settings.active_expire_effort.max(1));
        let effect = &mut self.effect;
        self.expire_pressed =
            self.expire.step(&mut self.keyspace, self.now.wall, budget, &mut |db, key| {
                effect.expired(db, key);
            });
        // A cycle ten times a second, and at once again while much was found.
        let pause_ms = if self.expire_pressed { 1 } else { 10 };
        self.next_expiry = self.now.mono.plus_ms(pause_ms);
        self.settle(0, Args::new(&[]), Origin::Client);
    }

    pub(super) fn begin_walk(&mut self, commands: bool) {
        let rdb = || Cut::new(self.view.settings.rdbcompression);
        self.walker.begin(if commands { Cut::of_commands() } else { rdb() });
    }

    /// Works on the flight of a session, made where there is none.
    pub(super) fn with_flight<T>(
        &mut self,
        conn: Conn,
        act: impl FnOnce(&mut Flight) -> T,
    ) -> Option<T> {
        let session = self.sessions.get_mut(conn)?;
        let base = session.next_slot;
        let roads = &mut self.roads;
        let flight = session.flight.get_or_insert_with(|| roads.new_flight(base));
        Some(act(flight))
    }

    /// Asks core 0 for something on behalf of a session; nothing else of it runs until the answer.
    pub(super) fn ask_for(&mut self, conn: Conn, ask: Ask, out: &mut Outbox) {
        let Some(session) = self.sessions.get(conn) else { return };
        let (muted, generation) = (session.is_muted(), session.generation);
        let slot = self.with_flight(conn, |flight| {
            let slot = flight.depart(None, true, muted);
            flight.set_barrier();
            slot
        });
        let Some(slot) = slot else { return };
        let from = Return { core: self.id, conn, generation, slot, part: 0 };
        // What this turn wrote so far goes first: WAIT counts from there.
        self.seal(out);
        if self.id == 0 {
            self.with_control(out, |control, cx| control.asked(cx, from, ask));
        } else {
            out.mail[0].push(Message::Ask { from, ask: Box::new(ask) });
        }
    }

    /// The last ticket of this core's own.
    pub(super) fn wrote(&mut self, ticket: u64) {
        self.roads.wrote(ticket);
    }

    /// Tells core 0 now and then how much was changed, for the save points.
    pub(super) fn report_changes(&mut self, out: &mut Outbox) {
        let changes = std::mem::take(&mut self.changes);
        if changes == 0 {
            return;
        }
        if self.id == 0 {
            self.with_control(out, |it, _| it.snapshots.note_changes(changes));
        } else {
            out.mail[0].push(Message::Changes(changes));
        }
    }
}
