//! What comes with the program: the terminal view, completions, man pages, the Debian package, the container's file.

use crate::plan;
use crate::support::client::Client;
use crate::support::server::{Folder, Kind, Server, free_port, under_test};
use crate::support::wait_for;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn tuning(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning").join(name)
}

fn ours(words: &[&str]) -> Output {
    Command::new(under_test()).args(words).output().unwrap()
}

fn top(server: &Server, more: &[&str]) -> Output {
    let address = server.address();
    ours(&[&["top", &address, "--once", "--interval", "0.5"], more].concat())
}

#[test]
fn top_shows_a_server_of_either_make() {
    let server = plan(Kind::Ours(2)).start();
    let replica = crate::replica_of(plan(Kind::Redis), "127.0.0.1", server.port());
    crate::wait_for_link(&replica);
    server.client().expect(&["SET", "k", "v"], "+OK\r\n");
    let said = top(&server, &[]);
    assert!(said.status.success(), "{said:?}");
    let text = String::from_utf8(said.stdout).unwrap();
    for line in [
        format!("{}   Ringfold ", server.address()),
        "commands/s".into(),
        "1 keys".into(),
        "\n   0  ".into(),
        "\n   1  ".into(),
        format!("127.0.0.1:{}", replica.port()),
        "\ninfo ".into(), // The view itself asks.
    ] {
        assert!(text.contains(&line), "{line:?} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'), "what goes to a file has no escapes\n{text}");
    let said = top(&replica, &[]);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(text.contains(", replica, up ") && text.contains("link up"), "{text}");
}

#[test]
fn top_says_why_it_shows_nothing() {
    let server = plan(Kind::Ours(1)).password("right").start();
    assert!(top(&server, &["--pass", "right"]).status.success());
    for (words, why) in [(&["--pass", "wrong"][..], "WRONGPASS"), (&[][..], "NOAUTH")] {
        let said = top(&server, words);
        let errors = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(1));
        assert!(errors.contains(why) && said.stdout.is_empty(), "{errors}");
    }
    let nobody = format!("127.0.0.1:{}", free_port("127.0.0.1"));
    let said = ours(&["top", &nobody, "--once"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&said.stderr).contains(&nobody), "{said:?}");
}

/// They are made of the command line's definition; here they are read by who is to read them.
#[test]
fn completions_and_man_pages() {
    let folder = Folder::new();
    let bash = ours(&["completions", "bash"]);
    assert!(bash.status.success());
    let file = folder.0.join("completions");
    fs::write(&file, &bash.stdout).unwrap();
    let script = "source \"$0\"; COMP_WORDS=(ringfold do); COMP_CWORD=1; _ringfold ringfold do ringfold; \
                  echo \"${COMPREPLY[@]}\"";
    let said = Command::new("bash").args(["-c", script]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "doctor", "{said:?}");
    for shell in ["zsh", "fish"] {
        let said = ours(&["completions", shell]);
        assert!(String::from_utf8_lossy(&said.stdout).contains("doctor"), "{shell}");
    }
    assert!(!ours(&["completions", "nosuchshell"]).status.success());
    let pages = folder.0.join("man");
    assert!(ours(&["man", pages.to_str().unwrap()]).status.success());
    for (page, word) in [
        ("ringfold.1", "redis.conf"),
        ("ringfold-top.1", "interval"),
        ("ringfold-doctor.1", "clients"),
        ("ringfold-sentinel.1", "sentinel.conf"),
    ] {
        let text = fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(".TH ") && text.contains(word), "{page}");
    }
}

/// A root directory that dpkg takes for a system.
struct Root(Folder);

