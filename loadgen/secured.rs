//! TLS: which certificates there are, and a blocking connection with it.
//!
//! A run's sockets have it in `drive.rs`, by the same transform that the server has.

use crate::failure::Failure;
use ringfold::tls::choice::Wish;
use ringfold::tls::contexts::{Connecting, Pair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

/// Files of certificates.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Secured {
    /// Of the authority by which the server is known.
    pub cacert: String,
    /// The certificate that is shown, and its key.
    pub shown: Option<(String, String)>,
    /// `TLSv1.2`, `TLSv1.3`, or both; empty: both.
    pub protocols: String,
}

/// A blocking connection.
pub type Blocking = StreamOwned<ClientConnection, TcpStream>;

impl Secured {
    /// Reads the files.
    pub fn config(&self) -> Result<Arc<ClientConfig>, Failure> {
        let read = |file: &String| {
            std::fs::read(file).map_err(|it| Failure::Plan(format!("cannot read {file}: {it}")))
        };
        let shows = match &self.shown {
            None => None,
            Some((certificate, key)) => Some(Pair {
                certificate: read(certificate)?,
                key: read(key)?,
                certificate_file: certificate.clone(),
                key_file: key.clone(),
                password: Vec::new(), // An encrypted key is refused with an error that says so.
            }),
        };
        let authorities = vec![(self.cacert.clone(), read(&self.cacert)?)];
        let wish = Wish { protocols: self.protocols.clone(), ..Wish::default() };
        Connecting { shows, authorities, wish }.build().map_err(Failure::Plan)
    }

    /// TLS over a connection, once its handshake is over.
    pub fn over(&self, mut stream: TcpStream) -> io::Result<Blocking> {
        let config = self.config().map_err(|it| io::Error::other(it.to_string()))?;
        let name = ServerName::from(stream.peer_addr()?.ip());
        let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(StreamOwned::new(connection, stream))
    }
}
