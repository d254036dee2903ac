//! Places, on keys of their own and on sorted sets with any scores.
//!
//! No two places are the same, so that no two are equally far: a real server that sorts only the nearest
//! few leaves equals in any order.

use super::Row;
use crate::compare::Compare::{Encoding, Exact};

#[rustfmt::skip] // One row, one line: a table should look like one.
pub const COMMANDS: &[Row] = &[
    (12, Exact, "GEOADD GKEY ?NX|XX ?CH LON_LAT_ZNAME ?LON_LAT_ZNAME ?LON_LAT_ZNAME"),
    (4,  Exact, "GEODIST GKEY ZNAME ZNAME ?m|km|FT|mi|parsec"),
    (4,  Exact, "GEOPOS GKEY ZNAME ?ZNAME"),
    (4,  Exact, "GEOHASH GKEY ZNAME ?ZNAME"),
    (8,  Exact, "GEOSEARCH GKEY FROMLONLAT_LON_LAT|FROMMEMBER_ZNAME BYRADIUS_LENGTH_UNIT|BYBOX_LENGTH_LENGTH_UNIT ?ASC|DESC ?COUNT_1|COUNT_2|COUNT_3_ANY|COUNT_0 ?WITHDIST ?WITHCOORD ?WITHHASH"),
    (4,  Exact, "GEOSEARCHSTORE GKEY GKEY FROMLONLAT_LON_LAT|FROMMEMBER_ZNAME BYRADIUS_LENGTH_UNIT|BYBOX_LENGTH_LENGTH_UNIT ?ASC|DESC ?COUNT_2|COUNT_3_ANY ?WITHDIST"),
    (2,  Exact, "GEOSEARCHSTORE DKEY GKEY FROMLONLAT_LON_LAT|FROMMEMBER_ZNAME BYRADIUS_LENGTH_UNIT|BYBOX_LENGTH_LENGTH_UNIT ?COUNT_2 STOREDIST"),
    (4,  Exact, "GEORADIUS GKEY LON LAT LENGTH UNIT ?ASC|DESC ?COUNT_2|COUNT_3_ANY ?WITHDIST ?WITHCOORD ?STORE_GKEY|STOREDIST_DKEY"),
    (2,  Exact, "GEORADIUS_RO GKEY LON LAT LENGTH UNIT ?ASC|DESC ?COUNT_2|ANY ?WITHDIST ?WITHHASH ?STORE_GKEY"),
    (4,  Exact, "GEORADIUSBYMEMBER GKEY ZNAME LENGTH UNIT ?ASC|DESC ?COUNT_2|COUNT_3_ANY ?WITHDIST ?WITHCOORD ?STORE_GKEY|STOREDIST_DKEY"),
    (2,  Exact, "GEORADIUSBYMEMBER_RO GKEY ZNAME LENGTH UNIT ?ASC|DESC ?COUNT_2|ANY ?WITHDIST ?WITHHASH ?STORE_GKEY"),
    (2,  Exact, "ZRANGE GKEY 0 -1 WITHSCORES"),
    (2,  Exact, "ZRANGE DKEY 0 -1 WITHSCORES"),
    (2,  Exact, "ZREM GKEY ZNAME ?ZNAME"),
    (1,  Exact, "DEL GKEY"),
    (1,  Encoding, "OBJECT ENCODING GKEY"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "GKEY" => match below(12) {
            0 => format!("k{}", below(16)).into(),
            1..=3 => format!("{{t}}g{}", below(3)).into(),
            _ => format!("g{}", below(3)).into(),
        },
        // What has distances for scores is not searched: they make one place of many.
        "DKEY" => format!("d{}", below(3)).into(),
        "LON" if below(40) == 0 => ["180", "-180", "181", "x"][below(4)].into(),
        "LON" => degrees(180, below),
        "LAT" if below(40) == 0 => ["85.05112878", "-85.05112878", "86", "x"][below(4)].into(),
        "LAT" => degrees(85, below),
        "LENGTH" => match below(14) {
            0 => b"0".to_vec(),
            1 => b"-1".to_vec(),
            2 => b"abc".to_vec(),
            3 => b"inf".to_vec(),
            4 => b"1e300".to_vec(),
            n => {
                format!("{}.{}", below(10_usize.pow(1 + u32::try_from(n).unwrap() % 5)), below(100))
                    .into()
            }
        },
        "UNIT" => [&b"m"[..], b"km", b"KM", b"mi", b"ft", b"x"][below(6)].into(),
        _ => return None,
    })
}

/// Often near each other.
fn degrees(most: usize, below: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
    let whole =
        if below(2) == 0 { below(2 * most) as i64 - most as i64 } else { 10 + below(3) as i64 };
    format!("{whole}.{:07}", below(10_000_000)).into()
}
