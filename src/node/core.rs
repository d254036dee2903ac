//! One core: its sessions, its shard, its roads to the other cores, and one turn of its loop.
//!
//! ```text
//!   Input::Received -> stage (parse, look the command up, hash, prefetch)     up to 64 requests: a window
//!                   -> run   (gate, route, execute here or send to its core)  in the order of arrival
//!                   -> seal  (one ticket for all that the turn wrote)         before any reply leaves
//! ```
//!
//! `turn` is the only way in, and does no I/O: what must be done outside stands in the [`Outbox`].
//! The sessions' side of a request is in `client.rs`, the ways between cores are in `route.rs`, what
//! core 0 owns besides is in `control.rs`.
//!
//! The trap: running a request may stall its session (it must wait for another core, say). Then
//! everything of that session from this request on is kept and staged again later, including what
//! was staged already behind it.

use crate::acl::log::RefusalLog;
use crate::base::prng::Prng;
use crate::base::time::{Mono, Now};
use crate::cluster::moves::News;
use crate::engine::effect::Effect;
use crate::engine::expire::ExpireCycle;
use crate::engine::keyspace::Keyspace;
use crate::engine::reach::{Reach, Share};
use crate::engine::slot_counts::{SlotCounter, SlotCounts};
use crate::node::busy::{Stand, Suspended};
use crate::node::certificates::Unusable;
use crate::node::control::Control;
use crate::node::exporting::Export;
use crate::node::host::Host;
use crate::node::message::{Message, Wire};
use crate::node::migrate::Migrated;
use crate::node::monitor::Monitors;
use crate::node::outbox::{Action, Conn, Level, Outbox};
use crate::node::pauses::Pauses;
use crate::node::publish::{Heard, Listeners};
use crate::node::pubsub::PubSub;
use crate::node::section::Frozen;
use crate::node::session::{Ends, Session, Sessions};
use crate::node::settings::Settings;
use crate::node::slow::Slow;
use crate::node::stats::Stats;
use crate::node::table::Table;
use crate::node::texts::TextRead;
use crate::node::tracking::{Trackers, Tracking};
use crate::node::view::View;
use crate::node::walker::Walker;
use crate::replication::log::Log;
use crate::script::scripts::Scripting;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What happens to a core. Bytes are borrowed from the kernel's buffers for the turn.
#[derive(Debug)]
pub enum Input<'a> {
    /// A client connected; on core 0 it may be sent on to another core.
    Opened {
        conn: Conn,
        ends: Ends,
    },
    /// A client came by a door for administration.
    Admitted {
        conn: Conn,
        ends: Ends,
    },
    /// A connection arrived here from another core, with its session.
    Moved {
        conn: Conn,
        session: Box<Session>,
    },
    /// The common name in the certificate that a client has shown; comes right behind `Opened`.
    Certified {
        conn: Conn,
        name: Vec<u8>,
    },
    /// `wire`: its socket, where another core may send the reply by it (`message.rs`), else 0.
    Received {
        conn: Conn,
        bytes: &'a [u8],
        wire: Wire,
    },
    /// The peer is gone. The outside closes the connection by itself.
    Ended {
        conn: Conn,
    },
    /// The peer takes its output slowly: so many bytes wait in the outside's copy.
    Backlog {
        conn: Conn,
        bytes: usize,
    },
    /// All waiting output of the connection is sent, or it can be written to again.
    Drained {
        conn: Conn,
    },
    Message {
        from: usize,
        message: Message,
    },
    /// Core 0: the connect asked for by `Action::Dial` was decided.
    Dialled {
        result: Result<(Conn, Ends), String>,
    },
    /// The connect asked for by `Action::DialFlow` was decided.
    FlowDialled {
        number: u64,
        result: Result<(Conn, Ends), String>,
    },
    /// What became of a migration.
    Migrated {
        number: u64,
        migrated: Migrated,
    },
    /// Core 0: what became of reading or writing the RDB file.
    File(FileEvent),
    /// Core 0: the mind of a cluster's node said something.
    Bus(crate::node::cluster::FromBus),
    /// Core 0: a signal asks for an orderly end; SIGINT, or else SIGTERM.
    Terminate {
        interrupt: bool,
    },
}

