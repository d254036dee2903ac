//! Sockets without a descriptor of their own: they lie in tables of further rings, and wait there.
//!
//! ```text
//!   main ring        sockets with descriptors: all that move bytes          at most RLIMIT_NOFILE
//!   lot 0, 1, 2 ..   a table of "direct descriptors" each, and their polls  each at most RLIMIT_NOFILE
//! ```
//!
//! A process may have RLIMIT_NOFILE descriptors and no more, and a ring's table as many entries; but
//! rings there may be many. A socket is *placed* once, which puts a second reference to it into a
//! table; after that its descriptor may be closed, and a new one *borrowed* when there is something
//! to do. It waits for input by a poll of one shot in its lot. So a turn that serves few clients
//! enters the main ring and the few lots of those that woke, and nothing else knows of lots.
//!
//! A ring with deferred task work wakes nobody who polls it; it does signal a registered eventfd.
//! All lots share one (the *bell*), on which the main ring has a poll. That poll, too, is of one
//! shot: the kernel turns a multishot one into that when a ring's own completion triggers it.
//!
//! The trap: borrowing completes inside the call that submits it, but that call also reaps what else
//! happened in the lot: it waits in `fired` until somebody takes it.
#![expect(unsafe_code, reason = "submitting entries, which point to no memory")]

use super::sys;
use io_uring::types::{CancelBuilder, Fixed};
use io_uring::{IoUring, opcode, squeue};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Where a socket lies: which lot (12 bits), and which entry of its table (20 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home(u32);

const SLOT_BITS: u32 = 20;
const SLOTS_MAX: u64 = 32_768;
const LOTS_MAX: usize = 1 << (32 - SLOT_BITS);
const _: () = assert!(SLOTS_MAX <= 1 << SLOT_BITS);

/// Entries of a lot's queues. The second also sets how long a cancel searches: with 8,192 the kernel
/// hashes what is pending into 256 buckets.
const ENTRIES: u32 = 256;
const COMPLETIONS: u32 = 8_192;

/// System calls for what happened in one lot, and in all lots at one look; each is good for a few dozen
/// events.
const LOT_ROUNDS: usize = 8;
const LOOK_ROUNDS: usize = 32;

impl Home {
    /// Not placed.
    pub(super) const NONE: Self = Self(u32::MAX);

    fn new(lot: usize, slot: u32) -> Self {
        Self(u32::try_from(lot).unwrap_or(u32::MAX) << SLOT_BITS | slot)
    }

    fn lot(self) -> usize {
        (self.0 >> SLOT_BITS) as usize
    }

    fn slot(self) -> u32 {
        self.0 & ((1 << SLOT_BITS) - 1)
    }
}

/// A poll of one shot came to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fired {
    pub socket: u32,
    pub generation: u32,
    /// What happened, as poll(2) says it, or the negative error.
    pub result: i32,
}

/// See the file's header.
pub(super) struct Parking {
    lots: Vec<Lot>,
    /// Entries of each table.
    slots: u32,
    bell: OwnedFd,
    /// Lots with a free entry, and lots with something to submit.
    roomy: Vec<usize>,
    dirty: Vec<usize>,
    pub(super) fired: Vec<Fired>,
    borrowed: Vec<(u32, i32)>,
    /// Where `look` goes on, and whether somebody must: the bell does not ring again for it.
    next: usize,
    has_more: bool,
}

struct Lot {
    ring: IoUring,
    /// Entries that were used before and are free; all from `next` on were never used.
    free: Vec<u32>,
    next: u32,
    dirty: bool,
}

mod kind {
    pub(super) const POLL: u64 = 1;
    pub(super) const BORROW: u64 = 2;
    pub(super) const IGNORED: u64 = 3;
}

/// kind (8 bits) | the row's generation (24 bits) | its number (32 bits)
fn user_data(kind: u64, generation: u32, socket: u32) -> u64 {
    kind << 56 | u64::from(generation & 0x00ff_ffff) << 32 | u64::from(socket)
}

