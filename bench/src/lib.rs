//! What the two binaries of this package share: a receive buffer that starts on a page boundary.

#![forbid(unsafe_code)]

use std::ops::{Deref, DerefMut};

/// A page on the machines measured so far; if it is larger, the buffer is only less well placed.
const PAGE: usize = 4096;

/// A byte buffer that starts on a page boundary (below a page: on a power of two).
///
/// Allocators put large blocks 16 bytes into a page, while the kernel's socket pages start at 0. On
/// CPUs that copy with `rep movsb` such a near miss makes the copy out of the socket more than twice
/// as slow, which would measure the allocator instead of the server. So the buffer is allocated too
/// large and used from its first aligned byte on.
pub struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuffer {
    /// A zeroed buffer of `len` bytes.
    pub fn new(len: usize) -> Self {
        let alignment = len.next_power_of_two().min(PAGE);
        let storage = vec![0; len + alignment - 1];
        let start = storage.as_ptr().align_offset(alignment);
        // `align_offset` may decline with usize::MAX; an unaligned buffer is still a correct one.
        let start = if start < alignment { start } else { 0 };
        Self { storage, start, len }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage[self.start..self.start + self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_boundary_and_has_the_length_asked_for() {
        for len in [1, 64, 100, 4096, 65_536, 1 << 20] {
            let buffer = AlignedBuffer::new(len);
            assert_eq!(buffer.len(), len);
            let alignment = len.next_power_of_two().min(PAGE);
            assert_eq!(buffer.as_ptr().align_offset(alignment), 0);
        }
    }
}
