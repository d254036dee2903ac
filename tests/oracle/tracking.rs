//! Client-side caching: the same clients in the same modes read and change the same keys on both servers, and
//! are told the same. One command at a time, and what each client was told by then is compared as a set of
//! keys, since a server with several cores tells of them in several messages.

use crate::run::Pair;
use crate::support::client::Client;
use crate::support::server::Kind;
use crate::support::value::value;
use crate::support::{number_from_env, seed};
use ringfold::base::prng::Prng;

const COMMANDS: u64 = 4_000;
/// So many commands with the same modes.
const EPOCH: u64 = 200;
const CLIENTS: usize = 4;

/// Modes of the clients that cache; `ID` is another client's number.
const MODES: &[&str] = &[
    "on",
    "on noloop",
    "on optin",
    "on optout",
    "on optin noloop",
    "on bcast",
    "on bcast noloop",
    "on bcast prefix k1 prefix k2",
    "on bcast prefix k noloop",
    "on redirect ID",
    "on bcast redirect ID",
    "off",
];

/// What is played; `K` is a key.
const PLAYED: &[&str] = &[
    "GET K",
    "GET K",
    "GET K",
    "MGET K K K",
    "STRLEN K",
    "EXISTS K K",
    "TTL K",
    "SCARD K",
    "HGET K f",
    "LRANGE K 0 -1",
    "SET K v",
    "SET K v",
    "DEL K",
    "DEL K K",
    "MSET K 1 K 2",
    "INCR K",
    "APPEND K x",
    "EXPIRE K 1000",
    "PERSIST K",
    "PEXPIREAT K 1",
    "SADD K a",
    "SREM K a",
    "HSET K f v",
    "HDEL K f",
    "LPUSH K a",
    "LPOP K",
    "RENAME K K",
    "COPY K K REPLACE",
    "SUNION K K",
    "SUNIONSTORE K K K",
    "SETNX K v",
    "GETSET K v",
    "GETDEL K",
    "SETRANGE K 2 x",
    "FLUSHALL",
    "FLUSHDB",
    "CLIENT CACHING yes",
    "CLIENT CACHING no",
    "CLIENT TRACKINGINFO",
    "CLIENT GETREDIR",
    "MULTI",
    "EXEC",
    "EVAL redis.call('set',KEYS[1],'x')return(redis.call('get',KEYS[1])) 1 K",
    "CLIENT TRACKING on prefix x",
    "CLIENT TRACKING on optin optout",
    "CLIENT TRACKING on bcast optin",
    "CLIENT TRACKING maybe",
    "CLIENT TRACKING on redirect 99999999",
    "CLIENT TRACKING on redirect x",
    "CLIENT TRACKING on bcast prefix a prefix ab",
    "CLIENT TRACKING on foo",
    "CLIENT CACHING maybe",
];

/// One server with its clients.
struct Side {
    clients: Vec<Client>,
}

impl Side {
    fn new(connect: impl Fn() -> Client, protos: &[&str]) -> Self {
        let mut clients: Vec<Client> = protos.iter().map(|_| connect()).collect();
        for (client, proto) in clients.iter_mut().zip(protos) {
            client.call(&["HELLO", proto]);
        }
        Self { clients }
    }

    fn id(&mut self, client: usize) -> String {
        value(&self.clients[client].call(&["CLIENT", "ID"])).int().unwrap().to_string()
    }

    /// A command's reply, and what its client was told before it.
    fn call(&mut self, client: usize, words: &[&str], told: &mut Vec<Vec<u8>>) -> Vec<u8> {
        let client = &mut self.clients[client];
        let words: Vec<&[u8]> = words.iter().map(|it| it.as_bytes()).collect();
        client.send(&crate::support::client::request(&words)).unwrap();
        loop {
            let reply = client.reply().unwrap();
            match told_of(&reply) {
                Some(names) => told.extend(names),
                None => return reply,
            }
        }
    }
}

/// The names in an invalidation, `*` for all; `None`: it is a reply.
fn told_of(reply: &[u8]) -> Option<Vec<Vec<u8>>> {
    let message = reply.starts_with(b">") || reply.starts_with(b"*3\r\n$7\r\nmessage\r\n");
    if !message {
        return None;
    }
    let all = value(reply);
    let last = all.items().last()?;
    Some(match last.kind() {
        b'*' => last.items().iter().map(|it| it.bytes().to_vec()).collect(),
        b'_' => vec![b"*".to_vec()],
        _ => vec![reply.to_vec()],
    })
}

