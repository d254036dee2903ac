//! Tests of `streams`: turns, deadlines, bounds, and what goes out in which order.

use super::streams::{Heard, Streams};
use crate::base::limits::{
    HANDSHAKE_BYTES_MAX, HANDSHAKE_MS, HANDSHAKES_BYTES_MAX, HANDSHAKES_PER_TURN,
};
use crate::base::time::Mono;
use crate::tls::contexts::{Asks, Contexts};
use crate::tls::stream::{State, Stream};
use crate::tls::testing::Authority;
use crate::uring::driver::{Driver, Event, Segment, Sizes, Socket, Wait};
use rustls::pki_types::ServerName;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

const NOW: Mono = Mono(0);

/// One who connects, without a socket.
struct Peer {
    stream: Stream,
    out: Vec<u8>,
    plain: Vec<u8>,
}

impl Peer {
    fn new(contexts: &Contexts) -> Self {
        let name = ServerName::try_from("10.0.0.1").unwrap();
        let stream = Stream::connect(contexts.client.as_ref().unwrap(), name).unwrap();
        let mut peer = Self { stream, out: Vec::new(), plain: Vec::new() };
        peer.receive(&[]);
        peer
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut scratch = Vec::new();
        self.stream.receive(bytes, &mut scratch, &mut self.plain, &mut self.out).unwrap();
    }

    fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }
}

/// What a turn would send to each socket.
fn sent(
    streams: &mut Streams<u32>,
    replies: &[(Socket, &[u8])],
    closing: &[Socket],
) -> Vec<(Socket, Vec<u8>)> {
    let (mut lent, mut segments) = (Vec::new(), Vec::new());
    for (socket, bytes) in replies {
        let start = lent.len();
        lent.extend_from_slice(bytes);
        segments.push(Segment { socket: *socket, start, end: lent.len() });
    }
    streams.secure(&mut lent, &mut segments, closing, |_| false);
    segments.iter().map(|it| (it.socket, lent[it.start..it.end].to_vec())).collect()
}

fn authority() -> Contexts {
    Authority::new("ca").contexts("server", Asks::Nobody)
}

/// Lets a peer and socket 1 of `streams` finish their handshake; `behind` is sealed behind its last record.
fn open(streams: &mut Streams<u32>, contexts: &Contexts, behind: &[u8]) -> (Peer, Heard<u32>) {
    let socket = Socket(1);
    let mut peer = Peer::new(contexts);
    streams.accept(socket, contexts, 7, NOW).unwrap();
    assert!(streams.received(socket, &peer.take()).opened.is_none());
    let (_, heard) = streams.next_handshake().unwrap();
    assert!(heard.opened.is_none() && heard.failed.is_none());
    for (_, bytes) in sent(streams, &[], &[]) {
        peer.receive(&bytes);
    }
    assert_eq!(peer.stream.state(), State::Open);
    let mut last = peer.take();
    peer.stream.seal(behind, &mut last);
    streams.begin_turn();
    let mut heard = streams.received(socket, &last);
    if heard.opened.is_none() {
        heard = streams.next_handshake().unwrap().1;
    }
    (peer, heard)
}

#[test]
fn a_turn_gives_a_few_handshakes_a_step_and_all_come_to_their_turn() {
    let contexts = authority();
    let mut streams = Streams::default();
    let many = u32::try_from(2 * HANDSHAKES_PER_TURN + 1).unwrap();
    for socket in 0..many {
        streams.accept(Socket(socket), &contexts, socket, NOW).unwrap();
        streams.received(Socket(socket), &Peer::new(&contexts).take());
    }
    let mut steps = Vec::new();
    while streams.has_work() {
        streams.begin_turn();
        steps.push(0);
        while let Some((socket, heard)) = streams.next_handshake() {
            assert!(heard.failed.is_none(), "{socket:?}");
            *steps.last_mut().unwrap() += 1;
        }
        assert_eq!(sent(&mut streams, &[], &[]).len(), *steps.last().unwrap());
    }
    assert_eq!(steps, [HANDSHAKES_PER_TURN, HANDSHAKES_PER_TURN, 1]);
}

#[test]
fn plaintext_behind_the_last_record_of_a_handshake_is_heard() {
    let contexts = authority();
    let mut streams = Streams::default();
    let (mut peer, heard) = open(&mut streams, &contexts, b"PING\r\n");
    assert_eq!(heard.opened, Some(7));
    assert_eq!(streams.plain(heard.plain), b"PING\r\n");
    for (socket, bytes) in
        sent(&mut streams, &[(Socket(1), b"+PONG\r\n"), (Socket(2), b"plain")], &[Socket(1)])
    {
        match socket {
            Socket(1) => peer.receive(&bytes),
            other => assert_eq!((other, bytes.as_slice()), (Socket(2), &b"plain"[..])),
        }
    }
    assert_eq!((peer.plain.as_slice(), peer.stream.state()), (&b"+PONG\r\n"[..], State::Finished));
}

