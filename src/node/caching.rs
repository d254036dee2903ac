//! CLIENT TRACKING, CACHING, TRACKINGINFO, GETREDIR: what a client that caches says about it.
//!
//! REDIRECT names a client that may be on any core: all are asked, and tracking begins when it is found.
//!
//! Not here: who is told what (`tracking.rs`).

use crate::base::num;
use crate::command::args::Args;
use crate::node::core::Core;
use crate::node::cx::NodeCx;
use crate::node::flight::Gathering;
use crate::node::gather::{self, Summary};
use crate::node::message::Return;
use crate::node::session::Session;
use crate::node::tracking::{self, Modes};
use crate::resp::error::ErrorKind;

/// `CLIENT TRACKING ON | OFF [REDIRECT id] [PREFIX prefix ..] [BCAST] [OPTIN] [OPTOUT] [NOLOOP]`
pub(super) fn tracking(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (mut modes, redirect) = parse(args)?;
    match () {
        () if args.is(2, "ON") => {}
        () if args.is(2, "OFF") => {
            let conn = cx.conn;
            cx.core.forget_tracker(conn);
            cx.reply.ok();
            return Ok(());
        }
        () => return Err(ErrorKind::Syntax),
    }
    let conn = cx.conn;
    if redirect == 0 {
        check(cx.session(), &modes)?;
        cx.core.track(conn, modes);
        cx.reply.ok();
        return Ok(());
    }
    modes.redirect = Some((redirect, tracking::Reader::default()));
    cx.session().rare_mut().tracking_soon = Some(Box::new(modes));
    let id = redirect.to_string();
    cx.ask_all("find-client", Args::new(&[id.as_bytes()]), Summary::Tracking);
    Ok(())
}

/// The options, and the number of the client to redirect to, or 0.
fn parse(args: Args<'_>) -> Result<(Modes, u64), ErrorKind> {
    let (mut modes, mut redirect, mut at) = (Modes::default(), 0, 3);
    while at < args.len() {
        match args.get(at + 1) {
            Some(id) if args.is(at, "REDIRECT") => {
                if redirect != 0 {
                    return Err(ErrorKind::TrackingRedirectTwice);
                }
                let id = num::parse_i64(id).ok_or(ErrorKind::NotAnInteger)?;
                // No client has such a number, so that nobody is found.
                redirect = u64::try_from(id).ok().filter(|id| *id > 0).unwrap_or(u64::MAX);
                at += 1;
            }
            Some(prefix) if args.is(at, "PREFIX") => {
                modes.prefixes.push(prefix.to_vec());
                at += 1;
            }
            _ if args.is(at, "BCAST") => modes.broadcasts = true,
            _ if args.is(at, "OPTIN") => modes.opt_in = true,
            _ if args.is(at, "OPTOUT") => modes.opt_out = true,
            _ if args.is(at, "NOLOOP") => modes.noloop = true,
            _ => return Err(ErrorKind::Syntax),
        }
        at += 1;
    }
    Ok((modes, redirect))
}

/// Do the options go together, and with what the client has chosen before?
fn check(session: &Session, new: &Modes) -> Result<(), ErrorKind> {
    let old = session.modes();
    if !new.broadcasts && !new.prefixes.is_empty() {
        return Err(ErrorKind::TrackingPrefixAlone);
    }
    if old.is_some_and(|old| old.broadcasts != new.broadcasts) {
        return Err(ErrorKind::TrackingBcastSwitch);
    }
    if new.broadcasts && (new.opt_in || new.opt_out) {
        return Err(ErrorKind::TrackingOptWithBcast);
    }
    if new.opt_in && new.opt_out {
        return Err(ErrorKind::TrackingOptBoth);
    }
    if old.is_some_and(|old| new.opt_in && old.opt_out || new.opt_out && old.opt_in) {
        return Err(ErrorKind::TrackingOptSwitch);
    }
    let overlap = |a: &[u8], b: &[u8]| a.starts_with(b) || b.starts_with(a);
    let known = old.map_or(&[][..], |old| old.prefixes.as_slice());
    for (at, prefix) in new.prefixes.iter().enumerate() {
        if let Some(other) = known.iter().find(|it| overlap(it, prefix)) {
            let (prefix, other) = (prefix.as_slice().into(), other.as_slice().into());
            return Err(ErrorKind::TrackingPrefixKnown { prefix, other });
        }
        if let Some(other) = new.prefixes[at + 1..].iter().find(|it| overlap(it, prefix)) {
            let (prefix, other) = (prefix.as_slice().into(), other.as_slice().into());
            return Err(ErrorKind::TrackingPrefixGiven { prefix, other });
        }
    }
    Ok(())
}

