//! The side table: values and keys too long for a record, and large collections, shared by reference.
//!
//! A reply or a snapshot that holds such a value clones its `Bytes`, never its bytes. A change to
//! one that nobody shares happens in place and grows by doubling, so N appends cost O(what was
//! appended); a change to a shared one copies it once.
//!
//! Not here: which record owns an entry. An entry has exactly one owner.

use bytes::{Bytes, BytesMut};

use super::arena::Full;
use super::object::Object;

const CHUNK: usize = 1_024;

/// Slots in chunks, so that growth never moves what is there.
#[derive(Default)]
pub struct Large {
    chunks: Vec<Vec<Slot>>,
    free: Option<u32>,
    used_bytes: usize,
}

enum Slot {
    Free(Option<u32>),
    /// `capacity` is what the allocation behind `bytes` holds, as far as we know.
    Bytes {
        bytes: Bytes,
        capacity: usize,
    },
    Object(Object),
    /// Taken out to be changed.
    Open,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub enum Entry {
    Bytes(Bytes),
    Object(Object),
}

/// An entry, borrowed.
#[derive(Clone, Copy, Debug)]
pub enum EntryRef<'a> {
    Bytes(&'a Bytes),
    Object(&'a Object),
}

// Each slot costs this much: a container that is larger goes behind a `Box`.
const _: () = assert!(size_of::<Slot>() <= 48);

impl Slot {
    fn of(entry: Entry) -> Self {
        match entry {
            Entry::Bytes(bytes) => {
                let capacity = bytes.len();
                Self::Bytes { bytes, capacity }
            }
            Entry::Object(object) => Self::Object(object),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Free(_) | Self::Open => 0,
            Self::Bytes { capacity, .. } => *capacity,
            Self::Object(object) => object.bytes(),
        }
    }
}

impl Large {
    /// Keeps an entry; the index is the caller's until `take`.
    pub fn put(&mut self, entry: Entry) -> Result<u32, Full> {
        let slot = Slot::of(entry);
        self.used_bytes += slot.bytes();
        if let Some(index) = self.free {
            let place = self.slot_mut(index);
            if let Slot::Free(next) = std::mem::replace(place, slot) {
                self.free = next;
            }
            return Ok(index);
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.len() - 1;
        let index = u32::try_from(last * CHUNK + self.chunks[last].len()).map_err(|_| Full)?;
        self.chunks[last].push(slot);
        Ok(index)
    }

    /// Gives the entry up.
    pub fn take(&mut self, index: u32) -> Entry {
        let next = self.free;
        let entry = self.swap(index, Slot::Free(next));
        self.free = Some(index);
        entry
    }

    /// Takes the entry out to be changed; until `close` it must not be looked at.
    pub fn open(&mut self, index: u32) -> Entry {
        self.swap(index, Slot::Open)
    }

    /// Puts back what `open` took out. `spare`: bytes that its allocation holds beyond its length.
    pub fn close(&mut self, index: u32, entry: Entry, spare: usize) {
        let mut slot = Slot::of(entry);
        if let Slot::Bytes { capacity, .. } = &mut slot {
            *capacity += spare;
        }
        self.used_bytes += slot.bytes();
        let old = std::mem::replace(self.slot_mut(index), slot);
        assert!(matches!(old, Slot::Open), "closed a large value that was not open");
    }

    /// The bytes of an entry that is no object.
    #[must_use]
    pub fn get(&self, index: u32) -> &Bytes {
        match self.entry(index) {
            EntryRef::Bytes(bytes) => bytes,
            EntryRef::Object(_) => panic!("an object is no key"),
        }
    }

    #[inline]
    #[must_use]
    pub fn entry(&self, index: u32) -> EntryRef<'_> {
        match self.slot(index) {
            Slot::Bytes { bytes, .. } => EntryRef::Bytes(bytes),
            Slot::Object(object) => EntryRef::Object(object),
            Slot::Free(_) | Slot::Open => panic!("a record names a free large value"),
        }
    }

    /// What the entry's allocation holds.
    #[must_use]
    pub fn capacity(&self, index: u32) -> usize {
        self.slot(index).bytes()
    }

    /// Overwrites from `offset` on, with zeros between the old end and `offset`.
    pub fn write(&mut self, index: u32, offset: usize, new: &[u8]) {
        let end = offset + new.len();
        self.edit(index, end, |bytes| bytes[offset..end].copy_from_slice(new));
    }

    /// Lends the value, zero-padded to `len_min` bytes, to be changed in place.
    pub fn edit<R>(&mut self, index: u32, len_min: usize, edit: impl FnOnce(&mut [u8]) -> R) -> R {
        let Slot::Bytes { bytes, capacity } = self.slot_mut(index) else {
            panic!("a record names a free large value")
        };
        let old_capacity = *capacity;
        let mut owned = match std::mem::take(bytes).try_into_mut() {
            Ok(owned) => owned,
            Err(shared) => {
                let mut copy = BytesMut::with_capacity(shared.len().max(len_min));
                copy.extend_from_slice(&shared);
                copy
            }
        };
        if owned.len() < len_min {
            owned.resize(len_min, 0);
        }
        let result = edit(&mut owned);
        *capacity = owned.capacity();
        let new_capacity = *capacity;
        *bytes = owned.freeze();
        self.used_bytes = self.used_bytes - old_capacity + new_capacity;
        result
    }

    /// Bytes of all allocations here.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes + self.chunks.len() * CHUNK * size_of::<Slot>()
    }

    fn swap(&mut self, index: u32, slot: Slot) -> Entry {
        let old = std::mem::replace(self.slot_mut(index), slot);
        self.used_bytes -= old.bytes();
        match old {
            Slot::Bytes { bytes, .. } => Entry::Bytes(bytes),
            Slot::Object(object) => Entry::Object(object),
            Slot::Free(_) | Slot::Open => panic!("a large value was freed twice"),
        }
    }

    fn slot(&self, index: u32) -> &Slot {
        &self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }

    fn slot_mut(&mut self, index: u32) -> &mut Slot {
        &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again() {
        let mut large = Large::default();
        let a = large.put(Entry::Bytes(Bytes::from_static(b"a"))).unwrap();
        let b = large.put(Entry::Bytes(Bytes::from_static(b"b"))).unwrap();
        assert!(matches!(large.take(a), Entry::Bytes(bytes) if bytes == "a"));
        assert_eq!(large.put(Entry::Bytes(Bytes::from_static(b"c"))), Ok(a));
        assert_eq!((large.get(a).as_ref(), large.get(b).as_ref()), (&b"c"[..], &b"b"[..]));
    }

    #[test]
    fn a_shared_value_is_copied_once_and_an_unshared_one_grows_in_place() {
        let mut large = Large::default();
        let at = large.put(Entry::Bytes(Bytes::from(vec![b'x'; 2_000]))).unwrap();
        let reply = large.get(at).clone();
        large.write(at, 2_000, b"y");
        assert_eq!((reply.len(), large.get(at).len()), (2_000, 2_001));
        let mut moved = 0;
        for _ in 0..100_000 {
            let (before, len) = (large.get(at).as_ptr(), large.get(at).len());
            large.write(at, len, b"z");
            moved += usize::from(before != large.get(at).as_ptr());
        }
        assert!(moved < 20, "{moved} moves");
        large.write(at, 102_003, b"!");
        assert_eq!(large.get(at)[102_001..], *b"\0\0!");
        drop(large.take(at));
        assert_eq!(large.used_bytes, 0);
    }
}
