//! Any bytes from a master: our link to it does the same however they are cut, never panics, and hands out units
//! that lie one behind the other. The cutter that loads the append-only file is the same.
//!
//! The first byte of the input says how the link begins, the second the size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::base::time::Mono;
use ringfold::replication::psync::History;
use ringfold::replication::replica::{Input, Output, Replica, Settings};
use ringfold::replication::units::Cutter;

fuzz_target!(|input: &[u8]| {
    let [choice, size, input @ ..] = input else { return };
    let start = match choice % 4 {
        0 => &b""[..],
        1 => b"+PONG\r\n+OK\r\n+OK\r\n",
        2 => b"+PONG\r\n+OK\r\n+OK\r\n+CONTINUE\r\n",
        _ => b"+PONG\r\n+OK\r\n+OK\r\n+FULLRESYNC 0123456789012345678901234567890123456789 100\r\n",
    };
    let offset = (choice & 4 != 0).then_some(50);
    let whole = run(start, [input], offset);
    assert_eq!(run(start, input.chunks(usize::from(*size).max(1)), offset), whole);
    cut(input, usize::from(*size).max(1));
});

/// What was loaded and applied, and whether the link was given up.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    loaded: Vec<u8>,
    applied: Vec<u8>,
    closed: bool,
}

fn run<'a>(
    start: &'a [u8],
    pieces: impl IntoIterator<Item = &'a [u8]>,
    offset: Option<u64>,
) -> Outcome {
    let settings = Settings { timeout_ms: 60_000, port: 7777, ..Settings::default() };
    let mut replica = Replica::new(settings, Mono(0));
    let mut history = History::new([b'0'; 40]);
    let (mut out, mut kept, mut outcome) = (Vec::new(), Vec::new(), Outcome::default());
    replica.handle(Mono(0), &mut history, Input::Follow { offset, failover: false }, &mut out);
    replica.handle(Mono(0), &mut history, Input::Connected, &mut out);
    for piece in [start].into_iter().chain(pieces) {
        kept.extend_from_slice(piece);
        loop {
            out.clear();
            let used = replica.handle(Mono(0), &mut history, Input::Bytes(&kept), &mut out);
            assert!(used <= kept.len());
            let (mut done, mut end) = (false, None);
            for output in &out {
                match output {
                    Output::Load(range) => outcome.loaded.extend_from_slice(&kept[range.clone()]),
                    Output::Apply { range, end: at, .. } => {
                        outcome.applied.extend_from_slice(&kept[range.clone()]);
                        end = Some(*at);
                    }
                    Output::LoadDone => done = true,
                    Output::Close(_) => outcome.closed = true,
                    _ => {}
                }
            }
            if outcome.closed {
                return outcome;
            }
            kept.drain(..used);
            if done {
                replica.handle(Mono(0), &mut history, Input::Loaded, &mut out);
            }
            if let Some(offset) = end {
                replica.handle(Mono(0), &mut history, Input::Applied { offset }, &mut out);
            }
            if used == 0 && !done || kept.is_empty() {
                break;
            }
        }
    }
    outcome
}

/// Units from bytes that grow are those of the bytes at once.
fn cut(input: &[u8], step: usize) {
    let (mut grown, mut units) = (Cutter::default(), Vec::new());
    let (mut at, mut upto, mut failed) = (0, 0, false);
    while upto < input.len() && !failed {
        upto = (upto + step).min(input.len());
        loop {
            match grown.next(&input[at..upto]) {
                Ok(Some((unit, length))) => {
                    assert!(length > 0 && at + length <= upto);
                    units.push((unit, length));
                    at += length;
                }
                Ok(None) => break,
                Err(_) => {
                    failed = true;
                    break;
                }
            }
        }
    }
    let (mut whole, mut rest) = (Cutter::default(), input);
    for (unit, length) in units {
        assert_eq!(whole.next(rest), Ok(Some((unit, length))));
        rest = &rest[length..];
    }
    assert_eq!(whole.next(rest).is_err(), failed);
}
