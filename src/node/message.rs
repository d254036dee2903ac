//! What cores say to each other, and how requests and replies travel in bulk.
//!
//! Requests of one turn to one core are one message, a [`Frames`] buffer; so are the replies. The
//! buffer of the requests goes back as the buffer of the replies, so that a hop allocates nothing.
//!
//! ```text
//!   request   [head: RequestHead][len of arg 0, u32]..[arg 0][arg 1]..
//!   reply     [head: ReplyHead][RESP bytes]
//! ```
//!
//! **A lent socket.** Where a request is the only thing that its client waits for, its socket goes with it
//! (`wire`). Whoever carries the replies away sends that reply by the socket at once ([`hand_out`]); what is left
//! of the frame says that the socket is given back, and nobody need be woken for it.
//!
//! Frames never leave the process, so their numbers are trusted: a bad one is a bug and panics.

use crate::base::time::Mono;
use crate::node::outbox::Conn;
use crate::node::pauses::Scope;
use crate::node::section::{Answer, Step};
use crate::node::slow::SlowEntry;
use crate::node::transactions::Note;
use crate::node::view::View;
use crate::replication::log::Batch;
use crate::resp::reply::Proto;
use crate::snapshot::cut::Chunk;
use crate::types::object::Body;
use bytes::Bytes;

/// From one core to another. A road between two cores keeps its order.
#[derive(Debug)]
pub enum Message {
    /// Requests to execute there; answered by `Replies`, but for those that ask for intents.
    Requests(Vec<u8>),
    /// To so many `Requests`, and to single ones that waited.
    Replies {
        frames: Vec<u8>,
        answered: usize,
        /// So many of the frames came with a lent socket: for [`hand_out`].
        lent: u32,
    },
    /// About transactions; what is read in it may be of writes up to ticket `after`.
    Transactions {
        notes: Vec<Note>,
        after: u64,
    },
    /// From core 0: what was asked for by `Ask`, as a frame of a reply.
    Answer(Vec<u8>),
    /// To core 0: what a turn wrote.
    Effects(Batch),
    /// From core 0: everything up to this ticket was handed to the replicas' sockets.
    /// `lost`: it was to be synced, too, and was not: what was to be answered is dropped.
    Streamed {
        ticket: u64,
        lost: bool,
    },
    /// From core 0: execute nothing until `Thaw`; answered by `Frozen`.
    Freeze,
    Frozen,
    Thaw,
    /// From core 0, while all are frozen or where no order matters; answered by `Stepped`.
    Step(Step),
    Stepped(Answer),
    /// From core 0: drop all keys, because others are about to be loaded. No answer.
    Empty,
    /// A library of a file or a full sync.
    Function(Box<crate::node::functions::Change>),
    /// From core 0: a collection of a file or a full sync, for the core that owns its key.
    Load(Box<Loaded>),
    /// To core 0: it is taken in, or there was no room for it.
    Taken(bool),
    /// To core 0: a request that concerns the whole node, for the session named.
    Ask {
        from: Return,
        ask: Box<crate::node::control::Ask>,
    },
    /// From core 0: roles and settings changed.
    View(Box<View>),
    /// What clients of the sender asked for, for the receiver's clients of MONITOR.
    Lines(Bytes),
    /// About the CLIENT LIST that a client reads page by page.
    List(Box<(Return, crate::node::listing::ListNote)>),
    /// No client of the sender watches any more.
    Unwatched,
    /// A request of a client of the core that gets this was slow on the one that sends it.
    Slow {
        conn: Conn,
        generation: u32,
        entry: Box<SlowEntry>,
    },
    /// To core 0: RDB bytes of this core's walk; `last` ends it.
    Chunk {
        chunk: Option<Chunk>,
        last: bool,
        keys: u64,
    },
    /// From core 0: `CLIENT PAUSE`, or its end.
    Pause(Option<(Mono, Scope)>),
    /// To core 0: so many changes since the last time, for the save points.
    Changes(u64),
    /// From core 0: one chunk was consumed, another may come.
    ChunkTaken,
    /// From core 0: stop the walk.
    AbandonWalk,
    /// From core 0: the keys of these slots go, for the slots are other nodes'.
    DropSlots(Box<crate::cluster::slots::Slots>),
    /// From core 0: copy keys of slots that move as a whole, or copy no more.
    Export(Box<crate::cluster::moves::Order>),
    /// To core 0: how far that is.
    Exported(Box<(u64, crate::cluster::moves::News)>),
    /// From core 0: about connections that bring our master's stream.
    ToFlow(Box<crate::node::flow_link::ToFlow>),
    /// To core 0: what such a connection brought, and what became of it.
    FromFlow(Box<crate::node::flow_link::FromFlow>),
    /// To core 0: for the mind of a cluster's node.
    Bus(Box<crate::node::cluster::ToBus>),
}

