//! Work over keys of several cores, atomic and isolated: commands of several keys, and EXEC.
//!
//! ```text
//!   the client's core          the cores that own the keys
//!   begin: number, intents ->  queue, grant (`intents.rs`)
//!   all granted            <-  the values of those keys
//!   run here, on guests
//!   log, one unit; reply
//!   release                ->  what changed takes its place; who waited goes on
//! ```
//!
//! The client's core runs the ordinary functions of the commands. Before that it puts the keys of other
//! cores into its own keyspace as *guests*, and takes them out again within the same turn, so nobody
//! ever meets one. What the commands did is logged as one unit under this core's ticket of the turn,
//! which is later than every ticket of a core that granted and earlier than any of a core that was
//! released: the stream has the order in which things happened.
//!
//! A read that changes nothing still tells of writes whose tickets may not be with the replicas: a grant
//! names the newest ticket of its core, and the reply waits for that (`route.rs`).
//!
//! While cores stand still for a section nothing is granted; what waits for grants lets go and
//! asks again afterwards.
//!
//! Not here: a core's side of the intents asked of it (`owner.rs`), MULTI (`multi.rs`).

use crate::base::map::HashMap;
use crate::command::args::Args;
use crate::command::keys;
use crate::command::spec::{Gather, Hop, KeyFlags};
use crate::engine::collections::Carried;
use crate::engine::generic::moves;
use crate::engine::keyspace::Key;
use crate::engine::watch::Seen;
use crate::node::client::Call;
use crate::node::core::Core;
use crate::node::intents::{Mode, Number, OF_CLIENTS};
use crate::node::message::{self, Origin, RequestHead, Tracks};
use crate::node::migrate::Migrating;
use crate::node::outbox::{Conn, Outbox};
use crate::node::owner::{Asked, Plain};
use crate::node::publish;
use crate::node::table::{Exec, Row, Run};
use crate::node::waiting::Offer;
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

/// The lowest bits of a number count how often it has asked: each time is told from the others.
const ATTEMPTS: Number = 1 << 8;

/// What is to be done, and for whom.
#[derive(Debug)]
pub(super) struct Work {
    pub asker: Asker,
    /// The requests, as frames.
    pub frames: Vec<u8>,
    pub form: Form,
    pub writes: bool,
    /// Its client waits where it finds nothing.
    pub waits: bool,
    pub wanted: Vec<Wanted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// `slot` of its flight is to be answered.
    Client { conn: Conn, generation: u32, slot: Option<u32> },
    /// The stream of our master.
    Link,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// One command.
    Single,
    /// EXEC: an array of so many replies begins with this work, unless a watched key has changed.
    Exec { replies: usize },
    /// A later part of an EXEC, or a unit of the stream.
    Part,
    /// MIGRATE: with its keys granted another server is spoken to (`migrate.rs`).
    Migration,
}

/// A key that a work needs.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub core: usize,
    pub db: usize,
    pub key: Box<[u8]>,
    pub hash: u64,
    pub mode: Mode,
    /// Its value is looked at: it must come here.
    pub look: bool,
    /// As WATCH saw it.
    pub seen: Option<Seen>,
}

impl Wanted {
    pub fn key(&self) -> Key<'_> {
        Key { bytes: &self.key, hash: self.hash }
    }
}

/// What a turn has to say to another core of transactions.
#[derive(Debug)]
pub enum Note {
    /// All that was asked for is granted: the values of the keys that are looked at, in their order.
    Granted { number: Number, values: Vec<Option<Carried>>, unchanged: bool },
    /// An older transaction waits.
    Yield { number: Number },
    /// Done, or given up: what changed, by the key's place among those asked for.
    Release { number: Number, changed: Vec<(usize, Option<Carried>)>, wait: Option<Wait> },
    /// A key has got something that a client waits for: it is held until its release.
    Offer { number: Number, offer: Box<Offer> },
    /// A client waits no more.
    Unwait { conn: Conn, generation: u32 },
}

/// A client waits for those of these keys that it is told with.
#[derive(Clone, Debug)]
pub struct Wait {
    pub conn: Conn,
    pub generation: u32,
    pub keys: Vec<Box<[u8]>>,
    pub of_group: bool,
}

