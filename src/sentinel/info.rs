//! What a Sentinel reads out of a data node's `INFO`.
//!
//! The text is the node's, and a node may be anybody's: its length and the replicas in it are bounded,
//! and what is no number is not there. Lines count in their order, as Redis' own Sentinel reads them:
//! what is said of a master is only heard after `role:slave`.

use super::instance::{Ms, Role};
use crate::base::limits::{SENTINEL_NAME_BYTES_MAX, SENTINEL_REPLICAS_MAX};
use crate::base::num::parse_i64;

/// What it said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub run_id: Option<String>,
    pub role: Option<Role>,
    /// Replicas of a master, by address.
    pub replicas: Vec<(String, u16)>,
    pub link_down_for: Ms,
    pub master_host: Option<String>,
    pub master_port: Option<u16>,
    pub link_up: Option<bool>,
    pub priority: Option<i64>,
    pub offset: Option<u64>,
    pub announced: Option<bool>,
    pub replid: Option<String>,
    /// `master_failover_state`, where a failover of its own is under way.
    pub hands_over: bool,
}

/// Reads an `INFO`.
#[must_use]
pub fn parse(text: &[u8]) -> Report {
    let mut report = Report::default();
    for line in text.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() <= SENTINEL_NAME_BYTES_MAX
            && let Ok(line) = str::from_utf8(line)
            && let Some((name, value)) = line.split_once(':')
        {
            report.take(name, value);
        }
    }
    report
}

impl Report {
    fn take(&mut self, name: &str, value: &str) {
        match name {
            "run_id" if value.len() >= 40 && value.is_char_boundary(40) => {
                self.run_id = value.get(..40).map(str::to_string);
            }
            "role" if value.starts_with("master") => self.role = Some(Role::Master),
            "role" if value.starts_with("slave") => self.role = Some(Role::Replica),
            "master_link_down_since_seconds" => {
                self.link_down_for = number(value).unwrap_or(0).saturating_mul(1_000);
            }
            "master_replid" => self.replid = Some(value.to_string()),
            "master_failover_state" => self.hands_over = value != "no-failover",
            _ if is_replica_line(name) => self.take_replica(value),
            _ if self.role == Some(Role::Replica) => self.take_of_master(name, value),
            _ => {}
        }
    }

    fn take_of_master(&mut self, name: &str, value: &str) {
        match name {
            "master_host" => self.master_host = Some(value.to_string()),
            "master_port" => self.master_port = number(value).and_then(|it| it.try_into().ok()),
            "master_link_status" => self.link_up = Some(value.eq_ignore_ascii_case("up")),
            "slave_priority" => self.priority = number(value),
            "slave_repl_offset" => self.offset = value.parse().ok(),
            "replica_announced" => self.announced = number(value).map(|it| it != 0),
            _ => {}
        }
    }

    /// `ip=1.2.3.4,port=6379,...`, or `1.2.3.4,6379,online` of very old servers.
    fn take_replica(&mut self, value: &str) {
        if self.replicas.len() == SENTINEL_REPLICAS_MAX {
            return;
        }
        let field = |name: &str| {
            let mut fields = value.split(',').filter_map(|it| it.split_once('='));
            fields.find(|(it, _)| *it == name).map(|(_, value)| value)
        };
        let mut plain = value.split(',');
        let (ip, port) = if value.contains("ip=") {
            (field("ip"), field("port"))
        } else {
            (plain.next(), plain.next())
        };
        if let (Some(ip), Some(port)) = (ip, port.and_then(|it| it.parse().ok()))
            && !ip.is_empty()
            && ip.bytes().all(|byte| byte.is_ascii_graphic())
        {
            self.replicas.push((ip.to_string(), port));
        }
    }
}

/// `slave0`, `slave17`.
fn is_replica_line(name: &str) -> bool {
    name.strip_prefix("slave")
        .is_some_and(|it| it.starts_with(|first: char| first.is_ascii_digit()))
}

fn number(text: &str) -> Option<i64> {
    parse_i64(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_tells_of_its_replicas() {
        let id = "4306811fd2b55129d5585351264e2d9d5d8f6d17";
        let text = format!(
            "# Server\r\nrun_id:{id}\r\n# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
             slave0:ip=10.0.0.2,port=6379,state=online,offset=5,lag=0\r\nslave1:10.0.0.3,6380,online\r\n\
             slave2:ip=,port=1\r\nslave3:ip=x,port=99999\r\nslave_x:1\r\nmaster_replid:abc\r\n\
             master_failover_state:failover-in-progress\r\n"
        );
        let report = parse(text.as_bytes());
        assert_eq!(report.run_id.as_deref(), Some(id));
        assert_eq!(report.role, Some(Role::Master));
        assert_eq!(report.replicas, [("10.0.0.2".into(), 6379), ("10.0.0.3".into(), 6380)]);
        assert_eq!((report.replid.as_deref(), report.hands_over), (Some("abc"), true));
    }

    #[test]
    fn a_replica_tells_of_its_master() {
        let text = b"slave_priority:1\nrole:slave\nmaster_host:10.0.0.1\nmaster_port:6379\n\
            master_link_status:down\nmaster_link_down_since_seconds:3\nslave_repl_offset:77\n\
            slave_priority:50\nreplica_announced:0\nmaster_failover_state:no-failover\n";
        let report = parse(text);
        assert_eq!(report.role, Some(Role::Replica));
        assert_eq!(report.master_host.as_deref(), Some("10.0.0.1"));
        assert_eq!((report.master_port, report.link_up), (Some(6379), Some(false)));
        assert_eq!((report.link_down_for, report.offset), (3_000, Some(77)));
        assert_eq!((report.priority, report.announced), (Some(50), Some(false)));
        assert!(!report.hands_over);
    }

    #[test]
    fn nonsense_is_not_there() {
        let many: String = (0..5_000).map(|n| format!("slave{n}:ip=h{n},port=1\n")).collect();
        assert_eq!(parse(many.as_bytes()).replicas.len(), SENTINEL_REPLICAS_MAX);
        assert_eq!(parse(&vec![b'x'; 1 << 20]), Report::default());
        let odd = b"role:slave\nrole\n:\nrun_id:short\nmaster_port:NaN\nslave_repl_offset:-1\n\xff:\xff\n";
        let report = parse(odd);
        assert_eq!((report.run_id, report.master_port, report.offset), (None, None, None));
    }
}
