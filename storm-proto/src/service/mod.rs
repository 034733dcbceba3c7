//! What an application sees, the same on every runtime: servers, clients, sessions,
//! handlers, and the driver that runs a connection over a [`Transport`].
//!
//! An adapter implements [`Runtime`], [`Listener`] and [`Transport`], and [`Carrier`] for the
//! second door; everything else is here. `docs/write-an-adapter.md` says how.
//!
//! There are two doors. Servers and clients bring their own sockets and call a handler; a
//! [`MessageStream`] is a WebSocket over a stream that the caller has, and is polled.
//!
//! A client connects once ([`Client::connect`]), comes back whenever its session is lost
//! ([`Client::reconnect`]), or keeps its messages until they are asked for
//! ([`Client::open`]). What such a call returns is the runtime's: a future, or on threads what
//! comes of it.

mod audience;
mod batch;
mod bind;
mod callbacks;
mod client;
mod connect_error;
mod connector;
mod dial;
mod driver;
mod error_context;
mod greeting;
mod groups;
mod handler;
mod hub;
mod inbox;
#[cfg(test)]
mod limits;
mod membership;
mod metrics;
pub mod middleware;
mod opening;
mod options;
pub mod park;
mod pool;
mod probe;
mod publish;
mod quota;
mod race;
mod rate_limit;
mod reconnecting;
mod registry;
mod report;
mod runtime;
#[cfg(feature = "tls")]
mod secured;
mod server;
mod session;
mod stage;
mod stream;
mod sync;
mod trace;
mod wire;

pub use audience::{Audience, Delivering, Delivery};
pub use bind::BindAddress;
pub use callbacks::{Callbacks, HandlerResult, Unset};
pub use client::Client;
pub use connect_error::ConnectError;
pub use error_context::ErrorContext;
pub use groups::GroupChange;
pub use handler::Handler;
pub use hub::Hub;
pub use inbox::Inbox;
pub use membership::JoinError;
pub use metrics::{ClientMetrics, Refused, ServerMetrics, Totals, Unopened};
pub use middleware::{ControlFrame, Middleware, Outcome};
pub use options::{KeepAlive, ListenOptions, SocketOptions};
pub use rate_limit::RateLimit;
pub use reconnecting::{ClientState, Failure, Reconnecting, Retry};
pub use runtime::{Address, Ends, Listener, Runtime, Transport};
pub use server::{Running, Server, Stopped};
pub use session::{Metrics, SendWait, Session, State};
pub use stream::{Carrier, MessageStream, OpenError, StreamError};
