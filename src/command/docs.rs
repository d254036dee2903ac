//! What `COMMAND` and its sub-commands answer, written from the tables.
//!
//! A [`Directory`] holds the facts of all rows that this server really serves, whatever family they
//! are of; nothing is listed that has no function. Replies have the shapes of Redis 7.0: sets and
//! maps in RESP3, flat arrays in RESP2.
//!
//! Not here: parsing requests (the functions get the words after the sub-command's name), and the
//! arity check, which has been made.
//!
//! Trap: `COMMAND GETKEYS` runs the key search on a request that no arity check has seen, so it makes
//! its own.

use crate::base::glob;
use crate::command::args::Args;
use crate::command::arguments::{Argument, Kind};
use crate::command::keys::{KeyRef, keys_of, legacy_range};
use crate::command::lookup::Lookup;
use crate::command::spec::{Begin, Categories, Command, Find, Flags, KeyFlags, KeySpec, Spec};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;

/// The facts of all commands served.
#[derive(Clone, Debug)]
pub struct Directory {
    entries: Vec<Entry>,
    by_name: Lookup<usize>,
}

#[derive(Clone, Debug)]
struct Entry {
    spec: &'static Spec,
    subcommands: Vec<&'static Spec>,
}

/// A row and the container that it stands in.
#[derive(Clone, Copy)]
struct Found<'d> {
    container: Option<&'static Spec>,
    spec: &'static Spec,
    subcommands: &'d [&'static Spec],
}

impl Default for Directory {
    fn default() -> Self {
        Self { entries: Vec::new(), by_name: Lookup::new([]) }
    }
}

impl Directory {
    /// Lists the rows of one more family; a container may stand in several.
    pub fn add<F>(&mut self, table: &'static [Command<F>]) {
        for row in table {
            let subcommands: Vec<_> = row.subcommands.iter().map(|sub| &sub.spec).collect();
            if let Some(at) = self.by_name.get(row.name.as_bytes())
                && let Some(entry) = self.entries.get_mut(at)
            {
                entry.subcommands.extend(subcommands);
                continue;
            }
            self.by_name.insert(row.name.as_bytes(), self.entries.len());
            self.entries.push(Entry { spec: &row.spec, subcommands });
        }
    }

    /// `COMMAND`
    pub fn all(&self, reply: &mut Reply<'_>) {
        reply.array(self.entries.len());
        self.entries.iter().for_each(|entry| write_info(entry.found(), reply));
    }

    /// `COMMAND COUNT`
    pub fn count(&self, reply: &mut Reply<'_>) {
        reply.int(i64::try_from(self.entries.len()).unwrap_or(i64::MAX));
    }

