//! Sorted sets in a keyspace against maps: random programs that take them over the border between their forms
//! and back to nothing, with copies, and with snapshots that must be of their instant.

use std::collections::BTreeMap;

use ringfold::base::prng::Prng;
use ringfold::base::time::Wall;
use ringfold::engine::keyspace::Keyspace;
use ringfold::engine::walk::Walk;
use ringfold::types::packing::Packing;
use ringfold::types::record::Kind;
use ringfold::types::scores::{self, Scores};

const NOW: Wall = Wall(1_700_000_000_000_000);

/// Members with their scores as bits, in the order of the set.
type Listed = Vec<(Vec<u8>, u64)>;
/// All sorted sets of an instant.
type Instant = BTreeMap<Vec<u8>, Listed>;
type Model = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, f64>>;

struct World {
    keyspace: Keyspace,
    model: Model,
    packing: Packing,
    prng: Prng,
    seed: u64,
    /// What the cut must give, and what the walk has given.
    cut: Option<(Instant, Instant)>,
    cuts_done: usize,
}

fn listed(scores: Scores<'_>) -> Listed {
    let mut all = Listed::new();
    scores.all(&mut |member, score| {
        all.push((member.text().to_vec(), score.to_bits()));
        true
    });
    all
}

fn sorted(set: &BTreeMap<Vec<u8>, f64>) -> Listed {
    let mut all: Vec<_> = set.iter().map(|(member, score)| (member.clone(), *score)).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    all.into_iter().map(|(member, score)| (member, score.to_bits())).collect()
}

impl World {
    fn new(seed: u64) -> Self {
        let packing = Packing { zset_entries: 12, zset_value_bytes: 24, ..Packing::default() };
        let mut keyspace = Keyspace::new(1, [seed, 1, 2, 3]);
        keyspace.set_packing(packing);
        let prng = Prng::new(seed);
        Self { keyspace, model: Model::new(), packing, prng, seed, cut: None, cuts_done: 0 }
    }

    fn name(&mut self) -> Vec<u8> {
        format!("set:{}", self.prng.below(6)).into()
    }

    /// Short and long, numbers among them; of some sets many.
    fn member(&mut self, key: &[u8]) -> Vec<u8> {
        let most = if key.ends_with(b"0") { 600 } else { 20 };
        match self.prng.below(most) {
            n if n % 7 == 3 => format!("a member with a long name, {n}").into(),
            n if n % 2 == 0 => n.to_string().into(),
            n => format!("m{n}").into(),
        }
    }

    /// No -0, which is 0 in one form alone.
    fn score(&mut self) -> f64 {
        match self.prng.below(10) {
            0 => f64::INFINITY,
            1 => -1e300,
            2 => self.prng.below(1_000) as f64 / 7.0,
            _ => self.prng.below(9) as f64,
        }
    }

    fn step(&mut self) {
        let name = self.name();
        let (key, hasher) = (self.keyspace.key(&name), self.keyspace.hasher());
        match self.prng.below(100) {
            0..60 => {
                let (member, score) = (self.member(&name), self.score());
                let packing = self.packing;
                let old = self.model.entry(name.clone()).or_default().insert(member.clone(), score);
                let edit = |body: &mut _| scores::put(body, &packing, &hasher, &member, score);
                let kind = Kind::ZSet;
                let put =
                    self.keyspace.modify_or_create(0, key, kind, NOW, scores::empty, edit).unwrap();
                assert_eq!(put, old, "seed {}", self.seed);
            }
            60..80 => {
                let member = self.member(&name);
                let there =
                    self.model.get_mut(&name).is_some_and(|it| it.remove(&member).is_some());
                let edit = |body: &mut _| scores::remove(body, &hasher, &member);
                let removed = self.keyspace.modify(0, key, Kind::ZSet, NOW, edit).unwrap();
                assert_eq!(removed.unwrap_or(false), there, "seed {}", self.seed);
            }
            80..84 => {
                let Some(set) = self.model.get_mut(&name) else { return };
                let all = sorted(set);
                let start = self.prng.below(1 + all.len() as u64) as usize;
                let end = start + self.prng.below(1 + (all.len() - start) as u64) as usize;
                all[start..end].iter().for_each(|(member, _)| {
                    set.remove(member);
                });
                let edit = |body: &mut _| scores::remove_ranks(body, &hasher, start..end);
                let old = self.keyspace.modify(0, key, Kind::ZSet, NOW, edit).unwrap();
                old.flatten().into_iter().for_each(|it| self.keyspace.bury_object(it));
            }
            84..87 => {
                let to = self.name();
                let to_key = self.keyspace.key(&to);
                let copied = self.keyspace.copy(0, key, 0, to_key, NOW).unwrap();
                let set = self.model.get(&name).cloned();
                assert_eq!(copied, set.is_some(), "seed {}", self.seed);
                set.map(|set| self.model.insert(to, set));
            }
            87..88 => {
                self.keyspace.remove(0, key, NOW);
                self.model.remove(&name);
            }
            88..94 => self.snapshot(),
            94..96 => drop(self.keyspace.collect(20)),
            _ => {
                let found = self.keyspace.read(0, key, Kind::ZSet, NOW).unwrap();
                let expected = self.model.get(&name).map(sorted);
                assert_eq!(found.map(|it| listed(Scores::of(it))), expected, "seed {}", self.seed);
            }
        }
        self.model.retain(|_, set| !set.is_empty());
    }

    fn snapshot(&mut self) {
        let Some((_, walked)) = &mut self.cut else {
            assert!(self.keyspace.cut());
            let all = self.model.iter().map(|(name, set)| (name.clone(), sorted(set))).collect();
            self.cut = Some((all, BTreeMap::new()));
            return;
        };
        let done = self.keyspace.walk(1, &mut |record| {
            walked.insert(record.key.to_vec(), listed(Scores::of(record.value)));
        });
        if done == Walk::Done {
            let (expected, walked) = self.cut.take().unwrap();
            assert!(expected == walked, "the walk is not the cut, seed {}", self.seed);
            self.cuts_done += 1;
        }
    }
}

#[test]
fn sorted_sets_agree_with_maps_and_snapshots_with_their_instant() {
    let mut cuts = 0;
    for seed in 0..20 {
        let mut world = World::new(seed);
        (0..8_000).for_each(|_| world.step());
        world.keyspace.abandon_walk();
        world.keyspace.flush_all();
        while world.keyspace.collect(1_000) {}
        assert!(world.keyspace.used_bytes() < 60_000, "{}", world.keyspace.used_bytes());
        cuts += world.cuts_done;
    }
    assert!(cuts > 100, "only {cuts} snapshots were finished");
}
