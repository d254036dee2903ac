//! The HTML page, opened in a real browser: the curves are there, and no script fails.
//!
//! The browser is Debian's Chromium, which `make test` installs. Where there is none the test says so
//! and checks nothing, unless RINGFOLD_CHROMIUM names one.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests wait for processes, and say what they skip"
)]

mod common;

use common::{Server, finish, json, loadgen};
use std::path::Path;
use std::process::Command;

fn browser() -> Option<String> {
    let named = std::env::var("RINGFOLD_CHROMIUM").ok();
    let names = named.into_iter().chain(["chromium".into(), "chromium-browser".into()]);
    names.into_iter().find(|it| Command::new(it).arg("--version").output().is_ok())
}

/// What the browser made of a page, after its scripts ran.
fn opened(browser: &str, page: &Path, profile: &Path) -> (String, String) {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_page_of_two_runs_shows_their_curves_in_a_browser() {
    let Some(browser) = browser() else {
        eprintln!("skipped: there is no chromium (`make test` installs it)");
        return;
    };
    let server = Server::start(&[]);
    let file = |name: &str| server.dir.join(name);
    let (first, second) = (file("first.json"), file("second.json"));
    for (path, rate) in [(&first, "2000"), (&second, "500")] {
        let mut command = server.loadgen("-c 20 -d 1.5 --storm 0.7 --mark 1:kill --threads 2");
        command.args(["--rate", rate, "--server-pid", &server.process.id().to_string()]);
        command.arg("--json").arg(path).arg("--page").arg(path.with_extension("html"));
        let (code, out, err) = finish(command);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
    }
    let answered = [&first, &second].map(|it| json(it)["requests"].as_u64().unwrap());
    assert!(server.calls("get") > answered[1], "the runs were real");
    let page = file("both.html");
    let mut command = loadgen("page --title both");
    command.args([&first, &second]).arg("-o").arg(&page);
    assert_eq!(finish(command).0, 0);
    for (path, runs) in [(&page, 2), (&first.with_extension("html"), 1)] {
        let (dom, log) = opened(&browser, path, &file(&format!("profile-{runs}")));
        assert!(dom.contains("data-script=\"ran\""), "the script ended early: {log}");
        assert!(!log.contains("Uncaught") && !log.contains("CONSOLE"), "{log}");
        for id in ["percentiles", "throughput", "connections", "cpu", "connects"] {
            let chart = dom.split(&format!("id=\"{id}\"")).nth(1).unwrap_or_default();
            let chart = chart.split("</svg>").next().unwrap_or_default();
            let curves = chart.matches("class=\"curve\"").count();
            assert!(curves >= runs, "{id}: {curves} curves");
        }
        assert_eq!(dom.matches("class=\"heat\"").count(), runs);
        assert!(dom.matches(">kill</text>").count() >= runs && dom.contains(">storm</text>"));
        assert!(dom.contains("id=\"phase-reconnect\"") && dom.contains("id=\"phase-service\""));
    }
    // A script that fails is seen: the same check on a broken page.
    let broken = file("broken.html");
    let text = std::fs::read_to_string(&page).unwrap();
    std::fs::write(&broken, text.replace("document.querySelectorAll", "document.nothing")).unwrap();
    let (dom, log) = opened(&browser, &broken, &file("profile-broken"));
    assert!(!dom.contains("data-script=\"ran\"") && log.contains("Uncaught"), "{log}");
}

#[test]
fn what_is_no_report_makes_no_page() {
    let dir = std::env::temp_dir();
    let path = dir.join(format!("loadgen-no-report-{}", std::process::id()));
    for text in ["{}", "nothing"] {
        std::fs::write(&path, text).unwrap();
        let mut command = loadgen("page -o /nowhere/out.html");
        command.arg(&path);
        assert_eq!(finish(command).0, 2);
    }
    std::fs::remove_file(&path).unwrap();
}
