//! Replies of commands as Lua values, and what a script returns as a reply.
//!
//! ```text
//!   RESP          Lua                              RESP
//!   :1            1                                :1       fractions are cut off
//!   $3 abc        "abc"                            $3 abc
//!   $-1 *-1       false                            $-1      true is :1; after setresp(3) #t, #f
//!   +OK           {ok="OK"}                        +OK
//!   -ERR x        {err="ERR x"}                    -ERR x
//!   *2 ..         {.., ..}                         *2 ..    up to the first nil
//!   %1 ..         {map={..}}                       %1 ..
//!   ~1 ..         {set={..=true}}                  ~1 ..
//!   ,1.5          {double=1.5}                     ,1.5
//!   (12           {big_number="12"}                (12
//!   =7 txt:abc    {verbatim_string={format=, string=}}
//!   _             nil                              _
//!   #t            true                             #t
//! ```
//!
//! Commands answer with well-formed replies of a few levels; they are read without fear. What a script
//! returns is not trusted: tables may be as deep as they like, or hold themselves. The depth of the
//! stack bounds it, as in Redis.

use crate::base::num;
use crate::resp::reply::{Proto, Reply};
use crate::script::lua::{Frame, LUA_TBOOLEAN, LUA_TNUMBER, LUA_TSTRING, LUA_TTABLE, c_integer};
use crate::script::machine::Outcome;

/// Pushes the value of a reply.
pub(super) fn push_reply(frame: Frame<'_>, reply: &[u8]) {
    let mut reader = Reader { frame, rest: reply };
    if reader.value().is_none() {
        debug_assert!(false, "commands write whole replies");
        frame.push_nil();
    }
}

struct Reader<'r> {
    frame: Frame<'r>,
    rest: &'r [u8],
}

impl<'r> Reader<'r> {
    /// Pushes exactly one value; `None`, and nothing pushed, where there is none.
    fn value(&mut self) -> Option<()> {
        let frame = self.frame;
        let line = self.line()?;
        let (&mark, text) = line.split_first()?;
        let _ = frame.has_room(8);
        match mark {
            b':' => match num::parse_i64(text) {
                #[expect(clippy::cast_precision_loss, reason = "Lua has doubles only")]
                Some(number) => frame.push_number(number as f64),
                None => frame.push_nil(),
            },
            b'$' | b'*' if text == b"-1" => frame.push_bool(false),
            b'$' => {
                let bytes = self.take(len(text)?)?;
                frame.push_bytes(bytes);
            }
            b'+' => self.single("ok", text),
            b'-' | b'!' => push_error_line(frame, text, true),
            b'*' | b'>' => {
                let len = len(text)?;
                frame.push_table(len, 0);
                for index in 1..=i32::try_from(len).unwrap_or(i32::MAX) {
                    self.value()?;
                    frame.raw_set_index(-2, index);
                }
            }
            b'%' => self.aggregate("map", len(text)?, Self::value)?,
            b'~' => self.aggregate("set", len(text)?, |it| {
                it.frame.push_bool(true);
                Some(())
            })?,
            b'_' => frame.push_nil(),
            b'#' => frame.push_bool(text == b"t"),
            b',' => {
                let value = std::str::from_utf8(text).ok().and_then(|it| it.parse::<f64>().ok());
                frame.push_table(0, 1);
                frame.push_number(value.unwrap_or(f64::NAN));
                frame.raw_set_field(-2, "double");
            }
            b'(' => self.single("big_number", text),
            b'=' => {
                let bytes = self.take(len(text)?)?;
                frame.push_table(0, 1);
                frame.push_table(0, 2);
                frame.push_bytes(bytes.get(..3)?);
                frame.raw_set_field(-2, "format");
                frame.push_bytes(bytes.get(4..)?);
                frame.raw_set_field(-2, "string");
                frame.raw_set_field(-2, "verbatim_string");
            }
            _ => return None,
        }
        Some(())
    }

    fn aggregate(
        &mut self,
        field: &str,
        len: usize,
        second: impl Fn(&mut Self) -> Option<()>,
    ) -> Option<()> {
        let frame = self.frame;
        frame.push_table(0, 1);
        frame.push_table(0, len);
        for _ in 0..len {
            self.value()?;
            second(self)?;
            frame.raw_set(-3);
        }
        frame.raw_set_field(-2, field);
        Some(())
    }

    fn single(&self, field: &str, text: &[u8]) {
        self.frame.push_table(0, 1);
        self.frame.push_bytes(text);
        self.frame.raw_set_field(-2, field);
    }

    fn line(&mut self) -> Option<&'r [u8]> {
        let end = memchr::memchr(b'\r', self.rest)?;
        let line = self.rest.get(..end)?;
        self.rest = self.rest.get(end + 2..)?;
        Some(line)
    }

    fn take(&mut self, len: usize) -> Option<&'r [u8]> {
        let bytes = self.rest.get(..len)?;
        self.rest = self.rest.get(len + 2..)?;
        Some(bytes)
    }
}

