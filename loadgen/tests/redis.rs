//! The binary against a real redis-server: counts, verification, and every way to fail.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests wait for processes"
)]

mod common;

use common::{Server, finish, free_port, json, loadgen, told};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn a_closed_loop_sends_exactly_what_was_asked() {
    let server = Server::start(&[]);
    let (report, hgrm) = (server.dir.join("r.json"), server.dir.join("r.hgrm"));
    let mut command = server.loadgen("-n 20011 -c 13 -P 7 --threads 2 --keys 500 --fill");
    command.args(["--command", "set", "--command", "get", "--command", "INCRBY n {random:9}"]);
    command.args(["--ratio", "2,5,1", "--server-pid", &server.process.id().to_string()]);
    command.arg("--json").arg(&report).arg("--hgrm").arg(&hgrm);
    let (code, out, err) = finish(command);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let report = json(&report);
    assert_eq!(report["requests"], 20011);
    assert_eq!(report["latency"]["samples"], 20011);
    let count = |index: usize| report["commands"][index]["latency"]["samples"].as_u64().unwrap();
    assert_eq!(server.calls("set"), count(0) + 500);
    assert_eq!(server.calls("get"), count(1));
    assert_eq!(server.calls("incrby"), count(2));
    assert_eq!(report["nulls"], 0, "every key was filled");
    assert!(report["cpu_ns_per_request"].as_f64().unwrap() > 0.0);
    assert!(report["server_cpu_ns_per_request"].as_f64().unwrap() > 0.0);
    assert!(out.contains("p99.999"), "{out}");
    let hgrm = std::fs::read_to_string(&hgrm).unwrap();
    assert!(hgrm.contains("Total count    =        20011"), "{hgrm}");
}

#[test]
fn an_open_loop_sends_every_slot_of_its_plan() {
    let server = Server::start(&[]);
    for arrival in ["uniform", "poisson"] {
        let report = server.dir.join(format!("{arrival}.json"));
        let before = server.calls("ping");
        let mut command = server.loadgen("--rate 4000 --duration 1 -c 20 --seed 7 --command PING");
        command.args(["--arrival", arrival]).arg("--json").arg(&report);
        let mut plan = server.loadgen("--rate 4000 --duration 1 -c 20 --seed 7 --command PING");
        plan.args(["--arrival", arrival, "--print-plan", "1000000"]);
        let (_, planned, _) = finish(plan);
        let planned = planned.lines().filter(|it| it.starts_with('#')).count() as u64;
        let (code, out, err) = finish(command);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert!((3_600..4_400).contains(&planned), "{planned}");
        let report = json(&report);
        assert_eq!(report["requests"].as_u64(), Some(planned));
        assert_eq!(server.calls("ping") - before, planned);
        let late = report["scheduling_error"]["samples"].as_u64().unwrap();
        assert_eq!(late + report["held"].as_u64().unwrap(), planned);
    }
}

/// Pausing the server must show in the latencies of all slots that fell into the pause.
#[test]
fn a_pause_of_the_server_is_not_omitted() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let report = server.dir.join("pause.json");
    let mut command = server.loadgen("--rate 2000 --arrival uniform --duration 2 -c 10 -P 1");
    command.args(["--command", "PING"]).arg("--json").arg(&report);
    let running = command.stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    server.ask("DEBUG SLEEP 0.5");
    assert!(running.wait_with_output().unwrap().status.success());
    let report = json(&report);
    assert_eq!(report["requests"], 4000);
    // 1,000 of 4,000 slots fell into half a second: they waited 250 ms on average.
    let at = |name: &str| report["latency"]["percentiles_us"][name].as_f64().unwrap();
    assert!(at("p90") > 200_000.0, "{report}");
    assert!(report["latency"]["mean_us"].as_f64().unwrap() > 45_000.0, "{report}");
}

#[test]
fn a_ledger_that_agrees_is_verified() {
    let server = Server::start(&[]);
    for options in ["-n 30000 -P 16", "--rate 20000 -n 20000", "-n 5000 --resp 3 --value 16-3000"] {
        let command = server.loadgen(&format!(
            "{options} -c 16 --threads 2 --keys 3000 --verify --command set --command get"
        ));
        let (code, out, err) = finish(command);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert!(out.contains("verified: all "), "{out}");
    }
}

#[test]
fn keys_that_vanish_in_the_middle_are_found() {
    let server = Server::start(&[]);
    // Zipf: the rare keys are written once in a while, so what is deleted now stays deleted.
    let mut command = server.loadgen(
        "--rate 3000 --duration 2 -c 4 --keys 4000 --zipf 1.2 --verify --command set --seed 3",
    );
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1700));
    let (mut gone, mut wrong) = (0, 0);
    for key in 0..4000 {
        let name = format!("key:{key:012}");
        if key % 50 < 5 && server_del(&server, &name) {
            gone += 1;
        } else if key % 500 == 7 {
            wrong += 1;
            server_set(&server, &name);
        }
    }
    let (code, out, err) = told(&running.wait_with_output().unwrap());
    assert!(gone > 0 && wrong > 0);
    assert_eq!(code, 7, "{out}{err}");
    assert!(err.contains("verification failed: of "), "{err}");
    assert!(err.contains("is gone"), "{err}");
    assert!(!out.contains("verified"), "{out}");
}

fn exchange(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut buffer = [0; 64];
    let len = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..len]).into_owned()
}

fn server_del(server: &Server, key: &str) -> bool {
    exchange(server, &format!("DEL {key}\r\n")) == ":1\r\n"
}

