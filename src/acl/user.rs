//! One user: on or off, passwords, and selectors of which one must allow a request.

use super::catalog::Catalog;
use super::password::Hash;
use super::rule::{Denied, RuleError};
use super::selector::{Request, Selector};
use crate::base::settings::grammar::split_words;
use crate::command::args::Args;

/// See the file's header.
#[derive(Clone, Debug)]
pub struct User {
    pub name: Vec<u8>,
    /// Never given to another user: what a session remembers.
    pub id: u32,
    pub enabled: bool,
    /// Any password will do.
    pub nopass: bool,
    /// Whether RESTORE looks at payloads closely, where a rule said so.
    sanitizes: Option<bool>,
    passwords: Vec<Hash>,
    /// At least one: the first is the user's own.
    selectors: Vec<Selector>,
}

/// Nothing but who it is makes two users differ.
impl PartialEq for User {
    fn eq(&self, other: &Self) -> bool {
        let facts = |it: &Self| (it.enabled, it.nopass, it.sanitizes);
        self.name == other.name
            && facts(self) == facts(other)
            && self.passwords == other.passwords
            && self.selectors == other.selectors
    }
}

impl User {
    /// A user who may do nothing, and cannot come in.
    #[must_use]
    pub fn new(name: &[u8], id: u32, all_channels: bool) -> Self {
        Self {
            name: name.to_vec(),
            id,
            enabled: false,
            nopass: false,
            sanitizes: None,
            passwords: Vec::new(),
            selectors: vec![Selector::new(all_channels)],
        }
    }

    /// The user of every connection that has not said whose it is: may do all, without a password.
    #[must_use]
    pub fn default_user(catalog: &Catalog) -> Self {
        let mut user = Self::new(b"default", 0, true);
        (user.enabled, user.nopass) = (true, true);
        for rule in [&b"+@all"[..], b"~*", b"&*"] {
            let _ = user.selectors[0].set(catalog, rule);
        }
        user
    }

    /// Applies one rule; `all_channels` is what `reset` leaves of channels.
    ///
    /// # Errors
    /// Nothing is changed by a rule that cannot be.
    pub fn set(
        &mut self,
        catalog: &Catalog,
        rule: &[u8],
        all_channels: bool,
    ) -> Result<(), RuleError> {
        let is = |name: &str| rule.eq_ignore_ascii_case(name.as_bytes());
        match rule {
            [] => {}
            _ if is("on") => self.enabled = true,
            _ if is("off") => self.enabled = false,
            _ if is("sanitize-payload") => self.sanitizes = Some(true),
            _ if is("skip-sanitize-payload") => self.sanitizes = Some(false),
            _ if is("nopass") => {
                self.nopass = true;
                self.passwords.clear();
            }
            _ if is("resetpass") => {
                self.nopass = false;
                self.passwords.clear();
            }
            _ if is("clearselectors") => self.selectors.truncate(1),
            _ if is("reset") => {
                *self = Self::new(&self.name, self.id, all_channels);
                self.sanitizes = Some(true);
            }
            [b'>', password @ ..] => self.add_password(Hash::of(password)),
            [b'#', hash @ ..] => {
                self.add_password(Hash::parse(hash).ok_or(RuleError::NotAHash)?);
            }
            [b'<', password @ ..] => self.remove_password(&Hash::of(password))?,
            [b'!', hash @ ..] => {
                self.remove_password(&Hash::parse(hash).ok_or(RuleError::NotAHash)?)?;
            }
            [b'(', rules @ .., b')'] => {
                let mut selector = Selector::new(all_channels);
                for rule in split_words(rules).ok_or(RuleError::Syntax)? {
                    selector.set(catalog, &rule)?;
                }
                self.selectors.push(selector);
            }
            rule => self.selectors[0].set(catalog, rule)?,
        }
        Ok(())
    }

