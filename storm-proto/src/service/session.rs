//! The application's handle on a connection.

use core::any::Any;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::boxed::Box;
use std::string::String;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::vec::Vec;

use super::batch::{self, Collected};
use super::park;
use super::pool;
use super::registry::Registry;
use super::runtime::{Address, Ends};
use crate::Instant;
use crate::connection::link::Link;
use crate::connection::outbox::Outbox;
use crate::connection::reason::{Cause, DisconnectReason};
use crate::error::{CloseError, Error, SendError};
use crate::extensions::Extensions;
use crate::message::Message;
#[cfg(feature = "tls")]
use crate::tls::TlsFacts;
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::close_code::CloseCode;
use crate::websocket::prepared::Prepared;

/// How many calls of [`Session::send_wait`] may wait for one session at once. Each holds a
/// message of its own, so the number bounds memory where the outbox no longer does.
const MAX_WAITING: usize = 1024;

/// A session: one connection of a server or a client, as the application holds it.
///
/// Cloning it counts a reference. It can be used from any thread, in handlers and
/// outside; no call but those whose name says so waits for anything. After the
/// connection is over a session stays readable, and sends fail with
/// [`SendError::Closed`].
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

/// What the driver and the application's handles share.
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// The driver is at work and will look at the outbox before it sleeps.
    awake: AtomicBool,
    /// Bytes accepted and not yet written, for a look without the lock.
    queued: AtomicUsize,
    /// Messages are no longer delivered or accepted.
    closing: AtomicBool,
    /// Others have queued behind the batch of the driver's turn.
    contended: AtomicBool,
    /// The driver waits for bytes, or will soon; false while a handler blocks its thread.
    reading: AtomicBool,
    bytes_received: AtomicU64,
    messages_received: AtomicU64,
    /// 0 before the session is open.
    id: AtomicU64,
    /// When the session opened, in nanoseconds; 0 before.
    opened: AtomicU64,
    subprotocol: OnceLock<Box<str>>,
    #[cfg(feature = "tls")]
    tls: OnceLock<Arc<TlsFacts>>,
    identity: Identity,
}

/// What is known from the start.
pub(crate) struct Identity {
    /// The number of the connection, counted from accept.
    pub(crate) connection: u64,
    pub(crate) ends: Ends,
    pub(crate) clock: fn() -> Instant,
    /// Of the server that accepted it; the table there lets go of the session at its end.
    pub(crate) registry: Option<Arc<Registry>>,
}

pub(crate) struct Inner {
    pub(crate) link: Link,
    /// The driver's waker, while it sleeps.
    waker: Option<Waker>,
    bytes_sent: u64,
    messages_sent: u64,
    /// What an idle session does not have.
    rare: Option<Box<Rare>>,
    /// Something other than a message changed since the driver looked.
    dirty: bool,
    /// There is room again for those who wait.
    relieved: bool,
}

#[derive(Default)]
struct Rare {
    /// Calls that wait for room or for the end.
    waiting: Vec<(u64, Waker)>,
    /// The driver's reading half, if it waits for the same.
    reader: Option<Waker>,
    next_ticket: u64,
    ended: Option<(Instant, Arc<DisconnectReason>)>,
    /// The last event was handled.
    handled: bool,
    /// What the application attached.
    data: Extensions,
}

/// Where a session is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum State {
    /// The handshake is under way.
    Opening,
    /// Messages flow.
    Open,
    /// A close is under way: nothing is accepted or delivered any more.
    Closing,
    /// The connection is over.
    Closed,
}

/// Counters of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Bytes given to the transport, framing included, TLS not.
    pub bytes_sent: u64,
    /// Bytes taken from the transport, framing included, TLS not.
    pub bytes_received: u64,
    /// Messages accepted by a send.
    pub messages_sent: u64,
    /// Messages handed to the handler.
    pub messages_received: u64,
    /// Time since the session opened; stands still once it is closed.
    pub uptime: Duration,
}

