//! A selector: commands, keys and channels that go together. A user has one, and any number more
//! in parentheses; each must allow all of a request by itself.
//!
//! Rules about commands apply in their order, the last one wins; they are kept as they were given, save
//! that a rule about the same command or category replaces the older one. What they come to is a set of
//! command numbers, so that a check is one bit.
//!
//! The trap: `+@all` also allows commands that come later, `+@x +@y` of all categories does not. And a
//! command with a key that has no pattern must be refused although the request names it in vain: what
//! a request touches is asked of `command/keys.rs`, which routes it too.

use super::catalog::Catalog;
use super::rule::{Denied, RuleError, has_spaces};
use crate::base::glob::matches;
use crate::base::map::HashMap;
use crate::command::args::Args;
use crate::command::keys::keys_found;
use crate::command::spec::{Categories, KeyFlags};

/// See the file's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// A bit per command.
    bits: Vec<u64>,
    /// It began with `+@all`, so commands without a bit are allowed too.
    future: bool,
    /// Every command, without a look at the bits.
    all_commands: bool,
    /// Commands that are allowed with these first arguments only.
    first_args: HashMap<u16, Vec<Vec<u8>>>,
    /// What was said about commands, after `+@all` or `-@all`: allowed or not, and the name.
    rules: Vec<(bool, String)>,
    /// `None`: all keys.
    keys: Option<Vec<KeyPattern>>,
    /// `None`: all channels.
    channels: Option<Vec<Vec<u8>>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    pattern: Vec<u8>,
    reads: bool,
    writes: bool,
}

/// What is asked of a selector: the command's number and the whole request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub number: u16,
    pub args: Args<'a>,
}

impl Selector {
    /// Nothing is allowed, but all channels where `acl-pubsub-default` says so.
    #[must_use]
    pub fn new(all_channels: bool) -> Self {
        Self {
            bits: Vec::new(),
            future: false,
            all_commands: false,
            first_args: HashMap::default(),
            rules: Vec::new(),
            keys: Some(Vec::new()),
            channels: (!all_channels).then(Vec::new),
        }
    }

    /// All is allowed: checks are in vain.
    #[must_use]
    pub fn allows_all(&self) -> bool {
        self.all_commands && self.keys.is_none() && self.channels.is_none()
    }

