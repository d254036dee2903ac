//! What a node is, as bits that travel. Bits that we do not know are kept and told on.

/// A set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    pub const MASTER: Self = Self(1);
    pub const REPLICA: Self = Self(2);
    /// Did not answer us in time.
    pub const PFAIL: Self = Self(4);
    /// Did not answer the majority.
    pub const FAIL: Self = Self(8);
    pub const MYSELF: Self = Self(16);
    /// We do not know its name yet.
    pub const HANDSHAKE: Self = Self(32);
    pub const NOADDR: Self = Self(64);
    /// The first packet to it is a MEET.
    pub const MEET: Self = Self(128);
    /// Had replicas, so that others' may come to it.
    pub const MIGRATE_TO: Self = Self(256);
    pub const NOFAILOVER: Self = Self(512);
    /// Takes extensions of pings.
    pub const EXTENSIONS: Self = Self(1_024);

    #[must_use]
    pub const fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    #[must_use]
    pub const fn and(self, flag: Self) -> Self {
        Self(self.0 | flag.0)
    }

    #[must_use]
    pub const fn without(self, flag: Self) -> Self {
        Self(self.0 & !flag.0)
    }

    pub fn set(&mut self, flag: Self, on: bool) {
        *self = if on { self.and(flag) } else { self.without(flag) };
    }

    /// As CLUSTER NODES and the file show it.
    #[must_use]
    pub fn names(self) -> String {
        let names: Vec<&str> =
            NAMES.iter().filter(|(flag, _)| self.has(*flag)).map(|(_, name)| *name).collect();
        if names.is_empty() { "noflags".into() } else { names.join(",") }
    }

    /// The flags of a file.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut flags = Self::default();
        for word in text.split(',').filter(|it| *it != "noflags") {
            flags = flags.and(NAMES.iter().find(|(_, name)| *name == word)?.0);
        }
        Some(flags)
    }
}

/// In the order in which they are shown.
const NAMES: [(Flags, &str); 8] = [
    (Flags::MYSELF, "myself"),
    (Flags::MASTER, "master"),
    (Flags::REPLICA, "slave"),
    (Flags::PFAIL, "fail?"),
    (Flags::FAIL, "fail"),
    (Flags::HANDSHAKE, "handshake"),
    (Flags::NOADDR, "noaddr"),
    (Flags::NOFAILOVER, "nofailover"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_redis() {
        let mine = Flags::MYSELF.and(Flags::MASTER).and(Flags::NOFAILOVER);
        assert_eq!(mine.names(), "myself,master,nofailover");
        assert_eq!(Flags::parse("myself,master,nofailover"), Some(mine));
        assert_eq!(Flags::MIGRATE_TO.names(), "noflags");
        assert_eq!(Flags::parse("noflags"), Some(Flags::default()));
        assert_eq!(Flags::parse("master,king"), None);
    }
}
