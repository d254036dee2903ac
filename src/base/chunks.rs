//! A vector that grows chunk by chunk: nothing is ever copied, so that growing costs no time and no
//! second copy of what is there. Made for rows by number, of which there may be a million.

/// Rows of one chunk.
const ROWS: usize = 1_024;
const SHIFT: u32 = ROWS.trailing_zeros();

const _: () = assert!(ROWS.is_power_of_two());

/// See the file's header.
#[derive(Debug)]
pub struct Chunks<T> {
    chunks: Vec<Box<[T; ROWS]>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self { chunks: Vec::new() }
    }
}

impl<T: Default> Chunks<T> {
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&T> {
        self.chunks.get(index >> SHIFT).map(|chunk| &chunk[index & (ROWS - 1)])
    }

    #[inline]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        self.chunks.get_mut(index >> SHIFT).map(|chunk| &mut chunk[index & (ROWS - 1)])
    }

    /// Makes sure that there is a row `index`; new rows are `T::default()`.
    pub fn reach(&mut self, index: usize) {
        while self.len() <= index {
            let chunk: Vec<T> = (0..ROWS).map(|_| T::default()).collect();
            if let Ok(chunk) = chunk.into_boxed_slice().try_into() {
                self.chunks.push(chunk);
            }
        }
    }

    /// Rows that there are: a multiple of a chunk's.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks.len() * ROWS
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stay_where_they_are_when_it_grows() {
        let mut rows = Chunks::<u64>::default();
        assert!(rows.is_empty() && rows.get(0).is_none());
        rows.reach(0);
        *rows.get_mut(7).unwrap() = 7;
        let before: *const u64 = rows.get(7).unwrap();
        rows.reach(10 * ROWS);
        assert!(rows.len() == 11 * ROWS && rows.get(rows.len()).is_none());
        assert!(std::ptr::eq(before, rows.get(7).unwrap()) && rows.get(7) == Some(&7));
        *rows.get_mut(ROWS).unwrap() = 8;
        assert_eq!(rows.iter().sum::<u64>(), 15);
    }
}
