//! Commands on keys of any type, on keys of their own which hold what a real server once dumped.

use super::Row;
use crate::compare::Compare::{Encoding, Exact, Kind, Near, Numbers, Unordered};

/// What DUMP of a real server gave: a line each of name, encoding and bytes.
pub const PAYLOADS: &str = include_str!("../../golden/payloads-7.0.15.txt");

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (5,  Exact, "RPUSH|LPUSH TLKEY NUMBER+"),
    (8,  Exact, "SET WEIGHT NUMBER|SCOREOF"),
    (4,  Exact, "HSET HWEIGHT f NUMBER g LELEM"),
    (1,  Exact, "DEL WEIGHT|HWEIGHT"),
    (1,  Exact, "RPUSH WEIGHT x"),
    // A real server may say that these are no numbers when some number has been too large before: nothing of
    // it is kept, and nothing of it is queued.
    (5,  Numbers, "SORT|SORT_RO TLKEY ?LIMIT_PLACE_PLACE ?DESC|ASC"),
    (5,  Numbers, "SORT|SORT_RO TLKEY BY BYWHAT ?LIMIT_PLACE_PLACE ?DESC ?GET_GETWHAT ?GET_GETWHAT"),
    (3,  Numbers, "SORT ZKEY|SKEY ?BY_BYWHAT ?GET_GETWHAT ?LIMIT_PLACE_PLACE ?DESC"),
    // What is equal up to a NUL has no one order either, but where it is kept.
    (5,  Unordered, "SORT|SORT_RO TLKEY ?DESC|ASC ALPHA ?GET_GETWHAT ?GET_#"),
    (2,  Exact, "SORT TLKEY ALPHA ?GET_GETWHAT ?LIMIT_PLACE_PLACE STORE TLKEY"),
    (2,  Exact, "SORT ZKEY|SKEY ALPHA ?GET_GETWHAT ?LIMIT_PLACE_PLACE ?DESC STORE TLKEY"),
    // Weights that are equal, and sets, have no one order.
    (2,  Kind, "SORT TLKEY BY BYWHAT ?DESC ALPHA ?GET_GETWHAT"),
    (2,  Unordered, "SORT SKEY|TLKEY|ZKEY BY nosort"),
    (1,  Exact, "SORT TLKEY FOO|LIMIT|BY|GET|STORE|LIMIT_1|LIMIT_x_1 ?ALPHA"),
    (1,  Exact, "SORT_RO TLKEY STORE TLKEY"),
    (1,  Exact, "COMMAND GETKEYS SORT TLKEY ?BY_BYWHAT ?STORE_TLKEY ?LIMIT_0_1"),
    (9,  Exact, "RESTORE PKEY 0 PAYLOAD ?REPLACE"),
    (4,  Exact, "RESTORE PKEY TTLMS PAYLOAD REPLACE ?IDLETIME_1000|IDLETIME_7000|IDLETIME_-1|IDLETIME_x"),
    (2,  Exact, "RESTORE PKEY ATMS PAYLOAD REPLACE ABSTTL ?FREQ_5|FREQ_256|FREQ_x|IDLETIME_3"),
    (2,  Exact, "RESTORE PKEY 0|-5|abc|9223372036854775807 PAYLOAD ?REPLACE ?ABSTTL ?IDLETIME|FREQ|FOO ?3"),
    (1,  Exact, "RESTORE KEY|PKEY 0|-1 VAL|DAMAGED ?REPLACE"),
    (2,  Kind,  "DUMP PKEY"),
    (1,  Exact, "DUMP nokey"),
    (4,  Encoding, "OBJECT ENCODING PKEY"),
    (2,  Near(60), "OBJECT IDLETIME PKEY"),
    (4,  Exact, "DEBUG DIGEST-VALUE PKEY"),
    (2,  Exact, "TYPE PKEY"),
    (1,  Exact, "GET PKEY"),
    (1,  Exact, "LRANGE PKEY 0 -1"),
    (1,  Unordered, "SMEMBERS PKEY"),
    (1,  Exact, "ZRANGE PKEY 0 -1 WITHSCORES"),
    (1,  Exact, "XRANGE PKEY - +"),
    (1,  Exact, "APPEND PKEY x"),
    (1,  Exact, "RPUSH PKEY x y"),
    (1,  Exact, "SADD PKEY x 7"),
    (1,  Exact, "HSET PKEY x y"),
    (1,  Exact, "ZADD PKEY 3 x"),
    (2,  Exact, "COPY PKEY PKEY ?REPLACE ?DB_DB"),
    (1,  Exact, "RENAME PKEY PKEY"),
    (1,  Exact, "MOVE PKEY DB"),
    (1,  Exact, "DEL PKEY"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "PKEY" if below(3) == 0 => format!("{{t}}p{}", below(3)).into(),
        "PKEY" => format!("p{}", below(5)).into(),
        "PAYLOAD" => payload(below),
        "NUMBER" => below(16).to_string().into(),
        "SCOREOF" if below(8) == 0 => b"no number".to_vec(),
        "SCOREOF" => format!("{}.5", below(50)).into(),
        "WEIGHT" => format!("w_{}", below(16)).into(),
        "HWEIGHT" => format!("h_{}", below(16)).into(),
        "BYWHAT" => pick(below, &["w_*", "w_*", "h_*->f", "none_*", "w_*->f", "h_*", "*"]),
        "GETWHAT" => pick(below, &["#", "w_*", "h_*->g", "h_*->f", "h_*->", "nothing", "*", "k*"]),
        "DAMAGED" => {
            let mut payload = payload(below);
            match below(3) {
                0 => payload.truncate(below(payload.len())),
                1 => payload.extend_from_slice(b"more"),
                _ => {
                    let at = below(payload.len());
                    payload[at] ^= 1 << below(8);
                }
            }
            payload
        }
        _ => return None,
    })
}

fn pick(below: &mut dyn FnMut(usize) -> usize, words: &[&str]) -> Vec<u8> {
    words[below(words.len())].into()
}

fn payload(below: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let payloads: Vec<Vec<u8>> = payloads().map(|it| it.2).collect();
    payloads[below(payloads.len())].clone()
}

/// Name, encoding, bytes.
pub fn payloads() -> impl Iterator<Item = (&'static str, &'static str, Vec<u8>)> {
    PAYLOADS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut words = line.split(' ');
        let [name, encoding, hex] = [(); 3].map(|()| words.next().unwrap());
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (name, encoding, (0..hex.len()).step_by(2).map(byte).collect())
    })
}
