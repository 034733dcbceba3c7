//! Messages to be asked for, instead of a handler.
//!
//! The session's handler hands one message over at a time, and waits until it is taken: what
//! the application does not ask for stays with the network, and the peer notices. Pings are
//! answered and deadlines kept meanwhile.

use core::fmt;
use core::future::{Future, poll_fn};
use core::marker::PhantomData;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, PoisonError};

use super::handler::Handler;
use super::runtime::Runtime;
use super::session::Session;
use super::sync::{Mutex, MutexGuard};
use crate::connection::reason::{Cause, DisconnectReason};
use crate::contain::wake_all;
use crate::message::{Message, OwnedMessage};

/// A client's session whose messages are asked for: made by
/// [`Client::open`](super::Client::open).
///
/// Dropping it closes the session; messages that were not asked for are lost then.
pub struct Inbox<R> {
    session: Session,
    slot: Arc<Slot>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Inbox<R> {
    /// Waits for the next message; `None` once the session was closed in order, by whichever
    /// side.
    ///
    /// # Errors
    /// The reason, if the session ended in another way. What came before it is given first.
    ///
    /// # Cancel safety
    /// Safe: dropping the future loses nothing.
    #[allow(clippy::should_implement_trait)] // What it waits with depends on the runtime.
    pub fn next(&mut self) -> R::Wait<impl Future<Output = Next> + use<'_, R>> {
        R::wait(poll_fn(|cx| self.slot.poll_take(cx, &self.session)))
    }

    /// The session, to send and to close with, from any thread.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// What [`Inbox::next`] brings.
type Next = Result<Option<OwnedMessage>, Arc<DisconnectReason>>;

impl<R> Drop for Inbox<R> {
    fn drop(&mut self) {
        self.slot.lock().abandoned = true;
        self.slot.wake(|inner| inner.giver.take());
        self.session.close();
    }
}

impl<R> fmt::Debug for Inbox<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inbox").field(&self.session).finish()
    }
}

/// The handler of a session whose messages are asked for.
pub(crate) struct Giver(Arc<Slot>);

/// What becomes an [`Inbox`] once there is a session.
pub(crate) struct Taker(Arc<Slot>);

/// Both ends of a slot for one message.
pub(crate) fn channel() -> (Giver, Taker) {
    let slot = Arc::<Slot>::default();
    (Giver(slot.clone()), Taker(slot))
}

impl Taker {
    pub(crate) fn of<R>(self, session: Session) -> Inbox<R> {
        Inbox { session, slot: self.0, runtime: PhantomData }
    }
}

impl Handler for Giver {
    async fn on_message(&self, _: &Session, message: Message<'_>) {
        let mut message = Some(message);
        poll_fn(|cx| self.0.poll_put(cx, &mut message)).await;
    }

    async fn on_disconnected(&self, _: &Session, reason: &DisconnectReason) {
        self.0.lock().ended = Some(Arc::new(reason.clone()));
        self.0.wake(|inner| inner.taker.take());
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        self.0.lock().gone = true;
        self.0.wake(|inner| inner.taker.take());
    }
}

#[derive(Default)]
struct Slot {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    message: Option<OwnedMessage>,
    ended: Option<Arc<DisconnectReason>>,
    /// Nobody will ask any more.
    abandoned: bool,
    /// Nothing will be given any more.
    gone: bool,
    giver: Option<Waker>,
    taker: Option<Waker>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, whom: impl FnOnce(&mut Inner) -> Option<Waker>) {
        // The lock is given back first.
        let waker = whom(&mut self.lock());
        wake_all(waker);
    }

    /// Puts the message in once the slot is empty.
    fn poll_put(&self, cx: &mut Context<'_>, message: &mut Option<Message<'_>>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.abandoned {
            return Poll::Ready(());
        }
        if inner.message.is_some() {
            inner.giver = Some(cx.waker().clone());
            return Poll::Pending;
        }
        inner.message = message.take().map(|message| message.to_owned());
        drop(inner);
        self.wake(|inner| inner.taker.take());
        Poll::Ready(())
    }

    fn poll_take(&self, cx: &mut Context<'_>, session: &Session) -> Poll<Next> {
        let mut inner = self.lock();
        if let Some(message) = inner.message.take() {
            drop(inner);
            self.wake(|inner| inner.giver.take());
            return Poll::Ready(Ok(Some(message)));
        }
        // Middleware that refuses a session keeps its end from the handler.
        if inner.ended.is_none() && inner.gone {
            inner.ended = session.reason();
        }
        if let Some(reason) = &inner.ended {
            let in_order = matches!(reason.cause, Cause::Closed | Cause::GoingAway);
            return Poll::Ready(if in_order { Ok(None) } else { Err(reason.clone()) });
        }
        inner.taker = Some(cx.waker().clone());
        Poll::Pending
    }
}
