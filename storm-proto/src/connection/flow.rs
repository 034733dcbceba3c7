//! Back-pressure as arithmetic: how many bytes may wait, and when a sender may go on.

/// Bounds on the bytes that were accepted and are not written yet.
///
/// A message is accepted if nothing is queued or if it fits under the limit, so
/// the bound is strict: max(limit, one message). After a refusal the low mark
/// says when there is room again, so that waiting senders do not wake for every
/// byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaterMarks {
    limit: usize,
}

impl WaterMarks {
    /// 1 MiB: what a peer on a slow link may lag behind.
    pub const DEFAULT_LIMIT: usize = 1 << 20;

    /// At most `limit` bytes queued; room again at half of it.
    #[must_use]
    pub const fn new(limit: usize) -> WaterMarks {
        WaterMarks { limit }
    }

    /// The limit in bytes.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The low mark in bytes: half the limit.
    #[must_use]
    pub const fn low(&self) -> usize {
        self.limit / 2
    }

    /// True if `more` bytes may join `queued` ones.
    #[must_use]
    pub const fn fits(&self, queued: usize, more: usize) -> bool {
        queued == 0 || queued.saturating_add(more) <= self.limit
    }
}

impl Default for WaterMarks {
    fn default() -> WaterMarks {
        WaterMarks::new(WaterMarks::DEFAULT_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_the_limit_or_one_message() {
        let marks = WaterMarks::new(100);
        assert!(marks.fits(0, 1000), "a lone message always fits");
        assert!(marks.fits(60, 40));
        assert!(!marks.fits(60, 41));
        assert!(!marks.fits(1, usize::MAX), "no wrap");
        assert_eq!(marks.low(), 50);
    }
}
