//! Every limit has its name here, and the relations between limits are asserted at compile time.

/// Hash slots of a Redis Cluster; a key's slot decides its core in every mode.
pub const SLOTS: u16 = 16_384;

/// Cores that one process may run.
pub const CORES_MAX: usize = 256;

/// Arguments of one request (Redis: 1024*1024).
pub const REQUEST_ARGS_MAX: usize = 1_048_576;

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

/// Bytes of the table that `LCS` fills; two strings of 11,000 bytes each.
pub const LCS_TABLE_BYTES_MAX: usize = BULK_BYTES_MAX;
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
