//! What a server says: is it an answer to us at all (RFC 2131 sections 3.1, 4.4.1; RFC 6842)?

use core::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, DhcpOptions, HType, MAGIC, MessageType, Opcode, OptionCode, borrowed};
use sunstar_wire::MacAddress;

use super::options::{COOKIE, OPTIONS, gather};
use crate::counters::DhcpCounters;

/// Why a message is not heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ignored {
    Malformed,
    Transaction,
    Hardware,
    Client,
    State,
    Server,
    Address,
    Lease,
}

impl Ignored {
    pub(super) fn count(self, counters: &mut DhcpCounters) {
        *match self {
            Self::Malformed => &mut counters.ignored_malformed,
            Self::Transaction => &mut counters.ignored_transaction,
            Self::Hardware => &mut counters.ignored_hardware,
            Self::Client => &mut counters.ignored_client,
            Self::State => &mut counters.ignored_state,
            Self::Server => &mut counters.ignored_server,
            Self::Address => &mut counters.ignored_address,
            Self::Lease => &mut counters.ignored_lease,
        } += 1;
    }
}

/// Whom an answer has to be for.
pub(super) struct Addressee<'a> {
    pub(super) xid: u32,
    pub(super) hardware: MacAddress,
    pub(super) client_identifier: &'a [u8],
}

/// What kinds of message a server sends to a client that wants an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Offer,
    Ack,
    Nak,
}

/// A server's message.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) kind: Kind,
    /// The server's identifier, which it is also reached by.
    pub(super) server: Ipv4Addr,
    /// `yiaddr`.
    pub(super) address: Ipv4Addr,
    pub(super) options: DhcpOptions,
}

impl Reply {
    pub(super) fn parse(payload: &[u8], to: &Addressee<'_>) -> Result<Self, Ignored> {
        let header = borrowed::Message::new(payload).map_err(|_| Ignored::Malformed)?;
        if header.opcode() != Opcode::BootReply || payload[COOKIE..OPTIONS] != MAGIC {
            return Err(Ignored::Malformed);
        }
        if header.xid() != to.xid {
            return Err(Ignored::Transaction);
        }
        // `chaddr()` may only be asked for once the length is known to be one.
        let for_us = header.htype() == HType::Eth && header.hlen() == 6 && header.chaddr() == to.hardware.0;
        if !for_us {
            return Err(Ignored::Hardware);
        }
        let options = gather(payload).ok_or(Ignored::Malformed)?;
        let kind = match options.msg_type() {
            Some(MessageType::Offer) => Kind::Offer,
            Some(MessageType::Ack) => Kind::Ack,
            Some(MessageType::Nak) => Kind::Nak,
            _ => return Err(Ignored::Malformed),
        };
        // RFC 6842 section 3: a client MUST silently discard what carries another client's identifier.
        if let Some(DhcpOption::ClientIdentifier(identifier)) = options.get(OptionCode::ClientIdentifier)
            && *identifier != to.client_identifier
        {
            return Err(Ignored::Client);
        }
        let server = match options.get(OptionCode::ServerIdentifier) {
            Some(DhcpOption::ServerIdentifier(server)) if is_host(*server) => *server,
            _ => return Err(Ignored::Server),
        };
        Ok(Self { kind, server, address: header.yiaddr(), options })
    }
}

/// Whether this can be the address of one host elsewhere (RFC 1122 section 3.2.1.3): not of "this network",
/// loopback, multicast, or class E with the broadcast address.
pub(super) fn is_host(address: Ipv4Addr) -> bool {
    matches!(address.octets()[0], 1..=126 | 128..=223)
}
