//! LOCAL STUB, never committed.
use crate::base::time::Wall;
use bytes::Bytes;
use std::collections::BTreeMap;
#[derive(Clone, Copy)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
}
#[derive(Debug)]
pub struct Full;
#[derive(Clone, Copy)]
pub enum Expiry {
    None,
    Keep,
    At(u64),
}
#[derive(Clone, Copy)]
pub enum Encode {
    Auto,
    Text,
    Raw,
}
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Encoding {
    Int,
    Embstr,
    Raw,
}
impl Encoding {
    pub fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Embstr => "embstr",
            Self::Raw => "raw",
        }
    }
}
#[derive(Clone, Copy)]
pub enum Kind {
    String,
}
impl Kind {
    pub fn name(self) -> &'static str {
        "string"
    }
}
#[derive(Clone, Copy, PartialEq)]
pub enum ExpiryMode {
    Delete,
    Hide,
    Ignore,
}
#[derive(Clone, Copy)]
pub struct StrView<'a> {
    b: &'a [u8],
    e: Encoding,
}
impl<'a> StrView<'a> {
    pub fn bytes(&self) -> &'a [u8] {
        self.b
    }
    pub fn shared(&self) -> Option<Bytes> {
        None
    }
    pub fn encoding(&self) -> Encoding {
        self.e
    }
}
struct R {
    v: Vec<u8>,
    x: Option<u64>,
    e: Encoding,
}
pub struct Keyspace {
    d: Vec<BTreeMap<Vec<u8>, R>>,
    exp: Vec<(usize, Vec<u8>)>,
    mode: ExpiryMode,
}
fn enc(v: &[u8], e: Encode) -> Encoding {
    match e {
        Encode::Raw => Encoding::Raw,
        Encode::Auto if crate::base::num::parse_i64(v).is_some() => Encoding::Int,
        _ if v.len() <= 44 => Encoding::Embstr,
        _ => Encoding::Raw,
    }
}
impl Keyspace {
    pub fn new(n: usize, _: [u64; 4]) -> Self {
        Self { d: (0..n).map(|_| BTreeMap::new()).collect(), exp: vec![], mode: ExpiryMode::Delete }
    }
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: 0 }
    }
    pub fn expiry_mode(&self) -> ExpiryMode {
        self.mode
    }
    pub fn set_expiry_mode(&mut self, m: ExpiryMode) {
        self.mode = m
    }
    pub fn has_expired(&self) -> bool {
        !self.exp.is_empty()
    }
    pub fn drain_expired(&mut self, each: &mut dyn FnMut(usize, &[u8])) {
        for (d, k) in self.exp.drain(..) {
            each(d, &k)
        }
    }
    fn r(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<&mut R> {
        if self.mode == ExpiryMode::Delete
            && self.d[db].get(key.bytes).is_some_and(|r| r.x.is_some_and(|x| x <= now.ms()))
        {
            self.d[db].remove(key.bytes);
            self.exp.push((db, key.bytes.to_vec()));
        }
        self.d[db].get_mut(key.bytes)
    }
    pub fn get(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<StrView<'_>> {
        self.r(db, key, now).map(|r| StrView { b: &r.v, e: r.e })
    }
    pub fn peek(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<StrView<'_>> {
        self.get(db, key, now)
    }
    pub fn touch(&mut self, db: usize, key: Key<'_>, now: Wall) -> bool {
        self.r(db, key, now).is_some()
    }
    pub fn exists(&mut self, db: usize, key: Key<'_>, now: Wall) -> bool {
        self.r(db, key, now).is_some()
    }
    pub fn type_of(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Kind> {
        self.r(db, key, now).map(|_| Kind::String)
    }
    pub fn encoding(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Encoding> {
        self.r(db, key, now).map(|r| r.e)
    }
    pub fn idle_seconds(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<u64> {
        self.r(db, key, now).map(|_| 0)
    }
    pub fn expiry(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Option<u64>> {
        self.r(db, key, now).map(|r| r.x)
    }
    pub fn record_bytes(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<usize> {
        self.r(db, key, now).map(|r| r.v.len())
    }
    pub fn set(
        &mut self,
        db: usize,
        key: Key<'_>,
        value: &[u8],
        expiry: Expiry,
        encode: Encode,
        now: Wall,
    ) -> Result<(), Full> {
        let old = self.r(db, key, now).and_then(|r| r.x);
        let x = match expiry {
            Expiry::None => None,
            Expiry::Keep => old,
            Expiry::At(x) => Some(x),
        };
        self.d[db].insert(key.bytes.to_vec(), R { v: value.to_vec(), x, e: enc(value, encode) });
        Ok(())
    }
    pub fn set_shared(
        &mut self,
        db: usize,
        key: Key<'_>,
        value: Bytes,
        expiry: Expiry,
        encode: Encode,
        now: Wall,
    ) -> Result<(), Full> {
        self.set(db, key, &value, expiry, encode, now)
    }
    pub fn append(
        &mut self,
        db: usize,
        key: Key<'_>,
        bytes: &[u8],
        now: Wall,
    ) -> Result<usize, Full> {
        let new = self.r(db, key, now).is_none();
        if new {
            self.set(db, key, bytes, Expiry::None, Encode::Auto, now)?;
            return Ok(bytes.len());
        }
        let r = self.r(db, key, now).unwrap();
        r.v.extend(bytes);
        r.e = Encoding::Raw;
        Ok(r.v.len())
    }
    pub fn write_range(
        &mut self,
        db: usize,
        key: Key<'_>,
        o: usize,
        b: &[u8],
        now: Wall,
    ) -> Result<usize, Full> {
        if self.r(db, key, now).is_none() {
            self.set(db, key, b"", Expiry::None, Encode::Raw, now)?;
        }
        let r = self.r(db, key, now).unwrap();
        let n = r.v.len().max(o + b.len());
        r.v.resize(n, 0);
        r.v[o..o + b.len()].copy_from_slice(b);
        r.e = Encoding::Raw;
        Ok(n)
    }
    pub fn remove(&mut self, db: usize, key: Key<'_>, now: Wall) -> bool {
        self.r(db, key, now);
        self.d[db].remove(key.bytes).is_some()
    }
    pub fn set_expiry(
        &mut self,
        db: usize,
        key: Key<'_>,
        x: Option<u64>,
        now: Wall,
    ) -> Result<bool, Full> {
        Ok(self.r(db, key, now).map(|r| r.x = x).is_some())
    }
    pub fn rename(
        &mut self,
        db: usize,
        f: Key<'_>,
        to_db: usize,
        t: Key<'_>,
        _now: Wall,
    ) -> Result<bool, Full> {
        let Some(r) = self.d[db].remove(f.bytes) else { return Ok(false) };
        self.d[to_db].insert(t.bytes.to_vec(), r);
        Ok(true)
    }
    pub fn copy(
        &mut self,
        db: usize,
        f: Key<'_>,
        to_db: usize,
        t: Key<'_>,
        _now: Wall,
    ) -> Result<bool, Full> {
        let Some(r) = self.d[db].get(f.bytes) else { return Ok(false) };
        let r = R { v: r.v.clone(), x: r.x, e: r.e };
        self.d[to_db].insert(t.bytes.to_vec(), r);
        Ok(true)
    }
    pub fn databases(&self) -> usize {
        self.d.len()
    }
    pub fn scan(
        &self,
        db: usize,
        _c: u64,
        _n: usize,
        _now: Wall,
        each: &mut dyn FnMut(&[u8], Kind),
    ) -> u64 {
        self.d[db].keys().for_each(|k| each(k, Kind::String));
        0
    }
    pub fn for_each(&self, db: usize, _now: Wall, each: &mut dyn FnMut(&[u8])) {
        self.d[db].keys().for_each(|k| each(k))
    }
}
