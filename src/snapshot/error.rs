//! Why bytes are no RDB file that can be loaded here, and where: the only texts about it.

use std::fmt;

use crate::snapshot::lzf::LzfError;

/// A refusal, and the offset in the file that had been reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    pub offset: u64,
    pub why: Why,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    NotRdb,
    Version([u8; 4]),
    /// A length that begins with this byte.
    BadLength(u8),
    /// A string encoding where only a length may stand.
    EncodedLength(u8),
    StringTooLong {
        len: u64,
        max: u64,
    },
    /// More bytes announced than the whole file still has.
    BeyondEnd {
        len: u64,
        left: u64,
    },
    /// Packed bytes cannot unpack to so many.
    LzfBomb {
        packed: u64,
        len: u64,
    },
    Lzf(LzfError),
    Database {
        db: u64,
        databases: usize,
    },
    /// Neither an opcode nor a type, or one that nobody but its author can read.
    UnknownType(u8),
    ModuleOpcode(u64),
    Checksum {
        stored: u64,
        computed: u64,
    },
    /// The input ended inside.
    Truncated,
    /// A value of a type that this server cannot hold. The key is cut to `ERROR_KEY_BYTES_MAX`.
    UnsupportedType {
        key: Vec<u8>,
        type_name: &'static str,
    },
    /// A value that is none of its type, or has an element twice.
    Damaged {
        key: Vec<u8>,
        type_name: &'static str,
    },
    /// An item that does not fit its value; `Damaged` says whose.
    Item,
    UnsupportedFunction,
    UnsupportedModuleData,
}

/// Bytes of a key that an error quotes.
pub const ERROR_KEY_BYTES_MAX: usize = 128;

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RDB offset {}: {}", self.offset, self.why)
    }
}

impl std::error::Error for DecodeError {}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRdb => write!(f, "no RDB file, it does not begin with REDIS"),
            Self::Version(digits) => {
                write!(f, "version '{}' cannot be read", digits.escape_ascii())
            }
            Self::BadLength(byte) => write!(f, "no length begins with byte {byte:#04x}"),
            Self::EncodedLength(byte) => {
                write!(f, "string encoding {byte:#04x} in a length's place")
            }
            Self::StringTooLong { len, max } => {
                write!(f, "a string of {len} bytes, the limit is {max}")
            }
            Self::BeyondEnd { len, left } => {
                write!(f, "a string of {len} bytes where {left} bytes are left")
            }
            Self::LzfBomb { packed, len } => {
                write!(f, "{packed} compressed bytes cannot become {len}")
            }
            Self::Lzf(LzfError::Truncated) => write!(f, "compressed string ends inside a token"),
            Self::Lzf(LzfError::BackBeyondStart) => {
                write!(f, "compressed string points before its beginning")
            }
            Self::Lzf(LzfError::WrongLength) => {
                write!(f, "compressed string has another length than announced")
            }
            Self::Database { db, databases } => {
                write!(f, "database {db} of {databases}")
            }
            Self::UnknownType(byte) => write!(f, "type or opcode {byte} is unknown"),
            Self::ModuleOpcode(opcode) => write!(f, "module opcode {opcode} is unknown"),
            Self::Checksum { stored, computed } => {
                write!(f, "checksum {computed:016x}, the file says {stored:016x}")
            }
            Self::Truncated => write!(f, "the file ends too early"),
            Self::UnsupportedType { key, type_name } => {
                write!(f, "key '{}' holds a {type_name}, unsupported", key.escape_ascii())
            }
            Self::Damaged { key, type_name } => {
                write!(f, "key '{}' holds a damaged {type_name}", key.escape_ascii())
            }
            Self::Item => write!(f, "a damaged value"),
            Self::UnsupportedFunction => write!(f, "a function library, unsupported"),
            Self::UnsupportedModuleData => write!(f, "data of a module, unsupported"),
        }
    }
}
