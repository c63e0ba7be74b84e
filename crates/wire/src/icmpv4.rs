//! The first eight bytes of an ICMP message for IPv4 (RFC 792; RFC 1122 section 3.2.2 and RFC 1812 for
//! further codes; RFC 1191 for the next hop's MTU).

use core::net::Ipv4Addr;

use crate::error::{prefix, room};
use crate::{NoRoom, ParseError};

/// Why a destination could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnreachableCode {
    /// No route to the network (0).
    Network,
    /// The host does not answer (1).
    Host,
    /// The host does not know the protocol (2).
    Protocol,
    /// Nobody listens on the port (3).
    Port,
    /// The packet is too big and must not be fragmented (4, RFC 1191).
    FragmentationNeeded,
    /// A source route failed (5).
    SourceRouteFailed,
    /// The network is not known (6).
    NetworkUnknown,
    /// The host is not known (7).
    HostUnknown,
    /// The source is cut off (8).
    SourceHostIsolated,
    /// The network is administratively prohibited (9).
    NetworkProhibited,
    /// The host is administratively prohibited (10).
    HostProhibited,
    /// The network is out of reach for this type of service (11).
    NetworkTypeOfService,
    /// The host is out of reach for this type of service (12).
    HostTypeOfService,
    /// A filter forbids it (13, RFC 1812).
    CommunicationProhibited,
    /// The host's precedence is not permitted (14, RFC 1812).
    HostPrecedenceViolation,
    /// The precedence is too low (15, RFC 1812).
    PrecedenceCutoff,
    /// A code without a name, by its number.
    Other(u8),
}

impl From<u8> for UnreachableCode {
    fn from(code: u8) -> Self {
        match code {
            0 => Self::Network,
            1 => Self::Host,
            2 => Self::Protocol,
            3 => Self::Port,
            4 => Self::FragmentationNeeded,
            5 => Self::SourceRouteFailed,
            6 => Self::NetworkUnknown,
            7 => Self::HostUnknown,
            8 => Self::SourceHostIsolated,
            9 => Self::NetworkProhibited,
            10 => Self::HostProhibited,
            11 => Self::NetworkTypeOfService,
            12 => Self::HostTypeOfService,
            13 => Self::CommunicationProhibited,
            14 => Self::HostPrecedenceViolation,
            15 => Self::PrecedenceCutoff,
            other => Self::Other(other),
        }
    }
}

impl From<UnreachableCode> for u8 {
    fn from(code: UnreachableCode) -> Self {
        match code {
            UnreachableCode::Network => 0,
            UnreachableCode::Host => 1,
            UnreachableCode::Protocol => 2,
            UnreachableCode::Port => 3,
            UnreachableCode::FragmentationNeeded => 4,
            UnreachableCode::SourceRouteFailed => 5,
            UnreachableCode::NetworkUnknown => 6,
            UnreachableCode::HostUnknown => 7,
            UnreachableCode::SourceHostIsolated => 8,
            UnreachableCode::NetworkProhibited => 9,
            UnreachableCode::HostProhibited => 10,
            UnreachableCode::NetworkTypeOfService => 11,
            UnreachableCode::HostTypeOfService => 12,
            UnreachableCode::CommunicationProhibited => 13,
            UnreachableCode::HostPrecedenceViolation => 14,
            UnreachableCode::PrecedenceCutoff => 15,
            UnreachableCode::Other(code) => code,
        }
    }
}

/// The header of an ICMP message; behind it come an echo's data, or the front of the packet an error is
/// about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Icmpv4Message {
    /// Answer me with the same (8).
    EchoRequest {
        /// Tells one asker from another.
        identifier: u16,
        /// Tells one question from another.
        sequence: u16,
    },
    /// The answer to an echo request (0).
    EchoReply {
        /// The request's.
        identifier: u16,
        /// The request's.
        sequence: u16,
    },
    /// A packet could not be delivered (3).
    DestinationUnreachable {
        /// Why.
        code: UnreachableCode,
        /// With [`UnreachableCode::FragmentationNeeded`] the next hop's MTU in bytes, or 0 from a router
        /// that does not say (RFC 1191 section 4).
        next_hop_mtu: u16,
    },
    /// Send slower (4). Deprecated; receivers must ignore it (RFC 6633).
    SourceQuench,
    /// There is a shorter way (5).
    Redirect {
        /// For what: 0 a network, 1 a host, 2 and 3 the same for one type of service.
        code: u8,
        /// The router to take.
        gateway: Ipv4Addr,
    },
    /// A packet took too long (11).
    TimeExceeded {
        /// [`Icmpv4Message::TTL_EXCEEDED`] or [`Icmpv4Message::REASSEMBLY_TIMEOUT`].
        code: u8,
    },
    /// A header could not be understood (12).
    ParameterProblem {
        /// 0: the pointer says where; 1: a required option is missing; 2: a bad length.
        code: u8,
        /// The byte of the packet at which the trouble begins.
        pointer: u8,
    },
    /// Any other message, as it stands.
    Other {
        /// The type.
        kind: u8,
        /// The code.
        code: u8,
        /// Bytes 4 to 7.
        rest: [u8; 4],
    },
}

