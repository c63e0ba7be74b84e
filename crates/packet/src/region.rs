//! Mapped memory that buffers live in. It belongs to the runtime and outlives every shard.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// What kind of memory a [`Region`] is mapped from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegionKind {
    /// Private anonymous memory. Pages become resident when they are first touched.
    Anonymous,
    /// A memory file, so that the same pages can be given to another process (vhost-user).
    MemoryFile,
}

/// Why memory could not be mapped.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot map {bytes} bytes for packet buffers: {source}; lower the pool's slot counts or the process's memory use"
)]
pub struct RegionError {
    bytes: usize,
    source: rustix::io::Errno,
}

/// A mapping, unmapped on drop.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    len: usize,
    file: Option<OwnedFd>,
}

// SAFETY: a region is an address, a length and a descriptor; it hands out no references itself.
unsafe impl Send for Region {}
// SAFETY: as above; every method takes `&self` and reads plain fields.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `len` bytes, rounded up to whole pages, zeroed, and not resident until touched. A memory file is
    /// sealed: nobody can change its length.
    pub fn new(kind: RegionKind, len: usize) -> Result<Self, RegionError> {
        let fail = |source| RegionError { bytes: len, source };
        let len = len.max(1).checked_next_multiple_of(4096).ok_or(fail(rustix::io::Errno::NOMEM))?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let (base, file) = match kind {
            RegionKind::Anonymous => {
                // SAFETY: a fresh private mapping at an address of the kernel's choice.
                let base = unsafe {
                    mmap_anonymous(std::ptr::null_mut(), len, access, MapFlags::PRIVATE | MapFlags::NORESERVE)
                };
                (base.map_err(fail)?, None)
            }
            RegionKind::MemoryFile => {
                let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
                let file = memfd_create("sunstar-region", flags).map_err(fail)?;
                ftruncate(&file, len as u64).map_err(fail)?;
                // A peer that could shrink the file would have this process killed by its next access.
                fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)
                    .map_err(fail)?;
                // SAFETY: a fresh mapping at an address of the kernel's choice, over the file just made.
                let base = unsafe { mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, &file, 0) };
                (base.map_err(fail)?, Some(file))
            }
        };
        let base = NonNull::new(base.cast()).ok_or(fail(rustix::io::Errno::NOMEM))?;
        Ok(Self { base, len, file })
    }

    /// The first byte.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes mapped: a whole number of pages, never zero.
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The memory file behind a [`RegionKind::MemoryFile`].
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(|file| file.as_fd())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: `base` and `len` are the mapping made in `new`; whoever dropped the region
        // vouched that no buffer points into it any more.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}
