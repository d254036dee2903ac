//! TLS: clients, certificates, reloads, whoever means no good, and replication between both makes.
//!
//! Certificates are made anew for each test. A test that a stock server passes too is asked of it as well.

use crate::support::client::Client;
use crate::support::server::{Folder, Kind, Plan, Server, free_port, wait_until_equal};
use crate::support::{wait_for, wait_until};
use crate::{MATRIX, count, fill, plan, wait_for_link};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use ringfold::tls::contexts::{Connecting, Pair};
use rustls::ClientConfig;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const OURS: [Kind; 2] = [Kind::Ours(1), Kind::Ours(3)];
const ALL: [Kind; 3] = [Kind::Ours(1), Kind::Ours(3), Kind::Redis];

/// An authority and what it has signed, in files.
pub(super) struct Authority {
    folder: Folder,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let folder = Folder::new();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("{}", folder.0.display()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(folder.0.join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        let authority = Self { issuer: Issuer::new(params, key), folder };
        authority.sign("server");
        authority
    }

    /// A certificate with this common name, and its key, in files of that name.
    fn sign(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        fs::write(self.folder.0.join(format!("{name}.crt")), certificate).unwrap();
        fs::write(self.folder.0.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub(super) fn path(&self, file: &str) -> String {
        self.folder.0.join(file).to_str().unwrap().to_string()
    }

    pub(super) fn arm(&self, plan: Plan) -> Plan {
        let port = free_port("127.0.0.1").to_string();
        plan.arg("tls-port", &[&port])
            .arg("tls-cert-file", &[&self.path("server.crt")])
            .arg("tls-key-file", &[&self.path("server.key")])
            .arg("tls-ca-cert-file", &[&self.path("ca.crt")])
    }

    fn pair(&self, name: &str) -> Pair {
        Pair {
            certificate: fs::read(self.path(&format!("{name}.crt"))).unwrap(),
            key: fs::read(self.path(&format!("{name}.key"))).unwrap(),
            ..Pair::default()
        }
    }

    /// A client that trusts this authority, and shows that certificate of it.
    fn config(&self, shows: Option<Pair>) -> Arc<ClientConfig> {
        let text = fs::read(self.path("ca.crt")).unwrap();
        let authorities = vec![("ca.crt".into(), text)];
        Connecting { shows, authorities, ..Connecting::default() }.build().unwrap()
    }

    fn client(&self, server: &Server, shows: &str) -> Client {
        let config = self.config(Some(self.pair(shows)));
        Client::connect_tls(&tls_address(server), config).unwrap()
    }
}

pub(super) fn tls_port(server: &Server) -> String {
    let args = &server.plan.args;
    args[args.iter().position(|it| it == "--tls-port").unwrap() + 1].clone()
}

fn tls_address(server: &Server) -> String {
    format!("{}:{}", server.plan.ip, tls_port(server))
}

/// A connection on which the first request fails, as it does where a certificate is refused.
fn is_refused(server: &Server, config: Arc<ClientConfig>) -> bool {
    match Client::connect_tls(&tls_address(server), config) {
        Ok(mut client) => client.try_call(&["PING"]).is_err(),
        Err(_) => true,
    }
}

/// The client that people use, with what it sends cut at its own whim.
#[test]
fn redis_cli_over_tls() {
    let authority = Authority::new();
    for kind in ALL {
        let server = authority.arm(Plan::new(kind)).start();
        let cli = |args: &[&str], input: &[u8]| {
            let mut child = Command::new("redis-cli")
                .args(["--tls", "--cacert", &authority.path("ca.crt")])
                .args(["--cert", &authority.path("server.crt")])
                .args([
                    "--key",
                    &authority.path("server.key"),
                    "--insecure",
                    "-p",
                    &tls_port(&server),
                ])
                .args(args)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(input).unwrap();
            let output = child.wait_with_output().unwrap();
            String::from_utf8_lossy(&output.stdout).trim().to_string()
        };
        assert_eq!(cli(&["SET", "key", "value"], b""), "OK");
        assert_eq!(cli(&["GET", "key"], b""), "value");
        let large = "x".repeat(3_000_000);
        assert_eq!(cli(&["-x", "SET", "large"], large.as_bytes()), "OK");
        assert!(cli(&["GET", "large"], b"") == large);
        let mut many = Vec::new();
        for n in 0..20_000 {
            many.extend_from_slice(format!("SET key:{n} {n}\r\n").as_bytes());
        }
        let told = cli(&["--pipe"], &many);
        assert!(told.contains("errors: 0, replies: 20000"), "{told}");
        assert_eq!(cli(&["DBSIZE"], b""), "20002");
        assert!(!server.log().contains("Error accepting"), "{}", server.log());
    }
}

/// Requests and replies much larger than a record, many at once, on keys of all cores; a client that is told
/// things and one that waits for them.
#[test]
fn large_pipelines_pubsub_and_blocking() {
    let authority = Authority::new();
    for kind in ALL {
        let server = authority.arm(Plan::new(kind)).start();
        let mut client = authority.client(&server, "server");
        let values: Vec<String> =
            (0..60).map(|n| format!("{n}").repeat(1 + n * n * 97 % 70_000)).collect();
        let mut packet = Vec::new();
        for (n, value) in values.iter().enumerate() {
            let name = format!("key:{n}");
            packet.extend(crate::support::client::request(&[
                b"SET",
                name.as_bytes(),
                value.as_bytes(),
            ]));
            packet.extend(crate::support::client::request(&[b"GET", name.as_bytes()]));
        }
        client.send(&packet).unwrap();
        for value in &values {
            assert_eq!(client.reply().unwrap(), b"+OK\r\n");
            let expected = format!("${}\r\n{value}\r\n", value.len());
            assert!(client.reply().unwrap() == expected.as_bytes());
        }
        client.expect(&["MULTI"], "+OK\r\n");
        client.expect(&["INCR", "a"], "+QUEUED\r\n");
        client.expect(&["INCR", "b"], "+QUEUED\r\n");
        client.expect(&["EXEC"], "*2\r\n:1\r\n:1\r\n");

        let mut listener = authority.client(&server, "server");
        listener.expect(&["SUBSCRIBE", "news"], "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
        let message = "m".repeat(100_000);
        server.client().expect(&["PUBLISH", "news", &message], ":1\r\n");
        let told = format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$100000\r\n{message}\r\n");
        assert!(listener.reply().unwrap() == told.as_bytes());

        let mut waits = authority.client(&server, "server");
        waits.send(b"BLPOP list 0\r\n").unwrap();
        wait_until("it waits", || server.info("blocked_clients").as_deref() == Some("1"));
        server.client().expect(&["RPUSH", "list", "element"], ":1\r\n");
        assert_eq!(waits.reply().unwrap(), b"*2\r\n$4\r\nlist\r\n$7\r\nelement\r\n");
        client.expect(&["QUIT"], "+OK\r\n");
        assert!(client.until_closed().unwrap().is_empty());
    }
}

/// A session that goes to another core takes its keys along.
#[test]
fn a_secured_session_that_moves_loses_no_reply() {
    let authority = Authority::new();
    for kind in OURS {
        let server = authority.arm(Plan::new(kind)).start();
        for _ in 0..6 {
            let mut client = authority.client(&server, "server");
            let packet = "PING\r\nSET k v\r\nREPLCONF listening-port 70000\r\nPING\r\nREPLCONF\r\n";
            client.send(packet.as_bytes()).unwrap();
            for expected in ["+PONG\r\n", "+OK\r\n", "+OK\r\n", "+PONG\r\n", "+OK\r\n"] {
                assert_eq!(client.reply().unwrap(), expected.as_bytes());
            }
            for n in 0..50 {
                let value = format!("{n}").repeat(1_000);
                client.expect(&["SET", "k", &value], "+OK\r\n");
                client.expect(&["GET", "k"], &format!("${}\r\n{value}\r\n", value.len()));
            }
        }
    }
}

/// Who must show a certificate, who may, and whose is refused; and what the log says of it.
#[test]
fn certificates_of_clients() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign("alice");
    for kind in ALL {
        for asks in ["yes", "optional", "no"] {
            let server = authority.arm(Plan::new(kind)).arg("tls-auth-clients", &[asks]).start();
            let bare = authority.config(None);
            assert_eq!(is_refused(&server, bare), asks == "yes", "{kind:?} {asks}");
            let bad = authority.config(Some(stranger.pair("server")));
            assert_eq!(is_refused(&server, bad), asks != "no", "{kind:?} {asks}");
            assert!(!is_refused(&server, authority.config(Some(authority.pair("alice")))));
            // It does not trust the server's authority.
            assert!(is_refused(&server, stranger.config(Some(authority.pair("alice")))));
            if !kind.is_stock() {
                let says = |what: &str| wait_until(what, || server.log().contains(what));
                says("Error accepting a client connection: received fatal alert: UnknownCA");
                if asks != "no" {
                    says(
                        "Error accepting a client connection: invalid peer certificate: UnknownIssuer",
                    );
                }
                if asks == "yes" {
                    says("Error accepting a client connection: peer sent no certificates");
                }
            }
            authority.client(&server, "alice").expect(&["PING"], "+PONG\r\n");
        }
    }
}

/// The common name is the user's name, to the byte, where settings say so.
#[test]
fn the_user_of_a_certificate() {
    let authority = Authority::new();
    for name in ["alice", "alice2", "nobody"] {
        authority.sign(name);
    }
    for kind in OURS {
        let server = authority
            .arm(Plan::new(kind))
            .arg("tls-auth-clients-user", &["CN"])
            .arg("user", &["alice", "on", "nopass", "+@all", "~a*"])
            .arg("user", &["alice2", "off", "nopass", "+@all", "~*"])
            .arg("user", &["default", "on", "nopass", "+ping", "+acl|whoami"])
            .start();
        let who = |name: &str| authority.client(&server, name).text(&["ACL", "WHOAMI"]);
        assert_eq!(who("alice"), "alice");
        assert_eq!(who("alice2"), "default", "she is off");
        assert_eq!(who("nobody"), "default");
        let mut alice = authority.client(&server, "alice");
        alice.expect(&["SET", "abc", "v"], "+OK\r\n");
        assert!(alice.call(&["SET", "b", "v"]).starts_with(b"-NOPERM"));
        alice.expect(&["CONFIG", "SET", "tls-auth-clients-user", "off"], "+OK\r\n");
        wait_until("it holds on all cores", || (0..6).all(|_| who("alice") == "default"));
    }
}

/// Whoever speaks no TLS is told nothing useful, and gone; others do not notice.
#[test]
fn plaintext_and_garbage_are_refused() {
    let authority = Authority::new();
    for kind in OURS {
        let server = authority.arm(Plan::new(kind)).start();
        let mut other = authority.client(&server, "server");
        let hello = [0x16, 3, 1, 0xff, 0xff, 1, 0, 0xff];
        let mut endless = hello.to_vec();
        endless.extend(vec![b'x'; 300_000]);
        for bytes in [&b"PING\r\n"[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &[0; 5_000], &endless]
        {
            let mut client = Client::connect(&tls_address(&server)).unwrap();
            // It may be closed before all is sent.
            let _ = client.send(bytes);
            let answer = client.until_closed().unwrap_or_default();
            assert!(answer.len() < 100 && !answer.starts_with(b"+"), "{}", answer.escape_ascii());
            other.expect(&["PING"], "+PONG\r\n");
        }
        wait_until("it is logged", || server.log().contains("Error accepting a client connection"));
        // A plain port says nothing to a client that speaks TLS either.
        assert!(Client::connect_tls(&server.address(), authority.config(None)).is_err());
    }
}

/// A handshake that goes on byte by byte, or not at all, comes to its end; nobody waits for it.
#[test]
fn slow_handshakes_end() {
    let authority = Authority::new();
    for kind in OURS {
        let server = authority.arm(Plan::new(kind)).start();
        let mut silent: Vec<Client> =
            (0..20).map(|_| Client::connect(&tls_address(&server)).unwrap()).collect();
        let mut slow = TcpStream::connect(tls_address(&server)).unwrap();
        slow.set_nodelay(true).unwrap();
        // The head of a hello that says that it is 500 bytes long.
        let mut bytes = vec![0x16, 3, 1, 1, 0xf4, 1, 0, 1, 0xf0, 3, 3];
        bytes.resize(400, 7);
        let mut bytes = bytes.into_iter().cycle();
        let mut other = authority.client(&server, "server");
        wait_until("the slow one is closed", || {
            other.expect(&["PING"], "+PONG\r\n");
            std::thread::park_timeout(Duration::from_millis(200));
            slow.write_all(&[bytes.next().unwrap()]).is_err()
        });
        for client in &mut silent {
            assert!(client.until_closed().unwrap().is_empty());
        }
        wait_until("it is logged", || server.log().contains("the handshake took too long"));
    }
}

/// New certificates without a restart: those who are connected go on, those who come see the new ones, and what
/// cannot be used changes nothing.
#[test]
fn certificates_are_read_again() {
    let (old, new) = (Authority::new(), Authority::new());
    for kind in OURS {
        let folder = Folder::new();
        let file = folder.0.join("server.conf");
        fs::write(&file, "# ours\n").unwrap();
        let mut server = old.arm(Plan::new(kind).config(&file)).start();
        let mut before = old.client(&server, "server");
        let mut admin = server.client();
        for (words, why) in [
            (vec!["tls-cert-file", "/nowhere.crt"], "/nowhere.crt: No such file"),
            (
                vec!["tls-cert-file", &new.path("server.crt")],
                "is not the key of the certificate in",
            ),
            (vec!["tls-protocols", "SSLv3"], "Invalid tls-protocols"),
        ] {
            let mut args = vec!["CONFIG", "SET"];
            args.extend(&words);
            let reply = String::from_utf8(admin.call(&args)).unwrap();
            let head = "-ERR CONFIG SET failed (possibly related to argument 'tls-";
            assert!(reply.starts_with(head) && reply.contains(why), "{reply}");
        }
        assert!(!is_refused(&server, old.config(Some(old.pair("server")))), "the old one holds");
        let (certificate, key) = (new.path("server.crt"), new.path("server.key"));
        let authority = new.path("ca.crt");
        admin.expect(
            &[
                "CONFIG",
                "SET",
                "tls-cert-file",
                &certificate,
                "tls-key-file",
                &key,
                "tls-ca-cert-file",
                &authority,
            ],
            "+OK\r\n",
        );
        for _ in 0..6 {
            assert!(is_refused(&server, old.config(Some(old.pair("server")))));
            new.client(&server, "server").expect(&["PING"], "+PONG\r\n");
        }
        before.expect(&["SET", "still", "here"], "+OK\r\n");
        before.expect(&["GET", "still"], "$4\r\nhere\r\n");
        admin.expect(&["CONFIG", "REWRITE"], "+OK\r\n");
        let kept = fs::read_to_string(&file).unwrap();
        assert!(kept.starts_with("# ours\n") && kept.contains(&certificate), "{kept}");
        // The command line goes before the file: only its first words are the old ones.
        let args = std::mem::take(&mut server.plan.args);
        let port = args.iter().position(|it| it == "--tls-port").unwrap();
        server.plan.args = args[port..port + 2].to_vec();
        admin.send(b"SHUTDOWN NOSAVE\r\n").unwrap();
        server.wait_for_exit();
        server.restart();
        new.client(&server, "server").expect(&["PING"], "+PONG\r\n");
    }
}

/// What cannot be used is refused at the start, and said.
#[test]
fn a_start_without_a_good_certificate() {
    let authority = Authority::new();
    let other = Authority::new();
    let check = |args: &[(&str, &str)], why: &str| {
        let port = free_port("127.0.0.1").to_string();
        let mut command = Command::new(Kind::Ours(1).program());
        command.args(["--port", "0", "--bind", "127.0.0.1", "--tls-port", &port, "--cores", "1"]);
        for (name, value) in args {
            command.args([format!("--{name}"), value.to_string()]);
        }
        command.args(["--dir", authority.folder.0.to_str().unwrap()]);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.code() == Some(1) && said.contains(why), "{said}");
    };
    check(&[], "No tls-cert-file configured!");
    check(&[("tls-cert-file", "server.crt")], "No tls-key-file configured!");
    let good = [("tls-cert-file", "server.crt"), ("tls-key-file", "server.key")];
    check(&good, "Either tls-ca-cert-file or tls-ca-cert-dir must be specified");
    let with = |more: (&'static str, &'static str)| [good[0], good[1], more];
    check(&with(("tls-ca-cert-file", "server.key")), "there is no certificate in it");
    let key = other.path("server.key");
    check(
        &[good[0], ("tls-key-file", &key), ("tls-auth-clients", "no")],
        "is not the key of the certificate",
    );
}

/// Replication by the master's TLS port, between both makes: first everything, then what follows, then what was
/// missed while the link was down.
#[test]
fn replicas_over_tls() {
    let authority = Authority::new();
    for &(of_master, of_replica) in MATRIX {
        let master = authority.arm(plan(of_master)).start();
        fill(&master, 300);
        let large = "x".repeat(2_000_000);
        master.client().expect(&["SET", "large", &large], "+OK\r\n");
        let replica = authority
            .arm(plan(of_replica))
            .arg("tls-replication", &["yes"])
            .arg("replicaof", &["127.0.0.1", &tls_port(&master)])
            .start();
        wait_for_link(&replica);
        wait_until_equal(&master, &replica);
        let mut client = authority.client(&master, "server");
        for n in 0..2_000 {
            client.expect(&["SET", &format!("more:{n}"), &"v".repeat(n)], "+OK\r\n");
        }
        wait_until_equal(&master, &replica);
        let partial = count(&master, "sync_partial_ok");
        assert!(!client.call(&["CLIENT", "KILL", "TYPE", "replica"]).starts_with(b"-"));
        for n in 0..500 {
            client.expect(&["SET", &format!("missed:{n}"), "v"], "+OK\r\n");
        }
        wait_until("it came back for the rest", || count(&master, "sync_partial_ok") > partial);
        wait_for_link(&replica);
        wait_until_equal(&master, &replica);
        assert_eq!(count(&master, "sync_full"), 1, "{of_master:?} {of_replica:?}");
        // As it is shown to Sentinels: by its own TLS port.
        let shown = master.info("slave0").unwrap();
        assert!(shown.contains(&format!("port={}", tls_port(&replica))), "{shown}");
    }
}

/// A master that does not trust a replica, and a replica that does not trust its master, say so.
#[test]
fn replicas_and_masters_that_do_not_trust_each_other() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for kind in OURS {
        let master = authority.arm(plan(kind)).start();
        let follow = |armed: Plan| {
            armed
                .arg("tls-replication", &["yes"])
                .arg("replicaof", &["127.0.0.1", &tls_port(&master)])
                .start()
        };
        let distrusts = follow(stranger.arm(plan(kind)));
        wait_until("the replica says so", || {
            let log = distrusts.log();
            log.contains("SYNC: TLS: invalid peer certificate: UnknownIssuer")
        });
        let distrusted = follow(
            authority
                .arm(plan(kind))
                .arg("tls-client-cert-file", &[&stranger.path("server.crt")])
                .arg("tls-client-key-file", &[&stranger.path("server.key")]),
        );
        wait_until("the master says so", || {
            master.log().contains("client connection: invalid peer certificate: UnknownIssuer")
        });
        for replica in [&distrusts, &distrusted] {
            assert_eq!(replica.info("master_link_status").as_deref(), Some("down"));
            assert_eq!(count(&master, "connected_slaves"), 0);
        }
    }
}

/// A replica that stops reading for a while, and a stream much larger than what a socket holds.
#[test]
fn a_slow_replica_gets_every_byte_in_order() {
    let authority = Authority::new();
    for kind in OURS {
        let master = authority.arm(plan(kind)).start();
        let replica = authority
            .arm(plan(kind))
            .arg("tls-replication", &["yes"])
            .arg("replicaof", &["127.0.0.1", &tls_port(&master)])
            .start();
        wait_for_link(&replica);
        let stop = |name: &str| {
            let pid = replica.pid().to_string();
            assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        };
        stop("-STOP");
        let mut client = master.client();
        for n in 0..40 {
            client.expect(&["SET", &format!("k:{n}"), &format!("{n}").repeat(200_000)], "+OK\r\n");
        }
        stop("-CONT");
        wait_for("the replica answers", || Client::connect(&replica.address()).ok());
        wait_until_equal(&master, &replica);
        assert_eq!(count(&master, "sync_full"), 1);
    }
}

/// More TLS clients than descriptors: the idle ones are parked, and go on.
#[test]
fn secured_clients_are_parked_and_come_back() {
    let authority = Authority::new();
    let server = authority.arm(Plan::new(Kind::Ours(2)).open_files(400)).start();
    let config = authority.config(Some(authority.pair("server")));
    let address = tls_address(&server);
    let mut clients: Vec<Client> = (0..700)
        .map(|_| {
            wait_for("there is room", || {
                let mut client = Client::connect_tls(&address, Arc::clone(&config)).ok()?;
                client.try_call(&["PING"]).is_ok_and(|it| it == b"+PONG\r\n").then_some(client)
            })
        })
        .collect();
    for round in 0..2 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.expect(&["SET", &format!("k{n}"), &format!("{round}")], "+OK\r\n");
        }
    }
}