    /// `COMMAND INFO [name ...]`: null for what is unknown.
    pub fn info<'a>(&self, names: impl ExactSizeIterator<Item = &'a [u8]>, reply: &mut Reply<'_>) {
        if names.len() == 0 {
            return self.all(reply);
        }
        reply.array(names.len());
        for name in names {
            match self.named(name) {
                Some(found) => write_info(found, reply),
                None => reply.null(),
            }
        }
    }

    /// `COMMAND DOCS [name ...]`: what is unknown is left out.
    pub fn docs<'a>(&self, names: impl ExactSizeIterator<Item = &'a [u8]>, reply: &mut Reply<'_>) {
        let found: Vec<Found<'_>> = if names.len() == 0 {
            self.entries.iter().map(Entry::found).collect()
        } else {
            names.filter_map(|name| self.named(name)).collect()
        };
        reply.map(found.len());
        found.into_iter().for_each(|it| write_docs(it, reply));
    }

    /// `COMMAND LIST [FILTERBY (MODULE name | ACLCAT category | PATTERN pattern)]`
    pub fn list(&self, filter: Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorKind> {
        let names: Vec<String> = match (filter.len(), filter.get(2)) {
            (0, _) => self.everything().map(Found::full_name).collect(),
            (3, Some(_)) if filter.is(0, "FILTERBY") && filter.is(1, "MODULE") => Vec::new(),
            (3, Some(name)) if filter.is(0, "FILTERBY") && filter.is(1, "ACLCAT") => {
                let category = Categories::named(name);
                let has = |it: &Found<'_>| category.is_some_and(|c| it.spec.categories().has(c));
                self.everything().filter(has).map(Found::full_name).collect()
            }
            (3, Some(pattern)) if filter.is(0, "FILTERBY") && filter.is(1, "PATTERN") => {
                let names = self.everything().map(Found::full_name);
                names.filter(|name| glob::matches_ignoring_case(pattern, name.as_bytes())).collect()
            }
            _ => return Err(ErrorKind::Syntax),
        };
        reply.array(names.len());
        names.iter().for_each(|name| reply.bulk(name.as_bytes()));
        Ok(())
    }

    /// `COMMAND GETKEYS request ...`
    pub fn get_keys(&self, request: Args<'_>, reply: &mut Reply<'_>) -> Result<(), ErrorKind> {
        let keys = self.keys_of_request(request)?;
        reply.array(keys.len());
        keys.iter().for_each(|key| reply.bulk(&request[key.at]));
        Ok(())
    }

    /// `COMMAND GETKEYSANDFLAGS request ...`
    pub fn get_keys_and_flags(
        &self,
        request: Args<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<(), ErrorKind> {
        let keys = self.keys_of_request(request)?;
        reply.array(keys.len());
        for key in keys {
            reply.array(2);
            reply.bulk(&request[key.at]);
            write_names(key.flags.names(), "", reply);
        }
        Ok(())
    }

    fn keys_of_request(&self, request: Args<'_>) -> Result<Vec<KeyRef>, ErrorKind> {
        let at = self.by_name.get(request.name()).ok_or(ErrorKind::GetKeysUnknown)?;
        let entry = &self.entries[at];
        let spec = match request.get(1) {
            Some(word) if !entry.subcommands.is_empty() => {
                entry.subcommand(word).ok_or(ErrorKind::GetKeysUnknown)?
            }
            _ => entry.spec,
        };
        if spec.keys.iter().all(|keys| keys.flags.has(KeyFlags::NOT_KEY)) {
            return Err(ErrorKind::GetKeysNoKeys);
        }
        if !spec.arity.accepts(request.len()) {
            return Err(ErrorKind::GetKeysArity);
        }
        let keys: Vec<KeyRef> = match keys_of(spec, request) {
            Ok(keys) => keys.collect(),
            Err(_) if spec.flags.has(Flags::NO_MANDATORY_KEYS) => return Ok(Vec::new()),
            Err(_) => return Err(ErrorKind::GetKeysArguments),
        };
        if keys.is_empty() && !spec.flags.has(Flags::NO_MANDATORY_KEYS) {
            return Err(ErrorKind::GetKeysArguments);
        }
        Ok(keys)
    }

    /// `name` or `container|name`.
    fn named(&self, name: &[u8]) -> Option<Found<'_>> {
        let mut parts = name.splitn(2, |&byte| byte == b'|');
        let entry = &self.entries[self.by_name.get(parts.next()?)?];
        let Some(sub) = parts.next() else { return Some(entry.found()) };
        let spec = entry.subcommand(sub)?;
        Some(Found { container: Some(entry.spec), spec, subcommands: &[] })
    }

    /// All rows, those of containers after them.
    fn everything(&self) -> impl Iterator<Item = Found<'_>> {
        self.entries.iter().flat_map(|entry| std::iter::once(entry.found()).chain(entry.inner()))
    }
}

/// `<container> HELP`: its sub-commands with their arguments, and what each is for.
pub fn write_help<F>(container: &str, rows: &[Command<F>], reply: &mut Reply<'_>) {
    let rows: Vec<&Spec> = rows.iter().map(|row| &row.spec).collect();
    write_help_of(container, &rows, reply);
}

/// As [`write_help`], where the rows are of several families.
pub fn write_help_of(container: &str, rows: &[&Spec], reply: &mut Reply<'_>) {
    let title = format!("{container} <subcommand> [<arg> ...]. The sub-commands:");
    reply.array(1 + 2 * rows.len());
    reply.simple(title.as_bytes());
    for row in rows {
        let mut usage = String::from(row.name);
        row.arguments.iter().for_each(|argument| write_usage(argument, &mut usage));
        reply.simple(usage.as_bytes());
        reply.simple(format!("    {}.", row.summary).as_bytes());
    }
}

