//! Flows: one stream over several connections, as it looks on the wire.
//!
//! Between nodes that know it. A stock master takes the capability for one of later versions and says `+OK`; a stock
//! replica never names it.
//!
//! ```text
//!   replica                                  master
//!   REPLCONF .. capa flows             ->
//!                                      <-    +OK flows <count> <token>
//!   PSYNC <replid> <offset>            ->    the main link: answer, snapshot and stream, as always
//!   ~~~ the stream runs; on `count` further connections, which come to the replica's cores in turn ~~~
//!   PSYNC flow:<token>:<k> <offset>    ->
//!                                      <-    +FLOW
//!                                      <-    frames
//! ```
//!
//! A frame is a head of 16 bytes and a part of the merged stream, named by its offset:
//!
//! ```text
//!   [start: u64][length: u32][db + 1, or 0: u32][bytes]        numbers are little endian
//! ```
//!
//! The offset is the mark that gives the one order: the byte at the replica's end of the stream is in exactly one frame
//! that was not there before, whichever flow brings it. With a database the frame is whole units, the first of which runs
//! in that database; without, it is any bytes.
//!
//! When all flows are there, the main link stops at some offset and the flows go on from it (`spread.rs` says what goes by
//! which, `gather.rs` puts it together). From then on the main link has the acknowledgements, and its loss ends all. A flow that is
//! lost alone is dialled again, from the offset that the replica has.
//!
//! Why no ring per core with tickets on the wire: the offset of the merged stream must be known anyway, to acknowledge, for
//! the backlog that stock replicas and a promotion need, and for the append-only file; so its order is what goes by
//! the wire, too. What costs a replica's core 0 the most is reading commands and finding whose they are, and that is
//! what the flows take to all cores.

use crate::base::limits::{FLOW_FRAME_BYTES_MAX, FLOWS_MAX};
use crate::replication::attached::LinkId;
use crate::replication::psync::parse_i64;

/// What a replica says that it can.
pub const CAPABILITY: &[u8] = b"flows";

/// The answer to a flow's PSYNC.
pub const JOINED: &[u8] = b"+FLOW\r\n";

const HEAD_BYTES: usize = 16;

/// What a master offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub flows: usize,
    /// Names the main link.
    pub token: LinkId,
}

impl Offer {
    /// The answer to REPLCONF that says it.
    #[must_use]
    pub fn line(self) -> Vec<u8> {
        format!("+OK flows {} {}\r\n", self.flows, self.token).into_bytes()
    }

    /// An answer to REPLCONF, without its line end; a plain `+OK` offers nothing.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.strip_prefix(b"+OK flows ")?.split(|&byte| byte == b' ');
        let (flows, token) = (words.next()?, words.next()?);
        let flows = usize::try_from(parse_i64(flows)?).ok()?;
        let token = u64::try_from(parse_i64(token)?).ok()?;
        (1..=FLOWS_MAX).contains(&flows).then_some(Self { flows, token })
    }
}

/// What a flow's connection asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    pub token: LinkId,
    pub flow: usize,
    /// The replica has the history up to here.
    pub offset: u64,
}

impl Join {
    /// PSYNC's two arguments.
    #[must_use]
    pub fn words(self) -> [Vec<u8>; 2] {
        let name = format!("flow:{}:{}", self.token, self.flow);
        [name.into_bytes(), self.offset.to_string().into_bytes()]
    }

    /// PSYNC's arguments, if they are a flow's; `Some(None)`: they are, and are garbage.
    #[must_use]
    pub fn parse([name, offset]: [&[u8]; 2]) -> Option<Option<Self>> {
        let name = name.strip_prefix(b"flow:")?;
        let number = |word: &[u8]| u64::try_from(parse_i64(word)?).ok();
        let join = || {
            let at = name.iter().position(|&byte| byte == b':')?;
            let flow = usize::try_from(number(name.get(at + 1..)?)?).ok()?;
            Some(Self { token: number(name.get(..at)?)?, flow, offset: number(offset)? })
        };
        Some(join())
    }
}

/// What stands before a frame's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub start: u64,
    pub length: usize,
    pub db: Option<u16>,
}

