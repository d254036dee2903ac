//! Shell-like patterns over bytes: `*`, `?`, `[a-z^]`, and `\` before a byte that stands for itself.
//!
//! Bounded: after a mismatch only the *last* `*` is tried further on. That suffices, for an earlier
//! star can only give away text that the later one could skip as well. So a match takes at most
//! `pattern * text` steps and no recursion, whatever the pattern; `a*a*a*a*b` is no bomb.
//!
//! Rules that are easy to get wrong, and are as the servers of this protocol have them:
//!   * a class that is not closed reaches to the end of the pattern; its last byte counts too
//!   * `]` ends a class at once: `[]` and `[^]` are an empty class and its opposite
//!   * in a class `\` takes the next byte as it is, `z-a` means `a-z`, and the end of a range is
//!     taken as it is, be it `]` or `\`
//!   * the empty text is matched by the empty pattern and by `*`, but not by `**`
//!   * a `\` that ends the pattern stands for itself
//!
//! Not here: what is matched (keys, channels, names of settings).

/// Does `pattern` match all of `text`? `nocase`: A to Z are as a to z.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return matches!(pattern, b"" | b"*");
    }
    let (mut rest, mut left) = (pattern, text);
    // After the last star: the pattern behind it, and the text that it has not swallowed.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', after @ ..] = rest {
            if after.is_empty() {
                return true;
            }
            retry = Some((after, left));
            rest = after;
            continue;
        }
        if rest.is_empty() && left.is_empty() {
            return true;
        }
        if let Some((&byte, after)) = left.split_first()
            && let Some(next) = one(rest, byte, nocase)
        {
            (rest, left) = (next, after);
            continue;
        }
        let Some((after_star, swallowed)) = retry else { return false };
        let Some((_, less)) = swallowed.split_first() else { return false };
        retry = Some((after_star, less));
        (rest, left) = (after_star, less);
    }
}

/// If the pattern's first element, which is no star, matches `byte`: the pattern behind it.
fn one(pattern: &[u8], byte: u8, nocase: bool) -> Option<&[u8]> {
    let same = |a: u8| if nocase { a.eq_ignore_ascii_case(&byte) } else { a == byte };
    match pattern {
        [] => None,
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => class(rest, byte, nocase),
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => same(*literal).then_some(rest),
    }
}

