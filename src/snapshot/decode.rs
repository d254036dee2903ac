//! An RDB file from a source that is not trusted, a piece at a time, as events.
//!
//! ```text
//!   Magic -> Opcode -> Aux | SelectDb | ResizeDb | expiry, idle, freq | Pass (functions, modules)
//!              ^  \--> Key -> Value | Pass (a type that cannot be held)      |
//!              |______________________________________________________________|
//!            Opcode -> Checksum -> Finished                  any error -> Failed, for good
//! ```
//!
//! The source may be cut anywhere. Memory is bounded by the bytes that really arrived for the current
//! key, times what LZF can make of them, and by `Limits::string_bytes_max`; announced lengths reserve
//! nothing. Nothing recurses, nothing panics, whatever the bytes.
//!
//! After the end `next` takes no byte more, so that its caller sees what follows the file (a replication
//! stream's mark, an AOF's tail).
//!
//! Strings are held always, collections by a decoder that was made for it. A value of another type is refused or passed over, as the caller wants;
//! passing over checks its structure, not what packed collections hold inside.
//!
//! Not here: sockets, files, the mark around a diskless transfer, what becomes of the keys.

use crate::base::crc::Crc64;
use crate::base::limits;
use crate::snapshot::build::{Builder, Making};
use crate::snapshot::error::{DecodeError, ERROR_KEY_BYTES_MAX, Why};
use crate::snapshot::format::{self, ValueType};
use crate::snapshot::items::{Bounds, KEPT_BYTES_MAX, Passer, Reader};
use crate::types::object::Body;

/// What a file may contain.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub databases: usize,
    pub string_bytes_max: u64,
    /// The length of the whole file, where it is known beforehand.
    pub input_bytes: Option<u64>,
    pub unsupported: Unsupported,
    /// Whether a wrong checksum is an error (`rdbchecksum`).
    pub verify_checksum: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            databases: 16,
            string_bytes_max: limits::BULK_BYTES_MAX as u64,
            input_bytes: None,
            unsupported: Unsupported::Refuse,
            verify_checksum: true,
        }
    }
}

/// What becomes of values, functions and module data that this server cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsupported {
    Refuse,
    /// Passed over and counted: data is lost, so only where somebody asked for that.
    Skip,
}

/// How many things were passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    pub values: u64,
    pub module_data: u64,
}

/// One thing that the file says.
#[derive(Debug)]
pub enum Event<'d> {
    Aux {
        name: &'d [u8],
        value: &'d [u8],
    },
    /// The text of a library of functions.
    Function {
        code: &'d [u8],
    },
    SelectDb(usize),
    ResizeDb {
        keys: u64,
        expires: u64,
    },
    Entry {
        db: usize,
        key: &'d [u8],
        value: Value<'d>,
        /// Milliseconds since the Unix epoch; a time before it is 0. It may have passed already.
        expiry_ms: Option<u64>,
        idle_seconds: Option<u64>,
        freq: Option<u8>,
    },
    Skipped {
        db: usize,
        key: &'d [u8],
        type_name: &'static str,
    },
    End {
        checksum: Checksum,
    },
}

/// A value that this server can hold.
#[derive(Debug)]
pub enum Value<'d> {
    /// The buffer may be taken: a large value then moves without a copy.
    String(&'d mut Vec<u8>),
    /// A collection, of any form; it may be empty.
    Collection(Body),
}

/// What the end said about the bytes before it. A mismatch that matters is an error instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    Matches,
    /// The writer left it out, or knew none.
    Absent,
    /// Nobody looked: `verify_checksum` is off.
    Ignored,
}

/// The decoder of one file.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: State,
    reader: Reader,
    offset: u64,
    crc: Crc64,
    version: u32,
    db: usize,
    /// Of the next key.
    expiry_ms: Option<u64>,
    idle_seconds: Option<u64>,
    freq: Option<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
    body: Option<Body>,
    /// `None`: collections are not held.
    making: Option<Making>,
    skipped: Skipped,
}

