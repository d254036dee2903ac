//! Checks on the source tree itself. They run as ordinary tests, so `cargo test` is the whole
//! gate. Each rule is one row of a table or one small function from text to complaints; a broken
//! rule prints path:line. Each rule is also run on a planted offence, which it must find.
//!
//! The rules read text, not syntax: they are cheap and simple, and they can be fooled by who
//! wants to fool them. Comments are cut off before code words are sought.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who may use whom, lowest layer first. A layer sees itself, and the layers it names.
/// `replication`, `sentinel` and `cluster` are siblings: what one needs of another, `node` passes.
#[rustfmt::skip] // One row, one line.
const LAYERS: &[(&str, &[&str])] = &[
    ("base",        &[]),
    ("uring",       &["base"]),
    ("tls",         &["base"]),
    ("resp",        &["base"]),
    ("script",      &["base", "resp"]),
    ("types",       &["base"]),
    ("command",     &["base", "resp"]),
    ("acl",         &["base", "command"]),
    ("engine",      &["base", "resp", "types", "command"]),
    ("snapshot",    &["base", "types", "engine"]),
    ("replication", &["base", "resp"]),
    ("sentinel",    &["base", "resp"]),
    ("cluster",     &["base", "resp", "command"]),
    ("node",        &["base", "resp", "script", "types", "command", "acl", "engine", "snapshot",
                      "replication", "sentinel", "cluster"]),
    ("doctor",      &["base", "uring"]),
    ("runtime",     &["base", "uring", "tls", "resp", "script", "types", "command", "acl", "engine", "snapshot",
                      "replication", "sentinel", "cluster", "node", "doctor"]),
];

/// Layers that touch the outside world.
const OUTSIDE: &[&str] = &["uring", "runtime", "doctor"];

/// Words that mean I/O, a clock or a thread. Only the layers of `OUTSIDE` and unit tests may say
/// them. (`core::net::SocketAddr` is a value, and opens nothing.)
const IO: &[&str] =
    &["glommio", "std::net", "std::fs", "std::thread", "std::time", "async fn", ".await"];

/// Where `unsafe` may stand beside `src/uring/`, and why. Paths from the root of the repository.
const UNSAFE: &[(&str, &str)] = &[
    ("src/base/huge.rs", "an allocator"),
    ("src/base/prefetch.rs", "the instruction has no safe wrapper"),
    ("src/base/spsc.rs", "a slot belongs to one side at a time, which the compiler cannot see"),
    ("src/script/lua.rs", "Lua is a library of C, which jumps over frames"),
    ("src/script/machine.rs", "a script's stack ends with its interpreter"),
    ("src/script/sandbox.rs", "functions that run those of Lua which they guard"),
    ("src/types/", "records and segments are laid out by hand: one allocation a key"),
    ("src/runtime/", "process set-up (limits, signals, clocks) speaks to libc"),
    ("benches/table.rs", "the CPU clock of a thread is a libc call"),
    ("tests/support/namespace.rs", "a thread enters a namespace by a system call"),
    ("loadgen/", "the CPU clock of another process is a libc call"),
];

const FILE_LINES_MAX: usize = 1_000;
/// Files that are longer; shrinks only.
const FILE_LINES_EXEMPT: &[&str] = &[];

/// The project speaks of itself only. Each word is written in two parts, so that this table
/// does not find itself.
const FOREIGN: &[(&str, &str)] = &[
    ("Clau", "de"),
    ("anthr", "opic"),
    ("chat", "gpt"),
    ("copi", "lot"),
    ("sub", "agent"),
    ("language", " model"),
    ("AI", " assistant"),
    ("AI", "-generated"),
    ("BRI", "EF.md"),
    ("/work", "/wt"),
    ("/work", "/main"),
    ("/work", "/shared"),
    ("this", " session"),
    ("previous", " session"),
    ("issue", " #"),
    ("issue", " scope"),
    ("TO", "DO"),
    ("FIX", "ME"),
];

/// One file of the repository: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

#[test]
fn every_file_is_tidy() {
    let map = fs::read_to_string(root().join("src/ARCHITECTURE.md")).unwrap();
    let sources = sources(&["src"], &["rs"]);
    let mut errors = map_and_tree(&map, &sources);
    for source in &sources {
        errors.extend(layers(source));
    }
    for source in self::sources(&["src", "tests", "benches", "loadgen"], &["rs"]) {
        errors.extend(header(&source));
        errors.extend(length(&source));
        errors.extend(unsafe_code(&source));
    }
    let everything = ["rs", "md", "toml", "sh", "conf", "service"];
    for source in self::sources(&["src", "tests", "benches", "loadgen", "tuning"], &everything) {
        errors.extend(foreign_words(&source));
    }
    for top in ["README.md", "Makefile", "Cargo.toml", ".ci/run"] {
        if let Ok(text) = fs::read_to_string(root().join(top)) {
            errors.extend(foreign_words(&Source { path: top.into(), text }));
        }
    }
    assert!(errors.is_empty(), "\n{}\n", errors.join("\n"));
}

