//! The manifest: which files the append-only file consists of, in Redis 7's format.
//!
//! ```text
//!   file appendonly.aof.2.base.rdb seq 2 type b      the data at one instant; at most one
//!   file appendonly.aof.5.incr.aof seq 5 type i      what was written since, in this order
//!   file appendonly.aof.6.incr.aof seq 6 type i
//!   file appendonly.aof.4.incr.aof seq 4 type h      no longer needed: may be deleted
//! ```
//!
//! Not here: reading and replacing it, and the files themselves (`files.rs`, `runtime/append.rs`).

use crate::base::settings::grammar;

/// The files, by what they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub base: Option<File>,
    pub increments: Vec<File>,
    pub history: Vec<File>,
}

/// A file in the directory of the append-only file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub name: Vec<u8>,
    pub seq: u64,
}

/// Why a text is no manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// A line, counted from 1, is not as it must be.
    Line(usize),
    /// A second base.
    Bases(usize),
    /// Increments whose numbers do not rise.
    Order(usize),
    Empty,
}

impl std::fmt::Display for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(line) => write!(f, "invalid format in line {line}"),
            Self::Bases(line) => write!(f, "a second base file in line {line}"),
            Self::Order(line) => write!(f, "line {line}: sequence numbers must rise"),
            Self::Empty => write!(f, "it is empty"),
        }
    }
}

impl Manifest {
    /// # Errors
    /// It is none; a manifest that cannot be read must not be taken for an empty one.
    pub fn parse(text: &[u8]) -> Result<Self, Bad> {
        let mut manifest = Self::default();
        if text.is_empty() {
            return Err(Bad::Empty);
        }
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let number = at + 1;
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let words = grammar::split_words(line).ok_or(Bad::Line(number))?;
            let (file, kind) = row(&words).ok_or(Bad::Line(number))?;
            match kind {
                b'b' if manifest.base.is_some() => return Err(Bad::Bases(number)),
                b'b' => manifest.base = Some(file),
                b'h' => manifest.history.push(file),
                b'i' => {
                    let last = manifest.increments.last().map_or(0, |it| it.seq);
                    if file.seq <= last {
                        return Err(Bad::Order(number));
                    }
                    manifest.increments.push(file);
                }
                _ => return Err(Bad::Line(number)),
            }
        }
        Ok(manifest)
    }

    #[must_use]
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut add = |file: &File, kind: char| {
            text.extend_from_slice(b"file ");
            text.extend_from_slice(&quoted(&file.name));
            text.extend_from_slice(format!(" seq {} type {kind}\n", file.seq).as_bytes());
        };
        self.base.iter().for_each(|file| add(file, 'b'));
        self.history.iter().for_each(|file| add(file, 'h'));
        self.increments.iter().for_each(|file| add(file, 'i'));
        text
    }

    /// The files to load, in order.
    pub fn to_load(&self) -> impl Iterator<Item = &File> {
        self.base.iter().chain(&self.increments)
    }

    /// The next base, named after the setting `appendfilename`: an RDB file, or commands.
    #[must_use]
    pub fn next_base(&self, stem: &[u8], commands: bool) -> File {
        let seq = self.base.as_ref().map_or(0, |it| it.seq) + 1;
        File { name: name(stem, seq, if commands { "base.aof" } else { "base.rdb" }), seq }
    }

    #[must_use]
    pub fn next_increment(&self, stem: &[u8]) -> File {
        let seq = self.increments.last().map_or(0, |it| it.seq) + 1;
        File { name: name(stem, seq, "incr.aof"), seq }
    }
}

fn name(stem: &[u8], seq: u64, kind: &str) -> Vec<u8> {
    [stem, format!(".{seq}.{kind}").as_bytes()].concat()
}

/// `file NAME seq N type T`, in pairs; pairs of other names are for later versions.
fn row(words: &[Vec<u8>]) -> Option<(File, u8)> {
    let (mut name, mut seq, mut kind) = (None, None, None);
    if words.len() < 6 || !words.len().is_multiple_of(2) {
        return None;
    }
    for pair in words.chunks_exact(2) {
        match &pair[0].to_ascii_lowercase()[..] {
            b"file" => name = Some(pair[1].clone()),
            b"seq" => seq = crate::base::num::parse_i64(&pair[1]),
            b"type" => kind = pair[1].first().copied(),
            _ => {}
        }
    }
    let seq = u64::try_from(seq?).ok().filter(|&seq| seq > 0)?;
    // A name, and no way to another directory.
    let name = name.filter(|it| !it.is_empty() && !it.contains(&b'/') && !it.contains(&0))?;
    Some((File { name, seq }, kind?))
}

/// As it is, or in quotes where a word could not have it.
fn quoted(name: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\#".contains(byte);
    if name.iter().all(plain) { name.to_vec() } else { grammar::quote(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What redis-server 7.0.15 writes.
    const STOCK: &str = "file appendonly.aof.2.base.rdb seq 2 type b\n\
        file appendonly.aof.1.incr.aof seq 1 type h\n\
        file appendonly.aof.2.incr.aof seq 2 type i\n";

    #[test]
    fn a_stock_manifest_is_read_and_written_alike() {
        let manifest = Manifest::parse(STOCK.as_bytes()).unwrap();
        assert_eq!(manifest.text(), STOCK.as_bytes());
        let names: Vec<_> = manifest.to_load().map(|it| &it.name[..]).collect();
        let expected: [&[u8]; 2] = [b"appendonly.aof.2.base.rdb", b"appendonly.aof.2.incr.aof"];
        assert_eq!(names, expected);
        assert_eq!(manifest.next_base(b"a", false).name, b"a.3.base.rdb");
        assert_eq!(manifest.next_base(b"a", true).name, b"a.3.base.aof");
        assert_eq!(manifest.next_increment(b"a").name, b"a.3.incr.aof");
        assert_eq!(Manifest::default().next_increment(b"a").seq, 1);
    }

    #[test]
    fn names_with_spaces_are_quoted() {
        let file = File { name: b"a \"b\"\xff.1.incr.aof".to_vec(), seq: 1 };
        let manifest = Manifest { increments: vec![file], ..Manifest::default() };
        assert_eq!(Manifest::parse(&manifest.text()), Ok(manifest));
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for (text, bad) in [
            ("", Bad::Empty),
            ("file a seq 1", Bad::Line(1)),
            ("# x\nfile a seq 1 type x\n", Bad::Line(2)),
            ("file a seq 0 type i\n", Bad::Line(1)),
            ("file a seq -1 type i\n", Bad::Line(1)),
            ("file ../a seq 1 type i\n", Bad::Line(1)),
            ("file a seq 1 type i \"\n", Bad::Line(1)),
            ("file a seq 1 type b\nfile b seq 2 type b\n", Bad::Bases(2)),
            ("file a seq 2 type i\nfile b seq 2 type i\n", Bad::Order(2)),
        ] {
            assert_eq!(Manifest::parse(text.as_bytes()), Err(bad), "{text:?}");
        }
        assert!(Manifest::parse(b"file a seq 1 type i startoffset 7\n").is_ok(), "later versions");
    }
}
