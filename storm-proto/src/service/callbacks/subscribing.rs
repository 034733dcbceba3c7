//! The methods of builders that add closures: written once for servers, clients and
//! [`Callbacks`](super::Callbacks).

/// What the methods name.
pub(in crate::service) mod names {
    pub(in crate::service) use core::future::Future;
    pub(in crate::service) use std::sync::Arc;

    pub(in crate::service) use crate::connection::reason::DisconnectReason;
    pub(in crate::service) use crate::connection::slow::Lag;
    pub(in crate::service) use crate::error::Error;
    pub(in crate::service) use crate::message::{Message, OwnedMessage};
    pub(in crate::service) use crate::service::callbacks::result::HandlerResult;
    pub(in crate::service) use crate::service::callbacks::slots::{Async, Closure, Whole};
    pub(in crate::service) use crate::service::callbacks::{Callbacks, Subscribe, With};
    pub(in crate::service) use crate::service::error_context::ErrorContext;
    pub(in crate::service) use crate::service::groups::GroupChange;
    pub(in crate::service) use crate::service::handler::Handler;
    pub(in crate::service) use crate::service::reconnecting::Retry;
    pub(in crate::service) use crate::service::session::Session;
    pub(in crate::service) use crate::websocket::handshake::{Decision, IntoDecision, Request};
}

