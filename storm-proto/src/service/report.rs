//! Notifies the application of errors, for no longer than an error is worth.

use core::time::Duration;

use super::error_context::ErrorContext;
use super::handler::Handler;
use super::middleware::Chain;
use super::race::{Sleep, before};
use crate::Instant;
use crate::contain;
use crate::error::Error;

/// How long `on_error` may take. What comes after it waits for it: the last event of a session,
/// its place among the connections of the server, the next error of the accept loop.
pub(crate) const ON_ERROR_TIMEOUT: Duration = Duration::from_secs(5);

/// Notifies middleware and handler of an error. A call that does not return in time is dropped
/// at the point where it waits.
pub(crate) async fn report<H: Handler, S: Sleep>(
    chain: &Chain,
    handler: &H,
    context: &ErrorContext,
    error: &Error,
    timer: &S,
    clock: fn() -> Instant,
) {
    chain.failed(context, error);
    let call = contain::call(|| handler.on_error(context, error));
    before(timer, clock() + ON_ERROR_TIMEOUT, call).await;
}
