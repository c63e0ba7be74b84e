//! The healthy flow, which an attack is measured by: bulk data both ways, every byte of it known.

use sunstar_stack::ConnectionKey;

use crate::{Pair, Side, ms, secs};

/// The healthy flow: A and B send each other the same endless pattern.
pub(super) struct Healthy {
    /// A's end and B's.
    pub(super) ends: (ConnectionKey, ConnectionKey),
    /// Bytes written, and read at the other end, by A and by B.
    written: [usize; 2],
    pub(super) read: [usize; 2],
}

impl Healthy {
    /// Bytes that both applications have ready to be written.
    const READY: usize = 1 << 20;

    pub(super) fn open(pair: &mut Pair) -> Self {
        let ends = pair.open();
        Self { ends, written: [0; 2], read: [0; 2] }
    }

    /// Bytes of the pattern from a position on.
    fn pattern(from: usize, len: usize) -> impl Iterator<Item = u8> {
        (from..from + len).map(|at| (at % 251) as u8)
    }

    /// Whoever has not enough to write gets more; what has come is read.
    pub(super) fn keep_going(&mut self, pair: &mut Pair) {
        for (side, written) in [Side::A, Side::B].into_iter().zip(&mut self.written) {
            let connection = if side == Side::A { self.ends.0 } else { self.ends.1 };
            let host = pair.host(side);
            if host.unwritten(connection) < Self::READY {
                let bytes: Vec<u8> = Self::pattern(*written, Self::READY).collect();
                host.send(connection, &bytes);
                *written += bytes.len();
            }
        }
        self.read(pair);
    }

    /// Reads at both ends what has come, and sees that it is what was written.
    pub(super) fn read(&mut self, pair: &mut Pair) {
        let came = [pair.b.take_received(self.ends.1), pair.a.take_received(self.ends.0)];
        for (read, bytes) in self.read.iter_mut().zip(came) {
            assert!(
                bytes.iter().copied().eq(Self::pattern(*read, bytes.len())),
                "the healthy flow's bytes are changed behind byte {read}"
            );
            *read += bytes.len();
        }
    }

    /// Until all that was written has been read.
    pub(super) fn drain(&mut self, pair: &mut Pair) {
        let end = pair.now() + secs(60);
        while self.read != self.written {
            assert!(pair.now() < end, "the healthy flow is stuck: {:?} of {:?}", self.read, self.written);
            pair.drive_for(ms(10));
            self.read(pair);
        }
        pair.drive_for(ms(500));
    }

    /// It is still as it should be: a little more crosses both ways.
    pub(super) fn say_more(&mut self, pair: &mut Pair) {
        self.keep_going(pair);
        self.drain(pair);
    }
}
