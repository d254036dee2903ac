//! Collections of files of a real server read here, and those written here read by a real one.

use super::{Golden, OLD_TYPES, TYPES, hex, server, skipping};
use ringfold::base::crc::Crc64;
use ringfold::base::prng::Prng;
use ringfold::engine::digest::Digest;
use ringfold::snapshot::build::Making;
use ringfold::snapshot::cut::{Cut, Record, RecordValue};
use ringfold::snapshot::decode::{Decoder, Event, Value};
use ringfold::snapshot::encode;
use ringfold::types::object::{Body, Object};
use ringfold::types::packing::Packing;
use ringfold::types::record::{Encoding, Kind};
use ringfold::types::scores::{self, Scores};
use ringfold::types::store::{Hasher, ValueRef};

fn making() -> Making {
    Making { hasher: Hasher::new([1, 2, 3, 4]), packing: Packing::default() }
}

/// All that a file holds: its digest, and its sorted sets by key.
fn read(rdb: &[u8], piece: usize) -> (String, Vec<(Vec<u8>, Body)>) {
    let mut decoder = Decoder::holding(skipping(), making());
    let (mut digest, mut sorted_sets) = (Digest::new(16), Vec::new());
    for mut input in rdb.chunks(piece) {
        while let Some(event) = decoder.next(&mut input).unwrap() {
            let Event::Entry { db, key, value, expiry_ms, .. } = event else { continue };
            match value {
                Value::String(bytes) => {
                    let value = ValueRef::of_bytes(bytes, Encoding::Raw);
                    digest.add(db, key, value, expiry_ms.is_some());
                }
                Value::Collection(body) => {
                    digest.add(db, key, ValueRef::of_body(&body), expiry_ms.is_some());
                    if body.kind() == Kind::ZSet {
                        sorted_sets.push((key.to_vec(), body));
                    }
                }
            }
        }
    }
    assert!(decoder.finished());
    (hex(&digest.finish()), sorted_sets)
}

#[test]
fn collections_of_a_real_server_have_its_digest() {
    for (Golden { name, rdb, digest, .. }, sorted_sets) in [(&TYPES, 2), (&OLD_TYPES, 2)] {
        for piece in [1, 7, usize::MAX] {
            let (ours, found) = read(rdb, piece);
            assert_eq!(ours, digest.trim(), "{name} in pieces of {piece}");
            assert_eq!(found.len(), sorted_sets, "{name}");
        }
    }
}

/// Scores of every shape, in both forms, over the border between chunks.
#[test]
fn a_real_server_loads_sorted_sets_and_gives_them_back() {
    let seed = 0x5c0e;
    let mut prng = Prng::new(seed);
    let Making { hasher, packing } = making();
    let (mut digest, mut cut, mut bodies) = (Digest::new(16), Cut::new(true), Vec::new());
    for (n, len) in [1_u64, 2, 3, 17, 128, 129, 5_000, 40_000].into_iter().enumerate() {
        let mut body = scores::empty();
        for member in 0..len {
            let score = match prng.below(8) {
                0 => [f64::INFINITY, f64::NEG_INFINITY, 1e300, 5e-324][(member % 4) as usize],
                1 => f64::from_bits(prng.next_u64() >> 2),
                2 => (prng.next_u64() >> prng.below(64)) as f64,
                3 => -(prng.below(1_000) as f64) / 8.0,
                _ => prng.below(100) as f64,
            };
            let member = match member % 5 {
                0 if n > 3 => format!("a member with quite a long name, number {member}"),
                1 => format!("m{member}"),
                _ => member.to_string(),
            };
            scores::put(&mut body, &packing, &hasher, member.as_bytes(), score);
        }
        let key = format!("zset:{len}");
        digest.add(0, key.as_bytes(), ValueRef::of_body(&body), false);
        let value = match &body {
            Body::Packed(encoding, bytes) => RecordValue::Packed(*encoding, bytes),
            Body::Object(Object::ZSet(ranked)) => RecordValue::Object(Object::ZSet(ranked.clone())),
            Body::Object(_) => unreachable!(),
        };
        cut.add(&Record { db: 0, key: key.as_bytes(), value, expiry_ms: None });
        bodies.push((key, body));
    }
    cut.finish();
    let mut rdb = Vec::new();
    encode::header(&mut rdb, &[]);
    let mut crc = Crc64::of(&rdb);
    while let Some(chunk) = cut.take() {
        crc = crc.combine(chunk.crc, chunk.bytes.len() as u64);
        rdb.extend_from_slice(&chunk.bytes);
    }
    encode::end(&mut rdb, Some(crc));

    let expected = hex(&digest.finish());
    let mut server = server::Server::start("zsets", Some(&rdb));
    assert_eq!(server.text(&["DEBUG", "DIGEST"]), expected, "seed {seed}");
    for (key, body) in &bodies {
        let encoding = server.text(&["OBJECT", "ENCODING", key]);
        assert_eq!(encoding, body.encoding().name(), "{key}");
        let (member, score) = Scores::of_body(body).at(0).unwrap();
        let asked = server.ask(&[b"ZSCORE", key.as_bytes(), &member.text()]).unwrap();
        assert_eq!(std::str::from_utf8(&asked).unwrap().parse(), Ok(score), "{key}");
    }
    assert_eq!(server.text(&["SAVE"]), "OK");
    let saved = std::fs::read(server.dir.join("dump.rdb")).unwrap();
    for rdb in [&rdb, &saved] {
        assert_eq!(read(rdb, 1 << 14).0, expected, "seed {seed}");
    }
}

/// A sorted set whose score is NaN, or which has a member twice, is none.
#[test]
fn damaged_sorted_sets_are_refused() {
    let refused = |body: &[u8]| {
        let mut rdb = ringfold::snapshot::format::HEADER_WRITTEN.to_vec();
        rdb.extend_from_slice(body);
        encode::end(&mut rdb, None);
        let mut decoder = Decoder::holding(skipping(), making());
        let mut input = rdb.as_slice();
        loop {
            match decoder.next(&mut input) {
                Err(_) => return true,
                Ok(None) => return false,
                Ok(Some(_)) => {}
            }
        }
    };
    let one = 1.0_f64.to_le_bytes();
    let nan = f64::NAN.to_le_bytes();
    assert!(!refused(&[b"\x05\x01k\x01\x01a", &one[..]].concat()));
    assert!(refused(&[b"\x05\x01k\x01\x01a", &nan[..]].concat()));
    assert!(refused(&[b"\x05\x01k\x02\x01a", &one[..], b"\x01a", &one[..]].concat()));
    assert!(!refused(b"\x03\x01k\x02\x01a\x031.5\x01b\xfe"));
    assert!(refused(b"\x03\x01k\x01\x01a\xfd"));
    assert!(refused(b"\x03\x01k\x01\x01a\x01x"));
    assert!(refused(b"\x03\x01k\x01\x01a\x00"));
    let listpack =
        |bytes: &[u8]| [b"\x11\x01k", &[u8::try_from(bytes.len()).unwrap()][..], bytes].concat();
    assert!(!refused(&listpack(b"\x0c\0\0\0\x02\0\x81a\x02\x01\x01\xff")));
    assert!(refused(&listpack(b"\x0a\0\0\0\x01\0\x81a\x02\xff")));
    assert!(refused(&listpack(b"\x0d\0\0\0\x02\0\x81a\x02\x81x\x02\xff")));
}
