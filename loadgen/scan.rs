//! Counts replies in a stream of bytes, without looking at what they say.
//!
//! A load generator must know three things of a reply: where it ends, whether it is an error, and
//! whether it is null. Bulk bodies are stepped over where the kernel put them; only a header line
//! that is torn between two receives is copied.
//!
//! Aggregates need no recursion: a header of n elements adds n to the number of values that the
//! current reply still lacks. Pushes (`>`) belong to no request and are not counted as replies.
//!
//! Invariant: what is held per connection is bounded by [`LINE_MAX`], whatever the server sends.

/// The longest header, status or error line.
pub const LINE_MAX: usize = 64 << 10;
/// Redis' own bounds for one string and for an array's elements.
const BULK_MAX: u64 = 512 << 20;
const ELEMENTS_MAX: u64 = 1 << 31;

/// One connection's place in its stream. Small, because a million connections have one.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    /// Bytes of a bulk body and its CRLF still to come.
    body: u32,
    /// Values that the current reply still lacks; 0 between replies.
    lacking: u32,
    /// The beginning of a torn line.
    #[expect(clippy::box_collection, reason = "few have one, so the others pay 8 bytes, not 24")]
    torn: Option<Box<Vec<u8>>>,
    /// The current value stands in a push.
    push: bool,
    /// The current reply is a bulk string or a null, wherever it may be torn.
    bulk: bool,
}

/// What a stretch of bytes held.
#[derive(Debug, PartialEq, Eq)]
pub struct Scanned<'b> {
    /// Replies that ended, the error among them.
    pub replies: u32,
    pub nulls: u32,
    /// Of the replies those that are `+OK`, and those that are a bulk string or null.
    pub oks: u32,
    pub bulks: u32,
    /// Pushes (`>`), which are no replies.
    pub pushes: u32,
    /// The last of `replies` was this error line, without its `-` and CRLF; `rest` follows it.
    pub error: Option<Vec<u8>>,
    pub rest: &'b [u8],
}

/// Not RESP: what was found instead.
#[derive(Debug, PartialEq, Eq)]
pub struct NoResp(pub String);

impl Scanner {
    /// Scans until the end of `bytes`, or until an error reply. At most `limit` replies are
    /// expected: one more is as wrong as a malformed one.
    pub fn scan<'b>(&mut self, mut bytes: &'b [u8], limit: u32) -> Result<Scanned<'b>, NoResp> {
        let mut found =
            Scanned { replies: 0, nulls: 0, oks: 0, bulks: 0, pushes: 0, error: None, rest: &[] };
        loop {
            if self.is_between() {
                while let Some((len, kind)) = whole(bytes) {
                    found.replies += 1;
                    found.oks += u32::from(kind == Kind::Ok);
                    found.bulks += u32::from(matches!(kind, Kind::Bulk | Kind::Null));
                    found.nulls += u32::from(kind == Kind::Null);
                    bytes = &bytes[len..];
                }
            }
            if found.replies > limit {
                return Err(NoResp("a reply that nobody asked for".into()));
            }
            if bytes.is_empty() {
                return Ok(found);
            }
            let step = self.step(bytes)?;
            bytes = &bytes[step.len..];
            found.nulls += u32::from(step.null);
            found.oks += u32::from(step.ok);
            if self.is_between() {
                found.replies += u32::from(!self.push);
                found.pushes += u32::from(self.push);
                found.bulks += u32::from(self.bulk);
                (self.push, self.bulk) = (false, false);
                if step.error.is_some() && found.replies <= limit {
                    return Ok(Scanned { error: step.error, rest: bytes, ..found });
                }
            }
        }
    }

    /// Whether the stream stands between two replies.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.body == 0 && self.lacking == 0 && self.torn.is_none()
    }

    /// Takes one line, or what is here of a body.
    fn step(&mut self, bytes: &[u8]) -> Result<Step, NoResp> {
        if self.body > 0 {
            return self.skip_body(bytes);
        }
        let Some(end) = bytes.iter().position(|&it| it == b'\n') else {
            let torn = self.torn.get_or_insert_default();
            check_type(*torn.first().unwrap_or(&bytes[0]), bytes)?;
            if torn.len() + bytes.len() > LINE_MAX {
                return Err(NoResp(format!("a line longer than {LINE_MAX} bytes")));
            }
            torn.extend_from_slice(bytes);
            return Ok(Step { len: bytes.len(), ..Step::default() });
        };
        let mut step = match self.torn.take() {
            None => self.header(&bytes[..=end])?,
            Some(mut line) => {
                line.extend_from_slice(&bytes[..=end]);
                self.header(&line)?
            }
        };
        step.len = end + 1;
        Ok(step)
    }

    fn skip_body(&mut self, bytes: &[u8]) -> Result<Step, NoResp> {
        let mut len = 0;
        for &byte in bytes {
            // Only the last two bytes are looked at; all before them are stepped over at once.
            if self.body > 2 {
                let here = u32::try_from(bytes.len() - len).unwrap_or(u32::MAX);
                let skip = (self.body - 2).min(here);
                self.body -= skip;
                return Ok(Step { len: len + skip as usize, ..Step::default() });
            }
            if byte != if self.body == 2 { b'\r' } else { b'\n' } {
                return Err(unexpected("the end of a bulk string", bytes));
            }
            len += 1;
            self.body -= 1;
            if self.body == 0 {
                self.lacking -= 1;
                break;
            }
        }
        Ok(Step { len, ..Step::default() })
    }

    /// A line with its CRLF, where a value begins.
    fn header(&mut self, line: &[u8]) -> Result<Step, NoResp> {
        let [kind, text @ .., b'\r', b'\n'] = line else {
            return Err(unexpected("a line", line));
        };
        check_type(*kind, line)?;
        let first = self.lacking == 0;
        self.lacking = self.lacking.max(1);
        self.bulk |= first && matches!(kind, b'$' | b'=' | b'_');
        let mut step = Step { ok: first && line == b"+OK\r\n", ..Step::default() };
        match kind {
            b'$' | b'=' | b'!' => match length(text, BULK_MAX, line)? {
                Some(len) => self.body = narrow(len + 2),
                None => (self.lacking, step.null) = (self.lacking - 1, true),
            },
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                self.push |= *kind == b'>' && self.lacking == 1;
                let values = length(text, ELEMENTS_MAX, line)?;
                step.null = values.is_none();
                let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
                // Attributes stand before the value that they describe, and are not it.
                let more = values.unwrap_or(0) * each + u64::from(*kind == b'|');
                let lacking = u64::from(self.lacking) - 1 + more;
                if lacking > ELEMENTS_MAX {
                    return Err(NoResp("a reply without end".into()));
                }
                self.lacking = narrow(lacking);
            }
            _ => {
                self.lacking -= 1;
                step.null = *kind == b'_';
                // An error inside an aggregate (EXEC) answers a part of a request only.
                let whole = *kind == b'-' && first;
                step.error = whole.then(|| text.to_vec());
            }
        }
        Ok(step)
    }
}

