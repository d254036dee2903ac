//! Snapshots: what the walks of all cores become, a full sync for replicas or the RDB file.
//!
//! ```text
//!   wanted -> Op::Cut (all cores at one instant) -> header -> chunks of all cores as they come
//!          -> last core done -> end and checksum -> replicas online | file renamed
//! ```
//!
//! One snapshot at a time; replicas that ask while one runs wait for the next. A chunk's producer
//! gets leave for another when the slowest receiver has taken it.

use crate::base::crc::Crc64;
use crate::base::limits::{FEED_BYTES_MAX, SPOOL_BYTES_MAX, SYNC_WINDOW_BYTES};
use crate::base::time::Now;
use crate::node::control::{Control, ControlCx, Op, conn_of};
use crate::node::core::FileEvent;
use crate::node::feed::SnapshotPart;
use crate::node::kept::Kept;
use crate::node::message::{Message, Return};
use crate::node::outbox::{Action, Level, SaveStep};
use crate::replication::master;
use crate::resp::error::ErrorKind;
use crate::snapshot::cut::Chunk;
use crate::snapshot::encode;
use bytes::Bytes;
use std::collections::VecDeque;

/// Snapshots wanted, under way and done.
#[derive(Debug)]
pub struct Snapshots {
    /// Replicas wait; `true`: all of them take the EOF-marked form.
    sync_wanted: Option<bool>,
    file_wanted: Option<Option<Return>>,
    /// The append-only file wants a new base.
    pub(super) base_wanted: bool,
    cutting: bool,
    /// The cut under way makes commands, not RDB.
    cut_commands: bool,
    running: Option<Running>,
    /// What replicas that lose their link may go on with.
    pub(super) kept: Kept,
    /// Writes since the last save, as far as core 0 was told.
    pub changes: u64,
    pub last_save_s: u64,
    pub last_attempt_s: u64,
    pub last_ok: bool,
    pub last_took_s: Option<u64>,
    pub saves: u64,
    /// The stream has grown by something other than writes.
    pub appended: bool,
    /// DEBUG RELOAD waits for the save to end.
    pub reload: Option<Return>,
}

#[derive(Debug)]
struct Running {
    sink: Sink,
    /// Cores whose walk has not ended.
    cores_left: usize,
    crc: Crc64,
    keys: u64,
    /// Chunks that came between two of one value of another core.
    chunks: VecDeque<(usize, Chunk)>,
    /// The core whose chunk must come next.
    together: Option<usize>,
    /// Whose chunks wait to be taken, oldest first.
    credits: VecDeque<usize>,
    /// File steps that have not been confirmed.
    unconfirmed: usize,
    failed: bool,
    began_s: u64,
    /// What a file has, once it is whole.
    changes: u64,
    bytes: u64,
}

#[derive(Debug)]
enum Sink {
    /// Replicas; `flowing`: bytes have left, nobody may join any more.
    Replicas {
        mark: Option<[u8; 40]>,
        flowing: bool,
        spool: Vec<Bytes>,
        spooled: u64,
    },
    File {
        from: Option<Return>,
    },
    /// The base of the append-only file.
    Base {
        commands: bool,
    },
}

impl Snapshots {
    #[must_use]
    pub fn new(now: Now) -> Self {
        Self {
            sync_wanted: None,
            file_wanted: None,
            base_wanted: false,
            cutting: false,
            cut_commands: false,
            running: None,
            kept: Kept::default(),
            changes: 0,
            last_save_s: now.wall.ms() / 1_000,
            last_attempt_s: 0,
            last_ok: true,
            last_took_s: None,
            saves: 0,
            appended: false,
            reload: None,
        }
    }

    pub fn want_sync(&mut self, eof: bool) {
        self.sync_wanted = Some(self.sync_wanted.unwrap_or(true) && eof);
    }

    pub fn note_changes(&mut self, changes: u64) {
        self.changes += changes;
    }

    #[must_use]
    pub fn is_saving(&self) -> bool {
        self.file_wanted.is_some()
            || matches!(self.running, Some(Running { sink: Sink::File { .. }, .. }))
    }

    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.running.is_some() || self.cutting
    }

    #[must_use]
    pub fn save_began_s(&self) -> Option<u64> {
        self.running.as_ref().map(|it| it.began_s)
    }
}

impl Control {
    /// Replicas wait for a snapshot.
    pub(super) fn want_sync(&mut self, cx: &mut ControlCx<'_>, eof: bool) {
        self.snapshots.want_sync(eof);
        self.next_snapshot(cx);
    }

