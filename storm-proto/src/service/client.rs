//! A client: options, then a session, one after the other, or messages to be asked for.

use core::fmt;
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::boxed::Box;
use std::string::String;
#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::vec::Vec;

use super::callbacks::subscribing::{names::*, subscriptions};
use super::connect_error::ConnectError;
use super::connector::{Connector, Way};
use super::greeting::Greeting;
use super::inbox::{self, Inbox};
use super::middleware::{Chain, Middleware};
use super::options::SocketOptions;
use super::race::{before, regranted};
use super::reconnecting::{Failure, Reconnecting};
use super::runtime::Runtime;
use crate::client::proxy::Proxy;
use crate::client::reconnect::Reconnect;
use crate::client::uri::Target;
use crate::connection::flow::WaterMarks;
use crate::connection::options::{Deadlines, Options, Timeouts};
use crate::connection::slow::SlowConsumer;
use crate::error::OptionError;
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
    websocket: Option<WebSocket>,
    /// Those offered behind the ones of `websocket`.
    subprotocols: Vec<String>,
    framer: Option<Arc<dyn Framer>>,
    deadlines: Deadlines,
    proxy: Option<Proxy>,
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
            probed: AtomicBool::new(false),
            retry_if: None,
            #[cfg(feature = "tls")]
            tls: OnceLock::new(),
        };
        Client {
            connector,
            websocket: None,
            subprotocols: Vec::new(),
            framer: None,
            deadlines: Deadlines::default(),
            proxy: None,
            used: Vec::new(),
            handler: Callbacks::new(),
        }
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
        self.uses("header")
    }

    /// Offers a subprotocol, behind those of [`Client::websocket`]; the first offered is the most
    /// wanted.
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self.uses("subprotocol")
    }

    /// Sets what a WebSocket may cost and how it is kept alive.
    pub fn websocket(mut self, websocket: WebSocket) -> Self {
        self.websocket = Some(websocket);
        self.uses("websocket")
    }

    /// Speaks messages on plain TCP, as `framer` finds them; raw chunks by default.
    pub fn framed(mut self, framer: impl Framer) -> Self {
        self.framer = Some(Arc::new(framer));
        self.uses("framed")
    }

    /// Sets the one deadline over name look-up, every address and the handshake; 10 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connector.connect_timeout = timeout;
        self
    }

    /// Sets after which failures a reconnecting client tries again, in place of
    /// [`Failure::is_retryable`]. `false` gives up. Not asked after a close by this side, which
    /// is the end in any case. A panic in `f` leaves the decision to `is_retryable`.
    ///
    /// ```
    /// # use storm_proto::service::{Client, Failure, Runtime};
    /// # fn never_give_up<R: Runtime + Default>() -> Client<R> {
    /// Client::new("ws://example").retry_if(|failure: &Failure| match failure {
    ///     // A service that is being deployed.
    ///     Failure::Connect(error) if error.status() == Some(404) => true,
    ///     failure => failure.is_retryable(),
    /// })
    /// # }
    /// ```
    pub fn retry_if(mut self, f: impl Fn(&Failure) -> bool + Send + Sync + 'static) -> Self {
        self.connector.retry_if = Some(Box::new(f));
        self.uses("retry_if")
    }

    /// Sets the deadlines of the open connection, but for those that are set by themselves, before
    /// or after this.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.deadlines.all = timeouts;
        self
    }

    /// Ends the session if it brings no message for this long; off, as is zero.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.idle = Some(timeout);
        self
    }

    /// Ends the session if the server reads nothing for this long while bytes wait; 30 s.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.stall = Some(timeout);
        self
    }

    /// Sets the time that a close may take; 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.close = Some(timeout);
        self
    }

    /// Sets how many bytes may be taken from the network before those taken earlier are handled;
    /// by default what one read takes at most, 256 KiB, which 0 also means.
    ///
    /// At the limit nothing more is read: the rest waits with the network, and TCP slows the peer
    /// down. The parts of one large message that have arrived do not count: the limit of a
    /// message bounds them. TLS may hold one record, 16 KiB, in addition.
    pub fn max_pending_receive(mut self, bytes: usize) -> Self {
        self.connector.options.max_pending_receive = Some(bytes);
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
        self.uses("tls")
    }

    /// Goes through a proxy, whatever the environment names.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        self.proxy = Some(proxy);
        self.uses("proxy")
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
        self.uses("socket")
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

    fn options(&self) -> Options {
        let mut websocket = self.websocket.clone().unwrap_or_default();
        websocket.subprotocols.extend_from_slice(&self.subprotocols);
        let timeouts = self.deadlines.timeouts();
        Options { websocket, timeouts, ..self.connector.options.clone() }
    }

    /// What connects, with all that was set.
    ///
    /// # Errors
    /// If an option has no sense, or none beside the address and the other options.
    fn checked(self) -> Result<(Connector<R>, H), ConnectError> {
        let uri = self.connector.uri()?;
        if uri.scheme().is_websocket() {
            self.refuse(&["framed"], "is for plain streams: the address is a websocket's")?;
        } else {
            let of_websocket = ["header", "subprotocol", "websocket"];
            self.refuse(&of_websocket, "needs an address that begins with ws: or wss:")?;
        }
        if !uri.scheme().is_secure() {
            self.refuse(&["tls"], "needs an address that begins with wss: or tls:")?;
        }
        if let Target::Unix { .. } = uri.target() {
            self.refuse(&["proxy", "socket"], "is for tcp, not for unix sockets")?;
        }
        if self.connector.connect_timeout.is_zero() {
            return Err(OptionError::new("connect_timeout", OptionError::ZERO).into());
        }
        let options = self.options().checked(uri.scheme().is_websocket())?;
        let mut connector = self.connector;
        connector.socket.check()?;
        connector.chain.check_options()?;
        if let Some(framer) = self.framer {
            framer.check_options()?;
            connector.framer = framer;
        }
        if let Some(proxy) = self.proxy {
            connector.way = Way::Through(proxy);
        }
        connector.options = options;
        connector.runtime = connector.runtime.in_context().map_err(ConnectError::of_runtime)?;
        Ok((connector, self.handler))
    }

    /// Refuses options that were asked for.
    fn refuse(&self, options: &[&'static str], problem: &'static str) -> Result<(), OptionError> {
        OptionError::refuse(&self.used, options, problem)
    }

    fn map_handler<N>(self, map: impl FnOnce(H) -> N) -> Client<R, N> {
        Client {
            connector: self.connector,
            websocket: self.websocket,
            subprotocols: self.subprotocols,
            framer: self.framer,
            deadlines: self.deadlines,
            proxy: self.proxy,
            used: self.used,
            handler: map(self.handler),
        }
    }
}

