//! A stream and a timer.

use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use storm_proto::Instant;
use storm_proto::service::Transport as TransportApi;

use crate::runtime::{block_on, spawn};
use crate::stream::poll;
use crate::timer::Timer;

/// How long a read or a write blocks before the deadlines are looked at: a peer that reads
/// nothing, or says nothing during the handshake, is noticed so much later than it could be.
const TICK: Duration = Duration::from_millis(100);

/// Stack of a thread that writes; it runs no code of the application.
const WRITER_STACK: usize = 128 << 10;

/// A handle on a connected stream.
#[derive(Debug)]
pub struct Transport {
    stream: Arc<Stream>,
    timer: Timer,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Transport {
    pub(crate) fn tcp(stream: TcpStream) -> io::Result<Transport> {
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        Ok(Transport { stream: Arc::new(Stream::Tcp(stream)), timer: Timer::default() })
    }

    #[cfg(unix)]
    pub(crate) fn unix(stream: UnixStream) -> io::Result<Transport> {
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        Ok(Transport { stream: Arc::new(Stream::Unix(stream)), timer: Timer::default() })
    }
}

impl Stream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).read(buffer),
            #[cfg(unix)]
            Stream::Unix(stream) => (&*stream).read(buffer),
        }
    }

    fn write(&self, chunks: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => (&*stream).write_vectored(chunks),
            #[cfg(unix)]
            Stream::Unix(stream) => (&*stream).write_vectored(chunks),
        }
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(how),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.shutdown(how),
        }
    }

    /// Sets how long a read blocks; without a time [`Transport::hang_up`] ends it.
    fn read_within(&self, time: Option<Duration>) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.set_read_timeout(time),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.set_read_timeout(time),
        }
    }
}

impl TransportApi for Transport {
    const BLOCKS: bool = true;

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        poll(cx, || self.stream.read(buffer))
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll(cx, || self.stream.write(chunks))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }

    fn arm(&mut self, at: Instant) {
        self.timer.arm(at);
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(cx)
    }

    fn has_input(&self) -> bool {
        match &*self.stream {
            Stream::Tcp(stream) => storm_socket::has_input(stream),
            #[cfg(unix)]
            Stream::Unix(stream) => storm_socket::has_input(stream),
        }
    }

    fn yield_now(&mut self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    fn reset(&mut self) {
        match &*self.stream {
            Stream::Tcp(stream) => storm_socket::reset_on_close(stream),
            // A Unix socket knows no reset: its peer sees the end.
            #[cfg(unix)]
            Stream::Unix(_) => {}
        }
    }

    fn split<F>(&mut self, write: impl FnOnce(Transport) -> F + Send + 'static) -> io::Result<()>
    where
        F: Future<Output = ()>,
    {
        // Elsewhere the end of the stream from one thread does not reach a read on another.
        if cfg!(unix) {
            self.stream.read_within(None)?;
        }
        let other = Transport { stream: self.stream.clone(), timer: Timer::default() };
        spawn(WRITER_STACK, || block_on(write(other)))
    }

    fn hang_up(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    fn shorten_reads(&mut self) {
        // Where it fails, the peer's FIN or a reset ends the read.
        let _ = self.stream.read_within(Some(TICK));
    }
}
