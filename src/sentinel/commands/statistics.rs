//! `INFO` of a Sentinel: server, clients, statistics, and the masters that it watches.

use super::is;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::sentinel::client::Then;
use crate::sentinel::machine::Sentinel;
use std::fmt::Write;

const SECTIONS: [&str; 5] = ["server", "clients", "stats", "cpu", "sentinel"];

/// One of our own, where it is asked for by name or everything is.
const OWN: &str = "ringfold";

/// `INFO [section ..]`.
pub(super) fn info(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Result<Then, ErrorKind> {
    let asked = args.get(1..).unwrap_or_default();
    let all = ["default", "all", "everything"];
    let everything = asked.is_empty() || asked.iter().any(|it| all.iter().any(|word| is(it, word)));
    let mut text = String::new();
    for section in SECTIONS {
        if everything || asked.iter().any(|it| is(it, section)) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            write_section(this, section, &mut text);
        }
    }
    if asked.iter().any(|it| is(it, OWN) || is(it, "everything")) {
        text.push_str("\r\n");
        write_section(this, OWN, &mut text);
    }
    reply.verbatim(*b"txt", text.as_bytes());
    Ok(Then::Send)
}

fn write_section(this: &Sentinel, section: &str, out: &mut String) {
    match section {
        "server" => server(this, out),
        "clients" => clients(this, out),
        "stats" => statistics(this, out),
        "cpu" => out.push_str("# CPU\r\n"),
        OWN => ringfold(this, out),
        _ => sentinel(this, out),
    }
}

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = write!(out, "{name}:{value}\r\n"); // into a string: cannot fail
}

fn server(this: &Sentinel, out: &mut String) {
    let facts = &this.settings.facts;
    let uptime = (this.now - this.started) / 1_000;
    out.push_str("# Server\r\n");
    line(out, "redis_version", &facts.version);
    line(out, "redis_git_sha1", "00000000");
    line(out, "redis_git_dirty", 0);
    line(out, "redis_mode", "sentinel");
    line(out, "os", &facts.os);
    line(out, "arch_bits", usize::BITS);
    line(out, "process_id", facts.pid);
    line(out, "run_id", &facts.run_id);
    line(out, "tcp_port", this.settings.port);
    line(out, "uptime_in_seconds", uptime);
    line(out, "uptime_in_days", uptime / 86_400);
    line(out, "executable", &facts.executable);
    line(out, "config_file", &facts.config_file);
    line(out, "ringfold_version", env!("CARGO_PKG_VERSION"));
}

fn clients(this: &Sentinel, out: &mut String) {
    out.push_str("# Clients\r\n");
    line(out, "connected_clients", this.clients.len());
    line(out, "maxclients", this.settings.maxclients);
    line(out, "blocked_clients", 0);
}

fn statistics(this: &Sentinel, out: &mut String) {
    let count = |patterns: bool| {
        let all = this.clients.values();
        all.map(|it| if patterns { it.patterns.len() } else { it.channels.len() }).sum::<usize>()
    };
    out.push_str("# Stats\r\n");
    line(out, "total_connections_received", this.counts.connections);
    line(out, "total_commands_processed", this.counts.commands);
    line(out, "rejected_connections", this.counts.rejected);
    line(out, "pubsub_channels", count(false));
    line(out, "pubsub_patterns", count(true));
    line(out, "total_error_replies", this.counts.errors);
}

fn ringfold(this: &Sentinel, out: &mut String) {
    out.push_str("# Ringfold\r\n");
    for (number, it) in this.record.events.iter().enumerate() {
        let value =
            format!("at_us={},kind={},master={},about={}", it.at_us, it.kind, it.master, it.about);
        line(out, &format!("failover_event{number}"), value);
    }
}

fn sentinel(this: &Sentinel, out: &mut String) {
    let failures = u8::from(this.failures.crash_after_election)
        | u8::from(this.failures.crash_after_promotion) << 1;
    let tilt_since = this.tilt_since.map_or(-1, |at| (this.now - at) / 1_000);
    out.push_str("# Sentinel\r\n");
    line(out, "sentinel_masters", this.masters.len());
    line(out, "sentinel_tilt", u8::from(this.tilt_since.is_some()));
    line(out, "sentinel_tilt_since_seconds", tilt_since);
    line(out, "sentinel_running_scripts", this.scripts.running());
    line(out, "sentinel_scripts_queue_length", this.scripts.jobs.len());
    line(out, "sentinel_simulate_failure_flags", failures);
    for (number, id) in this.masters.values().enumerate() {
        let (it, master) = (&this.instances[*id], this.instances.master(*id));
        let status = match (master.o_down, it.s_down) {
            (true, _) => "odown",
            (false, true) => "sdown",
            (false, false) => "ok",
        };
        let value = format!(
            "name={},status={status},address={}:{},slaves={},sentinels={}",
            it.name,
            it.address.shown(this.globals.announce_hostnames),
            it.address.port,
            master.replicas.len(),
            master.sentinels.len() + 1
        );
        line(out, &format!("master{number}"), value);
    }
}
