//! CLIENT LIST of very many clients, written as it is sent: core by core, page by page.
//!
//! A reply says its length first, and a list of a million clients is hundreds of megabytes that nobody
//! should hold. So here all lines have one length, which makes the length known before the first is
//! written: the number of clients times that. A line that is shorter has zeros in front of its
//! `tot-mem`, one that would be longer does without its names.
//!
//! ```text
//!   home              each core
//!   Open      ->      notes which rows it has, and how many clients         <- Opened
//!   the length, then, as fast as the client reads:
//!   More      ->      the lines of a few rows                               <- Lines
//! ```
//!
//! The clients of a list are those that were there when it began. Who leaves before its line is written has it
//! written then; who comes is not on it, also where it takes the row of one who was, or comes from
//! another core (a *stranger*). So there are exactly as many lines as were promised.
//!
//! Few clients are listed at once, in the order in which they came (`client_list.rs`).

use crate::base::limits::{
    LIST_AT_ONCE_MAX, LIST_BACKLOG_BYTES_MAX, LIST_LINE_BYTES, LIST_PAGE_BYTES, LISTS_MAX,
    SWEPT_ROWS_PER_TURN,
};
use crate::node::core::Core;
use crate::node::message::{Message, Return};
use crate::node::outbox::{Conn, Outbox};
use crate::node::session::Session;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Proto;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// What cores say to each other about the list of one client.
#[derive(Debug)]
pub enum ListNote {
    /// Home to core.
    Open,
    More,
    /// Nobody reads it any more.
    End,
    /// Core to home: it has so many clients.
    Opened {
        lines: u64,
    },
    Lines {
        text: Vec<u8>,
        done: bool,
    },
}

/// The lists that this core's clients read, and those that it has a part in.
#[derive(Debug, Default)]
pub struct Lists {
    streams: Vec<Stream>,
    parts: Vec<Part>,
    /// One of them can go on at the next turn.
    goes_on: bool,
}

/// A list that a client of this core reads.
#[derive(Debug)]
struct Stream {
    to: Return,
    proto: Proto,
    lines: Vec<Option<u64>>,
    began: bool,
    /// Whose lines come now, and whether they were asked for.
    core: usize,
    asked: bool,
}

/// This core's part in a list.
#[derive(Debug)]
struct Part {
    to: Return,
    next: usize,
    end: usize,
    /// The newest client that is on it.
    newest: u64,
    /// Lines of those who left.
    saved: BTreeMap<usize, Vec<u8>>,
    strangers: BTreeSet<usize>,
    left: u64,
}

impl Part {
    fn covers(&self, row: usize) -> bool {
        (self.next..self.end).contains(&row)
    }
}

impl Lists {
    /// Can a list go on without anything from outside?
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.goes_on
    }
}

impl Core {
    /// Are there so many clients that nobody should hold all their lines?
    pub(super) fn lists_in_pages(&self, conn: Conn) -> bool {
        self.shared.clients.load(Ordering::Relaxed) > LIST_AT_ONCE_MAX
            && !self.sessions.get(conn).is_some_and(Session::is_executing)
    }

    /// Begins to answer CLIENT LIST.
    pub(super) fn begin_list(&mut self, conn: Conn, out: &mut Outbox) -> Result<(), ErrorKind> {
        if self.lists.streams.len() >= LISTS_MAX {
            return Err(ErrorKind::TooManyLists);
        }
        let Some(session) = self.sessions.get(conn) else { return Ok(()) };
        let (generation, proto, muted) = (session.generation, session.proto, session.is_muted());
        let slot = self.with_flight(conn, |flight| {
            let slot = flight.depart(None, true, muted);
            flight.set_barrier();
            slot
        });
        let to =
            Return { core: self.id, conn, generation, slot: slot.unwrap_or_default(), part: 0 };
        let lines = vec![None; self.cores];
        self.lists.streams.push(Stream { to, proto, lines, began: false, core: 0, asked: false });
        (0..self.cores).for_each(|core| self.tell_of_list(core, to, ListNote::Open, out));
        Ok(())
    }

    fn tell_of_list(&mut self, core: usize, list: Return, note: ListNote, out: &mut Outbox) {
        if core == self.id {
            self.told_of_list(core, list, note, out);
        } else {
            out.mail[core].push(Message::List(Box::new((list, note))));
        }
    }

    pub(super) fn told_of_list(
        &mut self,
        from: usize,
        list: Return,
        note: ListNote,
        out: &mut Outbox,
    ) {
        match note {
            ListNote::Open => {
                let lines = self.sessions.len() as u64;
                self.lists.parts.push(Part {
                    to: list,
                    next: 0,
                    end: self.sessions.rows(),
                    newest: self.shared.client_ids.load(Ordering::Relaxed),
                    saved: BTreeMap::new(),
                    strangers: BTreeSet::new(),
                    left: lines,
                });
                self.tell_of_list(list.core, list, ListNote::Opened { lines }, out);
            }
            ListNote::More => {
                let (text, done) = self.next_lines(list);
                self.tell_of_list(list.core, list, ListNote::Lines { text, done }, out);
            }
            ListNote::End => self.lists.parts.retain(|part| part.to != list),
            ListNote::Opened { lines } => {
                if let Some(stream) = self.lists.streams.iter_mut().find(|it| it.to == list) {
                    stream.lines[from] = Some(lines);
                }
                self.lists.goes_on = true;
            }
            ListNote::Lines { text, done } => {
                let Some(stream) = self.lists.streams.iter_mut().find(|it| it.to == list) else {
                    return;
                };
                stream.asked = false;
                stream.core += usize::from(done);
                self.answer_in_part(list, &text);
                self.lists.goes_on = true;
            }
        }
    }