/// A key with a collection, as it stood in an RDB.
#[derive(Debug)]
pub struct Loaded {
    pub db: usize,
    pub key: Vec<u8>,
    pub body: Body,
    pub expiry_ms: Option<u64>,
}

/// Where a reply belongs: which core's connection, and which slot of its flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Return {
    pub core: usize,
    pub conn: Conn,
    pub generation: u32,
    pub slot: u32,
    pub part: u32,
}

/// Who asks for a request to be executed: it decides what expired keys mean and who may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Client,
    /// The stream from our master.
    Master,
}

/// What goes with a request of a client that tracks keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracks {
    /// What it reads is remembered.
    pub remembers: bool,
    /// It is not told of what it changes itself.
    pub noloop: bool,
}

impl Tracks {
    #[inline]
    #[must_use]
    pub fn is_any(self) -> bool {
        self.remembers | self.noloop
    }
}

/// Everything about a travelling request but its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    pub conn: Conn,
    pub generation: u32,
    pub slot: u32,
    pub part: u32,
    /// The command's number in the node's table.
    pub command: u16,
    pub db: u16,
    pub proto: Proto,
    pub origin: Origin,
    /// `CLIENT NO-TOUCH`: reads leave the access clocks of keys alone.
    pub no_touch: bool,
    /// `ASKING`: a slot on its way here may be used.
    pub asking: bool,
    /// Of a client that tracks keys.
    pub tracks: Tracks,
    /// The hash of its first key, so that the other core can prefetch at once.
    pub hash: u64,
    /// The socket of its client, lent for the reply; 0: none is.
    pub wire: Wire,
}

/// A socket as another core may use it; what it means is the outside's business. 0 is none.
pub type Wire = u32;

const REQUEST_HEAD_BYTES: usize = 4 + 4 * 4 + 2 + 2 + 1 + 1 + 1 + 1 + 8 + 4 + 4;
const REPLY_HEAD_BYTES: usize = 4 * 6;

/// Appends a request to a buffer of frames.
pub fn push_request<'a>(
    out: &mut Vec<u8>,
    head: &RequestHead,
    words: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    for number in [head.conn.0, head.generation, head.slot, head.part] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&head.command.to_le_bytes());
    out.extend_from_slice(&head.db.to_le_bytes());
    out.push(u8::from(head.proto == Proto::Resp3));
    out.push(u8::from(head.origin == Origin::Master));
    let tracks = u8::from(head.tracks.remembers) << 1 | u8::from(head.tracks.noloop) << 2;
    out.push(u8::from(head.no_touch) | tracks);
    out.push(u8::from(head.asking));
    out.extend_from_slice(&head.hash.to_le_bytes());
    out.extend_from_slice(&head.wire.to_le_bytes());
    out.extend_from_slice(&length(words.len()));
    for word in words.clone() {
        out.extend_from_slice(&length(word.len()));
    }
    for word in words {
        out.extend_from_slice(word);
    }
    let bytes = length(out.len() - start);
    out[start..start + 4].copy_from_slice(&bytes);
}

