//! Scripts that take long: their core goes on with its loop, and nobody waits without being told.
//!
//! A script that is a request of its own stands still after a millisecond or so of its turn (`LUA_SLICES_PER_TURN`),
//! and goes on with the next one. It is one command all the same: until its end nothing else is executed on
//! this core. Clients that want something of this core stall, requests and messages of other cores
//! that would touch its keys wait, and so does the stream of our master. After `busy-reply-threshold` they are
//! answered `-BUSY` instead, on every core, where what they ask for concerns this core or the whole node; who
//! asks for keys of other cores is served as ever.
//!
//! What all cores must know of it stands on the [`Board`]: who is busy, whether it has written, and that it is
//! to be ended. SCRIPT KILL writes there, from wherever it comes, and the script's core looks there at each turn.
//!
//! ```text
//!   execute -> stands still: Suspended { request, place of its answer }     the turn goes on
//!   each turn: attend -> execute again, which goes on where the script stood
//!   at its end: the answer goes to its place, what waited is done in its order
//! ```
//!
//! Not here: scripts within MULTI and those over keys of several cores, which are part of a transaction and
//! run to their end in one turn (`scripts.rs`).
//!
//! The trap: while a script stands still the core's effect is the script's, half done. `settle` leaves it alone.

use crate::base::limits::CORES_MAX;
use crate::base::time::Mono;
use crate::command::args::Args;
use crate::command::keys;
use crate::command::spec::{Flags, Hop};
use crate::node::client::Call;
use crate::node::core::Core;
use crate::node::message::{self, Message, Origin, RequestHead, Tracks};
use crate::node::migrate::Migrated;
use crate::node::outbox::{Conn, Level, Outbox};
use crate::node::scripts::Standing;
use crate::node::session::Stall;
use crate::node::table::{Row, Run};
use crate::node::tracking::Reader;
use crate::resp::error::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bit for each core.
#[derive(Debug, Default)]
struct Bits([AtomicU64; CORES_MAX / 64]);

impl Bits {
    fn set(&self, core: usize, on: bool) {
        let Some(bits) = self.0.get(core / 64) else { return };
        let bit = 1 << (core % 64);
        if on {
            bits.fetch_or(bit, Ordering::AcqRel);
        } else {
            bits.fetch_and(!bit, Ordering::AcqRel);
        }
    }

    fn has(&self, core: usize) -> bool {
        self.0.get(core / 64).is_some_and(|it| it.load(Ordering::Acquire) >> (core % 64) & 1 == 1)
    }

    fn any(&self) -> bool {
        self.0.iter().any(|it| it.load(Ordering::Acquire) != 0)
    }
}

/// Which cores have a script that takes long, for all to see.
#[derive(Debug, Default)]
pub struct Board {
    running: Bits,
    /// It is a function, not an EVAL.
    function: Bits,
    wrote: Bits,
    /// It has taken so long that clients are told.
    busy: Bits,
    /// Somebody wants it ended.
    killed: Bits,
}

impl Board {
    /// Ends what runs and may be ended, by SCRIPT KILL or by FUNCTION KILL.
    ///
    /// # Errors
    /// Why nothing was ended, as Redis says it.
    pub fn kill(&self, cores: usize, evals: bool) -> Result<(), ErrorKind> {
        let mut result = Err(ErrorKind::NotBusy);
        for core in (0..cores).filter(|core| self.running.has(*core)) {
            let why = match (self.wrote.has(core), self.function.has(core), evals) {
                (true, ..) => ErrorKind::Unkillable,
                (_, true, true) => ErrorKind::BusyFunction,
                (_, false, false) => ErrorKind::BusyScript,
                _ => {
                    self.killed.set(core, true);
                    result = Ok(());
                    continue;
                }
            };
            if result.is_err() {
                result = Err(why);
            }
        }
        result
    }

    fn clear(&self, core: usize) {
        for bits in [&self.running, &self.function, &self.wrote, &self.busy, &self.killed] {
            bits.set(core, false);
        }
    }

    /// What a client is told where a core is busy; the first of them speaks.
    fn error(&self, cores: usize) -> ErrorKind {
        match (0..cores).find(|core| self.busy.has(*core)) {
            Some(core) if self.function.has(core) => ErrorKind::BusyFunction,
            _ => ErrorKind::BusyScript,
        }
    }
}

/// How the script that is executed right now may stand still.
#[derive(Debug, Default)]
pub(super) struct Stand {
    /// It is a request of its own.
    pub may: bool,
    /// It stood still before, and goes on.
    pub goes_on: bool,
    /// It stands still: what it keeps.
    pub standing: Option<Standing>,
    /// When it began, where that is measured.
    pub started: Option<u64>,
}

