//! A bounded queue from one thread to one other, without locks: the road of a hop between cores.
//!
//! ```text
//!      head (reader's)          tail (writer's)         held = head..tail, slots = capacity
//!   ...... [== items not yet taken ==) ......           item `i` lives in slot `i % capacity`
//! ```
//!
//! Each side keeps a copy of the other's position and looks at the shared one only when its copy
//! says full (writer) or empty (reader), so a batch costs one cache line to move, not one an item.
//!
//! Not here: waking the reader. Who sends decides whether somebody sleeps.
#![expect(unsafe_code, reason = "slots are shared between two threads by position")]

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The writing half.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    head_seen: usize,
}

/// The reading half.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    tail_seen: usize,
}

#[derive(Debug)]
struct Shared<T> {
    head: Line,
    tail: Line,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

/// A position alone on its cache line, so that the two sides do not disturb each other.
#[derive(Debug)]
#[repr(align(128))]
struct Line(AtomicUsize);

// SAFETY: a slot is touched by the writer while it is outside head..tail and by the reader while it
// is inside; the positions hand it over with release and acquire. Items cross threads: `T: Send`.
unsafe impl<T: Send> Sync for Shared<T> {}

/// A queue of `capacity` items, a power of two.
#[must_use]
pub fn queue<T: Send>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity.is_power_of_two());
    let slots = (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let (head, tail) = (Line(AtomicUsize::new(0)), Line(AtomicUsize::new(0)));
    let shared = Arc::new(Shared { head, tail, slots });
    (
        Sender { shared: Arc::clone(&shared), tail: 0, head_seen: 0 },
        Receiver { shared, head: 0, tail_seen: 0 },
    )
}

impl<T: Send> Sender<T> {
    /// Puts `item` in, or gives it back where the queue is full.
    ///
    /// # Errors
    /// The item, where there is no room for it.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        let capacity = self.shared.slots.len();
        if self.tail.wrapping_sub(self.head_seen) == capacity {
            self.head_seen = self.shared.head.0.load(Ordering::Acquire);
            if self.tail.wrapping_sub(self.head_seen) == capacity {
                return Err(item);
            }
        }
        let slot = &self.shared.slots[self.tail & (capacity - 1)];
        // SAFETY: the slot is outside head..tail, so it is the writer's, and there is one writer.
        unsafe { (*slot.get()).write(item) };
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }
}

impl<T: Send> Receiver<T> {
    /// Takes the oldest item.
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let slot = &self.shared.slots[self.head & (self.shared.slots.len() - 1)];
        // SAFETY: the slot is inside head..tail, so it was written, is the reader's, and is read once.
        let item = unsafe { (*slot.get()).assume_init_read() };
        self.head = self.head.wrapping_add(1);
        self.shared.head.0.store(self.head, Ordering::Release);
        Some(item)
    }

    /// Nothing to take at this moment.
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail_seen {
            self.tail_seen = self.shared.tail.0.load(Ordering::Acquire);
        }
        self.head == self.tail_seen
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let (mut head, tail) = (*self.head.0.get_mut(), *self.tail.0.get_mut());
        while head != tail {
            let capacity = self.slots.len();
            // SAFETY: both halves are gone; head..tail were written and not read.
            unsafe { self.slots[head & (capacity - 1)].get_mut().assume_init_drop() };
            head = head.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_out_in_order_and_a_full_queue_gives_them_back() {
        let (mut sender, mut receiver) = queue(4);
        for round in 0..10 {
            assert!((0..4).all(|it| sender.push(round * 4 + it).is_ok()));
            assert_eq!(sender.push(99), Err(99));
            assert!((0..4).all(|it| receiver.pop() == Some(round * 4 + it)));
            assert_eq!(receiver.pop(), None);
        }
    }

    #[test]
    fn what_was_not_taken_is_dropped_once() {
        let item = Arc::new(());
        let (mut sender, mut receiver) = queue(8);
        (0..5).for_each(|_| sender.push(Arc::clone(&item)).unwrap());
        drop(receiver.pop());
        assert_eq!(Arc::strong_count(&item), 5);
        drop((sender, receiver));
        assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the queue is about two threads")]
    fn two_threads_lose_and_reorder_nothing() {
        const ITEMS: u64 = 200_000;
        let (mut sender, mut receiver) = queue(64);
        let writer = std::thread::spawn(move || {
            for item in 0..ITEMS {
                let mut item = Box::new(item);
                while let Err(back) = sender.push(item) {
                    item = back;
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < ITEMS {
            match receiver.pop() {
                Some(item) => {
                    assert_eq!(*item, expected);
                    expected += 1;
                }
                None => std::thread::yield_now(),
            }
        }
        writer.join().unwrap();
    }
}
