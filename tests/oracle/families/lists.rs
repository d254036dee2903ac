//! Lists, on keys of their own and, seldom, on those of other types. Who waits does so for a moment only:
//! one connection at a time is spoken to.

use super::Row;
use crate::compare::Compare::{Encoding, Exact};

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (14, Exact, "LPUSH LKEY LELEM+"),
    (14, Exact, "RPUSH LKEY LELEM+"),
    (4,  Exact, "RPUSH LKEY LELEM+ LELEM+ LELEM+ LELEM+ LELEM+ LELEM+"),
    (3,  Exact, "LPUSHX LKEY LELEM+"),
    (3,  Exact, "RPUSHX LKEY LELEM+"),
    (5,  Exact, "LPOP LKEY ?PLACE"),
    (5,  Exact, "RPOP LKEY ?PLACE"),
    (4,  Exact, "LLEN LKEY"),
    (6,  Exact, "LINDEX LKEY PLACE"),
    (5,  Exact, "LSET LKEY PLACE LELEM"),
    (6,  Exact, "LINSERT LKEY BEFORE|AFTER|FOO LELEM LELEM"),
    (10, Exact, "LRANGE LKEY PLACE PLACE"),
    (6,  Exact, "LRANGE LKEY 0 -1"),
    (2,  Exact, "LTRIM LKEY PLACE PLACE"),
    (5,  Exact, "LREM LKEY PLACE LELEM"),
    (8,  Exact, "LPOS LKEY LELEM ?RANK_PLACE ?COUNT_PLACE ?MAXLEN_PLACE"),
    (6,  Exact, "LMOVE TLKEY TLKEY LEFT|RIGHT LEFT|RIGHT"),
    (1,  Exact, "LMOVE TLKEY TLKEY LEFT|FOO LEFT|FOO"),
    (4,  Exact, "RPOPLPUSH TLKEY TLKEY"),
    (5,  Exact, "LMPOP 1|2 TLKEY TLKEY LEFT|RIGHT ?COUNT_PLACE"),
    (4,  Exact, "LMPOP 2 TLKEY TLKEY LEFT|RIGHT|FOO ?COUNT_PLACE ?COUNT_1"),
    (1,  Exact, "BLPOP LKEY ?LKEY ?LKEY 0.01"),
    (1,  Exact, "BRPOP LKEY ?LKEY ?LKEY 0.01"),
    (1,  Exact, "BLPOP LKEY LKEY abc|-1|nan|-inf"),
    (1,  Exact, "BLMOVE TLKEY TLKEY LEFT|RIGHT LEFT|RIGHT 0.01"),
    (1,  Exact, "BRPOPLPUSH TLKEY TLKEY 0.01"),
    (1,  Exact, "BLMPOP 0.01 1|2 TLKEY TLKEY LEFT|RIGHT ?COUNT_PLACE"),
    (1,  Exact, "BLMPOP abc|-1 1|0|abc TLKEY LEFT|FOO ?COUNT_PLACE"),
    (3,  Encoding, "OBJECT ENCODING LKEY"),
    (2,  Exact, "COPY TLKEY TLKEY ?REPLACE"),
    (2,  Exact, "RENAME TLKEY TLKEY"),
    (2,  Exact, "DEL LKEY"),
    (1,  Exact, "DEBUG DIGEST-VALUE LKEY"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "LKEY" if below(20) == 0 => format!("k{}", below(16)).into(),
        "LKEY" if below(3) == 0 => format!("{{t}}l{}", below(4)).into(),
        "LKEY" => format!("l{}", below(4)).into(),
        "TLKEY" if below(20) == 0 => format!("{{t}}{}", 16 + below(5)).into(),
        // Two of them are of one core as often as not.
        "TLKEY" if below(2) == 0 => format!("l{}", below(4)).into(),
        "TLKEY" => format!("{{t}}l{}", below(4)).into(),
        "PLACE" if below(20) == 0 => one_of(
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
        "PLACE" => (i64::try_from(below(30)).unwrap() - 10).to_string().into(),
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
