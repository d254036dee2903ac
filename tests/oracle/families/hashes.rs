//! Hashes, on keys of their own and on keys that hold something else.

use super::Row;
use crate::compare::Compare::{Encoding, Exact, Kind, Unordered};

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (14, Exact, "HSET HKEY FIELD VAL ?FIELD_VAL ?FIELD_VAL ?FIELD_VAL"),
    (1,  Exact, "HSET HKEY FIELD ?VAL ?FIELD"),
    (3,  Exact, "HMSET HKEY FIELD VAL ?FIELD_VAL ?FIELD"),
    (4,  Exact, "HSETNX HKEY FIELD VAL"),
    (6,  Exact, "HGET HKEY FIELD"),
    (4,  Exact, "HMGET HKEY FIELD FIELD ?FIELD"),
    (6,  Exact, "HDEL HKEY FIELD ?FIELD ?FIELD ?FIELD"),
    (3,  Exact, "HLEN HKEY"),
    (3,  Exact, "HEXISTS HKEY FIELD"),
    (3,  Exact, "HSTRLEN HKEY FIELD"),
    (6,  Unordered, "HGETALL HKEY"),
    (3,  Unordered, "HKEYS HKEY"),
    (3,  Unordered, "HVALS HKEY"),
    (6,  Exact, "HINCRBY HKEY FIELD INT"),
    (6,  Exact, "HINCRBYFLOAT HKEY FIELD FLOAT"),
    (2,  Kind,  "HRANDFIELD HKEY ?INT ?WITHVALUES"),
    (2,  Unordered, "HRANDFIELD HKEY 1000 ?FOO"),
    (2,  Kind,  "HSCAN HKEY 0 ?MATCH_PATTERN ?COUNT_100"),
    (1,  Exact, "HSCAN HKEY abc|-|0x ?COUNT_0"),
    (1,  Kind,  "HSCAN HKEY 0 COUNT|MATCH|FOO|COUNT_0|COUNT_abc|TYPE_hash"),
    (3,  Exact, "DEL HKEY"),
    (3,  Exact, "COPY HKEY HKEY ?REPLACE"),
    (3,  Exact, "RENAME HKEY HKEY"),
    (3,  Encoding, "OBJECT ENCODING HKEY"),
    (2,  Exact, "TYPE HKEY"),
    (2,  Exact, "EXPIRE HKEY TTLS"),
    (1,  Exact, "DEBUG DIGEST-VALUE HKEY"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "HKEY" => match below(10) {
            0 => format!("k{}", below(16)).into(),
            1 => format!("{{t}}{}", 16 + below(5)).into(),
            _ => format!("h{}", below(6)).into(),
        },
        "FIELD" => match below(40) {
            0 => vec![b'F'; 60 + below(10)],
            1 => b"\0\r\nodd\xff".to_vec(),
            2 => Vec::new(),
            n @ 3..=8 => (n * 1_000).to_string().into(),
            _ => format!("f{}", below(12)).into(),
        },
        _ => return None,
    })
}
