//! Our link to a master.
//!
//! ```text
//!  Idle -> Waiting -> Connecting -> Handshake -> Psync -+CONTINUE-------------------> Streaming
//!            ^                                     \-+FULLRESYNC-> Header -> Payload -> Loading -^
//!            \--- whatever is not expected, and every loss of the link
//! ```
//!
//! The caller owns the received bytes: it presents them with [`Input::Bytes`], carries out what
//! the outputs say about ranges of them, drops as many as `handle` returned, and presents the
//! rest again in front of what comes next. While it is loading nothing is consumed.
//!
//! Invariants:
//!   * `applied <= read`; both are at unit borders, and a transaction is one unit, so we never
//!     acknowledge, nor ask from, the middle of one (PSYNC then resumes at its MULTI);
//!   * we connect again only once all that was handed out is applied: what is asked for again
//!     would be applied twice;
//!   * once a byte of a snapshot is handed out, the old data set is no prefix of any history:
//!     until a load succeeds we ask for everything.
//!
//! REPLICAOF comes with all that was handed out applied or dropped, and a load under way ended:
//! from then on only the new position counts.
//!
//! A snapshot whose link broke is gone on with where it was, if its master can (`resume.rs`): until then the caller keeps
//! what it has loaded ([`Replica::is_half_loaded`]).
//!
//! Pacing: a lost link is retried each second; full syncs that fail, 1, 2, 4 .. 60 s apart.
//!
//! The traps: the mark that ends an unmarked-size RDB may be torn over reads at any byte, and the
//! stream may follow it at once; a master that sent one waits for our first ACK.
//!
//! Where the master offers flows (`flows.rs`), the caller has them, and presents what they bring: bytes of the stream as if they
//! were the link's, or the length of whole units that it has read by itself.
//!
//! Not here: loading, executing, the ring that our own replicas read. After a `Close` the caller
//! tells nothing more of that link.

use std::ops::Range;

use memchr::memmem;

use crate::base::limits::{MASTER_LINE_BYTES_MAX, SYNC_RECEIVED_BYTES};
use crate::base::time::Mono;
use crate::replication::flows::{self, Offer};
use crate::replication::log::encode_request;
use crate::replication::psync::{History, Replid, parse_i64, wire_of};
use crate::replication::resume::{self, Have, Mark};
use crate::replication::units::{Cutter, Unit};

const RETRY_MS: u64 = 1_000;
const RETRY_MS_MAX: u64 = 60_000;
const ACK_MS: u64 = 1_000;

/// Something new is acknowledged at once, unless something was so recently: WAIT and lags are as exact as that.
const ACK_NEWS_MS: u64 = 20;

/// What an operator may set of the link.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// `repl-timeout`.
    pub timeout_ms: u64,
    /// `masteruser` and `masterauth`.
    pub user: Option<Vec<u8>>,
    pub password: Option<Vec<u8>>,
    /// `repl-flows`: may the stream come by several connections?
    pub flows: bool,
    /// `replica-announce-port`, else our port; `replica-announce-ip`.
    pub port: u16,
    pub announce_ip: Option<Vec<u8>>,
}

/// All that can happen.
#[derive(Debug)]
pub enum Input<'a> {
    /// REPLICAOF. `offset`: our data is the first so many bytes of the lent history; `None`: it
    /// is of no history.
    Follow {
        offset: Option<u64>,
        /// FAILOVER: ask it to become a master first.
        failover: bool,
    },
    /// REPLICAOF NO ONE.
    Unfollow,
    Connected,
    /// Refused, reset or closed by the peer.
    Disconnected,
    Bytes(&'a [u8]),
    /// The load that `LoadDone` ended is over.
    Loaded,
    LoadFailed,
    /// Everything handed out up to `offset` is executed.
    Applied {
        offset: u64,
    },
    /// Whole units of the stream came by a flow, so many bytes: the caller has them executed.
    Flowed {
        bytes: u64,
    },
    /// A flow cannot be had any more.
    FlowLost,
    /// Our append-only file has so much of the history synced; `None`: there is none that has it all.
    Synced(Option<u64>),
    /// At least once a second.
    Tick,
}

