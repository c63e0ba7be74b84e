//! A frame between two hosts: its bytes, and what the sender's device has noted on it.

use bytes::Bytes;
use sunstar_packet::Notes;

/// A frame that has left a host. It is nobody's buffer any more: the sender's went home when the frame had left.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    pub(crate) notes: Notes,
    /// Whether the wire has changed it: whoever gets it has to notice.
    pub(crate) damaged: bool,
}

impl Frame {
    /// A frame as it is on a real wire, with nothing left to be done.
    pub(crate) fn plain(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), notes: Notes::default(), damaged: false }
    }

    /// The length of its pieces, if it is still to be cut, else its own.
    pub(crate) fn piece_len(&self) -> usize {
        let len = self.bytes.len();
        self.notes.segmentation.map_or(len, |segmentation| {
            len.min(usize::from(segmentation.header_len) + usize::from(segmentation.size))
        })
    }
}
