//! The application's handle on a connection.

mod lag;
mod shared;
mod waits;

use core::any::Any;
use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::sync::Arc;

pub(crate) use self::lag::{Lagging, lagging};
use self::shared::Lost;
pub(crate) use self::shared::{Identity, Inner, Shared};
#[cfg(test)]
pub(in crate::service) use self::waits::MAX_WAITING;
pub use self::waits::SendWait;
use self::waits::{Closed, Went};
use super::batch;
use super::middleware::{Outcome, instead};
use super::park;
use super::runtime::{Address, Ends};
use super::sync::atomic::Ordering;
use crate::connection::link::Link;
use crate::connection::options::Overrides;
use crate::connection::reason::{Cause, DisconnectReason};
use crate::connection::slow::{Key, Lag};
use crate::error::{CloseError, SendError};
use crate::message::Message;
#[cfg(feature = "tls")]
use crate::tls::TlsFacts;
use crate::websocket::frame::close::CloseFrame;
use crate::websocket::frame::close_code::CloseCode;
use crate::websocket::prepared::Prepared;

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
    /// Messages that arrived, also those that [`Middleware`](super::Middleware) dropped.
    pub messages_received: u64,
    /// Sends that returned [`SendError::Full`]: the peer reads too slowly.
    pub messages_refused: u64,
    /// The bytes of their payloads.
    pub bytes_refused: u64,
    /// Messages that the policy for slow consumers dropped; those that a send had accepted also
    /// count as sent.
    pub messages_dropped: u64,
    /// The bytes of their payloads.
    pub bytes_dropped: u64,
    /// Messages that a newer one with the same key replaced; they also count as sent.
    pub messages_superseded: u64,
    /// The bytes of their payloads.
    pub bytes_superseded: u64,
    /// Sends that returned [`SendError::Closed`].
    pub messages_closed: u64,
    /// Sends that returned [`SendError::Framing`].
    pub messages_unframed: u64,
    /// Messages that [`Middleware`](super::Middleware), a rate limit among it, dropped on their
    /// way to the handler.
    pub messages_filtered_in: u64,
    /// Messages that [`Middleware`](super::Middleware) dropped on their way to the peer.
    pub messages_filtered_out: u64,
    /// Time since the session opened; stands still once it is closed.
    pub uptime: Duration,
}