/// This core's transactions, and its part in those of other cores.
#[derive(Debug)]
pub(super) struct Transactions {
    pub intents: crate::node::intents::Intents<Plain>,
    /// Whom this core's keys were granted to, or who waits for them.
    pub asked: HashMap<Number, Asked>,
    /// Requests of other cores' connections that wait, with those behind them.
    pub deferred: HashMap<(usize, Conn), VecDeque<Vec<u8>>>,
    /// The request being run now has waited for this key.
    pub woken: Option<u64>,
    /// What the request that stalls waits for.
    pub blocked_by: Option<(u64, Mode)>,
    /// What transactions left here and found no room: until it does, nobody has their keys.
    pub stuck: Vec<Stuck>,
    pub notes: Vec<Vec<Note>>,
    /// What the transaction that runs has published: where the answer belongs, and the request.
    pub published: Vec<(usize, Vec<u8>)>,
    /// It is being answered: what it published was logged.
    pub publishing: bool,
    /// The part by which keys are asked for.
    pub intend: u16,
    /// Migrations that are being delivered.
    pub migrating: HashMap<Number, Migrating>,
    running: HashMap<Number, Running>,
    /// Given up for a section; asked for again after it.
    parked: Vec<(Number, Work)>,
    last_of_link: Number,
}

/// A transaction whose values have no room: its number, those values, and whether its client waits.
pub(super) type Stuck = (Number, Vec<(usize, Option<Carried>)>, Option<Wait>);

#[derive(Debug)]
struct Running {
    work: Work,
    /// Cores that have not granted.
    left: usize,
    values: Vec<Option<Carried>>,
    unchanged: bool,
}

impl Transactions {
    pub fn new(cores: usize, intend: u16) -> Self {
        Self {
            intents: crate::node::intents::Intents::default(),
            asked: HashMap::default(),
            deferred: HashMap::default(),
            woken: None,
            blocked_by: None,
            stuck: Vec::new(),
            notes: (0..cores).map(|_| Vec::new()).collect(),
            published: Vec::new(),
            publishing: false,
            intend,
            migrating: HashMap::default(),
            running: HashMap::default(),
            parked: Vec::new(),
            last_of_link: 0,
        }
    }

    /// Is nothing of any transaction under way here?
    pub fn is_at_rest(&self) -> bool {
        let under_way = self.running.len() + self.parked.len() + self.migrating.len();
        under_way == 0 && self.intents.is_idle()
    }
}

impl Core {
    /// A command over several keys: where one core owns all of them it is a plain request.
    pub(super) fn over_keys(
        &mut self,
        conn: Conn,
        number: u16,
        row: &Row,
        args: Args<'_>,
        out: &mut Outbox,
    ) {
        let Run::Shard(run) = row.run else { return };
        if !keys::is_whole(row.spec, args) {
            let error = ErrorKind::WrongArity { command: row.spec.name };
            self.stats.called(number, true);
            self.stats.failed(&error);
            return self.reply(conn, out, |buffer| error.write_to(buffer));
        }
        match self.only_owner(row, args) {
            Some(core) if core == self.id => self.run_here(conn, number, run, args, out),
            // Its user's rights are known here only: a script of one who has not all runs here.
            Some(core) if matches!(run, Exec::Keys(_)) || !self.is_ruled(conn) => {
                self.depart(conn, number, (core, 0), 0, args, out);
            }
            _ => {
                let Some(session) = self.sessions.get(conn) else { return };
                let head = RequestHead {
                    command: number,
                    db: session.db,
                    proto: session.proto,
                    no_touch: session.no_touch,
                    tracks: session.tracks(),
                    ..NOBODY
                };
                let mut frames = Vec::new();
                message::push_request(&mut frames, &head, args.iter());
                let mut wants = Wants::default();
                self.want(row, usize::from(head.db), args, &mut wants);
                let writes = row.spec.may_write();
                self.begin_for(conn, frames, Form::Single, writes, wants.into_keys(), out);
            }
        }
    }

    fn is_ruled(&self, conn: Conn) -> bool {
        self.sessions.get(conn).is_some_and(|session| session.ruled)
    }

