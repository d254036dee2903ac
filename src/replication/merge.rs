//! The batches of all cores become one stream, in the order of their tickets.
//!
//! Batches arrive in any order; batch `t` is written once all before it are. The stream gets a
//! SELECT where a batch begins in another db than the stream is in, and a transaction over
//! several cores, whose parts share a ticket, gets its MULTI/EXEC here.
//!
//! Invariants:
//!   * tickets are dense: `merged_through` moves by one batch at a time and never back;
//!   * the stream's db is known or said: after `reselect` the next command has a SELECT before it.
//!     That must happen at every snapshot's cut (who loads the snapshot starts in db 0) and when
//!     this node stops repeating a master's bytes (whatever db those left the stream in).
//!
//! What waits for a missing ticket is bounded by how long a core's turn may last, and visible in
//! bytes: the caller slows writers by it.
//!
//! Beware: PING and GETACK go in between batches, never into one; a master's bytes come as whole
//! units (`units.rs`), so they are never between the two sides of a MULTI either.

use std::collections::VecDeque;

use crate::base::limits::MERGE_TICKETS_MAX;
use crate::replication::log::{Batch, Ticket, encode_multi, encode_request, encode_select};
use crate::replication::ring::Ring;
use crate::replication::spread::Mark;

/// Core 0's merger.
#[derive(Debug, Default)]
pub struct Merger {
    merged_through: Ticket,
    /// What has arrived of ticket `merged_through + 1 + i`.
    waiting: VecDeque<Vec<Batch>>,
    waiting_bytes: usize,
    /// The db that a reader of the stream is in here, if that is known.
    db: Option<usize>,
    scratch: Vec<u8>,
    rows: Vec<Vec<Batch>>,
    /// Whose bytes lie where, while somebody wants to know.
    marks: Option<Vec<Mark>>,
}

impl Merger {
    /// A merger whose first batch has the ticket after `merged_through`.
    #[must_use]
    pub fn new(merged_through: Ticket) -> Self {
        Self { merged_through, ..Self::default() }
    }

    /// Takes a core's batch, in any order.
    pub fn push(&mut self, batch: Batch) {
        assert!(batch.ticket > self.merged_through, "ticket {} came twice", batch.ticket);
        let ahead = usize::try_from(batch.ticket - self.merged_through - 1).unwrap_or(usize::MAX);
        assert!(ahead < MERGE_TICKETS_MAX, "tickets are dense: one was lost");
        while self.waiting.len() <= ahead {
            self.waiting.push_back(self.rows.pop().unwrap_or_default());
        }
        let row = &mut self.waiting[ahead];
        assert!(row.iter().all(|it| it.parts == batch.parts) && row.len() < batch.parts);
        self.waiting_bytes += batch.bytes.len();
        row.push(batch);
    }

    /// Writes every batch whose turn it is. Their emptied buffers go to `used`, for the cores to
    /// recycle.
    pub fn merge_into(&mut self, ring: &mut Ring, used: &mut Vec<Vec<u8>>) {
        while self.waiting.front().is_some_and(|row| is_whole(row)) {
            let Some(mut row) = self.waiting.pop_front() else { return };
            self.merged_through += 1;
            self.waiting_bytes -= row.iter().map(|batch| batch.bytes.len()).sum::<usize>();
            let commands: usize = row.iter().map(|batch| batch.commands).sum();
            let (start, db) = (ring.end(), self.db.unwrap_or(0)); // Where it is not known, a SELECT comes.
            let core = row.first().map_or(0, |batch| batch.core);
            if row.len() > 1 && commands > 1 {
                self.write_parts(&row, ring);
            } else {
                row.iter().for_each(|batch| self.write(batch, ring));
            }
            self.mark(start, ring, core, db);
            used.extend(row.drain(..).map(|batch| batch.bytes));
            self.rows.push(row);
        }
    }

    /// Whether anybody wants to know whose bytes lie where.
    pub fn set_marking(&mut self, on: bool) {
        if on != self.marks.is_some() {
            self.marks = on.then(Vec::new);
        }
    }