impl Root {
    fn new() -> Self {
        let folder = Folder::new();
        for dir in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers", "var/log"]
        {
            fs::create_dir_all(folder.0.join(dir)).unwrap();
        }
        for file in ["status", "available"] {
            fs::write(folder.0.join("var/lib/dpkg").join(file), "").unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.0.join(name)
    }

    /// Files go below this root, scripts run with it as `DPKG_ROOT`; nothing of this host is touched.
    fn dpkg(&self, words: &[&str]) {
        let root = format!("--root={}", self.0.0.display());
        let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        let mut command = Command::new(if is_root { "dpkg" } else { "fakeroot" });
        command.args((!is_root).then_some("dpkg"));
        command.args([&root, "--force-script-chrootless", "--force-depends", "--force-not-root"]);
        let said = command.args(words).stdin(Stdio::null()).output();
        let said = said.expect("dpkg, and fakeroot for who is not root");
        assert!(said.status.success(), "{words:?}: {said:?}");
    }

    fn status(&self) -> String {
        fs::read_to_string(self.path("var/lib/dpkg/status")).unwrap()
    }
}

fn build(out: &Path, version: &str) -> PathBuf {
    let said = Command::new(tuning("debian/build"))
        .arg("--binary")
        .arg(under_test())
        .args(["--version", version, "--out", out.to_str().unwrap(), "--compression", "none"])
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    PathBuf::from(String::from_utf8(said.stdout).unwrap().trim())
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server of the package, with the package's configuration, answers; then it is stopped by the package's helper.
fn serves(root: &Root) {
    let port = free_port("127.0.0.1");
    let config = root.path("etc/ringfold/ringfold.conf");
    let data = Folder::new();
    let server = Command::new(root.path("usr/bin/ringfold"))
        .arg(&config)
        .args(["--port", &port.to_string(), "--cores", "1"])
        .current_dir(&data.0)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Running(server);
    let mut client = wait_for("the installed server answers", || {
        assert!(server.0.try_wait().unwrap().is_none(), "it ended");
        let mut client = Client::connect(&format!("127.0.0.1:{port}")).ok()?;
        client.try_call(&["PING"]).ok().filter(|it| it == b"+PONG\r\n")?;
        Some(client)
    });
    client.expect(&["SET", "k", "v"], "+OK\r\n");
    client.send(b"SHUTDOWN NOSAVE\r\n").unwrap();
    let status = wait_for("it ends", || server.0.try_wait().unwrap());
    assert!(status.success());
}

#[test]
fn the_package_is_installed_started_upgraded_and_removed() {
    let (root, out) = (Root::new(), Folder::new());
    let old = build(&out.0, "0.1.0~test1");
    root.dpkg(&["-i", old.to_str().unwrap()]);
    assert!(root.status().contains("Status: install ok installed"), "{}", root.status());
    for file in [
        "usr/libexec/ringfold-shutdown",
        "lib/systemd/system/ringfold.service",
        "usr/share/man/man1/ringfold-top.1.gz",
        "usr/share/bash-completion/completions/ringfold",
        "usr/share/doc/ringfold/copyright",
        "usr/share/doc/ringfold/grafana/ringfold.json",
    ] {
        assert!(root.path(file).exists(), "{file}");
    }
    serves(&root);
    // What somebody has changed stays over an upgrade.
    let config = root.path("etc/ringfold/ringfold.conf");
    let text = fs::read_to_string(&config).unwrap() + "# ours\n";
    fs::write(&config, &text).unwrap();
    let new = build(&out.0, "0.1.0~test2");
    root.dpkg(&["--force-confdef", "--force-confold", "-i", new.to_str().unwrap()]);
    assert!(root.status().contains("Version: 0.1.0~test2"), "{}", root.status());
    assert_eq!(fs::read_to_string(&config).unwrap(), text);
    serves(&root);
    root.dpkg(&["-r", "ringfold"]);
    assert!(!root.path("usr/bin/ringfold").exists() && config.exists());
    root.dpkg(&["-P", "ringfold"]);
    assert!(!config.exists() && !root.status().contains("installed"), "{}", root.status());
}

/// The profile lets through what the server asks of the kernel, and the file names it.
#[test]
fn the_container_file_names_a_profile_that_allows_io_uring() {
    let text = fs::read_to_string(tuning("container/seccomp.json")).unwrap();
    let profile: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let names: Vec<&str> = profile["syscalls"][0]["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    for call in ["io_uring_setup", "io_uring_enter", "io_uring_register", "signalfd4", "execve"] {
        assert!(names.contains(&call), "{call}");
    }
    for call in ["ptrace", "mount", "init_module", "bpf", "reboot"] {
        assert!(!names.contains(&call), "{call}");
    }
    let file = fs::read_to_string(tuning("container/Containerfile")).unwrap();
    assert!(file.contains("seccomp=tuning/container/seccomp.json"));
    assert!(file.contains("rust:1.95") && file.contains("ENTRYPOINT [\"ringfold\"]"));
}
