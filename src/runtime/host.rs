//! What INFO tells of the process and its host: read once at the start, and sampled by a thread of
//! its own once a second, so that no core ever waits for `/proc`.

use crate::base::huge;
use crate::node::host::Host;
use crate::node::settings::{Settings, Supervised};
use crate::uring::sys;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const SAMPLE_PERIOD: Duration = Duration::from_secs(1);
/// The kernel counts threads' time in hundredths of a second (`USER_HZ`, the same on all Linux).
const TICK_US: u64 = 10_000;

/// The facts that do not change, and the first sample.
#[must_use]
pub fn describe(settings: &Settings, config_file: Option<&Path>) -> Host {
    let path = |path: &Path| {
        let absolute = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        absolute.to_string_lossy().into_owned()
    };
    let kernel = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
        text.trim().to_string()
    };
    let systemd = std::env::var_os("NOTIFY_SOCKET").is_some();
    let host = Host {
        process_id: std::process::id(),
        secret: secret(),
        executable: std::env::current_exe().map(|it| path(&it)).unwrap_or_default(),
        config_file: config_file.map(path).unwrap_or_default(),
        os: format!("{} {} {}", kernel("ostype"), kernel("osrelease"), std::env::consts::ARCH),
        supervised: match settings.supervised {
            Supervised::Systemd => "systemd",
            Supervised::Upstart => "upstart",
            Supervised::Auto if systemd => "systemd",
            Supervised::Auto | Supervised::No => "no",
        },
        memory_bytes: kilobytes("/proc/meminfo", "MemTotal:"),
        ..Host::default()
    };
    sample(&host);
    host
}

/// Samples from now on, until the process ends.
pub fn watch(host: Arc<Host>) {
    let watcher = std::thread::Builder::new().name("host".to_string());
    let spawned = watcher.spawn(move || {
        loop {
            std::thread::sleep(SAMPLE_PERIOD);
            sample(&host);
        }
    });
    if let Err(error) = spawned {
        tracing::warn!("INFO will not show memory and CPU time: {error}");
    }
}

/// Has the allocator give back what it keeps for nothing, on a thread of its own: it takes a while.
pub fn give_back_memory() {
    let worker = std::thread::Builder::new().name("give-back".to_string());
    if let Err(error) = worker.spawn(huge::give_back) {
        tracing::warn!("memory is not given back to the system: {error}");
    }
}

fn sample(host: &Host) {
    host.rss_bytes.store(kilobytes("/proc/self/status", "VmRSS:"), Relaxed);
    let (user, system) = sys::cpu_micros();
    host.cpu_user_us.store(user, Relaxed);
    host.cpu_system_us.store(system, Relaxed);
    if let Some((user, system)) = first_core_ticks() {
        host.main_user_us.store(user * TICK_US, Relaxed);
        host.main_system_us.store(system * TICK_US, Relaxed);
    }
}

/// The figure of a line `Name:  123 kB`, in bytes.
fn kilobytes(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1_024
}

/// User and system time of the thread that runs core 0.
fn first_core_ticks() -> Option<(u64, u64)> {
    fs::read_dir("/proc/self/task").ok()?.flatten().find_map(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        thread_ticks(&stat, "ringfold-0")
    })
}

/// Fields 14 and 15 of `stat` (`proc(5)`), where the thread has that name.
fn thread_ticks(stat: &str, name: &str) -> Option<(u64, u64)> {
    // The name stands in parentheses and may itself hold some.
    let (head, fields) = stat.rsplit_once(") ")?;
    // The executor puts a number of its own behind the name.
    let own = head.split_once('(')?.1.strip_prefix(name)?;
    if !own.is_empty() && !own.starts_with('-') {
        return None;
    }
    let mut fields = fields.split(' ').skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// Random bytes of the kernel; a server without them must not make passwords.
fn secret() -> [u8; 32] {
    let mut secret = [0; 32];
    let read = fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut secret));
    assert!(read.is_ok(), "/dev/urandom cannot be read");
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threads_time_is_found_behind_its_name() {
        let stat = "77 (ringfold-1-2) S 1 77 77 0 -1 4194304 9 0 0 0 123 45 0 0 20 0 1 0 5 6";
        assert_eq!(thread_ticks(stat, "ringfold-1"), Some((123, 45)));
        assert_eq!(thread_ticks(&stat.replace("1-2", "12"), "ringfold-1"), None);
        assert_eq!(thread_ticks(stat, "ringfold-0"), None);
        assert_eq!(thread_ticks("", "ringfold-0"), None);
    }

    #[test]
    fn this_process_takes_memory() {
        let host = describe(&Settings::new(), None);
        assert!(host.rss_bytes.load(Relaxed) > 0 && host.memory_bytes > 0);
        assert!(host.os.starts_with("Linux "), "{}", host.os);
    }
}
