//! Closures as a handler: subscribe, don't implement.

use core::future::{Future, ready};

use super::groups::GroupChange;
use super::handler::Handler;
use super::reconnecting::Retry;
use super::session::Session;
use crate::connection::reason::DisconnectReason;
use crate::connection::slow::Lag;
use crate::error::Error;
use crate::message::Message;
use crate::websocket::handshake::{Accept, Decision, Request};

/// A [`Handler`] made of closures; the builders of servers and clients make one.
///
/// The closures are synchronous and get what they get lent. What they return is
/// ignored, so that `|session, message| session.send(message)` is one. For work that
/// waits implement [`Handler`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Callbacks<
    G = Unset,
    C = Unset,
    M = Unset,
    D = Unset,
    E = Unset,
    T = Unset,
    P = Unset,
    L = Unset,
> {
    connecting: G,
    connected: C,
    message: M,
    disconnected: D,
    error: E,
    reconnecting: T,
    group: P,
    lag: L,
}

/// No closure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unset;

impl Callbacks {
    /// No closures yet.
    #[must_use]
    pub const fn new() -> Callbacks {
        Callbacks {
            connecting: Unset,
            connected: Unset,
            message: Unset,
            disconnected: Unset,
            error: Unset,
            reconnecting: Unset,
            group: Unset,
            lag: Unset,
        }
    }
}

/// The same closures but for one, whose type changes: `..self` cannot say that.
macro_rules! with {
    ($callbacks:ident, $set:ident: $closure:ident; $($kept:ident)*) => {
        Callbacks { $set: $closure, $($kept: $callbacks.$kept),* }
    };
}

impl<G, C, M, D, E, T, P, L> Callbacks<G, C, M, D, E, T, P, L> {
    /// Sets the closure for [`Handler::on_connecting`].
    pub fn on_connecting<F, R>(self, f: F) -> Callbacks<F, C, M, D, E, T, P, L>
    where
        F: Fn(&Request) -> R + Send + Sync + 'static,
        R: Into<Decision>,
    {
        with!(self, connecting: f; connected message disconnected error reconnecting group lag)
    }

    /// Sets the closure for [`Handler::on_connected`].
    pub fn on_connected<F, R>(self, f: F) -> Callbacks<G, F, M, D, E, T, P, L>
    where
        F: Fn(&Session) -> R + Send + Sync + 'static,
    {
        with!(self, connected: f; connecting message disconnected error reconnecting group lag)
    }

    /// Sets the closure for [`Handler::on_message`].
    pub fn on_message<F, R>(self, f: F) -> Callbacks<G, C, F, D, E, T, P, L>
    where
        F: Fn(&Session, Message<'_>) -> R + Send + Sync + 'static,
    {
        with!(self, message: f; connecting connected disconnected error reconnecting group lag)
    }

    /// Sets the closure for [`Handler::on_disconnected`].
    pub fn on_disconnected<F, R>(self, f: F) -> Callbacks<G, C, M, F, E, T, P, L>
    where
        F: Fn(&Session, &DisconnectReason) -> R + Send + Sync + 'static,
    {
        with!(self, disconnected: f; connecting connected message error reconnecting group lag)
    }

    /// Sets the closure for [`Handler::on_error`].
    pub fn on_error<F, R>(self, f: F) -> Callbacks<G, C, M, D, F, T, P, L>
    where
        F: Fn(Option<&Session>, &Error) -> R + Send + Sync + 'static,
    {
        with!(self, error: f; connecting connected message disconnected reconnecting group lag)
    }

    /// Sets the closure for [`Handler::on_reconnecting`].
    pub fn on_reconnecting<F, R>(self, f: F) -> Callbacks<G, C, M, D, E, F, P, L>
    where
        F: Fn(&Retry) -> R + Send + Sync + 'static,
    {
        with!(self, reconnecting: f; connecting connected message disconnected error group lag)
    }

    /// Sets the closure for [`Handler::on_group`].
    pub fn on_group<F, R>(self, f: F) -> Callbacks<G, C, M, D, E, T, F, L>
    where
        F: Fn(&GroupChange) -> R + Send + Sync + 'static,
    {
        with!(self, group: f; connecting connected message disconnected error reconnecting lag)
    }

    /// Sets the closure for [`Handler::on_lag`].
    pub fn on_lag<F, R>(self, f: F) -> Callbacks<G, C, M, D, E, T, P, F>
    where
        F: Fn(&Session, &Lag) -> R + Send + Sync + 'static,
    {
        with!(self, lag: f; connecting connected message disconnected error reconnecting group)
    }
}

impl<G, C, M, D, E, T, P, L> Handler for Callbacks<G, C, M, D, E, T, P, L>
where
    G: Connecting,
    C: Connected,
    M: Messages,
    D: Disconnected,
    E: Errors,
    T: Retries,
    P: Presence,
    L: Lags,
{
    // The closures run when the call is polled, not when it is made: that is where a panic is
    // contained. But for `on_message`, which is called most: there the making is as well.

    async fn on_connecting(&self, request: &Request) -> Decision {
        self.connecting.call(request)
    }

    async fn on_connected(&self, session: &Session) {
        self.connected.call(session);
    }

    #[inline]
    fn on_message(
        &self,
        session: &Session,
        message: Message<'_>,
    ) -> impl Future<Output = ()> + Send {
        self.message.call(session, message);
        ready(())
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        self.disconnected.call(session, reason);
    }

    async fn on_error(&self, session: Option<&Session>, error: &Error) {
        self.error.call(session, error);
    }

    async fn on_reconnecting(&self, retry: &Retry) {
        self.reconnecting.call(retry);
    }

    fn on_group(&self, change: &GroupChange) {
        self.group.call(change);
    }

    fn on_lag(&self, session: &Session, lag: &Lag) {
        self.lag.call(session, lag);
    }
}

// One trait for each kind of closure: implemented by the closures of that kind, whatever
// they return, and by `Unset`.

pub trait Connecting: Send + Sync + 'static {
    fn call(&self, request: &Request) -> Decision;
}