    /// Applies one rule.
    ///
    /// # Errors
    /// Nothing is changed by a rule that cannot be.
    pub fn set(&mut self, catalog: &Catalog, op: &[u8]) -> Result<(), RuleError> {
        let is = |name: &str| op.eq_ignore_ascii_case(name.as_bytes());
        match op {
            _ if is("allkeys") || is("~*") => self.keys = None,
            _ if is("resetkeys") => self.keys = Some(Vec::new()),
            _ if is("allchannels") || is("&*") => self.channels = None,
            _ if is("resetchannels") => self.channels = Some(Vec::new()),
            _ if is("allcommands") || is("+@all") => self.begin(catalog, true),
            _ if is("nocommands") || is("-@all") => self.begin(catalog, false),
            [b'~' | b'%', ..] => self.add_keys(op)?,
            [b'&', pattern @ ..] => self.add_channel(pattern)?,
            [sign @ (b'+' | b'-'), b'@', category @ ..] => {
                self.category(catalog, *sign == b'+', category)?;
            }
            [b'+', rule @ ..] => self.allow(catalog, rule)?,
            [b'-', rule @ ..] => {
                let number = catalog.find(rule).ok_or(RuleError::UnknownCommand)?;
                self.change(catalog, number, false);
                self.note(&name(catalog, number), false);
            }
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    fn begin(&mut self, catalog: &Catalog, all: bool) {
        let words = catalog.len().div_ceil(64);
        self.bits = vec![if all { u64::MAX } else { 0 }; words];
        (self.future, self.all_commands) = (all, all);
        self.rules.clear();
        self.first_args.clear();
    }

    /// `~pattern`, `%R~pattern`, `%W~pattern`, `%RW~pattern`
    fn add_keys(&mut self, op: &[u8]) -> Result<(), RuleError> {
        let Some(patterns) = &mut self.keys else { return Err(RuleError::AfterAllKeys) };
        let (reads, writes, pattern) = match op {
            [b'~', pattern @ ..] => (true, true, pattern),
            [b'%', rest @ ..] => {
                let at = rest.iter().position(|&byte| byte == b'~');
                let letters = at.map_or(rest, |at| &rest[..at]).to_ascii_uppercase();
                let pattern = at.map_or(&[][..], |at| &rest[at + 1..]);
                match letters.as_slice() {
                    b"R" => (true, false, pattern),
                    b"W" => (false, true, pattern),
                    b"RW" | b"WR" => (true, true, pattern),
                    _ => return Err(RuleError::Syntax),
                }
            }
            _ => return Err(RuleError::Syntax),
        };
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        match patterns.iter_mut().find(|it| it.pattern == pattern) {
            Some(it) => (it.reads, it.writes) = (it.reads | reads, it.writes | writes),
            None => patterns.push(KeyPattern { pattern: pattern.to_vec(), reads, writes }),
        }
        Ok(())
    }

    fn add_channel(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        let Some(channels) = &mut self.channels else { return Err(RuleError::AfterAllChannels) };
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !channels.iter().any(|it| it == pattern) {
            channels.push(pattern.to_vec());
        }
        Ok(())
    }

    fn category(
        &mut self,
        catalog: &Catalog,
        allow: bool,
        category: &[u8],
    ) -> Result<(), RuleError> {
        let wanted = Categories::named(category).ok_or(RuleError::UnknownCommand)?;
        self.note(&format!("@{}", String::from_utf8_lossy(category).to_lowercase()), allow);
        for (number, _) in catalog.iter().filter(|(_, entry)| entry.categories.has(wanted)) {
            self.change(catalog, number, allow);
        }
        Ok(())
    }

    /// `+command`, `+command|subcommand`, `+command|first-argument`
    fn allow(&mut self, catalog: &Catalog, rule: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = rule.iter().rposition(|&byte| byte == b'|') else {
            let number = catalog.find(rule).ok_or(RuleError::UnknownCommand)?;
            self.change(catalog, number, true);
            self.note(&name(catalog, number), true);
            return Ok(());
        };
        let (command, first_arg) = (&rule[..bar], &rule[bar + 1..]);
        let number = catalog.find(command).ok_or(RuleError::UnknownCommand)?;
        let entry = catalog.get(number).ok_or(RuleError::UnknownCommand)?;
        if entry.is_subcommand {
            return Err(RuleError::FirstArgOfSubcommand);
        }
        if first_arg.is_empty() {
            return Err(RuleError::Syntax);
        }
        if entry.subcommands.is_empty() {
            // It is read again as a word of a line.
            if has_spaces(first_arg) {
                return Err(RuleError::Syntax);
            }
            let args = self.first_args.entry(number).or_default();
            if !args.iter().any(|it| it.eq_ignore_ascii_case(first_arg)) {
                args.push(first_arg.to_vec());
            }
        } else {
            let number = catalog.find(rule).ok_or(RuleError::UnknownCommand)?;
            self.change(catalog, number, true);
        }
        self.note(&String::from_utf8_lossy(rule).to_lowercase(), true);
        Ok(())
    }

    /// Allows or forbids a command, and with a container all its sub-commands.
    fn change(&mut self, catalog: &Catalog, number: u16, allow: bool) {
        self.first_args.remove(&number);
        self.set_bit(catalog, number, allow);
        for &number in catalog.get(number).map(|it| &it.subcommands).into_iter().flatten() {
            self.set_bit(catalog, number, allow);
        }
        self.all_commands &= allow;
    }

    fn set_bit(&mut self, catalog: &Catalog, number: u16, allow: bool) {
        self.bits.resize(catalog.len().div_ceil(64), 0);
        let (word, bit) = (usize::from(number) / 64, 1 << (number % 64));
        match self.bits.get_mut(word) {
            Some(word) if allow => *word |= bit,
            Some(word) => *word &= !bit,
            None => {}
        }
    }

    fn has_bit(&self, number: u16) -> bool {
        let word = self.bits.get(usize::from(number) / 64);
        word.is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    /// Keeps what was said about a command or a category, in place of what was said before.
    fn note(&mut self, name: &str, allow: bool) {
        let older = |rule: &str| {
            rule.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        };
        self.rules.retain(|(_, rule)| !older(rule));
        self.rules.push((allow, name.to_string()));
    }

    /// Does this selector by itself allow the request?
    ///
    /// # Errors
    /// The first thing that it does not allow.
    pub fn check(&self, catalog: &Catalog, request: Request<'_>) -> Result<(), Denied> {
        let Request { number, args } = request;
        let Some(entry) = catalog.get(number) else { return Err(Denied::Command) };
        if !self.all_commands
            && !catalog.is_open(number)
            && !self.has_bit(number)
            && !self.allows_first_arg(number, args)
        {
            return Err(Denied::Command);
        }
        if let Some(patterns) = &self.keys {
            for key in keys_found(entry.spec, args) {
                let word = args.get(key.at).unwrap_or_default();
                if !key.flags.has(KeyFlags::NOT_KEY) && !may_touch(patterns, word, key.flags) {
                    return Err(Denied::Key(key.at));
                }
            }
        }
        if let Some(allowed) = &self.channels {
            let (range, is_pattern) = channels(entry.spec.name, args);
            for at in range {
                if !may_hear(allowed, args.get(at).unwrap_or_default(), is_pattern) {
                    return Err(Denied::Channel(at));
                }
            }
        }
        Ok(())
    }

    fn allows_first_arg(&self, number: u16, args: Args<'_>) -> bool {
        let allowed = self.first_args.get(&number);
        let first = args.get(1);
        allowed
            .zip(first)
            .is_some_and(|(allowed, first)| allowed.iter().any(|it| it.eq_ignore_ascii_case(first)))
    }

    /// May it listen to, or with `is_pattern` to all channels that match, this?
    #[must_use]
    pub fn may_hear(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.channels.as_ref().is_none_or(|allowed| may_hear(allowed, channel, is_pattern))
    }

    /// May it read every key, as SORT with BY or GET does by names that are in no request?
    #[must_use]
    pub fn reads_all_keys(&self) -> bool {
        let all = |it: &KeyPattern| it.reads && it.pattern == b"*";
        self.keys.as_ref().is_none_or(|patterns| patterns.iter().any(all))
    }

    /// The rules that make this selector, as one line.
    #[must_use]
    pub fn describe(&self) -> Vec<u8> {
        let mut line = self.describe_keys();
        if !line.is_empty() {
            line.push(b' ');
        }
        match &self.channels {
            None => line.extend_from_slice(b"&* "),
            Some(channels) => {
                line.extend_from_slice(b"resetchannels ");
                for channel in channels {
                    line.push(b'&');
                    line.extend_from_slice(channel);
                    line.push(b' ');
                }
            }
        }
        line.extend(self.describe_commands());
        line
    }

    #[must_use]
    pub fn describe_commands(&self) -> Vec<u8> {
        let mut line = if self.future { b"+@all".to_vec() } else { b"-@all".to_vec() };
        for (allow, name) in &self.rules {
            line.extend_from_slice(if *allow { b" +" } else { b" -" });
            line.extend_from_slice(name.as_bytes());
        }
        line
    }

    #[must_use]
    pub fn describe_keys(&self) -> Vec<u8> {
        let Some(patterns) = &self.keys else { return b"~*".to_vec() };
        let pattern = |it: &KeyPattern| {
            let mark: &[u8] = match (it.reads, it.writes) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                _ => b"~",
            };
            [mark, &it.pattern].concat()
        };
        patterns.iter().map(pattern).collect::<Vec<_>>().join(&b' ')
    }

    #[must_use]
    pub fn describe_channels(&self) -> Vec<u8> {
        let Some(channels) = &self.channels else { return b"&*".to_vec() };
        channels.iter().map(|it| [b"&", it.as_slice()].concat()).collect::<Vec<_>>().join(&b' ')
    }
}

fn name(catalog: &Catalog, number: u16) -> String {
    catalog.get(number).map(|entry| entry.full_name.clone()).unwrap_or_default()
}

/// Does one pattern allow all that a command does with a key?
fn may_touch(patterns: &[KeyPattern], key: &[u8], flags: KeyFlags) -> bool {
    let reads = flags.has(KeyFlags::ACCESS);
    let changes = [KeyFlags::INSERT, KeyFlags::DELETE, KeyFlags::UPDATE];
    let writes = changes.into_iter().any(|it| flags.has(it));
    let allows = |it: &&KeyPattern| (it.reads || !reads) && (it.writes || !writes);
    patterns.iter().filter(allows).any(|it| matches(&it.pattern, key))
}

/// A pattern of PSUBSCRIBE is allowed only where a rule has that very pattern.
fn may_hear(allowed: &[Vec<u8>], channel: &[u8], is_pattern: bool) -> bool {
    allowed.iter().any(|it| match is_pattern {
        true => it == channel,
        false => matches(it, channel),
    })
}

/// Which words of a request are channels, and whether they are patterns of channels.
fn channels(command: &str, args: Args<'_>) -> (std::ops::Range<usize>, bool) {
    match command {
        "PUBLISH" | "SPUBLISH" => (1..2, false),
        "SUBSCRIBE" | "SSUBSCRIBE" => (1..args.len(), false),
        "PSUBSCRIBE" => (1..args.len(), true),
        _ => (0..0, false),
    }
}
