//! Long lists: a chain of listpacks, Redis' quicklist.
//!
//! Both ends are pushed to and popped from in the listpack that is there; an index is found by what the
//! listpacks weigh; whatever changes in the middle changes one listpack, which is split when it becomes too
//! large. A range that is cut off leaves whole, to be freed elsewhere.
//!
//! How much a listpack may hold is [`Fill`], Redis' `list-max-listpack-size`. So nodes written to a file,
//! and when a list counts as short, are what a Redis server would make of it. One long element has a
//! listpack to itself.
//!
//! A list that grew long stays a list of this form until it has shrunk to half of what would have
//! fitted in a single listpack, so that one that wavers around the limit is not converted each time.
//!
//! Not here: short lists, whose one listpack lies in their record (`object.rs`), and indices below zero
//! (`engine/lists.rs`).

use super::chain::{Chain, Chunk, Find};
use super::packed::{self, Item, Needle, Packed};
use std::ops::ControlFlow;

/// Bytes of a listpack whose limit is a number of elements.
const SAFETY_BYTES_MAX: usize = 8_192;
/// What Redis reckons for the frame of an element, whatever it is.
const ELEMENT_FRAME_BYTES: usize = 8;
/// Bytes of the listpacks of limits -1 to -5.
const NEGATIVE_FILLS: [usize; 5] = [4_096, 8_192, 16_384, 32_768, 65_536];

/// Up to where a listpack is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    bytes_max: usize,
    count_max: usize,
}

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Left,
    Right,
}

#[derive(Clone, Debug, Default)]
pub struct List {
    chain: Chain<Pack>,
}

/// One listpack.
#[derive(Clone, Debug)]
struct Pack {
    bytes: Vec<u8>,
    count: u32,
}

impl Fill {
    /// Of `list-max-listpack-size`.
    #[must_use]
    pub fn new(setting: i64) -> Self {
        match usize::try_from(setting) {
            Ok(count) => Self { bytes_max: SAFETY_BYTES_MAX, count_max: count },
            Err(_) => {
                let class = usize::try_from(-1 - setting.max(-5)).unwrap_or(0);
                Self { bytes_max: NEGATIVE_FILLS[class], count_max: usize::MAX }
            }
        }
    }

    /// May a listpack have so many bytes and elements?
    #[must_use]
    pub fn allows(self, bytes: usize, count: usize) -> bool {
        bytes <= self.bytes_max && count <= self.count_max
    }

    /// Is there room for one more element?
    fn has_room(self, pack: &Pack, text: &[u8]) -> bool {
        let bytes = pack.bytes.len() + text.len() + ELEMENT_FRAME_BYTES;
        pack.count == 0 || self.allows(bytes, pack.count as usize + 1)
    }

    /// Half of it, rounded down.
    fn half(self) -> Self {
        Self { bytes_max: self.bytes_max / 2, count_max: self.count_max / 2 }
    }
}

impl Chunk for Pack {
    type Key = ();

    fn key(&self) {}

    #[inline]
    fn weight(&self) -> u64 {
        self.count.into()
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Pack {
    fn one(text: &[u8]) -> Self {
        let mut pack = Self { bytes: packed::empty(), count: 0 };
        pack.push(text, End::Right);
        pack
    }

    fn push(&mut self, text: &[u8], end: End) {
        match end {
            End::Right => packed::push(&mut self.bytes, text),
            End::Left => {
                let at = Packed::new(&self.bytes).first().unwrap_or(self.bytes.len() - 1);
                packed::insert(&mut self.bytes, at, text);
            }
        }
        self.count += 1;
    }

    fn packed(&self) -> Packed<'_> {
        Packed::new(&self.bytes)
    }

    /// Where the element of this index is, from whichever end is nearer.
    fn seek(&self, index: u64) -> Option<usize> {
        let (index, count) = (i64::try_from(index).ok()?, i64::from(self.count));
        self.packed().seek(if index * 2 > count { index - count } else { index })
    }

    /// Takes `count` elements out, from this index on.
    fn remove(&mut self, index: u64, count: u32) {
        if let Some(at) = self.seek(index) {
            packed::remove(&mut self.bytes, at, count as usize);
            self.count -= count;
        }
    }

    /// Keeps what is before this index; the rest.
    fn split_off(&mut self, index: u64) -> Self {
        let mut rest = self.clone();
        let keep = u32::try_from(index).unwrap_or(self.count).min(self.count);
        rest.remove(0, keep);
        self.remove(index, self.count - keep);
        self.bytes.shrink_to_fit();
        rest
    }
}

impl List {
    /// A list of one listpack, with `count` elements.
    #[must_use]
    pub fn of_packed(bytes: Vec<u8>) -> Self {
        let mut list = Self::default();
        list.push_packed(bytes);
        list
    }

