//! What servers and clients count, and how it is added up.
//!
//! Nothing is shared while messages flow: each session counts for itself. What it came to joins
//! its server's ledger once, when it ends, in the step that takes it off the list; a snapshot
//! is the ledger and the sessions on the list. So it loses no session and has none twice.

use core::time::Duration;

use super::session::{Metrics, Session};
use crate::Histogram;
use crate::connection::reason::{Cause, DisconnectReason, Ending, Side};
use crate::server::admission::Refusal;

/// What a server has counted since it started: see [`Hub::metrics`](super::Hub::metrics).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ServerMetrics {
    /// Connections now, from accept to the last event.
    pub connections: usize,
    /// Connections after that whose peers have not closed TCP yet. Each keeps its place in
    /// `max_connections`, for at most 5 s or the close timeout.
    pub lingering: usize,
    /// Connections that were let in at accept.
    pub admitted: u64,
    /// Connections that were not.
    pub refused: Refused,
    /// Connections that were let in and became no session.
    pub unopened: Unopened,
    /// The sessions, those that are over included.
    pub sessions: Totals,
}

/// Connections that were closed as soon as they were accepted, by what stood against them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Refused {
    /// `max_connections` of the server.
    pub full: u64,
    /// `max_connections_per_ip`.
    pub per_ip: u64,
    /// `connect_rate`.
    pub rate: u64,
    /// The server was stopping.
    pub stopping: u64,
}

/// Connections that ended before they were sessions, by how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Unopened {
    /// Their request was answered with something else: a page, a refusal, an error.
    pub answered: u64,
    /// The opening took longer than it may.
    pub timed_out: u64,
    /// They broke off: the peer went away, TLS failed, the server stopped.
    pub failed: u64,
    /// A stop cut them off at the end of its time.
    pub aborted: u64,
}

/// What a client that comes back has counted since it was made: see
/// [`Reconnecting::metrics`](super::Reconnecting::metrics).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ClientMetrics {
    /// Connects that were begun, the first one included.
    pub attempts: u64,
    /// Connects that failed.
    pub failed: u64,
    /// Times it decided to come back.
    pub retries: u64,
    /// The sessions, one after the other.
    pub sessions: Totals,
}

/// What sessions came to, those that are open and those that are over.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Totals {
    /// Sessions now, those that are closing included.
    pub open: usize,
    /// Sessions that were opened.
    pub opened: u64,
    /// Sessions that ended cleanly; see [`DisconnectReason::clean`]. These and the three below are
    /// all that have ended.
    pub clean: u64,
    /// Sessions that a deadline ended; see [`DisconnectReason::is_timed_out`].
    pub timed_out: u64,
    /// Sessions that were cut off; see [`DisconnectReason::is_aborted`].
    pub aborted: u64,
    /// Sessions that ended in any other way: lost, or after a fault.
    pub failed: u64,
    /// Sessions that ended with an error; see [`DisconnectReason::error`].
    pub errors: u64,
    /// Bytes given to the transports; see [`Metrics`].
    pub bytes_sent: u64,
    /// Bytes taken from the transports.
    pub bytes_received: u64,
    /// Messages accepted by sends.
    pub messages_sent: u64,
    /// Messages handed to handlers.
    pub messages_received: u64,
    /// Sends that were refused because the peer reads too slowly; see [`Metrics`].
    pub messages_refused: u64,
    /// The bytes of their payloads.
    pub bytes_refused: u64,
    /// Messages that the policies for slow consumers dropped.
    pub messages_dropped: u64,
    /// The bytes of their payloads.
    pub bytes_dropped: u64,
    /// Messages that a newer one with the same key replaced.
    pub messages_superseded: u64,
    /// The bytes of their payloads.
    pub bytes_superseded: u64,
    /// Sends that found the session closing or closed; those after it left the server's list are
    /// in its own [`Metrics`] only.
    pub messages_closed: u64,
    /// Sends of messages that the framing could not carry.
    pub messages_unframed: u64,
    /// Messages that middleware dropped on their way to the handler.
    pub messages_filtered_in: u64,
    /// Messages that middleware dropped on their way to the peer.
    pub messages_filtered_out: u64,
    /// Bytes of payloads that sends had accepted, of sessions that ended before these bytes left;
    /// see [`DisconnectReason::undelivered`].
    pub undelivered: u64,
    /// The messages that did not wholly leave.
    pub undelivered_messages: u64,
    /// How long it took to open a session: from accept, or from the start of a connect.
    pub opening: Histogram,
    /// How long sessions lasted that are over.
    pub lifetime: Histogram,
    /// How far away the peers are: the last round trip that a heartbeat has measured, of each
    /// session that is open.
    pub round_trip: Histogram,
}

