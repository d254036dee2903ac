//! What a stream of commands means, said once more with a map: the reference for every keyspace.
//!
//! Nothing expires here by itself: a replica's data is what the stream says and nothing else, so a key
//! goes when its DEL comes.

use std::collections::BTreeMap;

/// Value and expiry by database and key.
pub type State = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<u64>)>;

/// Data, and the database that the stream is in.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub state: State,
    pub db: Option<usize>,
}

/// The first whole command of `bytes` and its length; `None` if it is not all there.
pub fn command(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (mut words, mut at) = (Vec::new(), 0);
    let line = |at: &mut usize, kind: u8| {
        let rest = bytes.get(*at..)?;
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        assert_eq!(rest[0], kind, "no stream: {:?}", String::from_utf8_lossy(rest));
        let number = std::str::from_utf8(&rest[1..end - 1]).unwrap().parse::<usize>().unwrap();
        *at += end + 1;
        Some(number)
    };
    let count = line(&mut at, b'*')?;
    for _ in 0..count {
        let len = line(&mut at, b'$')?;
        words.push(bytes.get(at..at + len)?.to_vec());
        at += len + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

impl Model {
    /// Executes one command of a stream.
    pub fn apply(&mut self, words: &[Vec<u8>]) -> Result<(), String> {
        let name = words[0].to_ascii_uppercase();
        let text = || words.iter().map(|it| show(it)).collect::<Vec<_>>().join(" ");
        match name.as_slice() {
            b"SELECT" => {
                self.db = Some(number(&words[1]) as usize);
                return Ok(());
            }
            b"MULTI" | b"EXEC" | b"PING" | b"REPLCONF" => return Ok(()),
            b"FLUSHALL" => {
                self.state.clear();
                return Ok(());
            }
            b"SWAPDB" => {
                self.swap(number(&words[1]) as usize, number(&words[2]) as usize);
                return Ok(());
            }
            _ => {}
        }
        let db = self.db.ok_or_else(|| format!("{} and no database was selected", text()))?;
        let key = |at: usize| (db, words.get(at).cloned().unwrap_or_default());
        let old = self.state.get(&key(1)).cloned();
        match name.as_slice() {
            b"FLUSHDB" => self.state.retain(|(it, _), _| *it != db),
            b"DEL" | b"UNLINK" => {
                for name in &words[1..] {
                    self.state.remove(&(db, name.clone()));
                }
            }
            b"SET" => {
                let mut expiry = None;
                for (at, option) in words.iter().enumerate().skip(3) {
                    match option.to_ascii_uppercase().as_slice() {
                        b"PXAT" => expiry = Some(number(&words[at + 1])),
                        b"KEEPTTL" => expiry = old.as_ref().and_then(|(_, expiry)| *expiry),
                        _ => {}
                    }
                }
                self.state.insert(key(1), (words[2].clone(), expiry));
            }
            b"MSET" => {
                for pair in words[1..].chunks_exact(2) {
                    self.state.insert((db, pair[0].clone()), (pair[1].clone(), None));
                }
            }
            b"APPEND" => {
                let (mut value, expiry) = old.unwrap_or_default();
                value.extend_from_slice(&words[2]);
                self.state.insert(key(1), (value, expiry));
            }
            b"SETRANGE" => {
                let (mut value, expiry) = old.unwrap_or_default();
                let at = number(&words[2]) as usize;
                value.resize(value.len().max(at + words[3].len()), 0);
                value[at..at + words[3].len()].copy_from_slice(&words[3]);
                self.state.insert(key(1), (value, expiry));
            }
            b"INCR" | b"INCRBY" => {
                let (value, expiry) = old.unwrap_or((b"0".to_vec(), None));
                let by = words.get(2).map_or(1, |it| signed(it));
                let value = (signed(&value) + by).to_string().into_bytes();
                self.state.insert(key(1), (value, expiry));
            }
            b"PEXPIREAT" => {
                let Some((_, expiry)) = self.state.get_mut(&key(1)) else {
                    return Err(format!("{} of a key that is not there", text()));
                };
                *expiry = Some(number(&words[2]));
            }
            b"PERSIST" => {
                if let Some((_, expiry)) = self.state.get_mut(&key(1)) {
                    *expiry = None;
                }
            }
            b"RENAME" => {
                let Some(entry) = self.state.remove(&key(1)) else {
                    return Err(format!("{} of a key that is not there", text()));
                };
                self.state.insert(key(2), entry);
            }
            _ => return Err(format!("the model does not know {}", text())),
        }
        Ok(())
    }

    fn swap(&mut self, a: usize, b: usize) {
        let other = |db| match db {
            db if db == a => b,
            db if db == b => a,
            db => db,
        };
        let old = std::mem::take(&mut self.state);
        self.state = old.into_iter().map(|((db, key), it)| ((other(db), key), it)).collect();
    }
}

/// The first keys in which two states differ.
pub fn difference(found: &State, expected: &State) -> String {
    let keys: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let differ = keys.into_iter().filter(|key| found.get(*key) != expected.get(*key));
    let entry = |it: Option<&(Vec<u8>, Option<u64>)>| match it {
        None => "absent".to_string(),
        Some((value, expiry)) => format!("{} until {expiry:?}", show(value)),
    };
    let line = |key: &(usize, Vec<u8>)| {
        let (has, wants) = (entry(found.get(key)), entry(expected.get(key)));
        format!("db {} {}: has {has}, should have {wants}", key.0, show(&key.1))
    };
    differ.take(4).map(line).collect::<Vec<_>>().join("; ")
}

pub fn show(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.len() {
        0..=60 => text,
        len => format!("{}..({len})", &text[..40]),
    }
}

fn number(word: &[u8]) -> u64 {
    String::from_utf8_lossy(word).parse().unwrap_or_else(|_| panic!("{word:?} is no number"))
}

fn signed(word: &[u8]) -> i64 {
    String::from_utf8_lossy(word).parse().unwrap_or_else(|_| panic!("{word:?} is no number"))
}
