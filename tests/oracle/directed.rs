//! Comparisons that random commands cannot make: replies that hold different things on each
//! server, connections that end each other, time that must pass.

use crate::compare::names;
use crate::run::Pair;
use crate::support::client::Client;
use crate::support::server::Kind;
use crate::support::value::{Value, value};
use crate::support::wait_until;
use std::collections::{BTreeMap, BTreeSet};

/// Fields of INFO that stock servers have and ours need not: they tell of what ours is not made
/// of. Everything else that a monitoring tool may read must be there, under the same name.
#[rustfmt::skip] // One subject, one line.
const INFO_OF_STOCK_ONLY: &[&str] = &[
    // the allocator
    "allocator_", "rss_overhead", "mem_fragmentation_bytes", "mem_allocator", "lazyfree",
    // children by fork, and their copies of pages
    "current_cow", "current_fork", "current_save_keys", "latest_fork_usec", "total_forks",
    "rdb_last_cow_size", "aof_last_cow_size", "module_fork",
    // scripts, functions, modules, dump and defragmentation of stock servers
    "number_of_", "used_memory_vm", "used_memory_lua", "used_memory_scripts", "module", "slave_expires_tracked_keys",
    "active_defrag", "total_active_defrag", "current_active_defrag", "dump_payload_sanitizations",
    "io_thread", "monotonic_clock", "gcc_version", "redis_build_id", "redis_git", "multiplexing_api", "atomicvar_api",
    "used_cpu_user_children", "used_cpu_sys_children", "used_cpu_user_main_thread", "used_cpu_sys_main_thread",
    "reply_buffer_", "total_eviction_exceeded_time", "current_eviction_exceeded_time", "mem_not_counted_for_evict",
    "async_loading", "io_threads_active", "mem_overhead_", "mem_cluster_links", "used_memory_overhead",
    "used_memory_startup", "used_memory_dataset", "aof_", "unexpected_error_replies", "cluster_connections",
];

/// Every field that a stock server's section has, ours has too.
#[test]
fn info_has_the_fields_that_tools_read() {
    let pair = Pair::start(Kind::Ours(2));
    let mut missing = Vec::new();
    for section in ["server", "clients", "memory", "persistence", "stats", "replication", "cpu"] {
        let fields = |client: &mut Client| -> BTreeSet<String> {
            let text = client.text(&["INFO", section]);
            assert!(text.starts_with("# "), "INFO {section} begins with its heading: {text}");
            let pairs = text.lines().filter_map(|it| it.split_once(':'));
            pairs.map(|(name, _)| name.to_string()).collect()
        };
        let (real, ours) = (fields(&mut pair.real.client()), fields(&mut pair.ours.client()));
        let absent = real.difference(&ours);
        let needed = absent.filter(|it| !INFO_OF_STOCK_ONLY.iter().any(|not| it.starts_with(not)));
        missing.extend(needed.map(|it| format!("{section}: {it}")));
    }
    assert!(missing.is_empty(), "INFO lacks:\n{}", missing.join("\n"));
}

