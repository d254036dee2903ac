//! Configuration texts into [`Settings`]: the order of lines, `include`, and what is an error.
//!
//! Later lines win, save that `save` lines add up: the first one of all files replaces the
//! default rules. The first bad line ends it, with where it is and why. Names that Redis knows
//! and that do nothing here become warnings.
//!
//! Not here: opening files. `read` is handed in, so that this can be tested and fuzzed.

use super::kind::{Kind, Value};
use super::reason::Reason;
use super::table::{self, Row};
use super::{Settings, Warning};
use crate::base::limits::{CONFIG_FILES_MAX, CONFIG_INCLUDE_DEPTH_MAX};
use crate::base::settings::grammar::{Line, lines, split_words};
use std::fmt;

/// A text and the name to call it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub name: String,
    pub text: Vec<u8>,
}

/// What came out of all sources.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    pub warnings: Vec<Warning>,
}

/// The line that ended it.
#[derive(Debug, PartialEq, Eq)]
pub struct LoadError {
    pub file: String,
    pub line: usize,
    /// Without the value where that is a secret.
    pub text: String,
    pub why: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, text, why } = self;
        write!(f, "{file}, line {line}: {why}\n    {text}")
    }
}

/// Gives the files that an `include` names, or says why one cannot be read. A pattern may name
/// none.
pub type Read<'r> = dyn FnMut(&[u8]) -> Result<Vec<Source>, String> + 'r;

/// Reads `sources` in their order.
pub fn load(sources: &[Source], read: &mut Read<'_>) -> Result<Loaded, LoadError> {
    let loaded = Loaded { settings: Settings::new(), warnings: Vec::new() };
    let mut loader = Loader { loaded, files: 0, save_seen: false, read };
    sources.iter().try_for_each(|source| loader.source(source, 0))?;
    Ok(loader.loaded)
}

const DEPRECATED: [&[u8]; 3] =
    [b"list-max-ziplist-entries", b"list-max-ziplist-value", b"lua-replicate-commands"];

/// May a line of a file begin with this, in lower case, and be no setting?
#[must_use]
pub fn is_directive(name: &[u8]) -> bool {
    let known: [&[u8]; 5] = [b"include", b"rename-command", b"user", b"loadmodule", b"sentinel"];
    known.contains(&name) || DEPRECATED.contains(&name) || name.contains(&b'.')
}

/// Warnings about what is no setting.
const DEPRECATED_WHY: &str = "it does nothing in Redis either";
const MODULES_WHY: &str = "there are no modules";

struct Loader<'r> {
    loaded: Loaded,
    files: usize,
    save_seen: bool,
    read: &'r mut Read<'r>,
}

