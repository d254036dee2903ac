//! The `cmsgpack` library: MessagePack as the version has it that Redis brings.
//!
//! A table is an array if its keys are 1 to n, else a map. Whole numbers become integers, others floats
//! where nothing is lost. Tables nested deeper than 16 become nil. There is no binary type and no
//! extension type.
//!
//! Input comes from anywhere: lengths are only believed as far as there are bytes, and depth is bounded by
//! Lua's stack.

use crate::script::lua::{
    Frame, LUA_TBOOLEAN, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE, Native, Raised, c_integer,
};
use crate::script::sandbox::push_functions;

const FUNCTIONS: &[(&str, Native)] = &[
    ("pack", pack),
    ("unpack", unpack),
    ("unpack_one", unpack_one),
    ("unpack_limit", unpack_limit),
];

const NESTING_MAX: usize = 16;

pub(super) fn push_library(frame: Frame<'_>) {
    push_functions(frame, FUNCTIONS);
    for (name, text) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        frame.push_bytes(text.as_bytes());
        frame.raw_set_field(-2, name);
    }
}

fn pack(frame: Frame<'_>) -> Result<i32, Raised> {
    let count = frame.top();
    if count == 0 {
        return Err(frame.bad_argument(0, "MessagePack pack needs input."));
    }
    if !frame.has_room(8) {
        return Err(Raised::said("stack overflow (Too many arguments for MessagePack pack.)"));
    }
    let mut out = Vec::new();
    for at in 1..=count {
        frame.push_value(at);
        encode(frame, &mut out, 0)?;
    }
    frame.push_bytes(&out);
    Ok(1)
}

/// Encodes the value on top, and pops it.
fn encode(frame: Frame<'_>, out: &mut Vec<u8>, level: usize) -> Result<(), Raised> {
    if !frame.has_room(8) {
        return Err(Raised::said("stack overflow (in function mp_encode_lua_type)"));
    }
    // Tables that share their parts grow beyond what they take.
    if out.len() > crate::base::limits::LUA_MEMORY_BYTES_MAX {
        return Err(Raised::said("not enough memory"));
    }
    match frame.kind(-1) {
        LUA_TSTRING => {
            let bytes = frame.bytes(-1).unwrap_or_default();
            header(out, bytes.len(), 0xa0, 32, [Some(0xd9), Some(0xda), Some(0xdb)]);
            out.extend_from_slice(bytes);
        }
        LUA_TBOOLEAN => out.push(if frame.boolean(-1) { 0xc3 } else { 0xc2 }),
        LUA_TNUMBER => encode_number(out, frame.number(-1).unwrap_or(0.0)),
        LUA_TTABLE if level < NESTING_MAX => match array_length(frame) {
            Some(len) => {
                header(out, len, 0x90, 16, [None, Some(0xdc), Some(0xdd)]);
                for index in 1..=i32::try_from(len).unwrap_or(i32::MAX) {
                    frame.raw_get_index(-1, index);
                    encode(frame, out, level + 1)?;
                }
            }
            None => {
                let mut len = 0;
                frame.push_nil();
                while frame.next(-2) {
                    frame.pop(1);
                    len += 1;
                }
                header(out, len, 0x80, 16, [None, Some(0xde), Some(0xdf)]);
                frame.push_nil();
                while frame.next(-2) {
                    frame.push_value(-2);
                    encode(frame, out, level + 1)?;
                    encode(frame, out, level + 1)?;
                }
            }
        },
        _ => out.push(0xc0),
    }
    frame.pop(1);
    Ok(())
}

/// How many elements, where the table on top has the keys 1 to n only. Keys that read as numbers count,
/// though they are no elements: so does the original.
fn array_length(frame: Frame<'_>) -> Option<usize> {
    let (mut count, mut max) = (0_i64, 0_i64);
    frame.push_nil();
    while frame.next(-2) {
        frame.pop(1);
        let key = frame.number(-1).filter(|key| {
            #[expect(clippy::cast_possible_truncation, reason = "as C casts")]
            let int = f64::from(*key as i32);
            *key > 0.0 && int.total_cmp(key).is_eq()
        });
        let Some(key) = key else {
            frame.pop(1);
            return None;
        };
        count += 1;
        max = max.max(c_integer(key));
    }
    (count == max).then(|| frame.len(-1))
}

