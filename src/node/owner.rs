//! A core's part in transactions: it grants intents on its keys, and holds back who else wants them.
//!
//! What is asked of it comes as a request among others on the road, so that it keeps its place behind
//! what came before it. What is answered, and what follows, are [`Note`]s, sent at the end of a turn
//! before all requests of that turn.
//!
//! A plain request for a key that a transaction has, or waits for, waits: a client of this core by
//! stalling its session, a request of another core's client by being set aside here, together with all
//! that come after it from the same connection. Requests of other connections go on.
//!
//! While nobody has intents here, all of this is one branch per request.
//!
//! Not here: whose turn it is (`intents.rs`), what transactions do (`transactions.rs`).

use crate::command::args::Args;
use crate::command::keys;
use crate::engine::collections::Carried;
use crate::engine::watch::Seen;
use crate::node::core::Core;
use crate::node::following::LINK;
use crate::node::intents::{Mode, Next, Number};
use crate::node::message::{self, Message, Origin, RequestHead};
use crate::node::outbox::{Conn, Level, Outbox};
use crate::node::session::Stall;
use crate::node::table::Run;
use crate::node::transactions::{Note, Wait, Wanted, mode_of};
use crate::node::waiting::Id;

/// A request that waits for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// The next one of a client of this core.
    Session(Conn, u32),
    /// The first of those set aside for a connection of another core.
    Road(usize, Conn),
    /// The next one of the stream of our master, for a key of core 0.
    Link,
}

/// What a transaction asked of this core.
#[derive(Debug)]
pub(super) struct Asked {
    pub from: usize,
    pub keys: Vec<Wanted>,
    /// They are granted, and do not expire meanwhile.
    pub pinned: bool,
}

const INTENT_BYTES: usize = 8 + 2 + 1 + 1 + 1 + 8 + 1;

/// The words of a request for intents: the number, and for each key what is wanted, and its name.
pub(super) fn encode_intents(number: Number, wanted: &[&Wanted]) -> Vec<Vec<u8>> {
    let mut words = vec![number.to_le_bytes().to_vec()];
    for it in wanted {
        let mut intent = Vec::with_capacity(INTENT_BYTES);
        intent.extend_from_slice(&it.hash.to_le_bytes());
        intent.extend_from_slice(&u16::try_from(it.db).unwrap_or(0).to_le_bytes());
        intent.push(u8::from(it.mode == Mode::Exclusive));
        intent.push(u8::from(it.look));
        intent.push(u8::from(it.seen.is_some()));
        let seen = it.seen.unwrap_or(Seen { version: 0, there: false });
        intent.extend_from_slice(&seen.version.to_le_bytes());
        intent.push(u8::from(seen.there));
        words.push(intent);
        words.push(it.key.to_vec());
    }
    words
}

/// What `encode_intents` has written: these words never leave the process.
pub(super) fn decode_intents(core: usize, args: Args<'_>) -> (Number, Vec<Wanted>) {
    let long = |bytes: &[u8], at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(number)
    };
    let wanted = args.words()[1..].chunks_exact(2).map(|pair| {
        let [intent, key] = [pair[0], pair[1]];
        let seen = Seen { version: long(intent, 13), there: intent[21] == 1 };
        Wanted {
            core,
            db: usize::from(u16::from_le_bytes([intent[8], intent[9]])),
            key: key.into(),
            hash: long(intent, 0),
            mode: if intent[10] == 1 { Mode::Exclusive } else { Mode::Shared },
            look: intent[11] == 1,
            seen: (intent[12] == 1).then_some(seen),
        }
    });
    (long(args.name(), 0), wanted.collect())
}

impl Core {
    /// A transaction asks for keys of this core.
    pub(super) fn intended(&mut self, number: Number, asked: Asked) {
        let mut keys: Vec<(u64, Mode)> = Vec::with_capacity(asked.keys.len());
        keys.extend(asked.keys.iter().map(|it| (it.hash, it.mode)));
        keys.sort_unstable();
        // Of one hash the last has the stronger mode.
        keys.reverse();
        keys.dedup_by_key(|it| it.0);
        self.tx.intents.ask(number, keys);
        self.tx.asked.insert(number, asked);
    }

    /// Must a request of another core wait? Then it is set aside. One that asks for intents is taken.
    #[cold]
    pub(super) fn set_aside(&mut self, from: usize, head: &RequestHead, args: Args<'_>) -> bool {
        let place = (from, head.conn);
        let follows = self.tx.deferred.contains_key(&place);
        if !follows && head.command == self.tx.intend {
            let (number, keys) = decode_intents(self.id, args);
            self.intended(number, Asked { from, keys, pinned: false });
            return true;
        }
        if !follows {
            let Some((hash, mode)) = self.blocked_by(head.command, args) else { return false };
            self.tx.intents.wait(Plain::Road(from, head.conn), hash, mode, head.conn == LINK);
        }
        let mut frame = Vec::new();
        message::push_request(&mut frame, head, args.iter());
        self.tx.deferred.entry(place).or_default().push_back(frame);
        true
    }

