//! Commands of replication: REPLICAOF, ROLE, WAIT, WAITAOF (FAILOVER: `failover.rs`), and what replicas say (REPLCONF, PSYNC, SYNC).
//!
//! The words are read here; what follows from them is decided on core 0 (`control.rs`,
//! `feeding.rs`, `following.rs`). Sessions that send REPLCONF, PSYNC or SYNC were moved to core 0
//! before they get here.
//!
//! The trap: after PSYNC the replica's socket carries the feed and nothing else. So PSYNC is
//! refused while replies wait, and it writes no reply of its own.

use crate::base::num::parse_i64;
use crate::command::args::Args;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::node::control::Ask;
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::failover;
use crate::node::outbox::Level;
use crate::node::session::Kind;
use crate::replication::acks::Wish;
use crate::replication::flows::Join;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;

#[rustfmt::skip] // One row, one line.
pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::new(rows::REPLICAOF, replica_of),
    Command::new(rows::SLAVEOF,   replica_of),
    Command::new(rows::FAILOVER,  failover::failover),
    Command::new(rows::ROLE,      role),
    Command::new(rows::WAIT,      wait),
    Command::new(rows::WAITAOF,   wait_aof),
    Command::new(rows::REPLCONF,  replconf),
    Command::new(rows::PSYNC,     psync),
    Command::new(rows::SYNC,      sync),
];

/// `REPLICAOF host port` or `REPLICAOF NO ONE`.
fn replica_of(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if cx.core.view.settings.cluster_enabled {
        return Err(ErrorKind::ClusterReplicaof);
    }
    let master = parse_master(args, cx.session().kind)?;
    cx.ask(Ask::ReplicaOf(master));
    Ok(())
}

fn parse_master(args: Args<'_>, kind: Kind) -> Result<Option<(Vec<u8>, u16)>, ErrorKind> {
    if args.is(1, "NO") && args.is(2, "ONE") {
        return Ok(None);
    }
    if kind == Kind::Replica {
        return Err(ErrorKind::NotForReplicas);
    }
    let port = parse_i64(&args[2]).and_then(|port| u16::try_from(port).ok());
    Ok(Some((args[1].to_vec(), port.ok_or(ErrorKind::MasterPort)?)))
}

fn role(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.ask_core(0, "role", args);
    Ok(())
}

/// ROLE on core 0.
pub(super) fn role_part(core: &mut Core, _: &PartHead, _: Args<'_>, reply: &mut Reply<'_>) {
    let now = core.now.mono;
    let Some(control) = &core.control else { return };
    let signed = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
    if let Some((host, port)) = &control.following.master {
        let status = control.following.replica.status(now);
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(host);
        reply.int(i64::from(*port));
        reply.bulk(status.state.as_bytes());
        // Redis knows no offset of a link that is down.
        reply.int(if status.up { signed(status.applied) } else { -1 });
        return;
    }
    let online: Vec<_> = control.master.rows(now).filter(|row| row.state == "online").collect();
    reply.array(3);
    reply.bulk(b"master");
    reply.int(signed(control.offset()));
    reply.array(online.len());
    for row in online {
        reply.array(3);
        reply.bulk(row.ip);
        reply.bulk(row.port.to_string().as_bytes());
        reply.bulk(row.offset.to_string().as_bytes());
    }
}

/// `WAIT numreplicas timeout`
fn wait(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if cx.core.view.is_replica() {
        return Err(ErrorKind::WaitOnReplica);
    }
    let (replicas, timeout_ms) = parse_wait(args)?;
    ask_wait(cx, Wish::Replicas(replicas), timeout_ms);
    Ok(())
}

fn ask_wait(cx: &mut NodeCx<'_>, wish: Wish, timeout_ms: u64) {
    // Nothing in a transaction blocks: it tells how many there are.
    let executing = cx.session().is_executing();
    let wish = if executing { wish.at_once() } else { wish };
    cx.session().rare_mut().blocked = !executing; // Until its reply is there.
    cx.ask(Ask::Wait { wish, timeout_ms });
}

/// `WAITAOF numlocal numreplicas timeout`
fn wait_aof(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (local, replicas, timeout_ms) = parse_wait_aof(args)?;
    if cx.core.view.is_replica() {
        return Err(ErrorKind::WaitAofOnReplica);
    }
    if local && !cx.core.view.settings.appendonly {
        return Err(ErrorKind::WaitAofWithoutFile);
    }
    ask_wait(cx, Wish::Files { local, replicas }, timeout_ms);
    Ok(())
}

fn parse_wait_aof(args: Args<'_>) -> Result<(bool, usize, u64), ErrorKind> {
    let local = match parse_i64(&args[1]).ok_or(ErrorKind::NotAnInteger)? {
        0 => false,
        1 => true,
        _ => return Err(ErrorKind::NotBetween { low: 0, high: 1 }),
    };
    let replicas = parse_i64(&args[2]).and_then(|it| usize::try_from(it).ok());
    let timeout_ms = parse_i64(&args[3]).ok_or(ErrorKind::TimeoutNotAnInteger)?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| ErrorKind::TimeoutNegative)?;
    Ok((local, replicas.ok_or(ErrorKind::NotPositive)?, timeout_ms))
}

fn parse_wait(args: Args<'_>) -> Result<(usize, u64), ErrorKind> {
    let replicas = parse_i64(&args[1]).ok_or(ErrorKind::NotAnInteger)?;
    let timeout_ms = parse_i64(&args[2]).ok_or(ErrorKind::TimeoutNotAnInteger)?;
    let timeout_ms = u64::try_from(timeout_ms).map_err(|_| ErrorKind::TimeoutNegative)?;
    // Fewer than none are always there.
    Ok((usize::try_from(replicas).unwrap_or(0), timeout_ms))
}