#[test]
fn whoever_is_late_is_named_once() {
    let contexts = authority();
    let mut streams = Streams::default();
    streams.accept(Socket(3), &contexts, 3, NOW).unwrap();
    streams.accept(Socket(4), &contexts, 4, Mono(1)).unwrap();
    let (_, heard) = open(&mut streams, &contexts, b"");
    assert_eq!(heard.opened, Some(7));
    let at = NOW.plus_ms(HANDSHAKE_MS);
    assert_eq!(streams.next_late(Mono(at.0 - 1)), None);
    assert_eq!((streams.next_late(at), streams.next_late(at)), (Some(Socket(3)), None));
    streams.forget(Socket(4));
    // Another connection under the same number has a deadline of its own.
    streams.accept(Socket(4), &contexts, 5, Mono(at.0)).unwrap();
    assert_eq!(streams.next_late(at.plus_ms(HANDSHAKE_MS - 1)), None);
    assert_eq!(streams.next_late(at.plus_ms(HANDSHAKE_MS)), Some(Socket(4)));
}

/// Neither one handshake nor all together may have more waiting than the limits say.
#[test]
fn what_handshakes_have_waiting_is_bounded() {
    let contexts = authority();
    let mut streams = Streams::default();
    // The head of a record, and as much of it as there is no end of.
    let piece = [&[0x16, 3, 1, 0x40, 0][..], &[1; 4_000]].concat();
    streams.accept(Socket(0), &contexts, 0, NOW).unwrap();
    let mut taken = 0;
    while streams.received(Socket(0), &piece).failed.is_none() {
        taken += piece.len();
        assert!(taken <= HANDSHAKE_BYTES_MAX, "{taken}");
    }
    streams.forget(Socket(0));
    let (mut taken, mut refused) = (0, 0);
    for socket in 1..20_000 {
        streams.accept(Socket(socket), &contexts, 0, NOW).unwrap();
        match streams.received(Socket(socket), &piece).failed {
            Some(_) => {
                refused += 1;
                streams.forget(Socket(socket));
            }
            None => taken += piece.len(),
        }
        // Looking at them makes nothing of it less.
        streams.begin_turn();
        while streams.next_handshake().is_some() {}
        if refused > 10 {
            break;
        }
    }
    assert!(refused > 10 && taken <= HANDSHAKES_BYTES_MAX, "{refused} {taken}");
    (1..20_000).for_each(|socket| drop(streams.forget(Socket(socket))));
    streams.accept(Socket(1), &contexts, 0, NOW).unwrap();
    assert!(streams.received(Socket(1), &piece).failed.is_none(), "there is room again");
}

/// A socket that takes little: what is sealed for it goes out once and in order, also what is written beside the
/// stream; and the stream counts as sent only when all that was sealed of it is.
#[test]
fn a_full_socket_gets_all_in_order() {
    let contexts = authority();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut driver =
        Driver::new(Sizes { entries: 8, completions: 64, buffers: 8, ..Sizes::default() }).unwrap();
    // The number that `open` gives its connection.
    let (first, _stays) = UnixStream::pair().unwrap();
    driver.adopt(first.into());
    let socket = driver.adopt(ours.into());
    assert_eq!(socket, Socket(1));
    let mut streams = Streams::default();
    let (mut peer, _) = open(&mut streams, &contexts, b"");
    for (_, bytes) in sent(&mut streams, &[], &[]) {
        peer.receive(&bytes);
    }
    let stream: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let (mut at, mut expected, mut word) = (0, Vec::new(), 0u32);
    let (mut lent, mut segments, mut events) = (Vec::new(), Vec::new(), Vec::new());
    let (mut behind, mut bytes) = (Vec::new(), vec![0; 100_000]);
    while at < stream.len() || peer.plain.len() < expected.len() {
        let count = streams.send_now(&mut driver, socket, &stream[at..]).unwrap();
        expected.extend_from_slice(&stream[at..at + count]);
        at += count;
        if count > 0 {
            expected.append(&mut behind);
        }
        if word < 50 {
            word += 1;
            let start = lent.len();
            lent.extend_from_slice(format!("[word {word}]").as_bytes());
            // Where a piece of the stream has gone out in part, it goes behind that piece.
            let stuck = count == 0 && at < stream.len();
            let to = if stuck { &mut behind } else { &mut expected };
            to.extend_from_slice(&lent[start..]);
            segments.push(Segment { socket, start, end: lent.len() });
        }
        streams.secure(&mut lent, &mut segments, &[], |_| false);
        if count > 0 {
            let beside = segments.iter().all(|it| it.end - it.start < 100);
            assert!(beside, "the socket has all of the stream that counts as sent");
        }
        driver.enter(&lent, &segments, Wait::AtMost(Duration::from_millis(1))).unwrap();
        lent.clear();
        segments.clear();
        driver.take_events(&mut events);
        assert!(!events.iter().any(|it| matches!(it, Event::Closed { .. })));
        if let Ok(some @ 1..) = theirs.read(&mut bytes) {
            peer.receive(&bytes[..some]);
        }
    }
    assert!(at == stream.len() && peer.plain == expected && word == 50);
}
