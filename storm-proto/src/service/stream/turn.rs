//! The stream's end of a connection: bytes out, bytes in, time. Every poll goes through here.
//!
//! Nothing here knows a rule of the protocol: the [`Connection`] says what is owed.

use core::task::{Context, Poll, ready};
use std::boxed::Box;
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::MessageStream;
use super::carrier::Carrier;
use super::wakers::Half;
use crate::connection::link::Step;
use crate::message::OwnedMessage;
use crate::service::pool::{self, Scratch};
use crate::{Connection, Instant};

/// Chunks given to one vectored write.
const CHUNKS: usize = 16;

/// Bytes that were read and not looked at. They keep their room: copying what is left behind
/// each message would cost more than all else.
#[derive(Debug)]
pub(super) struct Input {
    scratch: Box<Scratch>,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn new(scratch: Box<Scratch>, len: usize) -> Input {
        Input { scratch, start: 0, end: len }
    }

    fn len(&self) -> usize {
        self.end - self.start
    }

    /// Lends the bytes; what `take` leaves is left, and room that is empty goes to the pool.
    fn take<R>(input: &mut Option<Input>, take: impl FnOnce(&mut &mut [u8]) -> R) -> R {
        let Some(Input { scratch, start, end }) = input else { return take(&mut &mut [][..]) };
        let mut bytes = &mut scratch.room()[*start..*end];
        let taken = take(&mut bytes);
        *start = *end - bytes.len();
        if *start == *end
            && let Some(empty) = input.take()
        {
            empty.scratch.give();
        }
        taken
    }
}

impl<T: Carrier> MessageStream<T> {
    /// A poll of one half, by the task of `cx`.
    pub(super) fn turn<R>(
        &mut self,
        half: Half,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        let waker = self.wakers.enter(half, cx.waker());
        self.now = T::now();
        self.quota.begin(self.now);
        let before = self.mark();
        self.connection.pause(!self.wakers.is_waiting(Half::Reader));
        let polled = poll(self, &mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.wakers.leave(half);
        } else {
            if self.is_used_up()
                && let Some(transport) = &mut self.transport
            {
                transport.yield_now(cx);
            }
            self.quota.renew();
        }
        if self.mark() != before {
            self.wakers.wake_other(half);
        }
        polled
    }

    /// True if no more messages are to be taken or given before the task has yielded.
    pub(super) fn is_spent(&mut self) -> bool {
        self.quota.is_spent(T::now)
    }

    /// True if no more is to be read or written before the task has yielded.
    pub(super) fn is_used_up(&mut self) -> bool {
        self.quota.is_used_up(T::now)
    }

    /// All that a half may wait for beside what the transport wakes it for.
    fn mark(&self) -> (bool, bool, bool, usize) {
        let is_over = self.transport.is_none();
        (is_over, self.connection.is_open(), self.unflushed, self.connection.queued())
    }

    /// Waits for a message; `None` once the connection is over. Once a close is under way no
    /// message comes, and this is what finishes it.
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<OwnedMessage>> {
        let mut has_read = false;
        while !self.is_spent() {
            let message = self.take_message();
            // A caller that was away for long must not take its own silence for the peer's.
            if has_read {
                self.judge();
            }
            if message.is_some() {
                return Poll::Ready(message);
            }
            if self.input.is_some() {
                continue;
            }
            if self.poll_output(cx).is_ready() {
                return Poll::Ready(None);
            }
            if self.is_used_up() {
                break;
            }
            if self.poll_read(cx).is_pending() {
                ready!(self.poll_time(cx));
            }
            has_read = true;
        }
        self.poll_output(cx).map(|()| None)
    }

    /// The next message of what was read, if there is one before this turn's events are over.
    fn take_message(&mut self) -> Option<OwnedMessage> {
        let (connection, quota, now) = (&mut self.connection, &mut self.quota, self.now);
        let read = self.input.as_ref().map_or(0, Input::len) + connection.assembled();
        let message = Input::take(&mut self.input, |bytes| {
            connection.next_message(bytes, now, quota.events())
        });
        let made = match &message {
            Some(message) => message.len(),
            None => connection.assembled(),
        };
        quota.made(made.saturating_sub(read));
        message
    }

    /// Hands bytes of the opening to the connection.
    pub(super) fn take<R>(
        &mut self,
        take: impl FnOnce(&mut Connection, &mut &mut [u8], Instant) -> R,
    ) -> R {
        let (connection, now) = (&mut self.connection, self.now);
        Input::take(&mut self.input, |bytes| take(connection, bytes, now))
    }

