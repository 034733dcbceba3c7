//! A stream and a timer.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll, ready};

use async_io::Async;
use storm_proto::Instant;
use storm_proto::service::Transport as TransportApi;

use crate::timer::Timer;

/// A connected stream.
#[derive(Debug)]
pub struct Transport {
    stream: Stream,
    /// The last read did not fill its buffer: there is nothing to read before the stream
    /// says so, and asking for that first saves a call that would only say no.
    drained: bool,
    timer: Timer,
}

#[derive(Debug)]
enum Stream {
    Tcp(Async<TcpStream>),
    #[cfg(unix)]
    Unix(Async<UnixStream>),
}

impl From<Async<TcpStream>> for Transport {
    fn from(stream: Async<TcpStream>) -> Transport {
        Transport { stream: Stream::Tcp(stream), drained: true, timer: Timer::default() }
    }
}

#[cfg(unix)]
impl From<Async<UnixStream>> for Transport {
    fn from(stream: Async<UnixStream>) -> Transport {
        Transport { stream: Stream::Unix(stream), drained: true, timer: Timer::default() }
    }
}

impl Stream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => stream.poll_readable(cx),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.poll_readable(cx),
        }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(stream) => stream.poll_writable(cx),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.poll_writable(cx),
        }
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.get_ref().read(buffer),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.get_ref().read(buffer),
        }
    }

    fn write(&self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.get_ref().write_vectored(chunks),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.get_ref().write_vectored(chunks),
        }
    }
}

impl TransportApi for Transport {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.drained {
                ready!(self.stream.poll_readable(cx))?;
                self.drained = false;
            }
            match self.stream.read(buffer) {
                Ok(n) => {
                    self.drained = n < buffer.len();
                    return Poll::Ready(Ok(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.drained = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.write(chunks) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_writable(cx))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match &self.stream {
            Stream::Tcp(stream) => stream.get_ref().shutdown(Shutdown::Write),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.get_ref().shutdown(Shutdown::Write),
        })
    }

    fn arm(&mut self, at: Instant) {
        self.timer.arm(at);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(cx)
    }

    /// A write always asks the socket.
    fn poll_refresh(&mut self, _: &mut Context<'_>) -> Poll<()> {
        self.drained = false;
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
        self.timer.yield_now(cx);
    }
}
