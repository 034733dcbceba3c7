//! Storm on smol: TCP and WebSocket servers and clients.
//!
//! Everything that is not a socket, a clock or a spawn lives in [`storm_proto`], whose
//! [`service`](storm_proto::service) this crate runs on smol, or on any executor that it is
//! given: see [`Smol::on`].
//!
//! ```no_run
//! use storm_smol::{Server, WebSocket};
//!
//! fn main() -> std::io::Result<()> {
//!     smol::block_on(
//!         Server::bind("127.0.0.1:8080")
//!             .websocket(WebSocket::default())
//!             .on_message(|session, message| session.send(message))
//!             .serve(),
//!     )
//! }
//! ```
//!
//! There are two doors: a [`Server`] or [`Client`] brings its own sockets and calls a handler; a
//! [`WebSocketStream`] runs over a stream that is there already, and is polled.
#![forbid(unsafe_code)]

mod client;
mod runtime;
mod server;
mod stream;
mod timer;
mod transport;

pub use runtime::Smol;
#[doc(inline)]
pub use storm_proto::facade::*;
pub use stream::{Carried, WebSocketStream};

/// A server on smol; see [`storm_proto::service::Server`].
pub type Server<H = Callbacks> = storm_proto::service::Server<Smol, H>;

/// A server on smol that listens; see [`storm_proto::service::Running`].
pub type Running = storm_proto::service::Running<Smol>;

/// A client on smol; see [`storm_proto::service::Client`].
pub type Client<H = Callbacks> = storm_proto::service::Client<Smol, H>;

/// A client on smol that comes back; see [`storm_proto::service::Reconnecting`].
pub type Reconnecting = storm_proto::service::Reconnecting<Smol>;

/// A client on smol whose messages are asked for; see [`storm_proto::service::Inbox`].
pub type Inbox = storm_proto::service::Inbox<Smol>;
