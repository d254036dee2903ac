//! Keeps the map of who serves what true, on a thread of its own: asks a node of the cluster, or the Sentinels, a few
//! times a second and whenever a client found the map wrong.

#![expect(clippy::disallowed_methods, reason = "it pauses between questions")]

use crate::drive::Clock;
use crate::failure::Failure;
use crate::places::{Places, Service};
use crate::plan::Plan;
use crate::target::Target;
use crate::template::{array, bulk};
use ringfold::resp::decode::{Value, decode};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two questions where nothing is amiss, and where something is.
const PERIOD: Duration = Duration::from_millis(200);
const PERIOD_IN_DOUBT: Duration = Duration::from_millis(20);
/// Whoever does not answer within this is not asked further.
const PATIENCE: Duration = Duration::from_millis(500);
/// The longest answer: a map of a large cluster.
const REPLY_MAX: usize = 64 << 20;

/// A map to begin with.
pub fn learn(plan: &Plan, clock: Clock) -> Result<Places, Failure> {
    let places = Places::new(plan);
    let limit = Duration::from_secs_f64(plan.timeout_seconds);
    let end = clock.now() + u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
    loop {
        match look(plan, &places, clock) {
            Ok(()) => return Ok(places),
            Err(why) if clock.now() >= end => {
                return Err(Failure::Connect(format!("{}: {why}", plan.target.name())));
            }
            Err(_) => std::thread::sleep(PERIOD),
        }
    }
}

/// Looks again and again until `stop`.
pub fn scout(plan: &Plan, places: &Places, clock: Clock, stop: &AtomicBool) {
    let period = u64::try_from(PERIOD.as_nanos()).unwrap_or(u64::MAX);
    let mut next = clock.now() + period;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(PERIOD_IN_DOUBT);
        if places.take_doubt() || clock.now() >= next {
            // Nobody who knows answers: it is asked again.
            let _unknown = look(plan, places, clock);
            next = clock.now() + period;
        }
    }
}

/// Asks once.
pub(crate) fn look(plan: &Plan, places: &Places, clock: Clock) -> Result<(), String> {
    match places.service() {
        Service::One => Ok(()),
        Service::Cluster => look_at_cluster(plan, places, clock),
        Service::Sentinel(name) => look_at_sentinels(plan, name, places, clock),
    }
}

