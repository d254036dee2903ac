//! Client-side caching: who has read which key, and who is told when it changes.
//!
//! ```text
//!   a client that tracks reads a key      -> the key's core remembers the client (`readers`)
//!   a key changes, for whatever reason    -> its core tells those, once, and forgets them
//!                                         -> and tells all cores that have clients in BCAST mode
//!   a client's core gets such a message   -> a push to it, or to whom it redirects
//! ```
//!
//! A key is its name, whatever the database, as in Redis. Who tells whom travels on the roads like requests
//! that nobody waits for, so messages of one key keep their order. A message to a client whose replies wait
//! queues behind them; it comes after the reply to what the client itself did.
//!
//! While nobody tracks, a key's change costs nothing here, and a command one test of a flag.
//!
//! What a transaction over several cores reads and changes is told to the keys' own cores by the one on which it
//! runs: a value that comes home afterwards is no further change (`parcel.rs`).
//!
//! Not here: the commands (`caching.rs`).

use crate::base::limits::CORES_MAX;
use crate::base::map::HashMap;
use crate::command::args::Args;
use crate::command::keys;
use crate::node::core::Core;
use crate::node::cx::PartHead;
use crate::node::figures::Figures;
use crate::node::message::{self, RequestHead, Tracks};
use crate::node::outbox::Conn;
use crate::node::session::{NO_COMMAND, Session};
use crate::node::table::{Row, Table};
use crate::node::transactions::NOBODY;
use crate::resp::reply::{Proto, Reply};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The channel on which a client in RESP2 is told what is redirected to it.
const CHANNEL: &[u8] = b"__redis__:invalidate";

/// How many clients of each core track, and how many of them in BCAST mode.
#[derive(Debug)]
pub struct Trackers {
    all: AtomicUsize,
    broadcast: [AtomicUsize; CORES_MAX],
}

impl Default for Trackers {
    fn default() -> Self {
        Self { all: AtomicUsize::new(0), broadcast: [const { AtomicUsize::new(0) }; CORES_MAX] }
    }
}

/// A client, as other cores know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    pub core: usize,
    pub conn: Conn,
    pub generation: u32,
}

const READER_BYTES: usize = 12;

impl Reader {
    fn to_bytes(self) -> [u8; READER_BYTES] {
        let mut bytes = [0; READER_BYTES];
        let core = u32::try_from(self.core).unwrap_or(0);
        for (at, number) in [core, self.conn.0, self.generation].into_iter().enumerate() {
            bytes[4 * at..4 * at + 4].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// What `to_bytes` has written; nothing else comes by a road.
    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<4>() else { return None };
        let [core, conn, generation] = numbers else { return None };
        let number = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes);
        Some(Self {
            core: number(core) as usize,
            conn: Conn(number(conn)),
            generation: number(generation),
        })
    }
}

/// What may be chosen with CLIENT TRACKING ON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    pub broadcasts: bool,
    pub opt_in: bool,
    pub opt_out: bool,
    pub noloop: bool,
    /// CLIENT CACHING was said of the next command.
    pub caching: bool,
    /// The number of the client that is told instead, and where it is.
    pub redirect: Option<(u64, Reader)>,
    /// That one is gone.
    pub broken: bool,
    pub prefixes: Vec<Vec<u8>>,
}

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Tracking {
    /// Of this core's keys.
    readers: HashMap<Box<[u8]>, Vec<Reader>>,
    items: usize,
    /// This core's clients in BCAST mode, by what they want to hear of.
    prefixes: BTreeMap<Vec<u8>, Vec<Conn>>,
    /// This core's clients that track.
    clients: Vec<Conn>,
    /// What has changed in this turn, and who is not to hear of it.
    soon: BTreeMap<Box<[u8]>, Option<Reader>>,
    /// A script changes keys.
    pub(super) by_script: bool,
    /// Whose command runs, if it tracks.
    pub(super) acting: Option<(Reader, Tracks)>,
}

