//! The loop and its TLS connections: when a session begins, what it is told, and how it ends.
//!
//! The core hears of a client once its handshake is over, and from then on sees plaintext only. What cannot be
//! done for such a connection (its socket is not lent to other cores, which could not seal) is left
//! out where it is asked for.
//!
//! Not here: what is sealed and in which order (`streams.rs`).

use crate::node::certificates::Unusable;
use crate::node::core::{FileEvent, Input};
use crate::node::outbox::{Action, Conn, Level, Outbox};
use crate::node::session::Ends;
use crate::runtime::logs;
use crate::runtime::looping::{Loop, Pending, ends};
use crate::runtime::streams::Heard;
use crate::runtime::tls::Reload;
use crate::tls::stream::Failure;
use crate::uring::driver::{Buffer, Segment, Socket};
use crate::uring::sys;
use std::os::fd::{AsRawFd, OwnedFd};

impl Loop {
    /// A client came by the door of TLS.
    pub(super) fn adopt_secured(&mut self, fd: OwnedFd) {
        let about = ends(fd.as_raw_fd());
        let socket = self.driver.adopt(fd);
        self.told.seated += 1; // Whoever sent it here has counted it.
        // Those who are in count against `maxclients` in the core; nobody holds more by not coming in.
        let room = usize::try_from(self.settings.maxclients).unwrap_or(usize::MAX);
        let begun = match self.tls.get() {
            _ if self.streams.handshakes() >= room => Err(Failure(
                "there are as many handshakes under way as there may be clients".into(),
            )),
            Some(contexts) => self.streams.accept(socket, &contexts, about, self.clock.mono()),
            None => Err(Failure("there is no certificate any more".into())),
        };
        if let Err(Failure(why)) = begun {
            self.turn_away(socket, &why);
        }
    }

    /// Our master is connected to: TLS begins.
    pub(super) fn secure_link(&mut self, socket: Socket) -> Result<(), String> {
        let fd = self.driver.fd(socket);
        let peer = sys::peer_address(fd).ok_or("the connection is gone")?;
        let contexts = self.tls.get().ok_or("there is no certificate")?;
        let now = self.clock.mono();
        let begun =
            self.streams.connect(socket, contexts.client.as_ref(), peer.ip(), ends(fd), now);
        begun.map_err(|Failure(why)| why)
    }

    pub(super) fn received_sealed(
        &mut self,
        socket: Socket,
        buffer: Buffer,
        pending: &mut Vec<Pending>,
    ) {
        let heard = self.streams.received(socket, self.driver.bytes(buffer));
        self.driver.give_back(buffer);
        self.heard(socket, heard, pending);
    }

    /// Handshakes go on, a few in a turn; those that take too long end.
    pub(super) fn shake_hands(&mut self, pending: &mut Vec<Pending>) {
        if self.streams.is_empty() {
            return;
        }
        while let Some((socket, heard)) = self.streams.next_handshake() {
            self.heard(socket, heard, pending);
        }
        let now = self.clock.mono();
        while let Some(socket) = self.streams.next_late(now) {
            self.broken(socket, "the handshake took too long", pending);
        }
    }

    fn heard(&mut self, socket: Socket, heard: Heard<Ends>, pending: &mut Vec<Pending>) {
        let conn = Conn(socket.0);
        let Heard { opened, plain, ended, failed } = heard;
        if let Some(ends) = opened {
            if self.is_connecting(socket) {
                let input = self.dialled(socket, Ok((conn, ends)));
                pending.push(Pending::Input(input));
            } else {
                pending.push(Pending::Input(Input::Opened { conn, ends }));
                if let Some(name) = self.streams.name_of_peer(socket) {
                    pending.push(Pending::Input(Input::Certified { conn, name }));
                }
            }
        }
        if !plain.is_empty() {
            match self.leaving.iter_mut().find(|it| it.socket == socket) {
                Some(leaving) => leaving.session.keep(self.streams.plain(plain)),
                None => pending.push(Pending::Plain(conn, plain)),
            }
        }
        match failed {
            Some(why) => self.broken(socket, &why, pending),
            None if ended => self.peer_gone(socket, pending),
            None => {}
        }
    }

    /// The peer of a connection whose handshake is not over is gone.
    pub(super) fn gone_early(&mut self, socket: Socket, pending: &mut Vec<Pending>) {
        // What it said before is looked at first.
        if !self.streams.goes_later(socket) {
            self.broken(socket, "the connection was closed in the handshake", pending);
        }
    }

    fn broken(&mut self, socket: Socket, why: &str, pending: &mut Vec<Pending>) {
        if self.shut.contains(&socket) {
            return; // It is on its way out.
        }
        if self.is_connecting(socket) {
            self.shut.push(socket);
            let input = self.dialled(socket, Err(format!("TLS: {why}")));
            pending.push(Pending::Input(input));
        } else if self.streams.is_open(socket) {
            logs::write(Level::Verbose, &format!("TLS connection {}: {why}", socket.0));
            self.peer_gone(socket, pending);
        } else {
            self.turn_away(socket, why);
        }
    }

    /// Ends a connection of which the core has not heard, once its alert is sent.
    fn turn_away(&mut self, socket: Socket, why: &str) {
        let fd = self.driver.fd(socket);
        let address =
            |it: Option<_>| it.map_or("?".into(), |it: std::net::SocketAddr| it.to_string());
        let (peer, local) = (address(sys::peer_address(fd)), address(sys::local_address(fd)));
        let text =
            format!("Error accepting a client connection: {why} (addr={peer} laddr={local})");
        logs::write(Level::Warning, &text);
        self.shut.push(socket);
    }

    /// Seals the turn's replies, and adds what connections say by themselves.
    pub(super) fn seal(&mut self, out: &mut Outbox, segments: &mut Vec<Segment>) {
        if self.streams.is_empty() {
            return;
        }
        let closing: Vec<Socket> = out
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Close(conn) => Some(Socket(conn.0)),
                _ => None,
            })
            .collect();
        let leaving = &self.leaving;
        let stays = |socket| leaving.iter().any(|it| it.socket == socket);
        self.streams.secure(&mut out.bytes, segments, &closing, stays);
    }

    /// Closes those whose handshake came to nothing.
    pub(super) fn close_shut(&mut self) {
        for socket in std::mem::take(&mut self.shut) {
            self.streams.forget(socket);
            self.driver.close(socket);
        }
    }

    /// Keys and certificates that were to be read again.
    pub(super) fn collect_certificates(&mut self, pending: &mut Vec<Pending>) {
        let Some(read) = self.reload.as_ref().and_then(Reload::take) else { return };
        self.reload = None;
        let result = read.and_then(|read| {
            if let Some(doors) = &read.doors {
                self.move_doors(doors, pending).map_err(Unusable::Addresses)?;
            }
            read.hold(&self.tls);
            Ok(())
        });
        pending.push(Pending::Input(Input::File(FileEvent::Certificates(result))));
    }
}
