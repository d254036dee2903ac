//! A counted B+tree with shared nodes: the order behind every large collection.
//!
//! ```text
//!                 inner   counts | separators | children          up to 128 children
//!                 /   \
//!             inner   inner                                        a million items: 3 levels
//!             / | \   / | \                                        above the leaves, the first
//!          leaf ...      ... leaf   items                          of 2 to 4 children
//! ```
//!
//! An item counts one or more elements ([`Item::count`]); a position is a number of elements from
//! the front. So a tree of single members gives ranks, and one of packed chunks the index of a list.
//! All elements below a child are told by its count, so a rank is a walk from the root.
//!
//! What orders items is the caller's: a closure tells whether an item lies before, at or behind what
//! is looked for, as for `slice::binary_search_by`. It also meets separators: the separator of a child
//! is at most its first item and above all items before it. A tree that is used by position
//! alone never asks.
//!
//! **Sharing.** A clone is O(1): nodes are shared and counted. A write copies the nodes on its way that
//! others share, and no more: O(depth) nodes of bounded size. Nodes split at their bound and are
//! merged with, or filled from, a neighbour below a quarter of it; a full leaf that is written at its
//! end or its front is left full, so that what is loaded in order lies dense.
//!
//! Invariants (`check`, in tests): all leaves are equally deep; a child's count is that of its items; no
//! node but the root is below a quarter, but for leaves at which items were put in order.
//!
//! Not here: what an item is, how much it may hold, and when a tree is worth it.

use std::cmp::Ordering;

use triomphe::Arc;

use super::run::Run;

/// What a tree holds.
pub trait Item: Clone {
    /// Elements in it: at least one.
    #[inline]
    fn count(&self) -> usize {
        1
    }

    /// Bytes that it holds beside itself.
    #[inline]
    fn heap_bytes(&self) -> usize {
        0
    }

    /// An item that lies where this one lies, and holds no more than it takes to tell.
    fn separator(&self) -> Self;
}

pub struct Tree<T> {
    root: Node<T>,
    /// Elements.
    len: usize,
    items: usize,
    heap_bytes: usize,
}

enum Node<T> {
    Leaf(Run<T>),
    Inner(Arc<Inner<T>>),
}

/// Three arrays of one length: a search reads one of them.
struct Inner<T> {
    counts: Vec<usize>,
    separators: Vec<T>,
    children: Vec<Node<T>>,
}

/// Items in order.
pub struct Iter<'a, T> {
    tree: &'a Tree<T>,
    leaf: &'a [T],
    next: usize,
    /// Position of the first element behind the leaf.
    leaf_end: usize,
}

/// Items in reverse order.
pub struct IterBack<'a, T> {
    tree: &'a Tree<T>,
    leaf: &'a [T],
    /// Items of the leaf that are still to come.
    left: usize,
    /// Position of the first element of the leaf.
    leaf_start: usize,
}

const LEAF_MAX: usize = 64;
const INNER_MAX: usize = 128;

/// How a way down is chosen.
trait Steer<T> {
    /// Which child to enter.
    fn child(&mut self, inner: &Inner<T>) -> usize;
    /// Which item is meant.
    fn item(&mut self, leaf: &[T]) -> usize;
}

/// To the item that holds an element, leaving how far in it lies.
struct Within(usize);
/// To the border between two items where an element begins, or the end.
struct Border(usize);
/// To where an order tells.
struct Ordered<F>(F);

impl<T: Item> Steer<T> for Within {
    #[inline]
    fn child(&mut self, inner: &Inner<T>) -> usize {
        let mut at = 0;
        while self.0 >= inner.counts[at] {
            self.0 -= inner.counts[at];
            at += 1;
        }
        at
    }

    #[inline]
    fn item(&mut self, leaf: &[T]) -> usize {
        let mut at = 0;
        while self.0 >= leaf[at].count() {
            self.0 -= leaf[at].count();
            at += 1;
        }
        at
    }
}

impl<T: Item> Steer<T> for Border {
    #[inline]
    fn child(&mut self, inner: &Inner<T>) -> usize {
        let mut at = 0;
        while self.0 > inner.counts[at] {
            self.0 -= inner.counts[at];
            at += 1;
        }
        at
    }

