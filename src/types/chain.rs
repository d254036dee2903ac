//! A sequence of chunks in a tree of shared nodes: what long lists and streams are made of.
//!
//! ```text
//!   chain   entry                                     a single chunk needs no inner node
//!   entry   first key | weight | bytes | chunks | child      of all that is below
//!   child   chunk, or an inner node of up to 32 entries
//! ```
//!
//! A chunk says what it weighs (how many elements it has) and which key it begins with, so that the chunk of
//! an index or of a key is found in O(log chunks), and so are both ends. All chunks are equally deep. A clone
//! shares the root: O(1). Who writes to a shared node copies that node and no other.
//!
//! Appending fills nodes whole, since a node that overflows at its end gives away only what is new. A
//! chain that is cut keeps thin nodes along the cut; they are merged when something is removed there.
//!
//! Invariants, checked by `check` in tests: an entry's figures are the sums of what is below it; no chunk
//! weighs nothing; keys do not decrease.
//!
//! Not here: what is in a chunk, and how large it may become.

use std::ops::ControlFlow;
use triomphe::Arc;

/// Entries of an inner node, and of one that is merged with a neighbour.
const ENTRIES_MAX: usize = 32;
const ENTRIES_FEW: usize = 8;

/// What a chunk costs beside its own bytes: its entry above, its count, the allocator's share.
const CHUNK_BYTES: usize = 96;

/// A run of elements.
pub trait Chunk: Clone {
    /// What chunks are ordered by; `()` where only their order counts.
    type Key: Copy + Ord + std::fmt::Debug;

    /// Never changes while the chunk is in a chain.
    fn key(&self) -> Self::Key;
    /// Elements. One that has none leaves the chain.
    fn weight(&self) -> u64;
    /// Bytes allocated.
    fn bytes(&self) -> usize;
}

/// Which chunk.
#[derive(Clone, Copy, Debug)]
pub enum Find<K> {
    First,
    Last,
    /// The one with the element of this index.
    Index(u64),
    /// The last one that begins at or before this key, else the first.
    Key(K),
    /// By its own number.
    Chunk(u32),
}

#[derive(Clone, Debug)]
pub struct Chain<C: Chunk> {
    root: Option<Entry<C>>,
}

#[derive(Clone, Debug)]
struct Entry<C: Chunk> {
    key: C::Key,
    weight: u64,
    bytes: usize,
    chunks: u32,
    child: Child<C>,
}

#[derive(Clone, Debug)]
enum Child<C: Chunk> {
    Chunk(Arc<C>),
    Inner(Arc<Inner<C>>),
}

#[derive(Clone, Debug)]
struct Inner<C: Chunk> {
    entries: Vec<Entry<C>>,
}

impl<C: Chunk> Default for Chain<C> {
    fn default() -> Self {
        Self { root: None }
    }
}

impl<C: Chunk> Chain<C> {
    /// Elements of all chunks.
    #[inline]
    #[must_use]
    pub fn weight(&self) -> u64 {
        self.root.as_ref().map_or(0, |root| root.weight)
    }

    #[must_use]
    pub fn chunks(&self) -> u32 {
        self.root.as_ref().map_or(0, |root| root.chunks)
    }

