//! One core's interpreter as a machine: a script runs until it needs its host, and stands still.
//!
//! ```text
//!   start ---> Next::Call      the host runs the command in `Run::call`, leaves the reply in `Run::reply`
//!        |     Next::Pause     so many instructions are over: the host may serve others, or kill it
//!   resume <-  Next::Done      the reply to the client is in `Run::reply`
//! ```
//!
//! A script has a stack of its own, so it can stand still anywhere, also within a `pcall` or a callback of
//! `string.gsub`; nothing of the host is borrowed meanwhile. It knows no clock: it counts instructions, and
//! how long it has run the host knows.
//!
//! One script runs at a time. Compiled functions are kept by number; what their names are is the host's.
//!
//! Not here: which scripts there are (`scripts.rs`, `library.rs`), what commands do.

use crate::base::limits::{LUA_DEFINE_INSTRUCTIONS_MAX, LUA_PAUSE_INSTRUCTIONS, LUA_STACK_BYTES};
use crate::resp::reply::Proto;
use crate::script::convert;
use crate::script::library::Loading;
use crate::script::lua::{Frame, GLOBALS, Lua};
use crate::script::random::Random;
use crate::script::sandbox::{self, Sandbox};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};

/// Why a script stands still, as its own side knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Call,
    Pause,
}

/// What a script does next, as its host sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Call,
    Pause,
    Done(Outcome),
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Fine,
    /// The reply is an error; `counted`: a command's, which was counted as such.
    Failed {
        counted: bool,
    },
}

/// `redis.log`: its level, Redis' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// Whom `redis.set_repl` lets have the effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicate {
    pub aof: bool,
    pub replicas: bool,
}

/// The words of a command.
#[derive(Debug, Default)]
pub struct Words {
    pub bytes: Vec<u8>,
    /// Where each word ends.
    pub ends: Vec<usize>,
}

impl Words {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.ends.iter().enumerate().map(|(at, end)| {
            let start = if at == 0 { 0 } else { self.ends[at - 1] };
            &self.bytes[start..*end]
        })
    }
}

/// What a script and its host say to each other.
#[derive(Debug)]
pub struct Run {
    /// The command that a script wants run.
    pub call: Words,
    /// The command's reply in `proto`; in the end the script's in `client`.
    pub reply: Vec<u8>,
    /// As `redis.setresp` said.
    pub proto: Proto,
    pub client: Proto,
    pub replicate: Replicate,
    pub logs: Vec<(LogLevel, Vec<u8>)>,
    /// To be ended at its next instruction.
    pub killed: bool,
    /// Called by EVAL, not by FCALL.
    pub is_eval: bool,
    /// Its name in errors: the hash of its text, or the function's name.
    pub name: Vec<u8>,
    pub(super) random: Random,
    pub(super) loading: Option<Loading>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            call: Words::default(),
            reply: Vec::new(),
            proto: Proto::Resp2,
            client: Proto::Resp2,
            replicate: Replicate { aof: true, replicas: true },
            logs: Vec::new(),
            killed: false,
            is_eval: true,
            name: Vec::new(),
            random: Random::default(),
            loading: None,
        }
    }
}

impl Run {
    fn begin(&mut self, name: &[u8], is_eval: bool, client: Proto) {
        self.reply.clear();
        self.proto = Proto::Resp2;
        self.client = client;
        self.replicate = Replicate { aof: true, replicas: true };
        self.killed = false;
        self.is_eval = is_eval;
        self.name.clear();
        self.name.extend_from_slice(name);
    }

    /// So many instructions are over. True: it ends here, and the error is on top.
    pub(super) fn interrupt(frame: Frame<'_>) -> bool {
        if !frame.stand(Step::Pause) {
            convert::push_error(frame, b"FUNCTION LOAD timeout");
            return true;
        }
        let killed = frame.run(|run| run.killed);
        if killed {
            // As Redis says it of functions, too.
            convert::push_error(frame, b"Script killed by user with SCRIPT KILL...");
        }
        killed
    }
}

/// What a script is called with.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// As `define` gave it.
    pub function: i32,
    pub name: &'a [u8],
    pub is_eval: bool,
    pub keys: &'a [&'a [u8]],
    pub args: &'a [&'a [u8]],
    pub client: Proto,
}

/// See the file's header. It takes no memory before the first script.
#[derive(Default)]
pub struct Machine {
    vm: Option<Box<Vm>>,
}

struct Vm {
    // Before `lua`: a script's stack goes first.
    running: Option<Script>,
    stack: Option<DefaultStack>,
    sandbox: Sandbox,
    runs: u32,
    lua: Lua,
}

type Script = Coroutine<(), Step, Outcome, DefaultStack>;

/// Scripts between two steps of the collector.
const COLLECT_RUNS: u32 = 50;

/// How much of a cycle such a step does, in Lua's measure.
const COLLECT_STEP: i32 = 50;

#[expect(unsafe_code, reason = "see below")]
// SAFETY: a machine is made without an interpreter, by the thread that starts the cores; from its first
// script on it stays on its core's thread. Nothing in it belongs to a thread by nature.
unsafe impl Send for Machine {}

