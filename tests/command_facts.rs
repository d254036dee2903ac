//! What the tables say of each command, against what `COMMAND INFO` and `COMMAND DOCS` of
//! redis-server 7.0.15 say: arity, flags, keys, categories, tips, arguments and the rest.
//! Every row must be in the recording but those that came later, and every command of the recording
//! must have a row.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use ringfold::command::arguments::Argument;
use ringfold::command::keys::legacy_range;
use ringfold::command::node_rows;
use ringfold::command::spec::{Begin, Command, Find, Spec};
use ringfold::engine::{
    bits, generic, geo, hashes, hyperloglog, lists, sets, sort, sorted_sets, streams, strings,
};
use ringfold::node::dump;
use std::collections::BTreeMap;
use std::fmt::Write;

const GOLDEN: &str = include_str!("golden/command-7.0.15.txt");

/// Came with Redis 7.2.
const LATER: &[&str] = &["client|no-touch", "client|setinfo", "cluster|myshardid", "waitaof"];

/// Came with Valkey 9.
const VALKEY: &[&str] = &[
    "cluster|cancelslotmigrations",
    "cluster|getslotmigrations",
    "cluster|migrateslots",
    "cluster|syncslots",
];

/// Lines that the rows have as Redis 7.2 has them: it knows more arguments.
const LATER_LINES: &[(&str, &[&str])] = &[
    ("zrank", &["  arity -3", "    arg pure-token withscore token=WITHSCORE optional"]),
    ("zrevrank", &["  arity -3", "    arg pure-token withscore token=WITHSCORE optional"]),
];

#[test]
fn every_row_says_what_redis_says() {
    let mut ours = BTreeMap::new();
    for (spec, subcommands) in node_rows::ALL {
        add(&mut ours, None, spec);
        subcommands.iter().for_each(|sub| add(&mut ours, Some(spec), sub));
    }
    let shard = [
        strings::COMMANDS,
        lists::COMMANDS,
        streams::COMMANDS,
        hashes::COMMANDS,
        sets::COMMANDS,
        sorted_sets::COMMANDS,
        geo::COMMANDS,
        bits::COMMANDS,
        hyperloglog::COMMANDS,
        generic::COMMANDS,
        sort::COMMANDS,
        dump::COMMANDS,
    ];
    for row in shard.into_iter().flatten() {
        add(&mut ours, None, row);
        row.subcommands.iter().for_each(|sub: &Command<_>| add(&mut ours, Some(row), sub));
    }
    let mut differences = String::new();
    for block in GOLDEN.split("\ncommand ").skip(1) {
        let name = block.lines().next().unwrap();
        match ours.remove(name) {
            None => writeln!(differences, "{name}: no row").unwrap(),
            Some(row) if LATER_LINES.iter().any(|(it, _)| *it == name) => {
                let later = LATER_LINES.iter().find(|(it, _)| *it == name).unwrap().1;
                let has = |line: &str| block.lines().any(|it| it == line);
                let more: Vec<&str> = row.lines().filter(|line| !has(line)).collect();
                if more != later {
                    writeln!(differences, "{name}: {more:?} is not what 7.2 says").unwrap();
                }
            }
            Some(row) => {
                let ours = row.lines().chain(std::iter::repeat(""));
                for (theirs, ours) in block.lines().skip(1).zip(ours).filter(|it| it.0 != it.1) {
                    writeln!(differences, "{name}:\n  redis {theirs}\n  ours  {ours}").unwrap();
                }
                if row.lines().count() + 1 != block.lines().count() {
                    writeln!(differences, "{name}: as many lines").unwrap();
                }
            }
        }
    }
    LATER.iter().chain(VALKEY).for_each(|name| drop(ours.remove(*name).unwrap()));
    ours.keys().for_each(|name| writeln!(differences, "{name}: not in the recording").unwrap());
    assert!(differences.is_empty(), "\n{differences}");
}

/// A row as a block of the recording, without its first line.
fn add(rows: &mut BTreeMap<String, String>, container: Option<&Spec>, spec: &Spec) {
    let name = spec.name.to_ascii_lowercase();
    let name = match container {
        Some(container) => format!("{}|{name}", container.name.to_ascii_lowercase()),
        None => name,
    };
    let mut lines = vec![format!("arity {}", spec.arity.wire())];
    let (first, last, step) = legacy_range(spec);
    let flags: Vec<&str> = spec.flags.names().collect();
    lines.push(format!("flags {}", flags.join(" ")));
    lines.push(format!("range {first} {last} {step}"));
    let categories: Vec<String> = spec.categories().names().map(|it| format!("@{it}")).collect();
    lines.push(format!("categories {}", categories.join(" ")));
    lines.push(format!("tips {}", spec.tips.join(" ")));
    for keys in spec.keys {
        let begin = match keys.begin {
            Begin::Index(at) => format!("index={at}"),
            Begin::Keyword { keyword, from } => format!("keyword={keyword},{from}"),
            Begin::Unknown(_) => "unknown".into(),
        };
        let find = match keys.find {
            _ if matches!(keys.begin, Begin::Unknown(_)) => "unknown".into(),
            Find::Range { last, step, limit } => format!("range={last},{step},{limit}"),
            Find::Counted { count, first, step } => format!("keynum={count},{first},{step}"),
        };
        let flags: Vec<&str> = keys.flags.names().collect();
        lines.push(format!("key {} {begin} {find}", flags.join("/")));
    }
    lines.push(format!("since {}", spec.since));
    lines.push(format!("group {}", spec.group.name()));
    lines.push(format!("complexity {}", spec.complexity));
    if spec.deprecated.is_some() {
        lines.push("doc_flags deprecated".into());
    } else if spec.system {
        lines.push("doc_flags syscmd".into());
    }
    lines.extend(spec.deprecated.map(|it| format!("deprecated_since {}", it.since)));
    let mut text = String::new();
    lines.iter().for_each(|line| writeln!(text, "  {}", line.trim_end()).unwrap());
    spec.arguments.iter().for_each(|argument| add_argument(argument, 2, &mut text));
    assert!(rows.insert(name.clone(), text).is_none(), "{name} twice");
    assert!(!spec.summary.is_empty(), "{name} has no summary");
}

fn add_argument(it: &Argument, depth: usize, text: &mut String) {
    let mut words = format!("arg {} {}", it.kind.name(), it.name);
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(words, " {name}={value}").unwrap();
        }
    };
    add("token", it.token.map(str::to_string));
    add("key_spec_index", it.key_spec.map(|it| it.to_string()));
    add("since", it.since.map(str::to_string));
    add("deprecated_since", it.deprecated_since.map(str::to_string));
    if it.optional {
        words.push_str(" optional");
    }
    if it.multiple {
        words.push_str(" multiple");
    }
    if it.multiple_token {
        words.push_str(" multiple_token");
    }
    writeln!(text, "{}{words}", "  ".repeat(depth)).unwrap();
    it.inner.iter().for_each(|inner| add_argument(inner, depth + 1, text));
}
