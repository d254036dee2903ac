//! One client connection as its core sees it, and the slab that holds them all.
//!
//! An idle session owns no buffer: a split request, replies that wait for other cores, a name and
//! the like hang off it only while they exist. `const` asserts below hold the row to two cache lines.
//!
//! A session that cannot go on (its next request must wait for another core, the clients are
//! paused, ...) is *stalled*: its bytes wait in `input` until `Core` resumes it.

use crate::base::chunks::Chunks;
use crate::base::time::Now;
use crate::node::flight::Flight;
use crate::node::multi::Multi;
use crate::node::outbox::Conn;
use crate::node::tracking::Modes;
use crate::resp::partial::Partial;
use crate::resp::reply::Proto;
use bytes::Bytes;
use core::net::{SocketAddr, SocketAddrV4};

/// Who connected to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ends {
    /// A Unix socket, or the simulator.
    #[default]
    Local,
    /// Short enough to lie in the session.
    V4(SocketAddrV4, SocketAddrV4),
    Tcp(Box<(SocketAddr, SocketAddr)>),
}

impl Ends {
    /// The ends of a TCP connection: the peer's and ours.
    #[must_use]
    pub fn tcp(peer: SocketAddr, local: SocketAddr) -> Self {
        match (peer, local) {
            (SocketAddr::V4(peer), SocketAddr::V4(local)) => Self::V4(peer, local),
            _ => Self::Tcp(Box::new((peer, local))),
        }
    }

    /// A peer on this host: all of 127/8, `::1`, or a Unix socket.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Local => true,
            Self::V4(peer, _) => peer.ip().is_loopback(),
            Self::Tcp(ends) => ends.0.ip().to_canonical().is_loopback(),
        }
    }

    /// The peer's host as text; empty where it has none.
    #[must_use]
    pub fn peer_host(&self) -> String {
        match self {
            Self::Local => String::new(),
            Self::V4(peer, _) => peer.ip().to_string(),
            Self::Tcp(ends) => ends.0.ip().to_canonical().to_string(),
        }
    }
}

/// Why a session does not go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stall {
    #[default]
    Running,
    /// Its next request waits for replies of other cores.
    Flight,
    /// It wrote enough for this turn.
    NextTurn,
    /// A transaction has a key that its next request needs.
    Locked,
    /// All cores stand still for a section.
    Frozen,
    /// Its core runs a script.
    Script,
    /// `CLIENT PAUSE`.
    Paused,
    /// It is about to move to another core.
    Moving,
}

/// What the replies of a session do (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command is not answered.
    SkipNext,
    /// This command is not answered.
    Skip,
}

/// What kind of connection it is, as `CLIENT LIST TYPE` and `CLIENT KILL TYPE` say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Normal,
    Replica,
    /// Our link to our master.
    Master,
}

/// As `Kind`, with those that listen to channels apart: what has limits and filters of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Of(Kind),
    Pubsub,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct Session {
    pub id: u64,
    pub input: Option<Box<Waiting>>,
    pub flight: Option<Box<Flight>>,
    pub rare: Option<Box<Rare>>,
    pub ends: Ends,
    pub generation: u32,
    pub next_slot: u32,
    /// Seconds since the epoch.
    pub created: u32,
    /// Seconds since the epoch of the last request.
    pub active: u32,
    /// The window that last staged a request of it.
    pub staged_in: u32,
    pub db: u16,
    pub last_command: u16,
    pub proto: Proto,
    pub stall: Stall,
    pub reply_mode: ReplyMode,
    pub kind: Kind,
    pub authenticated: bool,
    /// It is shown what all others ask for (MONITOR).
    pub watches: bool,
    /// Its user may not do everything: each request is looked at (`rights.rs`).
    pub ruled: bool,
    /// The number of its user.
    pub user: u32,
    /// It queues what it sends, since MULTI.
    pub in_multi: bool,
    pub closing: bool,
    /// It came by a door for administration, and takes no public client's place.
    pub admitted: bool,
    /// It is closed when what it runs is answered: it killed itself.
    pub doomed: bool,
    /// The peer is gone or has finished speaking; closed when everything is answered.
    pub ending: bool,
    pub open: bool,
    pub no_evict: bool,
    pub no_touch: bool,
    /// ASKING: its next command may work on a slot that is on its way here.
    pub asking: bool,
    /// READONLY: it reads from a replica.
    pub reads_replica: bool,
    /// It is told of keys that change (`tracking.rs`).
    pub tracks: bool,
    /// It listens to channels (`pubsub.rs` knows which).
    pub subscribed: bool,
    /// Nothing more is received until less of its input waits.
    pub paused: bool,
}

