//! Any bytes, cut anywhere, give the same requests and the same error as the bytes at once; nothing
//! panics, and memory stays in proportion to what has arrived.
//!
//! The first byte of the input chooses the limits, the second the size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::resp::error::ProtocolError;
use ringfold::resp::partial::{Fed, Partial, RESERVE_BYTES_MAX};
use ringfold::resp::request::{self, RequestLimits};

type Requests = Vec<Vec<Vec<u8>>>;

fuzz_target!(|input: &[u8]| {
    let [choice, size, input @ ..] = input else { return };
    let limits = RequestLimits {
        args_max: if choice & 2 == 0 { RequestLimits::DEFAULT.args_max } else { 4 },
        bulk_bytes_max: if choice & 4 == 0 { RequestLimits::DEFAULT.bulk_bytes_max } else { 8 },
        authenticated: choice & 1 == 0,
    };
    let whole = read([input], &limits, true);
    // Without the hot half, too: both must agree.
    assert_eq!(read([input], &limits, false), whole);
    assert_eq!(read(input.chunks(usize::from(*size).max(1)), &limits, true), whole);
});

fn read<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &RequestLimits,
    in_place: bool,
) -> (Requests, Option<ProtocolError>) {
    let (mut partial, mut requests, mut arrived) = (Partial::default(), Vec::new(), 0);
    for piece in pieces {
        let mut rest = piece;
        arrived += piece.len();
        while !rest.is_empty() {
            let mut args: Vec<&[u8]> = Vec::new();
            if in_place
                && partial.is_idle()
                && let Some(used) = request::next(rest, limits, &mut args)
            {
                requests.push(args.iter().map(|arg| arg.to_vec()).collect());
                rest = &rest[used..];
                continue;
            }
            let fed = partial.feed(rest, limits);
            assert!(partial.memory() <= 4 * arrived + 3 * RESERVE_BYTES_MAX);
            match fed {
                Err(error) => return (requests, Some(error)),
                Ok(Fed::More) => break,
                Ok(Fed::Request { used }) => {
                    partial.args(&mut args);
                    requests.push(args.iter().map(|arg| arg.to_vec()).collect());
                    partial.clear();
                    rest = &rest[used..];
                }
            }
        }
    }
    (requests, None)
}
