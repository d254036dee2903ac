//! Why a rule is refused, and the only texts of it; what rules have in common.

use std::fmt;

/// Why a rule is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    UnknownCommand,
    Syntax,
    AfterAllKeys,
    AfterAllChannels,
    NoSuchPassword,
    NotAHash,
    FirstArgOfSubcommand,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownCommand => "Unknown command or category name in ACL",
            Self::Syntax => "Syntax error",
            Self::AfterAllKeys => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does \
                 not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            Self::AfterAllChannels => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and \
                 does not have any effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Self::NoSuchPassword => {
                "The password you are trying to remove from the user does not exist"
            }
            Self::NotAHash => {
                "The password hash must be exactly 64 characters and contain only lowercase \
                 hexadecimal characters"
            }
            Self::FirstArgOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        })
    }
}

/// A word that would not be one when it is read again: names of users and patterns have no white
/// space and no NUL.
#[must_use]
pub fn has_spaces(word: &[u8]) -> bool {
    word.iter().any(|byte| matches!(byte, 0 | b' ' | 0x09..=0x0d))
}

/// What one check of a request says no to; the later ones tell more about what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    Command,
    /// Word number so and so.
    Key(usize),
    Channel(usize),
}

/// Rules whose `(` and `)` are in different words, as one word each. The word with the `(` that is never
/// closed, if there is one.
pub fn merge<'w>(words: impl Iterator<Item = &'w [u8]>) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut merged: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(Vec<u8>, Vec<u8>)> = None;
    for word in words {
        open = match open.take() {
            None if word.starts_with(b"(") && !word.ends_with(b")") => {
                Some((word.to_vec(), word.to_vec()))
            }
            None => {
                merged.push(word.to_vec());
                None
            }
            Some((first, mut selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.ends_with(b")") {
                    merged.push(selector);
                    None
                } else {
                    Some((first, selector))
                }
            }
        };
    }
    match open {
        None => Ok(merged),
        Some((first, _)) => Err(first),
    }
}
