//! Rows of the generator, a file for each family of commands; `generate.rs` says how to read them.

pub mod bits;
pub mod hyperloglog;

use crate::compare::Compare;

/// Weight, how to compare, template.
pub type Row = (u32, Compare, &'static str);

/// All families of this folder.
pub const FAMILIES: &[&[Row]] = &[bits::COMMANDS, hyperloglog::COMMANDS];

/// What a family's own token stands for.
pub fn token(token: &str, pick: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    bits::token(token, pick).or_else(|| hyperloglog::token(token, pick))
}