    /// Saves to the RDB file; `from` is answered when that is done.
    pub(super) fn save(&mut self, cx: &mut ControlCx<'_>, from: Option<Return>, _wait: bool) {
        if self.snapshots.is_saving() {
            if let Some(from) = from {
                cx.answer_error(from, &ErrorKind::BgsaveInProgress);
            }
            return;
        }
        self.snapshots.file_wanted = Some(from);
        self.next_snapshot(cx);
    }

    pub(super) fn background_save(&mut self, cx: &mut ControlCx<'_>, from: Return, schedule: bool) {
        if self.snapshots.is_saving() {
            cx.answer_error(from, &ErrorKind::BgsaveInProgress);
            return;
        }
        let waits = self.snapshots.running.is_some();
        self.save(cx, None, false);
        if waits && schedule {
            cx.answer(from, b"+Background saving scheduled\r\n");
        } else {
            cx.answer(from, b"+Background saving started\r\n");
        }
    }

    /// Save points: so many seconds and so many changes.
    pub(super) fn save_rules(&mut self, cx: &mut ControlCx<'_>) {
        const RETRY_SECONDS: u64 = 5;
        let now_s = cx.now().wall.ms() / 1_000;
        let since = now_s.saturating_sub(self.snapshots.last_save_s);
        let due =
            self.view.settings.save.iter().any(|rule| {
                self.snapshots.changes >= u64::from(rule.changes) && since >= rule.seconds
            });
        let retry = self.snapshots.last_ok
            || now_s.saturating_sub(self.snapshots.last_attempt_s) > RETRY_SECONDS;
        if due
            && self.snapshots.changes > 0
            && retry
            && !self.snapshots.is_saving()
            && !self.view.loading
        {
            cx.log(
                Level::Notice,
                format!("{} changes in {since} seconds. Saving...", self.snapshots.changes),
            );
            self.save(cx, None, false);
        }
    }

    pub(super) fn next_snapshot(&mut self, cx: &mut ControlCx<'_>) {
        let wanted = self.snapshots.sync_wanted.is_some()
            || self.snapshots.file_wanted.is_some()
            || self.snapshots.base_wanted;
        if wanted && self.snapshots.running.is_none() && !self.snapshots.cutting {
            self.snapshots.cutting = true;
            if self.view.is_replica() {
                return self.cut_between_units(cx);
            }
            self.section(cx, Op::Cut, None);
        }
    }

    /// Must writes be logged from the next cut on? For replicas, not for a file alone.
    pub(super) fn cut_streams(&self) -> bool {
        !self.view.is_replica() && (self.view.streaming || self.snapshots.file_wanted.is_none())
    }

    /// What the cores make of their records from the next cut on: commands for a base that is to be of these, else RDB.
    pub(super) fn cuts_commands(&mut self) -> bool {
        let base = self.snapshots.file_wanted.is_none() && self.snapshots.base_wanted;
        self.snapshots.cut_commands = base && !self.view.settings.aof_use_rdb_preamble;
        self.snapshots.cut_commands
    }

    /// All cores are cut at one instant and walk from here on.
    pub(super) fn cut_done(&mut self, cx: &mut ControlCx<'_>) {
        self.snapshots.cutting = false;
        let commands = std::mem::take(&mut self.snapshots.cut_commands);
        if commands && !self.snapshots.base_wanted {
            // Nobody wants the base any more, and commands are of use for nothing else.
            self.abandon_walks(cx);
            return self.next_snapshot(cx);
        }
        let base = self.snapshots.base_wanted && (commands || self.snapshots.file_wanted.is_none());
        let file = if base { None } else { self.snapshots.file_wanted.take() };
        if file.is_none() {
            self.begin_stream(cx);
        }
        self.merger.reselect();
        let cut = self.data_offset();
        let sink = match file {
            None if base => {
                self.snapshots.base_wanted = false;
                let path = self.roll(cx, cut, commands);
                cx.out.actions.push(Action::Save(SaveStep::Begin(Some(path))));
                Sink::Base { commands }
            }
            Some(from) => {
                cx.out.actions.push(Action::Save(SaveStep::Begin(None)));
                self.snapshots.last_attempt_s = cx.now().wall.ms() / 1_000;
                Sink::File { from }
            }
            None => {
                let eof = self.snapshots.sync_wanted.take().unwrap_or(true);
                let mark = eof.then(|| self.new_replid());
                self.tell_replicas(cx, master::Input::SnapshotStarted { cut, mark });
                Sink::Replicas { mark, flowing: false, spool: Vec::new(), spooled: 0 }
            }
        };
        let unconfirmed = usize::from(matches!(sink, Sink::File { .. } | Sink::Base { .. }));
        self.snapshots.running = Some(Running {
            sink,
            cores_left: self.cores,
            crc: Crc64::default(),
            keys: 0,
            chunks: VecDeque::new(),
            together: None,
            credits: VecDeque::new(),
            unconfirmed,
            failed: false,
            began_s: cx.now().wall.ms() / 1_000,
            changes: self.snapshots.changes,
            bytes: 0,
        });
        let header = self.snapshot_header(cx, cut);
        self.snapshot_bytes(cx, Bytes::from(header));
    }

