//! UTF-8 checked as bytes arrive (RFC 6455 section 8.1).
//!
//! Text may be cut inside a character, by fragments and by reads. The checker
//! keeps the at most three bytes of a character that is not complete yet, and
//! fails at the first byte that no valid text can contain.

use crate::error::ProtocolError;

/// The longest encoded character.
const MAX_CHAR: usize = 4;

/// The state between two pieces of one text.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Utf8 {
    /// The start of a character: `started[..len]`, with len < 4.
    started: [u8; MAX_CHAR],
    len: u8,
}

impl Utf8 {
    /// Checks the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), ProtocolError> {
        let rest = self.finish_character(piece)?;
        if simdutf8::basic::from_utf8(rest).is_ok() {
            return Ok(());
        }
        match core::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(ProtocolError::InvalidUtf8),
            // Valid as far as it goes: keep the start of the last character.
            Err(error) => {
                self.keep(&rest[error.valid_up_to()..]);
                Ok(())
            }
        }
    }

    /// Checks that the text does not end inside a character, and starts anew.
    pub(crate) fn finish(&mut self) -> Result<(), ProtocolError> {
        if core::mem::take(&mut self.len) == 0 { Ok(()) } else { Err(ProtocolError::InvalidUtf8) }
    }

    /// Completes the character begun in an earlier piece; returns what comes behind it.
    fn finish_character<'p>(&mut self, mut piece: &'p [u8]) -> Result<&'p [u8], ProtocolError> {
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { break };
            piece = rest;
            self.started[usize::from(self.len)] = byte;
            self.len += 1;
            match core::str::from_utf8(&self.started[..usize::from(self.len)]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => {
                    return Err(ProtocolError::InvalidUtf8);
                }
                // Never at four bytes: those are a character or an error.
                Err(_) => {}
            }
        }
        Ok(piece)
    }

    fn keep(&mut self, start: &[u8]) {
        self.started[..start.len()].copy_from_slice(start);
        self.len = start.len() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on `text` given in the pieces that `cuts` make, as the number of
    /// bytes after which it failed, or `None` if it is valid.
    fn check(text: &[u8], cut: usize) -> Option<usize> {
        let mut utf8 = Utf8::default();
        let (head, tail) = text.split_at(cut);
        if utf8.push(head).is_err() {
            return Some(head.len());
        }
        if utf8.push(tail).is_err() || utf8.finish().is_err() {
            return Some(text.len());
        }
        None
    }

    fn agrees_with_std_at_every_cut(text: &[u8]) {
        let valid = core::str::from_utf8(text).is_ok();
        for cut in 0..=text.len() {
            assert_eq!(check(text, cut).is_none(), valid, "{text:x?} cut at {cut}");
        }
    }

    #[test]
    fn all_texts_of_one_and_two_bytes_agree_with_std_at_every_cut() {
        for a in 0..=255 {
            agrees_with_std_at_every_cut(&[a]);
            for b in 0..=255 {
                agrees_with_std_at_every_cut(&[a, b]);
            }
        }
    }

    #[test]
    fn all_texts_of_three_bytes_agree_with_std_at_every_cut() {
        for number in 0..1u32 << 24 {
            let [_, a, b, c] = number.to_be_bytes();
            agrees_with_std_at_every_cut(&[a, b, c]);
        }
    }

    #[test]
    fn four_byte_characters_agree_with_std_at_every_cut() {
        // Every lead byte and second byte; the others at the edges of their ranges.
        let edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0xBF, 0xC0, 0xFF];
        for (lead, second) in (0xE0..=0xFFu8).flat_map(|a| (0..=255u8).map(move |b| (a, b))) {
            for third in edges {
                for fourth in edges {
                    agrees_with_std_at_every_cut(&[lead, second, third, fourth]);
                }
            }
        }
    }

    #[test]
    fn the_first_impossible_byte_fails_at_once() {
        // U+110000 would start with f4 90: no character does.
        let mut utf8 = Utf8::default();
        assert!(utf8.push(b"\xf4").is_ok());
        assert!(utf8.push(b"\x90").is_err());
        // A surrogate: ed a0.
        let mut utf8 = Utf8::default();
        assert!(utf8.push(b"long enough to take the vector path \xed").is_ok());
        assert!(utf8.push(b"\xa0").is_err());
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_invalid() {
        let mut utf8 = Utf8::default();
        assert!(utf8.push("€".as_bytes()).is_ok());
        assert!(utf8.finish().is_ok());
        assert!(utf8.push(b"\xe2\x82").is_ok());
        assert!(utf8.finish().is_err());
        assert!(utf8.finish().is_ok(), "starts anew");
    }
}
