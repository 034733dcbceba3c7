//! What the driver and the application's handles share, behind one lock.

use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::string::String;
use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::vec::Vec;

use super::Session;
use super::lag::{self, Lagging};
use super::waits::Waiting;
use crate::Instant;
use crate::connection::link::Link;
use crate::connection::options::Overrides;
use crate::connection::outbox::Outbox;
use crate::connection::reason::{Cause, DisconnectReason};
use crate::connection::sender::Sender;
use crate::error::{Error, LocalError, SendError};
use crate::extensions::Extensions;
use crate::service::batch::{self, Collected};
use crate::service::middleware::Chain;
use crate::service::pool;
use crate::service::registry::Registry;
use crate::service::runtime::{Address, Ends};
use crate::service::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::service::sync::{Mutex, MutexGuard};
use crate::service::trace;
use crate::service::wire::linger::Linger;
#[cfg(feature = "tls")]
use crate::tls::TlsFacts;
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::close_code::CloseCode;

/// What the driver and the application's handles share.
pub(crate) struct Shared {
    pub(super) inner: Mutex<Inner>,
    /// The driver is at work and will look at the outbox before it sleeps.
    pub(super) awake: AtomicBool,
    /// Bytes accepted and not yet written, for a look without the lock.
    pub(super) queued: AtomicUsize,
    /// Messages are no longer delivered or accepted.
    pub(super) closing: AtomicBool,
    /// Others have queued behind the batch of the driver's turn.
    pub(super) contended: AtomicBool,
    /// Reading is paused, or was and nobody has looked since.
    pub(super) paused: AtomicBool,
    /// The driver waits for bytes, or will soon; false while a handler blocks its thread.
    pub(super) reading: AtomicBool,
    pub(super) bytes_received: AtomicU64,
    pub(super) messages_received: AtomicU64,
    /// 0 before the session is open.
    pub(super) id: AtomicU64,
    /// When the session opened, in nanoseconds; 0 before.
    pub(super) opened: AtomicU64,
    pub(super) subprotocol: OnceLock<Box<str>>,
    #[cfg(feature = "tls")]
    pub(super) tls: OnceLock<Arc<TlsFacts>>,
    pub(super) identity: Identity,
}

/// What is known from the start.
pub(crate) struct Identity {
    /// The number of the connection, counted from accept.
    pub(crate) connection: u64,
    pub(crate) ends: Ends,
    pub(crate) clock: fn() -> Instant,
    /// The handler, which may hold the session.
    pub(crate) handler: Weak<dyn Lagging>,
    /// Of the server that accepted it; the table there lets go of the session at its end.
    pub(crate) registry: Option<Arc<Registry>>,
    pub(crate) chain: Chain,
}

pub(crate) struct Inner {
    pub(crate) link: Link,
    /// The driver's waker, while it sleeps.
    pub(super) waker: Option<Waker>,
    pub(super) bytes_sent: u64,
    pub(super) messages_sent: u64,
    /// What an idle session does not have.
    pub(super) rare: Option<Box<Rare>>,
    /// Something other than a message changed since the driver looked.
    pub(super) dirty: bool,
    /// There is room again for those who wait.
    pub(super) relieved: bool,
    /// `on_connected` has returned, or will never be called.
    greeted: bool,
}

#[derive(Default)]
pub(super) struct Rare {
    /// Calls that wait for room or for the end.
    pub(super) waiting: Vec<(u64, Waker)>,
    /// The driver's reading half, if it waits for the same.
    pub(super) reader: Option<Waker>,
    /// The reading half is to leave its call of the handler: the time of a close has passed, and
    /// what has arrived is to be read before the connection is over.
    pub(super) last_read: bool,
    pub(super) next_ticket: u64,
    pub(super) ended: Option<(Instant, Arc<DisconnectReason>)>,
    /// What was left to do for its connection then.
    pub(super) linger: Option<Linger>,
    /// The last events have begun.
    pub(super) ending: bool,
    /// The last event was handled.
    pub(super) handled: bool,
    /// The groups that it was in at its end, until the last event is handled.
    pub(super) groups: Vec<Arc<str>>,
    /// What the application attached.
    pub(super) data: Extensions,
    /// When reading goes on.
    pub(super) paused_until: Instant,
    /// Middleware refused the session: so many of it were told of its beginning.
    pub(super) refused: Option<usize>,
    /// Messages that never reached the outbox or the handler.
    pub(super) lost: Lost,
}

