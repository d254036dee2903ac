//! Replies, written straight into the buffer that the caller lends, in RESP2 or RESP3.
//!
//! Every method appends exactly one value or one header; nothing is allocated but by the buffer's
//! own growth. A header promises how many values follow, and nobody here counts them: the command
//! that writes it must keep its word, else every later reply of the connection is misread.
//!
//! Where RESP2 lacks a kind, Redis' own substitute is written: a map is a flat array, a double or
//! big number a bulk string, a boolean 0 or 1.
//!
//! Not here: error texts (`error.rs`), whose turn it is to be answered (`node/session.rs`).

use crate::base::num;
use crate::resp::error::ErrorKind;

/// What the client asked for with `HELLO`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Proto {
    #[default]
    Resp2,
    Resp3,
}

/// Writes replies into a buffer lent by the caller.
pub struct Reply<'o> {
    pub out: &'o mut Vec<u8>,
    pub proto: Proto,
}

impl Reply<'_> {
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A status. Line ends in `text` become spaces.
    pub fn simple(&mut self, text: &[u8]) {
        let one_line = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        self.out.push(b'+');
        self.out.extend(text.iter().map(one_line));
        self.raw(b"\r\n");
    }

    pub fn error(&mut self, error: &ErrorKind) {
        error.write_to(self.out);
    }

    #[inline]
    pub fn int(&mut self, number: i64) {
        match usize::try_from(number) {
            Ok(number) => header(self.out, b':', number),
            Err(_) => long_header(self.out, b':', number),
        }
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 16);
        header(self.out, b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// No value.
    pub fn null(&mut self) {
        self.either(b"$-1\r\n", b"_\r\n");
    }

    /// No value, where an array was to be expected.
    pub fn null_array(&mut self) {
        self.either(b"*-1\r\n", b"_\r\n");
    }

    pub fn array(&mut self, len: usize) {
        header(self.out, b'*', len);
    }

    /// `pairs` keys, each followed by its value.
    pub fn map(&mut self, pairs: usize) {
        match self.proto {
            Proto::Resp2 => header(self.out, b'*', pairs * 2),
            Proto::Resp3 => header(self.out, b'%', pairs),
        }
    }

    pub fn set(&mut self, len: usize) {
        self.aggregate(b'~', len);
    }

    /// A message that answers no request: pub/sub, invalidations.
    pub fn push(&mut self, len: usize) {
        self.aggregate(b'>', len);
    }

    pub fn double(&mut self, value: f64) {
        match self.proto {
            Proto::Resp2 => {
                let mut text = Vec::with_capacity(32);
                num::write_g17(&mut text, value);
                self.bulk(&text);
            }
            Proto::Resp3 => {
                self.out.push(b',');
                num::write_g17(self.out, value);
                self.raw(b"\r\n");
            }
        }
    }

    /// An integer of any length, as its decimal digits.
    pub fn big_number(&mut self, digits: &[u8]) {
        match self.proto {
            Proto::Resp2 => self.bulk(digits),
            Proto::Resp3 => {
                self.raw(b"(");
                self.raw(digits);
                self.raw(b"\r\n");
            }
        }
    }

    pub fn bool(&mut self, value: bool) {
        if value { self.either(b":1\r\n", b"#t\r\n") } else { self.either(b":0\r\n", b"#f\r\n") }
    }

    /// Text for people; `ext` says which kind: `txt` or `mkd`.
    pub fn verbatim(&mut self, ext: [u8; 3], text: &[u8]) {
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => {
                header(self.out, b'=', text.len() + 4);
                self.raw(&ext);
                self.raw(b":");
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// Bytes that are RESP already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn either(&mut self, resp2: &[u8], resp3: &[u8]) {
        self.raw(match self.proto {
            Proto::Resp2 => resp2,
            Proto::Resp3 => resp3,
        });
    }

    fn aggregate(&mut self, resp3: u8, len: usize) {
        let mark = match self.proto {
            Proto::Resp2 => b'*',
            Proto::Resp3 => resp3,
        };
        header(self.out, mark, len);
    }
}

/// Appends a request as clients and masters send it: an array of bulk strings.
pub fn write_request(out: &mut Vec<u8>, args: &[&[u8]]) {
    let mut reply = Reply { out, proto: Proto::Resp2 };
    reply.array(args.len());
    args.iter().for_each(|arg| reply.bulk(arg));
}

/// Mark, number, line end: one copy of a few bytes for the numbers that occur.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "each digit is below 10")]
fn header(out: &mut Vec<u8>, mark: u8, number: usize) {
    let digit = |place: usize| b'0' + (number / place % 10) as u8;
    match number {
        0..10 => out.extend_from_slice(&[mark, digit(1), b'\r', b'\n']),
        10..100 => out.extend_from_slice(&[mark, digit(10), digit(1), b'\r', b'\n']),
        100..1_000 => {
            out.extend_from_slice(&[mark, digit(100), digit(10), digit(1), b'\r', b'\n']);
        }
        1_000..10_000 => out.extend_from_slice(&[
            mark,
            digit(1_000),
            digit(100),
            digit(10),
            digit(1),
            b'\r',
            b'\n',
        ]),
        _ => long_header(out, mark, i64::try_from(number).unwrap_or(i64::MAX)),
    }
}

#[cold]
fn long_header(out: &mut Vec<u8>, mark: u8, number: i64) {
    out.push(mark);
    num::write_i64(out, number);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl Fn(&mut Reply<'_>), resp2: &str, resp3: &str) {
        for (proto, expected) in [(Proto::Resp2, resp2), (Proto::Resp3, resp3)] {
            let mut out = Vec::new();
            write(&mut Reply { out: &mut out, proto });
            assert_eq!(String::from_utf8_lossy(&out), expected, "{proto:?}");
        }
    }

    #[test]
    fn each_kind_in_both_protocols() {
        check(|r| r.ok(), "+OK\r\n", "+OK\r\n");
        check(|r| r.simple(b"a\r\nb"), "+a  b\r\n", "+a  b\r\n");
        check(|r| r.error(&ErrorKind::Syntax), "-ERR syntax error\r\n", "-ERR syntax error\r\n");
        check(|r| r.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n");
        check(|r| r.bulk(b"0123456789"), "$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n");
        check(|r| r.null(), "$-1\r\n", "_\r\n");
        check(|r| r.null_array(), "*-1\r\n", "_\r\n");
        check(|r| r.array(3), "*3\r\n", "*3\r\n");
        check(|r| r.map(3), "*6\r\n", "%3\r\n");
        check(|r| r.set(3), "*3\r\n", "~3\r\n");
        check(|r| r.push(3), "*3\r\n", ">3\r\n");
        check(|r| r.double(3.1), "$18\r\n3.1000000000000001\r\n", ",3.1000000000000001\r\n");
        check(|r| r.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
        check(|r| r.big_number(b"123"), "$3\r\n123\r\n", "(123\r\n");
        check(|r| r.bool(true), ":1\r\n", "#t\r\n");
        check(|r| r.bool(false), ":0\r\n", "#f\r\n");
        check(|r| r.verbatim(*b"txt", b"hi"), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n");
    }

    #[test]
    fn numbers_of_every_length() {
        let mut numbers: Vec<i64> = vec![0, i64::MAX, i64::MIN, -1, -10];
        numbers.extend((0..19).flat_map(|n| [10_i64.pow(n), 10_i64.pow(n) - 1, -(10_i64.pow(n))]));
        for number in numbers {
            check(|r| r.int(number), &format!(":{number}\r\n"), &format!(":{number}\r\n"));
        }
    }

    #[test]
    fn requests_are_arrays_of_bulk_strings() {
        let mut out = Vec::new();
        write_request(&mut out, &[b"PING", b""]);
        assert_eq!(out, b"*2\r\n$4\r\nPING\r\n$0\r\n\r\n");
    }
}
