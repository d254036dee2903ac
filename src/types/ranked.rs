//! A large sorted set: members with scores, found by name and by rank.
//!
//! ```text
//!   ranks   Scored { score, member }         24 bytes   ordered by score, then member
//!   names   Named  { hash, score, member }   28 bytes   ordered by hash, then member
//! ```
//!
//! Both are counted trees of shared nodes (`tree.rs`), so that a clone is two roots; a long member is one
//! allocation for both. The 32-bit hash orders names for lookups and is the cursor of a scan: what is
//! there throughout is met, whatever happens meanwhile, since a page ends on a whole hash.
//!
//! Scores compare as numbers do: -0 is 0 here, and setting one over the other changes nothing, as in Redis.
//!
//! Trap: a score is never NaN; whoever calculates one asks first.
//!
//! Not here: the packed form, and when it is outgrown.

use std::cmp::Ordering;
use std::ops::Range;

use super::member::Member;
use super::tree::{Item, Tree};

#[derive(Clone, Debug)]
struct Scored {
    score: f64,
    member: Member,
}

#[derive(Clone, Debug)]
struct Named {
    hash: u32,
    /// As bytes: an f64 would cost four more to be aligned.
    score: [u8; 8],
    member: Member,
}

const _: () = assert!(size_of::<Scored>() == 24 && size_of::<Named>() == 28);

/// Members and scores.
#[derive(Clone, Default)]
pub struct Ranked {
    ranks: Tree<Scored>,
    names: Tree<Named>,
}

impl Item for Scored {
    fn heap_bytes(&self) -> usize {
        self.member.heap_bytes()
    }

    fn separator(&self) -> Self {
        self.clone()
    }
}

impl Item for Named {
    // The member's bytes are counted where it is ranked.
    fn separator(&self) -> Self {
        self.clone()
    }
}

impl Scored {
    #[inline]
    fn compare(&self, score: f64, member: &[u8]) -> Ordering {
        // Never NaN, so never `None`.
        let by_score = self.score.partial_cmp(&score).unwrap_or(Ordering::Equal);
        by_score.then_with(|| self.member.compare(member))
    }
}

impl Named {
    #[inline]
    fn compare(&self, hash: u32, member: &[u8]) -> Ordering {
        self.hash.cmp(&hash).then_with(|| self.member.compare(member))
    }

    fn score(&self) -> f64 {
        f64::from_le_bytes(self.score)
    }
}

/// The half that orders names.
#[inline]
fn short(hash: u64) -> u32 {
    (hash >> 32) as u32
}

impl Ranked {
    #[must_use]
    pub fn len(&self) -> usize {
        self.ranks.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }

