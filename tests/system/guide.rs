//! The guide in `tuning/guide/`: every command of it is run as it stands, and says what the page says that it says.
//!
//! The `sh` blocks of a page are one script, run in a directory of its own. A line `#=> text` demands that text of
//! the command above it. Ports are moved to free ones: 70NN and 26500 to a range of this run. Blocks for root (`sh
//! root`) cannot be run here: their grammar, their files, and the options of our own commands in them are checked.

use crate::support::server::{Folder, under_test};
use crate::support::wait_for;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

/// So long a page may take on a machine that is slow and busy.
const PAGE_SECONDS: &str = "240";
/// Ports that no other test asks for, in ranges for a page each.
const FIRST_PORT: u32 = 30_000;
const RANGES: u32 = 40;
const RANGE: u32 = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tuning/guide")).unwrap();
    let mut pages: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).collect();
    pages.retain(|it| it.extension().is_some_and(|it| it == "md"));
    pages.sort();
    pages
}

/// What stands between fences with this mark.
fn blocks(text: &str, mark: &str) -> Vec<String> {
    let (mut blocks, mut open) = (Vec::new(), None::<(bool, String)>);
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(said)) => open = Some((said == mark, String::new())),
            (Some((ours, block)), Some("")) => {
                if *ours {
                    blocks.push(std::mem::take(block));
                }
                open = None;
            }
            (Some((_, block)), _) => *block += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// Is this a whole command, as bash sees it?
fn is_whole(text: &str) -> bool {
    let said = Command::new("bash").args(["-n", "-c", text]).output().unwrap();
    // An unfinished here-document is only warned about.
    said.status.success() && said.stderr.is_empty() && !text.trim_end().ends_with('\\')
}

/// The blocks as one script that fails where a page is wrong.
fn script(blocks: &[String]) -> String {
    let mut script = "set -e\ndoing=\n".to_string();
    script += "over() { kill $(jobs -p) 2>/dev/null || true; wait || true; [ -z \"$doing\" ] || ";
    script += "echo \"it ended at: $doing\"; }\ntrap over EXIT\n";
    for block in blocks {
        let (mut statement, mut lines) = (String::new(), block.lines().peekable());
        while let Some(line) = lines.next() {
            statement += &format!("{line}\n");
            if !is_whole(&statement) {
                continue;
            }
            let mut expected = Vec::new();
            while let Some(text) = lines.peek().and_then(|it| it.strip_prefix("#=> ")) {
                expected.push(text.replace('\'', "'\\''"));
                lines.next();
            }
            let shown = statement.trim().replace('\'', "'\\''");
            script += &format!("doing='{shown}'\n");
            if expected.is_empty() {
                script += &format!("{}\n", statement.trim_end());
            } else {
                script +=
                    &format!("{{\n{}\n}} > .said 2>&1 || true\ncat .said\n", statement.trim_end());
            }
            for text in expected {
                script += &format!(
                    "grep -qF -- '{text}' .said || {{ echo \"no '{text}' is said by: $doing\"; exit 9; }}\n"
                );
            }
            statement.clear();
        }
        assert!(statement.trim().is_empty(), "a command does not end: {statement}");
    }
    script + "doing=\n"
}

/// The first of a range of ports that are free, another for each page.
fn range() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    wait_for("a range of ports is free", || {
        let next = std::process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let first = FIRST_PORT + next % RANGES * RANGE;
        let free = |port| TcpListener::bind(("127.0.0.1", u16::try_from(port).unwrap())).is_ok();
        (first..first + RANGE).all(free).then_some(first)
    })
}

fn moved(script: &str) -> String {
    let first = range();
    let mut text = script.replace("26500", &(first + 50).to_string());
    for port in 0..20 {
        text = text.replace(&format!("{}", 7_000 + port), &(first + port).to_string());
    }
    text
}

/// Runs a page's text, alone.
fn run(text: &str) -> Output {
    let folder = Folder::new();
    let file = folder.0.join(".script");
    fs::write(&file, moved(&script(&blocks(text, "sh")))).unwrap();
    // The load generator is built beside the server.
    let programs = crate::loads::loadgen().parent().unwrap();
    let ours = under_test();
    let path = format!(
        "{}:{}:{}",
        ours.parent().unwrap().display(),
        programs.display(),
        std::env::var("PATH").unwrap()
    );
    let mut command = Command::new("timeout");
    command.args(["-k", "5", PAGE_SECONDS, "bash"]).arg(&file);
    command.current_dir(&folder.0).env("PATH", path);
    command.env_remove("REDISCLI_AUTH").output().unwrap()
}

