//! One core's records, as a walk of its keyspace hands them out, cut into chunks of an RDB file.
//!
//! ```text
//!   chunk      SELECTDB, entries, SELECTDB, entries, ...         about 64 KiB
//!   large      SELECTDB, .., a key and its value's length | 64 KiB of value | .. | the rest of it
//!                       continues                           continues           does not
//! ```
//!
//! Every chunk begins with SELECTDB, so the chunks of several cores may follow each other in any order;
//! only after a chunk that `continues` the same core's next one must come. Beside each stands its checksum:
//! `Crc64::combine` makes the file's from them.
//!
//! No step takes long: a large value is not copied but cut up by reference, each piece is summed
//! when it is taken, and what is longer than a chunk is not compressed (Redis would; its child process has
//! the time).
//!
//! Entries whose expiry has passed are written like all others: the cut is an instant, and who loads
//! the file decides by his own clock.
//!
//! Not here: the walk itself and what it keeps of records that change meanwhile (`engine/`), the header and
//! the end of the file, when to cut.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::crc::Crc64;
use crate::base::limits::SNAPSHOT_CHUNK_BYTES;
use crate::snapshot::commands;
use crate::snapshot::encode;
use crate::snapshot::encode_value::{self, Slices};
use crate::snapshot::lzf::Compressor;
use crate::types::object::Object;
use crate::types::record::Encoding;

/// A piece of the file.
#[derive(Clone, Debug)]
pub struct Chunk {
    pub bytes: Bytes,
    pub crc: Crc64,
    /// The next chunk of this core must follow directly.
    pub continues: bool,
}

/// A record at the cut.
#[derive(Debug)]
pub struct Record<'a> {
    pub db: usize,
    pub key: &'a [u8],
    pub value: RecordValue<'a>,
    pub expiry_ms: Option<u64>,
}

