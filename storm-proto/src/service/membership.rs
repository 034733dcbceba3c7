//! A session and its groups.

use core::fmt;
use std::sync::Arc;
use std::vec::Vec;

use super::audience::Audience;
use super::hub::Hub;
use super::session::Session;

impl Session {
    /// Joins a group, which need not exist. The session leaves it by [`Session::leave`] or by
    /// its end. True if it was not in it before.
    ///
    /// Names are compared byte by byte.
    ///
    /// # Errors
    /// As [`JoinError`] has them; nothing has changed then. After the end of the session it is
    /// [`JoinError::Closed`], however close the two come.
    pub fn join(&self, group: &str) -> Result<bool, JoinError> {
        match self.shared().registry() {
            Some(registry) => registry.join(self, group),
            None => Err(JoinError::NotServer),
        }
    }

    /// Leaves a group; a group that nobody is in is gone. False if it was not in it.
    pub fn leave(&self, group: &str) -> bool {
        let registry = self.shared().registry();
        registry.is_some_and(|registry| registry.leave(|groups| groups.leave(self.id(), group)))
    }

    /// Leaves every group; returns how many. The end of a session does so by itself.
    pub fn leave_all(&self) -> usize {
        let registry = self.shared().registry();
        registry.map_or(0, |registry| registry.leave(|groups| groups.leave_all(self.id())))
    }

    /// Returns the groups that it is in, in the order of its joins.
    ///
    /// During the events of its end, `on_disconnected` above all, these are the groups that it
    /// was in until then: it has left them ([`Session::is_in`] is false), and `on_group` was called.
    /// After the last event there are none.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<str>> {
        let Some(registry) = self.shared().registry() else { return Vec::new() };
        let groups = registry.look(|groups| groups.of(self.id()));
        if groups.is_empty() { self.shared().kept_groups() } else { groups }
    }

    /// True if it is in the group.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        let registry = self.shared().registry();
        registry.is_some_and(|registry| registry.look(|groups| groups.is_in(self.id(), group)))
    }

    /// Those in a group, as they are now, without this session; it need not be in it. Nobody
    /// for a client's session.
    pub fn others_in(&self, group: &str) -> Audience {
        self.hub().map_or_else(Audience::nobody, |hub| hub.group(group).except(self))
    }

    /// The sessions and groups of its server; `None` for a client's session.
    #[must_use]
    pub fn hub(&self) -> Option<Hub> {
        self.shared().registry().map(|registry| Hub::new(registry.clone()))
    }
}

/// Why a session did not join a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The session is a client's: groups are a server's.
    NotServer,
    /// The session is over.
    Closed,
    /// The session is in as many groups as it may be; see
    /// [`Server::max_groups`](super::Server::max_groups).
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The name is too long.
    NameTooLong {
        /// The limit in bytes: 256.
        limit: usize,
    },
    /// 65,536 changes wait for [`Handler::on_group`](super::Handler::on_group), which is slower
    /// than changes are made.
    Busy,
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::NotServer => f.write_str("a client's session cannot join a group"),
            JoinError::Closed => f.write_str("the session is over"),
            JoinError::TooMany { limit } => {
                write!(f, "the session is in {limit} groups, which is the limit")
            }
            JoinError::NameTooLong { limit } => {
                write!(f, "the name of the group is over the limit of {limit} bytes")
            }
            JoinError::Busy => {
                f.write_str("too many group changes wait for on_group: join again later")
            }
        }
    }
}

impl core::error::Error for JoinError {}
