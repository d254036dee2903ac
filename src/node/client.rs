//! A core's side of its clients: bytes in, requests staged, run in order, replies out.
//!
//! The window: requests of many connections are parsed, looked up, hashed and prefetched together,
//! then executed in the order of their arrival; a cache miss that waits costs ten times one that
//! was asked for early. A connection has bytes of one chunk at most in a window, so that a stall
//! can keep everything from its first request that did not run by keeping one slice.

use crate::acl::log::Context;
use crate::base::limits::{TURN_REPLY_BYTES, UNAUTHENTICATED_OUTPUT_BYTES_MAX, WINDOW_REQUESTS};
use crate::command::args::Args;
use crate::command::keys;
use crate::command::spec::{Flags, Hop};
use crate::engine::keyspace::ExpiryMode;
use crate::engine::shard::Cx;
use crate::node::core::Core;
use crate::node::message::{Origin, Wire};
use crate::node::outbox::{Conn, Outbox};
use crate::node::publish::is_for_subscribers;
use crate::node::session::{NO_COMMAND, ReplyMode, Stall, Waiting};
use crate::node::table::{Exec, Run};
use crate::replication::log::encode_request;
use crate::resp::error::ErrorKind;
use crate::resp::partial::Partial;
use crate::resp::reply::{Proto, Reply};
use crate::resp::request;

/// Requests that are parsed and not yet executed.
#[derive(Debug)]
pub(super) struct Window<'a> {
    staged: Vec<Staged<'a>>,
    words: Vec<&'a [u8]>,
    /// Requests after which it is run.
    most: usize,
}

impl Window<'_> {
    /// For a session that may well stall at once again: what is staged behind a request that stalls
    /// is staged in vain. Each time that all of it ran, it takes twice as many.
    pub(super) fn short() -> Self {
        Self { staged: Vec::new(), words: Vec::new(), most: 1 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Staged<'a> {
    conn: Conn,
    first: u32,
    count: u32,
    /// Its command's number in the table.
    row: Option<u16>,
    /// The core that owns its first key.
    core: u16,
    hash: u64,
    /// The client's socket, where this is all that it said in this turn.
    wire: Wire,
    /// The chunk from this request on, and from behind it.
    rest: &'a [u8],
    behind: &'a [u8],
}

/// A shard command about to run on this core; its words travel beside it.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// Its row's number in the table, for the figures.
    pub number: u16,
    pub run: Exec,
    pub db: usize,
    pub proto: Proto,
    pub origin: Origin,
}

impl Core {
    pub(super) fn open_window<'a>(&mut self) -> Window<'a> {
        Window {
            staged: Vec::with_capacity(WINDOW_REQUESTS),
            words: Vec::with_capacity(256),
            most: WINDOW_REQUESTS,
        }
    }

    pub(super) fn close_window(&mut self, window: Window<'_>) {
        debug_assert!(window.staged.is_empty());
    }

