//! The `redis` table: commands, replies, logs, and what Redis' documents name beside them.
//!
//! `redis.call` leaves the words of the command with the host, stands still until the reply is there, and
//! makes Lua values of it. An error is raised as a table with the field `err`; `redis.pcall` returns it.
//!
//! `breakpoint`, `debug` and `replicate_commands` are there and do nothing, as on a server that debugs
//! no script.

use crate::base::num;
use crate::resp::reply::Proto;
use crate::script::convert::{push_error, push_reply};
use crate::script::library;
use crate::script::lua::{Frame, LUA_TNUMBER, LUA_TSTRING, Native, Raised, c_integer};
use crate::script::machine::{LogLevel, Replicate, Step};
use crate::script::sandbox::push_functions;
use sha1_smol::Sha1;

/// The version that scripts are told: as INFO tells it.
const VERSION: &str = "7.2.4";
const VERSION_NUMBER: f64 = 459_268.0; // 0x00070204

const REPL_AOF: i64 = 1;
const REPL_REPLICA: i64 = 2;

#[rustfmt::skip] // One row per name.
const API: &[(&str, Native)] = &[
    ("call",          |frame| command(frame, true)),
    ("pcall",         |frame| command(frame, false)),
    ("log",           log),
    ("setresp",       setresp),
    ("sha1hex",       sha1hex),
    ("error_reply",   error_reply),
    ("status_reply",  status_reply),
    ("set_repl",      set_repl),
    ("acl_check_cmd", acl_check_cmd),
];

const EVAL_ONLY: &[(&str, Native)] = &[
    ("breakpoint", |frame| {
        frame.push_bool(false);
        Ok(1)
    }),
    ("debug", |_| Ok(0)),
    ("replicate_commands", |frame| {
        frame.push_bool(true);
        Ok(1)
    }),
];

const LEVELS: [(&str, LogLevel); 4] = [
    ("LOG_DEBUG", LogLevel::Debug),
    ("LOG_VERBOSE", LogLevel::Verbose),
    ("LOG_NOTICE", LogLevel::Notice),
    ("LOG_WARNING", LogLevel::Warning),
];

/// `redis` of EVAL scripts, on top.
pub(super) fn push_eval_api(frame: Frame<'_>) {
    push_function_api(frame);
    for (name, native) in EVAL_ONLY {
        frame.push_native(*native, 0);
        frame.raw_set_field(-2, name);
    }
}

/// `redis` of functions, on top.
pub(super) fn push_function_api(frame: Frame<'_>) {
    push_functions(frame, API);
    let number = |name: &str, value: f64| {
        frame.push_number(value);
        frame.raw_set_field(-2, name);
    };
    number("REPL_NONE", 0.0);
    number("REPL_AOF", 1.0);
    number("REPL_SLAVE", 2.0);
    number("REPL_REPLICA", 2.0);
    number("REPL_ALL", 3.0);
    push_levels_and_version(frame);
}

/// `redis` while a library is loaded, on top.
pub(super) fn push_loading_api(frame: Frame<'_>) {
    push_functions(frame, &[("register_function", library::register_function), ("log", log)]);
    push_levels_and_version(frame);
}

fn push_levels_and_version(frame: Frame<'_>) {
    for ((name, _), value) in LEVELS.iter().zip(0..) {
        frame.push_number(f64::from(value));
        frame.raw_set_field(-2, name);
    }
    frame.push_bytes(VERSION.as_bytes());
    frame.raw_set_field(-2, "REDIS_VERSION");
    frame.push_number(VERSION_NUMBER);
    frame.raw_set_field(-2, "REDIS_VERSION_NUM");
}

fn raise(frame: Frame<'_>, text: &str) -> Result<i32, Raised> {
    push_error(frame, text.as_bytes());
    Err(Raised::Top)
}