/// All that this machine wants done; ranges are of the bytes just presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Connect,
    Send(Vec<u8>),
    Close(CloseReason),
    /// A snapshot comes: the old data may stay until the first `Load`.
    FullResync,
    /// The snapshot goes on where its link broke, at this byte.
    Resumed {
        bytes: u64,
    },
    /// The rest of what is loaded will not come.
    LoadAbandoned,
    Load(Range<usize>),
    LoadDone,
    /// Loaded: the lent history is the master's and `offset` bytes long: reset the ring, drop our
    /// own replicas.
    Adopted {
        offset: u64,
    },
    /// Loaded from a master that names no history: begin one of our own, at 0.
    AdoptedNameless,
    /// The stream goes on where we were. `renamed`: under a new id; drop our own replicas.
    Continued {
        renamed: bool,
    },
    /// The master that we asked to take over did, or will not: then the link stays down.
    FailedOver,
    FailoverRefused,
    /// Execute this, whole; our history is `end` bytes long after it.
    Apply {
        unit: Unit,
        range: Range<usize>,
        end: u64,
    },
}

/// Why we gave the link up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    Timeout,
    /// REPLICAOF changed.
    Reconfigured,
    AuthFailed,
    /// The master cannot serve now: -NOMASTERLINK, -LOADING, -MASTERDOWN.
    MasterNotReady,
    /// It refused: -NOAUTH, -NOPERM, -MISCONF and the like.
    Refused,
    Garbage,
    LoadFailed,
    /// A flow of it was lost and could not be had again.
    FlowLost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Ping,
    Auth,
    Port,
    Ip,
    Capa,
}

/// How the snapshot ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Left(u64),
    Mark(Mark),
}

/// The master's name for what it sends; a SYNC has none.
type Target = Option<(Replid, u64)>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Waiting {
        until: Mono,
    },
    Connecting,
    Handshake(Step),
    Psync,
    Header(Target),
    Payload(Target, Ending),
    Loading(Target),
    /// The link was lost while we load, but all bytes had come: what is loaded can be resumed.
    LoadingAlone((Replid, u64)),
    Streaming {
        nameless: bool,
    },
}

/// What INFO and ROLE show of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// ROLE's word.
    pub state: &'static str,
    pub up: bool,
    /// -1 while the link is down.
    pub last_io_s: i64,
    /// Milliseconds without a word of the master, or without a link.
    pub silent_ms: u64,
    /// -1 if it was never up.
    pub down_since_s: i64,
    pub sync: Option<Progress>,
    pub read: u64,
    pub applied: u64,
}

/// A full sync under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// 0 where the master does not say.
    pub total: u64,
    pub read: u64,
    pub last_io_s: u64,
}

/// A replica's side of the link.
#[derive(Debug)]
pub struct Replica {
    pub settings: Settings,
    state: State,
    /// Is our data a prefix of the history?
    has_data: bool,
    /// It is to take over before it answers.
    failover: bool,
    read: u64,
    applied: u64,
    get_ack_at: Option<u64>,
    synced: Option<u64>,
    /// The master asked when we were so far: it wants to hear of the sync, too.
    sync_asked: Option<u64>,
    cutter: Cutter,
    heard: Mono,
    said: Mono,
    /// What was acknowledged last.
    acked: u64,
    down_since: Option<Mono>,
    full_failures: u32,
    loaded_bytes: u64,
    total_bytes: u64,
    /// The master said that it can go on with the payload that it sends.
    resumable: bool,
    /// The payload of which `loaded_bytes` came before the link broke.
    partial: Option<Partial>,
    /// What the master was told of that it has received.
    told_received: u64,
    /// What the master of this link offered.
    offer: Option<Offer>,
}

