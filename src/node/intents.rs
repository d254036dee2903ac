//! Which keys of this core transactions over several cores have, and who waits for them.
//!
//! A transaction asks every core that owns keys of it for an *intent* on them, shared to read them or
//! exclusive to write. A core grants all that was asked of it at once, or none of it yet. Granted keys
//! are the transaction's until it releases them: what else needs them waits, first come first served,
//! and all other keys go on as if nothing were.
//!
//! **No deadlock**: a transaction has a number, the lower the older, and keeps it until it is done. Among
//! those who wait for a key, transactions stand in the order of their numbers. One that finds a key
//! with a younger one asks that one to *yield*: if it still waits for other cores it lets go of
//! everything and asks anew under its old number; if it does not wait any more it is about to release. So
//! nobody waits for ever for one who waits, and everybody is the oldest some day.
//!
//! Plain requests (of one core's keys) hold nothing while they wait, so they stand where they came.
//!
//! What happens next is asked for one at a time ([`Intents::advance`]): a plain request that may run must
//! have run before the transaction behind it is granted.
//!
//! Keys are known by their hash: two keys of one hash, or of one name in two databases, wait for each
//! other in vain, no more.
//!
//! Not here: values, messages, what a transaction does (`transactions.rs`).

use crate::base::map::HashMap;
use std::collections::VecDeque;

/// A transaction's number.
pub type Number = u64;

/// Transactions of clients are younger than those of the stream of our master, which never yield.
pub const OF_CLIENTS: Number = 1 << 63;

/// What marks the numbers of deliveries to another server that are no transactions: batches of slots that move, and
/// questions about them.
pub const BATCHES: Number = 1 << 62;
pub const QUESTIONS: Number = 1 << 61;

/// A key of this core, by its hash; of whatever database.
pub type At = u64;

/// What somebody wants a key for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    Shared,
    Exclusive,
}

/// What may happen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<P> {
    /// This plain request has waited for this key and may run; it is to run before anything else is asked
    /// for.
    Run(P, At),
    /// All that this transaction asked of this core is its own now.
    Grant(Number),
    /// An older transaction waits for this one.
    Yield(Number),
}

/// See the file's header; `P` names a plain request.
#[derive(Debug)]
pub struct Intents<P> {
    keys: HashMap<At, Queue<P>>,
    asked: HashMap<Number, Asked>,
    granted: usize,
    /// Keys at which something may have become possible.
    stirred: VecDeque<At>,
    yields: VecDeque<Number>,
    /// Nothing is granted and nobody runs: all cores are about to stand still.
    paused: bool,
}

#[derive(Debug)]
struct Queue<P> {
    held: Vec<(Number, Mode)>,
    waiting: VecDeque<(Waiter<P>, Mode)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiter<P> {
    Transaction(Number),
    Plain(P),
}

#[derive(Debug)]
struct Asked {
    keys: Vec<(At, Mode)>,
    granted: bool,
    /// Which of `keys` it was last found waiting for: many keys are not looked at again and again.
    waits_for: usize,
    told_to_yield: bool,
}

impl<P> Default for Intents<P> {
    fn default() -> Self {
        Self {
            keys: HashMap::default(),
            asked: HashMap::default(),
            granted: 0,
            stirred: VecDeque::new(),
            yields: VecDeque::new(),
            paused: false,
        }
    }
}

impl<P: Copy + PartialEq> Intents<P> {
    /// Nobody has or wants anything: one branch for every other request.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.keys.is_empty()
    }

