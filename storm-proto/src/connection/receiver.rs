//! Bytes in, events out: the receiving half of an open connection.

use alloc::sync::Arc;

use bytes::Bytes;

use crate::connection::budget::Budget;
use crate::error::ProtocolError;
use crate::framing::{self, Framer};
use crate::message::Message;
use crate::websocket::deflate::Agreed;
use crate::websocket::frame::close_code::CloseCode;
use crate::websocket::{self, Limits, Role};

/// What the peer did. Payloads are lent: they live until the next call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A whole message.
    Message(Message<'a>),
    /// A Ping. The answer is queued by whoever drives the connection.
    Ping(&'a [u8]),
    /// A Pong, asked for or not.
    Pong(&'a [u8]),
    /// The peer's Close. Nothing comes after it.
    Close {
        /// Its code; [`CloseCode::NO_STATUS`] if it had none.
        code: CloseCode,
        /// Its reason, which may be empty.
        reason: &'a str,
    },
    /// The peer broke a rule. Nothing comes after it.
    Failed(ProtocolError),
}

/// The receiving half of an open connection: a parser that owns no buffer while
/// nothing is cut.
///
/// # The contract
/// 1. Hand it bytes as they came, with [`Receiver::next`], until it returns `None`:
///    then all of the input is consumed.
/// 2. Before the next read ask [`Receiver::direct`]: if it lends room, read into
///    that and say how much with [`Receiver::direct_filled`], then call
///    [`Receiver::next`] with no input.
/// 3. The bytes handed in are scratch: unmasking happens in place.
#[derive(Debug)]
pub struct Receiver {
    protocol: Protocol,
}

#[derive(Debug)]
enum Protocol {
    Framed(framing::reader::Reader),
    WebSocket(websocket::reader::Reader),
}

impl Receiver {
    /// Receives messages that `framer` finds in a plain stream.
    #[must_use]
    pub fn framed(framer: Arc<dyn Framer>) -> Receiver {
        Receiver { protocol: Protocol::Framed(framing::reader::Reader::new(framer)) }
    }

    /// Receives WebSocket messages as `role`, after the opening handshake.
    #[must_use]
    pub fn websocket(role: Role, limits: Limits) -> Receiver {
        Receiver { protocol: Protocol::WebSocket(websocket::reader::Reader::new(role, limits)) }
    }

    /// Messages may be compressed from now on, as was agreed on in the opening handshake.
    #[cfg(feature = "deflate")]
    #[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
    pub fn deflate(&mut self, agreed: &websocket::Agreed) {
        self.agreed(Some(agreed));
    }

    /// What the opening handshake agreed on.
    pub(crate) fn agreed(&mut self, deflate: Option<&Agreed>) {
        if let (Protocol::WebSocket(reader), Some(agreed)) = (&mut self.protocol, deflate) {
            reader.deflate(agreed);
        }
    }

    /// Counts unfinished messages against `budget`.
    pub(crate) fn set_budget(&mut self, budget: Arc<Budget>) {
        match &mut self.protocol {
            Protocol::WebSocket(reader) => reader.set_budget(budget),
            Protocol::Framed(reader) => reader.set_budget(budget),
        }
    }

    /// Sets what one message may cost, before the first one.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        if let Protocol::WebSocket(reader) = &mut self.protocol {
            reader.set_limits(limits);
        }
    }

    /// The next event in `input`, which moves past what was consumed.
    ///
    /// `None` means that all input is consumed. After an [`Event::Close`] or
    /// [`Event::Failed`] everything is consumed and thrown away.
    #[inline(always)]
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i mut [u8]) -> Option<Event<'s>> {
        self.next_within(input, None)
    }

    /// As [`Receiver::next`], and `None` with input left once `frames` has counted that many
    /// frames down to 0 that were no event. An event is not counted.
    #[inline(always)]
    pub(crate) fn next_within<'s, 'i: 's>(
        &'s mut self,
        input: &mut &'i mut [u8],
        frames: Option<&mut u16>,
    ) -> Option<Event<'s>> {
        match &mut self.protocol {
            Protocol::WebSocket(reader) => reader.next(input, frames),
            Protocol::Framed(reader) => match reader.next(input)? {
                Ok(message) => Some(Event::Message(message)),
                Err(error) => Some(Event::Failed(error)),
            },
        }
    }

    /// Once more the message that [`Receiver::next`] gave last, if it was inflated.
    #[cfg(feature = "std")]
    pub(crate) fn again(&self) -> Option<Message<'_>> {
        match &self.protocol {
            Protocol::WebSocket(reader) => reader.again(),
            Protocol::Framed(_) => None,
        }
    }

    /// Bytes of the message under way that were received and are not in the input.
    #[must_use]
    pub fn assembled(&self) -> usize {
        match &self.protocol {
            Protocol::WebSocket(reader) => reader.assembled(),
            Protocol::Framed(reader) => reader.assembled(),
        }
    }

    /// Room for the rest of a large message that is under way, so that it is read
    /// once and never copied. Never more than a quarter of what was received already.
    pub fn direct(&mut self) -> Option<&mut [u8]> {
        match &mut self.protocol {
            Protocol::WebSocket(reader) => reader.direct(),
            Protocol::Framed(reader) => reader.direct(),
        }
    }

    /// The first `n` bytes of the room of [`Receiver::direct`] were filled.
    pub fn direct_filled(&mut self, n: usize) {
        match &mut self.protocol {
            Protocol::WebSocket(reader) => reader.direct_filled(n),
            Protocol::Framed(reader) => reader.direct_filled(n),
        }
    }

    /// On framed TCP, the start of a message in which the stream ended: what stands
    /// behind the last delimiter. Empty for WebSocket, where the missing Close tells.
    pub fn unfinished(&mut self) -> Bytes {
        match &mut self.protocol {
            Protocol::WebSocket(_) => Bytes::new(),
            Protocol::Framed(reader) => reader.unfinished(),
        }
    }
}
