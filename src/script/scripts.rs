//! The EVAL scripts that a core knows, by text and by hash.
//!
//! A script that is sent again as text is found by its text: its hash is computed once.
//!
//! Bounded: of scripts that came by EVAL the oldest go when there are too many or they are too long
//! together; those of SCRIPT LOAD stay, for their clients have only the hash.

use crate::base::limits::{EVAL_SCRIPTS_BYTES_MAX, EVAL_SCRIPTS_MAX};
use crate::base::map::HashMap;
use crate::script::flags::{Flags, read_script};
use crate::script::library::Libraries;
use crate::script::machine::Machine;
use sha1_smol::Sha1;
use std::collections::VecDeque;
use std::sync::Arc;

/// A compiled script.
#[derive(Clone, Debug)]
pub struct Script {
    /// 40 hexadecimal digits, lower case.
    pub sha: Arc<str>,
    /// `None`: it says nothing of itself.
    pub flags: Option<Flags>,
    pub body: Arc<[u8]>,
    /// For [`Machine::start`].
    pub function: i32,
    loaded: bool,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct Scripts {
    by_body: HashMap<Arc<[u8]>, Arc<str>>,
    by_sha: HashMap<Arc<str>, Script>,
    /// Of EVAL, in the order in which they came.
    evaluated: VecDeque<Arc<str>>,
    evaluated_bytes: usize,
}

/// Everything of scripts that one core has.
#[derive(Default)]
pub struct Scripting {
    pub machine: Machine,
    pub scripts: Scripts,
    pub libraries: Libraries,
}

/// The hash by which a text is known.
#[must_use]
pub fn sha(body: &[u8]) -> String {
    Sha1::from(body).digest().to_string()
}

impl Scripts {
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_sha.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_sha.is_empty()
    }

    /// The script of that hash, in either case.
    #[must_use]
    pub fn find(&self, sha: &[u8]) -> Option<&Script> {
        let sha = std::str::from_utf8(sha).ok().filter(|it| it.len() == 40)?;
        if sha.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return self.by_sha.get(sha.to_ascii_lowercase().as_str());
        }
        self.by_sha.get(sha)
    }

    #[must_use]
    pub fn knows(&self, body: &[u8]) -> bool {
        self.by_body.contains_key(body)
    }

    /// The script of that text, compiled if it is new; `loaded`: it is to stay.
    ///
    /// # Errors
    /// Why it does not compile, in Redis' words.
    pub fn define(
        &mut self,
        machine: &mut Machine,
        body: &[u8],
        loaded: bool,
    ) -> Result<&Script, Vec<u8>> {
        let sha = match self.by_body.get(body) {
            Some(sha) => Arc::clone(sha),
            None => self.compile(machine, body, loaded)?,
        };
        let script = self.by_sha.get_mut(&sha).ok_or_else(Vec::new)?;
        script.loaded |= loaded;
        Ok(script)
    }

    fn compile(
        &mut self,
        machine: &mut Machine,
        body: &[u8],
        loaded: bool,
    ) -> Result<Arc<str>, Vec<u8>> {
        let (flags, text) = read_script(body)?;
        let sha: Arc<str> = sha(body).into();
        let function = machine.define(text)?;
        let body: Arc<[u8]> = body.into();
        if !loaded {
            self.evaluated_bytes += body.len();
            self.evaluated.push_back(Arc::clone(&sha));
            self.forget_oldest(machine);
        }
        self.by_body.insert(Arc::clone(&body), Arc::clone(&sha));
        let script = Script { sha: Arc::clone(&sha), flags, body, function, loaded };
        self.by_sha.insert(Arc::clone(&sha), script);
        Ok(sha)
    }

    fn forget_oldest(&mut self, machine: &mut Machine) {
        while self.evaluated.len() > EVAL_SCRIPTS_MAX
            || self.evaluated.len() > 1 && self.evaluated_bytes > EVAL_SCRIPTS_BYTES_MAX
        {
            let Some(sha) = self.evaluated.pop_front() else { return };
            let Some(script) = self.by_sha.get(&sha) else { continue };
            self.evaluated_bytes = self.evaluated_bytes.saturating_sub(script.body.len());
            if !script.loaded {
                machine.forget(script.function);
                self.by_body.remove(&*script.body);
                self.by_sha.remove(&sha);
            }
        }
    }

    /// Bytes of all texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.by_sha.values().map(|it| it.body.len()).sum()
    }

    pub fn flush(&mut self, machine: &mut Machine) {
        for script in self.by_sha.values() {
            machine.forget(script.function);
        }
        *self = Self::default();
    }
}