impl Machine {
    /// Bytes that the interpreter has.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.vm.as_ref().map_or(0, |vm| vm.lua.used_bytes())
    }

    /// Does a script stand still?
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.vm.as_ref().is_some_and(|vm| vm.running.is_some())
    }

    /// What script and host say to each other; `None` before the first script.
    pub fn run(&mut self) -> Option<&mut Run> {
        self.vm.as_mut().map(|vm| vm.lua.run())
    }

    /// Compiles an EVAL script.
    ///
    /// # Errors
    /// Why it does not compile, in Redis' words.
    pub fn define(&mut self, body: &[u8]) -> Result<i32, Vec<u8>> {
        let vm = self.vm()?;
        sandbox::define(vm.lua.frame(), &vm.sandbox, body)
    }

    /// Runs a library's text, which registers its functions.
    ///
    /// # Errors
    /// Why it cannot, in Redis' words.
    pub fn load_library(&mut self, code: &[u8]) -> Result<Loading, Vec<u8>> {
        let vm = self.vm()?;
        vm.lua.run().loading = Some(Loading::default());
        let result = sandbox::load_library(vm.lua.frame(), &vm.sandbox, code);
        let loading = vm.lua.run().loading.take().unwrap_or_default();
        match result {
            Ok(()) => Ok(loading),
            Err(why) => {
                for function in loading.functions {
                    self.forget(function.function);
                }
                Err(why)
            }
        }
    }

    /// A compiled function is needed no more.
    pub fn forget(&mut self, function: i32) {
        if let Some(vm) = self.vm.as_mut() {
            vm.lua.frame().forget(function);
        }
    }

    /// Frees everything, where no script runs. All functions are gone.
    pub fn reset(&mut self) {
        if !self.is_running() {
            self.vm = None;
        }
    }

    /// Begins a script. Only while none runs.
    pub fn start(&mut self, job: &Job<'_>) -> Next {
        let Some(vm) = self.vm.as_mut() else { return Next::Done(Outcome::Fine) };
        assert!(vm.running.is_none(), "one script at a time");
        vm.lua.run().begin(job.name, job.is_eval, job.client);
        let frame = vm.lua.frame();
        frame.set_top(0);
        frame.push_kept(vm.sandbox.handler);
        frame.push_kept(job.function);
        let globals = if job.is_eval { &vm.sandbox.eval } else { &vm.sandbox.function };
        frame.push_kept(globals.shown);
        frame.replace(GLOBALS);
        let arguments = if job.is_eval {
            frame.push_kept(globals.real);
            push_array(frame, job.keys);
            frame.raw_set_field(-2, "KEYS");
            push_array(frame, job.args);
            frame.raw_set_field(-2, "ARGV");
            frame.pop(1);
            0
        } else {
            push_array(frame, job.keys);
            push_array(frame, job.args);
            2
        };
        vm.runs = vm.runs.wrapping_add(1);
        let collects = vm.runs.is_multiple_of(COLLECT_RUNS);
        let stack = vm.stack.take().map_or_else(|| DefaultStack::new(LUA_STACK_BYTES), Ok);
        let Ok(stack) = stack else {
            frame.set_top(0);
            vm.lua.run().reply.extend_from_slice(b"-ERR no memory for the stack of a script\r\n");
            return Next::Done(Outcome::Failed { counted: false });
        };
        let frame = vm.lua.detached();
        vm.running = Some(Coroutine::with_stack(stack, move |yielder, ()| {
            frame.set_yielder(yielder);
            frame.set_hook(Some(LUA_PAUSE_INSTRUCTIONS));
            let fine = frame.call(arguments, 1, 1);
            frame.set_hook(None);
            frame.set_yielder(std::ptr::null());
            let outcome = convert::finish(frame, fine);
            frame.set_top(0);
            if collects {
                frame.collect_some(COLLECT_STEP);
            }
            outcome
        }));
        self.resume()
    }

    /// Goes on with the script that stands still.
    pub fn resume(&mut self) -> Next {
        let Some(vm) = self.vm.as_mut() else { return Next::Done(Outcome::Fine) };
        let Some(script) = vm.running.as_mut() else { return Next::Done(Outcome::Fine) };
        match script.resume(()) {
            CoroutineResult::Yield(Step::Call) => Next::Call,
            CoroutineResult::Yield(Step::Pause) => Next::Pause,
            CoroutineResult::Return(outcome) => {
                if let Some(script) = vm.running.take() {
                    vm.stack = Some(script.into_stack());
                }
                Next::Done(outcome)
            }
        }
    }

    fn vm(&mut self) -> Result<&mut Vm, Vec<u8>> {
        if self.vm.is_none() {
            let lua = Lua::new().ok_or_else(|| b"no memory for an interpreter".to_vec())?;
            let sandbox = Sandbox::new(lua.frame());
            self.vm = Some(Box::new(Vm { running: None, stack: None, sandbox, runs: 0, lua }));
        }
        self.vm.as_deref_mut().ok_or_else(Vec::new)
    }
}

impl Drop for Vm {
    #[expect(unsafe_code, reason = "see below")]
    fn drop(&mut self) {
        if let Some(script) = self.running.as_mut() {
            // SAFETY: what the script's stack owned is leaked, and nobody goes there again.
            unsafe { script.force_reset() };
        }
    }
}

fn push_array(frame: Frame<'_>, items: &[&[u8]]) {
    frame.push_table(items.len(), 0);
    for (item, index) in items.iter().zip(1..) {
        frame.push_bytes(item);
        frame.raw_set_index(-2, index);
    }
}

/// Runs the function on top, which defines others and takes no time; else there is an error on top.
pub(super) fn run_definition(frame: Frame<'_>, handler: i32) -> bool {
    frame.set_hook(Some(LUA_DEFINE_INSTRUCTIONS_MAX));
    let fine = frame.call(0, 0, handler);
    frame.set_hook(None);
    fine
}