fn server_set(server: &Server, key: &str) {
    assert_eq!(exchange(server, &format!("SET {key} planted-by-the-test\r\n")), "+OK\r\n");
}

#[test]
fn nobody_listening_is_said_so() {
    let port = free_port();
    let (code, out, err) = finish(loadgen(&format!("--port {port} -n 10")));
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(err.contains(&format!("cannot connect to 127.0.0.1:{port}")), "{err}");
    assert!(err.contains("is a server listening there?"), "{err}");
    let (code, _, err) = finish(loadgen("-s /nowhere/redis.sock -n 10"));
    assert_eq!(code, 3);
    assert!(err.contains("/nowhere/redis.sock"), "{err}");
}

#[test]
fn error_replies_are_counted_by_kind_and_shown_once() {
    let server = Server::start(&[]);
    assert_eq!(server.ask("LPUSH list x"), ":1\r\n");
    let mut command = server.loadgen("-n 3000 -c 5 -P 4");
    command.args(["--command", "GET list", "--command", "NONSENSE", "--command", "PING"]);
    let (code, out, err) = finish(command);
    assert_eq!(code, 4, "{out}{err}");
    assert!(err.contains("WRONGTYPE ") && err.contains("ERR "), "{err}");
    assert!(err.matches("unknown command").count() <= 1, "{err}");
    assert!(server.calls("ping") > 0);
}

#[test]
fn a_server_that_dies_in_the_middle_is_said_so() {
    let mut server = Server::start(&[]);
    let mut command = server.loadgen("--duration 10 -c 10 -P 4 --threads 2 --command PING");
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let before = Instant::now();
    server.process.kill().unwrap();
    let (code, out, err) = told(&running.wait_with_output().unwrap());
    assert!(before.elapsed() < Duration::from_secs(5));
    assert_eq!(code, 5, "{out}{err}");
    assert!(err.contains("closed a connection in the middle of the run"), "{err}");
    assert!(out.contains("requests to"), "what was measured is still shown: {out}");
}

#[test]
fn a_server_that_stops_answering_is_given_up() {
    let server = Server::start(&[]);
    let mut command = server.loadgen("-n 10 -c 1 --timeout 0.5 --command");
    command.arg("BLPOP nothing 0");
    let (code, _, err) = finish(command);
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("no reply from") && err.contains("0.5 seconds"), "{err}");
}

#[test]
fn what_is_no_resp_is_said_so() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _read = stream.read(&mut [0; 1000]);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        let _read = stream.read(&mut [0; 1000]);
    });
    let (code, _, err) = finish(loadgen(&format!("--port {port} -n 10 -c 1")));
    assert_eq!(code, 6, "{err}");
    assert!(err.contains("does not speak RESP") && err.contains("HTTP/1.1 400"), "{err}");
    serving.join().unwrap();
}

#[test]
fn passwords_databases_and_unix_sockets_work() {
    let server = Server::start(&["--requirepass", "hush"]);
    let socket = server.dir.join("redis.sock");
    for options in ["--password hush", "--password hush --user default --resp 3 --db 3"] {
        let (code, out, err) = finish(server.loadgen(&format!("-n 500 --command set {options}")));
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        let unix = format!("-s {} -n 500 {options}", socket.to_str().unwrap());
        let (code, out, err) = finish(loadgen(&unix));
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
    }
    let (code, _, err) = finish(server.loadgen("-n 10 --password wrong"));
    assert_eq!(code, 4);
    assert!(err.contains("WRONGPASS") && err.contains("while connecting"), "{err}");
    let (code, _, err) = finish(server.loadgen("-n 10 -c 2"));
    assert_eq!(code, 4);
    assert!(err.contains("NOAUTH"), "{err}");
}

#[test]
fn the_same_seed_gives_the_same_plan_and_a_plan_can_be_replayed() {
    let plan = |options: &str| {
        let (code, out, err) = finish(loadgen(&format!("{options} --print-plan 500")));
        assert_eq!((code, err.as_str()), (0, ""));
        out
    };
    for options in ["--zipf 0.9 --value 8-64", "--rate 1000 --threads 2", "--verify --keys 100"] {
        let first = plan(&format!("{options} --seed 5"));
        assert_eq!(first, plan(&format!("{options} --seed 5")));
        assert_ne!(first, plan(&format!("{options} --seed 6")));
        assert_eq!(first.lines().count(), 501);
        let file = std::env::temp_dir().join(format!("loadgen-plan-{}", std::process::id()));
        std::fs::write(&file, &first).unwrap();
        assert_eq!(first, plan(&format!("--plan {}", file.to_str().unwrap())));
        std::fs::remove_file(&file).unwrap();
    }
}

#[test]
fn more_connections_than_a_process_can_have_are_refused() {
    let (code, out, err) = finish(loadgen("-c 30000000 -n 10"));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("drives 10000000 connections at most"), "{err}");
    let (code, _, err) = finish(loadgen("-c 30000 -H 192.0.2.1 --source 192.0.2.7 -n 10"));
    assert_eq!(code, 2);
    assert!(err.contains("good for 4000"), "{err}");
}

/// What one connection's requests say follows from the seed alone, whatever the timing was.
#[test]
fn two_runs_of_one_plan_leave_the_same_data() {
    let digest = || {
        let server = Server::start(&["--enable-debug-command", "yes"]);
        let (code, out, err) = finish(server.loadgen(
            "-n 5000 -c 7 -P 3 --keys 1000 --verify --value 16-100 --command set --seed 9",
        ));
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        server.ask("DEBUG DIGEST")
    };
    assert_eq!(digest(), digest());
}
