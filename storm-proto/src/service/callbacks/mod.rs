//! Closures as a handler: subscribe, don't implement.

mod result;
mod slots;
pub(super) mod subscribing;

pub use self::result::HandlerResult;
pub use self::slots::Unset;
use self::slots::{
    Connected, Connecting, Disconnected, Errors, Lags, Messages, Presence, Retries, Slot,
};
use self::subscribing::{names::*, subscriptions};

/// A [`Handler`] made of closures and of other handlers; the builders of servers and clients
/// make one.
///
/// Adding a second closure for an event, or a handler beside closures, replaces nothing: all of
/// them are called, in the order in which they were added, each when the one before has
/// returned. Of several that decide on a request, the first that answers it over HTTP decides,
/// and those behind it are not asked; otherwise the acceptances are joined: where two say
/// something about the same, the later one counts.
///
/// A closure borrows its arguments and must not wait; what it may return is a [`HandlerResult`].
/// Each event that may be waited for has a second method, such as
/// [`Callbacks::on_message_async`], whose closure owns its arguments and returns a future:
///
/// ```
/// use storm_proto::service::Callbacks;
///
/// let callbacks = Callbacks::new()
///     .on_connected(|session| session.send("welcome"))
///     .on_message_async(|session, message| async move { session.send_wait(&message).await })
///     .on_error(|context, error| println!("{context}: {error}"));
/// # drop(callbacks);
/// ```
#[derive(Clone, Debug, Default)]
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

/// Something to which closures and handlers can be added: [`Callbacks`], whose type each of them
/// changes.
pub trait Subscribe: Sized {
    type Connecting<S>;
    type Connected<S>;
    type Message<S>;
    type Disconnected<S>;
    type Error<S>;
    type Reconnecting<S>;
    type Group<S>;
    type Lag<S>;
    type Whole<S: Clone>;

    fn connecting<S>(self, more: S) -> Self::Connecting<S>;
    fn connected<S>(self, more: S) -> Self::Connected<S>;
    fn message<S>(self, more: S) -> Self::Message<S>;
    fn disconnected<S>(self, more: S) -> Self::Disconnected<S>;
    fn error<S>(self, more: S) -> Self::Error<S>;
    fn reconnecting<S>(self, more: S) -> Self::Reconnecting<S>;
    fn group<S>(self, more: S) -> Self::Group<S>;
    fn lag<S>(self, more: S) -> Self::Lag<S>;
    /// Has `more` listen to everything.
    fn whole<S: Clone>(self, more: S) -> Self::Whole<S>;
}

/// The same but for one slot, whose type changes: `..self` cannot say that.
macro_rules! plus {
    ($callbacks:ident, $more:ident: $slot:ident; $($kept:ident)*) => {
        Callbacks { $slot: $callbacks.$slot.plus($more), $($kept: $callbacks.$kept),* }
    };
}

