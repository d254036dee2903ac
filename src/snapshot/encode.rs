//! RDB bytes, appended to buffers lent by the caller. `format.rs` draws what is written here.
//!
//! A file is `header`, then in any order pieces that each begin with `select_db`, then `end` with the
//! checksum of all that. Pieces are independent of each other, so every core makes its own, and their
//! checksums are joined by `Crc64::combine`.
//!
//! Strings are written as Redis writes them: a canonical number of up to 32 bits as a number, more than
//! 20 bytes packed where that saves something, else as they are.

use crate::base::crc::Crc64;
use crate::snapshot::format;
use crate::snapshot::lzf::Compressor;

/// The header: magic, version and aux fields (`redis-ver`, `ctime`, `repl-id`, `aof-base`, ...).
pub fn header(out: &mut Vec<u8>, aux: &[(&[u8], &[u8])]) {
    out.extend_from_slice(&format::HEADER_WRITTEN);
    for (name, value) in aux {
        out.push(format::OP_AUX);
        string(out, name, None);
        string(out, value, None);
    }
}

/// The text of a library of functions.
pub fn function(out: &mut Vec<u8>, code: &[u8]) {
    out.push(format::OP_FUNCTION2);
    string(out, code, None);
}

/// The keys that follow belong to database `db`.
pub fn select_db(out: &mut Vec<u8>, db: usize) {
    out.push(format::OP_SELECTDB);
    length(out, db as u64);
}

/// How many keys follow in this database, so that a loader can size its tables. A hint: Redis
/// takes the last one before the keys, so only whoever knows all pieces may give it.
pub fn resize_db(out: &mut Vec<u8>, keys: u64, expires: u64) {
    out.push(format::OP_RESIZEDB);
    length(out, keys);
    length(out, expires);
}

/// A key that holds a string.
pub fn string_entry(
    out: &mut Vec<u8>,
    key: &[u8],
    value: &[u8],
    expiry_ms: Option<u64>,
    mut lzf: Option<&mut Compressor>,
) {
    string_key(out, key, expiry_ms, lzf.as_deref_mut());
    string(out, value, lzf);
}

/// A key that holds a string of `value_len` bytes, which the caller puts behind it as they are.
pub fn string_entry_head(
    out: &mut Vec<u8>,
    key: &[u8],
    value_len: u64,
    expiry_ms: Option<u64>,
    lzf: Option<&mut Compressor>,
) {
    string_key(out, key, expiry_ms, lzf);
    length(out, value_len);
}

/// The end of a file whose bytes so far have the checksum `crc`; `None` leaves it out.
pub fn end(out: &mut Vec<u8>, crc: Option<Crc64>) {
    out.push(format::OP_EOF);
    let checksum = crc.map_or(0, |mut crc| {
        crc.update(&[format::OP_EOF]);
        crc.value()
    });
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// A length in its shortest form.
pub(super) fn length(out: &mut Vec<u8>, len: u64) {
    let bytes = len.to_be_bytes();
    match len {
        0..=0x3f => out.push(format::LEN_6BIT | bytes[7]),
        0x40..=0x3fff => out.extend_from_slice(&[format::LEN_14BIT | bytes[6], bytes[7]]),
        0x4000..=0xffff_ffff => {
            out.push(format::LEN_32BIT);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(format::LEN_64BIT);
            out.extend_from_slice(&bytes);
        }
    }
}

fn string_key(out: &mut Vec<u8>, key: &[u8], expiry_ms: Option<u64>, lzf: Option<&mut Compressor>) {
    entry_head(out, format::TYPE_STRING, key, expiry_ms, lzf);
}

/// Expiry, type and name of a key, whose value follows.
pub(super) fn entry_head(
    out: &mut Vec<u8>,
    type_code: u8,
    key: &[u8],
    expiry_ms: Option<u64>,
    lzf: Option<&mut Compressor>,
) {
    if let Some(ms) = expiry_ms {
        out.push(format::OP_EXPIRETIME_MS);
        out.extend_from_slice(&ms.to_le_bytes());
    }
    out.push(type_code);
    string(out, key, lzf);
}

/// A string, in the shortest form that Redis would choose.
pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8], lzf: Option<&mut Compressor>) {
    if let Some(number) = canonical_integer(bytes) {
        return integer(out, number);
    }
    if bytes.len() > format::LZF_BYTES_MIN
        && let Some(packed) = lzf.and_then(|lzf| lzf.pack(bytes))
    {
        out.push(format::ENCODED_LZF);
        length(out, packed.len() as u64);
        length(out, bytes.len() as u64);
        return out.extend_from_slice(packed);
    }
    length(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The number whose decimal text `bytes` is exactly: no plus, no leading zeros, no `-0`.
fn canonical_integer(bytes: &[u8]) -> Option<i32> {
    let (negative, digits) = match bytes {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'0', ..] => return None,
        digits if digits.len() >= format::INTEGER_TEXT_BYTES_MAX => return None,
        _ => {}
    }
    let mut number = 0_i64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(digit - b'0');
    }
    i32::try_from(if negative { -number } else { number }).ok()
}

