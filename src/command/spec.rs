//! A command as a row of a table: what it is called, what it takes, what it may do, where its keys
//! stand, and the function that runs it.
//!
//! Decides nothing and runs nothing. The facts ([`Spec`]) know no function, so that `COMMAND`, ACL,
//! routing and the cluster read all families alike; [`Command`] ties them to a function of some type
//! `F`. A shard family uses `engine::shard::ShardFn`, a node family its own, and neither type is
//! known here. All rows are constants, built in one expression:
//!
//! ```text
//! Command::new(Spec::new("GET", Exactly(2), READ_FAST, &[KeySpec::at(1, READS)])
//!     .about(Group::String, "1.0.0", "O(1)", "The value of a string key"), get)
//! ```
//!
//! Names of flags, key flags, categories and groups are the ones that `COMMAND INFO` and
//! `COMMAND DOCS` of Redis 7 show; the order of the name tables is the order of those replies.
//!
//! Trap: `@write`, `@read`, `@admin`, `@dangerous`, `@pubsub`, `@blocking`, `@fast` and `@slow` follow
//! from the flags ([`Spec::categories`]); a row names only what does not follow.

use crate::command::args::Args;
use crate::command::arguments::Argument;
use std::ops::Deref;

/// One command of a family whose functions are of type `F`.
#[derive(Clone, Copy, Debug)]
pub struct Command<F: 'static> {
    pub spec: Spec,
    pub run: F,
    /// The rows of a container such as `CONFIG`; their names are without the container's.
    pub subcommands: &'static [Self],
}

impl<F> Command<F> {
    pub const fn new(spec: Spec, run: F) -> Self {
        Self { spec, run, subcommands: &[] }
    }

    /// A command of sub-commands. `run` answers for the bare name, where the arity lets that through.
    pub const fn container(spec: Spec, run: F, subcommands: &'static [Self]) -> Self {
        Self { spec, run, subcommands }
    }
}

/// A row reads as its facts: `command.arity`, `command.flags`.
impl<F> Deref for Command<F> {
    type Target = Spec;

    fn deref(&self) -> &Spec {
        &self.spec
    }
}

/// The facts of a command.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Upper case; of a sub-command only its own word.
    pub name: &'static str,
    pub arity: Arity,
    pub flags: Flags,
    pub keys: &'static [KeySpec],
    pub hop: Hop,
    pub group: Group,
    pub since: &'static str,
    /// The formula alone; empty where none is given.
    pub complexity: &'static str,
    pub summary: &'static str,
    pub tips: &'static [&'static str],
    pub arguments: &'static [Argument],
    pub deprecated: Option<Deprecated>,
    /// A command of servers among themselves, hidden by `redis-cli`'s help.
    pub system: bool,
    explicit: Categories,
}

/// Since when a command is deprecated, and what replaces it.
#[derive(Clone, Copy, Debug)]
pub struct Deprecated {
    pub since: &'static str,
    pub by: &'static str,
}

impl Spec {
    /// A row with keys on one core, or with none.
    #[must_use]
    pub const fn new(
        name: &'static str,
        arity: Arity,
        flags: Flags,
        keys: &'static [KeySpec],
    ) -> Self {
        Self {
            name,
            arity,
            flags,
            keys,
            hop: if keys.is_empty() { Hop::Local } else { Hop::Single },
            group: Group::Server,
            since: "",
            complexity: "",
            summary: "",
            tips: &[],
            arguments: &[],
            deprecated: None,
            system: false,
            explicit: Categories::NONE,
        }
    }

