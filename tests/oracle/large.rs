//! Pipelines of a size that buffers are not made for: everything is answered.

#![expect(clippy::disallowed_methods, reason = "who sends without reading needs a thread")]

use crate::support::client::request;
use crate::support::server::{Kind, Server};

const KINDS: [Kind; 3] = [Kind::Ours(1), Kind::Ours(3), Kind::Redis];

/// Sends all of it from another thread while nobody reads, and reads the replies then.
fn pipeline(server: &Server, bytes: Vec<u8>, expected: impl Iterator<Item = Vec<u8>>) {
    let mut client = server.client();
    let mut sender = client.sender();
    let writing = std::thread::spawn(move || sender.send(&bytes));
    for (index, expected) in expected.enumerate() {
        let reply = client.reply().unwrap();
        assert!(
            reply == expected,
            "reply {index}: {}",
            reply[..reply.len().min(80)].escape_ascii()
        );
    }
    writing.join().unwrap().unwrap();
}

#[test]
fn ten_thousand_commands_are_answered_though_nobody_reads_meanwhile() {
    let count = 10_000;
    for kind in KINDS {
        let server = Server::of(kind);
        let value = vec![b'x'; 5_000];
        let requests = (0..count).flat_map(|n| {
            let key = format!("key:{n}");
            [request(&[b"SET", key.as_bytes(), &value]), request(&[b"GET", key.as_bytes()])]
        });
        let bulk = [b"$5000\r\n", value.as_slice(), b"\r\n"].concat();
        let replies = (0..count).flat_map(|_| [b"+OK\r\n".to_vec(), bulk.clone()]);
        pipeline(&server, requests.flatten().collect(), replies);
    }
}
