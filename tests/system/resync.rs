//! A full sync whose link breaks goes on where it was: what is sent twice is bounded, however large the data set.

#![expect(clippy::disallowed_methods, reason = "a link that stands still needs a clock")]

use crate::support::proxy::Proxy;
use crate::support::server::{Kind, Server, wait_until_equal};
use crate::support::wait_until;
use crate::support::writers::Writers;
use crate::{count, plan, wait_for_link};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const KEYS: u64 = 200_000;
const VALUE: u64 = 1_000;
const CUTS: u64 = 3;

/// A link that carries so many bytes and then stands still, so that a cut finds it in the middle however fast all is.
struct Gate {
    limit: AtomicU64,
    passed: AtomicU64,
}

impl Gate {
    const fn closed() -> Self {
        Self { limit: AtomicU64::new(0), passed: AtomicU64::new(0) }
    }

    fn pass(&self, bytes: usize) {
        self.passed.fetch_add(bytes as u64, Ordering::SeqCst);
        while self.passed.load(Ordering::SeqCst) > self.limit.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn open_to(&self, limit: u64) {
        self.limit.store(limit, Ordering::SeqCst);
    }

    fn wait_until_full(&self) {
        wait_until("the link has carried what it may", || {
            self.passed.load(Ordering::SeqCst) > self.limit.load(Ordering::SeqCst)
        });
    }
}

fn ringfold(server: &Server, field: &str) -> u64 {
    let info = server.client().text(&["INFO", "ringfold"]);
    let value = info.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    value.unwrap_or_else(|| panic!("no {field}")).trim().parse().unwrap()
}

/// A replica that is told whom to follow once it runs: while its link stands still it loads, and says nothing else.
fn following(kind: Kind, port: u16) -> Server {
    let replica = plan(kind).start();
    replica.client().expect(&["REPLICAOF", "127.0.0.1", &port.to_string()], "+OK\r\n");
    replica
}

#[test]
fn a_large_sync_goes_on_where_its_link_broke() {
    static GATE: Gate = Gate::closed();
    for (master, replica) in [(2, 3), (1, 1)] {
        let master = plan(Kind::Ours(master)).arg("rdbcompression", &["no"]).start();
        let populate = ["DEBUG", "POPULATE", &KEYS.to_string(), "key", &VALUE.to_string()];
        master.client().expect(&populate, "+OK\r\n");
        let data = KEYS * VALUE;
        GATE.passed.store(0, Ordering::SeqCst);
        GATE.open_to(data / (CUTS + 1));
        let link = Proxy::tampering(&master.address(), |_, bytes| GATE.pass(bytes.len()));
        let replica = following(Kind::Ours(replica), link.port);
        let writers = Writers::gentle(&master.address(), None);
        for cut in 1..=CUTS {
            GATE.wait_until_full();
            link.cut();
            wait_until("the master has seen it", || ringfold(&master, "sync_full_awaited") == 1);
            // Writers go on meanwhile; what they overwrite is handed to the snapshot.
            writers.wait_for_more(50);
            GATE.open_to(if cut < CUTS { data * (cut + 1) / (CUTS + 1) } else { u64::MAX });
            link.mend();
            wait_until("it goes on", || ringfold(&master, "sync_full_resumed") == cut);
        }
        wait_for_link(&replica);
        let moved = count(&master, "total_net_repl_output_bytes");
        writers.stop();
        wait_until_equal(&master, &replica);
        assert_eq!(count(&master, "sync_full"), 1);
        assert!(moved <= data + data / 10, "{moved} bytes for {data}");
        assert_eq!(ringfold(&master, "sync_full_awaited"), 0);
        // The stream goes on as ever after it, over a broken link, too.
        link.cut();
        master.client().expect(&["SET", "while", "away"], "+OK\r\n");
        link.mend();
        wait_until_equal(&master, &replica);
        assert_eq!(count(&master, "sync_full"), 1);
    }
}

/// A master that restarts knows nothing of the snapshot: the replica begins anew, and says nothing wrong meanwhile.
#[test]
fn a_sync_that_cannot_go_on_begins_anew() {
    let mut master = plan(Kind::Ours(2)).arg("rdbcompression", &["no"]).start();
    master.client().expect(&["DEBUG", "POPULATE", "100000", "key", "1000"], "+OK\r\n");
    static GATE: Gate = Gate::closed();
    GATE.open_to(20_000_000);
    let link = Proxy::tampering(&master.address(), |_, bytes| GATE.pass(bytes.len()));
    let replica = following(Kind::Ours(2), link.port);
    GATE.wait_until_full();
    master.kill();
    wait_until("it has begun to load", || {
        replica.client().call(&["GET", "key:1"]).starts_with(b"-LOADING")
    });
    GATE.open_to(u64::MAX);
    master.restart();
    master.client().expect(&["SET", "another", "life"], "+OK\r\n");
    wait_for_link(&replica);
    wait_until_equal(&master, &replica);
    assert_eq!(ringfold(&master, "sync_full_resumed"), 0);
}
