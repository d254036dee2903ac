//! The facts of the commands that the node runs: connection, server and replication commands, and
//! those that visit every core.
//!
//! Facts only. `node/` ties each to its function: `Command::new(node_rows::PING, ping)`, and for a
//! container `Command::container(node_rows::CLIENT, client, &[Command::new(node_rows::CLIENT_ID, id)])`.
//! A row that is not tied is not served and not listed.
//!
//! Not here: commands that work on keys of one shard (`engine/`), which have rows and functions in
//! one place.

use crate::command::arguments::{Argument, Kind, VALUE};
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, Flags, Group, Hop, KeyFlags, KeySpec, Spec};

const NONE: Flags = Flags::NONE;
const LISTENS: Flags = CONNECTION.and(Flags::PUBSUB);
const PUBLISHES: Flags = ANYTIME.and(FAST).and(Flags::PUBSUB).and(Flags::MAY_REPLICATE);
const TELLS: Flags = ANYTIME.and(Flags::PUBSUB);
/// A shard channel has a slot as a key has.
const SHARD_CHANNEL: KeySpec = KeySpec::at(1, KeyFlags::NOT_KEY);
const FAST: Flags = Flags::FAST;
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = WRITE.and(FAST);
/// Whatever the state of the data.
const ANYTIME: Flags = Flags::LOADING.and(Flags::STALE);
/// About the connection it came by.
const CONNECTION: Flags = ANYTIME.and(Flags::NOSCRIPT);
/// Opens, changes or ends a session, so it comes before authentication too.
const SESSION: Flags = CONNECTION.and(FAST).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);
/// About what its session queues and watches.
const SESSION_DATA: Flags = CONNECTION.and(FAST).and(Flags::ALLOW_BUSY);
/// For whoever runs the server.
const OPERATOR: Flags = CONNECTION.and(Flags::ADMIN);
/// What each node of a cluster has of its own.
const EACH_NODE: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
/// As `EACH_NODE`, of each shard.
const EACH_SHARD: &[&str] =
    &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];
const SLOW_WITH_MUCH_MEMORY: &str = "Depends on how much memory is allocated, could be slow";
/// Reads or replaces the whole data set.
const DISK: Flags = Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING);

/// Commands of the cluster: what tells, what only an operator may ask, what changes something.
const CLUSTER_TELL: Flags = Flags::STALE;
const CLUSTER_ADMIN: Flags = Flags::ADMIN.and(Flags::STALE);
const CLUSTER_CHANGE: Flags = CLUSTER_ADMIN.and(Flags::NO_ASYNC_LOADING);

/// Runs a script: which keys it touches, only the script knows.
const SCRIPTS: Flags = Flags::NOSCRIPT
    .and(Flags::STALE)
    .and(Flags::SKIP_MONITOR)
    .and(Flags::NO_MANDATORY_KEYS)
    .and(Flags::MOVABLEKEYS);
const SCRIPT_KEYS: KeySpec =
    KeySpec::at(2, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE)).counted(0, 1, 1);
