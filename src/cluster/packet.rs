//! Packets of the cluster bus. All numbers are big-endian.
//!
//! ```text
//!     0  "RCmb"                 40  sender's name          2214  extensions
//!     4  length of all          80  its slots              2216  (unused)
//!     8  version (1)          2128  its master's name      2246  second port
//!    10  port                 2168  its address, or zeros  2248  bus port
//!    12  type                                              2250  flags of the node
//!    14  gossip entries                                    2252  state of the cluster
//!    16  current epoch        behind the header:           2253  flags of the packet (3)
//!    24  config epoch         gossip and extensions,       2256  ...
//!    32  offset               or what the type has
//! ```
//!
//! A replica's packets tell its master's slots and config epoch. Addresses are text; one that is none counts
//! as none. Whatever has not exactly the length that its type and counts ask for is [`Bad`], with no
//! exception: a packet is taken whole or not at all.

use super::extension::Extension;
use super::flags::Flags;
use super::id::{ID_BYTES, NodeId};
use super::slots::{SLOT_BYTES, Slots};
use core::net::IpAddr;

/// The first four bytes.
pub const SIGNATURE: [u8; 4] = *b"RCmb";
const VERSION: u16 = 1;

/// Where the fields lie.
mod at {
    pub const LENGTH: usize = 4;
    pub const VERSION: usize = 8;
    pub const PORT: usize = 10;
    pub const TYPE: usize = 12;
    pub const COUNT: usize = 14;
    pub const CURRENT_EPOCH: usize = 16;
    pub const CONFIG_EPOCH: usize = 24;
    pub const OFFSET: usize = 32;
    pub const SENDER: usize = 40;
    pub const SLOTS: usize = 80;
    pub const MASTER: usize = 2_128;
    pub const IP: usize = 2_168;
    pub const EXTENSIONS: usize = 2_214;
    pub const UNUSED: usize = 2_216;
    pub const SECOND_PORT: usize = 2_246;
    pub const BUS_PORT: usize = 2_248;
    pub const FLAGS: usize = 2_250;
    pub const STATE: usize = 2_252;
    pub const PACKET_FLAGS: usize = 2_253;
}

/// Bytes of the header, of an address, of a gossip entry.
pub const HEADER_BYTES: usize = 2_256;
const IP_BYTES: usize = 46;
const GOSSIP_BYTES: usize = 104;
const UPDATE_BYTES: usize = 8 + ID_BYTES + SLOT_BYTES;

const _: () = {
    assert!(at::LENGTH == SIGNATURE.len() && at::VERSION == at::LENGTH + 4);
    assert!(at::PORT == at::VERSION + 2 && at::TYPE == at::PORT + 2 && at::COUNT == at::TYPE + 2);
    assert!(at::CURRENT_EPOCH == at::COUNT + 2 && at::CONFIG_EPOCH == at::CURRENT_EPOCH + 8);
    assert!(at::OFFSET == at::CONFIG_EPOCH + 8 && at::SENDER == at::OFFSET + 8);
    assert!(at::SLOTS == at::SENDER + ID_BYTES && at::MASTER == at::SLOTS + SLOT_BYTES);
    assert!(at::IP == at::MASTER + ID_BYTES && at::EXTENSIONS == at::IP + IP_BYTES);
    assert!(at::UNUSED == at::EXTENSIONS + 2 && at::SECOND_PORT == at::UNUSED + 30);
    assert!(at::BUS_PORT == at::SECOND_PORT + 2 && at::FLAGS == at::BUS_PORT + 2);
    assert!(at::STATE == at::FLAGS + 2 && at::PACKET_FLAGS == at::STATE + 1);
    assert!(HEADER_BYTES == at::PACKET_FLAGS + 3);
    assert!(GOSSIP_BYTES == ID_BYTES + 4 + 4 + IP_BYTES + 5 * 2);
    assert!(UPDATE_BYTES == 2_096);
};

/// Flags of a packet.
const PAUSED: u8 = 1;
const FORCE_ACK: u8 = 2;
const EXT_DATA: u8 = 4;

/// What a packet is, as a number on the wire and in statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Type {
    Ping = 0,
    Pong = 1,
    Meet = 2,
    Fail = 3,
    Publish = 4,
    AuthRequest = 5,
    AuthAck = 6,
    Update = 7,
    FailoverStart = 8,
    Module = 9,
    PublishShard = 10,
}

