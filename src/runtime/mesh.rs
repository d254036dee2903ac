//! The roads between cores as threads see them: one queue for each pair, and bells for sleepers.
//!
//! A core that is about to sleep says so, looks at its queues once more, and sleeps. Who sends to it
//! looks whether it sleeps after putting the item in, and rings then and only then. The two fences
//! make it impossible that both look too early. Some items need nobody woken (a lent socket comes back): a core says as it
//! falls asleep whether it would hear of those too.

use crate::base::limits::ROAD_ITEMS_MAX;
use crate::base::spsc::{self, Receiver, Sender};
use crate::node::message::Message;
use crate::node::session::{Ends, Session};
use crate::runtime::streams::Secured;
use std::collections::VecDeque;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering, fence};

/// What travels between cores.
#[derive(Debug)]
pub enum Parcel {
    Message(Message),
    /// A connection just accepted.
    Client(OwnedFd),
    /// The same, by the door of TLS.
    SecuredClient(OwnedFd),
    /// A connection that changes cores.
    Session(OwnedFd, Box<Session>, Option<Box<Secured<Ends>>>),
}

/// What all cores share about one: its ring's descriptor, and whether it sleeps.
#[derive(Debug, Default)]
struct Bell {
    sleeping: AtomicU8,
    ring_fd: AtomicI32,
}

/// How a core is to be woken: it works, it sleeps but for whispers, it sleeps.
const AWAKE: u8 = 0;
const RESTS: u8 = 1;
const LISTENS: u8 = 2;

/// One core's ends of all roads.
#[derive(Debug)]
pub struct Mesh {
    id: usize,
    bells: Arc<[Bell]>,
    to: Vec<Option<Sender<Parcel>>>,
    from: Vec<Option<Receiver<Parcel>>>,
    /// What found its road full; goes first the next time.
    waiting: Vec<VecDeque<Parcel>>,
    /// Is any of it more than a whisper?
    loud: Vec<bool>,
}

/// The ends of `cores` cores.
#[must_use]
pub fn mesh(cores: usize) -> Vec<Mesh> {
    let bells: Arc<[Bell]> = (0..cores).map(|_| Bell::default()).collect();
    let end = |id| Mesh {
        id,
        bells: Arc::clone(&bells),
        to: (0..cores).map(|_| None).collect(),
        from: (0..cores).map(|_| None).collect(),
        waiting: (0..cores).map(|_| VecDeque::new()).collect(),
        loud: vec![false; cores],
    };
    let mut ends: Vec<Mesh> = (0..cores).map(end).collect();
    for a in 0..cores {
        for b in (0..cores).filter(|&b| b != a) {
            let (sender, receiver) = spsc::queue(ROAD_ITEMS_MAX);
            ends[a].to[b] = Some(sender);
            ends[b].from[a] = Some(receiver);
        }
    }
    ends
}

impl Mesh {
    /// Tells the others which ring to ring.
    pub fn announce(&self, ring_fd: RawFd) {
        self.bells[self.id].ring_fd.store(ring_fd, Ordering::Release);
    }

