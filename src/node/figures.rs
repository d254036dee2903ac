//! Figures of one core or of all: names and numbers that INFO is written from.
//!
//! Every core puts down its own, they travel as bytes, and the core that was asked merges them: sums
//! are added, peaks compared, texts (which only core 0 puts down) taken over.
//!
//! ```text
//!   [kind: 1][bytes of the name: 1][name][i64 | bytes of the text: 8][text]
//! ```

use crate::node::slow::histogram;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// See the file's header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    sums: BTreeMap<String, i64>,
    peaks: BTreeMap<String, i64>,
    texts: BTreeMap<String, String>,
}

const SUM: u8 = 0;
const PEAK: u8 = 1;
const TEXT: u8 = 2;

impl Figures {
    /// Adds to a sum.
    pub fn add(&mut self, name: impl Into<String>, more: impl TryInto<i64>) {
        let sum = self.sums.entry(name.into()).or_default();
        *sum = sum.saturating_add(more.try_into().unwrap_or(i64::MAX));
    }

    /// The largest of what is given.
    pub fn peak(&mut self, name: impl Into<String>, number: impl TryInto<i64>) {
        let peak = self.peaks.entry(name.into()).or_insert(i64::MIN);
        *peak = (*peak).max(number.try_into().unwrap_or(i64::MAX));
    }

    pub fn text(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.texts.insert(name.into(), text.into());
    }

    /// A sum or a peak; 0 where nobody knows of it.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        self.sums.get(name).or_else(|| self.peaks.get(name)).copied().unwrap_or(0)
    }

    #[must_use]
    pub fn text_of(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }

    /// The sums whose names begin so, in the order of names, without that beginning.
    pub fn sums_of<'f>(&'f self, prefix: &'f str) -> impl Iterator<Item = (&'f str, i64)> {
        let all = self.sums.iter();
        all.filter_map(move |(name, number)| Some((name.strip_prefix(prefix)?, *number)))
    }

    /// How long commands took, by their numbers: `latency.NUMBER.NANOSECONDS` is how many calls did.
    #[must_use]
    pub fn latencies(&self) -> BTreeMap<u16, Histogram<u64>> {
        let mut all: BTreeMap<u16, Histogram<u64>> = BTreeMap::new();
        for (name, calls) in self.sums_of("latency.") {
            let Some((number, nanoseconds)) = name.split_once('.') else { continue };
            let (Ok(number), Ok(nanoseconds)) = (number.parse(), nanoseconds.parse()) else {
                continue;
            };
            let calls = u64::try_from(calls).unwrap_or(0);
            all.entry(number).or_insert_with(histogram).saturating_record_n(nanoseconds, calls);
        }
        all
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut put = |kind, name: &str, number: i64, text: &str| {
            let name = &name.as_bytes()[..name.len().min(usize::from(u8::MAX))];
            out.push(kind);
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(name);
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        };
        self.sums.iter().for_each(|(name, number)| put(SUM, name, *number, ""));
        self.peaks.iter().for_each(|(name, number)| put(PEAK, name, *number, ""));
        for (name, text) in &self.texts {
            put(TEXT, name, i64::try_from(text.len()).unwrap_or(0), text);
        }
        out
    }

    /// Takes in what another core put down.
    pub fn merge(&mut self, other: &Self) {
        other.sums.iter().for_each(|(name, number)| self.add(name.as_str(), *number));
        other.peaks.iter().for_each(|(name, number)| self.peak(name.as_str(), *number));
        other.texts.iter().for_each(|(name, text)| self.text(name.as_str(), text.as_str()));
    }

    /// Takes in what another core wrote with [`Figures::to_bytes`].
    pub fn merge_bytes(&mut self, mut bytes: &[u8]) {
        while let Some(rest) = self.merge_one(bytes) {
            bytes = rest;
        }
    }

    fn merge_one<'b>(&mut self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let (&[kind, len], rest) = bytes.split_first_chunk::<2>()?;
        let (name, rest) = rest.split_at_checked(usize::from(len))?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let name = String::from_utf8_lossy(name);
        let number = i64::from_le_bytes(*number);
        match kind {
            SUM => self.add(name, number),
            PEAK => self.peak(name, number),
            _ => {
                let (text, rest) = rest.split_at_checked(usize::try_from(number).ok()?)?;
                self.text(name, String::from_utf8_lossy(text));
                return Some(rest);
            }
        }
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_two_cores_merge() {
        let (mut a, mut b) = (Figures::default(), Figures::default());
        a.add("keys", 3_u64);
        a.peak("most", 7);
        a.text("id", "x:1\r\n");
        b.add("keys", 4);
        b.add("db1.keys", u64::MAX);
        b.peak("most", -2);
        let mut all = Figures::default();
        all.merge_bytes(&a.to_bytes());
        all.merge_bytes(&b.to_bytes());
        assert_eq!((all.get("keys"), all.get("most"), all.get("nosuch")), (7, 7, 0));
        assert_eq!((all.text_of("id"), all.text_of("nosuch")), ("x:1\r\n", ""));
        assert_eq!(all.sums_of("db").collect::<Vec<_>>(), [("1.keys", i64::MAX)]);
        let mut cut = Figures::default();
        (0..40).for_each(|len| cut.merge_bytes(&b.to_bytes()[..len]));
        let mut again = Figures::default();
        again.merge_bytes(&all.to_bytes());
        assert_eq!(again, all);
    }
}
