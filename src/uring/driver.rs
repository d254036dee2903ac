//! One thread's socket ring: accept, receive, send, close, doorbells.
//!
//! ```text
//!   enter(sends, wait)  one io_uring_enter: submits everything, runs deferred work, reaps
//!   take_events         what happened, in order
//!   bytes / give_back   the received bytes lie in provided buffers until they are given back
//! ```
//!
//! **Sends never outlive `enter`.** Every send carries MSG_DONTWAIT, so the kernel decides it
//! inside the system call: it is done, done in part (MSG_WAITALL makes the part count come back), or
//! refused. So replies are sent straight from a buffer that the caller lends for the call, and only
//! what a slow reader left over is copied and waits for POLLOUT. One socket has at most one send
//! per call in flight; a second goes behind the copy, so that bytes never overtake bytes.
//!
//! **Closing.** An armed receive keeps the kernel's file alive, so `close` shuts the socket down and
//! the row is freed by the receive's last completion. Whoever is told `Closed` calls `close` too.
//!
//! The trap: a completion may name a socket that is gone and whose number is in use again; so
//! every completion carries the row's generation.
#![expect(unsafe_code, reason = "submitting entries whose memory must outlive the call")]

use super::buffers::Buffers;
use super::sys;
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
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
    id: u16,
    len: u32,
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
}

