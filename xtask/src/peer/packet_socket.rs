//! Frames put on an interface as they are (packet(7)).

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt,
    socket, sockopt,
};

/// Bytes that may have arrived and not been read.
const RECEIVE_BUFFER: usize = 16 << 20;

/// A packet socket.
pub(super) struct PacketSocket {
    socket: OwnedFd,
    interface: LinkAddr,
}

impl PacketSocket {
    /// Opens one to an interface, that only sends.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let interface = link_address(interface)?;
        // Without a protocol it receives nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, interface })
    }

    /// Opens one to an interface, that also receives whatever arrives there, and never waits.
    pub(super) fn open_to_receive(interface: &str) -> io::Result<Self> {
        let interface = link_address(interface)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
        bind(socket.as_raw_fd(), &interface)?;
        Ok(Self { socket, interface })
    }

    /// Receives a frame, as much of it as there is room for: how many bytes. `None` when there is none.
    pub(super) fn receive(&self, frame: &mut [u8]) -> io::Result<Option<usize>> {
        match recv(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
            Ok(len) => Ok(Some(len)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a frame.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        sendto(self.socket.as_raw_fd(), frame, &self.interface, MsgFlags::empty())?;
        Ok(())
    }

    /// Sends frames at a rate, as many as come, or for so long. How many were sent.
    pub(super) fn send_paced(
        &self,
        frames: impl Iterator<Item = Vec<u8>>,
        a_second: u32,
        at_most: Duration,
    ) -> io::Result<u64> {
        let started = Instant::now();
        let mut sent = 0;
        for frame in frames {
            let due = Duration::from_secs(sent) / a_second;
            if due >= at_most {
                break;
            }
            // A sleep is a millisecond or more in the end: what is due by then is sent at once.
            while started.elapsed() < due {
                std::thread::sleep(Duration::from_millis(1));
            }
            self.send(&frame)?;
            sent += 1;
        }
        Ok(sent)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn link_address(interface: &str) -> io::Result<LinkAddr> {
    let addresses = getifaddrs()?.filter(|it| it.interface_name == interface);
    let link = addresses.filter_map(|it| it.address).find_map(|it| it.as_link_addr().copied());
    link.ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("there is no interface {interface}")))
}
