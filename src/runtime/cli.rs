//! The command line: which configuration to read, or what to say instead of serving.
//!
//! `ringfold [server] [redis.conf | -] [--setting value ...]`, as redis-server takes it. What
//! follows the file are lines of configuration: `--name` begins one, the words up to the next
//! `--name` are its values. The word right behind a name is always its value, whatever it looks
//! like, save that `--save` alone means no rules. So no setting is an option of clap's: clap has
//! the sub-commands, `--help` and `--version`, which are only read where a line could begin first.
//!
//! Files are opened here and nowhere else on the way to the settings.

use crate::base::limits::CONFIG_FILE_BYTES_MAX;
use crate::base::settings::grammar::quote;
use crate::doctor::command::{DOCTOR_HELP, Doctor, TUNE_HELP, Tune};
use crate::doctor::failover_report::FailoverReport;
use crate::node::settings::load::{Source, load};
use crate::node::settings::{Settings, Warning};
use crate::runtime::migrate::{MIGRATE_HELP, Migrate};
use crate::runtime::papers::{self, Completions, Man};
use crate::runtime::sentinel_start::{Told, defaults, split};
use crate::runtime::top::{TOP_HELP, Top};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    Server {
        settings: Box<Settings>,
        warnings: Vec<Warning>,
        config_file: Option<PathBuf>,
    },
    Sentinel(Told),
    Doctor(Doctor),
    Tune(Tune),
    Top(Top),
    Migrate(Box<Migrate>),
    /// What to print on standard output.
    Print(Vec<u8>),
    FailoverReport(FailoverReport),
    Help(String),
    Version(String),
    Error {
        text: String,
        code: u8,
    },
}

/// Reads `argv`, the program's name first, and the files that it names.
pub fn parse(argv: impl IntoIterator<Item = OsString>) -> Invocation {
    let words = match Line::try_parse_from(as_sentinel(argv)) {
        Ok(Line { command: Some(Sub::Server(server)), .. }) => server.words,
        Ok(Line { command: Some(Sub::Sentinel(asked)), .. }) => {
            return sentinel(&asked.words)
                .map_or_else(|text| Invocation::Error { text, code: 1 }, Invocation::Sentinel);
        }
        Ok(Line { command: Some(Sub::Doctor(asked)), .. }) => return Invocation::Doctor(asked),
        Ok(Line { command: Some(Sub::Tune(asked)), .. }) => return Invocation::Tune(asked),
        Ok(Line { command: Some(Sub::Top(asked)), .. }) => return Invocation::Top(asked),
        Ok(Line { command: Some(Sub::Migrate(asked)), .. }) => return Invocation::Migrate(asked),
        Ok(Line { command: Some(Sub::FailoverReport(asked)), .. }) => {
            return Invocation::FailoverReport(asked);
        }
        Ok(Line { command: Some(Sub::Completions(asked)), .. }) => {
            return Invocation::Print(papers::completions(Line::command(), &asked));
        }
        Ok(Line { command: Some(Sub::Man(asked)), .. }) => {
            return match papers::man(Line::command(), &asked) {
                Ok(()) => Invocation::Print(Vec::new()),
                Err(error) => Invocation::Error { text: format!("{error}\n"), code: 1 },
            };
        }
        Ok(Line { command: None, server }) => server.words,
        Err(error) => {
            let text = error.render().to_string();
            return match error.kind() {
                ErrorKind::DisplayHelp => Invocation::Help(text),
                ErrorKind::DisplayVersion => Invocation::Version(text),
                _ => Invocation::Error { text, code: 1 },
            };
        }
    };
    server(&words).unwrap_or_else(|text| Invocation::Error { text, code: 1 })
}

/// A Redis-compatible in-memory server that runs one thread per core over `io_uring`.
#[derive(Parser)]
#[command(name = "ringfold", version, args_conflicts_with_subcommands = true)]
#[command(propagate_version = true, disable_version_flag = true, after_help = AFTER_HELP)]
struct Line {
    #[command(subcommand)]
    command: Option<Sub>,
    #[command(flatten)]
    server: Server,
}

