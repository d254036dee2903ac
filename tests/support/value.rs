//! Replies as trees, in RESP2 and RESP3: just enough to cut a stream into replies and to compare
//! those whose order or size may differ. Written apart from the server's own decoder, which must
//! not judge itself.

/// One reply. `Line` is everything that ends with its first line, its kind byte included.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Value {
    Line(Vec<u8>),
    Bulk(u8, Vec<u8>),
    /// Kind byte, and elements (of a map: keys and values in turn).
    List(u8, Vec<Value>),
}

impl Value {
    /// The kind byte on the wire, `_` for every null.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Line(line) if line == b"$-1" || line == b"*-1" => b'_',
            Self::Line(line) => line.first().copied().unwrap_or(0),
            Self::Bulk(kind, _) | Self::List(kind, _) => *kind,
        }
    }

    pub fn items(&self) -> &[Self] {
        if let Self::List(_, items) = self { items } else { &[] }
    }

    /// The payload of a bulk, or what follows the kind byte of a line.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bulk(_, bytes) => bytes,
            Self::Line(line) => line.get(1..).unwrap_or(&[]),
            Self::List(..) => &[],
        }
    }

    pub fn int(&self) -> Option<i64> {
        std::str::from_utf8(self.bytes()).ok()?.parse().ok()
    }
}

/// The length of the first whole reply in `bytes`; `None` while it is incomplete.
pub fn reply_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    Ok(parse(bytes)?.map(|(_, length)| length))
}

/// A whole reply as a tree.
pub fn value(reply: &[u8]) -> Value {
    parse(reply).unwrap().expect("a whole reply").0
}

/// The first reply of `bytes` and its length.
fn parse(bytes: &[u8]) -> Result<Option<(Value, usize)>, String> {
    let Some(end) = bytes.windows(2).position(|it| it == b"\r\n") else {
        return Ok(None);
    };
    let (line, mut at) = (&bytes[..end], end + 2);
    let kind = *line.first().ok_or("an empty line where a reply should start")?;
    let count = || -> Result<usize, String> {
        let text = std::str::from_utf8(&line[1..]).map_err(|it| it.to_string())?;
        text.parse().map_err(|_| format!("a bad length: {}", line.escape_ascii()))
    };
    match kind {
        b'+' | b'-' | b':' | b',' | b'#' | b'_' | b'(' => Ok(Some((Value::Line(line.into()), at))),
        b'$' | b'*' if &line[1..] == b"-1" => Ok(Some((Value::Line(line.into()), at))),
        b'$' | b'=' | b'!' => {
            let length = count()?;
            let Some(rest) = bytes.get(at..at + length + 2) else {
                return Ok(None);
            };
            let (body, line_end) = rest.split_at(length);
            if line_end != b"\r\n" {
                return Err(format!("a bulk of {length} bytes ends with {line_end:?}"));
            }
            Ok(Some((Value::Bulk(kind, body.into()), at + length + 2)))
        }
        b'*' | b'~' | b'>' | b'%' | b'|' => {
            let count = if matches!(kind, b'%' | b'|') { count()? * 2 } else { count()? };
            let mut items = Vec::new();
            for _ in 0..count {
                let Some((item, length)) = parse(&bytes[at..])? else {
                    return Ok(None);
                };
                items.push(item);
                at += length;
            }
            Ok(Some((Value::List(kind, items), at)))
        }
        _ => Err(format!("not a reply: {}", line.escape_ascii())),
    }
}