impl Session {
    /// What goes with its next command to the cores of its keys.
    #[inline]
    pub(super) fn tracks(&self) -> Tracks {
        if !self.tracks {
            return Tracks::default();
        }
        let Some(modes) = self.modes() else { return Tracks::default() };
        let wants = match () {
            () if modes.broadcasts => false,
            () if modes.opt_in => modes.caching,
            () if modes.opt_out => !modes.caching,
            () => true,
        };
        Tracks { remembers: wants, noloop: modes.noloop }
    }

    /// CLIENT CACHING was for one command, or for a transaction.
    pub(super) fn end_caching(&mut self, table: &Table) {
        let last = self.last_command;
        let says_so = last != NO_COMMAND && table.row(last).full_name.starts_with("client");
        if self.in_multi || says_so {
            return;
        }
        if let Some(modes) = self.rare.as_mut().and_then(|rare| rare.tracking.as_mut()) {
            modes.caching = false;
        }
    }

    pub(super) fn modes(&self) -> Option<&Modes> {
        self.rare.as_ref()?.tracking.as_deref()
    }
}

impl Core {
    /// Once a turn: whether anybody tracks anything.
    #[inline]
    pub(super) fn note_changes_if_tracked(&mut self) {
        let tracked = self.shared.trackers.all.load(Ordering::Acquire) > 0;
        self.keyspace.note_changes(tracked | self.export.is_some());
    }

    /// A command of a client of this core that tracks is about to run here.
    #[cold]
    pub(super) fn begin_acting(&mut self, conn: Conn) {
        let Some(session) = self.sessions.get(conn) else { return };
        let reader = Reader { core: self.id, conn, generation: session.generation };
        self.tracking.acting = Some((reader, session.tracks()));
    }

    /// As `begin_acting`, of another core's client.
    #[cold]
    pub(super) fn begin_acting_for(&mut self, from: usize, head: &RequestHead) {
        let reader = Reader { core: from, conn: head.conn, generation: head.generation };
        self.tracking.acting = Some((reader, head.tracks));
    }

    /// Remembers who has read these keys.
    #[cold]
    pub(super) fn remember_keys(&mut self, row: &Row, args: Args<'_>) {
        let Some((reader, tracks)) = self.tracking.acting else { return };
        if !tracks.remembers || !row.spec.flags.has(crate::command::spec::Flags::READONLY) {
            return;
        }
        for key in keys::keys_found(row.spec, args) {
            let Some(name) = args.get(key.at) else { continue };
            let owner = self.owner(name);
            if owner == self.id {
                self.remember(reader, name);
            } else {
                self.tell_core(owner, "track", &[&reader.to_bytes(), name]);
            }
        }
    }

    fn remember(&mut self, reader: Reader, name: &[u8]) {
        let readers = self.tracking.readers.entry(name.into()).or_default();
        if !readers.contains(&reader) {
            readers.push(reader);
            self.tracking.items += 1;
        }
        let most = usize::try_from(self.view.settings.tracking_table_max_keys).unwrap_or(0);
        while most > 0 && self.tracking.readers.len() > most.div_ceil(self.cores) {
            // Any: whoever reads it again is remembered again.
            let Some(name) = self.tracking.readers.keys().next().cloned() else { return };
            self.tell_readers(&name, None);
        }
    }

    /// Tells of the keys that have changed since this was last done.
    #[cold]
    pub(super) fn tell_changes(&mut self) {
        let names = self.keyspace.take_changed();
        self.note_exported(&names);
        if self.shared.trackers.all.load(Ordering::Acquire) == 0 {
            return;
        }
        let noloop = self.tracking.acting.filter(|it| it.1.noloop).map(|it| it.0);
        // What a script changes is nobody's for those in BCAST mode, as Redis sees it.
        let broadcaster = noloop.filter(|_| !self.tracking.by_script);
        let [actor, broadcaster] = [noloop, broadcaster].map(bytes_of);
        let mut told: Vec<&[u8]> = Vec::new();
        for name in names.iter() {
            if !told.contains(&name) {
                told.push(name);
                // A guest's own core knows who has read it; the road keeps the order of reads and changes.
                self.tell_core(self.owner(name), "touched", &[&actor, &broadcaster, name]);
            }
        }
    }

