//! Memory into which cold sockets are received: one for all of a driver, emptied when all of it was
//! given back.

/// Bytes of it, and how many of them one receive may take.
const BYTES: usize = 256 * 1024;
const ROOM_MAX: usize = 16 * 1024;
/// With less room than this nothing is received: a request would be cut in two without need.
const ROOM_MIN: usize = 4 * 1024;
const ALIGN: usize = 64;

const _: () = assert!(ROOM_MIN <= ROOM_MAX && ROOM_MAX <= BYTES);

/// See the file's header.
#[derive(Debug)]
pub(super) struct Scratch {
    bytes: Box<[u8]>,
    used: usize,
    lent: usize,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { bytes: vec![0; BYTES].into_boxed_slice(), used: 0, lent: 0 }
    }
}

impl Scratch {
    /// Where the next receive may write to, if there is room.
    pub fn room(&mut self) -> Option<&mut [u8]> {
        let end = BYTES.min(self.used + ROOM_MAX);
        (end - self.used >= ROOM_MIN).then(|| &mut self.bytes[self.used..end])
    }

    /// Lends the first `len` bytes of that room; returns where they start.
    pub fn lend(&mut self, len: usize) -> u32 {
        let start = self.used;
        self.used = BYTES.min((start + len).next_multiple_of(ALIGN));
        self.lent += 1;
        u32::try_from(start).unwrap_or(0)
    }

    pub fn bytes(&self, start: u32, len: u32) -> &[u8] {
        &self.bytes[start as usize..start as usize + len as usize]
    }

    pub fn give_back(&mut self) {
        self.lent -= 1;
        if self.lent == 0 {
            self.used = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fills_up_and_is_empty_when_all_is_given_back() {
        let mut scratch = Scratch::default();
        let mut lent = 0;
        while let Some(room) = scratch.room() {
            room[..100].fill(7);
            let start = scratch.lend(100);
            assert_eq!(scratch.bytes(start, 100), [7; 100]);
            lent += 1;
        }
        assert!(lent * 128 > BYTES - ROOM_MIN - 128 && lent * 128 <= BYTES);
        (1..lent).for_each(|_| scratch.give_back());
        assert!(scratch.room().is_none());
        scratch.give_back();
        assert_eq!(scratch.room().unwrap().len(), ROOM_MAX);
    }
}
