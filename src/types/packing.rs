//! Up to where a collection is packed: Redis' settings of these names, as data.

/// Bytes of a packed value, whatever the settings say (Redis: `LISTPACK_MAX_SAFETY_LIMIT`).
pub const PACKED_BYTES_MAX: usize = 1 << 30;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    /// `hash-max-listpack-entries`, `hash-max-listpack-value`
    pub hash_entries: usize,
    pub hash_value_bytes: usize,
    /// `set-max-intset-entries`
    pub intset_entries: usize,
    /// `set-max-listpack-entries`, `set-max-listpack-value`, which came with Redis 7.2
    pub set_entries: usize,
    pub set_value_bytes: usize,
    /// `zset-max-listpack-entries`, `zset-max-listpack-value`
    pub zset_entries: usize,
    pub zset_value_bytes: usize,
    /// `list-max-listpack-size`: elements of a node; -1 to -5: 4, 8, 16, 32, 64 KiB of a node.
    pub list_node_size: i64,
    /// `list-compress-depth`
    pub list_compress_depth: usize,
    /// `stream-node-max-bytes`, `stream-node-max-entries`; 0 is no limit.
    pub stream_node_bytes: usize,
    pub stream_node_entries: usize,
}

impl Default for Packing {
    /// Redis' defaults.
    fn default() -> Self {
        Self {
            hash_entries: 512,
            hash_value_bytes: 64,
            intset_entries: 512,
            set_entries: 128,
            set_value_bytes: 64,
            zset_entries: 128,
            zset_value_bytes: 64,
            list_node_size: -2,
            list_compress_depth: 0,
            stream_node_bytes: 4_096,
            stream_node_entries: 100,
        }
    }
}
