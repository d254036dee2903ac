//! A blocking client: raw bytes in, whole raw replies out. It interprets nothing, so that a test
//! sees what a server really sent.

use super::PATIENCE;
use super::value::reply_length;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

/// What a client reads from and writes to.
trait Stream: Read + Write + Send {
    fn set_patience(&self, patience: Duration) -> io::Result<()>;
    fn end_of_requests(&self) -> io::Result<()>;
    fn another(&self) -> io::Result<Box<dyn Stream>>;
}

impl Stream for TcpStream {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
    fn end_of_requests(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
    fn another(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.try_clone()?))
    }
}

impl Stream for UnixStream {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(patience))
    }
    fn end_of_requests(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
    fn another(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.try_clone()?))
    }
}

/// TLS over TCP.
type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

impl Stream for Tls {
    fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.sock.set_read_timeout(Some(patience))
    }
    fn end_of_requests(&self) -> io::Result<()> {
        self.sock.shutdown(Shutdown::Write)
    }
    fn another(&self) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// One connection.
pub struct Client {
    stream: Box<dyn Stream>,
    /// Bytes received; those before `at` are used up.
    input: Vec<u8>,
    at: usize,
}

impl Client {
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Self::over(stream)
    }

    pub fn connect_unix(path: &std::path::Path) -> io::Result<Self> {
        Self::over(UnixStream::connect(path)?)
    }

    /// Over TLS, once the handshake is over.
    pub fn connect_tls(address: &str, config: Arc<rustls::ClientConfig>) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_patience(PATIENCE)?;
        let name = rustls::pki_types::ServerName::from(stream.peer_addr()?.ip());
        let mut tls = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Self::over(Tls::new(tls, stream))
    }

    fn over(stream: impl Stream + 'static) -> io::Result<Self> {
        stream.set_patience(PATIENCE)?;
        Ok(Self { stream: Box::new(stream), input: Vec::new(), at: 0 })
    }

    /// The same connection, for another thread that only sends.
    pub fn sender(&self) -> Self {
        let stream = self.stream.another().unwrap();
        Self { stream, input: Vec::new(), at: 0 }
    }

    pub fn set_patience(&self, patience: Duration) {
        self.stream.set_patience(patience).unwrap();
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// No more requests will come; replies may.
    pub fn end_of_requests(&self) {
        // A server that has already closed is none of this test's business.
        let _ = self.stream.end_of_requests();
    }

    /// The next whole reply as it came over the wire. An end of the stream is `UnexpectedEof`.
    pub fn reply(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let bytes = &self.input[self.at..];
            if let Some(length) = reply_length(bytes)
                .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?
            {
                let reply = bytes[..length].to_vec();
                self.at += length;
                if self.at == self.input.len() {
                    self.input.clear();
                    self.at = 0;
                }
                return Ok(reply);
            }
            if self.more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// One request and its reply.
    pub fn try_call(&mut self, args: &[&str]) -> io::Result<Vec<u8>> {
        let bytes: Vec<&[u8]> = args.iter().map(|it| it.as_bytes()).collect();
        self.send(&request(&bytes))?;
        self.reply()
    }

    pub fn call(&mut self, args: &[&str]) -> Vec<u8> {
        self.try_call(args).unwrap_or_else(|why| panic!("{args:?}: {why}"))
    }

    /// A request whose reply must be this.
    pub fn expect(&mut self, args: &[&str], reply: &str) {
        let got = self.call(args);
        assert_eq!(got.escape_ascii().to_string(), reply.as_bytes().escape_ascii().to_string());
    }

    /// The text of a bulk, simple or verbatim reply; an error reply is a failure of the test.
    pub fn text(&mut self, args: &[&str]) -> String {
        let reply = self.call(args);
        assert!(!reply.starts_with(b"-"), "{args:?}: {}", reply.escape_ascii());
        let text = String::from_utf8_lossy(&reply);
        let body = text.trim_end_matches("\r\n");
        match body.as_bytes().first() {
            Some(b'$' | b'=') => body.split_once("\r\n").map_or("", |(_, it)| it).to_string(),
            _ => body[1..].to_string(),
        }
    }

    /// One field of INFO.
    pub fn info(&mut self, field: &str) -> Option<String> {
        field_of_info(&self.text(&["INFO", "everything"]), field)
    }

    /// Everything until the server closes; an error where it does not in time.
    pub fn until_closed(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.more() {
                Ok(0) => break,
                Ok(_) => {}
                // A close with unread input arrives as a reset, maybe after the last reply.
                Err(why) if why.kind() == io::ErrorKind::ConnectionReset => break,
                Err(why) => return Err(why),
            }
        }
        Ok(self.input.split_off(self.at))
    }

    fn more(&mut self) -> io::Result<usize> {
        self.input.drain(..self.at);
        self.at = 0;
        let mut chunk = [0; 16 * 1024];
        let count = self.stream.read(&mut chunk)?;
        self.input.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

/// One field of what INFO says.
pub fn field_of_info(text: &str, field: &str) -> Option<String> {
    let line = text.lines().find_map(|it| it.strip_prefix(field)?.strip_prefix(':'));
    line.map(|it| it.trim().to_string())
}

/// A request as an array of bulk strings.
pub fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