    /// Bytes of all chunks and of what holds them, nearly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.bytes)
    }

    /// A chunk, and where in it the index is that was asked for (0 if none was).
    #[must_use]
    pub fn get(&self, find: Find<C::Key>) -> Option<(&C, u64)> {
        let mut find = self.within(find)?;
        let mut entry = self.root.as_ref()?;
        loop {
            match &entry.child {
                Child::Chunk(chunk) => return Some((chunk, offset(find))),
                Child::Inner(inner) => {
                    let (at, below) = inner.find(find);
                    (entry, find) = (&inner.entries[at], below);
                }
            }
        }
    }

    /// The number of the chunk with the element of this index, and where in it that is.
    #[must_use]
    pub fn number_of(&self, index: u64) -> Option<(u32, u64)> {
        let mut find = self.within(Find::Index(index))?;
        let (mut entry, mut number) = (self.root.as_ref()?, 0);
        while let Child::Inner(inner) = &entry.child {
            let (at, below) = inner.find(find);
            number += inner.entries[..at].iter().map(|it| it.chunks).sum::<u32>();
            (entry, find) = (&inner.entries[at], below);
        }
        Some((number, offset(find)))
    }

    /// Chunks from one on, forwards or backwards, until one says `Break`. The first comes with where in it
    /// the index is.
    pub fn visit<'a>(
        &'a self,
        from: Find<C::Key>,
        backwards: bool,
        mut each: impl FnMut(&'a C, Option<u64>) -> ControlFlow<()>,
    ) {
        if let (Some(root), Some(find)) = (&self.root, self.within(from)) {
            // What stopped it is the visitor's business.
            let _ = root.visit(Some(find), backwards, &mut each);
        }
    }

    /// Changes a chunk, which is this chain's own for that. The change is told where in it the index is, and
    /// may return chunks that are to follow. `None`: there is no such chunk.
    pub fn edit<R>(
        &mut self,
        find: Find<C::Key>,
        change: impl FnOnce(&mut C, u64) -> (R, Vec<C>),
    ) -> Option<R> {
        let find = self.within(find)?;
        let root = self.root.as_mut()?;
        let (result, more) = root.edit(find, change);
        self.settle(more, false);
        Some(result)
    }

    pub fn push_back(&mut self, chunk: C) {
        self.insert(Entry::of(chunk), false);
    }

    pub fn push_front(&mut self, chunk: C) {
        self.insert(Entry::of(chunk), true);
    }

    /// Keeps the first `chunks` chunks; the others are a chain of their own.
    #[must_use]
    pub fn split_off(&mut self, chunks: u32) -> Self {
        let Some(root) = &mut self.root else { return Self::default() };
        if chunks >= root.chunks {
            return Self::default();
        }
        if chunks == 0 {
            return std::mem::take(self);
        }
        let mut rest = Self { root: root.split_off(chunks) };
        rest.lower();
        self.lower();
        rest
    }

    /// Frees up to `chunks` chunks; false: none is left.
    pub fn free_some(&mut self, chunks: usize) -> bool {
        for _ in 0..chunks {
            let Some(root) = &mut self.root else { return false };
            if root.drop_last() {
                self.root = None;
            }
        }
        self.root.is_some()
    }

    fn insert(&mut self, entry: Entry<C>, front: bool) {
        let Some(root) = &mut self.root else {
            self.root = Some(entry);
            return;
        };
        let more = match &root.child {
            Child::Chunk(_) => Some(entry),
            Child::Inner(_) => root.insert(entry, front),
        };
        self.settle(more.into_iter().collect(), front);
    }

    /// After a change: what overflowed goes beside the root, and a root that is not needed goes.
    fn settle(&mut self, mut more: Vec<Entry<C>>, front: bool) {
        while !more.is_empty() {
            if let Some(root) = self.root.take().filter(|root| root.weight > 0) {
                let at = if front { more.len() } else { 0 };
                more.insert(at, root);
            }
            let mut rest = more.split_off(more.len().min(ENTRIES_MAX));
            self.root = Some(Entry::above(more));
            more = Vec::new();
            while !rest.is_empty() {
                let tail = rest.split_off(rest.len().min(ENTRIES_MAX));
                more.push(Entry::above(rest));
                rest = tail;
            }
        }
        if self.root.as_ref().is_some_and(|root| root.weight == 0) {
            self.root = None;
        }
        self.lower();
    }

    /// A root with a single entry is that entry.
    fn lower(&mut self) {
        while let Some(Entry { child: Child::Inner(inner), .. }) = &self.root
            && let [only] = inner.entries.as_slice()
        {
            self.root = Some(only.clone());
        }
    }

    /// `None`: there is no such index or number.
    fn within(&self, find: Find<C::Key>) -> Option<Find<C::Key>> {
        let is_there = match find {
            Find::Index(index) => index < self.weight(),
            Find::Chunk(number) => number < self.chunks(),
            Find::First | Find::Last | Find::Key(_) => self.root.is_some(),
        };
        is_there.then_some(find)
    }
}

fn offset<K>(find: Find<K>) -> u64 {
    if let Find::Index(offset) = find { offset } else { 0 }
}

impl<C: Chunk> Inner<C> {
    /// The entry to go on with, and what to look for below it.
    #[inline]
    fn find(&self, find: Find<C::Key>) -> (usize, Find<C::Key>) {
        let last = self.entries.len() - 1;
        match find {
            Find::First => (0, find),
            Find::Last => (last, find),
            Find::Key(key) => {
                (self.entries.partition_point(|it| it.key <= key).saturating_sub(1), find)
            }
            Find::Index(mut index) => {
                for (at, entry) in self.entries[..last].iter().enumerate() {
                    if index < entry.weight {
                        return (at, Find::Index(index));
                    }
                    index -= entry.weight;
                }
                (last, Find::Index(index))
            }
            Find::Chunk(mut number) => {
                for (at, entry) in self.entries[..last].iter().enumerate() {
                    if number < entry.chunks {
                        return (at, Find::Chunk(number));
                    }
                    number -= entry.chunks;
                }
                (last, Find::Chunk(number))
            }
        }
    }

