//! How a session begins, moves, falls behind and ends.

use crate::base::limits::{ADMIN_RESERVE, UNAUTHENTICATED_OUTPUT_BYTES_MAX};
use crate::node::core::Core;
use crate::node::outbox::{Action, Conn, Level, Outbox};
use crate::node::session::{Ends, Kind, Session, Stall};
use crate::resp::error::ErrorKind;
use std::sync::atomic::Ordering;

impl Core {
    /// A client connected; `admitted`: by a door for administration, which has places of its own.
    pub(super) fn opened(&mut self, conn: Conn, ends: Ends, admitted: bool, out: &mut Outbox) {
        self.shared.host.record.arrived(self.now.wall);
        let settings = &self.view.settings;
        let open = self.view.users.get(0).is_some_and(|user| user.nopass);
        let id = self.shared.client_ids.fetch_add(1, Ordering::Relaxed) + 1;
        let is_full = if admitted {
            self.shared.host.admitted.fetch_add(1, Ordering::Relaxed) >= ADMIN_RESERVE
        } else {
            let before = self.shared.clients.fetch_add(1, Ordering::Relaxed);
            before >= settings.maxclients as usize
        };
        let refused = if is_full {
            Some(ErrorKind::MaxClients)
        } else if settings.protected_mode && open && !ends.is_loopback() {
            Some(ErrorKind::ProtectedMode)
        } else {
            None
        };
        let session = Session { admitted, ..Session::new(id, ends, open, self.now) };
        self.sessions.open(conn, session);
        self.becomes_nobody(conn);
        match refused {
            None => self.stats.connections += 1,
            Some(error) => {
                self.stats.rejected_connections += 1;
                error.write_to(out.to(conn));
                self.hang_up(conn, out);
            }
        }
    }

    /// A session arrives from another core.
    pub(super) fn moved(&mut self, conn: Conn, mut session: Session, out: &mut Outbox) {
        session.stall = Stall::Running;
        session.paused = false;
        if let Some(rare) = session.rare.as_mut() {
            rare.backlog_bytes = 0; // It was let go with all its output sent.
        }
        self.sessions.open(conn, session);
        self.joins_lists(conn);
        self.runnable.push(conn);
        self.run_runnable(out);
    }

    /// At the end of a turn: takes out the sessions that go to core 0, with everything that they
    /// have not run yet. What was answered to one of them goes before it, so it waits for held
    /// replies.
    pub(super) fn move_sessions(&mut self, out: &mut Outbox) {
        for conn in std::mem::take(&mut self.moving) {
            let Some(session) = self.sessions.get(conn) else { continue };
            if session.stall != Stall::Moving || session.closing {
                continue;
            }
            if self.roads.holds(conn, session.generation) {
                self.moving.push(conn);
            } else {
                self.forget_listener(conn);
                self.forget_watcher(conn);
                self.leaves_lists(conn);
                self.forget_tracker(conn);
                self.weights.note(conn, 0);
                let Some(session) = self.sessions.close(conn) else { continue };
                out.actions.push(Action::Move { conn, core: 0, session: Box::new(session) });
            }
        }
    }

    /// The peer is gone, or `Action::Close` was carried out.
    pub(super) fn ended(&mut self, conn: Conn, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if !session.closing {
            let waits = self.blocked.waits(conn);
            if !waits && (session.flight.is_some() || session.stall != Stall::Running) {
                // It may only have finished speaking: what it asked for is still answered.
                session.ending = true;
                self.follows_lent(conn);
                return;
            }
            out.actions.push(Action::Close(conn));
        }
        self.flow_ended(conn, out);
        self.forget_blocked(conn);
        self.forget_listener(conn);
        self.forget_watcher(conn);
        self.leaves_lists(conn);
        self.forget_tracker(conn);
        self.weights.note(conn, 0);
        let Some(session) = self.sessions.close(conn) else { return };
        if session.admitted {
            self.shared.host.admitted.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.shared.clients.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(multi) = session.rare.as_ref().and_then(|rare| rare.multi.as_ref()) {
            self.forget_multi(multi);
        }
        if let Some(mut flight) = session.flight {
            self.no_longer_follows(&flight);
            // Replies still under way find another generation here and are dropped.
            flight.forget();
        }
        if session.kind != Kind::Normal || self.id == 0 {
            let generation = session.generation;
            self.with_control(out, |control, cx| control.ended(cx, conn, generation));
        }
    }

    /// Ends a session from this side: what was written to it is still sent.
    pub(super) fn hang_up(&mut self, conn: Conn, out: &mut Outbox) {
        if let Some(session) = self.sessions.get_mut(conn)
            && !session.closing
        {
            session.closing = true;
            session.input = None;
            out.actions.push(Action::Close(conn));
        }
    }

    /// The peer takes its output slowly; past its class's limit it is closed.
    pub(super) fn output_waits(&mut self, conn: Conn, bytes: usize, out: &mut Outbox) {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.rare_mut().backlog_bytes = bytes;
            self.check_output(conn, 0, out);
            self.weigh(conn);
        }
    }

    pub(super) fn drained(&mut self, conn: Conn, out: &mut Outbox) {
        if let Some(rare) = self.sessions.get_mut(conn).and_then(|it| it.rare.as_mut()) {
            rare.backlog_bytes = 0;
            rare.over_soft_since = None;
            self.weigh(conn);
        }
        self.with_control(out, |control, cx| control.writable(cx, conn));
    }

    /// Closes a session whose unsent output is over its class of
    /// `client-output-buffer-limit`.
    pub(super) fn check_output(&mut self, conn: Conn, written: usize, out: &mut Outbox) {
        let seconds = self.stats.seconds;
        let limits = &self.view.settings.client_output_buffer_limit;
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let limit =
            if session.subscribed || session.watches { limits.pubsub } else { limits.normal };
        if session.kind != Kind::Normal || session.closing {
            return;
        }
        let queued = session.flight.as_ref().map_or(0, |flight| flight.queued_bytes());
        let waiting = session.rare.as_ref().map_or(0, |rare| rare.backlog_bytes);
        let held = queued + waiting + written;
        let bytes = held as u64;
        let over = |limit: u64| limit > 0 && bytes > limit;
        let mut why = over(limit.hard).then_some("hard");
        if over(limit.soft) {
            let since = *session.rare_mut().over_soft_since.get_or_insert(seconds);
            if seconds.saturating_sub(since) >= limit.soft_seconds {
                why = why.or(Some("soft"));
            }
        }
        // Nobody who has not said who they are gets the server to hold much for them.
        if !session.authenticated && held > UNAUTHENTICATED_OUTPUT_BYTES_MAX {
            why = Some("unauthenticated");
        }
        if let Some(why) = why {
            session.closing = true;
            let id = session.id;
            self.stats.output_disconnections += 1;
            let text =
                format!("Closing client {id}: {bytes} bytes of output wait, over its {why} limit");
            out.log(Level::Warning, text);
            out.actions.push(Action::CloseNow(conn));
        }
    }

    /// Ends `CLIENT PAUSE` when its time is over.
    pub(super) fn unpause(&mut self, _out: &mut Outbox) {
        if self.pauses.is_over(self.now) {
            self.pauses.unpause();
        }
        if !self.pauses.is_on() {
            for conn in std::mem::take(&mut self.pauses.waiting) {
                self.wake(conn, Stall::Paused);
            }
        }
    }
}