/// The part of [`Totals`] that grows with messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) messages_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) messages_refused: u64,
    pub(crate) bytes_refused: u64,
    pub(crate) messages_dropped: u64,
    pub(crate) bytes_dropped: u64,
    pub(crate) messages_superseded: u64,
    pub(crate) bytes_superseded: u64,
    pub(crate) messages_closed: u64,
    pub(crate) messages_unframed: u64,
    pub(crate) messages_filtered_in: u64,
    pub(crate) messages_filtered_out: u64,
    pub(crate) undelivered: u64,
    pub(crate) undelivered_messages: u64,
}

/// What the ended sessions of a server, or of a client, came to.
#[derive(Default, Debug)]
pub(crate) struct Ledger {
    totals: Totals,
    /// How much of the traffic was published.
    published: Traffic,
}

impl Refused {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.full + self.per_ip + self.rate + self.stopping
    }

    pub(crate) fn count(&mut self, refusal: Refusal) {
        *match refusal {
            Refusal::Full => &mut self.full,
            Refusal::PerIp => &mut self.per_ip,
            Refusal::Rate => &mut self.rate,
            Refusal::Stopping => &mut self.stopping,
        } += 1;
    }
}

impl Unopened {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.answered + self.timed_out + self.failed + self.aborted
    }

    pub(crate) fn count(&mut self, reason: &DisconnectReason) {
        *match (reason.ending(), reason.side, reason.cause) {
            (Ending::Aborted, ..) => &mut self.aborted,
            (.., Cause::HandshakeTimeout) => &mut self.timed_out,
            (_, Side::Local, Cause::Closed) => &mut self.answered,
            _ => &mut self.failed,
        } += 1;
    }
}

impl Totals {
    /// Sessions that are over.
    #[must_use]
    pub const fn ended(&self) -> u64 {
        self.opened.saturating_sub(self.open as u64)
    }

    fn add(&mut self, metrics: &Metrics) {
        self.bytes_sent += metrics.bytes_sent;
        self.bytes_received += metrics.bytes_received;
        self.messages_sent += metrics.messages_sent;
        self.messages_received += metrics.messages_received;
        self.messages_refused += metrics.messages_refused;
        self.bytes_refused += metrics.bytes_refused;
        self.messages_dropped += metrics.messages_dropped;
        self.bytes_dropped += metrics.bytes_dropped;
        self.messages_superseded += metrics.messages_superseded;
        self.bytes_superseded += metrics.bytes_superseded;
        self.messages_closed += metrics.messages_closed;
        self.messages_unframed += metrics.messages_unframed;
        self.messages_filtered_in += metrics.messages_filtered_in;
        self.messages_filtered_out += metrics.messages_filtered_out;
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            messages_sent: self.messages_sent,
            messages_received: self.messages_received,
            messages_refused: self.messages_refused,
            bytes_refused: self.bytes_refused,
            messages_dropped: self.messages_dropped,
            bytes_dropped: self.bytes_dropped,
            messages_superseded: self.messages_superseded,
            bytes_superseded: self.bytes_superseded,
            messages_closed: self.messages_closed,
            messages_unframed: self.messages_unframed,
            messages_filtered_in: self.messages_filtered_in,
            messages_filtered_out: self.messages_filtered_out,
            undelivered: self.undelivered,
            undelivered_messages: self.undelivered_messages,
        }
    }
}

impl Traffic {
    /// Calls `f` with each counter of this and of `other`.
    fn zip(self, other: Traffic, f: impl Fn(u64, u64) -> u64) -> Traffic {
        Traffic {
            bytes_sent: f(self.bytes_sent, other.bytes_sent),
            bytes_received: f(self.bytes_received, other.bytes_received),
            messages_sent: f(self.messages_sent, other.messages_sent),
            messages_received: f(self.messages_received, other.messages_received),
            messages_refused: f(self.messages_refused, other.messages_refused),
            bytes_refused: f(self.bytes_refused, other.bytes_refused),
            messages_dropped: f(self.messages_dropped, other.messages_dropped),
            bytes_dropped: f(self.bytes_dropped, other.bytes_dropped),
            messages_superseded: f(self.messages_superseded, other.messages_superseded),
            bytes_superseded: f(self.bytes_superseded, other.bytes_superseded),
            messages_closed: f(self.messages_closed, other.messages_closed),
            messages_unframed: f(self.messages_unframed, other.messages_unframed),
            messages_filtered_in: f(self.messages_filtered_in, other.messages_filtered_in),
            messages_filtered_out: f(self.messages_filtered_out, other.messages_filtered_out),
            undelivered: f(self.undelivered, other.undelivered),
            undelivered_messages: f(self.undelivered_messages, other.undelivered_messages),
        }
    }
}

impl Ledger {
    /// A session is open, so long after its connection began.
    pub(crate) fn opened(&mut self, after: Duration) {
        self.totals.open += 1;
        self.totals.opened += 1;
        self.totals.opening.record(after);
    }

