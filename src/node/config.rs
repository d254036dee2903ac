//! `CONFIG GET` and `CONFIG SET` as functions from settings to settings.
//!
//! A SET is all or nothing: names are checked first, in order, then values, in order, and the first
//! mistake is the answer. What must follow from a change (a new port to listen on, a smaller
//! backlog) is its caller's to do, who may still refuse by throwing the new settings away.
//!
//! The trap: an error in a name repeats the name as it was written, an error in a value gives the
//! name in lower case; Redis does so, and tests of clients compare whole messages.

use crate::node::settings::kind::{Kind, Value};
use crate::node::settings::reason::Reason;
use crate::node::settings::table::{Change, ROWS, Row, find};
use crate::node::settings::{Protected, Settings, Warning};
use crate::resp::error::ErrorKind;

/// Whether `text` matches a glob; the last argument asks to ignore case (`base::glob::matches`).
pub type Matches = fn(&[u8], &[u8], bool) -> bool;

/// The settings whose name, or older name, is one of `patterns`: names and values, each once.
#[must_use]
pub fn get(settings: &Settings, patterns: &[&[u8]], matches: Matches) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |row: &'static Row, name: &[u8]| {
        if !found.iter().any(|(seen, _)| seen.eq_ignore_ascii_case(name)) {
            found.push((name.to_vec(), row.kind.print(&settings.value(row))));
        }
    };
    for pattern in patterns {
        if !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[')) {
            // A plain name comes back as it was asked for.
            if let Some(row) = find(pattern) {
                add(row, pattern);
            }
            continue;
        }
        for row in ROWS.iter().filter(|row| !row.hidden) {
            for name in row.names().filter(|name| matches(pattern, name.as_bytes(), true)) {
                add(row, name.as_bytes());
            }
        }
    }
    found
}

/// What a `CONFIG SET` leads to.
#[derive(Debug)]
pub struct Changed {
    pub settings: Settings,
    /// The rows whose value is another one now.
    pub rows: Vec<&'static Row>,
    pub warnings: Vec<Warning>,
}

/// Why a `CONFIG SET` changed nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum SetError {
    /// Names and values do not pair up.
    Syntax,
    Unknown {
        name: Vec<u8>,
    },
    Refused {
        name: Vec<u8>,
        why: Refusal,
    },
}

/// Why a setting may not become what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Immutable,
    Protected,
    Duplicate,
    /// What it names is opened at the start and stays.
    Restart,
    Value(Reason),
}

impl SetError {
    /// The error reply.
    #[must_use]
    pub fn reply(&self) -> ErrorKind {
        match self {
            Self::Syntax => ErrorKind::Syntax,
            Self::Unknown { name } => ErrorKind::ConfigUnknown { name: name.as_slice().into() },
            Self::Refused { name, why } => {
                let why = match why {
                    Refusal::Immutable => "can't set immutable config".to_string(),
                    Refusal::Protected => "can't set protected config".to_string(),
                    Refusal::Restart => "it takes a restart here".to_string(),
                    Refusal::Duplicate => "duplicate parameter".to_string(),
                    Refusal::Value(reason) => reason.to_string(),
                };
                let why = why.into_bytes().into_boxed_slice();
                ErrorKind::ConfigRefused { name: name.as_slice().into(), why }
            }
        }
    }
}

/// Applies pairs of a name and a value. `local` says that the client sits on this host, which
/// `enable-protected-configs local` asks for.
pub fn set(settings: &Settings, words: &[&[u8]], local: bool) -> Result<Changed, SetError> {
    let (pairs, []) = words.as_chunks::<2>() else { return Err(SetError::Syntax) };
    let mut found: Vec<(&'static Row, &'static str, &[u8])> = Vec::new();
    for [name, value] in pairs {
        let (row, canonical) = changeable(settings, name, local)?;
        // As in Redis a name and its alias are two, and the later one wins.
        if found.iter().any(|(_, seen, _)| *seen == canonical) {
            return Err(SetError::Refused { name: name.to_vec(), why: Refusal::Duplicate });
        }
        found.push((row, canonical, *value));
    }
    let mut changed =
        Changed { settings: settings.clone(), rows: Vec::new(), warnings: Vec::new() };
    for (row, name, argument) in found {
        let old = changed.settings.value(row);
        let current = match row.kind {
            Kind::Save => Value::Save(Vec::new()),
            _ => old.clone(),
        };
        let value = row.kind.parse(&row.kind.split(argument), &current).map_err(|reason| {
            SetError::Refused { name: name.into(), why: Refusal::Value(reason) }
        })?;
        changed.warnings.extend(Warning::about(row, &value, "", 0));
        if value != old && !changed.rows.iter().any(|it| it.name == row.name) {
            changed.rows.push(row);
        }
        changed.settings.put(row, value);
    }
    Ok(changed)
}

