//! A server: options, then an accept loop (`accepting`), then a handle to stop it (`running`).

mod accepting;
mod checks;
mod reports;
mod running;
mod telling;

use core::fmt;
use core::time::Duration;
use std::io;
use std::vec::Vec;

use self::accepting::Accepting;
use self::reports::Reports;
pub use self::running::{Running, Stopped};
#[cfg(test)]
pub(crate) use self::{reports::MAX_WAITING, running::LAST_TURN};
use super::bind::{self, BindAddress};
use super::callbacks::subscribing::{names::*, subscriptions};
use super::groups::MAX_GROUPS;
use super::hub::Hub;
use super::middleware::{Chain, Middleware};
use super::options::{ListenOptions, SocketOptions};
use super::registry::Registry;
use super::runtime::{Listener, Runtime};
use super::trace;
use crate::connection::budget::Budget;
use crate::connection::flow::WaterMarks;
use crate::connection::options::{Deadlines, Timeouts};
use crate::connection::slow::SlowConsumer;
use crate::framing::Framer;
use crate::server::admission::Admission;
use crate::server::drain::Drain;
use crate::server::origins::Origins;
use crate::server::rate::Rate;
#[cfg(feature = "tls")]
use crate::tls::TlsServer;
use crate::websocket::WebSocket;

/// A server that is about to start: raw TCP unless [`Server::framed`] or
/// [`Server::websocket`] says otherwise.
#[must_use = "a server does nothing until it is started"]
pub struct Server<R, H = Callbacks> {
    runtime: R,
    address: BindAddress,
    websocket: Option<WebSocket>,
    framer: Option<Arc<dyn Framer>>,
    deadlines: Deadlines,
    marks: WaterMarks,
    slow_consumer: SlowConsumer,
    max_pending_receive: Option<usize>,
    max_groups: usize,
    listen: ListenOptions,
    admission: Admission,
    receive_memory: Option<usize>,
    #[cfg(feature = "tls")]
    tls: Option<TlsServer>,
    registry: Arc<Registry>,
    chain: Chain,
    /// Options that were asked for, and that may be of no use here.
    used: Vec<&'static str>,
    handler: H,
}

/// What is spoken on the accepted streams.
#[derive(Clone, Debug)]
pub(crate) enum Protocol {
    Framed(Arc<dyn Framer>),
    WebSocket,
}

impl<R: Runtime + Default> Server<R> {
    /// A server that will listen at `address`: `0.0.0.0:8080`, `[::]:8080`, `localhost:0` (all
    /// addresses of the name), `:8080` (all of the machine), a `SocketAddr`, `(Ipv4Addr, u16)`;
    /// see [`BindAddress`]. Port 0 lets the system choose. `unix:` and a path, or a
    /// [`Path`](std::path::Path), is a Unix socket, whose file is removed when the server stops;
    /// a stale one in its place is replaced.
    pub fn bind(address: impl Into<BindAddress>) -> Server<R> {
        Server {
            runtime: R::default(),
            address: address.into(),
            websocket: None,
            framer: None,
            deadlines: Deadlines::default(),
            marks: WaterMarks::default(),
            slow_consumer: SlowConsumer::default(),
            max_pending_receive: None,
            max_groups: MAX_GROUPS,
            listen: ListenOptions::new(),
            admission: Admission { max: R::MAX_CONNECTIONS, ..Admission::default() },
            receive_memory: None,
            #[cfg(feature = "tls")]
            tls: None,
            registry: Arc::new(Registry::new()),
            chain: Chain::default(),
            used: Vec::new(),
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

    /// Speaks WebSocket. A server speaks this or is [`Server::framed`], not both.
    pub fn websocket(mut self, websocket: WebSocket) -> Self {
        self.websocket = Some(websocket);
        self
    }

    /// Speaks messages on plain TCP, as `framer` finds them.
    pub fn framed(mut self, framer: impl Framer) -> Self {
        self.framer = Some(Arc::new(framer));
        self
    }

    /// Speaks TLS below everything else, and nothing without it.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: TlsServer) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the deadlines of every connection, but for those that are set by themselves, before
    /// or after this.
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.deadlines.all = timeouts;
        self
    }

    /// Sets the time from accept to the end of the opening; 5 s. Plain TCP without TLS has none.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.handshake = Some(timeout);
        self.uses("handshake_timeout")
    }

