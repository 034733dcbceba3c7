//! TCP and WebSocket connections as pure state machines: bytes, messages, time and a seed
//! in; bytes, messages and deadlines out. No socket, no thread, no clock.
//!
//! Most applications want an adapter (`storm-tokio`, `storm-smol`, `storm-std`), which runs the
//! [`service`] layer of this crate on a runtime. This crate by itself is for those who
//! write a library that is to run on any runtime, an adapter for another one, or an event
//! loop of their own.
//!
//! ```text
//!   bytes in  --> [ Receiver ] --> events --> application --> [ Sender ] --> Outbox --> bytes out
//!                      |                                          ^
//!                      +------ pings, closes, faults --> [ Link ]-+--- deadlines <-- time
//! ```
//!
//! # The contract
//!
//! 1. **A function of its inputs.** The same bytes, cut anywhere, give the same events and
//!    the same output. Nothing here reads a clock or draws randomness of its own:
//!    [`Instant`] and [`Random`] are arguments.
//! 2. **Faults of the peer are never `Err`.** They queue the right goodbye and end in one
//!    [`DisconnectReason`], the last word. `Err` is for a misuse by the local caller.
//! 3. **Nothing waits.** A send that does not fit is refused ([`SendError::Full`]); what
//!    waits has a name of its own and a deadline.
//! 4. **Memory is bounded by configuration**, whatever the peer sends: nothing is reserved
//!    on an announced length, and every limit has a name and a default ([`Options`]).
//! 5. **An idle connection owns no buffer.** Scratch space belongs to the caller.
//!
//! # Two machines talk
//!
//! [`Connection`] is a whole connection driven by hand; its documentation has the rules.
//! Here the wire between a client and a server is a `Vec`, and time is a number.
//!
//! ```
//! use storm_proto::websocket::handshake::Offer;
//! use storm_proto::{Connection, Instant, Message, Options, Random, Sender};
//!
//! let now = Instant::from_secs(1);
//! let uri = "ws://server.example/chat".parse().unwrap();
//! let mut server = Connection::server(Options::default(), now);
//! let mut client =
//!     Connection::client(&uri, &Offer::new(), Options::default(), Random::from_seed(1), now).unwrap();
//! client.sender().send("hello").unwrap();
//!
//! let mut answers = Vec::new();
//! for _ in 0..3 {
//!     let mut wire = client.output().collect::<Vec<_>>().concat();
//!     client.written(wire.len(), now);
//!     let mut echo = |sender: &mut Sender, message: Message<'_>| sender.send(message).unwrap();
//!     server.receive(&mut &mut wire[..], now, &mut echo);
//!
//!     let mut wire = server.output().collect::<Vec<_>>().concat();
//!     server.written(wire.len(), now);
//!     let mut note = |_: &mut Sender, message: Message<'_>| answers.push(message.to_owned());
//!     client.receive(&mut &mut wire[..], now, &mut note);
//! }
//! assert_eq!(answers[0].as_text(), Some("hello"));
//!
//! // Thirty seconds later both want to ping.
//! let (at, why) = server.poll_timeout().unwrap();
//! assert_eq!((at, why.name()), (Instant::from_secs(31), "heartbeat"));
//! server.handle_timeout(at);
//! assert_eq!(server.output().next(), Some(&b"\x89\x04\0\0\0\x01"[..]));
//! ```
//!
//! # Features
//!
//! `deflate`, off by default: compression of WebSocket messages (RFC 7692), to be asked for
//! with `WebSocket::deflate`.
//!
//! `tracing` and `metrics`, off by default: what servers and clients do, told to these crates;
//! `docs/observability.md` has the names.
//!
//! # Without std
//!
//! Without the default feature `std` the crate needs `alloc` only, and has everything but
//! the [`service`] layer and `Random::os`.
#![no_std]
#![forbid(unsafe_code)]
// Without std the services are gone, and with them the users of some parts.
#![cfg_attr(not(feature = "std"), allow(dead_code))]
#![cfg_attr(docsrs, feature(doc_cfg))]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod time;
pub use time::Instant;

mod timer;
pub use timer::Timer;

mod histogram;
pub use histogram::Histogram;

mod random;
pub use random::Random;

mod message;
pub use message::{Kind, Message, OwnedMessage};

mod error;
pub use error::{
    CloseError, Error, HandlerError, LocalError, OptionError, ProtocolError, SendError,
    TransportError, TransportErrorKind,
};

pub mod framing;

pub mod websocket;
pub use websocket::WebSocket;
pub use websocket::frame::close::CloseFrame;
pub use websocket::frame::close_code::CloseCode;
pub use websocket::prepared::Prepared;

pub(crate) mod connection;
pub use connection::flow::WaterMarks;
pub use connection::link::{Link, Step};
pub use connection::options::{Heartbeat, Options, Overrides, Timeouts};
pub use connection::outbox::{Outbox, Spare};
pub use connection::reason::{Cause, DisconnectReason, Side};
pub use connection::receiver::{Event, Receiver};
pub use connection::sender::Sender;
pub use connection::slow::{Key, Lag, Loss, SlowConsumer};
pub use connection::{Application, Connection};

pub(crate) mod client;
pub use client::proxy::{Proxy, ProxyError, SocksReply};
pub use client::reconnect::Reconnect;
pub use client::uri::{Scheme, Target, Uri, UriError};

mod contain;

mod extensions;
pub use extensions::Extensions;

pub(crate) mod server;
pub use server::drain::Drain;
pub use server::origins::{OriginError, Origins};
pub use server::rate::Rate;

#[cfg(feature = "std")]
pub mod service;

#[cfg(feature = "tls")]
pub mod tls;

#[cfg(feature = "std")]
pub mod facade;
