//! Delivers what MIGRATE sends to another server, on a thread beside the serving loop: a server that does
//! not answer holds up nobody but the client that asked.
//!
//! A connection is kept for ten seconds after its last use, with the database that is selected there. One that
//! was kept may have been closed by the other side: then the same is tried once more on a new one, if
//! nothing was answered and the time is not over.
//!
//! Not here: what is sent, and what becomes of the answers (`node/migrate.rs`).

use crate::node::migrate::{Failed, Migrated, Migration};
use crate::resp::reply::write_request;
use crate::runtime::links;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const KEPT_NS: u64 = 10_000_000_000;
/// The longest line that is read.
const LINE_BYTES_MAX: u64 = 64 << 10;

type Place = (String, u16);

/// See the file's header.
#[derive(Debug)]
pub struct Migrations {
    done: (Sender<Done>, Receiver<Done>),
    under_way: usize,
    kept: HashMap<Place, (Link, u64)>,
}

#[derive(Debug)]
struct Done {
    number: u64,
    place: Place,
    migrated: Migrated,
    link: Option<Link>,
}

#[derive(Debug)]
struct Link {
    stream: BufReader<Pipe>,
    /// Selected there.
    db: Option<i64>,
}

#[derive(Debug)]
enum Pipe {
    Plain(TcpStream),
    Secured(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Pipe {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Secured(stream) => &stream.sock,
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(bytes),
            Self::Secured(stream) => stream.read(bytes),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Secured(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Secured(stream) => stream.flush(),
        }
    }
}

impl Default for Migrations {
    fn default() -> Self {
        Self { done: channel(), under_way: 0, kept: HashMap::new() }
    }
}

impl Migrations {
    /// `tls`: what the other server is spoken to by, if not in the clear.
    pub fn start(&mut self, migration: Migration, tls: Option<Arc<ClientConfig>>) {
        let place = (migration.host.clone(), migration.port);
        let (number, kept) = (migration.number, self.kept.remove(&place).map(|it| it.0));
        let tell = self.done.0.clone();
        let work = {
            let place = place.clone();
            move || {
                let (migrated, link) = deliver(&migration, kept, tls.as_ref());
                drop(tell.send(Done { number, place, migrated, link }));
            }
        };
        self.under_way += 1;
        if std::thread::Builder::new().name("migrate".to_string()).spawn(work).is_err() {
            let failed = Some(Failed::Connecting);
            let migrated = Migrated { failed, ..Migrated::default() };
            drop(self.done.0.send(Done { number, place, migrated, link: None }));
        }
    }

    #[must_use]
    pub fn is_working(&self) -> bool {
        self.under_way > 0
    }

    /// What became of one of them, and its number.
    pub fn take(&mut self, now_ns: u64) -> Option<(u64, Migrated)> {
        if !self.kept.is_empty() {
            self.kept.retain(|_, it| now_ns.saturating_sub(it.1) < KEPT_NS);
        }
        if self.under_way == 0 {
            return None;
        }
        let Done { number, place, migrated, link } = self.done.1.try_recv().ok()?;
        self.under_way -= 1;
        if let Some(link) = link {
            self.kept.insert(place, (link, now_ns));
        }
        Some((number, migrated))
    }
}

/// What became of it, and the connection if that is still good.
fn deliver(
    migration: &Migration,
    mut kept: Option<Link>,
    tls: Option<&Arc<ClientConfig>>,
) -> (Migrated, Option<Link>) {
    let mut again = true;
    loop {
        let mut link = match kept.take().map_or_else(|| Link::open(migration, tls), Ok) {
            Ok(link) => link,
            Err(error) => {
                // Redis notices only when it writes that nobody listens there.
                let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                let failed = Some(if refused { Failed::Writing } else { Failed::Connecting });
                return (Migrated { failed, ..Migrated::default() }, None);
            }
        };
        let mut migrated = Migrated::default();
        match link.talk(migration, &mut migrated) {
            Ok(()) => {
                link.db = migrated.refused.is_none().then_some(migration.db);
                return (migrated, Some(link));
            }
            Err((failed, error)) => {
                let timed_out =
                    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                if migrated.acknowledged.is_empty() && !timed_out && again {
                    again = false;
                    continue;
                }
                migrated.failed = Some(failed);
                return (migrated, None);
            }
        }
    }
}

impl Link {
    fn open(migration: &Migration, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let address = links::resolve(&migration.host, migration.port).map_err(io::Error::other)?;
        let timeout = Duration::from_millis(migration.timeout_ms);
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        let pipe = match tls {
            None => Pipe::Plain(stream),
            Some(config) => {
                let name = ServerName::from(address.ip());
                let connection = ClientConnection::new(Arc::clone(config), name);
                let connection = connection.map_err(io::Error::other)?;
                Pipe::Secured(Box::new(StreamOwned::new(connection, stream)))
            }
        };
        Ok(Self { stream: BufReader::new(pipe), db: None })
    }

    fn talk(
        &mut self,
        migration: &Migration,
        migrated: &mut Migrated,
    ) -> Result<(), (Failed, io::Error)> {
        let selects = self.db != Some(migration.db);
        let mut head = migration.auth.clone().unwrap_or_default();
        if selects {
            write_request(&mut head, &[b"SELECT", migration.db.to_string().as_bytes()]);
        }
        self.say(migration, &head).map_err(|error| (Failed::Writing, error))?;
        let mut before = None;
        for _ in 0..usize::from(migration.auth.is_some()) + usize::from(selects) {
            let line = self.line().map_err(|error| (Failed::Reading, error))?;
            before = before.or(refusal(&line));
        }
        for _ in 0..migration.count {
            let line = self.line().map_err(|error| (Failed::Reading, error))?;
            let refused = before.clone().or(refusal(&line));
            migrated.acknowledged.push(refused.is_none());
            if migrated.refused.is_none() {
                migrated.refused = refused;
            }
        }
        Ok(())
    }

    fn say(&mut self, migration: &Migration, head: &[u8]) -> io::Result<()> {
        let timeout = Some(Duration::from_millis(migration.timeout_ms));
        let stream = self.stream.get_mut();
        stream.socket().set_write_timeout(timeout)?;
        stream.socket().set_read_timeout(timeout)?;
        stream.write_all(head)?;
        stream.write_all(&migration.restores)?;
        stream.flush()
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n") {
            Some(text) if !text.is_empty() => Ok(text.to_vec()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// An error reply without its dash.
fn refusal(line: &[u8]) -> Option<Vec<u8>> {
    line.strip_prefix(b"-").map(<[u8]>::to_vec)
}
