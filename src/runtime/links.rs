//! Finding our master: its name becomes an address beside the serving loop, for a resolver may take
//! seconds. The connect itself is the socket ring's.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

type Found = Result<SocketAddr, String>;

/// A name being resolved.
#[derive(Debug)]
pub struct Dial {
    found: Receiver<Found>,
}

impl Dial {
    /// Resolves `host` on a thread of its own, unless it is an address already.
    #[must_use]
    pub fn start(host: String, port: u16) -> Self {
        let (tell, found) = channel();
        if let Ok(ip) = host.parse() {
            let _ = tell.send(Ok(SocketAddr::new(ip, port)));
            return Self { found };
        }
        let resolve = move || drop(tell.send(resolve(&host, port)));
        // Where no thread can be had, `take` says so.
        let _ = std::thread::Builder::new().name("resolver".to_string()).spawn(resolve);
        Self { found }
    }

    /// What was found, once.
    #[must_use]
    pub fn take(&self) -> Option<Found> {
        match self.found.try_recv() {
            Ok(found) => Some(found),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err("the resolver gave no answer".into())),
        }
    }
}

pub(super) fn resolve(host: &str, port: u16) -> Found {
    let found = (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
    let addresses: Vec<SocketAddr> = found.collect();
    let found = addresses.iter().find(|it| it.is_ipv4()).or(addresses.first());
    found.copied().ok_or_else(|| format!("{host} has no address"))
}
