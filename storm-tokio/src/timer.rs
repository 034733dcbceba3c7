//! The timer beside a stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use storm_proto::Instant;
use tokio::time::Sleep;

use crate::runtime::to_tokio;

/// One timer, made when the first deadline is set.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    pub(crate) fn arm(&mut self, at: Instant) {
        let at = to_tokio(at);
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.0 = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Some(sleep) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
