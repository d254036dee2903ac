//! Draws requests: which command, which key, what value, from the plan's seed alone.
//!
//! Any request of any connection can be drawn at any time and comes out the same: the drivers draw
//! them to send them, `--print-plan` to show them, and verification to know what a write wrote.

use crate::draw::Draw;
use crate::keys::Keys;
use crate::places::Service;
use crate::plan::Plan;
use crate::template::{Encoder, Filling, Template};

/// The requests of one group.
#[derive(Clone, Debug)]
pub struct Source {
    keys: Keys,
    shares: Vec<Share>,
    total: u64,
    connections: u64,
    /// Every connection has keys of its own; with a ledger values are stamped too.
    own_keys: bool,
    ledger: bool,
}

#[derive(Clone, Debug)]
struct Share {
    /// Draws below this, and not below the share before, choose this command.
    below: u64,
    kind: u16,
    is_set: bool,
    expected: Expected,
    encoder: Encoder,
}

/// What was drawn, beside the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drawn {
    pub kind: u16,
    pub key: u64,
    /// Unique over the run.
    pub number: u64,
    /// A write that the ledger keeps.
    pub write: bool,
    pub expected: Expected,
}

/// What the reply must be, if it is no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Ok,
    /// A bulk string or null.
    Bulk,
    Any,
}

impl Source {
    /// One per group, in the plan's order.
    pub fn all(plan: &Plan) -> Result<Vec<Self>, String> {
        let mut kind = 0u16;
        let connections = plan.connections();
        plan.groups
            .iter()
            .map(|group| {
                let mut shares = Vec::new();
                let mut below = 0;
                for share in &group.mix {
                    below += u64::from(share.weight);
                    let template = Template::parse(&share.command)?;
                    let (is_set, is_get) = (template.is_plain_set(), template.is_plain_get());
                    let expected = match (is_set, is_get) {
                        (true, _) => Expected::Ok,
                        (_, true) => Expected::Bulk,
                        _ => Expected::Any,
                    };
                    let tagged = plan.target.service == Service::Cluster;
                    let encoder = Encoder::new(template, group.value_bytes, tagged);
                    shares.push(Share { below, kind, is_set, expected, encoder });
                    kind = kind.checked_add(1).ok_or("too many commands")?;
                }
                let own_keys = plan.has_own_keys();
                let count = if own_keys { group.keys / connections.max(1) } else { group.keys };
                Ok(Self {
                    keys: Keys::new(group.distribution, count),
                    shares,
                    total: below,
                    connections,
                    own_keys,
                    ledger: plan.verify,
                })
            })
            .collect()
    }

    /// Appends request `request` of `connection`, whose stream is `stream`, to leave at `now`.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        stream: u64,
        connection: u64,
        request: u64,
        now: u64,
    ) -> Drawn {
        let mut draw = Draw::new(stream, request);
        let share = match self.shares.as_slice() {
            [only] => only,
            shares => {
                let chosen = draw.below(self.total);
                let last = shares.len() - 1;
                &shares[shares.iter().position(|it| chosen < it.below).unwrap_or(last)]
            }
        };
        let number = request * self.connections + connection;
        let mut key = self.keys.draw(&mut draw);
        if self.own_keys {
            key = key * self.connections + connection;
        }
        let filling =
            Filling { key, number, connection, keys: &self.keys, now, stamped: self.ledger };
        share.encoder.write(out, &filling, &mut draw);
        Drawn {
            kind: share.kind,
            key,
            number,
            write: self.ledger && share.is_set,
            expected: share.expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    fn draw(plan: &Plan, connection: u64, request: u64) -> (Vec<u8>, Drawn) {
        let mut out = Vec::new();
        let stream = Draw::stream(plan.seed, connection);
        let drawn = Source::all(plan).unwrap()[0].write(&mut out, stream, connection, request, 0);
        (out, drawn)
    }

    #[test]
    fn the_seed_decides_everything() {
        let plan = sample();
        let mut other = sample();
        other.seed = 2;
        let all = |plan: &Plan| {
            (0..4)
                .flat_map(|c| (0..50).map(move |k| (c, k)))
                .map(|(c, k)| draw(plan, c, k).0)
                .collect::<Vec<_>>()
        };
        assert_eq!(all(&plan), all(&plan));
        assert_ne!(all(&plan), all(&other));
    }

    #[test]
    fn a_mix_follows_its_weights() {
        let mut plan = sample();
        plan.groups[0].mix[0].weight = 3;
        let source = Source::all(&plan).unwrap().remove(0);
        let mut out = Vec::new();
        let gets = (0..40_000).filter(|k| source.write(&mut out, 5, 0, *k, 0).kind == 0).count();
        assert!((29_500..30_500).contains(&gets), "{gets}");
    }

    #[test]
    fn with_a_ledger_connections_write_their_own_keys_and_unique_numbers() {
        let mut plan = sample();
        plan.verify = true;
        let mut numbers = std::collections::BTreeSet::new();
        for (connection, request) in (0..4).flat_map(|c| (0..100).map(move |k| (c, k))) {
            let (bytes, drawn) = draw(&plan, connection, request);
            assert_eq!(drawn.key % 4, connection);
            assert!(drawn.key < 100 && numbers.insert(drawn.number));
            if drawn.write {
                let value = &bytes[bytes.len() - 18..bytes.len() - 2];
                assert_eq!(crate::template::stamp(value), Some(drawn.number));
            }
        }
    }
}
