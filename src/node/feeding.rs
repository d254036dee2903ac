//! Bytes to replicas: what the replication machine wants sent, and what the sockets took.

use crate::node::control::{Control, ControlCx, conn_of, link_id};
use crate::node::core::Core;
use crate::node::feed::{Fed, Feed, SnapshotPart};
use crate::node::outbox::{Action, Conn, Level, Outbox};
use crate::node::session::Kind;
use crate::replication::acks;
use crate::replication::master::{self, Output};
use crate::replication::psync::{Answer, FullReason, Request};
use crate::replication::ring::Ring;
use bytes::Bytes;

impl Control {
    /// Does what the replication machine decided.
    pub(super) fn carry_out(&mut self, cx: &mut ControlCx<'_>, output: Output) {
        match output {
            Output::Reply { to, bytes } => self.feed(conn_of(to)).push(Bytes::from(bytes)),
            Output::SendFromRing { to, from } => self.feed(conn_of(to)).follow_ring(from),
            Output::StopRing { to } => self.feed(conn_of(to)).leave_ring(),
            Output::SendFrames { to, pieces } => self.send_frames(to, pieces),
            Output::NeedSnapshot { eof } => self.want_sync(cx, eof),
            Output::StreamPing => {
                // While a replica catches up to take over, the end must stand still.
                let stays = self.failover.is_on() || self.hands_over();
                if let Some(ring) = self.ring.as_mut().filter(|_| !stays) {
                    self.merger.ping(ring);
                    self.snapshots.appended = true;
                }
            }
            Output::FullResync { to, reason, wait_ms } => {
                match self.reasons.iter_mut().find(|(it, _)| *it == reason) {
                    Some((_, count)) => *count += 1,
                    None => self.reasons.push((reason, 1)),
                }
                let peer = self.peer(cx, conn_of(to));
                cx.log(Level::Notice, format!("Replica {peer} needs a full sync: {}", why(reason)));
                if wait_ms > 0 {
                    self.syncs_paced += 1;
                    let seconds = wait_ms / 1_000;
                    let text = format!("{peer} had one just now: the next waits {seconds} seconds");
                    cx.log(Level::Warning, text);
                }
            }
            Output::Resume { to, mark, from, over } => {
                let conn = conn_of(to);
                let peer = self.peer(cx, conn);
                let text = format!("Replica {peer} goes on with its full sync at byte {from}");
                cx.log(Level::Notice, text);
                let pieces: Vec<Bytes> = self.snapshots.kept.from(&mark, from).collect();
                let feed = self.feed(conn);
                pieces.into_iter().for_each(|piece| feed.push(piece));
                feed.snapshot = SnapshotPart::Growing;
                if over {
                    feed.push(Bytes::copy_from_slice(&mark));
                    feed.snapshot = SnapshotPart::Queued;
                }
                self.take_chunks(cx);
            }
            Output::Release(released) => {
                self.snapshots.kept.release(released);
                self.take_chunks(cx);
            }
            Output::Close { to, reason } => {
                let conn = conn_of(to);
                let peer = self.peer(cx, conn);
                cx.log(Level::Warning, format!("Closing the link to replica {peer}: {reason:?}"));
                if let Some(session) = cx.core.sessions.get_mut(conn) {
                    session.closing = true;
                }
                // The ring may be another one from here on.
                self.feeds.retain(|feed| feed.conn != conn);
                cx.out.actions.push(Action::CloseNow(conn));
            }
        }
    }

    /// REPLCONF of a client of core 0: its reply belongs in the client's own order.
    pub(super) fn replconf(
        &mut self,
        cx: &mut ControlCx<'_>,
        conn: Conn,
        options: &[&[u8]],
        reply: &mut Vec<u8>,
    ) {
        let from = self.link(cx, conn);
        self.client_says(cx, from, master::Input::Replconf { from, options }, reply);
        self.wait(cx, acks::Input::Acked);
        self.step_failover(cx);
    }

    /// What is answered to a client itself goes into `reply`, the rest where it belongs.
    pub(super) fn client_says(
        &mut self,
        cx: &mut ControlCx<'_>,
        from: u64,
        input: master::Input<'_>,
        reply: &mut Vec<u8>,
    ) {
        let mut outputs = Vec::new();
        let stream = self.following.stream_of(&self.history, self.ring.as_ref());
        let psync = matches!(input, master::Input::Psync { .. } | master::Input::JoinFlow { .. });
        self.master.handle(cx.now().mono, &stream, input, &mut outputs);
        // What follows PSYNC is the feed's; REPLCONF, and a PSYNC that is refused, are a client's.
        let feeds = psync && self.master.is_attached(from);
        if feeds && let Some(session) = cx.core.sessions.get_mut(conn_of(from)) {
            session.kind = Kind::Replica;
            if self.view.settings.repl_disable_tcp_nodelay {
                cx.out.actions.push(Action::Gather(conn_of(from)));
            }
        }
        for output in outputs {
            match output {
                Output::Reply { to, bytes } if to == from && !feeds => {
                    reply.extend_from_slice(&bytes)
                }
                other => self.carry_out(cx, other),
            }
        }
    }

    /// SYNC (no arguments) or PSYNC. One that is refused leaves an ordinary client.
    pub(super) fn psync(
        &mut self,
        cx: &mut ControlCx<'_>,
        conn: Conn,
        args: Option<[&[u8]; 2]>,
        reply: &mut Vec<u8>,
    ) {
        let from = self.link(cx, conn);
        let peer = self.peer(cx, conn);
        let peer = peer.as_bytes();
        self.client_says(cx, from, master::Input::Psync { from, args, peer }, reply);
    }

