//! What listens to one kind of event: nothing, a closure, a whole handler, or several of these.

use core::future::{Future, ready};
use core::pin::Pin;
use std::boxed::Box;
use std::sync::Arc;

use super::result::{HandlerResult, Ran, report, report_at_once};
use crate::connection::reason::DisconnectReason;
use crate::connection::slow::Lag;
use crate::contain::{self, catch};
use crate::error::{Error, HandlerError};
use crate::message::{Message, OwnedMessage};
use crate::service::error_context::ErrorContext;
use crate::service::groups::GroupChange;
use crate::service::handler::Handler;
use crate::service::reconnecting::Retry;
use crate::service::session::Session;
use crate::websocket::handshake::{Accept, Decision, IntoDecision, Request};

/// Nothing listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unset;

/// A closure that borrows its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Closure<F>(pub(in crate::service) F);

/// A closure that owns its arguments, and returns a future.
#[derive(Clone, Copy, Debug)]
pub struct Async<F>(pub(in crate::service) F);

/// A handler, which listens to every kind of event.
#[derive(Debug)]
pub struct Whole<N>(pub(in crate::service) Arc<N>);

impl<N> Clone for Whole<N> {
    fn clone(&self) -> Self {
        Whole(self.0.clone())
    }
}

/// Two that listen, in the order in which they were added.
#[derive(Clone, Copy, Debug)]
pub struct Both<A, B>(A, B);

/// Something that may listen, to which more may be added. One closure costs what it does itself:
/// it takes the place of [`Unset`].
pub trait Slot {
    type Plus<S>;

    fn plus<S>(self, more: S) -> Self::Plus<S>;
}

impl Slot for Unset {
    type Plus<S> = S;

    fn plus<S>(self, more: S) -> S {
        more
    }
}

macro_rules! followed {
    ($($slot:ident<$($parameter:ident),*>)*) => {$(
        impl<$($parameter),*> Slot for $slot<$($parameter),*> {
            type Plus<S> = Both<Self, S>;

            fn plus<S>(self, more: S) -> Both<Self, S> {
                Both(self, more)
            }
        }
    )*};
}

followed! { Closure<F> Async<F> Whole<N> Both<A, B> }

/// Makes a call whose panic ends more than itself.
fn make<F>(call: impl FnOnce() -> F) -> F {
    call()
}