    fn add_password(&mut self, hash: Hash) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.nopass = false;
    }

    fn remove_password(&mut self, hash: &Hash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|it| it == hash);
        self.passwords.remove(at.ok_or(RuleError::NoSuchPassword)?);
        Ok(())
    }

    /// `CONFIG SET requirepass`: this password alone, or none.
    pub fn require(&mut self, password: &[u8]) {
        self.passwords.clear();
        self.nopass = password.is_empty();
        if !password.is_empty() {
            self.passwords.push(Hash::of(password));
        }
    }

    /// Is one of the passwords the one with this hash? All are compared.
    #[must_use]
    pub fn knows(&self, hash: &Hash) -> bool {
        self.passwords.iter().fold(false, |found, it| found | it.is(hash))
    }

    /// May it do everything, so that no check is needed?
    #[must_use]
    pub fn may_all(&self) -> bool {
        self.selectors.iter().any(Selector::allows_all)
    }

    /// May it do this?
    ///
    /// # Errors
    /// What no selector allows: the last key or channel, or the command, where none allows that.
    pub fn check(&self, catalog: &Catalog, request: Request<'_>) -> Result<(), Denied> {
        let mut denied = Denied::Command;
        for selector in &self.selectors {
            match selector.check(catalog, request) {
                Ok(()) => return Ok(()),
                Err(why) => denied = denied.max(why),
            }
        }
        Err(denied)
    }

    /// The option of SORT that reads keys by names that no request has, where this user may not
    /// read all keys: `BY` or `GET`.
    #[must_use]
    pub fn sort_option_denied(
        &self,
        catalog: &Catalog,
        request: Request<'_>,
    ) -> Option<&'static str> {
        let option = sort_option(request.args)?;
        let allows = |it: &Selector| it.reads_all_keys() && it.check(catalog, request).is_ok();
        (!self.selectors.iter().any(allows)).then_some(option)
    }

    /// May it go on listening to this?
    #[must_use]
    pub fn may_hear(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors.iter().any(|selector| selector.may_hear(channel, is_pattern))
    }

    #[must_use]
    pub fn passwords(&self) -> &[Hash] {
        &self.passwords
    }

    /// The user's own selector, and those in parentheses.
    #[must_use]
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// What it is besides passwords and selectors.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let sanitizes = match self.sanitizes {
            None => "",
            Some(true) => "sanitize-payload",
            Some(false) => "skip-sanitize-payload",
        };
        let nopass = if self.nopass { "nopass" } else { "" };
        let flags = [if self.enabled { "on" } else { "off" }, nopass, sanitizes];
        flags.into_iter().filter(|flag| !flag.is_empty())
    }

    /// The rules that make this user, as one line.
    #[must_use]
    pub fn describe(&self) -> Vec<u8> {
        let mut line = Vec::new();
        for flag in self.flags() {
            line.extend_from_slice(flag.as_bytes());
            line.push(b' ');
        }
        for hash in &self.passwords {
            line.push(b'#');
            line.extend_from_slice(hash.digits());
            line.push(b' ');
        }
        for (at, selector) in self.selectors.iter().enumerate() {
            let rules = selector.describe();
            if at == 0 {
                line.extend(rules);
            } else {
                line.extend([b" (".as_slice(), &rules, b")"].concat());
            }
        }
        line
    }
}

/// The first option of a SORT that reads other keys than it names.
fn sort_option(args: Args<'_>) -> Option<&'static str> {
    let mut at = 2;
    while at < args.len() {
        let left = args.len() - at - 1;
        at += match () {
            () if args.is(at, "LIMIT") && left >= 2 => 3,
            () if args.is(at, "STORE") && left >= 1 => 2,
            () if args.is(at, "BY") && left >= 1 => {
                if args[at + 1].contains(&b'*') {
                    return Some("BY");
                }
                2
            }
            () if args.is(at, "GET") && left >= 1 => return Some("GET"),
            () => 1,
        };
    }
    None
}
