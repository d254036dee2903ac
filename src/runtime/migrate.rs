//! `ringfold migrate --from HOST:PORT`: the data and the writers of one server move to another, and back.
//!
//! ```text
//!   check     both say what they are: nothing is changed
//!   attach    the target becomes a replica of the source           REPLICAOF
//!   follow    until it lags by little
//!   pause     writes at the source wait, until it is over or a limit  CLIENT PAUSE ms WRITE
//!   verify    the target has every byte of the stream, and the same data
//!   cut over  the roles change; the old server follows the new one  FAILOVER TO, TIMEOUT
//! ```
//!
//! Nothing acknowledged is lost, wherever this ends and whoever kills it: the source takes writes until it has
//! itself, by FAILOVER, seen that the target has all of them, and from then on it takes none. Who waits at the
//! source is told READONLY. If this program dies the pause and the FAILOVER end by their own limits.
//!
//! Any two servers of Redis 6.2 and later will do, of either make, so the way out is the way in. What may be done
//! when is decided in `migrate/plan.rs`.

pub mod party;
pub mod plan;
pub mod verify;

use crate::runtime::asking::{Info, Place};
use clap::Args;
use party::Party;
use plan::{Position, Wish};
use std::io::Write;
use std::time::{Duration, Instant};
use verify::Verify;

/// How often servers are asked while something is awaited, and how often the user hears of it.
const AGAIN: Duration = Duration::from_millis(20);
const TELL: Duration = Duration::from_secs(1);
/// How much longer than writes may wait a failover is waited for before it is called off.
const GRACE: Duration = Duration::from_secs(5);

pub const MIGRATE_HELP: &str = "\
Examples:
  ringfold migrate --from 10.0.0.1:6379 --to 10.0.0.2:6379 --check    can it be done?
  ringfold migrate --from 10.0.0.1:6379 --to 10.0.0.2:6379            move to 10.0.0.2
  ringfold migrate --from 10.0.0.1:6379 --to 10.0.0.2:6379 --back     and back to 10.0.0.1
Writes wait for a moment while the roles change; whatever was acknowledged is on the new server, and the old one
follows it until it is shut down. On any error, and if this program is killed, the source goes on as before.
Passwords may stand in the environment: RINGFOLD_FROM_PASS and RINGFOLD_TO_PASS. Ends with 0 where it is done (or
could be, with --check), 1 where not.";

/// `ringfold migrate`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct Migrate {
    /// The server that has the data now, as the target can reach it
    #[arg(long, value_name = "HOST:PORT")]
    from: String,
    /// The server that shall have it
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:6379")]
    to: String,
    /// How the target reaches the source, where that is another address
    #[arg(long, value_name = "HOST:PORT")]
    from_as: Option<String>,
    /// Say whether it could be done, and change nothing
    #[arg(long, visible_alias = "dry-run")]
    check: bool,
    /// The way back: --from becomes the master again, as long as it has followed --to
    #[arg(long, conflicts_with = "replace")]
    back: bool,
    /// Keys that the target has may be replaced
    #[arg(long)]
    replace: bool,
    /// What is compared before the roles change
    #[arg(long, value_enum, default_value = "auto")]
    verify: Verify,
    /// The longest time that writes may wait
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pause_limit: u64,
    /// How long nothing may move before it is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience: u64,
    /// Writes are not paused before the target lags by no more bytes than this
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    lag: u64,
    /// Write the new roles into both configuration files (CONFIG REWRITE)
    #[arg(long)]
    rewrite: bool,
    /// The source's user
    #[arg(long, value_name = "NAME")]
    from_user: Option<String>,
    /// The source's password; others of this host can see it: better in the environment
    #[arg(long, value_name = "PASSWORD")]
    from_pass: Option<String>,
    /// The target's user
    #[arg(long, value_name = "NAME")]
    to_user: Option<String>,
    /// The target's password
    #[arg(long, value_name = "PASSWORD")]
    to_pass: Option<String>,
}