/// A payload in the middle.
#[derive(Debug, Clone, Copy)]
struct Partial {
    target: (Replid, u64),
    mark: Mark,
    since: Mono,
}

impl Replica {
    #[must_use]
    pub fn new(settings: Settings, now: Mono) -> Self {
        Self {
            settings,
            state: State::Idle,
            has_data: false,
            failover: false,
            read: 0,
            applied: 0,
            get_ack_at: None,
            synced: None,
            sync_asked: None,
            cutter: Cutter::default(),
            heard: now,
            said: now,
            acked: 0,
            down_since: None,
            full_failures: 0,
            loaded_bytes: 0,
            total_bytes: 0,
            resumable: false,
            partial: None,
            told_received: 0,
            offer: None,
        }
    }

    /// The only way in. Returns how many of `Bytes` are done with.
    pub fn handle(
        &mut self,
        now: Mono,
        history: &mut History,
        input: Input<'_>,
        out: &mut Vec<Output>,
    ) -> usize {
        match input {
            Input::Follow { offset, failover } => {
                self.failover = failover;
                self.follow(now, offset, out);
            }
            Input::Unfollow => {
                self.hang_up(CloseReason::Reconfigured, out);
                self.state = State::Idle;
                (self.failover, self.partial) = (false, None);
            }
            Input::Connected => {
                if self.state == State::Connecting {
                    self.heard = now;
                    self.state = State::Handshake(Step::Ping);
                    self.offer = None;
                    send(&[b"PING"], out);
                }
            }
            Input::Disconnected => self.lost(now),
            Input::Bytes(bytes) => return self.bytes(now, history, bytes, out),
            Input::Loaded => self.loaded(now, history, out),
            Input::LoadFailed => {
                self.partial = None;
                if matches!(self.state, State::Payload(..) | State::Loading(_)) {
                    self.hang_up(CloseReason::LoadFailed, out);
                    self.retry_later(now, true);
                } else if matches!(self.state, State::LoadingAlone(_)) {
                    self.retry_later(now, true);
                }
            }
            Input::Applied { offset } => {
                assert!(
                    self.applied <= offset && offset <= self.read,
                    "applied what we never gave"
                );
                self.applied = offset;
                let soon = self.ack_due().is_some_and(|at| at <= now);
                if soon || self.get_ack_at.is_some_and(|at| at <= offset) {
                    self.acknowledge(now, out);
                }
            }
            Input::Flowed { bytes } => {
                if matches!(self.state, State::Streaming { .. }) {
                    self.heard = now;
                    self.read += bytes;
                }
            }
            Input::FlowLost => {
                if matches!(self.state, State::Streaming { .. }) {
                    self.give_up(now, CloseReason::FlowLost, out);
                }
            }
            Input::Synced(synced) => {
                let news = synced.filter(|_| self.synced != synced);
                self.synced = synced;
                if news.is_some_and(|synced| self.sync_asked.is_some_and(|at| at <= synced)) {
                    self.acknowledge(now, out);
                }
            }
            Input::Tick => self.tick(now, out),
        }
        0
    }

    /// When the master is to hear of what it was not told yet, at the latest.
    #[must_use]
    pub fn ack_due(&self) -> Option<Mono> {
        let news = self.applied > self.acked && self.state == State::Streaming { nameless: false };
        news.then(|| self.said.plus_ms(ACK_NEWS_MS))
    }

    /// The stream runs, and may come by several connections.
    #[must_use]
    pub fn flows(&self) -> Option<Offer> {
        self.offer.filter(|_| self.state == State::Streaming { nameless: false })
    }

    /// A part of a snapshot is loaded, and its rest may come over another link.
    #[must_use]
    pub fn is_half_loaded(&self) -> bool {
        self.partial.is_some()
    }

