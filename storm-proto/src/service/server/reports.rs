//! Errors of the accept loop, on their way to the application.
//!
//! The loop waits for nothing of the application: a task of its own notifies of one error after
//! the other, while there are any.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use crate::contain::catch;
use crate::error::Error;
use crate::service::error_context::ErrorContext;
use crate::service::handler::Handler;
use crate::service::middleware::Chain;
use crate::service::registry::Registry;
use crate::service::report::report;
use crate::service::runtime::Runtime;
use crate::service::sync::{Mutex, MutexGuard};

/// How many errors wait for `on_error`. Later ones are only traced: an accept loop that fails
/// says the same over and over.
pub(crate) const MAX_WAITING: usize = 16;

/// Notifies the application of errors of an accept loop.
pub(super) struct Reports<R, H> {
    pub(super) runtime: R,
    pub(super) registry: Arc<Registry>,
    pub(super) chain: Chain,
    pub(super) handler: Arc<H>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    errors: VecDeque<Error>,
    /// A task is at work.
    reporting: bool,
}

impl<R: Runtime, H: Handler> Reports<R, H> {
    pub(super) fn new(
        runtime: R,
        registry: Arc<Registry>,
        chain: Chain,
        handler: Arc<H>,
    ) -> Arc<Reports<R, H>> {
        Arc::new(Reports { runtime, registry, chain, handler, waiting: Mutex::default() })
    }

    /// Adds an error; waits for nothing.
    pub(super) fn push(self: &Arc<Self>, error: Error) {
        let mut waiting = self.lock();
        if waiting.errors.len() < MAX_WAITING {
            waiting.errors.push_back(error);
        }
        if waiting.reporting {
            return;
        }
        waiting.reporting = true;
        drop(waiting);
        let task = Reporter { reports: self.clone(), is_done: false };
        // Without a thread for it, the next error tries again.
        catch(|| self.runtime.spawn(task.run()).is_ok());
    }

    /// The next error; the task is over if there is none, or the server stops.
    fn next(&self) -> Option<Error> {
        let mut waiting = self.lock();
        if self.registry.is_stopping() {
            waiting.errors.clear();
        }
        let next = waiting.errors.pop_front();
        waiting.reporting = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task. One that an executor drops leaves what waits to the next error.
struct Reporter<R: Runtime, H: Handler> {
    reports: Arc<Reports<R, H>>,
    is_done: bool,
}

impl<R: Runtime, H: Handler> Reporter<R, H> {
    async fn run(mut self) {
        let _reporting = self.reports.registry.report();
        while let Some(error) = self.reports.next() {
            let Reports { runtime, chain, handler, .. } = &*self.reports;
            report(chain, &**handler, &ErrorContext::Accepting, &error, runtime, R::now).await;
        }
        self.is_done = true;
    }
}

impl<R: Runtime, H: Handler> Drop for Reporter<R, H> {
    fn drop(&mut self) {
        if !self.is_done {
            self.reports.lock().reporting = false;
        }
    }
}
