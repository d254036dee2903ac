//! The `cjson` library: JSON as version 2.1.0 of it reads and writes.
//!
//! A table with keys from 1 on is an array, unless it is too sparse; an empty one is an object. `null` is a
//! light userdata, `cjson.null`. What has to do with invalid numbers, depth and sparse arrays a script can
//! set; the settings are a table that the functions share, so `cjson.new()` has its own.
//!
//! Traps, all the original's: `/` is written as `\/`; a NUL ends the input; numbers are read as C's `strtod`
//! does, so hexadecimal and infinity pass unless that is switched off.

use crate::base::num;
use crate::script::lua::{
    Frame, LUA_TBOOLEAN, LUA_TLIGHTUSERDATA, LUA_TNIL, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE,
    Native, Raised, upvalue,
};

/// Places of the settings in their table, and what they are at first.
const SPARSE_CONVERT: i32 = 1;
const SPARSE_RATIO: i32 = 2;
const SPARSE_SAFE: i32 = 3;
const ENCODE_DEPTH: i32 = 4;
const DECODE_DEPTH: i32 = 5;
const ENCODE_INVALID: i32 = 6;
const DECODE_INVALID: i32 = 7;
const PRECISION: i32 = 8;
const KEEP_BUFFER: i32 = 9;
const DEFAULTS: [f64; 9] = [0.0, 2.0, 10.0, 1000.0, 1000.0, 0.0, 1.0, 14.0, 1.0];

const INT_MAX: i64 = 2_147_483_647;
const INVALID_OFF: i64 = 0;
const INVALID_ON: i64 = 1;

#[rustfmt::skip] // One row per name.
const FUNCTIONS: &[(&str, Native)] = &[
    ("encode",                  encode),
    ("decode",                  decode),
    ("encode_sparse_array",     encode_sparse_array),
    ("encode_max_depth",        |frame| one_integer(frame, ENCODE_DEPTH, 1, INT_MAX)),
    ("decode_max_depth",        |frame| one_integer(frame, DECODE_DEPTH, 1, INT_MAX)),
    ("encode_number_precision", |frame| one_integer(frame, PRECISION, 1, 14)),
    ("encode_keep_buffer",      |frame| one_choice(frame, KEEP_BUFFER, &[])),
    ("encode_invalid_numbers",  |frame| one_choice(frame, ENCODE_INVALID, &["off", "on", "null"])),
    ("decode_invalid_numbers",  |frame| one_choice(frame, DECODE_INVALID, &[])),
    ("new",                     |frame| { push_library(frame); Ok(1) }),
];

pub(super) fn push_library(frame: Frame<'_>) {
    frame.push_table(0, FUNCTIONS.len() + 3);
    frame.push_table(DEFAULTS.len(), 0);
    for (value, place) in DEFAULTS.iter().zip(1..) {
        frame.push_number(*value);
        frame.raw_set_index(-2, place);
    }
    for (name, native) in FUNCTIONS {
        frame.push_value(-1);
        frame.push_native(*native, 1);
        frame.raw_set_field(-3, name);
    }
    frame.pop(1);
    for (name, text) in [("_NAME", "cjson"), ("_VERSION", "2.1.0")] {
        frame.push_bytes(text.as_bytes());
        frame.raw_set_field(-2, name);
    }
    frame.push_light(0);
    frame.raw_set_field(-2, "null");
}

fn setting(frame: Frame<'_>, place: i32) -> i64 {
    frame.raw_get_index(upvalue(1), place);
    let value = frame.number(-1).map_or(0, crate::script::lua::c_integer);
    frame.pop(1);
    value
}

fn set(frame: Frame<'_>, place: i32, value: i64) {
    #[expect(clippy::cast_precision_loss, reason = "settings are ints")]
    frame.push_number(value as f64);
    frame.raw_set_index(upvalue(1), place);
}

fn at_most(frame: Frame<'_>, most: i32) -> Result<(), Raised> {
    if frame.top() > most {
        return Err(frame.bad_argument(most + 1, "found too many arguments"));
    }
    frame.set_top(most);
    Ok(())
}

fn integer(frame: Frame<'_>, at: i32, place: i32, min: i64, max: i64) -> Result<(), Raised> {
    if !frame.is_nil_or_none(at) {
        let value = frame.need_integer(at)?;
        if !(min..=max).contains(&value) {
            let why = format!("expected integer between {min} and {max}");
            return Err(frame.bad_argument(1, &why));
        }
        set(frame, place, value);
    }
    frame.raw_get_index(upvalue(1), place);
    Ok(())
}

