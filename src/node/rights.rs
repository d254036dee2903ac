//! What a client may do, at the places where it matters: before each command of a user who may not do
//! everything, and when the rules change, for everybody who is connected.
//!
//! A session remembers its user's number and whether there is anything to check at all (`ruled`), so a
//! user who may do everything costs one branch. The rules themselves are in the core's view.
//!
//! Not here: how rules decide (`acl/`), the commands about them (`access.rs`).

use crate::acl::catalog::Catalog;
use crate::acl::file::configured;
use crate::acl::log::{Context, Entry, Why};
use crate::acl::rule::Denied;
use crate::acl::selector::Request;
use crate::acl::user::User;
use crate::acl::users::Users;
use crate::command::args::Args;
use crate::node::core::Core;
use crate::node::outbox::Conn;
use crate::node::pubsub::Topic;
use crate::node::session::{Kind, Session};
use crate::node::settings::{AclPubsubDefault, Settings};
use crate::resp::error::ErrorKind;
use std::sync::Arc;

/// The users that settings name, without those of a file of users.
///
/// # Errors
/// What is wrong with the first wrong `user` line.
pub fn users_of(settings: &Settings, catalog: &Catalog) -> Result<Users, String> {
    let all_channels = settings.acl_pubsub_default == AclPubsubDefault::AllChannels;
    let mut users = Users::new(catalog, all_channels);
    if !settings.requirepass.0.is_empty() {
        users = users.requiring(&settings.requirepass.0);
    }
    configured(catalog, &users, &settings.users)
}

impl Core {
    /// The user of a session that is ruled; none where it is gone, and the session about to go.
    fn user_of(&self, session: &Session) -> Option<&Arc<User>> {
        self.view.users.get(session.user)
    }

    /// May a session that is ruled run the request?
    pub(super) fn may_run_request(
        &self,
        session: &Session,
        number: u16,
        args: Args<'_>,
    ) -> Result<(), ErrorKind> {
        let Some(user) = self.user_of(session) else { return Err(ErrorKind::NoAuth) };
        self.may_user_run(user, number, args)
    }

    /// Why a request that was queued may not run now, if its user's rules have changed so.
    pub(super) fn no_longer_allowed(
        &self,
        conn: Conn,
        number: u16,
        args: Args<'_>,
    ) -> Option<ErrorKind> {
        let session = self.sessions.get(conn).filter(|session| session.ruled)?;
        let why = match self.may_run_request(session, number, args).err()? {
            ErrorKind::NoPermCommand { .. } => "no permission to execute the command or subcommand",
            ErrorKind::NoPermKey => "no permission to touch the specified keys",
            ErrorKind::NoPermChannel => {
                "no permission to access one of the channels used as argument to the command"
            }
            _ => "no permission",
        };
        Some(ErrorKind::NoPermNow { why })
    }

    /// May this user run the request?
    pub(super) fn may_user_run(
        &self,
        user: &User,
        number: u16,
        args: Args<'_>,
    ) -> Result<(), ErrorKind> {
        let table = &self.shared.table;
        let request = Request { number, args };
        match user.check(table.catalog(), request) {
            Err(Denied::Command) => {
                let command = table.row(number).full_name.as_bytes().into();
                Err(ErrorKind::NoPermCommand { command })
            }
            Err(Denied::Key(_)) => Err(ErrorKind::NoPermKey),
            Err(Denied::Channel(_)) => Err(ErrorKind::NoPermChannel),
            Ok(()) if matches!(table.row(number).spec.name, "SORT" | "SORT_RO") => {
                match user.sort_option_denied(table.catalog(), request) {
                    Some(option) => Err(ErrorKind::SortDenied { option }),
                    None => Ok(()),
                }
            }
            Ok(()) => Ok(()),
        }
    }

