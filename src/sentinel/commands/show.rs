//! Commands that tell: of masters, replicas and Sentinels, and the vote that another Sentinel asks for.

use super::{bulk_number, lossy};
use crate::base::num::parse_i64;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::sentinel::client::Then;
use crate::sentinel::instance::{Id, Instance, Kind, Manual, Reconf};
use crate::sentinel::machine::Sentinel;
use crate::sentinel::scripts::State;

type Answer = Result<Then, ErrorKind>;

/// The master of this name.
pub(super) fn named(this: &Sentinel, name: &[u8]) -> Result<Id, ErrorKind> {
    let name = str::from_utf8(name).ok();
    name.and_then(|it| this.masters.get(it)).copied().ok_or(ErrorKind::SentinelNoMaster)
}

/// `ROLE`.
pub(super) fn role(this: &mut Sentinel, _: u32, _: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    reply.array(2);
    reply.bulk(b"sentinel");
    reply.array(this.masters.len());
    this.masters.keys().for_each(|name| reply.bulk(name.as_bytes()));
    Ok(Then::Send)
}

/// `SENTINEL MASTERS`.
pub(super) fn masters(this: &mut Sentinel, _: u32, _: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    reply.array(this.masters.len());
    this.masters.values().for_each(|id| show(this, *id, reply));
    Ok(Then::Send)
}

/// `SENTINEL MASTER name`.
pub(super) fn master(this: &mut Sentinel, _: u32, args: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    let id = named(this, args.get(2).unwrap_or(&&b""[..]))?;
    show(this, id, reply);
    Ok(Then::Send)
}

/// `SENTINEL REPLICAS name`: those that want to be known.
pub(super) fn replicas(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let id = named(this, args.get(2).unwrap_or(&&b""[..]))?;
    let announced = |it: &&Id| this.instances[**it].replica().is_some_and(|it| it.announced);
    let all: Vec<Id> =
        this.instances.master(id).replicas.values().filter(announced).copied().collect();
    reply.array(all.len());
    all.iter().for_each(|it| show(this, *it, reply));
    Ok(Then::Send)
}

/// `SENTINEL SENTINELS name`: the others.
pub(super) fn sentinels(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let id = named(this, args.get(2).unwrap_or(&&b""[..]))?;
    let all = &this.instances.master(id).sentinels;
    reply.array(all.len());
    all.values().for_each(|it| show(this, *it, reply));
    Ok(Then::Send)
}

/// `SENTINEL GET-MASTER-ADDR-BY-NAME name`.
pub(super) fn address_of(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    match named(this, args.get(2).unwrap_or(&&b""[..])) {
        Err(_) => reply.null_array(),
        Ok(id) => {
            let address = this.current_address(id);
            reply.array(2);
            reply.bulk(address.shown(this.globals.announce_hostnames).as_bytes());
            bulk_number(reply, address.port.into());
        }
    }
    Ok(Then::Send)
}

/// `SENTINEL IS-MASTER-DOWN-BY-ADDR ip port epoch id|*`: whether it is down in our eyes and, where an id
/// is given, for whom we vote. A vote leaves when it is on disk, or not at all.
pub(super) fn is_down(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let [_, _, host, port, epoch, candidate] = args else { return Ok(Then::Send) };
    let port = parse_i64(port).ok_or(ErrorKind::NotAnInteger)?;
    let epoch = parse_i64(epoch).ok_or(ErrorKind::NotAnInteger)?;
    let id = this.master_at(&lossy(host), port);
    let down = id.is_some_and(|id| this.instances[id].s_down && this.tilt_since.is_none());
    let candidate = lossy(candidate);
    let (mut leader, mut leader_epoch) = (None, 0);
    if let Some(id) = id
        && candidate != "*"
    {
        // Only those who are known here to watch this master can be voted for.
        let known = this.instances.master(id).sentinels.contains_key(&candidate);
        let epoch = u64::try_from(epoch).unwrap_or(0);
        (leader, leader_epoch) = if known {
            this.vote(id, epoch, &candidate)
        } else {
            let master = this.instances.master(id);
            (master.leader.clone(), master.leader_epoch)
        };
    }
    let mut otherwise = Vec::new();
    let mut without = Reply { out: &mut otherwise, proto: reply.proto };
    write_vote(&mut without, down, None, 0);
    write_vote(reply, down, leader.as_deref(), leader_epoch);
    Ok(if leader.is_some() { Then::AfterSave { otherwise } } else { Then::Send })
}

