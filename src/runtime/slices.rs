//! Slices of a core's time for glommio, whose files and blocking calls go on only while the loop yields.
//!
//! Glommio's executor may park although a task is ready: if its preempt timer (or the completion of one that
//! it cancelled) is already there when it comes to run tasks, it runs none, takes that completion, finds
//! nothing else, and sleeps until somebody calls. On a loaded host a server hung so as it started, or while
//! it loaded its file. Two things rule that out here: the preempt timer never fires ([`NEVER`]: the loop
//! counts its slices itself), and a timer of glommio's is always armed ([`Slices::begin`]), so that no park
//! outlasts [`PARK_AT_MOST`].

use std::time::{Duration, Instant};

/// The preempt timer's length, with which it is not there.
pub const NEVER: Duration = Duration::from_secs(86_400 * 365);

/// How long the loop may keep the thread while a file or a name waits for it.
const SLICE: Duration = Duration::from_micros(250);

const PARK_AT_MOST: Duration = Duration::from_millis(1);

/// The shortest sleep, for which glommio looks at all its rings.
const A_LOOK: Duration = Duration::from_micros(1);

/// When glommio had its last slice.
#[derive(Debug)]
pub struct Slices {
    last: Instant,
}

impl Slices {
    /// To be called on the executor.
    #[must_use]
    pub fn begin() -> Self {
        glommio::spawn_local(async {
            loop {
                glommio::timer::sleep(PARK_AT_MOST).await;
            }
        })
        .detach();
        Self { last: Instant::now() }
    }

    /// Lets glommio's other tasks run, unless the loop is busy and they ran a moment ago.
    pub async fn give(&mut self, busy: bool) {
        if !busy || self.last.elapsed() >= SLICE {
            glommio::timer::sleep(A_LOOK).await;
            self.last = Instant::now();
        }
    }
}
