//! A replica's side of flows: frames of all of them become one stream again.
//!
//! A frame waits until everything before it is there, whichever flow that comes by: so the replica is at any moment at one
//! offset of its master's history, and what the flows brought beyond it counts for nothing. What came before by another
//! connection is dropped, in whole or up to where it ends.
//!
//! Invariants: `next` gives each byte once, in order; frames of a flow that has none at the stream's end are never what the stream
//! waits for, so a flow may be paused while it has frames that wait ([`Gather::is_far`]), and nothing hangs on it.
//!
//! Not here: connections and time; what a frame's commands are (`T`: what their reader made of them).

use std::collections::VecDeque;

use crate::base::limits::FLOW_HELD_BYTES_MAX;

/// A part of the stream; `read`: what was made of it, where it is whole units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<T> {
    pub start: u64,
    pub bytes: Vec<u8>,
    pub read: Option<T>,
}

impl<T> Frame<T> {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.bytes.len() as u64)
    }
}

/// See the file's header.
#[derive(Debug)]
pub struct Gather<T> {
    flows: Vec<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    frames: VecDeque<Frame<T>>,
    bytes: usize,
}

impl<T> Default for Gather<T> {
    fn default() -> Self {
        Self::new(0)
    }
}

impl<T> Gather<T> {
    #[must_use]
    pub fn new(flows: usize) -> Self {
        let held = || Held { frames: VecDeque::new(), bytes: 0 };
        Self { flows: (0..flows).map(|_| held()).collect() }
    }

    /// A flow brought a frame.
    pub fn push(&mut self, flow: usize, frame: Frame<T>) {
        if let Some(held) = self.flows.get_mut(flow) {
            held.bytes += frame.bytes.len();
            held.frames.push_back(frame);
        }
    }

    /// A flow begins anew: what of it waits comes again.
    pub fn clear(&mut self, flow: usize) {
        if let Some(held) = self.flows.get_mut(flow) {
            held.frames.clear();
            held.bytes = 0;
        }
    }

    /// What comes at `position`, and by which flow; `between`: there a unit begins. A frame of which a part was there is what is left of it,
    /// and no whole units.
    pub fn next(&mut self, position: u64, between: bool) -> Option<(usize, Frame<T>)> {
        for (flow, held) in self.flows.iter_mut().enumerate() {
            while let Some(front) = held.frames.front() {
                if position < front.start {
                    break;
                }
                let Some(mut frame) = held.frames.pop_front() else { break };
                held.bytes = held.bytes.saturating_sub(frame.bytes.len());
                if frame.end() <= position {
                    continue;
                }
                if frame.start < position {
                    let had = usize::try_from(position - frame.start).unwrap_or(usize::MAX);
                    drop(frame.bytes.drain(..had.min(frame.bytes.len())));
                    frame.start = position;
                    frame.read = None;
                }
                frame.read = frame.read.filter(|_| between);
                return Some((flow, frame));
            }
        }
        None
    }

    /// Does anything wait for what is not there yet?
    #[must_use]
    pub fn waits(&self) -> bool {
        self.flows.iter().any(|held| !held.frames.is_empty())
    }

    /// Has a flow nothing that waits? Then what is missing may be its.
    #[must_use]
    pub fn may_owe(&self, flow: usize) -> bool {
        self.flows.get(flow).is_some_and(|held| held.frames.is_empty())
    }

    /// Does so much of a flow wait that it should bring no more for now?
    #[must_use]
    pub fn is_far(&self, flow: usize) -> bool {
        self.flows.get(flow).is_some_and(|held| held.bytes > FLOW_HELD_BYTES_MAX)
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test prints its seed, and draws small numbers"
)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::replication::flows::{Head, next_frame};
    use crate::replication::spread::{Mark, Piece, Spread};

    fn frame(start: u64, text: &str, read: Option<u8>) -> Frame<u8> {
        Frame { start, bytes: text.as_bytes().to_vec(), read }
    }

