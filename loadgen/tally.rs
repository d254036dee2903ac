//! What a thread measured, and how the threads' parts become one.

use crate::histogram::Histogram;
use crate::ledger::Ledger;
use std::collections::BTreeMap;

/// Different error codes that are told apart.
const ERROR_CODES_MAX: usize = 100;

/// See the file's header.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Per command of the plan, from the planned time, without errors.
    pub latencies: Vec<Histogram>,
    /// Of open loops: from the time at which the request left.
    pub service: Histogram,
    pub scheduling_error: Histogram,
    /// From the time at which a client was to dial until it was connected, and until its first
    /// reply: for clients that come, and for those that come back after churn, storms and losses.
    pub connect: Histogram,
    pub first_reply: Histogram,
    pub reconnect: Histogram,
    pub reconnect_first_reply: Histogram,
    /// From `{now}` to whoever subscribed or waited.
    pub delivery: Histogram,
    /// Replies of the whole run, warm-up and errors included.
    pub replies: u64,
    pub nulls: u64,
    /// What came to subscribers, confirmations included.
    pub messages: u64,
    /// Slots that waited for their connection, or for its earlier replies.
    pub held: u64,
    /// Requests in flight on connections that were cut.
    pub abandoned: u64,
    /// Connections that the server closed, and connects that failed, where that ends nothing.
    pub lost: u64,
    /// Requests that another server, or the same one later, had to be asked, by the word of their refusal.
    pub refusals: BTreeMap<String, u64>,
    /// The longest time in which a thread had no reply to a request, and when it was over.
    pub silence: (u64, u64),
    pub heard_at: u64,
    pub errors: BTreeMap<String, u64>,
    /// The first error's whole line.
    pub first_error: Option<String>,
    pub storms: Vec<Storm>,
    pub ledger: Option<Ledger>,
}

/// What became of a storm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storm {
    pub at_ns: u64,
    pub cut: u64,
    /// Clients that are not back yet.
    pub away: u64,
    /// When the last one was back.
    pub over_ns: u64,
}

impl Tally {
    /// All commands together.
    #[must_use]
    pub fn latency(&self) -> Histogram {
        let mut all = Histogram::default();
        self.latencies.iter().for_each(|it| all.add(it));
        all
    }

    /// The phases of a connection and of a request, with their names in reports; the commands'
    /// latencies are apart.
    #[must_use]
    pub fn phases(&self) -> [(&'static str, &Histogram); 7] {
        [
            ("connect", &self.connect),
            ("first reply", &self.first_reply),
            ("reconnect", &self.reconnect),
            ("reconnect first reply", &self.reconnect_first_reply),
            ("service", &self.service),
            ("scheduling error", &self.scheduling_error),
            ("delivery", &self.delivery),
        ]
    }

    /// Takes in what another thread measured.
    pub fn merge(&mut self, other: Self) {
        let len = self.latencies.len().max(other.latencies.len());
        self.latencies.resize_with(len, Histogram::default);
        self.latencies.iter_mut().zip(&other.latencies).for_each(|(own, it)| own.add(it));
        let pairs = [
            (&mut self.service, &other.service),
            (&mut self.scheduling_error, &other.scheduling_error),
            (&mut self.connect, &other.connect),
            (&mut self.first_reply, &other.first_reply),
            (&mut self.reconnect, &other.reconnect),
            (&mut self.reconnect_first_reply, &other.reconnect_first_reply),
            (&mut self.delivery, &other.delivery),
        ];
        pairs.into_iter().for_each(|(own, it)| own.add(it));
        self.replies += other.replies;
        self.nulls += other.nulls;
        self.messages += other.messages;
        self.held += other.held;
        self.abandoned += other.abandoned;
        self.lost += other.lost;
        self.silence = self.silence.max(other.silence);
        for (word, count) in other.refusals {
            *self.refusals.entry(word).or_default() += count;
        }
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        self.first_error = self.first_error.take().or(other.first_error);
        self.storms.resize(self.storms.len().max(other.storms.len()), Storm::default());
        for (own, it) in self.storms.iter_mut().zip(&other.storms) {
            own.at_ns = own.at_ns.max(it.at_ns);
            own.cut += it.cut;
            own.away += it.away;
            own.over_ns = own.over_ns.max(it.over_ns);
        }
        match (&mut self.ledger, other.ledger) {
            (Some(own), Some(theirs)) => own.merge(&theirs),
            (own, theirs) => *own = own.take().or(theirs),
        }
    }

    /// A request was answered.
    pub fn heard(&mut self, now: u64) {
        let silence = now.saturating_sub(self.heard_at);
        if silence > self.silence.0 && self.heard_at > 0 {
            self.silence = (silence, now);
        }
        self.heard_at = now;
    }

    /// Counts a refusal that is no error, since it is asked again.
    pub fn refused(&mut self, line: &[u8]) {
        let word = line.split(|it| *it == b' ').next().unwrap_or_default();
        *self.refusals.entry(String::from_utf8_lossy(word).into_owned()).or_default() += 1;
    }

    /// Counts an error reply.
    pub fn error(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(&line[..line.len().min(500)]).into_owned();
        let code = line.split_whitespace().next().unwrap_or_default().to_string();
        if self.errors.len() < ERROR_CODES_MAX || self.errors.contains_key(&code) {
            *self.errors.entry(code).or_default() += 1;
        } else {
            *self.errors.entry("(others)".into()).or_default() += 1;
        }
        self.first_error.get_or_insert(line);
    }
}
