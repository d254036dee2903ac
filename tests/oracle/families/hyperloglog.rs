//! HyperLogLogs, on keys of their own that other strings seldom get at.

use super::Row;
use crate::compare::Compare::Exact;

#[rustfmt::skip] // As ever.
pub const COMMANDS: &[Row] = &[
    (8,  Exact, "PFADD SKETCH ELEMENT+"),
    (2,  Exact, "PFADD SKETCH ELEMENT+ ELEMENT+ ELEMENT+ ELEMENT+ ELEMENT+ ELEMENT+"),
    (1,  Exact, "PFADD SKETCH"),
    (5,  Exact, "PFCOUNT SKETCH+"),
    (3,  Exact, "PFMERGE SKETCH SKETCH+"),
    (4,  Exact, "GET SKETCH"),
    (1,  Exact, "PFDEBUG ENCODING|DECODE|TODENSE|FOO SKETCH"),
    (1,  Exact, "SETRANGE SKETCH DAMAGE VAL"),
    (1,  Exact, "DEL SKETCH"),
    (1,  Exact, "COPY SKETCH SKETCH ?REPLACE"),
];

pub fn token(token: &str, below: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    Some(match token {
        "SKETCH" if below(20) == 0 => format!("k{}", below(16)).into(),
        "SKETCH" => format!("h{}", below(6)).into(),
        "ELEMENT" => below(3_000).to_string().into(),
        "DAMAGE" => below(60).to_string().into(),
        _ => return None,
    })
}
