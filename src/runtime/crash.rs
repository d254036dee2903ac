//! What a programmer's error leaves behind: a report in the log, then the end of the process.
//!
//! A panic aborts the process, whatever the build: a wrong answer would be worse. Before that it says where it
//! was, how it came there, and how the cores were. Nothing here takes a lock that the culprit may hold, and
//! nothing asks a core: it reads what they last said of themselves.

use crate::node::host::Host;
use std::backtrace::Backtrace;
use std::fmt::Write;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

static HOST: OnceLock<Arc<Host>> = OnceLock::new();
static REPORTS: AtomicBool = AtomicBool::new(true);

/// From now on a panic is reported.
pub fn watch(host: &Arc<Host>) {
    let _ = HOST.set(Arc::clone(host)); // One process, one host.
    std::panic::set_hook(Box::new(|info| {
        if REPORTS.load(Ordering::Relaxed) {
            let backtrace = Backtrace::force_capture().to_string();
            for line in report(info, &backtrace, HOST.get().map(Arc::as_ref)).lines() {
                tracing::error!("{line}");
            }
        } else {
            tracing::error!("{info}");
        }
        std::process::abort();
    }));
}

/// `crash-log-enabled`
pub fn enable(enabled: bool) {
    REPORTS.store(enabled, Ordering::Relaxed);
}

fn report(info: &PanicHookInfo<'_>, backtrace: &str, host: Option<&Host>) -> String {
    let thread = std::thread::current();
    let mut text = format!(
        "=== RINGFOLD BUG REPORT: what follows is what its authors need to find it ===\n\
         Ringfold {} on {}, thread {}\n{info}\n",
        env!("CARGO_PKG_VERSION"),
        host.map_or(std::env::consts::ARCH, |host| host.os.as_str()),
        thread.name().unwrap_or("without a name"),
    );
    if let Some(host) = host {
        state(host, &mut text);
    }
    let _ = write!(text, "--- BACKTRACE\n{backtrace}\n=== END OF THE BUG REPORT ===");
    text
}

/// How the cores were when they last said so.
fn state(host: &Host, out: &mut String) {
    let get = |it: &AtomicU64| it.load(Ordering::Relaxed);
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "--- STATE\nresident {} bytes, keys {} bytes, clients {} bytes, sockets {} + {} parked",
        get(&host.rss_bytes),
        get(&host.used_bytes),
        get(&host.client_bytes),
        get(&host.seated),
        get(&host.parked),
    );
    for (core, load) in host.loads.iter().enumerate() {
        let lag = host.lags.get(core).map_or(0, get);
        let _ = writeln!(
            out,
            "core {core}: {} turns, busy {} of 1000, last turn {} us, longest of that second {} us, sockets {}",
            get(&load.turns),
            get(&load.busy_permille),
            lag / 1_000,
            get(&load.longest_ns) / 1_000,
            get(&load.seated),
        );
    }
}
