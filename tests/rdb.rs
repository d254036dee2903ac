//! RDB files of a real redis-server 7.0.15 (`golden/rdb`, made by its `make.sh`) read here, files written
//! here read by a real redis-server, and damaged files read by nobody.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use ringfold::base::crc::Crc64;
use ringfold::base::prng::Prng;
use ringfold::engine::digest::{self, Digest};
use ringfold::snapshot::cut::{Cut, Record, RecordValue};
use ringfold::snapshot::decode::{Checksum, Decoder, Event, Limits, Skipped, Unsupported, Value};
use ringfold::snapshot::encode;
use ringfold::snapshot::error::{DecodeError, Why};
use ringfold::snapshot::format;
use ringfold::types::record::Encoding;
use ringfold::types::store::ValueRef;

#[path = "rdb/collections.rs"]
mod collections;
#[path = "rdb/server.rs"]
mod server;

macro_rules! golden {
    ($name:literal) => {
        Golden {
            name: $name,
            rdb: include_bytes!(concat!("golden/rdb/", $name, ".rdb")),
            answers: include_str!(concat!("golden/rdb/", $name, ".answers")),
            digest: include_str!(concat!("golden/rdb/", $name, ".digest")),
        }
    };
}

struct Golden {
    name: &'static str,
    rdb: &'static [u8],
    answers: &'static str,
    digest: &'static str,
}

const STRINGS: Golden = golden!("strings");
const PLAIN: Golden = golden!("plain");
const TYPES: Golden = golden!("types");
const OLD_TYPES: Golden = golden!("old-types");

/// Database, key, value, expiry.
type Entry = (usize, Vec<u8>, Vec<u8>, Option<u64>);

#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    strings: Vec<Entry>,
    skipped: Vec<(usize, Vec<u8>, &'static str)>,
    aux: Vec<(Vec<u8>, Vec<u8>)>,
    attributes: Vec<(Vec<u8>, Option<u64>, Option<u8>)>,
    checksum: Option<Checksum>,
    functions: Vec<Vec<u8>>,
    counts: Skipped,
    bytes: u64,
}

fn skipping() -> Limits {
    Limits { unsupported: Unsupported::Skip, ..Limits::default() }
}

fn decode(rdb: &[u8], limits: Limits, piece: usize) -> Result<Contents, DecodeError> {
    let mut decoder = Decoder::new(limits);
    let mut contents = Contents::default();
    for mut input in rdb.chunks(piece) {
        while let Some(event) = decoder.next(&mut input)? {
            match event {
                Event::Aux { name, value } => contents.aux.push((name.into(), value.into())),
                Event::SelectDb(_) | Event::ResizeDb { .. } => {}
                Event::Entry { db, key, value, expiry_ms, idle_seconds, freq } => {
                    let Value::String(value) = value else { panic!("a collection") };
                    let value = std::mem::take(value);
                    contents.strings.push((db, key.into(), value, expiry_ms));
                    if idle_seconds.is_some() || freq.is_some() {
                        contents.attributes.push((key.into(), idle_seconds, freq));
                    }
                }
                Event::Skipped { db, key, type_name } => {
                    contents.skipped.push((db, key.into(), type_name));
                }
                Event::Function { code } => contents.functions.push(code.into()),
                Event::End { checksum } => contents.checksum = Some(checksum),
            }
        }
        if decoder.finished() {
            break;
        }
        assert!(input.is_empty(), "no event and no error means that all was taken");
    }
    decoder.input_ended()?;
    contents.counts = decoder.skipped();
    contents.bytes = decoder.offset();
    Ok(contents)
}

