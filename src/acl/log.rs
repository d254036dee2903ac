//! The log of what was refused, newest first: the same refusal within a minute is counted, not
//! logged again.

use crate::base::time::Wall;
use std::collections::VecDeque;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Command,
    Key,
    Channel,
    Auth,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    Toplevel,
    Multi,
    Script,
}

/// Refusals of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub id: u64,
    pub count: u64,
    pub why: Why,
    pub context: Context,
    /// The command, key or channel.
    pub object: Vec<u8>,
    pub user: Vec<u8>,
    /// The client that last was refused so, as CLIENT LIST shows it.
    pub client: Vec<u8>,
    pub created: Wall,
    pub updated: Wall,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct RefusalLog {
    entries: VecDeque<Entry>,
}

const SAME_WITHIN_MS: u64 = 60_000;
/// So many of the newest entries are looked at for the same refusal.
const LOOKED_AT: usize = 10;

impl RefusalLog {
    /// Notes a refusal; keeps at most `max` entries.
    pub fn note(&mut self, entry: Entry, max: usize) {
        let same = self.entries.iter().take(LOOKED_AT).position(|it| it.is_like(&entry));
        match same.and_then(|at| self.entries.remove(at)) {
            Some(older) => {
                let (id, created) = (older.id, older.created);
                let count = older.count + entry.count;
                self.entries.push_front(Entry { id, count, created, ..entry });
            }
            None => self.entries.push_front(entry),
        }
        self.entries.truncate(max);
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// The newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }
}

impl Entry {
    fn is_like(&self, other: &Self) -> bool {
        let apart = self.updated.ms().abs_diff(other.updated.ms());
        (self.why, self.context) == (other.why, other.context)
            && apart <= SAME_WITHIN_MS
            && self.object == other.object
            && self.user == other.user
    }
}

impl Why {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Key => "key",
            Self::Channel => "channel",
            Self::Auth => "auth",
        }
    }
}

impl Context {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Toplevel => "toplevel",
            Self::Multi => "multi",
            Self::Script => "lua",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_refusal_is_counted_and_the_log_is_bounded() {
        let mut log = RefusalLog::default();
        let entry = |object: &str, second: u64| Entry {
            id: second,
            count: 1,
            why: Why::Key,
            context: Context::Toplevel,
            object: object.into(),
            user: b"u".to_vec(),
            client: Vec::new(),
            created: Wall(second * 1_000_000),
            updated: Wall(second * 1_000_000),
        };
        for (object, second) in [("a", 1), ("b", 2), ("a", 3), ("a", 90), ("c", 91)] {
            log.note(entry(object, second), 3);
        }
        let seen: Vec<_> = log
            .iter()
            .map(|it| (it.object.as_slice(), it.count, it.created.ms() / 1_000))
            .collect();
        assert_eq!(seen, [(&b"c"[..], 1, 91), (b"a", 1, 90), (b"a", 2, 1)]);
    }
}
