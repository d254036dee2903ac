//! A key's value on its way to another shard, for commands over keys of several cores.
//!
//! A parcel is a copy that costs little: what is long is shared by reference. The shard that owns the
//! key keeps its own until it is told what became of the copy.
//!
//! Nothing here is a use of the key: no clock of accesses moves, nothing is counted as hit or miss.

use crate::base::time::Wall;
use crate::engine::keyspace::{Expiry, ExpiryMode, Full, Key, Keyspace};
use crate::types::record::{Encode, Encoding};
use bytes::Bytes;

/// See the file's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    value: Bytes,
    encoding: Encoding,
    /// Milliseconds since the epoch.
    expiry: Option<u64>,
}

impl Keyspace {
    /// A copy of what a key has; `None` where there is no such key. On a master one that has expired
    /// goes, as for whoever meets it; on a replica it travels like any other, since only its master's
    /// DEL ends it.
    pub fn parcel(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Parcel> {
        match self.mode {
            ExpiryMode::Hide => self.guest(db, key, now),
            ExpiryMode::Delete | ExpiryMode::Ignore => self.copy_of(db, key, now),
        }
    }

    /// As `parcel`, expired or not: what a key that was unpacked here for another core has become.
    pub fn guest(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Parcel> {
        let mode = std::mem::replace(&mut self.mode, ExpiryMode::Ignore);
        let parcel = self.copy_of(db, key, now);
        self.mode = mode;
        parcel
    }

    fn copy_of(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Parcel> {
        let expiry = self.expiry(db, key, now)?;
        let view = self.peek(db, key, now)?;
        let value = view.shared().unwrap_or_else(|| Bytes::copy_from_slice(view.bytes()));
        Some(Parcel { value, encoding: view.encoding(), expiry })
    }

    /// A key has from now on what the parcel holds, or is no more.
    ///
    /// # Errors
    /// There is no room for it: then the key is as it was.
    pub fn unpack(
        &mut self,
        db: usize,
        key: Key<'_>,
        parcel: Option<Parcel>,
        now: Wall,
    ) -> Result<(), Full> {
        let mode = std::mem::replace(&mut self.mode, ExpiryMode::Ignore);
        let result = match parcel {
            None => {
                self.remove(db, key, now);
                Ok(())
            }
            Some(Parcel { value, encoding, expiry }) => {
                let expiry = expiry.map_or(Expiry::None, Expiry::At);
                let encode = match encoding {
                    Encoding::Int => Encode::Auto,
                    Encoding::Embstr => Encode::Text,
                    Encoding::Raw => Encode::Raw,
                };
                self.set_shared(db, key, value, expiry, encode, now)
            }
        };
        self.mode = mode;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_arrives_as_it_left() {
        let now = Wall(1_000_000);
        let mut keyspace = Keyspace::new(2, [1, 2, 3, 4]);
        let mut other = Keyspace::new(2, [1, 2, 3, 4]);
        let hasher = keyspace.hasher();
        let key = hasher.key(b"k");
        for (value, encode) in [
            (&b"12"[..], Encode::Auto),
            (b"12", Encode::Text),
            (b"12", Encode::Raw),
            (&[b'x'; 5_000], Encode::Raw),
        ] {
            for expiry in [Expiry::None, Expiry::At(5_000)] {
                keyspace.set(1, key, value, expiry, encode, now).unwrap();
                let parcel = keyspace.parcel(1, key, now);
                other.unpack(0, key, parcel.clone(), now).unwrap();
                assert_eq!(other.parcel(0, key, now), parcel);
                assert!(parcel.is_some() && keyspace.exists(1, key, now));
            }
        }
        other.unpack(0, key, None, now).unwrap();
        assert_eq!(other.parcel(0, key, now), None);
        let later = Wall(10_000_000);
        keyspace.set_expiry_mode(ExpiryMode::Hide);
        assert!(keyspace.parcel(1, key, later).is_some(), "a replica waits for the DEL");
        keyspace.set_expiry_mode(ExpiryMode::Delete);
        assert!(keyspace.parcel(1, key, later).is_none() && keyspace.has_expired());
    }
}
