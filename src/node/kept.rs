//! Bytes of snapshots that were made and not yet received by all: what a replica whose link broke goes on with.
//!
//! They are the same bytes that wait in the feeds, by reference. Which of them are still wanted is decided in
//! `replication/resume.rs`.

use crate::replication::resume::{Mark, Released};
use bytes::Bytes;
use std::collections::VecDeque;

/// See the file's header.
#[derive(Debug, Default)]
pub struct Kept {
    payloads: Vec<Payload>,
}

#[derive(Debug)]
struct Payload {
    mark: Mark,
    /// The position of the first piece.
    start: u64,
    pieces: VecDeque<Bytes>,
    bytes: u64,
}

impl Kept {
    /// More of a payload was made.
    pub fn push(&mut self, mark: Mark, bytes: Bytes) {
        let at = self.payloads.iter().position(|it| it.mark == mark).unwrap_or_else(|| {
            self.payloads.push(Payload { mark, start: 0, pieces: VecDeque::new(), bytes: 0 });
            self.payloads.len() - 1
        });
        let payload = &mut self.payloads[at];
        payload.bytes += bytes.len() as u64;
        payload.pieces.push_back(bytes);
    }

    /// So much is kept of it.
    #[must_use]
    pub fn bytes_of(&self, mark: &Mark) -> u64 {
        self.payloads.iter().find(|it| it.mark == *mark).map_or(0, |it| it.bytes)
    }

    pub fn release(&mut self, released: Released) {
        let Released { mark, before } = released;
        if before == u64::MAX {
            return self.payloads.retain(|it| it.mark != mark);
        }
        let Some(payload) = self.payloads.iter_mut().find(|it| it.mark == mark) else { return };
        while let Some(first) = payload.pieces.front() {
            let length = first.len() as u64;
            if payload.start + length > before {
                break;
            }
            payload.start += length;
            payload.bytes -= length;
            payload.pieces.pop_front();
        }
    }

    /// Its bytes from `from` on; those before it are gone or not wanted.
    pub fn from(&self, mark: &Mark, from: u64) -> impl Iterator<Item = Bytes> + '_ {
        let payload = self.payloads.iter().find(|it| it.mark == *mark);
        let mut at = payload.map_or(0, |it| it.start);
        payload.into_iter().flat_map(|it| &it.pieces).filter_map(move |piece| {
            let skip = from.saturating_sub(at);
            at += piece.len() as u64;
            let skip = usize::try_from(skip).ok().filter(|&skip| skip < piece.len())?;
            Some(piece.slice(skip..))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_can_be_had_from_any_byte_on() {
        let (mark, other) = ([b'a'; 40], [b'b'; 40]);
        let mut kept = Kept::default();
        for piece in ["0123", "45", "6789"] {
            kept.push(mark, Bytes::from_static(piece.as_bytes()));
        }
        kept.push(other, Bytes::from_static(b"x"));
        let text = |kept: &Kept, from| kept.from(&mark, from).collect::<Vec<_>>().concat();
        for from in 0..=10 {
            assert_eq!(text(&kept, from), b"0123456789"[usize::try_from(from).unwrap()..]);
        }
        kept.release(Released { mark, before: 5 });
        assert_eq!(kept.bytes_of(&mark), 6, "whole pieces go");
        assert_eq!(text(&kept, 5), b"56789");
        assert_eq!(text(&kept, 8), b"89");
        kept.release(Released { mark, before: u64::MAX });
        assert_eq!((kept.bytes_of(&mark), kept.bytes_of(&other)), (0, 1));
        assert_eq!(text(&kept, 5), b"");
    }
}
