//! One self-contained HTML page of one or more runs: no file beside it, nothing loaded, readable
//! without its script (which only shows the values under the pointer).
//!
//! A run has one colour everywhere. What is drawn over time carries the run's events as marks.

mod charts;
mod plot;

use crate::report::{QUANTILES, Report};
use charts::Run;
use plot::{Unit, escape};
use std::fmt::Write;

/// Runs that have a colour of their own.
const COLOURS: usize = 6;
const CSS: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page of runs, each with its name.
#[must_use]
pub fn page(title: Option<&str>, runs: &[(String, Report)]) -> String {
    let runs: Vec<Run<'_>> = runs
        .iter()
        .enumerate()
        .map(|(at, (name, report))| Run { name, report, colour: at % COLOURS })
        .collect();
    let names: Vec<&str> = runs.iter().map(|it| it.name).collect();
    let title = escape(title.unwrap_or(&names.join(", ")));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title>\n<style>\n{CSS}</style></head>\n<body>\n<h1>{title}</h1>\n"
    );
    legend(&mut out, &runs);
    summary(&mut out, &runs);
    out += "<h2>Latency</h2><p>What share of the requests took no longer than that; each nine has \
            the same room. In an open loop latency counts from the time at which a request was to \
            leave.</p>\n";
    out += &charts::percentiles(&runs);
    out += &charts::over_time(&runs);
    out += &charts::phases(&runs);
    distributions(&mut out, &runs);
    facts(&mut out, &runs);
    let _written = write!(out, "<script>\n{SCRIPT}</script>\n</body></html>\n");
    out
}

