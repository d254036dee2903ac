//! A plain blocking client, for what surrounds the measured run: introducing connections, filling
//! the key space, and reading back what the ledger says must be there.

use crate::draw::{Draw, to_usize};
use crate::drive::{Clock, Stream};
use crate::failure::Failure;
use crate::keys::Keys;
use crate::ledger::{Fault, Ledger};
use crate::places::{Places, Refusal, Server, Service, tag};
use crate::plan::{Plan, VALUE_MAX};
use crate::scout::look;
use crate::source::Source;
use crate::target::Target;
use crate::template::{Encoder, Filling, Template, array, bulk, stamp};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{Read, Write};
use std::time::Duration;

/// Requests in one batch, and keys that are read over one connection.
const BATCH: usize = 256;
const KEYS_PER_CONNECTION: usize = 65_536;
/// Bytes of a line outside a bulk string, and of one receive.
const LINE_MAX: usize = 4096;
const BUFFER_LEN: usize = 64 << 10;
/// Where there are several servers: how often they are asked again, and after how long.
const TRIES: u32 = 300;
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Faults that are told one by one.
const EXAMPLES_MAX: usize = 10;

/// What reading the ledger back found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    pub keys: u64,
    pub lost: u64,
    pub old: u64,
    pub wrong: u64,
    pub examples: Vec<String>,
}

/// A reply as far as this client needs to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Bulk(Vec<u8>),
    Null,
    Error(String),
    /// A status, a number, a whole aggregate.
    Other,
}

/// One blocking connection.
pub struct Fresh {
    stream: Stream,
    name: String,
    greetings: u8,
    input: Vec<u8>,
    at: usize,
}

impl Fresh {
    /// Connects and sends the introduction; [`Self::introduced`] takes its replies.
    pub fn connect(target: &Target, timeout_seconds: f64) -> Result<Self, Failure> {
        let limit = Duration::from_secs_f64(timeout_seconds);
        let stream = Stream::connect(target, limit)?;
        let (bytes, greetings) = target.introduction(false);
        let (input, at) = (Vec::new(), 0);
        let mut fresh = Self { stream, name: target.name(), greetings, input, at };
        fresh.send(&bytes)?;
        Ok(fresh)
    }

    /// The connection, ready for requests.
    pub fn introduced(mut self) -> Result<Self, Failure> {
        for _ in 0..self.greetings {
            if let Answer::Error(text) = self.answer()? {
                return Err(Failure::Replied(format!("{text} (while connecting)")));
            }
        }
        Ok(self)
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let name = &self.name;
        self.stream.write_all(bytes).map_err(|it| Failure::Lost(format!("sending to {name}: {it}")))
    }

    /// Receives one reply.
    pub fn answer(&mut self) -> Result<Answer, Failure> {
        let mut first = None;
        let mut lacking = 1u64;
        while lacking > 0 {
            lacking -= 1;
            let line = self.line()?;
            let no_resp = || Failure::NoResp(format!("`{}`", line.escape_ascii()));
            let (kind, text) = line.split_first().ok_or_else(no_resp)?;
            let text = String::from_utf8_lossy(text);
            let len = || text.parse::<i64>().map_err(|_| no_resp());
            let answer = match kind {
                b'$' | b'=' => match u64::try_from(len()?) {
                    Ok(len) => Answer::Bulk(self.body(len)?),
                    Err(_) => Answer::Null,
                },
                b'*' | b'~' | b'%' => {
                    let each = if *kind == b'%' { 2 } else { 1 };
                    let values = u64::try_from(len()?).unwrap_or(0).min(1 << 20);
                    lacking += values * each;
                    Answer::Other
                }
                b'-' => Answer::Error(text.into_owned()),
                b'_' => Answer::Null,
                b'+' | b':' | b',' | b'#' | b'(' => Answer::Other,
                _ => return Err(no_resp()),
            };
            first.get_or_insert(answer);
        }
        Ok(first.unwrap_or(Answer::Other))
    }