    /// What `COMMAND DOCS` tells; the group also gives the ACL category.
    #[must_use]
    pub const fn about(
        mut self,
        group: Group,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Self {
        self.group = group;
        self.since = since;
        self.complexity = complexity;
        self.summary = summary;
        self.explicit = group.category();
        self
    }

    /// The ACL categories that follow neither from the flags nor from the group; after `about`.
    #[must_use]
    pub const fn acl(mut self, categories: Categories) -> Self {
        self.explicit = categories;
        self
    }

    /// As another command of these flags, for whoever asks what that may do.
    #[must_use]
    pub const fn with_flags(mut self, flags: Flags) -> Self {
        self.flags = flags;
        self
    }

    #[must_use]
    pub const fn hop(mut self, hop: Hop) -> Self {
        self.hop = hop;
        self
    }

    #[must_use]
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    #[must_use]
    pub const fn takes(mut self, arguments: &'static [Argument]) -> Self {
        self.arguments = arguments;
        self
    }

    #[must_use]
    pub const fn deprecated(mut self, since: &'static str, by: &'static str) -> Self {
        self.deprecated = Some(Deprecated { since, by });
        self
    }

    #[must_use]
    pub const fn system(mut self) -> Self {
        self.system = true;
        self
    }

    /// All ACL categories, the implied ones included.
    #[must_use]
    pub const fn categories(&self) -> Categories {
        let mut all = self.explicit;
        #[rustfmt::skip] // One implication, one line.
        let implied = [
            (Flags::WRITE,    Categories::WRITE),
            (Flags::READONLY, Categories::READ),
            (Flags::ADMIN,    Categories::ADMIN.and(Categories::DANGEROUS)),
            (Flags::PUBSUB,   Categories::PUBSUB),
            (Flags::BLOCKING, Categories::BLOCKING),
        ];
        let mut at = 0;
        while at < implied.len() {
            // A script that only reads is no read, to ACLs.
            let script =
                implied[at].1.has(Categories::READ) && self.explicit.has(Categories::SCRIPTING);
            if self.flags.has(implied[at].0) && !script {
                all = all.and(implied[at].1);
            }
            at += 1;
        }
        all.and(if self.flags.has(Flags::FAST) { Categories::FAST } else { Categories::SLOW })
    }

    /// Does it name keys that it may change? PFCOUNT does, which is no write.
    #[must_use]
    pub fn changes_keys(&self) -> bool {
        self.keys.iter().any(|keys| keys.flags.has(KeyFlags::RW))
    }

    /// May it change keys, by itself or by a script that it runs?
    #[must_use]
    pub const fn may_write(&self) -> bool {
        self.is_write() || (self.flags.has(Flags::MAY_REPLICATE) && !self.keys.is_empty())
    }

    /// May it look at keys that it does not name?
    #[must_use]
    pub fn follows_keys(&self) -> bool {
        self.keys.iter().any(|keys| keys.begin == Begin::Unknown(Unknown::Followed))
    }

    /// May this command change keys?
    #[must_use]
    pub const fn is_write(&self) -> bool {
        self.flags.has(Flags::WRITE)
    }
}

/// How many words a request may have, its name included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    Exactly(u16),
    AtLeast(u16),
}

impl Arity {
    #[must_use]
    pub fn accepts(self, words: usize) -> bool {
        match self {
            Self::Exactly(n) => words == usize::from(n),
            Self::AtLeast(n) => words >= usize::from(n),
        }
    }

    /// As Redis writes it: a minimum is negative.
    #[must_use]
    pub fn wire(self) -> i64 {
        match self {
            Self::Exactly(n) => i64::from(n),
            Self::AtLeast(n) => -i64::from(n),
        }
    }
}

/// Where a command runs when this server has several cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// On the core that has the connection: there is no key.
    Local,
    /// On the core that owns its one key.
    Single,
    /// As `Exclusive`; its parts, one for each key, would be put together so.
    Split(Gather),
    /// As `Single` where one core owns all keys, else by the node as a transaction over their owners.
    Exclusive,
    /// As `Exclusive`, and where it finds nothing its client waits.
    Blocking,
    /// On every core, by the node.
    All,
}

/// How the answers to the parts of a split command become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// Integers, added: `DEL`, `EXISTS`.
    Sum,
    /// Array elements, in the order in which the request named the keys: `MGET`.
    InOrder,
    /// `+OK` from all: `MSET`.
    AllOk,
}

