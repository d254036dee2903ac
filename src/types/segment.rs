//! One segment of the table: 64 home buckets and a stash, of one cache line each.
//!
//! ```text
//!   bucket, 64 bytes = tags 9 x u8 | spill u8 | access 9 x u16 | handles 9 x u32
//!   tag     0 empty; bits 0-6 seven bits of the hash (never 0), bit 7 displaced to the neighbour
//!   spill   of the entries whose home this is: bits 0-3 how many lie in the neighbour,
//!           bits 4-7 how many in the stash (15: that many or more, until the next split)
//!   access  bit 15 has an expiry | bit 14 walked | bits 0-13 the clock of the last access
//! ```
//!
//! An entry lies in its home bucket, in the next one (cyclic), or in the stash; so its home is known
//! without a look at its record, which is what SCAN's cursor stands on. An insert that finds both
//! buckets full moves somebody else to *his* other bucket before it turns to the stash.
//!
//! The clock: values from 4096 on are seconds since the segment's `base`; smaller ones are for what
//! was last used before `base`, in units of 256 s. When an access is more than 12287 s after the base,
//! the base follows by multiples of 4096 s. So the idle time is exact to the second up to 8192 s (2.2 h)
//! at least, then within 256 s, and stops at 12 days.
//!
//! "Walked" belongs to the snapshot whose number is in `cut`; with any older number there, nothing in the
//! segment has been walked, whatever the bits say (`catch_up` makes them say so). Thus to begin or
//! to abandon a walk costs nothing per entry.
//!
//! Not here: keys and hashes (`table.rs` asks the records), who grows when this is full.

use super::arena::Handle;
use crate::base::prefetch;
use crate::base::prng::Prng;
pub use uses::Counting;

mod uses;

/// Home buckets of a segment.
pub const BUCKETS: usize = STASH_LINE as usize;
const STASH: usize = (END_LINE - STASH_LINE) as usize;
const LINES: usize = END_LINE as usize;
/// Where the stash begins and ends, as the number of a line.
const STASH_LINE: u8 = 64;
const END_LINE: u8 = STASH_LINE + 4;
const SLOTS: usize = 9;
const DISPLACED: u8 = 0x80;

const EXPIRES: u16 = 1 << 15;
const WALKED: u16 = 1 << 14;
const CLOCK: u16 = WALKED - 1;
const CLOCK_FINE: u16 = 4_096;
const CLOCK_FINE_SECONDS: u32 = (CLOCK - CLOCK_FINE) as u32;
const CLOCK_STEP_SECONDS: u32 = 4_096;
const CLOCK_COARSE_SECONDS: u32 = 256;
const BASE_BEFORE_SECONDS: u32 = CLOCK_FINE_SECONDS - CLOCK_STEP_SECONDS;

/// Entries that a segment can hold at most.
pub const SEGMENT_ENTRIES_MAX: usize = LINES * SLOTS;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u8; SLOTS],
    spill: u8,
    access: [u16; SLOTS],
    handles: [Handle; SLOTS],
}

#[repr(C, align(64))]
pub struct Segment {
    base: u32,
    cut: u32,
    /// What the clocks are: 0, or the unit of counters (`uses.rs`).
    unit_s: u32,
    len: u16,
    /// How many bits of the hash all entries here share.
    pub depth: u8,
    /// The home of each entry of the stash.
    homes: [u8; STASH * SLOTS],
    lines: [Bucket; LINES],
}

/// Where in its segment an entry is. Any insert or remove may move entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    line: u8,
    slot: u8,
}

/// The spots of the stash, by their place in `homes`.
const STASHED: [Spot; STASH * SLOTS] = {
    let mut spots = [Spot { line: STASH_LINE, slot: 0 }; STASH * SLOTS];
    let mut at = 1;
    while at < spots.len() {
        let Spot { line, slot } = spots[at - 1];
        let is_last = slot as usize == SLOTS - 1;
        spots[at] =
            if is_last { Spot { line: line + 1, slot: 0 } } else { Spot { line, slot: slot + 1 } };
        at += 1;
    }
    spots
};

const _: () = {
    assert!(size_of::<Bucket>() == SLOTS + 1 + SLOTS * 2 + SLOTS * 4);
    assert!(size_of::<Bucket>() == 64);
    assert!(std::mem::offset_of!(Bucket, tags) == 0);
    assert!(size_of::<Segment>() == 64 * (1 + LINES));
};

