//! The proof that very many clients can be held and served, on whatever machine it runs.
//!
//! ```text
//!   make million                       as many as this host bears, up to a million
//!   make million CLIENTS=200000
//! ```
//!
//! One server process, one load generator that holds the many, a replica that follows all writes, and
//! the same few hot clients with and without the many beside them (`proof.rs` has the steps). It takes
//! at most `--minutes`, ends by itself, and leaves no process behind. What it did not reach it says.

#![expect(clippy::print_stdout, reason = "its output is the point")]
#![expect(clippy::disallowed_types, reason = "it waits for processes")]

mod machine;
mod proof;
mod report;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

const USAGE: &str = "million --clients N|auto [--hot 1000] [--rate 5000] [--seconds 20] [--every S]
        [--minutes 15] [--out benches/results]
holds so many clients (auto: what the doctor forecasts, up to 1,000,000), serves them, and writes
<date>-million/ with a table, a page, JSON and histograms";

/// The most that `auto` asks for, and what it leaves of the forecast.
const AUTO_MAX: u64 = 1_000_000;
const FORECAST_USED_PERCENT: u64 = 95;
/// The many send so often together, at most.
const COLD_PER_SECOND: u64 = 4_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = args.iter().position(|it| it == name)?;
        args.get(at + 1).cloned()
    };
    // `cargo bench` starts every bench; this one takes minutes and must be asked for.
    let Some(clients) = option("--clients") else {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    };
    match measure(&clients, &option) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(why) => {
            println!("million: {why}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn measure(clients: &str, option: &dyn Fn(&str) -> Option<String>) -> Result<bool, String> {
    let number = |name: &str, default: u64| match option(name) {
        None => Ok(default),
        Some(text) => text.parse::<u64>().map_err(|_| format!("{name}: `{text}` is no number")),
    };
    let server = PathBuf::from(env!("CARGO_BIN_EXE_ringfold"));
    let loadgen = server.with_file_name("loadgen");
    if !loadgen.exists() {
        return Err(format!("{} is not there: make build", loadgen.display()));
    }
    let clients = match clients {
        "auto" => forecast(&server)?,
        text => text.parse().map_err(|_| format!("--clients: `{text}` is no number"))?,
    };
    let date = date();
    let out = option("--out").unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/results").display().to_string()
    });
    let folder = Path::new(&out).join(format!("{date}-million"));
    std::fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let plan = proof::Plan {
        clients,
        hot: number("--hot", 1_000)?.min(clients),
        rate: number("--rate", 5_000)?,
        seconds: number("--seconds", 20)?.max(1),
        every: number("--every", clients.div_ceil(COLD_PER_SECOND).max(30))?.max(1),
        most: Duration::from_secs(60 * number("--minutes", 15)?),
        server,
        loadgen,
        folder,
        say: |text| println!("{text}"),
    };
    println!("{clients} clients, {} hot ones, results in {}", plan.hot, plan.folder.display());
    let found = proof::run(&plan);
    let text = report::write(&plan, &found, &date)?;
    println!("\n{text}");
    Ok(found.failures.is_empty())
}

/// What the doctor says that this host bears.
fn forecast(server: &Path) -> Result<u64, String> {
    let mut asked = Command::new(server);
    asked.args(["doctor", "--clients", "1000000", "--local", "--json"]);
    let asked = asked.output().map_err(|why| why.to_string())?;
    let told: serde_json::Value =
        serde_json::from_slice(&asked.stdout).map_err(|why| format!("the doctor: {why}"))?;
    let bounds = told.pointer("/forecast/bounds").and_then(serde_json::Value::as_array);
    // Beyond the limit of open files sockets are parked.
    let counts = |it: &&serde_json::Value| {
        !it.get("what")
            .and_then(serde_json::Value::as_str)
            .is_some_and(|it| it.contains("open files"))
    };
    let clients = |it: &serde_json::Value| it.get("clients").and_then(serde_json::Value::as_u64);
    let most = bounds.and_then(|it| it.iter().filter(counts).filter_map(clients).min());
    let most = most.map_or(AUTO_MAX, |it| it / 100 * FORECAST_USED_PERCENT);
    println!("the doctor forecasts room for {most} clients and what else there is");
    Ok(most.clamp(1, AUTO_MAX))
}

fn date() -> String {
    let date = Command::new("date").arg("+%F").output();
    let text = date.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_string());
    text.ok().filter(|it| !it.is_empty()).unwrap_or_else(|| "undated".into())
}