    /// A core's walk gave a chunk, or only says how many keys it passed.
    pub(super) fn chunk(
        &mut self,
        cx: &mut ControlCx<'_>,
        core: usize,
        chunk: Option<Chunk>,
        last: bool,
        keys: u64,
    ) {
        let Some(running) = self.snapshots.running.as_mut().filter(|it| !it.failed) else { return };
        running.keys += keys;
        running.cores_left -= usize::from(last);
        running.chunks.extend(chunk.map(|chunk| (core, chunk)));
        self.order_chunks(cx);
        let over = |it: &Running| it.cores_left == 0 && it.chunks.is_empty();
        if self.snapshots.running.as_ref().is_some_and(over) && last {
            self.walks_ended(cx);
        }
        self.take_chunks(cx);
    }

    /// Chunks go on as they come, but a value in several chunks stays together.
    fn order_chunks(&mut self, cx: &mut ControlCx<'_>) {
        while let Some(running) = self.snapshots.running.as_mut() {
            let next = running
                .chunks
                .iter()
                .position(|(core, _)| running.together.is_none_or(|together| together == *core));
            let Some((core, chunk)) = next.and_then(|at| running.chunks.remove(at)) else { return };
            running.together = chunk.continues.then_some(core);
            running.credits.push_back(core);
            self.snapshot_bytes(cx, chunk.bytes);
        }
    }

    /// Bytes of the snapshot go where it goes.
    fn snapshot_bytes(&mut self, cx: &mut ControlCx<'_>, bytes: Bytes) {
        let Some(running) = self.snapshots.running.as_mut() else { return };
        running.crc.update(&bytes);
        running.bytes += bytes.len() as u64;
        if bytes.is_empty() || running.failed {
            return;
        }
        match &mut running.sink {
            Sink::File { .. } | Sink::Base { .. } => {
                running.unconfirmed += 1;
                cx.out.actions.push(Action::Save(SaveStep::Append(bytes)));
            }
            Sink::Replicas { mark: None, spool, spooled, .. } => {
                *spooled += bytes.len() as u64;
                spool.push(bytes);
                if *spooled > SPOOL_BYTES_MAX {
                    self.fail_sync(cx, "too large for a replica that takes no EOF mark");
                }
            }
            Sink::Replicas { mark: Some(mark), flowing, .. } => {
                let mark = *mark;
                if !std::mem::replace(flowing, true) {
                    self.tell_replicas(cx, master::Input::SnapshotFlows);
                }
                self.push_to_receivers(&bytes);
                let grown = bytes.len() as u64;
                self.snapshots.kept.push(mark, bytes);
                self.tell_replicas(cx, master::Input::SnapshotGrew { bytes: grown });
            }
        }
    }

    fn push_to_receivers(&mut self, bytes: &Bytes) {
        let receivers: Vec<u64> = self.master.receivers().collect();
        for link in receivers {
            let feed = self.feed(conn_of(link));
            feed.snapshot = SnapshotPart::Growing;
            feed.push(bytes.clone());
        }
    }