    /// Would this PSYNC replace a replica's data by those of a master that started without any, say
    /// because its file was lost?
    pub(super) fn would_empty(&self, [replid, offset]: [&[u8]; 2]) -> bool {
        let has_data = |request| match request {
            Request::Resume { resume, .. } => resume.is_some_and(|had| had > 0),
            Request::Sync | Request::New | Request::Stranger => false,
        };
        let held = || self.ring.as_ref().map(Ring::held);
        let unknown = Answer::Full(FullReason::UnknownReplid);
        self.born_empty
            && !self.view.settings.replicas_follow_empty_master
            && Request::parse(replid, offset)
                .is_some_and(|it| has_data(it) && self.history.answer(it, held()) == unknown)
    }

    /// The socket of a feed took `bytes`.
    pub(super) fn fed(&mut self, cx: &mut ControlCx<'_>, conn: Conn, bytes: usize) {
        let to = self.link(cx, conn);
        let Some(feed) = self.feeds.iter_mut().find(|feed| feed.conn == conn) else { return };
        match feed.sent(bytes) {
            Fed::Queue { .. } if feed.flow => {
                if feed.queued_bytes() == 0 {
                    self.tell_replicas(cx, master::Input::Sent { to, bytes });
                }
            }
            Fed::Ring(bytes) => self.tell_replicas(cx, master::Input::Sent { to, bytes }),
            Fed::Queue { snapshot_done: true } => {
                self.tell_replicas(cx, master::Input::SnapshotSent { to, all: true });
            }
            Fed::Queue { .. } if feed.snapshot != SnapshotPart::None => {
                self.tell_replicas(cx, master::Input::SnapshotSent { to, all: false });
            }
            Fed::Queue { .. } | Fed::Nothing => {}
        }
        self.take_chunks(cx);
        if self.ring.as_ref().is_some_and(|ring| ring.spilled_bytes() > 0) {
            self.trim();
            self.spill(cx); // The next pages, before this one is read to its end.
        }
        if self.held_back.since.is_some() {
            self.settle_held_back(cx);
        }
    }

    /// A slow replica's socket can be written to again; the runtime asks all feeds anyway.
    pub(super) fn writable(&mut self, _cx: &mut ControlCx<'_>, _conn: Conn) {}

    pub(super) fn feed(&mut self, conn: Conn) -> &mut Feed {
        let at = self.feeds.iter().position(|feed| feed.conn == conn).unwrap_or_else(|| {
            self.feeds.push(Feed::new(conn));
            self.feeds.len() - 1
        });
        &mut self.feeds[at]
    }

    pub(super) fn link(&self, cx: &ControlCx<'_>, conn: Conn) -> u64 {
        link_id(conn, cx.core.sessions.get(conn).map_or(0, |it| it.generation))
    }

    fn peer(&self, cx: &ControlCx<'_>, conn: Conn) -> String {
        cx.core.sessions.get(conn).map(|it| it.ends.peer_host()).unwrap_or_default()
    }
}

impl Core {
    /// The connections to which something can be sent, for the runtime; see [`Core::feed_bytes`].
    pub fn feeds(&self, conns: &mut Vec<Conn>) {
        conns.clear();
        if let Some(control) = &self.control {
            let ring = control.ring.as_ref();
            let ready = |feed: &&Feed| !feed.next(ring).is_empty();
            conns.extend(control.feeds.iter().filter(ready).map(|feed| feed.conn));
        }
    }

    /// The next bytes for a replica, where they lie.
    #[must_use]
    pub fn feed_bytes(&self, conn: Conn) -> &[u8] {
        let Some(control) = &self.control else { return &[] };
        let feed = control.feeds.iter().find(|feed| feed.conn == conn);
        feed.map_or(&[], |feed| feed.next(control.ring.as_ref()))
    }

    /// The socket took so many of them.
    pub fn fed(&mut self, conn: Conn, bytes: usize, out: &mut Outbox) {
        self.stats.repl_output_bytes += bytes as u64;
        self.with_control(out, |control, cx| control.fed(cx, conn, bytes));
    }

    /// Bytes of a connection that is not a client's: our master's, or a sign of life of a replica.
    pub(super) fn peer_bytes(&mut self, conn: Conn, bytes: &[u8], out: &mut Outbox) -> bool {
        match self.sessions.get(conn).map(|it| (it.kind, it.generation)) {
            Some((Kind::Master, _)) if self.flow_bytes(conn, bytes, out) => true,
            Some((Kind::Master, _)) => {
                self.stats.repl_input_bytes += bytes.len() as u64;
                self.with_control(out, |control, cx| {
                    // A flow that was given up may still say something.
                    if control.following.link == Some(conn) {
                        control.link_bytes(cx, bytes);
                    }
                });
                true
            }
            Some((Kind::Replica, generation)) => {
                let from = link_id(conn, generation);
                self.with_control(out, |control, cx| {
                    control.tell_replicas(cx, master::Input::Newline { from });
                });
                false
            }
            _ => false,
        }
    }
}

/// Why a full sync happens, for the log and for INFO.
#[must_use]
pub fn why(reason: FullReason) -> &'static str {
    match reason {
        FullReason::Sync => "sync_command",
        FullReason::New => "no_data",
        FullReason::UnknownReplid => "unknown_replid",
        FullReason::BeyondSecond => "beyond_second_replid",
        FullReason::TooOld => "offset_not_in_backlog",
        FullReason::InFuture => "offset_in_future",
        FullReason::NoBacklog => "no_backlog",
    }
}
