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
        let unaligned = self.base.as_ptr().align_offset(align_of::<u64>()).min(len);
        let (front, rest) = into[..len].split_at_mut(unaligned);
        let (words, back) = rest.as_chunks_mut::<8>();
        let words_end = unaligned + words.len() * 8;
        self.copy_bytes(0, front);
        for (index, word) in words.iter_mut().enumerate() {
            // SAFETY: within the frame, and aligned; volatile, because a peer may write at the same time.
            let value = unsafe { self.base.add(unaligned).cast::<u64>().add(index).read_volatile() };
            *word = value.to_ne_bytes();
        }
        self.copy_bytes(words_end, back);
    }

    fn copy_bytes(&self, from: usize, into: &mut [u8]) {
        for (index, byte) in into.iter_mut().enumerate() {
            // SAFETY: the caller keeps within the frame; volatile, because a peer may write at the same time.
            *byte = unsafe { self.base.add(from + index).read_volatile() };
        }
    }
}
