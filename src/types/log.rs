//! Streams: entries in the order of their IDs, in nodes that are listpacks, and consumer groups.
//!
//! ```text
//!   stream   node | node | ..    a chain, ordered by the ID of each node's first entry
//!            last ID, first ID, highest deleted ID, entries ever added
//!            groups              see group.rs
//! ```
//!
//! Nodes are cut where Redis cuts them (`stream-node-max-bytes`, `stream-node-max-entries`), so that a trim
//! "about" a length removes the same entries and files have the same bytes.
//!
//! A clone is O(1), and stays as it is whatever is done to the original.
//!
//! Not here: texts of IDs (`log/id.rs`), the bytes of a node (`log/node.rs`), time.

use self::group::{Group, Groups};
use self::id::StreamId;
use self::node::{Entry, Node};
use super::chain::{Chain, Find};
use std::ops::ControlFlow;
use triomphe::Arc;

pub mod by_id;
pub mod group;
pub mod id;
pub mod node;

/// Bytes of a node, whatever the settings say (Redis: `STREAM_LISTPACK_MAX_SIZE`).
pub const NODE_BYTES_MAX: usize = 1 << 30;

/// Up to where a node is filled.
#[derive(Clone, Copy, Debug)]
pub struct NodeFill {
    pub bytes_max: usize,
    /// `None`: any number.
    pub entries_max: Option<usize>,
}

#[derive(Clone, Debug, Default)]
pub struct Stream {
    nodes: Chain<Node>,
    /// Of the newest entry ever, or what XSETID said.
    pub last_id: StreamId,
    /// Of the oldest live entry; 0-0 if there is none.
    pub first_id: StreamId,
    /// The highest that XDEL removed.
    pub max_deleted_id: StreamId,
    pub entries_added: u64,
    groups: Arc<Groups>,
}

/// Which entries a trim leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The newest so many.
    Newest(u64),
    /// Those of this ID and above.
    From(StreamId),
}

/// How thorough a trim is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Only whole nodes.
    pub whole_nodes: bool,
    /// Entries to remove at most; 0 is no limit.
    pub limit: u64,
}

impl NodeFill {
    /// Of `stream-node-max-bytes` and `stream-node-max-entries`, where 0 is no limit.
    #[must_use]
    pub fn new(bytes: usize, entries: usize) -> Self {
        let bytes_max = if bytes == 0 { NODE_BYTES_MAX } else { bytes.min(NODE_BYTES_MAX) };
        Self { bytes_max, entries_max: (entries > 0).then_some(entries) }
    }
}

impl Stream {
    /// Live entries.
    #[inline]
    #[must_use]
    pub fn len(&self) -> u64 {
        self.nodes.weight()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of nodes and groups, nearly.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.nodes.bytes() + self.groups.bytes()
    }

    #[must_use]
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// To be changed; copied first if a clone shares them.
    pub fn groups_mut(&mut self) -> &mut Groups {
        Arc::make_mut(&mut self.groups)
    }

