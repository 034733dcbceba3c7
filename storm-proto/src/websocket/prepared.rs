//! Encode once, send to many.

use alloc::vec::Vec;

use bytes::Bytes;

use super::deflate::{Deflater, Once};
use super::frame::header;
use crate::connection::sender::data_opcode;
use crate::message::{Kind, Message, OwnedMessage};

/// A message encoded as a server's WebSocket frame, to be queued on any number of
/// sessions without encoding it again. Cloning it counts a reference.
///
/// On sessions that need other bytes (a client's, which are masked; framed TCP)
/// the payload in it is encoded for them as usual. Where sessions agreed on compression
/// without context takeover, it is compressed once for all of them.
#[derive(Clone, Debug)]
pub struct Prepared {
    kind: Kind,
    frame: Bytes,
    payload_at: u8,
    plain: bool,
    compressed: Once,
}

impl Prepared {
    /// Encodes `message`: one allocation, exactly sized; with the feature `deflate` a small
    /// one more, for what compression may make of it.
    #[must_use]
    pub fn new<'a>(message: impl Into<Message<'a>>) -> Prepared {
        let message = message.into();
        let header = header::encode(data_opcode(message.kind()), message.len(), false);
        let header = header.as_bytes();
        let mut frame = Vec::with_capacity(header.len() + message.len());
        frame.extend_from_slice(header);
        frame.extend_from_slice(message.as_bytes());
        Prepared {
            kind: message.kind(),
            frame: Bytes::from(frame),
            payload_at: header.len() as u8,
            plain: message.is_uncompressed(),
            compressed: Once::new(),
        }
    }

    /// Text or binary.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.frame[usize::from(self.payload_at)..]
    }

    /// The message, as it was before.
    pub(crate) fn message<'a>(&self, payload: &'a Bytes) -> Message<'a> {
        let message = Message::backed(self.kind, payload);
        if self.plain { message.uncompressed() } else { message }
    }

    /// What goes in the place of the message on one session.
    pub(crate) fn instead<'a>(&self, replaced: &'a OwnedMessage) -> Message<'a> {
        let message = replaced.as_message();
        if self.plain { message.uncompressed() } else { message }
    }

    /// The compressed payload, if it is the same for all sessions like that of `deflater`;
    /// within it `None` if the message had better go plain.
    pub(crate) fn compressed(&self, deflater: &Deflater) -> Option<Option<Bytes>> {
        if self.plain || self.payload().len() < deflater.threshold() {
            return Some(None);
        }
        self.compressed.payload(deflater, self.payload())
    }

    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// The payload, sharing the memory of the frame.
    pub(crate) fn shared_payload(&self) -> Bytes {
        self.frame.slice(usize::from(self.payload_at)..)
    }
}
