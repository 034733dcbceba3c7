//! Whether and when a client comes back (RFC 6455 section 7.2.3).
//!
//! A server that restarts loses all its clients at once. Were they all to return after the
//! same time, they would fell it again; so every delay is drawn at random, and the range it
//! is drawn from grows with every failure.

use core::time::Duration;

use crate::Instant;
use crate::error::OptionError;
use crate::random::Random;
use crate::websocket::handshake::{HandshakeError, Headers};

/// How much of a `Retry-After` is heeded: a server that names a longer time has made a
/// mistake, or is worth a look before that.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_secs(5 * 60);

/// How a client comes back after a failed connect or a lost session.
///
/// The delay before a retry is drawn evenly from zero to a ceiling ("full jitter"). The
/// ceiling starts at `initial` and is multiplied by `factor` with each failure in a row, up
/// to `cap`. A server that asks for more with `Retry-After` gets that much on top of the
/// drawn delay, but no more than five minutes.
///
/// What another try cannot cure is not tried again; see
/// [`ConnectError::is_retryable`](crate::service::ConnectError::is_retryable).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Reconnect {
    /// The ceiling of the first delay; 500 ms. Must not be zero.
    pub initial: Duration,
    /// The highest ceiling, not zero; 30 s: a server that is back is found within this time.
    pub cap: Duration,
    /// What each failure multiplies the ceiling by; 2. At least 1 counts.
    pub factor: u32,
    /// How many retries in a row may fail until the client gives up; `None` or 0, never. The
    /// first connect is not a retry: 3 means up to four connects.
    pub max_attempts: Option<u32>,
    /// How long a session must have been open to prove that all is well again; 10 s. Loss of
    /// one that was open for less counts as another failure in the row, so that a server
    /// that accepts and closes is not hammered.
    pub stable_after: Duration,
    /// Whether a delay is drawn at random below its ceiling, or is the ceiling; true.
    pub jitter: bool,
}

impl Reconnect {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Reconnect {
        Reconnect {
            initial: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            factor: 2,
            max_attempts: None,
            stable_after: Duration::from_secs(10),
            jitter: true,
        }
    }

    /// The same delay before every retry, without growth and without chance.
    ///
    /// Use it where few clients share a server: many that lose it at once come back at once.
    #[must_use]
    pub const fn fixed(delay: Duration) -> Reconnect {
        Reconnect { initial: delay, cap: delay, factor: 1, jitter: false, ..Reconnect::new() }
    }

    /// Sets whether delays are drawn at random below their ceiling.
    #[must_use]
    pub const fn jitter(mut self, on: bool) -> Reconnect {
        self.jitter = on;
        self
    }

    /// Sets the ceiling of the first delay.
    #[must_use]
    pub const fn initial(mut self, ceiling: Duration) -> Reconnect {
        self.initial = ceiling;
        self
    }

    /// Sets the highest ceiling.
    #[must_use]
    pub const fn cap(mut self, ceiling: Duration) -> Reconnect {
        self.cap = ceiling;
        self
    }

    /// Sets what each failure multiplies the ceiling by.
    #[must_use]
    pub const fn factor(mut self, factor: u32) -> Reconnect {
        self.factor = factor;
        self
    }

    /// Gives up when `attempts` retries in a row have failed; 0 means never.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Reconnect {
        self.max_attempts = Some(attempts);
        self
    }

    /// Sets how long a session must have been open for its loss to start a new row.
    #[must_use]
    pub const fn stable_after(mut self, open: Duration) -> Reconnect {
        self.stable_after = open;
        self
    }
}

impl Reconnect {
    /// Refuses delays that are always zero: such a client would hammer its server.
    pub(crate) fn check(&self) -> Result<(), OptionError> {
        for (option, time) in [("initial", self.initial), ("cap", self.cap)] {
            if time.is_zero() {
                return Err(OptionError::new(option, OptionError::ZERO));
            }
        }
        Ok(())
    }
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect::new()
    }
}

/// What a failed connect says about the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It may succeed; not before `after`, if the server asked for that.
    Retry { after: Option<Duration> },
    /// It would fail in the same way.
    Final,
}

