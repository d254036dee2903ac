//! A short array that several owners may share: a leaf of `tree.rs`, in one allocation.
//!
//! ```text
//!   shares  4   owners
//!   len     2   items in use
//!   room    2   items that the allocation has place for
//!   items   room * size of an item
//! ```
//!
//! Whoever writes to a shared one gets a copy of its own first. Room grows by an eighth, not by
//! doubling: runs are short and many, so what they do not use would be most of what they waste.
//!
//! Not here: order, counts, and how long a run may get (the tree's business, up to 65,535).
#![expect(unsafe_code, reason = "items behind a header in one allocation")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering, fence};

pub struct Run<T> {
    head: NonNull<Head<T>>,
    owns: PhantomData<T>,
}

#[repr(C)]
struct Head<T> {
    shares: AtomicU32,
    len: u16,
    room: u16,
    items: [T; 0],
}

// SAFETY: as `Arc<[T]>`: owners on several threads share `T`s by reference, and the last one drops
// them; a write happens only while `shares` says that there is one owner.
unsafe impl<T: Send + Sync> Send for Run<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Run<T> {}

impl<T> Run<T> {
    /// One without items, with room for some.
    #[must_use]
    pub fn with_room(room: usize) -> Self {
        let room = u16::try_from(room).unwrap_or(u16::MAX);
        let layout = Self::layout(room);
        // SAFETY: the layout has a header, so it is not empty.
        let memory = unsafe { alloc(layout) };
        let Some(head) = NonNull::new(memory.cast::<Head<T>>()) else { handle_alloc_error(layout) };
        // SAFETY: freshly allocated with the header's size and alignment.
        unsafe { head.write(Head { shares: AtomicU32::new(1), len: 0, room, items: [] }) };
        Self { head, owns: PhantomData }
    }

    /// Bytes of the allocation.
    #[must_use]
    pub fn bytes(&self) -> usize {
        Self::layout(self.head().room).size()
    }

    fn layout(room: u16) -> Layout {
        let size = size_of::<Head<T>>() + usize::from(room) * size_of::<T>();
        Layout::from_size_align(size, align_of::<Head<T>>()).unwrap_or(Layout::new::<Head<T>>())
    }

    fn head(&self) -> &Head<T> {
        // SAFETY: `head` is valid as long as any owner lives, and only the single owner writes.
        unsafe { self.head.as_ref() }
    }

    fn items(&self) -> *mut T {
        // SAFETY: the items follow the header in the same allocation.
        unsafe { (&raw mut (*self.head.as_ptr()).items).cast::<T>() }
    }

    fn is_shared(&self) -> bool {
        self.head().shares.load(Ordering::Acquire) != 1
    }

    /// Says how many items there are. The caller is the only owner, and the items are there.
    fn set_len(&mut self, len: usize) {
        // SAFETY: the caller is the only owner.
        unsafe { (*self.head.as_ptr()).len = u16::try_from(len).unwrap_or(u16::MAX) };
    }

    /// Sets the room of an unshared run. It never is less than the items there.
    fn resize(&mut self, room: usize) {
        let new = u16::try_from(room).unwrap_or(u16::MAX);
        assert!(usize::from(new) >= self.len(), "a run of over 65,535 items");
        let (old_layout, new_layout) = (Self::layout(self.head().room), Self::layout(new));
        // SAFETY: allocated with `old_layout`; the header makes the new size positive.
        let memory = unsafe { realloc(self.head.as_ptr().cast(), old_layout, new_layout.size()) };
        let Some(head) = NonNull::new(memory.cast::<Head<T>>()) else {
            handle_alloc_error(new_layout)
        };
        self.head = head;
        // SAFETY: the header was moved along, and the caller is the only owner.
        unsafe { (*self.head.as_ptr()).room = new };
    }
}

impl<T: Clone> Run<T> {
    #[must_use]
    pub fn one(item: T) -> Self {
        let mut run = Self::with_room(4);
        run.insert(0, item);
        run
    }

    pub fn insert(&mut self, at: usize, item: T) {
        let len = self.len();
        assert!(at <= len, "an item is inserted beyond the end of a run");
        self.own(1);
        // SAFETY: unshared, with room for one more; `at <= len`.
        unsafe {
            let place = self.items().add(at);
            ptr::copy(place, place.add(1), len - at);
            place.write(item);
        }
        self.set_len(len + 1);
    }

    pub fn remove(&mut self, at: usize) -> T {
        let len = self.len();
        assert!(at < len, "an item is removed beyond the end of a run");
        self.own(0);
        // SAFETY: unshared; the item at `at` is moved out and the ones behind it over its place.
        let item = unsafe {
            let place = self.items().add(at);
            let item = place.read();
            ptr::copy(place.add(1), place, len - at - 1);
            item
        };
        self.set_len(len - 1);
        self.trim();
        item
    }

