//! The RDB format, drawn once: what `encode` writes and `decode` reads is derived from here.
//!
//! ```text
//!   REDIS0010                                  magic, version as four digits
//!   FA <string> <string>                       aux field: name, value          (any number)
//!   F5 <string>                                a function library
//!   F7 <length> <length><length> <module..00>  data of a module that belongs to no key
//!   FE <length>                                the following keys belong to this database
//!   FB <length> <length>                       hint: keys, keys with an expiry
//!     [FD <i32 LE> | FC <i64 LE>]              expiry of the next key: seconds, milliseconds
//!     [F8 <length>] [F9 <u8>]                  its idle seconds, its access frequency
//!     <type> <string> <value>                  a key, as `VALUES` says
//!   FF <u64 LE>                                end, CRC64 of all before it (since version 5; 0: none)
//!
//!   length   00nnnnnn                          6 bits
//!            01nnnnnn nnnnnnnn                 14 bits, big-endian
//!            10000000 <u32 BE>  10000001 <u64 BE>
//!   string   <length> <bytes>                  as it is
//!            11000000 <i8>  11000001 <i16 LE>  11000010 <i32 LE>   decimal text of that number
//!            11000011 <length packed> <length unpacked> <LZF bytes>
//! ```
//!
//! A value's items are a little program ([`Item`]), so that one loop walks every type and none can
//! be walked wrongly in two places. A type that the server learns to hold gets its own decoder, fed by
//! the same items.
//!
//! Trap: lengths are big-endian, everything else little-endian.

pub const MAGIC: [u8; 5] = *b"REDIS";
pub const HEADER_BYTES: usize = 9;
/// Versions that are read. Which version brought what does not matter to a reader but for the
/// checksum: opcodes and types only ever were added.
pub const VERSION_READ_MIN: u32 = 1;
pub const VERSION_READ_MAX: u32 = 11;
/// The one that Redis 7.0 to 8 and Valkey all load.
pub const VERSION_WRITTEN: u32 = 10;
pub const HEADER_WRITTEN: [u8; HEADER_BYTES] = *b"REDIS0010";
/// Since this version a CRC64 follows the end.
pub const VERSION_CHECKSUM_MIN: u32 = 5;

pub const OP_FUNCTION2: u8 = 245;
/// Only release candidates of 7.0 wrote it; Redis refuses it too.
pub const OP_FUNCTION_PRE_GA: u8 = 246;
pub const OP_MODULE_AUX: u8 = 247;
pub const OP_IDLE: u8 = 248;
pub const OP_FREQ: u8 = 249;
pub const OP_AUX: u8 = 250;
pub const OP_RESIZEDB: u8 = 251;
pub const OP_EXPIRETIME_MS: u8 = 252;
pub const OP_EXPIRETIME: u8 = 253;
pub const OP_SELECTDB: u8 = 254;
pub const OP_EOF: u8 = 255;

pub const TYPE_STRING: u8 = 0;

/// The two top bits of a length's first byte.
pub const LEN_BITS: u8 = 0b1100_0000;
pub const LEN_6BIT: u8 = 0b0000_0000;
pub const LEN_14BIT: u8 = 0b0100_0000;
pub const LEN_32BIT: u8 = 0b1000_0000;
pub const LEN_64BIT: u8 = 0b1000_0001;
pub const ENCODED_INT8: u8 = 0b1100_0000;
pub const ENCODED_INT16: u8 = 0b1100_0001;
pub const ENCODED_INT32: u8 = 0b1100_0010;
pub const ENCODED_LZF: u8 = 0b1100_0011;

/// Bytes of the longest length: 0x81 and 64 bits.
pub const LENGTH_BYTES_MAX: usize = 9;
/// Text of the longest number that is stored as one: `-2147483648`.
pub const INTEGER_TEXT_BYTES_MAX: usize = 11;
/// Strings up to this length are never compressed.
pub const LZF_BYTES_MIN: usize = 20;

/// Opcodes of a module's values. Each is a length, as are the signed and unsigned numbers.
pub const MODULE_EOF: u64 = 0;
pub const MODULE_SINT: u64 = 1;
pub const MODULE_UINT: u64 = 2;
pub const MODULE_FLOAT: u64 = 3;
pub const MODULE_DOUBLE: u64 = 4;
pub const MODULE_STRING: u64 = 5;

/// One step in reading a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// A length or a number written as one.
    Length,
    Str,
    /// So many bytes: binary doubles, times, stream IDs.
    Raw(u8),
    /// A length, and the next so many items that often.
    Repeat(u8),
    /// A sorted set's score of old: one byte of length (253 nan, 254 inf, 255 -inf), then text.
    TextDouble,
    /// Opcodes of a module with their operands, up to its end mark.
    Module,
}

/// How deep `Repeat` nests in the programs below: groups, their consumers, what those have pending.
pub const REPEAT_DEPTH_MAX: usize = 3;

/// A row of the table of types.
#[derive(Debug)]
pub struct ValueType {
    pub code: u8,
    /// As `TYPE` and `OBJECT ENCODING` say it.
    pub name: &'static str,
    pub items: &'static [Item],
}

use Item::{Length, Module, Raw, Repeat, Str, TextDouble};

const STREAM_ID: Item = Raw(16); // big-endian, so that bytes sort as IDs do
const MS: Item = Raw(8);
const DOUBLE: Item = Raw(8);

