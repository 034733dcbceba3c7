//! WebSockets over streams of the caller's.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use storm_proto::Instant;
use storm_proto::service::{Carrier, MessageStream, Runtime, Transport};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::runtime::{self, Tokio};
use crate::timer::Timer;

/// A WebSocket over any stream of tokio's, such as one with TLS or one that a web framework
/// has upgraded; see [`MessageStream`].
///
/// ```no_run
/// # async fn serve(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// use storm_tokio::{Options, WebSocketStream};
///
/// let mut echo = WebSocketStream::accept(stream, Options::default()).await?;
/// while let Some(message) = echo.next().await {
///     echo.send(&message?).await?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// As a client, split between two tasks by `futures_util`:
///
/// ```no_run
/// # async fn ask(stream: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// use futures_util::{SinkExt, StreamExt};
/// use storm_tokio::{Offer, Options, OwnedMessage, WebSocketStream};
///
/// let (uri, offer) = ("wss://server.example/chat".parse()?, Offer::new().header("Cookie", "a=b"));
/// let stream = WebSocketStream::connect(stream, &uri, &offer, Options::default()).await?;
/// let (mut sink, mut stream) = stream.split();
/// let sending = tokio::spawn(async move { sink.send(OwnedMessage::text("hello")).await });
/// while let Some(message) = stream.next().await {
///     println!("{:?}", message?);
/// }
/// # drop(sending);
/// # Ok(())
/// # }
/// ```
pub type WebSocketStream<S> = MessageStream<Carried<S>>;

/// A stream of the caller's and a timer.
#[derive(Debug)]
pub struct Carried<S> {
    stream: S,
    timer: Timer,
}

impl<S> Transport for Carried<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A stream without vectored writes takes the first chunk.
        Pin::new(&mut self.stream).poll_write_vectored(cx, chunks)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn arm(&mut self, at: Instant) {
        self.timer.arm(at);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(cx)
    }

    /// Of the stream nothing is known that could be reset: its peer sees the end.
    fn reset(&mut self) {}

    fn yield_now(&mut self, cx: &mut Context<'_>) {
        runtime::yield_now(cx);
    }
}

impl<S> Carrier for Carried<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = S;

    fn carry(stream: S) -> Carried<S> {
        Carried { stream, timer: Timer::default() }
    }

    fn stream(&self) -> &S {
        &self.stream
    }

    fn now() -> Instant {
        Tokio::now()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}
