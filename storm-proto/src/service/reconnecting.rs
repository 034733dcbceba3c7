//! A client that comes back.

use core::fmt;
use core::future::{Future, poll_fn};
use core::marker::PhantomData;
use core::pin::pin;
use core::task::{Poll, Waker};
use core::time::Duration;
use std::boxed::Box;
use std::sync::{Arc, PoisonError};
use std::vec::Vec;

use super::connect_error::ConnectError;
use super::connector::Connector;
use super::driver::{Driver, drive};
use super::greeting::Driving;
use super::handler::Handler;
use super::metrics::{ClientMetrics, Ledger, with_open};
use super::publish::{self, Whose};
use super::race::before;
use super::runtime::Runtime;
use super::session::{Session, State};
use super::sync::{Mutex, MutexGuard};
use super::trace;
use crate::client::reconnect::{Backoff, Next, Reconnect, Verdict};
use crate::connection::reason::{DisconnectReason, Side};
use crate::contain::{self, catch, wake_all};
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

/// Where a reconnecting client is in its life: see [`Reconnecting::state`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ClientState {
    /// A connection attempt is under way, `on_connected` included.
    Connecting {
        /// The number of the retry since all was well; 0 for the first attempt.
        attempt: u32,
    },
    /// A session is open.
    Open,
    /// Its session is closing, or its last event is being handled.
    Closing,
    /// It waits before the next attempt.
    Waiting {
        /// The number of the retry that comes next, from 1.
        attempt: u32,
        /// How long the wait is from its beginning.
        delay: Duration,
    },
    /// It is over: stopped, or closed by this side.
    Stopped,
    /// It is over: it gave up. [`Reconnecting::stopped`] returns the failure.
    GaveUp,
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
    /// `on_connected` of the session has returned.
    greeted: bool,
    /// The number of the retry that is under way, or is waited for.
    attempt: u32,
    /// How long that wait is.
    pause: Option<Duration>,
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
        spawned.map_err(ConnectError::of_runtime)?;
        Ok(Reconnecting { standing, runtime: PhantomData })
    }

    /// Where the client is in its life.
    #[must_use]
    pub fn state(&self) -> ClientState {
        self.standing.lock().state()
    }

    /// The open session, if there is one now whose `on_connected` has returned.
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
    /// As [`Session::send`]; [`SendError::NotConnected`] while there is no open session whose
    /// `on_connected` has returned, [`SendError::Closed`] once none will come any more.
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> Result<(), SendError> {
        let inner = self.standing.lock();
        let is_over = inner.over || inner.stopping;
        let session = inner.open();
        drop(inner);
        match session {
            Some(session) => session.send(message),
            None if is_over => Err(SendError::Closed),
            None => Err(SendError::NotConnected),
        }
    }

    /// Waits for an open session whose `on_connected` has returned; `None` once none will come
    /// any more. Not to be waited for in `on_connected` itself.
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

impl core::error::Error for Failure {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Failure::Connect(error) => error.source(),
            Failure::Lost(reason) => reason.source(),
        }
    }
}

impl Failure {
    /// Returns true if another attempt may succeed: the session was lost, or
    /// [`ConnectError::is_retryable`] says so.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Failure::Connect(error) => error.is_retryable(),
            Failure::Lost(_) => true,
        }
    }
}

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
            let failure = match connected {
                Ok(driver) => {
                    let session = driver.host.guard.session.clone();
                    self.backoff.connected(R::now());
                    self.standing.opened(session.clone(), R::now() - begun);
                    self.drive(driver).await;
                    let Some(reason) = session.reason() else { return };
                    if self.standing.closed() || is_on_purpose(&reason) {
                        return;
                    }
                    Failure::Lost(reason)
                }
                Err(error) => {
                    self.standing.lock().failed += 1;
                    publish::connect_failed();
                    Failure::Connect(Arc::new(error))
                }
            };
            let Next::Wait { delay, attempt } = self.next(&failure) else {
                return self.give_up(failure).await;
            };
            self.standing.pause(attempt, Some(delay));
            let retry = Retry::Waiting { attempt, delay, failure };
            self.standing.lock().retries += 1;
            publish::retrying();
            trace::retrying(&retry);
            self.notify(&retry).await;
            let pause = self.standing.until(|inner| inner.stopping.then_some(()));
            if before(&self.connector.runtime, R::now() + delay, pause).await.is_some() {
                return;
            }
            self.standing.pause(attempt, None);
        }
    }

    /// Runs a session until its last event is handled. What lingers then goes its own way.
    async fn drive(&self, driver: Driver<R::Transport, H, R>) {
        let session = driver.host.guard.session.clone();
        let mut driving: Driving = Box::pin(drive(driver));
        let mut greeted = false;
        let finished = poll_fn(|cx| {
            let finished = driving.as_mut().poll(cx).is_ready();
            // The driver yields once after `on_connected`.
            if !greeted && session.shared().is_greeted() {
                greeted = true;
                self.standing.change(|inner| inner.greeted = true);
            }
            match finished || session.shared().is_handled() {
                true => Poll::Ready(finished),
                false => Poll::Pending,
            }
        })
        .await;
        if !finished {
            // Without a place for it the socket is closed at once.
            let _ = self.connector.runtime.spawn(driving);
        }
    }

    /// What follows a failure.
    fn next(&mut self, failure: &Failure) -> Next {
        let asked = self.connector.retry_if.as_ref().and_then(|retry| catch(|| retry(failure)));
        if !asked.unwrap_or_else(|| failure.is_retryable()) {
            return Next::GiveUp;
        }
        match failure {
            Failure::Lost(_) => self.backoff.lost(R::now()),
            Failure::Connect(error) => match error.verdict() {
                Verdict::Final => self.backoff.failed(Verdict::RETRY),
                verdict => self.backoff.failed(verdict),
            },
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
            inner.greeted = false;
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

    /// Notes which retry is waited for, or under way. Nobody waits for that.
    fn pause(&self, attempt: u32, delay: Option<Duration>) {
        let mut inner = self.lock();
        (inner.attempt, inner.pause) = (attempt, delay);
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
        let session = self.session.clone().filter(|_| self.greeted);
        session.filter(|session| session.state() == State::Open)
    }

    fn state(&self) -> ClientState {
        let session = self.session.as_ref().map(Session::state);
        match (session, self.pause) {
            _ if self.over && self.failure.is_some() => ClientState::GaveUp,
            _ if self.over => ClientState::Stopped,
            (Some(State::Open), _) if self.greeted => ClientState::Open,
            (Some(State::Closing | State::Closed), _) => ClientState::Closing,
            (None, Some(delay)) => ClientState::Waiting { attempt: self.attempt, delay },
            _ => ClientState::Connecting { attempt: self.attempt },
        }
    }
}