    /// Does nobody hold anything?
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.granted == 0
    }

    /// Transaction `number` wants all of `keys`, each named once; `advance` tells when it has them.
    pub fn ask(&mut self, number: Number, keys: Vec<(At, Mode)>) {
        for &(at, mode) in &keys {
            let queue = self.keys.entry(at).or_default();
            let older = |waiter: &(Waiter<P>, Mode)| matches!(waiter.0, Waiter::Transaction(other) if other > number);
            // A plain request is not overtaken by one that came later.
            let plain = |waiter: &(Waiter<P>, Mode)| matches!(waiter.0, Waiter::Plain(_));
            let first = queue.waiting.iter().rposition(plain).map_or(0, |at| at + 1);
            let place = queue.waiting.iter().skip(first).position(older);
            let place = place.map_or(queue.waiting.len(), |at| first + at);
            let waits = |it: &(Number, Mode)| first > 0 || conflict(it.1, mode);
            let younger = queue.ahead(place).filter(|it| it.0 > number && waits(it));
            self.yields.extend(younger.map(|it| it.0).filter(|it| tell(&mut self.asked, *it)));
            queue.waiting.insert(place, (Waiter::Transaction(number), mode));
            self.stirred.push_back(at);
        }
        let asked = Asked { keys, granted: false, waits_for: 0, told_to_yield: false };
        let before = self.asked.insert(number, asked);
        assert!(before.is_none(), "transaction {number} asked twice");
    }

    /// Transaction `number` lets go of what it has or wants here.
    pub fn release(&mut self, number: Number) {
        let Some(asked) = self.asked.remove(&number) else { return };
        self.granted -= usize::from(asked.granted);
        for (at, _) in asked.keys {
            if let Some(queue) = self.keys.get_mut(&at) {
                queue.held.retain(|(holder, _)| *holder != number);
                queue.waiting.retain(|(waiter, _)| *waiter != Waiter::Transaction(number));
                self.stirred.push_back(at);
            }
        }
    }

    /// Must a plain request that wants this key wait? Not for those behind it, where it has waited for
    /// this very key and was `woken`; of its other keys it comes last.
    #[must_use]
    pub fn blocks(&self, at: At, mode: Mode, woken: Option<At>) -> bool {
        self.keys.get(&at).is_some_and(|queue| {
            queue.held.iter().any(|it| conflict(it.1, mode))
                || (woken != Some(at) && queue.waiting.iter().any(|it| conflict(it.1, mode)))
        })
    }

    /// Is the key somebody's, so that it cannot be had in this mode?
    #[must_use]
    pub fn is_held(&self, at: At, mode: Mode) -> bool {
        self.keys.get(&at).is_some_and(|queue| queue.held.iter().any(|it| conflict(it.1, mode)))
    }

    /// A key that nobody has is granted before all who wait for it. Where one of those is older it lets go
    /// again if it cannot go on by itself: that one may have what it will ask for next.
    pub fn seize(&mut self, number: Number, at: At) {
        let queue = self.keys.entry(at).or_default();
        assert!(queue.held.is_empty(), "what is seized is nobody's");
        let mut waiting = queue.waiting.iter();
        let yields = waiting.any(|it| matches!(it.0, Waiter::Transaction(other) if other < number));
        queue.held.push((number, Mode::Exclusive));
        // It keeps those from waiting in vain who are older.
        let keys = vec![(at, Mode::Exclusive)];
        let asked = Asked { keys, granted: true, waits_for: 0, told_to_yield: yields };
        self.yields.extend(yields.then_some(number));
        let before = self.asked.insert(number, asked);
        assert!(before.is_none(), "transaction {number} asked twice");
        self.granted += 1;
    }

    /// A plain request waits for a key that blocks it; once it is named by `advance` it waits no more. Where
    /// transactions may wait for it elsewhere (`urgent`), those of clients must not be waited for.
    pub fn wait(&mut self, plain: P, at: At, mode: Mode, urgent: bool) {
        let queue = self.keys.entry(at).or_default();
        if urgent {
            let younger = queue.ahead(queue.waiting.len()).filter(|it| it.0 > OF_CLIENTS);
            self.yields.extend(younger.map(|it| it.0).filter(|it| tell(&mut self.asked, *it)));
        }
        queue.waiting.push_back((Waiter::Plain(plain), mode));
        self.stirred.push_back(at);
    }

    /// Nothing is granted from here on, or everything again.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if !paused {
            self.stirred.extend(self.keys.keys().copied());
        }
    }

    /// What may happen now; until there is nothing, after every change.
    pub fn advance(&mut self) -> Option<Next<P>> {
        if let Some(number) = self.yields.pop_front() {
            return Some(Next::Yield(number));
        }
        if self.paused {
            return None;
        }
        while let Some(&at) = self.stirred.front() {
            let Some(queue) = self.keys.get_mut(&at) else {
                self.stirred.pop_front();
                continue;
            };
            let Some(&(waiter, mode)) = queue.waiting.front() else {
                if queue.held.is_empty() {
                    self.keys.remove(&at);
                }
                self.stirred.pop_front();
                continue;
            };
            match waiter {
                Waiter::Plain(plain) if !queue.held.iter().any(|it| conflict(it.1, mode)) => {
                    queue.waiting.pop_front();
                    return Some(Next::Run(plain, at));
                }
                Waiter::Transaction(number) if self.may_have_all(number) => {
                    self.grant(number);
                    return Some(Next::Grant(number));
                }
                Waiter::Plain(_) | Waiter::Transaction(_) => {
                    self.stirred.pop_front();
                }
            }
        }
        None
    }

    fn may_have_all(&mut self, number: Number) -> bool {
        let Some(asked) = self.asked.get_mut(&number) else { return false };
        let waits = |(at, mode): &(At, Mode)| {
            self.keys.get(at).is_none_or(|queue| {
                let front = queue.waiting.front().map(|it| it.0);
                front != Some(Waiter::Transaction(number))
                    || queue.held.iter().any(|it| conflict(it.1, *mode))
            })
        };
        if asked.keys.get(asked.waits_for).is_some_and(waits) {
            return false;
        }
        let first = asked.keys.iter().position(waits);
        asked.waits_for = first.unwrap_or(0);
        first.is_none()
    }

    fn grant(&mut self, number: Number) {
        let Some(asked) = self.asked.get_mut(&number) else { return };
        asked.granted = true;
        self.granted += 1;
        for &(at, mode) in &asked.keys {
            if let Some(queue) = self.keys.get_mut(&at) {
                queue.waiting.pop_front();
                queue.held.push((number, mode));
                // Who comes next may only read, too.
                self.stirred.push_back(at);
            }
        }
    }
}

