//! Is a history strictly serialisable? What clients saw, and when, against every order there could be.
//!
//! A transaction appends tokens to keys and reads whole keys. Each token is written once, so a read says
//! which transactions it follows and in which order those came (as in Kingsbury and Alvaro's Elle). That
//! makes a graph:
//!
//! ```text
//!   ww   who wrote a token      -> who wrote the next one of that key
//!   wr   who wrote the last one -> who read it
//!   rw   who read it            -> who wrote the next one
//!   rt   who was answered       -> who was sent after that
//! ```
//!
//! An order of all transactions that explains everything exists only if the graph has no cycle.

use std::collections::{BTreeMap, BTreeSet};

type Token = u64;

/// One transaction, as its client saw it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub sent: u64,
    pub answered: u64,
    /// What it was, for whoever reads of a violation.
    pub text: String,
    pub appends: Vec<(usize, Token)>,
    pub reads: Vec<(usize, Vec<Token>)>,
}

/// A violation, if there is one. The last transactions must have read every key.
pub fn check(history: &[Seen]) -> Result<(), String> {
    let orders = orders(history)?;
    let mut writer: BTreeMap<(usize, Token), usize> = BTreeMap::new();
    for (at, it) in history.iter().enumerate() {
        for append in &it.appends {
            if writer.insert(*append, at).is_some() {
                return Err(format!("the test itself wrote {append:?} twice"));
            }
        }
    }
    let mut graph = Graph::new(history);
    for (key, order) in &orders {
        let mut places = BTreeMap::new();
        let mut last = None;
        for (place, token) in order.iter().enumerate() {
            let Some(&by) = writer.get(&(*key, *token)) else {
                return Err(format!("key {key} holds {token}, which nobody wrote"));
            };
            if places.insert(*token, place).is_some() {
                return Err(format!("key {key} holds {token} twice: {order:?}"));
            }
            graph.edge(last, Some(by));
            last = Some(by);
        }
        let by = |place: usize| order.get(place).and_then(|token| writer.get(&(*key, *token)));
        for (at, it) in history.iter().enumerate() {
            for (_, tokens) in it.reads.iter().filter(|it| it.0 == *key) {
                let seen = tokens.len();
                graph.edge(seen.checked_sub(1).and_then(by).copied(), Some(at));
                graph.edge(Some(at), by(seen).copied());
            }
        }
    }
    let held: BTreeSet<(usize, Token)> =
        orders.iter().flat_map(|(key, order)| order.iter().map(|it| (*key, *it))).collect();
    if let Some((lost, by)) = writer.iter().find(|(it, _)| !held.contains(it)) {
        return Err(format!("{lost:?} is lost, which was acknowledged: {}", history[*by].text));
    }
    graph.find_cycle(history)
}

/// The one order of each key's tokens of which all reads are beginnings.
fn orders(history: &[Seen]) -> Result<BTreeMap<usize, Vec<Token>>, String> {
    let mut orders: BTreeMap<usize, Vec<Token>> = BTreeMap::new();
    for it in history {
        for (key, tokens) in &it.reads {
            let order = orders.entry(*key).or_default();
            let common = order.len().min(tokens.len());
            if order[..common] != tokens[..common] {
                return Err(format!("key {key} was {order:?}, and {tokens:?} in {}", it.text));
            }
            if tokens.len() > order.len() {
                order.clone_from(tokens);
            }
        }
    }
    Ok(orders)
}

/// Transactions, and behind them the moments at which they were answered.
struct Graph {
    next: Vec<BTreeSet<usize>>,
}

impl Graph {
    fn new(history: &[Seen]) -> Self {
        let count = history.len();
        let mut graph = Self { next: vec![BTreeSet::new(); 2 * count] };
        let mut by_answer: Vec<usize> = (0..count).collect();
        by_answer.sort_by_key(|at| history[*at].answered);
        for (place, at) in by_answer.iter().enumerate() {
            graph.next[*at].insert(count + place);
            if place > 0 {
                graph.next[count + place - 1].insert(count + place);
            }
        }
        for (at, it) in history.iter().enumerate() {
            let before = by_answer.partition_point(|other| history[*other].answered < it.sent);
            if before > 0 {
                graph.next[count + before - 1].insert(at);
            }
        }
        graph
    }

