//! Tests of `stream`: two of them over a wire that cuts as it likes.

#![expect(clippy::cast_possible_truncation, reason = "any byte will do")]

use super::contexts::{Asks, Connecting, Contexts};
use super::identity::common_name;
use super::stream::{Failure, State, Stream};
use super::testing::Authority;
use crate::base::prng::Prng;
use rustls::pki_types::ServerName;
use std::sync::Arc;

/// One end, and what lies on the wire to it.
struct End {
    stream: Stream,
    coming: Vec<u8>,
    plain: Vec<u8>,
    /// What it has to send.
    out: Vec<u8>,
    failed: Option<Failure>,
}

impl End {
    fn new(stream: Stream) -> Self {
        Self { stream, coming: vec![], plain: vec![], out: vec![], failed: None }
    }

    fn receive(&mut self, most: usize) {
        let some: Vec<u8> = self.coming.drain(..most.min(self.coming.len())).collect();
        let mut scratch = Vec::new();
        let result = self.stream.receive(&some, &mut scratch, &mut self.plain, &mut self.out);
        self.failed = self.failed.take().or(result.err());
    }

    fn seal(&mut self, plain: &[u8]) {
        self.stream.seal(plain, &mut self.out);
    }
}

fn ends(server: &Contexts, client: &Contexts) -> (End, End) {
    let name = ServerName::try_from("10.0.0.1").unwrap();
    let client = Stream::connect(client.client.as_ref().unwrap(), name).unwrap();
    let mut client = End::new(client);
    client.receive(0);
    (End::new(Stream::accept(&server.server).unwrap()), client)
}

/// Lets bytes pass until none are left, in pieces of so many at most.
fn settle(a: &mut End, b: &mut End, prng: &mut Prng, most: u64) {
    loop {
        b.coming.append(&mut a.out);
        a.coming.append(&mut b.out);
        if a.coming.is_empty() && b.coming.is_empty() {
            return;
        }
        for end in [&mut *a, &mut *b] {
            if !end.coming.is_empty() {
                let some = usize::try_from(1 + prng.below(most)).unwrap();
                end.receive(some);
            }
            if end.failed.is_some() {
                end.coming.clear();
            }
        }
    }
}

#[test]
fn what_goes_in_comes_out_however_the_wire_cuts() {
    let authority = Authority::new("ca");
    for protocols in ["TLSv1.2", "TLSv1.3"] {
        let server = authority.contexts_of("server", Asks::Everybody, protocols);
        let client = authority.contexts_of("alice", Asks::Nobody, protocols);
        for (seed, most) in [(1, 1), (2, 7), (3, 300), (4, 20_000), (5, 1 << 20)] {
            let mut prng = Prng::new(seed);
            let (mut a, mut b) = ends(&server, &client);
            settle(&mut a, &mut b, &mut prng, most);
            assert_eq!((a.failed.clone(), b.failed.clone()), (None, None), "{protocols} {most}");
            assert_eq!((a.stream.state(), b.stream.state()), (State::Open, State::Open));
            let shown = a.stream.peer_certificate().and_then(|it| common_name(it));
            assert_eq!(shown.as_deref(), Some(&b"alice"[..]));
            let (mut to_a, mut to_b) = (Vec::new(), Vec::new());
            for length in [1, 100, 16_384, 16_385, if most < 100 { 2_000 } else { 500_000 }] {
                let bytes: Vec<u8> = (0..length).map(|it| it as u8).collect();
                a.seal(&bytes);
                b.seal(&bytes);
                to_b.extend_from_slice(&bytes);
                to_a.extend_from_slice(&bytes);
                if prng.below(2) == 0 {
                    settle(&mut a, &mut b, &mut prng, most);
                }
            }
            settle(&mut a, &mut b, &mut prng, most);
            assert!(a.plain == to_a && b.plain == to_b, "{protocols} {most}");
            assert_eq!(
                (a.stream.kept_bytes(), b.stream.kept_bytes()),
                (0, 0),
                "idle ones keep nothing"
            );
            b.stream.finish(&mut b.out);
            settle(&mut a, &mut b, &mut prng, most);
            assert_eq!(a.stream.state(), State::Finished);
            a.seal(b"still heard");
            settle(&mut a, &mut b, &mut prng, most);
            if protocols == "TLSv1.3" {
                assert!(b.plain.ends_with(b"still heard"));
            }
        }
    }
}

