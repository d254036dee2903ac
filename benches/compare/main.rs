//! Side by side with other servers: the bars of PERFORMANCE, as ratios of interleaved runs.
//!
//! ```text
//!   make compare                       every bar that this program can measure
//!   make compare BARS="1 2 8" ROUNDS=3
//! ```
//!
//! Contestants run one after the other in each round (A B A B ...), never at the same time; the
//! servers on core 0, the load on core 1. The figure is CPU time per operation wherever there is
//! one: it holds on a noisy machine where operations per second do not. The load and the floor L
//! come from the referee, two programs that share no code with any contestant; their source is
//! looked for in `REFEREE`, `benches/referee` and `../shared/tools/referee`, and built from a copy.
//!
//! Peers: redis-server, valkey-server and keydb-server where they are on the PATH, and those of
//! `COMPARE_PEERS`, as `name=program --with {port}` separated by `;`. `RINGFOLD_BIN` puts another
//! program in the place of ours.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a broken comparison should stop")]
#![expect(clippy::print_stdout, reason = "its output is the point")]
#![expect(clippy::disallowed_types, reason = "it waits for servers")]
#![expect(clippy::disallowed_methods, reason = "a stream over loopback has two ends")]

mod bars;
mod contestant;
mod report;
mod sync;

use bars::Bench;
use report::Report;

const BARS: &[u32] = &[1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 14, 15];
const USAGE: &str = "compare --bars \"1 2 3 4 5 7 8 9 10 11 12 14 15\"|all [--rounds 5] [--secs 3]
            [--keys 1000000,5000000] [--idle 10000] [--sync-keys 2000000] [--out benches/results]
runs the bars of PERFORMANCE and writes <date>-compare.md and .json";

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        let at = args.iter().position(|it| it == name)?;
        Some(args.get(at + 1).unwrap_or_else(|| panic!("{name} needs a value")).clone())
    };
    // `cargo bench` starts every bench; this one takes an hour and must be asked for.
    let Some(bars) = option("--bars") else {
        println!("{USAGE}");
        return;
    };
    let bars: Vec<u32> = if bars == "all" {
        BARS.to_vec()
    } else {
        let number = |it: &str| it.parse().unwrap_or_else(|_| panic!("no bar {it:?}\n{USAGE}"));
        bars.split([' ', ',']).filter(|it| !it.is_empty()).map(number).collect()
    };
    if let Some(unknown) = bars.iter().find(|it| !BARS.contains(it)) {
        panic!("bar {unknown} is not measured here\n{USAGE}");
    }
    let number = |name, default| option(name).map_or(default, |it| it.parse().expect(name));
    let keys = option("--keys").unwrap_or_else(|| "1000000,5000000".into());
    let bench = Bench {
        rounds: number("--rounds", 5),
        secs: option("--secs").map_or(3.0, |it| it.parse().expect("--secs")),
        idle: number("--idle", 10_000),
        keys: keys.split(',').map(|it| it.parse().expect("--keys")).collect(),
        sync_keys: option("--sync-keys").map_or(2_000_000, |it| it.parse().expect("--sync-keys")),
        loadgen: sync::loadgen(),
        referee: contestant::build_referee(),
        peers: contestant::peers(),
    };
    let mut report = Report::new(&bench);
    bench.run(&bars, &mut report);
    report.write(&option("--out").unwrap_or_else(|| "benches/results".into()));
}
