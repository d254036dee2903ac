//! Users of a file, or of the `user` lines of a configuration: all of them, or none.
//!
//! A file of users has no comments, because it is written anew by ACL SAVE; every wrong line is told.

use super::catalog::Catalog;
use super::rule::{RuleError, has_spaces, merge};
use super::user::User;
use super::users::{DEFAULT, Users};
use std::fmt::Write;

/// The users of the file `name`, whose text is `text`. Who is in `old` as he is here stays who he is, so
/// that his connections need not go.
///
/// # Errors
/// All that is wrong, as one line.
pub fn read(catalog: &Catalog, old: &Users, name: &str, text: &[u8]) -> Result<Users, String> {
    let mut users = Users::empty(old.next_id(), old.all_channels);
    let mut errors = String::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let number = index + 1;
        let words: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
        let (user, rules) = match words.as_slice() {
            [b"user", user, rules @ ..] => (*user, rules),
            _ => {
                let _ = write!(
                    errors,
                    "{name}:{number} should start with user keyword followed by the username. "
                );
                continue;
            }
        };
        let shown = String::from_utf8_lossy(user).into_owned();
        if has_spaces(user) {
            let _ = write!(
                errors,
                "'{name}:{number}: username '{shown}' contains invalid characters. "
            );
            continue;
        }
        if users.named(user).is_some() {
            let _ = write!(errors, "WARNING: Duplicate user '{shown}' found on line {number}. ");
            continue;
        }
        add(catalog, old, &mut users, user, rules, &mut |why| {
            let _ = write!(errors, "{name}:{number}: {why}");
        });
    }
    if !errors.is_empty() {
        errors.push_str(
            "WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
        );
        return Err(errors);
    }
    if users.named(DEFAULT).is_none() {
        users.put(User::default_user(catalog));
    }
    Ok(users)
}

/// Adds one user of a file; says all that is wrong with it.
fn add(
    catalog: &Catalog,
    old: &Users,
    users: &mut Users,
    name: &[u8],
    rules: &[&[u8]],
    wrong: &mut dyn FnMut(String),
) {
    let Ok(rules) = merge(rules.iter().copied()) else {
        return wrong("Unmatched parenthesis in selector definition.".into());
    };
    let known = old.named(name);
    let id = if name == DEFAULT { 0 } else { users.next_id() };
    let mut user = User::new(name, id, old.all_channels);
    let mut told = false;
    for rule in rules {
        let rule = rule.trim_ascii();
        match user.set(catalog, rule, old.all_channels) {
            Ok(()) => {}
            // A command's name is no secret.
            Err(why @ RuleError::UnknownCommand) => {
                let rule = String::from_utf8_lossy(rule);
                wrong(format!("Error in applying operation '{rule}': {why}. "));
            }
            Err(why) if !std::mem::replace(&mut told, true) => wrong(format!("{why}. ")),
            Err(_) => {}
        }
    }
    match known {
        Some(known) if **known == user => user.id = known.id,
        _ if user.id != 0 => user.id = users.new_id(),
        _ => {}
    }
    users.put(user);
}

/// The users of `user` lines of a configuration, each as its words after `user`.
///
/// # Errors
/// What is wrong with the first wrong line.
pub fn configured(
    catalog: &Catalog,
    users: &Users,
    lines: &[Vec<Vec<u8>>],
) -> Result<Users, String> {
    let mut made: Vec<&[u8]> = Vec::new();
    let mut users = users.clone();
    for line in lines {
        let Some((name, rules)) = line.split_first() else { continue };
        let shown = String::from_utf8_lossy(name).into_owned();
        if made.contains(&name.as_slice()) {
            let why = "Duplicate user found. A user can only be defined once in config files";
            return Err(format!("user {shown}: {why}"));
        }
        made.push(name);
        // The default user begins anew: it is what its line says.
        let reset = (name == DEFAULT).then_some(&b"reset"[..]);
        let rules = reset.into_iter().chain(rules.iter().map(Vec::as_slice));
        users = users.set(catalog, name, rules).map_err(|why| format!("user {shown}: {why}"))?;
    }
    Ok(users)
}

/// The text of a file with all users.
#[must_use]
pub fn text(users: &Users) -> Vec<u8> {
    let mut text = Vec::new();
    for line in users.lines() {
        text.extend(line);
        text.push(b'\n');
    }
    text
}