    /// Takes the items from `at` on out.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let len = self.len();
        assert!(at <= len, "a run is split beyond its end");
        self.own(0);
        let mut right = Self::with_room(len - at + 1);
        // SAFETY: both unshared and apart; the items are moved, since this run forgets them.
        unsafe { ptr::copy_nonoverlapping(self.items().add(at), right.items(), len - at) };
        self.set_len(at);
        right.set_len(len - at);
        self.resize(at + 1);
        right
    }

    pub fn append(&mut self, mut other: Self) {
        let (len, more) = (self.len(), other.len());
        self.own(more);
        if other.is_shared() {
            for item in other.iter() {
                self.insert(self.len(), item.clone());
            }
            return;
        }
        // SAFETY: both unshared, with room for all; the items are moved, since `other` forgets them.
        unsafe { ptr::copy_nonoverlapping(other.items(), self.items().add(len), more) };
        other.set_len(0);
        self.set_len(len + more);
    }

    pub fn get_mut(&mut self, at: usize) -> &mut T {
        assert!(at < self.len(), "an item is changed beyond the end of a run");
        self.own(0);
        // SAFETY: unshared, and there is an item at `at`.
        unsafe { &mut *self.items().add(at) }
    }

    /// Makes this the only owner, with room for some more.
    fn own(&mut self, more: usize) {
        let len = self.len();
        if self.is_shared() {
            let mut copy = Self::with_room(len + more + 1);
            for (at, item) in self.iter().enumerate() {
                // SAFETY: the copy has room for as many items, and is not shared.
                unsafe { copy.items().add(at).write(item.clone()) };
                copy.set_len(at + 1);
            }
            *self = copy;
        } else if len + more > usize::from(self.head().room) {
            self.resize(len + more.max(3 + len / 8));
        }
    }

    /// Gives room back where most of it is not used.
    fn trim(&mut self) {
        let (len, room) = (self.len(), usize::from(self.head().room));
        if room > 8 && len < room / 2 {
            self.resize(len + 3);
        }
    }
}

impl<T> Deref for Run<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` items are there.
        unsafe { std::slice::from_raw_parts(self.items(), usize::from(self.head().len)) }
    }
}

impl<T> Clone for Run<T> {
    fn clone(&self) -> Self {
        let before = self.head().shares.fetch_add(1, Ordering::Relaxed);
        assert!(before < u32::MAX / 2, "a run has too many owners");
        Self { head: self.head, owns: PhantomData }
    }
}

impl<T> Drop for Run<T> {
    fn drop(&mut self) {
        if self.head().shares.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        let layout = Self::layout(self.head().room);
        // SAFETY: this was the last owner: the items are dropped once, and then the allocation.
        unsafe {
            ptr::drop_in_place(ptr::slice_from_raw_parts_mut(self.items(), self.len()));
            dealloc(self.head.as_ptr().cast(), layout);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::rc::Rc;

    #[test]
    fn equals_a_vector_and_drops_each_item_once() {
        let mut prng = Prng::new(7);
        let mut draw = |below: usize| usize::try_from(prng.below(below as u64)).unwrap();
        let alive = Rc::new(());
        let make = |n: usize| (n, Rc::clone(&alive));
        let numbers = |run: &Run<(usize, Rc<()>)>| run.iter().map(|it| it.0).collect::<Vec<_>>();
        for _ in 0..200 {
            let (mut run, mut model) = (Run::one(make(0)), vec![0]);
            let mut kept: Vec<(Run<_>, Vec<usize>)> = Vec::new();
            for n in 1..200 {
                match draw(12) {
                    0 => kept.push((run.clone(), model.clone())),
                    1 if kept.len() > 2 => drop(kept.swap_remove(0)),
                    2..5 if !model.is_empty() => {
                        let at = draw(model.len());
                        assert_eq!(run.remove(at).0, model.remove(at));
                    }
                    5 if !model.is_empty() => {
                        let at = draw(model.len());
                        run.get_mut(at).0 = n;
                        model[at] = n;
                    }
                    6 => {
                        let at = draw(model.len() + 1);
                        let right = run.split_off(at);
                        assert_eq!((numbers(&run), numbers(&right)).0, model[..at]);
                        if draw(2) == 0 {
                            kept.push((right.clone(), model[at..].to_vec()));
                        }
                        run.append(right);
                    }
                    _ => {
                        let at = draw(model.len() + 1);
                        run.insert(at, make(n));
                        model.insert(at, n);
                    }
                }
                assert_eq!(numbers(&run), model);
            }
            kept.iter().for_each(|(run, model)| assert_eq!(numbers(run), *model));
        }
        assert_eq!(Rc::strong_count(&alive), 1);
    }
}
