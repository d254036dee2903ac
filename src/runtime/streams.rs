//! The TLS connections of one socket ring: between what its sockets bring and take, and whoever serves.
//!
//! ```text
//!   Received -> received -> [wait for a turn] -> plaintext, in `plain` until `begin_turn`
//!   replies  -> secure   -> the same segments, sealed, behind the lent bytes
//!   stream   -> send_now -> sealed and sent at once; what the socket does not take stays here
//! ```
//!
//! Where there is no TLS connection all of it is one branch.
//!
//! **Handshakes are dear** (a signature costs as much as a hundred requests), so a turn gives only a few of
//! them a step, and those who are in go first. Whoever is not done by its deadline is closed, and what all of
//! them together have waiting is bounded.
//!
//! The trap: records are numbered. Whatever is sealed must go out, once, and in the order in which it was
//! sealed: while something of a connection waits here (`out`), everything goes behind that.

use crate::base::limits::{
    HANDSHAKE_BYTES_MAX, HANDSHAKE_MS, HANDSHAKES_BYTES_MAX, HANDSHAKES_PER_TURN, SEALED_FEED_BYTES,
};
use crate::base::time::Mono;
use crate::tls::contexts::Contexts;
use crate::tls::identity::common_name;
use crate::tls::stream::{Failure, State, Stream};
use crate::uring::driver::{Driver, Segment, Socket};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Plaintext that is sealed at once.
const PIECE_BYTES: usize = 256 * 1024;

/// See the file's header. `T` is what the caller wants to know of a connection when it is open.
#[derive(Debug)]
pub struct Streams<T> {
    /// By the socket's number.
    rows: Vec<Option<Box<Secured<T>>>>,
    open: usize,
    /// Of these, whose handshake is not over.
    shaking: usize,
    /// Bytes of handshakes that wait, of all connections.
    held: usize,
    serial: u64,
    deadlines: VecDeque<(Mono, Socket, u64)>,
    /// Handshakes with something to look at.
    waiting: VecDeque<(Socket, u64)>,
    budget: usize,
    /// Connections with something to send that no reply carries along.
    dirty: Vec<Socket>,
    plain: Vec<u8>,
    scratch: Vec<u8>,
    sealed: Vec<u8>,
}

/// One connection; it may go on in another ring.
#[derive(Debug)]
pub struct Secured<T> {
    stream: Stream,
    serial: u64,
    about: Option<T>,
    /// Sealed, and not given to the socket yet.
    out: Vec<u8>,
    /// Plaintext of `send_now` among that: it counts as sent when all of it is.
    owed: usize,
    /// What a handshake has not looked at.
    unheard: Vec<u8>,
    held: usize,
    is_waiting: bool,
    /// The peer has closed.
    is_gone: bool,
}

/// What came of received bytes.
#[derive(Debug)]
pub struct Heard<T> {
    /// The handshake is over; what was said of the connection when it began.
    pub opened: Option<T>,
    /// For `plain`.
    pub plain: Range<usize>,
    /// The peer sends no more.
    pub ended: bool,
    /// Why it cannot go on: it is to be closed after the next `secure`.
    pub failed: Option<String>,
}

impl<T> Default for Heard<T> {
    fn default() -> Self {
        Self { opened: None, plain: 0..0, ended: false, failed: None }
    }
}

impl<T> Default for Streams<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            open: 0,
            shaking: 0,
            held: 0,
            serial: 0,
            deadlines: VecDeque::new(),
            waiting: VecDeque::new(),
            budget: HANDSHAKES_PER_TURN,
            dirty: Vec::new(),
            plain: Vec::new(),
            scratch: Vec::new(),
            sealed: Vec::new(),
        }
    }
}

impl<T> Streams<T> {
    /// Forgets the plaintext of the last turn; so many handshakes have a step in this one.
    pub fn begin_turn(&mut self) {
        self.budget = HANDSHAKES_PER_TURN;
        self.plain.clear();
        self.plain.shrink_to(4 * PIECE_BYTES);
        self.scratch.shrink_to(PIECE_BYTES);
    }

