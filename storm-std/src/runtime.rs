//! Threads as the services see them: a clock, a spawn, a resolver, a listener, a dialer.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

use storm_proto::Instant;
use storm_proto::service::park;
use storm_proto::service::{Address, Ends, ListenOptions, Runtime, SocketOptions};

use crate::client;
use crate::server::Listener;
use crate::transport::Transport;

/// Plain threads: one accepts, and each connection has two, one that reads and runs the
/// handler, and one that writes and keeps the deadlines.
///
/// A server on threads takes 1,024 connections if it is not told otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Std {
    stack_size: usize,
}

impl Default for Std {
    fn default() -> Std {
        Std { stack_size: 256 << 10 }
    }
}

impl Std {
    /// Sets the stack size in bytes of the threads that run handlers: 256 KiB by default, 64 KiB at
    /// least. Only what is used of a stack takes memory.
    #[must_use]
    pub const fn stack_size(bytes: usize) -> Std {
        const LEAST: usize = 64 << 10;
        Std { stack_size: if bytes < LEAST { LEAST } else { bytes } }
    }
}

impl Runtime for Std {
    type Transport = Transport;
    type Listener = Listener;
    type Wait<F: Future> = F::Output;

    const MAX_CONNECTIONS: Option<usize> = Some(1024);

    fn wait<F: Future>(future: F) -> F::Output {
        block_on(future)
    }

    fn now() -> Instant {
        storm_socket::now()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        spawn(self.stack_size, || block_on(task))
    }

    async fn sleep_until(&self, at: Instant) {
        poll_fn(|_| poll_until(at)).await;
    }

    async fn yield_now(&self) {
        thread::yield_now();
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let host = host.to_owned();
        elsewhere(move || Ok((host, port).to_socket_addrs()?.collect())).await
    }

    fn listen(&self, address: &Address, options: &ListenOptions) -> io::Result<Listener> {
        Listener::bind(address, options)
    }

    fn dial(
        &self,
        address: Address,
        options: SocketOptions,
    ) -> impl Future<Output = io::Result<(Transport, Ends)>> + Send + 'static {
        elsewhere(move || client::dial(address, &options))
    }
}

/// Runs a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    park::block_on(future, storm_socket::now)
}

/// Ready at `at`; before that, has the thread look again then.
pub(crate) fn poll_until(at: Instant) -> Poll<()> {
    if storm_socket::now() >= at {
        return Poll::Ready(());
    }
    park::wake_at(at);
    Poll::Pending
}

/// Runs `work` on a thread of its own.
pub(crate) fn spawn(stack_size: usize, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = thread::Builder::new().name("storm".into()).stack_size(stack_size);
    builder.spawn(work).map(drop)
}

/// What a thread was asked for, and who waits for it.
type Slot<T> = Arc<Mutex<(Option<io::Result<T>>, Option<Waker>)>>;

/// Makes a call that blocks on a thread of its own, so that the caller may wait for other
/// things as well, or no longer.
async fn elsewhere<T: Send + 'static>(
    call: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    const STACK: usize = 128 << 10;
    let slot: Slot<T> = Arc::default();
    let filled = slot.clone();
    spawn(STACK, move || {
        let result = call();
        let mut slot = filled.lock().unwrap_or_else(PoisonError::into_inner);
        slot.0 = Some(result);
        let waker = slot.1.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    })?;
    poll_fn(|cx| {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.0.take() {
            Some(result) => Poll::Ready(result),
            None => {
                slot.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}
