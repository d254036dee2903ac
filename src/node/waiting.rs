//! Who waits for this core's keys, and how those are served: BLPOP and its like, XREAD BLOCK.
//!
//! ```text
//!   all keys are of one core     its owner keeps the request, and runs it when a key has got something
//!   keys of several cores        each owner keeps a name; when a key has got something it is seized, and
//!                                offered to the client's core, which runs the request and gives it back
//! ```
//!
//! Whoever changes a key that is waited for makes it *ready* (`engine/watch.rs`); ready keys are
//! served as soon as that command, or transaction, is over, before anything else runs on this core. Of
//! one key those who came first are served first. A seized key is nobody else's until the
//! client's core has answered: so nobody overtakes, and one element never wakes two.
//!
//! Trap: what serves one client may make other keys ready (BLMOVE); the loop goes on until none is.
//!
//! Not here: the client's side, timeouts (`blocked.rs`); what a request is for one key (`engine/blocking.rs`).

use crate::base::map::HashMap;
use crate::command::args::Args;
use crate::engine::blocking::Shape;
use crate::engine::collections::Carried;
use crate::node::client::Call;
use crate::node::core::Core;
use crate::node::cx::PartHead;
use crate::node::intents::{Mode, Number};
use crate::node::message::{self, Origin, RequestHead};
use crate::node::outbox::Conn;
use crate::node::owner::Asked;
use crate::node::table::Run;
use crate::node::transactions::{Note, Wanted};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use std::collections::VecDeque;

/// A client that waits: its core, connection and the connection's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Id {
    pub core: usize,
    pub conn: Conn,
    pub generation: u32,
}

/// A key by database and hash.
type At = (usize, u64);

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queues: HashMap<At, Queue>,
    waiters: HashMap<Id, Waiter>,
    /// Keys that are offered to another core, and who comes next there.
    seized: HashMap<Number, (At, u64)>,
    /// Keys that could not be served, for a transaction has them or all cores stand still.
    postponed: Vec<At>,
    /// Waiters get ascending numbers, by which a queue is sorted.
    order: u64,
    serving: bool,
}

#[derive(Debug, Default)]
struct Queue {
    waiters: VecDeque<(u64, Id)>,
    /// So many of them end when the key does.
    of_group: usize,
}

#[derive(Debug)]
struct Waiter {
    order: u64,
    keys: Vec<At>,
    of_group: bool,
    /// `None`: its core is asked.
    request: Option<Request>,
}

#[derive(Debug)]
struct Request {
    head: RequestHead,
    words: Vec<Box<[u8]>>,
}

/// What a key is to a request that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    Serves,
    /// It holds nothing, or nothing of the kind.
    Not,
    /// It was a stream, for a group of which somebody waits.
    Gone,
}

impl Waiting {
    /// Keys that somebody waits for, and those of them whose end somebody waits for, too.
    pub(super) fn keys(&self) -> (usize, usize) {
        let of_group = self.queues.values().filter(|queue| queue.of_group > 0).count();
        (self.queues.len(), of_group)
    }

    /// The first who waits for a key, from that number on.
    fn next(&self, at: At, from: u64) -> Option<(u64, Id)> {
        let queue = &self.queues.get(&at)?.waiters;
        queue.get(queue.partition_point(|it| it.0 < from)).copied()
    }
}

impl Core {
    /// A request found nothing on this core, which owns all its keys: it waits here.
    pub(super) fn wait_with_request(&mut self, from: usize, head: &RequestHead, args: Args<'_>) {
        let Some(shape) = Shape::of(args) else { return };
        let (db, now) = (usize::from(head.db), self.now.wall);
        let words = shape.settled(args, &mut self.keyspace, db, now);
        let keys: Vec<Box<[u8]>> = shape.keys.clone().map(|at| words[at].clone()).collect();
        let id = Id { core: from, conn: head.conn, generation: head.generation };
        let request = Some(Request { head: *head, words });
        self.wait_for(id, db, keys.iter().map(AsRef::as_ref), shape.of_group, request);
    }

