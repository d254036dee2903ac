//! FUNCTION: libraries on all cores, in the stream, and as payloads.
//!
//! What changes libraries happens in a section: at one instant on all cores, and once in the stream. Core 0
//! tries first; where it refuses, nobody does anything. Every core runs a library's text for itself, for
//! compiled functions belong to an interpreter.
//!
//! Files and full syncs carry the texts; core 0 has them like every other core.

use crate::base::glob;
use crate::command::args::Args;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::node::control::{Ask, Op};
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn};
use crate::node::scripts::script_error;
use crate::resp::error::ErrorKind;
use crate::script::library::Restore;
use crate::snapshot::decode::{self, Decoder, Event};
use crate::snapshot::{commands, encode, format, payload};

#[rustfmt::skip] // One row, one line.
pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::container(rows::FUNCTION, no_subcommand, &[
        Command::new(rows::FUNCTION_DELETE,  change),
        Command::new(rows::FUNCTION_DUMP,    dump),
        Command::new(rows::FUNCTION_FLUSH,   change),
        Command::new(rows::FUNCTION_HELP,    help),
        Command::new(rows::FUNCTION_KILL,    kill),
        Command::new(rows::FUNCTION_LIST,    list),
        Command::new(rows::FUNCTION_LOAD,    change),
        Command::new(rows::FUNCTION_RESTORE, change),
        Command::new(rows::FUNCTION_STATS,   stats),
    ]),
];

/// What becomes of the libraries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Load { code: Vec<u8>, replace: bool },
    Delete { name: Vec<u8> },
    Flush,
    Restore { codes: Vec<Vec<u8>>, policy: Restore },
}

impl Change {
    /// What a request asks for; `None` where it is no such request.
    pub fn of(args: Args<'_>) -> Option<Result<Self, ErrorKind>> {
        if !args.is(0, "FUNCTION") || args.len() < 2 {
            return None;
        }
        match () {
            () if args.is(1, "LOAD") => Some(load(args)),
            () if args.is(1, "DELETE") && args.len() == 3 => {
                Some(Ok(Self::Delete { name: args[2].to_vec() }))
            }
            () if args.is(1, "FLUSH") => Some(flush(args)),
            () if args.is(1, "RESTORE") => Some(restore(args)),
            () => None,
        }
    }
}

/// `FUNCTION LOAD [REPLACE] code`
fn load(args: Args<'_>) -> Result<Change, ErrorKind> {
    let mut replace = false;
    for at in 2..args.len().saturating_sub(1) {
        if !args.is(at, "REPLACE") {
            let option = args.get(at).unwrap_or_default().into();
            return Err(ErrorKind::FunctionOption { option });
        }
        replace = true;
    }
    let code = args.get(args.len() - 1).unwrap_or_default().to_vec();
    Ok(Change::Load { code, replace })
}

/// `FUNCTION FLUSH [ASYNC|SYNC]`
fn flush(args: Args<'_>) -> Result<Change, ErrorKind> {
    if args.len() > 3 {
        let subcommand = args.get(1).unwrap_or_default().into();
        return Err(ErrorKind::WrongSubcommand { command: "FUNCTION", subcommand });
    }
    let known = args.len() == 3 && (args.is(2, "ASYNC") || args.is(2, "SYNC"));
    if args.len() == 2 || known { Ok(Change::Flush) } else { Err(ErrorKind::FunctionFlushOption) }
}

/// `FUNCTION RESTORE payload [FLUSH|APPEND|REPLACE]`
fn restore(args: Args<'_>) -> Result<Change, ErrorKind> {
    let policy = match args.len() {
        3 => Restore::Append,
        4 if args.is(3, "FLUSH") => Restore::Flush,
        4 if args.is(3, "APPEND") => Restore::Append,
        4 if args.is(3, "REPLACE") => Restore::Replace,
        4 => return Err(ErrorKind::FunctionRestorePolicy),
        _ => {
            let subcommand = args.get(1).unwrap_or_default().into();
            return Err(ErrorKind::WrongSubcommand { command: "FUNCTION", subcommand });
        }
    };
    Ok(Change::Restore { codes: payload_codes(args.get(2).unwrap_or_default())?, policy })
}

