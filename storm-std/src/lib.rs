//! Storm on plain blocking threads: TCP and WebSocket servers and clients without a runtime.
//!
//! Everything that is not a socket, a clock or a thread lives in [`storm_proto`], whose
//! [`service`](storm_proto::service) this crate runs with two threads for each connection.
//! Calls that wait, block; nobody has to write `async`. What waits in other places has a name
//! of its own for threads: [`Session::send_blocking`], [`Session::closed_blocking`].
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
//!
//! A [`Handler`] is written as everywhere; its `async fn`s run on the thread of their session,
//! which they may block. A client can do without one and ask for its messages:
//!
//! ```no_run
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut inbox = storm_std::Client::new("ws://127.0.0.1:8080").open()?;
//!     inbox.session().send("hello")?;
//!     while let Ok(Some(message)) = inbox.next() {
//!         println!("{message:?}");
//!     }
//!     Ok(())
//! }
//! ```
//!
//! There are two doors: a [`Server`] or [`Client`] brings its own sockets and two threads for
//! each; a [`WebSocketStream`] runs over a stream that is there already, on the caller's thread.
//!
//! # What it costs
//!
//! A server takes 1,024 connections if it is not told otherwise
//! ([`Server::max_connections`](storm_proto::service::Server::max_connections)). Of a stack only
//! what is used takes memory; [`Std::stack_size`] sets how much a handler has.
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
