//! What must be true of the nodes: looked at after every turn of a core 0, and at the end.

use ringfold::node::observe::Observation;
use ringfold::replication::psync::FullReason;

use crate::model::{self, Model};
use crate::world::World;

/// Snapshot bytes that may wait in all feeds of a node.
const FEED_BYTES: usize = 3 * (ringfold::base::limits::FEED_BYTES_MAX + (1 << 20));

impl World {
    /// After a turn of a host's core 0.
    pub fn look(&mut self, host: usize) {
        let Some(seen) = self.hosts[host].seats[0].core.observe() else { return };
        self.mix(&[3, seen.applied, seen.held.as_ref().map_or(0, |it| it.end)]);
        if let Some(before) = self.hosts[host].seen.take() {
            self.compare(host, &before, &seen);
        }
        self.extend(host, &seen);
        self.check_promise(host, &seen);
        if seen.held.is_none() {
            self.hosts[host].ring_since = None;
        } else if seen.is_master {
            let at = self.at;
            self.hosts[host].ring_since.get_or_insert(at);
        }
        if !seen.is_master && seen.has_data {
            let had = self.had.entry((host, seen.replid)).or_default();
            *had = (*had).max(seen.executed);
        }
        if seen.feed_bytes > FEED_BYTES {
            self.fail(format!("h{host}: {} bytes wait in feeds", seen.feed_bytes));
        }
        self.hosts[host].seen = Some(seen);
    }

    /// A master that died with `appendfsync always` starts with all that it acknowledged.
    fn check_promise(&mut self, host: usize, seen: &Observation) {
        if seen.held.is_none() || !self.hosts[host].ready {
            return;
        }
        let Some((replid, promised)) = self.hosts[host].owes.take() else { return };
        let has = match seen.second {
            Some((second, length)) if second == replid => Some(length),
            _ => None,
        };
        if seen.is_master && has.is_none_or(|has| has < promised) {
            self.fail(format!("h{host} acknowledged {promised} bytes and starts with {has:?}"));
        }
    }

    /// Now and then: is all as it should be where nothing is under way?
    pub fn look_closer(&mut self, host: usize) {
        if self.prng.chance(1, 6) {
            self.check_rest(host);
        }
    }

    fn compare(&mut self, host: usize, before: &Observation, seen: &Observation) {
        if before.replid == seen.replid
            && let (Some(old), Some(new)) = (&before.held, &seen.held)
            && new.end < old.end
            // A former master that loads the shorter prefix that another has of its history.
            && (seen.is_master || (new.start == old.start && new.start < new.end))
        {
            self.fail(format!("h{host}: the offset went back from {} to {}", old.end, new.end));
        }
        let calm = !self.plan.kill_master && !self.plan.role_changes && !self.plan.kill_replicas;
        for (reason, _) in seen.fulls.iter().filter(|it| !before.fulls.contains(it)) {
            let fine = matches!(reason, FullReason::New | FullReason::TooOld);
            if calm && !fine {
                self.fail(format!("h{host}: a full sync without need: {reason:?}"));
            }
        }
    }

    /// The bytes that are new in its ring are its history's.
    fn extend(&mut self, host: usize, seen: &Observation) {
        let Some(held) = seen.held.clone() else { return };
        if !self.histories.knows(&seen.replid) {
            let begun = self.begin(host, seen);
            self.try_or_fail(|| format!("h{host}"), begun);
            if !self.histories.knows(&seen.replid) {
                return;
            }
        }
        let before = self.hosts[host].looked;
        let mut from = match before {
            Some((replid, end)) if replid == seen.replid => end.max(held.start),
            _ => held.start,
        };
        while from < held.end && self.violation.is_none() {
            let bytes = self.hosts[host].seats[0].core.ring_bytes(from).to_vec();
            if bytes.is_empty() {
                from += 1_024; // In the file: looked at before they went there.
                continue;
            }
            let result = self.histories.see(seen.replid, from, &bytes);
            self.try_or_fail(|| format!("h{host}:"), result);
            from += bytes.len() as u64;
        }
        self.hosts[host].looked = Some((seen.replid, held.end));
    }

