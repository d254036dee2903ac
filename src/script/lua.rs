//! Lua's C interface, so that nothing ever jumps over a frame of Rust, and nothing is used that Lua frees.
//!
//! Lua 5.1 raises errors with `longjmp`. Two rules keep that away from Rust:
//!
//! 1. A [`Native`] function returns its error as a value. [`trampoline`], which owns nothing, raises it.
//! 2. While Rust runs, the allocator never refuses ([`Shared::lenient`]), so no call into Lua can raise for
//!    want of memory; the budget is looked at when the native function is over. Lua's own code is refused
//!    memory as soon as the budget is used up. None of the calls made here raises for another reason:
//!    tables are read and written raw, keys are neither nil nor NaN, no metamethod is run (no `__gc` either:
//!    scripts cannot make userdata), and the stack is grown only by [`Frame::has_room`].
//!
//! A slice that [`Frame::bytes`] gives lives as long as its value stays on Lua's stack or in a table that
//! does. Who holds one does not pop the value.
//!
//! Not here: what scripts may see (`sandbox.rs`), when they run (`machine.rs`).

#![expect(unsafe_code, reason = "a C library; see the rules above")]
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one word above `impl Frame` is about them all"
)]

use crate::base::limits::LUA_MEMORY_BYTES_MAX;
use crate::script::machine::{Run, Step};
use corosensei::Yielder;
use mlua::ffi;
pub use mlua::ffi::{
    LUA_TBOOLEAN, LUA_TFUNCTION, LUA_TLIGHTUSERDATA, LUA_TNIL, LUA_TNONE, LUA_TNUMBER, LUA_TSTRING,
    LUA_TTABLE,
};
use std::alloc::Layout;
use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

/// A function for scripts: arguments at 1.., so many results on top.
pub type Native = fn(Frame<'_>) -> Result<i32, Raised>;

/// Why a native function ends with a Lua error.
#[derive(Debug)]
pub enum Raised {
    /// A text, behind the place in the script that called.
    Said(Vec<u8>),
    /// A text alone.
    Bare(Vec<u8>),
    /// The value on top of the stack.
    Top,
}

impl Raised {
    pub fn said(text: impl AsRef<[u8]>) -> Self {
        Self::Said(text.as_ref().to_vec())
    }
}

/// What the interpreter's callbacks find: by the pointer that Lua gives its allocator.
pub(super) struct Shared {
    used: usize,
    limit: usize,
    lenient: bool,
    /// Of the script that runs.
    pub yielder: *const Yielder<(), Step>,
    pub run: Run,
}

/// One interpreter. Dropping it frees everything that its scripts made.
pub(super) struct Lua {
    state: NonNull<ffi::lua_State>,
    shared: NonNull<Shared>,
}

impl Lua {
    /// `None` where there is no memory for it.
    pub fn new() -> Option<Self> {
        let shared = Shared {
            used: 0,
            limit: LUA_MEMORY_BYTES_MAX,
            lenient: true,
            yielder: ptr::null(),
            run: Run::default(),
        };
        let shared = NonNull::from(Box::leak(Box::new(shared)));
        // SAFETY: the allocator gets the pointer that it expects, which lives until `drop`.
        let state = unsafe { ffi::lua_newstate(allocate, shared.as_ptr().cast()) };
        match NonNull::new(state) {
            Some(state) => Some(Self { state, shared }),
            None => {
                // SAFETY: made above, and nobody else has it.
                drop(unsafe { Box::from_raw(shared.as_ptr()) });
                None
            }
        }
    }

    pub fn frame(&self) -> Frame<'_> {
        Frame { state: self.state.as_ptr(), shared: self.shared, life: PhantomData }
    }

    /// For a script's own stack, which ends before the interpreter does.
    pub fn detached(&self) -> Frame<'static> {
        Frame { state: self.state.as_ptr(), shared: self.shared, life: PhantomData }
    }

    /// What the script and its host say to each other; only while the script stands still.
    pub fn run(&mut self) -> &mut Run {
        // SAFETY: `&mut self`, and native functions give their borrow back before they stand still.
        unsafe { &mut (*self.shared.as_ptr()).run }
    }

    pub fn used_bytes(&self) -> usize {
        // SAFETY: as `run`.
        unsafe { (*self.shared.as_ptr()).used }
    }
}

impl Drop for Lua {
    fn drop(&mut self) {
        // SAFETY: the last use of both; no script runs.
        unsafe {
            ffi::lua_close(self.state.as_ptr());
            drop(Box::from_raw(self.shared.as_ptr()));
        }
    }
}

