//! A server that runs: what is asked of it, and how it is stopped.

use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::sync::Arc;
use std::vec::Vec;

use crate::Instant;
use crate::server::drain::{Drain, Waves};
use crate::service::hub::Hub;
use crate::service::metrics::ServerMetrics;
use crate::service::race::before;
use crate::service::registry::Registry;
use crate::service::runtime::{Address, Runtime};
use crate::service::session::Session;
use crate::service::trace;
use crate::websocket::frame::close_code::CloseCode;

/// How long a stop waits for connections that it has cut off: each needs a turn of its driver,
/// and its last event.
pub(crate) const LAST_TURN: Duration = Duration::from_secs(1);

/// A server that listens.
///
/// Dropping it stops the server without waiting: nothing more is accepted, and every
/// session is told to close.
#[must_use = "dropping it stops the server"]
pub struct Running<R> {
    pub(super) runtime: R,
    pub(super) address: Address,
    /// All of them, that one first.
    pub(super) addresses: Vec<Address>,
    /// It can tell newcomers to come back later.
    pub(super) answers: bool,
    pub(super) registry: Arc<Registry>,
}

/// How a stop or a shutdown ended the connections of its server.
///
/// Every connection counts once: `connections` is the sum of `clean`, `timed_out`, `failed`,
/// `unopened` and `aborted`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stopped {
    /// Connections that had not ended when it began, and those that were accepted since.
    pub connections: u64,
    /// Sessions that ended cleanly: everything was written, and the closing handshake was
    /// finished.
    pub clean: u64,
    /// Sessions that a deadline ended, above all the close timeout: the peer did not finish the
    /// closing handshake in time.
    pub timed_out: u64,
    /// Sessions that ended in any other way: the peer vanished or broke a rule, or a handler
    /// panicked.
    pub failed: u64,
    /// Connections that ended before they were sessions: their handshake was under way, or
    /// their request was answered, newcomers of a shutdown with 503.
    pub unopened: u64,
    /// Connections that were cut off when the time was over, or that the application aborted.
    pub aborted: u64,
    /// Handlers that still run, and wait for something other than their session. Their
    /// connections have ended, and are among the others.
    pub stuck: usize,
    /// Bytes that were accepted by sends and did not leave, of all sessions that ended
    /// meanwhile.
    pub undelivered: u64,
    /// How long it took.
    pub took: Duration,
}