/// Takes the first request off `frames`; its words go to `words`.
///
/// # Panics
/// Where the frames were not written by [`push_request`].
pub fn pop_request<'a>(frames: &mut &'a [u8], words: &mut Vec<&'a [u8]>) -> Option<RequestHead> {
    if frames.is_empty() {
        return None;
    }
    let bytes = number(frames, 0) as usize;
    let (frame, rest) = frames.split_at(bytes);
    *frames = rest;
    let short = |at: usize| u16::from_le_bytes([frame[at], frame[at + 1]]);
    let mut hash = [0; 8];
    hash.copy_from_slice(&frame[28..36]);
    let head = RequestHead {
        conn: Conn(number(frame, 4)),
        generation: number(frame, 8),
        slot: number(frame, 12),
        part: number(frame, 16),
        command: short(20),
        db: short(22),
        proto: if frame[24] == 1 { Proto::Resp3 } else { Proto::Resp2 },
        origin: if frame[25] == 1 { Origin::Master } else { Origin::Client },
        no_touch: frame[26] & 1 != 0,
        asking: frame[27] == 1,
        tracks: Tracks { remembers: frame[26] & 2 != 0, noloop: frame[26] & 4 != 0 },
        hash: u64::from_le_bytes(hash),
        wire: number(frame, 36),
    };
    let count = number(frame, 40) as usize;
    let mut at = REQUEST_HEAD_BYTES + 4 * count;
    for index in 0..count {
        let len = number(frame, REQUEST_HEAD_BYTES + 4 * index) as usize;
        words.push(&frame[at..at + len]);
        at += len;
    }
    Some(head)
}

/// Appends a reply to a buffer of frames: `write` puts the RESP bytes down.
pub fn push_reply(
    out: &mut Vec<u8>,
    conn: Conn,
    generation: u32,
    slot: u32,
    part: u32,
    write: impl FnOnce(&mut Vec<u8>),
) {
    push_reply_by(out, (conn, generation, slot, part), 0, write);
}

/// As [`push_reply`], for a request that came with a lent socket.
pub fn push_reply_by(
    out: &mut Vec<u8>,
    (conn, generation, slot, part): (Conn, u32, u32, u32),
    wire: Wire,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    for number in [conn.0, generation, slot, part, wire] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    write(out);
    let bytes = length(out.len() - start);
    out[start..start + 4].copy_from_slice(&bytes);
}

/// A reply taken off a buffer of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyFrame<'a> {
    pub conn: Conn,
    pub generation: u32,
    pub slot: u32,
    pub part: u32,
    /// What its request was lent, and comes back with it.
    pub wire: Wire,
    pub bytes: &'a [u8],
}

/// Takes the first reply off `frames`.
pub fn pop_reply<'a>(frames: &mut &'a [u8]) -> Option<ReplyFrame<'a>> {
    if frames.is_empty() {
        return None;
    }
    let (frame, rest) = frames.split_at(number(frames, 0) as usize);
    *frames = rest;
    Some(ReplyFrame {
        conn: Conn(number(frame, 4)),
        generation: number(frame, 8),
        slot: number(frame, 12),
        part: number(frame, 16),
        wire: number(frame, 20),
        bytes: &frame[REPLY_HEAD_BYTES..],
    })
}

