//! Frames put on an interface as they are (packet(7)).

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

/// A packet socket that only sends.
pub(super) struct PacketSocket {
    socket: OwnedFd,
    interface: LinkAddr,
}

impl PacketSocket {
    /// Opens one to an interface.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let addresses = getifaddrs()?.filter(|it| it.interface_name == interface);
        let link = addresses.filter_map(|it| it.address).find_map(|it| it.as_link_addr().copied());
        let interface = link.ok_or_else(|| {
            io::Error::new(ErrorKind::NotFound, format!("there is no interface {interface}"))
        })?;
        // Without a protocol it receives nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, interface })
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
