//! What the client says, as bytes (RFC 2131 section 4.4 and its table 5).
//!
//! The fixed header is written here, because `dhcproto` makes a message only with a transaction of the
//! system's randomness; the options are its work.

use core::net::Ipv4Addr;

use dhcproto::Encodable;
use dhcproto::v4::{DhcpOption, MAGIC, MessageType, Opcode, OptionCode};
use sunstar_wire::MacAddress;

use super::options::OPTIONS;
use crate::config::DhcpConfig;

/// RFC 1542 section 2.1: a BOOTP message has 300 bytes at least, and relays drop shorter ones.
const MIN_LENGTH: usize = 300;

/// RFC 2131 section 2: the flag that asks for a broadcast.
const BROADCAST: u16 = 0x8000;

/// The hardware type of Ethernet.
const ETHERNET: u8 = 1;

/// One message.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: MessageType,
    pub(super) xid: u32,
    pub(super) secs: u16,
    /// The address in use; zero before there is one.
    pub(super) ciaddr: Ipv4Addr,
    pub(super) hardware: MacAddress,
    pub(super) client_identifier: &'a [u8],
    /// The address that is talked about, if it is not the one in use.
    pub(super) requested: Option<Ipv4Addr>,
    /// The server that is talked to, if it is one.
    pub(super) server: Option<Ipv4Addr>,
}

impl Message<'_> {
    pub(super) fn build(&self, config: &DhcpConfig) -> Vec<u8> {
        // RFC 2131 table 5: what ends an exchange asks for nothing, and nobody answers.
        let asks = matches!(self.kind, MessageType::Discover | MessageType::Request);
        let flags = if asks && config.broadcast { BROADCAST } else { 0 };

        let mut bytes = vec![Opcode::BootRequest.into(), ETHERNET, 6, 0];
        bytes.extend(self.xid.to_be_bytes());
        bytes.extend(self.secs.to_be_bytes());
        bytes.extend(flags.to_be_bytes());
        bytes.extend(self.ciaddr.octets());
        bytes.extend([0; 12]); // yiaddr, siaddr, giaddr: a server's and a relay's to fill in.
        bytes.extend(self.hardware.0);
        bytes.resize(OPTIONS - MAGIC.len(), 0);
        bytes.extend(MAGIC);

        let mut options = vec![
            DhcpOption::MessageType(self.kind),
            DhcpOption::ClientIdentifier(self.client_identifier.to_vec()),
        ];
        options.extend(self.requested.map(DhcpOption::RequestedIpAddress));
        options.extend(self.server.map(DhcpOption::ServerIdentifier));
        if asks {
            options.push(DhcpOption::MaxMessageSize(config.max_message.max(576)));
            options.push(DhcpOption::ParameterRequestList(wanted(config)));
            let named = config.host_name.iter().filter(|name| name.len() <= 255);
            options.extend(named.cloned().map(DhcpOption::Hostname));
        }
        options.push(DhcpOption::End);
        for option in options {
            // Writing into a vector, it has no reason to fail; half an option would spoil all after it.
            bytes.extend(option.to_vec().unwrap_or_default());
        }
        bytes.resize(bytes.len().max(MIN_LENGTH), 0);
        bytes
    }
}

/// The parameter request list (RFC 2132 section 9.8).
fn wanted(config: &DhcpConfig) -> Vec<OptionCode> {
    let mut codes = vec![OptionCode::SubnetMask];
    // RFC 3442: it MUST be asked for ahead of the Router option.
    codes.extend(config.classless_routes.then_some(OptionCode::ClasslessStaticRoute));
    codes.extend([
        OptionCode::Router,
        OptionCode::DomainNameServer,
        OptionCode::DomainName,
        OptionCode::DomainSearch,
        OptionCode::InterfaceMtu,
        OptionCode::Renewal,
        OptionCode::Rebinding,
    ]);
    codes
}

/// How the client names itself: as configured, or by its hardware address (RFC 2132 section 9.14).
pub(super) fn client_identifier(config: &DhcpConfig, hardware: MacAddress) -> Vec<u8> {
    match &config.client_identifier {
        Some(identifier) if (2..=255).contains(&identifier.len()) => identifier.clone(),
        _ => [&[ETHERNET], hardware.0.as_slice()].concat(),
    }
}
