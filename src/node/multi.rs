//! MULTI, EXEC, DISCARD, WATCH and UNWATCH: what a session queues, and how it is run.
//!
//! A queued request is checked as if it ran now, and answered `+QUEUED`; one that is refused makes EXEC
//! refuse all. EXEC makes *pieces* of the queue: as many requests as work on keys, or concern the
//! connection alone, are one piece, which is atomic and isolated, and one unit of the stream. A command
//! that asks the other cores or core 0 (DBSIZE, INFO, REPLICAOF, ..) is a piece by itself. So a
//! transaction over data is one piece, and so is not what mixes data with the node's affairs: nothing
//! of this connection runs between the pieces, but what others do may.
//!
//! A piece whose keys are all of one other core goes there in one hop. Any other is a transaction of
//! this core (`transactions.rs`), which needs nobody where all keys are here.
//!
//! The replies need not be gathered: EXEC's array begins with its length, and every reply takes its
//! place in the connection's flight behind it.
//!
//! A watched key has a version on the core that owns it (`engine/watch.rs`). The session remembers what
//! it saw; the first piece compares when it has the keys. So nobody has to tell a session that a key
//! has changed.
//!
//! A request that was allowed when it was queued and is not any more is refused by itself, as in Redis; what
//! stands before and behind it are two pieces then.
//!
//! The trap: who watches must say so when it ends, else the owner keeps an entry for ever.

use crate::base::limits::HEAVY_CLIENT_BYTES;
use crate::command::args::Args;
use crate::command::node_rows as rows;
use crate::command::spec::{Command, Flags};
use crate::engine::watch::Seen;
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::flight::Gathering;
use crate::node::gather::{self, Summary};
use crate::node::intents::Mode;
use crate::node::message::{self, RequestHead, Return};
use crate::node::outbox::{Action, Conn, Level, Outbox};
use crate::node::owner;
use crate::node::table::{Exec, Row, Run};
use crate::node::transactions::{Asker, Form, NOBODY, Wanted, Wants};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use std::collections::VecDeque;

#[rustfmt::skip] // One row, one line.
pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::new(rows::DISCARD, discard),
    Command::new(rows::EXEC,    exec),
    Command::new(rows::MULTI,   multi),
    Command::new(rows::UNWATCH, unwatch),
    Command::new(rows::WATCH,   watch),
];

/// What a session has of this.
#[derive(Debug, Default)]
pub struct Multi {
    /// The requests queued since MULTI, as frames.
    frames: Vec<u8>,
    queued: usize,
    /// All flags that one of them has.
    flags: Flags,
    /// One was refused.
    broken: bool,
    watched: Vec<Watched>,
    /// An EXEC under way: the pieces to come, and whether they are being worked on.
    pieces: VecDeque<Piece>,
    working: bool,
}

/// A key of WATCH, and what was seen of it once its owner has said so.
#[derive(Debug)]
struct Watched {
    core: usize,
    /// The part of its WATCH that asked for it.
    part: usize,
    db: usize,
    key: Box<[u8]>,
    seen: Option<Seen>,
}

#[derive(Debug)]
enum Piece {
    Unit {
        form: Form,
        frames: Vec<u8>,
        writes: bool,
        wants: Wants,
    },
    Node {
        frame: Vec<u8>,
    },
    /// Its user may no longer do it: the rules changed since it was queued.
    Refused {
        error: ErrorKind,
    },
}

impl Multi {
    /// Requests queued, for CLIENT LIST.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// What the queue and the watched keys take.
    pub fn bytes(&self) -> usize {
        let watched = self.watched.iter().map(|it| size_of::<Watched>() + it.key.len());
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Unit { frames, .. } => frames.capacity(),
            Piece::Node { frame } => frame.capacity(),
            Piece::Refused { .. } => 0,
        });
        let pieces = pieces.sum::<usize>() + self.pieces.len() * size_of::<Piece>();
        size_of::<Self>() + self.frames.capacity() + watched.sum::<usize>() + pieces
    }

    pub fn is_executing(&self) -> bool {
        self.working || !self.pieces.is_empty()
    }
}

fn multi(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let session = cx.session();
    if std::mem::replace(&mut session.in_multi, true) {
        return Err(ErrorKind::MultiNested);
    }
    session.multi_mut();
    cx.reply.ok();
    Ok(())
}