/// ` [TOKEN] <name>`, and so on inwards.
fn write_usage(argument: &Argument, out: &mut String) {
    out.push(' ');
    if argument.optional {
        out.push('[');
    }
    let start = out.len();
    if let Some(token) = argument.token {
        out.push_str(token);
    } else if argument.inner.is_empty() {
        out.push_str(&format!("<{}>", argument.name));
    }
    if argument.token.is_some() && argument.kind.has_value() && argument.inner.is_empty() {
        out.push_str(&format!(" <{}>", argument.name));
    }
    let mut inner = String::new();
    for (at, one) in argument.inner.iter().enumerate() {
        if at > 0 && argument.kind == Kind::OneOf {
            inner.push_str(" |");
        }
        write_usage(one, &mut inner);
    }
    out.push_str(if out.len() == start { inner.trim_start() } else { &inner });
    if argument.multiple {
        out.push_str(" ...");
    }
    if argument.optional {
        out.push(']');
    }
}

impl Entry {
    fn found(&self) -> Found<'_> {
        Found { container: None, spec: self.spec, subcommands: &self.subcommands }
    }

    fn inner(&self) -> impl Iterator<Item = Found<'_>> {
        let container = Some(self.spec);
        self.subcommands.iter().map(move |spec| Found { container, spec, subcommands: &[] })
    }

    fn subcommand(&self, name: &[u8]) -> Option<&'static Spec> {
        self.subcommands.iter().find(|it| it.name.as_bytes().eq_ignore_ascii_case(name)).copied()
    }
}

impl Found<'_> {
    /// As the replies spell it: `config|get`.
    fn full_name(self) -> String {
        let name = self.spec.name.to_ascii_lowercase();
        match self.container {
            Some(container) => format!("{}|{name}", container.name.to_ascii_lowercase()),
            None => name,
        }
    }
}

/// The ten elements of one command in `COMMAND INFO`.
fn write_info(found: Found<'_>, reply: &mut Reply<'_>) {
    let spec = found.spec;
    let (first, last, step) = legacy_range(spec);
    reply.array(10);
    reply.bulk(found.full_name().as_bytes());
    reply.int(spec.arity.wire());
    write_names(spec.flags.names(), "", reply);
    [first, last, step].into_iter().for_each(|n| reply.int(n));
    write_names(spec.categories().names(), "@", reply);
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(spec.keys.len());
    spec.keys.iter().for_each(|keys| write_key_spec(keys, reply));
    if found.subcommands.is_empty() {
        return reply.set(0);
    }
    reply.array(found.subcommands.len());
    let container = Some(spec);
    for spec in found.subcommands {
        write_info(Found { container, spec, subcommands: &[] }, reply);
    }
}

fn write_names(
    names: impl Iterator<Item = &'static str> + Clone,
    prefix: &str,
    reply: &mut Reply<'_>,
) {
    reply.set(names.clone().count());
    names.for_each(|name| reply.simple([prefix, name].concat().as_bytes()));
}

fn write_key_spec(keys: &KeySpec, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk(b"flags");
    write_names(keys.flags.names(), "", reply);
    reply.bulk(b"begin_search");
    match keys.begin {
        Begin::Index(index) => {
            write_search("index", &[("index", i64::from(index))], reply);
        }
        Begin::Keyword { keyword, from } => {
            write_pair("type", "keyword", 2, reply);
            reply.bulk(b"spec");
            write_pair("keyword", keyword, 2, reply);
            reply.bulk(b"startfrom");
            reply.int(i64::from(from));
        }
        Begin::Unknown(_) => write_search("unknown", &[], reply),
    }
    reply.bulk(b"find_keys");
    if matches!(keys.begin, Begin::Unknown(_)) {
        return write_search("unknown", &[], reply);
    }
    match keys.find {
        Find::Range { last, step, limit } => {
            let [last, step, limit] = [i64::from(last), i64::from(step), i64::from(limit)];
            let spec = [("lastkey", last), ("keystep", step), ("limit", limit)];
            write_search("range", &spec, reply);
        }
        Find::Counted { count, first, step } => {
            let [count, first, step] = [count, first, step].map(i64::from);
            let spec = [("keynumidx", count), ("firstkey", first), ("keystep", step)];
            write_search("keynum", &spec, reply);
        }
    }
}

