//! The Toeplitz hash of the Microsoft RSS specification ("RSS Hashing Types", "Verifying the RSS Hash
//! Calculation"), which network cards compute too.
//!
//! Each bit of the input that is set adds (XOR) the 32 bits of the key that begin at the same position. Two
//! kernels give the same numbers: a carry-less multiplication where the processor has one, else tables of
//! what each byte value adds at each position. Warm, both take 7 ns for a TCP tuple of IPv4; once the packet
//! work between two hashes has emptied the first cache, the tables take 28 ns and the multiplication 11.

#[cfg(target_arch = "x86_64")]
mod clmul;
#[cfg(test)]
mod tests;

use core::fmt;

use crate::random::Random;

/// The most a hash covers: two IPv6 addresses and two ports.
pub const MAX_TUPLE_LEN: usize = 36;

/// The secret, or dictated, key of a Toeplitz hash.
///
/// Whoever knows it can choose flows that all meet on one shard, so it is random unless the device insists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RssKey(pub [u8; RssKey::LEN]);

impl RssKey {
    /// Bytes of a key: as many bits as the longest tuple has, and 32 more.
    pub const LEN: usize = MAX_TUPLE_LEN + 4;

    /// The key of the specification's verification suite, which many drivers use unless told otherwise.
    pub const MICROSOFT: Self = Self([
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
        0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
        0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    ]);

    /// A key nobody else knows, by which ports reach every entry of an indirection table.
    pub fn random(random: &mut Random) -> Self {
        loop {
            let mut key = [0; Self::LEN];
            random.fill(&mut key);
            let key = Self(key);
            if Self::PORTS.iter().all(|port| key.spreads(*port)) {
                return key;
            }
        }
    }

    /// Where ports begin in a tuple, in bits: of IPv4 and of IPv6, the source's and the destination's.
    const PORTS: [usize; 4] = [64, 80, 256, 272];

    /// Bits of a hash that the largest indirection table is indexed with.
    const INDEX_BITS: u32 = 9;

    /// Whether the ports of any range of 2^14, whatever else is in the tuple, are spread over every entry of any table, and
    /// neighbouring ones over many.
    ///
    /// A hash is linear over its input's bits, so a key may be one by which the ports of a flow only reach some of the
    /// entries: then there may be no port at all whose answers come back to a shard. It is so for one of some hundred keys;
    /// and by one of ten, a client's next few ports meet on few shards.
    fn spreads(&self, port: usize) -> bool {
        // A client takes every port, or every second one.
        self.rank(port + 2..port + 16, Self::INDEX_BITS) == Self::INDEX_BITS
            && self.rank(port + 8..port + 15, 7) >= 6
    }

    /// How many of the lowest bits of a hash the bits of the input decide independently of each other.
    fn rank(&self, input: core::ops::Range<usize>, bits: u32) -> u32 {
        let mut rows: Vec<u32> = input.map(|bit| self.window(bit) & ((1 << bits) - 1)).collect();
        // Gauss's elimination, over single bits.
        let mut rank = 0;
        for column in 0..bits {
            let Some(found) = rows.iter().position(|row| row >> column & 1 == 1) else { continue };
            let pivot = rows.swap_remove(found);
            rows.iter_mut().filter(|row| **row >> column & 1 == 1).for_each(|row| *row ^= pivot);
            rank += 1;
        }
        rank
    }

    /// Bit `position` of the key, counted from the most significant bit of its first byte.
    fn bit(&self, position: usize) -> bool {
        self.0[position / 8] >> (7 - position % 8) & 1 == 1
    }

    /// The 32 bits that begin at bit `position`, which is what an input bit there adds to the hash.
    fn window(&self, position: usize) -> u32 {
        (position..position + 32).fold(0, |window, at| window << 1 | u32::from(self.bit(at)))
    }
}

impl fmt::Debug for RssKey {
    /// Leaves the key out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RssKey").finish_non_exhaustive()
    }
}

/// A Toeplitz hash prepared for one key.
#[derive(Clone, Debug)]
pub struct Toeplitz {
    key: RssKey,
    kernel: Kernel,
}

#[derive(Clone, Debug)]
enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Clmul(clmul::Clmul),
    Tables(Box<Tables>),
}

impl Toeplitz {
    /// Prepares the fastest kernel this processor has.
    pub fn new(key: RssKey) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(clmul) = clmul::Clmul::new(&key) {
            return Self { key, kernel: Kernel::Clmul(clmul) };
        }
        Self { key, kernel: Kernel::Tables(Tables::new(&key)) }
    }

    /// The key, for a device that is to compute the same hash.
    pub fn key(&self) -> &RssKey {
        &self.key
    }

    /// The hash of a tuple in network byte order. It has at most [`MAX_TUPLE_LEN`] bytes, in multiples of
    /// four; other lengths do not compile.
    #[inline]
    pub fn hash<const N: usize>(&self, tuple: &[u8; N]) -> u32 {
        const { assert!(N <= MAX_TUPLE_LEN && N.is_multiple_of(4)) };
        match &self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Clmul(clmul) => clmul.hash(tuple),
            Kernel::Tables(tables) => tables.hash(tuple),
        }
    }
}

/// What each value of each byte of a tuple adds to the hash: 36 KiB, of which an IPv4 tuple uses a third.
#[derive(Clone)]
struct Tables([[u32; 256]; MAX_TUPLE_LEN]);

impl Tables {
    fn new(key: &RssKey) -> Box<Self> {
        let mut tables = Box::new(Self([[0; 256]; MAX_TUPLE_LEN]));
        for (position, table) in tables.0.iter_mut().enumerate() {
            for bit in 0..8 {
                // The lowest bit of a byte is its last. Values without a higher bit are complete.
                let added = key.window(position * 8 + 7 - bit);
                for value in 0..1 << bit {
                    table[1 << bit | value] = table[value] ^ added;
                }
            }
        }
        tables
    }

    fn hash(&self, tuple: &[u8]) -> u32 {
        tuple.iter().zip(&self.0).fold(0, |hash, (byte, table)| hash ^ table[usize::from(*byte)])
    }
}

impl fmt::Debug for Tables {
    /// Leaves the numbers out: there are 9,216 of them, and they tell the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}
