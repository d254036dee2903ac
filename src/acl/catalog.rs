//! The commands as rules name them: each with its number, its categories and its sub-commands.
//!
//! Built once from the node's table, whose row numbers are the numbers here; a rule names a command by
//! its name of the table, whatever `rename-command` made of it.

use crate::base::map::HashMap;
use crate::command::spec::{Categories, Flags, Spec};

/// One command, or a sub-command of one.
#[derive(Clone, Debug)]
pub struct Entry {
    /// `config|get` for a sub-command; lower case.
    pub full_name: String,
    pub spec: &'static Spec,
    pub categories: Categories,
    pub is_subcommand: bool,
    pub subcommands: Vec<u16>,
}

/// See the file's header.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// By number; nothing where the number is no client's command.
    entries: Vec<Option<Entry>>,
    names: HashMap<String, u16>,
}

impl Catalog {
    /// `rows`: number, full name and facts of every command that clients may send.
    pub fn new<'r>(rows: impl Iterator<Item = (u16, &'r str, &'static Spec)>) -> Self {
        let mut catalog = Self::default();
        for (number, full_name, spec) in rows {
            let at = usize::from(number);
            if catalog.entries.len() <= at {
                catalog.entries.resize_with(at + 1, || None);
            }
            catalog.names.insert(full_name.to_string(), number);
            catalog.entries[at] = Some(Entry {
                full_name: full_name.to_string(),
                spec,
                categories: spec.categories(),
                is_subcommand: full_name.contains('|'),
                subcommands: Vec::new(),
            });
        }
        let subcommands: Vec<(String, u16)> = catalog
            .iter()
            .filter_map(|(number, it)| Some((it.full_name.split_once('|')?.0.to_string(), number)))
            .collect();
        for (container, number) in subcommands {
            let container = catalog.names.get(&container).copied();
            let entry = container.and_then(|at| catalog.entries[usize::from(at)].as_mut());
            if let Some(entry) = entry {
                entry.subcommands.push(number);
            }
        }
        catalog
    }

    /// The command of that name, in any case.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<u16> {
        let name = std::str::from_utf8(name).ok()?.to_ascii_lowercase();
        self.names.get(&name).copied()
    }

    #[must_use]
    pub fn get(&self, number: u16) -> Option<&Entry> {
        self.entries.get(usize::from(number))?.as_ref()
    }

    /// All commands, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Entry)> {
        let number = |at: usize| u16::try_from(at).unwrap_or(u16::MAX);
        let entries = self.entries.iter().enumerate();
        entries.filter_map(move |(at, entry)| Some((number(at), entry.as_ref()?)))
    }

    /// One more than the highest number.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// May everybody run it, also who has not said who he is?
    #[must_use]
    pub fn is_open(&self, number: u16) -> bool {
        self.get(number).is_some_and(|entry| entry.spec.flags.has(Flags::NO_AUTH))
    }
}
