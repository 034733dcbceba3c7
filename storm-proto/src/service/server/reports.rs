//! Errors of the accept loop, on their way to the application.
//!
//! The loop waits for nothing of the application: a task of its own notifies of one error after
//! the other, while there are any.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

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
        if self.runtime.spawn(self.clone().run()).is_err() {
            // No thread for it: the next error tries again.
            self.lock().reporting = false;
        }
    }

    async fn run(self: Arc<Self>) {
        let _reporting = self.registry.report();
        while let Some(error) = self.next() {
            let context = ErrorContext::Accepting;
            report(&self.chain, &*self.handler, &context, &error, &self.runtime, R::now).await;
        }
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