/// A cluster's node has told others where it is, and has a bus beside its port.
const OPENED_AT_START: [&str; 4] = ["bind", "port", "tls-port", "tls-cluster"];

/// As `set`, of a server that runs: what a cluster's node has opened at its start may be set to what it is, and to
/// nothing else.
pub fn set_running(settings: &Settings, words: &[&[u8]], local: bool) -> Result<Changed, SetError> {
    let changed = set(settings, words, local)?;
    let fixed = || changed.settings.cluster_enabled;
    match changed.rows.iter().find(|row| fixed() && OPENED_AT_START.contains(&row.name)) {
        Some(row) => Err(SetError::Refused { name: row.name.into(), why: Refusal::Restart }),
        None => Ok(changed),
    }
}

/// The row that `name` may change now, and which of its names it is.
fn changeable(
    settings: &Settings,
    name: &[u8],
    local: bool,
) -> Result<(&'static Row, &'static str), SetError> {
    let row = find(name).ok_or_else(|| SetError::Unknown { name: name.to_vec() })?;
    let guarded = match settings.enable_protected_configs {
        Protected::No => true,
        Protected::Local => !local,
        Protected::Yes => false,
    };
    let why = match row.change {
        Change::Runtime => None,
        Change::AtStart => Some(Refusal::Immutable),
        Change::Guarded => guarded.then_some(Refusal::Protected),
    };
    if let Some(why) = why {
        return Err(SetError::Refused { name: name.to_vec(), why });
    }
    let alias = row.alias.as_bytes().eq_ignore_ascii_case(name);
    Ok((row, if alias { row.alias } else { row.name }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough of a glob for these tests: one `*` at an end, or both ends.
    fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        assert!(nocase);
        let pattern = pattern.to_ascii_lowercase();
        match pattern.as_slice() {
            [b'*', middle @ .., b'*'] => {
                text.windows(middle.len().max(1)).any(|it| it == middle) || middle.is_empty()
            }
            [b'*', tail @ ..] => text.ends_with(tail),
            [head @ .., b'*'] => text.starts_with(head),
            whole => whole == text,
        }
    }

    fn got(settings: &Settings, patterns: &[&str]) -> String {
        let patterns: Vec<&[u8]> = patterns.iter().map(|it| it.as_bytes()).collect();
        let found = get(settings, &patterns, matches);
        let lines = found.iter().map(|(name, value)| {
            format!("{}={}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        });
        lines.collect::<Vec<_>>().join(";")
    }

    fn text(error: &SetError) -> String {
        let mut line = Vec::new();
        error.reply().write_to(&mut line);
        let line = String::from_utf8(line).unwrap();
        line.trim_start_matches('-').trim_end_matches("\r\n").to_string()
    }

    fn set_words(settings: &Settings, words: &[&str]) -> Result<Changed, String> {
        let words: Vec<&[u8]> = words.iter().map(|it| it.as_bytes()).collect();
        set(settings, &words, false).map_err(|it| text(&it))
    }

    #[test]
    fn get_takes_patterns_and_plain_names() {
        let settings = Settings::new();
        let check = |patterns: &[&str], expected: &str| {
            assert_eq!(got(&settings, patterns), expected, "{patterns:?}");
        };
        check(&["maxmemory"], "maxmemory=0");
        check(&["TIMEOUT", "timeout"], "TIMEOUT=0");
        check(&["TIMEO*"], "timeout=0");
        check(&["tim", "timeou*", "timeout"], "timeout=0");
        check(&["SLAVE-pri*", "*priority"], "slave-priority=100;replica-priority=100");
        check(&["lua-time-limit"], "lua-time-limit=5000");
        check(&["nope"], "");
        check(&["key-load*"], "");
        check(&["key-load-delay"], "key-load-delay=0");
        check(&["save"], "save=3600 1 300 100 60 10000");
        check(&["bind"], "bind=* -::*");
        check(&["replicaof"], "replicaof=");
        check(&["unixsocketperm"], "unixsocketperm=0");
        let all = get(&settings, &[b"*"], matches);
        assert_eq!(all.len(), 214);
    }

    #[test]
    fn set_answers_mistakes_as_redis_does() {
        let settings = Settings::new();
        let check = |words: &[&str], expected: &str| {
            assert_eq!(set_words(&settings, words).unwrap_err(), expected, "{words:?}");
        };
        let unknown =
            |name| format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
        check(&["nope", "1"], &unknown("nope"));
        check(&["ti*", "1"], &unknown("ti*"));
        check(&["include", "x"], &unknown("include"));
        check(&["timeout", "1", "nope", "2"], &unknown("nope"));
        check(&["nope", "1", "tcp-keepalive", "x"], &unknown("nope"));
        check(&["maxmemory"], "ERR syntax error");
        check(&["maxmemory", "1gb", "port"], "ERR syntax error");
        let refused = |words: &[&str], name: &str, why: &str| {
            let text =
                format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}");
            check(words, &text);
        };
        let one = |name, value, why| refused(&[name, value], name, why);
        for row in REFUSED {
            one(row.0, row.1, row.2);
        }
        // A node of a cluster stays where the others know it: README names the difference.
        let mut cluster = Settings::new();
        cluster.cluster_enabled = true;
        let running = |words: &[&[u8]]| set_running(&cluster, words, true);
        assert!(set_running(&Settings::new(), &[b"port", b"7001"], true).is_ok());
        for (name, value) in [("port", "7001"), ("bind", "127.0.0.1"), ("tls-port", "7002")] {
            let refused = SetError::Refused { name: name.into(), why: Refusal::Restart };
            assert_eq!(
                running(&[b"timeout", b"9", name.as_bytes(), value.as_bytes()]).err(),
                Some(refused)
            );
        }
        let same = running(&[b"port", b"6379", b"timeout", b"9"]).ok();
        assert_eq!(same.map(|it| it.rows.len()), Some(1));
        refused(
            &["LOGLEVEL", "x"],
            "loglevel",
            "argument(s) must be one of the following: debug, verbose, notice, warning",
        );
        refused(&["DATABASES", "x"], "DATABASES", "can't set immutable config");
        refused(&["timeout", "1", "timeout", "2"], "timeout", "duplicate parameter");
        refused(
            &["tcp-keepalive", "1", "tcp-keepalive", "2", "nope", "1"],
            "tcp-keepalive",
            "duplicate parameter",
        );
        refused(
            &["tcp-keepalive", "5", "daemonize", "yes"],
            "daemonize",
            "can't set immutable config",
        );
        refused(
            &["daemonize", "yes", "tcp-keepalive", "x"],
            "daemonize",
            "can't set immutable config",
        );
        refused(
            &["timeout", "5", "port", "70000", "tcp-keepalive", "-5"],
            "port",
            "argument must be between 0 and 65535 inclusive",
        );
    }

    /// Name, value and reason, as a real server answered.
    #[rustfmt::skip] // One row, one line.
    const REFUSED: &[(&str, &str, &str)] = &[
        ("maxmemory", "abc", "argument must be a memory value"),
        ("maxmemory", "-1", "argument must be a memory value"),
        ("maxmemory", "10%", "argument must be a memory value"),
        ("maxmemory-clients", "200%", "percentage argument must be less or equal to 100"),
        ("maxmemory-clients", "1p", "argument must be a memory or percent value"),
        ("databases", "3", "can't set immutable config"),
        ("replicaof", "1.2.3.4 5", "can't set immutable config"),
        ("slaveof", "no", "can't set immutable config"),
        ("dir", "/tmp", "can't set protected config"),
        ("dbfilename", "a/b", "can't set protected config"),
        ("appendonly", "maybe", "argument must be 'yes' or 'no'"),
        ("maxmemory-policy", "foo", "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction"),
        ("oom-score-adj", "foo", "argument(s) must be one of the following: no, yes, relative, absolute"),
        ("tcp-keepalive", "-1", "argument must be between 0 and 2147483647 inclusive"),
        ("tcp-keepalive", "-0", "argument couldn't be parsed into an integer"),
        ("timeout", " 5", "argument couldn't be parsed into an integer"),
        ("timeout", "", "argument couldn't be parsed into an integer"),
        ("maxclients", "0", "argument must be between 1 and 4294967295 inclusive"),
        ("repl-backlog-size", "0", "argument must be between 1 and 9223372036854775807 inclusive"),
        ("min-slaves-max-lag", "-1", "argument must be between 0 and 2147483647 inclusive"),
        ("client-query-buffer-limit", "1", "argument must be between 1048576 and 9223372036854775807 inclusive"),
        ("set-max-intset-entries", "-1", "argument must be between 0 and 9223372036854775807 inclusive"),
        ("save", "1", "Invalid save parameters"),
        ("save", "0 1", "Invalid save parameters"),
        ("save", " ", "Invalid save parameters"),
        ("save", "  900 1", "Invalid save parameters"),
        ("client-output-buffer-limit", "normal 1", "Wrong number of arguments in buffer limit configuration."),
        ("client-output-buffer-limit", "master 1mb 1mb 1", "Invalid client class specified in buffer limit configuration."),
        ("client-output-buffer-limit", "normal 1mb 1mb -1", "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
        ("latency-tracking-info-percentiles", "a", "Invalid latency-tracking-info-percentiles parameters"),
        ("latency-tracking-info-percentiles", "50  99", "Invalid latency-tracking-info-percentiles parameters"),
        ("latency-tracking-info-percentiles", "101", "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"),
        ("notify-keyspace-events", "K!", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ("oom-score-adj-values", "1 2", "wrong number of arguments"),
        ("oom-score-adj-values", "5 4 3000", "Invalid oom-score-adj-values, elements must be between -2000 and 2000."),
        ("shutdown-on-sigterm", "save nosave", "shutdown options SAVE and NOSAVE can't be used simultaneously"),
        ("shutdown-on-sigint", "", "argument(s) must be one of the following: default, save, nosave, now, force"),
        ("proc-title-template", "{zz}", "template format is invalid or contains unknown variables"),
        ("cluster-announce-hostname", "a b", "Hostnames may only contain alphanumeric characters, hyphens or dots"),
        ("bind", "a a a a a a a a a a a a a a a a a", "Too many bind addresses specified."),
        ("repl-ping-slave-period", "0", "argument must be between 1 and 2147483647 inclusive"),
    ];

    #[test]
    fn set_changes_all_and_tells_what() {
        let check = |words: &[&str], rows: &[&str], shown: &str| {
            let changed = set_words(&Settings::new(), words).unwrap();
            let names: Vec<&str> = changed.rows.iter().map(|row| row.name).collect();
            assert_eq!(names, rows, "{words:?}");
            assert_eq!(got(&changed.settings, &[words[0]]), format!("{}={shown}", words[0]));
        };
        check(&["maxmemory", "1GB", "timeout", "5"], &["maxmemory", "timeout"], "1073741824");
        check(&["timeout", "0"], &[], "0");
        check(&["maxmemory-clients", "10%"], &["maxmemory-clients"], "10%");
        check(&["maxmemory-clients", "5k"], &["maxmemory-clients"], "5000");
        check(&["save", ""], &["save"], "");
        check(&["save", "900 1 300 10"], &["save"], "900 1 300 10");
        check(&["hz", "9999"], &["hz"], "500");
        check(&["hz", "0"], &["hz"], "1");
        check(&["oom-score-adj", "RELATIVE"], &["oom-score-adj"], "yes");
        check(&["notify-keyspace-events", "KEA"], &["notify-keyspace-events"], "AKE");
        check(&["notify-keyspace-events", "E$"], &["notify-keyspace-events"], "$E");
        check(&["notify-keyspace-events", "g$lshzxetd"], &["notify-keyspace-events"], "A");
        check(&["notify-keyspace-events", "AKEmn"], &["notify-keyspace-events"], "AKEm");
        check(&["shutdown-on-sigterm", "force save"], &["shutdown-on-sigterm"], "save force");
        check(&["shutdown-on-sigint", "default save"], &["shutdown-on-sigint"], "save");
        check(
            &["latency-tracking-info-percentiles", "50 99.99 1e1"],
            &["latency-tracking-info-percentiles"],
            "50 99.99 10",
        );
        check(
            &["client-output-buffer-limit", "replica 1mb 1mb 1 NORMAL 1kb 1k 1"],
            &["client-output-buffer-limit"],
            "normal 1024 1000 1 slave 1048576 1048576 1 pubsub 33554432 8388608 60",
        );
        check(&["bind", "127.0.0.1 -::1"], &["bind"], "127.0.0.1 -::1");
        check(&["slave-priority", "3", "replica-priority", "4"], &["replica-priority"], "4");
        check(&["requirepass", "a b"], &["requirepass"], "a b");
        check(&["appendonly", "YES"], &["appendonly"], "yes");
    }

    #[test]
    fn protected_settings_open_to_whom_they_should() {
        let check = |protected, local, open: bool| {
            let mut settings = Settings::new();
            settings.enable_protected_configs = protected;
            assert_eq!(
                set(&settings, &[b"dir", b"/x"], local).is_ok(),
                open,
                "{protected:?} {local}"
            );
        };
        check(Protected::No, true, false);
        check(Protected::Local, false, false);
        check(Protected::Local, true, true);
        check(Protected::Yes, false, true);
    }

    #[test]
    fn what_does_nothing_is_told() {
        let told = |words: &[&str]| set_words(&Settings::new(), words).unwrap().warnings.len();
        assert_eq!(told(&["activedefrag", "yes"]), 1);
        assert_eq!(told(&["maxmemory-policy", "noeviction", "timeout", "3"]), 0);
    }
}