const MOVES: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE);
const SCRIPT_KEYS_RO: KeySpec = KeySpec::at(2, KeyFlags::RO.and(KeyFlags::ACCESS)).counted(0, 1, 1);
const NUMKEYS: Argument = Argument::integer("numkeys");
const SCRIPT_KEY: Argument = Argument::key("key", 0).optional().multiple();
const SCRIPT_ARG: Argument = Argument::string("arg").optional().multiple();
const ALL_SHARDS_SUCCEED: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const ALL_NODES_SUCCEED: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// Defines each row as a constant, and `ALL` of them with their sub-commands.
macro_rules! rows {
    ($($name:ident = $spec:expr $(=> { $($sub:ident = $sub_spec:expr;)* })?;)*) => {
        $(pub const $name: Spec = $spec; $($(pub const $sub: Spec = $sub_spec;)*)?)*
        /// Every row of this file, for tests of the facts.
        pub const ALL: &[(Spec, &[Spec])] = &[$(($name, &[$($($sub),*)?])),*];
    };
}

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
rows! {
    ACL = Spec::new("ACL", AtLeast(2), NONE, &[])
        .about(Group::Server, "6.0.0", "", "Commands about users and what they may do") => {
        ACL_CAT = Spec::new("CAT", AtLeast(2), CONNECTION, &[])
            .about(Group::Server, "6.0.0", "O(1)", "Lists categories, or the commands of one")
            .takes(&[Argument::string("categoryname").optional()]);
        ACL_DELUSER = Spec::new("DELUSER", AtLeast(3), OPERATOR, &[])
            .about(Group::Server, "6.0.0", "O(1)", "Removes users and closes their connections")
            .takes(&[Argument::string("username").multiple()]);
        ACL_DRYRUN = Spec::new("DRYRUN", AtLeast(4), OPERATOR, &[])
            .about(Group::Server, "7.0.0", "O(1)", "Whether a user might run a command, without running it")
            .takes(&[Argument::string("username"), Argument::string("command"), Argument::string("arg").optional().multiple()]);
        ACL_GENPASS = Spec::new("GENPASS", AtLeast(2), CONNECTION, &[])
            .about(Group::Server, "6.0.0", "O(1)", "Makes a password that nobody guesses")
            .takes(&[Argument::integer("bits").optional()]);
        ACL_GETUSER = Spec::new("GETUSER", Exactly(3), OPERATOR, &[])
            .about(Group::Server, "6.0.0", "O(N)", "The rules of one user")
            .takes(&[Argument::string("username")]);
        ACL_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Server, "6.0.0", "O(1)", "Lists the sub-commands");
        ACL_LIST = Spec::new("LIST", Exactly(2), OPERATOR, &[])
            .about(Group::Server, "6.0.0", "O(N)", "The rules of all users, as lines of a file");
        ACL_LOAD = Spec::new("LOAD", Exactly(2), OPERATOR, &[])
            .about(Group::Server, "6.0.0", "O(N)", "Reads the users anew from their file");
        ACL_LOG = Spec::new("LOG", AtLeast(2), OPERATOR, &[])
            .about(Group::Server, "6.0.0", "O(N)", "Who was refused what lately")
            .takes(&[Argument::one_of("operation", &[
                Argument::integer("count"),
                Argument::word("reset", "RESET"),
            ]).optional()]);
        ACL_SAVE = Spec::new("SAVE", Exactly(2), OPERATOR, &[])
            .about(Group::Server, "6.0.0", "O(N)", "Writes the users into their file");
        ACL_SETUSER = Spec::new("SETUSER", AtLeast(3), OPERATOR, &[])
            .about(Group::Server, "6.0.0", "O(N)", "Makes a user, or changes one")
            .takes(&[Argument::string("username"), Argument::string("rule").optional().multiple()]);
        ACL_USERS = Spec::new("USERS", Exactly(2), OPERATOR, &[])
            .about(Group::Server, "6.0.0", "O(N)", "The names of all users");
        ACL_WHOAMI = Spec::new("WHOAMI", Exactly(2), CONNECTION, &[])
            .about(Group::Server, "6.0.0", "O(1)", "The user of this connection");
    };
    AUTH = Spec::new("AUTH", AtLeast(2), SESSION, &[])
        .about(Group::Connection, "1.0.0", "O(N)", "Authenticates the connection")
        .takes(&[
            Argument::string("username").since("6.0.0").optional(),
            Argument::string("password"),
        ]);
    DISCARD = Spec::new("DISCARD", Exactly(1), SESSION_DATA, &[])
        .about(Group::Transactions, "2.0.0", "O(N), when N is the number of queued commands", "Forgets a transaction");
    EXEC = Spec::new("EXEC", Exactly(1), CONNECTION.and(Flags::SKIP_SLOWLOG), &[])
        .about(Group::Transactions, "1.2.0", "Depends on commands in the transaction", "Runs a transaction");
    MULTI = Spec::new("MULTI", Exactly(1), SESSION_DATA, &[])
        .about(Group::Transactions, "1.2.0", "O(1)", "Begins a transaction");
    UNWATCH = Spec::new("UNWATCH", Exactly(1), SESSION_DATA, &[])
        .about(Group::Transactions, "2.2.0", "O(1)", "Forgets all watched keys");
    WATCH = Spec::new("WATCH", AtLeast(2), SESSION_DATA, const { &[KeySpec::at(1, KeyFlags::RO).to(-1, 1)] })
        .about(Group::Transactions, "2.2.0", "O(1) for every key.", "Lets the next EXEC run only if these keys have not changed")
        .takes(&[Argument::key("key", 0).multiple()]);
    BGREWRITEAOF = Spec::new("BGREWRITEAOF", Exactly(1), DISK, &[])
        .about(Group::Server, "1.0.0", "O(1)", "Rewrites the append-only file in the background");
    BGSAVE = Spec::new("BGSAVE", AtLeast(1), DISK, &[])
        .about(Group::Server, "1.0.0", "O(1)", "Starts a snapshot to disk in the background")
        .takes(&[Argument::word("schedule", "SCHEDULE").since("3.2.2").optional()]);
    CLIENT = Spec::new("CLIENT", AtLeast(2), NONE, &[])
        .about(Group::Connection, "2.4.0", "", "Commands about connections")
        .acl(Categories::NONE) => {
        CLIENT_GETNAME = Spec::new("GETNAME", Exactly(2), CONNECTION, &[])
            .about(Group::Connection, "2.6.9", "O(1)", "This connection's name");
        CLIENT_CACHING = Spec::new("CACHING", Exactly(3), CONNECTION, &[])
            .about(Group::Connection, "6.0.0", "O(1)", "Says whether the keys of the next command are tracked")
            .takes(&[Argument::one_of("mode", &[Argument::word("yes", "YES"), Argument::word("no", "NO")])]);
        CLIENT_GETREDIR = Spec::new("GETREDIR", Exactly(2), CONNECTION, &[])
            .about(Group::Connection, "6.0.0", "O(1)", "Which client gets the invalidations of this one");
        CLIENT_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Connection, "5.0.0", "O(1)", "Lists the sub-commands");
        CLIENT_ID = Spec::new("ID", Exactly(2), CONNECTION, &[])
            .about(Group::Connection, "5.0.0", "O(1)", "This connection's number");
        CLIENT_INFO = Spec::new("INFO", Exactly(2), CONNECTION, &[])
            .about(Group::Connection, "6.2.0", "O(1)", "Describes this connection")
            .tips(&["nondeterministic_output"]);
        CLIENT_KILL = Spec::new("KILL", AtLeast(3), OPERATOR, &[])
            .about(Group::Connection, "2.4.0", "O(N)", "Closes connections")
            .takes(&[
                Argument::one_of("filter", &[
                    Argument::string("ip:port").deprecated_since("2.8.12"),
                    Argument::one_of("new-format", &[
                        Argument::integer("client-id").token("ID").since("2.8.12").optional(),
                        Argument::one_of("normal_master_slave_pubsub", &[
                            Argument::word("normal", "NORMAL"),
                            Argument::word("master", "MASTER").since("3.2.0"),
                            Argument::word("slave", "SLAVE"),
                            Argument::word("replica", "REPLICA").since("5.0.0"),
                            Argument::word("pubsub", "PUBSUB"),
                        ]).token("TYPE").since("2.8.12").optional(),
                        Argument::string("username").token("USER").optional(),
                        Argument::string("ip:port").token("ADDR").optional(),
                        Argument::string("ip:port").token("LADDR").since("6.2.0").optional(),
                        Argument::string("yes/no").token("SKIPME").optional(),
                    ]).multiple(),
                ]),
            ]);
        CLIENT_LIST = Spec::new("LIST", AtLeast(2), OPERATOR, &[])
            .about(Group::Connection, "2.4.0", "O(N)", "Describes the open connections")
            .tips(&["nondeterministic_output"])
            .takes(&[
                Argument::one_of("normal_master_replica_pubsub", &[
                    Argument::word("normal", "NORMAL"),
                    Argument::word("master", "MASTER"),
                    Argument::word("replica", "REPLICA"),
                    Argument::word("pubsub", "PUBSUB"),
                ]).token("TYPE").since("5.0.0").optional(),
                Argument::block("id", &[Argument::integer("client-id").multiple()]).token("ID").since("6.2.0").optional(),
            ]);
        CLIENT_NO_EVICT = Spec::new("NO-EVICT", Exactly(3), OPERATOR, &[])
            .about(Group::Connection, "7.0.0", "O(1)", "Keeps this connection when client memory is short")
            .takes(&[
                Argument::one_of("enabled", &[Argument::word("on", "ON"), Argument::word("off", "OFF")]),
            ]);
        CLIENT_NO_TOUCH = Spec::new("NO-TOUCH", Exactly(3), CONNECTION, &[])
            .about(Group::Connection, "7.2.0", "O(1)", "Lets this connection's commands leave the access times of keys alone")
            .takes(&[
                Argument::one_of("enabled", &[Argument::word("on", "ON"), Argument::word("off", "OFF")]),
            ]);
        CLIENT_PAUSE = Spec::new("PAUSE", AtLeast(3), OPERATOR, &[])
            .about(Group::Connection, "2.9.50", "O(1)", "Holds back the commands of clients")
            .takes(&[
                Argument::integer("timeout"),
                Argument::one_of("mode", &[Argument::word("write", "WRITE"), Argument::word("all", "ALL")]).since("6.2.0").optional(),
            ]);
        CLIENT_REPLY = Spec::new("REPLY", Exactly(3), CONNECTION, &[])
            .about(Group::Connection, "3.2.0", "O(1)", "Turns replies off or on")
            .takes(&[
                Argument::one_of("on_off_skip", &[
                    Argument::word("on", "ON"),
                    Argument::word("off", "OFF"),
                    Argument::word("skip", "SKIP"),
                ]),
            ]);
        CLIENT_SETINFO = Spec::new("SETINFO", Exactly(4), CONNECTION, &[])
            .about(Group::Connection, "7.2.0", "O(1)", "Names the client's library or its version")
            .takes(&[
                Argument::one_of("attr", &[
                    Argument::string("libname").token("LIB-NAME"),
                    Argument::string("libver").token("LIB-VER"),
                ]),
            ]);
        CLIENT_SETNAME = Spec::new("SETNAME", Exactly(3), CONNECTION, &[])
            .about(Group::Connection, "2.6.9", "O(1)", "Names this connection")
            .takes(&[Argument::string("connection-name")]);
        CLIENT_TRACKING = Spec::new("TRACKING", AtLeast(3), CONNECTION, &[])
            .about(Group::Connection, "6.0.0", "O(1)", "Has the server tell when keys change that this client has read")
            .takes(&[
                Argument::one_of("status", &[Argument::word("on", "ON"), Argument::word("off", "OFF")]),
                Argument::integer("client-id").token("REDIRECT").optional(),
                Argument::string("prefix").token("PREFIX").optional().multiple(),
                Argument::word("bcast", "BCAST").optional(),
                Argument::word("optin", "OPTIN").optional(),
                Argument::word("optout", "OPTOUT").optional(),
                Argument::word("noloop", "NOLOOP").optional(),
            ]);
        CLIENT_TRACKINGINFO = Spec::new("TRACKINGINFO", Exactly(2), CONNECTION, &[])
            .about(Group::Connection, "6.2.0", "O(1)", "How this connection is tracked");
        CLIENT_UNBLOCK = Spec::new("UNBLOCK", AtLeast(3), OPERATOR, &[])
            .about(Group::Connection, "5.0.0", "O(log N)", "Ends the wait of a blocked client")
            .takes(&[
                Argument::integer("client-id"),
                Argument::one_of("timeout_error", &[Argument::word("timeout", "TIMEOUT"), Argument::word("error", "ERROR")]).optional(),
            ]);
        CLIENT_UNPAUSE = Spec::new("UNPAUSE", Exactly(2), OPERATOR, &[])
            .about(Group::Connection, "6.2.0", "O(N)", "Lets the commands of paused clients go on");
    };
    CLUSTER = Spec::new("CLUSTER", AtLeast(2), NONE, &[])
        .about(Group::Cluster, "3.0.0", "", "Commands about the cluster") => {
        CLUSTER_ADDSLOTS = Spec::new("ADDSLOTS", AtLeast(3), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(N)", "Makes slots this node's")
            .takes(&[Argument::integer("slot").multiple()]);
        CLUSTER_ADDSLOTSRANGE = Spec::new("ADDSLOTSRANGE", AtLeast(4), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "7.0.0", "O(N)", "Makes ranges of slots this node's")
            .takes(&[Argument::block("start-slot_end-slot", &[Argument::integer("start-slot"), Argument::integer("end-slot")]).multiple()]);
        CLUSTER_BUMPEPOCH = Spec::new("BUMPEPOCH", Exactly(2), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "Takes a new config epoch without a vote")
            .tips(&["nondeterministic_output"]);
        CLUSTER_CANCELSLOTMIGRATIONS = Spec::new("CANCELSLOTMIGRATIONS", Exactly(2), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "9.0.0", "O(N)", "Ends all moves of slots from here as a whole");
        CLUSTER_COUNT_FAILURE_REPORTS = Spec::new("COUNT-FAILURE-REPORTS", Exactly(3), CLUSTER_ADMIN, &[])
            .about(Group::Cluster, "3.0.0", "O(N)", "How many masters say that a node is down")
            .tips(&["nondeterministic_output"])
            .takes(&[Argument::string("node-id")]);
        CLUSTER_COUNTKEYSINSLOT = Spec::new("COUNTKEYSINSLOT", Exactly(3), CLUSTER_TELL, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "How many keys of a slot are here")
            .takes(&[Argument::integer("slot")]);
        CLUSTER_DELSLOTS = Spec::new("DELSLOTS", AtLeast(3), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(N)", "Makes slots nobody's")
            .takes(&[Argument::integer("slot").multiple()]);
        CLUSTER_DELSLOTSRANGE = Spec::new("DELSLOTSRANGE", AtLeast(4), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "7.0.0", "O(N)", "Makes ranges of slots nobody's")
            .takes(&[Argument::block("start-slot_end-slot", &[Argument::integer("start-slot"), Argument::integer("end-slot")]).multiple()]);
        CLUSTER_FAILOVER = Spec::new("FAILOVER", AtLeast(2), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "Lets this replica take the place of its master")
            .takes(&[Argument::one_of("options", &[Argument::word("force", "FORCE"), Argument::word("takeover", "TAKEOVER")]).optional()]);
        CLUSTER_FLUSHSLOTS = Spec::new("FLUSHSLOTS", Exactly(2), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "Makes all of this node's slots nobody's");
        CLUSTER_FORGET = Spec::new("FORGET", Exactly(3), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "Removes a node from this one's table")
            .takes(&[Argument::string("node-id")]);
        CLUSTER_GETKEYSINSLOT = Spec::new("GETKEYSINSLOT", Exactly(4), CLUSTER_TELL, &[])
            .about(Group::Cluster, "3.0.0", "O(log(N))", "Keys of a slot that are here")
            .tips(&["nondeterministic_output"])
            .takes(&[Argument::integer("slot"), Argument::integer("count")]);
        CLUSTER_GETSLOTMIGRATIONS = Spec::new("GETSLOTMIGRATIONS", Exactly(2), CLUSTER_ADMIN, &[])
            .about(Group::Cluster, "9.0.0", "O(N)", "Slots that move as a whole, or have moved lately")
            .tips(&["nondeterministic_output"]);
        CLUSTER_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Cluster, "5.0.0", "O(1)", "Lists the sub-commands");
        CLUSTER_INFO = Spec::new("INFO", Exactly(2), CLUSTER_TELL, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "How the cluster is, as this node sees it")
            .tips(&["nondeterministic_output"]);
        CLUSTER_KEYSLOT = Spec::new("KEYSLOT", Exactly(3), CLUSTER_TELL, &[])
            .about(Group::Cluster, "3.0.0", "O(N)", "The slot of a key")
            .takes(&[Argument::string("key")]);
        CLUSTER_LINKS = Spec::new("LINKS", Exactly(2), CLUSTER_TELL, &[])
            .about(Group::Cluster, "7.0.0", "O(N)", "The connections to and from other nodes")
            .tips(&["nondeterministic_output"]);
        CLUSTER_MEET = Spec::new("MEET", AtLeast(4), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "Has this node get to know another")
            .takes(&[Argument::string("ip"), Argument::integer("port"), Argument::integer("cluster_bus_port").since("4.0.0").optional()]);
        CLUSTER_MIGRATESLOTS = Spec::new("MIGRATESLOTS", AtLeast(7), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "9.0.0", "O(N)", "Moves slots of this node to others, as a whole")
            .takes(&[Argument::block("migration", &[Argument::word("slotsrange", "SLOTSRANGE"), Argument::block("range", &[Argument::integer("start-slot"), Argument::integer("end-slot")]).multiple(), Argument::string("node-id").token("NODE")]).multiple()]);
        CLUSTER_MYID = Spec::new("MYID", Exactly(2), CLUSTER_TELL, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "The name of this node");
        CLUSTER_NODES = Spec::new("NODES", Exactly(2), CLUSTER_TELL, &[])
            .about(Group::Cluster, "3.0.0", "O(N)", "All nodes, as this one sees them")
            .tips(&["nondeterministic_output"]);
        CLUSTER_REPLICAS = Spec::new("REPLICAS", Exactly(3), CLUSTER_ADMIN, &[])
            .about(Group::Cluster, "5.0.0", "O(1)", "The replicas of a master")
            .tips(&["nondeterministic_output"])
            .takes(&[Argument::string("node-id")]);
        CLUSTER_REPLICATE = Spec::new("REPLICATE", Exactly(3), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "Makes this node a replica of another")
            .takes(&[Argument::string("node-id")]);
        CLUSTER_RESET = Spec::new("RESET", AtLeast(2), CLUSTER_ADMIN.and(Flags::NOSCRIPT), &[])
            .about(Group::Cluster, "3.0.0", "O(N)", "Has this node forget the cluster")
            .takes(&[Argument::one_of("hard_soft", &[Argument::word("hard", "HARD"), Argument::word("soft", "SOFT")]).optional()]);
        CLUSTER_SAVECONFIG = Spec::new("SAVECONFIG", Exactly(2), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "Writes the node's file");
        CLUSTER_SET_CONFIG_EPOCH = Spec::new("SET-CONFIG-EPOCH", Exactly(3), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "Gives a new node its config epoch")
            .takes(&[Argument::integer("config-epoch")]);
        CLUSTER_SETSLOT = Spec::new("SETSLOT", AtLeast(4), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "Moves a slot, step by step")
            .takes(&[Argument::integer("slot"), Argument::one_of("subcommand", &[Argument::string("node-id").token("IMPORTING"), Argument::string("node-id").token("MIGRATING"), Argument::string("node-id").token("NODE"), Argument::word("stable", "STABLE")])]);
        CLUSTER_SHARDS = Spec::new("SHARDS", Exactly(2), CLUSTER_TELL, &[])
            .about(Group::Cluster, "7.0.0", "O(N)", "Masters with their replicas and slots")
            .tips(&["nondeterministic_output"]);
        CLUSTER_SLAVES = Spec::new("SLAVES", Exactly(3), CLUSTER_ADMIN, &[])
            .about(Group::Cluster, "3.0.0", "O(1)", "The replicas of a master")
            .tips(&["nondeterministic_output"])
            .deprecated("5.0.0", "CLUSTER REPLICAS")
            .takes(&[Argument::string("node-id")]);
        CLUSTER_SLOTS = Spec::new("SLOTS", Exactly(2), CLUSTER_TELL, &[])
            .about(Group::Cluster, "3.0.0", "O(N)", "Which slots are where")
            .tips(&["nondeterministic_output"])
            .deprecated("7.0.0", "CLUSTER SHARDS");
        CLUSTER_SYNCSLOTS = Spec::new("SYNCSLOTS", AtLeast(4), CLUSTER_CHANGE, &[])
            .about(Group::Cluster, "9.0.0", "O(N)", "What a node says to another of slots that move as a whole");
        CLUSTER_MYSHARDID = Spec::new("MYSHARDID", Exactly(2), CLUSTER_TELL, &[])
            .about(Group::Cluster, "7.2.0", "O(1)", "The name of this node's shard")
            .tips(&["nondeterministic_output"]);
    };
    ASKING = Spec::new("ASKING", Exactly(1), FAST, &[])
        .about(Group::Cluster, "3.0.0", "O(1)", "The next command may work on a slot that is on its way here")
        .acl(Categories::CONNECTION);
    READONLY = Spec::new("READONLY", Exactly(1), ANYTIME.and(FAST), &[])
        .about(Group::Cluster, "3.0.0", "O(1)", "Lets this connection read from a replica")
        .acl(Categories::CONNECTION);
    READWRITE = Spec::new("READWRITE", Exactly(1), ANYTIME.and(FAST), &[])
        .about(Group::Cluster, "3.0.0", "O(1)", "Sends this connection's reads to masters again")
        .acl(Categories::CONNECTION);
    COMMAND = Spec::new("COMMAND", AtLeast(1), ANYTIME, &[])
        .about(Group::Server, "2.8.13", "O(N)", "Describes all commands")
        .acl(Categories::CONNECTION)
        .tips(&["nondeterministic_output_order"]) => {
        COMMAND_COUNT = Spec::new("COUNT", Exactly(2), ANYTIME, &[])
            .about(Group::Server, "2.8.13", "O(1)", "How many commands there are")
            .acl(Categories::CONNECTION);
        COMMAND_DOCS = Spec::new("DOCS", AtLeast(2), ANYTIME, &[])
            .about(Group::Server, "7.0.0", "O(N)", "Documents commands")
            .acl(Categories::CONNECTION)
            .tips(&["nondeterministic_output_order"])
            .takes(&[Argument::string("command-name").optional().multiple()]);
        COMMAND_GETKEYS = Spec::new("GETKEYS", AtLeast(4), ANYTIME, &[])
            .about(Group::Server, "2.8.13", "O(N)", "Which words of a request are keys")
            .acl(Categories::CONNECTION);
        COMMAND_GETKEYSANDFLAGS = Spec::new("GETKEYSANDFLAGS", AtLeast(4), ANYTIME, &[])
            .about(Group::Server, "7.0.0", "O(N)", "Which words of a request are keys, and what is done to them")
            .acl(Categories::CONNECTION);
        COMMAND_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Server, "5.0.0", "O(1)", "Lists the sub-commands")
            .acl(Categories::CONNECTION);
        COMMAND_INFO = Spec::new("INFO", AtLeast(2), ANYTIME, &[])
            .about(Group::Server, "2.8.13", "O(N)", "Describes commands")
            .acl(Categories::CONNECTION)
            .tips(&["nondeterministic_output_order"])
            .takes(&[Argument::string("command-name").optional().multiple()]);
        COMMAND_LIST = Spec::new("LIST", AtLeast(2), ANYTIME, &[])
            .about(Group::Server, "7.0.0", "O(N)", "The names of the commands")
            .acl(Categories::CONNECTION)
            .tips(&["nondeterministic_output_order"])
            .takes(&[
                Argument::one_of("filterby", &[
                    Argument::string("module-name").token("MODULE"),
                    Argument::string("category").token("ACLCAT"),
                    Argument::new(Kind::Pattern, "pattern").token("PATTERN"),
                ]).token("FILTERBY").optional(),
            ]);
    };
    CONFIG = Spec::new("CONFIG", AtLeast(2), NONE, &[])
        .about(Group::Server, "2.0.0", "", "Commands about the configuration") => {
        CONFIG_GET = Spec::new("GET", AtLeast(3), OPERATOR, &[])
            .about(Group::Server, "2.0.0", "O(N)", "The values of settings")
            .takes(&[Argument::block("parameter", &[Argument::string("parameter")]).multiple()]);
        CONFIG_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Server, "5.0.0", "O(1)", "Lists the sub-commands");
        CONFIG_RESETSTAT = Spec::new("RESETSTAT", Exactly(2), OPERATOR, &[])
            .about(Group::Server, "2.0.0", "O(1)", "Sets the counters of INFO to zero");
        CONFIG_REWRITE = Spec::new("REWRITE", Exactly(2), OPERATOR, &[])
            .about(Group::Server, "2.8.0", "O(1)", "Writes the settings into the configuration file");
        CONFIG_SET = Spec::new("SET", AtLeast(4), OPERATOR, &[])
            .about(Group::Server, "2.0.0", "O(N)", "Changes settings")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .takes(&[
                Argument::block("parameter_value", &[Argument::string("parameter"), VALUE]).multiple(),
            ]);
    };
    DBSIZE = Spec::new("DBSIZE", Exactly(1), READ_FAST, &[])
        .about(Group::Server, "1.0.0", "O(1)", "How many keys the database has")
        .acl(Categories::KEYSPACE)
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"])
        .hop(Hop::All);
    DEBUG = Spec::new("DEBUG", AtLeast(2), OPERATOR.and(Flags::PROTECTED), &[])
        .about(Group::Server, "1.0.0", "", "Commands for tests of the server").system();
    ECHO = Spec::new("ECHO", Exactly(2), ANYTIME.and(FAST), &[])
        .about(Group::Connection, "1.0.0", "O(1)", "Answers with the message")
        .takes(&[Argument::string("message")]);
    FLUSHALL = Spec::new("FLUSHALL", AtLeast(1), WRITE, &[])
        .about(Group::Server, "1.0.0", "O(N)", "Empties all databases")
        .acl(Categories::DANGEROUS.and(Categories::KEYSPACE))
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .takes(&[
            Argument::one_of("async", &[
                Argument::word("async", "ASYNC").since("4.0.0"),
                Argument::word("sync", "SYNC").since("6.2.0"),
            ]).optional(),
        ])
        .hop(Hop::All);
    FLUSHDB = Spec::new("FLUSHDB", AtLeast(1), WRITE, &[])
        .about(Group::Server, "1.0.0", "O(N)", "Empties the database")
        .acl(Categories::DANGEROUS.and(Categories::KEYSPACE))
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .takes(&[
            Argument::one_of("async", &[
                Argument::word("async", "ASYNC").since("4.0.0"),
                Argument::word("sync", "SYNC").since("6.2.0"),
            ]).optional(),
        ])
        .hop(Hop::All);
    HELLO = Spec::new("HELLO", AtLeast(1), SESSION, &[])
        .about(Group::Connection, "6.0.0", "O(1)", "Chooses the protocol version and authenticates")
        .takes(&[
            Argument::block("arguments", &[
                Argument::integer("protover"),
                Argument::block("username_password", &[Argument::string("username"), Argument::string("password")]).token("AUTH").optional(),
                Argument::string("clientname").token("SETNAME").optional(),
            ]).optional(),
        ]);
    INFO = Spec::new("INFO", AtLeast(1), ANYTIME, &[])
        .about(Group::Server, "1.0.0", "O(1)", "Figures about the server")
        .acl(Categories::DANGEROUS)
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .takes(&[Argument::string("section").optional().multiple()]);
    KEYS = Spec::new("KEYS", Exactly(2), READ, &[])
        .about(Group::Generic, "1.0.0", "O(N)", "All keys that match a pattern")
        .acl(Categories::DANGEROUS.and(Categories::KEYSPACE))
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"])
        .takes(&[Argument::new(Kind::Pattern, "pattern")])
        .hop(Hop::All);
    LASTSAVE = Spec::new("LASTSAVE", Exactly(1), ANYTIME.and(FAST), &[])
        .about(Group::Server, "1.0.0", "O(1)", "When the last snapshot on disk was made")
        .acl(Categories::ADMIN.and(Categories::DANGEROUS))
        .tips(&["nondeterministic_output"]);
    LATENCY = Spec::new("LATENCY", AtLeast(2), NONE, &[])
        .about(Group::Server, "2.8.13", "", "What took long, by kind and by command") => {
        LATENCY_DOCTOR = Spec::new("DOCTOR", Exactly(2), OPERATOR, &[])
            .about(Group::Server, "2.8.13", "O(1)", "What was noted, in words").tips(EACH_NODE);
        LATENCY_GRAPH = Spec::new("GRAPH", Exactly(3), OPERATOR, &[])
            .about(Group::Server, "2.8.13", "O(1)", "One kind of latency as a graph").tips(EACH_NODE)
            .takes(&[Argument::string("event")]);
        LATENCY_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Server, "2.8.13", "O(1)", "Lists the sub-commands");
        LATENCY_HISTOGRAM = Spec::new("HISTOGRAM", AtLeast(2), OPERATOR, &[])
            .about(Group::Server, "7.0.0", "O(N)", "How long commands took, as distributions").tips(EACH_NODE)
            .takes(&[Argument::string("command").optional().multiple()]);
        LATENCY_HISTORY = Spec::new("HISTORY", Exactly(3), OPERATOR, &[])
            .about(Group::Server, "2.8.13", "O(1)", "The samples of one kind").tips(EACH_NODE)
            .takes(&[Argument::string("event")]);
        LATENCY_LATEST = Spec::new("LATEST", Exactly(2), OPERATOR, &[])
            .about(Group::Server, "2.8.13", "O(1)", "The last sample of every kind").tips(EACH_NODE);
        LATENCY_RESET = Spec::new("RESET", AtLeast(2), OPERATOR, &[])
            .about(Group::Server, "2.8.13", "O(1)", "Forgets samples")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
            .takes(&[Argument::string("event").optional().multiple()]);
    };
    MEMORY = Spec::new("MEMORY", AtLeast(2), NONE, &[])
        .about(Group::Server, "4.0.0", "", "Commands about memory") => {
        MEMORY_DOCTOR = Spec::new("DOCTOR", Exactly(2), NONE, &[])
            .about(Group::Server, "4.0.0", "O(1)", "What is wrong with the memory, in words").tips(EACH_SHARD);
        MEMORY_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Server, "4.0.0", "O(1)", "Lists the sub-commands");
        MEMORY_MALLOC_STATS = Spec::new("MALLOC-STATS", Exactly(2), NONE, &[])
            .about(Group::Server, "4.0.0", SLOW_WITH_MUCH_MEMORY, "What the allocator says of itself").tips(EACH_SHARD);
        MEMORY_PURGE = Spec::new("PURGE", Exactly(2), NONE, &[])
            .about(Group::Server, "4.0.0", SLOW_WITH_MUCH_MEMORY, "Gives memory that nobody uses back to the system")
            .tips(ALL_SHARDS_SUCCEED);
        MEMORY_STATS = Spec::new("STATS", Exactly(2), NONE, &[])
            .about(Group::Server, "4.0.0", "O(1)", "What takes how much memory").tips(EACH_SHARD);
        MEMORY_USAGE = Spec::new("USAGE", AtLeast(3), READ, const { &[KeySpec::at(2, KeyFlags::RO)] })
            .about(Group::Server, "4.0.0", "O(N)", "How many bytes a key takes")
            .takes(&[Argument::key("key", 0), Argument::integer("count").token("SAMPLES").optional()]);
    };
    LOLWUT = Spec::new("LOLWUT", AtLeast(1), READ_FAST, &[])
        .about(Group::Server, "5.0.0", "", "Draws a picture, and tells the version")
        .takes(&[Argument::integer("version").token("VERSION").optional()]);
    MIGRATE = Spec::new("MIGRATE", AtLeast(6), WRITE.and(Flags::MOVABLEKEYS), &[
        KeySpec::at(3, MOVES),
        KeySpec::keyword("KEYS", -2, MOVES.and(KeyFlags::INCOMPLETE)).to(-1, 1).flags_of(|_| MOVES),
    ])
        .about(Group::Generic, "2.6.0", "", "Moves keys to another server")
        .acl(Categories::KEYSPACE.and(Categories::DANGEROUS))
        .tips(&["nondeterministic_output"])
        .takes(&[
            Argument::string("host"),
            Argument::integer("port"),
            Argument::one_of("key_or_empty_string", &[Argument::key("key", 0), Argument::word("empty_string", "")]),
            Argument::integer("destination-db"),
            Argument::integer("timeout"),
            Argument::word("copy", "COPY").since("3.0.0").optional(),
            Argument::word("replace", "REPLACE").since("3.0.0").optional(),
            Argument::one_of("authentication", &[
                Argument::string("password").token("AUTH").since("4.0.7").optional(),
                Argument::block("username_password", &[Argument::string("username"), Argument::string("password")]).token("AUTH2").since("6.0.0").optional(),
            ]).optional(),
            Argument::key("key", 1).token("KEYS").since("3.0.6").optional().multiple(),
        ])
        .hop(Hop::Exclusive);
    MONITOR = Spec::new("MONITOR", Exactly(1), OPERATOR, &[])
        .about(Group::Server, "1.0.0", "", "Shows every request to this client");
    PING = Spec::new("PING", AtLeast(1), FAST, &[])
        .about(Group::Connection, "1.0.0", "O(1)", "Answers PONG, or with the message")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .takes(&[Argument::string("message").optional()]);
    PSUBSCRIBE = Spec::new("PSUBSCRIBE", AtLeast(2), LISTENS, &[])
        .about(Group::Pubsub, "2.0.0", "O(N)", "Listens to all channels that match patterns")
        .takes(&[Argument::block("pattern", &[Argument::new(Kind::Pattern, "pattern")]).multiple()]);
    PSYNC = Spec::new("PSYNC", AtLeast(3), DISK.and(Flags::NO_MULTI), &[])
        .about(Group::Server, "2.8.0", "", "Asks for the replication stream, from an offset on")
        .takes(&[Argument::string("replicationid"), Argument::integer("offset")]);
    PUBLISH = Spec::new("PUBLISH", Exactly(3), PUBLISHES, &[])
        .about(Group::Pubsub, "2.0.0", "O(N+M)", "Sends a message to all who listen to a channel")
        .takes(&[Argument::string("channel"), Argument::string("message")]);
    PUBSUB = Spec::new("PUBSUB", AtLeast(2), NONE, &[])
        .about(Group::Pubsub, "2.8.0", "", "Commands about who listens to what") => {
        PUBSUB_CHANNELS = Spec::new("CHANNELS", AtLeast(2), TELLS, &[])
            .about(Group::Pubsub, "2.8.0", "O(N)", "The channels that somebody listens to")
            .takes(&[Argument::new(Kind::Pattern, "pattern").optional()]);
        PUBSUB_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Pubsub, "6.2.0", "O(1)", "Lists the sub-commands");
        PUBSUB_NUMPAT = Spec::new("NUMPAT", Exactly(2), TELLS, &[])
            .about(Group::Pubsub, "2.8.0", "O(1)", "How many patterns are listened to");
        PUBSUB_NUMSUB = Spec::new("NUMSUB", AtLeast(2), TELLS, &[])
            .about(Group::Pubsub, "2.8.0", "O(N)", "How many clients listen to each channel")
            .takes(&[Argument::string("channel").optional().multiple()]);
        PUBSUB_SHARDCHANNELS = Spec::new("SHARDCHANNELS", AtLeast(2), TELLS, &[])
            .about(Group::Pubsub, "7.0.0", "O(N)", "The shard channels that somebody listens to")
            .takes(&[Argument::new(Kind::Pattern, "pattern").optional()]);
        PUBSUB_SHARDNUMSUB = Spec::new("SHARDNUMSUB", AtLeast(2), TELLS, &[])
            .about(Group::Pubsub, "7.0.0", "O(N)", "How many clients listen to each shard channel")
            .takes(&[Argument::string("shardchannel").optional().multiple()]);
    };
    PUNSUBSCRIBE = Spec::new("PUNSUBSCRIBE", AtLeast(1), LISTENS, &[])
        .about(Group::Pubsub, "2.0.0", "O(N+M)", "Listens to patterns no longer")
        .takes(&[Argument::new(Kind::Pattern, "pattern").optional().multiple()]);
    SLOWLOG = Spec::new("SLOWLOG", AtLeast(2), NONE, &[])
        .about(Group::Server, "2.2.12", "", "Requests that took long") => {
        SLOWLOG_GET = Spec::new("GET", AtLeast(2), ANYTIME.and(Flags::ADMIN), &[])
            .about(Group::Server, "2.2.12", "O(N)", "The newest of them")
            .tips(&["request_policy:all_nodes", "nondeterministic_output"])
            .takes(&[Argument::integer("count").optional()]);
        SLOWLOG_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Server, "6.2.0", "O(1)", "Lists the sub-commands");
        SLOWLOG_LEN = Spec::new("LEN", Exactly(2), ANYTIME.and(Flags::ADMIN), &[])
            .about(Group::Server, "2.2.12", "O(1)", "How many there are")
            .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]);
        SLOWLOG_RESET = Spec::new("RESET", Exactly(2), ANYTIME.and(Flags::ADMIN), &[])
            .about(Group::Server, "2.2.12", "O(N)", "Forgets them")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]);
    };
    SPUBLISH = Spec::new("SPUBLISH", Exactly(3), PUBLISHES, &[SHARD_CHANNEL])
        .about(Group::Pubsub, "7.0.0", "O(N)", "Sends a message to all who listen to a shard channel")
        .takes(&[Argument::string("shardchannel"), Argument::string("message")]);
    SSUBSCRIBE = Spec::new("SSUBSCRIBE", AtLeast(2), LISTENS, &[SHARD_CHANNEL.to(-1, 1)])
        .about(Group::Pubsub, "7.0.0", "O(N)", "Listens to shard channels")
        .takes(&[Argument::string("shardchannel").multiple()]);
    SUBSCRIBE = Spec::new("SUBSCRIBE", AtLeast(2), LISTENS, &[])
        .about(Group::Pubsub, "2.0.0", "O(N)", "Listens to channels")
        .takes(&[Argument::string("channel").multiple()]);
    SUNSUBSCRIBE = Spec::new("SUNSUBSCRIBE", AtLeast(1), LISTENS, &[SHARD_CHANNEL.to(-1, 1)])
        .about(Group::Pubsub, "7.0.0", "O(N)", "Listens to shard channels no longer")
        .takes(&[Argument::string("shardchannel").optional().multiple()]);
    UNSUBSCRIBE = Spec::new("UNSUBSCRIBE", AtLeast(1), LISTENS, &[])
        .about(Group::Pubsub, "2.0.0", "O(N)", "Listens to channels no longer")
        .takes(&[Argument::string("channel").optional().multiple()]);
    QUIT = Spec::new("QUIT", AtLeast(1), SESSION, &[])
        .about(Group::Connection, "1.0.0", "O(1)", "Closes the connection");
    RANDOMKEY = Spec::new("RANDOMKEY", Exactly(1), READ, &[])
        .about(Group::Generic, "1.0.0", "O(1)", "Some key of the database")
        .tips(&["request_policy:all_shards", "nondeterministic_output"])
        .hop(Hop::All);
    REPLCONF = Spec::new("REPLCONF", AtLeast(1), OPERATOR.and(Flags::ALLOW_BUSY), &[])
        .about(Group::Server, "3.0.0", "O(1)", "What a replica and its master tell each other").system();
    FAILOVER = Spec::new("FAILOVER", AtLeast(1), Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::STALE), &[])
        .about(Group::Server, "6.2.0", "O(1)", "Hands the role of the master to a replica that has everything")
        .takes(&[
            Argument::block("target", &[
                Argument::string("host"),
                Argument::integer("port"),
                Argument::word("force", "FORCE").optional(),
            ]).token("TO").optional(),
            Argument::word("abort", "ABORT").optional(),
            Argument::integer("milliseconds").token("TIMEOUT").optional(),
        ]);
    REPLICAOF = Spec::new("REPLICAOF", Exactly(3), DISK.and(Flags::STALE), &[])
        .about(Group::Server, "5.0.0", "O(1)", "Makes this server a replica, or a master")
        .takes(&[
            Argument::one_of("args", &[
                Argument::block("host-port", &[Argument::string("host"), Argument::integer("port")]),
                Argument::block("no-one", &[Argument::word("no", "NO"), Argument::word("one", "ONE")]),
            ]),
        ]);
    RESET = Spec::new("RESET", Exactly(1), SESSION, &[])
        .about(Group::Connection, "6.2.0", "O(1)", "Brings the connection back to its beginning");
    ROLE = Spec::new("ROLE", Exactly(1), CONNECTION.and(FAST), &[])
        .about(Group::Server, "2.8.12", "O(1)", "The role of this server in replication")
        .acl(Categories::ADMIN.and(Categories::DANGEROUS));
    SAVE = Spec::new("SAVE", Exactly(1), DISK.and(Flags::NO_MULTI), &[])
        .about(Group::Server, "1.0.0", "O(N)", "Makes a snapshot on disk and waits for it");
    SCAN = Spec::new("SCAN", AtLeast(2), READ, &[])
        .about(Group::Generic, "2.8.0", "O(1)", "Walks through the keys of the database")
        .tips(&["nondeterministic_output", "request_policy:special"])
        .takes(&[
            Argument::integer("cursor"),
            Argument::new(Kind::Pattern, "pattern").token("MATCH").optional(),
            Argument::integer("count").token("COUNT").optional(),
            Argument::string("type").token("TYPE").since("6.0.0").optional(),
        ])
        .hop(Hop::All);
    SELECT = Spec::new("SELECT", Exactly(2), ANYTIME.and(FAST), &[])
        .about(Group::Connection, "1.0.0", "O(1)", "Chooses the database of this connection")
        .takes(&[Argument::integer("index")]);
    EVAL = Spec::new("EVAL", AtLeast(3), SCRIPTS.and(Flags::MAY_REPLICATE), &[SCRIPT_KEYS])
        .about(Group::Scripting, "2.6.0", "", "Runs a Lua script")
        .hop(Hop::Exclusive)
        .takes(&[Argument::string("script"), NUMKEYS, SCRIPT_KEY, SCRIPT_ARG]);
    EVAL_RO = Spec::new("EVAL_RO", AtLeast(3), SCRIPTS.and(READ), &[SCRIPT_KEYS_RO])
        .about(Group::Scripting, "7.0.0", "", "Runs a Lua script that only reads")
        .hop(Hop::Exclusive)
        .takes(&[Argument::string("script"), NUMKEYS, SCRIPT_KEY, SCRIPT_ARG]);
    EVALSHA = Spec::new("EVALSHA", AtLeast(3), SCRIPTS.and(Flags::MAY_REPLICATE), &[SCRIPT_KEYS])
        .about(Group::Scripting, "2.6.0", "", "Runs a Lua script by its hash")
        .hop(Hop::Exclusive)
        .takes(&[Argument::string("sha1"), NUMKEYS, SCRIPT_KEY, SCRIPT_ARG]);
    EVALSHA_RO = Spec::new("EVALSHA_RO", AtLeast(3), SCRIPTS.and(READ), &[SCRIPT_KEYS_RO])
        .about(Group::Scripting, "7.0.0", "", "Runs a Lua script that only reads by its hash")
        .hop(Hop::Exclusive)
        .takes(&[Argument::string("sha1"), NUMKEYS, SCRIPT_KEY, SCRIPT_ARG]);
    FCALL = Spec::new("FCALL", AtLeast(3), SCRIPTS.and(Flags::MAY_REPLICATE), &[SCRIPT_KEYS])
        .about(Group::Scripting, "7.0.0", "", "Calls a function")
        .hop(Hop::Exclusive)
        .takes(&[Argument::string("function"), NUMKEYS, SCRIPT_KEY, SCRIPT_ARG]);
    FCALL_RO = Spec::new("FCALL_RO", AtLeast(3), SCRIPTS.and(READ), &[SCRIPT_KEYS_RO])
        .about(Group::Scripting, "7.0.0", "", "Calls a function that only reads")
        .hop(Hop::Exclusive)
        .takes(&[Argument::string("function"), NUMKEYS, SCRIPT_KEY, SCRIPT_ARG]);
    FUNCTION = Spec::new("FUNCTION", AtLeast(2), NONE, &[])
        .about(Group::Scripting, "7.0.0", "", "Commands about libraries of functions")
        .acl(Categories::NONE) => {
        FUNCTION_DELETE = Spec::new("DELETE", Exactly(3), WRITE.and(Flags::NOSCRIPT), &[])
            .about(Group::Scripting, "7.0.0", "O(1)", "Deletes a library")
            .tips(ALL_SHARDS_SUCCEED)
            .takes(&[Argument::string("library-name")]);
        FUNCTION_DUMP = Spec::new("DUMP", Exactly(2), Flags::NOSCRIPT, &[])
            .about(Group::Scripting, "7.0.0", "O(N)", "All libraries as a payload");
        FUNCTION_FLUSH = Spec::new("FLUSH", AtLeast(2), WRITE.and(Flags::NOSCRIPT), &[])
            .about(Group::Scripting, "7.0.0", "O(N)", "Deletes all libraries")
            .tips(ALL_SHARDS_SUCCEED)
            .takes(&[Argument::one_of("async", &[Argument::word("async", "ASYNC"), Argument::word("sync", "SYNC")]).optional()]);
        FUNCTION_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Scripting, "7.0.0", "O(1)", "How FUNCTION is used");
        FUNCTION_KILL = Spec::new("KILL", Exactly(2), Flags::NOSCRIPT.and(Flags::ALLOW_BUSY), &[])
            .about(Group::Scripting, "7.0.0", "O(1)", "Ends the function that runs")
            .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]);
        FUNCTION_LIST = Spec::new("LIST", AtLeast(2), Flags::NOSCRIPT, &[])
            .about(Group::Scripting, "7.0.0", "O(N)", "Libraries and their functions")
            .tips(&["nondeterministic_output_order"])
            .takes(&[
                Argument::string("library-name-pattern").token("LIBRARYNAME").optional(),
                Argument::word("withcode", "WITHCODE").optional(),
            ]);
        FUNCTION_LOAD = Spec::new("LOAD", AtLeast(3), WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT), &[])
            .about(Group::Scripting, "7.0.0", "O(1)", "Loads a library")
            .tips(ALL_SHARDS_SUCCEED)
            .takes(&[Argument::word("replace", "REPLACE").optional(), Argument::string("function-code")]);
        FUNCTION_RESTORE = Spec::new("RESTORE", AtLeast(3), WRITE.and(Flags::DENYOOM).and(Flags::NOSCRIPT), &[])
            .about(Group::Scripting, "7.0.0", "O(N)", "Loads the libraries of a payload")
            .tips(ALL_SHARDS_SUCCEED)
            .takes(&[
                Argument::string("serialized-value"),
                Argument::one_of("policy", &[
                    Argument::word("flush", "FLUSH"),
                    Argument::word("append", "APPEND"),
                    Argument::word("replace", "REPLACE"),
                ]).optional(),
            ]);
        FUNCTION_STATS = Spec::new("STATS", Exactly(2), Flags::NOSCRIPT.and(Flags::ALLOW_BUSY), &[])
            .about(Group::Scripting, "7.0.0", "O(1)", "The function that runs")
            .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]);
    };
    SCRIPT = Spec::new("SCRIPT", AtLeast(2), NONE, &[])
        .about(Group::Scripting, "2.6.0", "", "Commands about Lua scripts")
        .acl(Categories::NONE) => {
        SCRIPT_DEBUG = Spec::new("DEBUG", Exactly(3), Flags::NOSCRIPT, &[])
            .about(Group::Scripting, "3.2.0", "O(1)", "Debugs the scripts that follow")
            .takes(&[Argument::one_of("mode", &[
                Argument::word("yes", "YES"),
                Argument::word("sync", "SYNC"),
                Argument::word("no", "NO"),
            ])]);
        SCRIPT_EXISTS = Spec::new("EXISTS", AtLeast(3), Flags::NOSCRIPT, &[])
            .about(Group::Scripting, "2.6.0", "O(N)", "Which scripts are known")
            .tips(&["request_policy:all_shards", "response_policy:agg_logical_and"])
            .takes(&[Argument::string("sha1").multiple()]);
        SCRIPT_FLUSH = Spec::new("FLUSH", AtLeast(2), Flags::NOSCRIPT, &[])
            .about(Group::Scripting, "2.6.0", "O(N)", "Forgets all scripts")
            .tips(ALL_NODES_SUCCEED)
            .takes(&[Argument::one_of("async", &[Argument::word("async", "ASYNC"), Argument::word("sync", "SYNC")]).since("6.2.0").optional()]);
        SCRIPT_HELP = Spec::new("HELP", Exactly(2), ANYTIME, &[])
            .about(Group::Scripting, "5.0.0", "O(1)", "How SCRIPT is used");
        SCRIPT_KILL = Spec::new("KILL", Exactly(2), Flags::NOSCRIPT.and(Flags::ALLOW_BUSY), &[])
            .about(Group::Scripting, "2.6.0", "O(1)", "Ends the script that runs")
            .tips(&["request_policy:all_shards", "response_policy:one_succeeded"]);
        SCRIPT_LOAD = Spec::new("LOAD", Exactly(3), Flags::NOSCRIPT.and(Flags::STALE), &[])
            .about(Group::Scripting, "2.6.0", "O(N)", "Makes a script known without running it")
            .tips(ALL_NODES_SUCCEED)
            .takes(&[Argument::string("script")]);
    };
    SHUTDOWN = Spec::new("SHUTDOWN", AtLeast(1), OPERATOR.and(Flags::NO_MULTI).and(Flags::ALLOW_BUSY), &[])
        .about(Group::Server, "1.0.0", "O(N)", "Ends the server")
        .takes(&[
            Argument::one_of("nosave_save", &[Argument::word("nosave", "NOSAVE"), Argument::word("save", "SAVE")]).optional(),
            Argument::word("now", "NOW").since("7.0.0").optional(),
            Argument::word("force", "FORCE").since("7.0.0").optional(),
            Argument::word("abort", "ABORT").since("7.0.0").optional(),
        ]);
    SLAVEOF = Spec::new("SLAVEOF", Exactly(3), DISK.and(Flags::STALE), &[])
        .about(Group::Server, "1.0.0", "O(1)", "Makes this server a replica, or a master")
        .deprecated("5.0.0", "`REPLICAOF`")
        .takes(&[
            Argument::one_of("args", &[
                Argument::block("host-port", &[Argument::string("host"), Argument::integer("port")]),
                Argument::block("no-one", &[Argument::word("no", "NO"), Argument::word("one", "ONE")]),
            ]),
        ]);
    SWAPDB = Spec::new("SWAPDB", Exactly(3), WRITE_FAST, &[])
        .about(Group::Server, "4.0.0", "O(N)", "Exchanges two databases")
        .acl(Categories::DANGEROUS.and(Categories::KEYSPACE))
        .takes(&[Argument::integer("index1"), Argument::integer("index2")])
        .hop(Hop::All);
    SYNC = Spec::new("SYNC", Exactly(1), DISK.and(Flags::NO_MULTI), &[])
        .about(Group::Server, "1.0.0", "", "Asks for the whole replication stream");
    TIME = Spec::new("TIME", Exactly(1), ANYTIME.and(FAST), &[])
        .about(Group::Server, "2.6.0", "O(1)", "The server's clock")
        .tips(&["nondeterministic_output"]);
    WAIT = Spec::new("WAIT", Exactly(3), Flags::NOSCRIPT, &[])
        .about(Group::Generic, "3.0.0", "O(1)", "Waits until replicas have the writes of this connection")
        .acl(Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .takes(&[Argument::integer("numreplicas"), Argument::integer("timeout")]);
    WAITAOF = Spec::new("WAITAOF", Exactly(4), Flags::NOSCRIPT, &[])
        .about(Group::Generic, "7.2.0", "O(1)", "Waits until append-only files, here and on replicas, have the writes of this connection")
        .acl(Categories::CONNECTION)
        .tips(&["request_policy:all_shards", "response_policy:agg_min"])
        .takes(&[Argument::integer("numlocal"), Argument::integer("numreplicas"), Argument::integer("timeout")]);
}
