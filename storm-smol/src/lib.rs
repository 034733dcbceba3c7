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
mod transport;

pub use runtime::Smol;
pub use storm_proto::framing::{Delimiter, Framer, FramingError, LengthPrefix, Raw};
pub use storm_proto::service::{
    Address, Callbacks, ConnectError, Handler, KeepAlive, MessageStream, Metrics, OpenError,
    SendWait, Session, SocketOptions, State, Stopped, StreamError,
};
pub use storm_proto::websocket::handshake::{
    Accept, Decision, HeadLimits, Offer, Request, Response,
};
pub use storm_proto::websocket::{Limits, Role, WebSocket};
pub use storm_proto::{
    Cause, CloseCode, CloseFrame, DisconnectReason, Error, Heartbeat, Kind, Message, Options,
    OwnedMessage, Prepared, SendError, Side, Timeouts, Uri, WaterMarks,
};
pub use stream::{Carried, WebSocketStream};

/// A server on smol; see [`storm_proto::service::Server`].
pub type Server<H = Callbacks> = storm_proto::service::Server<Smol, H>;

/// A server on smol that listens; see [`storm_proto::service::Running`].
pub type Running = storm_proto::service::Running<Smol>;

/// A client on smol; see [`storm_proto::service::Client`].
pub type Client<H = Callbacks> = storm_proto::service::Client<Smol, H>;
