//! What a scenario needs of a runtime, and what it sees of Storm.

use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use conformance::adapter::{Adapter, OnAsyncStd, OnSmol, OnStd, OnTokio};
use storm_proto::service::{
    Client, ConnectError, ErrorContext, Handler, Running, Runtime, Server, Session,
};
use storm_proto::websocket::Deflate;
use storm_proto::{CloseCode, DisconnectReason, Error, Message, OwnedMessage, WebSocket};

use super::{ports, secured};

/// Longer than anything takes that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The waits of a runtime under test.
type Wait<R, F> = <R as Runtime>::Wait<F>;

/// A runtime under test.
pub(crate) trait Harness {
    type Adapter: Adapter<Runtime = Self::Runtime>;
    type Runtime: Runtime + Default;

    /// Whether there is TLS below everything.
    const TLS: bool = false;

    /// How WebSockets compress their messages, if they do.
    const DEFLATE: Option<Deflate> = None;

    /// One for all scenarios.
    fn adapter() -> &'static Self::Adapter;

    fn runtime() -> Self::Runtime {
        Self::adapter().runtime()
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        Self::adapter().block_on(future)
    }

    fn wait<F: Future>(wait: Wait<Self::Runtime, F>) -> F::Output {
        Self::adapter().wait(wait)
    }

    fn give_up<F: Future>(wait: Wait<Self::Runtime, F>) {
        Self::adapter().give_up(wait);
    }

    fn start<H: Handler>(server: Server<Self::Runtime, H>) -> Started<Self> {
        let server = if Self::TLS { server.tls(secured::server()) } else { server };
        let running = Self::wait(server.start()).expect("the server starts");
        if let Some(address) = running.address().ip() {
            ports::mark::<Self>(address.port());
        }
        Started { running: Some(running) }
    }

    fn connect<H: Handler>(client: Client<Self::Runtime, H>) -> Result<Session, ConnectError> {
        Self::wait(client.connect())
    }

    fn client(url: impl Into<String>) -> Client<Self::Runtime> {
        let url = url.into();
        let is_websocket = url.starts_with("ws");
        let client = Client::new(url).runtime(Self::runtime());
        let client = if is_websocket { client.websocket(Self::settings()) } else { client };
        if Self::TLS { client.tls(secured::client()) } else { client }
    }

    fn server() -> Server<Self::Runtime> {
        let server = Server::bind("127.0.0.1:0").runtime(Self::runtime());
        server.close_timeout(Duration::from_secs(10))
    }

    fn websocket() -> Server<Self::Runtime> {
        Self::server().websocket(Self::settings())
    }

    /// Those of both ends.
    fn settings() -> WebSocket {
        match Self::DEFLATE {
            Some(deflate) => WebSocket::new().deflate(deflate),
            None => WebSocket::new(),
        }
    }
}

/// A server that listens; stopped when the scenario is over.
pub(crate) struct Started<H: Harness + ?Sized> {
    running: Option<Running<H::Runtime>>,
}

impl<H: Harness + ?Sized> Started<H> {
    pub(crate) fn running(&self) -> &Running<H::Runtime> {
        self.running.as_ref().expect("it runs until it is dropped")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running().address().ip().expect("an ip address")
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}/", if H::TLS { "wss" } else { "ws" }, self.address())
    }
}

impl<H: Harness + ?Sized> Drop for Started<H> {
    fn drop(&mut self) {
        // Inside of the runtime, where tasks can be woken.
        let running = self.running.take();
        H::block_on(async move { drop(running) });
    }
}

/// A harness for each adapter, made when it is first asked for.
macro_rules! harness {
    ($name:ident, $adapter:ty, $new:expr) => {
        pub(crate) struct $name;

        impl Harness for $name {
            type Adapter = $adapter;
            type Runtime = <$adapter as Adapter>::Runtime;

            fn adapter() -> &'static $adapter {
                static ADAPTER: OnceLock<$adapter> = OnceLock::new();
                ADAPTER.get_or_init(|| $new)
            }
        }
    };
}

harness!(Tokio, OnTokio, OnTokio::new(2).expect("a runtime"));
harness!(Smol, OnSmol, OnSmol::new(2).expect("an executor"));
harness!(AsyncStd, OnAsyncStd, OnAsyncStd);
harness!(Std, OnStd, OnStd);

/// The same with TLS below.
pub(crate) struct Secured<H>(PhantomData<H>);

