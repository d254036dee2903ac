//! Requests, put together from pieces: the careful half of the parser.
//!
//! A request that is split over reads is collected here: its arguments in one buffer, one after
//! another, and where each ends. Every byte is looked at once, so a request costs time in
//! proportion to its length however it arrives, and memory in proportion to what *has arrived*:
//! an announced length reserves at most [`RESERVE_BYTES_MAX`].
//!
//! Here too is every rule of the protocol that a flawless whole request does not need: inline and
//! empty requests, limits, errors. All of them hold for any cut of the input:
//!
//! ```text
//!   Header --*n--> Argument --$len--> Bulk --len bytes--> End --CRLF--> Argument | Complete
//!     ^  |  `inline line --words--> Complete
//!     `--' *0, *-1, a blank line
//! ```
//!
//! An error is reported at the first byte that makes it certain; the connection is then to be
//! closed, and the state is of no further use.
//!
//! The trap: where Redis skips two bytes after a bulk without looking, this refuses anything but
//! CR LF (as Valkey does): a wrong length is noticed at once and not misread as the next request.
//!
//! Not here: whole requests (`request.rs`), closing and logging (`runtime/`).

use crate::base::limits::LINE_BYTES_MAX;
use crate::base::num;
use crate::resp::error::ProtocolError;
use crate::resp::inline;
use crate::resp::request::{self, RequestLimits};

/// Reserved on the strength of an announcement alone, and kept between requests.
pub const RESERVE_BYTES_MAX: usize = 64 * 1024;

/// The request of one connection that is not complete yet, or is just being executed.
#[derive(Debug, Default)]
pub struct Partial {
    state: State,
    /// The header or inline request whose end has not arrived.
    line: Vec<u8>,
    /// The arguments so far, without anything between them.
    bytes: Vec<u8>,
    /// Where each complete argument ends in `bytes`.
    ends: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Header,
    /// `left` arguments are missing.
    Argument {
        left: usize,
    },
    /// `missing` bytes of the first of them.
    Bulk {
        left: usize,
        missing: usize,
    },
    /// Only its CR LF, of which the CR may be here.
    End {
        left: usize,
        cr: bool,
    },
    Complete,
}

/// What [`Partial::feed`] made of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// All of it is taken; more is needed.
    More,
    /// A request is complete; it ended after `used` bytes of the input.
    Request { used: usize },
}

impl Partial {
    /// Takes bytes up to the end of one request. After a complete one, [`Partial::clear`] comes
    /// before the next byte.
    pub fn feed(&mut self, input: &[u8], limits: &RequestLimits) -> Result<Fed, ProtocolError> {
        assert!(self.state != State::Complete, "the last request was not cleared");
        let mut rest = input;
        while !rest.is_empty() {
            match self.state {
                State::Header => self.take_header(&mut rest, limits)?,
                State::Argument { left } => self.take_argument(&mut rest, left, limits)?,
                State::Bulk { left, missing } => self.take_bulk(&mut rest, left, missing),
                State::End { left, cr } => self.take_end(&mut rest, left, cr)?,
                State::Complete => break,
            }
        }
        Ok(match self.state {
            State::Complete => Fed::Request { used: input.len() - rest.len() },
            _ => Fed::More,
        })
    }

