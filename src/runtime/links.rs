//! Finding our master: its name becomes an address beside the serving loop, for a resolver may take
//! seconds. The connect itself is the socket ring's.

use std::cell::RefCell;
use std::net::{SocketAddr, ToSocketAddrs};
use std::rc::Rc;

/// A name being resolved.
#[derive(Clone, Debug)]
pub struct Dial {
    found: Rc<RefCell<Option<Result<SocketAddr, String>>>>,
}

impl Dial {
    /// Resolves `host` on glommio's blocking thread.
    #[must_use]
    pub fn start(host: String, port: u16) -> Self {
        let dial = Self { found: Rc::default() };
        if let Ok(ip) = host.parse() {
            *dial.found.borrow_mut() = Some(Ok(SocketAddr::new(ip, port)));
            return dial;
        }
        let place = dial.clone();
        glommio::spawn_local(async move {
            let name = host.clone();
            let resolve = move || (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
            let found: std::io::Result<Vec<SocketAddr>> =
                glommio::executor().spawn_blocking(resolve).await;
            let found = match found {
                Ok(addresses) => addresses
                    .iter()
                    .find(|it| it.is_ipv4())
                    .or(addresses.first())
                    .copied()
                    .ok_or_else(|| format!("{host} has no address")),
                Err(error) => Err(format!("{host}: {error}")),
            };
            *place.found.borrow_mut() = Some(found);
        })
        .detach();
        dial
    }

    /// The answer, once it is there.
    #[must_use]
    pub fn take(&self) -> Option<Result<SocketAddr, String>> {
        self.found.borrow_mut().take()
    }
}