    /// Opens a slot in the client's flight and begins the work that answers it.
    pub(super) fn begin_for(
        &mut self,
        conn: Conn,
        frames: Vec<u8>,
        form: Form,
        writes: bool,
        wanted: Vec<Wanted>,
        out: &mut Outbox,
    ) {
        let Some(session) = self.sessions.get(conn) else { return };
        let generation = session.generation;
        let asker = Asker::Client { conn, generation, slot: None };
        let mut work = Work { asker, frames, form, writes, waits: false, wanted };
        if self.has_all(&work) {
            let lacking = self.rehearse(&work, &[]);
            if lacking.is_empty() {
                return self.run_at_once(conn, &work, out);
            }
            work = self.with_keys(work, lacking);
        }
        let Some(session) = self.sessions.get(conn) else { return };
        let muted = session.is_muted();
        // What blocks its connection, as an EXEC does, lets nothing else begin.
        let exclusive = writes || form != Form::Single;
        let slot = self.with_flight(conn, |flight| flight.depart(None, exclusive, muted));
        let asker = Asker::Client { conn, generation, slot };
        self.begin_work(Work { asker, ..work });
    }

    /// Are all keys this core's own and free?
    fn has_all(&self, work: &Work) -> bool {
        work.wanted.iter().all(|it| {
            it.core == self.id && !self.tx.intents.blocks(it.hash, it.mode, self.tx.woken)
        })
    }

    /// A work whose keys are all here and free: it needs nobody.
    fn run_at_once(&mut self, conn: Conn, work: &Work, out: &mut Outbox) {
        let mut unchanged = true;
        for it in &work.wanted {
            if let Some(seen) = it.seen {
                unchanged &= self.keyspace.is_as_seen(it.db, it.key(), seen, self.now.wall);
            }
        }
        // CLIENT REPLY within it is about what comes later.
        let muted = self.is_muted(conn);
        let mut reply = Vec::new();
        // All its keys are here: it has no guests.
        let _ = self.run_work(work, &[], unchanged, &mut reply, out);
        self.unwatch_wanted(&work.wanted);
        self.serve_ready();
        if muted {
            reply.clear();
            self.tx.published.iter_mut().for_each(|it| it.0 = 0);
        }
        self.answer_work(work, &reply, out);
    }

    /// Begins a work: it asks for its keys.
    pub(super) fn begin_work(&mut self, work: Work) {
        let number = self.draw(work.asker);
        if self.frozen.is_frozen() {
            self.tx.parked.push((number, work));
        } else {
            self.ask_owners(number, work);
        }
    }

    /// A number of its own for what is done for a client.
    pub(super) fn draw_number(&mut self) -> Number {
        let drawn = self.shared.transactions.fetch_add(1, Ordering::Relaxed) + 1;
        OF_CLIENTS | (drawn * ATTEMPTS)
    }

    fn draw(&mut self, asker: Asker) -> Number {
        match asker {
            Asker::Client { .. } => self.draw_number(),
            Asker::Link => {
                self.tx.last_of_link += 1;
                self.tx.last_of_link * ATTEMPTS
            }
        }
    }

    /// As old as before, and another number; only after very many attempts a younger one.
    fn next_attempt(&mut self, number: Number, asker: Asker) -> Number {
        match (number + 1) % ATTEMPTS {
            0 => self.draw(asker),
            _ => number + 1,
        }
    }

    fn ask_owners(&mut self, number: Number, work: Work) {
        let values = vec![None; work.wanted.len()];
        let left = self.ask_owners_but(None, number, &work);
        self.tx.running.insert(number, Running { work, left, values, unchanged: true });
    }

    /// Begins a work that has what one core owns of its keys already.
    pub(super) fn begin_with_offer(
        &mut self,
        number: Number,
        from: usize,
        work: Work,
        offered: Option<(usize, Carried)>,
        out: &mut Outbox,
    ) {
        let mut values = vec![None; work.wanted.len()];
        if let Some((at, value)) = offered {
            values[at] = Some(value);
        }
        let left = self.ask_owners_but(Some(from), number, &work);
        let running = Running { work, left, values, unchanged: true };
        if left == 0 {
            self.run_granted(number, running, out);
        } else {
            self.tx.running.insert(number, running);
        }
    }

    /// Asks all owners of a work's keys but one; how many.
    fn ask_owners_but(&mut self, but: Option<usize>, number: Number, work: &Work) -> usize {
        let conn = match work.asker {
            Asker::Client { .. } => NOBODY.conn,
            // In its place among what the link sends.
            Asker::Link => crate::node::following::LINK,
        };
        let mut left = 0;
        for core in (0..self.cores).filter(|core| Some(*core) != but) {
            let of_core: Vec<&Wanted> = work.wanted.iter().filter(|it| it.core == core).collect();
            if of_core.is_empty() {
                continue;
            }
            left += 1;
            if core == self.id {
                let keys = of_core.into_iter().cloned().collect();
                self.intended(number, Asked { from: core, keys, pinned: false });
            } else {
                let words = crate::node::owner::encode_intents(number, &of_core);
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let head = RequestHead { conn, command: self.tx.intend, ..NOBODY };
                self.stats.hops += 1;
                message::push_request(self.roads.to(core), &head, words.iter().copied());
            }
        }
        left
    }

