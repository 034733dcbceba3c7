//! The system's clock, for runtimes that have none of their own.

use std::sync::OnceLock;
use std::time::Duration;

use storm_proto::Instant;

/// The time since the first call of this process.
#[must_use]
pub fn now() -> Instant {
    Instant::from_nanos(epoch().elapsed().as_nanos() as u64)
}

/// The point on the system's clock; one too far away to name is a year away.
#[must_use]
pub fn to_std(at: Instant) -> std::time::Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    let since = Duration::from_nanos(at.as_nanos());
    epoch().checked_add(since).unwrap_or_else(|| epoch() + YEAR)
}

fn epoch() -> std::time::Instant {
    static EPOCH: OnceLock<std::time::Instant> = OnceLock::new();
    *EPOCH.get_or_init(std::time::Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_the_same_on_both_clocks() {
        let before = std::time::Instant::now();
        let at = to_std(now());
        assert!(before <= at + Duration::from_micros(1) && at <= std::time::Instant::now());
        assert!(to_std(Instant::from_nanos(u64::MAX)) > std::time::Instant::now());
    }
}
