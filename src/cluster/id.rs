//! The name of a node, or of a shard: 40 characters, for ever.

use crate::base::prng::Prng;
use std::fmt;

/// Bytes of a name.
pub const ID_BYTES: usize = 40;

/// A name. Lower-case letters and digits only, so that it may stand in any text as it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; ID_BYTES]);

impl NodeId {
    /// `None`: these are no 40 lower-case letters and digits (Redis: `verifyClusterNodeId`).
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let fits = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let id: [u8; ID_BYTES] = text.try_into().ok()?;
        id.iter().all(fits).then_some(Self(id))
    }

    /// A new one.
    pub fn draw(prng: &mut Prng) -> Self {
        let mut id = [b'0'; ID_BYTES];
        for byte in &mut id {
            let digit = u32::try_from(prng.below(16)).unwrap_or(0);
            *byte = char::from_digit(digit, 16).map_or(b'0', |it| it as u8);
        }
        Self(id)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_forty_small_letters_and_digits() {
        let drawn = NodeId::draw(&mut Prng::new(1));
        assert_eq!(NodeId::parse(drawn.to_string().as_bytes()), Some(drawn));
        for bad in ["", "ab", &"A".repeat(40), &"0".repeat(39), &"0".repeat(41), &"\n".repeat(40)] {
            assert_eq!(NodeId::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