const EMPTY: Bucket =
    Bucket { tags: [0; SLOTS], spill: 0, access: [0; SLOTS], handles: [Handle(0); SLOTS] };

/// The home bucket of a hash.
#[inline]
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "masked to 6 bits")]
pub fn home_of(hash: u64) -> u8 {
    (hash & (BUCKETS as u64 - 1)) as u8
}

#[inline]
fn tag_of(hash: u64) -> u8 {
    ((hash >> 6 & 0x7f) as u8).max(1)
}

#[inline]
fn next(line: u8) -> u8 {
    (line + 1) % STASH_LINE
}

#[inline]
fn before(line: u8) -> u8 {
    (line + STASH_LINE - 1) % STASH_LINE
}

impl Bucket {
    /// A bit for each slot whose tag is `tag`.
    #[inline(always)]
    fn matches(&self, tag: u8) -> u32 {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{
                __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
            };
            let start = core::ptr::from_ref(self).cast::<__m128i>();
            // SAFETY: the instructions are SSE2, which is part of every x86_64 target. The one load
            // is of the first 16 bytes of a live bucket of 64, which has no padding (asserted above).
            #[expect(unsafe_code, reason = "core's SIMD is unsafe outside of a target_feature fn")]
            let equal = unsafe {
                let tags = _mm_loadu_si128(start);
                _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(tag.cast_signed())))
            };
            // The tags are the first nine of them.
            equal.cast_unsigned() & 0x1ff
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let bit = |at: usize| u32::from(self.tags[at] == tag) << at;
            (0..SLOTS).map(bit).sum()
        }
    }

    fn vacancy(&self) -> Option<usize> {
        let empty = self.matches(0);
        (empty != 0).then(|| empty.trailing_zeros() as usize)
    }
}

impl Segment {
    /// An empty segment; `cut` and `now_s` as of now. Its base lies before that, for entries that come
    /// with an idle time.
    #[must_use]
    pub fn new(depth: u8, cut: u32, now_s: u32) -> Self {
        let homes = [0; STASH * SLOTS];
        Self {
            base: now_s.saturating_sub(BASE_BEFORE_SECONDS),
            cut,
            unit_s: 0,
            len: 0,
            depth,
            homes,
            lines: [EMPTY; LINES],
        }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry of this hash for whose record `is_it` says yes.
    #[inline]
    pub fn find(&self, hash: u64, mut is_it: impl FnMut(Handle) -> bool) -> Option<Spot> {
        let (home, tag) = (home_of(hash), tag_of(hash));
        let bucket = &self.lines[usize::from(home)];
        let mut found = bucket.matches(tag);
        while found != 0 {
            let slot = slot_of(found);
            if is_it(bucket.handles[usize::from(slot)]) {
                return Some(Spot { line: home, slot });
            }
            found &= found - 1;
        }
        match bucket.spill {
            0 => None,
            spill => self.find_spilled(home, tag, spill, is_it),
        }
    }

    /// The rest of `find`: what is not in its home bucket.
    #[inline(never)]
    fn find_spilled(
        &self,
        home: u8,
        tag: u8,
        spill: u8,
        mut is_it: impl FnMut(Handle) -> bool,
    ) -> Option<Spot> {
        if spill & 0x0f != 0 {
            let line = next(home);
            let bucket = &self.lines[usize::from(line)];
            let mut found = bucket.matches(tag | DISPLACED);
            while found != 0 {
                let slot = slot_of(found);
                if is_it(bucket.handles[usize::from(slot)]) {
                    return Some(Spot { line, slot });
                }
                found &= found - 1;
            }
        }
        if spill >> 4 != 0 {
            return self.stashed(home, tag).find(|&spot| is_it(self.handle(spot)));
        }
        None
    }

    /// The entries of `home` in the stash that have this tag. Their homes lie in one line, so the
    /// others are not looked at.
    fn stashed(&self, home: u8, tag: u8) -> impl Iterator<Item = Spot> + '_ {
        let mut found = 0u64;
        for (at, &own) in self.homes.iter().enumerate() {
            found |= u64::from(own == home) << at;
        }
        std::iter::from_fn(move || {
            while found != 0 {
                let spot = STASHED[found.trailing_zeros() as usize % STASHED.len()];
                found &= found - 1;
                if self.lines[usize::from(spot.line)].tags[usize::from(spot.slot)] == tag {
                    return Some(spot);
                }
            }
            None
        })
    }

