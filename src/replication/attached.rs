//! One attached replica: what it said of itself, how far it is, what INFO and ROLE show.
//!
//! Invariant: whoever has a cursor pins the ring from there on, also while its link is being
//! closed, because a send in flight may still point at those bytes.
//!
//! Not here: what moves a replica from one state to the next (`master.rs`).

use crate::base::time::Mono;
use crate::replication::flows;
use crate::replication::lag::{Marks, Stage};
use crate::replication::psync::parse_i64;
use crate::replication::resume::{self, Have};
use crate::replication::spread::Spread;
use crate::resp::error::ErrorKind;

/// The caller's name for a connection.
pub type LinkId = u64;

/// Bytes of an announced address (Redis: 255).
const IP_BYTES_MAX: usize = 255;

/// Bytes of an unknown option that the refusal repeats.
const OPTION_BYTES_SHOWN: usize = 128;

/// How far an attached replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// REPLCONF came, PSYNC did not yet.
    Handshake,
    /// Waits for the next snapshot to start.
    WaitSnapshot,
    /// Its snapshot is being spooled: the length that it must be told first is not known.
    WaitSize { cut: u64 },
    /// The snapshot's bytes are on their way.
    Receiving { cut: u64, eof: bool },
    /// All bytes and the EOF mark left. The stream waits for the replica's first ACK: a stock
    /// replica finds the mark only at the end of what it has read.
    AwaitAck { cut: u64 },
    /// It reads the ring at `cursor`; one send at a time.
    Online { cursor: u64, in_flight: bool },
    /// We want it gone and wait for `Closed`.
    Closing { cursor: Option<u64> },
}

/// One attached replica.
#[derive(Debug, Clone)]
pub struct Attached {
    pub link: LinkId,
    pub state: State,
    /// The address it announces, else its peer address.
    pub ip: Vec<u8>,
    pub port: i32,
    pub capa_eof: bool,
    pub capa_psync2: bool,
    /// It can go on with a payload in the middle, and has so much of one.
    pub resumes: bool,
    pub have: Option<Have>,
    /// It can follow the stream over several connections, and does.
    pub flows: bool,
    pub spread: Option<Spread>,
    /// The snapshot that it was given last, and how much of that it has received.
    pub snapshot: u64,
    pub received: u64,
    pub rdb_only: bool,
    /// It came by SYNC: no `+FULLRESYNC` line for it, and no acks from it.
    pub sync_only: bool,
    pub ack: u64,
    /// How much of the history its append-only file has synced; 0 if it has none.
    pub synced: u64,
    /// When it last acknowledged, or was heard of, or took bytes of its snapshot.
    pub heard: Mono,
    pub waits_since: Mono,
    /// It keeps asking for full syncs: no snapshot for it before that.
    pub not_before: Mono,
    /// When it last took bytes, or said that it loads those that it has.
    pub took: Mono,
    /// When it began to follow the stream.
    pub online_since: Option<Mono>,
    pub over_soft_since: Option<Mono>,
    /// Since bytes were appended: until its socket took them, and until it acknowledged them.
    pub sent_lag: Stage,
    pub ack_lag: Stage,
}

/// A row of INFO's `slaveN` and of ROLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<'a> {
    pub ip: &'a [u8],
    pub port: i32,
    pub state: &'static str,
    pub offset: u64,
    pub lag_s: u64,
}

/// What REPLCONF of a replica leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    Ok,
    Refused(ErrorKind),
    Ack {
        offset: u64,
        /// `FACK`: what its append-only file has synced.
        synced: Option<u64>,
    },
    /// So much of its payload.
    Received(u64),
    Nothing,
}

impl Attached {
    #[must_use]
    pub fn new(link: LinkId, now: Mono) -> Self {
        Self {
            link,
            state: State::Handshake,
            ip: Vec::new(),
            port: 0,
            capa_eof: false,
            capa_psync2: false,
            resumes: false,
            have: None,
            flows: false,
            spread: None,
            snapshot: 0,
            received: 0,
            rdb_only: false,
            sync_only: false,
            ack: 0,
            synced: 0,
            heard: now,
            waits_since: now,
            not_before: now,
            took: now,
            online_since: None,
            over_soft_since: None,
            sent_lag: Stage::default(),
            ack_lag: Stage::default(),
        }
    }

