//! Durations, counted in buckets that double.

use core::fmt;
use core::time::Duration;

/// Bucket 0 is for less than a microsecond, the last one for all from 2^38 us (three days) on.
const BUCKETS: usize = 40;

/// How long things took: a count for each power of two of microseconds.
///
/// It has a fixed size, allocates nothing, and tells a quantile to a factor of two at worst.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Histogram {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Histogram {
        Histogram { buckets: [0; BUCKETS], count: 0, sum: Duration::ZERO, max: Duration::ZERO }
    }

    /// Counts one duration.
    pub const fn record(&mut self, duration: Duration) {
        self.buckets[bucket(duration)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(duration);
        if duration.as_nanos() > self.max.as_nanos() {
            self.max = duration;
        }
    }

    /// How many were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// All of them together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }

    /// The longest; zero if there is none.
    #[must_use]
    pub const fn max(&self) -> Duration {
        self.max
    }

    /// The mean; `None` if nothing was counted.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.sum.as_nanos().checked_div(u128::from(self.count))?;
        Some(Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX)))
    }

    /// Estimates the duration that so many of all do not exceed: `0.5` is the median, `0.99`
    /// leaves out the longest hundredth. `None` if nothing was counted.
    ///
    /// The true one lies in the same bucket: the estimate is at most twice or half of it.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let rank = (quantile.clamp(0.0, 1.0) * self.count as f64) as u64;
        let mut left = rank.min(self.count.checked_sub(1)?);
        for (at, &count) in self.buckets.iter().enumerate() {
            if left < count {
                let (from, to) = bounds(at);
                let within = (to - from).mul_f64((left + 1) as f64 / count as f64);
                return Some((from + within).min(self.max));
            }
            left -= count;
        }
        Some(self.max)
    }

    /// The buckets up to the last one that is used: what is below this duration and not below
    /// that of the bucket before, and how often it was counted.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let used = self.buckets.iter().rposition(|&count| count > 0).map_or(0, |last| last + 1);
        self.buckets[..used].iter().enumerate().map(|(at, &count)| (bounds(at).1, count))
    }
}

/// Which bucket a duration falls into.
const fn bucket(duration: Duration) -> usize {
    let micros = duration.as_micros();
    let bits = (u128::BITS - micros.leading_zeros()) as usize;
    if bits < BUCKETS { bits } else { BUCKETS - 1 }
}

/// Where a bucket begins, and what is beyond it.
fn bounds(at: usize) -> (Duration, Duration) {
    let from = if at == 0 { 0 } else { 1 << (at - 1) };
    (Duration::from_micros(from), Duration::from_micros(1 << at))
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("median", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn of(durations: impl IntoIterator<Item = Duration>) -> Histogram {
        let mut histogram = Histogram::new();
        durations.into_iter().for_each(|duration| histogram.record(duration));
        histogram
    }

    #[test]
    fn an_empty_one_knows_nothing() {
        let empty = Histogram::new();
        assert_eq!((empty.count(), empty.sum(), empty.max()), (0, micros(0), micros(0)));
        assert_eq!((empty.mean(), empty.quantile(0.5)), (None, None));
        assert_eq!(empty.buckets().count(), 0);
    }

    #[test]
    fn each_duration_lies_within_the_bounds_of_its_bucket() {
        let edges = (0..39).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1]);
        for micros in edges {
            let duration = Duration::from_micros(micros);
            let (from, to) = bounds(bucket(duration));
            let last = bucket(duration) == BUCKETS - 1;
            assert!(from <= duration && (duration < to || last), "{duration:?}");
        }
        assert_eq!(bucket(Duration::from_nanos(999)), 0);
        assert_eq!(bucket(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn count_sum_mean_and_maximum_are_exact() {
        let histogram = of([micros(10), micros(30), micros(50)]);
        assert_eq!((histogram.count(), histogram.sum()), (3, micros(90)));
        assert_eq!((histogram.mean(), histogram.max()), (Some(micros(30)), micros(50)));
    }

    #[test]
    fn a_quantile_is_never_off_by_more_than_a_factor_of_two() {
        let histogram = of((1..=1000).map(micros));
        for permille in 0..=1000_u64 {
            let truth = (permille + 1).min(1000) as f64;
            let estimate = histogram.quantile(permille as f64 / 1000.0).unwrap().as_micros() as f64;
            assert!(estimate <= 2.0 * truth && truth <= 2.0 * estimate, "{permille}: {estimate}");
        }
        assert_eq!(histogram.quantile(1.0), Some(micros(1000)), "never beyond the longest");
    }

    #[test]
    fn a_quantile_that_makes_no_sense_is_bounded() {
        let histogram = of([micros(3)]);
        for quantile in [-1.0, 2.0, f64::NAN, f64::INFINITY] {
            assert_eq!(histogram.quantile(quantile), Some(micros(3)));
        }
    }

    #[test]
    fn buckets_hold_all_that_was_counted() {
        let histogram = of([micros(0), micros(1), micros(5), micros(6), Duration::MAX]);
        let buckets: alloc::vec::Vec<_> = histogram.buckets().filter(|(_, n)| *n > 0).collect();
        assert_eq!(buckets[..3], [(micros(1), 1), (micros(2), 1), (micros(8), 2)]);
        assert_eq!(buckets.len(), 4);
        assert_eq!((histogram.sum(), histogram.max()), (Duration::MAX, Duration::MAX));
    }
}
