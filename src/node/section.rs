//! A section: all cores stand still while core 0 does one thing to the whole keyspace.
//!
//! ```text
//!   core 0:  Freeze -> all        each core finishes its turn, seals it, answers Frozen
//!            Step -> all or one   flush, swap, cut, take keys out, put keys back; answers Stepped
//!            Thaw -> all          clients and roads go on
//! ```
//!
//! A road keeps its order, so when a core's `Frozen` arrives, the effects of everything that it ever
//! executed have arrived too: what core 0 logs in a section stands in the stream after all that
//! happened before it and before all that comes later. Used for what must be one instant on all
//! cores: FLUSHALL, SWAPDB, the cut of a snapshot, and commands over keys of several cores.
//!
//! A command over keys of several cores runs on core 0: their owners hand the records over
//! ([`Step::Take`]), the command runs there as if core 0 owned them, and what is left of them goes
//! back ([`Step::Put`]). Simple and right; the price is that everybody waits.

use crate::base::time::Wall;
use crate::engine::collections::Carried;
use crate::engine::generic::moves::{put_in, take_out};
use crate::engine::keyspace::Keyspace;
use crate::node::functions::Change;
use crate::node::outbox::Conn;

/// What every core does in a section.
#[derive(Clone, Debug)]
pub enum Step {
    /// Drop the keys of one database, or of all.
    Flush {
        db: Option<usize>,
    },
    Swap {
        a: usize,
        b: usize,
    },
    /// Change the libraries of functions; core 0 has done it.
    Functions(Change),
    /// Begin a snapshot's walk at this instant, and log writes from here on if asked to.
    Cut {
        stream: bool,
    },
    /// Log writes from here on, or no longer.
    Stream {
        on: bool,
    },
    /// Hand these keys over.
    Take {
        keys: Vec<(usize, Vec<u8>)>,
    },
    /// Keep these records.
    Put {
        records: Vec<Record>,
    },
}

/// What a core answers.
#[derive(Debug)]
pub enum Answer {
    Done,
    Records(Vec<Record>),
    /// A walk is under way already.
    Busy,
}

/// A key on its way between cores.
#[derive(Clone, Debug)]
pub struct Record {
    pub db: usize,
    pub key: Vec<u8>,
    pub carried: Carried,
}

/// Is this core in a section, and who waits for its end.
#[derive(Debug, Default)]
pub struct Frozen {
    frozen: bool,
    stalled: Vec<Conn>,
    /// Requests of other cores, kept in order.
    requests: Vec<(usize, Vec<u8>)>,
}

impl Frozen {
    #[inline]
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.frozen
    }

    pub fn freeze(&mut self) {
        self.frozen = true;
    }

    pub fn stalled(&mut self, conn: Conn) {
        self.stalled.push(conn);
    }

    pub fn keep(&mut self, from: usize, frames: Vec<u8>) {
        self.requests.push((from, frames));
    }

    /// Ends the section: the sessions that waited.
    pub fn thaw(&mut self) -> Vec<Conn> {
        self.frozen = false;
        std::mem::take(&mut self.stalled)
    }

    #[must_use]
    pub fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    /// The requests that waited.
    pub fn take_requests(&mut self) -> Vec<(usize, Vec<u8>)> {
        std::mem::take(&mut self.requests)
    }
}

/// Takes keys out of a shard; those that are absent are left out.
pub fn take(keyspace: &mut Keyspace, keys: &[(usize, Vec<u8>)], now: Wall) -> Vec<Record> {
    let mut records = Vec::new();
    for (db, name) in keys {
        let Some(carried) = take_out(keyspace, *db, name, now) else { continue };
        records.push(Record { db: *db, key: name.clone(), carried });
    }
    records
}

/// Puts records into a shard. A shard without room for them loses them, which is reported.
pub fn put(keyspace: &mut Keyspace, records: Vec<Record>, now: Wall) -> usize {
    let mut lost = 0;
    for record in records {
        let kept = put_in(keyspace, record.db, &record.key, record.carried, now);
        lost += usize::from(kept.is_err());
    }
    lost
}
