//! An application that misbehaves in one place, towards one session.

use std::any::Any;
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use storm_proto::service::{
    ControlFrame, ErrorContext, GroupChange, Handler, Middleware, Outcome, Session,
};
use storm_proto::websocket::handshake::{Accept, Decision, Request};
use storm_proto::{DisconnectReason, Error, Lag, Message};

/// Where the application misbehaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hook {
    Connecting,
    Connected,
    Message,
    Error,
    Disconnected,
    Group,
    Lag,
    MiddlewareConnect,
    Inbound,
    Outbound,
    Control,
    MiddlewareDisconnect,
    MiddlewareError,
    /// The `Drop` of a value that is attached to the session.
    Attached,
    /// `on_error` of the accept loop.
    Accepting,
}

/// How it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Failing {
    /// Panics.
    Panic,
    /// Panics before there is a future.
    PanicAtOnce,
    /// Never returns, and panics when it is dropped.
    PanicInDrop,
    /// Never returns.
    Never,
    /// Takes its time.
    Slow,
}

impl Hook {
    pub(crate) const ALL: [Hook; 14] = [
        Hook::Connecting,
        Hook::Connected,
        Hook::Message,
        Hook::Error,
        Hook::Disconnected,
        Hook::Group,
        Hook::Lag,
        Hook::MiddlewareConnect,
        Hook::Inbound,
        Hook::Outbound,
        Hook::Control,
        Hook::MiddlewareDisconnect,
        Hook::MiddlewareError,
        Hook::Attached,
    ];

    /// Only a hook that is asynchronous can wait.
    pub(crate) fn can(self, failing: Failing) -> bool {
        use Hook::{Connected, Connecting, Disconnected, Error, Message};
        let is_async = matches!(self, Connecting | Connected | Message | Error | Disconnected);
        match (self, failing) {
            (_, Failing::Panic) => true,
            // Nothing drops the last event before it returns.
            (Disconnected, Failing::PanicInDrop) => false,
            _ => is_async,
        }
    }
}

impl Failing {
    pub(crate) const ALL: [Failing; 5] =
        [Failing::Panic, Failing::PanicAtOnce, Failing::PanicInDrop, Failing::Never, Failing::Slow];
}

type Nap = fn() -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("on purpose");
        }
    }
}

/// An echo, as a handler and as middleware, that fails in one place for the first session.
#[derive(Clone)]
pub(crate) struct Saboteur {
    hook: Hook,
    failing: Failing,
    nap: Nap,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    victim: Option<Session>,
    failed: usize,
    /// How often `on_connected` and `on_disconnected` came, by the numbers of the sessions.
    told: BTreeMap<u64, (usize, usize)>,
}

impl Saboteur {
    pub(crate) fn new(hook: Hook, failing: Failing, nap: Nap) -> Saboteur {
        Saboteur { hook, failing, nap, seen: Arc::default() }
    }

    /// The session that it fails for, if that is open.
    pub(crate) fn victim(&self) -> Option<Session> {
        self.seen.lock().unwrap().victim.clone()
    }

    /// How often it has failed.
    pub(crate) fn failed(&self) -> usize {
        self.seen.lock().unwrap().failed
    }

    /// True unless a session with this number is still to end.
    #[allow(dead_code, reason = "only real runtimes have to be waited for")]
    pub(crate) fn is_over(&self, id: u64) -> bool {
        self.seen.lock().unwrap().told.get(&id).is_none_or(|(begun, ended)| begun == ended)
    }

    pub(crate) fn assert_every_session_ended_once(&self, row: &str) {
        for (id, told) in &self.seen.lock().unwrap().told {
            assert_eq!(*told, (1, 1), "{row}: session {id}");
        }
    }

    fn is_due(&self, hook: Hook, is_victim: bool) -> bool {
        let due = self.hook == hook && is_victim;
        self.seen.lock().unwrap().failed += usize::from(due);
        due
    }

    /// Fails in a hook that is synchronous.
    fn at(&self, hook: Hook, session: &Session) {
        if self.is_due(hook, session.id() == 1) {
            panic!("on purpose");
        }
    }

