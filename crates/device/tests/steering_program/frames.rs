//! Frames of every kind the classifier knows, made byte by byte, and spoilt in every way it has an answer to.

use sunstar_stack::random::Random;

/// The kinds, in the order in which [`Frames::of_kind`] makes them.
pub(crate) const KINDS: [&str; 18] = [
    "TCP",
    "UDP",
    "other protocol",
    "IPv4 options",
    "fragment, first",
    "fragment, middle",
    "fragment, last",
    "ICMP error",
    "ICMP echo",
    "ICMP echo reply",
    "ICMP, other",
    "ARP, about IPv4",
    "ARP, something off",
    "IPv6 ports",
    "IPv6 extension",
    "other EtherType",
    "noise in IPv4",
    "noise",
];

/// How many ports, and identifiers, half of all frames share: the ones that have owners.
pub(crate) const POPULAR: u16 = 64;

const MORE_FRAGMENTS: u16 = 0x2000;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A source of frames.
pub(crate) struct Frames {
    random: Random,
}

impl Frames {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::from_seed(seed) }
    }

    /// A frame, and which of [`KINDS`] it began as.
    pub(crate) fn next(&mut self) -> (usize, Vec<u8>) {
        let kind = self.random.below(KINDS.len() as u64) as usize;
        let frame = self.of_kind(kind);
        (kind, self.spoil(frame))
    }

    /// A frame that is as it should be, with a tag now and then.
    pub(crate) fn of_kind(&mut self, kind: usize) -> Vec<u8> {
        let (ether_type, payload) = match KINDS[kind] {
            "TCP" => (0x0800, self.ipv4_of(TCP, 0, 0)),
            "UDP" => (0x0800, self.ipv4_of(UDP, 0, 0)),
            "other protocol" => (0x0800, self.any_ipv4()),
            "IPv4 options" => (0x0800, self.with_options()),
            "fragment, first" => (0x0800, self.fragment(MORE_FRAGMENTS)),
            "fragment, middle" => {
                let offset = self.random.range(1..=0x1fff) as u16;
                (0x0800, self.fragment(MORE_FRAGMENTS | offset))
            }
            "fragment, last" => {
                let offset = self.random.range(1..=0x1fff) as u16;
                (0x0800, self.fragment(offset))
            }
            "ICMP error" => (0x0800, self.icmp_error()),
            "ICMP echo" => (0x0800, self.echo(8)),
            "ICMP echo reply" => (0x0800, self.echo(0)),
            "ICMP, other" => {
                let kind = self.random.next_u32() as u8;
                (0x0800, self.echo(kind))
            }
            "ARP, about IPv4" => {
                let operation = self.random.range(1..=2) as u8;
                (0x0806, self.arp([0, 1, 8, 0, 6, 4, 0, operation]))
            }
            "ARP, something off" => {
                let mut fixed = [0, 1, 8, 0, 6, 4, 0, 2];
                fixed[self.random.below(8) as usize] = self.random.next_u32() as u8;
                (0x0806, self.arp(fixed))
            }
            "IPv6 ports" => {
                let protocol = self.one_of(&[TCP, UDP]);
                (0x86dd, self.ipv6(protocol))
            }
            "IPv6 extension" => {
                let header = self.one_of(&[0, 43, 44, 51, 58, 59, 60, 1]);
                (0x86dd, self.ipv6(header))
            }
            "other EtherType" => {
                let listed = self.one_of(&[0x8100, 0x88a8, 0x05ff, 0x0600, 0x0000, 0x88cc, 0x0801]);
                let any = self.random.next_u32() as u16;
                let ether_type = self.one_of(&[listed, any]);
                (ether_type, self.any_ipv4())
            }
            "noise in IPv4" => (0x0800, self.noisy_ipv4()),
            _ => {
                let listed = self.one_of(&[0x0800, 0x0806, 0x86dd, 0x8100]);
                let any = self.random.next_u32() as u16;
                let (ether_type, len) = (self.one_of(&[listed, any]), self.random.below(200));
                (ether_type, self.bytes(len))
            }
        };
        self.ethernet(ether_type, &payload)
    }

    fn spoil(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        match self.random.below(10) {
            0 => {
                let len = self.random.range(14..=frame.len() as u64);
                frame.truncate(len as usize);
            }
            1 => {
                let padding = self.random.below(60);
                frame.extend(self.bytes(padding));
            }
            2 => {
                for _ in 0..self.random.range(1..=4) {
                    let at = self.random.below(frame.len().min(80) as u64) as usize;
                    frame[at] ^= 1 << self.random.below(8);
                }
            }
            3 => {
                // The packet's length by its header's word, a little or far too small or large.
                let high = self.one_of(&[0, 0, frame[16.min(frame.len() - 1)], 0xff]);
                let low = self.random.below(100) as u8;
                if let Some(length) = frame.get_mut(16..18) {
                    length.copy_from_slice(&[high, low]);
                }
            }
            _ => {}
        }
        frame
    }

    fn ethernet(&mut self, ether_type: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = self.bytes(12);
        let tags = self.one_of(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2]);
        for _ in 0..tags {
            let provider = self.random.below(8) == 0;
            frame.extend(if provider { [0x88, 0xa8] } else { [0x81, 0x00] });
            frame.extend(self.bytes(2));
        }
        frame.extend(ether_type.to_be_bytes());
        frame.extend(payload);
        frame
    }

    /// A packet between any two, with `options` (whole words) and a checksum that is wrong.
    fn ipv4(&mut self, protocol: u8, fragment: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45 + (options.len() / 4) as u8, 0];
        packet.extend(((20 + options.len() + payload.len()) as u16).to_be_bytes());
        packet.extend([0x12, 0x34]);
        packet.extend(fragment.to_be_bytes());
        packet.extend([64, protocol, 0xba, 0xad]);
        packet.extend(self.bytes(8));
        packet.extend(options);
        packet.extend(payload);
        packet
    }

    /// A packet with ports, an echo, or something else, behind `words` words of options.
    fn ipv4_of(&mut self, protocol: u8, fragment: u16, words: u64) -> Vec<u8> {
        let options = self.bytes(words * 4);
        let payload = match protocol {
            ICMP => {
                let kind = self.one_of(&[0, 8, 8, 3, 13]);
                self.message(kind)
            }
            _ => self.transport(),
        };
        self.ipv4(protocol, fragment, &options, &payload)
    }

    fn any_ipv4(&mut self) -> Vec<u8> {
        let any = self.random.next_u32() as u8;
        let protocol = self.one_of(&[TCP, UDP, ICMP, any, any]);
        let words = self.one_of(&[0, 0, 1, 10]);
        self.ipv4_of(protocol, 0, words)
    }

    fn with_options(&mut self) -> Vec<u8> {
        let protocol = self.one_of(&[TCP, UDP, ICMP]);
        let words = self.random.range(1..=10);
        self.ipv4_of(protocol, 0, words)
    }

    fn fragment(&mut self, fragment: u16) -> Vec<u8> {
        let protocol = self.one_of(&[TCP, UDP, ICMP]);
        let words = self.one_of(&[0, 0, 0, 2]);
        self.ipv4_of(protocol, fragment, words)
    }

    /// An error that quotes a packet of any kind, and all or little of that.
    fn icmp_error(&mut self) -> Vec<u8> {
        let protocol = self.one_of(&[TCP, UDP, ICMP, ICMP, 50]);
        let fragment = self.one_of(&[0, 0, 0, 0x4000, MORE_FRAGMENTS, MORE_FRAGMENTS | 185, 370]);
        let words = self.one_of(&[0, 0, 0, 1, 10]);
        let mut quote = self.ipv4_of(protocol, fragment, words);
        let quoted = match self.random.below(3) {
            0 => quote.len(),
            1 => (28 + words as usize * 4).min(quote.len()),
            _ => self.random.below(quote.len() as u64 + 1) as usize,
        };
        quote.truncate(quoted);
        let mut message = vec![self.one_of(&[3, 4, 5, 11, 12]), 0];
        message.extend(self.bytes(6));
        message.extend(quote);
        let words = self.one_of(&[0, 0, 0, 1, 10]);
        let options = self.bytes(words * 4);
        let mut packet = self.ipv4(ICMP, 0, &options, &message);
        if self.random.below(3) == 0 {
            // By the header's word less was quoted, and the rest is padding.
            let less = self.random.below(message.len() as u64) as usize;
            let length = (packet.len() - less) as u16;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
        }
        packet
    }

    fn echo(&mut self, kind: u8) -> Vec<u8> {
        let message = self.message(kind);
        self.ipv4(ICMP, 0, &[], &message)
    }

    fn arp(&mut self, fixed: [u8; 8]) -> Vec<u8> {
        let mut packet = fixed.to_vec();
        packet.extend(self.bytes(20));
        packet
    }

    fn ipv6(&mut self, next_header: u8) -> Vec<u8> {
        let payload = self.transport();
        let mut packet = vec![0x60 | self.random.below(16) as u8];
        packet.extend(self.bytes(3));
        packet.extend((payload.len() as u16).to_be_bytes());
        packet.extend([next_header, 64]);
        packet.extend(self.bytes(32));
        packet.extend(payload);
        packet
    }

    /// A header that might be right, with noise for options and payload, and its lengths wrong as often as not.
    fn noisy_ipv4(&mut self) -> Vec<u8> {
        let protocol = self.one_of(&[TCP, UDP, ICMP, ICMP]);
        let len = self.random.below(100);
        let payload = self.bytes(len);
        let mut packet = self.ipv4(protocol, 0, &[], &payload);
        packet[0] = self.one_of(&[0x40, 0x50]) | self.random.below(16) as u8;
        packet[3] = self.random.next_u32() as u8;
        packet
    }

    /// An ICMP message of a type, with an identifier; rarely too short for it.
    fn message(&mut self, kind: u8) -> Vec<u8> {
        let mut message = vec![kind, 0, 0xba, 0xad];
        message.extend(self.port().to_be_bytes());
        let len = self.random.below(40);
        message.extend(self.bytes(len));
        if self.random.below(20) == 0 {
            message.truncate(self.random.below(8) as usize);
        }
        message
    }

    /// What begins like TCP and UDP do: rarely too short for its ports.
    fn transport(&mut self) -> Vec<u8> {
        let (source, destination) = (self.port(), self.port());
        let mut payload = [source.to_be_bytes(), destination.to_be_bytes()].concat();
        let len = self.random.below(30);
        payload.extend(self.bytes(len));
        if self.random.below(20) == 0 {
            payload.truncate(self.random.below(5) as usize);
        }
        payload
    }

    fn port(&mut self) -> u16 {
        let port = self.random.next_u32() as u16;
        if self.random.below(2) == 0 { port } else { port % POPULAR }
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.random.below(choices.len() as u64) as usize]
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.random.fill(&mut bytes);
        bytes
    }
}
