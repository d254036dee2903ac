//! Links: two ordered streams of bytes between two ends, as TCP gives them.
//!
//! A link knows nothing of time; the world says when something of a pipe is delivered, and how much.

use std::collections::VecDeque;

use ringfold::node::outbox::Conn;

/// Who is at an end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Client(usize),
    /// A process, by its host and its incarnation.
    Host(usize, u64),
}

/// Bytes on their way to one end.
#[derive(Debug, Default)]
pub struct Pipe {
    pub bytes: VecDeque<u8>,
    /// The sender has closed: the end comes behind the bytes.
    pub fin: bool,
    pub scheduled: bool,
}

/// One end.
#[derive(Debug)]
pub struct End {
    pub who: Who,
    /// The core and the connection that it is there, once it has arrived.
    pub seat: Option<(usize, Conn)>,
    /// It does not read.
    pub paused: bool,
    /// It was told that the link is gone.
    pub told: bool,
    /// It has closed.
    pub closed: bool,
}

/// See the file's header.
#[derive(Debug)]
pub struct Link {
    pub ends: [End; 2],
    /// `to[i]` carries bytes to `ends[i]`.
    pub to: [Pipe; 2],
    /// Nothing passes any more, and nobody is told.
    pub silent: bool,
    pub dead: bool,
    /// Bytes that a pipe takes from a sender that asks how much.
    pub room: usize,
}

impl Link {
    pub fn new(a: Who, b: Who, room: usize) -> Self {
        let end = |who| End { who, seat: None, paused: false, told: false, closed: false };
        let to = [Pipe::default(), Pipe::default()];
        Self { ends: [end(a), end(b)], to, silent: false, dead: false, room }
    }

    /// How much of `bytes` for `side` the pipe takes now.
    pub fn offer(&mut self, side: usize, bytes: &[u8]) -> usize {
        if self.dead {
            return bytes.len(); // The kernel takes them before it knows.
        }
        let room = self.room.saturating_sub(self.to[side].bytes.len());
        let taken = room.min(bytes.len());
        self.to[side].bytes.extend(&bytes[..taken]);
        taken
    }

    /// Everything goes into the pipe: the sender keeps what does not fit.
    pub fn push(&mut self, side: usize, bytes: &[u8]) {
        if !self.dead {
            self.to[side].bytes.extend(bytes);
        }
    }
}
