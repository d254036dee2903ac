//! EVAL and its kin, SCRIPT, and what a script's commands are on a node.
//!
//! A script runs on the core that owns its keys, as one command: nothing else of that core runs meanwhile,
//! and what its commands did leaves as one unit of the stream. Each command goes through the rows of the
//! table as a client's does, with Redis' own reasons to refuse it to a script.
//!
//! A key that a script touches must be of this core, or be one of those that it declared. Commands about
//! all keys (KEYS, SCAN, DBSIZE, ..) see all of them only where there is one core, and are refused else.
//!
//! Scripts are known on every core: SCRIPT LOAD tells all before it answers; of EVAL the others hear in
//! the same turn.
//!
//! Not here: Lua (`script/`), libraries (`functions.rs`), scripts that take long (`busy.rs`).

use crate::base::limits::{LUA_SLICES_PER_TURN, LUA_UNPAUSED_SLICES_MAX};
use crate::base::num::parse_i64;
use crate::base::time::Wall;
use crate::command::args::Args;
use crate::command::keys;
use crate::command::node_rows as rows;
use crate::command::spec::{Command, Flags as CommandFlags, Spec};
use crate::engine::generic::whole;
use crate::engine::shard::Cx;
use crate::node::client::Call;
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::gather::Summary;
use crate::node::message::{self, Origin, RequestHead};
use crate::node::outbox::{Conn, Level};
use crate::node::publish;
use crate::node::table::{Exec, Row, Run};
use crate::node::transactions::NOBODY;
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use crate::script::flags::Flags;
use crate::script::machine::{Job, LogLevel, Next, Outcome, Words};
use crate::script::redis::CHECK_COMMAND;

/// A command that runs a script on this core: as a `ShardFn`, and the reply may be an error already.
pub type ScriptFn = fn(&mut Core, &Call, Args<'_>, &mut Vec<u8>) -> Result<(), ErrorKind>;

#[rustfmt::skip] // One row, one line.
pub const CALLS: &[Command<ScriptFn>] = &[
    Command::new(rows::EVAL,       |core, call, args, out| core.eval(call, args, out, Source::Text, false)),
    Command::new(rows::EVALSHA,    |core, call, args, out| core.eval(call, args, out, Source::Hash, false)),
    Command::new(rows::EVAL_RO,    |core, call, args, out| core.eval(call, args, out, Source::Text, true)),
    Command::new(rows::EVALSHA_RO, |core, call, args, out| core.eval(call, args, out, Source::Hash, true)),
    Command::new(rows::FCALL,      |core, call, args, out| core.call_function(call, args, out, false)),
    Command::new(rows::FCALL_RO,   |core, call, args, out| core.call_function(call, args, out, true)),
];

#[rustfmt::skip]
pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::container(rows::SCRIPT, no_subcommand, &[
        Command::new(rows::SCRIPT_DEBUG,  debug),
        Command::new(rows::SCRIPT_EXISTS, exists),
        Command::new(rows::SCRIPT_FLUSH,  flush),
        Command::new(rows::SCRIPT_HELP,   help),
        Command::new(rows::SCRIPT_KILL,   kill),
        Command::new(rows::SCRIPT_LOAD,   load),
    ]),
];

/// How EVAL says which script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Text,
    Hash,
}

/// A script that runs, as its commands see it.
struct Running<'a> {
    declared: &'a [&'a [u8]],
    it: Standing,
}

/// What a script keeps where it stands still.
#[derive(Debug)]
pub struct Standing {
    db: usize,
    /// Of all its commands.
    now: Wall,
    origin: Origin,
    read_only: bool,
    /// It may use memory beyond the limit.
    allows_oom: bool,
    /// The limit was passed when it began.
    oom: bool,
    /// It has run a command that writes.
    wrote: bool,
    /// Its connection, and that connection's generation.
    caller: Option<(Conn, u32)>,
}

impl Standing {
    /// Has it run a command that writes?
    #[must_use]
    pub fn wrote(&self) -> bool {
        self.wrote
    }
}

/// A command's words after the script: its keys and its other arguments.
type Arguments<'a> = (Vec<&'a [u8]>, Vec<&'a [u8]>);

