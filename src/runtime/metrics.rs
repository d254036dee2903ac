//! `/metrics` and `/healthz` on a port of their own (`metrics-port`), beside the cores' loops.
//!
//! ```text
//!   accept threads -> a thread per connection, few of them -> the collector -> host.report_wanted + 1
//!                                                                 ^                    |
//!                                                                 +-- Action::Report --+  each core, at its next tick
//! ```
//!
//! A scrape costs each core one walk over its figures, however many ask: an answer is good for
//! [`FRESH`]. A core that has no time within [`PATIENCE`] is left out, and named.
//!
//! What comes from outside is bounded in length, time and number, and nothing of it is kept: a request's head
//! may have [`HEAD_BYTES_MAX`] bytes, a connection lives for [`CONNECTION_SECONDS_MAX`] seconds, there are
//! [`CONNECTIONS_MAX`] of them, and each gets one answer.

use crate::base::limits::CORES_MAX;
use crate::node::figures::Figures;
use crate::node::host::Host;
use crate::node::metrics::{Family, Health, Kind, Said, Source, families};
use crate::node::outbox::Report;
use crate::node::settings::Settings;
use crate::node::table::Table;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;
const CONNECTIONS_MAX: usize = 16;
const CONNECTION_SECONDS_MAX: u64 = 10;
/// An answer made so lately is given again.
const FRESH: Duration = Duration::from_millis(500);
/// For how long the cores are waited for.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// What every name begins with.
const PREFIX: &str = "ringfold";

/// What the collector hears.
#[derive(Debug)]
pub enum Note {
    /// From a core.
    Report(Box<Report>),
    /// From a connection.
    Ask(SyncSender<Arc<Snapshot>>),
}

/// What all cores said.
#[derive(Debug)]
pub struct Snapshot {
    families: Vec<Family>,
    health: Health,
}

/// What the collector knows of the process from the start.
pub struct Node {
    pub host: Arc<Host>,
    pub table: &'static Table,
    pub cores: usize,
    pub settings: Arc<Settings>,
}

/// Starts to serve; what is returned is where the cores send their reports.
///
/// # Errors
/// Where a thread cannot be started.
pub fn start(listeners: Vec<OwnedFd>, node: Node) -> io::Result<Sender<Note>> {
    let (notes, heard) = channel();
    let thread = |name: &str| std::thread::Builder::new().name(name.to_string());
    thread("metrics").spawn(move || Collecting::new(node, heard).run())?;
    let open = Arc::new(AtomicUsize::new(0));
    for listener in listeners {
        let (listener, notes, open) = (TcpListener::from(listener), notes.clone(), open.clone());
        listener.set_nonblocking(false)?;
        thread("metrics-accept").spawn(move || accept(&listener, &notes, &open))?;
    }
    Ok(notes)
}

struct Collecting {
    node: Node,
    heard: Receiver<Note>,
    /// The number of the last report asked for.
    number: u64,
    last: Option<(Instant, Arc<Snapshot>)>,
    waiting: Vec<SyncSender<Arc<Snapshot>>>,
}

impl Collecting {
    fn new(node: Node, heard: Receiver<Note>) -> Self {
        Self { node, heard, number: 0, last: None, waiting: Vec::new() }
    }

    fn run(mut self) {
        while let Ok(note) = self.heard.recv() {
            let Note::Ask(who) = note else { continue }; // A report that came too late.
            self.waiting.push(who);
            let snapshot = match &self.last {
                Some((at, snapshot)) if at.elapsed() < FRESH => Arc::clone(snapshot),
                _ => self.collect(),
            };
            for who in self.waiting.drain(..) {
                let _ = who.try_send(Arc::clone(&snapshot)); // Who has gone needs none.
            }
        }
    }

    fn collect(&mut self) -> Arc<Snapshot> {
        self.number += 1;
        self.node.host.report_wanted.store(self.number, Ordering::Relaxed);
        let deadline = Instant::now() + PATIENCE;
        let mut figures = Figures::default();
        let mut silent: Vec<usize> = (0..self.node.cores.min(CORES_MAX)).collect();
        while !silent.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left) {
                Ok(Note::Ask(who)) => self.waiting.push(who),
                Ok(Note::Report(report)) if report.number == self.number => {
                    silent.retain(|core| *core != report.core);
                    figures.merge(&report.figures);
                    self.node.settings = report.settings;
                }
                Ok(Note::Report(_)) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let Node { host, table, cores, settings } = &self.node;
        let (figures, silent, cores) = (&figures, silent.as_slice(), *cores);
        let source = Source { figures, host, settings, table, cores, silent };
        let snapshot =
            Arc::new(Snapshot { families: families(&source), health: Health::new(&source) });
        self.last = Some((Instant::now(), Arc::clone(&snapshot)));
        snapshot
    }
}

