//! A client's side of waiting for keys: BLPOP and its like, XREAD BLOCK; timeouts, CLIENT UNBLOCK, and
//! clients that leave.
//!
//! A client that waits has a slot of its flight open, and a barrier: nothing else of it runs. It ends
//! its waiting with the reply, whoever gives that:
//!   * all keys are of one core: that core, also where the time is over, so that no element is taken
//!     for one who has been told that there was none
//!   * keys of several cores: this core, which first ran the request as a transaction over them
//!     (`transactions.rs`), and runs it again for whichever key is offered to it (`waiting.rs`)
//!
//! An offer that comes while another is worked on is refused; if that one does not serve after all, the
//! request is run anew over all keys.
//!
//! Not here: who is served first (`waiting.rs`).

use crate::base::map::HashMap;
use crate::base::time::Mono;
use crate::command::args::Args;
use crate::engine::blocking::Shape;
use crate::engine::collections::Carried;
use crate::node::client::Call;
use crate::node::core::Core;
use crate::node::intents::Number;
use crate::node::message::{self, Origin, RequestHead};
use crate::node::outbox::{Conn, Outbox};
use crate::node::table::{Row, Run};
use crate::node::transactions::{Asker, Form, NOBODY, Note, Wait, Wants, Work};
use crate::node::waiting::{Id, Offer, say_group_gone};
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use std::collections::BTreeSet;

/// The clients of this core that wait for keys.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    clients: HashMap<Conn, Client>,
    deadlines: BTreeSet<(Mono, Conn)>,
    /// Keys of this core, offered to clients of its own.
    pub offers: Vec<(Number, Offer)>,
}

#[derive(Debug)]
struct Client {
    generation: u32,
    slot: u32,
    deadline: Option<Mono>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// One core keeps the request.
    On(usize),
    Several(Box<Several>),
}

/// A request for keys of several cores.
#[derive(Debug)]
struct Several {
    head: RequestHead,
    words: Vec<Box<[u8]>>,
    /// The cores that know that it waits.
    known_to: Vec<usize>,
    running: bool,
    /// A key was offered while it ran.
    missed: bool,
    /// It is over: so it is answered, unless what runs serves it.
    over: Option<Vec<u8>>,
}

impl Blocked {
    /// Does nobody wait?
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.clients.is_empty()
    }

    pub fn waits(&self, conn: Conn) -> bool {
        self.clients.contains_key(&conn)
    }

    /// When the first of them has waited long enough.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|it| it.0)
    }

    fn remove(&mut self, conn: Conn) -> Option<Client> {
        let client = self.clients.remove(&conn)?;
        if let Some(at) = client.deadline {
            self.deadlines.remove(&(at, conn));
        }
        Some(client)
    }

    fn several(&mut self, conn: Conn, generation: u32) -> Option<&mut Several> {
        match self.clients.get_mut(&conn) {
            Some(Client { generation: its, place: Place::Several(several), .. })
                if *its == generation =>
            {
                Some(several)
            }
            _ => None,
        }
    }
}

impl Core {
    /// A command that waits where it finds nothing.
    pub(super) fn run_or_wait(
        &mut self,
        conn: Conn,
        number: u16,
        row: &Row,
        args: Args<'_>,
        out: &mut Outbox,
    ) {
        let patience = Shape::of(args).and_then(|shape| shape.patience_ms(args));
        let Some(patience_ms) = patience else {
            return self.over_keys(conn, number, row, args, out);
        };
        match self.only_owner(row, args) {
            Some(core) if core == self.id => {
                self.wait_here(conn, number, row, args, out, patience_ms)
            }
            Some(core) => {
                self.depart(conn, number, (core, 0), 0, args, out);
                let slot = self.with_flight(conn, |flight| {
                    flight.set_barrier();
                    flight.next_number().wrapping_sub(1)
                });
                self.note_blocked(conn, slot, Place::On(core), patience_ms);
            }
            None => self.wait_on_several(conn, number, row, args, patience_ms),
        }
    }

