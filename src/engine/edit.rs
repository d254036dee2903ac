//! Changing the bytes of a string where they lie: what bitmaps and HyperLogLogs are made of.
//!
//! A caller gets the value as a slice, zero-padded to the length that it asks for, writes into it, and is
//! done: no copy where the record can keep its place, one where a snapshot or a reply still needs
//! the old bytes. The value is raw afterwards and keeps its expiry; a key that was not there is made.
//!
//! Not here: what the bytes mean, and strings that are replaced whole (`keyspace.rs`).

use super::keyspace::{Expiry, Full, Key, Keyspace, seconds};
use crate::base::limits::STRING_BYTES_MAX;
use crate::base::time::Wall;
use crate::resp::error::ErrorKind;
use crate::types::record::Encoding;
use crate::types::store::Value;

impl Keyspace {
    /// Lends the string at `key`, at least `len_min` bytes long, to `edit`, and tells it whether the
    /// string had to grow for that or was not there. `edit` says whether it changed anything.
    ///
    /// Where memory is refused nothing has changed, though `edit` may have run on a copy.
    pub fn edit<R>(
        &mut self,
        db: usize,
        key: Key<'_>,
        len_min: usize,
        now: Wall,
        edit: impl FnOnce(&mut [u8], bool) -> (bool, R),
    ) -> Result<R, ErrorKind> {
        if len_min > STRING_BYTES_MAX {
            return Err(Full.into());
        }
        let Some(place) = self.live(db, key, now) else {
            let mut value = vec![0; len_min];
            let (_, result) = edit(&mut value, true);
            let value = Value::Shared(value.into());
            self.set_value(db, key, value, Expiry::None, Encoding::Raw, now)?;
            return Ok(result);
        };
        let mut handle = self.store.segments.get(place.segment).handle(place.spot);
        let view = self.store.view(handle);
        if !view.value.encoding().is_string() {
            return Err(ErrorKind::WrongType);
        }
        let (len, expiry) = (view.value.bytes().len(), view.expiry);
        let is_large = view.value.is_large();
        let needed = self.is_needed(db, place);
        if !is_large && (needed || len < len_min) {
            let mut value = self.store.view(handle).value.bytes().to_vec();
            value.resize(len.max(len_min), 0);
            let (_, result) = edit(&mut value, len < len_min);
            let value = Value::Shared(value.into());
            self.set_value(db, key, value, Expiry::Keep, Encoding::Raw, now)?;
            return Ok(result);
        }
        if needed {
            handle = self.store.duplicate(handle, None, expiry)?;
            self.put(db, place, handle, expiry.is_some());
        }
        self.store.segments.touch(place.segment, place.spot, seconds(now));
        // A large value's record says raw already, as it is over 44 bytes.
        let edited = if is_large {
            self.store.edit_large(handle, len_min, |bytes| edit(bytes, len < len_min))
        } else {
            self.store.value_mut(handle).map(|bytes| edit(bytes, false))
        };
        let (changed, result) = edited.ok_or(Full)?;
        if changed {
            self.signal(db, key);
        }
        Ok(result)
    }
}
