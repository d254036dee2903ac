//! Every attached replica, as this node sees it.
//!
//! ```text
//!  Handshake -PSYNC-> (+CONTINUE) ------------------------------------------------> Online
//!        \---PSYNC-> WaitSnapshot -> [WaitSize ->] Receiving -> [AwaitAck ->] ------> Online
//!                    +FULLRESYNC at the cut         $EOF mode ends with an ACK
//! ```
//!
//! A replica is a cursor in the ring. All that wait when a snapshot starts share it; one that
//! comes later joins it as long as none of its bytes has left and the ring still reaches back to
//! its cut, else waits for the next.
//!
//! A replica of ours may have the stream by several connections (`flows.rs`): then its cursor is that of its `Spread`, and what
//! concerns only that is in `master/flowing.rs`.
//!
//! One that can go on in the middle of a payload, and lost its link there, is waited for: `resume.rs`.
//!
//! Invariants:
//!   * a cursor is inside the ring: the caller trims with [`Master::slowest_cursor`];
//!   * one send per replica is in flight; `Sent` moves the cursor and asks for the next;
//!   * nobody is forgotten before `Closed` (a send may still point into the ring);
//!   * an ACK never counts beyond the history's end, whatever the replica says.
//!
//! The caller makes snapshots and puts their bytes, between header and mark, onto the links of
//! [`Master::receivers`]; what this machine says to a link keeps its order.
//!
//! Not here: the ring itself, WAIT (`acks.rs`), INFO's text (`info.rs`).

mod flowing;

use std::ops::Range;

use crate::base::limits::{REPLICAS_MAX, SYNC_WELL_MS};
use crate::base::time::Mono;
use crate::replication::admission::Admission;
use crate::replication::attached::{Attached, LinkId, Row, Said, State};
use crate::replication::behind::{self, Verdict};
use crate::replication::flows::{self, Join, Offer};
use crate::replication::lag::Marks;
use crate::replication::psync::{Answer, FullReason, History, Request};
use crate::replication::resume::{Mark, Payloads, Released};
use crate::replication::spread::Piece;
use crate::resp::error::ErrorKind;

/// What an operator may set; the names are `redis.conf`'s.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// `repl-ping-replica-period`.
    pub ping_period_ms: u64,
    /// `repl-timeout`.
    pub timeout_ms: u64,
    /// `repl-diskless-sync-delay`: how long the first to wait lets others join.
    pub snapshot_delay_ms: u64,
    /// `repl-diskless-sync-max-replicas`: when so many wait they wait no longer; 0 for no such number.
    pub snapshot_replicas_max: usize,
    /// `client-output-buffer-limit replica`, 0 for none.
    pub output_hard_bytes: u64,
    pub output_soft_bytes: u64,
    pub output_soft_ms: u64,
    /// `repl-backlog-size`: a limit below it would drop whom PSYNC has just let continue.
    pub backlog_bytes: u64,
    /// Bytes of the ring that a file may have besides.
    pub spill_bytes: u64,
    /// `repl-writers-wait`: how long writers wait for a replica that takes nothing.
    pub writers_wait_ms: u64,
    /// `repl-flows`: connections that a replica is offered for the stream; 0 for none.
    pub flows: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping_period_ms: 10_000,
            timeout_ms: 60_000,
            snapshot_delay_ms: 0,
            snapshot_replicas_max: 0,
            output_hard_bytes: 256 << 20,
            output_soft_bytes: 64 << 20,
            output_soft_ms: 60_000,
            backlog_bytes: 1 << 20,
            spill_bytes: 0,
            writers_wait_ms: 5_000,
            flows: 0,
        }
    }
}

/// The stream as it is now, lent for a call.
#[derive(Debug, Clone)]
pub struct Stream<'a> {
    pub history: &'a History,
    /// The ring's bytes; `None` while there is no backlog.
    pub held: Option<Range<u64>>,
    pub source: Source,
}

