//! The timer beside a stream.

use std::task::{Context, Poll};

use storm_proto::Instant;

use crate::runtime::poll_until;

/// One timer: a time at which the thread that polls it looks again.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Instant>);

impl Timer {
    pub(crate) fn arm(&mut self, at: Instant) {
        self.0 = Some(at);
    }

    pub(crate) fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        self.0.map_or(Poll::Pending, poll_until)
    }
}
