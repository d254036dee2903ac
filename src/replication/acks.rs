//! WAIT: clients that want their writes acknowledged by so many replicas.
//!
//! A waiter is answered with the number of replicas that have its offset, as soon as that is
//! enough, or when its time is over. Replicas acknowledge once a second; so whoever waits makes
//! us ask them, once per turn however many began to wait in it.
//!
//! Invariant: no waiter stays whose wish is met after `Acked`, or whose deadline is past after
//! `Tick`: every waiter is answered exactly once, but for one that is `Gone`.
//!
//! Not here: who has acknowledged what (`master.rs`; it is lent as `acked`), and the refusal of
//! WAIT on a replica.

use crate::base::time::Mono;

/// All that can happen.
#[derive(Debug, Clone, Copy)]
pub enum Input {
    /// `waiter` wants `replicas` to have `offset`; `deadline` is `None` for `WAIT n 0`.
    Wait { waiter: u64, replicas: usize, offset: u64, deadline: Option<Mono> },
    /// Replicas acknowledged something.
    Acked,
    /// The turn is over: its replies are about to leave.
    TurnEnded,
    /// A client that waited is gone.
    Gone { waiter: u64 },
    /// This node is no master any more: answer everybody with what there is.
    Demoted,
    /// As often as deadlines should be exact.
    Tick,
}

/// All that this machine wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Answer {
        waiter: u64,
        replicas: usize,
    },
    /// `REPLCONF GETACK *` into the stream.
    GetAck,
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    waiter: u64,
    replicas: usize,
    offset: u64,
    deadline: Option<Mono>,
}

/// Everybody who waits.
#[derive(Debug, Default)]
pub struct Waiters {
    waiters: Vec<Waiter>,
    /// Somebody began to wait in this turn.
    ask: bool,
}

impl Waiters {
    /// The only way in. `acked(offset)` is how many replicas have that.
    pub fn handle(
        &mut self,
        now: Mono,
        acked: impl Fn(u64) -> usize,
        input: Input,
        out: &mut Vec<Output>,
    ) {
        match input {
            Input::Wait { waiter, replicas, offset, deadline } => {
                let have = acked(offset);
                if have >= replicas {
                    return out.push(Output::Answer { waiter, replicas: have });
                }
                self.waiters.push(Waiter { waiter, replicas, offset, deadline });
                self.ask = true;
            }
            Input::Acked => self.answer(acked, |it, have| have >= it.replicas, out),
            Input::TurnEnded => {
                if std::mem::take(&mut self.ask) {
                    out.push(Output::GetAck);
                }
            }
            Input::Gone { waiter } => self.waiters.retain(|it| it.waiter != waiter),
            Input::Demoted => self.answer(acked, |_, _| true, out),
            Input::Tick => {
                self.answer(acked, |it, _| it.deadline.is_some_and(|at| at <= now), out);
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
        acked: impl Fn(u64) -> usize,
        ready: impl Fn(&Waiter, usize) -> bool,
        out: &mut Vec<Output>,
    ) {
        self.waiters.retain(|it| {
            let have = acked(it.offset);
            let done = ready(it, have);
            if done {
                out.push(Output::Answer { waiter: it.waiter, replicas: have });
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
        now: Mono,
    }

    impl Bed {
        fn give(&mut self, input: Input) -> Vec<Output> {
            let mut out = Vec::new();
            let acked = |offset| self.acks.iter().filter(|&&ack| ack >= offset).count();
            self.waiters.handle(self.now, acked, input, &mut out);
            out
        }

        fn wait(&mut self, waiter: u64, replicas: usize, offset: u64, ms: u64) -> Vec<Output> {
            let deadline = (ms > 0).then(|| self.now.plus_ms(ms));
            self.give(Input::Wait { waiter, replicas, offset, deadline })
        }
    }

    fn bed(acks: &[u64]) -> Bed {
        Bed { waiters: Waiters::default(), acks: acks.to_vec(), now: Mono(0) }
    }

    #[test]
    fn a_wish_already_met_is_answered_at_once_and_asks_nobody() {
        let mut bed = bed(&[10, 20]);
        assert_eq!(bed.wait(1, 1, 10, 0), [Output::Answer { waiter: 1, replicas: 2 }]);
        assert_eq!(bed.wait(2, 0, 30, 0), [Output::Answer { waiter: 2, replicas: 0 }]);
        assert_eq!(bed.give(Input::TurnEnded), []);
    }

    #[test]
    fn acks_answer_in_order_and_one_question_serves_all() {
        let mut bed = bed(&[10, 20]);
        for (waiter, replicas, offset) in [(1, 2, 20), (2, 1, 30), (3, 2, 15)] {
            assert_eq!(bed.wait(waiter, replicas, offset, 0), []);
        }
        assert_eq!(bed.give(Input::TurnEnded), [Output::GetAck]);
        assert_eq!(bed.give(Input::TurnEnded), []);
        assert_eq!(bed.give(Input::Acked), []);
        bed.acks = vec![19, 29];
        assert_eq!(bed.give(Input::Acked), [Output::Answer { waiter: 3, replicas: 2 }]);
        bed.acks = vec![20, 30];
        let both = [(1, 2), (2, 1)].map(|(waiter, replicas)| Output::Answer { waiter, replicas });
        assert_eq!(bed.give(Input::Acked), both);
        assert_eq!(bed.give(Input::Acked), [], "once each");
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
        assert_eq!(bed.give(Input::Tick), [Output::Answer { waiter: 3, replicas: 1 }]);
        bed.now = Mono(0).plus_ms(99);
        assert_eq!(bed.give(Input::Tick), []);
        let all = [1, 2].map(|waiter| Output::Answer { waiter, replicas: 1 });
        assert_eq!(bed.give(Input::Demoted), all);
        assert_eq!(bed.waiters.next_deadline(), None);
    }
}