    /// A core granted what was asked of it.
    pub(super) fn granted(
        &mut self,
        from: usize,
        number: Number,
        values: Vec<Option<Carried>>,
        unchanged: bool,
        out: &mut Outbox,
    ) {
        let Some(running) = self.tx.running.get_mut(&number) else {
            // It has yielded, and its word of that may have gone before its asking.
            if from != self.id {
                let note = Note::Release { number, changed: Vec::new(), wait: None };
                self.tx.notes[from].push(note);
            }
            return;
        };
        running.left -= 1;
        running.unchanged &= unchanged;
        let mut values = values.into_iter();
        for (at, wanted) in running.work.wanted.iter().enumerate() {
            if wanted.core == from && from != self.id && wanted.look {
                running.values[at] = values.next().flatten();
            }
        }
        if running.left == 0
            && let Some(running) = self.tx.running.remove(&number)
        {
            self.run_granted(number, running, out);
        }
    }

    fn run_granted(&mut self, number: Number, running: Running, out: &mut Outbox) {
        let Running { work, values, unchanged, .. } = running;
        if work.waits && !self.still_waits(work.asker) {
            return self.let_go(number, &work, Vec::new(), None); // Nothing is taken for who is gone.
        }
        if work.form == Form::Migration {
            return self.send_keys_away(number, work, values, out);
        }
        let lacking = if unchanged { self.rehearse(&work, &values) } else { Vec::new() };
        if !lacking.is_empty() {
            self.let_go(number, &work, Vec::new(), None);
            let number = self.next_attempt(number, work.asker);
            let work = self.with_keys(work, lacking);
            if self.frozen.is_frozen() {
                return self.tx.parked.push((number, work));
            }
            return self.ask_owners(number, work);
        }
        self.unpin_own(number);
        let mut reply = Vec::new();
        let Some(changed) = self.run_work(&work, &values, unchanged, &mut reply, out) else {
            self.let_go(number, &work, Vec::new(), None);
            if work.asker == Asker::Link {
                let number = self.next_attempt(number, work.asker);
                return self.tx.parked.push((number, work)); // Until the next tick.
            }
            self.refuse_guests(&work, &mut reply);
            self.unwatch_wanted(&work.wanted);
            return self.answer_work(&work, &reply, out);
        };
        if work.waits {
            return self.ran_for_waiter(number, &work, changed, reply);
        }
        self.let_go(number, &work, changed, None);
        self.unwatch_wanted(&work.wanted);
        self.answer_work(&work, &reply, out);
    }

    /// Gives whoever asked the reply. What was published within it is published now, each answer in its
    /// place.
    pub(super) fn answer_work(&mut self, work: &Work, reply: &[u8], out: &mut Outbox) {
        let published = std::mem::take(&mut self.tx.published);
        match work.asker {
            Asker::Link => self.transaction_applied(reply, out),
            Asker::Client { conn, generation, slot } => {
                if work.waits {
                    self.forget_blocked(conn);
                }
                let end = |at: usize| published.get(at).map_or(reply.len(), |it| it.0);
                match slot {
                    Some(slot) => self.answer(conn, generation, slot, &reply[..end(0)]),
                    None => self.place(conn, &reply[..end(0)], out),
                }
                for (at, (start, frame)) in published.iter().enumerate() {
                    self.tx.publishing = true;
                    self.run_piece(conn, frame, out);
                    self.tx.publishing = false;
                    self.place(conn, &reply[*start..end(at + 1)], out);
                }
            }
        }
    }

    /// Replies that are in their place whatever CLIENT REPLY says by now.
    fn place(&mut self, conn: Conn, reply: &[u8], out: &mut Outbox) {
        if reply.is_empty() {
            return;
        }
        match self.sessions.get_mut(conn).and_then(|session| session.flight.as_mut()) {
            Some(flight) => {
                flight.answer_here(|buffer| buffer.extend_from_slice(reply));
                self.roads.lands(conn);
            }
            None => out.to(conn).extend_from_slice(reply),
        }
    }