    /// Whether our data is a prefix of the history; if not, a promotion must begin a new one.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.has_data
    }

    #[must_use]
    pub fn status(&self, now: Mono) -> Status {
        let heard_s = now.ms_since(self.heard) / 1_000;
        let up = matches!(self.state, State::Streaming { .. });
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let (state, syncing) = match self.state {
            State::Idle => ("none", false),
            State::Waiting { .. } => ("connect", false),
            State::Connecting => ("connecting", false),
            State::Handshake(_) | State::Psync => ("handshake", false),
            State::Header(_) | State::Payload(..) | State::Loading(_) | State::LoadingAlone(_) => {
                ("sync", true)
            }
            State::Streaming { .. } => ("connected", false),
        };
        let (total, read) = (self.total_bytes, self.loaded_bytes);
        Status {
            state,
            up,
            last_io_s: if up { signed(heard_s) } else { -1 },
            silent_ms: match (up, self.down_since) {
                (false, Some(at)) => now.ms_since(at),
                _ => now.ms_since(self.heard),
            },
            down_since_s: self.down_since.map_or(-1, |at| signed(now.ms_since(at) / 1_000)),
            sync: syncing.then_some(Progress { total, read, last_io_s: heard_s }),
            read: self.read,
            applied: self.applied,
        }
    }

    fn follow(&mut self, now: Mono, offset: Option<u64>, out: &mut Vec<Output>) {
        self.hang_up(CloseReason::Reconfigured, out);
        self.has_data = offset.is_some();
        (self.read, self.applied) = (offset.unwrap_or(0), offset.unwrap_or(0));
        self.full_failures = 0;
        self.state = State::Waiting { until: now };
        self.tick(now, out);
    }

    fn tick(&mut self, now: Mono, out: &mut Vec<Output>) {
        if self.partial.is_some_and(|it| now.ms_since(it.since) > self.settings.timeout_ms) {
            self.partial = None;
            out.push(Output::LoadAbandoned);
        }
        let silent = now.ms_since(self.heard) > self.settings.timeout_ms;
        let second = now.ms_since(self.said) >= ACK_MS;
        let news = self.ack_due().is_some_and(|at| at <= now);
        match self.state {
            State::Idle | State::LoadingAlone(_) => {}
            State::Waiting { until } => {
                if now >= until && self.applied == self.read {
                    self.heard = now;
                    self.state = State::Connecting;
                    out.push(Output::Connect);
                }
            }
            State::Loading(_) if second => self.empty_line(now, out),
            State::Loading(_) => {}
            State::Connecting
            | State::Handshake(_)
            | State::Psync
            | State::Header(_)
            | State::Payload(..)
            | State::Streaming { .. }
                if silent =>
            {
                self.give_up(now, CloseReason::Timeout, out);
            }
            State::Streaming { nameless: false } if second || news => self.acknowledge(now, out),
            // Loading goes on while the payload comes: the master must see that we live.
            State::Payload(..) if second => {
                self.empty_line(now, out);
                if self.resumable {
                    self.tell_received(out);
                }
            }
            State::Connecting
            | State::Handshake(_)
            | State::Psync
            | State::Header(_)
            | State::Payload(..)
            | State::Streaming { .. } => {}
        }
    }

    fn bytes(
        &mut self,
        now: Mono,
        history: &mut History,
        bytes: &[u8],
        out: &mut Vec<Output>,
    ) -> usize {
        self.heard = now;
        let mut done = 0;
        loop {
            let rest = &bytes[done..];
            let used = match self.state {
                State::Idle
                | State::Waiting { .. }
                | State::Connecting
                | State::LoadingAlone(_) => return bytes.len(),
                State::Loading(_) => return done,
                State::Handshake(_) | State::Psync | State::Header(_) => {
                    self.line(now, history, rest, out)
                }
                State::Payload(target, ending) => self.payload(target, ending, rest, done, out),
                State::Streaming { .. } => self.unit(now, rest, done, out),
            };
            match used {
                Some(used) => done += used,
                None => return done,
            }
        }
    }

    /// One line of the handshake. `None`: it is not all there, or the link is given up.
    fn line(
        &mut self,
        now: Mono,
        history: &mut History,
        rest: &[u8],
        out: &mut Vec<Output>,
    ) -> Option<usize> {
        let Some(end) = memchr::memchr(b'\n', rest).filter(|&end| end < MASTER_LINE_BYTES_MAX)
        else {
            if rest.len() >= MASTER_LINE_BYTES_MAX {
                self.give_up(now, CloseReason::Garbage, out);
            }
            return None;
        };
        let line = &rest[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Some(end + 1); // A keep-alive while the master prepares.
        }
        let reaction = match self.state {
            State::Handshake(step) => self.handshake(step, line, out),
            State::Psync => self.psync_answer(now, history, line, out),
            State::Header(target) => self.header(target, line),
            State::Idle
            | State::Waiting { .. }
            | State::Connecting
            | State::Payload(..)
            | State::Loading(_)
            | State::LoadingAlone(_)
            | State::Streaming { .. } => Ok(()),
        };
        match reaction {
            Ok(()) if self.state == State::Psync => self.ask(history, out),
            Ok(()) => {}
            Err(reason) => {
                self.give_up(now, reason, out);
                return None;
            }
        }
        Some(end + 1)
    }

    fn handshake(
        &mut self,
        step: Step,
        line: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), CloseReason> {
        let next = match (step, line) {
            (_, [b'+', ..]) => self.after(step),
            // A master that wants AUTH first may refuse PING.
            (Step::Ping, error)
                if is_error(error, &["NOAUTH", "NOPERM", "ERR operation not permitted"]) =>
            {
                self.after(step)
            }
            (Step::Ping, error) if is_error(error, &["LOADING", "MASTERDOWN"]) => {
                return Err(CloseReason::MasterNotReady);
            }
            (Step::Ping, [b'-', ..]) => return Err(CloseReason::Refused),
            (Step::Auth, [b'-', ..]) => return Err(CloseReason::AuthFailed),
            // Options that a master does not know are its loss.
            (Step::Port | Step::Ip | Step::Capa, [b'-', ..]) => self.after(step),
            (Step::Ping | Step::Auth | Step::Port | Step::Ip | Step::Capa, _) => {
                return Err(CloseReason::Garbage);
            }
        };
        if step == Step::Ping {
            self.introduce(out);
        }
        if step == Step::Capa && self.settings.flows {
            self.offer = Offer::parse(line);
        }
        self.state = next.map_or(State::Psync, State::Handshake);
        Ok(())
    }

    /// Everything after PING goes out at once; the answers come in this order.
    fn after(&self, step: Step) -> Option<Step> {
        match step {
            Step::Ping if self.settings.password.is_some() => Some(Step::Auth),
            Step::Ping | Step::Auth => Some(Step::Port),
            Step::Port if self.settings.announce_ip.is_some() => Some(Step::Ip),
            Step::Port | Step::Ip => Some(Step::Capa),
            Step::Capa => None,
        }
    }

    fn introduce(&self, out: &mut Vec<Output>) {
        let mut bytes = Vec::new();
        if let Some(password) = &self.settings.password {
            match &self.settings.user {
                Some(user) => encode_request(&[b"AUTH", user, password], &mut bytes),
                None => encode_request(&[b"AUTH", password], &mut bytes),
            }
        }
        let port = self.settings.port.to_string();
        encode_request(&[b"REPLCONF", b"listening-port", port.as_bytes()], &mut bytes);
        if let Some(ip) = &self.settings.announce_ip {
            encode_request(&[b"REPLCONF", b"ip-address", ip], &mut bytes);
        }
        let bytes_had = self.loaded_bytes;
        let have = self.partial.map(|it| Have { mark: it.mark, bytes: bytes_had });
        let resync = resume::capability(have);
        let capa: &[u8] = b"capa";
        let mut words: Vec<&[u8]> = vec![b"REPLCONF", capa, b"eof", capa, b"psync2", capa, &resync];
        if self.settings.flows {
            words.extend([capa, flows::CAPABILITY]);
        }
        encode_request(&words, &mut bytes);
        out.push(Output::Send(bytes));
    }

    fn ask(&mut self, history: &History, out: &mut Vec<Output>) {
        if self.has_data {
            let wanted = wire_of(self.applied).to_string();
            let words: [&[u8]; 4] = [b"PSYNC", &history.replid, wanted.as_bytes(), b"FAILOVER"];
            send(if self.failover { &words } else { &words[..3] }, out);
        } else {
            send(&[b"PSYNC", b"?", b"-1"], out);
        }
    }

    fn psync_answer(
        &mut self,
        now: Mono,
        history: &mut History,
        line: &[u8],
        out: &mut Vec<Output>,
    ) -> Result<(), CloseReason> {
        if std::mem::take(&mut self.failover) {
            let refused = line.first() == Some(&b'-');
            out.push(if refused { Output::FailoverRefused } else { Output::FailedOver });
            if refused {
                return Err(CloseReason::Refused);
            }
        }
        let mut words = line.split(|&byte| byte == b' ');
        match words.next() {
            Some(b"+FULLRESYNC") => {
                let replid = words.next().and_then(|it| Replid::try_from(it).ok());
                let offset = words.next().and_then(parse_i64).and_then(|it| u64::try_from(it).ok());
                let position =
                    words.next().map(|it| parse_i64(it).and_then(|it| u64::try_from(it).ok()));
                let (Some(replid), Some(offset)) = (replid, offset) else {
                    return Err(CloseReason::Garbage);
                };
                self.resumable = position.is_some();
                match position {
                    None | Some(Some(0)) => self.expect_snapshot(Some((replid, offset)), out),
                    Some(position) => self.expect_rest((replid, offset), position, out)?,
                }
            }
            Some(b"+CONTINUE") if self.has_data => {
                let renamed = match words.next() {
                    None => false,
                    Some(id) => {
                        let id = Replid::try_from(id).map_err(|_| CloseReason::Garbage)?;
                        history.continued_as(id, self.applied)
                    }
                };
                out.push(Output::Continued { renamed });
                self.stream(now, false, out);
            }
            _ if is_error(line, &["NOMASTERLINK", "LOADING", "MASTERDOWN"]) => {
                return Err(CloseReason::MasterNotReady);
            }
            _ if is_error(line, &["ERR"]) => {
                send(&[b"SYNC"], out); // Before Redis 2.8, or PSYNC is renamed.
                self.expect_snapshot(None, out);
            }
            Some([b'-', ..]) => return Err(CloseReason::Refused),
            _ => return Err(CloseReason::Garbage),
        }
        Ok(())
    }

    /// The master goes on at `position`.
    fn expect_rest(
        &mut self,
        target: (Replid, u64),
        position: Option<u64>,
        out: &mut Vec<Output>,
    ) -> Result<(), CloseReason> {
        let ours = self.partial.is_some_and(|it| it.target == target);
        if !ours || position != Some(self.loaded_bytes) {
            self.partial = None;
            return Err(CloseReason::Garbage);
        }
        self.state = State::Header(Some(target));
        out.push(Output::Resumed { bytes: self.loaded_bytes });
        Ok(())
    }

    fn expect_snapshot(&mut self, target: Target, out: &mut Vec<Output>) {
        (self.loaded_bytes, self.total_bytes, self.partial) = (0, 0, None);
        self.told_received = 0;
        self.state = State::Header(target);
        out.push(Output::FullResync);
    }

    fn header(&mut self, target: Target, line: &[u8]) -> Result<(), CloseReason> {
        let resumed = self.partial.take().map(|it| it.mark);
        let ending = match line {
            [b'$', b'E', b'O', b'F', b':', mark @ ..] => {
                let mark = mark.try_into().map_err(|_| CloseReason::Garbage)?;
                if resumed.is_some_and(|it| it != mark) {
                    return Err(CloseReason::Garbage);
                }
                Ending::Mark(mark)
            }
            _ if resumed.is_some() => return Err(CloseReason::Garbage),
            [b'$', length @ ..] => {
                let length = parse_i64(length).and_then(|it| u64::try_from(it).ok());
                self.total_bytes = length.ok_or(CloseReason::Garbage)?;
                Ending::Left(self.total_bytes)
            }
            [b'-', ..] => return Err(CloseReason::Refused),
            _ => return Err(CloseReason::Garbage),
        };
        self.state = State::Payload(target, ending);
        Ok(())
    }

    /// Hands out what surely belongs to the snapshot. `None`: more must come first.
    fn payload(
        &mut self,
        target: Target,
        ending: Ending,
        rest: &[u8],
        from: usize,
        out: &mut Vec<Output>,
    ) -> Option<usize> {
        let (load, skip, ending) = match ending {
            Ending::Left(left) => {
                let load = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let left = left - load as u64;
                (load, 0, (left > 0).then_some(Ending::Left(left)))
            }
            Ending::Mark(mark) => match memmem::find(rest, &mark) {
                Some(at) => (at, mark.len(), None),
                None => (rest.len() - mark_begun(rest, &mark), 0, Some(ending)),
            },
        };
        if load > 0 {
            self.has_data = false;
            self.loaded_bytes += load as u64;
            out.push(Output::Load(from..from + load));
            if self.resumable && self.loaded_bytes - self.told_received >= SYNC_RECEIVED_BYTES {
                self.tell_received(out);
            }
        }
        match ending {
            Some(ending) => {
                self.state = State::Payload(target, ending);
                (load > 0).then_some(load)
            }
            None => {
                self.state = State::Loading(target);
                out.push(Output::LoadDone);
                Some(load + skip)
            }
        }
    }

    fn loaded(&mut self, now: Mono, history: &mut History, out: &mut Vec<Output>) {
        let (target, alone) = match self.state {
            State::Loading(target) => (target, false),
            State::LoadingAlone(target) => (Some(target), true),
            State::Idle
            | State::Waiting { .. }
            | State::Connecting
            | State::Handshake(_)
            | State::Psync
            | State::Header(_)
            | State::Payload(..)
            | State::Streaming { .. } => return,
        };
        let offset = match target {
            Some((replid, offset)) => {
                history.begin(replid);
                out.push(Output::Adopted { offset });
                offset
            }
            None => {
                out.push(Output::AdoptedNameless);
                0
            }
        };
        (self.read, self.applied) = (offset, offset);
        self.has_data = true;
        self.heard = now;
        if alone {
            self.state = State::Waiting { until: now };
            self.tick(now, out);
        } else {
            self.stream(now, target.is_none(), out);
        }
    }

    fn stream(&mut self, now: Mono, nameless: bool, out: &mut Vec<Output>) {
        self.state = State::Streaming { nameless };
        self.cutter = Cutter::default();
        (self.down_since, self.full_failures, self.get_ack_at) = (None, 0, None);
        self.sync_asked = None;
        if !nameless {
            self.acknowledge(now, out);
        }
    }

    /// The next unit of the stream. `None`: it is not all there, or the link is given up.
    fn unit(
        &mut self,
        now: Mono,
        rest: &[u8],
        from: usize,
        out: &mut Vec<Output>,
    ) -> Option<usize> {
        match self.cutter.next(rest) {
            Ok(Some((unit, length))) => {
                self.read += length as u64;
                if unit == Unit::GetAck {
                    self.get_ack_at = Some(self.read);
                }
                out.push(Output::Apply { unit, range: from..from + length, end: self.read });
                Some(length)
            }
            Ok(None) => None,
            Err(_) => {
                self.give_up(now, CloseReason::Garbage, out);
                None
            }
        }
    }

    fn acknowledge(&mut self, now: Mono, out: &mut Vec<Output>) {
        let asked = self.get_ack_at.take().is_some();
        if self.state == (State::Streaming { nameless: false }) {
            (self.said, self.acked) = (now, self.applied);
            let applied = self.applied.to_string();
            let Some(synced) = self.synced.map(|it| it.min(self.applied)) else {
                return send(&[b"REPLCONF", b"ACK", applied.as_bytes()], out);
            };
            self.sync_asked = (asked && synced < self.applied)
                .then_some(self.applied)
                .or(self.sync_asked.filter(|at| *at > synced));
            let synced = synced.to_string();
            send(&[b"REPLCONF", b"ACK", applied.as_bytes(), b"FACK", synced.as_bytes()], out);
        }
    }

    fn tell_received(&mut self, out: &mut Vec<Output>) {
        self.told_received = self.loaded_bytes;
        send(&[b"REPLCONF", b"received", self.loaded_bytes.to_string().as_bytes()], out);
    }

    fn empty_line(&mut self, now: Mono, out: &mut Vec<Output>) {
        self.said = now;
        out.push(Output::Send(b"\n".to_vec()));
    }

    fn give_up(&mut self, now: Mono, reason: CloseReason, out: &mut Vec<Output>) {
        self.hang_up(reason, out);
        self.lost(now);
    }

    fn hang_up(&mut self, reason: CloseReason, out: &mut Vec<Output>) {
        if !matches!(self.state, State::Idle | State::Waiting { .. } | State::LoadingAlone(_)) {
            out.push(Output::Close(reason));
        }
    }

    /// The link is gone: when do we try again?
    fn lost(&mut self, now: Mono) {
        match self.state {
            State::Idle | State::Waiting { .. } | State::LoadingAlone(_) => {}
            State::Connecting | State::Handshake(_) | State::Psync => self.retry_later(now, false),
            State::Loading(Some(target)) => self.state = State::LoadingAlone(target),
            State::Payload(Some(target), Ending::Mark(mark))
                if self.resumable && self.loaded_bytes > 0 =>
            {
                self.partial = Some(Partial { target, mark, since: now });
                self.retry_later(now, false);
            }
            State::Header(_) if self.partial.is_some() => self.retry_later(now, false),
            State::Header(_) | State::Payload(..) | State::Loading(None) => {
                self.retry_later(now, true);
            }
            State::Streaming { nameless } => {
                self.has_data &= !nameless;
                self.down_since = Some(now);
                self.retry_later(now, false);
            }
        }
    }

    fn retry_later(&mut self, now: Mono, full_sync_failed: bool) {
        // A load that was begun is void, also where its snapshot was empty.
        self.has_data &= !matches!(self.state, State::Loading(_) | State::LoadingAlone(_));
        let mut delay_ms = RETRY_MS;
        if full_sync_failed {
            delay_ms = (RETRY_MS << self.full_failures.min(6)).min(RETRY_MS_MAX);
            self.full_failures += 1;
        }
        self.state = State::Waiting { until: now.plus_ms(delay_ms) };
    }
}

fn send(args: &[&[u8]], out: &mut Vec<Output>) {
    let mut bytes = Vec::new();
    encode_request(args, &mut bytes);
    out.push(Output::Send(bytes));
}

/// Is `line` an error that begins with one of `codes`?
fn is_error(line: &[u8], codes: &[&str]) -> bool {
    let Some(text) = line.strip_prefix(b"-") else { return false };
    codes.iter().any(|code| text.starts_with(code.as_bytes()))
}

/// The longest end of `bytes` that may be the beginning of `mark`.
fn mark_begun(bytes: &[u8], mark: &[u8]) -> usize {
    let longest = bytes.len().min(mark.len() - 1);
    (1..=longest).rev().find(|&length| bytes.ends_with(&mark[..length])).unwrap_or(0)
}
