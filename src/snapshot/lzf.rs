//! LZF, the compression of strings in RDB files (Marc Lehmann's format).
//!
//! ```text
//!   000nnnnn <n+1 bytes>              these bytes as they are
//!   nnnooooo oooooooo                 n+2 bytes again from o+1 bytes back, n in 1..=6
//!   111ooooo nnnnnnnn oooooooo        the same, n+9 bytes
//! ```
//!
//! Three bytes become 264 at most, so an announced length beyond `unpacked_bytes_max` is a lie and is
//! refused before anything is allocated.
//!
//! Not the bytes that liblzf would write (its hash differs), but bytes that it reads.

const BACK_BYTES_MAX: usize = 1 << 13;
const MATCH_BYTES_MIN: usize = 3;
const MATCH_BYTES_MAX: usize = 7 + 255 + 2;
const LITERAL_BYTES_MAX: usize = 32;
/// Matches from here on take three bytes.
const LONG_MATCH_BYTES: usize = 9;
const HASH_BITS: u32 = 13;
/// Below this many bytes nothing is worth the try.
const PACKED_SAVING_BYTES_MIN: usize = 4;
/// What a compressor keeps of its buffer after a large string.
const KEPT_BYTES_MAX: usize = 1 << 20;

const _: () = {
    assert!(MATCH_BYTES_MAX == 264 && LONG_MATCH_BYTES == 7 + 2);
    assert!(BACK_BYTES_MAX == 0x1fff + 1);
};

/// Why packed bytes are no LZF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LzfError {
    /// They end inside a token.
    Truncated,
    /// A token points before the beginning.
    BackBeyondStart,
    /// They give more or fewer bytes than announced.
    WrongLength,
}

/// A compressor: the places where each three bytes were last seen. One per core; 32 KiB.
pub struct Compressor {
    /// Positions count on over all inputs, so that a new input need not clear the table: whatever
    /// lies before `base` belongs to an older one.
    seen: Box<[u32]>,
    base: u32,
    packed: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self { seen: vec![0; 1 << HASH_BITS].into_boxed_slice(), base: 1, packed: Vec::new() }
    }
}

impl Compressor {
    /// `input` packed, if that saves at least four bytes.
    pub fn pack(&mut self, input: &[u8]) -> Option<&[u8]> {
        let packed_bytes_max = input.len().checked_sub(PACKED_SAVING_BYTES_MIN)?;
        let base = self.enter(input.len())?;
        let mut out = std::mem::take(&mut self.packed);
        out.clear();
        out.shrink_to(KEPT_BYTES_MAX);
        self.fill(input, base, packed_bytes_max, &mut out);
        self.packed = out;
        (1..=packed_bytes_max).contains(&self.packed.len()).then_some(&self.packed)
    }

    fn fill(&mut self, input: &[u8], base: u32, packed_bytes_max: usize, out: &mut Vec<u8>) {
        let (mut at, mut literal_from) = (0, 0);
        while let Some(three) = input.get(at..at + MATCH_BYTES_MIN) {
            let from = self.last_seen(three, base, at);
            if let Some(from) = from.filter(|from| input[*from..].starts_with(three)) {
                let len = common_bytes(&input[from..], &input[at..]);
                put_literals(&input[literal_from..at], out);
                put_match(at - from, len, out);
                // The positions inside a match are remembered sparsely: its last two suffice for the
                // next match to be found, and cost nothing in long runs.
                for skipped in (at + len).saturating_sub(2).max(at + 1)..at + len {
                    if let Some(three) = input.get(skipped..skipped + MATCH_BYTES_MIN) {
                        self.last_seen(three, base, skipped);
                    }
                }
                at += len;
                literal_from = at;
            } else {
                at += 1;
            }
            if out.len() + (at - literal_from) > packed_bytes_max {
                break;
            }
        }
        put_literals(&input[literal_from..], out);
    }

