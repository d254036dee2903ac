//! A network namespace beside the host's, joined by a pair of virtual links: hosts that can vanish.
//!
//! ```text
//!   host  10.99.n.1 ---- 10.99.n.2  namespace
//! ```
//!
//! It needs `ip` and the right to make namespaces. Where that is missing [`Namespace::new`] says so on
//! standard error, and the test that asked has nothing to run in.
#![expect(unsafe_code, reason = "a thread enters a namespace by a system call without a safe form")]

use super::client::Client;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

pub struct Namespace {
    name: String,
    number: u8,
}

impl Namespace {
    /// A namespace with its link up, or none where the host does not allow it.
    pub fn new() -> Option<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        for _ in 0..32 {
            let turn = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = u8::try_from(std::process::id() % 251).ok()?.wrapping_add(turn);
            let it = Self { name: format!("ringfold-{number}"), number };
            match it.build() {
                Ok(()) => return Some(it),
                Err(why) if why.contains("exists") => {}
                Err(why) => {
                    eprintln!("NOT RUN: no network namespaces here: {why}");
                    return None;
                }
            }
        }
        eprintln!("NOT RUN: no number is free for a network namespace");
        None
    }

    fn build(&self) -> Result<(), String> {
        let Self { name, number } = self;
        let (near, far) = (format!("rf{number}a"), format!("rf{number}b"));
        ip(&["netns", "add", name])?;
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far, "netns", name])?;
        ip(&["addr", "add", &format!("{}/30", self.near()), "dev", &near])?;
        ip(&["link", "set", &near, "up"])?;
        ip(&["-n", name, "addr", "add", &format!("{}/30", self.far()), "dev", &far])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        ip(&["-n", name, "link", "set", &far, "up"])
    }

    /// The host's address on the link.
    pub fn near(&self) -> String {
        format!("10.99.{}.1", self.number)
    }

    /// The namespace's.
    pub fn far(&self) -> String {
        format!("10.99.{}.2", self.number)
    }

    /// A client that lives in the namespace.
    pub fn connect(&self, address: &str) -> io::Result<Client> {
        let path = format!("/run/netns/{}", self.name);
        let work = || {
            let namespace = File::open(&path)?;
            // SAFETY: an open descriptor and a constant; only this thread moves, and it ends with this call.
            if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
                return Err(io::Error::last_os_error());
            }
            Client::connect(address)
        };
        std::thread::scope(|scope| scope.spawn(work).join().expect("it connects or says why not"))
    }

    /// From now on whatever is sent either way is lost, and nobody is told.
    pub fn vanish(&self) {
        let far = format!("rf{}b", self.number);
        ip(&["-n", &self.name, "link", "set", &far, "down"]).unwrap();
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its links go with it.
        let _gone = ip(&["netns", "del", &self.name]);
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().map_err(|why| format!("ip: {why}"))?;
    let text = String::from_utf8_lossy(&output.stderr).trim().to_string();
    if output.status.success() { Ok(()) } else { Err(format!("ip {}: {text}", args.join(" "))) }
}
