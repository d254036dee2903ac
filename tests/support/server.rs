//! Starts and stops real servers, each on a free port in a folder of its own.
//!
//! A server that a test forgets dies with its value: by its own process id, never by name.

use super::client::{Client, field_of_info};
use super::{wait_for, wait_until};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

/// Whose program it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The server under test, with so many cores.
    Ours(u16),
    /// The real server of the system.
    Redis,
}

impl Kind {
    pub fn program(self) -> PathBuf {
        match self {
            Self::Ours(_) => under_test(),
            Self::Redis => "redis-server".into(),
        }
    }

    /// Whether this is a stock server, be it in its own name or standing in for ours.
    pub fn is_stock(self) -> bool {
        self.program().file_name().is_some_and(|it| it == "redis-server")
    }
}

/// The program that the tests are about.
pub fn under_test() -> PathBuf {
    env::var_os("RINGFOLD_BIN").map_or_else(|| env!("CARGO_BIN_EXE_ringfold").into(), PathBuf::from)
}

/// A folder that goes when its owner goes, unless a test is failing: then it stays to be read.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("ringfold-test-{}-{number}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// How to start a server. Later arguments win over earlier ones, as in the servers themselves.
#[derive(Clone)]
pub struct Plan {
    pub kind: Kind,
    pub ip: String,
    pub port: u16,
    /// A configuration file before all arguments.
    pub config: Option<PathBuf>,
    pub args: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub password: Option<String>,
    /// RLIMIT_NOFILE, where it is not the tests' own.
    pub open_files: Option<u32>,
}

impl Plan {
    pub fn new(kind: Kind) -> Self {
        let ip = "127.0.0.1".to_string();
        let (config, password) = (None, None);
        let (args, environment) = (Vec::new(), Vec::new());
        let port = free_port(&ip);
        Self { kind, port, ip, config, args, environment, password, open_files: None }
    }

    pub fn arg(mut self, name: &str, values: &[&str]) -> Self {
        self.args.push(format!("--{name}"));
        self.args.extend(values.iter().map(ToString::to_string));
        self
    }

    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_string());
        self.arg("requirepass", &[password]).arg("masterauth", &[password])
    }

    pub fn ip(mut self, ip: &str) -> Self {
        self.port = free_port(ip);
        self.ip = ip.to_string();
        self
    }

    pub fn config(mut self, path: &Path) -> Self {
        self.config = Some(path.to_path_buf());
        self
    }

    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_string(), value.to_string()));
        self
    }

    pub fn open_files(mut self, most: u32) -> Self {
        self.open_files = Some(most);
        self
    }

    pub fn start(self) -> Server {
        Server::start(self)
    }

    fn command(&self, dir: &Path) -> Command {
        let mut command = match self.open_files {
            None => Command::new(self.kind.program()),
            // The shell becomes the server, and its number stays the server's.
            Some(most) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\"")]);
                shell.arg(self.kind.program());
                shell
            }
        };
        command.args(&self.config);
        command.args(["--port", &self.port.to_string(), "--bind", &self.ip]);
        command.args(["--dir", dir.to_str().unwrap(), "--save", ""]);
        if let (Kind::Ours(cores), false) = (self.kind, self.kind.is_stock()) {
            command.args(["--cores", &cores.to_string()]);
        }
        command.args(&self.args);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let log = fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }
}

/// A running server.
pub struct Server {
    pub plan: Plan,
    child: Child,
    pub folder: Folder,
}

impl Server {
    /// A server of this kind with default settings and these arguments.
    pub fn of(kind: Kind) -> Self {
        Plan::new(kind).start()
    }

    fn start(plan: Plan) -> Self {
        let folder = Folder::new();
        let child = plan.command(&folder.0).spawn();
        let child = child.unwrap_or_else(|why| panic!("{:?}: {why}", plan.kind.program()));
        let mut server = Self { plan, child, folder };
        server.wait_until_it_answers();
        server
    }

    /// Starts the program again in the same folder, on the same port, with the same plan.
    pub fn restart(&mut self) {
        self.child = self.plan.command(&self.folder.0).spawn().unwrap();
        self.wait_until_it_answers();
    }

