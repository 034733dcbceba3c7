//! What can be set on sockets.

use core::time::Duration;

use crate::error::OptionError;

/// The socket options of accepted and connected sockets. All are really applied;
/// `None` leaves what the operating system has.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SocketOptions {
    /// TCP_NODELAY: no waiting for more bytes to join; on. Writes are batched already.
    pub nodelay: bool,
    /// SO_KEEPALIVE: probes that find a dead peer below the protocol; on.
    pub keep_alive: Option<KeepAlive>,
    /// SO_RCVBUF in bytes, not 0.
    pub receive_buffer: Option<usize>,
    /// SO_SNDBUF in bytes, not 0.
    pub send_buffer: Option<usize>,
}

impl SocketOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> SocketOptions {
        SocketOptions {
            nodelay: true,
            keep_alive: Some(KeepAlive::new()),
            receive_buffer: None,
            send_buffer: None,
        }
    }

    /// Sets TCP_NODELAY.
    #[must_use]
    pub const fn nodelay(mut self, on: bool) -> SocketOptions {
        self.nodelay = on;
        self
    }

    /// Sets or turns off SO_KEEPALIVE.
    #[must_use]
    pub const fn keep_alive(mut self, keep_alive: Option<KeepAlive>) -> SocketOptions {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets SO_RCVBUF in bytes.
    #[must_use]
    pub const fn receive_buffer(mut self, bytes: usize) -> SocketOptions {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Sets SO_SNDBUF in bytes.
    #[must_use]
    pub const fn send_buffer(mut self, bytes: usize) -> SocketOptions {
        self.send_buffer = Some(bytes);
        self
    }
}

impl SocketOptions {
    /// Refuses what the system would refuse for each connection, or take as something else.
    pub(crate) fn check(&self) -> Result<(), OptionError> {
        // What fits into the fields of all systems.
        const TIME: &str = "must be 1 to 32,767 s";
        const SECONDS: core::ops::RangeInclusive<u64> = 1..=32_767;
        for (option, bytes) in
            [("receive_buffer", self.receive_buffer), ("send_buffer", self.send_buffer)]
        {
            if bytes == Some(0) {
                return Err(OptionError::new(option, OptionError::ZERO));
            }
        }
        let Some(KeepAlive { idle, interval, count }) = self.keep_alive else { return Ok(()) };
        for (option, time) in [("keep_alive.idle", idle), ("keep_alive.interval", interval)] {
            if time.is_some_and(|time| !SECONDS.contains(&time.as_secs())) {
                return Err(OptionError::new(option, TIME));
            }
        }
        match count {
            Some(0 | 128..) => Err(OptionError::new("keep_alive.count", "must be 1 to 127")),
            _ => Ok(()),
        }
    }
}

impl Default for SocketOptions {
    fn default() -> SocketOptions {
        SocketOptions::new()
    }
}

/// The probes of SO_KEEPALIVE. `None` leaves what the operating system has (on Linux
/// two hours, 75 s and nine probes).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KeepAlive {
    /// Silence before the first probe; whole seconds, 1 to 32,767.
    pub idle: Option<Duration>,
    /// Time between two probes; whole seconds, 1 to 32,767.
    pub interval: Option<Duration>,
    /// Probes without an answer until the connection counts as dead; 1 to 127.
    pub count: Option<u32>,
}

impl KeepAlive {
    /// As the operating system has it.
    #[must_use]
    pub const fn new() -> KeepAlive {
        KeepAlive { idle: None, interval: None, count: None }
    }

    /// Sets the silence before the first probe.
    #[must_use]
    pub const fn idle(mut self, idle: Duration) -> KeepAlive {
        self.idle = Some(idle);
        self
    }

    /// Sets the time between two probes.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> KeepAlive {
        self.interval = Some(interval);
        self
    }

    /// Sets the number of probes.
    #[must_use]
    pub const fn count(mut self, count: u32) -> KeepAlive {
        self.count = Some(count);
        self
    }
}

impl Default for KeepAlive {
    fn default() -> KeepAlive {
        KeepAlive::new()
    }
}

/// What a listener is bound with.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// How many connections may wait to be accepted; 1024. The system has a limit of its
    /// own (on Linux `net.core.somaxconn`).
    pub backlog: u32,
    /// An IPv6 listener that takes IPv4 peers too (IPV6_V6ONLY off); off.
    pub dual_stack: bool,
    /// The permission bits of the file of a Unix socket, such as `0o660`; `None` leaves what the
    /// umask makes. They are set before the first connection can come.
    pub unix_mode: Option<u32>,
    /// What accepted sockets get.
    pub socket: SocketOptions,
}

impl ListenOptions {
    /// The defaults.
    #[must_use]
    pub const fn new() -> ListenOptions {
        ListenOptions {
            backlog: 1024,
            dual_stack: false,
            unix_mode: None,
            socket: SocketOptions::new(),
        }
    }
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions::new()
    }
}