fn discard(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    if !cx.session().in_multi {
        return Err(ErrorKind::DiscardWithoutMulti);
    }
    let conn = cx.conn;
    cx.core.discard(conn);
    cx.reply.ok();
    Ok(())
}

fn unwatch(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let conn = cx.conn;
    cx.core.unwatch_all(conn);
    cx.reply.ok();
    Ok(())
}

/// `WATCH key [key ...]`: what each owner says is remembered by the session.
fn watch(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (conn, db, now) = (cx.conn, cx.db(), cx.core.now.wall);
    if cx.session().in_multi {
        return Err(ErrorKind::WatchInMulti);
    }
    let hasher = cx.core.keyspace.hasher();
    let mut asked: Vec<(usize, Vec<&[u8]>)> = Vec::new();
    for key in args.from(1) {
        let core = cx.core.owner(key);
        let watched = &mut cx.session().multi_mut().watched;
        if watched.iter().any(|it| it.db == db && *it.key == *key) {
            continue;
        }
        let part = asked.iter().position(|(it, _)| *it == core).unwrap_or(asked.len());
        watched.push(Watched { core, part, db, key: key.into(), seen: None });
        if core == cx.core.id {
            let seen = cx.core.keyspace.watch(db, hasher.key(key), now);
            if let Some(last) = cx.session().multi_mut().watched.last_mut() {
                last.seen = Some(seen);
            }
        } else if part < asked.len() {
            asked[part].1.push(key);
        } else {
            asked.push((core, vec![key]));
        }
    }
    cx.core.settle(0, Args::new(&[]), message::Origin::Client);
    if asked.is_empty() {
        cx.reply.ok();
        return Ok(());
    }
    let muted = cx.session().is_muted();
    let parts = vec![None; asked.len()];
    let gathering = Gathering { combine: Summary::Watched, parts, muted };
    let slot = cx.core.with_flight(conn, |flight| flight.depart_split(gathering, true));
    let command = cx.core.shared.table.part("watch");
    let session = cx.session();
    let mut head = RequestHead {
        conn,
        generation: session.generation,
        slot: slot.unwrap_or_default(),
        command,
        db: session.db,
        ..NOBODY
    };
    for (part, (core, keys)) in asked.iter().enumerate() {
        head.part = u32::try_from(part).unwrap_or(u32::MAX);
        cx.core.stats.hops += 1;
        message::push_request(cx.core.roads.to(*core), &head, keys.iter().copied());
    }
    cx.later = true;
    Ok(())
}

const SEEN_BYTES: usize = 9;

/// `[key..]`: watches them here; for each 8 bytes of its version, and whether it is there.
pub(super) fn watch_part(core: &mut Core, head: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let (hasher, now) = (core.keyspace.hasher(), core.now.wall);
    let mut all = Vec::with_capacity(args.len() * SEEN_BYTES);
    for key in args.iter() {
        let seen = core.keyspace.watch(head.db, hasher.key(key), now);
        all.extend_from_slice(&seen.version.to_le_bytes());
        all.push(u8::from(seen.there));
    }
    core.settle(0, Args::new(&[]), message::Origin::Client);
    reply.bulk(&all);
}

/// `[key..]`: they are watched by one less.
pub(super) fn unwatch_part(core: &mut Core, head: &PartHead, args: Args<'_>, _: &mut Reply<'_>) {
    let hasher = core.keyspace.hasher();
    args.iter().for_each(|key| core.keyspace.unwatch(head.db, hasher.key(key)));
}

fn exec(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let conn = cx.conn;
    let session = cx.session();
    if !std::mem::take(&mut session.in_multi) {
        return Err(ErrorKind::ExecWithoutMulti);
    }
    let multi = session.multi_mut();
    let frames = std::mem::take(&mut multi.frames);
    let (queued, flags) = (std::mem::take(&mut multi.queued), std::mem::take(&mut multi.flags));
    if std::mem::take(&mut multi.broken) {
        cx.core.unwatch_all(conn);
        return Err(ErrorKind::ExecAbort);
    }
    if cx.core.view.cluster.is_some()
        && let Err(error) = cx.core.redirect_queue(conn, &frames)
    {
        cx.core.unwatch_all(conn);
        return Err(error);
    }
    if let Err(error) = cx.core.may_run(flags) {
        cx.core.unwatch_all(conn);
        return Err(ErrorKind::exec_abort(&error));
    }
    cx.later = true;
    cx.core.execute_queue(conn, &frames, queued, cx.out);
    Ok(())
}

