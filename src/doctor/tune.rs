//! The changes that findings ask for: shown, written, kept over a boot, undone.
//!
//! **The way back comes first.** The file with the old values is on disk before the first new one is
//! written. What was tuned twice keeps the value from before the first time. What somebody else has
//! changed since is left to him and told. A file of old values names files of the kernel's; only
//! those that a finding can name are ever written, whatever the file says.

use super::findings::{Change, Finding, Mend};
use super::host::Host;
use super::readings::{HUGE_PAGES, SYSCTLS, sysctl_path};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Where the old values are kept, unless the caller says otherwise.
pub const UNDO_FILE: &str = "/var/lib/ringfold/tune-undo.json";
/// What makes sysctls last.
pub const DROP_IN: &str = "/etc/sysctl.d/90-ringfold.conf";

/// What was changed, with the values from before.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Undo {
    changes: Vec<Change>,
    drop_in: Option<DropIn>,
}

/// The drop-in that was there before ours; `None` if there was none.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DropIn {
    before: Option<String>,
}

/// What came of it: lines to print, and how many changes could not be made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub text: String,
    pub failed: usize,
}

/// The changes among these findings, with the reasons for them.
pub fn changes(findings: &[Finding]) -> impl Iterator<Item = (&Change, &str)> {
    findings.iter().filter_map(|it| match &it.mend {
        Some(Mend::Write(change)) if change.from != change.to => Some((change, it.why.as_str())),
        _ => None,
    })
}

/// What `apply` would do, as a diff.
#[must_use]
pub fn diff(findings: &[Finding]) -> String {
    let mut text = String::new();
    for (change, why) in changes(findings) {
        let Change { name, from, to, .. } = change;
        let _never_fails = write!(text, " # {why}\n-{name} = {from}\n+{name} = {to}\n");
    }
    text
}

/// Writes the changes, and with `permanent` the drop-in that makes sysctls last.
///
/// # Errors
/// The old values cannot be kept, in words: then nothing was changed.
pub fn apply(
    host: &Host,
    findings: &[Finding],
    undo_file: &str,
    permanent: bool,
) -> Result<Outcome, String> {
    let mut undo = match host.read(undo_file) {
        Some(text) => parse(&text).map_err(|why| format!("{undo_file}: {why}"))?,
        None => Undo::default(),
    };
    let wanted: Vec<Change> = changes(findings).map(|(change, _)| change.clone()).collect();
    let mut outcome = Outcome::default();
    if wanted.is_empty() && !permanent {
        outcome.text += "nothing to change\n";
        return Ok(outcome);
    }
    wanted.iter().for_each(|change| undo.note(change));
    if permanent && undo.drop_in.is_none() {
        undo.drop_in = Some(DropIn { before: host.read(DROP_IN) });
    }
    keep(host, undo_file, &undo)?;
    for change in &wanted {
        match set(host, &change.path, &change.to) {
            Ok(()) => outcome.say(&format!("{}: {} -> {}", change.name, change.from, change.to)),
            Err(why) => {
                undo.changes.retain(|it| it.path != change.path);
                outcome.fail(&format!("{}: stays {}: {why}", change.name, change.from));
            }
        }
    }
    if permanent {
        match host.write(DROP_IN, &drop_in(&undo)) {
            Ok(()) => outcome.say(&format!("{DROP_IN}: written, so that it lasts over a boot")),
            Err(why) => outcome.fail(&format!("{DROP_IN}: {why}")),
        }
    }
    if undo == Undo::default() {
        host.remove(undo_file).map_err(|why| format!("{undo_file}: {why}"))?;
    } else {
        keep(host, undo_file, &undo)?;
        outcome.say(&format!("the old values are in {undo_file}: `--revert` restores them"));
    }
    Ok(outcome)
}

/// Restores what `apply` changed.
///
/// # Errors
/// There is nothing to go back to, in words.
pub fn revert(host: &Host, undo_file: &str) -> Result<Outcome, String> {
    let text = host.read(undo_file).ok_or(format!("{undo_file}: nothing was tuned from here"))?;
    let undo = parse(&text).map_err(|why| format!("{undo_file}: {why}"))?;
    let mut outcome = Outcome::default();
    let mut left = Undo::default();
    for change in undo.changes.into_iter().rev() {
        let Change { name, path, from, to, .. } = &change;
        match host.read(path).map(|it| words(&it)) {
            Some(is) if is == *from => outcome.say(&format!("{name}: is {from} already")),
            Some(is) if is != *to => {
                outcome.say(&format!("{name}: somebody made it {is} since; it was {from} before"));
            }
            Some(_) => match set(host, path, from) {
                Ok(()) => outcome.say(&format!("{name}: {to} -> {from}")),
                Err(why) => {
                    outcome.fail(&format!("{name}: stays {to}: {why}"));
                    left.changes.insert(0, change);
                }
            },
            None => {
                outcome.fail(&format!("{name}: cannot be read"));
                left.changes.insert(0, change);
            }
        }
    }
    if let Some(drop_in) = undo.drop_in {
        let restored = match &drop_in.before {
            Some(text) => host.write(DROP_IN, &format!("{text}\n")),
            None => host.remove(DROP_IN),
        };
        match restored {
            Ok(()) => outcome.say(&format!("{DROP_IN}: as before")),
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => {
                outcome.fail(&format!("{DROP_IN}: {why}"));
                left.drop_in = Some(drop_in);
            }
        }
    }
    if left == Undo::default() {
        host.remove(undo_file).map_err(|why| format!("{undo_file}: {why}"))?;
    } else {
        keep(host, undo_file, &left)?;
    }
    Ok(outcome)
}

