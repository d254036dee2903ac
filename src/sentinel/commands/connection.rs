//! Commands about one's own connection: who one is, what one listens to, and the end.

use super::{is, lossy};
use crate::base::num::parse_i64;
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use crate::sentinel::client::{Client, Then};
use crate::sentinel::hello::CHANNEL;
use crate::sentinel::learn::How;
use crate::sentinel::machine::{Level, Output, Sentinel};

type Answer = Result<Then, ErrorKind>;

/// `PING [message]`; one that listens is answered with a message.
pub(super) fn ping(
    this: &mut Sentinel,
    client: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    if args.len() > 2 {
        return Err(ErrorKind::WrongArity { command: "PING" });
    }
    let message = args.get(1);
    if this.clients.get(&client).is_some_and(Client::listens) {
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(message.copied().unwrap_or_default());
    } else if let Some(message) = message {
        reply.bulk(message);
    } else {
        reply.simple(b"PONG");
    }
    Ok(Then::Send)
}

/// `PUBLISH`: only hello messages of other Sentinels.
pub(super) fn publish(
    this: &mut Sentinel,
    _: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let [_, channel, text] = args else { return Ok(Then::Send) };
    if *channel != CHANNEL {
        return Err(ErrorKind::SentinelHelloOnly);
    }
    this.heard(text, How::Direct);
    reply.int(1);
    Ok(Then::Send)
}

pub(super) fn subscribe(
    this: &mut Sentinel,
    client: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    listen(this, client, args, reply, b"subscribe", |it| &mut it.channels)
}

pub(super) fn psubscribe(
    this: &mut Sentinel,
    client: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    listen(this, client, args, reply, b"psubscribe", |it| &mut it.patterns)
}

pub(super) fn unsubscribe(
    this: &mut Sentinel,
    client: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    leave(this, client, args, reply, b"unsubscribe", |it| &mut it.channels)
}

pub(super) fn punsubscribe(
    this: &mut Sentinel,
    client: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    leave(this, client, args, reply, b"punsubscribe", |it| &mut it.patterns)
}

type Names = std::collections::BTreeSet<Vec<u8>>;

fn listen(
    this: &mut Sentinel,
    client: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
    kind: &[u8],
    names: fn(&mut Client) -> &mut Names,
) -> Answer {
    let Some(client) = this.clients.get_mut(&client) else { return Ok(Then::Send) };
    for name in args.iter().skip(1) {
        names(client).insert(name.to_vec());
        confirm(reply, kind, Some(name), client.subscriptions());
    }
    Ok(Then::Send)
}

fn leave(
    this: &mut Sentinel,
    client: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
    kind: &[u8],
    names: fn(&mut Client) -> &mut Names,
) -> Answer {
    let Some(client) = this.clients.get_mut(&client) else { return Ok(Then::Send) };
    let given: Vec<Vec<u8>> = match args.get(1..) {
        Some(given @ [_, ..]) => given.iter().map(|it| it.to_vec()).collect(),
        _ => names(client).iter().cloned().collect(),
    };
    for name in &given {
        names(client).remove(name);
        confirm(reply, kind, Some(name), client.subscriptions());
    }
    if given.is_empty() {
        confirm(reply, kind, None, client.subscriptions());
    }
    Ok(Then::Send)
}

fn confirm(reply: &mut Reply<'_>, kind: &[u8], name: Option<&[u8]>, count: usize) {
    reply.push(3);
    reply.bulk(kind);
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.int(i64::try_from(count).unwrap_or(i64::MAX));
}

/// `AUTH [user] password`.
pub(super) fn auth(
    this: &mut Sentinel,
    client: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    match args {
        [_, _] if this.settings.requirepass.is_empty() => return Err(ErrorKind::NoPasswordSet),
        [_, password] => authenticate(this, client, b"default", password)?,
        [_, user, password] => authenticate(this, client, user, password)?,
        _ => return Err(ErrorKind::Syntax),
    }
    reply.ok();
    Ok(Then::Send)
}

fn authenticate(
    this: &mut Sentinel,
    client: u32,
    user: &[u8],
    password: &[u8],
) -> Result<(), ErrorKind> {
    let required = &this.settings.requirepass;
    let fits = if user == b"default" {
        required.is_empty() || is_same_secret(required, password)
    } else {
        // All are compared, so that the time taken does not tell which users there are.
        let matches = |(name, secret): &(String, Vec<u8>)| {
            is_same_secret(secret, password) & (name.as_bytes() == user)
        };
        this.settings.users.iter().filter(|it| matches(it)).count() > 0
    };
    if !fits {
        return Err(ErrorKind::WrongPass);
    }
    if let Some(client) = this.clients.get_mut(&client) {
        client.authenticated = true;
        client.user = lossy(user);
    }
    Ok(())
}

