//! Where we listen, changed while we run: by CONFIG SET of `bind`, `port` and `tls-port`.
//!
//! Core 0 has all listeners. Those that are still wanted stay as they are; new ones are opened before old ones are
//! closed, unless they are in each other's way (one address in the place of all). Whoever has connected is served,
//! also who waits at a door that is closed. Where a new one cannot be opened all stays as it was.
//!
//! Not here: names are looked up beside the loop (`Reload` in `tls.rs`); the doors of administrators and Unix
//! sockets, which do not change.

use crate::node::settings::Settings;
use crate::runtime::looping::{Loop, Pending};
use crate::runtime::serve::{addresses, is_absent};
use crate::uring::sys;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// An open door.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door {
    /// The driver's.
    pub number: u32,
    /// None: a Unix socket.
    pub address: Option<SocketAddr>,
    pub by_tls: bool,
}

/// A door that settings ask for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    address: SocketAddr,
    by_tls: bool,
    /// The host need not have this address.
    optional: bool,
}

/// Do these settings listen somewhere else?
#[must_use]
pub fn moves(old: &Settings, new: &Settings) -> bool {
    (&old.bind, old.port, old.tls_port) != (&new.bind, new.port, new.tls_port)
}

/// The doors that settings ask for.
///
/// # Errors
/// A name that has no address.
pub fn wanted(settings: &Settings) -> Result<Vec<Wanted>, String> {
    let mut wanted = Vec::new();
    for (port, by_tls) in [(settings.port, false), (settings.tls_port, true)] {
        for bind in settings.bind.iter().filter(|_| port != 0) {
            let (optional, host) = match bind.strip_prefix(b"-") {
                Some(host) => (true, host),
                None => (false, bind.as_slice()),
            };
            let found = addresses(host, port).map_err(|refusal| refusal.why)?;
            wanted.extend(found.into_iter().map(|address| Wanted { address, by_tls, optional }));
        }
    }
    Ok(wanted)
}

impl Loop {
    pub(super) fn is_tls_door(&self, number: u32) -> bool {
        self.doors.iter().any(|it| it.number == number && it.by_tls)
    }

    /// Listens there, and nowhere else.
    pub(super) fn move_doors(
        &mut self,
        wanted: &[Wanted],
        pending: &mut Vec<Pending>,
    ) -> Result<(), String> {
        let is =
            |door: &Door, it: &Wanted| door.address == Some(it.address) && door.by_tls == it.by_tls;
        let new: Vec<Wanted> = wanted
            .iter()
            .filter(|it| !self.doors.iter().any(|door| is(door, it)))
            .copied()
            .collect();
        let old: Vec<Door> = self
            .doors
            .iter()
            .filter(|door| door.address.is_some() && !wanted.iter().any(|it| is(door, it)))
            .copied()
            .collect();
        let (opened, closed) = match self.open_all(&new) {
            Ok(opened) => (opened, false),
            Err(why) if !in_the_way(&old, &new) => return Err(why),
            Err(_) => {
                self.close_doors(&old, pending);
                match self.open_all(&new) {
                    Ok(opened) => (opened, true),
                    Err(why) => {
                        self.open_again(&old);
                        return Err(why);
                    }
                }
            }
        };
        if !closed {
            self.close_doors(&old, pending);
        }
        for (fd, Wanted { address, by_tls, .. }) in opened {
            let number = self.driver.listen(fd);
            self.doors.push(Door { number, address: Some(address), by_tls });
        }
        Ok(())
    }

    fn open_all(&self, wanted: &[Wanted]) -> Result<Vec<(OwnedFd, Wanted)>, String> {
        let mut opened = Vec::new();
        for it in wanted {
            match self.open_door(it.address) {
                Ok(fd) => opened.push((fd, *it)),
                Err(error) if it.optional && is_absent(&error) => {}
                Err(error) => return Err(format!("cannot listen on {}: {error}", it.address)),
            }
        }
        Ok(opened)
    }

    fn open_door(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let backlog = i32::try_from(self.settings.tcp_backlog).unwrap_or(i32::MAX);
        sys::listen_tcp(address, backlog)
    }

    fn close_doors(&mut self, old: &[Door], pending: &mut Vec<Pending>) {
        for door in old {
            // They came by this door, so it is still known as what it was.
            for caller in self.driver.close_listener(door.number) {
                self.accepted(door.number, caller, pending);
            }
            self.stopped_listeners.retain(|it| *it != door.number);
            self.doors.retain(|it| it.number != door.number);
        }
    }

    fn open_again(&mut self, old: &[Door]) {
        for door in old {
            let Some(address) = door.address else { continue };
            match self.open_door(address) {
                Ok(fd) => {
                    let number = self.driver.listen(fd);
                    self.doors.push(Door { number, ..*door });
                }
                Err(error) => tracing::warn!("cannot listen on {address} again: {error}"),
            }
        }
    }
}

/// May old doors be why a new one cannot be opened? They have its port.
fn in_the_way(old: &[Door], new: &[Wanted]) -> bool {
    let ports = |it: &Wanted| {
        old.iter().any(|door| door.address.is_some_and(|had| had.port() == it.address.port()))
    };
    new.iter().any(ports)
}
