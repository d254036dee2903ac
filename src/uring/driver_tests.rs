//! Tests of the driver: two of them talk over loopback, with far fewer descriptors than sockets.
#![cfg(test)]

use super::driver::{Driver, Event, Segment, Sizes, Socket, Wait};
use super::sys;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

const DESCRIPTORS: usize = 48;

fn driver(descriptors: usize) -> Driver {
    let sizes =
        Sizes { entries: 256, completions: 8_192, buffers: 64, buffer_bytes: 4_096, descriptors };
    Driver::new(sizes).unwrap()
}

/// A server that sends back what it gets, and its clients.
struct Pair {
    server: Driver,
    clients: Driver,
    address: SocketAddr,
    accepted: Vec<Socket>,
    connected: Vec<Socket>,
    /// What each client got, and who was told of an end.
    got: BTreeMap<Socket, Vec<u8>>,
    ended: Vec<Socket>,
    echoes: bool,
    given_up: Vec<std::os::fd::OwnedFd>,
}

impl Pair {
    fn new(descriptors: usize) -> Self {
        let listener = sys::listen_tcp("127.0.0.1:0".parse().unwrap(), 1_024).unwrap();
        let address = sys::local_address(listener.as_raw_fd()).unwrap();
        let mut server = driver(descriptors);
        server.listen(listener);
        Self {
            server,
            clients: driver(descriptors),
            address,
            accepted: Vec::new(),
            connected: Vec::new(),
            got: BTreeMap::new(),
            ended: Vec::new(),
            echoes: true,
            given_up: Vec::new(),
        }
    }

    fn connect(&mut self, count: usize) {
        let all = self.connected.len() + count;
        let (mut dialled, mut from) = (self.connected.len(), 0u8);
        self.until(|pair| {
            while dialled < all && pair.clients.can_dial() {
                from = from % 250 + 1;
                let from = SocketAddr::from(([127, 9, 9, from], 0));
                pair.clients.dial(Some(from), pair.address).unwrap();
                dialled += 1;
            }
            pair.connected.len() == all && pair.accepted.len() == all
        });
    }

    /// One turn of both.
    fn turn(&mut self, sends: &[(Socket, Vec<u8>)]) {
        let (mut lent, mut segments) = (Vec::new(), Vec::new());
        for (socket, bytes) in sends {
            let start = lent.len();
            lent.extend_from_slice(bytes);
            segments.push(Segment { socket: *socket, start, end: lent.len() });
        }
        let mut events = Vec::new();
        self.clients.enter(&lent, &segments, Wait::AtMost(Duration::from_micros(100))).unwrap();
        self.clients.take_events(&mut events);
        for event in events.drain(..) {
            match event {
                Event::Connected { socket, result } => {
                    result.unwrap();
                    self.connected.push(socket);
                }
                Event::Received { socket, buffer } => {
                    let got = self.got.entry(socket).or_default();
                    got.extend_from_slice(self.clients.bytes(buffer));
                    self.clients.give_back(buffer);
                }
                Event::Closed { socket } => {
                    self.ended.push(socket);
                    self.clients.close(socket);
                }
                _ => {}
            }
        }
        self.server.enter(&[], &[], Wait::AtMost(Duration::from_micros(100))).unwrap();
        self.server.take_events(&mut events);
        let (mut lent, mut segments) = (Vec::new(), Vec::new());
        for event in events.drain(..) {
            match event {
                Event::Accepted { fd, .. } => self.accepted.push(self.server.adopt(fd)),
                Event::Received { socket, buffer } => {
                    let start = lent.len();
                    lent.extend_from_slice(self.server.bytes(buffer));
                    self.server.give_back(buffer);
                    segments.push(Segment { socket, start, end: lent.len() });
                }
                Event::Closed { socket } => self.server.close(socket),
                Event::Detached { fd, .. } => self.given_up.push(fd),
                _ => {}
            }
        }
        if self.echoes {
            self.server.enter(&lent, &segments, Wait::No).unwrap();
        }
    }

    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..20_000 {
            if done(self) {
                return;
            }
            self.turn(&[]);
        }
        panic!(
            "{} accepted, {} connected, {} answered, {} ended",
            self.accepted.len(),
            self.connected.len(),
            self.got.len(),
            self.ended.len()
        );
    }

    /// Each of `sockets` asks, and each gets its own answer.
    fn talk(&mut self, sockets: &[Socket]) {
        self.got.clear();
        let sends: Vec<_> =
            sockets.iter().map(|it| (*it, format!("I am {}", it.0).into_bytes())).collect();
        self.turn(&sends);
        self.until(|pair| sends.iter().all(|(it, said)| pair.got.get(it) == Some(said)));
        assert_eq!(self.got.len(), sockets.len());
    }
}

