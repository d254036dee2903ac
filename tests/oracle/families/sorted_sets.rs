//! Sorted sets, on keys of their own and on keys that hold something else.
//!
//! Ranges by name are asked of sorted sets whose members have one score: of others, what they are is not
//! said.

use super::Row;
use crate::compare::Compare::{Encoding, Exact, Kind, Unordered};

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (14, Exact, "ZADD ZKEY SCORE ZNAME ?SCORE_ZNAME ?SCORE_ZNAME ?SCORE_ZNAME"),
    (8,  Exact, "ZADD ZKEY ?NX|XX ?GT|LT ?CH ?INCR SCORE ZNAME ?SCORE_ZNAME"),
    (3,  Exact, "ZADD ZKEY NX|XX|GT|LT|CH|INCR|FOO NX|XX|GT|LT|CH|INCR SCORE ZNAME ?ZNAME"),
    (6,  Exact, "ZINCRBY ZKEY SCORE ZNAME"),
    (6,  Exact, "ZREM ZKEY ZNAME ?ZNAME ?ZNAME"),
    (3,  Exact, "ZCARD ZKEY"),
    (5,  Exact, "ZCOUNT ZKEY BOUND BOUND"),
    (6,  Exact, "ZSCORE ZKEY ZNAME"),
    (3,  Exact, "ZMSCORE ZKEY ZNAME ?ZNAME ?ZNAME"),
    (4,  Exact, "ZRANK|ZREVRANK ZKEY ZNAME"),
    (8,  Exact, "ZRANGE ZKEY INDEX INDEX ?REV ?WITHSCORES"),
    (4,  Exact, "ZRANGE ZKEY 0 -1 WITHSCORES"),
    (8,  Exact, "ZRANGE ZKEY BOUND BOUND BYSCORE ?REV ?LIMIT_INDEX_INDEX ?WITHSCORES"),
    (2,  Exact, "ZRANGE ZKEY BOUND|INDEX BOUND|INDEX ?BYSCORE|FOO ?LIMIT|LIMIT_0_-1|LIMIT_1_2 ?REV|WITHSCORES"),
    (4,  Exact, "ZREVRANGE ZKEY INDEX INDEX ?WITHSCORES|REV|LIMIT_0_-1"),
    (5,  Exact, "ZRANGEBYSCORE ZKEY BOUND BOUND ?WITHSCORES ?LIMIT_INDEX_INDEX"),
    (5,  Exact, "ZREVRANGEBYSCORE ZKEY BOUND BOUND ?WITHSCORES ?LIMIT_INDEX_INDEX"),
    (4,  Exact, "ZRANGESTORE ZKEY ZKEY INDEX INDEX ?REV"),
    (4,  Exact, "ZRANGESTORE ZKEY ZKEY BOUND BOUND BYSCORE ?REV ?LIMIT_INDEX_INDEX"),
    (3,  Exact, "ZREMRANGEBYRANK ZKEY INDEX INDEX"),
    (3,  Exact, "ZREMRANGEBYSCORE ZKEY BOUND BOUND"),
    (4,  Exact, "ZPOPMIN|ZPOPMAX ZKEY ?1|2|3|0|-1|abc"),
    (4,  Exact, "ZMPOP 1|2|2|3|0|abc ZKEY ZKEY MIN|MAX ?COUNT_1|COUNT_3|COUNT_0|COUNT|FOO"),
    (1,  Exact, "BZPOPMIN|BZPOPMAX ZKEY ?ZKEY ?ZKEY 0.01"),
    (1,  Exact, "BZPOPMIN|BZPOPMAX ZKEY ZKEY abc|-1|nan|-inf"),
    (1,  Exact, "BZMPOP 0.01 1|2|0|abc ZKEY ZKEY MIN|MAX ?COUNT_1|COUNT_3|COUNT_0|FOO"),
    (1,  Exact, "BZMPOP abc|-1 1|2|0|abc ZKEY ZKEY MIN|MAX|FOO ?COUNT_1|COUNT_3|COUNT_0|FOO"),
    (6,  Exact, "ZUNION|ZINTER 1_ZKEY|2_ZKEY_ZKEY|2_ZKEY_ZKEY|3_ZKEY_ZKEY_ZKEY ?WEIGHTS_SCORE|WEIGHTS_SCORE_SCORE ?AGGREGATE_SUM|AGGREGATE_MIN|AGGREGATE_MAX|AGGREGATE ?WITHSCORES"),
    (4,  Exact, "ZDIFF 1_ZKEY|2_ZKEY_ZKEY|2_ZKEY_ZKEY|3_ZKEY_ZKEY_ZKEY ?WITHSCORES"),
    (6,  Exact, "ZUNIONSTORE|ZINTERSTORE ZKEY 1_ZKEY|2_ZKEY_ZKEY|2_ZKEY_ZKEY|3_ZKEY_ZKEY_ZKEY ?WEIGHTS_SCORE_SCORE ?AGGREGATE_SUM|AGGREGATE_MIN|AGGREGATE_MAX"),
    (3,  Exact, "ZDIFFSTORE ZKEY 1_ZKEY|2_ZKEY_ZKEY|2_ZKEY_ZKEY|3_ZKEY_ZKEY_ZKEY"),
    (4,  Exact, "ZINTERCARD 1_ZKEY|2_ZKEY_ZKEY|2_ZKEY_ZKEY|3_ZKEY_ZKEY_ZKEY ?LIMIT_1|LIMIT_INDEX|LIMIT|FOO"),
    (1,  Exact, "ZUNION|ZINTER|ZDIFF 0|-1|abc|5 ZKEY ?ZKEY"),
    (2,  Kind,  "ZRANDMEMBER ZKEY ?3|-3|0|-1|abc|-9223372036854775808 ?WITHSCORES"),
    (2,  Unordered, "ZRANDMEMBER ZKEY 1000 ?FOO"),
    (2,  Kind,  "ZSCAN ZKEY 0 ?MATCH_PATTERN ?COUNT_100"),
    (1,  Exact, "ZSCAN ZKEY abc|-|0x ?COUNT_0"),
    (3,  Exact, "DEL ZKEY"),
    (2,  Exact, "COPY ZKEY ZKEY ?REPLACE"),
    (2,  Exact, "RENAME ZKEY ZKEY"),
    (4,  Encoding, "OBJECT ENCODING ZKEY"),
    (2,  Exact, "TYPE ZKEY"),
    (2,  Exact, "EXPIRE ZKEY TTLS"),
    (1,  Exact, "DEBUG DIGEST-VALUE ZKEY"),
    // One score for all
    (8,  Exact, "ZADD LEXKEY 7 ZNAME ?7_ZNAME ?7_ZNAME ?7_ZNAME"),
    (3,  Exact, "ZREM LEXKEY ZNAME ?ZNAME"),
    (4,  Exact, "ZRANGEBYLEX LEXKEY EDGE EDGE ?LIMIT_INDEX_INDEX|WITHSCORES"),
    (4,  Exact, "ZREVRANGEBYLEX LEXKEY EDGE EDGE ?LIMIT_INDEX_INDEX"),
    (4,  Exact, "ZRANGE LEXKEY EDGE EDGE BYLEX ?REV ?LIMIT_INDEX_INDEX"),
    (1,  Exact, "ZRANGE LEXKEY EDGE|BOUND EDGE|INDEX BYLEX ?BYSCORE|LIMIT|REV ?WITHSCORES"),
    (3,  Exact, "ZLEXCOUNT LEXKEY EDGE EDGE"),
    (2,  Exact, "ZREMRANGEBYLEX LEXKEY EDGE EDGE"),
    (2,  Exact, "ZRANGESTORE ZKEY LEXKEY EDGE EDGE BYLEX ?REV ?LIMIT_INDEX_INDEX"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "ZKEY" => match below(12) {
            0 => format!("k{}", below(16)).into(),
            1 => format!("s{}", below(6)).into(),
            2..=4 => format!("{{t}}z{}", below(5)).into(),
            _ => format!("z{}", below(6)).into(),
        },
        "LEXKEY" => format!("lex{}", below(3)).into(),
        "ZNAME" => match below(60) {
            0 => vec![b'M'; 60 + below(10)],
            1 => b"\0\r\nodd\xff".to_vec(),
            2 => Vec::new(),
            3 => below(1 << 40).to_string().into(),
            4 => format!("-{}", below(40_000)).into(),
            5..=9 => format!("m{}", below(12)).into(),
            10..=14 => format!("member number {}, which is long", below(12)).into(),
            _ => below(20).to_string().into(),
        },
        "SCORE" => score(below),
        "BOUND" => match below(12) {
            0 => b"-inf".to_vec(),
            1 => b"+inf".to_vec(),
            2 => b"nan".to_vec(),
            3 => Vec::new(),
            4..=6 => [b"(".to_vec(), score(below)].concat(),
            _ => score(below),
        },
        "EDGE" => match below(10) {
            0 | 1 => b"-".to_vec(),
            2 | 3 => b"+".to_vec(),
            4 => b"x".to_vec(),
            5 | 6 => format!("({}", below(20)).into(),
            7 => format!("[m{}", below(12)).into(),
            _ => format!("[{}", below(20)).into(),
        },
        "INDEX" => match below(12) {
            0 => b"9223372036854775807".to_vec(),
            1 => b"-9223372036854775808".to_vec(),
            2 => b"abc".to_vec(),
            n @ 3..=6 => format!("-{}", n - 2).into(),
            n => (n - 7).to_string().into(),
        },
        _ => return None,
    })
}

fn score(below: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    #[rustfmt::skip]
    let odd = ["inf", "-inf", "0", "-0", "1e17", "-1.5e300", "0.1", "1e-5", "4503599627370497", "9007199254740993", "0x1p-3",
        "1e400", "nan", "abc", " 1", "3.14159265358979", "1234567.875", "5e-324", "-99999999999999990000", ""];
    match below(4) {
        0 => odd[below(odd.len())].into(),
        1 => format!("{}.{}", below(20), below(100)).into(),
        _ => below(10).to_string().into(),
    }
}
