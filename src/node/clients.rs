//! CLIENT: names and modes of the connection that sends it, and what it can do to others.
//!
//! Who lists, kills or unblocks asks all cores; who pauses asks core 0, which tells all.
//!
//! Not here: a line of the list (`client_list.rs`), whom KILL names (`client_kill.rs`), what a pause
//! holds back (`pauses.rs`).

use crate::base::num;
use crate::command::args::Args;
use crate::command::docs;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::node::caching;
use crate::node::client_kill::Filter;
use crate::node::client_list::Shown;
use crate::node::control::Ask;
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::flight::Gathering;
use crate::node::gather::Summary;
use crate::node::message::{Message, Return};
use crate::node::outbox::{Conn, Outbox};
use crate::node::pauses::Scope;
use crate::node::session::{ReplyMode, valid_name};
use crate::resp::decode::{self, Value};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;

pub const COMMANDS: &[Command<NodeFn>] = &[Command::container(rows::CLIENT, alone, CLIENT)];

#[rustfmt::skip] // One row, one line.
const CLIENT: &[Command<NodeFn>] = &[
    Command::new(rows::CLIENT_CACHING,      caching::caching),
    Command::new(rows::CLIENT_GETNAME,      get_name),
    Command::new(rows::CLIENT_GETREDIR,     caching::get_redirection),
    Command::new(rows::CLIENT_HELP,         help),
    Command::new(rows::CLIENT_ID,           id),
    Command::new(rows::CLIENT_INFO,         info),
    Command::new(rows::CLIENT_KILL,         kill),
    Command::new(rows::CLIENT_LIST,         list),
    Command::new(rows::CLIENT_NO_EVICT,     no_evict),
    Command::new(rows::CLIENT_NO_TOUCH,     no_touch),
    Command::new(rows::CLIENT_PAUSE,        pause),
    Command::new(rows::CLIENT_REPLY,        reply_mode),
    Command::new(rows::CLIENT_SETINFO,      set_info),
    Command::new(rows::CLIENT_SETNAME,      set_name),
    Command::new(rows::CLIENT_TRACKING,     caching::tracking),
    Command::new(rows::CLIENT_TRACKINGINFO, caching::tracking_info),
    Command::new(rows::CLIENT_UNBLOCK,      unblock),
    Command::new(rows::CLIENT_UNPAUSE,      unpause),
];

/// CLIENT without a sub-command, which its arity refuses.
fn alone(_: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    Err(ErrorKind::WrongArity { command: "CLIENT" })
}

fn get_name(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    match cx.core.sessions.get(cx.conn).map(|session| session.name()) {
        Some(name) if !name.is_empty() => cx.reply.bulk(name),
        _ => cx.reply.null(),
    }
    Ok(())
}

fn help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    docs::write_help("CLIENT", CLIENT, &mut cx.reply);
    Ok(())
}

fn id(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let id = cx.session().id;
    cx.reply.int(i64::try_from(id).unwrap_or(i64::MAX));
    Ok(())
}

fn info(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let mut line = Vec::new();
    if let Some(session) = cx.core.sessions.get(cx.conn) {
        cx.core.describe(cx.conn, session, &mut line);
    }
    cx.reply.verbatim(*b"txt", &line);
    Ok(())
}

fn list(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let options = args.skip(2);
    let ids = match Shown::parse(options)? {
        Shown::Ids(ids) => ids,
        Shown::All if cx.core.lists_in_pages(cx.conn) => {
            cx.core.begin_list(cx.conn, cx.out)?;
            cx.answer_later();
            return Ok(());
        }
        Shown::All | Shown::Kind(_) => Vec::new(),
    };
    cx.ask_all("client-list", options, Summary::Clients { ids });
    Ok(())
}

fn kill(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let options = args.skip(2);
    let old_form = Filter::parse(options, &cx.core.view.users)?.old_form;
    let killer = cx.session().id.to_string();
    let mut words: Vec<&[u8]> = vec![killer.as_bytes()];
    words.extend(options.iter());
    cx.ask_all("client-kill", Args::new(&words), Summary::Killed { old_form });
    Ok(())
}

