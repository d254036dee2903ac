//! A core's connections that bring flows of our master's stream: how they begin, and what their frames hold.
//!
//! ```text
//!   core 0: Join -> dial -> [AUTH ->] PSYNC flow:.. -> +FLOW -> frames -> read here -> core 0: Frames
//! ```
//!
//! Frames of whole units are read here: which commands they have, and whose the keys are. So core 0 only puts them in order and
//! sends each core its part on (`flow_in.rs`). What is not plain (keys of several cores in one command or transaction, what
//! touches the whole keyspace, messages) is left as bytes, for core 0 to read as it reads a link.
//!
//! Not here: when a flow is wanted, and what becomes of frames.

use crate::command::args::Args;
use crate::command::keys;
use crate::node::applying;
use crate::node::core::Core;
use crate::node::message::{self, Message, RequestHead};
use crate::node::outbox::{Action, Conn, Outbox};
use crate::node::rehearsal;
use crate::node::session::{Ends, Kind, Session};
use crate::node::table::Run;
use crate::replication::flows::{self, Join};
use crate::replication::gather::Frame;
use crate::replication::log::encode_request;
use crate::resp::request::{self, RequestLimits};
use std::sync::atomic::Ordering;

/// Bytes of an answer before the frames, without a line end.
const LINE_BYTES_MAX: usize = 512;

/// What core 0 tells a core of its flows.
#[derive(Debug)]
pub enum ToFlow {
    Join(FlowOrder),
    /// Read from it no more, or again.
    Pace {
        number: u64,
        pause: bool,
    },
    Leave {
        number: u64,
    },
    LeaveAll,
}

/// A connection that is wanted. `number` names it.
#[derive(Clone, Debug)]
pub struct FlowOrder {
    pub number: u64,
    pub join: Join,
    pub host: String,
    pub port: u16,
}

/// What a core says of a flow.
#[derive(Debug)]
pub enum FromFlow {
    Joined { number: u64 },
    Frames { number: u64, frames: Vec<Frame<Routed>> },
    Ended { number: u64, why: String },
}

/// Commands of whole units, as requests for the cores that own their keys; core 0's come first.
#[derive(Debug)]
pub struct Routed {
    pub parts: Vec<RoutedPart>,
    pub commands: u64,
    /// The databases that it begins in, and that the stream is in after it.
    pub first_db: usize,
    pub last_db: usize,
}

/// One core's of them.
#[derive(Debug)]
pub struct RoutedPart {
    pub core: usize,
    pub frames: Vec<u8>,
    pub requests: usize,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct FlowLinks(Vec<FlowLink>);

impl Routed {
    fn push(&mut self, core: usize, head: &RequestHead, args: Args<'_>) {
        let at = self.parts.iter().position(|it| it.core == core).unwrap_or_else(|| {
            self.parts.push(RoutedPart { core, frames: Vec::new(), requests: 0 });
            self.parts.len() - 1
        });
        let part = &mut self.parts[at];
        part.requests += 1;
        message::push_request(&mut part.frames, head, args.iter());
    }
}

impl FlowLinks {
    #[inline]
    pub(super) fn are_any(&self) -> bool {
        !self.0.is_empty()
    }
}

#[derive(Debug)]
struct FlowLink {
    order: FlowOrder,
    conn: Option<Conn>,
    step: Step,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Dialling,
    Auth,
    Psync,
    Open,
}

impl Core {
    pub(super) fn flow_told(&mut self, told: ToFlow, out: &mut Outbox) {
        match told {
            ToFlow::Join(order) => {
                let (number, host, port) = (order.number, order.host.clone(), order.port);
                out.actions.push(Action::DialFlow { number, host, port });
                let (conn, step) = (None, Step::Dialling);
                self.flow_links.0.push(FlowLink { order, conn, step, bytes: Vec::new() });
            }
            ToFlow::Pace { number, pause } => {
                let link = self.flow_links.0.iter().find(|it| it.order.number == number);
                if let Some(conn) = link.and_then(|it| it.conn) {
                    out.actions.push(if pause {
                        Action::Pause(conn)
                    } else {
                        Action::Resume(conn)
                    });
                }
            }
            ToFlow::Leave { number } => self.leave_flows(|it| it.order.number == number, out),
            ToFlow::LeaveAll => self.leave_flows(|_| true, out),
        }
    }

