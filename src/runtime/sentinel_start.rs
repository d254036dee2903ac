//! Starts a Sentinel, as a process of its own or beside a server: its file, its port, its thread.
//!
//! The file is both: `sentinel` lines are the Sentinel's (and written anew by it), all others are settings as
//! a server's file has them. It must be writable, for a Sentinel without a memory could vote twice.

use crate::node::REDIS_VERSION;
use crate::node::settings::load::Source;
use crate::node::settings::{Settings, Supervised, Warning, report};
use crate::runtime::clock::Clock;
use crate::runtime::serve::{
    BAD_CONFIGURATION, Refusal, UNFIT_HOST, clean_up, listen, listen_for_tls, random_seed, refuse,
    write_pidfile,
};
use crate::runtime::tls::Store;
use crate::runtime::{cli, host, logs, notify, sentinel};
use crate::sentinel::machine::Sentinel;
use crate::sentinel::settings as watching;
use crate::uring::{fit, sys};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What the command line says of a Sentinel.
#[derive(Debug)]
pub struct Told {
    pub settings: Box<Settings>,
    pub warnings: Vec<Warning>,
    pub file: PathBuf,
    /// The whole file, and `sentinel` lines of the command line behind it.
    pub text: Vec<u8>,
}

/// What a Sentinel's settings are before its file is read.
#[must_use]
pub fn defaults() -> Source {
    Source {
        name: "a Sentinel's defaults".into(),
        text: b"port 26379\nprotected-mode no\n".to_vec(),
    }
}

/// The text with and without its `sentinel` lines; the numbers of lines stay.
#[must_use]
pub fn split(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for line in text.split(|&byte| byte == b'\n') {
        let word = line.trim_ascii_start().split(u8::is_ascii_whitespace).next();
        let is_ours = word.is_some_and(|it| it.eq_ignore_ascii_case(b"sentinel"));
        let (to, other) = if is_ours { (&mut ours, &mut others) } else { (&mut others, &mut ours) };
        to.extend_from_slice(line);
        to.push(b'\n');
        other.push(b'\n');
    }
    (ours, others)
}

/// Watches until a signal or SHUTDOWN ends it.
#[must_use]
pub fn run(told: Told) -> ExitCode {
    match start(told) {
        Ok(code) => ExitCode::from(code),
        Err(Refusal { code, why }) => {
            tracing::error!("{why}");
            ExitCode::from(code)
        }
    }
}

fn start(told: Told) -> Result<u8, Refusal> {
    let settings = &told.settings;
    if settings.daemonize {
        sys::daemonize().map_err(|error| refuse(UNFIT_HOST, "cannot daemonize", &error))?;
    }
    logs::start(settings)
        .map_err(|error| refuse(BAD_CONFIGURATION, "cannot open the log file", &error))?;
    fit::check().map_err(|unfit| Refusal { code: UNFIT_HOST, why: unfit.to_string() })?;
    let signals = sys::signal_descriptor()
        .map_err(|error| refuse(UNFIT_HOST, "cannot watch for signals", &error))?;
    let ready = prepare(&told)?;
    write_pidfile(settings)?;
    if matches!(settings.supervised, Supervised::Systemd | Supervised::Auto) {
        notify::ready();
    }
    let result = ready.run(Some(signals));
    clean_up(settings);
    result.map_err(|error| refuse(UNFIT_HOST, "the socket ring failed", &error))
}

/// A Sentinel in a server's process, on a thread of its own: it ends with the process, and the process goes
/// on without it.
pub(super) fn beside(file: &Path) -> Result<(), Refusal> {
    let told = cli::sentinel(&[file.into()]);
    let told = told.map_err(|why| Refusal { code: BAD_CONFIGURATION, why })?;
    let ready = prepare(&told)?;
    let thread = std::thread::Builder::new().name("sentinel".into());
    let spawned = thread.spawn(move || match ready.run(None) {
        Ok(_) => tracing::warn!("the Sentinel has ended, the server goes on"),
        Err(error) => tracing::error!("the Sentinel has ended: {error}"),
    });
    spawned.map(drop).map_err(|error| refuse(UNFIT_HOST, "cannot start the Sentinel", &error))
}