/// Whose writes the stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Own,
    /// A master's, repeated verbatim: nothing of ours may get between.
    Master,
    /// A master's, but the link is down or not yet up: nobody can be served from scratch.
    MasterLost,
}

/// All that can happen.
#[derive(Debug)]
pub enum Input<'a> {
    /// REPLCONF's arguments without its name.
    Replconf {
        from: LinkId,
        options: &'a [&'a [u8]],
    },
    /// PSYNC's two arguments, or none for SYNC; `peer` is the address the replica comes from.
    Psync {
        from: LinkId,
        args: Option<[&'a [u8]; 2]>,
        peer: &'a [u8],
    },
    /// A connection is to be one of a replica's flows.
    JoinFlow {
        from: LinkId,
        join: Join,
    },
    /// What `SendFrames` took may be asked for.
    Flush,
    /// A replica that loads sends empty lines, so that we see it live.
    Newline {
        from: LinkId,
    },
    /// The snapshot asked for was cut when the stream was `cut` long. With a mark it is sent as
    /// it grows; without one its size comes later.
    SnapshotStarted {
        cut: u64,
        mark: Option<[u8; 40]>,
    },
    /// All of an unmarked snapshot is spooled.
    SnapshotSize {
        bytes: u64,
    },
    /// Its first bytes leave now: nobody may join any more.
    SnapshotFlows,
    /// So many bytes of it were made and put onto the links of [`Master::receivers`].
    SnapshotGrew {
        bytes: u64,
    },
    /// No more bytes come.
    SnapshotEnded,
    SnapshotFailed,
    /// Some of the snapshot's bytes left for this replica; `all` of them, the mark included.
    SnapshotSent {
        to: LinkId,
        all: bool,
    },
    /// So many bytes of the ring left for this replica, or all of a flow's frames.
    Sent {
        to: LinkId,
        bytes: usize,
    },
    /// The link is gone, and nothing of it is in flight.
    Closed {
        from: LinkId,
    },
    /// The ring has grown.
    Appended,
    /// The ring lost some of its oldest bytes: who needs them cannot go on.
    BytesLost,
    /// The history is another one: who reads it cannot go on.
    HistoryChanged,
    /// At least once a second.
    Tick,
}

/// All that this machine wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Reply {
        to: LinkId,
        bytes: Vec<u8>,
    },
    /// Send of the ring from here on, as much as suits.
    SendFromRing {
        to: LinkId,
        from: u64,
    },
    /// Its flows have the ring from here on: send no more of it by its own link.
    StopRing {
        to: LinkId,
    },
    /// Send these parts of the ring as frames; what is not at hand goes back by `put_back`.
    SendFrames {
        to: LinkId,
        pieces: Vec<Piece>,
    },
    /// Cut a snapshot soon. `eof`: it may be sent as it grows; else it must be spooled first.
    NeedSnapshot {
        eof: bool,
    },
    /// PING into the stream.
    StreamPing,
    /// A replica starts from nothing, and why: for the log.
    FullResync {
        to: LinkId,
        reason: FullReason,
        /// It was here for the same too often of late, and has to wait.
        wait_ms: u64,
    },
    /// It goes on with a payload: the bytes that are kept of it from `from` on come next and, if it is `over`, its mark.
    Resume {
        to: LinkId,
        mark: Mark,
        from: u64,
        over: bool,
    },
    /// Bytes of a payload that nobody will ask for any more.
    Release(Released),
    Close {
        to: LinkId,
        reason: CloseReason,
    },
}

/// Why a replica is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    Timeout,
    OutputHardLimit,
    OutputSoftLimit,
    SnapshotFailed,
    /// It wanted the RDB only, and has it.
    RdbOnlyDone,
    HistoryChanged,
    BytesLost,
    TooManyReplicas,
    /// It is here a second time, and goes on there.
    Superseded,
    /// It was a flow of a replica whose own link is gone.
    FlowOver,
}

/// What INFO's Stats section shows of synchronisations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub sync_full: u64,
    pub sync_partial_ok: u64,
    pub sync_partial_err: u64,
    /// Full syncs that went on where their link broke.
    pub sync_resumed: u64,
}

