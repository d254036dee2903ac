//! A HyperLogLog as the bytes of a string, in Redis' two representations.
//!
//! ```text
//!   "HYLL"  encoding  0 0 0  cardinality (8, little-endian; top bit set: out of date)  registers
//!
//!   dense   16,384 registers of 6 bits, the lowest bits of a byte first: 12,288 bytes
//!   sparse  runs:  00xxxxxx            x+1 registers of 0
//!                  01xxxxxx yyyyyyyy   xy+1 registers of 0
//!                  1vvvvvxx            x+1 registers of v+1
//! ```
//!
//! GET hands these bytes out and SET takes them in, so every function here reads bytes from
//! outside: a damaged sparse one is `Err(Damaged)`, whatever its runs say. Runs are split and joined in
//! the very steps that Redis takes, for the bytes must come out the same.
//!
//! Estimation: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches",
//! arXiv:1702.01284.
//!
//! Not here: where the bytes are kept, and when the cardinality is written into them.

/// Registers, as a power of two.
const PRECISION: u32 = 14;
pub const REGISTERS: usize = 1 << PRECISION;
/// The bits of a hash in which zeros are counted.
const HASH_BITS: usize = 64 - PRECISION as usize;
const HEADER: usize = 16;
const REGISTER_BITS: usize = 6;
pub const DENSE_BYTES: usize = HEADER + REGISTERS * REGISTER_BITS / 8;

const DENSE: u8 = 0;
const SPARSE: u8 = 1;

const ZERO_LEN_MAX: usize = 64;
const VALUE_MAX: u8 = 32;
const VALUE_LEN_MAX: usize = 4;

/// A sparse one whose runs do not make 16,384 registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// A run of equal registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Zero(usize),
    LongZero(usize),
    Value(u8, usize),
}

impl Run {
    /// The run at `at`, and the bytes it takes; a byte that is missing counts as zero.
    fn at(bytes: &[u8], at: usize) -> Option<(Self, usize)> {
        let byte = *bytes.get(at)?;
        Some(match byte >> 6 {
            0 => (Self::Zero(usize::from(byte & 0x3f) + 1), 1),
            1 => {
                let low = bytes.get(at + 1).copied().unwrap_or(0);
                (Self::LongZero((usize::from(byte & 0x3f) << 8 | usize::from(low)) + 1), 2)
            }
            _ => (Self::Value((byte >> 2 & 0x1f) + 1, usize::from(byte & 3) + 1), 1),
        })
    }

    fn len(self) -> usize {
        match self {
            Self::Zero(len) | Self::LongZero(len) | Self::Value(_, len) => len,
        }
    }

    fn value(self) -> u8 {
        if let Self::Value(value, _) = self { value } else { 0 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "each part has its bits")]
    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Value(value, len) => out.push(0x80 | (value - 1) << 2 | (len - 1) as u8),
            Self::Zero(len) | Self::LongZero(len) if len > ZERO_LEN_MAX => {
                out.extend([0x40 | ((len - 1) >> 8) as u8, (len - 1) as u8]);
            }
            Self::Zero(len) | Self::LongZero(len) => out.push((len - 1) as u8),
        }
    }
}

/// An empty one.
#[must_use]
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..4].copy_from_slice(b"HYLL");
    bytes[4] = SPARSE;
    Run::LongZero(REGISTERS).write(&mut bytes);
    bytes
}

/// Do these bytes look like one? Runs are looked at when they are used.
#[must_use]
pub fn is_hll(bytes: &[u8]) -> bool {
    match bytes {
        [b'H', b'Y', b'L', b'L', DENSE, ..] => bytes.len() == DENSE_BYTES,
        [b'H', b'Y', b'L', b'L', SPARSE, ..] => bytes.len() >= HEADER,
        _ => false,
    }
}

#[must_use]
pub fn is_dense(bytes: &[u8]) -> bool {
    bytes.get(4) == Some(&DENSE)
}

/// The cardinality in the header, unless it is out of date.
#[must_use]
pub fn cached(bytes: &[u8]) -> Option<u64> {
    let card = u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    (card >> 63 == 0).then_some(card)
}

/// Writes the cardinality into the header.
pub fn cache(bytes: &mut [u8], card: u64) {
    if let Some(place) = bytes.get_mut(8..HEADER) {
        place.copy_from_slice(&card.to_le_bytes());
    }
}

/// Marks the cardinality in the header as out of date.
pub fn outdate(bytes: &mut [u8]) {
    if let Some(byte) = bytes.get_mut(HEADER - 1) {
        *byte |= 0x80;
    }
}

/// The register that an element belongs to, and what it wants to be there at least.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "14 bits, and at most 51 zeros")]
pub fn position(element: &[u8]) -> (usize, u8) {
    let hash = murmur64(element, 0xadc8_3b19);
    let index = hash as usize & (REGISTERS - 1);
    let rest = hash >> PRECISION | 1 << HASH_BITS;
    (index, rest.trailing_zeros() as u8 + 1)
}