    /// At the end of a turn: each key that has changed in it is told once to those in BCAST mode.
    #[inline]
    pub(super) fn tell_all_changes(&mut self) {
        if self.keyspace.has_changed() {
            self.tell_changes();
        }
        if !self.tracking.soon.is_empty() {
            self.broadcast_changes();
        }
    }

    #[cold]
    fn broadcast_changes(&mut self) {
        let mut changes: Vec<_> = std::mem::take(&mut self.tracking.soon).into_iter().collect();
        changes.sort_by_key(|(_, actor)| actor.map(Reader::to_bytes));
        for same in changes.chunk_by(|one, other| one.1 == other.1) {
            let actor = bytes_of(same[0].1);
            let mut words: Vec<&[u8]> = vec![&actor];
            words.extend(same.iter().map(|(name, _)| &**name));
            for core in self.broadcasters() {
                self.tell_core(core, "changed", &words);
            }
        }
    }

    /// Cores that have clients in BCAST mode.
    fn broadcasters(&self) -> Vec<usize> {
        let has = |core: &usize| self.shared.trackers.broadcast[*core].load(Ordering::Acquire) > 0;
        (0..self.cores).filter(has).collect()
    }

    /// Tells who has read a key, but for the one who changed it and does not want to hear of that.
    fn tell_readers(&mut self, name: &[u8], actor: Option<Reader>) {
        let Some(readers) = self.tracking.readers.remove(name) else { return };
        self.tracking.items -= readers.len();
        for reader in readers.into_iter().filter(|it| Some(*it) != actor) {
            if reader.core == self.id {
                self.invalidate(reader.conn, reader.generation, Some(&[name]));
            } else {
                self.tell_core(reader.core, "invalidate", &[&reader.to_bytes(), name]);
            }
        }
    }

    /// All keys are gone.
    pub(super) fn tell_flush(&mut self) {
        self.tracking.readers.clear();
        self.tracking.items = 0;
        for conn in self.tracking.clients.clone() {
            let generation = self.sessions.get(conn).map_or(0, |it| it.generation);
            self.invalidate(conn, generation, None);
        }
    }

    /// A client of this core is to forget these keys, or all.
    fn invalidate(&mut self, conn: Conn, generation: u32, names: Option<&[&[u8]]>) {
        let Some(session) = self.sessions.same(conn, generation) else { return };
        let Some(modes) = session.modes().filter(|_| session.tracks) else { return };
        let Some((_, target)) = modes.redirect else {
            if session.proto == Proto::Resp3 {
                self.heard.tell(conn, Proto::Resp3, |reply| write(reply, names));
            }
            return;
        };
        let from = Reader { core: self.id, conn, generation }.to_bytes();
        let (all, to): (&[u8], _) = (if names.is_none() { b"1" } else { b"0" }, target.to_bytes());
        let mut words: Vec<&[u8]> = vec![&from, &to, all];
        words.extend(names.unwrap_or_default());
        self.tell_core(target.core, "redirected", &words);
    }

    /// Runs a part on a core, whose reply nobody waits for.
    fn tell_core(&mut self, core: usize, part: &str, words: &[&[u8]]) {
        let head = RequestHead { command: self.shared.table.part(part), ..NOBODY };
        if core == self.id {
            self.execute_part(&head, Args::new(words), &mut Vec::new());
        } else {
            message::push_request(self.roads.to(core), &head, words.iter().copied());
        }
    }