/// The interpreter as a native function, or its owner, sees it.
#[derive(Clone, Copy)]
pub struct Frame<'l> {
    state: *mut ffi::lua_State,
    shared: NonNull<Shared>,
    life: PhantomData<&'l ()>,
}

/// Where the globals table is among a function's stack places.
pub const GLOBALS: i32 = ffi::LUA_GLOBALSINDEX;
/// Where what scripts cannot see is kept.
pub const REGISTRY: i32 = ffi::LUA_REGISTRYINDEX;

/// The value that a native function was made with.
pub const fn upvalue(number: i32) -> i32 {
    // One more than asked for: the first is the native function itself.
    ffi::lua_upvalueindex(number + 1)
}

// SAFETY of all blocks below: `state` is alive for `'l`, places are within the stack or acceptable by
// Lua's rules ("none"), and nothing raises (see the file's header).
impl<'l> Frame<'l> {
    pub fn run<R>(self, with: impl FnOnce(&mut Run) -> R) -> R {
        // SAFETY: the closure cannot reach it another way: it has no frame to call this on, but by
        // capturing one, which no caller does.
        with(unsafe { &mut (*self.shared.as_ptr()).run })
    }

    pub fn top(self) -> i32 {
        unsafe { ffi::lua_gettop(self.state) }
    }

    pub fn set_top(self, top: i32) {
        unsafe { ffi::lua_settop(self.state, top) }
    }

    pub fn pop(self, values: i32) {
        unsafe { ffi::lua_settop(self.state, -values - 1) }
    }

    /// Room for so many more values?
    pub fn has_room(self, values: i32) -> bool {
        unsafe { ffi::lua_checkstack(self.state, values) != 0 }
    }

    pub fn kind(self, at: i32) -> i32 {
        unsafe { ffi::lua_type(self.state, at) }
    }

