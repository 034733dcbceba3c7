//! A server: options, then an accept loop, then a handle to stop it.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::io;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use super::callbacks::{Callbacks, Unset};
use super::driver::{Driver, Guard, drive};
use super::groups::GroupChange;
use super::handler::Handler;
use super::hub::Hub;
use super::metrics::ServerMetrics;
use super::middleware::{Chain, Middleware};
use super::options::{ListenOptions, SocketOptions};
use super::publish;
use super::race::before;
use super::registry::{Listening, Permit, Registry};
use super::runtime::{Address, Ends, Listener, Runtime};
use super::session::{Identity, Session, lagging};
use super::stage::Stage;
use super::trace;
use super::wire::Wire;
use crate::Instant;
use crate::connection::flow::WaterMarks;
use crate::connection::link::Link;
use crate::connection::options::{Options, Timeouts};
use crate::connection::reason::DisconnectReason;
use crate::connection::receiver::Receiver;
use crate::connection::sender::Sender;
use crate::connection::slow::{Lag, SlowConsumer};
use crate::error::{Error, TransportError};
use crate::extensions::Extensions;
use crate::framing::{Framer, Raw};
use crate::message::Message;
use crate::server::admission::Admission;
use crate::server::backoff::AcceptBackoff;
use crate::server::drain::{Drain, Waves};
use crate::server::origins::Origins;
use crate::server::rate::Rate;
#[cfg(feature = "tls")]
use crate::tls::{TlsServer, TlsStage};
use crate::websocket::frame::close_code::CloseCode;
use crate::websocket::handshake::{Decision, Request};
use crate::websocket::{Role, WebSocket};

/// How long a stop waits for connections that it has cut off: each needs a turn of its driver,
/// and its last event.
pub(crate) const LAST_TURN: Duration = Duration::from_secs(1);

/// A server that is about to start: raw TCP unless [`Server::framed`] or
/// [`Server::websocket`] says otherwise.
#[must_use = "a server does nothing until it is started"]
pub struct Server<R, H = Callbacks> {
    runtime: R,
    address: String,
    protocol: Protocol,
    options: Options,
    listen: ListenOptions,
    admission: Admission,
    #[cfg(feature = "tls")]
    tls: Option<TlsServer>,
    registry: Arc<Registry>,
    chain: Chain,
    handler: H,
}

/// What is spoken on the accepted streams.
#[derive(Clone, Debug)]
pub(crate) enum Protocol {
    Framed(Arc<dyn Framer>),
    WebSocket,
}

impl<R: Runtime + Default> Server<R> {
    /// A server that will listen at `address`, such as `0.0.0.0:8080`, `[::]:8080` or
    /// `localhost:0`; port 0 lets the system choose. `unix:` and a path is a Unix socket,
    /// whose file is removed when the server stops; a stale one in its place is replaced.
    pub fn bind(address: impl Into<String>) -> Server<R> {
        Server {
            runtime: R::default(),
            address: address.into(),
            protocol: Protocol::Framed(Arc::new(Raw)),
            options: Options::default(),
            listen: ListenOptions::new(),
            admission: Admission { max: R::MAX_CONNECTIONS, ..Admission::default() },
            #[cfg(feature = "tls")]
            tls: None,
            registry: Arc::new(Registry::new()),
            chain: Chain::default(),
            handler: Callbacks::new(),
        }
    }
}

impl<R: Runtime, H> Server<R, H> {
    /// Runs on this runtime instead of the default one of its kind.
    pub fn runtime(mut self, runtime: R) -> Self {
        self.runtime = runtime;
        self
    }

    /// Speaks WebSocket.
    pub fn websocket(mut self, websocket: WebSocket) -> Self {
        self.protocol = Protocol::WebSocket;
        self.options.websocket = websocket;
        self
    }

    /// Speaks messages on plain TCP, as `framer` finds them.
    pub fn framed(mut self, framer: impl Framer) -> Self {
        self.protocol = Protocol::Framed(Arc::new(framer));
        self
    }