fn unhex(text: &str) -> Vec<u8> {
    let text = if text == "-" { "" } else { text };
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As `make.py` writes a value into the answers.
fn answer(value: &[u8]) -> String {
    match value.len() {
        0 => "-".into(),
        1..=300 => hex(value),
        _ => format!("sha1:{}", sha1_smol::Sha1::from(value).digest()),
    }
}

fn check_golden(golden: &Golden, skipped: usize) -> Contents {
    let contents = decode(golden.rdb, skipping(), usize::MAX).unwrap();
    assert_eq!(contents.checksum, Some(Checksum::Matches), "{}", golden.name);
    assert_eq!(contents.bytes, golden.rdb.len() as u64);
    let mut read: Vec<String> = Vec::new();
    for (db, key, value, expiry) in &contents.strings {
        let key = if key.is_empty() { "-".into() } else { hex(key) };
        let expiry = expiry.map_or("-1".into(), |ms| ms.to_string());
        read.push(format!("{db} {key} string {} {expiry}", answer(value)));
    }
    let mut expected: Vec<&str> =
        golden.answers.lines().filter(|line| line.contains(" string ")).collect();
    read.sort_unstable();
    expected.sort_unstable();
    assert_eq!(read, expected, "{}", golden.name);
    assert_eq!(contents.skipped.len(), skipped);
    assert_eq!(contents.counts.values, skipped as u64);
    assert_eq!(contents.strings.len() + skipped, golden.answers.lines().count());
    contents
}

fn string(bytes: &[u8]) -> ValueRef<'_> {
    ValueRef::of_bytes(bytes, Encoding::Raw)
}

#[test]
fn strings_of_a_real_server_decode_to_what_it_answers() {
    check_golden(&STRINGS, 0);
    check_golden(&PLAIN, 0);
}

#[test]
fn other_types_are_passed_over_or_refused_by_name() {
    let types = check_golden(&TYPES, 9);
    assert_eq!(types.counts, Skipped { values: 9, module_data: 0 });
    assert_eq!(types.functions.len(), 1);
    let old = check_golden(&OLD_TYPES, 8);
    assert_eq!(
        old.attributes,
        [(b"idle".to_vec(), Some(1000), None), (b"freq".to_vec(), None, Some(7))]
    );

    let refused = decode(TYPES.rdb, Limits::default(), usize::MAX).unwrap_err();
    let why = Why::UnsupportedType { key: b"set:intset".to_vec(), type_name: "set (intset)" };
    assert_eq!(refused.why, why);
    let refused = decode(OLD_TYPES.rdb, Limits::default(), usize::MAX).unwrap_err();
    let why = Why::UnsupportedType { key: b"list".to_vec(), type_name: "list" };
    assert_eq!(refused.why, why);
    assert!(refused.to_string().ends_with("key 'list' holds a list, unsupported"), "{refused}");
}

#[test]
fn the_source_may_be_cut_anywhere() {
    for golden in [&STRINGS, &PLAIN, &TYPES, &OLD_TYPES] {
        let whole = decode(golden.rdb, skipping(), usize::MAX).unwrap();
        for piece in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(decode(golden.rdb, skipping(), piece).unwrap(), whole, "pieces of {piece}");
        }
    }
}

#[test]
fn what_follows_the_file_is_left_alone() {
    let mut bytes = PLAIN.rdb.to_vec();
    bytes.extend_from_slice(b"the mark");
    let (mut decoder, mut input) = (Decoder::new(Limits::default()), bytes.as_slice());
    while decoder.next(&mut input).unwrap().is_some() {}
    assert!(decoder.finished());
    assert_eq!(input, b"the mark");
    assert_eq!(decoder.offset(), PLAIN.rdb.len() as u64);
}

#[test]
fn a_file_cut_short_is_truncated_wherever_the_cut() {
    for golden in [&PLAIN, &TYPES, &OLD_TYPES, &STRINGS] {
        for len in 0..golden.rdb.len() {
            let error = decode(&golden.rdb[..len], skipping(), usize::MAX).unwrap_err();
            assert_eq!(error, DecodeError { offset: len as u64, why: Why::Truncated });
        }
    }
}

#[test]
fn a_damaged_byte_is_an_error_and_without_checksums_at_least_harmless() {
    for golden in [&PLAIN, &TYPES, &OLD_TYPES] {
        let intact = decode(golden.rdb, skipping(), usize::MAX).unwrap();
        for at in 0..golden.rdb.len() {
            let all = golden.rdb.len() < 1_000;
            for flip in (1..=255).filter(|flip: &u8| all || flip.is_power_of_two()) {
                let mut rdb = golden.rdb.to_vec();
                rdb[at] ^= flip;
                // A version before 5 has no checksum: then the damage is the version itself.
                if let Ok(contents) = decode(&rdb, skipping(), usize::MAX) {
                    assert_eq!(contents.strings, intact.strings, "byte {at} ^ {flip}");
                }
                let unchecked = Limits { verify_checksum: false, ..skipping() };
                let _ = decode(&rdb, unchecked, 61);
            }
        }
    }
}