    /// The base for an input of `len` bytes; `None` where positions could not count that far.
    fn enter(&mut self, len: usize) -> Option<u32> {
        let len = u32::try_from(len).ok()?;
        let after = match self.base.checked_add(len) {
            Some(after) => after,
            None => {
                self.seen.fill(0);
                self.base = 1;
                len.checked_add(1)?
            }
        };
        Some(std::mem::replace(&mut self.base, after))
    }

    /// Where `three` was last seen in this input, near enough to point at; from now on, here.
    fn last_seen(&mut self, three: &[u8], base: u32, at: usize) -> Option<usize> {
        let word = u32::from_le_bytes([three[0], three[1], three[2], 0]);
        let slot = word.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS);
        #[expect(clippy::cast_possible_truncation, reason = "`enter` bounds positions by u32")]
        let here = base + at as u32;
        let before = std::mem::replace(&mut self.seen[slot as usize], here);
        let from = before.checked_sub(base)? as usize;
        (at - from <= BACK_BYTES_MAX).then_some(from)
    }
}

/// The most that `packed` bytes can unpack to.
#[must_use]
pub fn unpacked_bytes_max(packed: u64) -> u64 {
    packed.saturating_mul(MATCH_BYTES_MAX as u64 / 3)
}

/// Appends what `packed` stands for to `out`: exactly `len` bytes.
///
/// # Errors
/// Where `packed` is not the LZF form of `len` bytes; `out` then holds a part of them.
pub fn unpack(mut packed: &[u8], len: usize, out: &mut Vec<u8>) -> Result<(), LzfError> {
    let start = out.len();
    let end = start.checked_add(len).ok_or(LzfError::WrongLength)?;
    while let Some((&control, rest)) = packed.split_first() {
        packed = rest;
        if usize::from(control) < LITERAL_BYTES_MAX {
            let run = usize::from(control) + 1;
            let (literals, rest) = packed.split_at_checked(run).ok_or(LzfError::Truncated)?;
            packed = rest;
            if out.len() + run > end {
                return Err(LzfError::WrongLength);
            }
            out.extend_from_slice(literals);
            continue;
        }
        let mut run = usize::from(control >> 5) + 2;
        if run == LONG_MATCH_BYTES {
            run += usize::from(take_byte(&mut packed)?);
        }
        let back = (usize::from(control & 0x1f) << 8 | usize::from(take_byte(&mut packed)?)) + 1;
        if out.len() + run > end {
            return Err(LzfError::WrongLength);
        }
        let from = out.len().checked_sub(back).filter(|from| *from >= start);
        copy_back(out, from.ok_or(LzfError::BackBeyondStart)?, run);
    }
    if out.len() == end { Ok(()) } else { Err(LzfError::WrongLength) }
}

fn take_byte(packed: &mut &[u8]) -> Result<u8, LzfError> {
    let (&byte, rest) = packed.split_first().ok_or(LzfError::Truncated)?;
    *packed = rest;
    Ok(byte)
}

/// Appends `run` bytes from `from` on; source and target overlap where a run repeats itself.
fn copy_back(out: &mut Vec<u8>, from: usize, run: usize) {
    let mut left = run;
    while left > 0 {
        let step = left.min(out.len() - from);
        out.extend_from_within(from..from + step);
        left -= step;
    }
}

/// How many bytes `old` and `new` begin with alike, as far as one token can say.
fn common_bytes(old: &[u8], new: &[u8]) -> usize {
    let most = new.len().min(MATCH_BYTES_MAX);
    old.iter().zip(&new[..most]).take_while(|(a, b)| a == b).count()
}

fn put_literals(literals: &[u8], out: &mut Vec<u8>) {
    for run in literals.chunks(LITERAL_BYTES_MAX) {
        #[expect(clippy::cast_possible_truncation, reason = "a chunk has 1 to 32 bytes")]
        out.push((run.len() - 1) as u8);
        out.extend_from_slice(run);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "back <= 8192 and len <= 264, asserted")]
