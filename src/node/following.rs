//! Being a replica: the link to our master, its snapshot loaded, its stream applied. And loading the
//! RDB file at the start, which is the same work from another source.
//!
//! ```text
//!   link bytes -> replication::replica -> Load  -> decoder -> entries -> the cores that own them
//!                                      -> Apply -> commands          -> the cores that own them
//! ```
//!
//! Entries and commands travel as requests of [`LINK`]; their replies only count down what is under
//! way. How the stream is applied: `applying.rs`.
//!
//! The trap: nothing is acknowledged, and no new link begun, while something is under way: what
//! would be asked for again would be applied twice.

use crate::base::limits::APPLY_UNDER_WAY_MAX;
use crate::base::time::Now;
use crate::command::args::Args;
use crate::node::control::{Control, ControlCx, Op};
use crate::node::functions;
use crate::node::message::{Loaded, Message, Return};
use crate::node::outbox::{Action, Conn, Level};
use crate::node::section::Step;
use crate::node::session::{Ends, Kind, Session};
use crate::node::settings::Settings;
use crate::node::settings::kind::Master as NamedMaster;
use crate::node::view::Role;
use crate::replication::master::{Source, Stream};
use crate::replication::psync::History;
use crate::replication::replica::{self, Input, Output, Replica};
use crate::replication::ring::Ring;
use crate::snapshot::build::Making;
use crate::snapshot::decode::{Decoder, Event, Limits, Unsupported, Value};
use std::collections::VecDeque;
use std::sync::Arc;

/// The connection that applied commands come by on the roads between cores: none.
pub const LINK: Conn = Conn(u32::MAX);

/// Nobody: what is asked so is answered to no one.
pub const NOBODY: Conn = Conn(u32::MAX - 1);

/// See the file's header.
#[derive(Debug)]
pub struct Following {
    pub replica: Replica,
    /// Host and port of our master.
    pub master: Option<(Vec<u8>, u16)>,
    pub(super) link: Option<Conn>,
    /// A piece of the file was asked for.
    pub(super) reading: bool,
    pub(super) paused: bool,
    /// Bytes of the link that the machine has not consumed.
    pub(super) bytes: Vec<u8>,
    /// Whole units to apply, each with the history's length after it.
    pub(super) units: VecDeque<(Vec<u8>, u64)>,
    pub(super) units_bytes: usize,
    /// Requests sent to other cores and not answered, and transactions.
    pub(super) under_way: usize,
    /// Units of it that are transactions over several cores.
    pub transactions: usize,
    /// The next unit waits for a key that a client's transaction reads.
    pub(super) blocked: bool,
    /// A section runs for a unit.
    pub(super) in_section: bool,
    /// Units are being applied: not again within that.
    pub(super) pumping: bool,
    /// A snapshot is to be cut between two units.
    pub(super) cut_wanted: bool,
    pub(super) applied: u64,
    /// The stream's database.
    pub(super) db: usize,
    pub(super) load: Option<Load>,
    /// The history's length while there is no ring.
    pub idle_offset: u64,
    /// REPLICAOF: who asks, and for which master. The first waits until nothing is under way.
    pub(super) changes: VecDeque<Change>,
    /// Its section runs or is about to.
    pub(super) changing: bool,
    /// The file named this history: a replica may continue it.
    pub(super) saved: Option<([u8; 40], u64)>,
    pub loaded_keys: u64,
    /// The stream's database at the cut of the snapshot that was loaded.
    pub(super) loaded_db: usize,
    /// DEBUG RELOAD is answered when the file is loaded.
    pub(super) reload: Option<Return>,
}

/// Who asked for another master, and its host and port; `None` for no master.
pub(super) type Change = (Option<Return>, Option<(Vec<u8>, u16)>);

/// Something being loaded.
#[derive(Debug)]
pub(super) struct Load {
    decoder: Box<Decoder>,
    from_master: bool,
    /// All bytes are in; the rest is under way.
    ended: bool,
    failed: bool,
    file_bytes: u64,
}