/// Sends the replies that came with a lent socket: `send` gets the reply's home, the socket and the bytes, and says
/// how many of them it took. What it did not take stays in the frame, for the reply's own core to send.
/// Returns whether nothing is left for that core but to have its sockets back, which it need not be woken for.
///
/// # Panics
/// Where the frames were not written by [`push_reply_by`].
pub fn hand_out(frames: &mut Vec<u8>, mut send: impl FnMut(Conn, Wire, &[u8]) -> usize) -> bool {
    let (mut at, mut to, mut silent) = (0, 0, true);
    while at < frames.len() {
        let end = at + number(frames, at) as usize;
        let reply = at + REPLY_HEAD_BYTES;
        let wire = number(&frames[at..], 20);
        let sent = match wire {
            0 => 0,
            _ => send(Conn(number(&frames[at..], 4)), wire, &frames[reply..end]).min(end - reply),
        };
        silent &= wire != 0 && sent == end - reply;
        frames.copy_within(at..reply, to);
        frames.copy_within(reply + sent..end, to + REPLY_HEAD_BYTES);
        let len = end - at - sent;
        frames[to..to + 4].copy_from_slice(&length(len));
        (at, to) = (end, to + len);
    }
    frames.truncate(to);
    silent
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Lengths inside the process: a request is bounded by `proto-max-bulk-len`, far below 4 GiB.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).map_or_else(|_| panic!("a frame of {len} bytes"), u32::to_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_replies_travel_unchanged() {
        let head = |slot, command| RequestHead {
            conn: Conn(7),
            generation: 3,
            slot,
            part: 2,
            command,
            db: 15,
            proto: Proto::Resp3,
            origin: Origin::Master,
            no_touch: true,
            asking: slot % 2 == 0,
            tracks: Tracks { remembers: slot == 1, noloop: slot != 1 },
            hash: u64::MAX - 1,
            wire: 77,
        };
        let mut frames = Vec::new();
        let words: [&[u8]; 3] = [b"SET", b"", b"value"];
        push_request(&mut frames, &head(1, 9), words.into_iter());
        push_request(&mut frames, &head(2, 300), words[..1].iter().copied());
        let (mut rest, mut found) = (frames.as_slice(), Vec::new());
        assert_eq!(pop_request(&mut rest, &mut found), Some(head(1, 9)));
        assert_eq!(found, words);
        found.clear();
        assert_eq!(pop_request(&mut rest, &mut found), Some(head(2, 300)));
        assert_eq!((found, pop_request(&mut rest, &mut Vec::new())), (vec![words[0]], None));

        let mut frames = Vec::new();
        push_reply(&mut frames, Conn(1), 2, 3, 4, |out| out.extend_from_slice(b"+OK\r\n"));
        let mut rest = frames.as_slice();
        assert_eq!(pop_reply(&mut rest), Some(reply_of(1, 0, b"+OK\r\n")));
        assert_eq!(pop_reply(&mut rest), None);
    }

    fn reply_of(conn: u32, wire: Wire, bytes: &[u8]) -> ReplyFrame<'_> {
        ReplyFrame { conn: Conn(conn), generation: 2, slot: 3, part: 4, wire, bytes }
    }

    #[test]
    fn what_a_lent_socket_does_not_take_goes_home() {
        let replies: [(u32, Wire, &[u8]); 4] =
            [(1, 9, b"+OK\r\n"), (2, 0, b":1\r\n"), (3, 7, b"$1\r\nx\r\n"), (4, 8, b"+b\r\n")];
        let frames_of = |replies: &[(u32, Wire, &[u8])]| {
            let mut frames = Vec::new();
            for (conn, wire, bytes) in replies {
                let place = (Conn(*conn), 2, 3, 4);
                push_reply_by(&mut frames, place, *wire, |out| out.extend_from_slice(bytes));
            }
            frames
        };
        let mut frames = frames_of(&replies);
        let mut sent = Vec::new();
        let silent = hand_out(&mut frames, |conn, wire, bytes| {
            let most = if wire == 7 { 3 } else { bytes.len() };
            sent.push((conn.0, wire, bytes[..most].to_vec()));
            most
        });
        assert!(!silent);
        assert_eq!(
            sent,
            [(1, 9, b"+OK\r\n".into()), (3, 7, b"$1\r".into()), (4, 8, b"+b\r\n".into())]
        );
        let mut rest = frames.as_slice();
        let left = [(1, 9, &b""[..]), (2, 0, b":1\r\n"), (3, 7, b"\nx\r\n"), (4, 8, b"")];
        for (conn, wire, bytes) in left {
            assert_eq!(pop_reply(&mut rest), Some(reply_of(conn, wire, bytes)));
        }
        assert_eq!(pop_reply(&mut rest), None);
        assert!(hand_out(&mut frames_of(&replies[2..]), |_, _, bytes| bytes.len()));
        assert!(!hand_out(&mut frames_of(&replies[..1]), |_, _, _| 0));
    }
}
