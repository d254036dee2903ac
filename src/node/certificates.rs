//! CONFIG SET of what TLS is made of and of where we listen, and clients whose certificate says who they are.
//!
//! Keys and certificates are in files, which the outside reads (`Action::Certificates`). So the settings that
//! name them change only once it has said that they can be used: one CONFIG SET after another, each on what
//! the one before has left. Until then, and where they cannot be used, the old ones hold. So it is with
//! addresses and ports, which the outside opens.

use crate::acl::log::{Context, Why};
use crate::node::config;
use crate::node::control::{Control, ControlCx};
use crate::node::core::Core;
use crate::node::message::Return;
use crate::node::outbox::{Action, Conn, Level, Outbox};
use crate::node::settings::CertificateUser;
use crate::node::settings::table::Row;
use crate::resp::error::ErrorKind;
use std::collections::VecDeque;
use std::sync::Arc;

/// Changes that wait for files.
#[derive(Debug, Default)]
pub struct Certificates {
    waiting: VecDeque<Wish>,
    now: Option<Wish>,
}

/// One `CONFIG SET`.
#[derive(Debug)]
struct Wish {
    from: Return,
    words: Vec<Vec<u8>>,
    local: bool,
}

/// Does a change of these settings need the files?
#[must_use]
pub fn concerns(rows: &[&'static Row]) -> bool {
    rows.iter().any(|row| is_of_tls(row.name.as_bytes()) || ADDRESSES.contains(&row.name))
}

/// Where we listen.
const ADDRESSES: [&str; 2] = ["bind", "port"];

/// Why settings cannot hold.
#[derive(Debug)]
pub enum Unusable {
    /// Keys and certificates.
    Tls(String),
    /// Addresses and ports.
    Addresses(String),
}

fn is_of_tls(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with(b"tls-") && name != b"tls-auth-clients-user"
}

impl Control {
    pub(super) fn certificates_asked(
        &mut self,
        cx: &mut ControlCx<'_>,
        from: Return,
        words: Vec<Vec<u8>>,
        local: bool,
    ) {
        self.certificates.waiting.push_back(Wish { from, words, local });
        self.next_certificates(cx);
    }

    fn next_certificates(&mut self, cx: &mut ControlCx<'_>) {
        while self.certificates.now.is_none() {
            let Some(wish) = self.certificates.waiting.pop_front() else { return };
            let words: Vec<&[u8]> = wish.words.iter().map(Vec::as_slice).collect();
            match config::set_running(&self.view.settings, &words, wish.local) {
                Ok(changed) => {
                    cx.out.actions.push(Action::Certificates(Box::new(changed.settings)));
                    self.certificates.now = Some(wish);
                }
                Err(error) => cx.answer_error(wish.from, &error.reply()),
            }
        }
    }

    /// The outside has read the files, and new connections begin with what was in them; or not.
    pub(super) fn certificates_read(
        &mut self,
        cx: &mut ControlCx<'_>,
        result: Result<(), Unusable>,
    ) {
        let Some(Wish { from, words, local }) = self.certificates.now.take() else { return };
        match result {
            Ok(()) => self.configure_now(cx, from, &words, local),
            Err(Unusable::Addresses(why)) => {
                cx.log(Level::Warning, format!("We listen where we did: {why}"));
                let is = |word: &[u8], name: &str| word.eq_ignore_ascii_case(name.as_bytes());
                let given = |name| words.iter().step_by(2).any(|it| is(it, name));
                let (name, why) = match (given("bind"), given("port")) {
                    (true, _) => ("bind", "Failed to bind to specified addresses."),
                    (false, true) => ("port", "Unable to listen on this port. Check server logs."),
                    (false, false) => {
                        ("tls-port", "Unable to listen on this port. Check server logs.")
                    }
                };
                let why = why.as_bytes().into();
                cx.answer_error(
                    from,
                    &ErrorKind::ConfigRefused { name: name.as_bytes().into(), why },
                );
            }
            Err(Unusable::Tls(why)) => {
                cx.log(Level::Warning, format!("The TLS configuration stays as it was: {why}"));
                let name = words.iter().step_by(2).find(|it| is_of_tls(it));
                let name = name.map_or(&b"tls-cert-file"[..], Vec::as_slice).into();
                let why = format!("Unable to update TLS configuration. {why}");
                let why = why.into_bytes().into_boxed_slice();
                cx.answer_error(from, &ErrorKind::ConfigRefused { name, why });
            }
        }
        self.next_certificates(cx);
    }
}

impl Core {
    /// A client that has just come has shown a certificate with this common name: it is the user of that name,
    /// where settings say so. Else it is whoever has said nothing.
    pub(super) fn certified(&mut self, conn: Conn, name: &[u8], out: &mut Outbox) {
        let wanted = self.view.settings.tls_auth_clients_user == CertificateUser::CommonName;
        if !wanted || self.sessions.get(conn).is_none_or(|session| session.closing) {
            return;
        }
        let users = Arc::clone(&self.view.users);
        match users.named(name).filter(|user| user.enabled) {
            Some(user) => self.becomes(conn, user),
            None => {
                self.log_refusal(
                    conn,
                    Why::Auth,
                    Context::Toplevel,
                    b"tls-cert".to_vec(),
                    name.to_vec(),
                );
                let name = name.escape_ascii();
                let text = format!("A certificate names the user '{name}', which there is none of");
                out.log(Level::Verbose, text);
            }
        }
    }
}
