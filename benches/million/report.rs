//! What the proof found: a table for people, JSON for programs, one page with all curves.

use super::proof::{Found, Hot, Plan};
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::process::{Command, Stdio};

const GIB: f64 = (1u64 << 30) as f64;
const MIB: f64 = (1u64 << 20) as f64;

/// Writes everything; returns the table.
pub fn write(plan: &Plan, found: &Found, date: &str) -> Result<String, String> {
    let wrong = |why: std::io::Error| format!("{}: {why}", plan.folder.display());
    let text = markdown(plan, found, date);
    fs::write(plan.folder.join("million.md"), &text).map_err(wrong)?;
    let json = serde_json::to_string_pretty(&document(plan, found, date)).unwrap_or_default();
    fs::write(plan.folder.join("million.json"), json + "\n").map_err(wrong)?;
    page(plan, found);
    Ok(text)
}

/// The curves of all steps over each other; a page that cannot be drawn is no reason to lose the rest.
fn page(plan: &Plan, found: &Found) {
    let reports = found.hot.iter().map(|it| plan.folder.join(format!("{}.json", it.step)));
    let many = plan.folder.join("many.json");
    let reports: Vec<_> = reports.chain([many]).filter(|it| it.exists()).collect();
    if reports.is_empty() {
        return;
    }
    let title = format!("{} hot clients beside {} others", plan.hot, found.held);
    let mut command = Command::new(&plan.loadgen);
    command.arg("page").args(reports).arg("--out").arg(plan.folder.join("million.html"));
    let _drawn = command.args(["--title", &title]).stdout(Stdio::null()).status();
}

fn of<'f>(found: &'f Found, step: &str) -> Option<&'f Hot> {
    found.hot.iter().find(|it| it.step == step)
}

/// The held clients' figure over the same one without them.
fn ratio(found: &Found, figure: fn(&Hot) -> f64) -> Option<f64> {
    let (alone, held) = (of(found, "alone")?, of(found, "held")?);
    (figure(alone) > 0.0).then(|| figure(held) / figure(alone))
}

/// What was found, and what it should be.
#[rustfmt::skip] // One row, one figure.
fn figures(plan: &Plan, found: &Found) -> Vec<(&'static str, String, String)> {
    let user = found.server_bytes + found.loadgen_bytes;
    let each = |bytes: u64| bytes as f64 / found.held.max(1) as f64;
    let times = |it: Option<f64>| it.map_or("not reached".into(), |it| format!("{it:.2}"));
    let seconds = |it: f64| if it > 0.0 { format!("{it:.1} s") } else { "not reached".into() };
    vec![
        ("clients held", found.held.to_string(), plan.clients.to_string()),
        ("until all were there", seconds(found.ramp_seconds), String::new()),
        ("parked sockets, tables", format!("{}, {}", found.parked, found.tables), String::new()),
        (
            "kernel memory, both ends",
            format!("{:.2} GiB", found.kernel_bytes as f64 / GIB),
            "9 GB for a million".into(),
        ),
        (
            "kernel bytes per client, both ends",
            format!("{:.0}", each(found.kernel_bytes)),
            "9000".into(),
        ),
        (
            "user memory, both ends",
            format!("{:.0} MiB", user as f64 / MIB),
            "0.4 GB for a million".into(),
        ),
        (
            "server bytes per client",
            format!("{:.0}", each(found.server_bytes)),
            "160, floor 400".into(),
        ),
        ("loadgen bytes per client", format!("{:.0}", each(found.loadgen_bytes)), String::new()),
        ("p99 beside them / alone", times(ratio(found, |it| it.p99)), "1.3".into()),
        ("p99.9 beside them / alone", times(ratio(found, |it| it.p999)), "1.3".into()),
        ("INFO, median / most", info(found), String::new()),
        (
            "CLIENT LIST",
            format!(
                "{} lines, {:.0} MiB, {}",
                found.listed.lines,
                found.listed.bytes as f64 / MIB,
                seconds(found.list_seconds)
            ),
            String::new(),
        ),
        ("full sync beside them", seconds(found.sync_seconds), String::new()),
        (
            "storm: cut, back within",
            format!("{}, {}", found.storm_cut, seconds(found.storm_seconds)),
            String::new(),
        ),
        (
            "requests of the many, errors, lost",
            format!("{}, {}, {}", found.cold_requests, found.cold_errors, found.cold_lost),
            "0 errors, 0 lost".into(),
        ),
        ("replica equal at the end", yes(found.replica_is_equal).into(), "yes".into()),
        (
            "kernel memory left over",
            format!("{:.0} MiB", found.kernel_after_bytes as f64 / MIB),
            String::new(),
        ),
        ("the whole proof", seconds(found.seconds), String::new()),
    ]
}