impl Verdict {
    /// A failure that may pass by itself.
    pub(crate) const RETRY: Verdict = Verdict::Retry { after: None };

    /// Whoever does not speak WebSocket, or not as was asked, will not learn it: only a
    /// refusal may pass, and an answer that was cut off.
    pub(crate) fn of_handshake(error: &HandshakeError) -> Verdict {
        match error {
            HandshakeError::Refused(refusal) if is_passing(refusal.status) => {
                Verdict::Retry { after: retry_after(&refusal.headers) }
            }
            HandshakeError::EndOfStream => Verdict::RETRY,
            _ => Verdict::Final,
        }
    }
}

/// True for a status that speaks of the moment and not of the request: a request time-out,
/// too early, too many requests, and what ails the server itself. Redirects are not followed.
pub(crate) const fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// The seconds of a `Retry-After` (RFC 9110 section 10.2.3). A date is passed over: nobody
/// here knows today's.
fn retry_after(headers: &Headers) -> Option<Duration> {
    let text = headers.get_str("Retry-After")?.trim_matches([' ', '\t']);
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Digits that are no number are a very large one.
    Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

/// What a client does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Wait, then connect: the retry with this number in its row, from 1.
    Wait { delay: Duration, attempt: u32 },
    /// Nothing: this was the last word.
    GiveUp,
}

/// Counts the failures of a client in a row. It knows nothing of an application that wants
/// to stop; that ends the wait, whatever was said here.
#[derive(Debug)]
pub(crate) struct Backoff {
    options: Reconnect,
    random: Random,
    /// Failures in a row.
    failures: u32,
    /// The longest that the next delay can be.
    ceiling: Duration,
    /// Since when a session is open.
    open_since: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(options: Reconnect, random: Random) -> Backoff {
        let mut backoff =
            Backoff { options, random, failures: 0, ceiling: Duration::ZERO, open_since: None };
        backoff.start_anew();
        backoff
    }

    /// A session is open.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.open_since = Some(now);
    }

    /// The session is lost, to whatever: a dead peer as much as a Close.
    pub(crate) fn lost(&mut self, now: Instant) -> Next {
        let open = self.open_since.take().map(|since| now - since);
        if open.is_some_and(|open| open >= self.options.stable_after) {
            self.start_anew();
        }
        self.failed(Verdict::RETRY)
    }

    /// A connect failed, the first one or a retry.
    pub(crate) fn failed(&mut self, verdict: Verdict) -> Next {
        let Verdict::Retry { after } = verdict else { return Next::GiveUp };
        self.failures = self.failures.saturating_add(1);
        if self.options.max_attempts.is_some_and(|max| max > 0 && self.failures > max) {
            return Next::GiveUp;
        }
        // On top and not at least: all clients may have been told the same.
        let asked = after.unwrap_or_default().min(MAX_RETRY_AFTER);
        let drawn = match self.options.jitter {
            true => up_to(self.ceiling, &mut self.random),
            false => self.ceiling,
        };
        let delay = asked.saturating_add(drawn);
        let ceiling = self.ceiling.saturating_mul(self.options.factor.max(1));
        self.ceiling = ceiling.min(self.options.cap);
        Next::Wait { delay, attempt: self.failures }
    }

    fn start_anew(&mut self) {
        self.failures = 0;
        self.ceiling = self.options.initial.min(self.options.cap);
    }
}

