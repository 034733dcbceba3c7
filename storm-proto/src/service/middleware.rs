//! What stands between the wire and the handler: a chain that sees every session and every
//! message, in both directions.
//!
//! ```text
//!   peer -> inbound 1 -> inbound 2 -> handler        on_connect 1, 2, then on_connected
//!   peer <- outbound 2 <- outbound 1 <- any send     on_disconnect 2, 1, then on_disconnected
//! ```

use core::cell::Cell;
use core::fmt;
use std::sync::Arc;
use std::vec::Vec;

use super::error_context::ErrorContext;
use super::session::Session;
use super::sync::thread_local;
use super::wire::catch_in;
use crate::connection::reason::DisconnectReason;
use crate::connection::receiver::Event;
use crate::contain::catch;
use crate::error::{Error, OptionError, SendError};
use crate::message::{Message, OwnedMessage};

/// Something that all sessions of a server or a client go through; added with
/// [`Server::middleware`](super::Server::middleware) and
/// [`Client::middleware`](super::Client::middleware).
///
/// All hooks have a default that does nothing. They are called in the order in which the
/// middleware was added, but for `on_disconnect`. They are not `async`, and better short: the
/// session, and on some runtimes its thread, does nothing else meanwhile. Work that waits
/// belongs into a [`Handler`](super::Handler).
///
/// A panic in a hook is contained as one in a handler is: it ends its session with 1011 and is
/// told to `on_error`; other sessions go on.
pub trait Middleware: Send + Sync + 'static {
    /// A session is open; comes before the handler's `on_connected`. Others find the session
    /// already: an `outbound` of what they send may come sooner.
    ///
    /// If the session is closing afterwards, because this closed it or panicked, it was
    /// refused: those behind, the handler among them, are told neither of its beginning nor of
    /// its end.
    fn on_connect(&self, session: &Session) {
        let _ = session;
    }

    /// A message arrived, or what those before have made of it.
    fn inbound(&self, session: &Session, message: Message<'_>) -> Outcome {
        let _ = (session, message);
        Outcome::Pass
    }

    /// A message is to be sent, or what those before have made of it: an answer of the handler,
    /// a send from elsewhere, a session's part of a broadcast.
    ///
    /// Called on the thread of the sender, once for each call of a send; messages that threads
    /// send at once may be queued in another order than they come here. A send that is then
    /// refused with [`SendError::Full`] has been here, and comes again if it is repeated. What
    /// an `outbound` itself sends, to whichever session, is not shown to any `outbound`.
    ///
    /// A handler that answers in kind never fills its session's outbox by itself; one whose
    /// answers grow here may, and better waits with [`Session::send_wait`].
    fn outbound(&self, session: &Session, message: Message<'_>) -> Outcome {
        let _ = (session, message);
        Outcome::Pass
    }

    /// A control frame of the peer arrived. It is answered after this, unless this closes the
    /// session, or [`Heartbeat::auto_pong`](crate::Heartbeat::auto_pong) is off.
    fn control(&self, session: &Session, frame: ControlFrame<'_>) {
        let _ = (session, frame);
    }

    /// A session is over; in reverse order, before the handler's `on_disconnected`. Comes
    /// exactly once for each `on_connect`.
    fn on_disconnect(&self, session: &Session, reason: &DisconnectReason) {
        let _ = (session, reason);
    }

    /// Checks the settings of the middleware, before a server starts or a client connects with it.
    ///
    /// # Errors
    /// If nothing could pass with them.
    fn check_options(&self) -> Result<(), OptionError> {
        Ok(())
    }

    /// Something failed; comes before the handler's
    /// [`on_error`](super::Handler::on_error), for the same reasons.
    fn on_error(&self, context: &ErrorContext, error: &Error) {
        let _ = (context, error);
    }
}

/// What becomes of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Outcome {
    /// It goes on as it is.
    Pass,
    /// This goes on in its place; it may be empty, which is a message like any other.
    Replace(OwnedMessage),
    /// It ends here: nobody behind sees it. The send of a message that ends here succeeds, since
    /// it was the application's own wish. A broadcast counts it as
    /// [`filtered`](super::Delivery::filtered), and [`Metrics`](super::Metrics) count it in both
    /// directions.
    Drop,
}

