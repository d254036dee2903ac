//! CLUSTER as clients send it: words in, a reply out. What concerns keys, or needs none of the mind, is answered
//! before it gets here (`node/cluster.rs`).

use super::admin::{Failover, SetSlot};
use super::machine::{Cluster, Output};
use super::moves::{Question, Wish};
use super::show::Endpoint;
use super::slots::Slots;
use crate::base::limits::SLOTS;
use crate::base::num::parse_i64;
use crate::base::time::Now;
use crate::command::args::Args;
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};

/// A request for the mind, and what it must know besides.
#[derive(Clone, Debug)]
pub struct Request {
    /// `CLUSTER` and what follows.
    pub words: Vec<Vec<u8>>,
    pub proto: Proto,
    pub by: Endpoint,
}

/// How many keys there are: in a slot, or at all.
pub type Keys<'a> = &'a dyn Fn(Option<u16>) -> u64;

/// Between a port and that of its bus.
const BUS_PORT_OFFSET: i64 = 10_000;

impl Request {
    /// Carries it out and appends the reply.
    pub fn run(
        &self,
        cluster: &mut Cluster,
        now: Now,
        keys: Keys<'_>,
        out: &mut Vec<Output>,
        reply: &mut Vec<u8>,
    ) {
        let words: Vec<&[u8]> = self.words.iter().map(Vec::as_slice).collect();
        let args = Args::new(&words);
        let start = reply.len();
        let mut reply = Reply { out: reply, proto: self.proto };
        let done = cluster.command(now, out, |it| answer(it, args, self.by, keys, &mut reply));
        if let Err(error) = done {
            reply.out.truncate(start);
            reply.error(&error);
        }
    }
}