fn write_vote(reply: &mut Reply<'_>, down: bool, leader: Option<&str>, epoch: u64) {
    reply.array(3);
    reply.int(i64::from(down));
    reply.bulk(leader.unwrap_or("*").as_bytes());
    reply.int(i64::try_from(epoch).unwrap_or(i64::MAX));
}

/// `SENTINEL MYID`.
pub(super) fn myid(this: &mut Sentinel, _: u32, _: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    reply.bulk(this.myid.as_bytes());
    Ok(Then::Send)
}

/// `SENTINEL CKQUORUM name`: whether enough Sentinels answer for a failover.
pub(super) fn ckquorum(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let id = named(this, args.get(2).unwrap_or(&&b""[..]))?;
    let master = this.instances.master(id);
    let voters = master.sentinels.len() + 1;
    let usable = 1 + master.sentinels.values().filter(|it| !this.instances[**it].s_down).count();
    let count = i64::try_from(usable).unwrap_or(i64::MAX);
    let why = match (count < master.quorum, usable < voters / 2 + 1) {
        (false, false) => {
            let text = format!(
                "OK {usable} usable Sentinels. Quorum and failover authorization can be reached"
            );
            reply.simple(text.as_bytes());
            return Ok(Then::Send);
        }
        (true, false) => NO_QUORUM,
        (false, true) => NO_MAJORITY,
        (true, true) => NEITHER,
    };
    Err(ErrorKind::SentinelNoQuorum { usable: count, why })
}

const NO_QUORUM: &str =
    "Not enough available Sentinels to reach the specified quorum for this master";
const NO_MAJORITY: &str =
    "Not enough available Sentinels to reach the majority and authorize a failover";
const NEITHER: &str = "Not enough available Sentinels to reach the specified quorum for this master. \
     Not enough available Sentinels to reach the majority and authorize a failover";