    /// Speaks TLS below everything else, and nothing without it.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsServer) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the deadlines of every connection.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.options.timeouts = timeouts;
        self
    }

    /// Sets the time from accept to the end of the opening; 5 s.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeouts.handshake = timeout;
        self
    }

    /// Ends sessions that bring no message for this long; off.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeouts.idle = Some(timeout);
        self
    }

    /// Ends sessions whose peer reads nothing for this long while bytes wait; 30 s.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeouts.stall = timeout;
        self
    }

    /// Sets the time that a close may take; 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeouts.close = timeout;
        self
    }

    /// Sets how many bytes may wait to be written, for each session; 1 MiB.
    pub fn max_pending_send(mut self, bytes: usize) -> Self {
        self.options.marks = WaterMarks::new(bytes);
        self
    }

    /// Sets what is done with messages that do not fit into that; refused by default, or waited
    /// with.
    pub fn slow_consumer(mut self, policy: SlowConsumer) -> Self {
        self.options.slow_consumer = policy;
        self
    }

    /// Sets the most connections at once, counted from accept; unlimited, but 1,024 where each
    /// costs threads. More are closed as soon as they are accepted.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.admission.max = Some(connections);
        self
    }

    /// Sets the most connections at once from one IP address, counted from accept; unlimited,
    /// since whole companies share one. More are closed as soon as they are accepted.
    ///
    /// The /64 of an IPv6 address counts as one; Unix sockets are not counted. Behind a proxy
    /// every connection has the proxy's address: leave it off there.
    pub fn max_connections_per_ip(mut self, connections: usize) -> Self {
        self.admission.max_per_ip = Some(connections);
        self
    }

    /// Sets how often one IP address may connect; unlimited. What comes sooner is closed as
    /// soon as it is accepted, and costs its address nothing. Addresses count as for
    /// [`Server::max_connections_per_ip`].
    ///
    /// Beside those that are connected, 65,536 addresses are remembered until they may come
    /// as often as new ones. One that finds no place among them is let in.
    pub fn connect_rate(mut self, rate: Rate) -> Self {
        self.admission.rate = Some(rate);
        self
    }

    /// Refuses upgrades for pages of other origins with 403, before
    /// [`Handler::on_connecting`]; off.
    ///
    /// Off, because a server cannot know the names of its pages, and most clients that are no
    /// browsers have no page. A server that knows its users by their cookies, or by where it
    /// listens, needs it: any page that they visit could act in their name.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.admission.origins = Some(origins);
        self
    }

    /// Sets how many groups a session may be in; 256. A group costs a few hundred bytes if
    /// nobody else is in it, and peers often choose what they join: so a session's groups cost
    /// a tenth of what may wait to be written to it.
    pub fn max_groups(self, groups: usize) -> Self {
        self.registry.set_max_groups(groups);
        self
    }

    /// The sessions and groups of the server, to be used once it runs.
    #[must_use]
    pub fn hub(&self) -> Hub {
        Hub::new(self.registry.clone())
    }

    /// Sets the options of accepted sockets.
    pub fn socket(mut self, socket: SocketOptions) -> Self {
        self.listen.socket = socket;
        self
    }

    /// Sets how many connections may wait to be accepted; 1024.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.listen.backlog = connections;
        self
    }

    /// Lets an IPv6 address take IPv4 peers too, whose addresses then read
    /// `::ffff:a.b.c.d`.
    pub fn dual_stack(mut self, on: bool) -> Self {
        self.listen.dual_stack = on;
        self
    }

    /// Has sessions and messages go through `middleware` as well, behind what was added before.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.chain.push(middleware);
        self
    }

    /// Serves with `handler`, in place of any closures.
    pub fn handler<N: Handler>(self, handler: N) -> Server<R, N> {
        self.map_handler(|_| handler)
    }

    fn map_handler<N>(self, map: impl FnOnce(H) -> N) -> Server<R, N> {
        Server {
            runtime: self.runtime,
            address: self.address,
            protocol: self.protocol,
            options: self.options,
            listen: self.listen,
            admission: self.admission,
            #[cfg(feature = "tls")]
            tls: self.tls,
            registry: self.registry,
            chain: self.chain,
            handler: map(self.handler),
        }
    }
}

/// A server whose handler is made of closures.
type WithClosures<R, G, C, M, D, E, P, L> = Server<R, Callbacks<G, C, M, D, E, Unset, P, L>>;

impl<R: Runtime, G, C, M, D, E, P, L> WithClosures<R, G, C, M, D, E, P, L> {
    /// Decides on each request; see [`Handler::on_connecting`].
    pub fn on_connecting<F, A>(self, f: F) -> WithClosures<R, F, C, M, D, E, P, L>
    where
        F: Fn(&Request) -> A + Send + Sync + 'static,
        A: Into<Decision>,
    {
        self.map_handler(|callbacks| callbacks.on_connecting(f))
    }

