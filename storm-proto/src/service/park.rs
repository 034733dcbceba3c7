//! Waiting for futures on a plain thread.
//!
//! What a future registers while it is polled decides how long the thread sleeps: wakers as
//! everywhere, and the time that [`wake_at`] names.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use crate::Instant;

std::thread_local! {
    /// The parker of this thread, unless a call on the stack uses it.
    static IDLE: RefCell<Option<Arc<Parker>>> = const { RefCell::new(None) };
    /// The parker of the innermost call.
    static CURRENT: RefCell<Option<Arc<Parker>>> = const { RefCell::new(None) };
    /// The earliest time that was named during this poll.
    static ALARM: Cell<Instant> = const { Cell::new(Instant::NEVER) };
}

#[derive(Default)]
struct Parker {
    state: Mutex<State>,
    woken: Condvar,
}

#[derive(Default)]
struct State {
    notified: bool,
    /// Ends the system call that the thread is blocked in.
    interrupt: Option<Box<dyn FnOnce() + Send>>,
}

/// Waits for a future on this thread. Allocates nothing after a thread's first call.
///
/// Calls may nest: a handler that is run by one may make another.
pub fn block_on<F: Future>(future: F, clock: fn() -> Instant) -> F::Output {
    let parker = IDLE.with(|idle| idle.borrow_mut().take()).unwrap_or_default();
    let outer = CURRENT.with(|current| current.replace(Some(parker.clone())));
    let alarm = ALARM.replace(Instant::NEVER);
    let _restore = Restore { outer, alarm };
    let waker = Waker::from(parker.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        ALARM.set(Instant::NEVER);
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        parker.park(ALARM.get(), clock);
    }
}

/// Makes the [`block_on`] that polls the caller poll again at `at`.
pub fn wake_at(at: Instant) {
    ALARM.set(ALARM.get().min(at));
}

/// Makes a system call that blocks, from within a future of [`block_on`]. If that is woken,
/// before or meanwhile, `interrupt` is called to end the call; without one before it, the
/// call is not made at all.
pub fn blocked<R>(
    interrupt: impl FnOnce() + Send + 'static,
    call: impl FnOnce() -> R,
) -> Option<R> {
    let parker = CURRENT.with(|current| current.borrow().clone());
    let Some(parker) = parker else { return Some(call()) };
    {
        let mut state = parker.lock();
        if state.notified {
            return None;
        }
        state.interrupt = Some(Box::new(interrupt));
    }
    let result = call();
    parker.lock().interrupt = None;
    Some(result)
}

/// Puts back what a nested call replaced.
struct Restore {
    outer: Option<Arc<Parker>>,
    alarm: Instant,
}

impl Drop for Restore {
    fn drop(&mut self) {
        let used = CURRENT.with(|current| current.replace(self.outer.take()));
        IDLE.with(|idle| *idle.borrow_mut() = used);
        ALARM.set(self.alarm);
    }
}

impl Parker {
    /// Sleeps until it is notified or `until` has come.
    fn park(&self, until: Instant, clock: fn() -> Instant) {
        let mut state = self.lock();
        while !state.notified {
            if until == Instant::NEVER {
                state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let left = until.duration_since(clock());
            if left.is_zero() {
                break;
            }
            let slept = self.woken.wait_timeout(state, left);
            state = slept.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.notified = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.lock();
        state.notified = true;
        let interrupt = state.interrupt.take();
        drop(state);
        self.woken.notify_one();
        if let Some(interrupt) = interrupt {
            interrupt();
        }
    }
}
