//! Clients: seeded commands, and what their replies must be.
//!
//! Every value that a client sets is written once in the whole run (a token), so a value says which
//! write it comes from. Each client has keys of its own, of which it knows the value as long as
//! nothing that concerns all keys happened; all share other keys, of which it knows the type only.

use std::collections::{BTreeMap, VecDeque};

use ringfold::base::prng::Prng;

use crate::model::show;
use crate::plan::Plan;

/// What a reply must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    Ok,
    Int,
    Bulk,
    /// Exactly this.
    Value(Option<Vec<u8>>),
    Count(i64),
    /// A key whose time is over.
    Expired,
    /// `WAITAOF 1 0`
    WaitFile {
        token: Option<Vec<u8>>,
    },
    Wait {
        wanted: usize,
        token: Option<Vec<u8>>,
    },
    Any,
}

/// A request that was sent and not answered.
#[derive(Clone, Debug)]
pub struct Sent {
    pub words: Vec<Vec<u8>>,
    pub expect: Expect,
    /// The epochs of the world and of the client at which an exact expectation holds.
    pub epoch: (u64, u64),
    /// A value by which a write can be found in the stream.
    pub token: Option<Vec<u8>>,
    /// Once it is answered its key has so many milliseconds.
    pub expires: Option<u64>,
    pub at: u64,
}

/// The world's epoch while nobody can say what a key's value is.
pub const UNSETTLED: u64 = u64::MAX;

/// See the file's header.
#[derive(Debug, Default)]
pub struct Client {
    pub id: usize,
    pub link: Option<usize>,
    pub host: usize,
    pub sent: VecDeque<Sent>,
    /// Replies of `sent` that have left the server, and the bytes of one that has in part.
    pub left: usize,
    pub leaving: Vec<u8>,
    pub arriving: Vec<u8>,
    /// It sends this once and goes.
    pub errand: Option<Vec<Vec<u8>>>,
    pub done: bool,
    pub epoch: u64,
    pub connections: u64,
    pub db: usize,
    pub writes: u64,
    pub values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub numbers: BTreeMap<Vec<u8>, i64>,
    pub expiring: Vec<(Vec<u8>, u64)>,
    pub last_token: Option<Vec<u8>>,
    pub values_of: (u64, u64),
}

pub fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|it| it.as_bytes().to_vec()).collect()
}

impl Client {
    pub fn connected(&mut self, link: usize, host: usize) {
        (self.link, self.host, self.left, self.db) = (Some(link), host, 0, 0);
        self.connections += 1;
        self.sent.clear();
        self.leaving.clear();
        self.arriving.clear();
        self.expiring.clear();
        self.last_token = None;
        self.forget();
    }

    /// What it knew of its keys may not be so any more.
    pub fn forget(&mut self) {
        self.epoch += 1;
    }

    /// The next request. `at` is the world's time.
    pub fn next(
        &mut self,
        prng: &mut Prng,
        plan: &Plan,
        world_epoch: u64,
        at: u64,
        reader: bool,
    ) -> Sent {
        let epoch = (world_epoch, self.epoch);
        if self.values_of != epoch {
            self.values_of = epoch;
            self.values.clear();
            self.numbers.clear();
        }
        let (words, expect, token) = match reader {
            true => self.read(prng, plan),
            false if self.db == 0 && prng.chance(1, 3) => self.own(prng, at),
            false => self.shared(prng, plan),
        };
        if token.is_some() {
            self.last_token.clone_from(&token);
        }
        let expires = match words.get(3) {
            Some(option) if option == b"PX" && words[1].starts_with(b"own") => {
                String::from_utf8_lossy(&words[4]).parse().ok()
            }
            _ => None,
        };
        Sent { words, expect, epoch, token, expires, at }
    }

    /// Its oldest request was answered with this.
    pub fn answered(&mut self, reply: &[u8], at: u64) {
        let Some(sent) = self.sent.pop_front() else { return };
        self.left -= 1;
        if reply[0] == b'-' && sent.epoch.1 == self.epoch {
            self.forget();
        }
        if reply[0] == b'+'
            && let Some(ms) = sent.expires
        {
            self.expiring.push((sent.words[1].clone(), at + ms * 1_000_000));
        }
    }

