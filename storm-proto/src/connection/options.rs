//! What can be set on every connection, whatever it speaks.

#[cfg(feature = "std")]
use alloc::sync::Arc;
use core::time::Duration;

use super::flow::WaterMarks;
use super::slow::SlowConsumer;
use crate::error::OptionError;
use crate::websocket::WebSocket;

/// The settings of a connection. Every limit is finite by default.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// What a WebSocket may cost and how it is kept alive; unused by plain TCP.
    pub websocket: WebSocket,
    /// How many bytes may wait to be written.
    pub marks: WaterMarks,
    /// What is done with messages that do not fit into that; refused, or waited with.
    pub slow_consumer: SlowConsumer,
    /// How many bytes may be taken from the network before those taken earlier are handled;
    /// `None` is what one read takes at most, 256 KiB. See
    /// [`Server::max_pending_receive`](crate::service::Server::max_pending_receive).
    pub max_pending_receive: Option<usize>,
    /// The deadlines.
    pub timeouts: Timeouts,
}

impl Options {
    /// The most that is read before what was read is handled; 0 sets no limit.
    pub(crate) fn max_read(&self) -> usize {
        self.max_pending_receive.filter(|bytes| *bytes > 0).unwrap_or(usize::MAX)
    }

    /// These options as a connection keeps them: a time of zero that means "off" is off.
    ///
    /// # Errors
    /// If one has a value that nothing could live with. The parts of `websocket` are looked at
    /// only if that is spoken.
    pub(crate) fn checked(mut self, is_websocket: bool) -> Result<Options, OptionError> {
        self.check(is_websocket)?;
        let (idle, heartbeat) = (&mut self.timeouts.idle, &mut self.websocket.heartbeat);
        *idle = idle.filter(|idle| !idle.is_zero());
        *heartbeat = heartbeat.or_off();
        Ok(self)
    }

    /// As [`Options::checked`], for options of a WebSocket that several connections share.
    #[cfg(feature = "std")]
    pub(crate) fn checked_shared(shared: Arc<Options>) -> Result<Arc<Options>, OptionError> {
        let heartbeat = shared.websocket.heartbeat;
        if shared.timeouts.idle != Some(Duration::ZERO) && heartbeat == heartbeat.or_off() {
            shared.check(true)?;
            return Ok(shared);
        }
        Options::clone(&shared).checked(true).map(Arc::new)
    }

    fn check(&self, is_websocket: bool) -> Result<(), OptionError> {
        let Timeouts { handshake, stall, close, .. } = &self.timeouts;
        let WebSocket { limits, head, .. } = &self.websocket;
        let common = [
            ("handshake_timeout", handshake.is_zero()),
            ("stall_timeout", stall.is_zero()),
            ("close_timeout", close.is_zero()),
            ("max_pending_send", self.marks.limit() == 0),
        ];
        let of_websocket = [
            ("max_frame", limits.frame == 0),
            ("max_message", limits.message == 0),
            ("max_fragments", limits.fragments == 0),
            ("head.bytes", head.bytes == 0),
            ("head.line", head.line == 0),
            ("head.headers", head.headers == 0),
        ];
        let of_websocket = of_websocket.into_iter().filter(|_| is_websocket);
        match common.into_iter().chain(of_websocket).find(|(_, is_zero)| *is_zero) {
            Some((option, _)) => Err(OptionError::new(option, OptionError::ZERO)),
            None => Ok(()),
        }
    }
}

/// The deadlines of a connection. Every wait has one.
///
/// None of them may be zero, but for `idle`: a server with one does not start, and a client does
/// not connect.
///
/// What had arrived in time counts, also if this side was suspended beyond the deadline: each is
/// judged after an attempt to write and a look at everything that had arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Timeouts {
    /// From the accept to the end of the opening (TLS, HTTP, the application's
    /// decision): one deadline that no byte extends; 5 s.
    pub handshake: Duration,
    /// Longest time without a complete message from the peer; `None` or zero, off. Does not end while
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

/// Deadlines as they were given to a builder: all at once, and one by one. One that was set by
/// itself counts, whichever call came last.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Deadlines {
    pub(crate) all: Timeouts,
    pub(crate) handshake: Option<Duration>,
    pub(crate) idle: Option<Duration>,
    pub(crate) stall: Option<Duration>,
    pub(crate) close: Option<Duration>,
}

impl Deadlines {
    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts {
            handshake: self.handshake.unwrap_or(self.all.handshake),
            idle: self.idle.or(self.all.idle),
            stall: self.stall.unwrap_or(self.all.stall),
            close: self.close.unwrap_or(self.all.close),
        }
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
    /// Time between two Pings; 30 s. `None` or zero turns the heartbeat off.
    pub interval: Option<Duration>,
    /// Intervals without a sign of life that are forgiven; 3. At least 1 counts: nobody
    /// is dead who had no Ping to answer.
    pub missed: u32,
    /// Answers each Ping of the peer with a Pong (RFC 6455 section 5.5.2); on. Without it the
    /// application owes the Pongs: `Session::pong`, from `Middleware::control`.
    pub auto_pong: bool,
}

impl Heartbeat {
    /// A Ping every 30 s, three missed ones forgiven.
    #[must_use]
    pub const fn new() -> Heartbeat {
        Heartbeat { interval: Some(Duration::from_secs(30)), missed: 3, auto_pong: true }
    }

    /// A Ping each `interval`, at least 1 ms; off if that is zero.
    #[must_use]
    pub fn every(interval: Duration) -> Heartbeat {
        Heartbeat { interval: Some(interval), ..Heartbeat::new() }.or_off()
    }

