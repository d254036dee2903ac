//! What `ringfold top` shows, from two INFO texts and the time between them: rates, cores, replicas, commands.
//!
//! A function from texts to text. The texts come from whatever answers at that address, so nothing in them is
//! trusted: what is no number is 0, what a terminal would obey is shown as `?`, and lists are cut.

use std::collections::BTreeMap;
use std::fmt::Write;

/// Rows of a list; more are only counted.
const ROWS_MAX: usize = 24;
const COMMANDS_MAX: usize = 8;
const BAR_COLUMNS: usize = 16;
/// Bytes of a name that is not ours.
const NAME_BYTES_MAX: usize = 40;

/// An INFO text by its fields.
#[derive(Clone, Debug, Default)]
pub struct Sample(BTreeMap<String, String>);

impl Sample {
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Self(fields.map(|(name, value)| (name.to_string(), value.trim().to_string())).collect())
    }

    /// Is it a server's INFO at all?
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.0.contains_key("redis_version")
    }

    fn text(&self, name: &str) -> String {
        self.0.get(name).map_or_else(String::new, |it| shown(it))
    }

    fn number(&self, name: &str) -> f64 {
        self.0.get(name).map_or(0.0, |it| number(it))
    }

    /// Fields of this beginning: what follows it, and the value's own fields.
    fn rows<'s>(&'s self, prefix: &'s str) -> impl Iterator<Item = (&'s str, Fields<'s>)> {
        let from = self.0.range(prefix.to_string()..);
        let of_prefix =
            from.map_while(move |(name, value)| Some((name.strip_prefix(prefix)?, value)));
        of_prefix.map(|(rest, value)| (rest, Fields(value)))
    }
}

/// `a=1,b=2`
struct Fields<'s>(&'s str);

impl Fields<'_> {
    fn text(&self, name: &str) -> String {
        let fields = self.0.split(',').filter_map(|it| it.split_once('='));
        fields.filter(|it| it.0 == name).map(|it| shown(it.1)).next().unwrap_or_default()
    }

    fn number(&self, name: &str) -> f64 {
        number(&self.text(name))
    }
}

fn number(text: &str) -> f64 {
    text.parse::<f64>().ok().filter(|it| it.is_finite()).unwrap_or(0.0)
}

/// As it may go to a terminal.
fn shown(text: &str) -> String {
    let safe = |it: char| if it.is_control() { '?' } else { it };
    text.chars().take(NAME_BYTES_MAX).map(safe).collect()
}

/// The whole frame. `seconds` lie between the two.
#[must_use]
pub fn frame(title: &str, before: &Sample, now: &Sample, seconds: f64) -> String {
    let rate = |name: &str| (now.number(name) - before.number(name)).max(0.0) / seconds.max(1e-3);
    let mut out = String::new();
    head(title, now, &mut out);
    let reads = rate("keyspace_hits") + rate("keyspace_misses");
    let hits = if reads > 0.0 { rate("keyspace_hits") / reads * 100.0 } else { 100.0 };
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "  {:>10} commands/s   {:>9}/s in   {:>9}/s out   {hits:>5.1} % hits   {} errors/s",
        whole(rate("total_commands_processed")),
        bytes(rate("total_net_input_bytes")),
        bytes(rate("total_net_output_bytes")),
        whole(rate("total_error_replies")),
    );
    let keys: f64 = now.rows("db").map(|(_, it)| it.number("keys")).sum();
    let limit = now.number("maxmemory");
    let limit = if limit > 0.0 { format!(" of {}", bytes(limit)) } else { String::new() };
    let _ = writeln!(
        out,
        "  {:>10} clients, {} blocked   {} used{limit}, {} resident   {} keys, {} evicted/s, {} expired/s",
        whole(now.number("connected_clients")),
        whole(now.number("blocked_clients")),
        bytes(now.number("used_memory")),
        bytes(now.number("used_memory_rss")),
        whole(keys),
        whole(rate("evicted_keys")),
        whole(rate("expired_keys")),
    );
    cores(before, now, seconds, &mut out);
    replication(now, &mut out);
    commands(before, now, seconds, &mut out);
    out
}