impl Core {
    /// A request while its session queues: it runs now only if it ends or concerns the queueing itself.
    pub(super) fn queues(&self, row: &Row) -> bool {
        let now = ["DISCARD", "EXEC", "MULTI", "QUIT", "RESET", "WATCH"];
        row.container.is_some() || !now.contains(&row.spec.name)
    }

    /// Queues a request that has passed the gate.
    pub(super) fn enqueue(&mut self, conn: Conn, number: u16, args: Args<'_>, out: &mut Outbox) {
        let table = self.shared.table;
        let row = table.row(number);
        if row.spec.flags.has(Flags::NO_MULTI) || row.spec.name == "REPLCONF" {
            self.break_multi(conn);
            let error = ErrorKind::NotInMulti;
            self.stats.rejected(Some(number));
            self.stats.failed(&error);
            return self.reply(conn, out, |buffer| error.write_to(buffer));
        }
        let limit = self.view.settings.client_query_buffer_limit;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let head = RequestHead { command: number, ..NOBODY };
        let multi = session.multi_mut();
        message::push_request(&mut multi.frames, &head, args.iter());
        multi.queued += 1;
        multi.flags = multi.flags.and(row.spec.flags);
        if multi.frames.len() as u64 > limit {
            session.closing = true;
            let id = session.id;
            let text = format!("Closing client {id}: its transaction is over the limit of input");
            self.stats.input_disconnections += 1;
            self.say(out, Level::Warning, text);
            out.actions.push(Action::CloseNow(conn));
            return;
        }
        let is_long = multi.frames.len() >= HEAVY_CLIENT_BYTES;
        if is_long {
            self.weigh(conn);
        }
        self.reply(conn, out, |buffer| buffer.extend_from_slice(b"+QUEUED\r\n"));
    }

    /// A request was refused: if its session queues, EXEC will refuse all.
    pub(super) fn break_multi(&mut self, conn: Conn) {
        if let Some(session) = self.sessions.get_mut(conn)
            && session.in_multi
        {
            session.multi_mut().broken = true;
        }
    }

    /// Forgets what was queued and watched.
    pub(super) fn discard(&mut self, conn: Conn) {
        self.unwatch_all(conn);
        if let Some(session) = self.sessions.get_mut(conn) {
            session.in_multi = false;
            if let Some(rare) = session.rare.as_mut() {
                rare.multi = None;
            }
        }
    }

    pub(super) fn unwatch_all(&mut self, conn: Conn) {
        let multi = self.sessions.get_mut(conn).and_then(|it| it.rare.as_mut()?.multi.as_mut());
        if let Some(watched) = multi.map(|multi| std::mem::take(&mut multi.watched)) {
            self.forget_watched(&watched);
        }
    }

    /// A session has ended with this.
    pub(super) fn forget_multi(&mut self, multi: &Multi) {
        self.forget_watched(&multi.watched);
    }

    fn forget_watched(&mut self, watched: &[Watched]) {
        for it in watched {
            self.unwatch_key(it.core, it.db, &it.key);
        }
    }

    /// The watched keys of a work were compared.
    pub(super) fn unwatch_wanted(&mut self, wanted: &[Wanted]) {
        for it in wanted.iter().filter(|it| it.seen.is_some()) {
            self.unwatch_key(it.core, it.db, &it.key);
        }
    }

    fn unwatch_key(&mut self, core: usize, db: usize, key: &[u8]) {
        if core == self.id {
            let hasher = self.keyspace.hasher();
            self.keyspace.unwatch(db, hasher.key(key));
        } else {
            let command = self.shared.table.part("unwatch");
            let db = u16::try_from(db).unwrap_or(0);
            let head = RequestHead { command, db, ..NOBODY };
            message::push_request(self.roads.to(core), &head, [key].into_iter());
        }
    }

