//! Storm.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

pub(crate) mod client;
pub(crate) mod connection;
mod error;
mod extensions;
pub mod framing;
mod message;
mod random;
#[cfg(feature = "std")]
pub(crate) mod server;
#[cfg(feature = "std")]
pub mod service;
mod time;
mod timer;
pub mod websocket;

pub use client::uri::{Scheme, Uri, UriError};
pub use connection::flow::WaterMarks;
pub use connection::link::{Link, Step};
pub use connection::options::{Heartbeat, Options, Timeouts};
pub use connection::outbox::{Outbox, Spare};
pub use connection::reason::{Cause, DisconnectReason, Side};
pub use connection::receiver::{Event, Receiver};
pub use connection::sender::Sender;
pub use connection::{Application, Connection};
pub use error::{
    CloseError, Error, LocalError, ProtocolError, SendError, TransportError, TransportErrorKind,
};
pub use extensions::Extensions;
pub use message::{Kind, Message, OwnedMessage};
pub use random::Random;
pub use time::Instant;
pub use timer::Timer;
pub use websocket::WebSocket;
pub use websocket::frame::close::CloseFrame;
pub use websocket::frame::close_code::CloseCode;
pub use websocket::prepared::Prepared;
