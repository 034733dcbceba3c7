//! How much memory the unfinished messages of all connections of a server may take together.
//!
//! A limit for each message bounds a connection, not a server: a few kilobytes of compressed
//! zeros, without their end, pin a whole message on each of as many connections as there are.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::error::ProtocolError;

/// Shared by the connections of a server.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// A part of a budget; dropping it gives the part back.
#[derive(Debug, Default)]
pub(crate) struct Share {
    budget: Option<Arc<Budget>>,
    bytes: usize,
}

/// The memory of a server whose messages are not larger.
pub(crate) const DEFAULT: usize = 256 << 20;

/// What a message takes beside its bytes while it is inflated.
const BESIDE: usize = 64 << 10;

impl Budget {
    /// The budget of a server whose messages have up to `message` bytes: the default if `limit`
    /// is `None`, unlimited if it is 0, and always enough for one message.
    pub(crate) fn for_messages(limit: Option<usize>, message: usize) -> Budget {
        let one = message.saturating_add(message / 4).saturating_add(BESIDE);
        Budget::new(match limit {
            None => DEFAULT.max(one.saturating_mul(4)),
            Some(0) => usize::MAX,
            Some(bytes) => bytes.max(one),
        })
    }

    pub(crate) const fn new(limit: usize) -> Budget {
        Budget { limit, used: AtomicUsize::new(0) }
    }

    /// Counts `bytes` more.
    ///
    /// # Errors
    /// If they are more than what is left; then nothing is counted.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), ProtocolError> {
        if bytes == 0 {
            return Ok(());
        }
        // A number, which publishes nothing: no order is needed.
        let used = self.used.fetch_add(bytes, Ordering::Relaxed);
        if used.saturating_add(bytes) > self.limit {
            self.give(bytes);
            return Err(ProtocolError::ReceiveMemory { limit: self.limit });
        }
        Ok(())
    }

    /// Counts `bytes` less.
    pub(crate) fn give(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Takes `bytes` of a budget, if there is one.
    ///
    /// # Errors
    /// As [`Budget::take`].
    #[cfg_attr(not(feature = "deflate"), allow(dead_code, reason = "only inflating needs it"))]
    pub(crate) fn of(budget: Option<&Arc<Budget>>, bytes: usize) -> Result<Share, ProtocolError> {
        let Some(budget) = budget else { return Ok(Share::default()) };
        budget.take(bytes)?;
        Ok(Share { budget: Some(budget.clone()), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_always_has_room_for_a_message() {
        let limit = |limit, message| Budget::for_messages(limit, message).limit;
        assert_eq!(limit(None, 4 << 20), DEFAULT);
        assert!(limit(None, 1 << 30) > 4 << 30, "the limit of a message alone was raised");
        assert!(limit(Some(1), 4 << 20) > 5 << 20);
        assert_eq!(limit(Some(0), 4 << 20), usize::MAX);
        assert_eq!(limit(None, usize::MAX), usize::MAX);
        let budget = Budget::new(100);
        assert!(budget.take(60).is_ok() && budget.take(41).is_err());
        assert!(budget.take(40).is_ok(), "what was refused is not counted");
    }
}