    /// Every core's walk is done: the end, and what follows from it.
    fn walks_ended(&mut self, cx: &mut ControlCx<'_>) {
        let Some(running) = self.snapshots.running.as_ref() else { return };
        let checksum = self.view.settings.rdbchecksum.then_some(running.crc);
        let keys = running.keys;
        let mut end = Vec::new();
        if !matches!(running.sink, Sink::Base { commands: true }) {
            encode::end(&mut end, checksum);
        }
        self.snapshot_bytes(cx, Bytes::from(end));
        let Some(running) = self.snapshots.running.as_mut() else { return };
        match &mut running.sink {
            Sink::File { .. } | Sink::Base { .. } => {
                if !running.failed {
                    running.unconfirmed += 1;
                    cx.out.actions.push(Action::Save(SaveStep::Commit));
                }
            }
            Sink::Replicas { mark, spool, spooled, .. } => {
                let (marked, bytes) = (mark.is_some(), *spooled);
                let spool = std::mem::take(spool);
                if !marked {
                    self.tell_replicas(cx, master::Input::SnapshotSize { bytes });
                    spool.iter().for_each(|bytes| self.push_to_receivers(bytes));
                }
                let receivers: Vec<u64> = self.master.receivers().collect();
                self.tell_replicas(cx, master::Input::SnapshotEnded);
                for link in receivers {
                    self.feed(conn_of(link)).snapshot = SnapshotPart::Queued;
                }
                cx.log(Level::Notice, format!("Snapshot of {keys} keys queued for replicas"));
                self.snapshots.running = None;
                self.next_snapshot(cx);
            }
        }
    }

    /// Leave for more chunks, as far as the slowest receiver has taken them.
    pub(super) fn take_chunks(&mut self, cx: &mut ControlCx<'_>) {
        let waiting = self.feeds.iter().map(crate::node::feed::Feed::queued_bytes).max();
        let Some(running) = self.snapshots.running.as_ref() else { return };
        let blocked = match running.sink {
            Sink::File { .. } | Sink::Base { .. } => {
                running.unconfirmed > crate::base::limits::SAVE_STEPS_MAX
            }
            Sink::Replicas { mark, .. } => mark.is_some_and(|mark| {
                waiting.unwrap_or(0) > FEED_BYTES_MAX
                    || self.snapshots.kept.bytes_of(&mark) > SYNC_WINDOW_BYTES
            }),
        };
        let Some(running) = self.snapshots.running.as_mut().filter(|_| !blocked) else { return };
        while let Some(core) = running.credits.pop_front() {
            if core == 0 {
                cx.core.walker.taken();
            } else {
                cx.out.mail[core].push(Message::ChunkTaken);
            }
        }
    }

    /// A replica is gone; without any, and none that may come back for the rest, the walk is for nobody.
    pub(super) fn snapshot_receiver_gone(&mut self, cx: &mut ControlCx<'_>) {
        if let Some(Running { sink: Sink::Replicas { mark: Some(_), .. }, .. }) =
            self.snapshots.running
            && self.master.receivers().next().is_none()
            && !self.master.is_awaited()
        {
            self.fail_sync(cx, "no replica is left to send it to");
        }
        self.take_chunks(cx);
    }

    fn abandon_walks(&mut self, cx: &mut ControlCx<'_>) {
        cx.core.abandon_walk();
        for core in 1..self.cores {
            cx.out.mail[core].push(Message::AbandonWalk);
        }
    }

    fn fail_sync(&mut self, cx: &mut ControlCx<'_>, why: &str) {
        cx.log(Level::Warning, format!("Snapshot for replicas given up: {why}"));
        self.snapshots.running = None;
        self.abandon_walks(cx);
        self.tell_replicas(cx, master::Input::SnapshotFailed);
        self.next_snapshot(cx);
    }

    /// The file's writer says how a step went.
    pub(super) fn saved(&mut self, cx: &mut ControlCx<'_>, result: Result<(), String>) {
        let Some(running) = self.snapshots.running.as_mut() else { return };
        if !matches!(running.sink, Sink::File { .. } | Sink::Base { .. }) {
            return;
        }
        running.unconfirmed = running.unconfirmed.saturating_sub(1);
        if let Err(why) = result {
            self.fail_file(cx, &why);
        }
        self.settle_file(cx);
    }

    /// The base under way is given up.
    pub(super) fn fail_base(&mut self, cx: &mut ControlCx<'_>, why: &str) {
        if matches!(self.snapshots.running, Some(Running { sink: Sink::Base { .. }, .. })) {
            self.fail_file(cx, why);
            self.settle_file(cx);
        }
    }

    fn fail_file(&mut self, cx: &mut ControlCx<'_>, why: &str) {
        let Some(running) = self.snapshots.running.as_mut().filter(|it| !it.failed) else { return };
        running.failed = true;
        // Steps that wait behind the failed one are answered, too, and must not be taken for the
        // next file's.
        running.cores_left = 0;
        cx.log(Level::Warning, format!("Saving failed: {why}"));
        cx.out.actions.push(Action::Save(SaveStep::Abandon));
        self.abandon_walks(cx);
    }