fn no_evict(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.session().no_evict = on_or_off(args)?;
    cx.reply.ok();
    Ok(())
}

fn no_touch(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.session().no_touch = on_or_off(args)?;
    cx.reply.ok();
    Ok(())
}

fn on_or_off(args: Args<'_>) -> Result<bool, ErrorKind> {
    match () {
        () if args.is(2, "ON") => Ok(true),
        () if args.is(2, "OFF") => Ok(false),
        () => Err(ErrorKind::Syntax),
    }
}

fn pause(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let scope = match args.len() {
        3 => Scope::All,
        4 if args.is(3, "WRITE") => Scope::Writes,
        4 if args.is(3, "ALL") => Scope::All,
        4 => return Err(ErrorKind::PauseMode),
        _ => return Err(ErrorKind::wrong_subcommand("CLIENT", &args[1])),
    };
    let ms = num::parse_i64(&args[2]).ok_or(ErrorKind::TimeoutNotAnInteger)?;
    let ms = u64::try_from(ms).map_err(|_| ErrorKind::TimeoutNegative)?;
    let end = cx.core.now.mono.plus_ms(ms);
    cx.ask(Ask::Pause(Some((end, scope))));
    Ok(())
}

fn unpause(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask(Ask::Pause(None));
    Ok(())
}

/// Answers only where replies are on afterwards.
fn reply_mode(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let session = cx.session();
    if args.is(2, "ON") {
        session.reply_mode = ReplyMode::On;
        cx.reply.ok();
    } else if args.is(2, "OFF") {
        session.reply_mode = ReplyMode::Off;
    } else if !args.is(2, "SKIP") {
        return Err(ErrorKind::Syntax);
    } else if session.reply_mode != ReplyMode::Off {
        session.reply_mode = ReplyMode::SkipNext;
    }
    Ok(())
}

fn set_name(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if !valid_name(&args[2]) {
        return Err(ErrorKind::ClientName);
    }
    cx.session().set_name(&args[2]);
    cx.reply.ok();
    Ok(())
}

fn set_info(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let option = &args[2];
    if !valid_name(&args[3]) {
        return Err(ErrorKind::ClientAttribute { option: option.into() });
    }
    let rare = cx.session().rare_mut();
    let place = match () {
        () if args.is(2, "LIB-NAME") => &mut rare.lib_name,
        () if args.is(2, "LIB-VER") => &mut rare.lib_ver,
        () => return Err(ErrorKind::ClientOption { option: option.into() }),
    };
    *place = args[3].to_vec();
    cx.reply.ok();
    Ok(())
}

/// Two steps: which core has the client, and then core 0 ends what it waits for.
fn unblock(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let error = match args.len() {
        3 => false,
        4 if args.is(3, "TIMEOUT") => false,
        4 if args.is(3, "ERROR") => true,
        4 => return Err(ErrorKind::UnblockReason),
        _ => return Err(ErrorKind::wrong_subcommand("CLIENT", &args[1])),
    };
    num::parse_i64(&args[2]).ok_or(ErrorKind::NotAnInteger)?;
    let reason: &[u8] = if error { b"ERROR" } else { b"TIMEOUT" };
    cx.ask_all("client-unblock", Args::new(&[&args[2], reason]), Summary::Unblock { error });
    Ok(())
}

/// `[number of a client, reason]`: 1 where it waited for keys and does so no more, `[core, connection,
/// generation]` where it is here, else null.
pub(super) fn unblock_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let id = num::parse_i64(args.name()).and_then(|id| u64::try_from(id).ok());
    let found = core.sessions.iter().find(|(_, session)| Some(session.id) == id);
    match found.map(|(conn, session)| (conn, session.generation)) {
        Some((conn, _)) if core.is_blocked(conn) => {
            core.end_wait(conn, args.is(1, "ERROR").then_some(ErrorKind::Unblocked));
            reply.int(1);
        }
        Some((conn, generation)) => {
            reply.array(3);
            reply.int(i64::try_from(core.id).unwrap_or(i64::MAX));
            reply.int(i64::from(conn.0));
            reply.int(i64::from(generation));
        }
        None => reply.null(),
    }
}