/// A boolean, or a word of these.
fn choice(frame: Frame<'_>, at: i32, place: i32, words: &[&str]) -> Result<(), Raised> {
    match frame.kind(at) {
        LUA_TNIL => {}
        LUA_TBOOLEAN => set(frame, place, i64::from(frame.boolean(at))),
        _ => {
            let word = frame.need_text(at)?;
            let index = words.iter().position(|it| it.as_bytes() == &*word);
            let Some(index) = index else {
                let word = String::from_utf8_lossy(&word);
                return Err(frame.bad_argument(at, &format!("invalid option '{word}'")));
            };
            set(frame, place, i64::try_from(index).unwrap_or(0));
        }
    }
    let value = setting(frame, place);
    match usize::try_from(value).ok().filter(|it| *it > 1).and_then(|it| words.get(it)) {
        Some(word) => frame.push_bytes(word.as_bytes()),
        None => frame.push_bool(value != 0),
    }
    Ok(())
}

fn one_integer(frame: Frame<'_>, place: i32, min: i64, max: i64) -> Result<i32, Raised> {
    at_most(frame, 1)?;
    integer(frame, 1, place, min, max)?;
    Ok(1)
}

fn one_choice(frame: Frame<'_>, place: i32, words: &[&str]) -> Result<i32, Raised> {
    at_most(frame, 1)?;
    choice(frame, 1, place, words)?;
    Ok(1)
}

fn encode_sparse_array(frame: Frame<'_>) -> Result<i32, Raised> {
    at_most(frame, 3)?;
    choice(frame, 1, SPARSE_CONVERT, &[])?;
    integer(frame, 2, SPARSE_RATIO, 0, INT_MAX)?;
    integer(frame, 3, SPARSE_SAFE, 0, INT_MAX)?;
    Ok(3)
}

fn encode(frame: Frame<'_>) -> Result<i32, Raised> {
    if frame.top() != 1 {
        return Err(frame.bad_argument(1, "expected 1 argument"));
    }
    let mut encoder = Encoder {
        frame,
        out: Vec::new(),
        depth_max: setting(frame, ENCODE_DEPTH),
        sparse_convert: setting(frame, SPARSE_CONVERT) != 0,
        sparse_ratio: setting(frame, SPARSE_RATIO),
        sparse_safe: setting(frame, SPARSE_SAFE),
        invalid: setting(frame, ENCODE_INVALID),
        precision: usize::try_from(setting(frame, PRECISION)).unwrap_or(14),
    };
    encoder.value(0)?;
    frame.push_bytes(&encoder.out);
    Ok(1)
}

struct Encoder<'e> {
    frame: Frame<'e>,
    out: Vec<u8>,
    depth_max: i64,
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    invalid: i64,
    precision: usize,
}