    /// Appends a whole listpack.
    pub fn push_packed(&mut self, bytes: Vec<u8>) {
        let count = u32::try_from(Packed::new(&bytes).len()).unwrap_or(u32::MAX);
        if count > 0 {
            self.chain.push_back(Pack { bytes, count });
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.chain.weight()).unwrap_or(usize::MAX)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chain.weight() == 0
    }

    /// Bytes of all listpacks, and of what holds them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.chain.bytes()
    }

    /// Listpacks.
    #[must_use]
    pub fn packs(&self) -> u32 {
        self.chain.chunks()
    }

    /// The bytes of a listpack.
    #[must_use]
    pub fn pack(&self, number: u32) -> Option<&[u8]> {
        self.chain.get(Find::Chunk(number)).map(|it| it.0.bytes.as_slice())
    }

    /// The single listpack of a list that has shrunk enough to be short again.
    #[must_use]
    pub fn as_short(&self, fill: Fill) -> Option<&[u8]> {
        if self.chain.chunks() != 1 {
            return None;
        }
        let (pack, _) = self.chain.get(Find::First)?;
        fill.half().allows(pack.bytes.len(), pack.count as usize).then_some(&pack.bytes)
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, text: &[u8], fill: Fill) {
        let find = if end == End::Left { Find::First } else { Find::Last };
        let pushed = self.chain.edit(find, |pack, _| {
            let room = fill.has_room(pack, text);
            if room {
                pack.push(text, end);
            } else {
                // From now on only its elements are bytes that count.
                pack.bytes.shrink_to_fit();
            }
            (room, Vec::new())
        });
        match (pushed, end) {
            (Some(true), _) => {}
            (_, End::Left) => self.chain.push_front(Pack::one(text)),
            (_, End::Right) => self.chain.push_back(Pack::one(text)),
        }
    }

    /// Takes up to `count` elements off an end, and shows each.
    pub fn pop(&mut self, end: End, count: usize, mut each: impl FnMut(Item<'_>)) {
        let mut left = count;
        let find = if end == End::Left { Find::First } else { Find::Last };
        while left > 0 {
            let taken = self.chain.edit(find, |pack, _| {
                let taken = pack.count.min(u32::try_from(left).unwrap_or(u32::MAX));
                let packed = pack.packed();
                match end {
                    End::Left => packed.iter().take(taken as usize).for_each(&mut each),
                    End::Right => packed.iter_back().take(taken as usize).for_each(&mut each),
                }
                let from = if end == End::Left { 0 } else { pack.count - taken };
                pack.remove(from.into(), taken);
                (taken as usize, Vec::new())
            });
            let Some(taken) = taken else { return };
            left -= taken;
        }
    }

    /// The element of an index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Item<'_>> {
        let (pack, offset) = self.chain.get(Find::Index(index as u64))?;
        Some(pack.packed().get(pack.seek(offset)?))
    }

    /// Overwrites an element; false: there is none of this index.
    pub fn set(&mut self, index: usize, text: &[u8], fill: Fill) -> bool {
        let set = self.chain.edit(Find::Index(index as u64), |pack, offset| {
            let Some(at) = pack.seek(offset) else { return (false, Vec::new()) };
            packed::replace(&mut pack.bytes, at, text);
            let too_large = !fill.allows(pack.bytes.len(), pack.count as usize);
            // Its neighbours would pay for a long one at every change.
            let more = if too_large { isolate(pack, offset) } else { Vec::new() };
            (true, more)
        });
        set == Some(true)
    }

    /// Inserts before the element of an index that is there, or at the end.
    pub fn insert(&mut self, index: usize, text: &[u8], fill: Fill) {
        if index >= self.len() {
            return self.push(End::Right, text, fill);
        }
        self.chain.edit(Find::Index(index as u64), |pack, offset| {
            if fill.has_room(pack, text) {
                if let Some(at) = pack.seek(offset) {
                    packed::insert(&mut pack.bytes, at, text);
                    pack.count += 1;
                }
                return ((), Vec::new());
            }
            let mut rest = pack.split_off(offset);
            if fill.has_room(pack, text) {
                pack.push(text, End::Right);
                ((), vec![rest])
            } else if fill.has_room(&rest, text) {
                rest.push(text, End::Left);
                ((), vec![rest])
            } else {
                ((), vec![Pack::one(text), rest])
            }
        });
    }

