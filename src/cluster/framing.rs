//! A stream of bytes cut into packets, with a bound on each.
//!
//! Whom we do not know may send no more than gossip needs; what is to be kept grows with what arrives, never
//! with what a length claims.

use super::packet::{HEADER_BYTES, SIGNATURE};
use crate::base::limits::{CLUSTER_PACKET_BYTES_MAX, CLUSTER_STRANGER_BYTES_MAX};

/// Bytes that are no whole packet yet.
#[derive(Debug, Default)]
pub struct Framing {
    bytes: Vec<u8>,
    start: usize,
}

/// These bytes are not of the bus: nothing behind them can be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBus;

impl Framing {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole packet. `known`: the sender is of our cluster.
    ///
    /// # Errors
    /// The signature is another, or the length is not possible: the connection is of no use.
    pub fn next(&mut self, known: bool) -> Result<Option<Vec<u8>>, NoBus> {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let signature = rest.get(..rest.len().min(SIGNATURE.len())).unwrap_or_default();
        if !SIGNATURE.starts_with(signature) {
            return Err(NoBus);
        }
        let Some(length) = rest.get(4..8).and_then(|it| it.first_chunk()) else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let most = if known { CLUSTER_PACKET_BYTES_MAX } else { CLUSTER_STRANGER_BYTES_MAX };
        if !(HEADER_BYTES..=most).contains(&length) {
            return Err(NoBus);
        }
        let Some(packet) = rest.get(..length).map(<[u8]>::to_vec) else { return Ok(None) };
        self.start += length;
        if self.start == self.bytes.len() {
            self.bytes = Vec::new();
            self.start = 0;
        }
        Ok(Some(packet))
    }

    /// Bytes held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTURED: &[u8] = include_bytes!("../../tests/golden/cluster-bus-7.0.15.bin");

    fn cut(piece: usize) -> Vec<usize> {
        let (mut framing, mut lengths) = (Framing::default(), Vec::new());
        for bytes in CAPTURED.chunks(piece) {
            framing.push(bytes);
            while let Some(packet) = framing.next(false).unwrap() {
                lengths.push(packet.len());
            }
        }
        assert_eq!(framing.held(), 0);
        lengths
    }

    #[test]
    fn packets_are_the_same_however_the_stream_is_torn() {
        let whole = cut(CAPTURED.len());
        assert_eq!(whole.len(), 22);
        for piece in [1, 7, 2_255, 2_256, 2_257, 10_000] {
            assert_eq!(cut(piece), whole, "{piece}");
        }
    }

    #[test]
    fn what_is_not_of_the_bus_ends_it() {
        let with = |bytes: &[u8], known| {
            let mut framing = Framing::default();
            framing.push(bytes);
            framing.next(known).map(|it| it.is_some())
        };
        assert_eq!(with(b"GET / HTTP/1.0\r\n", true), Err(NoBus));
        assert_eq!(with(b"R", true), Ok(false));
        assert_eq!(with(b"RCmb\0\0\0\x10", true), Err(NoBus));
        assert_eq!(with(b"RCmb\xff\xff\xff\xff", true), Err(NoBus));
        assert_eq!(with(b"RCmb\0\x20\0\0", false), Err(NoBus), "a stranger's two megabytes");
        assert_eq!(with(b"RCmb\0\x20\0\0", true), Ok(false));
    }
}
