//! The timer beside a stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::Stream as _;
use storm_proto::Instant;

/// Long enough to be in the future when it is registered.
const SOON: Duration = Duration::from_micros(1);

/// One timer, made when the first deadline is set.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<async_io::Timer>);

impl Timer {
    pub(crate) fn arm(&mut self, at: Instant) {
        let at = storm_socket::to_std(at);
        match &mut self.0 {
            Some(timer) => timer.set_at(at),
            None => self.0 = Some(async_io::Timer::at(at)),
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(timer) => Pin::new(timer).poll_next(cx).map(|_| ()),
            None => Poll::Pending,
        }
    }

    /// Wakes the task of `cx` through the reactor, with whatever IO that has seen by then.
    ///
    /// An executor of smol's looks for IO after 200 polls only, and `async-io` leaves that to a
    /// thread of its own, which has to wait for its turn as well. So a task that yields waits
    /// for the same look as those that wait for IO.
    pub(crate) fn yield_now(&mut self, cx: &mut Context<'_>) {
        self.arm(storm_socket::now() + SOON);
        if self.poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}