/// The texts in a payload of FUNCTION DUMP.
fn payload_codes(payload: &[u8]) -> Result<Vec<Vec<u8>>, ErrorKind> {
    let texts = payload::open(payload).ok_or(ErrorKind::DumpPayload)?;
    let mut codes = Vec::new();
    let mut decoder = Decoder::new(decode::Limits::default());
    let end = [&[format::OP_EOF][..], &[0; 8]].concat();
    for mut bytes in [&format::HEADER_WRITTEN[..], texts, &end] {
        loop {
            match decoder.next(&mut bytes) {
                Ok(Some(Event::Function { code })) => codes.push(code.to_vec()),
                Ok(Some(Event::End { .. })) => return Ok(codes),
                Ok(None) => break,
                Ok(Some(_)) => return Err(ErrorKind::FunctionPayloadType),
                Err(_) => return Err(ErrorKind::FunctionPayload),
            }
        }
    }
    Err(ErrorKind::FunctionPayload)
}

impl Core {
    /// Does to this core's libraries what was asked: the reply.
    pub(super) fn change_functions(&mut self, change: &Change) -> Result<Vec<u8>, ErrorKind> {
        let scripting = &mut *self.scripting;
        let (libraries, machine) = (&mut scripting.libraries, &mut scripting.machine);
        match change {
            Change::Load { code, replace } => {
                let name = libraries.load(machine, code, *replace);
                let name = name.map_err(|why| script_error(&why))?;
                let mut reply = format!("${}\r\n", name.len()).into_bytes();
                reply.extend_from_slice(&name);
                reply.extend_from_slice(b"\r\n");
                return Ok(reply);
            }
            Change::Delete { name } => {
                if !libraries.delete(machine, name) {
                    return Err(ErrorKind::LibraryNotFound);
                }
            }
            Change::Flush => libraries.flush(machine),
            Change::Restore { codes, policy } => {
                let restored = libraries.restore(machine, codes, *policy);
                restored.map_err(|why| script_error(&why))?;
            }
        }
        Ok(b"+OK\r\n".to_vec())
    }

    /// All libraries as the commands that load them.
    pub(super) fn write_function_commands(&self, out: &mut Vec<u8>) {
        for library in self.scripting.libraries.iter() {
            commands::request(out, &[b"FUNCTION", b"LOAD", &library.code]);
        }
    }

    /// All libraries as a file has them.
    pub(super) fn write_functions(&self, out: &mut Vec<u8>) {
        for library in self.scripting.libraries.iter() {
            encode::function(out, &library.code);
        }
    }
}

/// Checked here, done by all.
fn change(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let Some(change) = Change::of(args) else {
        let subcommand = args.get(1).unwrap_or_default().into();
        return Err(ErrorKind::WrongSubcommand { command: "FUNCTION", subcommand });
    };
    let change = change?;
    let words = args.iter().map(<[u8]>::to_vec).collect();
    let in_db = cx.db();
    cx.ask(Ask::Section(Op::Functions { change, in_db, words }));
    Ok(())
}

fn no_subcommand(_: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    Err(ErrorKind::unknown_subcommand("FUNCTION", args.get(1).unwrap_or_default()))
}

/// `FUNCTION DUMP`
fn dump(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let mut payload = Vec::new();
    cx.core.write_functions(&mut payload);
    payload::seal(&mut payload);
    cx.reply.bulk(&payload);
    Ok(())
}