/// The header of a map of `pairs`, and its first pair.
fn write_pair(key: &str, value: &str, pairs: usize, reply: &mut Reply<'_>) {
    reply.map(pairs);
    reply.bulk(key.as_bytes());
    reply.bulk(value.as_bytes());
}

fn write_search(kind: &str, spec: &[(&str, i64)], reply: &mut Reply<'_>) {
    write_pair("type", kind, 2, reply);
    reply.bulk(b"spec");
    reply.map(spec.len());
    for (name, value) in spec {
        reply.bulk(name.as_bytes());
        reply.int(*value);
    }
}

/// A name and the map behind it, as `COMMAND DOCS` has them.
fn write_docs(found: Found<'_>, reply: &mut Reply<'_>) {
    let spec = found.spec;
    let flags = [("deprecated", spec.deprecated.is_some()), ("syscmd", spec.system)];
    let flags = flags.iter().filter(|it| it.1).map(|it| it.0);
    let texts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group.name()),
        ("complexity", spec.complexity),
    ];
    let texts = texts.iter().filter(|it| !it.1.is_empty());
    let pairs = texts.clone().count()
        + usize::from(flags.clone().count() > 0)
        + 2 * usize::from(spec.deprecated.is_some())
        + usize::from(!spec.arguments.is_empty())
        + usize::from(!found.subcommands.is_empty());
    reply.bulk(found.full_name().as_bytes());
    reply.map(pairs);
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if flags.clone().count() > 0 {
        reply.bulk(b"doc_flags");
        write_names(flags, "", reply);
    }
    if let Some(deprecated) = spec.deprecated {
        let texts = [("deprecated_since", deprecated.since), ("replaced_by", deprecated.by)];
        for text in texts.iter().flat_map(|it| [it.0, it.1]) {
            reply.bulk(text.as_bytes());
        }
    }
    if !spec.arguments.is_empty() {
        reply.bulk(b"arguments");
        write_arguments(spec.arguments, reply);
    }
    if !found.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(found.subcommands.len());
        let container = Some(spec);
        for spec in found.subcommands {
            write_docs(Found { container, spec, subcommands: &[] }, reply);
        }
    }
}