    fn line(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            let rest = &self.input[self.at..];
            if let Some(len) = rest.windows(2).position(|it| it == b"\r\n") {
                let line = rest[..len].to_vec();
                self.at += len + 2;
                return Ok(line);
            }
            if rest.len() > LINE_MAX {
                return Err(Failure::NoResp(format!("a line longer than {LINE_MAX} bytes")));
            }
            self.receive()?;
        }
    }

    fn body(&mut self, len: u64) -> Result<Vec<u8>, Failure> {
        if len > VALUE_MAX {
            return Err(Failure::NoResp(format!("a string of {len} bytes")));
        }
        let end = self.at + to_usize(len);
        let mut missing = end + 2;
        while self.input.len() < missing {
            missing -= self.at;
            self.receive()?;
            missing += self.at;
        }
        let end = missing - 2;
        let body = self.input[self.at..end].to_vec();
        self.at = missing;
        Ok(body)
    }

    /// Receives more behind what was not taken yet, which moves to the front.
    fn receive(&mut self) -> Result<(), Failure> {
        self.input.drain(..self.at);
        self.at = 0;
        let held = self.input.len();
        self.input.resize(held + BUFFER_LEN, 0);
        let received = self.stream.read(&mut self.input[held..]);
        self.input.truncate(held + received.as_ref().map_or(0, |it| *it));
        match received {
            Ok(0) => Err(Failure::Lost(format!("{} closed a connection", self.name))),
            Ok(_) => Ok(()),
            Err(it) => Err(Failure::Lost(format!("receiving from {}: {it}", self.name))),
        }
    }
}

/// The servers that keys are on, each with the connection that asks it.
struct Asked<'p> {
    plan: &'p Plan,
    places: Option<&'p Places>,
    open: BTreeMap<Server, Fresh>,
}

impl Asked<'_> {
    /// The server of a key: one for all, where there is one.
    fn server(&self, key: u64) -> Result<(Server, Target), Failure> {
        let mut target = self.plan.target.clone();
        let Some(places) = self.places else { return Ok((0, target)) };
        let connection = places.connection_of(key);
        let none = || Failure::Connect(format!("nobody serves {}", key_name(self.plan, key)));
        let (server, address) = places.of(connection, false).ok_or_else(none)?;
        (target.host, target.port) = (address.ip().to_string(), address.port());
        Ok((server, target))
    }

    /// Sends these requests, each to the server of its key. What each was answered, in that order.
    fn ask(&mut self, requests: &[(u64, Vec<u8>)]) -> Result<Vec<Answer>, Failure> {
        let mut batches: BTreeMap<Server, (Target, Vec<usize>)> = BTreeMap::new();
        for (at, (key, _)) in requests.iter().enumerate() {
            let (server, target) = self.server(*key)?;
            batches.entry(server).or_insert_with(|| (target, Vec::new())).1.push(at);
        }
        let mut answers = vec![Answer::Other; requests.len()];
        for (server, (target, all)) in batches {
            let fresh = match self.open.entry(server) {
                Entry::Occupied(it) => it.into_mut(),
                Entry::Vacant(it) => {
                    it.insert(Fresh::connect(&target, self.plan.timeout_seconds)?.introduced()?)
                }
            };
            let mut batch = Vec::new();
            all.iter().for_each(|at| batch.extend_from_slice(&requests[*at].1));
            fresh.send(&batch)?;
            for at in all {
                answers[at] = fresh.answer()?;
            }
        }
        Ok(answers)
    }

    /// As `ask`; where there are several servers, what was refused is asked again, and so is all when a connection
    /// breaks: for a while.
    fn ask_on(&mut self, requests: &[(u64, Vec<u8>)]) -> Result<Vec<Answer>, Failure> {
        let mut tries = if self.places.is_some() { TRIES } else { 0 };
        loop {
            let asked = self.ask(requests);
            let refused = |it: &Answer| matches!(it, Answer::Error(text) if Refusal::of(text.as_bytes()).is_some());
            let done = match &asked {
                Ok(answers) => !answers.iter().any(refused),
                Err(Failure::Connect(_) | Failure::Lost(_)) => false,
                Err(_) => true,
            };
            if done || tries == 0 {
                return asked;
            }
            tries -= 1;
            self.open.clear();
            pause();
            if let Some(places) = self.places {
                // What it knows by then counts.
                let _unknown = look(self.plan, places, Clock::new());
            }
        }
    }
}

/// Sets every key of every group once.
pub fn fill(plan: &Plan, places: Option<&Places>) -> Result<(), Failure> {
    let mut asked = Asked { plan, places, open: BTreeMap::new() };
    for group in &plan.groups {
        let template = Template::parse("set").map_err(Failure::Plan)?;
        let tagged = plan.target.service == Service::Cluster;
        let encoder = Encoder::new(template, group.value_bytes, tagged);
        let keys = Keys::Uniform { count: group.keys };
        let mut key = 0;
        while key < group.keys {
            let last = group.keys.min(key + BATCH as u64);
            let one = |key: u64| {
                let (number, connection) = (key, key % plan.connections().max(1));
                let filling =
                    Filling { key, number, connection, keys: &keys, now: 0, stamped: false };
                let (mut bytes, mut draw) =
                    (Vec::new(), Draw::new(Draw::stream(plan.seed, u64::MAX), key));
                encoder.write(&mut bytes, &filling, &mut draw);
                (key, bytes)
            };
            let requests: Vec<(u64, Vec<u8>)> = (key..last).map(one).collect();
            for answer in asked.ask_on(&requests)? {
                if let Answer::Error(text) = answer {
                    return Err(Failure::Replied(format!("{text} (while filling)")));
                }
            }
            key = last;
        }
    }
    Ok(())
}

