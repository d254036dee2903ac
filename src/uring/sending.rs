//! A driver's output: sends that end within the call, and what a slow reader leaves over.
//!
//! Every send carries MSG_DONTWAIT, so the kernel decides it inside the system call that submits it:
//! it is done, done in part (MSG_WAITALL makes the part count come back), or refused. What is left
//! over is copied and waits for POLLOUT. One socket has at most one send per call in flight; a second
//! goes behind the copy, so that bytes never overtake bytes.

use super::driver::{Driver, Event, Segment, Socket, kind, user_data};
use super::rows::{NO_FD, State, at};
use super::sys;
use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use std::io;

/// A backlog that shrank to a quarter of its memory gives the rest back from here on.
const BACKLOG_KEPT_BYTES: usize = 64 * 1024;

impl Driver {
    /// Sends at once by a system call of its own, before anything that a later `enter` sends; what
    /// does not fit is *not* kept. Where output waits already, nothing is sent.
    ///
    /// # Errors
    /// The reason why the peer is gone.
    pub fn send_now(&mut self, socket: Socket, bytes: &[u8]) -> io::Result<usize> {
        let Some(row) = self.rows.get(at(socket)) else { return Ok(0) };
        if row.state != State::Open || row.backlog.is_some() || !self.seat(socket) {
            return Ok(0);
        }
        match sys::send(self.fd(socket), bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Asks for one `Drained` when the socket can be written to again.
    pub fn await_writable(&mut self, socket: Socket) {
        if self.rows.get(at(socket)).is_some_and(|row| row.state == State::Open) {
            if self.seat(socket) {
                self.poll_out(socket);
            } else {
                self.behind.push(socket);
            }
        }
    }

    /// Bytes of output that wait for a slow reader.
    #[must_use]
    pub fn backlog_bytes(&self, socket: Socket) -> usize {
        let row = self.rows.get(at(socket));
        row.and_then(|row| row.backlog.as_ref()).map_or(0, |it| it.len())
    }

    #[expect(unsafe_code, reason = "an entry that points into the caller's memory")]
    pub(super) fn push_send(
        &mut self,
        lent: &[u8],
        segment: Segment,
        index: usize,
    ) -> io::Result<()> {
        let Segment { socket, start, end } = segment;
        let bytes = &lent[start..end];
        let call = self.call;
        let Some(row) = self.rows.get_mut(at(socket)) else { return Ok(()) };
        // A peer that has nothing more to say may still listen.
        if !matches!(row.state, State::Open | State::Ended) || bytes.is_empty() {
            return Ok(());
        }
        if let Some(backlog) = &mut row.backlog {
            backlog.extend_from_slice(bytes);
            let bytes = backlog.len();
            self.events.push(Event::Backlog { socket, bytes });
            return Ok(());
        }
        if row.fd == NO_FD {
            return self.send_to_parked(socket, bytes);
        }
        if row.sent_in == call {
            row.backlog = Some(Box::new(bytes.to_vec()));
            self.behind.push(socket);
            return Ok(());
        }
        row.sent_in = call;
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fd(row.fd), bytes.as_ptr(), len)
            .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data(kind::SEND, u32::try_from(index).unwrap_or(u32::MAX), socket.0));
        // SAFETY: the entry points into `lent`, which outlives this `enter`, and MSG_DONTWAIT makes
        // the kernel finish with it inside the system call that submits it.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.submit(super::driver::Wait::No)?;
        }
        Ok(())
    }

    /// At once, as soon as there is a descriptor for it.
    #[cold]
    fn send_to_parked(&mut self, socket: Socket, bytes: &[u8]) -> io::Result<()> {
        let sent = if self.seat(socket) {
            match sys::send(self.fd(socket), bytes) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return Ok(()), // The peer is gone; the poll says so.
            }
        } else {
            0
        };
        if let Some(row) = self.rows.get_mut(at(socket)) {
            row.sent_in = self.call;
            if sent < bytes.len() {
                row.backlog = Some(Box::new(bytes[sent..].to_vec()));
                self.behind.push(socket);
            }
        }
        Ok(())
    }

    /// A send completes only where not all of it went out.
    pub(super) fn send_failed(
        &mut self,
        socket: Socket,
        index: u32,
        result: i32,
        lent: &[u8],
        segments: &[Segment],
    ) {
        let Some(segment) = segments.get(index as usize) else { return };
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        if segment.socket != socket || row.state != State::Open {
            return;
        }
        let sent = match result {
            _ if result == -libc::EAGAIN => 0,
            0.. => usize::try_from(result).unwrap_or(0),
            _ => return, // The peer is gone; the receive says so.
        };
        let rest = &lent[segment.start + sent..segment.end];
        if rest.is_empty() {
            return;
        }
        match &mut row.backlog {
            // A later send of this call is waiting already: the rest goes before it.
            Some(backlog) => drop(backlog.splice(0..0, rest.iter().copied())),
            None => row.backlog = Some(Box::new(rest.to_vec())),
        }
        let bytes = row.backlog.as_ref().map_or(0, |it| it.len());
        self.events.push(Event::Backlog { socket, bytes });
        self.poll_out(socket);
    }

    pub(super) fn writable(&mut self, socket: Socket, generation: u32) {
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        if row.generation != generation {
            return;
        }
        row.polling_out = false;
        match row.state {
            State::Connecting => self.connected(socket),
            State::Open if row.backlog.is_some() => self.flush_backlog(socket),
            State::Open => self.events.push(Event::Drained { socket }),
            State::Closing => self.finish(socket),
            State::Detaching | State::Ended | State::Free => {}
        }
    }

    pub(super) fn flush_backlog(&mut self, socket: Socket) {
        if !self.seat(socket) {
            self.behind.push(socket);
            return;
        }
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        if row.polling_out {
            return;
        }
        let Some(backlog) = &mut row.backlog else { return };
        let mut sent = 0;
        while sent < backlog.len() {
            match sys::send(row.fd, &backlog[sent..]) {
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    row.backlog = None; // The peer is gone; the receive says so.
                    if row.close_when_drained {
                        self.close_now(socket);
                    }
                    return;
                }
            }
        }
        if sent < backlog.len() {
            backlog.drain(..sent);
            if backlog.capacity() > BACKLOG_KEPT_BYTES && backlog.len() < backlog.capacity() / 4 {
                backlog.shrink_to_fit();
            }
            self.poll_out(socket);
            return;
        }
        row.backlog = None;
        if row.close_when_drained {
            self.close_now(socket);
        } else {
            self.events.push(Event::Drained { socket });
        }
    }

    pub(super) fn poll_out(&mut self, socket: Socket) {
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        if row.polling_out {
            return;
        }
        row.polling_out = true;
        let poll = u32::try_from(libc::POLLOUT).unwrap_or(4);
        let entry = opcode::PollAdd::new(Fd(row.fd), poll).build().user_data(user_data(
            kind::POLL_OUT,
            row.generation,
            socket.0,
        ));
        self.push(&entry);
    }
}
