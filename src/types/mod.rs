//! Containers behind values; they know no command and no RESP.