    /// All owners have said what WATCH saw.
    pub(super) fn note_watched(&mut self, from: Return, gathering: &Gathering) {
        if gathering.combine != Summary::Watched {
            return;
        }
        let parts: Vec<Vec<u8>> =
            gathering.parts.iter().flatten().map(|it| gather::bulk(it)).collect();
        let mut parts: Vec<_> = parts.iter().map(|it| it.chunks_exact(SEEN_BYTES)).collect();
        let Some(session) = self.sessions.same(from.conn, from.generation) else { return };
        for it in session.multi_mut().watched.iter_mut().filter(|it| it.seen.is_none()) {
            let seen = parts.get_mut(it.part).and_then(Iterator::next);
            it.seen = seen.and_then(|bytes| {
                let (version, there) = bytes.split_at_checked(8)?;
                let version = u64::from_le_bytes(version.try_into().ok()?);
                Some(Seen { version, there: there == [1] })
            });
        }
    }

    /// May a transaction with these flags run now? What was let through before may have no more leave.
    fn may_run(&self, flags: Flags) -> Result<(), ErrorKind> {
        let spec = rows::EXEC.with_flags(flags);
        if self.view.is_plain() {
            return Ok(());
        }
        self.view.gate(&spec, self.is_out_of_memory())
    }

    /// Runs a queue of so many requests: as one hop, or piece by piece.
    fn execute_queue(&mut self, conn: Conn, frames: &[u8], queued: usize, out: &mut Outbox) {
        let mut pieces = self.pieces(conn, frames);
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let watched = std::mem::take(&mut session.multi_mut().watched);
        if !matches!(pieces.front(), Some(Piece::Unit { .. })) {
            let (form, frames, wants) = (Form::Part, Vec::new(), Wants::default());
            pieces.push_front(Piece::Unit { form, frames, writes: false, wants });
        }
        if let Some(Piece::Unit { form, wants, .. }) = pieces.front_mut() {
            *form = Form::Exec { replies: queued };
            self.want_watched(watched, wants);
        }
        if pieces.len() == 1
            && let Some(Piece::Unit { frames, wants, writes, .. }) = pieces.front()
            && let Some(core) = self.one_hop(frames, wants.keys())
        {
            return self.depart_exec(conn, core, queued, *writes, frames, wants.keys());
        }
        if let Some(session) = self.sessions.get_mut(conn) {
            session.multi_mut().pieces = pieces;
        }
        self.go_on_with_exec(conn, out);
    }

    /// Works on the pieces of an EXEC, until one must be waited for.
    pub(super) fn go_on_with_exec(&mut self, conn: Conn, out: &mut Outbox) {
        loop {
            let Some(session) = self.sessions.get_mut(conn) else { return };
            if let Some(flight) = session.flight.as_mut()
                && flight.is_waiting()
            {
                flight.set_piecewise();
                return;
            }
            let multi = session.multi_mut();
            if std::mem::replace(&mut multi.working, true) {
                return; // Within the loop below.
            }
            let piece = multi.pieces.pop_front();
            match piece {
                Some(Piece::Unit { form, frames, writes, wants }) => {
                    let wanted = wants.into_keys();
                    self.begin_for(conn, frames, form, writes, wanted, out);
                }
                Some(Piece::Node { frame }) => self.run_piece(conn, &frame, out),
                Some(Piece::Refused { error }) => {
                    self.stats.failed(&error);
                    self.reply(conn, out, |buffer| error.write_to(buffer));
                }
                None => {
                    multi.working = false;
                    return;
                }
            }
            if let Some(session) = self.sessions.get_mut(conn) {
                session.multi_mut().working = false;
            }
        }
    }

    pub(super) fn run_piece(&mut self, conn: Conn, frame: &[u8], out: &mut Outbox) {
        let (mut rest, mut words) = (frame, Vec::new());
        let Some(head) = message::pop_request(&mut rest, &mut words) else { return };
        let table = self.shared.table;
        if let Run::Node(run) = table.row(head.command).run {
            self.run_node(conn, head.command, run, Args::new(&words), out);
        }
    }

    /// A watched key has changed, or the role: what is left of an EXEC does not run.
    pub(super) fn forget_exec(&mut self, asker: Asker) {
        let Asker::Client { conn, generation, .. } = asker else { return };
        if let Some(session) = self.sessions.same(conn, generation)
            && let Some(multi) = session.rare.as_mut().and_then(|rare| rare.multi.as_mut())
        {
            multi.pieces.clear();
        }
    }

