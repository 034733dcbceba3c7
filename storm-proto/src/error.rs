//! What can go wrong, sorted by whose fault it is.
//!
//! A fault of the peer, of the transport or of the clock never comes back as
//! `Err` from an input: it ends the connection, and the error stands in the
//! [`DisconnectReason`](crate::DisconnectReason). `Err` is for the local caller's
//! own misuse ([`SendError`], [`CloseError`]).

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::error::Error as StdError;
use core::fmt;

use crate::Timer;
use crate::framing::FramingError;
use crate::websocket::frame::close_code::CloseCode;
use crate::websocket::handshake::AcceptError;

/// An error with its blame.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// This side's own fault: the application or the library.
    Local(LocalError),
    /// The peer broke the protocol.
    Peer(ProtocolError),
    /// The operating system or the network failed.
    Transport(TransportError),
    /// A deadline passed.
    Timer(Timer),
    /// The peer read more slowly than this side sent, and
    /// [`SlowConsumer::Disconnect`](crate::SlowConsumer::Disconnect) ends such connections.
    SlowConsumer,
    /// The peer sent more than a rate limit of the application allows.
    RateLimited,
    /// TLS failed; its kind says whose fault that is.
    #[cfg(feature = "tls")]
    Tls(crate::tls::TlsError),
}

impl Error {
    /// True if the peer or the network only went away: what port scans and health checks look
    /// like that never send a request.
    pub(crate) fn is_departure(&self) -> bool {
        use TransportErrorKind::{BrokenPipe, Reset};
        matches!(self, Error::Transport(error) if matches!(error.kind, Reset | BrokenPipe))
    }

    /// The code for the Close frame that ends the connection; `None` where none can
    /// be sent (RFC 6455 section 7.4.1). The one place that maps faults to codes.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Error::Local(LocalError::ReceiveMemory { .. }) => Some(CloseCode::TRY_AGAIN_LATER),
            Error::Local(_) => Some(CloseCode::INTERNAL_ERROR),
            Error::Peer(error) => Some(error.close_code()),
            Error::Transport(_) => None,
            Error::RateLimited => Some(CloseCode::POLICY_VIOLATION),
            Error::Timer(Timer::Idle) => Some(CloseCode::NORMAL),
            // It would not be read.
            Error::Timer(_) | Error::SlowConsumer => None,
            #[cfg(feature = "tls")]
            Error::Tls(_) => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Local(error) => error.fmt(f),
            Error::Peer(error) => write!(f, "the peer broke the protocol: {error}"),
            Error::Transport(error) => error.fmt(f),
            Error::Timer(timer) => write!(f, "the {timer} deadline passed"),
            Error::SlowConsumer => f.write_str("the peer reads too slowly"),
            Error::RateLimited => f.write_str("the peer sends more than the rate limit allows"),
            #[cfg(feature = "tls")]
            Error::Tls(error) => error.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Local(LocalError::Handler(error)) => Some(error.get_ref()),
            _ => None,
        }
    }
}

/// A fault of this side, other than a refused call.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LocalError {
    /// A handler or a middleware panicked; the session is closed with 1011, others go on.
    HandlerPanicked,
    /// What `on_connecting` decided could not be sent; the client got a 500.
    Answer(AcceptError),
    /// The framer of a plain TCP session panicked or broke its contract; the session ends.
    Framer(FramingError),
    /// A closure of the application returned an error; the session stays open.
    Handler(HandlerError),
    /// The unfinished messages of all sessions take as much memory as
    /// [`Server::max_receive_memory`](crate::service::Server::max_receive_memory) allows; the
    /// session whose message needed more is closed with 1013.
    ReceiveMemory {
        /// The configured limit in bytes.
        limit: usize,
    },
}

impl fmt::Display for LocalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LocalError::HandlerPanicked => f.write_str("a handler panicked"),
            LocalError::Answer(error) => write!(f, "the answer could not be sent: {error}"),
            LocalError::Framer(error) => error.fmt(f),
            LocalError::Handler(error) => write!(f, "a handler failed: {error}"),
            LocalError::ReceiveMemory { limit } => {
                write!(f, "unfinished messages of all sessions take the {limit} bytes they may")
            }
        }
    }
}

/// An error that a closure of the application returned.
///
/// Two are equal if they are clones of one.
#[derive(Clone)]
pub struct HandlerError(Arc<dyn StdError + Send + Sync>);

