//! Tests of `tree.rs`: against a vector and a sorted map, with clones in between, to every bound of a node.

use super::*;
use crate::base::prng::Prng;
use std::rc::Rc;

/// Some elements under a key, and a witness of how many there are.
#[derive(Clone)]
struct Chunk {
    key: u64,
    count: usize,
    _alive: Rc<()>,
}

impl Item for Chunk {
    fn count(&self) -> usize {
        self.count
    }

    fn heap_bytes(&self) -> usize {
        self.count * 10
    }

    fn separator(&self) -> Self {
        self.clone()
    }
}

fn keys(tree: &Tree<Chunk>) -> Vec<(u64, usize)> {
    tree.iter().map(|it| (it.key, it.count)).collect()
}

/// No bounds on keys.
const ANY: (u64, u64) = (u64::MAX, 0);

fn check(tree: &Tree<Chunk>, by_position: bool) {
    fn depth(node: &Node<Chunk>, bounds: (u64, u64), count: usize) -> usize {
        match node {
            Node::Leaf(leaf) => {
                assert!(leaf.len() <= LEAF_MAX && !leaf.is_empty());
                assert_eq!(count, leaf.iter().map(Item::count).sum::<usize>());
                let within = |it: &Chunk| (bounds.0..bounds.1).contains(&it.key);
                assert!(bounds == ANY || leaf.iter().all(within));
                0
            }
            Node::Inner(inner) => {
                let len = inner.children.len();
                assert!((2..=INNER_MAX).contains(&len));
                assert_eq!((inner.counts.len(), inner.separators.len()), (len, len));
                assert_eq!(count, inner.counts.iter().sum::<usize>());
                let depths: Vec<usize> = (0..len)
                    .map(|at| {
                        let low = if at == 0 { bounds.0 } else { inner.separators[at].key };
                        let high = inner.separators.get(at + 1).map_or(bounds.1, |it| it.key);
                        let bounds = if bounds == ANY { ANY } else { (low, high) };
                        depth(&inner.children[at], bounds, inner.counts[at])
                    })
                    .collect();
                assert!(depths.iter().all(|it| *it == depths[0]));
                depths[0] + 1
            }
        }
    }
    if tree.items > 0 {
        depth(&tree.root, if by_position { ANY } else { (0, u64::MAX) }, tree.len);
    }
    assert_eq!(tree.items, tree.iter().count());
    assert_eq!(tree.len, tree.iter().map(Item::count).sum::<usize>());
    assert_eq!(tree.heap_bytes, tree.len * 10);
}

type Model = Vec<(u64, usize)>;

/// A tree with one item a key beside its model, and clones beside what they held when they were
/// made. Used either by order alone or by position alone: then keys are no more than names.
struct World {
    tree: Tree<Chunk>,
    model: Model,
    clones: Vec<(Tree<Chunk>, Model)>,
    by_position: bool,
    prng: Prng,
    alive: Rc<()>,
}

impl World {
    fn draw(&mut self, below: usize) -> usize {
        usize::try_from(self.prng.below(below as u64)).unwrap()
    }

    fn position(&self, index: usize) -> usize {
        self.model[..index].iter().map(|it| it.1).sum()
    }

    fn insert(&mut self, index: usize, key: u64) {
        let chunk = Chunk { key, count: 1 + self.draw(3), _alive: Rc::clone(&self.alive) };
        let position = self.position(index);
        let at_end = index == 0 || index == self.model.len();
        self.model.insert(index, (key, chunk.count));
        if self.by_position || at_end && self.draw(2) == 0 {
            self.tree.insert(position, chunk);
        } else {
            self.tree.insert_by(|it| it.key.cmp(&key), chunk);
        }
    }

    fn edit(&mut self) {
        let (index, count) = (self.draw(self.model.len()), 1 + self.draw(4));
        let (key, old) = self.model[index];
        let inside = self.position(index) + self.draw(old);
        self.model[index].1 = count;
        let change = |it: &mut Chunk| std::mem::replace(&mut it.count, count);
        let got = if self.by_position {
            Some(self.tree.edit(inside, change))
        } else {
            Some(self.tree.edit_known(|it| it.key.cmp(&key), change))
        };
        assert_eq!(got, Some(old));
    }

    fn remove(&mut self) {
        let index = self.draw(self.model.len());
        let (position, (key, count)) = (self.position(index), self.model.remove(index));
        let inside = position + self.draw(count);
        let (got, offset) = self.tree.get(inside).unwrap();
        assert_eq!((got.key, offset), (key, inside - position));
        let order = |it: &Chunk| it.key.cmp(&key);
        let got = if self.by_position || self.draw(2) == 0 {
            self.tree.remove(inside)
        } else {
            self.tree.remove_by(order).unwrap()
        };
        assert_eq!(got.key, key);
        assert!(self.by_position || self.tree.remove_by(order).is_none());
    }

