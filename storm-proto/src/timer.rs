//! The deadlines of a connection: one table, one next deadline, and the reason for it.

use core::fmt;

use crate::Instant;

/// Why a connection wants to be woken at a certain time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Timer {
    /// The opening (TLS, HTTP upgrade, the application's decision) must be done:
    /// one absolute deadline that no byte extends.
    Handshake,
    /// The next heartbeat is due; also finds out that the peer is dead.
    Ping,
    /// No complete message arrived for the idle timeout.
    Idle,
    /// Bytes are waiting to be written and none moved for the stall timeout.
    Stall,
    /// The closing handshake, and the flush before it, must be done.
    Close,
}

impl Timer {
    const ALL: [Timer; 5] =
        [Timer::Handshake, Timer::Ping, Timer::Idle, Timer::Stall, Timer::Close];

    /// The name used in errors and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Timer::Handshake => "handshake",
            Timer::Ping => "heartbeat",
            Timer::Idle => "idle",
            Timer::Stall => "stall",
            Timer::Close => "close",
        }
    }
}

impl fmt::Display for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One slot for each [`Timer`]; a slot that is not armed holds [`Instant::NEVER`].
#[derive(Clone, Debug)]
pub(crate) struct TimerTable {
    deadlines: [Instant; Timer::ALL.len()],
}

impl TimerTable {
    pub(crate) const fn new() -> TimerTable {
        TimerTable { deadlines: [Instant::NEVER; Timer::ALL.len()] }
    }

    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.deadlines[timer as usize] = at;
    }

    /// Sets a deadline, unless an earlier one is set.
    pub(crate) fn bring_forward(&mut self, timer: Timer, at: Instant) {
        let deadline = &mut self.deadlines[timer as usize];
        *deadline = at.min(*deadline);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.set(timer, Instant::NEVER);
    }

    /// [`Instant::NEVER`] if it is not armed.
    pub(crate) fn get(&self, timer: Timer) -> Instant {
        self.deadlines[timer as usize]
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.get(timer) != Instant::NEVER
    }

    /// The earliest deadline and its reason.
    pub(crate) fn next(&self) -> Option<(Instant, Timer)> {
        let due = |timer: &Timer| self.deadlines[*timer as usize];
        let first = Timer::ALL.into_iter().min_by_key(due)?;
        self.is_set(first).then(|| (due(&first), first))
    }

    /// Takes the earliest timer that is due out of the table.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = self.next()?;
        (at <= now).then(|| {
            self.stop(timer);
            timer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_deadline_comes_first_with_its_reason() {
        let mut table = TimerTable::new();
        assert_eq!(table.next(), None);
        table.set(Timer::Idle, Instant::from_secs(9));
        table.set(Timer::Ping, Instant::from_secs(3));
        assert_eq!(table.next(), Some((Instant::from_secs(3), Timer::Ping)));
        assert_eq!(table.pop_expired(Instant::from_secs(2)), None);
        assert_eq!(table.pop_expired(Instant::from_secs(20)), Some(Timer::Ping));
        assert_eq!(table.pop_expired(Instant::from_secs(20)), Some(Timer::Idle));
        assert_eq!(table.pop_expired(Instant::from_secs(20)), None);
    }

    #[test]
    fn every_timer_has_its_own_slot() {
        for timer in Timer::ALL {
            let mut table = TimerTable::new();
            table.set(timer, Instant::ZERO);
            assert_eq!(table.next(), Some((Instant::ZERO, timer)));
            table.stop(timer);
            assert_eq!(table.next(), None);
        }
    }
}