impl HandlerError {
    /// Keeps an error, or a text as one.
    pub fn new(error: impl Into<Box<dyn StdError + Send + Sync>>) -> HandlerError {
        HandlerError(Arc::from(error.into()))
    }

    /// The error that was returned. `downcast_ref` finds its type.
    #[must_use]
    pub fn get_ref(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.0
    }
}

impl PartialEq for HandlerError {
    fn eq(&self, other: &HandlerError) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for HandlerError {}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A rule that the peer broke after the connection was open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set and no extension gives it a meaning (RFC 6455 section 5.2).
    ReservedBits,
    /// An opcode that is not defined (section 5.2).
    ReservedOpcode(u8),
    /// A control frame without FIN (section 5.4).
    FragmentedControl,
    /// A control frame with more than 125 bytes (section 5.5).
    ControlTooLong,
    /// A client frame without a mask (section 5.1).
    Unmasked,
    /// A server frame with a mask (section 5.1).
    Masked,
    /// A length in a longer form than needed (section 5.2).
    LengthNotMinimal,
    /// A 64-bit length with its top bit set (section 5.2).
    LengthOverflow,
    /// A frame over the limit, refused at its header.
    FrameTooLarge {
        /// The announced length in bytes.
        len: u64,
        /// The configured limit in bytes.
        limit: usize,
    },
    /// A message over the limit, fragments added up.
    MessageTooLarge {
        /// The configured limit in bytes.
        limit: usize,
    },
    /// A message in more fragments than the limit allows.
    TooManyFragments {
        /// The configured limit.
        limit: u32,
    },
    /// A continuation frame with nothing to continue (section 5.4).
    UnexpectedContinuation,
    /// A new message before the last one was finished (section 5.4).
    InterleavedMessage,
    /// A text message that is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// A compressed message that cannot be inflated (RFC 7692 section 7.2.2).
    InvalidDeflate,
    /// A compressed message in which more final blocks than the limit stand before its end.
    TooManyFinalBlocks {
        /// The limit.
        limit: u8,
    },
    /// A Close frame with a body of one byte (section 5.5.1).
    TruncatedClose,
    /// A Close frame with a code that may not be sent (section 7.4).
    InvalidCloseCode(u16),
    /// A Close frame whose reason is not UTF-8 (section 5.5.1).
    InvalidCloseReason,
    /// A framed TCP stream that breaks its framing.
    Framing(FramingError),
    /// The unfinished messages of all sessions take as much memory as they may together. No
    /// fault of this peer: the reason of the end has [`LocalError::ReceiveMemory`] instead.
    ReceiveMemory {
        /// The configured limit in bytes.
        limit: usize,
    },
}

impl ProtocolError {
    pub(crate) fn close_code(&self) -> CloseCode {
        match self {
            ProtocolError::FrameTooLarge { .. } | ProtocolError::MessageTooLarge { .. } => {
                CloseCode::TOO_BIG
            }
            ProtocolError::TooManyFragments { .. } | ProtocolError::TooManyFinalBlocks { .. } => {
                CloseCode::POLICY_VIOLATION
            }
            ProtocolError::InvalidUtf8
            | ProtocolError::InvalidDeflate
            | ProtocolError::InvalidCloseReason => CloseCode::INVALID_DATA,
            ProtocolError::ReceiveMemory { .. } => CloseCode::TRY_AGAIN_LATER,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProtocolError::ReservedBits => f.write_str("reserved bits are set"),
            ProtocolError::ReservedOpcode(code) => write!(f, "opcode {code:#x} is reserved"),
            ProtocolError::FragmentedControl => f.write_str("a control frame is fragmented"),
            ProtocolError::ControlTooLong => {
                f.write_str("a control frame is longer than 125 bytes")
            }
            ProtocolError::Unmasked => f.write_str("a client frame is not masked"),
            ProtocolError::Masked => f.write_str("a server frame is masked"),
            ProtocolError::LengthNotMinimal => f.write_str("a length is not in its shortest form"),
            ProtocolError::LengthOverflow => f.write_str("a length has its top bit set"),
            ProtocolError::FrameTooLarge { len, limit } => {
                write!(f, "a frame of {len} bytes is over the limit of {limit}")
            }
            ProtocolError::MessageTooLarge { limit } => {
                write!(f, "a message is over the limit of {limit} bytes")
            }
            ProtocolError::TooManyFragments { limit } => {
                write!(f, "a message has more than {limit} fragments")
            }
            ProtocolError::UnexpectedContinuation => f.write_str("nothing to continue"),
            ProtocolError::InterleavedMessage => f.write_str("the last message is not finished"),
            ProtocolError::InvalidUtf8 => f.write_str("text is not utf-8"),
            ProtocolError::InvalidDeflate => f.write_str("a compressed message is corrupt"),
            ProtocolError::TooManyFinalBlocks { limit } => {
                write!(f, "a compressed message goes on behind more than {limit} final blocks")
            }
            ProtocolError::TruncatedClose => f.write_str("a close body has one byte"),
            ProtocolError::InvalidCloseCode(code) => write!(f, "close code {code} is not allowed"),
            ProtocolError::InvalidCloseReason => f.write_str("a close reason is not utf-8"),
            ProtocolError::Framing(error) => error.fmt(f),
            ProtocolError::ReceiveMemory { limit } => {
                LocalError::ReceiveMemory { limit: *limit }.fmt(f)
            }
        }
    }
}

