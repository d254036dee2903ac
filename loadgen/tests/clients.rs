//! Clients that come, go, are cut off, wait and listen, against a real redis-server.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests wait for processes"
)]

mod common;

use common::{Server, finish, free_port, json, loadgen, told};
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;

/// Runs to the end, well, and returns the report.
fn report(server: &Server, options: &str, more: &[&str]) -> Value {
    let path = server.dir.join("report.json");
    let mut command = server.loadgen(options);
    command.args(more).arg("--json").arg(&path);
    let (code, out, err) = finish(command);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    json(&path)
}

fn samples(report: &Value, phase: &str) -> u64 {
    report["phases"][phase]["samples"].as_u64().unwrap_or(0)
}

fn accepted(server: &Server) -> u64 {
    let stats = server.ask("INFO stats");
    let line = stats.lines().find_map(|it| it.strip_prefix("total_connections_received:"));
    line.unwrap().trim().parse().unwrap()
}

fn most(report: &Value) -> u64 {
    let all = report["series"]["connections"].as_array().unwrap();
    all.iter().map(|it| it.as_u64().unwrap()).max().unwrap()
}

#[test]
fn a_ramp_lets_clients_come_in_its_stages() {
    let server = Server::start(&[]);
    let ramp = "-c 300 --threads 2 --ramp 100:0.4,100:0.8,300:0.5 --jitter 0.1 -d 2.2 -r 500";
    let report = report(&server, ramp, &[]);
    assert_eq!((samples(&report, "connect"), samples(&report, "first reply")), (300, 300));
    assert_eq!(server.calls("ping"), 300);
    let up = report["series"]["connections"].as_array().unwrap();
    let at = |tenths: usize| up[tenths].as_u64().unwrap();
    // Never more than the plan has, whatever the machine does.
    assert!(at(0) <= 60 && at(8) <= 100, "{up:?}");
    assert_eq!(most(&report), 300, "{up:?}");
    let (_, plan, _) = finish(server.loadgen(&format!("{ramp} --plan-only 3")));
    assert_eq!(plan.matches(" dials").count(), 3, "{plan}");
}

#[test]
fn a_storm_cuts_all_and_all_come_back() {
    let server = Server::start(&[]);
    let before = accepted(&server);
    let report = report(
        &server,
        "-c 200 --threads 2 -d 2 -r 2000 --storm 0.5 --storm 1:0.5 --command get",
        &[],
    );
    let storms = report["storms"].as_array().unwrap();
    let cut = |at: usize| storms[at]["cut"].as_u64().unwrap();
    assert_eq!((storms.len(), cut(0)), (2, 200));
    assert!((60..140).contains(&cut(1)), "{storms:?}");
    assert!(storms.iter().all(|it| it["missing"] == 0), "{storms:?}");
    assert_eq!(samples(&report, "reconnect"), 200 + cut(1));
    assert_eq!(samples(&report, "reconnect first reply"), 200 + cut(1));
    assert_eq!(accepted(&server) - before, 400 + cut(1) + 1);
    // Every slot was sent, those of clients that were away too; some were in flight when cut.
    let answered = report["requests"].as_u64().unwrap();
    let abandoned = report["abandoned"].as_u64().unwrap();
    assert_eq!(
        server.calls("get").max(answered),
        answered + abandoned.min(server.calls("get") - answered)
    );
    assert!((3_700..4_300).contains(&(answered + abandoned)), "{answered} {abandoned}");
    let events = report["events"].as_array().unwrap();
    assert_eq!(events.iter().filter(|it| it[1] == "storm").count(), 2);
}

#[test]
fn churn_replaces_clients_and_loses_nothing() {
    let server = Server::start(&[]);
    let report = report(&server, "-c 50 -n 20000 -P 4 --churn 400 --command set", &[]);
    assert_eq!(report["requests"], 20_000);
    assert_eq!((report["abandoned"].as_u64(), report["lost"].as_u64()), (Some(0), Some(0)));
    assert_eq!(server.calls("set"), 20_000);
}

