//! What a core wants done after a turn: replies to send, mail for other cores, and actions.
//!
//! Replies of all connections lie in one lent buffer, one segment each, in the order of execution;
//! the driver sends them from there. Whoever writes a reply says first whose it is ([`Outbox::to`]).
//! A message to many lies there once, and each has a segment of it ([`Outbox::share`]).

use crate::base::limits::FLIGHT_HELD_BYTES_MAX;
use crate::node::aof::AofStep;
use crate::node::figures::Figures;
use crate::node::message::Message;
use crate::node::migrate::Migration;
use crate::node::session::Session;
use crate::node::settings::Settings;
use crate::node::spilling::SpillStep;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// A connection of one core: a small number, used again after it was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conn(pub u32);

/// A range of [`Outbox::bytes`] for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    pub conn: Conn,
    pub start: usize,
    pub end: usize,
}

/// What only the outside can do. Executed in order, after the segments were handed to the kernel,
/// except where it says otherwise.
#[derive(Debug)]
pub enum Action {
    /// Close after the waiting output is sent.
    Close(Conn),
    /// Close now and drop the waiting output.
    CloseNow(Conn),
    /// Stop and resume receiving.
    Pause(Conn),
    Resume(Conn),
    /// Few large packets rather than early small ones: TCP_NODELAY off.
    Gather(Conn),
    /// Hand the connection to another core, which opens it with its session, after the waiting
    /// output is sent.
    Move {
        conn: Conn,
        core: usize,
        session: Box<Session>,
    },
    /// Core 0: connect to the master; answered by `Input::Dialled`.
    Dial {
        host: String,
        port: u16,
    },
    /// Connect to the master once more, for a flow of its stream; answered by `Input::FlowDialled`.
    DialFlow {
        number: u64,
        host: String,
        port: u16,
    },
    /// Deliver keys to another server; answered by `Input::Migrated`.
    Migrate(Box<Migration>),
    /// Core 0: write, finish or give up the RDB file being saved.
    Save(SaveStep),
    /// Core 0: read the next piece of this file, or of the RDB file; answered by `Input::File`.
    LoadFile {
        path: Option<Vec<u8>>,
    },
    /// Core 0: a step of the append-only file; each is answered by `Input::File`, in order.
    Aof(AofStep),
    /// Core 0: chunks of the ring to a file or from it; each is answered by `Input::File`.
    Spill(SpillStep),
    /// Core 0: read a small file, or `replace` what it holds: at any moment there is the old one or
    /// the new one. Answered by `Input::File`.
    Text {
        path: Vec<u8>,
        replace: Option<Vec<u8>>,
    },
    /// Core 0: read keys and certificates as these settings say, for new connections to begin with; answered by
    /// `Input::File`. Where they cannot be used, nothing changes.
    Certificates(Box<Settings>),
    /// A setting changed that the outside applies (log level, keepalive, ...): all settings are in
    /// the core.
    SettingsChanged,
    /// Core 0: for the mind of a cluster's node.
    Bus(crate::node::cluster::ToBus),
    /// Core 0: the data set is loaded, the server is ready for its clients.
    Ready,
    /// End the process.
    Exit {
        code: u8,
    },
    /// This core's figures, for the report of that number (`Host::report_wanted`).
    Report(Box<Report>),
    /// What the allocator keeps for nothing goes back to the system.
    GiveBackMemory,
    /// One line for the log.
    Log {
        level: Level,
        text: String,
    },
    /// Stop this core for so long (`DEBUG SLEEP`).
    Sleep {
        micros: u64,
    },
}

/// What one core tells of itself to whoever watches the process.
#[derive(Debug)]
pub struct Report {
    pub number: u64,
    pub core: usize,
    pub figures: Figures,
    pub settings: Arc<Settings>,
}

/// A step of saving: begin (a temporary file), append, commit (sync and rename), abandon.
#[derive(Clone, Debug)]
pub enum SaveStep {
    /// A file in place of this one, or of the RDB file.
    Begin(Option<Vec<u8>>),
    Append(Bytes),
    Commit,
    Abandon,
}

/// How loud a log line is, in Redis' four levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct Outbox {
    pub bytes: Vec<u8>,
    segments: Vec<Segment>,
    open: Option<(Conn, usize)>,
    pub actions: Vec<Action>,
    /// Mail for each other core, in order. `Replies` with lent sockets go through `hand_out` as they leave.
    pub mail: Vec<Vec<Message>>,
    /// Whose socket another core may use from this turn on, and whose came back in it: a connection may be in both, and
    /// was given back first. What is lent must not be closed, nor its number used again, before it came back.
    pub lent: Vec<Conn>,
    pub returned: Vec<Conn>,
}

