//! `CLIENT PAUSE`: until when, and for which commands, clients wait.

use crate::base::time::{Mono, Now};
use crate::command::spec::Flags;
use crate::node::outbox::Conn;
use crate::node::table::Row;

/// Which commands a pause holds back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Writes,
    All,
}

/// This core's view of the pause, and the sessions that wait for its end.
#[derive(Debug, Default)]
pub struct Pauses {
    until: Option<(Mono, Scope)>,
    /// The node is about to end, or to hand its role over: writes wait for that, or for its being
    /// called off.
    pub writes_wait: bool,
    pub waiting: Vec<Conn>,
}

impl Pauses {
    /// Pauses until `end`. As Redis does, a later end and the wider scope win.
    pub fn pause(&mut self, end: Mono, scope: Scope) {
        let (old_end, old_scope) = self.until.unwrap_or((end, scope));
        self.until = Some((end.max(old_end), scope.max(old_scope)));
    }

    pub fn unpause(&mut self) {
        self.until = None;
    }

    #[inline]
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.until.is_some() || self.writes_wait
    }

    /// Has the pause run out at `now`?
    #[must_use]
    pub fn is_over(&self, now: Now) -> bool {
        self.until.is_some_and(|(end, _)| end <= now.mono)
    }

    /// What the pause holds back at `now`, for INFO.
    #[must_use]
    pub fn scope(&self, now: Now) -> Option<Scope> {
        let paused = self.until.filter(|(end, _)| *end > now.mono).map(|(_, scope)| scope);
        paused.max(self.writes_wait.then_some(Scope::Writes))
    }

    /// Must this command wait? An unknown one never does, nor does CLIENT, by which a pause is ended.
    #[must_use]
    pub fn holds(&self, row: Option<&Row>, now: Now) -> bool {
        let (Some(scope), Some(row)) = (self.scope(now), row) else { return false };
        if row.container == Some("CLIENT") || row.spec.name == "REPLCONF" {
            return false;
        }
        scope == Scope::All || row.spec.is_write() || row.spec.flags.has(Flags::MAY_REPLICATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_end_and_the_wider_scope_win() {
        let mut pauses = Pauses::default();
        let at = |ms| Now { mono: Mono::default().plus_ms(ms), ..Now::default() };
        pauses.pause(at(100).mono, Scope::All);
        pauses.pause(at(50).mono, Scope::Writes);
        assert_eq!(pauses.scope(at(99)), Some(Scope::All));
        assert!(pauses.is_over(at(100)) && pauses.scope(at(100)).is_none());
        pauses.unpause();
        assert!(!pauses.is_on());
    }
}