    fn wait_here(
        &mut self,
        conn: Conn,
        number: u16,
        row: &Row,
        args: Args<'_>,
        out: &mut Outbox,
        patience_ms: u64,
    ) {
        let (Run::Shard(run), Some(session)) = (row.run, self.sessions.get(conn)) else { return };
        let (db, proto, muted) = (session.db, session.proto, session.is_muted());
        let (generation, no_touch) = (session.generation, session.no_touch);
        let call = Call { number, run, db: usize::from(db), proto, origin: Origin::Client };
        self.keyspace.set_no_touch(no_touch);
        self.effect.take_wait();
        let mut reply = Vec::new();
        self.execute(call, args, &mut reply);
        if !self.effect.take_wait() {
            return self.reply(conn, out, |place| place.extend_from_slice(&reply));
        }
        let slot = self.open_slot(conn, muted);
        let slot_number = slot.unwrap_or_default();
        let head = RequestHead {
            conn,
            generation,
            slot: slot_number,
            command: number,
            db,
            proto,
            no_touch,
            ..NOBODY
        };
        self.wait_with_request(self.id, &head, args);
        self.note_blocked(conn, slot, Place::On(self.id), patience_ms);
    }

    fn wait_on_several(
        &mut self,
        conn: Conn,
        number: u16,
        row: &Row,
        args: Args<'_>,
        patience_ms: u64,
    ) {
        let Some(session) = self.sessions.get(conn) else { return };
        let muted = session.is_muted();
        let mut head = RequestHead {
            conn,
            generation: session.generation,
            command: number,
            db: session.db,
            proto: session.proto,
            no_touch: session.no_touch,
            ..NOBODY
        };
        let slot = self.open_slot(conn, muted);
        head.slot = slot.unwrap_or_default();
        let several = Several {
            head,
            words: args.iter().map(Into::into).collect(),
            known_to: Vec::new(),
            running: true,
            missed: false,
            over: None,
        };
        self.note_blocked(conn, slot, Place::Several(Box::new(several)), patience_ms);
        let work = self.work_of_waiter(&head, row, args);
        self.begin_work(work);
    }

    fn work_of_waiter(&self, head: &RequestHead, row: &Row, args: Args<'_>) -> Work {
        let mut frames = Vec::new();
        message::push_request(&mut frames, head, args.iter());
        let mut wants = Wants::default();
        self.want(row, usize::from(head.db), args, &mut wants);
        let &RequestHead { conn, generation, slot, .. } = head;
        Work {
            asker: Asker::Client { conn, generation, slot: Some(slot) },
            frames,
            form: Form::Single,
            writes: row.spec.is_write(),
            waits: true,
            wanted: wants.into_keys(),
        }
    }

    fn open_slot(&mut self, conn: Conn, muted: bool) -> Option<u32> {
        self.with_flight(conn, |flight| {
            let slot = flight.depart(None, true, muted);
            flight.set_barrier();
            slot
        })
    }