/// `SENTINEL INFO-CACHE name ..`: the last INFO of masters and their replicas.
pub(super) fn info_cache(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let mut ids = Vec::new();
    for id in args.iter().skip(2).filter_map(|name| named(this, name).ok()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    reply.array(ids.len() * 2);
    for id in ids {
        reply.bulk(this.instances[id].name.as_bytes());
        let replicas = &this.instances.master(id).replicas;
        reply.array(replicas.len() + 1);
        for it in std::iter::once(&id).chain(replicas.values()) {
            let instance = &this.instances[*it];
            let seen = instance.info_refresh != 0;
            reply.array(2);
            reply.int(if seen { this.now - instance.info_refresh } else { 0 });
            if seen { reply.bulk(&instance.info) } else { reply.null() }
        }
    }
    Ok(Then::Send)
}

/// `SENTINEL PENDING-SCRIPTS`.
pub(super) fn pending_scripts(
    this: &mut Sentinel,
    _: u32,
    _: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    reply.array(this.scripts.jobs.len());
    for job in &this.scripts.jobs {
        let (flags, pid, clock, time) = match job.state {
            State::Running { since, pid, .. } => ("running", pid, "run-time", this.now - since),
            State::Scheduled { at } => ("scheduled", 0, "run-delay", (at - this.now).max(0)),
        };
        reply.map(5);
        reply.bulk(b"argv");
        reply.array(job.argv.len());
        job.argv.iter().for_each(|it| reply.bulk(it.as_bytes()));
        reply.bulk(b"flags");
        reply.bulk(flags.as_bytes());
        reply.bulk(b"pid");
        bulk_number(reply, pid.into());
        reply.bulk(clock.as_bytes());
        bulk_number(reply, time);
        reply.bulk(b"retry-num");
        bulk_number(reply, job.tries.into());
    }
    Ok(Then::Send)
}

/// One instance as a map of strings: fields and order are Redis'.
fn show(this: &Sentinel, id: Id, reply: &mut Reply<'_>) {
    let fields = fields(this, id);
    reply.map(fields.len());
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

type Field = (&'static str, String);

fn fields(this: &Sentinel, id: Id) -> Vec<Field> {
    let (it, link, now) = (&this.instances[id], this.link(id), this.now);
    let number = |number: i64| number.to_string();
    let announce = this.globals.announce_hostnames;
    let mut fields = vec![
        ("name", it.name.clone()),
        ("ip", it.address.shown(announce).to_string()),
        ("port", it.address.port.to_string()),
        ("runid", it.run_id.clone().unwrap_or_default()),
        ("flags", flags(this, id)),
        ("link-pending-commands", link.pending().to_string()),
        ("link-refcount", link.users.to_string()),
    ];
    if let Kind::Master(master) = &it.kind
        && master.failover.in_progress()
    {
        fields.push(("failover-state", master.failover.word().to_string()));
    }
    let pending = link.ping_pending_since;
    fields.extend([
        ("last-ping-sent", number(if pending == 0 { 0 } else { now - pending })),
        ("last-ok-ping-reply", number(now - link.last_available)),
        ("last-ping-reply", number(now - link.last_pong)),
    ]);
    if it.s_down {
        fields.push(("s-down-time", number(now - it.s_down_since)));
    }
    if let Kind::Master(master) = &it.kind
        && master.o_down
    {
        fields.push(("o-down-time", number(now - master.o_down_since)));
    }
    fields.push(("down-after-milliseconds", number(it.down_after)));
    if !it.is_sentinel() {
        let refreshed = if it.info_refresh == 0 { 0 } else { now - it.info_refresh };
        fields.extend([
            ("info-refresh", number(refreshed)),
            ("role-reported", it.role_reported.word().to_string()),
            ("role-reported-time", number(now - it.role_reported_at)),
        ]);
    }
    more_fields(it, now, &mut fields);
    fields
}

/// What only one kind has.
fn more_fields(it: &Instance, now: i64, fields: &mut Vec<Field>) {
    match &it.kind {
        Kind::Master(master) => {
            fields.extend([
                ("config-epoch", master.config_epoch.to_string()),
                ("num-slaves", master.replicas.len().to_string()),
                ("num-other-sentinels", master.sentinels.len().to_string()),
                ("quorum", master.quorum.to_string()),
                ("failover-timeout", master.failover_timeout.to_string()),
                ("parallel-syncs", master.parallel_syncs.to_string()),
            ]);
            for (name, script) in [
                ("notification-script", &master.notification_script),
                ("client-reconfig-script", &master.client_reconfig_script),
            ] {
                if !script.is_empty() {
                    fields.push((name, script.clone()));
                }
            }
        }
        Kind::Replica(replica) => fields.extend([
            ("master-link-down-time", replica.link_down_for.to_string()),
            ("master-link-status", if replica.link_up { "ok" } else { "err" }.to_string()),
            ("master-host", replica.master_host.clone().unwrap_or_else(|| "?".into())),
            ("master-port", replica.master_port.to_string()),
            ("slave-priority", replica.priority.to_string()),
            ("slave-repl-offset", replica.offset.to_string()),
            ("replica-announced", i32::from(replica.announced).to_string()),
        ]),
        Kind::Sentinel(peer) => fields.extend([
            ("last-hello-message", (now - peer.last_hello).to_string()),
            ("voted-leader", peer.leader.clone().unwrap_or_else(|| "?".into())),
            ("voted-leader-epoch", peer.leader_epoch.to_string()),
        ]),
    }
}

fn flags(this: &Sentinel, id: Id) -> String {
    let it = &this.instances[id];
    let group = this.instances.master(it.master);
    let own = match &it.kind {
        Kind::Master(master) => Some(&**master),
        Kind::Replica(_) | Kind::Sentinel(_) => None,
    };
    let reconf = it.replica().map(|it| it.reconf);
    let table = [
        (it.s_down, "s_down"),
        (own.is_some_and(|it| it.o_down), "o_down"),
        (true, it.word()),
        (this.link(id).disconnected, "disconnected"),
        (it.peer().is_some_and(|it| it.says_down), "master_down"),
        (own.is_some_and(|it| it.failover.in_progress()), "failover_in_progress"),
        (group.failover.promoted() == Some(id), "promoted"),
        (matches!(reconf, Some(Reconf::Sent { .. })), "reconf_sent"),
        (reconf == Some(Reconf::InProgress), "reconf_inprog"),
        (reconf == Some(Reconf::Done), "reconf_done"),
        (own.is_some_and(|it| it.failover.manual() != Manual::No), "force_failover"),
        (it.script_kill_sent, "script_kill_sent"),
    ];
    let set: Vec<&str> = table.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    set.join(",")
}
