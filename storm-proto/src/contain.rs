//! Code of the application, run so that its panics end what they belong to and nothing else.
//!
//! Framers, hooks, handlers, wakers and the `Drop` of attached values are all run through
//! here. Whoever calls [`catch`] says what ends with the panic, and never runs the same code for
//! the same input again: a panic that is caught and repeated would be a loop.
//!
//! Without std nothing can be caught: a panic then passes to the caller.

use alloc::boxed::Box;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

/// Runs code of the application; `None` if it panics.
///
/// What the code was doing is dropped, so a broken invariant of its own can only meet itself.
#[cfg(feature = "std")]
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Option<R> {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(output) => Some(output),
        Err(payload) => {
            // Its drop may panic as well; leaking is the lesser evil.
            if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                core::mem::forget(again);
            }
            None
        }
    }
}

/// Runs code of the application.
#[cfg(not(feature = "std"))]
pub(crate) fn catch<R>(run: impl FnOnce() -> R) -> Option<R> {
    Some(run())
}

/// Wakes tasks of the application; to be called without a lock.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        catch(|| waker.wake());
    }
}

/// Makes an asynchronous call of the application.
///
/// A panic is caught wherever it comes from: making the future, polling it, or dropping it at
/// the point where it waits.
pub(crate) fn call<F: Future>(make: impl FnOnce() -> F) -> Call<impl Future<Output = F::Output>> {
    Call(Some(Box::pin(async { make().await })))
}

/// Contains a future that calls the application in many places.
pub(crate) fn whole<F: Future>(future: F) -> Call<F> {
    Call(Some(Box::pin(future)))
}

/// An asynchronous call of the application; `None` if it panics. See [`call`].
pub(crate) struct Call<F>(Option<Pin<Box<F>>>);

impl<F: Future> Future for Call<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let Some(call) = &mut self.0 else { return Poll::Ready(None) };
        let output = match catch(|| call.as_mut().poll(cx)) {
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(output)) => Some(output),
            None => None,
        };
        self.forget();
        Poll::Ready(output)
    }
}

impl<F> Call<F> {
    fn forget(&mut self) {
        let call = self.0.take();
        catch(|| drop(call));
    }
}

impl<F> Drop for Call<F> {
    fn drop(&mut self) {
        self.forget();
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;
    use core::future::{pending, ready};
    use std::task::Wake;

    /// Panics when it is dropped.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }

    struct Broken;

    impl Wake for Broken {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("on purpose");
        }
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
        Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_call_may_panic_when_it_is_made_polled_or_dropped() {
        fn made() -> core::future::Ready<()> {
            panic!("on purpose")
        }
        assert_eq!(poll(&mut call(made)), Poll::Ready(None));
        assert_eq!(poll(&mut call(|| async { panic!("on purpose") })), Poll::Ready(None::<()>));
        let mut dropped = call(|| async {
            let _bomb = Bomb;
            pending::<()>().await;
        });
        assert_eq!(poll(&mut dropped), Poll::Pending);
        drop(dropped);
        assert_eq!(poll(&mut call(|| ready(1))), Poll::Ready(Some(1)));
    }

    #[test]
    fn a_waker_that_panics_keeps_no_other_asleep() {
        use core::sync::atomic::{AtomicBool, Ordering};
        struct Flag(AtomicBool);
        impl Wake for Flag {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let flag = std::sync::Arc::new(Flag(AtomicBool::new(false)));
        wake_all([Waker::from(std::sync::Arc::new(Broken)), Waker::from(flag.clone())]);
        assert!(flag.0.load(Ordering::Relaxed));
    }

    #[test]
    fn a_panic_whose_payload_panics_is_caught_too() {
        assert_eq!(catch(|| -> u8 { std::panic::panic_any(Bomb) }), None);
    }
}
