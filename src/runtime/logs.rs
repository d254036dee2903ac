//! Where log lines go: `tracing` to standard output or the log file.
//!
//! ```text
//!   4711 2026-11-22T14:03:11.123Z  INFO DB loaded from disk: 3 keys        pid, time in UTC, level, text
//! ```
//!
//! Four levels of Redis, four of `tracing`: debug is TRACE, verbose DEBUG, notice INFO, warning WARN.

use crate::node::outbox::Level;
use crate::node::settings::LogLevel;
use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// Sends all log lines of the process to `file`, or to standard output where it is empty.
///
/// # Errors
/// The file's, where it cannot be opened.
pub fn start(level: LogLevel, file: &Path) -> io::Result<()> {
    let filter = match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(filter)
        .with_target(false)
        .with_ansi(false)
        .with_timer(Stamp);
    if file.as_os_str().is_empty() {
        builder.with_writer(io::stdout).init();
    } else {
        let file = OpenOptions::new().create(true).append(true).open(file)?;
        builder.with_writer(Arc::new(file)).init();
    }
    Ok(())
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

/// `pid 2026-11-22T14:03:11.123Z`.
struct Stamp;

impl FormatTime for Stamp {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (year, month, day) = civil(now.as_secs() / 86_400);
        let second = now.as_secs() % 86_400;
        write!(
            w,
            "{} {year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            std::process::id(),
            second / 3_600,
            second / 60 % 60,
            second % 60,
            now.subsec_millis()
        )
    }
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
    use super::civil;

    #[test]
    fn days_have_their_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(20_779), (2026, 11, 22));
    }
}
