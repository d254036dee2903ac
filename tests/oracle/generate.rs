//! Random commands from a seed: a table of templates, and the bytes that fill them.
//!
//! The key space is small and spread over few databases, so that commands meet. Times to live are
//! either long past or far in the future and never drawn twice, so that no reply depends on the
//! instant at which one of the two servers ran a command.
//!
//! ```text
//!   KEY       one of the tokens of `Generator::token`     a|b   one of these
//!   EX_TTLS   two arguments in turn                       ?a    or nothing
//!   KEY+      one to four times                           word  itself, sometimes in odd case
//! ```

use crate::compare::Compare::{self, Encoding, Exact, Fields, Kind, MapKeys, Near, Unordered};
use crate::families::{self, FAMILIES, Row};
use ringfold::base::prng::Prng;

/// One command, and how its reply is judged; `silent` where CLIENT REPLY holds the reply back.
#[derive(Clone, Debug)]
pub struct Step {
    pub args: Vec<Vec<u8>>,
    pub compare: Compare,
    pub silent: bool,
}

/// What a batch does next.
pub enum Unit {
    Steps(Vec<Step>),
    /// A whole iteration with these further arguments, compared as sets.
    Scan(Vec<Vec<u8>>),
    /// Ends the connection.
    Quit,
}

/// Weight, how to compare, template.
#[rustfmt::skip] // One row, one line: a table should look like one.
const COMMANDS: &[Row] = &[
    // string
    (30, Exact, "SET KEY VAL ?EX_TTLS|PX_TTLMS|EXAT_ATS|PXAT_ATMS|KEEPTTL ?NX|XX ?GET"),
    (5,  Exact, "SET KEY VAL ?NX|XX|GET ?GET|KEEPTTL|NX|FOO ?EX_INT|PX_TTLMS|KEEPTTL"),
    (12, Exact, "GET KEY"),
    (4,  Exact, "GETSET KEY VAL"),
    (4,  Exact, "GETDEL KEY"),
    (8,  Exact, "GETEX KEY ?EX_TTLS|PX_TTLMS|EXAT_ATS|PXAT_ATMS|PERSIST"),
    (1,  Exact, "GETEX KEY EX|PX|PERSIST|KEEPTTL ?TTLS ?PERSIST"),
    (4,  Exact, "SETNX KEY VAL"),
    (4,  Exact, "SETEX KEY TTLS VAL"),
    (4,  Exact, "PSETEX KEY TTLMS VAL"),
    (6,  Exact, "APPEND KEY VAL"),
    (4,  Exact, "STRLEN KEY"),
    (6,  Exact, "GETRANGE KEY INT INT"),
    (2,  Exact, "SUBSTR KEY INT INT"),
    (6,  Exact, "SETRANGE KEY OFFSET VAL"),
    (6,  Exact, "MGET KEY+"),
    (5,  Exact, "MSET KEY_VAL+"),
    (4,  Exact, "MSETNX KEY_VAL+"),
    (5,  Exact, "INCR KEY"),
    (4,  Exact, "DECR KEY"),
    (6,  Exact, "INCRBY KEY INT"),
    (5,  Exact, "DECRBY KEY INT"),
    (8,  Exact, "INCRBYFLOAT KEY FLOAT"),
    (4,  Exact, "LCS KEY KEY ?LEN"),
    (5,  Exact, "LCS KEY KEY IDX ?MINMATCHLEN_INT ?WITHMATCHLEN ?LEN"),
    // generic
    (5,  Exact, "COPY KEY KEY ?DB_DB ?REPLACE"),
    (8,  Exact, "DEL KEY+"),
    (4,  Exact, "UNLINK KEY+"),
    (6,  Exact, "EXISTS KEY+"),
    (3,  Exact, "TOUCH KEY+"),
    (8,  Exact, "EXPIRE KEY TTLS ?NX|XX|GT|LT"),
    (6,  Exact, "PEXPIRE KEY TTLMS ?NX|XX|GT|LT"),
    (5,  Exact, "EXPIREAT KEY ATS ?NX|XX|GT|LT"),
    (5,  Exact, "PEXPIREAT KEY ATMS ?NX|XX|GT|LT"),
    (2,  Exact, "EXPIRE KEY TTLS NX|XX|GT|LT|FOO NX|XX|GT|LT"),
    (6,  Near(2), "TTL KEY"),
    (6,  Near(3_000), "PTTL KEY"),
    (4,  Near(2), "EXPIRETIME KEY"),
    (4,  Near(3_000), "PEXPIRETIME KEY"),
    (4,  Exact, "PERSIST KEY"),
    (4,  Unordered, "KEYS PATTERN"),
    (5,  Exact, "MOVE KEY DB"),
    (4,  Encoding, "OBJECT ENCODING KEY"),
    (2,  Kind,  "OBJECT REFCOUNT KEY"),
    (2,  Near(60), "OBJECT IDLETIME KEY"),
    (1,  Exact, "OBJECT FREQ KEY"),
    (1,  Kind,  "OBJECT|CLIENT|CONFIG|COMMAND|MEMORY|DEBUG HELP"),
    (2,  Kind,  "RANDOMKEY"),
    (6,  Exact, "RENAME KEY KEY"),
    (5,  Exact, "RENAMENX KEY KEY"),
    (2,  Kind,  "SCAN 0 ?MATCH_PATTERN ?COUNT_INT ?TYPE_string|hash|nope"),
    (1,  Exact, "SCAN abc|-|1.5|0x ?COUNT_0"),
    (1,  Exact, "SCAN 0 COUNT|MATCH|TYPE|FOO|COUNT_0|COUNT_-1|COUNT_abc"),
    (6,  Exact, "TYPE KEY"),
    (1,  Exact, "WAIT 0 0|1|5"),
    (1,  Exact, "WAIT abc|-1|0 -1|abc"),
    // connection
    (1,  Exact, "AUTH VAL"),
    (1,  Exact, "AUTH default|nobody VAL ?VAL"),
    (3,  Exact, "ECHO VAL"),
    (4,  Exact, "PING ?VAL"),
    (10, Exact, "SELECT DB"),
    (2,  MapKeys, "HELLO 2|3|3|3"),
    (1,  MapKeys, "HELLO ?2|3|4|1|abc|-1 ?AUTH_default_VAL|AUTH_x_y|AUTH_x|SETNAME_NAME|FOO"),
    (1,  Exact, "RESET"),
    (2,  Exact, "CLIENT SETNAME NAME"),
    (2,  Exact, "CLIENT GETNAME"),
    (1,  Kind,  "CLIENT ID"),
    (1,  Fields, "CLIENT INFO"),
    (1,  Fields, "CLIENT LIST ?TYPE_normal|TYPE_nope"),
    (1,  Exact, "CLIENT LIST TYPE pubsub|master|replica|slave"),
    (1,  Exact, "CLIENT LIST ID 0|abc|-1|99999999"),
    (1,  Exact, "CLIENT KILL 1.2.3.4:5|abc|ID_abc|ID_-1|ID_0|TYPE_pubsub|TYPE_nope|FOO_BAR"),
    (1,  Exact, "CLIENT KILL ADDR|LADDR|USER|SKIPME ?1.2.3.4:5|nobody|yes|maybe ?ID ?99999999"),
    (1,  Exact, "CLIENT PAUSE abc|-1|1.5 ?WRITE|READ"),
    (1,  Exact, "CLIENT UNPAUSE"),
    (1,  Exact, "CLIENT REPLY ON|maybe"),
    (1,  Exact, "CLIENT NO-EVICT on|off|maybe"),
    (1,  Exact, "CLIENT UNBLOCK 0|99999999|abc ?TIMEOUT|ERROR|FOO"),
    (1,  Exact, "CLIENT GETREDIR"),
    (1,  Exact, "CLIENT TRACKINGINFO"),
    // server
    (5,  Exact, "DBSIZE"),
    (1,  Exact, "FLUSHDB ?SYNC|ASYNC|FOO"),
    (3,  Exact, "SWAPDB DB DB"),
    (1,  Kind,  "TIME"),
    (1,  Kind,  "LASTSAVE"),
    (1,  Kind,  "ROLE"),
    (1,  Kind,  "LOLWUT"),
    (1,  Kind,  "MEMORY USAGE KEY ?SAMPLES_INT"),
    (1,  Fields, "DEBUG OBJECT KEY"),
    (1,  Kind,  "INFO ?server|clients|memory|stats|replication|cpu|keyspace|nope|everything"),
    (2,  Exact, "CONFIG GET PARAMETER"),
    (1,  Exact, "CONFIG GET nope|NOPE*| ?nope"),
    (1,  Exact, "CONFIG SET nope|maxmemory|timeout|hz|databases|port abc|-1|1x"),
    (1,  Exact, "CONFIG SET maxmemory-policy nope|noeviction"),
    (1,  Exact, "CONFIG SET timeout 0 nope|timeout 1"),
    (1,  Exact, "CONFIG RESETSTAT"),
    (1,  Kind,  "COMMAND COUNT"),
    (1,  Kind,  "COMMAND LIST ?FILTERBY_pattern_se*|FILTERBY_ACLCAT_read|FILTERBY_MODULE_x"),
    (1,  Exact, "COMMAND INFO nope"),
    (1,  Exact, "COMMAND DOCS nope"),
    (2,  Exact, "COMMAND GETKEYS GET|DEL|EXISTS|SET|MGET|COPY|RENAME|PING|nope KEY ?KEY"),
    (1,  Exact, "COMMAND GETKEYS MSET|MSETNX KEY_VAL+"),
    (1,  Exact, "COMMAND GETKEYSANDFLAGS GET|DEL|SET|COPY|RENAME|GETEX KEY ?KEY"),
    // neither
    (2,  Exact, "UNKNOWN VAL ?VAL ?KEY ?VAL"),
    (2,  Exact, "UNKNOWN"),
    (2,  Exact, "OBJECT|CLIENT|CONFIG|COMMAND|MEMORY|DEBUG UNKNOWN ?VAL"),
    (1,  Exact, "OBJECT|CLIENT|CONFIG|MEMORY|DEBUG"),
];

