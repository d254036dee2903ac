//! Pub/sub: the commands, and how a message comes to its listeners on all cores.
//!
//! ```text
//!   PUBLISH -> this core: hear -> deliver          one copy of the message in the outbox, a segment of it
//!           => every core with listeners: hear -> deliver -> how many heard it      for each listener
//! ```
//!
//! A core that has no listeners is not asked (`Listeners`, raised before SUBSCRIBE is answered). The
//! messages of one publisher take one road to each core, so all hear them in one order. A message to
//! a client whose replies wait (`flight.rs`) queues behind them.
//!
//! A message of a master's stream is heard here as well; a node that has a master of its own logs none.
//!
//! Not here: who listens to what (`pubsub.rs`).

use crate::base::limits::CORES_MAX;
use crate::command::args::Args;
use crate::command::docs;
use crate::command::keys;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::following;
use crate::node::gather::Summary;
use crate::node::message::{self, Origin, RequestHead, Tracks};
use crate::node::outbox::{Conn, Outbox};
use crate::node::pubsub::Topic;
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use bytes::Bytes;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

#[rustfmt::skip] // One row, one line.
pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::new(rows::PSUBSCRIBE,   psubscribe),
    Command::new(rows::PUBLISH,      publish),
    Command::container(rows::PUBSUB, alone, PUBSUB),
    Command::new(rows::PUNSUBSCRIBE, punsubscribe),
    Command::new(rows::SPUBLISH,     spublish),
    Command::new(rows::SSUBSCRIBE,   ssubscribe),
    Command::new(rows::SUBSCRIBE,    subscribe),
    Command::new(rows::SUNSUBSCRIBE, sunsubscribe),
    Command::new(rows::UNSUBSCRIBE,  unsubscribe),
];

#[rustfmt::skip] // One row, one line.
const PUBSUB: &[Command<NodeFn>] = &[
    Command::new(rows::PUBSUB_CHANNELS,      channels),
    Command::new(rows::PUBSUB_HELP,          help),
    Command::new(rows::PUBSUB_NUMPAT,        numpat),
    Command::new(rows::PUBSUB_NUMSUB,        numsub),
    Command::new(rows::PUBSUB_SHARDCHANNELS, shard_channels),
    Command::new(rows::PUBSUB_SHARDNUMSUB,   shard_numsub),
];

/// What a client in RESP2 that listens may still say.
const WHILE_SUBSCRIBED: &[&str] = &[
    "PING",
    "SUBSCRIBE",
    "SSUBSCRIBE",
    "UNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "PSUBSCRIBE",
    "PUNSUBSCRIBE",
    "QUIT",
    "RESET",
];

/// May a client in RESP2 that listens run this command?
#[must_use]
pub(super) fn is_for_subscribers(name: &str) -> bool {
    WHILE_SUBSCRIBED.contains(&name)
}

/// How many subscriptions each core has: who has none need not be told.
#[derive(Debug)]
pub struct Listeners([AtomicUsize; CORES_MAX]);

impl Default for Listeners {
    fn default() -> Self {
        Self([const { AtomicUsize::new(0) }; CORES_MAX])
    }
}

impl Listeners {
    fn add(&self, core: usize, count: usize) {
        self.0[core].fetch_add(count, Ordering::AcqRel);
    }

    fn take(&self, core: usize, count: usize) {
        self.0[core].fetch_sub(count, Ordering::AcqRel);
    }

    #[inline]
    fn any(&self, core: usize) -> bool {
        self.0[core].load(Ordering::Acquire) > 0
    }
}

/// Messages on their way to this core's clients.
#[derive(Debug, Default)]
pub(super) struct Heard {
    bytes: Vec<u8>,
    to: Vec<(Conn, Range<usize>)>,
}