    #[inline]
    fn item(&mut self, leaf: &[T]) -> usize {
        let mut at = 0;
        while self.0 > 0 {
            self.0 = self.0.checked_sub(leaf[at].count()).unwrap_or_else(|| {
                panic!("a position within an item is no border");
            });
            at += 1;
        }
        at
    }
}

impl<T: Item, F: FnMut(&T) -> Ordering> Steer<T> for Ordered<F> {
    #[inline]
    fn child(&mut self, inner: &Inner<T>) -> usize {
        // What is equal to a separator lies behind it.
        inner.separators[1..].partition_point(|it| (self.0)(it) != Ordering::Greater)
    }

    #[inline]
    fn item(&mut self, leaf: &[T]) -> usize {
        leaf.partition_point(|it| (self.0)(it) == Ordering::Less)
    }
}

impl<T: Item> Default for Tree<T> {
    fn default() -> Self {
        Self { root: Node::Leaf(Run::with_room(4)), len: 0, items: 0, heap_bytes: 0 }
    }
}

impl<T: Item> Tree<T> {
    /// Elements.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// About the bytes that the tree and its items hold, as if nothing were shared.
    #[must_use]
    pub fn bytes(&self) -> usize {
        // A leaf is two thirds full and has an eighth of room; 16 bytes of allocator and header each.
        let leaves = self.items.div_ceil(LEAF_MAX * 2 / 3).max(1);
        self.items * size_of::<T>() * 9 / 8 + leaves * (32 + 2 * size_of::<T>()) + self.heap_bytes
    }

