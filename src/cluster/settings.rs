//! What a node is told, once or while it runs: Redis' `cluster-*` settings and what it listens on.

use super::node::Ms;
use super::show::Endpoint;
use core::net::IpAddr;

/// See the file's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where clients reach us, and other nodes.
    pub port: u16,
    pub bus_port: u16,
    /// Nodes are to be told this address, and not the one that they see.
    pub announce_ip: Option<IpAddr>,
    pub announce_hostname: String,
    pub announce_human_name: String,
    pub node_timeout: Ms,
    /// 0: half the time-out.
    pub ping_interval: Ms,
    pub migration_barrier: usize,
    pub allow_replica_migration: bool,
    pub replica_no_failover: bool,
    /// 0: data is never too old.
    pub replica_validity_factor: Ms,
    /// How often a master pings its replicas by replication.
    pub replication_ping_period: Ms,
    pub require_full_coverage: bool,
    /// Only this host may reach the bus, as clients may with protected mode and no password.
    pub is_protected: bool,
    /// By what name clients are sent to nodes.
    pub endpoint: Endpoint,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 6_379,
            bus_port: 16_379,
            announce_ip: None,
            announce_hostname: String::new(),
            announce_human_name: String::new(),
            node_timeout: 15_000,
            ping_interval: 0,
            migration_barrier: 1,
            allow_replica_migration: true,
            replica_no_failover: false,
            replica_validity_factor: 10,
            replication_ping_period: 10_000,
            require_full_coverage: true,
            is_protected: false,
            endpoint: Endpoint::Ip,
        }
    }
}
