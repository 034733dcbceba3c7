//! Buffers of the worker: connections borrow them while there is something to do.
//!
//! An idle connection owns no buffer, and a busy one does not allocate. Each thread
//! has a pool of its own, so no lock is taken as long as that is neither empty nor full.

use std::boxed::Box;
use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

use crate::connection::outbox::Spare;

/// Bytes read at once: a quarter of this was 1.4 times slower for small messages, and more
/// of it no faster.
pub(crate) const SCRATCH: usize = 64 << 10;

/// Bytes read at once where a read of [`SCRATCH`] was not enough: large messages then lie in
/// it as a whole and need not be put together.
pub(crate) const BULK: usize = 256 << 10;

/// Page size: a destination near, but not at, the page offset of the source makes the
/// kernel's copy more than twice as slow on some processors.
const PAGE: usize = 4096;

/// How many buffers of each kind a thread keeps.
pub(crate) const KEPT: usize = 16;

/// Outboxes above this capacity are not kept: one burst must not pin memory for ever.
pub(crate) const MAX_OUTBOX: usize = 256 << 10;

std::thread_local! {
    static POOL: RefCell<Pool> =
        const { RefCell::new(Pool { scratch: Vec::new(), bulk: Vec::new(), outbox: Vec::new() }) };
}

/// Scratch stays in its box while it goes around: what an idle connection has of it is a
/// pointer.
#[allow(clippy::vec_box)]
struct Pool {
    scratch: Vec<Box<Scratch>>,
    bulk: Vec<Box<Scratch>>,
    outbox: Vec<Spare>,
}

/// Room to read into, page-aligned and initialised once; or bytes that were kept.
#[derive(Debug)]
pub(crate) struct Scratch {
    buffer: Vec<u8>,
    start: usize,
    len: usize,
}

impl Scratch {
    /// Room of [`SCRATCH`] or [`BULK`] bytes, from the pool of this thread or new.
    pub(crate) fn take(bulk: bool) -> Box<Scratch> {
        let kept = POOL.try_with(|pool| pool.borrow_mut().kept(bulk).pop()).ok().flatten();
        kept.unwrap_or_else(|| {
            let len = if bulk { BULK } else { SCRATCH };
            let buffer = std::vec![0; len + PAGE];
            let start = buffer.as_ptr().addr().wrapping_neg() % PAGE;
            Box::new(Scratch { buffer, start, len })
        })
    }

    /// Bytes that were left of a read, exactly sized.
    pub(crate) fn kept(bytes: &[u8]) -> Box<Scratch> {
        Box::new(Scratch { start: 0, len: bytes.len(), buffer: bytes.into() })
    }

    /// The room.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.start + self.len]
    }

    /// Back to the pool of this thread.
    pub(crate) fn give(self: Box<Scratch>) {
        // Bytes that were kept are exactly sized and go to the allocator.
        if self.buffer.len() == self.len + PAGE {
            let _ = POOL.try_with(|pool| {
                let mut pool = pool.borrow_mut();
                let kept = pool.kept(self.len == BULK);
                if kept.len() < KEPT {
                    kept.push(self);
                }
            });
        }
    }
}

impl Pool {
    #[allow(clippy::vec_box)]
    fn kept(&mut self, bulk: bool) -> &mut Vec<Box<Scratch>> {
        if bulk { &mut self.bulk } else { &mut self.scratch }
    }
}

/// Memory that some threads have too much of and others too little: messages take theirs
/// along from the thread that sends to the one that writes.
static BALANCE: Mutex<Vec<Spare>> = Mutex::new(Vec::new());

/// How much of it moves at once, so that the lock is taken for few messages only.
const MOVED: usize = KEPT / 2;

/// Memory for an outbox, if there is some.
pub(crate) fn take_spare() -> Option<Spare> {
    let take = |pool: &RefCell<Pool>| {
        let own = &mut pool.borrow_mut().outbox;
        if own.is_empty() {
            let mut balance = BALANCE.lock().unwrap_or_else(PoisonError::into_inner);
            let left = balance.len().saturating_sub(MOVED);
            own.extend(balance.drain(left..));
        }
        own.pop()
    };
    POOL.try_with(take).ok().flatten()
}

/// Keeps the memory of an emptied outbox.
pub(crate) fn give_spare(spare: Spare) {
    if spare.capacity() <= MAX_OUTBOX {
        let _ = POOL.try_with(|pool| {
            let own = &mut pool.borrow_mut().outbox;
            own.push(spare);
            if own.len() > KEPT {
                let mut balance = BALANCE.lock().unwrap_or_else(PoisonError::into_inner);
                let surplus = own.drain(MOVED..);
                if balance.len() < KEPT {
                    balance.extend(surplus);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_is_page_aligned_and_comes_back() {
        for (bulk, len) in [(false, SCRATCH), (true, BULK)] {
            let mut scratch = Scratch::take(bulk);
            assert_eq!(scratch.room().len(), len);
            let at = scratch.room().as_ptr().addr();
            assert_eq!(at % PAGE, 0);
            scratch.give();
            assert_eq!(Scratch::take(bulk).room().as_ptr().addr(), at, "the same room again");
        }
    }
}