    /// The snapshot that it has not all of.
    #[must_use]
    pub fn receives(&self) -> Option<u64> {
        let receives = matches!(self.state, State::Receiving { .. } | State::AwaitAck { .. });
        receives.then_some(self.snapshot)
    }

    /// It follows the stream from here on.
    pub fn goes_online(&mut self, now: Mono, marks: &Marks) {
        self.online_since = Some(now);
        (self.sent_lag, self.ack_lag) = (marks.begin(), marks.begin());
    }

    /// The oldest byte that it still needs.
    #[must_use]
    pub fn cursor(&self) -> Option<u64> {
        match self.state {
            State::Handshake | State::WaitSnapshot => None,
            State::WaitSize { cut } | State::Receiving { cut, .. } | State::AwaitAck { cut } => {
                Some(cut)
            }
            State::Online { cursor, .. } => Some(cursor),
            State::Closing { cursor } => cursor,
        }
    }

    /// Its row in INFO, once it asked for data.
    #[must_use]
    pub fn row(&self, now: Mono) -> Option<Row<'_>> {
        let (state, lag_s) = match self.state {
            State::Handshake | State::Closing { .. } => return None,
            State::WaitSnapshot | State::WaitSize { .. } => ("wait_bgsave", 0),
            State::Receiving { .. } | State::AwaitAck { .. } => ("send_bulk", 0),
            State::Online { .. } => ("online", now.ms_since(self.heard) / 1_000),
        };
        Some(Row { ip: &self.ip, port: self.port, state, offset: self.ack, lag_s })
    }

    /// `REPLCONF option value ...`, the command's name left out.
    pub fn replconf(&mut self, options: &[&[u8]]) -> Said {
        if !options.len().is_multiple_of(2) {
            return Said::Refused(ErrorKind::Syntax);
        }
        for pair in options.chunks_exact(2) {
            let (option, value) = (pair[0], pair[1]);
            let refused = match () {
                () if option.eq_ignore_ascii_case(b"listening-port") => self.set_port(value),
                () if option.eq_ignore_ascii_case(b"ip-address") => self.set_ip(value),
                () if option.eq_ignore_ascii_case(b"capa") => self.add_capability(value),
                () if option.eq_ignore_ascii_case(b"rdb-only") => self.set_rdb_only(value),
                () if option.eq_ignore_ascii_case(b"ack") => {
                    let offset = parse_i64(value).and_then(|ack| u64::try_from(ack).ok());
                    let synced = match options {
                        [_, _, fack, synced] if fack.eq_ignore_ascii_case(b"fack") => {
                            parse_i64(synced).and_then(|it| u64::try_from(it).ok())
                        }
                        _ => None,
                    };
                    return offset.map_or(Said::Nothing, |offset| Said::Ack { offset, synced });
                }
                () if option.eq_ignore_ascii_case(b"received") => {
                    let bytes = parse_i64(value).and_then(|it| u64::try_from(it).ok());
                    return bytes.map_or(Said::Nothing, Said::Received);
                }
                () if option.eq_ignore_ascii_case(b"getack") => return Said::Nothing,
                () => {
                    let shown = option.get(..OPTION_BYTES_SHOWN).unwrap_or(option);
                    Err(ErrorKind::ReplconfOption { option: shown.into() })
                }
            };
            if let Err(refusal) = refused {
                return Said::Refused(refusal);
            }
        }
        Said::Ok
    }

    #[expect(clippy::cast_possible_truncation, reason = "as Redis does with a port out of range")]
    fn set_port(&mut self, value: &[u8]) -> Result<(), ErrorKind> {
        // Any number is taken, and what is left of it shown: as Redis.
        self.port = number(value)? as i32;
        Ok(())
    }

    fn set_ip(&mut self, value: &[u8]) -> Result<(), ErrorKind> {
        // What is shown in INFO must not break its lines.
        if value.len() > IP_BYTES_MAX || value.iter().any(|byte| !byte.is_ascii_graphic()) {
            return Err(ErrorKind::Syntax);
        }
        self.ip = value.to_vec();
        Ok(())
    }

    fn add_capability(&mut self, value: &[u8]) -> Result<(), ErrorKind> {
        self.capa_eof |= value.eq_ignore_ascii_case(b"eof");
        self.capa_psync2 |= value.eq_ignore_ascii_case(b"psync2");
        self.flows |= value.eq_ignore_ascii_case(flows::CAPABILITY);
        if let Some(have) = resume::parse(value) {
            (self.resumes, self.have) = (true, have);
        }
        Ok(()) // Others are for newer masters.
    }

    fn set_rdb_only(&mut self, value: &[u8]) -> Result<(), ErrorKind> {
        self.rdb_only = match number(value)? {
            0 => false,
            1 => true,
            _ => return Err(NOT_A_FLAG),
        };
        Ok(())
    }
}

