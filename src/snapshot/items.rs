//! Reading RDB items from bytes that come in pieces: lengths, strings, whole values to be passed over.
//!
//! Every reader takes what the input has from its front and keeps its place, so a cut between any two
//! bytes is harmless. "Not yet" implies that the input is used up. Nothing is reserved for a length
//! that was only announced: a buffer grows by the bytes that arrived, a packed string by at most
//! what these can unpack to.
//!
//! Not here: opcodes and their meaning (`decode.rs`).

use crate::snapshot::build::{Builder, Token};
use crate::snapshot::error::Why;
use crate::snapshot::format::{self, Item};
use crate::snapshot::lzf;

/// What a buffer keeps after a large string.
pub const KEPT_BYTES_MAX: usize = 1 << 20;

/// Bounds on one string.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub string_bytes_max: u64,
    /// How many bytes of the file come after this input, where that is known.
    pub beyond: Option<u64>,
}

/// Reads single items.
#[derive(Debug, Default)]
pub struct Reader {
    held: [u8; format::LENGTH_BYTES_MAX],
    held_len: usize,
    string: StringState,
    packed: Vec<u8>,
}

#[derive(Debug, Default)]
enum StringState {
    #[default]
    Start,
    Plain {
        left: u64,
    },
    Integer {
        width: usize,
    },
    PackedLength,
    UnpackedLength {
        packed: u64,
    },
    Packed {
        left: u64,
        len: u64,
    },
}

/// A length, or the encoding that stands in its place.
enum Length {
    Bytes(u64),
    Encoded(u8),
}

impl Reader {
    /// The next `N` bytes.
    pub fn fixed<const N: usize>(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        const { assert!(N <= format::LENGTH_BYTES_MAX) };
        self.gather(input, N)?.first_chunk().copied()
    }

    /// A length that is no string's.
    pub fn length(&mut self, input: &mut &[u8]) -> Result<Option<u64>, Why> {
        match self.length_or_encoding(input)? {
            Some(Length::Encoded(byte)) => Err(Why::EncodedLength(byte)),
            Some(Length::Bytes(len)) => Ok(Some(len)),
            None => Ok(None),
        }
    }

    /// Appends a string to `out`, or passes over it where there is none. True: it is complete.
    pub fn string(
        &mut self,
        input: &mut &[u8],
        mut out: Option<&mut Vec<u8>>,
        bounds: Bounds,
    ) -> Result<bool, Why> {
        loop {
            let next = match self.string {
                StringState::Start => self.string_start(input, bounds)?,
                StringState::PackedLength => {
                    self.length(input)?.map(|packed| StringState::UnpackedLength { packed })
                }
                StringState::UnpackedLength { packed } => self.unpacked(packed, input, bounds)?,
                StringState::Plain { ref mut left } => {
                    let bytes = take_up_to(input, left);
                    if let Some(out) = &mut out {
                        out.extend_from_slice(bytes);
                    }
                    if *left == 0 {
                        break;
                    }
                    None
                }
                StringState::Integer { width } => {
                    if let Some(bytes) = self.gather(input, width) {
                        if let Some(out) = &mut out {
                            put_integer(bytes, out);
                        }
                        break;
                    }
                    None
                }
                StringState::Packed { ref mut left, len } => {
                    let bytes = take_up_to(input, left);
                    if out.is_some() {
                        self.packed.extend_from_slice(bytes);
                    }
                    if *left == 0 {
                        if let Some(out) = &mut out {
                            let len = usize::try_from(len).map_err(|_| too_long(len, bounds))?;
                            lzf::unpack(&self.packed, len, out).map_err(Why::Lzf)?;
                        }
                        break;
                    }
                    None
                }
            };
            let Some(next) = next else { return Ok(false) };
            self.string = next;
        }
        self.string = StringState::Start;
        Ok(true)
    }

    /// How a string begins; `None`: not yet known.
    fn string_start(
        &mut self,
        input: &mut &[u8],
        bounds: Bounds,
    ) -> Result<Option<StringState>, Why> {
        Ok(match self.length_or_encoding(input)? {
            None => None,
            Some(Length::Bytes(len)) => {
                check_len(len, bounds)?;
                check_left(len, bounds, input)?;
                Some(StringState::Plain { left: len })
            }
            Some(Length::Encoded(format::ENCODED_INT8)) => Some(StringState::Integer { width: 1 }),
            Some(Length::Encoded(format::ENCODED_INT16)) => Some(StringState::Integer { width: 2 }),
            Some(Length::Encoded(format::ENCODED_INT32)) => Some(StringState::Integer { width: 4 }),
            Some(Length::Encoded(_)) => Some(StringState::PackedLength),
        })
    }

