//! Who listens to which channel on one core: a pure table of connections and names.
//!
//! Three kinds of names live apart: channels, patterns over channels, and shard channels. A message for a
//! channel reaches those who subscribed to it, then those whose pattern matches, once for each pattern.
//!
//! ```text
//!   topics   name -> [conn, conn, ..]           in the order of subscription, but for who left
//!   clients  conn -> name -> place in that list    so that leaving costs the same in any crowd
//! ```
//!
//! Invariant: a client stands in a list exactly where its own entry says. Empty lists and clients are
//! dropped.
//!
//! Not here: other cores, sockets, replies (`publish.rs`).

use crate::base::glob;
use crate::base::map::HashMap;
use crate::node::outbox::Conn;
use bytes::Bytes;

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    Channel,
    Pattern,
    Shard,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct PubSub {
    topics: [HashMap<Bytes, Vec<Conn>>; 3],
    clients: HashMap<Conn, Box<Mine>>,
}

/// One client's names of each kind, and its place in each list.
#[derive(Debug, Default)]
struct Mine([HashMap<Bytes, usize>; 3]);

/// How many names of each kind a client listens to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub channels: usize,
    pub patterns: usize,
    pub shards: usize,
}

impl Counts {
    /// What replies about a kind of name tell.
    #[must_use]
    pub fn of(self, topic: Topic) -> usize {
        match topic {
            Topic::Channel | Topic::Pattern => self.channels + self.patterns,
            Topic::Shard => self.shards,
        }
    }

    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl PubSub {
    /// False: it listened to that already.
    pub fn subscribe(&mut self, conn: Conn, topic: Topic, name: &[u8]) -> bool {
        let mine = &mut self.clients.entry(conn).or_default().0[topic as usize];
        if mine.contains_key(name) {
            return false;
        }
        let lists = &mut self.topics[topic as usize];
        // One copy of the name for all who use it.
        let name = match lists.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => Bytes::copy_from_slice(name),
        };
        let list = lists.entry(name.clone()).or_default();
        mine.insert(name, list.len());
        list.push(conn);
        true
    }

    /// False: it did not listen to that.
    pub fn unsubscribe(&mut self, conn: Conn, topic: Topic, name: &[u8]) -> bool {
        let Some(client) = self.clients.get_mut(&conn) else { return false };
        let Some(place) = client.0[topic as usize].remove(name) else { return false };
        if client.0.iter().all(HashMap::is_empty) {
            self.clients.remove(&conn);
        }
        self.leave(topic, name, place);
        true
    }

    /// The client is gone, or wants to hear nothing more; how many names it listened to.
    pub fn forget(&mut self, conn: Conn) -> usize {
        let Some(client) = self.clients.remove(&conn) else { return 0 };
        let mut count = 0;
        for (topic, names) in
            [Topic::Channel, Topic::Pattern, Topic::Shard].into_iter().zip(client.0)
        {
            for (name, place) in names {
                self.leave(topic, &name, place);
                count += 1;
            }
        }
        count
    }

    #[must_use]
    pub fn counts(&self, conn: Conn) -> Counts {
        let Some(client) = self.clients.get(&conn) else { return Counts::default() };
        let [channels, patterns, shards] = &client.0;
        Counts { channels: channels.len(), patterns: patterns.len(), shards: shards.len() }
    }

    /// What its names take of the lists: the names themselves lie there once for all.
    #[must_use]
    pub fn memory(&self, conn: Conn) -> usize {
        let counts = self.counts(conn);
        let names = counts.channels + counts.patterns + counts.shards;
        let table = if names == 0 { 0 } else { size_of::<Mine>() };
        table + names * (size_of::<(Bytes, usize)>() + size_of::<Conn>())
    }

    /// A client's names of one kind.
    #[must_use]
    pub fn names_of(&self, conn: Conn, topic: Topic) -> Vec<Bytes> {
        let client = self.clients.get(&conn);
        client.map_or_else(Vec::new, |it| it.0[topic as usize].keys().cloned().collect())
    }

    /// Who listens to this very name.
    #[must_use]
    pub fn listeners(&self, topic: Topic, name: &[u8]) -> &[Conn] {
        self.topics[topic as usize].get(name).map_or(&[], Vec::as_slice)
    }

    /// The patterns that match a channel, and who listens to them.
    pub fn matching<'a>(
        &'a self,
        channel: &'a [u8],
    ) -> impl Iterator<Item = (&'a Bytes, &'a [Conn])> + 'a {
        let patterns = self.topics[Topic::Pattern as usize].iter();
        patterns
            .filter(move |(pattern, _)| glob::matches(pattern, channel))
            .map(|(pattern, list)| (pattern, list.as_slice()))
    }

    /// All names of one kind that somebody listens to.
    pub fn names(&self, topic: Topic) -> impl ExactSizeIterator<Item = &Bytes> {
        self.topics[topic as usize].keys()
    }

    /// Clients that listen to anything.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.clients.len()
    }

    /// Takes a place out of a list; the last of the list moves there.
    fn leave(&mut self, topic: Topic, name: &[u8], place: usize) {
        let lists = &mut self.topics[topic as usize];
        let Some(list) = lists.get_mut(name) else { return };
        list.swap_remove(place);
        let moved = list.get(place).copied();
        if list.is_empty() {
            lists.remove(name);
        }
        if let Some(client) = moved.and_then(|conn| self.clients.get_mut(&conn))
            && let Some(its_place) = client.0[topic as usize].get_mut(name)
        {
            *its_place = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use std::collections::BTreeSet;

    /// Against sets of pairs, with clients that come and go.
    #[test]
    fn lists_and_clients_stay_of_one_mind() {
        let topics = [Topic::Channel, Topic::Pattern, Topic::Shard];
        let (mut table, mut model) = (PubSub::default(), BTreeSet::new());
        let mut prng = Prng::new(11);
        let mut below = |bound| usize::try_from(prng.below(bound)).unwrap();
        for _ in 0..20_000 {
            let conn = Conn(u32::try_from(below(8)).unwrap());
            let (topic, name) = (topics[below(3)], format!("n{}", below(5)));
            let pair = (conn, topic as usize, name.clone());
            match below(20) {
                0 => {
                    let before = model.len();
                    model.retain(|it: &(Conn, usize, String)| it.0 != conn);
                    assert_eq!(table.forget(conn), before - model.len());
                }
                1..=9 => {
                    let left = table.unsubscribe(conn, topic, name.as_bytes());
                    assert_eq!(left, model.remove(&pair));
                }
                _ => {
                    let new = table.subscribe(conn, topic, name.as_bytes());
                    assert_eq!(new, model.insert(pair));
                }
            }
            let of = |topic: Topic| model.iter().filter(move |it| it.1 == topic as usize);
            let expected: BTreeSet<Conn> =
                of(topic).filter(|it| it.2 == name).map(|it| it.0).collect();
            let listeners = table.listeners(topic, name.as_bytes());
            assert_eq!(listeners.len(), expected.len());
            assert!(listeners.iter().all(|it| expected.contains(it)));
            let names: BTreeSet<&String> = of(topic).map(|it| &it.2).collect();
            assert_eq!(table.names(topic).len(), names.len());
            let mine = table.names_of(conn, topic).len();
            assert_eq!(mine, of(topic).filter(|it| it.0 == conn).count());
        }
        for conn in 0..8 {
            table.forget(Conn(conn));
        }
        assert!(table.clients() == 0 && topics.iter().all(|it| table.names(*it).len() == 0));
    }
}
