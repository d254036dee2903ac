//! What one core wrote in one turn, as bytes of the stream.
//!
//! A core executes a turn's writes, appends their effects here, takes one ticket for all of them
//! and seals: the batch goes to the merger, an emptied buffer comes back by [`Log::recycle`].
//! Ticket after executing and before any reply: then real time implies ticket order.
//!
//! Invariants:
//!   * a batch holds whole commands only, and never one side of a MULTI without the other;
//!   * the first command of a batch runs in `first_db` *without* a SELECT before it (the merger
//!     knows which db the stream is in, this core does not); a SELECT stands wherever the db
//!     changes inside the batch, and after the last command the stream is in `last_db`;
//!   * an inactive log costs a branch: nobody reads the stream, so nothing is written.
//!
//! A transaction over several cores is one ticket too: each core seals its part with
//! [`Log::seal_part`] and the merger wraps the parts in one MULTI/EXEC. Beware: what such a core
//! wrote earlier in the same turn must be sealed with an earlier ticket first.
//!
//! Not here: the ticket counter (`runtime/` lends it), offsets (`ring.rs`), the order (`merge.rs`).

use crate::base::limits::{LOG_SPARE_BYTES_MAX, RING_SPARE_CHUNKS};

/// Place of a batch in the one history: dense, from 1.
pub type Ticket = u64;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// The effects of one core's turn, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub ticket: Ticket,
    /// Cores that hand in a batch under this ticket: 1, but for a transaction over several.
    pub parts: usize,
    /// Db of the first command; meaningless where there are no bytes.
    pub first_db: usize,
    pub last_db: usize,
    /// Commands of the batch, its own SELECT, MULTI and EXEC not counted.
    pub commands: usize,
    /// The core that wrote it.
    pub core: usize,
    pub bytes: Vec<u8>,
}

/// A core's log of the current turn.
#[derive(Debug, Default)]
pub struct Log {
    active: bool,
    bytes: Vec<u8>,
    /// First and last db, once there is a command.
    dbs: Option<(usize, usize)>,
    commands: usize,
    spare: Vec<Vec<u8>>,
}

impl Log {
    #[must_use]
    pub fn new(active: bool) -> Self {
        Self { active, ..Self::default() }
    }

    /// Whether anybody wants the stream. Changes only between turns.
    pub fn set_active(&mut self, active: bool) {
        assert!(self.is_empty(), "a turn's writes are sealed before the log is switched");
        self.active = active;
    }

    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dbs.is_none()
    }

    /// Appends one command that `write` puts down as RESP.
    pub fn append(&mut self, db: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if self.active {
            self.enter(db);
            self.commands += 1;
            write(&mut self.bytes);
        }
    }

    /// Appends one command from its arguments.
    pub fn append_request(&mut self, db: usize, args: &[&[u8]]) {
        self.append(db, |out| encode_request(args, out));
    }

    /// Appends what `write` puts into the transaction: nothing, a lone command as it is, or
    /// several in MULTI/EXEC.
    pub fn append_transaction(&mut self, write: impl FnOnce(&mut Transaction<'_>)) {
        if self.active {
            let mut transaction = Transaction { log: self, multi_at: 0, commands: 0 };
            write(&mut transaction);
            transaction.finish();
        }
    }

    /// The turn's writes under `ticket`. Call it only if not [`Log::is_empty`]: an empty batch
    /// would be a ticket for nothing.
    pub fn seal(&mut self, ticket: Ticket) -> Batch {
        assert!(!self.is_empty(), "a ticket is taken only for a turn that wrote");
        self.seal_part(ticket, 1)
    }

    /// This core's part of a transaction that `parts` cores wrote; it may be empty.
    pub fn seal_part(&mut self, ticket: Ticket, parts: usize) -> Batch {
        assert!(ticket > 0 && parts > 0);
        let (first_db, last_db) = self.dbs.take().unwrap_or_default();
        let commands = std::mem::take(&mut self.commands);
        let empty = self.spare.pop().unwrap_or_default();
        let bytes = std::mem::replace(&mut self.bytes, empty);
        Batch { ticket, parts, first_db, last_db, commands, core: 0, bytes }
    }

    /// Takes a batch's buffer back for a later turn.
    pub fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < RING_SPARE_CHUNKS && bytes.capacity() <= LOG_SPARE_BYTES_MAX {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// The next command runs in `db`: writes a SELECT if the batch is in another one.
    fn enter(&mut self, db: usize) {
        match &mut self.dbs {
            None => self.dbs = Some((db, db)),
            Some((_, last)) if *last == db => {}
            Some((_, last)) => {
                *last = db;
                encode_select(db, &mut self.bytes);
            }
        }
    }
}

/// Commands that a replica must see together or not at all.
#[derive(Debug)]
pub struct Transaction<'l> {
    log: &'l mut Log,
    /// Where MULTI stands in the log's bytes, once there is a command.
    multi_at: usize,
    commands: usize,
}