#[test]
fn noise_behind_a_good_header_is_harmless() {
    let seed = 0x0bad;
    let mut prng = Prng::new(seed);
    for round in 0..50_000 {
        let mut rdb = format::HEADER_WRITTEN.to_vec();
        for _ in 0..prng.below(200) {
            // Small numbers are likely types and lengths, large ones opcodes.
            let byte = prng.next_u64().to_le_bytes()[0];
            rdb.push(if prng.chance(1, 2) { byte % 24 } else { byte });
        }
        let piece = 1 + usize::try_from(prng.below(64)).unwrap();
        let whole = decode(&rdb, skipping(), usize::MAX);
        assert_eq!(decode(&rdb, skipping(), piece), whole, "seed {seed} round {round}");
    }
}

/// After `REDIS0010`.
fn check_refused(body: &[u8], limits: Limits, expected: &Why) {
    let mut rdb = format::HEADER_WRITTEN.to_vec();
    rdb.extend_from_slice(body);
    for piece in [1, usize::MAX] {
        let error = decode(&rdb, limits, piece).unwrap_err();
        assert_eq!(error.why, *expected, "{}", body.escape_ascii());
        assert!(error.offset <= rdb.len() as u64);
    }
}

#[test]
fn lies_are_refused_before_they_cost_anything() {
    let huge = 1 << 63;
    let max = Limits::default().string_bytes_max;
    let cases: [(&[u8], Why); 12] = [
        (b"\x00\x81\x80\0\0\0\0\0\0\0", Why::StringTooLong { len: huge, max }),
        (b"\x00\x01k\x80\xff\xff\xff\xff", Why::StringTooLong { len: 0xffff_ffff, max }),
        (b"\x00\xc3\x05\x80\x10\0\0\0abcde", Why::LzfBomb { packed: 5, len: 0x1000_0000 }),
        (b"\x00\xc3\x81\x80\0\0\0\0\0\0\0\x05", Why::StringTooLong { len: huge, max }),
        (b"\x00\x82", Why::BadLength(0x82)),
        (b"\x00\xc4", Why::BadLength(0xc4)),
        (b"\xfe\xc0\x01", Why::EncodedLength(0xc0)),
        (b"\xfe\x10", Why::Database { db: 16, databases: 16 }),
        (b"\x06", Why::UnknownType(6)),
        (b"\x16", Why::UnknownType(22)),
        (b"\xf6", Why::UnsupportedFunction),
        (b"\x07\x01m\x05\x06", Why::ModuleOpcode(6)),
    ];
    for (body, expected) in &cases {
        check_refused(body, skipping(), expected);
    }
    let known = Limits { input_bytes: Some(20), ..skipping() };
    check_refused(b"\x00\x40\xff", known, &Why::BeyondEnd { len: 255, left: 8 });
    // To the byte: nine are left behind the length.
    check_refused(b"\x00\x0a", known, &Why::BeyondEnd { len: 10, left: 9 });
    check_refused(b"\x00\x09", known, &Why::Truncated);
    let packed = b"\x00\xc3\x40\xff\x01";
    check_refused(packed, known, &Why::BeyondEnd { len: 255, left: 6 });
    assert_eq!(decode(b"VALKEY080", skipping(), 1).unwrap_err().why, Why::NotRdb);
    for digits in [*b"0000", *b"0013", *b"00 1", *b"9999"] {
        let rdb = [b"REDIS".as_slice(), &digits].concat();
        assert_eq!(decode(&rdb, skipping(), 3).unwrap_err().why, Why::Version(digits));
    }
}