/// Every module is `pub` so that tests and loadgen can reach it, which blinds rustc to dead code.
/// A public item whose name occurs once in the whole repository is one nobody uses.
#[test]
fn no_dead_public_items() {
    let dead = dead_items(&sources(&["src", "tests", "benches", "loadgen"], &["rs"]));
    assert!(dead.is_empty(), "\n{}\n", dead.join("\n"));
}

fn header(source: &Source) -> Vec<String> {
    let fine = source.text.starts_with("//! ");
    complain(!fine, || format!("{}:1: a file starts by saying what it is for (//!)", source.path))
}

fn length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let exempt = FILE_LINES_EXEMPT.contains(&source.path.as_str());
    complain(lines > FILE_LINES_MAX && !exempt, || {
        format!("{}: {lines} lines, over {FILE_LINES_MAX}", source.path)
    })
}

fn map_and_tree(map: &str, sources: &[Source]) -> Vec<String> {
    let mut errors = Vec::new();
    let inside = |it: &Source| it.path.strip_prefix("src/").unwrap_or(&it.path).to_string();
    for name in sources.iter().map(inside) {
        if !name.ends_with("mod.rs") && !map.contains(&format!("`{name}`")) {
            errors.push(format!("src/{name}: not on the map, src/ARCHITECTURE.md"));
        }
    }
    let named = map.split('`').filter(|it| it.ends_with(".rs") && !it.contains([' ', '*', '\n']));
    for name in named {
        // The map may also point into tests/, benches/ and loadgen/; those are looked up on disk.
        let outside = ["tests/", "benches/", "loadgen/"].iter().any(|it| name.starts_with(it));
        let there = if outside {
            root().join(name).exists()
        } else {
            sources.iter().any(|it| inside(it) == name)
        };
        if !there {
            errors.push(format!("src/ARCHITECTURE.md: `{name}` is gone"));
        }
    }
    errors
}

/// What each layer uses: other layers, and words of the outside world.
fn layers(source: &Source) -> Vec<String> {
    let Some((layer, _)) = source.path.strip_prefix("src/").and_then(|it| it.split_once('/'))
    else {
        return Vec::new();
    };
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        return vec![format!("{}: `{layer}` has no row in LAYERS", source.path)];
    };
    let mut errors = Vec::new();
    let tests_from = unit_tests_from(&source.text);
    for (index, code) in code_lines(&source.text) {
        let mut error = |why: String| errors.push(format!("{}:{index}: {why}", source.path));
        for (at, _) in code.match_indices("crate::") {
            let used: String =
                code[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if used.is_empty() {
                error("write one `use crate::layer::...` per layer".into());
            } else if used != layer && !allowed.contains(&used.as_str()) {
                error(format!("`{layer}` may not use `crate::{used}`"));
            }
        }
        if code.contains("super::super") {
            error("write `crate::layer::...`, so that the layer can be seen".into());
        }
        let inside = !OUTSIDE.contains(&layer) && index < tests_from;
        if let Some(word) = IO.iter().find(|word| inside && code.contains(**word)) {
            error(format!("`{word}` belongs in uring/, runtime/ or doctor/"));
        }
    }
    errors
}

fn unsafe_code(source: &Source) -> Vec<String> {
    let allowed = source.path.starts_with("src/uring/")
        || UNSAFE.iter().any(|(path, _)| source.path.starts_with(path));
    let words = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
    code_lines(&source.text)
        .filter(|(_, code)| !allowed && !code.contains('"'))
        .filter(|(_, code)| words.iter().any(|word| code.contains(word)))
        .map(|(index, _)| format!("{}:{index}: unsafe has no row in UNSAFE", source.path))
        .collect()
}

fn foreign_words(source: &Source) -> Vec<String> {
    let mut errors = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        for (head, tail) in FOREIGN {
            let word = format!("{head}{tail}");
            // Short words only in their own case: "todo" may be part of another word.
            let found = if word.len() < 6 {
                line.contains(&word)
            } else {
                line.to_lowercase().contains(&word.to_lowercase())
            };
            if found {
                errors.push(format!("{}:{}: `{word}`", source.path, index + 1));
            }
        }
    }
    errors
}

fn dead_items(sources: &[Source]) -> Vec<String> {
    let mut seen = BTreeMap::<&str, u32>::new();
    let mut public = Vec::new();
    for source in sources {
        for line in source.text.lines() {
            let words: Vec<&str> = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| !word.is_empty())
                .collect();
            let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
            let at = words.iter().position(|word| *word == "pub");
            if let Some(at) = at.filter(|_| line.trim_start().starts_with("pub")) {
                // `pub const fn name`, `pub(crate) unsafe fn name`: the last kind word counts.
                let kind = words[at..].iter().take(5).rposition(|word| kinds.contains(word));
                if let Some(name) = kind.and_then(|kind| words.get(at + kind + 1)) {
                    public.push((&source.path, *name));
                }
            }
            words.into_iter().for_each(|word| *seen.entry(word).or_default() += 1);
        }
    }
    let dead = public.into_iter().filter(|(_, name)| seen.get(name) == Some(&1));
    dead.map(|(path, name)| format!("{path}: nobody uses `{name}`")).collect()
}