    fn clone_or_compare_one(&mut self) {
        if self.clones.len() < 3 {
            return self.clones.push((self.tree.clone(), self.model.clone()));
        }
        let at = self.draw(3);
        let (mut tree, model) = self.clones.swap_remove(at);
        check(&tree, self.by_position);
        assert_eq!(keys(&tree), model);
        while tree.free_some(10) {}
    }

    fn compare(&mut self) {
        check(&self.tree, self.by_position);
        assert_eq!(keys(&self.tree), self.model);
        let from = self.draw(self.tree.len() + 1);
        let (tree, model) = (&self.tree, &self.model);
        let index = tree.get(from).map_or(model.len(), |(item, _)| {
            model.binary_search_by_key(&item.key, |it| it.0).unwrap()
        });
        assert!(tree.iter_from(from).map(|it| it.key).eq(model[index..].iter().map(|it| it.0)));
        let last = model.len().min(index + 1);
        let back = model[..last].iter().rev().map(|it| it.0);
        assert!(tree.iter_back_from(from).map(|it| it.key).eq(back));
    }
}

fn run(seed: u64, steps: usize, grow: usize, ascending: bool) {
    let mut world = World {
        tree: Tree::default(),
        model: Vec::new(),
        clones: Vec::new(),
        by_position: seed % 2 == 1,
        prng: Prng::new(seed),
        alive: Rc::new(()),
    };
    for step in 0..steps {
        let key = if ascending { step } else { world.draw(steps * 4) } as u64;
        let found = world.model.binary_search_by_key(&key, |it| it.0);
        if !world.by_position {
            let order = |it: &Chunk| it.key.cmp(&key);
            assert_eq!(world.tree.find(order).map(|it| it.key), found.ok().map(|_| key));
            let before = |index| world.position(index);
            assert_eq!(world.tree.seek(order), found.map(before).map_err(before));
        }
        match (world.draw(20), found) {
            (roll, Err(index)) if roll < grow => world.insert(index, key),
            (19, _) => world.clone_or_compare_one(),
            _ if world.model.is_empty() => {}
            (18, _) => world.edit(),
            _ => world.remove(),
        }
        if step % 997 == 0 || step + 1 == steps {
            world.compare();
        }
    }
    let World { alive, tree, clones, .. } = world;
    drop((tree, clones));
    assert_eq!(Rc::strong_count(&alive), 1, "each item is dropped once");
}

#[test]
fn random_programs_equal_those_of_a_vector() {
    for seed in 0..12 {
        let grow = if seed < 6 { 17 } else { 10 };
        run(seed, 3_000, grow, seed % 5 == 0);
    }
    run(100, 12_000, 17, false);
    run(101, 12_000, 17, true);
}

#[test]
fn grows_and_shrinks_to_nothing() {
    let alive = Rc::new(());
    let chunk = |key| Chunk { key, count: 1, _alive: Rc::clone(&alive) };
    let mut tree = Tree::default();
    let order = |n: u64| (n * 7_919) % 50_021;
    (0..50_021).for_each(|n| tree.insert_by(|it: &Chunk| it.key.cmp(&order(n)), chunk(order(n))));
    check(&tree, false);
    let full = tree.clone();
    for n in 0..50_021 {
        assert_eq!(tree.remove_by(|it| it.key.cmp(&order(n))).map(|it| it.key), Some(order(n)));
        if n % 5_000 == 0 {
            check(&tree, false);
        }
    }
    assert!(tree.is_empty() && tree.iter().next().is_none());
    check(&full, false);
    assert_eq!(full.len(), 50_021);
}

#[test]
fn freeing_goes_in_slices_and_leaves_what_is_shared() {
    let alive = Rc::new(());
    let mut tree = Tree::default();
    for key in 0..100_000 {
        tree.insert(tree.len(), Chunk { key, count: 1, _alive: Rc::clone(&alive) });
    }
    let keep = tree.clone();
    assert!(!tree.free_some(1), "all of it is shared");
    let mut tree = keep;
    let (mut slices, mut before) = (0, Rc::strong_count(&alive));
    while tree.free_some(500) {
        let now = Rc::strong_count(&alive);
        assert!(before - now <= 2 * (500 + LEAF_MAX), "{before} {now}");
        (before, slices) = (now, slices + 1);
    }
    assert!(slices > 100, "{slices}");
    assert_eq!((Rc::strong_count(&alive), tree.len()), (1, 0));
}

#[test]
fn what_is_loaded_in_order_lies_dense() {
    let alive = Rc::new(());
    let mut tree = Tree::default();
    for key in 0..64_000 {
        tree.insert(tree.len(), Chunk { key, count: 1, _alive: Rc::clone(&alive) });
    }
    let mut leaves = 0;
    let mut at = 0;
    while at < tree.len() {
        (leaves, at) = (leaves + 1, tree.leaf_at(at).3);
    }
    assert_eq!(leaves, 64_000 / LEAF_MAX);
}