/// Defines a set of named bits: constants, `and`, `has`, and the names of those set.
macro_rules! bits {
    ($(#[$doc:meta])* $set:ident { $($(#[$about:meta])* $bit:ident = $at:literal $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $set(u32);

        impl $set {
            pub const NONE: Self = Self(0);
            $($(#[$about])* pub const $bit: Self = Self(1 << $at);)*
            /// Every bit that is shown, by its name, in the order of the replies.
            pub const NAMES: &'static [(Self, &'static str)] = &[$((Self::$bit, $name),)*];

            #[must_use]
            pub const fn and(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// All bits of `other` are set.
            #[must_use]
            pub const fn has(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// The names of the bits set; a bit without a name is not for clients to see.
            pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
                let set = Self::NAMES.iter().filter(move |it| self.has(it.0));
                set.map(|it| it.1).filter(|name| !name.is_empty())
            }
        }
    };
}

bits! {
    /// What a command is allowed to do and when it may run.
    Flags {
        WRITE = 0 "write",
        READONLY = 1 "readonly",
        /// Refused when memory is at its limit: it may make a value grow.
        DENYOOM = 2 "denyoom",
        ADMIN = 3 "admin",
        PUBSUB = 4 "pubsub",
        NOSCRIPT = 5 "noscript",
        BLOCKING = 6 "blocking",
        /// Runs while the data set is being loaded.
        LOADING = 7 "loading",
        /// Runs on a replica whose link is down, with `replica-serve-stale-data no`.
        STALE = 8 "stale",
        SKIP_MONITOR = 9 "skip_monitor",
        SKIP_SLOWLOG = 10 "skip_slowlog",
        ASKING = 11 "asking",
        FAST = 12 "fast",
        /// Runs before the client has authenticated.
        NO_AUTH = 13 "no_auth",
        /// Not a write, yet replicas get it: a pause of writes holds it back. Redis 7.0 does not show it.
        MAY_REPLICATE = 14 "",
        NO_MANDATORY_KEYS = 15 "no_mandatory_keys",
        NO_ASYNC_LOADING = 16 "no_async_loading",
        NO_MULTI = 17 "no_multi",
        /// The key specs do not find all keys by position alone.
        MOVABLEKEYS = 18 "movablekeys",
        ALLOW_BUSY = 19 "allow_busy",
        /// Refused unless the configuration enables it: `DEBUG`, `MODULE`.
        PROTECTED = 20 "",
    }
}

bits! {
    /// What a command does to a key that it names.
    KeyFlags {
        RO = 0 "RO",
        RW = 1 "RW",
        OW = 2 "OW",
        RM = 3 "RM",
        ACCESS = 4 "access",
        UPDATE = 5 "update",
        INSERT = 6 "insert",
        DELETE = 7 "delete",
        NOT_KEY = 8 "not_key",
        INCOMPLETE = 9 "incomplete",
        VARIABLE_FLAGS = 10 "variable_flags",
    }
}

bits! {
    /// ACL categories.
    Categories {
        KEYSPACE = 0 "keyspace",
        READ = 1 "read",
        WRITE = 2 "write",
        SET = 3 "set",
        SORTEDSET = 4 "sortedset",
        LIST = 5 "list",
        HASH = 6 "hash",
        STRING = 7 "string",
        BITMAP = 8 "bitmap",
        HYPERLOGLOG = 9 "hyperloglog",
        GEO = 10 "geo",
        STREAM = 11 "stream",
        PUBSUB = 12 "pubsub",
        ADMIN = 13 "admin",
        FAST = 14 "fast",
        SLOW = 15 "slow",
        BLOCKING = 16 "blocking",
        DANGEROUS = 17 "dangerous",
        CONNECTION = 18 "connection",
        TRANSACTION = 19 "transaction",
        SCRIPTING = 20 "scripting",
    }
}

impl Categories {
    /// The category of that name, without regard to case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        let found = Self::NAMES.iter().find(|it| it.1.as_bytes().eq_ignore_ascii_case(name));
        found.map(|it| it.0)
    }
}

/// The chapter of the manual that a command stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Bitmap,
    Cluster,
    Connection,
    Generic,
    Geo,
    Hash,
    Hyperloglog,
    List,
    Pubsub,
    Scripting,
    Server,
    Set,
    SortedSet,
    Stream,
    String,
    Transactions,
}

impl Group {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bitmap => "bitmap",
            Self::Cluster => "cluster",
            Self::Connection => "connection",
            Self::Generic => "generic",
            Self::Geo => "geo",
            Self::Hash => "hash",
            Self::Hyperloglog => "hyperloglog",
            Self::List => "list",
            Self::Pubsub => "pubsub",
            Self::Scripting => "scripting",
            Self::Server => "server",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::String => "string",
            Self::Transactions => "transactions",
        }
    }

    const fn category(self) -> Categories {
        match self {
            Self::Bitmap => Categories::BITMAP,
            Self::Connection => Categories::CONNECTION,
            Self::Generic => Categories::KEYSPACE,
            Self::Geo => Categories::GEO,
            Self::Hash => Categories::HASH,
            Self::Hyperloglog => Categories::HYPERLOGLOG,
            Self::List => Categories::LIST,
            Self::Cluster | Self::Pubsub | Self::Server => Categories::NONE,
            Self::Scripting => Categories::SCRIPTING,
            Self::Set => Categories::SET,
            Self::SortedSet => Categories::SORTEDSET,
            Self::Stream => Categories::STREAM,
            Self::String => Categories::STRING,
            Self::Transactions => Categories::TRANSACTION,
        }
    }
}

