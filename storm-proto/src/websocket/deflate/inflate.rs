//! Payloads of compressed frames become messages (RFC 7692 section 7.2.2).
//!
//! ```text
//!            payload                    +-------------------- payload goes on
//!   border ----------> engine at work --+-- final block --> border
//!                                       +-- end of message: the tail, a border must follow
//! ```
//!
//! An engine starts at a border with nothing but the history that the terms allow, and what
//! the message has so far. So no message leaves anything behind in it for the next one, and
//! between messages there is none.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use zlib_rs::{Inflate as Engine, InflateFlush, Status};

use super::compress::TAIL;
use super::terms::Agreed;
use super::{MAX_BITS, MIN_BITS, pool};
use crate::connection::assembly::Assembly;
use crate::connection::budget::Share;
use crate::error::ProtocolError;
use crate::websocket::Role;

/// A last block that is empty: behind a border an engine takes it as the end, and elsewhere
/// as something else.
const END: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];

/// Final blocks in one message behind which more follows. Senders have a reason for one; each
/// costs a start of the engine, which is dear beside the two bytes that ask for it.
pub(crate) const MAX_FINAL: u8 = 16;

/// Room for the first bytes of a message; after that, a quarter of what it has already.
const FIRST_STEP: usize = 512;

/// The inflating half of a connection.
#[derive(Debug)]
pub(crate) struct Inflater {
    /// How much history the peer may refer to; 0 without takeover.
    window: usize,
    /// The end of what came before this message.
    history: Vec<u8>,
    /// Of the message under way, while it is not at a border.
    engine: Option<Inflating>,
    /// Starts of the engine within this message.
    starts: u8,
}

/// What an engine counts against the budget of unfinished messages.
pub(crate) const ENGINE: usize = 48 << 10;

/// An engine on its way through a message, and its share of the budget.
pub(super) struct Inflating {
    engine: Engine,
    _share: Share,
}

impl Inflater {
    /// Inflates what the peer of `role` sends.
    pub(crate) fn new(agreed: &Agreed, role: Role) -> Box<Inflater> {
        let peer = match role {
            Role::Server => Role::Client,
            Role::Client => Role::Server,
        };
        let (bits, takeover) = agreed.of(peer);
        // Those who agree on 8 bits may mean zlib's idea of them, which is 9.
        let bits = bits.clamp(MIN_BITS, MAX_BITS);
        let window = if takeover { 1 << bits } else { 0 };
        Box::new(Inflater { window, history: Vec::new(), engine: None, starts: 0 })
    }

    /// Appends to `message` what a piece of its payload gives, up to `limit` bytes in all.
    ///
    /// # Errors
    /// If the payload is corrupt or the message crosses its limit. What was good before
    /// that is in the message, so that its own faults can be found first.
    pub(crate) fn push(
        &mut self,
        mut piece: &[u8],
        message: &mut Assembly,
        limit: usize,
    ) -> Result<(), ProtocolError> {
        while !piece.is_empty() {
            let engine = match &mut self.engine {
                Some(engine) => engine,
                None => self.start(message)?,
            };
            let (taken, ended) = engine.inflate(piece, message, limit)?;
            piece = &piece[taken..];
            if ended {
                self.stop();
            }
        }
        Ok(())
    }

    /// The message has no more payload.
    ///
    /// # Errors
    /// As [`Inflater::push`]; and if the payload ends inside of a block.
    pub(crate) fn finish(
        &mut self,
        message: &mut Assembly,
        limit: usize,
    ) -> Result<(), ProtocolError> {
        if let Some(engine) = &mut self.engine {
            let mut end = engine.inflate(&TAIL, message, limit)?;
            let len = message.len();
            if end == (TAIL.len(), false) {
                end = engine.inflate(&END, message, limit)?;
                end.0 -= 1;
            }
            if end != (TAIL.len(), true) || message.len() > len {
                return Err(ProtocolError::InvalidDeflate);
            }
            self.stop();
        }
        self.starts = 0;
        self.remember(message.as_slice());
        Ok(())
    }

    /// An engine that knows what the payload to come may refer to.
    fn start(&mut self, message: &Assembly) -> Result<&mut Inflating, ProtocolError> {
        if self.starts > MAX_FINAL {
            return Err(ProtocolError::TooManyFinalBlocks { limit: MAX_FINAL });
        }
        self.starts += 1;
        let share = Share::of(message.budget(), ENGINE)?;
        let mut engine = pool::take_engine();
        engine.reset(false);
        let so_far = message.as_slice();
        for past in [&self.history[..], last(so_far, 1 << MAX_BITS)] {
            if !past.is_empty() {
                engine.set_dictionary(past).map_err(|_| ProtocolError::InvalidDeflate)?;
            }
        }
        Ok(self.engine.insert(Inflating { engine, _share: share }))
    }

    fn stop(&mut self) {
        if let Some(Inflating { engine, .. }) = self.engine.take() {
            pool::give_engine(engine);
        }
    }

    /// Keeps what the next message may refer to.
    fn remember(&mut self, message: &[u8]) {
        let message = last(message, self.window);
        let keep = self.history.len().min(self.window - message.len());
        self.history.drain(..self.history.len() - keep);
        let len = keep + message.len();
        if len > self.history.capacity() {
            // A power of two, as the window is: never more than that.
            self.history.reserve_exact(len.next_power_of_two() - keep);
        }
        self.history.extend_from_slice(message);
    }
}

impl Inflating {
    /// Takes of `piece` what there is up to the end of a last block; returns how much that
    /// is, and if the block has ended.
    fn inflate(
        &mut self,
        piece: &[u8],
        message: &mut Assembly,
        limit: usize,
    ) -> Result<(usize, bool), ProtocolError> {
        let Inflating { engine, .. } = self;
        let start = engine.total_in();
        loop {
            let taken = (engine.total_in() - start) as usize;
            let mut beyond = [0];
            let step = (message.len() / 4).max(FIRST_STEP);
            let room = message.more(step.min(limit.saturating_sub(message.len())))?;
            let at_limit = room.is_empty();
            // One byte beyond the limit tells if there is more.
            let room = if at_limit { &mut beyond[..] } else { room };
            let (size, before) = (room.len(), engine.total_out());
            let status = engine.decompress(&piece[taken..], room, InflateFlush::NoFlush);
            let written = (engine.total_out() - before) as usize;
            if at_limit && written > 0 {
                return Err(ProtocolError::MessageTooLarge { limit });
            }
            message.commit(written);
            let status = status.map_err(|_| ProtocolError::InvalidDeflate)?;
            if status == Status::StreamEnd || written < size {
                let taken = (engine.total_in() - start) as usize;
                return Ok((taken, status == Status::StreamEnd));
            }
        }
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Inflating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflating")
    }
}

/// The last `most` bytes.
fn last(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(most)..]
}
