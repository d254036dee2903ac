//! One client as a line of `CLIENT LIST` and `CLIENT INFO`, and which clients a list has.
//!
//! The fields and their order are Redis 7.0's, with `lib-name` and `lib-ver` behind, where 7.2 has
//! them. What this server has no notion of (a query buffer of a connection
//! whose input lies in the kernel's) stands there as it would for a client without it.
//!
//! A core describes its own clients; `gather.rs` sorts all lines by number, which is the order in
//! which the clients came.

use crate::base::num;
use crate::command::args::Args;
use crate::node::caching;
use crate::node::core::Core;
use crate::node::cx::PartHead;
use crate::node::outbox::Conn;
use crate::node::session::{Class, Ends, Kind, NO_COMMAND, Rare, Session};
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use core::net::SocketAddr;

/// Which clients `CLIENT LIST` shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    Kind(Class),
    /// These, in this order.
    Ids(Vec<u64>),
}

impl Shown {
    /// What follows `CLIENT LIST`.
    pub(super) fn parse(options: Args<'_>) -> Result<Self, ErrorKind> {
        match options.words() {
            [] => Ok(Self::All),
            [_, kind] if options.is(0, "TYPE") => Ok(Self::Kind(parse_class(kind)?)),
            [_, ids @ ..] if options.is(0, "ID") && !ids.is_empty() => {
                ids.iter().map(|id| parse_id(id)).collect::<Result<_, _>>().map(Self::Ids)
            }
            _ => Err(ErrorKind::Syntax),
        }
    }

    fn has(&self, session: &Session) -> bool {
        match self {
            Self::All => true,
            Self::Kind(class) => *class == session.class(),
            Self::Ids(ids) => ids.contains(&session.id),
        }
    }
}

/// The class of clients that a `TYPE` names.
pub(super) fn parse_class(name: &[u8]) -> Result<Class, ErrorKind> {
    match name.to_ascii_lowercase().as_slice() {
        b"normal" => Ok(Class::Of(Kind::Normal)),
        b"replica" | b"slave" => Ok(Class::Of(Kind::Replica)),
        b"master" => Ok(Class::Of(Kind::Master)),
        b"pubsub" => Ok(Class::Pubsub),
        _ => Err(ErrorKind::ClientType { name: name.into() }),
    }
}

/// Nobody has number 0, so it stands for all numbers that nobody can have.
fn parse_id(word: &[u8]) -> Result<u64, ErrorKind> {
    let id = num::parse_i64(word).ok_or(ErrorKind::ClientId)?;
    Ok(u64::try_from(id).unwrap_or(0))
}

/// `[options of CLIENT LIST..]`: this core's lines.
pub(super) fn part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let mut text = Vec::new();
    if let Ok(mut shown) = Shown::parse(args) {
        if let Shown::Ids(ids) = &mut shown {
            ids.sort_unstable();
            ids.dedup();
        }
        for (conn, session) in core.sessions.iter().filter(|(_, it)| !it.closing && shown.has(it)) {
            core.describe(conn, session, &mut text);
        }
    }
    reply.bulk(&text);
}

/// The lines of all cores as one list.
pub(super) fn merge(texts: &[Vec<u8>], ids: &[u64], reply: &mut Reply<'_>) {
    let lines = texts.iter().flat_map(|text| text.split_inclusive(|&byte| byte == b'\n'));
    let mut lines: Vec<(u64, &[u8])> = lines.map(|line| (id_of(line), line)).collect();
    lines.sort_unstable_by_key(|(id, _)| *id);
    let mut all = Vec::new();
    if ids.is_empty() {
        lines.iter().for_each(|(_, line)| all.extend_from_slice(line));
    }
    for id in ids {
        if let Ok(at) = lines.binary_search_by_key(id, |(id, _)| *id) {
            all.extend_from_slice(lines[at].1);
        }
    }
    reply.verbatim(*b"txt", &all);
}

fn id_of(line: &[u8]) -> u64 {
    let digits = line.get(3..).unwrap_or_default().split(|&byte| byte == b' ').next();
    let id = digits.and_then(num::parse_i64).unwrap_or(0);
    u64::try_from(id).unwrap_or(0)
}