/// Whose arguments are left as they are: a wrong number there would wait, or cost a gigabyte.
const NEVER_BENT: &[&str] = &[
    "WAIT",
    "CLIENT",
    "CONFIG",
    "SCAN",
    "HSCAN",
    "SSCAN",
    "ZSCAN",
    "DEBUG",
    "FLUSHDB",
    "COMMAND",
    "SETBIT",
    "BITFIELD",
    "XAUTOCLAIM",
    "BLPOP",
    "BRPOP",
    "BLMOVE",
    "BRPOPLPUSH",
    "BLMPOP",
    "RESTORE",
    "SORT",
    "SORT_RO",
    "BZPOPMIN",
    "BZPOPMAX",
    "BZMPOP",
    // A real server draws as many as it is asked for.
    "HRANDFIELD",
    "SRANDMEMBER",
    "ZRANDMEMBER",
    // 7.2 knows one more argument.
    "ZRANK",
    "ZREVRANK",
];

/// What is not queued: it ends the queue, or speaks another protocol from here on.
const NEVER_QUEUED: &[&str] = &["RESET", "HELLO", "CLIENT"];

/// What such keys hold has one score, and must keep it.
const KEYS_NEVER_BENT: &[u8] = b"lex";

/// Parameters whose value both servers know and start with.
const CONFIGS: &[&str] = &[
    "maxmemory",
    "maxmemory-policy",
    "timeout",
    "tcp-keepalive",
    "databases",
    "appendonly",
    "appendfsync",
    "repl-timeout",
    "repl-ping-replica-period",
    "min-replicas-to-write",
    "min-replicas-max-lag",
    "slowlog-log-slower-than",
    "slowlog-max-len",
    "save",
    "requirepass",
    "masterauth",
    "notify-keyspace-events",
    "proto-max-bulk-len",
    "replica-read-only",
    "replica-priority",
    "MAXMEMORY",
    "supervised",
    "masteruser",
    "rdbchecksum",
];