impl<F, R> Connecting for F
where
    F: Fn(&Request) -> R + Send + Sync + 'static,
    R: Into<Decision>,
{
    fn call(&self, request: &Request) -> Decision {
        self(request).into()
    }
}

impl Connecting for Unset {
    fn call(&self, _: &Request) -> Decision {
        Accept::new().into()
    }
}

pub trait Connected: Send + Sync + 'static {
    fn call(&self, session: &Session);
}

impl<F: Fn(&Session) -> R + Send + Sync + 'static, R> Connected for F {
    fn call(&self, session: &Session) {
        self(session);
    }
}

impl Connected for Unset {
    fn call(&self, _: &Session) {}
}

pub trait Messages: Send + Sync + 'static {
    fn call(&self, session: &Session, message: Message<'_>);
}

impl<F: Fn(&Session, Message<'_>) -> R + Send + Sync + 'static, R> Messages for F {
    #[inline]
    fn call(&self, session: &Session, message: Message<'_>) {
        self(session, message);
    }
}

impl Messages for Unset {
    fn call(&self, _: &Session, _: Message<'_>) {}
}

pub trait Disconnected: Send + Sync + 'static {
    fn call(&self, session: &Session, reason: &DisconnectReason);
}

impl<F: Fn(&Session, &DisconnectReason) -> R + Send + Sync + 'static, R> Disconnected for F {
    fn call(&self, session: &Session, reason: &DisconnectReason) {
        self(session, reason);
    }
}

impl Disconnected for Unset {
    fn call(&self, _: &Session, _: &DisconnectReason) {}
}

pub trait Errors: Send + Sync + 'static {
    fn call(&self, session: Option<&Session>, error: &Error);
}

impl<F: Fn(Option<&Session>, &Error) -> R + Send + Sync + 'static, R> Errors for F {
    fn call(&self, session: Option<&Session>, error: &Error) {
        self(session, error);
    }
}

impl Errors for Unset {
    fn call(&self, _: Option<&Session>, _: &Error) {}
}

pub trait Retries: Send + Sync + 'static {
    fn call(&self, retry: &Retry);
}

impl<F: Fn(&Retry) -> R + Send + Sync + 'static, R> Retries for F {
    fn call(&self, retry: &Retry) {
        self(retry);
    }
}

impl Retries for Unset {
    fn call(&self, _: &Retry) {}
}

pub trait Presence: Send + Sync + 'static {
    fn call(&self, change: &GroupChange);
}

impl<F: Fn(&GroupChange) -> R + Send + Sync + 'static, R> Presence for F {
    fn call(&self, change: &GroupChange) {
        self(change);
    }
}

impl Presence for Unset {
    fn call(&self, _: &GroupChange) {}
}

pub trait Lags: Send + Sync + 'static {
    fn call(&self, session: &Session, lag: &Lag);
}

impl<F: Fn(&Session, &Lag) -> R + Send + Sync + 'static, R> Lags for F {
    fn call(&self, session: &Session, lag: &Lag) {
        self(session, lag);
    }
}

impl Lags for Unset {
    fn call(&self, _: &Session, _: &Lag) {}
}
