//! Storm on tokio: TCP and WebSocket servers and clients.
//!
//! Everything that is not a socket, a clock or a spawn lives in [`storm_proto`], whose
//! [`service`](storm_proto::service) this crate runs on tokio.
//!
//! ```no_run
//! use storm_tokio::{Server, WebSocket};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> std::io::Result<()> {
//!     Server::bind("127.0.0.1:8080")
//!         .websocket(WebSocket::default())
//!         .on_message(|session, message| session.send(message))
//!         .serve()
//!         .await
//! }
//! ```
//!
//! There are two doors: a [`Server`] or [`Client`] brings its own sockets and calls a handler; a
//! [`WebSocketStream`] runs over a stream that is there already, and is polled. A client may
//! come back by itself ([`Reconnecting`]), or ask for its messages ([`Inbox`]).
#![forbid(unsafe_code)]

mod client;
mod runtime;
mod server;
mod stream;
mod timer;
mod transport;

pub use runtime::Tokio;
#[doc(inline)]
pub use storm_proto::facade::*;
pub use stream::{Carried, WebSocketStream};

/// A server on tokio; see [`storm_proto::service::Server`].
pub type Server<H = Callbacks> = storm_proto::service::Server<Tokio, H>;

/// A server on tokio that listens; see [`storm_proto::service::Running`].
pub type Running = storm_proto::service::Running<Tokio>;

/// A client on tokio; see [`storm_proto::service::Client`].
pub type Client<H = Callbacks> = storm_proto::service::Client<Tokio, H>;

/// A client on tokio that comes back; see [`storm_proto::service::Reconnecting`].
pub type Reconnecting = storm_proto::service::Reconnecting<Tokio>;

/// A client on tokio whose messages are asked for; see [`storm_proto::service::Inbox`].
pub type Inbox = storm_proto::service::Inbox<Tokio>;

/// The snippets of the readme are tests.
#[cfg(all(doctest, feature = "tls"))]
#[doc = include_str!("../../README.md")]
struct Readme;

/// And those of the guide to what is counted and told.
#[cfg(doctest)]
#[doc = include_str!("../../docs/observability.md")]
struct Observability;
