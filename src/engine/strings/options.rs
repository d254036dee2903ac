//! The options of SET and GETEX, and the times that string commands take.
//!
//! Which words exclude each other is as in Redis: one of EX, PX, EXAT and PXAT may even be repeated
//! (the last counts), two different ones may not. A time is read when it is needed, for a syntax error
//! anywhere in the request comes before a bad number.

use crate::base::time::Wall;
use crate::command::args::Args;
use crate::command::spec::KeyFlags;
use crate::engine::shard::integer;
use crate::resp::error::ErrorKind;

/// What a request asks for besides the key and its value.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    pub condition: Option<Condition>,
    /// The reply is the old value.
    pub get: bool,
    pub lifetime: Lifetime<'a>,
}

/// When SET may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// NX
    Absent,
    /// XX
    Exists,
}

/// What becomes of the time to live.
#[derive(Clone, Copy, Debug)]
pub enum Lifetime<'a> {
    Unspecified,
    /// KEEPTTL
    Keep,
    /// PERSIST
    Forever,
    Until(Deadline<'a>),
}

/// A time as the request spells it.
#[derive(Clone, Copy, Debug)]
pub struct Deadline<'a> {
    unit: Unit,
    text: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Milliseconds,
    UnixSeconds,
    UnixMilliseconds,
}

impl<'a> Options<'a> {
    /// The options of `SET key value ...`.
    pub fn of_set(args: Args<'a>) -> Result<Self, ErrorKind> {
        Self::parse(args, 3, true)
    }

    /// The options of `GETEX key ...`.
    pub fn of_getex(args: Args<'a>) -> Result<Self, ErrorKind> {
        Self::parse(args, 2, false)
    }

    fn parse(args: Args<'a>, mut at: usize, is_set: bool) -> Result<Self, ErrorKind> {
        let mut options = Self { condition: None, get: false, lifetime: Lifetime::Unspecified };
        while at < args.len() {
            let lifetime = options.lifetime;
            let free = matches!(lifetime, Lifetime::Unspecified);
            let unit = Unit::ALL.iter().find(|it| args.is(at, it.1)).map(|it| it.0);
            match (unit, args.get(at + 1)) {
                (Some(unit), Some(text)) if free || lifetime.is_in(unit) => {
                    options.lifetime = Lifetime::Until(Deadline { unit, text });
                    at += 1;
                }
                (Some(_), _) => return Err(ErrorKind::Syntax),
                _ if is_set && args.is(at, "NX") => options.require(Condition::Absent)?,
                _ if is_set && args.is(at, "XX") => options.require(Condition::Exists)?,
                _ if is_set && args.is(at, "GET") => options.get = true,
                _ if is_set && args.is(at, "KEEPTTL") && (free || lifetime.is_kept()) => {
                    options.lifetime = Lifetime::Keep;
                }
                _ if !is_set && args.is(at, "PERSIST") && (free || lifetime.is_forever()) => {
                    options.lifetime = Lifetime::Forever;
                }
                _ => return Err(ErrorKind::Syntax),
            }
            at += 1;
        }
        Ok(options)
    }

    fn require(&mut self, condition: Condition) -> Result<(), ErrorKind> {
        if self.condition.is_some_and(|other| other != condition) {
            return Err(ErrorKind::Syntax);
        }
        self.condition = Some(condition);
        Ok(())
    }
}

impl Lifetime<'_> {
    fn is_in(self, unit: Unit) -> bool {
        matches!(self, Self::Until(deadline) if deadline.unit == unit)
    }

    fn is_kept(self) -> bool {
        matches!(self, Self::Keep)
    }

    fn is_forever(self) -> bool {
        matches!(self, Self::Forever)
    }
}

impl Unit {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Seconds, "EX"),
        (Self::Milliseconds, "PX"),
        (Self::UnixSeconds, "EXAT"),
        (Self::UnixMilliseconds, "PXAT"),
    ];

    fn is_absolute(self) -> bool {
        matches!(self, Self::UnixSeconds | Self::UnixMilliseconds)
    }

    fn is_seconds(self) -> bool {
        matches!(self, Self::Seconds | Self::UnixSeconds)
    }
}

impl<'a> Deadline<'a> {
    /// A number of seconds from now.
    pub fn in_seconds(text: &'a [u8]) -> Self {
        Self { unit: Unit::Seconds, text }
    }

    /// A number of milliseconds from now.
    pub fn in_milliseconds(text: &'a [u8]) -> Self {
        Self { unit: Unit::Milliseconds, text }
    }

    pub fn is_absolute(self) -> bool {
        self.unit.is_absolute()
    }

    /// The end in Unix milliseconds; above zero, and an `i64` as well.
    pub fn ms(self, now: Wall, command: &'static str) -> Result<u64, ErrorKind> {
        let number = integer(self.text)?;
        let scale = if self.unit.is_seconds() { 1_000 } else { 1 };
        let base = if self.unit.is_absolute() { 0 } else { i64::try_from(now.ms()).unwrap_or(0) };
        let end = number.checked_mul(scale).and_then(|ms| ms.checked_add(base));
        let end = end.filter(|_| number > 0).and_then(|end| u64::try_from(end).ok());
        end.ok_or(ErrorKind::InvalidExpire { command })
    }
}

/// What a SET does to its key: with GET it reads it as well.
pub fn set_key_flags(args: Args<'_>) -> KeyFlags {
    if (3..args.len()).any(|at| args.is(at, "GET")) {
        KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE)
    } else {
        KeyFlags::OW.and(KeyFlags::UPDATE)
    }
}