    /// An older transaction waits for this one: it begins anew, behind that.
    pub(super) fn yield_to_older(&mut self, number: Number) {
        // One that runs or has run is about to release, or has.
        if let Some(work) = self.give_up(number) {
            let number = self.next_attempt(number, work.asker);
            self.ask_owners(number, work);
        }
    }

    /// Lets go of everything that a work has or waits for.
    fn give_up(&mut self, number: Number) -> Option<Work> {
        let running = self.tx.running.remove(&number)?;
        self.let_go(number, &running.work, Vec::new(), None);
        Some(running.work)
    }

    /// A section begins: whatever has not all its keys gives them back.
    pub(super) fn park_transactions(&mut self) {
        let mut numbers: Vec<Number> = self.tx.running.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some(work) = self.give_up(number) {
                let number = self.next_attempt(number, work.asker);
                self.tx.parked.push((number, work));
            }
        }
    }

    pub(super) fn unpark_transactions(&mut self) {
        for (number, work) in std::mem::take(&mut self.tx.parked) {
            self.ask_owners(number, work);
        }
    }

    /// Lets go of a work's keys; with `wait` its client waits for some of them from here on.
    pub(super) fn let_go(
        &mut self,
        number: Number,
        work: &Work,
        changed: Vec<(usize, Option<Carried>)>,
        wait: Option<Wait>,
    ) {
        // A core knows its keys by their place among those asked of it.
        let mut of_cores: Vec<Vec<(usize, Option<Carried>)>> = vec![Vec::new(); self.cores];
        let (mut asked, mut changed) = (vec![0; self.cores], changed.into_iter().peekable());
        for (at, it) in work.wanted.iter().enumerate() {
            if let Some((_, value)) = changed.next_if(|it| it.0 == at) {
                of_cores[it.core].push((asked[it.core], value));
            }
            asked[it.core] += 1;
        }
        for (core, changed) in of_cores.into_iter().enumerate().filter(|it| asked[it.0] > 0) {
            let wait = wait.clone();
            if core == self.id {
                self.released(number, changed, wait);
            } else {
                self.tx.notes[core].push(Note::Release { number, changed, wait });
            }
        }
    }

    /// Runs all requests of a work with its guests here: the replies, and what became of the guests that
    /// changed. `None`: there is no room for the guests, and nothing was done.
    pub(super) fn run_work(
        &mut self,
        work: &Work,
        values: &[Option<Carried>],
        unchanged: bool,
        reply: &mut Vec<u8>,
        out: &mut Outbox,
    ) -> Option<Vec<(usize, Option<Carried>)>> {
        let session = match work.asker {
            Asker::Client { conn, generation, .. } => self.sessions.same(conn, generation),
            Asker::Link => None,
        };
        let proto = session.map_or(Proto::Resp2, |session| session.proto);
        if let Form::Exec { replies } = work.form {
            if !unchanged {
                self.forget_exec(work.asker);
                Reply { out: reply, proto }.null_array();
                return Some(Vec::new());
            }
            Reply { out: reply, proto }.array(replies);
        }
        // It was let through before the role changed.
        if work.asker != Asker::Link
            && work.writes
            && self.view.is_read_only()
            && self.has_writes(&work.frames)
        {
            reply.clear();
            let error = match work.form {
                Form::Single | Form::Migration => ErrorKind::ReadOnly,
                Form::Exec { .. } | Form::Part => ErrorKind::exec_abort(&ErrorKind::ReadOnly),
            };
            self.forget_exec(work.asker);
            error.write_to(reply);
            return Some(Vec::new());
        }
        let versions = self.invite(work, values)?;
        self.lend_reach(work);
        self.begin_unit();
        let waits = self.run_frames(work, reply, out);
        self.end_unit();
        self.keyspace.reach.lend(std::iter::empty());
        if work.waits && waits {
            self.settle_waiter(work);
            self.effect.wait(); // For `ran_for_waiter`.
        }
        Some(self.send_home(work, &versions))
    }

    /// There is no room for what a work needs here: a client is told so, the stream of our master waits.
    fn refuse_guests(&mut self, work: &Work, reply: &mut Vec<u8>) {
        reply.clear();
        let error = match work.form {
            Form::Single | Form::Migration => ErrorKind::Oom,
            Form::Exec { .. } | Form::Part => ErrorKind::exec_abort(&ErrorKind::Oom),
        };
        self.forget_exec(work.asker);
        error.write_to(reply);
    }

    /// Puts the guests into the keyspace; their versions, by which changes are known. `None`: they have no
    /// room.
    fn invite(&mut self, work: &Work, values: &[Option<Carried>]) -> Option<Vec<u64>> {
        let now = self.now.wall;
        let mut versions = Vec::with_capacity(values.len());
        for (at, (wanted, value)) in work.wanted.iter().zip(values).enumerate() {
            if wanted.core == self.id {
                versions.push(0);
                continue;
            }
            if value.is_some()
                && self.keyspace.unpack(wanted.db, wanted.key(), value.clone(), now).is_err()
            {
                self.dismiss(&work.wanted[..at]);
                return None;
            }
            versions.push(self.keyspace.mark(wanted.db, wanted.key()));
        }
        Some(versions)
    }

    /// Takes guests out again that nobody has touched.
    fn dismiss(&mut self, guests: &[Wanted]) {
        for it in guests.iter().filter(|it| it.core != self.id) {
            self.keyspace.unwatch(it.db, it.key());
            let _ = self.keyspace.unpack(it.db, it.key(), None, self.now.wall);
        }
    }

    /// Takes the guests out again; those that changed, with what they are now.
    fn send_home(&mut self, work: &Work, versions: &[u64]) -> Vec<(usize, Option<Carried>)> {
        let now = self.now.wall;
        let mut changed = Vec::new();
        for (at, (wanted, version)) in work.wanted.iter().zip(versions).enumerate() {
            if wanted.core == self.id {
                continue;
            }
            let (db, key) = (wanted.db, wanted.key());
            if self.keyspace.version(db, key) != Some(*version) {
                changed.push((at, self.keyspace.guest(db, key, now)));
            }
            self.keyspace.unwatch(db, key);
            let _ = self.keyspace.unpack(db, key, None, now);
        }
        changed
    }

    /// Runs the requests of a work, whose keys are all here. Would one of them have waited?
    fn run_frames(&mut self, work: &Work, reply: &mut Vec<u8>, out: &mut Outbox) -> bool {
        match work.asker {
            Asker::Link => self.run_shard_frames(&work.frames, None, reply),
            Asker::Client { conn, generation, .. } => {
                let tracks = self.sessions.get(conn).is_some_and(|session| session.tracks);
                if tracks {
                    self.begin_acting(conn);
                }
                let client = Some((conn, generation, out));
                let waits = self.run_shard_frames(&work.frames, client, reply);
                self.tracking.acting = None;
                waits
            }
        }
    }

    /// Runs requests of this core's keys one after another, and those of the node for a client. Would
    /// one of them have waited?
    pub(super) fn run_shard_frames(
        &mut self,
        frames: &[u8],
        mut client: Option<(Conn, u32, &mut Outbox)>,
        reply: &mut Vec<u8>,
    ) -> bool {
        self.effect.take_wait();
        let table = self.shared.table;
        let (mut rest, mut words, mut muted_at) = (frames, Vec::new(), None);
        loop {
            words.clear();
            let Some(head) = message::pop_request(&mut rest, &mut words) else { break };
            let args = Args::new(&words);
            match (table.row(head.command).run, &mut client) {
                (Run::Shard(run), client) => {
                    // HELLO within MULTI changes how the rest is answered.
                    let now = client.as_ref().map(|(conn, generation, _)| (*conn, *generation));
                    let session = now.and_then(|(conn, it)| self.sessions.same(conn, it));
                    let proto = session.map_or(head.proto, |session| session.proto);
                    let (db, number, origin) = (usize::from(head.db), head.command, head.origin);
                    self.keyspace.set_no_touch(head.no_touch);
                    if matches!(run, Exec::Script(_)) {
                        self.caller = now.map(|it| it.0);
                    }
                    self.execute(Call { number, run, db, proto, origin }, args, reply);
                }
                (Run::Node(_), None) => self.publish_of_stream(args),
                (Run::Node(_), Some(_)) if publish::of_stream(args).is_some() => {
                    self.log_in_unit(usize::from(head.db), args);
                    let mut frame = Vec::new();
                    message::push_request(&mut frame, &head, args.iter());
                    self.tx.published.push((reply.len(), frame));
                }
                (Run::Node(run), Some((conn, _, out))) => {
                    let muted = self.is_muted(*conn);
                    self.run_node_into(*conn, head.command, run, args, reply, out);
                    // From CLIENT REPLY on.
                    if !muted && self.is_muted(*conn) {
                        muted_at = Some(reply.len());
                    }
                }
                (Run::Part(_), _) => {}
            }
        }
        reply.truncate(muted_at.unwrap_or(reply.len()));
        self.tx.published.iter_mut().for_each(|it| it.0 = it.0.min(reply.len()));
        self.effect.take_wait()
    }

    fn is_muted(&self, conn: Conn) -> bool {
        self.sessions.get(conn).is_some_and(|session| session.is_muted())
    }

    /// Does one of these requests write?
    pub(super) fn has_writes(&self, frames: &[u8]) -> bool {
        let (mut rest, mut words) = (frames, Vec::new());
        let mut heads = std::iter::from_fn(|| message::pop_request(&mut rest, &mut words));
        heads.any(|head| self.shared.table.row(head.command).spec.is_write())
    }

    /// Adds the keys of a request to those wanted.
    pub(super) fn want(&self, row: &Row, db: usize, args: Args<'_>, wants: &mut Wants) {
        // It sets its keys whatever they were.
        // Whoever hears of new keys must know which ones were there.
        let look = row.spec.hop != Hop::Split(Gather::AllOk) || self.view.notices.is_any();
        let second = moves::other_database(args, db, self.keyspace.databases());
        for key in keys::keys_found(row.spec, args) {
            let Some(name) = args.get(key.at) else { continue };
            let (core, hash) = (self.owner(name), self.keyspace.hash(name));
            let mut add = |db: usize, mode: Mode| {
                wants.add(Wanted { core, db, key: name.into(), hash, mode, look, seen: None });
            };
            add(db, mode_of(row, key.flags));
            if let Some(other) = second {
                add(other, Mode::Exclusive);
            }
        }
    }
}

