//! DEBUG: what tests and operators in trouble need, for as far as it means something here.
//!
//! Refused unless `enable-debug-command` lets the client (`yes`, or `local` and the client sits on
//! this host); the setting cannot be changed while the server runs. A sub-command of Redis that is
//! about its own insides (JMAP, HTSTATS, SDSLEN, ...) is answered as one that does not exist.

use crate::base::num::{parse_f64, parse_i64};
use crate::command::args::Args;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::engine::digest::{Sum, of_value};
use crate::engine::keyspace::Expiry;
use crate::node::control::Ask;
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::gather::Summary;
use crate::node::outbox::Action;
use crate::node::settings::Protected;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::snapshot::encode;
use crate::snapshot::lzf::Compressor;
use crate::types::record::Encode;

pub const COMMANDS: &[Command<NodeFn>] = &[Command::new(rows::DEBUG, debug)];

#[rustfmt::skip] // Usage and what it is for, one line each.
const HELP: &[(&str, &str)] = &[
    ("CHANGE-REPL-ID", "Begins another replication history, so that replicas need a full sync"),
    ("DIGEST", "The digest of the whole data set; equal data sets have equal ones"),
    ("DIGEST-VALUE <key> [<key> ...]", "The digest of each key's value"),
    ("HELP", "Lists the sub-commands"),
    ("LAG", "How long replicas took for bytes of the stream, by stage: names and HdrHistograms (.hgrm)"),
    ("OBJECT <key>", "How a value is kept"),
    ("PANIC", "Ends the process as a bug would, with a report in the log"),
    ("POPULATE <count> [<prefix>] [<size>]", "Sets keys <prefix>:<n>, without telling replicas"),
    ("RELOAD", "Saves the data set and loads it again"),
    ("SET-ACTIVE-EXPIRE <0|1>", "Removes expired keys in the background, or only when they are met"),
    ("SLEEP <seconds>", "Stops this client's core for so long"),
];

fn debug(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let allowed = match cx.core.view.settings.enable_debug_command {
        Protected::No => false,
        Protected::Local => cx.session().ends.is_loopback(),
        Protected::Yes => true,
    };
    if !allowed {
        let option = "enable-debug-command";
        return Err(ErrorKind::CommandNotAllowed { command: "DEBUG", option });
    }
    let words = args.len();
    match () {
        () if args.is(1, "CHANGE-REPL-ID") && words == 2 => cx.ask_core(0, "change-repl-id", args),
        () if args.is(1, "DIGEST") && words == 2 => cx.ask_all("digest", args, Summary::Digest),
        () if args.is(1, "DIGEST-VALUE") => {
            cx.ask_all("digest-value", args.skip(2), Summary::DigestValues);
        }
        () if args.is(1, "HELP") && words == 2 => help(&mut cx.reply),
        () if args.is(1, "LAG") && words == 2 => cx.ask_core(0, "lag", args),
        () if args.is(1, "OBJECT") && words == 3 => {
            let owner = cx.core.owner(&args[2]);
            cx.ask_core(owner, "debug-object", args.skip(2));
        }
        () if args.is(1, "PANIC") && words == 2 => panic!("DEBUG PANIC was asked for"),
        () if args.is(1, "POPULATE") && (3..=5).contains(&words) => {
            Populate::parse(args.skip(2))?;
            cx.ask_all("populate", args.skip(2), Summary::AllOk);
        }
        () if args.is(1, "RELOAD") => reload(cx, args)?,
        () if args.is(1, "SET-ACTIVE-EXPIRE") && words == 3 => {
            cx.ask_all("active-expire", args.skip(2), Summary::AllOk);
        }
        () if args.is(1, "SLEEP") && words == 3 => {
            cx.out.actions.push(Action::Sleep { micros: micros(&args[2]) });
            cx.reply.ok();
        }
        () => return Err(ErrorKind::unknown_debug(&args[1])),
    }
    Ok(())
}

fn help(reply: &mut Reply<'_>) {
    reply.array(1 + 2 * HELP.len());
    reply.simple(b"DEBUG <subcommand> [<arg> ...]. The sub-commands:");
    for (usage, summary) in HELP {
        reply.simple(usage.as_bytes());
        reply.simple(format!("    {summary}.").as_bytes());
    }
}

/// Seconds with decimals; what is no number is no time at all, as in Redis.
fn micros(seconds: &[u8]) -> u64 {
    let micros = parse_f64(seconds).unwrap_or(0.0) * 1e6;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let micros = micros as u64;
    micros
}

fn reload(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let known = |at: usize| ["MERGE", "NOFLUSH", "NOSAVE"].iter().any(|word| args.is(at, word));
    if args.len() > 2 {
        let all_known = (2..args.len()).all(known);
        return Err(if all_known { ErrorKind::DebugReloadPlain } else { ErrorKind::DebugReload });
    }
    cx.ask(Ask::Reload);
    Ok(())
}

/// On core 0.
pub(super) fn change_repl_id(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    if let Some(control) = core.control.as_mut() {
        let replid = control.new_replid();
        control.history.begin(replid);
    }
    reply.ok();
}