impl Undo {
    /// Remembers a change; the value from before the first one stays.
    fn note(&mut self, change: &Change) {
        match self.changes.iter_mut().find(|it| it.path == change.path) {
            Some(known) => known.to.clone_from(&change.to),
            None => self.changes.push(change.clone()),
        }
    }
}

impl Outcome {
    fn say(&mut self, line: &str) {
        self.text += line;
        self.text.push('\n');
    }

    fn fail(&mut self, line: &str) {
        self.failed += 1;
        self.say(line);
    }
}

/// Writes a value and asks whether it is there: some files take what they do not keep.
fn set(host: &Host, path: &str, value: &str) -> Result<(), String> {
    host.set(path, value).map_err(|why| why.to_string())?;
    let is = host.read(path).map(|it| words(&it)).unwrap_or_default();
    if is == value { Ok(()) } else { Err(format!("the kernel made {is} of {value}")) }
}

/// The numbers of a sysctl with single spaces, or the chosen word of a list.
fn words(text: &str) -> String {
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let text = chosen.map_or(text, |(word, _)| word);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn drop_in(undo: &Undo) -> String {
    let mut text = String::from(
        "# Written by `ringfold tune --apply --permanent`; `ringfold tune --revert` takes it away.\n",
    );
    for change in undo.changes.iter().filter(|it| it.sysctl) {
        let _never_fails = writeln!(text, "{} = {}", change.name, change.to);
    }
    text
}

fn keep(host: &Host, undo_file: &str, undo: &Undo) -> Result<(), String> {
    let text = serde_json::to_string_pretty(undo).map_err(|why| why.to_string())?;
    let kept = host.write(undo_file, &(text + "\n"));
    kept.map_err(|why| format!("cannot keep the old values in {undo_file}: {why}"))
}

fn parse(text: &str) -> Result<Undo, String> {
    let undo: Undo = serde_json::from_str(text).map_err(|why| why.to_string())?;
    let known = |path: &str| path == HUGE_PAGES || SYSCTLS.iter().any(|it| sysctl_path(it) == path);
    match undo.changes.iter().find(|it| !known(&it.path)) {
        Some(foreign) => Err(format!("{} is nothing that is tuned", foreign.path)),
        None => Ok(undo),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::findings::findings;
    use crate::doctor::forecast::{Demand, Forecast};
    use crate::doctor::readings::Readings;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    const UNDO: &str = "/var/lib/undo.json";
    const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

    /// A directory that looks like a host with a short listen queue and no huge pages.
    struct Fake(PathBuf, Host);

    impl Fake {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Relaxed);
            let name = format!("ringfold-tune-{}-{number}", std::process::id());
            let root = std::env::temp_dir().join(name);
            let host = Host::at(&root);
            for (path, text) in [
                (SOMAXCONN, "128"),
                ("/proc/sys/net/ipv4/tcp_mem", "1\t2\t3"),
                (HUGE_PAGES, "never"),
            ] {
                host.write(path, text).unwrap();
            }
            Self(root, host)
        }

        fn findings(&self, clients: u64) -> Vec<Finding> {
            let mut readings = Readings::of(&self.1);
            // Plain files have no brackets around the chosen word.
            readings.huge_pages = self.1.read(HUGE_PAGES);
            let demand = Demand { clients, local: false, data_bytes: 0 };
            findings(&readings, &demand, &Forecast::of(&readings, &demand))
        }

        fn is(&self, path: &str) -> String {
            self.1.read(path).unwrap_or_default()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_diff_changes_nothing() {
        let fake = Fake::new();
        let diff = diff(&fake.findings(1_000));
        assert!(
            diff.contains("\n-net.core.somaxconn = 128\n+net.core.somaxconn = 1024\n"),
            "{diff}"
        );
        assert!(diff.contains("\n-net.ipv4.tcp_mem = 1 2 3\n+net.ipv4.tcp_mem = 750 1000 2000\n"));
        assert_eq!(fake.is(SOMAXCONN), "128");
        assert!(fake.1.read(UNDO).is_none());
    }

    #[test]
    fn what_was_applied_twice_goes_back_to_what_was_first() {
        let fake = Fake::new();
        assert!(revert(&fake.1, UNDO).unwrap_err().contains("nothing was tuned"));
        assert_eq!(apply(&fake.1, &fake.findings(1_000), UNDO, false).unwrap().failed, 0);
        assert_eq!((fake.is(SOMAXCONN), fake.is(HUGE_PAGES)), ("1024".into(), "madvise".into()));
        let again = apply(&fake.1, &fake.findings(1_000), UNDO, false).unwrap();
        assert_eq!(again.text, "nothing to change\n");
        assert_eq!(apply(&fake.1, &fake.findings(5_000), UNDO, true).unwrap().failed, 0);
        assert_eq!(fake.is(SOMAXCONN), "8192");
        assert!(fake.is(DROP_IN).contains("\nnet.core.somaxconn = 8192\n"));
        assert!(!fake.is(DROP_IN).contains("hugepage"), "{}", fake.is(DROP_IN));
        assert_eq!(revert(&fake.1, UNDO).unwrap().failed, 0);
        assert_eq!((fake.is(SOMAXCONN), fake.is(HUGE_PAGES)), ("128".into(), "never".into()));
        assert_eq!(fake.is("/proc/sys/net/ipv4/tcp_mem"), "1 2 3");
        assert!(fake.1.read(UNDO).is_none() && fake.1.read(DROP_IN).is_none());
    }

    #[test]
    fn a_drop_in_that_was_there_comes_back() {
        let fake = Fake::new();
        fake.1.write(DROP_IN, "vm.swappiness = 1\n").unwrap();
        apply(&fake.1, &fake.findings(1_000), UNDO, true).unwrap();
        apply(&fake.1, &fake.findings(9_000), UNDO, true).unwrap();
        assert!(fake.is(DROP_IN).contains("somaxconn"));
        revert(&fake.1, UNDO).unwrap();
        assert_eq!(fake.is(DROP_IN), "vm.swappiness = 1");
    }

    #[test]
    fn what_somebody_else_changed_is_left_to_him() {
        let fake = Fake::new();
        apply(&fake.1, &fake.findings(1_000), UNDO, false).unwrap();
        fake.1.set(SOMAXCONN, "777").unwrap();
        let outcome = revert(&fake.1, UNDO).unwrap();
        assert!(outcome.text.contains("somebody made it 777 since; it was 128"), "{outcome:?}");
        assert_eq!(fake.is(SOMAXCONN), "777");
        assert_eq!(fake.is(HUGE_PAGES), "never");
    }

    #[test]
    fn what_cannot_be_written_is_told_and_the_rest_is_done() {
        let fake = Fake::new();
        let mut found = fake.findings(1_000);
        // A directory in the place of a file: nobody can write to it, not even root.
        let path = fake.0.join(SOMAXCONN.trim_start_matches('/'));
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let outcome = apply(&fake.1, &found, UNDO, false).unwrap();
        assert_eq!(outcome.failed, 1);
        assert!(outcome.text.contains("net.core.somaxconn: stays 128: "), "{}", outcome.text);
        assert_eq!(fake.is(HUGE_PAGES), "madvise");
        assert!(!fake.is(UNDO).contains("somaxconn"), "{}", fake.is(UNDO));
        // Where the old values cannot be kept, nothing is touched.
        found.retain(|it| it.subject == "transparent_hugepage");
        fake.1.set(HUGE_PAGES, "never").unwrap();
        assert!(apply(&fake.1, &found, &format!("{HUGE_PAGES}/undo"), false).is_err());
        assert_eq!(fake.is(HUGE_PAGES), "never");
    }

    #[test]
    fn a_forged_file_of_old_values_writes_nothing() {
        let fake = Fake::new();
        let forged = |path: &str| {
            let (name, from, to) = (String::new(), "x".into(), "128".into());
            let change = Change { name, path: path.into(), from, to, sysctl: true };
            keep(&fake.1, UNDO, &Undo { changes: vec![change], drop_in: None }).unwrap();
            revert(&fake.1, UNDO).unwrap_err()
        };
        assert!(forged("/etc/passwd").contains("nothing that is tuned"));
        assert!(forged("/proc/sys/net/core/../core/somaxconn").contains("nothing that is tuned"));
        fake.1.write(UNDO, "{").unwrap();
        assert!(revert(&fake.1, UNDO).is_err());
    }
}