    fn leave_flows(&mut self, which: impl Fn(&FlowLink) -> bool, out: &mut Outbox) {
        let (gone, stay) = std::mem::take(&mut self.flow_links.0).into_iter().partition(which);
        self.flow_links.0 = stay;
        for link in <Vec<FlowLink>>::into_iter(gone) {
            self.close_flow(&link, out);
        }
    }

    fn close_flow(&mut self, link: &FlowLink, out: &mut Outbox) {
        if let Some(session) = link.conn.and_then(|conn| self.sessions.get_mut(conn)) {
            session.closing = true;
        }
        out.actions.extend(link.conn.map(Action::CloseNow));
    }

    /// The connect was decided.
    pub(super) fn flow_dialled(
        &mut self,
        number: u64,
        result: Result<(Conn, Ends), String>,
        out: &mut Outbox,
    ) {
        let at = self.flow_links.0.iter().position(|it| it.order.number == number);
        match (at, result) {
            (Some(at), Ok((conn, ends))) => {
                let mut session = Session::new(0, ends, true, self.now);
                session.kind = Kind::Master;
                self.shared.clients.fetch_add(1, Ordering::Relaxed); // Every session that ends is counted off.
                self.sessions.open(conn, session);
                self.joins_lists(conn);
                self.flow_links.0[at].conn = Some(conn);
                self.ask_for_flow(at, out);
            }
            (Some(at), Err(why)) => {
                self.flow_links.0.swap_remove(at);
                self.tell_gather(FromFlow::Ended { number, why }, out);
            }
            (None, Ok((conn, _))) => out.actions.push(Action::CloseNow(conn)),
            (None, Err(_)) => {}
        }
    }

    fn ask_for_flow(&mut self, at: usize, out: &mut Outbox) {
        let settings = &self.view.settings;
        let (user, password) = (&settings.masteruser.0, &settings.masterauth.0);
        let link = &mut self.flow_links.0[at];
        let Some(conn) = link.conn else { return };
        let mut bytes = Vec::new();
        if link.step == Step::Dialling && !password.is_empty() {
            link.step = Step::Auth;
            if user.is_empty() {
                encode_request(&[b"AUTH", password], &mut bytes);
            } else {
                encode_request(&[b"AUTH", user, password], &mut bytes);
            }
        } else {
            link.step = Step::Psync;
            let [name, offset] = link.order.join.words();
            encode_request(&[b"PSYNC", &name, &offset], &mut bytes);
        }
        out.to(conn).extend_from_slice(&bytes);
    }

    /// Bytes of a connection, if it is a flow.
    pub(super) fn flow_bytes(&mut self, conn: Conn, bytes: &[u8], out: &mut Outbox) -> bool {
        let Some(at) = self.flow_links.0.iter().position(|it| it.conn == Some(conn)) else {
            return false;
        };
        self.flow_links.0[at].bytes.extend_from_slice(bytes);
        while self.flow_links.0[at].step != Step::Open {
            let link = &mut self.flow_links.0[at];
            let Some(end) = memchr::memchr(b'\n', &link.bytes) else {
                if link.bytes.len() > LINE_BYTES_MAX {
                    self.flow_fails(at, "an endless answer", out);
                }
                return true;
            };
            let line: Vec<u8> = link.bytes.drain(..=end).collect();
            let number = link.order.number;
            match link.step {
                Step::Auth if line.first() == Some(&b'+') => self.ask_for_flow(at, out),
                Step::Psync if line == flows::JOINED => {
                    link.step = Step::Open;
                    self.tell_gather(FromFlow::Joined { number }, out);
                }
                Step::Dialling | Step::Auth | Step::Psync | Step::Open => {
                    let why = String::from_utf8_lossy(line.trim_ascii()).into_owned();
                    self.flow_fails(at, &why, out);
                    return true;
                }
            }
        }
        self.flow_frames(at, out);
        true
    }

