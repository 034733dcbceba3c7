//! The timer beside a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::Stream as _;
use storm_proto::Instant;

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
}
