//! Commands that change what is watched and how. Each change is on disk before it is confirmed.

use super::show::named;
use super::{bulk_number, is, lossy};
use crate::base::glob;
use crate::base::num::parse_i64;
use crate::base::settings::value::parse_bool;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::sentinel::address::Found;
use crate::sentinel::client::Then;
use crate::sentinel::config::is_fit_name;
use crate::sentinel::instance::Id;
use crate::sentinel::machine::{Level, Sentinel};
use crate::sentinel::roster::Refused;
use crate::sentinel::settings::Failures;

type Answer = Result<Then, ErrorKind>;

/// `+OK`, once the state is on disk.
fn ok_when_saved(this: &mut Sentinel, reply: &mut Reply<'_>) -> Answer {
    this.touch();
    reply.ok();
    let mut otherwise = Vec::new();
    ErrorKind::SentinelNotSaved.write_to(&mut otherwise);
    Ok(Then::AfterSave { otherwise })
}

/// `SENTINEL RESET pattern`.
pub(super) fn reset(this: &mut Sentinel, _: u32, args: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    let pattern = args.get(2).copied().unwrap_or_default();
    let matching = this.masters.iter().filter(|(name, _)| glob::matches(pattern, name.as_bytes()));
    let ids: Vec<Id> = matching.map(|(_, id)| *id).collect();
    ids.iter().for_each(|id| this.reset_master(*id, true, true));
    if !ids.is_empty() {
        this.touch();
    }
    reply.int(i64::try_from(ids.len()).unwrap_or(i64::MAX));
    Ok(Then::Send)
}

/// `SENTINEL FAILOVER name [COORDINATED]`.
pub(super) fn failover(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let coordinated = match args.get(3..).unwrap_or_default() {
        [] => false,
        [word] if is(word, "coordinated") => true,
        _ => return Err(super::wrong_arity_of("failover")),
    };
    let id = named(this, args.get(2).copied().unwrap_or_default())?;
    if this.instances.master(id).failover.in_progress() {
        return Err(ErrorKind::SentinelInProgress);
    }
    if this.best_replica(id).is_none() {
        return Err(ErrorKind::SentinelNoGoodReplica);
    }
    let name = this.instances[id].name.clone();
    this.log(Level::Warning, format!("Executing user requested FAILOVER of '{name}'"));
    let manual = this.manual(id, coordinated);
    this.start_failover(id, manual);
    reply.ok();
    Ok(Then::Send)
}

/// `SENTINEL MONITOR name host port quorum`.
pub(super) fn monitor(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let [_, _, name, host, port, quorum] = args else { return Ok(Then::Send) };
    let quorum = parse_i64(quorum).ok_or(ErrorKind::SentinelInvalidQuorum)?;
    let port = parse_i64(port).ok_or(ErrorKind::SentinelInvalidPort)?;
    if quorum <= 0 {
        return Err(ErrorKind::SentinelQuorum);
    }
    let host = lossy(host);
    match this.book.find(&host, this.globals.resolve_hostnames) {
        Found::Ip(_) => {}
        Found::Unknown => return Ok(Then::WaitFor(host)),
        Found::Nothing => return Err(ErrorKind::SentinelAddress),
    }
    if !is_fit_name(name) {
        return Err(ErrorKind::SentinelName);
    }
    let added = this.add_master(&lossy(name), &host, port, quorum);
    let id = added.map_err(|refused| match refused {
        Refused::Duplicate => ErrorKind::SentinelDuplicate,
        Refused::Port => ErrorKind::SentinelPort,
        Refused::Unresolved => ErrorKind::SentinelAddress,
        Refused::TooMany => ErrorKind::SentinelTooMany,
    })?;
    this.event_of(Level::Warning, "+monitor", id, &format!(" quorum {quorum}"));
    ok_when_saved(this, reply)
}

/// `SENTINEL REMOVE name`.
pub(super) fn remove(this: &mut Sentinel, _: u32, args: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    let id = named(this, args.get(2).copied().unwrap_or_default())?;
    this.event_of(Level::Warning, "-monitor", id, "");
    this.remove_master(id);
    ok_when_saved(this, reply)
}

/// `SENTINEL FLUSHCONFIG`.
pub(super) fn flushconfig(
    this: &mut Sentinel,
    _: u32,
    _: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    ok_when_saved(this, reply)
}

