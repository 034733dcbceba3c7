//! Buffers of the worker: connections borrow them while there is something to do.
//!
//! An idle connection owns no buffer, and a busy one does not allocate. Each thread
//! has a pool of its own, so no lock is taken.

use std::cell::RefCell;
use std::vec::Vec;

/// Bytes read at once. A prototype was 1.4 times slower with a quarter of this, and no
/// faster with more.
const SCRATCH: usize = 64 << 10;

/// Page size: a destination near, but not at, the page offset of the source makes the
/// kernel's copy more than twice as slow on some processors.
const PAGE: usize = 4096;

/// How many buffers of each kind a thread keeps.
const KEPT: usize = 16;

/// Outboxes above this capacity are not kept: one burst must not pin memory for ever.
const MAX_OUTBOX: usize = 256 << 10;

std::thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { scratch: Vec::new(), outbox: Vec::new() }) };
}

struct Pool {
    scratch: Vec<Scratch>,
    outbox: Vec<Vec<u8>>,
}

/// Room to read into, page-aligned and initialised once; or bytes that were kept.
#[derive(Debug)]
pub(crate) struct Scratch {
    buffer: Vec<u8>,
    start: usize,
    len: usize,
}

impl Scratch {
    /// From the pool of this thread, or new.
    pub(crate) fn take() -> Scratch {
        let kept = POOL.try_with(|pool| pool.borrow_mut().scratch.pop()).ok().flatten();
        kept.unwrap_or_else(|| {
            let buffer = std::vec![0; SCRATCH + PAGE];
            let start = buffer.as_ptr().addr().wrapping_neg() % PAGE;
            Scratch { buffer, start, len: SCRATCH }
        })
    }

    /// Bytes that were left of a read, exactly sized.
    pub(crate) fn kept(bytes: Vec<u8>) -> Scratch {
        Scratch { start: 0, len: bytes.len(), buffer: bytes }
    }

    /// The room.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.len]
    }

    /// Back to the pool of this thread.
    pub(crate) fn give(self) {
        if self.len == SCRATCH {
            let _ = POOL.try_with(|pool| {
                let pool = &mut pool.borrow_mut().scratch;
                if pool.len() < KEPT {
                    pool.push(self);
                }
            });
        }
    }
}

/// An empty buffer with capacity for an outbox, if this thread has one.
pub(crate) fn take_outbox() -> Option<Vec<u8>> {
    POOL.try_with(|pool| pool.borrow_mut().outbox.pop()).ok().flatten()
}

/// Keeps the capacity of an emptied outbox.
pub(crate) fn give_outbox(mut buffer: Vec<u8>) {
    if buffer.capacity() <= MAX_OUTBOX {
        buffer.clear();
        let _ = POOL.try_with(|pool| {
            let pool = &mut pool.borrow_mut().outbox;
            if pool.len() < KEPT {
                pool.push(buffer);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_is_page_aligned_and_comes_back() {
        let mut scratch = Scratch::take();
        assert_eq!(scratch.room().len(), SCRATCH);
        let at = scratch.room().as_ptr().addr();
        assert_eq!(at % PAGE, 0);
        scratch.give();
        assert_eq!(Scratch::take().room().as_ptr().addr(), at, "the same room again");
    }

    #[test]
    fn a_huge_outbox_is_not_kept() {
        while take_outbox().is_some() {}
        give_outbox(Vec::with_capacity(MAX_OUTBOX + 1));
        assert!(take_outbox().is_none());
        give_outbox(Vec::with_capacity(100));
        assert_eq!(take_outbox().map(|buffer| buffer.capacity()), Some(100));
    }
}
