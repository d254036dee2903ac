//! ACL: users and their rules as commands.
//!
//! What only reads is answered from this core's view. A change is core 0's: all cores stand still while
//! every one of them gets the new users, so that after the answer nobody runs anything by the old rules
//! (`sections.rs`).

use crate::acl::log::Entry;
use crate::acl::password::hex;
use crate::acl::rule::Denied;
use crate::acl::selector::{Request, Selector};
use crate::acl::users::{DEFAULT, Users};
use crate::acl::{file, users};
use crate::base::num::parse_i64;
use crate::base::time::Wall;
use crate::command::args::Args;
use crate::command::docs;
use crate::command::node_rows as rows;
use crate::command::spec::{Categories, Command};
use crate::node::control::{Ask, Control, ControlCx};
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::gather::Summary;
use crate::node::outbox::Level;
use crate::node::texts::Purpose;
use crate::resp::decode::{self, Value};
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use sha2::{Digest, Sha256};
use std::sync::Arc;

pub const COMMANDS: &[Command<NodeFn>] = &[Command::container(rows::ACL, alone, ACL)];

#[rustfmt::skip] // One row, one line.
const ACL: &[Command<NodeFn>] = &[
    Command::new(rows::ACL_CAT,     categories),
    Command::new(rows::ACL_DELUSER, delete),
    Command::new(rows::ACL_DRYRUN,  dry_run),
    Command::new(rows::ACL_GENPASS, generate),
    Command::new(rows::ACL_GETUSER, show),
    Command::new(rows::ACL_HELP,    help),
    Command::new(rows::ACL_LIST,    list),
    Command::new(rows::ACL_LOAD,    load),
    Command::new(rows::ACL_LOG,     log),
    Command::new(rows::ACL_SAVE,    save),
    Command::new(rows::ACL_SETUSER, set),
    Command::new(rows::ACL_USERS,   names),
    Command::new(rows::ACL_WHOAMI,  who_am_i),
];

/// A change of the users, for core 0 to make.
#[derive(Clone, Debug)]
pub enum Change {
    /// A name and its rules.
    Set {
        words: Vec<Vec<u8>>,
    },
    Delete {
        names: Vec<Vec<u8>>,
    },
    /// The text of the file of users.
    Load {
        text: Vec<u8>,
    },
}

/// ACL without a sub-command, which its arity refuses.
fn alone(_: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    Err(ErrorKind::WrongArity { command: "ACL" })
}

fn help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    docs::write_help("ACL", ACL, &mut cx.reply);
    Ok(())
}

fn who_am_i(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let id = cx.session().user;
    match cx.core.view.users.get(id) {
        Some(user) => cx.reply.bulk(&user.name),
        None => cx.reply.null(),
    }
    Ok(())
}

fn names(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let users = &cx.core.view.users;
    cx.reply.array(users.len());
    users.iter().for_each(|user| cx.reply.bulk(&user.name));
    Ok(())
}

fn list(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let lines = cx.core.view.users.lines();
    cx.reply.array(lines.len());
    lines.iter().for_each(|line| cx.reply.bulk(line));
    Ok(())
}

/// `ACL GETUSER name`
fn show(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let reply = &mut cx.reply;
    let Some(user) = cx.core.view.users.named(&args[2]) else {
        reply.null();
        return Ok(());
    };
    reply.map(6);
    reply.bulk(b"flags");
    let flags: Vec<&str> = user.flags().collect();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.passwords().len());
    user.passwords().iter().for_each(|hash| reply.bulk(hash.digits()));
    let (own, others) = user.selectors().split_at(1);
    own.iter().for_each(|selector| show_selector(selector, reply));
    reply.bulk(b"selectors");
    reply.array(others.len());
    for selector in others {
        reply.map(3);
        show_selector(selector, reply);
    }
    Ok(())
}

fn show_selector(selector: &Selector, reply: &mut Reply<'_>) {
    reply.bulk(b"commands");
    reply.bulk(&selector.describe_commands());
    reply.bulk(b"keys");
    reply.bulk(&selector.describe_keys());
    reply.bulk(b"channels");
    reply.bulk(&selector.describe_channels());
}