impl<H: Harness> Harness for Secured<H> {
    type Adapter = H::Adapter;
    type Runtime = H::Runtime;

    const TLS: bool = true;
    const DEFLATE: Option<Deflate> = H::DEFLATE;

    fn adapter() -> &'static H::Adapter {
        H::adapter()
    }
}

/// The same with every message compressed in the context of those before.
pub(crate) struct InContext<H>(PhantomData<H>);

impl<H: Harness> Harness for InContext<H> {
    type Adapter = H::Adapter;
    type Runtime = H::Runtime;

    const TLS: bool = H::TLS;
    const DEFLATE: Option<Deflate> = Some(
        Deflate::new()
            .threshold(0)
            .server_no_context_takeover(false)
            .client_no_context_takeover(false),
    );

    fn adapter() -> &'static H::Adapter {
        H::adapter()
    }
}

/// The same with every message compressed by itself, where that makes it smaller.
pub(crate) struct EachAlone<H>(PhantomData<H>);

impl<H: Harness> Harness for EachAlone<H> {
    type Adapter = H::Adapter;
    type Runtime = H::Runtime;

    const TLS: bool = H::TLS;
    const DEFLATE: Option<Deflate> = Some(Deflate::new().threshold(0));

    fn adapter() -> &'static H::Adapter {
        H::adapter()
    }
}

/// Waits for something that another thread brings about.
pub(crate) fn until(condition: impl Fn() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "it does not come about");
        // Looks again now and then, and leaves the processor to those who bring it about.
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Shut at first; those who come wait until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    pub(crate) fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = true;
        gate.1.drain(..).for_each(Waker::wake);
    }

    pub(crate) fn pass(&self) -> impl Future<Output = ()> + Send + use<> {
        let gate = self.0.clone();
        std::future::poll_fn(move |cx| {
            let mut gate = gate.lock().unwrap();
            if gate.0 {
                return Poll::Ready(());
            }
            gate.1.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// What happened to a session, as its handler saw it.
#[derive(Debug)]
pub(crate) enum Seen {
    Connected(Session),
    Message(u64, OwnedMessage),
    Disconnected(u64, DisconnectReason),
    Error(Option<u64>, Error),
}

/// A handler that tells a scenario what it sees, and does as messages say.
#[derive(Clone)]
pub(crate) struct Teller {
    seen: Sender<Seen>,
}

/// The scenario's end of a [`Teller`].
pub(crate) struct Told {
    seen: Receiver<Seen>,
}

pub(crate) fn teller() -> (Teller, Told) {
    let (sender, receiver) = channel();
    (Teller { seen: sender }, Told { seen: receiver })
}

impl Handler for Teller {
    async fn on_connected(&self, session: &Session) {
        let _ = self.seen.send(Seen::Connected(session.clone()));
    }

    async fn on_message(&self, session: &Session, message: Message<'_>) {
        let seen = Seen::Message(session.id(), message.to_owned());
        // What is told has happened: an answer is queued before it is told of.
        let orders: [&[u8]; 4] = [b"panic", b"hang", b"abort", b"close"];
        if !orders.contains(&message.as_bytes()) {
            let _ = session.send(message);
        }
        let _ = self.seen.send(seen);
        match message.as_bytes() {
            b"panic" => panic!("on purpose"),
            b"hang" => std::future::pending().await,
            b"abort" => session.abort(),
            b"close" => session.close_with(CloseCode::GOING_AWAY, "enough").unwrap(),
            _ => {}
        }
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        let _ = self.seen.send(Seen::Disconnected(session.id(), reason.clone()));
    }

    async fn on_error(&self, context: &ErrorContext, error: &Error) {
        let _ = self.seen.send(Seen::Error(context.session().map(Session::id), error.clone()));
    }
}

impl Told {
    pub(crate) fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("something happens")
    }

    pub(crate) fn connected(&self) -> Session {
        match self.next() {
            Seen::Connected(session) => session,
            other => panic!("expected a session, saw {other:?}"),
        }
    }

    /// The reason of the next session that ends, whatever comes before.
    pub(crate) fn disconnected(&self) -> DisconnectReason {
        loop {
            if let Seen::Disconnected(_, reason) = self.next() {
                return reason;
            }
        }
    }

    /// Nothing is left to be seen.
    pub(crate) fn is_silent(&self) -> bool {
        self.seen.try_recv().is_err()
    }
}
