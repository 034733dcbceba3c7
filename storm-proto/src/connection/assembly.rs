//! The buffer in which a message comes together that did not arrive in one piece.
//!
//! It grows with what was received, never with what was announced: a peer that
//! promises a gigabyte and sends a byte costs a byte. It holds a quarter more than was
//! received at most, and what is large counts against the [`Budget`] of the server.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::budget::Budget;
use crate::error::ProtocolError;

/// Below this size a message is copied together; above it the buffer itself becomes the
/// message. Smaller buffers do not count against the budget.
pub(crate) const LARGE: usize = 16 << 10;

/// The transport reads straight into a message from this many missing bytes on: a smaller read
/// would cost more than the copy that it saves.
const WORTH_A_READ: usize = 64 << 10;

/// Larger buffers are made this small before they are freed. glibc raises the size from which
/// on it returns memory to the system to that of the largest block that was freed: without this
/// 60 abandoned messages of 4 MiB stay with the process, and nothing of them otherwise.
const GIVEN_BACK: usize = 64 << 10;

/// Spare room of small buffers, for bytes that arrive one by one.
const SPARE: usize = 32;

/// Bytes received so far: `bytes[..filled]`. What stands behind them is room that
/// was lent to the transport and not used.
#[derive(Default, Debug)]
pub(crate) struct Assembly {
    bytes: Vec<u8>,
    filled: usize,
    budget: Option<Arc<Budget>>,
}

/// Appends `piece` to bytes that arrive in pieces. Their capacity stays within a quarter more
/// than what is there, where a vector by itself would double it.
pub(crate) fn append(bytes: &mut Vec<u8>, piece: &[u8]) {
    let len = bytes.len() + piece.len();
    if len > bytes.capacity() {
        bytes.reserve_exact(with_spare(len) - bytes.len());
    }
    bytes.extend_from_slice(piece);
}

/// The capacity for `len` bytes behind which more may follow.
fn with_spare(len: usize) -> usize {
    len + len / 4 + SPARE
}

/// How much of a buffer counts against the budget.
fn counted(capacity: usize) -> usize {
    if capacity < LARGE { 0 } else { capacity }
}

impl Assembly {
    /// Counts what is large against `budget` from now on.
    pub(crate) fn set_budget(&mut self, budget: Arc<Budget>) {
        self.budget = Some(budget);
    }

    #[cfg_attr(not(feature = "deflate"), allow(dead_code, reason = "only inflating needs it"))]
    pub(crate) fn budget(&self) -> Option<&Arc<Budget>> {
        self.budget.as_ref()
    }

    /// Appends a copy of `piece`.
    ///
    /// # Errors
    /// If the budget is used up.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        let end = self.filled + piece.len();
        if end > self.bytes.capacity() {
            // The last bytes of a budget do without room to spare.
            self.grow(with_spare(end)).or_else(|_| self.grow(end))?;
        }
        self.bytes.truncate(self.filled);
        self.bytes.extend_from_slice(piece);
        self.filled = end;
        Ok(())
    }

    /// Room for the next `rest` bytes, or for a quarter of what is there already if that is
    /// worth a read: memory stays in proportion to what the peer has sent.
    pub(crate) fn room(&mut self, rest: usize) -> Option<&mut [u8]> {
        let room = rest.min(self.filled / 4);
        // What finds no memory here finds none in a copy either, which tells.
        if room == rest || room >= WORTH_A_READ { self.more(room).ok() } else { None }
    }

    /// Room for the next `room` bytes.
    ///
    /// # Errors
    /// If the budget is used up.
    pub(crate) fn more(&mut self, room: usize) -> Result<&mut [u8], ProtocolError> {
        let end = self.filled + room;
        if self.bytes.len() < end {
            if end > self.bytes.capacity() {
                self.grow(end)?;
            }
            self.bytes.resize(end, 0);
        }
        Ok(&mut self.bytes[self.filled..end])
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

    /// Drops the first `n` bytes, and gives back memory that the others do not need.
    pub(crate) fn consume(&mut self, n: usize) {
        if n >= self.filled {
            return self.release();
        }
        self.bytes.copy_within(n..self.filled, 0);
        self.filled -= n;
        self.bytes.truncate(self.filled);
        let before = self.bytes.capacity();
        self.bytes.shrink_to(with_spare(self.filled));
        if let Some(budget) = &self.budget {
            budget.give(counted(before) - counted(self.bytes.capacity()));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Drops the content and gives the memory back: an idle connection holds none.
    pub(crate) fn release(&mut self) {
        let mut buffer = self.take_buffer();
        self.filled = 0;
        if buffer.capacity() > GIVEN_BACK {
            buffer.clear();
            buffer.shrink_to(GIVEN_BACK);
        }
    }

    /// The content, without a copy, leaving nothing behind.
    pub(crate) fn take(&mut self) -> Bytes {
        let mut bytes = self.take_buffer();
        bytes.truncate(core::mem::take(&mut self.filled));
        Bytes::from(bytes)
    }

    /// The buffer, which is not part of an unfinished message any more.
    fn take_buffer(&mut self) -> Vec<u8> {
        if let Some(budget) = &self.budget {
            budget.give(counted(self.bytes.capacity()));
        }
        core::mem::take(&mut self.bytes)
    }

    fn grow(&mut self, capacity: usize) -> Result<(), ProtocolError> {
        if let Some(budget) = &self.budget {
            budget.take(counted(capacity) - counted(self.bytes.capacity()))?;
        }
        self.bytes.reserve_exact(capacity - self.bytes.len());
        Ok(())
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_by_what_was_received() {
        let mut assembly = Assembly::default();
        assert!(assembly.room(1 << 30).is_none(), "an announcement alone gives nothing");
        assembly.push(&[1; 100]).unwrap();
        assert!(assembly.room(1 << 30).is_none(), "a small read is not worth it");
        assert_eq!(assembly.room(25).map(|room| room.len()), Some(25), "but the last is");
        assembly.push(&[1; 1 << 20]).unwrap();
        assert_eq!(assembly.room(1 << 30).unwrap().len(), assembly.len() / 4);
    }

    #[test]
    fn pieces_and_direct_reads_join_in_order() {
        let mut assembly = Assembly::default();
        assembly.push(b"abc").unwrap();
        assembly.more(4).unwrap().copy_from_slice(b"defg");
        assert_eq!(assembly.commit(2), b"de");
        assembly.push(b"xy").unwrap();
        assert_eq!(assembly.as_slice(), b"abcdexy", "unused room is written over");
        assembly.truncate(5);
        assert_eq!(assembly.take(), Bytes::from_static(b"abcde"));
        assert_eq!((assembly.len(), assembly.bytes.capacity()), (0, 0));
    }

    #[test]
    fn what_is_given_back_can_be_taken_by_others() {
        let budget = Arc::new(Budget::new(100_000));
        let assembly = || {
            let mut assembly = Assembly::default();
            assembly.set_budget(budget.clone());
            assembly
        };
        let [mut first, mut second, mut third] = [assembly(), assembly(), assembly()];
        first.push(&[1; 40_000]).unwrap();
        let full = second.push(&[1; 60_000]);
        assert_eq!(full, Err(ProtocolError::ReceiveMemory { limit: 100_000 }));
        assert_eq!((second.len(), budget.used()), (0, 50_032));
        second.push(&[1; 1_000]).unwrap();
        assert_eq!(budget.used(), 50_032, "what is small is not counted");
        drop(first.take());
        third.push(&[1; 70_000]).unwrap();
        drop(third);
        second.push(&[1; 60_000]).unwrap();
        second.release();
        assert_eq!(budget.used(), 0);
    }
}