/// Every type that Redis up to 7.2 writes. Type 6 (modules before 4.0) has no end mark, so nobody but
/// its module can read it, and 8 was never used: both are absent, and so refused.
#[rustfmt::skip] // A table should look like one.
pub const VALUES: &[ValueType] = &[
    ValueType { code: TYPE_STRING, name: "string",   items: &[Str] },
    ValueType { code: 1,  name: "list",              items: &[Repeat(1), Str] },
    ValueType { code: 2,  name: "set",               items: &[Repeat(1), Str] },
    ValueType { code: 3,  name: "zset (text)",       items: &[Repeat(2), Str, TextDouble] },
    ValueType { code: 4,  name: "hash",              items: &[Repeat(2), Str, Str] },
    ValueType { code: 5,  name: "zset",              items: &[Repeat(2), Str, DOUBLE] },
    ValueType { code: 7,  name: "module",            items: &[Length, Module] },
    ValueType { code: 9,  name: "hash (zipmap)",     items: &[Str] },
    ValueType { code: 10, name: "list (ziplist)",    items: &[Str] },
    ValueType { code: 11, name: "set (intset)",      items: &[Str] },
    ValueType { code: 12, name: "zset (ziplist)",    items: &[Str] },
    ValueType { code: 13, name: "hash (ziplist)",    items: &[Str] },
    ValueType { code: 14, name: "list (quicklist)",  items: &[Repeat(1), Str] },
    ValueType { code: 15, name: "stream",            items: STREAM },
    ValueType { code: 16, name: "hash (listpack)",   items: &[Str] },
    ValueType { code: 17, name: "zset (listpack)",   items: &[Str] },
    ValueType { code: 18, name: "list (quicklist 2)", items: &[Repeat(2), Length, Str] },
    ValueType { code: 19, name: "stream (2)",        items: STREAM_2 },
    ValueType { code: 20, name: "set (listpack)",    items: &[Str] },
    ValueType { code: 21, name: "stream (3)",        items: STREAM_3 },
];

#[rustfmt::skip]
const STREAM: &[Item] = &[
    Repeat(2), Str, Str,               // listpacks: first ID, entries
    Length, Length, Length,            // entries, last ID
    Repeat(12),                        // groups
        Str, Length, Length,           //   name, last delivered ID
        Repeat(3),                     //   pending
            STREAM_ID, MS, Length,     //     ID, when, how often delivered
        Repeat(4),                     //   consumers
            Str, MS,                   //     name, when seen
            Repeat(1), STREAM_ID,      //     pending
];

#[rustfmt::skip]
const STREAM_2: &[Item] = &[
    Repeat(2), Str, Str,
    Length, Length, Length,
    Length, Length, Length, Length, Length, // first ID, greatest deleted ID, entries ever added
    Repeat(13),
        Str, Length, Length, Length,        // and how many entries the group has read
        Repeat(3),
            STREAM_ID, MS, Length,
        Repeat(4),
            Str, MS,
            Repeat(1), STREAM_ID,
];

#[rustfmt::skip]
const STREAM_3: &[Item] = &[
    Repeat(2), Str, Str,
    Length, Length, Length,
    Length, Length, Length, Length, Length,
    Repeat(14),
        Str, Length, Length, Length,
        Repeat(3),
            STREAM_ID, MS, Length,
        Repeat(5),
            Str, MS, MS,                    // and when it last got anything
            Repeat(1), STREAM_ID,
];

/// What follows `OP_FUNCTION2`.
pub const FUNCTION: &[Item] = &[Str];
/// What follows `OP_MODULE_AUX`: the module's ID; that a number follows, which says when; its data.
pub const MODULE_AUX: &[Item] = &[Length, Length, Length, Module];

/// The row of type byte `code`.
#[must_use]
pub fn value_type(code: u8) -> Option<&'static ValueType> {
    VALUES.iter().find(|it| it.code == code)
}

/// Checks a program: every `Repeat` has its items inside what it is part of, with at least one that
/// takes bytes, so that a count alone never makes work.
const fn is_sound(items: &[Item], depth: usize) -> bool {
    if depth > REPEAT_DEPTH_MAX {
        return false;
    }
    let mut at = 0;
    while at < items.len() {
        if let Repeat(body) = items[at] {
            let body = body as usize;
            if body == 0 || at + 1 + body > items.len() {
                return false;
            }
            let (_, after) = items.split_at(at + 1);
            let (inside, _) = after.split_at(body);
            if !is_sound(inside, depth + 1) {
                return false;
            }
            at += body;
        } else if let Raw(0) = items[at] {
            return false;
        }
        at += 1;
    }
    true
}

const _: () = {
    assert!(HEADER_BYTES == MAGIC.len() + 4 && HEADER_WRITTEN.len() == HEADER_BYTES);
    assert!(VERSION_READ_MIN <= VERSION_CHECKSUM_MIN && VERSION_CHECKSUM_MIN <= VERSION_WRITTEN);
    assert!(VERSION_WRITTEN <= VERSION_READ_MAX);
    // Opcodes fill the top of the byte, types the bottom.
    assert!(OP_FUNCTION2 == 0xf5 && OP_MODULE_AUX == 0xf7 && OP_AUX == 0xfa && OP_RESIZEDB == 0xfb);
    assert!(OP_EXPIRETIME_MS == 0xfc && OP_EXPIRETIME == 0xfd && OP_SELECTDB == 0xfe);
    assert!(OP_EOF == 0xff && OP_IDLE == 0xf8 && OP_FREQ == 0xf9);
    // The four encodings are the four lowest numbers under the bits that say "encoded".
    assert!(ENCODED_INT8 == LEN_BITS && ENCODED_INT16 == LEN_BITS | 1);
    assert!(ENCODED_INT32 == LEN_BITS | 2 && ENCODED_LZF == LEN_BITS | 3);
    let mut row = 0;
    while row < VALUES.len() {
        assert!(is_sound(VALUES[row].items, 0));
        assert!(VALUES[row].code < OP_FUNCTION2);
        assert!(row == 0 || VALUES[row - 1].code < VALUES[row].code);
        row += 1;
    }
};
