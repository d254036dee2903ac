//! A master's stream cut into units: single commands, and whole MULTI..EXEC.
//!
//! A unit is what a replica applies and what its offset advances by. A cut of the link in the
//! middle of a transaction must resume at its MULTI, so a transaction is one unit: half of it is
//! never handed out, neither to be executed nor to be acknowledged.
//!
//! The caller keeps the bytes that are not consumed and presents them again with more behind
//! them; the cutter remembers how far it has looked, so a long command that comes in many pieces
//! is looked at once. Only headers are read, arguments are skipped by their length.
//!
//! Bounded: a unit has at most `STREAM_UNIT_BYTES_MAX` bytes, a command `REQUEST_ARGS_MAX`
//! arguments, a header a few digits. A master sends arrays only; a bare line end (a keep-alive)
//! is tolerated as a unit of its own, because it counts in the offset.
//!
//! Not here: what the commands mean, but for MULTI, EXEC, PING and REPLCONF GETACK.

use crate::base::limits::{BULK_BYTES_MAX, REQUEST_ARGS_MAX, STREAM_UNIT_BYTES_MAX};

/// What a unit is, as far as the link must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// One command, to be executed.
    Command,
    /// MULTI, commands, EXEC: to be executed together.
    Transaction,
    /// PING or an empty line: nothing to execute.
    Ping,
    /// `REPLCONF GETACK *`: nothing to execute, but an acknowledgement is wanted now.
    GetAck,
}

/// The bytes are not a stream of commands, or a unit is over its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbage;

/// Where the cutter is in the bytes not yet consumed.
#[derive(Debug, Default)]
pub struct Cutter {
    /// Bytes looked at since the unit began.
    at: usize,
    /// Arguments of the current command still to come; `None` between commands.
    left: Option<usize>,
    /// Arguments it has, and its first two, cut off at a few bytes.
    args: usize,
    words: [Word; 2],
    in_multi: bool,
}

impl Cutter {
    /// The unit that `bytes` begin with and its length, or `None` if they hold only a part of it.
    /// Between two calls without a unit the bytes may only grow.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Option<(Unit, usize)>, Garbage> {
        loop {
            if self.at > STREAM_UNIT_BYTES_MAX {
                return Err(Garbage);
            }
            let rest = bytes.get(self.at..).ok_or(Garbage)?;
            let Some(left) = self.left else {
                if let Some(length) = empty_line(rest).filter(|_| !self.in_multi) {
                    return Ok(Some(self.finish(Unit::Ping, length)));
                }
                let Some((args, length)) = header(b'*', rest, REQUEST_ARGS_MAX)? else {
                    return Ok(None);
                };
                if args == 0 {
                    return Err(Garbage);
                }
                (self.left, self.args, self.words) = (Some(args), args, [Word::default(); 2]);
                self.at += length;
                continue;
            };
            if left == 0 {
                self.left = None;
                match self.command_ends() {
                    Some(unit) => return Ok(Some(self.finish(unit, 0))),
                    None => continue,
                }
            }
            let Some((length, header)) = header(b'$', rest, BULK_BYTES_MAX)? else {
                return Ok(None);
            };
            let Some(arg) = rest.get(header..header + length + 2) else { return Ok(None) };
            if !arg.ends_with(b"\r\n") {
                return Err(Garbage);
            }
            if let Some(word) = self.words.get_mut(self.args - left) {
                *word = Word::new(&arg[..length]);
            }
            self.at += header + length + 2;
            self.left = Some(left - 1);
        }
    }

    /// Bytes of the unit begun that need not be looked at again.
    #[must_use]
    pub fn looked(&self) -> usize {
        self.at
    }

    /// Does a command begin there?
    #[must_use]
    pub fn is_between_commands(&self) -> bool {
        self.left.is_none()
    }

    /// The command just read closes a unit, unless a transaction is open.
    fn command_ends(&mut self) -> Option<Unit> {
        let [name, second] = &self.words;
        if self.in_multi {
            return name.is(b"EXEC").then_some(Unit::Transaction);
        }
        if name.is(b"MULTI") {
            self.in_multi = true;
            return None;
        }
        Some(match () {
            () if name.is(b"PING") => Unit::Ping,
            () if name.is(b"REPLCONF") && second.is(b"GETACK") => Unit::GetAck,
            () => Unit::Command,
        })
    }

    fn finish(&mut self, unit: Unit, more: usize) -> (Unit, usize) {
        let length = self.at + more;
        *self = Self::default();
        (unit, length)
    }
}

