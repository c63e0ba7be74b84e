//! The program: from a frame to its queue, step by step as the stack's classifier does it.
//!
//! It reads a header at a time onto its stack. What ends early is handled as the classifier does: without its
//! addresses a frame is unknown and goes to queue 0, and without its ports or what else comes behind, it goes by its
//! addresses. The tuple that is hashed lies in one piece where the header was read: RFC 791 and RFC 8200 both have
//! source before destination, and the ports are read right behind them.

use std::os::fd::BorrowedFd;

use super::PortSpace;
use super::assembler::Condition::{AnyBitOf, Below, Equal, NotEqual, SignedBelow};
use super::assembler::Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use super::assembler::Size::{Byte, Double, Half, Word};
use super::assembler::{Assembler, Instruction, Label, Register};
use super::map::{ENTRIES, ENTRIES_AT, added_at, owners_at};

/// The kernel's view of the frame (`struct __sk_buff`).
const CONTEXT: Register = R6;
/// Where the tables are.
const TABLES: Register = R7;
/// Bytes of the frame ahead of what is read next.
const AT: Register = R8;
/// Bytes that the packet has from there on by its header's word; less than none, if that is nonsense.
const LEFT: Register = R9;
/// What the Ethernet header carries. Gives its place to [`LEFT`].
const ETHER_TYPE: Register = R9;
/// Where the owners of the port in question begin. Takes the place of [`LEFT`].
const OWNERS: Register = R9;

/// `struct __sk_buff`: whether a tag was taken out of the frame, to be put back on delivery, and its EtherType.
const TAG_IS_ASIDE: i16 = 20;
const ASIDE_TAG_TYPE: i16 = 28;

/// The helper that reads the first, contiguous bytes of a frame, counted here from the Ethernet header.
const LOAD_BYTES_RELATIVE: i32 = 68;
const FROM_ETHERNET_HEADER: i32 = 0;
/// The helper that reads any bytes, counted from wherever the kernel is in the frame.
const LOAD_BYTES: i32 = 26;

/// The stack, in bytes from its end. An IP or ARP header, and behind it the ports; a multiple of eight, as the verifier
/// wants it for what is loaded from there.
const HEADER: i16 = -48;
/// The Ethernet header ahead of it.
const FRAME: i16 = HEADER - 14;
/// The first bytes of a transport's header.
const TRANSPORT: i16 = -72;
/// The header of the packet that an ICMP error quotes.
const QUOTED: i16 = -96;

/// The addresses of an IPv4 header, with the ports behind them.
const TUPLE_V4: i16 = HEADER + 12;
const PORTS_V4: i16 = TUPLE_V4 + 8;
/// The same of an IPv6 header.
const TUPLE_V6: i16 = HEADER + 8;
const PORTS_V6: i16 = TUPLE_V6 + 32;

const ETHERNET_LEN: i32 = 14;
const TAG_TYPE: i32 = 0x8100;
const TAG_LEN: i32 = 4;
const ICMP: i32 = 1;
const TCP: i32 = 6;
const UDP: i32 = 17;
const ECHO_REPLY: i32 = 0;
const ECHO: i32 = 8;
/// Unreachable, source quench, redirect, time exceeded, parameter problem: what quotes a packet.
const ICMP_ERRORS: [i32; 5] = [3, 4, 5, 11, 12];
/// Up to the identifier (RFC 792).
const ECHO_LEN: i32 = 6;
/// Ahead of the packet that an ICMP error quotes.
const ICMP_ERROR_LEN: i32 = 8;
const IPV4_LEN: i32 = 20;
/// Hardware type Ethernet, protocol type IPv4, address lengths 6 and 4, operation reply (RFC 826).
const ARP_REPLY: u64 = 0x0001_0800_0604_0002;

/// The program that looks up the value of `map`.
pub(super) fn steering_program(map: BorrowedFd<'_>) -> Vec<Instruction> {
    let mut assembler = Assembler::default();
    let mut label = || assembler.label();
    let (unknown, entry, arp, ipv6) = (label(), label(), label(), label());
    let (ipv4, icmpv4) = (label(), label());
    let (ports_v4, identifier_v4, addresses_v4) = (label(), label(), label());
    let mut program =
        Program { assembler, unknown, entry, arp, ipv6, ipv4, icmpv4, ports_v4, identifier_v4, addresses_v4 };
    program.ethernet(map);
    program.arp();
    program.ipv6();
    program.ipv4();
    program.icmpv4();
    program.quoted();
    program.steer_v4();
    program.entry();
    program.assembler.finish()
}

