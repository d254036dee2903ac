//! What operators see: INFO and MEMORY beside a stock server's, `/metrics` as a scraper reads it, the log file,
//! and what a crash leaves behind.

use crate::plan;
use crate::support::client::Client;
use crate::support::server::{Kind, Plan, Server, free_port};
use crate::support::value::{Value, value};
use crate::support::wait_until;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Fields by section, and without what depends on what was asked.
fn fields(client: &mut Client) -> BTreeMap<String, BTreeSet<String>> {
    let text = client.text(&["INFO", "everything"]);
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(title) => section = title.to_string(),
            None => {
                let name = line.split(':').next().unwrap().to_string();
                // Who asked while it came up was told to wait, or nobody asked.
                if name == "errorstat_LOADING" {
                    continue;
                }
                all.entry(section.clone()).or_default().insert(name);
            }
        }
    }
    all
}

/// Has something in every section.
fn use_everything(client: &mut Client) {
    client.expect(&["SET", "k", "v"], "+OK\r\n");
    client.expect(&["SET", "e", "v", "EX", "1000"], "+OK\r\n");
    client.expect(&["GET", "k"], "$1\r\nv\r\n");
    assert!(client.call(&["LPUSH", "k", "v"]).starts_with(b"-WRONGTYPE"));
    client.expect(&["EVAL", "return 1", "0"], ":1\r\n");
}

/// The fields of a stock server, all of them, in the same sections; what we have besides is named here.
#[test]
fn info_has_every_field_of_a_stock_server() {
    let (ours, stock) = (Server::of(Kind::Ours(2)), Server::of(Kind::Redis));
    let (mut ours, mut stock) = (ours.client(), stock.client());
    use_everything(&mut ours);
    use_everything(&mut stock);
    let (ours, stock) = (fields(&mut ours), fields(&mut stock));
    let mut beyond: Vec<String> = Vec::new();
    for (section, names) in &ours {
        let known = stock.get(section).cloned().unwrap_or_default();
        let new = names.difference(&known).filter(|_| section != "Ringfold");
        beyond.extend(new.map(|name| format!("{section}: {name}")));
    }
    let mut missing: Vec<String> = Vec::new();
    for (section, names) in &stock {
        let known = ours.get(section).cloned().unwrap_or_default();
        missing.extend(names.difference(&known).map(|name| format!("{section}: {name}")));
    }
    assert_eq!(missing, Vec::<String>::new());
    // Those of Redis 7.2, and ours.
    let expected = [
        "Clients: socket_admin_clients",
        "Clients: socket_descriptors_max",
        "Clients: socket_tables",
        "Clients: sockets_parked",
        "Clients: sockets_with_descriptor",
        "Clients: total_blocking_keys",
        "Clients: total_blocking_keys_on_nokey",
        "Server: cores",
        "Server: listener0",
        "Server: ringfold_version",
        "Stats: acl_access_denied_auth",
        "Stats: acl_access_denied_channel",
        "Stats: acl_access_denied_cmd",
        "Stats: acl_access_denied_key",
        "Stats: client_output_buffer_limit_disconnections",
        "Stats: client_query_buffer_limit_disconnections",
    ];
    assert_eq!(beyond, expected);
    assert!(ours["Ringfold"].contains("core0") && ours["Ringfold"].contains("core1"));
}

/// Names and kinds of values of a nested reply.
fn shape(value: &Value, out: &mut Vec<String>) {
    for pair in value.items().chunks(2) {
        let name = String::from_utf8_lossy(pair[0].bytes()).into_owned();
        out.push(format!("{name} {}", char::from(pair[1].kind())));
        shape(&pair[1], out);
    }
}

#[test]
fn memory_stats_have_the_shape_of_a_stock_servers() {
    let shapes = [Kind::Ours(3), Kind::Redis].map(|kind| {
        let server = Server::of(kind);
        let mut client = server.client();
        client.expect(&["SET", "k", "v"], "+OK\r\n");
        client.expect(&["SELECT", "5"], "+OK\r\n");
        client.expect(&["SET", "k", "v", "EX", "1000"], "+OK\r\n");
        let mut names = Vec::new();
        shape(&value(&client.call(&["MEMORY", "STATS"])), &mut names);
        client.expect(&["MEMORY", "PURGE"], "+OK\r\n");
        assert!(!client.text(&["MEMORY", "DOCTOR"]).is_empty());
        assert!(!client.text(&["MEMORY", "MALLOC-STATS"]).is_empty());
        assert!(client.call(&["MEMORY", "STATS", "x"]).starts_with(b"-ERR wrong number of arg"));
        names
    });
    assert_eq!(shapes[0], shapes[1]);
    assert!(shapes[0].len() > 30, "{:?}", shapes[0]);
}