#[derive(Debug)]
enum State {
    Magic,
    Version,
    Opcode,
    AuxName,
    AuxValue,
    Function,
    SelectDb,
    ResizeKeys,
    ResizeExpires { keys: u64 },
    Expiry,
    ExpiryMs,
    Idle,
    Freq,
    Key(&'static ValueType),
    Value,
    Pass(What, Passer),
    Build(&'static ValueType, Passer, Box<Builder>),
    Checksum,
    Finished,
    Failed(DecodeError),
}

#[derive(Clone, Copy, Debug)]
enum What {
    Value(&'static ValueType),
    ModuleData,
}

/// What one step came to.
enum Step {
    Next(State),
    /// The input is used up.
    Starved,
    Ready(State, Ready),
}

/// An event whose bytes are in the decoder's buffers.
enum Ready {
    Aux,
    Function,
    SelectDb,
    ResizeDb { keys: u64, expires: u64 },
    Entry { expiry_ms: Option<u64>, idle_seconds: Option<u64>, freq: Option<u8> },
    Skipped(&'static ValueType),
    End(Checksum),
}

impl Decoder {
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Magic,
            reader: Reader::default(),
            offset: 0,
            crc: Crc64::default(),
            version: 0,
            db: 0,
            expiry_ms: None,
            idle_seconds: None,
            freq: None,
            key: Vec::new(),
            value: Vec::new(),
            body: None,
            making: None,
            skipped: Skipped::default(),
        }
    }

    /// One that holds collections.
    #[must_use]
    pub fn holding(limits: Limits, making: Making) -> Self {
        Self { making: Some(making), ..Self::new(limits) }
    }

    /// Takes bytes from the front of `input` up to the next event. `None`: they are used up, or the file
    /// has ended.
    ///
    /// # Errors
    /// Where the bytes are no RDB file, or one that `Limits` do not allow; the same again ever after.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Event<'_>>, DecodeError> {
        let ready = match self.run(input) {
            Ok(ready) => ready,
            Err(why) => {
                let error = DecodeError { offset: self.offset, why };
                self.state = State::Failed(error.clone());
                return Err(error);
            }
        };
        if let State::Failed(error) = &self.state {
            return Err(error.clone());
        }
        Ok(ready.map(|ready| self.event(ready)))
    }

    /// Whether the file has ended, exactly at `offset`.
    #[must_use]
    pub fn finished(&self) -> bool {
        matches!(self.state, State::Finished)
    }

    /// Bytes taken so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The version in the header; 0 before that is known.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    #[must_use]
    pub fn skipped(&self) -> Skipped {
        self.skipped
    }

    /// To be asked when the source has no more bytes.
    ///
    /// # Errors
    /// `Truncated` if the file has not ended.
    pub fn input_ended(&self) -> Result<(), DecodeError> {
        match &self.state {
            State::Finished => Ok(()),
            State::Failed(error) => Err(error.clone()),
            _ => Err(DecodeError { offset: self.offset, why: Why::Truncated }),
        }
    }

    /// Steps up to an event. Bytes are summed in as few and as long pieces as can be: up to an event, or
    /// to the end mark, since the checksum behind it is not part of itself.
    fn run(&mut self, input: &mut &[u8]) -> Result<Option<Ready>, Why> {
        let input_end = self.offset.saturating_add(input.len() as u64);
        loop {
            let before = *input;
            let summed = self.limits.verify_checksum && !matches!(self.state, State::Checksum);
            let outcome = loop {
                match self.step(input, input_end) {
                    Ok(Step::Next(state)) => self.state = state,
                    other => break other,
                }
                if matches!(self.state, State::Checksum) {
                    break Ok(Step::Next(State::Checksum));
                }
            };
            let used = before.len() - input.len();
            self.offset += used as u64;
            if summed {
                self.crc.update(&before[..used]);
            }
            match outcome? {
                Step::Next(_) => {}
                Step::Starved => return Ok(None),
                Step::Ready(state, ready) => {
                    self.state = state;
                    return Ok(Some(ready));
                }
            }
        }
    }

    /// One item, or as much of it as there is.
    fn step(&mut self, input: &mut &[u8], input_end: u64) -> Result<Step, Why> {
        let bounds = Bounds {
            string_bytes_max: self.limits.string_bytes_max,
            beyond: self.limits.input_bytes.map(|all| all.saturating_sub(input_end)),
        };
        let reader = &mut self.reader;
        match &mut self.state {
            State::Magic => next(reader.fixed(input), |magic: [u8; 5]| {
                if magic == format::MAGIC { Ok(State::Version) } else { Err(Why::NotRdb) }
            }),
            State::Version => {
                let Some(digits) = reader.fixed(input) else { return Ok(Step::Starved) };
                self.version = version(digits)?;
                Ok(Step::Next(State::Opcode))
            }
            State::Opcode => match reader.fixed(input) {
                None => Ok(Step::Starved),
                Some([opcode]) => self.opcode(opcode),
            },
            State::AuxName => {
                let done = reader.string(input, Some(&mut self.key), bounds)?;
                Ok(if done { Step::Next(State::AuxValue) } else { Step::Starved })
            }
            State::AuxValue => {
                let done = reader.string(input, Some(&mut self.value), bounds)?;
                Ok(if done { Step::Ready(State::Opcode, Ready::Aux) } else { Step::Starved })
            }
            State::Function => {
                let done = reader.string(input, Some(&mut self.value), bounds)?;
                Ok(if done { Step::Ready(State::Opcode, Ready::Function) } else { Step::Starved })
            }
            State::SelectDb => {
                let Some(db) = reader.length(input)? else { return Ok(Step::Starved) };
                self.select_db(db)
            }
            State::ResizeKeys => {
                next(reader.length(input)?, |keys| Ok(State::ResizeExpires { keys }))
            }
            &mut State::ResizeExpires { keys } => {
                let Some(expires) = reader.length(input)? else { return Ok(Step::Starved) };
                Ok(Step::Ready(State::Opcode, Ready::ResizeDb { keys, expires }))
            }
            State::Expiry => next(reader.fixed(input), |seconds| {
                // The product of 32 bits and 1000 fits.
                self.expiry_ms = expiry(i64::from(i32::from_le_bytes(seconds)), 1_000);
                Ok(State::Opcode)
            }),
            State::ExpiryMs => next(reader.fixed(input), |ms| {
                self.expiry_ms = expiry(i64::from_le_bytes(ms), 1);
                Ok(State::Opcode)
            }),
            State::Idle => next(reader.length(input)?, |seconds| {
                self.idle_seconds = Some(seconds);
                Ok(State::Opcode)
            }),
            State::Freq => next(reader.fixed(input), |[freq]| {
                self.freq = Some(freq);
                Ok(State::Opcode)
            }),
            State::Key(_) | State::Value | State::Pass(..) | State::Build(..) => {
                self.step_entry(input, bounds)
            }
            State::Checksum => match reader.fixed(input) {
                None => Ok(Step::Starved),
                Some(stored) => self.end(u64::from_le_bytes(stored)),
            },
            State::Finished | State::Failed(_) => Ok(Step::Starved),
        }
    }

    /// A step inside a key, its value or what is passed over.
    fn step_entry(&mut self, input: &mut &[u8], bounds: Bounds) -> Result<Step, Why> {
        let reader = &mut self.reader;
        match &mut self.state {
            &mut State::Key(value_type) => {
                if !reader.string(input, Some(&mut self.key), bounds)? {
                    return Ok(Step::Starved);
                }
                if value_type.code == format::TYPE_STRING {
                    return Ok(Step::Next(State::Value));
                }
                let making = self.making.as_ref();
                if let Some(builder) = making.and_then(|it| Builder::new(value_type.code, it)) {
                    let passer = Passer::new(value_type.items);
                    return Ok(Step::Next(State::Build(value_type, passer, Box::new(builder))));
                }
                let key = &self.key[..self.key.len().min(ERROR_KEY_BYTES_MAX)];
                let type_name = value_type.name;
                self.limits.pass(What::Value(value_type), value_type.items, || {
                    Why::UnsupportedType { key: key.to_vec(), type_name }
                })
            }
            State::Value => {
                if !reader.string(input, Some(&mut self.value), bounds)? {
                    return Ok(Step::Starved);
                }
                let (expiry_ms, idle_seconds, freq) = self.take_attributes();
                let ready = Ready::Entry { expiry_ms, idle_seconds, freq };
                Ok(Step::Ready(State::Opcode, ready))
            }
            State::Pass(what, passer) => {
                if !passer.pass(reader, input, bounds, None)? {
                    return Ok(Step::Starved);
                }
                let what = *what;
                Ok(self.passed(what))
            }
            State::Build(value_type, passer, builder) => {
                let value_type = *value_type;
                let key = &self.key[..self.key.len().min(ERROR_KEY_BYTES_MAX)];
                let damaged = || Why::Damaged { key: key.to_vec(), type_name: value_type.name };
                match passer.pass(reader, input, bounds, Some(builder)) {
                    Ok(true) => {}
                    Ok(false) => return Ok(Step::Starved),
                    Err(Why::Item) => return Err(damaged()),
                    Err(why) => return Err(why),
                }
                let State::Build(_, _, builder) = std::mem::replace(&mut self.state, State::Opcode)
                else {
                    return Ok(Step::Starved);
                };
                self.body = Some(builder.finish().map_err(|_| damaged())?);
                let (expiry_ms, idle_seconds, freq) = self.take_attributes();
                Ok(Step::Ready(State::Opcode, Ready::Entry { expiry_ms, idle_seconds, freq }))
            }
            _ => unreachable!("called in these states"),
        }
    }

    fn opcode(&mut self, opcode: u8) -> Result<Step, Why> {
        for buffer in [&mut self.key, &mut self.value] {
            buffer.clear();
            buffer.shrink_to(KEPT_BYTES_MAX);
        }
        let state = match opcode {
            format::OP_AUX => State::AuxName,
            format::OP_SELECTDB => State::SelectDb,
            format::OP_RESIZEDB => State::ResizeKeys,
            format::OP_EXPIRETIME => State::Expiry,
            format::OP_EXPIRETIME_MS => State::ExpiryMs,
            format::OP_IDLE => State::Idle,
            format::OP_FREQ => State::Freq,
            format::OP_FUNCTION_PRE_GA => return Err(Why::UnsupportedFunction),
            format::OP_FUNCTION2 => State::Function,
            format::OP_MODULE_AUX => {
                return self
                    .limits
                    .pass(What::ModuleData, format::MODULE_AUX, || Why::UnsupportedModuleData);
            }
            format::OP_EOF if self.version >= format::VERSION_CHECKSUM_MIN => State::Checksum,
            format::OP_EOF => {
                return Ok(Step::Ready(State::Finished, Ready::End(Checksum::Absent)));
            }
            code => State::Key(format::value_type(code).ok_or(Why::UnknownType(code))?),
        };
        Ok(Step::Next(state))
    }

    fn select_db(&mut self, db: u64) -> Result<Step, Why> {
        let databases = self.limits.databases;
        let known = usize::try_from(db).ok().filter(|db| *db < databases);
        self.db = known.ok_or(Why::Database { db, databases })?;
        Ok(Step::Ready(State::Opcode, Ready::SelectDb))
    }

    fn passed(&mut self, what: What) -> Step {
        match what {
            What::Value(value_type) => {
                self.skipped.values += 1;
                self.take_attributes();
                return Step::Ready(State::Opcode, Ready::Skipped(value_type));
            }
            What::ModuleData => self.skipped.module_data += 1,
        }
        Step::Next(State::Opcode)
    }

    /// What was said about the next key, which is now read.
    fn take_attributes(&mut self) -> (Option<u64>, Option<u64>, Option<u8>) {
        (self.expiry_ms.take(), self.idle_seconds.take(), self.freq.take())
    }

    fn end(&mut self, stored: u64) -> Result<Step, Why> {
        let computed = self.crc.value();
        let checksum = match stored {
            0 => Checksum::Absent,
            _ if !self.limits.verify_checksum => Checksum::Ignored,
            _ if stored == computed => Checksum::Matches,
            _ => return Err(Why::Checksum { stored, computed }),
        };
        Ok(Step::Ready(State::Finished, Ready::End(checksum)))
    }

    fn event(&mut self, ready: Ready) -> Event<'_> {
        let db = self.db;
        match ready {
            Ready::Aux => Event::Aux { name: &self.key, value: &self.value },
            Ready::Function => Event::Function { code: &self.value },
            Ready::SelectDb => Event::SelectDb(db),
            Ready::ResizeDb { keys, expires } => Event::ResizeDb { keys, expires },
            Ready::Entry { expiry_ms, idle_seconds, freq } => {
                let value = match self.body.take() {
                    Some(body) => Value::Collection(body),
                    None => Value::String(&mut self.value),
                };
                Event::Entry { db, key: &self.key, value, expiry_ms, idle_seconds, freq }
            }
            Ready::Skipped(value_type) => {
                Event::Skipped { db, key: &self.key, type_name: value_type.name }
            }
            Ready::End(checksum) => Event::End { checksum },
        }
    }
}

