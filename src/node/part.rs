//! What every core does for a command that asks all of them: one row and one function a part.
//!
//! A part sees its own core only. Its reply travels like any other and is put together with the
//! others' in `gather.rs`.

use crate::base::time::Wall;
use crate::command::args::Args;
use crate::command::spec::{Arity, Flags, Spec};
use crate::engine::digest::Digest;
use crate::engine::generic::whole;
use crate::engine::keyspace::Expiry;
use crate::node::core::Core;
use crate::node::cx::{PartFn, PartHead};
use crate::node::debug;
use crate::node::{client_kill, client_list, clients, multi, publish};
use crate::resp::reply::{Proto, Reply};
use crate::types::record::Encode;

/// A part has no clients and so no facts.
const PART: &Spec = &Spec::new("", Arity::AtLeast(0), Flags::NONE, &[]);

/// Every part by its name.
#[rustfmt::skip] // One row, one line.
pub const PARTS: &[(&str, &Spec, PartFn)] = &[
    ("dbsize",      PART, dbsize),
    ("keys",        PART, keys),
    ("scan",        PART, scan),
    ("random-key",  PART, random_key),
    ("load",        PART, load_part),
    // Not run as a part: `owner.rs` takes it off the road.
    ("intend",      PART, |_, _, _, _| ()),
    ("exec",        PART, multi::exec_part),
    ("watch",       PART, multi::watch_part),
    ("unwatch",     PART, multi::unwatch_part),
    ("end-wait",    PART, super::waiting::end_wait_part),
    ("reset-stats", PART, reset_stats),
    ("digest",      PART, digest),
    ("client-list", PART, client_list::part),
    ("client-kill", PART, client_kill::part),
    ("client-unblock", PART, clients::unblock_part),
    ("last-save",   PART, super::server::last_save_part),
    ("digest-value", PART, debug::digest_value),
    ("debug-object", PART, debug::object),
    ("populate",     PART, debug::populate),
    ("active-expire", PART, debug::active_expire),
    ("change-repl-id", PART, debug::change_repl_id),
    ("lag", PART, debug::lag),
    ("hear", PART, publish::hear_part),
    ("hear-shard", PART, publish::hear_shard_part),
    ("channels", PART, publish::channels_part),
    ("patterns", PART, publish::patterns_part),
    ("shard-channels", PART, publish::shard_channels_part),
    ("numsub", PART, publish::numsub_part),
    ("shard-numsub", PART, publish::shard_numsub_part),
    ("slowlog", PART, super::slowlog::entries_part),
    ("slowlog-len", PART, super::slowlog::length_part),
    ("slowlog-reset", PART, super::slowlog::reset_part),
    ("latency", PART, super::slowlog::samples_part),
    ("latency-reset", PART, super::slowlog::forget_part),
    ("latency-histogram", PART, super::slowlog::histogram_part),
    ("acl-log", PART, super::access::log_part),
    ("acl-log-reset", PART, super::access::log_reset_part),
    ("info", PART, super::info::part),
    ("role",        PART, super::replicate::role_part),
    ("slot-keys",   PART, super::cluster::slot_keys_part),
    ("find-client", PART, super::tracking::find_part),
    ("track", PART, super::tracking::track_part),
    ("touched", PART, super::tracking::touched_part),
    ("invalidate", PART, super::tracking::invalidate_part),
    ("changed", PART, super::tracking::changed_part),
    ("redirected", PART, super::tracking::redirected_part),
    ("redirection-broken", PART, super::tracking::broken_part),
    ("script-learn", PART, super::scripts::learn_part),
    ("script-load",  PART, super::scripts::load_part),
    ("script-flush", PART, super::scripts::flush_part),
];

fn dbsize(core: &mut Core, head: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    let keys = core.keyspace.len(head.db);
    reply.int(i64::try_from(keys).unwrap_or(i64::MAX));
}

/// `[pattern]`: this core's keys that match.
fn keys(core: &mut Core, head: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let mut found = Vec::new();
    let mut count = 0;
    let mut each = |key: &[u8]| {
        count += 1;
        Reply { out: &mut found, proto: Proto::Resp2 }.bulk(key);
    };
    whole::keys(&core.keyspace, head.db, args.name(), core.now.wall, &mut each);
    reply.array(count);
    reply.raw(&found);
}

/// `[SCAN, cursor, options..]`, the cursor being this core's own: its keys and where to go on.
fn scan(core: &mut Core, head: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let scan = match whole::Scan::parse(args) {
        Ok(scan) => scan,
        Err(error) => return reply.error(&error),
    };
    let (mut found, mut count) = (Vec::new(), 0);
    let mut each = |key: &[u8]| {
        count += 1;
        Reply { out: &mut found, proto: Proto::Resp2 }.bulk(key);
    };
    let next = scan.step(&core.keyspace, head.db, scan.cursor, core.now.wall, &mut each);
    let cursor = super::keys::pack_cursor(next, core.id, core.cores);
    reply.array(2);
    reply.bulk(cursor.to_string().as_bytes());
    reply.array(count);
    reply.raw(&found);
}

/// This core's number of keys and one of them: `[n, key]`, or `[0, nil]`.
fn random_key(core: &mut Core, head: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    let mut key = Vec::new();
    let keys = core.keyspace.len(head.db);
    let found = core.keyspace.random_key(head.db, &mut core.prng, core.now.wall, &mut key);
    reply.array(2);
    reply.int(if found { i64::try_from(keys).unwrap_or(i64::MAX) } else { 0 });
    if found { reply.bulk(&key) } else { reply.null() }
}

fn load_part(core: &mut Core, head: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    if load(core, head.db, args) {
        reply.ok();
    } else {
        reply.error(&crate::resp::error::ErrorKind::Oom);
    }
}

/// `[key, value, expiry in ms as 8 little-endian bytes, 0 for none]`: keeps a loaded key.
pub(super) fn load(core: &mut Core, db: usize, args: Args<'_>) -> bool {
    let (Some(value), Some(expiry)) = (args.get(1), args.get(2)) else { return false };
    let expiry = match <[u8; 8]>::try_from(expiry).map(u64::from_le_bytes) {
        Ok(0) | Err(_) => Expiry::None,
        Ok(at) => Expiry::At(at),
    };
    let key = core.keyspace.hasher().key(args.name());
    let now = core.now.wall;
    core.keyspace.set(db, key, value, expiry, Encode::Auto, now).is_ok()
}

fn reset_stats(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    core.stats.reset();
    if let Some(control) = core.control.as_mut() {
        control.reasons.clear();
        control.master.reset_counters();
    }
    core.keyspace.reset_stats();
    reply.ok();
}

/// This core's share of DEBUG DIGEST.
fn digest(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    reply.bulk(&core.digest().to_bytes());
}

impl Core {
    /// The digest of this core's keys, expired ones included as long as they are there.
    pub fn digest(&mut self) -> Digest {
        const PAST: Wall = Wall(0);
        let databases = self.keyspace.databases();
        let mut digest = Digest::new(databases);
        for db in 0..databases {
            let mut keys = Vec::new();
            self.keyspace.for_each(db, PAST, &mut |key| keys.push(key.to_vec()));
            for name in keys {
                let key = self.keyspace.hasher().key(&name);
                let expires = self.keyspace.expiry(db, key, PAST).flatten().is_some();
                if let Some(value) = self.keyspace.peek(db, key, PAST) {
                    digest.add(db, &name, value, expires);
                }
            }
        }
        digest
    }
}
