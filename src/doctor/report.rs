//! What the doctor found, for people and for programs. It decides nothing.

use super::findings::{Finding, Level, Mend};
use super::forecast::{Demand, Forecast};
use super::prove::Proof;
use super::readings::Readings;
use serde::Serialize;
use std::fmt::Write;

/// The width at which prose wraps.
const COLUMNS: usize = 100;
const INDENT: &str = "            ";

/// Everything, as `--json` prints it.
#[derive(Serialize)]
struct Document<'d> {
    demand: &'d Demand,
    bears: bool,
    findings: &'d [Finding],
    forecast: &'d Forecast,
    readings: &'d Readings,
}

/// The findings and the forecast as JSON.
#[must_use]
pub fn json(
    readings: &Readings,
    demand: &Demand,
    forecast: &Forecast,
    findings: &[Finding],
) -> String {
    let bears = worst(findings) < Level::Obstacle;
    let document = Document { demand, bears, findings, forecast, readings };
    // Plain data with names for keys: there is nothing that JSON cannot say.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// The findings and the forecast for a terminal.
#[must_use]
pub fn text(demand: &Demand, forecast: &Forecast, findings: &[Finding]) -> String {
    let place = if demand.local { ", on this host too" } else { "" };
    let mut text = format!("This host and {} clients{place}\n\n", number(demand.clients));
    for it in findings {
        let level = match it.level {
            Level::Fine => "ok",
            Level::Advice => "advice",
            Level::Obstacle => "OBSTACLE",
        };
        line(&mut text, &format!("  {level:<9} {:<32} {}", it.subject, it.is));
        if it.level == Level::Fine {
            continue;
        }
        line(&mut text, &format!("{INDENT}needed: {}", it.needs));
        wrap(&mut text, &it.why);
        match &it.mend {
            Some(Mend::Write(change)) if change.sysctl => {
                wrap(&mut text, &format!("change: sysctl -w {}=\"{}\"", change.name, change.to));
                wrap(&mut text, &format!("undo:   sysctl -w {}=\"{}\"", change.name, change.from));
            }
            Some(Mend::Write(change)) => {
                wrap(&mut text, &format!("change: echo {} > {}", change.to, change.path));
                wrap(&mut text, &format!("undo:   echo {} > {}", change.from, change.path));
            }
            Some(Mend::ByHand { how, undo }) => {
                wrap(&mut text, &format!("change: {how}"));
                wrap(&mut text, &format!("undo:   {undo}"));
            }
            None => {}
        }
    }
    text += &prediction(forecast);
    text += &verdict(demand, findings);
    text
}

/// What came of `--prove`.
#[must_use]
pub fn proof(proof: &Proof) -> String {
    let each = |all: u64| number(all / proof.held.max(1));
    let mut text = format!(
        "{} of {} connections to itself were held after {:.1} s, {} of them parked.\n\
         {} of {} asked for an echo and got it.\n\
         They took {} of kernel memory, {} bytes for both ends of each; the forecast says {} ({:+.1} %).\n",
        number(proof.held),
        number(proof.asked),
        proof.seconds,
        number(proof.parked as u64),
        number(proof.echoed as u64),
        number(proof.asked_for_echo as u64),
        bytes(proof.kernel_bytes),
        each(proof.kernel_bytes),
        each(proof.forecast_bytes),
        proof.error_percent()
    );
    if let Some(why) = &proof.why_not_all {
        text += &format!("Then {why}.\n");
    }
    text
}

/// The same as JSON.
#[must_use]
pub fn proof_json(proof: &Proof) -> String {
    serde_json::to_string_pretty(proof).unwrap_or_default() + "\n"
}

/// The worst of these findings.
#[must_use]
pub fn worst(findings: &[Finding]) -> Level {
    findings.iter().map(|it| it.level).max().unwrap_or(Level::Fine)
}

fn prediction(forecast: &Forecast) -> String {
    let (costs, memory) = (forecast.costs, forecast.at_demand);
    let mut text = format!("\nMemory of {} clients that wait:\n", number(memory.clients));
    let mut row = |what: &str, all: u64, each: u64| {
        let each = number(each);
        line(&mut text, &format!("  {what:<32} {:>10}   {each} bytes each", bytes(all)));
    };
    row("kernel, the server's ends", memory.server_kernel, costs.server_kernel);
    if costs.client_kernel > 0 {
        row("kernel, the clients' ends", memory.client_kernel, costs.client_kernel);
    }
    row("the server", memory.server_user, costs.server_user);
    let mut bounds = forecast.bounds.iter();
    if let Some(first) = bounds.next() {
        let most = number(first.clients);
        line(&mut text, &format!("\nThe most that this host bears: {most}, by {}.", first.what));
        for bound in bounds {
            line(&mut text, &format!("  {:<32} {:>10}", bound.what, number(bound.clients)));
        }
    }
    text
}

fn verdict(demand: &Demand, findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|it| it.level == level).count();
    let (obstacles, advice) = (count(Level::Obstacle), count(Level::Advice));
    let clients = number(demand.clients);
    let mut text = match obstacles {
        0 => format!("\nIt bears {clients} clients"),
        1 => format!("\nIt does not bear {clients} clients: one obstacle"),
        more => format!("\nIt does not bear {clients} clients: {more} obstacles"),
    };
    if advice > 0 {
        let _never_fails = write!(text, "; advice in {advice} more");
    }
    text += ".\n";
    if findings.iter().any(|it| matches!(it.mend, Some(Mend::Write(_)))) {
        let _never_fails = writeln!(
            text,
            "`ringfold tune --clients {}{}` shows what it would change, and changes it with --apply.",
            demand.clients,
            if demand.local { " --local" } else { "" }
        );
    }
    text
}

