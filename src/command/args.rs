//! One request as borrowed slices: the command's name, then its arguments.
//!
//! The slices point into the connection's input (or into an owned message that came by a hop), so
//! nothing is copied before a command decides to keep it.
//!
//! Invariant: a request has at least its name; whoever parses requests drops empty ones.
//! Beware: indexing panics past the end. It is for arguments that the arity check, which runs
//! before every command, has promised; whatever is optional goes through [`Args::get`].

use std::ops::Index;

/// The words of one request, `[0]` is the command's name.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    words: &'a [&'a [u8]],
}

impl<'a> Args<'a> {
    #[must_use]
    pub const fn new(words: &'a [&'a [u8]]) -> Self {
        Self { words }
    }

    /// How many words, the name included: what an arity counts.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a request always has its name")]
    pub const fn len(self) -> usize {
        self.words.len()
    }

    #[must_use]
    pub fn get(self, at: usize) -> Option<&'a [u8]> {
        self.words.get(at).copied()
    }

    /// The command's name as the client spelt it.
    #[must_use]
    pub fn name(self) -> &'a [u8] {
        self.get(0).unwrap_or_default()
    }

    /// The first argument, which is the key of most commands; only after the arity check.
    #[must_use]
    pub fn key(self) -> &'a [u8] {
        self.words[1]
    }

    /// All words in order.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        self.words.iter().copied()
    }

    /// The words from number `at` on; none where there are not so many.
    pub fn from(self, at: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        self.words.get(at..).unwrap_or_default().iter().copied()
    }

    /// The request as a slice, for whoever encodes it again.
    #[must_use]
    pub const fn words(self) -> &'a [&'a [u8]] {
        self.words
    }

    /// The request without its first `n` words: `COMMAND GETKEYS get k` as `get k`.
    #[must_use]
    pub fn skip(self, n: usize) -> Self {
        Self { words: self.words.get(n..).unwrap_or_default() }
    }

    /// Word `at` without regard to case: how Redis reads option names.
    #[must_use]
    pub fn is(self, at: usize, word: &str) -> bool {
        self.get(at).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
    }
}

impl Index<usize> for Args<'_> {
    type Output = [u8];

    fn index(&self, at: usize) -> &[u8] {
        self.words[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_reached_by_number_and_never_past_the_end() {
        let words: [&[u8]; 3] = [b"Get", b"key", b"pXat"];
        let args = Args::new(&words);
        assert_eq!(
            (args.len(), args.name(), args.key(), &args[2]),
            (3, words[0], words[1], words[2])
        );
        assert_eq!((args.get(3), args.from(7).len(), args.skip(9).len()), (None, 0, 0));
        assert!(args.is(2, "PXAT") && !args.is(2, "PX") && !args.is(3, "PX"));
        assert_eq!(args.from(1).collect::<Vec<_>>(), args.skip(1).iter().collect::<Vec<_>>());
        assert_eq!(args.skip(1).words(), &words[1..]);
    }
}