fn accept(listener: &TcpListener, notes: &Sender<Note>, open: &Arc<AtomicUsize>) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("the metrics port does not accept: {error}");
                std::thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::AcqRel);
            continue; // Dropped, and so closed.
        }
        let (notes, counted) = (notes.clone(), Arc::clone(open));
        let thread = std::thread::Builder::new().name("metrics-http".to_string());
        let spawned = thread.spawn(move || {
            // Whoever does not get an answer has left, or sent what is none.
            let _ = answer(&stream, &notes);
            counted.fetch_sub(1, Ordering::AcqRel);
        });
        if let Err(error) = spawned {
            open.fetch_sub(1, Ordering::AcqRel);
            tracing::warn!("a scrape is not served: {error}");
        }
    }
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    page: Page,
    /// Without the body (HEAD).
    head: bool,
    openmetrics: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Metrics,
    Health,
    None,
}

/// A status line without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Malformed,
    Method,
    TooLarge,
    Late,
}

fn answer(stream: &TcpStream, notes: &Sender<Note>) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(CONNECTION_SECONDS_MAX);
    let response = match read(stream, deadline)? {
        Ok(asked) => {
            let (who, told) = sync_channel(1);
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            notes.send(Note::Ask(who)).map_err(|_| gone(()))?;
            let patience = deadline.saturating_duration_since(Instant::now());
            let snapshot = told.recv_timeout(patience).map_err(|_| gone(()))?;
            respond(asked, &snapshot)
        }
        Err(refusal) => refuse(refusal),
    };
    write(stream, &response, deadline)?;
    stream.shutdown(Shutdown::Write)?;
    // What it still sends is read for a moment: closing on it would take the answer away.
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let _ = (&*stream).read(&mut [0; HEAD_BYTES_MAX])?;
    Ok(())
}

/// Reads a request's head.
fn read(mut stream: &TcpStream, deadline: Instant) -> io::Result<Result<Asked, Refusal>> {
    let mut head = [0; HEAD_BYTES_MAX];
    let mut len = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err(Refusal::Late));
        }
        stream.set_read_timeout(Some(left))?;
        let place = head.get_mut(len..).unwrap_or_default();
        if place.is_empty() {
            return Ok(Err(Refusal::TooLarge));
        }
        match stream.read(place) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Err(Refusal::Late));
            }
            Err(error) => return Err(error),
        }
        if let Some(parsed) = parse(head.get(..len).unwrap_or_default()) {
            return Ok(parsed);
        }
    }
}

/// `None`: there is more to come.
fn parse(head: &[u8]) -> Option<Result<Asked, Refusal>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => return None,
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Some(Err(Refusal::TooLarge)),
        Err(_) => return Some(Err(Refusal::Malformed)),
    }
    let head = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Some(Err(Refusal::Method)),
    };
    let path = request.path.unwrap_or_default();
    let page = match path.split(['?', '#']).next() {
        Some("/metrics") => Page::Metrics,
        Some("/healthz") => Page::Health,
        _ => Page::None,
    };
    let openmetrics = request.headers.iter().any(|header| {
        let wanted = header.value.windows(28).any(|it| it == b"application/openmetrics-text");
        header.name.eq_ignore_ascii_case("accept") && wanted
    });
    Some(Ok(Asked { page, head, openmetrics }))
}

fn respond(asked: Asked, snapshot: &Arc<Snapshot>) -> Vec<u8> {
    let (status, kind, body) = match asked.page {
        Page::None => ("404 Not Found", PLAIN_TEXT, "there are /metrics and /healthz\n".into()),
        Page::Health => health(&snapshot.health),
        Page::Metrics => {
            let kind = match asked.openmetrics {
                true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
                false => "text/plain; version=0.0.4; charset=utf-8",
            };
            match encode(snapshot, asked.openmetrics) {
                Ok(body) => ("200 OK", kind, body),
                Err(_) => ("500 Internal Server Error", PLAIN_TEXT, String::new()),
            }
        }
    };
    response(status, kind, &body, asked.head)
}

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";

fn refuse(refusal: Refusal) -> Vec<u8> {
    let status = match refusal {
        Refusal::Malformed => "400 Bad Request",
        Refusal::Method => "405 Method Not Allowed\r\nAllow: GET, HEAD",
        Refusal::TooLarge => "431 Request Header Fields Too Large",
        Refusal::Late => "408 Request Timeout",
    };
    response(status, PLAIN_TEXT, "", false)
}

fn response(status: &str, kind: &str, body: &str, head: bool) -> Vec<u8> {
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    if !head {
        text.push_str(body);
    }
    text.into_bytes()
}

