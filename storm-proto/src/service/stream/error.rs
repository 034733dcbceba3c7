//! Why a message did not go through a stream, and why there is no stream at all.

use core::fmt;
use std::sync::Arc;

use crate::connection::reason::{Cause, DisconnectReason};
use crate::error::{OptionError, SendError};
use crate::websocket::handshake::{AcceptError, HandshakeError};

/// What a [`MessageStream`](super::MessageStream) gives in place of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StreamError {
    /// Local: the message was not accepted, nothing of it is queued.
    Send(SendError),
    /// The connection is over. Reading tells a fault only: the peer's, the transport's, a
    /// deadline's, or the end of the stream without a Close frame. Writing tells any end.
    Ended(Arc<DisconnectReason>),
}

impl StreamError {
    /// Why the connection is over, if it is.
    #[must_use]
    pub fn reason(&self) -> Option<&DisconnectReason> {
        match self {
            StreamError::Send(_) => None,
            StreamError::Ended(reason) => Some(reason),
        }
    }
}

/// True if the end is not one that either side asked for.
pub(super) fn is_fault(reason: &DisconnectReason) -> bool {
    reason.error.is_some() || reason.cause == Cause::Lost
}

impl From<SendError> for StreamError {
    fn from(error: SendError) -> StreamError {
        StreamError::Send(error)
    }
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamError::Send(error) => error.fmt(f),
            StreamError::Ended(reason) => reason.fmt(f),
        }
    }
}

impl core::error::Error for StreamError {}

/// Why an opening handshake gave no [`MessageStream`](super::MessageStream). The caller's
/// stream is closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// Accepting: the request broke a rule or was refused, and was answered with this status.
    Refused(u16),
    /// Accepting, local: the decision could not be sent; the client got a 500.
    Answer(AcceptError),
    /// Connecting: the server refused or does not speak WebSocket; or, local, what was to be
    /// sent cannot be.
    Handshake(HandshakeError),
    /// Local: an option has no sense, such as a limit of zero. Nothing was read or written.
    Option(OptionError),
    /// The stream ended or failed, or the handshake's deadline passed.
    Ended(Arc<DisconnectReason>),
}

impl OpenError {
    /// The HTTP status, if one was answered in place of a 101.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            OpenError::Refused(status) => Some(*status),
            OpenError::Answer(_) => Some(500),
            OpenError::Handshake(error) => error.status(),
            OpenError::Ended(_) | OpenError::Option(_) => None,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Refused(status) => write!(f, "the request was answered with {status}"),
            OpenError::Answer(error) => write!(f, "the answer could not be sent: {error}"),
            OpenError::Handshake(error) => error.fmt(f),
            OpenError::Option(error) => error.fmt(f),
            OpenError::Ended(reason) => write!(f, "not opened: {reason}"),
        }
    }
}

impl core::error::Error for OpenError {}
