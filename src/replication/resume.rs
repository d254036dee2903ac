//! A full sync that goes on where its link broke: which payloads can be gone on with, by whom, and from which byte.
//!
//! Between nodes that know it. What a stock replica or master is told is what it was always told.
//!
//! ```text
//!   replica                                   master
//!   REPLCONF capa eof capa psync2             a stock master takes any capability for one of later versions
//!            capa resync                ->
//!   PSYNC ? -1                          ->
//!                                       <-    +FULLRESYNC <replid> <cut> 0      the 0 says: I know it, too
//!                                       <-    $EOF:<mark> payload ..
//!   REPLCONF received <bytes>           ->    so much of it is handed to the decoder; no answer
//!   ~~~ the link breaks; what was loaded stays, and so does the walk at the master ~~~
//!   REPLCONF .. capa resync:<mark>:<bytes> ->
//!   PSYNC ? -1                          ->
//!                                       <-    +FULLRESYNC <replid> <cut> <bytes>
//!                                       <-    $EOF:<mark> payload from byte <bytes> on .. <mark>
//! ```
//!
//! The mark, forty random digits, names the payload; a position is a count of its bytes. All cores' chunks have one order
//! in it, so one number says how far each core's part has come. The master keeps the bytes that
//! were made and not yet received: by reference, the same that wait in the feeds. It makes no more than
//! `SYNC_WINDOW_BYTES` of them ahead, so what a broken link costs is that at most, however large the data set.
//!
//! Whoever left in the middle is *away*. It is waited for as long as `repl-timeout` says, and the ring keeps what it
//! needs from the cut on, within the limits of a replica that is here. It holds nobody back who is
//! here: where the window would have to grow for it, it is forgotten, and begins anew when it comes.
//!
//! Not here: the bytes (`node/kept.rs`), the replica's half (`replica.rs`).

use std::ops::Range;

use crate::base::limits::SYNC_WINDOW_BYTES;
use crate::base::time::Mono;
use crate::replication::attached::Attached;
use crate::replication::psync::{History, Replid, parse_i64};

/// Names a payload, and ends it.
pub type Mark = [u8; 40];

/// The capability, alone or with what its sender has.
const NAME: &[u8] = b"resync";

/// What a replica has of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Have {
    pub mark: Mark,
    pub bytes: u64,
}

/// A capability that is ours: `Some(None)` where nothing is had.
#[must_use]
pub fn parse(capability: &[u8]) -> Option<Option<Have>> {
    if capability.eq_ignore_ascii_case(NAME) {
        return Some(None);
    }
    let (name, rest) = capability.split_at_checked(NAME.len())?;
    let (mark, bytes) = rest.strip_prefix(b":")?.split_at_checked(40)?;
    let bytes = parse_i64(bytes.strip_prefix(b":")?)?;
    let have = Have { mark: mark.try_into().ok()?, bytes: u64::try_from(bytes).ok()? };
    name.eq_ignore_ascii_case(NAME).then_some(Some(have))
}

/// How a replica says what it can, and has.
#[must_use]
pub fn capability(have: Option<Have>) -> Vec<u8> {
    match have {
        None => NAME.to_vec(),
        Some(Have { mark, bytes }) => [NAME, b":", &mark, format!(":{bytes}").as_bytes()].concat(),
    }
}

/// A payload of which somebody may still want bytes.
#[derive(Debug)]
pub struct Payload {
    /// Which snapshot it is.
    pub number: u64,
    pub mark: Mark,
    replid: Replid,
    pub cut: u64,
    /// The bytes that are kept: from the first that somebody has not received to the last that was made.
    pub kept: Range<u64>,
    /// No more will be made.
    pub over: bool,
    away: Vec<Away>,
}

#[derive(Debug)]
struct Away {
    ip: Vec<u8>,
    port: i32,
    received: u64,
    until: Mono,
}

/// Bytes of `mark` before this one are wanted by nobody any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Released {
    pub mark: Mark,
    pub before: u64,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct Payloads {
    all: Vec<Payload>,
}

impl Payloads {
    pub fn begin(&mut self, number: u64, mark: Mark, replid: Replid, cut: u64) {
        let away = Vec::new();
        self.all.push(Payload { number, mark, replid, cut, kept: 0..0, over: false, away });
    }

    pub fn grew(&mut self, number: u64, bytes: u64) {
        self.with(number, |it| it.kept.end += bytes);
    }

    pub fn over(&mut self, number: u64) {
        self.with(number, |it| it.over = true);
    }

    /// It will never be whole.
    pub fn failed(&mut self, number: u64, released: &mut Vec<Released>) {
        self.drop_where(|it| it.number == number, released);
    }

