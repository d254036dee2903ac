//! Values that travel as DUMP's payloads between a real server and ours, both ways; and payloads that are
//! damaged where no checksum shows it.

use crate::compare::Compare;
use crate::families::generic::payloads;
use crate::run::{self, Pair};
use crate::support::client::{Client, request};
use crate::support::seed;
use crate::support::server::Kind;
use crate::support::value::value;
use ringfold::base::crc::Crc64;
use ringfold::base::prng::Prng;

const FOOTER_BYTES: usize = 10;

fn ask(client: &mut Client, args: &[&[u8]]) -> Vec<u8> {
    client.send(&request(args)).unwrap();
    client.reply().unwrap()
}

/// What the restored key is: its digest and its encoding.
fn restored(client: &mut Client, payload: &[u8]) -> (Vec<u8>, Vec<u8>) {
    assert_eq!(ask(client, &[b"RESTORE", b"copy", b"0", payload, b"REPLACE"]), b"+OK\r\n");
    let digest = ask(client, &[b"DEBUG", b"DIGEST-VALUE", b"copy"]);
    (digest, ask(client, &[b"OBJECT", b"ENCODING", b"copy"]))
}

fn check_everywhere(real: &mut Client, ours: &mut Client, payload: &[u8], what: &str) -> Vec<u8> {
    let (theirs, our) = (restored(real, payload), restored(ours, payload));
    assert_eq!(theirs.0, our.0, "{what}");
    assert!(Compare::Encoding.agrees(&theirs.1, &our.1), "{what}");
    our.0
}

/// Whatever random commands have made of any type, in any encoding.
#[test]
fn values_travel_both_ways() {
    let seed = seed();
    let pair = Pair::start(Kind::Ours(3));
    let (mut real, mut ours) = (pair.real.client(), pair.ours.client());
    for round in 0..8 {
        drop((real, ours));
        run::compare_random(&pair, seed + 100 + round, 1).unwrap();
        (real, ours) = (pair.real.client(), pair.ours.client());
        for db in ["0", "1", "2"] {
            real.call(&["SELECT", db]);
            ours.call(&["SELECT", db]);
            let keys = value(&real.call(&["KEYS", "*"]));
            for key in keys.items().iter().map(|it| it.bytes()) {
                let what =
                    format!("seed {seed}, round {round}, db {db}, key {}", key.escape_ascii());
                let digests = [&mut real, &mut ours].map(|from| {
                    let payload = value(&ask(from, &[b"DUMP", key])).bytes().to_vec();
                    (payload, what.clone())
                });
                let [one, other] = digests
                    .map(|(payload, what)| check_everywhere(&mut real, &mut ours, &payload, &what));
                assert_eq!(one, other, "{what}");
            }
        }
    }
}

/// One of each kind, as a real server once gave it.
#[test]
fn recorded_values_are_taken_by_both() {
    let pair = Pair::start(Kind::Ours(1));
    let (mut real, mut ours) = (pair.real.client(), pair.ours.client());
    for (name, _, payload) in payloads() {
        check_everywhere(&mut real, &mut ours, &payload, name);
    }
}

/// Who damages a payload may well sum it anew: then it is a sound value, or none at all.
#[test]
fn damage_with_a_right_checksum_harms_nobody() {
    let seed = seed();
    let mut prng = Prng::new(seed);
    let pair = Pair::start(Kind::Ours(1));
    let mut ours = pair.ours.client();
    let (mut taken, mut refused) = (0, 0);
    for (name, _, payload) in payloads() {
        for _ in 0..200 {
            let mut damaged = payload[..payload.len() - FOOTER_BYTES].to_vec();
            for _ in 0..=prng.below(3) {
                let at = usize::try_from(prng.below(damaged.len() as u64)).unwrap();
                match prng.below(3) {
                    0 => damaged[at] ^= 1 << prng.below(8),
                    1 => damaged[at] = prng.next_u64().to_le_bytes()[0],
                    _ => damaged.truncate(at.max(1)),
                }
            }
            damaged.extend_from_slice(&[10, 0]);
            damaged.extend_from_slice(&Crc64::of(&damaged).value().to_le_bytes());
            let reply = ask(&mut ours, &[b"RESTORE", b"copy", b"0", &damaged, b"REPLACE"]);
            if reply == b"+OK\r\n" {
                taken += 1;
                let again = value(&ask(&mut ours, &[b"DUMP", b"copy"])).bytes().to_vec();
                let digest = ask(&mut ours, &[b"DEBUG", b"DIGEST-VALUE", b"copy"]);
                assert_eq!(restored(&mut ours, &again).0, digest, "seed {seed}, {name}");
            } else {
                refused += 1;
                assert_eq!(reply, b"-ERR Bad data format\r\n", "seed {seed}, {name}");
            }
        }
    }
    assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
}
