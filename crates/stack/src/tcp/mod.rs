//! TCP
use crate::config::TcpConfig;
use crate::core::{Addressed, Core};
use crate::ip::icmp::IcmpError;
use crate::ip::{InterfaceId, IpInput};
use crate::random::Random;
use crate::socket::Ready;
use slotmap::new_key_type;
use sunstar_wire::IpAddress;
new_key_type! {
    /// Names a TCP connection.
    pub struct ConnectionKey;
    /// Names a TCP listener.
    pub struct ListenerKey;
}
pub(crate) struct Tcp {}
impl Tcp {
    pub(crate) fn new(_: &TcpConfig, _: &mut Random) -> Self {
        Self {}
    }
    pub(crate) fn input(&mut self, core: &mut Core, _: IpInput) {
        core.counters.drops.tcp_no_connection += 1;
    }
    pub(crate) fn on_icmp_error(&mut self, _: &mut Core, _: &IcmpError) {}
    pub(crate) fn on_neighbor(&mut self, _: &mut Core, _: ConnectionKey, _: bool) {}
    pub(crate) fn on_timer(&mut self, _: &mut Core, _: ConnectionKey) {}
    pub(crate) fn on_time_wait_timer(&mut self, _: &mut Core) {}
    pub(crate) fn next(&mut self, _: &mut Core, _: InterfaceId) -> Option<Addressed> {
        None
    }
    pub(crate) fn on_device_failed(&mut self, _: &mut Core) {}
    pub(crate) fn on_address_removed(&mut self, _: &mut Core, _: IpAddress) {}
    pub(crate) fn listener_ready(&mut self, _: ListenerKey) -> Option<&mut Ready> {
        None
    }
    pub(crate) fn connection_ready(&mut self, _: ConnectionKey) -> Option<&mut Ready> {
        None
    }
}
