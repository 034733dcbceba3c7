//! Why a connection ended: local or remote, the cause, and what was lost.

use core::fmt;

use bytes::Bytes;

use crate::connection::slow::Loss;
use crate::error::{Error, ProtocolError};
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::close_code::CloseCode;

/// Whose doing the end of a connection was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// This application's: its close, its abort, its stop, its panic.
    Local,
    /// The peer's: its close, its fault, its silence, its network.
    Remote,
}

/// What ended a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// A close, asked for: `close()`, a Close frame, or the end of a plain stream.
    Closed,
    /// The server stopped.
    GoingAway,
    /// `abort()`: a reset without a word.
    Aborted,
    /// The stream of a WebSocket ended without a Close frame.
    Lost,
    /// The peer broke the protocol or the framing.
    ProtocolError,
    /// A frame or message over the limit.
    MessageTooBig,
    /// The network or the operating system failed; a reset by the peer is one.
    TransportError,
    /// TLS failed, or its stream was cut off; the error says how.
    TlsError,
    /// The opening took too long.
    HandshakeTimeout,
    /// The peer gave no sign of life.
    HeartbeatTimeout,
    /// No message came for too long.
    IdleTimeout,
    /// The peer did not read for too long.
    StallTimeout,
    /// The peer read too slowly, and the policy is to end its session then.
    SlowConsumer,
    /// The peer sent more than a rate limit allows.
    RateLimited,
    /// The unfinished messages of all sessions take as much memory as they may.
    ReceiveMemory,
    /// A handler, a middleware or a framer panicked, or a framer broke its contract.
    HandlerFailed,
}

impl Side {
    /// A word for logs and labels, such as `remote`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Side::Local => "local",
            Side::Remote => "remote",
        }
    }
}

impl Cause {
    /// A word for logs and labels, such as `heartbeat_timeout`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Closed => "closed",
            Cause::GoingAway => "going_away",
            Cause::Aborted => "aborted",
            Cause::Lost => "lost",
            Cause::ProtocolError => "protocol_error",
            Cause::MessageTooBig => "message_too_big",
            Cause::TransportError => "transport_error",
            Cause::TlsError => "tls_error",
            Cause::HandshakeTimeout => "handshake_timeout",
            Cause::HeartbeatTimeout => "heartbeat_timeout",
            Cause::IdleTimeout => "idle_timeout",
            Cause::StallTimeout => "stall_timeout",
            Cause::SlowConsumer => "slow_consumer",
            Cause::RateLimited => "rate_limited",
            Cause::ReceiveMemory => "receive_memory",
            Cause::HandlerFailed => "handler_failed",
        }
    }
}

/// The last word about a connection. The first reason wins: what fails while a
/// connection is already closing does not change it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DisconnectReason {
    /// Whose doing it was.
    pub side: Side,
    /// What ended it.
    pub cause: Cause,
    /// The fault behind it, if it was one.
    pub error: Option<Error>,
    /// The Close frame of the peer.
    pub received: Option<CloseFrame>,
    /// The Close frame that this side sent.
    pub sent: Option<CloseFrame>,
    /// WebSocket: both Close frames were exchanged (RFC 6455 section 7.1.4). Plain TCP:
    /// the stream ended in order and everything accepted was written.
    pub clean: bool,
    /// Bytes of payloads, as they were given to a send that accepted them, that never reached the
    /// transport.
    ///
    /// Only messages count: not Pings, Pongs, Close frames and handshakes, nor the bytes that
    /// frame headers, the framing, masks and TLS add. Of a message that was written in part, the
    /// rest counts; one that was compressed counts as a whole, with the size that it had before.
    /// What reached the transport may still be lost on its way to the peer.
    pub undelivered: usize,
    /// Messages, accepted by a send, that did not wholly reach the transport.
    pub undelivered_messages: usize,
    /// Framed TCP: the start of a message in which the peer's stream ended.
    pub unfinished: Bytes,
    /// What ended the connection before it had ended by itself.
    pub(crate) cut: Option<Cut>,
}

/// What ends a connection that does not end by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Cut {
    /// A deadline: that of the handshake, of a dead or stalled peer, or of the close.
    Deadline,
    /// An abort, or the end of the task that drives it.
    Abort,
}

/// How a connection ended: each ends in one of these ways.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Ending {
    /// See [`DisconnectReason::clean`].
    Clean,
    /// A deadline passed.
    TimedOut,
    /// It was aborted.
    Aborted,
    /// The peer vanished, something failed, or a rule was broken.
    Failed,
}

impl DisconnectReason {
    pub(crate) fn new(side: Side, cause: Cause) -> DisconnectReason {
        DisconnectReason {
            side,
            cause,
            error: None,
            received: None,
            sent: None,
            clean: false,
            undelivered: 0,
            undelivered_messages: 0,
            unfinished: Bytes::new(),
            cut: None,
        }
    }

    pub(crate) fn fault(side: Side, cause: Cause, error: Error) -> DisconnectReason {
        DisconnectReason { error: Some(error), ..DisconnectReason::new(side, cause) }
    }

    /// Returns true if a deadline ended the connection: the peer gave no sign of life, read
    /// nothing, or did not finish the handshake, or the closing handshake, in time. False if the
    /// connection ended cleanly all the same.
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        self.ending() == Ending::TimedOut
    }

    /// Returns true if the connection was aborted, by this application or at the end of a stop,
    /// possibly while it was closing. False if it had ended cleanly before that.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        self.ending() == Ending::Aborted
    }

    pub(crate) fn ending(&self) -> Ending {
        match self.cut {
            _ if self.clean => Ending::Clean,
            Some(Cut::Deadline) => Ending::TimedOut,
            Some(Cut::Abort) => Ending::Aborted,
            None => Ending::Failed,
        }
    }

    pub(crate) fn add_undelivered(&mut self, lost: Loss) {
        self.undelivered += lost.bytes as usize;
        self.undelivered_messages += lost.messages as usize;
    }

    /// The code that RFC 6455 section 7.1.5 defines: that of the peer's Close frame, 1005
    /// if it had none, 1006 if no Close frame came.
    #[must_use]
    pub fn code(&self) -> CloseCode {
        self.received.as_ref().map_or(CloseCode::ABNORMAL, CloseFrame::code)
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Local => "this side",
            Side::Remote => "the peer",
        };
        match self.cause {
            Cause::Closed => write!(f, "closed by {side}")?,
            Cause::GoingAway => f.write_str("the server stopped")?,
            Cause::Aborted => f.write_str("aborted")?,
            Cause::Lost => f.write_str("the stream ended without a close frame")?,
            _ => match &self.error {
                Some(error) => error.fmt(f)?,
                None => write!(f, "{:?}", self.cause)?,
            },
        }
        match &self.received {
            Some(frame) if frame.code().is_sendable() => write!(f, " (code {})", frame.code()),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for DisconnectReason {}

/// The cause that a broken rule stands for.
pub(crate) fn cause_of(error: &ProtocolError) -> Cause {
    match error {
        ProtocolError::FrameTooLarge { .. } | ProtocolError::MessageTooLarge { .. } => {
            Cause::MessageTooBig
        }
        ProtocolError::ReceiveMemory { .. } => Cause::ReceiveMemory,
        ProtocolError::Framing(error) if error.is_of_framer() => Cause::HandlerFailed,
        _ => Cause::ProtocolError,
    }
}