impl Icmpv4Message {
    /// Bytes of a message's header.
    pub const LEN: usize = 8;
    /// Where the checksum stands, in bytes from the start of the message.
    pub const CHECKSUM_OFFSET: usize = 2;
    /// The code of a [`Icmpv4Message::TimeExceeded`] for a packet whose hops ran out.
    pub const TTL_EXCEEDED: u8 = 0;
    /// The code of a [`Icmpv4Message::TimeExceeded`] for fragments that did not become a datagram in time.
    pub const REASSEMBLY_TIMEOUT: u8 = 1;

    const ECHO_REPLY: u8 = 0;
    const DESTINATION_UNREACHABLE: u8 = 3;
    const SOURCE_QUENCH: u8 = 4;
    const REDIRECT: u8 = 5;
    const ECHO_REQUEST: u8 = 8;
    const TIME_EXCEEDED: u8 = 11;
    const PARAMETER_PROBLEM: u8 = 12;

    /// Reads the header at the front of a message. The checksum, which covers all of the message, is for the
    /// caller to verify: the rest may lie in further pieces of the packet.
    ///
    /// # Errors
    ///
    /// [`ParseError::Truncated`] below 8 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let [kind, code, _, _, r0, r1, r2, r3] = *prefix::<{ Self::LEN }>(bytes)?;
        let (high, low) = (u16::from_be_bytes([r0, r1]), u16::from_be_bytes([r2, r3]));
        Ok(match kind {
            Self::ECHO_REPLY => Self::EchoReply { identifier: high, sequence: low },
            Self::ECHO_REQUEST => Self::EchoRequest { identifier: high, sequence: low },
            Self::DESTINATION_UNREACHABLE => {
                Self::DestinationUnreachable { code: code.into(), next_hop_mtu: low }
            }
            Self::SOURCE_QUENCH => Self::SourceQuench,
            Self::REDIRECT => Self::Redirect { code, gateway: Ipv4Addr::new(r0, r1, r2, r3) },
            Self::TIME_EXCEEDED => Self::TimeExceeded { code },
            Self::PARAMETER_PROBLEM => Self::ParameterProblem { code, pointer: r0 },
            _ => Self::Other { kind, code, rest: [r0, r1, r2, r3] },
        })
    }

    /// Writes the header's 8 bytes, with a checksum of zero, to the front of `out`. The checksum goes to
    /// [`Icmpv4Message::CHECKSUM_OFFSET`] when the rest of the message is there, too.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] when `out` is shorter.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let out = room::<{ Self::LEN }>(out)?;
        let (kind, code, [r0, r1, r2, r3]) = match *self {
            Self::EchoReply { identifier, sequence } => (Self::ECHO_REPLY, 0, pair(identifier, sequence)),
            Self::EchoRequest { identifier, sequence } => (Self::ECHO_REQUEST, 0, pair(identifier, sequence)),
            Self::DestinationUnreachable { code, next_hop_mtu } => {
                (Self::DESTINATION_UNREACHABLE, code.into(), pair(0, next_hop_mtu))
            }
            Self::SourceQuench => (Self::SOURCE_QUENCH, 0, [0; 4]),
            Self::Redirect { code, gateway } => (Self::REDIRECT, code, gateway.octets()),
            Self::TimeExceeded { code } => (Self::TIME_EXCEEDED, code, [0; 4]),
            Self::ParameterProblem { code, pointer } => (Self::PARAMETER_PROBLEM, code, [pointer, 0, 0, 0]),
            Self::Other { kind, code, rest } => (kind, code, rest),
        };
        *out = [kind, code, 0, 0, r0, r1, r2, r3];
        Ok(Self::LEN)
    }

    /// Whether this reports an error about another packet. No error is sent about an error (RFC 1122
    /// section 3.2.2).
    pub const fn is_error(&self) -> bool {
        matches!(
            self,
            Self::DestinationUnreachable { .. }
                | Self::SourceQuench
                | Self::Redirect { .. }
                | Self::TimeExceeded { .. }
                | Self::ParameterProblem { .. }
        )
    }
}

/// Two 16-bit fields as the four bytes they take.
const fn pair(high: u16, low: u16) -> [u8; 4] {
    ((high as u32) << 16 | low as u32).to_be_bytes()
}
