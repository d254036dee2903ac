//! One process: its cores, the roads between them, its sockets by core and connection, its file.
//!
//! What a turn's output becomes is in `drive.rs`.

use std::collections::VecDeque;
use std::sync::Arc;

use ringfold::acl::users::Users;
use ringfold::base::time::{Mono, Now, Wall};
use ringfold::engine::keyspace::Keyspace;
use ringfold::node::core::{Core, Input, Shared};
use ringfold::node::families;
use ringfold::node::message::Message;
use ringfold::node::observe::Observation;
use ringfold::node::outbox::{Conn, Outbox};
use ringfold::node::session::Session;
use ringfold::node::settings::kind::Master;
use ringfold::node::settings::{AppendFsync, ReplFlows, Settings};
use ringfold::node::view::View;
use ringfold::replication::psync::Replid;

use crate::disk::Disk;
use crate::model::State;
use crate::plan::Plan;

pub const EPOCH_US: u64 = 1_700_000_000_000_000;

/// What travels on a road between two cores.
#[derive(Debug)]
pub enum Parcel {
    Message(Message),
    /// A connection just accepted, by link and side.
    Client(usize, usize),
    Session(usize, usize, Box<Session>),
}

/// What waits for a core's next turn.
#[derive(Debug)]
pub enum Pending {
    Input(Input<'static>),
    Bytes(Conn, Vec<u8>),
}

/// A core and its share of the outside.
pub struct Seat {
    pub core: Core,
    pub out: Outbox,
    pub pending: Vec<Pending>,
    /// Link and side of each connection.
    pub conns: Vec<Option<(usize, usize)>>,
    /// Feeds whose socket is full.
    pub blocked: Vec<Conn>,
    /// Connections whose socket other cores may use: their numbers are not used again before they are back.
    pub lent: Vec<Conn>,
    pub wake: Option<u64>,
}

/// See the file's header.
pub struct Host {
    pub incarnation: u64,
    pub alive: bool,
    pub ready: bool,
    pub seats: Vec<Seat>,
    /// `roads[from][to]`.
    pub roads: Vec<Vec<VecDeque<Parcel>>>,
    pub disk: Disk,
    pub next_core: usize,
    pub skew_us: u64,
    /// The newest dial; older ones are given up.
    pub dial: u64,
    pub seen: Option<Observation>,
    /// When its ring began, or was seen first.
    pub ring_since: Option<u64>,
    /// What it acknowledged since it began to be a master, all of it synced: history and length.
    pub promised: Option<(Replid, u64)>,
    /// What it promised before it died must be in what it starts with.
    pub owes: Option<(Replid, u64)>,
    /// Up to where its ring was compared.
    pub looked: Option<(Replid, u64)>,
}

impl Host {
    pub fn new(skew_us: u64) -> Self {
        Self {
            incarnation: 0,
            alive: false,
            ready: false,
            seats: Vec::new(),
            roads: Vec::new(),
            disk: Disk::default(),
            next_core: 0,
            skew_us,
            dial: 0,
            seen: None,
            ring_since: None,
            promised: None,
            owes: None,
            looked: None,
        }
    }

    pub fn now(&self, at: u64) -> Now {
        Now { mono: Mono(at), wall: Wall(EPOCH_US + at / 1_000 + self.skew_us) }
    }