/// Names in CLUSTER INFO, by number.
pub const TYPE_NAMES: [&str; 11] = [
    "ping",
    "pong",
    "meet",
    "fail",
    "publish",
    "auth-req",
    "auth-ack",
    "update",
    "mfstart",
    "module",
    "publishshard",
];

/// The node that sends, as it sees itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub port: u16,
    pub second_port: u16,
    pub bus_port: u16,
    pub current_epoch: u64,
    pub config_epoch: u64,
    pub offset: u64,
    pub sender: NodeId,
    pub slots: Slots,
    pub master: Option<NodeId>,
    pub ip: Option<IpAddr>,
    pub flags: Flags,
    /// Does it serve?
    pub is_ok: bool,
    /// A master whose writers wait for a manual failover.
    pub paused: bool,
    /// A vote is asked for although the master lives.
    pub force_ack: bool,
    /// It takes extensions.
    pub extended: bool,
}

/// What a node tells of another one. The times are seconds of its wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gossip {
    pub id: NodeId,
    pub ping_sent: u32,
    pub pong_received: u32,
    pub ip: Option<IpAddr>,
    pub port: u16,
    pub bus_port: u16,
    pub flags: Flags,
    pub second_port: u16,
}

/// What is behind the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// PING, PONG and MEET.
    Heartbeat {
        kind: Heartbeat,
        gossip: Vec<Gossip>,
        extensions: Vec<Extension>,
    },
    Fail {
        about: NodeId,
    },
    Publish {
        sharded: bool,
        channel: &'a [u8],
        message: &'a [u8],
    },
    AuthRequest,
    AuthAck,
    Update {
        config_epoch: u64,
        about: NodeId,
        slots: Slots,
    },
    FailoverStart,
    /// Of a module, or of a later version: not looked into.
    Other {
        kind: u16,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    Ping,
    Pong,
    Meet,
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub header: Header,
    pub body: Body<'a>,
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// It is of another version.
    Version,
    /// Its length is not what its content asks for.
    Length,
    /// A name or an extension is none.
    Content,
}

impl Body<'_> {
    /// The number on the wire.
    #[must_use]
    pub fn kind(&self) -> u16 {
        match self {
            Self::Heartbeat { kind: Heartbeat::Ping, .. } => Type::Ping as u16,
            Self::Heartbeat { kind: Heartbeat::Pong, .. } => Type::Pong as u16,
            Self::Heartbeat { kind: Heartbeat::Meet, .. } => Type::Meet as u16,
            Self::Fail { .. } => Type::Fail as u16,
            Self::Publish { sharded: false, .. } => Type::Publish as u16,
            Self::Publish { sharded: true, .. } => Type::PublishShard as u16,
            Self::AuthRequest => Type::AuthRequest as u16,
            Self::AuthAck => Type::AuthAck as u16,
            Self::Update { .. } => Type::Update as u16,
            Self::FailoverStart => Type::FailoverStart as u16,
            Self::Other { kind } => *kind,
        }
    }
}

impl<'a> Packet<'a> {
    /// Reads a whole packet, as `framing.rs` cuts them.
    ///
    /// # Errors
    /// See [`Bad`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, Bad> {
        let (header, rest) = bytes.split_at_checked(HEADER_BYTES).ok_or(Bad::Length)?;
        let fields = Fields(header);
        let whole = usize::try_from(fields.u32(at::LENGTH)).unwrap_or(usize::MAX);
        if header.first_chunk() != Some(&SIGNATURE) || whole != bytes.len() {
            return Err(Bad::Length);
        }
        if fields.u16(at::VERSION) != VERSION {
            return Err(Bad::Version);
        }
        let (flags, extensions) = (fields.u8(at::PACKET_FLAGS), fields.u16(at::EXTENSIONS));
        let extended = flags & EXT_DATA != 0;
        let extensions = if extended { extensions } else { 0 };
        let body = read_body(
            fields.u16(at::TYPE),
            usize::from(fields.u16(at::COUNT)),
            usize::from(extensions),
            rest,
        )?;
        Ok(Self { header: read_header(fields)?, body })
    }

    /// Appends it. What is too long to be sent is not written.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        write_header(&self.header, out);
        let mut flags = 0;
        let mut extended = 0u16;
        match &self.body {
            Body::Heartbeat { gossip, extensions, .. } => {
                gossip.iter().for_each(|entry| write_gossip(entry, out));
                extensions.iter().for_each(|it| it.write(out));
                extended = u16::try_from(extensions.len()).unwrap_or(0);
                let count = u16::try_from(gossip.len()).unwrap_or(0);
                put(out, start + at::COUNT, &count.to_be_bytes());
            }
            Body::Fail { about } => out.extend_from_slice(about.as_bytes()),
            Body::Publish { channel, message, .. } => {
                for part in [channel, message] {
                    let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
                    out.extend_from_slice(&len.to_be_bytes());
                }
                out.extend_from_slice(channel);
                out.extend_from_slice(message);
            }
            Body::Update { config_epoch, about, slots } => {
                out.extend_from_slice(&config_epoch.to_be_bytes());
                out.extend_from_slice(about.as_bytes());
                out.extend_from_slice(slots.bits());
            }
            Body::AuthRequest | Body::AuthAck | Body::FailoverStart | Body::Other { .. } => {}
        }
        if extended > 0 {
            flags |= EXT_DATA;
        }
        if self.header.paused {
            flags |= PAUSED;
        }
        if self.header.force_ack {
            flags |= FORCE_ACK;
        }
        put(out, start + at::TYPE, &self.body.kind().to_be_bytes());
        put(out, start + at::EXTENSIONS, &extended.to_be_bytes());
        put(out, start + at::PACKET_FLAGS, &[flags, 0, 0]);
        match u32::try_from(out.len() - start) {
            Ok(length) => put(out, start + at::LENGTH, &length.to_be_bytes()),
            Err(_) => out.truncate(start),
        }
    }
}