impl Heard {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.to.is_empty()
    }

    /// A message that cannot be brought yet.
    fn keep(&mut self, conn: Conn, bytes: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.to.push((conn, start..self.bytes.len()));
    }

    /// A message to one client.
    pub(super) fn tell(&mut self, conn: Conn, proto: Proto, write: impl FnOnce(&mut Reply<'_>)) {
        let start = self.bytes.len();
        write(&mut Reply { out: &mut self.bytes, proto });
        self.to.push((conn, start..self.bytes.len()));
    }
}

fn subscribe(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    join(cx, Topic::Channel, args);
    Ok(())
}

fn psubscribe(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    join(cx, Topic::Pattern, args);
    Ok(())
}

fn ssubscribe(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    join(cx, Topic::Shard, args);
    Ok(())
}

fn unsubscribe(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    leave(cx, Topic::Channel, args);
    Ok(())
}

fn punsubscribe(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    leave(cx, Topic::Pattern, args);
    Ok(())
}

fn sunsubscribe(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    leave(cx, Topic::Shard, args);
    Ok(())
}

fn join(cx: &mut NodeCx<'_>, topic: Topic, args: Args<'_>) {
    let word: &[u8] = match topic {
        Topic::Channel => b"subscribe",
        Topic::Pattern => b"psubscribe",
        Topic::Shard => b"ssubscribe",
    };
    let conn = cx.conn;
    for name in args.from(1) {
        let core = &mut *cx.core;
        if core.pubsub.subscribe(conn, topic, name) {
            core.shared.listeners.add(core.id, 1);
        }
        let count = core.pubsub.counts(conn).of(topic);
        confirm(&mut cx.reply, word, Some(name), count);
    }
    cx.session().subscribed = true;
    cx.answer_always();
}

fn leave(cx: &mut NodeCx<'_>, topic: Topic, args: Args<'_>) {
    let word: &[u8] = match topic {
        Topic::Channel => b"unsubscribe",
        Topic::Pattern => b"punsubscribe",
        Topic::Shard => b"sunsubscribe",
    };
    let conn = cx.conn;
    let all = if args.len() == 1 { cx.core.pubsub.names_of(conn, topic) } else { Vec::new() };
    let mut names: Vec<&[u8]> = all.iter().map(AsRef::as_ref).collect();
    names.extend(args.from(1));
    for name in &names {
        let core = &mut *cx.core;
        if core.pubsub.unsubscribe(conn, topic, name) {
            core.shared.listeners.take(core.id, 1);
        }
        let count = core.pubsub.counts(conn).of(topic);
        confirm(&mut cx.reply, word, Some(name), count);
    }
    let counts = cx.core.pubsub.counts(conn);
    if names.is_empty() {
        confirm(&mut cx.reply, word, None, counts.of(topic));
    }
    cx.session().subscribed = !counts.is_none();
    cx.answer_always();
}

fn confirm(reply: &mut Reply<'_>, word: &[u8], name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.bulk(word);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.int(i64::try_from(count).unwrap_or(i64::MAX));
}

fn publish(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    spread(cx, Topic::Channel, args);
    Ok(())
}

fn spublish(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    spread(cx, Topic::Shard, args);
    Ok(())
}

/// To all who listen on any core; the reply is how many they are.
fn spread(cx: &mut NodeCx<'_>, topic: Topic, args: Args<'_>) {
    let db = cx.db();
    // What a transaction publishes is in the stream already, as a part of it.
    if cx.core.view.cluster.is_some() {
        // All nodes hear it by the bus, replicas as well.
        cx.core.publish_on_bus(topic == Topic::Shard, args, cx.out);
    } else if !cx.core.view.is_replica() && !cx.core.tx.publishing {
        cx.core.log.append_request(db, args.words());
    }
    let others = cx.core.other_listeners();
    if others.is_empty() {
        let heard = cx.core.hear(topic, &args[1], &args[2]);
        cx.core.deliver_heard(cx.out);
        cx.reply.int(i64::try_from(heard).unwrap_or(i64::MAX));
        return;
    }
    let part = if topic == Topic::Shard { "hear-shard" } else { "hear" };
    let mut cores = others;
    cores.push(cx.core.id);
    cx.ask_cores(&cores, part, args.skip(1), Summary::Sum, false);
    cx.core.deliver_heard(cx.out);
}

