//! A client: options, then a session, one after the other, or messages to be asked for.

use core::fmt;
use core::time::Duration;
use std::string::String;
#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::vec::Vec;

use super::callbacks::subscribing::{names::*, subscriptions};
use super::connect_error::ConnectError;
use super::connector::{Connector, Way};
use super::driver::drive;
use super::inbox::{self, Inbox};
use super::middleware::{Chain, Middleware};
use super::options::SocketOptions;
use super::reconnecting::Reconnecting;
use super::runtime::Runtime;
use crate::client::proxy::Proxy;
use crate::client::reconnect::Reconnect;
use crate::connection::flow::WaterMarks;
use crate::connection::options::{Options, Timeouts};
use crate::connection::slow::SlowConsumer;
use crate::framing::{Framer, Raw};
#[cfg(feature = "tls")]
use crate::tls::TlsClient;
use crate::websocket::WebSocket;
use crate::websocket::handshake::Offer;

/// Long enough for a slow name server and a few addresses, short enough to be waited for.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client that is about to connect.
#[must_use = "a client does nothing until it connects"]
pub struct Client<R, H = Callbacks> {
    connector: Connector<R>,
    /// Options that were asked for, and that may be of no use here.
    used: Vec<&'static str>,
    handler: H,
}

impl<R: Runtime + Default> Client<R> {
    /// A client of `ws://host[:port][/path]`, `tcp://host:port`, `ws+unix:/socket[:/path]` or
    /// `unix:/socket`; with TLS of `wss://..`, `tls://..`, `wss+unix:..` or `tls+unix:..`.
    pub fn new(address: impl Into<String>) -> Client<R> {
        let connector = Connector {
            runtime: R::default(),
            address: address.into(),
            framer: Arc::new(Raw),
            offer: Offer::new(),
            options: Options::default(),
            chain: Chain::default(),
            socket: SocketOptions::new(),
            way: Way::Direct,
            connect_timeout: CONNECT_TIMEOUT,
            #[cfg(feature = "tls")]
            tls: OnceLock::new(),
        };
        Client { connector, used: Vec::new(), handler: Callbacks::new() }
    }
}

impl<R: Runtime, H> Client<R, H> {
    /// Runs on this runtime instead of the default one of its kind.
    pub fn runtime(mut self, runtime: R) -> Self {
        self.connector.runtime = runtime;
        self
    }

    /// Sends a header with the request, such as `Authorization` or `Origin`.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.connector.offer = self.connector.offer.header(name, value);
        self
    }

    /// Offers a subprotocol; the first offered is the most wanted.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.connector.options.websocket.subprotocols.push(name.into());
        self
    }

    /// Sets what a WebSocket may cost and how it is kept alive.
    pub fn websocket(mut self, websocket: WebSocket) -> Self {
        self.connector.options.websocket = websocket;
        self
    }

    /// Speaks messages on plain TCP, as `framer` finds them; raw chunks by default.
    pub fn framed(mut self, framer: impl Framer) -> Self {
        self.connector.framer = Arc::new(framer);
        self
    }

    /// Sets the one deadline over name look-up, every address and the handshake; 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connector.connect_timeout = timeout;
        self
    }

    /// Sets the deadlines of the open connection.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.connector.options.timeouts = timeouts;
        self
    }

    /// Ends the session if it brings no message for this long; off.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.connector.options.timeouts.idle = Some(timeout);
        self
    }

    /// Ends the session if the server reads nothing for this long while bytes wait; 30 s.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.connector.options.timeouts.stall = timeout;
        self
    }

    /// Sets the time that a close may take; 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.connector.options.timeouts.close = timeout;
        self
    }

    /// Sets how many bytes may wait to be written; 1 MiB.
    pub fn max_pending_send(mut self, bytes: usize) -> Self {
        self.connector.options.marks = WaterMarks::new(bytes);
        self
    }

    /// Sets what is done with messages that do not fit into that; refused by default, or waited
    /// with.
    pub fn slow_consumer(mut self, policy: SlowConsumer) -> Self {
        self.connector.options.slow_consumer = policy;
        self
    }

    /// Sets whom a secure address trusts, and what this side shows; the defaults are those of
    /// [`TlsClient::new`], which is then made by the first connect: it may read the roots of the
    /// platform from files, and blocks for it. To be used with an address of TLS: it does not make another one
    /// secure.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsClient) -> Self {
        self.connector.tls = OnceLock::from(tls);
        self
    }

    /// Goes through a proxy.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.connector.way = Way::Through(proxy);
        self
    }

    /// Goes the way that the environment names at the time of each connect; see
    /// [`Proxy::choose`]. Without this the environment is not looked at.
    pub fn proxy_from_env(mut self) -> Self {
        self.connector.way = Way::Environment;
        self
    }

    /// Sets the options of the socket.
    pub fn socket(mut self, socket: SocketOptions) -> Self {
        self.connector.socket = socket;
        self
    }

    /// Has sessions and messages go through `middleware` as well, behind what was added before.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.connector.chain.push(middleware);
        self
    }

    /// Notes that an option is used, which may be of no use.
    fn uses(mut self, option: &'static str) -> Self {
        self.used.push(option);
        self
    }

    fn map_handler<N>(self, map: impl FnOnce(H) -> N) -> Client<R, N> {
        Client { connector: self.connector, used: self.used, handler: map(self.handler) }
    }
}

subscriptions! {
    impl (R: Runtime, H: Subscribe) (Client<R, H>) of H, [(Client<R,) (>)];
    connected message disconnected error reconnecting lag
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
        R::wait(self.connect_once())
    }

    async fn connect_once(self) -> Result<Session, ConnectError> {
        let driver = self.connector.connect(&Arc::new(self.handler), 1).await?;
        let session = driver.host.guard.session.clone();
        let spawned = self.connector.runtime.spawn(drive(driver));
        spawned.map_err(|error| ConnectError::Transport(error.into()))?;
        Ok(session)
    }

    /// Connects in the background, and again whenever the connect fails or the session is
    /// lost, until it is stopped, closed by this side, or `options` say to give up. Every
    /// session has its own `on_connected` and `on_disconnected`;
    /// [`Handler::on_reconnecting`] is told of each attempt and of giving up.
    ///
    /// # Errors
    /// [`ConnectError::Uri`], [`ConnectError::NoTls`] or `ConnectError::Tls`: no attempt could
    /// succeed.
    pub fn reconnect(self, options: Reconnect) -> Result<Reconnecting<R>, ConnectError> {
        self.connector.uri()?;
        Reconnecting::start(self.connector, self.handler, options)
    }
}

impl<R: Runtime> Client<R> {
    /// Connects, and keeps the messages until they are asked for.
    ///
    /// # Errors
    /// As [`Client::connect`].
    ///
    /// # Cancel safety
    /// As [`Client::connect`].
    pub fn open(self) -> R::Wait<impl Future<Output = Result<Inbox<R>, ConnectError>>> {
        R::wait(async {
            let (pull, taker) = inbox::channel();
            Ok(taker.of(self.handler(pull).connect_once().await?))
        })
    }
}

impl<R, H> fmt::Debug for Client<R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.connector.address)
            .field("options", &self.connector.options)
            .field("connect_timeout", &self.connector.connect_timeout)
            .finish_non_exhaustive()
    }
}