    /// Adds an entry that is not here yet; `None`: there is no room. It counts as walked.
    pub fn insert(&mut self, hash: u64, handle: Handle, expires: bool, now_s: u32) -> Option<Spot> {
        let (home, tag) = (home_of(hash), tag_of(hash));
        let spot = self.room(home)?;
        let stamp = if self.unit_s == 0 { self.stamp(now_s) } else { self.new_count(now_s) };
        let bucket = &mut self.lines[usize::from(spot.line)];
        let slot = usize::from(spot.slot);
        bucket.tags[slot] = tag;
        bucket.handles[slot] = handle;
        bucket.access[slot] = stamp | WALKED | if expires { EXPIRES } else { 0 };
        self.account(spot, home);
        self.len += 1;
        Some(spot)
    }

    /// Takes an entry out.
    pub fn remove(&mut self, spot: Spot) -> Handle {
        let handle = self.handle(spot);
        self.vacate(spot);
        self.len -= 1;
        handle
    }

    /// Names the records that a lookup of `hash` will most likely compare.
    #[inline]
    pub fn likely(&self, hash: u64, mut each: impl FnMut(Handle)) {
        let (home, tag) = (home_of(hash), tag_of(hash));
        let bucket = &self.lines[usize::from(home)];
        let mut found = bucket.matches(tag);
        if found == 0 && bucket.spill != 0 {
            return self.likely_spilled(home, tag, bucket.spill, each);
        }
        while found != 0 {
            each(bucket.handles[usize::from(slot_of(found))]);
            found &= found - 1;
        }
    }

    fn likely_spilled(&self, home: u8, tag: u8, spill: u8, mut each: impl FnMut(Handle)) {
        if spill & 0x0f != 0 {
            let bucket = &self.lines[usize::from(next(home))];
            let found = bucket.matches(tag | DISPLACED);
            if found != 0 {
                return each(bucket.handles[usize::from(slot_of(found))]);
            }
        }
        if spill >> 4 != 0 {
            self.stashed(home, tag).for_each(|spot| each(self.handle(spot)));
        }
    }

