//! A client: options, then a session.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::string::String;
use std::sync::Arc;

use bytes::Bytes;

use super::callbacks::Callbacks;
use super::dial;
use super::driver::{Driver, Guard, drive};
use super::handler::Handler;
use super::opening::open_client;
use super::options::SocketOptions;
use super::runtime::{Ends, Runtime};
use super::session::{Identity, Session};
use super::wire::Wire;
use crate::Instant;
use crate::client::uri::{Uri, UriError};
use crate::connection::flow::WaterMarks;
use crate::connection::link::Link;
use crate::connection::options::{Options, Timeouts};
use crate::connection::reason::DisconnectReason;
use crate::connection::receiver::Receiver;
use crate::connection::sender::Sender;
use crate::error::{Error, TransportError};
use crate::extensions::Extensions;
use crate::framing::{Framer, Raw};
use crate::message::Message;
use crate::random::Random;
use crate::websocket::handshake::{ClientHandshake, HandshakeError, Offer};
use crate::websocket::{Role, WebSocket};

/// A client that is about to connect.
#[must_use = "a client does nothing until it connects"]
pub struct Client<R, H = Callbacks> {
    runtime: R,
    address: String,
    framer: Arc<dyn Framer>,
    offer: Offer,
    options: Options,
    socket: SocketOptions,
    connect_timeout: Duration,
    handler: H,
}

impl<R: Runtime + Default> Client<R> {
    /// A client of `ws://host[:port][/path]`, `tcp://host:port`, `ws+unix:/socket[:/path]` or
    /// `unix:/socket`.
    pub fn new(address: impl Into<String>) -> Client<R> {
        Client {
            runtime: R::default(),
            address: address.into(),
            framer: Arc::new(Raw),
            offer: Offer::new(),
            options: Options::default(),
            socket: SocketOptions::new(),
            connect_timeout: Duration::from_secs(10),
            handler: Callbacks::new(),
        }
    }
}

impl<R: Runtime, H> Client<R, H> {
    /// Runs on this runtime instead of the default one of its kind.
    pub fn runtime(mut self, runtime: R) -> Self {
        self.runtime = runtime;
        self
    }

    /// Sends a header with the request, such as `Authorization` or `Origin`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.offer = self.offer.header(name, value);
        self
    }

    /// Offers a subprotocol; the first offered is the most wanted.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.options.websocket.subprotocols.push(name.into());
        self
    }

    /// Sets what a WebSocket may cost and how it is kept alive.
    pub fn websocket(mut self, websocket: WebSocket) -> Self {
        self.options.websocket = websocket;
        self
    }

    /// Speaks messages on plain TCP, as `framer` finds them; raw chunks by default.
    pub fn framed(mut self, framer: impl Framer) -> Self {
        self.framer = Arc::new(framer);
        self
    }

    /// Sets the one deadline over name look-up, every address and the handshake; 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the deadlines of the open connection.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.options.timeouts = timeouts;
        self
    }

    /// Ends the session if it brings no message for this long; off.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeouts.idle = Some(timeout);
        self
    }

    /// Ends the session if the server reads nothing for this long while bytes wait; 30 s.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeouts.stall = timeout;
        self
    }

    /// Sets the time that a close may take; 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeouts.close = timeout;
        self
    }

    /// Sets how many bytes may wait to be written; 1 MiB.
    pub fn max_pending_send(mut self, bytes: usize) -> Self {
        self.options.marks = WaterMarks::new(bytes);
        self
    }

    /// Sets the options of the socket.
    pub fn socket(mut self, socket: SocketOptions) -> Self {
        self.socket = socket;
        self
    }

    /// Handles events with `handler`, in place of any closures. `on_connecting` is a
    /// server's.
    pub fn handler<N: Handler>(self, handler: N) -> Client<R, N> {
        self.map_handler(|_| handler)
    }

    fn map_handler<N>(self, map: impl FnOnce(H) -> N) -> Client<R, N> {
        let Client { runtime, address, framer, offer, options, socket, connect_timeout, handler } =
            self;
        let handler = map(handler);
        Client { runtime, address, framer, offer, options, socket, connect_timeout, handler }
    }
}

impl<R: Runtime, G, C, M, D, E> Client<R, Callbacks<G, C, M, D, E>> {
    /// Called when the session is open; see [`Handler::on_connected`].
    pub fn on_connected<F, A>(self, f: F) -> Client<R, Callbacks<G, F, M, D, E>>
    where
        F: Fn(&Session) -> A + Send + Sync + 'static,
    {
        self.map_handler(|callbacks| callbacks.on_connected(f))
    }

    /// Called for each message; see [`Handler::on_message`].
    pub fn on_message<F, A>(self, f: F) -> Client<R, Callbacks<G, C, F, D, E>>
    where
        F: Fn(&Session, Message<'_>) -> A + Send + Sync + 'static,
    {
        self.map_handler(|callbacks| callbacks.on_message(f))
    }

    /// Called when the session is over; see [`Handler::on_disconnected`].
    pub fn on_disconnected<F, A>(self, f: F) -> Client<R, Callbacks<G, C, M, F, E>>
    where
        F: Fn(&Session, &DisconnectReason) -> A + Send + Sync + 'static,
    {
        self.map_handler(|callbacks| callbacks.on_disconnected(f))
    }

    /// Called when something fails; see [`Handler::on_error`].
    pub fn on_error<F, A>(self, f: F) -> Client<R, Callbacks<G, C, M, D, F>>
    where
        F: Fn(Option<&Session>, &Error) -> A + Send + Sync + 'static,
    {
        self.map_handler(|callbacks| callbacks.on_error(f))
    }
}

impl<R: Runtime, H: Handler> Client<R, H> {
    /// Connects: name look-up, every address, the opening handshake, under one deadline.
    /// The session then lives in the background until it is closed.
    ///
    /// # Errors
    /// Says at what it failed; see [`ConnectError`]. Every socket is closed then.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready closes the socket.
    pub fn connect(self) -> R::Wait<impl Future<Output = Result<Session, ConnectError>>> {
        R::wait(self.connect_in_time())
    }