fn health(health: &Health) -> (&'static str, &'static str, String) {
    let well = health.wrong.is_empty();
    let body = serde_json::json!({
        "status": if well { "ok" } else { "unwell" },
        "role": if health.replica { "replica" } else { "master" },
        "wrong": health.wrong,
    });
    let status = if well { "200 OK" } else { "503 Service Unavailable" };
    (status, "application/json", format!("{body}\n"))
}

fn write(mut stream: &TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        let written = stream.write(bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// The families as the library wants them.
#[derive(Debug)]
struct Told(Arc<Snapshot>);

fn encode(snapshot: &Arc<Snapshot>, openmetrics: bool) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Told(Arc::clone(snapshot))));
    let mut body = String::new();
    match openmetrics {
        true => text::encode(&mut body, &registry)?,
        false => prometheus_text::encode(&mut body, &registry)?,
    }
    Ok(body)
}

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in self.0.families.iter().filter(|it| !it.metrics.is_empty()) {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut metrics = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (labels, said) in &family.metrics {
                let labels = labels.as_slice();
                let mut metric = metrics.encode_family(&labels)?;
                match (said, family.kind) {
                    (Said::Number(number), Kind::Counter) => {
                        metric.encode_counter::<NoLabelSet, _, f64>(number, None)?;
                    }
                    (Said::Number(number), _) => metric.encode_gauge(number)?,
                    (Said::Histogram { sum, count, buckets }, _) => {
                        metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_requests() {
        let asked = |page, head, openmetrics| Some(Ok(Asked { page, head, openmetrics }));
        let table: [(&[u8], _); 12] = [
            (b"GET /metrics HTTP/1.1\r\n\r\n", asked(Page::Metrics, false, false)),
            (b"HEAD /healthz?x=1 HTTP/1.0\r\nHost: a\r\n\r\n", asked(Page::Health, true, false)),
            (
                b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;q=1\r\n\r\n",
                asked(Page::Metrics, false, true),
            ),
            (b"GET / HTTP/1.1\r\n\r\n", asked(Page::None, false, false)),
            (b"GET /metrics/../x HTTP/1.1\r\n\r\n", asked(Page::None, false, false)),
            (b"GET /met", None),
            (b"", None),
            (b"POST /metrics HTTP/1.1\r\n\r\n", Some(Err(Refusal::Method))),
            (b"*1\r\n$4\r\nPING\r\n", Some(Err(Refusal::Malformed))),
            (b"\x16\x03\x01\x02\x00", Some(Err(Refusal::Malformed))),
            (b"GET /metrics HTTP/9.9\r\n\r\n", Some(Err(Refusal::Malformed))),
            (b"GET /metrics\0 HTTP/1.1\r\n\r\n", Some(Err(Refusal::Malformed))),
        ];
        for (head, expected) in table {
            assert_eq!(parse(head), expected, "{}", head.escape_ascii());
        }
        let many = [b"GET / HTTP/1.1\r\n".to_vec(), b"a: b\r\n".repeat(65), b"\r\n".to_vec()];
        assert_eq!(parse(&many.concat()), Some(Err(Refusal::TooLarge)));
    }

    #[test]
    fn families_become_text_of_both_kinds() {
        let metrics = vec![(vec![("core", "1".to_string())], Said::Number(3.0))];
        let buckets = vec![(0.5, 2), (f64::MAX, 1)];
        let histogram = vec![(Vec::new(), Said::Histogram { sum: 2.5, count: 3, buckets })];
        let family = |name, kind, metrics| Family { name, help: "Help", kind, metrics };
        let snapshot = Arc::new(Snapshot {
            families: vec![
                family("hops", Kind::Counter, metrics),
                family("took", Kind::Histogram, histogram),
                family("nothing", Kind::Gauge, Vec::new()),
            ],
            health: Health { wrong: vec!["loading"], replica: false },
        });
        let text = encode(&snapshot, false).unwrap();
        for line in [
            "# TYPE ringfold_hops_total counter",
            "ringfold_hops_total{core=\"1\"} 3.0",
            "ringfold_took_bucket{le=\"0.5\"} 2",
            "ringfold_took_bucket{le=\"+Inf\"} 3",
            "ringfold_took_sum 2.5",
            "ringfold_took_count 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("nothing"));
        assert!(encode(&snapshot, true).unwrap().ends_with("# EOF\n"));
        let asked = Asked { page: Page::Health, head: false, openmetrics: false };
        let health = String::from_utf8(respond(asked, &snapshot)).unwrap();
        assert!(
            health.starts_with("HTTP/1.1 503 ") && health.contains("[\"loading\"]"),
            "{health}"
        );
    }
}
