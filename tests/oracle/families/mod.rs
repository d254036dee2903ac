//! Rows of the generator, a file for each family of commands; `generate.rs` says how to read them.

pub mod lists;
pub mod streams;

use crate::compare::Compare;

/// Weight, how to compare, template.
pub type Row = (u32, Compare, &'static str);

/// All families of this folder.
pub const FAMILIES: &[&[Row]] = &[lists::COMMANDS, streams::COMMANDS];

/// What a family's own token stands for.
pub fn token(token: &str, pick: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    lists::token(token, pick).or_else(|| streams::token(token, pick))
}
