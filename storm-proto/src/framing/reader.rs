//! Bytes of a framed TCP stream in, messages out.
//!
//! A message that lies in the input as a whole is lent from there. One that is cut
//! is copied together, with as little of what follows as possible, so that the
//! next one is lent from the input again. A framer that looks ahead may have seen bytes of
//! the next message when it finds the end of this one: these are kept and shown again.

use alloc::sync::Arc;

use bytes::Bytes;

use super::{DEFAULT_MAX_MESSAGE, Decoded, Framer, FramingError, MAX_AROUND};
use crate::connection::assembly::{Assembly, LARGE};
use crate::connection::budget::Budget;
use crate::contain::catch;
use crate::error::ProtocolError;
use crate::message::{Kind, Message};

/// The first look beyond a cut: most messages are shorter than this.
const FIRST_STEP: usize = 256;

#[derive(Debug)]
pub(crate) struct Reader {
    framer: Arc<dyn Framer>,
    /// The most of one message that the framer is shown.
    most: usize,
    /// The start of a message that is not complete, behind what was lent of it.
    partial: Assembly,
    /// Where in `partial` that message starts.
    start: usize,
    /// The framer was not asked about `partial` as it is.
    unseen: bool,
    /// How far the framer has searched `partial`.
    scanned: usize,
    /// How many bytes are missing at least, as the framer said.
    missing: usize,
    /// The message lent last, if it was large and assembled.
    backing: Bytes,
    failed: bool,
}

/// What a step found; a slice of the input does not borrow the reader.
enum Found<'i> {
    Nothing,
    InInput(&'i [u8]),
    Assembled(core::ops::Range<usize>),
    Failed(ProtocolError),
}

impl Reader {
    pub(crate) fn new(framer: Arc<dyn Framer>) -> Reader {
        let most = framer.max_message().unwrap_or(DEFAULT_MAX_MESSAGE).saturating_add(MAX_AROUND);
        Reader {
            framer,
            most,
            partial: Assembly::default(),
            start: 0,
            unseen: false,
            scanned: 0,
            missing: 1,
            backing: Bytes::new(),
            failed: false,
        }
    }

