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
#![forbid(unsafe_code)]

mod client;
mod runtime;
mod server;
mod transport;

pub use runtime::Smol;
pub use storm_proto::framing::{Delimiter, Framer, FramingError, LengthPrefix, Raw};
pub use storm_proto::service::{
    Address, Callbacks, ConnectError, Handler, KeepAlive, Metrics, SendWait, Session,
    SocketOptions, State, Stopped,
};
#[cfg(feature = "deflate")]
#[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
pub use storm_proto::websocket::Deflate;
pub use storm_proto::websocket::handshake::{Accept, Decision, HeadLimits, Request, Response};
pub use storm_proto::websocket::{Limits, WebSocket};
pub use storm_proto::{
    Cause, CloseCode, CloseFrame, DisconnectReason, Error, Heartbeat, Kind, Message, OwnedMessage,
    Prepared, SendError, Side, Timeouts,
};

/// A server on smol; see [`storm_proto::service::Server`].
pub type Server<H = Callbacks> = storm_proto::service::Server<Smol, H>;

/// A server on smol that listens; see [`storm_proto::service::Running`].
pub type Running = storm_proto::service::Running<Smol>;

/// A client on smol; see [`storm_proto::service::Client`].
pub type Client<H = Callbacks> = storm_proto::service::Client<Smol, H>;