/// The last record of a handshake and the first of what follows come in one piece.
#[test]
fn plaintext_behind_the_handshake_is_not_lost() {
    let authority = Authority::new("ca");
    for protocols in ["TLSv1.2", "TLSv1.3"] {
        let server = authority.contexts_of("server", Asks::Nobody, protocols);
        let client = authority.contexts_of("client", Asks::Nobody, protocols);
        let (mut a, mut b) = ends(&server, &client);
        let mut rounds = 0;
        while b.stream.state() == State::Handshaking {
            a.coming.append(&mut b.out);
            a.receive(usize::MAX);
            b.coming.append(&mut a.out);
            b.receive(usize::MAX);
            rounds += 1;
            assert!(rounds < 10);
        }
        b.seal(b"PING\r\n");
        a.coming.append(&mut b.out);
        a.receive(usize::MAX);
        assert_eq!(a.plain, b"PING\r\n", "{protocols}");
    }
}

/// Small records, so that the messages of the handshake are cut over many of them.
#[test]
fn messages_over_many_records() {
    let authority = Authority::new("ca");
    let mut server = authority.contexts("server", Asks::Everybody);
    let mut config = (*server.server).clone();
    config.max_fragment_size = Some(64);
    server.server = Arc::new(config);
    let mut client = authority.contexts("client", Asks::Nobody);
    let mut config = (**client.client.as_ref().unwrap()).clone();
    config.max_fragment_size = Some(64);
    client.client = Some(Arc::new(config));
    for most in [1, 50, 1 << 20] {
        let (mut a, mut b) = ends(&server, &client);
        settle(&mut a, &mut b, &mut Prng::new(7), most);
        assert_eq!((a.failed.clone(), b.failed.clone()), (None, None), "{most}");
        assert_eq!(b.stream.state(), State::Open);
        b.seal(&[b'x'; 5_000]);
        settle(&mut a, &mut b, &mut Prng::new(8), most);
        assert_eq!(a.plain, [b'x'; 5_000]);
    }
}

/// A message after the handshake (a ticket) is cut over many records, and between any two bytes of it something
/// is to be sent.
#[test]
fn what_is_sealed_between_the_parts_of_a_message() {
    let authority = Authority::new("ca");
    let mut server = authority.contexts("server", Asks::Nobody);
    let mut config = (*server.server).clone();
    config.max_fragment_size = Some(64);
    server.server = Arc::new(config);
    let client = authority.contexts("client", Asks::Nobody);
    let (mut a, mut b) = ends(&server, &client);
    let mut sent = 0;
    loop {
        a.coming.append(&mut b.out);
        a.receive(usize::MAX);
        b.coming.append(&mut a.out);
        if b.coming.is_empty() && a.stream.state() == State::Open {
            break;
        }
        while !b.coming.is_empty() {
            b.receive(1);
            if b.stream.state() == State::Open {
                b.seal(b"x");
                sent += 1;
            }
        }
    }
    assert!(a.failed.is_none() && b.failed.is_none());
    assert!(sent > 100 && a.plain.len() == sent, "{sent} {}", a.plain.len());
}

/// More bytes for one that has failed, wherever it was, are nothing but refused.
#[test]
fn bytes_after_a_failure() {
    let authority = Authority::new("ca");
    let server = authority.contexts("server", Asks::Everybody);
    let (_, b) = ends(&server, &authority.contexts("client", Asks::Nobody));
    for cut in 0..b.out.len() {
        let mut end = End::new(Stream::accept(&server.server).unwrap());
        // The hello's first part as a record of its own, so that a message is begun, and then no record.
        let part = &b.out[5..5 + cut.min(b.out.len() - 5)];
        end.coming = [&[0x16, 3, 1, (part.len() >> 8) as u8, part.len() as u8], part].concat();
        end.receive(usize::MAX);
        for more in [&b"no record"[..], b"PING", &b.out, &[0; 40_000]] {
            end.coming = more.to_vec();
            end.receive(usize::MAX);
        }
        assert!(end.failed.is_some() && end.plain.is_empty());
        end.stream.finish(&mut end.out);
    }
}

