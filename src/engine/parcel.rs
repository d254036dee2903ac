//! A key's value on its way to another shard, for commands over keys of several cores.
//!
//! A parcel is a copy that costs little: what is long is shared by reference. The shard that owns the
//! key keeps its own until it is told what became of the copy.
//!
//! Nothing here is a use of the key: no clock of accesses moves, nothing is counted as hit or miss.

use crate::base::time::Wall;
use crate::engine::collections::Carried;
use crate::engine::keyspace::{ExpiryMode, Full, Key, Keyspace};

impl Keyspace {
    /// A copy of what a key has; `None` where there is no such key. On a master one that has expired
    /// goes, as for whoever meets it; on a replica it travels like any other, since only its master's
    /// DEL ends it.
    pub fn parcel(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Carried> {
        match self.mode {
            ExpiryMode::Hide => self.guest(db, key, now),
            ExpiryMode::Delete | ExpiryMode::Ignore => self.read_out(db, key, now),
        }
    }

    /// As `parcel`, expired or not: what a key that was unpacked here for another core has become.
    pub fn guest(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Carried> {
        let mode = std::mem::replace(&mut self.mode, ExpiryMode::Ignore);
        let parcel = self.read_out(db, key, now);
        self.mode = mode;
        parcel
    }

    /// A key has from now on what the parcel holds, or is no more.
    ///
    /// # Errors
    /// There is no room for it: then the key is as it was.
    pub fn unpack(
        &mut self,
        db: usize,
        key: Key<'_>,
        parcel: Option<Carried>,
        now: Wall,
    ) -> Result<(), Full> {
        let mode = std::mem::replace(&mut self.mode, ExpiryMode::Ignore);
        let (classes, notes) = (self.be_quiet(), self.watch.note_changes(false));
        let result = match parcel {
            None => {
                self.remove(db, key, now);
                Ok(())
            }
            Some(carried) => self.put_in(db, key, carried, now),
        };
        self.be_heard(classes);
        self.watch.note_changes(notes);
        self.mode = mode;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::digest::{Sum, of_value};
    use crate::engine::keyspace::Expiry;
    use crate::types::dict::Dict;
    use crate::types::object::{Body, Object};
    use crate::types::packed;
    use crate::types::record::{Encode, Encoding};

    const NOW: Wall = Wall(1_000_000);

    fn seen(keyspace: &mut Keyspace, db: usize, key: Key<'_>) -> (Sum, Encoding, Option<u64>) {
        let expiry = keyspace.expiry(db, key, NOW).unwrap();
        let value = keyspace.peek(db, key, NOW).unwrap();
        (of_value(value, expiry.is_some()), value.encoding(), expiry)
    }

    #[test]
    fn a_value_arrives_as_it_left() {
        let mut dict = Dict::new(true);
        dict.insert(1, b"field", b"value");
        let mut bytes = packed::empty();
        packed::push(&mut bytes, b"field");
        packed::push(&mut bytes, b"value");
        for n in 0..6 {
            for expiry in [Expiry::None, Expiry::At(5_000)] {
                let mut keyspace = Keyspace::new(2, [1, 2, 3, 4]);
                let mut other = Keyspace::new(2, [1, 2, 3, 4]);
                let hasher = keyspace.hasher();
                let key = hasher.key(b"k");
                let body = match n {
                    4 => Some(Body::Packed(Encoding::PackedHash, bytes.clone())),
                    5 => Some(Body::Object(Object::Hash(dict.clone()))),
                    _ => None,
                };
                let (value, encode) = match n {
                    0 => (&b"12"[..], Encode::Auto),
                    1 => (&b"12"[..], Encode::Text),
                    2 => (&b"12"[..], Encode::Raw),
                    _ => (&[b'x'; 5_000][..], Encode::Raw),
                };
                match body {
                    None => keyspace.set(1, key, value, expiry, encode, NOW).unwrap(),
                    Some(body) => keyspace.put_body(1, key, body, expiry, NOW).unwrap(),
                }
                let parcel = keyspace.parcel(1, key, NOW);
                other.unpack(0, key, parcel, NOW).unwrap();
                assert_eq!(seen(&mut other, 0, key), seen(&mut keyspace, 1, key));
                other.unpack(0, key, None, NOW).unwrap();
                assert!(other.parcel(0, key, NOW).is_none() && keyspace.exists(1, key, NOW));
            }
        }
    }

    #[test]
    fn a_replica_waits_for_the_del_of_what_has_expired() {
        let (now, later) = (NOW, Wall(10_000_000));
        let mut keyspace = Keyspace::new(1, [1, 2, 3, 4]);
        let hasher = keyspace.hasher();
        let key = hasher.key(b"k");
        keyspace.set(0, key, b"v", Expiry::At(5_000), Encode::Auto, now).unwrap();
        keyspace.set_expiry_mode(ExpiryMode::Hide);
        assert!(keyspace.parcel(0, key, later).is_some());
        keyspace.set_expiry_mode(ExpiryMode::Delete);
        assert!(keyspace.parcel(0, key, later).is_none() && keyspace.has_expired());
    }
}
