//! What the proof needs of the machine: processes that never stay behind, what the kernel says of its
//! memory, and a client for the few questions that the proof asks by itself.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How long a question may go without an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends when its value does, and also when this program is killed.
pub struct Process {
    pub name: String,
    child: Child,
}

impl Process {
    /// Starts a program with as many descriptors as the host allows; its output goes to `log`. Who is
    /// `ahead` goes before the others on its CPUs, in real time where the host allows that: what is
    /// measured must not wait for those who make the crowd.
    pub fn start(
        name: &str,
        program: &Path,
        args: &[String],
        log: &Path,
        ahead: bool,
    ) -> Result<Self, String> {
        Self::start_in(Path::new("."), name, program, args, log, ahead)
    }

    /// The same in a folder: what the program records of its arguments names no place of this host.
    pub fn start_in(
        folder: &Path,
        name: &str,
        program: &Path,
        args: &[String],
        log: &Path,
        ahead: bool,
    ) -> Result<Self, String> {
        let out = fs::File::create(log).map_err(|why| format!("{}: {why}", log.display()))?;
        let err = out.try_clone().map_err(|why| why.to_string())?;
        let mut command = Command::new("sh");
        let raise = "ulimit -n \"$(ulimit -Hn)\"; \
                     [ \"$AHEAD\" = true ] && { chrt -f -p 1 $$ || renice -n -15 -p $$; } >/dev/null 2>&1; \
                     command -v setpriv >/dev/null && exec setpriv --pdeathsig KILL \"$0\" \"$@\"; \
                     exec \"$0\" \"$@\"";
        command.args(["-c", raise]).arg(program).args(args).env("AHEAD", ahead.to_string());
        let child =
            command.current_dir(folder).stdin(Stdio::piped()).stdout(out).stderr(err).spawn();
        let child = child.map_err(|why| format!("{}: {why}", program.display()))?;
        Ok(Self { name: name.to_string(), child })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// A line on its standard input.
    pub fn tell(&mut self, line: &str) {
        if let Some(stdin) = &mut self.child.stdin {
            // Who is gone is found gone by whoever waits for it.
            let _told = writeln!(stdin, "{line}").and_then(|()| stdin.flush());
        }
    }

    /// Anonymous memory in RAM.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        kibibytes(&status.unwrap_or_default(), "RssAnon:")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the kernel keeps for itself, in bytes.
#[derive(Clone, Debug, Default)]
pub struct Kernel {
    pub slab: u64,
    pub tcp: u64,
    pub other: u64,
    /// Bytes of each cache of /proc/slabinfo; empty where that is hidden.
    pub caches: BTreeMap<String, u64>,
}

impl Kernel {
    pub fn now() -> Self {
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let sockets = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
        let tcp = sockets.lines().find(|it| it.starts_with("TCP:")).unwrap_or_default();
        let pages = tcp.split_whitespace().skip_while(|it| *it != "mem").nth(1);
        let pages: u64 = pages.and_then(|it| it.parse().ok()).unwrap_or(0);
        let other = ["KernelStack:", "PageTables:", "Percpu:"];
        Self {
            slab: kibibytes(&memory, "Slab:"),
            tcp: pages * 4_096,
            other: other.iter().map(|it| kibibytes(&memory, it)).sum(),
            caches: caches(&fs::read_to_string("/proc/slabinfo").unwrap_or_default()),
        }
    }

    pub fn total(&self) -> u64 {
        self.slab + self.tcp + self.other
    }

    /// The caches that grew most, with their growth.
    pub fn grown_since(&self, before: &Self) -> Vec<(String, u64)> {
        let grown = |(name, now): (&String, &u64)| {
            let was = before.caches.get(name).copied().unwrap_or(0);
            (name.clone(), now.saturating_sub(was))
        };
        let mut all: Vec<_> = self.caches.iter().map(grown).filter(|it| it.1 > 1 << 20).collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.1));
        all.truncate(12);
        all
    }
}