/// `CLIENT CACHING YES | NO`
pub(super) fn caching(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let session = cx.session();
    let modes = session.rare.as_mut().and_then(|rare| rare.tracking.as_mut());
    let modes = modes.ok_or(ErrorKind::TrackingOptIn)?;
    match () {
        () if args.is(2, "YES") && modes.opt_in => modes.caching = true,
        () if args.is(2, "YES") => return Err(ErrorKind::TrackingCachingYes),
        () if args.is(2, "NO") && modes.opt_out => modes.caching = true,
        () if args.is(2, "NO") => return Err(ErrorKind::TrackingCachingNo),
        () => return Err(ErrorKind::Syntax),
    }
    cx.reply.ok();
    Ok(())
}

/// `CLIENT GETREDIR`: -1 is said of a client that does not track, 0 of one that does not redirect.
pub(super) fn get_redirection(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let id = redirection(cx.session());
    cx.reply.int(id);
    Ok(())
}

/// As GETREDIR says it.
pub(super) fn redirection(session: &Session) -> i64 {
    let modes = session.modes();
    modes.map_or(-1, |it| it.redirect.map_or(0, |it| i64::try_from(it.0).unwrap_or(0)))
}

/// `CLIENT TRACKINGINFO`
pub(super) fn tracking_info(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let redirect = redirection(cx.session());
    let modes = cx.session().modes().cloned();
    let is_on = modes.is_some();
    let modes = modes.unwrap_or_default();
    let flags = [
        (!is_on, "off"),
        (is_on, "on"),
        (modes.broadcasts, "bcast"),
        (modes.opt_in, "optin"),
        (modes.opt_in && modes.caching, "caching-yes"),
        (modes.opt_out, "optout"),
        (modes.opt_out && modes.caching, "caching-no"),
        (modes.noloop, "noloop"),
        (modes.broken, "broken_redirect"),
    ];
    let flags: Vec<&str> = flags.into_iter().filter_map(|(set, it)| set.then_some(it)).collect();
    let reply = &mut cx.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"redirect");
    reply.int(redirect);
    reply.bulk(b"prefixes");
    reply.array(modes.prefixes.len());
    modes.prefixes.iter().for_each(|prefix| reply.bulk(prefix));
    Ok(())
}

impl Core {
    /// All cores have said whether they have the client that is to be told: if one has, tracking begins.
    ///
    /// # Errors
    /// There is no such client, or it cannot be tracked like that.
    pub(super) fn redirection_found(
        &mut self,
        from: Return,
        gathering: &Gathering,
    ) -> Result<(), ErrorKind> {
        let parts = gathering.parts.iter().flatten();
        let found = parts.map(|part| gather::bulk(part)).find_map(|it| tracking::found(&it));
        let session = self.sessions.same(from.conn, from.generation);
        let session = session.ok_or(ErrorKind::TrackingRedirect)?;
        let modes = session.rare_mut().tracking_soon.take();
        let (Some(place), Some(mut modes)) = (found, modes) else {
            return Err(ErrorKind::TrackingRedirect);
        };
        check(session, &modes)?;
        modes.redirect = modes.redirect.map(|(id, _)| (id, place));
        self.track(from.conn, *modes);
        Ok(())
    }
}
