//! What a scenario needs of a runtime, and what it sees of Storm.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll};
use std::time::Duration;

use storm_proto::service::{Client, ConnectError, Handler, Running, Runtime, Server, Session};
use storm_proto::{DisconnectReason, Error, Message, OwnedMessage, WebSocket};

/// Longer than anything takes that happens at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A runtime under test.
pub(crate) trait Harness {
    type Runtime: Runtime + Default;

    /// Runs a future inside of the runtime, whose tasks go on beside it.
    fn block_on<F: Future>(future: F) -> F::Output;

    /// Waits for what a call of Storm's returned.
    fn wait<F: Future>(wait: <Self::Runtime as Runtime>::Wait<F>) -> F::Output;

    /// Gives up such a call after it has begun, where that can be done.
    fn give_up<F: Future>(wait: <Self::Runtime as Runtime>::Wait<F>);

    fn start<H: Handler>(server: Server<Self::Runtime, H>) -> Started<Self> {
        let running = Self::wait(server.start()).expect("the server starts");
        Started { running: Some(running) }
    }

    fn connect<H: Handler>(client: Client<Self::Runtime, H>) -> Result<Session, ConnectError> {
        Self::wait(client.connect())
    }

    fn server() -> Server<Self::Runtime> {
        Server::bind("127.0.0.1:0").close_timeout(Duration::from_secs(10))
    }

    fn websocket() -> Server<Self::Runtime> {
        Self::server().websocket(WebSocket::new())
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
        format!("ws://{}/", self.address())
    }
}

impl<H: Harness + ?Sized> Drop for Started<H> {
    fn drop(&mut self) {
        // Inside of the runtime, where tasks can be woken.
        let running = self.running.take();
        H::block_on(async move { drop(running) });
    }
}

/// tokio with two workers.
pub(crate) struct OnTokio;

impl Harness for OnTokio {
    type Runtime = storm_tokio::Tokio;

    fn block_on<F: Future>(future: F) -> F::Output {
        static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
        let build = || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2).enable_all().build().expect("a runtime")
        };
        RUNTIME.get_or_init(build).block_on(future)
    }

    fn wait<F: Future>(wait: F) -> F::Output {
        Self::block_on(wait)
    }

    fn give_up<F: Future>(wait: F) {
        Self::block_on(poll_once(wait));
    }
}

/// smol's global executor, on whose threads tasks run.
pub(crate) struct OnSmol;

impl Harness for OnSmol {
    type Runtime = storm_smol::Smol;

    fn block_on<F: Future>(future: F) -> F::Output {
        smol::block_on(future)
    }

    fn wait<F: Future>(wait: F) -> F::Output {
        smol::block_on(wait)
    }

    fn give_up<F: Future>(wait: F) {
        smol::block_on(poll_once(wait));
    }
}

/// Threads: every call has come to its end when it returns.
pub(crate) struct OnStd;

impl Harness for OnStd {
    type Runtime = storm_std::Std;

    fn block_on<F: Future>(future: F) -> F::Output {
        storm_proto::service::park::block_on(future, storm_std::Std::now)
    }

    fn wait<F: Future>(wait: F::Output) -> F::Output {
        wait
    }

    fn give_up<F: Future>(_: F::Output) {}
}

/// Polls a future once and drops it.
async fn poll_once(future: impl Future) {
    let mut future = Box::pin(future);
    let begin = |cx: &mut Context<'_>| {
        let _ = future.as_mut().poll(cx);
        Poll::Ready(())
    };
    std::future::poll_fn(begin).await;
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
        let orders: [&[u8]; 3] = [b"panic", b"hang", b"abort"];
        if !orders.contains(&message.as_bytes()) {
            let _ = session.send(message);
        }
        let _ = self.seen.send(seen);
        match message.as_bytes() {
            b"panic" => panic!("on purpose"),
            b"hang" => std::future::pending().await,
            b"abort" => session.abort(),
            _ => {}
        }
    }

    async fn on_disconnected(&self, session: &Session, reason: &DisconnectReason) {
        let _ = self.seen.send(Seen::Disconnected(session.id(), reason.clone()));
    }

    async fn on_error(&self, session: Option<&Session>, error: &Error) {
        let _ = self.seen.send(Seen::Error(session.map(Session::id), error.clone()));
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
