//! Commands over the keys of all cores: DBSIZE, KEYS, SCAN, RANDOMKEY, FLUSHALL, FLUSHDB, SWAPDB.

use crate::command::args::Args;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::engine::generic::whole;
use crate::node::control::{Ask, Op};
use crate::node::cx::{NodeCx, NodeFn};
use crate::node::gather::Summary;
use crate::resp::error::ErrorKind;

#[rustfmt::skip] // One row, one line.
pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::new(rows::DBSIZE,    dbsize),
    Command::new(rows::KEYS,      keys),
    Command::new(rows::SCAN,      scan),
    Command::new(rows::RANDOMKEY, random_key),
    Command::new(rows::FLUSHALL,  flush_all),
    Command::new(rows::FLUSHDB,   flush_db),
    Command::new(rows::SWAPDB,    swap),
];

fn dbsize(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("dbsize", args, Summary::Sum);
    Ok(())
}

fn keys(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("keys", args.skip(1), Summary::Concat);
    Ok(())
}

fn random_key(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("random-key", args, Summary::RandomKey);
    Ok(())
}

/// One core after the other; the cursor says which one and where in it.
fn scan(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let scan = whole::Scan::parse(args)?;
    let (core, cursor) = unpack_cursor(scan.cursor, cx.core.cores);
    let cursor = cursor.to_string();
    let mut words: Vec<&[u8]> = args.words().to_vec();
    words[1] = cursor.as_bytes();
    cx.ask_core(core, "scan", Args::new(&words));
    Ok(())
}

fn flush_all(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    whole::check_flush(args)?;
    flush(cx, args, None)
}

fn flush_db(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    whole::check_flush(args)?;
    let db = cx.db();
    flush(cx, args, Some(db))
}

fn flush(cx: &mut NodeCx<'_>, args: Args<'_>, db: Option<usize>) -> Result<(), ErrorKind> {
    let words = args.iter().map(<[u8]>::to_vec).collect();
    let in_db = cx.db();
    cx.ask(Ask::Section(Op::Flush { db, in_db, words }));
    Ok(())
}

fn swap(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if cx.core.view.settings.cluster_enabled {
        return Err(ErrorKind::ClusterSwapdb);
    }
    let (a, b) = whole::swapped(args, cx.core.keyspace.databases())?;
    let words = args.iter().map(<[u8]>::to_vec).collect();
    let in_db = cx.db();
    cx.ask(Ask::Section(Op::Swap { a, b, in_db, words }));
    Ok(())
}

/// A core's cursor as the client's: the core in the low digits; a core that is done hands over to
/// the next, and after the last one the scan is over.
#[must_use]
pub(super) fn pack_cursor(cursor: u64, core: usize, cores: usize) -> u64 {
    match (cursor, core + 1 < cores) {
        (0, false) => 0,
        (0, true) => core as u64 + 1,
        (cursor, _) => cursor * cores as u64 + core as u64,
    }
}

fn unpack_cursor(cursor: u64, cores: usize) -> (usize, u64) {
    let cores = cores as u64;
    (usize::try_from(cursor % cores).unwrap_or(0), cursor / cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_walks_through_all_cores_and_ends_once() {
        for cores in [1, 2, 3, 7] {
            let (mut cursor, mut seen) = (0, Vec::new());
            loop {
                let (core, own) = unpack_cursor(cursor, cores);
                seen.push((core, own));
                // Each core is done after the own cursors 0, 5, 9.
                let next = match own {
                    0 => 5,
                    5 => 9,
                    _ => 0,
                };
                cursor = pack_cursor(next, core, cores);
                if cursor == 0 {
                    break;
                }
            }
            let expected: Vec<_> =
                (0..cores).flat_map(|core| [0, 5, 9].map(|own| (core, own))).collect();
            assert_eq!(seen, expected);
        }
    }
}
