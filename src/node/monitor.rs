//! MONITOR: every request that is about to run on any core, as a line to each client that watches.
//!
//! It cannot hurt. A line is written only while somebody watches; a core writes so many bytes of them a
//! turn and says how many more there were; and a watcher that does not take them is closed at the
//! output limit of those who listen to channels.
//!
//! Who watches is in every core's view: the cores that have such clients. Core 0 changes it, so that the
//! answer to MONITOR comes when all cores know.
//!
//! As in Redis, what operators do (CONFIG, ACL, ..) is not shown, and no password.

use crate::base::limits::MONITOR_TURN_BYTES_MAX;
use crate::base::settings::grammar::quote;
use crate::command::args::Args;
use crate::command::node_rows as rows;
use crate::command::spec::{Command, Flags};
use crate::node::control::{Ask, Control, ControlCx};
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn};
use crate::node::message::Message;
use crate::node::outbox::{Conn, Outbox};
use crate::node::session::Ends;
use crate::resp::error::ErrorKind;
use bytes::Bytes;

pub const COMMANDS: &[Command<NodeFn>] = &[Command::new(rows::MONITOR, monitor)];

/// A core's watchers, and what its clients asked for in this turn.
#[derive(Debug, Default)]
pub struct Monitors {
    watchers: Vec<Conn>,
    lines: Vec<u8>,
    /// Lines that were left out of this turn's.
    omitted: u64,
}

fn monitor(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let conn = cx.conn;
    if std::mem::replace(&mut cx.session().watches, true) {
        return Ok(()); // Redis says nothing either.
    }
    cx.core.monitors.watchers.push(conn);
    let core = cx.core.id;
    cx.ask(Ask::Watch { core, on: true });
    Ok(())
}

impl Core {
    /// A request of a client has passed the gate.
    #[cold]
    pub(super) fn show_request(&mut self, conn: Conn, number: u16, args: Args<'_>) {
        let flags = self.shared.table.row(number).spec.flags;
        if flags.has(Flags::ADMIN) || flags.has(Flags::SKIP_MONITOR) {
            return;
        }
        if self.monitors.lines.len() > MONITOR_TURN_BYTES_MAX {
            self.monitors.omitted += 1;
            return;
        }
        let Some(session) = self.sessions.get(conn) else { return };
        let client = match &session.ends {
            Ends::Local => {
                format!("unix:{}", String::from_utf8_lossy(&self.view.settings.unixsocket))
            }
            Ends::V4(..) | Ends::Tcp(_) => self.addresses(session).0,
        };
        let (seconds, micros) = (self.now.wall.0 / 1_000_000, self.now.wall.0 % 1_000_000);
        let head = format!("+{seconds}.{micros:06} [{} {client}]", session.db);
        let secret_from = match self.shared.table.row(number).full_name.as_str() {
            "auth" => 1,
            "hello" => 3,
            _ => usize::MAX,
        };
        let lines = &mut self.monitors.lines;
        lines.extend_from_slice(head.as_bytes());
        for (at, word) in args.iter().enumerate() {
            lines.push(b' ');
            let word = if at < secret_from { word } else { &b"(redacted)"[..] };
            lines.extend(quote(word));
        }
        lines.extend_from_slice(b"\r\n");
    }

    /// At the end of a turn: its lines go to all who watch.
    pub(super) fn send_lines(&mut self, out: &mut Outbox) {
        if self.monitors.lines.is_empty() {
            return;
        }
        let omitted = std::mem::take(&mut self.monitors.omitted);
        if omitted > 0 {
            let line = format!("+{omitted} more requests at this moment are not shown\r\n");
            self.monitors.lines.extend_from_slice(line.as_bytes());
        }
        let lines = Bytes::from(std::mem::take(&mut self.monitors.lines));
        for &core in &self.view.watching.clone() {
            if core == self.id {
                self.show_lines(&lines, out);
            } else {
                out.mail[core].push(Message::Lines(lines.clone()));
            }
        }
    }

