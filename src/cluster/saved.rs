//! The node's file, in Redis' format: what CLUSTER NODES shows, a line per node, and the epochs.
//!
//! ```text
//!   <id> <ip>:<port>@<bus port>,<hostname>[,shard-id=..][,nodename=..] <flags> <master or -> <ping> <pong>
//!        <config epoch> connected <slots> [<slot>->-<id>] [<slot>-<-<id>]
//!   vars currentEpoch <n> lastVoteEpoch <n> [useless <slots>]
//! ```
//!
//! What was written can be read, whatever others have sent: names, hostnames and addresses were looked at when
//! they came in. A file that cannot be understood is refused with its line, and never taken in part.

use super::extension::{is_hostname, is_name};
use super::flags::Flags;
use super::id::NodeId;
use super::machine::Cluster;
use super::moves::{parse_ranges, ranges};
use super::node::{Key, Node};
use super::settings::Settings;
use crate::base::limits::SLOTS;
use crate::base::time::Now;
use core::net::IpAddr;

impl Cluster {
    /// The file's text.
    #[must_use]
    pub fn file(&self) -> Vec<u8> {
        let mut text = String::new();
        for (key, node) in self.nodes.iter().filter(|(_, node)| !node.in_handshake()) {
            self.describe(key, node, true, &mut text);
            text.push('\n');
        }
        let (current, vote) = (self.current_epoch, self.last_vote_epoch);
        #[cfg(test)]
        let vote = if self.plant == Some(super::sim::Plant::VoteIsNotSaved) { 0 } else { vote };
        text.push_str(&format!("vars currentEpoch {current} lastVoteEpoch {vote}"));
        let useless = self.useless_slots();
        if !useless.is_empty() {
            text.push_str(&format!(" useless {}", ranges(&useless).replace(' ', ",")));
        }
        text.push('\n');
        text.into_bytes()
    }

    /// One node as a line, without the line's end.
    pub(super) fn describe(&self, key: Key, node: &Node, for_file: bool, text: &mut String) {
        let ip = node.ip.map_or(String::new(), |ip| ip.to_string());
        text.push_str(&format!("{} {ip}:{}@{}", node.id, node.port, node.bus_port));
        if for_file {
            text.push_str(&format!(",{},shard-id={}", node.hostname, node.shard));
            if !node.human_name.is_empty() {
                text.push_str(&format!(",nodename={}", node.human_name));
            }
        } else if !node.hostname.is_empty() {
            text.push_str(&format!(",{}", node.hostname));
        }
        let master = node.master.and_then(|it| self.nodes.get(it));
        let named = master.map_or("-".into(), |it| it.id.to_string());
        let epoch = master.filter(|_| node.is_replica()).unwrap_or(node).config_epoch;
        let (ping, pong) = (self.wall_ms_of(node.ping_sent), self.wall_ms_of(node.pong_received));
        let up = key == self.me || self.out_link(key).is_some();
        let link = if up { "connected" } else { "disconnected" };
        text.push_str(&format!(" {} {named} {ping} {pong} {epoch} {link}", node.flags.names()));
        for range in node.slots.ranges() {
            match (range.start(), range.end()) {
                (start, end) if start == end => text.push_str(&format!(" {start}")),
                (start, end) => text.push_str(&format!(" {start}-{end}")),
            }
        }
        if key == self.me {
            for (sign, slots) in [('>', &self.table.migrating), ('<', &self.table.importing)] {
                for (slot, other) in slots {
                    text.push_str(&format!(" [{slot}-{sign}-{}]", self.node(*other).id));
                }
            }
        }
    }

