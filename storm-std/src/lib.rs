//! Storm on plain blocking threads: TCP and WebSocket servers and clients without a runtime.
//!
//! Everything that is not a socket, a clock or a thread lives in [`storm_proto`], whose
//! [`service`](storm_proto::service) this crate runs with two threads for each connection.
//! Calls that wait, block; nobody has to write `async`.
//!
//! ```no_run
//! use storm_std::{Server, WebSocket};
//!
//! fn main() -> std::io::Result<()> {
//!     Server::bind("127.0.0.1:8080")
//!         .websocket(WebSocket::default())
//!         .on_message(|session, message| session.send(message))
//!         .serve()
//! }
//! ```
#![forbid(unsafe_code)]

mod client;
mod runtime;
mod server;
mod stream;
mod timer;
mod transport;

pub use runtime::Std;
#[doc(inline)]
pub use storm_proto::facade::*;
pub use stream::{Carried, WebSocketStream};

/// A server on threads; see [`storm_proto::service::Server`].
pub type Server<H = Callbacks> = storm_proto::service::Server<Std, H>;

/// A server on threads that listens; see [`storm_proto::service::Running`].
pub type Running = storm_proto::service::Running<Std>;

/// A client on threads; see [`storm_proto::service::Client`].
pub type Client<H = Callbacks> = storm_proto::service::Client<Std, H>;

/// A client on threads that comes back; see [`storm_proto::service::Reconnecting`].
pub type Reconnecting = storm_proto::service::Reconnecting<Std>;

/// A client on threads whose messages are asked for; see [`storm_proto::service::Inbox`].
pub type Inbox = storm_proto::service::Inbox<Std>;