    /// The first key of a request of this core's keys that it must wait for.
    #[cold]
    pub(super) fn blocked_by(&self, command: u16, args: Args<'_>) -> Option<(u64, Mode)> {
        let row = self.shared.table.row(command);
        if self.tx.intents.is_idle() {
            return None;
        }
        if matches!(row.run, Run::Part(_)) {
            return self.blocks_exec(command, args);
        }
        let blocks = |hash, mode| self.tx.intents.blocks(hash, mode, self.tx.woken);
        keys::keys_found(row.spec, args).find_map(|key| {
            let (hash, mode) = (self.keyspace.hash(args.get(key.at)?), mode_of(row, key.flags));
            blocks(hash, mode).then_some((hash, mode))
        })
    }

    /// The whole of an EXEC waits for the first of its keys that it must wait for.
    fn blocks_exec(&self, command: u16, args: Args<'_>) -> Option<(u64, Mode)> {
        if command != self.shared.table.part("exec") {
            return None;
        }
        let (mut rest, mut words) = (args.get(1)?, Vec::new());
        loop {
            words.clear();
            let head = message::pop_request(&mut rest, &mut words)?;
            if let Some(blocked) = self.blocked_by(head.command, Args::new(&words)) {
                return Some(blocked);
            }
        }
    }

    /// Must a client's request wait for one of this core's own keys?
    #[cold]
    pub(super) fn must_wait_for_key(&mut self, conn: Conn, number: u16, args: Args<'_>) -> bool {
        let row = self.shared.table.row(number);
        let queues = self.sessions.get(conn).is_none_or(|session| session.in_multi);
        let here = matches!(row.run, Run::Shard(_)) && self.only_owner(row, args) == Some(self.id);
        let blocked = if here && !queues { self.blocked_by(number, args) } else { None };
        self.tx.woken = None;
        self.tx.blocked_by = blocked;
        blocked.is_some()
    }

    /// The session stalls for what `must_wait_for_key` found.
    pub(super) fn wait_for_key(&mut self, conn: Conn) {
        let Some(session) = self.sessions.get(conn) else { return };
        let plain = Plain::Session(conn, session.generation);
        if let Some((hash, mode)) = self.tx.blocked_by.take() {
            self.tx.intents.wait(plain, hash, mode, false);
        }
    }

    /// Does everything that intents and releases have made possible.
    pub(super) fn proceed(&mut self, out: &mut Outbox) {
        if self.has_script() {
            return; // They are possible, and wait.
        }
        loop {
            for (number, offer) in std::mem::take(&mut self.blocked.offers) {
                self.offered(self.id, number, offer, out);
            }
            self.advance(out);
            if self.blocked.offers.is_empty() {
                break;
            }
        }
        self.stand_still(out);
    }

    fn advance(&mut self, out: &mut Outbox) {
        while let Some(next) = self.tx.intents.advance() {
            match next {
                Next::Run(plain, hash) => {
                    self.tx.woken = Some(hash);
                    self.run_woken(plain, out);
                    self.tx.woken = None;
                }
                Next::Grant(number) => self.grant(number, out),
                Next::Yield(number) => match self.tx.asked.get(&number).map(|it| it.from) {
                    Some(core) if core == self.id => {
                        // What it was offered comes first, as it does where that is a message.
                        let offers = &mut self.blocked.offers;
                        if let Some(at) = offers.iter().position(|it| it.0 == number) {
                            let (number, offer) = offers.remove(at);
                            self.offered(core, number, offer, out);
                        }
                        self.yield_to_older(number);
                    }
                    Some(core) => self.tx.notes[core].push(Note::Yield { number }),
                    None => {}
                },
            }
        }
    }

    fn grant(&mut self, number: Number, out: &mut Outbox) {
        let Some(mut asked) = self.tx.asked.remove(&number) else { return };
        asked.pinned = true;
        let (now, mut unchanged) = (self.now.wall, true);
        let mut values: Vec<Option<Carried>> = Vec::new();
        for it in &asked.keys {
            if let Some(seen) = it.seen {
                unchanged &= self.keyspace.is_as_seen(it.db, it.key(), seen, now);
            }
            if asked.from != self.id && it.look {
                values.push(self.keyspace.parcel(it.db, it.key(), now));
            }
            self.keyspace.pin(it.db, it.key());
        }
        // Keys that were met expired go into the stream now, before what takes their place.
        self.settle(0, Args::new(&[]), Origin::Client);
        let from = asked.from;
        self.tx.asked.insert(number, asked);
        if from == self.id {
            self.granted(from, number, values, unchanged, out);
        } else {
            self.tx.notes[from].push(Note::Granted { number, values, unchanged });
        }
    }

    /// A transaction of this core's runs now: until its end its own keys are as any other, and expire
    /// where they are met, with a DEL. A pinned one would be hidden and in the way of what is put there.
    pub(super) fn unpin_own(&mut self, number: Number) {
        if let Some(asked) = self.tx.asked.get_mut(&number)
            && std::mem::take(&mut asked.pinned)
        {
            asked.keys.iter().for_each(|it| self.keyspace.unpin(it.db, it.key()));
        }
    }

