//! Libraries of functions: their first line, how they register functions, and all that are loaded.
//!
//! A library is its text. Whoever has the text has the library: files, replicas and other cores get
//! texts, and each core runs them once, to have the functions in its own interpreter.
//!
//! Not here: FUNCTION's sub-commands, what becomes of the text on other cores.

use crate::base::map::HashMap;
use crate::resp::inline::split_words;
use crate::script::convert::push_error;
use crate::script::flags::Flags;
use crate::script::lua::{Frame, LUA_TFUNCTION, LUA_TTABLE, Raised};
use crate::script::machine::Machine;
use std::sync::Arc;

/// A function, as its library registered it.
#[derive(Clone, Debug)]
pub struct Function {
    pub name: Vec<u8>,
    pub description: Option<Vec<u8>>,
    pub flags: Flags,
    /// For [`Machine::start`].
    pub function: i32,
}

/// What a library registers while its text runs.
#[derive(Debug, Default)]
pub struct Loading {
    pub functions: Vec<Function>,
}

/// A loaded library.
#[derive(Clone, Debug)]
pub struct Library {
    pub name: Vec<u8>,
    pub code: Arc<[u8]>,
    pub functions: Vec<Function>,
}

/// All libraries of a core, by name.
#[derive(Clone, Debug, Default)]
pub struct Libraries {
    libraries: Vec<Library>,
    /// The library and the place in it, by the function's name in lower case: any case calls it.
    functions: HashMap<Vec<u8>, (usize, usize)>,
}

/// What becomes of libraries that are there, when others are restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    Flush,
    Append,
    Replace,
}

const NAME: &str = "Library names can only contain letters, numbers, or underscores(_) and must be at \
                    least one character long";