fn answer(
    cluster: &mut Cluster,
    args: Args<'_>,
    by: Endpoint,
    keys: Keys<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorKind> {
    if tell(cluster, args, by, reply)? {
        return Ok(());
    }
    change(cluster, args, keys, reply)
}

/// The commands that change nothing. Was it one?
fn tell(
    cluster: &mut Cluster,
    args: Args<'_>,
    by: Endpoint,
    reply: &mut Reply<'_>,
) -> Result<bool, ErrorKind> {
    let name = args.get(1).unwrap_or_default().to_ascii_uppercase();
    match name.as_slice() {
        b"NODES" => reply.verbatim(*b"txt", cluster.nodes_text().as_bytes()),
        b"INFO" => reply.verbatim(*b"txt", cluster.info_text().as_bytes()),
        b"SLOTS" => cluster.slots_reply(by, reply),
        b"SHARDS" => cluster.shards_reply(by, reply),
        b"GETSLOTMIGRATIONS" => cluster.moves_reply(reply),
        b"LINKS" => cluster.links_reply(reply),
        b"REPLICAS" | b"SLAVES" => {
            let lines = cluster.replicas_of(word(args, 2)?)?;
            reply.array(lines.len());
            lines.iter().for_each(|line| reply.bulk(line.as_bytes()));
        }
        b"COUNT-FAILURE-REPORTS" => {
            let count = cluster.failure_reports(word(args, 2)?)?;
            reply.int(i64::try_from(count).unwrap_or(i64::MAX));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn change(
    cluster: &mut Cluster,
    args: Args<'_>,
    keys: Keys<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorKind> {
    let name = args.get(1).unwrap_or_default().to_ascii_uppercase();
    match name.as_slice() {
        b"MEET" => meet(cluster, args)?,
        b"FORGET" => cluster.forget_node(word(args, 2)?)?,
        b"REPLICATE" => cluster.replicate(word(args, 2)?, keys(None) > 0)?,
        b"FAILOVER" => cluster.fail_over(failover(args)?)?,
        b"ADDSLOTS" => cluster.change_slots(&slots(args)?, true)?,
        b"DELSLOTS" => cluster.change_slots(&slots(args)?, false)?,
        b"ADDSLOTSRANGE" => cluster.change_slots(&slot_ranges(args, "ADDSLOTSRANGE")?, true)?,
        b"DELSLOTSRANGE" => cluster.change_slots(&slot_ranges(args, "DELSLOTSRANGE")?, false)?,
        b"FLUSHSLOTS" => cluster.flush_slots(keys(None) > 0)?,
        b"SETSLOT" => {
            if cluster.is_replica() {
                return Err(ErrorKind::ClusterSetslotReplica);
            }
            let slot = slot(word(args, 2)?)?;
            cluster.set_slot(slot, set_slot(args)?, keys(Some(slot)))?;
        }
        b"BUMPEPOCH" => {
            let (bumped, epoch) = cluster.bump();
            let word = if bumped { "BUMPED" } else { "STILL" };
            reply.simple(format!("{word} {epoch}").as_bytes());
            return Ok(());
        }
        b"SET-CONFIG-EPOCH" => {
            let epoch = parse_i64(word(args, 2)?).ok_or(ErrorKind::NotAnInteger)?;
            cluster.set_config_epoch(epoch)?;
        }
        b"RESET" => {
            let hard = match args.get(2) {
                None => false,
                Some(_) if args.is(2, "HARD") && args.len() == 3 => true,
                Some(_) if args.is(2, "SOFT") && args.len() == 3 => false,
                Some(_) => return Err(ErrorKind::Syntax),
            };
            cluster.reset(hard, keys(None) > 0)?;
        }
        b"SAVECONFIG" => cluster.save(),
        b"MIGRATESLOTS" => cluster.migrate_slots(wishes(args)?)?,
        b"CANCELSLOTMIGRATIONS" => cluster.cancel_moves()?,
        b"SYNCSLOTS" => synchronize(cluster, args, keys)?,
        other => {
            let subcommand = other.into();
            return Err(ErrorKind::UnknownSubcommand { command: "CLUSTER", subcommand });
        }
    }
    reply.ok();
    Ok(())
}

/// Redis checks the number of words before, by the command's arity.
fn word(args: Args<'_>, at: usize) -> Result<&[u8], ErrorKind> {
    args.get(at).ok_or(ErrorKind::Syntax)
}

fn meet(cluster: &mut Cluster, args: Args<'_>) -> Result<(), ErrorKind> {
    let (ip, port) = (word(args, 2)?, word(args, 3)?);
    let number = parse_i64(port).ok_or_else(|| ErrorKind::ClusterBasePort { port: port.into() })?;
    let bus = match args.get(4) {
        None => number.saturating_add(BUS_PORT_OFFSET),
        Some(bus) => {
            parse_i64(bus).ok_or_else(|| ErrorKind::ClusterBusPort { port: bus.into() })?
        }
    };
    cluster.meet(ip, number, bus)
}

fn failover(args: Args<'_>) -> Result<Failover, ErrorKind> {
    match args.len() {
        2 => Ok(Failover::Agreed),
        3 if args.is(2, "FORCE") => Ok(Failover::Force),
        3 if args.is(2, "TAKEOVER") => Ok(Failover::Takeover),
        _ => Err(ErrorKind::Syntax),
    }
}

fn slot(word: &[u8]) -> Result<u16, ErrorKind> {
    let slot = parse_i64(word).and_then(|it| u16::try_from(it).ok());
    slot.filter(|it| *it < SLOTS).ok_or(ErrorKind::ClusterSlot)
}

fn slots(args: Args<'_>) -> Result<Vec<u16>, ErrorKind> {
    args.words().get(2..).unwrap_or_default().iter().map(|word| slot(word)).collect()
}

fn slot_ranges(args: Args<'_>, command: &'static str) -> Result<Vec<u16>, ErrorKind> {
    let words = args.words().get(2..).unwrap_or_default();
    if !words.len().is_multiple_of(2) {
        return Err(ErrorKind::WrongSubcommandArity { command: "CLUSTER", subcommand: command });
    }
    let mut slots = Vec::new();
    for pair in words.chunks(2) {
        let [start, end] = pair else { continue };
        let (start, end) = (slot(start)?, slot(end)?);
        if start > end {
            let (start, end) = (i64::from(start), i64::from(end));
            return Err(ErrorKind::ClusterSlotOrder { start, end });
        }
        // A slot named so often that this grows is refused soon.
        slots.extend(start..=end);
        if slots.len() > usize::from(SLOTS) {
            let slot = slots.first().copied().map_or(0, i64::from);
            return Err(ErrorKind::ClusterSlotTwice { slot });
        }
    }
    Ok(slots)
}

/// `SLOTSRANGE start end [start end ..] NODE id [SLOTSRANGE ..]`
fn wishes(args: Args<'_>) -> Result<Vec<Wish<'_>>, ErrorKind> {
    let (mut wishes, mut at) = (Vec::new(), 2);
    while at < args.len() {
        let (slots, end) = some_ranges(args, at)?;
        if !args.is(end, "NODE") {
            return Err(ErrorKind::Syntax);
        }
        wishes.push(Wish { slots, to: word(args, end + 1)? });
        at = end + 2;
    }
    Ok(wishes)
}

/// `SLOTSRANGE start end [start end ..]` from there, and where it ends.
fn some_ranges(args: Args<'_>, mut at: usize) -> Result<(Slots, usize), ErrorKind> {
    if !args.is(at, "SLOTSRANGE") {
        return Err(ErrorKind::Syntax);
    }
    at += 1;
    let mut slots = Slots::default();
    while args.get(at).is_some_and(|it| parse_i64(it).is_some()) {
        let start = slot(word(args, at)?)?;
        let end = slot(args.get(at + 1).ok_or(ErrorKind::MoveNoEnd)?)?;
        if start > end {
            let (start, end) = (start.into(), end.into());
            return Err(ErrorKind::MoveOrder { start, end });
        }
        if !(start..=end).all(|it| slots.insert(it)) {
            return Err(ErrorKind::MoveOverlap);
        }
        at += 2;
    }
    if slots.is_empty() {
        return Err(ErrorKind::MoveNoRange);
    }
    Ok((slots, at))
}

/// What one node of our make says to another about slots that move.
fn synchronize(cluster: &mut Cluster, args: Args<'_>, keys: Keys<'_>) -> Result<(), ErrorKind> {
    let name = word(args, 3)?;
    let question = match () {
        () if args.is(2, "ESTABLISH") => {
            let (slots, end) = some_ranges(args, 5)?;
            if end != args.len() {
                return Err(ErrorKind::Syntax);
            }
            return cluster.begin_import(name, word(args, 4)?, slots, &|it| keys(Some(it)));
        }
        () if args.is(2, "KEEPALIVE") => Question::KeepAlive,
        () if args.is(2, "FINISH") => Question::Finish,
        () if args.is(2, "FAIL") => Question::Fail,
        () => return Err(ErrorKind::Syntax),
    };
    cluster.import_news(name, question)
}

fn set_slot(args: Args<'_>) -> Result<SetSlot<'_>, ErrorKind> {
    match (args.len(), args.get(4)) {
        (5, Some(id)) if args.is(3, "MIGRATING") => Ok(SetSlot::Migrating(id)),
        (5, Some(id)) if args.is(3, "IMPORTING") => Ok(SetSlot::Importing(id)),
        (5, Some(id)) if args.is(3, "NODE") => Ok(SetSlot::Node(id)),
        (4, None) if args.is(3, "STABLE") => Ok(SetSlot::Stable),
        _ => Err(ErrorKind::ClusterSetslotUsage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::settings::Settings;

    /// `(request, reply)`, as redis-server 7.0.15 answers; `me` is our name.
    #[test]
    fn what_redis_answers() {
        let mut cluster = Cluster::new(Now::default(), 1, Settings::default());
        let transcript = [
            ("MEET 127.0.0.1 x", "-ERR Invalid base port specified: x"),
            ("MEET localhost 1", "-ERR Invalid node address specified: localhost:1"),
            ("MEET 127.0.0.1 60000", "-ERR Invalid node address specified: 127.0.0.1:60000"),
            ("MEET 127.0.0.1 1 x", "-ERR Invalid bus port specified: x"),
            ("FORGET x", "-ERR Unknown node x"),
            ("FORGET me", "-ERR I tried hard but I can't forget myself..."),
            ("REPLICATE me", "-ERR Can't replicate myself"),
            ("REPLICATE stranger", "-ERR Unknown node stranger"),
            ("REPLICAS stranger", "-ERR Unknown node stranger"),
            ("REPLICAS me", "*0"),
            ("FAILOVER", "-ERR You should send CLUSTER FAILOVER to a replica"),
            ("FAILOVER NOW", "-ERR syntax error"),
            ("ADDSLOTS 1 2 16384", "-ERR Invalid or out of range slot"),
            ("ADDSLOTS 1 2 1", "-ERR Slot 1 specified multiple times"),
            ("ADDSLOTS 1 2", "+OK"),
            ("ADDSLOTS 2 3", "-ERR Slot 2 is already busy"),
            (
                "ADDSLOTSRANGE 5",
                "-ERR wrong number of arguments for 'cluster|addslotsrange' command",
            ),
            ("ADDSLOTSRANGE 5 4", "-ERR start slot number 5 is greater than end slot number 4"),
            ("ADDSLOTSRANGE 5 9", "+OK"),
            ("DELSLOTS 4", "-ERR Slot 4 is already unassigned"),
            ("DELSLOTSRANGE 6 7", "+OK"),
            ("SETSLOT 3 MIGRATING me", "-ERR I'm not the owner of hash slot 3"),
            ("SETSLOT 1 MIGRATING stranger", "-ERR I don't know about node stranger"),
            ("SETSLOT 1 IMPORTING me", "-ERR I'm already the owner of hash slot 1"),
            ("SETSLOT 1 NODE stranger", "-ERR Unknown node stranger"),
            (
                "SETSLOT 1 AWAY",
                "-ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
            ),
            ("SETSLOT 3 NODE me", "+OK"),
            ("SETSLOT 1 STABLE", "+OK"),
            ("SET-CONFIG-EPOCH -1", "-ERR Invalid config epoch specified: -1"),
            ("SET-CONFIG-EPOCH 7", "+OK"),
            ("SET-CONFIG-EPOCH 8", "-ERR Node config epoch is already non-zero"),
            ("BUMPEPOCH", "+STILL 7"),
            ("COUNT-FAILURE-REPORTS me", ":0"),
            ("SAVECONFIG", "+OK"),
            ("RESET NOW", "-ERR syntax error"),
            ("FLUSHSLOTS", "+OK"),
            ("RESET HARD", "+OK"),
            ("FORGET me", "-ERR Unknown node me"),
        ];
        play(&mut cluster, &transcript);
    }

    /// As Valkey 9 answers.
    #[test]
    fn what_valkey_answers() {
        let mut cluster = Cluster::new(Now::default(), 1, Settings::default());
        let transcript = [
            ("MIGRATESLOTS SLOTSRANGE 5 x NODE me", "-ERR Invalid or out of range slot"),
            ("MIGRATESLOTS SLOTSRANGE NODE me", "-ERR No slot ranges specified"),
            ("MIGRATESLOTS SLOTSRANGE 5", "-ERR No end slot for final slot range"),
            (
                "MIGRATESLOTS SLOTSRANGE 9 8 NODE me",
                "-ERR Start slot number 9 is greater than end slot number 8.",
            ),
            ("MIGRATESLOTS SLOTSRANGE 8 8 me", "-ERR syntax error"),
            ("MIGRATESLOTS SLOTSRANGE 8 8 NODE", "-ERR syntax error"),
            ("MIGRATESLOTS SLOTSRANGE 10 10 NODE me", "-ERR Slot 10 has no node served."),
            ("CANCELSLOTMIGRATIONS", "-ERR No migrations ongoing"),
            ("GETSLOTMIGRATIONS", "*0"),
            ("ADDSLOTS 1", "+OK"),
            ("MIGRATESLOTS SLOTSRANGE 1 1 NODE me", "-ERR Target node can not be this node"),
            ("MIGRATESLOTS SLOTSRANGE 1 1 NODE stranger", "-ERR Unknown node stranger"),
            ("MIGRATESLOTS SLOTSRANGE 1 1 1 1 NODE me", "-ERR Slot ranges in migrations overlap"),
        ];
        play(&mut cluster, &transcript);
    }

    fn play(cluster: &mut Cluster, transcript: &[(&str, &str)]) {
        let me = cluster.map(Endpoint::Ip).id.unwrap().to_string();
        let stranger = "f".repeat(40);
        for (line, expected) in transcript {
            let named =
                |text: &str| text.replace("stranger", &stranger).replace(" me", &format!(" {me}"));
            let request = Request {
                words: format!("CLUSTER {}", named(line)).split(' ').map(Into::into).collect(),
                proto: Proto::Resp2,
                by: Endpoint::Ip,
            };
            let mut reply = Vec::new();
            request.run(cluster, Now::default(), &|_| 0, &mut Vec::new(), &mut reply);
            assert_eq!(String::from_utf8_lossy(&reply).trim_end(), named(expected), "{line}");
        }
    }
}
