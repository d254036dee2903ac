//! What the nodes around a failover remember of it, in one order: text, JSON, or a drawing.
//!
//! ```text
//!   INFO of each node -> events with instants of its wall clock -> one timeline
//! ```
//!
//! Servers and Sentinels of ours remember; stock ones do not, and are passed over. The outage is from the last write that
//! the old master acknowledged (or, where it cannot tell any more, from what its replicas heard of it last) to the first
//! write of the new one. The clocks of the hosts must agree for that to mean anything.

use serde::Serialize;
use std::fmt::Write;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    pub at_us: u64,
    pub node: String,
    pub what: String,
}

/// The last failover that the nodes remember.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timeline {
    pub new_master: Option<String>,
    pub outage_seconds: Option<f64>,
    pub events: Vec<Event>,
}

/// Before a promotion: what is older belongs to another failover.
const BEFORE_US: u64 = 120_000_000;
const AFTER_US: u64 = 120_000_000;

/// What a server's fields mean.
const FIELDS: &[(&str, &str)] = &[
    ("failover_last_heard_us", "last heard of its master"),
    ("failover_promoted_us", "became the master"),
    ("failover_first_write_us", "first write"),
    ("failover_last_moved_us", "last client connected"),
    ("failover_demoted_us", "became a replica"),
];

/// What nodes said, each with its name.
#[must_use]
pub fn timeline(told: &[(String, String)]) -> Timeline {
    let field = |text: &str, name: &str| -> u64 {
        let value = text.lines().find_map(|it| it.trim_end().strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|it| it.parse().ok()).unwrap_or(0)
    };
    let promoted = told.iter().map(|(node, text)| (field(text, "failover_promoted_us"), node));
    let Some((promoted, new)) = promoted.max().filter(|it| it.0 != 0) else {
        return Timeline::default();
    };
    let near = |at: u64| at + BEFORE_US >= promoted && at <= promoted + AFTER_US;
    let mut events = Vec::new();
    let (mut last_write, mut last_heard, mut first_write) = (0, 0, 0);
    for (node, text) in told {
        let mut add = |at_us: u64, what: String| {
            if at_us != 0 && near(at_us) {
                events.push(Event { at_us, node: node.clone(), what });
            }
        };
        for (name, what) in FIELDS {
            // The new master goes on: only what it did as a replica counts.
            let at = field(text, name);
            let own = node == new
                || !matches!(
                    *name,
                    "failover_promoted_us" | "failover_first_write_us" | "failover_last_moved_us"
                );
            if own && !(*name == "failover_last_heard_us" && at > promoted) {
                add(at, (*what).to_string());
            }
        }
        let heard = field(text, "failover_last_heard_us");
        let wrote = field(text, "failover_last_write_us");
        if node == new {
            first_write = field(text, "failover_first_write_us");
            last_heard = heard;
        } else if wrote != 0 && field(text, "failover_demoted_us") >= promoted {
            add(wrote, "last write that it acknowledged".into());
            last_write = last_write.max(wrote);
        }
        for line in text.lines().filter_map(|it| it.trim_end().strip_prefix("failover_event")) {
            let Some((_, fields)) = line.split_once(':') else { continue };
            let value = |name: &str| {
                fields.split(',').find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
            };
            if let (Some(at), Some(kind), Some(about)) =
                (value("at_us").and_then(|it| it.parse().ok()), value("kind"), value("about"))
            {
                add(at, format!("{kind} {about}"));
            }
        }
    }
    events.sort_by(|a, b| (a.at_us, &a.node).cmp(&(b.at_us, &b.node)));
    // A master that went on after it was replaced tells of writes that are lost: the outage began before.
    let from = if last_write == 0 || last_write > promoted { last_heard } else { last_write };
    let outage = (from != 0 && first_write >= from).then(|| seconds(first_write - from));
    Timeline { new_master: Some(new.clone()), outage_seconds: outage, events }
}

fn seconds(us: u64) -> f64 {
    // Exact up to some hundred years.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let us = us as f64;
    us / 1e6
}