/// Looks at every byte, whether an earlier one differs or not.
fn is_same_secret(secret: &[u8], given: &[u8]) -> bool {
    let mut difference = u8::from(secret.len() != given.len());
    for (index, byte) in given.iter().enumerate() {
        difference |= byte ^ secret.get(index).copied().unwrap_or(!byte);
    }
    difference == 0
}

/// `HELLO [proto [AUTH user password] [SETNAME name]]`.
pub(super) fn hello(
    this: &mut Sentinel,
    number: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let mut proto = reply.proto;
    if let Some(version) = args.get(1) {
        proto = match parse_i64(version) {
            Some(2) => Proto::Resp2,
            Some(3) => Proto::Resp3,
            Some(_) => return Err(ErrorKind::NoProto),
            None => return Err(ErrorKind::ProtoNotAnInteger),
        };
    }
    let mut rest = args.get(2..).unwrap_or_default();
    let (mut credentials, mut name) = (None, None);
    while let [option, more @ ..] = rest {
        rest = match more {
            [user, password, more @ ..] if is(option, "AUTH") => {
                credentials = Some((*user, *password));
                more
            }
            [word, more @ ..] if is(option, "SETNAME") => {
                if !is_valid_name(word) {
                    return Err(ErrorKind::ClientName);
                }
                name = Some(*word);
                more
            }
            _ => return Err(ErrorKind::HelloOption { option: (*option).into() }),
        };
    }
    if let Some((user, password)) = credentials {
        authenticate(this, number, user, password)?;
    }
    let version = this.settings.facts.version.clone();
    let Some(client) = this.clients.get_mut(&number) else { return Ok(Then::Send) };
    if !client.authenticated {
        return Err(ErrorKind::NoAuthHello);
    }
    if let Some(name) = name {
        client.name = name.to_vec();
    }
    client.proto = proto;
    reply.proto = proto;
    reply.map(6);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(version.as_bytes());
    reply.bulk(b"proto");
    reply.int(if proto == Proto::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.int(i64::try_from(client.id).unwrap_or(i64::MAX));
    reply.bulk(b"mode");
    reply.bulk(b"sentinel");
    reply.bulk(b"modules");
    reply.array(0);
    Ok(Then::Send)
}

/// Printable, without spaces.
pub(super) fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

/// `SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE]`.
pub(super) fn shutdown(this: &mut Sentinel, _: u32, args: &[&[u8]], _: &mut Reply<'_>) -> Answer {
    let known = ["nosave", "save", "now", "force"];
    if args.iter().skip(1).any(|it| !known.iter().any(|word| is(it, word))) {
        return Err(ErrorKind::Syntax);
    }
    this.log(Level::Warning, "User requested shutdown...".into());
    this.out.push(Output::Exit { code: 0 });
    Ok(Then::Send)
}

/// `ACL WHOAMI`, `USERS` and `LIST`: who there is. Users are named in the configuration.
pub(super) fn acl(
    this: &mut Sentinel,
    client: u32,
    args: &[&[u8]],
    reply: &mut Reply<'_>,
) -> Answer {
    let subcommand = args.get(1).copied().unwrap_or_default();
    let mut names: Vec<String> = this.settings.users.iter().map(|(name, _)| name.clone()).collect();
    names.push("default".into());
    names.sort();
    names.dedup();
    match (lossy(subcommand).to_lowercase().as_str(), args.len()) {
        ("whoami", 2) => {
            let user = this.clients.get(&client).map(|it| it.user.clone()).unwrap_or_default();
            reply.bulk(user.as_bytes());
        }
        ("users", 2) => {
            reply.array(names.len());
            names.iter().for_each(|it| reply.bulk(it.as_bytes()));
        }
        ("list", 2) => {
            reply.array(names.len());
            for name in names {
                let open = name == "default" && this.settings.requirepass.is_empty();
                let pass = if open { "nopass" } else { "#(hidden)" };
                reply.bulk(format!("user {name} on {pass} ~* &* +@all").as_bytes());
            }
        }
        ("whoami", _) => return Err(wrong("whoami")),
        ("users", _) => return Err(wrong("users")),
        ("list", _) => return Err(wrong("list")),
        _ => return Err(ErrorKind::unknown_subcommand("ACL", subcommand)),
    }
    Ok(Then::Send)
}

fn wrong(subcommand: &'static str) -> ErrorKind {
    ErrorKind::WrongSubcommandArity { command: "ACL", subcommand }
}
