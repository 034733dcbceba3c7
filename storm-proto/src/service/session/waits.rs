//! Calls that wait: for room to send, and for the end.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::boxed::Box;
use std::sync::Arc;
use std::vec::Vec;

use super::Session;
use super::shared::Shared;
use crate::connection::reason::DisconnectReason;
use crate::contain::wake_all;
use crate::error::SendError;
use crate::message::{Message, OwnedMessage};
use crate::service::middleware::{Outcome, instead};

/// How many calls of [`Session::send_wait`] may wait for one session at once. Each holds a
/// message of its own, so the number bounds memory where the outbox no longer does.
pub(in crate::service) const MAX_WAITING: usize = 1024;

/// Those who waited; waking them is left until the lock is given back.
#[derive(Default)]
pub(crate) struct Waiting {
    pub(super) calls: Vec<(u64, Waker)>,
    pub(super) reader: Option<Waker>,
}

impl Waiting {
    pub(crate) fn wake(self) {
        wake_all(self.calls.into_iter().map(|(_, waker)| waker).chain(self.reader));
    }
}

/// How a message has come through the middleware, which sees it once.
pub(super) enum Went {
    Nowhere,
    Through,
    /// Boxed, since hardly ever and in the future of many a handler.
    Replaced(Box<OwnedMessage>),
}

/// The future of [`Session::send_wait`].
#[must_use = "futures do nothing unless polled"]
pub struct SendWait<'s, 'a> {
    pub(super) session: &'s Session,
    pub(super) message: Message<'a>,
    pub(super) went: Went,
    pub(super) ticket: Option<u64>,
}

impl Future for SendWait<'_, '_> {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let SendWait { session, message, went, ticket } = &mut *self;
        if let Went::Nowhere = went {
            *went = match session.shared.chain().outbound(session, *message)? {
                Outcome::Pass => Went::Through,
                Outcome::Replace(by) => Went::Replaced(Box::new(by)),
                Outcome::Drop => return Poll::Ready(Ok(())),
            };
        }
        let message = match went {
            Went::Replaced(by) => instead(by, *message),
            _ => *message,
        };
        session.poll_send(cx, ticket, message.len(), |session| session.send_patiently(message))
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

impl Session {
    /// Sends a message of `len` bytes with `send`, or waits for room with `ticket`.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        ticket: &mut Option<u64>,
        len: usize,
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
                    drop(inner);
                    return Poll::Ready(Err(self.shared.give_up(self, len)));
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

/// The future of [`Session::closed`].
pub(super) struct Closed {
    pub(super) shared: Arc<Shared>,
    pub(super) ticket: Option<u64>,
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
