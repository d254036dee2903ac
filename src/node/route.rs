//! Requests for keys of other cores: out by the road to their owner, executed there, back in order.
//!
//! Requests gather in one buffer a road and leave once a turn; replies likewise. A road with too
//! many bytes waiting takes no more: the sessions that feed it stall until replies come back, so
//! nothing grows with what clients send.
//!
//! **Replies wait for the stream.** While replicas are fed, what a core answers leaves only after
//! the effects of that turn were handed to the replicas' sockets by core 0 ([`Message::Streamed`]):
//! a reply that a client has seen is never ahead of what a replica was sent. Whole turns are held,
//! reads too, so that their order holds and nobody reads a write that may still be lost.
//!
//! **A request that is all its client waits for takes the socket along.** The owner's side sends the reply by it, and
//! the way home of reply, bell and turn is saved: half of what a hop costs. The socket comes back with the next
//! mail, or with the next turn of this core; only where something waits behind it does this core want to be woken for that
//! ([`Core::listens_for_returns`]). Meanwhile nothing is written to it here: the flight stands, so all else queues.

use crate::base::limits::{ROAD_BATCHES_MAX, ROAD_BYTES_MAX, SPARE_BUFFERS_MAX, SPARE_BYTES_MAX};
use crate::command::args::Args;
use crate::command::keys;
use crate::command::spec::{Flags, Hop};
use crate::node::client::Call;
use crate::node::core::Core;
use crate::node::flight::Flight;
use crate::node::message::{self, Message, Origin, RequestHead, Return, Wire};
use crate::node::outbox::{Action, Conn, Outbox, Segment};
use crate::node::rehearsal;
use crate::node::session::{Kind, Session, Stall, Waiting};
use crate::node::table::{Row, Run};
use crate::resp::error::ErrorKind;
use std::collections::VecDeque;

/// This core's ends of the roads to all others.
#[derive(Debug)]
pub(super) struct Roads {
    requests: Vec<Vec<u8>>,
    replies: Vec<Vec<u8>>,
    /// How many of them came with a socket.
    lent: Vec<u32>,
    /// Flights behind whose lent socket something waits.
    followed: usize,
    /// Request messages sent and not answered yet.
    under_way: Vec<usize>,
    spare: Vec<Vec<u8>>,
    /// Sessions that wait for room on a road.
    stalled: Vec<Conn>,
    #[expect(clippy::vec_box, reason = "spare boxes: a session holds its flight in one")]
    flights: Vec<Box<Flight>>,
    /// Sessions whose flight got a reply in this turn.
    landing: Vec<Conn>,
    /// The last ticket taken here, and the last that is known to be with the replicas.
    wrote: u64,
    streamed: u64,
    /// Writes up to this ticket may not be on disk though they were to be.
    lost: u64,
    held: VecDeque<HeldTurn>,
    /// Sessions whose flight may keep answers of this turn (noted only while answers wait for the disk).
    keeping: Vec<Conn>,
    /// Request messages executed and not answered, by core.
    owed: Vec<usize>,
}

/// What a turn answered, kept until its writes are with the replicas.
#[derive(Debug)]
struct HeldTurn {
    ticket: u64,
    bytes: Vec<u8>,
    segments: Vec<(Segment, u32)>,
    mail: Vec<(usize, Message)>,
    /// To be closed after the last of `segments`.
    closing: Vec<Conn>,
}

