//! Every command of this node in one table: rows by number, numbers by name.
//!
//! A row's number names the command on the roads between cores, in statistics and in sessions. The
//! table is built once and shared by all cores.

use crate::acl::catalog::Catalog;
use crate::command::args::Args;
use crate::command::docs::Directory;
use crate::command::lookup::Lookup;
use crate::command::spec::{Command, Spec};
use crate::engine::shard::ShardFn;
use crate::node::cx::{NodeFn, PartFn};
use crate::node::scripts::ScriptFn;
use crate::resp::error::ErrorKind;

/// What runs a command.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// On the core that owns its keys.
    Shard(Exec),
    /// On the core that has the connection.
    Node(NodeFn),
    /// A core's part of a node command that asks all cores; not a command of clients.
    Part(PartFn),
}

/// A command on one shard.
#[derive(Clone, Copy, Debug)]
pub enum Exec {
    /// By itself.
    Keys(ShardFn),
    /// By other commands: it runs a script.
    Script(ScriptFn),
}

/// A command, or a sub-command of one.
#[derive(Clone, Debug)]
pub struct Row {
    pub spec: &'static Spec,
    pub run: Run,
    /// `config|get` for a sub-command; lower case, as statistics show it.
    pub full_name: String,
    /// The container's name where this is a sub-command.
    pub container: Option<&'static str>,
    /// Numbers of the sub-commands by name.
    subcommands: Option<Lookup<u16>>,
}

/// See the file's header.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Row>,
    names: Lookup<u16>,
    parts: Lookup<u16>,
    directory: Directory,
    catalog: Catalog,
}