    /// About the bytes of all nodes and members, shared ones included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.ranks.bytes() + self.names.bytes()
    }

    #[inline]
    #[must_use]
    pub fn score(&self, hash: u64, member: &[u8]) -> Option<f64> {
        let hash = short(hash);
        self.names.find(|it| it.compare(hash, member)).map(Named::score)
    }

    /// The rank of a member from the lowest score on, and its score.
    #[must_use]
    pub fn rank(&self, hash: u64, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(hash, member)?;
        let rank = self.ranks.seek(|it| it.compare(score, member));
        Some((rank.unwrap_or_else(|_| panic!("a member with a score has a rank")), score))
    }

    /// Gives a member a score; the one that it had.
    ///
    /// # Panics
    /// `score` is NaN.
    pub fn insert(&mut self, hash: u64, member: &[u8], score: f64) -> Option<f64> {
        let mut old = None;
        self.update(hash, member, |it| {
            old = it;
            Some(score)
        });
        old
    }

    /// Gives a member the score that `decide` makes of the one that it has, if any; `None` leaves all as it is.
    ///
    /// # Panics
    /// The score is NaN.
    pub fn update(
        &mut self,
        hash: u64,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) {
        let hash = short(hash);
        let old = self.names.find(|it| it.compare(hash, member)).map(Named::score);
        let Some(score) = decide(old) else { return };
        assert!(!score.is_nan(), "a score is a number");
        let Some(old) = old else {
            let name = Member::new(member);
            let scored = Scored { score, member: name.clone() };
            self.ranks.insert_by(|it| it.compare(score, member), scored);
            let named = Named { hash, score: score.to_le_bytes(), member: name };
            self.names.insert_by(|it| it.compare(hash, member), named);
            return;
        };
        if old != score {
            let order = |it: &Named| it.compare(hash, member);
            self.names.edit_known(order, |it| it.score = score.to_le_bytes());
            let mut scored = self.ranks.remove_known(|it| it.compare(old, member));
            scored.score = score;
            self.ranks.insert_by(|it| it.compare(score, member), scored);
        }
    }

    /// Takes a member out; the score that it had.
    pub fn remove(&mut self, hash: u64, member: &[u8]) -> Option<f64> {
        let hash = short(hash);
        let score = self.names.remove_by(|it| it.compare(hash, member))?.score();
        self.ranks.remove_known(|it| it.compare(score, member));
        Some(score)
    }

    /// Takes out the members of these ranks, telling each before it goes, from the lowest on.
    ///
    /// # Panics
    /// The ranks go beyond the last.
    pub fn remove_ranks(
        &mut self,
        ranks: Range<usize>,
        hash: impl Fn(&[u8]) -> u64,
        each: &mut dyn FnMut(&[u8], f64),
    ) {
        for _ in ranks.clone() {
            let Scored { score, member } = self.ranks.remove(ranks.start);
            let hash = short(hash(member.bytes()));
            self.names.remove_known(|it| it.compare(hash, member.bytes()));
            each(member.bytes(), score);
        }
    }

    /// The rank of the first member that does not lie before what is meant: `before` says of which do, and
    /// says so of none behind one that does not.
    pub fn border(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        let order = |it: &Scored| {
            if before(it.score, it.member.bytes()) { Ordering::Less } else { Ordering::Greater }
        };
        self.ranks.seek(order).unwrap_or_else(|rank| rank)
    }

    #[must_use]
    pub fn at(&self, rank: usize) -> Option<(&[u8], f64)> {
        self.ranks.get(rank).map(|(it, _)| (it.member.bytes(), it.score))
    }

    /// Members with scores from this rank upwards.
    pub fn iter_from(&self, rank: usize) -> impl Iterator<Item = (&[u8], f64)> {
        self.ranks.iter_from(rank).map(|it| (it.member.bytes(), it.score))
    }

    /// Members with scores from this rank, or the last, downwards.
    pub fn iter_back_from(&self, rank: usize) -> impl Iterator<Item = (&[u8], f64)> {
        self.ranks.iter_back_from(rank).map(|it| (it.member.bytes(), it.score))
    }

    /// Goes through about `count` members from a cursor on, 0 being the beginning; the next cursor, unless
    /// that was the end.
    pub fn scan(&self, from: u64, count: usize, each: &mut dyn FnMut(&[u8], f64)) -> Option<u64> {
        let from = u32::try_from(from).ok()?;
        let order = |it: &Named| it.hash.cmp(&from).then(Ordering::Greater);
        let start = self.names.seek(order).unwrap_or_else(|position| position);
        let mut last = None;
        for (told, it) in self.names.iter_from(start).enumerate() {
            if told >= count.max(1) && last != Some(it.hash) {
                return Some(u64::from(it.hash));
            }
            each(it.member.bytes(), it.score());
            last = Some(it.hash);
        }
        None
    }

    /// Frees nodes and takes their number off `budget`; true: nothing is left. Of no other use from then on.
    pub fn free_some(&mut self, budget: &mut usize) -> bool {
        if !self.names.is_empty() {
            let len = self.names.len();
            if self.names.free_some(*budget) {
                *budget = 0;
                return false;
            }
            // How much of it was shared, and so cost nothing, is not told: taken as if none was.
            *budget = budget.saturating_sub(len);
        }
        if *budget == 0 && !self.ranks.is_empty() {
            return false;
        }
        let len = self.ranks.len();
        let more = self.ranks.free_some(*budget);
        *budget = if more { 0 } else { budget.saturating_sub(len) };
        !more
    }
}

