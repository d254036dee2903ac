//! Whether two servers have the same data, while nobody writes: by DEBUG DIGEST, or key by key.
//!
//! Values are compared, not their encodings: makes and versions keep the same set in different forms.

use super::party::Party;
use crate::resp::decode::Value;
use crate::resp::reply::write_request;
use crate::runtime::asking::{Info, Link};
use std::time::Instant;

/// Keys of one SCAN.
const BATCH: &str = "200";
/// What is compared where neither was chosen and there is no digest.
pub const SAMPLE: u64 = 10_000;

/// How to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Verify {
    /// DEBUG DIGEST where both servers allow it, else counts and up to 10,000 keys
    Auto,
    /// DEBUG DIGEST of all data: both servers must allow it
    Digest,
    /// Every key is read from both
    Keys,
    /// How many keys each database has
    Count,
    /// Nothing
    None,
}

/// What was compared, for the user.
///
/// # Errors
/// What differs, or that there was no time.
pub fn verify(
    from: &mut Party,
    to: &mut Party,
    how: Verify,
    until: Instant,
) -> Result<String, String> {
    let digests = |party: &mut Party| party.ask(&["DEBUG", "HELP"]).is_ok();
    let how = match how {
        Verify::Auto if digests(from) && digests(to) => Verify::Digest,
        how => how,
    };
    match how {
        Verify::None => Ok("nothing was compared".into()),
        Verify::Digest => {
            let one = from.ask(&["DEBUG", "DIGEST"]).map_err(|why| format!("the source: {why}"))?;
            let other = to.ask(&["DEBUG", "DIGEST"]).map_err(|why| format!("the target: {why}"))?;
            match one == other {
                true => Ok(format!("the digests are equal: {}", shown(&one))),
                false => Err(format!("the digests differ: {}, {}", shown(&one), shown(&other))),
            }
        }
        Verify::Auto | Verify::Keys | Verify::Count => {
            let (one, other) = (from.info()?, to.info()?);
            let total = counts(&one, &other)?;
            let limit = match how {
                Verify::Keys => u64::MAX,
                Verify::Auto => SAMPLE,
                _ => 0,
            };
            let mut compared = 0;
            for (db, _) in one.rows("db") {
                compared += keys(from, to, db, limit.saturating_sub(compared), until)?;
            }
            Ok(format!("each database has as many keys ({total}); {compared} were compared"))
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Simple(text) | Value::Bulk(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}

/// The number of all keys, where each database has as many on both sides.
fn counts(one: &Info, other: &Info) -> Result<u64, String> {
    let of = |info: &Info| -> Vec<(u32, u64)> {
        let rows = info.rows("db");
        let mut counts: Vec<(u32, u64)> = rows
            .map(|(db, row)| (db, row.get("keys").and_then(|it| it.parse().ok()).unwrap_or(0)))
            .filter(|it| it.1 > 0)
            .collect();
        counts.sort_unstable();
        counts
    };
    let (one, other) = (of(one), of(other));
    if one != other {
        return Err(format!("the numbers of keys differ by database: {one:?}, {other:?}"));
    }
    Ok(one.iter().map(|it| it.1).fold(0, u64::saturating_add))
}

/// Reads up to `limit` keys of a database from both; how many.
fn keys(
    from: &mut Party,
    to: &mut Party,
    db: u32,
    limit: u64,
    until: Instant,
) -> Result<u64, String> {
    if limit == 0 {
        return Ok(0);
    }
    let (one, other) = (from.link()?, to.link()?);
    let number = db.to_string();
    for link in [&mut *one, &mut *other] {
        link.ask(&[b"SELECT", number.as_bytes()])?;
    }
    let (mut cursor, mut compared) = (b"0".to_vec(), 0);
    let result = loop {
        let page = one.ask(&[b"SCAN", &cursor, b"COUNT", BATCH.as_bytes()])?;
        let Some((next, names)) = page_of(page) else { break Err("it cannot SCAN".into()) };
        if let Err(why) = batch(one, other, db, &names) {
            break Err(why);
        }
        compared += names.len() as u64;
        if next == b"0" || compared >= limit {
            break Ok(compared);
        }
        if Instant::now() >= until {
            break Err(format!("there was no time for more than {compared} keys"));
        }
        cursor = next;
    };
    for link in [one, other] {
        link.ask(&[b"SELECT", b"0"])?;
    }
    result
}

fn page_of(page: Value) -> Option<(Vec<u8>, Vec<Vec<u8>>)> {
    let Value::Array(parts) = page else { return None };
    let mut parts = parts.into_iter();
    let (Some(Value::Bulk(next)), Some(Value::Array(names))) = (parts.next(), parts.next()) else {
        return None;
    };
    let bulk = |it| if let Value::Bulk(name) = it { Some(name) } else { None };
    Some((next, names.into_iter().filter_map(bulk).collect()))
}

fn batch(one: &mut Link, other: &mut Link, db: u32, names: &[Vec<u8>]) -> Result<(), String> {
    let types: Vec<[&[u8]; 2]> =
        names.iter().map(|it| [b"TYPE".as_slice(), it.as_slice()]).collect();
    let types = all(one, &types.iter().map(<[_; 2]>::as_slice).collect::<Vec<_>>())?;
    let mut requests: Vec<Vec<&[u8]>> = Vec::new();
    for (name, kind) in names.iter().zip(&types) {
        let Value::Simple(kind) = kind else { return Err("it cannot tell a TYPE".into()) };
        requests.push(match kind.as_slice() {
            b"string" => vec![b"GET", name],
            b"list" => vec![b"LRANGE", name, b"0", b"-1"],
            b"set" => vec![b"SMEMBERS", name],
            b"zset" => vec![b"ZRANGE", name, b"0", b"-1", b"WITHSCORES"],
            b"hash" => vec![b"HGETALL", name],
            b"stream" => vec![b"XRANGE", name, b"-", b"+"],
            b"none" => vec![b"EXISTS", name],
            _ => return Err(format!("a key of {} of an unknown type", from_bytes(name))),
        });
        // Known since 7.0: older ones answer with an error, and so does nobody then.
        requests.push(vec![b"PEXPIRETIME", name]);
    }
    let requests: Vec<&[&[u8]]> = requests.iter().map(Vec::as_slice).collect();
    let (left, right) = (all(one, &requests)?, all(other, &requests)?);
    for (at, (left, right)) in left.into_iter().zip(right).enumerate() {
        let (kind, of_time) = (types.get(at / 2), at % 2 == 1);
        let unknown = |it: &Value| matches!(it, Value::Error(_));
        if of_time && (unknown(&left) || unknown(&right)) {
            continue;
        }
        if canonical(left, kind) != canonical(right, kind) {
            let name = names.get(at / 2).map(|it| from_bytes(it)).unwrap_or_default();
            let what = if of_time { "the expiry" } else { "the value" };
            return Err(format!("{what} of key {name} in database {db} differs"));
        }
    }
    Ok(())
}

fn from_bytes(name: &[u8]) -> String {
    name.escape_ascii().to_string()
}

/// Elements of sets and fields of hashes have no order.
fn canonical(value: Value, kind: Option<&Value>) -> Value {
    let width = match kind {
        Some(Value::Simple(kind)) if kind == b"set" => 1,
        Some(Value::Simple(kind)) if kind == b"hash" => 2,
        _ => return value,
    };
    let Value::Array(items) = value else { return value };
    let text = |it: &Value| if let Value::Bulk(text) = it { text.clone() } else { Vec::new() };
    let mut rows: Vec<Vec<Vec<u8>>> =
        items.chunks(width).map(|row| row.iter().map(text).collect()).collect();
    rows.sort_unstable();
    Value::Array(rows.into_iter().flatten().map(Value::Bulk).collect())
}

/// Requests in one go, and their replies.
fn all(link: &mut Link, requests: &[&[&[u8]]]) -> Result<Vec<Value>, String> {
    let mut bytes = Vec::new();
    requests.iter().for_each(|it| write_request(&mut bytes, it));
    link.send(&bytes)?;
    requests.iter().map(|_| link.reply()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulks(items: &[&str]) -> Value {
        Value::Array(items.iter().map(|it| Value::Bulk(it.as_bytes().to_vec())).collect())
    }

    #[test]
    fn order_counts_where_there_is_one() {
        let kind = |name: &str| Value::Simple(name.as_bytes().to_vec());
        let check = |name: &str, left: &[&str], right: &[&str], equal: bool| {
            let (left, right) = (bulks(left), bulks(right));
            let kind = kind(name);
            assert_eq!(canonical(left, Some(&kind)) == canonical(right, Some(&kind)), equal);
        };
        check("set", &["a", "b"], &["b", "a"], true);
        check("set", &["a", "b"], &["b", "c"], false);
        check("list", &["a", "b"], &["b", "a"], false);
        check("hash", &["f", "1", "g", "2"], &["g", "2", "f", "1"], true);
        check("hash", &["f", "1", "g", "2"], &["g", "1", "f", "2"], false);
        check("zset", &["a", "1", "b", "1"], &["b", "1", "a", "1"], false);
    }

    #[test]
    fn counts_go_by_database() {
        let info = |text: &str| Info::parse(text);
        let one = info("db0:keys=3,expires=0\ndb9:keys=4,expires=0");
        assert_eq!(counts(&one, &one), Ok(7));
        assert!(counts(&one, &info("db0:keys=4,expires=0\ndb9:keys=3,expires=0")).is_err());
        assert!(counts(&one, &info("db0:keys=3,expires=0")).is_err());
    }
}
