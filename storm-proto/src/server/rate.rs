//! How often something may happen.

use core::time::Duration;

use crate::Instant;

/// How often something may happen, or how much of it: a token bucket.
///
/// In any time `t` it happens at most burst + rate x `t` times, wherever `t` begins. The time
/// of one token is a whole number of nanoseconds, rounded up: that matters from some ten
/// million a second on, and a billion is the most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Rate {
    /// The time after which there is one more token.
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// So many a second, 1 at least, and as many at once after a pause.
    pub const fn per_second(n: u32) -> Rate {
        Rate::per(Duration::from_secs(1), n)
    }

    /// So many a minute, 1 at least, and as many at once after a pause.
    pub const fn per_minute(n: u32) -> Rate {
        Rate::per(Duration::from_secs(60), n)
    }

    const fn per(time: Duration, n: u32) -> Rate {
        let n = if n == 0 { 1 } else { n };
        let nanos = (time.as_nanos() as u64).div_ceil(n as u64);
        Rate { interval: Duration::from_nanos(nanos), burst: n }
    }

    /// Sets how many may come at once after a pause, 1 at least.
    pub const fn burst(mut self, n: u32) -> Rate {
        self.burst = if n == 0 { 1 } else { n };
        self
    }

    /// When the bucket would be full again if `n` tokens were taken now from a bucket that is
    /// full at `full_at`; `None` if they are not there to take.
    pub(crate) fn take(self, n: u32, full_at: Instant, now: Instant) -> Option<Instant> {
        let full_next = self.owe(n, full_at, now);
        (full_next - now <= self.time(self.burst)).then_some(full_next)
    }

    /// As [`Rate::take`], with tokens that are not there owed to the bucket.
    pub(crate) fn owe(self, n: u32, full_at: Instant, now: Instant) -> Instant {
        full_at.max(now) + self.time(n)
    }

    /// How long it takes until there is a token in a bucket that is full at `full_at`.
    pub(crate) fn wait(self, full_at: Instant, now: Instant) -> Duration {
        (full_at - now).saturating_sub(self.time(self.burst - 1))
    }

    /// In which time there are `n` more tokens.
    fn time(self, n: u32) -> Duration {
        self.interval.saturating_mul(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_edge_of_a_second_lets_twice_as_many_in() {
        let rate = Rate::per_second(10);
        let mut full_at = Instant::ZERO;
        let mut taken = |millis| {
            let now = Instant::from_millis(millis);
            let mut taken = 0;
            while let Some(next) = rate.take(1, full_at, now) {
                (full_at, taken) = (next, taken + 1);
            }
            taken
        };
        assert_eq!(taken(999), 10);
        assert_eq!(
            [taken(1001), taken(1098), taken(1099), taken(1298), taken(1299)],
            [0, 0, 1, 1, 1]
        );
        assert_eq!([taken(2298), taken(100_000)], [9, 10], "never more than the burst");
    }

    #[test]
    fn rates_have_a_burst_of_their_own_and_none_is_zero() {
        let taken = |rate: Rate| {
            let full = core::iter::successors(Some(Instant::ZERO), |full_at| {
                rate.take(1, *full_at, Instant::ZERO)
            });
            full.take(1000).count() - 1
        };
        for n in [1, 3, 7, 999] {
            assert_eq!(taken(Rate::per_second(n)), n as usize);
            assert_eq!(taken(Rate::per_minute(n)), n as usize);
        }
        assert_eq!(taken(Rate::per_second(7).burst(20)), 20);
        assert_eq!(taken(Rate::per_second(7).burst(0)), 1);
        assert_eq!(taken(Rate::per_second(0)), 1);
        assert_eq!(Rate::per_second(0), Rate::per_second(1));
        assert!(taken(Rate::per_second(u32::MAX)) >= 999, "and no division by zero");
    }

    #[test]
    fn many_are_taken_together_or_not_at_all() {
        let rate = Rate::per_second(1000).burst(100);
        let now = Instant::from_secs(5);
        let full_at = rate.take(60, Instant::ZERO, now).unwrap();
        assert_eq!(rate.take(41, full_at, now), None);
        assert!(rate.take(40, full_at, now).is_some());
        assert!(rate.take(41, full_at, now + Duration::from_millis(1)).is_some());
        assert_eq!(rate.take(101, Instant::ZERO, now), None, "more than it ever holds");
        assert_eq!(rate.take(u32::MAX, Instant::ZERO, now), None);
    }

    #[test]
    fn what_is_owed_is_waited_for() {
        let rate = Rate::per_second(10).burst(3);
        let now = Instant::from_secs(5);
        let mut full_at = Instant::ZERO;
        let mut owe = |n| {
            full_at = rate.owe(n, full_at, now);
            rate.wait(full_at, now)
        };
        assert_eq!([owe(1), owe(1)], [Duration::ZERO; 2], "there is one left");
        assert_eq!([owe(1), owe(1)], [100, 200].map(Duration::from_millis));
        assert_eq!(owe(10), Duration::from_millis(1200));
        let slow = Rate::per_minute(1).burst(u32::MAX);
        slow.wait(slow.owe(u32::MAX, Instant::NEVER, now), now);
    }
}