impl std::fmt::Debug for Ranked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.iter_from(0).map(|(it, score)| (it.escape_ascii(), score)))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::BTreeMap;

    type Model = BTreeMap<Vec<u8>, f64>;

    /// Few hashes, so that many members share one.
    fn hash(member: &[u8]) -> u64 {
        (member.iter().fold(7, |sum, &it| (sum * 31 + u64::from(it)) % 9_973) % 97) << 32
    }

    fn listed(ranked: &Ranked) -> Vec<(Vec<u8>, f64)> {
        ranked.iter_from(0).map(|(member, score)| (member.to_vec(), score)).collect()
    }

    fn sorted(model: &Model) -> Vec<(Vec<u8>, f64)> {
        let mut all: Vec<_> =
            model.iter().map(|(member, &score)| (member.clone(), score)).collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        all
    }

    fn check(ranked: &Ranked, model: &Model) {
        let all = sorted(model);
        assert_eq!(listed(ranked), all);
        assert_eq!(ranked.len(), all.len());
        let mut back: Vec<_> =
            ranked.iter_back_from(usize::MAX).map(|(it, score)| (it.to_vec(), score)).collect();
        back.reverse();
        assert_eq!(back, all);
        for (rank, (member, score)) in all.iter().enumerate() {
            assert_eq!(ranked.rank(hash(member), member), Some((rank, *score)));
            assert_eq!(ranked.at(rank), Some((&member[..], *score)));
        }
        for bound in [-5.0, 0.0, 3.0, 100.0, f64::INFINITY] {
            let below = all.iter().filter(|it| it.1 < bound).count();
            assert_eq!(ranked.border(|score, _| score < bound), below);
        }
        let (mut met, mut from) = (Vec::new(), Some(0));
        while let Some(cursor) = from {
            from = ranked.scan(cursor, 10, &mut |member, score| met.push((member.to_vec(), score)));
        }
        met.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        assert_eq!(met, all);
    }

    #[test]
    fn random_changes_equal_those_of_a_map_and_leave_clones_alone() {
        let seed = 0x5e7;
        let mut prng = Prng::new(seed);
        let (mut ranked, mut model) = (Ranked::default(), Model::new());
        let mut kept: Option<(Ranked, Model)> = None;
        for step in 0..30_000 {
            let number = prng.below(2_000);
            let member = match number % 3 {
                0 => format!("a member that is too long to lie inline {number}"),
                _ => number.to_string(),
            };
            let member = member.as_bytes();
            // It grows at first, and shrinks at last.
            if prng.below(30_000) > step / 2 + 5_000 {
                let score = prng.below(40) as f64 - 10.0;
                let old = model.insert(member.to_vec(), score);
                assert_eq!(ranked.insert(hash(member), member, score), old, "seed {seed}");
            } else {
                assert_eq!(ranked.remove(hash(member), member), model.remove(member));
            }
            if step % 5_000 == 4_999 {
                check(&ranked, &model);
                if let Some((ranked, model)) = &kept {
                    check(ranked, model);
                }
                kept = Some((ranked.clone(), model.clone()));
            }
        }
        let all = sorted(&model);
        let (low, high) = (all.len() / 4, all.len() / 2);
        let mut gone = Vec::new();
        ranked.remove_ranks(low..high, hash, &mut |it, score| gone.push((it.to_vec(), score)));
        assert_eq!(gone, all[low..high]);
        gone.iter().for_each(|(member, _)| {
            model.remove(member);
        });
        check(&ranked, &model);
    }

    #[test]
    fn minus_zero_is_zero() {
        let mut ranked = Ranked::default();
        ranked.insert(hash(b"b"), b"b", -0.0);
        ranked.insert(hash(b"a"), b"a", 0.0);
        assert_eq!(ranked.at(0), Some((&b"a"[..], 0.0)));
        assert_eq!(ranked.insert(hash(b"b"), b"b", 0.0), Some(0.0));
        assert!(ranked.at(1).is_some_and(|(_, score)| score.is_sign_negative()));
        assert!(format!("{ranked:?}").contains("-0.0"));
    }

    #[test]
    fn it_is_freed_in_slices() {
        let mut ranked = Ranked::default();
        for n in 0..20_000_u32 {
            let member = format!("member number {n}, which is long");
            ranked.insert(hash(member.as_bytes()), member.as_bytes(), f64::from(n));
        }
        assert!(ranked.bytes() > 20_000 * 52);
        let clone = ranked.clone();
        // Shared nodes cost nothing to let go of: a slice for each tree.
        assert!(!ranked.free_some(&mut 1_000) && ranked.free_some(&mut 1_000));
        assert!(ranked.is_empty() && listed(&clone).len() == 20_000);
        let (mut ranked, mut slices) = (clone, 0);
        loop {
            let mut budget = 1_000;
            slices += 1;
            if ranked.free_some(&mut budget) {
                break;
            }
        }
        assert!((30..80).contains(&slices), "{slices}");
        assert!(ranked.is_empty());
    }
}
