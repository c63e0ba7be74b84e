//! A segment as a script writes it: to be put before a host, or expected from it.

use sunstar_wire::Protocol;
use sunstar_wire::tcp::{SeqNumber, TcpFlags, TcpHeader};

use crate::craft::Envelope;
use crate::decode::{Segment, SegmentOptions};

/// A segment without flags, options or payload; what is not said is the usual.
pub fn tcp() -> Tcp {
    Tcp::default()
}

/// A SYN.
pub fn syn() -> Tcp {
    tcp().syn()
}

/// A SYN with an acknowledgement, whose number is to be said with [`Tcp::ack`].
pub fn syn_ack() -> Tcp {
    syn().flag(TcpFlags::ACK)
}

/// An acknowledgement up to this number, counted from the receiver's SYN.
pub fn ack(ack: u32) -> Tcp {
    tcp().ack(ack)
}

/// A FIN with an acknowledgement, as every FIN on the wire has one; its number is to be said with [`Tcp::ack`].
pub fn fin() -> Tcp {
    tcp().fin().flag(TcpFlags::ACK)
}

/// A RST.
pub fn rst() -> Tcp {
    tcp().rst()
}

/// A segment with an acknowledgement, whose number is to be said with [`Tcp::ack`], and this payload.
pub fn data(payload: &[u8]) -> Tcp {
    tcp().flag(TcpFlags::ACK).data(payload)
}

/// A segment to be put before a host, or to be expected from it.
///
/// Numbers are relative: sequence numbers to the sender's SYN, acknowledgements to the receiver's. What is
/// expected is compared as far as it was said: flags always, except PSH; the rest if it was given.
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    flags: TcpFlags,
    push: Option<bool>,
    seq: Option<u32>,
    ack: Option<u32>,
    window: Option<u16>,
    urgent: Option<u16>,
    options: SegmentOptions,
    /// Options as they are written, padding excluded.
    written: Vec<u8>,
    payload: Option<Vec<u8>>,
    len: Option<usize>,
    ports: (Option<u16>, Option<u16>),
    header_words: Option<u8>,
    spoiled: bool,
}

impl Tcp {
    fn flag(mut self, flag: TcpFlags) -> Self {
        self.flags |= flag;
        self
    }

    /// With SYN.
    pub fn syn(self) -> Self {
        self.flag(TcpFlags::SYN)
    }

    /// With FIN.
    pub fn fin(self) -> Self {
        self.flag(TcpFlags::FIN)
    }

    /// With RST.
    pub fn rst(self) -> Self {
        self.flag(TcpFlags::RST)
    }

    /// With PSH.
    pub fn psh(mut self) -> Self {
        self.push = Some(true);
        self
    }

    /// Without PSH, when that matters.
    pub fn no_psh(mut self) -> Self {
        self.push = Some(false);
        self
    }

    /// With these control bits besides.
    pub fn flags(self, flags: TcpFlags) -> Self {
        self.flag(flags)
    }

    /// With an urgent pointer.
    pub fn urgent(mut self, pointer: u16) -> Self {
        self.urgent = Some(pointer);
        self.flag(TcpFlags::URG)
    }

    /// With this sequence number, counted from the sender's SYN.
    pub fn seq(mut self, seq: u32) -> Self {
        self.seq = Some(seq);
        self
    }

    /// With an acknowledgement, counted from the receiver's SYN.
    pub fn ack(mut self, ack: u32) -> Self {
        self.ack = Some(ack);
        self.flag(TcpFlags::ACK)
    }

    /// With this acknowledgement number whether or not the ACK flag says that it counts.
    pub fn ack_number(mut self, ack: u32) -> Self {
        self.ack = Some(ack);
        self
    }

    /// With this window, as it stands in the header.
    pub fn win(mut self, window: u16) -> Self {
        self.window = Some(window);
        self
    }

    /// With this payload.
    pub fn data(mut self, payload: &[u8]) -> Self {
        self.payload = Some(payload.to_vec());
        self
    }

    /// With so many bytes of payload, whatever they are; zeros when it is sent.
    pub fn len(mut self, len: usize) -> Self {
        self.len = Some(len);
        self
    }

    /// From this port.
    pub fn from_port(mut self, port: u16) -> Self {
        self.ports.0 = Some(port);
        self
    }

    /// To this port.
    pub fn to_port(mut self, port: u16) -> Self {
        self.ports.1 = Some(port);
        self
    }

    /// With option bytes as they are.
    pub fn option(mut self, bytes: &[u8]) -> Self {
        self.written.extend_from_slice(bytes);
        self
    }

    /// With a maximum segment size.
    pub fn mss(mut self, mss: u16) -> Self {
        let [a, b] = mss.to_be_bytes();
        self.options.mss = Some(mss);
        self.option(&[2, 4, a, b])
    }

    /// With a window scale.
    pub fn wscale(mut self, shift: u8) -> Self {
        self.options.window_scale = Some(shift);
        self.option(&[1, 3, 3, shift])
    }

    /// With SACK-permitted.
    pub fn sack_ok(mut self) -> Self {
        self.options.sack_permitted = true;
        self.option(&[1, 1, 4, 2])
    }

