//! Keyspace notifications: what happened to keys, in the order in which it did, for whoever listens.
//!
//! A command says what it did by name (`Cx::notify`), the keyspace says what it does by itself: a key that is
//! new, expired, evicted or was looked for in vain. Where the setting `notify-keyspace-events` asks for none of a
//! class, that is one test of a bit. The names and their order are those of redis-server 7.0.
//!
//! Trap: a value that only passes through this shard on its way to another core's command is no new key;
//! `unpack` (`parcel.rs`) keeps that quiet.
//!
//! Not here: channels and who listens (`node/notices.rs`).

use super::keyspace::Keyspace;
use super::shard::Cx;

/// What an event is about, as a bit of the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Generic = 1,
    String = 2,
    List = 4,
    Set = 8,
    Hash = 16,
    SortedSet = 32,
    Expired = 64,
    Evicted = 128,
    Stream = 256,
    KeyMiss = 512,
    New = 1_024,
}

/// What the setting asks for: classes, and on which channels they are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    classes: u16,
    /// `K`: the channel is named after the key.
    pub by_key: bool,
    /// `E`: the channel is named after the event.
    pub by_event: bool,
}

/// Something that happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice<'a> {
    pub db: usize,
    pub event: &'static str,
    pub key: &'a [u8],
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct Notices {
    classes: u16,
    names: Vec<u8>,
    /// Database, event, and where the key's name ends in `names`.
    list: Vec<(usize, &'static str, usize)>,
}

impl Wanted {
    /// Of the letters of the setting, which the table has checked. `A` is all but `m` and `n`.
    #[must_use]
    pub fn parse(letters: &[u8]) -> Self {
        let mut wanted = Self::default();
        for letter in letters {
            wanted.classes |= match letter {
                b'g' => Class::Generic as u16,
                b'$' => Class::String as u16,
                b'l' => Class::List as u16,
                b's' => Class::Set as u16,
                b'h' => Class::Hash as u16,
                b'z' => Class::SortedSet as u16,
                b'x' => Class::Expired as u16,
                b'e' => Class::Evicted as u16,
                b't' => Class::Stream as u16,
                b'm' => Class::KeyMiss as u16,
                b'n' => Class::New as u16,
                b'A' => Class::KeyMiss as u16 - 1,
                _ => 0,
            };
            wanted.by_key |= *letter == b'K';
            wanted.by_event |= *letter == b'E';
        }
        wanted
    }

    /// Is anything told on any channel?
    #[must_use]
    pub fn is_any(self) -> bool {
        self.classes != 0 && (self.by_key || self.by_event)
    }
}

impl Notices {
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In the order in which they happened.
    pub fn iter(&self) -> impl Iterator<Item = Notice<'_>> {
        let mut start = 0;
        self.list.iter().map(move |&(db, event, end)| {
            let key = &self.names[std::mem::replace(&mut start, end)..end];
            Notice { db, event, key }
        })
    }

    #[cold]
    fn add(&mut self, db: usize, event: &'static str, key: &[u8]) {
        self.names.extend_from_slice(key);
        self.list.push((db, event, self.names.len()));
    }
}

impl Keyspace {
    /// `notify-keyspace-events`.
    pub fn set_wanted(&mut self, wanted: Wanted) {
        self.notices.classes = if wanted.is_any() { wanted.classes } else { 0 };
    }

    /// Something happened to a key.
    #[inline]
    pub fn notify(&mut self, db: usize, class: Class, event: &'static str, key: &[u8]) {
        if self.wants(class) {
            self.notices.add(db, event, key);
        }
    }

    /// Does anybody want to hear of that class?
    #[inline]
    pub(super) fn wants(&self, class: Class) -> bool {
        self.notices.classes & class as u16 != 0
    }

    /// Does anything wait to be told: what happened, what changed, or what has expired?
    #[inline]
    #[must_use]
    pub fn has_leftovers(&self) -> bool {
        self.has_expired() | !self.notices.is_empty() | self.has_changed()
    }

    /// What waits to be told; given back by `reuse_notices`.
    pub fn take_notices(&mut self) -> Notices {
        let none = Notices { classes: self.notices.classes, ..Notices::default() };
        std::mem::replace(&mut self.notices, none)
    }

    /// Keeps the memory of what was told.
    pub fn reuse_notices(&mut self, mut told: Notices) {
        told.names.clear();
        told.list.clear();
        told.classes = self.notices.classes;
        if self.notices.is_empty() {
            self.notices = told;
        }
    }

    /// From here on nothing is noticed, until `be_heard` gets what this answers.
    pub(super) fn be_quiet(&mut self) -> u16 {
        std::mem::take(&mut self.notices.classes)
    }

    pub(super) fn be_heard(&mut self, classes: u16) {
        self.notices.classes = classes;
    }
}

impl Cx<'_> {
    /// The command did that to a key of its database.
    #[inline]
    pub(crate) fn notify(&mut self, class: Class, event: &'static str, key: &[u8]) {
        self.keyspace.notify(self.db, class, event, key);
    }

    /// As `notify`, of what may have taken the last element and so the key with it.
    #[inline]
    pub(crate) fn notify_taken(&mut self, class: Class, event: &'static str, key: &[u8]) {
        self.notify(class, event, key);
        if self.keyspace.emptied {
            self.notify(Class::Generic, "del", key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letters_of_the_setting() {
        let check = |letters: &str, expected: &[Class]| {
            let wanted = Wanted::parse(letters.as_bytes());
            assert_eq!(
                wanted.classes,
                expected.iter().map(|it| *it as u16).sum::<u16>(),
                "{letters}"
            );
            assert_eq!(wanted.is_any(), letters.contains(['K', 'E']) && !expected.is_empty());
        };
        use Class::*;
        let all = [Generic, String, List, Set, Hash, SortedSet, Expired, Evicted, Stream];
        check("", &[]);
        check("KE", &[]);
        check("A", &all);
        check("KA", &all);
        check("g$lshzxetdE", &all);
        check("Kmn", &[KeyMiss, New]);
        check("EAmn", &[&all[..], &[KeyMiss, New]].concat());
    }
}
