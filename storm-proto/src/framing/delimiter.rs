//! Messages that end with a byte string, such as lines.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{Decoded, Framer, FramingError};
use crate::error::OptionError;

/// A byte string behind each message, `\n` by default. Empty messages are messages.
///
/// The delimiter is taken off on the way in and put on on the way out. A payload
/// that contains it is refused when it is sent, since the peer would read two
/// messages. With `\n` a `\r` before it stays part of the message.
#[derive(Clone, Debug)]
pub struct Delimiter {
    delimiter: Box<[u8]>,
    limit: usize,
}

impl Delimiter {
    /// 1 MiB: a line longer than this is not a line.
    pub const DEFAULT_LIMIT: usize = 1 << 20;

    /// Messages that end with `delimiter`. An empty delimiter means the default, `\n`.
    #[must_use]
    pub fn new(delimiter: &[u8]) -> Delimiter {
        let delimiter = if delimiter.is_empty() { b"\n" } else { delimiter };
        Delimiter { delimiter: delimiter.into(), limit: Delimiter::DEFAULT_LIMIT }
    }

    /// Lines: messages that end with `\n`.
    #[must_use]
    pub fn lines() -> Delimiter {
        Delimiter::new(b"\n")
    }

    /// Sets the longest payload in bytes, not 0, for both directions.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Delimiter {
        self.limit = bytes;
        self
    }

    /// Where the delimiter starts in `bytes`, searched from `from` on.
    fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let (&last, head) = self.delimiter.split_last()?;
        let mut at = from;
        // Look for the last byte of it, then at what stands before.
        while let Some(hit) = bytes[at..].iter().position(|&byte| byte == last) {
            let end = at + hit;
            if bytes[..end].ends_with(head) && end >= head.len() {
                return Some(end - head.len());
            }
            at = end + 1;
        }
        None
    }
}

impl Default for Delimiter {
    fn default() -> Delimiter {
        Delimiter::lines()
    }
}

impl Framer for Delimiter {
    fn check_options(&self) -> Result<(), OptionError> {
        match self.limit {
            0 => Err(OptionError::new("limit", OptionError::ZERO)),
            _ => Ok(()),
        }
    }

    fn decode(&self, buffered: &[u8], scanned: &mut usize) -> Result<Decoded, FramingError> {
        let too_long = FramingError::TooLong { limit: self.limit };
        // A message that ends too late is refused even if all of it is here, so
        // that the verdict does not depend on how the bytes were cut.
        let window = buffered.len().min(self.limit.saturating_add(self.delimiter.len()));
        match self.find(&buffered[..window], *scanned) {
            Some(end) => {
                Ok(Decoded::Message { payload: 0..end, consumed: end + self.delimiter.len() })
            }
            None if window < buffered.len() || self.is_full(buffered) => Err(too_long),
            None => {
                *scanned = buffered.len();
                Ok(Decoded::More { at_least: 1 })
            }
        }
    }

    fn max_message(&self) -> Option<usize> {
        Some(self.limit)
    }

    fn encode_head(&self, payload: &[u8], _: &mut Vec<u8>) -> Result<(), FramingError> {
        if payload.len() > self.limit {
            return Err(FramingError::TooLong { limit: self.limit });
        }
        if self.find(payload, 0).is_some() || self.begins_inside(payload) {
            return Err(FramingError::ContainsDelimiter);
        }
        Ok(())
    }

    fn encode_tail(&self, _: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.delimiter);
    }
}

impl Delimiter {
    /// True if the end of `payload` and the delimiter behind it hold an earlier
    /// delimiter together, as in `xa` before `aa`.
    fn begins_inside(&self, payload: &[u8]) -> bool {
        (1..self.delimiter.len()).any(|shared| {
            let (start, rest) = self.delimiter.split_at(shared);
            payload.ends_with(start) && self.delimiter.starts_with(rest)
        })
    }

    /// True if no delimiter that could still come would end a message within the limit.
    fn is_full(&self, buffered: &[u8]) -> bool {
        buffered.len() >= self.limit.saturating_add(self.delimiter.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload_of(framer: &Delimiter, bytes: &[u8]) -> Option<Vec<u8>> {
        match framer.decode(bytes, &mut 0) {
            Ok(Decoded::Message { payload, .. }) => Some(bytes[payload].to_vec()),
            _ => None,
        }
    }

    #[test]
    fn lines_come_without_their_end_and_empty_ones_too() {
        let lines = Delimiter::lines();
        assert_eq!(payload_of(&lines, b"one\ntwo\n"), Some(b"one".to_vec()));
        assert_eq!(payload_of(&lines, b"\n"), Some(Vec::new()));
        assert_eq!(payload_of(&lines, b"cr\r\n"), Some(b"cr\r".to_vec()));
        assert_eq!(payload_of(&lines, b"open"), None);
    }

    #[test]
    fn a_delimiter_of_several_bytes_is_found_even_behind_its_own_start() {
        let framer = Delimiter::new(b"aab");
        assert_eq!(payload_of(&framer, b"aaab"), Some(b"a".to_vec()));
        assert_eq!(payload_of(&framer, b"abaab"), Some(b"ab".to_vec()));
        assert_eq!(payload_of(&framer, b"ab"), None);
    }

    #[test]
    fn a_scan_goes_on_where_it_stopped() {
        let framer = Delimiter::new(b"\r\n");
        let mut scanned = 0;
        assert_eq!(framer.decode(b"line\r", &mut scanned), Ok(Decoded::More { at_least: 1 }));
        assert_eq!(scanned, 5);
        let found = framer.decode(b"line\r\nx", &mut scanned);
        assert_eq!(
            found,
            Ok(Decoded::Message { payload: 0..4, consumed: 6 }),
            "border in the middle"
        );
    }

    #[test]
    fn the_limit_is_exact_and_does_not_depend_on_what_is_buffered() {
        let framer = Delimiter::lines().limit(3);
        let too_long = Err(FramingError::TooLong { limit: 3 });
        assert_eq!(payload_of(&framer, b"abc\n"), Some(b"abc".to_vec()));
        assert_eq!(framer.decode(b"abcd\n", &mut 0), too_long);
        assert_eq!(framer.decode(b"abcd", &mut 0), too_long, "no newline can save it");
        assert_eq!(framer.decode(b"abc", &mut 0), Ok(Decoded::More { at_least: 1 }));
        assert_eq!(
            framer.encode_head(b"abcd", &mut Vec::new()),
            Err(FramingError::TooLong { limit: 3 })
        );
    }

    #[test]
    fn a_payload_with_the_delimiter_inside_is_refused() {
        let error = Delimiter::lines().encode_head(b"a\nb", &mut Vec::new());
        assert_eq!(error, Err(FramingError::ContainsDelimiter));
        let overlapping = Delimiter::new(b"aa").encode_head(b"xa", &mut Vec::new());
        assert_eq!(overlapping, Err(FramingError::ContainsDelimiter), "xaaa would read as x, a");
        assert!(Delimiter::new(b"\r\n").encode_head(b"x\r", &mut Vec::new()).is_ok());
    }
}