impl Session {
    /// The number of this session, 0 before it is open: 1, 2, 3 and so on within one server.
    /// Sessions of a client that comes back have the numbers of their connects, of which some
    /// may have failed.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id.load(Ordering::Relaxed)
    }

    /// The peer's address.
    #[must_use]
    pub fn peer(&self) -> &Address {
        &self.shared.identity.ends.peer
    }

    /// The address of this end.
    #[must_use]
    pub fn local(&self) -> &Address {
        &self.shared.identity.ends.local
    }

    /// The subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.shared.subprotocol.get().map(|name| &**name)
    }

    /// What the handshake of TLS agreed on; `None` on a plain connection.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(&self) -> Option<Arc<TlsFacts>> {
        self.shared.tls.get().cloned()
    }

    /// Where the session is in its life.
    #[must_use]
    pub fn state(&self) -> State {
        let inner = self.shared.lock();
        if inner.ended().is_some() {
            State::Closed
        } else if inner.link.is_open() {
            State::Open
        } else if inner.link.reason().is_some() {
            State::Closing
        } else {
            State::Opening
        }
    }

    /// Why the session ended; `None` while it is not over.
    #[must_use]
    pub fn reason(&self) -> Option<Arc<DisconnectReason>> {
        self.shared.lock().ended().map(|(_, reason)| reason.clone())
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let identity = &self.shared.identity;
        let inner = self.shared.lock();
        let until = inner.ended().map_or_else(identity.clock, |(at, _)| *at);
        let opened = Instant::from_nanos(self.shared.opened.load(Ordering::Relaxed));
        Metrics {
            bytes_sent: inner.bytes_sent,
            bytes_received: self.shared.bytes_received.load(Ordering::Relaxed),
            messages_sent: inner.messages_sent,
            messages_received: self.shared.messages_received.load(Ordering::Relaxed),
            uptime: until - opened,
        }
    }

    /// Bytes accepted and not yet given to the transport.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed)
    }

    /// True from a refused send until the outbox has fallen to its low mark.
    #[must_use]
    pub fn is_backpressured(&self) -> bool {
        self.shared.lock().link.sender.is_backpressured()
    }

    /// The last measured time from a heartbeat's Ping to its Pong.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.shared.lock().link.round_trip()
    }

    /// Queues a message; never waits.
    ///
    /// All messages of one caller arrive in the order of its calls, and messages of
    /// different callers never mix. Accepted means delivered to the transport, or counted
    /// in [`DisconnectReason::undelivered`].
    ///
    /// # Errors
    /// [`SendError::Full`] if the message does not fit into the outbox,
    /// [`SendError::Closed`] after a close, [`SendError::Framing`] if the framing of a TCP
    /// session cannot carry it. Nothing of it is queued then.
    #[inline]
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> Result<(), SendError> {
        let message = message.into();
        if self.shared.is_undisturbed() && batch::push(self.shared.owner(), message) {
            return Ok(());
        }
        self.shared.with_outbox(|link| link.sender.send(message))
    }

    /// Queues a message that was encoded once for many sessions; never waits.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send_prepared(&self, prepared: &Prepared) -> Result<(), SendError> {
        self.shared.with_outbox(|link| link.sender.send_prepared(prepared))
    }

    /// Queues a message, waiting for room if there is none. The wait ends at the latest
    /// when the stall deadline ends the session.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves nothing queued.
    ///
    /// # Errors
    /// As [`Session::send`]; [`SendError::Full`] only if 1,024 calls wait already.
    pub fn send_wait<'s, 'a>(&'s self, message: impl Into<Message<'a>>) -> SendWait<'s, 'a> {
        SendWait { session: self, message: message.into(), ticket: None }
    }

    /// As [`Session::send_wait`], for plain threads: blocks until there is room.
    ///
    /// Not to be called on a thread of an asynchronous runtime, which it would hold up.
    ///
    /// # Errors
    /// As [`Session::send_wait`].
    pub fn send_blocking<'a>(&self, message: impl Into<Message<'a>>) -> Result<(), SendError> {
        park::block_on(self.send_wait(message), self.shared.identity.clock)
    }

    /// Closes in order: what is queued, a Close frame with 1000, the peer's answer, the end
    /// of the stream; at most as long as the close timeout. Does not wait for that, so it can
    /// be called from a handler. Later calls do nothing: the first reason wins.
    pub fn close(&self) {
        self.shared.close(CloseFrame::of(CloseCode::NORMAL, ""), Cause::Closed);
    }

    /// As [`Session::close`], with a code and a reason for the peer. On plain TCP these are
    /// not sent.
    ///
    /// # Errors
    /// If the code may not be sent or the reason has more than 123 bytes; the session
    /// stays as it is.
    pub fn close_with(&self, code: CloseCode, reason: &str) -> Result<(), CloseError> {
        self.shared.close(CloseFrame::new(code, reason)?, Cause::Closed);
        Ok(())
    }

    /// Ends at once, with a reset of the connection; what is queued is dropped.
    pub fn abort(&self) {
        let mut inner = self.shared.lock();
        inner.link.abort();
        self.shared.changed(inner);
    }

    /// Waits until the session is over and its last event was handled.
    ///
    /// # Cancel safety
    /// Safe: dropping the future changes nothing.
    pub fn closed(&self) -> impl Future<Output = Arc<DisconnectReason>> + Send + use<> {
        Closed { shared: self.shared.clone(), ticket: None }
    }

    /// As [`Session::closed`], for plain threads: blocks until the session is over.
    pub fn closed_blocking(&self) -> Arc<DisconnectReason> {
        park::block_on(self.closed(), self.shared.identity.clock)
    }

    /// Attaches a value; one of each type. Returns the value it replaces.
    pub fn insert<T: Any + Send + Sync>(&self, value: T) -> Option<T> {
        self.shared.lock().rare().data.insert(value)
    }

    /// A copy of the attached value of this type. Wrap what is large in an `Arc`.
    #[must_use]
    pub fn get<T: Any + Send + Sync + Clone>(&self) -> Option<T> {
        self.shared.lock().rare.as_ref()?.data.get().cloned()
    }

    /// Takes the attached value of this type away.
    pub fn remove<T: Any + Send + Sync>(&self) -> Option<T> {
        self.shared.lock().rare.as_mut()?.data.remove()
    }

    pub(crate) fn new(link: Link, identity: Identity) -> Session {
        let inner = Inner {
            link,
            waker: None,
            bytes_sent: 0,
            messages_sent: 0,
            rare: None,
            dirty: false,
            relieved: false,
        };
        let shared = Shared {
            inner: Mutex::new(inner),
            awake: AtomicBool::new(true),
            queued: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            contended: AtomicBool::new(false),
            reading: AtomicBool::new(true),
            bytes_received: AtomicU64::new(0),
            messages_received: AtomicU64::new(0),
            id: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            subprotocol: OnceLock::new(),
            #[cfg(feature = "tls")]
            tls: OnceLock::new(),
            identity,
        };
        Session { shared: Arc::new(shared) }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Sends with `send`, or waits for room with `ticket`.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<u64>,
        send: impl Fn(&Session) -> Result<(), SendError>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            match send(self) {
                Err(SendError::Full) => {}
                sent => return Poll::Ready(sent),
            }
            let mut inner = self.shared.lock();
            // Room may have come between the two locks.
            if inner.link.sender.is_open() && inner.link.sender.is_backpressured() {
                let rare = inner.rare();
                if ticket.is_none() && rare.waiting.len() >= MAX_WAITING {
                    return Poll::Ready(Err(SendError::Full));
                }
                rare.wait(ticket, cx.waker());
                return Poll::Pending;
            }
        }
    }

    /// Gives a wait for room up.
    pub(crate) fn stop_waiting(&self, ticket: Option<u64>) {
        if ticket.is_some() {
            self.shared.lock().rare().stop_waiting(ticket);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({}, {})", self.id(), self.peer())
    }
}

