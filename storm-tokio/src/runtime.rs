//! tokio as the services see it: a clock, a spawn, a resolver, a listener, a dialer.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Context;
use std::time::Duration;

use storm_proto::Instant;
use storm_proto::service::{Address, Ends, ListenOptions, Runtime, SocketOptions};
use tokio::runtime::Handle;

use crate::client;
use crate::server::Listener;
use crate::transport::Transport;

/// The tokio runtime that a call is made in, with IO and time enabled.
///
/// Starting a server and connecting a client must happen inside of one, and fail elsewhere.
/// What they return can be used from anywhere: it keeps a handle on that runtime.
#[derive(Clone, Debug, Default)]
pub struct Tokio(Option<Handle>);

impl Tokio {
    fn handle(&self) -> io::Result<Handle> {
        match &self.0 {
            Some(handle) => Ok(handle.clone()),
            None => Handle::try_current().map_err(|_| io::Error::other(NO_RUNTIME)),
        }
    }
}

const NO_RUNTIME: &str =
    "no tokio runtime here: call this inside of `Runtime::block_on`, `#[tokio::main]` or a task";

impl Runtime for Tokio {
    type Transport = Transport;
    type Listener = Listener;
    type Wait<F: Future> = F;

    fn wait<F: Future>(future: F) -> F {
        future
    }

    fn now() -> Instant {
        Instant::from_nanos(epoch().elapsed().as_nanos() as u64)
    }

    fn in_context(&self) -> io::Result<Tokio> {
        self.handle().map(|handle| Tokio(Some(handle)))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        drop(self.handle()?.spawn(task));
        Ok(())
    }

    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send {
        let _context = self.0.as_ref().map(Handle::enter);
        tokio::time::sleep_until(to_tokio(at))
    }

    /// A sleep takes a millisecond at least.
    fn yield_now(&self) -> impl Future<Output = ()> + Send {
        tokio::task::yield_now()
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }

    fn listen(&self, address: &Address, options: &ListenOptions) -> io::Result<Listener> {
        Listener::bind(address, options)
    }

    fn dial(
        &self,
        address: Address,
        options: SocketOptions,
    ) -> impl Future<Output = io::Result<(Transport, Ends)>> + Send + 'static {
        client::dial(address, options)
    }
}

/// Wakes the task of `cx` once tokio has looked for IO and run what is ready.
///
/// A task that wakes itself goes ahead of both: tokio looks for IO after 61 polls at the latest.
/// What `yield_now` registers with its first poll outlives it.
pub(crate) fn yield_now(cx: &mut Context<'_>) {
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

/// tokio's clock and not std's, so that a test may pause it.
fn epoch() -> tokio::time::Instant {
    static EPOCH: OnceLock<tokio::time::Instant> = OnceLock::new();
    *EPOCH.get_or_init(tokio::time::Instant::now)
}

/// The point on tokio's clock; one too far away to name is a year away.
pub(crate) fn to_tokio(at: Instant) -> tokio::time::Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let since = Duration::from_nanos(at.as_nanos());
    epoch().checked_add(since).unwrap_or_else(|| epoch() + YEAR)
}
