//! A failing plan made smaller, while it still fails: fault classes go first, then cores and clients, then time.
//!
//! What is left is what the failure needs, so that whoever reads its trace reads nothing else.

use crate::plan::Plan;

type Class = (&'static str, fn(&mut Plan) -> &mut bool);

/// All that is on in only some seeds.
#[rustfmt::skip] // One class, one line.
const CLASSES: &[Class] = &[
    ("torn",          |it| &mut it.torn),
    ("narrow",        |it| &mut it.narrow),
    ("partial_mail",  |it| &mut it.partial_mail),
    ("stalls",        |it| &mut it.stalls),
    ("cuts",          |it| &mut it.cuts),
    ("silence",       |it| &mut it.silence),
    ("refuse",        |it| &mut it.refuse),
    ("kill_replicas", |it| &mut it.kill_replicas),
    ("kill_master",   |it| &mut it.kill_master),
    ("role_changes",  |it| &mut it.role_changes),
    ("saves",         |it| &mut it.saves),
    ("disk_faults",   |it| &mut it.disk_faults),
    ("files",         |it| &mut it.files),
    ("power",         |it| &mut it.power),
    ("commands",      |it| &mut it.commands),
    ("spills",        |it| &mut it.spills),
    ("expiry",        |it| &mut it.expiry),
    ("flushes",       |it| &mut it.flushes),
    ("across",        |it| &mut it.across),
    ("large_values",  |it| &mut it.large_values),
    ("skew",          |it| &mut it.skew),
];

/// The classes that are on.
pub fn classes(plan: &Plan) -> Vec<&'static str> {
    let mut plan = plan.clone();
    CLASSES.iter().filter(|(_, class)| *class(&mut plan)).map(|(name, _)| *name).collect()
}

/// See the file's header. `fails` runs a plan.
pub fn shrink(mut plan: Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    loop {
        let mut candidates: Vec<Plan> = Vec::new();
        for (_, class) in CLASSES {
            let mut smaller = plan.clone();
            if std::mem::take(class(&mut smaller)) {
                candidates.push(smaller);
            }
        }
        for host in 0..plan.cores.len() {
            let mut smaller = plan.clone();
            smaller.cores[host] = 1;
            candidates.push(smaller);
        }
        candidates.push(Plan { clients: plan.clients / 2, ..plan.clone() });
        candidates.push(Plan { run_ms: plan.run_ms * 2 / 3, ..plan.clone() });
        let size =
            |it: &Plan| (classes(it).len(), it.cores.iter().sum::<usize>(), it.clients, it.run_ms);
        let smaller = candidates
            .into_iter()
            .filter(|it| size(it) < size(&plan) && it.clients > 0 && it.run_ms > 100)
            .find(|it| fails(it));
        match smaller {
            Some(smaller) => plan = smaller,
            None => return plan,
        }
    }
}
