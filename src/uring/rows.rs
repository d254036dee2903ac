//! What a driver knows of one socket: a row of 32 bytes.

use super::driver::Socket;
use super::parking::Home;
use super::warmth::Warmth;
use std::os::fd::RawFd;

/// See the file's header.
#[derive(Debug)]
pub(super) struct Row {
    /// `NO_FD` where the row is free or the socket is parked.
    pub fd: RawFd,
    /// Where it lies in a table, if it was ever placed.
    pub home: Home,
    pub generation: u32,
    pub warmth: Warmth,
    #[expect(clippy::box_collection, reason = "few have one, so the others pay 8 bytes, not 24")]
    pub backlog: Option<Box<Vec<u8>>>,
    /// The `enter` call that last sent to it; it wraps, which makes a send take the slow way once.
    pub sent_in: u16,
    pub state: State,
    pub hearing: Hearing,
    /// POLLOUT is awaited.
    pub polling_out: bool,
    pub paused: bool,
    /// Another thread may send by its descriptor.
    pub lent: bool,
    pub close_when_drained: bool,
    /// It stands in the driver's clock list; outlives the socket.
    pub listed: bool,
}

const _: () = assert!(size_of::<Row>() <= 40);

pub(super) const NO_FD: RawFd = -1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    Connecting,
    Open,
    /// The peer is gone; the owner has been told.
    Ended,
    /// Closed by the owner; waits for the kernel to let go.
    Closing,
    Detaching,
}

/// What is in the kernel to hear of input, and will complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hearing {
    Deaf,
    /// A poll of one shot in the main ring.
    Polls,
    /// A multishot receive in the main ring.
    Receives,
    /// A poll of one shot in the lot of its home.
    Home,
}

impl Default for Row {
    fn default() -> Self {
        Self {
            fd: NO_FD,
            home: Home::NONE,
            generation: 0,
            warmth: Warmth::default(),
            backlog: None,
            sent_in: 0,
            state: State::Free,
            hearing: Hearing::Deaf,
            polling_out: false,
            paused: false,
            lent: false,
            close_when_drained: false,
            listed: false,
        }
    }
}

impl Row {
    /// Makes it a row of nobody, whom late completions do not meet.
    pub fn free(&mut self) {
        let generation = (self.generation + 1) & 0x00ff_ffff;
        *self = Self { generation, listed: self.listed, ..Self::default() };
    }

    /// Has it a descriptor that nothing needs now? Then it can do without until something happens.
    pub fn is_idle(&self) -> bool {
        self.fd != NO_FD
            && self.state == State::Open
            && self.hearing == Hearing::Home
            && self.backlog.is_none()
            && !self.polling_out
            && !self.paused
            && !self.lent
    }
}

/// A row's index.
pub(super) fn at(socket: Socket) -> usize {
    socket.0 as usize
}