    pub fn kind_name(self, at: i32) -> &'static str {
        match self.kind(at) {
            LUA_TNONE => "no value",
            LUA_TNIL => "nil",
            LUA_TBOOLEAN => "boolean",
            LUA_TNUMBER => "number",
            LUA_TSTRING => "string",
            LUA_TTABLE => "table",
            LUA_TFUNCTION => "function",
            ffi::LUA_TTHREAD => "thread",
            _ => "userdata",
        }
    }

    pub fn is_nil_or_none(self, at: i32) -> bool {
        self.kind(at) <= LUA_TNIL
    }

    /// A number, or a string that reads as one.
    pub fn number(self, at: i32) -> Option<f64> {
        unsafe {
            (ffi::lua_isnumber(self.state, at) != 0).then(|| ffi::lua_tonumber(self.state, at))
        }
    }

    pub fn boolean(self, at: i32) -> bool {
        unsafe { ffi::lua_toboolean(self.state, at) != 0 }
    }

    /// The bytes of a string; not of a number. See the file's header for how long.
    pub fn bytes(self, at: i32) -> Option<&'l [u8]> {
        if self.kind(at) != LUA_TSTRING {
            return None;
        }
        unsafe {
            let mut len = 0;
            let start = ffi::lua_tolstring(self.state, at, &raw mut len);
            Some(std::slice::from_raw_parts(start.cast(), len))
        }
    }

    /// The bytes of a string, or a number as Lua writes it.
    pub fn text(self, at: i32) -> Option<Cow<'l, [u8]>> {
        match self.kind(at) {
            LUA_TSTRING => self.bytes(at).map(Cow::Borrowed),
            LUA_TNUMBER => {
                let mut text = Vec::new();
                crate::base::num::write_g(&mut text, self.number(at)?, 14);
                Some(Cow::Owned(text))
            }
            _ => None,
        }
    }

    /// The length of a string; of a table as `#` says, without metamethods.
    pub fn len(self, at: i32) -> usize {
        unsafe { ffi::lua_objlen(self.state, at) }
    }

    /// What tells one table, function or thread from another.
    pub fn address(self, at: i32) -> usize {
        unsafe { ffi::lua_topointer(self.state, at) as usize }
    }

    pub fn push_nil(self) {
        unsafe { ffi::lua_pushnil(self.state) }
    }

    pub fn push_bool(self, value: bool) {
        unsafe { ffi::lua_pushboolean(self.state, value.into()) }
    }

    pub fn push_number(self, value: f64) {
        unsafe { ffi::lua_pushnumber(self.state, value) }
    }

    pub fn push_bytes(self, bytes: &[u8]) {
        unsafe { ffi::lua_pushlstring_(self.state, bytes.as_ptr().cast(), bytes.len()) }
    }

    /// A copy of the value at a place.
    pub fn push_value(self, at: i32) {
        unsafe { ffi::lua_pushvalue(self.state, at) }
    }

    /// A light userdata: `cjson.null`, and keys that scripts cannot have.
    pub fn push_light(self, value: usize) {
        unsafe { ffi::lua_pushlightuserdata(self.state, ptr::without_provenance_mut(value)) }
    }

    /// A function with the topmost `upvalues` values, which it takes.
    pub fn push_native(self, native: Native, upvalues: i32) {
        unsafe {
            ffi::lua_pushlightuserdata(self.state, native as *mut c_void);
            ffi::lua_insert(self.state, -1 - upvalues);
            ffi::lua_pushcclosure(self.state, trampoline, upvalues + 1);
        }
    }

    /// A function of C as it is.
    pub fn push_c(self, function: ffi::lua_CFunction) {
        unsafe { ffi::lua_pushcclosure(self.state, function, 0) }
    }

    /// The function of C on top, which has no upvalues, within `outer`, which calls it by [`inner`].
    pub fn wrap(self, outer: ffi::lua_CFunction) {
        unsafe {
            if let Some(function) = ffi::lua_tocfunction(self.state, -1) {
                ffi::lua_pushlightuserdata(self.state, function as *mut c_void);
                ffi::lua_pushcclosure(self.state, outer, 1);
                ffi::lua_remove(self.state, -2);
            }
        }
    }

    /// A table. The sizes are hints from whoever knows them, never from outside.
    pub fn push_table(self, array: usize, fields: usize) {
        let hint = |size: usize| c_int::try_from(size.min(1 << 16)).unwrap_or(0);
        unsafe { ffi::lua_createtable(self.state, hint(array), hint(fields)) }
    }

    pub fn insert(self, at: i32) {
        unsafe { ffi::lua_insert(self.state, at) }
    }

    pub fn replace(self, at: i32) {
        unsafe { ffi::lua_replace(self.state, at) }
    }

    pub fn remove(self, at: i32) {
        unsafe { ffi::lua_remove(self.state, at) }
    }

    /// The key on top becomes its value.
    pub fn raw_get(self, table: i32) {
        unsafe { ffi::lua_rawget_(self.state, table) }
    }

    pub fn raw_get_index(self, table: i32, index: i32) {
        unsafe { ffi::lua_rawgeti_(self.state, table, index) }
    }

    pub fn raw_get_field(self, table: i32, name: &str) {
        let table = self.absolute(table);
        self.push_bytes(name.as_bytes());
        self.raw_get(table);
    }

    /// Key and value on top go into the table.
    ///
    /// `false`: the key is none. Then they are dropped.
    pub fn raw_set(self, table: i32) -> bool {
        let none = match self.kind(-2) {
            LUA_TNIL => true,
            LUA_TNUMBER => self.number(-2).is_none_or(f64::is_nan),
            _ => false,
        };
        if none {
            self.pop(2);
        } else {
            unsafe { ffi::lua_rawset(self.state, table) }
        }
        !none
    }

    pub fn raw_set_index(self, table: i32, index: i32) {
        unsafe { ffi::lua_rawseti_(self.state, table, index) }
    }

    /// The value on top becomes that field.
    pub fn raw_set_field(self, table: i32, name: &str) {
        let table = self.absolute(table);
        self.push_bytes(name.as_bytes());
        self.insert(-2);
        self.raw_set(table);
    }

    /// The key on top becomes the next key and its value, or is dropped at the end.
    pub fn next(self, table: i32) -> bool {
        unsafe { ffi::lua_next(self.state, table) != 0 }
    }

    pub fn push_metatable(self, at: i32) -> bool {
        unsafe { ffi::lua_getmetatable(self.state, at) != 0 }
    }

    /// The table on top becomes the metatable.
    pub fn set_metatable(self, at: i32) {
        unsafe {
            ffi::lua_setmetatable(self.state, at);
        }
    }

    /// The table on top becomes what the function takes for its globals.
    pub fn set_environment(self, at: i32) {
        unsafe {
            ffi::lua_setfenv(self.state, at);
        }
    }

    /// Keeps the value on top, out of reach of scripts.
    pub fn keep(self) -> i32 {
        unsafe { ffi::luaL_ref(self.state, REGISTRY) }
    }

    pub fn forget(self, kept: i32) {
        unsafe { ffi::luaL_unref(self.state, REGISTRY, kept) }
    }

    pub fn push_kept(self, kept: i32) {
        self.raw_get_index(REGISTRY, kept);
    }

    fn absolute(self, at: i32) -> i32 {
        if at > 0 || at <= REGISTRY { at } else { self.top() + at + 1 }
    }

    /// Opens a library of Lua's own.
    pub fn open(self, library: ffi::lua_CFunction, name: &str) {
        self.push_c(library);
        self.push_bytes(name.as_bytes());
        // It cannot fail: no memory is refused yet.
        unsafe { ffi::lua_call(self.state, 1, 0) }
    }

    /// The text as a function on top, or why it is none. Never precompiled code, which could do anything.
    /// Names are at most what `name` holds before a NUL.
    pub fn load(self, text: &[u8], name: &[u8]) -> bool {
        let mut name = name.to_vec();
        name.push(0);
        let binary = text.first() == Some(&0x1b);
        let mut copy = Vec::new();
        let text = if binary {
            // Another character that begins no token, so that the complaint is the parser's own.
            copy.extend_from_slice(text);
            copy[0] = 1;
            &copy
        } else {
            text
        };
        // While it parses, the collector stands still: the chunk's name is not anchored in this version.
        // The call is protected, and what it takes is bounded like what scripts take.
        let failed = unsafe {
            ffi::lua_gc(self.state, ffi::LUA_GCSTOP, 0);
            let lenient = self.set_lenient(false);
            let failed = ffi::luaL_loadbuffer(
                self.state,
                text.as_ptr().cast(),
                text.len(),
                name.as_ptr().cast(),
            ) != 0;
            self.set_lenient(lenient);
            ffi::lua_gc(self.state, ffi::LUA_GCRESTART, 0);
            failed
        };
        if binary && !failed {
            self.pop(1);
            self.push_bytes(b"unexpected symbol near 'char(27)'");
        } else if binary && let Some(said) = self.bytes(-1) {
            let said = String::from_utf8_lossy(said).replace("'char(1)'", "'char(27)'");
            self.pop(1);
            self.push_bytes(said.as_bytes());
        }
        !failed && !binary
    }

    /// Runs the function under its `arguments` on top: results, or `false` and the error. Errors go by the
    /// function at `handler`, where that is not 0.
    pub fn call(self, arguments: i32, results: i32, handler: i32) -> bool {
        unsafe {
            let lenient = self.set_lenient(false);
            let failed = ffi::lua_pcall(self.state, arguments, results, handler);
            self.set_lenient(lenient);
            failed == 0
        }
    }

    fn set_lenient(self, lenient: bool) -> bool {
        unsafe { std::mem::replace(&mut (*self.shared.as_ptr()).lenient, lenient) }
    }

    /// Calls [`Run::interrupt`] each so many instructions; none: never.
    pub fn set_hook(self, instructions: Option<c_int>) {
        unsafe {
            match instructions {
                Some(count) => {
                    ffi::lua_sethook(self.state, Some(hook), ffi::LUA_MASKCOUNT, count);
                }
                None => {
                    ffi::lua_sethook(self.state, None, 0, 0);
                }
            }
        }
    }

    /// A full collection.
    pub fn collect(self) {
        unsafe {
            ffi::lua_gc(self.state, ffi::LUA_GCCOLLECT, 0);
        }
    }

    /// A part of a collection. True: it was the last of a cycle.
    pub fn collect_some(self, size: i32) -> bool {
        unsafe { ffi::lua_gc(self.state, ffi::LUA_GCSTEP, size) != 0 }
    }

    /// Kilobytes in use.
    pub fn used_kilobytes(self) -> f64 {
        unsafe {
            let (kilo, bytes) = (
                ffi::lua_gc(self.state, ffi::LUA_GCCOUNT, 0),
                ffi::lua_gc(self.state, ffi::LUA_GCCOUNTB, 0),
            );
            f64::from(kilo) + f64::from(bytes) / 1024.0
        }
    }

    /// Stands still until the host goes on; `false`: nobody is there to do so.
    pub fn stand(self, step: Step) -> bool {
        unsafe {
            let shared = self.shared.as_ptr();
            let yielder = (*shared).yielder;
            if yielder.is_null() {
                return false;
            }
            (*yielder).suspend(step);
            true
        }
    }

    pub(super) fn set_yielder(self, yielder: *const Yielder<(), Step>) {
        unsafe { (*self.shared.as_ptr()).yielder = yielder }
    }

    /// Of the function `level` calls up (0: the running one): what it is, its source, where in it.
    pub fn caller(self, level: i32) -> Option<Caller> {
        unsafe {
            let mut debug: ffi::lua_Debug = std::mem::zeroed();
            if ffi::lua_getstack(self.state, level, &raw mut debug) == 0 {
                return None;
            }
            ffi::lua_getinfo(self.state, c"nSl".as_ptr(), &raw mut debug);
            let text = |it: *const c_char| {
                if it.is_null() { Vec::new() } else { CStr::from_ptr(it).to_bytes().to_vec() }
            };
            Some(Caller {
                is_c: text(debug.what) == b"C",
                source: text(debug.source),
                short_source: text(debug.short_src.as_ptr()),
                line: debug.currentline,
                name: (!debug.name.is_null()).then(|| text(debug.name)),
                is_method: text(debug.namewhat) == b"method",
            })
        }
    }

    /// `user_script:1: `, for the function `level` calls up.
    pub fn place(self, level: i32) -> Vec<u8> {
        let Some(caller) = self.caller(level).filter(|it| it.line > 0) else { return Vec::new() };
        let mut place = caller.short_source;
        place.extend_from_slice(format!(":{}: ", caller.line).as_bytes());
        place
    }

    /// What is wrong with an argument, in Lua's words.
    pub fn bad_argument(self, number: i32, why: &str) -> Raised {
        let mut number = number;
        let Some(callee) = self.caller(0) else {
            return Raised::said(format!("bad argument #{number} ({why})"));
        };
        let name = callee.name.unwrap_or_else(|| b"?".to_vec());
        let name = String::from_utf8_lossy(&name);
        if callee.is_method {
            number -= 1;
            if number == 0 {
                return Raised::said(format!("calling '{name}' on bad self ({why})"));
            }
        }
        Raised::said(format!("bad argument #{number} to '{name}' ({why})"))
    }

    pub fn wrong_kind(self, number: i32, expected: &str) -> Raised {
        let got = self.kind_name(number);
        self.bad_argument(number, &format!("{expected} expected, got {got}"))
    }

    /// An argument that must be a number.
    pub fn need_number(self, at: i32) -> Result<f64, Raised> {
        self.number(at).ok_or_else(|| self.wrong_kind(at, "number"))
    }

    /// An argument that must be a number, as C converts it to a 64-bit integer.
    pub fn need_integer(self, at: i32) -> Result<i64, Raised> {
        self.need_number(at).map(c_integer)
    }

    /// An argument that must be a string or number.
    pub fn need_text(self, at: i32) -> Result<Cow<'l, [u8]>, Raised> {
        self.text(at).ok_or_else(|| self.wrong_kind(at, "string"))
    }
}