/// `[channel, message]`
pub(super) fn hear_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let heard = core.hear(Topic::Channel, args.name(), args.get(1).unwrap_or_default());
    reply.int(i64::try_from(heard).unwrap_or(i64::MAX));
}

/// `[shard channel, message]`
pub(super) fn hear_shard_part(
    core: &mut Core,
    _: &PartHead,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) {
    let heard = core.hear(Topic::Shard, args.name(), args.get(1).unwrap_or_default());
    reply.int(i64::try_from(heard).unwrap_or(i64::MAX));
}

/// What a master's stream publishes.
pub(super) fn of_stream(args: Args<'_>) -> Option<(Topic, &[u8], &[u8])> {
    let topic = match () {
        () if args.len() != 3 => return None,
        () if args.is(0, "PUBLISH") => Topic::Channel,
        () if args.is(0, "SPUBLISH") => Topic::Shard,
        () => return None,
    };
    Some((topic, args.get(1)?, args.get(2)?))
}

impl Core {
    /// Is there room on the roads to all who listen? If not, the session waits.
    pub(super) fn may_publish(&mut self, conn: Conn) -> bool {
        let others = self.other_listeners();
        others.into_iter().all(|core| self.has_room(conn, core))
    }

    /// A transaction of our master's publishes.
    pub(super) fn publish_of_stream(&mut self, args: Args<'_>) {
        if let Some((topic, channel, message)) = of_stream(args) {
            self.broadcast(topic, channel, message);
        }
    }

    /// A message that nobody here waits for the fate of: of a master's stream, or about a key.
    ///
    /// How many of this core's clients hear it.
    pub(super) fn broadcast(&mut self, topic: Topic, channel: &[u8], message: &[u8]) -> usize {
        let heard = self.hear(topic, channel, message);
        let part = if topic == Topic::Shard { "hear-shard" } else { "hear" };
        for core in self.other_listeners() {
            let head = RequestHead {
                conn: following::NOBODY,
                generation: 0,
                slot: 0,
                part: 0,
                command: self.shared.table.part(part),
                db: 0,
                proto: Proto::Resp2,
                origin: Origin::Client,
                no_touch: false,
                asking: false,
                tracks: Tracks::default(),
                hash: 0,
                wire: 0,
            };
            message::push_request(self.roads.to(core), &head, [channel, message].into_iter());
        }
        heard
    }

    /// Other cores where anybody listens to anything.
    fn other_listeners(&self) -> Vec<usize> {
        let listens = |core: &usize| *core != self.id && self.shared.listeners.any(*core);
        (0..self.cores).filter(listens).collect()
    }

    /// Who on this core hears a message; `deliver_heard` brings it to them. A client hears it once for its
    /// channel and once for each pattern.
    fn hear(&mut self, topic: Topic, channel: &[u8], message: &[u8]) -> usize {
        let Self { pubsub, sessions, heard, .. } = self;
        let protos = |list: &[Conn]| -> Vec<(Conn, Proto)> {
            let open = list.iter().filter_map(|conn| Some((*conn, sessions.get(*conn)?)));
            open.filter(|it| !it.1.closing).map(|(conn, it)| (conn, it.proto)).collect()
        };
        let before = heard.to.len();
        let listeners = protos(pubsub.listeners(topic, channel));
        let word: &[u8] = if topic == Topic::Shard { b"smessage" } else { b"message" };
        heard.add(&listeners, &[word, channel, message]);
        if topic == Topic::Channel {
            for (pattern, listeners) in pubsub.matching(channel) {
                heard.add(&protos(listeners), &[b"pmessage", pattern, channel, message]);
            }
        }
        heard.to.len() - before
    }

    /// Brings what was heard to its listeners: behind what was answered to them so far.
    #[inline]
    pub(super) fn deliver_heard(&mut self, out: &mut Outbox) {
        if !self.heard.is_empty() {
            self.bring_heard(out);
        }
    }