/// `ACL CAT [category]`
fn categories(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let name = match (args.get(2), args.len()) {
        (None, _) => {
            cx.reply.array(Categories::NAMES.len());
            Categories::NAMES.iter().for_each(|(_, name)| cx.reply.bulk(name.as_bytes()));
            return Ok(());
        }
        (Some(name), 3) => name,
        _ => return Err(ErrorKind::wrong_subcommand("ACL", &args[1])),
    };
    let unknown = || ErrorKind::AclCategory { name: name.into() };
    let wanted = Categories::named(name).ok_or_else(unknown)?;
    let catalog = cx.core.shared.table.catalog();
    let found = catalog.iter().filter(|(_, entry)| entry.categories.has(wanted));
    let names: Vec<&str> = found.map(|(_, entry)| entry.full_name.as_str()).collect();
    cx.reply.array(names.len());
    names.iter().for_each(|name| cx.reply.bulk(name.as_bytes()));
    Ok(())
}

const GENERATED_BITS: i64 = 256;
const GENERATED_BITS_MAX: i64 = 4096;

/// `ACL GENPASS [bits]`: out of the process' secret, which comes from the kernel, and a count.
fn generate(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let bits = match (args.get(2), args.len()) {
        (None, _) => GENERATED_BITS,
        (Some(bits), 3) => parse_i64(bits).ok_or(ErrorKind::NotAnInteger)?,
        _ => return Err(ErrorKind::wrong_subcommand("ACL", &args[1])),
    };
    if !(1..=GENERATED_BITS_MAX).contains(&bits) {
        return Err(ErrorKind::AclPasswordBits);
    }
    let digits = usize::try_from(bits).unwrap_or(0).div_ceil(4);
    let mut password = Vec::with_capacity(digits);
    while password.len() < digits {
        cx.core.generated += 1;
        let mut hash = Sha256::new();
        hash.update(cx.core.shared.host.secret);
        hash.update((cx.core.id as u64).to_le_bytes());
        hash.update(cx.core.generated.to_le_bytes());
        password.extend(hash.finalize().iter().flat_map(|it| [hex(it >> 4), hex(*it)]));
    }
    cx.reply.bulk(&password[..digits]);
    Ok(())
}

/// `ACL DRYRUN user command [argument ...]`
fn dry_run(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let name = &args[2];
    let users = &cx.core.view.users;
    let user = users.named(name).ok_or_else(|| ErrorKind::AclUser { name: name.into() })?;
    let request = args.skip(3);
    let table = cx.core.shared.table;
    let unknown = || ErrorKind::AclCommand { name: request.name().into() };
    let number = table.find(request).ok_or_else(unknown)?;
    let row = table.row(number);
    if !row.spec.arity.accepts(request.len()) {
        return Err(table.wrong_arity(number));
    }
    let refused = match cx.core.may_user_run(user, number, request) {
        Ok(()) => {
            cx.reply.ok();
            return Ok(());
        }
        Err(error) => error,
    };
    let asked = Request { number, args: request };
    let denied = user.check(table.catalog(), asked).err();
    let (what, object): (&str, &[u8]) = match denied {
        Some(Denied::Key(at)) => ("key", request.get(at).unwrap_or_default()),
        Some(Denied::Channel(at)) => ("channel", request.get(at).unwrap_or_default()),
        Some(Denied::Command) => ("command", row.full_name.as_bytes()),
        None => return Err(refused),
    };
    let verb = if what == "command" { "run" } else { "access" };
    let (head, tail) =
        (format!("This user has no permissions to {verb} the '"), format!("' {what}"));
    cx.reply.bulk(&[head.as_bytes(), object, tail.as_bytes()].concat());
    Ok(())
}

/// `ACL SETUSER name [rule ...]`
fn set(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    // A mistake is told without waiting for anybody; core 0 decides by its own users.
    let catalog = cx.core.shared.table.catalog();
    cx.core.view.users.set(catalog, &args[2], args.from(3)).map_err(|error| refused(&error))?;
    let words = args.from(2).map(<[u8]>::to_vec).collect();
    cx.ask(Ask::Users(Change::Set { words }));
    Ok(())
}

fn refused(error: &users::SetError) -> ErrorKind {
    ErrorKind::AclRefused { why: error.to_string().into_bytes().into_boxed_slice() }
}

