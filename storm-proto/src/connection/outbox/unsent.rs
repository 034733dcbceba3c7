//! Counts the messages in an outbox that are not written, when the connection ends.
//!
//! The header of a WebSocket frame has the length of its payload. Where nothing that is queued
//! has it, because the message was compressed or framed by the application, the outbox keeps it
//! beside the bytes, in [`Lengths`].

use alloc::vec::Vec;

use super::{Chunk, Outbox, Queue};
use crate::connection::slow::Loss;
use crate::websocket::frame::header;

/// Capacity above which an emptied list is given back.
const KEPT: usize = 1 << 10;

/// The lengths of messages, before and after they were encoded, in two bytes for a small one.
#[derive(Default, Debug)]
pub(super) struct Lengths(Vec<u8>);

impl Lengths {
    pub(super) fn push(&mut self, payload: usize, encoded: usize) {
        for mut len in [payload, encoded] {
            while len >= 0x80 {
                self.0.push(len as u8 | 0x80);
                len >>= 7;
            }
            self.0.push(len as u8);
        }
    }

    pub(super) fn append(&mut self, other: &Lengths) {
        self.0.extend_from_slice(&other.0);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
        if self.0.capacity() > KEPT {
            self.0 = Vec::new();
        }
    }

    /// Payload and encoded length of each message, in order.
    fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut bytes = self.0.iter();
        core::iter::from_fn(move || {
            let mut next = || {
                let (mut len, mut shift) = (0, 0);
                loop {
                    let byte = *bytes.next()?;
                    len |= usize::from(byte & 0x7F) << shift;
                    shift += 7;
                    if byte < 0x80 {
                        return Some(len);
                    }
                }
            };
            Some((next()?, next()?))
        })
    }
}

impl Outbox {
    /// Keeps the lengths of the message that was pushed last, for [`Outbox::unsent`].
    pub(crate) fn note(&mut self, payload: usize, encoded: usize) {
        self.queue().lengths.push(payload, encoded);
    }

    /// The messages that are not, or not wholly, written, with the bytes of their payloads that
    /// are not written. A compressed payload that is not wholly written counts as a whole.
    pub(crate) fn unsent(&self, is_framed: bool) -> Loss {
        match &self.queue {
            None => Loss::default(),
            Some(queue) if is_framed => queue.unsent_framed(),
            Some(queue) => queue.unsent_frames(),
        }
    }
}

impl Queue {
    fn unsent_framed(&self) -> Loss {
        let all: usize = self.lengths.iter().map(|(_, encoded)| encoded).sum();
        let mut written = all.saturating_sub(self.queued);
        let mut unsent = Loss::default();
        for (payload, encoded) in self.lengths.iter() {
            if written >= encoded {
                written -= encoded;
            } else {
                unsent.add(payload.min(encoded - core::mem::take(&mut written)));
            }
        }
        unsent
    }

