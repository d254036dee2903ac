//! SVG of one chart: scales, axes, lines, marks. Knows nothing of load generators.

use std::fmt::Write;

/// How values lie along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// From 0 or a bound to another.
    Linear {
        min: f64,
        max: f64,
    },
    Log {
        min: f64,
        max: f64,
    },
    /// Shares 0 to below 1, as `log(1 / (1 - share))`: each nine takes the same room.
    Nines {
        max: f64,
    },
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    Microseconds,
    Seconds,
    Cores,
    Share,
}

/// A line of a chart; what has no value is a gap.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    /// CSS variable of its colour, and its dash pattern.
    pub colour: usize,
    pub dash: &'static str,
    pub points: Vec<(f64, Option<f64>)>,
}

/// A chart to be drawn.
#[derive(Clone, Debug)]
pub struct Plot {
    pub title: String,
    pub width: f64,
    pub height: f64,
    pub x: Scale,
    pub y: Scale,
    pub x_unit: Unit,
    pub y_unit: Unit,
    pub lines: Vec<Line>,
    /// Marks: where, what, which colour.
    pub marks: Vec<(f64, String, usize)>,
    /// Under the lines.
    pub ground: String,
}

const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 26.0;
/// Values shown under the pointer, per line.
const POINTED_MAX: usize = 400;
/// Marks closer than this are written on different lines.
const MARK_WIDTH: f64 = 70.0;

impl Scale {
    /// Where a value lies, 0 to 1.
    #[must_use]
    pub fn at(self, value: f64) -> f64 {
        let at = match self {
            Self::Linear { min, max } => (value - min) / (max - min),
            Self::Log { min, max } => (value / min).ln() / (max / min).ln(),
            Self::Nines { max } => (1.0 - value).max(1e-12).log10() / (1.0 - max).log10(),
        };
        if at.is_finite() { at.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Values at which the axis is marked.
    #[must_use]
    pub fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { min, max } => {
                let step = nice((max - min) / 5.0);
                let first = (min / step).ceil();
                (0..20)
                    .map(|it| (first + f64::from(it)) * step)
                    .take_while(|it| *it <= max)
                    .collect()
            }
            Self::Log { min, max } => {
                let decades = (max / min).log10();
                let each: &[f64] = if decades < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let all = (-3..13).flat_map(|it| each.iter().map(move |e| e * 10f64.powi(it)));
                all.filter(|it| *it >= min * 0.999 && *it <= max * 1.001).collect()
            }
            Self::Nines { max } => {
                let nines = (0..10).map(|it| 1.0 - 10f64.powi(-it));
                nines.filter(|it| *it <= max + 1e-12).collect()
            }
        }
    }

    /// A logarithmic scale around values, whole steps of 1, 2, 5.
    #[must_use]
    pub fn log_around(values: impl Iterator<Item = f64>) -> Self {
        let (min, max) = bounds(values.filter(|it| *it > 0.0));
        let (min, max) = if min > max { (1.0, 10.0) } else { (min, max) };
        let low = 10f64.powf(min.log10().floor());
        let low = [5.0, 2.0].iter().map(|it| it * low).find(|it| *it <= min).unwrap_or(low);
        Self::Log { min: low, max: nice(max.max(low * 2.0)) }
    }

    /// From 0 to a round number above all values.
    #[must_use]
    pub fn from_zero(values: impl Iterator<Item = f64>) -> Self {
        let (_, max) = bounds(values);
        Self::Linear { min: 0.0, max: if max > 0.0 { nice(max * 1.02) } else { 1.0 } }
    }
}

impl Unit {
    #[must_use]
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Count => count(value),
            Self::Microseconds if value >= 1e6 => format!("{} s", short(value / 1e6)),
            Self::Microseconds if value >= 1e3 => format!("{} ms", short(value / 1e3)),
            Self::Microseconds => format!("{} us", short(value)),
            Self::Seconds => format!("{} s", short(value)),
            Self::Cores => short(value),
            Self::Share => {
                let percent = format!("{:.6}", value * 100.0);
                format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
            }
        }
    }
}

