//! The timer beside a stream.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::Stream as _;
use storm_proto::Instant;

/// How soon a task that yields is woken: long enough to be in the future when it is registered.
const SOON: Duration = Duration::from_micros(1);

/// Of a timer that is not armed.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// One timer, made when the first deadline is set. A yield borrows it.
#[derive(Debug)]
pub(crate) struct Timer {
    timer: Option<async_io::Timer>,
    /// What it is armed for, also while a yield has it.
    deadline: Instant,
}

impl Default for Timer {
    fn default() -> Timer {
        Timer { timer: None, deadline: NEVER }
    }
}

impl Timer {
    pub(crate) fn arm(&mut self, at: Instant) {
        self.deadline = at;
        self.set(at);
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.poll_timer(cx).is_ready() {
            if storm_socket::now() >= self.deadline {
                self.deadline = NEVER;
                return Poll::Ready(());
            }
            // It fired for a yield.
            self.set(self.deadline);
        }
        Poll::Pending
    }

    /// Wakes the task of `cx` through the reactor, with whatever IO that has seen by then. The
    /// deadline stays armed.
    ///
    /// An executor of smol's looks for IO after 200 polls only, and `async-io` leaves that to a
    /// thread of its own, which has to wait for its turn as well. So a task that yields waits
    /// for the same look as those that wait for IO.
    pub(crate) fn yield_now(&mut self, cx: &mut Context<'_>) {
        let mut soon = SOON;
        self.set(storm_socket::now() + soon);
        // This thread was held up for longer than that: a wake-up from here would be no yield.
        while self.poll_timer(cx).is_ready() {
            soon *= 2;
            self.set(storm_socket::now() + soon);
        }
    }

    fn set(&mut self, at: Instant) {
        let at = storm_socket::to_std(at);
        match &mut self.timer {
            Some(timer) => timer.set_at(at),
            None => self.timer = Some(async_io::Timer::at(at)),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some(timer) => Pin::new(timer).poll_next(cx).map(|_| ()),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn a_yield_takes_no_deadline_away() {
        for _ in 0..100 {
            let mut timer = Timer::default();
            let deadline = storm_socket::now() + Duration::from_millis(2);
            timer.arm(deadline);
            futures_lite::future::block_on(async {
                let mut yielded = false;
                poll_fn(|cx| match std::mem::replace(&mut yielded, true) {
                    false => {
                        timer.yield_now(cx);
                        Poll::Pending
                    }
                    true => Poll::Ready(()),
                })
                .await;
                poll_fn(|cx| timer.poll(cx)).await;
            });
            assert!(storm_socket::now() >= deadline, "and none comes early");
        }
    }
}
