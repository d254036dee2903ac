//! Keyspace notifications: the same random commands to both servers, under the same flags, make the same
//! messages. On one core in the same order; where keys live on several cores, those of one piece of work
//! are compared as a whole, since messages about keys of different cores come as they come.

use crate::generate::{Generator, Step, Unit};
use crate::run::{Pair, now_seconds, shown};
use crate::support::client::{Client, request};
use crate::support::server::Kind;
use crate::support::{number_from_env, seed};

const COMMANDS: u64 = 30_000;
/// So many commands under the same flags.
const EPOCH: usize = 2_000;
/// So many units, then the messages are compared.
const UNITS: usize = 8;

/// Commands that leave the two servers with different data, or change the connection.
const NOT_PLAYED: &[&[u8]] =
    &[b"SPOP", b"HELLO", b"RESET", b"CLIENT", b"CONFIG", b"DEBUG", b"WAIT", b"AUTH", b"ACL"];

struct Side {
    client: Client,
    listener: Client,
}

impl Side {
    fn new(client: Client, mut listener: Client) -> Self {
        listener.call(&["PSUBSCRIBE", "__key*"]);
        Self { client, listener }
    }

    fn play(&mut self, steps: &[Step]) {
        let requests = steps.iter().map(|step| {
            let args: Vec<&[u8]> = step.args.iter().map(Vec::as_slice).collect();
            request(&args)
        });
        self.client.send(&requests.collect::<Vec<_>>().concat()).unwrap();
        for step in steps.iter().filter(|step| !step.silent) {
            self.client.reply().unwrap_or_else(|why| panic!("{}: {why}", shown(&step.args)));
        }
    }

    /// What came so far, where messages of a client's own come after all that it caused.
    fn until_marker(&mut self) -> Vec<Vec<u8>> {
        self.client.call(&["PUBLISH", "__key-marker", "x"]);
        let mut messages = Vec::new();
        loop {
            let message = self.listener.reply().unwrap();
            if message.windows(13).any(|it| it == b"__key-marker\r") {
                return messages;
            }
            messages.push(message);
        }
    }
}

/// Letters of the setting: all of them in the first epoch.
fn flags(generator: &mut Generator, epoch: u64) -> String {
    if epoch == 0 {
        return "KEAmn".into();
    }
    let mut flags = String::new();
    for letter in "KEg$lshzxetdmnA".chars() {
        let odds = if letter == 'A' { 1 } else { 4 };
        if generator.chance(odds, 6) {
            flags.push(letter);
        }
    }
    flags
}

fn next_units(generator: &mut Generator) -> Vec<Step> {
    let mut steps = Vec::new();
    for _ in 0..UNITS {
        let Unit::Steps(unit) = generator.unit() else { continue };
        let played =
            |step: &Step| !NOT_PLAYED.iter().any(|it| step.args[0].eq_ignore_ascii_case(it));
        if unit.iter().all(played) {
            steps.extend(unit);
        }
    }
    steps
}

fn notices_agree(cores: u16) {
    let seed = seed().wrapping_add(u64::from(cores));
    let commands = number_from_env("RINGFOLD_ORACLE_COMMANDS").map_or(COMMANDS, |it| it / 3);
    eprintln!("seed {seed}: {commands} commands, {cores} cores");
    let pair = Pair::start(Kind::Ours(cores));
    let mut real = Side::new(pair.real.client(), pair.real.client());
    let mut ours = Side::new(pair.ours.client(), pair.ours.client());
    let mut generator = Generator::new(seed, now_seconds());
    let (mut heard, mut epoch, mut differences) = (0, 0, Vec::new());
    while epoch * (EPOCH as u64) < commands {
        let flags = flags(&mut generator, epoch);
        for side in [&mut real, &mut ours] {
            side.client.expect(&["CONFIG", "SET", "notify-keyspace-events", &flags], "+OK\r\n");
            side.client.expect(&["FLUSHALL"], "+OK\r\n");
        }
        let (mut played, mut before) = (0, Vec::new());
        while played < EPOCH {
            let steps = next_units(&mut generator);
            played += steps.len();
            real.play(&steps);
            ours.play(&steps);
            let mut expected = real.until_marker();
            let mut found = match cores {
                1 => ours.until_marker(),
                // What comes above that number shows in the next piece.
                _ => expected.iter().map_while(|_| ours.listener.reply().ok()).collect(),
            };
            heard += expected.len();
            // SORT looks for what belongs to the elements of a set in the order that the set has.
            let sorts = |step: &Step| step.args[0].to_ascii_uppercase().starts_with(b"SORT");
            if cores > 1 || steps.iter().any(sorts) {
                expected.sort_unstable();
                found.sort_unstable();
            }
            if expected != found {
                // Too many messages show in the piece after.
                before.extend(steps.iter().cloned());
                let what = format!("{flags}: {}", parting(&before, &expected, &found));
                differences.push(what);
                // On several cores nobody knows where the next piece begins.
                let most = if cores == 1 { 8 } else { 1 };
                assert!(differences.len() < most, "seed {seed}, {}", differences.join("\n"));
            }
            before = steps;
        }
        epoch += 1;
    }
    assert!(differences.is_empty(), "seed {seed}, {}", differences.join("\n"));
    assert!(heard > 1_000, "only {heard} messages");
}

fn parting(steps: &[Step], expected: &[Vec<u8>], found: &[Vec<u8>]) -> String {
    let mut text = String::from("different messages after\n");
    steps.iter().for_each(|step| text += &format!("  {}\n", shown(&step.args)));
    let at = expected.iter().zip(found).take_while(|(a, b)| a == b).count();
    for (name, messages) in [("real", expected), ("ours", found)] {
        text += &format!("{name}, from number {at} of {} on:\n", messages.len());
        for message in messages.iter().skip(at).take(6) {
            text += &format!("  {}\n", message.escape_ascii());
        }
    }
    text
}

#[test]
fn notices_of_one_core() {
    notices_agree(1);
}

#[test]
fn notices_of_three_cores() {
    notices_agree(3);
}
