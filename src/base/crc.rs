//! Two checksums with their tables built at compile time: CRC16 of keys, CRC64 of files.
//!
//! * `crc16` is XMODEM's: polynomial 0x1021, bits in natural order, starts at 0. It runs once per
//!   key per request over 8 to 32 bytes, so eight bytes are folded per step by eight tables.
//! * `Crc64` is Jones': polynomial 0xad93d23594c935a9, bits reflected, starts at 0, nothing XORed
//!   at the end. It runs over megabytes and folds sixteen bytes per step. Because start and end are 0, checksums are linear, and `combine` joins those of two
//!   neighbours without their bytes: each core may checksum its own piece of a file.
//!
//! Trap: with a start value of 0 leading zero bytes do not change either checksum; a length must be
//! guarded by whoever writes the format.

const POLY16: u16 = 0x1021;
/// 0xad93d23594c935a9 with its bits reversed, as a right-shifting CRC needs it.
const POLY64: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();

/// `TABLES16[n][b]`: what byte `b` contributes when `n` more bytes follow it.
static TABLES16: [[u16; 256]; 8] = tables16();
static TABLES64: [[u64; 256]; 16] = tables64();
/// `POWERS64[n]`: x^(2^n) modulo the polynomial, reflected.
static POWERS64: [u64; 64] = powers64();

/// The CRC16 (XMODEM) of `bytes`.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0_u16;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let [high, low] = crc.to_be_bytes();
        crc = entry16(7, word[0] ^ high)
            ^ entry16(6, word[1] ^ low)
            ^ entry16(5, word[2])
            ^ entry16(4, word[3])
            ^ entry16(3, word[4])
            ^ entry16(2, word[5])
            ^ entry16(1, word[6])
            ^ entry16(0, word[7]);
    }
    for &byte in rest {
        let [high, low] = crc.to_be_bytes();
        crc = entry16(0, high ^ byte) ^ (u16::from(low) << 8);
    }
    crc
}

/// A CRC64 (Jones) that grows with the bytes it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crc64(u64);

impl Crc64 {
    /// Goes on over `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let (blocks, rest) = bytes.as_chunks::<16>();
        for block in blocks {
            let folded = (u128::from_le_bytes(*block) ^ u128::from(crc)).to_le_bytes();
            crc = 0;
            for (n, &byte) in folded.iter().enumerate() {
                crc ^= entry64(15 - n, byte);
            }
        }
        for &byte in rest {
            crc = entry64(0, crc.to_le_bytes()[0] ^ byte) ^ (crc >> 8);
        }
        self.0 = crc;
    }

    /// The checksum of `bytes` alone.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut crc = Self::default();
        crc.update(bytes);
        crc
    }

    /// The checksum of what `self` saw followed by `len` bytes whose own checksum is `next`.
    #[must_use]
    pub fn combine(self, next: Self, len: u64) -> Self {
        // Appending `len` bytes multiplies by x^(8 * len); square and multiply, so 64 steps at most.
        let mut shifted = self.0;
        let mut left = len;
        let mut power = 3; // 8 = 2^3 bits to a byte
        while left != 0 {
            if left & 1 == 1 {
                shifted = multiply64(POWERS64[power % 64], shifted);
            }
            left >>= 1;
            power += 1;
        }
        Self(shifted ^ next.0)
    }

    /// The checksum as the number that files hold, little-endian.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}

#[inline(always)]
fn entry16(table: usize, byte: u8) -> u16 {
    TABLES16[table][usize::from(byte)]
}

#[inline(always)]
fn entry64(table: usize, byte: u8) -> u64 {
    TABLES64[table][usize::from(byte)]
}

const fn tables16() -> [[u16; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte: u16 = 0;
    while byte < 256 {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLY16 };
            bit += 1;
        }
        tables[0][byte as usize] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = tables[0][(before >> 8) as usize] ^ (before << 8);
            byte += 1;
        }
        n += 1;
    }
    tables
}

const fn tables64() -> [[u64; 256]; 16] {
    let mut tables = [[0; 256]; 16];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ POLY64 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 16 {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[n - 1][byte];
            tables[n][byte] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            byte += 1;
        }
        n += 1;
    }
    tables
}

const fn powers64() -> [u64; 64] {
    let mut powers = [0; 64];
    powers[0] = 1 << 62; // x^1: reflected, the top bit is x^0
    let mut n = 1;
    while n < 64 {
        powers[n] = multiply64(powers[n - 1], powers[n - 1]);
        n += 1;
    }
    powers
}

/// The product of two reflected polynomials modulo `POLY64`.
const fn multiply64(a: u64, mut b: u64) -> u64 {
    let mut product = 0;
    let mut bit = 64;
    while bit > 0 {
        bit -= 1;
        if (a >> bit) & 1 == 1 {
            product ^= b;
        }
        b = if b & 1 == 0 { b >> 1 } else { (b >> 1) ^ POLY64 };
    }
    product
}

const _: () = {
    // Published tables begin so.
    let (tables16, tables64) = (tables16(), tables64());
    assert!(tables16[0][1] == 0x1021 && tables16[0][255] == 0x1ef0);
    assert!(tables64[0][1] == 0x7ad8_70c8_3035_8979 && tables64[0][255] == 0x29b7_d047_efec_8728);
    // x^64 is the polynomial itself: the 6th squaring of x.
    assert!(powers64()[6] == POLY64);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn bitwise16(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ (u16::from(byte) << 8), |crc: u16, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            })
        })
    }

    fn bitwise64(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ u64::from(byte), |crc: u64, _| {
                if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ POLY64 }
            })
        })
    }

    fn random(prng: &mut Prng, len: usize) -> Vec<u8> {
        (0..len).map(|_| prng.next_u64().to_le_bytes()[0]).collect()
    }

    #[test]
    fn the_published_check_values() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(Crc64::of(b"123456789").value(), 0xe9c6_d914_c4b8_d9ca);
    }

    /// Slots that a redis-server 7.0.15 names for these keys; 16384 slots.
    #[test]
    fn slots_of_a_real_server() {
        let slots: [(&[u8], u16); 5] = [
            (b"a", 15_495),
            (b"foo", 12_182),
            (b"user:1000", 1_649),
            (b"hello world this is a long key 0123", 7_216),
            (b"somekey", 11_058),
        ];
        slots.iter().for_each(|(key, slot)| assert_eq!(crc16(key) % 16_384, *slot, "{key:?}"));
    }

    #[test]
    fn every_length_agrees_with_one_bit_at_a_time() {
        let mut prng = Prng::new(0xc1c);
        for len in 0..200 {
            let bytes = random(&mut prng, len);
            assert_eq!(crc16(&bytes), bitwise16(&bytes), "{bytes:?}");
            assert_eq!(Crc64::of(&bytes).value(), bitwise64(&bytes), "{bytes:?}");
        }
    }

    #[test]
    fn pieces_join_in_any_cut() {
        let mut prng = Prng::new(0xc0b);
        let bytes = random(&mut prng, 300);
        let whole = Crc64::of(&bytes);
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            let mut grown = Crc64::of(a);
            grown.update(b);
            assert_eq!(grown, whole);
            assert_eq!(Crc64::of(a).combine(Crc64::of(b), b.len() as u64), whole, "{cut}");
        }
        let zeros = vec![0; 1 << 20];
        let mut long = whole;
        long.update(&zeros);
        assert_eq!(whole.combine(Crc64::of(&zeros), 1 << 20), long);
    }
}
