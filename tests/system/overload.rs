//! More work than a server can do: part of it is refused and counted, while replication, who watches and who manages
//! go on; and it ends by itself.

use crate::support::client::Client;
use crate::support::server::{Kind, free_port};
use crate::support::wait_until;
use crate::{plan, replica_of, wait_for_link};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

#[test]
fn work_is_refused_and_what_matters_goes_on() {
    for cores in [1, 2] {
        let admin_port = free_port("127.0.0.1");
        let server = plan(Kind::Ours(cores))
            .arg("overload-turn-ms", &["5"])
            .arg("admin-port", &[&admin_port.to_string()])
            .start();
        let replica = replica_of(plan(Kind::Redis), "127.0.0.1", server.port());
        wait_for_link(&replica);
        let mut setup = server.client();
        for part in 0..20 {
            let words: Vec<String> = (0..1_000).map(|n| format!("element {n} of {part}")).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            setup.call(&[&["RPUSH", "long"], &words[..]].concat());
        }
        let (stop, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let sorters: Vec<_> = (0..6)
            .map(|_| {
                let mut client = server.client();
                let (stop, refused) = (Arc::clone(&stop), Arc::clone(&refused));
                let work = move || {
                    while !stop.load(Ordering::Relaxed) {
                        let said = client.call(&["SORT", "long", "ALPHA", "LIMIT", "0", "1"]);
                        match said.starts_with(b"-THROTTLED") {
                            true => drop(refused.fetch_add(1, Ordering::Relaxed)),
                            false => {
                                assert!(said.starts_with(b"*1\r\n"), "{}", said.escape_ascii())
                            }
                        }
                    }
                };
                thread::Builder::new().spawn(work).unwrap()
            })
            .collect();
        wait_until("some are refused", || refused.load(Ordering::Relaxed) > 20);
        // Who watches is answered at the public door, and who manages at the other one, whatever he asks.
        let mut watcher = server.client();
        let mut manager = Client::connect(&format!("127.0.0.1:{admin_port}")).unwrap();
        for n in 0..20 {
            watcher.expect(&["PING"], "+PONG\r\n");
            watcher.expect(&["PUBLISH", "__sentinel__:hello", "x"], ":0\r\n");
            assert_eq!(watcher.info("role").as_deref(), Some("master"));
            manager.expect(&["SET", "manager", &n.to_string()], "+OK\r\n");
        }
        wait_until("the replica has what was written", || {
            replica.ask(&["GET", "manager"]) == b"$2\r\n19\r\n"
        });
        assert_eq!(replica.info("master_link_status").as_deref(), Some("up"));
        let counted = watcher.text(&["INFO", "errorstats"]);
        assert!(counted.contains("errorstat_THROTTLED:count="), "{counted}");
        stop.store(true, Ordering::Relaxed);
        sorters.into_iter().for_each(|it| it.join().unwrap());
        wait_until("all is served again", || {
            (0..50).all(|_| watcher.call(&["GET", "manager"]) == b"$2\r\n19\r\n")
        });
        assert!(server.log().contains("part of the requests is refused"), "{}", server.log());
    }
}
