//! One TLS connection without its socket: bytes in, plaintext and bytes out.
//!
//! ```text
//!   socket --receive(bytes)--> [ kept | bytes ] --records--> plaintext        for whoever serves
//!   socket <--------------- answers of the handshake, alerts, sealed records <--seal(plaintext)
//! ```
//!
//! What goes out is appended to a buffer of the caller's in the order in which it must be sent: records are
//! numbered, so two that change places end the connection. Between two calls a connection keeps the
//! beginning of a record that is not complete, and nothing where there is none: an idle one has no
//! buffer.
//!
//! The trap: the library remembers where in these bytes the parts of a handshake message lie that came in
//! several records. So each call shows it all that it has not let go of, from the same place on, and one that
//! has failed is shown nothing more.
//!
//! Not here: whose turn a handshake has, deadlines, sockets (`runtime/streams.rs`), and what is trusted
//! (`contexts.rs`).

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{ClientConfig, CommonState, ServerConfig};
use std::sync::Arc;

/// Plaintext of one record, and what sealing adds to it at most.
const RECORD_BYTES: usize = 16 * 1024;
const RECORD_OVERHEAD: usize = 64;

/// What is kept of what is not complete: a whole handshake message in its records, at most.
const KEPT_BYTES_MAX: usize = 96 * 1024;

/// See the file's header.
pub struct Stream {
    side: Side,
    /// The beginning of something that is not complete.
    kept: Vec<u8>,
    state: State,
}

enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Handshaking,
    Open,
    /// The peer has said that it sends no more; it may still be sent to.
    Finished,
    Failed,
}

/// Why a connection cannot go on, as the log says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(pub String);

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("state", &self.state)
            .field("kept", &self.kept.len())
            .finish()
    }
}

impl Stream {
    /// The side of one who was connected to.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn accept(config: &Arc<ServerConfig>) -> Result<Self, Failure> {
        UnbufferedServerConnection::new(Arc::clone(config)).map(Side::Server).map_or_else(
            |error| Err(Failure(error.to_string())),
            |side| Ok(Self { side, kept: Vec::new(), state: State::Handshaking }),
        )
    }

    /// The side of one who has connected; `receive` of nothing says what it sends first.
    ///
    /// # Errors
    /// What of the configuration cannot be used.
    pub fn connect(config: &Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Failure> {
        UnbufferedClientConnection::new(Arc::clone(config), name).map(Side::Client).map_or_else(
            |error| Err(Failure(error.to_string())),
            |side| Ok(Self { side, kept: Vec::new(), state: State::Handshaking }),
        )
    }

    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Bytes that it holds between two calls.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.kept.capacity()
    }

    /// The peer's certificate, where it has shown one.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        let common: &CommonState = match &self.side {
            Side::Server(it) => it,
            Side::Client(it) => it,
        };
        common.peer_certificates().and_then(<[_]>::first)
    }

    /// Takes in what came by the socket. Plaintext is appended to `plain`, what must be sent to `out`, also
    /// where it fails (an alert says why). `scratch` is overwritten.
    ///
    /// # Errors
    /// Why it is over: the socket is to be closed after `out` is sent.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        scratch: &mut Vec<u8>,
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<State, Failure> {
        match self.state {
            State::Handshaking | State::Open => {}
            State::Finished => return Ok(self.state), // Whatever comes behind the end is nobody's.
            State::Failed => return Err(Failure("it has failed before".into())),
        }
        scratch.clear();
        scratch.extend_from_slice(&std::mem::take(&mut self.kept));
        scratch.extend_from_slice(bytes);
        let mut at = 0;
        loop {
            let (discard, step) =
                self.side.step(scratch.get_mut(at..).unwrap_or_default(), plain, out);
            at += discard;
            match step {
                Step::Again => continue,
                Step::Blocked => {}
                Step::Open => self.opened(),
                Step::Finished => self.state = State::Finished,
                Step::Failed(why) => {
                    self.fail(scratch.get_mut(at..).unwrap_or_default(), out);
                    return Err(Failure(why));
                }
            }
            break;
        }
        let rest = scratch.get_mut(at..).unwrap_or_default();
        if rest.len() > KEPT_BYTES_MAX {
            self.fail(rest, out);
            return Err(Failure("too much that makes no whole record".into()));
        }
        if self.state != State::Finished {
            self.kept = rest.to_vec();
        }
        Ok(self.state)
    }

    /// Appends `plain` to `out`, sealed. Nothing can be sealed before the connection is open.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        if matches!(self.state, State::Open | State::Finished) && !plain.is_empty() {
            self.write(Write::Data(plain), out);
        }
    }

    /// Appends the word that nothing more will be sent.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if matches!(self.state, State::Open | State::Finished) {
            self.write(Write::End, out);
        }
    }

    fn write(&mut self, what: Write<'_>, out: &mut Vec<u8>) {
        let mut plain = Vec::new();
        loop {
            let (discard, step) = self.side.write(what, &mut self.kept, &mut plain, out);
            self.kept.drain(..discard.min(self.kept.len()));
            // All that could be read has been: there is no more of it than before.
            let failed = matches!(step, Step::Failed(_)) || !plain.is_empty();
            match step {
                Step::Again if !failed => {}
                _ if failed => {
                    self.state = State::Failed;
                    self.kept = Vec::new();
                    return;
                }
                _ => return,
            }
        }
    }

    fn opened(&mut self) {
        if self.state == State::Handshaking {
            self.state = State::Open;
        }
    }

    /// The alert that says why is appended to `out`.
    fn fail(&mut self, rest: &mut [u8], out: &mut Vec<u8>) {
        self.state = State::Failed;
        self.kept = Vec::new();
        let before = out.len();
        let mut nothing = Vec::new();
        // What there is to say comes first; after that it would only fail again.
        while let (0, Step::Again) = self.side.step(rest, &mut nothing, out)
            && out.len() == before
        {}
    }
}