/// What the outside says of the RDB file.
#[derive(Debug)]
pub enum FileEvent {
    /// The next bytes of the file being loaded; empty: there are no more.
    Read(Vec<u8>),
    /// There is no file to load.
    Absent,
    ReadFailed(String),
    /// A save step was done.
    Saved,
    SaveFailed(String),
    /// A step of the append-only file was done, or not.
    Aof(crate::node::aof::Answer),
    Spilled(crate::node::spilling::Spilled),
    /// Keys and certificates were read (`Action::Certificates`): new connections begin with them, or it
    /// says why not.
    Certificates(Result<(), Unusable>),
    /// A small file was read or replaced (`Action::Text`).
    Text(TextRead),
}

/// The same for every core of a process; handed to [`Core::new`].
#[derive(Clone, Debug)]
pub struct Shared {
    /// The last ticket taken by any core.
    pub tickets: Arc<AtomicU64>,
    /// Clients connected to any core, and the last number given to one.
    pub clients: Arc<AtomicUsize>,
    /// The last number drawn for a transaction over several cores.
    pub transactions: Arc<AtomicU64>,
    pub client_ids: Arc<AtomicU64>,
    /// Which cores have clients that track keys.
    pub trackers: Arc<Trackers>,
    /// Which cores have clients that listen to channels.
    pub listeners: Arc<Listeners>,
    pub table: &'static Table,
    /// Nanoseconds from some instant on: measures, and decides nothing.
    pub stopwatch: fn() -> u64,
    /// The number of the next slow request.
    pub slow_ids: Arc<AtomicU64>,
    /// How many keys each slot has, in a cluster.
    pub slots: Arc<SlotCounts>,
    pub host: Arc<Host>,
}

/// See the file's header.
pub struct Core {
    pub(super) id: usize,
    pub(super) cores: usize,
    pub(super) now: Now,
    pub(super) sessions: Sessions,
    pub(super) keyspace: Keyspace,
    pub(super) view: Box<View>,
    pub(super) shared: Shared,
    pub(super) log: Log,
    pub(super) effect: Effect,
    pub(super) prng: Prng,
    pub(super) stats: Stats,
    pub(super) expire: ExpireCycle,
    pub(super) walker: Walker,
    pub(super) export: Option<Box<Export>>,
    /// What is to be told of it, and batches so far.
    pub(super) exported: Vec<(u64, News)>,
    pub(super) batches: u64,
    pub(super) pauses: Pauses,
    pub(super) frozen: Frozen,
    pub(super) pubsub: PubSub,
    pub(super) heard: Heard,
    pub(super) tracking: Tracking,
    pub(super) slow: Slow,
    pub(super) monitors: Monitors,
    pub(super) scripting: Box<Scripting>,
    /// A script that stands still, and what waits for its end.
    pub(super) script: Option<Box<Suspended>>,
    pub(super) stand: Stand,
    /// Some core has a script of which clients are told.
    pub(super) busy_somewhere: bool,
    /// Whose script is about to run, where its connection is here: by its rights the script's commands run.
    pub(super) caller: Option<Conn>,
    /// What scripts of this turn had to say.
    pub(super) script_logs: Vec<(Level, String)>,
    /// Who was refused what, and how often anybody was.
    pub(super) refused: RefusalLog,
    pub(super) refusals: u64,
    /// Hashes made for passwords of ACL GENPASS.
    pub(super) generated: u64,
    pub(super) roads: crate::node::route::Roads,
    pub(super) flow_links: crate::node::flow_link::FlowLinks,
    pub(super) tx: crate::node::transactions::Transactions,
    /// Who waits for this core's keys, and which clients of this core wait for any.
    pub(super) waiting: crate::node::waiting::Waiting,
    pub(super) blocked: crate::node::blocked::Blocked,
    /// What a transaction did so far, while one runs.
    pub(super) unit: Option<crate::node::mail::UnitLog>,
    /// Sessions that go on at the next turn.
    pub(super) runnable: Vec<Conn>,
    /// Sessions that go to core 0 once their replies have left.
    pub(super) moving: Vec<Conn>,
    /// Killed in this turn, to be closed at its end.
    pub(super) killed: Vec<Conn>,
    /// Windows run so far, and how many had been when this turn began.
    pub(super) serial: u32,
    pub(super) began: u32,
    pub(super) sweep: crate::node::sweep::Sweep,
    /// The last report that this core had its part in.
    pub(super) reported: u64,
    pub(super) weights: crate::node::client_memory::Weights,
    pub(super) lists: crate::node::listing::Lists,
    /// Where the search for keys of a slot goes on.
    pub(super) slot_search: (u16, u64),
    pub(super) scratch: Vec<u8>,
    /// What a session that goes on had kept, while it runs.
    pub(super) resumed: Bytes,
    /// Something waits to be freed.
    collects: bool,
    /// Changes since core 0 was last told.
    pub(super) changes: u64,
    /// What the keys took when the host was last told.
    pub(super) told_bytes: u64,
    pub(super) next_expiry: Mono,
    pub(super) expire_pressed: bool,
    /// `DEBUG SET-ACTIVE-EXPIRE`
    pub(super) expires_actively: bool,
    pub(super) next_tick: Now,
    /// On core 0 only: what concerns the whole node.
    pub(super) control: Option<Box<Control>>,
}