impl Following {
    #[must_use]
    pub fn new(settings: &Settings, now: Now) -> Self {
        Self {
            replica: Replica::new(link_settings(settings), now.mono),
            master: None,
            link: None,
            reading: false,
            paused: false,
            bytes: Vec::new(),
            units: VecDeque::new(),
            units_bytes: 0,
            under_way: 0,
            transactions: 0,
            blocked: false,
            in_section: false,
            pumping: false,
            cut_wanted: false,
            applied: 0,
            db: 0,
            load: None,
            idle_offset: 0,
            changes: VecDeque::new(),
            changing: false,
            saved: None,
            loaded_keys: 0,
            loaded_db: 0,
            reload: None,
        }
    }

    pub fn configure(&mut self, settings: &Settings) {
        self.replica.settings = link_settings(settings);
    }

    /// Up to here the stream is executed, once nothing is under way.
    #[must_use]
    pub fn applied_offset(&self) -> u64 {
        self.applied
    }

    /// The database that the stream is in after that, if we are a replica.
    #[must_use]
    pub fn stream_db(&self) -> usize {
        if self.master.is_some() { self.db } else { 0 }
    }

    /// Nothing of the stream or of a load is under way.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.units.is_empty() && self.under_way == 0 && !self.in_section && self.load.is_none()
    }

    /// The stream as the replication machine sees it.
    #[must_use]
    pub fn stream_of<'a>(&self, history: &'a History, ring: Option<&Ring>) -> Stream<'a> {
        let up = self.replica.status(crate::base::time::Mono::default()).up;
        let source = match (&self.master, up) {
            (None, _) => Source::Own,
            (Some(_), true) => Source::Master,
            (Some(_), false) => Source::MasterLost,
        };
        Stream { history, held: ring.map(Ring::held), source }
    }
}

impl Control {
    /// `REPLICAOF host port` or `NO ONE`.
    pub(super) fn replica_of(
        &mut self,
        cx: &mut ControlCx<'_>,
        from: Return,
        master: Option<(Vec<u8>, u16)>,
    ) {
        let last = self.following.changes.back().map(|(_, master)| master);
        if master == *last.unwrap_or(&self.following.master) && last.is_none() {
            let reply: &[u8] = if master.is_some() {
                b"+OK Already connected to specified master\r\n"
            } else {
                b"+OK\r\n"
            };
            return cx.answer(from, reply);
        }
        self.following.changes.push_back((Some(from), master));
        self.begin_change(cx);
    }

    /// A role changes when all that was handed out is executed: what the ring has and the keyspace
    /// lacks would be missing from the history for ever.
    pub(super) fn begin_change(&mut self, cx: &mut ControlCx<'_>) {
        let following = &self.following;
        let file = following.load.as_ref().is_some_and(|load| !load.from_master);
        let busy = following.changing
            || following.pumping
            || following.in_section
            || following.under_way > 0
            || !following.units.is_empty();
        if !following.changes.is_empty() && !busy && !file {
            self.following.changing = true;
            self.section(cx, Op::Role, None);
        }
    }

    /// At the start: the master that the configuration names, after the file is loaded.
    pub(super) fn follow_configured(&mut self, cx: &mut ControlCx<'_>) {
        if let Some(master) = self.view.settings.replicaof.clone() {
            self.following.changes.push_back((None, Some((master.host, master.port))));
            self.begin_change(cx);
        }
    }

    /// All cores stand still: says whether they log from here on. `None`: nothing to change.
    pub(super) fn change_role(&mut self, cx: &mut ControlCx<'_>) -> Option<bool> {
        let (_, master) = self.following.changes.front()?;
        let now = cx.now().mono;
        let mut outputs = Vec::new();
        if master.is_none() && self.following.master.is_none() {
            return Some(self.ring.is_some());
        }
        if master.is_none() {
            let has_data = self.following.replica.has_data();
            self.following.replica.handle(now, &mut self.history, Input::Unfollow, &mut outputs);
            self.drop_units();
            self.drop_load(cx);
            let (end, replid) = (self.offset(), self.new_replid());
            if has_data {
                self.history.promote(replid, end);
            } else {
                // Half a load is a prefix of nothing, and the ring's bytes lead to other data.
                self.history.begin(replid);
                (self.ring, self.following.idle_offset) = (None, end);
            }
            // Our own replicas must learn the new name: the old one goes on elsewhere.
            self.tell_replicas(cx, crate::replication::master::Input::HistoryChanged);
            self.merger.reselect();
            self.carry_out_link(cx, outputs, &[]);
            return Some(self.ring.is_some());
        }
        Some(false)
    }

