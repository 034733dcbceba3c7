//! A future against a deadline.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;

use super::runtime::Runtime;
use crate::Instant;

/// What `future` gives, if that is before `deadline`.
pub(crate) async fn before<R: Runtime, F: Future>(
    runtime: &R,
    deadline: Instant,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut late = pin!(runtime.sleep_until(deadline));
    poll_fn(|cx| match (future.as_mut().poll(cx), late.as_mut().poll(cx)) {
        (Poll::Ready(output), _) => Poll::Ready(Some(output)),
        (_, Poll::Ready(())) => Poll::Ready(None),
        _ => Poll::Pending,
    })
    .await
}