    /// Lines of any core, for this core's watchers.
    pub(super) fn show_lines(&mut self, lines: &Bytes, out: &mut Outbox) {
        let base = out.lend(lines);
        for &conn in &self.monitors.watchers {
            let Some(session) = self.sessions.get_mut(conn).filter(|it| !it.closing) else {
                continue;
            };
            match session.flight.as_mut() {
                Some(flight) => {
                    flight.answer_here(|queue| queue.extend_from_slice(lines));
                    self.roads.lands(conn);
                }
                None => out.share(conn, base..base + lines.len()),
            }
        }
    }

    /// A session watches no more.
    pub(super) fn forget_watcher(&mut self, conn: Conn) {
        self.monitors.watchers.retain(|it| *it != conn);
        if let Some(session) = self.sessions.get_mut(conn) {
            session.watches = false;
        }
    }

    /// Now and then: tells core 0 that nobody watches here any more.
    pub(super) fn report_watchers(&mut self, out: &mut Outbox) {
        let core = self.id;
        if !self.monitors.watchers.is_empty() || !self.view.watching.contains(&core) {
            return;
        }
        if core == 0 {
            self.with_control(out, |control, cx| control.watch(cx, core, false));
        } else {
            out.mail[0].push(Message::Unwatched);
        }
    }
}

impl Control {
    /// A core has watchers, or none any more.
    pub(super) fn watch(&mut self, cx: &mut ControlCx<'_>, core: usize, on: bool) {
        self.view.watching.retain(|it| *it != core);
        if on {
            self.view.watching.push(core);
        }
        self.show(cx);
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::Node;

    #[test]
    fn watchers_see_what_all_cores_are_asked() {
        for cores in [1, 3] {
            let mut node = Node::new(cores);
            let (one, other, client) = (node.connect(), node.connect(), node.connect());
            assert_eq!(node.send(one, b"MONITOR\r\n"), b"+OK\r\n");
            assert_eq!(node.send(one, b"MONITOR\r\n"), b"");
            assert_eq!(node.send(other, b"MONITOR\r\n"), b"+OK\r\n");
            node.take(one);
            node.send(client, b"SELECT 3\r\nset k \"v \\x01\"\r\nCONFIG GET port\r\nAUTH a b\r\nNOPE\r\nMGET k l m\r\n");
            for watcher in [one, other] {
                let seen = String::from_utf8(node.take(watcher)).unwrap();
                let seen: Vec<&str> = seen.lines().collect();
                assert_eq!(
                    seen,
                    [
                        "+1700000000.000000 [0 127.0.0.3:3] \"SELECT\" \"3\"",
                        "+1700000000.000000 [3 127.0.0.3:3] \"set\" \"k\" \"v \\x01\"",
                        "+1700000000.000000 [3 127.0.0.3:3] \"AUTH\" \"(redacted)\" \"(redacted)\"",
                        "+1700000000.000000 [3 127.0.0.3:3] \"MGET\" \"k\" \"l\" \"m\"",
                    ],
                    "{cores} cores"
                );
            }
            node.disconnect(one);
            assert_eq!(node.send(other, b"RESET\r\n"), b"+RESET\r\n");
            node.advance(1_000);
            node.take(other);
            assert_eq!(node.send(client, b"PING\r\n"), b"+PONG\r\n");
            assert_eq!(node.take(other), b"");
            assert!(node.cores.iter().all(|core| !core.is_watched()), "nobody is told any more");
        }
    }

    #[test]
    fn a_flood_is_cut_short() {
        let mut node = Node::new(1);
        let (watcher, client) = (node.connect(), node.connect());
        node.send(watcher, b"MONITOR\r\n");
        // All in one turn, for nothing is answered.
        let request = format!("ECHO {}\r\n", "x".repeat(10_000));
        node.send(client, format!("CLIENT REPLY OFF\r\n{}", request.repeat(1_000)).as_bytes());
        let seen = String::from_utf8(node.take(watcher)).unwrap();
        assert!((1_000_000..1_200_000).contains(&seen.len()), "{}", seen.len());
        assert!(seen.ends_with("more requests at this moment are not shown\r\n"));
    }
}