    /// Histories are others from here on.
    pub fn clear(&mut self, released: &mut Vec<Released>) {
        self.drop_where(|_| true, released);
    }

    /// How much of it was made.
    #[must_use]
    pub fn made(&self, number: u64) -> u64 {
        self.all.iter().find(|it| it.number == number).map_or(0, |it| it.kept.end)
    }

    /// The payload that can be gone on with from there: its bytes exist, and those of the stream behind it.
    #[must_use]
    pub fn fitting(
        &self,
        have: Have,
        history: &History,
        held: Option<&Range<u64>>,
    ) -> Option<&Payload> {
        let held = held?;
        self.all.iter().find(|it| {
            it.mark == have.mark
                && it.replid == history.replid
                && (it.kept.start..=it.kept.end).contains(&have.bytes)
                && (held.start..=held.end).contains(&it.cut)
        })
    }

    /// One that received leaves in the middle.
    pub fn leaves(&mut self, replica: &Attached, until: Mono) {
        let Some(number) = replica.receives() else { return };
        let (ip, port, received) = (replica.ip.clone(), replica.port, replica.received);
        if replica.resumes && port != 0 {
            self.with(number, |it| it.away.push(Away { ip, port, received, until }));
        }
    }

    /// It is back, or begins anew.
    pub fn is_here(&mut self, ip: &[u8], port: i32) {
        for payload in &mut self.all {
            payload.away.retain(|it| it.ip != ip || it.port != port);
        }
    }

    /// Whoever was waited for long enough is forgotten, and who needs more of the stream than `behind_max`.
    pub fn tick(&mut self, now: Mono, stream: Option<&Range<u64>>, behind_max: u64) {
        for payload in &mut self.all {
            let reach = stream.is_some_and(|it| {
                it.start <= payload.cut && it.end.saturating_sub(payload.cut) <= behind_max
            });
            payload.away.retain(|it| reach && now < it.until);
        }
    }

    /// The oldest byte of the stream that somebody who is away needs.
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        self.all.iter().filter(|it| !it.away.is_empty()).map(|it| it.cut).min()
    }

    /// Is somebody away who may come back for that snapshot?
    #[must_use]
    pub fn is_awaited(&self, number: u64) -> bool {
        self.all.iter().any(|it| it.number == number && !it.away.is_empty())
    }

    /// How many are away.
    #[must_use]
    pub fn away(&self) -> usize {
        self.all.iter().map(|it| it.away.len()).sum()
    }

    /// Something changed: what can go?
    pub fn settle(&mut self, replicas: &[Attached], released: &mut Vec<Released>) {
        for payload in &mut self.all {
            let (number, end) = (payload.number, payload.kept.end);
            let here = || replicas.iter().filter(|it| it.receives() == Some(number));
            if here().next().is_some() {
                payload.away.retain(|it| end - it.received <= SYNC_WINDOW_BYTES);
            }
            let here = here().filter(|it| it.resumes).map(|it| it.received);
            let wanted = here.chain(payload.away.iter().map(|it| it.received)).min();
            let start = wanted.unwrap_or(end).clamp(payload.kept.start, end);
            if start > payload.kept.start {
                payload.kept.start = start;
                released.push(Released { mark: payload.mark, before: start });
            }
        }
        let unwanted = |it: &Payload| {
            let here = replicas.iter().any(|replica| replica.receives() == Some(it.number));
            it.over && it.away.is_empty() && !here
        };
        self.drop_where(unwanted, released);
    }

    fn with(&mut self, number: u64, act: impl FnOnce(&mut Payload)) {
        if let Some(payload) = self.all.iter_mut().find(|it| it.number == number) {
            act(payload);
        }
    }

    fn drop_where(&mut self, goes: impl Fn(&Payload) -> bool, released: &mut Vec<Released>) {
        self.all.retain(|it| {
            let goes = goes(it);
            if goes {
                released.push(Released { mark: it.mark, before: u64::MAX });
            }
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_says_what_is_had_and_nothing_else_is_taken_for_it() {
        let mark = [b'7'; 40];
        for have in [None, Some(Have { mark, bytes: 0 }), Some(Have { mark, bytes: 1 << 40 })] {
            assert_eq!(parse(&capability(have)), Some(have));
        }
        let long = "7".repeat(40);
        for other in [
            "eof",
            "psync2",
            "",
            "resync:",
            "resync:7:1",
            &format!("resync:{long}"),
            &format!("resync:{long}:-1"),
            &format!("resync:{long}:x"),
            &format!("resinc:{long}:1"),
            &format!("resync:{long}:99999999999999999999"),
        ] {
            assert_eq!(parse(other.as_bytes()), None, "{other}");
        }
    }
}
