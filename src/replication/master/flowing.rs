//! Replicas that have the stream by several connections: who joins, what is sent by which, what ends.
//!
//! The main link carries the stream until there is a connection for every flow and nothing of it is in flight; then the
//! flows go on from its cursor, for as long as it lives. A flow's connection is none of a replica: nobody counts it, and it says nothing.

use std::ops::Range;

use crate::base::time::Mono;
use crate::replication::attached::{Attached, LinkId, State};
use crate::replication::flows::{self, Join};
use crate::replication::master::{CloseReason, Master, Output, Stream, pump, refuse};
use crate::replication::spread::{Mark, Piece, Spread};
use crate::resp::error::ErrorKind;

impl Master {
    /// Does anybody want to know whose bytes lie where?
    #[must_use]
    pub fn wants_marks(&self) -> bool {
        self.replicas.iter().any(|it| it.spread.as_ref().is_some_and(Spread::is_on))
    }

    /// The ring has grown to `end`; of what is new, the marks say whose it is.
    pub fn appended(&mut self, marks: &[Mark], end: u64) {
        for replica in &mut self.replicas {
            if let Some(spread) = replica.spread.as_mut() {
                spread.assign(marks, end);
            }
            follow_cursor(replica);
        }
    }

    /// Flows of a replica that have a connection, and whether the stream goes by them.
    #[must_use]
    pub fn flows(replica: &Attached) -> (usize, bool) {
        replica.spread.as_ref().map_or((0, false), |it| (it.links().count(), it.is_on()))
    }

    /// Where flows read the ring.
    pub fn flow_cursors(&self) -> impl Iterator<Item = u64> + '_ {
        let spreads = self.replicas.iter().filter_map(|it| it.spread.as_ref());
        spreads.flat_map(|it| (0..it.lanes()).filter_map(|lane| it.lane_cursor(lane)))
    }

    /// Of what `SendFrames` named, this is not at hand yet.
    pub fn put_back(&mut self, to: LinkId, rest: Vec<Piece>) {
        if let Some((index, lane)) = self.flow_of(to)
            && let Some(spread) = self.replicas[index].spread.as_mut()
        {
            spread.put_back(lane, rest);
        }
    }

    /// Which replica's connection that is, and for which of its flows.
    pub(super) fn flow_of(&self, link: LinkId) -> Option<(usize, usize)> {
        let lane = |it: &Attached| it.spread.as_ref().and_then(|spread| spread.lane_of(link));
        self.replicas.iter().enumerate().find_map(|(index, it)| Some((index, lane(it)?)))
    }

    pub(super) fn join_flow(
        &mut self,
        now: Mono,
        stream: &Stream<'_>,
        from: LinkId,
        join: Join,
        out: &mut Vec<Output>,
    ) {
        let lanes = self.settings.flows;
        let Join { token, flow, offset } = join;
        let known = self.flow_of(from).is_some() || self.replicas.iter().any(|it| it.link == from);
        let online = |it: &&mut Attached| {
            it.link == token && it.flows && matches!(it.state, State::Online { .. })
        };
        let replica = self.replicas.iter_mut().find(online).filter(|_| !known);
        let held = stream.held.clone().filter(|held| (held.start..=held.end).contains(&offset));
        let (Some(replica), Some(_)) = (replica, held) else {
            return refuse(from, &ErrorKind::FlowRefused, out);
        };
        if replica.spread.is_none() && lanes > 0 {
            replica.spread = Some(Spread::new(lanes));
        }
        let Some(spread) = replica.spread.as_mut().filter(|it| flow < it.lanes()) else {
            return refuse(from, &ErrorKind::FlowRefused, out);
        };
        out.push(Output::Reply { to: from, bytes: flows::JOINED.to_vec() });
        if let Some(to) = spread.join(flow, from, offset) {
            out.push(Output::Close { to, reason: CloseReason::Superseded });
        }
        replica.took = now;
        follow_cursor(replica);
        pump(replica, stream, out);
    }

    /// All that flows can send now, once a turn: so a turn's batches are one send.
    pub(super) fn flush(&mut self, out: &mut Vec<Output>) {
        self.replicas.iter_mut().for_each(|it| send_all(it, out));
    }

    /// Were the bytes a flow's?
    pub(super) fn flow_sent(&mut self, now: Mono, to: LinkId, out: &mut Vec<Output>) -> bool {
        let Some((index, lane)) = self.flow_of(to) else { return false };
        let replica = &mut self.replicas[index];
        replica.took = now;
        if let Some(spread) = replica.spread.as_mut() {
            spread.sent(lane);
        }
        follow_cursor(replica);
        if let State::Online { cursor, .. } = replica.state {
            self.marks.reached(&mut replica.sent_lag, now, cursor);
        }
        send_all(replica, out);
        true
    }

    pub(super) fn flow_closed(&mut self, stream: &Stream<'_>, link: LinkId, out: &mut Vec<Output>) {
        let oldest = stream.held.as_ref().map_or(0, |held| held.start);
        if let Some((index, _)) = self.flow_of(link) {
            let replica = &mut self.replicas[index];
            // What is not acknowledged may be lost, but is not all in the ring.
            let pinned = replica.ack.max(oldest);
            if let Some(spread) = replica.spread.as_mut() {
                spread.leave(link, pinned);
            }
            follow_cursor(replica);
        }
        if let Some(replica) = self.replicas.iter_mut().find(|it| it.link == link) {
            close_flows(replica, out);
        }
    }
}

/// Has a replica the stream by its flows, from now on at the latest?
pub(super) fn goes_by_flows(
    replica: &mut Attached,
    held: &Range<u64>,
    out: &mut Vec<Output>,
) -> bool {
    let Some(spread) = replica.spread.as_mut() else { return false };
    let State::Online { cursor, in_flight } = replica.state else { return spread.is_on() };
    if !spread.is_on() && spread.is_complete() && !in_flight {
        spread.begin(cursor);
        spread.assign(&[], held.end);
        out.push(Output::StopRing { to: replica.link });
        follow_cursor(replica);
    }
    replica.spread.as_ref().is_some_and(Spread::is_on)
}

/// Its flows end with its own link.
pub(super) fn close_flows(replica: &mut Attached, out: &mut Vec<Output>) {
    if let Some(spread) = replica.spread.take() {
        let close = |to| Output::Close { to, reason: CloseReason::FlowOver };
        out.extend(spread.links().map(close));
    }
}

fn send_all(replica: &mut Attached, out: &mut Vec<Output>) {
    let Some(spread) = replica.spread.as_mut().filter(|it| it.is_on()) else { return };
    for lane in 0..spread.lanes() {
        let link = spread.link_of(lane);
        let pieces = spread.take(lane);
        if let (Some(to), false) = (link, pieces.is_empty()) {
            out.push(Output::SendFrames { to, pieces });
        }
    }
}

fn follow_cursor(replica: &mut Attached) {
    let at = replica.spread.as_ref().and_then(Spread::cursor);
    if let (Some(at), State::Online { cursor, .. }) = (at, &mut replica.state) {
        *cursor = at;
    }
}