/// Milliseconds between two ticks: Redis' default `hz 10`.
pub const TICK_MS: u64 = 100;

impl Core {
    /// Core `id` of `cores`, with an empty shard. Core 0 also gets the node's control.
    #[must_use]
    pub fn new(id: usize, cores: usize, view: View, shared: Shared, seed: u64, now: Now) -> Self {
        let mut prng = Prng::new(seed ^ (id as u64) << 32);
        let keyspace = Self::shard(id, cores, &view, &shared, seed);
        let control = (id == 0).then(|| Box::new(Control::new(cores, &view, &mut prng, now)));
        let commands = shared.table.len();
        let slow = Slow::new(shared.table, &view.settings);
        let intend = shared.table.part("intend");
        let mut effect = Effect::default();
        effect.set_unlinks_expired(view.settings.lazyfree_lazy_expire);
        Self {
            id,
            cores,
            now,
            sessions: Sessions::default(),
            keyspace,
            view: Box::new(view),
            shared,
            log: Log::new(false),
            effect,
            prng,
            stats: Stats::new(commands),
            expire: ExpireCycle::default(),
            walker: Walker::default(),
            export: None,
            exported: Vec::new(),
            batches: 0,
            pauses: Pauses::default(),
            frozen: Frozen::default(),
            pubsub: PubSub::default(),
            heard: Heard::default(),
            tracking: Tracking::default(),
            slow,
            monitors: Monitors::default(),
            scripting: Box::default(),
            script: None,
            stand: Stand::default(),
            busy_somewhere: false,
            caller: None,
            script_logs: Vec::new(),
            refused: RefusalLog::default(),
            refusals: 0,
            generated: 0,
            roads: crate::node::route::Roads::new(cores),
            flow_links: crate::node::flow_link::FlowLinks::default(),
            tx: crate::node::transactions::Transactions::new(cores, intend),
            waiting: crate::node::waiting::Waiting::default(),
            blocked: crate::node::blocked::Blocked::default(),
            unit: None,
            runnable: Vec::new(),
            moving: Vec::new(),
            killed: Vec::new(),
            serial: 1, // Sessions begin with 0: staged in no window of this turn.
            began: 1,
            sweep: crate::node::sweep::Sweep::default(),
            reported: 0,
            weights: crate::node::client_memory::Weights::default(),
            lists: crate::node::listing::Lists::default(),
            slot_search: (0, 0),
            scratch: Vec::new(),
            resumed: Bytes::new(),
            collects: false,
            changes: 0,
            told_bytes: 0,
            next_expiry: now.mono,
            expire_pressed: false,
            expires_actively: true,
            next_tick: now,
            control,
        }
    }

