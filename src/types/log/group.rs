//! Consumer groups: what each was given last, and what its consumers have not acknowledged.
//!
//! A pending entry is kept twice, as in Redis: in its group, with when and to whom it was given and how
//! often, and, its ID alone, in its consumer. A consumer is named by a number that stays while it lives.
//!
//! Groups, and the consumers of a group, are as many as a program makes by name: they lie in plain
//! sorted arrays, which a clone shares until one of them is written to. Pending entries may be many:
//! they lie in trees (`by_id.rs`).
//!
//! Invariant: a group's pending entries are those of its consumers, each of exactly one.
//!
//! Not here: entries, and what a command makes of them.

use super::by_id::{ById, Identified};
use super::id::StreamId;
use std::ops::ControlFlow;
use triomphe::Arc;

/// The groups of a stream, by name.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    by_name: Vec<(Arc<[u8]>, Group)>,
}

#[derive(Clone, Debug, Default)]
pub struct Group {
    pub last_id: StreamId,
    /// How many entries it was given, where that is known.
    pub entries_read: Option<i64>,
    pending: ById<Pending>,
    consumers: Arc<Consumers>,
}

/// A consumer's number within its group.
pub type ConsumerId = u32;

#[derive(Clone, Debug, Default)]
struct Consumers {
    /// By number; a number that is free may be used again.
    all: Vec<Option<Consumer>>,
    by_name: Vec<ConsumerId>,
}

#[derive(Clone, Debug)]
pub struct Consumer {
    pub name: Arc<[u8]>,
    /// When it last asked for anything, in milliseconds.
    pub seen_ms: i64,
    /// When it last got anything; -1 if it never did.
    pub active_ms: i64,
    pending: ById<StreamId>,
}

/// An entry that was given to a consumer and is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub id: StreamId,
    /// When it was given, in milliseconds.
    pub delivered_ms: i64,
    /// How often.
    pub deliveries: u64,
    pub owner: ConsumerId,
}

impl Identified for Pending {
    fn id(&self) -> StreamId {
        self.id
    }
}

impl Groups {
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.by_name.iter().map(|(name, group)| (&name[..], group))
    }

    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Group> {
        self.place(name).ok().map(|at| &self.by_name[at].1)
    }

    pub fn get_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.place(name).ok().map(|at| &mut self.by_name[at].1)
    }

    /// False: there is one of this name.
    pub fn insert(&mut self, name: &[u8], group: Group) -> bool {
        let place = self.place(name);
        if let Err(at) = place {
            self.by_name.insert(at, (Arc::from(name), group));
        }
        place.is_err()
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<Group> {
        self.place(name).ok().map(|at| self.by_name.remove(at).1)
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |(name, group): &(Arc<[u8]>, Group)| {
            size_of::<Group>() + 32 + name.len() + group.bytes()
        };
        self.by_name.iter().map(of).sum()
    }

    /// Frees pending entries in runs and takes their number off `budget`; true: nothing is left that takes
    /// time to drop.
    pub fn free_some(&mut self, budget: &mut usize) -> bool {
        while let Some((_, group)) = self.by_name.last_mut() {
            if *budget == 0 || !group.free_some(budget) {
                return false;
            }
            self.by_name.pop();
        }
        true
    }

    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        self.by_name.binary_search_by(|it| it.0[..].cmp(name))
    }
}

impl Group {
    #[must_use]
    pub fn new(last_id: StreamId, entries_read: Option<i64>) -> Self {
        Self { last_id, entries_read, ..Self::default() }
    }

