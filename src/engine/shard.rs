//! One command on one shard: what it is given, and how it is run.
//!
//! The same functions serve a client, a transaction, a replica that applies its master's stream and
//! the tests; which of them it is shows only in the keyspace's expiry mode. Before [`execute`] the
//! caller has looked the command up, checked its arity and found out that all its keys are of this
//! shard (`command::keys`).
//!
//! Contract of a [`ShardFn`]: `Ok` means that exactly one reply is written and the effect is
//! noted; `Err` means that neither has anything in it, and the caller writes the error.
//!
//! Not here: other shards, replicas, and who may do what.

use crate::base::num::parse_i64;
use crate::base::prng::Prng;
use crate::base::time::Wall;
use crate::command::args::Args;
use crate::command::spec::Command;
use crate::engine::effect::Effect;
use crate::engine::keyspace::{Full, Key, Keyspace};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;

/// What a command on one shard may see and do.
pub struct Cx<'a> {
    pub keyspace: &'a mut Keyspace,
    /// The client's database; below `keyspace.databases()`.
    pub db: usize,
    pub now: Wall,
    pub reply: Reply<'a>,
    pub effect: &'a mut Effect,
    pub prng: &'a mut Prng,
}

/// A command of the families in this layer.
pub type ShardFn = fn(&mut Cx<'_>, Args<'_>) -> Result<(), ErrorKind>;

/// Runs a command, and notes the keys that it found expired before what it did itself.
#[inline]
pub fn execute(
    command: &Command<ShardFn>,
    cx: &mut Cx<'_>,
    args: Args<'_>,
) -> Result<(), ErrorKind> {
    debug_assert!(command.arity.accepts(args.len()), "the caller checks the arity");
    let changes = cx.effect.changes();
    let result = (command.run)(cx, args);
    if cx.keyspace.has_lent() {
        cx.keyspace.settle_lent(cx.effect.changes() != changes);
    }
    if cx.keyspace.has_expired() {
        cx.note_expired();
    }
    result
}

impl<'a> Cx<'a> {
    #[inline]
    pub(crate) fn key<'k>(&self, bytes: &'k [u8]) -> Key<'k> {
        self.keyspace.key(bytes)
    }

    /// For whoever used the keyspace outside of [`execute`].
    #[cold]
    pub fn note_expired(&mut self) {
        let effect = &mut *self.effect;
        self.keyspace.drain_expired(&mut |db, key| effect.expired(db, key));
    }

    /// A count as the reply.
    pub(crate) fn reply_len(&mut self, len: usize) {
        self.reply.int(i64::try_from(len).unwrap_or(i64::MAX));
    }
}

/// An argument that must be an integer.
pub(crate) fn integer(word: &[u8]) -> Result<i64, ErrorKind> {
    parse_i64(word).ok_or(ErrorKind::NotAnInteger)
}

/// A shard whose memory is exhausted refuses as a server at `maxmemory` does.
impl From<Full> for ErrorKind {
    fn from(_: Full) -> Self {
        Self::Oom
    }
}
