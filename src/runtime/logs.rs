//! Where log lines go: `tracing` to standard output or the log file, and to syslog besides.
//!
//! ```text
//!   4711 2026-11-22T14:03:11.123Z  INFO DB loaded from disk: 3 keys        pid, time in UTC, level, text
//!   {"time":"2026-11-22T14:03:11.123Z","pid":4711,"level":"notice","thread":"ringfold-0","message":"DB loaded .."}
//! ```
//!
//! Four levels of Redis, four of `tracing`: debug is TRACE, verbose DEBUG, notice INFO, warning WARN.
//!
//! The file may be moved away at any time (logrotate): SIGHUP has it opened anew under its name. Until a file
//! is open, and where it cannot be written, lines go to standard error: whoever starts a server by hand sees why
//! it does not start.

use crate::node::outbox::Level;
use crate::node::settings::{LogFormat, LogLevel, Settings, SyslogFacility};
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{OnceLock, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The sink of the process, once there is one.
static SINK: OnceLock<Sink> = OnceLock::new();
/// The loudest level that is written (`rank`).
static LOUDEST: AtomicU8 = AtomicU8::new(2);

const SYSLOG_SOCKET: &str = "/dev/log";

/// Sends all log lines of the process where the settings say.
///
/// # Errors
/// The file's, where it cannot be opened. Lines go to standard error then.
pub fn start(settings: &Settings) -> io::Result<()> {
    set_level(settings.loglevel);
    let path = PathBuf::from(OsStr::from_bytes(&settings.logfile));
    let opened = if settings.logfile.is_empty() { Ok(None) } else { open(&path).map(Some) };
    let (target, result) = match opened {
        Ok(None) => (Target::Stdout, Ok(())),
        Ok(Some(file)) => (Target::File { path, file: RwLock::new(file) }, Ok(())),
        Err(error) => (Target::Stderr, Err(error)),
    };
    let syslog = settings.syslog_enabled.then(|| {
        let ident = String::from_utf8_lossy(&settings.syslog_ident).into_owned();
        Syslog::new(ident, settings.syslog_facility, Path::new(SYSLOG_SOCKET))
    });
    let sink = Sink { target, format: settings.log_format, syslog };
    // A second start, in a test: the first sink stays.
    let _ = SINK.set(sink);
    let _ = tracing_subscriber::registry().with(Lines).try_init();
    result
}

/// How much is written from now on.
pub fn set_level(level: LogLevel) {
    let rank = match level {
        LogLevel::Debug => 4,
        LogLevel::Verbose => 3,
        LogLevel::Notice => 2,
        LogLevel::Warning => 1,
    };
    LOUDEST.store(rank, Ordering::Relaxed);
}

/// Opens the log file anew; where that cannot be done the old one stays.
pub fn reopen() {
    let Some(Sink { target: Target::File { path, file }, .. }) = SINK.get() else { return };
    match open(path) {
        Ok(new) => {
            if let Ok(mut file) = file.write() {
                *file = new;
            }
            tracing::info!("the log file is open anew");
        }
        Err(error) => tracing::warn!("the log file cannot be opened anew: {error}"),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// One line of the node's.
pub fn write(level: Level, text: &str) {
    match level {
        Level::Debug => tracing::trace!("{text}"),
        Level::Verbose => tracing::debug!("{text}"),
        Level::Notice => tracing::info!("{text}"),
        Level::Warning => tracing::warn!("{text}"),
    }
}

struct Sink {
    target: Target,
    format: LogFormat,
    syslog: Option<Syslog>,
}

enum Target {
    Stdout,
    Stderr,
    File { path: PathBuf, file: RwLock<File> },
}

impl Sink {
    fn line(&self, level: tracing::Level, text: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stamp = stamp(now.as_secs(), now.subsec_millis());
        let line = match self.format {
            LogFormat::RedisText => text_line(&stamp, level, text),
            LogFormat::Json => json_line(&stamp, level, text),
        };
        let written = match &self.target {
            Target::Stdout => io::stdout().write_all(line.as_bytes()),
            Target::Stderr => io::stderr().write_all(line.as_bytes()),
            Target::File { file, .. } => match file.try_read() {
                Ok(file) => (&*file).write_all(line.as_bytes()),
                // It is being opened anew at this very moment.
                Err(_) => io::stderr().write_all(line.as_bytes()),
            },
        };
        if written.is_err() {
            let _ = io::stderr().write_all(line.as_bytes()); // There is nobody left to tell.
        }
        if let Some(syslog) = &self.syslog {
            syslog.send(level, text);
        }
    }
}

fn text_line(stamp: &str, level: tracing::Level, text: &str) -> String {
    format!("{} {stamp} {level:>5} {text}\n", std::process::id())
}

fn json_line(stamp: &str, level: tracing::Level, text: &str) -> String {
    let thread = std::thread::current();
    let line = serde_json::json!({
        "time": stamp,
        "pid": std::process::id(),
        "level": name(level),
        "thread": thread.name().unwrap_or_default(),
        "message": text,
    });
    format!("{line}\n")
}

/// As Redis names it.
fn name(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::TRACE => "debug",
        tracing::Level::DEBUG => "verbose",
        tracing::Level::INFO => "notice",
        tracing::Level::WARN => "warning",
        tracing::Level::ERROR => "error",
    }
}

fn rank(level: tracing::Level) -> u8 {
    match level {
        tracing::Level::TRACE => 4,
        tracing::Level::DEBUG => 3,
        tracing::Level::INFO => 2,
        tracing::Level::WARN => 1,
        tracing::Level::ERROR => 0,
    }
}

/// What `tracing` calls: every line of the process.
struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes() // The level may change at any time.
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        rank(*metadata.level()) <= LOUDEST.load(Ordering::Relaxed)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(sink) = SINK.get() else { return };
        let mut message = Message(String::new());
        event.record(&mut message);
        sink.line(*event.metadata().level(), &message.0);
    }
}