impl Core {
    /// Appends the line of a client.
    pub(super) fn describe(&self, conn: Conn, session: &Session, out: &mut Vec<u8>) {
        self.describe_with(conn, session, session.rare.as_deref(), out);
    }

    /// As `describe`, without what a client may call itself.
    pub(super) fn describe_briefly(&self, conn: Conn, session: &Session, out: &mut Vec<u8>) {
        self.describe_with(conn, session, None, out);
    }

    fn describe_with(&self, conn: Conn, session: &Session, rare: Option<&Rare>, out: &mut Vec<u8>) {
        let now = self.stats.seconds;
        let (addr, laddr) = self.addresses(session);
        let counts = self.pubsub.counts(conn);
        let queued = session.flight.as_ref().map_or(0, |flight| flight.queued_bytes());
        let unsent = rare.map_or(0, |rare| rare.backlog_bytes);
        let multi = session.rare.as_ref().and_then(|rare| rare.multi.as_ref());
        let queued_requests = multi.filter(|_| session.in_multi).map(|multi| multi.queued());
        let queued_requests = queued_requests.and_then(|it| i64::try_from(it).ok()).unwrap_or(-1);
        let (multi, input) = (session.multi_bytes(), session.input_bytes());
        let memory = self.client_bytes(conn, session);
        let command = match session.last_command {
            NO_COMMAND => "NULL",
            number => self.shared.table.row(number).full_name.as_str(),
        };
        let text = |of: fn(&Rare) -> &Vec<u8>| {
            rare.map_or_else(String::new, |it| String::from_utf8_lossy(of(it)).into_owned())
        };
        let line = format!(
            "id={} addr={addr} laddr={laddr} fd={} name={} age={} idle={} flags={} db={} \
             sub={} psub={} ssub={} multi={queued_requests} qbuf={input} qbuf-free=0 argv-mem=0 multi-mem={multi} rbs=0 \
             rbp=0 obl={queued} oll=0 omem={unsent} tot-mem={memory} events={} cmd={command} \
             user={} redir={} resp={} lib-name={} lib-ver={}\n",
            session.id,
            conn.0,
            text(|it| &it.name),
            now.saturating_sub(session.created),
            now.saturating_sub(session.active),
            flags(session),
            session.db,
            counts.channels,
            counts.patterns,
            counts.shards,
            if unsent > 0 { "rw" } else { "r" },
            self.user_name(session),
            caching::redirection(session),
            if session.proto == Proto::Resp3 { 3 } else { 2 },
            text(|it| &it.lib_name),
            text(|it| &it.lib_ver),
        );
        out.extend_from_slice(line.as_bytes());
    }

    fn user_name(&self, session: &Session) -> String {
        match self.view.users.get(session.user) {
            Some(user) if session.kind != Kind::Master => {
                String::from_utf8_lossy(&user.name).into_owned()
            }
            _ => "(superuser)".into(),
        }
    }

    /// The two ends as text: `ip:port`, or the path of the Unix socket.
    pub(super) fn addresses(&self, session: &Session) -> (String, String) {
        match &session.ends {
            Ends::V4(peer, local) => (peer.to_string(), local.to_string()),
            Ends::Tcp(ends) => (address(ends.0), address(ends.1)),
            Ends::Local => {
                let path = String::from_utf8_lossy(&self.view.settings.unixsocket);
                (format!("{path}:0"), format!("{path}:0"))
            }
        }
    }
}

fn address(end: SocketAddr) -> String {
    SocketAddr::new(end.ip().to_canonical(), end.port()).to_string()
}

