//! What a connection may do before the other connections of its worker get their turn.
//!
//! A turn ends when the connection has nothing to do, or when its quota is used up: then the
//! task goes to the back of the queue, behind a look for IO (`Transport::yield_now`). The
//! quota is counted in events, bytes and time, because each of them alone leaves a peer or an
//! application a way to keep the worker: a read of 64 KiB holds 10,922 empty pings, a system call
//! may bring a single byte, and one call of a handler may be slow.
//!
//! A thread of its own needs no quota: where calls block, nothing here is asked.

use crate::Instant;

/// Events of one turn: frames, fragments, pings, pongs, messages, empty or not.
///
/// A pipelined echo of 32-byte messages handles about 10 of them in a microsecond, so what a turn
/// costs besides, about a microsecond, is one percent. An input of 1,000 messages is not cut.
pub(crate) const EVENTS: u16 = 1 << 10;

/// Bytes read and written in one turn, judged after each read and write: one read of ordinary
/// size, whose system call costs ten times what it costs to go to the back of the queue.
pub(crate) const BYTES: usize = 64 << 10;

/// What a turn may take, in ticks: about two milliseconds. A handler that is slow, or that sends
/// each message to thousands, has few events in a turn.
pub(crate) const TIME: u32 = 2 << 10;

/// A system call counts as this many events: it takes as long as they do.
const CALL: u16 = 16;

/// The clock is looked at after this many events at the latest: reading it takes as long as a
/// quarter of a small message.
const STRIDE: u16 = 64;

/// Bytes are counted in portions of this size, and those that are inflated out of fewer as one
/// event for each.
const PORTION: usize = BYTES / EVENTS as usize;

/// Packed, since every idle connection has one.
#[derive(Debug)]
pub(crate) struct Quota {
    /// The tick in which the turn began; 0 while that is not known.
    began: u32,
    /// Events until the clock is looked at.
    left: u16,
    /// Events of the turn beyond those.
    beyond: u16,
    /// Portions of bytes.
    portions: u16,
    /// Events until the first look of the next turn: few after a slow one.
    stride: u8,
}

/// A point in time in units of 1,024 ns, which come round after 73 minutes; never 0.
fn tick(at: Instant) -> u32 {
    (at.as_nanos() >> 10) as u32 | 1
}

impl Quota {
    pub(crate) const fn new() -> Quota {
        Quota::of_turn(1)
    }

    #[inline]
    const fn of_turn(stride: u8) -> Quota {
        let left = stride as u16;
        Quota { began: 0, left, beyond: EVENTS - left, portions: EVENTS, stride }
    }

    /// The worker is at work for this connection at `now`.
    #[inline]
    pub(crate) fn begin(&mut self, now: Instant) {
        if self.began == 0 {
            self.began = tick(now);
        }
    }

    /// The worker is given back: what comes next is another turn.
    #[inline]
    pub(crate) fn renew(&mut self) {
        *self = Quota::of_turn(self.stride);
    }

    /// Counts an event.
    #[inline]
    pub(crate) fn event(&mut self) {
        self.left = self.left.saturating_sub(1);
    }

    /// Counts events that others find: they may count this down to 0.
    #[inline]
    pub(crate) fn events(&mut self) -> &mut u16 {
        &mut self.left
    }

    /// Counts a system call that moved `bytes` bytes.
    #[inline]
    pub(crate) fn call(&mut self, bytes: usize) {
        self.charge(CALL);
        self.portions = self.portions.saturating_sub(portions(bytes));
    }

    /// Counts bytes that came out of fewer.
    pub(crate) fn made(&mut self, bytes: usize) {
        self.charge(portions(bytes));
    }

    /// True if nothing is left of it, whatever the time.
    #[cfg(feature = "tls")]
    pub(crate) fn is_empty(&self) -> bool {
        self.portions == 0 || (self.left == 0 && self.beyond == 0)
    }

    fn charge(&mut self, events: u16) {
        let beyond = events.saturating_sub(self.left);
        self.left = self.left.saturating_sub(events);
        self.beyond = self.beyond.saturating_sub(beyond);
    }