impl Libraries {
    #[must_use]
    pub fn function(&self, name: &[u8]) -> Option<&Function> {
        let (library, place) = self.functions.get(&name.to_ascii_lowercase())?;
        self.libraries.get(*library)?.functions.get(*place)
    }

    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Library> {
        self.libraries.iter().find(|it| it.name == name)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Library> {
        self.libraries.iter()
    }

    /// How many functions all libraries have.
    #[must_use]
    pub fn functions_len(&self) -> usize {
        self.functions.len()
    }

    /// Loads a library, and gives its name.
    ///
    /// # Errors
    /// Why not, in Redis' words. Then all is as it was.
    pub fn load(
        &mut self,
        machine: &mut Machine,
        code: &[u8],
        replace: bool,
    ) -> Result<Vec<u8>, Vec<u8>> {
        let name = library_name(code)?;
        let old = self.libraries.iter().position(|it| it.name == name);
        if old.is_some() && !replace {
            return Err([b"ERR Library '", name.as_slice(), b"' already exists"].concat());
        }
        // Without its first line's words, so that lines keep their numbers.
        let text = code.iter().position(|&byte| byte == b'\n').map_or(&[][..], |end| &code[end..]);
        let loading = machine.load_library(text)?;
        let mut refusal = None;
        if loading.functions.is_empty() {
            refusal = Some(b"ERR No functions registered".to_vec());
        }
        for function in &loading.functions {
            let name = function.name.to_ascii_lowercase();
            let at = self.functions.get(&name).map(|it| it.0);
            if at.is_some() && at != old {
                let name = function.name.as_slice();
                refusal = Some([b"ERR Function ", name, b" already exists"].concat());
            }
        }
        if let Some(refusal) = refusal {
            forget(machine, &loading.functions);
            return Err(refusal);
        }
        let library =
            Library { name: name.clone(), code: code.into(), functions: loading.functions };
        match old {
            Some(at) => {
                let old = std::mem::replace(&mut self.libraries[at], library);
                forget(machine, &old.functions);
            }
            None => self.libraries.push(library),
        }
        self.index();
        Ok(name)
    }

    /// `false`: there is none of that name.
    pub fn delete(&mut self, machine: &mut Machine, name: &[u8]) -> bool {
        let Some(at) = self.libraries.iter().position(|it| it.name == name) else { return false };
        let library = self.libraries.remove(at);
        forget(machine, &library.functions);
        self.index();
        true
    }

    pub fn flush(&mut self, machine: &mut Machine) {
        for library in std::mem::take(&mut self.libraries) {
            forget(machine, &library.functions);
        }
        self.functions.clear();
    }

    /// Loads several libraries or none.
    ///
    /// # Errors
    /// Why not, in Redis' words. Then all is as it was.
    pub fn restore(
        &mut self,
        machine: &mut Machine,
        codes: &[Vec<u8>],
        policy: Restore,
    ) -> Result<(), Vec<u8>> {
        // Their functions are loaded again: what is compiled is not shared by two sets.
        let before: Vec<Arc<[u8]>> = self.libraries.iter().map(|it| Arc::clone(&it.code)).collect();
        if policy == Restore::Flush {
            self.flush(machine);
        }
        let mut failed = None;
        for code in codes {
            let loaded = self.load(machine, code, policy == Restore::Replace);
            if let Err(why) = loaded {
                failed = Some(restore_words(why));
                break;
            }
        }
        let Some(why) = failed else { return Ok(()) };
        self.flush(machine);
        for code in before {
            // They were loaded before, and fit together.
            let _ = self.load(machine, &code, true);
        }
        Err(why)
    }

    fn index(&mut self) {
        self.functions.clear();
        for (at, library) in self.libraries.iter().enumerate() {
            for (place, function) in library.functions.iter().enumerate() {
                self.functions.insert(function.name.to_ascii_lowercase(), (at, place));
            }
        }
    }
}

/// RESTORE tells of a library that is there without the marks around its name.
fn restore_words(why: Vec<u8>) -> Vec<u8> {
    match why.strip_prefix(b"ERR Library '") {
        Some(rest) => {
            let name = rest.split(|&byte| byte == b'\'').next().unwrap_or_default();
            [b"ERR Library ", name, b" already exists"].concat()
        }
        None => why,
    }
}

fn forget(machine: &mut Machine, functions: &[Function]) {
    for function in functions {
        machine.forget(function.function);
    }
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The name in a library's first line.
///
/// # Errors
/// Why the line is wrong, in Redis' words.
pub fn library_name(code: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
    if !code.starts_with(b"#!") {
        return Err(b"ERR Missing library metadata".to_vec());
    }
    let Some(end) = memchr::memchr(b'\n', code) else {
        return Err(b"ERR Invalid library metadata".to_vec());
    };
    let Some(words) = split_words(&code[..end]) else {
        return Err(b"ERR Invalid library metadata".to_vec());
    };
    let mut words = words.into_iter();
    let engine = words.next().unwrap_or_default();
    let engine = engine.strip_prefix(b"#!").unwrap_or_default();
    let mut name = None;
    for word in words {
        match word.strip_prefix(b"name=") {
            Some(_) if name.is_some() => {
                let why = "ERR Invalid metadata value, name argument was given multiple times";
                return Err(why.into());
            }
            Some(given) => name = Some(given.to_vec()),
            None => return Err([b"ERR Invalid metadata value given: ", word.as_slice()].concat()),
        }
    }
    let Some(name) = name else { return Err(b"ERR Library name was not given".to_vec()) };
    if !is_name(&name) {
        return Err(format!("ERR {NAME}").into_bytes());
    }
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err([b"ERR Engine '", engine, b"' not found"].concat());
    }
    Ok(name)
}

/// `redis.register_function(name, callback)`, or one table of named arguments.
pub(super) fn register_function(frame: Frame<'_>) -> Result<i32, Raised> {
    let registered = match frame.top() {
        1 => named_arguments(frame),
        2 => positional_arguments(frame),
        _ => Err("wrong number of arguments to redis.register_function"),
    };
    let registered = registered.and_then(|function| {
        if !is_name(&function.name) {
            frame.forget(function.function);
            return Err(NAME);
        }
        frame.run(|run| {
            let Some(loading) = run.loading.as_mut() else {
                return Err("redis.register_function can only be called on FUNCTION LOAD command");
            };
            if loading.functions.iter().any(|it| it.name == function.name) {
                return Err("Function already exists in the library");
            }
            loading.functions.push(function);
            Ok(())
        })
    });
    match registered {
        Ok(()) => Ok(0),
        Err(why) => {
            push_error(frame, why.as_bytes());
            Err(Raised::Top)
        }
    }
}

fn positional_arguments(frame: Frame<'_>) -> Result<Function, &'static str> {
    let Some(name) = frame.text(1) else {
        return Err("first argument to redis.register_function must be a string");
    };
    let name = name.into_owned();
    if frame.kind(2) != LUA_TFUNCTION {
        return Err("second argument to redis.register_function must be a function");
    }
    let function = frame.keep();
    Ok(Function { name, description: None, flags: Flags::default(), function })
}

fn named_arguments(frame: Frame<'_>) -> Result<Function, &'static str> {
    if frame.kind(1) != LUA_TTABLE {
        return Err(
            "calling redis.register_function with a single argument is only applicable to \
                    Lua table (representing named arguments).",
        );
    }
    let (mut name, mut description, mut callback) = (None, None, None);
    let mut flags = Flags::default();
    frame.push_nil();
    while frame.next(1) {
        let Some(key) = frame.bytes(-2) else {
            return Err("named argument key given to redis.register_function is not a string");
        };
        let value = frame.text(-1).map(std::borrow::Cow::into_owned);
        if key.eq_ignore_ascii_case(b"function_name") {
            let why = "function_name argument given to redis.register_function must be a string";
            name = Some(value.ok_or(why)?);
        } else if key.eq_ignore_ascii_case(b"description") {
            let why = "description argument given to redis.register_function must be a string";
            description = Some(value.ok_or(why)?);
        } else if key.eq_ignore_ascii_case(b"callback") {
            if frame.kind(-1) != LUA_TFUNCTION {
                return Err(
                    "callback argument given to redis.register_function must be a function",
                );
            }
            callback = Some(());
        } else if key.eq_ignore_ascii_case(b"flags") {
            if frame.kind(-1) != LUA_TTABLE {
                return Err("flags argument to redis.register_function must be a table \
                            representing function flags");
            }
            flags = read_flags(frame).ok_or("unknown flag given")?;
        } else {
            return Err("unknown argument given to redis.register_function");
        }
        frame.pop(1);
    }
    let name = name.ok_or("redis.register_function must get a function name argument")?;
    callback.ok_or("redis.register_function must get a callback argument")?;
    // The key may be spelt in any case.
    frame.push_nil();
    while frame.next(1) {
        let key = frame.bytes(-2).unwrap_or_default();
        if key.eq_ignore_ascii_case(b"callback") {
            let function = frame.keep();
            return Ok(Function { name, description, flags, function });
        }
        frame.pop(1);
    }
    Err("redis.register_function must get a callback argument")
}

/// The flags in the table on top.
fn read_flags(frame: Frame<'_>) -> Option<Flags> {
    let mut flags = Flags::default();
    for index in 1.. {
        frame.raw_get_index(-1, index);
        if frame.is_nil_or_none(-1) {
            frame.pop(1);
            return Some(flags);
        }
        let flag = frame.text(-1).and_then(|it| Flags::named(&it.to_ascii_lowercase()));
        frame.pop(1);
        flags.add(flag?);
    }
    None
}
