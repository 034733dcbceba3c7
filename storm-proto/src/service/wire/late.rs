//! Deadlines, and what comes before one of them is judged.
//!
//! This side may look at its clock long after a deadline: the process was suspended, or a handler
//! blocked the thread. What the peer did in time then still waits in the socket. So a deadline
//! that would end the connection is judged in three steps:
//!
//! 1. The time is taken, and the transport gets an attempt to write that asks the operating system.
//! 2. Everything that had arrived is read and handled.
//! 3. The link judges by the time of step 1, if the deadline still stands.
//!
//! While nobody reads, because a handler runs or reading is paused, the second step is left out:
//! the link gives nobody up for a silence then. Only a close has to read; see `Cut::Late`.

use core::task::{Context, Poll, ready};

use super::Wire;
use crate::Instant;
use crate::service::runtime::Transport;
use crate::service::session::Shared;

impl<T: Transport> Wire<T> {
    /// Ready if a deadline has passed. The clock decides: a runtime may delay its timers.
    pub(super) fn poll_due(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(at) = deadline else { return Poll::Pending };
        if self.now >= at {
            return Poll::Ready(());
        }
        loop {
            // Armed for the earliest deadline and never moved later: it fires and is asked anew.
            if at < self.armed {
                self.transport.arm(at);
                self.armed = at;
            }
            ready!(self.transport.poll_timer(cx));
            self.armed = Instant::NEVER;
            self.now = (self.clock)();
            if self.now >= at {
                return Poll::Ready(());
            }
        }
    }

    /// What had arrived has moved the deadline.
    #[inline]
    pub(super) fn go_on(&mut self, shared: &Shared) {
        if core::mem::take(&mut self.late) {
            shared.lock().link.is_condemning(self.now);
        }
    }

    /// Judges the deadlines that have passed, if there are any. Called when everything that had
    /// arrived is handled.
    pub(super) fn judge(&mut self, shared: &Shared) -> bool {
        let late = core::mem::take(&mut self.late);
        if late {
            shared.lock().link.judge();
        }
        late
    }
}