/// A time from zero to `ceiling`, every nanosecond as likely as any other; a ceiling of
/// centuries is cut to 584 years.
fn up_to(ceiling: Duration, random: &mut Random) -> Duration {
    let nanos = ceiling.as_nanos().min(u128::from(u64::MAX));
    let drawn = u128::from(u64::from_le_bytes(random.bytes()));
    // A fraction of the range, drawn / 2^64; the product stays below 2^128.
    let nanos = (drawn * (nanos + 1)) >> 64;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::handshake::{ClientHandshake, HeadLimits, Offer};
    use alloc::string::String;
    use alloc::vec::Vec;

    const RETRY: Verdict = Verdict::RETRY;

    /// Draws the ceiling of every delay.
    fn highest(options: Reconnect) -> Backoff {
        Backoff::new(options, Random::new(|bytes| bytes.fill(0xFF)))
    }

    /// Draws zero.
    fn lowest(options: Reconnect) -> Backoff {
        Backoff::new(options, Random::new(|bytes| bytes.fill(0)))
    }

    fn wait(millis: u64, attempt: u32) -> Next {
        Next::Wait { delay: Duration::from_millis(millis), attempt }
    }

    fn delay(next: Next) -> Duration {
        match next {
            Next::Wait { delay, .. } => delay,
            Next::GiveUp => panic!("given up"),
        }
    }

    fn asked(secs: u64) -> Verdict {
        Verdict::Retry { after: Some(Duration::from_secs(secs)) }
    }

    #[test]
    fn ceilings_double_from_half_a_second_to_half_a_minute() {
        let mut backoff = highest(Reconnect::new());
        let ceilings: [u128; 9] =
            core::array::from_fn(|_| delay(backoff.failed(RETRY)).as_millis());
        assert_eq!(ceilings, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn delays_are_spread_evenly_from_zero_to_the_ceiling() {
        assert_eq!(lowest(Reconnect::new()).failed(RETRY), wait(0, 1));
        let mut tenths = [0; 10];
        for seed in 0..10_000 {
            let mut backoff = Backoff::new(Reconnect::new(), Random::from_seed(seed));
            let millis = delay(backoff.failed(RETRY)).as_millis();
            tenths[usize::try_from(millis / 50).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (900..1100).contains(count)), "{tenths:?}");
    }

    #[test]
    fn a_session_that_was_open_for_long_starts_the_row_anew() {
        for (open, next) in [(9_999, wait(4000, 4)), (10_000, wait(500, 1))] {
            let mut backoff = highest(Reconnect::new());
            for _ in 0..3 {
                backoff.failed(RETRY);
            }
            backoff.connected(Instant::from_secs(60));
            let lost = Instant::from_millis(60_000 + open);
            assert_eq!(backoff.lost(lost), next, "open for {open} ms");
        }
    }

    #[test]
    fn only_a_session_that_opened_can_have_been_open_for_long() {
        let mut backoff = highest(Reconnect::new());
        backoff.connected(Instant::ZERO);
        assert_eq!(backoff.lost(Instant::from_secs(60)), wait(500, 1));
        assert_eq!(backoff.lost(Instant::from_secs(120)), wait(1000, 2));
    }

    #[test]
    fn a_server_that_accepts_and_closes_is_not_hammered() {
        let mut backoff = Backoff::new(Reconnect::new(), Random::from_seed(1));
        let (mut now, mut connects) = (Instant::ZERO, 0);
        while now < Instant::from_secs(3600) {
            backoff.connected(now);
            connects += 1;
            now += Duration::from_millis(5);
            now += delay(backoff.lost(now));
        }
        // About one in 15 s, the mean below the cap.
        assert!((200..300).contains(&connects), "{connects}");
    }

    #[test]
    fn so_many_attempts_are_so_many_retries_after_the_first_connect() {
        for max in [1, 2, 5] {
            let mut backoff = lowest(Reconnect::new().max_attempts(max));
            for attempt in 1..=max {
                assert_eq!(backoff.failed(RETRY), wait(0, attempt));
            }
            assert_eq!(backoff.failed(RETRY), Next::GiveUp);
            assert_eq!(backoff.failed(RETRY), Next::GiveUp);
        }
    }

    #[test]
    fn attempts_come_back_after_a_stable_session_only() {
        let mut backoff = lowest(Reconnect::new().max_attempts(1));
        assert_eq!(backoff.failed(RETRY), wait(0, 1));
        backoff.connected(Instant::ZERO);
        assert_eq!(backoff.lost(Instant::from_secs(10)), wait(0, 1));
        backoff.connected(Instant::from_secs(10));
        assert_eq!(backoff.lost(Instant::from_secs(11)), Next::GiveUp);
    }

    #[test]
    fn what_another_try_cannot_cure_is_given_up_at_once() {
        assert_eq!(highest(Reconnect::new()).failed(Verdict::Final), Next::GiveUp);
    }

    #[test]
    fn no_delay_is_shorter_than_the_server_asked_for_and_none_is_the_same_for_all() {
        assert_eq!(lowest(Reconnect::new()).failed(asked(7)), wait(7000, 1));
        assert_eq!(highest(Reconnect::new()).failed(asked(7)), wait(7500, 1));
        assert_eq!(lowest(Reconnect::new()).failed(asked(299)), wait(299_000, 1));
        assert_eq!(lowest(Reconnect::new()).failed(asked(u64::MAX)), wait(300_000, 1));
    }

    #[test]
    fn what_was_asked_for_once_does_not_last() {
        let mut backoff = highest(Reconnect::new());
        assert_eq!(backoff.failed(asked(60)), wait(60_500, 1));
        assert_eq!(backoff.failed(RETRY), wait(1000, 2));
    }

    #[test]
    fn no_number_of_failures_and_no_option_overflows() {
        let options = Reconnect::new()
            .initial(Duration::MAX)
            .cap(Duration::MAX)
            .factor(u32::MAX)
            .max_attempts(u32::MAX);
        let mut backoff = highest(options);
        backoff.failures = u32::MAX - 1;
        for _ in 0..3 {
            let next = backoff.failed(asked(u64::MAX));
            assert!(matches!(next, Next::Wait { attempt: u32::MAX, .. }), "{next:?}");
        }
    }

    #[test]
    fn strange_options_still_mean_something() {
        let mut still = highest(Reconnect::new().factor(0));
        assert_eq!([still.failed(RETRY), still.failed(RETRY)], [wait(500, 1), wait(500, 2)]);
        let mut low = highest(Reconnect::new().cap(Duration::from_millis(20)));
        assert_eq!([low.failed(RETRY), low.failed(RETRY)], [wait(20, 1), wait(20, 2)]);
        let mut none = highest(Reconnect::new().initial(Duration::ZERO));
        assert_eq!([none.failed(RETRY), none.failed(RETRY)], [wait(0, 1), wait(0, 2)]);
    }

    /// What a client makes of an answer and the end of the stream.
    fn verdict(answer: &str) -> Verdict {
        let uri = "ws://h/".parse().unwrap();
        let mut random = Random::from_seed(1);
        let (mut handshake, _) =
            ClientHandshake::new(&uri, &Offer::new(), HeadLimits::new(), &mut random).unwrap();
        match handshake.receive(&mut answer.as_bytes()) {
            Some(result) => Verdict::of_handshake(&result.unwrap_err()),
            None => Verdict::of_handshake(&handshake.end_of_stream()),
        }
    }

    fn refused(status: u16, headers: &str) -> Verdict {
        let head: String = alloc::format!("HTTP/1.1 {status} x\r\n{headers}\r\n");
        verdict(&head)
    }

    #[test]
    fn a_status_is_retried_if_it_speaks_of_the_moment() {
        let retried: Vec<_> =
            (200..600).filter(|&status| refused(status, "") != Verdict::Final).collect();
        let expected: Vec<_> = [408, 425, 429].into_iter().chain(500..600).collect();
        assert_eq!(retried, expected);
    }

    #[test]
    fn an_answer_that_was_cut_off_is_retried_and_one_that_is_wrong_is_not() {
        for cut in ["", "HTTP/1.1 101 Switching Protocols\r\nUpgr"] {
            assert_eq!(verdict(cut), RETRY, "{cut}");
        }
        for wrong in ["SSH-2.0\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n"] {
            assert_eq!(verdict(wrong), Verdict::Final, "{wrong}");
        }
        assert_eq!(Verdict::of_handshake(&HandshakeError::InvalidSubprotocol), Verdict::Final);
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        let after = |value: &str| match refused(503, &alloc::format!("Retry-After: {value}\r\n")) {
            Verdict::Retry { after } => after.map(|after| after.as_secs()),
            Verdict::Final => panic!("{value}"),
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("0"), Some(0));
        assert_eq!(after("007 "), Some(7));
        assert_eq!(after("99999999999999999999999999"), Some(u64::MAX));
        for passed_over in ["", "-1", "+1", "1.5", "soon", "Fri, 31 Dec 1999 23:59:59 GMT"] {
            assert_eq!(after(passed_over), None, "{passed_over}");
        }
        assert_eq!(refused(403, "Retry-After: 1\r\n"), Verdict::Final);
    }
}
