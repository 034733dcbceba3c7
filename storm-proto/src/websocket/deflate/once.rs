//! A message for many sessions is compressed once for all that agreed on the same.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::compress::compress_alone;
use super::{Deflater, MAX_BITS, MIN_BITS};

const WINDOWS: usize = (MAX_BITS - MIN_BITS + 1) as usize;

/// The payloads of one message, one for each size of window, made when they are first
/// asked for. Clones share them.
#[derive(Clone, Default, Debug)]
pub(crate) struct Once {
    payloads: Arc<[OnceLock<Option<Bytes>>; WINDOWS]>,
}

impl Once {
    /// Nothing compressed yet.
    pub(crate) fn new() -> Once {
        Once::default()
    }

    /// The payload of `message` for the sessions that `deflater` is one of: `None` if they
    /// have contexts of their own, `Some(None)` if the message had better go plain.
    ///
    /// Where sessions differ in their level, the first one's is good for all.
    pub(crate) fn payload(&self, deflater: &Deflater, message: &[u8]) -> Option<Option<Bytes>> {
        let (window_bits, level) = deflater.shared()?;
        let slot = self.payloads.get(usize::from(window_bits - MIN_BITS))?;
        let compress = || compress_alone(message, window_bits, level).map(Bytes::from);
        Some(slot.get_or_init(compress).clone())
    }
}