/// A frame of a WebSocket that carries no message. A Close is none of these: it ends the
/// session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ControlFrame<'a> {
    /// The peer asks if this side is there.
    Ping(&'a [u8]),
    /// The peer is there, asked or not.
    Pong(&'a [u8]),
}

/// One middleware for several servers and clients.
impl<M: Middleware + ?Sized> Middleware for Arc<M> {
    fn check_options(&self) -> Result<(), OptionError> {
        (**self).check_options()
    }

    fn on_connect(&self, session: &Session) {
        (**self).on_connect(session);
    }

    fn inbound(&self, session: &Session, message: Message<'_>) -> Outcome {
        (**self).inbound(session, message)
    }

    fn outbound(&self, session: &Session, message: Message<'_>) -> Outcome {
        (**self).outbound(session, message)
    }

    fn control(&self, session: &Session, frame: ControlFrame<'_>) {
        (**self).control(session, frame);
    }

    fn on_disconnect(&self, session: &Session, reason: &DisconnectReason) {
        (**self).on_disconnect(session, reason);
    }

    fn on_error(&self, context: &ErrorContext, error: &Error) {
        (**self).on_error(context, error);
    }
}

/// A closure as a [`Middleware::inbound`].
pub fn inbound<F>(hook: F) -> impl Middleware
where
    F: Fn(&Session, Message<'_>) -> Outcome + Send + Sync + 'static,
{
    Inbound(hook)
}

/// A closure as a [`Middleware::outbound`].
pub fn outbound<F>(hook: F) -> impl Middleware
where
    F: Fn(&Session, Message<'_>) -> Outcome + Send + Sync + 'static,
{
    Outbound(hook)
}

struct Inbound<F>(F);

impl<F> Middleware for Inbound<F>
where
    F: Fn(&Session, Message<'_>) -> Outcome + Send + Sync + 'static,
{
    fn inbound(&self, session: &Session, message: Message<'_>) -> Outcome {
        (self.0)(session, message)
    }
}

struct Outbound<F>(F);

impl<F> Middleware for Outbound<F>
where
    F: Fn(&Session, Message<'_>) -> Outcome + Send + Sync + 'static,
{
    fn outbound(&self, session: &Session, message: Message<'_>) -> Outcome {
        (self.0)(session, message)
    }
}

thread_local! {
    /// This thread is in an `outbound`.
    static SENDING: Cell<bool> = const { Cell::new(false) };
}

/// The middleware of a server or a client, in order. Without any it is a null pointer, which is
/// all that a message of such a session pays for it.
#[derive(Clone, Default)]
pub(crate) struct Chain(Option<Arc<Vec<Arc<dyn Middleware>>>>);

impl Chain {
    pub(crate) fn push(&mut self, middleware: impl Middleware) {
        Arc::make_mut(self.0.get_or_insert_default()).push(Arc::new(middleware));
    }

    pub(crate) fn check_options(&self) -> Result<(), OptionError> {
        self.links().iter().try_for_each(|link| link.check_options())
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn links(&self) -> &[Arc<dyn Middleware>] {
        self.0.as_ref().map_or(&[], |links| links)
    }

    /// A session is open. False if it was refused.
    pub(crate) fn connected(&self, session: &Session) -> bool {
        let shared = session.shared();
        for (at, link) in self.links().iter().enumerate() {
            if catch_in(shared, || link.on_connect(session)).is_none() {
                shared.panicked();
            }
            if shared.is_closing() {
                shared.refused_by_chain(at + 1);
                return false;
            }
        }
        true
    }

    /// A message arrived. For those who contain panics already.
    #[inline(never)]
    pub(crate) fn inbound(&self, session: &Session, message: Message<'_>) -> Outcome {
        let outcome = self.show(message, |link, message| link.inbound(session, message));
        // Nothing is delivered to a session that one of them closed.
        let outcome = if session.shared().is_closing() { Outcome::Drop } else { outcome };
        if outcome == Outcome::Drop {
            session.shared().filtered_in();
        }
        outcome
    }

    /// A message is to be sent.
    ///
    /// # Errors
    /// [`SendError::Closed`] if a hook panicked, which ends the session.
    #[inline(never)]
    pub(crate) fn outbound(
        &self,
        session: &Session,
        message: Message<'_>,
    ) -> Result<Outcome, SendError> {
        if self.is_empty()
            || session.shared().is_closing()
            || SENDING.with(|sending| sending.replace(true))
        {
            return Ok(Outcome::Pass);
        }
        let outcome = catch(|| self.show(message, |link, message| link.outbound(session, message)));
        SENDING.with(|sending| sending.set(false));
        if outcome == Some(Outcome::Drop) {
            session.shared().filtered_out();
        }
        outcome.ok_or_else(|| {
            session.shared().panicked();
            SendError::Closed
        })
    }

    /// An event other than a message arrived. For those who contain panics already.
    pub(crate) fn event(&self, session: &Session, event: &Event<'_>) {
        let frame = match event {
            Event::Ping(payload) => ControlFrame::Ping(payload),
            Event::Pong(payload) => ControlFrame::Pong(payload),
            _ => return,
        };
        // As messages, also so that a hook that panics does so once for each session.
        if session.shared().is_closing() {
            return;
        }
        self.links().iter().for_each(|link| link.control(session, frame));
    }

    /// A session is over, which so many were told of.
    pub(crate) fn disconnected(&self, session: &Session, reason: &DisconnectReason, told: usize) {
        for link in self.links().iter().take(told).rev() {
            catch(|| link.on_disconnect(session, reason));
        }
    }

    /// Something failed.
    pub(crate) fn failed(&self, context: &ErrorContext, error: &Error) {
        for link in self.links() {
            catch(|| link.on_error(context, error));
        }
    }

    /// Shows a message to each, until one drops it.
    fn show(
        &self,
        message: Message<'_>,
        hook: impl Fn(&dyn Middleware, Message<'_>) -> Outcome,
    ) -> Outcome {
        let mut replaced = None;
        for link in self.links() {
            let shown = replaced.as_ref().map_or(message, |replaced| instead(replaced, message));
            match hook(&**link, shown) {
                Outcome::Pass => {}
                Outcome::Replace(by) => replaced = Some(by),
                Outcome::Drop => return Outcome::Drop,
            }
        }
        replaced.map_or(Outcome::Pass, Outcome::Replace)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({})", self.links().len())
    }
}

/// What goes in the place of a message; plain if that was to go plain, since a secret that was
/// changed is one still.
pub(crate) fn instead<'a>(replaced: &'a OwnedMessage, message: Message<'_>) -> Message<'a> {
    let replaced = replaced.as_message();
    if message.is_uncompressed() { replaced.uncompressed() } else { replaced }
}
