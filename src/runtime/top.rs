//! `ringfold top HOST:PORT`: a server in a terminal, drawn anew every second from what INFO says.
//!
//! It asks like any other client, so it shows a stock server too, without cores. Ctrl-C ends it; nothing of the
//! terminal's state is changed, so nothing has to be put back.

pub mod frame;

use crate::resp::decode::{self, Value};
use crate::resp::reply::write_request;
use clap::Args;
use frame::{Sample, frame};
use std::io::{self, IsTerminal, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// The longest INFO that is read.
const REPLY_BYTES_MAX: usize = 16 << 20;
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
    let mut link = Link::open(asked).map_err(named)?;
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
                match Link::open(asked).and_then(|mut link| Ok((link.sample()?, link))) {
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

struct Link {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Link {
    fn open(asked: &Top) -> Result<Self, String> {
        let addresses = asked.target.to_socket_addrs().map_err(|error| error.to_string())?;
        let mut why = "no such host".to_string();
        for address in addresses {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return Self::greet(stream, asked),
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    fn greet(stream: TcpStream, asked: &Top) -> Result<Self, String> {
        let set = stream.set_read_timeout(Some(PATIENCE));
        set.and_then(|()| stream.set_write_timeout(Some(PATIENCE))).map_err(|it| it.to_string())?;
        let mut link = Self { stream, input: Vec::new() };
        let environment =
            || ["RINGFOLD_PASS", "REDISCLI_AUTH"].iter().find_map(|it| std::env::var(it).ok());
        let Some(pass) = asked.pass.clone().or_else(environment) else { return Ok(link) };
        let mut words: Vec<&[u8]> = vec![b"AUTH"];
        words.extend(asked.user.as_ref().map(|it| it.as_bytes()));
        words.push(pass.as_bytes());
        link.ask(&words)?;
        Ok(link)
    }

    fn sample(&mut self) -> Result<Sample, String> {
        let answer = self.ask(&[b"INFO", b"everything"])?;
        let (Value::Bulk(text) | Value::Verbatim { text, .. }) = answer else {
            return Err("it does not answer INFO as a server does".into());
        };
        let sample = Sample::parse(&String::from_utf8_lossy(&text));
        if sample.is_server() { Ok(sample) } else { Err("it is no server of this kind".into()) }
    }

    fn ask(&mut self, words: &[&[u8]]) -> Result<Value, String> {
        let mut request = Vec::new();
        write_request(&mut request, words);
        self.stream.write_all(&request).map_err(|error| error.to_string())?;
        let mut more = vec![0; 64 << 10];
        loop {
            match decode::decode(&self.input).map_err(|_| "its answer is not RESP".to_string())? {
                Some((Value::Error(why), _)) => {
                    return Err(String::from_utf8_lossy(&why).into_owned());
                }
                Some((value, len)) => {
                    self.input.drain(..len.min(self.input.len()));
                    return Ok(value);
                }
                None if self.input.len() > REPLY_BYTES_MAX => {
                    return Err("its answer has no end".into());
                }
                None => {}
            }
            match self.stream.read(&mut more).map_err(|error| error.to_string())? {
                0 => return Err("it closed the connection".into()),
                len => self.input.extend_from_slice(more.get(..len).unwrap_or_default()),
            }
        }
    }
}