    /// A client waits for these keys of this core.
    pub(super) fn wait_for_names<'a>(
        &mut self,
        id: Id,
        db: usize,
        keys: impl Iterator<Item = &'a [u8]>,
        of_group: bool,
    ) {
        self.wait_for(id, db, keys, of_group, None);
    }

    fn wait_for<'a>(
        &mut self,
        id: Id,
        db: usize,
        keys: impl Iterator<Item = &'a [u8]>,
        of_group: bool,
        request: Option<Request>,
    ) {
        self.wait_no_more(id);
        self.waiting.order += 1;
        let order = self.waiting.order;
        let mut waited: Vec<At> = Vec::new();
        for name in keys {
            let at = (db, self.keyspace.hash(name));
            if waited.contains(&at) {
                continue;
            }
            let hasher = self.keyspace.hasher();
            self.keyspace.wait(db, hasher.key(name));
            let queue = self.waiting.queues.entry(at).or_default();
            queue.waiters.push_back((order, id));
            queue.of_group += usize::from(of_group);
            waited.push(at);
        }
        self.waiting.waiters.insert(id, Waiter { order, keys: waited, of_group, request });
    }

    /// A client waits here no more; false: it did not.
    pub(super) fn wait_no_more(&mut self, id: Id) -> bool {
        let Some(waiter) = self.waiting.waiters.remove(&id) else { return false };
        for at in waiter.keys {
            self.keyspace.unwait(at.0, at.1);
            let Some(queue) = self.waiting.queues.get_mut(&at) else { continue };
            let place = queue.waiters.partition_point(|it| it.0 < waiter.order);
            queue.waiters.remove(place);
            queue.of_group -= usize::from(waiter.of_group);
            if queue.waiters.is_empty() {
                self.waiting.queues.remove(&at);
            }
        }
        true
    }

    /// Serves whoever waits for keys that have got something.
    #[cold]
    pub(super) fn serve_ready(&mut self) {
        if self.waiting.serving || self.unit.is_some() || self.frozen.is_frozen() {
            return; // Whoever ends that comes by again.
        }
        self.waiting.serving = true;
        while let Some(at) = self.keyspace.pop_ready() {
            self.serve_key(at, 0);
        }
        self.waiting.serving = false;
    }

    /// A transaction has let go of keys, or cores go on: what could not be served may be now.
    pub(super) fn serve_postponed(&mut self) {
        for at in std::mem::take(&mut self.waiting.postponed) {
            self.keyspace.make_ready(at.0, at.1);
        }
        if self.keyspace.has_ready() {
            self.serve_ready();
        }
    }

    fn serve_key(&mut self, at: At, mut from: u64) {
        while let Some((order, id)) = self.waiting.next(at, from) {
            from = order + 1;
            let Some(name) = self.keyspace.watched_name(at.0, at.1) else { return };
            if self.tx.intents.is_held(at.1, Mode::Exclusive) {
                self.waiting.postponed.push(at);
                return;
            }
            let nobody = self.waiting.queues.get(&at).is_none_or(|queue| queue.of_group == 0);
            let hasher = self.keyspace.hasher();
            let key = hasher.key(&name);
            if nobody && !self.keyspace.exists(at.0, key, self.now.wall) {
                return;
            }
            let Some(waiter) = self.waiting.waiters.get_mut(&id) else { continue };
            match waiter.request.take() {
                Some(request) => {
                    if !self.serve_request(id, &request, at.0, &name)
                        && let Some(waiter) = self.waiting.waiters.get_mut(&id)
                    {
                        waiter.request = Some(request);
                    }
                }
                None => return self.offer(id, at, &name, from),
            }
        }
    }

    /// Runs a request that waits for the key, and answers it; false: it still waits.
    fn serve_request(&mut self, id: Id, request: &Request, db: usize, name: &[u8]) -> bool {
        let words: Vec<&[u8]> = request.words.iter().map(AsRef::as_ref).collect();
        let args = Args::new(&words);
        let number = request.head.command;
        let Some(shape) = Shape::of(args) else { return false };
        let Some(one) = shape.for_one_key(args, name) else { return false };
        let mut reply = Vec::new();
        match self.readiness(&shape, number, db, name) {
            Readiness::Not => return false,
            Readiness::Gone => ErrorKind::StreamGone.write_to(&mut reply),
            Readiness::Serves => {
                let args = Args::new(&one);
                if self.is_any_held(number, args) {
                    let at = (db, self.keyspace.hash(name));
                    self.waiting.postponed.push(at);
                    return false;
                }
                let Run::Shard(run) = self.shared.table.row(number).run else { return false };
                let (proto, origin) = (request.head.proto, Origin::Client);
                self.effect.take_wait();
                self.execute(Call { number, run, db, proto, origin }, args, &mut reply);
                if self.effect.take_wait() {
                    self.stats.not_called(number);
                    return false;
                }
                say_group_gone(&mut reply);
            }
        }
        self.wait_no_more(id);
        self.give(id, request.head.slot, &reply);
        true
    }

    /// Can the key serve such a request?
    pub(super) fn readiness(
        &mut self,
        shape: &Shape,
        number: u16,
        db: usize,
        name: &[u8],
    ) -> Readiness {
        let hasher = self.keyspace.hasher();
        let kind = self.keyspace.peek(db, hasher.key(name), self.now.wall).map(|it| it.kind());
        let writes = self.shared.table.row(number).spec.is_write();
        match kind {
            _ if writes && self.view.is_read_only() => Readiness::Not,
            Some(kind) if kind == shape.kind => Readiness::Serves,
            _ if shape.of_group => Readiness::Gone,
            _ => Readiness::Not,
        }
    }

    /// Has a transaction a key that this request would use?
    fn is_any_held(&self, number: u16, args: Args<'_>) -> bool {
        if self.tx.intents.is_idle() {
            return false;
        }
        let row = self.shared.table.row(number);
        crate::command::keys::keys_found(row.spec, args).any(|key| {
            let hash = self.keyspace.hash(args.get(key.at).unwrap_or_default());
            self.tx.intents.is_held(hash, Mode::Exclusive)
        })
    }

    /// The key is nobody else's until the client's core has said what it did with it.
    fn offer(&mut self, id: Id, at: At, name: &[u8], next: u64) {
        let number = self.draw_number();
        let (db, hash) = at;
        let hasher = self.keyspace.hasher();
        let value = self.keyspace.parcel(db, hasher.key(name), self.now.wall);
        self.settle(0, Args::new(&[]), Origin::Client);
        self.keyspace.pin(db, hasher.key(name));
        self.tx.intents.seize(number, hash);
        let (key, mode): (Box<[u8]>, _) = (name.into(), Mode::Exclusive);
        let core = self.id;
        let wanted = Wanted { core, db, key: key.clone(), hash, mode, look: true, seen: None };
        let asked = Asked { from: id.core, keys: vec![wanted], pinned: true };
        self.tx.asked.insert(number, asked);
        self.waiting.seized.insert(number, (at, next));
        let offer = Offer { conn: id.conn, generation: id.generation, db, key, value };
        if id.core == self.id {
            self.blocked.offers.push((number, offer));
        } else {
            self.tx.notes[id.core].push(Note::Offer { number, offer: Box::new(offer) });
        }
    }

    /// A key that was offered is back: whoever comes next may be served.
    pub(super) fn seized_is_back(&mut self, number: Number) {
        if let Some((at, next)) = self.waiting.seized.remove(&number) {
            self.serve_key_from(at, next);
        }
    }

    fn serve_key_from(&mut self, at: At, from: u64) {
        if self.frozen.is_frozen() || self.waiting.serving {
            self.waiting.postponed.push(at);
            return;
        }
        self.waiting.serving = true;
        self.serve_key(at, from);
        self.waiting.serving = false;
        if self.keyspace.has_ready() {
            self.serve_ready();
        }
    }

    /// Answers a client that waited here.
    fn give(&mut self, id: Id, slot: u32, reply: &[u8]) {
        if id.core == self.id {
            self.answer(id.conn, id.generation, slot, reply);
        } else {
            let replies = self.roads.replies_to(id.core);
            message::push_reply(replies, id.conn, id.generation, slot, 0, |out| {
                out.extend_from_slice(reply);
            });
        }
    }

    /// Requests that may not wait here any more are answered with what `why` says.
    pub(super) fn refuse_waiters(
        &mut self,
        why: impl Fn(&Self, u16, Args<'_>) -> Option<ErrorKind>,
    ) {
        let mut refused = Vec::new();
        for (id, waiter) in &self.waiting.waiters {
            let Some(request) = &waiter.request else { continue };
            let words: Vec<&[u8]> = request.words.iter().map(AsRef::as_ref).collect();
            if let Some(error) = why(self, request.head.command, Args::new(&words)) {
                refused.push((*id, error));
            }
        }
        refused.sort_unstable_by_key(|(id, _)| *id);
        for (id, error) in refused {
            let mut reply = Vec::new();
            error.write_to(&mut reply);
            self.end_wait_here(id, &reply);
        }
    }

    /// The client's waiting ends, with this reply if it waits still.
    pub(super) fn end_wait_here(&mut self, id: Id, reply: &[u8]) {
        let request = self.waiting.waiters.get_mut(&id).and_then(|it| it.request.take());
        self.wait_no_more(id);
        if let Some(request) = request {
            self.give(id, request.head.slot, reply);
        }
    }
}

/// A key of a client's that has got something.
#[derive(Debug)]
pub struct Offer {
    pub conn: Conn,
    pub generation: u32,
    pub db: usize,
    pub key: Box<[u8]>,
    pub value: Option<Carried>,
}

/// What Redis says where the group is gone for which a client waited.
pub(super) fn say_group_gone(reply: &mut Vec<u8>) {
    if reply.starts_with(b"-NOGROUP") {
        reply.clear();
        ErrorKind::GroupGone.write_to(reply);
    }
}

/// `[core, connection, generation; reply]`, as `blocked.rs` sends it to the core that keeps the request.
pub(super) fn end_wait_part(core: &mut Core, _: &PartHead, args: Args<'_>, _: &mut Reply<'_>) {
    let number = |at: usize| {
        let bytes = args.get(0).and_then(|it| it.get(at..at + 4)).unwrap_or(&[0; 4]);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    };
    let id = Id { core: number(0) as usize, conn: Conn(number(4)), generation: number(8) };
    core.end_wait_here(id, args.get(1).unwrap_or_default());
}
