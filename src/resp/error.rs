//! Every error that a client can be sent, as a closed enum, and the only home of their texts.
//!
//! Clients match on these texts, so they are Redis 7.0's to the letter. The first word is the
//! error's code: `INFO errorstats` counts by it, and clients choose an exception class by it.
//!
//! To add an error, add one row below: `Name => "CODE text"`, or, where a part of the text is
//! known only at run time, `Name { field: Type } => ["CODE text '", field, "' text"]`. The first
//! part of a row is always a literal, for the code is taken from it.
//!
//! Invariant: what [`ErrorKind::write_to`] appends is one line. Parts that came from outside have
//! CR and LF replaced by spaces, else whoever chose a key's name could forge replies, and end
//! before a NUL, as they do in Redis.
//!
//! The trap: `Result<(), ErrorKind>` is returned by every command, so the enum stays small
//! (asserted below): two words of text at most, boxed only when an error really happens.
//!
//! Not here: which error a command gives (the command), and closing after an error (`runtime/`).

/// Text from outside, kept until the error is written.
pub type Text = Box<[u8]>;

/// Bytes of a command's name, and of its arguments together, that an error repeats.
const PREVIEW_BYTES_MAX: usize = 128;

macro_rules! error_kinds {
    (
        fixed { $($name:ident => $text:literal,)* }
        built { $($built:ident { $($field:ident: $type:ty),* } => [$head:literal $(, $part:expr)*],)* }
    ) => {
        /// An error reply. [`ErrorKind::write_to`] gives its line, [`ErrorKind::code`] its first word.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum ErrorKind { $($name,)* $($built { $($field: $type),* },)* }

        impl ErrorKind {
            /// The literal that the line begins with; all of it where nothing varies.
            fn head(&self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    $(Self::$built { .. } => $head,)*
                }
            }

            /// What follows the head.
            fn write_rest(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name => {})*
                    $(Self::$built { $($field),* } => { $($part.put(out);)* })*
                }
            }

            #[cfg(test)]
            const FIXED: &[Self] = &[$(Self::$name,)*];
        }
    };
}