/// Two handles are equal if they are handles on the same session.
impl PartialEq for Session {
    fn eq(&self, other: &Session) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Session {}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while the lock is held can only be one of ours; the state is whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes in order; see [`Session::close`].
    pub(crate) fn close(&self, frame: CloseFrame, cause: Cause) {
        let now = (self.identity.clock)();
        let mut inner = self.lock_in_order();
        inner.link.close(frame, cause, now);
        self.changed(inner);
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

    /// Names this session as the owner of a batch, and of a handler's call.
    #[inline]
    pub(crate) fn owner(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Nobody has queued behind the batch, and nothing ended it.
    #[inline]
    fn is_undisturbed(&self) -> bool {
        !self.contended.load(Ordering::Relaxed) && !self.is_closing()
    }

    /// The lock, after the batch of this thread's turn has joined the outbox: what is queued
    /// now comes behind it.
    pub(crate) fn lock_in_order(&self) -> MutexGuard<'_, Inner> {
        let collected = batch::close(self.owner());
        let mut inner = self.lock();
        if let Some(collected) = collected {
            inner.collect(collected);
            self.contended.store(false, Ordering::Relaxed);
        }
        inner
    }

    fn with_outbox(
        &self,
        queue: impl FnOnce(&mut Link) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let mut inner = self.lock_in_order();
        inner.offer_spare();
        if inner.link.sender.is_lent() {
            self.contended.store(true, Ordering::Relaxed);
        }
        let before = inner.link.sender.queued();
        queue(&mut inner.link)?;
        let after = inner.link.sender.queued();
        if batch::is_in_handler_of(self.owner()) {
            inner.link.sender.answered(after - before);
        }
        inner.messages_sent += 1;
        self.queued.store(after, Ordering::Relaxed);
        self.wake(inner);
        Ok(())
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
            batch::open(self.owner(), room);
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

    /// The number of the connection, counted from accept.
    pub(crate) fn connection(&self) -> u64 {
        self.identity.connection
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
        let reason = Arc::new(inner.link.take_reason(wire));
        inner.rare().ended = Some((at, reason.clone()));
        let waiting = inner.take_waiting();
        // A writing half that is not the one who ended it goes as well.
        self.changed(inner);
        waiting.wake();
        reason
    }

    /// The last event was handled.
    pub(crate) fn handled(&self) {
        let mut inner = self.lock();
        inner.rare().handled = true;
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

    /// The last word was said.
    pub(crate) fn is_over(&self) -> bool {
        self.ended().is_some()
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// When and why the session ended.
    fn ended(&self) -> Option<&(Instant, Arc<DisconnectReason>)> {
        self.rare.as_ref()?.ended.as_ref()
    }
}

impl Rare {
    /// Registers a waiting call, or renews its waker.
    fn wait(&mut self, ticket: &mut Option<u64>, waker: &Waker) {
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

    fn stop_waiting(&mut self, ticket: Option<u64>) {
        self.waiting.retain(|(id, _)| Some(*id) != ticket);
    }
}

/// Those who waited; waking them is left until the lock is given back.
#[derive(Default)]
pub(crate) struct Waiting {
    calls: Vec<(u64, Waker)>,
    reader: Option<Waker>,
}

impl Waiting {
    pub(crate) fn wake(self) {
        let calls = self.calls.into_iter().map(|(_, waker)| waker);
        calls.chain(self.reader).for_each(Waker::wake);
    }
}

/// The future of [`Session::send_wait`].
#[must_use = "futures do nothing unless polled"]
pub struct SendWait<'s, 'a> {
    session: &'s Session,
    message: Message<'a>,
    ticket: Option<u64>,
}

impl Future for SendWait<'_, '_> {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.session.poll_send(cx, &mut this.ticket, |session| session.send(this.message))
    }
}

impl Drop for SendWait<'_, '_> {
    fn drop(&mut self) {
        self.session.stop_waiting(self.ticket);
    }
}

impl fmt::Debug for SendWait<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendWait").field("session", self.session).finish_non_exhaustive()
    }
}

struct Closed {
    shared: Arc<Shared>,
    ticket: Option<u64>,
}

impl Future for Closed {
    type Output = Arc<DisconnectReason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut inner = this.shared.lock();
        let rare = inner.rare();
        if let (true, Some((_, reason))) = (rare.handled, &rare.ended) {
            return Poll::Ready(reason.clone());
        }
        rare.wait(&mut this.ticket, cx.waker());
        Poll::Pending
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.shared.lock().rare().stop_waiting(self.ticket);
        }
    }
}