fn row(text: &mut String, what: &str, figure: &str, bar: &str) {
    let _ = writeln!(text, "| {what} | {figure} | {bar} |");
}

fn markdown(plan: &Plan, found: &Found, date: &str) -> String {
    let each = |bytes: u64| bytes as f64 / found.held.max(1) as f64;
    let mut text = format!(
        "# {} clients in one server process, {date}\n\n{}\n\n| what | found | bar |\n|---|---:|---:|\n",
        found.held,
        host()
    );
    let rows = figures(plan, found);
    rows.iter().for_each(|(what, figure, bar)| row(&mut text, what, figure, bar));
    text += "\nThe hot clients, latency from the planned time of each request, in microseconds:\n\n\
             | step | samples | per second | p50 | p99 | p99.9 | max | server CPU ns/op |\n\
             |---|---:|---:|---:|---:|---:|---:|---:|\n";
    for it in &found.hot {
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |",
            it.step, it.samples, it.per_second, it.p50, it.p99, it.p999, it.max, it.server_cpu_ns
        );
    }
    text += "\n`held` polls INFO, `busy` reads CLIENT LIST and synchronises a second replica, `storm` \
             cuts all others off.\n";
    list(
        &mut text,
        "Where the kernel's memory went",
        found.caches.iter().map(|(name, bytes)| {
            format!("{name}: {:.0} MiB, {:.0} bytes per client", *bytes as f64 / MIB, each(*bytes))
        }),
    );
    list(&mut text, "Failures", found.failures.iter().cloned());
    list(&mut text, "Left out", found.left_out.iter().cloned());
    list(&mut text, "Commands", found.commands.iter().map(|it| format!("`{it}`")));
    text
}

fn list(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.map(|it| format!("- {it}\n")).collect();
    if !lines.is_empty() {
        let _ = write!(text, "\n{title}:\n\n{}", lines.concat());
    }
}

fn yes(it: bool) -> &'static str {
    if it { "yes" } else { "no" }
}

fn info(found: &Found) -> String {
    let mut all = found.info_ms.clone();
    all.sort_by(f64::total_cmp);
    match (all.get(all.len() / 2), all.last()) {
        (Some(median), Some(most)) => format!("{median:.1} / {most:.1} ms"),
        _ => "not reached".into(),
    }
}

/// One line about the machine.
fn host() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|it| it.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|it| it.strip_prefix("MemTotal:")).unwrap_or_default();
    let load = read("/proc/loadavg");
    format!(
        "{count} CPUs ({model}), {} of memory, Linux {}, load {load}",
        memory.trim(),
        read("/proc/sys/kernel/osrelease")
    )
}

fn document(plan: &Plan, found: &Found, date: &str) -> Value {
    let hot: Vec<Value> = found
        .hot
        .iter()
        .map(|it| {
            json!({
                "step": it.step, "samples": it.samples, "per_second": it.per_second,
                "p50_us": it.p50, "p99_us": it.p99, "p999_us": it.p999, "max_us": it.max,
                "server_cpu_ns": it.server_cpu_ns,
            })
        })
        .collect();
    json!({
        "date": date, "host": host(), "clients": plan.clients, "held": found.held,
        "parked": found.parked, "tables": found.tables, "ramp_seconds": found.ramp_seconds,
        "kernel_bytes": found.kernel_bytes, "kernel_after_bytes": found.kernel_after_bytes,
        "caches": found.caches, "server_bytes": found.server_bytes,
        "loadgen_bytes": found.loadgen_bytes, "hot": hot,
        "p99_ratio": ratio(found, |it| it.p99), "p999_ratio": ratio(found, |it| it.p999),
        "info_ms": found.info_ms, "list_lines": found.listed.lines,
        "list_bytes": found.listed.bytes, "list_seconds": found.list_seconds,
        "sync_seconds": found.sync_seconds, "storm_cut": found.storm_cut,
        "storm_seconds": found.storm_seconds, "cold_requests": found.cold_requests,
        "cold_errors": found.cold_errors, "cold_lost": found.cold_lost,
        "replica_is_equal": found.replica_is_equal, "commands": found.commands,
        "left_out": found.left_out, "failures": found.failures, "seconds": found.seconds,
    })
}
