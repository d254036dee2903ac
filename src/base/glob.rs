//! Glob patterns on bytes: `*`, `?`, `[a-z]`, `[^...]` and `\` before a byte that stands for itself.
//!
//! One pass with one point of return: what a later `*` has matched need never be given back to an
//! earlier one, so the time is at most the product of the two lengths and nothing recurses, whatever
//! pattern a client sends.
//!
//! Odd cases are as Redis has them: a class that is not closed ends with the pattern, `[a-]` is a
//! range up to `]`, a range may be written backwards, and a last `\` is itself.

/// Does all of `text` match `pattern`?
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut done) = (0, 0);
    // The pattern behind the last `*`, and where in the text the next try for it begins.
    let mut retry: Option<(usize, usize)> = None;
    while done < text.len() || at < pattern.len() {
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            retry = Some((at, done));
            continue;
        }
        let next = pattern.get(at..).filter(|rest| !rest.is_empty());
        if let (Some(rest), Some(&byte)) = (next, text.get(done)) {
            let (hit, used) = one(rest, byte);
            if hit {
                (at, done) = (at + used, done + 1);
                continue;
            }
        }
        match retry {
            Some((behind, start)) if start < text.len() => {
                (at, done) = (behind, start + 1);
                retry = Some((behind, start + 1));
            }
            _ => return false,
        }
    }
    true
}

/// As [`matches`], where letters of ASCII are equal to their other case.
#[must_use]
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    matches(&pattern.to_ascii_lowercase(), &text.to_ascii_lowercase())
}

/// Does the first element of the pattern match this byte, and how long is that element?
fn one(pattern: &[u8], byte: u8) -> (bool, usize) {
    match pattern {
        [b'?', ..] => (true, 1),
        [b'[', class @ ..] => {
            let (hit, used) = one_of(class, byte);
            (hit, used + 1)
        }
        [b'\\', literal, ..] => (*literal == byte, 2),
        [literal, ..] => (*literal == byte, 1),
        [] => (false, 0),
    }
}

/// The same for what stands behind a `[`.
fn one_of(class: &[u8], byte: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let (mut at, mut hit) = (usize::from(negated), false);
    loop {
        match class.get(at..).unwrap_or_default() {
            [] => break,
            [b'\\', literal, ..] => {
                hit |= *literal == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [from, b'-', to, ..] => {
                hit |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                hit |= *literal == byte;
                at += 1;
            }
        }
    }
    (hit != negated, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row was answered by `KEYS` of redis-server 7.0.15.
    #[test]
    fn patterns_match_as_redis_has_them() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("***", "abc", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a*b*c", "aXbXbXc", true),
            ("?", "", false),
            ("h?llo", "hallo", true),
            ("h[ae]llo", "hello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hbllo", true),
            ("h[a-]llo", "h", false),
            ("[a-]", "]", true),
            ("[abc", "b", true),
            ("[", "[", false),
            ("[]", "]", false),
            ("[^]", "x", true),
            ("[\\]]", "]", true),
            ("[a\\-z]", "-", true),
            ("[a\\-z]", "b", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("a\\", "a", false),
            ("*a*", "bbb", false),
            ("[^a-", "b", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(matches_ignoring_case(b"GETR*", b"getrange"));
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let text = vec![b'a'; 10_000];
        let mut pattern = b"a*".repeat(5_000);
        pattern.push(b'b');
        assert!(!matches(&pattern, &text));
    }
}
