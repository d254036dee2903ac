//! A configuration text as lines of words: `name word "quoted \n word" 'plain quotes'`.
//!
//! One setting a line, `#` as the first character makes a comment, blank lines are skipped. In
//! double quotes `\n \r \t \b \a \\ \" \xHH` are escapes; in single quotes only `\'` is. A closing
//! quote ends its word: what follows it must be white space, or the quotes count as unbalanced.
//!
//! The trap: an unquoted word keeps a `#` and a backslash as they are. `port 1 # no` is three
//! words after the name, not a comment.
//!
//! Not here: names, values, files and `include`.

/// One line that says something.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'t> {
    /// From 1, as editors count.
    pub number: usize,
    /// Without the white space around it.
    pub text: &'t [u8],
    /// At least one; `None` where the quotes are unbalanced.
    pub words: Option<Vec<Vec<u8>>>,
}

/// The lines of `text` that are neither blank nor comments.
pub fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split(|&byte| byte == b'\n').enumerate().filter_map(|(index, raw)| {
        let text = raw.trim_ascii();
        if text.first().is_none_or(|&byte| byte == b'#') {
            return None;
        }
        Some(Line { number: index + 1, text, words: split_words(text) })
    })
}

/// The words of a line; `None` where a quote is left open or a word follows a closing quote.
#[must_use]
pub fn split_words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let (word, after) = split_word(rest)?;
        words.push(word);
        rest = after.trim_ascii_start();
    }
    Some(words)
}

/// `word` written so that [`split_words`] gives it back as one word, in double quotes.
#[must_use]
pub fn quote(word: &[u8]) -> Vec<u8> {
    let mut out = vec![b'"'];
    for &byte in word {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            b' '..=b'~' => out.push(byte),
            _ => out.extend(format!("\\x{byte:02x}").into_bytes()),
        }
    }
    out.push(b'"');
    out
}

/// The first word of `rest`, which does not begin with white space, and what follows the word.
/// A quote may open in the middle of a word (`a"b c"` is one), but not close there.
fn split_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Some((word, rest)),
            [space, ..] if space.is_ascii_whitespace() || *space == 0 => return Some((word, rest)),
            [mark @ (b'"' | b'\''), inside @ ..] => {
                let after = if *mark == b'"' {
                    double_quoted(inside, &mut word)?
                } else {
                    single_quoted(inside, &mut word)?
                };
                let ends = after.first().is_none_or(u8::is_ascii_whitespace);
                return ends.then_some((word, after));
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// Reads up to the closing quote; gives what follows it.
fn double_quoted<'t>(mut rest: &'t [u8], word: &mut Vec<u8>) -> Option<&'t [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex_digit(*high) << 4 | hex_digit(*low));
                after
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        }
    }
}

/// Reads up to the closing quote; gives what follows it.
fn single_quoted<'t>(mut rest: &'t [u8], word: &mut Vec<u8>) -> Option<&'t [u8]> {
    loop {
        rest = match rest {
            [] => return None,
            [b'\'', after @ ..] => return Some(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        }
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_and_quotes_are_read() {
        let check = |line: &str, expected: Option<&[&str]>| {
            let expected: Option<Vec<Vec<u8>>> =
                expected.map(|words| words.iter().map(|word| word.as_bytes().to_vec()).collect());
            assert_eq!(split_words(line.as_bytes()), expected, "{line}");
        };
        check("", Some(&[]));
        check("  port\t 1 ", Some(&["port", "1"]));
        check("save \"\"", Some(&["save", ""]));
        check("a 'b c' \"d e\"", Some(&["a", "b c", "d e"]));
        check(r#"a "\n\r\t\b\a\\\"\q""#, Some(&["a", "\n\r\t\x08\x07\\\"q"]));
        check(r#"a "\x41\x4a\xg1""#, Some(&["a", "AJxg1"]));
        check(r"a 'it\'s \n'", Some(&["a", r"it's \n"]));
        check(r"a b\n #c", Some(&["a", r"b\n", "#c"]));
        check("a b\"c d\"", Some(&["a", "bc d"]));
        check("a \"b", None);
        check("a 'b", None);
        check("a \"b\"c", None);
        check("a 'b'c", None);
        check("a \"b\\", None);
    }

    #[test]
    fn lines_are_numbered_and_comments_skipped() {
        let text = b"\n# no\n  port 1\r\n\n\tbind \"x\n#\nend";
        let seen: Vec<(usize, &[u8], bool)> =
            lines(text).map(|line| (line.number, line.text, line.words.is_some())).collect();
        assert_eq!(
            seen,
            [
                (3, b"port 1".as_slice(), true),
                (5, b"bind \"x".as_slice(), false),
                (7, b"end".as_slice(), true)
            ]
        );
    }

    #[test]
    fn every_byte_survives_quoting() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(split_words(&quote(&all)), Some(vec![all]));
        assert_eq!(split_words(&quote(b"")), Some(vec![vec![]]));
    }
}