struct Program {
    assembler: Assembler,
    /// The frame goes to queue 0.
    unknown: Label,
    /// The hash is in the first register.
    entry: Label,
    /// A packet begins at [`AT`], and its first 20 bytes have been read.
    arp: Label,
    ipv6: Label,
    ipv4: Label,
    /// A message begins at [`AT`].
    icmpv4: Label,
    /// The tuple is complete, and the protocol in the third register.
    ports_v4: Label,
    /// The addresses are complete, and the identifier is in the first argument's register.
    identifier_v4: Label,
    /// The addresses are complete.
    addresses_v4: Label,
}

impl Program {
    /// Ethernet with at most one IEEE 802.1Q tag. Of every packet that is known there are as many bytes behind it as an
    /// IPv4 header has, so they are read together: a read takes longer than what is done with it.
    fn ethernet(&mut self, map: BorrowedFd<'_>) {
        let (in_the_frame, typed) = (self.assembler.label(), self.assembler.label());
        self.assembler.set(CONTEXT, R1);
        self.assembler.set_to_value_of(TABLES, map);
        self.assembler.set(AT, 0);
        self.read(ETHERNET_LEN + IPV4_LEN, FRAME, self.unknown);
        self.assembler.set(AT, ETHERNET_LEN);
        self.load_number(ETHER_TYPE, FRAME + 12);
        // A tag that the kernel keeps aside is the frame's first, so one in the frame would be a second.
        self.assembler.load(Word, R2, CONTEXT, TAG_IS_ASIDE);
        self.assembler.jump_if(R2, Equal, 0, in_the_frame);
        self.assembler.load(Word, R2, CONTEXT, ASIDE_TAG_TYPE);
        self.assembler.big_endian(R2, 16);
        self.assembler.jump_if(R2, NotEqual, TAG_TYPE, self.unknown);
        self.assembler.jump(typed);
        self.assembler.place(in_the_frame);
        self.assembler.jump_if(ETHER_TYPE, NotEqual, TAG_TYPE, typed);
        self.assembler.add(AT, TAG_LEN);
        self.load_number(ETHER_TYPE, FRAME + 16);
        self.read(IPV4_LEN, HEADER, self.unknown);
        self.assembler.place(typed);
        self.assembler.jump_if(ETHER_TYPE, Equal, 0x0800, self.ipv4);
        self.assembler.jump_if(ETHER_TYPE, Equal, 0x86dd, self.ipv6);
        self.assembler.jump_if(ETHER_TYPE, Equal, 0x0806, self.arp);
        self.assembler.place(self.unknown);
        self.assembler.set(R0, 0);
        self.assembler.exit();
    }

    /// A reply goes by its sender's address; any shard can answer a request.
    fn arp(&mut self) {
        self.assembler.place(self.arp);
        self.read(28, HEADER, self.unknown);
        self.assembler.load(Double, R1, R10, HEADER);
        self.assembler.big_endian(R1, 64);
        self.assembler.set_wide(R2, ARP_REPLY);
        self.assembler.jump_if(R1, NotEqual, R2, self.unknown);
        self.assembler.set(R0, 0);
        self.hash(HEADER + 14, 0..4);
        self.assembler.jump(self.entry);
    }

    /// Ports count if they are directly behind the header.
    fn ipv6(&mut self) {
        let (with_ports, addresses) = (self.assembler.label(), self.assembler.label());
        let (hashed_ports, addresses_only) = (self.assembler.label(), self.assembler.label());
        self.assembler.place(self.ipv6);
        self.read(40, HEADER, self.unknown);
        self.assembler.load(Byte, R1, R10, HEADER);
        self.assembler.shift_right(R1, 4);
        self.assembler.jump_if(R1, NotEqual, 6, self.unknown);
        self.assembler.add(AT, 40);
        self.load_number(R1, HEADER + 4);
        self.assembler.jump_if(R1, Below, 4, addresses_only);
        self.assembler.load(Byte, R3, R10, HEADER + 6);
        self.assembler.jump_if(R3, Equal, TCP, with_ports);
        self.assembler.jump_if(R3, NotEqual, UDP, addresses_only);
        self.assembler.place(with_ports);
        self.read(4, PORTS_V6, addresses_only);
        self.assembler.load(Byte, R3, R10, HEADER + 6);
        self.owner_of_port(PORTS_V6 + 2, hashed_ports);
        self.assembler.place(addresses_only);
        self.assembler.set(R0, 0);
        self.assembler.jump(addresses);
        self.assembler.place(hashed_ports);
        self.assembler.set(R0, 0);
        self.hash(TUPLE_V6, 32..36);
        self.assembler.place(addresses);
        self.hash(TUPLE_V6, 0..32);
        self.assembler.jump(self.entry);
    }