    /// With timestamps: the sender's clock, and the receiver's.
    pub fn ts(mut self, value: u32, echo: u32) -> Self {
        self.options.timestamps = Some((value, echo));
        let mut bytes = vec![1, 1, 8, 10];
        bytes.extend_from_slice(&value.to_be_bytes());
        bytes.extend_from_slice(&echo.to_be_bytes());
        self.option(&bytes)
    }

    /// With SACK blocks, counted from the receiver's SYN.
    pub fn sack(mut self, blocks: &[(u32, u32)]) -> Self {
        self.options.sack = blocks.to_vec();
        self
    }

    /// With a data offset of so many words, whatever the header has.
    pub fn header_words(mut self, words: u8) -> Self {
        self.header_words = Some(words);
        self
    }

    /// With a wrong checksum.
    pub fn bad_checksum(mut self) -> Self {
        self.spoiled = true;
        self
    }

    /// The window it was given.
    pub(crate) fn window(&self) -> Option<u16> {
        self.window
    }

    /// The ports it was given: source and destination.
    pub(super) fn ports(&self) -> (Option<u16>, Option<u16>) {
        self.ports
    }

    /// The frame, with numbers counted from the two SYNs.
    pub fn frame(&self, envelope: &Envelope, ports: (u16, u16), isn: u32, peer_isn: u32) -> Vec<u8> {
        let mut options = self.written.clone();
        if !self.options.sack.is_empty() {
            options.extend_from_slice(&[1, 1, 5, 2 + 8 * self.options.sack.len() as u8]);
            for (left, right) in &self.options.sack {
                options.extend_from_slice(&left.wrapping_add(peer_isn).to_be_bytes());
                options.extend_from_slice(&right.wrapping_add(peer_isn).to_be_bytes());
            }
        }
        options.resize(options.len().next_multiple_of(4), 0);
        let acknowledgement = match self.ack {
            Some(ack) => ack.wrapping_add(peer_isn),
            None => 0,
        };
        let words = self.header_words.unwrap_or(((TcpHeader::LEN + options.len()) / 4) as u8);
        let header = TcpHeader {
            source_port: self.ports.0.unwrap_or(ports.0),
            destination_port: self.ports.1.unwrap_or(ports.1),
            sequence: SeqNumber(self.seq.unwrap_or(0).wrapping_add(isn)),
            acknowledgement: SeqNumber(acknowledgement),
            flags: if self.push == Some(true) { self.flags | TcpFlags::PSH } else { self.flags },
            window: self.window.unwrap_or(65_535),
            checksum: 0,
            urgent: self.urgent.unwrap_or(0),
            header_len: words * 4,
        };
        let mut segment = vec![0; TcpHeader::LEN];
        let _ = header.emit(&mut segment);
        segment.extend_from_slice(&options);
        let zeros = || vec![0; self.len.unwrap_or(0)];
        segment.extend_from_slice(&self.payload.clone().unwrap_or_else(zeros));
        let mut sum = envelope.transport_checksum(Protocol::TCP, &segment);
        if self.spoiled {
            sum ^= 0x5555;
        }
        segment[TcpHeader::CHECKSUM_OFFSET..][..2].copy_from_slice(&sum.to_be_bytes());
        envelope.ip(Protocol::TCP, &segment)
    }

    /// What of a segment is not as expected, if anything; its numbers are relative already.
    pub(super) fn differs(&self, segment: &Segment) -> Option<String> {
        let differs = |what: &str, expected: &dyn std::fmt::Debug| Some(format!("{what} {expected:?}"));
        if segment.flags.without(TcpFlags::PSH) != self.flags {
            return Some(format!("flags {}", self.flags));
        }
        if self.push.is_some_and(|push| push != segment.has(TcpFlags::PSH)) {
            return differs("PSH", &self.push);
        }
        if self.seq.is_some_and(|seq| seq != segment.seq) {
            return differs("seq", &self.seq);
        }
        if self.ack.is_some_and(|ack| ack != segment.ack) {
            return differs("ack", &self.ack);
        }
        if self.window.is_some_and(|window| window != segment.window) {
            return differs("win", &self.window);
        }
        if self.payload.as_ref().is_some_and(|payload| *payload != segment.payload) {
            return differs("data", &self.payload);
        }
        if self.len.is_some_and(|len| len != segment.payload.len()) {
            return differs("len", &self.len);
        }
        let ports = (segment.source.port(), segment.destination.port());
        if self.ports.0.is_some_and(|port| port != ports.0)
            || self.ports.1.is_some_and(|port| port != ports.1)
        {
            return differs("ports", &self.ports);
        }
        let (expected, found) = (&self.options, &segment.options);
        if expected.mss.is_some() && expected.mss != found.mss {
            return differs("mss", &expected.mss);
        }
        if expected.window_scale.is_some() && expected.window_scale != found.window_scale {
            return differs("wscale", &expected.window_scale);
        }
        if expected.sack_permitted && !found.sack_permitted {
            return differs("sackOK", &true);
        }
        if expected.timestamps.is_some() && expected.timestamps != found.timestamps {
            return differs("ts", &expected.timestamps);
        }
        if !expected.sack.is_empty() && expected.sack != found.sack {
            return differs("sack", &expected.sack);
        }
        None
    }
}
