//! What scripts may see and touch: Redis' globals, and every shared table read-only.
//!
//! Lua 5.1 knows no read-only tables, so scripts never hold the real ones. What they see is an empty
//! table whose metatable leads reads to the real one and refuses writes:
//!
//! ```text
//!   shown {} --metatable--> { __index = real, __newindex = refuse, [1] = real, [2] = metatable to show,
//!                             [TAG] = true }
//! ```
//!
//! Whatever reads or writes raw (`rawset`, `next`, `table.insert`, ...) is wrapped: [`denying`] refuses a
//! shown table, [`redirecting`] takes the real one instead. Both then run Lua's own function. The
//! metatable of strings is shown in the same way.
//!
//! The globals of EVAL scripts and those of functions are two tables over the same libraries. KEYS and
//! ARGV are fields of the real globals of EVAL, set before each script.
//!
//! Missing on purpose: `print`, `dofile`, `loadfile`, `require`, `module`, `newproxy`, `getfenv`, `setfenv`,
//! `io`, `os`, `debug`; precompiled code ([`Frame::load`]); stopping the collector.

#![expect(unsafe_code, reason = "functions of C that run Lua's own; see `lua.rs`")]

use crate::base::limits::LUA_PATTERN_ITEMS_MAX;
use crate::script::lua::{
    Frame, GLOBALS, LUA_TNIL, LUA_TSTRING, LUA_TTABLE, Native, REGISTRY, Raised, raw, upvalue,
};
use crate::script::machine::run_definition;
use crate::script::{bit, convert, json, msgpack, random, redis, structs};
use mlua::ffi;

/// Where an interpreter keeps what the machine needs, by `Frame::push_kept`.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub handler: i32,
    pub eval: Globals,
    pub function: Globals,
    /// What a library's text sees while it is loaded.
    loading: Globals,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Globals {
    /// What scripts take for their globals.
    pub shown: i32,
    pub real: i32,
}

/// The key that marks the metatable of a shown table; no script can make such a value.
const TAG: usize = 0x7267;
const REAL: i32 = 1;
const METATABLE: i32 = 2;

const READONLY: &str = "Attempt to modify a readonly table";

/// Of Lua's basic functions those that scripts have.
const BASIC: &[&str] = &[
    "_VERSION",
    "assert",
    "collectgarbage",
    "error",
    "gcinfo",
    "getmetatable",
    "ipairs",
    "next",
    "pairs",
    "rawequal",
    "rawget",
    "rawset",
    "select",
    "setmetatable",
    "tonumber",
    "tostring",
    "type",
    "xpcall",
];

impl Sandbox {
    /// Furnishes a fresh interpreter.
    pub fn new(frame: Frame<'_>) -> Self {
        frame.open(ffi::luaopen_base, "");
        frame.open(ffi::luaopen_table, "table");
        frame.open(ffi::luaopen_string, "string");
        frame.open(ffi::luaopen_math, "math");
        frame.push_native(refuse, 0);
        let refusal = frame.keep();
        let kit = Kit { frame, refusal };
        kit.wrap_libraries();
        // The libraries, shown, which all globals share.
        frame.push_table(0, 64);
        let base = frame.top();
        for name in BASIC {
            frame.raw_get_field(GLOBALS, name);
            frame.raw_set_field(base, name);
        }
        kit.wrap_basics(base);
        for name in ["string", "table", "math", "coroutine"] {
            frame.raw_get_field(GLOBALS, name);
            kit.show(LUA_TNIL);
            frame.raw_set_field(base, name);
        }
        for (name, push) in LIBRARIES {
            push(frame);
            kit.show(LUA_TNIL);
            frame.raw_set_field(base, name);
        }
        kit.protect_strings(base);
        frame.push_native(convert::handle_error, 0);
        let handler = frame.keep();
        let eval = kit.globals(base, redis::push_eval_api);
        frame.push_kept(eval.real);
        frame.push_kept(handler);
        frame.raw_set_field(-2, "__redis__err__handler");
        frame.pop(1);
        let function = kit.globals(base, redis::push_function_api);
        let loading = kit.loading_globals();
        frame.set_top(0);
        Self { handler, eval, function, loading }
    }
}

