//! Where clients connect to, how they introduce themselves, and from which addresses they come.
//!
//! [`Route`] is the seam for targets of more than one server: it alone says which server client `c`
//! dials: the one that was named, or the one that [`Places`] has learned of a cluster or of Sentinels.
//!
//! Linux gives one source address 28,232 ports towards one server, and looks longer for a free one
//! as they run out. So many clients come from many addresses, a few thousand from each. All of
//! 127.0.0.0/8 is this host, so a server on it can be dialed from millions of addresses.

use crate::places::{Places, Server, Service};
use crate::plan::Plan;
use crate::secured::Secured;
use crate::template::{array, bulk};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

/// Clients that share one source address, where nothing else is said.
pub const CLIENTS_PER_SOURCE: u32 = 4_000;
/// More clients than this towards one address of this host come from several addresses unasked.
const CLIENTS_OF_ONE_ADDRESS: u64 = 20_000;
/// The addresses that they come from then.
const LOOPBACK_SOURCES: &str = "127.1.0.1-127.255.255.254";
/// Linux' default range of ports, and so the most clients of one source address.
const PORTS: u64 = 28_232;

/// The server, and how to introduce oneself to it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub host: String,
    pub port: u16,
    /// A Unix socket's path; then host and port do not count.
    pub unix: Option<String>,
    pub user: Option<String>,
    pub password: Option<String>,
    pub db: u32,
    /// 2 or 3.
    pub resp: u8,
    /// What stands behind the address.
    #[serde(default)]
    pub service: Service,
    /// Clients that only read dial replicas.
    #[serde(default)]
    pub read_replicas: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Secured>,
}

/// Addresses that clients come from, in turn.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// `address` or `first-last`; none: the kernel chooses, or addresses of 127/8 where one would
    /// not do.
    pub addresses: Vec<String>,
    /// Clients per address; 0: [`CLIENTS_PER_SOURCE`].
    pub clients_each: u32,
}

/// Which server each client dials, from which address.
#[derive(Clone, Debug)]
pub struct Route {
    servers: Vec<SocketAddr>,
    places: Option<Arc<Places>>,
    /// Connections that dial replicas.
    readers: Vec<Range<u64>>,
    sources: Vec<(IpAddr, u64)>,
    clients_each: u64,
}

impl Target {
    /// The server's name in messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.unix.clone().unwrap_or_else(|| format!("{}:{}", self.host, self.port))
    }

    /// The requests that open every connection, and how many replies they have. `greet` adds a PING.
    #[must_use]
    pub fn introduction(&self, greet: bool) -> (Vec<u8>, u8) {
        let mut requests: Vec<Vec<&[u8]>> = Vec::new();
        let db = self.db.to_string();
        let user = self.user.as_deref();
        let password = self.password.as_deref().map(str::as_bytes);
        if self.resp == 3 {
            let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
            if let Some(password) = password {
                hello.extend([&b"AUTH"[..], user.unwrap_or("default").as_bytes(), password]);
            }
            requests.push(hello);
        } else if let Some(password) = password {
            let mut auth: Vec<&[u8]> = vec![b"AUTH"];
            auth.extend(user.map(str::as_bytes));
            auth.push(password);
            requests.push(auth);
        }
        if self.db != 0 {
            requests.push(vec![b"SELECT", db.as_bytes()]);
        }
        if greet {
            requests.push(vec![b"PING"]);
        }
        let mut bytes = Vec::new();
        for request in &requests {
            array(&mut bytes, request.len());
            request.iter().for_each(|word| bulk(&mut bytes, word));
        }
        (bytes, u8::try_from(requests.len()).unwrap_or(u8::MAX))
    }
}

impl Target {
    /// The same of those who dial replicas: in a cluster they say that this is meant.
    #[must_use]
    pub fn introduction_of_readers(&self, greet: bool) -> (Vec<u8>, u8) {
        let (mut bytes, count) = self.introduction(greet);
        if self.service != Service::Cluster {
            return (bytes, count);
        }
        array(&mut bytes, 1);
        bulk(&mut bytes, b"READONLY");
        (bytes, count.saturating_add(1))
    }
}

impl Route {
    /// The route of `clients` to a server whose name stands for `servers`.
    pub fn new(servers: Vec<SocketAddr>, sources: &Sources, clients: u64) -> Result<Self, String> {
        let v4 = |it: &SocketAddr| matches!(it.ip(), IpAddr::V4(ip) if ip.is_loopback());
        let own = servers.first().is_some_and(v4);
        let mut ranges = sources.ranges()?;
        if ranges.is_empty() && own && clients > CLIENTS_OF_ONE_ADDRESS {
            ranges.push(range(LOOPBACK_SOURCES)?);
        }
        let clients_each = u64::from(match sources.clients_each {
            0 => CLIENTS_PER_SOURCE,
            each => each,
        });
        let room = match ranges.as_slice() {
            [] => PORTS,
            ranges => ranges.iter().map(|it| it.1.saturating_mul(clients_each)).sum(),
        };
        if !servers.is_empty() && clients > room {
            return Err(format!(
                "{clients} clients need more source addresses: those given are good for {room}; \
                 name more with --source FIRST-LAST"
            ));
        }
        Ok(Self { servers, places: None, readers: Vec::new(), sources: ranges, clients_each })
    }

    /// The same route, where several servers serve.
    #[must_use]
    pub fn over(mut self, places: Arc<Places>, plan: &Plan) -> Self {
        let mut first = 0;
        for group in &plan.groups {
            let last = first + u64::from(group.connections);
            if plan.reads_replicas(group) {
                self.readers.push(first..last);
            }
            first = last;
        }
        self.places = Some(places);
        self
    }