/// What COMMAND INFO says of each command that ours has: name, arity, flags and key positions.
/// Clients route by these.
#[test]
fn command_info_agrees_for_every_command_of_ours() {
    let pair = Pair::start(Kind::Ours(1));
    let (mut real, mut ours) = (pair.real.client(), pair.ours.client());
    let listed = value(&ours.call(&["COMMAND", "LIST"]));
    let count = value(&ours.call(&["COMMAND", "COUNT"])).int().unwrap();
    let top = listed.items().iter().filter(|it| !it.bytes().contains(&b'|')).count();
    assert_eq!(top, usize::try_from(count).unwrap());
    assert!(count >= 60, "only {count} commands");
    let mut differences = Vec::new();
    for name in listed.items().iter().filter(|it| !it.bytes().contains(&b'|')) {
        let name = String::from_utf8(name.bytes().to_vec()).unwrap();
        let row = |client: &mut Client| {
            value(&client.call(&["COMMAND", "INFO", &name])).items()[0].clone()
        };
        let (real, ours) = (row(&mut real), row(&mut ours));
        if real.items().is_empty() {
            continue; // Newer than the real server at hand.
        }
        let facts = |row: &Value| {
            let mut flags: Vec<Value> = row.items()[2].items().to_vec();
            flags.sort();
            // Of 7.2's further argument of these the server at hand knows nothing.
            let later = ["zrank", "zrevrank"].contains(&name.as_str());
            let at = |index: usize| row.items()[index].int().filter(|_| !later || index > 1);
            (row.items()[0].bytes().to_vec(), at(1), flags, at(3), at(4), at(5))
        };
        if facts(&real) != facts(&ours) {
            differences.push(format!(
                "{name}\n  real {:?}\n  ours {:?}",
                facts(&real),
                facts(&ours)
            ));
        }
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

/// Keys end by themselves, by a read or without one, and `expired_keys` counts them.
#[test]
fn keys_expire() {
    for kind in [Kind::Ours(2), Kind::Redis] {
        let pair = Pair::start(kind);
        let mut client = pair.ours.client();
        for n in 0..100 {
            client.expect(&["SET", &format!("gone{n}"), "x", "PX", "1"], "+OK\r\n");
            client.expect(&["SET", &format!("kept{n}"), "x", "EX", "1000"], "+OK\r\n");
        }
        for past in [["EXAT", "1"], ["PXAT", "536870912"]] {
            client.expect(&["SET", "never", "x", past[0], past[1]], "+OK\r\n");
            client.expect(&["GET", "never"], "$-1\r\n");
        }
        wait_until("a read finds the key gone", || client.call(&["GET", "gone0"]) == b"$-1\r\n");
        wait_until("the rest goes unread", || client.call(&["DBSIZE"]) == b":100\r\n");
        assert_eq!(client.info("expired_keys").as_deref(), Some("102"));
        for n in 0..100 {
            client.expect(&["EXISTS", &format!("kept{n}")], ":1\r\n");
        }
    }
}

#[test]
fn random_key_is_a_key_and_reaches_them_all() {
    for kind in [Kind::Ours(3), Kind::Redis] {
        let pair = Pair::start(kind);
        let mut client = pair.ours.client();
        client.expect(&["RANDOMKEY"], "$-1\r\n");
        let keys: BTreeSet<String> = (0..8).map(|it| format!("key{it}")).collect();
        keys.iter().for_each(|key| client.expect(&["SET", key, "x"], "+OK\r\n"));
        let drawn: BTreeSet<String> = (0..1_000).map(|_| client.text(&["RANDOMKEY"])).collect();
        assert_eq!(drawn, keys);
    }
}

/// A whole iteration returns each key that is there from its start to its end, whatever comes
/// and goes meanwhile.
#[test]
fn scan_misses_nothing_while_keys_come_and_go() {
    for kind in [Kind::Ours(3), Kind::Redis] {
        let pair = Pair::start(kind);
        let (mut client, mut other) = (pair.ours.client(), pair.ours.client());
        for n in 0..2_000 {
            client.expect(&["SET", &format!("stays:{n}"), "x"], "+OK\r\n");
        }
        let (mut seen, mut cursor, mut come) = (BTreeSet::new(), "0".to_string(), 0);
        loop {
            let reply = value(&client.call(&["SCAN", &cursor, "COUNT", "37"]));
            seen.extend(reply.items()[1].items().iter().map(|it| it.bytes().to_vec()));
            cursor = String::from_utf8(reply.items()[0].bytes().to_vec()).unwrap();
            if cursor == "0" {
                break;
            }
            // Grows the table several times over, and shrinks what grew.
            for _ in 0..200 {
                other.call(&["SET", &format!("comes:{come}"), "x"]);
                come += 1;
            }
            other.call(&["DEL", &format!("comes:{}", come / 2)]);
        }
        let stayed = seen.iter().filter(|it| it.starts_with(b"stays:")).count();
        assert_eq!(stayed, 2_000);
    }
}

#[test]
fn client_kill_ends_those_it_names_and_the_caller_last() {
    for kind in [Kind::Ours(2), Kind::Redis] {
        let pair = Pair::start(kind);
        let mut client = pair.ours.client();
        let address = |of: &mut Client| {
            let line = of.text(&["CLIENT", "INFO"]);
            line.split(' ').find_map(|it| it.strip_prefix("addr=")).unwrap().to_string()
        };
        let (mut by_address, mut by_id) = (pair.ours.client(), pair.ours.client());
        let victim = address(&mut by_address);
        client.expect(&["CLIENT", "KILL", &victim], "+OK\r\n");
        assert_eq!(by_address.until_closed().unwrap(), b"");
        client.expect(&["CLIENT", "KILL", &victim], "-ERR No such client\r\n");
        let id = by_id.text(&["CLIENT", "ID"]);
        client.expect(&["CLIENT", "KILL", "ID", &id], ":1\r\n");
        assert_eq!(by_id.until_closed().unwrap(), b"");

        let mut others: Vec<Client> = (0..5).map(|_| pair.ours.client()).collect();
        others.iter_mut().for_each(|it| it.expect(&["PING"], "+PONG\r\n"));
        client.expect(&["CLIENT", "KILL", "TYPE", "normal"], ":5\r\n");
        for mut other in others {
            assert_eq!(other.until_closed().unwrap(), b"");
        }
        client.expect(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"], ":1\r\n");
        assert_eq!(client.until_closed().unwrap(), b"");
    }
}

/// A paused server holds writes (or everything) back, and lets them go at the end.
#[test]
fn client_pause_holds_and_unpause_lets_go() {
    for kind in [Kind::Ours(2), Kind::Redis] {
        let pair = Pair::start(kind);
        let (mut client, mut held) = (pair.ours.client(), pair.ours.client());
        client.expect(&["CLIENT", "PAUSE", "60000", "WRITE"], "+OK\r\n");
        held.expect(&["GET", "k"], "$-1\r\n");
        held.send(b"SET k v\r\n").unwrap();
        client.expect(&["GET", "k"], "$-1\r\n");
        client.expect(&["CLIENT", "UNPAUSE"], "+OK\r\n");
        assert_eq!(held.reply().unwrap(), b"+OK\r\n");
        // Pausing all holds UNPAUSE back too: only time ends it.
        client.expect(&["CLIENT", "PAUSE", "20"], "+OK\r\n");
        held.expect(&["GET", "k"], "$1\r\nv\r\n");
    }
}

/// CONFIG SET is seen by CONFIG GET, all of it or nothing.
#[test]
fn config_set_is_seen_by_config_get() {
    let pair = Pair::start(Kind::Ours(2));
    #[rustfmt::skip] // One row, one line.
    let table: &[&[&str]] = &[
        &["CONFIG", "SET", "maxmemory", "100mb"],             &["CONFIG", "GET", "maxmemory"],
        &["CONFIG", "SET", "maxmemory", "1gb"],               &["CONFIG", "GET", "MaxMemory"],
        &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"], &["CONFIG", "GET", "maxmemory-policy"],
        &["CONFIG", "SET", "timeout", "300", "maxmemory", "0"], &["CONFIG", "GET", "timeout", "maxmemory"],
        &["CONFIG", "SET", "timeout", "100", "maxmemory", "x"], &["CONFIG", "GET", "timeout"],
        &["CONFIG", "SET", "timeout", "100", "timeout", "200"], &["CONFIG", "GET", "timeout"],
        &["CONFIG", "SET", "tcp-keepalive", "60"],            &["CONFIG", "GET", "tcp-keepalive"],
        &["CONFIG", "SET", "repl-timeout", "0"],              &["CONFIG", "SET", "min-replicas-to-write", "-1"],
        &["CONFIG", "SET", "save", "100 1 200 2"],            &["CONFIG", "GET", "save"],
        &["CONFIG", "SET", "save", ""],                       &["CONFIG", "GET", "save"],
        &["CONFIG", "SET", "save", "nonsense"],               &["CONFIG", "SET", "timeout"],
        &["CONFIG", "SET", "masterauth", "secret"],           &["CONFIG", "GET", "masterauth"],
        &["CONFIG", "SET", "slowlog-max-len", "12"],          &["CONFIG", "GET", "slowlog-max-len"],
        &["CONFIG", "SET", "requirepass", "secret"],          &["CONFIG", "GET", "requirepass"],
    ];
    let (mut real, mut ours) = (pair.real.client(), pair.ours.client());
    for args in table {
        // CONFIG GET of several names answers in no particular order.
        let pairs = |reply: Vec<u8>| match value(&reply) {
            Value::List(_, items) => {
                items.chunks(2).map(|it| (it[0].bytes().to_vec(), it[1].bytes().to_vec())).collect()
            }
            other => BTreeMap::from([(other.bytes().to_vec(), vec![other.kind()])]),
        };
        assert_eq!(pairs(real.call(args)), pairs(ours.call(args)), "{args:?}");
    }
}

/// What came with Redis 7.2, so that the real server at hand cannot judge it.
#[test]
fn the_client_commands_of_redis_7_2() {
    let pair = Pair::start(Kind::Ours(1));
    if pair.ours.plan.kind.is_stock() {
        return;
    }
    let mut client = pair.ours.client();
    client.expect(&["CLIENT", "NO-TOUCH", "on"], "+OK\r\n");
    client.expect(&["CLIENT", "NO-TOUCH", "maybe"], "-ERR syntax error\r\n");
    client.expect(&["CLIENT", "SETINFO", "LIB-NAME", "tester"], "+OK\r\n");
    client.expect(&["CLIENT", "SETINFO", "lib-ver", "1.2.3"], "+OK\r\n");
    client.expect(&["CLIENT", "SETINFO", "FOO", "x"], "-ERR Unrecognized option 'FOO'\r\n");
    let line = client.text(&["CLIENT", "INFO"]);
    assert!(line.contains("lib-name=tester") && line.contains("lib-ver=1.2.3"), "{line}");
    let names = names(line.as_bytes());
    assert_eq!(names.first().map(String::as_str), Some("id"), "{names:?}");
}