/// A header's bytes. Every offset is inside it, by the assertions above.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|it| it.first_chunk()).copied().unwrap_or([0; N])
    }

    fn u8(self, at: usize) -> u8 {
        self.array::<1>(at)[0]
    }

    fn u16(self, at: usize) -> u16 {
        u16::from_be_bytes(self.array(at))
    }

    fn u32(self, at: usize) -> u32 {
        u32::from_be_bytes(self.array(at))
    }

    fn u64(self, at: usize) -> u64 {
        u64::from_be_bytes(self.array(at))
    }

    fn id(self, at: usize) -> Result<NodeId, Bad> {
        NodeId::parse(&self.array::<ID_BYTES>(at)).ok_or(Bad::Content)
    }

    fn ip(self, at: usize) -> Option<IpAddr> {
        let text: [u8; IP_BYTES] = self.array(at);
        let end = text.iter().position(|byte| *byte == 0)?;
        let ip: IpAddr = str::from_utf8(text.get(..end)?).ok()?.parse().ok()?;
        Some(ip.to_canonical())
    }
}

fn read_header(fields: Fields<'_>) -> Result<Header, Bad> {
    let flags = fields.u8(at::PACKET_FLAGS);
    let no_master = fields.array::<ID_BYTES>(at::MASTER) == [0; ID_BYTES];
    Ok(Header {
        port: fields.u16(at::PORT),
        second_port: fields.u16(at::SECOND_PORT),
        bus_port: fields.u16(at::BUS_PORT),
        current_epoch: fields.u64(at::CURRENT_EPOCH),
        config_epoch: fields.u64(at::CONFIG_EPOCH),
        offset: fields.u64(at::OFFSET),
        sender: fields.id(at::SENDER)?,
        slots: Slots::from_bits(&fields.array(at::SLOTS)),
        master: if no_master { None } else { Some(fields.id(at::MASTER)?) },
        ip: fields.ip(at::IP),
        flags: Flags(fields.u16(at::FLAGS)),
        is_ok: fields.u8(at::STATE) == 0,
        paused: flags & PAUSED != 0,
        force_ack: flags & FORCE_ACK != 0,
        extended: flags & EXT_DATA != 0,
    })
}

fn write_header(header: &Header, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    let mut field = |at: usize, bytes: &[u8]| put(out, start + at, bytes);
    field(0, &SIGNATURE);
    field(at::VERSION, &VERSION.to_be_bytes());
    field(at::PORT, &header.port.to_be_bytes());
    field(at::SECOND_PORT, &header.second_port.to_be_bytes());
    field(at::BUS_PORT, &header.bus_port.to_be_bytes());
    field(at::CURRENT_EPOCH, &header.current_epoch.to_be_bytes());
    field(at::CONFIG_EPOCH, &header.config_epoch.to_be_bytes());
    field(at::OFFSET, &header.offset.to_be_bytes());
    field(at::SENDER, header.sender.as_bytes());
    field(at::SLOTS, header.slots.bits());
    if let Some(master) = &header.master {
        field(at::MASTER, master.as_bytes());
    }
    field(at::IP, &ip_text(header.ip));
    field(at::FLAGS, &header.flags.0.to_be_bytes());
    field(at::STATE, &[u8::from(!header.is_ok)]);
}