impl Head {
    /// # Panics
    /// Where the frame is longer than `FLOW_FRAME_BYTES_MAX`.
    pub fn write(self, out: &mut Vec<u8>) {
        assert!(self.length <= FLOW_FRAME_BYTES_MAX, "a frame of {} bytes", self.length);
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        out.extend_from_slice(&self.start.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.db.map_or(0, |db| u32::from(db) + 1).to_le_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Result<Self, Garbage>> {
        let (start, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (db, _) = rest.split_first_chunk()?;
        let (start, length) = (u64::from_le_bytes(*start), u32::from_le_bytes(*length) as usize);
        let db = match u32::from_le_bytes(*db) {
            0 => Ok(None),
            db => u16::try_from(db - 1).map(Some),
        };
        let fits = (1..=FLOW_FRAME_BYTES_MAX).contains(&length);
        let ends = start.checked_add(length as u64).is_some();
        Some(match db {
            Ok(db) if fits && ends => Ok(Self { start, length, db }),
            _ => Err(Garbage),
        })
    }
}

/// What came is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garbage;

/// Takes the first frame off `bytes`, which hold more, or a part of one.
pub fn next_frame<'b>(bytes: &mut &'b [u8]) -> Result<Option<(Head, &'b [u8])>, Garbage> {
    let Some(head) = Head::read(bytes) else { return Ok(None) };
    let head = head?;
    let Some(body) = bytes.get(HEAD_BYTES..HEAD_BYTES + head.length) else { return Ok(None) };
    *bytes = &bytes[HEAD_BYTES + head.length..];
    Ok(Some((head, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_a_plain_ok_to_whoever_does_not_know_it() {
        let offer = Offer { flows: 3, token: 1 << 40 };
        let line = offer.line();
        assert_eq!(line, b"+OK flows 3 1099511627776\r\n");
        assert_eq!(Offer::parse(line.trim_ascii_end()), Some(offer));
        for line in
            ["+OK", "+OK flows 0 1", "+OK flows 9999 1", "+OK flows 2", "+OK flows x 1", "-ERR no"]
        {
            assert_eq!(Offer::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_flow_asks_by_psync() {
        let join = Join { token: 7 << 32 | 3, flow: 2, offset: 99 };
        let [name, offset] = join.words();
        assert_eq!(Join::parse([&name, &offset]), Some(Some(join)));
        assert_eq!(Join::parse([b"?", b"-1"]), None);
        assert_eq!(Join::parse([&[b'a'; 40], b"7"]), None);
        for name in ["flow:", "flow:1", "flow:1:", "flow:x:1", "flow:1:-1", "flow:1:2:3"] {
            assert_eq!(Join::parse([name.as_bytes(), b"1"]), Some(None), "{name}");
        }
        assert_eq!(Join::parse([b"flow:1:1", b"-1"]), Some(None));
    }

    #[test]
    fn frames_come_in_pieces_and_garbage_is_refused() {
        let mut wire = Vec::new();
        let heads = [
            Head { start: 5, length: 3, db: Some(0) },
            Head { start: 8, length: 1, db: None },
            Head { start: u64::MAX - 2, length: 2, db: Some(u16::MAX) },
        ];
        for head in heads {
            head.write(&mut wire);
            wire.extend(vec![b'x'; head.length]);
        }
        for cut in 0..wire.len() {
            let (mut rest, mut found) = (&wire[..cut], Vec::new());
            while let Some((head, body)) = next_frame(&mut rest).unwrap() {
                assert_eq!(body.len(), head.length);
                found.push(head);
            }
            let left = rest.len();
            let mut rest = &wire[cut - left..];
            while let Some((head, _)) = next_frame(&mut rest).unwrap() {
                found.push(head);
            }
            assert_eq!((found.as_slice(), rest.len()), (&heads[..], 0), "cut at {cut}");
        }
        for (start, length, db) in
            [(0, 0, 0), (0, u32::MAX, 0), (u64::MAX, 1, 0), (0, 1, 1 << 16 | 1)]
        {
            let mut bytes = u64::to_le_bytes(start).to_vec();
            bytes.extend_from_slice(&u32::to_le_bytes(length));
            bytes.extend_from_slice(&u32::to_le_bytes(db));
            bytes.push(0);
            assert_eq!(next_frame(&mut bytes.as_slice()), Err(Garbage), "{start} {length} {db}");
        }
    }
}
