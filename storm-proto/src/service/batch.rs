//! Answers of a handler, collected without the lock.
//!
//! A handler that answers each message of a batch would take its session's lock for each.
//! Instead the driver borrows some room of the outbox for its turn, under the lock it takes
//! anyway; what the handler sends from within its call is encoded into a buffer of the
//! thread, and joins the outbox when the driver looks at it next.
//!
//! Order is kept as if there were one queue: others that send meanwhile queue behind the
//! batch, and from then on the handler takes the lock as well. The limit is strict, because
//! the room was counted when it was borrowed.

use std::cell::{Cell, RefCell};
use std::vec::Vec;

use super::sync::thread_local;
use crate::connection::sender::data_opcode;
use crate::message::Message;
use crate::websocket::frame::header;

/// Room borrowed for one turn: what one read of small messages asks for.
pub(crate) const ROOM: usize = 64 << 10;

thread_local! {
    /// Whose handler this thread runs; 0 for none.
    static HANDLER: Cell<usize> = const { Cell::new(0) };
    static BATCH: RefCell<Batch> = const { RefCell::new(Batch::new()) };
}

/// The batch of the turn that this thread is in.
struct Batch {
    /// Which session it belongs to; 0 for none.
    owner: usize,
    /// Bytes that may still be added.
    room: usize,
    frames: Vec<u8>,
    messages: u64,
}

/// What was collected: whole frames of a WebSocket server.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) frames: Vec<u8>,
    pub(crate) messages: u64,
}

impl Batch {
    const fn new() -> Batch {
        Batch { owner: 0, room: 0, frames: Vec::new(), messages: 0 }
    }
}

/// Runs a call of the handler of `owner`: what this thread sends to it meanwhile are answers.
#[inline]
pub(crate) fn in_handler_of<R>(owner: usize, call: impl FnOnce() -> R) -> R {
    let outer = HANDLER.with(|handler| handler.replace(owner));
    let result = call();
    HANDLER.with(|handler| handler.set(outer));
    result
}

/// True if this thread is in a call of the handler of `owner`.
#[inline]
pub(crate) fn is_in_handler_of(owner: usize) -> bool {
    HANDLER.with(|handler| handler.get() == owner)
}

/// True if this thread is in no batch. A driver that is polled inside of another's handler
/// finds one open, and does without.
pub(crate) fn is_free() -> bool {
    BATCH.try_with(|batch| batch.borrow().owner == 0).unwrap_or(false)
}

/// Starts a batch for `owner`; the thread must be free.
pub(crate) fn open(owner: usize, room: usize) {
    let _ = BATCH.try_with(|batch| {
        let mut batch = batch.borrow_mut();
        (batch.owner, batch.room) = (owner, room);
    });
}

/// Adds a message to the batch of `owner`, if this thread is in it and there is room.
#[inline]
pub(crate) fn push(owner: usize, message: Message<'_>) -> bool {
    // Taken apart here: a whole message, carried into the closure, would go through memory.
    let (opcode, payload) = (data_opcode(message.kind()), message.as_bytes());
    let size = 2 + payload.len();
    BATCH
        .try_with(move |batch| {
            let batch = &mut *batch.borrow_mut();
            if batch.owner != owner || batch.room < size || payload.len() > header::MAX_CONTROL {
                return false;
            }
            batch.room -= size;
            batch.messages += 1;
            let header = header::encode_small(opcode, payload.len());
            batch.frames.reserve(size);
            batch.frames.extend_from_slice(&header);
            batch.frames.extend_from_slice(payload);
            true
        })
        .unwrap_or(false)
}

/// Ends the batch of `owner`, if this thread is in it, and takes what it holds.
#[inline]
pub(crate) fn close(owner: usize) -> Option<Collected> {
    BATCH
        .try_with(|batch| {
            let batch = &mut *batch.borrow_mut();
            (batch.owner == owner).then(|| {
                batch.owner = 0;
                let frames = core::mem::take(&mut batch.frames);
                Collected { frames, messages: core::mem::take(&mut batch.messages) }
            })
        })
        .ok()
        .flatten()
}

/// Gives an emptied buffer back to this thread.
pub(crate) fn give(frames: Vec<u8>) {
    if frames.capacity() <= 2 * ROOM {
        let _ = BATCH.try_with(|batch| {
            let batch = &mut *batch.borrow_mut();
            if batch.frames.capacity() == 0 {
                batch.frames = frames;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_adds_and_only_as_much_as_was_borrowed() {
        assert!(!push(7, Message::text("x")), "no batch is open");
        assert!(is_free());
        open(7, 10);
        assert!(!is_free());
        assert!(!push(8, Message::text("x")));
        assert!(push(7, Message::text("abc")));
        assert!(!push(7, Message::text("abcd")), "5 of 10 bytes are left");
        assert!(push(7, Message::binary(b"def")));
        assert!(close(8).is_none());
        let collected = close(7).unwrap();
        assert_eq!(collected.frames, b"\x81\x03abc\x82\x03def");
        assert_eq!(collected.messages, 2);
        assert!(close(7).is_none());
    }

    #[test]
    fn a_message_that_is_not_small_goes_the_other_way() {
        open(7, 1 << 20);
        assert!(push(7, Message::binary(&[0; 125])));
        assert!(!push(7, Message::binary(&[0; 126])));
        close(7);
    }
}
