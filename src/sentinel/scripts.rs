//! Scripts of the operator's that an event starts: a queue, at most 16 at a time, each for a minute at
//! most, tried again with a doubling delay if it ended by a signal or with code 1.
//!
//! Not here: starting a process (outside), and which event calls which script (`events.rs`).

use super::instance::Ms;
use crate::base::limits::{
    SENTINEL_SCRIPT_TRIES_MAX, SENTINEL_SCRIPTS_MAX, SENTINEL_SCRIPTS_RUNNING_MAX,
};

/// One script to run.
#[derive(Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number outside.
    pub number: u64,
    pub argv: Vec<String>,
    pub tries: u32,
    pub state: State,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be started at or after this moment.
    Scheduled { at: Ms },
    /// Since when, and as which process once that is known.
    Running { since: Ms, pid: u32, killed: bool },
}

/// The queue.
#[derive(Debug, Default)]
pub struct Scripts {
    pub jobs: Vec<Job>,
    next: u64,
}

/// What has become of a job that ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    Done,
    Again,
    /// It failed for good: its path.
    Failed(String),
}

impl Scripts {
    /// The oldest one that waits gives way where too many do.
    pub fn schedule(&mut self, argv: Vec<String>) {
        self.jobs.push(Job {
            number: self.next,
            argv,
            tries: 0,
            state: State::Scheduled { at: 0 },
        });
        self.next += 1;
        let waits = |job: &Job| matches!(job.state, State::Scheduled { .. });
        if self.jobs.len() > SENTINEL_SCRIPTS_MAX
            && let Some(oldest) = self.jobs.iter().position(waits)
        {
            self.jobs.remove(oldest);
        }
    }

    #[must_use]
    pub fn running(&self) -> usize {
        self.jobs.iter().filter(|job| matches!(job.state, State::Running { .. })).count()
    }

    /// The next one to start, which counts as running from now on.
    pub fn start(&mut self, now: Ms) -> Option<(u64, Vec<String>)> {
        if self.running() >= SENTINEL_SCRIPTS_RUNNING_MAX {
            return None;
        }
        let due = |job: &&mut Job| matches!(job.state, State::Scheduled { at } if at <= now);
        let job = self.jobs.iter_mut().find(due)?;
        job.state = State::Running { since: now, pid: 0, killed: false };
        job.tries += 1;
        Some((job.number, job.argv.clone()))
    }

    pub fn started(&mut self, number: u64, as_pid: u32) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.number == number)
            && let State::Running { pid, .. } = &mut job.state
        {
            *pid = as_pid;
        }
    }

    /// The next one that runs for too long, to be killed: number, path, process.
    pub fn overdue(&mut self, now: Ms, runtime_max: Ms) -> Option<(u64, String, u32)> {
        self.jobs.iter_mut().find_map(|job| match &mut job.state {
            State::Running { since, pid, killed } if !*killed && now - *since > runtime_max => {
                *killed = true;
                Some((job.number, job.argv.first().cloned().unwrap_or_default(), *pid))
            }
            _ => None,
        })
    }

    /// `signal`: 0 where it ended by itself, with `code`.
    pub fn ended(&mut self, number: u64, code: i32, signal: i32, now: Ms, delay: Ms) -> Ended {
        let Some(at) = self.jobs.iter().position(|job| job.number == number) else {
            return Ended::Done;
        };
        let Some(job) = self.jobs.get_mut(at) else { return Ended::Done };
        if (signal != 0 || code == 1) && job.tries < SENTINEL_SCRIPT_TRIES_MAX {
            let doublings = job.tries.saturating_sub(1).min(20);
            job.state = State::Scheduled { at: now + (delay << doublings) };
            return Ended::Again;
        }
        let job = self.jobs.remove(at);
        if signal != 0 || code != 0 {
            return Ended::Failed(job.argv.into_iter().next().unwrap_or_default());
        }
        Ended::Done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_tried_again_with_growing_delays() {
        let mut scripts = Scripts::default();
        scripts.schedule(vec!["/x".into(), "a".into()]);
        let mut now = 1_000;
        for again in 0..9 {
            let (number, argv) = scripts.start(now).unwrap();
            assert_eq!(argv, ["/x", "a"]);
            assert_eq!(scripts.start(now), None);
            assert_eq!(scripts.ended(number, 1, 0, now, 30_000), Ended::Again);
            now += 30_000 << again;
            assert_eq!(scripts.start(now - 1), None);
        }
        let (number, _) = scripts.start(now).unwrap();
        assert_eq!(scripts.ended(number, 0, 9, now, 30_000), Ended::Failed("/x".into()));
        assert!(scripts.jobs.is_empty());
    }

    #[test]
    fn few_run_and_not_for_ever() {
        let mut scripts = Scripts::default();
        (0..300).for_each(|n| scripts.schedule(vec![n.to_string()]));
        assert_eq!(scripts.jobs.len(), SENTINEL_SCRIPTS_MAX);
        let started: Vec<_> = std::iter::from_fn(|| scripts.start(5)).collect();
        assert_eq!((started.len(), started[0].1[0].as_str()), (SENTINEL_SCRIPTS_RUNNING_MAX, "44"));
        scripts.started(started[0].0, 77);
        assert_eq!(scripts.overdue(60_005, 60_000), None);
        assert_eq!(scripts.overdue(60_006, 60_000), Some((started[0].0, "44".into(), 77)));
        assert_eq!(scripts.ended(started[1].0, 0, 0, 9, 1), Ended::Done);
        assert_eq!(scripts.running(), SENTINEL_SCRIPTS_RUNNING_MAX - 1);
    }
}
