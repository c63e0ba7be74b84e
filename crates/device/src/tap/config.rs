//! How a tap is opened, and why that can fail.

use rustix::io::Errno;

/// How a tap is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapConfig {
    /// The kernel's interface: 1 to 15 bytes. Created if it is missing, and then it lives as long as its queues.
    pub name: String,
    /// Queue pairs, one a shard. All of a tap's queues are opened at once.
    pub queues: usize,
    /// The largest IP packet, in bytes. `None` leaves the interface's own: 1,500 for a new one.
    pub mtu: Option<usize>,
    /// Whether the kernel may hand over, and is handed, partial checksums and packets to be segmented.
    pub offload: bool,
    /// The hardware address of our side of the cable; the kernel's side has another.
    pub mac: [u8; 6],
}

impl TapConfig {
    /// One queue, the interface's MTU, offloads on, and an address derived from the name.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let mac = mac_from_name(&name);
        Self { name, queues: 1, mtu: None, offload: true, mac }
    }
}

/// A locally administered unicast address that is the same for the same name at every start, so that peers'
/// neighbour tables stay right. Two machines that bridge taps of the same name need addresses of their own.
pub fn mac_from_name(name: &str) -> [u8; 6] {
    // FNV-1a, which spreads short names well.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let [mut first, b, c, d, e, f, ..] = hash.to_be_bytes();
    first = first & !0x01 | 0x02;
    [first, b, c, d, e, f]
}

/// Why a tap could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The kernel would not take the name.
    #[error("`{name}` cannot be an interface's name: {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The number of queues is out of range.
    #[error("a tap has 1 to 256 queues, not {queues}")]
    Queues {
        /// The number asked for.
        queues: usize,
    },
    /// The tun driver is not there.
    #[error(
        "there is no tun driver (/dev/net/tun: {errno}); load it with `modprobe tun` (a container needs \
         `--device /dev/net/tun`), or use `--device embedded`, which needs no tap"
    )]
    NoDriver {
        /// What the system said.
        errno: Errno,
    },
    /// The process may not do this.
    #[error(
        "not permitted to {action} tap `{name}`: that takes CAP_NET_ADMIN. Run with `sudo`; or give the program \
         the capability once (`sudo setcap cap_net_admin+ep PROGRAM`); or have the tap made for you \
         (`sudo ip tuntap add dev {name} mode tap user $USER && sudo ip link set {name} up`); or try it in a \
         namespace of your own (`unshare -Urn`). `--device embedded` works without any of these"
    )]
    NotPermitted {
        /// The interface.
        name: String,
        /// What was refused.
        action: &'static str,
    },
    /// Another process has the tap open.
    #[error(
        "tap `{name}` is in use by another process; stop that one (`lsof /dev/net/tun`) or choose another name"
    )]
    Busy {
        /// The interface.
        name: String,
    },
    /// An interface of that name exists and is something else.
    #[error(
        "`{name}` exists but cannot be opened as a tap with {queues} queue(s): it is another kind of interface, or \
         was made for another number of queues; look with `ip -details link show {name}`, choose another name, \
         or remove it (`ip link delete {name}`)"
    )]
    OtherKind {
        /// The interface.
        name: String,
        /// Queues asked for.
        queues: usize,
    },
    /// The kernel would not take the MTU.
    #[error("tap `{name}` cannot have an MTU of {mtu} bytes: the kernel takes 68 to 65521")]
    Mtu {
        /// The interface.
        name: String,
        /// The MTU asked for.
        mtu: usize,
    },
    /// Both sides of the cable would have the same hardware address.
    #[error(
        "the kernel's side of tap `{name}` already has the hardware address {}, which was given for ours; \
         give another one",
        colons(mac)
    )]
    SameMac {
        /// The interface.
        name: String,
        /// The address.
        mac: [u8; 6],
    },
    /// The hardware address is none for a single station.
    #[error("{} is not the hardware address of one station; use one like 02:00:00:00:00:01", colons(mac))]
    Mac {
        /// The address.
        mac: [u8; 6],
    },
    /// Something else.
    #[error("cannot {action} tap `{name}`: {errno}")]
    System {
        /// The interface.
        name: String,
        /// What failed.
        action: &'static str,
        /// What the system said.
        errno: Errno,
    },
}

fn colons(mac: &[u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