    fn edge(&mut self, from: Option<usize>, to: Option<usize>) {
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            self.next[from].insert(to);
        }
    }

    /// Takes away whoever nobody precedes, until all are gone or a cycle is left.
    fn find_cycle(&self, history: &[Seen]) -> Result<(), String> {
        let mut before = vec![0; self.next.len()];
        self.next.iter().flatten().for_each(|to| before[*to] += 1);
        let mut free: Vec<usize> = (0..before.len()).filter(|at| before[*at] == 0).collect();
        let mut taken = 0;
        while let Some(at) = free.pop() {
            taken += 1;
            for to in &self.next[at] {
                before[*to] -= 1;
                if before[*to] == 0 {
                    free.push(*to);
                }
            }
        }
        if taken == before.len() {
            return Ok(());
        }
        // What is left leads into a cycle: walk until a transaction comes again.
        let left = |at: &usize| before[*at] > 0;
        let mut previous: Vec<Vec<usize>> = vec![Vec::new(); before.len()];
        for from in (0..before.len()).filter(left) {
            self.next[from].iter().for_each(|to| previous[*to].push(from));
        }
        let mut walk: Vec<usize> = Vec::new();
        let mut at = (0..before.len()).find(left).unwrap_or_default();
        while !walk.contains(&at) {
            walk.push(at);
            at = previous[at].first().copied().unwrap_or_default();
        }
        let start = walk.iter().position(|it| *it == at).unwrap_or_default();
        let cycle: Vec<String> = walk[start..]
            .iter()
            .rev()
            .filter_map(|at| history.get(*at))
            .map(|it| format!("  {}..{} {} {:?}", it.sent, it.answered, it.text, it.reads))
            .collect();
        Err(format!("no order explains these:\n{}", cycle.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(at: (u64, u64), appends: &[(usize, Token)], reads: &[(usize, &[Token])]) -> Seen {
        let reads = reads.iter().map(|(key, tokens)| (*key, tokens.to_vec())).collect();
        Seen { sent: at.0, answered: at.1, text: String::new(), appends: appends.to_vec(), reads }
    }

    #[test]
    fn an_order_that_explains_all_is_found_and_a_cycle_too() {
        let end = seen((90, 91), &[], &[(0, &[1, 2]), (1, &[3, 4])]);
        let one = |at, appends: &[(usize, Token)]| seen(at, appends, &[]);
        let fine = [one((1, 9), &[(0, 1), (1, 3)]), one((1, 9), &[(0, 2), (1, 4)]), end.clone()];
        assert_eq!(check(&fine), Ok(()));
        // One was first at one key, the other at the other.
        let torn = [one((1, 9), &[(0, 1), (1, 4)]), one((1, 9), &[(0, 2), (1, 3)]), end.clone()];
        assert!(check(&torn).is_err());
        // The second was answered before the first was sent.
        let late = [one((5, 9), &[(0, 1), (1, 3)]), one((1, 2), &[(0, 2), (1, 4)]), end.clone()];
        assert!(check(&late).is_err());
        // A read that sees half of one.
        let half = seen((1, 9), &[], &[(0, &[1]), (1, &[])]);
        let [a, b, end] = fine;
        assert!(check(&[a.clone(), b.clone(), half, end]).is_err());
        let lost = [a, b, seen((90, 91), &[], &[(0, &[1, 2]), (1, &[3])])];
        assert!(check(&lost).is_err());
    }

    /// Two that read what the other is about to write.
    #[test]
    fn write_skew_is_found() {
        let history = [
            seen((1, 9), &[(0, 1)], &[(1, &[])]),
            seen((1, 9), &[(1, 2)], &[(0, &[])]),
            seen((10, 11), &[], &[(0, &[1]), (1, &[2])]),
        ];
        assert!(check(&history).unwrap_err().contains("no order"));
    }
}