    /// Called for each new session; see [`Handler::on_connected`].
    pub fn on_connected<F, A>(self, f: F) -> WithClosures<R, G, F, M, D, E, P, L>
    where
        F: Fn(&Session) -> A + Send + Sync + 'static,
    {
        self.map_handler(|callbacks| callbacks.on_connected(f))
    }

    /// Called for each message; see [`Handler::on_message`].
    pub fn on_message<F, A>(self, f: F) -> WithClosures<R, G, C, F, D, E, P, L>
    where
        F: Fn(&Session, Message<'_>) -> A + Send + Sync + 'static,
    {
        self.map_handler(|callbacks| callbacks.on_message(f))
    }

    /// Called when a session is over; see [`Handler::on_disconnected`].
    pub fn on_disconnected<F, A>(self, f: F) -> WithClosures<R, G, C, M, F, E, P, L>
    where
        F: Fn(&Session, &DisconnectReason) -> A + Send + Sync + 'static,
    {
        self.map_handler(|callbacks| callbacks.on_disconnected(f))
    }

    /// Called when something fails; see [`Handler::on_error`].
    pub fn on_error<F, A>(self, f: F) -> WithClosures<R, G, C, M, D, F, P, L>
    where
        F: Fn(Option<&Session>, &Error) -> A + Send + Sync + 'static,
    {
        self.map_handler(|callbacks| callbacks.on_error(f))
    }

    /// Called when a session joins a group or leaves one; see [`Handler::on_group`].
    pub fn on_group<F, A>(self, f: F) -> WithClosures<R, G, C, M, D, E, F, L>
    where
        F: Fn(&GroupChange) -> A + Send + Sync + 'static,
    {
        self.map_handler(|callbacks| callbacks.on_group(f))
    }

    /// Called when messages for a slow peer begin to be dropped; see [`Handler::on_lag`].
    pub fn on_lag<F, A>(self, f: F) -> WithClosures<R, G, C, M, D, E, P, F>
    where
        F: Fn(&Session, &Lag) -> A + Send + Sync + 'static,
    {
        self.map_handler(|callbacks| callbacks.on_lag(f))
    }
}

impl<R: Runtime, H: Handler> Server<R, H> {
    /// Listens, and accepts connections in the background.
    ///
    /// # Errors
    /// If the address cannot be found or bound. Nothing fails a server once it listens.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves nothing behind.
    pub fn start(self) -> R::Wait<impl Future<Output = io::Result<Running<R>>>> {
        R::wait(self.listen())
    }

    async fn listen(self) -> io::Result<Running<R>> {
        let listener = super::dial::listen(&self.runtime, &self.address, &self.listen).await?;
        let address = listener.local_address()?;
        let (registry, handler) = (self.registry, Arc::new(self.handler));
        registry.admit_by(self.admission);
        registry.tell_to(&handler);
        trace::listening(&address);
        let running = Running {
            runtime: self.runtime.clone(),
            address,
            answers: matches!(self.protocol, Protocol::WebSocket),
            registry: registry.clone(),
        };
        let accepting = Accepting {
            runtime: self.runtime.clone(),
            protocol: self.protocol,
            options: Arc::new(self.options),
            #[cfg(feature = "tls")]
            tls: self.tls,
            chain: self.chain,
            handler,
            listener,
            _listening: registry.listen(),
            registry,
        };
        self.runtime.spawn(accepting.run())?;
        Ok(running)
    }

    /// Listens and serves until the future is dropped.
    ///
    /// # Errors
    /// As [`Server::start`].
    ///
    /// # Cancel safety
    /// Dropping the future stops the server: see [`Running`].
    pub fn serve(self) -> R::Wait<impl Future<Output = io::Result<()>>> {
        R::wait(async {
            let running = self.listen().await?;
            running.registry.stopped().await;
            Ok(())
        })
    }
}

impl<R, H> fmt::Debug for Server<R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("protocol", &self.protocol)
            .field("options", &self.options)
            .field("listen", &self.listen)
            .field("admission", &self.admission)
            .finish_non_exhaustive()
    }
}

/// A server that listens.
///
/// Dropping it stops the server without waiting: nothing more is accepted, and every
/// session is told to close.
#[must_use = "dropping it stops the server"]
pub struct Running<R> {
    runtime: R,
    address: Address,
    /// It can tell newcomers to come back later.
    answers: bool,
    registry: Arc<Registry>,
}