    fn bring_heard(&mut self, out: &mut Outbox) {
        let mut heard = std::mem::take(&mut self.heard);
        let base = out.lend(&heard.bytes);
        for (conn, range) in heard.to.drain(..) {
            let Some(session) = self.sessions.get_mut(conn) else { continue };
            if session.is_executing() {
                // An EXEC that is answered in pieces: nothing may come into its array.
                self.heard.keep(conn, &heard.bytes[range]);
                continue;
            }
            match session.flight.as_mut() {
                Some(flight) => {
                    flight.answer_here(|queue| queue.extend_from_slice(&heard.bytes[range]));
                }
                None => out.share(conn, base + range.start..base + range.end),
            }
        }
        if self.heard.is_empty() {
            heard.bytes.clear();
            self.heard = heard;
        }
    }

    /// Slots are others' now: whoever listens to a shard's channel of one is told that he does no more, so that
    /// he goes where it is.
    pub(super) fn leave_shard_channels(&mut self, served: impl Fn(u16) -> bool) {
        let gone: Vec<Bytes> = self
            .pubsub
            .names(Topic::Shard)
            .filter(|name| !served(keys::slot(name)))
            .cloned()
            .collect();
        for name in gone {
            for conn in self.pubsub.listeners(Topic::Shard, &name).to_vec() {
                if self.pubsub.unsubscribe(conn, Topic::Shard, &name) {
                    self.shared.listeners.take(self.id, 1);
                }
                let counts = self.pubsub.counts(conn);
                let Some(session) = self.sessions.get_mut(conn) else { continue };
                session.subscribed = !counts.is_none();
                let start = self.heard.bytes.len();
                let mut reply = Reply { out: &mut self.heard.bytes, proto: session.proto };
                confirm(&mut reply, b"sunsubscribe", Some(&name), counts.of(Topic::Shard));
                self.heard.to.push((conn, start..self.heard.bytes.len()));
            }
        }
    }

    /// The client hears nothing more.
    pub(super) fn forget_listener(&mut self, conn: Conn) {
        let count = self.pubsub.forget(conn);
        self.shared.listeners.take(self.id, count);
        if let Some(session) = self.sessions.get_mut(conn) {
            session.subscribed = false;
        }
    }
}

impl Heard {
    /// One copy of the message in each protocol that somebody speaks.
    fn add(&mut self, listeners: &[(Conn, Proto)], words: &[&[u8]]) {
        for proto in [Proto::Resp2, Proto::Resp3] {
            let mut speak = listeners.iter().filter(|it| it.1 == proto).peekable();
            if speak.peek().is_none() {
                continue;
            }
            let start = self.bytes.len();
            let mut reply = Reply { out: &mut self.bytes, proto };
            reply.push(words.len());
            words.iter().for_each(|word| reply.bulk(word));
            let range = start..self.bytes.len();
            self.to.extend(speak.map(|it| (it.0, range.clone())));
        }
    }
}

/// PUBSUB without a sub-command, which its arity refuses.
fn alone(_: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    Err(ErrorKind::WrongArity { command: "PUBSUB" })
}

fn help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    docs::write_help("PUBSUB", PUBSUB, &mut cx.reply);
    Ok(())
}

/// `PUBSUB CHANNELS [pattern]`
fn channels(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    ask_names(cx, "channels", args)
}

/// `PUBSUB SHARDCHANNELS [pattern]`
fn shard_channels(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    ask_names(cx, "shard-channels", args)
}

fn ask_names(cx: &mut NodeCx<'_>, part: &str, args: Args<'_>) -> Result<(), ErrorKind> {
    if args.len() > 3 {
        return Err(ErrorKind::wrong_subcommand("PUBSUB", &args[1]));
    }
    let pattern = args.get(2).unwrap_or(b"*");
    cx.ask_all(part, Args::new(&[pattern]), Summary::Names);
    Ok(())
}

/// `PUBSUB NUMPAT`: different patterns, whoever has them.
fn numpat(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("patterns", Args::new(&[b"*"]), Summary::CountNames);
    Ok(())
}

