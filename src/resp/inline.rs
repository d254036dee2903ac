//! Inline requests: what a person types into telnet. Words between spaces, with quotes.
//!
//! ```text
//!   SET key "two words\x00\r\n"     double quotes: \n \r \t \b \a \xHH, any other escaped as itself
//!   SET key 'it\'s'                 single quotes: only \'
//!   SET key "a"b                    refused: a closing quote ends its word
//! ```
//!
//! Not here: finding the line's end and its limit (`partial.rs`).

use crate::resp::error::ProtocolError;

/// Appends the words of `line` to `bytes`, one after another, and where each ends to `ends`.
pub(super) fn split(
    line: &[u8],
    bytes: &mut Vec<u8>,
    ends: &mut Vec<usize>,
) -> Result<(), ProtocolError> {
    let mut rest = line;
    loop {
        rest = skip_space(rest);
        if rest.is_empty() {
            return Ok(());
        }
        rest = word(rest, bytes)?;
        ends.push(bytes.len());
    }
}

/// The words of `line`; `None` where quotes do not close.
#[must_use]
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    split(line, &mut bytes, &mut ends).ok()?;
    let starts = std::iter::once(0).chain(ends.iter().copied());
    Some(starts.zip(&ends).map(|(start, end)| bytes[start..*end].to_vec()).collect())
}

/// A tool that speaks HTTP, or a proxy that announces a client? Both begin with a line of text.
pub(super) fn foreign(line: &[u8]) -> Option<ProtocolError> {
    const METHODS: &[&[u8]] =
        &[b"GET", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE", b"CONNECT"];
    if line.starts_with(b"PROXY ") {
        return Some(ProtocolError::ProxyPreamble);
    }
    let mut words = line.split(|&byte| byte == b' ');
    let method = words.next().is_some_and(|word| METHODS.contains(&word));
    let version = words.nth(1).is_some_and(|word| word.starts_with(b"HTTP/1."));
    (method && version && words.next().is_none()).then_some(ProtocolError::Http)
}

/// One word, which begins at the start of `rest`; gives what follows it.
fn word<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', after @ ..] => return closed(double_quoted(after, bytes)?),
            [b'\'', after @ ..] => return closed(single_quoted(after, bytes)?),
            [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, after) = match rest {
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (nibble(*high) << 4 | nibble(*low), after)
            }
            [b'\\', escaped, after @ ..] => (unescape(*escaped), after),
            [byte, after @ ..] => (*byte, after),
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
        bytes.push(byte);
        rest = after;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        let (byte, after) = match rest {
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
        bytes.push(byte);
        rest = after;
    }
}

/// After a closing quote a word must be over.
fn closed(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest {
        [byte, ..] if !is_space(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn skip_space(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|&byte| !is_space(byte)).unwrap_or(line.len());
    line.get(start..).unwrap_or_default()
}

/// C's `isspace`. Note that a vertical tab or form feed separates words but does not end one.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Words<'a> = Option<&'a [&'a [u8]]>;

    /// Golden rows: what redis-server 7.0.15 made of these lines.
    #[test]
    fn words_are_split_as_redis_splits_them() {
        const BAD: Words<'_> = None;
        #[rustfmt::skip]
        let table: &[(&[u8], Words<'_>)] = &[
            (b"", Some(&[])), (b"   ", Some(&[])), (b" \t\x0b\x0c\r", Some(&[])),
            (b"\techo\tq", Some(&[b"echo", b"q"])),
            (b"echo \x0b\x0ca\x0b", Some(&[b"echo", b"a\x0b"])),
            (b"echo \"\"", Some(&[b"echo", b""])),
            (br#"echo "\x41\n\t\q\xzz""#, Some(&[b"echo", b"A\n\tqxzz"])),
            (br#"echo "\x4""#, Some(&[b"echo", b"x4"])),
            (br#"echo "a\r\b\a\"\\""#, Some(&[b"echo", b"a\r\x08\x07\"\\"])),
            (br"echo 'a\'b\n'", Some(&[b"echo", br"a'b\n"])),
            (br"echo a\nb", Some(&[b"echo", br"a\nb"])),
            (b"echo a\"b\"", Some(&[b"echo", b"ab"])),
            (b"echo a\"b c\" d", Some(&[b"echo", b"ab c", b"d"])),
            (b"echo a\rb", Some(&[b"echo", b"a", b"b"])),
            (b"echo \"a\rb\"", Some(&[b"echo", b"a\rb"])),
            (b"set a \"b", BAD), (b"set a 'b", BAD), (b"set a \"b\"c", BAD), (b"set a 'b'c", BAD),
            (b"echo a'b'c", BAD), (b"echo a\"b c\"d", BAD), (b"echo \"a\\", BAD),
        ];
        for (line, expected) in table {
            let (mut bytes, mut ends) = (Vec::new(), Vec::new());
            let result = split(line, &mut bytes, &mut ends);
            let mut start = 0;
            let words: Vec<&[u8]> =
                ends.iter().map(|&end| &bytes[std::mem::replace(&mut start, end)..end]).collect();
            let got = result.is_ok().then_some(&words[..]);
            assert_eq!(got, *expected, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn other_protocols_are_known_by_their_first_line() {
        assert_eq!(foreign(b"GET / HTTP/1.1"), Some(ProtocolError::Http));
        assert_eq!(foreign(b"OPTIONS * HTTP/1.0"), Some(ProtocolError::Http));
        assert_eq!(foreign(b"PROXY TCP4 1.1.1.1"), Some(ProtocolError::ProxyPreamble));
        assert_eq!(foreign(b"SET key HTTP/1.1"), None);
        assert_eq!(foreign(b"GET key"), None);
    }
}