    /// The empty shard of core `id`; keys have the same hashes on all cores.
    fn shard(id: usize, cores: usize, view: &View, shared: &Shared, seed: u64) -> Keyspace {
        let hash_seed = {
            let mut same = Prng::new(seed);
            [same.next_u64(), same.next_u64(), same.next_u64(), same.next_u64()]
        };
        let mut keyspace = Keyspace::new(view.settings.databases as usize, hash_seed);
        if cores > 1 {
            keyspace.reach = Reach::new(Share::Core { id, cores });
        }
        view.tune(&mut keyspace);
        if view.settings.cluster_enabled {
            let own = Self::own_slots(id, cores);
            keyspace.count_slots(SlotCounter::new(Arc::clone(&shared.slots), own));
        }
        keyspace
    }

    /// One turn: everything that happened since the last one.
    pub fn turn(&mut self, now: Now, inputs: &mut Vec<Input<'_>>, out: &mut Outbox) {
        self.now = now;
        self.stats.begin(now);
        self.began = self.serial;
        self.note_changes_if_tracked();
        self.look_at_board();
        let mut window = self.open_window();
        for input in inputs.drain(..) {
            match input {
                Input::Received { conn, bytes, wire } => {
                    self.receive(conn, bytes, wire, &mut window, out);
                }
                other => {
                    self.run_window(&mut window, out);
                    self.happened(other, out);
                }
            }
        }
        self.run_window(&mut window, out);
        self.close_window(window);
        if !self.runnable.is_empty() {
            self.run_runnable(out);
        }
        if self.has_script() {
            self.attend(out);
        }
        if now.mono >= self.next_tick.mono {
            self.next_tick.mono = now.mono.plus_ms(TICK_MS);
            self.tick(out);
        }
        self.end_late_waits();
        self.background(out);
        self.finish(out);
        let bytes = out.segments().iter().map(|it| it.end - it.start).sum();
        self.stats.sent(bytes, out.segments().len());
    }