    /// Removes up to `count` elements that are `text`, from the left or from the right; how many.
    pub fn remove(&mut self, text: &[u8], count: usize, from: End) -> usize {
        let needle = Needle::new(text);
        let mut removed = 0;
        let mut number = if from == End::Left { 0 } else { self.packs().wrapping_sub(1) };
        while removed < count && number < self.packs() {
            let has = |pack: &Pack| pack.packed().find(pack.packed().first(), needle, 1).is_some();
            let packs = self.packs();
            // Only a listpack that will change is copied from who shares it.
            if self.chain.get(Find::Chunk(number)).is_some_and(|(pack, _)| has(pack)) {
                let taken = self.chain.edit(Find::Chunk(number), |pack, _| {
                    (pack.remove_equal(needle, count - removed, from), Vec::new())
                });
                removed += taken.unwrap_or(0);
            }
            let gone = self.packs() < packs;
            number = match from {
                End::Left => number + u32::from(!gone),
                End::Right => number.wrapping_sub(1),
            };
        }
        removed
    }

    /// Keeps `len` elements from `start` on; what was left and right of them, as lists to be freed.
    #[must_use]
    pub fn trim(&mut self, start: usize, len: usize) -> [Self; 2] {
        let right = self.cut(start.saturating_add(len));
        let kept = self.cut(start);
        [std::mem::replace(self, kept), right]
    }

    /// Keeps the elements before `index`; the others.
    fn cut(&mut self, index: usize) -> Self {
        let Some((number, offset)) = self.chain.number_of(index as u64) else {
            return Self::default();
        };
        if offset == 0 {
            return Self { chain: self.chain.split_off(number) };
        }
        let mut rest = Self { chain: self.chain.split_off(number + 1) };
        let half = self.chain.edit(Find::Last, |pack, _| (pack.split_off(offset), Vec::new()));
        if let Some(half) = half {
            rest.chain.push_front(half);
        }
        rest
    }

    /// Elements from an index on, forwards or backwards, until `each` says `Break`.
    pub fn visit<'a>(
        &'a self,
        from: usize,
        backwards: bool,
        mut each: impl FnMut(Item<'a>) -> ControlFlow<()>,
    ) {
        self.chain.visit(Find::Index(from as u64), backwards, |pack, offset| {
            let packed = pack.packed();
            let mut items = match (offset.map(|it| pack.seek(it)), backwards) {
                (Some(at), false) => packed.iter_from(at),
                (Some(at), true) => packed.iter_back_from(at),
                (None, false) => packed.iter(),
                (None, true) => packed.iter_back(),
            };
            items.try_for_each(&mut each)
        });
    }

    /// Frees listpacks and takes their number off `budget`; true: nothing is left that takes time to drop.
    pub fn free_some(&mut self, budget: &mut usize) -> bool {
        let packs = *budget;
        *budget = budget.saturating_sub(self.packs() as usize);
        !self.chain.free_some(packs)
    }
}

impl Pack {
    fn remove_equal(&mut self, needle: Needle<'_>, count: usize, from: End) -> usize {
        let mut removed = 0;
        let mut at = match from {
            End::Left => self.packed().find(self.packed().first(), needle, 1),
            End::Right => self.find_back(self.packed().last(), needle),
        };
        while let Some(found) = at.filter(|_| removed < count) {
            // Before it is gone: where to look on.
            let before = self.packed().previous(found);
            packed::remove(&mut self.bytes, found, 1);
            removed += 1;
            at = match from {
                End::Left => {
                    let next = (found < self.packed().end()).then_some(found);
                    self.packed().find(next, needle, 1)
                }
                End::Right => self.find_back(before, needle),
            };
        }
        self.count -= u32::try_from(removed).unwrap_or(self.count);
        removed
    }

    fn find_back(&self, from: Option<usize>, needle: Needle<'_>) -> Option<usize> {
        let (packed, mut at) = (self.packed(), from?);
        while !packed.get(at).is(needle) {
            at = packed.previous(at)?;
        }
        Some(at)
    }
}

