//! Every limit has its name here, and the relations between limits are asserted at compile time.

/// Hash slots of a Redis Cluster; a key's slot decides its core in every mode.
pub const SLOTS: u16 = 16_384;

/// Cores that one process may run.
pub const CORES_MAX: usize = 256;

/// Arguments of one request (Redis: `INT_MAX`). Only what has arrived is ever allocated for.
pub const REQUEST_ARGS_MAX: usize = 2_147_483_647;

/// Bytes of one header line or inline request without a line end (Redis: `PROTO_INLINE_MAX_SIZE`).
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Bytes of lines for MONITOR that a core writes in one turn.
pub const MONITOR_TURN_BYTES_MAX: usize = 1 << 20;

/// Handshakes of TLS: milliseconds that one may take; how many have a step in one turn of a core; bytes that
/// one, and all of a core together, may have waiting; plaintext that is sealed at once for a replica.
pub const HANDSHAKE_MS: u64 = 10_000;
pub const HANDSHAKES_PER_TURN: usize = 2;
pub const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
pub const HANDSHAKES_BYTES_MAX: usize = 64 * 1024 * 1024;
pub const SEALED_FEED_BYTES: usize = 256 * 1024;

/// Slow requests that a core keeps, whatever `slowlog-max-len` says; words of each, and bytes of a word.
pub const SLOWLOG_ENTRIES_MAX: usize = 100_000;
pub const SLOWLOG_WORDS_MAX: usize = 32;
pub const SLOWLOG_WORD_BYTES_MAX: usize = 128;

/// Refusals that a core keeps for `ACL LOG`, whatever `acllog-max-len` says.
pub const ACL_LOG_ENTRIES_MAX: usize = 10_000;

/// Arguments of a request before the client has authenticated (Redis: 10).
pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;

/// Bytes of one argument before the client has authenticated (Redis: 16384).
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;

/// Default of `proto-max-bulk-len`, and so the longest string value.
pub const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Default of `hll-sparse-max-bytes`: a HyperLogLog that would be longer becomes dense.
pub const HLL_SPARSE_BYTES_MAX: usize = 3_000;

/// Requests that one window of a turn parses, hashes and prefetches before it executes them.
pub const WINDOW_REQUESTS: usize = 64;

const _: () = {
    assert!(CORES_MAX <= SLOTS as usize);
    assert!(UNAUTHENTICATED_ARGS_MAX < REQUEST_ARGS_MAX);
    assert!(UNAUTHENTICATED_BULK_BYTES_MAX < BULK_BYTES_MAX);
};

/// Bytes of one chunk of the replication ring: what the backlog grows and shrinks by.
pub const RING_CHUNK_BYTES: usize = 64 * 1024;

/// What a replica waits for its second full sync within a while, and for any later one at most; and how
/// long it must follow the stream until the next counts as a first one.
pub const SYNC_PACE_MS_MIN: u64 = 1_000;
pub const SYNC_PACE_MS_MAX: u64 = 60_000;
pub const SYNC_WELL_MS: u64 = 60_000;

/// Bytes that the append-only file may lack before writers wait for it.
pub const AOF_BEHIND_BYTES: u64 = 64 * 1024 * 1024;

/// Between two marks of the stream's end, and how many are kept, to measure lags by.
pub const LAG_MARK_US: u64 = 200;
pub const LAG_MARKS_MAX: usize = 64 * 1024;

/// Seconds of the stream that `repl-backlog-seconds` may ask for.
pub const BACKLOG_SECONDS_MAX: u64 = 3_600;

/// How far a replica may be behind before writers wait for it, where `client-output-buffer-limit` has no
/// limit for replicas; and how much less that must become before they go on.
pub const REPLICA_BEHIND_BYTES: u64 = 256 * 1024 * 1024;
pub const REPLICA_BEHIND_SLACK_BYTES: u64 = 1024 * 1024;

/// Chunks of the ring that are read ahead of a cursor where they are in a file, chunks on their way to that, and
/// how far beyond its memory the ring may be before writers wait for the file.
pub const RING_PAGES_AHEAD: usize = 16;
pub const SPILLS_UNDER_WAY_MAX: usize = 32;
pub const SPILL_SLACK_BYTES: u64 = 16 * 1024 * 1024;

