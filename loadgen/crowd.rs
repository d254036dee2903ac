//! When clients come and go: ramps, churn and storms.
//!
//! All of it follows from the plan: the time at which client `c` dials first, the times at which one
//! of a thread's clients is replaced, and who is cut off by a storm. Times are nanoseconds from the
//! run's start.
//!
//! A ramp is a line through points: so many clients by that time. The clients of every group come
//! in proportion, so that the mix is the same at each moment.

use crate::draw::{Draw, nanoseconds};
use crate::pace::Pacer;
use crate::plan::Plan;
use serde::{Deserialize, Serialize};

/// How clients come and go, beside what they send.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Crowd {
    /// Connects per second before the start; none: as many as `dials_max` lets through.
    pub connect_rate: Option<f64>,
    /// Connects under way at once before the start and on a ramp; 0: [`DIALS_MAX`].
    pub dials_max: u32,
    /// Points of the ramp, from the start of the run; none: all clients come before it.
    pub ramp: Vec<Stage>,
    /// Clients come up to so many seconds later than the ramp says, each by itself.
    pub jitter_seconds: f64,
    /// Clients replaced per second, in turn: a client leaves when its replies are in, and another
    /// takes its place.
    pub churn_rate: Option<f64>,
    pub storms: Vec<Storm>,
    /// Send PING as soon as connected, for the time to the first reply.
    pub greet: bool,
    /// Dial again when the server closes a connection, instead of giving up.
    pub reconnect: bool,
}

/// A point of a ramp: `clients` are to be there `seconds` after the point before.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    pub clients: u64,
    pub seconds: f64,
}

/// All clients, or a share of them, cut off at one moment and dialing again at once.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct Storm {
    pub at_seconds: f64,
    /// Above 0, up to 1.
    pub share: f64,
}

/// Connects under way at once, over all threads: below the usual limit of a server's backlog.
pub const DIALS_MAX: u32 = 1_000;

impl Crowd {
    /// Whether a run of `clients` can go like this.
    pub fn check(&self, clients: u64) -> Result<(), String> {
        let rates = [self.connect_rate, self.churn_rate];
        if !rates.iter().flatten().all(|it| (1e-3..=1e9).contains(it)) {
            return Err("clients come and go between 0.001 and 1000000000 times a second".into());
        }
        let seconds = self.ramp.iter().map(|it| it.seconds);
        let seconds = seconds.chain(self.storms.iter().map(|it| it.at_seconds));
        if !seconds.chain([self.jitter_seconds]).all(|it| (0.0..=31_536_000.0).contains(&it)) {
            return Err("ramps and storms lie between 0 and 31536000 seconds".into());
        }
        if !self.ramp.is_sorted_by_key(|it| it.clients) {
            return Err("a ramp does not go down".into());
        }
        if self.ramp.last().is_some_and(|it| it.clients != clients) {
            return Err(format!("the ramp must end with all {clients} clients"));
        }
        if !self.storms.iter().all(|it| it.share > 0.0 && it.share <= 1.0) {
            return Err("a storm takes a share above 0 and up to 1 of the clients".into());
        }
        Ok(())
    }

    /// Whether the times to connect are what the run is about.
    #[must_use]
    pub fn moves(&self) -> bool {
        self.connect_rate.is_some()
            || !self.ramp.is_empty()
            || self.churn_rate.is_some()
            || !self.storms.is_empty()
    }

    /// When the ramp lets the client dial that stands at `position` (0 to 1) among its group's.
    fn ramp_time(&self, position: f64, clients: u64) -> u64 {
        let wanted = position * clients as f64;
        let (mut count, mut at) = (0.0, 0.0);
        for stage in &self.ramp {
            let more = stage.clients as f64 - count;
            if wanted < stage.clients as f64 && more > 0.0 {
                return nanoseconds(at + stage.seconds * (wanted - count) / more);
            }
            (count, at) = (stage.clients as f64, at + stage.seconds);
        }
        nanoseconds(at)
    }
}

/// When client `connection` dials first, if there is a ramp; `first` and `count` tell its group.
#[must_use]
pub fn dial_time(plan: &Plan, connection: u64, first: u64, count: u64) -> u64 {
    let position = (connection - first) as f64 / count.max(1) as f64;
    let mut draw = Draw::new(Draw::stream(plan.seed, connection), u64::MAX);
    let later = nanoseconds(draw.unit() * plan.crowd.jitter_seconds);
    plan.crowd.ramp_time(position, plan.connections()) + later
}

