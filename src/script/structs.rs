//! The `struct` library: numbers and strings packed as C lays them out.
//!
//! ```text
//!   > <    big, little endian       b B h H l L    1, 2, 8 bytes, signed and not
//!   ![n]   align to at most n       i[n] I[n]      n bytes, 4 if not said
//!   x      a byte of padding        f d            float, double
//!   ' '    nothing                  c[n] s         n bytes (0: all, or as the number before says), up to NUL
//! ```
//!
//! Formats come from scripts: every size is checked before it is added to another.

use crate::script::lua::{Frame, LUA_TNUMBER, Native, Raised};
use crate::script::sandbox::push_functions;

const FUNCTIONS: &[(&str, Native)] = &[("pack", pack), ("unpack", unpack), ("size", size)];

const MAX_ALIGNMENT: usize = 8;
const MAX_INTEGER_BYTES: usize = 32;

pub(super) fn push_library(frame: Frame<'_>) {
    push_functions(frame, FUNCTIONS);
}

/// A format, read from left to right.
struct Format<'f> {
    frame: Frame<'f>,
    rest: &'f [u8],
    big: bool,
    align: usize,
}

/// One option, and how many bytes it takes.
type Item = (u8, usize);

impl<'f> Format<'f> {
    fn new(frame: Frame<'f>, text: &'f [u8]) -> Self {
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        Self { frame, rest: &text[..end], big: false, align: 1 }
    }