/// `script numkeys [key ...] [arg ...]`
fn arguments<'a>(args: Args<'a>, not_a_number: ErrorKind) -> Result<Arguments<'a>, ErrorKind> {
    let count = parse_i64(&args[2]).ok_or(not_a_number)?;
    let words = args.words().get(3..).unwrap_or_default();
    let count = usize::try_from(count).map_err(|_| ErrorKind::ScriptKeysNegative)?;
    let (keys, rest) = words.split_at_checked(count).ok_or(ErrorKind::KeysMoreThanArgs)?;
    Ok((keys.to_vec(), rest.to_vec()))
}

/// A text of the script layer, which is a whole error line.
pub(super) fn script_error(line: &[u8]) -> ErrorKind {
    let text = line.strip_prefix(b"ERR ").unwrap_or(line);
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |it| it + 1);
    ErrorKind::Script { text: text[..end].into() }
}

impl Core {
    fn eval(
        &mut self,
        call: &Call,
        args: Args<'_>,
        out: &mut Vec<u8>,
        source: Source,
        read_only: bool,
    ) -> Result<(), ErrorKind> {
        let (keys, rest) = match source {
            Source::Hash if args[1].len() != 40 => return Err(ErrorKind::NoScript),
            _ => arguments(args, ErrorKind::NotAnInteger)?,
        };
        let scripting = &mut *self.scripting;
        let mut is_new = false;
        let script = match source {
            Source::Hash => scripting.scripts.find(&args[1]).ok_or(ErrorKind::NoScript)?,
            Source::Text => {
                is_new = !scripting.scripts.knows(&args[1]);
                let defined = scripting.scripts.define(&mut scripting.machine, &args[1], false);
                defined.map_err(|why| script_error(&why))?
            }
        };
        let (flags, function, sha) = (script.flags, script.function, script.sha.clone());
        if is_new {
            self.tell_others("script-learn", &args[1]);
        }
        let name = sha.as_bytes();
        let job =
            Job { function, name, is_eval: true, keys: &keys, args: &rest, client: call.proto };
        self.run_script(call, &job, flags, read_only, out)
    }

    fn call_function(
        &mut self,
        call: &Call,
        args: Args<'_>,
        out: &mut Vec<u8>,
        read_only: bool,
    ) -> Result<(), ErrorKind> {
        let Some(function) = self.scripting.libraries.function(&args[1]) else {
            return Err(ErrorKind::FunctionNotFound);
        };
        let (flags, name, function) = (function.flags, function.name.clone(), function.function);
        let (keys, rest) = arguments(args, ErrorKind::FunctionKeys)?;
        let job = Job {
            function,
            name: &name,
            is_eval: false,
            keys: &keys,
            args: &rest,
            client: call.proto,
        };
        self.run_script(call, &job, Some(flags), read_only, out)
    }