    #[inline(never)]
    pub(crate) fn next<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i mut [u8],
    ) -> Option<Result<Message<'s>, ProtocolError>> {
        self.take_back();
        if self.failed {
            *input = &mut [];
            return None;
        }
        match self.find(input) {
            Found::Nothing => None,
            Found::InInput(payload) => Some(Ok(Message::binary(payload))),
            Found::Assembled(payload) => Some(Ok(self.lend(payload))),
            Found::Failed(error) => {
                self.failed = true;
                self.partial.release();
                (self.start, self.unseen) = (0, false);
                *input = &mut [];
                Some(Err(error))
            }
        }
    }

    /// Counts unfinished messages against `budget`.
    pub(crate) fn set_budget(&mut self, budget: Arc<Budget>) {
        self.partial.set_budget(budget);
    }

    pub(crate) fn assembled(&self) -> usize {
        self.partial.len() - self.start
    }

    /// Room for the rest of a large message, if one is under way.
    pub(crate) fn direct(&mut self) -> Option<&mut [u8]> {
        let large = self.start == 0 && self.partial.len() >= LARGE && self.missing >= LARGE;
        if large { self.partial.room(self.missing) } else { None }
    }

    pub(crate) fn direct_filled(&mut self, n: usize) {
        let n = self.partial.commit(n).len();
        self.missing = self.missing.saturating_sub(n);
        self.unseen = true;
    }

    /// The start of a message that the stream ended in.
    pub(crate) fn unfinished(&mut self) -> Bytes {
        self.compact();
        self.unseen = false;
        self.partial.take()
    }

    fn find<'i>(&mut self, input: &mut &'i mut [u8]) -> Found<'i> {
        if self.partial.len() > self.start {
            return self.find_across(input);
        }
        if input.is_empty() {
            return Found::Nothing;
        }
        match decode(&*self.framer, self.most, input, &mut self.scanned) {
            Ok(Decoded::Message { payload, consumed }) => {
                self.scanned = 0;
                let (message, rest) = core::mem::take(input).split_at_mut(consumed);
                *input = rest;
                Found::InInput(&message[payload])
            }
            Ok(Decoded::More { at_least }) => {
                self.missing = at_least;
                let kept = self.partial.push(input);
                *input = &mut [];
                kept.map_or_else(Found::Failed, |()| Found::Nothing)
            }
            Err(error) => Found::Failed(error.into()),
        }
    }

    /// Moves input behind the partial message in growing steps until it is whole;
    /// what was moved too much goes back to the input.
    fn find_across<'i>(&mut self, input: &mut &'i mut [u8]) -> Found<'i> {
        let mut step = FIRST_STEP;
        loop {
            let mut before = self.partial.len();
            if !core::mem::take(&mut self.unseen) {
                if input.is_empty() {
                    return Found::Nothing;
                }
                self.compact();
                before = self.partial.len();
                let (piece, _) = input.split_at(self.missing.max(step).min(input.len()));
                if let Err(error) = self.partial.push(piece) {
                    return Found::Failed(error);
                }
                step = step.saturating_mul(2);
            }
            match self.decode_partial() {
                Ok(Decoded::Message { payload, consumed }) => {
                    let (from, end) = (self.start, self.start + consumed);
                    let taken = end.saturating_sub(before);
                    *input = &mut core::mem::take(input)[taken..];
                    self.partial.truncate(end.max(before));
                    (self.start, self.scanned, self.missing) = (end, 0, 1);
                    // The framer has looked ahead: the next message starts here.
                    self.unseen = self.partial.len() > end;
                    return Found::Assembled(from + payload.start..from + payload.end);
                }
                Ok(Decoded::More { at_least }) => {
                    let moved = self.partial.len() - before;
                    *input = &mut core::mem::take(input)[moved..];
                    self.missing = at_least;
                }
                Err(error) => return Found::Failed(error.into()),
            }
        }
    }

    fn decode_partial(&mut self) -> Result<Decoded, FramingError> {
        let buffered = &self.partial.as_slice()[self.start..];
        decode(&*self.framer, self.most, buffered, &mut self.scanned)
    }

    fn lend(&mut self, payload: core::ops::Range<usize>) -> Message<'_> {
        if self.unseen || self.partial.len() < LARGE {
            return Message::binary(&self.partial.as_slice()[payload]);
        }
        self.start = 0;
        self.backing = self.partial.take().slice(payload);
        Message::backed(Kind::Binary, &self.backing)
    }

    /// The message that was lent last is not needed any more.
    fn take_back(&mut self) {
        // What stays is moved only when less than half of the buffer does: many short messages
        // in one buffer do not move each other.
        if 2 * self.start > self.partial.len() {
            self.compact();
        }
        if !self.backing.is_empty() {
            self.backing = Bytes::new();
        }
    }

    /// Gives back what was lent of `partial`.
    fn compact(&mut self) {
        if self.start > 0 {
            self.partial.consume(core::mem::take(&mut self.start));
        }
    }
}