impl<P: Copy> Queue<P> {
    /// The transactions that have the key, or stand before place `place`.
    fn ahead(&self, place: usize) -> impl Iterator<Item = (Number, Mode)> {
        let waiting = self.waiting.iter().take(place).filter_map(|(waiter, mode)| match waiter {
            Waiter::Transaction(number) => Some((*number, *mode)),
            Waiter::Plain(_) => None,
        });
        self.held.iter().copied().chain(waiting)
    }
}

/// Is this the first time that it is told to yield?
fn tell(asked: &mut HashMap<Number, Asked>, number: Number) -> bool {
    asked.get_mut(&number).is_some_and(|it| !std::mem::replace(&mut it.told_to_yield, true))
}

impl<P> Default for Queue<P> {
    fn default() -> Self {
        Self { held: Vec::new(), waiting: VecDeque::new() }
    }
}

fn conflict(one: Mode, other: Mode) -> bool {
    one == Mode::Exclusive || other == Mode::Exclusive
}

#[cfg(test)]
#[expect(
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test prints its seed, and draws small numbers"
)]
mod tests {
    use super::Mode::{Exclusive, Shared};
    use super::*;
    use crate::base::prng::Prng;

    fn keys(names: &[(u64, Mode)]) -> Vec<(At, Mode)> {
        names.to_vec()
    }

    fn all(intents: &mut Intents<char>) -> Vec<Next<char>> {
        std::iter::from_fn(|| intents.advance()).collect()
    }

