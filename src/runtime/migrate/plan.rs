//! What a migration may do, from what both servers say of themselves. Functions from texts to verdicts.

use crate::runtime::asking::Info;

/// What one server said.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub info: Info,
    /// `databases`, where CONFIG may be asked.
    pub databases: Option<u64>,
    /// The port that it tells its masters, where that is not its own.
    pub announced_port: Option<u16>,
    /// Whether a Sentinel listens to it.
    pub watched: bool,
    /// Whether its addresses are of this host only.
    pub local: bool,
}

/// How far an earlier run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The target does not follow the source.
    Apart,
    /// It does.
    Attached,
    /// The source follows the target already.
    Over,
}

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The source as the target is told it: `host:port`.
    pub source: String,
    /// The target's own data may go.
    pub replace: bool,
    /// Back to a server that must follow already.
    pub back: bool,
    /// The target reaches the source by a name of its own.
    pub named: bool,
}

impl Seen {
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.info.text("role") == "master"
    }

    /// Whether this one follows that one: the same history, and the other's port.
    #[must_use]
    pub fn follows(&self, master: &Self) -> bool {
        let history = self.info.text("master_replid");
        self.info.text("role") == "slave"
            && !history.is_empty()
            && history == master.info.text("master_replid")
            && !rows(master, self).is_empty()
    }

    #[must_use]
    pub fn keys(&self) -> u64 {
        let count = |row: std::collections::BTreeMap<&str, &str>| {
            row.get("keys").and_then(|it| it.parse::<u64>().ok()).unwrap_or(0)
        };
        self.info.rows("db").map(|it| count(it.1)).fold(0, u64::saturating_add)
    }

    /// Major and minor version of Redis that it says it is.
    fn version(&self) -> (u64, u64) {
        let mut parts =
            self.info.text("redis_version").split('.').map(|it| it.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }

    fn is_ours(&self) -> bool {
        !self.info.text("ringfold_version").is_empty()
    }
}

/// Where a migration stands, and what the user should know; or all reasons why it may not begin.
///
/// # Errors
/// The reasons.
pub fn judge(from: &Seen, to: &Seen, wish: &Wish) -> Result<(Position, Vec<String>), Vec<String>> {
    if from.info.text("role") == "slave" && to.is_master() && from.follows(to) {
        return Ok((Position::Over, Vec::new()));
    }
    let told = to.info.text("role") == "slave" && master(to) == wish.source;
    let attached = to.follows(from) || told;
    let mut reasons = Vec::new();
    let mut refuse = |wrong: bool, why: String| {
        if wrong {
            reasons.push(why);
        }
    };
    refuse(!from.is_master(), format!("the source follows {}: start from that one", master(from)));
    for (name, seen) in [("source", from), ("target", to)] {
        let text = |it: &str| seen.info.text(it) == "1";
        refuse(
            text("cluster_enabled"),
            format!("the {name} is a node of a cluster: move its slots"),
        );
        let watched = "is watched by Sentinels, which would take this for a failure: \
                       SENTINEL REMOVE it from them first";
        refuse(seen.watched, format!("the {name} {watched}"));
        refuse(text("loading"), format!("the {name} is loading its data: later"));
    }
    // CLIENT PAUSE WRITE and FAILOVER are of 6.2.
    let (major, minor) = from.version();
    refuse(
        (major, minor) < (6, 2),
        format!("the source is version {major}.{minor}; it takes 6.2 for writes to wait"),
    );
    refuse(
        to.is_ours() && !from.is_ours() && (major, minor) > (7, 2),
        format!("the source is version {major}.{minor}; what it sends is known up to 7.2"),
    );
    if let (Some(here), Some(there)) = (from.databases, to.databases) {
        refuse(here > there, format!("the source has {here} databases, the target {there}"));
    }
    refuse(
        from.local != to.local && !wish.named,
        "one is named by an address of this host only, so that the other cannot reach it: \
         name both as they reach each other (or --from-as)"
            .into(),
    );
    if !attached {
        let why =
            "the old server does not follow the new one, so that it lacks what was written since";
        refuse(wish.back, why.into());
        let other = to.info.text("role") == "slave";
        refuse(other && !wish.replace, format!("the target follows {} already", master(to)));
        let keys = to.keys();
        refuse(
            !other && keys > 0 && !wish.replace && !wish.back,
            format!(
                "the target has {keys} keys, which the source's would replace: --replace allows it"
            ),
        );
    }
    if !reasons.is_empty() {
        return Err(reasons);
    }
    Ok((if attached { Position::Attached } else { Position::Apart }, notes(from, to)))
}

fn notes(from: &Seen, to: &Seen) -> Vec<String> {
    let mut notes = Vec::new();
    let limit = to.info.number("maxmemory");
    if limit > 0 && limit < from.info.number("used_memory") {
        notes.push(format!(
            "the target's maxmemory is {limit} bytes, and the source uses {}",
            from.info.number("used_memory")
        ));
    }
    if to.version() < (7, 0) {
        notes.push(
            "the target is older than 7.0: a full sync on the way back may be refused".into(),
        );
    }
    notes
}

fn master(it: &Seen) -> String {
    format!("{}:{}", it.info.text("master_host"), it.info.text("master_port"))
}

