//! `ringfold doctor` and `ringfold tune`: what was asked, and the answer with its exit code.

use super::findings::{Finding, Level, findings};
use super::forecast::{Demand, Forecast};
use super::host::Host;
use super::prove::prove;
use super::readings::Readings;
use super::{report, tune};
use crate::base::settings::value::parse_memory;
use clap::Args;
use std::path::PathBuf;

/// Exit codes.
const DONE: u8 = 0;
const FAILED: u8 = 1;
const NOT_BORNE: u8 = 2;
const NOT_ALL: u8 = 3;

/// What is asked about.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Asked {
    /// Clients that shall be connected at the same time
    #[arg(short, long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    clients: u64,
    /// The clients run on this host too, as those of a load generator
    #[arg(long)]
    local: bool,
    /// Memory for keys and values beside the clients, such as 4gb
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = size)]
    data: u64,
    /// A directory that is looked at in the place of /
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// `ringfold doctor`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Doctor {
    #[command(flatten)]
    asked: Asked,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Open so many connections to itself, hold them for a moment, and compare with the forecast
    #[arg(long, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    prove: Option<u64>,
    /// End with 3 where there is advice
    #[arg(long)]
    strict: bool,
}

/// `ringfold tune`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Tune {
    #[command(flatten)]
    asked: Asked,
    /// Write the changes, and keep the old values
    #[arg(long, conflicts_with = "revert")]
    apply: bool,
    /// With --apply: make them last over a boot, by /etc/sysctl.d/90-ringfold.conf
    #[arg(long, requires = "apply")]
    permanent: bool,
    /// Restore what --apply changed
    #[arg(long)]
    revert: bool,
    /// Where the old values are kept
    #[arg(long, value_name = "FILE", default_value = tune::UNDO_FILE)]
    undo_file: String,
}

/// What the help says below the options.
pub const DOCTOR_HELP: &str = "\
Ask as the user, and in the shell or unit, that the server will have: limits are read of whoever
asks. Ends with 0 where the host bears so many clients, 2 where it does not, 3 where it does, there
is advice, and --strict was given.";
pub const TUNE_HELP: &str = "\
Without --apply and --revert it prints what it would change and changes nothing. Ends with 0 where
nothing is left to change, 3 where something is, 1 where it failed.";

/// Text for the terminal and a code for scripts.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    pub code: u8,
}

/// Looks at the host and says what it found.
#[must_use]
pub fn doctor(asked: &Doctor) -> Answer {
    if let Some(clients) = asked.prove {
        return proved(asked, clients);
    }
    let (readings, demand, forecast, found) = look(&asked.asked);
    let code = match report::worst(&found) {
        Level::Obstacle => NOT_BORNE,
        Level::Advice if asked.strict => NOT_ALL,
        Level::Advice | Level::Fine => DONE,
    };
    let text = match asked.json {
        true => report::json(&readings, &demand, &forecast, &found),
        false => report::text(&demand, &forecast, &found),
    };
    Answer { text, code }
}

/// The forecast put to the test on this very host.
fn proved(asked: &Doctor, clients: u64) -> Answer {
    let host = Host::at(&asked.asked.root);
    let demand = Demand { clients, local: true, data_bytes: 0 };
    let costs = Forecast::of(&Readings::of(&host), &demand).costs;
    match prove(&host, clients, costs.server_kernel + costs.client_kernel) {
        Ok(proof) => {
            let text = if asked.json { report::proof_json(&proof) } else { report::proof(&proof) };
            Answer { text, code: if proof.holds() { DONE } else { NOT_BORNE } }
        }
        Err(error) => Answer { text: format!("ringfold doctor: {error}\n"), code: FAILED },
    }
}

/// Shows, makes or takes back the changes that the host needs.
#[must_use]
pub fn tune(asked: &Tune) -> Answer {
    let host = Host::at(&asked.asked.root);
    let changed = if asked.revert {
        tune::revert(&host, &asked.undo_file)
    } else {
        let (_, _, _, found) = look(&asked.asked);
        if !asked.apply {
            let text = tune::diff(&found);
            return match text.is_empty() {
                true => Answer { text: "nothing to change\n".into(), code: DONE },
                false => Answer { text, code: NOT_ALL },
            };
        }
        tune::apply(&host, &found, &asked.undo_file, asked.permanent)
    };
    match changed {
        Ok(outcome) => {
            Answer { text: outcome.text, code: if outcome.failed == 0 { DONE } else { NOT_ALL } }
        }
        Err(why) => Answer { text: format!("ringfold tune: {why}\n"), code: FAILED },
    }
}

fn look(asked: &Asked) -> (Readings, Demand, Forecast, Vec<Finding>) {
    let readings = Readings::of(&Host::at(&asked.root));
    let demand = Demand { clients: asked.clients, local: asked.local, data_bytes: asked.data };
    let forecast = Forecast::of(&readings, &demand);
    let found = findings(&readings, &demand, &forecast);
    (readings, demand, forecast, found)
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.starts_with(|it: char| it.is_ascii_digit());
    parse_memory(text.as_bytes()).filter(|_| digits).ok_or("not a size, such as 4gb".into())
}
