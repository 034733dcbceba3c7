//! A future against a deadline.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;

use super::runtime::Runtime;
use crate::Instant;
use crate::connection::link::LATE;

/// How long the future is still polled after a late wake-up: until the runtime, or another
/// thread, has reported what had happened in time.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// A [`Runtime`], as far as it keeps time.
pub(crate) trait Sleep: Send + Sync {
    /// Waits until `at`.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send;
}

impl<R: Runtime> Sleep for R {
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send {
        Runtime::sleep_until(self, at)
    }
}

/// What `future` gives, if that is before `deadline`.
pub(crate) async fn before<S: Sleep, F: Future>(
    timer: &S,
    deadline: Instant,
    future: F,
) -> Option<F::Output> {
    until(timer, deadline, pin!(future)).await
}

/// A deadline for what follows something that had happened in time and was noticed late: moved by
/// the time that this side was away, by `most` at most.
pub(crate) fn regranted<R: Runtime>(deadline: Instant, most: Duration) -> Instant {
    let now = R::now();
    match now > deadline {
        true => now + (now - deadline).min(most),
        false => deadline,
    }
}

/// As [`before`], for what others bring about. A timer that comes much too late means that this
/// side was suspended: what had happened in time counts then, and may still have to be reported.
pub(crate) async fn in_time<R: Runtime, F: Future>(
    runtime: &R,
    deadline: Instant,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    if let Some(output) = until(runtime, deadline, future.as_mut()).await {
        return Some(output);
    }
    let now = R::now();
    if now - deadline < LATE {
        return None;
    }
    until(runtime, now + LAST_LOOK, future).await
}

async fn until<S: Sleep, F: Future>(
    timer: &S,
    deadline: Instant,
    mut future: Pin<&mut F>,
) -> Option<F::Output> {
    let mut late = pin!(timer.sleep_until(deadline));
    poll_fn(|cx| match (future.as_mut().poll(cx), late.as_mut().poll(cx)) {
        (Poll::Ready(output), _) => Poll::Ready(Some(output)),
        (_, Poll::Ready(())) => Poll::Ready(None),
        _ => Poll::Pending,
    })
    .await
}