/// The first node that answers, of those that serve, and then the one that was named.
fn look_at_cluster(plan: &Plan, places: &Places, clock: Clock) -> Result<(), String> {
    let mut nodes = places.servers();
    // Not always the same one: it may be cut off from the others.
    let turn = crate::draw::to_usize(clock.now()) % nodes.len().max(1);
    nodes.rotate_left(turn);
    nodes.extend(named(&plan.target));
    let mut why = "the name has no address".to_string();
    for node in nodes {
        let slots = ask(node, Some(&plan.target), &[b"CLUSTER", b"SLOTS"]);
        match slots.and_then(|it| places.take_slots(&it, node.ip(), clock.now())) {
            Ok(()) => return Ok(()),
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The Sentinel that was named, and those that it knows.
fn look_at_sentinels(plan: &Plan, name: &str, places: &Places, clock: Clock) -> Result<(), String> {
    let mut sentinels = named(&plan.target);
    let mut why = "the name has no address".to_string();
    let mut at = 0;
    while let Some(&sentinel) = sentinels.get(at) {
        at += 1;
        let ask = |what: &[u8]| ask(sentinel, None, &[b"SENTINEL", what, name.as_bytes()]);
        let master = ask(b"GET-MASTER-ADDR-BY-NAME").and_then(|it| pair(&it));
        match master {
            Ok(master) => {
                let replicas = ask(b"REPLICAS").map(|it| addresses(&it, true)).unwrap_or_default();
                places.take_master(master, &replicas, clock.now());
                return Ok(());
            }
            Err(error) => why = error,
        }
        if at == 1
            && let Ok(others) = ask(b"SENTINELS")
        {
            sentinels.extend(addresses(&others, false));
        }
    }
    Err(why)
}

fn named(target: &Target) -> Vec<SocketAddr> {
    let found = (target.host.as_str(), target.port).to_socket_addrs();
    found.map(Iterator::collect).unwrap_or_default()
}

/// An address as two words.
fn pair(value: &Value) -> Result<SocketAddr, String> {
    let Value::Array(words) = value else { return Err(format!("{value:?}")) };
    let [Value::Bulk(ip), Value::Bulk(port)] = words.as_slice() else {
        return Err(format!("{value:?}"));
    };
    parse(ip, port).ok_or_else(|| format!("{value:?}"))
}

fn parse(ip: &[u8], port: &[u8]) -> Option<SocketAddr> {
    let ip: IpAddr = str::from_utf8(ip).ok()?.parse().ok()?;
    Some(SocketAddr::new(ip, str::from_utf8(port).ok()?.parse().ok()?))
}

/// The addresses of instances as Sentinels list them; of those that are well only, where that is wanted.
fn addresses(value: &Value, well: bool) -> Vec<SocketAddr> {
    let Value::Array(all) = value else { return Vec::new() };
    let one = |it: &Value| {
        let Value::Array(words) = it else { return None };
        let field = |name: &[u8]| {
            words.chunks_exact(2).find_map(|pair| match pair {
                [Value::Bulk(key), Value::Bulk(text)] if key == name => Some(text.as_slice()),
                _ => None,
            })
        };
        let is_well =
            field(b"flags") == Some(b"slave") && field(b"master-link-status") == Some(b"ok");
        if well && !is_well { None } else { parse(field(b"ip")?, field(b"port")?) }
    };
    all.iter().filter_map(one).collect()
}

/// One question over a connection of its own. `target` says how to introduce oneself, if one has to.
pub(crate) fn ask(
    server: SocketAddr,
    target: Option<&Target>,
    words: &[&[u8]],
) -> Result<Value, String> {
    let wrong = |it: std::io::Error| format!("{server}: {it}");
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).map_err(wrong)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
    stream.set_nodelay(true).map_err(wrong)?;
    let (mut bytes, greetings) = target.map(|it| it.introduction(false)).unwrap_or_default();
    array(&mut bytes, words.len());
    words.iter().for_each(|word| bulk(&mut bytes, word));
    stream.write_all(&bytes).map_err(wrong)?;
    let mut input = Vec::new();
    for _ in 0..greetings {
        if let Value::Error(text) = reply(&mut stream, &mut input).map_err(wrong)? {
            return Err(String::from_utf8_lossy(&text).into_owned());
        }
    }
    match reply(&mut stream, &mut input).map_err(wrong)? {
        Value::Error(text) => Err(String::from_utf8_lossy(&text).into_owned()),
        value => Ok(value),
    }
}

fn reply(stream: &mut TcpStream, input: &mut Vec<u8>) -> std::io::Result<Value> {
    let no_resp = || std::io::Error::new(std::io::ErrorKind::InvalidData, "not RESP");
    loop {
        match decode(input).map_err(|_| no_resp())? {
            Some((value, length)) => {
                input.drain(..length);
                return Ok(value);
            }
            None if input.len() > REPLY_MAX => return Err(no_resp()),
            None => {}
        }
        let mut chunk = [0; 16 << 10];
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => input.extend_from_slice(&chunk[..count]),
        }
    }
}

/// A request that a node was told to be asked for: `ASKING` goes before it. The reply's bytes.
pub(crate) fn ask_there(
    server: SocketAddr,
    target: &Target,
    request: &[u8],
) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let (mut bytes, greetings) = target.introduction(false);
    array(&mut bytes, 1);
    bulk(&mut bytes, b"ASKING");
    bytes.extend_from_slice(request);
    stream.write_all(&bytes)?;
    let mut input = Vec::new();
    for _ in 0..=greetings {
        reply(&mut stream, &mut input)?;
    }
    // The last one as it came.
    loop {
        if let Ok(Some((_, length))) = decode(&input) {
            input.truncate(length);
            return Ok(input);
        }
        let mut chunk = [0; 16 << 10];
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count if input.len() < REPLY_MAX => input.extend_from_slice(&chunk[..count]),
            _ => return Err(std::io::ErrorKind::InvalidData.into()),
        }
    }
}
