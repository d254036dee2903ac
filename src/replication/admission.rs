//! When a replica may have its next full sync: one that keeps failing waits longer each time.
//!
//! A replica that cannot load what it is sent (an older version, say) asks again at once, for ever,
//! and each time a snapshot is made and sent. So the second full sync within a while waits 1 s, the
//! next 2, 4 .. 60 s, as long as the replica did not stay well in between.
//!
//! Replicas are told apart by the address and port that they announce, since each try is a new link.
//!
//! Not here: who is attached (`master.rs`), why a full sync is needed (`psync.rs`).

use crate::base::limits::{REPLICAS_MAX, SYNC_PACE_MS_MAX, SYNC_PACE_MS_MIN};
use crate::base::time::Mono;

/// Whoever had a full sync lately.
#[derive(Debug, Default)]
pub struct Admission {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    ip: Vec<u8>,
    port: i32,
    asked: Mono,
    /// What the next one has to wait.
    wait_ms: u64,
}

impl Admission {
    /// A replica asks for a full sync: how long it has to wait for it.
    pub fn ask(&mut self, now: Mono, ip: &[u8], port: i32) -> u64 {
        if port == 0 {
            return 0; // No replica, but somebody who fetches a file.
        }
        let known = self.rows.iter_mut().find(|row| row.ip == ip && row.port == port);
        if let Some(row) = known {
            let wait = row.wait_ms;
            (row.asked, row.wait_ms) = (now, (wait * 2).min(SYNC_PACE_MS_MAX));
            return wait;
        }
        if self.rows.len() >= REPLICAS_MAX {
            let oldest = self.rows.iter().enumerate().min_by_key(|(_, row)| row.asked);
            let at = oldest.map_or(0, |(at, _)| at);
            self.rows.swap_remove(at);
        }
        self.rows.push(Row { ip: ip.to_vec(), port, asked: now, wait_ms: SYNC_PACE_MS_MIN });
        0
    }

    /// It has followed the stream for a while: the next full sync is a new matter.
    pub fn is_well(&mut self, ip: &[u8], port: i32) {
        self.rows.retain(|row| row.ip != ip || row.port != port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_failing_waits_longer_each_time() {
        let mut admission = Admission::default();
        let mut waits = Vec::new();
        for second in 0..9 {
            waits.push(admission.ask(Mono(second), b"10.0.0.1", 7_000));
        }
        assert_eq!(waits, [0, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(admission.ask(Mono(9), b"10.0.0.1", 7_001), 0, "another one of that host");
        admission.is_well(b"10.0.0.1", 7_000);
        assert_eq!(admission.ask(Mono(10), b"10.0.0.1", 7_000), 0);
        assert_eq!((0..9).map(|_| admission.ask(Mono(11), b"10.0.0.1", 0)).max(), Some(0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut admission = Admission::default();
        for n in 0..3 * REPLICAS_MAX {
            admission.ask(Mono(n as u64), n.to_string().as_bytes(), 1);
        }
        assert_eq!(admission.rows.len(), REPLICAS_MAX);
        let newest = (3 * REPLICAS_MAX - 1).to_string();
        assert_eq!(admission.ask(Mono(9_999), newest.as_bytes(), 1), SYNC_PACE_MS_MIN);
    }
}