#[test]
fn module_values_and_module_data_are_passed_over() {
    let mut rdb = format::HEADER_WRITTEN.to_vec();
    let data =
        b"\x05\x03abc\x02\x07\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff\x03ffff\x04dddddddd\x00";
    rdb.extend_from_slice(b"\xf7\x81\0\0\0\0\0\0\0\x09\x02\x02");
    rdb.extend_from_slice(data);
    rdb.extend_from_slice(b"\x07\x01m\x09");
    rdb.extend_from_slice(data);
    encode::string_entry(&mut rdb, b"k", b"v", None, None);
    encode::end(&mut rdb, None);
    for piece in [1, usize::MAX] {
        let contents = decode(&rdb, skipping(), piece).unwrap();
        assert_eq!(contents.counts, Skipped { values: 1, module_data: 1 });
        assert_eq!(contents.strings, [(0, b"k".to_vec(), b"v".to_vec(), None)]);
        assert_eq!(contents.checksum, Some(Checksum::Absent));
    }
}

#[test]
fn digests_are_the_real_servers() {
    for golden in [&STRINGS, &PLAIN] {
        // Dealt out to three cores by key length, as good as any.
        let mut cores = vec![Digest::new(16); 3];
        for (db, key, value, expiry) in decode(golden.rdb, skipping(), 4096).unwrap().strings {
            cores[key.len() % 3].add(db, &key, string(&value), expiry.is_some());
        }
        let mut all = Digest::new(16);
        cores.iter().for_each(|core| all.merge(core));
        assert_eq!(hex(&all.finish()), golden.digest.trim());
    }
    assert_eq!(Digest::new(16).finish(), [0; 20]);

    let strings = decode(STRINGS.rdb, skipping(), 4096).unwrap().strings;
    let values = include_str!("golden/rdb/digests.answers");
    for line in values.lines() {
        let (key, expected) = line.split_once(' ').unwrap();
        let key = unhex(key);
        let (_, _, value, expiry) =
            strings.iter().find(|(db, name, ..)| *db == 0 && *name == key).unwrap();
        assert_eq!(hex(&digest::of_value(string(value), expiry.is_some())), expected, "{line}");
    }
}

/// Strings that meet every branch of the writer.
fn random_string(prng: &mut Prng, n: u64) -> Vec<u8> {
    let len = usize::try_from(prng.below(1 << (1 + n % 12))).unwrap();
    match prng.below(5) {
        0 => {
            let shift = prng.below(64);
            (prng.next_u64().cast_signed() >> shift).to_string().into_bytes()
        }
        1 => vec![b'x'; len * 40],
        2 => (0..len).map(|_| b'a' + prng.next_u64().to_le_bytes()[0] % 4).collect(),
        3 => b"some words of a text, ".iter().copied().cycle().take(len).collect(),
        _ => (0..len).map(|_| prng.next_u64().to_le_bytes()[0]).collect(),
    }
}

/// Pieces of several cores, in any order, with and without compression.
#[test]
fn a_real_server_loads_what_is_written_here() {
    let seed = 0x5eed;
    let mut prng = Prng::new(seed);
    let far = 4_102_444_800_000;
    let mut digest = Digest::new(16);
    let mut entries = Vec::new();
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for piece in 0..12_u64 {
        let mut lzf = ringfold::snapshot::lzf::Compressor::default();
        let mut out = Vec::new();
        for db in [piece % 3, 15] {
            let db = usize::try_from(db).unwrap();
            encode::select_db(&mut out, db);
            encode::resize_db(&mut out, 200, 50);
            for n in 0..200 {
                let mut key = random_string(&mut prng, n);
                key.extend_from_slice(format!(":{piece}:{n}").as_bytes());
                let value = random_string(&mut prng, n);
                let expiry = prng.chance(1, 4).then(|| far + prng.below(far));
                let lzf = (piece % 4 != 0).then_some(&mut lzf);
                encode::string_entry(&mut out, &key, &value, expiry, lzf);
                digest.add(db, &key, string(&value), expiry.is_some());
                entries.push((db, key, value, expiry));
            }
        }
        pieces.insert(usize::try_from(prng.below(piece + 1)).unwrap(), out);
    }
    let mut rdb = Vec::new();
    encode::header(&mut rdb, &[(b"redis-ver", b"7.0.15"), (b"redis-bits", b"64")]);
    let mut crc = Crc64::of(&rdb);
    for piece in &pieces {
        crc = crc.combine(Crc64::of(piece), piece.len() as u64);
        rdb.extend_from_slice(piece);
    }
    encode::end(&mut rdb, Some(crc));

    let mut server = server::Server::start("written", Some(&rdb));
    assert_eq!(server.text(&["DEBUG", "DIGEST"]), hex(&digest.finish()), "seed {seed}");
    for (db, key, value, expiry) in entries.iter().step_by(7) {
        server.text(&["SELECT", &db.to_string()]);
        assert_eq!(server.ask(&[b"GET", key]).as_ref(), Some(value), "seed {seed}");
        let expected = expiry.map_or("-1".into(), |ms| ms.to_string());
        assert_eq!(server.ask(&[b"PEXPIRETIME", key]).unwrap(), expected.into_bytes());
    }

    // And back: what it saves is what we wrote.
    assert_eq!(server.text(&["SAVE"]), "OK");
    let saved = std::fs::read(server.dir.join("dump.rdb")).unwrap();
    for rdb in [&rdb, &saved] {
        let mut read = decode(rdb, skipping(), 1 << 14).unwrap().strings;
        read.sort_unstable();
        entries.sort_unstable();
        assert!(read == entries, "seed {seed}");
    }
}