/// Asks the framer about the start of `buffered`, and believes nothing: it may be an
/// application's own, and panic. It is shown no more than `most`, so that its memory is bounded
/// and its verdict does not depend on how the bytes were cut.
fn decode(
    framer: &dyn Framer,
    most: usize,
    buffered: &[u8],
    scanned: &mut usize,
) -> Result<Decoded, FramingError> {
    let shown = &buffered[..buffered.len().min(most)];
    let decoded = catch(|| framer.decode(shown, scanned)).ok_or(FramingError::Panicked)??;
    match decoded {
        Decoded::Message { consumed: 0, .. } => {
            Err(FramingError::BrokenContract("it found a message and consumed nothing"))
        }
        Decoded::Message { consumed, .. } if consumed > shown.len() => {
            Err(FramingError::BrokenContract("it consumed more than it was shown"))
        }
        Decoded::Message { payload, consumed }
            if payload.start > payload.end || payload.end > consumed =>
        {
            Err(FramingError::BrokenContract("the payload lies outside of what it consumed"))
        }
        Decoded::More { at_least } if at_least.max(1) > most - shown.len() => {
            Err(FramingError::TooLong { limit: most })
        }
        Decoded::More { at_least } => Ok(Decoded::More { at_least: at_least.max(1) }),
        message => Ok(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framing::{Delimiter, LengthPrefix, Raw};
    use alloc::vec::Vec;

    /// Everything that `framer` makes of `wire`, given in pieces of `size` bytes.
    fn read(framer: impl Framer, wire: &[u8], size: usize) -> Vec<Result<Vec<u8>, FramingError>> {
        let mut reader = Reader::new(Arc::new(framer));
        let mut events = Vec::new();
        for piece in wire.chunks(size.max(1)) {
            let mut piece = piece.to_vec();
            let mut input = &mut piece[..];
            while let Some(message) = reader.next(&mut input) {
                let bytes = message.map(|message| message.as_bytes().to_vec());
                events.push(bytes.map_err(|error| match error {
                    ProtocolError::Framing(error) => error,
                    error => panic!("{error}"),
                }));
            }
            assert!(input.is_empty());
        }
        events
    }

    fn lines(text: &str) -> Vec<Result<Vec<u8>, FramingError>> {
        text.lines().map(|line| Ok(line.as_bytes().to_vec())).collect()
    }

    #[test]
    fn the_same_lines_come_out_wherever_the_bytes_are_cut() {
        let long = "x".repeat(3000);
        let text = ["a", "", "bc", &long, "", "end"].join("\n") + "\n";
        for size in 1..text.len() + 1 {
            assert_eq!(
                read(Delimiter::lines(), text.as_bytes(), size),
                lines(&text),
                "size {size}"
            );
        }
    }

    #[test]
    fn the_same_prefixed_messages_come_out_wherever_the_bytes_are_cut() {
        let messages = [&b""[..], b"abc", &[7; 500], &[8; 40_000], b"end"];
        let mut wire = Vec::new();
        for message in messages {
            LengthPrefix::new().encode_head(message, &mut wire).unwrap();
            wire.extend_from_slice(message);
        }
        let expected: Vec<_> = messages.iter().map(|message| Ok(message.to_vec())).collect();
        for size in (1..50).chain([500, 1000, 20_000, 39_999, 50_000]) {
            assert_eq!(read(LengthPrefix::new(), &wire, size), expected, "size {size}");
        }
    }

    #[test]
    fn raw_chunks_come_as_they_are() {
        let chunks = read(Raw, b"abcdef", 4);
        assert_eq!(chunks, [Ok(b"abcd".to_vec()), Ok(b"ef".to_vec())]);
    }

    #[test]
    fn a_fault_is_told_once_and_ends_everything_wherever_it_was_cut() {
        let wire = b"ok\ntoo long\nok\n";
        let expected = [Ok(b"ok".to_vec()), Err(FramingError::TooLong { limit: 4 })];
        for size in 1..=wire.len() {
            assert_eq!(read(Delimiter::lines().limit(4), wire, size), expected, "size {size}");
        }
    }

    #[test]
    fn a_large_message_is_read_straight_into_its_own_buffer() {
        let mut reader = Reader::new(Arc::new(LengthPrefix::new()));
        let mut head = Vec::from(100_000u32.to_be_bytes());
        head.resize(80_004, 1);
        assert!(reader.next(&mut &mut head[..]).is_none());
        let mut left = 20_000;
        while let Some(room) = reader.direct() {
            let n = room.len();
            room.fill(1);
            reader.direct_filled(n);
            left -= n;
        }
        let mut tail = alloc::vec![1; left];
        let Some(Ok(message)) = reader.next(&mut &mut tail[..]) else { panic!("not whole") };
        assert_eq!(message.as_bytes(), [1; 100_000]);
        assert!(message.backing().is_some(), "kept and sent by reference");
    }

    #[test]
    fn an_unfinished_message_is_told_at_the_end() {
        let mut reader = Reader::new(Arc::new(Delimiter::lines()));
        let mut wire = *b"line\nrest";
        let mut input = &mut wire[..];
        while reader.next(&mut input).is_some() {}
        assert_eq!(reader.unfinished(), Bytes::from_static(b"rest"));
        assert_eq!(reader.unfinished(), Bytes::new());
    }
}
