//! WebSockets over streams of the caller's.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::Arc;
use std::task::{Context, Poll};

use storm_proto::Instant;
use storm_proto::service::{Carrier, MessageStream, Transport};

use crate::runtime::block_on;
use crate::timer::Timer;
use crate::{
    DisconnectReason, IntoDecision, Message, Offer, OpenError, Options, OwnedMessage, Request,
    Role, StreamError, Uri,
};

/// A WebSocket over any stream that blocks, such as one with TLS or a pipe; see
/// [`MessageStream`], of which it has all but the futures.
///
/// Everything happens on the caller's thread: pings are answered and deadlines looked at
/// while it is in a call. A read that waits is in nobody's power; give the stream a read
/// timeout, of seconds, for heartbeats and deadlines to be kept meanwhile. Two sides that
/// both send much without reading would wait for each other: that is what
/// [`Client`](crate::Client) and [`Server`](crate::Server) have two threads for.
///
/// It is an iterator over messages, and ends when the connection is over.
///
/// ```no_run
/// # fn serve(stream: std::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// use storm_std::{Options, WebSocketStream};
///
/// let mut echo = WebSocketStream::accept(stream, Options::default())?;
/// while let Some(message) = echo.next() {
///     echo.send(&message?)?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WebSocketStream<S: Read + Write + Unpin + Send + 'static>(MessageStream<Carried<S>>);

impl<S: Read + Write + Unpin + Send + 'static> WebSocketStream<S> {
    /// Goes through a server's opening handshake; see [`MessageStream::accept`].
    ///
    /// # Errors
    /// As [`MessageStream::accept`].
    pub fn accept(stream: S, options: impl Into<Arc<Options>>) -> Result<Self, OpenError> {
        block_on(MessageStream::accept(stream, options)).map(Self)
    }

    /// As [`WebSocketStream::accept`], with a decision on the request.
    ///
    /// # Errors
    /// As [`MessageStream::accept_with`].
    pub fn accept_with<D: IntoDecision>(
        stream: S,
        options: impl Into<Arc<Options>>,
        decide: impl FnOnce(&Request) -> D,
    ) -> Result<Self, OpenError> {
        block_on(MessageStream::accept_with(stream, options, decide)).map(Self)
    }

    /// Goes through a client's opening handshake; see [`MessageStream::connect`].
    ///
    /// # Errors
    /// As [`MessageStream::connect`].
    pub fn connect(
        stream: S,
        uri: &Uri,
        offer: &Offer,
        options: impl Into<Arc<Options>>,
    ) -> Result<Self, OpenError> {
        block_on(MessageStream::connect(stream, uri, offer, options)).map(Self)
    }

    /// A WebSocket whose opening handshake somebody else did; see
    /// [`MessageStream::from_upgraded`].
    pub fn from_upgraded(
        stream: S,
        role: Role,
        options: impl Into<Arc<Options>>,
        leftover: &[u8],
    ) -> Self {
        WebSocketStream(MessageStream::from_upgraded(stream, role, options, leftover))
    }

    /// Queues a message and writes what the stream takes; blocks while there is no room.
    ///
    /// # Errors
    /// As [`MessageStream::send`].
    pub fn send<'a>(&mut self, message: impl Into<Message<'a>>) -> Result<(), StreamError> {
        block_on(self.0.send(message))
    }

    /// Blocks until all that was sent is written.
    ///
    /// # Errors
    /// As [`MessageStream::flush`].
    pub fn flush(&mut self) -> Result<(), StreamError> {
        block_on(self.0.flush())
    }

    /// Closes in order and blocks until that is done; see [`MessageStream::close`].
    ///
    /// # Errors
    /// As [`MessageStream::close`].
    pub fn close(&mut self) -> Result<(), StreamError> {
        block_on(self.0.close())
    }

    /// Why it ended; `None` while it is not over.
    #[must_use]
    pub fn reason(&self) -> Option<&DisconnectReason> {
        self.0.reason()
    }

    /// The rest of what can be known and done without waiting.
    #[must_use]
    pub fn get_ref(&self) -> &MessageStream<Carried<S>> {
        &self.0
    }
}

impl<S: Read + Write + Unpin + Send + 'static> Iterator for WebSocketStream<S> {
    type Item = Result<OwnedMessage, StreamError>;

    /// Blocks until a message comes; `None` once the connection is over.
    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.0.next())
    }
}

/// A stream of the caller's and a timer.
#[derive(Debug)]
pub struct Carried<S> {
    stream: S,
    timer: Timer,
    /// Our direction has ended. Nothing is known of the stream that could end one direction
    /// only, so the other is over with it.
    ended: bool,
}

impl<S: Read + Write + Unpin + Send + 'static> Transport for Carried<S> {
    const BLOCKS: bool = true;

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        poll(cx, || self.stream.read(buffer))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A stream without vectored writes takes the first chunk.
        poll(cx, || self.stream.write_vectored(chunks))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended = true;
        self.poll_flush(cx)
    }

    fn arm(&mut self, at: Instant) {
        self.timer.arm(at);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(cx)
    }

    /// Of the stream nothing is known that could be reset: its peer sees the end.
    fn yield_now(&mut self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    fn reset(&mut self) {}
}

impl<S: Read + Write + Unpin + Send + 'static> Carrier for Carried<S> {
    type Stream = S;

    fn carry(stream: S) -> Carried<S> {
        Carried { stream, timer: Timer::default(), ended: false }
    }

    fn stream(&self) -> &S {
        &self.stream
    }

    fn now() -> Instant {
        storm_socket::now()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll(cx, || self.stream.flush())
    }
}

/// Makes a call that blocks. Where it had to give up for now, it is to be made again after a
/// look at everything else.
pub(crate) fn poll<T>(
    cx: &mut Context<'_>,
    mut call: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        match call().map_err(|error| (error.kind(), error)) {
            Err((ErrorKind::Interrupted, _)) => {}
            Err((ErrorKind::WouldBlock | ErrorKind::TimedOut, _)) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            called => return Poll::Ready(called.map_err(|(_, error)| error)),
        }
    }
}
