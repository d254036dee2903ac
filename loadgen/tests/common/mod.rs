//! Servers and runs for the tests. Each test starts a server of its own on a free port, with no
//! persistence, and ends it by its process number.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A redis-server of the test's own.
pub struct Server {
    pub process: Child,
    pub port: u16,
    pub dir: PathBuf,
}

impl Server {
    pub fn start(options: &[&str]) -> Self {
        let port = free_port();
        let dir = std::env::temp_dir().join(format!("loadgen-test-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (socket, pid) = (dir.join("redis.sock"), dir.join("redis.pid"));
        let mut process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", dir.to_str().unwrap(), "--unixsocket", socket.to_str().unwrap()])
            .args(["--pidfile", pid.to_str().unwrap()])
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Written once the port is bound: that somebody listens there is not enough, since it
        // could be a server that is not ours.
        let deadline = Instant::now() + Duration::from_secs(10);
        let own = process.id().to_string();
        while std::fs::read_to_string(&pid).unwrap_or_default().trim() != own {
            assert_eq!(process.try_wait().unwrap(), None, "redis-server cannot use port {port}");
            assert!(Instant::now() < deadline, "redis-server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, port, dir }
    }

    /// Sends one inline command and returns what came within a moment.
    pub fn ask(&self, command: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let (mut all, mut buffer) = (Vec::new(), [0; 65536]);
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            all.extend_from_slice(&buffer[..n]);
        }
        String::from_utf8(all).unwrap()
    }

    pub fn calls(&self, command: &str) -> u64 {
        let stats = self.ask("INFO commandstats");
        let prefix = format!("cmdstat_{command}:calls=");
        let line = stats.lines().find_map(|it| it.strip_prefix(&prefix)).unwrap_or("0");
        line.split(',').next().unwrap().parse().unwrap()
    }

    pub fn loadgen(&self, options: &str) -> Command {
        loadgen(&format!("--port {} {options}", self.port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _waited = self.process.wait();
        let _removed = std::fs::remove_dir_all(&self.dir);
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

pub fn loadgen(options: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(options.split_whitespace());
    command
}

/// Runs to the end: exit code, output, errors.
pub fn finish(mut command: Command) -> (i32, String, String) {
    told(&command.output().unwrap())
}

pub fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

pub fn json(path: &std::path::Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