fn legend(out: &mut String, runs: &[Run<'_>]) {
    *out += "<div class=\"legend\">";
    for run in runs {
        let _written = write!(
            out,
            "<span><i style=\"border-color:var(--run{})\"></i>{}</span>",
            run.colour,
            escape(run.name)
        );
    }
    *out += "</div>\n";
}

fn summary(out: &mut String, runs: &[Run<'_>]) {
    *out += "<div class=\"scroll\"><table id=\"summary\"><tr><th>run</th><th>requests</th>\
             <th>per second</th><th>clients</th>";
    for (name, _) in QUANTILES {
        let _written = write!(out, "<th>{name}</th>");
    }
    *out += "<th>max</th><th>errors</th><th>CPU per request: loadgen</th><th>server</th></tr>\n";
    for run in runs {
        let report = run.report;
        let clients = report.plan.as_ref().map_or(0, |it| it.connections());
        let _written = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{clients}</td>",
            escape(run.name),
            report.requests,
            Unit::Count.text(report.requests_per_second)
        );
        for (name, _) in QUANTILES {
            let value = report.latency.percentiles_us.get(*name).copied().unwrap_or(0.0);
            let _written = write!(out, "<td>{}</td>", Unit::Microseconds.text(value));
        }
        let cpu = |ns: Option<f64>| ns.map_or("-".into(), |it| format!("{it:.0} ns"));
        let _written = writeln!(
            out,
            "<td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Unit::Microseconds.text(report.latency.max_us),
            report.errors.values().sum::<u64>(),
            cpu(Some(report.cpu_ns_per_request)),
            cpu(report.server_cpu_ns_per_request)
        );
    }
    *out += "</table></div>\n";
    for run in runs {
        if let Some(failure) = &run.report.failure {
            let (name, failure) = (escape(run.name), escape(failure));
            let _written = writeln!(out, "<p class=\"wrong\">{name}: {failure}</p>");
        }
    }
}

fn distributions(out: &mut String, runs: &[Run<'_>]) {
    *out += "<h2>All distributions</h2><div class=\"scroll\"><table><tr><th></th><th>samples</th>";
    for (name, _) in QUANTILES {
        let _written = write!(out, "<th>{name}</th>");
    }
    *out += "<th>max</th></tr>\n";
    for run in runs {
        let commands = run.report.commands.iter().map(|it| (it.command.as_str(), &it.latency));
        let phases = run.report.phases.iter().map(|(name, it)| (name.as_str(), it));
        for (title, latency) in commands.chain(phases) {
            let prefix = if runs.len() > 1 { format!("{}: ", run.name) } else { String::new() };
            let title = escape(&(prefix + title));
            let _written = write!(out, "<tr><td>{title}</td><td>{}</td>", latency.samples);
            for (name, _) in QUANTILES {
                let value = latency.percentiles_us.get(*name).copied().unwrap_or(0.0);
                let _written = write!(out, "<td>{}</td>", Unit::Microseconds.text(value));
            }
            let max = Unit::Microseconds.text(latency.max_us);
            let _written = writeln!(out, "<td>{max}</td></tr>");
        }
    }
    *out += "</table></div>\n";
}

/// How it was measured.
fn facts(out: &mut String, runs: &[Run<'_>]) {
    *out += "<h2>How it was measured</h2>\n";
    for run in runs {
        let report = run.report;
        let host = &report.host;
        let line = report.command_line.join(" ");
        let storms: String = report
            .storms
            .iter()
            .map(|it| {
                let (at, cut, back) = (it.at_seconds, it.cut, it.back_seconds);
                format!("; storm at {at:.1} s: {cut} clients cut off, back after {back:.3} s")
            })
            .collect();
        let _written = writeln!(
            out,
            "<p class=\"facts\"><b>{}</b>: <code>{}</code><br>{}; {}; Linux {}; {}; {:.1} s, all \
             clients there after {:.1} s; loadgen {} with {:.1} MiB{}</p>",
            escape(run.name),
            escape(&line),
            date(report.unix_seconds),
            escape(&host.cpu),
            escape(&host.kernel),
            escape(&host.congestion_control),
            report.seconds,
            report.gather_seconds,
            escape(&report.loadgen),
            report.resident_bytes as f64 / f64::from(1 << 20),
            storms
        );
    }
}

/// Seconds since 1970 as a date and time in UTC.
fn date(unix_seconds: u64) -> String {
    let (days, time) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let (mut year, mut left) = (1970u64, days);
    let leap =
        |it: u64| it.is_multiple_of(4) && (!it.is_multiple_of(100) || it.is_multiple_of(400));
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 1;
    for days in months {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    let (hour, minute) = (time / 3600, time / 60 % 60);
    format!("{year}-{month:02}-{:02} {hour:02}:{minute:02} UTC", left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Histogram;
    use crate::report::{Columns, curve, latency};

    fn run(ns: u64) -> Report {
        let mut histogram = Histogram::default();
        (1..1000).for_each(|it| histogram.record(ns * it, 1));
        Report {
            latency: latency(&histogram),
            curves: vec![curve("latency", &histogram), curve("connect", &histogram)],
            events: vec![(0.1, "kill <it>".into())],
            series: Columns {
                interval_seconds: 0.1,
                requests_per_second: vec![1.0, 2.0, 3.0],
                connections: vec![5, 5, 5],
                p50_us: vec![Some(1.0), None, Some(2.0)],
                heat: vec![vec![(10.0, 5)], vec![], vec![(20.0, 1), (1000.0, 1)]],
                ..Columns::default()
            },
            ..Report::default()
        }
    }

    #[test]
    fn a_page_holds_every_run_and_nothing_unescaped() {
        let runs = [("one <&>".to_string(), run(1000)), ("two".to_string(), run(3000))];
        let page = page(Some("a & b"), &runs);
        assert!(page.contains("<title>a &amp; b</title>"));
        assert!(page.contains("one &lt;&amp;&gt;") && !page.contains("one <&>"));
        assert!(page.contains("kill &lt;it&gt;"));
        assert_eq!(page.matches("class=\"heat\"").count(), 2);
        for id in ["percentiles", "throughput", "latency-0", "connections"] {
            assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
        }
        assert!(!page.contains("http://") && !page.contains("https://"), "nothing is loaded");
        assert!(!page.contains("NaN") && !page.contains("inf "));
    }

    #[test]
    fn a_report_without_anything_makes_a_page_too() {
        assert!(page(None, &[("empty".into(), Report::default())]).contains("empty"));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_827_696), "2000-02-29 12:34 UTC");
        assert_eq!(date(1_795_564_800), "2026-11-25 00:00 UTC");
    }
}