/// The times at which one of a thread's clients is replaced; `own` is how many it has.
#[must_use]
pub fn churn(plan: &Plan, thread: u32, own: u32) -> Option<Pacer> {
    let rate = plan.crowd.churn_rate? * f64::from(own) / plan.connections().max(1) as f64;
    let seed = Draw::new(Draw::stream(plan.seed, u64::MAX - 1), u64::from(thread)).next_u64();
    let end = nanoseconds(plan.warm_up_seconds + plan.seconds);
    (own > 0).then(|| Pacer::new(seed, true, rate, own, end, u64::MAX))
}

/// Whether storm number `storm` takes client `connection`.
#[must_use]
pub fn is_taken(plan: &Plan, storm: u64, share: f64, connection: u64) -> bool {
    let stream = Draw::stream(plan.seed ^ 0x5703_12a7, connection);
    share >= 1.0 || Draw::new(stream, storm).unit() < share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;

    fn ramp(points: &[(u64, f64)]) -> Vec<Stage> {
        points.iter().map(|&(clients, seconds)| Stage { clients, seconds }).collect()
    }

    #[test]
    fn a_ramp_is_a_line_through_its_points() {
        let mut plan = sample();
        plan.groups[0].connections = 1000;
        plan.crowd.ramp = ramp(&[(100, 1.0), (100, 2.0), (1000, 9.0)]);
        assert_eq!(plan.crowd.check(1000), Ok(()));
        let at = |client| dial_time(&plan, client, 0, 1000);
        assert_eq!((at(0), at(50), at(99)), (0, 500_000_000, 990_000_000));
        assert_eq!((at(100), at(200)), (3_000_000_000, 4_000_000_000));
        assert_eq!(at(999), 11_990_000_000);
        plan.crowd.jitter_seconds = 0.5;
        let jittered: Vec<u64> = (0..1000).map(|it| dial_time(&plan, it, 0, 1000)).collect();
        plan.crowd.jitter_seconds = 0.0;
        let late = (0u64..).zip(jittered).map(|(it, time)| time - dial_time(&plan, it, 0, 1000));
        let late: Vec<u64> = late.collect();
        assert!(late.iter().all(|it| *it < 500_000_000));
        assert!(late.iter().sum::<u64>() / 1000 > 200_000_000, "evenly up to the jitter");
    }

    #[test]
    fn groups_come_in_proportion() {
        let mut plan = sample();
        plan.groups.push(plan.groups[0].clone());
        (plan.groups[0].connections, plan.groups[1].connections) = (10, 90);
        plan.crowd.ramp = ramp(&[(100, 10.0)]);
        let by = |first, count: u64, time| {
            (first..first + count).filter(|it| dial_time(&plan, *it, first, count) < time).count()
        };
        assert_eq!((by(0, 10, 5_000_000_000), by(10, 90, 5_000_000_000)), (5, 45));
    }

    #[test]
    fn a_storm_takes_its_share_and_always_the_same() {
        let plan = sample();
        let taken = |storm, share| {
            (0..10_000).filter(|it| is_taken(&plan, storm, share, *it)).collect::<Vec<u64>>()
        };
        assert_eq!(taken(0, 1.0).len(), 10_000);
        assert!((2_800..3_200).contains(&taken(0, 0.3).len()));
        assert_eq!(taken(0, 0.3), taken(0, 0.3));
        assert_ne!(taken(0, 0.3), taken(1, 0.3));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |change: &dyn Fn(&mut Crowd), because: &str| {
            let mut crowd = Crowd::default();
            change(&mut crowd);
            let error = crowd.check(100).unwrap_err();
            assert!(error.contains(because), "{error}");
        };
        check(&|it| it.connect_rate = Some(0.0), "times a second");
        check(&|it| it.ramp = ramp(&[(50, 1.0)]), "all 100");
        check(&|it| it.ramp = ramp(&[(120, 1.0), (100, 1.0)]), "down");
        check(&|it| it.storms = vec![Storm { at_seconds: 1.0, share: 1.5 }], "share");
        check(&|it| it.jitter_seconds = f64::NAN, "seconds");
    }
}