impl<G, C, M, D, E, T, P, L> Subscribe for Callbacks<G, C, M, D, E, T, P, L>
where
    G: Slot,
    C: Slot,
    M: Slot,
    D: Slot,
    E: Slot,
    T: Slot,
    P: Slot,
    L: Slot,
{
    type Connecting<S> = Callbacks<G::Plus<S>, C, M, D, E, T, P, L>;
    type Connected<S> = Callbacks<G, C::Plus<S>, M, D, E, T, P, L>;
    type Message<S> = Callbacks<G, C, M::Plus<S>, D, E, T, P, L>;
    type Disconnected<S> = Callbacks<G, C, M, D::Plus<S>, E, T, P, L>;
    type Error<S> = Callbacks<G, C, M, D, E::Plus<S>, T, P, L>;
    type Reconnecting<S> = Callbacks<G, C, M, D, E, T::Plus<S>, P, L>;
    type Group<S> = Callbacks<G, C, M, D, E, T, P::Plus<S>, L>;
    type Lag<S> = Callbacks<G, C, M, D, E, T, P, L::Plus<S>>;
    type Whole<S: Clone> = Callbacks<
        G::Plus<S>,
        C::Plus<S>,
        M::Plus<S>,
        D::Plus<S>,
        E::Plus<S>,
        T::Plus<S>,
        P::Plus<S>,
        L::Plus<S>,
    >;

    fn connecting<S>(self, more: S) -> Self::Connecting<S> {
        plus!(self, more: connecting; connected message disconnected error reconnecting group lag)
    }

    fn connected<S>(self, more: S) -> Self::Connected<S> {
        plus!(self, more: connected; connecting message disconnected error reconnecting group lag)
    }

    fn message<S>(self, more: S) -> Self::Message<S> {
        plus!(self, more: message; connecting connected disconnected error reconnecting group lag)
    }

    fn disconnected<S>(self, more: S) -> Self::Disconnected<S> {
        plus!(self, more: disconnected; connecting connected message error reconnecting group lag)
    }

    fn error<S>(self, more: S) -> Self::Error<S> {
        plus!(self, more: error; connecting connected message disconnected reconnecting group lag)
    }

    fn reconnecting<S>(self, more: S) -> Self::Reconnecting<S> {
        plus!(self, more: reconnecting; connecting connected message disconnected error group lag)
    }

    fn group<S>(self, more: S) -> Self::Group<S> {
        plus!(self, more: group; connecting connected message disconnected error reconnecting lag)
    }

    fn lag<S>(self, more: S) -> Self::Lag<S> {
        plus!(self, more: lag; connecting connected message disconnected error reconnecting group)
    }

    fn whole<S: Clone>(self, more: S) -> Self::Whole<S> {
        Callbacks {
            connecting: self.connecting.plus(more.clone()),
            connected: self.connected.plus(more.clone()),
            message: self.message.plus(more.clone()),
            disconnected: self.disconnected.plus(more.clone()),
            error: self.error.plus(more.clone()),
            reconnecting: self.reconnecting.plus(more.clone()),
            group: self.group.plus(more.clone()),
            lag: self.lag.plus(more),
        }
    }
}

/// The handler that `handler` makes of what was there.
pub(super) type With<H, N> = <H as Subscribe>::Whole<Whole<N>>;

subscriptions! {
    impl (G: Slot, C: Slot, M: Slot, D: Slot, E: Slot, T: Slot, P: Slot, L: Slot)
        (Callbacks<G, C, M, D, E, T, P, L>) of Self, [() ()];
    connecting connected message disconnected error reconnecting group lag
}

impl<G: Slot, C: Slot, M: Slot, D: Slot, E: Slot, T: Slot, P: Slot, L: Slot>
    Callbacks<G, C, M, D, E, T, P, L>
{
    fn map_handler<N>(self, map: impl FnOnce(Self) -> N) -> N {
        map(self)
    }

    fn uses(self, _: &'static str) -> Self {
        self
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
    fn on_connecting(&self, request: &Request) -> impl Future<Output = Decision> + Send {
        self.connecting.call(request)
    }

    fn on_connected(&self, session: &Session) -> impl Future<Output = ()> + Send {
        self.connected.call(session, &self.error)
    }

    #[inline]
    fn on_message(
        &self,
        session: &Session,
        message: Message<'_>,
    ) -> impl Future<Output = ()> + Send {
        self.message.call(session, message, &self.error)
    }

    fn on_disconnected(
        &self,
        session: &Session,
        reason: &DisconnectReason,
    ) -> impl Future<Output = ()> + Send {
        self.disconnected.call(session, reason, &self.error)
    }

    fn on_error(&self, context: &ErrorContext, error: &Error) -> impl Future<Output = ()> + Send {
        self.error.call(context, error, &Unset)
    }

    fn on_reconnecting(&self, retry: &Retry) -> impl Future<Output = ()> + Send {
        self.reconnecting.call(retry, &self.error)
    }

    fn on_group(&self, change: &GroupChange) {
        self.group.call(change, &self.error);
    }

    fn on_lag(&self, session: &Session, lag: &Lag) {
        self.lag.call(session, lag, &self.error);
    }
}