/// Puts a library's functions into a frame.
type Opener = fn(Frame<'_>);

const LIBRARIES: &[(&str, Opener)] = &[
    ("cjson", json::push_library),
    ("cmsgpack", msgpack::push_library),
    ("struct", structs::push_library),
    ("bit", bit::push_library),
];

/// A table of native functions on top.
pub(super) fn push_functions(frame: Frame<'_>, functions: &[(&str, Native)]) {
    frame.push_table(0, functions.len());
    for (name, native) in functions {
        frame.push_native(*native, 0);
        frame.raw_set_field(-2, name);
    }
}

#[derive(Clone, Copy)]
struct Kit<'k> {
    frame: Frame<'k>,
    refusal: i32,
}

impl Kit<'_> {
    /// The table on top becomes a shown one. The value at `metatable` is what `getmetatable` says of it.
    fn show(self, metatable: i32) {
        let frame = self.frame;
        frame.push_table(0, 0);
        frame.push_table(2, 3);
        frame.push_value(-3);
        frame.raw_set_index(-2, REAL);
        frame.push_value(-3);
        frame.raw_set_field(-2, "__index");
        frame.push_kept(self.refusal);
        frame.raw_set_field(-2, "__newindex");
        if metatable != LUA_TNIL {
            frame.push_value(metatable);
            frame.raw_set_index(-2, METATABLE);
        }
        frame.push_light(TAG);
        frame.push_bool(true);
        frame.raw_set(-3);
        frame.set_metatable(-2);
        frame.remove(-2);
    }

    /// Globals over the libraries at `base`, with this `redis`.
    fn globals(self, base: i32, push_api: fn(Frame<'_>)) -> Globals {
        let frame = self.frame;
        frame.push_table(0, 64);
        let real = frame.top();
        frame.push_nil();
        while frame.next(base) {
            frame.push_value(-2);
            frame.insert(-2);
            frame.raw_set(real);
        }
        push_api(frame);
        self.show(LUA_TNIL);
        frame.raw_set_field(real, "redis");
        self.finish_globals(real)
    }

    /// What a library sees while it registers its functions.
    fn loading_globals(self) -> Globals {
        let frame = self.frame;
        frame.push_table(0, 1);
        let real = frame.top();
        redis::push_loading_api(frame);
        let api = frame.top();
        self.push_missing_metatable();
        frame.set_metatable(api);
        self.show(LUA_TNIL);
        frame.raw_set_field(real, "redis");
        self.finish_globals(real)
    }

    fn finish_globals(self, real: i32) -> Globals {
        let frame = self.frame;
        self.push_missing_metatable();
        frame.push_value(-1);
        frame.set_metatable(real);
        self.show(LUA_TNIL);
        let metatable = frame.top();
        frame.push_value(real);
        self.show(metatable);
        frame.push_value(-1);
        frame.raw_set_field(real, "_G");
        let shown = frame.keep();
        frame.push_value(real);
        let real_kept = frame.keep();
        frame.set_top(real - 1);
        Globals { shown, real: real_kept }
    }

    /// A metatable for tables that are asked for what they have not.
    fn push_missing_metatable(self) {
        self.frame.push_table(0, 1);
        self.frame.push_native(missing, 0);
        self.frame.raw_set_field(-2, "__index");
    }

    fn wrap(self, library: &str, names: &[&str], outer: ffi::lua_CFunction) {
        let frame = self.frame;
        frame.raw_get_field(GLOBALS, library);
        for name in names {
            frame.raw_get_field(-1, name);
            frame.wrap(outer);
            frame.raw_set_field(-2, name);
        }
        frame.pop(1);
    }

    fn wrap_libraries(self) {
        let frame = self.frame;
        self.wrap("table", &["insert", "remove", "sort", "setn"], denying);
        self.wrap("table", &["foreach", "foreachi", "maxn"], redirecting);
        self.wrap("string", &["find", "match", "gmatch", "gfind", "gsub"], matching);
        frame.raw_get_field(GLOBALS, "math");
        frame.push_native(random::random, 0);
        frame.raw_set_field(-2, "random");
        frame.push_native(random::randomseed, 0);
        frame.raw_set_field(-2, "randomseed");
        frame.pop(1);
    }

    fn wrap_basics(self, base: i32) {
        let frame = self.frame;
        let wraps: [(&str, ffi::lua_CFunction); 4] = [
            ("rawset", denying),
            ("setmetatable", denying),
            ("rawget", redirecting),
            ("next", redirecting),
        ];
        for (name, outer) in wraps {
            frame.raw_get_field(base, name);
            frame.wrap(outer);
            frame.raw_set_field(base, name);
        }
        frame.raw_get_field(base, "getmetatable");
        frame.wrap(metatable_of);
        frame.raw_set_field(base, "getmetatable");
        frame.raw_get_field(base, "next");
        frame.push_native(pairs, 1);
        frame.raw_set_field(base, "pairs");
        frame.push_c(protected_call);
        frame.raw_set_field(base, "pcall");
        let own: [(&str, Native); 3] =
            [("unpack", unpack), ("loadstring", loadstring), ("collectgarbage", collectgarbage)];
        for (name, native) in own {
            frame.push_native(native, 0);
            frame.raw_set_field(base, name);
        }
        if frame.load(LOAD, b"=load") {
            frame.push_value(base);
            frame.set_environment(-2);
            frame.raw_get_field(GLOBALS, "load");
            frame.raw_get_field(base, "type");
            for name in ["byte", "sub", "match"] {
                frame.raw_get_field(GLOBALS, "string");
                frame.raw_get_field(-1, name);
                frame.remove(-2);
            }
            frame.raw_get_field(base, "error");
            frame.call(6, 1, 0);
            frame.raw_set_field(base, "load");
        }
    }

    /// Strings have a metatable, which all scripts share.
    fn protect_strings(self, base: i32) {
        let frame = self.frame;
        frame.push_bytes(b"");
        if frame.push_metatable(-1) {
            frame.raw_get_field(base, "string");
            frame.raw_set_field(-2, "__index");
            frame.push_value(-1);
            self.show(LUA_TNIL);
            frame.raw_set_field(-2, "__metatable");
            frame.pop(1);
        }
        frame.pop(1);
    }
}