/// Sets a register of a dense one if that makes it larger.
pub fn raise_dense(bytes: &mut [u8], index: usize, value: u8) -> bool {
    let Some(registers) = bytes.get_mut(HEADER..) else { return false };
    let higher = register(registers, index) < value;
    if higher {
        let (at, shift) = (index * REGISTER_BITS / 8, index * REGISTER_BITS % 8);
        let mask = 0x3f_u16 << shift;
        let low = registers.get(at).copied().unwrap_or(0);
        let high = registers.get(at + 1).copied().unwrap_or(0);
        let both = u16::from_le_bytes([low, high]) & !mask | u16::from(value & 0x3f) << shift;
        for (place, byte) in registers.iter_mut().skip(at).zip(both.to_le_bytes()) {
            *place = byte;
        }
    }
    higher
}

/// Sets a register if that makes it larger; a sparse one that would be longer than `sparse_bytes_max` or
/// cannot hold the value becomes dense.
///
/// # Errors
/// [`Damaged`]; nothing has changed then.
pub fn raise(
    bytes: &mut Vec<u8>,
    index: usize,
    value: u8,
    sparse_bytes_max: usize,
) -> Result<bool, Damaged> {
    if is_dense(bytes) {
        return Ok(raise_dense(bytes, index, value));
    }
    if value > VALUE_MAX {
        to_dense(bytes)?;
        return Ok(raise_dense(bytes, index, value));
    }
    let (mut at, mut first, mut before) = (HEADER, 0, HEADER);
    let (run, run_bytes) = loop {
        let (run, run_bytes) = Run::at(bytes, at).ok_or(Damaged)?;
        if index < first + run.len() {
            break (run, run_bytes);
        }
        first += run.len();
        before = at;
        at += run_bytes;
    };
    if run.value() >= value {
        return Ok(false);
    }
    let part = |len| match run {
        Run::Value(value, _) => Run::Value(value, len),
        Run::Zero(_) | Run::LongZero(_) => Run::Zero(len),
    };
    let mut runs = Vec::with_capacity(5);
    let (left, right) = (index - first, first + run.len() - 1 - index);
    if left > 0 {
        part(left).write(&mut runs);
    }
    Run::Value(value, 1).write(&mut runs);
    if right > 0 {
        part(right).write(&mut runs);
    }
    let longer = runs.len().saturating_sub(run_bytes);
    if longer > 0 && bytes.len() + longer > sparse_bytes_max {
        to_dense(bytes)?;
        return Ok(raise_dense(bytes, index, value));
    }
    let end = bytes.len().min(at + run_bytes);
    bytes.splice(at..end, runs);
    join(bytes, before);
    outdate(bytes);
    Ok(true)
}

/// Joins equal neighbours among the five runs from `at` on, where one run can hold both.
fn join(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..5 {
        let Some((run, run_bytes)) = Run::at(bytes, at) else { return };
        if let (Run::Value(value, len), Some((Run::Value(next, more), _))) =
            (run, Run::at(bytes, at + 1))
            && value == next
            && len + more <= VALUE_LEN_MAX
        {
            let mut joined = Vec::with_capacity(1);
            Run::Value(value, len + more).write(&mut joined);
            bytes.splice(at..at + 2, joined);
            continue;
        }
        at += run_bytes;
    }
}

/// Makes a sparse one dense; the header stays.
///
/// # Errors
/// [`Damaged`]; nothing has changed then.
pub fn to_dense(bytes: &mut Vec<u8>) -> Result<(), Damaged> {
    if is_dense(bytes) {
        return Ok(());
    }
    let mut dense = vec![0; DENSE_BYTES];
    dense[..HEADER].copy_from_slice(bytes.get(..HEADER).ok_or(Damaged)?);
    dense[4] = DENSE;
    each_run(bytes, |first, value, len| {
        for index in first..first + len {
            raise_dense(&mut dense, index, value);
        }
    })?;
    *bytes = dense;
    Ok(())
}

/// All registers of a dense or sparse one, in order.
///
/// # Errors
/// [`Damaged`]
pub fn registers(bytes: &[u8]) -> Result<Vec<u8>, Damaged> {
    let mut all = vec![0; REGISTERS];
    merge(&mut all, bytes)?;
    Ok(all)
}

/// Raises `all` to the registers of a dense or sparse one.
///
/// # Errors
/// [`Damaged`]; some may have been raised.
pub fn merge(all: &mut [u8], bytes: &[u8]) -> Result<(), Damaged> {
    if is_dense(bytes) {
        let (groups, _) = bytes.get(HEADER..).unwrap_or_default().as_chunks::<3>();
        for (four, group) in all.chunks_exact_mut(4).zip(groups) {
            for (place, value) in four.iter_mut().zip(unpack(*group)) {
                *place = (*place).max(value);
            }
        }
        return Ok(());
    }
    each_run(bytes, |first, value, len| {
        let places = all.get_mut(first..first + len).unwrap_or_default();
        places.iter_mut().for_each(|place| *place = (*place).max(value));
    })
}

