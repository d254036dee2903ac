//! What somebody sees while a run goes on: a few lines that are drawn over each other where standard
//! error is a terminal, one line where only progress is asked for, nothing in a file or a pipe.

use crate::plan::Plan;
use crate::run::{Phase, View};
use crate::series::Row;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};

/// Columns of a graph; what happened in the last so many intervals.
const COLUMNS: usize = 60;
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const EVENTS: usize = 3;

/// See the file's header.
pub struct Live {
    kind: Kind,
    title: String,
    /// Of the whole run, where that is known.
    seconds: f64,
    /// Lines on the screen that are to be drawn over.
    drawn: usize,
}

enum Kind {
    Nothing,
    Line,
    Whole,
}

impl Live {
    #[must_use]
    pub fn new(plan: &Plan, quiet: bool) -> Self {
        let dumb = std::env::var("TERM").map_or(true, |it| it == "dumb");
        let kind = match (std::io::stderr().is_terminal(), quiet || dumb) {
            (false, _) => Kind::Nothing,
            (true, true) => Kind::Line,
            (true, false) => Kind::Whole,
        };
        let seconds = plan.warm_up_seconds + plan.seconds;
        let title = format!("loadgen -> {}", plan.target.name());
        Self { kind, title, seconds, drawn: 0 }
    }

    /// Draws the view anew.
    pub fn show(&mut self, view: View<'_>) {
        let text = match self.kind {
            Kind::Nothing => return,
            Kind::Line => line(&view),
            Kind::Whole => whole(&self.title, self.seconds, &view),
        };
        self.draw(&text);
    }

    /// Takes the view away.
    pub fn end(&mut self) {
        if self.drawn > 0 {
            self.draw("");
        }
    }

    fn draw(&mut self, text: &str) {
        let mut all = String::new();
        if self.drawn > 1 {
            let _written = write!(all, "\x1b[{}A", self.drawn - 1);
        }
        // From here to the end of the screen.
        all += "\r\x1b[J";
        all += text;
        self.drawn = text.lines().count();
        let mut stderr = std::io::stderr();
        // A terminal that went away is no reason to stop.
        let _shown = stderr.write_all(all.as_bytes()).and_then(|()| stderr.flush());
    }
}

fn line(view: &View<'_>) -> String {
    let phase = phase(view.phase);
    let rate = last(view).map_or(0.0, |it| per_second(view, it.counts.replies));
    format!(
        "{phase} {:.1} s  {}/{} clients  {} requests  {rate:.0}/s",
        view.seconds, view.up, view.clients, view.replies
    )
}

fn whole(title: &str, seconds: f64, view: &View<'_>) -> String {
    let end = if seconds < 80_000.0 { format!(" of {seconds:.0}") } else { String::new() };
    let mut text = format!(
        "{title}   {}   {:.1}{end} s   {} of {} clients\n",
        phase(view.phase),
        view.seconds,
        grouped(view.up),
        grouped(view.clients)
    );
    if view.phase == Phase::Connecting {
        let done = view.up as f64 / view.clients.max(1) as f64;
        let _written = write!(text, "{}", bar(done));
        return text;
    }
    let rows = &view.series.rows;
    let from = rows.len().saturating_sub(COLUMNS);
    // The newest interval is still being counted.
    let shown = &rows[from..rows.len().saturating_sub(1).max(from)];
    let mut graph = |name: &str, value: String, of: &dyn Fn(&Row) -> f64| {
        let values: Vec<f64> = shown.iter().map(of).collect();
        let _written = writeln!(text, "{name:<12}{value:>14}  {}", spark(&values));
    };
    let last = last(view);
    let us = |ns: u64| format!("{:.0} us", ns as f64 / 1000.0);
    let rate = |it: &Row| per_second(view, it.counts.replies + it.counts.messages);
    graph("requests/s", last.map_or(String::new(), |it| grouped_f(rate(it))), &rate);
    let connects = |it: &Row| per_second(view, it.counts.connects);
    if shown.iter().any(|it| it.counts.connects > 0) {
        graph("connects/s", last.map_or(String::new(), |it| grouped_f(connects(it))), &connects);
    }
    for (name, at) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        let value = last.map_or(String::new(), |it| us(it.at(at)));
        graph(name, value, &|it| (it.at(at) as f64 + 1.0).log2());
    }
    let cpu = |ns: u64| ns as f64 / view.series.interval_ns as f64;
    let value = last.map_or(String::new(), |it| format!("{:.2} cores", cpu(it.cpu_ns)));
    graph("loadgen", value, &|it| cpu(it.cpu_ns));
    if shown.iter().any(|it| it.server_cpu_ns > 0) {
        let value = last.map_or(String::new(), |it| format!("{:.2} cores", cpu(it.server_cpu_ns)));
        graph("server", value, &|it| cpu(it.server_cpu_ns));
    }
    let errors: u64 = rows.iter().map(|it| it.counts.errors).sum();
    let lost: u64 = rows.iter().map(|it| it.counts.lost).sum();
    let _written = write!(
        text,
        "{} requests answered, {errors} errors, {lost} connections lost",
        grouped(view.replies)
    );
    let passed: Vec<_> = view.events.iter().filter(|it| it.0 <= view.seconds).collect();
    for (at, name) in passed.iter().rev().take(EVENTS) {
        let _written = write!(text, "\n  {at:.1} s  {name}");
    }
    text
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Connecting => "connecting",
        Phase::WarmUp => "warm-up",
        Phase::Measuring => "measuring",
    }
}