    /// Appends the arguments of the complete request.
    pub fn args<'a>(&'a self, args: &mut Vec<&'a [u8]>) {
        assert!(self.state == State::Complete, "arguments are missing");
        let mut start = 0;
        args.extend(self.ends.iter().map(|&end| {
            let from = std::mem::replace(&mut start, end);
            self.bytes.get(from..end).unwrap_or_default()
        }));
    }

    /// Nothing of a request is here: whole ones may be read past this.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state == State::Header && self.line.is_empty()
    }

    /// Forgets the request, and gives back what a large one needed.
    pub fn clear(&mut self) {
        self.state = State::Header;
        self.line.clear();
        self.bytes.clear();
        self.ends.clear();
        if self.memory() > RESERVE_BYTES_MAX * 2 {
            *self = Self::default();
        }
    }

    /// Bytes allocated: what counts against a client's memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.line.capacity()
            + self.bytes.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + size_of::<Self>()
    }

    fn take_header(
        &mut self,
        input: &mut &[u8],
        limits: &RequestLimits,
    ) -> Result<(), ProtocolError> {
        if self.line.first().or(input.first()) != Some(&b'*') {
            return self.take_inline(input);
        }
        let error = (ProtocolError::MultibulkLength, ProtocolError::MultibulkLine);
        let Some(count) = self.take_number(input, error)? else { return Ok(()) };
        let Ok(count @ 1..) = usize::try_from(count) else { return Ok(()) }; // none: an empty request
        if count > limits.args_max {
            return Err(ProtocolError::MultibulkLength);
        }
        if count > limits.args_max_now() {
            return Err(ProtocolError::UnauthenticatedMultibulk);
        }
        self.state = State::Argument { left: count };
        Ok(())
    }

    fn take_argument(
        &mut self,
        input: &mut &[u8],
        left: usize,
        limits: &RequestLimits,
    ) -> Result<(), ProtocolError> {
        match self.line.first().or(input.first()) {
            Some(b'$') | None => {}
            Some(&got) => return Err(ProtocolError::ExpectedDollar { got }),
        }
        let error = (ProtocolError::BulkLength, ProtocolError::BulkLine);
        let Some(len) = self.take_number(input, error)? else { return Ok(()) };
        let len = usize::try_from(len).ok().filter(|&len| len <= limits.bulk_bytes_max);
        let len = len.ok_or(ProtocolError::BulkLength)?;
        if len > limits.bulk_bytes_max_now() {
            return Err(ProtocolError::UnauthenticatedBulk);
        }
        self.state = State::Bulk { left, missing: len };
        if len == 0 {
            self.state = State::End { left, cr: false };
        } else if len <= RESERVE_BYTES_MAX {
            self.bytes.reserve(len);
        }
        Ok(())
    }

    fn take_bulk(&mut self, input: &mut &[u8], left: usize, missing: usize) {
        let (here, rest) = input.split_at_checked(missing).unwrap_or((*input, &[]));
        // The last argument, at most as long as what is here already: no need to double again.
        if left == 1 && missing <= self.bytes.len() {
            self.bytes.reserve_exact(missing);
        }
        self.bytes.extend_from_slice(here);
        *input = rest;
        self.state = match missing - here.len() {
            0 => State::End { left, cr: false },
            missing => State::Bulk { left, missing },
        };
    }

    fn take_end(&mut self, input: &mut &[u8], left: usize, cr: bool) -> Result<(), ProtocolError> {
        let expected = if cr { b'\n' } else { b'\r' };
        let Some((_, rest)) = input.split_first().filter(|(byte, _)| **byte == expected) else {
            return Err(ProtocolError::Crlf);
        };
        *input = rest;
        if !cr {
            self.state = State::End { left, cr: true };
            return Ok(());
        }
        self.ends.push(self.bytes.len());
        self.state = match left - 1 {
            0 => self.complete()?,
            left => State::Argument { left },
        };
        Ok(())
    }

    fn complete(&self) -> Result<State, ProtocolError> {
        let name = self.ends.first().and_then(|&end| self.bytes.get(..end)).unwrap_or_default();
        if request::is_http(name) { Err(ProtocolError::Http) } else { Ok(State::Complete) }
    }

    /// A mark, digits, CR LF, as far as they have come. `errors`: no number; no end.
    fn take_number(
        &mut self,
        input: &mut &[u8],
        (no_number, no_end): (ProtocolError, ProtocolError),
    ) -> Result<Option<i64>, ProtocolError> {
        if self.line.last() != Some(&b'\r') {
            let end = memchr::memchr2(b'\r', b'\n', input);
            let upto = end.unwrap_or(input.len());
            if self.line.len() + upto > LINE_BYTES_MAX {
                return Err(no_end);
            }
            let (here, rest) = input.split_at_checked(upto).unwrap_or((*input, &[]));
            self.line.extend_from_slice(here);
            match rest {
                [] => {
                    *input = rest;
                    return Ok(None);
                }
                [b'\r', rest @ ..] => {
                    self.line.push(b'\r');
                    *input = rest;
                }
                _ => return Err(no_number), // a lone LF ends nothing
            }
        }
        match input.split_first() {
            None => Ok(None),
            Some((b'\n', rest)) => {
                *input = rest;
                let digits = self.line.get(1..self.line.len() - 1).unwrap_or_default();
                let number = num::parse_i64(digits).ok_or(no_number)?;
                self.line.clear();
                Ok(Some(number))
            }
            Some(_) => Err(ProtocolError::Crlf),
        }
    }

    fn take_inline(&mut self, input: &mut &[u8]) -> Result<(), ProtocolError> {
        let end = memchr::memchr(b'\n', input);
        let from = self.line.len();
        // One byte over the limit is enough to know.
        let room = LINE_BYTES_MAX + 1 - from;
        let here = input.get(..end.unwrap_or(input.len()).min(room)).unwrap_or_default();
        self.line.extend_from_slice(here);
        if self.line.starts_with(b"\x16\x03") {
            return Err(ProtocolError::Tls);
        }
        if memchr::memchr(0, here).is_some() {
            return Err(ProtocolError::InlineNul);
        }
        if self.line.len() > LINE_BYTES_MAX {
            return Err(ProtocolError::InlineLine);
        }
        let Some(end) = end else {
            *input = &[];
            return Ok(());
        };
        *input = input.get(end + 1..).unwrap_or_default();
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if let Some(error) = inline::foreign(line) {
            return Err(error);
        }
        inline::split(line, &mut self.bytes, &mut self.ends)?;
        self.line.clear();
        if !self.ends.is_empty() {
            self.state = self.complete()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::resp::reply::write_request;

    type Requests = Vec<Vec<Vec<u8>>>;

    const OPEN: RequestLimits = RequestLimits::DEFAULT;
    const UNAUTHENTICATED: RequestLimits = RequestLimits { authenticated: false, ..OPEN };

    /// Reads the pieces as a connection does: whole requests in place, the others through `Partial`.
    fn read(pieces: &[&[u8]], limits: &RequestLimits) -> (Requests, Option<ProtocolError>) {
        let (mut partial, mut requests) = (Partial::default(), Vec::new());
        let own = |args: &[&[u8]]| args.iter().map(|arg| arg.to_vec()).collect::<Vec<_>>();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let mut args = Vec::new();
                if partial.is_idle()
                    && let Some(used) = request::next(rest, limits, &mut args)
                {
                    requests.push(own(&args));
                    rest = &rest[used..];
                    continue;
                }
                match partial.feed(rest, limits) {
                    Err(error) => return (requests, Some(error)),
                    Ok(Fed::More) => break,
                    Ok(Fed::Request { used }) => {
                        partial.args(&mut args);
                        requests.push(own(&args));
                        partial.clear();
                        rest = &rest[used..];
                    }
                }
            }
        }
        (requests, None)
    }

    /// Whole, byte by byte, and cut in two at every place (long inputs: at some).
    #[track_caller]
    fn check(
        input: &[u8],
        limits: &RequestLimits,
        commands: &[&str],
        error: Option<ProtocolError>,
    ) {
        let expected: Requests = commands
            .iter()
            .map(|it| it.split(' ').map(|word| word.as_bytes().to_vec()).collect())
            .collect();
        let shown = String::from_utf8_lossy(&input[..input.len().min(80)]).into_owned();
        let whole = read(&[input], limits);
        assert_eq!(whole, (expected, error), "{shown:?}");
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(read(&bytes, limits), whole, "{shown:?} byte by byte");
        for cut in (0..input.len()).step_by(input.len() / 256 + 1) {
            let (a, b) = input.split_at(cut);
            assert_eq!(read(&[a, b], limits), whole, "{shown:?} cut at {cut}");
        }
    }

    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

    #[test]
    fn requests_that_are_read() {
        #[rustfmt::skip]
        let table: &[(&[u8], &[&str])] = &[
            (b"*0\r\n", &[]), (b"*-1\r\n", &[]), (b"*-2147483649\r\n", &[]), (b"*-9223372036854775808\r\n", &[]),
            (b"*1\r\n$0\r\n\r\n", &[""]), (b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n", &["ECHO \r\n"]),
            (b"\r\n", &[]), (b"\n", &[]), (b"   \r\n", &[]), (b"\r\r\n", &[]),
            (b"ping\n", &["ping"]), (b"ping\r\n", &["ping"]), (b"echo \"a\"\r\n", &["echo a"]), (b"\"\"\r\n", &[""]),
            (b"%1\r\n", &["%1"]), (b"_\r\n", &["_"]), (b"~1\r\n", &["~1"]), (b"#t\r\n", &["#t"]), (b"$4\r\n", &["$4"]),
            (b"SET k HTTP/1.1\r\n", &["SET k HTTP/1.1"]), (b"\x16\n", &["\x16"]),
        ];
        for (input, expected) in table {
            let commands = [expected, &["PING"][..]].concat();
            check(&[input, PING].concat(), &OPEN, &commands, None);
        }
    }

    #[test]
    fn bytes_that_are_refused() {
        use ProtocolError::*;
        let digits = |start: &str| [start.as_bytes(), &b"1".repeat(70_000)].concat();
        #[rustfmt::skip]
        let table: &[(&[u8], ProtocolError)] = &[
            (b"*2147483648\r\n", MultibulkLength), (b"*99999999999999999999\r\n", MultibulkLength), (b"*abc\r\n", MultibulkLength),
            (b"* 1\r\n", MultibulkLength), (b"*+1\r\n", MultibulkLength), (b"*01\r\n", MultibulkLength), (b"*1.0\r\n", MultibulkLength),
            (b"*-0\r\n", MultibulkLength), (b"*\r\n", MultibulkLength), (b"*1\0\r\n", MultibulkLength), (b"*1\n$4\nPING\n", MultibulkLength),
            (b"*1\r\n$-1\r\n", BulkLength), (b"*1\r\n$abc\r\n", BulkLength), (b"*1\r\n$536870913\r\n", BulkLength),
            (b"*1\r\n$9223372036854775807\r\n", BulkLength), (b"*1\r\n$04\r\nPING\r\n", BulkLength), (b"*1\r\n$4\n", BulkLength),
            (b"*1\r\n!", ExpectedDollar { got: b'!' }), (b"*1\r\n:4\r\n", ExpectedDollar { got: b':' }),
            (b"*1\r\n*1\r\n", ExpectedDollar { got: b'*' }), (b"*1\r\n\r\n", ExpectedDollar { got: b'\r' }), (b"*1\r\n\0", ExpectedDollar { got: 0 }),
            (b"*1\r\n$4\r\nPINGxx", Crlf), (b"*1\r\n$4\r\nPING\rx", Crlf), (b"*1\rX", Crlf), (b"*1\r\n$4\rX", Crlf),
            (&digits("*"), MultibulkLine), (&digits("*1\r\n$"), BulkLine), (&digits(""), InlineLine),
            (b"set a \"b\r\n", UnbalancedQuotes), (b"set a 'b'c\r\n", UnbalancedQuotes), (b"a\0b\r\n", InlineNul),
            (b"GET / HTTP/1.1\r\n", Http), (b"POST / HTTP/1.1\r\n", Http), (b"host: x\r\n", Http), (b"PUT /x HTTP/1.0\r\n", Http),
            (b"*2\r\n$4\r\nPOST\r\n$1\r\na\r\n", Http), (b"*1\r\n$5\r\nHost:\r\n", Http),
            (b"\x16\x03\x01\x02\x00\x01\x00", Tls), (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 2\r\n", ProxyPreamble),
            (b"\r\n\r\n\0\r\nQUIT\n", InlineNul),
        ];
        for (input, error) in table {
            check(&[PING, input, PING].concat(), &OPEN, &["PING"], Some(*error));
        }
    }

    #[test]
    fn a_stranger_may_not_ask_for_much() {
        use ProtocolError::*;
        let long = [&b"*1\r\n$16384\r\n"[..], &[b'x'; 16_384], b"\r\n"].concat();
        check(&long, &UNAUTHENTICATED, &[&"x".repeat(16_384)], None);
        check(b"*11\r\n", &UNAUTHENTICATED, &[], Some(UnauthenticatedMultibulk));
        check(b"*1048577\r\n", &UNAUTHENTICATED, &[], Some(UnauthenticatedMultibulk));
        check(b"*2147483648\r\n", &UNAUTHENTICATED, &[], Some(MultibulkLength));
        check(b"*10\r\n$16385\r\n", &UNAUTHENTICATED, &[], Some(UnauthenticatedBulk));
        check(b"*10\r\n$99999999999\r\n", &UNAUTHENTICATED, &[], Some(BulkLength));
    }

    #[test]
    fn lines_end_within_their_limit() {
        let line = |len: usize| [&b"a".repeat(len)[..], b"\n"].concat();
        let name = "a".repeat(LINE_BYTES_MAX);
        check(&line(LINE_BYTES_MAX), &OPEN, &[&name], None);
        check(&line(LINE_BYTES_MAX + 1), &OPEN, &[], Some(ProtocolError::InlineLine));
    }

    /// Random requests, damaged here and there, cut anywhere: the pieces say what the whole says.
    #[test]
    fn any_cut_gives_the_same_requests() {
        for seed in 0..3_000 {
            let mut prng = Prng::new(seed);
            let mut below = |bound: u64| usize::try_from(prng.below(bound)).unwrap();
            let mut input = Vec::new();
            for _ in 0..below(6) {
                match below(5) {
                    0 => input.extend_from_slice(b"set \"a b\" 'c'\r\n"),
                    1 => input.extend_from_slice(b"*0\r\n\r\n"),
                    _ => {
                        let arg = vec![b'$'; below(40)];
                        write_request(&mut input, &vec![&arg[..]; below(5)]);
                    }
                }
            }
            for _ in 0..below(3) {
                if !input.is_empty() {
                    let (at, from) = (below(input.len() as u64), below(12));
                    input[at] = b"*$\r\n01\" '-\0a"[from];
                }
            }
            let whole = read(&[&input], &OPEN);
            for _ in 0..8 {
                let (mut pieces, mut rest) = (Vec::new(), &input[..]);
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(below(rest.len() as u64 + 1));
                    pieces.push(piece);
                    rest = after;
                }
                assert_eq!(read(&pieces, &OPEN), whole, "seed {seed}");
            }
        }
    }

    #[test]
    fn an_announcement_alone_costs_nothing() {
        let mut partial = Partial::default();
        assert_eq!(partial.feed(b"*2147483647\r\n$536870912\r\nabc", &OPEN), Ok(Fed::More));
        assert!(partial.memory() < 1_024, "{}", partial.memory());
    }

    #[test]
    fn large_requests_cost_what_they_weigh() {
        let mut wide = Vec::new();
        write_request(&mut wide, &vec![&b"12345678"[..]; 1_000_000]);
        let mut long = Vec::new();
        write_request(&mut long, &[b"SET", b"key", &vec![b'x'; 64 << 20]]);
        for (request, len) in [(wide, 1_000_000), (long, 3)] {
            let mut partial = Partial::default();
            let (mut fed, mut rest) = (0, &request[..]);
            loop {
                let (piece, after) = rest.split_at(rest.len().min(1_000));
                let result = partial.feed(piece, &OPEN).unwrap();
                (fed, rest) = (fed + piece.len(), after);
                assert!(partial.memory() <= fed * 3 + 2 * RESERVE_BYTES_MAX);
                if after.is_empty() {
                    assert_eq!(result, Fed::Request { used: piece.len() });
                    break;
                }
            }
            let mut args = Vec::new();
            partial.args(&mut args);
            assert_eq!(args.len(), len);
            partial.clear();
            assert!(partial.memory() <= 2 * RESERVE_BYTES_MAX && partial.is_idle());
        }
    }
}
