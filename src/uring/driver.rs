//! One thread's socket ring: accept, connect, receive, send, close, doorbells.
//!
//! ```text
//!   enter(sends, wait)  one io_uring_enter: submits everything, runs deferred work, reaps
//!   take_events         what happened, in order
//!   bytes / give_back   the received bytes lie in lent buffers until they are given back
//! ```
//!
//! **Sends never outlive `enter`** (`sending.rs`): replies are sent straight from a buffer that the
//! caller lends for the call, and only what a slow reader left over is copied.
//!
//! **An idle socket has no buffer**, and waits by a poll; a busy one is promoted to a multishot receive
//! into provided buffers, and demoted again (`hearing.rs`). The caller does not see which.
//!
//! **More sockets than descriptors.** `Sizes::descriptors` says how many descriptors the driver's
//! sockets may have. Beyond that the idle ones are parked in tables of further rings (`parking.rs`),
//! and get one back when something is to be done. So a process with RLIMIT_NOFILE 20,000 holds a
//! million. The caller sees of that only that `fd` has no answer for a parked socket.
//!
//! **Dialling very many.** `dial(Some(127.a.b.c:0), to)` begins a connect from one of many source
//! addresses, each of which has its own ~28,000 ports for a target; `Connected` follows, and the
//! socket is tuned (TCP_NODELAY), received from and parked like any other. While all descriptors are
//! with connects and busy sockets it says `WouldBlock`: dial on after the next `enter`. So:
//!
//! ```text
//!   let sizes = Sizes { descriptors: 18_000, ..Sizes::default() };    // of this thread
//!   let mut driver = Driver::new(sizes)?;
//!   loop {
//!       while driver.can_dial() && more { driver.dial(Some(source(n)), target)?; }
//!       driver.enter(&lent, &segments, wait)?;
//!       driver.take_events(&mut events);   // Connected { socket, result }, Received { .. }, ..
//!   }
//! ```
//!
//! **Accepting** is bounded: `admit` says how many connections one `enter` may bring, behind all that it
//! brings of those who are in. Whoever is not accepted waits in the kernel, and costs nothing here.
//!
//! **Closing.** What waits for input keeps the kernel's file alive, so `close` shuts the socket down
//! and the row is freed by that wait's last completion. Whoever is told `Closed` calls `close` too.
//! What an `enter` tells may be of a socket that was closed after it; such a number is given to nobody
//! before the next `enter`, and closing it again does nothing.
//!
//! The trap: a completion may name a socket that is gone and whose number is in use again; so
//! every completion carries the row's generation.
#![expect(unsafe_code, reason = "submitting entries whose memory must outlive the call")]

use super::buffers::Buffers;
use super::parking::{Home, Parking};
use super::rows::{Hearing, NO_FD, Row, State, at};
use super::scratch::Scratch;
use super::sys;
use super::warmth::{Tick, Warmth};
use crate::base::chunks::Chunks;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A socket of one driver: a small number, used again after the socket was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Socket(pub u32);

/// Received bytes: which buffer, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// Of a provided buffer its number; `SCRATCH` for what lies in the scratch.
    id: u32,
    start: u32,
    len: u32,
}

const SCRATCH: u32 = u32::MAX;

impl Buffer {
    pub(super) fn provided(id: u16, len: u32) -> Self {
        Self { id: id.into(), start: 0, len }
    }

    pub(super) fn scratch(start: u32, len: u32) -> Self {
        Self { id: SCRATCH, start, len }
    }
}

/// What happened, in the order in which the kernel said so.
#[derive(Debug)]
pub enum Event {
    /// A connection came in; it is not received from until some driver adopts it.
    Accepted { listener: u32, fd: OwnedFd },
    /// Accepting stopped (no descriptors left, say); `listen_again` resumes it.
    AcceptStopped { listener: u32, error: io::Error },
    /// A connect was decided; on an error the socket must be closed.
    Connected { socket: Socket, result: io::Result<()> },
    /// Bytes came in; give the buffer back after use.
    Received { socket: Socket, buffer: Buffer },
    /// A slow reader left output over: so many bytes of it wait now.
    Backlog { socket: Socket, bytes: usize },
    /// All output that a slow reader had left over is sent.
    Drained { socket: Socket },
    /// The peer is gone, or has nothing more to say; close the socket.
    Closed { socket: Socket },
    /// A `detach` is complete: the connection is the caller's, and may be adopted elsewhere.
    Detached { socket: Socket, fd: OwnedFd },
    /// A watched descriptor is readable.
    Readable { tag: u32 },
    /// Another thread rang.
    Bell,
}

