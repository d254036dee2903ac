//! Which history this node is in, and what PSYNC may continue from where.
//!
//! A history is a replid and bytes counted from its beginning. A node that was promoted also
//! remembers the history it came from, up to the length at which it left it: a replica of the old
//! master that has no more than that can go on with us.
//!
//! ```text
//!   wire   PSYNC id n     n is the first byte wanted, the first of all is 1
//!   here   resume at n-1  that many bytes are had, the first byte is at offset 0
//!   wire   second_repl_offset s    replid2 may be asked for up to byte s
//!   here   second.1 == s-1         replid2 was left when it was that long
//! ```
//!
//! Invariant: the length of the current history is the ring's `end`, held nowhere else.
//!
//! The trap: all off-by-one conversions between the wire and the ring are in this file, in
//! [`wire_of`] and [`Request::parse`]; FULLRESYNC and ACK carry lengths and need none.
//!
//! Not here: what is sent after the answer (`master.rs`), our own asking (`replica.rs`).

use std::ops::Range;

/// A history's name: forty hexadecimal digits.
pub type Replid = [u8; 40];

/// What Redis shows where there is no second history.
pub const NO_REPLID: Replid = [b'0'; 40];

/// A new name from 160 random bits, which the caller takes from the kernel.
#[must_use]
pub fn replid_from(random: [u8; 20]) -> Replid {
    let mut id = [0; 40];
    for (pair, byte) in id.chunks_exact_mut(2).zip(random) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    id
}

/// The histories that this node can continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    pub replid: Replid,
    /// The history before, and its length when this node left it.
    pub second: Option<(Replid, u64)>,
}

/// What a replica asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `SYNC`, or redis-cli: everything, and no words about it.
    Sync,
    /// `PSYNC ? -1`: a replica without any data.
    New,
    /// `PSYNC replid n`: it has `resume` bytes of that history; `None` where n was below 1.
    Resume { replid: [u8; 40], resume: Option<u64> },
    /// `PSYNC` of something that is no replid: it cannot match.
    Stranger,
}

/// Why a replica must load a whole snapshot. INFO and the log count them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FullReason {
    /// SYNC: it cannot resume.
    Sync,
    /// It has no data.
    New,
    /// It names a history that we do not know.
    UnknownReplid,
    /// It has more of our previous history than we had when we left that.
    BeyondSecond,
    /// The bytes it needs are gone.
    TooOld,
    /// It has more than there is.
    InFuture,
    /// There is no backlog yet.
    NoBacklog,
}

/// The answer to [`Request`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Continue { resume: u64 },
    Full(FullReason),
}

impl Request {
    /// From PSYNC's two arguments. `None`: the offset is no integer, which Redis refuses.
    #[must_use]
    pub fn parse(replid: &[u8], offset: &[u8]) -> Option<Self> {
        let offset: i64 = parse_i64(offset)?;
        if replid == b"?" {
            return Some(Self::New);
        }
        let Ok(mut replid) = Replid::try_from(replid) else { return Some(Self::Stranger) };
        replid.make_ascii_lowercase();
        let resume = offset.checked_sub(1).and_then(|had| u64::try_from(had).ok());
        Some(Self::Resume { replid, resume })
    }
}

impl History {
    #[must_use]
    pub fn new(replid: Replid) -> Self {
        Self { replid, second: None }
    }

    /// May the asker go on? `held` are the ring's bytes, `None` while there is no backlog.
    #[must_use]
    pub fn answer(&self, request: Request, held: Option<Range<u64>>) -> Answer {
        let (replid, resume) = match request {
            Request::Sync => return Answer::Full(FullReason::Sync),
            Request::New => return Answer::Full(FullReason::New),
            Request::Stranger => return Answer::Full(FullReason::UnknownReplid),
            Request::Resume { replid, resume } => (replid, resume),
        };
        if replid != self.replid {
            match self.second {
                Some((second, length)) if second == replid => {
                    if resume.is_some_and(|resume| resume > length) {
                        return Answer::Full(FullReason::BeyondSecond);
                    }
                }
                _ => return Answer::Full(FullReason::UnknownReplid),
            }
        }
        let Some(held) = held else { return Answer::Full(FullReason::NoBacklog) };
        match resume {
            Some(resume) if resume > held.end => Answer::Full(FullReason::InFuture),
            Some(resume) if resume >= held.start => Answer::Continue { resume },
            _ => Answer::Full(FullReason::TooOld),
        }
    }

    /// A history that continues nothing we had: a fresh master's, one after a gap that nobody
    /// logged, or that of the master whose whole data set we have just loaded.
    pub fn begin(&mut self, replid: Replid) {
        *self = Self::new(replid);
    }

    /// This node was a replica and is a master now: from byte `end` on the history is its own.
    pub fn promote(&mut self, replid: Replid, end: u64) {
        self.second = Some((self.replid, end));
        self.replid = replid;
    }