/// Where the answer of a script belongs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Client { conn: Conn, generation: u32, slot: u32, no_touch: bool },
    Road { from: usize, head: RequestHead },
}

/// A script that stands still, and what waits for its end.
pub(super) struct Suspended {
    call: Call,
    words: Vec<Box<[u8]>>,
    place: Place,
    acting: Option<(Reader, Tracks)>,
    began: Mono,
    /// Clients are told BUSY.
    told: bool,
    later: Vec<Later>,
    migrated: Vec<(u64, Migrated)>,
    stalled: Vec<Conn>,
    /// Sessions whose EXEC goes on then.
    execs: Vec<Conn>,
}

enum Later {
    Message(usize, Message),
    /// Requests of another core that was told already how many it gets answered.
    Frames(usize, Vec<u8>),
}

impl Core {
    /// Must nothing be executed on this core now?
    #[inline]
    pub(super) fn has_script(&self) -> bool {
        self.script.is_some()
    }

    /// The script of a client's request stands still: its session waits for the answer.
    pub(super) fn suspend_for_client(&mut self, conn: Conn, call: Call, args: Args<'_>) {
        let Some(session) = self.sessions.get(conn) else { return };
        let (muted, generation, no_touch) =
            (session.is_muted(), session.generation, session.no_touch);
        let slot = self.with_flight(conn, |flight| {
            let slot = flight.depart(None, true, muted);
            flight.set_barrier();
            slot
        });
        let slot = slot.unwrap_or_default();
        self.suspend(Place::Client { conn, generation, slot, no_touch }, call, args);
    }

    /// The script of another core's request stands still.
    pub(super) fn suspend_for_road(&mut self, from: usize, head: &RequestHead, args: Args<'_>) {
        let Run::Shard(run) = self.shared.table.row(head.command).run else { return };
        let &RequestHead { command: number, proto, origin, .. } = head;
        let call = Call { number, run, db: usize::from(head.db), proto, origin };
        self.suspend(Place::Road { from, head: *head }, call, args);
    }

    /// A request of another core came in the message of one that began a script.
    #[cold]
    pub(super) fn frame_waits_for_script(
        &mut self,
        from: usize,
        head: &RequestHead,
        args: Args<'_>,
    ) {
        if let Some(script) = self.script.as_mut() {
            let mut frame = Vec::new();
            message::push_request(&mut frame, head, args.iter());
            script.later.push(Later::Frames(from, frame));
        }
    }

    /// The script that was just executed stands still.
    fn suspend(&mut self, place: Place, call: Call, args: Args<'_>) {
        let function = !self.scripting.machine.run().is_none_or(|run| run.is_eval);
        let board = &self.shared.host.scripts;
        board.function.set(self.id, function);
        board.wrote.set(self.id, self.stand.standing.as_ref().is_some_and(|it| it.wrote()));
        board.running.set(self.id, true);
        self.script = Some(Box::new(Suspended {
            call,
            words: args.iter().map(Into::into).collect(),
            place,
            acting: self.tracking.acting.take(),
            began: self.now.mono,
            told: false,
            later: Vec::new(),
            migrated: Vec::new(),
            stalled: Vec::new(),
            execs: Vec::new(),
        }));
    }

    /// Goes on with the script that stands still, and tells those who wait when it takes too long.
    pub(super) fn attend(&mut self, out: &mut Outbox) {
        let Some(mut script) = self.script.take() else { return };
        let board = &self.shared.host.scripts;
        let wrote = self.stand.standing.as_ref().is_some_and(|it| it.wrote());
        board.wrote.set(self.id, wrote);
        if board.killed.has(self.id) && !wrote {
            let how = if board.function.has(self.id) { "FUNCTION" } else { "SCRIPT" };
            if self
                .scripting
                .machine
                .run()
                .is_some_and(|run| !std::mem::replace(&mut run.killed, true))
            {
                self.say(out, Level::Notice, format!("Lua script killed by user with {how} KILL."));
            }
        }
        let threshold = u64::try_from(self.view.settings.busy_reply_threshold).unwrap_or(0);
        let taken = self.now.mono.ms_since(script.began);
        if threshold > 0 && taken >= threshold && !script.told {
            script.told = true;
            self.tell_busy(&mut script, taken, out);
        }
        self.tracking.acting = script.acting.take();
        let (place, call) = (script.place, script.call);
        let no_touch = match place {
            Place::Client { no_touch, .. } => no_touch,
            Place::Road { head, .. } => head.no_touch,
        };
        self.keyspace.set_no_touch(no_touch);
        let words: Vec<&[u8]> = script.words.iter().map(AsRef::as_ref).collect();
        let mut reply = Vec::new();
        self.stand.may = true;
        self.stand.goes_on = true;
        self.execute(call, Args::new(&words), &mut reply);
        self.stand.may = false;
        self.stand.goes_on = false;
        if self.stand.standing.is_some() {
            script.acting = self.tracking.acting.take();
            self.script = Some(script);
            return;
        }
        self.tracking.acting = None;
        self.end_script(*script, &reply, out);
    }