/// The newest interval that has ended.
fn last<'v>(view: &View<'v>) -> Option<&'v Row> {
    let rows = &view.series.rows;
    rows.get(rows.len().saturating_sub(2))
}

fn per_second(view: &View<'_>, count: u64) -> f64 {
    count as f64 * 1e9 / view.series.interval_ns as f64
}

/// Values as bars, the largest one whole.
fn spark(values: &[f64]) -> String {
    let max = values.iter().copied().fold(0.0, f64::max);
    let bar = |value: &f64| {
        let share = if max > 0.0 { (value / max).clamp(0.0, 1.0) } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "between 0 and 8")]
        BARS[(share * 8.0).ceil() as usize]
    };
    values.iter().map(bar).collect()
}

fn bar(done: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "at most the columns")]
    let full = (done.clamp(0.0, 1.0) * COLUMNS as f64) as usize;
    format!("[{}{}]", "█".repeat(full), " ".repeat(COLUMNS - full))
}

/// A number with blanks between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn grouped_f(value: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a rate, which is not negative")]
    grouped(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::{INTERVAL_NS, Interval, Series};

    #[test]
    fn the_view_shows_the_newest_whole_interval() {
        let mut series = Series::default();
        for index in 0..100 {
            let mut interval = Interval::default();
            interval.counts.replies = 1000 + index;
            interval.record(50_000, 100);
            series.add(&interval.take(index, 7));
            series.add_cpu((index + 1) * INTERVAL_NS, INTERVAL_NS / 2, 0);
        }
        let events = vec![(1.0, "kill".to_string()), (99.0, "later".to_string())];
        let view = View {
            phase: Phase::Measuring,
            seconds: 10.0,
            replies: 1_234_567,
            up: 7,
            clients: 1_000_000,
            series: &series,
            events: &events,
        };
        let text = whole("loadgen -> here", 30.0, &view);
        assert!(text.contains("measuring   10.0 of 30 s   7 of 1 000 000 clients"), "{text}");
        assert!(text.contains("requests/s          10 980  "), "{text}");
        assert!(text.contains("0.50 cores") && text.contains("1 234 567 requests"), "{text}");
        assert!(text.contains("1.0 s  kill") && !text.contains("later"), "{text}");
        assert!(text.lines().all(|it| it.chars().count() <= 100), "{text}");
        assert_eq!(line(&view), "measuring 10.0 s  7/1000000 clients  1234567 requests  10980/s");
        let connecting = View { phase: Phase::Connecting, up: 500_000, ..view };
        assert!(whole("x", 30.0, &connecting).contains(&"█".repeat(COLUMNS / 2)));
    }

    #[test]
    fn bars_are_relative_to_the_largest() {
        assert_eq!(spark(&[0.0, 1.0, 4.0, 8.0]), " ▁▄█");
        assert_eq!(spark(&[0.0, 0.0]), "  ");
    }
}
