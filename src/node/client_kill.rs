//! `CLIENT KILL`: whom it names, and how they end.
//!
//! Every core closes its own. Others are closed at once and lose what was not sent yet, as in
//! Redis. Who kills itself is only marked (`doomed`): it gets its reply, runs nothing more, and is
//! closed when the reply is out (`route.rs`).

use crate::acl::users::Users;
use crate::base::num;
use crate::command::args::Args;
use crate::node::client_list::parse_class;
use crate::node::core::Core;
use crate::node::cx::PartHead;
use crate::node::outbox::{Action, Conn, Outbox};
use crate::node::session::{Class, Kind, Session};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;

/// Whom `CLIENT KILL` names: who passes all that is given.
#[derive(Debug, Default)]
pub(super) struct Filter<'a> {
    id: Option<u64>,
    class: Option<Class>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    /// Seconds that it has been connected at least.
    age: Option<u32>,
    /// Those of this user; our link to our master is nobody's.
    user: Option<u32>,
    spare_me: bool,
    /// `CLIENT KILL ip:port`, which answers with OK or an error.
    pub old_form: bool,
}

impl<'a> Filter<'a> {
    /// What follows `CLIENT KILL`.
    pub(super) fn parse(options: Args<'a>, users: &Users) -> Result<Self, ErrorKind> {
        if let [addr] = options.words() {
            return Ok(Self { addr: Some(addr), old_form: true, ..Self::default() });
        }
        let mut filter = Self { spare_me: true, ..Self::default() };
        for (index, pair) in options.words().chunks(2).enumerate() {
            let &[_, value] = pair else { return Err(ErrorKind::Syntax) };
            let is = |name| options.is(2 * index, name);
            if is("ID") {
                let id = positive(value).ok_or(ErrorKind::ClientIdNotPositive)?;
                filter.id = Some(id);
            } else if is("TYPE") {
                filter.class = Some(parse_class(value)?);
            } else if is("ADDR") {
                filter.addr = Some(value);
            } else if is("LADDR") {
                filter.laddr = Some(value);
            } else if is("USER") {
                let nobody = || ErrorKind::NoSuchUser { name: value.into() };
                filter.user = Some(users.named(value).ok_or_else(nobody)?.id);
            } else if is("SKIPME") && value.eq_ignore_ascii_case(b"yes") {
                filter.spare_me = true;
            } else if is("SKIPME") && value.eq_ignore_ascii_case(b"no") {
                filter.spare_me = false;
            } else if is("MAXAGE") {
                let age = positive(value).ok_or(ErrorKind::ClientAge)?;
                filter.age = Some(u32::try_from(age).unwrap_or(u32::MAX));
            } else {
                return Err(ErrorKind::Syntax);
            }
        }
        Ok(filter)
    }

    fn names(&self, core: &Core, session: &Session, killer: u64) -> bool {
        let age = core.stats.seconds.saturating_sub(session.created);
        let spared = session.closing || (self.spare_me && session.id == killer);
        !spared
            && self.id.is_none_or(|id| id == session.id)
            && self.class.is_none_or(|class| class == session.class())
            && self.age.is_none_or(|least| age >= least)
            && self.user.is_none_or(|id| id == session.user && session.kind != Kind::Master)
            && self.is_at(core, session)
    }

    fn is_at(&self, core: &Core, session: &Session) -> bool {
        if self.addr.is_none() && self.laddr.is_none() {
            return true;
        }
        let (addr, laddr) = core.addresses(session);
        self.addr.is_none_or(|it| it == addr.as_bytes())
            && self.laddr.is_none_or(|it| it == laddr.as_bytes())
    }
}

fn positive(value: &[u8]) -> Option<u64> {
    num::parse_i64(value).and_then(|it| u64::try_from(it).ok()).filter(|&it| it > 0)
}

/// `[number of the killer, options of CLIENT KILL..]`: how many of this core's clients were closed.
pub(super) fn part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let killer = positive(args.name()).unwrap_or(0);
    let Ok(filter) = Filter::parse(args.skip(1), &core.view.users) else { return reply.int(0) };
    let named = |(_, session): &(Conn, &Session)| filter.names(core, session, killer);
    let killed: Vec<Conn> = core.sessions.iter().filter(named).map(|(conn, _)| conn).collect();
    for &conn in &killed {
        let Some(session) = core.sessions.get_mut(conn) else { continue };
        if session.id == killer {
            session.doomed = true;
        } else {
            session.closing = true;
            session.input = None;
            core.killed.push(conn);
        }
    }
    reply.int(i64::try_from(killed.len()).unwrap_or(i64::MAX));
}

impl Core {
    /// Closes those that were killed in this turn.
    pub(super) fn close_killed(&mut self, out: &mut Outbox) {
        out.actions.extend(self.killed.drain(..).map(Action::CloseNow));
    }
}

#[cfg(test)]
mod tests {
    use crate::node::testing::check;

    #[test]
    fn the_old_form_names_one_address() {
        check(
            r#"
            a> CLIENT KILL 1.2.3.4:5
            a< -ERR No such client
            a> CLIENT KILL ID
            a< -ERR No such client
            b> PING
            b< +PONG
            a> CLIENT KILL 127.0.0.2:2
            a< +OK
            b!
            c>> PING\r\nCLIENT KILL 127.0.0.3:3\r\nPING\r\n
            c< +PONG +OK
            c!
            a> CLIENT KILL 127.0.0.3:3
            a< -ERR No such client
            "#,
        );
    }

    #[test]
    fn the_new_form_names_all_that_pass_every_filter() {
        check(
            r#"
            a> PING
            a< +PONG
            b> PING
            b< +PONG
            c> PING
            c< +PONG
            +5000ms
            d> PING
            d< +PONG
            a> CLIENT KILL ID 99
            a< :0
            a> CLIENT KILL ID 1
            a< :0
            a> CLIENT KILL id 2 ADDR 127.0.0.3:3
            a< :0
            a> CLIENT KILL LADDR 127.0.0.1:6379 ADDR 127.0.0.2:2 USER default
            a< :1
            b!
            a> CLIENT KILL MAXAGE 5
            a< :1
            c!
            a> CLIENT KILL TYPE master
            a< :0
            a> CLIENT KILL TYPE pubsub
            a< :0
            a>> CLIENT KILL TYPE normal SKIPME no\r\nPING\r\n
            a< :2
            a!
            d!
            "#,
        );
    }

    #[test]
    fn what_is_no_filter_closes_nobody() {
        check(
            r#"
            a> CLIENT KILL ID 0
            a< -ERR client-id should be greater than 0
            a> CLIENT KILL ID abc
            a< -ERR client-id should be greater than 0
            a> CLIENT KILL ID 1 SKIPME
            a< -ERR syntax error
            a> CLIENT KILL ID 1 SKIPME maybe
            a< -ERR syntax error
            a> CLIENT KILL ID 1 TYPE foo
            a< -ERR Unknown client type 'foo'
            a> CLIENT KILL USER nobody
            a< -ERR No such user 'nobody'
            a> CLIENT KILL MAXAGE 0
            a< -ERR maxage should be greater than 0
            a> CLIENT KILL FOO bar
            a< -ERR syntax error
            a> CLIENT KILL
            a< -ERR wrong number of arguments for 'client|kill' command
            "#,
        );
    }
}