    #[test]
    fn frames_wait_for_what_is_before_them() {
        let mut gather = Gather::new(2);
        gather.push(0, frame(3, "de", Some(1)));
        assert_eq!((gather.next(0, true), gather.waits()), (None, true));
        assert!(!gather.may_owe(0) && gather.may_owe(1));
        gather.push(1, frame(0, "abc", Some(2)));
        assert_eq!(gather.next(0, true), Some((1, frame(0, "abc", Some(2)))));
        let next = gather.next(3, false);
        assert_eq!(next, Some((0, frame(3, "de", None))), "in the middle of a unit");
        assert_eq!((gather.next(5, true), gather.waits()), (None, false));
    }

    #[test]
    fn what_was_there_is_dropped() {
        let mut gather = Gather::new(1);
        gather.push(0, frame(0, "ab", Some(1)));
        gather.push(0, frame(2, "cdef", Some(1)));
        assert_eq!(gather.next(4, true), Some((0, frame(4, "ef", None))));
        gather.push(0, frame(6, "g", None));
        gather.clear(0);
        assert_eq!(gather.next(6, true), None);
    }

    #[test]
    fn a_flow_far_ahead_is_paused_and_never_the_one_that_is_waited_for() {
        let mut gather = Gather::new(2);
        let large = "x".repeat(FLOW_HELD_BYTES_MAX);
        gather.push(0, frame(1, &large, Some(1)));
        assert!(!gather.is_far(0));
        gather.push(0, frame(1 + large.len() as u64, "x", Some(1)));
        assert!(gather.is_far(0) && !gather.is_far(1));
        gather.push(1, frame(0, "y", Some(1)));
        let mut position = 0;
        while let Some((_, frame)) = gather.next(position, true) {
            position = frame.end();
        }
        assert_eq!((position, gather.is_far(0)), (2 + large.len() as u64, false));
    }