    #[test]
    fn who_seizes_a_key_that_an_older_one_waits_for_yields() {
        let mut intents: Intents<char> = Intents::default();
        intents.ask(2, keys(&[(1, Exclusive)]));
        assert_eq!(all(&mut intents), [Next::Grant(2)]);
        intents.ask(3, keys(&[(1, Exclusive), (2, Exclusive)]));
        intents.seize(9, 2);
        assert_eq!(all(&mut intents), [Next::Yield(9)]);
        intents.release(9);
        intents.release(2);
        assert_eq!(all(&mut intents), [Next::Grant(3)]);
        intents.seize(4, 5);
        assert_eq!(all(&mut intents), []);
        intents.ask(8, keys(&[(6, Exclusive)]));
        intents.seize(7, 7);
        assert_eq!(all(&mut intents), [Next::Grant(8)]);
    }

    #[test]
    fn keys_are_granted_together_and_readers_share() {
        let mut intents: Intents<char> = Intents::default();
        intents.ask(2, keys(&[(1, Shared), (2, Exclusive)]));
        assert_eq!(all(&mut intents), [Next::Grant(2)]);
        intents.ask(3, keys(&[(1, Shared)]));
        intents.ask(4, keys(&[(2, Shared), (3, Exclusive)]));
        assert_eq!(all(&mut intents), [Next::Grant(3)]);
        assert!(!intents.blocks(1, Shared, None) && intents.blocks(1, Exclusive, None));
        // 4 does not hold 3 before it has 2, but who comes later is behind it.
        assert!(intents.blocks(3, Exclusive, None) && !intents.blocks(3, Shared, Some(3)));
        intents.release(2);
        assert_eq!(all(&mut intents), [Next::Grant(4)]);
        intents.release(3);
        intents.release(4);
        assert_eq!(all(&mut intents), []);
        assert!(intents.is_idle() && intents.is_free());
    }

    #[test]
    fn the_older_is_first_and_the_younger_is_told_to_yield() {
        let mut intents: Intents<char> = Intents::default();
        intents.ask(5, keys(&[(1, Exclusive)]));
        assert_eq!(all(&mut intents), [Next::Grant(5)]);
        intents.ask(9, keys(&[(1, Exclusive)]));
        intents.ask(3, keys(&[(1, Exclusive)]));
        intents.ask(4, keys(&[(1, Shared)]));
        assert_eq!(all(&mut intents), [Next::Yield(5)]);
        intents.release(5);
        assert_eq!(all(&mut intents), [Next::Grant(3)]);
        intents.ask(5, keys(&[(1, Exclusive)]));
        intents.release(3);
        assert_eq!(all(&mut intents), [Next::Grant(4)]);
        intents.wait('a', 1, Shared, false);
        // Nobody overtakes a plain request, so who is before that and younger must let go.
        intents.ask(8, keys(&[(1, Exclusive)]));
        assert_eq!(all(&mut intents), [Next::Yield(9)]);
        for number in [9, 4, 5] {
            intents.release(number);
        }
        assert_eq!(all(&mut intents), [Next::Run('a', 1), Next::Grant(8)]);
        intents.release(8);
        assert_eq!(all(&mut intents), []);
        assert!(intents.is_idle());
    }

    #[test]
    fn who_waits_runs_in_the_order_of_arrival() {
        let mut intents: Intents<char> = Intents::default();
        intents.ask(1, keys(&[(1, Exclusive)]));
        assert_eq!(all(&mut intents), [Next::Grant(1)]);
        intents.wait('a', 1, Exclusive, false);
        intents.wait('b', 1, Shared, false);
        intents.ask(2, keys(&[(1, Shared)]));
        intents.wait('c', 1, Exclusive, false);
        intents.release(1);
        intents.pause(true);
        assert_eq!(all(&mut intents), []);
        intents.pause(false);
        assert_eq!(all(&mut intents), [Next::Run('a', 1), Next::Run('b', 1), Next::Grant(2)]);
        intents.release(2);
        assert_eq!(all(&mut intents), [Next::Run('c', 1)]);
        assert!(intents.is_idle());
    }

