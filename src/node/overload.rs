//! Overload: where a core's turns are too long, a part of the work that comes is refused, so that the rest is served
//! in time.
//!
//! A turn is what everybody on a core waits for. `overload-turn-ms` says how long turns may be; 0, the default, is
//! that nothing is refused. Ten times a second each core looks at how long the turn was in which an average moment
//! lay. Above that for a while, more of the requests are refused; below it, fewer, to none.
//!
//! ```text
//!   longer than it may be, three times in a row   a quarter more of what is not refused yet
//!   not                                           an eighth less
//! ```
//!
//! What is refused: commands on keys, of clients who came by a public door, with THROTTLED, counted as every error is
//! (`errorstat_THROTTLED`, `rejected_calls`). What never is: replication, the bus, and whatever asks or manages (PING, INFO,
//! PUBLISH, CONFIG, ..), which is what Sentinels and administrators send; and all of who came by a door for administration.
//!
//! All cores refuse alike: requests go from core to core, and the one that is slow is not always the client's.

use std::cell::Cell;

/// Of a thousand.
const ALL: u64 = 1_000;
/// Looks in a row that must find turns too long before any request is refused: one slow command is no overload.
const IN_A_ROW: u32 = 3;
const NS_PER_MS: u64 = 1_000_000;

/// See the file's header.
#[derive(Debug, Default)]
pub struct Overload {
    /// Nanoseconds of the turns since the last look, and the sum of their squares.
    ran: u64,
    squares: u128,
    in_a_row: u32,
    /// Requests of a thousand that this core would refuse.
    own: u64,
    /// And that are refused, since some core would.
    all: u64,
    owed: Cell<u64>,
}

impl Overload {
    /// A turn was so long.
    pub fn ran(&mut self, ns: u64) {
        self.ran = self.ran.saturating_add(ns);
        self.squares = self.squares.saturating_add(u128::from(ns) * u128::from(ns));
    }

    /// The look: how many of a thousand requests this core would refuse where turns may be so long.
    pub fn look(&mut self, turn_ms: u32) -> u64 {
        let (ran, squares) = (std::mem::take(&mut self.ran), std::mem::take(&mut self.squares));
        let mean = u64::try_from(squares / u128::from(ran.max(1))).unwrap_or(u64::MAX);
        let is_long = turn_ms > 0 && mean > u64::from(turn_ms) * NS_PER_MS;
        self.in_a_row = if is_long { self.in_a_row.saturating_add(1) } else { 0 };
        self.own = match self.in_a_row {
            IN_A_ROW.. => self.own + (ALL - self.own).div_ceil(4),
            0 if turn_ms == 0 => 0,
            0 => self.own - self.own.div_ceil(8),
            _ => self.own,
        };
        self.own
    }

    /// So many of a thousand are refused from here on: the most that any core would. What it was before.
    pub fn settle(&mut self, all: u64) -> u64 {
        // Some always get through, or nobody would know that it is over.
        std::mem::replace(&mut self.all, all.min(ALL - ALL / 20))
    }

    /// Is anything refused?
    #[inline]
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.all > 0
    }

    /// Is this request one of those? They are spread evenly.
    #[must_use]
    pub fn refuses(&self) -> bool {
        let owed = self.owed.get() + self.all;
        self.owed.set(owed % ALL);
        owed >= ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::Node;

    fn looks(overload: &mut Overload, turns: &[u64], count: usize) -> u64 {
        let mut own = 0;
        for _ in 0..count {
            turns.iter().for_each(|ms| overload.ran(ms * NS_PER_MS));
            own = overload.look(10);
        }
        own
    }

    #[test]
    fn long_turns_that_last_are_an_overload() {
        let mut overload = Overload::default();
        assert_eq!(looks(&mut overload, &[1; 100], 50), 0, "busy, and nobody waits");
        assert_eq!(looks(&mut overload, &[1_000], 1), 0, "one slow command");
        assert_eq!(looks(&mut overload, &[1; 100], 1), 0);
        assert_eq!(looks(&mut overload, &[50, 50], 2), 0);
        assert_eq!(looks(&mut overload, &[50, 50], 1), 250);
        assert!(looks(&mut overload, &[50, 50], 20) > 950);
        // It ends, and at once where the setting says so.
        assert!(looks(&mut overload, &[1; 100], 5) > 400);
        assert_eq!(looks(&mut overload, &[1; 100], 100), 0);
        looks(&mut overload, &[50, 50], 10);
        assert_eq!(overload.look(0), 0);
    }

    #[test]
    fn requests_are_refused_evenly() {
        let mut overload = Overload::default();
        let refused = |overload: &Overload| (0..1_000).filter(|_| overload.refuses()).count();
        assert_eq!((overload.is_on(), refused(&overload)), (false, 0));
        overload.settle(250);
        let four = [(); 4].map(|()| overload.refuses());
        assert_eq!(four.iter().filter(|it| **it).count(), 1);
        assert_eq!(refused(&overload), 250);
        overload.settle(1_000);
        assert_eq!(refused(&overload), 950, "some get through");
    }

    /// Commands on keys are refused, counted and told; what watches and manages is not.
    #[test]
    fn what_is_refused_and_what_not() {
        let mut node = Node::with(2, |settings| settings.overload_turn_ms = 10);
        let client = node.connect();
        node.send(client, b"SET k v\r\n");
        for core in 0..2 {
            node.cores[core].overload.settle(1_000);
        }
        let many = node.send(client, &b"GET k\r\n".repeat(20));
        let many = String::from_utf8(many).unwrap();
        assert_eq!(many.matches("-THROTTLED").count(), 19, "{many}");
        for _ in 0..20 {
            for asks in ["PING", "INFO replication", "CONFIG GET port", "PUBLISH c m", "ROLE"] {
                let said = node.send(client, format!("{asks}\r\n").as_bytes());
                assert!(!said.starts_with(b"-"), "{asks}: {}", said.escape_ascii());
            }
        }
        let errors = String::from_utf8(node.send(client, b"INFO errorstats\r\n")).unwrap();
        assert!(errors.contains("errorstat_THROTTLED:count=19"), "{errors}");
        // A transaction that lacks a command is none.
        node.send(client, b"MULTI\r\n");
        let queued = node.send(client, &b"SET k w\r\n".repeat(5));
        let queued = String::from_utf8(queued).unwrap();
        assert!(queued.contains("-THROTTLED"), "{queued}");
        assert!(node.send(client, b"EXEC\r\n").starts_with(b"-EXECABORT"));
        for core in 0..2 {
            node.cores[core].overload.settle(0);
        }
        assert_eq!(node.send(client, b"GET k\r\n"), b"$1\r\nv\r\n");
    }
}