fn len(text: &[u8]) -> Option<usize> {
    usize::try_from(num::parse_i64(text)?).ok()
}

/// Pushes `{err=..}`: of `-CODE text` without the mark, of anything else behind `ERR `.
pub(super) fn push_error(frame: Frame<'_>, text: &[u8]) {
    match text.strip_prefix(b"-") {
        Some(line) => push_error_line(frame, line, false),
        None => {
            let line = [b"ERR ", text].concat();
            push_err_field(frame, &line, false);
        }
    }
}

/// As a command's error line says it; `counted`: the statistics have it already.
fn push_error_line(frame: Frame<'_>, line: &[u8], counted: bool) {
    if line.contains(&b' ') {
        push_err_field(frame, line, counted);
    } else {
        // A line of one word has no code.
        let line = [b"ERR ", line].concat();
        push_err_field(frame, &line, counted);
    }
}

fn push_err_field(frame: Frame<'_>, text: &[u8], counted: bool) {
    frame.push_table(0, 2);
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |it| it + 1);
    let text = &text[..end];
    // As far as C's strings go.
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    frame.push_bytes(&text[..end]);
    frame.raw_set_field(-2, "err");
    if counted {
        frame.push_bool(true);
        frame.raw_set_field(-2, "ignore_error_stats_update");
    }
}

/// What lua calls with an error on its way to the host: it becomes a table that knows where it happened.
pub(super) fn handle_error(frame: Frame<'_>) -> Result<i32, crate::script::lua::Raised> {
    let caller = match frame.caller(1) {
        Some(caller) if caller.is_c => frame.caller(2),
        caller => caller,
    };
    if frame.kind(1) != LUA_TTABLE || crate::script::sandbox::is_protected(frame, 1) {
        let text = match frame.text(1) {
            Some(text) => text.into_owned(),
            None if frame.is_nil_or_none(1) => b"nil".to_vec(),
            None if frame.kind(1) == LUA_TBOOLEAN => frame.boolean(1).to_string().into_bytes(),
            None => format!("{}: {:#x}", frame.kind_name(1), frame.address(1)).into_bytes(),
        };
        push_err_field(frame, &[b"ERR ", text.as_slice()].concat(), false);
        frame.replace(1);
        frame.set_top(1);
    }
    if let Some(caller) = caller {
        frame.push_bytes(&caller.source);
        frame.raw_set_field(1, "source");
        frame.push_number(f64::from(caller.line));
        frame.raw_set_field(1, "line");
    }
    frame.set_top(1);
    Ok(1)
}

/// The reply of a script that is over, its value or error on top, into the run's `reply`.
pub(super) fn finish(frame: Frame<'_>, fine: bool) -> Outcome {
    let (mut out, proto, client) =
        frame.run(|run| (std::mem::take(&mut run.reply), run.proto, run.client));
    out.clear();
    let outcome = if fine {
        let failed = frame.kind(-1) == LUA_TTABLE && {
            frame.raw_get_field(-1, "err");
            let failed = frame.kind(-1) == LUA_TSTRING;
            frame.pop(1);
            failed
        };
        let counted = failed && is_counted(frame);
        Writer { frame, script: proto, reply: Reply { out: &mut out, proto: client } }.top();
        if failed { Outcome::Failed { counted } } else { Outcome::Fine }
    } else {
        let name = frame.run(|run| run.name.clone());
        let counted = write_failure(frame, &name, &mut out);
        Outcome::Failed { counted }
    };
    frame.run(|run| run.reply = out);
    outcome
}

/// The reply to a script that raised the error on top; was it counted when it happened?
fn write_failure(frame: Frame<'_>, name: &[u8], out: &mut Vec<u8>) -> bool {
    if frame.kind(-1) != LUA_TTABLE {
        let text = frame.text(-1);
        let text = text.as_deref().unwrap_or(b"execution failure");
        let text = &text[..text.len().min(100)];
        let line = [b"ERR Error running script ", name, b", ", text].concat();
        error_line(out, &line);
        return false;
    }
    let counted = is_counted(frame);
    let field = |name: &str| {
        frame.raw_get_field(-1, name);
        let text = frame.text(-1).map(std::borrow::Cow::into_owned);
        frame.pop(1);
        text
    };
    let mut line = field("err").unwrap_or_else(|| b"ERR unknown error".to_vec());
    if let (Some(source), Some(at)) = (field("source"), field("line")) {
        for part in [b" script: ", name, b", on ", &source, b":", &at, b"."] {
            line.extend_from_slice(part);
        }
    }
    error_line(out, &line);
    counted
}

