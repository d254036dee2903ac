//! `LCS`: the longest common subsequence of two strings.
//!
//! The classic table of lengths: row `i`, column `j` holds the answer for the first `i` bytes of one
//! and the first `j` of the other. Then one walk back from the last corner collects the bytes and the
//! runs in which both strings agree, last run first, as the reply wants them.
//!
//! The table needs `4 (a + 1) (b + 1)` bytes, so it is bounded (`LCS_TABLE_BYTES_MAX`); time is
//! proportional to it.

use crate::base::limits::LCS_TABLE_BYTES_MAX;
use crate::command::args::Args;
use crate::engine::shard::{Cx, integer};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;

/// `LCS key1 key2 [LEN] [IDX] [MINMATCHLEN n] [WITHMATCHLEN]`, both keys on this core.
pub fn lcs(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let mut of = |at: usize| {
        let key = cx.key(&args[at]);
        match cx.keyspace.get(cx.db, key, cx.now) {
            Ok(value) => Ok(value.map(|value| value.bytes().to_vec()).unwrap_or_default()),
            Err(_) => Err(ErrorKind::LcsNotStrings),
        }
    };
    // Both are looked up before either is judged.
    let (a, b) = (of(1), of(2));
    write_lcs(&a?, &b?, args, &mut cx.reply)
}

/// The reply for two values, wherever they come from: the half for keys of two cores.
pub fn write_lcs(
    a: &[u8],
    b: &[u8],
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorKind> {
    let wanted = Wanted::parse(args)?;
    let table = Table::new(a, b)?;
    if wanted.len {
        reply.int(i64::from(table.at(a.len(), b.len())));
        return Ok(());
    }
    let (common, runs) = table.walk_back(a, b);
    if !wanted.idx {
        reply.bulk(&common);
        return Ok(());
    }
    let runs: Vec<&Run> = runs
        .iter()
        .filter(|run| i64::try_from(run.len).unwrap_or(i64::MAX) >= wanted.min_len)
        .collect();
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(runs.len());
    for run in runs {
        reply.array(if wanted.match_len { 3 } else { 2 });
        write_span(run.a, run.len, reply);
        write_span(run.b, run.len, reply);
        if wanted.match_len {
            write_number(run.len, reply);
        }
    }
    reply.bulk(b"len");
    write_number(common.len(), reply);
    Ok(())
}

fn write_span(start: usize, len: usize, reply: &mut Reply<'_>) {
    reply.array(2);
    write_number(start, reply);
    write_number(start + len - 1, reply);
}

fn write_number(number: usize, reply: &mut Reply<'_>) {
    reply.int(i64::try_from(number).unwrap_or(i64::MAX));
}

#[derive(Default)]
struct Wanted {
    len: bool,
    idx: bool,
    min_len: i64,
    match_len: bool,
}

impl Wanted {
    fn parse(args: Args<'_>) -> Result<Self, ErrorKind> {
        let mut wanted = Self::default();
        let mut at = 3;
        while at < args.len() {
            if args.is(at, "IDX") {
                wanted.idx = true;
            } else if args.is(at, "LEN") {
                wanted.len = true;
            } else if args.is(at, "WITHMATCHLEN") {
                wanted.match_len = true;
            } else if args.is(at, "MINMATCHLEN") {
                at += 1;
                wanted.min_len = integer(args.get(at).ok_or(ErrorKind::Syntax)?)?;
            } else {
                return Err(ErrorKind::Syntax);
            }
            at += 1;
        }
        if wanted.idx && wanted.len { Err(ErrorKind::LcsLenAndIdx) } else { Ok(wanted) }
    }
}

/// A run of equal bytes: where it begins in both, and its length, which is above zero.
struct Run {
    a: usize,
    b: usize,
    len: usize,
}

struct Table {
    width: usize,
    lengths: Vec<u32>,
}

impl Table {
    fn new(a: &[u8], b: &[u8]) -> Result<Self, ErrorKind> {
        let width = b.len() + 1;
        let cells = (a.len() + 1).checked_mul(width).ok_or(ErrorKind::LcsTooLarge)?;
        if cells > LCS_TABLE_BYTES_MAX / size_of::<u32>() {
            return Err(ErrorKind::LcsTooLarge);
        }
        let mut lengths = vec![0u32; cells];
        for (i, x) in a.iter().enumerate() {
            let (above, row) = lengths[i * width..(i + 2) * width].split_at_mut(width);
            for (j, y) in b.iter().enumerate() {
                row[j + 1] = if x == y { above[j] + 1 } else { above[j + 1].max(row[j]) };
            }
        }
        Ok(Self { width, lengths })
    }

    fn at(&self, i: usize, j: usize) -> u32 {
        self.lengths[i * self.width + j]
    }

    /// The subsequence, and its runs from the last to the first.
    fn walk_back(&self, a: &[u8], b: &[u8]) -> (Vec<u8>, Vec<Run>) {
        let (mut common, mut runs): (Vec<u8>, Vec<Run>) = (Vec::new(), Vec::new());
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                common.push(a[i]);
                match runs.last_mut() {
                    Some(run) if run.a == i + 1 && run.b == j + 1 => {
                        *run = Run { a: i, b: j, len: run.len + 1 };
                    }
                    _ => runs.push(Run { a: i, b: j, len: 1 }),
                }
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        common.reverse();
        (common, runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two strings whose table would not fit are refused before anything is allocated.
    #[test]
    fn the_table_is_bounded() {
        let long = vec![b'x'; 12_000];
        assert_eq!(Table::new(&long, &long).err(), Some(ErrorKind::LcsTooLarge));
        let table = Table::new(b"abcbdab", b"bdcaba").unwrap();
        assert_eq!(table.walk_back(b"abcbdab", b"bdcaba").0.len(), 4);
    }
}