/// Numbers at which programs go wrong. No small positive one: it might be a time to live.
const EDGES: &[&str] = &[
    "0",
    "-1",
    "-0",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "2147483648",
    "-2147483649",
    "4294967296",
    "536870912",
    "1000000000000000",
    "9223372036854775",
    "9223372036854776",
    "",
    " 7000",
    "7000 ",
    "+7000",
    "07000",
    "7000.0",
    "7e9",
    "0x7000",
    "abc",
    "nan",
    "inf",
    "1e400",
    "-",
];

const FLOATS: &[&str] = &[
    "0",
    "1",
    "-1",
    "0.1",
    "-0.1",
    "1.5",
    "3.0e3",
    "5.0e-5",
    "1e17",
    "123456789.123456789",
    "inf",
    "-inf",
    "nan",
    "1e400",
    "-1e400",
    "1e4932",
    "abc",
    "",
    " 1",
    "1 ",
    "0x1p3",
    "1.",
    ".5",
    "1e",
    "10000000000000000000000",
    "0.00000000000000001",
    "9007199254740993",
    "2.718281828459045",
];

pub struct Generator {
    prng: Prng,
    /// Seconds since the epoch when the run began.
    base: u64,
    /// Times to live handed out so far.
    ttls: u64,
    weight: u64,
}