fn read_body(kind: u16, count: usize, extensions: usize, rest: &[u8]) -> Result<Body<'_>, Bad> {
    const PING: u16 = Type::Ping as u16;
    const PONG: u16 = Type::Pong as u16;
    const MEET: u16 = Type::Meet as u16;
    const FAIL: u16 = Type::Fail as u16;
    const PUBLISH: u16 = Type::Publish as u16;
    const AUTH_REQUEST: u16 = Type::AuthRequest as u16;
    const AUTH_ACK: u16 = Type::AuthAck as u16;
    const UPDATE: u16 = Type::Update as u16;
    const FAILOVER_START: u16 = Type::FailoverStart as u16;
    const PUBLISH_SHARD: u16 = Type::PublishShard as u16;
    let heartbeat = |kind| read_heartbeat(kind, count, extensions, rest);
    let bare = |body| if rest.is_empty() { Ok(body) } else { Err(Bad::Length) };
    match kind {
        PING => heartbeat(Heartbeat::Ping),
        PONG => heartbeat(Heartbeat::Pong),
        MEET => heartbeat(Heartbeat::Meet),
        FAIL if rest.len() == ID_BYTES => {
            Ok(Body::Fail { about: NodeId::parse(rest).ok_or(Bad::Content)? })
        }
        PUBLISH => read_publish(false, rest),
        PUBLISH_SHARD => read_publish(true, rest),
        AUTH_REQUEST => bare(Body::AuthRequest),
        AUTH_ACK => bare(Body::AuthAck),
        FAILOVER_START => bare(Body::FailoverStart),
        UPDATE if rest.len() == UPDATE_BYTES => {
            let fields = Fields(rest);
            Ok(Body::Update {
                config_epoch: fields.u64(0),
                about: fields.id(8)?,
                slots: Slots::from_bits(&fields.array(8 + ID_BYTES)),
            })
        }
        FAIL | UPDATE => Err(Bad::Length),
        kind => Ok(Body::Other { kind }),
    }
}

fn read_heartbeat(
    kind: Heartbeat,
    count: usize,
    extensions: usize,
    rest: &[u8],
) -> Result<Body<'_>, Bad> {
    let (entries, mut rest) = rest.split_at_checked(count * GOSSIP_BYTES).ok_or(Bad::Length)?;
    let gossip: Result<Vec<_>, _> =
        entries.chunks_exact(GOSSIP_BYTES).map(|it| read_gossip(Fields(it))).collect();
    let mut known = Vec::new();
    for _ in 0..extensions {
        let (extension, behind) = Extension::read(rest).ok_or(Bad::Content)?;
        known.extend(extension);
        rest = behind;
    }
    if !rest.is_empty() {
        return Err(Bad::Length);
    }
    Ok(Body::Heartbeat { kind, gossip: gossip?, extensions: known })
}

fn read_gossip(fields: Fields<'_>) -> Result<Gossip, Bad> {
    Ok(Gossip {
        id: fields.id(0)?,
        ping_sent: fields.u32(ID_BYTES),
        pong_received: fields.u32(ID_BYTES + 4),
        ip: fields.ip(ID_BYTES + 8),
        port: fields.u16(ID_BYTES + 8 + IP_BYTES),
        bus_port: fields.u16(ID_BYTES + 8 + IP_BYTES + 2),
        flags: Flags(fields.u16(ID_BYTES + 8 + IP_BYTES + 4)),
        second_port: fields.u16(ID_BYTES + 8 + IP_BYTES + 6),
    })
}