const NOT_A_FLAG: ErrorKind = ErrorKind::NotBetween { low: 0, high: 1 };

fn number(value: &[u8]) -> Result<i64, ErrorKind> {
    parse_i64(value).ok_or(ErrorKind::NotAnInteger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replconf_answers_as_a_stock_master() {
        let golden = include_str!("../../tests/golden/psync/master_full_eof.txt");
        let mut replica = Attached::new(1, Mono(0));
        let (mut lines, mut checked) = (golden.lines(), 0);
        while let Some(line) = lines.next() {
            let Some(options) = line.strip_prefix("> REPLCONF ") else { continue };
            let options: Vec<&[u8]> = options.split(' ').map(str::as_bytes).collect();
            let expected =
                lines.next().unwrap().strip_prefix("< ").unwrap().replace("\\r\\n", "\r\n");
            match replica.replconf(&options) {
                Said::Ok => assert_eq!(expected, "+OK\r\n", "{line}"),
                Said::Refused(error) => {
                    let mut reply = Vec::new();
                    error.write_to(&mut reply);
                    assert_eq!(reply, expected.as_bytes(), "{line}");
                }
                Said::Ack { offset, .. } => assert_eq!(offset, 0),
                Said::Received(_) | Said::Nothing => panic!("{line}"),
            }
            checked += 1;
        }
        assert_eq!(checked, 8);
        assert_eq!((&replica.ip[..], replica.port), (&b"10.0.0.9"[..], 6380));
        assert!(replica.capa_eof && replica.capa_psync2 && !replica.rdb_only);
    }

    #[test]
    fn hostile_options_change_nothing() {
        let mut replica = Attached::new(1, Mono(0));
        for options in [
            &[&b"listening-port"[..], b"x"][..],
            &[b"listening-port"],
            &[b"ip-address", b"1.2.3.4\r\nrole:master"],
            &[b"ip-address", &[b'1'; 256]],
            &[b"rdb-only", b"x"],
        ] {
            assert!(matches!(replica.replconf(options), Said::Refused(_)), "{options:?}");
        }
        assert_eq!(replica.replconf(&[b"ack", b"-1"]), Said::Nothing);
        assert_eq!(
            replica.replconf(&[b"ack", b"7", b"fack", b"-1"]),
            Said::Ack { offset: 7, synced: None }
        );
        assert_eq!((replica.ip.len(), replica.port), (0, 0));
    }

    /// What redis-server 7.0.15 takes.
    #[test]
    fn no_option_is_fine_and_a_port_is_any_number() {
        let mut replica = Attached::new(1, Mono(0));
        assert_eq!(replica.replconf(&[]), Said::Ok);
        for (value, port) in
            [("70000", 70_000), ("-1", -1), ("0", 0), ("99999999999", 1_215_752_191)]
        {
            assert_eq!(replica.replconf(&[b"listening-port", value.as_bytes()]), Said::Ok);
            assert_eq!(replica.port, port);
        }
    }
}