    /// What `packed` bytes shall become.
    fn unpacked(
        &mut self,
        packed: u64,
        input: &mut &[u8],
        bounds: Bounds,
    ) -> Result<Option<StringState>, Why> {
        let Some(len) = self.length(input)? else { return Ok(None) };
        check_len(len, bounds)?;
        check_len(packed, bounds)?;
        check_left(packed, bounds, input)?;
        if len > lzf::unpacked_bytes_max(packed) {
            return Err(Why::LzfBomb { packed, len });
        }
        self.packed.clear();
        self.packed.shrink_to(KEPT_BYTES_MAX);
        Ok(Some(StringState::Packed { left: packed, len }))
    }

    fn length_or_encoding(&mut self, input: &mut &[u8]) -> Result<Option<Length>, Why> {
        let first = match (self.held_len, input.first()) {
            (0, None) => return Ok(None),
            (0, Some(first)) => *first,
            _ => self.held[0],
        };
        let width = match (first & format::LEN_BITS, first) {
            (format::LEN_6BIT, _) => 1,
            (format::LEN_14BIT, _) => 2,
            (_, format::LEN_32BIT) => 5,
            (_, format::LEN_64BIT) => 9,
            (_, format::ENCODED_INT8..=format::ENCODED_LZF) => 1,
            _ => return Err(Why::BadLength(first)),
        };
        let Some(bytes) = self.gather(input, width) else { return Ok(None) };
        Ok(Some(match bytes {
            [encoding @ format::ENCODED_INT8..=format::ENCODED_LZF] => Length::Encoded(*encoding),
            [len] => Length::Bytes(u64::from(*len)),
            [high, low] => {
                Length::Bytes(u64::from(high & !format::LEN_BITS) << 8 | u64::from(*low))
            }
            [_, rest @ ..] => {
                Length::Bytes(rest.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)))
            }
            [] => return Ok(None),
        }))
    }

    /// The next `width` bytes, once they are all there.
    fn gather(&mut self, input: &mut &[u8], width: usize) -> Option<&[u8]> {
        assert!(self.held_len < width && width <= self.held.len());
        let take = input.len().min(width - self.held_len);
        let (bytes, rest) = input.split_at(take);
        self.held[self.held_len..self.held_len + take].copy_from_slice(bytes);
        *input = rest;
        self.held_len += take;
        if self.held_len < width {
            return None;
        }
        self.held_len = 0;
        Some(&self.held[..width])
    }
}

/// Passes over one value: runs a program of `format::VALUES`. The depth of its loops is fixed, so no
/// input makes it recurse, and each round of a loop takes at least a byte.
#[derive(Debug, Default)]
pub struct Passer {
    program: &'static [Item],
    at: usize,
    loops: [Loop; format::REPEAT_DEPTH_MAX],
    depth: usize,
    raw_left: u64,
    /// `Raw` bytes are being collected.
    raw: bool,
    /// The opcode of a module whose operand comes next.
    module: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Loop {
    from: usize,
    to: usize,
    left: u64,
}

impl Passer {
    /// At the beginning of a value made of `program`.
    #[must_use]
    pub fn new(program: &'static [Item]) -> Self {
        Self { program, ..Self::default() }
    }