    fn flow_frames(&mut self, at: usize, out: &mut Outbox) {
        let link = &mut self.flow_links.0[at];
        let (number, bytes) = (link.order.number, std::mem::take(&mut link.bytes));
        let (mut rest, mut frames, mut garbage) = (bytes.as_slice(), Vec::new(), false);
        loop {
            match flows::next_frame(&mut rest) {
                Ok(Some((head, body))) => {
                    let read = head.db.and_then(|db| self.route_frame(usize::from(db), body));
                    frames.push(Frame { start: head.start, bytes: body.to_vec(), read });
                }
                Ok(None) => break,
                Err(_) => {
                    garbage = true;
                    break;
                }
            }
        }
        let done = bytes.len() - rest.len();
        let mut bytes = bytes;
        bytes.drain(..done);
        self.flow_links.0[at].bytes = bytes;
        if !frames.is_empty() {
            self.tell_gather(FromFlow::Frames { number, frames }, out);
        }
        if garbage {
            let at = self.flow_links.0.iter().position(|it| it.order.number == number);
            at.into_iter().for_each(|at| self.flow_fails(at, "what is no frame", out));
        }
    }

    fn flow_fails(&mut self, at: usize, why: &str, out: &mut Outbox) {
        let link = self.flow_links.0.swap_remove(at);
        self.close_flow(&link, out);
        let (number, why) = (link.order.number, why.to_string());
        self.tell_gather(FromFlow::Ended { number, why }, out);
    }

    pub(super) fn flow_ended(&mut self, conn: Conn, out: &mut Outbox) {
        if let Some(at) = self.flow_links.0.iter().position(|it| it.conn == Some(conn)) {
            let number = self.flow_links.0.swap_remove(at).order.number;
            let why = "the connection was closed".to_string();
            self.tell_gather(FromFlow::Ended { number, why }, out);
        }
    }

    fn tell_gather(&mut self, said: FromFlow, out: &mut Outbox) {
        if self.id == 0 {
            self.with_control(out, |control, cx| control.flow_said(cx, said));
        } else {
            out.mail[0].push(Message::FromFlow(Box::new(said)));
        }
    }

    /// Whole units, the first of which runs in `db`, as requests; `None`: they are core 0's to read.
    fn route_frame(&self, db: usize, bytes: &[u8]) -> Option<Routed> {
        let table = self.shared.table;
        let databases = self.view.settings.databases as usize;
        let mut routed = Routed { parts: Vec::new(), commands: 0, first_db: db, last_db: db };
        let (mut rest, mut words) = (bytes, Vec::new());
        // Within a transaction: whose its keys are, and its commands.
        let mut transaction: Option<(Option<usize>, Vec<u8>)> = None;
        if db >= databases {
            return None;
        }
        while !rest.is_empty() {
            words.clear();
            let used = request::next(rest, &RequestLimits::DEFAULT, &mut words)?;
            rest = rest.get(used..)?;
            let args = Args::new(&words);
            if args.is(0, "MULTI") {
                if transaction.replace((None, Vec::new())).is_some() {
                    return None;
                }
                continue;
            }
            if args.is(0, "EXEC") {
                if let (Some(owner), frames) = transaction.take()? {
                    let words: [&[u8]; 2] = [b"", &frames];
                    let head = applying::head(table.part("exec"), routed.last_db);
                    routed.push(owner, &head, Args::new(&words));
                }
                continue;
            }
            if args.is(0, "SELECT") {
                routed.last_db = applying::selected(args);
                if routed.last_db >= databases {
                    return None;
                }
                continue;
            }
            let number = table.find(args)?;
            let row = table.row(number);
            let plain = matches!(row.run, Run::Shard(_))
                && (row.spec.is_write() || row.spec.changes_keys())
                && row.spec.arity.accepts(args.len())
                && applying::whole_keyspace(args, routed.last_db).is_none()
                && !rehearsal::follows_keys(row.spec, args);
            if !plain {
                return None;
            }
            let owner = self.only_owner(row, args)?;
            let key = keys::keys_found(row.spec, args).next()?;
            let hash = self.keyspace.hash(args.get(key.at)?);
            let head = RequestHead { hash, ..applying::head(number, routed.last_db) };
            routed.commands += 1;
            match &mut transaction {
                None => routed.push(owner, &head, args),
                Some((of, frames)) => {
                    if *of.get_or_insert(owner) != owner {
                        return None;
                    }
                    message::push_request(frames, &head, args.iter());
                }
            }
        }
        routed.parts.sort_by_key(|it| it.core);
        transaction.is_none().then_some(routed)
    }
}
