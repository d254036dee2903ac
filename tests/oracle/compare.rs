//! How a reply may differ from the real server's. Errors never may.

use crate::support::value::{Value, value};

const NO_NUMBER: &[u8] = b"-ERR One or more scores can't be converted into double\r\n";

/// What must be the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// Every byte.
    Exact,
    /// The elements, in any order.
    Unordered,
    /// An integer, or a bulk that holds one, within so much; negative ones mean something else
    /// (no key, no expiry) and must be equal.
    Near(i64),
    /// Every byte, but for what 7.2 calls otherwise: a short list is a listpack, no quicklist of one.
    /// And a sorted set stays packed where the real server's SORT has unpacked it.
    Encoding,
    /// Every byte, unless the real server says that something is no number: a number that was too large,
    /// anywhere before, may make it say so.
    Numbers,
    /// The kind of the reply, null or not.
    Kind,
    /// The keys of a map and their order; of the values only the kind. `proto` must be equal.
    MapKeys,
    /// The names in `name=value` or `name:value` words: all of the real server's, in its order.
    Fields,
}

impl Compare {
    /// Whether both replies are whole and alike enough.
    pub fn agrees(self, real: &[u8], ours: &[u8]) -> bool {
        if real == ours {
            return true;
        }
        if self == Self::Numbers && real == NO_NUMBER {
            return true;
        }
        if self == Self::Exact || real.starts_with(b"-") || ours.starts_with(b"-") {
            return false;
        }
        if real.is_empty() || ours.is_empty() {
            return false; // a closed connection
        }
        let (real, ours) = (value(real), value(ours));
        if real.kind() != ours.kind() {
            return false;
        }
        match self {
            Self::Exact | Self::Numbers => false,
            Self::Encoding => {
                let stock = [b"quicklist".as_slice(), b"skiplist"];
                stock.contains(&real.bytes()) && ours.bytes() == b"listpack"
            }
            Self::Unordered => sorted(&real) == sorted(&ours),
            Self::Near(most) => near(&real, &ours, most),
            Self::Kind => true,
            Self::MapKeys => map_keys(&real, &ours),
            Self::Fields => fields(&real, &ours),
        }
    }
}

fn sorted(list: &Value) -> Vec<&Value> {
    let mut items: Vec<&Value> = list.items().iter().collect();
    items.sort();
    items
}

fn near(real: &Value, ours: &Value, most: i64) -> bool {
    match (real.int(), ours.int()) {
        (Some(real), Some(ours)) if real >= 0 && ours >= 0 => real.abs_diff(ours) <= most as u64,
        _ => false,
    }
}

fn map_keys(real: &Value, ours: &Value) -> bool {
    let (real, ours) = (real.items(), ours.items());
    real.len() == ours.len()
        && real.chunks(2).zip(ours.chunks(2)).all(|(real, ours)| {
            let alike = real[0] == ours[0] && real[1].kind() == ours[1].kind();
            alike && (real[0].bytes() != b"proto" || real[1] == ours[1])
        })
}

fn fields(real: &Value, ours: &Value) -> bool {
    let ours = names(ours.bytes());
    let mut rest = ours.iter();
    // Of the inner life of its lists Redis tells more, and 7.2 tells it of fewer.
    let told = names(real.bytes()).into_iter().filter(|name| !name.starts_with("ql_"));
    told.into_iter().all(|name| rest.any(|it| *it == name))
}

/// The names of the first line: `id=3 addr=..` and `Value at:0x.. refcount:1 ..` alike.
pub fn names(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let words = text.lines().next().unwrap_or("").split(' ');
    words.filter_map(|it| it.split_once(['=', ':']).map(|(name, _)| name.to_string())).collect()
}

#[test]
fn each_comparison_finds_what_it_should() {
    use Compare::{Encoding, Exact, Fields, Kind, MapKeys, Near, Unordered};
    #[rustfmt::skip] // One row, one line.
    let table: &[(Compare, &str, &str, bool)] = &[
        (Exact,     "+OK\r\n",                      "+OK\r\n",                      true),
        (Exact,     "+OK\r\n",                      "$2\r\nOK\r\n",                 false),
        (Encoding,  "$9\r\nquicklist\r\n",          "$8\r\nlistpack\r\n",           true),
        (Encoding,  "$8\r\nlistpack\r\n",           "$9\r\nquicklist\r\n",          false),
        (Unordered, "*2\r\n:1\r\n:2\r\n",           "*2\r\n:2\r\n:1\r\n",           true),
        (Unordered, "*2\r\n:1\r\n:2\r\n",           "*2\r\n:2\r\n:2\r\n",           false),
        (Unordered, "*1\r\n:1\r\n",                 "~1\r\n:1\r\n",                 false),
        (Near(2),   ":100\r\n",                     ":98\r\n",                      true),
        (Near(2),   ":100\r\n",                     ":97\r\n",                      false),
        (Near(2),   ":-1\r\n",                      ":-2\r\n",                      false),
        (Near(2),   ":-1\r\n",                      ":1\r\n",                       false),
        (Kind,      "$1\r\na\r\n",                  "$2\r\nbc\r\n",                 true),
        (Kind,      "$1\r\na\r\n",                  "$-1\r\n",                      false),
        (Kind,      ":1\r\n",                       "-ERR x\r\n",                   false),
        (Kind,      "-ERR y\r\n",                   "-ERR x\r\n",                   false),
        (MapKeys,   "%1\r\n+a\r\n:1\r\n",           "%1\r\n+a\r\n:2\r\n",           true),
        (MapKeys,   "%1\r\n+a\r\n:1\r\n",           "%1\r\n+b\r\n:1\r\n",           false),
        (MapKeys,   "%1\r\n$5\r\nproto\r\n:2\r\n",  "%1\r\n$5\r\nproto\r\n:3\r\n",  false),
        (Fields,    "$7\r\na=1 b=2\r\n",            "$11\r\na=5 c=1 b=3\r\n",       true),
        (Fields,    "$7\r\na=1 b=2\r\n",            "$7\r\nb=5 a=3\r\n",            false),
    ];
    for (compare, real, ours, agrees) in table {
        let got = compare.agrees(real.as_bytes(), ours.as_bytes());
        assert_eq!(got, *agrees, "{compare:?} {real:?} {ours:?}");
    }
}