fn head(title: &str, now: &Sample, out: &mut String) {
    let version = match now.text("ringfold_version") {
        none if none.is_empty() => format!("Redis {}", now.text("redis_version")),
        ours => format!("Ringfold {ours}"),
    };
    let loading = if now.number("loading") > 0.0 { ", loading" } else { "" };
    let role = match now.text("role").as_str() {
        "slave" => "replica".to_string(),
        other => other.to_string(),
    };
    let up = now.number("uptime_in_seconds");
    let _ = writeln!(out, "{}   {version}, {role}{loading}, up {}", shown(title), age(up));
}

fn cores(before: &Sample, now: &Sample, seconds: f64, out: &mut String) {
    let count = now.number("cores");
    let rows: Vec<_> = now
        .rows("core")
        .filter_map(|(number, fields)| Some((number.parse::<usize>().ok()?, fields)))
        .collect();
    if rows.is_empty() || count <= 0.0 {
        return;
    }
    let old: BTreeMap<usize, Fields<'_>> = before
        .rows("core")
        .filter_map(|(number, fields)| Some((number.parse().ok()?, fields)))
        .collect();
    let _ = writeln!(
        out,
        "\ncore  busy                        commands/s     hops/s connections       keys    memory   clients  lag, us   longest"
    );
    let mut rows = rows;
    rows.sort_by_key(|row| row.0);
    for (core, it) in rows.iter().take(ROWS_MAX) {
        let rate = |name: &str| {
            let was = old.get(core).map_or(0.0, |old| old.number(name));
            (it.number(name) - was).max(0.0) / seconds.max(1e-3)
        };
        let busy = it.number("busy_permille") / 10.0;
        let _ = writeln!(
            out,
            "{core:>4}  {} {busy:>5.1} % {:>13} {:>10} {:>11} {:>10} {:>9} {:>9} {:>8} {:>9}",
            bar(busy / 100.0),
            whole(rate("ops")),
            whole(rate("hops")),
            whole(it.number("connections")),
            whole(it.number("keys")),
            bytes(it.number("key_bytes")),
            bytes(it.number("client_bytes")),
            whole(it.number("lag_us")),
            whole(it.number("lag_max_us")),
        );
    }
    more(rows.len(), out);
}

fn replication(now: &Sample, out: &mut String) {
    let offset = now.number("master_repl_offset");
    if now.text("role") == "slave" {
        let (host, port) = (now.text("master_host"), now.text("master_port"));
        let link = now.text("master_link_status");
        let silent = now.number("master_last_io_seconds_ago");
        let applied = now.number("slave_repl_offset");
        let _ = writeln!(
            out,
            "\nmaster {host}:{port}   link {link}   heard {} s ago   at {}",
            whole(silent),
            whole(applied)
        );
    }
    let rows: Vec<_> =
        now.rows("slave").filter(|(number, _)| number.parse::<u32>().is_ok()).collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nreplica                   state           behind   heard");
    for (_, it) in rows.iter().take(ROWS_MAX) {
        let name = format!("{}:{}", it.text("ip"), it.text("port"));
        let behind = (offset - it.number("offset")).max(0.0);
        let _ = writeln!(
            out,
            "{name:<25} {:<12} {:>9}   {} s ago",
            it.text("state"),
            bytes(behind),
            whole(it.number("lag"))
        );
    }
    more(rows.len(), out);
}

/// The commands that took the most time.
fn commands(before: &Sample, now: &Sample, seconds: f64, out: &mut String) {
    let old: BTreeMap<&str, Fields<'_>> = before.rows("cmdstat_").collect();
    let mut rows: Vec<(f64, f64, String, String)> = Vec::new();
    for (name, it) in now.rows("cmdstat_") {
        let was = |field: &str| old.get(name).map_or(0.0, |old| old.number(field));
        let calls = it.number("calls") - was("calls");
        let usec = it.number("usec") - was("usec");
        if calls <= 0.0 {
            continue;
        }
        let latency = now.0.get(&format!("latency_percentiles_usec_{name}"));
        let p99 = latency.map_or_else(String::new, |it| Fields(it).text("p99"));
        rows.push((usec.max(0.0), calls, shown(name), p99));
    }
    rows.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.2.cmp(&b.2)));
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\ncommand                     calls/s    us each    p99, us   cores");
    for (usec, calls, name, p99) in rows.into_iter().take(COMMANDS_MAX) {
        let seconds = seconds.max(1e-3);
        let _ = writeln!(
            out,
            "{name:<24} {:>10} {:>10.1} {p99:>10} {:>7.2}",
            whole(calls / seconds),
            usec / calls,
            usec / 1e6 / seconds,
        );
    }
}

