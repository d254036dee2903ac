//! One of the two servers: a connection that is opened anew when it broke, and what it says of itself.

use super::plan::Seen;
use crate::resp::decode::Value;
use crate::runtime::asking::{Info, Link, Place};
use std::time::Duration;

pub struct Party {
    pub name: &'static str,
    pub place: Place,
    patience: Duration,
    link: Option<Link>,
}

impl Party {
    #[must_use]
    pub const fn new(name: &'static str, place: Place, patience: Duration) -> Self {
        Self { name, place, patience, link: None }
    }

    /// The connection, opened where there is none.
    ///
    /// # Errors
    /// Why there is none, with the server's name.
    pub fn link(&mut self) -> Result<&mut Link, String> {
        if self.link.is_none() {
            let link = Link::open(&self.place, self.patience);
            self.link = Some(link.map_err(|why| self.named(&why))?);
        }
        self.link.as_mut().ok_or_else(String::new)
    }

    fn named(&self, why: &str) -> String {
        format!("the {} ({}): {why}", self.name, self.place.target)
    }

    /// One request. What cannot be asked is asked by a new connection the next time.
    ///
    /// # Errors
    /// An error reply's text, or why there is no reply, with the server's name.
    pub fn ask(&mut self, words: &[&str]) -> Result<Value, String> {
        let words: Vec<&[u8]> = words.iter().map(|it| it.as_bytes()).collect();
        let answer = self.link()?.ask(&words);
        answer.map_err(|why| {
            self.link = None;
            self.named(&why)
        })
    }

    /// # Errors
    /// As `ask`.
    pub fn info(&mut self) -> Result<Info, String> {
        let text = self.link()?.info();
        let text = text.map_err(|why| {
            self.link = None;
            self.named(&why)
        })?;
        let info = Info::parse(&text);
        match info.text("role").is_empty() {
            true => Err(self.named("it is no server of this kind")),
            false => Ok(info),
        }
    }

    /// A value of CONFIG GET; none where that may not be asked.
    pub fn config(&mut self, name: &str) -> Option<String> {
        let Ok(Value::Array(pair)) = self.ask(&["CONFIG", "GET", name]) else { return None };
        match pair.get(1) {
            Some(Value::Bulk(value)) => Some(String::from_utf8_lossy(value).into_owned()),
            _ => None,
        }
    }

    /// Everything that decides whether it may take part.
    ///
    /// # Errors
    /// As `ask`.
    pub fn look(&mut self) -> Result<Seen, String> {
        let info = self.info()?;
        let databases = self.config("databases").and_then(|it| it.parse().ok());
        let announced = self.config("replica-announce-port").and_then(|it| it.parse().ok());
        // A Sentinel listens for the hello of others by a connection with this name.
        let listeners = match self.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]) {
            Ok(Value::Bulk(text) | Value::Verbatim { text, .. }) => text,
            _ => Vec::new(),
        };
        let listeners = String::from_utf8_lossy(&listeners).into_owned();
        let addresses = self.place.addresses().map_err(|why| self.named(&why))?;
        Ok(Seen {
            info,
            databases,
            announced_port: announced.filter(|it| *it != 0),
            watched: listeners.split(' ').any(|it| it.starts_with("name=sentinel-")),
            local: addresses.iter().all(|it| it.ip().is_loopback()),
        })
    }
}
