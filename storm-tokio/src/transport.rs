//! A stream and a timer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use storm_proto::Instant;
use storm_proto::service::Transport as TransportApi;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::runtime;
use crate::timer::Timer;

/// A connected stream.
#[derive(Debug)]
pub struct Transport {
    stream: Stream,
    /// The next read asks the socket, and the next write: tokio answers from what its driver has
    /// seen, and gives up on a task that has done much at once.
    asks: [bool; 2],
    timer: Timer,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Transport {
        Transport { stream: Stream::Tcp(stream), asks: [false; 2], timer: Timer::default() }
    }
}

#[cfg(unix)]
impl From<UnixStream> for Transport {
    fn from(stream: UnixStream) -> Transport {
        Transport { stream: Stream::Unix(stream), asks: [false; 2], timer: Timer::default() }
    }
}

impl Stream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => storm_socket::read(stream, buffer),
            #[cfg(unix)]
            Stream::Unix(stream) => storm_socket::read(stream, buffer),
        }
    }

    fn write(&self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => storm_socket::write(stream, chunks),
            #[cfg(unix)]
            Stream::Unix(stream) => storm_socket::write(stream, chunks),
        }
    }
}

/// Asks as long as the socket has an answer; then the stream is to be waited for again.
fn asked<T>(asks: &mut bool, mut ask: impl FnMut() -> io::Result<T>) -> Option<io::Result<T>> {
    while *asks {
        match ask() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => *asks = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return Some(answer),
        }
    }
    None
}

impl TransportApi for Transport {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Some(read) = asked(&mut self.asks[0], || self.stream.read(buffer)) {
            return Poll::Ready(read);
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        })?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = asked(&mut self.asks[1], || self.stream.write(chunks)) {
            return Poll::Ready(written);
        }
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, chunks),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, chunks),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn arm(&mut self, at: Instant) {
        self.timer.arm(at);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(cx)
    }

    fn poll_refresh(&mut self, _: &mut Context<'_>) -> Poll<()> {
        self.asks = [true; 2];
        Poll::Ready(())
    }

    fn reset(&mut self) {
        match &self.stream {
            Stream::Tcp(stream) => storm_socket::reset_on_close(stream),
            // A Unix socket knows no reset: its peer sees the end.
            #[cfg(unix)]
            Stream::Unix(_) => {}
        }
    }

    fn yield_now(&mut self, cx: &mut Context<'_>) {
        runtime::yield_now(cx);
    }
}
