//! Lists, on keys of their own and, seldom, on those of other types. Commands over two keys take keys of
//! one hash tag.

use super::Row;
use crate::compare::Compare::{Encoding, Exact};

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (14, Exact, "LPUSH LIST LELEM+"),
    (14, Exact, "RPUSH LIST LELEM+"),
    (4,  Exact, "RPUSH LIST LELEM+ LELEM+ LELEM+ LELEM+ LELEM+ LELEM+"),
    (3,  Exact, "LPUSHX LIST LELEM+"),
    (3,  Exact, "RPUSHX LIST LELEM+"),
    (5,  Exact, "LPOP LIST ?LINDEX"),
    (5,  Exact, "RPOP LIST ?LINDEX"),
    (4,  Exact, "LLEN LIST"),
    (6,  Exact, "LINDEX LIST LINDEX"),
    (5,  Exact, "LSET LIST LINDEX LELEM"),
    (6,  Exact, "LINSERT LIST BEFORE|AFTER|FOO LELEM LELEM"),
    (10, Exact, "LRANGE LIST LINDEX LINDEX"),
    (6,  Exact, "LRANGE LIST 0 -1"),
    (2,  Exact, "LTRIM LIST LINDEX LINDEX"),
    (5,  Exact, "LREM LIST LINDEX LELEM"),
    (8,  Exact, "LPOS LIST LELEM ?RANK_LINDEX ?COUNT_LINDEX ?MAXLEN_LINDEX"),
    (6,  Exact, "LMOVE TLIST TLIST LEFT|RIGHT LEFT|RIGHT"),
    (1,  Exact, "LMOVE TLIST TLIST LEFT|FOO LEFT|FOO"),
    (4,  Exact, "RPOPLPUSH TLIST TLIST"),
    (5,  Exact, "LMPOP 1|2 TLIST TLIST LEFT|RIGHT ?COUNT_LINDEX"),
    (4,  Exact, "LMPOP 2 TLIST TLIST LEFT|RIGHT|FOO ?COUNT_LINDEX ?COUNT_1"),
    (3,  Encoding, "OBJECT ENCODING LIST"),
    (2,  Exact, "COPY TLIST TLIST ?REPLACE"),
    (2,  Exact, "RENAME TLIST TLIST"),
    (2,  Exact, "DEL LIST"),
    (1,  Exact, "DEBUG DIGEST-VALUE LIST"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "LIST" if below(20) == 0 => format!("k{}", below(16)).into(),
        "LIST" if below(3) == 0 => format!("{{t}}l{}", below(4)).into(),
        "LIST" => format!("l{}", below(4)).into(),
        "TLIST" if below(20) == 0 => format!("{{t}}{}", 16 + below(5)).into(),
        "TLIST" => format!("{{t}}l{}", below(4)).into(),
        "LINDEX" if below(20) == 0 => one_of(
            below,
            &[
                "abc",
                "",
                "9223372036854775807",
                "-9223372036854775807",
                "9223372036854775808",
                "1.5",
            ],
        ),
        "LINDEX" => (i64::try_from(below(30)).unwrap() - 10).to_string().into(),
        "LELEM" => match below(12) {
            0..=4 => below(12).to_string().into(),
            5..=8 => one_of(below, &["a", "b", "", "-5", "007", "70000", "-9223372036854775808"]),
            9 => vec![b'm'; 40 + below(100)],
            10 => vec![b'n'; below(700)],
            // Now and then one that needs a node to itself.
            _ if below(4) == 0 => vec![b'x'; 3_000 + below(9_000)],
            _ => below(1 << 40).to_string().into(),
        },
        _ => return None,
    })
}

fn one_of(below: &mut dyn FnMut(usize) -> usize, words: &[&str]) -> Vec<u8> {
    words[below(words.len())].into()
}