#[derive(Default)]
struct Step {
    len: usize,
    null: bool,
    ok: bool,
    error: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ok,
    Bulk,
    Null,
    Other,
}

/// The commonest replies where they lie whole at the front: their length, and what they are.
fn whole(bytes: &[u8]) -> Option<(usize, Kind)> {
    match bytes {
        [b'+', b'O', b'K', b'\r', b'\n', ..] => Some((5, Kind::Ok)),
        [b'$', b'-', b'1', b'\r', b'\n', ..] => Some((5, Kind::Null)),
        [b'$', rest @ ..] => {
            let (mut len, mut at) = (0usize, 0);
            while let Some(digit @ b'0'..=b'9') = rest.get(at) {
                (len, at) = (len * 10 + usize::from(digit - b'0'), at + 1);
                if at > 9 {
                    return None;
                }
            }
            let end = at + 2 + len;
            (at > 0
                && rest.get(at..at + 2) == Some(b"\r\n")
                && rest.get(end..end + 2) == Some(b"\r\n"))
            .then_some((1 + end + 2, Kind::Bulk))
        }
        [b':', rest @ ..] => {
            let digits = rest.iter().take(20).take_while(|it| it.is_ascii_digit()).count();
            (digits > 0 && rest.get(digits..digits + 2) == Some(b"\r\n"))
                .then_some((1 + digits + 2, Kind::Other))
        }
        _ => None,
    }
}

/// Lossless: bodies end at 2^29 and elements at 2^31.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A length; -1 is null.
fn length(text: &[u8], max: u64, line: &[u8]) -> Result<Option<u64>, NoResp> {
    if text == b"-1" {
        return Ok(None);
    }
    let digits = text.iter().all(u8::is_ascii_digit) && (1..=10).contains(&text.len());
    let value = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|it| it.parse().ok());
    value.filter(|it| *it <= max).map(Some).ok_or_else(|| unexpected("a length", line))
}

fn check_type(kind: u8, bytes: &[u8]) -> Result<(), NoResp> {
    if b"+-:$*_#,(!=%~>|".contains(&kind) { Ok(()) } else { Err(unexpected("a reply", bytes)) }
}