/// Where some keys of a command stand and what happens to them.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    pub flags: KeyFlags,
    pub begin: Begin,
    pub find: Find,
    /// The flags of one request, where its options decide them.
    pub flags_of: Option<fn(Args<'_>) -> KeyFlags>,
}

/// Where the search for keys begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At that word.
    Index(u16),
    /// After the word `keyword`, looked for from word `from`; negative counts from the end, backwards.
    Keyword { keyword: &'static str, from: i16 },
    /// No rule of this kind says it.
    Unknown(Unknown),
}

/// Keys that only who knows the command finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// They are not in the request: they follow from what its keys hold.
    Followed,
    /// Where SORT keeps its result.
    SortStore,
}

/// How the keys go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to word `last` after the first (negative: from the end of the request), every `step` words.
    /// With `last` -1 and a `limit` above 1 only that part of the remaining words holds keys.
    Range { last: i16, step: u16, limit: u16 },
    /// The word `count` after the beginning says how many keys follow from word `first` on.
    Counted { count: u16, first: u16, step: u16 },
}

impl KeySpec {
    /// One key, at word `index`.
    #[must_use]
    pub const fn at(index: u16, flags: KeyFlags) -> Self {
        let find = Find::Range { last: 0, step: 1, limit: 0 };
        Self { flags, begin: Begin::Index(index), find, flags_of: None }
    }

    #[must_use]
    pub const fn keyword(keyword: &'static str, from: i16, flags: KeyFlags) -> Self {
        Self { begin: Begin::Keyword { keyword, from }, ..Self::at(0, flags) }
    }

    /// Keys that no rule finds.
    #[must_use]
    pub const fn unknown(which: Unknown, flags: KeyFlags) -> Self {
        Self { begin: Begin::Unknown(which), ..Self::at(0, flags) }
    }

    /// All words from there to `last`, every `step`.
    #[must_use]
    pub const fn to(mut self, last: i16, step: u16) -> Self {
        self.find = Find::Range { last, step, limit: 0 };
        self
    }

    #[must_use]
    pub const fn limit(mut self, limit: u16) -> Self {
        if let Find::Range { last, step, .. } = self.find {
            self.find = Find::Range { last, step, limit };
        }
        self
    }

    #[must_use]
    pub const fn counted(mut self, count: u16, first: u16, step: u16) -> Self {
        self.find = Find::Counted { count, first, step };
        self
    }

    #[must_use]
    pub const fn flags_of(mut self, flags_of: fn(Args<'_>) -> KeyFlags) -> Self {
        self.flags_of = Some(flags_of);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_follow_from_flags_and_group() {
        let names = |spec: Spec| spec.categories().names().collect::<Vec<_>>().join(" ");
        let row = |flags| Spec::new("X", Arity::Exactly(1), flags, &[]);
        let get = row(Flags::READONLY.and(Flags::FAST)).about(Group::String, "", "", "");
        assert_eq!(names(get), "read string fast");
        assert_eq!(names(row(Flags::ADMIN)), "admin slow dangerous");
        assert_eq!(names(row(Flags::PUBSUB.and(Flags::FAST))), "pubsub fast");
        assert_eq!(names(get.acl(Categories::NONE)), "read fast");
        assert_eq!(Categories::named(b"SortedSet"), Some(Categories::SORTEDSET));
        assert_eq!(Categories::named(b""), None);
    }

    #[test]
    fn arity_counts_the_name() {
        assert!(Arity::Exactly(2).accepts(2) && !Arity::Exactly(2).accepts(3));
        assert!(Arity::AtLeast(2).accepts(9) && !Arity::AtLeast(2).accepts(1));
        assert_eq!((Arity::Exactly(2).wire(), Arity::AtLeast(2).wire()), (2, -2));
    }

    #[test]
    fn a_bit_without_a_name_is_not_shown() {
        let flags = Flags::PROTECTED.and(Flags::ADMIN);
        assert_eq!(flags.names().collect::<Vec<_>>(), ["admin"]);
    }
}
