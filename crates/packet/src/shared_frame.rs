//! A frame in memory that another process may be writing at this moment (vhost-user).

use std::marker::PhantomData;
use std::ptr::NonNull;

/// Bytes that a peer can change at any time. They can be copied out, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct SharedFrame<'a> {
    base: NonNull<u8>,
    len: usize,
    memory: PhantomData<&'a ()>,
}

impl<'a> SharedFrame<'a> {
    /// A frame of `len` bytes at `base`.
    ///
    /// # Safety
    /// The range stays mapped for `'a`.
    pub unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len, memory: PhantomData }
    }

    /// Bytes in the frame.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies the first bytes out, as many as both have. Each byte is read once, whatever the peer
    /// writes meanwhile; what was copied is then private.
    pub fn copy_to(&self, into: &mut [u8]) {
        let len = self.len.min(into.len());
        let words = len / 8;
        for word in 0..words {
            // SAFETY: within the frame; volatile, because a peer may write at the same time.
            let value = unsafe { self.base.cast::<[u8; 8]>().add(word).read_volatile() };
            into[word * 8..word * 8 + 8].copy_from_slice(&value);
        }
        for (at, byte) in into[..len].iter_mut().enumerate().skip(words * 8) {
            // SAFETY: as above.
            *byte = unsafe { self.base.add(at).read_volatile() };
        }
    }
}