/// As C converts a double on this hardware: what does not fit becomes the least.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "that is what it is for")]
pub fn c_integer(value: f64) -> i64 {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&value) { value as i64 } else { i64::MIN }
}

/// A function on the stack of calls.
#[derive(Debug)]
pub struct Caller {
    pub is_c: bool,
    pub source: Vec<u8>,
    short_source: Vec<u8>,
    pub line: i32,
    name: Option<Vec<u8>>,
    is_method: bool,
}

/// Runs the native function in the first upvalue. Owns nothing when it raises.
unsafe extern "C-unwind" fn trampoline(state: *mut ffi::lua_State) -> c_int {
    // SAFETY: made by `push_native` only, which puts a `Native` there; the shared state outlives Lua.
    unsafe {
        let shared = shared_of(state);
        let lenient = std::mem::replace(&mut (*shared).lenient, true);
        let native = ffi::lua_touserdata(state, ffi::lua_upvalueindex(1));
        let native = std::mem::transmute::<*mut c_void, Native>(native);
        let results = run_native(state, shared, native);
        (*shared).lenient = lenient;
        if !lenient && (*shared).used > (*shared).limit {
            // A full collection may help, else the next allocation of Lua's own fails.
            ffi::lua_gc(state, ffi::LUA_GCCOLLECT, 0);
        }
        if results >= 0 {
            return results;
        }
        ffi::lua_error(state)
    }
}

