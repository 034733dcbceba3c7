//! The driver's end of a connection: the transport, the bytes being written, the timer.
//!
//! Every wait of a driver goes through here, so that writing, pinging and deadlines go on
//! whatever the application does. Where calls block, that takes two threads: `halves` has
//! the waits of each. `secure` has those of the handshake of TLS, `late` what comes before a
//! deadline is judged.

mod halves;
mod late;
pub(crate) mod linger;
#[cfg(feature = "tls")]
mod secure;

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::boxed::Box;
use std::io::{self, IoSlice};

use bytes::Bytes;

use super::batch;
use super::pool::{self, Scratch};
use super::quota::Quota;
use super::runtime::Transport;
use super::session::{Inner, Shared};
use super::stage::Stage;
use crate::Instant;
use crate::connection::link::{LATE, Link, Step};
use crate::connection::outbox::Outbox;
use crate::connection::receiver::{Event, Receiver};
use crate::contain::catch;
#[cfg(feature = "tls")]
use crate::tls::TlsError;

/// Chunks given to one vectored write.
const CHUNKS: usize = 16;

/// The least that is read at once, however little the outbox may hold.
const MIN_READ: usize = 1 << 10;

pub(crate) struct Wire<T> {
    transport: T,
    /// Bytes taken from the session's outbox.
    outbox: Outbox,
    /// What the transport's timer is armed for.
    armed: Instant,
    clock: fn() -> Instant,
    /// The limit of the session's outbox in bytes.
    limit: usize,
    /// The most that is read before what was read is handled.
    max_read: usize,
    /// The time at the start of this turn, or after what blocked or made progress since.
    now: Instant,
    /// Received since the link was told: within one turn, so it is little.
    bytes: u32,
    messages: u16,
    end_of_stream: bool,
    /// The link knows that this side does not read.
    paused: bool,
    /// A deadline has passed, and is to be judged after a look at what had arrived.
    late: bool,
    /// This is the reading half, on a thread of its own.
    half: bool,
    /// The last read was as large as a small scratch: more comes at once.
    bulk: bool,
    /// What this turn may still do.
    quota: Quota,
    /// Bytes that were read and not looked at: the next input.
    kept: Option<Box<Scratch>>,
}

/// What a read brought. Without scratch it went straight into a large message.
pub(crate) struct Input {
    scratch: Option<Box<Scratch>>,
    len: usize,
}

/// Why a handler's call did not come to its end.
pub(crate) enum Cut {
    /// The connection is over.
    Over,
    /// The handler panicked.
    Panicked,
    /// The time of a close has passed: what has arrived is read, and then the connection is over.
    Late,
}

/// What the link said when it was looked at.
struct Look {
    step: Step,
    deadline: Option<Instant>,
}

impl<T: Transport> Wire<T> {
    pub(crate) fn new(transport: T, clock: fn() -> Instant, limit: usize) -> Wire<T> {
        Wire {
            transport,
            outbox: Outbox::new(),
            armed: Instant::NEVER,
            clock,
            limit,
            max_read: usize::MAX,
            now: clock(),
            bytes: 0,
            messages: 0,
            end_of_stream: false,
            paused: false,
            late: false,
            half: false,
            bulk: false,
            quota: Quota::new(),
            kept: None,
        }
    }