    /// Fragments go by their addresses, the first one too.
    fn ipv4(&mut self) {
        const FRAGMENT: i32 = 0x3fff;
        let with_ports = self.assembler.label();
        self.assembler.place(self.ipv4);
        self.load_header_len(HEADER, self.unknown);
        self.load_number(LEFT, HEADER + 2);
        self.skip();
        self.load_number(R1, HEADER + 6);
        self.assembler.jump_if(R1, AnyBitOf, FRAGMENT, self.addresses_v4);
        self.assembler.load(Byte, R3, R10, HEADER + 9);
        self.assembler.jump_if(R3, Equal, TCP, with_ports);
        self.assembler.jump_if(R3, Equal, UDP, with_ports);
        self.assembler.jump_if(R3, Equal, ICMP, self.icmpv4);
        self.assembler.jump(self.addresses_v4);
        self.assembler.place(with_ports);
        self.assembler.jump_if(LEFT, SignedBelow, 4, self.addresses_v4);
        self.read(4, PORTS_V4, self.addresses_v4);
        self.assembler.load(Byte, R3, R10, HEADER + 9);
        self.assembler.jump(self.ports_v4);
    }

    /// The identifier of an echo's reply may have an owner; an error goes where what it quotes came from.
    fn icmpv4(&mut self) {
        let error = self.assembler.label();
        self.assembler.place(self.icmpv4);
        self.assembler.jump_if(LEFT, SignedBelow, ECHO_LEN, self.addresses_v4);
        self.read(ECHO_LEN, TRANSPORT, self.addresses_v4);
        self.assembler.load(Byte, R2, R10, TRANSPORT);
        self.load_number(R1, TRANSPORT + 4);
        self.assembler.jump_if(R2, Equal, ECHO_REPLY, self.identifier_v4);
        for kind in ICMP_ERRORS {
            self.assembler.jump_if(R2, Equal, kind, error);
        }
        self.assembler.jump(self.addresses_v4);
        self.assembler.place(error);
        self.assembler.set(R1, ICMP_ERROR_LEN);
        self.skip();
    }

    /// The flow of a quoted packet, reversed. If it cannot be told, the error's own addresses stay in place.
    ///
    /// Other than in a received packet, a first fragment gives its ports; and how much was quoted is told by the
    /// error's length, not by the quoted header's.
    fn quoted(&mut self) {
        const FRAGMENT_OFFSET: i32 = 0x1fff;
        let (with_ports, echo) = (self.assembler.label(), self.assembler.label());
        self.assembler.jump_if(LEFT, SignedBelow, IPV4_LEN, self.addresses_v4);
        self.read(IPV4_LEN, QUOTED, self.addresses_v4);
        self.load_header_len(QUOTED, self.addresses_v4);
        self.skip();
        self.copy(Word, TUPLE_V4, QUOTED + 16);
        self.copy(Word, TUPLE_V4 + 4, QUOTED + 12);
        self.load_number(R1, QUOTED + 6);
        self.assembler.jump_if(R1, AnyBitOf, FRAGMENT_OFFSET, self.addresses_v4);
        self.assembler.load(Byte, R3, R10, QUOTED + 9);
        self.assembler.jump_if(R3, Equal, TCP, with_ports);
        self.assembler.jump_if(R3, Equal, UDP, with_ports);
        self.assembler.jump_if(R3, Equal, ICMP, echo);
        self.assembler.jump(self.addresses_v4);

        self.assembler.place(with_ports);
        self.assembler.jump_if(LEFT, SignedBelow, 4, self.addresses_v4);
        self.read(4, TRANSPORT, self.addresses_v4);
        self.copy(Half, PORTS_V4, TRANSPORT + 2);
        self.copy(Half, PORTS_V4 + 2, TRANSPORT);
        self.assembler.load(Byte, R3, R10, QUOTED + 9);
        self.assembler.jump(self.ports_v4);

        self.assembler.place(echo);
        self.assembler.jump_if(LEFT, SignedBelow, ECHO_LEN, self.addresses_v4);
        self.read(ECHO_LEN, TRANSPORT, self.addresses_v4);
        self.assembler.load(Byte, R2, R10, TRANSPORT);
        self.load_number(R1, TRANSPORT + 4);
        self.assembler.jump_if(R2, Equal, ECHO, self.identifier_v4);
        self.assembler.jump(self.addresses_v4);
    }

