//! The one place that reads clocks.

use crate::base::time::{Mono, Now, Wall};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Both clocks, from one start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    #[must_use]
    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        Now { mono: self.mono(), wall: Wall(micros) }
    }

    #[must_use]
    pub fn mono(&self) -> Mono {
        // The first instant is a second in, so that "long ago" can be said without underflow.
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Mono(nanos.saturating_add(1_000_000_000))
    }
}

/// Nanoseconds from the first look on, for measuring.
#[must_use]
pub fn stopwatch() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
