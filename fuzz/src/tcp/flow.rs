//! One connection as its peer sees it: the numbers it needs to say the right thing or nearly so, and both streams, each
//! byte of which tells by itself where it belongs.

use std::collections::BTreeSet;

use sunstar_sim::decode::Segment;
use sunstar_stack::ConnectionKey;
use sunstar_wire::tcp::{SeqNumber, TcpFlags};

/// The byte at a number of the peer's stream, or at an offset of the host's.
pub(super) fn byte_at(place: u32) -> u8 {
    (place.wrapping_mul(0x9e37_79b1) >> 24) as u8
}

/// The furthest that the host has said.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// The number of its SYN.
    pub(super) isn: u32,
    /// Behind all that it has sent.
    pub(super) end: u32,
    /// What it expects next, as it said last.
    pub(super) ack: u32,
    /// How much of it, not scaled.
    pub(super) window: u16,
    pub(super) scale: u8,
    /// Its clock, if it tells.
    pub(super) clock: Option<u32>,
    /// The front of its last packet, for quoting.
    pub(super) packet: Vec<u8>,
}

/// What there is between two ports, one connection after the other.
#[derive(Debug)]
pub(super) struct Flow {
    /// The peer's, and the host's.
    pub(super) ports: (u16, u16),
    /// The connection, while its application has it.
    pub(super) key: Option<ConnectionKey>,
    /// Whether the application has said that it wants to read nothing more.
    pub(super) read_shut: bool,
    /// Behind all that the peer has said.
    pub(super) next: u32,
    /// What the peer has acknowledged last.
    pub(super) acknowledged: u32,
    pub(super) host: Option<Host>,
    /// How many bytes the application has written.
    pub(super) written: u32,
    /// The numbers of the SYNs and FINs that the peer has sent.
    syns: BTreeSet<u32>,
    fins: BTreeSet<u32>,
    /// How many bytes the application has read, and of what numbers the first may have been.
    read: u32,
    origins: Vec<u32>,
}

impl Flow {
    pub(super) fn new(ports: (u16, u16), isn: u32) -> Self {
        Self {
            ports,
            key: None,
            read_shut: false,
            next: isn,
            acknowledged: 0,
            host: None,
            written: 0,
            syns: BTreeSet::new(),
            fins: BTreeSet::new(),
            read: 0,
            origins: Vec::new(),
        }
    }

    /// The application has a connection.
    pub(super) fn on_taken(&mut self, key: ConnectionKey) {
        (self.key, self.read_shut) = (Some(key), false);
        (self.written, self.read) = (0, 0);
        self.origins.clear();
    }

    /// The peer says something.
    pub(super) fn on_said(&mut self, flags: TcpFlags, seq: u32, len: usize, far: bool) {
        let syn = flags.contains(TcpFlags::SYN);
        let behind = seq.wrapping_add(len as u32 + u32::from(syn));
        if syn {
            self.syns.insert(seq);
        }
        if flags.contains(TcpFlags::FIN) {
            self.fins.insert(behind);
        }
        let end = behind.wrapping_add(u32::from(flags.contains(TcpFlags::FIN)));
        if !far && (syn || SeqNumber(end).after(SeqNumber(self.next))) {
            self.next = end;
        }
    }

    /// The host says something.
    ///
    /// # Panics
    /// When a byte of it is not the application's byte of that place.
    pub(super) fn on_heard(&mut self, segment: &Segment, packet: &[u8]) {
        if segment.has(TcpFlags::RST) {
            return;
        }
        if segment.has(TcpFlags::SYN) && self.host.as_ref().is_none_or(|host| host.isn != segment.seq) {
            self.host = Some(Host {
                isn: segment.seq,
                end: segment.seq,
                ack: self.next,
                window: 0,
                scale: segment.options.window_scale.unwrap_or(0),
                clock: None,
                packet: Vec::new(),
            });
            self.acknowledged = segment.seq;
        }
        // What is said without a connection answers, and opens nothing.
        let Some(host) = &mut self.host else { return };
        let end = segment.seq.wrapping_add(segment.seq_len());
        if SeqNumber(end).after(SeqNumber(host.end)) {
            host.end = end;
        }
        if segment.has(TcpFlags::ACK) {
            (host.ack, host.window) = (segment.ack, segment.window);
        }
        host.clock = segment.options.timestamps.map(|(value, _)| value);
        host.packet = packet[..packet.len().min(28)].to_vec();
        let first = segment.seq.wrapping_sub(host.isn).wrapping_sub(1);
        for (at, byte) in segment.payload.iter().enumerate() {
            let at = first.wrapping_add(at as u32);
            assert_eq!(*byte, byte_at(at), "byte {at} of what the application has written");
            assert!(at < self.written || self.key.is_none(), "byte {at} was never written");
        }
    }

    /// The application reads.
    ///
    /// # Panics
    /// When it is not what the peer has sent next.
    pub(super) fn on_read(&mut self, bytes: &[u8]) {
        if self.read == 0 {
            self.origins = self.syns.iter().map(|syn| syn.wrapping_add(1)).collect();
        }
        for byte in bytes {
            let read = self.read;
            self.origins.retain(|origin| byte_at(origin.wrapping_add(read)) == *byte);
            assert!(
                !self.origins.is_empty(),
                "byte {read} of what was received is not the next that was sent"
            );
            self.read += 1;
        }
    }

    /// The application reads the end of the stream.
    ///
    /// # Panics
    /// When the peer has not ended it there.
    pub(super) fn on_end(&self) {
        let origins = if self.read == 0 {
            self.syns.iter().map(|syn| syn.wrapping_add(1)).collect()
        } else {
            self.origins.clone()
        };
        let ends_here = |origin: &u32| self.fins.contains(&origin.wrapping_add(self.read));
        assert!(
            origins.iter().any(ends_here),
            "the stream ends after {} bytes, where the peer has not ended it",
            self.read
        );
    }
}