    /// The marks of what was written since the last time.
    pub fn take_marks(&mut self) -> Vec<Mark> {
        self.marks.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn mark(&mut self, start: u64, ring: &Ring, lane: usize, db: usize) {
        if let (Some(marks), Ok(db)) = (self.marks.as_mut(), u16::try_from(db))
            && start < ring.end()
        {
            marks.push(Mark { range: start..ring.end(), lane, db });
        }
    }

    /// The last ticket whose batch is in the stream.
    #[must_use]
    pub fn merged_through(&self) -> Ticket {
        self.merged_through
    }

    /// Bytes that wait for an earlier ticket.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// The next command gets a SELECT whatever its db.
    pub fn reselect(&mut self) {
        self.db = None;
    }

    /// `PING` into the stream: it moves the offset, so replicas notice a silent loss of bytes.
    pub fn ping(&self, ring: &mut Ring) {
        ring.append(b"*1\r\n$4\r\nPING\r\n");
    }

    /// Asks every replica to acknowledge what it has, at once.
    pub fn get_ack(&mut self, ring: &mut Ring) {
        self.scratch.clear();
        encode_request(&[b"REPLCONF", b"GETACK", b"*"], &mut self.scratch);
        ring.append(&self.scratch);
    }

    /// This node is a replica: its master's bytes, as they came, at the same offsets.
    pub fn verbatim(&mut self, bytes: &[u8], ring: &mut Ring) {
        assert!(self.waiting.is_empty(), "a replica's own cores take no tickets");
        self.reselect();
        ring.append(bytes);
    }

    /// The same of whole units that came by flow `lane`, the first of which runs in `db`.
    pub fn verbatim_by(&mut self, lane: usize, db: usize, bytes: &[u8], ring: &mut Ring) {
        let start = ring.end();
        self.verbatim(bytes, ring);
        self.mark(start, ring, lane, db);
    }

    fn write(&mut self, batch: &Batch, ring: &mut Ring) {
        if batch.bytes.is_empty() {
            return;
        }
        self.scratch.clear();
        if self.db != Some(batch.first_db) {
            encode_select(batch.first_db, &mut self.scratch);
            ring.append(&self.scratch);
        }
        ring.append(&batch.bytes);
        self.db = Some(batch.last_db);
    }

    /// One MULTI/EXEC around all parts, with a SELECT where one part ends in another db than the
    /// next begins in.
    fn write_parts(&mut self, parts: &[Batch], ring: &mut Ring) {
        self.scratch.clear();
        let mut db = self.db;
        encode_multi(&mut self.scratch, |out| {
            for part in parts.iter().filter(|part| !part.bytes.is_empty()) {
                if db != Some(part.first_db) {
                    encode_select(part.first_db, out);
                }
                out.extend_from_slice(&part.bytes);
                db = Some(part.last_db);
            }
        });
        self.db = db;
        ring.append(&self.scratch);
    }
}

fn is_whole(row: &[Batch]) -> bool {
    row.first().is_some_and(|batch| batch.parts == row.len())
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test prints its seed, and draws small numbers"
)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::replication::log::Log;

    fn batch(ticket: Ticket, dbs: &[usize]) -> Batch {
        part(ticket, 1, dbs)
    }

    fn part(ticket: Ticket, parts: usize, dbs: &[usize]) -> Batch {
        let mut log = Log::new(true);
        let name = format!("w{ticket}");
        dbs.iter().for_each(|&db| log.append_request(db, &[name.as_bytes()]));
        log.seal_part(ticket, parts)
    }

    /// The ring's bytes with the framing left out, one command per `;`.
    fn plain(ring: &Ring) -> String {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < ring.end() {
            bytes.extend_from_slice(ring.read(bytes.len() as u64));
        }
        let text = String::from_utf8(bytes).unwrap().replace("\r\n", " ");
        let words = text.split(' ').filter(|word| !word.starts_with('$') && !word.is_empty());
        let words: Vec<&str> =
            words.map(|w| if w.starts_with('*') && w != "*" { ";" } else { w }).collect();
        words.join(" ")
    }

    #[test]
    fn batches_come_out_in_ticket_order() {
        let (mut merger, mut ring, mut used) = (Merger::new(0), Ring::new(0), Vec::new());
        merger.push(batch(3, &[0]));
        merger.push(batch(2, &[1, 0]));
        merger.merge_into(&mut ring, &mut used);
        assert_eq!((merger.merged_through(), ring.end(), used.len()), (0, 0, 0));
        assert!(merger.waiting_bytes() > 0);
        merger.push(batch(1, &[0]));
        merger.merge_into(&mut ring, &mut used);
        assert_eq!((merger.merged_through(), merger.waiting_bytes(), used.len()), (3, 0, 3));
        assert_eq!(plain(&ring), "; SELECT 0 ; w1 ; SELECT 1 ; w2 ; SELECT 0 ; w2 ; w3");
    }