    /// Nodes.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.nodes.chunks()
    }

    #[must_use]
    pub fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(Find::Chunk(number)).map(|it| it.0)
    }

    /// Appends a whole node, as a file has it. False: its ID is not above those that are here.
    pub fn push_node(&mut self, node: Node) -> bool {
        let above = self.nodes.get(Find::Last).is_none_or(|(last, _)| last.id() < node.id());
        if above && node.live() > 0 {
            self.nodes.push_back(node);
        }
        above
    }

    /// The ID that an entry added now gets by itself. `None`: there is none left.
    #[must_use]
    pub fn next_id(&self, now_ms: u64) -> Option<StreamId> {
        if now_ms > self.last_id.ms {
            return Some(StreamId { ms: now_ms, seq: 0 });
        }
        self.last_id.next()
    }

    /// Appends an entry, whose ID is above `last_id`. `words`: names and values in turn, of together at
    /// most `NODE_BYTES_MAX` bytes.
    pub fn append(&mut self, id: StreamId, words: &[&[u8]], fill: NodeFill) {
        let bytes: usize = words.iter().map(|word| word.len()).sum();
        let appended = self.nodes.edit(Find::Last, |node, _| {
            let full = node.as_bytes().len() + bytes >= fill.bytes_max
                || fill.entries_max.is_some_and(|max| node.entries() >= max);
            if full {
                node.shrink();
            } else {
                node.append(id, words);
            }
            (!full, Vec::new())
        });
        if appended != Some(true) {
            self.nodes.push_back(Node::new(id, words));
        }
        self.entries_added = self.entries_added.saturating_add(1);
        self.last_id = id;
        if self.len() == 1 {
            self.first_id = id;
        }
    }

    /// Live entries from `start` to `end`, both included, or back from `end`, until `each` says `Break`.
    pub fn visit<'a>(
        &'a self,
        start: StreamId,
        end: StreamId,
        backwards: bool,
        mut each: impl FnMut(&mut Entry<'a>) -> ControlFlow<()>,
    ) {
        let from = Find::Key(if backwards { end } else { start });
        self.nodes.visit(from, backwards, |node, _| {
            node.visit(backwards, |entry| match (entry.id < start, entry.id > end) {
                (false, false) => each(entry),
                (true, _) if backwards => ControlFlow::Break(()),
                (_, true) if !backwards => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
        });
    }

    /// Is there a live entry of this ID?
    #[must_use]
    pub fn has(&self, id: StreamId) -> bool {
        let mut found = false;
        self.visit(id, id, false, |_| {
            found = true;
            ControlFlow::Break(())
        });
        found
    }

    /// The ID of the first or the last live entry.
    #[must_use]
    pub fn edge(&self, last: bool) -> Option<StreamId> {
        let mut found = None;
        self.visit(StreamId::MIN, StreamId::MAX, last, |entry| {
            found = Some(entry.id);
            ControlFlow::Break(())
        });
        found
    }

    /// As XDEL: how many of these were there.
    pub fn delete(&mut self, ids: &[StreamId]) -> usize {
        let (mut deleted, mut first_gone) = (0, false);
        for &id in ids {
            // A look first: nothing is copied for what is not there.
            if !self.has(id) {
                continue;
            }
            self.nodes.edit(Find::Key(id), |node, _| {
                node.delete(|it| {
                    if it > id { ControlFlow::Break(()) } else { ControlFlow::Continue(it == id) }
                });
                ((), Vec::new())
            });
            deleted += 1;
            first_gone |= id == self.first_id;
            self.max_deleted_id = self.max_deleted_id.max(id);
        }
        if first_gone || self.is_empty() {
            self.first_id = self.edge(false).unwrap_or_default();
        }
        deleted
    }

    /// Removes entries from the front; how many, and whole nodes of them that are to be freed elsewhere.
    pub fn trim(&mut self, keep: Keep, effort: Effort) -> (u64, Self) {
        let (nodes, mut deleted, goes_on) = self.whole_nodes(keep, effort);
        let rest = self.nodes.split_off(nodes);
        let gone = std::mem::replace(&mut self.nodes, rest);
        if goes_on {
            let surplus = match keep {
                Keep::Newest(newest) => self.len().saturating_sub(newest),
                Keep::From(_) => u64::MAX,
            };
            let mut left = surplus;
            let within = self.nodes.edit(Find::First, |node, _| {
                let deleted = node.delete(|id| {
                    if left == 0 || matches!(keep, Keep::From(from) if id >= from) {
                        return ControlFlow::Break(());
                    }
                    left -= 1;
                    ControlFlow::Continue(true)
                });
                (deleted, Vec::new())
            });
            deleted += u64::from(within.unwrap_or(0));
        }
        if deleted > 0 {
            self.first_id = self.edge(false).unwrap_or_default();
        }
        (deleted, Self { nodes: gone, ..Self::default() })
    }

    /// How many whole nodes from the front on go, with how many entries; and whether some of the next
    /// one go as well.
    fn whole_nodes(&self, keep: Keep, effort: Effort) -> (u32, u64, bool) {
        let (mut nodes, mut deleted, mut goes_on) = (0, 0, false);
        let len = self.len();
        self.nodes.visit(Find::First, false, |node, _| {
            let live = u64::from(node.live());
            let enough = matches!(keep, Keep::Newest(newest) if len - deleted <= newest);
            if enough || effort.limit > 0 && deleted + live > effort.limit {
                return ControlFlow::Break(());
            }
            let whole = match keep {
                Keep::Newest(newest) => len - deleted - live >= newest,
                Keep::From(from) => node.last_id() < from,
            };
            if !whole {
                goes_on = !effort.whole_nodes;
                return ControlFlow::Break(());
            }
            nodes += 1;
            deleted += live;
            ControlFlow::Continue(())
        });
        (nodes, deleted, goes_on)
    }

    /// Does the part from `start` on have an entry that XDEL removed?
    #[must_use]
    pub fn has_gap_from(&self, start: StreamId) -> bool {
        !self.is_empty()
            && self.max_deleted_id != StreamId::MIN
            && self.first_id <= self.max_deleted_id
            && start <= self.max_deleted_id
    }

    /// How many entries were ever added up to this ID, where that can be told.
    #[must_use]
    pub fn entries_up_to(&self, id: StreamId) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if id >= self.last_id || self.is_empty() {
            return (id <= self.last_id).then_some(self.entries_added);
        }
        let no_gap = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        if !no_gap || id > self.first_id {
            return None;
        }
        let before = self.entries_added.wrapping_sub(self.len());
        Some(if id == self.first_id { before.wrapping_add(1) } else { before })
    }

    /// How many entries a group has yet to be given, where that can be told.
    #[must_use]
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let added = self.entries_added.cast_signed();
        if added == 0 {
            return Some(0);
        }
        if let Some(read) = group.entries_read
            && !self.has_gap_from(group.last_id)
        {
            return Some(added.wrapping_sub(read));
        }
        self.entries_up_to(group.last_id).map(|read| added.wrapping_sub(read.cast_signed()))
    }

    /// What `radix-tree-nodes` of XINFO tells: the nodes of a radix tree over the IDs of our nodes, runs
    /// of bytes without a branch being one.
    #[must_use]
    pub fn radix_nodes(&self) -> u64 {
        const KEY_BYTES: usize = 16;
        if self.nodes() == 0 {
            return 1;
        }
        // A branch or a leaf is one node, and so is the run of bytes that leads to it.
        let (mut count, mut branches) = (0_u64, Vec::<usize>::new());
        let mut previous: Option<[u8; KEY_BYTES]> = None;
        let mut add = |at: usize, above: Option<usize>| {
            count += 1 + u64::from(at > above.map_or(0, |above| above + 1));
        };
        self.nodes.visit(Find::First, false, |node, _| {
            let mut key = [0; KEY_BYTES];
            key[..8].copy_from_slice(&node.id().ms.to_be_bytes());
            key[8..].copy_from_slice(&node.id().seq.to_be_bytes());
            if let Some(before) = previous.replace(key) {
                let common = before.iter().zip(&key).take_while(|(a, b)| a == b).count();
                // The branches below this one are complete, and so is the leaf before.
                let mut below = KEY_BYTES;
                while let Some(&deepest) = branches.last()
                    && deepest > common
                {
                    add(below, Some(deepest));
                    below = deepest;
                    branches.pop();
                }
                add(below, Some(common));
                if branches.last() != Some(&common) {
                    branches.push(common);
                }
            }
            ControlFlow::Continue(())
        });
        let mut below = KEY_BYTES;
        while let Some(branch) = branches.pop() {
            add(below, Some(branch));
            below = branch;
        }
        add(below, None);
        count
    }

    /// Frees nodes and groups and takes their number off `budget`; true: nothing is left that takes time
    /// to drop.
    pub fn free_some(&mut self, budget: &mut usize) -> bool {
        let nodes = *budget;
        *budget = budget.saturating_sub(self.nodes.chunks() as usize);
        if self.nodes.free_some(nodes) {
            return false;
        }
        match Arc::get_mut(&mut self.groups) {
            // Others have them.
            None => true,
            Some(groups) => groups.free_some(budget),
        }
    }
}
