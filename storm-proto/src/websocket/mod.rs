//! WebSocket (RFC 6455): the handshake, the frames, and the messages made of them.

pub(crate) mod frame;
pub mod handshake;
pub(crate) mod prepared;
pub(crate) mod reader;
pub(crate) mod utf8;

/// Which end of a WebSocket this is: it decides who masks and who closes TCP first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Opened the connection: masks what it sends, takes what is not masked.
    Client,
    /// Accepted the connection: sends without a mask, takes what is masked.
    Server,
}

/// How much one message may cost. Checked at each frame header, before a byte of
/// the payload is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The longest frame payload in bytes; 1 MiB. A longer one closes with 1009.
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
        Limits { frame: 1 << 20, message: 4 << 20, fragments: 1 << 17 }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits::new()
    }
}