/// Depth is that of the tables, three at most.
fn write_arguments(arguments: &[Argument], reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    for it in arguments {
        let flags = [
            ("optional", it.optional),
            ("multiple", it.multiple),
            ("multiple_token", it.multiple_token),
        ];
        let flags = flags.iter().filter(|it| it.1).map(|it| it.0);
        let texts =
            [("token", it.token), ("since", it.since), ("deprecated_since", it.deprecated_since)];
        let texts = texts.iter().filter_map(|text| Some((text.0, text.1?)));
        let pairs = 2
            + texts.clone().count()
            + usize::from(it.key_spec.is_some())
            + usize::from(flags.clone().count() > 0)
            + usize::from(!it.inner.is_empty());
        write_pair("name", it.name, pairs, reply);
        reply.bulk(b"type");
        reply.bulk(it.kind.name().as_bytes());
        if let Some(index) = it.key_spec {
            reply.bulk(b"key_spec_index");
            reply.int(i64::from(index));
        }
        for text in texts.flat_map(|(name, text)| [name, text]) {
            reply.bulk(text.as_bytes());
        }
        if flags.clone().count() > 0 {
            reply.bulk(b"flags");
            write_names(flags, "", reply);
        }
        if !it.inner.is_empty() {
            reply.bulk(b"arguments");
            write_arguments(it.inner, reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::node_rows;
    use crate::command::spec::Arity::Exactly;
    use crate::command::spec::{Group, KeyFlags};
    use crate::resp::reply::Proto;

    const NONE: Flags = Flags::NONE;
    const GET: Spec = Spec::new("GET", Exactly(2), Flags::READONLY.and(Flags::FAST), &[READ_KEY])
        .about(Group::String, "1.0.0", "O(1)", "x");
    const READ_KEY: KeySpec = KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS));
    const ENCODING: Spec =
        Spec::new("ENCODING", Exactly(3), NONE, const { &[KeySpec::at(2, KeyFlags::RO)] });
    const SUBS: &[Command<()>] = &[Command::new(ENCODING, ())];
    const ROWS: &[Command<()>] = &[
        Command::new(GET, ()),
        Command::new(node_rows::SLAVEOF, ()),
        Command::new(node_rows::PING, ()),
        Command::container(node_rows::CONFIG, (), CONFIG),
        Command::container(Spec::new("OBJECT", Exactly(3), NONE, &[]), (), SUBS),
    ];
    const CONFIG: &[Command<()>] =
        &[Command::new(node_rows::CONFIG_GET, ()), Command::new(node_rows::CONFIG_HELP, ())];

    fn ask(
        proto: Proto,
        ask: impl Fn(&Directory, &mut Reply<'_>) -> Result<(), ErrorKind>,
    ) -> String {
        let mut directory = Directory::default();
        directory.add(ROWS);
        let mut out = Vec::new();
        let mut reply = Reply { out: &mut out, proto };
        if let Err(error) = ask(&directory, &mut reply) {
            reply.error(&error);
        }
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    /// The bytes are those of redis-server 7.0.15.
    #[test]
    fn info_has_the_shape_of_both_protocols() {
        let info = |proto, names: &[&[u8]]| {
            ask(proto, |it, reply| {
                it.info(names.iter().copied(), reply);
                Ok(())
            })
        };
        assert_eq!(
            info(Proto::Resp2, &[b"get"]),
            "*1|*10|$3|get|:2|*2|+readonly|+fast|:1|:1|:1|*3|+@read|+@string|+@fast|*0|*1|*6|$5|flags|*2|+RO|+access|\
             $12|begin_search|*4|$4|type|$5|index|$4|spec|*2|$5|index|:1|$9|find_keys|*4|$4|type|$5|range|$4|spec|*6|\
             $7|lastkey|:0|$7|keystep|:1|$5|limit|:0|*0|"
        );
        assert_eq!(
            info(Proto::Resp3, &[b"nosuch", b"GET", b"config|get", b"config|nosuch"]),
            "*4|_|*10|$3|get|:2|~2|+readonly|+fast|:1|:1|:1|~3|+@read|+@string|+@fast|~0|~1|%3|$5|flags|~2|+RO|+access|\
             $12|begin_search|%2|$4|type|$5|index|$4|spec|%1|$5|index|:1|$9|find_keys|%2|$4|type|$5|range|$4|spec|%3|\
             $7|lastkey|:0|$7|keystep|:1|$5|limit|:0|~0|\
             *10|$10|config|get|:-3|~4|+admin|+noscript|+loading|+stale|:0|:0|:0|~3|+@admin|+@slow|+@dangerous|~0|~0|~0|_|"
        );
        let all = info(Proto::Resp2, &[]);
        assert!(all.starts_with("*5|*10|") && all.contains("|*2|*10|$10|config|get|"), "{all}");
    }

    #[test]
    fn docs_have_the_shape_of_both_protocols() {
        let docs = |proto, name: &[u8]| {
            ask(proto, |it, reply| {
                it.docs([name, b"nosuch"].into_iter(), reply);
                Ok(())
            })
        };
        assert_eq!(
            docs(Proto::Resp2, b"slaveof"),
            "*2|$7|slaveof|*16|$7|summary|$40|Makes this server a replica, or a master|$5|since|$5|1.0.0|$5|group|$6|server|\
             $10|complexity|$4|O(1)|$9|doc_flags|*1|+deprecated|$16|deprecated_since|$5|5.0.0|$11|replaced_by|$11|`REPLICAOF`|\
             $9|arguments|*1|*6|$4|name|$4|args|$4|type|$5|oneof|$9|arguments|*2|*6|$4|name|$9|host-port|$4|type|$5|block|\
             $9|arguments|*2|*4|$4|name|$4|host|$4|type|$6|string|*4|$4|name|$4|port|$4|type|$7|integer|\
             *6|$4|name|$6|no-one|$4|type|$5|block|$9|arguments|*2|*6|$4|name|$2|no|$4|type|$10|pure-token|$5|token|$2|NO|\
             *6|$4|name|$3|one|$4|type|$10|pure-token|$5|token|$3|ONE|"
        );
        assert_eq!(
            docs(Proto::Resp3, b"config|get"),
            "%1|$10|config|get|%5|$7|summary|$22|The values of settings|$5|since|$5|2.0.0|$5|group|$6|server|\
             $10|complexity|$4|O(N)|$9|arguments|*1|%4|$4|name|$9|parameter|$4|type|$5|block|$5|flags|~1|+multiple|\
             $9|arguments|*1|%2|$4|name|$9|parameter|$4|type|$6|string|"
        );
        let config = docs(Proto::Resp3, b"config");
        assert!(config.contains("$11|subcommands|%2|$10|config|get|%5|"), "{config}");
    }

    /// What redis-server 7.0.15 answers.
    #[test]
    fn lists_and_keys() {
        let list = |filter: &[&[u8]]| ask(Proto::Resp2, |it, out| it.list(Args::new(filter), out));
        let keys =
            |words: &[&[u8]]| ask(Proto::Resp2, |it, out| it.get_keys(Args::new(words), out));
        assert_eq!(
            list(&[]),
            "*8|$3|get|$7|slaveof|$4|ping|$6|config|$10|config|get|$11|config|help|$6|object|\
             $15|object|encoding|"
        );
        assert_eq!(list(&[b"filterby", b"pattern", b"CONFIG|G*"]), "*1|$10|config|get|");
        assert_eq!(list(&[b"FILTERBY", b"ACLCAT", b"STRING"]), "*1|$3|get|");
        assert_eq!(list(&[b"FILTERBY", b"ACLCAT", b"nosuch"]), "*0|");
        assert_eq!(list(&[b"FILTERBY", b"MODULE", b"x"]), "*0|");
        assert_eq!(list(&[b"FILTERBY", b"X", b"y"]), "-ERR syntax error|");
        assert_eq!(list(&[b"X"]), "-ERR syntax error|");
        assert_eq!(keys(&[b"get", b"a"]), "*1|$1|a|");
        assert_eq!(keys(&[b"object", b"encoding", b"x"]), "*1|$1|x|");
        assert_eq!(keys(&[b"object", b"nosuch", b"x"]), "-ERR Invalid command specified|");
        assert_eq!(keys(&[b"nosuch", b"x"]), "-ERR Invalid command specified|");
        assert_eq!(keys(&[b"ping", b"x"]), "-ERR The command has no key arguments|");
        let arity = "-ERR Invalid number of arguments specified for command|";
        assert_eq!(keys(&[b"get", b"b", b"c"]), arity);
        let words: [&[u8]; 2] = [b"get", b"a"];
        let flags = |proto| ask(proto, |it, out| it.get_keys_and_flags(Args::new(&words), out));
        assert_eq!(flags(Proto::Resp2), "*1|*2|$1|a|*2|+RO|+access|");
        assert_eq!(flags(Proto::Resp3), "*1|*2|$1|a|~2|+RO|+access|");
        let count = ask(Proto::Resp2, |it, out| {
            it.count(out);
            Ok(())
        });
        assert_eq!(count, ":5|");
    }

    #[test]
    fn help_comes_from_the_rows() {
        let help = ask(Proto::Resp2, |_, out| {
            write_help("CONFIG", CONFIG, out);
            Ok(())
        });
        assert_eq!(
            help,
            "*5|+CONFIG <subcommand> [<arg> ...]. The sub-commands:|+GET <parameter> ...|\
             +    The values of settings.|+HELP|+    Lists the sub-commands.|"
        );
    }
}
