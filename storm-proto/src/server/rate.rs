//! How often something may happen.

use core::time::Duration;

use crate::Instant;

/// A rate: how often something may happen, or how much of it, as a token bucket.
///
/// In any time `t` it happens at most burst + rate x `t` times, wherever `t` begins. The time
/// of one token is a whole number of nanoseconds, rounded up: that matters from some ten
/// million a second on, and a billion a second is the most.
///
/// A rate of nothing, or over no time, allows nothing and is refused by `start()`; see
/// [`Rate::is_valid`].
///
/// ```
/// use core::time::Duration;
/// use storm_proto::Rate;
///
/// let ten_an_hour = Rate::per(10, Duration::from_secs(3600));
/// let bursty = Rate::per_second(20).burst(50);
/// # let _ = (ten_an_hour, bursty);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Rate {
    /// The time after which there is one more token.
    interval: Duration,
    burst: u32,
}

impl Rate {
    /// Allows `n` a second, and `n` at once after a pause.
    pub const fn per_second(n: u32) -> Rate {
        Rate::per(n, Duration::from_secs(1))
    }

    /// Allows `n` a minute, and `n` at once after a pause.
    pub const fn per_minute(n: u32) -> Rate {
        Rate::per(n, Duration::from_secs(60))
    }

    /// Allows `n` in each `window`, such as ten an hour, and `n` at once after a pause.
    ///
    /// No edge of a window lets twice as many through: tokens return one by one, each after
    /// `window / n`. A window of more than 584 years counts as 584 years.
    pub const fn per(n: u32, window: Duration) -> Rate {
        let nanos = window.as_nanos();
        let nanos = if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 };
        let interval = if n == 0 || nanos == 0 {
            Duration::MAX
        } else {
            Duration::from_nanos(nanos.div_ceil(n as u64))
        };
        Rate { interval, burst: n }
    }

    /// Sets how many may come at once after a pause. By default as many as in one window.
    pub const fn burst(mut self, n: u32) -> Rate {
        self.burst = n;
        self
    }

    /// Returns true if the rate ever allows anything.
    ///
    /// False for a count, window or burst of zero.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.burst > 0 && self.interval.as_nanos() != Duration::MAX.as_nanos()
    }

    /// When the bucket would be full again if `n` tokens were taken now from a bucket that is
    /// full at `full_at`; `None` if they are not there to take.
    pub(crate) fn take(self, n: u32, full_at: Instant, now: Instant) -> Option<Instant> {
        let full_next = self.owe(n, full_at, now);
        (self.is_valid() && full_next - now <= self.time(self.burst)).then_some(full_next)
    }

    /// As [`Rate::take`], with tokens that are not there owed to the bucket.
    pub(crate) fn owe(self, n: u32, full_at: Instant, now: Instant) -> Instant {
        full_at.max(now) + self.time(n)
    }

    /// How long it takes until there is a token in a bucket that is full at `full_at`.
    pub(crate) fn wait(self, full_at: Instant, now: Instant) -> Duration {
        (full_at - now).saturating_sub(self.time(self.burst.saturating_sub(1)))
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
    fn rates_have_a_burst_of_their_own_or_their_count() {
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
        assert!(taken(Rate::per_second(u32::MAX)) >= 999);
    }

    #[test]
    fn a_rate_of_zero_allows_nothing_and_is_not_valid() {
        let now = Instant::from_secs(5);
        let windows = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
        let zeros = windows.map(|window| Rate::per(0, window));
        let more = [Rate::per(7, Duration::ZERO), Rate::per_second(7).burst(0)];
        for rate in zeros.into_iter().chain(more) {
            assert!(!rate.is_valid(), "{rate:?}");
            assert_eq!(rate.take(1, Instant::ZERO, now), None, "{rate:?}");
            rate.wait(rate.owe(1, Instant::ZERO, now), now);
        }
        assert!(Rate::per(1, Duration::MAX).is_valid());
    }

    #[test]
    fn a_window_of_any_length_returns_its_tokens_one_by_one() {
        let rate = Rate::per(10, Duration::from_secs(3600));
        let mut full_at = Instant::ZERO;
        let mut taken = |secs| {
            let now = Instant::from_secs(secs);
            let mut taken = 0;
            while let Some(next) = rate.take(1, full_at, now) {
                (full_at, taken) = (next, taken + 1);
            }
            taken
        };
        assert_eq!([taken(7200), taken(7559), taken(7560), taken(9000)], [10, 0, 1, 4]);
        assert_eq!(taken(100_000), 10, "never more than the burst");
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