/// How many results, or -1 with the error on top.
unsafe fn run_native(state: *mut ffi::lua_State, shared: *mut Shared, native: Native) -> c_int {
    // SAFETY: Lua gave its allocator's pointer.
    let shared = unsafe { NonNull::new_unchecked(shared) };
    let frame = Frame { state, shared, life: PhantomData };
    match native(frame) {
        Ok(results) => return results,
        Err(Raised::Said(text)) => {
            let mut said = frame.place(1);
            said.extend_from_slice(&text);
            frame.push_bytes(&said);
        }
        Err(Raised::Bare(text)) => frame.push_bytes(&text),
        Err(Raised::Top) => {}
    }
    -1
}

unsafe fn shared_of(state: *mut ffi::lua_State) -> *mut Shared {
    let mut shared = ptr::null_mut();
    // SAFETY: every state is made by `Lua::new`.
    unsafe { ffi::lua_getallocf(state, &raw mut shared) };
    shared.cast()
}

/// Each so many instructions of a script, and when it was killed at each line.
unsafe extern "C-unwind" fn hook(state: *mut ffi::lua_State, _: *mut ffi::lua_Debug) {
    // SAFETY: as `trampoline`. What `interrupted` owned is gone before the error is raised.
    unsafe {
        let shared = shared_of(state);
        let lenient = std::mem::replace(&mut (*shared).lenient, true);
        let frame = Frame { state, shared: NonNull::new_unchecked(shared), life: PhantomData };
        let killed = Run::interrupt(frame);
        if (*shared).used > (*shared).limit / 2 {
            frame.collect();
        }
        (*shared).lenient = lenient;
        if killed {
            // At every line from now on, so that no `pcall` of the script keeps it alive.
            ffi::lua_sethook(state, Some(hook), ffi::LUA_MASKLINE, 0);
            ffi::lua_error(state);
        }
    }
}

