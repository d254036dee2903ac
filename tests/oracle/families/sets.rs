//! Sets, on keys of their own and on keys that hold something else.
//!
//! What is drawn at random is only taken out where nothing is left to chance: an SPOP of all.

use super::Row;
use crate::compare::Compare::{Encoding, Exact, Kind, Unordered};

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (14, Exact, "SADD SKEY MEMBER ?MEMBER ?MEMBER ?MEMBER"),
    (6,  Exact, "SREM SKEY MEMBER ?MEMBER ?MEMBER"),
    (3,  Exact, "SCARD SKEY"),
    (5,  Unordered, "SMEMBERS SKEY"),
    (5,  Exact, "SISMEMBER SKEY MEMBER"),
    (3,  Exact, "SMISMEMBER SKEY MEMBER ?MEMBER ?MEMBER"),
    (5,  Exact, "SMOVE SKEY SKEY MEMBER"),
    (5,  Unordered, "SINTER SKEY ?SKEY ?SKEY"),
    (5,  Unordered, "SUNION SKEY ?SKEY ?SKEY"),
    (5,  Unordered, "SDIFF SKEY ?SKEY ?SKEY"),
    (4,  Exact, "SINTERSTORE SKEY SKEY ?SKEY ?SKEY"),
    (4,  Exact, "SUNIONSTORE SKEY SKEY ?SKEY ?SKEY"),
    (4,  Exact, "SDIFFSTORE SKEY SKEY ?SKEY ?SKEY"),
    (4,  Exact, "SINTERCARD 1|2|2|2|3|0|abc SKEY SKEY ?LIMIT_1|LIMIT_INT|LIMIT|FOO"),
    (2,  Unordered, "SPOP SKEY 1000"),
    (1,  Exact, "SPOP SKEY 0|-1|abc ?1"),
    (2,  Kind,  "SRANDMEMBER SKEY ?INT"),
    (2,  Unordered, "SRANDMEMBER SKEY 1000 ?FOO"),
    (2,  Kind,  "SSCAN SKEY 0 ?MATCH_PATTERN ?COUNT_100"),
    (1,  Exact, "SSCAN SKEY abc|-|0x ?COUNT_0"),
    (3,  Exact, "DEL SKEY"),
    (2,  Exact, "COPY SKEY SKEY ?REPLACE"),
    (2,  Exact, "RENAME SKEY SKEY"),
    (4,  Encoding, "OBJECT ENCODING SKEY"),
    (2,  Exact, "TYPE SKEY"),
    (2,  Exact, "EXPIRE SKEY TTLS"),
    (1,  Exact, "DEBUG DIGEST-VALUE SKEY"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "SKEY" => match below(10) {
            0 => format!("k{}", below(16)).into(),
            1..=3 => format!("{{t}}s{}", below(5)).into(),
            _ => format!("s{}", below(6)).into(),
        },
        "MEMBER" => match below(40) {
            0 => vec![b'M'; 60 + below(10)],
            1 => b"\0\r\nodd\xff".to_vec(),
            2 => Vec::new(),
            3 => (below(1 << 40)).to_string().into(),
            4 => format!("-{}", below(40_000)).into(),
            5..=9 => format!("m{}", below(12)).into(),
            _ => below(20).to_string().into(),
        },
        _ => return None,
    })
}
