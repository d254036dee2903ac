//! Where an instance is: a name or an address as it was given, the IP it stands for, and a port.
//!
//! Names are resolved outside. [`Book`] remembers what came back and says what has to be asked; until
//! an answer is there the IP is empty, and nothing is dialled. IPs are taken as they are written.
//!
//! The trap: two addresses are the same if their IPs and ports are, whatever the names; two names that
//! are not resolved yet are the same if they are spelled alike.

use super::instance::Ms;
use core::net::IpAddr;
use std::collections::BTreeMap;
use std::fmt;

/// An address of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As configured, announced or reported.
    pub host: String,
    /// Empty while the name is not resolved.
    pub ip: String,
    pub port: u16,
}

impl Address {
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let by_ip = !self.ip.is_empty() && self.ip.eq_ignore_ascii_case(&other.ip);
        self.port == other.port && (by_ip || self.host.eq_ignore_ascii_case(&other.host))
    }

    /// What is told to others.
    #[must_use]
    pub fn shown(&self, announce_hostnames: bool) -> &str {
        if announce_hostnames { &self.host } else { &self.ip }
    }

    /// The name of a replica: `ip:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn name(&self, announce_hostnames: bool) -> String {
        let host = self.shown(announce_hostnames);
        let port = self.port;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.host, self.port)
    }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Ip(String),
    /// It has to be asked for; come again when the answer is there.
    Unknown,
    /// It is no IP, and names are not resolved, or this one has no address.
    Nothing,
}

/// What is known of names.
#[derive(Debug, Default)]
pub struct Book {
    names: BTreeMap<String, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    ip: Option<String>,
    asked: bool,
    answered: Option<Ms>,
}

/// How long an answer is taken without asking again.
const FRESH_MS: Ms = 1_000;

impl Book {
    /// What `host` stands for; `resolve`: whether names are allowed at all.
    #[must_use]
    pub fn find(&self, host: &str, resolve: bool) -> Found {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Found::Ip(ip.to_string());
        }
        if !resolve || host.is_empty() {
            return Found::Nothing;
        }
        match self.names.get(host) {
            Some(Entry { ip: Some(ip), .. }) => Found::Ip(ip.clone()),
            Some(Entry { ip: None, answered: Some(_), .. }) => Found::Nothing,
            _ => Found::Unknown,
        }
    }

    /// Whether `host` is to be asked for now; if so it counts as asked.
    pub fn ask(&mut self, host: &str, now: Ms) -> bool {
        if host.is_empty() || host.parse::<IpAddr>().is_ok() {
            return false;
        }
        let entry = self.names.entry(host.to_string()).or_default();
        if entry.asked || entry.answered.is_some_and(|at| now - at < FRESH_MS) {
            return false;
        }
        entry.asked = true;
        true
    }

    /// An answer came. A name that was known keeps its address if it cannot be resolved now.
    pub fn answer(&mut self, host: &str, ip: Option<String>, now: Ms) {
        let entry = self.names.entry(host.to_string()).or_default();
        entry.asked = false;
        entry.answered = Some(now);
        if ip.is_some() {
            entry.ip = ip;
        }
    }

    /// A failed name may be asked for again when somebody wants it.
    pub fn forget_failures(&mut self, now: Ms) {
        self.names.retain(|_, it| {
            it.asked || it.ip.is_some() || it.answered.is_some_and(|at| now - at < FRESH_MS)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_for_once_and_remembered() {
        let mut book = Book::default();
        assert_eq!(book.find("10.0.0.1", false), Found::Ip("10.0.0.1".into()));
        assert_eq!(book.find("db", false), Found::Nothing);
        assert_eq!(book.find("db", true), Found::Unknown);
        assert!(book.ask("db", 1_000));
        assert!(!book.ask("db", 1_000));
        assert!(!book.ask("10.0.0.1", 1_000));
        book.answer("db", Some("10.0.0.2".into()), 1_100);
        assert_eq!(book.find("db", true), Found::Ip("10.0.0.2".into()));
        assert!(!book.ask("db", 1_200));
        assert!(book.ask("db", 2_100));
        book.answer("db", None, 2_200);
        assert_eq!(book.find("db", true), Found::Ip("10.0.0.2".into()));
        book.answer("no", None, 2_200);
        assert_eq!(book.find("no", true), Found::Nothing);
        book.forget_failures(9_000);
        assert_eq!(book.find("no", true), Found::Unknown);
    }

    #[test]
    fn addresses_have_names() {
        let at = |ip: &str, port| Address { host: "h".into(), ip: ip.into(), port };
        assert_eq!(at("1.2.3.4", 5).name(false), "1.2.3.4:5");
        assert_eq!(at("::1", 5).name(false), "[::1]:5");
        assert_eq!(at("::1", 5).name(true), "h:5");
        assert!(at("1.2.3.4", 5).is_same(&at("1.2.3.4", 5)));
        assert!(!at("1.2.3.4", 5).is_same(&at("1.2.3.4", 6)));
    }
}