#[test]
fn thinking_clients_pause() {
    let server = Server::start(&[]);
    let report = report(&server, "-c 100 --think 100 -d 1.5 --command PING", &[]);
    // 100 clients, 10 times a second each: 1,500 on average. Nothing else but the pauses bounds it.
    let requests = report["requests"].as_u64().unwrap();
    assert!((700..2_000).contains(&requests), "{requests}");
}

#[test]
fn hot_and_cold_groups_keep_to_their_own_plans() {
    let server = Server::start(&[]);
    let groups = [
        "--group",
        "hot -c 10 -r 1000 --command get",
        "--group",
        "cold -c 500 --every 2 --command ECHO\\ x",
        "--group",
        "idle -c 20 --kind idle",
    ];
    let groups = groups.map(|it| it.replace("ECHO\\ x", "'ECHO {connection}'"));
    let report = report(&server, "-d 2", &groups.each_ref().map(|it| it.as_str()));
    let commands = report["commands"].as_array().unwrap();
    assert_eq!(commands[1]["command"], "cold: ECHO {connection}");
    // Each cold client exactly once.
    assert_eq!(commands[1]["latency"]["samples"], 500);
    assert_eq!(server.calls("echo"), 500);
    let hot = commands[0]["latency"]["samples"].as_u64().unwrap();
    assert!((1_750..2_250).contains(&hot), "{hot}");
    assert_eq!(most(&report), 530);
}

#[test]
fn subscribers_measure_what_is_published() {
    let server = Server::start(&[]);
    for resp in ["2", "3"] {
        let before = server.calls("publish");
        let report = report(
            &server,
            &format!("-d 1 --resp {resp}"),
            &[
                "--group",
                "ears -c 20 --kind subscriber --command 'SUBSCRIBE news'",
                "--group",
                "mouths -c 2 -r 200 --command 'PUBLISH news {now}'",
            ],
        );
        let published = server.calls("publish") - before;
        assert!(published > 100);
        // Every message to every subscriber; what the last ones got after the end is not counted.
        let delivered = samples(&report, "delivery");
        assert!(
            delivered <= 20 * published && delivered > 18 * published,
            "{delivered} {published}"
        );
        let messages = report["messages"].as_u64().unwrap();
        assert_eq!(messages, delivered + 20, "confirmations too");
    }
}

#[test]
fn blocking_clients_wait_and_are_not_waited_for() {
    let server = Server::start(&[]);
    let report = report(
        &server,
        "-d 1 --timeout 0.6",
        &[
            "--group",
            "waiting -c 30 --kind blocking --command 'BLPOP queue 0'",
            "--group",
            "pushing -c 1 -r 300 --command 'RPUSH queue {now}'",
        ],
    );
    let pushed = server.calls("rpush");
    assert!(pushed > 200);
    let delivered = samples(&report, "delivery");
    assert!(delivered <= pushed && delivered + 5 >= pushed, "{delivered} {pushed}");
    assert_eq!(report["latency"]["samples"].as_u64(), Some(pushed), "the waits are no latency");
}

#[test]
fn a_server_that_comes_back_is_dialed_again() {
    let server = Server::start(&[]);
    let path = server.dir.join("again.json");
    let mut command = server.loadgen("-c 40 -r 1000 -d 2 --reconnect --greet --command PING");
    let running = command.arg("--json").arg(&path).stdout(Stdio::null()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(700));
    server.ask("CLIENT KILL TYPE normal");
    assert!(running.wait_with_output().unwrap().status.success());
    let report = json(&path);
    assert_eq!(report["lost"], 40);
    assert_eq!(samples(&report, "reconnect"), 40);
}

#[test]
fn a_server_that_wants_no_more_clients_is_said_so() {
    let server = Server::start(&["--maxclients", "5"]);
    let (code, _, err) = finish(server.loadgen("-c 20 -d 3 --kind idle"));
    assert_eq!(code, 4, "{err}");
    assert!(err.contains("max number of clients reached"), "{err}");
}

