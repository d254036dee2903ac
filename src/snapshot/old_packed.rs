//! Packed collections of Redis before 7.0: ziplists and zipmaps, turned into listpacks.
//!
//! ```text
//!   ziplist  <bytes u32> <tail u32> <count u16> { <length of the one before> <head> <data> }.. FF
//!   zipmap   <count u8> { <length> <field> <length> <free u8> <value> <free bytes> }.. FF
//! ```
//!
//! Bytes are from outside: nothing is read past their end, and `None` says that they are none of these.

use crate::types::packed;

const ZIPLIST_HEADER: usize = 10;
const END: u8 = 0xff;
/// A length of this first byte is in the four bytes behind it.
const LONG: u8 = 0xfe;

/// The elements of a ziplist, as a listpack.
#[must_use]
pub fn ziplist(bytes: &[u8]) -> Option<Vec<u8>> {
    let total = u32::from_le_bytes(*bytes.first_chunk()?);
    if usize::try_from(total) != Ok(bytes.len()) {
        return None;
    }
    let (mut rest, mut list) = (bytes.get(ZIPLIST_HEADER..)?, packed::empty());
    loop {
        match take(&mut rest, 1)?[0] {
            END => return rest.is_empty().then_some(list),
            LONG => take(&mut rest, 4).map(|_| ())?,
            _ => {}
        }
        element(&mut rest, &mut list)?;
    }
}

/// The fields and values of a zipmap, as a listpack.
#[must_use]
pub fn zipmap(bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut rest, mut list) = (bytes.get(1..)?, packed::empty());
    while *rest.first()? != END {
        let len = zipmap_length(&mut rest)?;
        packed::push(&mut list, take(&mut rest, len)?);
        let len = zipmap_length(&mut rest)?;
        let free = usize::from(take(&mut rest, 1)?[0]);
        packed::push(&mut list, take(&mut rest, len)?);
        take(&mut rest, free)?;
    }
    (rest.len() == 1).then_some(list)
}

fn element(rest: &mut &[u8], list: &mut Vec<u8>) -> Option<()> {
    let head = take(rest, 1)?[0];
    let len = match head {
        0..=0x3f => usize::from(head),
        0x40..=0x7f => usize::from(head & 0x3f) << 8 | usize::from(take(rest, 1)?[0]),
        0x80 => usize::try_from(u32::from_be_bytes(*take(rest, 4)?.first_chunk()?)).ok()?,
        0xc0 => return number(rest, 2, list),
        0xd0 => return number(rest, 4, list),
        0xe0 => return number(rest, 8, list),
        0xf0 => return number(rest, 3, list),
        0xfe => return number(rest, 1, list),
        0xf1..=0xfd => {
            packed::push_int(list, i64::from(head & 0x0f) - 1);
            return Some(());
        }
        _ => return None,
    };
    packed::push(list, take(rest, len)?);
    Some(())
}

/// A little-endian number of so many bytes.
fn number(rest: &mut &[u8], width: usize, list: &mut Vec<u8>) -> Option<()> {
    let bytes = take(rest, width)?;
    let negative = bytes.last()? & 0x80 != 0;
    let mut wide = if negative { [0xff; 8] } else { [0; 8] };
    wide[..width].copy_from_slice(bytes);
    packed::push_int(list, i64::from_le_bytes(wide));
    Some(())
}

fn zipmap_length(rest: &mut &[u8]) -> Option<usize> {
    match take(rest, 1)?[0] {
        END => None,
        LONG => usize::try_from(u32::from_le_bytes(*take(rest, 4)?.first_chunk()?)).ok(),
        len => Some(len.into()),
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len)?;
    *rest = left;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::packed::Packed;

    fn texts(list: &[u8]) -> Vec<Vec<u8>> {
        Packed::new(list).iter().map(|it| it.text().to_vec()).collect()
    }

    #[test]
    fn every_cut_of_them_is_refused() {
        let ziplist_bytes = b"\x13\0\0\0\x0f\0\0\0\x04\0\0\x02ab\x04\xf3\x02\xfe\xff\xff";
        let mut whole = ziplist_bytes.to_vec();
        whole[0] = u8::try_from(whole.len()).unwrap();
        assert_eq!(texts(&ziplist(&whole).unwrap()), [&b"ab"[..], b"2", b"-1"]);
        let map = b"\x01\x01f\x03\x01abc.\xff";
        assert_eq!(texts(&zipmap(map).unwrap()), [&b"f"[..], b"abc"]);
        for cut in 0..whole.len() {
            assert_eq!(ziplist(&whole[..cut]), None);
        }
        for cut in 0..map.len() {
            assert_eq!(zipmap(&map[..cut]), None);
        }
    }
}
