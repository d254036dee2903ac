//! How a driver hears of input: polls for the many that are idle, receives for the few that are busy,
//! and a place in a table for those that have no descriptor of their own (`parking.rs`).
//!
//! ```text
//!             adopt                8 inputs in a row                    4 s of silence
//!   (new) ----------> cold, polled ------------------> hot, receives ------------------> cold
//!                       |      ^
//!      descriptors short|      | input, or something to send
//!                       v      |
//!                      parked, polled in its lot
//! ```
//!
//! The *clock list* has the sockets that may have to step back: all hot ones, and where descriptors
//! are short all that have one. A hand goes round it a little at each tick, and as far as is needed
//! when a descriptor is wanted.
//!
//! The trap: an entry that is not submitted yet names its descriptor by number, and a number that is given
//! back is soon another socket's. So whoever is sent something in a call keeps its descriptor for the call.

use super::driver::{Buffer, Driver, Event, GROUP, Socket, kind, user_data};
use super::parking::Home;
use super::rows::{Hearing, NO_FD, State, at};
use super::sys;
use super::warmth::{TICK_SHIFT, Tick};
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode};
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

/// The hand passes the whole list in so many ticks.
const ROUND_TICKS: usize = 8;

/// Steps of the hand in one call of `enter`, and where a parked socket waits for a descriptor.
const STEPS: usize = 256;
const STEPS_WANTED: usize = 4_096;

impl Driver {
    /// Arms what the socket waits for input by, if it waits for none.
    pub(super) fn hear(&mut self, socket: Socket) {
        let short = self.is_short_of_descriptors();
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        if row.state != State::Open || row.hearing != Hearing::Deaf || row.paused {
            return;
        }
        if let Some(parking) = &mut self.parking
            && (short || row.fd == NO_FD || row.home != Home::NONE)
        {
            if row.home == Home::NONE
                && let Ok(home) = parking.place(row.fd)
            {
                row.home = home;
            }
            if row.home != Home::NONE {
                parking.watch(row.home, socket.0, row.generation);
                row.hearing = Hearing::Home;
                return;
            }
        }
        row.hearing = Hearing::Polls;
        let events = u32::try_from(libc::POLLIN | libc::POLLRDHUP).unwrap_or(1);
        let entry = opcode::PollAdd::new(Fd(row.fd), events).build().user_data(user_data(
            kind::POLL_IN,
            row.generation,
            socket.0,
        ));
        self.push(&entry);
    }

    /// Arms a multishot receive: the socket is hot.
    pub(super) fn receive(&mut self, socket: Socket) {
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        if row.state != State::Open || row.hearing != Hearing::Deaf || row.paused {
            return;
        }
        row.hearing = Hearing::Receives;
        let entry = opcode::RecvMulti::new(Fd(row.fd), GROUP).build().user_data(user_data(
            kind::RECEIVE,
            row.generation,
            socket.0,
        ));
        self.push(&entry);
        self.list(socket);
    }

    /// Takes back what waits for input; its completion says so.
    pub(super) fn stop_hearing(&mut self, socket: Socket) {
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        let (generation, home) = (row.generation, row.home);
        let kind = match row.hearing {
            Hearing::Deaf => return,
            Hearing::Home => {
                if let Some(parking) = &mut self.parking {
                    parking.unwatch(home, socket.0, generation);
                }
                return;
            }
            Hearing::Polls => kind::POLL_IN,
            Hearing::Receives => kind::RECEIVE,
        };
        let target = CancelBuilder::user_data(user_data(kind, generation, socket.0));
        let entry =
            opcode::AsyncCancel2::new(target).build().user_data(user_data(kind::IGNORED, 0, 0));
        self.push(&entry);
    }

    /// A multishot receive says something.
    #[inline]
    pub(super) fn received(&mut self, socket: Socket, generation: u32, result: i32, flags: u32) {
        let tick = self.tick;
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        debug_assert_eq!(row.generation, generation);
        let open = row.state == State::Open || row.state == State::Detaching;
        if let Some(id) = cqueue::buffer_select(flags) {
            match u32::try_from(result) {
                Ok(len) if open && len > 0 => {
                    row.warmth.active = tick;
                    let buffer = Buffer::provided(id, len);
                    self.events.push(Event::Received { socket, buffer });
                }
                _ => self.buffers.give_back(id),
            }
        }
        if cqueue::more(flags) {
            return;
        }
        row.hearing = Hearing::Deaf;
        match row.state {
            State::Closing | State::Detaching => self.finish(socket),
            State::Open if result == -libc::ENOBUFS => self.starved.push(socket),
            State::Open if result > 0 => self.receive(socket),
            State::Open if result == -libc::ECANCELED => self.hear(socket),
            State::Open => self.end(socket),
            State::Free | State::Connecting | State::Ended => {}
        }
    }