    fn next(&mut self) -> Result<Option<Item>, Raised> {
        let Some((&option, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let size = match option {
            b'B' | b'b' | b'x' => 1,
            b'H' | b'h' => 2,
            b'L' | b'l' | b'd' => 8,
            b'T' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b's' | b' ' | b'<' | b'>' | b'!' => 0,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > MAX_INTEGER_BYTES {
                    let why = format!("integral size {size} is larger than limit of 32");
                    return Err(Raised::said(why));
                }
                if !size.is_power_of_two() {
                    return Err(Raised::said(format!("integral size {size} is not a power of 2")));
                }
                size
            }
            _ => {
                let why = format!("invalid format option [{}]", char::from(option));
                return Err(self.frame.bad_argument(1, &why));
            }
        };
        Ok(Some((option, size)))
    }

    /// The digits that come next, as a number.
    fn number(&mut self, default: usize) -> Result<usize, Raised> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let (text, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let mut number = 0_i32;
        for digit in text {
            number = number
                .checked_mul(10)
                .and_then(|it| it.checked_add(i32::from(digit - b'0')))
                .ok_or_else(|| Raised::said("integral size overflow"))?;
        }
        Ok(usize::try_from(number).unwrap_or(0))
    }

    /// Padding before an item that begins at `len`.
    fn padding(&self, len: usize, (option, size): Item) -> usize {
        if size == 0 || option == b'c' {
            return 0;
        }
        let size = size.min(self.align);
        (size - (len & (size - 1))) & (size - 1)
    }

    /// An option that stands for no bytes.
    fn control(&mut self, option: u8) -> Result<(), Raised> {
        match option {
            b'>' => self.big = true,
            b'<' => self.big = false,
            b'!' => {
                let align = self.number(MAX_ALIGNMENT)?;
                if !align.is_power_of_two() {
                    return Err(Raised::said(format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            _ => {}
        }
        Ok(())
    }
}

fn pack(frame: Frame<'_>) -> Result<i32, Raised> {
    let text = frame.need_text(1)?;
    let mut format = Format::new(frame, &text);
    let (mut out, mut at) = (Vec::new(), 2);
    let mut total = 0_usize;
    while let Some(item) = format.next()? {
        let (option, mut size) = item;
        let padding = format.padding(total, item);
        total += padding;
        out.resize(out.len() + padding, 0);
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                put_integer(&mut out, frame.need_number(at)?, format.big, size);
                at += 1;
            }
            b'x' => out.push(0),
            b'f' => {
                #[expect(clippy::cast_possible_truncation, reason = "as C casts")]
                let bits = (frame.need_number(at)? as f32).to_bits();
                let bytes = if format.big { bits.to_be_bytes() } else { bits.to_le_bytes() };
                out.extend_from_slice(&bytes);
                at += 1;
            }
            b'd' => {
                let bits = frame.need_number(at)?.to_bits();
                let bytes = if format.big { bits.to_be_bytes() } else { bits.to_le_bytes() };
                out.extend_from_slice(&bytes);
                at += 1;
            }
            b'c' | b's' => {
                let string = frame.need_text(at)?;
                at += 1;
                if size == 0 {
                    size = string.len();
                }
                let Some(part) = string.get(..size) else {
                    return Err(frame.bad_argument(at, "string too short"));
                };
                out.extend_from_slice(part);
                if option == b's' {
                    out.push(0);
                    size += 1;
                }
            }
            _ => format.control(option)?,
        }
        total += size;
    }
    frame.push_bytes(&out);
    Ok(1)
}

fn put_integer(out: &mut Vec<u8>, number: f64, big: bool, size: usize) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as C casts")]
    let value = if number < 9_223_372_036_854_775_807.0 {
        crate::script::lua::c_integer(number).cast_unsigned()
    } else {
        number as u64
    };
    // Larger integers are filled up with zeros, whatever the sign: so does the original.
    let bytes = value.to_le_bytes();
    let byte = |place: usize| bytes.get(place).copied().unwrap_or(0);
    if big {
        out.extend((0..size).rev().map(byte));
    } else {
        out.extend((0..size).map(byte));
    }
}

fn get_integer(bytes: &[u8], big: bool, signed: bool) -> f64 {
    let mut value = 0_u64;
    // Of larger integers the lowest 8 bytes count.
    for place in 0..bytes.len().min(8) {
        let byte = if big { bytes[bytes.len() - place - 1] } else { bytes[place] };
        value |= u64::from(byte) << (8 * place);
    }
    #[expect(clippy::cast_precision_loss, reason = "Lua has doubles only")]
    if !signed {
        value as f64
    } else if bytes.len() >= 8 {
        value.cast_signed() as f64
    } else {
        let unused = 64 - 8 * u32::try_from(bytes.len()).unwrap_or(8);
        ((value << unused).cast_signed() >> unused) as f64
    }
}

fn unpack(frame: Frame<'_>) -> Result<i32, Raised> {
    let text = frame.need_text(1)?;
    let data = frame.need_text(2)?;
    let start = if frame.is_nil_or_none(3) { 1 } else { frame.need_integer(3)? };
    let Some(mut at) = usize::try_from(start).ok().and_then(|it| it.checked_sub(1)) else {
        return Err(frame.bad_argument(3, "offset must be 1 or greater"));
    };
    let mut format = Format::new(frame, &text);
    frame.set_top(2);
    let mut results = 0;
    while let Some(item) = format.next()? {
        let (option, mut size) = item;
        at += format.padding(at, item);
        let short = || frame.bad_argument(2, "data string too short");
        let part = data.get(at..).and_then(|it| it.get(..size)).ok_or_else(short)?;
        if !frame.has_room(2) {
            return Err(Raised::said("stack overflow (too many results)"));
        }
        results += 1;
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                frame.push_number(get_integer(part, format.big, option.is_ascii_lowercase()));
            }
            b'f' => {
                let bytes = part.try_into().unwrap_or_default();
                let bits =
                    if format.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
                frame.push_number(f64::from(f32::from_bits(bits)));
            }
            b'd' => {
                let bytes = part.try_into().unwrap_or_default();
                let bits =
                    if format.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) };
                frame.push_number(f64::from_bits(bits));
            }
            b'c' => {
                let mut part = part;
                if size == 0 {
                    let said = (results > 1 && frame.kind(-1) == LUA_TNUMBER)
                        .then(|| frame.number(-1))
                        .flatten();
                    let Some(said) = said else {
                        return Err(Raised::said("format 'c0' needs a previous size"));
                    };
                    frame.pop(1);
                    results -= 1;
                    size = usize::try_from(crate::script::lua::c_integer(said))
                        .map_err(|_| short())?;
                    part = data.get(at..).and_then(|it| it.get(..size)).ok_or_else(short)?;
                }
                frame.push_bytes(part);
            }
            b's' => {
                let rest = data.get(at..).unwrap_or_default();
                let Some(len) = memchr::memchr(0, rest) else {
                    return Err(Raised::said("unfinished string in data"));
                };
                frame.push_bytes(&rest[..len]);
                size = len + 1;
            }
            _ => {
                results -= 1;
                format.control(option)?;
            }
        }
        at += size;
    }
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    frame.push_number((at + 1) as f64);
    Ok(results + 1)
}

fn size(frame: Frame<'_>) -> Result<i32, Raised> {
    let text = frame.need_text(1)?;
    let mut format = Format::new(frame, &text);
    let mut total = 0_usize;
    while let Some(item) = format.next()? {
        let (option, size) = item;
        total += format.padding(total, item);
        if option == b's' {
            return Err(frame.bad_argument(1, "option 's' has no fixed size"));
        }
        if option == b'c' && size == 0 {
            return Err(frame.bad_argument(1, "option 'c0' has no fixed size"));
        }
        if !option.is_ascii_alphanumeric() {
            format.control(option)?;
        }
        total = total.saturating_add(size);
    }
    #[expect(clippy::cast_precision_loss, reason = "as Lua counts")]
    frame.push_number(total as f64);
    Ok(1)
}