    /// A session is over, and off the list.
    pub(crate) fn ended(&mut self, metrics: &Metrics, reason: &DisconnectReason) {
        self.totals.open -= 1;
        *match reason.ending() {
            Ending::Clean => &mut self.totals.clean,
            Ending::TimedOut => &mut self.totals.timed_out,
            Ending::Aborted => &mut self.totals.aborted,
            Ending::Failed => &mut self.totals.failed,
        } += 1;
        self.totals.errors += u64::from(reason.error.is_some());
        self.totals.undelivered += reason.undelivered as u64;
        self.totals.undelivered_messages += reason.undelivered_messages as u64;
        self.totals.lifetime.record(metrics.uptime);
        self.totals.add(metrics);
    }

    /// Those that are over.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What is to be published of `all`, once: less what was. The open sessions may be part of
    /// one call and missing in the next; nothing is taken back then.
    pub(crate) fn publish(&mut self, all: Traffic) -> Traffic {
        let news = all.zip(self.published, u64::saturating_sub);
        self.published = all.zip(self.published, u64::max);
        news
    }
}

/// Adds the sessions that are on the list to those that are not any more. Both must have been
/// taken in one step.
pub(crate) fn with_open<'a>(
    mut totals: Totals,
    open: impl IntoIterator<Item = &'a Session>,
) -> Totals {
    for session in open {
        totals.add(&session.metrics());
        if let Some(round_trip) = session.round_trip() {
            totals.round_trip.record(round_trip);
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::sync::Arc;
    use std::thread;
    use std::vec::Vec;

    use super::super::registry::Registry;
    use super::super::registry::tests::open;
    use super::*;
    use crate::Outbox;

    fn traffic(messages_sent: u64, bytes_sent: u64) -> Traffic {
        Traffic { messages_sent, bytes_sent, ..Traffic::default() }
    }

    fn session(messages_sent: u64) -> Metrics {
        let uptime = Duration::from_secs(messages_sent);
        Metrics { messages_sent, uptime, ..Metrics::default() }
    }

    #[test]
    fn a_session_counts_once_when_it_opens_and_once_when_it_ends() {
        let mut ledger = Ledger::default();
        ledger.opened(Duration::from_millis(3));
        ledger.opened(Duration::from_millis(5));
        let mut reason = DisconnectReason::new(Side::Remote, Cause::Closed);
        (reason.clean, reason.undelivered) = (true, 9);
        ledger.ended(&session(4), &reason);
        let totals = ledger.totals();
        assert_eq!((totals.open, totals.opened, totals.ended(), totals.clean), (1, 2, 1, 1));
        assert_eq!((totals.messages_sent, totals.undelivered, totals.errors), (4, 9, 0));
        assert_eq!(totals.opening.sum(), Duration::from_millis(8));
        assert_eq!(totals.lifetime.max(), Duration::from_secs(4));
    }

    #[test]
    fn what_was_published_with_the_open_sessions_is_not_published_again_at_their_end() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.publish(traffic(5, 50)), traffic(5, 50), "open ones, on a call");
        assert_eq!(ledger.publish(traffic(2, 90)), traffic(0, 40), "one of them has ended");
        assert_eq!(ledger.publish(traffic(2, 90)), traffic(0, 0));
        assert_eq!(ledger.publish(traffic(7, 91)), traffic(2, 1), "and all that there is");
    }

    #[test]
    fn a_connection_that_became_no_session_is_counted_by_how_it_ended() {
        let mut unopened = Unopened::default();
        for (side, cause) in [
            (Side::Local, Cause::Closed),
            (Side::Remote, Cause::HandshakeTimeout),
            (Side::Remote, Cause::Lost),
            (Side::Local, Cause::GoingAway),
        ] {
            unopened.count(&DisconnectReason::new(side, cause));
        }
        assert_eq!((unopened.answered, unopened.timed_out, unopened.failed), (1, 1, 2));
    }

    #[test]
    fn no_snapshot_loses_a_session_that_ends_meanwhile_or_has_it_twice() {
        const SESSIONS: usize = 2_000;
        let registry = Arc::new(Registry::new());
        let mut sessions: Vec<_> = (0..SESSIONS).map(|_| open(&registry)).collect();
        sessions.iter().for_each(|session| session.shared().count_received(7, 1));
        let rest = sessions.split_off(SESSIONS / 2);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let ending = [sessions, rest].map(|half| {
                let registry = &registry;
                scope.spawn(move || {
                    for session in half {
                        session.shared().end(&Outbox::new());
                        registry.remove(&session);
                    }
                })
            });
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let sessions = registry.metrics().sessions;
                    let counted = (sessions.messages_received, sessions.bytes_received);
                    assert_eq!(counted, (SESSIONS as u64, 7 * SESSIONS as u64));
                    assert_eq!(sessions.open as u64 + sessions.lifetime.count(), SESSIONS as u64);
                }
            });
            for thread in ending {
                thread.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(registry.metrics().sessions.open, 0);
    }
}