/// `ACL DELUSER name [name ...]`
fn delete(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if args.from(2).any(|name| name == DEFAULT) {
        return Err(ErrorKind::AclDefaultUser);
    }
    let names = args.from(2).map(<[u8]>::to_vec).collect();
    cx.ask(Ask::Users(Change::Delete { names }));
    Ok(())
}

fn load(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    has_file(cx)?;
    cx.ask(Ask::Text(Purpose::LoadUsers));
    Ok(())
}

fn save(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    has_file(cx)?;
    cx.ask(Ask::Text(Purpose::SaveUsers));
    Ok(())
}

fn has_file(cx: &NodeCx<'_>) -> Result<(), ErrorKind> {
    let none = cx.core.view.settings.aclfile.is_empty();
    if none { Err(ErrorKind::NoAclFile) } else { Ok(()) }
}

/// Entries that `ACL LOG` shows if it is not asked for more.
const LOG_SHOWN: i64 = 10;

/// `ACL LOG [count | RESET]`
fn log(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if args.len() > 3 {
        return Err(ErrorKind::wrong_subcommand("ACL", &args[1]));
    }
    if args.is(2, "RESET") {
        cx.ask_all("acl-log-reset", args, Summary::AllOk);
        return Ok(());
    }
    let count = match args.get(2) {
        Some(count) => parse_i64(count).ok_or(ErrorKind::NotAnInteger)?,
        None => LOG_SHOWN,
    };
    let count = usize::try_from(count).unwrap_or(0);
    cx.ask_all("acl-log", args, Summary::Refusals { count });
    Ok(())
}

pub(super) fn log_reset_part(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    core.refused.clear();
    reply.ok();
}

/// This core's refusals as arrays, the newest first.
pub(super) fn log_part(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    let int = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let entries: Vec<&Entry> = core.refused.iter().collect();
    reply.array(entries.len());
    for entry in entries {
        let Entry { id, count, why, context, object, user, client, created, updated } = entry;
        reply.array(9);
        reply.int(int(*count));
        reply.bulk(why.name().as_bytes());
        reply.bulk(context.name().as_bytes());
        reply.bulk(object);
        reply.bulk(user);
        reply.bulk(client);
        reply.int(int(*id));
        reply.int(int(created.ms()));
        reply.int(int(updated.ms()));
    }
}

/// The refusals of all cores as one log: so many of the newest.
pub(super) fn merge_log(parts: &[&[u8]], count: usize, now: Wall, reply: &mut Reply<'_>) {
    let mut entries: Vec<Vec<Value>> = Vec::new();
    for part in parts {
        if let Ok(Some((Value::Array(items), _))) = decode::decode(part) {
            entries.extend(items.into_iter().filter_map(|item| match item {
                Value::Array(fields) if fields.len() == 9 => Some(fields),
                _ => None,
            }));
        }
    }
    let number = |fields: &[Value], at: usize| match fields.get(at) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    };
    entries.sort_by_key(|fields| std::cmp::Reverse((number(fields, 8), number(fields, 6))));
    entries.truncate(count);
    reply.array(entries.len());
    for fields in entries {
        reply.map(10);
        let names = ["count", "reason", "context", "object", "username"];
        for (at, name) in names.into_iter().enumerate() {
            reply.bulk(name.as_bytes());
            match fields.get(at) {
                Some(Value::Int(number)) => reply.int(*number),
                Some(Value::Bulk(text)) => reply.bulk(text),
                _ => reply.null(),
            }
        }
        reply.bulk(b"age-seconds");
        let age = i64::try_from(now.ms()).unwrap_or(0).saturating_sub(number(&fields, 8)).max(0);
        #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is small")]
        reply.double(age as f64 / 1_000.0);
        reply.bulk(b"client-info");
        match fields.get(5) {
            Some(Value::Bulk(text)) => reply.bulk(text),
            _ => reply.null(),
        }
        for (at, name) in [(6, "entry-id"), (7, "timestamp-created"), (8, "timestamp-last-updated")]
        {
            reply.bulk(name.as_bytes());
            reply.int(number(&fields, at));
        }
    }
}