impl Encoder<'_> {
    /// Writes the value on top; leaves it there.
    fn value(&mut self, depth: i64) -> Result<(), Raised> {
        let frame = self.frame;
        // Tables that share their parts grow beyond what they take.
        if self.out.len() > crate::base::limits::LUA_MEMORY_BYTES_MAX {
            return Err(Raised::said("not enough memory"));
        }
        match frame.kind(-1) {
            LUA_TSTRING => self.string(frame.bytes(-1).unwrap_or_default()),
            LUA_TNUMBER => return self.number(-1),
            LUA_TBOOLEAN => {
                let word: &[u8] = if frame.boolean(-1) { b"true" } else { b"false" };
                self.out.extend_from_slice(word);
            }
            LUA_TTABLE => return self.table(depth + 1),
            LUA_TNIL => self.out.extend_from_slice(b"null"),
            LUA_TLIGHTUSERDATA if frame.address(-1) == 0 => self.out.extend_from_slice(b"null"),
            _ => return Err(self.refuse(-1, "type not supported")),
        }
        Ok(())
    }

    fn table(&mut self, depth: i64) -> Result<(), Raised> {
        let frame = self.frame;
        if depth > self.depth_max || !frame.has_room(8) {
            return Err(Raised::said(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        match self.array_length()? {
            Some(len) if len > 0 => {
                self.out.push(b'[');
                for index in 1..=len {
                    if index > 1 {
                        self.out.push(b',');
                    }
                    frame.raw_get_index(-1, index);
                    self.value(depth)?;
                    frame.pop(1);
                }
                self.out.push(b']');
            }
            _ => self.object(depth)?,
        }
        Ok(())
    }

    fn object(&mut self, depth: i64) -> Result<(), Raised> {
        let frame = self.frame;
        self.out.push(b'{');
        let mut first = true;
        frame.push_nil();
        while frame.next(-2) {
            if !std::mem::replace(&mut first, false) {
                self.out.push(b',');
            }
            match frame.kind(-2) {
                LUA_TNUMBER => {
                    self.out.push(b'"');
                    self.number(-2)?;
                    self.out.push(b'"');
                }
                LUA_TSTRING => self.string(frame.bytes(-2).unwrap_or_default()),
                _ => return Err(self.refuse(-2, "table key must be a number or string")),
            }
            self.out.push(b':');
            self.value(depth)?;
            frame.pop(1);
        }
        self.out.push(b'}');
        Ok(())
    }

    /// The highest index, where all keys of the table on top are such.
    fn array_length(&self) -> Result<Option<i32>, Raised> {
        let frame = self.frame;
        let (mut max, mut items) = (0_i64, 0_i64);
        frame.push_nil();
        while frame.next(-2) {
            let key = if frame.kind(-2) == LUA_TNUMBER { frame.number(-2) } else { None };
            let key = key.filter(|key| *key >= 1.0 && key.floor().total_cmp(key).is_eq());
            let Some(key) = key else {
                frame.pop(2);
                return Ok(None);
            };
            // An int, as the original counts.
            max = max.max(crate::script::lua::c_integer(key.min(2_147_483_647.0)));
            items += 1;
            frame.pop(1);
        }
        let sparse = self.sparse_ratio > 0
            && max > items.saturating_mul(self.sparse_ratio)
            && max > self.sparse_safe;
        if !sparse {
            return Ok(i32::try_from(max).ok());
        }
        if self.sparse_convert {
            return Ok(None);
        }
        Err(self.refuse(-1, "excessively sparse array"))
    }

    fn number(&mut self, at: i32) -> Result<(), Raised> {
        let number = self.frame.number(at).unwrap_or(0.0);
        if !number.is_finite() {
            match self.invalid {
                INVALID_OFF => return Err(self.refuse(at, "must not be NaN or Inf")),
                INVALID_ON if number.is_nan() => self.out.extend_from_slice(b"nan"),
                INVALID_ON => num::write_g(&mut self.out, number, self.precision),
                _ => self.out.extend_from_slice(b"null"),
            }
            return Ok(());
        }
        num::write_g(&mut self.out, number, self.precision);
        Ok(())
    }

    fn string(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 2);
        self.out.push(b'"');
        for &byte in bytes {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                8 => self.out.extend_from_slice(b"\\b"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                0..32 | 127 => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    fn refuse(&self, at: i32, why: &str) -> Raised {
        Raised::said(format!("Cannot serialise {}: {why}", self.frame.kind_name(at)))
    }
}

fn decode(frame: Frame<'_>) -> Result<i32, Raised> {
    if frame.top() != 1 {
        return Err(frame.bad_argument(1, "expected 1 argument"));
    }
    let text = frame.need_text(1)?;
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(Raised::said("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut decoder = Decoder {
        frame,
        text: &text,
        at: 0,
        depth: 0,
        depth_max: setting(frame, DECODE_DEPTH),
        invalid: setting(frame, DECODE_INVALID) != 0,
        string: Vec::new(),
    };
    let token = decoder.token();
    decoder.value(token)?;
    let token = decoder.token();
    if token.kind != Kind::End {
        return Err(token.unlike("the end"));
    }
    Ok(1)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// Its bytes are in the decoder.
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Error(&'static str),
}

#[derive(Clone, Copy, Debug)]
struct Token {
    kind: Kind,
    at: usize,
}

impl Token {
    fn unlike(self, expected: &str) -> Raised {
        let found = match self.kind {
            Kind::ObjectBegin => "T_OBJ_BEGIN",
            Kind::ObjectEnd => "T_OBJ_END",
            Kind::ArrayBegin => "T_ARR_BEGIN",
            Kind::ArrayEnd => "T_ARR_END",
            Kind::String => "T_STRING",
            Kind::Number(_) => "T_NUMBER",
            Kind::Boolean(_) => "T_BOOLEAN",
            Kind::Null => "T_NULL",
            Kind::Colon => "T_COLON",
            Kind::Comma => "T_COMMA",
            Kind::End => "T_END",
            Kind::Error(what) => what,
        };
        let at = self.at + 1;
        Raised::said(format!("Expected {expected} but found {found} at character {at}"))
    }
}

struct Decoder<'d> {
    frame: Frame<'d>,
    text: &'d [u8],
    at: usize,
    depth: i64,
    depth_max: i64,
    invalid: bool,
    string: Vec<u8>,
}

impl Decoder<'_> {
    /// The byte so far ahead; behind the end there is a NUL, as in C.
    fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn rest(&self) -> &[u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Pushes the value that begins with that token.
    fn value(&mut self, token: Token) -> Result<(), Raised> {
        match token.kind {
            Kind::String => self.frame.push_bytes(&self.string),
            Kind::Number(number) => self.frame.push_number(number),
            Kind::Boolean(value) => self.frame.push_bool(value),
            Kind::ObjectBegin => return self.object(),
            Kind::ArrayBegin => return self.array(),
            Kind::Null => self.frame.push_light(0),
            _ => return Err(token.unlike("value")),
        }
        Ok(())
    }

    fn object(&mut self) -> Result<(), Raised> {
        self.descend()?;
        self.frame.push_table(0, 0);
        let mut token = self.token();
        if token.kind == Kind::ObjectEnd {
            self.depth -= 1;
            return Ok(());
        }
        loop {
            if token.kind != Kind::String {
                return Err(token.unlike("object key string"));
            }
            self.frame.push_bytes(&self.string);
            token = self.token();
            if token.kind != Kind::Colon {
                return Err(token.unlike("colon"));
            }
            token = self.token();
            self.value(token)?;
            self.frame.raw_set(-3);
            token = self.token();
            match token.kind {
                Kind::ObjectEnd => break,
                Kind::Comma => token = self.token(),
                _ => return Err(token.unlike("comma or object end")),
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self) -> Result<(), Raised> {
        self.descend()?;
        self.frame.push_table(0, 0);
        let mut token = self.token();
        if token.kind == Kind::ArrayEnd {
            self.depth -= 1;
            return Ok(());
        }
        for index in 1.. {
            self.value(token)?;
            self.frame.raw_set_index(-2, index);
            token = self.token();
            match token.kind {
                Kind::ArrayEnd => break,
                Kind::Comma => token = self.token(),
                _ => return Err(token.unlike("comma or array end")),
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn descend(&mut self) -> Result<(), Raised> {
        self.depth += 1;
        if self.depth <= self.depth_max && self.frame.has_room(8) {
            return Ok(());
        }
        Err(Raised::said(format!(
            "Found too many nested data structures ({}) at character {}",
            self.depth, self.at
        )))
    }

    fn token(&mut self) -> Token {
        while matches!(self.byte(0), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let at = self.at;
        let mut one = |kind: Kind| {
            self.at += 1;
            kind
        };
        let kind = match self.text.get(at).copied().unwrap_or(0) {
            0 => Kind::End,
            b'{' => one(Kind::ObjectBegin),
            b'}' => one(Kind::ObjectEnd),
            b'[' => one(Kind::ArrayBegin),
            b']' => one(Kind::ArrayEnd),
            b',' => one(Kind::Comma),
            b':' => one(Kind::Colon),
            b'"' => return self.string_token(),
            b'-' | b'0'..=b'9' => {
                if !self.invalid && self.is_odd_number() {
                    Kind::Error("invalid number")
                } else {
                    self.number_token()
                }
            }
            _ if self.rest().starts_with(b"true") => {
                self.at += 4;
                Kind::Boolean(true)
            }
            _ if self.rest().starts_with(b"false") => {
                self.at += 5;
                Kind::Boolean(false)
            }
            _ if self.rest().starts_with(b"null") => {
                self.at += 4;
                Kind::Null
            }
            b'+' | b'i' | b'I' | b'n' | b'N' if self.invalid && self.is_odd_number() => {
                self.number_token()
            }
            _ => Kind::Error("invalid token"),
        };
        Token { kind, at }
    }

    /// Is it a number that JSON does not know?
    fn is_odd_number(&self) -> bool {
        let text = match self.rest() {
            [b'+', ..] => return true,
            [b'-', text @ ..] => text,
            text => text,
        };
        match text {
            [b'0', next, ..] => matches!(next, b'x' | b'X' | b'0'..=b'9'),
            [byte, ..] if *byte <= b'9' => false,
            _ => {
                let head = text.get(..3).unwrap_or_default();
                head.eq_ignore_ascii_case(b"inf") || head.eq_ignore_ascii_case(b"nan")
            }
        }
    }

    fn number_token(&mut self) -> Kind {
        match strtod(self.rest()) {
            Some((number, len)) => {
                self.at += len;
                Kind::Number(number)
            }
            None => Kind::Error("invalid number"),
        }
    }

    fn string_token(&mut self) -> Token {
        let at = self.at;
        self.string.clear();
        self.at += 1;
        let failed = |it: &Self, what| Token { kind: Kind::Error(what), at: it.at };
        loop {
            let plain = memchr::memchr3(b'"', b'\\', 0, self.rest()).unwrap_or(self.rest().len());
            self.string.extend_from_slice(&self.text[self.at..self.at + plain]);
            self.at += plain;
            match self.byte(0) {
                b'"' => {
                    self.at += 1;
                    return Token { kind: Kind::String, at };
                }
                b'\\' => {
                    let plain = match self.byte(1) {
                        byte @ (b'"' | b'\\' | b'/') => byte,
                        b'b' => 8,
                        b't' => b'\t',
                        b'n' => b'\n',
                        b'f' => 12,
                        b'r' => b'\r',
                        b'u' => {
                            if self.unicode().is_none() {
                                return failed(self, "invalid unicode escape code");
                            }
                            continue;
                        }
                        _ => return failed(self, "invalid escape code"),
                    };
                    self.string.push(plain);
                    self.at += 2;
                }
                _ => return failed(self, "unexpected end of string"),
            }
        }
    }

    fn hex4(&self, ahead: usize) -> Option<u32> {
        let digits = self.text.get(self.at + ahead..self.at + ahead + 4)?;
        digits.iter().try_fold(0, |sum, &digit| Some(sum << 4 | char::from(digit).to_digit(16)?))
    }

    /// `\uXXXX`, or two of them for one character.
    fn unicode(&mut self) -> Option<()> {
        let mut code = self.hex4(2)?;
        let mut len = 6;
        if code & 0xf800 == 0xd800 {
            if code & 0x400 != 0 || self.byte(6) != b'\\' || self.byte(7) != b'u' {
                return None;
            }
            let low = self.hex4(8)?;
            if low & 0xfc00 != 0xdc00 {
                return None;
            }
            code = ((code & 0x3ff) << 10 | low & 0x3ff) + 0x1_0000;
            len = 12;
        }
        let mut utf8 = [0; 4];
        let text = char::from_u32(code)?.encode_utf8(&mut utf8);
        self.string.extend_from_slice(text.as_bytes());
        self.at += len;
        Some(())
    }
}

/// The number that a text begins with, as C reads it, and how long it is.
fn strtod(text: &[u8]) -> Option<(f64, usize)> {
    let digits = |from: usize, hex: bool| {
        let is = |byte: &&u8| if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
        text.get(from..).unwrap_or_default().iter().take_while(is).count()
    };
    let byte = |at: usize| text.get(at).copied().unwrap_or(0);
    let start = usize::from(matches!(byte(0), b'+' | b'-'));
    let sign = if byte(0) == b'-' { -1.0 } else { 1.0 };
    let word = |word: &[u8]| {
        text.get(start..start + word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word))
    };
    if word(b"infinity") {
        return Some((sign * f64::INFINITY, start + 8));
    }
    if word(b"inf") {
        return Some((sign * f64::INFINITY, start + 3));
    }
    if word(b"nan") {
        return Some((f64::NAN.copysign(sign), start + 3));
    }
    let hex = byte(start) == b'0'
        && matches!(byte(start + 1), b'x' | b'X')
        && (digits(start + 2, true) > 0 || byte(start + 2) == b'.' && digits(start + 3, true) > 0);
    let mut end = if hex { start + 2 } else { start };
    let whole = digits(end, hex);
    end += whole;
    if byte(end) == b'.' {
        let fraction = digits(end + 1, hex);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if end == start {
        return None;
    }
    let exponent_mark = if hex { b'p' } else { b'e' };
    if byte(end).eq_ignore_ascii_case(&exponent_mark) {
        let signed = usize::from(matches!(byte(end + 1), b'+' | b'-'));
        let exponent = digits(end + 1 + signed, false);
        if exponent > 0 {
            end += 1 + signed + exponent;
        }
    }
    let number = &text[start..end];
    let value = if hex {
        num::parse_f64(number).unwrap_or(0.0)
    } else {
        std::str::from_utf8(number).ok()?.parse().ok()?
    };
    Some((sign * value, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, value, len) in [
            ("1", 1.0, 1),
            ("-1.5e3x", -1500.0, 6),
            ("1.", 1.0, 2),
            (".5", 0.5, 2),
            ("1e", 1.0, 1),
            ("1e+", 1.0, 1),
            ("0x10", 16.0, 4),
            ("0x", 0.0, 1),
            ("1e999", f64::INFINITY, 5),
            ("-inf", f64::NEG_INFINITY, 4),
        ] {
            assert_eq!(strtod(text.as_bytes()), Some((value, len)), "{text}");
        }
        assert_eq!(strtod(b"-"), None);
    }
}
