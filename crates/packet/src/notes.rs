//! What a device and a protocol tell each other about a packet, outside its bytes.

/// What is known of, or still to be done about, the transport checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChecksumNote {
    /// Nothing: received, it has to be verified; to be sent, it is complete.
    #[default]
    None,
    /// The device, or a sender on the same machine, vouches for it.
    Verified,
    /// The field holds the folded pseudo-header sum only; the sum over everything from `start` to the end
    /// belongs at `start + offset`. A receiver treats it as verified: the bytes never were on a wire.
    Partial {
        /// Bytes from the packet's first byte to where summing starts.
        start: u16,
        /// Bytes from `start` to the checksum field.
        offset: u16,
    },
}

/// How a large packet is to be cut, or was put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentationKind {
    /// TCP over IPv4: IDs, lengths, sequence numbers, flags and checksums are made per segment.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// UDP datagrams of equal size, the last one may be shorter.
    Udp,
}

/// Segmentation that a device is asked to do, or coalescing that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// What kind of segments.
    pub kind: SegmentationKind,
    /// Payload bytes of each segment but the last.
    pub size: u16,
    /// Bytes of headers, from the packet's first byte, that each segment repeats.
    pub header_len: u16,
}

/// Which protocol wants to hear that a packet has left, and what it needs to know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    /// The protocol, by its place among a shard's providers.
    pub provider: u8,
    /// The protocol's own token.
    pub token: u64,
    /// What the packet was charged for: its weight in the protocol's own account.
    pub weight: u32,
}

/// All notes on one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The transport checksum.
    pub checksum: ChecksumNote,
    /// Segmentation to do, or coalescing done.
    pub segmentation: Option<Segmentation>,
    /// The receive hash as the device computed it.
    pub hash: Option<u32>,
    /// Who wants to hear that the packet has left.
    pub departure: Option<Departure>,
    /// IP has to cut the packet before it leaves, into fragments of so many bytes of payload. No device is given this.
    pub fragment_size: Option<u16>,
}
