//! A Linux tap: an Ethernet cable whose other end is an interface of the kernel.
//!
//! Frames carry the kernel's notes about checksums and segments both ways (virtio 1.2,
//! section 5.1.6), so a 64 KiB TCP segment crosses in one system call. What this module sets up is the tap itself,
//! its MTU, and, if it had to create it, that it is up. Addresses and routes of the kernel's side are
//! its administrator's job.

mod config;
mod queue;
mod steering;
mod system;
mod vnet_header;

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use sunstar_packet::{Capabilities, SegmentationOffload};

pub use config::{TapConfig, TapError, mac_from_name};
pub use queue::TapQueue;
pub use steering::{PortSpace, SteeringError, TapSteering};
use system::{Interface, Name};

/// The most queues the kernel gives a tap.
const MAX_QUEUES: usize = 256;
/// What may be handed over unfinished, most first; kernels before 6.2 know no USO.
const OFFLOADS: [libc::c_uint; 3] = {
    let tcp = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    [tcp | libc::TUN_F_USO4 | libc::TUN_F_USO6, tcp, libc::TUN_F_CSUM]
};

/// Opens taps.
#[derive(Debug)]
pub struct Tap;

impl Tap {
    /// Opens a tap, created and brought up if it is missing, and gives its queues; each may go to
    /// another thread. An interface that is there already is left up or down as it is.
    ///
    /// # Errors
    /// See [`TapError`]; most common is [`TapError::NotPermitted`].
    pub fn open(config: &TapConfig) -> Result<Vec<TapQueue>, TapError> {
        let name = checked_name(&config.name)?;
        if !(1..=MAX_QUEUES).contains(&config.queues) {
            return Err(TapError::Queues { queues: config.queues });
        }
        if config.mac[0] & 1 != 0 || config.mac == [0; 6] {
            return Err(TapError::Mac { mac: config.mac });
        }
        let fails = |action| move |errno| failure(config, action, errno);
        let interface = Interface::new(name).map_err(fails("reach"))?;
        let existed = interface.flags().is_ok();
        let files = (0..config.queues).map(|_| open_queue(config, name)).collect::<Result<Vec<_>, _>>()?;
        let mut offload = 0;
        for file in &files {
            offload = set_offload(file, config.offload).map_err(fails("set the offloads of"))?;
        }
        let mtu = settle_mtu(config, &interface)?;
        if interface.mac().map_err(fails("read the address of"))? == config.mac {
            return Err(TapError::SameMac { name: config.name.clone(), mac: config.mac });
        }
        if !existed {
            let flags = interface.flags().map_err(fails("read the flags of"))?;
            interface.set_flags(flags | libc::IFF_UP).map_err(fails("bring up"))?;
        }
        let capabilities = Capabilities {
            transmit_checksum: offload & libc::TUN_F_CSUM != 0,
            segmentation: SegmentationOffload {
                tcp_v4: offload & libc::TUN_F_TSO4 != 0,
                tcp_v6: offload & libc::TUN_F_TSO6 != 0,
                udp: offload & libc::TUN_F_USO4 != 0,
            },
            ..Capabilities::ethernet(config.mac, mtu)
        };
        Ok(files.into_iter().map(|file| TapQueue::new(file, interface.clone(), capabilities)).collect())
    }
}

/// The name as the kernel takes it (its `dev_valid_name`; and `%`, which it would replace by a number).
fn checked_name(name: &str) -> Result<Name, TapError> {
    let fails = |reason| Err(TapError::Name { name: name.to_owned(), reason });
    if name.is_empty() {
        return fails("it is empty");
    }
    if name.len() >= libc::IFNAMSIZ {
        return fails("it has more than 15 bytes");
    }
    let refused = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b':' | b'%' | 0x0b | 0);
    if matches!(name, "." | "..") || name.bytes().any(refused) {
        return fails("`/`, `:`, `%`, spaces, `.` and `..` are not allowed");
    }
    let mut checked = [0; libc::IFNAMSIZ];
    for (into, byte) in checked.iter_mut().zip(name.bytes()) {
        *into = byte as libc::c_char;
    }
    Ok(checked)
}

fn open_queue(config: &TapConfig, name: Name) -> Result<OwnedFd, TapError> {
    let driver = system::open_driver().map_err(|errno| match errno {
        Errno::ACCESS | Errno::PERM => failure(config, "open /dev/net/tun for", errno),
        errno => TapError::NoDriver { errno },
    })?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    let many = flags | libc::IFF_MULTI_QUEUE;
    let first = if config.queues > 1 { many } else { flags };
    system::attach(driver.as_fd(), name, first)
        .or_else(|errno| match errno {
            // A tap that was made for several queues is only opened as one of those.
            Errno::INVAL if config.queues == 1 => system::attach(driver.as_fd(), name, many),
            errno => Err(errno),
        })
        .map_err(|errno| match errno {
            Errno::INVAL => TapError::OtherKind { name: config.name.clone(), queues: config.queues },
            errno => failure(config, "create or open", errno),
        })?;
    system::set_header_length(driver.as_fd(), vnet_header::LEN)
        .map_err(|errno| failure(config, "set the header length of", errno))?;
    Ok(driver)
}

/// Turns on as much as the kernel grants; what that is.
fn set_offload(file: &OwnedFd, wanted: bool) -> Result<libc::c_uint, Errno> {
    let granted = OFFLOADS.into_iter().filter(|_| wanted);
    match granted.into_iter().find(|flags| system::set_offload(file.as_fd(), *flags).is_ok()) {
        Some(flags) => Ok(flags),
        None => system::set_offload(file.as_fd(), 0).map(|()| 0),
    }
}

/// Sets the MTU if one was asked for; what it is then.
fn settle_mtu(config: &TapConfig, interface: &Interface) -> Result<usize, TapError> {
    let is = interface.mtu().map_err(|errno| failure(config, "read the MTU of", errno))?;
    let Some(wanted) = config.mtu.filter(|wanted| *wanted != is) else { return Ok(is) };
    interface.set_mtu(wanted).map_err(|errno| match errno {
        Errno::INVAL => TapError::Mtu { name: config.name.clone(), mtu: wanted },
        errno => failure(config, "set the MTU of", errno),
    })?;
    Ok(wanted)
}

fn failure(config: &TapConfig, action: &'static str, errno: Errno) -> TapError {
    let name = config.name.clone();
    match errno {
        Errno::PERM | Errno::ACCESS => TapError::NotPermitted { name, action },
        Errno::BUSY => TapError::Busy { name },
        errno => TapError::System { name, action, errno },
    }
}

#[cfg(test)]
mod tests;