fn complain(wrong: bool, what: impl Fn() -> String) -> Vec<String> {
    if wrong { vec![what()] } else { Vec::new() }
}

/// Lines counted from 1, without their comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line.split("//").next().unwrap_or("")))
}

/// The line where a file's unit tests begin; they are its end.
fn unit_tests_from(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| *line == "mod tests {");
    at.map_or(usize::MAX, |at| at + 1)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dirs: &[&str], extensions: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    dirs.iter().for_each(|dir| list(&root().join(dir), extensions, &mut paths));
    paths.sort();
    let source = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root()).unwrap().to_str().unwrap().to_string(),
    };
    paths.into_iter().map(source).collect()
}

fn list(dir: &Path, extensions: &[&str], paths: &mut Vec<PathBuf>) {
    // `tuning/` and `benches/` may not be there yet; `target` is what fuzzing builds.
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|it| it != "target" && it != "corpus") {
                list(&path, extensions, paths);
            }
        } else if path.extension().is_some_and(|it| extensions.iter().any(|ext| it == *ext)) {
            paths.push(path);
        }
    }
}

/// Each rule finds the offence planted for it, and leaves the fine text beside it alone.
mod planted {
    use super::*;

    fn check(rule: fn(&Source) -> Vec<String>, path: &str, bad: &str, fine: &str) {
        let source = |text: &str| Source { path: path.into(), text: text.into() };
        assert_eq!(rule(&source(bad)).len(), 1, "not found: {bad}");
        assert_eq!(rule(&source(fine)), Vec::<String>::new(), "found where nothing is: {fine}");
    }

    #[test]
    fn a_missing_header() {
        check(header, "src/base/a.rs", "use std::fmt;\n", "//! What it is for.\n");
    }

    #[test]
    fn a_long_file() {
        check(length, "src/base/a.rs", &"\n".repeat(1_001), &"\n".repeat(1_000));
    }

    #[test]
    fn an_upward_use() {
        let fine = "use crate::base::time;\nuse crate::resp::Reply; // crate::engine\n";
        check(layers, "src/command/a.rs", "use crate::engine::shard;\n", fine);
        check(
            layers,
            "src/base/a.rs",
            "fn f() { crate::resp::x() }",
            "fn f() { crate::base::x() }",
        );
        check(layers, "src/base/a.rs", "use super::super::resp;", "use super::time;");
        check(layers, "src/base/a.rs", "use crate::{base, resp};", "use crate::base::{a, b};");
        let novel = Source { path: "src/novel/a.rs".into(), text: String::new() };
        assert_eq!(layers(&novel).len(), 1, "a layer without a row");
    }

    #[test]
    fn words_of_the_outside_world() {
        for word in IO {
            check(layers, "src/node/a.rs", &format!("x({word})"), &format!("x() // {word}"));
            let test = format!("#[cfg(test)]\nmod tests {{\nx({word})\n}}");
            check(layers, "src/node/a.rs", &format!("x({word})\n{test}"), &test);
        }
        let outside = Source { path: "src/runtime/a.rs".into(), text: "use std::time;".into() };
        assert!(layers(&outside).is_empty());
    }

    #[test]
    fn unsafe_without_a_row() {
        check(unsafe_code, "src/resp/a.rs", "let x = unsafe { y };", "// unsafe { y }");
        let ring = Source { path: "src/uring/a.rs".into(), text: "unsafe { y }".into() };
        assert!(unsafe_code(&ring).is_empty());
    }

    #[test]
    fn foreign_words_anywhere() {
        for (head, tail) in FOREIGN {
            let bad = format!("// as {head}{tail} says");
            check(foreign_words, "src/base/a.rs", &bad, "// as Redis says, in its todos\n");
        }
    }

    #[test]
    fn map_and_tree_disagreeing() {
        let there = [Source { path: "src/base/a.rs".into(), text: String::new() }];
        assert_eq!(map_and_tree("| `base/a.rs` | fine |", &there), Vec::<String>::new());
        assert_eq!(map_and_tree("nothing", &there).len(), 1);
        assert_eq!(map_and_tree("`base/a.rs` `base/gone.rs` `tests/gone.rs`", &there).len(), 2);
        assert_eq!(map_and_tree("`base/a.rs` `tests/tidy.rs`", &there).len(), 0);
    }

    #[test]
    fn a_public_item_that_nobody_uses() {
        let of = |text: &str| dead_items(&[Source { path: "a.rs".into(), text: text.into() }]);
        assert_eq!(of("pub fn lonely() {}").len(), 1);
        assert_eq!(of("pub const fn lonely() {}").len(), 1);
        assert_eq!(of("    pub(crate) const LONELY: u8 = 1;").len(), 1);
        assert_eq!(of("pub fn loved() {}\nfn x() { loved() }"), Vec::<String>::new());
        assert_eq!(of("fn private() {}"), Vec::<String>::new());
    }
}