impl Table {
    /// The table of these families, with some commands under other names, or none.
    ///
    /// # Errors
    /// A name that no command has, or two that one shall have.
    pub fn new(
        shard: &[&'static [Command<ShardFn>]],
        scripts: &[&'static [Command<ScriptFn>]],
        node: &[&'static [Command<NodeFn>]],
        parts: &'static [(&'static str, &'static Spec, PartFn)],
        renamed: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<Self, String> {
        let mut rows = Vec::new();
        let mut names = Vec::new();
        let mut directory = Directory::default();
        shard.iter().for_each(|family| directory.add(family));
        scripts.iter().for_each(|family| directory.add(family));
        node.iter().for_each(|family| directory.add(family));
        for command in shard.iter().copied().flatten() {
            add(command, |run| Run::Shard(Exec::Keys(run)), &mut rows, &mut names);
        }
        for command in scripts.iter().copied().flatten() {
            add(command, |run| Run::Shard(Exec::Script(run)), &mut rows, &mut names);
        }
        for command in node.iter().copied().flatten() {
            add(command, Run::Node, &mut rows, &mut names);
        }
        let mut part_names = Vec::new();
        for (name, spec, run) in parts {
            part_names.push((*name, number(rows.len())));
            let full_name = name.to_string();
            let run = Run::Part(*run);
            rows.push(Row { spec, run, full_name, container: None, subcommands: None });
        }
        let clients = rows.iter().enumerate().filter(|(_, row)| !matches!(row.run, Run::Part(_)));
        let catalog =
            Catalog::new(clients.map(|(at, row)| (number(at), row.full_name.as_str(), row.spec)));
        rename(&mut names, renamed)?;
        let (names, parts) = (Lookup::new(names), Lookup::new(part_names));
        Ok(Self { rows, names, parts, directory, catalog })
    }

    /// How many rows, sub-commands and parts included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Is this the number of the command with that name?
    #[must_use]
    pub fn is(&self, number: u16, name: &str) -> bool {
        self.rows.get(usize::from(number)).is_some_and(|row| row.spec.name == name)
    }

    #[inline]
    #[must_use]
    pub fn row(&self, number: u16) -> &Row {
        &self.rows[usize::from(number)]
    }

    /// The row with that number, where there is one.
    #[must_use]
    pub fn get(&self, number: u16) -> Option<&Row> {
        self.rows.get(usize::from(number))
    }

    pub fn iter(&self) -> impl Iterator<Item = (u16, &Row)> {
        self.rows.iter().enumerate().map(|(index, row)| (number(index), row))
    }

    /// The command that a request names: of a container its sub-command.
    #[inline]
    #[must_use]
    pub fn find(&self, args: Args<'_>) -> Option<u16> {
        let number = self.names.get(args.name())?;
        match &self.row(number).subcommands {
            None => Some(number),
            Some(names) => match args.get(1) {
                Some(name) => names.get(name),
                None => Some(number),
            },
        }
    }

    /// The commands of clients as rules of users name them.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The facts of the commands of clients, for COMMAND.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The row of a part by its name.
    ///
    /// # Panics
    /// Where no part has that name: a slip in the code.
    #[must_use]
    pub fn part(&self, name: &str) -> u16 {
        self.parts.get(name.as_bytes()).unwrap_or_else(|| panic!("no part {name}"))
    }

    /// Why a request names no command.
    #[must_use]
    pub fn unknown(&self, args: Args<'_>) -> ErrorKind {
        match self.names.get(args.name()) {
            Some(number) => {
                let name = args.get(1).unwrap_or_default();
                ErrorKind::unknown_subcommand(self.row(number).spec.name, name)
            }
            None => ErrorKind::unknown_command(args.words()),
        }
    }

    #[must_use]
    pub fn wrong_arity(&self, number: u16) -> ErrorKind {
        let row = self.row(number);
        match row.container {
            None => ErrorKind::WrongArity { command: row.spec.name },
            Some(command) => ErrorKind::WrongSubcommandArity { command, subcommand: row.spec.name },
        }
    }
}

/// `rename-command`: names are looked up by what they are called now; rules of users, statistics and
/// replicas go on with the old ones.
fn rename(
    names: &mut Vec<(&'static str, u16)>,
    renamed: &[(Vec<u8>, Vec<u8>)],
) -> Result<(), String> {
    for (old, new) in renamed {
        let has = |name: &str, wanted: &[u8]| name.as_bytes().eq_ignore_ascii_case(wanted);
        let Some(at) = names.iter().position(|(name, _)| has(name, old)) else {
            return Err("No such command in rename-command".into());
        };
        let (_, number) = names.swap_remove(at);
        if new.is_empty() {
            continue;
        }
        if names.iter().any(|(name, _)| has(name, new)) {
            return Err("Target command name already exists".into());
        }
        // A few words, once, as long as the process lives.
        let new = String::from_utf8_lossy(new).to_uppercase();
        names.push((Box::leak(new.into_boxed_str()), number));
    }
    Ok(())
}

fn add<F: Copy>(
    command: &'static Command<F>,
    run: fn(F) -> Run,
    rows: &mut Vec<Row>,
    names: &mut Vec<(&'static str, u16)>,
) {
    let name = command.spec.name;
    let subcommands = command.subcommands.iter().map(|sub| {
        let row = Row {
            spec: &sub.spec,
            run: run(sub.run),
            full_name: format!("{}|{}", name.to_lowercase(), sub.spec.name.to_lowercase()),
            container: Some(name),
            subcommands: None,
        };
        rows.push(row);
        (sub.spec.name, number(rows.len() - 1))
    });
    let subcommands: Vec<_> = subcommands.collect();
    // A container may stand in two families: some of its sub-commands work on keys, others do not.
    if let Some((_, container)) = names.iter().find(|(it, _)| *it == name)
        && let Some(known) = rows[usize::from(*container)].subcommands.as_mut()
    {
        subcommands.iter().for_each(|(name, number)| known.insert(name.as_bytes(), *number));
        return;
    }
    names.push((name, number(rows.len())));
    rows.push(Row {
        spec: &command.spec,
        run: run(command.run),
        full_name: name.to_lowercase(),
        container: None,
        subcommands: (!subcommands.is_empty()).then(|| Lookup::new(subcommands)),
    });
}

fn number(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}
