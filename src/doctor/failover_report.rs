//! `ringfold failover-report`: asks servers and Sentinels what they remember of the last failover.

use super::command::Answer;
use super::timeline::timeline;
use clap::Args;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

/// Exit codes: told; a node could not be asked, or the drawing not be written.
const DONE: u8 = 0;
const NOT_ALL: u8 = 3;

const PATIENCE: Duration = Duration::from_secs(5);
/// The longest text that is taken from a node.
const TEXT_MAX: usize = 4 << 20;

/// What is asked.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct FailoverReport {
    /// Servers and Sentinels that saw it
    #[arg(value_name = "HOST:PORT", required = true)]
    nodes: Vec<String>,
    /// User to authenticate as
    #[arg(long)]
    user: Option<String>,
    /// Password to authenticate with
    #[arg(short = 'a', long)]
    password: Option<String>,
    /// Print the timeline as JSON
    #[arg(long)]
    json: bool,
    /// Draw it into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What the nodes remember, as one story.
#[must_use]
pub fn report(asked: &FailoverReport) -> Answer {
    let (mut told, mut notes) = (Vec::new(), String::new());
    for node in &asked.nodes {
        match ask(node, asked) {
            Ok(text) => told.push((node.clone(), text)),
            Err(why) => notes += &format!("{node}: {why}\n"),
        }
    }
    let timeline = timeline(&told);
    if let Some(path) = &asked.svg
        && let Err(why) = std::fs::write(path, timeline.svg())
    {
        notes += &format!("{}: {why}\n", path.display());
    }
    let code = if notes.is_empty() { DONE } else { NOT_ALL };
    let text = if asked.json { timeline.json() } else { timeline.text() + &notes };
    Answer { text, code }
}

/// The text of INFO.
fn ask(node: &str, asked: &FailoverReport) -> io::Result<String> {
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let address = node.to_socket_addrs()?.next().ok_or_else(none)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut words: Vec<Vec<&str>> = Vec::new();
    if let Some(password) = &asked.password {
        let user = asked.user.as_deref().into_iter();
        words.push(["AUTH"].into_iter().chain(user).chain([password.as_str()]).collect());
    }
    words.push(vec!["INFO", "everything"]);
    let mut bytes = Vec::new();
    for request in &words {
        bytes.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
        for word in request {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }
    stream.write_all(&bytes)?;
    let mut input = Vec::new();
    for _ in 1..words.len() {
        line(&mut stream, &mut input)?;
    }
    let length = line(&mut stream, &mut input)?;
    let length: usize = length.strip_prefix('$').and_then(|it| it.parse().ok()).unwrap_or(0);
    while input.len() < length.min(TEXT_MAX) {
        more(&mut stream, &mut input)?;
    }
    input.truncate(length);
    Ok(String::from_utf8_lossy(&input).into_owned())
}

/// A line without its end; an error reply is an error.
fn line(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = input.windows(2).position(|it| it == b"\r\n") {
            let line = String::from_utf8_lossy(input.get(..end).unwrap_or_default()).into_owned();
            input.drain(..end + 2);
            return match line.strip_prefix('-') {
                Some(why) => Err(io::Error::other(why.to_string())),
                None => Ok(line),
            };
        }
        if input.len() > TEXT_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        more(stream, input)?;
    }
}

fn more(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; 16 * 1024];
    match stream.read(&mut chunk)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            input.extend_from_slice(chunk.get(..count).unwrap_or_default());
            Ok(())
        }
    }
}