/// Lua's `load`, kept from precompiled code, and from names with a NUL: the parser works with a copy of
/// what is before it, which nothing anchors.
const LOAD: &[u8] = b"local load, type, byte, sub, match, error = ...
return function(reader, name)
    if type(reader) ~= 'function' then
        error(\"bad argument #1 to 'load' (function expected, got \" .. type(reader) .. ')', 2)
    end
    local first = true
    local function guarded()
        local part = reader()
        if first and type(part) == 'string' and part ~= '' then
            first = false
            if byte(part) == 27 then part = '\\1' .. sub(part, 2) end
        end
        return part
    end
    if type(name) == 'string' then name = match(name, '^[^%z]*') end
    return load(guarded, name)
end";

/// Is that a shown table?
pub(super) fn is_protected(frame: Frame<'_>, at: i32) -> bool {
    if frame.kind(at) != LUA_TTABLE || !frame.push_metatable(at) {
        return false;
    }
    frame.push_light(TAG);
    frame.raw_get(-2);
    let protected = frame.boolean(-1);
    frame.pop(2);
    protected
}

/// An assignment to a field of a shown table.
fn refuse(_: Frame<'_>) -> Result<i32, Raised> {
    Err(Raised::said(READONLY))
}

/// A global that is not there.
fn missing(frame: Frame<'_>) -> Result<i32, Raised> {
    if frame.top() != 2 {
        return Err(Raised::said("Wrong number of arguments to luaProtectedTableError"));
    }
    let Some(name) = frame.text(2) else {
        let why = "Second argument to luaProtectedTableError must be a string or number";
        return Err(Raised::said(why));
    };
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    let mut text = b"Script attempted to access nonexistent global variable '".to_vec();
    text.extend_from_slice(name);
    text.push(b'\'');
    Err(Raised::Said(text))
}

fn pairs(frame: Frame<'_>) -> Result<i32, Raised> {
    if frame.kind(1) != LUA_TTABLE {
        return Err(frame.wrong_kind(1, "table"));
    }
    frame.push_value(upvalue(1));
    frame.push_value(1);
    frame.push_nil();
    Ok(3)
}

/// Lua's own misjudges ranges whose length no int can hold.
fn unpack(frame: Frame<'_>) -> Result<i32, Raised> {
    if frame.kind(1) != LUA_TTABLE {
        return Err(frame.wrong_kind(1, "table"));
    }
    let int = |at: i32| -> Result<i64, Raised> {
        #[expect(clippy::cast_possible_truncation, reason = "as C casts")]
        Ok(i64::from(frame.need_integer(at)? as i32))
    };
    let first = if frame.is_nil_or_none(2) { 1 } else { int(2)? };
    let last =
        if frame.is_nil_or_none(3) { i64::try_from(frame.len(1)).unwrap_or(0) } else { int(3)? };
    if first > last {
        return Ok(0);
    }
    let count = i32::try_from(last - first + 1).ok().filter(|it| frame.has_room(*it));
    let Some(count) = count else { return Err(Raised::said("too many results to unpack")) };
    for index in first..=last {
        frame.raw_get_index(1, i32::try_from(index).unwrap_or(0));
    }
    Ok(count)
}

fn loadstring(frame: Frame<'_>) -> Result<i32, Raised> {
    let text = frame.need_text(1)?.into_owned();
    let name =
        if frame.is_nil_or_none(2) { text.clone() } else { frame.need_text(2)?.into_owned() };
    if frame.load(&text, &name) {
        return Ok(1);
    }
    frame.push_nil();
    frame.insert(-2);
    Ok(2)
}

/// A script may collect, and look; it may not change how the collector works for others.
fn collectgarbage(frame: Frame<'_>) -> Result<i32, Raised> {
    let option =
        if frame.is_nil_or_none(1) { b"collect".into() } else { frame.need_text(1)?.into_owned() };
    match option.as_slice() {
        b"collect" => {
            frame.collect();
            frame.push_number(0.0);
        }
        b"count" => frame.push_number(frame.used_kilobytes()),
        b"step" => {
            let size = if frame.is_nil_or_none(2) { 0 } else { frame.need_integer(2)? };
            let whole = frame.collect_some(i32::try_from(size).unwrap_or(0));
            frame.push_bool(whole);
        }
        b"stop" | b"restart" => frame.push_number(0.0),
        b"setpause" | b"setstepmul" => frame.push_number(200.0),
        _ => {
            let option = String::from_utf8_lossy(&option).into_owned();
            return Err(frame.bad_argument(1, &format!("invalid option '{option}'")));
        }
    }
    Ok(1)
}

/// Compiles an EVAL script; the text itself is the function.
pub(super) fn define(frame: Frame<'_>, sandbox: &Sandbox, body: &[u8]) -> Result<i32, Vec<u8>> {
    if !frame.load(body, b"@user_script") {
        let mut said = b"ERR Error compiling script (new function): ".to_vec();
        said.extend_from_slice(&frame.text(-1).unwrap_or_default());
        frame.set_top(0);
        return Err(said);
    }
    frame.push_kept(sandbox.eval.shown);
    frame.set_environment(-2);
    let function = frame.keep();
    frame.set_top(0);
    Ok(function)
}

/// Runs a library's text; it finds `redis.register_function`, and little else.
pub(super) fn load_library(
    frame: Frame<'_>,
    sandbox: &Sandbox,
    code: &[u8],
) -> Result<(), Vec<u8>> {
    frame.set_top(0);
    frame.push_kept(sandbox.handler);
    if !frame.load(code, b"@user_function") {
        let said =
            [b"ERR Error compiling function: ", &*frame.text(-1).unwrap_or_default()].concat();
        frame.set_top(0);
        return Err(said);
    }
    // Its functions keep these globals; what is behind them changes when it is loaded.
    frame.push_kept(sandbox.function.shown);
    frame.set_environment(-2);
    set_metatable_target(frame, sandbox.function.shown, sandbox.loading.real);
    let fine = run_definition(frame, 0);
    set_metatable_target(frame, sandbox.function.shown, sandbox.function.real);
    let result = if fine {
        Ok(())
    } else {
        let mut text = b"ERR Error registering functions: ".to_vec();
        let is_table = frame.kind(-1) == LUA_TTABLE;
        if is_table {
            frame.raw_get_field(-1, "err");
        }
        let said = frame.text(-1).unwrap_or_default();
        if !is_table {
            text.extend_from_slice(b"ERR "); // A text that Lua raised has no code.
        }
        text.extend_from_slice(&said);
        Err(text)
    };
    frame.set_top(0);
    result
}

/// What is shown leads to another table from now on.
fn set_metatable_target(frame: Frame<'_>, shown: i32, real: i32) {
    frame.push_kept(shown);
    if frame.push_metatable(-1) {
        frame.push_kept(real);
        frame.push_value(-1);
        frame.raw_set_field(-3, "__index");
        frame.raw_set_index(-2, REAL);
        frame.pop(1);
    }
    frame.pop(1);
}

/// Refuses shown tables, else runs what it wraps.
unsafe extern "C-unwind" fn denying(state: *mut ffi::lua_State) -> std::ffi::c_int {
    // SAFETY: Lua calls it with a live state; nothing is owned when it raises.
    unsafe {
        if raw::is_marked(state, 1, TAG) {
            raw::push(state, READONLY.as_bytes());
            ffi::lua_error(state)
        }
        raw::inner(state)
    }
}

/// Takes the real table for a shown one, and runs what it wraps.
unsafe extern "C-unwind" fn redirecting(state: *mut ffi::lua_State) -> std::ffi::c_int {
    // SAFETY: as `denying`.
    unsafe {
        if raw::is_marked(state, 1, TAG) {
            ffi::lua_getmetatable(state, 1);
            ffi::lua_rawgeti_(state, -1, REAL);
            ffi::lua_replace(state, 1);
            ffi::lua_pop(state, 1);
        }
        raw::inner(state)
    }
}

unsafe extern "C-unwind" fn metatable_of(state: *mut ffi::lua_State) -> std::ffi::c_int {
    // SAFETY: as `denying`.
    unsafe {
        if raw::is_marked(state, 1, TAG) {
            ffi::lua_getmetatable(state, 1);
            ffi::lua_rawgeti_(state, -1, METATABLE);
            return 1;
        }
        raw::inner(state)
    }
}

/// Patterns are matched by recursion: one with too many items that may repeat would use up the stack.
unsafe extern "C-unwind" fn matching(state: *mut ffi::lua_State) -> std::ffi::c_int {
    // SAFETY: as `denying`.
    unsafe {
        if ffi::lua_type(state, 2) == LUA_TSTRING {
            let mut len = 0;
            let start = ffi::lua_tolstring(state, 2, &raw mut len);
            if len > LUA_PATTERN_ITEMS_MAX && ffi::lua_toboolean(state, 4) == 0 {
                let pattern = std::slice::from_raw_parts(start.cast::<u8>(), len);
                let repeats = |it: &&u8| matches!(it, b'*' | b'+' | b'-' | b'?' | b'(' | b')');
                if pattern.iter().filter(repeats).count() > LUA_PATTERN_ITEMS_MAX {
                    raw::push(state, b"pattern too complex");
                    ffi::lua_error(state)
                }
            }
        }
        raw::inner(state)
    }
}

/// `pcall`, which gives the text of an error that a command made, as scripts of old expect.
unsafe extern "C-unwind" fn protected_call(state: *mut ffi::lua_State) -> std::ffi::c_int {
    // SAFETY: as `denying`.
    unsafe {
        if ffi::lua_gettop(state) == 0 {
            raw::push(state, b"bad argument #1 to 'pcall' (value expected)");
            ffi::lua_error(state)
        }
        let arguments = ffi::lua_gettop(state) - 1;
        ffi::lua_pushboolean(state, 1);
        ffi::lua_insert(state, 1);
        if ffi::lua_pcall(state, arguments, ffi::LUA_MULTRET, 0) != 0 {
            if ffi::lua_type(state, -1) == LUA_TTABLE {
                raw::push(state, b"err");
                ffi::lua_rawget_(state, -2);
                if ffi::lua_isstring(state, -1) != 0 {
                    ffi::lua_replace(state, -2);
                } else {
                    ffi::lua_pop(state, 1);
                }
            }
            ffi::lua_pushboolean(state, 0);
            ffi::lua_insert(state, -2);
            return 2;
        }
        ffi::lua_gettop(state)
    }
}

const _: () = assert!(REGISTRY != GLOBALS);