impl Loader<'_> {
    fn source(&mut self, source: &Source, depth: usize) -> Result<(), LoadError> {
        lines(&source.text).try_for_each(|line| {
            self.line(source, &line, depth).map_err(|failure| match failure {
                Failure::Inside(error) => error,
                Failure::Here(why) => LoadError {
                    file: source.name.clone(),
                    line: line.number,
                    text: shown(line.text),
                    why,
                },
            })
        })
    }

    fn line(&mut self, source: &Source, line: &Line<'_>, depth: usize) -> Result<(), Failure> {
        let words = line.words.as_deref().ok_or(Reason::UnbalancedQuotes)?;
        let Some((name, words)) = words.split_first() else { return Ok(()) };
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        match table::find(name) {
            Some(row) => self.setting(row, &words, source, line.number),
            None => self.directive(&name.to_ascii_lowercase(), &words, source, line.number, depth),
        }
    }

    fn setting(
        &mut self,
        row: &'static Row,
        words: &[&[u8]],
        source: &Source,
        line: usize,
    ) -> Result<(), Failure> {
        let settings = &mut self.loaded.settings;
        let mut current = settings.value(row);
        if matches!(row.kind, Kind::Save) && !std::mem::replace(&mut self.save_seen, true) {
            current = Value::Save(Vec::new());
        }
        // An empty `replicaof` is how CONFIG GET prints none, but no line of a file.
        if matches!(row.kind, Kind::Master) && words.is_empty() {
            return Err(Reason::WrongArguments.into());
        }
        // As in Redis, several words may come as one: `--save "3600 1"`.
        let parts: Vec<&[u8]>;
        let words = match words {
            [one] if one.contains(&b' ') => {
                parts = row.kind.split(one).into_iter().filter(|it| !it.is_empty()).collect();
                &parts
            }
            _ => words,
        };
        let value = row.kind.parse(words, &current)?;
        self.loaded.warnings.extend(Warning::about(row, &value, &source.name, line));
        settings.put(row, value);
        Ok(())
    }

    /// What may stand in a file but is no setting.
    fn directive(
        &mut self,
        name: &[u8],
        words: &[&[u8]],
        source: &Source,
        line: usize,
        depth: usize,
    ) -> Result<(), Failure> {
        let settings = &mut self.loaded.settings;
        let (known, why) = match (name, words) {
            (b"include", [pattern]) => return self.include(pattern, depth),
            // Alone it says nothing but "this is a Sentinel", which Redis passes over too.
            (b"sentinel", []) => return Ok(()),
            (b"sentinel", [_, ..]) => return Err(Reason::SentinelDirective.into()),
            (b"user", [_, ..]) => {
                settings.users.push(words.iter().map(|word| word.to_vec()).collect());
                return Ok(());
            }
            (b"rename-command", [from, to]) => {
                settings.renamed_commands.push((from.to_vec(), to.to_vec()));
                return Ok(());
            }
            (b"loadmodule", [_, ..]) => ("loadmodule", MODULES_WHY),
            (name, [_]) if name.contains(&b'.') => ("(a module's setting)", MODULES_WHY),
            (name, [_]) if DEPRECATED.contains(&name) => ("(an old setting)", DEPRECATED_WHY),
            _ => return Err(Reason::UnknownDirective.into()),
        };
        let file = source.name.clone();
        self.loaded.warnings.push(Warning { name: known, file, line, why, at_default: false });
        Ok(())
    }

    fn include(&mut self, pattern: &[u8], depth: usize) -> Result<(), Failure> {
        if depth == CONFIG_INCLUDE_DEPTH_MAX {
            return Err(Reason::IncludeTooDeep.into());
        }
        for source in (self.read)(pattern).map_err(Failure::Here)? {
            self.files += 1;
            if self.files > CONFIG_FILES_MAX {
                return Err(Reason::TooManyFiles.into());
            }
            self.source(&source, depth + 1).map_err(Failure::Inside)?;
        }
        Ok(())
    }
}

/// Why a line failed: for itself, or for a line of a file that it includes.
enum Failure {
    Here(String),
    Inside(LoadError),
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::Here(reason.to_string())
    }
}