    /// The item that holds the element at `position`, and how far in it lies.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<(&T, usize)> {
        if position >= self.len {
            return None;
        }
        let mut way = Within(position);
        let leaf = self.leaf(&mut way);
        let at = way.item(leaf);
        Some((&leaf[at], way.0))
    }

    /// The item at which `order` is `Equal`.
    #[inline]
    pub fn find(&self, order: impl FnMut(&T) -> Ordering) -> Option<&T> {
        let mut way = Ordered(order);
        let leaf = self.leaf(&mut way);
        let at = way.item(leaf);
        leaf.get(at).filter(|it| (way.0)(it) == Ordering::Equal)
    }

    /// The position of the item at which `order` is `Equal`; else of the first one behind, as an error.
    pub fn seek(&self, order: impl FnMut(&T) -> Ordering) -> Result<usize, usize> {
        let mut way = Ordered(order);
        let (mut node, mut position) = (&self.root, 0);
        while let Node::Inner(inner) = node {
            let at = way.child(inner);
            position += inner.counts[..at].iter().sum::<usize>();
            node = &inner.children[at];
        }
        let Node::Leaf(leaf) = node else { return Err(position) };
        let at = way.item(leaf);
        position += leaf[..at].iter().map(Item::count).sum::<usize>();
        match leaf.get(at) {
            Some(item) if (way.0)(item) == Ordering::Equal => Ok(position),
            _ => Err(position),
        }
    }

    /// Puts an item in front of the one that begins at `position`, or at the end. Where a tree is
    /// searched by order, only its two ends are safe: elsewhere the item may land on the wrong side of
    /// a separator, which only `insert_by` heeds.
    ///
    /// # Panics
    /// `position` lies beyond the end or within an item.
    pub fn insert(&mut self, position: usize, item: T) {
        assert!(position <= self.len, "an item is inserted beyond the end of a tree");
        self.put(&mut Border(position), item);
    }

    /// Puts an item where `order` says: behind all that are `Less`. None is `Equal`.
    pub fn insert_by(&mut self, order: impl FnMut(&T) -> Ordering, item: T) {
        self.put(&mut Ordered(order), item);
    }

    /// Takes out the item that holds the element at `position`.
    ///
    /// # Panics
    /// There is none.
    pub fn remove(&mut self, position: usize) -> T {
        assert!(position < self.len, "an item is removed beyond the end of a tree");
        self.cut(&mut Within(position))
    }

    /// Takes out the item at which `order` is `Equal`, if there is one.
    pub fn remove_by(&mut self, mut order: impl FnMut(&T) -> Ordering) -> Option<T> {
        // A look first: what is not there must not cost copies of shared nodes.
        self.find(&mut order)?;
        Some(self.cut(&mut Ordered(order)))
    }

    /// As `remove_by`, of an item that is known to be there: one way down less.
    pub fn remove_known(&mut self, mut order: impl FnMut(&T) -> Ordering) -> T {
        debug_assert!(self.find(&mut order).is_some(), "the item is there");
        self.cut(&mut Ordered(order))
    }

    /// Changes the item that holds the element at `position`; it stays where it is in the order.
    ///
    /// # Panics
    /// There is none, or no element is left in it.
    pub fn edit<R>(&mut self, position: usize, change: impl FnOnce(&mut T) -> R) -> R {
        assert!(position < self.len, "an item is changed beyond the end of a tree");
        self.alter(&mut Within(position), change)
    }

    /// Changes the item at which `order` is `Equal`, which is known to be there; it stays where it is in the
    /// order.
    pub fn edit_known<R>(
        &mut self,
        mut order: impl FnMut(&T) -> Ordering,
        change: impl FnOnce(&mut T) -> R,
    ) -> R {
        debug_assert!(self.find(&mut order).is_some(), "the item is there");
        self.alter(&mut Ordered(order), change)
    }

    #[must_use]
    pub fn iter(&self) -> Iter<'_, T> {
        self.iter_from(0)
    }

    /// Items from the one on that holds the element at `position`.
    #[must_use]
    pub fn iter_from(&self, position: usize) -> Iter<'_, T> {
        if position >= self.len {
            return Iter { tree: self, leaf: &[], next: 0, leaf_end: self.len };
        }
        let (leaf, next, _, leaf_end) = self.leaf_at(position);
        Iter { tree: self, leaf, next, leaf_end }
    }

    /// Items backwards, from the one on that holds the element at `position`, or from the last one.
    #[must_use]
    pub fn iter_back_from(&self, position: usize) -> IterBack<'_, T> {
        if self.len == 0 {
            return IterBack { tree: self, leaf: &[], left: 0, leaf_start: 0 };
        }
        let (leaf, at, leaf_start, _) = self.leaf_at(position.min(self.len - 1));
        IterBack { tree: self, leaf, left: at + 1, leaf_start }
    }

    /// Frees about `budget` items from the end on, without keeping the tree in order; true: there is
    /// more. For a tree that nobody needs any more.
    pub fn free_some(&mut self, budget: usize) -> bool {
        let mut left = budget.max(1);
        if shed(&mut self.root, &mut left) {
            *self = Self::default();
            return false;
        }
        true
    }

    /// The leaf to which the way leads.
    #[inline]
    fn leaf(&self, way: &mut impl Steer<T>) -> &[T] {
        let mut node = &self.root;
        loop {
            match node {
                Node::Leaf(leaf) => return leaf,
                Node::Inner(inner) => node = &inner.children[way.child(inner)],
            }
        }
    }

    /// The leaf with an element that is there: items, index of the one, and the positions of the
    /// leaf's first element and of the one behind its last.
    fn leaf_at(&self, position: usize) -> (&[T], usize, usize, usize) {
        let mut way = Within(position);
        let leaf = self.leaf(&mut way);
        let start = position - way.0;
        let count = leaf.iter().map(Item::count).sum::<usize>();
        (leaf, way.item(leaf), start, start + count)
    }

    fn put(&mut self, way: &mut impl Steer<T>, item: T) {
        assert!(item.count() > 0, "an item without elements");
        self.len += item.count();
        self.items += 1;
        self.heap_bytes += item.heap_bytes();
        if let Some((separator, right)) = insert(&mut self.root, way, item) {
            let left = std::mem::replace(&mut self.root, Node::Leaf(Run::with_room(0)));
            let first = left.first_separator();
            self.root = Node::Inner(Arc::new(Inner {
                counts: vec![left.count(), right.count()],
                separators: vec![first, separator],
                children: vec![left, right],
            }));
        }
    }

    fn cut(&mut self, way: &mut impl Steer<T>) -> T {
        let item = remove(&mut self.root, way);
        while let Node::Inner(inner) = &mut self.root
            && inner.children.len() == 1
            && let Some(only) = Arc::make_mut(inner).children.pop()
        {
            self.root = only;
        }
        self.len -= item.count();
        self.items -= 1;
        self.heap_bytes -= item.heap_bytes();
        item
    }

    fn alter<R>(&mut self, way: &mut impl Steer<T>, change: impl FnOnce(&mut T) -> R) -> R {
        let edited = edit(&mut self.root, way, change);
        self.len = self.len - edited.old.0 + edited.new.0;
        self.heap_bytes = self.heap_bytes - edited.old.1 + edited.new.1;
        edited.result
    }
}