    fn want_watched(&self, watched: Vec<Watched>, wants: &mut Wants) {
        for Watched { core, db, key, seen, .. } in watched {
            let (hash, mode, look) = (self.keyspace.hash(&key), Mode::Shared, false);
            wants.add(Wanted { core, db, key, hash, mode, look, seen });
        }
    }

    fn pieces(&mut self, conn: Conn, frames: &[u8]) -> VecDeque<Piece> {
        let table = self.shared.table;
        let mut pieces = VecDeque::new();
        let Some(session) = self.sessions.get(conn) else { return pieces };
        let (mut db, proto, no_touch) = (session.db, session.proto, session.no_touch);
        let (mut rest, mut words) = (frames, Vec::new());
        loop {
            words.clear();
            let Some(head) = message::pop_request(&mut rest, &mut words) else { return pieces };
            let (row, args) = (table.row(head.command), Args::new(&words));
            let head = RequestHead { db, proto, no_touch, ..head };
            if let Some(error) = self.no_longer_allowed(conn, head.command, args) {
                pieces.push_back(Piece::Refused { error });
                continue;
            }
            if !matches!(row.run, Run::Shard(_)) && !runs_here(row) {
                let mut frame = Vec::new();
                message::push_request(&mut frame, &head, args.iter());
                pieces.push_back(Piece::Node { frame });
                continue;
            }
            if !matches!(pieces.back(), Some(Piece::Unit { .. })) {
                let (form, frames, wants) = (Form::Part, Vec::new(), Wants::default());
                pieces.push_back(Piece::Unit { form, frames, writes: false, wants });
            }
            if let Some(Piece::Unit { frames, writes, wants, .. }) = pieces.back_mut() {
                message::push_request(frames, &head, args.iter());
                *writes |= row.spec.is_write();
                if matches!(row.run, Run::Shard(_)) {
                    self.want(row, usize::from(db), args, wants);
                }
            }
            if row.spec.name == "SELECT" {
                let to = args.get(1).and_then(crate::base::num::parse_i64);
                let to = to.and_then(|to| u16::try_from(to).ok());
                db = to.filter(|to| usize::from(*to) < self.keyspace.databases()).unwrap_or(db);
            }
        }
    }

    /// The one other core that a whole EXEC can be sent to: all keys are its own, and nothing in it is
    /// about the connection.
    fn one_hop(&self, frames: &[u8], wanted: &[Wanted]) -> Option<usize> {
        let core = wanted.first()?.core;
        if core == self.id || wanted.iter().any(|it| it.core != core) {
            return None;
        }
        if self.frames_follow_keys(frames) {
            return None;
        }
        let (mut rest, mut words) = (frames, Vec::new());
        while let Some(head) = message::pop_request(&mut rest, &mut words) {
            // A script's commands run by its user's rights, which are known here.
            if !matches!(self.shared.table.row(head.command).run, Run::Shard(Exec::Keys(_))) {
                return None;
            }
        }
        Some(core)
    }

    fn depart_exec(
        &mut self,
        conn: Conn,
        core: usize,
        queued: usize,
        writes: bool,
        frames: &[u8],
        wanted: &[Wanted],
    ) {
        let Some(session) = self.sessions.get(conn) else { return };
        let (muted, generation, proto) = (session.is_muted(), session.generation, session.proto);
        let tracks = session.tracks();
        let slot = self.with_flight(conn, |flight| flight.depart(Some(core), writes, muted));
        let slot = slot.unwrap_or_default();
        let command = self.shared.table.part("exec");
        let head = RequestHead { conn, generation, slot, command, proto, tracks, ..NOBODY };
        let watched: Vec<&Wanted> = wanted.iter().filter(|it| it.seen.is_some()).collect();
        let watched = owner::encode_intents(0, &watched);
        let replies = (queued as u64).to_le_bytes();
        let mut words: Vec<&[u8]> = vec![&replies, frames];
        words.extend(watched.iter().map(Vec::as_slice));
        self.stats.hops += 1;
        message::push_request(self.roads.to(core), &head, words.iter().copied());
    }
}