    /// A transaction lets go of this core's keys; those in `changed` are now so.
    pub(super) fn released(
        &mut self,
        number: Number,
        changed: Vec<(usize, Option<Carried>)>,
        wait: Option<Wait>,
    ) {
        let Some(asked) = self.tx.asked.remove(&number) else { return };
        let mut stuck = Vec::new();
        for (at, value) in changed {
            let it = &asked.keys[at];
            if self.keyspace.unpack(it.db, it.key(), value.clone(), self.now.wall).is_err() {
                stuck.push((at, value));
            }
        }
        if !stuck.is_empty() {
            // The keys are still the transaction's: nobody sees what they held before it.
            self.tx.asked.insert(number, asked);
            return self.tx.stuck.push((number, stuck, wait));
        }
        if asked.pinned {
            asked.keys.iter().for_each(|it| self.keyspace.unpin(it.db, it.key()));
        }
        self.tx.intents.release(number);
        if let Some(Wait { conn, generation, keys, of_group }) = wait {
            let id = Id { core: asked.from, conn, generation };
            let waited = asked.keys.iter().filter(|it| keys.contains(&it.key));
            if let Some(db) = waited.clone().next().map(|it| it.db) {
                self.wait_for_names(id, db, waited.map(|it| &*it.key), of_group);
            }
        }
        self.seized_is_back(number);
        self.serve_postponed();
    }

    /// Once a tick: what found no room may find some now, and so may guests of our master's stream.
    pub(super) fn retry_stuck(&mut self, out: &mut Outbox) {
        if self.has_script() {
            return;
        }
        if !self.frozen.is_frozen() {
            self.unpark_transactions();
        }
        let stuck = std::mem::take(&mut self.tx.stuck);
        if !stuck.is_empty() {
            let keys: usize = stuck.iter().map(|it| it.1.len()).sum();
            let text =
                format!("No room for {keys} keys that transactions wrote: they wait for some");
            self.say(out, Level::Warning, text);
        }
        for (number, changed, wait) in stuck {
            self.released(number, changed, wait);
        }
    }

    /// What another core says of transactions; what it read may be of writes up to ticket `after`.
    pub(super) fn noted(&mut self, from: usize, notes: Vec<Note>, after: u64, out: &mut Outbox) {
        self.roads.depends_on(after);
        for note in notes {
            match note {
                Note::Granted { number, values, unchanged } => {
                    self.granted(from, number, values, unchanged, out);
                }
                Note::Yield { number } => self.yield_to_older(number),
                Note::Release { number, changed, wait } => self.released(number, changed, wait),
                Note::Offer { number, offer } => self.offered(from, number, *offer, out),
                Note::Unwait { conn, generation } => {
                    self.wait_no_more(Id { core: from, conn, generation });
                }
            }
        }
    }

    /// Sends this turn's notes.
    pub(super) fn send_notes(&mut self, out: &mut Outbox) {
        for core in 0..self.cores {
            if !self.tx.notes[core].is_empty() {
                let notes = std::mem::take(&mut self.tx.notes[core]);
                let after = if self.log.is_active() { self.roads.newest_ticket() } else { 0 };
                out.mail[core].push(Message::Transactions { notes, after });
            }
        }
    }

    /// A request that waited may run.
    fn run_woken(&mut self, plain: Plain, out: &mut Outbox) {
        match plain {
            Plain::Session(conn, generation) => {
                let Some(session) = self.sessions.same(conn, generation) else { return };
                if session.stall == Stall::Locked {
                    session.stall = Stall::Running;
                    if session.is_running() {
                        self.run_waiting(conn, out);
                    }
                    self.hang_up_if_over(conn, out);
                }
            }
            Plain::Road(from, conn) => self.run_deferred(from, conn),
            Plain::Link => self.with_control(out, |control, cx| control.unblocked(cx)),
        }
    }

    /// Runs what was set aside for a connection, until it must wait again.
    fn run_deferred(&mut self, from: usize, conn: Conn) {
        let place = (from, conn);
        while let Some(frame) = self.tx.deferred.get_mut(&place).and_then(|it| it.pop_front()) {
            let (mut rest, mut words) = (frame.as_slice(), Vec::new());
            let Some(head) = message::pop_request(&mut rest, &mut words) else { return };
            let args = Args::new(&words);
            if head.command == self.tx.intend {
                let (number, keys) = decode_intents(self.id, args);
                self.intended(number, Asked { from, keys, pinned: false });
                continue;
            }
            if let Some((hash, mode)) = self.blocked_by(head.command, args) {
                self.tx.intents.wait(Plain::Road(from, conn), hash, mode, conn == LINK);
                if let Some(frames) = self.tx.deferred.get_mut(&place) {
                    frames.push_front(frame);
                }
                return;
            }
            self.tx.woken = None;
            self.answer_frame(from, &head, args);
        }
        self.tx.deferred.remove(&place);
    }
}
