//! What goes wrong in the world, and how all of it is mended at the end.

use crate::net::Who;
use crate::world::{Event, MS, World};

#[derive(Clone, Copy, Debug)]
enum Fault {
    Cut,
    Silence,
    Refuse,
    KillReplica,
    KillMaster,
    RoleChange,
    Save,
    Rewrite,
}

impl World {
    pub fn fault(&mut self) {
        if self.healing {
            return;
        }
        let plan = &self.plan;
        let classes = [
            (plan.cuts, Fault::Cut),
            (plan.silence, Fault::Silence),
            (plan.refuse, Fault::Refuse),
            (plan.kill_replicas, Fault::KillReplica),
            (plan.kill_master, Fault::KillMaster),
            (plan.role_changes, Fault::RoleChange),
            (plan.saves, Fault::Save),
            (plan.files, Fault::Rewrite),
        ];
        let on: Vec<Fault> = classes.iter().filter(|(on, _)| *on).map(|(_, it)| *it).collect();
        if !on.is_empty() {
            let fault = on[usize::try_from(self.prng.below(on.len() as u64)).unwrap()];
            self.trace(|| format!("fault: {fault:?}"));
            self.strike(fault);
        }
        let next = self.plan.fault_ms * MS / 2 + self.prng.below(self.plan.fault_ms * MS);
        self.schedule(self.at + next, Event::Fault);
    }

    fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::Cut => {
                if let Some(link) = self.some_link() {
                    self.reset(link);
                }
            }
            Fault::Silence => {
                if let Some(link) = self.some_link() {
                    self.links[link].silent = true;
                }
            }
            Fault::Refuse => {
                self.refusing = true;
                let until = self.at + self.prng.below(1_500 * MS);
                self.schedule(until, Event::Calm);
            }
            Fault::KillReplica => {
                let host = self.some_replica();
                self.kill_for_a_while(host);
            }
            Fault::KillMaster => {
                self.unsettle(60_000);
                let host = self.master;
                self.kill_for_a_while(host);
            }
            Fault::RoleChange => self.fail_over(),
            Fault::Save => {
                let host = usize::try_from(self.prng.below(3)).unwrap();
                if self.hosts[host].alive {
                    self.errand(host, "BGSAVE");
                }
            }
            Fault::Rewrite => {
                let host = usize::try_from(self.prng.below(3)).unwrap();
                if self.hosts[host].alive {
                    self.errand(host, "BGREWRITEAOF");
                }
            }
        }
    }

    fn kill_for_a_while(&mut self, host: usize) {
        if !self.hosts[host].alive {
            return;
        }
        self.kill(host);
        if self.prng.chance(1, 2) {
            // Where there are append-only files, a disk is rarely lost: they are what is looked at.
            if !self.plan.files || self.prng.chance(1, 8) {
                self.hosts[host].disk.wipe();
                self.hosts[host].owes = None;
            }
        }
        let after = self.prng.below(1_200 * MS);
        self.schedule(self.at + after, Event::Start { host });
    }

    /// A replica becomes master, and the others follow it, told in any order.
    fn fail_over(&mut self) {
        let host = self.some_replica();
        if !self.hosts[host].alive || !self.hosts[host].ready {
            return;
        }
        self.unsettle(60_000);
        self.master = host;
        // What a deposed master promised may go: this mode keeps promises over crashes, not over changes of roles.
        self.hosts.iter_mut().for_each(|it| (it.promised, it.owes) = (None, None));
        self.errand(host, "REPLICAOF NO ONE");
        for other in (0..3).filter(|it| *it != host) {
            self.errand(other, &format!("REPLICAOF h{host} 7000"));
        }
    }

    fn some_replica(&mut self) -> usize {
        let others: Vec<usize> = (0..3).filter(|it| *it != self.master).collect();
        others[usize::try_from(self.prng.below(2)).unwrap()]
    }

    /// A link that is up: mostly one between hosts.
    fn some_link(&mut self) -> Option<usize> {
        let between =
            |it: &crate::net::Link| it.ends.iter().all(|end| matches!(end.who, Who::Host(..)));
        let hosts = self.prng.chance(3, 4);
        let up: Vec<usize> = (0..self.links.len())
            .filter(|it| {
                let link = &self.links[*it];
                !link.dead && !link.silent && between(link) == hosts
            })
            .collect();
        let pick = usize::try_from(self.prng.below(up.len() as u64)).unwrap();
        up.get(pick).copied()
    }

    /// No faults from here on; everybody is told again who is master.
    pub fn heal(&mut self) {
        self.trace(|| "all is healed from here on".into());
        (self.healing, self.quiet, self.refusing) = (true, true, false);
        for link in 0..self.links.len() {
            self.links[link].room = 1 << 20;
            if self.links[link].silent {
                self.reset(link);
            }
        }
        (0..3).for_each(|host| self.start(host));
        self.tell_all();
    }

    /// Everybody is told who is master; what was to be told before is forgotten.
    pub fn tell_all(&mut self) {
        for client in &mut self.clients {
            client.done |= client.errand.is_some();
        }
        for host in 0..3 {
            let line = match host == self.master {
                true => "REPLICAOF NO ONE".to_string(),
                false => format!("REPLICAOF h{} 7000", self.master),
            };
            self.errand(host, &line);
        }
    }
}