/// Emptied chunks that the ring keeps for the next bytes, and sealed buffers that a log keeps.
pub const RING_SPARE_CHUNKS: usize = 4;

/// A recycled batch buffer larger than this is given back to the allocator instead.
pub const LOG_SPARE_BYTES_MAX: usize = 1024 * 1024;

/// Tickets that the merger may hold back while it waits for an earlier one.
pub const MERGE_TICKETS_MAX: usize = 1_048_576;

/// Bytes of one command, or of one whole MULTI..EXEC, in a master's stream.
pub const STREAM_UNIT_BYTES_MAX: usize = 2 * BULK_BYTES_MAX;

/// Bytes of a master's line (`+FULLRESYNC`, `$EOF:`, errors) without a line end.
pub const MASTER_LINE_BYTES_MAX: usize = 1_024;

/// Bytes of a snapshot that are made before all who can go on with it have received them: what a broken link costs at
/// most. And how often a replica says what it has received.
pub const SYNC_WINDOW_BYTES: u64 = 4 * 1024 * 1024;
pub const SYNC_RECEIVED_BYTES: u64 = 256 * 1024;

/// Attached replicas, the ones in their handshake included.
pub const REPLICAS_MAX: usize = 1_024;

/// Flows of a replica; bytes of one frame, and of one send of them; pieces of the stream that wait for a flow before
/// other flows take them.
pub const FLOWS_MAX: usize = CORES_MAX;
pub const FLOW_FRAME_BYTES_MAX: usize = 64 * 1024;
pub const FLOW_SEND_BYTES: u64 = 128 * 1024;
pub const FLOW_PIECES_MAX: usize = 4_096;

/// Bytes of a flow that wait on a replica for others before it is not read from.
pub const FLOW_HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

const _: () = {
    assert!(MASTER_LINE_BYTES_MAX < LINE_BYTES_MAX);
    assert!(STREAM_UNIT_BYTES_MAX > BULK_BYTES_MAX);
    assert!(LOG_SPARE_BYTES_MAX >= RING_CHUNK_BYTES);
    assert!(MERGE_TICKETS_MAX > CORES_MAX);
    assert!(SYNC_RECEIVED_BYTES * 4 <= SYNC_WINDOW_BYTES);
    assert!(FLOW_FRAME_BYTES_MAX < FLOW_HELD_BYTES_MAX);
    assert!(FLOW_SEND_BYTES >= FLOW_FRAME_BYTES_MAX as u64);
};

/// Bytes of one configuration file, and of standard input where it holds the configuration.
pub const CONFIG_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Configuration files within one another by `include`.
pub const CONFIG_INCLUDE_DEPTH_MAX: usize = 16;

/// Configuration files that one start may read in all: files that include one another in a fan
/// would otherwise be read exponentially often.
pub const CONFIG_FILES_MAX: usize = 1_000;

/// Addresses of one `bind` line (Redis: `CONFIG_BINDADDR_MAX`).
pub const BIND_ADDRESSES_MAX: usize = 16;

/// Highest `maxclients` that is taken without being asked for.
pub const CLIENTS_DEFAULT_MAX: u32 = 1_048_576;

/// Descriptors that are not clients': listeners, rings, files, replicas' links.
pub const DESCRIPTORS_RESERVED: u64 = 64;
pub const DESCRIPTORS_PER_CORE: u64 = 8;

/// Connections that only the doors for administration may take, where descriptors are short.
pub const ADMIN_RESERVE: u64 = 64;

/// Descriptors that are kept are at most this part of all: sockets are parked from a quarter on.
pub const ADMIN_RESERVE_PART: u64 = 8;

/// Connections that a turn accepts at most, and at least: how many between them is up to the loop's lag.
pub const ACCEPTS_PER_TURN_MAX: usize = 256;
pub const ACCEPTS_PER_TURN_MIN: usize = 4;

/// A turn that takes longer than this is long: fewer connections are accepted.
pub const TURN_TARGET_NS: u64 = 500_000;

const _: () = assert!(ACCEPTS_PER_TURN_MIN > 0 && ACCEPTS_PER_TURN_MIN < ACCEPTS_PER_TURN_MAX);

