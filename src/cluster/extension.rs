//! What a ping may carry behind its gossip. Redis before 7.0 drops a packet that has any.
//!
//! ```text
//!   0          4      6        8
//!   | length   | type | unused | content, padded with zeros to a multiple of 8 |
//! ```
//!
//! `length` counts the whole. Types from 4 on mean different things to Redis and to Valkey: they are passed
//! over. What is known is taken only where its content is what it should be, since it will stand in our file
//! and in replies: one that is not makes the packet bad.

use super::id::{ID_BYTES, NodeId};
use crate::base::limits::CLUSTER_NAME_BYTES_MAX;

/// One that we know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extension {
    Hostname(String),
    HumanName(String),
    /// `CLUSTER FORGET`, told on: for so many more seconds.
    Forgotten {
        id: NodeId,
        ttl_seconds: u64,
    },
    Shard(NodeId),
}

const HEADER_BYTES: usize = 8;
const TYPE_AT: usize = 4;
const TYPE_HOSTNAME: u16 = 0;
const TYPE_HUMAN_NAME: u16 = 1;
const TYPE_FORGOTTEN: u16 = 2;
const TYPE_SHARD: u16 = 3;

const _: () = assert!(TYPE_AT + 4 == HEADER_BYTES && (ID_BYTES + 8).is_multiple_of(8));

impl Extension {
    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        let kind = match self {
            Self::Hostname(name) => {
                out.extend_from_slice(name.as_bytes());
                out.push(0);
                TYPE_HOSTNAME
            }
            Self::HumanName(name) => {
                out.extend_from_slice(name.as_bytes());
                out.push(0);
                TYPE_HUMAN_NAME
            }
            Self::Forgotten { id, ttl_seconds } => {
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(&ttl_seconds.to_be_bytes());
                TYPE_FORGOTTEN
            }
            Self::Shard(id) => {
                out.extend_from_slice(id.as_bytes());
                TYPE_SHARD
            }
        };
        while !(out.len() - start).is_multiple_of(8) {
            out.push(0);
        }
        let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        if let Some(header) = out.get_mut(start..start + HEADER_BYTES) {
            let (size, rest) = header.split_at_mut(TYPE_AT);
            size.copy_from_slice(&length.to_be_bytes());
            rest.copy_from_slice(&[kind.to_be_bytes()[0], kind.to_be_bytes()[1], 0, 0]);
        }
    }

    /// The first one of these bytes, if we know its type, and what is behind it. `None`: bad.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<(Option<Self>, &[u8])> {
        let length = u32::from_be_bytes(*bytes.first_chunk()?);
        let kind = u16::from_be_bytes(*bytes.get(TYPE_AT..)?.first_chunk()?);
        let length = usize::try_from(length).ok()?;
        if length < HEADER_BYTES || !length.is_multiple_of(8) {
            return None;
        }
        let (whole, rest) = bytes.split_at_checked(length)?;
        let content = whole.get(HEADER_BYTES..)?;
        let known = match kind {
            TYPE_HOSTNAME => Self::Hostname(text(content, is_hostname)?),
            TYPE_HUMAN_NAME => Self::HumanName(text(content, is_name)?),
            TYPE_FORGOTTEN => {
                let (id, behind) = content.split_at_checked(ID_BYTES)?;
                let ttl_seconds = u64::from_be_bytes(behind.try_into().ok()?);
                Self::Forgotten { id: NodeId::parse(id)?, ttl_seconds }
            }
            TYPE_SHARD => Self::Shard(NodeId::parse(content)?),
            _ => return Some((None, rest)),
        };
        Some((Some(known), rest))
    }

    /// Does Redis 7.0, which knows only the first, take it without a warning?
    #[must_use]
    pub fn is_old(&self) -> bool {
        matches!(self, Self::Hostname(_))
    }
}

/// A hostname as `cluster-announce-hostname` takes it.
#[must_use]
pub fn is_hostname(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !text.is_empty() && text.len() <= CLUSTER_NAME_BYTES_MAX && text.bytes().all(fits)
}

/// A name for people, as Redis' `isValidAuxChar` has it: printable, and nothing that a file's line is cut at.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let fits =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&()*+.:;<>?@[]^{|}~-".contains(&byte);
    !text.is_empty() && text.len() <= CLUSTER_NAME_BYTES_MAX && text.bytes().all(fits)
}

/// Text up to its zero.
fn text(content: &[u8], fits: fn(&str) -> bool) -> Option<String> {
    let end = content.iter().position(|byte| *byte == 0)?;
    let text = str::from_utf8(content.get(..end)?).ok()?;
    fits(text).then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let id = NodeId::parse(&[b'a'; 40]).unwrap();
        let all = [
            Extension::Hostname("node-1.example".into()),
            Extension::HumanName("left".into()),
            Extension::Forgotten { id, ttl_seconds: 60 },
            Extension::Shard(id),
        ];
        let mut bytes = Vec::new();
        all.iter().for_each(|it| it.write(&mut bytes));
        let (mut rest, mut read) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            let (one, behind) = Extension::read(rest).unwrap();
            read.extend(one);
            rest = behind;
        }
        assert_eq!(read, all);
    }

    #[test]
    fn what_is_no_extension_is_refused() {
        let with = |length: u32, kind: u16, content: &[u8]| {
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.extend_from_slice(&kind.to_be_bytes());
            bytes.extend_from_slice(&[0, 0]);
            bytes.extend_from_slice(content);
            Extension::read(&bytes).map(|(it, _)| it)
        };
        assert_eq!(with(16, 99, b"whatever"), Some(None), "unknown is passed over");
        assert_eq!(with(16, 0, b"host\0\0\0\0"), Some(Some(Extension::Hostname("host".into()))));
        for (length, kind, content) in [
            (0, 99, b"whatever"),
            (15, 99, b"whatever"),
            (24, 99, b"whatever"),
            (65_552, 99, b"whatever"),
            (16, 0, b"host\nvar"),
            (16, 0, b"host\nv\0\0"),
            (16, 0, b"unending"),
            (16, 0, b"\0\0\0\0\0\0\0\0"),
            (16, 1, b"a,b=c\0\0\0"),
            (16, 2, b"tooshort"),
            (16, 3, b"tooshort"),
        ] {
            assert_eq!(with(length, kind, content), None, "{length} {kind} {content:?}");
        }
        assert_eq!(Extension::read(b"\0\0\0"), None);
    }
}