    fn token(&mut self) -> Vec<u8> {
        self.writes += 1;
        format!("v{}.{}", self.id, self.writes).into_bytes()
    }

    fn read(&mut self, prng: &mut Prng, plan: &Plan) -> (Vec<Vec<u8>>, Expect, Option<Vec<u8>>) {
        let key = format!("k{}", prng.below(plan.keys));
        match prng.below(4) {
            0 => (words(&format!("STRLEN {key}")), Expect::Int, None),
            1 => (words(&format!("MGET {key} k1 k2")), Expect::Any, None),
            _ => (words(&format!("GET {key}")), Expect::Bulk, None),
        }
    }

    /// Keys that nobody else writes to.
    fn own(&mut self, prng: &mut Prng, at: u64) -> (Vec<Vec<u8>>, Expect, Option<Vec<u8>>) {
        let key = format!("own{}.{}.{}", self.id, self.connections, prng.below(4)).into_bytes();
        let counter =
            format!("own{}.{}.n{}", self.id, self.connections, prng.below(3)).into_bytes();
        match prng.below(9) {
            0 | 1 => {
                let token = self.token();
                self.values.insert(key.clone(), Some(token.clone()));
                (vec![b"SET".to_vec(), key, token.clone()], Expect::Ok, Some(token))
            }
            2 | 3 => {
                let expect = match self.values.get(&key) {
                    Some(value) => Expect::Value(value.clone()),
                    None => Expect::Bulk,
                };
                (vec![b"GET".to_vec(), key], expect, None)
            }
            4 | 5 => {
                let expect = match self.numbers.get_mut(&counter) {
                    Some(number) => {
                        *number += 1;
                        Expect::Count(*number)
                    }
                    None => Expect::Int,
                };
                (vec![b"INCR".to_vec(), counter], expect, None)
            }
            6 => {
                let expect = match self.numbers.insert(counter.clone(), 0) {
                    Some(number) => Expect::Count(i64::from(number > 0)),
                    None => Expect::Int,
                };
                (vec![b"DEL".to_vec(), counter], expect, None)
            }
            7 => {
                // Never written again: once its time is over it stays away.
                let token = self.token();
                let key = format!("own{}.e{}", self.id, self.writes).into_bytes();
                let ms = 5 + prng.below(60);
                let ms = ms.to_string().into_bytes();
                let words = vec![b"SET".to_vec(), key, token.clone(), b"PX".to_vec(), ms];
                (words, Expect::Ok, Some(token))
            }
            _ => {
                let over = self.expiring.iter().find(|(_, until)| *until + 1_000_000 < at);
                match over {
                    Some((key, _)) => (vec![b"GET".to_vec(), key.clone()], Expect::Expired, None),
                    None => (vec![b"GET".to_vec(), key], Expect::Bulk, None),
                }
            }
        }
    }