impl Roads {
    pub(super) fn new(cores: usize) -> Self {
        let buffers = || (0..cores).map(|_| Vec::new()).collect();
        Self {
            requests: buffers(),
            replies: buffers(),
            lent: vec![0; cores],
            followed: 0,
            under_way: vec![0; cores],
            spare: Vec::new(),
            stalled: Vec::new(),
            flights: Vec::new(),
            landing: Vec::new(),
            wrote: 0,
            streamed: 0,
            lost: 0,
            held: VecDeque::new(),
            keeping: Vec::new(),
            owed: vec![0; cores],
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        let ready =
            |(batch, &away): (&Vec<u8>, &usize)| !batch.is_empty() && away < ROAD_BATCHES_MAX;
        self.requests.iter().zip(&self.under_way).any(ready)
    }

    pub(super) fn wrote(&mut self, ticket: u64) {
        self.wrote = self.wrote.max(ticket);
    }

    pub(super) fn newest_ticket(&self) -> u64 {
        self.wrote
    }

    /// What this turn answers may tell of writes up to that ticket.
    pub(super) fn depends_on(&mut self, ticket: u64) {
        self.wrote = self.wrote.max(ticket);
    }

    pub(super) fn held_turns(&self) -> usize {
        self.held.len()
    }

    /// Do replies to that session wait for the stream?
    pub(super) fn holds(&self, conn: Conn, generation: u32) -> bool {
        let its = |(segment, owner): &(Segment, u32)| segment.conn == conn && *owner == generation;
        self.held.iter().any(|turn| turn.segments.iter().any(its))
    }

    fn is_full(&self, core: usize) -> bool {
        self.requests[core].len() > ROAD_BYTES_MAX
    }

    /// One more message of that core's requests is answered, or will be.
    pub(super) fn owes(&mut self, core: usize) {
        self.owed[core] += 1;
    }

    /// A reply to that core brings its client's socket back.
    pub(super) fn lent_back(&mut self, core: usize, wire: Wire) {
        self.lent[core] += u32::from(wire != 0);
    }

    /// Where requests for `core` gather.
    pub(super) fn to(&mut self, core: usize) -> &mut Vec<u8> {
        &mut self.requests[core]
    }

    /// Where replies to requests of `core` gather.
    pub(super) fn replies_to(&mut self, core: usize) -> &mut Vec<u8> {
        &mut self.replies[core]
    }

    pub(super) fn new_flight(&mut self, base: u32) -> Box<Flight> {
        match self.flights.pop() {
            Some(mut flight) => {
                flight.reset(base);
                flight
            }
            None => Box::new(Flight::new(base)),
        }
    }

    /// The session's flight has something to send, or is over: looked at when the turn ends.
    pub(super) fn lands(&mut self, conn: Conn) {
        if self.landing.last() != Some(&conn) {
            self.landing.push(conn);
        }
    }

    /// A reply came in after this turn's were sent.
    pub(super) fn has_landing(&self) -> bool {
        !self.landing.is_empty()
    }

    fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS_MAX && buffer.capacity() <= SPARE_BYTES_MAX {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

impl Core {
    /// The core that owns a key.
    #[inline]
    pub(super) fn owner(&self, key: &[u8]) -> usize {
        if self.cores == 1 {
            return 0;
        }
        usize::from(keys::slot(key)) * self.cores / usize::from(crate::base::limits::SLOTS)
    }

    /// May the request start beside what its connection has under way?
    pub(super) fn admits(&self, flight: &Flight, row: &Row, core: usize, args: Args<'_>) -> bool {
        let writes = row.spec.may_write();
        match (&row.run, row.spec.hop) {
            // One message after another: the roads keep their order.
            (Run::Node(_), _) if row.spec.flags.has(Flags::MAY_REPLICATE) => {
                flight.admits(None, false)
            }
            (Run::Node(_) | Run::Part(_), _) => flight.admits(None, true),
            (Run::Shard(_), Hop::Single | Hop::Local | Hop::All) => {
                flight.admits(Some(core), writes)
            }
            (Run::Shard(_), Hop::Blocking) => flight.admits(None, true),
            (Run::Shard(_), Hop::Split(_) | Hop::Exclusive) => {
                let one = self.only_owner(row, args);
                flight.admits(one, writes || row.spec.hop == Hop::Exclusive)
            }
        }
    }

    /// Room on the road to `core`? If not, the session waits for it.
    pub(super) fn has_room(&mut self, conn: Conn, core: usize) -> bool {
        let full = core != self.id && self.roads.is_full(core);
        if full {
            self.roads.stalled.push(conn);
        }
        !full
    }

    /// Sends a request to the core that owns its key.
    pub(super) fn depart(
        &mut self,
        conn: Conn,
        command: u16,
        (core, hash): (usize, u64),
        wire: Wire,
        args: Args<'_>,
        out: &mut Outbox,
    ) {
        self.stats.hops += 1;
        let writes = self.shared.table.row(command).spec.may_write();
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let muted = session.is_muted();
        let lends = wire != 0
            && session.flight.is_none()
            && !muted
            && session.kind == Kind::Normal
            && !session.hears_unasked()
            && self.roads.held.is_empty();
        let wire = if lends { wire } else { 0 };
        if self.view.answers_wait_for_disk() {
            self.roads.keeping.push(conn);
        }
        let flight = session.flight.get_or_insert_with(|| {
            let mut flight = self.roads.new_flight(session.next_slot);
            out.take_back(conn, |replies| flight.put_ahead(replies));
            flight
        });
        let slot = flight.depart(Some(core), writes, muted);
        if lends {
            flight.lend();
            out.lent.push(conn);
        }
        let head = RequestHead {
            conn,
            generation: session.generation,
            slot,
            part: 0,
            command,
            db: session.db,
            proto: session.proto,
            origin: Origin::Client,
            no_touch: session.no_touch,
            asking: session.asking,
            tracks: session.tracks(),
            hash,
            wire,
        };
        message::push_request(&mut self.roads.requests[core], &head, args.iter());
    }

    /// The one core that owns all keys of a request, if there is one.
    pub(super) fn only_owner(&self, row: &Row, args: Args<'_>) -> Option<usize> {
        if self.cores == 1 {
            return Some(0);
        }
        if rehearsal::follows_keys(row.spec, args) {
            return None; // Nobody knows all its keys yet.
        }
        let mut owner = None;
        for key in keys::keys_found(row.spec, args) {
            let core = self.owner(args.get(key.at)?);
            match owner {
                None => owner = Some(core),
                Some(other) if other != core => return None,
                Some(_) => {}
            }
        }
        Some(owner.unwrap_or(self.id))
    }

    /// Requests from another core: executed in windows like a client's, answered in one message.
    pub(super) fn requests(&mut self, from: usize, frames: Vec<u8>) {
        self.roads.owes(from);
        self.run_requests(from, &frames);
        self.roads.recycle(frames);
    }

    pub(super) fn run_requests(&mut self, from: usize, frames: &[u8]) {
        let (mut rest, mut words) = (frames, Vec::new());
        let mut window: Vec<(RequestHead, usize, usize)> = Vec::new();
        while !rest.is_empty() {
            window.clear();
            words.clear();
            while window.len() < crate::base::limits::WINDOW_REQUESTS {
                let first = words.len();
                let Some(head) = message::pop_request(&mut rest, &mut words) else { break };
                if head.hash != 0 {
                    self.keyspace.prefetch_bucket(usize::from(head.db), head.hash);
                }
                window.push((head, first, words.len()));
            }
            for (head, ..) in window.iter().filter(|(head, ..)| head.hash != 0) {
                self.keyspace.prefetch_record(usize::from(head.db), head.hash);
            }
            for (head, first, end) in &window {
                let args = Args::new(&words[*first..*end]);
                let quiet = self.tx.intents.is_idle() && head.command != self.tx.intend;
                if self.has_script() {
                    // One of them has just begun it.
                    self.frame_waits_for_script(from, head, args);
                } else if quiet || !self.set_aside(from, head, args) {
                    self.answer_frame(from, head, args);
                }
            }
        }
    }

    /// Executes a request of another core; its reply goes back by the road.
    pub(super) fn answer_frame(&mut self, from: usize, head: &RequestHead, args: Args<'_>) {
        let mut replies = std::mem::take(&mut self.roads.replies[from]);
        let &RequestHead { conn, generation, slot, part, wire, .. } = head;
        let start = replies.len();
        let place = (conn, generation, slot, part);
        message::push_reply_by(&mut replies, place, wire, |out| {
            if head.tracks.is_any() {
                self.begin_acting_for(from, head);
            }
            self.stand.may = head.origin == Origin::Client;
            self.execute_for(head, args, out);
            self.stand.may = false;
            if self.stand.standing.is_none() {
                self.tracking.acting = None;
            }
        });
        if self.stand.standing.is_some() && !self.has_script() {
            replies.truncate(start);
            self.suspend_for_road(from, head, args);
        } else if self.effect.take_wait() {
            replies.truncate(start);
            self.wait_with_request(from, head, args);
        } else {
            self.roads.lent[from] += u32::from(wire != 0);
        }
        if wire != 0 && replies.len() > start {
            self.stats.sent(replies.len() - start, 1); // It leaves from here.
        }
        // Those who waited for what it did are answered as well.
        let served = std::mem::replace(&mut self.roads.replies[from], replies);
        self.roads.replies[from].extend_from_slice(&served);
        if self.slow.is_waiting() {
            self.slow_of_other(from, conn, generation);
        }
    }

    fn execute_for(&mut self, head: &RequestHead, args: Args<'_>, out: &mut Vec<u8>) {
        let table = self.shared.table;
        let row = table.row(head.command);
        match row.run {
            // It was let through where it came from, before the role changed.
            Run::Shard(_)
                if head.origin == Origin::Client
                    && self.view.is_read_only()
                    && row.spec.is_write() =>
            {
                ErrorKind::ReadOnly.write_to(out);
            }
            Run::Shard(run) => {
                if head.origin == Origin::Client
                    && self.view.cluster.is_some()
                    && let Err(error) = self.redirect_here(row.spec, args, head.asking)
                {
                    self.stats.failed(&error);
                    return error.write_to(out);
                }
                if self.view.limit.is_set() && row.spec.is_write() && head.origin == Origin::Client
                {
                    self.make_room();
                }
                let &RequestHead { command: number, proto, origin, .. } = head;
                let db = usize::from(head.db);
                self.keyspace.set_no_touch(head.no_touch);
                self.execute(Call { number, run, db, proto, origin }, args, out);
                self.count_part(number, head.part);
            }
            // Sent only by `ask_all`, which names rows of `part.rs`.
            Run::Part(_) | Run::Node(_) => self.execute_part(head, args, out),
        }
    }

    /// Only the first part of a request counts as a call.
    #[inline]
    fn count_part(&mut self, command: u16, part: u32) {
        if part != 0 {
            self.stats.not_called(command);
        }
    }

    /// Replies of another core to requests of this one's clients.
    pub(super) fn replies(
        &mut self,
        from: usize,
        frames: Vec<u8>,
        answered: usize,
        out: &mut Outbox,
    ) {
        self.roads.under_way[from] -= answered;
        self.deliver(&frames, out);
        self.roads.recycle(frames);
        for conn in std::mem::take(&mut self.roads.stalled) {
            self.wake(conn, Stall::Flight);
        }
    }

    /// Each reply of these frames to its slot.
    pub(super) fn deliver(&mut self, mut frames: &[u8], out: &mut Outbox) {
        while let Some(reply) = message::pop_reply(&mut frames) {
            let (conn, generation) = (reply.conn, reply.generation);
            self.arrived(conn, generation, reply.slot, reply.part, reply.bytes, out);
            if reply.wire != 0 {
                out.returned.push(conn);
                if reply.bytes.is_empty() {
                    self.land(conn, out); // Its client was answered: the next request may take it along again.
                }
            }
        }
    }

    /// Must this core be woken when lent sockets come back? Not where their clients were answered and that was all.
    #[must_use]
    pub fn listens_for_returns(&self) -> bool {
        self.roads.followed > 0
            || !self.roads.stalled.is_empty()
            || self.roads.under_way.iter().any(|&away| away >= ROAD_BATCHES_MAX)
    }

    /// More of that connection than the request that has its socket.
    pub(super) fn follows_lent(&mut self, conn: Conn) {
        let flight = self.sessions.get_mut(conn).and_then(|session| session.flight.as_mut());
        if flight.is_some_and(|flight| flight.follow()) {
            self.roads.followed += 1;
        }
    }

    /// A flight is over, or its connection is gone.
    pub(super) fn no_longer_follows(&mut self, flight: &Flight) {
        if flight.is_followed() {
            self.roads.followed -= 1;
        }
    }

    /// One reply has come back: into its slot, and out what is in turn.
    pub(super) fn arrived(
        &mut self,
        conn: Conn,
        generation: u32,
        slot: u32,
        part: u32,
        reply: &[u8],
        out: &mut Outbox,
    ) {
        if conn == crate::node::following::LINK {
            return self.applied(reply, out);
        }
        let Some(session) = self.sessions.same(conn, generation) else { return };
        let proto = session.proto;
        let Some(flight) = session.flight.as_mut() else { return };
        if let Some(gathering) = flight.arrive(slot, part as usize, reply) {
            let from = Return { core: self.id, conn, generation, slot, part: 0 };
            if self.goes_on_elsewhere(from, &gathering, out) {
                return;
            }
            let mut combined = Vec::new();
            self.combine(&gathering, proto, &mut combined);
            self.answer(conn, generation, slot, &combined);
            return;
        }
        self.landed(conn);
    }

    /// Answers a slot that waits, and sends what is in turn.
    pub(super) fn answer(&mut self, conn: Conn, generation: u32, slot: u32, reply: &[u8]) {
        let Some(session) = self.sessions.same(conn, generation) else { return };
        let Some(flight) = session.flight.as_mut() else { return };
        flight.answer(slot, reply);
        self.landed(conn);
    }

    /// A reply is in: what waits behind it may go on, and at the turn's end replies leave.
    fn landed(&mut self, conn: Conn) {
        self.roads.lands(conn);
        self.unblocked_by_reply(conn);
        let flight = self.sessions.get(conn).and_then(|session| session.flight.as_ref());
        if flight.is_none_or(|flight| !flight.is_piecewise()) {
            self.wake(conn, Stall::Flight);
        }
    }

    /// At the end of a turn: sends the replies that are in turn.
    pub(super) fn land_all(&mut self, out: &mut Outbox) {
        let mut landing = std::mem::take(&mut self.roads.landing);
        landing.drain(..).for_each(|conn| self.land(conn, out));
        if self.roads.landing.is_empty() {
            self.roads.landing = landing; // Its memory is used again.
        }
    }

    /// Sends the replies that are in turn, unless more of the pipeline is under way or about to run;
    /// with the last one the flight is over.
    fn land(&mut self, conn: Conn, out: &mut Outbox) {
        if self.view.answers_wait_for_disk() {
            self.roads.keeping.push(conn);
        }
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let Some(flight) = session.flight.as_mut() else { return };
        let goes_on = session.stall == Stall::Running
            && !flight.is_piecewise()
            && matches!(session.input.as_deref(), Some(Waiting::Stalled(..)));
        if flight.holds() || goes_on && flight.is_short() {
            return;
        }
        flight.emit(out.to(conn));
        if flight.is_over() {
            session.next_slot = flight.next_number();
            if let Some(rare) = session.rare.as_mut() {
                rare.blocked = false;
            }
            if let Some(flight) = session.flight.take() {
                self.roads.followed -= usize::from(flight.is_followed());
                if self.roads.flights.len() < SPARE_BUFFERS_MAX {
                    self.roads.flights.push(flight);
                }
            }
        }
        if session.flight.is_none() && session.is_executing() && !self.exec_waits_for_script(conn) {
            self.go_on_with_exec(conn, out);
        }
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let doomed = session.doomed && session.flight.is_none();
        if doomed || session.ending && session.flight.is_none() && session.input.is_none() {
            self.hang_up(conn, out);
            return;
        }
        if session.flight.is_none() {
            self.wake(conn, Stall::Flight);
        }
    }

    /// Answers that stay in flights, behind those of other cores, may tell of what this turn wrote.
    pub(super) fn note_kept_answers(&mut self) {
        let ticket = self.roads.wrote;
        let mut keeping = std::mem::take(&mut self.roads.keeping);
        for conn in keeping.drain(..) {
            let session = self.sessions.get_mut(conn);
            if let Some(flight) = session.and_then(|session| session.flight.as_mut()) {
                flight.depends_on(ticket);
            }
        }
        self.roads.keeping = keeping; // Its memory is used again.
    }

    /// Sends this turn's requests and replies, or holds the replies until the stream is ahead.
    pub(super) fn send_frames(&mut self, out: &mut Outbox) {
        for core in 0..self.cores {
            let roads = &mut self.roads;
            if !roads.requests[core].is_empty() && roads.under_way[core] < ROAD_BATCHES_MAX {
                let empty = roads.spare.pop().unwrap_or_default();
                let frames = std::mem::replace(&mut roads.requests[core], empty);
                roads.under_way[core] += 1;
                out.mail[core].push(Message::Requests(frames));
            }
        }
        let mut mail = Vec::new();
        for core in 0..self.cores {
            let answered = std::mem::take(&mut self.roads.owed[core]);
            if answered > 0 || !self.roads.replies[core].is_empty() {
                let empty = self.roads.spare.pop().unwrap_or_default();
                let frames = std::mem::replace(&mut self.roads.replies[core], empty);
                let lent = std::mem::take(&mut self.roads.lent[core]);
                mail.push((core, Message::Replies { frames, answered, lent }));
            }
        }
        if self.log.is_active() && (self.roads.wrote > self.roads.streamed) {
            self.hold(mail, out);
        } else if self.roads.held.is_empty() {
            for (core, message) in mail {
                out.mail[core].push(message);
            }
        } else {
            self.hold(mail, out);
        }
        self.release(out);
    }

    /// Keeps everything that this turn answered.
    fn hold(&mut self, mail: Vec<(usize, Message)>, out: &mut Outbox) {
        let segments: Vec<(Segment, u32)> = out
            .segments()
            .iter()
            .map(|it| (*it, self.sessions.get(it.conn).map_or(0, |session| session.generation)))
            .collect();
        if segments.is_empty() && mail.is_empty() {
            return;
        }
        let bytes = std::mem::take(&mut out.bytes);
        out.clear_segments();
        let ticket = self.roads.wrote;
        let mut closing = Vec::new();
        out.actions.retain(|action| match action {
            Action::Close(conn) if self.sessions.get(*conn).is_some() => {
                closing.push(*conn);
                false
            }
            _ => true,
        });
        self.roads.held.push_back(HeldTurn { ticket, bytes, segments, mail, closing });
    }

    /// Sends what waited for tickets that are with the replicas by now.
    fn release(&mut self, out: &mut Outbox) {
        let active = self.log.is_active();
        let streamed = self.roads.streamed;
        while let Some(turn) = self.roads.held.pop_front_if(|it| !active || it.ticket <= streamed) {
            if turn.ticket <= self.roads.lost {
                self.drop_answers(turn, out);
                continue;
            }
            let base = out.lend(&turn.bytes);
            for (segment, generation) in turn.segments {
                if self.sessions.same(segment.conn, generation).is_some() {
                    out.share(segment.conn, base + segment.start..base + segment.end);
                }
            }
            for (core, message) in turn.mail {
                out.mail[core].push(message);
            }
            let open = |conn: &Conn| self.sessions.get(*conn).is_some_and(|it| it.closing);
            out.actions.extend(turn.closing.into_iter().filter(open).map(Action::Close));
        }
    }

    /// Answers to writes that could not be synced: whoever waits for one loses his connection, since nobody
    /// knows whether the write will be there after a restart.
    fn drop_answers(&mut self, turn: HeldTurn, out: &mut Outbox) {
        for (segment, generation) in turn.segments {
            if let Some(session) = self.sessions.same(segment.conn, generation)
                && !session.closing
            {
                session.closing = true;
                out.actions.push(Action::CloseNow(segment.conn));
            }
        }
        for (core, message) in turn.mail {
            out.mail[core].push(match message {
                Message::Replies { frames, answered, lent } => {
                    let (mut rest, mut frames_now) = (&frames[..], Vec::new());
                    while let Some(reply) = message::pop_reply(&mut rest) {
                        let place = (reply.conn, reply.generation, reply.slot, reply.part);
                        message::push_reply_by(&mut frames_now, place, reply.wire, |out| {
                            ErrorKind::NotSynced.write_to(out);
                        });
                    }
                    Message::Replies { frames: frames_now, answered, lent }
                }
                other => other,
            });
        }
    }

    /// What was answered up to `ticket` may not be on disk.
    pub(super) fn lost(&mut self, ticket: u64, out: &mut Outbox) {
        self.roads.lost = self.roads.lost.max(ticket);
        // Answers that wait for those of other cores before them are in no turn yet.
        let streamed = self.roads.streamed;
        let waits = |session: &Session| {
            let flight = session.flight.as_ref();
            !session.closing && flight.is_some_and(|it| it.tells_of_more_than(streamed))
        };
        let conns: Vec<Conn> =
            self.sessions.iter().filter(|it| waits(it.1)).map(|it| it.0).collect();
        for conn in conns {
            if let Some(session) = self.sessions.get_mut(conn) {
                session.closing = true;
                out.actions.push(Action::CloseNow(conn));
            }
        }
    }

    /// Everything up to `ticket` is with the replicas, and synced where that is asked for.
    pub(super) fn streamed(&mut self, ticket: u64) {
        self.roads.streamed = self.roads.streamed.max(ticket);
    }
}
