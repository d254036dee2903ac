//! Replies, read by whoever sent the request: load generator, tests, the link to a master.
//!
//! [`skip`] only finds where the first reply ends; it allocates nothing and is what a load
//! generator runs a million times a second. [`Scan`] is the same for a reply that arrives in
//! pieces: it goes on where it stopped, so that a long reply costs linear time. [`decode`] builds
//! the [`Value`], and does so only once all of it is here.
//!
//! Bounded: depth, elements and string length by `base/limits.rs`; memory by the bytes that have
//! arrived, for nothing is reserved on an announcement.
//!
//! Not here: streamed aggregates (`$?`, `*?`). The RESP3 text describes them, no server sends them.

use crate::base::limits::{
    LINE_BYTES_MAX, REPLY_BULK_BYTES_MAX, REPLY_DEPTH_MAX, REPLY_ELEMENTS_MAX,
};
use crate::base::num;

/// One reply, RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Simple(Vec<u8>),
    /// An error, without its mark.
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// `_`, `$-1` or `*-1`.
    Null,
    Bool(bool),
    Double(f64),
    BigNumber(Vec<u8>),
    Verbatim {
        ext: [u8; 3],
        text: Vec<u8>,
    },
    Array(Vec<Self>),
    Set(Vec<Self>),
    Push(Vec<Self>),
    Map(Vec<(Self, Self)>),
    /// A value about which the server says more.
    Attributed {
        attributes: Vec<(Self, Self)>,
        value: Box<Self>,
    },
}

/// Why the bytes are no reply. The link is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// No kind begins with this byte.
    Mark(u8),
    /// A number, boolean, double or length that is none, or is too large.
    Number,
    /// A line without its end, or a string longer than announced.
    Line,
    Depth,
}

/// Where the first reply ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skipped {
    pub len: usize,
    /// The byte that it begins with.
    pub mark: u8,
}

impl Skipped {
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self.mark, b'-' | b'!')
    }

    /// Not an answer to any request.
    #[must_use]
    pub fn is_push(&self) -> bool {
        self.mark == b'>'
    }
}

/// The first reply and its length, if all of it is here.
pub fn decode(input: &[u8]) -> Result<Option<(Value, usize)>, DecodeError> {
    let Some(Skipped { len, .. }) = skip(input)? else { return Ok(None) };
    let mut rest = input.get(..len).unwrap_or_default();
    Ok(Some((value(&mut rest, REPLY_DEPTH_MAX)?, len)))
}

/// How long the first reply is, if all of it is here.
#[inline]
pub fn skip(input: &[u8]) -> Result<Option<Skipped>, DecodeError> {
    Scan::default().resume(input)
}

/// The search for the end of one reply. `resume` is given the same bytes each time, and more.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// Bytes of the reply that are done with.
    at: usize,
    /// Values that are still to come.
    pending: u64,
}

impl Default for Scan {
    fn default() -> Self {
        Self { at: 0, pending: 1 }
    }
}

impl Scan {
    /// `None`: call again with more bytes.
    #[inline]
    pub fn resume(&mut self, input: &[u8]) -> Result<Option<Skipped>, DecodeError> {
        while self.pending > 0 {
            let mut rest = input.get(self.at..).unwrap_or_default();
            let before = rest.len();
            let Some(header) = Header::take(&mut rest)? else { return Ok(None) };
            let more = match header {
                Header::Line { .. } | Header::Null => 0,
                Header::Bulk { len, .. } => {
                    if take_bulk(&mut rest, len)?.is_none() {
                        return Ok(None);
                    }
                    0
                }
                Header::Aggregate { mark, len } => children(mark, len),
            };
            self.at += before - rest.len();
            self.pending = self.pending - 1 + more;
        }
        Ok(input.first().map(|&mark| Skipped { len: self.at, mark }))
    }
}

/// The line that every value begins with.
enum Header<'a> {
    Line { mark: u8, text: &'a [u8] },
    Bulk { mark: u8, len: usize },
    Aggregate { mark: u8, len: usize },
    Null,
}