impl Outbox {
    /// An outbox of one of `cores` cores.
    #[must_use]
    pub fn new(cores: usize) -> Self {
        Self { mail: (0..cores).map(|_| Vec::new()).collect(), ..Self::default() }
    }

    /// What is written to `bytes` from here on is for `conn`.
    #[inline]
    pub fn to(&mut self, conn: Conn) -> &mut Vec<u8> {
        if self.open.is_none_or(|(open, _)| open != conn) {
            self.close_segment();
            self.open = Some((conn, self.bytes.len()));
        }
        &mut self.bytes
    }

    /// Takes bytes in that several connections are to be sent; where they begin, for [`Outbox::share`].
    pub fn lend(&mut self, bytes: &[u8]) -> usize {
        self.close_segment();
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start
    }

    /// Sends a part of what was lent to `conn`, behind what was written to it so far.
    pub fn share(&mut self, conn: Conn, range: Range<usize>) {
        self.close_segment();
        self.segments.push(Segment { conn, start: range.start, end: range.end });
    }

    /// How many bytes the segment being written has for `conn`.
    #[must_use]
    pub fn written_to(&self, conn: Conn) -> usize {
        match self.open {
            Some((open, start)) if open == conn => self.bytes.len() - start,
            _ => 0,
        }
    }

    /// Takes out what the segment being written has for `conn`, where it is small.
    pub fn take_back(&mut self, conn: Conn, mut take: impl FnMut(&[u8])) {
        let written = self.written_to(conn);
        if written > 0 && written <= FLIGHT_HELD_BYTES_MAX {
            let start = self.bytes.len() - written;
            take(&self.bytes[start..]);
            self.bytes.truncate(start);
        }
    }

    /// Was anything written for `conn` that has not left?
    #[must_use]
    pub fn has_output(&self, conn: Conn) -> bool {
        self.written_to(conn) > 0 || self.segments.iter().any(|segment| segment.conn == conn)
    }

    /// The finished segments; adjacent ones of a connection are one.
    pub fn segments(&mut self) -> &[Segment] {
        self.close_segment();
        &self.segments
    }

    /// Forgets the segments, after they were sent.
    pub fn clear_segments(&mut self) {
        const KEPT_BYTES: usize = 1 << 20;
        self.open = None;
        self.segments.clear();
        self.bytes.clear();
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes.shrink_to(KEPT_BYTES);
        }
    }

    /// Nothing to send, to mail or to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.actions.is_empty() && self.mail.iter().all(Vec::is_empty)
    }

    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        self.actions.push(Action::Log { level, text: text.into() });
    }

    fn close_segment(&mut self) {
        if let Some((conn, start)) = self.open.take()
            && start < self.bytes.len()
        {
            self.segments.push(Segment { conn, start, end: self.bytes.len() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_there_once_and_goes_behind_what_was_written() {
        let mut out = Outbox::new(1);
        out.to(Conn(1)).extend_from_slice(b"ab");
        let base = out.lend(b"message");
        out.share(Conn(1), base..base + 7);
        out.share(Conn(2), base..base + 4);
        out.to(Conn(1)).extend_from_slice(b"c");
        let segment = |conn, start, end| Segment { conn: Conn(conn), start, end };
        assert_eq!(
            out.segments(),
            [segment(1, 0, 2), segment(1, 2, 9), segment(2, 2, 6), segment(1, 9, 10)]
        );
        assert_eq!(out.bytes, b"abmessagec");
    }

    #[test]
    fn adjacent_replies_of_a_connection_are_one_segment() {
        let mut out = Outbox::new(1);
        for (conn, text) in [(1, "a"), (1, "b"), (2, ""), (3, "c"), (1, "d")] {
            out.to(Conn(conn)).extend_from_slice(text.as_bytes());
        }
        let segment = |conn, start, end| Segment { conn: Conn(conn), start, end };
        assert_eq!(out.segments(), [segment(1, 0, 2), segment(3, 2, 3), segment(1, 3, 4)]);
        out.clear_segments();
        assert!(out.segments().is_empty() && out.is_empty());
    }

    #[test]
    fn what_was_just_written_can_be_taken_back() {
        let mut out = Outbox::new(1);
        out.to(Conn(1)).extend_from_slice(b"a");
        out.to(Conn(2)).extend_from_slice(b"bc");
        let mut taken = Vec::new();
        out.take_back(Conn(1), |bytes| taken.extend_from_slice(bytes));
        assert!(taken.is_empty(), "its segment is closed");
        out.take_back(Conn(2), |bytes| taken.extend_from_slice(bytes));
        assert_eq!(taken, b"bc");
        assert_eq!(out.segments(), [Segment { conn: Conn(1), start: 0, end: 1 }]);
    }
}
