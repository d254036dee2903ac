//! Who takes part: the servers, how each is started and pinned, and the referee's programs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

/// A server that can be started: its name, and its command line with `{port}`.
#[derive(Clone)]
pub struct Peer {
    pub name: String,
    pub command: Vec<String>,
}

/// Ours with so many cores.
pub fn ringfold(cores: u32) -> Peer {
    let program =
        env::var("RINGFOLD_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_ringfold").to_string());
    // A stock server may stand in for ours, to prove the comparison; it knows no cores.
    let stands_in = program.ends_with("redis-server");
    let cores = if stands_in { String::new() } else { format!("--cores {cores}") };
    Peer {
        name: "ringfold".into(),
        command: words(&format!(
            "{program} --port {{port}} --bind 127.0.0.1 {cores} --maxclients 15000 --save"
        ))
        .into_iter()
        .chain([String::new()])
        .collect(),
    }
}

/// The stock servers at hand; at least one must be.
pub fn peers() -> Vec<Peer> {
    let stock = ["redis-server", "valkey-server", "keydb-server"];
    let there = stock.iter().filter(|it| {
        Command::new(it)
            .arg("--version")
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|it| it.success())
    });
    let mut peers: Vec<Peer> = there
        .map(|it| {
            let line = format!("{it} --port {{port}} --bind 127.0.0.1 --maxclients 15000 --save");
            let command = words(&line).into_iter().chain([String::new()]).collect();
            Peer { name: it.trim_end_matches("-server").to_string(), command }
        })
        .collect();
    let more = env::var("COMPARE_PEERS").unwrap_or_default();
    for peer in more.split(';').filter(|it| !it.trim().is_empty()) {
        let (name, line) = peer.split_once('=').expect("COMPARE_PEERS: name=command {port}");
        peers.push(Peer { name: name.trim().into(), command: words(line) });
    }
    assert!(!peers.is_empty(), "no peer on the PATH: `make peers` installs redis-server");
    peers
}

/// A running contestant, killed when dropped.
pub struct Running {
    pub name: String,
    pub port: u16,
    child: Child,
    dir: PathBuf,
}

impl Running {
    /// Starts `peer` on these cores and waits until it takes connections.
    pub fn start(peer: &Peer, cores: &str) -> Self {
        let port = free_port();
        let dir = env::temp_dir().join(format!("ringfold-compare-{port}"));
        fs::create_dir_all(&dir).unwrap();
        let line = peer.command.iter().map(|it| it.replace("{port}", &port.to_string()));
        let child = pinned(cores)
            .args(line)
            .current_dir(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|why| panic!("taskset: {why}"));
        let mut running = Self { name: peer.name.clone(), port, child, dir };
        running.wait_until_it_listens();
        running
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Anonymous memory in RAM: what the process holds for itself, without its program's text.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("RssAnon:")).expect("RssAnon");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
    }

    /// The smallest and the largest memory seen within `during`.
    pub fn memory_over(&self, during: Duration) -> (u64, u64) {
        let (start, mut seen) = (Instant::now(), (u64::MAX, 0));
        while start.elapsed() < during {
            let now = self.memory();
            seen = (seen.0.min(now), seen.1.max(now));
            std::thread::park_timeout(Duration::from_millis(100));
        }
        seen
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port));
        let stream = stream.unwrap_or_else(|why| panic!("{}: {why}", self.name));
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    fn wait_until_it_listens(&mut self) {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended: {status}", self.name);
            }
            assert!(start.elapsed() < Duration::from_secs(30), "{} does not listen", self.name);
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// PING and its answer.
pub fn ping(stream: &mut TcpStream) {
    let mut reply = [0; 7];
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

/// A command on these cores, with as many descriptors as the host allows.
pub fn pinned(cores: &str) -> Command {
    let mut command = Command::new("sh");
    let raise = "ulimit -n \"$(ulimit -Hn)\"; exec taskset -c \"$0\" \"$@\"";
    command.args(["-c", raise, cores]);
    command
}

/// The referee's floor and load.
pub struct Referee {
    pub floor: PathBuf,
    pub load: PathBuf,
}

/// Builds the referee from a copy of its source, so that nothing is written beside the original.
pub fn build_referee() -> Referee {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = env::var_os("REFEREE").map(PathBuf::from);
    let places = [root.join("benches/referee"), root.join("../shared/tools/referee")];
    let source = named.into_iter().chain(places).find(|it| it.join("Cargo.toml").exists());
    let source = source.expect("REFEREE must name the folder of the referee's source");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let copy = target.join("referee");
    fs::create_dir_all(&copy).unwrap();
    let run = |command: &mut Command| {
        assert!(command.status().is_ok_and(|it| it.success()), "failed: {command:?}");
    };
    run(Command::new("cp")
        .arg("-r")
        .args([source.join("Cargo.toml"), source.join("src")])
        .arg(&copy));
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let manifest = copy.join("Cargo.toml");
    run(build
        .args(["build", "--release", "--quiet", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(copy.join("target")));
    let programs = copy.join("target/release");
    Referee { floor: programs.join("floor"), load: programs.join("load") }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(ToString::to_string).collect()
}