    /// A node as its file says.
    ///
    /// # Errors
    /// The line that cannot be understood.
    pub fn load(now: Now, seed: u64, settings: Settings, text: &[u8]) -> Result<Self, String> {
        let mut this = Self::new(now, seed, settings);
        let fresh = this.me;
        let text = str::from_utf8(text).map_err(|_| "it is not text".to_string())?;
        let mut mine = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let read = match words.first() {
                Some(word) if word.eq_ignore_ascii_case("vars") => this.read_vars(&words),
                _ => this.read_node(&words, &mut mine),
            };
            read.ok_or_else(|| line.to_string())?;
        }
        let Some(me) = mine else { return Err("no line says myself".into()) };
        this.me = me;
        this.nodes.remove(fresh);
        // Of those whom a line only names nothing else is known.
        for key in this.nodes.keys() {
            let node = this.node_mut(key);
            if key == me && !node.is_master() && !node.is_replica() {
                return Err("myself is neither master nor replica".into());
            }
            let master = node.master;
            if let Some(shard) = master.and_then(|it| this.nodes.get(it)).map(|it| it.shard) {
                this.node_mut(key).shard = shard;
            }
        }
        let greatest = this.nodes.iter().map(|(_, node)| node.config_epoch).max().unwrap_or(0);
        this.current_epoch = this.current_epoch.max(greatest);
        Ok(this)
    }

    fn read_vars(&mut self, words: &[&str]) -> Option<()> {
        for pair in words.get(1..)?.chunks(2) {
            let [name, value] = pair else { return None };
            match name.to_ascii_lowercase().as_str() {
                "currentepoch" => self.current_epoch = value.parse().ok()?,
                "lastvoteepoch" => self.last_vote_epoch = value.parse().ok()?,
                "useless" => self.moves.leftover = parse_ranges(value)?,
                _ => {} // Of a later version.
            }
        }
        Some(())
    }

    fn read_node(&mut self, words: &[&str], mine: &mut Option<Key>) -> Option<()> {
        let [id, address, flags, master, ping, pong, epoch, _link, slots @ ..] = words else {
            return None;
        };
        let key = self.named(id)?;
        let flags = Flags::parse(flags)?;
        let now = self.now;
        self.node_mut(key).flags = flags;
        self.read_address(key, address)?;
        if *master != "-" {
            let master = self.named(master).filter(|it| *it != key)?;
            self.set_replica_of(key, Some(master));
        }
        let node = self.node_mut(key);
        node.ping_sent = (ping.parse::<i64>().ok()? > 0).then_some(now);
        node.pong_received = (pong.parse::<i64>().ok()? > 0).then_some(now);
        let epoch: u64 = epoch.parse().ok()?;
        node.config_epoch = if node.master.is_some() { 0 } else { epoch };
        if flags.has(Flags::MYSELF) {
            if mine.replace(key).is_some() {
                return None;
            }
            self.node_mut(key).ping_sent = None;
        }
        slots.iter().try_for_each(|word| self.read_slots(key, word))
    }

    /// `ip:port@bus,hostname,name=value..`
    fn read_address(&mut self, key: Key, text: &str) -> Option<()> {
        let mut parts = text.split(',');
        let (ip, ports) = parts.next()?.rsplit_once(':')?;
        let (port, bus) = ports.split_once('@').map_or((ports, None), |it| (it.0, Some(it.1)));
        let port: u16 = port.parse().ok()?;
        let bus_port = match bus {
            Some(bus) => bus.parse().ok()?,
            None => port.saturating_add(BUS_PORT_OFFSET),
        };
        let ip = match ip {
            "" => None,
            ip => Some(ip.parse::<IpAddr>().ok()?),
        };
        let node = self.node_mut(key);
        (node.ip, node.port, node.bus_port) = (ip, port, bus_port);
        let hostname = parts.next().unwrap_or_default();
        if !hostname.is_empty() && !is_hostname(hostname) {
            return None;
        }
        node.hostname = hostname.into();
        for (name, value) in parts.map(|part| part.split_once('=')).collect::<Option<Vec<_>>>()? {
            match name {
                "shard-id" => node.shard = NodeId::parse(value.as_bytes())?,
                "nodename" if is_name(value) => node.human_name = value.into(),
                "nodename" => return None,
                _ => {}
            }
        }
        Some(())
    }

    fn read_slots(&mut self, key: Key, word: &str) -> Option<()> {
        let slot = |text: &str| text.parse::<u16>().ok().filter(|it| *it < SLOTS);
        if let Some(inside) = word.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
            let (number, rest) = inside.split_once('-')?;
            let (sign, other) = rest.split_once('-')?;
            let (slot, other) = (slot(number)?, self.named(other)?);
            match sign {
                ">" => self.table.migrating.insert(slot, other),
                "<" => self.table.importing.insert(slot, other),
                _ => return None,
            };
            return Some(());
        }
        let (start, end) = word.split_once('-').unwrap_or((word, word));
        for slot in slot(start)?..=slot(end)? {
            self.give_slot(slot, Some(key));
        }
        Some(())
    }

    /// The node of this name, which may be mentioned before its own line.
    fn named(&mut self, id: &str) -> Option<Key> {
        let id = NodeId::parse(id.as_bytes())?;
        let shard = NodeId::draw(&mut self.prng);
        let flags = Flags::default();
        Some(self.nodes.find(&id).unwrap_or_else(|| {
            let node = Node::new(id, shard, flags, self.now);
            self.nodes.insert(node)
        }))
    }
}

