//! All users by name. A change makes new ones of it, all or nothing, and shares what is the same.

use super::catalog::Catalog;
use super::password::Hash;
use super::rule::{RuleError, has_spaces, merge};
use super::user::User;
use crate::base::map::HashMap;
use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

pub const DEFAULT: &[u8] = b"default";

/// See the file's header. There is always the user `default`, with number 0.
#[derive(Clone, Debug)]
pub struct Users {
    by_name: BTreeMap<Vec<u8>, Arc<User>>,
    by_id: HashMap<u32, Arc<User>>,
    next_id: u32,
    /// `acl-pubsub-default allchannels`
    pub all_channels: bool,
}

/// Why a user was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    Name,
    Rule { rule: Vec<u8>, why: RuleError },
    Unmatched { word: Vec<u8> },
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("Usernames can't contain spaces or null characters"),
            Self::Rule { rule, why } => {
                let rule = String::from_utf8_lossy(rule);
                write!(f, "Error in ACL SETUSER modifier '{rule}': {why}")
            }
            Self::Unmatched { word } => {
                let word = String::from_utf8_lossy(word);
                write!(f, "Unmatched parenthesis in acl selector starting at '{word}'.")
            }
        }
    }
}

impl Users {
    /// The user `default` alone, who may do all.
    #[must_use]
    pub fn new(catalog: &Catalog, all_channels: bool) -> Self {
        let mut users = Self::empty(1, all_channels);
        users.put(User::default_user(catalog));
        users
    }

    pub(super) fn empty(next_id: u32, all_channels: bool) -> Self {
        let (by_name, by_id) = (BTreeMap::new(), HashMap::default());
        Self { by_name, by_id, next_id, all_channels }
    }

    pub(super) fn put(&mut self, user: User) {
        let user = Arc::new(user);
        self.by_id.insert(user.id, Arc::clone(&user));
        self.by_name.insert(user.name.clone(), user);
    }

    pub(super) fn new_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id - 1
    }

    pub(super) fn next_id(&self) -> u32 {
        self.next_id
    }

    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// The user that a session remembers; none where it is gone.
    #[must_use]
    pub fn get(&self, id: u32) -> Option<&Arc<User>> {
        self.by_id.get(&id)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &User> {
        self.by_name.values().map(|user| &**user)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Is a connection that has said nothing the default user's?
    #[must_use]
    pub fn lets_strangers_in(&self) -> bool {
        self.get(0).is_some_and(|user| user.enabled && user.nopass)
    }

    /// Who comes in with this name and password. An unknown user costs what a wrong password costs.
    #[must_use]
    pub fn admit(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        let hash = Hash::of(password);
        let nobody = User::new(b"", u32::MAX, false);
        let named = self.by_name.get(name);
        let user = named.map_or(&nobody, |user| &**user);
        // One comparison at least, as for a user with a password.
        let dummy = black_box(hash.is(&hash));
        let right = black_box(user.knows(&hash));
        named.filter(|user| user.enabled & (right | user.nopass) & dummy)
    }

    /// `ACL SETUSER name rule ...`
    ///
    /// # Errors
    /// The first thing that is wrong; nothing is changed then.
    pub fn set<'w>(
        &self,
        catalog: &Catalog,
        name: &[u8],
        rules: impl Iterator<Item = &'w [u8]>,
    ) -> Result<Self, SetError> {
        if has_spaces(name) {
            return Err(SetError::Name);
        }
        let mut users = self.clone();
        let mut user = match self.by_name.get(name) {
            Some(user) => (**user).clone(),
            None => User::new(name, users.new_id(), self.all_channels),
        };
        for rule in merge(rules).map_err(|word| SetError::Unmatched { word })? {
            let set = user.set(catalog, &rule, self.all_channels);
            set.map_err(|why| SetError::Rule { rule, why })?;
        }
        users.put(user);
        Ok(users)
    }

    /// `ACL DELUSER`: how many of these there were. Not for `default`.
    #[must_use]
    pub fn without<'w>(&self, names: impl Iterator<Item = &'w [u8]>) -> (Self, usize) {
        let mut users = self.clone();
        for name in names.filter(|name| *name != DEFAULT) {
            if let Some(user) = users.by_name.remove(name) {
                users.by_id.remove(&user.id);
            }
        }
        let gone = self.len() - users.len();
        (users, gone)
    }

    /// `requirepass`: the default user's password.
    #[must_use]
    pub fn requiring(&self, password: &[u8]) -> Self {
        let mut users = self.clone();
        if let Some(user) = self.get(0) {
            let mut user = (**user).clone();
            user.require(password);
            users.put(user);
        }
        users
    }

    /// A line of a file for each: `user name rule ...`
    #[must_use]
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let line = |user: &User| [b"user ", user.name.as_slice(), b" ", &user.describe()].concat();
        self.iter().map(line).collect()
    }
}