/// `SENTINEL SET name option value ..`: options before the first wrong one have taken effect.
pub(super) fn set(this: &mut Sentinel, _: u32, args: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    let id = named(this, args.get(2).copied().unwrap_or_default())?;
    let mut rest = args.get(3..).unwrap_or_default();
    let mut changed = false;
    while let Some((option, values)) = rest.split_first() {
        match set_one(this, id, option, values) {
            Ok((used, secret)) => {
                let shown = values.iter().take(used);
                let shown: Vec<String> =
                    shown.map(|it| if secret { "******".into() } else { lossy(it) }).collect();
                let text = format!(" {} {}", lossy(option), shown.join(" "));
                this.event_of(Level::Warning, "+set", id, &text);
                rest = values.get(used..).unwrap_or_default();
                changed = true;
            }
            Err(error) => {
                if changed {
                    this.touch();
                }
                return Err(error);
            }
        }
    }
    ok_when_saved(this, reply)
}

/// How many values the option took, and whether they are secret.
fn set_one(
    this: &mut Sentinel,
    id: Id,
    option: &[u8],
    values: &[&[u8]],
) -> Result<(usize, bool), ErrorKind> {
    let unknown = || ErrorKind::SentinelSetUnknown { option: option.into() };
    let invalid =
        |value: &[u8]| ErrorKind::SentinelSetInvalid { value: value.into(), option: option.into() };
    let Some((&value, more)) = values.split_first() else { return Err(unknown()) };
    let at_least =
        |least: i64| parse_i64(value).filter(|it| *it >= least).ok_or_else(|| invalid(value));
    let name = lossy(option).to_lowercase();
    // What has no place in a line of a file is no value.
    if values.iter().take(2).any(|it| it.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))) {
        return Err(invalid(value));
    }
    let master = this.instances.master_mut(id);
    match name.as_str() {
        "down-after-milliseconds" => {
            this.instances[id].down_after = at_least(1)?;
            this.spread_down_after(id);
        }
        "failover-timeout" => master.failover_timeout = at_least(1)?,
        "parallel-syncs" => master.parallel_syncs = at_least(1)?,
        "quorum" => master.quorum = at_least(1)?,
        "master-reboot-down-after-period" => master.reboot_down_after = at_least(0)?,
        "notification-script" => {
            let script = script(this, value, ErrorKind::SentinelNotificationScript)?;
            this.instances.master_mut(id).notification_script = script;
        }
        "client-reconfig-script" => {
            let script = script(this, value, ErrorKind::SentinelReconfigScript)?;
            this.instances.master_mut(id).client_reconfig_script = script;
        }
        "auth-pass" => {
            master.auth_pass = value.to_vec();
            reconnect_data_nodes(this, id);
            return Ok((1, true));
        }
        "auth-user" => {
            master.auth_user = value.to_vec();
            reconnect_data_nodes(this, id);
        }
        "rename-command" => {
            let Some(new) = more.first() else { return Err(unknown()) };
            if value.is_empty() || new.is_empty() {
                return Err(invalid(b""));
            }
            let old = lossy(value).to_ascii_uppercase();
            master.renamed.remove(&old);
            if !old.as_bytes().eq_ignore_ascii_case(new) {
                master.renamed.insert(old, lossy(new));
            }
            return Ok((2, false));
        }
        _ => return Err(unknown()),
    }
    Ok((1, false))
}

/// The path of a script, if scripts may be named and this one can be run.
fn script(this: &Sentinel, path: &[u8], error: ErrorKind) -> Result<String, ErrorKind> {
    if this.globals.deny_scripts_reconfig {
        return Err(ErrorKind::SentinelScriptsDenied);
    }
    let path = lossy(path);
    if path.is_empty() || (this.settings.is_executable)(&path) { Ok(path) } else { Err(error) }
}

/// Other credentials are used at once.
fn reconnect_data_nodes(this: &mut Sentinel, id: Id) {
    let replicas: Vec<Id> = this.instances.master(id).replicas.values().copied().collect();
    for it in std::iter::once(id).chain(replicas) {
        this.drop_connections(this.instances[it].link);
    }
}

/// `SENTINEL CONFIG GET pattern` and `SET name value`.
pub(super) fn config(this: &mut Sentinel, _: u32, args: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    match args.get(2..).unwrap_or_default() {
        [get, pattern] if is(get, "get") => config_get(this, pattern, reply),
        [set, name, value] if is(set, "set") => config_set(this, name, value, reply),
        _ => Err(ErrorKind::SentinelConfigUsage),
    }
}