/// The master's row about this replica: address and port as the master names it.
///
/// # Errors
/// There is none, or it cannot be told which.
pub fn row(master: &Seen, replica: &Seen) -> Result<(String, String), String> {
    match rows(master, replica).as_slice() {
        [(ip, port, true)] => Ok((ip.clone(), port.clone())),
        [_] => Err("the master has not brought the replica up to date yet".into()),
        [] => Err("the master does not know the replica".into()),
        _ => Err("several replicas of the master have this port: set replica-announce-port".into()),
    }
}

/// The master's rows that may be about this replica, and whether they are online.
fn rows(master: &Seen, replica: &Seen) -> Vec<(String, String, bool)> {
    let mut ports = vec![replica.info.text("tcp_port").to_string()];
    ports.extend(replica.announced_port.map(|it| it.to_string()));
    let mut found = Vec::new();
    for (_, row) in master.info.rows("slave") {
        let of = |name| row.get(name).copied().unwrap_or_default();
        if ports.iter().any(|it| it == of("port")) && !of("ip").is_empty() {
            found.push((of("ip").to_string(), of("port").to_string(), of("state") == "online"));
        }
    }
    found
}

/// Bytes of the stream that the replica has yet to apply. Ask the master first.
#[must_use]
pub fn lag(master: &Info, replica: &Info) -> u64 {
    master.number("master_repl_offset").saturating_sub(replica.number("slave_repl_offset"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &str = "redis_version:7.0.15\nrole:master\nmaster_replid:abc\nconnected_slaves:1\n\
        slave0:ip=10.0.0.2,port=7000,state=online,offset=5,lag=0\nmaster_repl_offset:90\n\
        db0:keys=3,expires=0,avg_ttl=0\ndb9:keys=4,expires=0,avg_ttl=0\n";
    const REPLICA: &str = "redis_version:7.0.15\nringfold_version:1\nrole:slave\nmaster_replid:abc\n\
        tcp_port:7000\nmaster_host:10.0.0.1\nmaster_port:6379\nslave_repl_offset:70\n";
    const EMPTY: &str = "redis_version:7.0.15\nringfold_version:1\nrole:master\nmaster_replid:def\n\
        tcp_port:7000\n";

    fn seen(text: &str) -> Seen {
        Seen { info: Info::parse(text), databases: Some(16), ..Seen::default() }
    }

    fn position(from: &Seen, to: &Seen, wish: &Wish) -> Result<Position, String> {
        judge(from, to, wish).map(|it| it.0).map_err(|it| it.join("; "))
    }

    #[test]
    fn where_it_stands() {
        let (master, replica, empty) = (seen(MASTER), seen(REPLICA), seen(EMPTY));
        let check = |from, to, expected| {
            assert_eq!(position(from, to, &Wish::default()), Ok(expected));
        };
        check(&master, &empty, Position::Apart);
        check(&master, &replica, Position::Attached);
        check(&replica, &master, Position::Over);
        assert_eq!(lag(&master.info, &replica.info), 20);
        assert_eq!(master.keys(), 7);
        assert_eq!(row(&master, &replica), Ok(("10.0.0.2".into(), "7000".into())));
        // Another history is not followed, whatever the ports say.
        let stranger = seen(&REPLICA.replace("abc", "xyz"));
        let said = position(&master, &stranger, &Wish::default());
        assert_eq!(said, Err("the target follows 10.0.0.1:6379 already".into()));
    }

    #[test]
    fn each_reason_to_refuse() {
        let back = Wish { back: true, ..Wish::default() };
        // It was told already to follow, and has not begun.
        let wish = Wish { source: "10.0.0.1:6379".into(), ..Wish::default() };
        let told = seen(&REPLICA.replace("abc", "xyz"));
        assert_eq!(position(&seen(MASTER), &told, &wish), Ok(Position::Attached));
        let edit = |text: &str, from: &str, to: &str| seen(&text.replace(from, to));
        let other = |text: &str, more: &str| seen(&format!("{text}{more}"));
        for (from, to, wish, why) in [
            (seen(REPLICA), seen(EMPTY), Wish::default(), "follows 10.0.0.1:6379: start from"),
            (edit(MASTER, "7.0.15", "6.0.1"), seen(EMPTY), Wish::default(), "it takes 6.2"),
            (edit(MASTER, "7.0.15", "7.4.0"), seen(EMPTY), Wish::default(), "known up to 7.2"),
            (seen(MASTER), seen(MASTER), Wish::default(), "the target has 7 keys"),
            (seen(MASTER), seen(EMPTY), back, "lacks what was written since"),
            (other(MASTER, "cluster_enabled:1\n"), seen(EMPTY), Wish::default(), "of a cluster"),
            (other(MASTER, "loading:1\n"), seen(EMPTY), Wish::default(), "is loading"),
            (Seen { watched: true, ..seen(MASTER) }, seen(EMPTY), Wish::default(), "Sentinels"),
            (Seen { local: true, ..seen(MASTER) }, seen(EMPTY), Wish::default(), "cannot reach"),
            (Seen { databases: Some(17), ..seen(MASTER) }, seen(EMPTY), Wish::default(), "17"),
        ] {
            match position(&from, &to, &wish) {
                Err(said) => assert!(said.contains(why), "{said}: {why}"),
                Ok(position) => panic!("{why}: {position:?}"),
            }
        }
        let replace = Wish { replace: true, ..Wish::default() };
        assert_eq!(position(&seen(MASTER), &seen(MASTER), &replace), Ok(Position::Apart));
    }
}
