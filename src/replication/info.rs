//! INFO's Replication section, as Redis 7.0 spells and orders it.
//!
//! Sentinels and clients read it line by line, and Sentinel depends on the order: `role` comes
//! before what is the role's own. Which fields there are depends on the state too (a sync under
//! way, a link that is down, min-replicas set), so absence is part of the format.
//!
//! Not here: where the data comes from (`master.rs`, `replica.rs`, settings), other sections, the
//! empty line between sections.

use std::fmt::Write;
use std::ops::Range;

use crate::replication::attached::Row;
use crate::replication::psync::{History, NO_REPLID, Replid, wire_of};
use crate::replication::replica::Status;

/// What the section is written from.
#[derive(Debug)]
pub struct Replication<'a> {
    /// Our master, if we have one.
    pub master: Option<MasterLink<'a>>,
    pub rows: &'a [Row<'a>],
    /// Shown where `min-replicas-to-write` and `min-replicas-max-lag` are both set.
    pub good_replicas: Option<usize>,
    /// `no-failover`, `waiting-for-sync` or `failover-in-progress`.
    pub failover_state: &'static str,
    pub history: &'a History,
    /// The ring's end: also where there is no backlog.
    pub offset: u64,
    pub backlog: Option<Range<u64>>,
    /// `repl-backlog-size`.
    pub backlog_size: u64,
}

/// The fields that only a replica has.
#[derive(Debug)]
pub struct MasterLink<'a> {
    pub host: &'a str,
    pub port: u16,
    pub status: Status,
    pub priority: u32,
    pub read_only: bool,
    pub announced: bool,
}

impl Replication<'_> {
    /// Appends the section, its title first.
    pub fn write_to(&self, out: &mut String) {
        out.push_str("# Replication\r\n");
        field(out, "role", if self.master.is_some() { "slave" } else { "master" });
        if let Some(master) = &self.master {
            master.write_to(out);
        }
        field(out, "connected_slaves", self.rows.len());
        if let Some(good) = self.good_replicas {
            field(out, "min_slaves_good_slaves", good);
        }
        for (index, row) in self.rows.iter().enumerate() {
            let ip = String::from_utf8_lossy(row.ip);
            let Row { port, state, offset, lag_s, .. } = row;
            let line = format!("ip={ip},port={port},state={state},offset={offset},lag={lag_s}");
            field(out, &format!("slave{index}"), line);
        }
        let second = self.history.second.map_or(NO_REPLID, |(replid, _)| replid);
        let start = self.backlog.as_ref().map_or(0, |held| wire_of(held.start));
        field(out, "master_failover_state", self.failover_state);
        field(out, "master_replid", text(&self.history.replid));
        field(out, "master_replid2", text(&second));
        field(out, "master_repl_offset", self.offset);
        field(out, "second_repl_offset", self.history.second_wire());
        field(out, "repl_backlog_active", u8::from(self.backlog.is_some()));
        field(out, "repl_backlog_size", self.backlog_size);
        field(out, "repl_backlog_first_byte_offset", start);
        field(out, "repl_backlog_histlen", self.backlog.as_ref().map_or(0, |it| it.end - it.start));
    }
}

impl MasterLink<'_> {
    fn write_to(&self, out: &mut String) {
        let status = &self.status;
        field(out, "master_host", self.host);
        field(out, "master_port", self.port);
        field(out, "master_link_status", if status.up { "up" } else { "down" });
        field(out, "master_last_io_seconds_ago", status.last_io_s);
        field(out, "master_sync_in_progress", u8::from(status.sync.is_some()));
        field(out, "slave_read_repl_offset", status.read);
        field(out, "slave_repl_offset", status.applied);
        if let Some(sync) = &status.sync {
            let left = i128::from(sync.total) - i128::from(sync.read);
            let percent = match sync.total {
                0 => 0.0,
                total => sync.read as f64 / total as f64 * 100.0,
            };
            field(out, "master_sync_total_bytes", sync.total);
            field(out, "master_sync_read_bytes", sync.read);
            field(out, "master_sync_left_bytes", left);
            field(out, "master_sync_perc", format_args!("{percent:.2}"));
            field(out, "master_sync_last_io_seconds_ago", sync.last_io_s);
        }
        if !status.up {
            field(out, "master_link_down_since_seconds", status.down_since_s);
        }
        field(out, "slave_priority", self.priority);
        field(out, "slave_read_only", u8::from(self.read_only));
        field(out, "replica_announced", u8::from(self.announced));
    }
}

