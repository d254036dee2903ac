//! Bytes <-> values of the Redis protocol.