/// Moves, and tells `out` about it.
///
/// # Errors
/// What the user should know: what failed, and what that leaves.
pub fn run(asked: &Migrate, out: &mut impl Write) -> Result<(), String> {
    let patience = Duration::from_secs(asked.patience.max(asked.pause_limit));
    let place = |target: &String, user: &Option<String>, pass: &Option<String>, variable| Place {
        target: target.clone(),
        user: user.clone(),
        pass: pass.clone().or_else(|| std::env::var(variable).ok()),
    };
    let old = place(&asked.from, &asked.from_user, &asked.from_pass, "RINGFOLD_FROM_PASS");
    let new = place(&asked.to, &asked.to_user, &asked.to_pass, "RINGFOLD_TO_PASS");
    let (from, to) = if asked.back { (new, old) } else { (old, new) };
    let from = Party::new("source", from, patience);
    let to = Party::new("target", to, patience);
    Move { from, to, asked, out, row: None }.run()
}

struct Move<'m, W> {
    from: Party,
    to: Party,
    asked: &'m Migrate,
    out: &'m mut W,
    /// The target as the source names it.
    row: Option<(String, String)>,
}

impl<W: Write> Move<'_, W> {
    fn run(&mut self) -> Result<(), String> {
        let position = self.check()?;
        if self.asked.check {
            return self.tell("check: it can be done; nothing was changed");
        }
        if position == Position::Over {
            self.tell("the source follows the target already: there is nothing to do")?;
            return self.settle();
        }
        self.trust()?;
        if position == Position::Apart {
            self.attach()?;
        }
        self.follow().map_err(|why| {
            format!(
                "{why}\nThe source is the master as before; the target still tries to follow it."
            )
        })?;
        self.cut_over()?;
        self.settle()
    }

    /// A line for the user. Nobody there to read it is no reason to stop half-way.
    #[expect(clippy::unnecessary_wraps, reason = "ends a step")]
    fn tell(&mut self, line: &str) -> Result<(), String> {
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        Ok(())
    }

    fn check(&mut self) -> Result<Position, String> {
        let (from, to) = (self.from.look()?, self.to.look()?);
        for (party, seen) in [("source", &from), ("target", &to)] {
            let info = &seen.info;
            let (role, version) = (info.text("role"), info.text("redis_version"));
            let ours = info.text("ringfold_version");
            let make = if ours.is_empty() { String::new() } else { format!(" (Ringfold {ours})") };
            let line =
                format!("check: the {party} is a {role}, {version}{make}, {} keys", seen.keys());
            self.tell(&line)?;
        }
        if !from.info.text("run_id").is_empty()
            && from.info.text("run_id") == to.info.text("run_id")
        {
            return Err("the source and the target are one server; nothing was changed".into());
        }
        let wish = Wish {
            source: self.source(),
            replace: self.asked.replace,
            back: self.asked.back,
            named: self.asked.from_as.is_some(),
        };
        let (position, notes) = plan::judge(&from, &to, &wish)
            .map_err(|reasons| format!("{}\nNothing was changed.", reasons.join("\n")))?;
        for note in notes {
            self.tell(&format!("note: {note}"))?;
        }
        Ok(position)
    }

    /// Each of the two will follow the other: it gets the password that this program was given for it.
    fn trust(&mut self) -> Result<(), String> {
        let (from, to) = (self.from.place.clone(), self.to.place.clone());
        for (follower, master) in [(&mut self.to, from), (&mut self.from, to)] {
            let Some(pass) = &master.pass else { continue };
            let user = master.user.as_deref().unwrap_or_default();
            if follower.config("masterauth").as_deref() != Some(pass) {
                follower.ask(&["CONFIG", "SET", "masterauth", pass])?;
            }
            if follower.config("masteruser").as_deref() != Some(user) {
                follower.ask(&["CONFIG", "SET", "masteruser", user])?;
            }
        }
        Ok(())
    }

    /// The source as the target is told it.
    fn source(&self) -> String {
        let source = self.asked.from_as.as_ref().filter(|_| !self.asked.back);
        source.unwrap_or(&self.from.place.target).replace(['[', ']'], "")
    }

    fn attach(&mut self) -> Result<(), String> {
        let source = self.source();
        let (host, port) = source.rsplit_once(':').ok_or("the source's address has no port")?;
        self.to.ask(&["REPLICAOF", host, port])?;
        self.tell(&format!("attach: the target follows {source}"))
    }

    /// Until the target lags by little. Ends where nothing moves any more.
    fn follow(&mut self) -> Result<(), String> {
        let (mut moved, mut told) = (Instant::now(), None::<Instant>);
        let mut last = (0, 0, String::new());
        loop {
            // First the source: so the difference is never told too small.
            let (from, to) = (self.from.info()?, self.to.info());
            // A replica that loads may not answer for a while.
            let to = to.unwrap_or_default();
            let link = to.text("master_link_status").to_string();
            let progress = (
                to.number("slave_read_repl_offset").max(to.number("slave_repl_offset")),
                to.number("master_sync_read_bytes").max(to.number("loading_loaded_bytes")),
                link.clone(),
            );
            if progress != last {
                (moved, last) = (Instant::now(), progress);
            }
            let lag = plan::lag(&from, &to);
            let up = link == "up" && to.text("loading") != "1";
            let known = up && self.know(&from, &to);
            if told.is_none_or(|it| it.elapsed() >= TELL) || known && lag <= self.asked.lag {
                told = Some(Instant::now());
                let line = match (up, to.number("master_sync_read_bytes")) {
                    (true, _) => format!("follow: the target lags by {lag} bytes"),
                    (false, 0) => "follow: the target connects".into(),
                    (false, bytes) => format!("follow: {bytes} bytes of the data are there"),
                };
                self.tell(&line)?;
            }
            if known && lag <= self.asked.lag {
                return Ok(());
            }
            if moved.elapsed() >= Duration::from_secs(self.asked.patience) && !(up && lag > 0) {
                let seconds = self.asked.patience;
                return Err(format!(
                    "the target does not follow: nothing moved for {seconds} seconds, its link is \
                     {}; its log says why",
                    if link.is_empty() { "unknown" } else { &link }
                ));
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Whether the source has brought the target up to date, and by which name.
    fn know(&mut self, from: &Info, to: &Info) -> bool {
        let seen = |info: &Info| plan::Seen { info: info.clone(), ..plan::Seen::default() };
        let mut target = seen(to);
        target.announced_port =
            self.to.config("replica-announce-port").and_then(|it| it.parse().ok());
        self.row = plan::row(&seen(from), &target).ok();
        self.row.is_some()
    }

    /// Pause, verify, change roles. On any error the source goes on.
    fn cut_over(&mut self) -> Result<(), String> {
        let start = Instant::now();
        let until = start + Duration::from_secs(self.asked.pause_limit);
        let ms = (self.asked.pause_limit * 1_000).to_string();
        let mut begun = false;
        let done = self
            .from
            .ask(&["CLIENT", "PAUSE", &ms, "WRITE"])
            .and_then(|_| self.tell("pause: writes wait"))
            .and_then(|()| self.same(until))
            .and_then(|()| self.fail_over(until, &mut begun));
        if let Err(why) = done {
            return self.take_back(&why, begun);
        }
        let waited = start.elapsed().as_millis();
        // Who waits is told now that this server takes no writes. Else the pause's limit does it.
        let _ = self.from.ask(&["CLIENT", "UNPAUSE"]);
        self.tell(&format!("cut over: the target is the master; writes waited for {waited} ms"))
    }

    /// Until the target has the whole stream, and then whether it has the same data.
    fn same(&mut self, until: Instant) -> Result<(), String> {
        let mut differs = String::new();
        loop {
            let (from, to) = (self.from.info()?, self.to.info()?);
            if from.text("role") != "master" {
                return Err("the source is no master any more".into());
            }
            if plan::lag(&from, &to) == 0 && to.text("master_link_status") == "up" {
                match verify::verify(&mut self.from, &mut self.to, self.asked.verify, until) {
                    Ok(what) => return self.tell(&format!("verify: {what}")),
                    Err(why) => differs = why,
                }
            }
            // A key may be expiring, or a write from before the pause be on its way: it is looked at again.
            if Instant::now() + AGAIN >= until || differs.contains("no time") {
                return Err(match differs.is_empty() {
                    true => "the target did not catch up while writes waited".into(),
                    false => format!("the data is not the same: {differs}"),
                });
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// The source waits for the target to have everything, and becomes its replica.
    fn fail_over(&mut self, until: Instant, begun: &mut bool) -> Result<(), String> {
        let (ip, port) = self.row.clone().ok_or("the source does not know the target")?;
        let left = until.saturating_duration_since(Instant::now()).as_millis().max(1).to_string();
        *begun = true;
        self.from.ask(&["FAILOVER", "TO", &ip, &port, "TIMEOUT", &left])?;
        loop {
            // Either may close its connections when its role changes: it is asked again.
            let (to, from) = (self.to.info(), self.from.info());
            if let (Ok(to), Ok(from)) = (&to, &from) {
                let over = from.text("master_failover_state") == "no-failover";
                match (from.text("role"), to.text("role")) {
                    ("slave", "master") if over => return Ok(()),
                    ("master", "slave") if over => {
                        return Err("the source called its failover off; its log says why".into());
                    }
                    _ => {}
                }
            }
            if Instant::now() >= until + GRACE {
                let last = to.err().or(from.err()).unwrap_or_default();
                return Err(format!("the roles have not changed in time {last}")
                    .trim()
                    .to_string());
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Calls off what was begun, and says who is the master then.
    fn take_back(&mut self, why: &str, begun: bool) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(self.asked.patience);
        loop {
            if begun {
                // An error where there is none any more.
                let _ = self.from.ask(&["FAILOVER", "ABORT"]);
            }
            let unpaused = self.from.ask(&["CLIENT", "UNPAUSE"]).is_ok();
            if let (true, Ok(from)) = (unpaused, self.from.info()) {
                let to = self.to.info().unwrap_or_default();
                match (from.text("role"), to.text("role")) {
                    ("master", _) => {
                        return Err(format!(
                            "{why}\nThe source is the master as before, and writes go on; the target \
                             follows it. Nothing is lost."
                        ));
                    }
                    ("slave", "master") if begun => {
                        return self.tell(&format!("cut over: the target is the master ({why})"));
                    }
                    _ => {}
                }
            }
            if Instant::now() >= until {
                return Err(format!(
                    "{why}\nThe servers could not be asked who is the master now: INFO replication of both \
                     says it. A pause of writes ends by itself."
                ));
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// The old server follows the new one.
    fn settle(&mut self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(self.asked.patience);
        while !self.from.info().is_ok_and(|it| it.text("master_link_status") == "up") {
            if Instant::now() >= until {
                return Err(
                    "The target is the master, but the old server does not follow it: its log says why. \
                     Until it does there is no way back."
                        .into(),
                );
            }
            std::thread::sleep(AGAIN);
        }
        if self.asked.rewrite {
            for party in [&mut self.to, &mut self.from] {
                let done = party.ask(&["CONFIG", "REWRITE"]);
                done.map_err(|why| {
                    format!("The roles have changed, but not in the file of {why}")
                })?;
            }
        }
        let line = match self.asked.back {
            true => {
                "done: the old server is the master again, and the other follows it".to_string()
            }
            false => format!(
                "done: send clients to {}; the old server follows it until it is shut down (back: --back)",
                self.to.place.target
            ),
        };
        self.tell(&line)
    }
}
