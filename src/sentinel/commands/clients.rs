//! `CLIENT`: who is connected.

use super::connection::is_valid_name;
use super::{is, lossy};
use crate::base::num::parse_i64;
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use crate::sentinel::client::{Client, Then};
use crate::sentinel::machine::Sentinel;
use std::fmt::Write;

type Answer = Result<Then, ErrorKind>;

/// Whether a client is meant.
type Test = Box<dyn Fn(&Client) -> bool>;

/// `CLIENT ID | GETNAME | SETNAME | INFO | LIST | KILL | ...`.
pub(super) fn client(
    this: &mut Sentinel,
    number: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let subcommand = args.get(1).copied().unwrap_or_default();
    let rest = args.get(2..).unwrap_or_default();
    let now = this.now;
    let Some(own) = this.clients.get_mut(&number) else { return Ok(Then::Send) };
    match (lossy(subcommand).to_lowercase().as_str(), rest) {
        ("id", []) => reply.int(i64::try_from(own.id).unwrap_or(i64::MAX)),
        ("getname", []) if own.name.is_empty() => reply.null(),
        ("getname", []) => reply.bulk(&own.name),
        ("setname", [name]) => {
            if !is_valid_name(name) {
                return Err(ErrorKind::ClientName);
            }
            own.name = name.to_vec();
            reply.ok();
        }
        ("setinfo", [option, value]) => {
            if !is(option, "lib-name") && !is(option, "lib-ver") {
                return Err(ErrorKind::ClientOption { option: (*option).into() });
            }
            if !is_valid_name(value) {
                return Err(ErrorKind::ClientAttribute { option: (*option).into() });
            }
            reply.ok();
        }
        ("info", []) => {
            let text = describe(own, now, "client|info");
            reply.verbatim(*b"txt", text.as_bytes());
        }
        ("list", options) => {
            let shown = shown(options)?;
            let mut text = String::new();
            let mut all: Vec<&Client> = this.clients.values().filter(|it| shown(it)).collect();
            all.sort_by_key(|it| it.id);
            for it in all {
                let name =
                    if it.last_command == "CLIENT" { "client|list" } else { it.last_command };
                text.push_str(&describe(it, now, &name.to_lowercase()));
            }
            reply.verbatim(*b"txt", text.as_bytes());
        }
        ("kill", [_, ..]) => return kill(this, number, rest, reply),
        ("reply", [word]) if is(word, "on") => reply.ok(),
        ("no-evict", [word]) if is(word, "on") || is(word, "off") => reply.ok(),
        // Nothing that a Sentinel's client sends is ever held up.
        ("pause", [ms] | [ms, _]) => {
            parse_i64(ms).ok_or(ErrorKind::TimeoutNotAnInteger)?;
            reply.ok();
        }
        ("unpause", []) => reply.ok(),
        ("id", _) => return Err(wrong("id")),
        ("getname", _) => return Err(wrong("getname")),
        ("setname", _) => return Err(wrong("setname")),
        ("setinfo", _) => return Err(wrong("setinfo")),
        ("info", _) => return Err(wrong("info")),
        ("kill", _) => return Err(wrong("kill")),
        ("unpause", _) => return Err(wrong("unpause")),
        ("reply" | "no-evict" | "pause", _) => return Err(ErrorKind::Syntax),
        _ => return Err(ErrorKind::unknown_subcommand("CLIENT", subcommand)),
    }
    Ok(Then::Send)
}

fn wrong(subcommand: &'static str) -> ErrorKind {
    ErrorKind::WrongSubcommandArity { command: "CLIENT", subcommand }
}

/// Who is meant by `TYPE name` or `ID number ..`.
fn shown(options: &[&[u8]]) -> Result<Test, ErrorKind> {
    match options {
        [] => Ok(Box::new(|_| true)),
        [word, name] if is(word, "type") => kind(name),
        [word, ids @ ..] if is(word, "id") && !ids.is_empty() => {
            let ids: Option<Vec<i64>> = ids.iter().map(|it| parse_i64(it)).collect();
            let ids = ids.ok_or(ErrorKind::ClientId)?;
            Ok(Box::new(move |it| i64::try_from(it.id).is_ok_and(|it| ids.contains(&it))))
        }
        _ => Err(ErrorKind::Syntax),
    }
}

