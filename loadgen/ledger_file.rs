//! A ledger on disk, and `loadgen verify`: whether a server has what was acknowledged.
//!
//! ```text
//!   loadgen ledger 1
//!   {the plan as JSON}
//!   <key> <last write sent> <last write acknowledged>     a line for each key that was written
//!   end <lines>
//! ```
//!
//! With the plan every write can be drawn again, so a ledger checks every byte of every value, on
//! whatever server the keys are by now: the same one after a restart, a replica, its successor.

use crate::args::Verify;
use crate::drive::Clock;
use crate::failure::Failure;
use crate::fresh::read_back;
use crate::ledger::Ledger;
use crate::places::Service;
use crate::plan::Plan;
use crate::report;
use crate::scout::learn;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const FIRST_LINE: &str = "loadgen ledger 1";

/// Writes what a run's ledger knows.
pub fn write(path: &Path, plan: &Plan, ledger: &Ledger) -> Result<(), Failure> {
    report::write(path, &text(plan, ledger).map_err(Failure::Output)?)
}

/// `loadgen verify`.
pub fn verify(args: &Verify) -> Result<(), Failure> {
    let wrong = |why: String| Failure::Plan(format!("{}: {why}", args.ledger.display()));
    let text = fs::read_to_string(&args.ledger).map_err(|it| wrong(it.to_string()))?;
    let (mut plan, ledger) = parse(&text).map_err(wrong)?;
    plan.target = args.server.target();
    plan.timeout_seconds = args.timeout;
    let places = match plan.target.service {
        Service::One => None,
        Service::Cluster | Service::Sentinel(_) => Some(learn(&plan, Clock::new())?),
    };
    let found = read_back(&plan, &ledger, places.as_ref())?;
    if let Some(failure) = found.failure() {
        return Err(failure);
    }
    let (keys, name) = (found.keys, plan.target.name());
    report::print_text(&format!(
        "verified: {name} has the acknowledged writes of all {keys} keys, or later ones\n"
    ));
    Ok(())
}

fn text(plan: &Plan, ledger: &Ledger) -> Result<String, String> {
    let plan = serde_json::to_string(plan).map_err(|it| it.to_string())?;
    let mut text = format!("{FIRST_LINE}\n{plan}\n");
    let mut lines = 0;
    for (key, sent, acknowledged) in ledger.entries() {
        // Writing to a String cannot fail.
        let _written = writeln!(text, "{key} {sent} {acknowledged}");
        lines += 1;
    }
    let _written = writeln!(text, "end {lines}");
    Ok(text)
}

fn parse(text: &str) -> Result<(Plan, Ledger), String> {
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Err(format!("is no ledger: it does not begin with `{FIRST_LINE}`"));
    }
    let plan = serde_json::from_str(lines.next().unwrap_or_default());
    let plan: Plan = plan.map_err(|it| format!("its plan: {it}"))?;
    plan.check()?;
    let keys = plan.groups.iter().map(|it| it.keys).max().unwrap_or(0);
    let mut ledger = Ledger::new(keys);
    let mut count = 0u64;
    for line in lines {
        let mut words = line.split(' ');
        let first = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map_while(|it| it.parse().ok()).collect();
        match (first, first.parse::<u64>(), numbers.as_slice()) {
            ("end", _, [lines]) if *lines == count => return Ok((plan, ledger)),
            (_, Ok(key), [sent, acknowledged]) if key < keys && acknowledged <= sent => {
                ledger.restore(key, *sent, *acknowledged);
                count += 1;
            }
            _ => return Err(format!("cannot read the line `{line}`")),
        }
    }
    Err("ends before its end".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    fn ledger() -> (Plan, Ledger) {
        let mut plan = sample();
        plan.verify = true;
        let mut ledger = Ledger::new(100);
        for (key, number) in [(3, 7), (3, 11), (99, 0)] {
            ledger.sent(key, number);
        }
        ledger.acknowledged(3, 7);
        (plan, ledger)
    }

    #[test]
    fn a_ledger_survives_its_file() {
        let (plan, ledger) = ledger();
        let (read, back) = parse(&text(&plan, &ledger).unwrap()).unwrap();
        assert_eq!(read, plan);
        assert!(back.entries().eq(ledger.entries()));
        assert_eq!(back.entries().collect::<Vec<_>>(), [(3, 12, 8), (99, 1, 0)]);
    }

    #[test]
    fn a_damaged_ledger_is_refused() {
        let (plan, ledger) = ledger();
        let whole = text(&plan, &ledger).unwrap();
        let check = |text: String, because: &str| {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(because), "{error}");
        };
        check(whole.replace("ledger 1", "ledger 9"), "is no ledger");
        check(whole.replace("end 2\n", ""), "before its end");
        check(whole.replace("99 1 0\n", ""), "`end 2`");
        check(whole.replace("99 1 0", "100 1 0"), "`100 1 0`");
        check(whole.replace("99 1 0", "99 1 2"), "`99 1 2`");
        check(whole.replace("99 1 0", "99 1"), "`99 1`");
    }
}
