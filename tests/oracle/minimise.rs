//! Makes a long history that shows a difference into a short one, by leaving parts out.
//!
//! Delta debugging with a budget: halves, quarters, and so on, each tried on emptied servers. A
//! difference that does not come again (it hung on time, or on chance) is said to be one.

use crate::generate::Step;
use crate::run::{LANES, Lanes, Pair, shown};

const REPLAYS_MAX: usize = 400;

/// A text that lists the shortest history found.
pub fn reproduction(pair: &Pair, history: &[(usize, Step)]) -> String {
    // Silence is left out first: half of it would leave a lane waiting for replies for ever.
    let hushes = |step: &Step| step.silent && step.args[0] == b"CLIENT";
    let heard = history.iter().filter(|(_, step)| !hushes(step));
    let heard: Vec<(usize, Step)> =
        heard.map(|(lane, step)| (*lane, Step { silent: false, ..step.clone() })).collect();
    let mut steps: Vec<&(usize, Step)> = heard.iter().collect();
    let Some(end) = replay(pair, &steps) else {
        return "not seen again in a replay from empty servers\n".into();
    };
    steps.truncate(end);
    let (mut replays, mut size) = (0, steps.len().div_ceil(2));
    while size > 0 && replays < REPLAYS_MAX {
        let mut at = 0;
        while at < steps.len() && replays < REPLAYS_MAX {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + size).min(fewer.len()));
            replays += 1;
            match replay(pair, &fewer) {
                Some(end) => {
                    fewer.truncate(end);
                    steps = fewer;
                }
                None => at += size,
            }
        }
        size /= 2;
    }
    let lines: Vec<String> =
        steps.iter().map(|(lane, step)| format!("  {lane} {}\n", shown(&step.args))).collect();
    format!("minimised:\n{}", lines.concat())
}

/// Runs the history on emptied servers; how many of its steps it takes to see a difference.
fn replay(pair: &Pair, steps: &[&(usize, Step)]) -> Option<usize> {
    let mut lanes = Lanes::fresh(pair).ok()?;
    let mut at = 0;
    while at < steps.len() {
        let lane = steps[at].0;
        let same = steps[at..].iter().take(50).take_while(|it| it.0 == lane).count();
        let batch: Vec<&Step> = steps[at..at + same].iter().map(|it| &it.1).collect();
        if let Err(mismatch) = lanes.batch(lane % LANES, &batch, &[]) {
            return Some(at + mismatch.step + 1);
        }
        at += same;
    }
    None
}