/// Sessions that a core looks at in one turn, of the round in which it looks at all of them.
pub const SWEPT_ROWS_PER_TURN: usize = 256;

/// From so many bytes on a client is known by itself where clients take too much together.
pub const HEAVY_CLIENT_BYTES: usize = 16 * 1024;

/// Clients that a core closes in one turn where all of them take too much.
pub const EVICTED_CLIENTS_PER_TURN: usize = 128;

/// As above, of those that are not known by themselves, in one tick.
pub const EVICTED_CLIENTS_PER_TICK: usize = 1_024;

/// The least that `maxmemory-clients` means.
pub const CLIENT_BYTES_MAX_MIN: u64 = 128 * 1024;

const _: () = assert!(CLIENT_BYTES_MAX_MIN > 4 * HEAVY_CLIENT_BYTES as u64);

/// With more clients than this, CLIENT LIST is written as it is sent: lines of one length, in pages.
pub const LIST_AT_ONCE_MAX: usize = 10_000;
pub const LIST_LINE_BYTES: usize = 384;
pub const LIST_PAGE_BYTES: usize = 16 * 1024;

/// Output that waits for the reader of such a list; beyond it no page is added.
pub const LIST_BACKLOG_BYTES_MAX: usize = 64 * 1024;

/// Such lists that clients of one core read at the same time.
pub const LISTS_MAX: usize = 4;

const _: () =
    assert!(LIST_LINE_BYTES < LIST_PAGE_BYTES && LIST_PAGE_BYTES <= LIST_BACKLOG_BYTES_MAX);

/// Memory that one executor registers, with room to spare (it refuses to start with less).
pub const EXECUTOR_MEMLOCK_BYTES: u64 = 512 * 1024;

/// The longest queue of a listener that the kernel takes: a longer one wraps in older kernels.
pub const LISTEN_QUEUE_MAX: u64 = 65_535;

/// CPU numbers that a `cores` list may name are below this.
pub const CPU_NUMBER_MAX: u16 = 8_192;

const _: () = {
    assert!(CORES_MAX <= CPU_NUMBER_MAX as usize);
    assert!(CONFIG_INCLUDE_DEPTH_MAX <= CONFIG_FILES_MAX);
};
/// Bytes of a piece of a snapshot: what one step encodes and checksums, and the longest value that it
/// compresses.
pub const SNAPSHOT_CHUNK_BYTES: usize = 64 * 1024;

const _: () = assert!(SNAPSHOT_CHUNK_BYTES < BULK_BYTES_MAX);
/// Bytes of the table that `LCS` fills; two strings of 11,000 bytes each.
pub const LCS_TABLE_BYTES_MAX: usize = BULK_BYTES_MAX;

/// Bytes of replies after which a connection's further requests wait for the next turn.
pub const TURN_REPLY_BYTES: usize = 1024 * 1024;

/// Bytes of ready replies of a pipeline that wait for those of it that other cores still owe.
pub const FLIGHT_HELD_BYTES_MAX: usize = 64 * 1024;

const _: () = assert!(FLIGHT_HELD_BYTES_MAX <= TURN_REPLY_BYTES);

/// Bytes of input that may wait in a stalled session before the operator's limit counts.
pub const INPUT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of output kept for a client that has not authenticated.
pub const UNAUTHENTICATED_OUTPUT_BYTES_MAX: usize = 1024;

/// Seconds that a client has to authenticate where a password is set.
pub const HANDSHAKE_SECONDS_MAX: u32 = 10;

/// Request messages under way on one road, and bytes that gather for the next, before the sessions
/// that feed it wait.
pub const ROAD_BATCHES_MAX: usize = 4;
pub const ROAD_BYTES_MAX: usize = 1024 * 1024;

/// Items that a road between two cores holds. What is not a request is bounded by its own rules.
pub const ROAD_ITEMS_MAX: usize = 1024;

/// Buffers kept for reuse, and the largest that is.
pub const SPARE_BUFFERS_MAX: usize = 64;
pub const SPARE_BYTES_MAX: usize = 256 * 1024;