    fn note_blocked(&mut self, conn: Conn, slot: Option<u32>, place: Place, patience_ms: u64) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.rare_mut().blocked = true;
        let generation = session.generation;
        let deadline = (patience_ms > 0).then(|| self.now.mono.plus_ms(patience_ms));
        self.blocked.deadlines.extend(deadline.map(|at| (at, conn)));
        let client = Client { generation, slot: slot.unwrap_or_default(), deadline, place };
        self.blocked.clients.insert(conn, client);
    }

    /// A reply came to a client, which waits no more if it waited.
    #[inline]
    pub(super) fn unblocked_by_reply(&mut self, conn: Conn) {
        if !self.blocked.is_idle() {
            self.blocked.remove(conn);
        }
    }

    /// Is the work of a waiter still wanted?
    pub(super) fn still_waits(&mut self, asker: Asker) -> bool {
        let Asker::Client { conn, generation, .. } = asker else { return false };
        self.blocked.several(conn, generation).is_some()
    }

    /// The request found nothing, and its keys are here: what it will be repeated as.
    pub(super) fn settle_waiter(&mut self, work: &Work) {
        let Asker::Client { conn, generation, .. } = work.asker else { return };
        let Some(several) = self.blocked.several(conn, generation) else { return };
        if several.known_to.is_empty() {
            let words: Vec<&[u8]> = several.words.iter().map(AsRef::as_ref).collect();
            let (args, db) = (Args::new(&words), usize::from(several.head.db));
            let shape = Shape::of(args);
            let settled = shape.map(|it| it.settled(args, &mut self.keyspace, db, self.now.wall));
            several.words = settled.unwrap_or_default();
        }
    }

    /// The work of a waiter was run: it is answered, or waits on.
    pub(super) fn ran_for_waiter(
        &mut self,
        number: Number,
        work: &Work,
        changed: Vec<(usize, Option<Carried>)>,
        mut reply: Vec<u8>,
    ) {
        let waits = self.effect.take_wait();
        let Asker::Client { conn, generation, slot } = work.asker else { return };
        let Some(several) = self.blocked.several(conn, generation) else {
            return self.let_go(number, work, changed, None);
        };
        several.running = false;
        let has_waited = !several.known_to.is_empty();
        let over = several.over.take();
        if waits && over.is_none() {
            let missed = std::mem::take(&mut several.missed);
            if several.known_to.is_empty() {
                let wait = self.begin_waiting(conn, generation, work);
                return self.let_go(number, work, changed, wait);
            }
            self.let_go(number, work, changed, None);
            if missed {
                self.run_waiter_again(conn, generation);
            }
            return;
        }
        if waits {
            reply = over.unwrap_or_default();
        }
        if has_waited {
            say_group_gone(&mut reply);
        }
        self.forget_waiter(conn);
        self.let_go(number, work, changed, None);
        self.answer(conn, generation, slot.unwrap_or_default(), &reply);
    }

    /// From here on the owners of its keys know that it waits.
    fn begin_waiting(&mut self, conn: Conn, generation: u32, work: &Work) -> Option<Wait> {
        let several = self.blocked.several(conn, generation)?;
        let words: Vec<&[u8]> = several.words.iter().map(AsRef::as_ref).collect();
        let shape = Shape::of(Args::new(&words))?;
        let of_group = shape.of_group;
        let names = &words[shape.keys];
        let waited = |it: &&crate::node::transactions::Wanted| names.contains(&&*it.key);
        let mut cores: Vec<usize> = work.wanted.iter().filter(waited).map(|it| it.core).collect();
        cores.sort_unstable();
        cores.dedup();
        let keys = names.iter().map(|it| Box::from(*it)).collect();
        several.known_to = cores;
        Some(Wait { conn, generation, keys, of_group })
    }

    /// Runs the request of a waiter over all its keys.
    fn run_waiter_again(&mut self, conn: Conn, generation: u32) {
        let Some(several) = self.blocked.several(conn, generation) else { return };
        several.running = true;
        let (head, words) = (several.head, several.words.clone());
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        let table = self.shared.table;
        let work = self.work_of_waiter(&head, table.row(head.command), Args::new(&words));
        self.begin_work(work);
    }

    /// A key that a client waits for has got something; it is held until this core gives it back.
    pub(super) fn offered(&mut self, from: usize, number: Number, offer: Offer, out: &mut Outbox) {
        let Offer { conn, generation, db, key, value } = offer;
        let frozen = self.frozen.is_frozen();
        let Some(several) = self.blocked.several(conn, generation) else {
            return self.refuse_offer(from, number);
        };
        if several.running || several.over.is_some() {
            several.missed = true;
            return self.refuse_offer(from, number);
        }
        if frozen {
            self.refuse_offer(from, number);
            return self.run_waiter_again(conn, generation);
        }
        let (head, words) = (several.head, several.words.clone());
        let words: Vec<&[u8]> = words.iter().map(AsRef::as_ref).collect();
        let args = Args::new(&words);
        let table = self.shared.table;
        let row = table.row(head.command);
        let Some((shape, one)) = Shape::of(args)
            .and_then(|shape| Some((shape.for_one_key(args, &key)?, shape)))
            .map(|it| (it.1, it.0))
        else {
            return self.refuse_offer(from, number);
        };
        let kind = value.as_ref().map(|it| it.encoding.kind());
        if kind != Some(shape.kind) && shape.of_group {
            let mut reply = Vec::new();
            ErrorKind::StreamGone.write_to(&mut reply);
            self.forget_waiter(conn);
            self.refuse_offer(from, number);
            return self.answer(conn, generation, head.slot, &reply);
        }
        if kind != Some(shape.kind) || (row.spec.is_write() && self.view.is_read_only()) {
            return self.refuse_offer(from, number);
        }
        several_of(self, conn, generation, |it| it.running = true);
        let work = self.work_of_waiter(&head, row, Args::new(&one));
        let at = work.wanted.iter().position(|it| it.db == db && it.key == key);
        self.begin_with_offer(number, from, work, at.zip(value), out);
    }

    fn refuse_offer(&mut self, from: usize, number: Number) {
        if from == self.id {
            self.released(number, Vec::new(), None);
        } else {
            let note = Note::Release { number, changed: Vec::new(), wait: None };
            self.tx.notes[from].push(note);
        }
    }

    /// The owners of its keys hear that it waits no more.
    fn forget_waiter(&mut self, conn: Conn) {
        let Some(client) = self.blocked.remove(conn) else { return };
        let Place::Several(several) = client.place else { return };
        let id = Id { core: self.id, conn, generation: client.generation };
        for core in several.known_to {
            if core == self.id {
                self.wait_no_more(id);
            } else {
                self.tx.notes[core].push(Note::Unwait { conn, generation: client.generation });
            }
        }
    }

    /// Ends those whose time is over.
    pub(super) fn end_late_waits(&mut self) {
        while let Some(&(at, conn)) = self.blocked.deadlines.first()
            && at <= self.now.mono
        {
            self.blocked.deadlines.remove(&(at, conn));
            self.end_wait(conn, None);
        }
    }

    /// Ends the waiting of a client, with an error or as if its time were over; false: it does not wait
    /// for keys.
    pub(super) fn end_wait(&mut self, conn: Conn, error: Option<ErrorKind>) -> bool {
        let proto = self.sessions.get(conn).map_or(Proto::Resp2, |session| session.proto);
        let Some(client) = self.blocked.clients.get_mut(&conn) else { return false };
        let (generation, slot) = (client.generation, client.slot);
        let mut reply = Vec::new();
        match error {
            Some(error) => error.write_to(&mut reply),
            None => Reply { out: &mut reply, proto }.null_array(),
        }
        match &mut client.place {
            Place::Several(several) if several.running => several.over = Some(reply),
            Place::Several(_) => {
                self.forget_waiter(conn);
                self.answer(conn, generation, slot, &reply);
            }
            Place::On(core) => {
                let core = *core;
                self.end_wait_on(core, Id { core: self.id, conn, generation }, &reply);
            }
        }
        true
    }

    fn end_wait_on(&mut self, core: usize, id: Id, reply: &[u8]) {
        if core == self.id {
            return self.end_wait_here(id, reply);
        }
        let mut name = u32::try_from(id.core).unwrap_or(0).to_le_bytes().to_vec();
        name.extend_from_slice(&id.conn.0.to_le_bytes());
        name.extend_from_slice(&id.generation.to_le_bytes());
        let command = self.shared.table.part("end-wait");
        let head = RequestHead { command, ..NOBODY };
        message::push_request(self.roads.to(core), &head, [&name, reply].into_iter());
    }

    /// A client is gone: nothing is taken for it any more.
    pub(super) fn forget_blocked(&mut self, conn: Conn) {
        let Some(client) = self.blocked.clients.get(&conn) else { return };
        let id = Id { core: self.id, conn, generation: client.generation };
        match client.place {
            Place::On(core) => {
                self.blocked.remove(conn);
                self.end_wait_on(core, id, b"");
            }
            Place::Several(_) => self.forget_waiter(conn),
        }
    }

    /// Does it wait for keys?
    pub(super) fn is_blocked(&self, conn: Conn) -> bool {
        self.blocked.waits(conn)
    }

    /// This node serves another master from here on: whoever waits is told so, and closed.
    pub(super) fn end_all_waits(&mut self) {
        let mut waiting: Vec<Conn> = self.blocked.clients.keys().copied().collect();
        waiting.sort_unstable();
        for conn in waiting {
            self.end_wait(conn, Some(ErrorKind::UnblockedRoleChanged));
            if let Some(session) = self.sessions.get_mut(conn) {
                session.doomed = true;
            }
        }
    }
}

fn several_of(core: &mut Core, conn: Conn, generation: u32, act: impl FnOnce(&mut Several)) {
    if let Some(several) = core.blocked.several(conn, generation) {
        act(several);
    }
}