const _: () = assert!(size_of::<Session>() <= 128);

/// Bytes of a session that wait: a request that is not complete, or requests that may not run yet.
#[derive(Debug)]
pub enum Waiting {
    /// Behind the request that is not complete come bytes that arrived while nothing might run.
    Split(Partial, Vec<u8>),
    /// What was left when it stalled, and what has arrived since. The first is a slice of a buffer
    /// that is never copied again: a pipeline may stall at each of its requests.
    Stalled(Bytes, Vec<u8>),
}

impl Waiting {
    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Split(partial, behind) => partial.memory() + behind.len(),
            Self::Stalled(left, since) => left.len() + since.len(),
        }
    }
}

/// `last_command` of a session whose last request named none.
pub const NO_COMMAND: u16 = u16::MAX;

/// May a client, or its library, be called so? What `CLIENT LIST` shows stays one line of words.
#[must_use]
pub fn valid_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

/// What few sessions have.
#[derive(Debug, Default)]
pub struct Rare {
    pub name: Vec<u8>,
    pub lib_name: Vec<u8>,
    pub lib_ver: Vec<u8>,
    /// What it has of MULTI and WATCH.
    pub multi: Option<Box<Multi>>,
    /// How it tracks keys, and how it will once it is found to whom it redirects.
    pub tracking: Option<Box<Modes>>,
    pub tracking_soon: Option<Box<Modes>>,
    /// A WAIT is under way, which CLIENT UNBLOCK may end.
    pub blocked: bool,
    /// Output that the peer has not taken, as last reported, and since when it is over the soft limit.
    pub backlog_bytes: usize,
    pub over_soft_since: Option<u32>,
}

impl Rare {
    fn memory(&self) -> usize {
        let modes = [&self.tracking, &self.tracking_soon].into_iter().flatten();
        let modes = modes.map(|it| {
            let prefixes = it.prefixes.iter().map(|prefix| size_of::<Vec<u8>>() + prefix.len());
            size_of::<Modes>() + prefixes.sum::<usize>()
        });
        let words = self.name.len() + self.lib_name.len() + self.lib_ver.len();
        let multi = self.multi.as_ref().map_or(0, |multi| multi.bytes());
        size_of::<Self>() + words + self.backlog_bytes + multi + modes.sum::<usize>()
    }
}

impl Session {
    /// A session that has just connected.
    #[must_use]
    pub fn new(id: u64, ends: Ends, authenticated: bool, now: Now) -> Self {
        let seconds = seconds(now);
        Self {
            id,
            ends,
            authenticated,
            created: seconds,
            active: seconds,
            last_command: NO_COMMAND,
            open: true,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn class(&self) -> Class {
        match self.kind {
            Kind::Normal if self.subscribed => Class::Pubsub,
            kind => Class::Of(kind),
        }
    }

    /// The rare part, made where there is none.
    pub fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub fn multi_mut(&mut self) -> &mut Multi {
        self.rare_mut().multi.get_or_insert_default()
    }

    /// Is it told of things that it did not ask for with its last request?
    #[must_use]
    pub fn hears_unasked(&self) -> bool {
        self.subscribed || self.watches || self.tracks
    }

    /// Is an EXEC of it not done?
    #[must_use]
    pub fn is_executing(&self) -> bool {
        let multi = self.rare.as_ref().and_then(|rare| rare.multi.as_ref());
        multi.is_some_and(|multi| multi.is_executing())
    }

    pub fn set_name(&mut self, name: &[u8]) {
        if !name.is_empty() || self.rare.is_some() {
            self.rare_mut().name = name.to_vec();
        }
    }

    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.rare.as_ref().map_or(&[], |rare| &rare.name)
    }

    /// May its next request run?
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.stall == Stall::Running && !self.closing && !self.doomed
    }

    /// Does the command being executed now get an answer?
    #[must_use]
    pub fn is_muted(&self) -> bool {
        matches!(self.reply_mode, ReplyMode::Off | ReplyMode::Skip)
    }

