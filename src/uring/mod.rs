//! Sockets over io_uring, for the server and for loadgen: the one home of unsafe I/O.
