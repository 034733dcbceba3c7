//! What happens, told to `tracing`: feature `tracing`, and nothing at all without it.
//!
//! `docs/observability.md` names every event with its level and its fields. Nothing has
//! payloads, reasons of Close frames, paths, headers or pages in it.

#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

use core::future::Future;

#[cfg(feature = "tracing")]
use super::reconnecting::Failure;
use super::reconnecting::Retry;
use super::runtime::Address;
use super::server::Stopped;
use super::session::{Session, Shared};
use crate::connection::reason::DisconnectReason;
use crate::connection::slow::Lag;
use crate::error::Error;
use crate::server::admission::Refusal;

/// What all events and spans are told under.
#[cfg(feature = "tracing")]
const TARGET: &str = "storm";

#[cfg(feature = "tracing")]
const SESSION: &str = "session";

/// Tells an event, or nothing.
#[cfg(feature = "tracing")]
macro_rules! tell {
    ($level:ident, $($what:tt)*) => {
        tracing::event!(target: TARGET, tracing::Level::$level, $($what)*)
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! tell {
    ($($nothing:tt)*) => {{}};
}

/// The span of a connection.
pub(crate) struct Span(#[cfg(feature = "tracing")] tracing::Span);

impl Span {
    pub(crate) fn of(session: &Session) -> Span {
        #[cfg(feature = "tracing")]
        {
            Span(tracing::info_span!(
                target: TARGET,
                SESSION,
                connection = session.shared().connection(),
                peer = %session.peer(),
                id = tracing::field::Empty,
            ))
        }
        #[cfg(not(feature = "tracing"))]
        Span()
    }

    /// What `run` does happens in this span.
    #[cfg(feature = "tracing")]
    pub(crate) fn around<F: Future>(self, run: F) -> impl Future<Output = F::Output> + use<F> {
        tracing::Instrument::instrument(run, self.0)
    }

    #[cfg(not(feature = "tracing"))]
    pub(crate) fn around<F: Future>(self, run: F) -> F {
        run
    }
}

pub(crate) fn listening(address: &Address) {
    tell!(INFO, %address, "listening");
}

pub(crate) fn accept_failed(error: &Error) {
    tell!(WARN, %error, "accept failed");
}

pub(crate) fn refused(peer: &Address, why: Refusal) {
    tell!(DEBUG, %peer, ?why, "refused");
}

pub(crate) fn accepted(session: &Session) {
    tell!(TRACE, connection = session.shared().connection(), peer = %session.peer(), "accepted");
}

pub(crate) fn answered(session: &Session, status: u16) {
    tell!(DEBUG, peer = %session.peer(), status, "answered");
}

pub(crate) fn failed(session: &Session, error: &Error) {
    tell!(ERROR, peer = %session.peer(), %error, "failed");
}

/// A closure returned an error.
pub(crate) fn handler_failed(session: Option<&Session>, error: &Error) {
    let Some(session) = session else {
        tell!(ERROR, %error, "failed");
        return;
    };
    failed(session, error);
}

pub(crate) fn opened(session: &Session) {
    #[cfg(feature = "tracing")]
    {
        let span = tracing::Span::current();
        // The span of this connection, and not one around it, if nobody wants this one.
        if span.metadata().is_some_and(|span| (span.target(), span.name()) == (TARGET, SESSION)) {
            span.record("id", session.id());
        }
    }
    tell!(DEBUG, id = session.id(), peer = %session.peer(), "open");
}

pub(crate) fn lagging(session: &Shared, queued: usize, lag: &Lag) {
    tell!(
        INFO,
        id = session.id(),
        peer = %session.peer(),
        queued,
        refused = lag.refused.messages,
        dropped = lag.dropped.messages,
        superseded = lag.superseded.messages,
        "lag"
    );
}

pub(crate) fn lost(session: &Shared, why: &'static str) {
    tell!(TRACE, id = session.id(), peer = %session.peer(), why, "lost");
}

pub(crate) fn closed(session: &Session, reason: &DisconnectReason) {
    // A connection that was no session had no Close frame to send: a health check that was
    // answered must not look like an abnormal close.
    #[cfg(feature = "tracing")]
    let session_ended = session.id() > 0;
    #[cfg(feature = "tracing")]
    macro_rules! closed {
        ($level:ident $(, $error:ident)?) => {
            tell!(
                $level,
                id = session.id(),
                peer = %session.peer(),
                side = reason.side.name(),
                cause = reason.cause.name(),
                code = session_ended.then(|| reason.code().get()),
                clean = session_ended.then_some(reason.clean),
                undelivered = reason.undelivered,
                undelivered_messages = reason.undelivered_messages,
                $(%$error,)?
                "closed"
            )
        };
    }
    #[cfg(feature = "tracing")]
    match &reason.error {
        None => closed!(DEBUG),
        Some(error @ Error::Local(_)) => closed!(ERROR, error),
        Some(error) => closed!(INFO, error),
    }
}

pub(crate) fn retrying(retry: &Retry) {
    match retry {
        Retry::Waiting { attempt, delay, failure } => {
            tell!(INFO, attempt, ?delay, failure = %Terse(failure), "reconnecting");
        }
        Retry::GaveUp { failure } => tell!(WARN, failure = %Terse(failure), "gave up"),
    }
}

/// A failure without the page that a server has put into its refusal.
#[cfg(feature = "tracing")]
struct Terse<'a>(&'a Failure);

#[cfg(feature = "tracing")]
impl core::fmt::Display for Terse<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Failure::Connect(error) => match error.status() {
                Some(status) => write!(f, "refused with status {status}"),
                None => error.fmt(f),
            },
            lost => lost.fmt(f),
        }
    }
}

pub(crate) fn draining(sessions: usize) {
    tell!(INFO, sessions, "draining");
}

pub(crate) fn stopped(stopped: &Stopped) {
    tell!(
        INFO,
        connections = stopped.connections,
        clean = stopped.clean,
        timed_out = stopped.timed_out,
        failed = stopped.failed,
        unopened = stopped.unopened,
        aborted = stopped.aborted,
        stuck = stopped.stuck,
        undelivered = stopped.undelivered,
        took = ?stopped.took,
        "stopped"
    );
}