    /// From here on a client tracks like that.
    pub(super) fn track(&mut self, conn: Conn, modes: Modes) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if !std::mem::replace(&mut session.tracks, true) {
            self.tracking.clients.push(conn);
            self.shared.trackers.all.fetch_add(1, Ordering::AcqRel);
        }
        let old = session.rare_mut().tracking.take();
        let was = old.as_ref().is_some_and(|it| it.broadcasts);
        let known = old.map_or_else(Vec::new, |old| old.prefixes);
        let mut modes = modes;
        if modes.broadcasts && modes.prefixes.is_empty() {
            modes.prefixes.push(Vec::new());
        }
        let new: Vec<_> = modes.prefixes.iter().filter(|it| !known.contains(it)).cloned().collect();
        modes.prefixes = [known, new.clone()].concat();
        modes.prefixes.sort_unstable();
        if modes.broadcasts && !was {
            self.shared.trackers.broadcast[self.id].fetch_add(1, Ordering::AcqRel);
        }
        for prefix in new {
            self.tracking.prefixes.entry(prefix).or_default().push(conn);
        }
        if let Some(session) = self.sessions.get_mut(conn) {
            session.rare_mut().tracking = Some(Box::new(modes));
        }
    }

    /// The client tracks no more, or is gone.
    pub(super) fn forget_tracker(&mut self, conn: Conn) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if !std::mem::take(&mut session.tracks) {
            return;
        }
        let modes = session.rare_mut().tracking.take().unwrap_or_default();
        self.tracking.clients.retain(|it| *it != conn);
        self.shared.trackers.all.fetch_sub(1, Ordering::AcqRel);
        if modes.broadcasts {
            self.shared.trackers.broadcast[self.id].fetch_sub(1, Ordering::AcqRel);
        }
        for prefix in modes.prefixes {
            if let Some(clients) = self.tracking.prefixes.get_mut(&prefix) {
                clients.retain(|it| *it != conn);
                if clients.is_empty() {
                    self.tracking.prefixes.remove(&prefix);
                }
            }
        }
        // Whose keys it has read finds another generation here.
    }

    /// For INFO.
    pub(super) fn add_tracking_figures(&self, figures: &mut Figures) {
        figures.add("tracking_clients", self.tracking.clients.len());
        figures.add("tracking_keys", self.tracking.readers.len());
        figures.add("tracking_items", self.tracking.items);
        figures.add("tracking_prefixes", self.tracking.prefixes.len());
    }
}

fn bytes_of(reader: Option<Reader>) -> Vec<u8> {
    reader.map_or_else(Vec::new, |it| it.to_bytes().to_vec())
}

/// The message to a client in RESP3, or the one on the channel.
fn write(reply: &mut Reply<'_>, names: Option<&[&[u8]]>) {
    match reply.proto {
        Proto::Resp3 => {
            reply.push(2);
            reply.bulk(b"invalidate");
        }
        Proto::Resp2 => {
            reply.array(3);
            reply.bulk(b"message");
            reply.bulk(CHANNEL);
        }
    }
    match names {
        None => reply.null(),
        Some(names) => {
            reply.array(names.len());
            names.iter().for_each(|name| reply.bulk(name));
        }
    }
}

/// `[reader, key]`: a client has read a key of this core.
pub(super) fn track_part(core: &mut Core, _: &PartHead, args: Args<'_>, _: &mut Reply<'_>) {
    if let (Some(reader), Some(name)) = (Reader::of_bytes(args.name()), args.get(1)) {
        core.remember(reader, name);
    }
}

/// `[who changed it and must not hear of it, the same for BCAST mode, key]`: a key of this core has changed.
pub(super) fn touched_part(core: &mut Core, _: &PartHead, args: Args<'_>, _: &mut Reply<'_>) {
    let Some(name) = args.get(2) else { return };
    core.tell_readers(name, Reader::of_bytes(args.name()));
    if !core.broadcasters().is_empty() {
        let broadcaster = args.get(1).and_then(Reader::of_bytes);
        core.tracking.soon.entry(name.into()).or_insert(broadcaster);
    }
}

