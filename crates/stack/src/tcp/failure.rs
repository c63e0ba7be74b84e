//! What ends connections from outside their own segments: ICMP errors (RFC 5927, RFC 9293 section 3.9.2.2), a device that
//! is gone, an address that is no longer ours.

use std::net::SocketAddr;

use sunstar_wire::IpAddress;
use sunstar_wire::tcp::SeqNumber;

use super::connection::{Connection, State};
use super::input::Effects;
use super::tuple::Tuple;
use super::{ConnectionKey, Entry, Tcp};
use crate::core::Core;
use crate::ip::InterfaceId;
use crate::ip::icmp::{ErrorKind, IcmpError};
use crate::socket::SocketError;

impl Tcp {
    /// An ICMP error about a segment of ours (RFC 5927): believed only while a connection is being opened,
    /// and only about what is outstanding.
    pub(crate) fn on_icmp_error(&mut self, core: &mut Core, error: &IcmpError) {
        let [a, b, c, d, e, f, g, h] = error.quoted;
        let local = SocketAddr::new(error.local, u16::from_be_bytes([a, b]));
        let remote = SocketAddr::new(error.remote, u16::from_be_bytes([c, d]));
        let Some(Entry::Connection(key)) = self.table.get(&Tuple::new(local, remote)).copied() else {
            return match error.kind {
                ErrorKind::TooBig(_) => core.counters.drops.too_big_ignored += 1,
                _ => core.counters.drops.icmp_ignored += 1,
            };
        };
        let Some(connection) = self.connections.get_mut(key) else { return };
        let sequence = SeqNumber(u32::from_be_bytes([e, f, g, h]));
        let outstanding = sequence.at_or_after(connection.snd_una) && sequence.before(connection.snd_nxt);
        match error.kind {
            ErrorKind::Refused if outstanding && connection.state == State::SynSent => {
                let mut effects = Effects::default();
                connection.fail(SocketError::ConnectionRefused, &mut effects);
                self.apply(core, key, effects);
            }
            // RFC 9293 MUST-56: no reason to give up, but what to say when the connection is given up.
            ErrorKind::Soft(_) if outstanding => connection.soft_error = Some(SocketError::HostUnreachable),
            ErrorKind::NotUnderstood if outstanding => {
                connection.soft_error = Some(SocketError::ParameterProblem);
            }
            ErrorKind::TooBig(too_big) if outstanding => {
                self.on_too_big(core, key, sequence, (error, &too_big))
            }
            ErrorKind::TooBig(_) => core.counters.drops.too_big_ignored += 1,
            _ => core.counters.drops.icmp_ignored += 1,
        }
    }

    /// The device is gone: connections by it fail at once.
    pub(crate) fn on_device_failed(&mut self, core: &mut Core) {
        self.fail_all(core, SocketError::NetworkDown, false, |connection| {
            connection.path.interface == InterfaceId::DEVICE
        });
    }

    /// An address is no longer ours: connections from it end.
    pub(crate) fn on_address_removed(&mut self, core: &mut Core, address: IpAddress) {
        self.fail_all(core, SocketError::AddressLost { address }, true, |connection| {
            connection.local().ip() == address
        });
    }

    fn fail_all(
        &mut self,
        core: &mut Core,
        error: SocketError,
        tell: bool,
        which: impl Fn(&Connection) -> bool,
    ) {
        let chosen = |(_, connection): &(ConnectionKey, &Connection)| {
            connection.state != State::Closed && which(connection)
        };
        let keys: Vec<_> = self.connections.iter().filter(chosen).map(|(key, _)| key).collect();
        for key in keys {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let reset = (tell && connection.state.is_synchronized()).then_some(connection.snd_nxt);
            let mut effects = Effects { reset, ..Effects::default() };
            connection.fail(error, &mut effects);
            self.apply(core, key, effects);
        }
    }
}