impl core::error::Error for ProtocolError {}

impl From<FramingError> for ProtocolError {
    fn from(error: FramingError) -> ProtocolError {
        ProtocolError::Framing(error)
    }
}

/// What kind of transport failure it was.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum TransportErrorKind {
    /// The peer reset the connection.
    Reset,
    /// Written to a connection that the peer had closed.
    BrokenPipe,
    /// The operating system gave up waiting for the peer.
    TimedOut,
    /// Nobody listens at the address.
    Refused,
    /// The stream ended in the middle of something.
    UnexpectedEof,
    /// The process or the system has no descriptors or memory left.
    Exhausted,
    /// Anything else; see the code.
    Other,
}

/// A failure of the operating system or the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransportError {
    kind: TransportErrorKind,
    os_code: Option<i32>,
    text: Option<Box<str>>,
}

impl TransportError {
    /// A failure with the operating system's code, if there is one.
    #[must_use]
    pub const fn new(kind: TransportErrorKind, os_code: Option<i32>) -> TransportError {
        TransportError { kind, os_code, text: None }
    }

    /// The kind of failure.
    #[must_use]
    pub const fn kind(&self) -> TransportErrorKind {
        self.kind
    }

    /// The operating system's error code.
    #[must_use]
    pub const fn os_code(&self) -> Option<i32> {
        self.os_code
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = &self.text {
            return f.write_str(text);
        }
        f.write_str(match self.kind {
            TransportErrorKind::Reset => "the peer reset the connection",
            TransportErrorKind::BrokenPipe => "the peer had closed the connection",
            TransportErrorKind::TimedOut => "the operating system gave up waiting for the peer",
            TransportErrorKind::Refused => "the connection was refused",
            TransportErrorKind::UnexpectedEof => "the stream ended unexpectedly",
            TransportErrorKind::Exhausted => "no descriptors or memory left",
            TransportErrorKind::Other => "the transport failed",
        })?;
        match self.os_code {
            Some(code) => write!(f, " (os error {code})"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for TransportError {}

#[cfg(feature = "std")]
impl From<std::io::Error> for TransportError {
    fn from(error: std::io::Error) -> TransportError {
        use std::io::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => TransportErrorKind::Reset,
            ErrorKind::BrokenPipe | ErrorKind::NotConnected => TransportErrorKind::BrokenPipe,
            ErrorKind::TimedOut => TransportErrorKind::TimedOut,
            ErrorKind::ConnectionRefused => TransportErrorKind::Refused,
            ErrorKind::UnexpectedEof => TransportErrorKind::UnexpectedEof,
            ErrorKind::OutOfMemory => TransportErrorKind::Exhausted,
            _ if matches!(error.raw_os_error(), Some(23 | 24 | 105)) => {
                TransportErrorKind::Exhausted
            }
            _ => TransportErrorKind::Other,
        };
        let text = Some(alloc::string::ToString::to_string(&error).into_boxed_str());
        TransportError { kind, os_code: error.raw_os_error(), text }
    }
}

/// Why a message was not accepted. Nothing of it was queued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closing or closed.
    Closed,
    /// A reconnecting client has no session: it has none yet, or is about to reconnect.
    NotConnected,
    /// The outbox is full: the peer reads more slowly than this side writes.
    Full,
    /// The outbox is full, and the policy is to drop the message
    /// ([`SlowConsumer`](crate::SlowConsumer)). It is counted.
    Dropped,
    /// The framing cannot carry this message.
    Framing(FramingError),
    /// The payload of a Pong has more than 125 bytes.
    ControlTooLong,
    /// Plain TCP has no Pings and Pongs.
    NoControlFrames,
}

impl SendError {
    /// A word for logs and labels, such as `full`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            SendError::Closed => "closed",
            SendError::NotConnected => "not_connected",
            SendError::Full => "full",
            SendError::Dropped => "dropped",
            SendError::Framing(_) => "unframed",
            SendError::ControlTooLong => "control_too_long",
            SendError::NoControlFrames => "no_control_frames",
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Closed => f.write_str("the session is closed"),
            SendError::NotConnected => {
                f.write_str("not connected yet: wait for `connected()`, or send in `on_connected`")
            }
            SendError::Full => f.write_str("the outbox is full: the peer reads too slowly"),
            SendError::Dropped => f.write_str("dropped: the peer reads too slowly"),
            SendError::Framing(error) => error.fmt(f),
            SendError::ControlTooLong => f.write_str("a pong has at most 125 bytes"),
            SendError::NoControlFrames => f.write_str("plain tcp has no pongs"),
        }
    }
}

