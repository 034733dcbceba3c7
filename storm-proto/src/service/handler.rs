//! What an application implements.

use core::future::{Future, ready};
use std::sync::Arc;

use super::error_context::ErrorContext;
use super::groups::GroupChange;
use super::reconnecting::Retry;
use super::session::Session;
use crate::connection::reason::DisconnectReason;
use crate::connection::slow::Lag;
use crate::error::Error;
use crate::message::Message;
use crate::websocket::handshake::{Accept, Decision, Request};

/// The events of a server's or client's sessions.
///
/// Write each as `async fn`; all have a default that does nothing. One value serves all
/// sessions. Events of one session come one after the other: the next message is read
/// when the last call has returned, which is the back-pressure towards a peer that sends
/// faster than it is served. Writing, pinging and deadlines go on meanwhile. While a
/// call is pending nothing is read, so the end of the peer's stream is noticed only by
/// a failing write or a deadline.
///
/// For the same reason a call that sends much more than fits, with
/// [`Session::send_wait`], to a peer that answers all of it waits for a peer that waits for it.
/// Send that from elsewhere: a `Session` can be used from any task or thread.
///
/// A call whose connection is over is dropped at the point where it waits.
///
/// A panic in a call ends its session with 1011 and is told to [`Handler::on_error`];
/// other sessions go on.
pub trait Handler: Send + Sync + 'static {
    /// A request arrived at a WebSocket server. It may be an upgrade to be accepted or
    /// refused, or a plain request that may be answered. Accepts every upgrade by default.
    fn on_connecting(&self, request: &Request) -> impl Future<Output = Decision> + Send {
        let _ = request;
        ready(Decision::Accept(Accept::new()))
    }

    /// A session is open. Comes before its first message; others find the session already, and
    /// may send to it.
    fn on_connected(&self, session: &Session) -> impl Future<Output = ()> + Send {
        let _ = session;
        ready(())
    }

    /// A message arrived. It is lent for the time of the call; `message.to_owned()` keeps it.
    fn on_message(
        &self,
        session: &Session,
        message: Message<'_>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (session, message);
        ready(())
    }

    /// A session is over; the last event of it. Comes exactly once for each `on_connected`.
    fn on_disconnected(
        &self,
        session: &Session,
        reason: &DisconnectReason,
    ) -> impl Future<Output = ()> + Send {
        let _ = (session, reason);
        ready(())
    }

    /// Something failed: a rule broken by a peer, a transport, a deadline, a panic. `context` is
    /// the session, or the peer of a connection that never became one, or the accept loop.
    ///
    /// Not called for a peer that goes away, also with a reset, before it has a session: port
    /// scans and health checks do. Metrics count it.
    fn on_error(&self, context: &ErrorContext, error: &Error) -> impl Future<Output = ()> + Send {
        let _ = (context, error);
        ready(())
    }

    /// A client that comes back will do so, or has given up; see
    /// [`Client::reconnect`](super::Client::reconnect).
    fn on_reconnecting(&self, retry: &Retry) -> impl Future<Output = ()> + Send {
        let _ = retry;
        ready(())
    }

    /// A session of a server has joined a group or left it, also by its end: then before
    /// `on_disconnected`. Called in the order in which it happened, never twice at once.
    ///
    /// Not `async`, and better short: the thread that makes a change calls this for it, and for at
    /// most 64 others that wait; a task of the server does it for the rest. Where changes come
    /// faster than this returns, calls are late, and those for a session that has ended may come
    /// after its `on_disconnected`. This may join, leave and broadcast; calls for what that changes
    /// come after it has returned. A panic is contained, and only the panic hook sees it.
    fn on_group(&self, change: &GroupChange) {
        let _ = change;
    }

    /// Messages for a peer that reads too slowly begin to be dropped, as
    /// [`SlowConsumer`](crate::SlowConsumer) says. Told once for each burst, which ends when what
    /// is queued has fallen to half of its limit; `lag` has all that was dropped since the last
    /// notice. A message that a newer one has superseded counts, but begins no burst.
    ///
    /// Not `async`, and better short: it is told by the thread whose send began the burst, before
    /// that returns. It may send, and close the session; a burst that it begins itself is told
    /// after it has returned. A panic in it is contained, and told to nobody but the panic hook.
    fn on_lag(&self, session: &Session, lag: &Lag) {
        let _ = (session, lag);
    }
}

/// A handler that others hold as well.
impl<H: Handler> Handler for Arc<H> {
    fn on_connecting(&self, request: &Request) -> impl Future<Output = Decision> + Send {
        (**self).on_connecting(request)
    }

    fn on_connected(&self, session: &Session) -> impl Future<Output = ()> + Send {
        (**self).on_connected(session)
    }

    fn on_message(
        &self,
        session: &Session,
        message: Message<'_>,
    ) -> impl Future<Output = ()> + Send {
        (**self).on_message(session, message)
    }

    fn on_disconnected(
        &self,
        session: &Session,
        reason: &DisconnectReason,
    ) -> impl Future<Output = ()> + Send {
        (**self).on_disconnected(session, reason)
    }

    fn on_error(&self, context: &ErrorContext, error: &Error) -> impl Future<Output = ()> + Send {
        (**self).on_error(context, error)
    }

    fn on_reconnecting(&self, retry: &Retry) -> impl Future<Output = ()> + Send {
        (**self).on_reconnecting(retry)
    }

    fn on_group(&self, change: &GroupChange) {
        (**self).on_group(change);
    }

    fn on_lag(&self, session: &Session, lag: &Lag) {
        (**self).on_lag(session, lag);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_shared_handler_hears_of_everything() {
        let (code, _) = include_str!("handler.rs").split_once("mod tests").unwrap();
        let (own, shared) = code.split_once("for Arc<H>").unwrap();
        let hooks: std::vec::Vec<_> =
            own.split("fn on_").skip(1).filter_map(|rest| rest.split('(').next()).collect();
        assert!(hooks.len() >= 8, "{hooks:?}");
        for hook in hooks {
            let forwards = shared.contains(&std::format!("(**self).on_{hook}("));
            assert!(forwards, "on_{hook} is not told to a handler in an Arc");
        }
    }
}
