//! The task that reports group changes to `on_group`, where the calls that made them leave some.

use core::time::Duration;
use std::sync::Arc;

use crate::contain::catch;
use crate::service::registry::Registry;
use crate::service::runtime::Runtime;

/// How long a turn of the task is, and the rest of a share.
const TURN: Duration = Duration::from_millis(2);

/// Returns what spawns the task; see `Registry::tell_rest_by`. False where it cannot be spawned.
pub(super) fn spawner<R: Runtime>(
    runtime: R,
    registry: &Arc<Registry>,
) -> impl Fn() -> bool + Send + Sync + use<R> {
    let registry = Arc::downgrade(registry);
    move || {
        let Some(registry) = registry.upgrade() else { return false };
        let telling = Telling { registry, is_done: false };
        // A task that is dropped leaves the rest to the next change.
        catch(|| runtime.spawn(telling.run(runtime.clone())).is_ok()) == Some(true)
    }
}

struct Telling {
    registry: Arc<Registry>,
    is_done: bool,
}

impl Telling {
    /// Shares until a turn is over: others on this thread are not kept waiting.
    async fn run<R: Runtime>(mut self, runtime: R) {
        let mut until = R::now() + TURN;
        while !self.registry.tell_share() {
            if R::now() >= until {
                runtime.yield_now().await;
                until = R::now() + TURN;
            }
        }
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