fn kind(name: &[u8]) -> Result<Test, ErrorKind> {
    match lossy(name).to_lowercase().as_str() {
        "normal" => Ok(Box::new(|it| it.subscriptions() == 0)),
        "pubsub" => Ok(Box::new(|it| it.subscriptions() > 0)),
        "master" | "replica" | "slave" => Ok(Box::new(|_| false)),
        _ => Err(ErrorKind::ClientType { name: name.into() }),
    }
}

/// `CLIENT KILL address`, or `CLIENT KILL option value ..`, which says how many it were.
fn kill(this: &mut Sentinel, own: u32, args: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    if let [address] = args {
        let address = lossy(address);
        let found = this.clients.iter().find(|(_, it)| it.peer == address);
        let Some((number, _)) = found else { return Err(ErrorKind::NoSuchClient) };
        let number = *number;
        reply.ok();
        return end(this, own, &[number]);
    }
    let mut tests: Vec<Test> = Vec::new();
    let mut skip_me = true;
    for pair in args.chunks(2) {
        let [option, value] = pair else { return Err(ErrorKind::Syntax) };
        let text = lossy(value);
        match lossy(option).to_lowercase().as_str() {
            "id" => {
                let id = parse_i64(value).filter(|it| *it > 0);
                let id = id.ok_or(ErrorKind::ClientIdNotPositive)?;
                tests.push(Box::new(move |it| i64::try_from(it.id) == Ok(id)));
            }
            "addr" => tests.push(Box::new(move |it| it.peer == text)),
            "laddr" => tests.push(Box::new(move |it| it.local == text)),
            "user" => {
                let users = &this.settings.users;
                if text != "default" && !users.iter().any(|(name, _)| *name == text) {
                    return Err(ErrorKind::NoSuchUser { name: (*value).into() });
                }
                tests.push(Box::new(move |it| it.user == text));
            }
            "type" => tests.push(kind(value)?),
            "skipme" => match text.to_lowercase().as_str() {
                "yes" => skip_me = true,
                "no" => skip_me = false,
                _ => return Err(ErrorKind::Syntax),
            },
            _ => return Err(ErrorKind::Syntax),
        }
    }
    let meant = |(number, it): &(&u32, &Client)| {
        (!skip_me || **number != own) && tests.iter().all(|test| test(it))
    };
    let all: Vec<u32> = this.clients.iter().filter(meant).map(|(number, _)| *number).collect();
    reply.int(i64::try_from(all.len()).unwrap_or(i64::MAX));
    end(this, own, &all)
}

/// Closes these; one's own connection after the answer.
fn end(this: &mut Sentinel, own: u32, all: &[u32]) -> Answer {
    all.iter().filter(|it| **it != own).for_each(|it| this.close_client(*it));
    Ok(if all.contains(&own) { Then::Close } else { Then::Send })
}

/// One line of `CLIENT LIST`: what a Sentinel does not count is 0.
fn describe(it: &Client, now: i64, command: &str) -> String {
    let mut text = String::new();
    let flags = if it.subscriptions() > 0 { "P" } else { "N" };
    let proto = if it.proto == Proto::Resp3 { 3 } else { 2 };
    let _ = writeln!(
        text,
        "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={flags} db=0 sub={} psub={} ssub=0 \
         multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 \
         events=r cmd={command} user={} redir=-1 resp={proto}",
        it.id,
        it.peer,
        it.local,
        String::from_utf8_lossy(&it.name),
        (now - it.since) / 1_000,
        (now - it.active) / 1_000,
        it.channels.len(),
        it.patterns.len(),
        it.user,
    );
    text
}
