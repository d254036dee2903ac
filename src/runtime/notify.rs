//! Words to the supervisor: systemd's notification socket (`sd_notify(3)`), nothing else of it.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The server serves.
pub fn ready() {
    send("READY=1\nSTATUS=Ready to accept connections\n");
}

/// The server ends.
pub fn stopping() {
    send("STOPPING=1\n");
}

pub fn status(text: &str) {
    send(&format!("STATUS={text}\n"));
}

/// Without a supervisor (no `NOTIFY_SOCKET`) nothing happens; a supervisor that is gone is no error.
fn send(text: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let name = name.to_string_lossy().into_owned();
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    if let (Ok(socket), Ok(address)) = (UnixDatagram::unbound(), address) {
        let _ = socket.send_to_addr(text.as_bytes(), &address);
    }
}