/// `FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE]`
fn list(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (mut pattern, mut with_code, mut at) = (None, false, 2);
    while let Some(word) = args.get(at) {
        if args.is(at, "WITHCODE") && !with_code {
            with_code = true;
        } else if args.is(at, "LIBRARYNAME") && pattern.is_none() {
            at += 1;
            pattern = Some(args.get(at).ok_or(ErrorKind::FunctionLibraryName)?);
        } else {
            return Err(ErrorKind::FunctionArgument { argument: word.into() });
        }
        at += 1;
    }
    let libraries = &cx.core.scripting.libraries;
    let shown = |name: &[u8]| pattern.is_none_or(|it| glob::matches_ignoring_case(it, name));
    let reply = &mut cx.reply;
    reply.array(libraries.iter().filter(|it| shown(&it.name)).count());
    for library in libraries.iter().filter(|it| shown(&it.name)) {
        reply.map(if with_code { 4 } else { 3 });
        reply.bulk(b"library_name");
        reply.bulk(&library.name);
        reply.bulk(b"engine");
        reply.bulk(b"LUA");
        reply.bulk(b"functions");
        reply.array(library.functions.len());
        for function in &library.functions {
            reply.map(3);
            reply.bulk(b"name");
            reply.bulk(&function.name);
            reply.bulk(b"description");
            match &function.description {
                Some(text) => reply.bulk(text),
                None => reply.null(),
            }
            reply.bulk(b"flags");
            reply.set(function.flags.names().count());
            function.flags.names().for_each(|name| reply.simple(name.as_bytes()));
        }
        if with_code {
            reply.bulk(b"library_code");
            reply.bulk(&library.code);
        }
    }
    Ok(())
}

/// `FUNCTION STATS`
fn stats(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let libraries = &cx.core.scripting.libraries;
    let count = |len: usize| i64::try_from(len).unwrap_or(i64::MAX);
    let reply = &mut cx.reply;
    reply.map(2);
    reply.bulk(b"running_script");
    reply.null();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.int(count(libraries.iter().len()));
    reply.bulk(b"functions_count");
    reply.int(count(libraries.functions_len()));
    Ok(())
}

fn kill(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.core.shared.host.scripts.kill(cx.core.cores, false)?;
    cx.reply.ok();
    Ok(())
}

fn help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    const LINES: &[&str] = &[
        "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "LOAD [REPLACE] <FUNCTION CODE>",
        "    Create a new library with the given library name and code.",
        "DELETE <LIBRARY NAME>",
        "    Delete the given library.",
        "LIST [LIBRARYNAME PATTERN] [WITHCODE]",
        "    Return general information on all the libraries:",
        "    * Library name",
        "    * The engine used to run the Library",
        "    * Library description",
        "    * Functions list",
        "    * Library code (if WITHCODE is given)",
        "    It also possible to get only function that matches a pattern using LIBRARYNAME argument.",
        "STATS",
        "    Return information about the current function running:",
        "    * Function name",
        "    * Command used to run the function",
        "    * Duration in MS that the function is running",
        "    If no function is running, return nil",
        "    In addition, returns a list of available engines.",
        "KILL",
        "    Kill the current running function.",
        "FLUSH [ASYNC|SYNC]",
        "    Delete all the libraries.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the libraries.",
        "    * SYNC: Synchronously flush the libraries.",
        "DUMP",
        "    Return a serialized payload representing the current libraries, can be restored using FUNCTION RESTORE command",
        "RESTORE <PAYLOAD> [FLUSH|APPEND|REPLACE]",
        "    Restore the libraries represented by the given payload, it is possible to give a restore policy to",
        "    control how to handle existing libraries (default APPEND):",
        "    * FLUSH: delete all existing libraries.",
        "    * APPEND: appends the restored libraries to the existing libraries. On collision, abort.",
        "    * REPLACE: appends the restored libraries to the existing libraries, On collision, replace the old",
        "      libraries with the new libraries (notice that even on this option there is a chance of failure",
        "      in case of functions name collision with another library).",
        "HELP",
        "    Prints this help.",
    ];
    cx.reply.array(LINES.len());
    LINES.iter().for_each(|line| cx.reply.simple(line.as_bytes()));
    Ok(())
}