    /// What does not fit any more; where the node grew at an end, that is all that is given away.
    fn overflow(&mut self, at: usize) -> Vec<Entry<C>> {
        let len = self.entries.len();
        if len <= ENTRIES_MAX {
            return Vec::new();
        }
        let keep = if at + 1 >= len { ENTRIES_MAX } else { len / 2 };
        let mut rest = self.entries.split_off(keep);
        let mut more = Vec::new();
        while !rest.is_empty() {
            let tail = rest.split_off(rest.len().min(ENTRIES_MAX));
            more.push(Entry::above(rest));
            rest = tail;
        }
        more
    }

    /// Merges the node of entry `at` with a neighbour, where both together are few.
    fn merge(&mut self, at: usize) {
        let few =
            |it: &Entry<C>| matches!(&it.child, Child::Inner(it) if it.entries.len() < ENTRIES_FEW);
        if !self.entries.get(at).is_some_and(few) || self.entries.len() < 2 {
            return;
        }
        let left = if at + 1 < self.entries.len() { at } else { at - 1 };
        let len = |it: &Entry<C>| match &it.child {
            Child::Inner(inner) => inner.entries.len(),
            Child::Chunk(_) => ENTRIES_MAX,
        };
        if len(&self.entries[left]) + len(&self.entries[left + 1]) > ENTRIES_MAX {
            return;
        }
        let right = self.entries.remove(left + 1);
        if let (Child::Inner(a), Child::Inner(b)) = (&mut self.entries[left].child, right.child) {
            Arc::make_mut(a).entries.extend(b.entries.iter().cloned());
        }
        self.entries[left].refresh();
    }
}

impl<C: Chunk> Entry<C> {
    fn of(chunk: C) -> Self {
        let (key, weight, bytes) = (chunk.key(), chunk.weight(), chunk.bytes() + CHUNK_BYTES);
        Self { key, weight, bytes, chunks: 1, child: Child::Chunk(Arc::new(chunk)) }
    }

    /// An inner node over at least one entry.
    fn above(entries: Vec<Self>) -> Self {
        let (key, chunks) = (entries[0].key, 0);
        let child = Child::Inner(Arc::new(Inner { entries }));
        let mut entry = Self { key, weight: 0, bytes: 0, chunks, child };
        entry.refresh();
        entry
    }

    #[cfg(test)]
    fn depth(&self) -> usize {
        match &self.child {
            Child::Chunk(_) => 0,
            Child::Inner(inner) => 1 + inner.entries.first().map_or(0, Self::depth),
        }
    }

    /// The figures, from what is below.
    fn refresh(&mut self) {
        match &self.child {
            Child::Chunk(chunk) => {
                (self.weight, self.bytes) = (chunk.weight(), chunk.bytes() + CHUNK_BYTES);
            }
            Child::Inner(inner) => {
                (self.weight, self.bytes, self.chunks) = (0, 0, 0);
                if let Some(first) = inner.entries.first() {
                    self.key = first.key;
                }
                for entry in &inner.entries {
                    self.weight += entry.weight;
                    self.bytes += entry.bytes;
                    self.chunks += entry.chunks;
                }
            }
        }
    }

    fn edit<R>(
        &mut self,
        find: Find<C::Key>,
        change: impl FnOnce(&mut C, u64) -> (R, Vec<C>),
    ) -> (R, Vec<Self>) {
        match &mut self.child {
            Child::Chunk(chunk) => {
                let chunk = Arc::make_mut(chunk);
                let (result, more) = change(chunk, offset(find));
                (self.weight, self.bytes) = (chunk.weight(), chunk.bytes() + CHUNK_BYTES);
                let more = more.into_iter().filter(|chunk| chunk.weight() > 0);
                (result, more.map(Self::of).collect())
            }
            Child::Inner(inner) => {
                let inner = Arc::make_mut(inner);
                let (at, below) = inner.find(find);
                let entry = &mut inner.entries[at];
                let (weight, bytes, chunks) = (entry.weight, entry.bytes, entry.chunks);
                let (result, more) = entry.edit(below, change);
                if entry.weight > 0 && more.is_empty() && entry.chunks >= chunks {
                    // What nearly all edits are: no entry comes or goes here.
                    self.weight = self.weight - weight + entry.weight;
                    self.bytes = self.bytes - bytes + entry.bytes;
                    self.chunks = self.chunks - chunks + entry.chunks;
                    return (result, Vec::new());
                }
                let mut next = at + 1;
                if entry.weight == 0 {
                    inner.entries.remove(at);
                    next = at;
                }
                let added = more.len();
                inner.entries.splice(next..next, more);
                let more = inner.overflow((next + added).saturating_sub(1));
                if more.is_empty() {
                    inner.merge(at.min(inner.entries.len().saturating_sub(1)));
                }
                self.refresh();
                (result, more)
            }
        }
    }

