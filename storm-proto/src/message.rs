//! Messages: lent on the way in, borrowed on the way out, owned when kept.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::Utf8Error;

use bytes::Bytes;

/// Text or binary. On plain TCP the difference is not on the wire: what arrives is binary.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// Valid UTF-8 (RFC 6455 section 5.6).
    Text,
    /// Any bytes.
    Binary,
}

/// One message, borrowed from whoever holds its bytes.
///
/// A received message is lent from the buffer it arrived in and lives as long as
/// the call that handed it over; [`Message::to_owned`] keeps it. A message to be
/// sent is made from anything that can lend bytes: `&str` and `&String` give
/// text; `&[u8]`, `&Vec<u8>`, arrays and `&Bytes` give binary.
///
/// A large message that is backed by a [`Bytes`] is queued, kept and broadcast
/// by reference count; all others are copied once, into the outbox.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    bytes: &'a [u8],
    /// The same bytes as text, where that was known for free.
    text: Option<&'a str>,
    backing: Option<&'a Bytes>,
    form: Form,
}

/// Kind, and whether it is to be sent as it is. A word, so that a message has no padding:
/// that is copied in pieces which overlap, and reading those back stalls the processor.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Form {
    Text,
    Binary,
    UncompressedText,
    UncompressedBinary,
}

impl<'a> Message<'a> {
    /// A text message.
    #[must_use]
    pub const fn text(text: &'a str) -> Message<'a> {
        Message { text: Some(text), ..Message::new(Kind::Text, text.as_bytes()) }
    }

    /// A binary message.
    #[must_use]
    pub const fn binary(bytes: &'a [u8]) -> Message<'a> {
        Message::new(Kind::Binary, bytes)
    }

    /// A message whose bytes stand in `backing`. The caller vouches that text is UTF-8.
    pub(crate) fn backed(kind: Kind, backing: &'a Bytes) -> Message<'a> {
        Message { backing: Some(backing), ..Message::new(kind, backing) }
    }

    /// Text whose bytes were checked piece by piece.
    pub(crate) const fn checked_text(bytes: &'a [u8]) -> Message<'a> {
        Message::new(Kind::Text, bytes)
    }

    const fn new(kind: Kind, bytes: &'a [u8]) -> Message<'a> {
        let form = match kind {
            Kind::Text => Form::Text,
            Kind::Binary => Form::Binary,
        };
        Message { bytes, text: None, backing: None, form }
    }

    /// The message, to be sent plain also where compression was agreed on: a secret beside
    /// what others can choose, or what is compressed already. An owned copy does not keep
    /// the wish.
    #[must_use]
    pub const fn uncompressed(mut self) -> Message<'a> {
        self.form = match self.kind() {
            Kind::Text => Form::UncompressedText,
            Kind::Binary => Form::UncompressedBinary,
        };
        self
    }

    /// Text or binary.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.form {
            Form::Text | Form::UncompressedText => Kind::Text,
            Form::Binary | Form::UncompressedBinary => Kind::Binary,
        }
    }

    /// True for text.
    #[must_use]
    pub const fn is_text(&self) -> bool {
        matches!(self.kind(), Kind::Text)
    }

    /// The payload.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The payload of a text message; `None` for a binary one.
    ///
    /// Free for a message that arrived in one piece. One that was assembled was
    /// checked piece by piece and is looked through once more here.
    #[must_use]
    pub fn as_text(&self) -> Option<&'a str> {
        match (self.text, self.kind()) {
            (Some(text), _) => Some(text),
            (None, Kind::Text) => simdutf8::basic::from_utf8(self.bytes).ok(),
            (None, Kind::Binary) => None,
        }
    }

    /// The payload as text, whatever its kind.
    ///
    /// # Errors
    /// If a binary message is not UTF-8.
    pub fn to_text(&self) -> Result<&'a str, Utf8Error> {
        match self.text {
            Some(text) => Ok(text),
            None => core::str::from_utf8(self.bytes),
        }
    }

    /// Payload length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True for an empty message, which is a message like any other.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A copy to keep: a reference count for a large received message, one exactly
    /// sized allocation otherwise.
    #[must_use]
    pub fn to_owned(&self) -> OwnedMessage {
        let bytes = match self.backing {
            Some(backing) => backing.clone(),
            None => Bytes::copy_from_slice(self.bytes),
        };
        OwnedMessage { kind: self.kind(), bytes }
    }

