//! `ringfold top HOST:PORT`: a server in a terminal, drawn anew every second from what INFO says.
//!
//! It asks like any other client, so it shows a stock server too, without cores. Ctrl-C ends it; nothing of the
//! terminal's state is changed, so nothing has to be put back.

pub mod frame;

use crate::runtime::asking::{Link, Place};
use clap::Args;
use frame::{Sample, frame};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(1);

pub const TOP_HELP: &str = "\
Examples:
  ringfold top                          127.0.0.1:6379, a frame a second
  ringfold top 10.0.0.1:7000 --interval 5
  ringfold top 10.0.0.1:7000 --once     one frame, for a script
The password is taken from --pass, or from the environment: RINGFOLD_PASS or REDISCLI_AUTH.";

/// `ringfold top`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Top {
    /// The server
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:6379")]
    target: String,
    /// Seconds from one frame to the next
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    interval: f64,
    /// Print one frame and end
    #[arg(long)]
    once: bool,
    /// The user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The password; others of this host can see it: better in the environment
    #[arg(long, value_name = "PASSWORD")]
    pass: Option<String>,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|it| (0.1..=3_600.0).contains(it));
    seconds.ok_or_else(|| "between 0.1 and 3600 seconds".into())
}

/// Draws until it is stopped, or once. The exit code.
pub fn run(asked: &Top, out: &mut impl Write) -> Result<(), String> {
    let named = |why: String| format!("{}: {why}", asked.target);
    let mut link = Asked::open(asked).map_err(named)?;
    let mut before = link.sample().map_err(named)?;
    let mut at = Instant::now();
    let over = !asked.once && io::stdout().is_terminal();
    loop {
        std::thread::sleep(Duration::from_secs_f64(asked.interval));
        let sample = match link.sample() {
            Ok(sample) => sample,
            Err(why) if asked.once => return Err(named(why)),
            Err(why) => {
                draw(out, over, &format!("{}\n", named(why)))?;
                std::thread::sleep(AGAIN);
                match Asked::open(asked).and_then(|mut link| Ok((link.sample()?, link))) {
                    Ok((sample, new)) => (before, link, at) = (sample, new, Instant::now()),
                    Err(_) => continue,
                }
                continue;
            }
        };
        let now = Instant::now();
        let seconds = now.duration_since(at).as_secs_f64();
        draw(out, over, &frame(&asked.target, &before, &sample, seconds))?;
        if asked.once {
            return Ok(());
        }
        (before, at) = (sample, now);
    }
}

/// A frame over the last one where that is a terminal, behind it in a file.
fn draw(out: &mut impl Write, over: bool, text: &str) -> Result<(), String> {
    let clear = if over { "\x1b[H\x1b[J" } else { "" };
    let drawn = write!(out, "{clear}{text}").and_then(|()| out.flush());
    drawn.map_err(|error| error.to_string())
}

/// The server as it is asked.
struct Asked(Link);

impl Asked {
    fn open(asked: &Top) -> Result<Self, String> {
        let environment =
            || ["RINGFOLD_PASS", "REDISCLI_AUTH"].iter().find_map(|it| std::env::var(it).ok());
        let pass = asked.pass.clone().or_else(environment);
        let place = Place { target: asked.target.clone(), user: asked.user.clone(), pass };
        Link::open(&place, PATIENCE).map(Self)
    }

    fn sample(&mut self) -> Result<Sample, String> {
        let sample = Sample::parse(&self.0.info()?);
        if sample.is_server() { Ok(sample) } else { Err("it is no server of this kind".into()) }
    }
}