/// `PUBSUB NUMSUB [channel ...]`
fn numsub(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("numsub", args.skip(2), Summary::Counts);
    Ok(())
}

/// `PUBSUB SHARDNUMSUB [shardchannel ...]`
fn shard_numsub(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("shard-numsub", args.skip(2), Summary::Counts);
    Ok(())
}

/// `[pattern]`: names that somebody on this core listens to.
pub(super) fn channels_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    write_names(core, Topic::Channel, args, reply);
}

/// As `channels_part`, of shard channels.
pub(super) fn shard_channels_part(
    core: &mut Core,
    _: &PartHead,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) {
    write_names(core, Topic::Shard, args, reply);
}

/// As `channels_part`, of patterns.
pub(super) fn patterns_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    write_names(core, Topic::Pattern, args, reply);
}

fn write_names(core: &mut Core, topic: Topic, args: Args<'_>, reply: &mut Reply<'_>) {
    let pattern = args.name();
    let matches = |name: &&Bytes| pattern == b"*" || crate::base::glob::matches(pattern, name);
    let names: Vec<&Bytes> = core.pubsub.names(topic).filter(matches).collect();
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name));
}

/// `[channel ...]`: each with its number of listeners on this core.
pub(super) fn numsub_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    write_counts(core, Topic::Channel, args, reply);
}

/// As `numsub_part`, of shard channels.
pub(super) fn shard_numsub_part(
    core: &mut Core,
    _: &PartHead,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) {
    write_counts(core, Topic::Shard, args, reply);
}