fn text(replid: &Replid) -> String {
    String::from_utf8_lossy(replid).into_owned()
}

fn field(out: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{name}:{value}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::replica::Progress;

    /// Reads a stock server's section into our data, writes that, and wants the same bytes.
    fn check(golden: &str) {
        let get = |name: &str| {
            let value = golden.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.unwrap_or_else(|| panic!("{name} in {golden}"))
        };
        let number = |name: &str| get(name).parse::<u64>().unwrap();
        let signed = |name: &str| get(name).parse::<i64>().unwrap();
        let id = |name: &str| Replid::try_from(get(name).as_bytes()).unwrap();
        let mut history = History::new(id("master_replid"));
        if signed("second_repl_offset") >= 0 {
            history.second = Some((id("master_replid2"), number("second_repl_offset") - 1));
        }
        let first = number("repl_backlog_first_byte_offset");
        let active = number("repl_backlog_active") == 1;
        let backlog = active.then(|| first - 1..first - 1 + number("repl_backlog_histlen"));
        let master = (get("role") == "slave").then(|| {
            let up = get("master_link_status") == "up";
            let status = Status {
                state: "unused here",
                up,
                last_io_s: signed("master_last_io_seconds_ago"),
                silent_ms: 0,
                down_since_s: if up { -1 } else { signed("master_link_down_since_seconds") },
                sync: None,
                read: number("slave_read_repl_offset"),
                applied: number("slave_repl_offset"),
            };
            let (host, port) = (get("master_host"), get("master_port").parse().unwrap());
            MasterLink { host, port, status, priority: 100, read_only: true, announced: true }
        });
        let row = golden.lines().find_map(|line| line.strip_prefix("slave0:ip=127.0.0.1,port="));
        let rows: Vec<Row<'_>> = row
            .map(|rest| {
                let numbers: Vec<&str> = rest.split([',', '=']).collect();
                let (port, offset) = (numbers[0].parse().unwrap(), numbers[4].parse().unwrap());
                let lag_s = numbers[6].parse().unwrap();
                Row { ip: b"127.0.0.1", port, state: "online", offset, lag_s }
            })
            .into_iter()
            .collect();
        let good = golden.contains("min_slaves_good_slaves").then_some(rows.len());
        let mut out = String::new();
        Replication {
            master,
            rows: &rows,
            good_replicas: good,
            failover_state: "no-failover",
            history: &history,
            offset: number("master_repl_offset"),
            backlog,
            backlog_size: 1 << 20,
        }
        .write_to(&mut out);
        assert_eq!(out.replace("\r\n", "\n"), golden);
    }

    #[test]
    fn the_section_is_a_stock_servers() {
        check(include_str!("../../tests/golden/psync/info_master.txt"));
        check(include_str!("../../tests/golden/psync/info_master_alone.txt"));
        check(include_str!("../../tests/golden/psync/info_replica.txt"));
        check(include_str!("../../tests/golden/psync/info_replica_down.txt"));
        check(include_str!("../../tests/golden/psync/info_replica_continued.txt"));
        check(include_str!("../../tests/golden/psync/info_promoted.txt"));
    }

    #[test]
    fn a_sync_under_way_is_shown_between_offsets_and_down_since() {
        let sync = Some(Progress { total: 300, read: 100, last_io_s: 2 });
        let status = Status {
            state: "sync",
            up: false,
            last_io_s: -1,
            silent_ms: 0,
            down_since_s: -1,
            sync,
            read: 0,
            applied: 0,
        };
        let link = MasterLink {
            host: "h",
            port: 1,
            status,
            priority: 100,
            read_only: false,
            announced: false,
        };
        let mut out = String::new();
        link.write_to(&mut out);
        let expected = "slave_repl_offset:0\r\nmaster_sync_total_bytes:300\r\n\
            master_sync_read_bytes:100\r\nmaster_sync_left_bytes:200\r\nmaster_sync_perc:33.33\r\n\
            master_sync_last_io_seconds_ago:2\r\nmaster_link_down_since_seconds:-1\r\n\
            slave_priority:100\r\nslave_read_only:0\r\nreplica_announced:0\r\n";
        assert!(out.ends_with(expected), "{out}");
    }
}
