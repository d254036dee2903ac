//! Loading: a master's snapshot or the RDB file at the start, piece by piece.
//!
//! ```text
//!   bytes -> snapshot::decode -> entries -> the cores that own them
//! ```
//!
//! Entries travel as requests of [`LINK`](crate::node::following::LINK) and count as under way
//! there; a load is over when its last entry is executed. A piece of the file is asked for only when
//! the cores keep up; a link that outruns them is paused (`following.rs`).
//!
//! The trap: a load that fails half-way has left a prefix of nothing in the keyspace, so a node
//! ends rather than serve it, and a replica asks for everything again.

use crate::base::limits::APPLY_UNDER_WAY_MAX;
use crate::command::args::Args;
use crate::node::control::{Control, ControlCx, Op};
use crate::node::functions;
use crate::node::message::{Loaded, Message, Return};
use crate::node::outbox::{Action, Level};
use crate::node::section::Step;
use crate::node::view::Role;
use crate::replication::replica::Input;
use crate::replication::ring::Ring;
use crate::snapshot::build::Making;
use crate::snapshot::decode::{Decoder, Event, Limits, Unsupported, Value};

/// Something being loaded.
#[derive(Debug)]
pub(super) struct Load {
    decoder: Box<Decoder>,
    pub(super) from_master: bool,
    /// All bytes are in; the rest is under way.
    pub(super) ended: bool,
    failed: bool,
}

impl Load {
    /// The last byte of it was read.
    #[must_use]
    pub(super) fn is_over(&self) -> bool {
        self.decoder.finished()
    }

    #[must_use]
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }
}

impl Control {
    /// A load begins: everything goes, and clients are told to wait.
    pub(super) fn begin_load(&mut self, cx: &mut ControlCx<'_>, from_master: bool) {
        self.view.loading = true;
        self.show(cx);
        cx.core.abort_script(cx.out);
        cx.core.step(Step::Flush { db: None });
        cx.core.step(Step::Functions(functions::Change::Flush));
        for core in 1..self.cores {
            cx.out.mail[core].push(Message::Empty);
        }
        (self.following.loaded_keys, self.following.loaded_db) = (0, 0);
        (self.following.load_began_s, self.following.load_bytes) = (cx.now().wall.ms() / 1_000, 0);
        self.new_decoder(cx);
        if let Some(load) = self.following.load.as_mut() {
            load.from_master = from_master;
        }
    }

    /// What comes now is an RDB.
    pub(super) fn new_decoder(&mut self, cx: &mut ControlCx<'_>) {
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
        self.following.load =
            Some(Load { decoder, from_master: false, ended: false, failed: false });
    }

    pub(super) fn drop_load(&mut self, cx: &mut ControlCx<'_>) {
        if self.following.load.take().is_some() {
            self.view.loading = false;
            self.show(cx);
        }
    }

    /// A library of functions, for every core.
    fn load_library(&self, cx: &mut ControlCx<'_>, code: &[u8]) {
        let change = functions::Change::Load { code: code.to_vec(), replace: false };
        for core in 1..self.cores {
            cx.out.mail[core].push(Message::Function(Box::new(change.clone())));
        }
        if let Err(error) = cx.core.change_functions(&change) {
            let mut line = Vec::new();
            error.write_to(&mut line);
            let line = String::from_utf8_lossy(&line).trim_end().to_string();
            cx.log(Level::Warning, format!("A library could not be loaded: {line}"));
        }
    }