/// A Sentinel that can run.
struct Ready {
    sentinel: Sentinel,
    clock: Clock,
    file: PathBuf,
    doors: sentinel::Doors,
}

impl Ready {
    fn run(self, signals: Option<OwnedFd>) -> std::io::Result<u8> {
        sentinel::run(self.sentinel, self.clock, self.file, self.doors, signals)
    }
}

/// Reads what was told, and listens.
fn prepare(told: &Told) -> Result<Ready, Refusal> {
    let Told { settings, warnings, file, text } = told;
    for line in report(warnings) {
        tracing::warn!("{line}");
    }
    let writable = std::fs::OpenOptions::new().append(true).open(file);
    writable.map_err(|error| {
        let what = format!("Sentinel config file {} is not writable", file.display());
        refuse(BAD_CONFIGURATION, &what, &error)
    })?;
    let clock = Clock::new();
    let mut sentinel = Sentinel::new(clock.now(), random_seed(), watched(settings, file));
    sentinel.load(text).map_err(|bad| Refusal {
        code: BAD_CONFIGURATION,
        why: format!("*** FATAL CONFIG FILE ERROR ***\n{bad}"),
    })?;
    let tls = Store::of(settings).map_err(|why| Refusal { code: BAD_CONFIGURATION, why })?;
    let doors = sentinel::Doors {
        listeners: listen(settings)?,
        tls_listeners: listen_for_tls(settings)?,
        tls,
        dials_by_tls: settings.tls_replication,
    };
    tracing::info!("Running mode=sentinel, port={}.", reached_by(settings));
    if settings.requirepass.0.is_empty() && !settings.protected_mode {
        tracing::warn!(
            "no requirepass: whoever reaches port {} may reconfigure this Sentinel",
            settings.port
        );
    }
    Ok(Ready { sentinel, clock, file: file.clone(), doors })
}

/// What a Sentinel is told of settings, process and host.
fn watched(settings: &Settings, file: &Path) -> watching::Settings {
    let facts = host::describe(settings, Some(file));
    let mut requirepass = settings.requirepass.0.clone();
    let mut users = Vec::new();
    for words in &settings.users {
        let Some((name, rules)) = words.split_first() else { continue };
        let password = rules.iter().find_map(|it| it.strip_prefix(b">"));
        match (name.as_slice(), password) {
            (_, None) => {}
            (b"default", Some(password)) => requirepass = password.to_vec(),
            (name, Some(password)) => {
                users.push((String::from_utf8_lossy(name).into_owned(), password.to_vec()));
            }
        }
    }
    watching::Settings {
        port: reached_by(settings),
        requirepass,
        users,
        protected_mode: settings.protected_mode,
        maxclients: usize::try_from(settings.maxclients).unwrap_or(usize::MAX),
        is_executable,
        facts: watching::Facts {
            version: REDIS_VERSION.to_string(),
            os: facts.os,
            pid: facts.process_id,
            run_id: run_id(),
            executable: facts.executable,
            config_file: facts.config_file,
        },
    }
}

/// The port by which other Sentinels reach this one.
fn reached_by(settings: &Settings) -> u16 {
    let by_tls = settings.tls_port != 0 && (settings.tls_replication || settings.port == 0);
    if by_tls { settings.tls_port } else { settings.port }
}

fn is_executable(path: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Forty digits for this life of the process.
fn run_id() -> String {
    let id: String = (0..3).map(|_| format!("{:016x}", random_seed())).collect();
    id.get(..40).unwrap_or(&id).to_string()
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn lines_keep_their_numbers() {
        let (ours, others) = split(b"port 1\n  SENTINEL myid x\n# sentinel\nsentinels 1");
        assert_eq!(ours, b"\n  SENTINEL myid x\n\n\n");
        assert_eq!(others, b"port 1\n\n# sentinel\nsentinels 1\n");
    }
}