impl core::error::Error for SendError {}

/// Why a server does not start or a client does not connect: an option has a value that means
/// nothing, or cannot apply to what else is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionError {
    option: &'static str,
    problem: &'static str,
}

impl OptionError {
    /// What a limit of zero would stop: everything.
    pub(crate) const ZERO: &'static str = "must not be zero";

    /// An option, by the name of the method that sets it, and what is wrong with its value.
    #[must_use]
    pub const fn new(option: &'static str, problem: &'static str) -> OptionError {
        OptionError { option, problem }
    }

    /// Refuses options that were asked for, if they are among these.
    pub(crate) fn refuse(
        used: &[&'static str],
        options: &[&'static str],
        problem: &'static str,
    ) -> Result<(), OptionError> {
        match used.iter().find(|used| options.contains(used)) {
            Some(option) => Err(OptionError::new(option, problem)),
            None => Ok(()),
        }
    }

    /// The name of the option: that of the method which sets it.
    #[must_use]
    pub const fn option(&self) -> &'static str {
        self.option
    }
}

impl fmt::Display for OptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.option, self.problem)
    }
}

impl StdError for OptionError {}

#[cfg(feature = "std")]
impl From<OptionError> for std::io::Error {
    fn from(error: OptionError) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidInput, error)
    }
}

/// Why a Close frame cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CloseError {
    /// The code may not stand in a Close frame.
    InvalidCode(u16),
    /// The reason has more than 123 bytes.
    ReasonTooLong,
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseError::InvalidCode(code) => write!(f, "close code {code} may not be sent"),
            CloseError::ReasonTooLong => f.write_str("a close reason has at most 123 bytes"),
        }
    }
}

impl core::error::Error for CloseError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn every_fault_has_the_close_code_of_rfc_6455_section_7_4_1() {
        let peer = |error| Error::Peer(error).close_code().map(CloseCode::get);
        assert_eq!(peer(ProtocolError::ReservedBits), Some(1002));
        assert_eq!(peer(ProtocolError::InvalidUtf8), Some(1007));
        assert_eq!(peer(ProtocolError::InvalidDeflate), Some(1007));
        assert_eq!(peer(ProtocolError::InvalidCloseReason), Some(1007));
        assert_eq!(peer(ProtocolError::FrameTooLarge { len: 9, limit: 8 }), Some(1009));
        assert_eq!(peer(ProtocolError::MessageTooLarge { limit: 8 }), Some(1009));
        assert_eq!(peer(ProtocolError::TooManyFragments { limit: 8 }), Some(1008));
        assert_eq!(
            Error::Local(LocalError::HandlerPanicked).close_code(),
            Some(CloseCode::INTERNAL_ERROR)
        );
        assert_eq!(Error::Timer(Timer::Stall).close_code(), None, "the peer does not read");
    }

    #[test]
    fn messages_are_lower_case_and_name_the_blame() {
        let error = Error::Peer(ProtocolError::Unmasked);
        assert_eq!(error.to_string(), "the peer broke the protocol: a client frame is not masked");
        assert_eq!(Error::Timer(Timer::Idle).to_string(), "the idle deadline passed");
    }
}