    /// Waits for bytes; `None` once the connection is over.
    ///
    /// `receiver` lends room for the rest of a large message, and tells what it has begun
    /// when the stream ends.
    pub(crate) fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        mut receiver: Option<&mut Receiver>,
    ) -> Poll<Option<Input>> {
        if self.is_half() {
            return self.poll_input_half(cx, shared, receiver);
        }
        loop {
            if self.poll_turn(cx, shared).is_ready() {
                return Poll::Ready(None);
            }
            self.pause(shared, shared.is_paused());
            if !self.paused {
                if let Some(mut kept) = self.kept.take() {
                    let len = kept.room().len();
                    return Poll::Ready(Some(Input { scratch: Some(kept), len }));
                }
                if self.late && shared.lock().link.has_looked() && self.judge(shared) {
                    continue;
                }
                if !self.end_of_stream
                    && !self.is_used_up()
                    && let Poll::Ready(read) = self.poll_read(cx, receiver.as_deref_mut())
                {
                    match self.read(shared, receiver.as_deref_mut(), read) {
                        None => continue,
                        input => return Poll::Ready(input),
                    }
                }
            }
            if self.rest(cx, shared) {
                return Poll::Pending;
            }
        }
    }

    /// Waits for a call of the application, while writing and keeping time.
    pub(crate) fn poll_call<F: Future>(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        call: Pin<&mut F>,
    ) -> Poll<Result<F::Output, Cut>> {
        catch_in(shared, || self.poll_call_uncaught(cx, shared, call))
            .unwrap_or(Poll::Ready(Err(Cut::Panicked)))
    }

    /// [`Wire::poll_call`] for those who are within a [`catch_in`] already.
    pub(crate) fn poll_call_uncaught<F: Future>(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        call: Pin<&mut F>,
    ) -> Poll<Result<F::Output, Cut>> {
        if self.is_half() {
            return self.poll_call_half(cx, shared, call);
        }
        if let Poll::Ready(output) = call.poll(cx) {
            self.pause(shared, false);
            return Poll::Ready(Ok(output));
        }
        self.pause(shared, true);
        self.poll_quiet(cx, shared).map(Err)
    }

    /// Writes, and waits until reading is not paused, there is room for answers of `len`
    /// more bytes, and this turn has events left. An application that answers each message with
    /// one like it, and sends nothing else, is never refused. False once the connection is over.
    pub(crate) fn poll_room(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        len: usize,
    ) -> Poll<bool> {
        if self.is_half() {
            return self.poll_room_half(cx, shared, len);
        }
        loop {
            if self.poll_turn(cx, shared).is_ready() {
                return Poll::Ready(false);
            }
            let has_room = !shared.is_paused() && shared.lock_in_order().has_room_to_answer(len);
            self.pause(shared, !has_room);
            if has_room && !self.is_spent() {
                shared.begin_batch(&mut shared.lock());
                return Poll::Ready(true);
            }
            if self.rest(cx, shared) {
                return Poll::Pending;
            }
        }
    }

    /// True if this turn has had its events: see [`Wire::poll_room`].
    #[inline]
    pub(crate) fn is_spent(&mut self) -> bool {
        self.quota.is_spent(self.clock) && self.shares_worker()
    }

    /// True if this turn has had its reads and writes.
    fn is_used_up(&mut self) -> bool {
        self.quota.is_used_up(self.clock) && self.shares_worker()
    }

    /// A thread of its own goes on.
    fn shares_worker(&mut self) -> bool {
        if T::BLOCKS {
            self.quota.renew();
        }
        !T::BLOCKS
    }

    /// Gives the worker back: until something happens or, if this turn is used up, until the
    /// others had theirs. A deadline that has passed is judged before, unless there may be more
    /// to read. False if there is something to do after all.
    fn rest(&mut self, cx: &mut Context<'_>, shared: &Shared) -> bool {
        if self.is_used_up() {
            // The batch is this thread's; the next turn may be another's.
            drop(shared.lock_in_order());
            self.transport.yield_now(cx);
        } else if self.judge(shared) || !shared.fall_asleep(cx.waker(), !self.outbox.is_empty()) {
            return false;
        }
        self.quota.renew();
        true
    }

    /// What the receiver counts down for frames that are no event.
    #[inline]
    pub(crate) fn frames(&mut self) -> &mut u16 {
        self.quota.events()
    }

    /// Counts an event of any kind.
    #[inline]
    pub(crate) fn count_event(&mut self) {
        self.quota.event();
    }

    /// Counts bytes that were inflated out of fewer.
    pub(crate) fn count_made(&mut self, bytes: usize) {
        self.quota.made(bytes);
    }

    /// An event other than a message.
    pub(crate) fn event(&mut self, shared: &Shared, event: Event<'_>) {
        // An end starts a deadline, and handlers may have taken their time since the read. A Pong
        // came with the read.
        if !matches!(event, Event::Ping(_) | Event::Pong(_)) {
            self.now = (self.clock)();
        }
        self.tell(shared, |link, now| link.event(event, now));
    }

    /// A message is about to be handed over.
    #[inline]
    pub(crate) fn count_message(&mut self, shared: &Shared) {
        self.messages += 1;
        if self.is_half() {
            self.leave(shared);
        }
    }

    /// The head of the refusal that a client gets has arrived.
    pub(crate) fn refused_by_peer(&mut self, shared: &Shared) {
        self.tell(shared, Link::refused_by_peer);
    }

    /// Keeps the rest of an input, exactly sized, to be the next input.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        self.kept = (!rest.is_empty()).then(|| Scratch::kept(rest));
    }

    /// Queues bytes of the opening.
    pub(crate) fn queue_opening<const N: usize>(&mut self, shared: &Shared, parts: [Bytes; N]) {
        shared.lock().link.queue_opening(parts, &mut self.outbox);
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Only writes, keeps time, and sleeps, for as long as the connection allows.
    fn poll_quiet(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<Cut> {
        loop {
            if self.poll_turn(cx, shared).is_ready() {
                return Poll::Ready(Cut::Over);
            }
            if self.late && shared.lock().link.is_closing() {
                return Poll::Ready(Cut::Late);
            }
            if self.rest(cx, shared) {
                return Poll::Pending;
            }
        }
    }

    /// One turn: bytes out, what the link owes, time in. Ready once the connection is over.
    ///
    /// Where a deadline has passed that would end the connection, [`Wire::judge`] is left to the
    /// caller, when it has read what there is.
    fn poll_turn(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<()> {
        shared.set_awake();
        self.now = (self.clock)();
        self.quota.begin(self.now);
        let mut look = self.look(shared, None);
        // Each turn writes once, whatever it has read.
        let mut may_write = true;
        loop {
            match look.step {
                Step::Finished { reset } => {
                    if reset {
                        self.transport.reset();
                    }
                    return Poll::Ready(());
                }
                Step::Shutdown => match self.transport.poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => {
                        shared.lock().link.shut_down();
                        look = self.look(shared, None);
                        continue;
                    }
                    Poll::Ready(Err(error)) => {
                        self.failed(shared, error);
                        look = self.look(shared, None);
                        continue;
                    }
                    Poll::Pending => {}
                },
                Step::Continue => {}
            }
            if may_write && !self.outbox.is_empty() {
                match self.poll_write(cx) {
                    Poll::Ready(Ok(n)) => {
                        self.quota.call(n);
                        may_write = !self.is_used_up();
                        self.refresh_now();
                        look = self.look(shared, Some(n));
                        continue;
                    }
                    Poll::Ready(Err(error)) => {
                        self.failed(shared, error);
                        look = self.look(shared, None);
                        continue;
                    }
                    Poll::Pending => {
                        let step = look.step;
                        self.refresh_now();
                        look = self.look(shared, Some(0));
                        if let Some(roomy) = self.outbox.shrink() {
                            pool::give_spare(roomy);
                        }
                        if look.step != step {
                            continue;
                        }
                    }
                }
            }
            if T::BLOCKS
                && let Poll::Ready(Err(error)) = self.transport.poll_answers(cx)
            {
                self.failed(shared, error);
                look = self.look(shared, None);
                continue;
            }
            if self.poll_due(cx, look.deadline).is_pending() {
                self.go_on(shared);
                return Poll::Pending;
            }
            let mut inner = shared.lock();
            if inner.link.is_condemning(self.now) {
                // Whoever was on time knows what the runtime has reported. Asking the system would
                // only find space that a deaf peer left long ago.
                let was_away = look.deadline.is_some_and(|at| self.now - at >= LATE);
                let asks = was_away || inner.link.is_cut_off();
                drop(inner);
                if self.late || asks && self.transport.poll_refresh(cx).is_pending() {
                    return Poll::Pending;
                }
                self.late = true;
                continue;
            }
            self.late = false;
            inner.link.handle_timeout(self.now);
            drop(inner);
            look = self.look(shared, None);
        }
    }

    /// Takes the time anew if something has blocked since, or a write is about to start a
    /// deadline.
    fn refresh_now(&mut self) {
        if T::BLOCKS || !self.outbox.is_empty() {
            self.now = (self.clock)();
        }
    }

    /// Tells the link what happened, takes what is queued, and asks what is next: once
    /// under the lock.
    fn look(&mut self, shared: &Shared, wrote: Option<usize>) -> Look {
        let mut inner = shared.look();
        self.count(shared, &mut inner);
        self.limit = inner.link.sender.limit();
        self.max_read = inner.link.options().max_read();
        if T::BLOCKS && !shared.is_reading() {
            inner.link.pause(true);
        }
        if let Some(n) = wrote {
            inner.wrote(n, &self.outbox, self.now);
        }
        let paused_until = shared.paused_until(&mut inner, self.now);
        let waiting = inner.is_relieved().then(|| inner.take_waiting());
        // What may be on its way already must not be overtaken.
        if !self.transport.is_committed() {
            inner.link.sender.take(&mut self.outbox);
            // What had waited is encoded now.
            inner.link.note_framer(self.now);
        }
        shared.publish(&inner);
        let timeout = inner.link.poll_timeout().map(|(at, _)| at);
        let deadline = timeout.into_iter().chain(paused_until).min();
        let step = match inner.link.step() {
            // Only the peer's FIN is missing: see `linger`.
            Step::Continue if inner.link.lingers_until().is_some() => {
                Step::Finished { reset: false }
            }
            step => step,
        };
        let look = Look { step, deadline };
        // A handler that blocks could hold its batch back for as long.
        if !T::BLOCKS {
            shared.begin_batch(&mut inner);
        }
        drop(inner);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
        look
    }

    /// Tells the link what was received since it was told.
    fn count(&mut self, shared: &Shared, inner: &mut Inner) {
        let (bytes, messages) =
            (core::mem::take(&mut self.bytes), core::mem::take(&mut self.messages));
        if bytes > 0 {
            inner.link.received(bytes as usize);
        }
        if bytes > 0 || messages > 0 {
            shared.count_received(bytes as usize, messages.into());
        }
        if messages > 0 {
            inner.link.message(self.now);
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        receiver: Option<&mut Receiver>,
    ) -> Poll<io::Result<Input>> {
        if let Some(receiver) = receiver
            && let Some(room) = receiver.direct()
        {
            let len = ready!(self.transport.poll_read(cx, room))?;
            receiver.direct_filled(len);
            return Poll::Ready(Ok(Input { scratch: None, len }));
        }
        let mut scratch = Scratch::take(self.bulk);
        let room = scratch.room();
        // Answers to all of it shall fit beside as much that waits already.
        let most = (self.limit / 2).max(MIN_READ).min(self.max_read).min(room.len());
        match self.transport.poll_read(cx, &mut room[..most]) {
            Poll::Ready(Ok(len)) => {
                self.bulk = len >= pool::SCRATCH;
                Poll::Ready(Ok(Input { scratch: Some(scratch), len }))
            }
            other => {
                scratch.give();
                other.map_ok(|_| Input { scratch: None, len: 0 })
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); CHUNKS];
        let mut used = 0;
        for (slot, chunk) in slices.iter_mut().zip(self.outbox.chunks()) {
            *slot = IoSlice::new(chunk);
            used += 1;
        }
        let n = ready!(self.transport.poll_write(cx, &slices[..used]))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.outbox.advance(n);
        if let Some(spare) = self.outbox.take_spare() {
            pool::give_spare(spare);
        }
        Poll::Ready(Ok(n))
    }

    #[inline]
    fn pause(&mut self, shared: &Shared, paused: bool) {
        if self.paused != paused {
            self.paused = paused;
            // A call of the application may have come to its end in a new turn.
            self.quota.begin((self.clock)());
            shared.lock().link.pause(paused);
        }
    }

    /// What came of a read, told to the link unless it is input.
    fn read(
        &mut self,
        shared: &Shared,
        receiver: Option<&mut Receiver>,
        read: io::Result<Input>,
    ) -> Option<Input> {
        if T::BLOCKS {
            self.now = (self.clock)();
        }
        match read {
            Ok(input) if input.len > 0 => {
                self.bytes = self.bytes.saturating_add(input.len as u32);
                self.quota.call(input.len);
                return Some(input);
            }
            Ok(input) => {
                input.give();
                self.end_of_stream = true;
                let unfinished = receiver.map(Receiver::unfinished).unwrap_or_default();
                self.tell(shared, |link, now| link.end_of_stream(unfinished, now));
            }
            Err(error) => self.read_failed(shared, receiver, error),
        }
        None
    }

    /// An end that TLS did not announce is an end all the same.
    fn read_failed(&mut self, shared: &Shared, receiver: Option<&mut Receiver>, error: io::Error) {
        #[cfg(feature = "tls")]
        if error.kind() == io::ErrorKind::UnexpectedEof
            && let Some(error) = TlsError::of(&error)
        {
            self.end_of_stream = true;
            let unfinished = receiver.map(Receiver::unfinished).unwrap_or_default();
            return self.tell(shared, |link, now| link.truncated(error, unfinished, now));
        }
        let _ = receiver;
        self.failed(shared, error);
    }

    pub(crate) fn failed(&mut self, shared: &Shared, error: io::Error) {
        #[cfg(feature = "tls")]
        if let Some(error) = TlsError::of(&error) {
            return self.tell(shared, |link, _| link.tls_failed(error));
        }
        self.tell(shared, |link, _| link.transport_failed(error));
    }

    /// Tells the link something that may change what it owes.
    fn tell(&mut self, shared: &Shared, tell: impl FnOnce(&mut Link, Instant)) {
        let mut inner = shared.lock();
        tell(&mut inner.link, self.now);
        if T::BLOCKS {
            // The other half looks.
            shared.changed(inner);
        } else {
            shared.publish(&inner);
        }
    }
}

impl<T: Transport> Wire<Stage<T>> {
    /// True if there is TLS below.
    pub(crate) fn is_secured(&self) -> bool {
        self.transport.is_secured()
    }
}

impl Input {
    /// The bytes, to be parsed in place.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        let len = self.len;
        self.scratch.as_mut().map_or(&mut [], |scratch| &mut scratch.room()[..len])
    }

    /// Gives the room back to the pool.
    pub(crate) fn give(self) {
        if let Some(scratch) = self.scratch {
            scratch.give();
        }
    }
}

/// Runs what calls a session's handler; `None` if that panics.
#[inline]
pub(crate) fn catch_in<R>(shared: &Shared, run: impl FnOnce() -> R) -> Option<R> {
    batch::in_handler_of(shared.owner(), || catch(run))
}