/// What a replica tells of itself, and its acknowledgements, which are not answered.
fn replconf(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (conn, out) = (cx.conn, &mut *cx.reply.out);
    let options = args.words().get(1..).unwrap_or_default();
    cx.core.with_control(cx.out, |control, node| control.replconf(node, conn, options, out));
    Ok(())
}

/// `PSYNC replicationid offset`
fn psync(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if args.is(3, "FAILOVER") {
        return take_over(cx, [&args[1], &args[2]]);
    }
    attach(cx, Some([&args[1], &args[2]]))
}

fn sync(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    attach(cx, None)
}

/// `PSYNC replicationid offset FAILOVER`: answered when this node is a master.
fn take_over(cx: &mut NodeCx<'_>, psync: [&[u8]; 2]) -> Result<(), ErrorKind> {
    if !cx.core.view.is_replica() {
        return Err(ErrorKind::PsyncFailover);
    }
    let (conn, mut done) = (cx.conn, Ok(()));
    cx.core.with_control(cx.out, |it, node| done = it.failover_requested(node, conn, psync));
    done
}

fn attach(cx: &mut NodeCx<'_>, args: Option<[&[u8]; 2]>) -> Result<(), ErrorKind> {
    let conn = cx.conn;
    let session = cx.session();
    if session.kind == Kind::Replica {
        return Ok(()); // It is attached; Redis, too, does not answer.
    }
    let backlog = session.rare.as_ref().is_some_and(|rare| rare.backlog_bytes > 0);
    let (busy, generation) = (session.flight.is_some() || backlog, session.generation);
    if busy || cx.out.has_output(conn) || cx.core.roads.holds(conn, generation) {
        return Err(ErrorKind::SyncWithOutput);
    }
    let (reply, mut done) = (&mut *cx.reply.out, Ok(()));
    if let Some(join) = args.and_then(Join::parse) {
        let join = join.ok_or(ErrorKind::FlowRefused)?;
        cx.core.with_control(cx.out, |control, node| control.join_flow(node, conn, join, reply));
        return Ok(());
    }
    cx.core.with_control(cx.out, |control, node| {
        if control.failover.is_on() {
            done = Err(ErrorKind::SyncInFailover);
        } else if args.is_some_and(|args| control.would_empty(args)) {
            let text = "A replica has data and this master started without: it is not served until \
                        REPLICAOF NO ONE is sent here";
            node.log(Level::Warning, text);
            done = Err(ErrorKind::SyncFromEmpty);
        } else {
            control.psync(node, conn, args, reply);
        }
    });
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::node::testing::{Node, check};

    /// A session that goes to core 0 takes the replies with it that wait for the stream.
    #[test]
    fn what_was_answered_before_a_move_arrives() {
        let mut node = Node::new(3);
        let replica = node.connect_on(0);
        node.send(replica, b"PSYNC ? -1\r\n");
        node.advance(1_000);
        for core in 0..3 {
            let client = node.connect_on(core);
            let sets: String = (0..9).map(|n| format!("SET k{n} v\r\n")).collect();
            let all = format!("{sets}REPLCONF listening-port 70000\r\nPING\r\n");
            let expected = format!("{}+PONG\r\n", "+OK\r\n".repeat(10));
            let said = node.send(client, all.as_bytes());
            assert_eq!(String::from_utf8_lossy(&said), expected, "core {core}");
        }
    }

    /// A replica that is refused may ask again, or go on as any client.
    #[test]
    fn a_psync_that_is_refused_makes_no_replica() {
        let refusal = "-ERR value is not an integer or out of range";
        let tries: String = ["a", "b", "c"]
            .iter()
            .map(|it| {
                format!(
                    "{it}> REPLCONF
                     {it}< +OK
                     {it}> PSYNC ? x
                     {it}< {refusal}
                     {it}> PSYNC ? x
                     {it}< {refusal}
                     {it}> CLIENT LIST TYPE replica
                     {it}< $0
                     {it}> SET k v
                     {it}< +OK\n"
                )
            })
            .collect();
        check(&tries);
    }

    fn words(line: &str) -> Vec<&[u8]> {
        line.split(' ').map(str::as_bytes).collect()
    }

    /// What redis-server 7.0.15 answers.
    #[test]
    fn a_master_is_a_host_and_a_port() {
        let parse = |line: &str, kind| parse_master(Args::new(&words(line)), kind);
        assert_eq!(parse("REPLICAOF no oNe", Kind::Replica), Ok(None));
        assert_eq!(parse("REPLICAOF h 6379", Kind::Normal), Ok(Some((b"h".to_vec(), 6379))));
        for port in ["b", "70000", "-1", "two", ""] {
            let line = format!("REPLICAOF no {port}");
            assert_eq!(parse(&line, Kind::Normal), Err(ErrorKind::MasterPort), "{line}");
        }
        assert_eq!(parse("REPLICAOF h 1", Kind::Replica), Err(ErrorKind::NotForReplicas));
    }

    #[test]
    fn wait_reads_its_numbers_in_order() {
        let parse = |line: &str| parse_wait(Args::new(&words(line)));
        assert_eq!(parse("WAIT 2 100"), Ok((2, 100)));
        assert_eq!(parse("WAIT -1 0"), Ok((0, 0)));
        assert_eq!(parse("WAIT x y"), Err(ErrorKind::NotAnInteger));
        assert_eq!(parse("WAIT 1 y"), Err(ErrorKind::TimeoutNotAnInteger));
        assert_eq!(parse("WAIT 1 -1"), Err(ErrorKind::TimeoutNegative));
    }
}
