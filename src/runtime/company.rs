//! Nodes of a cluster that share a process: `cluster-node-per-core`, where each core is one of its own.
//!
//! ```text
//!   port 7000, cores 0-3  ->  nodes at 7000, 7001, 7002, 7003, each with one core, its own bus port, and its own
//!                             directory: core-0 .. core-3 below `dir`
//! ```
//!
//! A client of a cluster sends each key to the core that owns it, so no request ever hops. To each other the nodes are
//! as strangers: they meet by `CLUSTER MEET`, and talk over loopback. What they share is the process: its memory and
//! clients are divided evenly, a signal ends all of them, and so does SHUTDOWN of one.
//!
//! Not here: how a node is put together (`serve.rs`), and what it does (`looping.rs`).

use crate::base::settings::value::Cores;
use crate::node::settings::Settings;
use crate::runtime::serve::{BAD_CONFIGURATION, Refusal, UNFIT_HOST, path, refuse};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One node: what it is told, and on which CPUs it runs.
pub(super) struct Node {
    pub settings: Settings,
    pub cpus: Vec<usize>,
    pub companion: Option<Companion>,
}

/// A node's place among those of its process.
pub struct Companion {
    number: usize,
    bell: UnixStream,
    company: Arc<Company>,
}

struct Company {
    bells: Vec<UnixStream>,
    /// Nodes that have not ended, and those that are not ready yet.
    left: AtomicUsize,
    unready: AtomicUsize,
}

/// A node for each CPU, or one for all.
pub(super) fn nodes(settings: &Settings, cpus: &[usize]) -> Result<Vec<Node>, Refusal> {
    if !settings.cluster_node_per_core {
        let (settings, cpus) = (settings.clone(), cpus.to_vec());
        return Ok(vec![Node { settings, cpus, companion: None }]);
    }
    let wrong = |why: &str| Refusal { code: BAD_CONFIGURATION, why: why.into() };
    if !settings.cluster_enabled {
        return Err(wrong("cluster-node-per-core needs cluster-enabled yes"));
    }
    let pairs: Result<Vec<_>, _> = cpus.iter().map(|_| UnixStream::pair()).collect();
    let pairs = pairs.map_err(|error| refuse(UNFIT_HOST, "cannot start the nodes", &error))?;
    let (bells, ringers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let count = AtomicUsize::new(cpus.len());
    let unready = AtomicUsize::new(cpus.len());
    let company = Arc::new(Company { bells: ringers, left: count, unready });
    let mut nodes = Vec::new();
    for (number, (cpu, bell)) in cpus.iter().zip(bells).enumerate() {
        bell.set_nonblocking(true)
            .map_err(|error| refuse(UNFIT_HOST, "cannot start the nodes", &error))?;
        let settings = part(settings, number, cpus.len(), *cpu).ok_or_else(|| {
            wrong("cluster-node-per-core: the ports of the last cores are above 65535")
        })?;
        fs::create_dir_all(path(&settings.dir)).map_err(|error| {
            let what = format!("cannot make {}", path(&settings.dir).display());
            refuse(BAD_CONFIGURATION, &what, &error)
        })?;
        let companion = Some(Companion { number, bell, company: Arc::clone(&company) });
        nodes.push(Node { settings, cpus: vec![*cpu], companion });
    }
    Ok(nodes)
}

/// What node `number` of `count` is told: its own ports and directory, and its share. None: it has no such port.
fn part(settings: &Settings, number: usize, count: usize, cpu: usize) -> Option<Settings> {
    let step = u16::try_from(number).ok()?;
    let moved = |port: u16| if port == 0 { Some(0) } else { port.checked_add(step) };
    let mut own = settings.clone();
    own.port = moved(settings.port)?;
    own.tls_port = moved(settings.tls_port)?;
    own.metrics_port = moved(settings.metrics_port)?;
    own.admin_port = moved(settings.admin_port)?;
    own.cluster_port = moved(settings.cluster_port)?;
    own.cluster_announce_port = moved(settings.cluster_announce_port)?;
    own.cluster_announce_bus_port = moved(settings.cluster_announce_bus_port)?;
    own.aclfile = settings.users_path();
    own.dir = [&settings.dir[..], format!("/core-{number}").as_bytes()].concat();
    own.cores = Cores::Cpus(vec![u16::try_from(cpu).ok()?]);
    let shares = u64::try_from(count).ok()?;
    own.maxmemory = settings.maxmemory.div_ceil(shares);
    own.maxclients = settings.maxclients.div_ceil(u32::try_from(count).ok()?);
    if number > 0 {
        own.unixsocket.clear();
        own.admin_unixsocket.clear();
    }
    Some(own)
}

impl Companion {
    /// What to watch: it can be read from when all nodes are to end.
    pub(super) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Was it rung?
    pub(super) fn is_called(&self) -> bool {
        (&self.bell).read(&mut [0; 64]).is_ok_and(|read| read > 0)
    }

    /// The others are to end as well.
    pub(super) fn call_others(&self) {
        for (number, mut bell) in self.company.bells.iter().enumerate() {
            if number != self.number {
                let _ = bell.write_all(b"!"); // whoever has ended needs no bell
            }
        }
    }

    /// This node has ended. Was it the last one?
    pub(super) fn is_last_to_end(&self) -> bool {
        self.company.left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// This node takes clients. Was it the last one to come so far?
    pub(super) fn is_last_to_come(&self) -> bool {
        self.company.unready.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_its_own_ports_directory_and_share() {
        let mut settings = Settings::new();
        settings.cluster_enabled = true;
        settings.cluster_node_per_core = true;
        settings.dir = b"/data".to_vec();
        settings.aclfile = b"users.acl".to_vec();
        (settings.port, settings.cluster_port) = (7000, 17_100);
        (settings.maxmemory, settings.maxclients) = (1_000, 10);
        let third = part(&settings, 2, 4, 5).unwrap();
        assert_eq!((third.port, third.cluster_port, third.admin_port), (7002, 17_102, 0));
        assert_eq!((third.maxmemory, third.maxclients), (250, 3));
        assert_eq!(third.dir, b"/data/core-2");
        assert_eq!(third.users_path(), b"/data/users.acl");
        assert_eq!(third.cores, Cores::Cpus(vec![5]));
        settings.port = u16::MAX;
        assert!(part(&settings, 1, 4, 5).is_none());
    }
}
