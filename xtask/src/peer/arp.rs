//! What a hostile host on the link says by ARP, and how it makes others ask.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::json;

use super::Target;
use super::frame::{self, Datagram, STRANGER};
use super::packet_socket::PacketSocket;

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// Answers what nobody asked: that an address is at the stranger's station.
pub(super) fn answer_unasked(target: &Target, claimed: Ipv4Addr) -> io::Result<()> {
    let packets = PacketSocket::open(&target.interface)?;
    let reply = frame::arp(REPLY, claimed, target.station, target.address);
    packets.send(&frame::ethernet(target.station, frame::ARP, &reply))
}

/// Claims every address of the target's network of 65,536: half of them ask for the target by ARP, and the other half
/// send an echo request, so that the target has to ask. Prints how many.
pub(super) fn scan(target: &Target, a_second: u32) -> io::Result<()> {
    let packets = PacketSocket::open(&target.interface)?;
    let network = u32::from(target.address) & 0xffff_0000;
    let frames = (0..=u16::MAX).map(|host| {
        let source = Ipv4Addr::from(network | u32::from(host));
        if host % 2 == 1 {
            let request = frame::arp(REQUEST, source, [0; 6], target.address);
            return frame::ethernet([0xff; 6], frame::ARP, &request);
        }
        let payload = frame::echo_request(host, 0, &STRANGER);
        let (destination, protocol) = (target.address, frame::ICMP);
        let request = Datagram { source, destination, protocol, identification: host, payload };
        frame::ethernet(target.station, frame::IPV4, &request.fragments().concat())
    });
    let sent = packets.send_paced(frames, a_second, Duration::MAX)?;
    println!("{}", json!({ "sent": sent }));
    Ok(())
}
