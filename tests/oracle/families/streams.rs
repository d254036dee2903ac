//! Streams and consumer groups. IDs are small and made by `ms-*`, so that both servers make the same ones;
//! times of delivery are given, or not looked at.

use super::Row;
use crate::compare::Compare::{Exact, Kind};

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (16, Exact, "XADD STREAM NEWID FIELD SVAL"),
    (12, Exact, "XADD STREAM NEWID FIELD SVAL FIELD SVAL ?FIELD_SVAL"),
    (4,  Exact, "XADD STREAM ?NOMKSTREAM ?MAXLEN_SCOUNT|MINID_SID|MAXLEN_~_SCOUNT|MINID_~_SID|MAXLEN_=_SCOUNT ?LIMIT_SCOUNT NEWID FIELD SVAL"),
    (1,  Exact, "XADD STREAM MAXLEN|MINID|FOO ~|=|1 SCOUNT NEWID FIELD ?SVAL"),
    (4,  Exact, "XLEN STREAM"),
    (6,  Exact, "XRANGE STREAM SBOUND SBOUND ?COUNT_SCOUNT"),
    (6,  Exact, "XREVRANGE STREAM SBOUND SBOUND ?COUNT_SCOUNT"),
    (3,  Exact, "XRANGE STREAM - + ?COUNT_SCOUNT ?FOO"),
    (6,  Exact, "XDEL STREAM SID+"),
    (3,  Exact, "XTRIM STREAM MAXLEN_SCOUNT|MINID_SID|MAXLEN_~_SCOUNT|MINID_~_SID|MAXLEN_=_SCOUNT ?LIMIT_SCOUNT"),
    (2,  Exact, "XSETID STREAM SID ?ENTRIESADDED_SCOUNT ?MAXDELETEDID_SID"),
    (8,  Exact, "XREAD ?COUNT_SCOUNT STREAMS STREAM SID|$"),
    (4,  Exact, "XREAD ?COUNT_SCOUNT STREAMS TSTREAM TSTREAM SID SID|$|>"),
    (1,  Exact, "XREAD ?COUNT_SCOUNT|NOACK|GROUP_a_b STREAMS STREAM ?STREAM SID"),
    (8,  Exact, "XGROUP CREATE STREAM GROUP SID|$|0|0 ?MKSTREAM ?ENTRIESREAD_SCOUNT"),
    (2,  Exact, "XGROUP SETID STREAM GROUP SID|$|0 ?ENTRIESREAD_SCOUNT"),
    (1,  Exact, "XGROUP DESTROY STREAM GROUP"),
    (2,  Exact, "XGROUP CREATECONSUMER STREAM GROUP CONSUMER"),
    (2,  Exact, "XGROUP DELCONSUMER STREAM GROUP CONSUMER"),
    (1,  Exact, "XGROUP|XINFO FOO|CREATE|SETID|STREAM|GROUPS ?STREAM ?GROUP"),
    (16, Exact, "XREADGROUP GROUP GROUP CONSUMER ?COUNT_SCOUNT ?NOACK STREAMS STREAM >|>|SID"),
    (3,  Exact, "XREADGROUP GROUP GROUP CONSUMER ?COUNT_SCOUNT STREAMS TSTREAM TSTREAM >|SID >|SID|$"),
    (6,  Exact, "XACK STREAM GROUP SID+"),
    (5,  Exact, "XPENDING STREAM GROUP"),
    (3,  Kind,  "XPENDING STREAM GROUP SBOUND SBOUND SCOUNT ?CONSUMER"),
    (2,  Exact, "XPENDING STREAM GROUP IDLE 100000000 SBOUND SBOUND SCOUNT ?CONSUMER"),
    (8,  Exact, "XCLAIM STREAM GROUP CONSUMER 0|100000000 SID+ ?TIME_1000 ?RETRYCOUNT_SCOUNT ?FORCE ?JUSTID ?LASTID_SID"),
    (1,  Exact, "XCLAIM STREAM GROUP CONSUMER 0|abc SID FOO|IDLE|IDLE_abc|TIME_x|LASTID_x"),
    (6,  Exact, "XAUTOCLAIM STREAM GROUP CONSUMER 0|100000000 SBOUND ?COUNT_SCOUNT ?JUSTID"),
    (5,  Exact, "XINFO STREAM STREAM"),
    (5,  Exact, "XINFO GROUPS STREAM"),
    (2,  Kind,  "XINFO CONSUMERS STREAM GROUP"),
    (2,  Kind,  "XINFO STREAM STREAM FULL ?COUNT_SCOUNT"),
    (1,  Exact, "OBJECT ENCODING STREAM"),
    (2,  Exact, "COPY TSTREAM TSTREAM ?REPLACE"),
    (1,  Exact, "RENAME TSTREAM TSTREAM"),
    (2,  Exact, "DEL STREAM"),
    (2,  Exact, "DEBUG DIGEST-VALUE STREAM"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "STREAM" if below(25) == 0 => format!("k{}", below(16)).into(),
        "STREAM" if below(3) == 0 => format!("{{t}}s{}", below(3)).into(),
        "STREAM" => format!("s{}", below(3)).into(),
        "TSTREAM" => format!("{{t}}s{}", below(3)).into(),
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
        "FIELD" => one_of(below, &["a", "a", "a", "b", "temperature", "", "7"]),
        "SVAL" => match below(5) {
            0 => vec![b'v'; below(300)],
            1 => vec![b'w'; below(1_500)],
            _ => below(100_000).to_string().into(),
        },
        "GROUP" => one_of(below, &["g", "g", "h", "i"]),
        "CONSUMER" => one_of(below, &["alice", "bob", "carol"]),
        _ => return None,
    })
}

fn one_of(below: &mut dyn FnMut(usize) -> usize, words: &[&str]) -> Vec<u8> {
    words[below(words.len())].into()
}
