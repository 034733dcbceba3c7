//! How an accept loop survives errors: retry at once, or after a little while.

use core::time::Duration;

use crate::error::Error;

/// The first pause after an error that will not go away by itself.
pub(crate) const FIRST: Duration = Duration::from_millis(10);

/// The longest pause: a server that ran out of descriptors looks this often.
pub(crate) const LONGEST: Duration = Duration::from_secs(1);

/// The pause after an accept error.
///
/// A connection that died before it was accepted says nothing about the next one. Out of
/// descriptors or memory, trying again at once would only burn the processor.
#[derive(Debug, Default)]
pub(crate) struct AcceptBackoff {
    errors: u32,
}

impl AcceptBackoff {
    /// An accept failed; how long to wait before the next.
    pub(crate) fn failed(&mut self, error: &Error) -> Duration {
        if error.is_departure() {
            return Duration::ZERO;
        }
        let pause = FIRST.saturating_mul(1 << self.errors.min(16)).min(LONGEST);
        self.errors += 1;
        pause
    }

    /// An accept succeeded.
    pub(crate) fn succeeded(&mut self) {
        self.errors = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{TransportError, TransportErrorKind};

    #[test]
    fn pauses_grow_to_a_second_and_start_anew_after_a_success() {
        let mut backoff = AcceptBackoff::default();
        let error = |kind| Error::Transport(TransportError::new(kind, None));
        let mut failed = || backoff.failed(&error(TransportErrorKind::Exhausted)).as_millis();
        let pauses: [u128; 9] = core::array::from_fn(|_| failed());
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.succeeded();
        assert_eq!(backoff.failed(&error(TransportErrorKind::Other)), FIRST);
    }

    #[test]
    fn a_connection_that_died_early_costs_no_pause() {
        let reset = Error::Transport(TransportError::new(TransportErrorKind::Reset, None));
        assert_eq!(AcceptBackoff::default().failed(&reset), Duration::ZERO);
    }
}
