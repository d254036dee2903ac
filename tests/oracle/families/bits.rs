//! Bitmaps, on keys that other strings are in as well.

use super::Row;
use crate::compare::Compare::Exact;

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (10, Exact, "SETBIT KEY BIT 0|1|1"),
    (1,  Exact, "SETBIT KEY BIT -1|2|abc|01"),
    (6,  Exact, "GETBIT KEY BIT"),
    (4,  Exact, "BITCOUNT KEY ?INT_INT ?BYTE|BIT|FOO"),
    (4,  Exact, "BITCOUNT KEY INT INT BYTE|BIT"),
    (3,  Exact, "BITPOS KEY 0|1 ?INT ?INT"),
    (3,  Exact, "BITPOS KEY 0|1|2|x INT INT ?BYTE|BIT|FOO"),
    (5,  Exact, "BITOP AND|OR|XOR|NOT KEY KEY ?KEY ?KEY"),
    (1,  Exact, "BITOP NOT|FOO KEY KEY"),
    (8,  Exact, "BITFIELD KEY ?OVERFLOW_WRAP GET_WIDTH_BIT|SET_WIDTH_BIT_INT|INCRBY_WIDTH_BIT_INT GET_WIDTH_BIT|SET_WIDTH_BIT_INT|INCRBY_WIDTH_BIT_INT ?GET_WIDTH_BIT|SET_WIDTH_BIT_INT|INCRBY_WIDTH_BIT_INT ?OVERFLOW_WRAP ?GET_WIDTH_BIT|SET_WIDTH_BIT_INT|INCRBY_WIDTH_BIT_INT"),
    (4,  Exact, "BITFIELD KEY ?OVERFLOW_WRAP GET_WIDTH_BIT|SET_WIDTH_BIT_INT|INCRBY_WIDTH_BIT_INT"),
    (2,  Exact, "BITFIELD_RO KEY GET WIDTH BIT ?GET_WIDTH_BIT"),
    (1,  Exact, "BITFIELD_RO KEY GET_WIDTH_BIT|SET_WIDTH_BIT_INT|INCRBY_WIDTH_BIT_INT"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "BIT" => match below(12) {
            0 => one_of(below, &["-1", "abc", "", " 1", "4294967296", "9223372036854775807"]),
            1 => format!("#{}", below(20)).into(),
            _ => below(400).to_string().into(),
        },
        "WIDTH" => match below(12) {
            0 => one_of(below, &["u64", "i65", "i0", "u0", "x8", "", "I8", "8", "u-1", "u08"]),
            _ => format!("{}{}", ["i", "u"][below(2)], 1 + below(63)).into(),
        },
        "WRAP" => one_of(below, &["WRAP", "SAT", "FAIL", "fail", "FOO"]),
        _ => return None,
    })
}

fn one_of(below: &mut dyn FnMut(usize) -> usize, words: &[&str]) -> Vec<u8> {
    words[below(words.len())].into()
}