    /// Hints the home bucket's line, and the one that says what its clocks count from.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        prefetch::read(&self.lines[usize::from(home_of(hash))]);
        prefetch::read(&self.base);
    }

    #[inline]
    #[must_use]
    pub fn handle(&self, spot: Spot) -> Handle {
        self.lines[usize::from(spot.line)].handles[usize::from(spot.slot)]
    }

    /// Another record for the same key.
    pub fn replace(&mut self, spot: Spot, handle: Handle, expires: bool) {
        self.lines[usize::from(spot.line)].handles[usize::from(spot.slot)] = handle;
        let access = self.access_mut(spot);
        *access = *access & !EXPIRES | if expires { EXPIRES } else { 0 };
    }

    #[inline]
    #[must_use]
    pub fn expires(&self, spot: Spot) -> bool {
        self.access(spot) & EXPIRES != 0
    }

    /// The entry was used now.
    #[inline]
    pub fn touch(&mut self, spot: Spot, now_s: u32) {
        let stamp = self.stamp(now_s);
        let access = self.access_mut(spot);
        let new = *access & !CLOCK | stamp;
        // Used twice in a second: the line stays clean, and need not go back to memory.
        if *access != new {
            *access = new;
        }
    }

    /// The entry was used so many seconds ago; the header says how exact that is kept.
    pub fn set_idle(&mut self, spot: Spot, idle_s: u32, now_s: u32) {
        self.stamp(now_s);
        let since_base = now_s.saturating_sub(self.base);
        let clock = match since_base.checked_sub(idle_s) {
            Some(since) => CLOCK_FINE + clamp(since, CLOCK - CLOCK_FINE),
            None => {
                let age = (idle_s - since_base) / CLOCK_COARSE_SECONDS;
                CLOCK_FINE - 1 - clamp(age, CLOCK_FINE - 1)
            }
        };
        let access = self.access_mut(spot);
        *access = *access & !CLOCK | clock;
    }

    /// Seconds since the entry was used; the header says how exact.
    #[must_use]
    pub fn idle_seconds(&self, spot: Spot, now_s: u32) -> u32 {
        if self.unit_s != 0 {
            return 0;
        }
        let clock = self.access(spot) & CLOCK;
        let since_base = now_s.saturating_sub(self.base);
        if clock >= CLOCK_FINE {
            since_base.saturating_sub(u32::from(clock - CLOCK_FINE))
        } else {
            since_base + u32::from(CLOCK_FINE - 1 - clock) * CLOCK_COARSE_SECONDS
        }
    }

    /// Makes the walked bits those of snapshot `cut`.
    #[inline]
    pub fn catch_up(&mut self, cut: u32) {
        if self.cut != cut {
            self.cut = cut;
            let lines = self.lines.iter_mut();
            lines.flat_map(|line| &mut line.access).for_each(|access| *access &= !WALKED);
        }
    }

    /// Has the entry been walked (or made since the cut)? Only after `catch_up`.
    #[must_use]
    pub fn is_walked(&self, spot: Spot) -> bool {
        self.access(spot) & WALKED != 0
    }

    pub fn set_walked(&mut self, spot: Spot) {
        *self.access_mut(spot) |= WALKED;
    }

    /// All entries.
    pub fn spots(&self) -> impl Iterator<Item = Spot> + '_ {
        (0..END_LINE).flat_map(|line| self.spots_of_line(line))
    }

    /// The entries whose home is `home`.
    pub fn spots_of_home(&self, home: u8) -> impl Iterator<Item = Spot> + '_ {
        let spill = self.lines[usize::from(home)].spill;
        let neighbour = (spill & 0x0f != 0).then(|| next(home));
        let stash = if spill >> 4 != 0 { END_LINE } else { STASH_LINE };
        std::iter::once(home)
            .chain(neighbour)
            .chain(STASH_LINE..stash)
            .flat_map(|line| self.spots_of_line(line))
            .filter(move |&spot| self.home(spot) == home)
    }

    /// The entries of one home line that have an expiry: what the expire cycle looks at.
    pub fn spots_with_expiry(&self, line: usize) -> impl Iterator<Item = Spot> + '_ {
        self.spots_of_line(u8::try_from(line % LINES).unwrap_or(0))
            .filter(|&spot| self.expires(spot))
    }

    /// The entries of a line, or those of them that have an expiry.
    pub fn spots_in(&self, line: usize, with_expiry: bool) -> impl Iterator<Item = Spot> + '_ {
        self.spots_of_line(u8::try_from(line % LINES).unwrap_or(0))
            .filter(move |&spot| !with_expiry || self.expires(spot))
    }

    /// The bits that every use of the entry may change.
    #[must_use]
    pub fn uses(&self, spot: Spot) -> u16 {
        self.access(spot) & CLOCK
    }

    /// Is there an entry at the spot?
    #[must_use]
    pub fn is_live(&self, spot: Spot) -> bool {
        self.lines[usize::from(spot.line)].tags[usize::from(spot.slot)] != 0
    }

    /// Lines that `spots_in` and `spots_with_expiry` know.
    pub const LINES: usize = LINES;

    /// The entry at a position drawn at random, if there is one.
    #[must_use]
    pub fn at_random(&self, random: u64) -> Option<Spot> {
        let at = usize::try_from(random % SEGMENT_ENTRIES_MAX as u64).unwrap_or(0);
        let line = u8::try_from(at / SLOTS).ok()?;
        let slot = u8::try_from(at % SLOTS).ok()?;
        (self.lines[usize::from(line)].tags[usize::from(slot)] != 0).then_some(Spot { line, slot })
    }

    /// Moves the entries that `leaves` to an equally placed spot of a new segment, which therefore always
    /// fits; then both pull their displaced entries home.
    pub fn split(&mut self, mut leaves: impl FnMut(Handle) -> bool) -> Self {
        self.depth += 1;
        let mut other = Self::new(self.depth, self.cut, self.base);
        (other.unit_s, other.base) = (self.unit_s, self.base);
        for line in 0..LINES {
            for slot in 0..SLOTS {
                let from = &mut self.lines[line];
                if from.tags[slot] == 0 || !leaves(from.handles[slot]) {
                    continue;
                }
                let to = &mut other.lines[line];
                to.tags[slot] = std::mem::take(&mut from.tags[slot]);
                to.access[slot] = from.access[slot];
                to.handles[slot] = from.handles[slot];
                if let Some(at) = line.checked_sub(BUCKETS) {
                    other.homes[at * SLOTS + slot] = self.homes[at * SLOTS + slot];
                }
                self.len -= 1;
                other.len += 1;
            }
        }
        self.settle();
        other.settle();
        other
    }

    /// Counts the spills anew, then brings entries as near to their homes as there is room.
    fn settle(&mut self) {
        self.lines.iter_mut().for_each(|line| line.spill = 0);
        let away: Vec<Spot> = self.spots().filter(|&it| self.home(it) != it.line).collect();
        away.iter().for_each(|&spot| self.account_only(spot));
        for spot in away {
            let home = self.home(spot);
            let to = match self.lines[usize::from(home)].vacancy() {
                Some(slot) => Some((home, slot)),
                None if usize::from(spot.line) < BUCKETS => None,
                None => self.lines[usize::from(next(home))].vacancy().map(|it| (next(home), it)),
            };
            if let Some((line, slot)) = to {
                self.relocate(spot, line, slot);
            }
        }
    }

    /// A free spot for an entry of `home`, made by moving others if need be.
    fn room(&mut self, home: u8) -> Option<Spot> {
        let free = |segment: &Self, line: u8| {
            let slot = segment.lines[usize::from(line)].vacancy()?;
            Some(Spot { line, slot: u8::try_from(slot).ok()? })
        };
        if let Some(spot) = free(self, home).or_else(|| free(self, next(home))) {
            return Some(spot);
        }
        self.make_room(home).or_else(|| (STASH_LINE..END_LINE).find_map(|line| free(self, line)))
    }

    /// Both buckets of `home` are full: moves one entry to its other bucket.
    #[cold]
    fn make_room(&mut self, home: u8) -> Option<Spot> {
        // Somebody displaced into our home bucket may go back to his, if that has room again.
        if let Some(to) = self.lines[usize::from(before(home))].vacancy() {
            let displaced = |it: &Spot| self.home(*it) != home;
            if let Some(spot) = self.spots_of_line(home).find(displaced) {
                self.relocate(spot, before(home), to);
                return Some(spot);
            }
        }
        // A native of our neighbour may go to his own neighbour.
        let neighbour = next(home);
        if let Some(to) = self.lines[usize::from(next(neighbour))].vacancy() {
            let native = |it: &Spot| self.home(*it) == neighbour;
            if let Some(spot) = self.spots_of_line(neighbour).find(native) {
                self.relocate(spot, next(neighbour), to);
                return Some(spot);
            }
        }
        None
    }

    /// Moves an entry within the segment.
    fn relocate(&mut self, from: Spot, line: u8, slot: usize) {
        let home = self.home(from);
        let source = &self.lines[usize::from(from.line)];
        let at = usize::from(from.slot);
        let (tag, access, handle) = (source.tags[at], source.access[at], source.handles[at]);
        self.vacate(from);
        let target = &mut self.lines[usize::from(line)];
        target.tags[slot] = tag & !DISPLACED;
        (target.access[slot], target.handles[slot]) = (access, handle);
        self.account(Spot { line, slot: u8::try_from(slot).unwrap_or(0) }, home);
    }

    /// Marks where an entry of `home` was put.
    fn account(&mut self, spot: Spot, home: u8) {
        if let Some(at) = stash_index(spot) {
            self.homes[at] = home;
        } else if spot.line != home {
            self.lines[usize::from(spot.line)].tags[usize::from(spot.slot)] |= DISPLACED;
        }
        self.account_only(spot);
    }

    /// Counts the entry at `spot` in its home's spill.
    fn account_only(&mut self, spot: Spot) {
        let home = self.home(spot);
        let spill = &mut self.lines[usize::from(home)].spill;
        if stash_index(spot).is_some() {
            *spill += if *spill >> 4 < 15 { 0x10 } else { 0 };
        } else if spot.line != home {
            *spill += 1;
        }
    }

    fn vacate(&mut self, spot: Spot) {
        let home = self.home(spot);
        let spill = &mut self.lines[usize::from(home)].spill;
        if stash_index(spot).is_some() {
            *spill -= if *spill >> 4 < 15 { 0x10 } else { 0 };
        } else if spot.line != home {
            *spill -= 1;
        }
        self.lines[usize::from(spot.line)].tags[usize::from(spot.slot)] = 0;
    }

    #[inline]
    fn home(&self, spot: Spot) -> u8 {
        match stash_index(spot) {
            Some(at) => self.homes[at],
            None if self.lines[usize::from(spot.line)].tags[usize::from(spot.slot)] < DISPLACED => {
                spot.line
            }
            None => before(spot.line),
        }
    }

    fn spots_of_line(&self, line: u8) -> impl Iterator<Item = Spot> + use<> {
        let mut used = !self.lines[usize::from(line)].matches(0) & 0x1ff;
        std::iter::from_fn(move || {
            let found = used;
            used &= used.wrapping_sub(1);
            (found != 0).then(|| Spot { line, slot: slot_of(found) })
        })
    }

    #[inline]
    fn access(&self, spot: Spot) -> u16 {
        self.lines[usize::from(spot.line)].access[usize::from(spot.slot)]
    }

    #[inline]
    fn access_mut(&mut self, spot: Spot) -> &mut u16 {
        &mut self.lines[usize::from(spot.line)].access[usize::from(spot.slot)]
    }

    /// The clock bits of an access now; moves the base when they would not do.
    #[inline(always)]
    fn stamp(&mut self, now_s: u32) -> u16 {
        if self.unit_s != 0 {
            self.become_clock(now_s);
        }
        let mut since = now_s.saturating_sub(self.base);
        if since > CLOCK_FINE_SECONDS {
            let steps = (since - CLOCK_FINE_SECONDS).div_ceil(CLOCK_STEP_SECONDS);
            self.rebase(steps.saturating_mul(CLOCK_STEP_SECONDS));
            since = now_s.saturating_sub(self.base).min(CLOCK_FINE_SECONDS);
        }
        CLOCK_FINE + u16::try_from(since).unwrap_or(CLOCK - CLOCK_FINE)
    }

    #[cold]
    fn rebase(&mut self, by: u32) {
        for access in self.lines.iter_mut().flat_map(|line| &mut line.access) {
            let clock = *access & CLOCK;
            let (fine, age) = match clock.checked_sub(CLOCK_FINE) {
                Some(since) => (u32::from(since).checked_sub(by), by.saturating_sub(since.into())),
                None => (None, by + u32::from(CLOCK_FINE - 1 - clock) * CLOCK_COARSE_SECONDS),
            };
            let coarse = CLOCK_FINE - 1 - clamp(age / CLOCK_COARSE_SECONDS, CLOCK_FINE - 1);
            let clock = fine.map_or(coarse, |since| CLOCK_FINE + clamp(since, CLOCK - CLOCK_FINE));
            *access = *access & !CLOCK | clock;
        }
        self.base += by;
    }
}