fn line(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

/// Prose below a finding, broken between words.
fn wrap(text: &mut String, prose: &str) {
    let mut current = String::from(INDENT);
    for word in prose.split(' ') {
        if current.len() > INDENT.len() && current.len() + word.len() > COLUMNS {
            line(text, &current);
            current.truncate(INDENT.len());
        }
        current += word;
        current.push(' ');
    }
    line(text, &current);
}

/// `1234567` as `1,234,567`; the highest number is `unlimited`.
#[must_use]
pub fn number(number: u64) -> String {
    if number == u64::MAX {
        return "unlimited".into();
    }
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the unit that leaves one to three digits before the point; units are powers of 1024.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    if bytes == u64::MAX {
        return "unlimited".into();
    }
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units.iter().find(|(_, shift)| bytes >> shift > 0);
    match unit {
        Some((name, shift)) => format!("{:.1} {name}", bytes as f64 / f64::from(1u32 << shift)),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::findings::{Change, findings};
    use crate::doctor::readings::Room;

    #[test]
    fn numbers_are_readable() {
        let check = |n, expected: &str| assert_eq!(number(n), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(1_234_567, "1,234,567");
        check(u64::MAX, "unlimited");
        let check = |n, expected: &str| assert_eq!(bytes(n), expected);
        check(0, "0 bytes");
        check(1_023, "1023 bytes");
        check(1_536, "1.5 KiB");
        check(23 << 30, "23.0 GiB");
    }

    #[test]
    fn a_report_says_what_why_how_and_the_way_back() {
        let room = Room { limit_bytes: 1 << 30, free_bytes: 1 << 29 };
        let mut readings = Readings { memory: Some(room), ..Readings::default() };
        readings.sysctls.insert("net.core.somaxconn", vec![128]);
        readings.huge_pages = Some("madvise".into());
        let demand = Demand { clients: 1_000_000, local: true, data_bytes: 0 };
        let forecast = Forecast::of(&readings, &demand);
        let found = findings(&readings, &demand, &forecast);
        let text = text(&demand, &forecast, &found);
        for expected in [
            "This host and 1,000,000 clients, on this host too\n",
            "  OBSTACLE  memory                           512.0 MiB free on the host\n",
            "            needed: 7.8 GiB\n",
            "  advice    net.core.somaxconn               128\n",
            "            change: sysctl -w net.core.somaxconn=\"65535\"\n",
            "            undo:   sysctl -w net.core.somaxconn=\"128\"\n",
            "  ok        transparent_hugepage             madvise\n",
            "by memory.\n",
            "It does not bear 1,000,000 clients: one obstacle; advice in 1 more.\n",
            "`ringfold tune --clients 1000000 --local` shows",
        ] {
            assert!(text.contains(expected), "no {expected:?} in:\n{text}");
        }
        assert!(text.lines().all(|it| it.len() <= COLUMNS + 1 && it == it.trim_end()), "{text}");
        let json = json(&readings, &demand, &forecast, &found);
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["bears"], false);
        assert_eq!(parsed["findings"][1]["mend"]["write"]["to"], "65535");
        let change: Change =
            serde_json::from_value(parsed["findings"][1]["mend"]["write"].clone()).unwrap();
        assert_eq!(change.from, "128");
    }
}
