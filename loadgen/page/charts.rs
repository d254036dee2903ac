//! The charts of a page: which values go into which plot.

use super::plot::{Line, Plot, Scale, Unit};
use crate::report::{Columns, Curve, Report};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One run on the page.
#[derive(Clone, Copy)]
pub struct Run<'r> {
    pub name: &'r str,
    pub report: &'r Report,
    pub colour: usize,
}

const WIDTH: f64 = 976.0;
const HALF: f64 = 480.0;
const DASHES: [&str; 4] = ["", "6 3", "2 3", "8 3 2 3"];
/// Columns of a heat map, and shades of its cells.
const COLUMNS_MAX: usize = 300;
const SHADES: usize = 12;

/// The percentile curves of all runs; of one run alone its commands too.
pub fn percentiles(runs: &[Run<'_>]) -> String {
    let alone = runs.len() == 1;
    let mut lines = Vec::new();
    for run in runs {
        let commands: Vec<&str> =
            run.report.commands.iter().map(|it| it.command.as_str()).collect();
        let phases = run.report.plan.is_none();
        let shown = |it: &&Curve| {
            it.name == "latency" || phases || (alone && commands.contains(&it.name.as_str()))
        };
        for (at, curve) in run.report.curves.iter().filter(shown).enumerate() {
            let name = match (at, alone) {
                (_, false) => run.name.to_string(),
                (0, true) if !phases => "all".to_string(),
                _ => curve.name.clone(),
            };
            let colour = if alone { at % super::COLOURS } else { run.colour };
            lines.push(line(name, colour, DASHES[at / super::COLOURS % 4], curve));
        }
    }
    let mut out = String::new();
    if alone && lines.len() > 1 {
        out += "<div class=\"legend\">";
        for line in &lines {
            let _written = write!(
                out,
                "<span><i style=\"border-color:var(--run{})\"></i>{}</span>",
                line.colour,
                super::escape(&line.name)
            );
        }
        out += "</div>\n";
    }
    out + &nines("Latency by percentile", lines, WIDTH, 380.0).html("percentiles")
}

/// Every other phase that some run measured, in a chart of its own.
pub fn phases(runs: &[Run<'_>]) -> String {
    let mut by_name = BTreeMap::<&str, Vec<Line>>::new();
    for run in runs.iter().filter(|it| it.report.plan.is_some()) {
        let commands: Vec<&str> =
            run.report.commands.iter().map(|it| it.command.as_str()).collect();
        for curve in &run.report.curves {
            if curve.name != "latency" && !commands.contains(&curve.name.as_str()) {
                let line = line(run.name.into(), run.colour, "", curve);
                by_name.entry(&curve.name).or_default().push(line);
            }
        }
    }
    if by_name.is_empty() {
        return String::new();
    }
    let mut out = String::from("<h2>Phases</h2><div class=\"grid\">\n");
    for (name, lines) in by_name {
        let id = format!("phase-{}", name.replace(' ', "-"));
        out += &nines(name, lines, HALF, 240.0).html(&id);
    }
    out + "</div>\n"
}

/// Everything over time.
pub fn over_time(runs: &[Run<'_>]) -> String {
    let longest = runs.iter().map(|it| seconds(&it.report.series)).fold(0.0, f64::max);
    if longest == 0.0 {
        return String::new();
    }
    let time = Scale::Linear { min: 0.0, max: longest };
    let mut out = String::from(
        "<h2>Over time</h2><p>How many requests had which latency in each moment (darker: more), \
         with the median and the 99.9th percentile.</p>\n",
    );
    for (at, run) in runs.iter().enumerate() {
        out += &heat(run, time).html(&format!("latency-{at}"));
    }
    type Column = fn(&Columns) -> &Vec<f64>;
    let floats = |of: Column| move |it: &Columns| of(it).iter().map(|it| Some(*it)).collect();
    let counts = |it: &[u64]| it.iter().map(|it| Some(*it as f64)).collect();
    let plots: [TimeChart<'_>; 5] = [
        (
            "throughput",
            "Requests per second",
            Unit::Count,
            vec![
                ("", Box::new(floats(|it| &it.requests_per_second))),
                ("messages", Box::new(floats(|it| &it.messages_per_second))),
            ],
        ),
        (
            "connections",
            "Connections",
            Unit::Count,
            vec![("", Box::new(move |it| counts(&it.connections)))],
        ),
        (
            "connects",
            "Connects per second",
            Unit::Count,
            vec![(
                "",
                Box::new(|it| {
                    let each = it.connects.iter().map(|count| *count as f64 / it.interval_seconds);
                    each.map(Some).collect()
                }),
            )],
        ),
        (
            "cpu",
            "CPU, cores",
            Unit::Cores,
            vec![
                ("loadgen", Box::new(floats(|it| &it.cpu_loadgen))),
                ("server", Box::new(floats(|it| &it.cpu_server))),
            ],
        ),
        ("errors", "Errors", Unit::Count, vec![("", Box::new(move |it| counts(&it.errors)))]),
    ];
    for (id, title, unit, columns) in plots {
        out += &timed(runs, time, (id, title, unit), &columns);
    }
    out
}

/// A chart over time: its id, title and unit, and its columns by name.
type TimeChart<'v> = (&'v str, &'v str, Unit, Vec<(&'v str, Values<'v>)>);
/// A column of a series.
type Values<'v> = Box<dyn Fn(&Columns) -> Vec<Option<f64>> + 'v>;

/// One chart over time of all runs: a line per run and column, unless all of them are 0.
fn timed(
    runs: &[Run<'_>],
    time: Scale,
    (id, title, unit): (&str, &str, Unit),
    columns: &[(&str, Values<'_>)],
) -> String {
    let mut lines = Vec::new();
    for run in runs {
        for (at, (name, values)) in columns.iter().enumerate() {
            let mut values = values(&run.report.series);
            // The last interval is cut short by the end of the run.
            values.pop();
            if values.iter().flatten().all(|it| *it == 0.0) {
                continue;
            }
            let name = [run.name, *name].join(" ").trim().to_string();
            let step = run.report.series.interval_seconds;
            let points =
                values.into_iter().enumerate().map(|(at, it)| ((at as f64 + 0.5) * step, it));
            let points = points.collect();
            lines.push(Line { name, colour: run.colour, dash: DASHES[at % 4], points });
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    let dashed = columns.iter().enumerate().filter(|it| it.1.0.len() > 1);
    let dashed: Vec<String> = dashed
        .map(|(at, it)| format!("{} {}", if at == 0 { "solid:" } else { "dashed:" }, it.0))
        .collect();
    let title = match dashed.len() {
        0 => title.to_string(),
        _ => format!("{title} ({})", dashed.join(", ")),
    };
    let y = Scale::from_zero(lines.iter().flat_map(|it| it.points.iter().filter_map(|it| it.1)));
    let plot = Plot {
        title,
        width: WIDTH,
        height: 200.0,
        x: time,
        y,
        x_unit: Unit::Seconds,
        y_unit: unit,
        lines,
        marks: marks(runs),
        ground: String::new(),
    };
    plot.html(id)
}

/// The heat map of one run.
fn heat(run: &Run<'_>, time: Scale) -> Plot {
    let series = &run.report.series;
    let step = series.interval_seconds;
    let cells = series.heat.iter().flatten().map(|it| it.0);
    let y = Scale::log_around(cells);
    let line = |name: &str, dash, of: &Vec<Option<f64>>| Line {
        name: name.into(),
        colour: run.colour,
        dash,
        points: of.iter().enumerate().map(|(at, it)| ((at as f64 + 0.5) * step, *it)).collect(),
    };
    let mut plot = Plot {
        title: format!("Latency over time: {} (solid: p50, dashed: p99.9)", run.name),
        width: WIDTH,
        height: 260.0,
        x: time,
        y,
        x_unit: Unit::Seconds,
        y_unit: Unit::Microseconds,
        lines: vec![line("p50", "", &series.p50_us), line("p99.9", "4 3", &series.p999_us)],
        marks: marks(&[*run]),
        ground: String::new(),
    };
    plot.ground = ground(run, &plot);
    plot
}

/// The cells of a heat map: one path for each shade.
fn ground(run: &Run<'_>, plot: &Plot) -> String {
    let series = &run.report.series;
    let merged = series.heat.len().div_ceil(COLUMNS_MAX).max(1);
    let mut most = 1u64;
    let mut columns = Vec::new();
    for chunk in series.heat.chunks(merged) {
        // A cell's upper bound as a whole number of nanoseconds, so that it can be a key.
        let mut column = BTreeMap::<u64, u64>::new();
        for (upper, count) in chunk.iter().flatten() {
            #[expect(clippy::cast_possible_truncation, reason = "a bound of a bucket")]
            let key = (upper * 1000.0) as u64;
            *column.entry(key).or_default() += count;
        }
        most = most.max(column.values().copied().max().unwrap_or(0));
        columns.push(column);
    }
    let mut paths = vec![String::new(); SHADES];
    let width = series.interval_seconds * merged as f64;
    for (at, column) in columns.iter().enumerate() {
        for (upper, count) in column {
            let upper = *upper as f64 / 1000.0;
            // Eight cells for each power of two.
            let lower = upper / 2f64.powf(1.0 / 8.0);
            let (left, top) = plot.place(at as f64 * width, upper);
            let (right, bottom) = plot.place((at as f64 + 1.0) * width, lower);
            let share = ((*count as f64).ln_1p() / (most as f64).ln_1p()).clamp(0.0, 1.0);
            #[expect(clippy::cast_possible_truncation, reason = "below the number of shades")]
            let shade = (share * (SHADES - 1) as f64).round() as usize;
            let (width, height) = (right - left, (bottom - top).max(1.0));
            let _written =
                write!(paths[shade], "M{left:.1} {top:.1}h{width:.1}v{height:.1}h-{width:.1}z");
        }
    }
    let mut out = String::from("<g class=\"heat\">");
    for (shade, path) in paths.iter().enumerate().filter(|it| !it.1.is_empty()) {
        let opacity = 0.10 + 0.75 * shade as f64 / (SHADES - 1) as f64;
        let _written = write!(
            out,
            "<path d=\"{path}\" fill=\"var(--run{})\" fill-opacity=\"{opacity:.2}\"/>",
            run.colour
        );
    }
    out + "</g>\n"
}

fn marks(runs: &[Run<'_>]) -> Vec<(f64, String, usize)> {
    let mut marks = Vec::new();
    for run in runs {
        marks.extend(run.report.events.iter().map(|it| (it.0, it.1.clone(), run.colour)));
    }
    marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    marks
}

fn seconds(series: &Columns) -> f64 {
    series.requests_per_second.len() as f64 * series.interval_seconds
}

fn line(name: String, colour: usize, dash: &'static str, curve: &Curve) -> Line {
    let points = curve.points.iter().map(|it| (it.0, Some(it.1))).collect();
    Line { name, colour, dash, points }
}

fn nines(title: &str, lines: Vec<Line>, width: f64, height: f64) -> Plot {
    // The last point of a curve is its maximum, at a share of 1: as far out as its last nine.
    let shares = lines.iter().flat_map(|it| it.points.iter().map(|it| it.0));
    let last = shares.filter(|it| *it < 1.0).fold(0.9, f64::max);
    let nines = (1.0 - last).log10().floor();
    let max = 1.0 - 10f64.powf(nines.max(-9.0));
    let values = lines.iter().flat_map(|it| it.points.iter().filter_map(|it| it.1));
    Plot {
        title: title.into(),
        width,
        height,
        x: Scale::Nines { max },
        y: Scale::log_around(values),
        x_unit: Unit::Share,
        y_unit: Unit::Microseconds,
        lines,
        marks: Vec::new(),
        ground: String::new(),
    }
}