fn put_match(back: usize, len: usize, out: &mut Vec<u8>) {
    assert!((1..=BACK_BYTES_MAX).contains(&back));
    assert!((MATCH_BYTES_MIN..=MATCH_BYTES_MAX).contains(&len));
    let offset = back - 1;
    let high = (offset >> 8) as u8;
    if len < LONG_MATCH_BYTES {
        out.push(((len - 2) as u8) << 5 | high);
    } else {
        out.extend_from_slice(&[0b1110_0000 | high, (len - LONG_MATCH_BYTES) as u8]);
    }
    out.push((offset & 0xff) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn check(compressor: &mut Compressor, input: &[u8]) -> Option<usize> {
        let packed = compressor.pack(input)?;
        assert!(packed.len() + PACKED_SAVING_BYTES_MIN <= input.len());
        assert!(unpacked_bytes_max(packed.len() as u64) >= input.len() as u64);
        let mut back = b"kept".to_vec();
        assert_eq!(unpack(packed, input.len(), &mut back), Ok(()));
        assert_eq!(&back[4..], input);
        Some(packed.len())
    }

    #[test]
    fn what_is_packed_unpacks_to_itself() {
        let seed = 0x12f;
        let mut prng = Prng::new(seed);
        let mut compressor = Compressor::default();
        let mut packed = 0;
        for round in 0..3_000_u64 {
            let len = prng.below(if round % 50 == 0 { 40_000 } else { 300 });
            let bits = prng.below(9);
            let letters = 1 + prng.below(1 << bits);
            let input: Vec<u8> = (0..len).map(|_| prng.below(letters).to_le_bytes()[0]).collect();
            packed += usize::from(check(&mut compressor, &input).is_some());
        }
        assert!(packed > 1_000, "seed {seed}: only {packed} were packed");
    }

    #[test]
    fn edges() {
        let mut compressor = Compressor::default();
        assert_eq!(check(&mut compressor, b""), None);
        assert_eq!(check(&mut compressor, b"abcdefghijklmnopqrstuvwxyz"), None);
        // One literal, then runs of 264 at three bytes each.
        assert_eq!(check(&mut compressor, &[7; 1 + 264 * 10]), Some(2 + 30));
        // The farthest place that a token can name, and one beyond. Random bytes cost a 32nd more, so
        // the repeated text is what saves.
        for (gap, near) in [(BACK_BYTES_MAX, true), (BACK_BYTES_MAX + 1, false)] {
            let mut prng = Prng::new(3);
            let mut input: Vec<u8> = (0..1_000_u16).flat_map(u16::to_be_bytes).collect();
            let again = input.clone();
            input.extend((input.len()..gap).map(|_| prng.next_u64().to_le_bytes()[0]));
            input.extend(again);
            assert_eq!(check(&mut compressor, &input).is_some(), near);
        }
    }

    #[test]
    fn positions_start_again_when_they_run_out() {
        let mut compressor = Compressor { base: u32::MAX - 100, ..Compressor::default() };
        for _ in 0..5 {
            assert!(check(&mut compressor, &[b'x'; 90]).is_some());
        }
        assert!(compressor.base < 1_000);
    }

    #[test]
    fn damaged_bytes_are_refused_with_the_reason() {
        let cases: [(&[u8], usize, LzfError); 8] = [
            (b"\x02ab", 3, LzfError::Truncated),
            (b"\x20", 3, LzfError::Truncated),
            (b"\xe0\x01", 10, LzfError::Truncated),
            (b"\x20\x00", 3, LzfError::BackBeyondStart),
            (b"\x00a\x20\x01", 4, LzfError::BackBeyondStart),
            (b"\x00a\x20\x00", 3, LzfError::WrongLength),
            (b"\x00a\x20\x00", 5, LzfError::WrongLength),
            (b"\x01ab", 1, LzfError::WrongLength),
        ];
        for (packed, len, expected) in cases {
            let mut out = b"earlier bytes are out of reach".to_vec();
            assert_eq!(unpack(packed, len, &mut out), Err(expected), "{packed:?}");
        }
        let mut out = Vec::new();
        assert_eq!(unpack(b"\x00a\x20\x00", 4, &mut out), Ok(()));
        assert_eq!(out, b"aaaa");
    }
}