    /// Writes, and does what the connection owes. Ready once it is over.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Each turn writes once, whatever it has read.
        let mut has_written = false;
        loop {
            let Some(transport) = &mut self.transport else { return Poll::Ready(()) };
            let step = self.connection.step();
            if let Step::Finished { reset } = step {
                if reset {
                    transport.reset();
                }
                self.finish();
                return Poll::Ready(());
            }
            if has_written && self.quota.is_used_up(T::now) {
                return Poll::Pending;
            }
            let turned = match write(transport, &mut self.connection, cx) {
                Poll::Ready(Ok(0)) => match step {
                    _ if self.unflushed => {
                        transport.poll_flush(cx).map_ok(|()| self.unflushed = false)
                    }
                    Step::Shutdown => {
                        transport.poll_shutdown(cx).map_ok(|()| self.connection.shut_down())
                    }
                    _ => return Poll::Pending,
                },
                written => {
                    let n = if let Poll::Ready(Ok(n)) = written { n } else { 0 };
                    if written.is_ready() {
                        self.quota.call(n);
                    }
                    has_written = true;
                    if let Some(spare) = self.connection.written(n, self.now) {
                        pool::give_spare(spare);
                    }
                    self.unflushed |= n > 0;
                    written.map_ok(|_| ())
                }
            };
            if let Err(error) = ready!(turned) {
                self.connection.transport_failed(error.into());
            }
        }
    }

    /// True if nothing that was accepted waits on this side.
    pub(super) fn is_flushed(&self) -> bool {
        self.connection.queued() == 0 && !self.unflushed
    }

    /// Reads once, when all that was read before is taken. Ready if something came: bytes,
    /// the end of the stream, a failure.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Before the read: a transport that blocks is to wake up for it.
        self.arm();
        let Some(transport) = &mut self.transport else { return Poll::Pending };
        if self.end_of_stream {
            return Poll::Pending;
        }
        let read = if let Some(room) = self.connection.direct() {
            let read = ready!(read(transport, cx, room));
            if let Ok(n) = read {
                self.connection.direct_filled(n);
            }
            read
        } else {
            let mut scratch = Scratch::take(self.bulk);
            let most = self.connection.max_read().min(scratch.room().len());
            let read = read(transport, cx, &mut scratch.room()[..most]);
            match read {
                Poll::Ready(Ok(n)) if n > 0 => {
                    self.bulk = n >= pool::SCRATCH;
                    self.input = Some(Input::new(scratch, n));
                }
                _ => scratch.give(),
            }
            ready!(read)
        };
        match read {
            Ok(0) => {
                self.end_of_stream = true;
                self.connection.end_of_stream(self.now);
            }
            Ok(n) => {
                self.quota.call(n);
                self.connection.received(n);
            }
            Err(error) => self.connection.transport_failed(error.into()),
        }
        Poll::Ready(())
    }

    /// Waits for the next deadline, and acts on it.
    pub(super) fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((at, _)) = self.connection.poll_timeout() else { return Poll::Pending };
        // The clock decides: a runtime may delay its timers, or round them.
        while self.now < at {
            self.arm();
            let Some(transport) = &mut self.transport else { return Poll::Pending };
            ready!(transport.poll_timer(cx));
            self.armed = Instant::NEVER;
            self.now = T::now();
        }
        self.judge();
        Poll::Ready(())
    }

    /// Acts on deadlines that have passed; true if there was one.
    pub(super) fn judge(&mut self) -> bool {
        let passed = self.connection.poll_timeout().is_some_and(|(at, _)| self.now >= at);
        if passed {
            self.connection.handle_timeout(self.now);
        }
        passed
    }

    /// As [`MessageStream::judge`], if nobody reads who looks at what has come before.
    pub(super) fn judge_alone(&mut self) -> bool {
        !self.wakers.is_waiting(Half::Reader) && self.judge()
    }

    /// Armed for the earliest deadline and never moved later: it fires and is asked anew.
    fn arm(&mut self) {
        if let (Some((at, _)), Some(transport)) =
            (self.connection.poll_timeout(), &mut self.transport)
            && at < self.armed
        {
            transport.arm(at);
            self.armed = at;
        }
    }

    /// The connection is over: only the last word is kept.
    fn finish(&mut self) {
        self.transport = None;
        if let Some(input) = self.input.take() {
            input.scratch.give();
        }
        self.cut_off = self.connection.queued() > 0;
        self.reason = Some(Arc::new(self.connection.finish()));
    }
}

/// Reads; a stream of the caller's that claims more than there is room for is not believed.
fn read<T: Carrier>(
    transport: &mut T,
    cx: &mut Context<'_>,
    room: &mut [u8],
) -> Poll<io::Result<usize>> {
    transport.poll_read(cx, room).map_ok(|n| n.min(room.len()))
}

/// Writes some of what waits; 0 if nothing does.
fn write<T: Carrier>(
    transport: &mut T,
    connection: &mut Connection,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut slices = [IoSlice::new(&[]); CHUNKS];
    let mut used = 0;
    for (slot, chunk) in slices.iter_mut().zip(connection.output()) {
        *slot = IoSlice::new(chunk);
        used += 1;
    }
    if used == 0 {
        return Poll::Ready(Ok(0));
    }
    match ready!(transport.poll_write(cx, &slices[..used])) {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        written => Poll::Ready(written.map(|n| n.min(connection.queued()))),
    }
}