fn write_counts(core: &mut Core, topic: Topic, args: Args<'_>, reply: &mut Reply<'_>) {
    reply.array(2 * args.len());
    for name in args.iter() {
        reply.bulk(name);
        let count = core.pubsub.listeners(topic, name).len();
        reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::check;

    /// Lines are what redis-server 7.0.15 sends; `b` and `c` are on other cores where there are three.
    #[test]
    fn messages_reach_all_who_listen_on_any_core() {
        check(
            r#"
            a> SUBSCRIBE x y x
            a< *3 $9 subscribe $1 x :1 *3 $9 subscribe $1 y :2 *3 $9 subscribe $1 x :2
            b> PSUBSCRIBE x* *
            b< *3 $10 psubscribe $2 x* :1 *3 $10 psubscribe $1 * :2
            c> HELLO 3 SETNAME c
            c< %7 $6 server $5 redis $7 version $5 7.2.4 $5 proto :3 $2 id :3 $4 mode $10 standalone $4 role $6 master $7 modules *0
            c> SUBSCRIBE x
            c< >3 $9 subscribe $1 x :1
            c> SSUBSCRIBE x
            c< >3 $10 ssubscribe $1 x :1
            d> PUBLISH y hello
            d< :2
            a< *3 $7 message $1 y $5 hello
            b< *4 $8 pmessage $1 * $1 y $5 hello
            d> SPUBLISH x hi
            d< :1
            c< >3 $8 smessage $1 x $2 hi
            d> PUBLISH nobody hi
            d< :1
            b< *4 $8 pmessage $1 * $6 nobody $2 hi
            b> PUNSUBSCRIBE *
            b< *3 $12 punsubscribe $1 * :1
            d> PUBLISH nobody hi
            d< :0
            d>> PUBLISH x 1\r\nPUBLISH x 2\r\nPING\r\nPUBLISH x 3\r\n
            d< :3 :3 +PONG :3
            a< *3 $7 message $1 x $1 1 *3 $7 message $1 x $1 2 *3 $7 message $1 x $1 3
            b< *4 $8 pmessage $2 x* $1 x $1 1 *4 $8 pmessage $2 x* $1 x $1 2 *4 $8 pmessage $2 x* $1 x $1 3
            c< >3 $7 message $1 x $1 1 >3 $7 message $1 x $1 2 >3 $7 message $1 x $1 3
            d> PUBSUB CHANNELS
            d< *2 $1 x $1 y
            d> PUBSUB CHANNELS [^y]
            d< *1 $1 x
            d> PUBSUB NUMSUB x y z
            d< *6 $1 x :2 $1 y :1 $1 z :0
            d> PUBSUB NUMSUB
            d< *0
            d> PUBSUB NUMPAT
            d< :1
            d> PUBSUB SHARDCHANNELS *
            d< *1 $1 x
            d> PUBSUB SHARDNUMSUB x q
            d< *4 $1 x :1 $1 q :0
            d> PUBSUB CHANNELS a b
            d< -ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.
            d> PUBSUB FOO
            d< -ERR unknown subcommand 'FOO'. Try PUBSUB HELP.
            d> PUBSUB NUMPAT x
            d< -ERR wrong number of arguments for 'pubsub|numpat' command
            d> CLIENT KILL TYPE pubsub
            d< :3
            a!
            b!
            c!
            d> PUBLISH x gone
            d< :0
            "#,
        );
    }

    /// As above.
    #[test]
    fn a_client_that_listens_may_say_little_in_resp2() {
        check(
            r#"
            a> UNSUBSCRIBE
            a< *3 $11 unsubscribe $-1 :0
            a> SUNSUBSCRIBE x y
            a< *3 $12 sunsubscribe $1 x :0 *3 $12 sunsubscribe $1 y :0
            a> SUBSCRIBE
            a< -ERR wrong number of arguments for 'subscribe' command
            a> SSUBSCRIBE s
            a< *3 $10 ssubscribe $1 s :1
            a> PSUBSCRIBE p*
            a< *3 $10 psubscribe $2 p* :1
            a> GET k
            a< -ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context
            a> CONFIG GET x
            a< -ERR Can't execute 'config|get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context
            a> PING
            a< *2 $4 pong $0
            a> PING hey
            a< *2 $4 pong $3 hey
            a> PING a b
            a< -ERR wrong number of arguments for 'ping' command
            a> GET
            a< -ERR wrong number of arguments for 'get' command
            a> PUNSUBSCRIBE
            a< *3 $12 punsubscribe $2 p* :0
            a> PING
            a< *2 $4 pong $0
            a> SUNSUBSCRIBE
            a< *3 $12 sunsubscribe $1 s :0
            a> PING
            a< +PONG
            a> SUBSCRIBE q
            a< *3 $9 subscribe $1 q :1
            a> RESET
            a< +RESET
            a> PUBLISH q 1
            a< :0
            a> SUBSCRIBE q
            a< *3 $9 subscribe $1 q :1
            a> QUIT
            a< +OK
            a!
            "#,
        );
    }

    /// As above: a message is no reply, so CLIENT REPLY OFF lets it through.
    #[test]
    fn a_client_hears_itself_and_hears_while_its_replies_are_off() {
        check(
            r#"
            a> HELLO 3
            a< %7 $6 server $5 redis $7 version $5 7.2.4 $5 proto :3 $2 id :1 $4 mode $10 standalone $4 role $6 master $7 modules *0
            a> CLIENT REPLY OFF
            a> SUBSCRIBE z
            a< >3 $9 subscribe $1 z :1
            a> PUBLISH z own
            a< >3 $7 message $1 z $3 own
            a> CLIENT REPLY ON
            a< +OK
            a> PUBLISH z own
            a< >3 $7 message $1 z $3 own :1
            "#,
        );
    }

    /// A client that is gone leaves nothing behind, on any core.
    #[test]
    fn who_leaves_is_forgotten() {
        check(
            r#"
            a> PSUBSCRIBE *
            a< *3 $10 psubscribe $1 * :1
            b> PUBLISH x 1
            b< :1
            a< *4 $8 pmessage $1 * $1 x $1 1
            b> CLIENT KILL TYPE pubsub
            b< :1
            a!
            b> PUBSUB NUMPAT
            b< :0
            b> PUBLISH x 1
            b< :0
            "#,
        );
    }
}
