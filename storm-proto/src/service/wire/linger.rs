//! Lingering: a connection has ended for the application, and its peer has not yet sent its FIN.
//!
//! RFC 6455 section 7.1.1 wants the input drained, because closing a socket that holds unread
//! bytes resets it, and a reset can destroy the Close frame on its way. Nobody waits for that:
//! the final event has been handled, and a lingering connection runs no code of the application.

use core::future::poll_fn;
use core::task::{Context, Poll};
use core::time::Duration;

use super::Wire;
use crate::Instant;
use crate::connection::link::DISCARD_LIMIT;
use crate::service::runtime::Transport;

/// How long a connection lingers at most, also where the close timeout is longer.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// How many connections of a server linger at once. Each holds a socket and a timer; the socket
/// of one more is closed without waiting.
pub(crate) const MAX_LINGERING: usize = 1024;

/// What is left of a connection when its session has ended cleanly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Linger {
    /// The close deadline of the session.
    pub(crate) until: Instant,
    /// The sending direction is shut down. A client leaves that to its server.
    pub(crate) is_shut_down: bool,
}

impl<T: Transport> Wire<T> {
    /// True once the peer has sent its FIN.
    pub(crate) fn is_at_end(&self) -> bool {
        self.end_of_stream
    }

    /// Discards input until the peer sends its FIN, the deadline passes, or more than the
    /// discard limit has come; then closes the socket.
    pub(crate) async fn linger(mut self, linger: Linger) {
        let until = linger.until.min((self.clock)() + LINGER);
        let mut left = DISCARD_LIMIT;
        poll_fn(|cx| self.poll_linger(cx, until, &mut left)).await;
        if !linger.is_shut_down {
            // One attempt: nothing is queued that could be in its way.
            poll_fn(|cx| Poll::Ready(self.transport.poll_shutdown(cx).is_ready())).await;
        }
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>, until: Instant, left: &mut usize) -> Poll<()> {
        self.now = (self.clock)();
        self.quota.renew();
        while !self.is_used_up() {
            match self.poll_read(cx, None) {
                Poll::Ready(Ok(input)) => {
                    let len = input.len;
                    self.quota.call(len);
                    input.give();
                    if len == 0 {
                        return Poll::Ready(());
                    }
                    let Some(less) = left.checked_sub(len) else {
                        self.transport.reset();
                        return Poll::Ready(());
                    };
                    *left = less;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return self.poll_due(cx, Some(until)),
            }
        }
        if self.now >= until {
            return Poll::Ready(());
        }
        self.transport.yield_now(cx);
        Poll::Pending
    }
}
