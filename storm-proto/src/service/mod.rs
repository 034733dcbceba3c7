//! What an application sees, the same on every runtime: servers, clients, sessions,
//! handlers, and the driver that runs a connection over a [`Transport`].
//!
//! An adapter implements [`Runtime`], [`Listener`] and [`Transport`]; everything else is
//! here.
//!
//! There are two doors. Servers and clients bring their own sockets and call a handler; a
//! [`MessageStream`] is a WebSocket over a stream that the caller has, and is polled.

mod audience;
mod batch;
mod callbacks;
mod client;
mod connect_error;
mod connector;
mod dial;
mod driver;
mod groups;
mod handler;
mod hub;
mod inbox;
mod membership;
mod opening;
mod options;
pub mod park;
mod pool;
mod race;
mod reconnecting;
mod registry;
mod runtime;
mod server;
mod session;
mod stream;
mod wire;

pub use audience::{Audience, Delivering, Delivery};
pub use callbacks::{Callbacks, Unset};
pub use client::Client;
pub use connect_error::ConnectError;
pub use groups::GroupChange;
pub use handler::Handler;
pub use hub::Hub;
pub use inbox::Inbox;
pub use membership::JoinError;
pub use options::{KeepAlive, ListenOptions, SocketOptions};
pub use reconnecting::{Failure, Reconnecting, Retry};
pub use runtime::{Address, Ends, Listener, Runtime, Transport};
pub use server::{Running, Server, Stopped};
pub use session::{Metrics, SendWait, Session, State};
pub use stream::{Carrier, MessageStream, OpenError, StreamError};