#[test]
fn who_is_not_trusted_is_told_and_refused() {
    let (authority, other) = (Authority::new("ca"), Authority::new("other"));
    let check = |server: &Contexts, client: &Contexts, expected: &str| {
        let (mut a, mut b) = ends(server, client);
        settle(&mut a, &mut b, &mut Prng::new(1), 1 << 20);
        let why = a.failed.map(|it| it.0).unwrap_or_default();
        assert!(why.contains(expected), "{why:?}, not {expected:?}");
        assert_eq!(a.stream.state() == State::Failed, !expected.is_empty());
        assert!(b.failed.is_some() || expected.is_empty(), "the other side is told");
    };
    let mut bare = authority.contexts("bare", Asks::Nobody);
    let authorities = vec![("ca.crt".into(), authority.certificate.clone().into_bytes())];
    bare.client = Some(Connecting { authorities, ..Connecting::default() }.build().unwrap());
    let strict = authority.contexts("server", Asks::Everybody);
    let lenient = authority.contexts("server", Asks::WhoeverHas);
    let good = authority.contexts("client", Asks::Nobody);
    // It trusts our authority, and has its own certificate of another one.
    let mut stranger = authority.parts("stranger", Asks::Nobody);
    stranger.own_as_client = Some(other.pair("stranger"));
    let stranger = stranger.build().unwrap();
    check(&strict, &good, "");
    check(&lenient, &good, "");
    check(&lenient, &bare, "");
    check(&strict, &bare, "no certificates");
    check(&strict, &stranger, "UnknownIssuer");
    check(&lenient, &stranger, "UnknownIssuer");
    let distrusts = other.contexts("client", Asks::Nobody);
    check(&strict, &distrusts, "UnknownCA");
}

/// No bytes make it panic, and it keeps little of whatever they are.
#[test]
fn garbage() {
    let server = Authority::new("ca").contexts("server", Asks::Everybody);
    let mut prng = Prng::new(11);
    for round in 0..2_000 {
        let mut end = End::new(Stream::accept(&server.server).unwrap());
        let length = prng.below(2_000);
        end.coming = (0..length).map(|_| prng.next_u64() as u8).collect();
        // The head of a record of a handshake, so that it is looked into; or nothing of the kind.
        let head = [0x16, 3, 1, (length >> 8) as u8, length as u8, 1];
        let head = if round % 4 == 0 { &b"PING\r\n*1\r\n"[..] } else { &head };
        drop(end.coming.splice(0..0, head.iter().copied()));
        while !end.coming.is_empty() && end.failed.is_none() {
            end.receive(usize::try_from(1 + prng.below(500)).unwrap());
            assert!(end.stream.kept_bytes() < 20_000);
        }
        if round % 4 == 0 {
            assert!(end.failed.is_some());
        }
        // Nothing more is said to who has failed.
        end.out.clear();
        end.seal(b"secret");
        assert!(end.failed.is_none() || end.out.is_empty());
    }
}

/// A byte that was changed on the way ends the connection; nothing of its record comes out.
#[test]
fn a_changed_byte_ends_it() {
    let authority = Authority::new("ca");
    let server = authority.contexts("server", Asks::Nobody);
    let client = authority.contexts("client", Asks::Nobody);
    for at in [3, 5, 20, 40] {
        let (mut a, mut b) = ends(&server, &client);
        settle(&mut a, &mut b, &mut Prng::new(1), 1 << 20);
        b.seal(b"SET key value, and a bit more");
        b.out[at] ^= 1;
        settle(&mut a, &mut b, &mut Prng::new(1), 1 << 20);
        assert!(a.plain.is_empty(), "{at}");
    }
}
