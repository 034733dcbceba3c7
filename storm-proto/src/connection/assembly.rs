//! The buffer in which a message comes together that did not arrive in one piece.
//!
//! It grows with what was received, never with what was announced: a peer that
//! promises a gigabyte and sends a byte costs a byte.

use alloc::vec::Vec;

use bytes::Bytes;

/// Below this size a message is copied together; above it, the transport reads
/// straight into the buffer, and the buffer itself becomes the message.
pub(crate) const LARGE: usize = 16 << 10;

/// Bytes received so far: `bytes[..filled]`. What stands behind them is room that
/// was lent to the transport and not used.
#[derive(Default, Debug)]
pub(crate) struct Assembly {
    bytes: Vec<u8>,
    filled: usize,
}

impl Assembly {
    /// Appends a copy of `piece`.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.bytes.truncate(self.filled);
        self.bytes.extend_from_slice(piece);
        self.filled = self.bytes.len();
    }

    /// Room for the next `rest` bytes at most: twice of what is there already, so
    /// that memory stays in proportion to what the peer has sent.
    pub(crate) fn room(&mut self, rest: usize) -> &mut [u8] {
        self.more(rest.min(self.filled * 2))
    }

    /// Room for the next `room` bytes.
    pub(crate) fn more(&mut self, room: usize) -> &mut [u8] {
        if self.bytes.len() < self.filled + room {
            self.bytes.reserve_exact(self.filled + room - self.bytes.len());
            self.bytes.resize(self.filled + room, 0);
        }
        &mut self.bytes[self.filled..self.filled + room]
    }

    /// Takes the first `n` bytes of the room as received, and returns them.
    pub(crate) fn commit(&mut self, n: usize) -> &mut [u8] {
        let end = (self.filled + n).min(self.bytes.len());
        let start = core::mem::replace(&mut self.filled, end);
        &mut self.bytes[start..end]
    }

    /// Drops all but the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.filled = self.filled.min(len);
    }

    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Drops the content and gives the memory back: an idle connection holds none.
    pub(crate) fn release(&mut self) {
        *self = Assembly::default();
    }

    /// The content, without a copy, leaving nothing behind.
    pub(crate) fn take(&mut self) -> Bytes {
        self.bytes.truncate(self.filled);
        self.filled = 0;
        Bytes::from(core::mem::take(&mut self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_by_what_was_received() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.room(1 << 30).len(), 0, "an announcement alone gives nothing");
        assembly.push(&[1; 100]);
        assert_eq!(assembly.room(1 << 30).len(), 200);
        assert_eq!(assembly.room(50).len(), 50);
    }

    #[test]
    fn pieces_and_direct_reads_join_in_order() {
        let mut assembly = Assembly::default();
        assembly.push(b"abc");
        assembly.room(4).copy_from_slice(b"defg");
        assert_eq!(assembly.commit(2), b"de");
        assembly.push(b"xy");
        assert_eq!(assembly.as_slice(), b"abcdexy", "unused room is written over");
        assembly.truncate(5);
        assert_eq!(assembly.take(), Bytes::from_static(b"abcde"));
        assert_eq!((assembly.len(), assembly.bytes.capacity()), (0, 0));
    }
}
