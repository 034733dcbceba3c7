//! Messages become payloads of compressed frames (RFC 7692 section 7.2.1).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use zlib_rs::{Deflate as Engine, DeflateConfig, DeflateFlush};

use super::terms::Agreed;
use super::{MIN_BITS, pool};
use crate::websocket::Role;

/// What ends all that is flushed, and is not sent: an empty stored block without its first
/// byte.
pub(super) const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// The payload of an empty message (section 7.2.3.6).
const EMPTY: u8 = 0;

/// By so many bytes a compressed message may be larger than a plain one: the price of
/// context where there was nothing to compress. One that grows more goes plain.
pub(crate) const GROWTH: usize = 16;

/// Blocks of 4,096 symbols: the engine takes 83 KiB less than with zlib's usual 8, and what
/// it makes has the same size to 1 %.
const MEM_LEVEL: i32 = 6;

/// The compressing half of a connection.
#[derive(Debug)]
pub(crate) struct Deflater {
    window_bits: u8,
    level: u8,
    takeover: bool,
    /// Shorter messages go plain.
    threshold: usize,
    /// With takeover, from the first compressed message on.
    context: Option<Compressor>,
}

/// An engine with the settings it was made with, which never change.
pub(super) struct Compressor {
    engine: Engine,
    window_bits: u8,
    level: u8,
}

impl Deflater {
    /// Compresses what `role` sends; `None` if the window is smaller than zlib's smallest:
    /// the messages go plain then.
    pub(crate) fn new(agreed: &Agreed, role: Role) -> Option<Box<Deflater>> {
        let (window_bits, takeover) = agreed.of(role);
        let (level, threshold) = (agreed.level(), agreed.threshold());
        (window_bits >= MIN_BITS)
            .then(|| Box::new(Deflater { window_bits, level, takeover, threshold, context: None }))
    }

    /// Shorter messages go plain.
    pub(crate) fn threshold(&self) -> usize {
        self.threshold
    }

    /// Window and level, if a message compressed for one connection is good for all with
    /// the same.
    pub(crate) fn shared(&self) -> Option<(u8, u8)> {
        (!self.takeover).then_some((self.window_bits, self.level))
    }

    /// The payload for a message; `None` if the message had better go plain.
    pub(crate) fn compress(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        if !self.takeover {
            return compress_alone(message, self.window_bits, self.level);
        }
        let (window_bits, level) = (self.window_bits, self.level);
        let context = self.context.get_or_insert_with(|| Compressor::new(window_bits, level));
        let Some(payload) = context.compress(message) else {
            self.context = None;
            return None;
        };
        if payload.len() > message.len() + GROWTH {
            self.forget();
            return None;
        }
        Some(payload)
    }

    /// What was compressed last is not sent: the next message starts with an empty window.
    pub(crate) fn forget(&mut self) {
        if let Some(context) = &mut self.context {
            context.engine.reset();
        }
    }
}

/// The payload for a message that refers to no other; `None` if it would not be smaller.
pub(super) fn compress_alone(message: &[u8], window_bits: u8, level: u8) -> Option<Vec<u8>> {
    let mut compressor = pool::take_compressor(window_bits, level);
    let payload = compressor.compress(message)?;
    pool::give_compressor(compressor);
    (payload.len() < message.len()).then_some(payload)
}

impl Compressor {
    pub(super) fn new(window_bits: u8, level: u8) -> Compressor {
        let config = DeflateConfig {
            level: level.into(),
            // Negative: without a header of zlib.
            window_bits: -i32::from(window_bits),
            mem_level: MEM_LEVEL,
            ..DeflateConfig::default()
        };
        Compressor { engine: Engine::new_with_config(config), window_bits, level }
    }

    pub(super) fn is(&self, window_bits: u8, level: u8) -> bool {
        (self.window_bits, self.level) == (window_bits, level)
    }

    /// Starts anew.
    pub(super) fn reset(&mut self) {
        self.engine.reset();
    }

    /// Compresses a message up to a border of bytes. `None` if the engine fails, which it
    /// has no reason to: it is not used again then.
    ///
    /// All of it is always taken out, also where it grows: an engine of zlib-rs 0.6.8 that is
    /// reset with something left inside has less room from then on, and panics.
    fn compress(&mut self, mut message: &[u8]) -> Option<Vec<u8>> {
        #[cfg(test)]
        COMPRESSED.set(COMPRESSED.get() + 1);
        if message.is_empty() {
            return Some(alloc::vec![EMPTY]);
        }
        let mut out = Vec::new();
        let mut filled = 0;
        loop {
            if filled == out.len() {
                // Half of the message is enough for most.
                let more = out.len().max(message.len() / 2 + 64);
                out.reserve_exact(more);
                out.resize(filled + more, 0);
            }
            let (read, written) = (self.engine.total_in(), self.engine.total_out());
            let free = &mut out[filled..];
            self.engine.compress(message, free, DeflateFlush::SyncFlush).ok()?;
            let taken = (self.engine.total_in() - read) as usize;
            let made = (self.engine.total_out() - written) as usize;
            message = &message[taken..];
            filled += made;
            // Room that is left says that all is flushed.
            if message.is_empty() && filled < out.len() {
                break;
            }
            if taken + made == 0 {
                return None;
            }
        }
        out.truncate(filled);
        let payload = out.len().checked_sub(TAIL.len()).filter(|_| out.ends_with(&TAIL))?;
        out.truncate(payload);
        // It may wait in an outbox, which counts what is sent and not what is reserved.
        out.shrink_to_fit();
        Some(out)
    }
}

#[cfg(test)]
std::thread_local! {
    /// How many messages this thread has compressed.
    pub(super) static COMPRESSED: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Compressor({} bits)", self.window_bits)
    }
}