/// How many different elements were added, about.
///
/// # Errors
/// [`Damaged`]
pub fn count(bytes: &[u8]) -> Result<u64, Damaged> {
    let mut histogram = [0; 64];
    if is_dense(bytes) {
        let (groups, _) = bytes.get(HEADER..).unwrap_or_default().as_chunks::<3>();
        for value in groups.iter().flat_map(|group| unpack(*group)) {
            histogram[usize::from(value & 0x3f)] += 1;
        }
        return Ok(estimate(&histogram));
    }
    let mut others = 0;
    each_run(bytes, |_, value, len| {
        histogram[usize::from(value & 0x3f)] += len;
        others += len;
    })?;
    histogram[0] = REGISTERS - others;
    Ok(estimate(&histogram))
}

/// As [`count`], of registers side by side.
#[must_use]
pub fn count_registers(all: &[u8]) -> u64 {
    let mut histogram = [0; 64];
    all.iter().for_each(|value| histogram[usize::from(value & 0x3f)] += 1);
    estimate(&histogram)
}

/// The runs of a sparse one; whatever is damaged is shown as far as it goes.
pub fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let (run, run_bytes) = Run::at(bytes, at)?;
        at += run_bytes;
        Some(run)
    })
}

/// The runs that are not zero: first register, value, length. All runs make `REGISTERS`, or it is damaged.
fn each_run(bytes: &[u8], mut each: impl FnMut(usize, u8, usize)) -> Result<(), Damaged> {
    let mut first = 0;
    for run in runs(bytes) {
        let end = first + run.len();
        if end > REGISTERS {
            return Err(Damaged);
        }
        if let Run::Value(value, len) = run {
            each(first, value, len);
        }
        first = end;
    }
    if first == REGISTERS { Ok(()) } else { Err(Damaged) }
}

/// Four registers of three bytes.
fn unpack([a, b, c]: [u8; 3]) -> [u8; 4] {
    [a & 0x3f, a >> 6 | b << 2 & 0x3f, b >> 4 | c << 4 & 0x3f, c >> 2]
}

fn register(registers: &[u8], index: usize) -> u8 {
    let (at, shift) = (index * REGISTER_BITS / 8, index * REGISTER_BITS % 8);
    let low = registers.get(at).copied().unwrap_or(0);
    let high = registers.get(at + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([low, high]) >> shift & 0x3f).to_le_bytes()[0]
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of registers are small, and the estimate is a whole number by then"
)]
fn estimate(histogram: &[usize; 64]) -> u64 {
    // 1 / (2 ln 2)
    const ALPHA: f64 = 0.721_347_520_444_481_7;
    let m = REGISTERS as f64;
    let mut z = m * tau((m - histogram[HASH_BITS + 1] as f64) / m);
    for count in histogram[1..=HASH_BITS].iter().rev() {
        z += *count as f64;
        z *= 0.5;
    }
    z += m * sigma(histogram[0] as f64 / m);
    (ALPHA * m * m / z).round() as u64
}

/// Ertl's sigma: what registers that are still zero add.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// Ertl's tau: what registers that are full take away.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// Austin Appleby's MurmurHash2, the 64-bit version for 64-bit platforms.
fn murmur64(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = (hash ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        let mut last = [0; 8];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> R;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> R
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    /// Whatever the runs are, nothing panics, and sparse and dense say the same.
    #[test]
    fn sparse_and_dense_agree_and_damage_is_an_error() {
        let mut prng = Prng::new(3);
        for round in 0..200_u32 {
            let (mut sparse, mut dense) = (empty(), empty());
            to_dense(&mut dense).unwrap();
            for n in 0..prng.below(400) {
                let (index, value) = position(format!("{round}:{n}").as_bytes());
                let index = if round % 2 == 0 { index % 200 } else { index };
                let raised = raise(&mut sparse, index, value % 5 + 1, 3_000).unwrap();
                assert_eq!(raised, raise(&mut dense, index, value % 5 + 1, 0).unwrap());
            }
            assert_eq!(registers(&sparse), registers(&dense));
            assert_eq!(count(&sparse), count(&dense));
            let mut damaged = sparse;
            for _ in 0..3 {
                let at = HEADER + usize::try_from(prng.below(damaged.len() as u64)).unwrap();
                let bits = prng.next_u64().to_le_bytes()[0];
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= bits;
                }
                damaged.truncate(damaged.len() - usize::from(bits & 1));
                let _ = (count(&damaged), registers(&damaged));
                let mut copy = damaged.clone();
                let _ = raise(&mut copy, usize::from(bits) << 6, 33, 100);
                let _ = raise(&mut damaged, usize::from(bits) << 6, 9, 100);
            }
        }
    }
}
