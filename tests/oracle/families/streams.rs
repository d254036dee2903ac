//! Streams and consumer groups. IDs are small and made by `ms-*`, so that both servers make the same ones;
//! times of delivery are given, or not looked at.

use super::Row;
use crate::compare::Compare::{Encoding, Exact, Kind};

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (16, Exact, "XADD SKEY NEWID SNAME SVAL"),
    (12, Exact, "XADD SKEY NEWID SNAME SVAL SNAME SVAL ?SNAME_SVAL"),
    (4,  Exact, "XADD SKEY ?NOMKSTREAM ?MAXLEN_SCOUNT|MINID_SID|MAXLEN_~_SCOUNT|MINID_~_SID|MAXLEN_=_SCOUNT ?LIMIT_SCOUNT NEWID SNAME SVAL"),
    (1,  Exact, "XADD SKEY MAXLEN|MINID|FOO ~|=|1 SCOUNT NEWID SNAME ?SVAL"),
    (4,  Exact, "XLEN SKEY"),
    (6,  Exact, "XRANGE SKEY SBOUND SBOUND ?COUNT_SCOUNT"),
    (6,  Exact, "XREVRANGE SKEY SBOUND SBOUND ?COUNT_SCOUNT"),
    (3,  Exact, "XRANGE SKEY - + ?COUNT_SCOUNT ?FOO"),
    (6,  Exact, "XDEL SKEY SID+"),
    (3,  Exact, "XTRIM SKEY MAXLEN_SCOUNT|MINID_SID|MAXLEN_~_SCOUNT|MINID_~_SID|MAXLEN_=_SCOUNT ?LIMIT_SCOUNT"),
    (2,  Exact, "XSETID SKEY SID ?ENTRIESADDED_SCOUNT ?MAXDELETEDID_SID"),
    (8,  Exact, "XREAD ?COUNT_SCOUNT STREAMS SKEY SID|$"),
    (4,  Exact, "XREAD ?COUNT_SCOUNT STREAMS TSKEY TSKEY SID SID|$|>"),
    (1,  Exact, "XREAD ?COUNT_SCOUNT|NOACK|GROUP_a_b STREAMS SKEY ?SKEY SID"),
    (8,  Exact, "XGROUP CREATE SKEY SGROUP SID|$|0|0 ?MKSTREAM ?ENTRIESREAD_SCOUNT"),
    (2,  Exact, "XGROUP SETID SKEY SGROUP SID|$|0 ?ENTRIESREAD_SCOUNT"),
    (1,  Exact, "XGROUP DESTROY SKEY SGROUP"),
    (2,  Exact, "XGROUP CREATECONSUMER SKEY SGROUP SCONSUMER"),
    (2,  Exact, "XGROUP DELCONSUMER SKEY SGROUP SCONSUMER"),
    (1,  Exact, "XGROUP|XINFO FOO|CREATE|SETID|STREAM|GROUPS ?SKEY ?SGROUP"),
    (16, Exact, "XREADGROUP GROUP SGROUP SCONSUMER ?COUNT_SCOUNT ?NOACK STREAMS SKEY >|>|SID"),
    (3,  Exact, "XREADGROUP GROUP SGROUP SCONSUMER ?COUNT_SCOUNT STREAMS TSKEY TSKEY >|SID >|SID|$"),
    (6,  Exact, "XACK SKEY SGROUP SID+"),
    (5,  Exact, "XPENDING SKEY SGROUP"),
    (3,  Kind,  "XPENDING SKEY SGROUP SBOUND SBOUND SCOUNT ?SCONSUMER"),
    (2,  Exact, "XPENDING SKEY SGROUP IDLE 100000000 SBOUND SBOUND SCOUNT ?SCONSUMER"),
    (8,  Exact, "XCLAIM SKEY SGROUP SCONSUMER 0|100000000 SID+ ?TIME_1000 ?RETRYCOUNT_SCOUNT ?FORCE ?JUSTID ?LASTID_SID"),
    (1,  Exact, "XCLAIM SKEY SGROUP SCONSUMER 0|abc SID FOO|IDLE|IDLE_abc|TIME_x|LASTID_x"),
    (6,  Exact, "XAUTOCLAIM SKEY SGROUP SCONSUMER 0|100000000 SBOUND ?COUNT_SCOUNT ?JUSTID"),
    (5,  Exact, "XINFO STREAM SKEY"),
    (5,  Exact, "XINFO GROUPS SKEY"),
    (2,  Kind,  "XINFO CONSUMERS SKEY SGROUP"),
    (2,  Kind,  "XINFO STREAM SKEY FULL ?COUNT_SCOUNT"),
    (1,  Encoding, "OBJECT ENCODING SKEY"),
    (2,  Exact, "COPY TSKEY TSKEY ?REPLACE"),
    (1,  Exact, "RENAME TSKEY TSKEY"),
    (2,  Exact, "DEL SKEY"),
    (2,  Exact, "DEBUG DIGEST-VALUE SKEY"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "SKEY" if below(25) == 0 => format!("k{}", below(16)).into(),
        "SKEY" if below(3) == 0 => format!("{{t}}s{}", below(3)).into(),
        "SKEY" => format!("s{}", below(3)).into(),
        "TSKEY" => format!("{{t}}s{}", below(3)).into(),
        "NEWID" => match below(16) {
            0 => one_of(below, &["abc", "0-0", "-", "+", "1-1-1", "5", "18446744073709551615-*"]),
            1 => format!("{}-{}", below(4), below(60)).into(),
            // Seldom, for the next ones must not be below it.
            2 if below(8) == 0 => b"3-*".to_vec(),
            3 | 4 => b"1-*".to_vec(),
            _ => b"0-*".to_vec(),
        },
        "SID" => match below(20) {
            0 => {
                one_of(below, &["abc", "-", "1-", "0", "18446744073709551615-18446744073709551615"])
            }
            1..=4 => format!("1-{}", below(20)).into(),
            _ => format!("0-{}", below(60)).into(),
        },
        "SBOUND" => match below(6) {
            0 => b"-".to_vec(),
            1 => b"+".to_vec(),
            2 => format!("(0-{}", below(60)).into(),
            3 => format!("{}", below(3)).into(),
            4 if below(6) == 0 => one_of(
                below,
                &["(", "(-", "abc", "(0-0", "", "(18446744073709551615-18446744073709551615"],
            ),
            _ => format!("{}-{}", below(2), below(60)).into(),
        },
        "SCOUNT" => match below(12) {
            0 => one_of(below, &["abc", "-1", "", "9223372036854775808", "-2"]),
            _ => below(20).to_string().into(),
        },
        "SNAME" => one_of(below, &["a", "a", "a", "b", "temperature", "", "7"]),
        "SVAL" => match below(5) {
            0 => vec![b'v'; below(300)],
            1 => vec![b'w'; below(1_500)],
            _ => below(100_000).to_string().into(),
        },
        "SGROUP" => one_of(below, &["g", "g", "h", "i"]),
        "SCONSUMER" => one_of(below, &["alice", "bob", "carol"]),
        _ => return None,
    })
}

fn one_of(below: &mut dyn FnMut(usize) -> usize, words: &[&str]) -> Vec<u8> {
    words[below(words.len())].into()
}