    /// Ends sessions that bring no message for this long; off, as is zero.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.idle = Some(timeout);
        self
    }

    /// Ends sessions whose peer reads nothing for this long while bytes wait; 30 s.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.stall = Some(timeout);
        self
    }

    /// Sets the time that a close may take; 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.deadlines.close = Some(timeout);
        self
    }

    /// Sets how many bytes may be taken from the network before those taken earlier are handled,
    /// for each session; by default what one read takes at most, 256 KiB, which 0 also means.
    ///
    /// At the limit nothing more is read: the rest waits with the network, and TCP slows the peer
    /// down. The parts of one large message that have arrived do not count: the limit of a
    /// message bounds them. TLS may hold one record, 16 KiB, in addition.
    pub fn max_pending_receive(mut self, bytes: usize) -> Self {
        self.max_pending_receive = Some(bytes);
        self
    }

    /// Sets how many bytes may wait to be written, for each session; 1 MiB.
    pub fn max_pending_send(mut self, bytes: usize) -> Self {
        self.marks = WaterMarks::new(bytes);
        self
    }

    /// Sets how many bytes the unfinished messages of all sessions may take together; 256 MiB,
    /// or as much as four messages may take if that is more. 0 is unlimited.
    ///
    /// A message is unfinished until the handler has it. What counts is memory: messages from
    /// 16 KiB on as far as they have arrived, in compressed form or not, and the engine that
    /// inflates one. The session whose message would need more is closed with 1013 and
    /// [`Cause::ReceiveMemory`]; on plain TCP its stream ends. A limit below that of one message
    /// is raised to it.
    ///
    /// [`Cause::ReceiveMemory`]: crate::Cause::ReceiveMemory
    pub fn max_receive_memory(mut self, bytes: usize) -> Self {
        self.receive_memory = Some(bytes);
        self
    }

    /// Sets what is done with messages that do not fit into that; refused by default, or waited
    /// with.
    pub fn slow_consumer(mut self, policy: SlowConsumer) -> Self {
        self.slow_consumer = policy;
        self
    }

    /// Sets the most connections at once, counted from accept; unlimited, but 1,024 where each
    /// costs threads. More are closed as soon as they are accepted. 0 is unlimited.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.admission.max = (connections > 0).then_some(connections);
        self
    }

    /// Sets the most connections at once from one IP address, counted from accept; unlimited,
    /// since whole companies share one. More are closed as soon as they are accepted. 0 is
    /// unlimited.
    ///
    /// The /64 of an IPv6 address counts as one; Unix sockets are not counted. Behind a proxy
    /// every connection has the proxy's address: leave it off there.
    pub fn max_connections_per_ip(mut self, connections: usize) -> Self {
        self.admission.max_per_ip = (connections > 0).then_some(connections);
        self.uses("max_connections_per_ip")
    }

    /// Sets how often one IP address may connect; unlimited. What comes sooner is closed as
    /// soon as it is accepted, and costs its address nothing. Addresses count as for
    /// [`Server::max_connections_per_ip`].
    ///
    /// Beside those that are connected, 65,536 addresses are remembered until they may come
    /// as often as new ones. One that finds no place among them is let in.
    pub fn connect_rate(mut self, rate: Rate) -> Self {
        self.admission.rate = Some(rate);
        self.uses("connect_rate")
    }

    /// Refuses upgrades for pages of other origins with 403, before
    /// [`Handler::on_connecting`]; off.
    ///
    /// Off, because a server cannot know the names of its pages, and most clients that are no
    /// browsers have no page. A server that knows its users by their cookies, or by where it
    /// listens, needs it: any page that they visit could act in their name.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.admission.origins = Some(origins);
        self.uses("origins")
    }

    /// Sets how many groups a session may be in; 256. A group costs a few hundred bytes if
    /// nobody else is in it, and peers often choose what they join: so a session's groups cost
    /// a tenth of what may wait to be written to it.
    pub fn max_groups(mut self, groups: usize) -> Self {
        self.max_groups = groups;
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
        self.uses("socket")
    }

    /// Sets how many connections may wait to be accepted; 1024.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.listen.backlog = connections;
        self.uses("backlog")
    }

    /// Lets an IPv6 address take IPv4 peers too, whose addresses then read
    /// `::ffff:a.b.c.d`.
    pub fn dual_stack(mut self, on: bool) -> Self {
        self.listen.dual_stack = on;
        self
    }

    /// Sets the permission bits of the file of a Unix socket, such as `0o660`; as the umask makes
    /// them. They are set before the first connection can come. An error of [`Server::start`] if
    /// the address is no Unix socket.
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.listen.unix_mode = Some(mode);
        self
    }

    /// Has sessions and messages go through `middleware` as well, behind what was added before.
    pub fn middleware(mut self, middleware: impl Middleware) -> Self {
        self.chain.push(middleware);
        self
    }

    /// Notes that an option is used, which may be of no use.
    fn uses(mut self, option: &'static str) -> Self {
        self.used.push(option);
        self
    }

    fn map_handler<N>(self, map: impl FnOnce(H) -> N) -> Server<R, N> {
        Server {
            runtime: self.runtime,
            address: self.address,
            websocket: self.websocket,
            framer: self.framer,
            deadlines: self.deadlines,
            marks: self.marks,
            slow_consumer: self.slow_consumer,
            max_pending_receive: self.max_pending_receive,
            max_groups: self.max_groups,
            listen: self.listen,
            admission: self.admission,
            receive_memory: self.receive_memory,
            #[cfg(feature = "tls")]
            tls: self.tls,
            registry: self.registry,
            chain: self.chain,
            used: self.used,
            handler: map(self.handler),
        }
    }
}