subscriptions! {
    impl (R: Runtime, H: Subscribe) (Client<R, H>) of H, [(Client<R,) (>)];
    connected message disconnected error reconnecting lag
}

impl<R: Runtime, H: Handler> Client<R, H> {
    /// Connects: name look-up, every address, the opening handshake and `on_connected`, under
    /// one deadline. The session then lives in the background until it is closed.
    ///
    /// Returns once [`Handler::on_connected`] has returned, so what that sends goes first.
    /// **Deadlock:** an `on_connected` that waits for something the caller does after this call
    /// returns keeps both waiting until the deadline. A session that `on_connected` or the server
    /// has closed meanwhile, or whose `on_connected` panicked, is returned as well:
    /// [`Session::state`] and [`Session::reason`] tell.
    ///
    /// The handler keeps the connection in use: dropping every handle of the session does not
    /// close it. [`Session::close`] does.
    ///
    /// # Errors
    /// Says at what it failed; see [`ConnectError`]. Every socket is closed then. If
    /// `on_connected` does not return before the deadline, the session is aborted and the error
    /// is [`ConnectError::Timeout`].
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready closes the socket. A session that was in
    /// `on_connected` is aborted, and its last event still comes.
    pub fn connect(self) -> R::Wait<impl Future<Output = Result<Session, ConnectError>>> {
        R::wait(self.connect_once())
    }

    async fn connect_once(self) -> Result<Session, ConnectError> {
        self.refuse(
            &["on_reconnecting", "retry_if"],
            "needs reconnect: this client connects once",
        )?;
        let (connector, handler) = self.checked()?;
        let deadline = R::now() + connector.connect_timeout;
        let driver = connector.connect(&Arc::new(handler), 1).await?;
        let deadline = regranted::<R>(deadline, connector.connect_timeout);
        let greeting = Greeting::new(connector.runtime.clone(), driver)?;
        let greeted = before(&connector.runtime, deadline, greeting.greeted()).await;
        greeted.unwrap_or(Err(ConnectError::Timeout(connector.connect_timeout)))
    }

    /// Connects in the background, and again whenever the connect fails or the session is
    /// lost, until it is stopped, closed by this side, or `options` say to give up. Every
    /// session has its own `on_connected` and `on_disconnected`;
    /// [`Handler::on_reconnecting`] is told of each attempt and of giving up.
    ///
    /// # Errors
    /// [`ConnectError::Uri`], [`ConnectError::NoTls`], [`ConnectError::Option`] or
    /// `ConnectError::Tls`: no attempt could succeed. [`ConnectError::Runtime`] outside of the
    /// runtime that it is to run on.
    pub fn reconnect(self, options: Reconnect) -> Result<Reconnecting<R>, ConnectError> {
        options.check()?;
        let (connector, handler) = self.checked()?;
        Reconnecting::start(connector, handler, options)
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

impl<R: Runtime, H> fmt::Debug for Client<R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.connector.address)
            .field("options", &self.options())
            .field("connect_timeout", &self.connector.connect_timeout)
            .field("framer", &self.framer)
            .field("socket", &self.connector.socket)
            .field("way", &self.connector.way)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}
