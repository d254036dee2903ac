//! The arguments of a command as `COMMAND DOCS` describes them: a tree of names, types and tokens.
//!
//! Documentation only: no command is parsed by this. `redis-cli` and client generators read it.
//! Rows that many commands share stand at the end.

/// One argument, or a group of them.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    pub name: &'static str,
    pub kind: Kind,
    pub token: Option<&'static str>,
    /// Which of the command's key specs finds it.
    pub key_spec: Option<u8>,
    pub since: Option<&'static str>,
    pub deprecated_since: Option<&'static str>,
    pub optional: bool,
    pub multiple: bool,
    /// Its token, too, stands before each.
    pub multiple_token: bool,
    pub inner: &'static [Self],
}

/// The types of Redis' argument descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    Integer,
    Double,
    Key,
    Pattern,
    UnixTime,
    /// A word that stands for itself.
    Token,
    /// One of the inner arguments.
    OneOf,
    /// All of the inner arguments.
    Block,
}

impl Kind {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Double => "double",
            Self::Key => "key",
            Self::Pattern => "pattern",
            Self::UnixTime => "unix-time",
            Self::Token => "pure-token",
            Self::OneOf => "oneof",
            Self::Block => "block",
        }
    }

    /// The client chooses what stands there.
    #[must_use]
    pub const fn has_value(self) -> bool {
        !matches!(self, Self::Token | Self::OneOf | Self::Block)
    }
}

impl Argument {
    #[must_use]
    pub const fn new(kind: Kind, name: &'static str) -> Self {
        Self {
            name,
            kind,
            token: None,
            key_spec: None,
            since: None,
            deprecated_since: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            inner: &[],
        }
    }

    #[must_use]
    pub const fn string(name: &'static str) -> Self {
        Self::new(Kind::String, name)
    }

    #[must_use]
    pub const fn integer(name: &'static str) -> Self {
        Self::new(Kind::Integer, name)
    }

    #[must_use]
    pub const fn key(name: &'static str, spec: u8) -> Self {
        let mut key = Self::new(Kind::Key, name);
        key.key_spec = Some(spec);
        key
    }

    /// The word `token`, documented under `name`.
    #[must_use]
    pub const fn word(name: &'static str, token: &'static str) -> Self {
        Self::new(Kind::Token, name).token(token)
    }

    #[must_use]
    pub const fn one_of(name: &'static str, inner: &'static [Self]) -> Self {
        let mut group = Self::new(Kind::OneOf, name);
        group.inner = inner;
        group
    }

    #[must_use]
    pub const fn block(name: &'static str, inner: &'static [Self]) -> Self {
        let mut group = Self::new(Kind::Block, name);
        group.inner = inner;
        group
    }

    #[must_use]
    pub const fn token(mut self, token: &'static str) -> Self {
        self.token = Some(token);
        self
    }

    #[must_use]
    pub const fn since(mut self, version: &'static str) -> Self {
        self.since = Some(version);
        self
    }

    #[must_use]
    pub const fn deprecated_since(mut self, version: &'static str) -> Self {
        self.deprecated_since = Some(version);
        self
    }

    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// As many times as one likes, with its token each time.
    #[must_use]
    pub const fn multiple_token(mut self) -> Self {
        (self.multiple, self.multiple_token) = (true, true);
        self
    }

    /// The key spec that finds what it names.
    #[must_use]
    pub const fn key_spec(mut self, spec: u8) -> Self {
        self.key_spec = Some(spec);
        self
    }

    #[must_use]
    pub const fn multiple(mut self) -> Self {
        self.multiple = true;
        self
    }
}

/// The key of a command with one key.
pub const KEY: Argument = Argument::key("key", 0);
/// The keys of a command with as many as one likes.
pub const KEYS: Argument = KEY.multiple();
/// The value of a key.
pub const VALUE: Argument = Argument::string("value");
/// A point in time, in seconds.
pub const UNIX_SECONDS: Argument = Argument::new(Kind::UnixTime, "unix-time-seconds");
/// A point in time, in milliseconds.
pub const UNIX_MILLISECONDS: Argument = Argument::new(Kind::UnixTime, "unix-time-milliseconds");
/// A span of time, in seconds.
pub const SECONDS: Argument = Argument::integer("seconds");
/// A span of time, in milliseconds.
pub const MILLISECONDS: Argument = Argument::integer("milliseconds");