    /// All cores have the new way of logging.
    pub(super) fn role_changed(&mut self, cx: &mut ControlCx<'_>) {
        let Some((from, master)) = self.following.changes.pop_front() else { return };
        self.following.changing = false;
        let was_master = self.following.master.is_none();
        self.following.master.clone_from(&master);
        // What CONFIG GET and REWRITE tell is whom it follows now.
        let named = master.clone().map(|(host, port)| NamedMaster { host, port });
        Arc::make_mut(&mut self.view.settings).replicaof = named;
        match master {
            None => {
                self.view.role = Role::Master;
                self.view.loading = false;
                self.view.streaming = self.ring.is_some();
                cx.log(Level::Notice, "MASTER MODE enabled");
            }
            Some((host, port)) => {
                self.drop_load(cx);
                // A master's own data is the first bytes of its own history, which the new master
                // may be able to continue (it was our replica); so ask for that.
                let offset = match (&self.ring, self.following.saved.take()) {
                    (Some(ring), _) if was_master || self.following.replica.has_data() => {
                        Some(ring.end())
                    }
                    (None, Some((replid, offset))) => {
                        self.history.begin(replid);
                        self.ring = Some(Ring::new(offset));
                        Some(offset)
                    }
                    _ => None,
                };
                self.following.applied = offset.unwrap_or(0);
                // One that was a replica stays in its stream's database. After a master's own
                // stream comes that of one who was promoted, and that begins with a SELECT.
                self.view.role = Role::Replica { linked: false };
                self.view.streaming = false;
                self.drop_units();
                let host = String::from_utf8_lossy(&host).into_owned();
                cx.log(Level::Notice, format!("Connecting to MASTER {host}:{port}"));
                self.tell_link(cx, Input::Follow { offset }, &[]);
            }
        }
        self.wait(cx, crate::replication::acks::Input::Demoted);
        self.show(cx);
        if let Some(from) = from {
            cx.answer_ok(from);
        }
        if self.following.master.is_none() && std::mem::take(&mut self.following.cut_wanted) {
            self.section(cx, Op::Cut, None);
        }
    }

    pub(super) fn follow_tick(&mut self, cx: &mut ControlCx<'_>) {
        if self.following.master.is_some() {
            self.pump_units(cx);
            let following = &self.following;
            // A new link begins when nothing of the last one is under way, a dropped load included.
            let waits = following.replica.status(cx.now().mono).state == "connect";
            let busy =
                following.in_section || following.under_way > 0 || !following.units.is_empty();
            if following.changes.is_empty() && !(waits && busy) {
                self.tell_link(cx, Input::Tick, &[]);
            }
        }
        self.begin_change(cx);
    }

    /// The connect was decided.
    pub(super) fn dialled(&mut self, cx: &mut ControlCx<'_>, result: Result<(Conn, Ends), String>) {
        let wanted = self.following.replica.status(cx.now().mono).state == "connecting";
        match result {
            Ok((conn, _)) if !wanted => cx.out.actions.push(Action::CloseNow(conn)),
            Ok((conn, ends)) => {
                let mut session = Session::new(0, ends, true, cx.now());
                session.kind = Kind::Master;
                // Counted as Redis does, and because every session that ends is counted off.
                cx.core.shared.clients.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                cx.core.sessions.open(conn, session);
                self.following.link = Some(conn);
                self.following.bytes.clear();
                self.following.paused = false;
                self.tell_link(cx, Input::Connected, &[]);
            }
            Err(why) => {
                cx.log(Level::Warning, format!("Error condition on socket for SYNC: {why}"));
                self.tell_link(cx, Input::Disconnected, &[]);
            }
        }
    }

    pub(super) fn link_ended(&mut self, cx: &mut ControlCx<'_>, conn: Conn) {
        if self.following.link == Some(conn) {
            self.following.link = None;
            cx.log(Level::Warning, "Connection with master lost");
            self.tell_link(cx, Input::Disconnected, &[]);
        }
    }

