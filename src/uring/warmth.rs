//! How a socket waits for input: cold by a poll, hot by a multishot receive.
//!
//! A poll costs the kernel 256 bytes and each input a `recv` and a new poll; an armed multishot
//! receive costs 862 bytes and nothing more per input. So whoever speaks often is worth the memory.
//! What it takes to be hot is more than a client says to introduce itself, and what it takes to be
//! cold again is much more than a pause between two requests of a busy one: nobody goes to and fro.

/// A point in time, in units of 128 ms. It wraps after 2 hours and 20 minutes, so that a socket of
/// exactly that age looks busy; it is asked again a moment later.
pub(super) type Tick = u16;

/// Milliseconds of a tick, as a shift.
pub(super) const TICK_SHIFT: u32 = 7;

/// Inputs in a row that make a socket hot, each within this many ticks of the one before.
const HOT_AFTER: u8 = 8;
const HOT_WITHIN: Tick = 4;

/// Ticks without input after which a hot socket is cold again.
const COLD_AFTER: Tick = 32;

const _: () = assert!(COLD_AFTER > 4 * HOT_WITHIN);

/// What is known of a socket's busyness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Warmth {
    /// When it last had input.
    pub active: Tick,
    inputs: u8,
}

impl Warmth {
    /// A socket that has just come.
    pub(super) fn fresh(now: Tick) -> Self {
        Self { active: now, inputs: 0 }
    }

    /// A cold socket has input; `filled` is whether there was more of it than room. Is it hot now?
    pub(super) fn heats(&mut self, now: Tick, filled: bool) -> bool {
        let near = self.idle(now) <= HOT_WITHIN;
        self.inputs = if filled {
            HOT_AFTER
        } else if near {
            self.inputs.saturating_add(1)
        } else {
            1
        };
        self.active = now;
        self.inputs >= HOT_AFTER
    }

    /// Has a hot socket cooled down?
    pub(super) fn has_cooled(&self, now: Tick) -> bool {
        self.idle(now) >= COLD_AFTER
    }

    /// It is cold, and must earn it again.
    pub(super) fn cool(&mut self) {
        self.inputs = 0;
    }

    /// Ticks without input.
    pub(super) fn idle(&self, now: Tick) -> Tick {
        now.wrapping_sub(self.active)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_introduction_leaves_a_socket_cold_and_steady_talk_heats_it_for_good() {
        let mut warmth = Warmth::fresh(100);
        assert!((0..7).all(|_| !warmth.heats(100, false)), "HELLO, AUTH, CLIENT SETINFO, ...");
        assert!(warmth.heats(101, false), "and it goes on");
        // Busy with pauses of up to four seconds: it stays hot.
        assert!(!warmth.has_cooled(101 + COLD_AFTER - 1));
        assert!(warmth.has_cooled(101 + COLD_AFTER));
        warmth.cool();
        assert!(!warmth.heats(200, false));
    }

    #[test]
    fn who_speaks_once_a_second_stays_cold_and_who_sends_much_is_hot_at_once() {
        let mut warmth = Warmth::fresh(0);
        assert!((1..100).all(|it| !warmth.heats(it * 8, false)));
        assert!(warmth.heats(1_000, true));
    }

    #[test]
    fn the_clock_may_wrap() {
        let mut warmth = Warmth::fresh(Tick::MAX);
        assert!(!warmth.heats(1, false) && warmth.idle(3) == 2 && !warmth.has_cooled(3));
    }
}
