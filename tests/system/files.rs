//! Snapshot files travel between the makes: what one saves, the other loads.

use crate::support::server::{Kind, wait_until_equal};
use crate::support::wait_until;
use crate::{fill, plan};
use std::fs;

#[test]
fn what_one_saves_the_other_loads() {
    for (from, to) in [
        (Kind::Ours(1), Kind::Redis),
        (Kind::Ours(3), Kind::Redis),
        (Kind::Redis, Kind::Ours(1)),
        (Kind::Redis, Kind::Ours(3)),
        (Kind::Ours(3), Kind::Ours(1)),
    ] {
        for command in ["SAVE", "BGSAVE"] {
            let saver = plan(from).start();
            fill(&saver, 400);
            let mut client = saver.client();
            if command == "SAVE" {
                client.expect(&["SAVE"], "+OK\r\n");
            } else {
                client.expect(&["BGSAVE"], "+Background saving started\r\n");
                wait_until("the file is written", || {
                    client.info("rdb_bgsave_in_progress").as_deref() == Some("0")
                });
                assert_eq!(client.info("rdb_last_bgsave_status").as_deref(), Some("ok"));
            }
            let mut loader = plan(to).start();
            loader.kill();
            fs::copy(saver.path("dump.rdb"), loader.path("dump.rdb")).unwrap();
            loader.restart();
            wait_until_equal(&saver, &loader);
        }
    }
}

/// A file that was damaged or cut is refused at the start, with a reason and without a crash.
#[test]
fn a_damaged_file_is_refused() {
    let saver = plan(Kind::Redis).start();
    fill(&saver, 50);
    saver.client().expect(&["SAVE"], "+OK\r\n");
    let whole = fs::read(saver.path("dump.rdb")).unwrap();
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 0x40;
    for bytes in [&whole[..middle], &flipped[..], b"REDIS9999", b"NOTREDIS"] {
        let mut server = plan(Kind::Ours(2)).start();
        server.kill();
        fs::write(server.path("dump.rdb"), bytes).unwrap();
        server.restart_at_once();
        assert!(!server.wait_for_exit().success());
        assert!(!server.log().contains("panicked"), "{}", server.log());
    }
}
