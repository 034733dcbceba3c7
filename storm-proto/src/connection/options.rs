//! What can be set on every connection, whatever it speaks.

use core::time::Duration;

use super::flow::WaterMarks;
use crate::websocket::WebSocket;

/// The settings of a connection. Every limit is finite by default.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// What a WebSocket may cost and how it is kept alive; unused by plain TCP.
    pub websocket: WebSocket,
    /// How many bytes may wait to be written.
    pub marks: WaterMarks,
    /// The deadlines.
    pub timeouts: Timeouts,
}

/// The deadlines of a connection. Every wait has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the accept to the end of the opening (TLS, HTTP, the application's
    /// decision): one deadline that no byte extends; 5 s.
    pub handshake: Duration,
    /// Longest time without a complete message from the peer; `None`, off. Does not end while
    /// this side itself does not read.
    pub idle: Option<Duration>,
    /// Longest time that bytes may wait without one of them moving; 30 s.
    pub stall: Duration,
    /// From the last byte that a closing connection wrote to its end: the peer's Close and
    /// the end of its stream; 5 s. Nothing that the peer sends extends it.
    pub close: Duration,
}

impl Timeouts {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Timeouts {
        Timeouts {
            handshake: Duration::from_secs(5),
            idle: None,
            stall: Duration::from_secs(30),
            close: Duration::from_secs(5),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts::new()
    }
}

/// When to ping and when to give the peer up (WebSocket only).
///
/// Each interval adds one to the missed count and pings; above the allowed number
/// the peer is dead: (missed + 1) intervals of silence. Anything the peer sends
/// sets the count back, not only a Pong; so does progress of a write that was
/// stuck. Intervals in which this side itself does not read are not counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Heartbeat {
    /// Time between two Pings; 30 s. `None` turns the heartbeat off.
    pub interval: Option<Duration>,
    /// Intervals without a sign of life that are forgiven; 3. At least 1 counts: nobody
    /// is dead who had no Ping to answer.
    pub missed: u32,
}

impl Heartbeat {
    /// A Ping every 30 s, three missed ones forgiven.
    #[must_use]
    pub const fn new() -> Heartbeat {
        Heartbeat { interval: Some(Duration::from_secs(30)), missed: 3 }
    }

    /// A Ping each `interval`; at least 1 ms.
    #[must_use]
    pub fn every(interval: Duration) -> Heartbeat {
        Heartbeat { interval: Some(interval.max(Duration::from_millis(1))), ..Heartbeat::new() }
    }

    /// No Pings and no verdict.
    #[must_use]
    pub const fn off() -> Heartbeat {
        Heartbeat { interval: None, missed: 0 }
    }

    /// Forgives so many intervals without a sign of life.
    #[must_use]
    pub const fn missed(mut self, missed: u32) -> Heartbeat {
        self.missed = missed;
        self
    }
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat::new()
    }
}