    /// Bugs that the run below must find.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Plant {
        None,
        /// A lane that joins anew goes on behind what was in flight.
        NoCatchUp,
        /// A lane joins from more than its replica has.
        OffByOne,
        /// Heads name a byte too late.
        WrongStart,
    }

    /// A wire and what of it has arrived.
    #[derive(Default)]
    struct Wire {
        link: u64,
        sent: Vec<u8>,
        arrived: usize,
        up: bool,
    }

    /// A master's stream, spread over lanes whose connections break at random, gathered by a replica.
    struct World {
        prng: Prng,
        plant: Plant,
        began: u64,
        begun: bool,
        stream: Vec<u8>,
        /// Where units end.
        units: Vec<u64>,
        spread: Spread,
        wires: Vec<Wire>,
        links: u64,
        gather: Gather<u64>,
        had: Vec<u8>,
        /// Frames that were whole units.
        whole: usize,
    }

    impl World {
        fn new(seed: u64, plant: Plant) -> Self {
            let mut prng = Prng::new(seed);
            let lanes = 1 + prng.below(4) as usize;
            let began = prng.below(50);
            let stream: Vec<u8> = (0..began).map(|_| prng.below(256) as u8).collect();
            Self {
                prng,
                plant,
                began,
                begun: false,
                had: stream.clone(),
                stream,
                units: vec![began],
                spread: Spread::new(lanes),
                wires: (0..lanes).map(|_| Wire::default()).collect(),
                links: 0,
                gather: Gather::new(lanes),
                whole: 0,
            }
        }

        fn write(&mut self) {
            let Self { prng, stream, units, .. } = self;
            let mut marks = Vec::new();
            for _ in 0..1 + prng.below(3) {
                let start = stream.len() as u64;
                for _ in 0..1 + prng.below(3) {
                    stream.extend((0..1 + prng.below(9)).map(|_| prng.below(256) as u8));
                    units.push(stream.len() as u64);
                }
                let lane = prng.below(6) as usize;
                if prng.chance(4, 5) {
                    marks.push(Mark { range: start..stream.len() as u64, lane, db: 3 });
                }
            }
            self.spread.assign(&marks, stream.len() as u64);
        }

        fn join(&mut self, lane: usize) {
            self.links += 1;
            self.wires[lane] = Wire { link: self.links, up: true, ..Wire::default() };
            self.gather.clear(lane);
            let (had, end) = (self.had.len() as u64, self.stream.len() as u64);
            let from = match self.plant {
                Plant::NoCatchUp => end,
                Plant::OffByOne => (had + 1).min(end),
                Plant::None | Plant::WrongStart => had,
            };
            self.spread.join(lane, self.links, from);
        }

        fn send(&mut self, lane: usize) {
            let mut taken = self.spread.take(lane);
            if self.prng.chance(1, 8) {
                let keep = self.prng.below(taken.len() as u64 + 1) as usize;
                let rest: Vec<Piece> = taken.drain(keep..).collect();
                self.spread.put_back(lane, rest);
            }
            for Piece { range, db } in taken {
                let bytes = &self.stream[range.start as usize..range.end as usize];
                let start = range.start + u64::from(self.plant == Plant::WrongStart);
                Head { start, length: bytes.len(), db }.write(&mut self.wires[lane].sent);
                self.wires[lane].sent.extend_from_slice(bytes);
            }
            self.spread.sent(lane);
        }

        fn arrive(&mut self, lane: usize, all: bool) {
            let wire = &mut self.wires[lane];
            let left = (wire.sent.len() - wire.arrived) as u64;
            let more = if all { left } else { self.prng.below(left + 1) };
            wire.arrived += more as usize;
            let mut bytes = &wire.sent[..wire.arrived];
            while let Some((head, body)) = next_frame(&mut bytes).unwrap() {
                let read = head.db.map(|_| head.start + head.length as u64);
                self.gather.push(lane, Frame { start: head.start, bytes: body.to_vec(), read });
            }
            let left = bytes.len();
            drop(wire.sent.drain(..wire.arrived - left));
            wire.arrived = left;
        }

        /// Takes what is there, which must go on where the replica is.
        fn take(&mut self) -> Result<(), String> {
            loop {
                let position = self.had.len() as u64;
                let between = self.units.contains(&position);
                let Some((_, frame)) = self.gather.next(position, between) else { break };
                if frame.start != position {
                    return Err(format!("{} at {position}", frame.start));
                }
                if let Some(end) = frame.read {
                    self.whole += 1;
                    if !between || !self.units.contains(&end) || end != frame.end() {
                        return Err(format!("{position}..{end} is no whole units"));
                    }
                }
                self.had.extend_from_slice(&frame.bytes);
            }
            if !self.stream.starts_with(&self.had) {
                return Err("not a prefix".into());
            }
            match self.spread.cursor() {
                Some(at) if at > self.stream.len() as u64 => Err("a cursor beyond the end".into()),
                _ => Ok(()),
            }
        }

        fn step(&mut self, calm: bool) {
            if !self.begun && self.spread.is_complete() {
                self.begun = true;
                self.spread.begin(self.began);
                self.spread.assign(&[], self.stream.len() as u64);
            }
            let lane = self.prng.below(self.wires.len() as u64) as usize;
            let up = self.wires[lane].up;
            match self.prng.below(if calm { 60 } else { 100 }) {
                0..10 if !calm => self.write(),
                10..20 if !up => self.join(lane),
                20..25 if up && !calm => {
                    self.wires[lane].up = false;
                    self.spread.leave(self.wires[lane].link, self.had.len() as u64);
                }
                25..40 => self.send(lane),
                _ => self.arrive(lane, calm),
            }
        }
    }

    /// What the replica has must be the stream's beginning at any time, and all of it in the end.
    fn run(seed: u64, plant: Plant) -> Result<(), String> {
        let mut world = World::new(seed, plant);
        for step in 0..3_000 {
            world.step(step > 2_000);
            world.take().map_err(|why| format!("step {step}: {why}"))?;
        }
        let (had, all) = (world.had.len(), world.stream.len());
        if had != all {
            return Err(format!("{had} of {all} bytes came"));
        }
        if all as u64 > world.began + 500 && world.whole == 0 {
            return Err("no frame came as whole units".into());
        }
        Ok(())
    }

    #[test]
    fn whatever_breaks_the_replica_has_a_prefix_and_in_the_end_all() {
        for seed in 0..400 {
            if let Err(why) = run(seed, Plant::None) {
                println!("seed {seed}");
                panic!("{why}");
            }
        }
    }

    #[test]
    fn planted_bugs_are_found() {
        for plant in [Plant::NoCatchUp, Plant::OffByOne, Plant::WrongStart] {
            assert!((0..50).any(|seed| run(seed, plant).is_err()), "{plant:?} was not found");
        }
    }
}