impl<'a> Header<'a> {
    /// `None`: its end has not arrived.
    #[inline]
    fn take(input: &mut &'a [u8]) -> Result<Option<Self>, DecodeError> {
        let Some(&mark) = input.first() else { return Ok(None) };
        if !b"+-:$*_#,(!=%~>|".contains(&mark) {
            return Err(DecodeError::Mark(mark));
        }
        let Some(end) = memchr::memchr(b'\n', input) else {
            return if input.len() > LINE_BYTES_MAX { Err(DecodeError::Line) } else { Ok(None) };
        };
        let (line, rest) = input.split_at_checked(end + 1).ok_or(DecodeError::Line)?;
        let Some([_, text @ ..]) = line.strip_suffix(b"\r\n") else {
            return Err(DecodeError::Line);
        };
        *input = rest;
        let (limit, is_bulk) = match mark {
            b'$' | b'!' | b'=' => (REPLY_BULK_BYTES_MAX, true),
            b'*' | b'~' | b'>' | b'%' | b'|' => (REPLY_ELEMENTS_MAX, false),
            _ => return Ok(Some(Self::Line { mark, text })),
        };
        let len = match text {
            b"-1" if matches!(mark, b'$' | b'*') => return Ok(Some(Self::Null)),
            // One digit is by far the most frequent length.
            [digit @ b'0'..=b'9'] => usize::from(digit - b'0'),
            _ => num::parse_i64(text)
                .and_then(|len| usize::try_from(len).ok())
                .filter(|&len| len <= limit)
                .ok_or(DecodeError::Number)?,
        };
        Ok(Some(if is_bulk { Self::Bulk { mark, len } } else { Self::Aggregate { mark, len } }))
    }
}

/// The string and its line end. `None`: they have not arrived.
fn take_bulk<'a>(input: &mut &'a [u8], len: usize) -> Result<Option<&'a [u8]>, DecodeError> {
    let Some((text, rest)) = input.split_at_checked(len) else { return Ok(None) };
    match rest {
        [b'\r', b'\n', rest @ ..] => {
            *input = rest;
            Ok(Some(text))
        }
        [] | [b'\r'] => Ok(None),
        _ => Err(DecodeError::Line),
    }
}

/// Values that an aggregate of `len` consists of. Attributes do not count as the value itself.
fn children(mark: u8, len: usize) -> u64 {
    let len = len as u64;
    match mark {
        b'%' => len * 2,
        b'|' => len * 2 + 1,
        _ => len,
    }
}

/// Builds a value all of whose bytes are here.
fn value(input: &mut &[u8], depth: usize) -> Result<Value, DecodeError> {
    let depth = depth.checked_sub(1).ok_or(DecodeError::Depth)?;
    Ok(match Header::take(input)?.ok_or(DecodeError::Line)? {
        Header::Null => Value::Null,
        Header::Line { mark, text } => line(mark, text)?,
        Header::Bulk { mark, len } => {
            let text = take_bulk(input, len)?.ok_or(DecodeError::Line)?;
            match (mark, text) {
                (b'!', text) => Value::Error(text.to_vec()),
                (b'=', [a, b, c, b':', text @ ..]) => {
                    Value::Verbatim { ext: [*a, *b, *c], text: text.to_vec() }
                }
                (b'=', _) => return Err(DecodeError::Line),
                (_, text) => Value::Bulk(text.to_vec()),
            }
        }
        Header::Aggregate { mark: b'%', len } => Value::Map(pairs(input, len, depth)?),
        Header::Aggregate { mark: b'|', len } => {
            let attributes = pairs(input, len, depth)?;
            Value::Attributed { attributes, value: Box::new(value(input, depth)?) }
        }
        Header::Aggregate { mark, len } => {
            let items = (0..len).map(|_| value(input, depth)).collect::<Result<_, _>>()?;
            match mark {
                b'~' => Value::Set(items),
                b'>' => Value::Push(items),
                _ => Value::Array(items),
            }
        }
    })
}

fn pairs(input: &mut &[u8], len: usize, depth: usize) -> Result<Vec<(Value, Value)>, DecodeError> {
    (0..len).map(|_| Ok((value(input, depth)?, value(input, depth)?))).collect()
}

