//! The task that tells what changed in groups, where the calls that change them leave some of it.

use core::future::poll_fn;
use core::task::Poll;
use std::sync::Arc;

use crate::service::registry::Registry;
use crate::service::runtime::{Runtime, Transport};

/// Tells on a task of its own; see `Registry::tell_rest_by`. False where there is no place for it.
pub(super) fn spawner<R: Runtime>(
    runtime: R,
    registry: &Arc<Registry>,
) -> impl Fn() -> bool + Send + Sync + use<R> {
    let registry = Arc::downgrade(registry);
    move || {
        let Some(registry) = registry.upgrade() else { return false };
        let telling = Telling { registry, is_done: false };
        // A task that is dropped leaves the rest to the next change.
        runtime.spawn(telling.run::<R>()).is_ok()
    }
}

struct Telling {
    registry: Arc<Registry>,
    is_done: bool,
}

impl Telling {
    /// A share in each turn: others on this thread are not kept waiting.
    async fn run<R: Runtime>(mut self) {
        poll_fn(|cx| {
            if self.registry.tell_share() {
                return Poll::Ready(());
            }
            R::Transport::yield_now(cx);
            Poll::Pending
        })
        .await;
        self.is_done = true;
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if !self.is_done {
            self.registry.give_up_telling();
        }
    }
}
