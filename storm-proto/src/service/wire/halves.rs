//! Where calls block, a connection takes two threads.
//!
//! The driver's own thread reads and runs the handler, which may block it. The other one has
//! the outbox, the timer and the last word: it writes, pings and keeps the deadlines, and when
//! the connection is over it hangs up, which ends the read. They meet in the session's lock:
//! what the reader tells the link wakes the writer, and the reader waits for room or for the
//! end like any caller of `send_wait`.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use super::{Cut, Input, Wire};
use crate::connection::outbox::Outbox;
use crate::connection::receiver::Receiver;
use crate::service::runtime::Transport;
use crate::service::session::{Session, Shared};

/// How long the writing half waits for the reading one before it judges a deadline: what that
/// has read is reported within it, also on a machine that is busy.
const REPORT: Duration = Duration::from_millis(100);

/// How long it waits at most, if there is still something to be read.
const LONGEST: Duration = Duration::from_secs(2);

impl<T: Transport> Wire<T> {
    /// The opening is done: where calls block, writing moves to a thread of its own.
    pub(crate) fn opened(&mut self, session: &Session) {
        if !T::BLOCKS {
            return;
        }
        let (clock, limit, session) = (self.clock, self.limit, session.clone());
        // Above all the answer to the request.
        let outbox = core::mem::take(&mut self.outbox);
        let other = session.clone();
        let split = self.transport.split(move |transport| {
            let wire = Wire { outbox, ..Wire::new(transport, clock, limit) };
            Writer { wire: Some(wire), session: other }.run()
        });
        if let Err(error) = split {
            self.failed(session.shared(), error);
            session.shared().end(&Outbox::new());
        }
        self.half = true;
    }

    #[inline]
    pub(super) fn is_half(&self) -> bool {
        T::BLOCKS && self.half
    }

    /// [`Wire::poll_input`] of the reading half.
    pub(super) fn poll_input_half(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        mut receiver: Option<&mut Receiver>,
    ) -> Poll<Option<Input>> {
        loop {
            if ready!(self.poll_back(cx, shared)) {
                return Poll::Ready(None);
            }
            if let Some(mut kept) = self.kept.take() {
                let len = kept.room().len();
                return Poll::Ready(Some(Input { scratch: Some(kept), len }));
            }
            if self.end_of_stream {
                // The writer goes on to the end.
                return self.poll_over(cx, shared).map(|()| None);
            }
            let read = ready!(self.poll_read(cx, receiver.as_deref_mut()));
            // A read that failed is not tried again.
            self.end_of_stream |= read.is_err();
            if let Some(input) = self.read(shared, receiver.as_deref_mut(), read) {
                return Poll::Ready(Some(input));
            }
        }
    }

    /// [`Wire::poll_call`] of the reading half.
    pub(super) fn poll_call_half<F: Future>(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        call: Pin<&mut F>,
    ) -> Poll<Result<F::Output, Cut>> {
        shared.set_reading(false);
        if let Poll::Ready(output) = call.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let mut inner = shared.lock();
        if inner.is_over() {
            return Poll::Ready(Err(Cut::Over));
        }
        if inner.is_last_read() {
            return Poll::Ready(Err(Cut::Late));
        }
        inner.wait_to_read(cx.waker());
        Poll::Pending
    }

    /// All that the writing half waits for. Ready once the connection is over.
    fn poll_writing(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<()> {
        loop {
            if self.poll_turn(cx, shared).is_ready() {
                return Poll::Ready(());
            }
            if self.late && self.poll_report(cx, shared).is_ready() {
                self.judge(shared);
                continue;
            }
            if shared.fall_asleep(cx.waker(), !self.outbox.is_empty()) {
                return Poll::Pending;
            }
        }
    }

    /// Waits for the reading half to report what had arrived when a deadline was found to have
    /// passed. What it has read and not reported yet cannot be seen from here, so it gets some
    /// time; and more, while there is something that it has not read.
    fn poll_report(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<()> {
        if !shared.is_reading() {
            shared.read_last();
        }
        let Some(late) = shared.lock().link.late() else { return Poll::Ready(()) };
        let mut until = late + REPORT;
        loop {
            ready!(self.poll_due(cx, Some(until)));
            let goes_on = shared.is_reading() && self.transport.has_input();
            if !goes_on || self.now - late >= LONGEST {
                return Poll::Ready(());
            }
            until = self.now + REPORT;
        }
    }

    /// [`Wire::poll_room`] of the reading half.
    pub(super) fn poll_room_half(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        len: usize,
    ) -> Poll<bool> {
        loop {
            self.now = (self.clock)();
            let mut inner = shared.lock();
            if inner.is_over() {
                return Poll::Ready(false);
            }
            let paused_until = shared.paused_until(&mut inner, self.now);
            if paused_until.is_none() && inner.has_room_to_answer(len) {
                return Poll::Ready(true);
            }
            shared.set_reading(false);
            inner.wait_to_read(cx.waker());
            drop(inner);
            ready!(self.poll_due(cx, paused_until));
        }
    }

    /// About to hand a message over: that may take long, and the deadlines run.
    pub(super) fn leave(&mut self, shared: &Shared) {
        self.now = (self.clock)();
        self.count(shared, &mut shared.lock());
        shared.set_reading(false);
    }

    /// Back from the handler, to read once that is not paused. True once the connection is
    /// over.
    fn poll_back(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<bool> {
        loop {
            self.now = (self.clock)();
            let mut inner = shared.lock();
            let paused_until = shared.paused_until(&mut inner, self.now);
            shared.set_reading(paused_until.is_none());
            inner.link.pause(paused_until.is_some());
            self.count(shared, &mut inner);
            self.limit = inner.link.sender.limit();
            self.max_read = inner.link.options().max_read();
            if inner.is_over() {
                return Poll::Ready(true);
            }
            if paused_until.is_some() {
                inner.wait_to_read(cx.waker());
                drop(inner);
                ready!(self.poll_due(cx, paused_until));
            } else {
                if inner.link.is_finished() {
                    shared.changed(inner);
                } else if inner.link.is_decided() {
                    drop(inner);
                    // The writer may end the session while this side is in a read.
                    self.transport.shorten_reads();
                }
                return Poll::Ready(false);
            }
        }
    }

    fn poll_over(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<()> {
        let mut inner = shared.lock();
        if inner.is_over() {
            return Poll::Ready(());
        }
        inner.wait_to_read(cx.waker());
        Poll::Pending
    }
}

/// The writing half: when it goes, the connection is over.
struct Writer<T: Transport> {
    wire: Option<Wire<T>>,
    session: Session,
}

impl<T: Transport> Writer<T> {
    async fn run(mut self) {
        let Some(wire) = &mut self.wire else { return };
        poll_fn(|cx| wire.poll_writing(cx, self.session.shared())).await;
    }
}

impl<T: Transport> Drop for Writer<T> {
    fn drop(&mut self) {
        let Some(Wire { mut transport, outbox, .. }) = self.wire.take() else { return };
        // The reader has the last handle then, and closes the stream before the last event,
        // unless it lingers.
        if self.session.shared().lock().link.lingers_until().is_none() {
            transport.hang_up();
        }
        drop(transport);
        self.session.shared().end(&outbox);
    }
}
