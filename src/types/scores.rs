//! A sorted set, read and changed in whichever form it is held.
//!
//! Small ones are a listpack of members and scores in turn, in the order of the set; one that outgrows the
//! settings becomes a `Ranked` and stays one, as in Redis. In a listpack a score that is whole is kept as an
//! integer, so -0 is 0 there; all others as the text of `%.17g`.
//!
//! Ranges are ranges of ranks: whoever asks by score or by name finds the borders first.
//!
//! Trap: a score is never NaN; whoever calculates one asks first.

use std::cmp::Ordering;
use std::ops::Range;

use super::object::{Body, Object};
use super::packed::{self, Item, Needle, Packed};
use super::packing::{PACKED_BYTES_MAX, Packing};
use super::ranked::Ranked;
use super::record::Encoding;
use super::store::{Hasher, ValueRef};
use crate::base::num;

/// Members with scores.
#[derive(Clone, Copy, Debug)]
pub enum Scores<'a> {
    Packed(Packed<'a>),
    Ranked(&'a Ranked),
}

impl<'a> Scores<'a> {
    /// Of a value that is a sorted set.
    #[inline]
    #[must_use]
    pub fn of(value: ValueRef<'a>) -> Self {
        match value.object() {
            Some(Object::ZSet(ranked)) => Self::Ranked(ranked),
            Some(_) => panic!("not a sorted set"),
            None => Self::Packed(Packed::new(value.bytes())),
        }
    }

    /// Of a sorted set that is being changed.
    #[must_use]
    pub fn of_body(body: &'a Body) -> Self {
        Self::of(ValueRef::of_body(body))
    }

    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(packed) => packed.len() / 2,
            Self::Ranked(ranked) => ranked.len(),
        }
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The score of a member; `hash` is asked where it is needed.
    #[inline]
    #[must_use]
    pub fn score(self, hash: impl FnOnce(&[u8]) -> u64, member: &[u8]) -> Option<f64> {
        match self {
            Self::Packed(packed) => packed.find_value(member).map(|at| number(packed.get(at))),
            Self::Ranked(ranked) => ranked.score(hash(member), member),
        }
    }

    /// The rank of a member from the lowest score on, and its score.
    #[must_use]
    pub fn rank(self, hash: impl FnOnce(&[u8]) -> u64, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Self::Packed(packed) => {
                let needle = Needle::new(member);
                let (rank, (_, score)) =
                    packed.pairs().enumerate().find(|(_, (it, _))| it.is(needle))?;
                Some((rank, number(score)))
            }
            Self::Ranked(ranked) => ranked.rank(hash(member), member),
        }
    }

    #[must_use]
    pub fn at(self, rank: usize) -> Option<(Item<'a>, f64)> {
        match self {
            Self::Packed(packed) => {
                packed.pairs().nth(rank).map(|(member, score)| (member, number(score)))
            }
            Self::Ranked(ranked) => {
                ranked.at(rank).map(|(member, score)| (Item::Bytes(member), score))
            }
        }
    }

    /// All members with scores where going to a rank takes long, so that it is done once; else none.
    #[must_use]
    pub fn listed(self) -> Vec<(Item<'a>, f64)> {
        match self {
            Self::Packed(packed) => packed.pairs().map(|(it, score)| (it, number(score))).collect(),
            Self::Ranked(_) => Vec::new(),
        }
    }

    /// The ranks between those of whom `below` is true, which all lie in front, and those of whom `within` is
    /// false, which all lie behind.
    #[must_use]
    pub fn between(
        self,
        below: impl Fn(f64, &[u8]) -> bool,
        within: impl Fn(f64, &[u8]) -> bool,
    ) -> Range<usize> {
        match self {
            Self::Packed(packed) => {
                let pairs = packed.pairs().map(|(member, score)| (member, number(score)));
                let (mut start, mut end) = (0, 0);
                for (member, score) in pairs {
                    let member = member.text();
                    if end == start && below(score, &member) {
                        (start, end) = (start + 1, end + 1);
                    } else if within(score, &member) {
                        end += 1;
                    } else {
                        break;
                    }
                }
                start..end
            }
            Self::Ranked(ranked) => {
                let start = ranked.border(&below);
                let end =
                    ranked.border(|score, member| below(score, member) || within(score, member));
                start..end.max(start)
            }
        }
    }

    /// The members of these ranks upwards, or downwards from the last, until `each` says false.
    pub fn walk(
        self,
        ranks: Range<usize>,
        down: bool,
        each: &mut dyn FnMut(Item<'a>, f64) -> bool,
    ) {
        let count = ranks.len();
        if count == 0 {
            return;
        }
        match (self, down) {
            (Self::Packed(packed), false) => {
                let first = packed.iter().nth_offset(2 * ranks.start);
                let mut items = packed.iter_from(first);
                for _ in 0..count {
                    let (Some(member), Some(score)) = (items.next(), items.next()) else { return };
                    if !each(member, number(score)) {
                        return;
                    }
                }
            }
            (Self::Packed(packed), true) => {
                let behind = self.len().saturating_sub(ranks.end);
                let last = packed.iter_back().nth_offset(2 * behind);
                let mut items = packed.iter_back_from(last);
                for _ in 0..count {
                    let (Some(score), Some(member)) = (items.next(), items.next()) else { return };
                    if !each(member, number(score)) {
                        return;
                    }
                }
            }
            (Self::Ranked(ranked), false) => {
                let mut members = ranked.iter_from(ranks.start).take(count);
                members.all(|(member, score)| each(Item::Bytes(member), score));
            }
            (Self::Ranked(ranked), true) => {
                let mut members = ranked.iter_back_from(ranks.end - 1).take(count);
                members.all(|(member, score)| each(Item::Bytes(member), score));
            }
        }
    }

    /// All members with scores, from the lowest, until `each` says false.
    pub fn all(self, each: &mut dyn FnMut(Item<'a>, f64) -> bool) {
        self.walk(0..self.len(), false, each);
    }
}

/// A sorted set without members.
#[must_use]
pub fn empty() -> Body {
    Body::Packed(Encoding::PackedZSet, packed::empty())
}

/// One without members that is no listpack from the beginning.
#[must_use]
pub fn empty_ranked() -> Body {
    Body::Object(Object::ZSet(Box::default()))
}

/// Gives a member a score; the one that it had.
///
/// # Panics
/// `score` is NaN.
pub fn put(
    body: &mut Body,
    packing: &Packing,
    hasher: &Hasher,
    member: &[u8],
    score: f64,
) -> Option<f64> {
    let mut old = None;
    update(body, packing, hasher, member, |it| {
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
    body: &mut Body,
    packing: &Packing,
    hasher: &Hasher,
    member: &[u8],
    decide: impl FnOnce(Option<f64>) -> Option<f64>,
) {
    let Body::Packed(_, bytes) = body else {
        return ranked(body).update(hasher.hash(member), member, decide);
    };
    let packed = Packed::new(bytes);
    let found = packed.find(packed.first(), Needle::new(member), 2);
    let old = found.and_then(|at| packed.next(at)).map(|at| number(packed.get(at)));
    let Some(score) = decide(old) else { return };
    assert!(!score.is_nan(), "a score is a number");
    if let Some(at) = found {
        if old != Some(score) {
            packed::remove(bytes, at, 2);
            place(bytes, member, score);
        }
    } else if packed.len() / 2 < packing.zset_entries
        && member.len() <= packing.zset_value_bytes
        && bytes.len() + member.len() < PACKED_BYTES_MAX
    {
        place(bytes, member, score);
    } else {
        unpack(body, hasher);
        ranked(body).insert(hasher.hash(member), member, score);
    }
}

fn ranked(body: &mut Body) -> &mut Ranked {
    let Body::Object(Object::ZSet(ranked)) = body else { panic!("not a sorted set") };
    ranked
}

/// Takes a member out; false: there is none.
pub fn remove(body: &mut Body, hasher: &Hasher, member: &[u8]) -> bool {
    match body {
        Body::Packed(_, bytes) => {
            let packed = Packed::new(bytes);
            let found = packed.find(packed.first(), Needle::new(member), 2);
            if let Some(at) = found {
                packed::remove(bytes, at, 2);
            }
            found.is_some()
        }
        Body::Object(_) => ranked(body).remove(hasher.hash(member), member).is_some(),
    }
}

/// Takes out the members of these ranks. Where they are most of a large one, the others move to a new one, and
/// the old one is given back, to be freed in slices.
///
/// # Panics
/// The ranks go beyond the last.
#[must_use]
pub fn remove_ranks(body: &mut Body, hasher: &Hasher, ranks: Range<usize>) -> Option<Object> {
    if let Body::Packed(_, bytes) = body {
        let first = Packed::new(bytes).iter().nth_offset(2 * ranks.start);
        if let Some(at) = first {
            packed::remove(bytes, at, 2 * ranks.len());
        }
        return None;
    }
    let old = ranked(body);
    let len = old.len();
    assert!(ranks.end <= len, "members are removed beyond the last");
    if ranks.len() <= len / 2 {
        old.remove_ranks(ranks, |member| hasher.hash(member), &mut |_, _| {});
        return None;
    }
    let mut rest = Ranked::default();
    let before = old.iter_from(0).take(ranks.start);
    for (member, score) in before.chain(old.iter_from(ranks.end)) {
        rest.insert(hasher.hash(member), member, score);
    }
    match std::mem::replace(body, Body::Object(Object::ZSet(Box::new(rest)))) {
        Body::Object(old) => Some(old),
        Body::Packed(..) => None,
    }
}

/// Of members no two of which are the same, in any order; packed where the settings allow it.
#[must_use]
pub fn of_pairs<M: AsRef<[u8]>>(
    mut pairs: Vec<(M, f64)>,
    packing: &Packing,
    hasher: &Hasher,
) -> Body {
    sort(&mut pairs);
    let bytes: usize = pairs.iter().map(|(member, _)| member.as_ref().len()).sum();
    let is_short = |(member, _): &(M, f64)| member.as_ref().len() <= packing.zset_value_bytes;
    if pairs.len() <= packing.zset_entries
        && pairs.iter().all(is_short)
        && bytes < PACKED_BYTES_MAX / 2
    {
        let mut list = packed::empty();
        pairs.iter().for_each(|(member, score)| push(&mut list, member.as_ref(), *score));
        return Body::Packed(Encoding::PackedZSet, list);
    }
    let mut ranked = Ranked::default();
    for (member, score) in &pairs {
        ranked.insert(hasher.hash(member.as_ref()), member.as_ref(), *score);
    }
    Body::Object(Object::ZSet(Box::new(ranked)))
}

/// By score, then by name.
pub fn sort<M: AsRef<[u8]>>(pairs: &mut [(M, f64)]) {
    pairs.sort_unstable_by(|a, b| order(a.1, a.0.as_ref(), b.1, b.0.as_ref()));
}

/// A listpack from outside, already validated as one, as a sorted set: in order, each member once, each
/// score a number. `None`: it is none.
#[must_use]
pub fn of_foreign(list: Vec<u8>, packing: &Packing, hasher: &Hasher) -> Option<Body> {
    let packed = Packed::new(&list);
    if !packed.len().is_multiple_of(2) {
        return None;
    }
    let mut pairs = Vec::with_capacity(packed.len() / 2);
    for (member, score) in packed.pairs() {
        let score = match score {
            Item::Int(_) => number(score),
            Item::Bytes(text) => num::parse_f64(text)?,
        };
        pairs.push((member.text().to_vec(), score));
    }
    let mut names: Vec<&[u8]> = pairs.iter().map(|(member, _)| member.as_slice()).collect();
    names.sort_unstable();
    if names.windows(2).any(|two| two[0] == two[1]) {
        return None;
    }
    let in_order = pairs.is_sorted_by(|a, b| order(a.1, &a.0, b.1, &b.0) != Ordering::Greater);
    let small = pairs.len() <= packing.zset_entries
        && pairs.iter().all(|(member, _)| member.len() <= packing.zset_value_bytes);
    if in_order && small || pairs.is_empty() {
        return Some(Body::Packed(Encoding::PackedZSet, list));
    }
    Some(of_pairs(pairs, packing, hasher))
}

/// The listpack of a `Ranked`, where the settings allow one.
#[must_use]
pub fn pack(ranked: &Ranked, packing: &Packing) -> Option<Body> {
    if ranked.len() > packing.zset_entries || ranked.bytes() > PACKED_BYTES_MAX {
        return None;
    }
    let mut list = packed::empty();
    for (member, score) in ranked.iter_from(0) {
        if member.len() > packing.zset_value_bytes {
            return None;
        }
        push(&mut list, member, score);
    }
    Some(Body::Packed(Encoding::PackedZSet, list))
}

/// Packed, where the settings allow it.
#[must_use]
pub fn packed_if_small(body: Body, packing: &Packing) -> Body {
    match &body {
        Body::Object(Object::ZSet(ranked)) => pack(ranked, packing).unwrap_or(body),
        _ => body,
    }
}

/// From a listpack to a `Ranked`.
pub fn unpack(body: &mut Body, hasher: &Hasher) {
    let mut ranked = Ranked::default();
    Scores::of_body(body).all(&mut |member, score| {
        let member = member.text();
        ranked.insert(hasher.hash(&member), &member, score);
        true
    });
    *body = Body::Object(Object::ZSet(Box::new(ranked)));
}

/// By score, then by name.
fn order(score: f64, member: &[u8], other: f64, other_member: &[u8]) -> Ordering {
    // Never NaN, so never `None`.
    score.partial_cmp(&other).unwrap_or(Ordering::Equal).then_with(|| member.cmp(other_member))
}

/// Puts a new member of a listpack where it belongs.
fn place(list: &mut Vec<u8>, member: &[u8], score: f64) {
    let packed = Packed::new(list);
    let behind = |it: Item<'_>, score_of_it: Item<'_>| {
        order(number(score_of_it), &it.text(), score, member) == Ordering::Greater
    };
    // Scores often come in order.
    let last = packed.last();
    let before_last = last.and_then(|at| packed.previous(at));
    let at = match (before_last, last) {
        (Some(it), Some(last)) if behind(packed.get(it), packed.get(last)) => {
            let (mut items, mut at) = (packed.iter(), packed.first());
            while let (Some(it), Some(score_of_it)) = (items.next(), items.next()) {
                if behind(it, score_of_it) {
                    break;
                }
                at = items.offset();
            }
            at.unwrap_or(packed.end())
        }
        _ => packed.end(),
    };
    let next = packed::insert(list, at, member);
    with_score(score, |item| packed::insert_item(list, next, item));
}

/// Puts a member behind all others.
fn push(list: &mut Vec<u8>, member: &[u8], score: f64) {
    packed::push(list, member);
    let end = Packed::new(list).end();
    with_score(score, |item| packed::insert_item(list, end, item));
}

/// The score as a listpack keeps it.
fn with_score<T>(score: f64, then: impl FnOnce(Item<'_>) -> T) -> T {
    /// Redis' `double2ll`: beyond, a text may be shorter than the digits of the integer.
    const WHOLE: f64 = (1_u64 << 52) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "checked by the comparison")]
    let whole = score as i64;
    #[expect(clippy::float_cmp, reason = "exactly whole is meant")]
    if score.abs() < WHOLE && whole as f64 == score {
        return then(Item::Int(whole));
    }
    let mut text = Vec::with_capacity(32);
    num::write_g17(&mut text, score);
    then(Item::of(&text))
}

/// A score of a listpack.
#[inline]
fn number(item: Item<'_>) -> f64 {
    match item {
        Item::Int(number) => number as f64,
        // Written here or checked when it came in.
        Item::Bytes(text) => {
            std::str::from_utf8(text).ok().and_then(|it| it.parse().ok()).unwrap_or(0.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::BTreeMap;

    fn hasher() -> Hasher {
        Hasher::new([1, 2, 3, 4])
    }

    fn listed(scores: Scores<'_>) -> Vec<(Vec<u8>, f64)> {
        let mut all = Vec::new();
        scores.all(&mut |member, score| {
            all.push((member.text().to_vec(), score));
            true
        });
        all
    }

    fn sorted(model: &BTreeMap<Vec<u8>, f64>) -> Vec<(Vec<u8>, f64)> {
        let mut all: Vec<_> = model.iter().map(|(it, score)| (it.clone(), *score)).collect();
        all.sort_by(|a, b| order(a.1, &a.0, b.1, &b.0));
        all
    }

    fn score_of(all: &[(Vec<u8>, f64)], rank: usize) -> &f64 {
        &all[rank].1
    }

    const SCORES: &[f64] = &[
        0.0,
        1.0,
        -1.0,
        0.1,
        1e17,
        -2.5,
        f64::INFINITY,
        f64::NEG_INFINITY,
        4_503_599_627_370_497.0,
    ];

    /// Up over the border between the forms and down again, against a map.
    #[test]
    fn both_forms_hold_what_a_map_holds() {
        let seed = 0x5c0;
        let mut prng = Prng::new(seed);
        let packing = Packing { zset_entries: 20, zset_value_bytes: 8, ..Packing::default() };
        for round in 0..200 {
            let (mut body, mut model) = (empty(), BTreeMap::new());
            for step in 0..60 {
                let name = prng.below(if round % 2 == 0 { 15 } else { 40 });
                let name =
                    if name.is_multiple_of(3) { format!("m{name}") } else { name.to_string() };
                let name = name.into_bytes();
                let pick = usize::try_from(prng.below(SCORES.len() as u64)).unwrap();
                if prng.below(60) + 10 > step {
                    let old = put(&mut body, &packing, &hasher(), &name, SCORES[pick]);
                    assert_eq!(old, model.insert(name, SCORES[pick]), "seed {seed}");
                } else {
                    let there = remove(&mut body, &hasher(), &name);
                    assert_eq!(there, model.remove(&name).is_some());
                }
            }
            let (all, scores) = (sorted(&model), Scores::of_body(&body));
            assert_eq!(listed(scores), all, "seed {seed}");
            assert!(round % 2 == 1 || matches!(body, Body::Packed(..)));
            for (rank, (member, score)) in all.iter().enumerate() {
                let hash = |it: &[u8]| hasher().hash(it);
                assert_eq!(scores.rank(hash, member), Some((rank, *score)));
                assert_eq!(scores.score(hash, member), Some(*score));
                assert_eq!(scores.at(rank).map(|it| it.1), Some(*score));
                let until = (rank + 5).min(all.len() - 1);
                let found = scores.between(
                    |score, it| (score, it) < (*score_of(&all, rank), member),
                    |score, it| (score, it) < (*score_of(&all, until), &all[until].0),
                );
                assert_eq!(found, rank..until);
            }
            let (from, to) = (all.len() / 4, all.len() / 2);
            for down in [false, true] {
                let mut met = Vec::new();
                scores.walk(from..to, down, &mut |member, score| {
                    met.push((member.text().to_vec(), score));
                    true
                });
                if down {
                    met.reverse();
                }
                assert_eq!(met, all[from..to]);
            }
            assert_eq!(listed(Scores::of_body(&of_pairs(all.clone(), &packing, &hasher()))), all);
            drop(remove_ranks(&mut body, &hasher(), from..to));
            let rest = [&all[..from], &all[to..]].concat();
            assert_eq!(listed(Scores::of_body(&body)), rest);
            drop(remove_ranks(&mut body, &hasher(), rest.len().min(1)..rest.len()));
            assert_eq!(listed(Scores::of_body(&body)), rest[..rest.len().min(1)]);
        }
    }

    #[test]
    fn what_is_no_sorted_set_is_refused() {
        let of = |texts: &[&[u8]]| {
            let mut list = packed::empty();
            texts.iter().for_each(|text| packed::push(&mut list, text));
            of_foreign(list, &Packing::default(), &hasher()).map(|it| listed(Scores::of_body(&it)))
        };
        assert_eq!(of(&[]), Some(vec![]));
        assert_eq!(
            of(&[b"a", b"1", b"b", b"0.5"]),
            Some(vec![(b"b".into(), 0.5), (b"a".into(), 1.0)])
        );
        assert_eq!(of(&[b"a", b"1", b"b"]), None);
        assert_eq!(of(&[b"a", b"1", b"a", b"2"]), None);
        assert_eq!(of(&[b"a", b"nan"]), None);
        assert_eq!(of(&[b"a", b"x"]), None);
    }
}
