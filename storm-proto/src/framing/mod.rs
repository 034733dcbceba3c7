//! Messages on a plain TCP stream: where one ends and the next begins.
//!
//! A [`Framer`] only finds boundaries. Buffering, limits on memory and the resumable
//! scan are the reader's business, so a framer is stateless and one value serves
//! all connections. Three come with the crate: [`Raw`] (no borders: chunks as
//! they arrive), [`LengthPrefix`] and [`Delimiter`].

mod delimiter;
mod length_prefix;
mod raw;
pub(crate) mod reader;

pub use delimiter::Delimiter;
pub use length_prefix::LengthPrefix;
pub use raw::Raw;

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::error::OptionError;

/// What one message of a framer without a limit of its own may take.
pub(crate) const DEFAULT_MAX_MESSAGE: usize = 16 << 20;

/// What may stand around a message, and how far a framer may look beyond its end.
pub(crate) const MAX_AROUND: usize = 64 << 10;

/// Finds messages in a stream of bytes, and wraps messages for it.
///
/// ```
/// use storm_proto::framing::{Decoded, Framer, FramingError};
///
/// /// One byte of length, then the payload.
/// #[derive(Debug)]
/// struct Short;
///
/// impl Framer for Short {
///     fn decode(&self, buffered: &[u8], _: &mut usize) -> Result<Decoded, FramingError> {
///         let Some(&len) = buffered.first() else { return Ok(Decoded::More { at_least: 1 }) };
///         let end = 1 + usize::from(len);
///         match end.checked_sub(buffered.len()) {
///             None | Some(0) => Ok(Decoded::Message { payload: 1..end, consumed: end }),
///             Some(missing) => Ok(Decoded::More { at_least: missing }),
///         }
///     }
///
///     fn encode_head(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError> {
///         let len = payload.len().try_into().map_err(|_| FramingError::TooLong { limit: 255 })?;
///         out.push(len);
///         Ok(())
///     }
/// }
/// ```
pub trait Framer: fmt::Debug + Send + Sync + 'static {
    /// Finds the first whole message in `buffered`, which starts at a boundary.
    ///
    /// The answer must depend on the bytes only, not on how many calls brought them. It may need
    /// bytes behind the message, such as the start code of the next one: these are not consumed,
    /// and `buffered` of the next call starts with them.
    ///
    /// `scanned` is 0 for a new message. A framer that has to search may store how
    /// far it got; it finds the number again when it is called with the same bytes
    /// and more behind them, so that no byte is searched twice.
    ///
    /// # Errors
    /// If the bytes cannot be the start of a message or of one within the limit.
    /// The connection ends.
    ///
    /// # Panics
    /// A panic, or an answer that is impossible, ends the connection as this side's fault
    /// ([`LocalError::Framer`](crate::LocalError::Framer)), and the framer is not asked for it
    /// again. Without the feature `std` a panic passes to the caller of the connection, which is
    /// not to be used afterwards.
    fn decode(&self, buffered: &[u8], scanned: &mut usize) -> Result<Decoded, FramingError>;

    /// Appends what stands before `payload` on the wire. `out` holds nothing of other messages.
    ///
    /// # Errors
    /// If this payload cannot be framed. The send fails and nothing of it is queued.
    ///
    /// # Panics
    /// A panic ends the connection as one of [`Framer::decode`] does, also one of
    /// [`Framer::encode_tail`]. Nothing of the message is queued; those before it are written.
    /// Both run under the lock of the session, which they must not use.
    fn encode_head(&self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError>;

    /// The longest message in bytes that this framing lets through, if it has a limit: a server
    /// has memory for several of them ([`Server::max_receive_memory`]). `None` by default, which
    /// means 16 MiB. A message for which [`Framer::decode`] needs to see 64 KiB more than that is
    /// [`FramingError::TooLong`].
    ///
    /// [`Server::max_receive_memory`]: crate::service::Server::max_receive_memory
    fn max_message(&self) -> Option<usize> {
        None
    }

    /// Appends what stands behind `payload` on the wire; nothing by default. If `out` is shorter
    /// afterwards, the send fails with [`FramingError::BrokenContract`] and queues nothing.
    fn encode_tail(&self, payload: &[u8], out: &mut Vec<u8>) {
        let _ = (payload, out);
    }

    /// Checks the settings of the framer, before a server starts or a client connects with it.
    ///
    /// # Errors
    /// If no message could be framed with them.
    fn check_options(&self) -> Result<(), OptionError> {
        Ok(())
    }
}

/// What [`Framer::decode`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decoded {
    /// A whole message. `consumed` is not 0 and covers `payload`.
    Message {
        /// Where the payload stands in the buffered bytes.
        payload: Range<usize>,
        /// How many bytes the message takes with all around it.
        consumed: usize,
    },
    /// Not yet a message: at least so many bytes are missing (1 if unknown).
    More {
        /// The number of bytes, not 0.
        at_least: usize,
    },
}

/// Why bytes are no message, or a message cannot become bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FramingError {
    /// The message is over the limit of the framing.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The payload contains the delimiter: the peer would see two messages.
    ContainsDelimiter,
    /// A rule of an application's own framer was broken.
    Custom(&'static str),
    /// The framer gave an impossible answer: a fault of this side.
    BrokenContract(&'static str),
    /// The framer panicked: a fault of this side.
    Panicked,
}

impl FramingError {
    /// Returns true if the framer itself failed, and not what it was given.
    pub(crate) const fn is_of_framer(&self) -> bool {
        matches!(self, FramingError::BrokenContract(_) | FramingError::Panicked)
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FramingError::TooLong { limit } => {
                write!(f, "a message is over the limit of {limit} bytes")
            }
            FramingError::ContainsDelimiter => f.write_str("the payload contains the delimiter"),
            FramingError::Custom(rule) => f.write_str(rule),
            FramingError::BrokenContract(rule) => {
                write!(f, "the framer broke its contract: {rule}")
            }
            FramingError::Panicked => f.write_str("the framer panicked"),
        }
    }
}

impl core::error::Error for FramingError {}