impl<R: Runtime> Running<R> {
    /// Where it listens, with the port that the system chose for port 0. The first of
    /// [`Running::addresses`].
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Everywhere it listens: several where a name has several addresses, and for all addresses
    /// of the machine. Their port is the same.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Connections from accept to the last event.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.registry.connections()
    }

    /// Connections that were closed at once because of a limit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.registry.refused()
    }

    /// What was counted since the start; see [`Hub::metrics`].
    #[must_use]
    pub fn metrics(&self) -> ServerMetrics {
        self.registry.metrics()
    }

    /// The sessions and groups: a handle that can be cloned, and outlives this one.
    #[must_use]
    pub fn hub(&self) -> Hub {
        Hub::new(self.registry.clone())
    }

    /// How many sessions there are; see [`Hub::count`].
    #[must_use]
    pub fn count(&self) -> usize {
        self.registry.count()
    }

    /// The session with this number; see [`Hub::session`].
    #[must_use]
    pub fn session(&self, id: u64) -> Option<Session> {
        self.registry.get(id)
    }

    /// All sessions, as they are now; see [`Hub::sessions`].
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.hub().sessions()
    }

    /// Closes every session in order, as [`Session::close`] does, and goes on accepting.
    /// Returns how many there were. Does not wait.
    pub fn close_all(&self) -> usize {
        self.hub().close_all()
    }

    /// Stops in order: accepts nothing more, tells every session 1001 (going away), lets
    /// it write what is queued, and waits for every handler, at most for `grace`; what is
    /// left then is cut off. No event comes after it has returned, but those of stuck
    /// handlers.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the stop under way, without its end.
    pub fn stop(&self, grace: Duration) -> R::Wait<impl Future<Output = Stopped>> {
        R::wait(self.end(Drain::at_once(grace), false))
    }

    /// Stops without haste: [`Running::stop`], with waves before it. Sessions are told to go a
    /// few at a time, spread over [`Drain::over`], so that they do not all come back at once;
    /// each is closed in order. Until the last of them is gone the server goes on accepting:
    /// requests for a WebSocket are answered 503 with `Retry-After`, others as before. A server
    /// of plain TCP, which has no such answer, accepts nothing from the start.
    ///
    /// [`Drain::within`] is the one deadline over everything: what is left then is told to go if
    /// it was not, and cut off. [`Hub::is_stopping`] is true from the start. A second call
    /// does not change what the first one tells newcomers.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waves: who was told to go goes on going, newcomers still
    /// get their 503, and nobody else is told. A stop, another shutdown or dropping the server
    /// ends that.
    pub fn shutdown(&self, drain: Drain) -> R::Wait<impl Future<Output = Stopped>> {
        R::wait(self.end(drain, true))
    }

    pub(super) async fn end(&self, drain: Drain, in_waves: bool) -> Stopped {
        let begun = R::now();
        let deadline = begun + drain.within;
        let before_it = self.registry.tally();
        if in_waves {
            self.drain(&drain, begun, deadline).await;
        }
        self.registry.say_goodbye(drain.code);
        if before(&self.runtime, deadline, self.registry.empty()).await.is_none() {
            // What had arrived in time counts: each session looks once more before its end.
            let left = self.registry.all();
            left.iter().for_each(|session| session.shared().cut_off());
            let last = R::now() + LAST_TURN;
            before(&self.runtime, R::now() + LAST_TURN / 2, self.registry.empty()).await;
            left.iter().for_each(Session::abort);
            // The last events of these come before the report.
            before(&self.runtime, last, self.registry.empty()).await;
        }
        let after_it = self.registry.tally();
        let clean = after_it.clean - before_it.clean;
        let timed_out = after_it.timed_out - before_it.timed_out;
        let failed = after_it.failed - before_it.failed;
        let unopened = after_it.unopened - before_it.unopened;
        // Those that are left were aborted, and their handlers do not return.
        let aborted = after_it.aborted - before_it.aborted + after_it.left;
        let stopped = Stopped {
            connections: clean + timed_out + failed + unopened + aborted,
            clean,
            timed_out,
            failed,
            unopened,
            aborted,
            stuck: self.registry.stuck(),
            undelivered: after_it.undelivered - before_it.undelivered,
            took: R::now() - begun,
        };
        trace::stopped(&stopped);
        stopped
    }

    /// Closes the sessions in waves, and waits until they are gone.
    async fn drain(&self, drain: &Drain, begun: Instant, deadline: Instant) {
        let sessions = self.registry.drain(drain.clone());
        trace::draining(sessions.len());
        if !self.answers {
            self.registry.stop();
        }
        let waves = Waves::new(sessions.len(), begun, drain.over.min(drain.within));
        let mut told = 0;
        loop {
            let now = R::now();
            let due = waves.due(now);
            for session in sessions[told..due].iter().filter_map(|id| self.registry.get(*id)) {
                session.shared().go_away(drain.code);
            }
            told = due;
            // After the last wave there is only the deadline.
            let next = waves.next(now).map_or(deadline, |next| next.min(deadline));
            let gone = before(&self.runtime, next, self.registry.without_sessions()).await;
            if gone.is_some() || R::now() >= deadline {
                return;
            }
        }
    }
}

impl<R> Drop for Running<R> {
    fn drop(&mut self) {
        self.registry.say_goodbye(CloseCode::GOING_AWAY);
    }
}

impl<R> fmt::Debug for Running<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({})", self.address)
    }
}