/// What a record holds.
#[derive(Debug)]
pub enum RecordValue<'a> {
    String(&'a [u8]),
    /// A string that may be kept by reference.
    Shared(Bytes),
    /// A packed collection.
    Packed(Encoding, &'a [u8]),
    /// A large one.
    Object(Object),
}

/// What is to be taken.
enum Part {
    Bytes(Bytes, bool),
    /// The rest of a large collection: written when its turn has come.
    Slices(Slices),
    Commands(commands::Slices),
}

/// One core's part of a snapshot.
pub struct Cut {
    /// The chunk that grows.
    chunk: Vec<u8>,
    /// The database that its last entry belongs to.
    db: Option<usize>,
    /// Complete chunks, and whether they continue. Those that are too long are cut up when taken.
    complete: VecDeque<Part>,
    lzf: Option<Compressor>,
    /// Commands are made of the records, not RDB.
    commands: bool,
}

impl Cut {
    /// `compress`: as `rdbcompression` says.
    #[must_use]
    pub fn new(compress: bool) -> Self {
        let lzf = compress.then(Compressor::default);
        Self { chunk: Vec::new(), db: None, complete: VecDeque::new(), lzf, commands: false }
    }

    /// Commands instead of RDB.
    #[must_use]
    pub fn of_commands() -> Self {
        Self { commands: true, ..Self::new(false) }
    }

    /// Takes in the next record of the walk. Take the chunks after each slice of it.
    pub fn add(&mut self, record: &Record<'_>) {
        let Record { db, key, expiry_ms, .. } = *record;
        if self.commands {
            return self.add_commands(record);
        }
        if self.db != Some(db) {
            encode::select_db(&mut self.chunk, db);
            self.db = Some(db);
        }
        let value = match &record.value {
            RecordValue::String(value) => value,
            RecordValue::Shared(value) if value.len() > SNAPSHOT_CHUNK_BYTES => {
                let (lzf, len) = (self.lzf.as_mut(), value.len() as u64);
                encode::string_entry_head(&mut self.chunk, key, len, expiry_ms, lzf);
                self.complete_chunk(true);
                self.complete.push_back(Part::Bytes(value.clone(), false));
                return;
            }
            RecordValue::Shared(value) => value.as_ref(),
            RecordValue::Packed(encoding, bytes) => {
                return self.add_packed(record, *encoding, bytes);
            }
            RecordValue::Object(object) => return self.add_object(record, object),
        };
        let lzf = self.lzf.as_mut().filter(|_| value.len() <= SNAPSHOT_CHUNK_BYTES);
        encode::string_entry(&mut self.chunk, key, value, expiry_ms, lzf);
        if self.chunk.len() >= SNAPSHOT_CHUNK_BYTES {
            self.complete_chunk(false);
        }
    }

    /// The walk is done: what has grown so far is a chunk, however short.
    pub fn finish(&mut self) {
        if !self.chunk.is_empty() {
            self.complete_chunk(false);
        }
    }

    /// The next chunk that is complete.
    pub fn take(&mut self) -> Option<Chunk> {
        let (bytes, continues) = match self.complete.front_mut()? {
            Part::Bytes(bytes, continues) => (bytes, continues),
            Part::Commands(slices) => {
                let mut bytes = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES + SNAPSHOT_CHUNK_BYTES / 8);
                let continues = !slices.write(&mut bytes);
                if !continues {
                    self.complete.pop_front();
                }
                let crc = Crc64::of(&bytes);
                return Some(Chunk { bytes: bytes.into(), crc, continues });
            }
            Part::Slices(slices) => {
                let mut bytes = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES + SNAPSHOT_CHUNK_BYTES / 8);
                let continues = !slices.write(&mut bytes, self.lzf.as_mut());
                if !continues {
                    self.complete.pop_front();
                }
                let crc = Crc64::of(&bytes);
                return Some(Chunk { bytes: bytes.into(), crc, continues });
            }
        };
        let (bytes, continues) = if bytes.len() > 2 * SNAPSHOT_CHUNK_BYTES {
            (bytes.split_to(SNAPSHOT_CHUNK_BYTES), true)
        } else {
            let last = (std::mem::take(bytes), *continues);
            self.complete.pop_front();
            last
        };
        let crc = Crc64::of(&bytes);
        Some(Chunk { bytes, crc, continues })
    }

    fn add_commands(&mut self, record: &Record<'_>) {
        let Record { db, key, expiry_ms, .. } = *record;
        if self.db != Some(db) {
            commands::request(&mut self.chunk, &[b"SELECT", db.to_string().as_bytes()]);
            self.db = Some(db);
        }
        match &record.value {
            RecordValue::String(value) => {
                commands::string(&mut self.chunk, key, value, expiry_ms);
            }
            RecordValue::Shared(value) => {
                commands::string(&mut self.chunk, key, value, expiry_ms);
            }
            RecordValue::Packed(encoding, bytes) => {
                commands::packed(&mut self.chunk, key, *encoding, bytes, expiry_ms);
            }
            RecordValue::Object(object) => {
                let mut slices = commands::Slices::new(key, object.clone(), expiry_ms);
                if !slices.write(&mut self.chunk) {
                    self.complete_chunk(true);
                    self.complete.push_back(Part::Commands(slices));
                    return;
                }
            }
        }
        if self.chunk.len() >= SNAPSHOT_CHUNK_BYTES {
            self.complete_chunk(false);
        }
    }

    fn add_packed(&mut self, record: &Record<'_>, encoding: Encoding, bytes: &[u8]) {
        let Some(code) = encode_value::type_code(encoding) else { return };
        let lzf = self.lzf.as_mut();
        encode::entry_head(&mut self.chunk, code, record.key, record.expiry_ms, lzf);
        let lzf = self.lzf.as_mut().filter(|_| bytes.len() <= SNAPSHOT_CHUNK_BYTES);
        encode_value::packed(&mut self.chunk, encoding, bytes, lzf);
        if self.chunk.len() >= SNAPSHOT_CHUNK_BYTES {
            self.complete_chunk(false);
        }
    }

    fn add_object(&mut self, record: &Record<'_>, object: &Object) {
        let Some(code) = encode_value::type_code(object.encoding()) else { return };
        let lzf = self.lzf.as_mut();
        encode::entry_head(&mut self.chunk, code, record.key, record.expiry_ms, lzf);
        let mut slices = Slices::new(object.clone());
        let small = object.bytes() <= SNAPSHOT_CHUNK_BYTES;
        if small && slices.write(&mut self.chunk, self.lzf.as_mut()) {
            if self.chunk.len() >= SNAPSHOT_CHUNK_BYTES {
                self.complete_chunk(false);
            }
            return;
        }
        self.complete_chunk(true);
        self.complete.push_back(Part::Slices(slices));
    }

    fn complete_chunk(&mut self, continues: bool) {
        let next = Vec::with_capacity(SNAPSHOT_CHUNK_BYTES + SNAPSHOT_CHUNK_BYTES / 8);
        let chunk = std::mem::replace(&mut self.chunk, next);
        self.complete.push_back(Part::Bytes(chunk.into(), continues));
        self.db = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::snapshot::decode::{Checksum, Decoder, Event, Limits, Value};

    type Entry = (usize, Vec<u8>, Vec<u8>, Option<u64>);

    /// Deals the chunks of all cores out at random, as a writer might meet them.
    fn file(prng: &mut Prng, cores: &mut [VecDeque<Chunk>]) -> Vec<u8> {
        let mut out = Vec::new();
        encode::header(&mut out, &[]);
        let mut crc = Crc64::of(&out);
        while cores.iter().any(|chunks| !chunks.is_empty()) {
            let core = usize::try_from(prng.below(cores.len() as u64)).unwrap();
            while let Some(chunk) = cores[core].pop_front() {
                crc = crc.combine(chunk.crc, chunk.bytes.len() as u64);
                out.extend_from_slice(&chunk.bytes);
                if !chunk.continues {
                    break;
                }
            }
        }
        encode::end(&mut out, Some(crc));
        out
    }

    fn decode(file: &[u8]) -> Vec<Entry> {
        let (mut decoder, mut input) = (Decoder::new(Limits::default()), file);
        let mut entries = Vec::new();
        while let Some(event) = decoder.next(&mut input).unwrap() {
            match event {
                Event::Entry { db, key, value: Value::String(value), expiry_ms, .. } => {
                    entries.push((db, key.to_vec(), value.clone(), expiry_ms));
                }
                Event::End { checksum } => assert_eq!(checksum, Checksum::Matches),
                _ => {}
            }
        }
        assert!(decoder.finished());
        entries
    }

    #[test]
    fn the_chunks_of_several_cores_make_one_file_in_any_order() {
        let seed = 0xc47;
        let mut prng = Prng::new(seed);
        let mut expected: Vec<Entry> = Vec::new();
        let mut cores = Vec::new();
        for core in 0..4_u64 {
            let mut cut = Cut::new(core % 2 == 0);
            let mut chunks = VecDeque::new();
            for n in 0..400_u64 {
                let db = usize::try_from(n / 150).unwrap();
                let key = format!("key:{core}:{n}").into_bytes();
                let kib = if prng.chance(1, 40) { prng.below(400) } else { 0 };
                let len = usize::try_from(kib * 1024 + prng.below(300)).unwrap();
                let value: Vec<u8> =
                    (0..len).map(|_| prng.next_u64().to_le_bytes()[0] & 0x1f).collect();
                let expiry_ms = prng.chance(1, 3).then_some(n);
                let held = if prng.chance(1, 2) {
                    RecordValue::Shared(value.clone().into())
                } else {
                    RecordValue::String(&value)
                };
                cut.add(&Record { db, key: &key, value: held, expiry_ms });
                expected.push((db, key, value, expiry_ms));
                chunks.extend(std::iter::from_fn(|| cut.take()));
            }
            cut.finish();
            chunks.extend(std::iter::from_fn(|| cut.take()));
            assert!(chunks.len() > 5 && chunks.iter().any(|it| it.continues), "seed {seed}");
            assert!(chunks.iter().all(|it| it.bytes.len() <= 3 * SNAPSHOT_CHUNK_BYTES));
            cores.push(chunks);
        }
        let mut read = decode(&file(&mut prng, &mut cores));
        read.sort_unstable();
        expected.sort_unstable();
        assert!(read == expected, "seed {seed}");
    }

    #[test]
    fn an_empty_shard_makes_no_chunk() {
        let mut cut = Cut::new(true);
        cut.finish();
        assert!(cut.take().is_none());
    }
}