/// Lua's memory, counted.
unsafe extern "C" fn allocate(
    shared: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    const ALIGN: usize = 16;
    // SAFETY: Lua gives the pointer of `lua_newstate`, and of each block its size.
    unsafe {
        let shared: *mut Shared = shared.cast();
        let old = if block.is_null() { 0 } else { old };
        let layout = Layout::from_size_align_unchecked(old, ALIGN);
        if new == 0 {
            if old != 0 {
                std::alloc::dealloc(block.cast(), layout);
                (*shared).used -= old;
            }
            return ptr::null_mut();
        }
        let used = (*shared).used - old + new;
        if new > old && used > (*shared).limit && !(*shared).lenient {
            return ptr::null_mut();
        }
        let block = if old == 0 {
            std::alloc::alloc(Layout::from_size_align_unchecked(new, ALIGN))
        } else {
            std::alloc::realloc(block.cast(), layout, new)
        };
        if block.is_null() && (*shared).lenient {
            std::alloc::handle_alloc_error(Layout::from_size_align_unchecked(new, ALIGN));
        }
        if !block.is_null() {
            (*shared).used = used;
        }
        block.cast()
    }
}

/// Pieces of functions of C, which may raise: their callers own nothing.
pub(super) mod raw {
    use super::*;

    /// Runs what [`Frame::wrap`] wrapped.
    pub unsafe fn inner(state: *mut ffi::lua_State) -> c_int {
        // SAFETY: called by functions that `wrap` made only.
        unsafe {
            let function = ffi::lua_touserdata(state, ffi::lua_upvalueindex(1));
            let function = std::mem::transmute::<*mut c_void, ffi::lua_CFunction>(function);
            function(state)
        }
    }

    pub unsafe fn push(state: *mut ffi::lua_State, bytes: &[u8]) {
        // SAFETY: the state is alive.
        unsafe { ffi::lua_pushlstring_(state, bytes.as_ptr().cast(), bytes.len()) }
    }

    /// Is that a table whose metatable has the mark?
    pub unsafe fn is_marked(state: *mut ffi::lua_State, at: c_int, mark: usize) -> bool {
        // SAFETY: the state is alive, and functions of C have room for 20 values.
        unsafe {
            if ffi::lua_type(state, at) != LUA_TTABLE || ffi::lua_getmetatable(state, at) == 0 {
                return false;
            }
            ffi::lua_pushlightuserdata(state, ptr::without_provenance_mut(mark));
            ffi::lua_rawget_(state, -2);
            let marked = ffi::lua_toboolean(state, -1) != 0;
            ffi::lua_pop(state, 2);
            marked
        }
    }
}