#[test]
fn a_run_is_steered_from_standard_input() {
    let server = Server::start(&[]);
    let path = server.dir.join("control.json");
    let mut command =
        server.loadgen("-c 10 -r 500 -d 60 --control --mark 0.1:planned --command PING");
    command.arg("--json").arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    for line in ["mark the kill", "storm", "stop"] {
        std::thread::sleep(std::time::Duration::from_millis(400));
        writeln!(stdin, "{line}").unwrap();
    }
    let (code, out, err) = told(&running.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let report = json(&path);
    let events: Vec<&str> =
        report["events"].as_array().unwrap().iter().map(|it| it[1].as_str().unwrap()).collect();
    assert_eq!(events, ["planned", "the kill", "storm"]);
    assert_eq!(report["storms"][0]["cut"], 10);
}

/// More clients than this process may have descriptors: idle ones are parked.
#[test]
fn clients_beyond_the_limit_of_descriptors_are_all_served() {
    let server = Server::start(&["--maxclients", "4000"]);
    let path = server.dir.join("many.json");
    let line = format!(
        "ulimit -n 700; exec '{}' -p {} -c 3000 --threads 2 --every 3 -d 3 --json '{}' \
         --command 'ECHO {{connection}}'",
        env!("CARGO_BIN_EXE_loadgen"),
        server.port,
        path.display()
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &line]);
    let (code, out, err) = finish(command);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let report = json(&path);
    assert_eq!((report["requests"].as_u64(), server.calls("echo")), (Some(3_000), 3_000));
    assert_eq!(most(&report), 3_000);
}

#[test]
fn a_ledger_in_a_file_is_checked_on_another_server() {
    let server = Server::start(&[]);
    let port = server.port.to_string();
    let replica = Server::start(&["--replicaof", &format!("127.0.0.1 {port}")]);
    let path = server.dir.join("ledger");
    let mut command = server.loadgen("-n 20000 -c 8 -P 8 --keys 2000 --command set");
    command.arg("--ledger").arg(&path);
    let (code, out, err) = finish(command);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    // Two writers more, so that WAIT has something to wait for.
    server.ask("SET last 1");
    server.ask("WAIT 1 5000");
    let verify =
        |port: u16| finish(loadgen(&format!("verify {} -p {port}", path.to_str().unwrap())));
    let mut tries = 0;
    while replica.ask("GET last") != "$1\r\n1\r\n" && tries < 50 {
        tries += 1;
    }
    let (code, out, err) = verify(replica.port);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("acknowledged writes of all 2000 keys"), "{out}");
    server.ask("DEL key:000000000003");
    let (code, _, err) = verify(server.port);
    assert_eq!(code, 7, "{err}");
    assert!(err.contains("key:000000000003 is gone"), "{err}");
    let (code, _, _) = verify(free_port());
    assert_eq!(code, 3);
}

#[test]
fn lag_is_measured_at_every_replica() {
    let server = Server::start(&[]);
    let port = server.port.to_string();
    let replicas = [(); 2].map(|()| Server::start(&["--replicaof", &format!("127.0.0.1 {port}")]));
    let linked = |it: &Server| it.ask("INFO replication").contains("master_link_status:up");
    let mut tries = 0;
    while !replicas.iter().all(linked) && tries < 60 {
        tries += 1;
    }
    let path = server.dir.join("lag.json");
    let line = format!(
        "lag -p {port} --replica {} --replica 127.0.0.1:{} --rate 500 --duration 1 --json {}",
        replicas[0].port,
        replicas[1].port,
        path.to_str().unwrap()
    );
    let (code, out, err) = finish(loadgen(&line));
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let report = json(&path);
    assert_eq!(report["requests"], 500);
    for replica in &replicas {
        let name = format!("127.0.0.1:{}", replica.port);
        assert_eq!(samples(&report, &format!("{name} after sent")), 500, "{out}");
        assert_eq!(samples(&report, &format!("{name} after acknowledged")), 500);
    }
    // A replica that does not follow never shows them.
    replicas[1].ask("REPLICAOF NO ONE");
    let line = format!(
        "lag -p {port} --replica {} --rate 100 --duration 0.2 --timeout 0.5",
        replicas[1].port
    );
    let (code, _, err) = finish(loadgen(&line));
    assert_eq!(code, 7, "{err}");
    assert!(err.contains("does not show what was written"), "{err}");
}
