//! What an adapter brings for streams of its callers.

use core::task::{Context, Poll};
use std::io;

use crate::Instant;
use crate::service::runtime::Transport;

/// A transport around a stream that the caller already has.
///
/// Unlike the transport of a [`Runtime`](super::super::Runtime), it does not know what kind of
/// stream that is: it may be encrypted, buffered, or a pipe in memory.
/// [`Transport::reset`] then does nothing, and the peer sees an orderly end.
pub trait Carrier: Transport {
    /// The caller's stream.
    type Stream;

    /// Wraps a connected stream. Touches neither the stream nor a timer.
    fn carry(stream: Self::Stream) -> Self;

    /// The stream inside.
    fn stream(&self) -> &Self::Stream;

    /// The time on the clock that [`Transport::arm`] goes by.
    fn now() -> Instant;

    /// Sends on what the stream has taken and holds back, such as a TLS record.
    ///
    /// # Errors
    /// As the stream gives them; the connection ends.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
