//! Things ordered by stream ID, in a chain of short sorted runs: a group's pending entries.
//!
//! Not here: what the things are.

use super::id::StreamId;
use crate::types::chain::{Chain, Chunk, Find};
use std::ops::ControlFlow;

/// Items of a run; one that is added to at its end is left full.
const RUN_MAX: usize = 64;

/// What has an ID of its own.
pub trait Identified: Copy + std::fmt::Debug {
    fn id(&self) -> StreamId;
}

#[derive(Clone, Debug)]
pub struct ById<T: Identified> {
    chain: Chain<Run<T>>,
}

#[derive(Clone, Debug)]
struct Run<T> {
    /// At most the first item's ID, but in the first run.
    low: StreamId,
    items: Vec<T>,
}

impl Identified for StreamId {
    fn id(&self) -> StreamId {
        *self
    }
}

impl<T: Identified> Chunk for Run<T> {
    type Key = StreamId;

    fn key(&self) -> StreamId {
        self.low
    }

    fn weight(&self) -> u64 {
        self.items.len() as u64
    }

    fn bytes(&self) -> usize {
        self.items.capacity() * size_of::<T>()
    }
}

impl<T: Identified> Default for ById<T> {
    fn default() -> Self {
        Self { chain: Chain::default() }
    }
}

impl<T: Identified> ById<T> {
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.chain.weight()).unwrap_or(usize::MAX)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        self.chain.bytes()
    }

    #[must_use]
    pub fn get(&self, id: StreamId) -> Option<&T> {
        let (run, _) = self.chain.get(Find::Key(id))?;
        run.items.binary_search_by_key(&id, T::id).ok().map(|at| &run.items[at])
    }

    /// Puts an item in its place, or over the one of its ID; false: there was one.
    pub fn insert(&mut self, item: T) -> bool {
        let id = item.id();
        let inserted = self.chain.edit(Find::Key(id), |run, _| {
            let at = match run.items.binary_search_by_key(&id, T::id) {
                Ok(at) => {
                    run.items[at] = item;
                    return (false, Vec::new());
                }
                Err(at) => at,
            };
            let mut more = Vec::new();
            if run.items.len() < RUN_MAX {
                run.items.insert(at, item);
            } else if at == run.items.len() {
                more.push(Run { low: id, items: vec![item] });
            } else {
                let mut rest = run.items.split_off(RUN_MAX / 2);
                match at.checked_sub(run.items.len()) {
                    Some(at) if at > 0 => rest.insert(at, item),
                    _ => run.items.insert(at, item),
                }
                more.push(Run { low: rest[0].id(), items: rest });
            }
            (true, more)
        });
        if inserted.is_none() {
            self.chain.push_back(Run { low: id, items: vec![item] });
        }
        inserted != Some(false)
    }

    pub fn remove(&mut self, id: StreamId) -> Option<T> {
        // A look first: what is not there must not cost copies of shared nodes.
        let item = *self.get(id)?;
        self.chain.edit(Find::Key(id), |run, _| {
            run.items.retain(|it| it.id() != id);
            ((), Vec::new())
        });
        Some(item)
    }

    pub fn edit(&mut self, id: StreamId, change: impl FnOnce(&mut T)) {
        if self.get(id).is_some() {
            self.chain.edit(Find::Key(id), |run, _| {
                if let Ok(at) = run.items.binary_search_by_key(&id, T::id) {
                    change(&mut run.items[at]);
                }
                ((), Vec::new())
            });
        }
    }

    /// Items of this ID and above, until `each` says `Break`.
    pub fn visit(&self, from: StreamId, mut each: impl FnMut(&T) -> ControlFlow<()>) {
        self.chain.visit(Find::Key(from), false, |run, _| {
            run.items.iter().filter(|it| it.id() >= from).try_for_each(&mut each)
        });
    }

    /// The ID of the first or the last item.
    #[must_use]
    pub fn edge(&self, last: bool) -> Option<StreamId> {
        let (run, _) = self.chain.get(if last { Find::Last } else { Find::First })?;
        if last { run.items.last() } else { run.items.first() }.map(T::id)
    }

    /// Frees runs and takes their number off `budget`; true: none is left.
    pub fn free_some(&mut self, budget: &mut usize) -> bool {
        let runs = *budget;
        *budget = budget.saturating_sub(self.chain.chunks() as usize);
        !self.chain.free_some(runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::BTreeSet;

    #[test]
    fn random_edits_equal_those_of_a_set() {
        for seed in 0..20 {
            let mut prng = Prng::new(seed);
            let (mut ids, mut model) = (ById::default(), BTreeSet::new());
            for step in 0..4_000 {
                let id = StreamId { ms: prng.below(40), seq: prng.below(50) };
                if prng.below(5) < if step < 2_500 { 3 } else { 1 } {
                    assert_eq!(ids.insert(id), model.insert(id));
                } else {
                    assert_eq!(ids.remove(id).is_some(), model.remove(&id));
                }
                assert_eq!(ids.len(), model.len());
                if step % 40 == 0 {
                    let mut all = Vec::new();
                    ids.visit(id, |it| {
                        all.push(*it);
                        ControlFlow::Continue(())
                    });
                    assert_eq!(all, model.range(id..).copied().collect::<Vec<_>>(), "seed {seed}");
                    let edges = (ids.edge(false), ids.edge(true));
                    assert_eq!(edges, (model.first().copied(), model.last().copied()));
                }
            }
        }
    }
}