    /// Keeps `bytes` for later, after what waits already.
    pub fn keep(&mut self, bytes: &[u8]) {
        match self.input.as_deref_mut() {
            Some(Waiting::Stalled(_, since)) => since.extend_from_slice(bytes),
            // A section may begin between two pieces of a request.
            Some(Waiting::Split(_, behind)) => behind.extend_from_slice(bytes),
            None => self.wait_with(Bytes::new(), bytes.to_vec()),
        }
    }

    /// Stops here; `rest` is everything from the first request that did not run: a slice of
    /// `resumed`, where that is what runs.
    pub fn stall(&mut self, why: Stall, rest: &[u8], resumed: &Bytes) {
        self.stall = why;
        let (whole, part) = (resumed.as_ptr_range(), rest.as_ptr_range());
        let within = whole.start <= part.start && part.end <= whole.end && !rest.is_empty();
        let left = if within { resumed.slice_ref(rest) } else { Bytes::copy_from_slice(rest) };
        self.wait_with(left, Vec::new());
    }

    /// Keeps what was left, and what has arrived since.
    pub fn wait_with(&mut self, left: Bytes, since: Vec<u8>) {
        self.input = Some(Box::new(Waiting::Stalled(left, since)));
    }

    /// What it takes here besides what it listens to, output that the peer has not taken included.
    #[must_use]
    pub fn memory(&self) -> usize {
        let flight = self.flight.as_ref().map_or(0, |flight| flight.memory());
        let rare = self.rare.as_ref().map_or(0, |rare| rare.memory());
        size_of::<Self>() + self.input_bytes() + flight + rare
    }

    /// Bytes of what it has queued and watched.
    #[must_use]
    pub fn multi_bytes(&self) -> usize {
        let multi = self.rare.as_ref().and_then(|rare| rare.multi.as_ref());
        multi.map_or(0, |multi| multi.bytes())
    }

    /// Bytes of input that wait.
    #[must_use]
    pub fn input_bytes(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.bytes())
    }
}

/// Whole seconds since the epoch, in 32 bits (until 2106).
#[must_use]
pub fn seconds(now: Now) -> u32 {
    u32::try_from(now.wall.ms() / 1_000).unwrap_or(u32::MAX)
}

/// All sessions of a core by connection number.
#[derive(Debug, Default)]
pub struct Sessions {
    rows: Chunks<Session>,
    /// Rows that were ever used.
    used: usize,
    open: usize,
}

impl Sessions {
    /// Puts a session in the row of `conn`.
    pub fn open(&mut self, conn: Conn, mut session: Session) {
        let index = conn.0 as usize;
        self.rows.reach(index);
        self.used = self.used.max(index + 1);
        let Some(row) = self.rows.get_mut(index) else { return };
        debug_assert!(!row.open);
        session.generation = row.generation.wrapping_add(1);
        session.open = true;
        *row = session;
        self.open += 1;
    }

    /// Frees the row and returns what was in it.
    pub fn close(&mut self, conn: Conn) -> Option<Session> {
        let row = self.rows.get_mut(conn.0 as usize).filter(|row| row.open)?;
        let empty = Session { generation: row.generation, ..Session::default() };
        self.open -= 1;
        Some(std::mem::replace(row, empty))
    }

    /// The open session of `conn`.
    #[inline]
    pub fn get_mut(&mut self, conn: Conn) -> Option<&mut Session> {
        self.rows.get_mut(conn.0 as usize).filter(|row| row.open)
    }

    #[inline]
    #[must_use]
    pub fn get(&self, conn: Conn) -> Option<&Session> {
        self.rows.get(conn.0 as usize).filter(|row| row.open)
    }

    /// The open session of `conn`, if it is still the one of that generation.
    pub fn same(&mut self, conn: Conn, generation: u32) -> Option<&mut Session> {
        self.get_mut(conn).filter(|row| row.generation == generation)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Conn, &Session)> {
        self.rows
            .iter()
            .take(self.used)
            .enumerate()
            .filter(|(_, row)| row.open)
            .map(|(index, row)| (Conn(u32::try_from(index).unwrap_or(u32::MAX)), row))
    }

    /// Rows, open or not: what a sliced walk over all sessions runs through.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.used
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.open
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }
}