    /// Fails in a hook that is asynchronous.
    fn call(&self, hook: Hook, is_victim: bool) -> impl Future<Output = ()> + Send + use<> {
        let due = self.is_due(hook, is_victim);
        let (failing, nap) = (self.failing, self.nap);
        if due && failing == Failing::PanicAtOnce {
            panic!("on purpose");
        }
        async move {
            match failing {
                _ if !due => {}
                Failing::Panic | Failing::PanicAtOnce => panic!("on purpose"),
                Failing::PanicInDrop => {
                    let _bomb = Bomb;
                    pending::<()>().await;
                }
                Failing::Never => pending().await,
                Failing::Slow => nap().await,
            }
        }
    }
}

impl Handler for Saboteur {
    fn on_connecting(&self, request: &Request) -> impl Future<Output = Decision> + Send {
        let call = self.call(Hook::Connecting, request.path() == "/victim");
        async {
            call.await;
            Accept::new().into()
        }
    }

    fn on_connected(&self, session: &Session) -> impl Future<Output = ()> + Send {
        let mut seen = self.seen.lock().unwrap();
        seen.told.entry(session.id()).or_default().0 += 1;
        if session.id() == 1 && self.hook != Hook::Connecting {
            seen.victim = Some(session.clone());
        }
        drop(seen);
        if self.hook == Hook::Attached && session.id() == 1 {
            let attached: Arc<dyn Any + Send + Sync> = Arc::new(Bomb);
            self.seen.lock().unwrap().failed += 1;
            session.insert(attached);
            // Nobody else keeps the session.
            self.seen.lock().unwrap().victim = None;
        }
        let _ = session.join("room");
        self.call(Hook::Connected, session.id() == 1)
    }

    fn on_message(
        &self,
        session: &Session,
        message: Message<'_>,
    ) -> impl Future<Output = ()> + Send {
        let _ = session.send(message);
        if message.as_bytes() == b"flood" {
            (0..100).for_each(|_| session.send(&[0; 100]).unwrap_or_default());
        }
        self.call(Hook::Message, session.id() == 1)
    }

    fn on_disconnected(
        &self,
        session: &Session,
        _: &DisconnectReason,
    ) -> impl Future<Output = ()> + Send {
        self.seen.lock().unwrap().told.entry(session.id()).or_default().1 += 1;
        self.call(Hook::Disconnected, session.id() == 1)
    }

    fn on_error(&self, context: &ErrorContext, _: &Error) -> impl Future<Output = ()> + Send {
        match context {
            ErrorContext::Session(session) => self.call(Hook::Error, session.id() == 1),
            ErrorContext::Accepting => self.call(Hook::Accepting, true),
            _ => self.call(Hook::Error, false),
        }
    }

    fn on_group(&self, change: &GroupChange) {
        self.at(Hook::Group, &change.session);
    }

    fn on_lag(&self, session: &Session, _: &Lag) {
        self.at(Hook::Lag, session);
    }
}

impl Middleware for Saboteur {
    fn on_connect(&self, session: &Session) {
        self.at(Hook::MiddlewareConnect, session);
    }

    fn inbound(&self, session: &Session, _: Message<'_>) -> Outcome {
        self.at(Hook::Inbound, session);
        Outcome::Pass
    }

    fn outbound(&self, session: &Session, _: Message<'_>) -> Outcome {
        self.at(Hook::Outbound, session);
        Outcome::Pass
    }

    fn control(&self, session: &Session, _: ControlFrame<'_>) {
        self.at(Hook::Control, session);
    }

    fn on_disconnect(&self, session: &Session, _: &DisconnectReason) {
        self.at(Hook::MiddlewareDisconnect, session);
    }

    fn on_error(&self, context: &ErrorContext, _: &Error) {
        if let Some(session) = context.session() {
            self.at(Hook::MiddlewareError, session);
        }
    }
}

/// Says nothing of panics that are made on purpose.
pub(crate) fn quiet_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref() != Some(&"on purpose") {
            hook(info);
        }
    }));
}