impl<T: Item> Node<T> {
    fn count(&self) -> usize {
        match self {
            Self::Leaf(leaf) => leaf.iter().map(Item::count).sum(),
            Self::Inner(inner) => inner.counts.iter().sum(),
        }
    }

    fn first_separator(&self) -> T {
        match self {
            Self::Leaf(leaf) => leaf[0].separator(),
            Self::Inner(inner) => inner.separators[0].clone(),
        }
    }

    fn is_sparse(&self) -> bool {
        match self {
            Self::Leaf(leaf) => leaf.len() < LEAF_MAX / 4,
            Self::Inner(inner) => inner.children.len() < INNER_MAX / 4,
        }
    }
}

/// Puts an item below a node; what did not fit, with its separator, to be put on its right.
fn insert<T: Item>(node: &mut Node<T>, way: &mut impl Steer<T>, item: T) -> Option<(T, Node<T>)> {
    match node {
        Node::Leaf(leaf) => {
            let at = way.item(leaf);
            let right = insert_in_leaf(leaf, at, item)?;
            Some((right[0].separator(), Node::Leaf(right)))
        }
        Node::Inner(inner) => {
            let inner = Arc::make_mut(inner);
            let at = way.child(inner);
            inner.counts[at] += item.count();
            let (separator, right) = insert(&mut inner.children[at], way, item)?;
            let moved = right.count();
            inner.counts[at] -= moved;
            inner.counts.insert(at + 1, moved);
            inner.separators.insert(at + 1, separator);
            inner.children.insert(at + 1, right);
            let len = inner.children.len();
            if len <= INNER_MAX {
                return None;
            }
            let half = if at + 2 == len { len - len / 4 } else { len / 2 };
            let right = inner.split_off(half);
            Some((right.separators[0].clone(), Node::Inner(Arc::new(right))))
        }
    }
}

fn insert_in_leaf<T: Item>(leaf: &mut Run<T>, at: usize, item: T) -> Option<Run<T>> {
    if leaf.len() < LEAF_MAX {
        leaf.insert(at, item);
        return None;
    }
    if at == LEAF_MAX {
        return Some(Run::one(item));
    }
    if at == 0 {
        return Some(std::mem::replace(leaf, Run::one(item)));
    }
    let half = LEAF_MAX / 2;
    let mut right = leaf.split_off(half);
    if at <= half {
        leaf.insert(at, item);
    } else {
        right.insert(at - half, item);
    }
    Some(right)
}

fn remove<T: Item>(node: &mut Node<T>, way: &mut impl Steer<T>) -> T {
    match node {
        Node::Leaf(leaf) => {
            let at = way.item(leaf);
            leaf.remove(at)
        }
        Node::Inner(inner) => {
            let inner = Arc::make_mut(inner);
            let at = way.child(inner);
            let item = remove(&mut inner.children[at], way);
            inner.counts[at] -= item.count();
            if inner.children[at].is_sparse() && inner.children.len() > 1 {
                inner.mend(at.min(inner.children.len() - 2));
            }
            item
        }
    }
}

/// What a change gave, and count and bytes of the item before and after it.
struct Edited<R> {
    result: R,
    old: (usize, usize),
    new: (usize, usize),
}