/// Gives the element of this index a listpack to itself; what follows the first one.
fn isolate(pack: &mut Pack, index: u64) -> Vec<Pack> {
    let mut own = pack.split_off(index);
    let rest = own.split_off(1);
    if pack.count == 0 {
        *pack = own;
        vec![rest]
    } else {
        vec![own, rest]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::VecDeque;

    fn texts(list: &List) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        list.visit(0, false, |item| {
            all.push(item.text().to_vec());
            ControlFlow::Continue(())
        });
        for number in 0..list.packs() {
            assert!(packed::validate(list.pack(number).unwrap()).is_some());
        }
        all
    }

    #[test]
    fn random_edits_equal_those_of_a_deque() {
        for seed in 0..24 {
            let mut prng = Prng::new(seed);
            let fill = Fill::new([-1, -2, 3, 1, 0, 128][usize::try_from(seed % 6).unwrap()]);
            let (mut list, mut model) = (List::default(), VecDeque::<Vec<u8>>::new());
            let mut kept: Vec<(List, Vec<Vec<u8>>)> = Vec::new();
            for step in 0..2_000 {
                edit(&mut prng, &mut list, &mut model, fill);
                assert_eq!(list.len(), model.len());
                if prng.below(700) == 0 {
                    kept.push((list.clone(), model.clone().into()));
                }
                if !model.is_empty() {
                    check_from(
                        &list,
                        &model,
                        usize::try_from(prng.below(model.len() as u64)).unwrap(),
                    );
                }
                if step % 100 == 0 {
                    assert_eq!(texts(&list), Vec::from(model.clone()), "seed {seed}, step {step}");
                }
            }
            assert_eq!(texts(&list), Vec::from(model), "seed {seed}");
            for (mut list, model) in kept {
                assert_eq!(texts(&list), model);
                while !list.free_some(&mut 2) {}
            }
        }
    }

    /// One random edit of both.
    fn edit(prng: &mut Prng, list: &mut List, model: &mut VecDeque<Vec<u8>>, fill: Fill) {
        let mut draw = |below: usize| usize::try_from(prng.below(below as u64)).unwrap();
        let text = match draw(8) {
            0 => vec![b'x'; draw(6_000)],
            1..4 => draw(50).to_string().into_bytes(),
            _ => format!("element {}", draw(100)).into_bytes(),
        };
        let len = model.len();
        match draw(11) {
            0..=2 => {
                list.push(End::Right, &text, fill);
                model.push_back(text);
            }
            3 | 4 => {
                list.push(End::Left, &text, fill);
                model.push_front(text);
            }
            end @ (5 | 6) => {
                let (count, mut popped) = (draw(4), Vec::new());
                let end = if end == 5 { End::Left } else { End::Right };
                list.pop(end, count, |item| popped.push(item.text().to_vec()));
                let expected: Vec<_> = match end {
                    End::Left => model.drain(..count.min(len)).collect(),
                    End::Right => model.drain(len - count.min(len)..).rev().collect(),
                };
                assert_eq!(popped, expected);
            }
            7 if len > 0 => {
                let index = draw(len);
                assert!(list.set(index, &text, fill));
                model[index] = text;
            }
            8 => {
                let index = draw(len + 1);
                list.insert(index, &text, fill);
                model.insert(index, text);
            }
            9 if draw(4) == 0 => {
                let (count, from) = (1 + draw(5), [End::Left, End::Right][draw(2)]);
                let mut at: Vec<usize> = (0..len).filter(|&at| model[at] == text).collect();
                if from == End::Right {
                    at.reverse();
                }
                at.truncate(count);
                assert_eq!(list.remove(&text, count, from), at.len());
                at.sort_unstable();
                at.iter().rev().for_each(|&at| drop(model.remove(at)));
            }
            10 if draw(40) == 0 => {
                let (start, keep) = (draw(len + 1), draw(len + 1));
                let [left, right] = list.trim(start, keep);
                assert_eq!(left.len() + list.len() + right.len(), len);
                model.drain(..start.min(len));
                model.truncate(keep);
            }
            _ => {}
        }
    }

    /// An element, and the few before it.
    fn check_from(list: &List, model: &VecDeque<Vec<u8>>, index: usize) {
        assert_eq!(*list.get(index).unwrap().text(), *model[index]);
        let mut back = Vec::new();
        list.visit(index, true, |item| {
            back.push(item.text().to_vec());
            if back.len() < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        let expected: Vec<_> = model.range(..=index).rev().take(5).cloned().collect();
        assert_eq!(back, expected);
    }

    #[test]
    fn a_listpack_holds_what_redis_puts_into_one() {
        let mut list = List::default();
        (0..2_000).for_each(|_| list.push(End::Right, b"0123456789", Fill::new(-2)));
        // Counted in redis-server 7.0.15 by its DUMP: 12 bytes each, and 18 more must fit.
        assert_eq!(Packed::new(list.pack(0).unwrap()).len(), 681);
        let mut list = List::default();
        (0..10).for_each(|_| list.push(End::Left, b"x", Fill::new(4)));
        assert_eq!(list.packs(), 3);
        assert_eq!(Packed::new(list.pack(0).unwrap()).len(), 2);
    }
}