/// A key under a password: used from the start, and a password that does not fit changes nothing.
#[test]
fn keys_under_a_password() {
    let authority = Authority::new();
    let sealed = authority.path("sealed.key");
    let made = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-passout", "pass:secret", "-in", &authority.path("server.key")])
        .args(["-out", &sealed])
        .output()
        .expect("the packages of the tests bring openssl");
    assert!(made.status.success(), "{made:?}");
    for kind in ALL {
        let plan = authority.arm(Plan::new(kind));
        let server =
            plan.arg("tls-key-file", &[&sealed]).arg("tls-key-file-pass", &["secret"]).start();
        authority.client(&server, "server").expect(&["PING"], "+PONG\r\n");
        let mut admin = server.client();
        let said = String::from_utf8(admin.call(&["CONFIG", "SET", "tls-key-file-pass", "wrong"]));
        let said = said.unwrap();
        assert!(said.starts_with("-ERR CONFIG SET failed"), "{kind:?} {said}");
        authority.client(&server, "server").expect(&["PING"], "+PONG\r\n");
        let listeners = admin.text(&["INFO", "server"]);
        let port = tls_address(&server).rsplit_once(':').unwrap().1.to_string();
        let line = format!("name=tls,bind=127.0.0.1,port={port}");
        assert!(kind == Kind::Redis || listeners.contains(&line), "{listeners}");
    }
}
