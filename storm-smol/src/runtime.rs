//! smol as the services see it: a clock, a spawn, a resolver, a listener, a dialer.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use async_io::Timer;
use storm_proto::Instant;
use storm_proto::service::{Address, Ends, ListenOptions, Runtime, SocketOptions};

use crate::client;
use crate::server::Listener;
use crate::transport::Transport;

/// smol's global executor, or another one.
///
/// Sockets and timers are those of `async-io`, which brings a thread of its own for them:
/// they work on any executor.
#[derive(Clone, Default)]
pub struct Smol {
    executor: Option<Spawn>,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Spawn = Arc<dyn Fn(Task) + Send + Sync>;

impl Smol {
    /// Spawns with `spawn`, such as the `spawn` of an executor of the caller's:
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use storm_smol::{Server, Smol};
    /// let executor = Arc::new(smol::Executor::new());
    /// let tasks = executor.clone();
    /// let server = Server::bind("127.0.0.1:0").runtime(Smol::on(move |task| {
    ///     tasks.spawn(task).detach();
    /// }));
    /// ```
    pub fn on(spawn: impl Fn(Task) + Send + Sync + 'static) -> Smol {
        Smol { executor: Some(Arc::new(spawn)) }
    }

    /// Spawns on async-std.
    #[cfg(feature = "async-std")]
    #[must_use]
    pub fn async_std() -> Smol {
        Smol::on(|task| drop(async_std::task::spawn(task)))
    }
}

impl Runtime for Smol {
    type Transport = Transport;
    type Listener = Listener;
    type Wait<F: Future> = F;

    fn wait<F: Future>(future: F) -> F {
        future
    }

    fn now() -> Instant {
        storm_socket::now()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        match &self.executor {
            Some(spawn) => spawn(Box::pin(task)),
            None => smol::spawn(task).detach(),
        }
        Ok(())
    }

    async fn sleep_until(&self, at: Instant) {
        Timer::at(storm_socket::to_std(at)).await;
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let host = host.to_owned();
        smol::unblock(move || Ok((host, port).to_socket_addrs()?.collect())).await
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

impl fmt::Debug for Smol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.executor.is_some() { "Smol(on another executor)" } else { "Smol" })
    }
}