/// The trait of what is called for one kind of event that may be waited for. `errors` gets the
/// errors that closures return; `first` guards the second of two from the first one.
macro_rules! waiting {
    (
        $(#[$doc:meta])*
        $slot:ident, $hook:ident, $first:path, ($($argument:ident: $type:ty),*),
        owned ($($owned_type:ty = $owned:expr),*), context $context:expr
    ) => {
        $(#[$doc])*
        pub trait $slot: Send + Sync + 'static {
            fn call<E: Errors>(
                &self,
                $($argument: $type,)*
                errors: &E,
            ) -> impl Future<Output = ()> + Send;
        }

        impl $slot for Unset {
            #[inline]
            fn call<E: Errors>(
                &self,
                $($argument: $type,)*
                _: &E,
            ) -> impl Future<Output = ()> + Send {
                $(let _ = $argument;)*
                ready(())
            }
        }

        impl<F, Fut> $slot for Async<F>
        where
            F: Fn($($owned_type),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: HandlerResult> + Send,
        {
            async fn call<E: Errors>(&self, $($argument: $type,)* errors: &E) {
                let result = (self.0)($($owned),*).await.into_result();
                if let Err(error) = result {
                    Box::pin(report(errors, $context, error)).await;
                }
            }
        }

        impl<N: Handler> $slot for Whole<N> {
            #[inline]
            fn call<E: Errors>(
                &self,
                $($argument: $type,)*
                _: &E,
            ) -> impl Future<Output = ()> + Send {
                self.0.$hook($($argument),*)
            }
        }

        impl<A: $slot, B: $slot> $slot for Both<A, B> {
            async fn call<E: Errors>(&self, $($argument: $type,)* errors: &E) {
                $first(|| self.0.call($($argument,)* errors)).await;
                self.1.call($($argument,)* errors).await;
            }
        }
    };
}

/// Those of a closure run when the future is polled: that is where a panic is contained.
macro_rules! waiting_closure {
    ($slot:ident, ($($argument:ident: $type:ty),*), context $context:expr) => {
        impl<F, O> $slot for Closure<F>
        where
            F: Fn($($type),*) -> O + Send + Sync + 'static,
            O: HandlerResult,
        {
            async fn call<E: Errors>(&self, $($argument: $type,)* errors: &E) {
                // No result lives on while it is reported: it need not be `Send`.
                let result = (self.0)($($argument),*).into_result();
                if let Err(error) = result {
                    Box::pin(report(errors, $context, error)).await;
                }
            }
        }
    };
}

waiting! {
    Connected, on_connected, make, (session: &Session),
    owned (Session = session.clone()), context session.into()
}
waiting_closure! { Connected, (session: &Session), context session.into() }

waiting! {
    Messages, on_message, make, (session: &Session, message: Message<'_>),
    owned (Session = session.clone(), OwnedMessage = message.to_owned()), context session.into()
}

/// Called most: it runs when the future is made, so that no message is stored in one. The driver
/// contains panics there as well.
impl<F, O> Messages for Closure<F>
where
    F: Fn(&Session, Message<'_>) -> O + Send + Sync + 'static,
    O: HandlerResult,
{
    #[inline]
    fn call<E: Errors>(
        &self,
        session: &Session,
        message: Message<'_>,
        errors: &E,
    ) -> impl Future<Output = ()> + Send {
        match (self.0)(session, message).into_result() {
            Ok(()) => Ran(None),
            Err(error) => Ran(Some(failed(session, errors, error))),
        }
    }
}

/// Apart from the call, which the driver inlines.
#[cold]
#[inline(never)]
fn failed<'a, E: Errors>(
    session: &Session,
    errors: &'a E,
    error: HandlerError,
) -> Pin<Box<impl Future<Output = ()> + Send + use<'a, E>>> {
    Box::pin(report(errors, session.into(), error))
}

waiting! {
    /// A panic of one is contained: the others still hear of the end.
    Disconnected, on_disconnected, contain::call, (session: &Session, reason: &DisconnectReason),
    owned (Session = session.clone(), DisconnectReason = reason.clone()), context session.into()
}
waiting_closure! {
    Disconnected, (session: &Session, reason: &DisconnectReason), context session.into()
}

waiting! {
    /// A panic of one is contained: the others still hear of the error.
    Errors, on_error, contain::call, (context: &ErrorContext, error: &Error),
    owned (ErrorContext = context.clone(), Error = error.clone()), context context.clone()
}
waiting_closure! { Errors, (context: &ErrorContext, error: &Error), context context.clone() }

waiting! {
    /// A panic of one is contained: the others still hear of the retry.
    Retries, on_reconnecting, contain::call, (retry: &Retry),
    owned (Retry = retry.clone()), context ErrorContext::Reconnecting
}
waiting_closure! { Retries, (retry: &Retry), context ErrorContext::Reconnecting }

/// The trait of what is called for one kind of event that cannot be waited for.
macro_rules! at_once {
    ($slot:ident, $hook:ident, ($($argument:ident: $type:ty),*), context $context:expr) => {
        pub trait $slot: Send + Sync + 'static {
            fn call<E: Errors>(&self, $($argument: $type,)* errors: &E);
        }

        impl $slot for Unset {
            fn call<E: Errors>(&self, $($argument: $type,)* _: &E) {
                $(let _ = $argument;)*
            }
        }

        impl<F, O> $slot for Closure<F>
        where
            F: Fn($($type),*) -> O + Send + Sync + 'static,
            O: HandlerResult,
        {
            fn call<E: Errors>(&self, $($argument: $type,)* errors: &E) {
                if let Err(error) = (self.0)($($argument),*).into_result() {
                    report_at_once(errors, $context, error);
                }
            }
        }

        impl<N: Handler> $slot for Whole<N> {
            fn call<E: Errors>(&self, $($argument: $type,)* _: &E) {
                self.0.$hook($($argument),*);
            }
        }

        /// A panic of one is contained: the other is still called.
        impl<A: $slot, B: $slot> $slot for Both<A, B> {
            fn call<E: Errors>(&self, $($argument: $type,)* errors: &E) {
                catch(|| self.0.call($($argument,)* errors));
                self.1.call($($argument,)* errors);
            }
        }
    };
}

at_once! { Presence, on_group, (change: &GroupChange), context (&change.session).into() }
at_once! { Lags, on_lag, (session: &Session, lag: &Lag), context session.into() }

/// Those that decide on requests.
pub trait Connecting: Send + Sync + 'static {
    fn call(&self, request: &Request) -> impl Future<Output = Decision> + Send;
}

impl Connecting for Unset {
    fn call(&self, _: &Request) -> impl Future<Output = Decision> + Send {
        ready(Accept::new().into())
    }
}

impl<F, D> Connecting for Closure<F>
where
    F: Fn(&Request) -> D + Send + Sync + 'static,
    D: IntoDecision,
{
    async fn call(&self, request: &Request) -> Decision {
        (self.0)(request).into_decision()
    }
}

impl<F, Fut> Connecting for Async<F>
where
    F: Fn(Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoDecision> + Send,
{
    async fn call(&self, request: &Request) -> Decision {
        (self.0)(request.clone()).await.into_decision()
    }
}

impl<N: Handler> Connecting for Whole<N> {
    fn call(&self, request: &Request) -> impl Future<Output = Decision> + Send {
        self.0.on_connecting(request)
    }
}

/// The first that answers over HTTP decides, and the second is not asked then; both accept
/// together.
impl<A: Connecting, B: Connecting> Connecting for Both<A, B> {
    async fn call(&self, request: &Request) -> Decision {
        match self.0.call(request).await {
            Decision::Accept(first) => match self.1.call(request).await {
                Decision::Accept(second) => first.and(second).into(),
                respond => respond,
            },
            respond => respond,
        }
    }
}
