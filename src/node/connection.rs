//! Commands about the connection that sends them: who it is, which protocol, which database.
//!
//! Not here: users and passwords (`acl/`), what a connection may do before AUTH (the gate in `client.rs`), CLIENT (`clients.rs`).

use crate::acl::log::{Context, Why};
use crate::acl::users::DEFAULT;
use crate::base::num;
use crate::command::args::Args;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::node::cx::{NodeCx, NodeFn};
use crate::node::session::{ReplyMode, valid_name};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Proto;
use std::sync::Arc;

#[rustfmt::skip] // One row, one line.
pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::new(rows::AUTH,   auth),
    Command::new(rows::ECHO,   echo),
    Command::new(rows::HELLO,  hello),
    Command::new(rows::PING,   ping),
    Command::new(rows::QUIT,   quit),
    Command::new(rows::RESET,  reset),
    Command::new(rows::SELECT, select),
];

fn ping(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    // In RESP2 what comes to a client that listens has one shape.
    let listens = cx.session().subscribed && cx.reply.proto == Proto::Resp2;
    match (args.get(1), args.len()) {
        (message, ..=2) if listens => {
            cx.reply.array(2);
            cx.reply.bulk(b"pong");
            cx.reply.bulk(message.unwrap_or_default());
        }
        (None, _) => cx.reply.simple(b"PONG"),
        (Some(message), 2) => cx.reply.bulk(message),
        _ => return Err(ErrorKind::WrongArity { command: "PING" }),
    }
    Ok(())
}

fn echo(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.reply.bulk(args.key());
    Ok(())
}

fn select(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (low, high) = (i64::from(i32::MIN), i64::from(i32::MAX));
    let index = num::parse_i64(args.key()).ok_or(ErrorKind::NotAnInteger)?;
    if !(low..=high).contains(&index) {
        return Err(ErrorKind::NotBetween { low, high });
    }
    if cx.core.view.settings.cluster_enabled && index != 0 {
        return Err(ErrorKind::ClusterSelect);
    }
    let databases = cx.core.keyspace.databases();
    let db = u16::try_from(index).map_err(|_| ErrorKind::DbOutOfRange)?;
    if usize::from(db) >= databases {
        return Err(ErrorKind::DbOutOfRange);
    }
    cx.session().db = db;
    cx.reply.ok();
    Ok(())
}

fn quit(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.reply.ok();
    let conn = cx.conn;
    cx.core.hang_up(conn, cx.out);
    Ok(())
}

/// As if it had just connected, but for its number. Redis 7.0 lets NO-EVICT stand, so it stands.
fn reset(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let conn = cx.conn;
    cx.core.discard(conn);
    cx.core.forget_listener(conn);
    cx.core.forget_watcher(conn);
    cx.core.forget_tracker(conn);
    cx.core.becomes_nobody(conn);
    let session = cx.session();
    session.db = 0;
    session.proto = Proto::Resp2;
    session.reply_mode = ReplyMode::On;
    session.no_touch = false;
    session.asking = false;
    session.reads_replica = false;
    if let Some(rare) = &mut session.rare {
        rare.name.clear();
    }
    cx.reply.simple(b"RESET");
    Ok(())
}

fn auth(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    match args.len() {
        2 if cx.core.view.users.get(0).is_some_and(|user| user.nopass) => {
            return Err(ErrorKind::NoPasswordSet);
        }
        2 => authenticate(cx, DEFAULT, &args[1])?,
        3 => authenticate(cx, &args[1], &args[2])?,
        _ => return Err(ErrorKind::Syntax),
    }
    cx.reply.ok();
    Ok(())
}

/// `HELLO [protover [AUTH user password] [SETNAME name]]`: nothing is done before all is known to
/// be right.
fn hello(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let proto = match args.get(1).map(num::parse_i64) {
        None => cx.session().proto,
        Some(Some(2)) => Proto::Resp2,
        Some(Some(3)) => Proto::Resp3,
        Some(Some(_)) => return Err(ErrorKind::NoProto),
        Some(None) => return Err(ErrorKind::ProtoNotAnInteger),
    };
    let (mut credentials, mut name, mut at) = (None, None, 2);
    while let Some(option) = args.get(at) {
        if let (true, Some(user), Some(password)) =
            (args.is(at, "AUTH"), args.get(at + 1), args.get(at + 2))
        {
            credentials = Some((user, password));
            at += 3;
        } else if let (true, Some(word)) = (args.is(at, "SETNAME"), args.get(at + 1)) {
            if !valid_name(word) {
                return Err(ErrorKind::ClientName);
            }
            name = Some(word);
            at += 2;
        } else {
            return Err(ErrorKind::HelloOption { option: option.into() });
        }
    }
    if let Some((user, password)) = credentials {
        authenticate(cx, user, password)?;
    }
    let session = cx.session();
    if !session.authenticated {
        return Err(ErrorKind::NoAuthHello);
    }
    if let Some(name) = name {
        session.set_name(name);
    }
    session.proto = proto;
    cx.reply.proto = proto;
    greet(cx);
    Ok(())
}