    /// Adds an entry at an end of the node; the node's sibling, if it overflows.
    fn insert(&mut self, entry: Self, front: bool) -> Option<Self> {
        let Child::Inner(inner) = &mut self.child else { return Some(entry) };
        let inner = Arc::make_mut(inner);
        let at = if front { 0 } else { inner.entries.len() - 1 };
        let more = inner.entries[at].insert(entry, front);
        let mut sibling = None;
        if let Some(more) = more {
            if inner.entries.len() < ENTRIES_MAX {
                let at = if front { 0 } else { inner.entries.len() };
                inner.entries.insert(at, more);
            } else {
                sibling = Some(Self::above(vec![more]));
            }
        }
        self.refresh();
        sibling
    }

    fn visit<'a>(
        &'a self,
        from: Option<Find<C::Key>>,
        backwards: bool,
        each: &mut impl FnMut(&'a C, Option<u64>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let inner = match &self.child {
            Child::Chunk(chunk) => return each(chunk, from.map(offset)),
            Child::Inner(inner) => inner,
        };
        let start = from.map(|find| inner.find(find));
        let (first, below) = match start {
            Some((at, below)) => (at, Some(below)),
            None => (if backwards { inner.entries.len() - 1 } else { 0 }, None),
        };
        inner.entries[first].visit(below, backwards, each)?;
        if backwards {
            inner.entries[..first].iter().rev().try_for_each(|it| it.visit(None, true, each))
        } else {
            inner.entries[first + 1..].iter().try_for_each(|it| it.visit(None, false, each))
        }
    }

    /// Keeps the first `chunks` of its chunks, at least one and not all.
    fn split_off(&mut self, chunks: u32) -> Option<Self> {
        let Child::Inner(inner) = &mut self.child else { return None };
        let inner = Arc::make_mut(inner);
        let (at, below) = inner.find(Find::Chunk(chunks));
        let mut rest = inner.entries.split_off(at + 1);
        if let Find::Chunk(keep) = below {
            if keep == 0 {
                rest.insert(0, inner.entries.remove(at));
            } else if let Some(half) = inner.entries[at].split_off(keep) {
                rest.insert(0, half);
            }
        }
        self.refresh();
        (!rest.is_empty()).then(|| Self::above(rest))
    }

    /// Drops the last chunk; true: nothing is left, or nothing that is ours alone.
    fn drop_last(&mut self) -> bool {
        let Child::Inner(inner) = &mut self.child else { return true };
        let Some(inner) = Arc::get_mut(inner) else { return true };
        if inner.entries.last_mut().is_none_or(Self::drop_last) {
            inner.entries.pop();
        }
        inner.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    impl Chunk for Vec<u64> {
        type Key = u64;
        fn key(&self) -> u64 {
            // Kept as the first number even where the rest has gone.
            self.first().copied().unwrap_or(0)
        }
        fn weight(&self) -> u64 {
            self.len() as u64
        }
        fn bytes(&self) -> usize {
            self.len() * 8
        }
    }

    fn check(chain: &Chain<Vec<u64>>) -> Vec<u64> {
        fn below(entry: &Entry<Vec<u64>>, depth: usize) {
            assert_eq!(entry.depth(), depth);
            let mut fresh = entry.clone();
            fresh.refresh();
            assert_eq!(
                (fresh.weight, fresh.bytes, fresh.chunks),
                (entry.weight, entry.bytes, entry.chunks)
            );
            assert!(entry.weight > 0 && entry.chunks > 0);
            if let Child::Inner(inner) = &entry.child {
                assert!((1..=ENTRIES_MAX).contains(&inner.entries.len()));
                inner.entries.iter().for_each(|it| below(it, depth - 1));
            }
        }
        if let Some(root) = &chain.root {
            below(root, root.depth());
        }
        let mut all = Vec::new();
        chain.visit(Find::First, false, |chunk, _| {
            all.extend(chunk);
            ControlFlow::Continue(())
        });
        let mut back: Vec<u64> = Vec::new();
        chain.visit(Find::Last, true, |chunk, _| {
            back.extend(chunk.iter().rev());
            ControlFlow::Continue(())
        });
        back.reverse();
        assert_eq!(all, back);
        assert_eq!(all.len() as u64, chain.weight());
        all
    }

    #[test]
    fn random_edits_equal_those_of_a_vector_and_leave_clones_alone() {
        for seed in 0..40 {
            let mut prng = Prng::new(seed);
            let (mut chain, mut model) = (Chain::default(), Vec::<u64>::new());
            let mut clones: Vec<(Chain<Vec<u64>>, Vec<u64>)> = Vec::new();
            let mut next = 0;
            for step in 0..3_000 {
                let mut draw = |below: usize| usize::try_from(prng.below(below as u64)).unwrap();
                let grows = step % 1_500 < 1_000;
                next += 1;
                match draw(if grows { 8 } else { 14 }) {
                    0..=2 => {
                        let chunk: Vec<u64> = vec![next; 1 + draw(4)];
                        model.extend(&chunk);
                        chain.push_back(chunk);
                    }
                    3 | 4 => {
                        let chunk: Vec<u64> = vec![next; 1 + draw(4)];
                        model.splice(0..0, chunk.iter().copied());
                        chain.push_front(chunk);
                    }
                    5 if !model.is_empty() => {
                        let at = draw(model.len());
                        let extra = draw(4);
                        chain.edit(Find::Index(at as u64), |chunk, offset| {
                            let offset = usize::try_from(offset).unwrap();
                            let rest = chunk.split_off(offset);
                            chunk.push(next);
                            let mut more = vec![rest];
                            more.extend((0..extra).map(|_| vec![next]));
                            ((), more)
                        });
                        model.splice(at..at, [next]);
                        let end = model.len().min(at + 1 + (chunk_rest(&chain, at)));
                        model.splice(end..end, vec![next; extra]);
                    }
                    6 if draw(20) == 0 => clones.push((chain.clone(), model.clone())),
                    7 if draw(30) == 0 && chain.chunks() > 0 => {
                        let keep = u32::try_from(draw(chain.chunks() as usize + 1)).unwrap();
                        let rest = chain.split_off(keep);
                        let kept = usize::try_from(chain.weight()).unwrap();
                        assert_eq!(check(&rest), model[kept..]);
                        model.truncate(kept);
                    }
                    8.. if !model.is_empty() => {
                        let at = draw(model.len());
                        chain.edit(Find::Index(at as u64), |chunk, offset| {
                            chunk.remove(usize::try_from(offset).unwrap());
                            ((), Vec::new())
                        });
                        model.remove(at);
                    }
                    _ => {}
                }
                if !model.is_empty() {
                    check_one(&chain, &model, draw(model.len()));
                }
                if step % 50 == 0 {
                    assert_eq!(check(&chain), model, "seed {seed}, step {step}");
                }
            }
            for (mut clone, model) in clones {
                assert_eq!(check(&clone), model);
                while clone.free_some(3) {}
                assert_eq!(clone.chunks(), 0);
            }
            assert_eq!(check(&chain), model);
        }
    }

    /// The element of an index, by every way to it.
    fn check_one(chain: &Chain<Vec<u64>>, model: &[u64], at: usize) {
        let (chunk, offset) = chain.get(Find::Index(at as u64)).unwrap();
        assert_eq!(chunk[usize::try_from(offset).unwrap()], model[at]);
        let (number, same) = chain.number_of(at as u64).unwrap();
        assert_eq!(chain.get(Find::Chunk(number)).unwrap().0, chunk);
        assert_eq!(same, offset);
    }

    /// How many elements follow in the chunk behind the one of `at`: what the split put there.
    fn chunk_rest(chain: &Chain<Vec<u64>>, at: usize) -> usize {
        let (number, _) = chain.number_of(at as u64).unwrap();
        chain.get(Find::Chunk(number + 1)).map_or(0, |it| it.0.len())
    }

    #[test]
    fn chunks_are_found_by_key() {
        let mut chain = Chain::default();
        (0..1_000).for_each(|n| chain.push_back(vec![n * 10, n * 10 + 1]));
        for key in 0..10_000 {
            assert_eq!(chain.get(Find::Key(key)).unwrap().0[0], key / 10 * 10);
        }
        assert!(chain.root.as_ref().unwrap().depth() == 2, "nodes that are appended to are full");
    }
}