    /// The answer goes to its place, and all that waited is done in its order.
    fn end_script(&mut self, script: Suspended, reply: &[u8], out: &mut Outbox) {
        self.shared.host.scripts.clear(self.id);
        self.busy_somewhere = self.shared.host.scripts.busy.any();
        match script.place {
            Place::Client { conn, generation, slot, .. } => {
                self.answer(conn, generation, slot, reply);
                if self.slow.is_waiting() {
                    self.slow_of(conn);
                }
            }
            Place::Road { from, head } => {
                self.answer_road(from, &head, |out| out.extend_from_slice(reply));
                if self.slow.is_waiting() {
                    self.slow_of_other(from, head.conn, head.generation);
                }
            }
        }
        for later in script.later {
            match later {
                Later::Message(from, message) => self.message(from, message, out),
                Later::Frames(from, frames) => self.run_requests(from, &frames),
            }
        }
        for (number, migrated) in script.migrated {
            self.migrated(number, &migrated, out);
        }
        script.stalled.into_iter().for_each(|conn| self.wake(conn, Stall::Script));
        script.execs.into_iter().for_each(|conn| self.roads.lands(conn));
        self.with_control(out, |control, cx| control.unblocked(cx));
    }

    /// The reply to a request of another core, which is all that there is to it.
    fn answer_road(&mut self, from: usize, head: &RequestHead, write: impl FnOnce(&mut Vec<u8>)) {
        let &RequestHead { conn, generation, slot, part, wire, .. } = head;
        let place = (conn, generation, slot, part);
        message::push_reply_by(self.roads.replies_to(from), place, wire, write);
        self.roads.lent_back(from, wire);
    }

    /// Clients are told from here on, those that wait at once.
    fn tell_busy(&mut self, script: &mut Suspended, taken: u64, out: &mut Outbox) {
        self.shared.host.scripts.busy.set(self.id, true);
        self.busy_somewhere = true;
        let run = self.scripting.machine.run();
        let (name, is_eval) = run.map_or((String::new(), true), |run| {
            (String::from_utf8_lossy(&run.name).into_owned(), run.is_eval)
        });
        let how = if is_eval { "SCRIPT KILL" } else { "FUNCTION KILL" };
        self.say(
            out,
            Level::Warning,
            format!(
                "Slow script detected: still in execution after {taken} milliseconds. You can try \
                 killing the script using the {how} command. Script name is: {name}."
            ),
        );
        for conn in std::mem::take(&mut script.stalled) {
            self.wake(conn, Stall::Script);
        }
        let mut later = std::mem::take(&mut script.later);
        for it in &mut later {
            match it {
                Later::Message(from, Message::Requests(frames)) => {
                    self.roads.owes(*from);
                    *it = Later::Frames(*from, self.refuse_frames(script.place, *from, frames));
                }
                Later::Frames(from, frames) => {
                    *frames = self.refuse_frames(script.place, *from, frames)
                }
                Later::Message(..) => {}
            }
        }
        script.later = later;
    }

    /// Does a session wait for the end of a script that has not taken too long yet?
    pub(super) fn waits_for_script(&mut self, conn: Conn, row: Option<&Row>, core: usize) -> bool {
        let Some(script) = self.script.as_mut().filter(|it| !it.told) else { return false };
        let elsewhere = |row: &Row| {
            row.spec.flags.has(Flags::ALLOW_BUSY) && row.spec.name != "WATCH"
                || row.spec.hop == Hop::Single && core != self.id
        };
        let waits = !row.is_none_or(elsewhere);
        if waits {
            script.stalled.push(conn);
        }
        waits
    }

    /// While a core is busy: may a client's request run?
    #[cold]
    pub(super) fn may_run_while_busy(&self, row: &Row, args: Args<'_>) -> Result<(), ErrorKind> {
        let board = &self.shared.host.scripts;
        let keys_are_busy = || {
            let mut keys = keys::keys_found(row.spec, args);
            keys.any(|key| board.busy.has(self.owner(args.get(key.at).unwrap_or_default())))
        };
        let concerned = match row.run {
            _ if row.spec.flags.has(Flags::ALLOW_BUSY) => {
                row.spec.name == "WATCH" && keys_are_busy()
            }
            Run::Shard(_) if !self.frozen.is_frozen() => match row.spec.hop {
                Hop::Local => board.busy.has(self.id),
                Hop::All => true,
                _ => keys_are_busy() || keys::first_key(row.spec, args).is_none(),
            },
            _ => true,
        };
        if concerned { Err(board.error(self.cores)) } else { Ok(()) }
    }