/// Large values go by reference, in chunks that continue each other.
#[test]
fn a_real_server_loads_the_cuts_of_several_cores() {
    let seed = 0xc475;
    let mut prng = Prng::new(seed);
    let mut digest = Digest::new(16);
    let mut rdb = Vec::new();
    encode::header(&mut rdb, &[(b"aof-base", b"0")]);
    let mut crc = Crc64::of(&rdb);
    for core in 0..3_u64 {
        let mut cut = Cut::new(core != 1);
        for n in 0..900_u64 {
            let (db, key) = (usize::try_from(n / 400).unwrap(), format!("{core}:{n}"));
            let value = random_string(&mut prng, n);
            let value = if n % 200 == 7 { value.repeat(2_000) } else { value };
            let expiry_ms = (n % 3 == 0).then_some(4_102_444_800_000 + n);
            digest.add(db, key.as_bytes(), string(&value), expiry_ms.is_some());
            let value = if n % 2 == 0 {
                RecordValue::String(&value)
            } else {
                RecordValue::Shared(value.into())
            };
            cut.add(&Record { db, key: key.as_bytes(), value, expiry_ms });
        }
        // Expired long ago: written all the same, dropped by the loader, so not in the digest.
        let value = RecordValue::String(b"v");
        cut.add(&Record { db: 0, key: b"expired", value, expiry_ms: Some(1) });
        cut.finish();
        let mut continued = 0;
        while let Some(chunk) = cut.take() {
            crc = crc.combine(chunk.crc, chunk.bytes.len() as u64);
            rdb.extend_from_slice(&chunk.bytes);
            continued += u32::from(chunk.continues);
        }
        assert!(continued > 1, "seed {seed}: no large value");
    }
    encode::end(&mut rdb, Some(crc));
    let mut server = server::Server::start("cuts", Some(&rdb));
    assert_eq!(server.text(&["DEBUG", "DIGEST"]), hex(&digest.finish()), "seed {seed}");
    let read = decode(&rdb, Limits::default(), 1 << 16).unwrap().strings;
    assert_eq!(read.iter().filter(|(_, _, _, expiry)| *expiry == Some(1)).count(), 3);
    assert_eq!(server.text(&["DBSIZE"]), "1200");
}

#[test]
fn a_real_server_refuses_a_wrong_checksum() {
    let loads = |crc: Crc64, rdb: &[u8]| {
        let mut rdb = rdb.to_vec();
        encode::end(&mut rdb, Some(crc));
        std::panic::catch_unwind(move || drop(server::Server::start("checksum", Some(&rdb))))
            .is_ok()
    };
    let mut rdb = Vec::new();
    encode::header(&mut rdb, &[]);
    encode::string_entry(&mut rdb, b"k", b"v", None, None);
    assert!(loads(Crc64::of(&rdb), &rdb));
    assert!(!loads(Crc64::of(b"other"), &rdb));
}