#[rustfmt::skip] // One row per error.
error_kinds! {
    fixed {
        // Arguments
        WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
        Syntax => "ERR syntax error",
        NotAnInteger => "ERR value is not an integer or out of range",
        OutOfRange => "ERR value is out of range",
        NotPositive => "ERR value is out of range, must be positive",
        NotAFloat => "ERR value is not a valid float",
        NumkeysNotPositive => "ERR numkeys should be greater than 0",
        CountNotPositive => "ERR count should be greater than 0",
        KeysMoreThanArgs => "ERR Number of keys can't be greater than number of args",
        LimitNegative => "ERR LIMIT can't be negative",
        TimeoutNotAFloat => "ERR timeout is not a float or out of range",
        TimeoutNotAnInteger => "ERR timeout is not an integer or out of range",
        TimeoutNegative => "ERR timeout is negative",
        TimeoutOutOfRange => "ERR timeout is out of range",
        NoSuchKey => "ERR no such key",
        SameObject => "ERR source and destination objects are the same",
        InvalidCursor => "ERR invalid cursor",
        TooManyLists => "ERR too many lists of very many clients are being read",

        // Strings and bits
        Overflow => "ERR increment or decrement would overflow",
        DecrementOverflow => "ERR decrement would overflow",
        IncrementNanOrInfinity => "ERR increment would produce NaN or Infinity",
        NanOrInfinity => "ERR value is NaN or Infinity",
        StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        OffsetOutOfRange => "ERR offset is out of range",
        BitOffset => "ERR bit offset is not an integer or out of range",
        BitValue => "ERR bit is not an integer or out of range",
        BitArgument => "ERR The bit argument must be 1 or 0.",
        BitopNot => "ERR BITOP NOT must be called with a single source key.",
        BitfieldType => "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        BitfieldReadonly => "ERR BITFIELD_RO only supports the GET subcommand",
        BitfieldOverflow => "ERR Invalid OVERFLOW type specified",
        LcsNotStrings => "ERR The specified keys must contain string values",
        LcsLenAndIdx => "ERR If you want both the length and indexes, please just use IDX.",

        // Generic
        ExpireNxWithOthers => "ERR NX and XX, GT or LT options at the same time are not compatible",
        ExpireGtAndLt => "ERR GT and LT options at the same time are not compatible",
        BusyKey => "BUSYKEY Target key name already exists.",
        DumpPayload => "ERR DUMP payload version or checksum are wrong",
        MigrateKeys => "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
        MigrateConnecting => "IOERR error or timeout connecting to the client",
        MigrateWriting => "IOERR error or timeout writing to target instance",
        MigrateReading => "IOERR error or timeout reading to target instance",
        BadDataFormat => "ERR Bad data format",
        RestoreTtl => "ERR Invalid TTL value, must be >= 0",
        RestoreFreq => "ERR Invalid FREQ value, must be >= 0 and <= 255",
        RestoreIdletime => "ERR Invalid IDLETIME value, must be >= 0",
        LfuNotSelected => "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        LfuSelected => "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        SortNotDouble => "ERR One or more scores can't be converted into double",

        // Lists, hashes, sorted sets, HyperLogLog, geo
        IndexOutOfRange => "ERR index out of range",
        LposRankZero => "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
        LposCountNegative => "ERR COUNT can't be negative",
        LposMaxlenNegative => "ERR MAXLEN can't be negative",
        HashValueNotAnInteger => "ERR hash value is not an integer",
        HashValueNotAFloat => "ERR hash value is not a float",
        MinMaxNotAFloat => "ERR min or max is not a float",
        MinMaxNotAString => "ERR min or max not valid string range item",
        WeightNotAFloat => "ERR weight value is not a float",
        ScoreNan => "ERR resulting score is not a number (NaN)",
        ZaddXxAndNx => "ERR XX and NX options at the same time are not compatible",
        ZaddGtLtNx => "ERR GT, LT, and/or NX options at the same time are not compatible",
        ZaddIncrPair => "ERR INCR option supports a single increment-element pair",
        ZrangeLimit => "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ZrangeWithscores => "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        NotHyperloglog => "WRONGTYPE Key is not a valid HyperLogLog string value.",
        CorruptHyperloglog => "INVALIDOBJ Corrupted HLL object detected",
        PfdebugNoKey => "ERR The specified key does not exist",
        PfdebugNotSparse => "ERR HLL encoding is not sparse",
        PfselftestRegisters => "ERR TESTFAILED a register is not what was written into it",
        PfselftestEstimate => "ERR TESTFAILED the estimate is too far from the truth",
        GeoUnit => "ERR unsupported unit provided. please use M, KM, FT, MI",
        GeoRadius => "ERR need numeric radius",
        GeoRadiusNegative => "ERR radius cannot be negative",
        GeoWidth => "ERR need numeric width",
        GeoHeight => "ERR need numeric height",
        GeoBoxNegative => "ERR height or width cannot be negative",
        GeoCount => "ERR COUNT must be > 0",
        GeoMember => "ERR could not decode requested zset member",
        GeoradiusStore => "ERR STORE option in GEORADIUS is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
        GeosearchstoreWith => "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
        GeoAny => "ERR the ANY argument requires COUNT argument",

        // Streams
        StreamId => "ERR Invalid stream ID specified as stream command argument",
        StreamIdZero => "ERR The ID specified in XADD must be greater than 0-0",
        StreamIdTooSmall => "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        StreamExhausted => "ERR The stream has exhausted the last possible ID, unable to add more items",
        StreamElementsTooLarge => "ERR Elements are too large to be stored",
        StreamIntervalStart => "ERR invalid start ID for the interval",
        StreamIntervalEnd => "ERR invalid end ID for the interval",
        TrimTwice => "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
        TrimMaxlenNegative => "ERR The MAXLEN argument must be >= 0.",
        TrimLimitNegative => "ERR The LIMIT argument must be >= 0.",
        TrimLimitWithoutStrategy => "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
        TrimLimitExact => "ERR syntax error, LIMIT cannot be used without the special ~ option",
        TrimWithoutStrategy => "ERR syntax error, XTRIM must be called with a trimming strategy",
        EntriesAddedNegative => "ERR entries_added must be positive",
        EntriesReadNegative => "ERR value for ENTRIESREAD must be positive or -1",
        XsetidBelowDeleted => "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
        XsetidBelowTop => "ERR The ID specified in XSETID is smaller than the target stream top item",
        XsetidFewerThanLength => "ERR The entries_added specified in XSETID is smaller than the target stream length",
        StreamsUnbalanced => "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
        XreadGroup => "ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.",
        XreadNoack => "ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.",
        XreadNewId => "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        XreadgroupWithoutGroup => "ERR Missing GROUP option for XREADGROUP",
        XreadgroupLastId => "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
        XclaimIdle => "ERR Invalid min-idle-time argument for XCLAIM",
        XclaimIdleOption => "ERR Invalid IDLE option argument for XCLAIM",
        XclaimTime => "ERR Invalid TIME option argument for XCLAIM",
        XclaimRetrycount => "ERR Invalid RETRYCOUNT option argument for XCLAIM",
        XautoclaimIdle => "ERR Invalid min-idle-time argument for XAUTOCLAIM",
        XautoclaimCount => "ERR COUNT must be > 0",
        XautoclaimMemory => "ERR Insufficient memory, failed allocating transient memory, COUNT too high.",
        StreamGroupNeedsKey => "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
        BusyGroup => "BUSYGROUP Consumer Group name already exists",
        GroupGone => "NOGROUP the consumer group this client was blocked on no longer exists",
        StreamGone => "UNBLOCKED the stream key no longer exists",

        // Connections
        DbOutOfRange => "ERR DB index is out of range",
        SwapdbFirst => "ERR invalid first DB index",
        SwapdbSecond => "ERR invalid second DB index",
        NoAuth => "NOAUTH Authentication required.",
        NoAuthHello => "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        WrongPass => "WRONGPASS invalid username-password pair or user is disabled.",
        NoPasswordSet => "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        NoProto => "NOPROTO unsupported protocol version",
        ProtoNotAnInteger => "ERR Protocol version is not an integer or out of range",
        ClientName => "ERR Client names cannot contain spaces, newlines or special characters.",
        ClientAge => "ERR maxage should be greater than 0",
        NoSuchClient => "ERR No such client",
        ClientIdNotPositive => "ERR client-id should be greater than 0",
        ClientId => "ERR Invalid client ID",
        PauseMode => "ERR CLIENT PAUSE mode must be WRITE or ALL",
        UnblockReason => "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR",
        Unblocked => "UNBLOCKED client unblocked via CLIENT UNBLOCK",
        UnblockedRoleChanged => "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        TrackingRedirect => "ERR The client ID you want redirect to does not exist",
        TrackingRedirectTwice => "ERR A client can only redirect to a single other client",
        TrackingPrefixAlone => "ERR PREFIX option requires BCAST mode to be enabled",
        TrackingBcastSwitch => "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
        TrackingOptWithBcast => "ERR OPTIN and OPTOUT are not compatible with BCAST",
        TrackingOptBoth => "ERR You can't specify both OPTIN mode and OPTOUT mode",
        TrackingOptSwitch => "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
        TrackingCachingYes => "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
        TrackingCachingNo => "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
        TrackingOptIn => "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        MaxClients => "ERR max number of clients reached",
        ProtectedMode => "DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers to Redis you may adopt one of the following solutions: 1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible from internet if you do so. Use CONFIG REWRITE to make this change permanent. 2) Alternatively you can just disable the protected mode by editing the Redis configuration file, and setting the protected mode option to 'no', and then restarting the server. 3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. 4) Setup a an authentication password for the default user. NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.",
        NoPermKey => "NOPERM this user has no permissions to access one of the keys used as arguments",
        NoPermChannel => "NOPERM this user has no permissions to access one of the channels used as arguments",

        // Transactions and scripts
        MultiNested => "ERR MULTI calls can not be nested",
        ExecWithoutMulti => "ERR EXEC without MULTI",
        DiscardWithoutMulti => "ERR DISCARD without MULTI",
        WatchInMulti => "ERR WATCH inside MULTI is not allowed",
        NotInMulti => "ERR Command not allowed inside a transaction",
        ExecAbort => "EXECABORT Transaction discarded because of previous errors.",
        BusyScript => "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        BusyFunction => "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.",
        NoScript => "NOSCRIPT No matching script. Please use EVAL.",
        NotBusy => "NOTBUSY No scripts in execution right now.",
        Unkillable => "UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.",
        ScriptKeysNegative => "ERR Number of keys can't be negative",
        ScriptUnknown => "ERR Unknown Redis command called from script",
        ScriptArity => "ERR Wrong number of args calling Redis command from script",
        ScriptNotAllowed => "ERR This Redis command is not allowed from script",
        ScriptNoWrites => "ERR Write commands are not allowed from read-only scripts.",
        ScriptCommandStale => "ERR Can not execute the command on a stale replica",
        ScriptStale => "MASTERDOWN Link with MASTER is down, replica-serve-stale-data is set to 'no' and 'allow-stale' flag is not set on the script.",
        ScriptMisconf => "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Writable scripts are blocked. Use 'no-writes' flag for read only scripts.",
        ScriptWritesRo => "ERR Can not execute a script with write flag using *_ro command.",
        ScriptOom => "OOM allow-oom flag is not set on the script, can not run it when used memory > 'maxmemory'",
        ScriptNoPermCommand => "ERR The user executing the script can't run this command or subcommand",
        ScriptNoPermKey => "ERR The user executing the script can't access at least one of the keys mentioned in the command arguments",
        ScriptNoPermChannel => "ERR The user executing the script can't publish to the channel mentioned in the command",
        ScriptOneCore => "ERR This command is about the keys of all cores; a script sees one core only",
        ScriptFlushOption => "ERR SCRIPT FLUSH only support SYNC|ASYNC option",
        ScriptDebugOption => "ERR Use SCRIPT DEBUG YES/SYNC/NO",
        ScriptDebug => "ERR SCRIPT DEBUG is not supported: this server has no debugger for scripts",
        FunctionNotFound => "ERR Function not found",
        FunctionKeys => "ERR Bad number of keys provided",
        FunctionFlushOption => "ERR FUNCTION FLUSH only supports SYNC|ASYNC option",
        FunctionRestorePolicy => "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
        FunctionLibraryName => "ERR library name argument was not given",
        FunctionPayloadType => "ERR given type is not a function",
        FunctionPayload => "ERR Failed loading library data",
        LibraryNotFound => "ERR Library not found",

        // Server
        Oom => "OOM command not allowed when used memory > 'maxmemory'.",
        Loading => "LOADING Redis is loading the dataset in memory",
        MisconfRdb => "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.",
        NoAclFile => "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.",
        AclSave => "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
        AclDefaultUser => "ERR The 'default' user cannot be removed",
        AclPasswordBits => "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        NoConfigFile => "ERR The server is running without a config file",
        BgsaveInProgress => "ERR Background save already in progress",
        NotSynced => "MISCONF Errors writing to the AOF file: the write was not synced, its outcome is unknown",
        AofOff => "ERR There is no append only file: appendonly is off",
        AofRewriteInProgress => "ERR Background append only file rewriting already in progress",
        NoShutdown => "ERR No shutdown in progress.",
        ShutdownFailed => "ERR Errors trying to SHUTDOWN. Check logs.",
        DebugReload => "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
        DebugReloadPlain => "ERR DEBUG RELOAD takes no options on this server",
        SlowlogCount => "ERR count should be greater than or equal to -1",
        ScriptCrossSlot => "ERR Script attempted to access keys that do not hash to the same slot",
        ScriptSlotUnserved => "ERR Script attempted to access a slot not served",
        ScriptNotLocal => "ERR Script attempted to access a non local key in a cluster node",
        ClusterNotSaved => "ERR error saving the cluster node config: it is not on disk",
        ClusterForgetSelf => "ERR I tried hard but I can't forget myself...",
        ClusterForgetMaster => "ERR Can't forget my master!",
        ClusterReplicateSelf => "ERR Can't replicate myself",
        ClusterReplicateReplica => "ERR I can only replicate a master, not a replica.",
        ClusterNotEmpty => "ERR To set a master the node must be empty and without assigned slots.",
        ClusterNoMaster => "ERR The specified node is not a master",
        ClusterFailoverHere => "ERR You should send CLUSTER FAILOVER to a replica",
        ClusterMasterUnknown => "ERR I'm a replica but my master is unknown to me",
        ClusterMasterDown => "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE",
        ClusterEpochKnowsOthers => "ERR The user can assign a config epoch only when the node does not know any other node.",
        ClusterEpochIsSet => "ERR Node config epoch is already non-zero",
        ClusterResetKeys => "ERR CLUSTER RESET can't be called with master nodes containing keys",
        MoveReplica => "ERR Slot migration can only be used on primary nodes.",
        MoveManualImport => "ERR Slots are being manually imported",
        MoveManualExport => "ERR Slots are being manually migrated",
        MoveNotOurs => "ERR Slots are not served by this node",
        MoveNotTheirs => "ERR Slots are not served by the source",
        MoveToSelf => "ERR Target node can not be this node",
        MoveOverlap => "ERR Slot ranges in migrations overlap",
        MoveNoEnd => "ERR No end slot for final slot range",
        MoveNoRange => "ERR No slot ranges specified",
        MoveNone => "ERR No migrations ongoing",
        MoveUnknown => "ERR No such slot migration, or it is over",
        MoveLeftover => "TRYAGAIN Keys of an earlier migration of these slots are being removed",
        ClusterSetslotReplica => "ERR Please use SETSLOT only with masters.",
        ClusterTargetReplica => "ERR Target node is not a master",
        ClusterSetslotUsage => "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
        ClusterSlot => "ERR Invalid or out of range slot",
        ClusterFlushslotsKeys => "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.",
        ClusterCountSlot => "ERR Invalid slot",
        ClusterKeysSlot => "ERR Invalid slot or number of keys",
        ClusterCrossSlot => "CROSSSLOT Keys in request don't hash to the same slot",
        ClusterTryAgain => "TRYAGAIN Multiple keys request during rehashing of slot",
        ClusterDown => "CLUSTERDOWN The cluster is down",
        ClusterDownReadOnly => "CLUSTERDOWN The cluster is down and only accepts read commands",
        ClusterSlotUnserved => "CLUSTERDOWN Hash slot not served",
        ClusterSelect => "ERR SELECT is not allowed in cluster mode",
        ClusterReplicaof => "ERR REPLICAOF not allowed in cluster mode.",
        ClusterFailover => "ERR FAILOVER not allowed in cluster mode.",
        ClusterSwapdb => "ERR SWAPDB is not allowed in cluster mode",
        ClusterMove => "ERR MOVE is not allowed in cluster mode",
        ClusterCopy => "ERR Copying to another database is not allowed in cluster mode",
        ClusterDisabled => "ERR This instance has cluster support disabled",

        // Replication
        ReadOnly => "READONLY You can't write against a read only replica.",
        MasterDown => "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        NoReplicas => "NOREPLICAS Not enough good replicas to write.",
        MasterPort => "ERR Invalid master port",
        SyncWithoutMasterLink => "NOMASTERLINK Can't SYNC while not connected with my master",
        SyncFromEmpty => "NOMASTERLINK Can't SYNC: this master started without data and the replica has some, which would go. To let it go, send REPLICAOF NO ONE to this master.",
        SyncInFailover => "NOMASTERLINK Can't SYNC while failing over",
        FlowRefused => "NOFLOW There is no replica here that this connection could be a flow of.",
        NotForReplicas => "ERR Command is not valid when client is a replica.",
        PsyncFailover => "ERR PSYNC FAILOVER can't be sent to a master.",
        PsyncFailoverReplid => "ERR PSYNC FAILOVER replid must match my replid.",
        SyncWithOutput => "ERR SYNC and PSYNC are invalid with pending output",
        WaitOnReplica => "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
        WaitAofOnReplica => "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.",
        WaitAofWithoutFile => "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        FailoverNeedsReplicas => "ERR FAILOVER requires connected replicas.",
        FailoverOnReplica => "ERR FAILOVER is not valid when server is a replica.",
        FailoverInProgress => "ERR FAILOVER already in progress.",
        FailoverNotInProgress => "ERR No failover in progress.",
        FailoverTarget => "ERR FAILOVER target HOST and PORT is not a replica.",
        FailoverTargetOffline => "ERR FAILOVER target replica is not online.",
        FailoverForce => "ERR FAILOVER with force option requires both a timeout and target HOST and IP.",
        FailoverTimeout => "ERR FAILOVER timeout must be greater than 0",
        GetKeysUnknown => "ERR Invalid command specified",
        GetKeysNoKeys => "ERR The command has no key arguments",
        GetKeysArity => "ERR Invalid number of arguments specified for command",
        GetKeysArguments => "ERR Invalid arguments specified for command",
        LcsTooLarge => "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ReplicaofInFailover => "ERR REPLICAOF not allowed while failing over.",

        // Sentinel
        SentinelNoMaster => "ERR No such master with that name",
        SentinelConfigUsage => "ERR Only SENTINEL CONFIG GET <option> / SET <option> <value> are supported.",
        SentinelSimulation => "ERR Unknown failure simulation specified",
        SentinelQuorum => "ERR Quorum must be 1 or greater.",
        SentinelInvalidQuorum => "ERR Invalid quorum",
        SentinelInvalidPort => "ERR Invalid port",
        SentinelPort => "ERR Invalid port number.",
        SentinelAddress => "ERR Invalid IP address or hostname specified",
        SentinelDuplicate => "ERR Duplicate master name.",
        SentinelName => "ERR Invalid master name: letters, digits and . - _ only",
        SentinelTooMany => "ERR Too many masters",
        SentinelScriptsDenied => "ERR Reconfiguration of scripts path is denied for security reasons. Check the deny-scripts-reconfig configuration directive in your Sentinel configuration",
        SentinelNotificationScript => "ERR Notification script seems non existing or non executable",
        SentinelReconfigScript => "ERR Client reconfiguration script seems non existing or non executable",
        SentinelNotSaved => "ERR Failed to save config file. Check server logs.",
        SentinelInProgress => "INPROG Failover already in progress",
        SentinelNoGoodReplica => "NOGOODSLAVE No suitable replica to promote",
        SentinelHelloOnly => "ERR Only HELLO messages are accepted by Sentinel instances.",
    }
    built {
        // Cluster
        MoveUnserved { slot: i64 } => ["ERR Slot ", slot, " has no node served."],
        MoveTwice { slot: i64 } => ["ERR I am already migrating slot ", slot, "."],
        MoveOrder { start: i64, end: i64 } => ["ERR Start slot number ", start, " is greater than end slot number ", end, "."],
        ClusterUnknownNode { id: Text } => ["ERR Unknown node ", id],
        ClusterDontKnow { id: Text } => ["ERR I don't know about node ", id],
        ClusterEpoch { epoch: i64 } => ["ERR Invalid config epoch specified: ", epoch],
        ClusterNotOwner { slot: i64 } => ["ERR I'm not the owner of hash slot ", slot],
        ClusterOwner { slot: i64 } => ["ERR I'm already the owner of hash slot ", slot],
        ClusterHoldsKeys { slot: i64 } => ["ERR Can't assign hashslot ", slot, " to a different node while I still hold keys for this hash slot."],
        ClusterSlotFree { slot: i64 } => ["ERR Slot ", slot, " is already unassigned"],
        ClusterSlotBusy { slot: i64 } => ["ERR Slot ", slot, " is already busy"],
        ClusterSlotTwice { slot: i64 } => ["ERR Slot ", slot, " specified multiple times"],
        ClusterSlotOrder { start: i64, end: i64 } => ["ERR start slot number ", start, " is greater than end slot number ", end],
        ClusterAddress { address: Text } => ["ERR Invalid node address specified: ", address],
        ClusterBasePort { port: Text } => ["ERR Invalid base port specified: ", port],
        ClusterBusPort { port: Text } => ["ERR Invalid bus port specified: ", port],
        ClusterMoved { to: Text } => ["MOVED ", to],
        ClusterAsk { to: Text } => ["ASK ", to],

        // Commands
        WrongArity { command: &'static str } => ["ERR wrong number of arguments for '", Lower(command), "' command"],
        WrongSubcommandArity { command: &'static str, subcommand: &'static str } => ["ERR wrong number of arguments for '", Lower(command), "|", Lower(subcommand), "' command"],
        UnknownCommand { name: Text, args: Text } => ["ERR unknown command '", name, "', with args beginning with: ", args],
        UnknownSubcommand { command: &'static str, subcommand: Text } => ["ERR unknown subcommand '", subcommand, "'. Try ", Upper(command), " HELP."],
        WrongSubcommand { command: &'static str, subcommand: Text } => ["ERR unknown subcommand or wrong number of arguments for '", subcommand, "'. Try ", Upper(command), " HELP."],
        UnknownDebug { subcommand: Text } => ["ERR unknown subcommand or wrong number of arguments for '", subcommand, "'. Try DEBUG HELP."],
        CommandNotAllowed { command: &'static str, option: &'static str } => ["ERR ", Upper(command), " command not allowed. If the ", option, " option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server."],
        OnlySubscriberCommands { command: Text } => ["ERR Can't execute '", command, "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"],
        NoPermCommand { command: Text } => ["NOPERM this user has no permissions to run the '", command, "' command"],

        MigrateRefused { why: Text } => ["ERR Target instance replied with error: ", why],
        // Arguments
        NotBetween { low: i64, high: i64 } => ["ERR value is out of range, value must between ", low, " and ", high],
        InvalidExpire { command: &'static str } => ["ERR invalid expire time in '", Lower(command), "' command"],
        ExpireOption { option: Text } => ["ERR Unsupported option ", option],
        XclaimOption { option: Text } => ["ERR Unrecognized XCLAIM option '", option, "'"],
        NoInputKeys { command: &'static str } => ["ERR at least 1 input key is needed for '", Lower(command), "' command"],
        PfdebugUnknown { subcommand: Text } => ["ERR Unknown PFDEBUG subcommand '", subcommand, "'"],
        GeoFrom { command: Text } => ["ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for ", command],
        GeoBy { command: Text } => ["ERR exactly one of BYRADIUS and BYBOX can be specified for ", command],
        GeoPair { pair: Text } => ["ERR invalid longitude,latitude pair ", pair],
        NoGroup { key: Text, group: Text } => ["NOGROUP No such key '", key, "' or consumer group '", group, "'"],
        NoGroupOfRead { key: Text, group: Text } => ["NOGROUP No such key '", key, "' or consumer group '", group, "' in XREADGROUP with GROUP option"],
        NoGroupOfKey { group: Text, key: Text } => ["NOGROUP No such consumer group '", group, "' for key name '", key, "'"],

        // Connections and server
        Protocol { error: ProtocolError } => ["ERR Protocol error: ", error],
        HelloOption { option: Text } => ["ERR Syntax error in HELLO option '", option, "'"],
        ClientType { name: Text } => ["ERR Unknown client type '", name, "'"],
        ClientAttribute { option: Text } => ["ERR ", option, " cannot contain spaces, newlines or special characters."],
        ClientOption { option: Text } => ["ERR Unrecognized option '", option, "'"],
        NoSuchUser { name: Text } => ["ERR No such user '", name, "'"],
        UserNotFound { name: Text } => ["ERR User '", name, "' not found"],
        AclCategory { name: Text } => ["ERR Unknown category '", name, "'"],
        ConfigUnknown { name: Text } => ["ERR Unknown option or number of arguments for CONFIG SET - '", name, "'"],
        ConfigRefused { name: Text, why: Text } => ["ERR CONFIG SET failed (possibly related to argument '", name, "') - ", why],
        NoPermNow { why: &'static str } => ["NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: ", why],
        TrackingPrefixKnown { prefix: Text, other: Text } => ["ERR Prefix '", prefix, "' overlaps with an existing prefix '", other, "'. Prefixes for a single client must not overlap."],
        TrackingPrefixGiven { prefix: Text, other: Text } => ["ERR Prefix '", prefix, "' overlaps with another provided prefix '", other, "'. Prefixes for a single client must not overlap."],
        NoSamples { event: Text } => ["ERR No samples available for event '", event, "'"],
        SortDenied { option: &'static str } => ["ERR ", option, " option of SORT denied due to insufficient ACL permissions."],
        AclRefused { why: Text } => ["ERR ", why],
        AclUser { name: Text } => ["ERR User '", name, "' not found"],
        AclCommand { name: Text } => ["ERR Command '", name, "' not found"],
        ConfigRewrite { why: Text } => ["ERR Rewriting config file: ", why],
        MisconfAof { why: Text } => ["MISCONF Errors writing to the AOF file: ", why],
        ExecAbortBecause { why: Text } => ["EXECABORT Transaction discarded because of: ", why],
        Script { text: Text } => ["ERR ", text],
        ScriptForeignKey { key: Text } => ["ERR Script attempted to access the key '", key, "', which is on another core and not among its KEYS"],
        ScriptBlock { command: &'static str } => ["ERR ", Lower(command), " command is not allowed with BLOCK option from scripts"],
        ScriptElsewhere { command: Text } => ["ERR The command '", command, "' cannot be run by a script on this server"],
        FunctionOption { option: Text } => ["ERR Unknown option given: ", option],
        FunctionArgument { argument: Text } => ["ERR Unknown argument ", argument],
        ReplconfOption { option: Text } => ["ERR Unrecognized REPLCONF option: ", option],

        // Sentinel
        SentinelSetUnknown { option: Text } => ["ERR Unknown option or number of arguments for SENTINEL SET '", option, "'"],
        SentinelSetInvalid { value: Text, option: Text } => ["ERR Invalid argument '", value, "' for SENTINEL SET '", option, "'"],
        SentinelDebugUnknown { option: Text } => ["ERR Unknown option or number of arguments for SENTINEL DEBUG '", option, "'"],
        SentinelDebugInvalid { value: Text, option: Text } => ["ERR Invalid argument '", value, "' for SENTINEL DEBUG '", option, "'"],
        SentinelConfigUnknown { option: Text } => ["ERR Invalid argument '", option, "' to SENTINEL CONFIG SET"],
        SentinelConfigInvalid { value: Text, option: Text } => ["ERR Invalid value '", value, "' to SENTINEL CONFIG SET '", option, "'"],
        SentinelNoQuorum { usable: i64, why: &'static str } => ["NOQUORUM ", usable, " usable Sentinels. ", why],
    }
}

/// Why a request cannot be read. The connection is of no use afterwards: it is closed, after the
/// reply if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    MultibulkLength,
    BulkLength,
    /// An argument must begin with `$`.
    ExpectedDollar {
        got: u8,
    },
    /// CR without LF, or a bulk longer than it was announced.
    Crlf,
    MultibulkLine,
    BulkLine,
    InlineLine,
    UnbalancedQuotes,
    UnauthenticatedMultibulk,
    UnauthenticatedBulk,
    /// Redis waits for ever on an inline request with a NUL.
    InlineNul,
    /// A proxy announces its client, but this listener was not told to expect one.
    ProxyPreamble,
    /// A browser was lured into talking to this port: not a word to it.
    Http,
    /// A TLS `ClientHello` on a plain port; it could not read a reply.
    Tls,
}

impl ProtocolError {
    /// The reply before the connection is closed; none for those that speak another protocol.
    #[must_use]
    pub fn reply(self) -> Option<ErrorKind> {
        match self {
            Self::Http | Self::Tls => None,
            error => Some(ErrorKind::Protocol { error }),
        }
    }
}

impl ErrorKind {
    /// Appends the reply: `-`, the text, CR LF.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.push(b'-');
        out.extend_from_slice(self.head().as_bytes());
        self.write_rest(out);
        out.extend_from_slice(b"\r\n");
    }

    /// The first word of the text.
    #[must_use]
    pub fn code(&self) -> &str {
        let head = self.head();
        head.split_once(' ').map_or(head, |(code, _)| code)
    }

    /// Why EXEC does not run what was queued.
    #[must_use]
    pub fn exec_abort(why: &Self) -> Self {
        let mut text = Vec::new();
        why.write_to(&mut text);
        let text = text.strip_prefix(b"-").unwrap_or(&text);
        let text = text.strip_suffix(b"\r\n").unwrap_or(text);
        Self::ExecAbortBecause { why: text.into() }
    }

    /// For a request whose command does not exist: repeats the beginning of it.
    #[must_use]
    pub fn unknown_command(request: &[&[u8]]) -> Self {
        let (name, rest) = request.split_first().map_or((&b""[..], request), |(n, r)| (*n, r));
        let mut args = Vec::new();
        for arg in rest {
            let Some(left) = PREVIEW_BYTES_MAX.checked_sub(args.len()).filter(|&left| left > 0)
            else {
                break;
            };
            args.push(b'\'');
            args.extend_from_slice(preview(arg, left));
            args.extend_from_slice(b"' ");
        }
        Self::UnknownCommand {
            name: preview(name, PREVIEW_BYTES_MAX).into(),
            args: args.into_boxed_slice(),
        }
    }

    /// For a subcommand that has more words than it can be given.
    #[must_use]
    pub fn wrong_subcommand(command: &'static str, subcommand: &[u8]) -> Self {
        let subcommand = preview(subcommand, PREVIEW_BYTES_MAX).into();
        Self::WrongSubcommand { command, subcommand }
    }

    /// For a subcommand that DEBUG does not have, or not with so many words.
    #[must_use]
    pub fn unknown_debug(subcommand: &[u8]) -> Self {
        Self::UnknownDebug { subcommand: preview(subcommand, PREVIEW_BYTES_MAX).into() }
    }

    /// For a subcommand that `command` does not have.
    #[must_use]
    pub fn unknown_subcommand(command: &'static str, subcommand: &[u8]) -> Self {
        Self::UnknownSubcommand {
            command,
            subcommand: preview(subcommand, PREVIEW_BYTES_MAX).into(),
        }
    }
}

const _: () = assert!(size_of::<ErrorKind>() <= 40);

/// At most `bytes_max` of `text`, and nothing from a NUL on: so much of it Redis repeats.
fn preview(text: &[u8], bytes_max: usize) -> &[u8] {
    let text = text.get(..bytes_max).unwrap_or(text);
    text.split(|&byte| byte == 0).next().unwrap_or(text)
}

/// A part of an error's text.
trait Part {
    fn put(&self, out: &mut Vec<u8>);
}

impl Part for &str {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }
}

impl Part for Text {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.iter().take_while(|&&byte| byte != 0).map(|&byte| one_line(byte)));
    }
}

impl Part for i64 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.to_string().as_bytes());
    }
}

/// A command's name as messages about arguments spell it.
struct Lower<'a>(&'a str);

