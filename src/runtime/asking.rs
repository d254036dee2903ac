//! A blocking connection to a server, for commands of the command line: requests out, replies in.
//!
//! It speaks to whatever answers at an address, so a reply has a longest length, and waiting for one has an end.

use crate::resp::decode::{self, Scan, Value};
use crate::resp::reply::write_request;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The longest reply that is read.
const REPLY_BYTES_MAX: usize = 1 << 30;

/// Where a server is, and as whom to speak to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    pub target: String,
    pub user: Option<String>,
    pub pass: Option<String>,
}

impl Place {
    /// # Errors
    /// Why the name has none.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let found = self.target.to_socket_addrs().map_err(|error| error.to_string())?;
        Ok(found.collect())
    }
}

/// One connection.
pub struct Link {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Link {
    /// Connects, and authenticates where there is a password.
    ///
    /// # Errors
    /// What the system or the server said.
    pub fn open(place: &Place, patience: Duration) -> Result<Self, String> {
        let mut why = "no such host".to_string();
        for address in place.addresses()? {
            match TcpStream::connect_timeout(&address, patience) {
                Ok(stream) => return Self::greet(stream, place, patience),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    fn greet(stream: TcpStream, place: &Place, patience: Duration) -> Result<Self, String> {
        let set = stream.set_read_timeout(Some(patience));
        set.and_then(|()| stream.set_write_timeout(Some(patience))).map_err(|it| it.to_string())?;
        let mut link = Self { stream, input: Vec::new() };
        let Some(pass) = &place.pass else { return Ok(link) };
        let mut words: Vec<&[u8]> = vec![b"AUTH"];
        words.extend(place.user.as_ref().map(|it| it.as_bytes()));
        words.push(pass.as_bytes());
        link.ask(&words)?;
        Ok(link)
    }

    /// One request and its reply.
    ///
    /// # Errors
    /// The text of an error reply, or why there is none.
    pub fn ask(&mut self, words: &[&[u8]]) -> Result<Value, String> {
        let mut request = Vec::new();
        write_request(&mut request, words);
        self.send(&request)?;
        match self.reply()? {
            Value::Error(why) => Err(String::from_utf8_lossy(&why).into_owned()),
            value => Ok(value),
        }
    }

    /// Bytes that are whole requests.
    ///
    /// # Errors
    /// What the system said.
    pub fn send(&mut self, requests: &[u8]) -> Result<(), String> {
        self.stream.write_all(requests).map_err(|error| error.to_string())
    }

    /// The next reply; an error reply is a value here.
    ///
    /// # Errors
    /// Why there is none.
    pub fn reply(&mut self) -> Result<Value, String> {
        let mut scan = Scan::default();
        let mut more = vec![0; 64 << 10];
        let broken = |_| "its answer is not RESP".to_string();
        loop {
            if let Some(end) = scan.resume(&self.input).map_err(broken)? {
                let whole = self.input.get(..end.len).unwrap_or_default();
                let value = decode::decode(whole).map_err(broken)?;
                self.input.drain(..end.len.min(self.input.len()));
                return value.map(|it| it.0).ok_or_else(|| "its answer is not RESP".into());
            }
            if self.input.len() > REPLY_BYTES_MAX {
                return Err("its answer has no end".into());
            }
            match self.stream.read(&mut more).map_err(|error| error.to_string())? {
                0 => return Err("it closed the connection".into()),
                len => self.input.extend_from_slice(more.get(..len).unwrap_or_default()),
            }
        }
    }

    /// The text of INFO.
    ///
    /// # Errors
    /// As `ask`.
    pub fn info(&mut self) -> Result<String, String> {
        match self.ask(&[b"INFO", b"everything"])? {
            Value::Bulk(text) | Value::Verbatim { text, .. } => {
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            _ => Err("it does not answer INFO as a server does".into()),
        }
    }
}

/// An INFO text by its fields. What is not there is empty, or 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Info(BTreeMap<String, String>);

impl Info {
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        Self(fields.map(|(name, value)| (name.to_string(), value.trim().to_string())).collect())
    }

    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    /// Fields whose names are this word and a number: the number, and `a=1,b=2` as pairs.
    pub fn rows<'s>(
        &'s self,
        prefix: &'s str,
    ) -> impl Iterator<Item = (u32, BTreeMap<&'s str, &'s str>)> {
        self.0.iter().filter_map(move |(name, value)| {
            let number = name.strip_prefix(prefix)?.parse().ok()?;
            Some((number, value.split(',').filter_map(|it| it.split_once('=')).collect()))
        })
    }
}
