//! One value, or the libraries of functions, as bytes that another server takes: DUMP, RESTORE, MIGRATE and
//! FUNCTION DUMP.
//!
//! ```text
//!   <type> <value>          as in a file (`format.rs`), without key and expiry
//!   <u16 LE>                the version of the format
//!   <u64 LE>                CRC64 of all before it
//! ```
//!
//! Who wrote them is not trusted: the checksum keeps accidents out, not intent. What `read` gives is a whole
//! and sound value, made by the same steps as one of a file.
//!
//! Not here: keys, times to live, what becomes of the value.

use crate::base::crc::Crc64;
use crate::base::limits::SNAPSHOT_CHUNK_BYTES;
use crate::snapshot::build::Making;
use crate::snapshot::decode::{Decoder, Event, Limits, Value};
use crate::snapshot::encode;
use crate::snapshot::encode_value::{self, Slices};
use crate::snapshot::format;
use crate::snapshot::lzf::Compressor;
use crate::types::object::Body;
use crate::types::store::ValueRef;

/// A value out of a payload.
#[derive(Debug)]
pub enum Restored {
    String(Vec<u8>),
    Collection(Body),
}

/// A value without its footer; false: it is of a kind that cannot be written.
pub fn write(out: &mut Vec<u8>, value: ValueRef<'_>) -> bool {
    let mut lzf = Compressor::default();
    // As in a snapshot: what is longer would take too long.
    let short = |len: usize| len <= SNAPSHOT_CHUNK_BYTES;
    if value.encoding().is_string() {
        out.push(format::TYPE_STRING);
        let bytes = value.bytes();
        encode::string(out, bytes, Some(&mut lzf).filter(|_| short(bytes.len())));
        return true;
    }
    let Some(code) = encode_value::type_code(value.encoding()) else { return false };
    out.push(code);
    match value.object() {
        Some(object) => {
            let mut slices = Slices::new(object.clone());
            while !slices.write(out, Some(&mut lzf)) {}
        }
        None => {
            let bytes = value.bytes();
            let lzf = Some(&mut lzf).filter(|_| short(bytes.len()));
            encode_value::packed(out, value.encoding(), bytes, lzf);
        }
    }
    true
}

/// Appends the footer to what is there.
pub fn seal(out: &mut Vec<u8>) {
    const { assert!(format::VERSION_WRITTEN < 1 << 16) };
    out.extend_from_slice(&format::VERSION_WRITTEN.to_le_bytes()[..2]);
    let checksum = Crc64::of(out).value();
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// What is before the footer; `None`: that is wrong, or of a version that cannot be read.
#[must_use]
pub fn open(payload: &[u8]) -> Option<&[u8]> {
    let (summed, checksum) = payload.split_last_chunk::<8>()?;
    let (bytes, version) = summed.split_last_chunk::<2>()?;
    let checksum = u64::from_le_bytes(*checksum);
    let known = u32::from(u16::from_le_bytes(*version)) <= format::VERSION_READ_MAX;
    (known && checksum == Crc64::of(summed).value()).then_some(bytes)
}

/// The value of bytes that `open` gave; `None`: they are none that can be held, or an empty one. What
/// follows the value is not looked at, as in Redis.
#[must_use]
pub fn read(bytes: &[u8], making: Making) -> Option<Restored> {
    let (&code, value) = bytes.split_first()?;
    format::value_type(code)?;
    let no_key = [code, 0];
    let all = format::HEADER_BYTES + no_key.len() + value.len();
    let limits =
        Limits { input_bytes: Some(all as u64), verify_checksum: false, ..Limits::default() };
    let mut decoder = Decoder::holding(limits, making);
    for mut piece in [&format::HEADER_WRITTEN[..], &no_key, value] {
        match decoder.next(&mut piece) {
            Ok(None) => {}
            Ok(Some(Event::Entry { value: Value::String(text), .. })) => {
                return Some(Restored::String(std::mem::take(text)));
            }
            Ok(Some(Event::Entry { value: Value::Collection(body), .. })) => {
                return (!body.is_gone()).then_some(Restored::Collection(body));
            }
            Ok(Some(_)) | Err(_) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::packing::Packing;
    use crate::types::record::Encoding;
    use crate::types::store::Hasher;

    fn making() -> Making {
        Making { hasher: Hasher::new([1, 2, 3, 4]), packing: Packing::default() }
    }

    fn payload(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(write(&mut out, ValueRef::of_bytes(text, Encoding::Raw)));
        seal(&mut out);
        out
    }

    /// `SET k hello`, `DUMP k` on redis-server 7.0.15.
    #[test]
    fn a_payload_is_what_redis_makes() {
        let golden = b"\x00\x05hello\x0a\x00cr\xdfve4 \x0a";
        assert_eq!(payload(b"hello").escape_ascii().to_string(), golden.escape_ascii().to_string());
    }

    #[test]
    fn damage_is_refused_wherever_it_is() {
        let whole = payload(b"some text, some text, some text");
        assert!(read(open(&whole).unwrap(), making()).is_some());
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(open(&damaged).is_none(), "byte {at}");
            assert!(open(&whole[..at]).is_none(), "{at} bytes");
        }
        let mut later = whole.clone();
        later.truncate(whole.len() - 10);
        later.extend_from_slice(&12_u16.to_le_bytes());
        let checksum = Crc64::of(&later).value();
        later.extend_from_slice(&checksum.to_le_bytes());
        assert!(open(&later).is_none());
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for bytes in [
            &b""[..],
            b"\x00",
            b"\x00\x05hell",
            b"\x00\x80\xff\xff\xff\xffx",
            // An opcode, an unknown type, a module.
            b"\xfa\x01a\x01b",
            b"\xff",
            b"\x08\x01",
            b"\x07\x81",
            // Nothing in it, an element twice, packed bytes that are none.
            b"\x02\x00",
            b"\x02\x02\x01a\x01a",
            b"\x10\x03abc",
        ] {
            assert!(read(bytes, making()).is_none(), "{}", bytes.escape_ascii());
        }
        assert!(read(b"\x00\x05hello and more", making()).is_some());
    }
}
