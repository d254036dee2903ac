//! Many short queues in one slab.
//!
//! A million clients each have three queues, nearly all of them empty. A queue costs its client two
//! indices; its elements are linked nodes of a slab that all clients of a thread share, and the
//! node freed last is used first, so that few clients in flight touch few cache lines.

const NONE: u32 = u32::MAX;

/// One queue: where its first and last nodes are.
#[derive(Clone, Copy, Debug)]
pub struct Fifo {
    head: u32,
    tail: u32,
}

/// The slab of all queues of one kind.
#[derive(Clone, Debug)]
pub struct Fifos<T> {
    nodes: Vec<(T, u32)>,
    free: u32,
}

impl Fifo {
    pub const EMPTY: Self = Self { head: NONE, tail: NONE };

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.head == NONE
    }
}

impl<T> Default for Fifos<T> {
    fn default() -> Self {
        Self { nodes: Vec::new(), free: NONE }
    }
}

impl<T: Copy> Fifos<T> {
    pub fn push(&mut self, fifo: &mut Fifo, value: T) {
        let at = self.free;
        let at = if at == NONE {
            self.nodes.push((value, NONE));
            u32::try_from(self.nodes.len() - 1).unwrap_or(NONE)
        } else {
            let node = &mut self.nodes[at as usize];
            self.free = node.1;
            *node = (value, NONE);
            at
        };
        if fifo.head == NONE {
            fifo.head = at;
        } else {
            self.nodes[fifo.tail as usize].1 = at;
        }
        fifo.tail = at;
    }

    #[must_use]
    pub fn front_mut(&mut self, fifo: Fifo) -> Option<&mut T> {
        self.nodes.get_mut(fifo.head as usize).map(|it| &mut it.0)
    }

    #[must_use]
    pub fn back_mut(&mut self, fifo: Fifo) -> Option<&mut T> {
        self.nodes.get_mut(fifo.tail as usize).map(|it| &mut it.0)
    }

    pub fn pop(&mut self, fifo: &mut Fifo) -> Option<T> {
        let at = fifo.head;
        let node = self.nodes.get_mut(at as usize)?;
        let (value, next) = *node;
        node.1 = self.free;
        self.free = at;
        fifo.head = next;
        if next == NONE {
            fifo.tail = NONE;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;
    use std::collections::VecDeque;

    #[test]
    fn queues_keep_their_order_and_share_their_nodes() {
        let mut fifos = Fifos::default();
        let mut queues = [Fifo::EMPTY; 5];
        let mut model = vec![VecDeque::new(); 5];
        let mut draw = Draw::new(1, 2);
        for step in 0..20_000u64 {
            let at = crate::draw::to_usize(draw.below(5));
            if draw.below(2) == 0 && model[at].len() < 20 {
                fifos.push(&mut queues[at], step);
                model[at].push_back(step);
            } else {
                assert_eq!(fifos.pop(&mut queues[at]), model[at].pop_front());
            }
            assert_eq!(fifos.front_mut(queues[at]).copied(), model[at].front().copied());
            assert_eq!(fifos.back_mut(queues[at]).copied(), model[at].back().copied());
            assert_eq!(queues[at].is_empty(), model[at].is_empty());
        }
        assert!(fifos.nodes.len() <= 100, "{}", fifos.nodes.len());
    }
}