fn caches(slabinfo: &str) -> BTreeMap<String, u64> {
    let cache = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at)?.parse::<u64>().ok();
        // name, active objects, objects, bytes of one, objects of a slab, pages of a slab
        let slabs = number(2)?.div_ceil(number(4)?.max(1));
        Some((words.first()?.to_string(), slabs * number(5)? * 4_096))
    };
    slabinfo.lines().skip(2).filter_map(cache).collect()
}

/// Memory that the host has left.
pub fn available() -> u64 {
    kibibytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemAvailable:")
}

/// The figure of a line `Name:  123 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1_024
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0");
    listener.and_then(|it| it.local_addr()).map_or(0, |it| it.port())
}

/// A connection that asks and reads the answer.
pub struct Asker(BufReader<TcpStream>);

/// A list of clients, as it came.
#[derive(Clone, Copy, Debug, Default)]
pub struct Listed {
    pub lines: u64,
    pub bytes: u64,
}

impl Asker {
    pub fn connect(port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|why| why.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|why| why.to_string())?;
        stream.set_nodelay(true).map_err(|why| why.to_string())?;
        Ok(Self(BufReader::with_capacity(1 << 16, stream)))
    }

    /// A simple answer, or the text of a bulk one.
    pub fn ask(&mut self, request: &str) -> Result<String, String> {
        let head = self.head(request)?;
        let Some(len) = head.strip_prefix('$') else { return Ok(head) };
        let len: usize = len.parse().map_err(|_| format!("{request}: {head}"))?;
        let mut text = vec![0; len + 2];
        self.0.read_exact(&mut text).map_err(|why| format!("{request}: {why}"))?;
        text.truncate(len);
        String::from_utf8(text).map_err(|why| format!("{request}: {why}"))
    }

    /// CLIENT LIST, counted as it comes: a million lines are not kept.
    pub fn list(&mut self) -> Result<Listed, String> {
        let head = self.head("CLIENT LIST")?;
        let len = head.strip_prefix('$').and_then(|it| it.parse::<u64>().ok());
        let mut left = len.ok_or_else(|| format!("CLIENT LIST: {head}"))?;
        let mut listed = Listed { lines: 0, bytes: left };
        let wrong = |why: std::io::Error| format!("CLIENT LIST: {why}");
        while left > 0 {
            let piece = self.0.fill_buf().map_err(wrong)?;
            let taken = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if taken == 0 {
                return Err(format!("CLIENT LIST: the connection ended {left} bytes early"));
            }
            let ends = piece.iter().take(taken).filter(|byte| **byte == b'\n').count();
            listed.lines += ends as u64;
            left -= taken as u64;
            self.0.consume(taken);
        }
        let mut end = [0; 2];
        self.0.read_exact(&mut end).map_err(wrong)?;
        Ok(listed)
    }

    /// A field of INFO.
    pub fn info(&mut self, section: &str, field: &str) -> Result<u64, String> {
        let text = self.ask(&format!("INFO {section}"))?;
        let found = text.lines().find_map(|it| it.strip_prefix(field)?.strip_prefix(':'));
        let number = found.and_then(|it| it.trim().parse().ok());
        number.ok_or_else(|| format!("INFO {section} has no number {field}"))
    }

    /// How often a command was called.
    pub fn calls(&mut self, command: &str) -> Result<u64, String> {
        let text = self.ask("INFO commandstats")?;
        let line = text.lines().find_map(|it| it.strip_prefix("cmdstat_")?.strip_prefix(command));
        let number =
            line.and_then(|it| it.strip_prefix(":calls=")?.split(',').next()?.parse().ok());
        Ok(number.unwrap_or(0))
    }

    fn head(&mut self, request: &str) -> Result<String, String> {
        let wrong = |why: std::io::Error| format!("{request}: {why}");
        self.0.get_mut().write_all(format!("{request}\r\n").as_bytes()).map_err(wrong)?;
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(wrong)?;
        match line.trim_end() {
            "" => Err(format!("{request}: the connection ended")),
            error if error.starts_with('-') => Err(format!("{request}: {error}")),
            head => Ok(head.to_string()),
        }
    }
}