    pub(crate) fn backing(&self) -> Option<&'a Bytes> {
        self.backing
    }

    pub(crate) const fn is_uncompressed(&self) -> bool {
        matches!(self.form, Form::UncompressedText | Form::UncompressedBinary)
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(text: &'a str) -> Message<'a> {
        Message::text(text)
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(text: &'a String) -> Message<'a> {
        Message::text(text)
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(bytes: &'a [u8]) -> Message<'a> {
        Message::binary(bytes)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(bytes: &'a [u8; N]) -> Message<'a> {
        Message::binary(bytes)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(bytes: &'a Vec<u8>) -> Message<'a> {
        Message::binary(bytes)
    }
}

impl<'a> From<&'a Bytes> for Message<'a> {
    fn from(bytes: &'a Bytes) -> Message<'a> {
        Message::backed(Kind::Binary, bytes)
    }
}

impl<'a> From<&'a OwnedMessage> for Message<'a> {
    fn from(message: &'a OwnedMessage) -> Message<'a> {
        message.as_message()
    }
}

/// Kind and payload: two messages are equal if a peer could not tell them apart.
impl PartialEq for Message<'_> {
    fn eq(&self, other: &Message<'_>) -> bool {
        self.kind() == other.kind() && self.bytes == other.bytes
    }
}

impl Eq for Message<'_> {}

impl fmt::Debug for Message<'_> {
    /// Kind and length; at most the first 64 bytes of the payload.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        let start = &self.bytes[..self.bytes.len().min(SHOWN)];
        let dots = if self.bytes.len() > SHOWN { ".." } else { "" };
        write!(f, "{:?}({} B, \"{}\"{dots})", self.kind(), self.bytes.len(), start.escape_ascii())
    }
}

/// A message to keep or to hand to another thread. Cloning it is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedMessage {
    kind: Kind,
    bytes: Bytes,
}

impl OwnedMessage {
    /// A text message.
    #[must_use]
    pub fn text(text: impl Into<String>) -> OwnedMessage {
        OwnedMessage { kind: Kind::Text, bytes: Bytes::from(text.into()) }
    }

    /// Makes a text message of bytes, which are checked once, here, and not copied.
    ///
    /// # Errors
    /// If the bytes are not UTF-8. A clone of [`Bytes`] is cheap, for those who want them back.
    ///
    /// ```
    /// # use storm_proto::OwnedMessage;
    /// let json: Vec<u8> = b"{\"price\":1.08}".to_vec();
    /// let message = OwnedMessage::text_from_utf8(json)?;
    /// assert!(message.as_message().is_text());
    /// # Ok::<(), core::str::Utf8Error>(())
    /// ```
    pub fn text_from_utf8(bytes: impl Into<Bytes>) -> Result<OwnedMessage, Utf8Error> {
        let bytes = bytes.into();
        if simdutf8::basic::from_utf8(&bytes).is_err() {
            core::str::from_utf8(&bytes)?;
        }
        Ok(OwnedMessage { kind: Kind::Text, bytes })
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> OwnedMessage {
        OwnedMessage { kind: Kind::Binary, bytes: bytes.into() }
    }

    /// Text or binary.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Payload length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True for an empty message, which is a message like any other.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The message, lent.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        Message::backed(self.kind, &self.bytes)
    }

    /// The payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The payload of a text message; `None` for a binary one. Looks through the bytes.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        self.as_message().as_text()
    }

    /// The payload, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}

impl From<Message<'_>> for OwnedMessage {
    fn from(message: Message<'_>) -> OwnedMessage {
        message.to_owned()
    }
}

impl fmt::Debug for OwnedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_message().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn strings_give_text_and_bytes_give_binary() {
        assert!(Message::from("a").is_text());
        assert!(Message::from(&String::from("a")).is_text());
        assert!(!Message::from(b"a").is_text());
        assert!(!Message::from(&Bytes::from_static(b"a")).is_text());
        assert_eq!(Message::from(&b"a"[..]), Message::from(&[b'a'].to_vec()));
        assert_ne!(Message::from("a"), Message::from(b"a"), "kinds differ");
    }

    #[test]
    fn keeping_a_backed_message_counts_references_instead_of_copying() {
        let bytes = Bytes::from(alloc::vec![7; 100_000]);
        let kept = Message::from(&bytes).to_owned();
        assert_eq!(kept.as_bytes().as_ptr(), bytes.as_ptr());
        let copied = Message::binary(&bytes).to_owned();
        assert_ne!(copied.as_bytes().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn only_text_reads_as_text() {
        assert_eq!(Message::checked_text("ü".as_bytes()).as_text(), Some("ü"));
        assert_eq!(Message::binary(b"u").as_text(), None);
        assert_eq!(Message::binary(b"u").to_text(), Ok("u"));
        assert!(Message::binary(b"\xff").to_text().is_err());
    }

    #[test]
    fn bytes_that_are_utf8_become_text_without_a_copy() {
        let bytes = Bytes::from("größer".repeat(100));
        let text = OwnedMessage::text_from_utf8(bytes.clone()).unwrap();
        assert_eq!(text, OwnedMessage::text("größer".repeat(100)));
        assert_eq!(text.as_bytes().as_ptr(), bytes.as_ptr());
        let error = OwnedMessage::text_from_utf8(&b"ab\xff"[..]).unwrap_err();
        assert_eq!(error.valid_up_to(), 2);
        assert!(OwnedMessage::text_from_utf8(&b"\xc3"[..]).is_err(), "half a character");
    }

    #[test]
    fn debug_output_shows_no_long_payload() {
        let long = alloc::vec![b'x'; 10_000];
        assert!(format!("{:?}", Message::from(&long)).len() < 120);
    }
}