/// The arguments as a command's words, left with the host.
fn take_words(frame: Frame<'_>) -> Result<(), &'static str> {
    let count = frame.top();
    if count == 0 {
        return Err("Please specify at least one argument for this redis lib call");
    }
    frame.run(|run| {
        run.call.clear();
        for at in 1..=count {
            match frame.kind(at) {
                LUA_TSTRING => {
                    let bytes = frame.bytes(at).unwrap_or_default();
                    run.call.bytes.extend_from_slice(bytes);
                }
                LUA_TNUMBER => {
                    num::write_g17(&mut run.call.bytes, frame.number(at).unwrap_or(0.0));
                }
                _ => return Err("Lua redis lib command arguments must be strings or integers"),
            }
            run.call.ends.push(run.call.bytes.len());
        }
        Ok(())
    })
}

fn command(frame: Frame<'_>, raises: bool) -> Result<i32, Raised> {
    if let Err(why) = take_words(frame) {
        push_error(frame, why.as_bytes());
        return if raises { Err(Raised::Top) } else { Ok(1) };
    }
    frame.set_top(0);
    if !frame.stand(Step::Call) {
        return raise(frame, "redis.call/pcall can only be called inside a script invocation");
    }
    let reply = frame.run(|run| std::mem::take(&mut run.reply));
    push_reply(frame, &reply);
    let failed = reply.first() == Some(&b'-');
    frame.run(|run| run.reply = reply);
    if failed && raises { Err(Raised::Top) } else { Ok(1) }
}

fn log(frame: Frame<'_>) -> Result<i32, Raised> {
    let count = frame.top();
    if count < 2 {
        return raise(frame, "redis.log() requires two arguments or more.");
    }
    let Some(level) = frame.number(1) else {
        return raise(frame, "First argument must be a number (log level).");
    };
    let level = usize::try_from(c_integer(level)).ok().and_then(|it| LEVELS.get(it));
    let Some((_, level)) = level else { return raise(frame, "Invalid debug level.") };
    let words: Vec<_> = (2..=count).filter_map(|at| frame.text(at)).collect();
    let text = words.join(&b' ');
    frame.run(|run| run.logs.push((*level, text)));
    Ok(0)
}

fn setresp(frame: Frame<'_>) -> Result<i32, Raised> {
    if frame.top() != 1 {
        return raise(frame, "redis.setresp() requires one argument.");
    }
    let proto = match frame.number(1).map(c_integer) {
        Some(2) => Proto::Resp2,
        Some(3) => Proto::Resp3,
        _ => return raise(frame, "RESP version must be 2 or 3."),
    };
    frame.run(|run| run.proto = proto);
    Ok(0)
}

fn sha1hex(frame: Frame<'_>) -> Result<i32, Raised> {
    if frame.top() != 1 {
        return raise(frame, "wrong number of arguments");
    }
    let text = frame.text(1).unwrap_or_default();
    let digest = Sha1::from(&*text).digest().to_string();
    frame.push_bytes(digest.as_bytes());
    Ok(1)
}

fn error_reply(frame: Frame<'_>) -> Result<i32, Raised> {
    let text = if frame.top() == 1 { frame.bytes(1) } else { None };
    let Some(text) = text else {
        push_error(frame, b"wrong number or type of arguments");
        return Ok(1);
    };
    let text = if text.starts_with(b"-") { text.to_vec() } else { [b"-", text].concat() };
    push_error(frame, &text);
    Ok(1)
}

fn status_reply(frame: Frame<'_>) -> Result<i32, Raised> {
    if frame.top() != 1 || frame.kind(1) != LUA_TSTRING {
        push_error(frame, b"wrong number or type of arguments");
        return Ok(1);
    }
    frame.push_table(0, 1);
    frame.push_value(1);
    frame.raw_set_field(-2, "ok");
    Ok(1)
}

fn set_repl(frame: Frame<'_>) -> Result<i32, Raised> {
    if frame.top() != 1 {
        return raise(frame, "redis.set_repl() requires two arguments.");
    }
    let flags = c_integer(frame.number(1).unwrap_or(0.0));
    if flags & !(REPL_AOF | REPL_REPLICA) != 0 {
        let why = "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.";
        return raise(frame, why);
    }
    frame.run(|run| {
        run.replicate =
            Replicate { aof: flags & REPL_AOF != 0, replicas: flags & REPL_REPLICA != 0 };
    });
    Ok(0)
}

/// May this user run that command? The host is asked by a word that no command has.
fn acl_check_cmd(frame: Frame<'_>) -> Result<i32, Raised> {
    if let Err(why) = take_words(frame) {
        return raise(frame, why);
    }
    frame.run(|run| {
        let shift = CHECK_COMMAND.len();
        run.call.bytes.splice(0..0, CHECK_COMMAND.iter().copied());
        run.call.ends.iter_mut().for_each(|end| *end += shift);
        run.call.ends.insert(0, shift);
    });
    frame.set_top(0);
    if !frame.stand(Step::Call) {
        return raise(frame, "redis.acl_check_cmd can only be called inside a script invocation");
    }
    let allowed = frame.run(|run| match run.reply.as_slice() {
        b":1\r\n" => Some(true),
        b":0\r\n" => Some(false),
        _ => None,
    });
    match allowed {
        Some(allowed) => {
            frame.push_bool(allowed);
            Ok(1)
        }
        None => raise(frame, "Invalid command passed to redis.acl_check_cmd()"),
    }
}

/// The first word of a call that asks whether the rest may be run: `:1`, `:0`, or an error where there is
/// no such command.
pub const CHECK_COMMAND: &[u8] = b"\0check";