impl Transaction<'_> {
    pub fn request(&mut self, db: usize, args: &[&[u8]]) {
        self.begin_command(db);
        encode_request(args, &mut self.log.bytes);
    }

    /// A command that is RESP already.
    pub fn encoded(&mut self, db: usize, resp: &[u8]) {
        self.begin_command(db);
        self.log.bytes.extend_from_slice(resp);
    }

    fn begin_command(&mut self, db: usize) {
        self.log.enter(db);
        if self.commands == 0 {
            self.multi_at = self.log.bytes.len();
            self.log.bytes.extend_from_slice(MULTI);
        }
        self.commands += 1;
        self.log.commands += 1;
    }

    fn finish(self) {
        let bytes = &mut self.log.bytes;
        match self.commands {
            0 => {}
            1 => drop(bytes.drain(self.multi_at..self.multi_at + MULTI.len())),
            _ => bytes.extend_from_slice(EXEC),
        }
    }
}

/// Writes `args` as a RESP array of bulk strings.
pub fn encode_request(args: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = args.iter().map(|arg| arg.len() + 16).sum();
    out.reserve(length + 16);
    header(b'*', args.len(), out);
    for arg in args {
        header(b'$', arg.len(), out);
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes `SELECT db`.
pub fn encode_select(db: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    encode_request(&[b"SELECT", decimal(db as u64, &mut digits)], out);
}

/// Writes MULTI, what `body` writes, EXEC.
pub fn encode_multi(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(MULTI);
    body(out);
    out.extend_from_slice(EXEC);
}

/// `number` in decimal, in the end of `digits`.
pub fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        let digit = (number % 10) as u8;
        digits[at] = b'0' + digit;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

fn header(kind: u8, length: usize, out: &mut Vec<u8>) {
    // Most lengths have one digit: then the header is one store.
    if let Ok(digit @ 0..=9) = u8::try_from(length) {
        return out.extend_from_slice(&[kind, b'0' + digit, b'\r', b'\n']);
    }
    out.push(kind);
    let mut digits = [0; 20];
    out.extend_from_slice(decimal(length as u64, &mut digits));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stream bytes with their framing left out, one command per `;`.
    pub fn plain(bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", " ");
        let words = text.split(' ').filter(|word| !word.starts_with('$') && !word.is_empty());
        let joined: Vec<&str> = words.map(|w| if w.starts_with('*') { ";" } else { w }).collect();
        joined.join(" ")
    }

    #[test]
    fn requests_are_resp_arrays() {
        let mut log = Log::new(true);
        log.append_request(0, &[b"SET", b"k", b"", &[b'x'; 12]]);
        let batch = log.seal(1);
        assert_eq!(batch.bytes, b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n$12\r\nxxxxxxxxxxxx\r\n");
        let mut digits = [0; 20];
        assert_eq!(decimal(u64::MAX, &mut digits), b"18446744073709551615");
        assert_eq!(decimal(0, &mut digits), b"0");
    }

    #[test]
    fn a_select_stands_only_where_the_db_changes() {
        let mut log = Log::new(true);
        for db in [3, 3, 10, 3] {
            log.append_request(db, &[b"INCR", b"k"]);
        }
        let batch = log.seal(7);
        assert_eq!(
            plain(&batch.bytes),
            "; INCR k ; INCR k ; SELECT 10 ; INCR k ; SELECT 3 ; INCR k"
        );
        assert_eq!((batch.ticket, batch.first_db, batch.last_db), (7, 3, 3));
        assert_eq!(batch.commands, 4);
        assert!(log.is_empty());
    }

    #[test]
    fn a_transaction_is_wrapped_only_if_it_has_several_commands() {
        let check = |dbs: &[usize], expected: &str| {
            let mut log = Log::new(true);
            log.append_request(0, &[b"PING"]);
            log.append_transaction(|tx| dbs.iter().for_each(|&db| tx.request(db, &[b"DEL", b"k"])));
            let batch = log.seal(1);
            assert_eq!(plain(&batch.bytes), format!("; PING{expected}"), "{dbs:?}");
            assert_eq!(batch.last_db, dbs.last().copied().unwrap_or(0));
        };
        check(&[], "");
        check(&[0], " ; DEL k");
        check(&[2], " ; SELECT 2 ; DEL k");
        check(&[0, 0], " ; MULTI ; DEL k ; DEL k ; EXEC");
        check(&[1, 2], " ; SELECT 1 ; MULTI ; DEL k ; SELECT 2 ; DEL k ; EXEC");
    }

    #[test]
    fn an_inactive_log_writes_nothing() {
        let mut log = Log::new(false);
        log.append(0, |_| panic!("nobody reads the stream"));
        log.append_transaction(|_| panic!("nobody reads the stream"));
        assert!(log.is_empty() && !log.is_active());
        log.set_active(true);
        log.append_request(0, &[b"PING"]);
        assert!(!log.is_empty());
    }

    #[test]
    fn a_recycled_buffer_is_used_again() {
        let mut log = Log::new(true);
        log.append_request(0, &[b"PING"]);
        let mut bytes = log.seal(1).bytes;
        bytes.reserve(4096);
        let (place, capacity) = (bytes.as_ptr(), bytes.capacity());
        log.recycle(bytes);
        log.append_request(0, &[b"PING"]);
        log.seal(2); // Swaps the spare one in.
        log.append_request(0, &[b"PING"]);
        let batch = log.seal(3);
        assert_eq!((batch.bytes.as_ptr(), batch.bytes.capacity()), (place, capacity));
        log.recycle(Vec::with_capacity(LOG_SPARE_BYTES_MAX + 1));
        assert!(log.spare.is_empty());
    }
}
