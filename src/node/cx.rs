//! What a node command gets: its core, its connection, and a place for its reply.
//!
//! A node command that needs the other cores or core 0 opens a slot in its connection's flight
//! ([`NodeCx::ask_all`], [`NodeCx::ask`]); its reply then comes later, in its turn.

use crate::command::args::Args;
use crate::node::control::Ask;
use crate::node::core::Core;
use crate::node::flight::{Flight, Gathering};
use crate::node::gather::Summary;
use crate::node::message::{self, Origin, RequestHead, Tracks};
use crate::node::outbox::{Conn, Outbox};
use crate::node::session::Session;
use crate::node::table::Run;
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};

/// A command of the node: writes its reply to `cx.reply`, or asks and is answered later.
pub type NodeFn = fn(&mut NodeCx<'_>, Args<'_>) -> Result<(), ErrorKind>;

/// One core's part of a node command: writes its part of the reply.
pub type PartFn = fn(&mut Core, &PartHead, Args<'_>, &mut Reply<'_>);

/// When the reply of a node command leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Now,
    /// Now, even where CLIENT REPLY says that there shall be none.
    Always,
    Later,
}

/// What a part knows of the request.
#[derive(Clone, Copy, Debug)]
pub struct PartHead {
    pub db: usize,
    pub origin: Origin,
}

/// See the file's header.
pub struct NodeCx<'c> {
    pub core: &'c mut Core,
    pub out: &'c mut Outbox,
    pub conn: Conn,
    pub reply: Reply<'c>,
    /// The reply comes later; what was written to `reply` is dropped.
    pub later: bool,
    /// The reply is a message, which CLIENT REPLY does not hold back.
    always: bool,
}

impl NodeCx<'_> {
    /// The session that sent the command.
    ///
    /// # Panics
    /// Never: a command runs only while its session is open.
    pub fn session(&mut self) -> &mut Session {
        let conn = self.conn;
        self.core.sessions.get_mut(conn).unwrap_or_else(|| panic!("{conn:?} is open"))
    }

    #[must_use]
    pub fn db(&self) -> usize {
        self.core.sessions.get(self.conn).map_or(0, |it| usize::from(it.db))
    }

    /// The reply is sent even where CLIENT REPLY says that there shall be none.
    pub fn answer_always(&mut self) {
        self.always = true;
    }

    /// Runs part `part` with `args` on every core and makes one reply of the answers.
    pub fn ask_all(&mut self, part: &str, args: Args<'_>, summary: Summary) {
        let cores: Vec<usize> = (0..self.core.cores).collect();
        self.ask_cores(&cores, part, args, summary, true);
    }

    /// As `ask_all`, on these cores. What does not write may be under way beside the likes of it.
    pub fn ask_cores(
        &mut self,
        cores: &[usize],
        part: &str,
        args: Args<'_>,
        summary: Summary,
        writes: bool,
    ) {
        let number = self.core.shared.table.part(part);
        let muted = self.session().is_muted();
        let gathering = Gathering { combine: summary, parts: vec![None; cores.len()], muted };
        let slot = self.flight(|flight| flight.depart_split(gathering, writes));
        let mut head = self.head(slot, number);
        let mut here = None;
        for (index, &core) in cores.iter().enumerate() {
            head.part = u32::try_from(index).unwrap_or(u32::MAX);
            if core == self.core.id {
                here = Some(head.part);
            } else {
                message::push_request(self.core.roads.to(core), &head, args.iter());
            }
        }
        if let Some(part) = here {
            let mut reply = Vec::new();
            self.core.execute_part(&head, args, &mut reply);
            self.core.arrived(self.conn, head.generation, slot, part, &reply, self.out);
        }
    }

    /// Runs part `part` with `args` on one core; its reply is the command's.
    pub fn ask_core(&mut self, core: usize, part: &str, args: Args<'_>) {
        let number = self.core.shared.table.part(part);
        let muted = self.session().is_muted();
        let slot = self.flight(|flight| flight.depart(Some(core), true, muted));
        let head = self.head(slot, number);
        if core == self.core.id {
            let mut reply = Vec::new();
            self.core.execute_part(&head, args, &mut reply);
            self.core.arrived(self.conn, head.generation, slot, 0, &reply, self.out);
        } else {
            message::push_request(self.core.roads.to(core), &head, args.iter());
        }
    }

    /// The reply comes by a slot of the flight that is open already.
    pub fn answer_later(&mut self) {
        self.later = true;
    }

    /// Asks core 0 for something about the whole node; it answers in its own time, and until then
    /// nothing else of this connection runs.
    pub fn ask(&mut self, ask: Ask) {
        self.later = true;
        self.core.ask_for(self.conn, ask, self.out);
    }

    fn flight(&mut self, open: impl FnOnce(&mut Flight) -> u32) -> u32 {
        self.later = true;
        self.core.with_flight(self.conn, open).unwrap_or_default()
    }

    fn head(&mut self, slot: u32, command: u16) -> RequestHead {
        let conn = self.conn;
        let session = self.session();
        RequestHead {
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
            tracks: Tracks::default(),
            hash: 0,
            wire: 0,
        }
    }
}

impl Core {
    /// Runs a node command and puts its reply in its place.
    pub(super) fn run_node(
        &mut self,
        conn: Conn,
        number: u16,
        run: NodeFn,
        args: Args<'_>,
        out: &mut Outbox,
    ) {
        let mut buffer = std::mem::take(&mut self.scratch);
        buffer.clear();
        match self.run_node_into(conn, number, run, args, &mut buffer, out) {
            Answer::Now => self.reply(conn, out, |place| place.extend_from_slice(&buffer)),
            Answer::Always => self.push(conn, out, |place| place.extend_from_slice(&buffer)),
            Answer::Later => {}
        }
        self.scratch = buffer;
    }

    /// Runs a node command and appends to `buffer` what it answers now.
    pub(super) fn run_node_into(
        &mut self,
        conn: Conn,
        number: u16,
        run: NodeFn,
        args: Args<'_>,
        buffer: &mut Vec<u8>,
        out: &mut Outbox,
    ) -> Answer {
        let proto = self.sessions.get(conn).map_or(Proto::Resp2, |session| session.proto);
        let start = buffer.len();
        let reply = Reply { out: buffer, proto };
        let mut cx = NodeCx { core: self, out, conn, reply, later: false, always: false };
        let started = cx.core.slow.times(number).then(cx.core.shared.stopwatch);
        let result = run(&mut cx, args);
        let (later, always) = (cx.later, cx.always && result.is_ok());
        self.stats.called(number, result.is_err());
        if let Some(started) = started {
            self.took(number, started, args);
            self.slow_of(conn);
        }
        if let Err(error) = &result {
            buffer.truncate(start);
            self.stats.failed(error);
            error.write_to(buffer);
        }
        match later && result.is_ok() {
            _ if always => Answer::Always,
            true => Answer::Later,
            false => Answer::Now,
        }
    }

    /// Runs this core's part of a node command.
    pub(super) fn execute_part(&mut self, head: &RequestHead, args: Args<'_>, out: &mut Vec<u8>) {
        let Run::Part(run) = self.shared.table.row(head.command).run else { return };
        let part = PartHead { db: usize::from(head.db), origin: head.origin };
        run(self, &part, args, &mut Reply { out, proto: head.proto });
    }
}