    /// As `restart`, without waiting for an answer.
    pub fn restart_at_once(&mut self) {
        self.child = self.plan.command(&self.folder.0).spawn().unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn port(&self) -> u16 {
        self.plan.port
    }

    pub fn address(&self) -> String {
        format!("{}:{}", self.plan.ip, self.plan.port)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    /// A new connection, authenticated where the plan has a password.
    pub fn client(&self) -> Client {
        let mut client = Client::connect(&self.address()).unwrap();
        if let Some(password) = &self.plan.password {
            assert_eq!(client.call(&["AUTH", password]), b"+OK\r\n");
        }
        client
    }

    /// SIGKILL: nothing in user space is flushed.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the program has ended by itself.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        wait_for("the server exits", || self.child.try_wait().unwrap())
    }

    pub fn has_exited(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn log(&self) -> String {
        fs::read(self.path("log")).map(|it| String::from_utf8_lossy(&it).into()).unwrap_or_default()
    }

    /// One field of INFO, without its section; none where the server cannot be asked now: it may be coming up, or
    /// close all connections since its role changes.
    pub fn info(&self, field: &str) -> Option<String> {
        field_of_info(&String::from_utf8_lossy(&self.ask(&["INFO", "everything"])), field)
    }

    /// The reply to a request by a connection of its own; empty where there is none.
    pub fn ask(&self, args: &[&str]) -> Vec<u8> {
        let Ok(mut client) = Client::connect(&self.address()) else { return Vec::new() };
        if let Some(password) = &self.plan.password
            && !client.try_call(&["AUTH", password]).is_ok_and(|it| it == b"+OK\r\n")
        {
            return Vec::new();
        }
        client.try_call(args).unwrap_or_default()
    }

    fn wait_until_it_answers(&mut self) {
        let address = self.address();
        wait_until("the server answers PING", || {
            if let Some(status) = self.child.try_wait().unwrap() {
                // The kernel ends the listener of a process that was killed a moment later, and another test may
                // be looking whether the port is free.
                let log = self.log().to_lowercase();
                let in_use =
                    log.lines().rev().take(5).any(|it| it.contains("address already in use"));
                assert!(in_use, "{:?} ended: {status}\n{log}", self.plan.kind.program());
                self.child = self.plan.command(&self.folder.0).spawn().unwrap();
            }
            let answer = Client::connect(&address).and_then(|mut it| it.try_call(&["PING"]));
            answer.is_ok_and(|it| !it.starts_with(b"-LOADING") && !it.is_empty())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let (log, pid) = (self.log(), self.pid());
            let from = log.char_indices().rev().nth(2_000).map_or(0, |(at, _)| at);
            eprintln!(
                "-- the end of the log of {:?}, pid {pid}:\n{}",
                self.plan.kind,
                &log[from..]
            );
        }
    }
}

/// A port that nobody listens on now, below the range from which the system draws the ports of
/// outgoing connections: so that a restarted server finds its own port free.
pub fn free_port(ip: &str) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    wait_for("a port is free", || {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + process::id().wrapping_mul(37);
        let port = u16::try_from(10_000 + number % 20_000).unwrap();
        // A sentinel's or cluster's second port is 10,000 higher: not used here.
        TcpListener::bind((ip, port)).is_ok().then_some(port)
    })
}

/// DEBUG DIGEST of both servers becomes the same, and is not that of an empty keyspace.
pub fn wait_until_equal(a: &Server, b: &Server) {
    let (mut one, mut other) = (a.client(), b.client());
    // A digest reads every key: too dear to be asked for before the sizes are equal.
    wait_until("the keyspaces have one size", || one.call(&["DBSIZE"]) == other.call(&["DBSIZE"]));
    wait_until("the keyspaces are equal", || {
        let digest = one.call(&["DEBUG", "DIGEST"]);
        let equal = digest == other.call(&["DEBUG", "DIGEST"]);
        assert!(!equal || digest.starts_with(b"+"), "{}", digest.escape_ascii());
        assert_ne!(digest, [b"+".as_slice(), &[b'0'; 40], b"\r\n"].concat(), "nothing compared");
        equal
    });
}