fn edit<T: Item, R>(
    node: &mut Node<T>,
    way: &mut impl Steer<T>,
    change: impl FnOnce(&mut T) -> R,
) -> Edited<R> {
    match node {
        Node::Leaf(leaf) => {
            let at = way.item(leaf);
            let item = leaf.get_mut(at);
            let old = (item.count(), item.heap_bytes());
            let result = change(item);
            assert!(item.count() > 0, "an item was left without elements");
            Edited { result, old, new: (item.count(), item.heap_bytes()) }
        }
        Node::Inner(inner) => {
            let inner = Arc::make_mut(inner);
            let at = way.child(inner);
            let edited = edit(&mut inner.children[at], way, change);
            inner.counts[at] = inner.counts[at] - edited.old.0 + edited.new.0;
            edited
        }
    }
}

/// Frees below a node; true: nothing is left that is worth a further look.
fn shed<T>(node: &mut Node<T>, left: &mut usize) -> bool {
    match node {
        Node::Leaf(leaf) => {
            *left = left.saturating_sub(leaf.len().max(1));
            true
        }
        Node::Inner(inner) => {
            // Shared: others own what is below, and to let go of it costs nothing.
            let Some(inner) = Arc::get_mut(inner) else { return true };
            while let Some(last) = inner.children.last_mut() {
                if *left == 0 || !shed(last, left) {
                    return false;
                }
                inner.children.pop();
            }
            true
        }
    }
}

impl<T: Item> Inner<T> {
    fn split_off(&mut self, at: usize) -> Self {
        Self {
            counts: self.counts.split_off(at),
            separators: self.separators.split_off(at),
            children: self.children.split_off(at),
        }
    }

    /// Makes one of two neighbours where they fit, else shares their items evenly.
    fn mend(&mut self, left: usize) {
        self.counts.remove(left + 1);
        self.separators.remove(left + 1); // the right one's own first one, if it is inner
        let right = self.children.remove(left + 1);
        let split = match (&mut self.children[left], right) {
            (Node::Leaf(left), Node::Leaf(right)) => {
                left.append(right);
                let len = left.len();
                (len > LEAF_MAX).then(|| {
                    let right = left.split_off(len / 2);
                    (right[0].separator(), Node::Leaf(right))
                })
            }
            (Node::Inner(left), Node::Inner(mut right)) => {
                let (left, right) = (Arc::make_mut(left), Arc::make_mut(&mut right));
                left.counts.append(&mut right.counts);
                left.separators.append(&mut right.separators);
                left.children.append(&mut right.children);
                let len = left.children.len();
                (len > INNER_MAX).then(|| {
                    let right = left.split_off(len / 2);
                    (right.separators[0].clone(), Node::Inner(Arc::new(right)))
                })
            }
            _ => panic!("neighbours of unequal depth"),
        };
        self.counts[left] = self.children[left].count();
        if let Some((separator, right)) = split {
            self.counts.insert(left + 1, right.count());
            self.separators.insert(left + 1, separator);
            self.children.insert(left + 1, right);
        }
    }
}

impl<'a, T: Item> Iterator for Iter<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        if self.next == self.leaf.len() {
            if self.leaf_end >= self.tree.len {
                return None;
            }
            (self.leaf, self.next, _, self.leaf_end) = self.tree.leaf_at(self.leaf_end);
        }
        self.next += 1;
        Some(&self.leaf[self.next - 1])
    }
}

impl<'a, T: Item> Iterator for IterBack<'a, T> {
    type Item = &'a T;

    #[inline]
    fn next(&mut self) -> Option<&'a T> {
        if self.left == 0 {
            let (leaf, at, start, _) = self.tree.leaf_at(self.leaf_start.checked_sub(1)?);
            (self.leaf, self.left, self.leaf_start) = (leaf, at + 1, start);
        }
        self.left -= 1;
        Some(&self.leaf[self.left])
    }
}

impl<T: Item> Clone for Tree<T> {
    fn clone(&self) -> Self {
        let Self { root, len, items, heap_bytes } = self;
        Self { root: root.clone(), len: *len, items: *items, heap_bytes: *heap_bytes }
    }
}

impl<T> Clone for Node<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(leaf) => Self::Leaf(leaf.clone()),
            Self::Inner(inner) => Self::Inner(Arc::clone(inner)),
        }
    }
}

impl<T: Item> Clone for Inner<T> {
    fn clone(&self) -> Self {
        Self {
            counts: self.counts.clone(),
            separators: self.separators.clone(),
            children: self.children.clone(),
        }
    }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
