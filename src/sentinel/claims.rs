//! Claims: that the group has another master, heard and not confirmed yet.
//!
//! A claim is believed when the data node itself tells us that it is a master, or when a quorum of the
//! Sentinels that we know confirms it, which we ask. Whoever may publish on a data node can make one up, so one
//! claim says nothing against another: they are kept side by side, few of them, those heard last, and all are
//! examined with the same questions, which are asked less and less often. Where our own master has been down for
//! longer than a failover takes, one confirmation will do: an operator's failover is known to few where a cut let
//! both sides demote each other's master, and then neither data node speaks for a claim.
//!
//! A newer epoch wins. Of one epoch there can be two configurations, though a vote is given once: an operator's
//! failover asks for nobody's vote, and on the smaller side of a cut it takes an epoch that the other side
//! takes for an election. Both would be believed for ever where they began. Here the higher address wins: any
//! order will do in which all of us agree.

use super::address::{Address, Found};
use super::events::Caller;
use super::hello::Hello;
use super::instance::{Id, Ms};
use super::link::Question;
use super::machine::{Level, Sentinel};
use crate::base::limits::SENTINEL_CLAIMS_MAX;
use crate::resp::decode::Value;
use core::net::IpAddr;

/// How soon those who may know are asked again, at first and at last; and how long after it was last
/// heard a claim is forgotten.
const ASK_MS: Ms = 100;
const ASK_MAX_MS: Ms = 5_000;
const FORGOTTEN_MS: Ms = 30_000;

/// Somebody says that the master of epoch `epoch` is at `host` and `port`.
#[derive(Clone, Debug)]
struct Claim {
    epoch: u64,
    host: String,
    port: u16,
    /// Who said so first.
    from: Id,
    /// Sentinels that confirmed it when they were asked directly.
    confirmed: Vec<Id>,
    /// When it was last heard of.
    heard: Ms,
}

impl Claim {
    fn is_of(&self, hello: &Hello) -> bool {
        self.epoch == hello.config_epoch
            && self.port == hello.master_port
            && self.host == hello.master_ip
    }
}

/// What is claimed of one master.
#[derive(Debug, Default)]
pub struct Claims {
    claims: Vec<Claim>,
    /// When somebody is to be asked again, and how long until after that.
    ask_at: Ms,
    ask_again: Ms,
}

impl Claims {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Keeps what was heard, in place of what was not heard for longest where there are many.
    fn note(&mut self, from: Id, hello: &Hello, now: Ms) {
        if let Some(claim) = self.claims.iter_mut().find(|it| it.is_of(hello)) {
            claim.heard = now;
            return;
        }
        if self.claims.len() >= SENTINEL_CLAIMS_MAX
            && let Some(oldest) = (0..self.claims.len()).min_by_key(|at| self.claims[*at].heard)
        {
            self.claims.remove(oldest);
        }
        self.claims.push(Claim {
            epoch: hello.config_epoch,
            host: hello.master_ip.clone(),
            port: hello.master_port,
            from,
            confirmed: Vec::new(),
            heard: now,
        });
        self.ask_again = ASK_MS;
        self.ask_at = self.ask_at.min(now + ASK_MS);
    }
}

impl Sentinel {
    /// Somebody says what he takes for the configuration.
    pub(super) fn claimed(&mut self, master: Id, from: Id, hello: &Hello) {
        let believed = self.instances.master(master).config_epoch;
        if hello.config_epoch < believed {
            return;
        }
        let here = self.current_address(master);
        if hello.master_port == here.port && self.is_named(here, &hello.master_ip) {
            if hello.config_epoch > believed {
                self.instances.master_mut(master).config_epoch = hello.config_epoch;
                self.touch();
            }
            return;
        }
        if hello.config_epoch == believed
            && !self.wins_tie(master, &hello.master_ip, hello.master_port)
        {
            return;
        }
        let now = self.now;
        self.instances.master_mut(master).claims.note(from, hello, now);
        self.examine_claims(master);
    }

    /// Of two configurations of one epoch, is that one to be believed and not ours?
    fn wins_tie(&self, master: Id, host: &str, port: u16) -> bool {
        let rank = |ip: &str, port: u16| ip.parse::<IpAddr>().ok().map(|ip| (ip, port));
        let here = self.current_address(master);
        let there = match self.book.find(host, self.globals.resolve_hostnames) {
            Found::Ip(ip) => rank(&ip, port),
            Found::Unknown | Found::Nothing => None,
        };
        let fought_for = self.instances.master(master).config_epoch > 0;
        match (there, rank(&here.ip, here.port)) {
            (Some(there), Some(here)) => fought_for && there > here,
            _ => false,
        }
    }

    /// Asks those who may know, less and less often.
    pub(super) fn examine_claims(&mut self, master: Id) {
        if self.instances.master(master).claims.is_empty() {
            return;
        }
        self.drop_old_claims(master);
        let claims = &self.instances.master(master).claims;
        let (now, asks) = (self.now, self.now >= claims.ask_at);
        let known: Vec<Option<Address>> =
            claims.claims.iter().map(|it| self.claimed_address(it)).collect();
        let names: Vec<String> = claims.claims.iter().map(|it| it.host.clone()).collect();
        for (host, _) in names.iter().zip(&known).filter(|(_, address)| address.is_none()) {
            self.ask_for_name(host);
        }
        #[cfg(test)]
        if self.plant == Some(super::sim::Plant::EveryHelloIsBelieved) && !known.is_empty() {
            return self.adopt_claim(master, 0);
        }
        if !asks || known.iter().all(Option::is_none) {
            return;
        }
        let claims = &mut self.instances.master_mut(master).claims;
        claims.ask_at = now + claims.ask_again;
        claims.ask_again = (claims.ask_again * 2).min(ASK_MAX_MS);
        for address in known.iter().flatten() {
            if let Some(replica) = self.replica_at(master, address) {
                self.ask_info(replica);
            }
        }
        let name = self.instances[master].name.clone();
        let sentinels: Vec<Id> =
            self.instances.master(master).sentinels.values().copied().collect();
        for id in sentinels {
            self.ask(id, Question::Master, &[b"SENTINEL", b"MASTER", name.as_bytes()]);
        }
    }