    /// Bytes of our master.
    pub(super) fn link_bytes(&mut self, cx: &mut ControlCx<'_>, bytes: &[u8]) {
        if !self.following.changes.is_empty() {
            return; // This link is about to end.
        }
        let mut all = std::mem::take(&mut self.following.bytes);
        all.extend_from_slice(bytes);
        let used = self.tell_link(cx, Input::Bytes(&all), &all);
        all.drain(..used);
        if self.following.link.is_some() {
            self.following.bytes = all;
        }
        self.pump_units(cx);
    }

    pub(super) fn tell_link(
        &mut self,
        cx: &mut ControlCx<'_>,
        input: Input<'_>,
        bytes: &[u8],
    ) -> usize {
        let mut outputs = Vec::new();
        let now = cx.now().mono;
        let used = self.following.replica.handle(now, &mut self.history, input, &mut outputs);
        self.carry_out_link(cx, outputs, bytes);
        self.show_link(cx);
        used
    }

    fn carry_out_link(&mut self, cx: &mut ControlCx<'_>, outputs: Vec<Output>, bytes: &[u8]) {
        for output in outputs {
            match output {
                Output::Connect => {
                    if let Some((host, port)) = &self.following.master {
                        let host = String::from_utf8_lossy(host).into_owned();
                        cx.out.actions.push(Action::Dial { host, port: *port });
                    }
                }
                Output::Send(bytes) => {
                    if let Some(link) = self.following.link {
                        cx.out.to(link).extend_from_slice(&bytes);
                    }
                }
                Output::Close(reason) => {
                    cx.log(Level::Warning, format!("Closing the link to the master: {reason:?}"));
                    self.drop_load(cx);
                    if let Some(link) = self.following.link.take() {
                        cx.out.actions.push(Action::CloseNow(link));
                        if let Some(session) = cx.core.sessions.get_mut(link) {
                            session.closing = true;
                        }
                    }
                }
                Output::FullResync => {
                    cx.log(Level::Notice, "Full resync from master");
                    self.following.load = None; // What is left of one that the link's loss ended.
                }
                Output::Load(range) => {
                    // Not before the first byte: until then our data can still be continued.
                    if self.following.load.is_none() {
                        self.begin_load(cx, true);
                    }
                    self.load_bytes(cx, &bytes[range]);
                }
                Output::LoadDone => {
                    if let Some(load) = self.following.load.as_mut() {
                        load.ended = true;
                    }
                    self.load_goes_on(cx);
                }
                Output::Adopted { offset } => {
                    self.ring = Some(Ring::new(offset));
                    self.adopted(cx, offset);
                }
                Output::AdoptedNameless => {
                    let replid = self.new_replid();
                    self.history.begin(replid);
                    self.ring = Some(Ring::new(0));
                    self.adopted(cx, 0);
                }
                Output::Continued { renamed } => {
                    cx.log(Level::Notice, "Partial resync with master: the stream goes on");
                    if self.ring.is_none() {
                        self.ring = Some(Ring::new(self.following.applied));
                    }
                    if renamed {
                        self.tell_replicas(cx, crate::replication::master::Input::HistoryChanged);
                    }
                }
                Output::Apply { unit, range, end } => {
                    self.queue_unit(unit, &bytes[range], end);
                }
            }
        }
    }

    fn adopted(&mut self, cx: &mut ControlCx<'_>, offset: u64) {
        self.following.applied = offset;
        self.following.db = self.following.loaded_db;
        self.tell_replicas(cx, crate::replication::master::Input::HistoryChanged);
        let keys = self.following.loaded_keys;
        cx.log(Level::Notice, format!("Full resync done: {keys} keys, offset {offset}"));
    }

    /// The view follows the link's state.
    fn show_link(&mut self, cx: &mut ControlCx<'_>) {
        if self.following.master.is_none() || self.following.changing {
            return;
        }
        let linked = self.following.replica.status(cx.now().mono).up;
        if self.view.role != (Role::Replica { linked }) {
            self.view.role = Role::Replica { linked };
            self.show(cx);
        }
    }

    fn drop_units(&mut self) {
        self.following.units.clear();
        self.following.units_bytes = 0;
    }