fn more(rows: usize, out: &mut String) {
    if rows > ROWS_MAX {
        let _ = writeln!(out, "  .. and {} more", rows - ROWS_MAX);
    }
}

fn bar(share: f64) -> String {
    let columns = (share.clamp(0.0, 1.0) * BAR_COLUMNS as f64).round();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 16")]
    let full = columns as usize;
    format!("{}{}", "#".repeat(full), ".".repeat(BAR_COLUMNS.saturating_sub(full)))
}

/// `1,234,567`
fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.clamp(-1e15, 1e15));
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |it| ("-", it));
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    format!("{sign}{out}")
}

fn bytes(number: f64) -> String {
    let mut size = number.max(0.0);
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 1_000.0 {
            let decimals = usize::from(unit != "B" && size < 100.0);
            return format!("{size:.decimals$} {unit}");
        }
        size /= 1_000.0;
    }
    format!("{size:.1} TB")
}

fn age(seconds: f64) -> String {
    match seconds {
        it if it < 120.0 => format!("{it:.0} s"),
        it if it < 7_200.0 => format!("{:.0} min", it / 60.0),
        it if it < 172_800.0 => format!("{:.0} h", it / 3_600.0),
        it => format!("{:.0} days", it / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_samples_are_a_frame_of_rates() {
        let text = |ops: u32, core: u32, calls: u32| {
            format!(
                "# Server\r\nredis_version:7.0.15\r\nringfold_version:0.1.0\r\ncores:2\r\nuptime_in_seconds:60\r\n\
                 role:master\r\nmaster_repl_offset:1000\r\n\
                 slave0:ip=10.0.0.1,port=7001,state=online,offset=400,lag=1\r\n\
                 total_commands_processed:{ops}\r\ndb0:keys=1234567,expires=0\r\n\
                 core0:connections=3,ops={core},hops=0,busy_permille=500,key_bytes=2500\r\n\
                 core1:connections=1,ops=0,busy_permille=0\r\n\
                 cmdstat_get:calls={calls},usec={}\r\nlatency_percentiles_usec_get:p50=1.0,p99=2.007\r\n",
                calls * 2
            )
        };
        let (before, now) =
            (Sample::parse(&text(100, 10, 0)), Sample::parse(&text(4_100, 2_010, 50)));
        let frame = frame("here:1", &before, &now, 2.0);
        for line in [
            "here:1   Ringfold 0.1.0, master, up 60 s",
            "2,000 commands/s",
            "1,234,567 keys",
            "   0  ########........  50.0 %         1,000          0           3          0    2.5 kB",
            "10.0.0.1:7001             online           600 B   1 s ago",
            "get                              25        2.0      2.007    0.00",
        ] {
            assert!(frame.contains(line), "{line:?} is not in\n{frame}");
        }
    }

    #[test]
    fn whatever_a_server_says_is_shown_safely() {
        let evil = "redis_version:\x1b[2J\r\nrole:slave\r\nmaster_host:\x07\x1b]0;x\r\ncores:9\r\n\
                    core0:ops=nan,busy_permille=1e400\r\ncorex:1\r\nslave0\r\nslave1:\r\n\
                    cmdstat_\x1b:calls=1e99,usec=-5\r\ndb:keys=-1e308\r\nuptime_in_seconds:-1\r\n";
        let sample = Sample::parse(evil);
        let frame = frame("\x1b", &Sample::default(), &sample, 0.0);
        assert!(!frame.contains('\x1b') && !frame.contains('\x07'), "{frame:?}");
        assert!(frame.lines().all(|line| line.len() < 400));
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0.0, 999.4, 1_000.0, -1_234_567.0].map(whole),
            ["0", "999", "1,000", "-1,234,567"]
        );
        assert_eq!(
            [0.0, 999.0, 1_500.0, 250_000.0, 3e12].map(bytes),
            ["0 B", "999 B", "1.5 kB", "250 kB", "3.0 TB"]
        );
    }
}