    /// The next page of this core's part, and whether it is the last.
    fn next_lines(&mut self, list: Return) -> (Vec<u8>, bool) {
        let mut text = Vec::with_capacity(LIST_PAGE_BYTES + LIST_LINE_BYTES);
        let Some(at) = self.lists.parts.iter().position(|part| part.to == list) else {
            return (text, true);
        };
        let mut part = self.lists.parts.swap_remove(at);
        let most = part.end.min(part.next + SWEPT_ROWS_PER_TURN);
        while part.next < most && text.len() < LIST_PAGE_BYTES && part.left > 0 {
            let row = part.next;
            part.next += 1;
            let conn = Conn(u32::try_from(row).unwrap_or(u32::MAX));
            if let Some(line) = part.saved.remove(&row) {
                text.extend_from_slice(&line);
            } else if let Some(session) = self.sessions.get(conn)
                && session.id <= part.newest
                && !part.strangers.contains(&row)
            {
                self.line_of_list(conn, session, &mut text);
            } else {
                continue;
            }
            part.left -= 1;
        }
        let done = part.next == part.end || part.left == 0;
        debug_assert!(!done || part.left == 0, "{} lines are missing", part.left);
        if done {
            // Whatever happens, the reply has the length that it said.
            for _ in 0..part.left {
                text.resize(text.len() + LIST_LINE_BYTES - 1, b' ');
                text.push(b'\n');
            }
        } else {
            self.lists.parts.push(part);
        }
        (text, done)
    }

    /// A client's line, of the one length.
    fn line_of_list(&self, conn: Conn, session: &Session, text: &mut Vec<u8>) {
        const WIDENED: &[u8] = b" tot-mem=";
        let start = text.len();
        self.describe(conn, session, text);
        if text.len() - start > LIST_LINE_BYTES {
            text.truncate(start);
            self.describe_briefly(conn, session, text);
        }
        let len = text.len() - start;
        if len > LIST_LINE_BYTES {
            text.truncate(start + LIST_LINE_BYTES - 1);
            text.push(b'\n');
            return;
        }
        let at = text[start..].windows(WIDENED.len()).position(|it| it == WIDENED);
        let at = start + at.map_or(0, |at| at + WIDENED.len());
        text.splice(at..at, std::iter::repeat_n(b'0', LIST_LINE_BYTES - len));
    }

    /// A session is about to leave this core.
    pub(super) fn leaves_lists(&mut self, conn: Conn) {
        if self.lists.parts.is_empty() {
            return;
        }
        let row = conn.0 as usize;
        let mut parts = std::mem::take(&mut self.lists.parts);
        for part in parts.iter_mut().filter(|part| part.covers(row)) {
            if part.strangers.remove(&row) {
                continue;
            }
            if let Some(session) = self.sessions.get(conn).filter(|it| it.id <= part.newest) {
                let mut line = Vec::with_capacity(LIST_LINE_BYTES);
                self.line_of_list(conn, session, &mut line);
                part.saved.insert(row, line);
            }
        }
        self.lists.parts = parts;
    }

    /// A session came to this core that is older than its being here.
    pub(super) fn joins_lists(&mut self, conn: Conn) {
        let row = conn.0 as usize;
        for part in self.lists.parts.iter_mut().filter(|part| part.covers(row)) {
            part.strangers.insert(row);
        }
    }

    /// At the end of a turn: lists go on where their readers keep up.
    pub(super) fn go_on_with_lists(&mut self, out: &mut Outbox) {
        self.lists.goes_on = false;
        for at in (0..self.lists.streams.len()).rev() {
            let (to, core) = (self.lists.streams[at].to, self.lists.streams[at].core);
            if self.sessions.same(to.conn, to.generation).is_none() {
                self.lists.streams.swap_remove(at);
                (core..self.cores).for_each(|core| self.tell_of_list(core, to, ListNote::End, out));
            } else if !self.lists.streams[at].began {
                self.begin_stream(at);
            } else if !self.lists.streams[at].asked && self.takes_more(to) {
                if core == self.cores {
                    self.lists.streams.swap_remove(at);
                    self.answer(to.conn, to.generation, to.slot, b"\r\n");
                } else {
                    self.lists.streams[at].asked = true;
                    self.tell_of_list(core, to, ListNote::More, out);
                }
            }
        }
    }