    /// The master lets us continue, perhaps under a new name (it was promoted). True if so: then
    /// our own replicas must be disconnected, for they cannot know the new name.
    pub fn continued_as(&mut self, replid: Replid, end: u64) -> bool {
        let renamed = replid != self.replid;
        if renamed {
            self.promote(replid, end);
        }
        renamed
    }

    /// INFO's `second_repl_offset`.
    #[must_use]
    pub fn second_wire(&self) -> i64 {
        self.second.map_or(-1, |(_, length)| i64::try_from(wire_of(length)).unwrap_or(i64::MAX))
    }
}

/// The number on the wire of the byte at `offset`: what PSYNC asks for by who has `offset` bytes,
/// and INFO's `repl_backlog_first_byte_offset` of a ring that starts there.
#[must_use]
pub fn wire_of(offset: u64) -> u64 {
    offset.saturating_add(1)
}

/// A whole decimal number as Redis reads one: no plus, no spaces, no leading zeros.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [first, ..] => (b'1'..=b'9').contains(first),
        [] => false,
    };
    std::str::from_utf8(text).ok().filter(|_| canonical)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Replid {
        text.as_bytes().try_into().unwrap()
    }

    /// Every question of a golden file, answered as the stock server did.
    /// `# history ID offset N [first F] [second ID S]` sets the scene, for the rows after it.
    fn check_golden(text: &str) -> usize {
        let (mut history, mut held, mut rows) = (History::new(NO_REPLID), 0..0, 0);
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |name: &str| words.iter().position(|&it| it == name).map(|at| at + 1);
            if words[0] == "#" {
                history = History::new(id(words[2]));
                held.end = words[after("offset").unwrap()].parse().unwrap();
                if let Some(at) = after("first") {
                    held.start = words[at].parse::<u64>().unwrap() - 1;
                }
                if let Some(at) = after("second") {
                    let wire: u64 = words[at + 1].parse().unwrap();
                    history.second = Some((id(words[at]), wire - 1));
                    assert_eq!(history.second_wire(), i64::try_from(wire).unwrap());
                }
                continue;
            }
            let request = Request::parse(words[0].as_bytes(), words[1].as_bytes()).unwrap();
            let rest = line.split_once(" | ").unwrap().1.replace("\\r\\n", "\r\n");
            match history.answer(request, Some(held.clone())) {
                Answer::Continue { resume } => {
                    assert_eq!(words[4], "+CONTINUE", "{line}");
                    let unescaped = rest.replace("\\n", "\n");
                    assert_eq!(unescaped.len() as u64, held.end - resume, "{line}");
                }
                Answer::Full(_) => assert_eq!(words[4], "+FULLRESYNC", "{line}"),
            }
            rows += 1;
        }
        rows
    }

    #[test]
    fn answers_as_a_stock_master() {
        assert_eq!(check_golden(include_str!("../../tests/golden/psync/master_partial.txt")), 11);
        assert_eq!(check_golden(include_str!("../../tests/golden/psync/promoted_partial.txt")), 5);
    }

    #[test]
    fn every_refusal_has_its_reason() {
        let (ours, before, other) = ([b'a'; 40], [b'b'; 40], [b'c'; 40]);
        let mut history = History::new(before);
        history.promote(ours, 100);
        let check = |replid: Replid, offset: &str, expected| {
            let request = Request::parse(&replid, offset.as_bytes()).unwrap();
            assert_eq!(history.answer(request, Some(50..200)), expected, "{offset}");
        };
        use Answer::*;
        check(ours, "201", Continue { resume: 200 });
        check(ours, "51", Continue { resume: 50 });
        check(before, "101", Continue { resume: 100 });
        check(ours, "202", Full(FullReason::InFuture));
        check(ours, "50", Full(FullReason::TooOld));
        check(ours, "0", Full(FullReason::TooOld));
        check(ours, "-9223372036854775808", Full(FullReason::TooOld));
        check(before, "102", Full(FullReason::BeyondSecond));
        check(other, "101", Full(FullReason::UnknownReplid));
        let request = Request::parse(&ours, b"201").unwrap();
        assert_eq!(history.answer(request, None), Full(FullReason::NoBacklog));
        assert_eq!(Request::parse(b"?", b"-1"), Some(Request::New));
        assert_eq!(Request::parse(b"short", b"1"), Some(Request::Stranger));
        for wrong in ["", "x", "+1", "01", "-", "-0", "1 ", "9223372036854775808"] {
            assert_eq!(Request::parse(b"?", wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_history_is_shifted_once_per_promotion() {
        let mut history = History::new(replid_from([0xa5; 20]));
        assert_eq!(history.replid, id(&"a5".repeat(20)));
        assert_eq!(history.second_wire(), -1);
        assert!(!history.continued_as(history.replid, 7));
        assert_eq!(history.second, None);
        assert!(history.continued_as([b'1'; 40], 64));
        assert_eq!(history.second_wire(), 65);
        history.begin([b'2'; 40]);
        assert_eq!(history, History { replid: [b'2'; 40], second: None });
    }
}