/// Reads every key with an acknowledged write, over connections that did not write it.
pub fn read_back(
    plan: &Plan,
    ledger: &Ledger,
    places: Option<&Places>,
) -> Result<ReadBack, Failure> {
    let sources = Source::all(plan).map_err(Failure::Plan)?;
    let keys: Vec<u64> = ledger.keys().collect();
    let mut found = ReadBack { keys: keys.len() as u64, ..ReadBack::default() };
    for keys in keys.chunks(KEYS_PER_CONNECTION) {
        let mut asked = Asked { plan, places, open: BTreeMap::new() };
        for keys in keys.chunks(BATCH) {
            let get = |key: &u64| {
                let mut bytes = Vec::new();
                array(&mut bytes, 2);
                bulk(&mut bytes, b"GET");
                bulk(&mut bytes, key_name(plan, *key).as_bytes());
                (*key, bytes)
            };
            let requests: Vec<(u64, Vec<u8>)> = keys.iter().map(get).collect();
            for (key, answer) in keys.iter().zip(asked.ask_on(&requests)?) {
                let value = match answer {
                    Answer::Bulk(value) => Some(value),
                    Answer::Null => None,
                    Answer::Error(text) => {
                        return Err(Failure::Replied(format!("{text} (while reading back)")));
                    }
                    Answer::Other => Some(Vec::new()),
                };
                let number = value.as_deref().map(stamp);
                let written = |number| {
                    is_written(plan, &sources, *key, number, value.as_deref().unwrap_or_default())
                };
                if let Err(fault) = ledger.judge(*key, number, written) {
                    found.note(plan, *key, fault, value.as_deref());
                }
            }
        }
    }
    Ok(found)
}

impl ReadBack {
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.lost + self.old + self.wrong
    }

    /// The failure that the faults are, if there are any.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        (self.faults() > 0).then(|| {
            Failure::Unverified(format!(
                "of {} keys with acknowledged writes {} are gone, {} are older, {} are wrong\n  {}",
                self.keys,
                self.lost,
                self.old,
                self.wrong,
                self.examples.join("\n  ")
            ))
        })
    }

    fn note(&mut self, plan: &Plan, key: u64, fault: Fault, value: Option<&[u8]>) {
        let (count, text) = match fault {
            Fault::Lost => (&mut self.lost, "is gone"),
            Fault::Old => (&mut self.old, "has an older value than the acknowledged one"),
            Fault::Wrong => (&mut self.wrong, "has a value that was never written to it"),
        };
        *count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let value = value.map_or(String::new(), |it| {
                format!(": `{}`", it[..it.len().min(40)].escape_ascii())
            });
            self.examples.push(format!("{} {text}{value}", key_name(plan, key)));
        }
    }
}

/// Whether write `number`, drawn again, set `key` to exactly `value`.
fn is_written(plan: &Plan, sources: &[Source], key: u64, number: u64, value: &[u8]) -> bool {
    let connections = plan.connections();
    let (connection, request) = (number % connections, number / connections);
    let mut first = 0;
    for (group, source) in plan.groups.iter().zip(sources) {
        first += u64::from(group.connections);
        if connection < first {
            let mut bytes = Vec::new();
            let stream = Draw::stream(plan.seed, connection);
            let drawn = source.write(&mut bytes, stream, connection, request, 0);
            let mut end = format!("${}\r\n", value.len()).into_bytes();
            end.extend_from_slice(value);
            end.extend_from_slice(b"\r\n");
            return drawn.write && drawn.key == key && bytes.ends_with(&end);
        }
    }
    false
}

/// What the templates `get` and `set` write for `{key}`.
fn key_name(plan: &Plan, key: u64) -> String {
    match plan.target.service {
        Service::Cluster => format!("key:{}{key:012}", tag(key % plan.connections().max(1))),
        Service::One | Service::Sentinel(_) => format!("key:{key:012}"),
    }
}

/// Between two tries.
#[expect(clippy::disallowed_methods, reason = "nothing else is done by then")]
fn pause() {
    std::thread::sleep(AGAIN_AFTER);
}
