//! WebSocket (RFC 6455): the handshake, the frames, and the messages made of them.

#[cfg(feature = "deflate")]
pub(crate) mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
pub(crate) mod deflate;
pub(crate) mod frame;
pub mod handshake;
pub(crate) mod prepared;
pub(crate) mod reader;
pub(crate) mod utf8;

use alloc::string::String;
use alloc::vec::Vec;

use crate::connection::options::Heartbeat;
#[cfg(feature = "deflate")]
pub use deflate::{Agreed, Deflate};
use handshake::HeadLimits;

/// Which end of a WebSocket this is: it decides who masks and who closes TCP first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Opened the connection: masks what it sends, takes what is not masked.
    Client,
    /// Accepted the connection: sends without a mask, takes what is masked.
    Server,
}

/// The settings of a WebSocket.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct WebSocket {
    /// How much one message may cost.
    pub limits: Limits,
    /// How much of an HTTP head is read.
    pub head: HeadLimits,
    /// When to ping, and when to give the peer up.
    pub heartbeat: Heartbeat,
    /// Subprotocols: a server chooses among them, a client offers them, most wanted
    /// first. None by default.
    pub subprotocols: Vec<String>,
    /// Compression, if it is spoken.
    pub(crate) deflate: Option<deflate::Deflate>,
}

impl WebSocket {
    /// The defaults.
    #[must_use]
    pub fn new() -> WebSocket {
        WebSocket::default()
    }

    /// Sets the longest frame payload in bytes that is received; by default a frame may be as
    /// long as a message. Messages are sent as one frame each, so a lower limit of the peer
    /// bounds the messages that can be sent to it.
    #[must_use]
    pub fn max_frame(mut self, bytes: usize) -> WebSocket {
        self.limits.frame = bytes;
        self
    }

    /// Sets the longest message in bytes that is received, fragments added up; 4 MiB by default.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> WebSocket {
        self.limits.message = bytes;
        self
    }

    /// Sets the most fragments of one message; 131,072 by default.
    #[must_use]
    pub fn max_fragments(mut self, count: u32) -> WebSocket {
        self.limits.fragments = count;
        self
    }

    /// Sets how much of an HTTP head is read.
    #[must_use]
    pub fn head(mut self, limits: HeadLimits) -> WebSocket {
        self.head = limits;
        self
    }

    /// Sets when to ping, and when to give the peer up.
    #[must_use]
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> WebSocket {
        self.heartbeat = heartbeat;
        self
    }

    /// Compresses messages if the other side does so as well (RFC 7692): a client offers
    /// it, a server agrees to an offer that fits. Off by default.
    #[cfg(feature = "deflate")]
    #[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
    #[must_use]
    pub fn deflate(mut self, deflate: Deflate) -> WebSocket {
        self.deflate = Some(deflate);
        self
    }

    /// Adds a subprotocol behind those already there.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> WebSocket {
        self.subprotocols.push(name.into());
        self
    }
}

/// How much one message may cost. Checked at each frame header, before a byte of
/// the payload is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The longest frame payload in bytes; `usize::MAX`, which leaves it to the limit of the
    /// message. A longer one closes with 1009.
    pub frame: usize,
    /// The longest message in bytes, fragments added up; 4 MiB. A longer one closes with 1009.
    pub message: usize,
    /// The most fragments of one message, empty ones counted; 131,072. More close with 1008.
    pub fragments: u32,
}

impl Limits {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Limits {
        Limits { frame: usize::MAX, message: 4 << 20, fragments: 1 << 17 }
    }

    /// The longest payload of a frame of a compressed message: what cannot be compressed grows.
    const fn compressed_frame(&self) -> usize {
        self.message.saturating_add(self.message / 16).saturating_add(64)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new()
    }
}