impl Control {
    /// All cores stand still: makes the change, and says what its client is answered.
    pub(super) fn change_users(&mut self, cx: &mut ControlCx<'_>, change: &Change) -> Vec<u8> {
        let table = cx.core.shared.table;
        let users = &self.view.users;
        let mut answer = Vec::new();
        let mut reply = Reply { out: &mut answer, proto: Proto::Resp2 };
        let changed: Option<Users> = match change {
            Change::Set { words } => {
                let mut words = words.iter().map(Vec::as_slice);
                match users.set(table.catalog(), words.next().unwrap_or_default(), words) {
                    Ok(users) => {
                        reply.ok();
                        Some(users)
                    }
                    Err(error) => {
                        reply.error(&refused(&error));
                        None
                    }
                }
            }
            Change::Delete { names } => {
                let (users, gone) = users.without(names.iter().map(Vec::as_slice));
                reply.int(i64::try_from(gone).unwrap_or(i64::MAX));
                Some(users)
            }
            Change::Load { text } => {
                let name = String::from_utf8_lossy(&self.view.settings.aclfile).into_owned();
                match file::read(table.catalog(), users, &name, text) {
                    Ok(users) => {
                        reply.ok();
                        Some(users)
                    }
                    Err(why) => {
                        cx.log(Level::Warning, why.clone());
                        let why = why.into_bytes().into_boxed_slice();
                        reply.error(&ErrorKind::AclRefused { why });
                        None
                    }
                }
            }
        };
        if let Some(users) = changed {
            self.view.users = Arc::new(users);
            self.show(cx);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::{Node, check};

    /// What a real server answered, on one core and on three.
    #[test]
    fn users_are_made_and_refused_as_in_redis() {
        check(include_str!("../../tests/golden/acl-7.0.15.txt"));
    }

    #[test]
    fn passwords_are_as_long_as_asked_and_never_the_same() {
        let mut node = Node::new(3);
        let mut seen = std::collections::BTreeSet::new();
        for (bits, digits) in [("", 64), (" 1", 1), (" 5", 2), (" 256", 64), (" 4096", 1024)] {
            for core in 0..3 {
                let client = node.connect_on(core);
                let reply = node.send(client, format!("ACL GENPASS{bits}\r\n").as_bytes());
                let text = String::from_utf8(reply).unwrap();
                let password = text.lines().nth(1).unwrap().to_string();
                assert_eq!(password.len(), digits);
                assert!(digits < 64 || seen.insert(password));
            }
        }
    }

    /// Refusals on all cores are one log, the newest first.
    #[test]
    fn refusals_are_logged_whichever_core_they_come_from() {
        for cores in [1, 3] {
            let mut node = Node::new(cores);
            let admin = node.connect();
            let rules = b"ACL SETUSER bob on >secret ~a* &* +@all -@admin\r\n";
            assert_eq!(node.send(admin, rules), b"+OK\r\n");
            let clients: Vec<_> = (0..3).map(|_| node.connect()).collect();
            for (client, request) in clients.iter().zip(["GET x", "CONFIG GET x", "GET x"]) {
                node.send(*client, b"AUTH bob wrong\r\nAUTH bob secret\r\n");
                node.advance(1_000);
                let said = node.send(*client, format!("{request}\r\n").as_bytes());
                assert!(said.starts_with(b"-NOPERM "), "{request}");
            }
            let log = String::from_utf8(node.send(admin, b"ACL LOG 99\r\n")).unwrap();
            let words: Vec<&str> = log.split("\r\n").collect();
            let after = |name: &str| -> Vec<&str> {
                let places = words.iter().enumerate().filter(|(_, word)| **word == name);
                places.map(|(at, _)| words[at + 2]).collect()
            };
            let expected = if cores == 1 { 3 } else { 6 };
            assert_eq!(after("object").len(), expected, "{log}");
            assert_eq!(after("object")[0], "x");
            assert!(after("object").contains(&"config|get"));
            assert!(after("reason").contains(&"auth"));
            assert!(after("username").iter().all(|name| *name == "bob"));
            assert_eq!(node.send(admin, b"ACL LOG RESET\r\n"), b"+OK\r\n");
            assert_eq!(node.send(admin, b"ACL LOG\r\n"), b"*0\r\n");
        }
    }
}