fn config_get(this: &Sentinel, pattern: &[u8], reply: &mut Reply<'_>) -> Answer {
    let yes = |value: bool| if value { b"yes".to_vec() } else { b"no".to_vec() };
    let globals = &this.globals;
    let all = [
        ("resolve-hostnames", yes(globals.resolve_hostnames)),
        ("announce-hostnames", yes(globals.announce_hostnames)),
        ("announce-ip", globals.announce_ip.clone().into_bytes()),
        ("announce-port", globals.announce_port.to_string().into_bytes()),
        ("sentinel-user", globals.sentinel_user.clone()),
        ("sentinel-pass", globals.sentinel_pass.clone()),
    ];
    let matches = |name: &str| glob::matches_ignoring_case(pattern, name.as_bytes());
    let shown: Vec<_> = all.into_iter().filter(|(name, _)| matches(name)).collect();
    reply.map(shown.len());
    for (name, value) in shown {
        reply.bulk(name.as_bytes());
        reply.bulk(&value);
    }
    Ok(Then::Send)
}

fn config_set(this: &mut Sentinel, name: &[u8], value: &[u8], reply: &mut Reply<'_>) -> Answer {
    let invalid = || ErrorKind::SentinelConfigInvalid { value: value.into(), option: name.into() };
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(invalid());
    }
    let globals = &mut this.globals;
    match lossy(name).to_lowercase().as_str() {
        "resolve-hostnames" => globals.resolve_hostnames = parse_bool(value).ok_or_else(invalid)?,
        "announce-hostnames" => {
            globals.announce_hostnames = parse_bool(value).ok_or_else(invalid)?;
        }
        "announce-ip" => globals.announce_ip = lossy(value),
        "announce-port" => {
            let port = parse_i64(value).and_then(|it| u16::try_from(it).ok());
            globals.announce_port = port.ok_or_else(invalid)?;
        }
        "sentinel-user" => {
            globals.sentinel_user = value.to_vec();
            reconnect_sentinels(this);
        }
        "sentinel-pass" => {
            globals.sentinel_pass = value.to_vec();
            reconnect_sentinels(this);
        }
        _ => return Err(ErrorKind::SentinelConfigUnknown { option: name.into() }),
    }
    ok_when_saved(this, reply)
}

fn reconnect_sentinels(this: &mut Sentinel) {
    let links: Vec<_> =
        this.instances.iter().filter(|(_, it)| it.is_sentinel()).map(|(_, it)| it.link).collect();
    links.into_iter().for_each(|link| this.drop_connections(link));
}

/// `SENTINEL SIMULATE-FAILURE [CRASH-AFTER-ELECTION] [CRASH-AFTER-PROMOTION] [HELP]`.
pub(super) fn simulate_failure(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    this.failures = Failures::default();
    for word in args.iter().skip(2) {
        let text = "Failure simulation: this Sentinel will crash after";
        if is(word, "crash-after-election") {
            this.failures.crash_after_election = true;
            let what = "being successfully elected as failover leader";
            this.log(Level::Warning, format!("{text} {what}"));
        } else if is(word, "crash-after-promotion") {
            this.failures.crash_after_promotion = true;
            let what = "promoting the selected replica to master";
            this.log(Level::Warning, format!("{text} {what}"));
        } else if is(word, "help") {
            reply.array(2);
            reply.bulk(b"crash-after-election");
            reply.bulk(b"crash-after-promotion");
            return Ok(Then::Send);
        } else {
            return Err(ErrorKind::SentinelSimulation);
        }
    }
    reply.ok();
    Ok(Then::Send)
}

/// `SENTINEL DEBUG [name value ..]`.
pub(super) fn debug(this: &mut Sentinel, _: u32, args: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    let mut rest = args.get(2..).unwrap_or_default();
    if rest.is_empty() {
        let rows = this.periods.rows();
        reply.map(rows.len());
        for (name, value) in rows {
            reply.bulk(name.as_bytes());
            bulk_number(reply, *value);
        }
        return Ok(Then::Send);
    }
    while let Some((option, values)) = rest.split_first() {
        let rows = this.periods.rows();
        let row = rows.into_iter().find(|(name, _)| is(option, name));
        let (Some((_, place)), Some((value, more))) = (row, values.split_first()) else {
            return Err(ErrorKind::SentinelDebugUnknown { option: (*option).into() });
        };
        let number = parse_i64(value).filter(|it| *it > 0);
        *place = number.ok_or_else(|| ErrorKind::SentinelDebugInvalid {
            value: (*value).into(),
            option: (*option).into(),
        })?;
        rest = more;
    }
    reply.ok();
    Ok(Then::Send)
}
