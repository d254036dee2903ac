//! Why a run fails, in words for its user and as an exit code for scripts. The only home of both.

use std::fmt;

/// What went wrong, worst for the run's worth first where several apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The plan cannot be run as it is, on this host or at all.
    Plan(String),
    /// No connection to the server.
    Connect(String),
    /// The server refused to let us in, or answered requests with errors.
    Replied(String),
    /// The server was there and is no more, or answers no more.
    Lost(String),
    /// What came back is not RESP.
    NoResp(String),
    /// An acknowledged write is not there.
    Unverified(String),
    /// A result could not be written.
    Output(String),
}

/// Shown below `--help`.
pub const EXIT_CODES: &str = "Exit codes:
  0  every request was answered, and verified where that was asked
  2  the plan cannot be run
  3  no connection to the server
  4  the server answered with errors
  5  the server went away, or stopped answering
  6  a reply was not RESP
  7  an acknowledged write was lost or wrong
  8  a result file could not be written";

impl Failure {
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Plan(_) => 2,
            Self::Connect(_) => 3,
            Self::Replied(_) => 4,
            Self::Lost(_) => 5,
            Self::NoResp(_) => 6,
            Self::Unverified(_) => 7,
            Self::Output(_) => 8,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(text) | Self::Connect(text) | Self::Lost(text) | Self::Output(text) => {
                f.write_str(text)
            }
            Self::Replied(text) => write!(f, "the server answered with an error: {text}"),
            Self::NoResp(text) => write!(f, "the server does not speak RESP: {text}"),
            Self::Unverified(text) => write!(f, "verification failed: {text}"),
        }
    }
}