/// Records walked in a slice of a snapshot, chunks that may wait to be consumed, and the bytes of
/// handed-over records for which a slice grows by itself once more.
pub const WALK_RECORDS_PER_TURN: usize = 256;
pub const WALK_CHUNKS_MAX: usize = 8;
pub const WALK_POOL_BYTES: usize = 1024 * 1024;

/// Snapshot bytes that may wait in a replica's feed before the walks pause.
pub const FEED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Snapshot bytes kept for a replica that takes no EOF mark, before its sync is given up.
pub const SPOOL_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Steps of saving a file that may be unconfirmed before the walks pause.
pub const SAVE_STEPS_MAX: usize = 32;

/// Requests under way to other cores while a stream or a file is applied.
pub const APPLY_UNDER_WAY_MAX: usize = 16 * 1024;

/// Bytes of a master's stream that wait to be applied before its socket is not read from.
pub const APPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Buckets looked at by one slice of active expiry, and while many keys are found expired.
pub const EXPIRE_BUCKETS_PER_TURN: usize = 256;
pub const EXPIRE_BUCKETS_PER_TURN_PRESSED: usize = 2048;

/// Records of a dropped database freed per turn.
pub const COLLECT_RECORDS_PER_TURN: usize = 512;

/// Error codes counted apart in `INFO errorstats`.
pub const ERROR_CODES_MAX: usize = 128;

const _: () = assert!(ROAD_BATCHES_MAX * 4 < ROAD_ITEMS_MAX);

/// Bytes of a value that still lies in its record; a longer one is shared by reference.
pub const INLINE_VALUE_BYTES_MAX: usize = 1_024;

/// Bytes of a key that still lies in its record.
pub const INLINE_KEY_BYTES_MAX: usize = 512;

/// Bytes of the largest small record: header, expiry, key and value.
pub const ARENA_RECORD_BYTES_MAX: usize = 1_600;

/// Bytes of the longest key and the longest value that the keyspace takes.
pub const STRING_BYTES_MAX: usize = u32::MAX as usize;

const _: () = {
    assert!(INLINE_KEY_BYTES_MAX + INLINE_VALUE_BYTES_MAX + 16 <= ARENA_RECORD_BYTES_MAX);
    assert!(BULK_BYTES_MAX <= STRING_BYTES_MAX);
};
/// Aggregates within aggregates that a reply may have; what Redis sends has under ten.
pub const REPLY_DEPTH_MAX: usize = 128;

/// Bytes of one string in a reply. A peer may have raised its `proto-max-bulk-len`.
pub const REPLY_BULK_BYTES_MAX: usize = 4 << 30;

/// Elements of one aggregate in a reply.
pub const REPLY_ELEMENTS_MAX: usize = u32::MAX as usize;

const _: () = assert!(REPLY_BULK_BYTES_MAX >= BULK_BYTES_MAX);

/// A value that `DEBUG POPULATE` makes: more is a slip of whoever types it.
pub const POPULATE_BYTES_MAX: usize = 64 << 20;

/// Elements that a command draws at random with repetition: the reply is far longer than the request.
pub const DRAWN_ELEMENTS_MAX: u64 = 16 * 1024 * 1024;

/// Bytes that one core's interpreter may take.
pub const LUA_MEMORY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Bytes of the stack that a script runs on. Only what it touches is ever backed by memory. Lua lets functions
/// of C use 8,000 places of its own stack: so deep may values be nested that the libraries read and write, by
/// a few calls each.
pub const LUA_STACK_BYTES: usize = 64 * 1024 * 1024;

/// Instructions after which a script stands still, so that its core can look at the time (Redis: the same).
pub const LUA_PAUSE_INSTRUCTIONS: i32 = 100_000;

/// Pauses of a script in one turn of its core: a few milliseconds.
pub const LUA_SLICES_PER_TURN: u32 = 10;

/// Times that a script which cannot stand still, being part of a transaction, goes on regardless; then it is
/// ended if it has not written: about 10 seconds.
pub const LUA_UNPAUSED_SLICES_MAX: u32 = 10_000;

/// Instructions that the definition of a script or library may take.
pub const LUA_DEFINE_INSTRUCTIONS_MAX: i32 = 20_000_000;

/// Items of one pattern that may repeat: matching recurses once for each.
pub const LUA_PATTERN_ITEMS_MAX: usize = 8_192;

