//! From an address to an opened connection: look-up, sockets, proxy, handshake, under one
//! deadline.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::boxed::Box;
use std::string::String;
#[cfg(feature = "tls")]
use std::sync::OnceLock;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::connect_error::ConnectError;
use super::dial;
use super::driver::{Driver, Guard, Host};
use super::handler::Handler;
use super::middleware::Chain;
#[cfg(feature = "tls")]
use super::opening::secure_client;
use super::opening::{open_client, open_tunnel};
use super::options::SocketOptions;
use super::probe::PROBE_WAIT;
use super::race::{before, in_time};
use super::reconnecting::Failure;
use super::runtime::{Address, Ends, Runtime};
use super::session::{Identity, Lagging, Session, lagging};
use super::stage::Stage;
use super::wire::Wire;
use crate::Instant;
use crate::client::proxy::{Proxy, ProxyError};
use crate::client::uri::{Target, Uri};
use crate::connection::link::Link;
use crate::connection::options::Options;
use crate::connection::reason::Cause;
use crate::connection::receiver::Receiver;
use crate::connection::sender::Sender;
use crate::extensions::Extensions;
use crate::framing::Framer;
use crate::random::Random;
#[cfg(feature = "tls")]
use crate::tls::{TlsClient, TlsError, TlsStage};
use crate::websocket::Role;
use crate::websocket::handshake::{ClientHandshake, HandshakeError, Offer};

/// Everything of a client but its handler: it connects as often as it is asked.
pub(crate) struct Connector<R> {
    pub(crate) runtime: R,
    pub(crate) address: String,
    pub(crate) framer: Arc<dyn Framer>,
    pub(crate) offer: Offer,
    pub(crate) options: Options,
    pub(crate) chain: Chain,
    pub(crate) socket: SocketOptions,
    pub(crate) way: Way,
    pub(crate) connect_timeout: Duration,
    /// The server was asked what it speaks, since it closed without an answer.
    pub(crate) probed: AtomicBool,
    /// Which failures a reconnecting client tries again after.
    pub(crate) retry_if: Option<RetryIf>,
    /// Asked for, or made when the first secure address is connected to.
    #[cfg(feature = "tls")]
    pub(crate) tls: OnceLock<TlsClient>,
}

/// See [`Client::retry_if`](super::Client::retry_if).
pub(crate) type RetryIf = Box<dyn Fn(&Failure) -> bool + Send + Sync>;

/// How the server is reached.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Direct,
    Through(Proxy),
    /// As the environment says at the time of each connect.
    Environment,
}

impl Way {
    /// The proxy to a server, if it is reached through one.
    fn proxy(&self, uri: &Uri) -> Result<Option<Proxy>, ProxyError> {
        match self {
            Way::Direct => Ok(None),
            Way::Through(proxy) => Ok(Some(proxy.clone())),
            Way::Environment => Proxy::from_env(uri),
        }
    }
}

impl Proxy {
    /// The proxy that the environment of this process names for a server, if any; see
    /// [`Proxy::choose`].
    ///
    /// # Errors
    /// If the variable that counts is no address of a proxy.
    pub fn from_env(uri: &Uri) -> Result<Option<Proxy>, ProxyError> {
        match uri.target() {
            Target::Tcp { host, port } => {
                let variable = |name: &str| std::env::var(name).ok();
                Proxy::choose(variable, uri.scheme().is_secure(), host, *port)
            }
            Target::Unix { .. } => Ok(None),
        }
    }
}

impl<R: Runtime> Connector<R> {
    /// The address, checked.
    pub(crate) fn uri(&self) -> Result<Uri, ConnectError> {
        let uri: Uri = self.address.parse().map_err(ConnectError::Uri)?;
        #[cfg(not(feature = "tls"))]
        if uri.scheme().is_secure() {
            return Err(ConnectError::NoTls);
        }
        Ok(uri)
    }

    /// What goes below a secure address.
    #[cfg(feature = "tls")]
    fn machine(&self, uri: &Uri) -> Result<Option<Box<TlsStage>>, TlsError> {
        if !uri.scheme().is_secure() {
            return Ok(None);
        }
        let tls = match self.tls.get() {
            Some(tls) => tls,
            None => {
                let default = TlsClient::new()?;
                self.tls.get_or_init(|| default)
            }
        };
        let stage = TlsStage::client(tls, uri.host(), uri.scheme().is_websocket())?;
        Ok(Some(Box::new(stage)))
    }

    /// Connects. What is returned is open and wants to be driven; `number` is its session's.
    pub(crate) async fn connect<H: Handler>(
        &self,
        handler: &Arc<H>,
        number: u64,
    ) -> Result<Driver<R::Transport, H, R>, ConnectError> {
        let deadline = R::now() + self.connect_timeout;
        // Boxed, so that nobody carries around what only a connect needs.
        Box::pin(self.connect_until(deadline, handler.clone(), number)).await
    }