    /// A load begins: everything goes, and clients are told to wait.
    fn begin_load(&mut self, cx: &mut ControlCx<'_>, from_master: bool) {
        self.view.loading = true;
        self.show(cx);
        cx.core.step(Step::Flush { db: None });
        cx.core.step(Step::Functions(functions::Change::Flush));
        for core in 1..self.cores {
            cx.out.mail[core].push(Message::Empty);
        }
        let settings = &self.view.settings;
        let limits = Limits {
            databases: settings.databases as usize,
            string_bytes_max: settings.proto_max_bulk_len,
            input_bytes: None,
            unsupported: Unsupported::Refuse,
            verify_checksum: settings.rdbchecksum,
        };
        let (hasher, packing) = (cx.core.keyspace.hasher(), cx.core.keyspace.packing());
        let decoder = Box::new(Decoder::holding(limits, Making { hasher, packing }));
        (self.following.loaded_keys, self.following.loaded_db) = (0, 0);
        self.following.load =
            Some(Load { decoder, from_master, ended: false, failed: false, file_bytes: 0 });
    }

    pub(super) fn drop_load(&mut self, cx: &mut ControlCx<'_>) {
        if self.following.load.take().is_some() {
            self.view.loading = false;
            self.show(cx);
        }
    }

    fn load_bytes(&mut self, cx: &mut ControlCx<'_>, mut bytes: &[u8]) {
        let Some(mut load) = self.following.load.take() else { return };
        load.file_bytes += bytes.len() as u64;
        let part = cx.core.shared.table.part("load");
        while !load.failed {
            match load.decoder.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Event::Entry { db, key, value, expiry_ms, .. })) => {
                    let expired = expiry_ms.is_some_and(|at| at <= cx.now().wall.ms());
                    if expired && !load.from_master && !self.view.is_replica() {
                        continue; // As Redis; on a replica only its master's DEL ends a key.
                    }
                    self.following.loaded_keys += 1;
                    let value = match value {
                        Value::String(value) => value,
                        Value::Collection(body) => {
                            let loaded = Loaded { db, key: key.to_vec(), body, expiry_ms };
                            match cx.core.owner(key) {
                                0 => load.failed |= !cx.core.take_loaded(loaded),
                                core => {
                                    self.following.under_way += 1;
                                    cx.out.mail[core].push(Message::Load(Box::new(loaded)));
                                }
                            }
                            continue;
                        }
                    };
                    let expiry = expiry_ms.map_or([0; 8], u64::to_le_bytes);
                    let words: [&[u8]; 3] = [key, value, &expiry];
                    let args = Args::new(&words);
                    match cx.core.owner(key) {
                        0 => load.failed |= !crate::node::part::load(cx.core, db, args),
                        core => self.send_apply(cx, core, part, db, args),
                    }
                }
                Ok(Some(Event::Function { code })) => {
                    let change = functions::Change::Load { code: code.to_vec(), replace: false };
                    for core in 1..self.cores {
                        let step = Box::new(change.clone());
                        cx.out.mail[core].push(Message::Function(step));
                    }
                    if let Err(error) = cx.core.change_functions(&change) {
                        let mut line = Vec::new();
                        error.write_to(&mut line);
                        let line = String::from_utf8_lossy(&line).trim_end().to_string();
                        cx.log(Level::Warning, format!("A library could not be loaded: {line}"));
                    }
                }
                Ok(Some(Event::Aux { name, value })) => {
                    if name == b"repl-id" && !load.from_master {
                        if let Ok(replid) = <[u8; 40]>::try_from(value) {
                            self.following.saved = Some((replid, 0));
                        }
                    } else if name == b"repl-stream-db" {
                        let db = crate::base::num::parse_i64(value);
                        let db = db.and_then(|db| usize::try_from(db).ok()).unwrap_or(0);
                        self.following.loaded_db = db;
                        self.following.db = db;
                    } else if name == b"repl-offset"
                        && let Some(saved) = self.following.saved.as_mut()
                    {
                        let offset = crate::base::num::parse_i64(value);
                        saved.1 = offset.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
                    }
                }
                Ok(Some(_)) => {}
                Err(error) => {
                    cx.log(Level::Warning, format!("Loading failed: {error}"));
                    load.failed = true;
                }
            }
        }
        self.following.load = Some(load);
    }

    /// Something of a load was executed: it may be over, or go on reading.
    pub(super) fn load_goes_on(&mut self, cx: &mut ControlCx<'_>) {
        self.pace_link(cx);
        let Some(load) = self.following.load.as_ref() else { return };
        if !load.ended {
            if !load.from_master && self.following.under_way < APPLY_UNDER_WAY_MAX / 2 {
                self.read_file(cx);
            }
            return;
        }
        if self.following.under_way > 0 {
            return;
        }
        let whole = !load.failed && load.decoder.finished();
        let from_master = load.from_master;
        self.following.load = None;
        self.view.loading = false;
        self.show(cx);
        if from_master {
            self.following.saved = None;
            let input = if whole { Input::Loaded } else { Input::LoadFailed };
            let used = self.tell_link(cx, input, &[]);
            debug_assert_eq!(used, 0);
            // What came behind the snapshot is the beginning of the stream.
            if !self.following.bytes.is_empty() {
                self.link_bytes(cx, &[]);
            }
            return;
        }
        if !whole {
            cx.log(Level::Warning, "The RDB file is damaged or cannot be held here; not starting");
            cx.out.actions.push(Action::Exit { code: 1 });
            return;
        }
        let keys = self.following.loaded_keys;
        cx.log(Level::Notice, format!("DB loaded from disk: {keys} keys"));
        self.file_loaded(cx);
    }

    /// One that is configured as a replica is one from the first moment: it deletes nothing that its
    /// file has and nobody writes to it, though the link comes only when the file is loaded.
    pub(super) fn start(&mut self, cx: &mut ControlCx<'_>) {
        if let Some(master) = self.view.settings.replicaof.clone() {
            self.following.master = Some((master.host, master.port));
            self.view.role = Role::Replica { linked: false };
        }
        self.load_file(cx);
    }

    /// Asks for the file; nothing else happens before it is loaded.
    fn load_file(&mut self, cx: &mut ControlCx<'_>) {
        self.begin_load(cx, false);
        self.read_file(cx);
    }

    fn read_file(&mut self, cx: &mut ControlCx<'_>) {
        if !self.following.reading {
            self.following.reading = true; // One read at a time.
            cx.out.actions.push(Action::LoadFile);
        }
    }

    pub(super) fn file_bytes(&mut self, cx: &mut ControlCx<'_>, bytes: &[u8]) {
        self.following.reading = false;
        if bytes.is_empty() {
            if let Some(load) = self.following.load.as_mut() {
                load.ended = true;
            }
        } else {
            self.load_bytes(cx, bytes);
            if let Some(load) = self.following.load.as_mut() {
                load.ended |= load.failed;
            }
        }
        self.load_goes_on(cx);
    }

    pub(super) fn file_absent(&mut self, cx: &mut ControlCx<'_>) {
        self.following.reading = false;
        self.drop_load(cx);
        self.file_loaded(cx);
    }

    pub(super) fn file_unreadable(&mut self, cx: &mut ControlCx<'_>, why: &str) {
        cx.log(Level::Warning, format!("The RDB file cannot be read: {why}"));
        cx.out.actions.push(Action::Exit { code: 1 });
    }

    fn file_loaded(&mut self, cx: &mut ControlCx<'_>) {
        self.snapshots.changes = 0;
        match self.following.reload.take() {
            Some(from) => cx.answer_ok(from),
            None => {
                cx.out.actions.push(Action::Ready);
                if self.view.settings.replicaof.is_none() {
                    // Writes from here on are of no history: nobody's can be continued any more.
                    self.following.saved = None;
                }
                self.follow_configured(cx);
            }
        }
    }

    /// DEBUG RELOAD: save, then load what was saved.
    pub(super) fn reload(&mut self, cx: &mut ControlCx<'_>, from: Return) {
        self.snapshots.reload = Some(from);
        self.save(cx, Some(from), true);
    }

    pub(super) fn begin_reload(&mut self, cx: &mut ControlCx<'_>) {
        self.following.reload = self.snapshots.reload.take();
        self.load_file(cx);
    }
}

fn link_settings(settings: &Settings) -> replica::Settings {
    let given = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec());
    let announced = settings.replica_announce_port;
    replica::Settings {
        timeout_ms: u64::from(settings.repl_timeout) * 1_000,
        user: given(&settings.masteruser.0),
        password: given(&settings.masterauth.0),
        port: if announced == 0 { settings.port } else { announced },
        announce_ip: given(&settings.replica_announce_ip),
    }
}