#[inline]
fn slot_of(found: u32) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "at most 32")]
    let slot = found.trailing_zeros() as u8;
    slot
}

#[inline]
fn stash_index(spot: Spot) -> Option<usize> {
    let line = usize::from(spot.line).checked_sub(BUCKETS)?;
    Some(line * SLOTS + usize::from(spot.slot))
}

fn clamp(value: u32, max: u16) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX).min(max)
}

/// All segments of a shard, numbered; numbers of dropped ones are used again.
#[derive(Default)]
pub struct Segments {
    chunks: Vec<Chunk>,
    live: usize,
    /// Every chunk below this index is full.
    first_free: usize,
    /// How uses are counted; `None`: their time is kept instead.
    counting: Option<Counting>,
    chance: Option<Prng>,
}

/// One allocation, a little over a huge page (`base::huge`); none while nothing in it is used.
#[derive(Default)]
struct Chunk {
    segments: Vec<Segment>,
    /// Places given up, to be used again.
    free: Vec<u16>,
}

impl Chunk {
    fn has_room(&self) -> bool {
        !self.free.is_empty() || self.segments.len() < CHUNK_SEGMENTS
    }
}

/// Any: which uses raise a counter need not be secret.
const CHANCE_SEED: u64 = 0x5eed;

/// Segments of one chunk.
const CHUNK_SEGMENTS: usize = 512;