    /// The handshake keeps the deadline itself: it judges by what had arrived in time, and a
    /// refusal whose body comes too slowly is reported as a refusal.
    async fn connect_until<H: Handler>(
        &self,
        deadline: Instant,
        handler: Arc<H>,
        number: u64,
    ) -> Result<Driver<R::Transport, H, R>, ConnectError> {
        let uri = self.uri()?;
        let request = self.request(&uri)?;
        #[cfg(feature = "tls")]
        let machine = self.machine(&uri).map_err(ConnectError::Tls)?;
        let proxy = self.way.proxy(&uri).map_err(ConnectError::Proxy)?;
        let first = proxy.as_ref().map_or(uri.target(), Proxy::target);
        let connected = dial::connect(&self.runtime, first, &self.socket);
        let connected = in_time(&self.runtime, deadline, connected).await;
        let (transport, ends) = connected
            .ok_or_else(|| self.late())?
            .map_err(|error| ConnectError::Transport(error.into()))?;
        // Through a proxy it would be the proxy that is asked.
        let peer = proxy.is_none().then(|| ends.peer.clone());
        let (session, mut receiver, handshake) =
            self.session(request, ends, deadline, number, lagging(&handler));
        let guard = Guard { session: session.clone(), permit: None };
        let mut wire = Wire::new(Stage::Plain(transport), R::now, self.options.marks.limit());
        if let Some(proxy) = proxy {
            let opened = open_tunnel(&mut wire, &session, &proxy, uri.target()).await;
            opened.map_err(|error| match error {
                ProxyError::EndOfStream if is_late(&session) => self.late(),
                error => ConnectError::Proxy(error),
            })?;
        }
        #[cfg(feature = "tls")]
        if let Some(machine) = machine {
            wire = wire.secure(*machine);
            if let Err(error) = secure_client(&mut wire, &session).await {
                drop(wire);
                let error = error.map_or_else(|| self.late(), ConnectError::of_tls);
                return Err(self.explain(error, &uri, peer, deadline).await);
            }
        }
        match handshake {
            None => session.shared().open(number, None, Extensions::new()),
            Some((handshake, request)) => {
                let opened =
                    open_client(&mut wire, &session, &mut receiver, handshake, request).await;
                #[cfg(feature = "tls")]
                if opened.is_err() {
                    wire.part();
                }
                if let Err(error) = opened {
                    drop(wire);
                    let error = match error {
                        HandshakeError::EndOfStream if is_late(&session) => self.late(),
                        HandshakeError::EndOfStream => ConnectError::of_end(&session),
                        error => ConnectError::Handshake(error),
                    };
                    return Err(self.explain(error, &uri, peer, deadline).await);
                }
            }
        }
        let host = Host { guard, handler, timer: self.runtime.clone() };
        Ok(Driver { wire, receiver, host, expects_request: false })
    }

    /// The failure of a handshake, or its cause, if that is an end without an answer of a server
    /// that speaks TLS and was spoken to without, or the other way round. A client asks once: an
    /// end that says nothing is mostly that of a server which restarts.
    async fn explain(
        &self,
        error: ConnectError,
        uri: &Uri,
        peer: Option<Address>,
        deadline: Instant,
    ) -> ConnectError {
        let (Some(probe), Some(peer)) = (error.probe(uri), peer) else { return error };
        if self.probed.swap(true, Ordering::Relaxed) {
            return error;
        }
        let deadline = deadline.min(R::now() + PROBE_WAIT);
        let authority = uri.authority();
        let asked = probe.ask(&self.runtime, peer, &self.socket, &authority);
        match before(&self.runtime, deadline, asked).await {
            Some(true) => ConnectError::of_probe(probe),
            _ => error,
        }
    }

    fn late(&self) -> ConnectError {
        ConnectError::Timeout(self.connect_timeout)
    }

    /// What can fail before a socket is opened.
    fn request(&self, uri: &Uri) -> Result<Option<PendingRequest>, ConnectError> {
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
        request: Option<PendingRequest>,
        ends: Ends,
        deadline: Instant,
        number: u64,
        handler: Weak<dyn Lagging>,
    ) -> (Session, Receiver, Option<(ClientHandshake, Bytes)>) {
        let mut options = self.options.clone();
        options.timeouts.handshake = deadline - R::now();
        let options = Arc::new(options);
        let (role, sender, receiver, handshake) = match request {
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
        let identity = Identity {
            connection: number,
            ends,
            clock: R::now,
            handler,
            registry: None,
            chain: self.chain.clone(),
        };
        let session = Session::new(link, identity);
        (session, receiver, handshake)
    }
}

/// The deadline of the handshake has ended the connection.
fn is_late(session: &Session) -> bool {
    let inner = session.shared().lock();
    inner.link.reason().is_some_and(|reason| reason.cause == Cause::HandshakeTimeout)
}

type PendingRequest = (ClientHandshake, Bytes, Random);
