//! Every limit has its name here, and the relations between limits are asserted at compile time.

/// Hash slots of a Redis Cluster; a key's slot decides its core in every mode.
pub const SLOTS: u16 = 16_384;

/// Cores that one process may run.
pub const CORES_MAX: usize = 256;

/// Arguments of one request (Redis: `INT_MAX`). Only what has arrived is ever allocated for.
pub const REQUEST_ARGS_MAX: usize = 2_147_483_647;

/// Bytes of one header line or inline request without a line end (Redis: `PROTO_INLINE_MAX_SIZE`).
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Arguments of a request before the client has authenticated (Redis: 10).
pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;

/// Bytes of one argument before the client has authenticated (Redis: 16384).
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;

/// Default of `proto-max-bulk-len`, and so the longest string value.
pub const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Requests that one window of a turn parses, hashes and prefetches before it executes them.
pub const WINDOW_REQUESTS: usize = 64;

const _: () = {
    assert!(CORES_MAX <= SLOTS as usize);
    assert!(UNAUTHENTICATED_ARGS_MAX < REQUEST_ARGS_MAX);
    assert!(UNAUTHENTICATED_BULK_BYTES_MAX < BULK_BYTES_MAX);
};

/// Bytes of one chunk of the replication ring: what the backlog grows and shrinks by.
pub const RING_CHUNK_BYTES: usize = 64 * 1024;

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

/// Attached replicas, the ones in their handshake included.
pub const REPLICAS_MAX: usize = 1_024;

const _: () = {
    assert!(MASTER_LINE_BYTES_MAX < LINE_BYTES_MAX);
    assert!(STREAM_UNIT_BYTES_MAX > BULK_BYTES_MAX);
    assert!(LOG_SPARE_BYTES_MAX >= RING_CHUNK_BYTES);
    assert!(MERGE_TICKETS_MAX > CORES_MAX);
};
/// Aggregates within aggregates that a reply may have; what Redis sends has under ten.
pub const REPLY_DEPTH_MAX: usize = 128;

/// Bytes of one string in a reply. A peer may have raised its `proto-max-bulk-len`.
pub const REPLY_BULK_BYTES_MAX: usize = 4 << 30;

/// Elements of one aggregate in a reply.
pub const REPLY_ELEMENTS_MAX: usize = u32::MAX as usize;

const _: () = assert!(REPLY_BULK_BYTES_MAX >= BULK_BYTES_MAX);