impl Default for Sizes {
    fn default() -> Self {
        Self { entries: 4_096, completions: 32_768, buffers: 1_024, buffer_bytes: 8 * 1024 }
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

/// See the file's header.
pub struct Driver {
    ring: IoUring, // first: dropped before the memory that it may write to
    buffers: Buffers,
    rows: Vec<Row>,
    free: Vec<u32>,
    listeners: Vec<RawFd>,
    events: Vec<Event>,
    starved: Vec<Socket>,
    /// Sockets whose second send of a call waits behind the first.
    behind: Vec<Socket>,
    call: u32,
}

#[derive(Debug)]
struct Row {
    fd: RawFd,
    generation: u32,
    /// The `enter` call that last sent to it.
    sent_in: u32,
    state: State,
    /// A receive or poll is in the kernel and will complete.
    armed: bool,
    /// POLLOUT is awaited.
    polling_out: bool,
    paused: bool,
    close_when_drained: bool,
    #[expect(clippy::box_collection, reason = "few have one, so the others pay 8 bytes, not 24")]
    backlog: Option<Box<Vec<u8>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Connecting,
    Open,
    /// The peer is gone; the owner has been told.
    Ended,
    /// Closed by the owner; waits for the kernel to let go.
    Closing,
    Detaching,
}

const GROUP: u16 = 1;
const FREE: RawFd = -1;
const BACKLOG_KEPT_BYTES: usize = 64 * 1024;

mod kind {
    pub(super) const ACCEPT: u64 = 1;
    pub(super) const RECEIVE: u64 = 2;
    pub(super) const SEND: u64 = 3;
    pub(super) const POLL_OUT: u64 = 4;
    pub(super) const WATCH: u64 = 5;
    pub(super) const BELL: u64 = 6;
    pub(super) const IGNORED: u64 = 7;
}

/// kind (8 bits) | detail (24 bits: a row's generation, or a segment's index) | index (32 bits)
fn user_data(kind: u64, detail: u32, index: u32) -> u64 {
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
        Ok(Self {
            ring,
            buffers,
            rows: Vec::new(),
            free: Vec::new(),
            listeners: Vec::new(),
            events: Vec::new(),
            starved: Vec::new(),
            behind: Vec::new(),
            call: 0,
        })
    }

    /// The ring's descriptor: what another thread's `ring_bell` names.
    #[must_use]
    pub fn ring_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    /// Accepts from a listening socket until the driver is dropped; returns its number.
    pub fn listen(&mut self, fd: OwnedFd) -> u32 {
        let listener = index_of(self.listeners.len());
        self.listeners.push(fd.into_raw_fd());
        self.listen_again(listener);
        listener
    }

    /// Resumes accepting after `AcceptStopped`.
    pub fn listen_again(&mut self, listener: u32) {
        let Some(&fd) = self.listeners.get(listener as usize) else { return };
        let entry = opcode::AcceptMulti::new(Fd(fd))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(user_data(kind::ACCEPT, 0, listener));
        self.push(&entry);
    }

    /// Takes a connected socket in and receives from it.
    pub fn adopt(&mut self, fd: OwnedFd) -> Socket {
        let socket = self.new_row(fd.into_raw_fd(), State::Open);
        self.arm(socket);
        socket
    }

    /// Starts a TCP connect; `Connected` follows.
    ///
    /// # Errors
    /// The kernel's, where it refuses at once.
    pub fn connect(&mut self, address: SocketAddr) -> io::Result<Socket> {
        let fd = sys::start_connect(address)?;
        let socket = self.new_row(fd.into_raw_fd(), State::Connecting);
        self.poll_out(socket);
        Ok(socket)
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

    /// The descriptor of an open socket, for socket options and addresses.
    #[must_use]
    pub fn fd(&self, socket: Socket) -> RawFd {
        self.rows.get(socket.0 as usize).map_or(FREE, |row| row.fd)
    }

    /// Sends at once by a system call of its own, before anything that a later `enter` sends; what
    /// does not fit is *not* kept. Where output waits already, nothing is sent.
    ///
    /// # Errors
    /// The reason why the peer is gone.
    pub fn send_now(&mut self, socket: Socket, bytes: &[u8]) -> io::Result<usize> {
        let row = &self.rows[socket.0 as usize];
        if row.state != State::Open || row.backlog.is_some() {
            return Ok(0);
        }
        match sys::send(row.fd, bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }

    /// Asks for one `Drained` when the socket can be written to again.
    pub fn await_writable(&mut self, socket: Socket) {
        if self.rows[socket.0 as usize].state == State::Open {
            self.poll_out(socket);
        }
    }

    /// Bytes of output that wait for a slow reader.
    #[must_use]
    pub fn backlog_bytes(&self, socket: Socket) -> usize {
        let row = self.rows.get(socket.0 as usize);
        row.and_then(|row| row.backlog.as_ref()).map_or(0, |it| it.len())
    }

    /// Stops receiving (bytes already received still arrive as events).
    pub fn pause(&mut self, socket: Socket) {
        let row = &mut self.rows[socket.0 as usize];
        if row.state == State::Open && !row.paused {
            row.paused = true;
            if row.armed {
                self.cancel_receive(socket);
            }
        }
    }

    /// Receives again after `pause`.
    pub fn resume(&mut self, socket: Socket) {
        let row = &mut self.rows[socket.0 as usize];
        if row.state == State::Open && row.paused {
            row.paused = false;
            if !row.armed {
                self.arm(socket);
            }
        }
    }

    /// Gives the connection up without closing it; `Detached` brings the descriptor. Output that
    /// waits is lost. One whose peer has closed can be given up too: its next owner sees the end.
    pub fn detach(&mut self, socket: Socket) {
        let row = &mut self.rows[socket.0 as usize];
        if !matches!(row.state, State::Open | State::Ended) {
            return;
        }
        row.state = State::Detaching;
        if row.armed {
            self.cancel_receive(socket);
        } else {
            self.finish(socket);
        }
    }

    /// Closes a socket after its waiting output is sent. Every socket is closed once by its owner,
    /// after `Closed` too.
    pub fn close(&mut self, socket: Socket) {
        let row = &mut self.rows[socket.0 as usize];
        if row.backlog.is_some() && row.state == State::Open {
            row.close_when_drained = true;
            return;
        }
        self.close_now(socket);
    }

    /// Closes a socket and drops its waiting output.
    pub fn close_now(&mut self, socket: Socket) {
        let row = &mut self.rows[socket.0 as usize];
        if matches!(row.state, State::Free | State::Closing) {
            return;
        }
        row.state = State::Closing;
        row.backlog = None;
        if row.armed || row.polling_out {
            sys::shutdown(row.fd);
        } else {
            self.finish(socket);
        }
    }

    /// The received bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self, buffer: Buffer) -> &[u8] {
        self.buffers.bytes(buffer.id, buffer.len)
    }

    /// Lends the buffer to the kernel again.
    #[inline]
    pub fn give_back(&mut self, buffer: Buffer) {
        self.buffers.give_back(buffer.id);
    }

    /// Exchanges the list of events with an empty one of the caller's, so that both are reused.
    pub fn take_events(&mut self, events: &mut Vec<Event>) {
        events.clear();
        std::mem::swap(&mut self.events, events);
    }

    /// Submits everything, sends `segments` of `lent`, and collects what happened.
    ///
    /// # Errors
    /// The kernel's, where the ring itself is broken; nothing that a peer does.
    pub fn enter(&mut self, lent: &[u8], segments: &[Segment], wait: Wait) -> io::Result<()> {
        self.call = self.call.wrapping_add(1);
        self.buffers.publish();
        for socket in std::mem::take(&mut self.starved) {
            self.arm(socket);
        }
        for (index, segment) in segments.iter().enumerate() {
            self.push_send(lent, *segment, index)?;
        }
        let wait = if self.events.is_empty() { wait } else { Wait::No };
        self.submit(wait)?;
        self.reap(lent, segments);
        // The kernel keeps what did not fit into the queue until it is asked again; a failed send
        // among it must be seen while its bytes are still lent.
        while self.ring.submission().cq_overflow() {
            self.submit(Wait::No)?;
            self.reap(lent, segments);
        }
        for socket in std::mem::take(&mut self.behind) {
            self.flush_backlog(socket);
        }
        Ok(())
    }

    fn push_send(&mut self, lent: &[u8], segment: Segment, index: usize) -> io::Result<()> {
        let Segment { socket, start, end } = segment;
        let bytes = &lent[start..end];
        let call = self.call;
        let row = &mut self.rows[socket.0 as usize];
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
            .user_data(user_data(kind::SEND, index_of(index), socket.0));
        // SAFETY: the entry points into `lent`, which outlives this `enter`, and MSG_DONTWAIT makes
        // the kernel finish with it inside the system call that submits it.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.submit(Wait::No)?;
        }
        Ok(())
    }

    /// One `io_uring_enter` that also runs deferred work.
    fn submit(&mut self, wait: Wait) -> io::Result<()> {
        let result = match wait {
            Wait::No => {
                let submitted = index_of(self.ring.submission().len());
                // SAFETY: no signal mask; every entry's memory lives as said where it was pushed.
                unsafe {
                    self.ring.submitter().enter::<libc::sigset_t>(
                        submitted,
                        0,
                        io_uring_enter_getevents(),
                        None,
                    )
                }
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
            kind::ACCEPT => self.accepted(index, result, flags),
            kind::WATCH => self.events.push(Event::Readable { tag: index }),
            kind::BELL => self.events.push(Event::Bell),
            _ => {}
        }
    }

    #[inline]
    fn received(&mut self, socket: Socket, generation: u32, result: i32, flags: u32) {
        let buffer = cqueue::buffer_select(flags);
        let more = cqueue::more(flags);
        let row = &mut self.rows[socket.0 as usize];
        debug_assert_eq!(row.generation, generation);
        let open = row.state == State::Open || row.state == State::Detaching;
        if let Some(id) = buffer {
            match u32::try_from(result) {
                Ok(len) if open && len > 0 => {
                    self.events.push(Event::Received { socket, buffer: Buffer { id, len } });
                }
                _ => self.buffers.give_back(id),
            }
        }
        if more {
            return;
        }
        row.armed = false;
        match row.state {
            State::Closing | State::Detaching => self.finish(socket),
            State::Open if result > 0 && !row.paused => self.arm(socket),
            State::Open if result == -libc::ENOBUFS => self.starved.push(socket),
            State::Open if row.paused && (result > 0 || result == -libc::ECANCELED) => {}
            State::Open => {
                row.state = State::Ended;
                row.backlog = None;
                self.events.push(Event::Closed { socket });
            }
            State::Free | State::Connecting | State::Ended => {}
        }
    }

    /// A send completes only where not all of it went out.
    fn send_failed(
        &mut self,
        socket: Socket,
        index: u32,
        result: i32,
        lent: &[u8],
        segments: &[Segment],
    ) {
        let Some(segment) = segments.get(index as usize) else { return };
        let row = &mut self.rows[socket.0 as usize];
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

    fn writable(&mut self, socket: Socket, generation: u32) {
        let row = &mut self.rows[socket.0 as usize];
        if row.generation != generation {
            return;
        }
        row.polling_out = false;
        match row.state {
            State::Connecting => {
                let result = sys::connect_result(row.fd);
                if result.is_ok() {
                    row.state = State::Open;
                    self.arm(socket);
                } else {
                    row.state = State::Ended;
                }
                self.events.push(Event::Connected { socket, result });
            }
            State::Open if row.backlog.is_some() => self.flush_backlog(socket),
            State::Open => self.events.push(Event::Drained { socket }),
            State::Closing if !row.armed => self.finish(socket),
            State::Closing | State::Detaching | State::Ended | State::Free => {}
        }
    }

    fn flush_backlog(&mut self, socket: Socket) {
        let row = &mut self.rows[socket.0 as usize];
        let Some(backlog) = &mut row.backlog else { return };
        if row.polling_out {
            return;
        }
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

    fn accepted(&mut self, listener: u32, result: i32, flags: u32) {
        if result >= 0 {
            self.events.push(Event::Accepted { listener, fd: sys::own(result) });
            if !cqueue::more(flags) {
                self.listen_again(listener);
            }
            return;
        }
        match -result {
            // The connection was gone before it was accepted.
            libc::ECONNABORTED | libc::EINTR => self.listen_again(listener),
            errno => self.events.push(Event::AcceptStopped {
                listener,
                error: io::Error::from_raw_os_error(errno),
            }),
        }
    }

    fn arm(&mut self, socket: Socket) {
        let row = &mut self.rows[socket.0 as usize];
        if row.state != State::Open || row.armed || row.paused {
            return;
        }
        row.armed = true;
        let entry = opcode::RecvMulti::new(Fd(row.fd), GROUP).build().user_data(user_data(
            kind::RECEIVE,
            row.generation,
            socket.0,
        ));
        self.push(&entry);
    }

    fn poll_out(&mut self, socket: Socket) {
        let row = &mut self.rows[socket.0 as usize];
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

    fn cancel_receive(&mut self, socket: Socket) {
        let generation = self.rows[socket.0 as usize].generation;
        let target = CancelBuilder::user_data(user_data(kind::RECEIVE, generation, socket.0));
        let entry =
            opcode::AsyncCancel2::new(target).build().user_data(user_data(kind::IGNORED, 0, 0));
        self.push(&entry);
    }

    /// Frees a row that the kernel has let go of, and closes or hands out its descriptor.
    fn finish(&mut self, socket: Socket) {
        let row = &mut self.rows[socket.0 as usize];
        if row.armed || (row.polling_out && row.state == State::Closing) {
            return;
        }
        let fd = sys::own(row.fd);
        if row.state == State::Detaching {
            self.events.push(Event::Detached { socket, fd });
        } else {
            drop(fd);
        }
        *row = Row { generation: next_generation(row.generation), ..FREE_ROW };
        self.free.push(socket.0);
    }

    fn new_row(&mut self, fd: RawFd, state: State) -> Socket {
        let index = self.free.pop().unwrap_or_else(|| {
            self.rows.push(FREE_ROW);
            index_of(self.rows.len() - 1)
        });
        let row = &mut self.rows[index as usize];
        *row = Row { fd, state, generation: row.generation, ..FREE_ROW };
        Socket(index)
    }

    fn push(&mut self, entry: &squeue::Entry) {
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
        for fd in self.listeners.drain(..) {
            drop(sys::own(fd));
        }
        for row in self.rows.iter().filter(|row| row.fd != FREE) {
            drop(sys::own(row.fd));
        }
    }
}

const FREE_ROW: Row = Row {
    fd: FREE,
    generation: 0,
    sent_in: 0,
    state: State::Free,
    armed: false,
    polling_out: false,
    paused: false,
    close_when_drained: false,
    backlog: None,
};

fn next_generation(generation: u32) -> u32 {
    (generation + 1) & 0x00ff_ffff
}

fn index_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// `IORING_ENTER_GETEVENTS`, which the crate keeps to itself.
fn io_uring_enter_getevents() -> u32 {
    1
}