    /// Bytes of a client came in.
    pub(super) fn receive<'a>(
        &mut self,
        conn: Conn,
        bytes: &'a [u8],
        wire: Wire,
        window: &mut Window<'a>,
        out: &mut Outbox,
    ) {
        self.stats.received(bytes.len());
        let (serial, began) = (self.serial, self.began);
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.active = self.stats.seconds;
        let wire = if session.staged_in.wrapping_sub(began) > u32::MAX / 2 { wire } else { 0 };
        let flies = session.flight.is_some();
        if session.staged_in == serial || session.input.is_some() {
            self.run_window(window, out);
        }
        if flies {
            self.follows_lent(conn);
        }
        let peers = self.control.is_some() || self.flow_links.are_any();
        if peers && self.peer_bytes(conn, bytes, out) {
            return;
        }
        self.receive_plain(conn, bytes, wire, window, out);
    }

    fn receive_plain<'a>(
        &mut self,
        conn: Conn,
        bytes: &'a [u8],
        wire: Wire,
        window: &mut Window<'a>,
        out: &mut Outbox,
    ) {
        let frozen = self.holds_clients();
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if session.closing {
            return;
        }
        if frozen && session.stall == Stall::Running {
            session.stall = Stall::Frozen;
            self.frozen.stalled(conn);
        }
        if !session.is_running() {
            session.keep(bytes);
            self.check_input(conn, out);
            return;
        }
        match session.input.as_deref_mut() {
            None => self.stage_all(conn, bytes, wire, window, out),
            Some(Waiting::Split(partial, behind)) if behind.is_empty() => {
                let partial = std::mem::take(partial);
                session.input = None;
                self.run_split(conn, partial, bytes, window, out);
                self.check_input(conn, out);
            }
            Some(Waiting::Stalled(..) | Waiting::Split(..)) => {
                session.keep(bytes);
                self.run_waiting(conn, out);
            }
        }
    }

    /// Parses all complete requests of a chunk into the window, and runs it whenever it is full.
    pub(super) fn stage_all<'a>(
        &mut self,
        conn: Conn,
        bytes: &'a [u8],
        wire: Wire,
        window: &mut Window<'a>,
        out: &mut Outbox,
    ) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(session) = self.sessions.get_mut(conn) else { return };
            if !session.is_running() {
                return; // Kept by whoever stalled it.
            }
            let limits = self.view.request_limits(session.authenticated);
            let first = window.words.len();
            let Some(used) = request::next(rest, &limits, &mut window.words) else {
                return self.run_split(conn, Partial::default(), rest, window, out);
            };
            let one_by_one = !session.authenticated;
            session.staged_in = self.serial;
            let behind = &rest[used..];
            let wire = if used == bytes.len() { wire } else { 0 };
            self.stage(conn, first, wire, (rest, behind), window);
            rest = behind;
            if window.staged.len() >= window.most || one_by_one {
                self.run_window(window, out);
            }
        }
    }

    fn stage<'a>(
        &mut self,
        conn: Conn,
        first: usize,
        wire: Wire,
        (rest, behind): (&'a [u8], &'a [u8]),
        window: &mut Window<'a>,
    ) {
        let args = Args::new(&window.words[first..]);
        let mut staged = Staged {
            conn,
            first: u32::try_from(first).unwrap_or(u32::MAX),
            count: u32::try_from(args.len()).unwrap_or(u32::MAX),
            row: self.shared.table.find(args),
            core: u16::try_from(self.id).unwrap_or(0),
            hash: 0,
            wire,
            rest,
            behind,
        };
        if let Some(number) = staged.row
            && let Some(key) = keys::first_key(self.shared.table.row(number).spec, args)
        {
            staged.hash = self.keyspace.hash(key);
            let core = self.owner(key);
            if core == self.id {
                let db = self.sessions.get(conn).map_or(0, |session| session.db);
                self.keyspace.prefetch_bucket(usize::from(db), staged.hash);
            }
            staged.core = u16::try_from(core).unwrap_or(0);
        }
        window.staged.push(staged);
    }

    /// Executes everything staged, in order.
    pub(super) fn run_window(&mut self, window: &mut Window<'_>, out: &mut Outbox) {
        if window.staged.is_empty() {
            return;
        }
        self.serial = self.serial.wrapping_add(1);
        for staged in &window.staged {
            if usize::from(staged.core) == self.id && staged.hash != 0 {
                let db = self.sessions.get(staged.conn).map_or(0, |session| session.db);
                self.keyspace.prefetch_record(usize::from(db), staged.hash);
            }
        }
        for staged in &window.staged {
            let first = staged.first as usize;
            let words = &window.words[first..first + staged.count as usize];
            self.run(staged, Args::new(words), out);
        }
        window.staged.clear();
        window.words.clear();
        window.most = (window.most * 2).min(WINDOW_REQUESTS);
    }

    fn run(&mut self, staged: &Staged<'_>, args: Args<'_>, out: &mut Outbox) {
        let conn = staged.conn;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if !session.is_running() {
            return; // Kept by the request that stalled it.
        }
        if let Some(why) = self.must_wait(conn, staged.row, usize::from(staged.core), args) {
            self.stall(conn, why, staged.rest);
            return;
        }
        let place = (usize::from(staged.core), staged.hash);
        self.dispatch(conn, staged.row, place, staged.wire, args, out);
        self.after(conn, staged.behind, out);
    }

    /// Runs a request that did not lie whole in its chunk; `behind` it come more bytes.
    pub(super) fn run_alone(
        &mut self,
        conn: Conn,
        args: Args<'_>,
        behind: &[u8],
        out: &mut Outbox,
    ) {
        let row = self.shared.table.find(args);
        let key = row.and_then(|it| keys::first_key(self.shared.table.row(it).spec, args));
        let core = key.map_or(self.id, |key| self.owner(key));
        if let Some(why) = self.must_wait(conn, row, core, args) {
            let mut rest = Vec::new();
            encode_request(args.words(), &mut rest);
            rest.extend_from_slice(behind);
            self.stall(conn, why, &rest);
            return;
        }
        let hash = key.map_or(0, |key| self.keyspace.hash(key));
        self.dispatch(conn, row, (core, hash), 0, args, out);
        self.after(conn, behind, out);
    }

    fn stall(&mut self, conn: Conn, why: Stall, rest: &[u8]) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.stall(why, rest, &self.resumed);
        if why != Stall::Flight && session.flight.is_some() {
            self.roads.lands(conn); // What is ready need not wait for the end of the stall.
        }
        match why {
            Stall::Moving => self.moving.push(conn),
            Stall::Paused => self.pauses.waiting.push(conn),
            Stall::Frozen => self.frozen.stalled(conn),
            Stall::Locked => self.wait_for_key(conn),
            _ => {}
        }
    }

    /// Runs one request whose turn has come, wherever it belongs.
    fn dispatch(
        &mut self,
        conn: Conn,
        number: Option<u16>,
        (core, hash): (usize, u64),
        wire: Wire,
        args: Args<'_>,
        out: &mut Outbox,
    ) {
        let mut in_multi = false;
        if let Some(session) = self.sessions.get_mut(conn) {
            session.last_command = number.unwrap_or(NO_COMMAND);
            in_multi = session.in_multi;
        }
        if !self.view.is_plain() && core == self.id && !self.has_script() {
            self.make_room_for(number);
        }
        if let Err(error) = self.gate(conn, number, args) {
            let queues = self.sessions.get(conn).is_some_and(|session| session.in_multi);
            let context = if queues { Context::Multi } else { Context::Toplevel };
            self.note_refusal(conn, number, args, &error, context);
            self.refuse(conn, number, &error, out);
            return;
        }
        let Some(number) = number else { return };
        if !self.view.is_plain() && self.is_watched() {
            self.show_request(conn, number, args);
        }
        let table = self.shared.table;
        let row = table.row(number);
        if in_multi && self.queues(row) {
            return self.enqueue(conn, number, args, out);
        }
        match row.run {
            Run::Shard(run) => match row.spec.hop {
                Hop::Single | Hop::Local | Hop::All if core == self.id => {
                    self.run_here(conn, number, run, args, out);
                }
                Hop::Single | Hop::Local | Hop::All => {
                    self.depart(conn, number, (core, hash), wire, args, out);
                }
                Hop::Split(_) | Hop::Exclusive => self.over_keys(conn, number, row, args, out),
                Hop::Blocking => self.run_or_wait(conn, number, row, args, out),
            },
            Run::Node(run) => self.run_node(conn, number, run, args, out),
            Run::Part(_) => {}
        }
    }

    /// A shard command whose keys are all here.
    #[inline]
    pub(super) fn run_here(
        &mut self,
        conn: Conn,
        number: u16,
        run: Exec,
        args: Args<'_>,
        out: &mut Outbox,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let (db, proto, muted) = (usize::from(session.db), session.proto, session.is_muted());
        let call = Call { number, run, db, proto, origin: Origin::Client };
        self.keyspace.set_no_touch(session.no_touch);
        if matches!(run, Exec::Script(_)) {
            self.caller = Some(conn);
            self.stand.may = true;
        }
        let tracks = session.tracks;
        if tracks {
            self.begin_acting(conn);
        }
        let Some(session) = self.sessions.get_mut(conn) else { return };
        match session.flight.take() {
            None => {
                let buffer = out.to(conn);
                let start = buffer.len();
                self.execute(call, args, buffer);
                if muted {
                    buffer.truncate(start);
                }
            }
            Some(mut flight) => {
                flight.answer_here(|buffer| {
                    let start = buffer.len();
                    self.execute(call, args, buffer);
                    if muted {
                        buffer.truncate(start);
                    }
                });
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.flight = Some(flight);
                }
                self.roads.lands(conn);
            }
        }
        self.stand.may = false;
        if self.stand.standing.is_some() && !self.has_script() {
            self.suspend_for_client(conn, call, args);
        }
        if tracks {
            self.tracking.acting = None;
        }
        if self.slow.is_waiting() {
            self.slow_of(conn);
        }
    }

    /// Executes a shard command on this core's keys and logs what it did.
    #[inline]
    pub(super) fn execute(&mut self, call: Call, args: Args<'_>, buffer: &mut Vec<u8>) {
        let Call { number, run, db, proto, origin } = call;
        let start = buffer.len();
        // For what comes from the master a key is there until its DEL comes.
        let mode = self.keyspace.expiry_mode();
        if origin == Origin::Master {
            self.keyspace.set_expiry_mode(ExpiryMode::Ignore);
        }
        let mut started = self.slow.times(number).then(self.shared.stopwatch);
        let result = match run {
            Exec::Keys(run) => {
                let mut cx = Cx {
                    keyspace: &mut self.keyspace,
                    db,
                    now: self.now.wall,
                    reply: Reply { out: buffer, proto },
                    effect: &mut self.effect,
                    prng: &mut self.prng,
                };
                run(&mut cx, args)
            }
            Exec::Script(run) => {
                let result = match (self.stand.goes_on, self.has_script()) {
                    (true, _) => self.go_on(args, buffer),
                    (false, false) => run(self, &call, args, buffer),
                    (false, true) => Err(ErrorKind::BusyScript),
                };
                self.caller = None;
                if self.stand.standing.is_some() {
                    self.keyspace.set_expiry_mode(mode);
                    self.keyspace.set_no_touch(false);
                    self.stand.started = self.stand.started.or(started);
                    return;
                }
                started = self.stand.started.take().or(started);
                result
            }
        };
        self.keyspace.set_expiry_mode(mode);
        self.keyspace.set_no_touch(false); // It was for this command.
        self.stats.called(number, result.is_err());
        if let Some(started) = started {
            self.took(number, started, args);
        }
        if let Err(error) = result {
            buffer.truncate(start);
            self.stats.failed(&error);
            error.write_to(buffer);
        }
        if self.keyspace.has_notices() {
            self.keyspace.settle_lent(self.effect.changes() != 0);
            self.settle(db, args, origin);
            let acting = self.tracking.acting.take();
            self.serve_ready();
            self.tracking.acting = acting;
        } else {
            self.settle(db, args, origin);
        }
        if self.tracking.acting.is_some() {
            self.remember_keys(self.shared.table.row(number), args);
        }
    }

    /// Why this request may not start now, if it may not.
    fn must_wait(
        &mut self,
        conn: Conn,
        number: Option<u16>,
        core: usize,
        args: Args<'_>,
    ) -> Option<Stall> {
        let table = self.shared.table;
        let row = number.map(|number| table.row(number));
        if self.holds_clients() {
            return Some(Stall::Frozen);
        }
        if self.has_script() && self.waits_for_script(conn, row, core) {
            return Some(Stall::Script);
        }
        if self.pauses.is_on() && self.pauses.holds(row, self.now) {
            return Some(Stall::Paused);
        }
        if let Some(flight) = self.sessions.get(conn)?.flight.as_ref() {
            let admitted = match row {
                None => flight.admits(Some(self.id), false),
                Some(row) => self.admits(flight, row, core, args),
            };
            if !admitted {
                return Some(Stall::Flight);
            }
        }
        let row = row?;
        if !self.tx.intents.is_idle() && self.must_wait_for_key(conn, number?, args) {
            return Some(Stall::Locked);
        }
        if row.spec.is_write() && !self.may_notify(conn) {
            return Some(Stall::Flight);
        }
        let publishes = matches!(row.run, Run::Node(_)) && row.spec.flags.has(Flags::MAY_REPLICATE);
        if publishes && !self.may_publish(conn) {
            return Some(Stall::Flight);
        }
        if self.id != 0 && table_moves(row) {
            return Some(Stall::Moving);
        }
        (core != self.id && !self.has_room(conn, core)).then_some(Stall::Flight)
    }

    /// Redis' order of reasons to refuse a command before it runs.
    fn gate(&self, conn: Conn, number: Option<u16>, args: Args<'_>) -> Result<(), ErrorKind> {
        let Some(session) = self.sessions.get(conn) else { return Ok(()) };
        let authenticated = session.authenticated;
        let listens = session.subscribed && session.proto == Proto::Resp2;
        let Some(number) = number else {
            // As Valkey 9: a stranger is not told which commands there are.
            let unknown = || self.shared.table.unknown(args);
            return Err(if authenticated { unknown() } else { ErrorKind::NoAuth });
        };
        let row = self.shared.table.row(number);
        if !row.spec.arity.accepts(args.len()) {
            return Err(self.shared.table.wrong_arity(number));
        }
        if !authenticated && !row.spec.flags.has(Flags::NO_AUTH) {
            return Err(ErrorKind::NoAuth);
        }
        if session.ruled {
            self.may_run_request(session, number, args)?;
        }
        if !self.view.is_plain() {
            if self.view.cluster.is_some() {
                self.redirect(session, row.spec, args)?;
            }
            self.view.gate(row.spec, self.is_out_of_memory())?;
        }
        if self.busy_somewhere {
            self.may_run_while_busy(row, args)?;
        }
        if listens && !is_for_subscribers(row.spec.name) {
            let command = row.full_name.as_bytes().into();
            return Err(ErrorKind::OnlySubscriberCommands { command });
        }
        Ok(())
    }

    fn refuse(&mut self, conn: Conn, number: Option<u16>, error: &ErrorKind, out: &mut Outbox) {
        self.stats.rejected(number);
        self.stats.failed(error);
        let busy = matches!(error, ErrorKind::BusyScript | ErrorKind::BusyFunction);
        if busy && number.is_some_and(|it| self.shared.table.is(it, "EXEC")) {
            self.discard(conn);
            let aborted = ErrorKind::exec_abort(error);
            return self.reply(conn, out, |buffer| aborted.write_to(buffer));
        }
        self.break_multi(conn);
        self.reply(conn, out, |buffer| error.write_to(buffer));
    }

    /// Puts a reply in its place: behind those that wait, or straight out.
    pub(super) fn reply(&mut self, conn: Conn, out: &mut Outbox, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let muted = session.is_muted();
        match session.flight.as_mut() {
            Some(flight) => {
                flight.answer_here(|buffer| {
                    if !muted {
                        write(buffer)
                    }
                });
                self.roads.lands(conn);
            }
            None if muted => {}
            None => write(out.to(conn)),
        }
    }

    /// As `reply`, of what CLIENT REPLY does not hold back.
    pub(super) fn push(&mut self, conn: Conn, out: &mut Outbox, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        match session.flight.as_mut() {
            Some(flight) => flight.answer_here(write),
            None => write(out.to(conn)),
        }
    }

    /// What follows every command: CLIENT REPLY SKIP runs out, and a session that has written much
    /// lets the others go first. A stranger has written much very soon.
    fn after(&mut self, conn: Conn, behind: &[u8], out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        session.reply_mode = match session.reply_mode {
            ReplyMode::SkipNext => ReplyMode::Skip,
            ReplyMode::Skip => ReplyMode::On,
            mode => mode,
        };
        if session.asking && !self.shared.table.is(session.last_command, "ASKING") {
            session.asking = false;
        }
        if session.tracks {
            session.end_caching(self.shared.table);
        }
        let known = session.authenticated;
        let much = if known { TURN_REPLY_BYTES } else { UNAUTHENTICATED_OUTPUT_BYTES_MAX };
        if out.written_to(conn) > much {
            self.wrote_much(conn, behind, out);
        }
    }
}

/// Commands of replicas are core 0's business: a connection that sends one moves there.
fn table_moves(row: &crate::node::table::Row) -> bool {
    matches!(row.spec.name, "REPLCONF" | "PSYNC" | "SYNC")
}