    /// Has every core announced its ring?
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.bells.iter().all(|bell| bell.ring_fd.load(Ordering::Acquire) > 0)
    }

    /// Puts an item on the road to `core`, behind what waits already; where it is not `loud`, a core that only rests
    /// need not be woken for it.
    pub fn send(&mut self, core: usize, parcel: Parcel, loud: bool) {
        self.waiting[core].push_back(parcel);
        self.loud[core] |= loud;
    }

    /// Moves what waits onto the roads; `ring` is called for each core that sleeps and got mail.
    pub fn flush(&mut self, mut ring: impl FnMut(RawFd)) {
        for core in 0..self.to.len() {
            let Some(sender) = self.to[core].as_mut() else { continue };
            let mut sent = false;
            while let Some(parcel) = self.waiting[core].pop_front() {
                if let Err(parcel) = sender.push(parcel) {
                    self.waiting[core].push_front(parcel);
                    break;
                }
                sent = true;
            }
            if sent {
                fence(Ordering::SeqCst);
                let bell = &self.bells[core];
                let rings = match bell.sleeping.load(Ordering::Relaxed) {
                    AWAKE => false,
                    RESTS => self.loud[core],
                    _ => true,
                };
                if rings && bell.sleeping.swap(AWAKE, Ordering::AcqRel) != AWAKE {
                    ring(bell.ring_fd.load(Ordering::Acquire));
                }
                self.loud[core] &= !self.waiting[core].is_empty();
            }
        }
    }

    /// Does anything wait for room on a road?
    #[must_use]
    pub fn is_clogged(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.is_empty())
    }

    /// Takes everything that has come, road by road.
    pub fn receive(&mut self, mut take: impl FnMut(usize, Parcel)) {
        for (core, receiver) in self.from.iter_mut().enumerate() {
            let Some(receiver) = receiver else { continue };
            while let Some(parcel) = receiver.pop() {
                take(core, parcel);
            }
        }
    }

    /// Announces that this core is about to sleep; `false` if something has come meanwhile. It will be woken for whispers
    /// only if it `listens`.
    pub fn fall_asleep(&mut self, listens: bool) -> bool {
        let bell = &self.bells[self.id];
        bell.sleeping.store(if listens { LISTENS } else { RESTS }, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let empty = self.from.iter_mut().flatten().all(Receiver::is_empty);
        if !empty {
            self.wake_up();
        }
        empty
    }

    pub fn wake_up(&mut self) {
        self.bells[self.id].sleeping.store(AWAKE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_rung_once_and_a_waking_core_is_not() {
        let mut ends = mesh(2);
        let (mut b, mut a) = (ends.pop().unwrap(), ends.pop().unwrap());
        a.announce(7);
        b.announce(8);
        assert!(a.is_complete());
        let mut rings = Vec::new();
        a.send(1, Parcel::Message(Message::Thaw), true);
        a.flush(|fd| rings.push(fd));
        assert!(rings.is_empty() && !b.fall_asleep(false));
        let mut got = 0;
        b.receive(|from, _| got += 1 + from);
        assert!(got == 1 && b.fall_asleep(false));
        for _ in 0..2 {
            a.send(1, Parcel::Message(Message::Thaw), true);
            a.flush(|fd| rings.push(fd));
        }
        assert_eq!(rings, [8]);
    }

    #[test]
    fn a_whisper_wakes_only_who_listens() {
        let mut ends = mesh(2);
        let (mut b, mut a) = (ends.pop().unwrap(), ends.pop().unwrap());
        b.announce(8);
        let mut rings = 0;
        let mut send = |loud| {
            a.send(1, Parcel::Message(Message::Thaw), loud);
            a.flush(|_| rings += 1);
            rings
        };
        assert!(b.fall_asleep(false) && send(false) == 0);
        assert!(!b.fall_asleep(false), "what has come is seen before sleeping");
        b.receive(|_, _| {});
        assert!(b.fall_asleep(false) && send(false) == 0 && send(true) == 1 && send(true) == 1);
        b.receive(|_, _| {});
        assert!(b.fall_asleep(true) && send(false) == 2);
    }

    #[test]
    fn a_full_road_keeps_the_order() {
        let mut ends = mesh(2);
        let (mut b, mut a) = (ends.pop().unwrap(), ends.pop().unwrap());
        let many = ROAD_ITEMS_MAX + 10;
        (0..many as u64).for_each(|it| {
            a.send(1, Parcel::Message(Message::Streamed { ticket: it, lost: false }), true);
        });
        let mut got = Vec::new();
        while got.len() < many {
            a.flush(|_| {});
            b.receive(|_, parcel| match parcel {
                Parcel::Message(Message::Streamed { ticket, .. }) => got.push(ticket),
                other => panic!("{other:?}"),
            });
        }
        assert!(!a.is_clogged() && got == (0..many as u64).collect::<Vec<_>>());
    }
}
