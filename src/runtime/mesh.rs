//! The roads between cores as threads see them: one queue for each pair, and bells for sleepers.
//!
//! A core that is about to sleep says so, looks at its queues once more, and sleeps. Who sends to it
//! looks whether it sleeps after putting the item in, and rings then and only then. The two fences
//! make it impossible that both look too early.

use crate::base::limits::ROAD_ITEMS_MAX;
use crate::base::spsc::{self, Receiver, Sender};
use crate::node::message::Message;
use crate::node::session::Session;
use std::collections::VecDeque;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering, fence};

/// What travels between cores.
#[derive(Debug)]
pub enum Parcel {
    Message(Message),
    /// A connection just accepted.
    Client(OwnedFd),
    /// A connection that changes cores.
    Session(OwnedFd, Box<Session>),
}

/// What all cores share about one: its ring's descriptor, and whether it sleeps.
#[derive(Debug, Default)]
struct Bell {
    sleeping: AtomicBool,
    ring_fd: AtomicI32,
}

/// One core's ends of all roads.
#[derive(Debug)]
pub struct Mesh {
    id: usize,
    bells: Arc<[Bell]>,
    to: Vec<Option<Sender<Parcel>>>,
    from: Vec<Option<Receiver<Parcel>>>,
    /// What found its road full; goes first the next time.
    waiting: Vec<VecDeque<Parcel>>,
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

    /// Puts an item on the road to `core`, behind what waits already.
    pub fn send(&mut self, core: usize, parcel: Parcel) {
        self.waiting[core].push_back(parcel);
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
                if bell.sleeping.load(Ordering::Relaxed)
                    && bell.sleeping.swap(false, Ordering::AcqRel)
                {
                    ring(bell.ring_fd.load(Ordering::Acquire));
                }
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

    /// Announces that this core is about to sleep; `false` if something has come meanwhile.
    pub fn fall_asleep(&mut self) -> bool {
        let bell = &self.bells[self.id];
        bell.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let empty = self.from.iter_mut().flatten().all(Receiver::is_empty);
        if !empty {
            self.wake_up();
        }
        empty
    }

    pub fn wake_up(&mut self) {
        self.bells[self.id].sleeping.store(false, Ordering::Relaxed);
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
        a.send(1, Parcel::Message(Message::Thaw));
        a.flush(|fd| rings.push(fd));
        assert!(rings.is_empty() && !b.fall_asleep());
        let mut got = 0;
        b.receive(|from, _| got += 1 + from);
        assert!(got == 1 && b.fall_asleep());
        for _ in 0..2 {
            a.send(1, Parcel::Message(Message::Thaw));
            a.flush(|fd| rings.push(fd));
        }
        assert_eq!(rings, [8]);
    }

    #[test]
    fn a_full_road_keeps_the_order() {
        let mut ends = mesh(2);
        let (mut b, mut a) = (ends.pop().unwrap(), ends.pop().unwrap());
        let many = ROAD_ITEMS_MAX + 10;
        (0..many as u64).for_each(|it| {
            a.send(1, Parcel::Message(Message::Streamed { ticket: it, lost: false }))
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