    /// The first thing that happens: core 0 loads the file.
    pub fn begin(&mut self, now: Now, out: &mut Outbox) {
        self.now = now;
        self.with_control(out, |control, cx| control.start(cx));
    }

    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.view.settings)
    }

    #[must_use]
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// Is there work that needs no input, so that the core must not sleep?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.runnable.is_empty()
            || self.has_script()
            || self.walker.has_work()
            || self.export.as_ref().is_some_and(|it| it.has_work())
            || self.roads.has_unsent()
            || self.roads.has_landing()
            || self.collects
            || self.sweep.has_work()
            || self.lists.has_work()
    }

    /// Milliseconds until the core wants a turn even if nothing happens.
    #[must_use]
    pub fn sleep_ms(&self) -> u64 {
        let until = |at: Mono| at.ms_since(self.now.mono);
        let deadline = self.blocked.next_deadline().map_or(TICK_MS, until);
        let ack = self.control.as_ref().and_then(|it| it.following.replica.ack_due());
        let deadline = deadline.min(ack.map_or(TICK_MS, until));
        until(self.next_tick.mono).min(deadline).clamp(1, TICK_MS)
    }

    /// Does anybody watch all requests?
    #[must_use]
    pub fn is_watched(&self) -> bool {
        !self.view.watching.is_empty()
    }

    /// The shard's keyspace, for whoever checks it from outside (the simulator, digests).
    pub fn keyspace_mut(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    /// The turn took so long: shared out over the commands that it ran.
    pub fn charge(&mut self, nanoseconds: u64) {
        let slow = &mut self.slow;
        self.stats.charge(nanoseconds, |number, share, calls| slow.record(number, share, calls));
    }

    fn happened(&mut self, input: Input<'_>, out: &mut Outbox) {
        match input {
            Input::Opened { conn, ends } => self.opened(conn, ends, false, out),
            Input::Admitted { conn, ends } => self.opened(conn, ends, true, out),
            Input::Certified { conn, name } => self.certified(conn, &name, out),
            Input::Moved { conn, session } => self.moved(conn, *session, out),
            Input::Received { .. } => {}
            Input::Ended { conn } => self.ended(conn, out),
            Input::Backlog { conn, bytes } => self.output_waits(conn, bytes, out),
            Input::Drained { conn } => self.drained(conn, out),
            Input::Message { from, message } => self.message(from, message, out),
            Input::Dialled { result } => self.with_control(out, |it, cx| it.dialled(cx, result)),
            Input::Migrated { number, migrated } => {
                if let Some(migrated) = self.migrated_later(number, migrated) {
                    self.migrated(number, &migrated, out);
                }
            }
            Input::FlowDialled { number, result } => self.flow_dialled(number, result, out),
            Input::File(event) => self.with_control(out, |it, cx| it.file(cx, event)),
            Input::Bus(said) => self.with_control(out, |it, cx| it.heard_of_bus(cx, said)),
            Input::Terminate { interrupt } => {
                self.with_control(out, |it, cx| it.terminate(cx, interrupt));
            }
        }
    }

    /// Ten times a second: time-outs, active expiry, periodic work of the node.
    fn tick(&mut self, out: &mut Outbox) {
        self.stats.tick(self.now);
        self.tell_bytes();
        self.tell_client_bytes();
        self.evict_light_clients(out);
        self.ask_for_sweep();
        self.unpause(out);
        self.report_changes(out);
        self.retry_stuck(out);
        self.report_watchers(out);
        self.report_figures(out);
        self.with_control(out, |control, cx| control.tick(cx));
    }

    /// What is done in slices between requests: expiry, the snapshot's walk, freeing.
    fn background(&mut self, out: &mut Outbox) {
        self.sweep_some(out);
        if self.view.client_bytes_max > 0 {
            self.evict_clients(out);
        }
        let stands = self.has_script();
        if !self.frozen.is_frozen() && !stands && self.expires_actively {
            self.expire_some();
        }
        if self.view.limit.is_set() && !stands {
            self.tell_bytes();
            self.make_room();
        }
        self.collects = self.keyspace.collect(crate::base::limits::COLLECT_RECORDS_PER_TURN);
        // Not before the section of the cut is over: core 0 does not expect chunks before that.
        if !self.frozen.is_frozen() {
            self.walk_some(out);
            self.export_some(out);
        }
    }

    /// Seals what the turn wrote under one ticket, and hands over all mail.
    pub(super) fn finish(&mut self, out: &mut Outbox) {
        self.run_kept_requests();
        for (level, text) in self.script_logs.drain(..) {
            out.actions.push(Action::Log { level, text });
        }
        self.proceed(out);
        self.land_all(out);
        self.proceed(out); // What an EXEC that went on has asked for.
        self.tell_all_changes();
        self.deliver_heard(out);
        self.tell_slow(out);
        self.send_lines(out);
        self.seal(out);
        self.note_kept_answers();
        self.close_killed(out);
        self.send_notes(out);
        self.send_frames(out);
        self.go_on_with_lists(out);
        self.move_sessions(out);
        self.with_control(out, |control, cx| control.end_of_turn(cx));
    }

    /// After executing and before any reply leaves: so real time implies ticket order.
    pub(super) fn seal(&mut self, out: &mut Outbox) {
        if self.log.is_empty() {
            return;
        }
        if !self.view.is_replica() {
            self.shared.host.record.wrote(self.now.wall);
        }
        let ticket = self.shared.tickets.fetch_add(1, Ordering::AcqRel) + 1;
        let mut batch = self.log.seal(ticket);
        batch.core = self.id;
        if self.id == 0 {
            self.roads.wrote(ticket);
            self.with_control(out, |control, cx| control.effects(cx, batch));
        } else {
            self.roads.wrote(ticket);
            out.mail[0].push(Message::Effects(batch));
        }
    }

    pub(super) fn say(&self, out: &mut Outbox, level: Level, text: impl Into<String>) {
        out.actions.push(Action::Log { level, text: text.into() });
    }
}