fn greet(cx: &mut NodeCx<'_>) {
    let id = i64::try_from(cx.session().id).unwrap_or(i64::MAX);
    let role: &[u8] = if cx.core.view.is_replica() { b"replica" } else { b"master" };
    let cluster = cx.core.view.settings.cluster_enabled;
    let reply = &mut cx.reply;
    let proto = if reply.proto == Proto::Resp3 { 3 } else { 2 };
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(crate::node::REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.int(proto);
    reply.bulk(b"id");
    reply.int(id);
    reply.bulk(b"mode");
    reply.bulk(if cluster { b"cluster" } else { b"standalone" });
    reply.bulk(b"role");
    reply.bulk(role);
    reply.bulk(b"modules");
    reply.array(0);
}

fn authenticate(cx: &mut NodeCx<'_>, user: &[u8], password: &[u8]) -> Result<(), ErrorKind> {
    let conn = cx.conn;
    let users = Arc::clone(&cx.core.view.users);
    match users.admit(user, password) {
        Some(user) => {
            cx.core.becomes(conn, user);
            Ok(())
        }
        None => {
            let by = cx.session().last_command;
            let object = cx.core.shared.table.row(by).full_name.clone().into_bytes();
            cx.core.log_refusal(conn, Why::Auth, Context::Toplevel, object, user.to_vec());
            Err(ErrorKind::WrongPass)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::{check, check_with};

    #[test]
    fn words_and_databases() {
        check(
            r#"
            a> PING
            a< +PONG
            a> ping "a b"
            a< $3 a b
            a> PING a b
            a< -ERR wrong number of arguments for 'ping' command
            a> ECHO ""
            a< $0
            a> ECHO
            a< -ERR wrong number of arguments for 'echo' command
            a> SELECT 15
            a< +OK
            a> SELECT 16
            a< -ERR DB index is out of range
            a> SELECT -1
            a< -ERR DB index is out of range
            a> SELECT 70000
            a< -ERR DB index is out of range
            a> SELECT abc
            a< -ERR value is not an integer or out of range
            a> SELECT 3000000000
            a< -ERR value is out of range, value must between -2147483648 and 2147483647
            a> SET k in15
            a< +OK
            a> SELECT 0
            a< +OK
            a> GET k
            a< $-1
            "#,
        );
    }

    #[test]
    fn hello_without_a_password() {
        let greeting = |mark: &str, proto: u8| {
            let version = crate::node::REDIS_VERSION;
            format!(
                "{mark} $6 server $5 redis $7 version ${} {version} $5 proto :{proto} $2 id :1 \
                 $4 mode $10 standalone $4 role $6 master $7 modules *0",
                version.len(),
            )
        };
        let (two, three) = (greeting("*14", 2), greeting("%7", 3));
        check(&format!(
            r#"
            a> HELLO
            a< {two}
            a> HELLO 3
            a< {three}
            a> HELLO
            a< {three}
            a> HELLO 4
            a< -NOPROTO unsupported protocol version
            a> HELLO x
            a< -ERR Protocol version is not an integer or out of range
            a> HELLO 3 SETNAME
            a< -ERR Syntax error in HELLO option 'SETNAME'
            a> HELLO 3 SETNAME "a b"
            a< -ERR Client names cannot contain spaces, newlines or special characters.
            a> HELLO 2 AUTH nobody x
            a< -WRONGPASS invalid username-password pair or user is disabled.
            a> HELLO 2 AUTH default x
            a< {two}
            a> HELLO 3 SETNAME bob
            a< {three}
            a> CLIENT GETNAME
            a< $3 bob
            a> HELLO 2 SETNAME ""
            a< {two}
            a> CLIENT GETNAME
            a< $-1
            a> AUTH x
            a< -ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?
            a> AUTH default x
            a< +OK
            a> AUTH a b c
            a< -ERR syntax error
            "#
        ));
    }

    #[test]
    fn a_password_shuts_everything_out() {
        let with = |settings: &mut crate::node::settings::Settings| {
            settings.requirepass.0 = b"s3cret".to_vec();
        };
        check_with(
            with,
            r#"
            a> PING
            a< -NOAUTH Authentication required.
            a> GET k
            a< -NOAUTH Authentication required.
            a> FOO
            a< -NOAUTH Authentication required.
            a> CLIENT NOPE
            a< -NOAUTH Authentication required.
            a> CLIENT
            a< -ERR wrong number of arguments for 'client' command
            a> HELLO 3 SETNAME bob
            a< -NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time
            a> HELLO 3 AUTH default nope SETNAME bob
            a< -WRONGPASS invalid username-password pair or user is disabled.
            a> AUTH nope
            a< -WRONGPASS invalid username-password pair or user is disabled.
            a> AUTH other s3cret
            a< -WRONGPASS invalid username-password pair or user is disabled.
            a>> AUTH no\r\nAUTH s3cret\r\nAUTH no\r\nAUTH default s3cret\r\nPING\r\n
            a< -WRONGPASS invalid username-password pair or user is disabled. +OK -WRONGPASS invalid username-password pair or user is disabled. +OK +PONG
            a> SELECT 3
            a< +OK
            a> CLIENT SETNAME bob
            a< +OK
            a>> HELLO 3 X\r\nCLIENT REPLY OFF\r\nPING\r\nRESET\r\nPING\r\n
            a< -ERR Syntax error in HELLO option 'X' +RESET -NOAUTH Authentication required.
            a> AUTH s3cret
            a< +OK
            a> CLIENT GETNAME
            a< $-1
            a>> PING\r\nQUIT x\r\nPING\r\n
            a< +PONG +OK
            a!
            b> QUIT
            b< +OK
            b!
            "#,
        );
    }
}