    #[test]
    fn a_transaction_over_cores_waits_for_all_its_parts() {
        let (mut merger, mut ring, mut used) = (Merger::new(0), Ring::new(0), Vec::new());
        merger.push(part(1, 3, &[0]));
        merger.push(batch(2, &[0]));
        merger.push(part(1, 3, &[]));
        merger.merge_into(&mut ring, &mut used);
        assert_eq!(merger.merged_through(), 0);
        merger.push(part(1, 3, &[2]));
        merger.merge_into(&mut ring, &mut used);
        assert_eq!(plain(&ring), "; MULTI ; SELECT 0 ; w1 ; SELECT 2 ; w1 ; EXEC ; SELECT 0 ; w2");
        let mut ring = Ring::new(0);
        merger.push(part(3, 2, &[]));
        merger.push(part(3, 2, &[0]));
        merger.merge_into(&mut ring, &mut used);
        assert_eq!(plain(&ring), "; w3", "one command needs no MULTI");
    }

    #[test]
    fn after_a_cut_the_db_is_said_again() {
        let (mut merger, mut ring, mut used) = (Merger::new(9), Ring::new(0), Vec::new());
        merger.push(batch(10, &[4]));
        merger.merge_into(&mut ring, &mut used);
        merger.ping(&mut ring);
        merger.get_ack(&mut ring);
        merger.push(batch(11, &[4]));
        merger.merge_into(&mut ring, &mut used);
        merger.reselect();
        merger.push(batch(12, &[4]));
        merger.merge_into(&mut ring, &mut used);
        merger.verbatim(b"*1\r\n$4\r\nPING\r\n", &mut ring);
        merger.push(batch(13, &[4]));
        merger.merge_into(&mut ring, &mut used);
        assert_eq!(
            plain(&ring),
            "; SELECT 4 ; w10 ; PING ; REPLCONF GETACK * ; w11 ; SELECT 4 ; w12 ; PING ; SELECT 4 ; w13"
        );
    }

    #[test]
    fn marks_say_whose_bytes_lie_where_and_in_which_db_they_begin() {
        let (mut merger, mut ring, mut used) = (Merger::new(0), Ring::new(0), Vec::new());
        merger.push(batch(1, &[1]));
        merger.merge_into(&mut ring, &mut used);
        assert_eq!(merger.take_marks(), []);
        merger.set_marking(true);
        let from = |core, mut batch: Batch| {
            batch.core = core;
            batch
        };
        let mut ends = vec![ring.end()];
        merger.push(from(2, batch(2, &[1])));
        merger.merge_into(&mut ring, &mut used);
        ends.push(ring.end());
        merger.ping(&mut ring);
        ends.push(ring.end());
        merger.push(from(1, part(3, 2, &[4])));
        merger.push(from(2, part(3, 2, &[0])));
        merger.merge_into(&mut ring, &mut used);
        ends.push(ring.end());
        merger.verbatim_by(3, 7, b"*1\r\n$4\r\nPING\r\n", &mut ring);
        ends.push(ring.end());
        let mark =
            |from: usize, to: usize, lane, db| Mark { range: ends[from]..ends[to], lane, db };
        assert_eq!(merger.take_marks(), [mark(0, 1, 2, 1), mark(2, 3, 1, 1), mark(3, 4, 3, 7)]);
        assert_eq!(merger.take_marks(), []);
    }

    #[test]
    fn any_arrival_order_gives_the_same_stream() {
        let seed = 5;
        println!("seed {seed}");
        let mut prng = Prng::new(seed);
        let dbs: Vec<Vec<usize>> = (0..40)
            .map(|_| (0..1 + prng.below(3)).map(|_| prng.below(3) as usize).collect())
            .collect();
        let mut expected = None;
        for _ in 0..200 {
            let mut batches: Vec<Batch> =
                dbs.iter().enumerate().map(|(i, dbs)| batch(i as u64 + 1, dbs)).collect();
            let (mut merger, mut ring, mut used) = (Merger::new(0), Ring::new(0), Vec::new());
            while !batches.is_empty() {
                let pick = prng.below(batches.len() as u64) as usize;
                merger.push(batches.swap_remove(pick));
                merger.merge_into(&mut ring, &mut used);
            }
            assert_eq!((merger.merged_through(), used.len()), (40, 40));
            assert_eq!(*expected.get_or_insert_with(|| plain(&ring)), plain(&ring));
        }
    }
}