/// Between the port for clients and the one of the bus, where nobody says otherwise.
pub const BUS_PORT_OFFSET: u16 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Cluster, String> {
        Cluster::load(Now::default(), 1, Settings::default(), text.as_bytes())
    }

    /// As redis-server 7.0.15 wrote it.
    const FILE: &str = "\
4e3bc838a8a58c9e3f6943395c430fd08f15d5e1 127.0.0.1:23996@23998,node0.example master - 0 1796065678091 5 connected 0-5460
33c2dde76775b957fbdc7b63a33850fff15211e6 127.0.0.1:23999@24001,node1.example myself,master - 0 1796065677000 1 connected 5461-10921 [7-<-4e3bc838a8a58c9e3f6943395c430fd08f15d5e1]
1cc338d52ea4789e2801bb1835c69cbfd8ffa424 127.0.0.1:24002@24004,node2.example master,fail? - 1796065678494 1796065678494 2 disconnected 10922-16382 16383
28184121e9df11844fdfa0ebc658022e9d9d6af3 127.0.0.1:24005@24007 slave,nofailover 4e3bc838a8a58c9e3f6943395c430fd08f15d5e1 0 1796065678293 5 connected
vars currentEpoch 5 lastVoteEpoch 4
";

    #[test]
    fn a_file_of_redis_is_read_and_written() {
        let cluster = load(FILE).unwrap();
        cluster.check().unwrap();
        assert_eq!((cluster.current_epoch, cluster.last_vote_epoch), (5, 4));
        assert_eq!(cluster.me().slots.ranges(), [5_461..=10_921]);
        assert_eq!(cluster.table.importing.len(), 1);
        let written = String::from_utf8(cluster.file()).unwrap();
        let again = load(&written).unwrap();
        assert_eq!(String::from_utf8(again.file()).unwrap(), written);
        assert!(
            written.contains(
                "28184121e9df11844fdfa0ebc658022e9d9d6af3 127.0.0.1:24005@24007,,shard-id="
            )
        );
        assert!(written.contains(" slave,nofailover 4e3bc838a8a58c9e3f6943395c430fd08f15d5e1 "));
        assert!(written.contains(" 10922-16383\n"));
    }

    #[test]
    fn a_file_of_redis_7_2_is_read() {
        let id = "b".repeat(40);
        let shard = "c".repeat(40);
        let text = format!(
            "{id} :6379@16379,,tls-port=0,nodename=left,shard-id={shard} myself,master - 0 0 0 connected\n\nvars currentEpoch 0 lastVoteEpoch 0 novel 3\n"
        );
        let cluster = load(&text).unwrap();
        assert_eq!(
            (cluster.me().shard.to_string(), cluster.me().human_name.as_str()),
            (shard, "left")
        );
    }

    #[test]
    fn what_is_no_file_of_a_node_is_refused() {
        let line = |at: usize| FILE.lines().nth(at).unwrap();
        for bad in [
            "",
            "what is this",
            line(0),
            &FILE.replace("5461-10921", "5461-16384"),
            &FILE.replace("myself,master", "myself,king"),
            &FILE.replace("currentEpoch 5", "currentEpoch five"),
            &FILE.replace("node1.example", "node_1;"),
            &FILE.replace("23999@24001", "99999@24001"),
            &FILE.replace("[7-<-", "[7-="),
            &FILE.replace("myself,", ""),
            &FILE.replace("lastVoteEpoch 4", "lastVoteEpoch"),
            &FILE.replace("slave,nofailover 4e", "slave,nofailover 4E"),
        ] {
            assert!(load(bad).is_err(), "{bad}");
        }
    }
}
