//! What lies in `tuning/`, and the commands that make a host fit: used as an administrator would.

use crate::support::server::{Folder, Kind, Plan, under_test};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn tuning(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(name)
}

fn helper(file: &Path) -> Command {
    let mut command = Command::new(tuning("ringfold-shutdown"));
    command.arg(file).env_remove("MAINPID");
    command
}

/// Whatever the configuration says, and however it says it, the helper finds the server.
#[test]
fn the_shutdown_helper_stops_what_the_file_describes() {
    let folder = Folder::new();
    let file = folder.0.join("ringfold.conf");
    let socket = folder.0.join("socket");
    let more = folder.0.join("more.conf");
    fs::write(&more, "REQUIREPASS 'first'\nrequirepass \"a \\\"b\\\" $c\"\n").unwrap();
    let more = more.to_str().unwrap();
    let socket = socket.to_str().unwrap();
    for lines in [
        "# port 1\nport PORT\nbind 127.0.0.1 -::1\nrequirepass first\nrequirepass \"pass  word\"",
        "bind * -::*\n  port   PORT  \nrequirepass pass",
        &format!("include {more}\nbind -127.0.0.1\nport PORT"),
        // The socket goes first: this port is nobody's.
        &format!("unixsocket {socket}\nport 1\nrequirepass pass"),
        "port PORT",
    ] {
        let plan = Plan::new(Kind::Ours(2)).config(&file);
        let lines = lines.replace("PORT", &plan.port.to_string());
        fs::write(&file, &lines).unwrap();
        let password = match lines.as_str() {
            it if it.contains("include") => Some("a \"b\" $c"),
            it if it.contains("pass  word") => Some("pass  word"),
            it if it.contains("requirepass") => Some("pass"),
            _ => None,
        };
        let plan = Plan { password: password.map(String::from), ..plan };
        let mut server = plan.start();
        let said = helper(&file).output().unwrap();
        assert!(said.status.success(), "{lines}\n{said:?}");
        assert!(server.wait_for_exit().success(), "{lines}");
    }
}

/// With a password that is not the server's it says so, and the server goes on; where systemd names
/// the process, it is asked by signal.
#[test]
fn the_shutdown_helper_that_is_refused() {
    let folder = Folder::new();
    let file = folder.0.join("ringfold.conf");
    let mut server = Plan::new(Kind::Ours(2)).password("right").start();
    fs::write(&file, format!("port {}\nrequirepass wrong\n", server.port())).unwrap();
    let refused = helper(&file).output().unwrap();
    assert!(!refused.status.success());
    assert!(!refused.stderr.is_empty());
    server.client().expect(&["PING"], "+PONG\r\n");
    let mut signals = helper(&file).env("MAINPID", server.pid().to_string()).spawn().unwrap();
    assert!(server.wait_for_exit().success());
    assert!(signals.wait().unwrap().success());
    assert!(!helper(&folder.0.join("none.conf")).output().unwrap().status.success());
}

/// systemd understands the units and everything in them.
#[test]
fn the_units_are_verified() {
    let folder = Folder::new();
    let (server, helper) = (under_test(), tuning("ringfold-shutdown"));
    let place = |from: &str, to: &str| {
        let text = fs::read_to_string(tuning("systemd").join(from)).unwrap();
        let text = text.replace("/usr/bin/ringfold", server.to_str().unwrap());
        let text = text.replace("/usr/libexec/ringfold-shutdown", helper.to_str().unwrap());
        let path = folder.0.join(to);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let limits = "ringfold.service.d/limits.conf";
    place(limits, limits);
    place(limits, "ringfold@.service.d/limits.conf");
    for (from, to) in [
        ("ringfold.service", "ringfold.service"),
        ("ringfold@.service", "ringfold@.service"),
        ("ringfold@.service", "ringfold@7000.service"),
    ] {
        let unit = place(from, to);
        let said = Command::new("systemd-analyze").arg("verify").arg(&unit).output();
        let said = said.expect("the package systemd brings systemd-analyze");
        assert!(said.status.success() && said.stderr.is_empty(), "{to}: {said:?}");
    }
    // The checker is one: a word that systemd does not know is told.
    let broken = place("ringfold.service", "broken.service");
    let text = fs::read_to_string(&broken).unwrap().replace("Type=notify", "Type=notfy");
    fs::write(&broken, text).unwrap();
    let said = Command::new("systemd-analyze").arg("verify").arg(&broken).output().unwrap();
    assert!(String::from_utf8_lossy(&said.stderr).contains("notfy"), "{said:?}");
}

fn ours(words: &[&str]) -> Output {
    Command::new(under_test()).args(words).output().unwrap()
}

/// A directory that looks like a host with a short listen queue.
fn host(folder: &Folder) -> PathBuf {
    let file = folder.0.join("proc/sys/net/core/somaxconn");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "128\n").unwrap();
    file
}

/// What is printed is changed, and comes back; scripts see it by the exit codes.
#[test]
fn a_host_is_tuned_and_restored() {
    let folder = Folder::new();
    let file = host(&folder);
    let root = folder.0.to_str().unwrap();
    let tune = |words: &[&str]| ours(&[&["tune", "--root", root, "-c", "5000"], words].concat());
    let shown = tune(&[]);
    assert_eq!(shown.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("+net.core.somaxconn = 8192\n"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "128\n");
    assert_eq!(tune(&["--apply", "--permanent"]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), "8192\n");
    assert_eq!(tune(&[]).status.code(), Some(0));
    let drop_in = folder.0.join("etc/sysctl.d/90-ringfold.conf");
    assert!(fs::read_to_string(&drop_in).unwrap().contains("net.core.somaxconn = 8192"));
    assert_eq!(tune(&["--revert"]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&file).unwrap(), "128\n");
    assert!(!drop_in.exists());
    assert_eq!(tune(&["--revert"]).status.code(), Some(1));
}

/// The doctor's answer is one for people, one for programs, and one for scripts.
#[test]
fn the_doctor_answers() {
    let folder = Folder::new();
    host(&folder);
    let root = folder.0.to_str().unwrap();
    let doctor = |words: &[&str]| ours(&[&["doctor", "--root", root], words].concat());
    assert_eq!(doctor(&[]).status.code(), Some(0));
    assert_eq!(doctor(&["--strict"]).status.code(), Some(3));
    let memory = "MemTotal: 1000 kB\nMemAvailable: 500 kB\n";
    fs::write(folder.0.join("proc/meminfo"), memory).unwrap();
    let said = doctor(&["--json"]);
    assert_eq!(said.status.code(), Some(2));
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(said["bears"], false);
    // This machine, as it is: it runs these tests, so it bears a few clients.
    let said = ours(&["doctor", "--clients", "100"]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains("It bears 100 clients") && text.contains("io_uring"), "{text}");
}

/// What the helper is for a unit is a program.
#[test]
fn the_helper_may_be_executed() {
    let mode = fs::metadata(tuning("ringfold-shutdown")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
}
