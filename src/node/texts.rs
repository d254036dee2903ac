//! The small files that core 0 reads and replaces while it serves: one after another, each whole.
//!
//! What is asked for waits until what was asked for before is done. Reading and replacing are the
//! outside's (`Action::Text`), which answers with `FileEvent::Text`; what a file shall hold is decided
//! elsewhere (`settings/rewrite.rs`).

use crate::acl::file;
use crate::node::access::Change;
use crate::node::control::{Control, ControlCx, Op};
use crate::node::message::Return;
use crate::node::outbox::{Action, Level};
use crate::node::settings::rewrite::rewrite;
use crate::resp::error::ErrorKind;
use std::collections::VecDeque;

/// Why a file is read or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `CONFIG REWRITE`
    Rewrite,
    /// `ACL LOAD` and `ACL SAVE`
    LoadUsers,
    SaveUsers,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct Texts {
    waiting: VecDeque<(Return, Purpose)>,
    now: Option<(Return, Purpose, Step)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Reading,
    Replacing,
}

/// What the outside says of a small file: its bytes, nothing where there is none, or why not.
pub type TextRead = Result<Option<Vec<u8>>, String>;

impl Control {
    /// A client wants this done.
    pub(super) fn text_asked(&mut self, cx: &mut ControlCx<'_>, from: Return, purpose: Purpose) {
        if self.text_path(cx, purpose).is_empty() {
            return cx.answer_error(from, &ErrorKind::NoConfigFile);
        }
        self.texts.waiting.push_back((from, purpose));
        self.next_text(cx);
    }

    fn next_text(&mut self, cx: &mut ControlCx<'_>) {
        if self.texts.now.is_some() {
            return;
        }
        let Some((from, purpose)) = self.texts.waiting.pop_front() else { return };
        let replace = (purpose == Purpose::SaveUsers).then(|| file::text(&self.view.users));
        self.text_step(cx, from, purpose, replace);
    }

    fn text_step(
        &mut self,
        cx: &mut ControlCx<'_>,
        from: Return,
        purpose: Purpose,
        replace: Option<Vec<u8>>,
    ) {
        let step = if replace.is_some() { Step::Replacing } else { Step::Reading };
        self.texts.now = Some((from, purpose, step));
        let path = self.text_path(cx, purpose);
        cx.out.actions.push(Action::Text { path, replace });
    }

    fn text_path(&self, cx: &ControlCx<'_>, purpose: Purpose) -> Vec<u8> {
        match purpose {
            Purpose::Rewrite => cx.core.shared.host.config_file.clone().into_bytes(),
            Purpose::LoadUsers | Purpose::SaveUsers => self.view.settings.users_path(),
        }
    }

    /// The outside has read or replaced the file.
    pub(super) fn text_done(&mut self, cx: &mut ControlCx<'_>, result: TextRead) {
        let Some((from, purpose, step)) = self.texts.now.take() else { return };
        match (purpose, step, result) {
            (Purpose::Rewrite, Step::Reading, Ok(old)) => {
                let text = self.rewritten(&old.unwrap_or_default());
                return self.text_step(cx, from, purpose, Some(text));
            }
            (Purpose::Rewrite, Step::Replacing, Ok(_)) => {
                cx.log(Level::Warning, "CONFIG REWRITE executed with success.");
                cx.answer_ok(from);
            }
            (Purpose::LoadUsers, _, Ok(Some(text))) => {
                self.section(cx, Op::Users(Change::Load { text }), Some(from));
            }
            (Purpose::LoadUsers, _, result) => {
                let why = result.err().unwrap_or_else(|| "No such file or directory".into());
                let file = String::from_utf8_lossy(&self.view.settings.aclfile);
                let why = format!("Error loading ACLs, opening file '{file}': {why}");
                let why = why.into_bytes().into_boxed_slice();
                cx.answer_error(from, &ErrorKind::AclRefused { why });
            }
            (Purpose::SaveUsers, _, Ok(_)) => cx.answer_ok(from),
            (Purpose::SaveUsers, _, Err(why)) => {
                cx.log(Level::Warning, format!("Writing ACL file for ACL SAVE: {why}"));
                cx.answer_error(from, &ErrorKind::AclSave);
            }
            (Purpose::Rewrite, _, Err(why)) => {
                cx.log(Level::Warning, format!("CONFIG REWRITE failed: {why}"));
                let why = why.into_bytes().into_boxed_slice();
                cx.answer_error(from, &ErrorKind::ConfigRewrite { why });
            }
        }
        self.next_text(cx);
    }

    fn rewritten(&self, old: &[u8]) -> Vec<u8> {
        let users = self.view.settings.aclfile.is_empty().then(|| self.view.users.lines());
        rewrite(old, &self.view.settings, users.as_deref())
    }
}