/// Small lengths in the mark itself, others behind a mark of 1, 2 or 4 bytes.
#[expect(clippy::cast_possible_truncation, reason = "each length was compared")]
fn header(out: &mut Vec<u8>, len: usize, fix: u8, fix_max: usize, marks: [Option<u8>; 3]) {
    match (len, marks) {
        (len, _) if len < fix_max => out.push(fix | len as u8),
        (0..=0xff, [Some(mark), ..]) => out.extend_from_slice(&[mark, len as u8]),
        (0..=0xffff, [_, Some(mark), _]) => {
            out.push(mark);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        (_, [.., mark]) => {
            out.push(mark.unwrap_or(0xc0));
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

fn encode_number(out: &mut Vec<u8>, number: f64) {
    let int = c_integer(number);
    #[expect(clippy::cast_precision_loss, reason = "compared with what it came from")]
    let whole =
        number.is_finite() && (int as f64).partial_cmp(&number).is_some_and(|it| it.is_eq());
    if whole {
        return encode_int(out, int);
    }
    #[expect(clippy::cast_possible_truncation, reason = "compared with what it came from")]
    let short = number as f32;
    if f64::from(short).partial_cmp(&number).is_some_and(|it| it.is_eq()) {
        out.push(0xca);
        out.extend_from_slice(&short.to_bits().to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_bits().to_be_bytes());
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "each range fits")]
fn encode_int(out: &mut Vec<u8>, int: i64) {
    let mut put = |mark: u8, bytes: &[u8]| {
        out.push(mark);
        out.extend_from_slice(bytes);
    };
    match int {
        0..=0x7f => put(int as u8, &[]),
        0x80..=0xff => put(0xcc, &[int as u8]),
        0x100..=0xffff => put(0xcd, &(int as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => put(0xce, &(int as u32).to_be_bytes()),
        0x1_0000_0000.. => put(0xcf, &int.to_be_bytes()),
        -32..0 => put(int as u8, &[]),
        -0x80..-32 => put(0xd0, &[int as u8]),
        -0x8000..-0x80 => put(0xd1, &(int as i16).to_be_bytes()),
        -0x8000_0000..-0x8000 => put(0xd2, &(int as i32).to_be_bytes()),
        ..-0x8000_0000 => put(0xd3, &int.to_be_bytes()),
    }
}

fn unpack(frame: Frame<'_>) -> Result<i32, Raised> {
    unpack_some(frame, 0, 0)
}

fn unpack_one(frame: Frame<'_>) -> Result<i32, Raised> {
    let offset = if frame.is_nil_or_none(2) { 0 } else { frame.need_integer(2)? };
    unpack_some(frame, 1, offset)
}

fn unpack_limit(frame: Frame<'_>) -> Result<i32, Raised> {
    let limit = frame.need_integer(2)?;
    let offset = if frame.is_nil_or_none(3) { 0 } else { frame.need_integer(3)? };
    unpack_some(frame, limit, offset)
}

/// Up to `limit` values from `offset` on; both 0: all.
fn unpack_some(frame: Frame<'_>, limit: i64, offset: i64) -> Result<i32, Raised> {
    let input = frame.need_text(1)?;
    let all = limit == 0 && offset == 0;
    let len = input.len();
    if limit < 0 || offset < 0 {
        return Err(Raised::said(format!(
            "Invalid request to unpack with offset of {offset} and limit of {len}."
        )));
    }
    let rest = usize::try_from(offset).ok().and_then(|it| input.get(it..));
    let Some(rest) = rest else {
        return Err(Raised::said(format!(
            "Start offset {offset} greater than input length {len}."
        )));
    };
    frame.set_top(1);
    let limit = if all { i64::MAX } else { limit };
    let (mut decoder, mut count) = (Decoder { frame, rest }, 0);
    while !decoder.rest.is_empty() && i64::from(count) < limit {
        if !frame.has_room(4) {
            return Err(Raised::said(
                "stack overflow (too many return values at once; use unpack_one or unpack_limit instead.)",
            ));
        }
        decoder.value().map_err(|why| match why {
            Bad::Short => Raised::said("Missing bytes in input."),
            Bad::Format => Raised::said("Bad data format in input."),
            Bad::Raised(raised) => raised,
        })?;
        count += 1;
    }
    if !all {
        let left = decoder.rest.len();
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        frame.push_number(if left == 0 { -1.0 } else { (len - left) as f64 });
        frame.insert(2);
        count += 1;
    }
    Ok(count)
}

enum Bad {
    Short,
    Format,
    Raised(Raised),
}

struct Decoder<'d> {
    frame: Frame<'d>,
    rest: &'d [u8],
}

impl Decoder<'_> {
    /// Pushes one value.
    fn value(&mut self) -> Result<(), Bad> {
        let frame = self.frame;
        let mark = self.uint(1)?;
        #[expect(clippy::cast_precision_loss, reason = "Lua has doubles only")]
        match mark {
            0x00..=0x7f => frame.push_number(mark as f64),
            0xe0..=0xff => frame.push_number(mark as f64 - 256.0),
            0xa0..=0xbf => self.string(mark & 0x1f)?,
            0x90..=0x9f => self.array(mark & 0xf)?,
            0x80..=0x8f => self.map(mark & 0xf)?,
            0xc0 => frame.push_nil(),
            0xc2 => frame.push_bool(false),
            0xc3 => frame.push_bool(true),
            0xca => {
                let bits = u32::try_from(self.uint(4)?).unwrap_or(0);
                frame.push_number(f64::from(f32::from_bits(bits)));
            }
            0xcb => {
                let bits = self.uint(8)?;
                frame.push_number(f64::from_bits(bits));
            }
            0xcc..=0xcf => {
                let number = self.uint(1 << (mark - 0xcc))?;
                frame.push_number(number as f64);
            }
            0xd0..=0xd3 => {
                let bytes = 1_u32 << (mark - 0xd0);
                let unused = 64 - 8 * bytes;
                let number = (self.uint(bytes as usize)? << unused).cast_signed() >> unused;
                frame.push_number(number as f64);
            }
            0xd9..=0xdb => {
                let len = self.uint(1 << (mark - 0xd9))?;
                self.string(len)?;
            }
            0xdc | 0xdd => {
                let len = self.uint(2 << (mark - 0xdc))?;
                self.array(len)?;
            }
            0xde | 0xdf => {
                let len = self.uint(2 << (mark - 0xde))?;
                self.map(len)?;
            }
            _ => return Err(Bad::Format),
        }
        Ok(())
    }

    fn uint(&mut self, bytes: usize) -> Result<u64, Bad> {
        let (head, rest) = self.rest.split_at_checked(bytes).ok_or(Bad::Short)?;
        self.rest = rest;
        Ok(head.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn string(&mut self, len: u64) -> Result<(), Bad> {
        let len = usize::try_from(len).map_err(|_| Bad::Short)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(Bad::Short)?;
        self.rest = rest;
        self.frame.push_bytes(bytes);
        Ok(())
    }

    fn array(&mut self, len: u64) -> Result<(), Bad> {
        self.room("stack overflow (in function mp_decode_to_lua_array)")?;
        self.frame.push_table(0, 0);
        for index in 1..=len {
            self.value()?;
            self.frame.raw_set_index(-2, i32::try_from(index).map_err(|_| Bad::Short)?);
        }
        Ok(())
    }

    fn map(&mut self, len: u64) -> Result<(), Bad> {
        self.room("stack overflow (in function mp_decode_to_lua_hash)")?;
        self.frame.push_table(0, 0);
        for _ in 0..len {
            self.value()?;
            self.value()?;
            let nil = self.frame.is_nil_or_none(-2);
            if !self.frame.raw_set(-3) {
                let why = if nil { "table index is nil" } else { "table index is NaN" };
                return Err(Bad::Raised(Raised::Bare(why.into())));
            }
        }
        Ok(())
    }

    fn room(&self, why: &str) -> Result<(), Bad> {
        if self.frame.has_room(4) { Ok(()) } else { Err(Bad::Raised(Raised::said(why))) }
    }
}