impl Plot {
    /// Where a point lies in the SVG.
    #[must_use]
    pub fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let (width, height) = (self.width - LEFT - RIGHT, self.height - TOP - BOTTOM);
        (LEFT + self.x.at(x) * width, TOP + (1.0 - self.y.at(y)) * height)
    }

    /// The chart as HTML; `id` names it.
    #[must_use]
    pub fn html(&self, id: &str) -> String {
        let (width, height) = (self.width, self.height);
        let pointed = escape(&self.pointed());
        // Writing to a String cannot fail.
        let mut out = format!(
            "<div class=\"chart\" id=\"{id}\" data-lines=\"{pointed}\">\
             <svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{0}\">\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"18\">{0}</text>\n",
            escape(&self.title)
        );
        self.axes(&mut out);
        out += &self.ground;
        self.marks(&mut out);
        for line in &self.lines {
            let path = self.path(line);
            if !path.is_empty() {
                let _written = writeln!(
                    out,
                    "<path class=\"curve\" d=\"{path}\" stroke=\"var(--run{})\" \
                     stroke-dasharray=\"{}\"><title>{}</title></path>",
                    line.colour,
                    line.dash,
                    escape(&line.name)
                );
            }
        }
        let _written = writeln!(
            out,
            "<line class=\"cursor\" y1=\"{TOP}\" y2=\"{}\"/></svg></div>",
            height - BOTTOM
        );
        out
    }

    fn axes(&self, out: &mut String) {
        let (bottom, right) = (self.height - BOTTOM, self.width - RIGHT);
        for tick in self.y.ticks() {
            let y = self.place(0.0, tick).1;
            let _written = writeln!(
                out,
                "<line class=\"gridline\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                self.y_unit.text(tick)
            );
        }
        for tick in self.x.ticks() {
            let x = LEFT + self.x.at(tick) * (right - LEFT);
            let _written = writeln!(
                out,
                "<line class=\"gridline\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 15.0,
                self.x_unit.text(tick)
            );
        }
    }

    fn marks(&self, out: &mut String) {
        let (mut last, mut row) = (f64::MIN, 0.0);
        for (at, name, colour) in &self.marks {
            let x = self.place(*at, 0.0).0;
            row = if x - last < MARK_WIDTH { (row + 1.0) % 4.0 } else { 0.0 };
            last = x;
            let anchor = if x > self.width - 100.0 { ("end", -4.0) } else { ("start", 4.0) };
            let _written = writeln!(
                out,
                "<g class=\"event\"><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\" \
                 style=\"stroke:var(--run{colour})\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{}</text></g>",
                self.height - BOTTOM,
                x + anchor.1,
                TOP + 11.0 + 12.0 * row,
                anchor.0,
                escape(name)
            );
        }
    }

    fn path(&self, line: &Line) -> String {
        let (mut path, mut pen) = (String::new(), 'M');
        for (x, y) in &line.points {
            match y {
                Some(y) => {
                    let (x, y) = self.place(*x, *y);
                    let _written = write!(path, "{pen}{x:.1} {y:.1}");
                    pen = 'L';
                }
                None => pen = 'M',
            }
        }
        path
    }

    /// What the pointer finds: per line its name and points (place, where, value) as JSON.
    fn pointed(&self) -> String {
        let line = |line: &Line| {
            let step = line.points.len().div_ceil(POINTED_MAX).max(1);
            let points: Vec<_> = line
                .points
                .iter()
                .step_by(step)
                .filter_map(|(x, y)| {
                    let y = (*y)?;
                    let at = (self.place(*x, y).0 * 10.0).round() / 10.0;
                    Some((at, self.x_unit.text(*x), self.y_unit.text(y)))
                })
                .collect();
            serde_json::json!({ "name": line.name, "points": points })
        };
        serde_json::Value::from(self.lines.iter().map(line).collect::<Vec<_>>()).to_string()
    }
}

/// Text inside of HTML.
#[must_use]
pub fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;")
}

/// The next number above of 1, 1.5, 2, 2.5, 3, 4, 5, 6, 8 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10f64.powf(value.abs().max(1e-12).log10().floor());
    let steps = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    steps.iter().map(|it| it * power).find(|it| *it >= value * 0.9999).unwrap_or(value)
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, f64::MIN), |it, value| (it.0.min(value), it.1.max(value)))
}

fn count(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{} M", short(value / 1e6)),
        _ if value >= 1e4 => format!("{} k", short(value / 1e3)),
        _ => short(value),
    }
}

/// Three digits.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        it if it >= 100.0 => 0,
        it if it >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_string();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_place_and_mark_their_values() {
        let nines = Scale::Nines { max: 0.9999 };
        assert!((nines.at(0.9) - 0.25).abs() < 1e-9 && (nines.at(0.999) - 0.75).abs() < 1e-9);
        let titles: Vec<_> = nines.ticks().iter().map(|it| Unit::Share.text(*it)).collect();
        assert_eq!(titles, ["0%", "90%", "99%", "99.9%", "99.99%"]);
        let log = Scale::log_around([30.0, 900.0].into_iter());
        assert_eq!(log, Scale::Log { min: 20.0, max: 1000.0 });
        assert_eq!(
            log.ticks().iter().map(|it| it.round()).collect::<Vec<_>>(),
            [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]
        );
        let linear = Scale::from_zero([0.0, 97.0].into_iter());
        assert_eq!(linear, Scale::Linear { min: 0.0, max: 100.0 });
        assert_eq!(linear.ticks().len(), 6);
        assert_eq!(Scale::from_zero(std::iter::empty()), Scale::Linear { min: 0.0, max: 1.0 });
        assert_eq!(linear.at(f64::NAN), 0.0);
    }

    #[test]
    fn a_gap_in_values_is_a_gap_in_the_line() {
        let line = Line {
            name: "a & b".into(),
            colour: 0,
            dash: "",
            points: vec![(0.0, Some(1.0)), (1.0, None), (2.0, Some(1.0)), (3.0, Some(2.0))],
        };
        let plot = Plot {
            title: "t".into(),
            width: 500.0,
            height: 200.0,
            x: Scale::Linear { min: 0.0, max: 3.0 },
            y: Scale::Linear { min: 0.0, max: 2.0 },
            x_unit: Unit::Seconds,
            y_unit: Unit::Count,
            lines: vec![line],
            marks: vec![(1.5, "<kill>".into(), 0)],
            ground: String::new(),
        };
        let html = plot.html("it");
        assert_eq!(plot.path(&plot.lines[0]).matches('M').count(), 2);
        assert!(html.contains("&lt;kill&gt;") && html.contains("a &amp; b"), "{html}");
    }

    #[test]
    fn values_are_written_with_their_unit() {
        assert_eq!(Unit::Microseconds.text(1234.0), "1.23 ms");
        assert_eq!(Unit::Microseconds.text(50.0), "50 us");
        assert_eq!(Unit::Count.text(1_250_000.0), "1.25 M");
        assert_eq!(Unit::Share.text(0.99999), "99.999%");
    }
}
