//! WAIT and WAITAOF: clients that want their writes acknowledged by so many replicas, or synced to so many files.
//!
//! A waiter is answered with the number of replicas that have its offset, as soon as that is
//! enough, or when its time is over. Replicas acknowledge once a second; so whoever waits makes
//! us ask them, once per turn however many began to wait in it. WAITAOF counts replicas whose append-only file
//! has the offset synced, and whether our own has.
//!
//! Invariant: no waiter stays whose wish is met after `Acked`, or whose deadline is past after
//! `Tick`: every waiter is answered exactly once, but for one that is `Gone`.
//!
//! Not here: who has acknowledged what (`master.rs`; it is lent as `counts`), and the refusal of
//! WAIT on a replica.

use crate::base::time::Mono;

/// All that can happen.
#[derive(Debug, Clone, Copy)]
pub enum Input {
    /// `waiter` wishes something for `offset`; `deadline` is `None` for `WAIT n 0`.
    Wait { waiter: u64, wish: Wish, offset: u64, deadline: Option<Mono> },
    /// Replicas acknowledged something, or our own file was synced.
    Acked,
    /// There is no append-only file any more: who waits for it waits in vain.
    NoFile,
    /// The turn is over: its replies are about to leave.
    TurnEnded,
    /// A client that waited is gone.
    Gone { waiter: u64 },
    /// This node is no master any more: answer everybody with what there is.
    Demoted,
    /// As often as deadlines should be exact.
    Tick,
}

/// What a waiter wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// `WAIT`: so many replicas that have executed it.
    Replicas(usize),
    /// `WAITAOF`: so many whose file has it, and our own file if `local`.
    Files { local: bool, replicas: usize },
}

/// Who has an offset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub replicas: usize,
    /// Replicas that have it in their synced file.
    pub files: usize,
    /// Our own file has it, synced.
    pub local: bool,
}

/// All that this machine wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Answer {
        waiter: u64,
        wish: Wish,
        counts: Counts,
    },
    /// What it waits for will not come.
    Refuse {
        waiter: u64,
    },
    /// `REPLCONF GETACK *` into the stream.
    GetAck,
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    waiter: u64,
    wish: Wish,
    offset: u64,
    deadline: Option<Mono>,
}

impl Wish {
    /// The same, for who may not wait.
    #[must_use]
    pub fn at_once(self) -> Self {
        match self {
            Self::Replicas(_) => Self::Replicas(0),
            Self::Files { .. } => Self::Files { local: false, replicas: 0 },
        }
    }

    fn is_met(self, counts: Counts) -> bool {
        match self {
            Self::Replicas(wanted) => counts.replicas >= wanted,
            Self::Files { local, replicas } => counts.files >= replicas && (counts.local || !local),
        }
    }
}

/// Everybody who waits.
#[derive(Debug, Default)]
pub struct Waiters {
    waiters: Vec<Waiter>,
    /// Somebody began to wait in this turn.
    ask: bool,
}

impl Waiters {
    /// The only way in. `counts(offset)` is who has that.
    pub fn handle(
        &mut self,
        now: Mono,
        counts: impl Fn(u64) -> Counts,
        input: Input,
        out: &mut Vec<Output>,
    ) {
        match input {
            Input::Wait { waiter, wish, offset, deadline } => {
                let counts = counts(offset);
                if wish.is_met(counts) {
                    return out.push(Output::Answer { waiter, wish, counts });
                }
                self.waiters.push(Waiter { waiter, wish, offset, deadline });
                self.ask = true;
            }
            Input::Acked => self.answer(counts, |it, counts| it.wish.is_met(counts), out),
            Input::NoFile => self.waiters.retain(|it| {
                let vain = matches!(it.wish, Wish::Files { local: true, .. });
                if vain {
                    out.push(Output::Refuse { waiter: it.waiter });
                }
                !vain
            }),
            Input::TurnEnded => {
                if std::mem::take(&mut self.ask) {
                    out.push(Output::GetAck);
                }
            }
            Input::Gone { waiter } => self.waiters.retain(|it| it.waiter != waiter),
            Input::Demoted => self.answer(counts, |_, _| true, out),
            Input::Tick => {
                self.answer(counts, |it, _| it.deadline.is_some_and(|at| at <= now), out);
            }
        }
    }