impl Segments {
    pub fn add(&mut self, segment: Segment) -> u32 {
        self.live += 1;
        let found = self.chunks[self.first_free..].iter().position(Chunk::has_room);
        self.first_free = found.map_or(self.chunks.len(), |at| self.first_free + at);
        if found.is_none() {
            self.chunks.push(Chunk::default());
        }
        let chunk = &mut self.chunks[self.first_free];
        if chunk.segments.capacity() == 0 {
            chunk.segments.reserve_exact(CHUNK_SEGMENTS);
        }
        let index = match chunk.free.pop() {
            Some(index) => {
                chunk.segments[usize::from(index)] = segment;
                usize::from(index)
            }
            None => {
                chunk.segments.push(segment);
                chunk.segments.len() - 1
            }
        };
        let id = self.first_free * CHUNK_SEGMENTS + index;
        u32::try_from(id).unwrap_or(u32::MAX) // 2^32 segments are 19 TB
    }

    /// Gives a segment up; the last one of its chunk takes the memory with it.
    pub fn drop(&mut self, id: u32) {
        let (at, index) = (id as usize / CHUNK_SEGMENTS, id as usize % CHUNK_SEGMENTS);
        let chunk = &mut self.chunks[at];
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        debug_assert!(!chunk.free.contains(&index), "a segment was dropped twice");
        chunk.free.push(index);
        if chunk.free.len() == chunk.segments.len() {
            *chunk = Chunk::default();
        }
        self.live -= 1;
        self.first_free = self.first_free.min(at);
    }