/// A send of one `enter`: a range of the lent bytes for one socket.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub socket: Socket,
    pub start: usize,
    pub end: usize,
}

/// Sizes of one driver. `Default` suits a server's core.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Submission entries.
    pub entries: u32,
    /// Completion entries; also sets how many buckets the kernel's cancel hash has.
    pub completions: u32,
    /// Receive buffers (a power of two) and the bytes of each.
    pub buffers: u16,
    pub buffer_bytes: usize,
    /// Descriptors that its sockets may have; beyond them idle sockets are parked. `usize::MAX`:
    /// none is ever parked.
    pub descriptors: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            entries: 4_096,
            completions: 32_768,
            buffers: 1_024,
            buffer_bytes: 8 * 1024,
            descriptors: usize::MAX,
        }
    }
}

/// How long `enter` may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: take what is there.
    No,
    /// Until something happens, at most so long.
    AtMost(Duration),
}

/// A listening socket: polled, and accepted from while somebody waits there.
struct Listener {
    /// None: it was closed.
    fd: Option<OwnedFd>,
    has_callers: bool,
    /// The kernel has yet to answer a poll: until then the number is not used again.
    polled: bool,
    /// What `admit` says is not for those who come here.
    reserved: bool,
}

/// As the default of `tcp-keepalive`.
const KEEPALIVE_SECONDS: u32 = 300;
/// Connections that one `enter` accepts where nothing else is said.
const ADMITS: usize = 64;
/// The same at each reserved listener.
const RESERVED_ADMITS: usize = 4;

/// See the file's header.
pub struct Driver {
    pub(super) ring: IoUring, // first: dropped before the memory that it may write to
    pub(super) parking: Option<Parking>,
    pub(super) buffers: Buffers,
    pub(super) scratch: Scratch,
    pub(super) rows: Chunks<Row>,
    /// Rows that were used before and are free; all from `rows_used` on were never used.
    free: Vec<u32>,
    /// Rows that became free since the last `enter`: what was told of them may not be looked at yet, so they are
    /// nobody's for that long.
    resting: Vec<u32>,
    rows_used: u32,
    listeners: Vec<Listener>,
    /// Connections that one `enter` accepts at most.
    admits: usize,
    /// Of who connects.
    keepalive_seconds: u32,
    pub(super) events: Vec<Event>,
    pub(super) starved: Vec<Socket>,
    /// Sockets whose output waits for the end of this call, or for a descriptor.
    pub(super) behind: Vec<Socket>,
    /// Sockets whose input waits for room in the scratch, or for a descriptor.
    pub(super) ready: VecDeque<Socket>,
    /// How many of them this call may still serve.
    pub(super) ready_left: usize,
    /// Sockets that may have to step back, and where the hand stands (`hearing.rs`).
    pub(super) clock: Vec<u32>,
    pub(super) hand: usize,
    pub(super) tick: Tick,
    /// The tick in which no socket was found that could be parked.
    pub(super) barren: Option<Tick>,
    /// Descriptors that sockets have, and may have.
    pub(super) seated: usize,
    pub(super) descriptors: usize,
    pub(super) call: u16,
}

/// Sockets without a descriptor that one call serves: many may wake at once, and those that have one go
/// on beside them.
const READY_PER_CALL: usize = 256;

pub(super) const GROUP: u16 = 1;

pub(super) mod kind {
    pub const CALLERS: u64 = 1;
    pub const RECEIVE: u64 = 2;
    pub const SEND: u64 = 3;
    pub const POLL_OUT: u64 = 4;
    pub const WATCH: u64 = 5;
    pub const BELL: u64 = 6;
    pub const IGNORED: u64 = 7;
    pub const POLL_IN: u64 = 8;
    pub const LOTS: u64 = 9;
}

/// kind (8 bits) | detail (24 bits: a row's generation, or a segment's index) | index (32 bits)
pub(super) fn user_data(kind: u64, detail: u32, index: u32) -> u64 {
    kind << 56 | u64::from(detail & 0x00ff_ffff) << 32 | u64::from(index)
}