    /// SHUTDOWN with a save must wait for scripts, and is told so.
    pub(super) fn nothing_is_busy(&self) -> Result<(), ErrorKind> {
        match self.busy_somewhere {
            true => Err(self.shared.host.scripts.error(self.cores)),
            false => Ok(()),
        }
    }

    /// Looks once a turn whether any core is busy; whoever waits for a section that waits for it is told.
    #[inline]
    pub(super) fn look_at_board(&mut self) {
        let busy = self.shared.host.scripts.busy.any();
        if busy != self.busy_somewhere {
            self.busy_somewhere = busy;
            if busy {
                for conn in self.frozen.take_stalled() {
                    self.wake(conn, Stall::Frozen);
                }
            }
        }
    }

    /// Do all clients wait for the end of a section?
    #[inline]
    pub(super) fn holds_clients(&self) -> bool {
        self.frozen.is_frozen() && !self.busy_somewhere
    }

    /// An EXEC would go on, and may not while a script stands still.
    pub(super) fn exec_waits_for_script(&mut self, conn: Conn) -> bool {
        match self.script.as_mut() {
            Some(script) => {
                script.execs.push(conn);
                true
            }
            None => false,
        }
    }

    /// A migration is over, and its keys may not be touched yet.
    pub(super) fn migrated_later(&mut self, number: u64, migrated: Migrated) -> Option<Migrated> {
        match self.script.as_mut() {
            Some(script) => {
                script.migrated.push((number, migrated));
                None
            }
            None => Some(migrated),
        }
    }

    /// What another core says while a script stands still: nothing that touches keys.
    pub(super) fn postpone(&mut self, from: usize, message: Message) -> Option<Message> {
        let script = self.script.as_mut()?;
        match message {
            Message::Replies { .. }
            | Message::Answer(_)
            | Message::Effects(_)
            | Message::Streamed { .. }
            | Message::Frozen
            | Message::Stepped(_)
            | Message::Taken(_)
            | Message::Ask { .. }
            | Message::Lines(_)
            | Message::List(_)
            | Message::Unwatched
            | Message::Slow { .. }
            | Message::Pause(_)
            | Message::Chunk { .. }
            | Message::ChunkTaken
            | Message::Bus(_)
            | Message::Changes(_) => Some(message),
            Message::Requests(frames) if script.told => {
                let place = script.place;
                self.roads.owes(from);
                let left = self.refuse_frames(place, from, &frames);
                if let Some(script) = self.script.as_mut() {
                    script.later.push(Later::Frames(from, left));
                }
                None
            }
            // A full sync takes away what it reads.
            Message::Empty => {
                script.later.push(Later::Message(from, message));
                if let Some(run) = self.scripting.machine.run() {
                    run.killed = true;
                }
                None
            }
            _ => {
                script.later.push(Later::Message(from, message));
                None
            }
        }
    }

    /// Answers BUSY to what clients of another core want of this core's keys. What is left waits; so does what the
    /// script's own connection has sent behind it.
    fn refuse_frames(&mut self, script: Place, from: usize, frames: &[u8]) -> Vec<u8> {
        let (mut rest, mut words, mut left) = (frames, Vec::new(), Vec::new());
        let exec = self.shared.table.part("exec");
        loop {
            words.clear();
            let Some(head) = message::pop_request(&mut rest, &mut words) else { break };
            let shard = matches!(self.shared.table.row(head.command).run, Run::Shard(_));
            let of_client = head.origin == Origin::Client && (shard || head.command == exec);
            let follows = matches!(script, Place::Road { from: core, head: its }
                if core == from && its.conn == head.conn && its.generation == head.generation);
            if !of_client || follows {
                message::push_request(&mut left, &head, words.iter().copied());
                continue;
            }
            let busy = self.shared.host.scripts.error(self.cores);
            let error = if shard { busy } else { ErrorKind::exec_abort(&busy) };
            self.stats.failed(&error);
            self.answer_road(from, &head, |out| error.write_to(out));
        }
        left
    }

    /// Ends the script that stands still here, for its keys go away now.
    pub(super) fn abort_script(&mut self, out: &mut Outbox) {
        while self.script.is_some() {
            if let Some(run) = self.scripting.machine.run() {
                run.killed = true;
            }
            self.attend(out);
        }
    }
}
