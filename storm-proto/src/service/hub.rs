//! A handle on the sessions and groups of a server.

use core::fmt;
use std::sync::Arc;
use std::vec::Vec;

use super::audience::Audience;
use super::groups::Members;
use super::metrics::ServerMetrics;
use super::registry::Registry;
use super::session::Session;

/// The sessions of a server and their groups, from anywhere: [`Server::hub`] has it before
/// the server starts, [`Running::hub`] later, and [`Session::hub`] in a handler.
///
/// Cloning it counts a reference. It keeps no server alive; without one it is empty. No call
/// waits for anything.
///
/// ```
/// # use storm_proto::service::{Hub, Session};
/// fn say(hub: &Hub, from: &Session, words: &str) {
///     let delivery = hub.group("lobby").group("bar").except(from).send(words);
///     println!("{} hear it, {} are too slow", delivery.queued, delivery.full);
/// }
/// ```
///
/// [`Server::hub`]: super::Server::hub
/// [`Running::hub`]: super::Running::hub
#[derive(Clone)]
pub struct Hub {
    registry: Arc<Registry>,
}

impl Hub {
    pub(crate) fn new(registry: Arc<Registry>) -> Hub {
        Hub { registry }
    }

    /// How many sessions there are: from just before `on_connected` until just before
    /// `on_disconnected`, those that are closing included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.registry.count()
    }

    /// The session with this number, whatever its [`State`](super::State): one of those that
    /// [`Hub::count`] counts.
    #[must_use]
    pub fn session(&self, id: u64) -> Option<Session> {
        self.registry.get(id)
    }

    /// All sessions, as they are now, in the order in which they came: those that
    /// [`Hub::count`] counts. [`Session::state`] is `Closing` for some of them; sends to these
    /// fail.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.registry.sessions().iter().cloned().collect()
    }

    /// Closes every session in order, as [`Session::close`] does; the server goes on. Returns
    /// how many there were. Does not wait.
    pub fn close_all(&self) -> usize {
        self.all().close()
    }

    /// What was counted since the server started. It takes one step for each open session, so
    /// it is made for every few seconds, not for every message.
    #[must_use]
    pub fn metrics(&self) -> ServerMetrics {
        self.registry.metrics()
    }

    /// Publishes, through the facade `metrics`, what messages have added up to since the last
    /// call; as costly as [`Hub::metrics`]. To be called before each scrape, or every few
    /// seconds: what sessions that are over came to is published without it.
    #[cfg(feature = "metrics")]
    pub fn publish(&self) {
        self.registry.publish();
    }

    /// True once the server drains or stops: a health check may say so, before newcomers are
    /// sent elsewhere.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.registry.draining().is_some() || self.registry.is_stopping()
    }

    /// The names of all groups, in no order. Each has at least one member.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<str>> {
        self.registry.look(|groups| groups.names())
    }

    /// How many are in a group; 0 if there is none of that name.
    #[must_use]
    pub fn member_count(&self, group: &str) -> usize {
        self.registry.look(|groups| groups.member_count(group))
    }

    /// Everybody, as they are now.
    ///
    /// A session is among them before its `on_connected`. One that is to hear nothing before
    /// that has done its work is better addressed by a group that it joins there.
    pub fn all(&self) -> Audience {
        Audience::new(self.clone(), self.registry.sessions())
    }

    /// Those in a group, as they are now; nobody if there is none of that name.
    pub fn group(&self, group: &str) -> Audience {
        Audience::new(self.clone(), self.members(group))
    }

    pub(crate) fn members(&self, group: &str) -> Members {
        self.registry.look(|groups| groups.members(group))
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("sessions", &self.count()).finish_non_exhaustive()
    }
}
