//! The runtimes, as this package runs them: one name each, one way to wait.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::sync::Arc;
use std::task::Poll;

use storm_proto::service::{Runtime, park};
use storm_smol::Smol;
use storm_std::Std;
use storm_tokio::Tokio;

/// A runtime that is up.
pub trait Adapter: Send + Sync + 'static {
    /// What Storm calls it.
    type Runtime: Runtime + Default;

    /// What servers and clients are to run on.
    fn runtime(&self) -> Self::Runtime;

    /// Runs a future inside of the runtime, whose tasks go on beside it.
    fn block_on<F: Future>(&self, future: F) -> F::Output;

    /// Waits for what a call of Storm's returned.
    fn wait<F: Future>(&self, wait: <Self::Runtime as Runtime>::Wait<F>) -> F::Output;

    /// Gives up such a call after it has begun, where that can be done.
    fn give_up<F: Future>(&self, wait: <Self::Runtime as Runtime>::Wait<F>);
}

/// tokio with so many workers.
#[derive(Debug)]
pub struct OnTokio(tokio::runtime::Runtime);

impl OnTokio {
    /// One thread means the current one: tasks then go on only while it waits.
    ///
    /// # Errors
    /// If the system has no more threads or descriptors.
    pub fn new(threads: usize) -> io::Result<OnTokio> {
        let mut builder = match threads {
            0 | 1 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        Ok(OnTokio(builder.worker_threads(threads.max(1)).enable_all().build()?))
    }
}

impl Adapter for OnTokio {
    type Runtime = Tokio;

    fn runtime(&self) -> Tokio {
        Tokio::default()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    fn wait<F: Future>(&self, wait: F) -> F::Output {
        self.0.block_on(wait)
    }

    fn give_up<F: Future>(&self, wait: F) {
        self.0.block_on(poll_once(wait));
    }
}

/// An executor of smol's with so many threads, handed in by the caller.
#[derive(Debug)]
pub struct OnSmol(Arc<smol::Executor<'static>>);

impl OnSmol {
    /// Its threads last as long as the process.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn new(threads: usize) -> io::Result<OnSmol> {
        let executor = Arc::new(smol::Executor::new());
        for _ in 0..threads.max(1) {
            let executor = executor.clone();
            std::thread::Builder::new().spawn(move || {
                // A task that panics takes its own thread's turn with it, and nothing else.
                let run = || smol::block_on(executor.run(pending::<()>()));
                while std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {}
            })?;
        }
        Ok(OnSmol(executor))
    }
}

impl Adapter for OnSmol {
    type Runtime = Smol;

    fn runtime(&self) -> Smol {
        let executor = self.0.clone();
        Smol::on(move |task| executor.spawn(task).detach())
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        smol::block_on(future)
    }

    fn wait<F: Future>(&self, wait: F) -> F::Output {
        smol::block_on(wait)
    }

    fn give_up<F: Future>(&self, wait: F) {
        smol::block_on(poll_once(wait));
    }
}

/// async-std's own threads.
#[derive(Debug)]
pub struct OnAsyncStd;

impl Adapter for OnAsyncStd {
    type Runtime = Smol;

    fn runtime(&self) -> Smol {
        Smol::async_std()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        async_std::task::block_on(future)
    }

    fn wait<F: Future>(&self, wait: F) -> F::Output {
        async_std::task::block_on(wait)
    }

    fn give_up<F: Future>(&self, wait: F) {
        async_std::task::block_on(poll_once(wait));
    }
}

/// Threads: every call has come to its end when it returns.
#[derive(Debug)]
pub struct OnStd;

impl Adapter for OnStd {
    type Runtime = Std;

    fn runtime(&self) -> Std {
        Std::default()
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        park::block_on(future, Std::now)
    }

    fn wait<F: Future>(&self, wait: F::Output) -> F::Output {
        wait
    }

    fn give_up<F: Future>(&self, _: F::Output) {}
}

/// Polls a future once and drops it.
async fn poll_once(future: impl Future) {
    let mut future = Box::pin(future);
    poll_fn(|cx| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}
