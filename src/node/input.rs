//! Requests off the hot path: split over chunks, inline, malformed, or kept while their session was
//! stalled. All end in the same window as the others.

use crate::base::limits::INPUT_BYTES_MAX;
use crate::command::args::Args;
use crate::node::client::Window;
use crate::node::core::Core;
use crate::node::outbox::{Action, Conn, Level, Outbox};
use crate::node::session::{Session, Stall, Waiting};
use crate::resp::error::ProtocolError;
use crate::resp::partial::{Fed, Partial};
use bytes::Bytes;

impl Core {
    /// Bytes for a request that does not lie whole in one chunk (or is inline, empty, malformed):
    /// the careful half of the parser takes them, and what lies behind is staged as usual.
    pub(super) fn run_split<'a>(
        &mut self,
        conn: Conn,
        mut partial: Partial,
        bytes: &'a [u8],
        window: &mut Window<'a>,
        out: &mut Outbox,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let limits = self.view.request_limits(session.authenticated);
        match partial.feed(bytes, &limits) {
            Ok(Fed::More) if partial.is_idle() => {}
            Ok(Fed::More) => session.input = Some(Box::new(Waiting::Split(partial, Vec::new()))),
            Ok(Fed::Request { used }) => {
                self.run_window(window, out);
                let behind = &bytes[used..];
                let mut words = Vec::new();
                partial.args(&mut words);
                if !self.sessions.get(conn).is_some_and(Session::is_running) {
                    // A request of this chunk stalled it while the window ran: it kept the rest.
                    return;
                }
                self.run_alone(conn, Args::new(&words), behind, out);
                self.stage_all(conn, behind, 0, window, out);
            }
            Err(error) => {
                self.run_window(window, out);
                self.malformed(conn, bytes, error, out);
            }
        }
    }

    /// Goes on with a session whose bytes were kept.
    pub(super) fn run_waiting(&mut self, conn: Conn, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        match session.input.take().map(|it| *it) {
            Some(Waiting::Stalled(left, since)) => {
                self.run_kept(conn, left, out);
                if !since.is_empty() {
                    self.run_since(conn, since, out);
                }
            }
            Some(Waiting::Split(partial, behind)) if !behind.is_empty() => {
                let mut window = Window::short();
                self.run_split(conn, partial, &behind, &mut window, out);
                self.run_window(&mut window, out);
            }
            split => session.input = split.map(Box::new),
        }
        // Replies that were held because more was about to run.
        self.roads.lands(conn);
        self.receive_again(conn, out);
    }

    /// Runs what was kept, until it stalls again. How far it comes is not known, so that it is
    /// staged little at first.
    fn run_kept(&mut self, conn: Conn, kept: Bytes, out: &mut Outbox) {
        let mut window = Window::short();
        self.resumed = kept.clone();
        self.stage_all(conn, &kept, 0, &mut window, out);
        self.run_window(&mut window, out);
        self.resumed = Bytes::new();
    }

    /// What arrived after that which was kept: as if it came now.
    fn run_since(&mut self, conn: Conn, since: Vec<u8>, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if session.closing {
            return;
        }
        match session.input.take().map(|it| *it) {
            None if session.is_running() => self.run_kept(conn, since.into(), out),
            None => session.wait_with(Bytes::new(), since),
            Some(Waiting::Stalled(left, none)) if none.is_empty() => session.wait_with(left, since),
            Some(Waiting::Split(partial, behind)) if behind.is_empty() && session.is_running() => {
                let mut window = Window::short();
                self.run_split(conn, partial, &since, &mut window, out);
                self.run_window(&mut window, out);
            }
            Some(other) => {
                session.input = Some(Box::new(other));
                session.keep(&since);
            }
        }
    }

    /// A client whose input waited is listened to again when little of it is left.
    fn receive_again(&mut self, conn: Conn, out: &mut Outbox) {
        if let Some(session) = self.sessions.get_mut(conn)
            && session.paused
            && session.input_bytes() <= INPUT_BYTES_MAX / 2
        {
            session.paused = false;
            out.actions.push(Action::Resume(conn));
        }
    }

    /// Ends a stall; the session goes on at the next turn, or at the end of this one.
    pub(super) fn wake(&mut self, conn: Conn, was: Stall) {
        if let Some(session) = self.sessions.get_mut(conn)
            && session.stall == was
        {
            session.stall = Stall::Running;
            if session.input.is_some() || session.ending {
                self.runnable.push(conn);
            }
        }
    }

    /// Goes on with every session that was woken.
    pub(super) fn run_runnable(&mut self, out: &mut Outbox) {
        for conn in std::mem::take(&mut self.runnable) {
            if self.holds_clients() {
                if let Some(session) = self.sessions.get_mut(conn)
                    && matches!(session.stall, Stall::Running | Stall::NextTurn)
                {
                    session.stall = Stall::Frozen;
                    self.frozen.stalled(conn);
                }
                continue;
            }
            let Some(session) = self.sessions.get_mut(conn) else { continue };
            if session.stall == Stall::NextTurn {
                session.stall = Stall::Running;
            }
            if session.is_running() {
                self.run_waiting(conn, out);
            }
            self.hang_up_if_over(conn, out);
        }
    }

    /// A peer that is gone, or has finished speaking, and was answered all that it asked: the end.
    pub(super) fn hang_up_if_over(&mut self, conn: Conn, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let heard = !matches!(session.input.as_deref(), Some(Waiting::Stalled(..)));
        if session.ending && heard && session.is_running() && session.flight.is_none() {
            self.hang_up(conn, out);
        }
    }

    /// A session wrote its share of this turn: the rest of its requests runs at the next one.
    pub(super) fn wrote_much(&mut self, conn: Conn, behind: &[u8], out: &mut Outbox) {
        let written = out.written_to(conn);
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if session.is_running() && !behind.is_empty() {
            session.stall(Stall::NextTurn, behind, &self.resumed);
            self.runnable.push(conn);
        }
        self.check_output(conn, written, out);
    }

    /// Bytes that are no request: the reason, and the end of the connection.
    pub(super) fn malformed(
        &mut self,
        conn: Conn,
        rest: &[u8],
        error: ProtocolError,
        out: &mut Outbox,
    ) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        if !session.is_running() {
            if session.stall != Stall::Running && session.input.is_none() {
                session.keep(rest);
            }
            return;
        }
        if session.flight.is_some() {
            session.stall(Stall::Flight, rest, &self.resumed);
            return;
        }
        session.closing = true;
        let ends = session.ends.peer_host();
        match error.reply() {
            Some(reply) => {
                reply.write_to(out.to(conn));
                self.say(
                    out,
                    Level::Verbose,
                    format!("Protocol error of client {ends}: {error:?}"),
                );
            }
            None => {
                self.say(out, Level::Warning, format!("Closing client {ends}: {error:?}"));
            }
        }
        out.actions.push(Action::Close(conn));
    }

    /// A client that sends without end while its requests cannot run is not listened to, and one whose
    /// single request is too long is closed.
    pub(super) fn check_input(&mut self, conn: Conn, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        let bytes = session.input_bytes();
        let stalled = matches!(session.input.as_deref(), Some(Waiting::Stalled(..)));
        if stalled && bytes > INPUT_BYTES_MAX && !session.paused {
            session.paused = true;
            out.actions.push(Action::Pause(conn));
        }
        let limit = self.view.settings.client_query_buffer_limit;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if bytes > INPUT_BYTES_MAX.max(limit) {
            session.closing = true;
            let id = session.id;
            self.stats.input_disconnections += 1;
            self.say(
                out,
                Level::Warning,
                format!("Closing client {id}: {bytes} bytes of input wait, over the limit"),
            );
            out.actions.push(Action::CloseNow(conn));
        }
        self.weigh(conn);
    }
}
