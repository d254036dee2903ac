//! A section: all cores stand still while core 0 does one thing to the whole keyspace.
//!
//! ```text
//!   core 0:  Freeze -> all        each core finishes its turn and what it has granted, seals it,
//!                                 answers Frozen
//!            Step -> all          flush, swap, cut; answers Stepped
//!            Thaw -> all          clients and roads go on
//! ```
//!
//! A road keeps its order, so when a core's `Frozen` arrives, the effects of everything that it ever
//! executed have arrived too: what core 0 logs in a section stands in the stream after all that
//! happened before it and before all that comes later. Used for what must be one instant on all
//! cores: FLUSHALL, SWAPDB, a change of role, the cut of a snapshot.
//!
//! Transactions over several cores (`transactions.rs`) run before a section or after it: one that
//! waits for grants lets go of them, and a core does not stand still before those that it granted
//! are released.

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
        /// Make commands of the records, not RDB.
        commands: bool,
    },
    /// Log writes from here on, or no longer.
    Stream {
        on: bool,
    },
}

/// What a core answers.
#[derive(Debug)]
pub enum Answer {
    Done,
    /// A walk is under way already.
    Busy,
}

/// Is this core in a section, and who waits for its end.
#[derive(Debug, Default)]
pub struct Frozen {
    frozen: bool,
    /// It stands still, and has said so.
    told: bool,
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

    /// All that was under way is done: is that to be said now?
    pub fn stands_still(&mut self) -> bool {
        self.frozen && !std::mem::replace(&mut self.told, true)
    }

    pub fn stalled(&mut self, conn: Conn) {
        self.stalled.push(conn);
    }

    pub fn keep(&mut self, from: usize, frames: Vec<u8>) {
        self.requests.push((from, frames));
    }

    /// The sessions that waited: they are told why.
    pub fn take_stalled(&mut self) -> Vec<Conn> {
        std::mem::take(&mut self.stalled)
    }

    /// Ends the section: the sessions that waited.
    pub fn thaw(&mut self) -> Vec<Conn> {
        (self.frozen, self.told) = (false, false);
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