fn line(mark: u8, text: &[u8]) -> Result<Value, DecodeError> {
    let decoded = match mark {
        b'+' => Some(Value::Simple(text.to_vec())),
        b'-' => Some(Value::Error(text.to_vec())),
        b':' => num::parse_i64(text).map(Value::Int),
        b'_' => text.is_empty().then_some(Value::Null),
        b'#' => match text {
            b"t" => Some(Value::Bool(true)),
            b"f" => Some(Value::Bool(false)),
            _ => None,
        },
        b',' if matches!(text, b"nan" | b"-nan") => Some(Value::Double(f64::NAN)),
        b',' => num::parse_f64(text).map(Value::Double),
        _ => {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            all.then(|| Value::BigNumber(text.to_vec()))
        }
    };
    decoded.ok_or(DecodeError::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    /// Every prefix is incomplete, the whole is complete, what follows is left.
    #[track_caller]
    fn check(input: &[u8], expected: &Value) {
        let mut scan = Scan::default();
        for cut in 0..input.len() {
            assert_eq!(skip(&input[..cut]), Ok(None), "cut at {cut}");
            assert_eq!(decode(&input[..cut]), Ok(None), "cut at {cut}");
            assert_eq!(scan.resume(&input[..cut]), Ok(None), "cut at {cut}");
        }
        let followed = [input, b"+OK\r\n"].concat();
        let end = Ok(Some(Skipped { len: input.len(), mark: input[0] }));
        assert_eq!(skip(&followed), end);
        assert_eq!(scan.resume(&followed), end);
        assert_eq!(decode(&followed), Ok(Some((expected.clone(), input.len()))));
    }

    #[test]
    fn each_kind_is_read() {
        use Value::*;
        #[rustfmt::skip]
        let table: &[(&[u8], Value)] = &[
            (b"+OK\r\n", Simple(b"OK".to_vec())), (b"-ERR x\r\n", Error(b"ERR x".to_vec())),
            (b":-7\r\n", Int(-7)), (b"$0\r\n\r\n", bulk("")), (b"$12\r\n0123456789\r\n\r\n", bulk("0123456789\r\n")),
            (b"$-1\r\n", Null), (b"*-1\r\n", Null), (b"_\r\n", Null), (b"#t\r\n", Bool(true)), (b"#f\r\n", Bool(false)),
            (b",1.5\r\n", Double(1.5)), (b",-inf\r\n", Double(f64::NEG_INFINITY)), (b"(-123\r\n", BigNumber(b"-123".to_vec())),
            (b"!5\r\nERR x\r\n", Error(b"ERR x".to_vec())), (b"=6\r\ntxt:hi\r\n", Verbatim { ext: *b"txt", text: b"hi".to_vec() }),
            (b"*0\r\n", Array(vec![])), (b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n", Array(vec![Int(1), Array(vec![bulk("a")])])),
            (b"~1\r\n:1\r\n", Set(vec![Int(1)])), (b">1\r\n:1\r\n", Push(vec![Int(1)])),
            (b"%1\r\n+a\r\n:1\r\n", Map(vec![(Simple(b"a".to_vec()), Int(1))])),
            (b"|1\r\n+a\r\n:1\r\n*1\r\n:2\r\n", Attributed { attributes: vec![(Simple(b"a".to_vec()), Int(1))], value: Box::new(Array(vec![Int(2)])) }),
        ];
        for (input, expected) in table {
            check(input, expected);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        use DecodeError::*;
        let deep = [&b"*1\r\n".repeat(REPLY_DEPTH_MAX)[..], b":1\r\n"].concat();
        #[rustfmt::skip]
        let table: &[(&[u8], DecodeError)] = &[
            (b"x", Mark(b'x')), (b"\r\n", Mark(b'\r')), (b"+OK\n", Line), (b"$1\r\nabc", Line), (b"$a\r\n", Number),
            (b"$-2\r\n", Number), (b"~-1\r\n", Number), (b"*99999999999\r\n", Number), (b"$99999999999\r\n", Number), (b"$?\r\n", Number),
            (b":1a\r\n", Number), (b"#x\r\n", Number), (b"_x\r\n", Number), (b",x\r\n", Number), (b"(-\r\n", Number),
            (b"=2\r\nab\r\n", Line), (&[b'+'; LINE_BYTES_MAX + 1], Line), (&deep, Depth),
        ];
        for (input, error) in table {
            assert_eq!(decode(input), Err(*error), "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn an_announcement_reserves_nothing() {
        assert_eq!(decode(b"*4294967295\r\n:1\r\n"), Ok(None));
        assert_eq!(decode(b"$4294967296\r\nabc"), Ok(None));
    }

    #[test]
    fn errors_and_pushes_are_told_apart() {
        let mark = |input| skip(input).unwrap().unwrap();
        assert!(mark(b"-ERR\r\n").is_error() && mark(b"!1\r\nE\r\n").is_error());
        assert!(!mark(b"+OK\r\n").is_error() && mark(b">0\r\n").is_push());
    }
}