impl Timeline {
    fn start(&self) -> u64 {
        self.events.first().map_or(0, |it| it.at_us)
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let Some(new) = &self.new_master else {
            return "None of these nodes remembers a failover.\n".into();
        };
        let mut text = format!("failover to {new}");
        if let Some(outage) = self.outage_seconds {
            let _ = write!(text, ": no writes for {outage:.3} s"); // into a string: cannot fail
        }
        text.push('\n');
        let width = self.events.iter().map(|it| it.node.len()).max().unwrap_or(0);
        for event in &self.events {
            let at = seconds(event.at_us - self.start());
            let _ = writeln!(text, "{at:>10.3} s  {:<width$}  {}", event.node, event.what);
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// A lane for each node, and a mark for each event.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut nodes: Vec<&str> = self.events.iter().map(|it| it.node.as_str()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let height = 40 + self.events.len() * 18 + nodes.len() * 26;
        let span = self.events.last().map_or(0, |it| it.at_us - self.start()).max(1);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1000\" height=\"{height}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n"
        );
        let mut y = 30;
        for node in nodes {
            let _ = writeln!(
                out,
                "<text x=\"8\" y=\"{y}\" font-weight=\"bold\">{}</text>",
                escape(node)
            );
            let _ = writeln!(
                out,
                "<line x1=\"200\" y1=\"{0}\" x2=\"700\" y2=\"{0}\" stroke=\"#ccc\"/>",
                y - 4
            );
            y += 8;
            for event in self.events.iter().filter(|it| it.node == node) {
                let at = event.at_us - self.start();
                let x = 200.0 + 500.0 * seconds(at) / seconds(span);
                y += 18;
                let _ = writeln!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{}\" r=\"4\"/><text x=\"{:.1}\" y=\"{y}\">{:.3} s {}</text>",
                    y - 4,
                    x + 8.0,
                    seconds(at),
                    escape(&event.what)
                );
            }
            y += 18;
        }
        out + "</svg>\n"
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Vec<(String, String)> {
        let node = |name: &str, text: &str| (name.to_string(), text.replace('\n', "\r\n"));
        vec![
            node(
                "a",
                "role:slave\nfailover_last_write_us:1000000000\nfailover_demoted_us:1009000000\n",
            ),
            node(
                "b",
                "failover_last_write_us:1020000000\nfailover_last_heard_us:1000000000\n\
                 failover_promoted_us:1003000000\nfailover_first_write_us:1003500000\n\
                 failover_last_moved_us:1004000000\n",
            ),
            node("c", "redis_version:7.0.15\n"),
            node(
                "s",
                "failover_event0:at_us=1002000000,kind=+sdown,master=m,about=a<1\n\
                 failover_event1:at_us=5,kind=+sdown,master=m,about=a\nfailover_event2:x\n",
            ),
        ]
    }

    #[test]
    fn what_nodes_remember_is_one_story() {
        let timeline = timeline(&told());
        assert_eq!(timeline.new_master.as_deref(), Some("b"));
        assert_eq!(timeline.outage_seconds, Some(3.5));
        let whats: Vec<&str> = timeline.events.iter().map(|it| it.what.as_str()).collect();
        assert_eq!(
            whats,
            [
                "last write that it acknowledged",
                "last heard of its master",
                "+sdown a<1",
                "became the master",
                "first write",
                "last client connected",
                "became a replica"
            ]
        );
        assert!(timeline.text().contains("no writes for 3.500 s"));
        assert!(timeline.text().contains("     3.500 s  b  first write"));
        assert!(timeline.svg().contains("+sdown a&lt;1"));
        assert!(timeline.json().contains("\"outage_seconds\":3.5"));
    }

    #[test]
    fn a_master_that_went_on_does_not_shorten_the_outage() {
        let mut told = told();
        told[0].1 = told[0].1.replace("1000000000", "1008000000");
        assert_eq!(timeline(&told).outage_seconds, Some(3.5));
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        assert_eq!(timeline(&[]), Timeline::default());
        let text = timeline(&[("a".into(), "failover_promoted_us:x\n".into())]).text();
        assert!(text.contains("None of these nodes"));
    }
}