    #[inline]
    #[must_use]
    pub fn get(&self, id: u32) -> &Segment {
        &self.chunks[id as usize / CHUNK_SEGMENTS].segments[id as usize % CHUNK_SEGMENTS]
    }

    #[inline]
    pub fn get_mut(&mut self, id: u32) -> &mut Segment {
        &mut self.chunks[id as usize / CHUNK_SEGMENTS].segments[id as usize % CHUNK_SEGMENTS]
    }

    /// From here on uses are counted like that, or their time is kept.
    pub fn set_counting(&mut self, counting: Option<Counting>) {
        self.counting = counting;
    }

    #[must_use]
    pub fn counting(&self) -> Option<Counting> {
        self.counting
    }

    /// An entry was used now.
    #[inline]
    pub fn touch(&mut self, id: u32, spot: Spot, now_s: u32) {
        match self.counting {
            None => self.get_mut(id).touch(spot, now_s),
            Some(how) => self.count(id, spot, now_s, how),
        }
    }

    /// Sets the counter of an entry, where uses are counted.
    pub fn set_frequency(&mut self, id: u32, spot: Spot, now_s: u32, counter: u8) {
        if let Some(how) = self.counting {
            self.get_mut(id).set_frequency(spot, now_s, how, counter);
        }
    }

    fn count(&mut self, id: u32, spot: Spot, now_s: u32, how: Counting) {
        let prng = self.chance.get_or_insert_with(|| Prng::new(CHANCE_SEED));
        let random = u32::try_from(prng.next_u64() >> 32).unwrap_or(0);
        self.get_mut(id).count(spot, now_s, how, random);
    }