fn integer(out: &mut Vec<u8>, number: i32) {
    if let Ok(number) = i8::try_from(number) {
        out.push(format::ENCODED_INT8);
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Ok(number) = i16::try_from(number) {
        out.push(format::ENCODED_INT16);
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        out.push(format::ENCODED_INT32);
        out.extend_from_slice(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        let cases: [(u64, &[u8]); 9] = [
            (0, &[0]),
            (63, &[63]),
            (64, &[0x40, 64]),
            (16_383, &[0x7f, 0xff]),
            (16_384, &[0x80, 0, 0, 0x40, 0]),
            (0xffff_ffff, &[0x80, 0xff, 0xff, 0xff, 0xff]),
            (0x1_0000_0000, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
            (1 << 63, &[0x81, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            (u64::MAX, &[0x81, 255, 255, 255, 255, 255, 255, 255, 255]),
        ];
        for (len, expected) in cases {
            assert_eq!(written(|out| length(out, len)), expected, "{len}");
        }
    }

    #[test]
    fn only_canonical_numbers_of_32_bits_become_numbers() {
        let cases: [(&str, &[u8]); 9] = [
            ("0", &[0xc0, 0]),
            ("-128", &[0xc0, 0x80]),
            ("127", &[0xc0, 0x7f]),
            ("128", &[0xc1, 0x80, 0]),
            ("-32768", &[0xc1, 0, 0x80]),
            ("32768", &[0xc2, 0, 0x80, 0, 0]),
            ("2147483647", &[0xc2, 0xff, 0xff, 0xff, 0x7f]),
            ("-2147483648", &[0xc2, 0, 0, 0, 0x80]),
            ("-1", &[0xc0, 0xff]),
        ];
        for (text, expected) in cases {
            assert_eq!(written(|out| string(out, text.as_bytes(), None)), expected, "{text}");
        }
        for text in
            ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "2147483648", "-2147483649", "12a"]
        {
            let mut expected = vec![u8::try_from(text.len()).unwrap()];
            expected.extend_from_slice(text.as_bytes());
            assert_eq!(written(|out| string(out, text.as_bytes(), None)), expected, "{text}");
        }
    }

    #[test]
    fn a_whole_file() {
        let file = written(|out| {
            header(out, &[(b"redis-bits", b"64")]);
            select_db(out, 3);
            resize_db(out, 1, 1);
            string_entry(out, b"k", b"v", Some(0x0102), None);
            let crc = Crc64::of(out);
            end(out, Some(crc));
        });
        let body = b"REDIS0010\xfa\x0aredis-bits\xc0\x40\xfe\x03\xfb\x01\x01\
                     \xfc\x02\x01\0\0\0\0\0\0\0\x01k\x01v\xff";
        let (start, checksum) = file.split_at(file.len() - 8);
        assert_eq!(start, body);
        assert_eq!(checksum, Crc64::of(body).value().to_le_bytes());
        assert_eq!(written(|out| end(out, None)), b"\xff\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn long_strings_are_packed_when_that_saves() {
        let mut lzf = Compressor::default();
        let entry = written(|out| string(out, &[b'a'; 100], Some(&mut lzf)));
        assert_eq!(entry[..4], [0xc3, 5, 0x40, 100]);
        assert_eq!(entry.len(), 9);
        assert_eq!(written(|out| string(out, &[b'a'; 20], Some(&mut lzf))).len(), 21);
        assert_eq!(written(|out| string(out, &[b'a'; 100], None)).len(), 102);
    }
}