#[test]
fn many_sockets_share_few_descriptors_and_all_are_served() {
    let mut pair = Pair::new(DESCRIPTORS);
    pair.connect(1_000);
    let all = pair.connected.clone();
    pair.talk(&all);
    for chunk in all.chunks(50) {
        pair.talk(chunk);
    }
    pair.until(|pair| pair.server.parked().0 >= 1_000 - DESCRIPTORS);
    assert!(pair.clients.parked().0 >= 1_000 - DESCRIPTORS);
    // The same few again and again: they are hot, and the others still get their turn.
    for round in 0..12 {
        pair.talk(&all[..20]);
        pair.talk(&all[20 * round..][..20]);
    }
    // Half are closed by the clients, half by the server, parked or not.
    for &it in &all[..500] {
        pair.clients.close(it);
    }
    pair.until(|pair| pair.server.parked().0 <= 500);
    for it in std::mem::take(&mut pair.accepted) {
        pair.server.close(it);
    }
    pair.until(|pair| pair.ended.len() == 500 && pair.clients.parked().0 == 0);
    // Their rows and table entries are used again.
    pair.connected.clear();
    pair.connect(900);
    let again = pair.connected.clone();
    assert!(again.iter().all(|it| it.0 < 1_000));
    pair.talk(&again);
    assert_eq!(pair.server.parked().1, 1, "one table suffices");
}

#[test]
fn a_parked_socket_can_be_paused_moved_and_sent_to() {
    let mut pair = Pair::new(DESCRIPTORS);
    pair.connect(200);
    let all = pair.connected.clone();
    pair.talk(&all);
    let parked = |pair: &Pair| {
        let of = |it: &&Socket| pair.server.fd(**it) == -1;
        pair.accepted.iter().filter(of).copied().collect::<Vec<_>>()
    };
    pair.until(|pair| parked(pair).len() > 100);
    let hidden = parked(&pair);
    // All of them are sent to in one call, though there are not as many descriptors.
    pair.got.clear();
    let said: Vec<_> = hidden
        .iter()
        .enumerate()
        .map(|(at, it)| Segment { socket: *it, start: at % 7, end: at % 7 + 3 })
        .collect();
    pair.server.enter(b"0123456789", &said, Wait::No).unwrap();
    pair.until(|pair| pair.got.values().filter(|it| it.len() == 3).count() == hidden.len());
    // Nobody hears who is paused.
    pair.got.clear();
    for &it in &pair.accepted.clone() {
        pair.server.pause(it);
    }
    (0..10).for_each(|_| pair.turn(&[]));
    let asks: Vec<_> = all.iter().map(|it| (*it, b"hello".to_vec())).collect();
    pair.turn(&asks);
    (0..50).for_each(|_| pair.turn(&[]));
    assert!(pair.got.is_empty());
    for &it in &pair.accepted.clone() {
        pair.server.resume(it);
    }
    pair.until(|pair| pair.got.len() == 200);
    // Whoever moves away comes with a descriptor that works.
    let moving: Vec<_> = parked(&pair).into_iter().take(20).collect();
    moving.iter().for_each(|it| pair.server.detach(*it));
    pair.until(|pair| pair.given_up.len() == moving.len());
    pair.got.clear();
    for fd in std::mem::take(&mut pair.given_up) {
        TcpStream::from(fd).write_all(b"bye").unwrap();
    }
    pair.until(|pair| pair.ended.len() == moving.len());
    assert!(pair.got.values().all(|it| it == b"bye") && pair.got.len() == moving.len());
}