fn flags(session: &Session) -> String {
    let blocked = session.rare.as_ref().is_some_and(|rare| rare.blocked);
    let (broken, broadcasts) =
        session.modes().map_or((false, false), |modes| (modes.broken, modes.broadcasts));
    let flags: String = [
        (session.kind == Kind::Replica, 'S'),
        (session.watches, 'O'),
        (session.kind == Kind::Master, 'M'),
        (session.subscribed, 'P'),
        (session.tracks, 't'),
        (broken, 'R'),
        (broadcasts, 'B'),
        (blocked, 'b'),
        (session.ends == Ends::Local, 'U'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ]
    .into_iter()
    .filter_map(|(set, flag)| set.then_some(flag))
    .collect();
    if flags.is_empty() { "N".into() } else { flags }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::flight::{Flight, Gathering};
    use crate::node::gather::Summary;
    use crate::node::testing::check;

    #[test]
    fn an_ipv4_client_of_an_ipv6_listener_is_shown_as_ipv4() {
        for (end, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::ffff:1.2.3.4]:80", "1.2.3.4:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
        ] {
            assert_eq!(address(end.parse().unwrap()), expected);
        }
    }

    #[test]
    fn all_clients_in_the_order_in_which_they_came() {
        let line = |id: u8, rest: &str| {
            format!("id={id} addr=127.0.0.{id}:{id} laddr=127.0.0.1:6379 fd={id} {rest}")
        };
        let tail = |bytes: usize, command: &str, resp: u8, lib: &str| {
            format!(
                "sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 \
                 rbp=0 obl=0 oll=0 omem=0 tot-mem={bytes} events=r cmd={command} user=default \
                 redir=-1 resp={resp} {lib}\\n"
            )
        };
        let none = "lib-name= lib-ver=";
        // A list is gathered in the flight of who asks for it.
        let mut flight = Flight::new(0);
        let gathering = Gathering { combine: Summary::Sum, parts: vec![None], muted: false };
        flight.depart_split(gathering, true);
        let a = |command: &str| {
            let waits = if command == "client|list" { flight.memory() } else { 0 };
            let bytes = size_of::<Session>() + waits;
            let rest = format!("name= age=3 idle=0 flags=N db=0 {}", tail(bytes, command, 2, none));
            line(1, &rest)
        };
        let bytes = size_of::<Session>() + size_of::<Rare>() + 9;
        let b = tail(bytes, "client|setinfo", 2, "lib-name=lib lib-ver=1.0");
        let b = line(2, &format!("name=bob age=2 idle=1 flags=e db=5 {b}"));
        let c = tail(size_of::<Session>(), "NULL", 2, none);
        let c = line(3, &format!("name= age=1 idle=1 flags=N db=0 {c}"));
        let text = |lines: &[&str]| {
            let all = lines.concat();
            format!("${} {all}", all.replace("\\n", "\n").len())
        };
        let (list, info) = (a("client|list"), a("client|info"));
        check(&format!(
            "
            a> PING
            a< +PONG
            +1000ms
            b> CLIENT SETNAME bob
            b< +OK
            b> SELECT 5
            b< +OK
            b> CLIENT NO-EVICT on
            b< +OK
            +1000ms
            b> CLIENT SETINFO lib-name lib
            b< +OK
            b> CLIENT SETINFO LIB-VER 1.0
            b< +OK
            c> FOO
            c< -ERR unknown command 'FOO', with args beginning with:
            +1000ms
            a> CLIENT LIST
            a< {}
            a> CLIENT LIST TYPE NORMAL
            a< {}
            a> CLIENT LIST ID 3 1 99 3 0 -1
            a< {}
            a> CLIENT INFO
            a< {}
            ",
            text(&[&list, &b, &c]),
            text(&[&list, &b, &c]),
            text(&[&c, &list, &c]),
            text(&[&info]),
        ));
    }

    #[test]
    fn lists_of_nobody_and_what_is_no_list() {
        check(
            "
            a> CLIENT LIST TYPE replica
            a< $0
            a> CLIENT LIST TYPE pubsub
            a< $0
            a> CLIENT LIST ID 99
            a< $0
            a> CLIENT LIST TYPE foo
            a< -ERR Unknown client type 'foo'
            a> CLIENT LIST TYPE normal x
            a< -ERR syntax error
            a> CLIENT LIST ID
            a< -ERR syntax error
            a> CLIENT LIST ID 1 x
            a< -ERR Invalid client ID
            a> CLIENT LIST FOO
            a< -ERR syntax error
            ",
        );
    }
}