impl Generator {
    pub fn new(seed: u64, base: u64) -> Self {
        let weight = rows().map(|it| u64::from(it.0)).sum();
        Self { prng: Prng::new(seed), base, ttls: 0, weight }
    }

    /// Below `bound`, from the one sequence that the seed gives.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.prng.below(bound as u64)).unwrap()
    }

    pub fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.prng.chance(numerator, denominator)
    }

    pub fn unit(&mut self) -> Unit {
        match self.prng.below(2_000) {
            0..=9 => Unit::Scan(self.scan_options()),
            10..=14 => Unit::Quit,
            15..=20 => Unit::Steps(self.silence()),
            21 => Unit::Steps(vec![plain(&["FLUSHALL"])]),
            // Rare: a stock server may look at its clock only ten times a second.
            22 => Unit::Steps(vec![plain(&["WAIT", "1", "1"])]),
            23..=62 => Unit::Steps(self.transaction()),
            _ => Unit::Steps(vec![self.step()]),
        }
    }

    /// MULTI to EXEC, of commands whose replies are compared to the byte; some of it guarded by WATCH, and
    /// now and then something in between that changes what is watched, or that is refused.
    fn transaction(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.chance(1, 2) {
            let mut args = Vec::new();
            "WATCH KEY+".split(' ').for_each(|word| self.word(word, &mut args));
            steps.push(Step { args, compare: Exact, silent: false });
            if self.chance(1, 2) {
                steps.push(self.exact_step());
            }
        }
        if self.chance(1, 8) {
            steps.push(plain(&["UNWATCH"]));
        }
        steps.push(plain(&["MULTI"]));
        for _ in 0..self.below(6) {
            steps.push(self.exact_step());
        }
        if self.chance(1, 10) {
            steps.push(plain(&["MULTI"]));
        }
        steps.push(plain(&[if self.chance(1, 8) { "DISCARD" } else { "EXEC" }]));
        if self.chance(1, 10) {
            steps.push(plain(&[if self.chance(1, 2) { "DISCARD" } else { "EXEC" }]));
        }
        steps
    }

    fn exact_step(&mut self) -> Step {
        loop {
            let step = self.step();
            let queued = |it: &&str| step.args[0].eq_ignore_ascii_case(it.as_bytes());
            if step.compare == Exact && !NEVER_QUEUED.iter().any(queued) {
                return step;
            }
        }
    }

    fn step(&mut self) -> Step {
        let mut at = self.prng.below(self.weight);
        let row = rows().find(|row| {
            let here = at < u64::from(row.0);
            at = at.saturating_sub(u64::from(row.0));
            here
        });
        let (_, compare, template) = row.expect("the weights add up");
        let mut args = Vec::new();
        for word in template.split(' ') {
            self.word(word, &mut args);
        }
        // 7.0.15 does by halves what it then refuses; later ones, and ours, look at all of it first.
        let half_done = args[0].eq_ignore_ascii_case(b"HELLO") && args.len() > 2;
        let waits = args.iter().any(|it| it.eq_ignore_ascii_case(b"BLOCK"));
        let straight = NEVER_BENT.iter().any(|it| args[0].eq_ignore_ascii_case(it.as_bytes()))
            || args.get(1).is_some_and(|key| key.starts_with(KEYS_NEVER_BENT));
        if !half_done && !waits && !straight {
            self.bend(&mut args);
        }
        self.avoid_the_past(&mut args);
        Step { args, compare: *compare, silent: false }
    }

    /// A SET with an instant that has passed stores a key that DBSIZE counts until it is swept:
    /// nobody can say for how long. Such an instant becomes an error here; `directed.rs` has it.
    fn avoid_the_past(&self, args: &mut [Vec<u8>]) {
        if !args[0].eq_ignore_ascii_case(b"SET") {
            return;
        }
        for at in 3..args.len().saturating_sub(1) {
            let (word, instant) = (args[at].to_ascii_uppercase(), args[at + 1].as_slice());
            let number = std::str::from_utf8(instant).ok().and_then(|it| it.parse::<u64>().ok());
            let past = match word.as_slice() {
                b"EXAT" => number.is_some_and(|it| it <= self.base),
                b"PXAT" => number.is_some_and(|it| it <= self.base * 1_000),
                _ => false,
            };
            if past {
                args[at + 1] = b"0".to_vec();
            }
        }
    }

    /// One word of a template.
    fn word(&mut self, word: &str, args: &mut Vec<Vec<u8>>) {
        if let Some(optional) = word.strip_prefix('?') {
            if self.prng.chance(1, 2) {
                self.word(optional, args);
            }
            return;
        }
        if let Some(repeated) = word.strip_suffix('+') {
            for _ in 0..=self.prng.below(4) {
                self.word(repeated, args);
            }
            return;
        }
        let choices: Vec<&str> = word.split('|').collect();
        for token in self.pick(&choices).split('_') {
            let arg = self.token(token);
            args.push(arg);
        }
    }

    fn token(&mut self, token: &str) -> Vec<u8> {
        if let Some(word) = families::token(token, &mut |bound| self.below(bound)) {
            return word;
        }
        match token {
            "KEY" => self.key(),
            "VAL" => self.value(),
            "INT" if self.prng.chance(1, 6) => self.pick(EDGES).into(),
            "INT" => (self.prng.below(41) as i64 - 20).to_string().into(),
            "OFFSET" if self.prng.chance(1, 6) => self.pick(EDGES).into(),
            "OFFSET" => self.prng.below(120).to_string().into(),
            "FLOAT" => self.pick(FLOATS).into(),
            "DB" if self.prng.chance(1, 20) => {
                self.pick(&["15", "16", "-1", "abc", "", "9223372036854775808"]).into()
            }
            "DB" => self.prng.below(3).to_string().into(),
            "TTLS" | "TTLMS" | "ATS" | "ATMS" if self.prng.chance(1, 8) => self.pick(EDGES).into(),
            "TTLS" => self.ttl().to_string().into(),
            "TTLMS" => (self.ttl() * 1_000).to_string().into(),
            "ATS" => (self.base + self.ttl() + 500).to_string().into(),
            "ATMS" => ((self.base + self.ttl() + 500) * 1_000).to_string().into(),
            "PATTERN" => self
                .pick(&[
                    "*", "k*", "k?", "k[1-5]", "k[^1-5]", "*1*", "{t}*", "\\k1", "[", "nope", "",
                    "k[5-1]",
                ])
                .into(),
            "NAME" => self.pick(&["", "me", "a b", "line\n", "x-y_z", "\u{7f}"]).into(),
            "PARAMETER" => self.pick(CONFIGS).into(),
            "UNKNOWN" => self.unknown(),
            word if self.prng.chance(1, 10) => {
                let odd = |c: char| if self.prng.chance(1, 2) { c.to_ascii_lowercase() } else { c };
                word.chars().map(odd).collect::<String>().into()
            }
            word => word.into(),
        }
    }

    fn key(&mut self) -> Vec<u8> {
        match self.prng.below(24) {
            n @ 0..=15 => format!("k{n}").into(),
            n @ 16..=20 => format!("{{t}}{n}").into(),
            21 => b"\0\r\nodd\xff".to_vec(),
            22 => Vec::new(),
            _ => b"{".to_vec(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.prng.below(10) {
            0..=2 => (self.prng.below(2_000) as i64 - 1_000).to_string().into(),
            3 => self.pick(EDGES).into(),
            4 => self.pick(FLOATS).into(),
            // Around the longest string that shares its record with its header.
            5 => vec![b'e'; 42 + self.below(5)],
            6 => (0..self.below(300)).map(|_| self.byte(b'a', 3)).collect(),
            7 => (0..self.below(12)).map(|_| self.byte(0, 256)).collect(),
            _ => {
                self.pick(&["", "hello", "ohmytext", "mynewtext", "\r\n", "a b", "'", "\""]).into()
            }
        }
    }

    fn byte(&mut self, first: u8, kinds: usize) -> u8 {
        first.wrapping_add(u8::try_from(self.below(kinds)).unwrap())
    }

    /// A name that no command has, with bytes that an error text must not pass on.
    fn unknown(&mut self) -> Vec<u8> {
        let mut name =
            self.pick(&["nope", "GETT", "", "a\r\nb", "\0", "x y", "'", "\u{fc}"]).into();
        if self.prng.chance(1, 4) {
            let length = 100 + self.below(60);
            Vec::resize(&mut name, length, b'n');
        }
        if name.is_empty() { b"q".to_vec() } else { name }
    }

    /// Seconds from now, a different number each time, at least 1,000 apart from all others.
    fn ttl(&mut self) -> u64 {
        self.ttls += 1;
        // An odd factor modulo a power of two: every number once, in no order.
        (self.ttls * 0x9_e377 % (1 << 20) + 1) * 1_000
    }

    /// Sometimes an argument too few, too many, or quite another one.
    fn bend(&mut self, args: &mut Vec<Vec<u8>>) {
        // These, bent, leave the outcome to chance, or hold all clients back for ever.
        let is = |at: usize, word: &str| {
            args.get(at).is_some_and(|it| it.eq_ignore_ascii_case(word.as_bytes()))
        };
        if is(0, "SPOP") || is(1, "PAUSE") {
            return;
        }
        let last = args.len() - 1;
        match self.prng.below(60) {
            0 if last > 0 => drop(args.remove(1 + self.below(last))),
            1 => args.push(self.pick(&["x", "", "NX", "GET", "0"]).into()),
            2 if last > 0 => {
                let at = 1 + self.below(last);
                args[at] = self.pick(EDGES).into();
            }
            _ => {}
        }
    }

    /// Replies switched off for a while; both servers must come back in step.
    fn silence(&mut self) -> Vec<Step> {
        let hush = |mut step: Step| {
            step.silent = true;
            step
        };
        let quiet = |generator: &mut Self| {
            let key = generator.key();
            let args = vec![b"APPEND".to_vec(), key, b"q".to_vec()];
            hush(Step { args, compare: Exact, silent: true })
        };
        if self.prng.chance(1, 2) {
            return vec![hush(plain(&["CLIENT", "REPLY", "SKIP"])), quiet(self)];
        }
        let mut steps = vec![hush(plain(&["CLIENT", "REPLY", "OFF"]))];
        (0..self.prng.below(4)).for_each(|_| steps.push(quiet(self)));
        steps.push(plain(&["CLIENT", "REPLY", "ON"]));
        steps
    }

    fn scan_options(&mut self) -> Vec<Vec<u8>> {
        let mut args = Vec::new();
        for word in
            ["?MATCH_PATTERN", "?COUNT_1|COUNT_3|COUNT_1000", "?TYPE_string|TYPE_STRING|TYPE_list"]
        {
            self.word(word, &mut args);
        }
        args
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// The rows of this file and of all families.
fn rows() -> impl Iterator<Item = &'static Row> {
    COMMANDS.iter().chain(FAMILIES.iter().copied().flatten())
}

pub fn plain(args: &[&str]) -> Step {
    let args = args.iter().map(|it| it.as_bytes().to_vec()).collect();
    Step { args, compare: Exact, silent: false }
}