    fn unsent_frames(&self) -> Loss {
        let (mut unsent, mut compressed) = (Loss::default(), 0);
        // Positions, counted from the start of the first chunk.
        let (mut chunk_at, mut frame_at) = (0, 0);
        let sent = self.head_sent;
        let tail = (None, &self.tail[..]);
        let chunks = self.chunks.iter().map(|chunk| (Some(chunk), chunk.bytes()));
        for (chunk, bytes) in chunks.chain([tail]) {
            let chunk_end = chunk_at + bytes.len();
            match chunk {
                Some(Chunk::Opening(_)) => frame_at = chunk_end,
                Some(Chunk::Payload(_, len)) => {
                    if *len == bytes.len() {
                        unsent.add(chunk_end - sent.max(chunk_at));
                    } else {
                        unsent.add(*len);
                    }
                    frame_at = chunk_end;
                }
                _ => {
                    while frame_at < chunk_end
                        && let Some((frame, size)) =
                            header::decode_own(&bytes[frame_at - chunk_at..])
                    {
                        let payload_at = frame_at + size;
                        frame_at = payload_at + frame.len as usize;
                        // A payload behind the chunk has a chunk of its own.
                        if frame.opcode.is_control() || frame_at <= sent || frame_at > chunk_end {
                        } else if frame.compressed {
                            compressed += 1;
                        } else {
                            unsent.add(frame_at - sent.max(payload_at));
                        }
                    }
                }
            }
            chunk_at = chunk_end;
        }
        let noted = self.lengths.iter().count();
        let last = self.lengths.iter().skip(noted.saturating_sub(compressed));
        last.for_each(|(payload, _)| unsent.add(payload));
        unsent
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Control;
    use super::*;
    use crate::websocket::frame::header::{OpCode, encode};

    fn loss(messages: u64, bytes: u64) -> Loss {
        let mut loss = Loss::default();
        (loss.messages, loss.bytes) = (messages, bytes);
        loss
    }

    #[test]
    fn lengths_of_all_sizes_are_kept() {
        let all = [(0, 0), (1, 3), (127, 128), (128, 16_384), (usize::MAX, 1 << 40)];
        let mut lengths = Lengths::default();
        all.iter().for_each(|(payload, encoded)| lengths.push(*payload, *encoded));
        assert!(lengths.iter().eq(all));
    }

    #[test]
    fn only_what_is_not_written_of_payloads_is_counted() {
        let mut outbox = Outbox::new();
        outbox.push_opening(Bytes::from_static(b"HTTP/1.1 101 "));
        let frame = |outbox: &mut Outbox, opcode, len: usize| {
            outbox.push(|out| {
                out.extend_from_slice(encode(opcode, len, false).as_bytes());
                out.resize(out.len() + len, 7);
            });
        };
        frame(&mut outbox, OpCode::Text, 10);
        frame(&mut outbox, OpCode::Binary, 0);
        outbox.push(|out| {
            out.extend_from_slice(encode(OpCode::Text, 1000, false).as_bytes());
        });
        outbox.push_payload(Bytes::from(alloc::vec![7; 1000]), 1000);
        outbox.push_control(Control::Pong, |out| out.extend_from_slice(b"\x8a\x01p"));
        frame(&mut outbox, OpCode::Close, 2);
        let unsent_after = |n: usize, outbox: &mut Outbox| {
            outbox.advance(n);
            outbox.unsent(false)
        };
        assert_eq!(unsent_after(0, &mut outbox), loss(3, 1010));
        // The opening, the pong behind it, and a header.
        assert_eq!(unsent_after(13 + 3 + 2, &mut outbox), loss(3, 1010));
        assert_eq!(unsent_after(4, &mut outbox), loss(3, 1006));
        assert_eq!(unsent_after(6, &mut outbox), loss(2, 1000));
        assert_eq!(unsent_after(2, &mut outbox), loss(1, 1000));
        assert_eq!(unsent_after(4 + 300, &mut outbox), loss(1, 700));
        assert_eq!(unsent_after(700, &mut outbox), loss(0, 0));
        assert_eq!(outbox.len(), 4, "the Close frame");
    }

    #[test]
    fn a_message_of_a_framing_counts_without_what_the_framing_adds() {
        let mut outbox = Outbox::new();
        for len in [3, 0, 200] {
            outbox.push(|out| out.resize(out.len() + 4 + len, 0));
            outbox.note(len, 4 + len);
        }
        assert_eq!(outbox.unsent(true), loss(3, 203));
        outbox.advance(7);
        assert_eq!(outbox.unsent(true), loss(2, 200));
        outbox.advance(4 + 104);
        assert_eq!(outbox.unsent(true), loss(1, 100));
        outbox.advance(100);
        assert_eq!(outbox.unsent(true), loss(0, 0));
        outbox.note(1, 5);
        outbox.push(|out| out.resize(out.len() + 5, 0));
        assert_eq!(outbox.unsent(true), loss(1, 1), "nothing is left of those before");
    }
}