    async fn connect_in_time(self) -> Result<Session, ConnectError> {
        let timeout = self.connect_timeout;
        let deadline = R::now() + timeout;
        let late = self.runtime.clone();
        let mut late = pin!(late.sleep_until(deadline));
        let mut connected = pin!(self.connect_until(deadline));
        poll_fn(|cx| match (connected.as_mut().poll(cx), late.as_mut().poll(cx)) {
            (Poll::Ready(result), _) => Poll::Ready(result),
            (_, Poll::Ready(())) => Poll::Ready(Err(ConnectError::Timeout(timeout))),
            _ => Poll::Pending,
        })
        .await
    }

    /// Connects. The handshake keeps the deadline itself, so that a refusal whose body comes
    /// too slowly is told as one.
    async fn connect_until(self, deadline: Instant) -> Result<Session, ConnectError> {
        let uri: Uri = self.address.parse().map_err(ConnectError::Uri)?;
        if uri.scheme().is_secure() {
            return Err(ConnectError::NoTls);
        }
        let prepared = self.prepare(&uri)?;
        let connected = dial::connect(&self.runtime, uri.target(), &self.socket).await;
        let (transport, ends) = connected.map_err(|error| ConnectError::Transport(error.into()))?;
        let (session, mut receiver, handshake) = self.session(prepared, ends, deadline);
        let guard = Guard { session: session.clone(), permit: None };
        let mut wire = Wire::new(transport, R::now, self.options.marks.limit());
        match handshake {
            None => session.shared().open(1, None, Extensions::new()),
            Some((handshake, request)) => {
                let opened =
                    open_client(&mut wire, &session, &mut receiver, handshake, request).await;
                opened.map_err(|error| self.failed(error, R::now() >= deadline))?;
            }
        }
        self.runtime.spawn(drive(Driver {
            wire,
            receiver,
            handler: Arc::new(self.handler),
            guard,
            expects_request: false,
        }));
        Ok(session)
    }

    fn failed(&self, error: HandshakeError, late: bool) -> ConnectError {
        match error {
            HandshakeError::EndOfStream if late => ConnectError::Timeout(self.connect_timeout),
            error => ConnectError::Handshake(error),
        }
    }

    /// What can fail before a socket is opened.
    fn prepare(&self, uri: &Uri) -> Result<Prepared, ConnectError> {
        if !uri.scheme().is_websocket() {
            return Ok(None);
        }
        let mut offer = self.offer.clone().extended(&self.options.websocket);
        for name in &self.options.websocket.subprotocols {
            offer = offer.subprotocol(name);
        }
        let mut random = Random::os();
        let limits = self.options.websocket.head;
        let (handshake, request) = ClientHandshake::new(uri, &offer, limits, &mut random)
            .map_err(ConnectError::Handshake)?;
        Ok(Some((handshake, request, random)))
    }

    fn session(
        &self,
        prepared: Prepared,
        ends: Ends,
        deadline: Instant,
    ) -> (Session, Receiver, Handshake) {
        let mut options = self.options.clone();
        options.timeouts.handshake = deadline - R::now();
        let options = Arc::new(options);
        let (role, sender, receiver, handshake) = match prepared {
            Some((handshake, request, random)) => (
                Some(Role::Client),
                Sender::websocket_client(random, options.marks),
                Receiver::websocket(Role::Client, options.websocket.limits),
                Some((handshake, request)),
            ),
            None => (
                None,
                Sender::framed(self.framer.clone(), options.marks),
                Receiver::framed(self.framer.clone()),
                None,
            ),
        };
        let link = Link::new(sender, role, options, R::now());
        let session = Session::new(link, Identity { connection: 1, ends, clock: R::now });
        (session, receiver, handshake)
    }
}

type Handshake = Option<(ClientHandshake, Bytes)>;
type Prepared = Option<(ClientHandshake, Bytes, Random)>;

impl<R, H> fmt::Debug for Client<R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Why a connect failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// Local: the address cannot be connected to. Nothing was tried.
    Uri(UriError),
    /// Local: `wss` needs TLS, which this build does not have. It never falls back to plain.
    NoTls,
    /// The network: the name was not found, or no address answered.
    Transport(TransportError),
    /// The server refused or does not speak WebSocket; or what was to be sent cannot be.
    Handshake(HandshakeError),
    /// The deadline over all of it passed.
    Timeout(Duration),
}

impl ConnectError {
    /// The HTTP status, if the server refused with one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            ConnectError::Handshake(error) => error.status(),
            _ => None,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Uri(error) => error.fmt(f),
            ConnectError::NoTls => f.write_str("wss needs tls, which this build does not have"),
            ConnectError::Transport(error) => error.fmt(f),
            ConnectError::Handshake(error) => error.fmt(f),
            ConnectError::Timeout(timeout) => {
                write!(f, "not connected within {} ms", timeout.as_millis())
            }
        }
    }
}

impl core::error::Error for ConnectError {}