    /// Consumers in the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.consumers.by_name.iter().map(|&id| self.consumer(id))
    }

    /// The number of the consumer of this name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<ConsumerId> {
        self.consumers.place(name).ok().map(|at| self.consumers.by_name[at])
    }

    /// # Panics
    /// There is no consumer of this number.
    #[must_use]
    pub fn consumer(&self, id: ConsumerId) -> &Consumer {
        self.consumers.get(id)
    }

    /// Marks a consumer as having asked, and as having got something.
    pub fn touch(&mut self, id: ConsumerId, seen_ms: Option<i64>, active_ms: Option<i64>) {
        let consumer = Arc::make_mut(&mut self.consumers).get_mut(id);
        consumer.seen_ms = seen_ms.unwrap_or(consumer.seen_ms);
        consumer.active_ms = active_ms.unwrap_or(consumer.active_ms);
    }

    /// Makes a consumer; `None`: there is one of this name.
    pub fn create(&mut self, name: &[u8], now_ms: i64) -> Option<ConsumerId> {
        let at = self.consumers.place(name).err()?;
        let consumers = Arc::make_mut(&mut self.consumers);
        let pending = ById::default();
        let consumer =
            Some(Consumer { name: Arc::from(name), seen_ms: now_ms, active_ms: -1, pending });
        let free = consumers.all.iter().position(Option::is_none);
        let id = free.unwrap_or(consumers.all.len());
        match free {
            Some(free) => consumers.all[free] = consumer,
            None => consumers.all.push(consumer),
        }
        let id = ConsumerId::try_from(id).ok()?;
        consumers.by_name.insert(at, id);
        Some(id)
    }

    /// Removes a consumer and what is pending for it; how much that was. `None`: there is none.
    pub fn delete(&mut self, name: &[u8]) -> Option<usize> {
        let at = self.consumers.place(name).ok()?;
        let consumers = Arc::make_mut(&mut self.consumers);
        let id = consumers.by_name.remove(at);
        let consumer = consumers.all[id as usize].take()?;
        consumer.pending.visit(StreamId::MIN, |&id| {
            self.pending.remove(id);
            ControlFlow::Continue(())
        });
        Some(consumer.pending.len())
    }

    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    #[must_use]
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(id).copied()
    }

    /// The first or the last ID that is pending.
    #[must_use]
    pub fn pending_edge(&self, last: bool) -> Option<StreamId> {
        self.pending.edge(last)
    }

    /// Pending entries of an ID and above, of one consumer if asked so.
    pub fn visit_pending(
        &self,
        from: StreamId,
        of: Option<ConsumerId>,
        mut each: impl FnMut(Pending) -> ControlFlow<()>,
    ) {
        match of {
            None => self.pending.visit(from, |it| each(*it)),
            Some(consumer) => self
                .consumer(consumer)
                .pending
                .visit(from, |&id| self.pending(id).map_or(ControlFlow::Continue(()), &mut each)),
        }
    }

    /// An entry is pending, whether or not it was, and whoever had it.
    pub fn give(&mut self, pending: Pending) {
        let before = self.pending(pending.id);
        self.pending.insert(pending);
        if before.is_some_and(|it| it.owner == pending.owner) {
            return;
        }
        let consumers = Arc::make_mut(&mut self.consumers);
        if let Some(before) = before {
            consumers.get_mut(before.owner).pending.remove(pending.id);
        }
        consumers.get_mut(pending.owner).pending.insert(pending.id);
    }

    /// An entry is not pending any more; false: it was not.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(id) else { return false };
        Arc::make_mut(&mut self.consumers).get_mut(pending.owner).pending.remove(id);
        true
    }

    #[must_use]
    pub fn bytes(&self) -> usize {
        let of = |it: &Consumer| size_of::<Consumer>() + 32 + it.name.len() + it.pending.bytes();
        self.pending.bytes() + self.consumers().map(of).sum::<usize>()
    }

    fn free_some(&mut self, budget: &mut usize) -> bool {
        if !self.pending.free_some(budget) {
            return false;
        }
        let Some(consumers) = Arc::get_mut(&mut self.consumers) else { return true };
        while let Some(consumer) = consumers.all.last_mut() {
            if let Some(consumer) = consumer
                && (*budget == 0 || !consumer.pending.free_some(budget))
            {
                return false;
            }
            consumers.all.pop();
        }
        consumers.by_name.clear();
        true
    }
}

impl Consumer {
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// The IDs that are pending for it, from one on.
    pub fn visit_pending(&self, from: StreamId, each: impl FnMut(&StreamId) -> ControlFlow<()>) {
        self.pending.visit(from, each);
    }
}

impl Consumers {
    fn place(&self, name: &[u8]) -> Result<usize, usize> {
        self.by_name.binary_search_by(|&id| self.get(id).name[..].cmp(name))
    }

    fn get(&self, id: ConsumerId) -> &Consumer {
        match self.all.get(id as usize) {
            Some(Some(consumer)) => consumer,
            _ => panic!("a number of no consumer"),
        }
    }

    fn get_mut(&mut self, id: ConsumerId) -> &mut Consumer {
        match self.all.get_mut(id as usize) {
            Some(Some(consumer)) => consumer,
            _ => panic!("a number of no consumer"),
        }
    }
}