fn write_gossip(entry: &Gossip, out: &mut Vec<u8>) {
    out.extend_from_slice(entry.id.as_bytes());
    out.extend_from_slice(&entry.ping_sent.to_be_bytes());
    out.extend_from_slice(&entry.pong_received.to_be_bytes());
    out.extend_from_slice(&ip_text(entry.ip));
    for number in [entry.port, entry.bus_port, entry.flags.0, entry.second_port, 0] {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn read_publish(sharded: bool, rest: &[u8]) -> Result<Body<'_>, Bad> {
    let (lengths, rest) = rest.split_at_checked(8).ok_or(Bad::Length)?;
    let length = |at| usize::try_from(Fields(lengths).u32(at)).unwrap_or(usize::MAX);
    let (channel, message) = rest.split_at_checked(length(0)).ok_or(Bad::Length)?;
    if message.len() != length(4) {
        return Err(Bad::Length);
    }
    Ok(Body::Publish { sharded, channel, message })
}

fn ip_text(ip: Option<IpAddr>) -> [u8; IP_BYTES] {
    let mut field = [0; IP_BYTES];
    let text = ip.map_or(String::new(), |ip| ip.to_string());
    // The longest text of an address has 45 characters: a zero is left.
    for (to, from) in field.iter_mut().zip(text.bytes().take(IP_BYTES - 1)) {
        *to = from;
    }
    field
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = out.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::framing::Framing;

    /// What four redis-server 7.0.15 sent to each other, one packet of each kind that they know.
    const CAPTURED: &[u8] = include_bytes!("../../tests/golden/cluster-bus-7.0.15.bin");

    fn captured() -> Vec<Vec<u8>> {
        let mut framing = Framing::default();
        framing.push(CAPTURED);
        let mut packets = Vec::new();
        while let Ok(Some(packet)) = framing.next(true) {
            packets.push(packet);
        }
        packets
    }

    /// Redis leaves what it does not use as it was: two bytes of a gossip entry's address behind its end
    /// are all that may differ, and there they do not.
    #[test]
    fn what_redis_wrote_is_read_and_written_the_same() {
        let mut kinds = [0; 11];
        for bytes in captured() {
            let packet = Packet::read(&bytes).unwrap();
            let mut written = Vec::new();
            packet.write(&mut written);
            assert_eq!(written, bytes, "{packet:?}");
            kinds[usize::from(packet.body.kind())] += 1;
        }
        assert_eq!(
            kinds.map(|it| it > 0),
            [true, true, true, true, true, true, true, true, true, false, true]
        );
    }

    #[test]
    fn the_fields_are_where_they_should_be() {
        let packets = captured();
        let find = |kind: Type| {
            let of = |it: &&Vec<u8>| it[12..14] == (kind as u16).to_be_bytes();
            Packet::read(packets.iter().rfind(of).unwrap()).unwrap()
        };
        let ping = find(Type::Ping);
        assert_eq!((ping.header.port, ping.header.bus_port), (23_999, 24_001));
        assert_eq!(ping.header.slots.ranges(), [5_461..=10_921]);
        assert_eq!(ping.header.ip, Some("127.0.0.1".parse().unwrap()));
        assert_eq!((ping.header.current_epoch, ping.header.config_epoch), (5, 1));
        assert!(ping.header.is_ok && ping.header.master.is_none());
        let Body::Heartbeat { gossip, extensions, .. } = ping.body else { panic!() };
        assert_eq!(extensions, [Extension::Hostname("node1.example".into())]);
        assert!(gossip.iter().any(|it| it.flags.has(Flags::PFAIL) && it.port == 23_996));
        assert!(find(Type::AuthRequest).header.master.is_some());
        let publish = Body::Publish { sharded: false, channel: b"chan", message: b"hello" };
        assert_eq!(find(Type::Publish).body, publish);
        let Body::Update { config_epoch: 4, slots, .. } = find(Type::Update).body else { panic!() };
        assert_eq!(slots.ranges(), [0..=5_460]);
    }

    #[test]
    fn a_packet_is_taken_whole_or_not_at_all() {
        for bytes in captured() {
            for len in [0, 16, HEADER_BYTES - 1, bytes.len() - 1] {
                let cut = &bytes[..len.min(bytes.len() - 1)];
                assert!(Packet::read(cut).is_err());
            }
            let with = |at: usize, value: &[u8]| {
                let mut changed = bytes.clone();
                changed[at..at + value.len()].copy_from_slice(value);
                Packet::read(&changed).map(|it| it.body.kind())
            };
            assert_eq!(with(at::VERSION, &[0, 2]), Err(Bad::Version));
            assert_eq!(with(at::SENDER, b"\r\n"), Err(Bad::Content));
            assert_eq!(with(at::MASTER, b"A"), Err(Bad::Content));
            let kind = u16::from_be_bytes([bytes[12], bytes[13]]);
            if kind < 3 {
                assert!(with(at::COUNT, &[255, 255]).is_err());
                assert!(
                    with(at::EXTENSIONS, &[255, 255]).is_err() || bytes[at::PACKET_FLAGS] & 4 == 0
                );
            }
            if matches!(kind, 4 | 10) {
                assert_eq!(with(HEADER_BYTES, &[255; 4]), Err(Bad::Length));
                assert_eq!(with(HEADER_BYTES + 4, &[255; 4]), Err(Bad::Length));
            }
        }
    }
}