/// Scripts of EVAL that a core remembers, and their bytes.
pub const EVAL_SCRIPTS_MAX: usize = 16_384;
pub const EVAL_SCRIPTS_BYTES_MAX: usize = 256 * 1024 * 1024;

const _: () = {
    // A frame of the matcher and one of what repeats are far below 512 bytes.
    assert!(LUA_PATTERN_ITEMS_MAX * 512 <= LUA_STACK_BYTES / 2);
    assert!(EVAL_SCRIPTS_BYTES_MAX < LUA_MEMORY_BYTES_MAX);
    assert!(LUA_PAUSE_INSTRUCTIONS < LUA_DEFINE_INSTRUCTIONS_MAX);
};

/// Masters that one Sentinel watches, and replicas and other Sentinels that it believes one to have.
pub const SENTINEL_MASTERS_MAX: usize = 1_024;
pub const SENTINEL_REPLICAS_MAX: usize = 1_000;
pub const SENTINEL_PEERS_MAX: usize = 64;

/// Configurations of one master that somebody claims and that are not confirmed yet.
pub const SENTINEL_CLAIMS_MAX: usize = 8;

/// Bytes of one answer to a Sentinel, and of an `INFO` that it reads.
pub const SENTINEL_REPLY_BYTES_MAX: usize = 2 * 1024 * 1024;
pub const SENTINEL_INFO_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a hello message, and of a name in it.
pub const SENTINEL_HELLO_BYTES_MAX: usize = 2_048;
pub const SENTINEL_NAME_BYTES_MAX: usize = 512;

/// How far ahead of the known epoch somebody may say the epoch is: more is no accident.
pub const SENTINEL_EPOCH_JUMP_MAX: u64 = 1 << 32;

/// Questions under way on one link before less urgent ones wait (Redis: 100).
pub const SENTINEL_QUESTIONS_MAX: usize = 100;

/// Scripts that wait, that run, and how often one is tried (Redis: 256, 16, 10).
pub const SENTINEL_SCRIPTS_MAX: usize = 256;
pub const SENTINEL_SCRIPTS_RUNNING_MAX: usize = 16;
pub const SENTINEL_SCRIPT_TRIES_MAX: u32 = 10;

/// Clients of a Sentinel, and bytes that may wait for one of them on either way.
pub const SENTINEL_CLIENTS_MAX: usize = 10_000;
pub const SENTINEL_CLIENT_BYTES_MAX: usize = 1024 * 1024;

const _: () = {
    assert!(SENTINEL_INFO_BYTES_MAX < SENTINEL_REPLY_BYTES_MAX);
    assert!(SENTINEL_NAME_BYTES_MAX < SENTINEL_HELLO_BYTES_MAX);
    assert!(SENTINEL_SCRIPTS_RUNNING_MAX < SENTINEL_SCRIPTS_MAX);
};

/// Bytes of one packet on the cluster bus, and of one from somebody whom we do not know: gossip about 10,000
/// nodes at once. Only what has arrived is ever allocated for.
pub const CLUSTER_PACKET_BYTES_MAX: usize = BULK_BYTES_MAX + CLUSTER_STRANGER_BYTES_MAX;
pub const CLUSTER_STRANGER_BYTES_MAX: usize = 1024 * 1024 + 16 * 1024;

/// Bytes of a hostname or a name for people that a node announces (Redis: `NET_HOST_STR_LEN`).
pub const CLUSTER_NAME_BYTES_MAX: usize = 255;

const _: () = assert!(CLUSTER_STRANGER_BYTES_MAX < CLUSTER_PACKET_BYTES_MAX);

/// Nodes that one node knows, and connections of nodes that nobody knows yet.
pub const CLUSTER_NODES_MAX: usize = 10_000;
pub const CLUSTER_STRANGERS_MAX: usize = 256;

/// How far ahead of the known epoch somebody may say the epoch is: more is no accident.
pub const CLUSTER_EPOCH_JUMP_MAX: u64 = 1 << 32;

/// Bytes for other nodes that wait until a claim of ours is on disk.
pub const CLUSTER_HELD_BYTES_MAX: usize = 64 * 1024 * 1024;