    /// The owner's queue, or what the hash of an IPv4 tuple decides.
    fn steer_v4(&mut self) {
        let (hashed_ports, addresses) = (self.assembler.label(), self.assembler.label());
        self.assembler.place(self.identifier_v4);
        self.assembler.set(OWNERS, owners_at(PortSpace::Icmp));
        self.owner(self.addresses_v4);
        self.assembler.place(self.ports_v4);
        self.owner_of_port(PORTS_V4 + 2, hashed_ports);
        self.assembler.place(self.addresses_v4);
        self.assembler.set(R0, 0);
        self.assembler.jump(addresses);
        self.assembler.place(hashed_ports);
        self.assembler.set(R0, 0);
        self.hash(TUPLE_V4, 8..12);
        self.assembler.place(addresses);
        self.hash(TUPLE_V4, 0..8);
    }

    /// The queue that a hash's low bits point to.
    fn entry(&mut self) {
        self.assembler.place(self.entry);
        self.assembler.and(R0, ENTRIES as i32 - 1);
        self.assembler.shift_left(R0, 1);
        self.assembler.set(R1, TABLES);
        self.assembler.add(R1, R0);
        self.assembler.add(R1, ENTRIES_AT);
        self.assembler.load(Half, R0, R1, 0);
        self.assembler.exit();
    }

    /// Ends with the queue of the owner of a TCP or UDP port, as the third register has the protocol.
    fn owner_of_port(&mut self, port: i16, nobodys: Label) {
        let known = self.assembler.label();
        self.load_number(R1, port);
        self.assembler.set(OWNERS, owners_at(PortSpace::Tcp));
        self.assembler.jump_if(R3, Equal, TCP, known);
        self.assembler.set(OWNERS, owners_at(PortSpace::Udp));
        self.assembler.place(known);
        self.owner(nobodys);
    }

    /// Ends with the queue of the owner of the port in the first argument's register, if it has one.
    fn owner(&mut self, nobodys: Label) {
        self.assembler.shift_left(R1, 1);
        self.assembler.add(R1, OWNERS);
        self.assembler.set(R2, TABLES);
        self.assembler.add(R2, R1);
        self.assembler.load(Half, R0, R2, 0);
        self.assembler.jump_if(R0, Equal, 0, nobodys);
        self.assembler.subtract(R0, 1);
        self.assembler.exit();
    }

    /// Adds what some bytes of a tuple add to the hash.
    fn hash(&mut self, tuple: i16, positions: std::ops::Range<i16>) {
        for position in positions {
            self.assembler.load(Byte, R1, R10, tuple + position);
            self.assembler.shift_left(R1, 2);
            self.assembler.set(R2, TABLES);
            self.assembler.add(R2, R1);
            self.assembler.add(R2, added_at(position.unsigned_abs().into()));
            self.assembler.load(Word, R1, R2, 0);
            self.assembler.xor(R0, R1);
        }
    }

    /// Reads what comes next in the frame, if it has as much.
    ///
    /// The first helper finds the Ethernet header wherever the kernel stands in the frame, but reads contiguous bytes
    /// only. If they end too early, the others may have them: of a frame that is on its way to a tap, the second helper
    /// counts from the Ethernet header. (In a test run, which has the frame in one piece, it counts from behind that,
    /// and misses what the first missed.)
    fn read(&mut self, len: i32, to: i16, too_short: Label) {
        let done = self.assembler.label();
        for helper in [LOAD_BYTES_RELATIVE, LOAD_BYTES] {
            self.assembler.set(R1, CONTEXT);
            self.assembler.set(R2, AT);
            self.assembler.set(R3, R10);
            self.assembler.add(R3, i32::from(to));
            self.assembler.set(R4, len);
            self.assembler.set(R5, FROM_ETHERNET_HEADER);
            self.assembler.call(helper);
            self.assembler.jump_if(R0, Equal, 0, done);
        }
        self.assembler.jump(too_short);
        self.assembler.place(done);
    }

    /// The length of an IPv4 header into the first argument's register, if it can be one.
    fn load_header_len(&mut self, header: i16, none: Label) {
        self.assembler.load(Byte, R1, R10, header);
        self.assembler.set(R2, R1);
        self.assembler.shift_right(R2, 4);
        self.assembler.jump_if(R2, NotEqual, 4, none);
        self.assembler.and(R1, 0x0f);
        self.assembler.shift_left(R1, 2);
        self.assembler.jump_if(R1, Below, IPV4_LEN, none);
    }

    /// Passes over as many bytes as the first argument's register says.
    fn skip(&mut self) {
        self.assembler.add(AT, R1);
        self.assembler.subtract(LEFT, R1);
    }

    /// A number of 16 bits in network byte order.
    fn load_number(&mut self, into: Register, from: i16) {
        self.assembler.load(Half, into, R10, from);
        self.assembler.big_endian(into, 16);
    }

    fn copy(&mut self, size: super::assembler::Size, to: i16, from: i16) {
        self.assembler.load(size, R1, R10, from);
        self.assembler.store(size, R10, to, R1);
    }
}
