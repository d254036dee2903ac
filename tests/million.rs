//! Very many clients held and served by real processes: the proof of `benches/million`, small enough for
//! every run of the tests. `RINGFOLD_MANY` says how many (`make soak`: 100,000).

#![expect(clippy::print_stdout, reason = "a machine with less room says so")]
#![expect(clippy::disallowed_types, reason = "it waits for processes")]

#[path = "../benches/million/machine.rs"]
mod machine;
#[expect(dead_code, reason = "the report of the bench reads more of it")]
#[path = "../benches/million/proof.rs"]
mod proof;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const CLIENTS: u64 = 20_000;
/// What a client takes of both ends' memory, generously.
const BYTES_PER_CLIENT: u64 = 12_000;

#[test]
fn very_many_clients_are_held_and_served() {
    let asked = std::env::var("RINGFOLD_MANY").ok().and_then(|it| it.parse().ok());
    let asked = asked.unwrap_or(CLIENTS);
    let room = machine::available() / 2 / BYTES_PER_CLIENT;
    let clients = asked.min(room);
    if clients < asked {
        println!("{clients} clients instead of {asked}: there is no memory for more");
    }
    let server = PathBuf::from(env!("CARGO_BIN_EXE_ringfold"));
    let loadgen = server.with_file_name("loadgen");
    if !loadgen.exists() {
        let build = Command::new(env!("CARGO")).args(["build", "-p", "loadgen"]).status();
        assert!(build.unwrap().success() && loadgen.exists());
    }
    let folder = std::env::temp_dir().join(format!("ringfold-many-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let plan = proof::Plan {
        clients,
        hot: 100,
        rate: 1_000,
        seconds: 2,
        every: clients / 2_000 + 1,
        most: Duration::from_secs(120 + clients / 200),
        server,
        loadgen,
        folder: folder.clone(),
        say: |text| println!("{text}"),
    };
    let found = proof::run(&plan);
    assert_eq!(found.failures, Vec::<String>::new());
    assert!(found.held >= clients && found.cold_requests >= clients);
    assert!(found.listed.lines >= clients && found.replica_is_equal);
    assert!(found.storm_cut >= clients);
    println!("{clients} clients: {:?}, left out {:?}", found.hot, found.left_out);
    std::fs::remove_dir_all(folder).unwrap();
}