    /// Runs a script to its end; its reply is in `out`.
    fn run_script(
        &mut self,
        call: &Call,
        job: &Job<'_>,
        flags: Option<Flags>,
        read_only: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorKind> {
        let caller = self.caller.take();
        let caller = caller.and_then(|it| Some((it, self.sessions.get(it)?.generation)));
        let oom = self.is_out_of_memory();
        self.may_run_script(flags, read_only, oom, call.origin)?;
        let has = |flag: Flags| flags.is_some_and(|it| it.has(flag));
        let running = Running {
            declared: job.keys,
            it: Standing {
                db: call.db,
                now: self.now.wall,
                origin: call.origin,
                read_only: read_only || has(Flags::NO_WRITES),
                allows_oom: has(Flags::ALLOW_OOM),
                oom,
                wrote: false,
                caller,
            },
        };
        let next = self.scripting.machine.start(job);
        self.drive(running, next, out);
        Ok(())
    }

    /// Goes on with the script that stands still; its request is the same.
    pub(super) fn go_on(&mut self, args: Args<'_>, out: &mut Vec<u8>) -> Result<(), ErrorKind> {
        let Some(standing) = self.stand.standing.take() else { return Ok(()) };
        let keys = arguments(args, ErrorKind::NotAnInteger).map(|it| it.0).unwrap_or_default();
        let next = self.scripting.machine.resume();
        self.drive(Running { declared: &keys, it: standing }, next, out);
        Ok(())
    }

    /// Runs a script to its end, where its reply is in `out`, or until it has had its share of the turn.
    fn drive(&mut self, mut running: Running<'_>, mut next: Next, out: &mut Vec<u8>) {
        let mut slices = 0;
        let outcome = loop {
            match next {
                Next::Done(outcome) => break outcome,
                Next::Call => self.run_call(&mut running),
                Next::Pause if self.stand.may => {
                    slices += 1;
                    if slices >= LUA_SLICES_PER_TURN {
                        self.stand.standing = Some(running.it);
                        return;
                    }
                }
                Next::Pause => {
                    slices += 1;
                    if slices > LUA_UNPAUSED_SLICES_MAX
                        && !running.it.wrote
                        && let Some(run) = self.scripting.machine.run()
                    {
                        run.killed = true;
                    }
                }
            }
            next = self.scripting.machine.resume();
        };
        self.finish_script(outcome, out);
    }

    fn finish_script(&mut self, outcome: Outcome, out: &mut Vec<u8>) {
        let Some(run) = self.scripting.machine.run() else { return };
        out.extend_from_slice(&run.reply);
        for (level, text) in run.logs.drain(..) {
            let text = String::from_utf8_lossy(&text).into_owned();
            self.script_logs.push((log_level(level), text));
        }
        if let Outcome::Failed { counted: false } = outcome {
            let line = run.reply.get(1..).unwrap_or_default();
            let code = line.split(|byte| matches!(byte, b' ' | b'\r')).next().unwrap_or_default();
            let code = String::from_utf8_lossy(code).into_owned();
            self.stats.failed_with(&code);
        }
    }

    /// Redis' reasons to refuse a script before it runs.
    fn may_run_script(
        &self,
        flags: Option<Flags>,
        read_only: bool,
        oom: bool,
        origin: Origin,
    ) -> Result<(), ErrorKind> {
        let view = &self.view;
        let Some(flags) = flags else {
            return if view.is_stale() { Err(ErrorKind::MasterDown) } else { Ok(()) };
        };
        if view.is_stale() && !flags.has(Flags::ALLOW_STALE) {
            return Err(ErrorKind::ScriptStale);
        }
        if !flags.has(Flags::NO_WRITES) {
            if view.is_read_only() && origin == Origin::Client {
                return Err(ErrorKind::ReadOnly);
            }
            if view.save_failed && !view.is_replica() {
                return Err(ErrorKind::ScriptMisconf);
            }
            if let Some(why) = view.aof_failed.as_ref().filter(|_| !view.is_replica()) {
                return Err(ErrorKind::MisconfAof { why: why.as_bytes().into() });
            }
            if view.few_replicas && !view.is_replica() {
                return Err(ErrorKind::NoReplicas);
            }
            if read_only {
                return Err(ErrorKind::ScriptWritesRo);
            }
            if oom && !flags.has(Flags::ALLOW_OOM) && origin == Origin::Client {
                return Err(ErrorKind::ScriptOom);
            }
        }
        Ok(())
    }

    /// Runs the command that the script has put down, and leaves the reply.
    fn run_call(&mut self, running: &mut Running<'_>) {
        let Some(run) = self.scripting.machine.run() else { return };
        let call: Words = std::mem::take(&mut run.call);
        let mut reply = std::mem::take(&mut run.reply);
        let (proto, replicates) = (run.proto, run.replicate.replicas);
        reply.clear();
        let words: Vec<&[u8]> = call.iter().collect();
        let mark = self.effect.mark();
        let result = self.call_of_script(running, Args::new(&words), proto, &mut reply);
        if let Err(error) = result {
            reply.clear();
            error.write_to(&mut reply);
            self.stats.failed(&error);
        }
        if replicates {
            self.effect.adopt(mark, running.it.db, &words);
        } else {
            self.effect.withdraw(mark);
        }
        if let Some(run) = self.scripting.machine.run() {
            run.call = call;
            run.reply = reply;
        }
    }

    fn call_of_script(
        &mut self,
        running: &mut Running<'_>,
        args: Args<'_>,
        proto: Proto,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorKind> {
        let table = self.shared.table;
        if args.name() == CHECK_COMMAND {
            let args = args.skip(1);
            let number = table.find(args).ok_or(ErrorKind::ScriptUnknown)?;
            let allowed = self.has_rights(running, number, args).is_ok();
            Reply { out, proto }.int(i64::from(allowed));
            return Ok(());
        }
        let number = table.find(args).ok_or(ErrorKind::ScriptUnknown)?;
        let row = table.row(number);
        if !row.spec.arity.accepts(args.len()) {
            return Err(ErrorKind::ScriptArity);
        }
        self.may_call(running, row.spec)?;
        self.has_rights(running, number, args)?;
        if running.it.origin == Origin::Client && self.view.cluster.is_some() {
            self.script_is_at_home(row.spec, args)?;
        }
        running.it.wrote |= row.spec.is_write();
        match row.run {
            Run::Shard(Exec::Keys(run)) => {
                if blocks(row.spec.name, args) {
                    return Err(ErrorKind::ScriptBlock { command: row.spec.name });
                }
                self.check_keys(running, row, args)?;
                let changes = self.effect.changes();
                let mode = self.keyspace.expiry_mode();
                let mut cx = Cx {
                    keyspace: &mut self.keyspace,
                    db: running.it.db,
                    now: running.it.now,
                    reply: Reply { out, proto },
                    effect: &mut self.effect,
                    prng: &mut self.prng,
                };
                let result = run(&mut cx, args);
                self.keyspace.set_expiry_mode(mode);
                if self.keyspace.has_lent() {
                    self.keyspace.settle_lent(self.effect.changes() != changes);
                }
                if self.keyspace.has_leftovers() {
                    let effect = &mut self.effect;
                    self.keyspace.drain_expired(&mut |db, key| effect.expired(db, key));
                    self.tracking.by_script = true;
                    self.tell_notices();
                    self.tracking.by_script = false;
                }
                self.stats.called(number, result.is_err());
                if self.tracking.acting.is_some() {
                    self.remember_keys(row, args);
                }
                result
            }
            Run::Node(_) => {
                let result = self.node_call_of_script(running, row, args, proto, out);
                self.stats.called(number, result.is_err());
                result
            }
            Run::Shard(Exec::Script(_)) | Run::Part(_) => Err(ErrorKind::ScriptNotAllowed),
        }
    }

    /// Redis' reasons to refuse a command to a script.
    fn may_call(&self, running: &Running<'_>, spec: &Spec) -> Result<(), ErrorKind> {
        let (flags, view) = (spec.flags, &self.view);
        if flags.has(CommandFlags::NOSCRIPT) {
            return Err(ErrorKind::ScriptNotAllowed);
        }
        if view.is_stale() && !flags.has(CommandFlags::STALE) {
            return Err(ErrorKind::ScriptCommandStale);
        }
        if running.it.origin == Origin::Master {
            return Ok(());
        }
        if spec.is_write() {
            if running.it.read_only {
                return Err(ErrorKind::ScriptNoWrites);
            }
            if view.is_read_only() {
                return Err(ErrorKind::ReadOnly);
            }
            if view.save_failed && !view.is_replica() {
                return Err(ErrorKind::MisconfRdb);
            }
            if let Some(why) = view.aof_failed.as_ref().filter(|_| !view.is_replica()) {
                return Err(ErrorKind::MisconfAof { why: why.as_bytes().into() });
            }
            if view.few_replicas && !view.is_replica() {
                return Err(ErrorKind::NoReplicas);
            }
        }
        let may_grow = running.it.allows_oom || running.it.wrote || !running.it.oom;
        if !may_grow && flags.has(CommandFlags::DENYOOM) {
            return Err(ErrorKind::Oom);
        }
        Ok(())
    }

    /// May the user whose script it is run that command?
    fn has_rights(
        &self,
        running: &Running<'_>,
        number: u16,
        args: Args<'_>,
    ) -> Result<(), ErrorKind> {
        let Some((conn, generation)) = running.it.caller else { return Ok(()) };
        // Whoever is gone has no rights any more, and nobody else has his.
        let Some(session) = self.sessions.get(conn).filter(|it| it.generation == generation) else {
            return Err(ErrorKind::ScriptNoPermCommand);
        };
        if !session.ruled {
            return Ok(());
        }
        self.may_run_request(session, number, args).map_err(|why| match why {
            ErrorKind::NoPermKey => ErrorKind::ScriptNoPermKey,
            ErrorKind::NoPermChannel => ErrorKind::ScriptNoPermChannel,
            _ => ErrorKind::ScriptNoPermCommand,
        })
    }

    /// Every key must be here: of this core, or declared, for then it was brought.
    fn check_keys(
        &self,
        running: &Running<'_>,
        row: &Row,
        args: Args<'_>,
    ) -> Result<(), ErrorKind> {
        if self.cores == 1 {
            return Ok(());
        }
        for key in keys::keys_found(row.spec, args) {
            let key = args.get(key.at).unwrap_or_default();
            if self.owner(key) != self.id && !running.declared.contains(&key) {
                return Err(ErrorKind::ScriptForeignKey { key: key.into() });
            }
        }
        Ok(())
    }

    /// The commands of the node that scripts use.
    fn node_call_of_script(
        &mut self,
        running: &mut Running<'_>,
        row: &Row,
        args: Args<'_>,
        proto: Proto,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorKind> {
        let mut reply = Reply { out, proto };
        let head = PartHead { db: running.it.db, origin: running.it.origin };
        match row.full_name.as_str() {
            "ping" if args.len() > 2 => return Err(ErrorKind::ScriptArity),
            "ping" => match args.get(1) {
                Some(text) => reply.bulk(text),
                None => reply.simple(b"PONG"),
            },
            "echo" => reply.bulk(args.key()),
            "select" => {
                let db = parse_i64(args.key()).ok_or(ErrorKind::NotAnInteger)?;
                let db = usize::try_from(db).ok().filter(|it| *it < self.keyspace.databases());
                running.it.db = db.ok_or(ErrorKind::DbOutOfRange)?;
                reply.ok();
            }
            "time" => {
                let now = running.it.now.0;
                reply.array(2);
                reply.bulk((now / 1_000_000).to_string().as_bytes());
                reply.bulk((now % 1_000_000).to_string().as_bytes());
            }
            "publish" | "spublish" => {
                let topic = publish::of_stream(args).ok_or(ErrorKind::ScriptArity)?;
                let heard = self.broadcast(topic.0, topic.1, topic.2);
                self.effect.command(running.it.db, args.words());
                reply.int(i64::try_from(heard).unwrap_or(i64::MAX));
            }
            _ if self.cores > 1 => return Err(ErrorKind::ScriptOneCore),
            "dbsize" => self.part_of_script("dbsize", &head, args.skip(1), &mut reply),
            "keys" => self.part_of_script("keys", &head, args.skip(1), &mut reply),
            "scan" => {
                whole::Scan::parse(args)?;
                self.part_of_script("scan", &head, args, &mut reply);
            }
            "flushdb" | "flushall" => {
                whole::check_flush(args)?;
                match row.full_name.as_str() {
                    "flushdb" => self.keyspace.flush(running.it.db),
                    _ => self.keyspace.flush_all(),
                }
                self.tell_flush();
                self.effect.command(running.it.db, args.words());
                reply.ok();
            }
            _ => {
                return Err(ErrorKind::ScriptElsewhere {
                    command: row.full_name.as_bytes().into(),
                });
            }
        }
        Ok(())
    }

    fn part_of_script(
        &mut self,
        part: &str,
        head: &PartHead,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) {
        let number = self.shared.table.part(part);
        if let Run::Part(run) = self.shared.table.row(number).run {
            run(self, head, args, reply);
        }
    }

    /// Tells every other core something that nobody waits for.
    fn tell_others(&mut self, part: &str, word: &[u8]) {
        let command = self.shared.table.part(part);
        for core in (0..self.cores).filter(|core| *core != self.id) {
            let head = RequestHead { command, ..NOBODY };
            message::push_request(self.roads.to(core), &head, std::iter::once(word));
        }
    }
}

/// XREAD and XREADGROUP with BLOCK; other commands that block answer at once within a script.
fn blocks(name: &str, args: Args<'_>) -> bool {
    if !matches!(name, "XREAD" | "XREADGROUP") {
        return false;
    }
    let streams = (1..args.len()).find(|at| args.is(*at, "STREAMS")).unwrap_or(args.len());
    (1..streams).any(|at| args.is(at, "BLOCK"))
}

fn log_level(level: LogLevel) -> Level {
    match level {
        LogLevel::Debug => Level::Debug,
        LogLevel::Verbose => Level::Verbose,
        LogLevel::Notice => Level::Notice,
        LogLevel::Warning => Level::Warning,
    }
}

/// `[text]`: a script that another core got by EVAL.
pub(super) fn learn_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let scripting = &mut *core.scripting;
    // It compiles here as it did there.
    let _ = scripting.scripts.define(&mut scripting.machine, args.name(), false);
    reply.ok();
}

/// `[text]`: the script's hash.
pub(super) fn load_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let scripting = &mut *core.scripting;
    match scripting.scripts.define(&mut scripting.machine, args.name(), true) {
        Ok(script) => reply.bulk(script.sha.as_bytes()),
        Err(why) => reply.error(&script_error(&why)),
    }
}

/// `[]`: no scripts any more.
pub(super) fn flush_part(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    let scripting = &mut *core.scripting;
    scripting.scripts.flush(&mut scripting.machine);
    if scripting.libraries.functions_len() == 0 {
        scripting.machine.reset();
    }
    reply.ok();
}

fn no_subcommand(_: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    Err(ErrorKind::unknown_subcommand("SCRIPT", args.get(1).unwrap_or_default()))
}

/// `SCRIPT LOAD script`
fn load(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_all("script-load", args.skip(2), Summary::First);
    Ok(())
}

/// `SCRIPT EXISTS sha1 [sha1 ...]`
fn exists(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let hashes = args.from(2);
    cx.reply.array(hashes.len());
    for hash in hashes {
        let known = cx.core.scripting.scripts.find(hash).is_some();
        cx.reply.int(i64::from(known));
    }
    Ok(())
}

/// `SCRIPT FLUSH [ASYNC|SYNC]`: both free at once what is small next to the data.
fn flush(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let known = args.len() == 3 && (args.is(2, "ASYNC") || args.is(2, "SYNC"));
    if args.len() != 2 && !known {
        return Err(ErrorKind::ScriptFlushOption);
    }
    cx.ask_all("script-flush", args.skip(2), Summary::AllOk);
    Ok(())
}

fn kill(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    cx.core.shared.host.scripts.kill(cx.core.cores, true)?;
    cx.reply.ok();
    Ok(())
}

/// `SCRIPT DEBUG YES|SYNC|NO`: there is no debugger, so it can only stay off.
fn debug(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if args.is(2, "NO") {
        cx.reply.ok();
        return Ok(());
    }
    if args.is(2, "YES") || args.is(2, "SYNC") {
        return Err(ErrorKind::ScriptDebug);
    }
    Err(ErrorKind::ScriptDebugOption)
}

fn help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    const LINES: &[&str] = &[
        "SCRIPT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "DEBUG (YES|SYNC|NO)",
        "    Set the debug mode for subsequent scripts executed.",
        "EXISTS <sha1> [<sha1> ...]",
        "    Return information about the existence of the scripts in the script cache.",
        "FLUSH [ASYNC|SYNC]",
        "    Flush the Lua scripts cache. Very dangerous on replicas.",
        "    When called without the optional mode argument, the behavior is determined by the",
        "    lazyfree-lazy-user-flush configuration directive. Valid modes are:",
        "    * ASYNC: Asynchronously flush the scripts cache.",
        "    * SYNC: Synchronously flush the scripts cache.",
        "KILL",
        "    Kill the currently executing Lua script.",
        "LOAD <script>",
        "    Load a script into the scripts cache without executing it.",
        "HELP",
        "    Prints this help.",
    ];
    cx.reply.array(LINES.len());
    LINES.iter().for_each(|line| cx.reply.simple(line.as_bytes()));
    Ok(())
}