subscriptions! {
    impl (R: Runtime, H: Subscribe) (Server<R, H>) of H, [(Server<R,) (>)];
    connecting connected message disconnected error group lag
}

impl<R: Runtime, H: Handler> Server<R, H> {
    /// Listens, and accepts connections in the background.
    ///
    /// # Errors
    /// Names the address, if that cannot be read, found or bound. An [`OptionError`] in an error
    /// of the kind `InvalidInput` names an option that has no sense, or none beside the others:
    /// limits and times of zero where that is neither "off" nor "unlimited"; what only a WebSocket
    /// has on plain TCP; what only TCP has on a Unix socket. Nothing fails a server once it
    /// listens.
    ///
    /// [`OptionError`]: crate::OptionError
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves nothing behind.
    pub fn start(self) -> R::Wait<impl Future<Output = io::Result<Running<R>>>> {
        R::wait(self.listen())
    }

    async fn listen(mut self) -> io::Result<Running<R>> {
        let (protocol, options) = self.checked()?;
        self.runtime = self.runtime.in_context()?;
        let listeners =
            bind::listen(&self.runtime, &self.address, &self.listen, &self.used).await?;
        let addresses = listeners.iter().map(Listener::local_address);
        let addresses = addresses.collect::<io::Result<Vec<_>>>()?;
        let address = addresses.first().cloned().ok_or(io::ErrorKind::NotFound)?;
        let (registry, handler) = (self.registry, Arc::new(self.handler));
        registry.set_max_groups(self.max_groups);
        registry.admit_by(self.admission);
        registry.tell_to(&handler);
        registry.tell_rest_by(telling::spawner(self.runtime.clone(), &registry));
        addresses.iter().for_each(trace::listening);
        // Dropped on a failure below: that stops the loops which run already.
        let running = Running {
            runtime: self.runtime.clone(),
            address,
            addresses,
            answers: matches!(protocol, Protocol::WebSocket),
            registry: registry.clone(),
        };
        let message = match &protocol {
            Protocol::WebSocket => options.websocket.limits.message,
            Protocol::Framed(framer) => framer.max_message().unwrap_or_default(),
        };
        let receive_memory = Arc::new(Budget::for_messages(self.receive_memory, message));
        let options = Arc::new(options);
        let reports = Reports::new(
            self.runtime.clone(),
            registry.clone(),
            self.chain.clone(),
            handler.clone(),
        );
        for listener in listeners {
            let accepting = Accepting {
                runtime: self.runtime.clone(),
                protocol: protocol.clone(),
                options: options.clone(),
                receive_memory: receive_memory.clone(),
                #[cfg(feature = "tls")]
                tls: self.tls.clone(),
                chain: self.chain.clone(),
                handler: handler.clone(),
                reports: reports.clone(),
                listener,
                _listening: registry.listen(),
                registry: registry.clone(),
            };
            self.runtime.spawn(accepting.run())?;
        }
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

    /// Listens and serves until `signal` completes, then shuts down gracefully as `drain` says.
    ///
    /// `signal` is first polled once the server listens. The report is that of
    /// [`Running::shutdown`].
    ///
    /// ```no_run
    /// use storm_proto::service::{Runtime, Server};
    /// use storm_proto::{Drain, WebSocket};
    ///
    /// async fn serve<R: Runtime + Default>(runtime: R, ctrl_c: impl Future<Output = ()>) {
    ///     let echo = Server::bind("127.0.0.1:8080")
    ///         .websocket(WebSocket::default())
    ///         .on_message(|session, message| session.send(message));
    ///     let _served = echo.runtime(runtime).serve_with_shutdown(ctrl_c, Drain::new());
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Server::start`].
    ///
    /// # Cancel safety
    /// Dropping the future stops the server: see [`Running`].
    pub fn serve_with_shutdown(
        self,
        signal: impl Future<Output = ()>,
        drain: Drain,
    ) -> R::Wait<impl Future<Output = io::Result<Stopped>>> {
        R::wait(async {
            let running = self.listen().await?;
            signal.await;
            Ok(running.end(drain, true).await)
        })
    }
}

impl<R, H> fmt::Debug for Server<R, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("protocol", &self.protocol())
            .field("options", &self.options())
            .field("listen", &self.listen)
            .field("admission", &self.admission)
            .field("max_groups", &self.max_groups)
            .finish_non_exhaustive()
    }
}