    /// A history that nobody has seen: its node began it with the data that it has.
    fn begin(&mut self, host: usize, seen: &Observation) -> Result<(), String> {
        let Some(held) = seen.held.clone() else { return Ok(()) };
        if let Some((old, length)) = seen.second
            && self.histories.knows(&old)
            && let Some(model) = self.histories.at(&old, length)?
        {
            // The database that the old stream was in means nothing in the new one.
            self.histories.begin(seen.replid, length, length, Model { db: None, ..model });
            return Ok(());
        }
        if !seen.is_master && !seen.at_rest {
            return Ok(()); // It is about to become a master.
        }
        if !seen.is_master {
            return Err("is in a history that no master began".into());
        }
        let mut model = Model { state: self.hosts[host].dump(), db: None };
        let mut bytes = Vec::new();
        while held.start + (bytes.len() as u64) < held.end {
            let at = held.start + bytes.len() as u64;
            bytes.extend_from_slice(self.hosts[host].seats[0].core.ring_bytes(at));
        }
        let mut rest = bytes.as_slice();
        while let Some((words, length)) = model::command(rest) {
            if words[0] == b"SELECT" {
                model.apply(&words)?;
            }
            rest = &rest[length..];
        }
        self.histories.begin(seen.replid, held.start, held.end, model);
        Ok(())
    }

    /// A node at which nothing is under way has the data of its offset.
    pub fn check_rest(&mut self, host: usize) {
        let Some(seen) = self.hosts[host].seen.clone() else { return };
        if !seen.at_rest || !self.hosts[host].roads_are_empty() {
            return;
        }
        let Some(held) = seen.held.clone() else { return };
        let offset = if seen.is_master { held.end } else { seen.applied };
        if !seen.is_master && !seen.has_data {
            return;
        }
        self.checks += 1;
        let state = self.hosts[host].dump();
        let result = self.histories.check(&seen.replid, offset, &state);
        let role = if seen.is_master { "master" } else { "replica" };
        self.try_or_fail(|| format!("h{host} ({role})"), result);
    }

    /// All replicas have what the master has, and nobody waits for anything.
    pub fn is_healed(&mut self) -> Result<(), String> {
        let master = self.master;
        for host in 0..3 {
            let Some(seen) = self.hosts[host].seen.clone() else {
                return Err(format!("h{host} was never seen"));
            };
            if seen.is_master != (host == master) {
                return Err(format!("h{host} has the wrong role"));
            }
            if !seen.at_rest || !self.hosts[host].roads_are_empty() {
                return Err(format!("h{host} is not at rest: {seen:?}"));
            }
            if host != master && !seen.linked {
                return Err(format!("h{host} has no link to its master"));
            }
            for (core, seat) in self.hosts[host].seats.iter().enumerate() {
                let held = seat.core.held_turns();
                if held > 0 {
                    return Err(format!("h{host}.{core} holds {held} turns' replies"));
                }
                let (open, links) =
                    (seat.core.open_sessions(), seat.conns.iter().flatten().count());
                if open != links {
                    return Err(format!("h{host}.{core} has {open} sessions, {links} connections"));
                }
            }
        }
        let end = |host: usize| {
            let seen = self.hosts[host].seen.as_ref()?;
            Some((seen.replid, seen.held.as_ref()?.end))
        };
        for host in (0..3).filter(|it| *it != master) {
            let executed = self.hosts[host].seen.as_ref().map(|it| it.executed);
            if end(host) != end(master) || executed != end(master).map(|it| it.1) {
                let (has, wants) = (end(host), end(master));
                return Err(format!("h{host} has executed {executed:?} of {has:?}, not {wants:?}"));
            }
        }
        let waiting = self.clients.iter().find(|it| it.link.is_some() && !it.sent.is_empty());
        if let Some(client) = waiting {
            let first = client.sent.front().map(crate::people::line);
            return Err(format!(
                "c{} waits for {} answers, first {first:?}",
                client.id,
                client.sent.len()
            ));
        }
        match self.clients.iter().find(|it| it.errand.is_some() && !it.done) {
            Some(client) => {
                Err(format!("errand {:?} to h{} was not answered", client.errand, client.host))
            }
            None => Ok(()),
        }
    }

    pub fn check_all(&mut self) {
        (0..3).for_each(|host| self.check_rest(host));
        let states: Vec<_> = (0..3).map(|host| self.hosts[host].dump()).collect();
        for host in 0..3 {
            if states[host] != states[self.master] {
                let what = model::difference(&states[host], &states[self.master]);
                self.fail(format!("h{host} is not equal to its master: {what}"));
            }
        }
    }
}