    /// Returns how many bytes are left behind the end of it.
    pub(super) fn load_bytes(&mut self, cx: &mut ControlCx<'_>, mut bytes: &[u8]) -> usize {
        let Some(mut load) = self.following.load.take() else { return 0 };
        let of_aof = self.aof.is_loading();
        if !of_aof {
            self.following.load_bytes += bytes.len() as u64;
        }
        let part = cx.core.shared.table.part("load");
        while !load.failed {
            match load.decoder.next(&mut bytes) {
                Ok(None) => break,
                Ok(Some(Event::Entry { db, key, value, expiry_ms, .. })) => {
                    let expired = expiry_ms.is_some_and(|at| at <= cx.now().wall.ms());
                    // On a replica only its master's DEL ends a key, and where the history goes on our
                    // replicas must hear of its end.
                    let ends = !load.from_master
                        && !of_aof // What was written since may have kept it.
                        && !self.view.is_replica()
                        && self.following.saved.is_none();
                    if expired && ends {
                        continue;
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
                Ok(Some(Event::Function { code })) => self.load_library(cx, code),
                Ok(Some(Event::Aux { name, value })) => {
                    if of_aof {
                        // Its place in a history is told by the increments.
                    } else if name == b"repl-id" && !load.from_master {
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
        bytes.len()
    }

    /// Something of a load was executed: it may be over, or go on reading.
    pub(super) fn load_goes_on(&mut self, cx: &mut ControlCx<'_>) {
        self.pace_link(cx);
        if self.aof.is_loading() {
            return self.aof_goes_on(cx);
        }
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
        if from_master {
            self.view.loading = false;
            self.show(cx);
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
        if self.resumes_history() {
            // Not before all cores log their writes is this node open to its clients.
            return self.section(cx, Op::Stream { on: true }, None);
        }
        self.begin_to_serve(cx);
    }

    /// The data set is here.
    pub(super) fn begin_to_serve(&mut self, cx: &mut ControlCx<'_>) {
        self.view.loading = false;
        self.show(cx);
        self.file_loaded(cx);
    }

    /// A master that starts with the data of a history goes on with that: its replicas, if they had
    /// as much of it, need no copy.
    fn resumes_history(&self) -> bool {
        let following = &self.following;
        following.saved.is_some() && following.master.is_none() && following.reload.is_none()
    }

    /// All cores log from here on: at the file's offset. The name is a new one, because under the
    /// old one somebody may have bytes that this file lacks.
    pub(super) fn resume_history(&mut self, cx: &mut ControlCx<'_>) -> bool {
        if !self.view.loading || !self.resumes_history() {
            return false;
        }
        let Some((saved, offset)) = self.following.saved.take() else { return false };
        let replid = self.new_replid();
        self.history.begin(saved);
        self.history.promote(replid, offset);
        self.ring = Some(Ring::new(offset));
        self.merger.reselect();
        self.view.streaming = true;
        self.view.loading = false;
        self.show(cx);
        cx.log(Level::Notice, format!("The history of the file goes on at offset {offset}"));
        self.file_loaded(cx);
        true
    }

    /// One that is configured as a replica is one from the first moment: it deletes nothing that its
    /// file has and nobody writes to it, though the link comes only when the file is loaded.
    pub(super) fn start(&mut self, cx: &mut ControlCx<'_>) {
        if let Some(master) = self.view.settings.replicaof.clone() {
            self.following.master = Some((master.host, master.port));
            self.view.role = Role::Replica { linked: false };
        }
        if self.view.settings.appendonly {
            self.view.loading = true;
            self.show(cx);
            return self.ask_manifest(cx, true);
        }
        self.load_file(cx);
    }

    /// Asks for the file; nothing else happens before it is loaded.
    pub(super) fn load_file(&mut self, cx: &mut ControlCx<'_>) {
        self.begin_load(cx, false);
        self.read_file(cx);
    }

    fn read_file(&mut self, cx: &mut ControlCx<'_>) {
        if !self.following.reading {
            self.following.reading = true; // One read at a time.
            cx.out.actions.push(Action::LoadFile { path: None });
        }
    }

    pub(super) fn file_bytes(&mut self, cx: &mut ControlCx<'_>, bytes: &[u8]) {
        if self.aof.is_loading() {
            return self.aof_bytes(cx, bytes);
        }
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
        if self.aof.is_loading() {
            return self.aof_absent(cx);
        }
        self.following.reading = false;
        if self.aof.is_on() && !self.view.is_replica() && self.following.reload.is_none() {
            self.following.load = None;
            self.aof_begins(cx);
            return self.section(cx, Op::Stream { on: true }, None);
        }
        self.drop_load(cx);
        self.file_loaded(cx);
    }

    pub(super) fn file_unreadable(&mut self, cx: &mut ControlCx<'_>, why: &str) {
        cx.log(Level::Warning, format!("The file cannot be read: {why}"));
        cx.out.actions.push(Action::Exit { code: 1 });
    }

    fn file_loaded(&mut self, cx: &mut ControlCx<'_>) {
        self.snapshots.changes = 0;
        match self.following.reload.take() {
            Some(from) => {
                self.following.saved = None; // What this node is in now it has been in before.
                cx.answer_ok(from);
            }
            None => {
                cx.out.actions.push(Action::Ready);
                let new = self.ring.as_ref().is_none_or(|ring| ring.end() == 0);
                self.born_empty = self.following.loaded_keys == 0 && new;
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
