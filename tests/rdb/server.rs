//! A real redis-server on a folder of its own, ended with this value.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub struct Server {
    process: Child,
    stream: BufReader<TcpStream>,
    pub dir: PathBuf,
}

impl Server {
    /// Loads `rdb` if it is given; panics where the server refuses it.
    pub fn start(name: &str, rdb: Option<&[u8]>) -> Self {
        let dir = std::env::temp_dir().join(format!("rdb-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        if let Some(rdb) = rdb {
            std::fs::write(dir.join("dump.rdb"), rdb).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--enable-debug-command", "yes", "--dir"])
            .arg(&dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = String::new();
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if line.contains("Ready to accept connections") {
                let stream = BufReader::new(TcpStream::connect(("127.0.0.1", port)).unwrap());
                return Self { process, stream, dir };
            }
            log.push_str(&line);
            log.push('\n');
        }
        let _ = process.wait();
        let _ = std::fs::remove_dir_all(&dir);
        panic!("redis-server ended:\n{log}");
    }

    /// The reply to `args`: a bulk string, or the text of a number, status or error. `None`: null.
    pub fn ask(&mut self, args: &[&[u8]]) -> Option<Vec<u8>> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&request).unwrap();
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        let line = line.trim_end();
        let Some(len) = line.strip_prefix('$') else { return Some(line[1..].into()) };
        let len = usize::try_from(len.parse::<i64>().unwrap()).ok()?;
        let mut bulk = vec![0; len + 2];
        self.stream.read_exact(&mut bulk).unwrap();
        bulk.truncate(len);
        Some(bulk)
    }

    pub fn text(&mut self, args: &[&str]) -> String {
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.as_bytes()).collect();
        String::from_utf8(self.ask(&args).unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