    /// Goes on with a file, or ends it when all of its steps are answered.
    fn settle_file(&mut self, cx: &mut ControlCx<'_>) {
        let Some(running) = self.snapshots.running.as_ref() else { return };
        if running.cores_left > 0 || running.unconfirmed > 0 {
            return self.take_chunks(cx);
        }
        let (ok, began_s, bytes) = (!running.failed, running.began_s, running.bytes);
        let changes = running.changes;
        match self.snapshots.running.take().map(|it| it.sink) {
            Some(Sink::File { from }) => {
                if ok {
                    self.snapshots.changes = self.snapshots.changes.saturating_sub(changes);
                }
                self.save_ended(cx, from, ok, began_s);
            }
            _ => self.base_saved(cx, ok.then_some(bytes)),
        }
        self.next_snapshot(cx);
    }

    fn save_ended(&mut self, cx: &mut ControlCx<'_>, from: Option<Return>, ok: bool, began_s: u64) {
        let now_s = cx.now().wall.ms() / 1_000;
        self.snapshots.last_ok = ok;
        self.snapshots.last_took_s = Some(now_s.saturating_sub(began_s));
        if ok {
            self.snapshots.last_save_s = now_s;
            self.snapshots.saves += 1;
            cx.log(Level::Notice, "DB saved on disk");
        }
        if self.settle_save_failed() {
            self.show(cx);
        }
        match (from, ok) {
            (Some(from), true) if self.snapshots.reload != Some(from) => cx.answer_ok(from),
            (Some(from), false) => {
                cx.answer(from, b"-ERR saving failed, see the log\r\n");
                self.snapshots.reload = None;
            }
            _ => {}
        }
        if ok && self.snapshots.reload.is_some() {
            self.begin_reload(cx);
        }
        self.exit_saved(cx, ok);
    }

    /// Must writes be refused because the last save failed? `true`: that has changed.
    pub(super) fn settle_save_failed(&mut self) -> bool {
        let settings = &self.view.settings;
        let stops = settings.stop_writes_on_bgsave_error && !settings.save.is_empty();
        let failed = stops && !self.snapshots.last_ok;
        failed != std::mem::replace(&mut self.view.save_failed, failed)
    }

    fn snapshot_header(&self, cx: &ControlCx<'_>, cut: u64) -> Vec<u8> {
        match &self.snapshots.running {
            Some(Running { sink: Sink::Base { commands: true }, .. }) => {
                let mut header = Vec::new();
                cx.core.write_function_commands(&mut header);
                header
            }
            _ => self.rdb_header(cx, cut),
        }
    }

    fn rdb_header(&self, cx: &ControlCx<'_>, cut: u64) -> Vec<u8> {
        let mut header = Vec::new();
        let ctime = (cx.now().wall.ms() / 1_000).to_string();
        let used = (cx.core.keyspace.used_bytes() * self.cores).to_string();
        let offset = cut.to_string();
        let stream_db = self.following.stream_db().to_string();
        let mut rows: Vec<(&[u8], &[u8])> = vec![
            (b"redis-ver", crate::node::REDIS_VERSION.as_bytes()),
            (b"redis-bits", b"64"),
            (b"ctime", ctime.as_bytes()),
            (b"used-mem", used.as_bytes()),
        ];
        // Only where offsets follow the data: without a ring writes move no offset.
        let whole = !self.view.is_replica() || self.following.replica.has_data();
        if self.ring.is_some() && whole {
            rows.push((b"repl-stream-db", stream_db.as_bytes()));
            rows.push((b"repl-id", &self.history.replid));
            rows.push((b"repl-offset", offset.as_bytes()));
        }
        rows.push((b"aof-base", b"0"));
        encode::header(&mut header, &rows);
        cx.core.write_functions(&mut header);
        header
    }

    pub(super) fn file_event(&mut self, cx: &mut ControlCx<'_>, event: FileEvent) {
        match event {
            FileEvent::Saved => self.saved(cx, Ok(())),
            FileEvent::SaveFailed(why) => self.saved(cx, Err(why)),
            FileEvent::Read(bytes) => self.file_bytes(cx, &bytes),
            FileEvent::Absent => self.file_absent(cx),
            FileEvent::ReadFailed(why) => self.file_unreadable(cx, &why),
            FileEvent::Certificates(result) => self.certificates_read(cx, result),
            FileEvent::Text(result) => self.text_done(cx, result),
            FileEvent::Aof(answer) => self.aof_answered(cx, answer),
            FileEvent::Spilled(done) => self.spilled(cx, done),
        }
    }
}