fn is_right(name: &str, text: &str) {
    let said = run(text);
    let shown = format!(
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(said.status.success(), "{name}: {:?}\n{shown}", said.status);
}

fn page(name: &str) {
    is_right(name, &fs::read_to_string(root().join("tuning/guide").join(name)).unwrap());
}

#[test]
fn concepts() {
    page("README.md");
    page("concepts.md");
}

#[test]
fn modes() {
    page("modes.md");
}

#[test]
fn sizing_and_tuning() {
    page("sizing.md");
    page("tuning.md");
}

#[test]
fn benchmarks() {
    page("benchmarks.md");
}

#[test]
fn moving() {
    page("moving.md");
}

#[test]
fn differences_and_limits() {
    page("differences.md");
    page("limits.md");
}

/// A page that is added is in a test, in the list of pages, and leads nowhere that is not there.
#[test]
fn all_pages_are_tested_and_their_links_lead_somewhere() {
    let own = fs::read_to_string(root().join("tests/system/guide.rs")).unwrap();
    let contents = fs::read_to_string(root().join("tuning/guide/README.md")).unwrap();
    for path in pages() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(own.contains(&format!("page(\"{name}\")")), "{name} is in no test");
        assert!(
            name == "README.md" || contents.contains(&format!("({name})")),
            "{name} is not listed"
        );
        let text = fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|it| it.split_once(')')) {
            let file = link.0.split('#').next().unwrap();
            assert!(path.parent().unwrap().join(file).exists(), "{name}: {} is not there", link.0);
        }
        for block in blocks(&text, "sh root") {
            assert_eq!(wrong(&block), Vec::<String>::new(), "{name}");
        }
    }
}

/// What is wrong with a block that is not run.
fn wrong(block: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if !is_whole(block) {
        wrong.push(format!("bash does not understand {block}"));
    }
    for line in block.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for word in words.iter().filter(|it| it.starts_with("tuning/")) {
            if !root().join(word).exists() {
                wrong.push(format!("there is no {word}"));
            }
        }
        match words.as_slice() {
            ["ringfold", command, options @ ..] => {
                let help = Command::new(under_test()).args([command, "--help"]).output().unwrap();
                let help = String::from_utf8_lossy(&help.stdout).into_owned();
                for option in options.iter().filter(|it| it.starts_with("--")) {
                    if !help.contains(option) {
                        wrong.push(format!("ringfold {command} has no {option}"));
                    }
                }
            }
            ["make", target, ..] => {
                let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
                if !makefile.lines().any(|it| it.starts_with(&format!("{target}:"))) {
                    wrong.push(format!("make has no {target}"));
                }
            }
            [] | ["install" | "systemctl", ..] => {}
            _ => wrong.push(format!("nothing checks {line}")),
        }
    }
    wrong
}

/// The checker is one: a page that is wrong is found.
#[test]
fn mistakes_in_a_page_are_found() {
    let page = |commands: &str| format!("text\n\n```sh\n{commands}```\n\nmore\n");
    is_right("a good page", &page("echo a b\n#=> a\n#=> b\ncat <<END\nx\nEND\n#=> x\n"));
    for (commands, why) in [
        ("echo a\n#=> b\n", "no 'b' is said by: echo a"),
        ("ringfold --version\nringfold migrate --nowhere\necho on\n", "migrate --nowhere"),
        ("true\nfalse\ntrue\n", "it ended at: false"),
        ("nosuchcommand\n", "nosuchcommand"),
    ] {
        let said = run(&page(commands));
        let shown = String::from_utf8_lossy(&said.stdout).into_owned();
        assert!(!said.status.success() && shown.contains(why), "{commands}: {shown}");
    }
    for (block, why) in [
        ("ringfold tune --aply\n", "no --aply"),
        ("make cake\n", "no cake"),
        ("install tuning/nothing /etc\n", "no tuning/nothing"),
        ("for a in b\n", "does not understand"),
    ] {
        assert!(wrong(block).iter().any(|it| it.contains(why)), "{block}: {:?}", wrong(block));
    }
}