/// What a stop or a shutdown left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stopped {
    /// Connections that were open when it began.
    pub connections: usize,
    /// Sessions that ended in order meanwhile: everything was written, the peer has answered.
    pub clean: u64,
    /// Connections that had to be cut off when the time was over.
    pub aborted: usize,
    /// Handlers that still run: they wait for something other than their session.
    pub stuck: usize,
    /// Bytes that were accepted by sends and did not leave, of all sessions that ended
    /// meanwhile.
    pub undelivered: u64,
    /// How long it took.
    pub took: Duration,
}

impl<R: Runtime> Running<R> {
    /// Where it listens: tells the port if the system chose it.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Connections from accept to the last event.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.registry.connections()
    }

    /// Connections that were closed at once because of a limit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.registry.refused()
    }

    /// What was counted since the start; see [`Hub::metrics`].
    #[must_use]
    pub fn metrics(&self) -> ServerMetrics {
        self.registry.metrics()
    }

    /// The sessions and groups: a handle that can be cloned, and outlives this one.
    #[must_use]
    pub fn hub(&self) -> Hub {
        Hub::new(self.registry.clone())
    }

    /// How many sessions there are; see [`Hub::count`].
    #[must_use]
    pub fn count(&self) -> usize {
        self.registry.count()
    }

    /// The open session with this number.
    #[must_use]
    pub fn session(&self, id: u64) -> Option<Session> {
        self.registry.get(id)
    }

    /// All open sessions, as they are now, in the order in which they came.
    #[must_use]
    pub fn sessions(&self) -> Vec<Session> {
        self.hub().sessions()
    }

    /// Closes every session in order, as [`Session::close`] does, and goes on accepting.
    /// Returns how many there were. Does not wait.
    pub fn close_all(&self) -> usize {
        self.hub().close_all()
    }

    /// Stops in order: accepts nothing more, tells every session 1001 (going away), lets
    /// it write what is queued, and waits for every handler, at most for `grace`; what is
    /// left then is cut off. No event comes after it has returned, but those of stuck
    /// handlers.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the stop under way, without its end.
    pub fn stop(&self, grace: Duration) -> R::Wait<impl Future<Output = Stopped>> {
        R::wait(self.end(Drain::at_once(grace), false))
    }

    /// Stops without haste: [`Running::stop`], with waves before it. Sessions are told to go a
    /// few at a time, spread over [`Drain::over`], so that they do not all come back at once;
    /// each is closed in order. Until the last of them is gone the server goes on accepting:
    /// requests for a WebSocket are answered 503 with `Retry-After`, others as before. A server
    /// of plain TCP, which has no such answer, accepts nothing from the start.
    ///
    /// [`Drain::within`] is the one deadline over everything: what is left then is told to go if
    /// it was not, and cut off. [`Hub::is_stopping`] is true from the start. A second call
    /// does not change what the first one tells newcomers.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waves: who was told to go goes on going, newcomers still
    /// get their 503, and nobody else is told. A stop, another shutdown or dropping the server
    /// ends that.
    pub fn shutdown(&self, drain: Drain) -> R::Wait<impl Future<Output = Stopped>> {
        R::wait(self.end(drain, true))
    }

    async fn end(&self, drain: Drain, in_waves: bool) -> Stopped {
        let begun = R::now();
        let deadline = begun + drain.within;
        let connections = self.registry.connections();
        let before_it = self.registry.totals();
        if in_waves {
            self.drain(&drain, begun, deadline).await;
        }
        self.registry.say_goodbye(drain.code);
        let mut aborted = 0;
        if before(&self.runtime, deadline, self.registry.empty()).await.is_none() {
            let left = self.registry.all();
            left.iter().for_each(Session::abort);
            aborted = left.len();
            before(&self.runtime, R::now() + LAST_TURN, self.registry.empty()).await;
        }
        let after_it = self.registry.totals();
        let stopped = Stopped {
            connections,
            clean: after_it.clean - before_it.clean,
            aborted,
            stuck: self.registry.connections(),
            undelivered: after_it.undelivered - before_it.undelivered,
            took: R::now() - begun,
        };
        trace::stopped(&stopped);
        stopped
    }

    /// Closes the sessions in waves, and waits until they are gone.
    async fn drain(&self, drain: &Drain, begun: Instant, deadline: Instant) {
        let sessions = self.registry.drain(drain.clone());
        trace::draining(sessions.len());
        if !self.answers {
            self.registry.stop();
        }
        let waves = Waves::new(sessions.len(), begun, drain.over.min(drain.within));
        let mut told = 0;
        loop {
            let now = R::now();
            let due = waves.due(now);
            for session in sessions[told..due].iter().filter_map(|id| self.registry.get(*id)) {
                session.shared().go_away(drain.code);
            }
            told = due;
            // After the last wave there is only the deadline.
            let next = waves.next(now).map_or(deadline, |next| next.min(deadline));
            let gone = before(&self.runtime, next, self.registry.without_sessions()).await;
            if gone.is_some() || R::now() >= deadline {
                return;
            }
        }
    }
}

