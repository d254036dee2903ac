//! What the random commands leave behind is the same everywhere: on replicas of both makes, which got it as
//! effects, in a file, and in the copy that a replica takes which comes late.

use crate::generate::{Generator, Step, Unit};
use crate::run::{Pair, now_seconds, shown};
use crate::support::client::{Client, request};
use crate::support::server::{Kind, Plan, Server};
use crate::support::{comes_true, number_from_env, seed};

const COMMANDS: usize = 20_000;
/// So many commands, then all must be equal.
const EPOCH: usize = 1_000;

fn replica(of: &Server, kind: Kind) -> Server {
    let plan = Plan::new(kind)
        .arg("enable-debug-command", &["yes"])
        .arg("replicaof", &["127.0.0.1", &of.port().to_string()]);
    plan.start()
}

fn digest(server: &Server) -> Vec<u8> {
    server.client().call(&["DEBUG", "DIGEST"])
}

/// Sends steps in one pipeline and reads what comes; what it says is other tests' matter.
fn play(client: &mut Client, steps: &[Step]) {
    let requests = steps.iter().map(|step| {
        let args: Vec<&[u8]> = step.args.iter().map(Vec::as_slice).collect();
        request(&args)
    });
    client.send(&requests.collect::<Vec<_>>().concat()).unwrap();
    for step in steps.iter().filter(|step| !step.silent) {
        client.reply().unwrap_or_else(|why| panic!("{}: {why}", shown(&step.args)));
    }
}

fn followers_stay_equal(cores: u16) {
    let seed = seed().wrapping_add(u64::from(cores));
    let commands =
        number_from_env("RINGFOLD_ORACLE_COMMANDS").map_or(COMMANDS, |it| it as usize / 5);
    eprintln!("seed {seed}: {commands} commands, {cores} cores");
    let Pair { ours, .. } = Pair::start(Kind::Ours(cores));
    let followers = [replica(&ours, Kind::Redis), replica(&ours, Kind::Ours(2))];
    let mut generator = Generator::new(seed, now_seconds());
    let mut client = ours.client();
    for _ in 0..commands.div_ceil(EPOCH) {
        let mut sent = Vec::new();
        while sent.len() < EPOCH {
            let Unit::Steps(steps) = generator.unit() else { continue };
            play(&mut client, &steps);
            sent.extend(steps);
        }
        for follower in &followers {
            let equal = comes_true(|| digest(&ours) == digest(follower));
            assert!(equal, "seed {seed}: {}", parting(&ours, follower, &sent));
        }
        let before = digest(&ours);
        ours.client().expect(&["DEBUG", "RELOAD"], "+OK\r\n");
        assert_eq!(before, digest(&ours), "seed {seed}: the file holds something else");
    }
}

/// The keys in which two servers differ, and the last commands that name them.
fn parting(ours: &Server, follower: &Server, sent: &[Step]) -> String {
    let mut text = String::from("a replica differs\n");
    for db in 0..16 {
        let (mut one, mut other) = (ours.client(), follower.client());
        for client in [&mut one, &mut other] {
            client.call(&["SELECT", &db.to_string()]);
        }
        let keys = one.text(&["KEYS", "*"]) + "\n" + &other.text(&["KEYS", "*"]);
        let mut keys: Vec<&str> = keys.lines().filter(|it| !it.starts_with(['*', '$'])).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let value = |client: &mut Client| client.text(&["DEBUG", "DIGEST-VALUE", key]);
            if value(&mut one) != value(&mut other) {
                text += &format!("db {db} key {key:?}\n");
                let named = sent.iter().filter(|it| it.args.iter().any(|it| it == key.as_bytes()));
                named.rev().take(12).for_each(|it| text += &format!("  {}\n", shown(&it.args)));
            }
        }
    }
    text
}

#[test]
fn followers_of_one_core() {
    followers_stay_equal(1);
}

#[test]
fn followers_of_three_cores() {
    followers_stay_equal(3);
}