/// Replies to those with descriptors wait for the submission while others ask for a descriptor.
#[test]
fn nobody_gets_what_was_meant_for_another() {
    let mut pair = Pair::new(DESCRIPTORS);
    let mut streams: Vec<_> = (0..300).map(|_| TcpStream::connect(pair.address).unwrap()).collect();
    pair.until(|pair| pair.accepted.len() == 300 && pair.server.parked().0 > 200);
    streams.iter().for_each(|it| it.set_nonblocking(true).unwrap());
    let (mut sent, mut got) = (vec![Vec::new(); 300], vec![Vec::new(); 300]);
    let mut events = Vec::new();
    let mut turns = 0..20_000;
    while sent.iter().any(|it: &Vec<u8>| it.len() < 400) || sent != got {
        let turn = turns.next().unwrap();
        pair.server.enter(&[], &[], Wait::No).unwrap();
        pair.server.take_events(&mut events);
        let (mut lent, mut segments) = (Vec::new(), Vec::new());
        for event in events.drain(..) {
            let Event::Received { socket, buffer } = event else { continue };
            let start = lent.len();
            lent.extend_from_slice(pair.server.bytes(buffer));
            pair.server.give_back(buffer);
            segments.push(Segment { socket, start, end: lent.len() });
        }
        // These are heard in the call that answers the others.
        for at in (turn % 7..300).step_by(7) {
            if sent[at].len() >= 400 {
                continue;
            }
            let said = format!("{at} in {turn}. ");
            streams[at].write_all(said.as_bytes()).unwrap();
            sent[at].extend_from_slice(said.as_bytes());
        }
        pair.server.enter(&lent, &segments, Wait::No).unwrap();
        for (stream, got) in streams.iter_mut().zip(&mut got) {
            let mut piece = [0; 1_000];
            if let Ok(len) = stream.read(&mut piece) {
                got.extend_from_slice(&piece[..len]);
            }
        }
    }
}

#[test]
fn with_descriptors_for_all_nobody_is_parked_and_the_busy_are_promoted() {
    let mut pair = Pair::new(usize::MAX);
    pair.connect(300);
    let all = pair.connected.clone();
    (0..3).for_each(|_| pair.talk(&all));
    assert_eq!((pair.server.parked(), pair.server.hot()), ((0, 0), 0));
    (0..20).for_each(|_| pair.talk(&all[..10]));
    assert_eq!((pair.server.hot(), pair.clients.hot()), (10, 10));
    // A bulk that fills the room of a receive heats at once.
    pair.turn(&[(all[50], vec![b'x'; 200_000])]);
    pair.until(|pair| pair.got.get(&all[50]).is_some_and(|it| it.len() == 200_000));
    assert_eq!(pair.server.hot(), 11);
}

#[test]
fn what_a_slow_reader_left_over_reaches_it_when_it_reads() {
    let mut pair = Pair::new(usize::MAX);
    let mut slow = TcpStream::connect(pair.address).unwrap();
    pair.until(|pair| pair.accepted.len() == 1);
    let lent = vec![b'y'; 20 << 20];
    let socket = pair.accepted[0];
    let (whole, more) = (lent.len() - 3, 3);
    let sends = [(0, whole), (whole, whole + more)];
    let sends = sends.map(|(start, end)| Segment { socket, start, end });
    pair.server.enter(&lent, &sends, Wait::No).unwrap();
    assert!(pair.server.backlog_bytes(socket) > 1 << 20);
    pair.server.close(socket);
    slow.set_nonblocking(true).unwrap();
    let (mut all, mut piece) = (Vec::new(), vec![0; 1 << 20]);
    pair.until(|_| match slow.read(&mut piece) {
        Ok(0) => true,
        Ok(len) => {
            all.extend_from_slice(&piece[..len]);
            false
        }
        Err(_) => false,
    });
    assert!(all == lent);
}

/// An end that was told before its socket was closed is not taken for the end of another.
#[test]
fn a_number_rests_until_what_was_told_of_it_is_taken() {
    let mut pair = Pair::new(usize::MAX);
    let gone = TcpStream::connect(pair.address).unwrap();
    pair.until(|pair| pair.accepted.len() == 1);
    let socket = pair.accepted[0];
    drop(gone);
    let mut events = Vec::new();
    for _ in 0..20_000 {
        pair.server.enter(&[], &[], Wait::AtMost(Duration::from_millis(1))).unwrap();
        // It is closed before the events are taken, as at the end of a turn.
        if pair.server.has_told_of(socket) {
            break;
        }
    }
    pair.server.close(socket);
    let fd = || TcpStream::connect(pair.address).unwrap().into();
    let (soon, later) = (fd(), fd());
    let other = pair.server.adopt(soon);
    pair.server.take_events(&mut events);
    assert!(events.iter().any(|it| matches!(it, Event::Closed { socket: it } if *it == socket)));
    assert_ne!(other, socket);
    pair.server.close(socket);
    pair.server.enter(&[], &[], Wait::No).unwrap();
    assert_eq!(pair.server.adopt(later), socket);
}