/// The snapshot being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Snapshot {
    None,
    Asked {
        eof: bool,
    },
    /// Cut; `open` while a late comer may join.
    Running {
        cut: u64,
        mark: Option<[u8; 40]>,
        open: bool,
    },
}

/// All attached replicas.
#[derive(Debug)]
pub struct Master {
    pub settings: Settings,
    replicas: Vec<Attached>,
    snapshot: Snapshot,
    /// Of the newest snapshot.
    number: u64,
    payloads: Payloads,
    counters: Counters,
    admission: Admission,
    writers_wait: bool,
    marks: Marks,
    pinged: Mono,
    newlines: Mono,
}

impl Master {
    #[must_use]
    pub fn new(settings: Settings, now: Mono) -> Self {
        let (replicas, snapshot) = (Vec::new(), Snapshot::None);
        let counters = Counters::default();
        Self {
            settings,
            replicas,
            snapshot,
            number: 0,
            payloads: Payloads::default(),
            counters,
            admission: Admission::default(),
            writers_wait: false,
            marks: Marks::default(),
            pinged: now,
            newlines: now,
        }
    }

    /// The only way in.
    pub fn handle(
        &mut self,
        now: Mono,
        stream: &Stream<'_>,
        input: Input<'_>,
        out: &mut Vec<Output>,
    ) {
        match input {
            Input::Replconf { from, options } => self.replconf(now, stream, from, options, out),
            Input::Psync { from, args, peer } => self.psync(now, stream, from, args, peer, out),
            Input::JoinFlow { from, join } => self.join_flow(now, stream, from, join, out),
            Input::Flush => self.flush(out),
            Input::Newline { from } => self.with(from, |it| (it.heard, it.took) = (now, now)),
            Input::SnapshotStarted { cut, mark } => {
                self.snapshot = Snapshot::Running { cut, mark, open: true };
                self.number += 1;
                if let Some(mark) = mark {
                    self.payloads.begin(self.number, mark, stream.history.replid, cut);
                }
                for index in 0..self.replicas.len() {
                    self.join(index, now, stream, out);
                }
            }
            Input::SnapshotSize { bytes } => self.size(now, bytes, out),
            Input::SnapshotFlows => {
                if let Snapshot::Running { open, mark: Some(_), .. } = &mut self.snapshot {
                    *open = false;
                }
            }
            Input::SnapshotGrew { bytes } => {
                self.payloads.grew(self.number, bytes);
                self.settle_payloads(out);
            }
            Input::SnapshotEnded => self.snapshot_ended(now, out),
            Input::SnapshotFailed => self.snapshot_failed(out),
            Input::SnapshotSent { to, all } => self.snapshot_sent(now, stream, to, all, out),
            Input::Sent { to, bytes } => self.sent(now, stream, to, bytes, out),
            Input::Closed { from } => self.closed(now, stream, from, out),
            Input::Appended => {
                if !self.replicas.is_empty() {
                    self.marks.note(now, stream.held.as_ref().map_or(0, |held| held.end));
                }
                self.replicas.iter_mut().for_each(|it| pump(it, stream, out));
            }
            Input::BytesLost => {
                let start = stream.held.as_ref().map_or(u64::MAX, |held| held.start);
                let behind = |it: &&mut Attached| it.cursor().is_some_and(|at| at < start);
                for replica in self.replicas.iter_mut().filter(behind) {
                    close(replica, CloseReason::BytesLost, out);
                }
            }
            Input::HistoryChanged => {
                if let Snapshot::Running { open, .. } = &mut self.snapshot {
                    *open = false; // Its cut is an offset of the history before.
                }
                for replica in self.replicas.iter_mut().filter(|it| it.state != State::Handshake) {
                    close(replica, CloseReason::HistoryChanged, out);
                }
                let mut released = Vec::new();
                self.payloads.clear(&mut released);
                out.extend(released.into_iter().map(Output::Release));
            }
            Input::Tick => self.tick(now, stream, out),
        }
    }

