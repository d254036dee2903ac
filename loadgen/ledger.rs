//! The ledger of acknowledged writes: what the server must still have when all is over.
//!
//! Every connection writes keys of its own (`key % connections` is its number) and has its replies
//! in the order of its requests, so each key has one history in one order. The ledger keeps two
//! numbers of it: the last write sent and the last write acknowledged. What is read back must be the
//! acknowledged write or a later one that was sent: a write without its reply may have happened.
//!
//! A value begins with its write's number, `request * connections + connection`, from which the plan
//! can draw the whole request again. So the ledger needs not keep the value to check every byte.
//!
//! Not here: reading back (`fresh.rs`), and drawing requests (`source.rs`).

use crate::draw::to_usize;

/// Per key: write numbers plus one; 0 is none.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    sent: Vec<u64>,
    acknowledged: Vec<u64>,
}

/// What is wrong with a key that was read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No value, though a write was acknowledged.
    Lost,
    /// A value older than the acknowledged one.
    Old,
    /// A value that was never written there.
    Wrong,
}

impl Ledger {
    #[must_use]
    pub fn new(keys: u64) -> Self {
        let none = vec![0; to_usize(keys)];
        Self { sent: none.clone(), acknowledged: none }
    }

    pub fn sent(&mut self, key: u64, number: u64) {
        raise(&mut self.sent, key, number + 1);
    }

    pub fn acknowledged(&mut self, key: u64, number: u64) {
        raise(&mut self.acknowledged, key, number + 1);
    }

    /// Takes in what another thread wrote; it wrote other keys.
    pub fn merge(&mut self, other: &Self) {
        let pairs = [(&mut self.sent, &other.sent), (&mut self.acknowledged, &other.acknowledged)];
        for (own, theirs) in pairs {
            own.iter_mut().zip(theirs).for_each(|(own, theirs)| *own = (*own).max(*theirs));
        }
    }

    /// Every key that was written: its number, and its last writes sent and acknowledged, each as
    /// number plus one, 0 for none.
    pub fn entries(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let both = self.sent.iter().zip(&self.acknowledged);
        let all = (0u64..).zip(both).map(|(key, (sent, acknowledged))| (key, *sent, *acknowledged));
        all.filter(|it| it.1 > 0)
    }

    /// Takes in one of [`Self::entries`].
    pub fn restore(&mut self, key: u64, sent: u64, acknowledged: u64) {
        raise(&mut self.sent, key, sent);
        raise(&mut self.acknowledged, key, acknowledged);
    }

    /// Keys with an acknowledged write.
    pub fn keys(&self) -> impl Iterator<Item = u64> {
        (0u64..).zip(&self.acknowledged).filter(|(_, number)| **number > 0).map(|(key, _)| key)
    }

    /// Judges what `key` held: nothing, or a value with the number on it. `written` says whether
    /// that write, drawn again from the plan, went to this key with exactly this value.
    pub fn judge(
        &self,
        key: u64,
        number: Option<Option<u64>>,
        written: impl FnOnce(u64) -> bool,
    ) -> Result<(), Fault> {
        let at = |list: &[u64]| list.get(to_usize(key)).copied().unwrap_or(0);
        let (sent, acknowledged) = (at(&self.sent), at(&self.acknowledged));
        match number {
            None if acknowledged > 0 => Err(Fault::Lost),
            None => Ok(()),
            Some(None) => Err(Fault::Wrong),
            Some(Some(number)) if number >= sent || !written(number) => Err(Fault::Wrong),
            Some(Some(number)) if number + 1 < acknowledged => Err(Fault::Old),
            Some(Some(_)) => Ok(()),
        }
    }
}

fn raise(list: &mut [u64], key: u64, number: u64) {
    if let Some(it) = list.get_mut(to_usize(key)) {
        *it = (*it).max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Key 3 had the writes 5 and 8 acknowledged and 11 only sent.
    fn history() -> Ledger {
        let mut ledger = Ledger::new(10);
        for number in [5, 8] {
            ledger.sent(3, number);
            ledger.acknowledged(3, number);
        }
        ledger.sent(3, 11);
        ledger
    }

    #[test]
    fn planted_faults_are_found() {
        let ledger = history();
        let written = |number| [5, 8, 11].contains(&number);
        let check = |read, expected| assert_eq!(ledger.judge(3, read, written), expected);
        check(Some(Some(8)), Ok(()));
        check(Some(Some(11)), Ok(()));
        check(None, Err(Fault::Lost));
        check(Some(Some(5)), Err(Fault::Old));
        check(Some(Some(9)), Err(Fault::Wrong));
        check(Some(Some(14)), Err(Fault::Wrong));
        check(Some(None), Err(Fault::Wrong));
        assert_eq!(ledger.judge(4, None, written), Ok(()));
        assert_eq!(ledger.keys().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn threads_add_up() {
        let mut merged = Ledger::new(10);
        merged.sent(1, 1);
        merged.acknowledged(1, 1);
        merged.merge(&history());
        assert_eq!(merged.keys().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(merged.judge(3, None, |_| true), Err(Fault::Lost));
    }
}