/// The methods that add closures for these events, for a builder that has its closures in `$of`
/// and passes them to `map_handler`. What it returns is written around the new closures.
macro_rules! subscriptions {
    (
        impl ($($generics:tt)*) ($builder:ty) of $of:ty, $around:tt;
        $($hook:ident)*
    ) => {
        impl<$($generics)*> $builder {
            $(subscriptions! { @$hook $of, $around })*
            subscriptions! { @handler $of, $around }
        }
    };
    (@handler $of:ty, [($($open:tt)*) ($($close:tt)*)]) => {
        /// Has `handler` hear of every event as well, behind what was added before; see
        /// [`Callbacks`].
        pub fn handler<N: Handler>(self, handler: N) -> $($open)* With<$of, N> $($close)* {
            self.map_handler(|callbacks| callbacks.whole(Whole(Arc::new(handler))))
        }
    };
    (@connecting $of:ty, [($($open:tt)*) ($($close:tt)*)]) => {
        /// Adds a closure that decides on each request, which it borrows; see
        /// [`Handler::on_connecting`].
        ///
        /// It returns an [`Accept`], a [`Response`], a `Result` of these or a [`Decision`].
        ///
        /// [`Accept`]: crate::websocket::handshake::Accept
        /// [`Response`]: crate::websocket::handshake::Response
        /// [`Decision`]: crate::websocket::handshake::Decision
        pub fn on_connecting<F, A>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Connecting<Closure<F>> $($close)*
        where
            F: Fn(&Request) -> A + Send + Sync + 'static,
            A: IntoDecision,
        {
            self.uses("on_connecting").map_handler(|callbacks| callbacks.connecting(Closure(f)))
        }

        /// As `on_connecting`, with a closure that owns the request and returns a future.
        pub fn on_connecting_async<F, Fut>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Connecting<Async<F>> $($close)*
        where
            F: Fn(Request) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoDecision> + Send,
        {
            self.uses("on_connecting").map_handler(|callbacks| callbacks.connecting(Async(f)))
        }
    };
    (@connected $of:ty, [($($open:tt)*) ($($close:tt)*)]) => {
        /// Adds a closure that is called for each new session, which it borrows; see
        /// [`Handler::on_connected`].
        pub fn on_connected<F, O>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Connected<Closure<F>> $($close)*
        where
            F: Fn(&Session) -> O + Send + Sync + 'static,
            O: HandlerResult,
        {
            self.map_handler(|callbacks| callbacks.connected(Closure(f)))
        }

        /// As `on_connected`, with a closure that owns a handle on the session and returns a
        /// future.
        pub fn on_connected_async<F, Fut>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Connected<Async<F>> $($close)*
        where
            F: Fn(Session) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: HandlerResult> + Send,
        {
            self.map_handler(|callbacks| callbacks.connected(Async(f)))
        }
    };
    (@message $of:ty, [($($open:tt)*) ($($close:tt)*)]) => {
        /// Adds a closure that is called for each message, which it borrows; see
        /// [`Handler::on_message`].
        pub fn on_message<F, O>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Message<Closure<F>> $($close)*
        where
            F: Fn(&Session, Message<'_>) -> O + Send + Sync + 'static,
            O: HandlerResult,
        {
            self.map_handler(|callbacks| callbacks.message(Closure(f)))
        }

        /// As `on_message`, with a closure that owns the message and returns a future. The next
        /// message of the session is read when that is ready.
        ///
        /// The message is copied for it. A [`Handler`] borrows the message while it waits.
        pub fn on_message_async<F, Fut>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Message<Async<F>> $($close)*
        where
            F: Fn(Session, OwnedMessage) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: HandlerResult> + Send,
        {
            self.map_handler(|callbacks| callbacks.message(Async(f)))
        }
    };
    (@disconnected $of:ty, [($($open:tt)*) ($($close:tt)*)]) => {
        /// Adds a closure that is called when a session is closed; see
        /// [`Handler::on_disconnected`].
        pub fn on_disconnected<F, O>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Disconnected<Closure<F>> $($close)*
        where
            F: Fn(&Session, &DisconnectReason) -> O + Send + Sync + 'static,
            O: HandlerResult,
        {
            self.map_handler(|callbacks| callbacks.disconnected(Closure(f)))
        }

        /// As `on_disconnected`, with a closure that owns the reason and returns a future.
        pub fn on_disconnected_async<F, Fut>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Disconnected<Async<F>> $($close)*
        where
            F: Fn(Session, DisconnectReason) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: HandlerResult> + Send,
        {
            self.map_handler(|callbacks| callbacks.disconnected(Async(f)))
        }
    };
    (@error $of:ty, [($($open:tt)*) ($($close:tt)*)]) => {
        /// Adds a closure that is called when something fails; see [`Handler::on_error`].
        ///
        /// An error that it returns goes to middleware and to `tracing`, and not to itself.
        pub fn on_error<F, O>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Error<Closure<F>> $($close)*
        where
            F: Fn(&ErrorContext, &Error) -> O + Send + Sync + 'static,
            O: HandlerResult,
        {
            self.map_handler(|callbacks| callbacks.error(Closure(f)))
        }

        /// As `on_error`, with a closure that owns the error and returns a future.
        pub fn on_error_async<F, Fut>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Error<Async<F>> $($close)*
        where
            F: Fn(ErrorContext, Error) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: HandlerResult> + Send,
        {
            self.map_handler(|callbacks| callbacks.error(Async(f)))
        }
    };
    (@reconnecting $of:ty, [($($open:tt)*) ($($close:tt)*)]) => {
        /// Adds a closure that is called when another connection attempt is to come, or none; see
        /// [`Handler::on_reconnecting`].
        pub fn on_reconnecting<F, O>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Reconnecting<Closure<F>> $($close)*
        where
            F: Fn(&Retry) -> O + Send + Sync + 'static,
            O: HandlerResult,
        {
            self.uses("on_reconnecting").map_handler(|callbacks| callbacks.reconnecting(Closure(f)))
        }

        /// As `on_reconnecting`, with a closure that owns its argument and returns a future.
        pub fn on_reconnecting_async<F, Fut>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Reconnecting<Async<F>> $($close)*
        where
            F: Fn(Retry) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: HandlerResult> + Send,
        {
            self.uses("on_reconnecting").map_handler(|callbacks| callbacks.reconnecting(Async(f)))
        }
    };
    (@group $of:ty, [($($open:tt)*) ($($close:tt)*)]) => {
        /// Adds a closure that is called when a session joins a group or leaves one; see
        /// [`Handler::on_group`]. An asynchronous `on_error` that it reports to is polled once.
        pub fn on_group<F, O>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Group<Closure<F>> $($close)*
        where
            F: Fn(&GroupChange) -> O + Send + Sync + 'static,
            O: HandlerResult,
        {
            self.map_handler(|callbacks| callbacks.group(Closure(f)))
        }
    };
    (@lag $of:ty, [($($open:tt)*) ($($close:tt)*)]) => {
        /// Adds a closure that is called when messages for a slow peer begin to be dropped; see
        /// [`Handler::on_lag`]. An asynchronous `on_error` that it reports to is polled once.
        pub fn on_lag<F, O>(
            self,
            f: F,
        ) -> $($open)* <$of as Subscribe>::Lag<Closure<F>> $($close)*
        where
            F: Fn(&Session, &Lag) -> O + Send + Sync + 'static,
            O: HandlerResult,
        {
            self.map_handler(|callbacks| callbacks.lag(Closure(f)))
        }
    };
}

pub(in crate::service) use subscriptions;