/// The keys that a work wants, each named once.
#[derive(Debug, Default)]
pub(super) struct Wants {
    keys: Vec<Wanted>,
    /// Where each stands, as soon as they are many.
    places: HashMap<(usize, u64), usize>,
}

/// So many are searched one by one.
const FEW: usize = 16;

impl Wants {
    pub fn add(&mut self, wanted: Wanted) {
        if let Some(at) = self.find(&wanted) {
            let it = &mut self.keys[at];
            it.mode = it.mode.max(wanted.mode);
            it.look |= wanted.look;
            it.seen = it.seen.or(wanted.seen);
            return;
        }
        self.keys.push(wanted);
        if self.keys.len() > FEW {
            for (at, it) in self.keys.iter().enumerate().skip(self.places.len()) {
                self.places.entry((it.db, it.hash)).or_insert(at);
            }
        }
    }

    /// Those keys, each of which is named once.
    pub fn of(keys: Vec<Wanted>) -> Self {
        Self { keys, places: HashMap::default() }
    }

    pub fn into_keys(self) -> Vec<Wanted> {
        self.keys
    }

    pub fn keys(&self) -> &[Wanted] {
        &self.keys
    }

    fn find(&self, wanted: &Wanted) -> Option<usize> {
        let same =
            |it: &Wanted| it.hash == wanted.hash && it.db == wanted.db && it.key == wanted.key;
        if self.keys.len() > FEW {
            let at = *self.places.get(&(wanted.db, wanted.hash))?;
            if same(&self.keys[at]) {
                return Some(at);
            }
        }
        self.keys.iter().position(same)
    }
}

/// What a command needs of a key with these flags. XREADGROUP only reads its keys, as Redis tells it,
/// and yet it writes to what they hold.
pub(super) fn mode_of(row: &Row, flags: KeyFlags) -> Mode {
    let reads = flags.has(KeyFlags::RO);
    let writes_there =
        || row.spec.is_write() && row.spec.keys.iter().all(|keys| keys.flags.has(KeyFlags::RO));
    if reads && !writes_there() { Mode::Shared } else { Mode::Exclusive }
}

/// The head of a request whose reply nobody waits for.
pub(super) const NOBODY: RequestHead = RequestHead {
    conn: Conn(u32::MAX - 1),
    generation: 0,
    slot: 0,
    part: 0,
    command: 0,
    db: 0,
    proto: Proto::Resp2,
    origin: Origin::Client,
    no_touch: false,
    asking: false,
    tracks: Tracks { remembers: false, noloop: false },
    hash: 0,
    wire: 0,
};