    /// When the next waiter's time is over.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Mono> {
        self.waiters.iter().filter_map(|it| it.deadline).min()
    }

    /// Answers, in the order in which they came, those that are `ready`.
    fn answer(
        &mut self,
        counts: impl Fn(u64) -> Counts,
        ready: impl Fn(&Waiter, Counts) -> bool,
        out: &mut Vec<Output>,
    ) {
        self.waiters.retain(|it| {
            let counts = counts(it.offset);
            let done = ready(it, counts);
            if done {
                out.push(Output::Answer { waiter: it.waiter, wish: it.wish, counts });
            }
            !done
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bed {
        waiters: Waiters,
        acks: Vec<u64>,
        files: Vec<u64>,
        local: u64,
        now: Mono,
    }

    impl Bed {
        fn give(&mut self, input: Input) -> Vec<Output> {
            let mut out = Vec::new();
            let at_least = |all: &[u64], offset| all.iter().filter(|&&it| it >= offset).count();
            let counts = |offset| Counts {
                replicas: at_least(&self.acks, offset),
                files: at_least(&self.files, offset),
                local: self.local >= offset,
            };
            self.waiters.handle(self.now, counts, input, &mut out);
            out
        }

        fn wait(&mut self, waiter: u64, replicas: usize, offset: u64, ms: u64) -> Vec<Plain> {
            plain(self.wish(waiter, Wish::Replicas(replicas), offset, ms))
        }

        fn wish(&mut self, waiter: u64, wish: Wish, offset: u64, ms: u64) -> Vec<Output> {
            let deadline = (ms > 0).then(|| self.now.plus_ms(ms));
            self.give(Input::Wait { waiter, wish, offset, deadline })
        }

        fn told(&mut self, input: Input) -> Vec<Plain> {
            plain(self.give(input))
        }
    }

    fn bed(acks: &[u64]) -> Bed {
        let (waiters, acks) = (Waiters::default(), acks.to_vec());
        Bed { waiters, acks, files: Vec::new(), local: 0, now: Mono(0) }
    }

    /// Who was answered, with how many replicas; or that replicas are asked.
    #[derive(Debug, PartialEq, Eq)]
    enum Plain {
        Answer { waiter: u64, replicas: usize },
        GetAck,
    }

    fn plain(outputs: Vec<Output>) -> Vec<Plain> {
        let outputs = outputs.into_iter().map(|it| match it {
            Output::Answer { waiter, counts, .. } => {
                Plain::Answer { waiter, replicas: counts.replicas }
            }
            Output::GetAck => Plain::GetAck,
            Output::Refuse { .. } => panic!("nobody waits for a file"),
        });
        outputs.collect()
    }

    #[test]
    fn files_are_waited_for_apart_from_replicas() {
        let mut bed = bed(&[50, 50]);
        let both = Wish::Files { local: true, replicas: 1 };
        let remote = Wish::Files { local: false, replicas: 2 };
        assert_eq!(bed.wish(1, both, 20, 0), []);
        assert_eq!(bed.wish(2, remote, 20, 100), []);
        assert_eq!(bed.wish(3, Wish::Files { local: true, replicas: 0 }, 20, 0), []);
        bed.files = vec![20, 19];
        assert_eq!(bed.give(Input::Acked), []);
        bed.local = 20;
        let counts = Counts { replicas: 2, files: 1, local: true };
        let three = Wish::Files { local: true, replicas: 0 };
        assert_eq!(
            bed.give(Input::Acked),
            [
                Output::Answer { waiter: 1, wish: both, counts },
                Output::Answer { waiter: 3, wish: three, counts }
            ]
        );
        bed.now = Mono(0).plus_ms(100);
        assert_eq!(bed.give(Input::Tick), [Output::Answer { waiter: 2, wish: remote, counts }]);
        assert_eq!(bed.wish(4, both, 30, 0), []);
        assert_eq!(bed.wish(5, remote, 30, 0), []);
        assert_eq!(bed.give(Input::NoFile), [Output::Refuse { waiter: 4 }]);
    }

    #[test]
    fn a_wish_already_met_is_answered_at_once_and_asks_nobody() {
        let mut bed = bed(&[10, 20]);
        assert_eq!(bed.wait(1, 1, 10, 0), [Plain::Answer { waiter: 1, replicas: 2 }]);
        assert_eq!(bed.wait(2, 0, 30, 0), [Plain::Answer { waiter: 2, replicas: 0 }]);
        assert_eq!(bed.told(Input::TurnEnded), []);
    }

    #[test]
    fn acks_answer_in_order_and_one_question_serves_all() {
        let mut bed = bed(&[10, 20]);
        for (waiter, replicas, offset) in [(1, 2, 20), (2, 1, 30), (3, 2, 15)] {
            assert_eq!(bed.wait(waiter, replicas, offset, 0), []);
        }
        assert_eq!(bed.told(Input::TurnEnded), [Plain::GetAck]);
        assert_eq!(bed.told(Input::TurnEnded), []);
        assert_eq!(bed.told(Input::Acked), []);
        bed.acks = vec![19, 29];
        assert_eq!(bed.told(Input::Acked), [Plain::Answer { waiter: 3, replicas: 2 }]);
        bed.acks = vec![20, 30];
        let both = [(1, 2), (2, 1)].map(|(waiter, replicas)| Plain::Answer { waiter, replicas });
        assert_eq!(bed.told(Input::Acked), both);
        assert_eq!(bed.told(Input::Acked), [], "once each");
    }

    #[test]
    fn time_departure_and_demotion_end_a_wait() {
        let mut bed = bed(&[20]);
        bed.wait(1, 2, 20, 100);
        bed.wait(2, 2, 20, 0);
        bed.wait(3, 2, 20, 50);
        bed.wait(4, 2, 30, 50);
        assert_eq!(bed.waiters.next_deadline(), Some(Mono(0).plus_ms(50)));
        bed.give(Input::Gone { waiter: 4 });
        bed.now = Mono(0).plus_ms(50);
        assert_eq!(bed.told(Input::Tick), [Plain::Answer { waiter: 3, replicas: 1 }]);
        bed.now = Mono(0).plus_ms(99);
        assert_eq!(bed.told(Input::Tick), []);
        let all = [1, 2].map(|waiter| Plain::Answer { waiter, replicas: 1 });
        assert_eq!(bed.told(Input::Demoted), all);
        assert_eq!(bed.waiters.next_deadline(), None);
    }
}