    /// The oldest byte that somebody needs: what the ring is trimmed by.
    #[must_use]
    pub fn slowest_cursor(&self) -> Option<u64> {
        self.replicas.iter().filter_map(Attached::cursor).chain(self.payloads.cursor()).min()
    }

    /// May somebody come back who lost his link in the middle of the newest snapshot?
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.payloads.is_awaited(self.number)
    }

    /// Replicas that are waited for to go on with a payload.
    #[must_use]
    pub fn away(&self) -> usize {
        self.payloads.away()
    }

    /// The links that get the running snapshot's bytes.
    pub fn receivers(&self) -> impl Iterator<Item = LinkId> + '_ {
        // One before it may still be on its way to somebody: it ends with its own mark.
        let receives = |it: &&Attached| {
            matches!(it.state, State::Receiving { .. }) && it.snapshot == self.number
        };
        self.replicas.iter().filter(receives).map(|it| it.link)
    }

    /// Did PSYNC or SYNC make a replica of that link?
    #[must_use]
    pub fn is_attached(&self, link: LinkId) -> bool {
        self.replicas.iter().any(|it| it.link == link && it.state != State::Handshake)
            || self.flow_of(link).is_some()
    }

    /// Replicas that acknowledged at least `offset`: what WAIT counts.
    #[must_use]
    pub fn acked(&self, offset: u64) -> usize {
        self.online().filter(|it| it.ack >= offset).count()
    }

    /// Replicas whose append-only file has `offset` synced: what WAITAOF counts.
    #[must_use]
    pub fn synced(&self, offset: u64) -> usize {
        self.online().filter(|it| it.synced >= offset).count()
    }

    /// Replicas heard of within `lag_max_s`: what `min-replicas-to-write` counts.
    #[must_use]
    pub fn good_replicas(&self, now: Mono, lag_max_s: u64) -> usize {
        self.online().filter(|it| now.ms_since(it.heard) / 1_000 <= lag_max_s).count()
    }

    /// Must writers wait for a replica that is far behind? The stream ends at `end`.
    pub fn writers_wait(&mut self, now: Mono, end: u64) -> bool {
        let (settings, waiting) = (&self.settings, self.writers_wait);
        let verdicts = self.replicas.iter_mut().map(|it| {
            let verdict = behind::judge(it, settings, now, end, waiting);
            verdict == Verdict::Wait
        });
        self.writers_wait = verdicts.fold(false, |any, waits| any | waits);
        self.writers_wait
    }

    /// INFO's `slaveN` lines, in the order of arrival. ROLE lists those whose state is `online`.
    pub fn rows(&self, now: Mono) -> impl Iterator<Item = Row<'_>> {
        self.replicas.iter().filter_map(move |it| it.row(now))
    }

    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// `CONFIG RESETSTAT`
    pub fn reset_counters(&mut self) {
        self.counters = Counters::default();
    }

    fn online(&self) -> impl Iterator<Item = &Attached> {
        self.replicas.iter().filter(|it| matches!(it.state, State::Online { .. }))
    }

    fn with(&mut self, link: LinkId, act: impl FnOnce(&mut Attached)) {
        self.with_marks(link, |replica, _| act(replica));
    }

    fn with_marks(&mut self, link: LinkId, act: impl FnOnce(&mut Attached, &Marks)) {
        if let Some(replica) = self.replicas.iter_mut().find(|it| it.link == link) {
            act(replica, &self.marks);
        }
    }

    /// Replicas that follow the stream; each knows how long bytes took to be sent to it, and to be acknowledged.
    pub fn following(&self) -> impl Iterator<Item = &Attached> {
        self.online()
    }

    /// The row of `link`, made now if it is new; `None` if there are too many.
    fn row_of(&mut self, link: LinkId, now: Mono, out: &mut Vec<Output>) -> Option<usize> {
        let known = self.replicas.iter().position(|it| it.link == link);
        if known.is_none() {
            if self.replicas.len() >= REPLICAS_MAX {
                out.push(Output::Close { to: link, reason: CloseReason::TooManyReplicas });
                return None;
            }
            self.replicas.push(Attached::new(link, now));
        }
        known.or(Some(self.replicas.len() - 1))
    }

    fn replconf(
        &mut self,
        now: Mono,
        stream: &Stream<'_>,
        from: LinkId,
        options: &[&[u8]],
        out: &mut Vec<Output>,
    ) {
        let Some(index) = self.row_of(from, now, out) else { return };
        let replica = &mut self.replicas[index];
        let offer = self.settings.flows;
        match replica.replconf(options) {
            Said::Ok if offer > 0 && replica.flows && names(options, flows::CAPABILITY) => {
                let bytes = Offer { flows: offer, token: from }.line();
                out.push(Output::Reply { to: from, bytes });
            }
            Said::Ok => out.push(Output::Reply { to: from, bytes: b"+OK\r\n".to_vec() }),
            Said::Refused(error) => refuse(from, &error, out),
            Said::Ack { offset, synced } => {
                acknowledged(replica, &self.marks, now, stream, [offset, synced.unwrap_or(0)], out);
                self.settle_payloads(out);
            }
            Said::Received(bytes) => {
                (replica.heard, replica.took) = (now, now);
                let made = self.payloads.made(replica.snapshot);
                replica.received = replica.received.max(bytes.min(made));
                self.settle_payloads(out);
            }
            Said::Nothing => {}
        }
    }

    fn psync(
        &mut self,
        now: Mono,
        stream: &Stream<'_>,
        from: LinkId,
        args: Option<[&[u8]; 2]>,
        peer: &[u8],
        out: &mut Vec<Output>,
    ) {
        let Some(index) = self.row_of(from, now, out) else { return };
        let replica = &mut self.replicas[index];
        if replica.state != State::Handshake {
            return; // Redis ignores it too.
        }
        if stream.source == Source::MasterLost {
            return refuse(from, &ErrorKind::SyncWithoutMasterLink, out);
        }
        let request = match args {
            None => Some(Request::Sync),
            Some([replid, offset]) => Request::parse(replid, offset),
        };
        let Some(request) = request else {
            return refuse(from, &ErrorKind::NotAnInteger, out);
        };
        if replica.ip.is_empty() {
            replica.ip = peer.to_vec();
        }
        (replica.heard, replica.waits_since, replica.took) = (now, now, now);
        replica.not_before = now;
        match stream.history.answer(request, stream.held.clone()) {
            Answer::Continue { resume } => {
                let mut line = b"+CONTINUE".to_vec();
                if replica.capa_psync2 {
                    line.push(b' ');
                    line.extend_from_slice(&stream.history.replid);
                }
                line.extend_from_slice(b"\r\n");
                out.push(Output::Reply { to: from, bytes: line });
                (replica.ack, replica.synced) = (resume, 0);
                replica.state = State::Online { cursor: resume, in_flight: false };
                replica.goes_online(now, &self.marks);
                self.counters.sync_partial_ok += 1;
                pump(replica, stream, out);
            }
            Answer::Full(reason) => {
                if self.resume(index, now, stream, out) {
                    return;
                }
                let replica = &mut self.replicas[index];
                let asked_more = matches!(request, Request::Resume { .. } | Request::Stranger);
                self.counters.sync_partial_err += u64::from(asked_more);
                self.counters.sync_full += 1;
                replica.sync_only = request == Request::Sync;
                replica.state = State::WaitSnapshot;
                let wait_ms = self.admission.ask(now, &replica.ip, replica.port);
                replica.not_before = now.plus_ms(wait_ms);
                out.push(Output::FullResync { to: from, reason, wait_ms });
                self.join(index, now, stream, out);
                self.ask_for_snapshot(now, out);
            }
        }
    }

    /// Goes on with a payload of which the replica has a part, if its rest is here.
    fn resume(
        &mut self,
        index: usize,
        now: Mono,
        stream: &Stream<'_>,
        out: &mut Vec<Output>,
    ) -> bool {
        let replica = &mut self.replicas[index];
        let (link, ip, port) = (replica.link, replica.ip.clone(), replica.port);
        let have = replica.have.take();
        let fits = |have| self.payloads.fitting(have, stream.history, stream.held.as_ref());
        let Some((have, payload)) = have.and_then(|have| Some((have, fits(have)?))) else {
            self.payloads.is_here(&ip, port);
            self.settle_payloads(out);
            return false;
        };
        let (number, cut, over) = (payload.number, payload.cut, payload.over);
        let (mark, from) = (have.mark, have.bytes);
        replica.state = State::Receiving { cut, eof: true };
        (replica.heard, replica.took) = (now, now);
        (replica.snapshot, replica.received, replica.ack) = (number, from, 0);
        let replid = String::from_utf8_lossy(&stream.history.replid);
        let mut bytes = format!("+FULLRESYNC {replid} {cut} {from}\r\n$EOF:").into_bytes();
        bytes.extend_from_slice(&mark);
        bytes.extend_from_slice(b"\r\n");
        out.push(Output::Reply { to: link, bytes });
        out.push(Output::Resume { to: link, mark, from, over });
        self.counters.sync_resumed += 1;
        // A link that broke without a word may still stand on our side.
        let stale = |it: &&mut Attached| {
            it.link != link && it.ip == ip && it.port == port && it.receives() == Some(number)
        };
        for old in self.replicas.iter_mut().filter(stale) {
            close(old, CloseReason::Superseded, out);
        }
        self.payloads.is_here(&ip, port);
        self.settle_payloads(out);
        true
    }

    /// The link is gone. Who was in the middle of a payload may come back.
    fn closed(&mut self, now: Mono, stream: &Stream<'_>, link: LinkId, out: &mut Vec<Output>) {
        self.flow_closed(stream, link, out);
        let until = now.plus_ms(self.settings.timeout_ms);
        if let Some(replica) = self.replicas.iter().find(|it| it.link == link) {
            self.payloads.leaves(replica, until);
        }
        self.replicas.retain(|it| it.link != link);
        self.settle_payloads(out);
    }

    fn settle_payloads(&mut self, out: &mut Vec<Output>) {
        let mut released = Vec::new();
        self.payloads.settle(&self.replicas, &mut released);
        out.extend(released.into_iter().map(Output::Release));
    }

    /// Gives the running snapshot to a replica that waits, if it still can have it.
    fn join(&mut self, index: usize, now: Mono, stream: &Stream<'_>, out: &mut Vec<Output>) {
        let Snapshot::Running { cut, mark, open: true } = self.snapshot else { return };
        let replica = &mut self.replicas[index];
        let reachable = stream.held.as_ref().is_some_and(|held| held.start <= cut);
        let able = mark.is_none() || replica.capa_eof;
        let early = now < replica.not_before;
        if replica.state != State::WaitSnapshot || !reachable || !able || early {
            return;
        }
        let mut bytes = Vec::new();
        if !replica.sync_only {
            let replid = String::from_utf8_lossy(&stream.history.replid);
            let position = if replica.resumes && mark.is_some() { " 0" } else { "" };
            bytes.extend_from_slice(format!("+FULLRESYNC {replid} {cut}{position}\r\n").as_bytes());
        }
        (replica.snapshot, replica.received) = (self.number, 0);
        (replica.heard, replica.took) = (now, now);
        (replica.ack, replica.synced) = (0, 0);
        replica.state = match mark {
            None => State::WaitSize { cut },
            Some(mark) => {
                bytes.extend_from_slice(b"$EOF:");
                bytes.extend_from_slice(&mark);
                bytes.extend_from_slice(b"\r\n");
                State::Receiving { cut, eof: true }
            }
        };
        if !bytes.is_empty() {
            out.push(Output::Reply { to: replica.link, bytes });
        }
    }

    fn size(&mut self, now: Mono, size: u64, out: &mut Vec<Output>) {
        if let Snapshot::Running { open, .. } = &mut self.snapshot {
            *open = false;
        }
        for replica in &mut self.replicas {
            if let State::WaitSize { cut } = replica.state {
                replica.state = State::Receiving { cut, eof: false };
                (replica.heard, replica.took) = (now, now);
                let bytes = format!("${size}\r\n").into_bytes();
                out.push(Output::Reply { to: replica.link, bytes });
            }
        }
    }

    fn snapshot_ended(&mut self, now: Mono, out: &mut Vec<Output>) {
        let Snapshot::Running { mark, .. } = self.snapshot else { return };
        if let Some(mark) = mark {
            for to in self.receivers() {
                out.push(Output::Reply { to, bytes: mark.to_vec() });
            }
        }
        self.payloads.over(self.number);
        self.settle_payloads(out);
        self.snapshot = Snapshot::None;
        self.ask_for_snapshot(now, out);
    }

    fn snapshot_failed(&mut self, out: &mut Vec<Output>) {
        let started = matches!(self.snapshot, Snapshot::Running { .. });
        self.snapshot = Snapshot::None;
        let mut released = Vec::new();
        self.payloads.failed(self.number, &mut released);
        out.extend(released.into_iter().map(Output::Release));
        for replica in &mut self.replicas {
            let hit = match replica.state {
                State::WaitSnapshot => !started,
                State::WaitSize { .. } | State::Receiving { .. } => {
                    started && replica.snapshot == self.number
                }
                State::Handshake
                | State::AwaitAck { .. }
                | State::Online { .. }
                | State::Closing { .. } => false,
            };
            if hit {
                close(replica, CloseReason::SnapshotFailed, out);
            }
        }
    }

    fn snapshot_sent(
        &mut self,
        now: Mono,
        stream: &Stream<'_>,
        to: LinkId,
        all: bool,
        out: &mut Vec<Output>,
    ) {
        self.with_marks(to, |replica, marks| {
            let State::Receiving { cut, eof } = replica.state else { return };
            (replica.heard, replica.took) = (now, now);
            if all && replica.rdb_only {
                close(replica, CloseReason::RdbOnlyDone, out);
            } else if all && eof {
                replica.state = State::AwaitAck { cut };
            } else if all {
                replica.state = State::Online { cursor: cut, in_flight: false };
                replica.goes_online(now, marks);
                pump(replica, stream, out);
            }
        });
    }

    fn sent(
        &mut self,
        now: Mono,
        stream: &Stream<'_>,
        to: LinkId,
        bytes: usize,
        out: &mut Vec<Output>,
    ) {
        if self.flow_sent(now, to, out) {
            return;
        }
        self.with_marks(to, |replica, marks| {
            replica.took = now;
            if let State::Online { cursor, in_flight } = &mut replica.state {
                assert!(*in_flight, "bytes left that nobody asked for");
                (*cursor, *in_flight) = (*cursor + bytes as u64, false);
                marks.reached(&mut replica.sent_lag, now, *cursor);
                pump(replica, stream, out);
            }
        });
    }

    /// Asks for a snapshot if somebody waits, long enough for others to join, and none is made.
    fn ask_for_snapshot(&mut self, now: Mono, out: &mut Vec<Output>) {
        let waits = |it: &&Attached| it.state == State::WaitSnapshot && it.not_before <= now;
        let waiting = || self.replicas.iter().filter(waits);
        let longest = waiting().map(|it| now.ms_since(it.waits_since)).max();
        let most = self.settings.snapshot_replicas_max;
        let enough = most > 0 && waiting().count() >= most;
        let ready = longest.is_some_and(|ms| enough || ms >= self.settings.snapshot_delay_ms);
        if ready && self.snapshot == Snapshot::None {
            // One that does not know the mark makes all of them wait for the size.
            let eof = waiting().all(|it| it.capa_eof);
            self.snapshot = Snapshot::Asked { eof };
            out.push(Output::NeedSnapshot { eof });
        }
    }

    fn tick(&mut self, now: Mono, stream: &Stream<'_>, out: &mut Vec<Output>) {
        let attached = self.replicas.iter().any(|it| it.state != State::Handshake);
        if now.ms_since(self.pinged) >= self.settings.ping_period_ms {
            self.pinged = now;
            if attached && stream.source == Source::Own {
                out.push(Output::StreamPing);
            }
        }
        let newline = now.ms_since(self.newlines) >= 1_000;
        if newline {
            self.newlines = now;
        }
        for replica in &mut self.replicas {
            match replica.state {
                State::WaitSnapshot | State::WaitSize { .. } if newline => {
                    out.push(Output::Reply { to: replica.link, bytes: b"\n".to_vec() });
                }
                State::Receiving { .. } | State::AwaitAck { .. } | State::Online { .. } => {
                    let silent = now.ms_since(replica.heard) > self.settings.timeout_ms;
                    if silent && !replica.sync_only {
                        close(replica, CloseReason::Timeout, out);
                    }
                }
                State::WaitSnapshot
                | State::WaitSize { .. }
                | State::Handshake
                | State::Closing { .. } => {}
            }
            let end = stream.held.as_ref().map_or(0, |held| held.end);
            let verdict = behind::judge(replica, &self.settings, now, end, self.writers_wait);
            if let Verdict::Drop(reason) = verdict {
                close(replica, reason, out);
            }
            if replica.online_since.is_some_and(|since| now.ms_since(since) >= SYNC_WELL_MS) {
                self.admission.is_well(&replica.ip, replica.port);
            }
        }
        self.payloads.tick(now, stream.held.as_ref(), behind::limit(&self.settings));
        self.settle_payloads(out);
        self.ask_for_snapshot(now, out);
    }
}