    /// Forgets claims that nobody repeats, and those that a newer configuration has overtaken.
    fn drop_old_claims(&mut self, master: Id) {
        let mut claims = std::mem::take(&mut self.instances.master_mut(master).claims.claims);
        let believed = self.instances.master(master).config_epoch;
        claims.retain(|it| {
            let stands = it.epoch > believed
                || it.epoch == believed && self.wins_tie(master, &it.host, it.port);
            stands && self.now - it.heard <= FORGOTTEN_MS
        });
        self.instances.master_mut(master).claims.claims = claims;
    }

    fn claimed_address(&self, claim: &Claim) -> Option<Address> {
        match self.book.find(&claim.host, self.globals.resolve_hostnames) {
            Found::Ip(ip) => Some(Address { host: claim.host.clone(), ip, port: claim.port }),
            Found::Unknown | Found::Nothing => None,
        }
    }

    /// The newest claim that names this address.
    pub(super) fn claim_of(&self, master: Id, address: &Address) -> Option<usize> {
        let claims = &self.instances.master(master).claims.claims;
        let names = |it: &Claim| self.claimed_address(it).is_some_and(|it| it.is_same(address));
        let fit = claims.iter().enumerate().filter(|(_, it)| names(it));
        fit.max_by_key(|(_, it)| it.epoch).map(|(at, _)| at)
    }

    /// A Sentinel that we asked says where it takes the master to be.
    pub(super) fn claim_answered(&mut self, id: Id, value: &Value) {
        let master = self.instances[id].master;
        let (Some(host), Some(port), Some(epoch)) =
            (field(value, b"ip"), field(value, b"port"), field(value, b"config-epoch"))
        else {
            return;
        };
        let Ok(epoch) = epoch.parse::<u64>() else { return };
        let agrees = |it: &Claim| {
            port == it.port.to_string()
                && epoch >= it.epoch
                && self.claimed_address(it).is_some_and(|it| self.is_named(&it, &host))
        };
        let claims = &self.instances.master(master).claims.claims;
        let confirmed: Vec<usize> = (0..claims.len()).filter(|at| agrees(&claims[*at])).collect();
        let lost = self.is_lost(master);
        let group = self.instances.master_mut(master);
        let known = i64::try_from(group.sentinels.len()).unwrap_or(i64::MAX);
        let needed = if lost { 1 } else { group.quorum.min(known) };
        let mut enough = None;
        for at in confirmed {
            let claim = &mut group.claims.claims[at];
            if !claim.confirmed.contains(&id) {
                claim.confirmed.push(id);
            }
            let by = i64::try_from(claim.confirmed.len()).unwrap_or(0);
            let newest = enough.is_none_or(|it: usize| {
                group.claims.claims[it].epoch < group.claims.claims[at].epoch
            });
            if by >= needed && newest {
                enough = Some(at);
            }
        }
        if let Some(at) = enough {
            self.adopt_claim(master, at);
        }
    }

    /// Nobody has replaced our master in the time that there was for it.
    fn is_lost(&self, master: Id) -> bool {
        let instance = &self.instances[master];
        let patience = self.instances.master(master).failover_timeout;
        instance.s_down && self.now - instance.s_down_since > patience
    }

    /// What was claimed is so.
    pub(super) fn adopt_claim(&mut self, master: Id, at: usize) {
        let claim = self.instances.master_mut(master).claims.claims.remove(at);
        let Some(address) = self.claimed_address(&claim) else { return };
        let believed = self.instances.master(master).config_epoch;
        let tie = claim.epoch == believed && self.wins_tie(master, &claim.host, claim.port);
        if claim.epoch <= believed && !tie {
            return;
        }
        self.instances.master_mut(master).config_epoch = claim.epoch;
        if self.instances.get(claim.from).is_some() {
            self.event_of(Level::Warning, "+config-update-from", claim.from, "");
        }
        let old = self.instances[master].address.clone();
        let (name, shown) =
            (&self.instances[master].name, old.shown(self.globals.announce_hostnames));
        let text = format!("{name} {shown} {} {} {}", old.port, claim.host, claim.port);
        self.event(Level::Warning, "+switch-master", Some(master), &text);
        self.switch_address(master, address);
        let new = self.instances[master].address.clone();
        self.call_reconfig_script(master, Caller::Observer, &old, &new);
    }
}

/// The value of a field of a map, which over RESP2 is a flat array.
fn field(value: &Value, name: &[u8]) -> Option<String> {
    let text = |value: &Value| match value {
        Value::Bulk(text) => String::from_utf8(text.clone()).ok(),
        _ => None,
    };
    match value {
        Value::Array(items) => items.chunks_exact(2).find_map(|pair| match pair {
            [Value::Bulk(key), value] if key == name => text(value),
            _ => None,
        }),
        _ => None,
    }
}