/// `[reader, key]`: a client of this core has read a key that has changed.
pub(super) fn invalidate_part(core: &mut Core, _: &PartHead, args: Args<'_>, _: &mut Reply<'_>) {
    if let (Some(reader), Some(name)) = (Reader::of_bytes(args.name()), args.get(1)) {
        core.invalidate(reader.conn, reader.generation, Some(&[name]));
    }
}

/// `[who must not hear of it, key..]`: keys have changed, of which clients in BCAST mode may want to hear.
pub(super) fn changed_part(core: &mut Core, _: &PartHead, args: Args<'_>, _: &mut Reply<'_>) {
    let actor = Reader::of_bytes(args.name()).filter(|it| it.core == core.id);
    let mut told = Vec::new();
    for (prefix, clients) in &core.tracking.prefixes {
        let names: Vec<&[u8]> = args.from(1).filter(|it| it.starts_with(prefix)).collect();
        if !names.is_empty() {
            told.extend(clients.iter().map(|conn| (*conn, names.clone())));
        }
    }
    for (conn, names) in told {
        let generation = core.sessions.get(conn).map_or(0, |it| it.generation);
        if actor.is_none_or(|it| (it.conn, it.generation) != (conn, generation)) {
            core.invalidate(conn, generation, Some(&names));
        }
    }
}

/// `[from, to, all?, key..]`: a client of this core is told what another one is to forget.
pub(super) fn redirected_part(core: &mut Core, _: &PartHead, args: Args<'_>, _: &mut Reply<'_>) {
    let (Some(from), Some(to)) =
        (Reader::of_bytes(args.name()), args.get(1).and_then(Reader::of_bytes))
    else {
        return;
    };
    let names: Vec<&[u8]> = args.from(3).collect();
    let names = if args.get(2) == Some(b"1") { None } else { Some(names.as_slice()) };
    match core.sessions.same(to.conn, to.generation).filter(|it| !it.closing) {
        Some(session) if session.proto == Proto::Resp3 || session.subscribed => {
            let proto = session.proto;
            core.heard.tell(to.conn, proto, |reply| write(reply, names));
        }
        Some(_) => {}
        None => core.tell_core(from.core, "redirection-broken", &[&from.to_bytes()]),
    }
}

/// `[from]`: the client to which one of this core's redirects is gone.
pub(super) fn broken_part(core: &mut Core, _: &PartHead, args: Args<'_>, _: &mut Reply<'_>) {
    let Some(from) = Reader::of_bytes(args.name()) else { return };
    let Some(session) = core.sessions.same(from.conn, from.generation) else { return };
    let proto = session.proto;
    let Some(modes) = session.rare.as_mut().and_then(|it| it.tracking.as_mut()) else { return };
    modes.broken = true;
    let id = modes.redirect.map_or(0, |it| i64::try_from(it.0).unwrap_or(0));
    if proto == Proto::Resp3 {
        core.heard.tell(from.conn, proto, |reply| {
            reply.push(2);
            reply.bulk(b"tracking-redir-broken");
            reply.int(id);
        });
    }
}

/// `[number of a client]`: `[core, connection, generation]` where it is here, else null.
pub(super) fn find_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let id = crate::base::num::parse_i64(args.name()).and_then(|id| u64::try_from(id).ok());
    let found = core.sessions.iter().find(|(_, it)| Some(it.id) == id && !it.closing);
    match found.map(|(conn, session)| (conn, session.generation)) {
        Some((conn, generation)) => {
            reply.bulk(&Reader { core: core.id, conn, generation }.to_bytes());
        }
        None => reply.null(),
    }
}

/// What `find_part` found.
pub(super) fn found(bytes: &[u8]) -> Option<Reader> {
    Reader::of_bytes(bytes)
}
