//! A replica's stream by several connections, on its master: frames are made of the ring's bytes.
//!
//! What goes by which is decided in `replication/spread.rs`. All these connections are core 0's, as the replica's own is: so what
//! a turn has written is handed to all of them before that turn's replies leave.

use crate::node::control::{Control, ControlCx, conn_of};
use crate::node::outbox::Conn;
use crate::replication::attached::LinkId;
use crate::replication::flows::{Head, Join};
use crate::replication::master;
use crate::replication::ring::Ring;
use crate::replication::spread::Piece;
use bytes::Bytes;

impl Control {
    /// A connection is to be a flow of a replica that is here.
    pub(super) fn join_flow(
        &mut self,
        cx: &mut ControlCx<'_>,
        conn: Conn,
        join: Join,
        reply: &mut Vec<u8>,
    ) {
        let from = self.link(cx, conn);
        self.client_says(cx, from, master::Input::JoinFlow { from, join }, reply);
        if self.master.is_attached(from) {
            self.feed(conn).flow = true;
        }
    }

    /// The turn is over: what it wrote goes to all flows at once.
    pub(super) fn flush_flows(&mut self, cx: &mut ControlCx<'_>) {
        let wanted = self.master.wants_marks();
        self.merger.set_marking(wanted);
        if wanted {
            self.tell_replicas(cx, master::Input::Flush);
        }
    }

    /// Which replica's bytes lie where in what the ring has got.
    pub(super) fn note_marks(&mut self) {
        let marks = self.merger.take_marks();
        if let Some(ring) = &self.ring {
            self.master.appended(&marks, ring.end());
        }
    }

    pub(super) fn send_frames(&mut self, to: LinkId, pieces: Vec<Piece>) {
        let Some(ring) = &self.ring else { return };
        let (bytes, rest) = frames(ring, pieces);
        if !rest.is_empty() {
            self.master.put_back(to, rest);
        }
        self.feed(conn_of(to)).push(Bytes::from(bytes));
    }
}

/// Pieces of the ring as frames, and those that are not at hand: in a file.
fn frames(ring: &Ring, pieces: Vec<Piece>) -> (Vec<u8>, Vec<Piece>) {
    let total: u64 = pieces.iter().map(|it| it.range.end - it.range.start + 16).sum();
    let mut out = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
    let mut pieces = pieces.into_iter();
    while let Some(Piece { range, db }) = pieces.next() {
        let (head_at, mut at) = (out.len(), range.start);
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        Head { start: range.start, length, db }.write(&mut out);
        let body_at = out.len();
        while at < range.end {
            let bytes = ring.read(at);
            let most = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            let bytes = &bytes[..bytes.len().min(most)];
            if bytes.is_empty() {
                break;
            }
            out.extend_from_slice(bytes);
            at += bytes.len() as u64;
        }
        if at < range.end {
            // A part of whole units is none; and of nothing there is no frame.
            let mut head = Vec::new();
            Head { start: range.start, length: out.len() - body_at, db: None }.write(&mut head);
            out[head_at..body_at].copy_from_slice(&head);
            if at == range.start {
                out.truncate(head_at);
            }
            let mut rest =
                vec![Piece { range: at..range.end, db: db.filter(|_| at == range.start) }];
            rest.extend(pieces);
            return (out, rest);
        }
    }
    (out, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::flows::next_frame;

    #[test]
    fn what_is_in_a_file_comes_later() {
        let mut ring = Ring::with_chunks(0, 4);
        ring.append(b"abcdefghijkl");
        let piece = |start, end| Piece { range: start..end, db: Some(1) };
        let pieces = vec![piece(0, 3), piece(3, 10)];
        let (bytes, rest) = frames(&ring, pieces.clone());
        let mut wire = bytes.as_slice();
        let mut shown = Vec::new();
        while let Some((head, body)) = next_frame(&mut wire).unwrap() {
            shown.push((head.start, head.db, String::from_utf8_lossy(body).into_owned()));
        }
        assert_eq!(shown, [(0, Some(1), "abc".into()), (3, Some(1), "defghij".into())]);
        assert!(rest.is_empty());

        while let Some((slot, _)) = ring.spill(4, 8, ring.end()) {
            ring.spilled(slot.at, true);
        }
        assert!(ring.spilled_bytes() > 0);
        let (bytes, rest) = frames(&ring, pieces.clone());
        assert_eq!((bytes.len(), rest), (0, pieces));
        ring.wanted(0, &mut Vec::new());
        ring.paged(0, b"abcd".to_vec());
        let (bytes, rest) = frames(&ring, vec![piece(0, 3), piece(3, 10)]);
        let mut wire = bytes.as_slice();
        let (_, last) = (next_frame(&mut wire).unwrap(), next_frame(&mut wire).unwrap());
        assert_eq!(
            last.map(|(head, body)| (head.start, head.db, body)),
            Some((3, None, &b"d"[..]))
        );
        assert_eq!(rest, [Piece { range: 4..10, db: None }]);
    }
}