    /// Goes on, and gives the items to who builds of them. True: the value is over.
    pub fn pass(
        &mut self,
        reader: &mut Reader,
        input: &mut &[u8],
        bounds: Bounds,
        mut builder: Option<&mut Builder>,
    ) -> Result<bool, Why> {
        loop {
            let bytes = take_up_to(input, &mut self.raw_left);
            if let Some(builder) = &mut builder {
                builder.raw.extend_from_slice(if self.raw { bytes } else { &[] });
            }
            if self.raw_left > 0 {
                return Ok(false);
            }
            if let Some(builder) = &mut builder
                && std::mem::take(&mut self.raw)
            {
                let raw = std::mem::take(&mut builder.raw);
                builder.token(self.at - 1, Token::Raw(&raw)).map_err(|_| Why::Item)?;
            }
            self.close_loops();
            let Some(item) = self.program.get(self.at) else { return Ok(true) };
            match *item {
                Item::Length => {
                    let Some(len) = reader.length(input)? else { return Ok(false) };
                    if let Some(builder) = &mut builder {
                        builder.token(self.at, Token::Length(len)).map_err(|_| Why::Item)?;
                    }
                }
                Item::Str => {
                    let text = builder.as_mut().map(|it| &mut it.text);
                    if !reader.string(input, text, bounds)? {
                        return Ok(false);
                    }
                    if let Some(builder) = &mut builder {
                        let text = std::mem::take(&mut builder.text);
                        builder.token(self.at, Token::Text(text)).map_err(|_| Why::Item)?;
                    }
                }
                Item::Raw(bytes) => {
                    self.raw_left = u64::from(bytes);
                    self.raw = builder.is_some();
                }
                Item::Repeat(body) => {
                    let Some(count) = reader.length(input)? else { return Ok(false) };
                    self.open_loop(usize::from(body), count);
                    continue;
                }
                Item::TextDouble => {
                    let Some([len]) = reader.fixed(input) else { return Ok(false) };
                    let word: &[u8] = match len {
                        253 => b"nan",
                        254 => b"inf",
                        255 => b"-inf",
                        _ => b"",
                    };
                    self.raw_left = if word.is_empty() { u64::from(len) } else { 0 };
                    self.raw = builder.is_some();
                    if let Some(builder) = &mut builder {
                        builder.raw.extend_from_slice(word);
                    }
                }
                Item::Module => match self.pass_module(reader, input, bounds)? {
                    None => return Ok(false),
                    Some(true) => {}
                    Some(false) => continue,
                },
            }
            self.at += 1;
        }
    }

    fn open_loop(&mut self, body: usize, count: u64) {
        let from = self.at + 1;
        if count == 0 {
            self.at = from + body;
        } else {
            self.loops[self.depth] = Loop { from, to: from + body, left: count };
            self.depth += 1;
            self.at = from;
        }
    }

    fn close_loops(&mut self) {
        while let Some(innermost) = self.loops[..self.depth].last_mut()
            && innermost.to == self.at
        {
            innermost.left -= 1;
            if innermost.left > 0 {
                self.at = innermost.from;
            } else {
                self.depth -= 1;
            }
        }
    }

    /// One opcode or operand of a module. `Some(true)`: that was its end mark.
    fn pass_module(
        &mut self,
        reader: &mut Reader,
        input: &mut &[u8],
        bounds: Bounds,
    ) -> Result<Option<bool>, Why> {
        let done = match self.module {
            None => {
                let Some(opcode) = reader.length(input)? else { return Ok(None) };
                match opcode {
                    format::MODULE_EOF => return Ok(Some(true)),
                    format::MODULE_FLOAT => self.raw_left = 4,
                    format::MODULE_DOUBLE => self.raw_left = 8,
                    format::MODULE_SINT | format::MODULE_UINT | format::MODULE_STRING => {
                        self.module = Some(opcode);
                    }
                    _ => return Err(Why::ModuleOpcode(opcode)),
                }
                return Ok(Some(false));
            }
            Some(format::MODULE_STRING) => reader.string(input, None, bounds)?,
            Some(_) => reader.length(input)?.is_some(),
        };
        if !done {
            return Ok(None);
        }
        self.module = None;
        Ok(Some(false))
    }
}

/// The bytes that the input has of the `left` that are wanted.
fn take_up_to<'i>(input: &mut &'i [u8], left: &mut u64) -> &'i [u8] {
    let take = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    let (bytes, rest) = input.split_at(take);
    *input = rest;
    *left -= take as u64;
    bytes
}

fn check_len(len: u64, bounds: Bounds) -> Result<(), Why> {
    if len > bounds.string_bytes_max { Err(too_long(len, bounds)) } else { Ok(()) }
}

fn too_long(len: u64, bounds: Bounds) -> Why {
    Why::StringTooLong { len, max: bounds.string_bytes_max }
}

fn check_left(len: u64, bounds: Bounds, input: &[u8]) -> Result<(), Why> {
    let Some(beyond) = bounds.beyond else { return Ok(()) };
    let left = beyond.saturating_add(input.len() as u64);
    if len > left { Err(Why::BeyondEnd { len, left }) } else { Ok(()) }
}

fn put_integer(bytes: &[u8], out: &mut Vec<u8>) {
    let number = match *bytes {
        [a] => i64::from(i8::from_le_bytes([a])),
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        _ => return,
    };
    out.extend_from_slice(number.to_string().as_bytes());
}

#[cfg(test)]
impl Reader {
    pub fn held_bytes(&self) -> usize {
        self.packed.capacity()
    }
}