    /// Says how long the reply will be, as soon as all cores have said what they have.
    fn begin_stream(&mut self, at: usize) {
        let stream = &self.lists.streams[at];
        let (to, proto) = (stream.to, stream.proto);
        let Some(lines) = stream.lines.iter().copied().sum::<Option<u64>>() else { return };
        let bytes = lines * LIST_LINE_BYTES as u64;
        let head = match proto {
            Proto::Resp2 => format!("${bytes}\r\n"),
            Proto::Resp3 => format!("={}\r\ntxt:", bytes + 4),
        };
        // Not before what the client asked for earlier is answered.
        self.lists.streams[at].began = self.answer_in_part(to, head.as_bytes());
        self.lists.goes_on |= self.lists.streams[at].began;
    }

    fn answer_in_part(&mut self, to: Return, text: &[u8]) -> bool {
        let Some(session) = self.sessions.same(to.conn, to.generation) else { return false };
        let Some(flight) = session.flight.as_mut() else { return false };
        let put = flight.answer_in_part(to.slot, text);
        self.roads.lands(to.conn);
        put
    }

    /// Has the reader taken nearly all that it was sent?
    fn takes_more(&mut self, to: Return) -> bool {
        if self.roads.holds(to.conn, to.generation) {
            return false;
        }
        let Some(session) = self.sessions.same(to.conn, to.generation) else { return false };
        let queued = session.flight.as_ref().map_or(0, |flight| flight.queued_bytes());
        let waiting = session.rare.as_ref().map_or(0, |rare| rare.backlog_bytes);
        queued + waiting <= LIST_BACKLOG_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{Client, Node};

    const MANY: usize = LIST_AT_ONCE_MAX + 500;

    fn many(cores: usize) -> (Node, Vec<Client>) {
        let mut node = Node::with(cores, |settings| settings.maxclients = 100_000);
        let clients = (0..MANY).map(|_| node.connect()).collect();
        (node, clients)
    }

    /// The lines of a whole reply, by the clients' numbers.
    fn lines(reply: &[u8]) -> BTreeMap<u64, String> {
        let text = String::from_utf8(reply.to_vec()).unwrap();
        let (head, rest) = text.split_once("\r\n").unwrap();
        let body = rest.strip_suffix("\r\n").unwrap();
        assert_eq!(head, format!("${}", body.len()));
        let id = |line: &str| line.split(' ').next()?.strip_prefix("id=")?.parse().ok();
        let all: Vec<&str> = body.lines().collect();
        assert!(all.iter().all(|it| it.len() + 1 == LIST_LINE_BYTES));
        let found: BTreeMap<u64, String> =
            all.iter().map(|it| (id(it).unwrap(), (*it).to_string())).collect();
        assert_eq!(found.len(), all.len(), "nobody is there twice");
        found
    }

    #[test]
    fn everybody_is_on_a_long_list_once_and_behind_it_comes_what_was_asked_later() {
        for cores in [1, 3] {
            let (mut node, clients) = many(cores);
            let name = format!("CLIENT SETNAME {}\r\n", "n".repeat(500));
            node.send(clients[7], name.as_bytes());
            node.send(clients[8], b"CLIENT SETNAME eight\r\nSELECT 3\r\n");
            node.send(clients[5], b"SET key before\r\n");
            let reply = node.send(clients[5], b"GET key\r\nCLIENT LIST\r\nGET key\r\n");
            let value = b"$6\r\nbefore\r\n";
            let reply = reply.strip_prefix(value).unwrap().strip_suffix(value).unwrap();
            let found = lines(reply);
            assert_eq!(found.len(), MANY);
            assert!(found[&8].contains(" name= ") && found[&9].contains(" name=eight "));
            assert!(found[&9].contains(" db=3 ") && found[&6].contains(" cmd=client|list "));
        }
    }

    #[test]
    fn who_leaves_while_it_is_written_is_on_it_and_who_comes_is_not() {
        for cores in [1, 2] {
            let (mut node, clients) = many(cores);
            node.post(clients[0], b"CLIENT LIST\r\n");
            node.turns(10);
            let begun = node.take(clients[0]);
            assert!(begun.len() > LIST_LINE_BYTES && begun.len() < MANY * LIST_LINE_BYTES / 2);
            for client in clients.iter().skip(1).step_by(3) {
                node.hang_up(*client);
            }
            node.turns(3);
            for at in 0..50 {
                node.connect_soon(at % cores);
            }
            node.settle();
            let found = lines(&[begun, node.take(clients[0])].concat());
            assert_eq!(
                found.keys().copied().collect::<Vec<_>>(),
                (1..=MANY as u64).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn nobody_writes_a_list_that_nobody_reads() {
        let (mut node, clients) = many(2);
        node.post(clients[0], b"CLIENT LIST\r\n");
        node.turns(10);
        node.stop_reading(clients[0], LIST_BACKLOG_BYTES_MAX + 1);
        node.turns(100);
        let before = node.take(clients[0]).len();
        node.settle();
        assert_eq!(node.take(clients[0]).len(), 0, "{before} bytes and no more");
        node.read_on(clients[0]);
        assert!(node.take(clients[0]).len() > MANY * LIST_LINE_BYTES / 2);
    }
}