    /// The process starts, following `master` if there is one.
    pub fn start(&mut self, host: usize, at: u64, plan: &Plan, master: Option<usize>) {
        let cores = plan.cores[host];
        self.incarnation += 1;
        let seed = plan.seed.wrapping_mul(31) ^ (host as u64) << 40 ^ self.incarnation << 48;
        let mut settings = Settings::new();
        settings.port = u16::try_from(7_000 + host).unwrap();
        settings.maxclients = 1_000;
        settings.replicas_follow_empty_master = true; // Nobody here tells a master that it may.
        settings.repl_timeout = 4;
        settings.repl_ping_replica_period = 1;
        settings.save = Vec::new();
        settings.repl_backlog_size = 128 * 1024;
        settings.repl_spill_size = 0;
        if plan.spills {
            (settings.repl_backlog_size, settings.repl_backlog_max) = (80 * 1024, 0);
            settings.repl_spill_size = 1 << 20;
        }
        settings.repl_flows = if plan.flows { ReplFlows::Yes } else { ReplFlows::No };
        settings.appendonly = plan.files;
        settings.appendfsync =
            if plan.always { AppendFsync::Always } else { AppendFsync::Everysec };
        settings.aof_use_rdb_preamble = !plan.commands;
        settings.replicaof = master.map(|it| Master { host: name(it), port: 7_000 });
        let users = Arc::new(Users::new(families::table().catalog(), false));
        let view = View::new(Arc::new(settings), users);
        let shared = Shared {
            tickets: Arc::default(),
            clients: Arc::default(),
            client_ids: Arc::default(),
            transactions: Arc::default(),
            trackers: Arc::default(),
            listeners: Arc::default(),
            table: families::table(),
            stopwatch: || 0,
            slow_ids: Arc::default(),
            slots: Arc::default(),
            host: Arc::default(),
        };
        let now = self.now(at);
        self.seats = (0..cores)
            .map(|id| Seat {
                core: Core::new(id, cores, view.clone(), shared.clone(), seed, now),
                out: Outbox::new(cores),
                pending: Vec::new(),
                conns: Vec::new(),
                blocked: Vec::new(),
                lent: Vec::new(),
                wake: None,
            })
            .collect();
        self.roads = (0..cores).map(|_| (0..cores).map(|_| VecDeque::new()).collect()).collect();
        (self.alive, self.ready, self.next_core) = (true, false, 0);
        (self.seen, self.ring_since, self.looked) = (None, None, None);
    }

    /// Gives a link's end the lowest free number of a core, as the kernel gives descriptors.
    pub fn take_conn(&mut self, core: usize, link: usize, side: usize) -> Conn {
        let Seat { conns, lent, .. } = &mut self.seats[core];
        let conn = |at: usize| Conn(u32::try_from(at).unwrap());
        let mut free = (0..).filter(|at| !lent.contains(&conn(*at)));
        let at = free.find(|at| conns.get(*at).is_none_or(Option::is_none)).unwrap();
        conns.resize(conns.len().max(at + 1), None);
        conns[at] = Some((link, side));
        conn(at)
    }

    pub fn link_of(&self, core: usize, conn: Conn) -> Option<(usize, usize)> {
        *self.seats[core].conns.get(conn.0 as usize)?
    }

    /// No message is on any road and no transaction over several cores is under way: what the cores hold
    /// is what the node says of itself.
    pub fn roads_are_empty(&self) -> bool {
        let empty = |it: &Seat| {
            it.core.transactions_at_rest()
                && !it.pending.iter().any(|it| matches!(it, Pending::Input(Input::Message { .. })))
        };
        self.roads.iter().flatten().all(VecDeque::is_empty) && self.seats.iter().all(empty)
    }

    /// All keys of all cores, the expired ones included.
    pub fn dump(&mut self) -> State {
        let mut state = State::new();
        for seat in &mut self.seats {
            dump(seat.core.keyspace_mut(), &mut state);
        }
        state
    }
}

pub fn name(host: usize) -> Vec<u8> {
    format!("h{host}").into_bytes()
}

/// The host of that name.
pub fn named(name: &str) -> usize {
    name[1..].parse().unwrap()
}

fn dump(keyspace: &mut Keyspace, state: &mut State) {
    const PAST: Wall = Wall(0);
    for db in 0..keyspace.databases() {
        let mut keys = Vec::new();
        keyspace.for_each(db, PAST, &mut |key| keys.push(key.to_vec()));
        for name in keys {
            let key = keyspace.hasher().key(&name);
            let expiry = keyspace.expiry(db, key, PAST).flatten();
            let value = keyspace.peek(db, key, PAST).map(|it| it.bytes().to_vec());
            state.insert((db, name), (value.unwrap_or_default(), expiry));
        }
    }
}