/// A line as an error shows it. The first word tells whether the others are secret; where the
/// quotes are broken it is cut off by hand.
fn shown(text: &[u8]) -> String {
    let first = text.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let name = split_words(first).and_then(|words| words.into_iter().next()).unwrap_or_default();
    let secret = table::find(&name).is_some_and(|row| matches!(row.kind, Kind::Secret));
    // A `user` line holds that user's passwords.
    if secret || name.eq_ignore_ascii_case(b"user") {
        return format!("{} (the rest is not shown)", String::from_utf8_lossy(first));
    }
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::settings::kind::{BufferLimit, SaveRule};

    fn load_text(text: &str) -> Result<Loaded, LoadError> {
        let source = Source { name: "a.conf".into(), text: text.into() };
        load(&[source], &mut |pattern| match pattern {
            b"self.conf" => {
                Ok(vec![Source { name: "self.conf".into(), text: b"include self.conf".into() }])
            }
            b"fan" => {
                Ok(vec![Source { name: "fan".into(), text: b"include fan\ninclude fan".into() }; 2])
            }
            b"none*" => Ok(vec![]),
            b"b.conf" => {
                Ok(vec![Source { name: "b.conf".into(), text: b"port 2\ntimeout x".into() }])
            }
            b"wide" => Ok(vec![Source { name: "w".into(), text: b"".into() }; 2_000]),
            _ => Err("no such file".into()),
        })
    }

    #[test]
    fn bad_lines_end_it_with_where_and_why() {
        let check = |text: &str, line: usize, why: &str| {
            let error = load_text(text).unwrap_err();
            assert_eq!(
                (error.file.as_str(), error.line, error.why.as_str()),
                ("a.conf", line, why),
                "{text}"
            );
        };
        check("foo bar", 1, "Bad directive or wrong number of arguments");
        check("\n\nport", 3, "wrong number of arguments");
        check("port 1 2", 1, "wrong number of arguments");
        check("port 70000", 1, "argument must be between 0 and 65535 inclusive");
        check("maxmemory \"1", 1, "Unbalanced quotes in configuration line");
        check("maxmemory 1.5gb", 1, "argument must be a memory value");
        check("unixsocketperm 9", 1, "argument couldn't be parsed as an octal number");
        check("unixsocketperm 7777", 1, "argument must be between 0 and 777 inclusive");
        check("replicaof", 1, "wrong number of arguments");
        check("replicaof a", 1, "wrong number of arguments");
        check("slaveof a b", 1, "Invalid master port");
        check("replicaof a 70000", 1, "Invalid master port");
        check("replicaof no one x", 1, "wrong number of arguments");
        check("dbfilename a/b", 1, "dbfilename can't be a path, just a filename");
        check("appendfilename a/b", 1, "appendfilename can't be a path, just a filename");
        check("save 1", 1, "Invalid save parameters");
        check("save a b", 1, "Invalid save parameters");
        check("sentinel monitor a b c 2", 1, "sentinel directive while not in sentinel mode");
        check(
            "client-output-buffer-limit normal 1 1",
            1,
            "Wrong number of arguments in buffer limit configuration.",
        );
        check("oom-score-adj-values 1", 1, "wrong number of arguments");
        check("loadmodule", 1, "Bad directive or wrong number of arguments");
        check("user", 1, "Bad directive or wrong number of arguments");
        check("include", 1, "Bad directive or wrong number of arguments");
        check("io-threads 0", 1, "argument must be between 1 and 128 inclusive");
        check("requirepass \"a\\nb\"", 1, "argument must not contain CR, LF or NUL");
        check(
            "cores 0",
            1,
            "argument must be 'all', a count of cores, or a list of CPUs like 0-3,6",
        );
        check("port 1\ninclude missing", 2, "no such file");
        check("include wide", 1, "too many configuration files");
    }

    #[test]
    fn several_words_may_come_as_one() {
        for (name, words) in [
            ("save", "3600 1 300 10"),
            ("save", "3600  1"),
            ("bind", "127.0.0.1 ::1"),
            ("client-output-buffer-limit", "replica 1 2 3"),
            ("oom-score-adj-values", "0 200 801"),
            ("latency-tracking-info-percentiles", "50 99"),
            ("shutdown-on-sigterm", "nosave force"),
            ("replicaof", "127.0.0.1 1"),
        ] {
            let row = table::find(name.as_bytes()).unwrap();
            let value = |text: String| load_text(&text).unwrap().settings.value(row);
            let one = value(format!("{name} \"{words}\""));
            assert_eq!(one, value(format!("{name} {words}")), "{name}");
            assert_ne!(one, Settings::default().value(row), "{name}");
        }
        assert!(load_text("logfile \"a b\"").is_ok());
        assert!(load_text("port \"1 2\"").is_err());
    }

    #[test]
    fn errors_of_included_files_name_those() {
        let error = load_text("include b.conf").unwrap_err();
        assert_eq!((error.file.as_str(), error.line), ("b.conf", 2));
        let error = load_text("include self.conf").unwrap_err();
        assert_eq!(error.file, "self.conf");
        assert!(error.why.starts_with("include is nested too deeply"));
        let error = load_text("include fan").unwrap_err();
        assert!(error.why.starts_with("include is nested too deeply"), "{error}");
    }

    #[test]
    fn errors_do_not_show_secrets() {
        for line in ["requirepass a swordfish", "MASTERAUTH \"swordfish", "user \"x >swordfish"] {
            let error = load_text(line).unwrap_err();
            assert!(!error.to_string().contains("swordfish"), "{error}");
        }
        assert!(load_text("port swordfish").unwrap_err().to_string().contains("port swordfish"));
    }

    #[test]
    fn later_lines_win_and_save_adds_up() {
        let load = |text: &str| load_text(text).unwrap().settings;
        assert_eq!(load("port 1\nPORT 2").port, 2);
        let rules = |text| load(text).save.iter().map(|it| it.seconds).collect::<Vec<_>>();
        assert_eq!(rules(""), [3_600, 300, 60]);
        assert_eq!(rules("save 1 2"), [1]);
        assert_eq!(rules("save 1 2\nsave 3 4 5 6"), [1, 3, 5]);
        assert_eq!(rules("save 1 2\nsave \"\""), [0; 0]);
        assert_eq!(rules("save"), [0; 0]);
        assert_eq!(load("save 7 8").save, [SaveRule { seconds: 7, changes: 8 }]);
        assert_eq!(load("bind 127.0.0.1 -::1").bind, [b"127.0.0.1".to_vec(), b"-::1".to_vec()]);
        assert_eq!(load("bind \"\"").bind, Vec::<Vec<u8>>::new());
        let limits = load("client-output-buffer-limit slave 1kb 1k 5").client_output_buffer_limit;
        assert_eq!(limits.replica, BufferLimit { hard: 1_024, soft: 1_000, soft_seconds: 5 });
        assert_eq!(limits.normal.hard, 256 << 20);
        let master = load("slaveof example.org 7000").replicaof.unwrap();
        assert_eq!((master.host.as_slice(), master.port), (b"example.org".as_slice(), 7_000));
        assert_eq!(load("replicaof a 1\nreplicaof NO ONE").replicaof, None);
        assert!(!load("slave-read-only no").replica_read_only);
        assert_eq!(load("include none*\nport 3").port, 3);
        assert_eq!(load("unixsocketperm 700").unixsocketperm, 0o700);
        assert_eq!(load("hz 100000").hz, 500);
        assert_eq!(load("requirepass \"\\x41 b\"").requirepass.0, b"A b");
        assert_eq!(load("user a on >b ~*").users.len(), 1);
        assert_eq!(load("rename-command KEYS \"\"").renamed_commands, [(b"KEYS".to_vec(), vec![])]);
    }

    #[test]
    fn what_does_nothing_is_told() {
        let check = |line: &str, expected: Option<(&str, bool)>| {
            let warnings = load_text(line).unwrap().warnings;
            let told = warnings.first().map(|it| (it.name, it.at_default));
            assert_eq!(told, expected, "{line}");
            assert!(warnings.iter().all(|it| it.line == 1 && it.file == "a.conf"));
        };
        check("port 1", None);
        check("aof-timestamp-enabled no", Some(("aof-timestamp-enabled", true)));
        check("aof-timestamp-enabled yes", Some(("aof-timestamp-enabled", false)));
        check("slave-lazy-flush yes", Some(("replica-lazy-flush", false)));
        check("maxmemory-policy noeviction", None);
        check("maxmemory-policy allkeys-lru", None);
        check("supervised systemd", None);
        check("supervised upstart", Some(("supervised", false)));
        check("loadmodule x.so a b", Some(("loadmodule", false)));
        check("bf.size 3", Some(("(a module's setting)", false)));
        check("lua-replicate-commands yes", Some(("(an old setting)", false)));
        check("user alice on", None);
        check("rename-command KEYS x", None);
    }
}
