//! How much one peer may send: the buckets behind the middleware, with time as an input.

use core::time::Duration;

use super::rate::Rate;
use super::roster::Buckets;
use crate::Instant;

/// What is allowed to each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Allowance {
    pub(crate) messages: Option<Rate>,
    /// Of payload.
    pub(crate) bytes: Option<Rate>,
    pub(crate) control_frames: Option<Rate>,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance {
            messages: Some(Rate::per_second(100)),
            bytes: None,
            control_frames: Some(Rate::per_second(10).burst(100)),
        }
    }
}

/// What one has used of it: the times when the buckets are full.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Used {
    messages: Instant,
    bytes: Instant,
    control_frames: Instant,
    /// Something was refused, and the buckets were never full since.
    exceeded: bool,
}

/// What the buckets say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// There was enough.
    Within,
    /// There was not.
    Exceeded {
        /// For the first time since the buckets were full.
        first: bool,
    },
}

impl Used {
    /// A message arrived, to be refused if there is not enough for it; it then costs nothing.
    pub(crate) fn take(&mut self, allowed: &Allowance, len: usize, now: Instant) -> Verdict {
        self.rest(now);
        let messages = take(allowed.messages, 1, self.messages, now);
        let bytes = take(allowed.bytes, tokens(len), self.bytes, now);
        match (messages, bytes) {
            (Some(messages), Some(bytes)) => {
                (self.messages, self.bytes) = (messages, bytes);
                Verdict::Within
            }
            _ => self.exceed(),
        }
    }

    /// A message arrived, which is taken in any case: how long the next one is to wait.
    pub(crate) fn owe(
        &mut self,
        allowed: &Allowance,
        len: usize,
        now: Instant,
    ) -> (Verdict, Duration) {
        self.rest(now);
        let mut wait = Duration::ZERO;
        for (rate, n, full_at) in [
            (allowed.messages, 1, &mut self.messages),
            (allowed.bytes, tokens(len), &mut self.bytes),
        ] {
            if let Some(rate) = rate {
                *full_at = rate.owe(n, *full_at, now);
                wait = wait.max(rate.wait(*full_at, now));
            }
        }
        let verdict = if wait.is_zero() { Verdict::Within } else { self.exceed() };
        (verdict, wait)
    }

    /// A control frame arrived.
    pub(crate) fn control_frame(&mut self, allowed: &Allowance, now: Instant) -> Verdict {
        self.rest(now);
        match take(allowed.control_frames, 1, self.control_frames, now) {
            Some(full_at) => {
                self.control_frames = full_at;
                Verdict::Within
            }
            None => self.exceed(),
        }
    }

    /// Whoever was silent until all was full begins anew.
    fn rest(&mut self, now: Instant) {
        self.exceeded &= self.full_at() > now;
    }

    fn exceed(&mut self) -> Verdict {
        Verdict::Exceeded { first: !core::mem::replace(&mut self.exceeded, true) }
    }
}

impl Buckets for Used {
    fn full_at(&self) -> Instant {
        self.messages.max(self.bytes).max(self.control_frames)
    }
}

fn take(rate: Option<Rate>, n: u32, full_at: Instant, now: Instant) -> Option<Instant> {
    rate.map_or(Some(full_at), |rate| rate.take(n, full_at, now))
}

fn tokens(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXCEEDED: Verdict = Verdict::Exceeded { first: false };
    const FIRST: Verdict = Verdict::Exceeded { first: true };

    fn allowed(messages: u32, bytes: u32) -> Allowance {
        Allowance {
            messages: Some(Rate::per_second(messages)),
            bytes: Some(Rate::per_second(bytes)),
            control_frames: Some(Rate::per_second(1)),
        }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_secs(100) + Duration::from_millis(millis)
    }

    #[test]
    fn a_message_that_is_refused_costs_neither_message_nor_bytes() {
        let (allowed, mut used) = (allowed(2, 10), Used::default());
        assert_eq!(used.take(&allowed, 8, at(0)), Verdict::Within);
        assert_eq!(used.take(&allowed, 3, at(0)), FIRST, "too many bytes");
        assert_eq!(used.take(&allowed, 2, at(0)), Verdict::Within, "there was a message left");
        assert_eq!(used.take(&allowed, 0, at(0)), EXCEEDED, "too many messages");
        assert_eq!(used.take(&allowed, 10, at(1000)), Verdict::Within);
    }

    #[test]
    fn a_burst_is_told_of_once_until_all_is_full_again() {
        let (allowed, mut used) = (allowed(2, 1000), Used::default());
        let mut take = |millis| used.take(&allowed, 1, at(millis));
        assert_eq!([take(0), take(0), take(0)], [Verdict::Within, Verdict::Within, FIRST]);
        assert_eq!([take(1), take(500), take(501)], [EXCEEDED, Verdict::Within, EXCEEDED]);
        assert_eq!([take(1000), take(1001)], [Verdict::Within, EXCEEDED], "never quite full");
        assert_eq!([take(2000), take(2000), take(2000)], [Verdict::Within, Verdict::Within, FIRST]);
    }

    #[test]
    fn whoever_owes_waits_until_there_is_one_token_of_each_kind() {
        let (allowed, mut used) = (allowed(2, 10), Used::default());
        let mut owe = |len, millis| used.owe(&allowed, len, at(millis));
        let millis = Duration::from_millis;
        assert_eq!(owe(9, 0), (Verdict::Within, millis(0)));
        assert_eq!(owe(0, 0), (FIRST, millis(500)), "for a message");
        assert_eq!(owe(11, 500), (EXCEEDED, millis(600)), "for a byte");
        assert_eq!(owe(0, 1600), (Verdict::Within, millis(0)));
    }

    #[test]
    fn control_frames_have_a_bucket_of_their_own() {
        let (allowed, mut used) = (allowed(1, 1), Used::default());
        assert_eq!(used.take(&allowed, 1, at(0)), Verdict::Within);
        assert_eq!(used.control_frame(&allowed, at(0)), Verdict::Within);
        assert_eq!(used.control_frame(&allowed, at(999)), FIRST);
        assert_eq!(used.control_frame(&allowed, at(1000)), Verdict::Within);
    }

    #[test]
    fn what_has_no_limit_is_not_counted() {
        let none = Allowance { messages: None, bytes: None, control_frames: None };
        let mut used = Used::default();
        for _ in 0..1000 {
            assert_eq!(used.take(&none, usize::MAX, at(0)), Verdict::Within);
            assert_eq!(used.owe(&none, usize::MAX, at(0)), (Verdict::Within, Duration::ZERO));
            assert_eq!(used.control_frame(&none, at(0)), Verdict::Within);
        }
        assert_eq!(used.full_at(), Instant::ZERO);
    }
}