    /// A request was refused: if it was for want of rights, that is logged and counted.
    pub(super) fn note_refusal(
        &mut self,
        conn: Conn,
        number: Option<u16>,
        args: Args<'_>,
        error: &ErrorKind,
        context: Context,
    ) {
        let why = match error {
            ErrorKind::NoPermCommand { .. } => Why::Command,
            ErrorKind::NoPermKey => Why::Key,
            ErrorKind::NoPermChannel => Why::Channel,
            _ => return,
        };
        let (Some(session), Some(number)) = (self.sessions.get(conn), number) else { return };
        let Some(user) = self.user_of(session) else { return };
        let table = &self.shared.table;
        let object = match user.check(table.catalog(), Request { number, args }) {
            Err(Denied::Key(at) | Denied::Channel(at)) => args.get(at).unwrap_or_default().to_vec(),
            _ => table.row(number).full_name.clone().into_bytes(),
        };
        let name = user.name.clone();
        self.log_refusal(conn, why, context, object, name);
    }

    /// Somebody was refused something.
    pub(super) fn log_refusal(
        &mut self,
        conn: Conn,
        why: Why,
        context: Context,
        object: Vec<u8>,
        user: Vec<u8>,
    ) {
        self.stats.denied[why as usize] += 1;
        let mut client = Vec::new();
        if let Some(session) = self.sessions.get(conn) {
            self.describe(conn, session, &mut client);
            client.pop(); // the line's end
        }
        self.refusals += 1;
        // A number of its own, whichever core it comes from.
        let id = self.refusals * self.cores as u64 + self.id as u64;
        let (created, updated) = (self.now.wall, self.now.wall);
        let entry = Entry { id, count: 1, why, context, object, user, client, created, updated };
        let max = usize::try_from(self.view.settings.acllog_max_len).unwrap_or(usize::MAX);
        self.refused.note(entry, max.min(crate::base::limits::ACL_LOG_ENTRIES_MAX));
    }

    /// A session becomes this user's.
    pub(super) fn becomes(&mut self, conn: Conn, user: &User) {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.authenticated = true;
            session.user = user.id;
            session.ruled = !user.may_all();
        }
    }

    /// A session is as it is before anybody has said who it is.
    pub(super) fn becomes_nobody(&mut self, conn: Conn) {
        let users = &self.view.users;
        let open = users.lets_strangers_in();
        let ruled = users.get(0).is_some_and(|user| !user.may_all());
        if let Some(session) = self.sessions.get_mut(conn) {
            (session.authenticated, session.user, session.ruled) = (open, 0, ruled);
        }
    }

    /// The users have changed: whose user is gone goes too, and so does who listens to what it may
    /// no longer hear.
    pub(super) fn review_sessions(&mut self) {
        let users = Arc::clone(&self.view.users);
        let open = users.lets_strangers_in();
        for row in 0..self.sessions.rows() {
            let conn = Conn(u32::try_from(row).unwrap_or(u32::MAX));
            let Some(session) = self.sessions.get_mut(conn) else { continue };
            if session.kind == Kind::Master || session.closing {
                continue;
            }
            let user = users.get(session.user);
            if let Some(user) = user {
                session.ruled = !user.may_all();
                session.authenticated |= open && session.user == 0;
            }
            let subscribed = session.subscribed;
            if user.is_none_or(|user| subscribed && !self.may_still_hear(conn, user)) {
                self.close_for_its_user(conn);
            }
        }
    }

    fn may_still_hear(&self, conn: Conn, user: &User) -> bool {
        [Topic::Channel, Topic::Pattern, Topic::Shard].into_iter().all(|topic| {
            let names = self.pubsub.names_of(conn, topic);
            names.iter().all(|name| user.may_hear(name, topic == Topic::Pattern))
        })
    }

    /// Who waits for an answer gets it first; it runs nothing more.
    fn close_for_its_user(&mut self, conn: Conn) {
        let Some(session) = self.sessions.get_mut(conn) else { return };
        (session.authenticated, session.ruled) = (false, true);
        if session.flight.is_some() {
            session.doomed = true;
        } else {
            session.closing = true;
            session.input = None;
            self.killed.push(conn);
        }
    }
}
