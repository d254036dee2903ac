//! What a command did that a replica must repeat, in a buffer that is used again and again.
//!
//! A command says one of: nothing (it changed nothing), "the request itself" ([`Effect::verbatim`]),
//! or other commands instead ([`Effect::command`]), because the request would not have the same
//! meaning later: `SET k v EX 10` goes out as `SET k v PXAT ..`. Keys that were found expired on the
//! way go out first, as `DEL key`. More than one part belongs into one MULTI/EXEC; that, the database
//! and the bytes of the request itself are the business of whoever writes the stream.
//!
//! Where nobody listens ([`Effect::listen`] was told so), nothing is encoded or kept; only changes
//! are counted, for `rdb_changes_since_last_save`.
//!
//! Not here: replicas, offsets, rings.

use crate::resp::reply::write_request;
use std::ops::Range;

/// The effect of one command at a time; [`Effect::clear`] between two.
#[derive(Debug, Default)]
pub struct Effect {
    listened: bool,
    changes: u64,
    waits: bool,
    /// Expired keys go out as UNLINK.
    unlinks_expired: bool,
    expired: Vec<Own>,
    parts: Vec<Own>,
    /// The commands of both lists as RESP.
    bytes: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Own {
    Request,
    Command { db: usize, bytes: Range<usize> },
}

/// One thing that a replica must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'e> {
    /// The request, in the database in which it was made.
    Request,
    /// This command, encoded as a request.
    Command { db: usize, resp: &'e [u8] },
}

impl Effect {
    /// Does anybody want to know effects from now on?
    pub fn listen(&mut self, listened: bool) {
        self.listened = listened;
    }

    /// `lazyfree-lazy-expire`: expired keys go out as UNLINK, or as DEL.
    pub fn set_unlinks_expired(&mut self, unlinks: bool) {
        self.unlinks_expired = unlinks;
    }

    /// Forgets the last command; keeps the memory.
    pub fn clear(&mut self) {
        self.changes = 0;
        self.expired.clear();
        self.parts.clear();
        self.bytes.clear();
    }

    /// The request itself is the effect. Counts one change.
    #[inline]
    pub fn verbatim(&mut self) {
        self.changes += 1;
        if self.listened {
            self.parts.push(Own::Request);
        }
    }

    /// This command instead of the request. Counts one change.
    #[inline]
    pub fn command(&mut self, db: usize, words: &[&[u8]]) {
        self.changes += 1;
        if self.listened {
            let own = self.encode(db, words);
            self.parts.push(own);
        }
    }

    /// A key that was found expired; goes out before the parts of the command.
    pub fn expired(&mut self, db: usize, key: &[u8]) {
        self.changes += 1;
        if self.listened {
            let verb: &[u8] = if self.unlinks_expired { b"UNLINK" } else { b"DEL" };
            let own = self.encode(db, &[verb, key]);
            self.expired.push(own);
        }
    }

    /// The command found nothing, and may be run again when one of its keys has got something
    /// (`blocking.rs`).
    pub fn wait(&mut self) {
        self.waits = true;
    }

    /// Did a command say so since this was last asked?
    #[inline]
    pub fn take_wait(&mut self) -> bool {
        std::mem::take(&mut self.waits)
    }

    /// The command changed `more` keys besides the one that its part counted.
    pub fn changed(&mut self, more: u64) {
        self.changes += more;
    }

    /// Changes to the data since [`Effect::clear`].
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// How many parts; more than one belong together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.expired.len() + self.parts.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Parts so far, for [`Effect::adopt`] and [`Effect::withdraw`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.parts.len()
    }

    /// What a script's command did since `mark` stands for itself: the request was the script.
    pub fn adopt(&mut self, mark: usize, db: usize, words: &[&[u8]]) {
        for at in mark..self.parts.len() {
            if matches!(self.parts[at], Own::Request) {
                self.parts[at] = self.encode(db, words);
            }
        }
    }

    /// No replica is to do what was done since `mark`.
    pub fn withdraw(&mut self, mark: usize) {
        self.parts.truncate(mark);
    }

    /// What a replica must do, in this order.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.expired.iter().chain(&self.parts).map(|own| match own {
            Own::Request => Part::Request,
            Own::Command { db, bytes } => {
                Part::Command { db: *db, resp: &self.bytes[bytes.clone()] }
            }
        })
    }

    fn encode(&mut self, db: usize, words: &[&[u8]]) -> Own {
        let start = self.bytes.len();
        write_request(&mut self.bytes, words);
        Own::Command { db, bytes: start..self.bytes.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expired_keys_go_first_and_silence_costs_nothing() {
        let mut effect = Effect::default();
        for listened in [false, true] {
            effect.listen(listened);
            effect.clear();
            effect.verbatim();
            effect.command(1, &[b"PERSIST", b"k"]);
            effect.changed(3);
            effect.expired(2, b"x");
            assert_eq!(effect.changes(), 6);
            let parts: Vec<Part<'_>> = effect.parts().collect();
            if listened {
                let del = Part::Command { db: 2, resp: b"*2\r\n$3\r\nDEL\r\n$1\r\nx\r\n" };
                let persist = Part::Command { db: 1, resp: b"*2\r\n$7\r\nPERSIST\r\n$1\r\nk\r\n" };
                assert_eq!(parts, [del, Part::Request, persist]);
            } else {
                assert!(parts.is_empty() && effect.is_empty() && effect.bytes.capacity() == 0);
            }
        }
        effect.clear();
        assert_eq!((effect.len(), effect.changes()), (0, 0));
    }
}
