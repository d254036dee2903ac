//! The connections to one instance: one for commands and, to data nodes, one that listens to hello
//! messages; and the questions that are under way on them.
//!
//! A connection counts as there from the moment it is dialled: what is sent until it is up waits
//! outside. Answers come in the order of the questions. Whoever shares a link (the same Sentinel,
//! seen with several masters) has his own questions on it.

use super::instance::{Id, Ms};
use crate::base::limits::SENTINEL_REPLY_BYTES_MAX;
use crate::resp::decode::{Scan, Value, decode};
use std::collections::VecDeque;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Command,
    Hello,
}

/// What an answer will be to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whatever it is: its effect is seen elsewhere.
    Whatever,
    Ping,
    Info,
    Publish,
    IsMasterDown,
    /// The end of a change of role: what it did can be asked for now.
    Exec,
    /// `SENTINEL MASTER`, for a claim.
    Master,
    /// The answer to `FAILOVER TO`.
    Handover,
}

/// Longer ago than any wait.
const NEVER_MS: Ms = 1_000_000_000;

/// The connections to one instance.
#[derive(Debug)]
pub struct Link {
    /// Instances that have it.
    pub users: u32,
    pub command: Option<Wire>,
    pub hello: Option<Wire>,
    /// One of them is missing.
    pub disconnected: bool,
    pub last_reconnect: Ms,
    /// When the ping was sent that is not answered; 0: none is under way.
    pub ping_pending_since: Ms,
    pub last_ping: Ms,
    /// The last answer that counts as alive, and the last at all.
    pub last_available: Ms,
    pub last_pong: Ms,
    pub hello_activity: Ms,
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    /// Its number outside.
    pub number: u32,
    pub since: Ms,
    /// Our address on it, once it is up.
    pub local: Option<String>,
    pub questions: VecDeque<(Question, Id)>,
    input: Vec<u8>,
    scan: Scan,
}

/// Why a connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonsense;

impl Link {
    #[must_use]
    pub fn new(now: Ms) -> Self {
        Self {
            users: 1,
            command: None,
            hello: None,
            disconnected: true,
            last_reconnect: -NEVER_MS,
            // As if a ping were under way: who cannot be reached at all is down after a while too.
            ping_pending_since: now,
            last_ping: 0,
            last_available: now,
            last_pong: now,
            hello_activity: 0,
        }
    }

    pub fn side(&mut self, side: Side) -> &mut Option<Wire> {
        match side {
            Side::Command => &mut self.command,
            Side::Hello => &mut self.hello,
        }
    }

    /// Questions without an answer.
    #[must_use]
    pub fn pending(&self) -> usize {
        let of = |wire: &Option<Wire>| wire.as_ref().map_or(0, |it| it.questions.len());
        of(&self.command) + of(&self.hello)
    }
}

impl Wire {
    #[must_use]
    pub fn new(number: u32, now: Ms) -> Self {
        Self {
            number,
            since: now,
            local: None,
            questions: VecDeque::new(),
            input: Vec::new(),
            scan: Scan::default(),
        }
    }

    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// The next whole answer.
    ///
    /// # Errors
    /// `Nonsense`: it is no answer, or a longer one than anybody would send.
    pub fn next_answer(&mut self) -> Result<Option<Value>, Nonsense> {
        match self.scan.resume(&self.input) {
            Ok(Some(_)) => {
                let (value, used) = decode(&self.input).ok().flatten().ok_or(Nonsense)?;
                self.input.drain(..used);
                self.scan = Scan::default();
                Ok(Some(value))
            }
            Ok(None) if self.input.len() <= SENTINEL_REPLY_BYTES_MAX => Ok(None),
            Ok(None) | Err(_) => Err(Nonsense),
        }
    }
}