    /// Where several servers serve: who does, as far as it is known.
    #[must_use]
    pub fn places(&self) -> Option<&Arc<Places>> {
        self.places.as_ref()
    }

    /// Whether a connection reads from a replica.
    #[must_use]
    pub fn reads(&self, connection: u64) -> bool {
        self.readers.iter().any(|it| it.contains(&connection))
    }

    /// What client `connection` dials, and the address that it comes from.
    #[must_use]
    pub fn of(&self, connection: u64) -> Option<(SocketAddr, Option<IpAddr>)> {
        self.numbered(connection).map(|(_, server, source)| (server, source))
    }

    /// As [`Self::of`], with the number of the server among several.
    #[must_use]
    pub fn numbered(&self, connection: u64) -> Option<(Server, SocketAddr, Option<IpAddr>)> {
        let (number, server) = match &self.places {
            None => (0, *self.servers.first()?),
            Some(places) => places.of(connection, self.reads(connection))?,
        };
        let mut index = connection / self.clients_each;
        for (first, count) in &self.sources {
            if index < *count {
                return Some((number, server, Some(offset(*first, index))));
            }
            index -= count;
        }
        Some((number, server, None))
    }

    /// The servers that clients dial.
    #[must_use]
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }
}

impl Sources {
    /// Whether the addresses can be read.
    pub fn check(&self) -> Result<(), String> {
        self.ranges().map(|_| ())
    }

    fn ranges(&self) -> Result<Vec<(IpAddr, u64)>, String> {
        self.addresses.iter().map(|it| range(it)).collect()
    }
}

/// The first address of `text` and how many there are.
fn range(text: &str) -> Result<(IpAddr, u64), String> {
    let wrong = || format!("`{text}` is no address and no range FIRST-LAST of IPv4 addresses");
    let Some((first, last)) = text.split_once('-') else {
        return Ok((text.trim().parse().map_err(|_| wrong())?, 1));
    };
    let v4 = |it: &str| it.trim().parse::<Ipv4Addr>().map_err(|_| wrong());
    let (first, last) = (v4(first)?, v4(last)?);
    let count = u64::from(u32::from(last)).checked_sub(u64::from(u32::from(first)));
    Ok((IpAddr::V4(first), count.ok_or_else(wrong)? + 1))
}

fn offset(first: IpAddr, index: u64) -> IpAddr {
    match first {
        IpAddr::V4(ip) => {
            let sum = u64::from(u32::from(ip)) + index;
            IpAddr::V4(Ipv4Addr::from(u32::try_from(sum).unwrap_or(u32::MAX)))
        }
        v6 @ IpAddr::V6(_) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(addresses: &[&str], each: u32, clients: u64) -> Result<Route, String> {
        let addresses = addresses.iter().map(|it| (*it).to_string()).collect();
        let sources = Sources { addresses, clients_each: each };
        Route::new(vec![SocketAddr::from(([127, 0, 0, 1], 6379))], &sources, clients)
    }

    #[test]
    fn many_clients_come_from_many_addresses() {
        let from = |route: &Route, client| route.of(client).unwrap().1.map(|it| it.to_string());
        let few = route(&[], 0, 100).unwrap();
        assert_eq!(from(&few, 99), None);
        let many = route(&[], 0, 1_000_000).unwrap();
        assert_eq!(from(&many, 0).as_deref(), Some("127.1.0.1"));
        assert_eq!(from(&many, 3_999).as_deref(), Some("127.1.0.1"));
        assert_eq!(from(&many, 4_000).as_deref(), Some("127.1.0.2"));
        assert_eq!(from(&many, 999_999).as_deref(), Some("127.1.0.250"));
        let given = route(&["10.0.0.7", "10.0.1.255-10.0.2.1"], 10, 40).unwrap();
        assert_eq!(from(&given, 9).as_deref(), Some("10.0.0.7"));
        assert_eq!(from(&given, 10).as_deref(), Some("10.0.1.255"));
        assert_eq!(from(&given, 39).as_deref(), Some("10.0.2.1"));
    }

    #[test]
    fn too_few_addresses_are_refused() {
        assert!(route(&["10.0.0.7"], 10, 11).unwrap_err().contains("good for 10"));
        assert!(route(&["10.0.0.x"], 10, 1).unwrap_err().contains("10.0.0.x"));
        assert!(route(&["10.0.0.9-10.0.0.8"], 10, 1).is_err());
        let far = vec![SocketAddr::from(([10, 0, 0, 1], 6379))];
        assert!(Route::new(far, &Sources::default(), 30_000).unwrap_err().contains("--source"));
    }

    #[test]
    fn an_introduction_has_a_reply_for_each_request() {
        let mut target = crate::plan::sample().target;
        assert_eq!(target.introduction(false), (Vec::new(), 0));
        assert_eq!(target.introduction(true), (b"*1\r\n$4\r\nPING\r\n".to_vec(), 1));
        (target.password, target.db) = (Some("hush".into()), 3);
        let (bytes, replies) = target.introduction(false);
        assert_eq!(replies, 2);
        assert!(bytes.starts_with(b"*2\r\n$4\r\nAUTH\r\n$4\r\nhush\r\n*2\r\n$6\r\nSELECT\r\n"));
        target.resp = 3;
        assert!(
            target.introduction(false).0.starts_with(b"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH")
        );
    }
}