/// `[number of replies, or nothing for the stream of our master; frames; watched keys as intents]`: an
/// EXEC whose keys are all of this core.
pub(super) fn exec_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let (now, mut unchanged) = (core.now.wall, true);
    if args.len() > 2 {
        let (_, watched) = owner::decode_intents(core.id, args.skip(2));
        for it in &watched {
            let seen = it.seen.unwrap_or(Seen { version: 0, there: false });
            unchanged &= core.keyspace.is_as_seen(it.db, it.key(), seen, now);
            core.keyspace.unwatch(it.db, it.key());
        }
        core.settle(0, Args::new(&[]), message::Origin::Client);
    }
    let replies = args.name().try_into().map(u64::from_le_bytes);
    if !unchanged {
        return reply.null_array();
    }
    let frames = args.get(1).unwrap_or_default();
    if let Ok(replies) = replies {
        if core.view.is_read_only() && core.has_writes(frames) {
            return reply.error(&ErrorKind::exec_abort(&ErrorKind::ReadOnly));
        }
        reply.array(usize::try_from(replies).unwrap_or(0));
    }
    core.begin_unit();
    let _ = core.run_shard_frames(frames, None, reply.out);
    core.end_unit();
    core.serve_ready();
}

/// Commands of the node that are done at once, on the core that has the connection.
fn runs_here(row: &Row) -> bool {
    let name = row.spec.name;
    match row.container {
        // What is published is logged with the rest, and answered when that is done.
        None => {
            let here = ["AUTH", "COMMAND", "ECHO", "HELLO", "PING", "SELECT", "TIME"];
            here.contains(&name) || matches!(name, "PUBLISH" | "SPUBLISH")
        }
        Some("CLIENT") => {
            let asks = ["KILL", "LIST", "PAUSE", "TRACKING", "UNBLOCK", "UNPAUSE"];
            !asks.contains(&name)
        }
        Some("COMMAND") => true,
        Some("CONFIG") => name == "GET",
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::{Node, check};

    /// What a real server answered, on one core and on three.
    #[test]
    fn transactions_are_answered_as_redis_answers_them() {
        let golden = include_str!("../../tests/golden/multi-7.0.15.txt");
        let version = crate::node::REDIS_VERSION;
        let version = format!("${} {version}", version.len());
        check(&golden.replace("$6 7.0.15", &version).replace("id :4", "id :1"));
    }

    /// Nobody's watching is left behind, however it ended.
    #[test]
    fn who_watches_and_goes_leaves_nothing_behind() {
        let watched = |node: &mut Node| -> usize {
            node.cores.iter_mut().map(|core| core.keyspace_mut().watched_keys()).sum()
        };
        for end in [
            "",
            "UNWATCH\r\n",
            "RESET\r\n",
            "MULTI\r\nGET k1\r\nEXEC\r\n",
            "MULTI\r\nNOPE\r\nEXEC\r\n",
            "MULTI\r\nDISCARD\r\n",
            "QUIT\r\n",
            "MULTI\r\nSET k1 1\r\nSET k2 2\r\nSET k3 3\r\nEXEC\r\n",
        ] {
            for cores in [1, 3] {
                let mut node = Node::new(cores);
                let client = node.connect();
                node.send(client, b"WATCH k1 k2 k3 k4\r\nWATCH k5\r\n");
                assert_eq!(watched(&mut node), 5);
                node.send(client, end.as_bytes());
                if end.is_empty() {
                    node.disconnect(client);
                }
                assert_eq!(watched(&mut node), 0, "{end:?}, {cores} cores");
            }
        }
    }

    /// What Sentinel sends to the replica that it promotes, and to others.
    #[test]
    fn a_transaction_may_be_about_the_node() {
        for cores in [1, 3] {
            let mut node = Node::new(cores);
            let sentinel = node.connect();
            let other = node.connect();
            let said = node.send(
                sentinel,
                b"MULTI\r\nSLAVEOF NO ONE\r\nCLIENT KILL TYPE normal\r\nCLIENT KILL TYPE pubsub\r\nEXEC\r\nPING\r\n",
            );
            let said = String::from_utf8(said).unwrap();
            let expected =
                "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n:1\r\n:0\r\n+PONG\r\n";
            assert_eq!(said, expected, "{cores} cores");
            assert!(node.is_closed(other));
        }
    }
}