/// The text of an event, and other fields behind it.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// The system's log, by its socket: what it does not take at once is not waited for.
struct Syslog {
    ident: String,
    facility: u8,
    path: PathBuf,
    socket: RwLock<Option<UnixDatagram>>,
}

impl Syslog {
    fn new(ident: String, facility: SyslogFacility, path: &Path) -> Self {
        // RFC 5424, section 6.2.1.
        let facility = match facility {
            SyslogFacility::User => 1,
            SyslogFacility::Local0 => 16,
            SyslogFacility::Local1 => 17,
            SyslogFacility::Local2 => 18,
            SyslogFacility::Local3 => 19,
            SyslogFacility::Local4 => 20,
            SyslogFacility::Local5 => 21,
            SyslogFacility::Local6 => 22,
            SyslogFacility::Local7 => 23,
        };
        Self { ident, facility, path: path.to_path_buf(), socket: RwLock::new(None) }
    }

    fn connect(&self) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        Ok(socket)
    }

    /// The log may have been started anew, so what fails is tried once more.
    fn send(&self, level: tracing::Level, text: &str) {
        let severity = match level {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 5,
            tracing::Level::DEBUG => 6,
            tracing::Level::TRACE => 7,
        };
        let priority = self.facility * 8 + severity;
        // Without a time: the receiver knows when it came, and in which zone it lives.
        let line = format!("<{priority}>{}[{}]: {text}", self.ident, std::process::id());
        let sent = |socket: &Option<UnixDatagram>| {
            socket.as_ref().is_some_and(|it| it.send(line.as_bytes()).is_ok())
        };
        if self.socket.read().is_ok_and(|socket| sent(&socket)) {
            return;
        }
        if let Ok(mut socket) = self.socket.write() {
            *socket = self.connect().ok();
            sent(&socket);
        }
    }
}

/// `2026-11-22T14:03:11.123Z`.
fn stamp(seconds: u64, millis: u32) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    let second = seconds % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        second / 3_600,
        second / 60 % 60,
        second % 60,
    )
}

/// The date of a day since the epoch (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_779), (2026, 11, 22));
        assert_eq!(stamp(1_795_356_191, 7), "2026-11-22T14:03:11.007Z");
    }

    #[test]
    fn a_line_is_text_or_json() {
        let level = tracing::Level::WARN;
        let pid = std::process::id();
        assert_eq!(text_line("now", level, "a \"b\""), format!("{pid} now  WARN a \"b\"\n"));
        let line = json_line("now", level, "a \"b\"\nc");
        assert_eq!(line.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a \"b\"\nc");
        assert_eq!((&value["level"], &value["pid"]), (&"warning".into(), &pid.into()));
    }

    #[test]
    fn syslog_is_found_again_after_it_was_away() {
        let dir = std::env::temp_dir().join(format!("ringfold-syslog-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("log");
        let syslog = Syslog::new("ident".into(), SyslogFacility::Local3, &path);
        syslog.send(tracing::Level::INFO, "nobody hears this");
        for _ in 0..2 {
            let _ = std::fs::remove_file(&path);
            let receiver = UnixDatagram::bind(&path).unwrap();
            syslog.send(tracing::Level::WARN, "hello");
            let mut bytes = [0; 200];
            let len = receiver.recv(&mut bytes).unwrap();
            let expected = format!("<{}>ident[{}]: hello", 19 * 8 + 4, std::process::id());
            assert_eq!(str::from_utf8(&bytes[..len]).unwrap(), expected);
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