    /// A request of two keys that waited for one of them does not overtake who waits for the other.
    #[test]
    fn who_has_waited_for_one_key_comes_last_at_the_others() {
        let mut intents: Intents<char> = Intents::default();
        intents.ask(1, keys(&[(5, Exclusive)]));
        intents.ask(2, keys(&[(6, Exclusive)]));
        intents.ask(3, keys(&[(6, Exclusive)]));
        assert_eq!(all(&mut intents), [Next::Grant(1), Next::Grant(2)]);
        intents.wait('a', 5, Exclusive, false);
        intents.release(2);
        intents.pause(true);
        intents.release(1);
        intents.pause(false);
        let mut next: Vec<_> = std::iter::from_fn(|| intents.advance()).collect();
        next.sort_unstable_by_key(|it| matches!(it, Next::Run(..)));
        assert_eq!(next, [Next::Grant(3), Next::Run('a', 5)]);
        intents.ask(4, keys(&[(6, Exclusive)]));
        intents.release(3);
        assert!(intents.blocks(6, Exclusive, Some(5)) && !intents.blocks(6, Exclusive, Some(6)));
        assert!(!intents.blocks(5, Exclusive, Some(5)));
    }

    /// Several cores, transactions that ask for keys on all of them in any order of arrival: all are
    /// granted some day, no two that conflict at a time.
    #[test]
    fn nobody_waits_for_ever() {
        for seed in 1..=60 {
            println!("seed {seed}");
            let mut prng = Prng::new(seed);
            let cores = 3;
            let mut tables: Vec<Intents<char>> = (0..cores).map(|_| Intents::default()).collect();
            let mut wants: HashMap<Number, Vec<Vec<(At, Mode)>>> = HashMap::default();
            // Asks and releases on their way, in order for each transaction and core.
            let mut roads: HashMap<(Number, usize), VecDeque<bool>> = HashMap::default();
            let mut grants: HashMap<Number, Vec<bool>> = HashMap::default();
            let (mut begun, mut done) = (0, 0);
            while done < 300 {
                if begun < 300 && wants.len() < 12 {
                    begun += 1;
                    let want = (0..cores).map(|_| {
                        let mut keys: Vec<(At, Mode)> = (0..1 + prng.below(2))
                            .map(|_| (prng.below(3), [Shared, Exclusive][prng.below(2) as usize]))
                            .collect();
                        keys.sort_unstable();
                        keys.dedup_by_key(|it| it.0);
                        keys
                    });
                    wants.insert(begun, want.collect());
                    grants.insert(begun, vec![false; cores]);
                    for core in 0..cores {
                        roads.entry((begun, core)).or_default().push_back(true);
                    }
                }
                let mut on_road: Vec<_> = roads.iter().filter(|it| !it.1.is_empty()).collect();
                on_road.sort_unstable_by_key(|it| *it.0);
                if on_road.is_empty() {
                    assert!(done == begun, "seed {seed}: all wait for each other");
                    continue;
                }
                let (&(number, core), _) = on_road[prng.below(on_road.len() as u64) as usize];
                let asks = roads.get_mut(&(number, core)).unwrap().pop_front().unwrap();
                match asks {
                    true => tables[core].ask(number, wants[&number][core].clone()),
                    false => tables[core].release(number),
                }
                while let Some(next) = tables[core].advance() {
                    match next {
                        Next::Run(..) => unreachable!(),
                        Next::Grant(number) => {
                            let Some(has) = grants.get_mut(&number) else { continue };
                            // A grant of what was released meanwhile is stale.
                            if roads[&(number, core)].is_empty() {
                                has[core] = true;
                            }
                            if has.iter().all(|it| *it) {
                                done += 1;
                                wants.remove(&number);
                                grants.remove(&number);
                                for core in 0..cores {
                                    roads.get_mut(&(number, core)).unwrap().push_back(false);
                                }
                            }
                        }
                        Next::Yield(number) => {
                            let Some(has) = grants.get_mut(&number) else { continue };
                            has.iter_mut().for_each(|it| *it = false);
                            for core in 0..cores {
                                roads.get_mut(&(number, core)).unwrap().extend([false, true]);
                            }
                        }
                    }
                }
            }
            assert!(done == 300);
        }
    }
}