impl Driver {
    /// A ring with its receive buffers, for the calling thread alone.
    ///
    /// # Errors
    /// The kernel's; `fit::check` says beforehand what is missing.
    pub fn new(sizes: Sizes) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_cqsize(sizes.completions)
            .build(sizes.entries)?;
        let buffers = Buffers::register(&ring, GROUP, sizes.buffers, sizes.buffer_bytes)?;
        let parking = (sizes.descriptors < usize::MAX).then(Parking::new).transpose()?;
        let mut driver = Self {
            ring,
            parking,
            buffers,
            scratch: Scratch::default(),
            rows: Chunks::default(),
            free: Vec::new(),
            resting: Vec::new(),
            rows_used: 0,
            listeners: Vec::new(),
            admits: ADMITS,
            keepalive_seconds: KEEPALIVE_SECONDS,
            events: Vec::new(),
            starved: Vec::new(),
            behind: Vec::new(),
            ready: VecDeque::new(),
            ready_left: 0,
            clock: Vec::new(),
            hand: 0,
            tick: 0,
            barren: None,
            seated: 0,
            descriptors: sizes.descriptors,
            call: 0,
        };
        driver.turn_clock();
        driver.hear_lots();
        Ok(driver)
    }

    /// The ring's descriptor: what another thread's `ring_bell` names.
    #[must_use]
    pub fn ring_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Accepts from a listening socket until the driver is dropped; returns its number.
    pub fn listen(&mut self, fd: OwnedFd) -> u32 {
        self.listen_at(fd, false)
    }

    /// As `listen`; who comes here is let in whatever `admit` says.
    pub fn listen_reserved(&mut self, fd: OwnedFd) -> u32 {
        self.listen_at(fd, true)
    }

    fn listen_at(&mut self, fd: OwnedFd, reserved: bool) -> u32 {
        sys::set_nonblocking(&fd);
        sys::tune(&fd, self.keepalive_seconds);
        let new = Listener { fd: Some(fd), has_callers: false, polled: false, reserved };
        let free = self.listeners.iter().position(|it| it.fd.is_none() && !it.polled);
        let index = free.unwrap_or(self.listeners.len());
        match self.listeners.get_mut(index) {
            Some(place) => *place = new,
            None => self.listeners.push(new),
        }
        self.listen_again(index_of(index));
        index_of(index)
    }

    /// From now on, who connects is probed after so many seconds of silence (0: never).
    pub fn keep_alive(&mut self, seconds: u32) {
        self.keepalive_seconds = seconds;
        self.listeners.iter().filter_map(|it| it.fd.as_ref()).for_each(|it| sys::tune(it, seconds));
    }

    /// Ends a listener; who has connected already is returned. Its number may become another's.
    pub fn close_listener(&mut self, listener: u32) -> Vec<OwnedFd> {
        let mut callers = Vec::new();
        let Some(it) = self.listeners.get_mut(listener as usize) else { return callers };
        it.has_callers = false;
        let Some(fd) = it.fd.take() else { return callers };
        loop {
            match sys::accept(&fd) {
                Ok(caller) => callers.push(caller),
                Err(error) if sys::is_of_one_caller(&error) => {}
                Err(_) => break,
            }
        }
        // The poll has the socket open until it is told that there is nothing to wait for.
        sys::shutdown(fd.as_raw_fd());
        callers
    }

    /// Resumes accepting after `AcceptStopped`.
    pub fn listen_again(&mut self, listener: u32) {
        let Some(it) = self.listeners.get_mut(listener as usize) else { return };
        let (Some(fd), false) = (&it.fd, it.polled) else { return };
        it.polled = true;
        let events = u32::try_from(libc::POLLIN).unwrap_or(1);
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), events).build().user_data(user_data(
            kind::CALLERS,
            0,
            listener,
        ));
        self.push(&entry);
    }

    /// From now on each `enter` accepts at most so many connections; the others wait in the kernel.
    pub fn admit(&mut self, most: usize) {
        self.admits = most;
    }

    /// Does anybody wait to be accepted? As far as is known: somebody may just have come.
    #[must_use]
    pub fn has_callers(&self) -> bool {
        self.listeners.iter().any(|it| it.has_callers)
    }

    /// Can somebody who waits be accepted?
    fn lets_in(&self) -> bool {
        self.listeners.iter().any(|it| it.has_callers && (it.reserved || self.admits > 0))
    }

    /// Accepts behind everything else that the call brought, so that those who are in go first.
    fn accept_some(&mut self) {
        let mut admits = self.admits;
        for index in 0..self.listeners.len() {
            let mut few = RESERVED_ADMITS;
            let left = if self.listeners[index].reserved { &mut few } else { &mut admits };
            while *left > 0 && self.listeners[index].has_callers {
                let listener = index_of(index);
                let Some(fd) = &self.listeners[index].fd else { break };
                match sys::accept(fd) {
                    Ok(fd) => {
                        *left -= 1;
                        self.events.push(Event::Accepted { listener, fd });
                        continue;
                    }
                    // The connection was gone before it was accepted.
                    Err(error) if sys::is_of_one_caller(&error) => continue,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.listen_again(listener);
                    }
                    Err(error) => self.events.push(Event::AcceptStopped { listener, error }),
                }
                self.listeners[index].has_callers = false;
            }
        }
    }

    /// Takes a connected socket in and receives from it.
    pub fn adopt(&mut self, fd: OwnedFd) -> Socket {
        let socket = self.new_row(fd, State::Open);
        self.hear(socket);
        socket
    }

    /// Starts a TCP connect, from the address `from` where one is given (its port may be 0: the kernel
    /// chooses one that is free for this target); `Connected` follows. The socket has TCP_NODELAY.
    ///
    /// # Errors
    /// `WouldBlock` while no descriptor is free for it (see `can_dial`); else the kernel's, where it
    /// refuses at once.
    pub fn dial(&mut self, from: Option<SocketAddr>, to: SocketAddr) -> io::Result<Socket> {
        if !self.can_dial() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let fd = sys::start_connect(from, to)?;
        sys::set_nodelay(&fd, true);
        let socket = self.new_row(fd, State::Connecting);
        self.poll_out(socket);
        Ok(socket)
    }

    /// Is there a descriptor for one more socket? Idle ones are parked only by `enter`.
    #[must_use]
    pub fn can_dial(&self) -> bool {
        self.seated < self.descriptors
    }

    /// Watches a descriptor that stays the caller's; each time it turns readable, `Readable` says
    /// so once.
    pub fn watch(&mut self, fd: RawFd, tag: u32) {
        let poll = u32::try_from(libc::POLLIN).unwrap_or(1);
        let entry = opcode::PollAdd::new(Fd(fd), poll).multi(true).build().user_data(user_data(
            kind::WATCH,
            0,
            tag,
        ));
        self.push(&entry);
    }

    /// Wakes the thread that sleeps in the ring `ring_fd`, as of the next `enter`.
    pub fn ring_bell(&mut self, ring_fd: RawFd) {
        let entry = opcode::MsgRingData::new(Fd(ring_fd), 0, user_data(kind::BELL, 0, 0), None)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data(kind::IGNORED, 0, 0));
        self.push(&entry);
    }

    /// The descriptor of an open socket, for socket options and addresses; -1 where it is parked,
    /// which none is that has just connected or sent something.
    #[must_use]
    pub fn fd(&self, socket: Socket) -> RawFd {
        self.rows.get(at(socket)).map_or(NO_FD, |row| row.fd)
    }

    /// A socket by which another thread may send while nothing is sent here; 0: that must not be now.
    #[must_use]
    pub fn lendable(&self, socket: Socket) -> u32 {
        let row = self.rows.get(at(socket)).filter(|row| {
            row.state == State::Open && row.backlog.is_none() && !row.polling_out && !row.lent
        });
        row.and_then(|row| u32::try_from(row.fd + 1).ok()).unwrap_or(0)
    }

    /// Another thread sends by it: until it is `returned` it is neither parked nor let go of.
    pub fn lend(&mut self, socket: Socket) {
        if let Some(row) = self.rows.get_mut(at(socket)) {
            row.lent = true;
        }
    }

    pub fn returned(&mut self, socket: Socket) {
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        row.lent = false;
        if matches!(row.state, State::Closing | State::Detaching) {
            self.finish(socket);
        }
    }

    /// Sockets that are parked, and the tables that there are for them.
    #[must_use]
    pub fn parked(&self) -> (usize, usize) {
        let rows = self.rows_used as usize - self.free.len() - self.resting.len();
        (rows - self.seated, self.parking.as_ref().map_or(0, Parking::lots))
    }

    /// Sockets that have a descriptor.
    #[must_use]
    pub fn seated(&self) -> usize {
        self.seated
    }

    /// Sockets that wait by a multishot receive.
    #[must_use]
    pub fn hot(&self) -> usize {
        self.rows.iter().filter(|row| row.hearing == Hearing::Receives).count()
    }

    /// Stops receiving (bytes already received still arrive as events).
    pub fn pause(&mut self, socket: Socket) {
        if let Some(row) = self.rows.get_mut(at(socket))
            && row.state == State::Open
            && !row.paused
        {
            row.paused = true;
            self.stop_hearing(socket);
        }
    }

    /// Receives again after `pause`.
    pub fn resume(&mut self, socket: Socket) {
        if let Some(row) = self.rows.get_mut(at(socket))
            && row.state == State::Open
            && row.paused
        {
            row.paused = false;
            self.hear(socket);
        }
    }

    /// Gives the connection up without closing it; `Detached` brings the descriptor. Output that
    /// waits is lost. One whose peer has closed can be given up too: its next owner sees the end.
    pub fn detach(&mut self, socket: Socket) {
        if let Some(row) = self.rows.get_mut(at(socket))
            && matches!(row.state, State::Open | State::Ended)
        {
            row.state = State::Detaching;
            self.stop_hearing(socket);
            self.finish(socket);
        }
    }

    /// Closes a socket after its waiting output is sent. Every socket is closed once by its owner,
    /// after `Closed` too.
    pub fn close(&mut self, socket: Socket) {
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        if row.backlog.is_some() && row.state == State::Open {
            row.close_when_drained = true;
            return;
        }
        self.close_now(socket);
    }

    /// Closes a socket and drops its waiting output.
    pub fn close_now(&mut self, socket: Socket) {
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        if matches!(row.state, State::Free | State::Closing) {
            return;
        }
        row.state = State::Closing;
        row.backlog = None;
        if row.fd == NO_FD {
            self.stop_hearing(socket);
        } else if row.hearing != Hearing::Deaf || row.polling_out {
            sys::shutdown(row.fd); // So what waits in the kernel completes.
        }
        self.finish(socket);
    }

    /// The received bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self, buffer: Buffer) -> &[u8] {
        match u16::try_from(buffer.id) {
            Ok(id) => self.buffers.bytes(id, buffer.len),
            Err(_) => self.scratch.bytes(buffer.start, buffer.len),
        }
    }

    /// Lends the buffer to the kernel again.
    #[inline]
    pub fn give_back(&mut self, buffer: Buffer) {
        match u16::try_from(buffer.id) {
            Ok(id) => self.buffers.give_back(id),
            Err(_) => self.scratch.give_back(),
        }
    }

    /// Exchanges the list of events with an empty one of the caller's, so that both are reused.
    pub fn take_events(&mut self, events: &mut Vec<Event>) {
        events.clear();
        std::mem::swap(&mut self.events, events);
    }

    #[cfg(test)]
    pub(super) fn has_told_of(&self, socket: Socket) -> bool {
        self.events.iter().any(|it| matches!(it, Event::Closed { socket: it } if *it == socket))
    }

    /// Submits everything, sends `segments` of `lent`, and collects what happened.
    ///
    /// # Errors
    /// The kernel's, where the ring itself is broken; nothing that a peer does.
    pub fn enter(&mut self, lent: &[u8], segments: &[Segment], wait: Wait) -> io::Result<()> {
        self.call = self.call.wrapping_add(1);
        self.free.append(&mut self.resting);
        self.buffers.publish();
        self.turn_clock();
        self.ready_left = READY_PER_CALL;
        for socket in std::mem::take(&mut self.starved) {
            self.receive(socket);
        }
        if !self.ready.is_empty() {
            self.serve_ready();
        }
        for (index, segment) in segments.iter().enumerate() {
            self.push_send(lent, *segment, index)?;
        }
        if let Some(parking) = &mut self.parking {
            parking.submit();
            if parking.has_more() {
                parking.look();
            }
            self.lots_happened();
        }
        let idle = self.events.is_empty()
            && self.ready.is_empty()
            && self.behind.is_empty()
            && !self.parking.as_ref().is_some_and(Parking::has_more)
            && !self.lets_in();
        self.submit(if idle { wait } else { Wait::No })?;
        self.reap(lent, segments);
        // The kernel keeps what did not fit into the queue until it is asked again; a failed send
        // among it must be seen while its bytes are still lent.
        while self.ring.submission().cq_overflow() {
            self.submit(Wait::No)?;
            self.reap(lent, segments);
        }
        for socket in std::mem::take(&mut self.behind) {
            self.late(socket);
        }
        self.accept_some();
        Ok(())
    }

    /// A socket whose output had to wait for the end of the call, or for a descriptor.
    fn late(&mut self, socket: Socket) {
        let Some(row) = self.rows.get(at(socket)) else { return };
        match row.state {
            State::Detaching => self.finish(socket),
            State::Open | State::Ended if row.backlog.is_some() => self.flush_backlog(socket),
            State::Open => self.await_writable(socket),
            _ => {}
        }
    }

    /// One `io_uring_enter` that also runs deferred work.
    pub(super) fn submit(&mut self, wait: Wait) -> io::Result<()> {
        let result = match wait {
            Wait::No => {
                let submitted = self.ring.submission().len();
                sys::enter_now(&self.ring, submitted)
            }
            Wait::AtMost(time) => {
                let time = Timespec::from(time);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        match result {
            Ok(_) => Ok(()),
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn reap(&mut self, lent: &[u8], segments: &[Segment]) {
        loop {
            // One at a time, because handling one may push entries to the same ring.
            let Some(entry) = self.ring.completion().next() else { return };
            self.completed(&entry, lent, segments);
            while let Some(entry) = self.next_completion() {
                self.completed(&entry, lent, segments);
            }
        }
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    fn completed(&mut self, entry: &cqueue::Entry, lent: &[u8], segments: &[Segment]) {
        let (data, result, flags) = (entry.user_data(), entry.result(), entry.flags());
        #[expect(clippy::cast_possible_truncation, reason = "fields of user_data, masked")]
        let (index, detail) = (data as u32, (data >> 32) as u32 & 0x00ff_ffff);
        match data >> 56 {
            kind::RECEIVE => self.received(Socket(index), detail, result, flags),
            kind::SEND => self.send_failed(Socket(index), detail, result, lent, segments),
            kind::POLL_OUT => self.writable(Socket(index), detail),
            kind::CALLERS => {
                if let Some(listener) = self.listeners.get_mut(index as usize) {
                    listener.polled = false;
                    listener.has_callers = listener.fd.is_some();
                }
            }
            kind::POLL_IN => self.readable(Socket(index), detail, result),
            kind::LOTS => {
                if let Some(parking) = &mut self.parking {
                    parking.look();
                }
                self.hear_lots();
                self.lots_happened();
            }
            kind::WATCH => self.events.push(Event::Readable { tag: index }),
            kind::BELL => self.events.push(Event::Bell),
            _ => {}
        }
    }

    /// A connect was decided.
    pub(super) fn connected(&mut self, socket: Socket) {
        let tick = self.tick;
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        let result = sys::connect_result(row.fd);
        row.state = if result.is_ok() { State::Open } else { State::Ended };
        row.warmth = Warmth::fresh(tick);
        self.hear(socket);
        self.events.push(Event::Connected { socket, result });
    }

    /// Has the main ring say when something happens in a lot.
    fn hear_lots(&mut self) {
        let Some(bell) = self.parking.as_ref().map(Parking::bell) else { return };
        let events = u32::try_from(libc::POLLIN).unwrap_or(1);
        let entry =
            opcode::PollAdd::new(Fd(bell), events).build().user_data(user_data(kind::LOTS, 0, 0));
        self.push(&entry);
    }

    /// Frees a row that the kernel has let go of, and closes or hands out its descriptor.
    pub(super) fn finish(&mut self, socket: Socket) {
        let Some(row) = self.rows.get(at(socket)) else { return };
        let detaching = row.state == State::Detaching;
        if row.hearing != Hearing::Deaf || row.lent || (row.polling_out && !detaching) {
            return;
        }
        if detaching && !self.seat(socket) {
            self.behind.push(socket);
            return;
        }
        let Some(row) = self.rows.get_mut(at(socket)) else { return };
        if row.home != Home::NONE
            && let Some(parking) = &mut self.parking
        {
            parking.leave(row.home);
        }
        if row.fd != NO_FD {
            self.seated -= 1;
            let fd = sys::own(row.fd);
            if detaching {
                self.events.push(Event::Detached { socket, fd });
            }
        }
        row.free();
        self.resting.push(socket.0);
    }

    fn new_row(&mut self, fd: OwnedFd, state: State) -> Socket {
        let index = self.free.pop().unwrap_or_else(|| {
            self.rows_used += 1;
            self.rows_used - 1
        });
        self.rows.reach(index as usize);
        if let Some(row) = self.rows.get_mut(index as usize) {
            row.fd = fd.into_raw_fd();
            row.state = state;
            row.warmth = Warmth::fresh(self.tick);
        }
        self.seated += 1;
        let socket = Socket(index);
        if self.parking.is_some() {
            self.list(socket);
        }
        socket
    }

    pub(super) fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: entries pushed here point to no memory of ours.
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            if self.submit(Wait::No).is_err() {
                return;
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for row in self.rows.iter().filter(|row| row.fd != NO_FD) {
            drop(sys::own(row.fd));
        }
    }
}

fn index_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
