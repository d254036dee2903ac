//! Any bytes, cut anywhere, give the same events and the same error as the bytes at once; nothing panics;
//! and strings that were read are read again after being written.
//!
//! The first byte of the input chooses the limits, the second the size of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringfold::snapshot::decode::{Decoder, Event, Limits, Unsupported, Value};
use ringfold::snapshot::encode;
use ringfold::snapshot::error::DecodeError;
use ringfold::snapshot::format;
use ringfold::snapshot::lzf::Compressor;

type Entry = (usize, Vec<u8>, Vec<u8>, Option<u64>);

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    events: Vec<String>,
    entries: Vec<Entry>,
    error: Option<DecodeError>,
    offset: u64,
}

fuzz_target!(|input: &[u8]| {
    let [choice, size, input @ ..] = input else { return };
    // Without a good header nearly every input ends at once.
    let header = if choice & 1 == 0 { &format::HEADER_WRITTEN[..] } else { b"" };
    let file = [header, input].concat();
    let limits = Limits {
        unsupported: if choice & 2 == 0 { Unsupported::Skip } else { Unsupported::Refuse },
        verify_checksum: choice & 4 != 0,
        string_bytes_max: if choice & 8 == 0 { 1 << 20 } else { 8 },
        input_bytes: (choice & 16 == 0).then_some(file.len() as u64),
        ..Limits::default()
    };
    let whole = read([file.as_slice()], limits);
    assert_eq!(read(file.chunks(usize::from(*size).max(1)), limits), whole);

    let mut written = format::HEADER_WRITTEN.to_vec();
    let mut lzf = Compressor::default();
    for (db, key, value, expiry_ms) in &whole.entries {
        encode::select_db(&mut written, *db);
        let lzf = (choice & 32 == 0).then_some(&mut lzf);
        encode::string_entry(&mut written, key, value, *expiry_ms, lzf);
    }
    encode::end(&mut written, None);
    let again = read([written.as_slice()], Limits::default());
    assert_eq!((again.entries, again.error), (whole.entries, None));
});

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limits: Limits) -> Outcome {
    let mut decoder = Decoder::new(limits);
    let mut outcome = Outcome::default();
    'pieces: for mut input in pieces {
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Event::Entry { db, key, value: Value::String(value), expiry_ms, .. })) => {
                    outcome.entries.push((db, key.to_vec(), value.clone(), expiry_ms));
                }
                Ok(Some(event)) => outcome.events.push(format!("{event:?}")),
                Ok(None) => break,
                Err(error) => {
                    outcome.error = Some(error);
                    break 'pieces;
                }
            }
        }
    }
    outcome.error = outcome.error.or(decoder.input_ended().err());
    outcome.offset = decoder.offset();
    outcome
}