fn unexpected(wanted: &str, found: &[u8]) -> NoResp {
    let shown = found[..found.len().min(40)].escape_ascii();
    NoResp(format!("`{shown}` where {wanted} should be"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    /// Scans `bytes` in the given pieces.
    fn scan_in(bytes: &[u8], pieces: impl Fn(usize) -> usize) -> Result<Counts, NoResp> {
        let (mut scanner, mut total, mut at) = (Scanner::default(), (0, 0, 0, 0, 0), 0);
        while at < bytes.len() {
            let end = bytes.len().min(at + pieces(at).max(1));
            let mut rest = &bytes[at..end];
            while !rest.is_empty() {
                let found = scanner.scan(rest, u32::MAX)?;
                total.0 += found.replies;
                total.1 += found.nulls;
                total.2 += u32::from(found.error.is_some());
                total.3 += found.oks;
                total.4 += found.bulks;
                rest = found.rest;
            }
            at = end;
        }
        assert!(scanner.is_between(), "{scanner:?}");
        Ok(total)
    }

    /// Replies, nulls, errors, OKs, bulk strings and nulls.
    type Counts = (u32, u32, u32, u32, u32);

    #[rustfmt::skip] // One row per kind of reply.
    const REPLIES: &[(&[u8], Counts)] = &[
        (b"+OK\r\n", (1, 0, 0, 1, 0)),
        (b"+PONG\r\n", (1, 0, 0, 0, 0)),
        (b":123\r\n:-5\r\n", (2, 0, 0, 0, 0)),
        (b"$16\r\n0123456789abcdef\r\n", (1, 0, 0, 0, 1)),
        (b"$0\r\n\r\n", (1, 0, 0, 0, 1)),
        (b"$4\r\n\r\n\r\n\r\n", (1, 0, 0, 0, 1)),
        (b"$-1\r\n_\r\n*-1\r\n", (3, 3, 0, 0, 2)),
        (b"-ERR unknown command\r\n", (1, 0, 1, 0, 0)),
        (b"*0\r\n%0\r\n~0\r\n", (3, 0, 0, 0, 0)),
        (b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n+b\r\n$-1\r\n", (1, 1, 0, 0, 0)),
        (b"*2\r\n+OK\r\n-ERR inside\r\n", (1, 0, 0, 0, 0)),
        (b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n,1.5\r\n", (1, 0, 0, 0, 0)),
        (b"#t\r\n(123456789012345678901234567890\r\n=7\r\ntxt:abc\r\n", (3, 0, 0, 0, 1)),
        (b">2\r\n+message\r\n$2\r\nhi\r\n", (0, 0, 0, 0, 0)),
        (b">1\r\n+invalidate\r\n+OK\r\n", (1, 0, 0, 1, 0)),
        (b"|1\r\n+ttl\r\n:5\r\n$1\r\nx\r\n", (1, 0, 0, 0, 0)),
    ];

    #[test]
    fn every_kind_of_reply_is_counted_however_it_is_torn() {
        for (bytes, expected) in REPLIES {
            for len in 1..=bytes.len() {
                let found = scan_in(bytes, |_| len);
                assert_eq!(found, Ok(*expected), "{} by {len}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn a_long_stream_counts_the_same_in_random_pieces() {
        let (mut bytes, mut expected) = (Vec::new(), (0, 0, 0, 0, 0));
        let mut draw = Draw::new(1, 1);
        for _ in 0..2000 {
            let (reply, counts) = REPLIES[crate::draw::to_usize(draw.below(REPLIES.len() as u64))];
            bytes.extend_from_slice(reply);
            expected.0 += counts.0;
            expected.1 += counts.1;
            expected.2 += counts.2;
            expected.3 += counts.3;
            expected.4 += counts.4;
        }
        for seed in 0..200 {
            let piece = |at| crate::draw::to_usize(Draw::new(seed, at as u64).below(1 + seed * 3));
            assert_eq!(scan_in(&bytes, piece), Ok(expected), "seed {seed}");
        }
    }

    #[test]
    fn what_is_no_resp_is_said_so() {
        let check = |bytes: &[u8], because: &str| {
            for len in 1..=bytes.len() {
                let NoResp(text) = scan_in(bytes, |_| len).unwrap_err();
                assert!(text.contains(because), "{text}");
            }
        };
        check(b"HTTP/1.1 400 Bad Request\r\n", "where a reply should be");
        check(b"+OK\r\nx", "where a reply should be");
        check(b"$x\r\n", "where a length should be");
        check(b"$99999999999\r\n", "where a length should be");
        check(b"$1\r\nabc\r\n", "where the end of a bulk string should be");
        check(b"*-2\r\n", "where a length should be");
        check(b"+OK\n", "where a line should be");
        check(b"*2147483648\r\n*2147483648\r\n", "without end");
        let endless = vec![b'+'; LINE_MAX + 1];
        assert!(Scanner::default().scan(&endless, 1).is_err());
        assert!(Scanner::default().scan(b"+OK\r\n+OK\r\n", 1).is_err());
        assert!(Scanner::default().scan(b"+OK\r\n-ERR\r\n", 1).is_err());
    }

    #[test]
    fn an_error_stops_the_scan_behind_it() {
        let mut scanner = Scanner::default();
        let found = scanner.scan(b"+OK\r\n-LOADING wait\r\n+OK\r\n", 3).unwrap();
        assert_eq!((found.replies, found.rest), (2, &b"+OK\r\n"[..]));
        assert_eq!(found.error.as_deref(), Some(&b"LOADING wait"[..]));
    }
}
