//! A client that comes back.

use core::fmt;
use core::future::{Future, poll_fn};
use core::marker::PhantomData;
use core::pin::pin;
use core::task::{Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, PoisonError};
use std::vec::Vec;

use super::connect_error::ConnectError;
use super::connector::Connector;
use super::driver::drive;
use super::handler::Handler;
use super::metrics::{ClientMetrics, Ledger, with_open};
use super::publish::{self, Whose};
use super::race::before;
use super::runtime::Runtime;
use super::session::{Session, State};
use super::sync::{Mutex, MutexGuard};
use super::trace;
use crate::client::reconnect::{Backoff, Next, Reconnect};
use crate::connection::reason::{DisconnectReason, Side};
use crate::contain::{self, wake_all};
use crate::error::SendError;
use crate::message::Message;
use crate::random::Random;

/// A client that comes back: made by [`Client::reconnect`](super::Client::reconnect).
///
/// Dropping it stops the client: the open session is closed, and none follows.
#[must_use = "dropping it stops the client"]
pub struct Reconnecting<R> {
    standing: Arc<Standing>,
    runtime: PhantomData<fn() -> R>,
}

/// What a client that comes back is about to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Retry {
    /// Wait, then connect again.
    Waiting {
        /// The number of this retry since all was well, from 1.
        attempt: u32,
        /// How long it waits.
        delay: Duration,
        /// What went wrong.
        failure: Failure,
    },
    /// Nothing: it was the last attempt, or no further one can succeed.
    GaveUp {
        /// What went wrong last.
        failure: Failure,
    },
}

/// What makes a client come back, or give up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Failure {
    /// It did not get a session.
    Connect(Arc<ConnectError>),
    /// It lost its session.
    Lost(Arc<DisconnectReason>),
}

/// What the handles and the loop share.
#[derive(Default)]
struct Standing {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    session: Option<Session>,
    /// Independent of where the loop is: a client that was stopped in a pause does not
    /// come back.
    stopping: bool,
    over: bool,
    failure: Option<Failure>,
    /// What was counted, but for the session that is open.
    attempts: u64,
    failed: u64,
    retries: u64,
    ledger: Ledger,
    waiting: Vec<Waker>,
}

impl<R: Runtime> Reconnecting<R> {
    pub(crate) fn start<H: Handler>(
        connector: Connector<R>,
        handler: H,
        options: Reconnect,
    ) -> Result<Reconnecting<R>, ConnectError> {
        let standing = Arc::<Standing>::default();
        let coming_back = ComingBack {
            connector,
            handler: Arc::new(handler),
            backoff: Backoff::new(options, Random::os()),
            standing: standing.clone(),
        };
        let runtime = coming_back.connector.runtime.clone();
        let spawned = runtime.spawn(coming_back.run());
        spawned.map_err(|error| ConnectError::Transport(error.into()))?;
        Ok(Reconnecting { standing, runtime: PhantomData })
    }

    /// The open session, if there is one now.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.standing.session()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn metrics(&self) -> ClientMetrics {
        self.standing.metrics()
    }

    /// Publishes, through the facade `metrics`, what messages have added up to since the last
    /// call; see [`Hub::publish`](super::Hub::publish).
    #[cfg(feature = "metrics")]
    pub fn publish(&self) {
        let all = self.metrics().sessions.traffic();
        let news = self.standing.lock().ledger.publish(all);
        publish::traffic(Whose::Client, news);
    }

    /// Sends through the open session; see [`Session::send`].
    ///
    /// # Errors
    /// As [`Session::send`]; [`SendError::Closed`] while there is no session.
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> Result<(), SendError> {
        self.session().ok_or(SendError::Closed)?.send(message)
    }

    /// Waits for an open session; `None` once none will come any more.
    ///
    /// # Cancel safety
    /// Safe: dropping the future changes nothing.
    pub fn connected(&self) -> R::Wait<impl Future<Output = Option<Session>>> {
        let standing = self.standing.clone();
        R::wait(async move {
            let open = |inner: &Inner| match inner.open() {
                Some(session) => Some(Some(session)),
                None => inner.over.then_some(None),
            };
            standing.until(open).await
        })
    }

    /// Stops: no attempt is made any more, and the open session is closed in order. Does not
    /// wait for that, so it can be called from a handler.
    pub fn stop(&self) {
        self.standing.stop();
    }

    /// Waits until it is over: stopped, closed by this side, or given up; the last event was
    /// handled. Tells what it gave up on, if it did.
    ///
    /// # Cancel safety
    /// Safe: dropping the future changes nothing.
    pub fn stopped(&self) -> R::Wait<impl Future<Output = Option<Failure>>> {
        let standing = self.standing.clone();
        R::wait(
            async move { standing.until(|inner| inner.over.then(|| inner.failure.clone())).await },
        )
    }
}

impl<R> Drop for Reconnecting<R> {
    fn drop(&mut self) {
        self.standing.stop();
    }
}

impl<R> fmt::Debug for Reconnecting<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reconnecting").field("session", &self.standing.session()).finish()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(error) => error.fmt(f),
            Failure::Lost(reason) => reason.fmt(f),
        }
    }
}

impl core::error::Error for Failure {}

