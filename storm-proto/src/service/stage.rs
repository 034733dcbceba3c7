//! What lies between a socket and a protocol: nothing, or TLS.

use core::future::Future;
use core::task::{Context, Poll};
#[cfg(feature = "tls")]
use std::boxed::Box;
use std::io::{self, IoSlice};

use super::runtime::Transport;
#[cfg(feature = "tls")]
use super::secured::Secured;
use crate::Instant;

/// A transport as the driver has it.
pub(crate) enum Stage<T> {
    Plain(T),
    #[cfg(feature = "tls")]
    Tls(Box<Secured<T>>),
}

/// Hands a call on to whichever it is.
macro_rules! each {
    ($stage:expr, $inner:ident => $call:expr) => {
        match $stage {
            Stage::Plain($inner) => $call,
            #[cfg(feature = "tls")]
            Stage::Tls($inner) => $call,
        }
    };
}

impl<T: Transport> Stage<T> {
    /// The opening is to begin with a handshake of TLS.
    pub(crate) fn is_secured(&self) -> bool {
        match self {
            Stage::Plain(_) => false,
            #[cfg(feature = "tls")]
            Stage::Tls(_) => true,
        }
    }
}

impl<T: Transport> Transport for Stage<T> {
    const BLOCKS: bool = T::BLOCKS;

    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        each!(self, inner => inner.poll_read(cx, buffer))
    }

    #[inline]
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        chunks: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, inner => inner.poll_write(cx, chunks))
    }

    #[inline]
    fn is_committed(&self) -> bool {
        each!(self, inner => inner.is_committed())
    }

    #[inline]
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_answers(cx))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_shutdown(cx))
    }

    fn arm(&mut self, at: Instant) {
        each!(self, inner => inner.arm(at));
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        each!(self, inner => inner.poll_timer(cx))
    }

    fn poll_refresh(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        each!(self, inner => inner.poll_refresh(cx))
    }

    fn has_input(&self) -> bool {
        each!(self, inner => inner.has_input())
    }

    fn reset(&mut self) {
        each!(self, inner => inner.reset());
    }

    fn split<F>(&mut self, write: impl FnOnce(Self) -> F + Send + 'static) -> io::Result<()>
    where
        F: Future<Output = ()>,
    {
        match self {
            Stage::Plain(inner) => inner.split(move |other| write(Stage::Plain(other))),
            #[cfg(feature = "tls")]
            Stage::Tls(inner) => inner.split(move |other| write(Stage::Tls(Box::new(other)))),
        }
    }

    fn yield_now(&mut self, cx: &mut Context<'_>) {
        each!(self, inner => inner.yield_now(cx));
    }

    fn hang_up(&mut self) {
        each!(self, inner => inner.hang_up());
    }

    fn shorten_reads(&mut self) {
        each!(self, inner => inner.shorten_reads());
    }
}