    fn shared(&mut self, prng: &mut Prng, plan: &Plan) -> (Vec<Vec<u8>>, Expect, Option<Vec<u8>>) {
        let key = |prng: &mut Prng| format!("k{}", prng.below(plan.keys));
        let mut token = self.token();
        if plan.large_values && prng.chance(1, 6) {
            token.push(b'.');
            token.resize(token.len() + usize::try_from(prng.below(9_000)).unwrap(), b'x');
        }
        let value = String::from_utf8(token.clone()).unwrap();
        let a = key(prng);
        let (line, expect) = match prng.below(40) {
            0..=7 => (format!("SET {a} {value}"), Expect::Ok),
            8..=10 => (format!("GET {a}"), Expect::Bulk),
            11..=12 => (format!("APPEND {a} {value}"), Expect::Int),
            13..=14 => (format!("INCR n{a}"), Expect::Int),
            15..=17 => (format!("DEL {a} {} {}", key(prng), key(prng)), Expect::Int),
            18..=20 => (format!("MSET {a} {value} {} {value}", key(prng)), Expect::Ok),
            21 => (format!("SETRANGE {a} {} {value}", prng.below(20)), Expect::Int),
            22..=25 if plan.expiry => (format!("PEXPIRE {a} {}", 1 + prng.below(200)), Expect::Int),
            26 if plan.expiry => (format!("EXPIRE {a} 1"), Expect::Int),
            27 if plan.expiry => {
                (format!("SET {a} {value} PX {}", 1 + prng.below(100)), Expect::Ok)
            }
            28..=30 if plan.across => (format!("RENAME {a} {}", key(prng)), Expect::Any),
            31 => (format!("PERSIST {a}"), Expect::Int),
            32 if plan.flushes && prng.chance(1, 8) => ("FLUSHALL".into(), Expect::Ok),
            32 if plan.flushes && prng.chance(1, 8) => ("FLUSHDB".into(), Expect::Ok),
            33 if plan.flushes && prng.chance(1, 8) => ("SWAPDB 0 1".into(), Expect::Ok),
            34..=35 if plan.databases > 1 => {
                self.db = usize::try_from(prng.below(plan.databases)).unwrap();
                (format!("SELECT {}", self.db), Expect::Ok)
            }
            36..=37 if plan.files && prng.chance(1, 2) => {
                let expect = Expect::WaitFile { token: self.last_token.clone() };
                return (words(&format!("WAITAOF 1 0 {}", 1 + prng.below(1_500))), expect, None);
            }
            36..=37 => {
                let wanted = 1 + usize::try_from(prng.below(2)).unwrap();
                let expect = Expect::Wait { wanted, token: self.last_token.clone() };
                let line = format!("WAIT {wanted} {}", 1 + prng.below(300));
                return (words(&line), expect, None);
            }
            38 => (format!("GETDEL {a}"), Expect::Bulk),
            _ => (format!("SET {a} {value}"), Expect::Ok),
        };
        let words = words(&line);
        let token = words.contains(&token).then_some(token);
        (words, expect, token)
    }
}

/// Does a whole reply answer this request?
pub fn check(sent: &Sent, reply: &[u8], epoch: (u64, u64)) -> Result<(), String> {
    let exact = sent.epoch == epoch && epoch.0 != UNSETTLED;
    let int = || std::str::from_utf8(&reply[1..reply.len() - 2]).ok()?.parse::<i64>().ok();
    let bulk = || match reply {
        b"$-1\r\n" => None,
        _ => {
            let line = reply.iter().position(|&byte| byte == b'\n').unwrap();
            Some(reply[line + 1..reply.len() - 2].to_vec())
        }
    };
    let good = match (&sent.expect, reply[0]) {
        (_, b'-') => known_error(reply),
        (Expect::Ok, b'+') => reply == b"+OK\r\n",
        (Expect::Int, b':') => true,
        (Expect::Count(number), b':') => !exact || int() == Some(*number),
        (Expect::Bulk, b'$') => true,
        (Expect::Value(value), b'$') => !exact || bulk() == *value,
        (Expect::Expired, b'$') => reply == b"$-1\r\n",
        (Expect::Wait { .. }, b':') => true,
        (Expect::WaitFile { .. }, b'*') => true,
        (Expect::Any, _) => true,
        _ => false,
    };
    if good {
        return Ok(());
    }
    let request = sent.words.iter().map(|it| show(it)).collect::<Vec<_>>().join(" ");
    Err(format!("{request} should be answered by {:?}, was by {}", sent.expect, show(reply)))
}

fn known_error(reply: &[u8]) -> bool {
    let text = String::from_utf8_lossy(reply);
    let known = [
        "-READONLY",
        "-LOADING",
        "-ERR no such key",
        "-ERR value is not an integer",
        "-MASTERDOWN",
        "-MISCONF",
        "-ERR WAIT cannot be used with replica",
        "-ERR WAITAOF cannot be used with replica",
    ];
    known.iter().any(|it| text.starts_with(it))
}
