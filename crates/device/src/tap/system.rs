//! The system calls a tap takes, each with its one unsafe block. The interface requests of netdevice(7), and those
//! of the kernel's tun driver.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// What the kernel calls an interface: at most 15 bytes, and a zero.
pub(super) type Name = [libc::c_char; libc::IFNAMSIZ];

/// A kernel's interface, asked about through any socket of its network namespace.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    socket: Arc<OwnedFd>,
    name: Name,
}

impl Interface {
    /// The interface of this name, which need not exist yet.
    pub(super) fn new(name: Name) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        Ok(Self { socket: Arc::new(socket), name })
    }

    /// The interface's flags (`IFF_UP`, `IFF_RUNNING`, ...); `NODEV` when there is none.
    pub(super) fn flags(&self) -> Result<c_int, Errno> {
        let request = self.request(libc::SIOCGIFFLAGS, self.empty())?;
        // SAFETY: the kernel filled this member in.
        Ok(c_int::from(unsafe { request.ifr_ifru.ifru_flags }))
    }

    /// Sets its flags.
    pub(super) fn set_flags(&self, flags: c_int) -> Result<(), Errno> {
        let mut request = self.empty();
        request.ifr_ifru.ifru_flags = flags as libc::c_short;
        self.request(libc::SIOCSIFFLAGS, request).map(drop)
    }

    /// The largest IP packet it carries, in bytes.
    pub(super) fn mtu(&self) -> Result<usize, Errno> {
        let request = self.request(libc::SIOCGIFMTU, self.empty())?;
        // SAFETY: the kernel filled this member in.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        usize::try_from(mtu).map_err(|_| Errno::RANGE)
    }

    /// Sets the largest IP packet it carries.
    pub(super) fn set_mtu(&self, mtu: usize) -> Result<(), Errno> {
        let mut request = self.empty();
        request.ifr_ifru.ifru_mtu = c_int::try_from(mtu).map_err(|_| Errno::INVAL)?;
        self.request(libc::SIOCSIFMTU, request).map(drop)
    }

    /// The hardware address of the kernel's side.
    pub(super) fn mac(&self) -> Result<[u8; 6], Errno> {
        let request = self.request(libc::SIOCGIFHWADDR, self.empty())?;
        // SAFETY: the kernel filled this member in.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr }.sa_data;
        Ok(std::array::from_fn(|at| address[at] as u8))
    }

    /// Gives the kernel's side an IPv4 address with a prefix of 24 bits.
    #[cfg(test)]
    pub(super) fn set_address(&self, address: [u8; 4]) -> Result<(), Errno> {
        for (code, octets) in [(libc::SIOCSIFADDR, address), (libc::SIOCSIFNETMASK, [255, 255, 255, 0])] {
            let mut request = self.empty();
            let mut data = [0; 14];
            for (into, octet) in data[2..6].iter_mut().zip(octets) {
                *into = octet as libc::c_char;
            }
            request.ifr_ifru.ifru_addr =
                libc::sockaddr { sa_family: libc::AF_INET as libc::sa_family_t, sa_data: data };
            self.request(code, request)?;
        }
        Ok(())
    }

    fn empty(&self) -> libc::ifreq {
        // SAFETY: zero is a valid value of every member, and all of them are plain data.
        let request: libc::ifreq = unsafe { std::mem::zeroed() };
        libc::ifreq { ifr_name: self.name, ..request }
    }

    fn request(&self, code: libc::c_ulong, request: libc::ifreq) -> Result<libc::ifreq, Errno> {
        ioctl_request(self.socket.as_fd(), code as libc::Ioctl, request)
    }
}

/// Opens the tun driver: a descriptor that stands for no interface yet.
pub(super) fn open_driver() -> Result<OwnedFd, Errno> {
    rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
}

/// Makes the descriptor a queue of the tap `name`, which is created if it is missing.
pub(super) fn attach(driver: BorrowedFd<'_>, name: Name, flags: c_int) -> Result<(), Errno> {
    // SAFETY: zero is a valid value of every member, and all of them are plain data.
    let mut request = libc::ifreq { ifr_name: name, ..unsafe { std::mem::zeroed() } };
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    ioctl_request(driver, libc::TUNSETIFF, request).map(drop)
}

/// Sets the length of the header ahead of each frame, in bytes.
pub(super) fn set_header_length(driver: BorrowedFd<'_>, len: usize) -> Result<(), Errno> {
    let len = c_int::try_from(len).map_err(|_| Errno::INVAL)?;
    // SAFETY: this request reads one int through its argument.
    outcome(unsafe { libc::ioctl(driver.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const len) })
}

/// Says which frames the kernel may hand over unfinished: a set of `TUN_F_` flags.
pub(super) fn set_offload(driver: BorrowedFd<'_>, flags: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: this request takes its argument by value.
    outcome(unsafe { libc::ioctl(driver.as_raw_fd(), libc::TUNSETOFFLOAD, libc::c_ulong::from(flags)) })
}

fn ioctl_request(
    descriptor: BorrowedFd<'_>,
    code: libc::Ioctl,
    mut request: libc::ifreq,
) -> Result<libc::ifreq, Errno> {
    // SAFETY: every request used here reads and writes one `ifreq`.
    outcome(unsafe { libc::ioctl(descriptor.as_raw_fd(), code, &raw mut request) })?;
    Ok(request)
}

fn outcome(returned: c_int) -> Result<(), Errno> {
    match returned {
        0.. => Ok(()),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