/// A class, behind its `[`. An escaped byte is compared as it is, and a range is put in order
/// before its ends are folded, even with `nocase`.
fn class(pattern: &[u8], byte: u8, nocase: bool) -> Option<&[u8]> {
    let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte };
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut found = false;
    loop {
        let (here, after) = match rest {
            [] => break,
            [b'\\', literal, after @ ..] => (*literal == byte, after),
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [a, b'-', b, after @ ..] => {
                ((fold(*a.min(b))..=fold(*a.max(b))).contains(&fold(byte)), after)
            }
            [literal, after @ ..] => (fold(*literal) == fold(byte), after),
        };
        found |= here;
        rest = after;
    }
    (found != negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    /// Golden rows: what redis-server 7.0.15 answers to `KEYS` and (`nocase`) `CONFIG GET`.
    #[test]
    fn patterns_mean_what_they_mean_elsewhere() {
        #[rustfmt::skip]
        let table: &[(&[u8], &[u8], bool, bool)] = &[
            (b"", b"", false, true), (b"*", b"", false, true), (b"**", b"", false, false), (b"", b"a", false, false),
            (b"h?llo", b"hello", false, true), (b"h*o", b"ho", false, true), (b"h[^e]llo", b"hello", false, false), (b"a**", b"a", false, true),
            (br"[a-z]c[B]", br"-cB", false, false),
            (br"A*b[\^B", br"-c^b", false, false),
            (br"\\[[a", br"-Bb-", false, false),
            (br"[^q][A-Z^-]?-\]", br"zz\-]", false, false),
            (br"\b[^q]B]", br"\b-B]", false, false),
            (br"c[A-^*B", br"", false, false),
            (br"[a-z]", br"-", false, false),
            (br"[^B[^q]B", br"[^BBB", false, false),
            (br"^[c^", br"", false, false),
            (br"*A[*", br"^", false, false),
            (br"[a-z]", br"[", false, false),
            (br"[\][z", br"\[z", false, false),
            (br"]a[A-Z^-]A*", br"]abAc", false, false),
            (br"[A-Z^-]][a-z]", br"a]B", false, false),
            (br"\[a-z]*", br"\B]", false, false),
            (br"[\]^[a-z]", br"\^b", false, false),
            (br"B[[A-Z^-]", br"B[\", false, false),
            (br"]c\^[-[", br"aBA]-", false, false),
            (br"B-]^[b]", br"B-]^b", false, true),
            (br"\\[a-z][a-z]-", br"\za-", false, true),
            (br"^][^q]", br"^]-", false, true),
            (br"[^q]", br"[", false, true),
            (br"[A-Z^-]", br"A", false, true),
            (br"[a-z][a-z]b*\[", br"acb[[", false, true),
            (br"A\[][A-Z^-]", br"A[]^", false, true),
            (br"b*[A-Z^-]c", br"b^cc", false, true),
            (br"-ac[a-z]", br"-aca", false, true),
            (br"[bb?^--z", br"B", false, true),
            (br"\b*[^q]", br"bB-", false, true),
            (br"a[^]", br"a^", false, true),
            (br"[^q]]", br"^]", false, true),
            (br"a[^q]", br"aa", false, true),
            (br"[^q]", br"z", false, true),
            (br"ba[A-Z^-]", br"baB", false, true),
            (br"b[^q]z]\c", br"bzz]c", false, true),
            (br"[^q]c\\z", br"-c\z", false, true),
            (br"p[a-Z][^R][\T]", br"port", true, false),
            (br"[^P]OrT*", br"port", true, false),
            (br"[^P]OR[\T]", br"port", true, false),
            (br"Po[Z-a][a-Z]", br"port", true, false),
            (br"[a-Z]ORt", br"port", true, false),
            (br"po[\R]t", br"port", true, false),
            (br"[Z-a]Ort", br"port", true, false),
            (br"PO[a-Z][T]", br"port", true, false),
            (br"[A-Z]O[a-Z]*", br"port", true, false),
            (br"[A-Z]?rt*", br"port", true, true),
            (br"[A-z]oR*", br"port", true, true),
            (br"[P]ORT", br"port", true, true),
            (br"*[O]rT", br"port", true, true),
            (br"?oR[A-Z]", br"port", true, true),
            (br"?[A-z]r[^Q]", br"port", true, true),
            (br"[^Q]o[R]T", br"port", true, true),
            (br"[A-z]O[R]T", br"port", true, true),
            (br"[A-Z]or[A-Z]", br"port", true, true),
        ];
        for (pattern, text, nocase, expected) in table {
            let shown = (String::from_utf8_lossy(pattern), String::from_utf8_lossy(text));
            assert_eq!(matches(pattern, text, *nocase), *expected, "{shown:?} nocase {nocase}");
        }
    }

    /// Every way of dividing the text, as the definition of `*` says.
    fn reference(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|skip| reference(rest, &text[skip..])),
            _ => text.split_first().is_some_and(|(byte, left)| {
                one(pattern, *byte, false).is_some_and(|rest| reference(rest, left))
            }),
        }
    }

    #[test]
    fn trying_only_the_last_star_again_is_enough() {
        for seed in 0..50_000 {
            let mut prng = Prng::new(seed);
            let mut draw = |from: &[u8], len: u64| -> Vec<u8> {
                let len = prng.below(len);
                let mut below = || usize::try_from(prng.below(from.len() as u64)).unwrap();
                (0..len).map(|_| from[below()]).collect()
            };
            let (pattern, text) = (draw(b"***?[]^-\\ab", 10), draw(b"ab", 8));
            let expected = reference(&pattern, &text);
            if !text.is_empty() {
                assert_eq!(matches(&pattern, &text, false), expected, "seed {seed} {pattern:?}");
            }
        }
    }

    #[test]
    fn no_pattern_is_a_bomb() {
        let pattern = [b"a*".repeat(1_000), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(10_000), false));
        assert!(!matches(&b"[^a-b]*[".repeat(10_000), &b"c".repeat(10_000), true));
    }
}