/// The beginning of an argument, in upper case: enough to know the few names above.
#[derive(Debug, Default, Clone, Copy)]
struct Word {
    bytes: [u8; 8],
    len: usize,
}

impl Word {
    fn new(arg: &[u8]) -> Self {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(arg).for_each(|(to, from)| *to = from.to_ascii_uppercase());
        Self { bytes, len: arg.len() }
    }

    fn is(&self, name: &[u8]) -> bool {
        self.bytes.get(..self.len) == Some(name)
    }
}

fn empty_line(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

/// `*n\r\n` or `$n\r\n`: the number and the header's length, `None` if it is not all there.
fn header(kind: u8, bytes: &[u8], max: usize) -> Result<Option<(usize, usize)>, Garbage> {
    const DIGITS_MAX: usize = 10;
    match bytes {
        [] | [b'\r'] => return Ok(None),
        [first, ..] if *first != kind => return Err(Garbage),
        _ => {}
    }
    let mut number = 0;
    for (index, &byte) in bytes.iter().enumerate().skip(1).take(DIGITS_MAX + 1) {
        match byte {
            b'0'..=b'9' => number = number * 10 + usize::from(byte - b'0'),
            b'\r' if index > 1 && number <= max => {
                return match bytes.get(index + 1) {
                    Some(b'\n') => Ok(Some((number, index + 2))),
                    Some(_) => Err(Garbage),
                    None => Ok(None),
                };
            }
            _ => return Err(Garbage),
        }
    }
    if bytes.len() > DIGITS_MAX + 1 { Err(Garbage) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::log::{encode_multi, encode_request};

    fn stream() -> (Vec<u8>, Vec<(Unit, usize)>) {
        let (mut bytes, mut units) = (Vec::new(), Vec::new());
        let mut unit = |unit: Unit, write: &dyn Fn(&mut Vec<u8>)| {
            let from = bytes.len();
            write(&mut bytes);
            units.push((unit, bytes.len() - from));
        };
        unit(Unit::Command, &|out| encode_request(&[b"SET", b"k", b"\r\n*1\r\n"], out));
        unit(Unit::Ping, &|out| encode_request(&[b"ping"], out));
        unit(Unit::Transaction, &|out| {
            encode_multi(out, |out| {
                encode_request(&[b"SELECT", b"3"], out);
                encode_request(&[b"SET", b"MULTI", b""], out);
            });
        });
        unit(Unit::Ping, &|out| out.extend_from_slice(b"\r\n"));
        unit(Unit::Ping, &|out| out.push(b'\n'));
        unit(Unit::GetAck, &|out| encode_request(&[b"REPLCONF", b"GETACK", b"*"], out));
        unit(Unit::Command, &|out| encode_request(&[b"REPLCONF", b"GETACKS"], out));
        unit(Unit::Command, &|out| encode_request(&[b"PINGPINGPING", &[b'x'; 300]], out));
        (bytes, units)
    }

    #[test]
    fn any_tearing_gives_the_same_units() {
        let (bytes, expected) = stream();
        for step in [1, 2, 3, 7, 100, bytes.len()] {
            let (mut cutter, mut units) = (Cutter::default(), Vec::new());
            let (mut from, mut seen) = (0, 0);
            while seen < bytes.len() {
                seen = (seen + step).min(bytes.len());
                while let Some((unit, length)) = cutter.next(&bytes[from..seen]).unwrap() {
                    units.push((unit, length));
                    from += length;
                    if from == seen {
                        break;
                    }
                }
            }
            assert_eq!(units, expected, "in steps of {step}");
        }
    }

    #[test]
    fn what_is_no_stream_is_refused() {
        for bytes in [
            "x",
            "+OK\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*99999999999",
            "*1\r\n:1\r\n",
            "*1\r\n$536870913\r\n",
            "*1\r\n$2\r\nabc\r\n",
            "*1\r\n$-1\r\n",
            "*\r\n",
            "*1\rx",
            "\rx",
        ] {
            let mut cutter = Cutter::default();
            assert_eq!(cutter.next(bytes.as_bytes()), Err(Garbage), "{bytes:?}");
        }
        let too_many = format!("*{}\r\n", REQUEST_ARGS_MAX + 1);
        assert_eq!(Cutter::default().next(too_many.as_bytes()), Err(Garbage));
        for bytes in ["", "\r", "*", "*1", "*1\r", "*1\r\n", "*1\r\n$4", "*1\r\n$4\r\nPING\r"] {
            assert_eq!(Cutter::default().next(bytes.as_bytes()), Ok(None), "{bytes:?}");
        }
    }
}
