//! Stamps: the time at which something was sent, in what was sent.
//!
//! `{now}` in a command becomes `t=`, sixteen hexadecimal digits and `;`. Whoever gets it delivered,
//! by PUBLISH or by a push to a list that it waits for, looks for stamps in what it receives, and
//! knows how long they travelled: no need to understand the reply around them.

use memchr::memmem;

pub const LEN: usize = 19;
const MARK: &[u8] = b"t=";

/// Writes a stamp to the front of `place`, which has room.
pub fn write(place: &mut [u8], ns: u64) {
    let Some(place) = place.first_chunk_mut::<LEN>() else { return };
    place[..2].copy_from_slice(MARK);
    for (at, byte) in place[2..18].iter_mut().enumerate() {
        *byte = b"0123456789abcdef"[crate::draw::to_usize(ns >> (60 - 4 * at) & 15)];
    }
    place[18] = b';';
}

/// Finds all stamps in `bytes`, which go on where `carry` ended; leaves in `carry` the beginning of
/// one that is torn.
pub fn find(carry: &mut Vec<u8>, bytes: &[u8], mut each: impl FnMut(u64)) {
    let joined;
    let mut rest = bytes;
    if !carry.is_empty() {
        joined = [std::mem::take(carry), bytes.to_vec()].concat();
        rest = &joined;
    }
    while let Some(at) = memmem::find(rest, MARK) {
        let Some(stamp) = rest.get(at..at + LEN) else {
            return carry.extend_from_slice(&rest[at..]);
        };
        match value(stamp) {
            Some(ns) => (each(ns), rest = &rest[at + LEN..]).1,
            None => rest = &rest[at + MARK.len()..],
        }
    }
    if rest.last() == MARK.first() {
        carry.push(MARK[0]);
    }
}

fn value(stamp: &[u8]) -> Option<u64> {
    let digits = stamp.strip_prefix(MARK)?.strip_suffix(b";")?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_found_however_they_are_torn() {
        let mut bytes = b"*3\r\n$7\r\nmessage\r\n$1\r\nt\r\n$19\r\n".to_vec();
        let mut expected = Vec::new();
        for ns in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let mut stamp = [0; LEN];
            write(&mut stamp, ns);
            bytes.extend_from_slice(b"t=none;tt=");
            bytes.extend_from_slice(&stamp);
            bytes.extend_from_slice(b"\r\n");
            expected.push(ns);
        }
        for len in 1..=bytes.len() {
            let (mut carry, mut found) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(len) {
                find(&mut carry, piece, |ns| found.push(ns));
                assert!(carry.len() < LEN);
            }
            assert_eq!(found, expected, "by {len}");
        }
    }
}