#[derive(Subcommand)]
enum Sub {
    /// Serve clients (this is the default and may be left out)
    #[command(disable_version_flag = true, after_help = AFTER_HELP)]
    Server(Server),
    /// Watch masters, agree with other Sentinels on which are down, and fail over to replicas
    #[command(disable_version_flag = true, after_help = SENTINEL_HELP)]
    Sentinel(Server),
    /// Say what this host can bear, and what to change for more
    #[command(disable_version_flag = true, after_help = DOCTOR_HELP)]
    Doctor(Doctor),
    /// Change what `doctor` would change, or take it back
    #[command(disable_version_flag = true, after_help = TUNE_HELP)]
    Tune(Tune),
    /// Show a running server: cores, clients, replicas, commands
    #[command(disable_version_flag = true, after_help = TOP_HELP)]
    Top(Top),
    /// Move the data and the writers of a running server to another, and back
    #[command(disable_version_flag = true, after_help = MIGRATE_HELP)]
    Migrate(Box<Migrate>),
    /// Print completions for a shell
    #[command(disable_version_flag = true)]
    Completions(Completions),
    /// Write the man pages
    #[command(disable_version_flag = true)]
    Man(Man),
    /// Ask servers and Sentinels what they remember of the last failover, and tell it in one order
    #[command(disable_version_flag = true)]
    FailoverReport(FailoverReport),
}

