//! `COMMAND`: what a Sentinel's commands are, as `redis-sentinel` 7.0.15 tells it. Sub-commands follow their
//! command. Redis lists them in the order of a hash table of its own; here that order is written down.

use super::{is, lossy};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::sentinel::client::Then;
use crate::sentinel::machine::Sentinel;

type Answer = Result<Then, ErrorKind>;

/// One command or sub-command.
struct Fact {
    name: &'static str,
    arity: i64,
    flags: &'static str,
    categories: &'static str,
    tips: &'static str,
}

const fn fact(
    name: &'static str,
    arity: i64,
    flags: &'static str,
    categories: &'static str,
    tips: &'static str,
) -> Fact {
    Fact { name, arity, flags, categories, tips }
}

#[rustfmt::skip] // One row, one line.
const FACTS: &[Fact] = &[
    fact("command",                            -1, "loading stale",                 "@slow @connection",                     "nondeterministic_output_order"),
    fact("command|getkeys",                    -4, "loading stale",                 "@slow @connection",                     ""),
    fact("command|docs",                       -2, "loading stale",                 "@slow @connection",                     "nondeterministic_output_order"),
    fact("command|getkeysandflags",            -4, "loading stale",                 "@slow @connection",                     ""),
    fact("command|list",                       -2, "loading stale",                 "@slow @connection",                     "nondeterministic_output_order"),
    fact("command|info",                       -2, "loading stale",                 "@slow @connection",                     "nondeterministic_output_order"),
    fact("command|count",                       2, "loading stale",                 "@slow @connection",                     ""),
    fact("command|help",                        2, "loading stale",                 "@slow @connection",                     ""),
    fact("sentinel",                           -2, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|pending-scripts",            2, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|simulate-failure",          -3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|replicas",                   3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|is-master-down-by-addr",     6, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|info-cache",                -3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|help",                       2, "loading stale",                 "@slow",                                 ""),
    fact("sentinel|get-master-addr-by-name",    3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|masters",                    2, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|myid",                       2, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|flushconfig",                2, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|monitor",                    6, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|set",                       -5, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|slaves",                     3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|reset",                      3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|config",                    -3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|failover",                   3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|master",                     3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|debug",                     -2, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|remove",                     3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|ckquorum",                   3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("sentinel|sentinels",                  3, "admin",                         "@admin @slow @dangerous",               ""),
    fact("ping",                               -1, "fast",                          "@fast @connection",                     "request_policy:all_shards response_policy:all_succeeded"),
    fact("auth",                               -2, "noscript loading stale fast no_auth allow_busy", "@fast @connection",                     ""),
    fact("role",                                1, "noscript loading stale fast",   "@admin @fast @dangerous",               ""),
    fact("unsubscribe",                        -1, "pubsub noscript loading stale", "@pubsub @slow",                         ""),
    fact("shutdown",                           -1, "admin noscript loading stale no_multi allow_busy", "@admin @slow @dangerous",               ""),
    fact("publish",                             3, "pubsub loading stale fast",     "@pubsub @fast",                         ""),
    fact("info",                               -1, "loading stale",                 "@slow @dangerous",                      "nondeterministic_output request_policy:all_shards response_policy:special"),
    fact("hello",                              -1, "noscript loading stale fast no_auth allow_busy", "@fast @connection",                     ""),
    fact("punsubscribe",                       -1, "pubsub noscript loading stale", "@pubsub @slow",                         ""),
    fact("psubscribe",                         -2, "pubsub noscript loading stale", "@pubsub @slow",                         ""),
    fact("acl",                                -2, "",                              "@slow",                                 ""),
    fact("acl|deluser",                        -3, "admin noscript loading stale",  "@admin @slow @dangerous",               ""),
    fact("acl|dryrun",                         -4, "admin noscript loading stale",  "@admin @slow @dangerous",               ""),
    fact("acl|genpass",                        -2, "noscript loading stale",        "@slow",                                 ""),
    fact("acl|help",                            2, "loading stale",                 "@slow",                                 ""),
    fact("acl|getuser",                         3, "admin noscript loading stale",  "@admin @slow @dangerous",               ""),
    fact("acl|cat",                            -2, "noscript loading stale",        "@slow",                                 ""),
    fact("acl|load",                            2, "admin noscript loading stale",  "@admin @slow @dangerous",               ""),
    fact("acl|setuser",                        -3, "admin noscript loading stale",  "@admin @slow @dangerous",               ""),
    fact("acl|save",                            2, "admin noscript loading stale",  "@admin @slow @dangerous",               ""),
    fact("acl|whoami",                          2, "noscript loading stale",        "@slow",                                 ""),
    fact("acl|list",                            2, "admin noscript loading stale",  "@admin @slow @dangerous",               ""),
    fact("acl|users",                           2, "admin noscript loading stale",  "@admin @slow @dangerous",               ""),
    fact("acl|log",                            -2, "admin noscript loading stale",  "@admin @slow @dangerous",               ""),
    fact("client",                             -2, "",                              "@slow",                                 ""),
    fact("client|unpause",                      2, "admin noscript loading stale",  "@admin @slow @dangerous @connection",   ""),
    fact("client|no-evict",                     3, "admin noscript loading stale",  "@admin @slow @dangerous @connection",   ""),
    fact("client|id",                           2, "noscript loading stale",        "@slow @connection",                     ""),
    fact("client|info",                         2, "noscript loading stale",        "@slow @connection",                     "nondeterministic_output"),
    fact("client|kill",                        -3, "admin noscript loading stale",  "@admin @slow @dangerous @connection",   ""),
    fact("client|help",                         2, "loading stale",                 "@slow @connection",                     ""),
    fact("client|tracking",                    -3, "noscript loading stale",        "@slow @connection",                     ""),
    fact("client|reply",                        3, "noscript loading stale",        "@slow @connection",                     ""),
    fact("client|trackinginfo",                 2, "noscript loading stale",        "@slow @connection",                     ""),
    fact("client|setname",                      3, "noscript loading stale",        "@slow @connection",                     ""),
    fact("client|pause",                       -3, "admin noscript loading stale",  "@admin @slow @dangerous @connection",   ""),
    fact("client|getname",                      2, "noscript loading stale",        "@slow @connection",                     ""),
    fact("client|caching",                      3, "noscript loading stale",        "@slow @connection",                     ""),
    fact("client|list",                        -2, "admin noscript loading stale",  "@admin @slow @dangerous @connection",   "nondeterministic_output"),
    fact("client|getredir",                     2, "noscript loading stale",        "@slow @connection",                     ""),
    fact("client|unblock",                     -3, "admin noscript loading stale",  "@admin @slow @dangerous @connection",   ""),
    fact("subscribe",                          -2, "pubsub noscript loading stale", "@pubsub @slow",                         ""),
];

/// `COMMAND [COUNT | LIST | INFO [name ..] | DOCS [name ..] | GETKEYS ..]`.
pub(super) fn command(_: &mut Sentinel, _: u32, args: &[&[u8]], reply: &mut Reply<'_>) -> Answer {
    let Some((subcommand, rest)) = args.get(1..).and_then(|it| it.split_first()) else {
        let all: Vec<&Fact> = commands().collect();
        reply.array(all.len());
        all.into_iter().for_each(|it| write(it, reply));
        return Ok(Then::Send);
    };
    match lossy(subcommand).to_lowercase().as_str() {
        "count" if rest.is_empty() => reply.int(i64::try_from(commands().count()).unwrap_or(0)),
        "list" if rest.is_empty() => {
            reply.array(FACTS.len());
            FACTS.iter().for_each(|it| reply.bulk(it.name.as_bytes()));
        }
        "info" => {
            let names: Vec<&[u8]> = if rest.is_empty() {
                commands().map(|it| it.name.as_bytes()).collect()
            } else {
                rest.to_vec()
            };
            reply.array(names.len());
            for name in names {
                match FACTS.iter().find(|it| is(name, it.name)) {
                    Some(fact) => write(fact, reply),
                    None => reply.null_array(),
                }
            }
        }
        // Which commands there are is what tools ask for; their prose is the server's to tell.
        "docs" => reply.map(0),
        "getkeys" | "getkeysandflags" if rest.len() > 1 => return Err(ErrorKind::GetKeysNoKeys),
        "count" | "list" | "getkeys" | "getkeysandflags" => {
            return Err(ErrorKind::wrong_subcommand("COMMAND", subcommand));
        }
        _ => return Err(ErrorKind::unknown_subcommand("COMMAND", subcommand)),
    }
    Ok(Then::Send)
}

fn commands() -> impl Iterator<Item = &'static Fact> {
    FACTS.iter().filter(|it| !it.name.contains('|'))
}

fn write(fact: &Fact, reply: &mut Reply<'_>) {
    let start = format!("{}|", fact.name);
    let subcommands: Vec<&Fact> = FACTS.iter().filter(|it| it.name.starts_with(&start)).collect();
    reply.array(10);
    reply.bulk(fact.name.as_bytes());
    reply.int(fact.arity);
    words(fact.flags, reply);
    (0..3).for_each(|_| reply.int(0)); // none has keys
    words(fact.categories, reply);
    reply.array(fact.tips.split_whitespace().count());
    fact.tips.split_whitespace().for_each(|it| reply.bulk(it.as_bytes()));
    reply.array(0);
    reply.array(subcommands.len());
    subcommands.into_iter().for_each(|it| write(it, reply));
}

/// As a set of names where the protocol has sets.
fn words(words: &str, reply: &mut Reply<'_>) {
    reply.set(words.split_whitespace().count());
    words.split_whitespace().for_each(|it| reply.simple(it.as_bytes()));
}
