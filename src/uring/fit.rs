//! Is this host fit for the socket ring? If not: what is missing and what to change.
//!
//! Asked once before anything else starts, because glommio panics where io_uring is blocked.

use super::buffers::Buffers;
use crate::base::limits::EXECUTOR_MEMLOCK_BYTES;
use io_uring::{IoUring, Probe, opcode};
use std::fmt;
use std::io;

/// Why this host cannot run the socket ring.
#[derive(Debug)]
pub enum Unfit {
    /// `io_uring_setup` is refused: sysctl or seccomp.
    Blocked,
    /// RLIMIT_MEMLOCK is below what the executor registers.
    Memlock { soft_bytes: u64, needed_bytes: u64 },
    /// The kernel lacks something.
    TooOld { missing: &'static str, since: &'static str },
    /// Anything else, in the kernel's words.
    Other(io::Error),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked => write!(
                f,
                "io_uring is blocked on this host. Set the sysctl kernel.io_uring_disabled=0; in a \
                 container, allow io_uring_setup, io_uring_enter and io_uring_register in its \
                 seccomp profile"
            ),
            Self::Memlock { soft_bytes, needed_bytes } => write!(
                f,
                "RLIMIT_MEMLOCK is {soft_bytes} bytes and {needed_bytes} are needed. Raise it: \
                 `ulimit -l {}` in the shell, LimitMEMLOCK={needed_bytes} in a systemd unit",
                needed_bytes / 1024
            ),
            Self::TooOld { missing, since } => {
                write!(f, "the kernel lacks {missing}; Linux {since} or newer has it")
            }
            Self::Other(error) => write!(f, "io_uring cannot be set up: {error}"),
        }
    }
}

/// Sets up a small ring, asks it for every operation that the driver uses, and drops it.
///
/// # Errors
/// What is missing and how to mend it.
pub fn check() -> Result<(), Unfit> {
    let soft_bytes = super::sys::soft_limit(libc::RLIMIT_MEMLOCK);
    if soft_bytes < EXECUTOR_MEMLOCK_BYTES {
        return Err(Unfit::Memlock { soft_bytes, needed_bytes: EXECUTOR_MEMLOCK_BYTES });
    }
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(8)
        .map_err(|error| explain(error, "deferred task work", "6.1"))?;
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| explain(error, "operation probing", "5.6"))?;
    let needed = [
        (opcode::AcceptMulti::CODE, "accept", "5.19"),
        (opcode::RecvMulti::CODE, "receive", "6.0"),
        (opcode::Send::CODE, "send", "5.6"),
        (opcode::PollAdd::CODE, "poll", "5.1"),
        (opcode::AsyncCancel::CODE, "cancel", "5.5"),
        (opcode::MsgRingData::CODE, "ring to ring messages", "5.18"),
    ];
    for (code, missing, since) in needed {
        if !probe.is_supported(code) {
            return Err(Unfit::TooOld { missing, since });
        }
    }
    Buffers::register(&ring, 1, 8, 4096)
        .map(drop)
        .map_err(|error| explain(error, "provided-buffer rings", "5.19"))
}

/// Can sockets be parked in tables (Linux 6.8)? Else there are no more of them than descriptors.
#[must_use]
pub fn can_park() -> bool {
    let mut probe = Probe::new();
    IoUring::new(8).is_ok_and(|ring| {
        ring.submitter().register_probe(&mut probe).is_ok()
            && probe.is_supported(opcode::FixedFdInstall::CODE)
    })
}

fn explain(error: io::Error, missing: &'static str, since: &'static str) -> Unfit {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS | libc::EACCES) => Unfit::Blocked,
        Some(libc::EINVAL) => Unfit::TooOld { missing, since },
        _ => Unfit::Other(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_says_what_to_change() {
        let text = |errno| explain(io::Error::from_raw_os_error(errno), "X", "6.1").to_string();
        assert!(text(libc::EPERM).contains("kernel.io_uring_disabled"));
        assert!(text(libc::EINVAL).contains("lacks X; Linux 6.1"));
        assert!(text(libc::ENOMEM).contains("cannot be set up"));
        let memlock = Unfit::Memlock { soft_bytes: 1, needed_bytes: 524_288 };
        assert!(memlock.to_string().contains("ulimit -l 512"));
    }

    #[test]
    fn a_host_that_builds_this_can_run_it() {
        check().expect("io_uring works where the tests run");
        assert!(can_park());
    }
}