impl Part for Lower<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.0.bytes().map(|byte| byte.to_ascii_lowercase()));
    }
}

/// A command's name as messages that advise spell it.
struct Upper<'a>(&'a str);

impl Part for Upper<'_> {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend(self.0.bytes().map(|byte| byte.to_ascii_uppercase()));
    }
}

impl Part for ProtocolError {
    fn put(&self, out: &mut Vec<u8>) {
        let text: &str = match self {
            Self::MultibulkLength => "invalid multibulk length",
            Self::BulkLength => "invalid bulk length",
            Self::ExpectedDollar { got } => {
                out.extend_from_slice(b"expected '$', got '");
                out.push(one_line(*got));
                "'"
            }
            Self::Crlf => "invalid CRLF in request",
            Self::MultibulkLine => "too big mbulk count string",
            Self::BulkLine => "too big bulk count string",
            Self::InlineLine => "too big inline request",
            Self::UnbalancedQuotes => "unbalanced quotes in request",
            Self::UnauthenticatedMultibulk => "unauthenticated multibulk length",
            Self::UnauthenticatedBulk => "unauthenticated bulk length",
            Self::InlineNul => "NUL in inline request",
            Self::ProxyPreamble => "unexpected PROXY preamble",
            Self::Http => "HTTP request",
            Self::Tls => "TLS handshake on a plain port",
        };
        text.put(out);
    }
}

