//! Passwords as Redis keeps them: the SHA-256 of each, in hexadecimal digits.
//!
//! The hash has no salt, so that files of users can be carried between servers; the text is never
//! kept. Comparing takes the same time whatever is right in a password.

use sha2::{Digest, Sha256};
use std::hint::black_box;

const HASH_DIGITS: usize = 64;

/// The hash of a password; equality tells how much is equal by the time it takes, so ask
/// [`Hash::is`].
#[derive(Clone, PartialEq, Eq)]
pub struct Hash([u8; HASH_DIGITS]);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(..)")
    }
}

impl Hash {
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        let digest = Sha256::digest(password);
        let mut digits = [0; HASH_DIGITS];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(digest.iter()) {
            *pair = [hex(byte >> 4), hex(byte & 15)];
        }
        Self(digits)
    }

    /// A hash as it is written: 64 digits in lower case.
    #[must_use]
    pub fn parse(digits: &[u8]) -> Option<Self> {
        let fits = digits.iter().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
        digits.try_into().ok().filter(|_| fits).map(Self)
    }

    #[must_use]
    pub fn digits(&self) -> &[u8] {
        &self.0
    }

    /// Is it the same? In the same time, whatever the answer.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        black_box(pairs.fold(0, |sum, (a, b)| black_box(sum | (a ^ b)))) == 0
    }
}

/// The digit of a number below 16.
#[must_use]
pub fn hex(number: u8) -> u8 {
    b"0123456789abcdef"[usize::from(number & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_everybody() {
        let abc = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hash::of(b"abc").digits(), abc);
        assert!(Hash::of(b"abc").is(&Hash::parse(abc).unwrap()));
        assert!(!Hash::of(b"abd").is(&Hash::of(b"abc")));
        for wrong in [&abc[1..], b"", &abc.to_ascii_uppercase()] {
            assert_eq!(Hash::parse(wrong), None);
        }
        assert_eq!(format!("{:?}", Hash::of(b"abc")), "Hash(..)");
    }
}
