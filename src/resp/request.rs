//! Requests, read where they lie: the hot half of the parser.
//!
//! [`next`] recognises one thing only, a whole and flawless array of bulk strings at the start of
//! the input, and lends its arguments as slices of that input. Whatever else the bytes may be
//! (the beginning of a request, an inline one, an empty one, nonsense) it leaves untouched and the
//! caller feeds them to [`Partial`](crate::resp::partial::Partial), which knows every case:
//!
//! ```text
//!   loop:  partial is idle?  --> next(input)  --> Some(used): execute, go on after it
//!              | no                 | None
//!              v                    v
//!          partial.feed(input) --> Request { used }: execute partial.args(), clear, go on after it
//!                              --> More: wait for bytes      --> Err: reply, close
//! ```
//!
//! So the rare cases have one implementation, and the frequent one has no branch for them.
//!
//! Invariant: both halves agree on every input, however it is cut (`tests`, `tests/fuzz`).
//!
//! Not here: what a command's name means. Only `POST` and `Host:` are known, for a browser must
//! not be able to speak to this port.

use crate::base::limits;

/// How large a request may be. The caller chooses per connection and per moment: a master's
/// requests are not limited as a client's are, and authentication lifts two limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    pub args_max: usize,
    pub bulk_bytes_max: usize,
    pub authenticated: bool,
}

impl RequestLimits {
    /// For a client that may use the server, with the default `proto-max-bulk-len`.
    pub const DEFAULT: Self = Self {
        args_max: limits::REQUEST_ARGS_MAX,
        bulk_bytes_max: limits::BULK_BYTES_MAX,
        authenticated: true,
    };

    pub(super) fn args_max_now(&self) -> usize {
        if self.authenticated {
            self.args_max
        } else {
            self.args_max.min(limits::UNAUTHENTICATED_ARGS_MAX)
        }
    }

    pub(super) fn bulk_bytes_max_now(&self) -> usize {
        if self.authenticated {
            self.bulk_bytes_max
        } else {
            self.bulk_bytes_max.min(limits::UNAUTHENTICATED_BULK_BYTES_MAX)
        }
    }
}

/// If `input` begins with a whole request: appends its arguments to `args` and says how many bytes
/// it took. Else nothing has changed, and the input is for `Partial`.
#[inline]
pub fn next<'a>(
    input: &'a [u8],
    limits: &RequestLimits,
    args: &mut Vec<&'a [u8]>,
) -> Option<usize> {
    let before = args.len();
    let used = read(input, limits, args);
    if used.is_none() {
        args.truncate(before);
    }
    used
}

/// May leave some arguments behind where it gives up.
#[inline]
fn read<'a>(input: &'a [u8], limits: &RequestLimits, args: &mut Vec<&'a [u8]>) -> Option<usize> {
    let (count, mut rest) = length(b'*', input)?;
    if count == 0 || count > limits.args_max_now() {
        return None;
    }
    let bulk_bytes_max = limits.bulk_bytes_max_now();
    let first = args.len();
    for _ in 0..count {
        let (len, after) = length(b'$', rest)?;
        if len > bulk_bytes_max {
            return None;
        }
        let (arg, after) = after.split_at_checked(len)?;
        let [b'\r', b'\n', after @ ..] = after else { return None };
        args.push(arg);
        rest = after;
    }
    if is_http(args.get(first)?) {
        return None;
    }
    Some(input.len() - rest.len())
}

/// Mark, canonical digits, line end: the number and what follows. Nine digits are plenty here.
#[inline]
fn length(mark: u8, input: &[u8]) -> Option<(usize, &[u8])> {
    let (&[found, first], mut rest) = input.split_first_chunk()?;
    let mut number = usize::from(first.wrapping_sub(b'0'));
    if found != mark || number > 9 {
        return None;
    }
    for _ in 0..9 {
        let (&byte, after) = rest.split_first()?;
        let digit = usize::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return match rest {
                [b'\r', b'\n', after @ ..] => Some((number, after)),
                _ => None,
            };
        }
        if number == 0 {
            return None; // no leading zeros
        }
        number = number * 10 + digit;
        rest = after;
    }
    None
}

/// Does a browser's request begin with this word? The names of the two commands that Redis too
/// answers by closing.
pub(super) fn is_http(name: &[u8]) -> bool {
    match name.len() {
        4 => name.eq_ignore_ascii_case(b"post"),
        5 => name.eq_ignore_ascii_case(b"host:"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected<'a> = Option<(usize, &'a [&'a [u8]])>;

    #[test]
    fn whole_requests_are_lent_and_the_rest_is_left() {
        #[rustfmt::skip]
        let table: &[(&[u8], Expected<'_>)] = &[
            (b"*1\r\n$4\r\nPING\r\n", Some((14, &[b"PING"]))),
            (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n*1\r\n", Some((19, &[b"GET", b""]))),
            (b"*1\r\n$10\r\n0123456789\r\n", Some((21, &[b"0123456789"]))),
            (b"*1\r\n$4\r\nPING\r", None),
            (b"*1\r\n$4\r\nPINGxx", None),
            (b"*1\r\n$04\r\nPING\r\n", None),
            (b"*0\r\n", None), (b"", None), (b"*", None), (b"PING\r\n", None),
            (b"*1\r\n$4\r\npost\r\n", None),
        ];
        for (input, expected) in table {
            let mut args: Vec<&[u8]> = vec![b"kept"];
            let used = next(input, &RequestLimits::DEFAULT, &mut args);
            assert_eq!(used, expected.map(|it| it.0), "{:?}", String::from_utf8_lossy(input));
            assert_eq!(&args[1..], expected.map_or(&[][..], |it| it.1));
        }
    }
}