fn one_line(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: &ErrorKind, expected: &str) {
        let mut out = Vec::new();
        error.write_to(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("{expected}\r\n"));
    }

    /// Golden lines, captured from redis-server 7.0.15.
    #[test]
    fn lines_that_vary_are_as_redis_writes_them() {
        let unknown = |request: &[&[u8]]| ErrorKind::unknown_command(request);
        let (x, y, z) = ("x".repeat(200), "y".repeat(200), "z".repeat(50));
        #[rustfmt::skip]
        let table = [
            (ErrorKind::WrongArity { command: "GET" }, "-ERR wrong number of arguments for 'get' command".to_string()),
            (ErrorKind::WrongSubcommandArity { command: "CONFIG", subcommand: "GET" }, "-ERR wrong number of arguments for 'config|get' command".into()),
            (unknown(&[]), "-ERR unknown command '', with args beginning with: ".into()),
            (unknown(&[b"foo"]), "-ERR unknown command 'foo', with args beginning with: ".into()),
            (unknown(&[b"foo", b"a", b"b", b"c"]), "-ERR unknown command 'foo', with args beginning with: 'a' 'b' 'c' ".into()),
            (unknown(&[x.as_bytes(), y.as_bytes(), z.as_bytes()]), format!("-ERR unknown command '{}', with args beginning with: '{}' ", &x[..128], &y[..128])),
            (unknown(&[b"foo", &y.as_bytes()[..100], z.as_bytes(), b"1"]), format!("-ERR unknown command 'foo', with args beginning with: '{}' '{}' ", &y[..100], &z[..25])),
            (unknown(&[b"foo", &y.as_bytes()[..120], z.as_bytes(), b"1"]), format!("-ERR unknown command 'foo', with args beginning with: '{}' 'zzzzz' ", &y[..120])),
            (unknown(&[b"foo", &y.as_bytes()[..127], z.as_bytes(), b"1"]), format!("-ERR unknown command 'foo', with args beginning with: '{}' ", &y[..127])),
            (unknown(&[b"a\r\nb", b"c\r\nd\0e"]), "-ERR unknown command 'a  b', with args beginning with: 'c  d' ".into()),
            (ErrorKind::unknown_subcommand("config", x.as_bytes()), format!("-ERR unknown subcommand '{}'. Try CONFIG HELP.", &x[..128])),
            (ErrorKind::unknown_subcommand("config", b"a\r\nb"), "-ERR unknown subcommand 'a  b'. Try CONFIG HELP.".into()),
            (ErrorKind::unknown_debug(x.as_bytes()), format!("-ERR unknown subcommand or wrong number of arguments for '{}'. Try DEBUG HELP.", &x[..128])),
            (ErrorKind::unknown_debug(b"\0"), "-ERR unknown subcommand or wrong number of arguments for ''. Try DEBUG HELP.".into()),
            (ErrorKind::ExpireOption { option: b"a\nb\0c"[..].into() }, "-ERR Unsupported option a b".into()),
            (ErrorKind::NotBetween { low: -2_147_483_648, high: 2_147_483_647 }, "-ERR value is out of range, value must between -2147483648 and 2147483647".into()),
            (ErrorKind::InvalidExpire { command: "SET" }, "-ERR invalid expire time in 'set' command".into()),
            (ErrorKind::ConfigRefused { name: b"appendonly"[..].into(), why: b"argument must be 'yes' or 'no'"[..].into() }, "-ERR CONFIG SET failed (possibly related to argument 'appendonly') - argument must be 'yes' or 'no'".into()),
            (ErrorKind::Protocol { error: ProtocolError::ExpectedDollar { got: b'\r' } }, "-ERR Protocol error: expected '$', got ' '".into()),
        ];
        for (error, expected) in &table {
            check(error, expected);
        }
    }

    #[test]
    fn every_fixed_line_is_one_line_that_begins_with_a_code() {
        for error in ErrorKind::FIXED {
            let code = error.code();
            assert!(!code.is_empty() && code.bytes().all(|b| b.is_ascii_uppercase()), "{error:?}");
            assert!(!error.head().contains(['\r', '\n', '\0']), "{error:?}");
            assert_ne!(error.head(), code, "{error:?} has no text");
        }
        assert_eq!(ErrorKind::WrongType.code(), "WRONGTYPE");
        assert_eq!(ErrorKind::NoGroup { key: [].into(), group: [].into() }.code(), "NOGROUP");
    }

    #[test]
    fn other_protocols_get_no_reply() {
        assert_eq!(ProtocolError::Http.reply(), None);
        assert_eq!(ProtocolError::Tls.reply(), None);
        assert!(ProtocolError::Crlf.reply().is_some());
    }
}
