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
#![forbid(unsafe_code)]

mod client;
mod runtime;
mod server;
mod transport;

pub use runtime::Tokio;
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

/// A server on tokio; see [`storm_proto::service::Server`].
pub type Server<H = Callbacks> = storm_proto::service::Server<Tokio, H>;

/// A server on tokio that listens; see [`storm_proto::service::Running`].
pub type Running = storm_proto::service::Running<Tokio>;

/// A client on tokio; see [`storm_proto::service::Client`].
pub type Client<H = Callbacks> = storm_proto::service::Client<Tokio, H>;