#[derive(Clone, Copy)]
enum Write<'a> {
    Data(&'a [u8]),
    End,
}

/// What one step of a connection came to.
enum Step {
    /// There is more to do at once.
    Again,
    /// The handshake needs more of the peer.
    Blocked,
    Open,
    Finished,
    Failed(String),
}

impl Side {
    fn step(&mut self, bytes: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> (usize, Step) {
        match self {
            Self::Server(it) => step(it.process_tls_records(bytes), None, plain, out),
            Self::Client(it) => step(it.process_tls_records(bytes), None, plain, out),
        }
    }

    fn write(
        &mut self,
        what: Write<'_>,
        kept: &mut [u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> (usize, Step) {
        match self {
            Self::Server(it) => step(it.process_tls_records(kept), Some(what), plain, out),
            Self::Client(it) => step(it.process_tls_records(kept), Some(what), plain, out),
        }
    }
}

/// Does what a connection asks for next; the bytes of its input that are used up.
fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    write: Option<Write<'_>>,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> (usize, Step) {
    let UnbufferedStatus { mut discard, state, .. } = status;
    let state = match state {
        Ok(state) => state,
        Err(error) => return (discard, Step::Failed(error.to_string())),
    };
    let step = match state {
        ConnectionState::ReadTraffic(mut traffic) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain.extend_from_slice(record.payload);
                }
                Some(Err(error)) => break Step::Failed(error.to_string()),
                None => break Step::Again,
            }
        },
        ConnectionState::EncodeTlsData(mut data) => {
            let encoded = append(out, RECORD_OVERHEAD, |room| {
                data.encode(room).map_err(|error| match error {
                    EncodeError::InsufficientSize(more) => Some(more),
                    EncodeError::AlreadyEncoded => None,
                })
            });
            if encoded { Step::Again } else { Step::Failed("a record cannot be encoded".into()) }
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done(); // It is in `out`, which is sent before anything else is.
            Step::Again
        }
        ConnectionState::BlockedHandshake => Step::Blocked,
        ConnectionState::WriteTraffic(mut traffic) => {
            let sealed = match write {
                None => true,
                Some(Write::Data(plain)) => {
                    let records = plain.len().div_ceil(RECORD_BYTES);
                    append(out, plain.len() + records * RECORD_OVERHEAD, |room| {
                        traffic.encrypt(plain, room).map_err(too_small)
                    })
                }
                Some(Write::End) => append(out, RECORD_OVERHEAD, |room| {
                    traffic.queue_close_notify(room).map_err(too_small)
                }),
            };
            if sealed { Step::Open } else { Step::Failed("no more can be sealed".into()) }
        }
        ConnectionState::PeerClosed | ConnectionState::Closed => match write {
            // It is said once; after that the state is that of what may be written.
            Some(_) => Step::Failed("it is over".into()),
            None => Step::Finished,
        },
        _ => Step::Failed("early data is not taken".into()),
    };
    (discard, step)
}

fn too_small(error: EncryptError) -> Option<InsufficientSizeError> {
    match error {
        EncryptError::InsufficientSize(more) => Some(more),
        EncryptError::EncryptExhausted => None,
    }
}

/// Appends what `write` writes, with as much room as it says that it needs.
fn append(
    out: &mut Vec<u8>,
    guess: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> bool {
    let start = out.len();
    let mut room = guess;
    loop {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return true;
            }
            Err(Some(InsufficientSizeError { required_size, .. })) if required_size > room => {
                room = required_size;
            }
            Err(_) => {
                out.truncate(start);
                return false;
            }
        }
    }
}