    /// True if no more events are to be handled in this turn.
    #[inline]
    pub(crate) fn is_spent(&mut self, clock: fn() -> Instant) -> bool {
        self.left == 0 && !self.goes_on(clock)
    }

    /// True if no more is to be read or written in this turn.
    #[inline]
    pub(crate) fn is_used_up(&mut self, clock: fn() -> Instant) -> bool {
        self.portions == 0 || self.is_spent(clock)
    }

    /// Looks at the clock: the next look comes, at the pace of the events so far, when half of
    /// what is left of the time is over.
    #[cold]
    fn goes_on(&mut self, clock: fn() -> Instant) -> bool {
        let now = clock();
        self.begin(now);
        let took = tick(now).wrapping_sub(self.began);
        let events = u32::from(EVENTS - self.beyond);
        let fit = TIME.saturating_sub(took) * events / took.saturating_mul(2).max(1);
        self.stride = fit.clamp(1, STRIDE.into()) as u8;
        if took >= TIME {
            self.beyond = 0;
        }
        self.left = self.beyond.min(self.stride.into());
        self.beyond -= self.left;
        self.left > 0
    }
}

/// How many portions `bytes` come to.
#[inline]
fn portions(bytes: usize) -> u16 {
    u16::try_from(bytes / PORTION).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::time::Duration;

    use super::*;

    std::thread_local! {
        static NOW: Cell<u64> = const { Cell::new(7) };
    }

    fn clock() -> Instant {
        Instant::from_nanos(NOW.get())
    }

    fn pass(time: Duration) {
        NOW.set(NOW.get() + time.as_nanos() as u64);
    }

    /// The events of a turn in which each takes this long.
    fn turn(quota: &mut Quota, each: Duration) -> u16 {
        let mut events = 0;
        quota.renew();
        quota.begin(clock());
        while !quota.is_spent(clock) {
            quota.event();
            pass(each);
            events += 1;
        }
        assert!(quota.is_used_up(clock));
        events
    }

    #[test]
    fn a_turn_has_1024_events() {
        let mut quota = Quota::new();
        for _ in 0..3 {
            assert_eq!(turn(&mut quota, Duration::ZERO), EVENTS);
        }
    }

    #[test]
    fn a_slow_handler_has_few_events_in_a_turn() {
        let mut quota = Quota::new();
        let micros = Duration::from_micros;
        assert_eq!(turn(&mut quota, micros(4_000)), 1, "the first event of a connection");
        assert_eq!(turn(&mut quota, micros(800)), 3);
        assert!((10..=12).contains(&turn(&mut quota, micros(200))));
        assert_eq!(turn(&mut quota, Duration::ZERO), EVENTS);
        let late = turn(&mut quota, micros(4_000));
        assert!(late <= STRIDE, "{late} events, after which the handler is known to be slow");
        assert_eq!(turn(&mut quota, micros(4_000)), 1);
    }

    #[test]
    fn system_calls_and_inflated_bytes_count_as_events() {
        let mut quota = Quota::new();
        let calls = (1..).find(|_| {
            quota.call(1);
            quota.is_used_up(clock)
        });
        assert_eq!(calls, Some(EVENTS / CALL));
        quota.renew();
        quota.made(BYTES - PORTION);
        assert!(!quota.is_spent(clock));
        quota.made(PORTION);
        assert!(quota.is_spent(clock));
    }

    #[test]
    fn bytes_end_a_turn_between_two_reads_and_not_between_two_events() {
        let mut quota = Quota::new();
        quota.call(BYTES - PORTION);
        assert!(!quota.is_used_up(clock));
        quota.call(usize::MAX);
        assert!(quota.is_used_up(clock));
        assert!(!quota.is_spent(clock), "what was read is handled");
        quota.renew();
        assert!(!quota.is_used_up(clock));
    }

    #[test]
    fn silence_between_two_turns_counts_for_neither() {
        let mut quota = Quota::new();
        for _ in 0..100 {
            quota.renew();
            pass(Duration::from_secs(1));
            quota.event();
            assert!(!quota.is_spent(clock), "the turn begins with the first look at the clock");
        }
    }
}
