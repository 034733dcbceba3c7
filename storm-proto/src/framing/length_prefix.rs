//! Four bytes of big-endian length, then the payload.

use alloc::vec::Vec;

use super::{Decoded, Framer, FramingError};
use crate::error::OptionError;

/// Bytes of the prefix.
const PREFIX: usize = 4;

/// A 4-byte big-endian length before each message. Empty messages are messages.
#[derive(Clone, Copy, Debug)]
pub struct LengthPrefix {
    limit: usize,
}

impl LengthPrefix {
    /// 16 MiB: above what applications send in one piece, below what hurts a server.
    pub const DEFAULT_LIMIT: usize = 16 << 20;

    /// Messages of up to [`LengthPrefix::DEFAULT_LIMIT`] bytes.
    #[must_use]
    pub const fn new() -> LengthPrefix {
        LengthPrefix { limit: LengthPrefix::DEFAULT_LIMIT }
    }

    /// Sets the longest payload in bytes, not 0, for both directions. A longer one is
    /// refused at its prefix, before any of it is stored.
    #[must_use]
    pub const fn limit(mut self, bytes: usize) -> LengthPrefix {
        self.limit = bytes;
        self
    }

    fn check(&self, len: usize) -> Result<u32, FramingError> {
        match u32::try_from(len) {
            Ok(prefix) if len <= self.limit => Ok(prefix),
            _ => Err(FramingError::TooLong { limit: self.limit }),
        }
    }
}

impl Default for LengthPrefix {
    fn default() -> LengthPrefix {
        LengthPrefix::new()
    }
}

impl Framer for LengthPrefix {
    fn check_options(&self) -> Result<(), OptionError> {
        match self.limit {
            0 => Err(OptionError::new("limit", OptionError::ZERO)),
            _ => Ok(()),
        }
    }

    fn decode(&self, buffered: &[u8], _: &mut usize) -> Result<Decoded, FramingError> {
        let Some((&prefix, payload)) = buffered.split_first_chunk::<PREFIX>() else {
            return Ok(Decoded::More { at_least: PREFIX - buffered.len() });
        };
        let len = u32::from_be_bytes(prefix) as usize;
        self.check(len)?;
        if payload.len() < len {
            return Ok(Decoded::More { at_least: len - payload.len() });
        }
        Ok(Decoded::Message { payload: PREFIX..PREFIX + len, consumed: PREFIX + len })
    }

    fn max_message(&self) -> Option<usize> {
        Some(self.limit)
    }

    fn encode_head(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError> {
        out.extend_from_slice(&self.check(payload.len())?.to_be_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_went() {
        for payload in [&b""[..], b"x", &[7; 1000]] {
            let mut wire = Vec::new();
            LengthPrefix::new().encode_head(payload, &mut wire).unwrap();
            wire.extend_from_slice(payload);
            let end = wire.len();
            wire.extend_from_slice(b"next");
            let found = LengthPrefix::new().decode(&wire, &mut 0);
            assert_eq!(found, Ok(Decoded::Message { payload: 4..end, consumed: end }));
        }
    }

    #[test]
    fn what_is_missing_is_told_exactly() {
        let framer = LengthPrefix::new();
        assert_eq!(framer.decode(b"\0\0", &mut 0), Ok(Decoded::More { at_least: 2 }));
        assert_eq!(framer.decode(b"\0\0\0\x64abc", &mut 0), Ok(Decoded::More { at_least: 97 }));
    }

    #[test]
    fn the_limit_holds_in_both_directions_before_any_payload() {
        let framer = LengthPrefix::new().limit(10);
        let error = Err(FramingError::TooLong { limit: 10 });
        assert_eq!(framer.decode(&11u32.to_be_bytes(), &mut 0), error.map(|()| unreachable!()));
        assert!(framer.decode(&10u32.to_be_bytes(), &mut 0).is_ok());
        assert_eq!(framer.encode_head(&[0; 11], &mut Vec::new()), error);
        let default = LengthPrefix::new();
        assert!(default.decode(&u32::MAX.to_be_bytes(), &mut 0).is_err(), "no sign, no wrap");
    }
}