fn is_counted(frame: Frame<'_>) -> bool {
    frame.raw_get_field(-1, "ignore_error_stats_update");
    let counted = frame.kind(-1) == LUA_TBOOLEAN && frame.boolean(-1);
    frame.pop(1);
    counted
}

/// An error is one line, whatever the script put into it.
fn error_line(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'-');
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |it| it + 1);
    let one_line = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
    out.extend(text[..end].iter().map(one_line));
    out.extend_from_slice(b"\r\n");
}

struct Writer<'w> {
    frame: Frame<'w>,
    /// As `redis.setresp` left it.
    script: Proto,
    reply: Reply<'w>,
}

impl Writer<'_> {
    /// Writes the value on top, and pops it.
    fn top(&mut self) {
        let frame = self.frame;
        if !frame.has_room(4) {
            error_line(self.reply.out, b"ERR reached lua stack limit");
            return frame.pop(1);
        }
        match frame.kind(-1) {
            LUA_TSTRING => self.reply.bulk(frame.bytes(-1).unwrap_or_default()),
            LUA_TNUMBER => self.reply.int(c_integer(frame.number(-1).unwrap_or(0.0))),
            LUA_TBOOLEAN => match (self.script, frame.boolean(-1)) {
                (Proto::Resp2, true) => self.reply.int(1),
                (Proto::Resp2, false) => self.reply.null(),
                (Proto::Resp3, value) => self.reply.bool(value),
            },
            LUA_TTABLE => return self.table(),
            _ => self.reply.null(),
        }
        frame.pop(1);
    }

    fn table(&mut self) {
        let frame = self.frame;
        if self.is_field("err", LUA_TSTRING) {
            error_line(self.reply.out, frame.bytes(-1).unwrap_or_default());
            return frame.pop(2);
        }
        if self.is_field("ok", LUA_TSTRING) {
            let text = frame.bytes(-1).unwrap_or_default();
            self.reply.simple(text.split(|&byte| byte == 0).next().unwrap_or_default());
            return frame.pop(2);
        }
        if self.is_field("double", LUA_TNUMBER) {
            self.reply.double(frame.number(-1).unwrap_or(0.0));
            return frame.pop(2);
        }
        if self.is_field("big_number", LUA_TSTRING) {
            let one_line = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
            let digits: Vec<u8> =
                frame.bytes(-1).unwrap_or_default().iter().map(one_line).collect();
            self.reply.big_number(&digits);
            return frame.pop(2);
        }
        if self.is_field("verbatim_string", LUA_TTABLE) {
            if self.is_field("format", LUA_TSTRING) {
                frame.raw_get_field(-2, "string");
                if let (Some(format), Some(text)) = (frame.bytes(-2), frame.bytes(-1)) {
                    let mut ext = *b"   ";
                    let len = format.len().min(3);
                    ext[..len].copy_from_slice(&format[..len]);
                    self.reply.verbatim(ext, text);
                    return frame.pop(4);
                }
                frame.pop(2);
            }
            frame.pop(1);
        }
        if self.is_field("map", LUA_TTABLE) {
            self.pairs(2, |reply, pairs| reply.map(pairs));
            return frame.pop(2);
        }
        if self.is_field("set", LUA_TTABLE) {
            self.pairs(1, |reply, len| reply.set(len));
            return frame.pop(2);
        }
        self.array();
    }

    fn array(&mut self) {
        let (frame, start) = (self.frame, self.reply.out.len());
        let mut count = 0;
        loop {
            frame.raw_get_index(-1, count + 1);
            if frame.is_nil_or_none(-1) {
                break;
            }
            self.top();
            count += 1;
        }
        frame.pop(2);
        self.header(start, |reply| reply.array(usize::try_from(count).unwrap_or(0)));
    }

    /// The fields of the table on top: keys, and if `each` is 2 values.
    fn pairs(&mut self, each: u8, header: impl Fn(&mut Reply<'_>, usize)) {
        let (frame, start) = (self.frame, self.reply.out.len());
        let mut count = 0;
        frame.push_nil();
        while frame.next(-2) {
            if each == 1 {
                frame.pop(1);
                frame.push_value(-1);
            } else {
                frame.push_value(-2);
                self.top();
            }
            self.top();
            count += 1;
        }
        self.header(start, |reply| header(reply, count));
    }

    /// A header before what was written from `start` on: how many there are shows only afterwards.
    fn header(&mut self, start: usize, write: impl Fn(&mut Reply<'_>)) {
        let end = self.reply.out.len();
        write(&mut self.reply);
        let len = self.reply.out.len() - end;
        self.reply.out[start..].rotate_right(len);
    }

    /// Pushes that field if it is of that kind.
    fn is_field(&self, name: &str, kind: i32) -> bool {
        self.frame.raw_get_field(-1, name);
        let is = self.frame.kind(-1) == kind;
        if !is {
            self.frame.pop(1);
        }
        is
    }
}