    /// An interval of zero is off, and a shorter one than 1 ms is 1 ms.
    fn or_off(self) -> Heartbeat {
        let interval = self.interval.filter(|interval| !interval.is_zero());
        Heartbeat { interval: interval.map(|time| time.max(Duration::from_millis(1))), ..self }
    }

    /// Sets whether each Ping of the peer is answered with a Pong; on by default.
    #[must_use]
    pub const fn auto_pong(mut self, auto_pong: bool) -> Heartbeat {
        self.auto_pong = auto_pong;
        self
    }

    /// No Pings and no verdict; Pings of the peer are still answered.
    #[must_use]
    pub const fn off() -> Heartbeat {
        Heartbeat { interval: None, missed: 0, auto_pong: true }
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

/// What differs for one connection: given with [`Accept::overrides`], or set while it is open.
/// What is not set stays as it is.
///
/// All of it takes effect at once: water marks and policy with the next message that is sent,
/// deadlines from now on. Messages that wait already go on waiting, whatever the policy is now.
/// A session of plain TCP, which is not asked for, is best given them in `on_connected`.
///
/// ```
/// # use core::time::Duration;
/// use storm_proto::{Overrides, SlowConsumer};
///
/// let ticker = Overrides::new()
///     .max_pending_send(64 << 10)
///     .slow_consumer(SlowConsumer::KeepLatest)
///     .idle_timeout(None)
///     .stall_timeout(Duration::from_secs(5));
/// ```
///
/// [`Accept::overrides`]: crate::websocket::handshake::Accept::overrides
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[must_use]
pub struct Overrides {
    pub(crate) marks: Option<WaterMarks>,
    pub(crate) slow_consumer: Option<SlowConsumer>,
    pub(crate) heartbeat: Option<Heartbeat>,
    pub(crate) idle: Option<Option<Duration>>,
    pub(crate) stall: Option<Duration>,
}

impl Overrides {
    /// Nothing differs.
    pub const fn new() -> Overrides {
        Overrides { marks: None, slow_consumer: None, heartbeat: None, idle: None, stall: None }
    }

    /// Sets how many bytes may wait to be written; 0 changes nothing. What is read at once depends
    /// on it from the next read on: the answers to what was read before may meet a lower limit.
    pub const fn max_pending_send(mut self, bytes: usize) -> Overrides {
        if bytes > 0 {
            self.marks = Some(WaterMarks::new(bytes));
        }
        self
    }

    /// Sets what is done with messages that do not fit into that.
    pub const fn slow_consumer(mut self, policy: SlowConsumer) -> Overrides {
        self.slow_consumer = Some(policy);
        self
    }

    /// Sets when to ping and when to give the peer up (WebSocket only). Counts anew from now.
    pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Overrides {
        self.heartbeat = Some(heartbeat.or_off());
        self
    }

    /// Sets the longest time without a message from the peer, from now on; `None` or zero is off.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Overrides {
        self.idle = Some(timeout.into().filter(|timeout| !timeout.is_zero()));
        self
    }

    /// Sets the longest time that bytes may wait without one of them moving; of those that wait
    /// already, from now on. Zero changes nothing.
    pub const fn stall_timeout(mut self, timeout: Duration) -> Overrides {
        if !timeout.is_zero() {
            self.stall = Some(timeout);
        }
        self
    }

    /// Both of them: where they set the same, the later one counts.
    pub(crate) fn and(self, later: &Overrides) -> Overrides {
        Overrides {
            marks: later.marks.or(self.marks),
            slow_consumer: later.slow_consumer.or(self.slow_consumer),
            heartbeat: later.heartbeat.or(self.heartbeat),
            idle: later.idle.or(self.idle),
            stall: later.stall.or(self.stall),
        }
    }

    /// What holds with these.
    pub(crate) fn apply(&self, options: &mut Options) {
        let Overrides { marks, slow_consumer, heartbeat, idle, stall } = *self;
        options.marks = marks.unwrap_or(options.marks);
        options.slow_consumer = slow_consumer.unwrap_or(options.slow_consumer);
        options.websocket.heartbeat = heartbeat.unwrap_or(options.websocket.heartbeat);
        options.timeouts.idle = idle.unwrap_or(options.timeouts.idle);
        options.timeouts.stall = stall.unwrap_or(options.timeouts.stall);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_overridden_stays() {
        let second = Duration::from_secs(1);
        let mut options = Options::default();
        Overrides::new().apply(&mut options);
        assert_eq!(options.marks, WaterMarks::default());
        assert_eq!(options.slow_consumer, SlowConsumer::Wait);
        assert_eq!(options.websocket.heartbeat, Heartbeat::new());
        assert_eq!(options.timeouts, Timeouts::new());
        let all = Overrides::new()
            .max_pending_send(7)
            .slow_consumer(SlowConsumer::Drop)
            .heartbeat(Heartbeat::off())
            .idle_timeout(second)
            .stall_timeout(second);
        all.apply(&mut options);
        assert_eq!((options.marks.limit(), options.slow_consumer), (7, SlowConsumer::Drop));
        assert_eq!(options.websocket.heartbeat, Heartbeat::off());
        let Timeouts { idle, stall, close, .. } = options.timeouts;
        assert_eq!((idle, stall, close), (Some(second), second, Timeouts::new().close));
        Overrides::new().idle_timeout(None).apply(&mut options);
        assert_eq!((options.timeouts.idle, options.marks.limit()), (None, 7));
    }
}