/// Whoever takes the most goes, in both; who asked not to be stays.
#[test]
fn clients_that_take_too_much_are_evicted() {
    for kind in [Kind::Ours(1), Kind::Ours(2), Kind::Redis] {
        let server = Plan::new(kind).arg("maxmemory-clients", &["8mb"]).start();
        let mut admin = server.client();
        admin.expect(&["CLIENT", "NO-EVICT", "on"], "+OK\r\n");
        let half = |bytes: usize| {
            let mut client = server.client();
            let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", 2 * bytes);
            client.send(head.as_bytes()).unwrap();
            // It may be gone before all of it is there.
            let _ = client.send(&vec![b'x'; bytes]);
            client
        };
        let mut kept = server.client();
        let mut large = half(7 << 20);
        let _others = [half(2 << 20), half(1 << 20)];
        wait_until("somebody is evicted", || {
            admin.info("evicted_clients").is_some_and(|it| it != "0")
        });
        assert!(large.until_closed().is_err() || large.reply().is_err(), "{kind:?}");
        kept.expect(&["PING"], "+PONG\r\n");
        admin.expect(&["PING"], "+PONG\r\n");
    }
}

/// One HTTP request; all that comes back.
fn http(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // A server that has refused already may not take all of it.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(port: u16, path: &str) -> (String, String) {
    let answer = http(port, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (head.to_string(), body.to_string())
}

fn scrape(port: u16) -> prometheus_parse::Scrape {
    let (head, body) = get(port, "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    prometheus_parse::Scrape::parse(body.lines().map(|line| Ok(line.to_string()))).unwrap()
}

/// The sum of a metric over its labels.
fn sum(scrape: &prometheus_parse::Scrape, name: &str) -> Option<f64> {
    let mut found = None;
    for sample in scrape.samples.iter().filter(|it| it.metric == name) {
        let number = match &sample.value {
            prometheus_parse::Value::Counter(it)
            | prometheus_parse::Value::Gauge(it)
            | prometheus_parse::Value::Untyped(it) => *it,
            other => panic!("{name}: {other:?}"),
        };
        *found.get_or_insert(0.0) += number;
    }
    found
}

fn watched(kind: Kind) -> (Server, u16) {
    let port = free_port("127.0.0.1");
    let plan = plan(kind).arg("metrics-port", &[&port.to_string()]);
    (plan.start(), port)
}

#[test]
fn a_scrape_says_what_info_says() {
    let (server, port) = watched(Kind::Ours(2));
    let replica = crate::replica_of(plan(Kind::Redis), "127.0.0.1", server.port());
    crate::wait_for_link(&replica);
    let mut client = server.client();
    use_everything(&mut client);
    for number in 0..100 {
        client.expect(&["SET", &format!("key:{number}"), "v"], "+OK\r\n");
    }
    let number = |client: &mut Client, field: &str| -> f64 {
        client.info(field).unwrap_or_else(|| panic!("no {field}")).parse().unwrap()
    };
    // An answer may be half a second old.
    wait_until("the scrape has all keys", || sum(&scrape(port), "ringfold_db_keys") == Some(102.0));
    let before = number(&mut client, "total_commands_processed");
    let mut all = scrape(port);
    let mut commands = 0.0;
    wait_until("the scrape is of now", || {
        all = scrape(port);
        commands = sum(&all, "ringfold_commands_processed_total").unwrap();
        commands >= before
    });
    let after = number(&mut client, "total_commands_processed");
    assert!(before <= commands && commands <= after, "{before} {commands} {after}");
    for (metric, field) in [
        ("ringfold_connected_replicas", "connected_slaves"),
        ("ringfold_repl_full_syncs_total", "sync_full"),
        ("ringfold_expired_keys_total", "expired_keys"),
        ("ringfold_memory_max_bytes", "maxmemory"),
        ("ringfold_clients_max", "maxclients"),
        ("ringfold_scripts", "number_of_cached_scripts"),
        ("ringfold_keyspace_misses_total", "keyspace_misses"),
    ] {
        assert_eq!(sum(&all, metric), Some(number(&mut client, field)), "{metric}");
    }
    assert_eq!(sum(&all, "ringfold_core_answered"), Some(2.0));
    assert_eq!(sum(&all, "ringfold_replica_online"), Some(1.0));
    let sets = all.samples.iter().find(|it| {
        it.metric == "ringfold_command_calls_total" && it.labels.get("command") == Some("set")
    });
    let Some(prometheus_parse::Value::Counter(sets)) = sets.map(|it| it.value.clone()) else {
        panic!("no SET was counted");
    };
    assert!((sets - 102.0).abs() < 0.5, "{sets}");
    let histogram = all.samples.iter().find(|it| {
        it.metric == "ringfold_command_duration_seconds" && it.labels.get("command") == Some("set")
    });
    let Some(prometheus_parse::Value::Histogram(buckets)) = histogram.map(|it| it.value.clone())
    else {
        panic!("no histogram of SET");
    };
    assert!(buckets.windows(2).all(|it| it[0].count <= it[1].count), "{buckets:?}");
    assert!((buckets.last().unwrap().count - 102.0).abs() < 0.5, "{buckets:?}");
}

#[test]
fn health_follows_the_state() {
    let (server, port) = watched(Kind::Ours(2));
    wait_until("it is well", || get(port, "/healthz").0.starts_with("HTTP/1.1 200 "));
    let mut client = server.client();
    let nowhere = free_port("127.0.0.1").to_string();
    client.expect(&["REPLICAOF", "127.0.0.1", &nowhere], "+OK\r\n");
    wait_until("it is not", || {
        let (head, body) = get(port, "/healthz");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let wrong = body["wrong"].as_array().unwrap();
        head.starts_with("HTTP/1.1 503 ")
            && body["role"] == "replica"
            && wrong.iter().any(|it| it == "no link to the master")
    });
    client.expect(&["REPLICAOF", "NO", "ONE"], "+OK\r\n");
    wait_until("it is well again", || get(port, "/healthz").0.starts_with("HTTP/1.1 200 "));
    client.expect(&["CONFIG", "SET", "min-replicas-to-write", "1"], "+OK\r\n");
    wait_until("too few replicas", || get(port, "/healthz").1.contains("too few replicas"));
    assert!(get(port, "/metrics").1.contains("\nringfold_writes_refused 1"));
}

#[test]
fn whatever_comes_to_the_metrics_port_is_bounded() {
    let (server, port) = watched(Kind::Ours(1));
    for (request, status) in [
        (b"GET /nothing HTTP/1.1\r\n\r\n".to_vec(), "404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello".to_vec(), "405"),
        (b"*1\r\n$4\r\nPING\r\n".to_vec(), "400"),
        (vec![0xff; 100], "400"),
        ([b"GET /metrics HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 100_000]].concat(), "431"),
        (
            [b"GET / HTTP/1.1\r\n".to_vec(), b"a: b\r\n".repeat(70), b"\r\n".to_vec()].concat(),
            "431",
        ),
    ] {
        let answer = http(port, &request);
        // One that still sends when it is refused may lose the answer.
        let lost = request.len() > 50_000 && answer.is_empty();
        assert!(lost || answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    }
    let head = http(port, b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    // Who holds all places open says nothing, and loses them; the server goes on beside that.
    let held: Vec<TcpStream> =
        (0..64).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    server.client().expect(&["PING"], "+PONG\r\n");
    wait_until("a place is free again", || {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer.starts_with(b"HTTP/1.1 200 ")
    });
    drop(held);
}

/// Every name of ours in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|byte: char| !byte.is_ascii_alphanumeric() && byte != '_');
    words.filter(|it| it.starts_with("ringfold_")).map(String::from).collect()
}

/// The dashboard and the alert rules can be read, and ask for nothing that nobody tells.
#[test]
fn dashboard_and_alerts_name_metrics_that_exist() {
    let (server, port) = watched(Kind::Ours(2));
    let replica = crate::replica_of(plan(Kind::Ours(1)), "127.0.0.1", server.port());
    crate::wait_for_link(&replica);
    let mut client = server.client();
    use_everything(&mut client);
    let mut told = BTreeSet::new();
    wait_until("the scrape has errors and replicas", || {
        told = names(&get(port, "/metrics").1);
        told.contains("ringfold_errors_total") && told.contains("ringfold_replica_lag_seconds")
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/grafana");
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();

    let dashboard: serde_json::Value = serde_json::from_str(&read("ringfold.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|it| it["targets"].as_array()).flatten();
    let asked: Vec<&str> = targets.map(|it| it["expr"].as_str().unwrap()).collect();
    assert!(asked.len() > 30);
    let ids: BTreeSet<i64> = panels.iter().map(|it| it["id"].as_i64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());

    let rules = yaml_rust2::YamlLoader::load_from_str(&read("alerts.yml")).unwrap();
    let rules = rules[0]["groups"][0]["rules"].as_vec().unwrap();
    assert!(rules.len() >= 10);
    let alerts = rules.iter().map(|rule| {
        assert!(rule["alert"].as_str().is_some() && rule["labels"]["severity"].as_str().is_some());
        assert!(rule["annotations"]["summary"].as_str().is_some());
        rule["expr"].as_str().unwrap()
    });
    for expression in asked.into_iter().chain(alerts) {
        let named = names(expression);
        assert!(!named.is_empty(), "{expression}");
        for name in named {
            assert!(told.contains(&name), "{expression}: nobody tells {name}");
        }
        let (open, close) = (expression.matches('(').count(), expression.matches(')').count());
        assert_eq!(open, close, "{expression}");
    }
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_log_file_that_was_moved_away_is_opened_anew() {
    for format in ["redis-text", "json"] {
        let plan = Plan::new(Kind::Ours(2));
        let folder = crate::support::server::Folder::new();
        let file = folder.0.join("server.log");
        let name = file.to_str().unwrap();
        let server = plan.arg("logfile", &[name]).arg("log-format", &[format]).start();
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        wait_until("it is ready", || read(&file).contains("Ready to accept"));
        let old = folder.0.join("server.log.1");
        fs::rename(&file, &old).unwrap();
        signal(server.pid(), "HUP");
        wait_until("it writes to a new file", || read(&file).contains("open anew"));
        assert!(!read(&old).contains("open anew"));
        server.client().expect(&["PING"], "+PONG\r\n");
        for line in read(&old).lines().chain(read(&file).lines()) {
            let json = serde_json::from_str::<serde_json::Value>(line);
            assert_eq!(json.is_ok(), format == "json", "{line}");
            if let Ok(json) = json {
                assert_eq!(json["pid"], server.pid(), "{line}");
                assert!(json["message"].is_string() && json["level"].is_string(), "{line}");
            }
        }
    }
}

#[test]
fn the_level_of_the_log_may_change_while_it_runs() {
    let server = plan(Kind::Ours(2)).arg("loglevel", &["warning"]).start();
    let mut client = server.client();
    client.expect(&["REPLICAOF", "127.0.0.1", "1"], "+OK\r\n");
    client.expect(&["REPLICAOF", "NO", "ONE"], "+OK\r\n");
    assert!(!server.log().contains(" INFO "), "{}", server.log());
    client.expect(&["CONFIG", "SET", "loglevel", "notice"], "+OK\r\n");
    client.expect(&["REPLICAOF", "127.0.0.1", "1"], "+OK\r\n");
    wait_until("it says what it does", || server.log().contains(" INFO "));
}

#[test]
fn a_bug_leaves_a_report() {
    let mut server = plan(Kind::Ours(2)).start();
    let mut client = server.client();
    client.send(b"DEBUG PANIC\r\n").unwrap();
    let status = server.wait_for_exit();
    assert!(!status.success());
    let log = server.log();
    for said in
        ["BUG REPORT", "DEBUG PANIC was asked for", "thread ringfold-", "core 1: ", "BACKTRACE"]
    {
        assert!(log.contains(said), "{said} is not in\n{log}");
    }
    assert!(log.contains("src/node/debug.rs") && log.contains("ringfold::"), "{log}");
    server.restart();
    server.client().expect(&["PING"], "+PONG\r\n");
}

/// What a signal means may be said, and is as SHUTDOWN with these words.
#[test]
fn a_signal_saves_or_not_as_it_was_told() {
    for kind in [Kind::Ours(2), Kind::Redis] {
        for (signal_name, words, saved) in [
            ("TERM", &["save", "now"][..], true),
            ("INT", &["save", "now"], true),
            ("INT", &["nosave"], false),
            ("TERM", &["default"], false),
        ] {
            let setting = format!("shutdown-on-sig{}", signal_name.to_lowercase());
            let mut server = Plan::new(kind).arg(&setting, words).start();
            server.client().expect(&["SET", "k", "v"], "+OK\r\n");
            signal(server.pid(), signal_name);
            assert!(server.wait_for_exit().success(), "{kind:?} {words:?}");
            assert_eq!(server.path("dump.rdb").exists(), saved, "{kind:?} {setting} {words:?}");
        }
    }
}

/// Our settings by name, beside those of a stock server as it runs here.
#[test]
fn config_knows_every_setting_of_a_stock_server() {
    let names = [Kind::Ours(1), Kind::Redis].map(|kind| {
        let server = Server::of(kind);
        let reply = value(&server.client().call(&["CONFIG", "GET", "*"]));
        let names = reply.items().chunks(2).map(|it| it[0].bytes().to_vec());
        names.map(|it| String::from_utf8(it).unwrap()).collect::<BTreeSet<String>>()
    });
    let missing: Vec<&String> = names[1].difference(&names[0]).collect();
    assert!(missing.is_empty() && names[1].len() > 150, "{missing:?}");
}
