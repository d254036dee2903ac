//! Small sets of integers as Redis' intset: sorted numbers of one width.
//!
//! ```text
//!   <width, u32 LE: 2, 4 or 8> <numbers, u32 LE> number .. number     signed, little-endian, ascending
//! ```
//!
//! The width is that of the widest number that was ever in it; it never shrinks.
//!
//! Trap: all but [`validate`] trust the bytes.
//!
//! Not here: when a set is too large for this.

const HEADER: usize = 8;

/// An intset to be read.
#[derive(Clone, Copy, Debug)]
pub struct IntSet<'a> {
    width: usize,
    numbers: &'a [u8],
}

impl<'a> IntSet<'a> {
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { width: usize::from(bytes[0]), numbers: &bytes[HEADER..] }
    }

    #[must_use]
    pub fn len(self) -> usize {
        self.numbers.len() / self.width
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.numbers.is_empty()
    }

    /// The number of this rank, which there must be.
    #[inline]
    #[must_use]
    pub fn get(self, rank: usize) -> i64 {
        read(&self.numbers[rank * self.width..][..self.width])
    }

    #[must_use]
    pub fn contains(self, number: i64) -> bool {
        width_of(number) <= self.width && self.search(number).is_ok()
    }

    pub fn iter(self) -> impl DoubleEndedIterator<Item = i64> + 'a {
        self.numbers.chunks_exact(self.width).map(read)
    }

    /// Its rank, or the rank that it would have.
    fn search(self, number: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(&number) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}

/// A set without numbers.
#[must_use]
pub fn empty() -> Vec<u8> {
    vec![2, 0, 0, 0, 0, 0, 0, 0]
}

/// Puts a number in; false: it is there already.
pub fn insert(set: &mut Vec<u8>, number: i64) -> bool {
    let width = width_of(number);
    if width > usize::from(set[0]) {
        widen(set, width);
    }
    let it = IntSet::new(set);
    let (width, Err(rank)) = (it.width, it.search(number)) else { return false };
    let (at, len) = (HEADER + rank * width, set.len());
    set.resize(len + width, 0);
    set.copy_within(at..len, at + width);
    set[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
    set_len(set);
    true
}

/// Takes a number out; false: it is not there.
pub fn remove(set: &mut Vec<u8>, number: i64) -> bool {
    let it = IntSet::new(set);
    let (width, Ok(rank)) = (it.width, it.search(number)) else { return false };
    let at = HEADER + rank * width;
    set.drain(at..at + width);
    set_len(set);
    true
}

/// Is this an intset? How many numbers, if so. For bytes from outside.
#[must_use]
pub fn validate(bytes: &[u8]) -> Option<usize> {
    let (header, numbers) = bytes.split_first_chunk::<HEADER>()?;
    let [a, b, c, d, e, f, g, h] = *header;
    let width = match u32::from_le_bytes([a, b, c, d]) {
        2 => 2,
        4 => 4,
        8 => 8,
        _ => return None,
    };
    let len = usize::try_from(u32::from_le_bytes([e, f, g, h])).ok()?;
    if len.checked_mul(width) != Some(numbers.len()) {
        return None;
    }
    let set = IntSet { width, numbers };
    set.iter().zip(set.iter().skip(1)).all(|(a, b)| a < b).then_some(len)
}

fn widen(set: &mut Vec<u8>, width: usize) {
    let numbers: Vec<i64> = IntSet::new(set).iter().collect();
    set.truncate(HEADER);
    set[0] = u8::try_from(width).unwrap_or(8);
    for number in numbers {
        set.extend_from_slice(&number.to_le_bytes()[..width]);
    }
}

fn set_len(set: &mut [u8]) {
    let len = u32::try_from(IntSet::new(set).len()).unwrap_or(u32::MAX);
    set[4..HEADER].copy_from_slice(&len.to_le_bytes());
}

fn width_of(number: i64) -> usize {
    if i16::try_from(number).is_ok() {
        2
    } else if i32::try_from(number).is_ok() {
        4
    } else {
        8
    }
}

#[inline]
fn read(bytes: &[u8]) -> i64 {
    match *bytes {
        [a, b] => i16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::BTreeSet;

    #[test]
    fn random_edits_equal_those_of_a_set() {
        let mut prng = Prng::new(3);
        for bits in [8, 20, 40, 63] {
            let (mut set, mut model) = (empty(), BTreeSet::new());
            for _ in 0..2_000 {
                let number = i64::try_from(prng.below(1 << bits)).unwrap() - (1 << (bits - 1));
                let number = if prng.chance(1, 3) {
                    model.first().copied().unwrap_or(number)
                } else {
                    number
                };
                assert_eq!(IntSet::new(&set).contains(number), model.contains(&number));
                if prng.chance(1, 4) {
                    assert_eq!(remove(&mut set, number), model.remove(&number));
                } else {
                    assert_eq!(insert(&mut set, number), model.insert(number));
                }
                assert_eq!(validate(&set), Some(model.len()));
            }
            assert!(IntSet::new(&set).iter().eq(model.iter().copied()));
        }
    }

    #[test]
    fn nothing_foreign_is_taken_unless_whole() {
        let mut set = empty();
        [1, 70_000, -5].into_iter().for_each(|number| assert!(insert(&mut set, number)));
        assert_eq!(set, b"\x04\0\0\0\x03\0\0\0\xfb\xff\xff\xff\x01\0\0\0\x70\x11\x01\0");
        assert_eq!(validate(&set), Some(3));
        for cut in 0..set.len() {
            assert_eq!(validate(&set[..cut]), None);
        }
        set[8..12].copy_from_slice(&[1, 0, 0, 0]);
        assert_eq!(validate(&set), None, "1 is there twice");
        set[0] = 3;
        assert_eq!(validate(&set), None);
    }
}