impl Core {
    /// All cores have said whether they have the client to be unblocked: core 0 goes on from here,
    /// and answers `from`. Not where none has it, nor for any other command.
    pub(super) fn goes_on_elsewhere(
        &mut self,
        from: Return,
        gathering: &Gathering,
        out: &mut Outbox,
    ) -> bool {
        if gathering.combine == Summary::Tracking {
            let found = self.redirection_found(from, gathering);
            let mut reply = Vec::new();
            match found {
                Ok(()) => reply.extend_from_slice(b"+OK\r\n"),
                Err(error) => error.write_to(&mut reply),
            }
            self.answer(from.conn, from.generation, from.slot, &reply);
            return true;
        }
        let Summary::Unblock { error } = gathering.combine else {
            self.note_watched(from, gathering);
            return false;
        };
        let found = gathering.parts.iter().flatten().find_map(|part| place(part));
        let Some((core, conn, generation)) = found else { return false };
        let ask = Ask::Unblock { target: Return { core, conn, generation, ..from }, error };
        if self.id == 0 {
            self.with_control(out, |control, cx| control.asked(cx, from, ask));
        } else {
            out.mail[0].push(Message::Ask { from, ask: Box::new(ask) });
        }
        true
    }
}

/// What [`unblock_part`] found.
fn place(part: &[u8]) -> Option<(usize, Conn, u32)> {
    let (Value::Array(items), _) = decode::decode(part).ok()?? else { return None };
    match items.as_slice() {
        [Value::Int(core), Value::Int(conn), Value::Int(generation)] => Some((
            usize::try_from(*core).ok()?,
            Conn(u32::try_from(*conn).ok()?),
            u32::try_from(*generation).ok()?,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{Node, check};
    use crate::replication::acks::Wish;

    #[test]
    fn names_and_modes() {
        check(
            r#"
            a> CLIENT ID
            a< :1
            b> CLIENT ID
            b< :2
            a> CLIENT ID x
            a< -ERR wrong number of arguments for 'client|id' command
            a> CLIENT
            a< -ERR wrong number of arguments for 'client' command
            a> CLIENT FOO
            a< -ERR unknown subcommand 'FOO'. Try CLIENT HELP.
            a> CLIENT GETNAME
            a< $-1
            a> CLIENT SETNAME "a b"
            a< -ERR Client names cannot contain spaces, newlines or special characters.
            a> CLIENT SETNAME "a\x7f"
            a< -ERR Client names cannot contain spaces, newlines or special characters.
            a> CLIENT SETNAME bob~!
            a< +OK
            a> CLIENT GETNAME
            a< $5 bob~!
            a> CLIENT SETNAME ""
            a< +OK
            a> CLIENT GETNAME
            a< $-1
            a> CLIENT SETINFO lib-Name "x y"
            a< -ERR lib-Name cannot contain spaces, newlines or special characters.
            a> CLIENT SETINFO foo x
            a< -ERR Unrecognized option 'foo'
            a> CLIENT NO-EVICT foo
            a< -ERR syntax error
            a> CLIENT NO-EVICT off
            a< +OK
            a> CLIENT NO-TOUCH on
            a< +OK
            a> CLIENT GETREDIR
            a< :-1
            a> CLIENT TRACKINGINFO
            a< *6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0
            "#,
        );
    }

    #[test]
    fn replies_can_be_off() {
        check(
            r#"
            a> CLIENT REPLY foo
            a< -ERR syntax error
            a>> CLIENT REPLY SKIP\r\nPING a\r\nPING b\r\n
            a< $1 b
            a>> CLIENT REPLY OFF\r\nPING\r\nSET k v\r\nGET k\r\nFOO\r\nCLIENT REPLY SKIP\r\nCLIENT LIST\r\nPING\r\n
            a> CLIENT REPLY ON
            a< +OK
            a>> CLIENT REPLY SKIP\r\nGET k\r\nGET k\r\n
            a< $1 v
            a>> CLIENT REPLY SKIP\r\nCLIENT LIST\r\nPING\r\n
            a< +PONG
            "#,
        );
    }

    #[test]
    fn a_pause_holds_and_ends_by_itself_or_by_unpause() {
        check(
            r#"
            a> CLIENT PAUSE x
            a< -ERR timeout is not an integer or out of range
            a> CLIENT PAUSE -1
            a< -ERR timeout is negative
            a> CLIENT PAUSE x FOO
            a< -ERR CLIENT PAUSE mode must be WRITE or ALL
            a> CLIENT PAUSE 1 ALL X
            a< -ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.
            a> CLIENT PAUSE 1000 WRITE
            a< +OK
            b> GET k
            b< $-1
            b> SET k v
            c> GET k
            c< $-1
            +900ms
            b<
            +300ms
            b< +OK
            c> GET k
            c< $1 v
            a> CLIENT PAUSE 1000000
            a< +OK
            b> PING
            c>> GET k\r\nPING\r\n
            +900ms
            b<
            a> CLIENT UNPAUSE
            a< +OK
            b< +PONG
            c< $1 v +PONG
            "#,
        );
    }

    #[test]
    fn whoever_waits_on_any_core_is_unblocked_from_any_core() {
        for cores in [1, 3] {
            for (blocked_on, unblocked_on) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)] {
                let mut node = Node::new(cores);
                let waits = node.connect_on(blocked_on % cores);
                let other = node.connect_on(unblocked_on % cores);
                for (words, reply, left) in [
                    ("CLIENT UNBLOCK 1 ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK", 1),
                    ("CLIENT UNBLOCK 1 TIMEOUT", ":0", 1),
                    ("CLIENT UNBLOCK 1", ":0", 1),
                ] {
                    node.ask(waits, Ask::Wait { wish: Wish::Replicas(1), timeout_ms: 0 });
                    assert_eq!(node.send(waits, b"PING\r\n"), b"");
                    let line = format!("{words}\r\n");
                    assert_eq!(
                        node.send(other, line.as_bytes()),
                        format!(":{left}\r\n").as_bytes()
                    );
                    let expected = format!("{reply}\r\n+PONG\r\n");
                    assert_eq!(node.take(waits), expected.as_bytes(), "{words}");
                    assert_eq!(node.send(other, line.as_bytes()), b":0\r\n");
                }
            }
        }
    }

    #[test]
    fn reads_of_who_does_not_touch_leave_the_clock_of_a_key_alone() {
        check(
            r#"
            a> MSET k v l v m v
            a< +OK
            +1000000ms
            b> CLIENT NO-TOUCH on
            b< +OK
            b> MGET k l m
            b< *3 $1 v $1 v $1 v
            b> GET k
            b< $1 v
            a> OBJECT IDLETIME k
            a< :1000
            a> OBJECT IDLETIME l
            a< :1000
            b> TOUCH k
            b< :1
            a> OBJECT IDLETIME k
            a< :0
            c> GET l
            c< $1 v
            a> OBJECT IDLETIME l
            a< :0
            b> RESET
            b< +RESET
            b> GET m
            b< $1 v
            a> OBJECT IDLETIME m
            a< :0
            "#,
        );
    }

    #[test]
    fn unblock_refuses_what_it_cannot_read() {
        check(
            r#"
            a> CLIENT UNBLOCK abc
            a< -ERR value is not an integer or out of range
            a> CLIENT UNBLOCK abc FOO
            a< -ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR
            a> CLIENT UNBLOCK 1 ERROR x
            a< -ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.
            a> CLIENT UNBLOCK -1
            a< :0
            a> CLIENT UNBLOCK 99 ERROR
            a< :0
            "#,
        );
    }
}