#[derive(Args)]
struct Server {
    /// A configuration file in redis.conf's grammar, or `-` for standard input; then any number
    /// of settings as `--name value`, which win over the file
    #[arg(value_name = "redis.conf | --setting value", trailing_var_arg = true)]
    #[arg(allow_hyphen_values = true)]
    words: Vec<OsString>,
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

const AFTER_HELP: &str = "\
Examples:
  ringfold                                     port 6379, all defaults
  ringfold /etc/redis/redis.conf               the configuration that Redis had
  ringfold redis.conf --port 7000 --bind 127.0.0.1 ::1
  ringfold --port 7001 --replicaof 10.0.0.1 7000 --masterauth secret
  echo 'port 7000' | ringfold -

Settings are those of redis.conf, Redis 7.2 and older, and two of our own:
  cores all | COUNT | LIST    threads, one per core: all CPUs this process may use (the
                              default), so many, or one on each of these CPUs (0-3,6)
  sentinel-file FILE          a Sentinel in the same process, with this sentinel.conf
Settings without effect here are accepted and logged once at the start. A name that Redis
does not know, or a malformed value, stops the start with the file, the line and the reason.";

const SENTINEL_HELP: &str = "\
Examples:
  ringfold sentinel /etc/redis/sentinel.conf   port 26379, or the one in the file
  ringfold sentinel sentinel.conf --port 5000
  ringfold sentinel.conf --sentinel            as redis-server takes it

The file is that of redis-sentinel, and must be writable: votes, epochs and what was found out
about replicas and other Sentinels are kept in it. Comments and other lines stay.";

/// A program called `ringfold-sentinel`, or the option `--sentinel`, means the sub-command.
fn as_sentinel(argv: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut argv: Vec<OsString> = argv.into_iter().collect();
    let name = argv.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let by_name = name.as_bytes().ends_with(b"-sentinel");
    let option = argv.iter().position(|it| it == "--sentinel");
    if let Some(option) = option {
        argv.remove(option);
    }
    if (by_name || option.is_some()) && argv.get(1).is_none_or(|it| it != "sentinel") {
        argv.insert(1.min(argv.len()), "sentinel".into());
    }
    argv
}

/// A Sentinel's file and options.
///
/// # Errors
/// What to print before the process ends.
pub(super) fn sentinel(words: &[OsString]) -> Result<Told, String> {
    let (file, options) = match words.split_first() {
        Some((first, rest)) if !first.as_bytes().starts_with(b"--") => (first, rest),
        _ => {
            return Err("Sentinel needs config file on disk to save state. Exiting...\n".into());
        }
    };
    let source = read_file(Path::new(file)).map_err(fatal)?;
    let (_, others) = split(&source.text);
    let (ours, more) = split(&options_text(options));
    let mut text = source.text;
    if !ours.trim_ascii().is_empty() {
        text.extend(ours.trim_ascii());
    }
    let sources = [
        defaults(),
        Source { name: source.name, text: others },
        Source { name: "the command line".into(), text: more },
    ];
    let mut loaded = load(&sources, &mut include).map_err(|error| fatal(error.to_string()))?;
    loaded.settings.dir = directory(&loaded.settings.dir).map_err(fatal)?;
    let file = std::path::absolute(file).unwrap_or_else(|_| file.into());
    let settings = Box::new(loaded.settings);
    Ok(Told { settings, warnings: loaded.warnings, file, text })
}

/// The command line as one text and the file before it.
fn server(words: &[OsString]) -> Result<Invocation, String> {
    let (file, mut options) = match words.split_first() {
        Some((first, rest)) if !first.as_bytes().starts_with(b"--") => (Some(first), rest),
        _ => (None, words),
    };
    let mut sources = Vec::new();
    let mut from_stdin = false;
    match file {
        Some(file) if file == "-" => from_stdin = true,
        Some(file) => sources.push(read_file(Path::new(file)).map_err(fatal)?),
        None => {}
    }
    if let Some((last, rest)) = options.split_last()
        && last == "-"
    {
        (from_stdin, options) = (true, rest);
    }
    if from_stdin {
        sources.push(read_stdin().map_err(fatal)?);
    }
    let text = options_text(options);
    sources.push(Source { name: "the command line".into(), text });
    let mut loaded = load(&sources, &mut include).map_err(|error| fatal(error.to_string()))?;
    loaded.settings.dir = directory(&loaded.settings.dir).map_err(fatal)?;
    let config_file = file.filter(|file| *file != "-").map(PathBuf::from);
    let config_file = config_file.map(|path| std::path::absolute(&path).unwrap_or(path));
    let settings = Box::new(loaded.settings);
    Ok(Invocation::Server { settings, warnings: loaded.warnings, config_file })
}

fn fatal(why: String) -> String {
    format!("ringfold cannot start with this configuration:\n{why}\n")
}

/// Options as lines of a configuration file.
fn options_text(options: &[OsString]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut options = options.iter().map(|it| it.as_bytes()).peekable();
    // Whether the next word is a value even if it begins with `--`.
    let mut wants_value = false;
    while let Some(word) = options.next() {
        let name = word.strip_prefix(b"--".as_slice()).filter(|_| !wants_value);
        let Some(name) = name else {
            text.push(b' ');
            text.extend(quote(word));
            wants_value = false;
            continue;
        };
        text.push(b'\n');
        text.extend(name);
        let next_is_name = options.peek().is_none_or(|next| next.starts_with(b"--"));
        let bare_save = name.eq_ignore_ascii_case(b"save") && next_is_name;
        if bare_save {
            text.extend(b" \"\"");
        }
        // `--"port 7000"` as one argument has its value already.
        wants_value = !bare_save && !name.contains(&b' ');
    }
    // The first option is on line 1.
    text.strip_prefix(b"\n".as_slice()).map(<[u8]>::to_vec).unwrap_or(text)
}

fn read_file(path: &Path) -> Result<Source, String> {
    let open = std::fs::File::open(path);
    let text = open.map_err(|error| error.to_string()).and_then(read_bounded);
    match text {
        Ok(text) => Ok(Source { name: path.display().to_string(), text }),
        Err(why) => Err(format!("cannot read {}: {why}", path.display())),
    }
}

fn read_stdin() -> Result<Source, String> {
    let text = read_bounded(std::io::stdin().lock());
    let text = text.map_err(|why| format!("cannot read standard input: {why}"))?;
    Ok(Source { name: "standard input".into(), text })
}

fn read_bounded(from: impl Read) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let mut from = from.take(CONFIG_FILE_BYTES_MAX + 1);
    let read = from.read_to_end(&mut text).map_err(|error| error.to_string())?;
    if read as u64 > CONFIG_FILE_BYTES_MAX {
        return Err(format!("longer than {CONFIG_FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}

/// The files of one `include`. A name must exist; a pattern may match nothing, so that an empty
/// `conf.d` is fine. Patterns are for the last part of a path.
fn include(pattern: &[u8]) -> Result<Vec<Source>, String> {
    let path = Path::new(OsStr::from_bytes(pattern));
    let wild = |part: &OsStr| part.as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?'));
    let name = match path.file_name() {
        Some(name) if wild(name) => name.as_bytes(),
        _ => return Ok(vec![read_file(path)?]),
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if wild(dir.as_os_str()) {
        return Err("only the last part of a path may have * or ? in it".into());
    }
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(Vec::new()) };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let mut names: Vec<OsString> = names
        .filter(|it| name.starts_with(b".") || !it.as_bytes().starts_with(b"."))
        .filter(|it| name_matches(name, it.as_bytes()))
        .collect();
    names.sort_unstable();
    names.iter().map(|it| read_file(&dir.join(it))).collect()
}

/// `*` is any bytes, `?` is one; there is nothing else in names of files. Backs up to the last
/// `*` only, so it costs at most pattern times text.
fn name_matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || Some(byte) == text.get(t) => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (p, t) = (star_at + 1, taken + 1);
            }
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

/// `dir` as an absolute path, as `CONFIG GET dir` shows it.
fn directory(dir: &[u8]) -> Result<Vec<u8>, String> {
    let path = Path::new(OsStr::from_bytes(dir));
    let found = path.canonicalize().map_err(|error| error.to_string());
    match found {
        Ok(found) if found.is_dir() => Ok(found.into_os_string().into_vec()),
        Ok(_) => Err(format!("dir {}: not a directory", path.display())),
        Err(why) => Err(format!("dir {}: {why}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Invocation {
        parse(["ringfold"].iter().chain(words).map(OsString::from))
    }

    fn settings(words: &[&str]) -> (Settings, Vec<Warning>) {
        match run(words) {
            Invocation::Server { settings, warnings, .. } => (*settings, warnings),
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn options_become_lines() {
        let check = |words: &[&str], expected: &str| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert_eq!(String::from_utf8(options_text(&words)).unwrap(), expected, "{words:?}");
        };
        check(&[], "");
        check(&["--port", "1"], "port \"1\"");
        check(&["--port", "1", "--bind", "a", "b"], "port \"1\"\nbind \"a\" \"b\"");
        check(&["--save", "--port", "1"], "save \"\"\nport \"1\"");
        check(&["--save"], "save \"\"");
        check(&["--save", "", "--port", "1"], "save \"\"\nport \"1\"");
        check(&["--requirepass", "--x", "--port", "1"], "requirepass \"--x\"\nport \"1\"");
        check(&["--port 1", "--timeout 2"], "port 1\ntimeout 2");
    }

    #[test]
    fn the_command_line_wins_over_nothing_but_itself() {
        assert_eq!(settings(&[]).0.port, 6379);
        assert_eq!(settings(&["server"]).0.port, 6379);
        assert_eq!(settings(&["--port", "7000", "--port", "7001"]).0.port, 7001);
        let both = settings(&["server", "--port", "7000", "--bind", "127.0.0.1", "::1"]).0;
        assert_eq!((both.port, both.bind.len()), (7000, 2));
        assert_eq!(settings(&["--requirepass", "--help"]).0.requirepass.0, b"--help");
        assert!(Path::new(OsStr::from_bytes(&settings(&[]).0.dir)).is_absolute());
    }

    #[test]
    fn help_version_and_mistakes_are_told() {
        assert!(matches!(run(&["--help"]), Invocation::Help(text) if text.contains("--port 7000")));
        assert!(matches!(run(&["-v"]), Invocation::Version(text) if text.starts_with("ringfold ")));
        assert!(matches!(run(&["--version"]), Invocation::Version(_)));
        for (words, told) in [
            (vec!["--foo", "1"], "the command line, line 1: Bad directive"),
            (vec!["--port", "1", "--timeout", "x"], "the command line, line 2: argument couldn't"),
            (vec!["/nonexistent/redis.conf"], "cannot read /nonexistent/redis.conf"),
            (vec!["--dir", "/nonexistent"], "dir /nonexistent: No such file"),
        ] {
            match run(&words) {
                Invocation::Error { text, code: 1 } => assert!(text.contains(told), "{text}"),
                other => panic!("{words:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn other_commands_have_options_of_their_own() {
        assert!(matches!(run(&["doctor", "--clients", "5", "--json"]), Invocation::Doctor(_)));
        assert!(matches!(run(&["tune", "--apply", "--permanent"]), Invocation::Tune(_)));
        for wrong in [
            vec!["doctor", "--clients", "0"],
            vec!["doctor", "--data", "lots"],
            vec!["tune", "--permanent"],
            vec!["tune", "--apply", "--revert"],
        ] {
            assert!(matches!(run(&wrong), Invocation::Error { code: 1, .. }), "{wrong:?}");
        }
    }

    #[test]
    fn files_that_use_everything_start() {
        let every = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/every-directive.conf");
        let (all, warnings) = settings(&[every, "--port", "7000"]);
        assert_eq!((all.port, all.users.len(), all.renamed_commands.len()), (7000, 1, 1));
        assert!(warnings.len() > 50, "{}", warnings.len());
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/tuning/ringfold.conf");
        assert_eq!(settings(&[example]).1, []);
        for ready in ["master.conf", "replica.conf"] {
            let file = format!("{}/tuning/{ready}", env!("CARGO_MANIFEST_DIR"));
            let (ready, warnings) = settings(&[&file, "--dir", "/"]);
            assert_eq!((ready.maxclients, warnings), (50_000, Vec::new()), "{file}");
        }
        // Debian's own file, where its package is installed and it may be read.
        let stock = "/etc/redis/redis.conf";
        if std::fs::File::open(stock).is_ok() && Path::new("/var/lib/redis").is_dir() {
            assert!(settings(&[stock]).1.iter().all(|warning| warning.file == stock));
        }
    }

    #[test]
    fn names_of_files_match_patterns() {
        let check = |pattern: &str, text: &str, expected| {
            let found = name_matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, expected, "{pattern} {text}");
        };
        check("*.conf", "a.conf", true);
        check("*.conf", "a.conf.old", false);
        check("a?c*", "abc", true);
        check("a?c", "ac", false);
        check("*a*b", "xaxaxb", true);
        check("*a*b", "xaxax", false);
        check("", "", true);
    }
}
