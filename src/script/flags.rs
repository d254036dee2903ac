//! What a script says of itself: the flags in its first line, or of a registered function.
//!
//! ```text
//!   #!lua flags=no-writes,allow-stale        an EVAL script
//!   #!lua name=mylib                         a library
//! ```
//!
//! A script without such a line behaves as before there were flags: it may do what the command that
//! it runs may do ([`Flags`] is absent then).

/// Flags of a script or function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    pub const NO_WRITES: Self = Self(1);
    pub const ALLOW_OOM: Self = Self(2);
    pub const ALLOW_STALE: Self = Self(4);
    pub const NO_CLUSTER: Self = Self(8);
    pub const ALLOW_CROSS_SLOT_KEYS: Self = Self(16);

    #[rustfmt::skip] // One row per flag, in the order in which they are shown.
    const NAMES: [(&str, Self); 5] = [
        ("no-writes",             Self::NO_WRITES),
        ("allow-oom",             Self::ALLOW_OOM),
        ("allow-stale",           Self::ALLOW_STALE),
        ("no-cluster",            Self::NO_CLUSTER),
        ("allow-cross-slot-keys", Self::ALLOW_CROSS_SLOT_KEYS),
    ];

    #[must_use]
    pub fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    pub fn add(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    /// The flag of that name, to the letter.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Self::NAMES.iter().find(|it| it.0.as_bytes() == name).map(|it| it.1)
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |it| self.has(it.1)).map(|it| it.0)
    }
}

/// Of an EVAL script: its flags, if its first line has any, and the text without that line's words.
///
/// # Errors
/// Why the line is wrong, in Redis' words.
pub fn read_script(body: &[u8]) -> Result<(Option<Flags>, &[u8]), Vec<u8>> {
    if !body.starts_with(b"#!") {
        return Ok((None, body));
    }
    let Some(end) = memchr::memchr(b'\n', body) else {
        return Err(b"ERR Invalid script shebang".to_vec());
    };
    let (line, rest) = body.split_at(end);
    let mut words = line.split(|&byte| byte == b' ').filter(|it| !it.is_empty());
    let engine = words.next().unwrap_or_default();
    if engine != b"#!lua" {
        return Err([b"ERR Unexpected engine in script shebang: ", engine].concat());
    }
    let mut flags = Flags::default();
    for word in words {
        let Some(list) = word.strip_prefix(b"flags=") else {
            return Err([b"ERR Unknown lua shebang option: ", word].concat());
        };
        for name in list.split(|&byte| byte == b',').filter(|_| !list.is_empty()) {
            let Some(flag) = Flags::named(name) else {
                return Err([b"ERR Unexpected flag in script shebang: ", name].concat());
            };
            flags.add(flag);
        }
    }
    Ok((Some(flags), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_read_or_refused() {
        let check = |body: &str, expected: Result<Option<&str>, &str>| {
            let result = read_script(body.as_bytes());
            let shown = result.map(|it| it.0.map(|it| it.names().collect::<Vec<_>>().join(",")));
            let shown = shown.as_ref().map(|it| it.as_deref());
            let shown = shown.map_err(|it| String::from_utf8_lossy(it).into_owned());
            assert_eq!(shown, expected.map_err(str::to_owned), "{body}");
        };
        check("return 1", Ok(None));
        check("#!lua\nreturn 1", Ok(Some("")));
        check("#!lua flags=\n", Ok(Some("")));
        check("#!lua flags=allow-oom,no-writes\n", Ok(Some("no-writes,allow-oom")));
        check("#!lua", Err("ERR Invalid script shebang"));
        check("#!js\n", Err("ERR Unexpected engine in script shebang: #!js"));
        check("#!lua x\n", Err("ERR Unknown lua shebang option: x"));
        check("#!lua flags=x\n", Err("ERR Unexpected flag in script shebang: x"));
    }
}
