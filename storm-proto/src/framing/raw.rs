//! No framing: what one read brings is one message.

use alloc::vec::Vec;

use super::{Decoded, Framer, FramingError};

/// Hands over chunks as they arrive. Their borders mean nothing: TCP may cut and
/// join what the peer wrote as it likes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Framer for Raw {
    fn decode(&self, buffered: &[u8], _: &mut usize) -> Result<Decoded, FramingError> {
        match buffered.len() {
            0 => Ok(Decoded::More { at_least: 1 }),
            len => Ok(Decoded::Message { payload: 0..len, consumed: len }),
        }
    }

    fn encode_head(&self, _: &[u8], _: &mut Vec<u8>) -> Result<(), FramingError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_there_is_one_message_and_nothing_is_none() {
        assert_eq!(Raw.decode(b"abc", &mut 0), Ok(Decoded::Message { payload: 0..3, consumed: 3 }));
        assert_eq!(Raw.decode(b"", &mut 0), Ok(Decoded::More { at_least: 1 }));
    }
}
