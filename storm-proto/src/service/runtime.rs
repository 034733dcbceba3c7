//! What a runtime has to bring: a transport, a listener, a dialer, a spawn, a clock.

use core::fmt;
use core::future::Future;
use core::net::SocketAddr;
use core::task::{Context, Poll};
use core::time::Duration;
use std::boxed::Box;
use std::io::{self, IoSlice};
use std::vec::Vec;

use super::options::{ListenOptions, SocketOptions};
use crate::Instant;

/// A connected byte stream with a timer beside it.
///
/// Polled by one task. `Pending` means that the waker is registered.
pub trait Transport: Send + Unpin + 'static {
    /// Reads and writes block the thread that makes them: a connection then gets a thread for
    /// each direction.
    const BLOCKS: bool = false;

    /// Reads into `buffer`; 0 is the end of the stream.
    ///
    /// # Errors
    /// As the operating system gives them; the connection ends.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes some of `chunks`, which are not empty.
    ///
    /// # Errors
    /// As the operating system gives them; the connection ends.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;

    /// True while bytes that [`Transport::poll_write`] was shown and has not accepted must come
    /// again, as they are and first of all: some of them may be on their way.
    fn is_committed(&self) -> bool {
        false
    }

    /// Sends what the transport itself has to say beside what it is given to write. Called in
    /// each turn of a handle that writes where calls block; elsewhere a read does it.
    ///
    /// # Errors
    /// As the operating system gives them; the connection ends.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = cx;
        Poll::Ready(Ok(()))
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// As the operating system gives them; the connection ends.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Arms the one timer of this connection, in place of what it was armed for.
    fn arm(&mut self, at: Instant);

    /// Ready once the time that was armed has come. Only called while armed.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Makes the next attempts to read and to write ask the operating system, whatever the
    /// runtime knows of readiness. Called when a deadline has passed, before it is judged: this
    /// side may have been suspended meanwhile, and what had arrived in time counts, also if the
    /// runtime has not reported it yet. The default is for transports that always ask.
    ///
    /// `Pending` postpones the judgement until the waker is woken.
    fn poll_refresh(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Returns true if bytes are known to wait for a read. Does not block. Called only where calls
    /// block, on the handle that writes.
    fn has_input(&self) -> bool {
        false
    }

    /// Makes the drop of this transport a reset instead of an orderly end.
    fn reset(&mut self);

    /// Wakes the task of `cx` after the runtime has looked for IO and run the other tasks that
    /// are ready. Called when a connection has used up its turn, right before its task returns
    /// `Pending`. It may make the timer of this connection fire early, and never late.
    ///
    /// `cx.waker().wake_by_ref()` does where calls block, and where an executor appends woken
    /// tasks to its queue and looks for IO at least every few tasks. Elsewhere a peer that sends
    /// without pause would keep a worker: see "Yielding" in `docs/write-an-adapter.md`.
    fn yield_now(&mut self, cx: &mut Context<'_>);

    /// Runs `write` on a thread of its own, with a second handle on this stream. From now on
    /// this handle only reads, and that one only writes. Asked only where calls block.
    ///
    /// # Errors
    /// If there is no thread for it; `write` is not called then.
    fn split<F>(&mut self, write: impl FnOnce(Self) -> F + Send + 'static) -> io::Result<()>
    where
        F: Future<Output = ()>,
        Self: Sized,
    {
        let _ = write;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends a read that blocks on the other handle.
    fn hang_up(&mut self) {}

    /// Makes later reads on this handle return `Pending` after a short time, with the waker
    /// woken: the other handle may be gone, and with it the timer. Called only where calls
    /// block, and only after [`Transport::split`], which may have let reads block for longer.
    fn shorten_reads(&mut self) {}
}

/// A listening socket.
pub trait Listener: Send + 'static {
    /// What it accepts.
    type Transport: Transport;

    /// The next connection, with the addresses of the peer and of this end.
    ///
    /// # Errors
    /// As the operating system gives them. The listener stays usable; the caller waits a
    /// little if the fault is its own (no descriptors).
    #[allow(clippy::type_complexity)]
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Transport, Ends)>>;

    /// Where it listens: tells the port that the system chose for port 0.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn local_address(&self) -> io::Result<Address>;
}

/// Everything that the services need of a runtime.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Its connected stream.
    type Transport: Transport;
    /// Its listening socket.
    type Listener: Listener<Transport = Self::Transport>;
    /// What a call that waits returns: on an asynchronous runtime the future itself, on a
    /// blocking one what comes of it.
    type Wait<F: Future>;

    /// How many connections a server takes if it is not told.
    const MAX_CONNECTIONS: Option<usize> = None;

    /// Waits for a future in the way of this runtime.
    fn wait<F: Future>(future: F) -> Self::Wait<F>;

    /// The time on a clock that never runs backwards. All parts of a process share its epoch.
    fn now() -> Instant;

    /// Returns this runtime, tied to the context of the call if it needs one. Servers and
    /// clients ask for it first, and use what it returns from then on.
    ///
    /// # Errors
    /// If it needs a context and there is none here.
    fn in_context(&self) -> io::Result<Self> {
        Ok(self.clone())
    }

    /// Runs `task` to its end, in parallel to the caller.
    ///
    /// # Errors
    /// If there is no place for it: no thread, on a runtime of threads. The task is dropped.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()>;

    /// Waits until `at`.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send;

    /// Lets the runtime look for IO and run the other tasks that are ready.
    ///
    /// The default sleeps for a microsecond. A runtime that rounds sleeps up to more has a yield
    /// of its own: a task that yields often makes no progress otherwise.
    fn yield_now(&self) -> impl Future<Output = ()> + Send {
        self.sleep_until(Self::now() + Duration::from_micros(1))
    }

    /// Looks a host name up.
    ///
    /// # Errors
    /// If it is not found.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// Listens at an address.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn listen(&self, address: &Address, options: &ListenOptions) -> io::Result<Self::Listener>;

    /// Connects to one address.
    ///
    /// # Errors
    /// As the operating system gives them.
    fn dial(
        &self,
        address: Address,
        options: SocketOptions,
    ) -> impl Future<Output = io::Result<(Self::Transport, Ends)>> + Send + 'static;
}

/// The two ends of a connection.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs)]
pub struct Ends {
    /// The other end.
    pub peer: Address,
    /// This end.
    pub local: Address,
}

/// Where a socket is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port. On a dual-stack listener an IPv4 peer shows as
    /// `::ffff:a.b.c.d`.
    Ip(SocketAddr),
    /// The path of a Unix socket; none for a peer that is not bound.
    Unix(Option<Box<str>>),
}

impl Address {
    /// The IP address and port.
    #[must_use]
    pub const fn ip(&self) -> Option<SocketAddr> {
        match self {
            Address::Ip(address) => Some(*address),
            Address::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Address {
        Address::Ip(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.as_deref().unwrap_or_default()),
        }
    }
}