/// On core 0: a name and a distribution for each stage of each replica, and our own.
pub(super) fn lag(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    let Some(control) = core.control.as_ref() else { return };
    let mut files = Vec::new();
    for replica in control.master.following() {
        let who = format!("{}-{}", String::from_utf8_lossy(&replica.ip), replica.port);
        files.push((format!("{who}-sent.hgrm"), replica.sent_lag.hgrm()));
        files.push((format!("{who}-acknowledged.hgrm"), replica.ack_lag.hgrm()));
    }
    if control.following.master.is_some() {
        files.push(("applied.hgrm".to_string(), control.following.applied_lag.hgrm()));
    }
    reply.array(2 * files.len());
    for (name, text) in files {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
}

/// `[0 | 1]`
pub(super) fn active_expire(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    // As Redis reads it: what is no number is zero.
    core.expires_actively = parse_i64(args.name()).unwrap_or(0) != 0;
    reply.ok();
}

/// `[key ..]`: 20 bytes for each, zeros where it is absent or another core's.
pub(super) fn digest_value(
    core: &mut Core,
    head: &PartHead,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) {
    let now = core.now.wall;
    let mut sums = Vec::new();
    for name in args.iter() {
        let key = core.keyspace.hasher().key(name);
        let expires = core.keyspace.expiry(head.db, key, now).flatten().is_some();
        let value = core.keyspace.peek(head.db, key, now);
        let sum = value.map_or(Sum::default(), |value| of_value(value, expires));
        sums.extend_from_slice(&sum);
    }
    reply.bulk(&sums);
}

/// `[key]`, on the core that owns it.
pub(super) fn object(core: &mut Core, head: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    const CLOCK_MASK: u64 = (1 << 24) - 1;
    let now = core.now.wall;
    let key = core.keyspace.hasher().key(args.name());
    let idle = core.keyspace.idle_seconds(head.db, key, now).unwrap_or(0);
    let Some(value) = core.keyspace.peek(head.db, key, now) else {
        return reply.error(&ErrorKind::NoSuchKey);
    };
    // What the value takes in an RDB file: an entry with an empty name, less its type and its name.
    let mut saved = Vec::new();
    let mut compressor = Compressor::default();
    encode::string_entry(&mut saved, b"", value.bytes(), None, Some(&mut compressor));
    let line = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{idle}",
        value.bytes().as_ptr(),
        value.encoding().name(),
        saved.len().saturating_sub(2),
        (now.ms() / 1_000).saturating_sub(idle) & CLOCK_MASK,
    );
    reply.simple(line.as_bytes());
}

/// `count [prefix [size]]`: this core's share of the keys.
pub(super) fn populate(core: &mut Core, head: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let Ok(populate) = Populate::parse(args) else { return reply.error(&ErrorKind::NotPositive) };
    for number in 0..populate.count {
        let name = [populate.prefix, b":", number.to_string().as_bytes()].concat();
        if core.owner(&name) != core.id {
            continue;
        }
        let now = core.now.wall;
        let key = core.keyspace.hasher().key(&name);
        if core.keyspace.exists(head.db, key, now) {
            continue;
        }
        let value = populate.value(number);
        if core.keyspace.set(head.db, key, &value, Expiry::None, Encode::Auto, now).is_err() {
            return reply.error(&ErrorKind::Oom);
        }
    }
    reply.ok();
}

struct Populate<'a> {
    count: u64,
    prefix: &'a [u8],
    size: Option<usize>,
}

impl<'a> Populate<'a> {
    fn parse(args: Args<'a>) -> Result<Self, ErrorKind> {
        let positive = |word: &[u8]| {
            let number = parse_i64(word).and_then(|number| u64::try_from(number).ok());
            number.ok_or(ErrorKind::NotPositive)
        };
        let size = args.get(2).map(positive).transpose()?;
        let size = size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        if size.is_some_and(|size| size > crate::base::limits::POPULATE_BYTES_MAX) {
            return Err(ErrorKind::StringTooLong);
        }
        let size = size.filter(|&size| size > 0);
        Ok(Self { count: positive(args.name())?, prefix: args.get(1).unwrap_or(b"key"), size })
    }

    /// `value:<n>`, cut or filled with zeros to the size asked for.
    fn value(&self, number: u64) -> Vec<u8> {
        let mut value = format!("value:{number}").into_bytes();
        if let Some(size) = self.size {
            value.resize(size, 0);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_takes_decimals_and_nonsense() {
        for (text, expected) in [("0.01", 10_000), ("2", 2_000_000), ("x", 0), ("-1", 0), ("", 0)] {
            assert_eq!(micros(text.as_bytes()), expected, "{text}");
        }
    }

    /// What redis-server 7.0.15 does.
    #[test]
    fn populate_reads_its_words_and_makes_values() {
        let check = |line: &str, expected: Result<&str, ErrorKind>| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let made = Populate::parse(Args::new(&words)).map(|it| {
                let (prefix, value) = (it.prefix.to_vec(), it.value(12));
                let text = [&prefix, &b" "[..], &value].concat();
                format!("{} {}", it.count, String::from_utf8_lossy(&text))
            });
            assert_eq!(made, expected.map(str::to_string), "{line}");
        };
        check("3", Ok("3 key value:12"));
        check("3 pf 10", Ok("3 pf value:12\0\0"));
        check("3 pf 3", Ok("3 pf val"));
        check("3 pf 0", Ok("3 pf value:12"));
        check("x", Err(ErrorKind::NotPositive));
        check("-1", Err(ErrorKind::NotPositive));
        check("3 pf x", Err(ErrorKind::NotPositive));
    }
}