/// Messages of a session that were lost for another reason than a slow peer.
#[derive(Clone, Copy, Default)]
pub(super) struct Lost {
    /// The session was closing or closed.
    pub(super) closed: u64,
    /// The framing could not carry them.
    pub(super) unframed: u64,
    /// Middleware dropped them on their way to the handler.
    pub(super) filtered_in: u64,
    /// Middleware dropped them on their way to the outbox.
    pub(super) filtered_out: u64,
}

impl Shared {
    pub(super) fn new(link: Link, identity: Identity) -> Shared {
        let inner = Inner {
            link,
            waker: None,
            bytes_sent: 0,
            messages_sent: 0,
            rare: None,
            dirty: false,
            relieved: false,
            greeted: false,
        };
        Shared {
            inner: Mutex::new(inner),
            awake: AtomicBool::new(true),
            queued: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            contended: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            reading: AtomicBool::new(true),
            bytes_received: AtomicU64::new(0),
            messages_received: AtomicU64::new(0),
            id: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            subprotocol: OnceLock::new(),
            #[cfg(feature = "tls")]
            tls: OnceLock::new(),
            identity,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Of the application only framers run under the lock, and their panics are caught. The
        // state is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes in order; see [`Session::close`].
    pub(crate) fn close(&self, frame: CloseFrame, cause: Cause) {
        let now = (self.identity.clock)();
        let mut inner = self.lock_in_order();
        inner.link.close(frame, cause, now);
        self.changed(inner);
    }

    /// The server stops.
    pub(crate) fn go_away(&self, code: CloseCode) {
        self.close(CloseFrame::of(code, ""), Cause::GoingAway);
    }

    /// The opening was answered with something other than a WebSocket.
    pub(crate) fn refuse(&self) {
        let now = (self.identity.clock)();
        let mut inner = self.lock();
        inner.link.refuse(now);
        self.publish(&inner);
    }

    /// Closes with a local fault.
    pub(crate) fn fail(&self, cause: Cause, error: Error, now: Instant) {
        let mut inner = self.lock_in_order();
        inner.link.fail(cause, error, now);
        self.changed(inner);
    }

    /// The peer sent more than a rate limit allows.
    pub(crate) fn rate_limited(&self) {
        let now = (self.identity.clock)();
        let mut inner = self.lock_in_order();
        inner.link.rate_limited(now);
        self.changed(inner);
    }

    /// Code of the application panicked: closes the session in order.
    pub(crate) fn panicked(&self) {
        let error = Error::Local(LocalError::HandlerPanicked);
        self.fail(Cause::HandlerFailed, error, (self.identity.clock)());
    }

    /// Names this session as the owner of a batch, and of a handler's call.
    #[inline]
    pub(crate) fn owner(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Names the batch of this session: with middleware otherwise, so that no send finds it
    /// without asking that first, and no other send has to ask.
    pub(super) fn batch(&self) -> usize {
        self.owner() + usize::from(!self.chain().is_empty())
    }

    /// Nobody has queued behind the batch, and nothing ended it.
    #[inline]
    pub(super) fn is_undisturbed(&self) -> bool {
        !self.contended.load(Ordering::Relaxed) && !self.is_closing()
    }

    /// The lock, after the batch of this thread's turn has joined the outbox: what is queued
    /// now comes behind it.
    pub(crate) fn lock_in_order(&self) -> MutexGuard<'_, Inner> {
        let collected = batch::close(self.batch());
        let mut inner = self.lock();
        if let Some(collected) = collected {
            inner.collect(collected);
            self.contended.store(false, Ordering::Relaxed);
        }
        inner
    }

    /// Queues a message on `session`, whose shared half this is. A caller that waits if there is
    /// no room is `patient`: a refusal loses nothing then.
    pub(super) fn with_outbox(
        &self,
        session: &Session,
        patient: bool,
        queue: impl FnOnce(&mut Sender) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let mut inner = self.lock_in_order();
        inner.offer_spare();
        if inner.link.sender.is_lent() {
            self.contended.store(true, Ordering::Relaxed);
        }
        let before = inner.link.sender.queued();
        let was_lagging = inner.link.sender.is_backpressured();
        let sent = match patient {
            false => queue(&mut inner.link.sender),
            true => inner.link.sender.patiently(queue),
        };
        if let Err(error) = sent {
            let goes_on = patient && error == SendError::Full;
            self.refused(session, inner, was_lagging, (!goes_on).then_some(error));
            return Err(error);
        }
        let after = inner.link.sender.queued();
        if batch::is_in_handler_of(self.owner()) {
            inner.link.sender.answered(after.saturating_sub(before));
        }
        inner.messages_sent += 1;
        let lag = inner.link.sender.take_lag();
        self.queued.store(after, Ordering::Relaxed);
        self.wake(inner);
        if let Some(lag) = lag {
            trace::lagging(self, after, &lag);
            lag::tell(session, lag);
        }
        Ok(())
    }

    /// A send was refused: that may have lost its message, or ended the session. Without an
    /// error the caller goes on waiting.
    #[cold]
    fn refused(
        &self,
        session: &Session,
        mut inner: MutexGuard<'_, Inner>,
        was_lagging: bool,
        error: Option<SendError>,
    ) {
        match error {
            Some(SendError::Closed) => inner.rare().lost.closed += 1,
            Some(SendError::Framing(_)) => inner.rare().lost.unframed += 1,
            _ => {}
        }
        let lag = inner.link.sender.take_lag();
        let lags = !was_lagging && inner.link.sender.is_backpressured();
        inner.link.settle();
        let ends = inner.link.note_framer((self.identity.clock)()) || inner.link.is_finished();
        if ends && !inner.is_over() {
            self.changed(inner);
        } else {
            drop(inner);
        }
        if let Some(error) = error {
            trace::lost(self, error.name());
        }
        if lags || lag.is_some() {
            trace::lagging(self, self.queued(), &lag.unwrap_or_default());
        }
        if let Some(lag) = lag {
            lag::tell(session, lag);
        }
    }

    /// A caller that waited for room for a message of `len` bytes is refused after all.
    #[cold]
    pub(super) fn give_up(&self, session: &Session, len: usize) -> SendError {
        let mut inner = self.lock_in_order();
        let error = match inner.link.sender.refused(len, false) {
            Ok(()) => SendError::Full,
            Err(error) => error,
        };
        self.refused(session, inner, true, Some(error));
        error
    }

    /// Middleware dropped a message that arrived.
    pub(crate) fn filtered_in(&self) {
        self.lock().rare().lost.filtered_in += 1;
        trace::lost(self, "filtered_in");
    }

    /// Middleware dropped a message that was to be sent.
    pub(crate) fn filtered_out(&self) {
        self.lock().rare().lost.filtered_out += 1;
        trace::lost(self, "filtered_out");
    }

    /// Sets what differs for this session; see [`Session::set`].
    pub(super) fn set(&self, overrides: &Overrides) {
        let now = (self.identity.clock)();
        let mut inner = self.lock_in_order();
        inner.link.set(overrides, now);
        // Those who wait for room may have it, or are not to wait any more.
        let waiting = inner.take_waiting();
        self.changed(inner);
        waiting.wake();
    }

    /// Who is told that this session lags, for as long as it is there.
    pub(super) fn handler(&self) -> Option<Arc<dyn Lagging>> {
        self.identity.handler.upgrade()
    }

    /// Something other than a message changed: let everybody look.
    pub(crate) fn changed(&self, mut inner: MutexGuard<'_, Inner>) {
        inner.dirty = true;
        self.publish(&inner);
        self.wake(inner);
    }

    /// Wakes the driver if it sleeps, once, and without the lock.
    #[inline]
    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        if self.awake.load(Ordering::Relaxed) {
            return;
        }
        self.awake.store(true, Ordering::Relaxed);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    // The driver's side.

    /// The driver is at work: senders need not wake it.
    pub(crate) fn set_awake(&self) {
        self.awake.store(true, Ordering::Relaxed);
    }

    /// The driver wants to sleep; false if there is something to do after all.
    pub(crate) fn fall_asleep(&self, waker: &Waker, writes_pending: bool) -> bool {
        let mut inner = self.lock_in_order();
        if inner.dirty || (inner.link.sender.has_output() && !writes_pending) {
            return false;
        }
        if !inner.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        self.awake.store(false, Ordering::Relaxed);
        true
    }

    /// The driver looks: under the lock, with everything before it in order.
    pub(crate) fn look(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.lock_in_order();
        inner.dirty = false;
        inner
    }

    /// Lends room for a batch, until the driver looks again or sleeps.
    pub(crate) fn begin_batch(&self, inner: &mut Inner) {
        if inner.link.is_open() && batch::is_free() {
            let room = inner.link.sender.lend(batch::ROOM);
            batch::open(self.batch(), room);
        }
    }

    /// What can be seen without the lock.
    pub(crate) fn publish(&self, inner: &Inner) {
        self.closing.store(!inner.link.is_open(), Ordering::Relaxed);
        self.queued.store(inner.link.sender.queued(), Ordering::Relaxed);
    }

    /// The driver's thread goes into a call of the application, or comes back to read.
    pub(crate) fn set_reading(&self, reading: bool) {
        self.reading.store(reading, Ordering::Relaxed);
    }

    pub(crate) fn is_reading(&self) -> bool {
        self.reading.load(Ordering::Relaxed)
    }

    /// Reading is paused, as far as can be seen without the lock.
    #[inline]
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// When reading goes on, if it is paused. A session that closes reads on: its peer has a
    /// last word, and whoever waits for the end of the pause is to be woken.
    pub(crate) fn paused_until(&self, inner: &mut Inner, now: Instant) -> Option<Instant> {
        if !self.is_paused() {
            return None;
        }
        let until = inner.rare().paused_until;
        if inner.link.is_open() && now < until {
            return Some(until);
        }
        self.paused.store(false, Ordering::Relaxed);
        inner.relieved = true;
        None
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Counters that only the driver writes.
    pub(crate) fn count_received(&self, bytes: usize, messages: u64) {
        let add = |counter: &AtomicU64, n| {
            counter.store(counter.load(Ordering::Relaxed) + n, Ordering::Relaxed);
        };
        add(&self.bytes_received, bytes as u64);
        add(&self.messages_received, messages);
    }

    pub(crate) fn clock(&self) -> fn() -> Instant {
        self.identity.clock
    }

    /// Of the server that accepted it.
    pub(crate) fn registry(&self) -> Option<&Arc<Registry>> {
        self.identity.registry.as_ref()
    }

    /// The middleware that it goes through.
    #[inline]
    pub(crate) fn chain(&self) -> &Chain {
        &self.identity.chain
    }

    /// Middleware refused the session; so many of it were told of its beginning.
    pub(crate) fn refused_by_chain(&self, told: usize) {
        self.lock().rare().refused = Some(told);
    }

    /// How much of the middleware was told of the beginning of a session that it refused.
    pub(crate) fn refused_by(&self) -> Option<usize> {
        self.lock().rare.as_ref()?.refused
    }

    /// 0 before the session is open.
    pub(crate) fn id(&self) -> u64 {
        self.id.load(Ordering::Relaxed)
    }

    pub(crate) fn peer(&self) -> &Address {
        &self.identity.ends.peer
    }

    /// The number of the connection, counted from accept.
    pub(crate) fn connection(&self) -> u64 {
        self.identity.connection
    }

    /// When the session opened.
    pub(crate) fn opened(&self) -> Instant {
        Instant::from_nanos(self.opened.load(Ordering::Relaxed))
    }

    /// The opening is done; what was agreed on is known from now on.
    pub(crate) fn open(&self, id: u64, subprotocol: Option<String>, data: Extensions) {
        let at = (self.identity.clock)();
        self.id.store(id, Ordering::Relaxed);
        self.opened.store(at.as_nanos(), Ordering::Relaxed);
        if let Some(name) = subprotocol {
            let _ = self.subprotocol.set(name.into_boxed_str());
        }
        let mut inner = self.lock();
        if !data.is_empty() {
            inner.rare().data = data;
        }
        inner.link.opened(at);
        self.publish(&inner);
    }

    /// The fault that ends the connection, as far as it is known.
    #[cfg(feature = "tls")]
    pub(crate) fn fault(&self) -> Option<Error> {
        self.lock().link.reason()?.error.clone()
    }

    /// A whole step of the opening arrived; see [`Link::stepped`].
    pub(crate) fn stepped(&self) {
        let now = (self.identity.clock)();
        self.lock().link.stepped(now);
    }

    /// Calls the reading half back from the handler, if it can be called, where a close has taken
    /// its time.
    pub(crate) fn read_last(&self) {
        let mut inner = self.lock();
        if !inner.link.is_closing() {
            return;
        }
        inner.rare().last_read = true;
        let reader = inner.rare().reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The server does not wait any longer; see [`Link::cut_off`].
    pub(crate) fn cut_off(&self) {
        let now = (self.identity.clock)();
        let mut inner = self.lock_in_order();
        inner.link.cut_off(now);
        self.changed(inner);
    }

    /// The handshake of TLS is done.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(&self, facts: TlsFacts) {
        let _ = self.tls.set(Arc::new(facts));
    }

    /// The connection is over. Returns the last word, the same on each call.
    pub(crate) fn end(&self, wire: &Outbox) -> Arc<DisconnectReason> {
        let at = (self.identity.clock)();
        let mut inner = self.lock_in_order();
        if let Some((_, reason)) = inner.ended() {
            return reason.clone();
        }
        let is_shut_down = inner.link.is_shut_down();
        let until = inner.link.lingers_until();
        let until = until.or_else(|| inner.link.owes_shutdown().then_some(at));
        let linger = until.map(|until| Linger { until, is_shut_down });
        let reason = Arc::new(inner.link.finalize(wire));
        inner.rare().linger = linger;
        inner.rare().ended = Some((at, reason.clone()));
        let waiting = inner.take_waiting();
        // A writing half that is not the one who ended it goes as well.
        self.changed(inner);
        waiting.wake();
        reason
    }

    /// How the connection lingers; `None` if it is over for the transport as well.
    pub(crate) fn linger(&self) -> Option<Linger> {
        self.lock().rare.as_ref()?.linger
    }

    /// The last events are to come; false if they came already.
    pub(crate) fn begin_last_events(&self) -> bool {
        !core::mem::replace(&mut self.lock().rare().ending, true)
    }

    /// `on_connected` has returned.
    pub(crate) fn greeted(&self) {
        let mut inner = self.lock();
        inner.greeted = true;
        let waiting = inner.take_waiting();
        drop(inner);
        waiting.wake();
    }

    /// Ready once `on_connected` has returned, or the session is over.
    pub(crate) fn poll_greeted(&self, cx: &mut Context<'_>, ticket: &mut Option<u64>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.greeted || inner.is_over() {
            return Poll::Ready(());
        }
        inner.rare().wait(ticket, cx.waker());
        Poll::Pending
    }

    pub(crate) fn is_greeted(&self) -> bool {
        let inner = self.lock();
        inner.greeted || inner.is_over()
    }

    pub(crate) fn is_handled(&self) -> bool {
        self.lock().rare.as_ref().is_some_and(|rare| rare.handled)
    }

    /// Keeps the names of the groups that it has left by its end, for its last event.
    pub(crate) fn keep_groups(&self, groups: Vec<Arc<str>>) {
        self.lock().rare().groups = groups;
    }

    /// See [`Shared::keep_groups`].
    pub(crate) fn kept_groups(&self) -> Vec<Arc<str>> {
        self.lock().rare.as_ref().map_or_else(Vec::new, |rare| rare.groups.clone())
    }

    /// The last event was handled.
    pub(crate) fn handled(&self) {
        let mut inner = self.lock();
        inner.rare().handled = true;
        inner.rare().groups = Vec::new();
        let waiting = inner.take_waiting();
        drop(inner);
        waiting.wake();
    }
}

impl Inner {
    /// The transport took `n` bytes.
    pub(crate) fn wrote(&mut self, n: usize, wire: &Outbox, now: Instant) {
        self.bytes_sent += n as u64;
        self.relieved |= self.link.wrote(n, wire, now);
    }

    /// True if there is room for answers of `len` bytes, or none is asked for any more.
    /// Otherwise those who wait are woken when there is.
    pub(crate) fn has_room_to_answer(&mut self, len: usize) -> bool {
        self.link.sender.has_room_to_answer(len) || !self.link.is_open()
    }

    /// True if there is room again for those who wait.
    pub(crate) fn is_relieved(&self) -> bool {
        self.relieved
    }

    /// Takes in what a batch collected.
    fn collect(&mut self, mut collected: Collected) {
        if !collected.frames.is_empty() {
            self.offer_spare();
        }
        if self.link.sender.collect(&mut collected.frames) {
            (self.dirty, self.relieved) = (true, true);
        }
        self.messages_sent += collected.messages;
        batch::give(collected.frames);
    }

    /// Saves the next message an allocation, if it leaves at once.
    fn offer_spare(&mut self) {
        if self.link.sender.outbox().wants_spare()
            && self.link.is_flowing()
            && let Some(spare) = pool::take_spare()
        {
            self.link.sender.outbox().offer(spare);
        }
    }

    /// Those who wait for room or for the end, to be woken without the lock.
    pub(crate) fn take_waiting(&mut self) -> Waiting {
        self.relieved = false;
        let Some(rare) = &mut self.rare else { return Waiting::default() };
        Waiting { calls: core::mem::take(&mut rare.waiting), reader: rare.reader.take() }
    }

    /// Registers the reading half with those who wait.
    pub(crate) fn wait_to_read(&mut self, waker: &Waker) {
        self.rare().reader = Some(waker.clone());
    }

    /// The reading half is to leave its call of the handler; see [`Shared::read_last`].
    pub(crate) fn is_last_read(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.last_read)
    }

    /// The last word was said.
    pub(crate) fn is_over(&self) -> bool {
        self.ended().is_some()
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// When and why the session ended.
    pub(super) fn ended(&self) -> Option<&(Instant, Arc<DisconnectReason>)> {
        self.rare.as_ref()?.ended.as_ref()
    }
}

impl Rare {
    /// Registers a waiting call, or renews its waker.
    pub(super) fn wait(&mut self, ticket: &mut Option<u64>, waker: &Waker) {
        if let Some(ticket) = ticket
            && let Some((_, known)) = self.waiting.iter_mut().find(|(id, _)| id == ticket)
        {
            return known.clone_from(waker);
        }
        let id = *ticket.get_or_insert_with(|| {
            self.next_ticket += 1;
            self.next_ticket
        });
        self.waiting.push((id, waker.clone()));
    }

    pub(super) fn stop_waiting(&mut self, ticket: Option<u64>) {
        self.waiting.retain(|(id, _)| Some(*id) != ticket);
    }
}