impl Limits {
    fn pass(
        &self,
        what: What,
        program: &'static [format::Item],
        why: impl FnOnce() -> Why,
    ) -> Result<Step, Why> {
        match self.unsupported {
            Unsupported::Skip => Ok(Step::Next(State::Pass(what, Passer::new(program)))),
            Unsupported::Refuse => Err(why()),
        }
    }
}

fn next<T>(read: Option<T>, then: impl FnOnce(T) -> Result<State, Why>) -> Result<Step, Why> {
    read.map_or(Ok(Step::Starved), |it| then(it).map(Step::Next))
}

fn version(digits: [u8; 4]) -> Result<u32, Why> {
    let mut version = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return Err(Why::Version(digits));
        }
        version = version * 10 + u32::from(digit - b'0');
    }
    if (format::VERSION_READ_MIN..=format::VERSION_READ_MAX).contains(&version) {
        Ok(version)
    } else {
        Err(Why::Version(digits))
    }
}

/// Redis writes -1 for "none"; any other time before 1970 has simply passed.
fn expiry(time: i64, ms_per_unit: u64) -> Option<u64> {
    (time != -1).then(|| u64::try_from(time).unwrap_or(0) * ms_per_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Decoder {
        fn held_bytes(&self) -> usize {
            self.key.capacity() + self.value.capacity() + self.reader.held_bytes()
        }
    }

    /// Bytes held after `body` arrived, in pieces.
    fn held(body: &[u8], piece: usize) -> usize {
        let limits = Limits { unsupported: Unsupported::Skip, ..Limits::default() };
        let mut decoder = Decoder::new(limits);
        let mut most = 0;
        for mut input in [&format::HEADER_WRITTEN, body].concat().chunks(piece) {
            while decoder.next(&mut input).unwrap().is_some() {}
            most = most.max(decoder.held_bytes());
        }
        most
    }

    #[test]
    fn what_is_only_announced_costs_nothing() {
        let announced: [&[u8]; 5] = [
            b"\x00\x80\x1f\xff\xff\xff",                        // a key of 512 MB
            b"\x00\x01k\x80\x1f\xff\xff\xff",                   // a value
            b"\x00\x01k\xc3\x80\x10\0\0\0\x80\x1f\xff\xff\xff", // a packed one
            b"\xfa\x01n\x80\x1f\xff\xff\xff",                   // an aux field
            b"\x02\x01k\x81\x7f\xff\xff\xff\xff\xff\xff\xff",   // a set of 2^63 members
        ];
        for head in announced {
            for arrived in [0, 1, 1_000, 100_000] {
                let body = [head, &vec![b'x'; arrived]].concat();
                for piece in [1, 4_096, usize::MAX] {
                    let most = held(&body, piece);
                    assert!(most <= 2 * body.len() + 64, "{most} bytes for {}", body.len());
                }
            }
        }
    }

    #[test]
    fn a_large_value_is_not_kept_for_ever() {
        let mut body = Vec::new();
        let large = vec![b'x'; 8 * KEPT_BYTES_MAX];
        crate::snapshot::encode::string_entry(&mut body, b"large", &large, None, None);
        crate::snapshot::encode::string_entry(&mut body, b"small", b"v", None, None);
        let mut decoder = Decoder::new(Limits::default());
        let file = [&format::HEADER_WRITTEN, body.as_slice()].concat();
        let mut input = file.as_slice();
        assert!(decoder.next(&mut input).unwrap().is_some());
        assert!(decoder.held_bytes() >= large.len());
        assert!(decoder.next(&mut input).unwrap().is_some());
        assert!(decoder.held_bytes() <= 3 * KEPT_BYTES_MAX);
    }

    #[test]
    fn an_error_stays() {
        let mut decoder = Decoder::new(Limits::default());
        let first = decoder.next(&mut b"RADIS0010".as_slice()).unwrap_err();
        assert_eq!(first.to_string(), "RDB offset 5: no RDB file, it does not begin with REDIS");
        assert_eq!(decoder.next(&mut b"REDIS0010".as_slice()).unwrap_err(), first);
        assert_eq!(decoder.input_ended(), Err(first));
    }

    #[test]
    fn times_before_the_epoch_have_passed_and_minus_one_is_none() {
        assert_eq!(expiry(-1, 1), None);
        assert_eq!(expiry(-2, 1_000), Some(0));
        assert_eq!(expiry(i64::MIN, 1), Some(0));
        assert_eq!(expiry(7, 1_000), Some(7_000));
        assert_eq!(expiry(i64::MAX, 1), Some(i64::MAX.unsigned_abs()));
    }
}
