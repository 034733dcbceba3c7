//! Where an error happened, for those who are notified of it.

use core::fmt;

use super::runtime::{Address, Ends};
use super::session::Session;

/// Where an error happened: what [`Handler::on_error`](super::Handler::on_error) gets beside the
/// error.
///
/// ```
/// use storm_proto::Error;
/// use storm_proto::service::ErrorContext;
///
/// fn log(context: &ErrorContext, error: &Error) {
///     match context {
///         ErrorContext::Session(session) => eprintln!("session {}: {error}", session.id()),
///         // Display says the same in words: "session 7 (192.0.2.1:5000)", "192.0.2.1:5000".
///         other => eprintln!("{other}: {error}"),
///     }
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ErrorContext {
    /// In a session.
    Session(Session),
    /// On a connection that never became a session, between these two addresses.
    Connection(Ends),
    /// In the accept loop of a server, which goes on.
    Accepting,
    /// In a client that reconnects, between two sessions.
    Reconnecting,
}

impl ErrorContext {
    /// Returns the session, if there is one.
    #[must_use]
    pub const fn session(&self) -> Option<&Session> {
        match self {
            ErrorContext::Session(session) => Some(session),
            _ => None,
        }
    }

    /// Returns the address of the peer; `None` where there is no connection.
    #[must_use]
    pub fn peer(&self) -> Option<&Address> {
        match self {
            ErrorContext::Session(session) => Some(session.peer()),
            ErrorContext::Connection(ends) => Some(&ends.peer),
            ErrorContext::Accepting | ErrorContext::Reconnecting => None,
        }
    }
}

impl From<&Session> for ErrorContext {
    fn from(session: &Session) -> ErrorContext {
        ErrorContext::Session(session.clone())
    }
}

impl fmt::Display for ErrorContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorContext::Session(session) => {
                write!(f, "session {} ({})", session.id(), session.peer())
            }
            ErrorContext::Connection(ends) => ends.peer.fmt(f),
            ErrorContext::Accepting => f.write_str("accepting"),
            ErrorContext::Reconnecting => f.write_str("reconnecting"),
        }
    }
}