    /// Bytes of the segments in use.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.live * size_of::<Segment>()
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "drawn numbers are below small bounds")]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::BTreeMap;

    fn check(segment: &Segment, model: &BTreeMap<u32, u64>, seed: u64) {
        assert_eq!(segment.len(), model.len(), "seed {seed}");
        for (&number, &hash) in model {
            let spot = segment.find(hash, |it| it.0 == number).unwrap();
            assert!(segment.spots_of_home(home_of(hash)).any(|it| it == spot), "seed {seed}");
        }
        let by_home = (0..STASH_LINE).map(|home| segment.spots_of_home(home).count());
        assert_eq!(by_home.sum::<usize>(), model.len(), "seed {seed}");
    }

    #[test]
    fn random_segments_keep_every_entry_where_it_can_be_found() {
        let mut fills = Vec::new();
        for seed in 0..60 {
            let mut prng = Prng::new(seed);
            let mut segment = Segment::new(0, 0, 0);
            let mut model = BTreeMap::new();
            let mut number = 0;
            loop {
                let hash = prng.next_u64();
                number += 1;
                if segment.insert(hash, Handle(number), false, 0).is_none() {
                    break;
                }
                model.insert(number, hash);
                if seed % 2 == 1 && prng.chance(1, 3) {
                    let at = prng.below(model.len() as u64) as usize;
                    let (&gone, &hash) = model.iter().nth(at).unwrap();
                    let spot = segment.find(hash, |it| it.0 == gone).unwrap();
                    assert_eq!(segment.remove(spot), Handle(gone));
                    model.remove(&gone);
                }
            }
            check(&segment, &model, seed);
            fills.push(model.len());
            let other = segment.split(|it| model[&it.0] >> 63 == 1);
            let upper = model.split_off(&0).into_iter().partition(|it| it.1 >> 63 == 1);
            let (upper, lower): (BTreeMap<_, _>, BTreeMap<_, _>) = upper;
            check(&segment, &lower, seed);
            check(&other, &upper, seed);
        }
        fills.sort_unstable();
        let median = fills[fills.len() / 2] * 100 / SEGMENT_ENTRIES_MAX;
        assert!(median >= 88, "a segment is only {median} % full when it splits");
    }

    #[test]
    fn idle_time_is_exact_for_two_hours_and_near_for_days() {
        let check = |others: &[u32], now: u32, used_at: u32, tolerance: u32| {
            let mut segment = Segment::new(0, 0, 1_000);
            let spot = segment.insert(1, Handle(1), true, used_at).unwrap();
            let other = segment.insert(2, Handle(2), false, used_at).unwrap();
            others.iter().for_each(|&at| segment.touch(other, at));
            let (idle, exact) = (segment.idle_seconds(spot, now), now - used_at);
            assert!(exact - idle <= tolerance, "{idle} for {exact}");
            assert!(segment.expires(spot) && !segment.expires(other));
        };
        let hourly = |hours: u32| (1..=hours).map(|n| 2_000 + n * 3_600).collect::<Vec<_>>();
        check(&hourly(2), 10_100, 2_000, 0);
        check(&hourly(4), 2_000 + 4 * 3_600, 2_000 + 4 * 3_600 - 8_100, 0);
        check(&[], 1_000_000, 2_000, 0);
        check(&hourly(100), 362_100, 2_000, 256);
        check(&[900_000], 900_100, 2_000, 256);
    }

    #[test]
    fn an_idle_time_that_is_given_is_kept() {
        let now = 1_000_000;
        let mut segment = Segment::new(0, 0, now);
        let spot = segment.insert(1, Handle(1), true, now).unwrap();
        for (idle, later, tolerance) in [
            (0, 0, 0),
            (1, 0, 0),
            (1_000, 0, 0),
            (8_000, 90, 0),
            (100_000, 0, 256),
            (500_000, 5, 256),
        ] {
            segment.set_idle(spot, idle, now);
            let (kept, exact) = (segment.idle_seconds(spot, now + later), idle + later);
            assert!(kept <= exact && exact - kept <= tolerance, "{kept} for {exact}");
            assert!(segment.expires(spot));
        }
        segment.set_idle(spot, u32::MAX, now);
        assert!(segment.idle_seconds(spot, now) > 1_000_000);
    }

    #[test]
    fn numbers_of_dropped_segments_are_used_again_and_memory_goes() {
        const CHUNK: u32 = CHUNK_SEGMENTS as u32;
        let mut segments = Segments::default();
        let all = 0..3 * CHUNK - 7;
        let mut live: Vec<u32> = all.clone().map(|n| segments.add(Segment::new(0, n, 0))).collect();
        assert!(live.iter().copied().eq(all.clone()));
        let held = |it: &Segments| it.chunks.iter().filter(|it| it.segments.capacity() > 0).count();
        live.retain(|&id| {
            let goes = (CHUNK - 20..2 * CHUNK).contains(&id);
            if goes {
                segments.drop(id);
            }
            !goes
        });
        let bytes = live.len() * size_of::<Segment>();
        assert_eq!(
            (held(&segments), segments.used_bytes()),
            (2, bytes),
            "the middle chunk is gone"
        );
        live.extend((0..CHUNK + 20).map(|_| segments.add(Segment::new(0, 0, 0))));
        live.sort_unstable();
        assert!(live.iter().copied().eq(all.clone()), "numbers are used again");
        assert_eq!(segments.get(all.end - 1).cut, all.end - 1);
        live.drain(..).for_each(|id| segments.drop(id));
        assert_eq!((held(&segments), segments.used_bytes()), (0, 0));
        assert_eq!(segments.add(Segment::new(0, 0, 0)), 0);
    }

    #[test]
    fn a_new_cut_forgets_what_was_walked() {
        let mut segment = Segment::new(0, 5, 0);
        let spot = segment.insert(1, Handle(1), true, 0).unwrap();
        assert!(segment.is_walked(spot));
        segment.catch_up(6);
        assert!(!segment.is_walked(spot) && segment.expires(spot));
        segment.set_walked(spot);
        segment.catch_up(6);
        assert!(segment.is_walked(spot));
    }
}