    /// Is there something to do that needs no one from outside?
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.waiting.is_empty() || !self.dirty.is_empty()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Handshakes under way.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.shaking
    }

    /// Is its handshake over?
    #[must_use]
    pub fn is_open(&self, socket: Socket) -> bool {
        self.row(socket).is_some_and(|row| row.about.is_none())
    }

    /// The peer is gone: `true` where what it has said before is looked at first, and says so then.
    pub fn goes_later(&mut self, socket: Socket) -> bool {
        let Some(row) = self.row_mut(socket) else { return false };
        row.is_gone = true;
        row.is_waiting
    }

    #[must_use]
    pub fn has(&self, socket: Socket) -> bool {
        self.open > 0 && self.row(socket).is_some()
    }

    /// Plaintext of this turn.
    #[must_use]
    pub fn plain(&self, range: Range<usize>) -> &[u8] {
        self.plain.get(range).unwrap_or_default()
    }

    /// One who has connected to us.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub fn accept(
        &mut self,
        socket: Socket,
        contexts: &Contexts,
        about: T,
        now: Mono,
    ) -> Result<(), Failure> {
        let stream = Stream::accept(&contexts.server)?;
        self.enter(socket, stream, about, now);
        Ok(())
    }

    /// One whom we have connected to, at this address.
    ///
    /// # Errors
    /// Why it cannot begin.
    pub fn connect(
        &mut self,
        socket: Socket,
        config: Option<&Arc<ClientConfig>>,
        ip: core::net::IpAddr,
        about: T,
        now: Mono,
    ) -> Result<(), Failure> {
        let Some(config) = config else {
            return Err(Failure("there is no CA certificate to know others by".into()));
        };
        let stream = Stream::connect(config, ServerName::from(ip))?;
        self.enter(socket, stream, about, now);
        self.wait_for_turn(socket); // Whoever connects speaks first.
        Ok(())
    }

    /// A connection that comes from another ring.
    pub fn take_in(&mut self, socket: Socket, mut secured: Box<Secured<T>>) {
        self.serial += 1;
        secured.serial = self.serial;
        if !secured.out.is_empty() {
            self.dirty.push(socket);
        }
        self.put(socket, secured);
    }

    /// The connection's socket is about to close, or has gone to another ring.
    pub fn forget(&mut self, socket: Socket) -> Option<Box<Secured<T>>> {
        let secured = self.rows.get_mut(socket.0 as usize)?.take()?;
        self.open -= 1;
        self.shaking -= usize::from(secured.about.is_some());
        self.held -= secured.held;
        if self.open == 0 {
            self.rows = Vec::new();
        }
        Some(secured)
    }

    /// The common name in the certificate that the peer has shown.
    #[must_use]
    pub fn name_of_peer(&self, socket: Socket) -> Option<Vec<u8>> {
        common_name(self.row(socket)?.stream.peer_certificate()?)
    }

    /// Bytes that came by the socket.
    pub fn received(&mut self, socket: Socket, bytes: &[u8]) -> Heard<T> {
        let Some(row) = self.row_mut(socket) else { return Heard::default() };
        if row.stream.state() != State::Handshaking {
            return self.hear(socket, bytes);
        }
        row.unheard.extend_from_slice(bytes);
        let too_much = row.unheard.len() > HANDSHAKE_BYTES_MAX;
        self.count_held(socket);
        if too_much || self.held > HANDSHAKES_BYTES_MAX {
            let why = if too_much { "it says too much" } else { "too many are under way" };
            let failed = Some(format!("the handshake was ended: {why}"));
            return Heard { failed, ..Heard::default() };
        }
        self.wait_for_turn(socket);
        Heard::default()
    }

    /// The next handshake that has a step in this turn.
    pub fn next_handshake(&mut self) -> Option<(Socket, Heard<T>)> {
        while self.budget > 0 {
            let (socket, serial) = self.waiting.pop_front()?;
            let Some(row) = self.row_mut(socket).filter(|row| row.serial == serial) else {
                continue;
            };
            row.is_waiting = false;
            let unheard = std::mem::take(&mut row.unheard);
            self.budget -= 1;
            return Some((socket, self.hear(socket, &unheard)));
        }
        None
    }

    /// A handshake that has taken too long.
    pub fn next_late(&mut self, now: Mono) -> Option<Socket> {
        while let Some(&(deadline, socket, serial)) = self.deadlines.front()
            && deadline <= now
        {
            self.deadlines.pop_front();
            let row = self.row(socket).filter(|row| row.serial == serial);
            if row.is_some_and(|row| row.stream.state() == State::Handshaking) {
                return Some(socket);
            }
        }
        None
    }

    /// Seals what the segments of TLS connections have, behind the lent bytes, and adds what connections say by
    /// themselves. Those in `closing` say that they end. `stays` are not sent to now.
    pub fn secure(
        &mut self,
        lent: &mut Vec<u8>,
        segments: &mut Vec<Segment>,
        closing: &[Socket],
        stays: impl Fn(Socket) -> bool,
    ) {
        if self.open == 0 {
            self.dirty.clear();
            return;
        }
        let mut sealed = std::mem::take(&mut self.sealed);
        for segment in segments.iter_mut() {
            let Some(row) = self.row_mut(segment.socket) else { continue };
            let start = lent.len();
            row.hand_over(lent);
            for piece in pieces(segment.start..segment.end) {
                sealed.clear();
                row.stream.seal(lent.get(piece).unwrap_or_default(), &mut sealed);
                let to = if row.out.is_empty() { &mut *lent } else { &mut row.out };
                to.extend_from_slice(&sealed);
            }
            (segment.start, segment.end) = (start, lent.len());
        }
        for &socket in closing {
            if let Some(row) = self.row_mut(socket) {
                row.stream.finish(&mut row.out);
                self.dirty.push(socket);
            }
        }
        let mut kept = Vec::new();
        for socket in std::mem::take(&mut self.dirty) {
            let Some(row) = self.row_mut(socket) else { continue };
            if stays(socket) {
                kept.push(socket);
                continue;
            }
            let start = lent.len();
            row.hand_over(lent);
            if lent.len() > start {
                segments.push(Segment { socket, start, end: lent.len() });
            }
        }
        self.dirty = kept;
        sealed.shrink_to(2 * PIECE_BYTES);
        self.sealed = sealed;
    }

    /// As [`Driver::send_now`]: how many of these bytes are sent, sealed where the connection is a TLS one. What
    /// the socket takes only in part counts as nothing, and must be offered again: it is sealed already.
    ///
    /// # Errors
    /// The reason why the peer is gone.
    pub fn send_now(
        &mut self,
        driver: &mut Driver,
        socket: Socket,
        bytes: &[u8],
    ) -> io::Result<usize> {
        let Some(row) = self.row_mut(socket) else { return driver.send_now(socket, bytes) };
        if row.owed == 0 {
            let some = bytes.get(..SEALED_FEED_BYTES).unwrap_or(bytes);
            row.stream.seal(some, &mut row.out);
            row.owed = some.len();
        }
        let sent = driver.send_now(socket, &row.out)?;
        row.out.drain(..sent);
        if !row.out.is_empty() {
            return Ok(0);
        }
        row.out.shrink_to(2 * SEALED_FEED_BYTES);
        Ok(std::mem::take(&mut row.owed).min(bytes.len()))
    }

    fn enter(&mut self, socket: Socket, stream: Stream, about: T, now: Mono) {
        self.serial += 1;
        let serial = self.serial;
        self.deadlines.push_back((now.plus_ms(HANDSHAKE_MS), socket, serial));
        let secured = Secured {
            stream,
            serial,
            about: Some(about),
            out: Vec::new(),
            owed: 0,
            unheard: Vec::new(),
            held: 0,
            is_waiting: false,
            is_gone: false,
        };
        self.put(socket, Box::new(secured));
    }

    fn put(&mut self, socket: Socket, secured: Box<Secured<T>>) {
        let index = socket.0 as usize;
        if self.rows.len() <= index {
            self.rows.resize_with(index + 1, || None);
        }
        self.held += secured.held;
        self.shaking += usize::from(secured.about.is_some());
        if let Some(place) = self.rows.get_mut(index)
            && place.replace(secured).is_none()
        {
            self.open += 1;
        }
    }

    fn row(&self, socket: Socket) -> Option<&Secured<T>> {
        self.rows.get(socket.0 as usize)?.as_deref()
    }

    fn row_mut(&mut self, socket: Socket) -> Option<&mut Secured<T>> {
        self.rows.get_mut(socket.0 as usize)?.as_deref_mut()
    }

    fn wait_for_turn(&mut self, socket: Socket) {
        if let Some(row) = self.row_mut(socket)
            && !std::mem::replace(&mut row.is_waiting, true)
        {
            let serial = row.serial;
            self.waiting.push_back((socket, serial));
        }
    }

    /// What a handshake holds; one that is over counts for nothing.
    fn count_held(&mut self, socket: Socket) {
        let Some(row) = self.row_mut(socket) else { return };
        let now = match row.stream.state() {
            State::Handshaking => row.unheard.len() + row.stream.kept_bytes(),
            _ => 0,
        };
        let before = std::mem::replace(&mut row.held, now);
        self.held = self.held + now - before;
    }

    fn hear(&mut self, socket: Socket, bytes: &[u8]) -> Heard<T> {
        let start = self.plain.len();
        let Some(row) = self.rows.get_mut(socket.0 as usize).and_then(Option::as_deref_mut) else {
            return Heard::default();
        };
        let result = row.stream.receive(bytes, &mut self.scratch, &mut self.plain, &mut row.out);
        let mut heard = Heard { plain: start..self.plain.len(), ..Heard::default() };
        if !row.out.is_empty() {
            self.dirty.push(socket);
        }
        if matches!(row.stream.state(), State::Open | State::Finished) {
            heard.opened = row.about.take();
            self.shaking -= usize::from(heard.opened.is_some());
        }
        match result {
            Ok(State::Handshaking) if row.is_gone => {
                heard.failed = Some("the connection was closed in the handshake".into());
            }
            Ok(state) => heard.ended = state == State::Finished || row.is_gone,
            Err(Failure(why)) => heard.failed = Some(why),
        }
        self.count_held(socket);
        heard
    }
}

impl<T> Secured<T> {
    /// What waits goes out with the bytes of this call, unless its socket has been full.
    fn hand_over(&mut self, lent: &mut Vec<u8>) {
        if self.owed == 0 {
            lent.append(&mut self.out);
            self.out = Vec::new();
        }
    }
}

/// A range cut so that sealing needs little room.
fn pieces(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let Range { start, end } = range;
    (start..end).step_by(PIECE_BYTES).map(move |at| at..end.min(at + PIECE_BYTES))
}