/// Asks for the next send, if there are bytes and none is in flight.
fn pump(replica: &mut Attached, stream: &Stream<'_>, out: &mut Vec<Output>) {
    let Some(held) = &stream.held else { return };
    if flowing::goes_by_flows(replica, held, out) {
        return;
    }
    if let State::Online { cursor, in_flight } = &mut replica.state {
        assert!(held.start <= *cursor && *cursor <= held.end, "cursor {cursor} of {held:?}");
        if !*in_flight && *cursor < held.end {
            *in_flight = true;
            out.push(Output::SendFromRing { to: replica.link, from: *cursor });
        }
    }
}

fn acknowledged(
    replica: &mut Attached,
    marks: &Marks,
    now: Mono,
    stream: &Stream<'_>,
    [offset, synced]: [u64; 2],
    out: &mut Vec<Output>,
) {
    let end = stream.held.as_ref().map_or(0, |held| held.end);
    match replica.state {
        State::AwaitAck { cut } => {
            replica.state = State::Online { cursor: cut, in_flight: false };
            replica.took = now;
            replica.goes_online(now, marks);
            pump(replica, stream, out);
        }
        State::Online { .. } => {}
        // Redis' replicas acknowledge only what they were given; others count for nothing.
        State::Handshake
        | State::WaitSnapshot
        | State::WaitSize { .. }
        | State::Receiving { .. }
        | State::Closing { .. } => return,
    }
    replica.heard = now;
    if offset <= end {
        replica.ack = replica.ack.max(offset);
        marks.reached(&mut replica.ack_lag, now, replica.ack);
        replica.synced = replica.synced.max(synced.min(offset));
    }
}

fn close(replica: &mut Attached, reason: CloseReason, out: &mut Vec<Output>) {
    if !matches!(replica.state, State::Closing { .. }) {
        replica.state = State::Closing { cursor: replica.cursor() };
        out.push(Output::Close { to: replica.link, reason });
        flowing::close_flows(replica, out);
    }
}

/// Do these options of REPLCONF name that capability?
fn names(options: &[&[u8]], capability: &[u8]) -> bool {
    options.iter().any(|word| word.eq_ignore_ascii_case(capability))
}

fn refuse(to: LinkId, error: &ErrorKind, out: &mut Vec<Output>) {
    let mut bytes = Vec::new();
    error.write_to(&mut bytes);
    out.push(Output::Reply { to, bytes });
}
