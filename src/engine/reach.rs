//! Which keys a command may look at that it does not name: those of BY and GET of SORT.
//!
//! They follow from what other keys hold, so nobody knows them before the command runs. A shard has its own
//! keys, and for the time of a transaction those of other shards that were lent to it; of any other it
//! cannot say whether they are there. The command that meets one notes it and is refused; the node lends
//! what was noted and runs it again (`node/rehearsal.rs`).
//!
//! Not here: how keys are lent, and by whom.

use crate::base::limits::SLOTS;
use crate::base::map::HashSet;
use crate::command::keys::slot;

/// See the file's header.
#[derive(Debug, Default)]
pub struct Reach {
    share: Share,
    lent: HashSet<(usize, Box<[u8]>)>,
    lacking: Vec<(usize, Box<[u8]>)>,
}

/// Which keys are a shard's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    #[default]
    All,
    /// Those of one core of several.
    Core { id: usize, cores: usize },
    /// Only what is lent.
    None,
}

impl Reach {
    #[must_use]
    pub fn new(share: Share) -> Self {
        Self { share, ..Self::default() }
    }

    /// Can it be said here what this key holds? If not, that is noted.
    pub fn has(&mut self, db: usize, key: &[u8]) -> bool {
        let own = match self.share {
            Share::All => true,
            Share::Core { id, cores } => usize::from(slot(key)) * cores / usize::from(SLOTS) == id,
            Share::None => false,
        };
        if own || (!self.lent.is_empty() && self.lent.contains(&(db, key.into()))) {
            return true;
        }
        self.lacking.push((db, key.into()));
        false
    }

    /// The keys noted since this was last asked.
    pub fn take_lacking(&mut self) -> Vec<(usize, Box<[u8]>)> {
        std::mem::take(&mut self.lacking)
    }

    /// These keys are here besides the shard's own; with none of them that ends.
    pub fn lend(&mut self, keys: impl Iterator<Item = (usize, Box<[u8]>)>) {
        self.lent.clear();
        self.lent.extend(keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_own_nor_lent_is_noted() {
        let mut reach = Reach::new(Share::Core { id: 0, cores: 2 });
        // Slots 12739 and 449.
        assert!(!reach.has(0, b"foo{1}123456789") || reach.take_lacking().is_empty());
        let mut reach = Reach::new(Share::None);
        assert!(!reach.has(1, b"a"));
        assert_eq!(reach.take_lacking(), [(1, b"a".as_slice().into())]);
        reach.lend([(1, b"a".as_slice().into())].into_iter());
        assert!(reach.has(1, b"a") && !reach.has(0, b"a"));
        reach.lend(std::iter::empty());
        assert!(!reach.has(1, b"a"));
        assert!(Reach::default().has(0, b"whatever"));
    }
}