    /// A poll says that there is input, or an end, or that it was taken back.
    pub(super) fn readable(&mut self, socket: Socket, generation: u32, result: i32) {
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        debug_assert_eq!(row.generation, generation);
        if row.generation != generation {
            return;
        }
        row.hearing = Hearing::Deaf;
        match row.state {
            State::Closing | State::Detaching => self.finish(socket),
            State::Open if row.paused => {}
            State::Open if result == -libc::ECANCELED => self.hear(socket),
            State::Open if row.fd == NO_FD => self.ready.push_back(socket),
            State::Open => self.take_in(socket),
            State::Free | State::Connecting | State::Ended => {}
        }
    }

    /// Receives what a cold socket has.
    fn take_in(&mut self, socket: Socket) {
        let tick = self.tick;
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        if row.state != State::Open || row.hearing != Hearing::Deaf || row.paused {
            return;
        }
        let Some(room) = self.scratch.room() else {
            self.ready.push_back(socket);
            return;
        };
        match sys::receive(row.fd, room) {
            Ok(0) => self.end(socket),
            Ok(len) => {
                let hot = row.warmth.heats(tick, len == room.len());
                let start = self.scratch.lend(len);
                let buffer = Buffer::scratch(start, u32::try_from(len).unwrap_or(0));
                self.events.push(Event::Received { socket, buffer });
                if hot {
                    self.receive(socket);
                } else {
                    self.hear(socket);
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                self.hear(socket);
            }
            Err(_) => self.end(socket),
        }
    }

    /// The peer is gone or has nothing more to say.
    fn end(&mut self, socket: Socket) {
        if let Some(row) = self.rows.get_mut(at(socket)) {
            row.state = State::Ended;
            row.backlog = None;
            self.events.push(Event::Closed { socket });
        }
    }

    /// Takes in what waits for room or for a descriptor, as far as there is some now, and some of it
    /// only: whoever has a descriptor is not kept waiting for all that wake in a storm.
    pub(super) fn serve_ready(&mut self) {
        let count = self.ready.len().min(self.ready_left);
        self.ready_left -= count;
        let some: Vec<Socket> = self.ready.drain(..count).collect();
        let parked = some.iter().copied().filter(|it| self.is_parked(*it)).count();
        if parked > 0 {
            self.make_room(parked);
        }
        let seats = self.descriptors.saturating_sub(self.seated);
        let wanted: Vec<_> =
            some.iter().copied().filter(|it| self.is_parked(*it)).take(seats).collect();
        self.borrow(&wanted);
        for socket in some {
            if self.is_parked(socket) {
                self.ready.push_back(socket);
            } else {
                self.take_in(socket);
            }
        }
    }

    fn is_parked(&self, socket: Socket) -> bool {
        let row = self.rows.get(at(socket));
        row.is_some_and(|row| row.fd == NO_FD && row.home != Home::NONE)
    }

    /// What happened in the lots.
    pub(super) fn lots_happened(&mut self) {
        loop {
            let fired = match &mut self.parking {
                Some(parking) if !parking.fired.is_empty() => std::mem::take(&mut parking.fired),
                _ => return,
            };
            for it in fired {
                self.readable(Socket(it.socket), it.generation, it.result);
            }
            if !self.ready.is_empty() {
                self.serve_ready();
            }
        }
    }

    /// Gives a parked socket a descriptor; `false` where none is left, so that it must be tried again.
    pub(super) fn seat(&mut self, socket: Socket) -> bool {
        if self.is_parked(socket) && self.seated < self.descriptors {
            self.borrow(&[socket]);
        }
        !self.is_parked(socket)
    }

    fn borrow(&mut self, sockets: &[Socket]) {
        if sockets.is_empty() {
            return;
        }
        let Some(mut parking) = self.parking.take() else { return };
        let rows = &self.rows;
        let homes: Vec<_> =
            sockets.iter().filter_map(|it| rows.get(at(*it)).map(|row| (it.0, row.home))).collect();
        let mut got: Vec<(u32, OwnedFd)> = Vec::with_capacity(homes.len());
        parking.borrow(homes.into_iter(), |socket, fd| {
            if let Ok(fd) = fd {
                got.push((socket, fd));
            }
        });
        self.parking = Some(parking);
        for (socket, fd) in got {
            if let Some(row) = self.rows.get_mut(socket as usize) {
                row.fd = fd.into_raw_fd();
                self.seated += 1;
                self.list(Socket(socket));
            }
        }
    }

    /// Enters the socket in the clock list, once.
    pub(super) fn list(&mut self, socket: Socket) {
        if let Some(row) = self.rows.get_mut(at(socket))
            && !row.listed
        {
            row.listed = true;
            self.clock.push(socket.0);
        }
    }

    /// From here on sockets that turn cold are placed, so that they can be parked at once when the
    /// last descriptors are asked for.
    pub(super) fn is_short_of_descriptors(&self) -> bool {
        self.seated > self.descriptors / 8 * 5
    }

    /// The clock's hand goes on, and parks where descriptors are short.
    pub(super) fn turn_clock(&mut self) {
        let now = (sys::coarse_ms() >> TICK_SHIFT) & u64::from(Tick::MAX);
        let now = Tick::try_from(now).unwrap_or(0);
        if now != self.tick {
            self.tick = now;
            for _ in 0..self.clock.len().div_ceil(ROUND_TICKS) {
                self.step(self.high(), false);
            }
        }
        if self.parking.is_some() {
            self.make_room(self.behind.len());
        }
    }

    /// With more descriptors in use than this, idle sockets are parked: the rest is for newcomers. Whoever
    /// accepts stops later than that (`node/admission.rs`), else nobody would ever be parked.
    fn high(&self) -> usize {
        self.descriptors - self.descriptors / 4
    }

    /// Parks idle sockets so that `wanted` more than usual find a descriptor. It takes the steps of
    /// one call, whether that suffices or not: where all sockets are busy there is none to be had.
    fn make_room(&mut self, wanted: usize) {
        let high = self.high().saturating_sub(wanted).max(self.descriptors / 4);
        let before = self.seated;
        if before <= high || self.barren == Some(self.tick) {
            return;
        }
        let full = self.seated > self.descriptors - self.descriptors / 16;
        let desperate = wanted > 0 || full;
        let steps = if desperate { STEPS_WANTED } else { STEPS };
        for _ in 0..steps.min(2 * self.clock.len()) {
            if self.seated <= high {
                return;
            }
            self.step(high, desperate);
        }
        // All are busy: looking again before some time has passed is in vain.
        if self.seated == before {
            self.barren = Some(self.tick);
        }
    }

    /// One step of the hand: this socket may cool down, or do without a descriptor.
    fn step(&mut self, high: usize, desperate: bool) {
        if self.hand >= self.clock.len() {
            self.hand = 0;
        }
        let Some(&index) = self.clock.get(self.hand) else { return };
        let (tick, short) = (self.tick, self.is_short_of_descriptors());
        let (parks, crowded) = (self.parking.is_some(), self.seated > high);
        let Some(row) = self.rows.get_mut(index as usize) else { return };
        let hot = row.hearing == Hearing::Receives;
        if row.fd == NO_FD || (!hot && !parks) {
            row.listed = false;
            self.clock.swap_remove(self.hand);
            return;
        }
        self.hand += 1;
        let idle = row.warmth.idle(tick);
        if hot && (row.warmth.has_cooled(tick) || (crowded && desperate && idle > 0)) {
            row.warmth.cool();
            self.stop_hearing(Socket(index));
        } else if short && parks && (desperate || idle > 0) && row.hearing == Hearing::Polls {
            // It hears again by a poll in a lot.
            self.stop_hearing(Socket(index));
        } else if crowded && (desperate || idle > 0) && row.is_idle() && row.sent_in != self.call {
            drop(sys::own(std::mem::replace(&mut row.fd, NO_FD)));
            row.listed = false;
            self.hand -= 1;
            self.clock.swap_remove(self.hand);
            self.seated -= 1;
        }
    }
}