impl Session {
    /// The number of this session, 0 before it is open: 1, 2, 3 and so on within one server.
    /// Sessions of a client that comes back have the numbers of their connects, of which some
    /// may have failed.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared.id()
    }

    /// The peer's address.
    #[must_use]
    pub fn peer(&self) -> &Address {
        self.shared.peer()
    }

    /// The addresses of both ends.
    pub(crate) fn ends(&self) -> &Ends {
        &self.shared.identity.ends
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
        let Lag { refused, dropped, superseded, .. } = inner.link.sender.lost();
        let lost = inner.rare.as_ref().map_or(Lost::default(), |rare| rare.lost);
        Metrics {
            bytes_sent: inner.bytes_sent,
            bytes_received: self.shared.bytes_received.load(Ordering::Relaxed),
            messages_sent: inner.messages_sent,
            messages_received: self.shared.messages_received.load(Ordering::Relaxed),
            messages_refused: refused.messages,
            bytes_refused: refused.bytes,
            messages_dropped: dropped.messages,
            bytes_dropped: dropped.bytes,
            messages_superseded: superseded.messages,
            bytes_superseded: superseded.bytes,
            messages_closed: lost.closed,
            messages_unframed: lost.unframed,
            messages_filtered_in: lost.filtered_in,
            messages_filtered_out: lost.filtered_out,
            uptime: until - self.shared.opened(),
        }
    }

    /// Bytes accepted and not yet given to the transport, framing included; 0 once the session is
    /// closed.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed)
    }

    /// True from a refused or waiting send, or the first of a burst of dropped messages, until
    /// the outbox has fallen to its low mark, or the session is closed.
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
    /// in [`DisconnectReason::undelivered`], or counted as dropped or superseded. Every send that
    /// fails is counted in [`Metrics`].
    ///
    /// # Errors
    /// [`SendError::Full`] if the message does not fit into the outbox, or
    /// [`SendError::Dropped`] by some policies for that
    /// ([`SlowConsumer`](crate::SlowConsumer));
    /// [`SendError::Closed`] after a close, [`SendError::Framing`] if the framing of a TCP
    /// session cannot carry it. Nothing of it is queued then.
    #[inline]
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> Result<(), SendError> {
        let message = message.into();
        // Where there is middleware this is not what the batch is called.
        if self.shared.is_undisturbed() && batch::push(self.shared.owner(), message) {
            return Ok(());
        }
        self.send_through(message)
    }

    /// Queues what the middleware makes of a message.
    #[inline(never)]
    fn send_through(&self, message: Message<'_>) -> Result<(), SendError> {
        if self.shared.chain().is_empty() {
            return self.queue(message);
        }
        match self.shared.chain().outbound(self, message)? {
            Outcome::Pass => self.send_unseen(message),
            Outcome::Replace(by) => self.send_unseen(instead(&by, message)),
            Outcome::Drop => Ok(()),
        }
    }

    /// Queues a message as it is.
    pub(crate) fn send_unseen(&self, message: Message<'_>) -> Result<(), SendError> {
        if self.shared.is_undisturbed() && batch::push(self.shared.batch(), message) {
            return Ok(());
        }
        self.queue(message)
    }

    fn queue(&self, message: Message<'_>) -> Result<(), SendError> {
        self.shared.with_outbox(self, false, |sender| sender.send(message))
    }

    /// Queues a message in the place of the one with the same key that waits, if one does, and
    /// behind all others otherwise; never waits. It does so with every policy: see
    /// [`SlowConsumer`](crate::SlowConsumer).
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send_latest<'a>(
        &self,
        key: impl Into<Key>,
        message: impl Into<Message<'a>>,
    ) -> Result<(), SendError> {
        let message = message.into();
        let chain = self.shared.chain();
        if chain.is_empty() {
            return self.send_latest_unseen(key, message);
        }
        match chain.outbound(self, message)? {
            Outcome::Pass => self.send_latest_unseen(key, message),
            Outcome::Replace(by) => self.send_latest_unseen(key, instead(&by, message)),
            Outcome::Drop => Ok(()),
        }
    }

    fn send_latest_unseen(
        &self,
        key: impl Into<Key>,
        message: Message<'_>,
    ) -> Result<(), SendError> {
        self.shared.with_outbox(self, false, |sender| sender.send_latest(key, message))
    }

    /// Queues a message that was encoded once for many sessions; never waits.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send_prepared(&self, prepared: &Prepared) -> Result<(), SendError> {
        self.offer_prepared(prepared).map(|_| ())
    }

    /// As [`Session::send_prepared`]; false if middleware dropped the message.
    pub(crate) fn offer_prepared(&self, prepared: &Prepared) -> Result<bool, SendError> {
        match self.outbound(prepared)? {
            Outcome::Pass => {
                self.shared.with_outbox(self, false, |sender| sender.send_prepared(prepared))?;
            }
            Outcome::Replace(by) => self.send_unseen(prepared.instead(&by))?,
            Outcome::Drop => return Ok(false),
        }
        Ok(true)
    }

    /// What the middleware makes of a message that was encoded for many.
    pub(crate) fn outbound(&self, prepared: &Prepared) -> Result<Outcome, SendError> {
        let chain = self.shared.chain();
        if chain.is_empty() {
            return Ok(Outcome::Pass);
        }
        chain.outbound(self, prepared.message(&prepared.shared_payload()))
    }

    /// As [`Session::send_latest`], with a message that was encoded before.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub fn send_latest_prepared(
        &self,
        key: impl Into<Key>,
        prepared: &Prepared,
    ) -> Result<(), SendError> {
        self.offer_latest(key, prepared).map(|_| ())
    }

    /// As [`Session::send_latest_prepared`]; false if middleware dropped the message.
    pub(crate) fn offer_latest(
        &self,
        key: impl Into<Key>,
        prepared: &Prepared,
    ) -> Result<bool, SendError> {
        match self.outbound(prepared)? {
            Outcome::Pass => self
                .shared
                .with_outbox(self, false, |sender| sender.send_latest_prepared(key, prepared))?,
            Outcome::Replace(by) => self.send_latest_unseen(key, prepared.instead(&by))?,
            Outcome::Drop => return Ok(false),
        }
        Ok(true)
    }

    /// Queues a message as it is, for a caller that waits if there is no room.
    pub(crate) fn send_patiently(&self, message: Message<'_>) -> Result<(), SendError> {
        if self.shared.is_undisturbed() && batch::push(self.shared.batch(), message) {
            return Ok(());
        }
        self.shared.with_outbox(self, true, |sender| sender.send(message))
    }

    /// As [`Session::send_patiently`], with a message that was encoded before.
    pub(crate) fn send_prepared_patiently(&self, prepared: &Prepared) -> Result<(), SendError> {
        self.shared.with_outbox(self, true, |sender| sender.send_prepared(prepared))
    }

    /// Queues a message, waiting for room if there is none. The wait ends at the latest
    /// when the stall deadline ends the session. It waits where the policy is
    /// [`SlowConsumer::Wait`](crate::SlowConsumer::Wait) or
    /// [`SlowConsumer::KeepLatest`](crate::SlowConsumer::KeepLatest), and never with the others.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves nothing queued.
    ///
    /// # Errors
    /// As [`Session::send`]; [`SendError::Full`] only if 1,024 calls wait already.
    pub fn send_wait<'s, 'a>(&'s self, message: impl Into<Message<'a>>) -> SendWait<'s, 'a> {
        SendWait { session: self, message: message.into(), went: Went::Nowhere, ticket: None }
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

    /// Sets what differs for this session, from now on; see [`Overrides`].
    pub fn set(&self, overrides: Overrides) {
        self.shared.set(&overrides);
    }

    /// Stops reading for this long: what arrives waits with the network, and the peer notices.
    /// A message that is being handled is the last one for now, though more may have been read
    /// already. A pause that is under way is made longer, never shorter; a close ends it.
    ///
    /// Writing goes on, and so do pings and deadlines, but those that the peer's silence would
    /// miss: neither the heartbeat nor the idle deadline punish a peer that is not read. Nor is
    /// its end noticed meanwhile, unless a write fails.
    pub fn pause_reading(&self, time: Duration) {
        let until = (self.shared.identity.clock)() + time;
        let mut inner = self.shared.lock_in_order();
        let paused_until = &mut inner.rare().paused_until;
        *paused_until = until.max(*paused_until);
        self.shared.paused.store(true, Ordering::Relaxed);
        self.shared.changed(inner);
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

    /// Sends a Pong, for sessions without [`Heartbeat::auto_pong`](crate::Heartbeat::auto_pong);
    /// never waits. [`Middleware::control`](super::Middleware::control) sees the Pings. It
    /// overtakes the messages that are queued; at most 16 wait, one more replaces the latest.
    ///
    /// # Errors
    /// [`SendError::Closed`] after a close, [`SendError::NoControlFrames`] on plain TCP,
    /// [`SendError::ControlTooLong`] if the payload has more than 125 bytes.
    pub fn pong(&self, payload: &[u8]) -> Result<(), SendError> {
        let mut inner = self.shared.lock();
        inner.link.sender.send_pong(payload)?;
        self.shared.changed(inner);
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
    pub fn insert<T: Any + Send + Sync>(&self, value: T) -> Option<Arc<T>> {
        self.shared.lock().rare().data.insert(value)
    }

    /// Returns a clone of the attached value of this type. Wrap what is large in an `Arc`.
    ///
    /// The clone is made without a lock: it may take long, panic, or use the session.
    #[must_use]
    pub fn get<T: Any + Send + Sync + Clone>(&self) -> Option<T> {
        let value = self.shared.lock().rare.as_ref()?.data.share::<T>()?;
        Some(T::clone(&value))
    }

    /// Takes the attached value of this type away.
    pub fn remove<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.shared.lock().rare.as_mut()?.data.remove()
    }

    pub(crate) fn new(link: Link, identity: Identity) -> Session {
        Session { shared: Arc::new(Shared::new(link, identity)) }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
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

#[cfg(test)]
pub(in crate::service) mod tests {
    use core::net::SocketAddr;
    use std::sync::Weak;

    use super::*;
    use crate::connection::sender::Sender;
    use crate::service::callbacks::Callbacks;
    use crate::service::middleware::Chain;
    use crate::service::registry::Registry;
    use crate::service::runtime::Ends;
    use crate::websocket::Role;
    use crate::{Instant, WaterMarks};

    /// A session that nobody drives.
    pub(in crate::service) fn undriven(ip: [u8; 4], registry: Option<Arc<Registry>>) -> Session {
        let sender = Sender::websocket_server(WaterMarks::default());
        let clock = || Instant::from_secs(1);
        let link = Link::new(sender, Some(Role::Server), Arc::default(), clock());
        let address = |ip| SocketAddr::from((ip, 80)).into();
        let ends = Ends { peer: address(ip), local: address([127, 0, 0, 1]) };
        let (handler, chain) = (Weak::<Callbacks>::new(), Chain::default());
        Session::new(link, Identity { connection: 1, ends, clock, handler, registry, chain })
    }
}