fn clients_are_told_the_same(cores: u16) {
    let seed = seed().wrapping_add(u64::from(cores));
    let commands = number_from_env("RINGFOLD_ORACLE_COMMANDS").map_or(COMMANDS, |it| it / 25);
    eprintln!("seed {seed}: {commands} commands, {cores} cores");
    let pair = Pair::start(Kind::Ours(cores));
    let mut prng = Prng::new(seed);
    let mut heard = 0;
    for _ in 0..commands / EPOCH {
        pair.real.client().expect(&["FLUSHALL"], "+OK\r\n");
        pair.ours.client().expect(&["FLUSHALL"], "+OK\r\n");
        let protos = ["3", "3", "3", if prng.chance(1, 2) { "3" } else { "2" }];
        let mut sides =
            [Side::new(|| pair.real.client(), &protos), Side::new(|| pair.ours.client(), &protos)];
        // The last one listens, as a client in RESP2 must.
        for side in &mut sides {
            if protos[3] == "2" {
                side.clients[3].call(&["SUBSCRIBE", "__redis__:invalidate"]);
            }
        }
        let ids: Vec<String> = sides
            .iter_mut()
            .map(|side| if protos[3] == "2" { listener_id(side) } else { side.id(3) })
            .collect();
        let mut history = Vec::new();
        for client in 0..CLIENTS - 1 {
            let mode = MODES[below(&mut prng, MODES.len())];
            history.push(format!("{client}: {mode}"));
            for (side, id) in sides.iter_mut().zip(&ids) {
                let mut words = vec!["CLIENT", "TRACKING"];
                words.extend(mode.split(' ').map(|it| if it == "ID" { id } else { it }));
                assert_eq!(side.clients[client].call(&words), b"+OK\r\n", "{mode}");
            }
        }
        for _ in 0..EPOCH {
            heard += step(&mut prng, &mut sides, &ids, &mut history, (seed, cores));
        }
    }
    assert!(heard > 500, "only {heard} keys");
}

/// The number of the client that listens, which it cannot ask for.
fn listener_id(side: &mut Side) -> String {
    let list = side.clients[0].text(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    let (_, line) = list.split_once("id=").unwrap();
    line.split(' ').next().unwrap().to_string()
}

fn step(
    prng: &mut Prng,
    sides: &mut [Side; 2],
    ids: &[String],
    history: &mut Vec<String>,
    (seed, cores): (u64, u16),
) -> usize {
    let client = below(prng, CLIENTS - 1);
    // An EXEC over several cores takes several turns, and may tell of a key in each: a real server tells once.
    let template = match PLAYED[below(prng, PLAYED.len())] {
        "MULTI" | "EXEC" if cores > 1 => "DBSIZE",
        it => it,
    };
    let words: Vec<String> = template
        .split(' ')
        .map(|word| match word {
            "K" => format!("k{}", prng.below(12)),
            word => word.to_string(),
        })
        .collect();
    history.push(format!("{client}: {}", words.join(" ")));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut all: [Vec<Vec<Vec<u8>>>; 2] = [vec![Vec::new(); CLIENTS], vec![Vec::new(); CLIENTS]];
    let mut replies = Vec::new();
    for (side, told) in sides.iter_mut().zip(&mut all) {
        replies.push(side.call(client, &words, &mut told[client]));
    }
    // Each has then been told what the server that is ahead has told it.
    for other in 0..CLIENTS {
        let ping: &[&str] = &["PING"];
        sides[0].call(other, ping, &mut all[0][other]);
        let wanted = all[0][other].len();
        for _ in 0..200 {
            let (side, told) = (&mut sides[1], &mut all[1][other]);
            side.call(other, ping, told);
            if told.len() >= wanted {
                break;
            }
        }
        for told in &mut all {
            told[other].sort_unstable();
        }
    }
    let replace = |reply: &[u8]| {
        let text = String::from_utf8_lossy(reply).into_owned();
        let known = |text: String, id: &String| text.replace(&format!(":{id}\r\n"), ":ID\r\n");
        ids.iter().fold(text, known)
    };
    let same = replace(&replies[0]) == replace(&replies[1]) || unordered(template, &replies);
    if !same || all[0] != all[1] {
        let text = |told: &Vec<Vec<Vec<u8>>>| {
            let names = |it: &Vec<Vec<u8>>| {
                it.iter().map(|it| it.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
            };
            told.iter().map(names).collect::<Vec<_>>().join(" | ")
        };
        panic!(
            "seed {seed}\n{}\nreal: {} told: {}\nours: {} told: {}",
            history[history.len().saturating_sub(60)..].join("\n"),
            replies[0].escape_ascii(),
            text(&all[0]),
            replies[1].escape_ascii(),
            text(&all[1])
        );
    }
    all[0].iter().map(Vec::len).sum()
}

fn unordered(template: &str, replies: &[Vec<u8>]) -> bool {
    let sorted = |reply: &[u8]| {
        let mut lines: Vec<Vec<u8>> =
            reply.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort_unstable();
        lines
    };
    template.starts_with("SUNION ") && sorted(&replies[0]) == sorted(&replies[1])
}

fn below(prng: &mut Prng, bound: usize) -> usize {
    usize::try_from(prng.below(bound as u64)).unwrap()
}

#[test]
fn clients_of_one_core_are_told_the_same() {
    clients_are_told_the_same(1);
}

#[test]
fn clients_of_three_cores_are_told_the_same() {
    clients_are_told_the_same(3);
}
