//! Compression of messages: permessage-deflate (RFC 7692).
//!
//! ```text
//!   terms     what a client offers, what a server answers, what both then keep to
//!   compress  message -> payload of a frame with RSV1, in the order of the sends
//!   inflate   payload -> message, in bounded steps as bytes arrive
//!   once      a broadcast is compressed once, not once for each session
//!   pool      engines that wait for the next message of any connection of the thread
//! ```
//!
//! # What it costs
//!
//! Between two messages a connection keeps what the agreed terms oblige it to keep:
//!
//! | context takeover | what is sent | what is received |
//! |---|---|---|
//! | none | nothing | nothing |
//! | with a window of 15 bits | 288 KiB from the first compressed message on | the last 32 KiB at most |
//! | with a window of 12 bits | 176 KiB | the last 4 KiB at most |
//! | with a window of 9 bits | 162 KiB | the last 512 bytes at most |
//!
//! By default each side sends without context and lets the other one choose. So a connection
//! keeps nothing to send, and up to 32 KiB from the first compressed message that it receives
//! on: some peers (tornado, Mojolicious) ignore a request to do without. A setting of
//! [`Deflate::client_no_context_takeover`] (on a server) or
//! [`Deflate::server_no_context_takeover`] (on a client) saves these 32 KiB, where the peers are
//! known to obey.
//!
//! While a message is under way its connection has an engine: 47 KiB to receive, as much as
//! the table says to send. Without takeover it comes from a pool of the thread and goes back
//! with the end of the message. What is inflated counts against the limit of a message while
//! it is inflated, so a bomb costs what the largest message may cost anyway.
//!
//! # When not to compress
//!
//! What an attacker can choose and a secret do not belong into one message, nor with context
//! takeover into one connection: sizes tell how much they have in common (the attacks called
//! CRIME and BREACH). [`Message::uncompressed`](crate::Message::uncompressed) leaves a
//! message plain and out of the context.
//!
//! # The library
//!
//! zlib-rs by itself: it is safe to call, honours window bits, and needs no other crate;
//! flate2 in front of it would add nothing that is used here. miniz_oxide took 1.6 times as
//! long to inflate 100 kB of JSON and 2.5 times as long to compress it, and has one window
//! size only.

mod compress;
pub(crate) mod inflate;
mod once;
pub(crate) mod pool;
mod terms;

pub(crate) use compress::{Deflater, GROWTH};
pub(crate) use inflate::Inflater;
pub(crate) use once::Once;
pub use terms::Agreed;
pub(crate) use terms::{accept, answer, offer};

/// Smallest window that our compressor can keep to: the 8 bits that RFC 7692 knows as well
/// would silently be 9.
const MIN_BITS: u8 = 9;

/// The window without any agreement.
const MAX_BITS: u8 = 15;

/// The settings of permessage-deflate, the same for servers and clients. Off unless it is
/// given to [`WebSocket::deflate`](crate::WebSocket::deflate); a server answers with it if
/// a client offers it, a client offers it.
///
/// ```
/// use storm_proto::WebSocket;
/// use storm_proto::websocket::Deflate;
///
/// // Small windows, and a context for what this server sends.
/// let deflate = Deflate::new().server_no_context_takeover(false).server_max_window_bits(11);
/// let websocket = WebSocket::new().deflate(deflate);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deflate {
    /// Each side forgets its own by default, and does not ask the other one to.
    server_no_context_takeover: Option<bool>,
    client_no_context_takeover: Option<bool>,
    server_max_window_bits: u8,
    client_max_window_bits: u8,
    level: u8,
    threshold: usize,
}

impl Deflate {
    /// A message of so many bytes fits into one packet of the network with all its headers:
    /// compressed it would arrive no earlier.
    pub const DEFAULT_THRESHOLD: usize = 1024;

    /// Half the time of zlib's usual 6, for messages that are 7 % larger.
    pub const DEFAULT_LEVEL: u8 = 3;

    /// No context for what this side sends, whatever the peer likes for what it sends, windows
    /// of 15 bits: an idle connection keeps nothing to send, and 32 KiB at most to receive.
    #[must_use]
    pub const fn new() -> Deflate {
        Deflate {
            server_no_context_takeover: None,
            client_no_context_takeover: None,
            server_max_window_bits: MAX_BITS,
            client_max_window_bits: MAX_BITS,
            level: Deflate::DEFAULT_LEVEL,
            threshold: Deflate::DEFAULT_THRESHOLD,
        }
    }

    /// Sets whether the server starts each message with an empty window (RFC 7692 section
    /// 7.1.1.1).
    ///
    /// By default a server does, and a client does not ask for it. On a client, true asks for
    /// it, and a connection attempt fails if the server does not agree. False lets the server
    /// keep a context, unless the client asks for none.
    #[must_use]
    pub const fn server_no_context_takeover(mut self, on: bool) -> Deflate {
        self.server_no_context_takeover = Some(on);
        self
    }

    /// Sets whether the client starts each message with an empty window (RFC 7692 section
    /// 7.1.1.2).
    ///
    /// By default a client does, and a server does not ask for it. On a server, true asks for
    /// it; a client that ignores that is closed with 1007 at its second compressed message.
    /// False lets the client keep a context, unless the server asks for none.
    #[must_use]
    pub const fn client_no_context_takeover(mut self, on: bool) -> Deflate {
        self.client_no_context_takeover = Some(on);
        self
    }

    /// The largest window that the server compresses with, as the base-2 logarithm of its
    /// size in bytes: 9 to 15, the default (RFC 7692 section 7.1.2.1). What is outside is
    /// taken as the nearest of these.
    #[must_use]
    pub const fn server_max_window_bits(mut self, bits: u8) -> Deflate {
        self.server_max_window_bits = clamp(bits, MIN_BITS, MAX_BITS);
        self
    }

    /// The largest window that the client compresses with, as above (RFC 7692 section
    /// 7.1.2.2). A server with less than 15 declines offers of clients that do not say that
    /// they can be limited, Firefox among them.
    #[must_use]
    pub const fn client_max_window_bits(mut self, bits: u8) -> Deflate {
        self.client_max_window_bits = clamp(bits, MIN_BITS, MAX_BITS);
        self
    }

    /// How hard to look for repetitions: from 1, fast, to 9, small; 3 by default.
    #[must_use]
    pub const fn level(mut self, level: u8) -> Deflate {
        self.level = clamp(level, 1, 9);
        self
    }

    /// Messages with fewer bytes are not compressed; 1,024 by default.
    #[must_use]
    pub const fn threshold(mut self, bytes: usize) -> Deflate {
        self.threshold = bytes;
        self
    }
}

impl Default for Deflate {
    fn default() -> Deflate {
        Deflate::new()
    }
}

const fn clamp(value: u8, min: u8, max: u8) -> u8 {
    if value < min {
        min
    } else if value > max {
        max
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_outside_of_what_can_be_kept_are_moved_to_the_nearest() {
        let low = Deflate::new().server_max_window_bits(0).client_max_window_bits(8).level(0);
        let least = Deflate::new().server_max_window_bits(9).client_max_window_bits(9).level(1);
        assert_eq!(low, least);
        let high = Deflate::new().server_max_window_bits(16).client_max_window_bits(99).level(10);
        assert_eq!(high, Deflate::new().level(9));
    }
}
