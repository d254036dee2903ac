//! Rows of the generator, a file for each family of commands; `generate.rs` says how to read them.

pub mod bits;
pub mod generic;
pub mod geo;
pub mod hashes;
pub mod hyperloglog;
pub mod lists;
pub mod scripts;
pub mod streams;
pub mod sets;
pub mod sorted_sets;

use crate::compare::Compare;

/// Weight, how to compare, template.
pub type Row = (u32, Compare, &'static str);

/// All families of this folder.
pub const FAMILIES: &[&[Row]] = &[
    bits::COMMANDS,
    generic::COMMANDS,
    geo::COMMANDS,
    hashes::COMMANDS,
    hyperloglog::COMMANDS,
    lists::COMMANDS,
    scripts::COMMANDS,
    sets::COMMANDS,
    sorted_sets::COMMANDS,
    streams::COMMANDS,
];

/// What a family's own token stands for.
pub fn token(token: &str, pick: &mut dyn FnMut(usize) -> usize) -> Option<Vec<u8>> {
    let families = [
        bits::token,
        generic::token,
        geo::token,
        hashes::token,
        hyperloglog::token,
        lists::token,
        scripts::token,
        sets::token,
        sorted_sets::token,
        streams::token,
    ];
    families.into_iter().find_map(|of| of(token, pick))
}