impl<R> Drop for Running<R> {
    fn drop(&mut self) {
        self.registry.say_goodbye(CloseCode::GOING_AWAY);
    }
}

impl<R> fmt::Debug for Running<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Running({})", self.address)
    }
}

/// The accept loop.
struct Accepting<R: Runtime, H> {
    runtime: R,
    registry: Arc<Registry>,
    protocol: Protocol,
    options: Arc<Options>,
    #[cfg(feature = "tls")]
    tls: Option<TlsServer>,
    chain: Chain,
    handler: Arc<H>,
    listener: R::Listener,
    /// Dropped after the listener: a stop that has returned has freed the address.
    _listening: Listening,
}

impl<R: Runtime, H: Handler> Accepting<R, H> {
    /// Accepts until the server is stopped. No error ends it: a server that looks alive and
    /// takes nobody is worse than one that is down.
    async fn run(mut self) {
        let mut backoff = AcceptBackoff::default();
        loop {
            let accepted = {
                let mut stopped = pin!(self.registry.stopped());
                poll_fn(|cx| match stopped.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(None),
                    Poll::Pending => self.listener.poll_accept(cx).map(Some),
                })
                .await
            };
            // A stop ends an accept that blocks with whatever comes first.
            let accepted = accepted.filter(|_| !self.registry.is_stopping());
            let begun = match accepted {
                None => return,
                Some(Ok((transport, ends))) => match self.registry.admit(&ends.peer, R::now()) {
                    Ok(permit) => self.begin(transport, ends, permit),
                    Err(refusal) => {
                        trace::refused(&ends.peer, refusal);
                        publish::refused(refusal);
                        Ok(())
                    }
                },
                Some(Err(error)) => Err(error),
            };
            match begun {
                Ok(()) => backoff.succeeded(),
                Err(error) => {
                    let error = TransportError::from(error);
                    let pause = backoff.failed(error.kind());
                    let error = Error::Transport(error);
                    self.chain.failed(None, &error);
                    trace::accept_failed(&error);
                    self.handler.on_error(None, &error).await;
                    if !pause.is_zero() {
                        before(&self.runtime, R::now() + pause, self.registry.stopped()).await;
                    }
                }
            }
        }
    }

    /// Starts a connection.
    fn begin(&self, transport: R::Transport, ends: Ends, permit: Permit) -> io::Result<()> {
        let options = &self.options;
        let (role, sender, receiver) = match &self.protocol {
            Protocol::WebSocket => (
                Some(Role::Server),
                Sender::websocket_server(options.marks),
                Receiver::websocket(Role::Server, options.websocket.limits),
            ),
            Protocol::Framed(framer) => (
                None,
                Sender::framed(framer.clone(), options.marks),
                Receiver::framed(framer.clone()),
            ),
        };
        let now = R::now();
        let link = Link::new(sender, role, options.clone(), now);
        let identity = Identity {
            connection: permit.connection(),
            ends,
            clock: R::now,
            handler: lagging(&self.handler),
            registry: Some(self.registry.clone()),
            chain: self.chain.clone(),
        };
        let session = Session::new(link, identity);
        trace::accepted(&session);
        self.registry.opening(session.clone(), now);
        let guard = Guard { session, permit: Some(permit) };
        let wire = Wire::new(Stage::Plain(transport), R::now, options.marks.limit());
        #[cfg(feature = "tls")]
        let wire = match &self.tls {
            Some(tls) => wire.secure(TlsStage::server(tls, role.is_some())?),
            None => wire,
        };
        if role.is_none() && !wire.is_secured() {
            guard.open(None, Extensions::new());
        }
        let driver = Driver {
            wire,
            receiver,
            handler: self.handler.clone(),
            guard,
            expects_request: role.is_some(),
        };
        self.runtime.spawn(drive(driver))
    }
}