/// The loop.
struct ComingBack<R, H> {
    connector: Connector<R>,
    handler: Arc<H>,
    backoff: Backoff,
    standing: Arc<Standing>,
}

impl<R: Runtime, H: Handler> ComingBack<R, H> {
    async fn run(mut self) {
        let _over = Over(self.standing.clone());
        let mut number = 0;
        loop {
            number += 1;
            self.standing.lock().attempts += 1;
            let begun = R::now();
            let connected = self.connector.connect(&self.handler, number);
            let Some(connected) = self.standing.unless_stopped(connected).await else { return };
            let (failure, next) = match connected {
                Ok(driver) => {
                    let session = driver.host.guard.session.clone();
                    self.backoff.connected(R::now());
                    self.standing.opened(session.clone(), R::now() - begun);
                    drive(driver).await;
                    let Some(reason) = session.reason() else { return };
                    if self.standing.closed() || is_on_purpose(&reason) {
                        return;
                    }
                    (Failure::Lost(reason), self.backoff.lost(R::now()))
                }
                Err(error) => {
                    self.standing.lock().failed += 1;
                    publish::connect_failed();
                    let verdict = error.verdict();
                    (Failure::Connect(Arc::new(error)), self.backoff.failed(verdict))
                }
            };
            let Next::Wait { delay, attempt } = next else { return self.give_up(failure).await };
            let retry = Retry::Waiting { attempt, delay, failure };
            self.standing.lock().retries += 1;
            publish::retrying();
            trace::retrying(&retry);
            self.notify(&retry).await;
            let pause = self.standing.until(|inner| inner.stopping.then_some(()));
            if before(&self.connector.runtime, R::now() + delay, pause).await.is_some() {
                return;
            }
        }
    }

    async fn give_up(&self, failure: Failure) {
        self.standing.lock().failure = Some(failure.clone());
        let retry = Retry::GaveUp { failure };
        trace::retrying(&retry);
        self.notify(&retry).await;
    }

    /// A stop does not wait for a hook that does not return.
    async fn notify(&self, retry: &Retry) {
        let call = contain::call(|| self.handler.on_reconnecting(retry));
        self.standing.unless_stopped(call).await;
    }
}

/// Closed by this side with a call, which is how an application says that it is done. A panic
/// of a handler is not.
fn is_on_purpose(reason: &DisconnectReason) -> bool {
    reason.side == Side::Local && reason.error.is_none()
}

/// Says that it is over, also when a runtime drops the loop half-way.
struct Over(Arc<Standing>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.closed();
        self.0.change(|inner| inner.over = true);
    }
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> Option<Session> {
        self.lock().open()
    }

    /// Everything that was counted.
    fn metrics(&self) -> ClientMetrics {
        let inner = self.lock();
        let (totals, open) = (inner.ledger.totals().clone(), inner.session.clone());
        let (attempts, failed, retries) = (inner.attempts, inner.failed, inner.retries);
        drop(inner);
        ClientMetrics { attempts, failed, retries, sessions: with_open(totals, &open) }
    }

    /// A session is open; closed at once if a stop came meanwhile.
    fn opened(&self, session: Session, after: Duration) {
        let stopping = self.change(|inner| {
            inner.session = Some(session.clone());
            inner.ledger.opened(after);
            inner.stopping
        });
        publish::opened(Whose::Client, after);
        if stopping {
            session.close();
        }
    }

    /// The session is over, if there was one, and goes into the books. True if no other is to
    /// follow.
    fn closed(&self) -> bool {
        let mut ended = None;
        let stopping = self.change(|inner| {
            let session = inner.session.take();
            let over = session.and_then(|session| Some((session.metrics(), session.reason()?)));
            if let Some((metrics, reason)) = over {
                inner.ledger.ended(&metrics, &reason);
                let all = inner.ledger.totals().traffic();
                ended = Some((metrics.uptime, reason, inner.ledger.publish(all)));
            }
            inner.stopping
        });
        if let Some((uptime, reason, news)) = ended {
            publish::ended(Whose::Client, uptime, &reason, news);
        }
        stopping
    }

    fn stop(&self) {
        let session = self.change(|inner| {
            inner.stopping = true;
            inner.session.clone()
        });
        if let Some(session) = session {
            session.close();
        }
    }

    /// Changes something, and wakes those who wait for it.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let changed = change(&mut inner);
        let waiting = core::mem::take(&mut inner.waiting);
        drop(inner);
        wake_all(waiting);
        changed
    }

    /// Waits until there is what is looked for.
    async fn until<T>(&self, look: impl Fn(&Inner) -> Option<T>) -> T {
        poll_fn(|cx| {
            let mut inner = self.lock();
            if let Some(found) = look(&inner) {
                return Poll::Ready(found);
            }
            if !inner.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                inner.waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// What `future` gives, unless a stop comes first.
    async fn unless_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        let mut stopped = pin!(self.until(|inner| inner.stopping.then_some(())));
        poll_fn(|cx| match stopped.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => future.as_mut().poll(cx).map(Some),
        })
        .await
    }
}

impl Inner {
    fn open(&self) -> Option<Session> {
        self.session.clone().filter(|session| session.state() == State::Open)
    }
}