impl Parking {
    /// No lot yet; each is made when it is needed.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new() -> io::Result<Self> {
        let slots = sys::soft_limit(libc::RLIMIT_NOFILE).clamp(1, SLOTS_MAX);
        Ok(Self {
            lots: Vec::new(),
            slots: u32::try_from(slots).unwrap_or(1),
            bell: sys::event_descriptor()?,
            roomy: Vec::new(),
            dirty: Vec::new(),
            fired: Vec::new(),
            borrowed: Vec::new(),
            next: 0,
            has_more: false,
        })
    }

    /// What turns readable when something happens in a lot.
    pub(super) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    pub(super) fn lots(&self) -> usize {
        self.lots.len()
    }

    /// Puts a second reference to an open socket into a table.
    ///
    /// # Errors
    /// The kernel's, where there is no room for another table.
    pub(super) fn place(&mut self, fd: RawFd) -> io::Result<Home> {
        let at = match self.roomy.last() {
            Some(&at) => at,
            None => self.open_lot()?,
        };
        let lot = &mut self.lots[at];
        let slot = lot.free.pop().unwrap_or_else(|| {
            lot.next += 1;
            lot.next - 1
        });
        if lot.free.is_empty() && lot.next == self.slots {
            self.roomy.pop();
        }
        let home = Home::new(at, slot);
        match lot.ring.submitter().register_files_update(slot, &[fd]) {
            Ok(_) => Ok(home),
            Err(error) => {
                self.give_back(home);
                Err(error)
            }
        }
    }

    /// Takes a socket out of its table. A poll that still waits there keeps it alive.
    pub(super) fn leave(&mut self, home: Home) {
        let lot = &mut self.lots[home.lot()];
        let _ = lot.ring.submitter().register_files_update(home.slot(), &[-1]);
        self.give_back(home);
    }

    /// Waits for input, or for the end: one `Fired`, as of the next `submit`.
    pub(super) fn watch(&mut self, home: Home, socket: u32, generation: u32) {
        let events = u32::try_from(libc::POLLIN | libc::POLLRDHUP).unwrap_or(1);
        let entry = opcode::PollAdd::new(Fixed(home.slot()), events).build().user_data(user_data(
            kind::POLL,
            generation,
            socket,
        ));
        self.push(home.lot(), &entry);
    }

    /// Ends such a wait early; its `Fired` says so.
    pub(super) fn unwatch(&mut self, home: Home, socket: u32, generation: u32) {
        let target = CancelBuilder::user_data(user_data(kind::POLL, generation, socket));
        let entry = opcode::AsyncCancel2::new(target)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(user_data(kind::IGNORED, 0, 0));
        self.push(home.lot(), &entry);
    }

    /// New descriptors of parked sockets, each with the number that the caller knows it by.
    pub(super) fn borrow(
        &mut self,
        sockets: impl Iterator<Item = (u32, Home)>,
        mut take: impl FnMut(u32, io::Result<OwnedFd>),
    ) {
        let mut asked = 0;
        for (socket, home) in sockets {
            let entry = opcode::FixedFdInstall::new(Fixed(home.slot()), 0)
                .build()
                .user_data(user_data(kind::BORROW, 0, socket));
            self.push(home.lot(), &entry);
            asked += 1;
        }
        self.submit();
        debug_assert_eq!(asked, self.borrowed.len());
        for (socket, result) in self.borrowed.drain(..) {
            let fd = if result < 0 {
                Err(io::Error::from_raw_os_error(-result))
            } else {
                Ok(sys::own(result))
            };
            take(socket, fd);
        }
    }

    /// Submits what was asked for.
    pub(super) fn submit(&mut self) {
        while let Some(at) = self.dirty.pop() {
            self.enter(at, LOT_ROUNDS);
        }
    }

    /// Is there more in the lots than the last `look` has seen?
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// The bell rang, or there was more: looks into the lots where something has happened, as far as it
    /// may at once.
    pub(super) fn look(&mut self) {
        sys::silence(&self.bell);
        self.has_more = false;
        let (lots, mut left) = (self.lots.len(), LOOK_ROUNDS);
        for offset in 0..lots {
            let at = (self.next + offset) % lots;
            let ring = &mut self.lots[at].ring;
            if !ring.submission().taskrun() && ring.completion().is_empty() {
                continue;
            }
            if left == 0 {
                (self.next, self.has_more) = (at, true);
                break;
            }
            left = left.saturating_sub(self.enter(at, left.min(LOT_ROUNDS)));
        }
        self.dirty.retain(|&at| self.lots[at].dirty);
    }

    fn push(&mut self, at: usize, entry: &squeue::Entry) {
        // SAFETY: no entry of a lot points to memory.
        while unsafe { self.lots[at].ring.submission().push(entry) }.is_err() {
            self.enter(at, LOT_ROUNDS);
        }
        let lot = &mut self.lots[at];
        if !lot.dirty {
            lot.dirty = true;
            self.dirty.push(at);
        }
    }

    /// Submits, runs deferred work and reaps one lot, in at most so many rounds but for what was
    /// submitted; returns how many it took.
    fn enter(&mut self, at: usize, most: usize) -> usize {
        let lot = &mut self.lots[at];
        lot.dirty = false;
        let mut rounds = 0;
        loop {
            rounds += 1;
            let submitted = lot.ring.submission().len();
            // A lot is in order or the process is out of memory: then its sockets wait.
            let _ = sys::enter_now(&lot.ring, submitted);
            let mut reaped = 0;
            for entry in lot.ring.completion() {
                reaped += 1;
                #[expect(clippy::cast_possible_truncation, reason = "fields of user_data, masked")]
                let (socket, generation) =
                    (entry.user_data() as u32, (entry.user_data() >> 32) as u32 & 0x00ff_ffff);
                let result = entry.result();
                match entry.user_data() >> 56 {
                    kind::POLL => self.fired.push(Fired { socket, generation, result }),
                    kind::BORROW => self.borrowed.push((socket, result)),
                    _ => {}
                }
            }
            // One call runs a few dozen of the deferred pieces of work and leaves the others, without another
            // signal to the eventfd: the flag says that there are more.
            let submission = lot.ring.submission();
            let must = submission.cq_overflow() || (reaped > 0 && !submission.is_empty());
            if !must && submission.taskrun() && rounds >= most {
                self.has_more = true;
                return rounds;
            }
            if !must && !submission.taskrun() {
                return rounds;
            }
        }
    }

    fn open_lot(&mut self) -> io::Result<usize> {
        if self.lots.len() == LOTS_MAX {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(COMPLETIONS)
            .build(ENTRIES)?;
        ring.submitter().register_files_sparse(self.slots)?;
        ring.submitter().register_eventfd(self.bell.as_raw_fd())?;
        self.lots.push(Lot { ring, free: Vec::new(), next: 0, dirty: false });
        self.roomy.push(self.lots.len() - 1);
        Ok(self.lots.len() - 1)
    }

    fn give_back(&mut self, home: Home) {
        let lot = &mut self.lots[home.lot()];
        if lot.free.is_empty() && lot.next == self.slots {
            self.roomy.push(home.lot());
        }
        lot.free.push(home.slot());
    }
}
