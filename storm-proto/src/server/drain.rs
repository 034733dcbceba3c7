//! How a server ends: who is told to go, and when.

use core::time::Duration;

use crate::Instant;
use crate::websocket::frame::close_code::CloseCode;
use crate::websocket::handshake::Response;

/// Between two waves. Shorter ones would wake for few sessions each, longer ones let many
/// clients come back together.
const STEP: Duration = Duration::from_millis(100);

/// How a server is shut down: see `Running::shutdown`.
///
/// ```
/// # use core::time::Duration;
/// # use storm_proto::{CloseCode, Drain};
/// let drain = Drain::new()
///     .within(Duration::from_secs(60))
///     .over(Duration::from_secs(20))
///     .retry_after(Duration::from_secs(15))
///     .code(CloseCode::SERVICE_RESTART);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "it says how; `shutdown` does it"]
pub struct Drain {
    pub(crate) within: Duration,
    pub(crate) over: Duration,
    pub(crate) retry_after: Duration,
    pub(crate) code: CloseCode,
}

impl Drain {
    /// All within 30 s, sessions closed over 10 s with 1001, newcomers sent away for 5 s.
    pub const fn new() -> Drain {
        Drain {
            within: Duration::from_secs(30),
            over: Duration::from_secs(10),
            retry_after: Duration::from_secs(5),
            code: CloseCode::GOING_AWAY,
        }
    }

    /// All at once, as a plain stop does.
    pub(crate) const fn at_once(within: Duration) -> Drain {
        Drain { within, over: Duration::ZERO, ..Drain::new() }
    }

    /// Sets the one deadline over everything; 30 s. What is left then is cut off.
    pub const fn within(mut self, time: Duration) -> Drain {
        self.within = time;
        self
    }

    /// Sets the time over which sessions are closed, ten waves a second; 10 s. At most all of
    /// [`Drain::within`] counts, and the last ones need some of it to answer. Clients that come
    /// back do not come all at once then.
    pub const fn over(mut self, time: Duration) -> Drain {
        self.over = time;
        self
    }

    /// Sets what those who want in meanwhile are told with their 503: when to come back, in
    /// whole seconds, rounded up; 5 s.
    pub const fn retry_after(mut self, time: Duration) -> Drain {
        self.retry_after = time;
        self
    }

    /// Sets the code of the Close frames; [`CloseCode::GOING_AWAY`]. With
    /// [`CloseCode::SERVICE_RESTART`] clients know that it is worth to come back. A code that
    /// may not be sent counts as the default.
    pub const fn code(mut self, code: CloseCode) -> Drain {
        self.code = if code.is_sendable() { code } else { CloseCode::GOING_AWAY };
        self
    }

    /// What newcomers are told.
    pub(crate) fn refusal(&self) -> Response {
        let seconds = self.retry_after.as_secs() + u64::from(self.retry_after.subsec_nanos() > 0);
        Response::refusal(503, "the server is stopping\n")
            .header("Retry-After", alloc::format!("{seconds}"))
    }
}

impl Default for Drain {
    fn default() -> Drain {
        Drain::new()
    }
}

/// Who is due when: so many sessions in even waves, the first at once and the last when the
/// time is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waves {
    sessions: usize,
    begun: Instant,
    over: Duration,
    /// How many come after the first.
    more: u128,
}

impl Waves {
    pub(crate) fn new(sessions: usize, begun: Instant, over: Duration) -> Waves {
        let steps = over.as_nanos() / STEP.as_nanos();
        let more = steps.min(sessions.saturating_sub(1) as u128);
        Waves { sessions, begun, over, more }
    }

    /// How many sessions are to be closed by now.
    pub(crate) fn due(&self, now: Instant) -> usize {
        let waves = self.wave(now) + 1;
        // Rounded up; no more than there are, which fit.
        (self.sessions as u128 * waves).div_ceil(self.more + 1) as usize
    }

    /// When the next are due; `None` if nobody is left.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let next = self.wave(now) + 1;
        let after = self.over.as_nanos().saturating_mul(next).checked_div(self.more)?;
        let after = Duration::from_nanos(u64::try_from(after).unwrap_or(u64::MAX));
        // Rounded up to the nanosecond after which it is due.
        (next <= self.more).then(|| self.begun + after + Duration::from_nanos(1))
    }

    /// The number of the latest wave, from 0.
    fn wave(&self, now: Instant) -> u128 {
        let gone = (now - self.begun).as_nanos() * self.more;
        gone.checked_div(self.over.as_nanos()).unwrap_or(self.more).min(self.more)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    const BEGUN: Instant = Instant::from_secs(7);

    /// What a server does with a schedule: when how many are closed, in milliseconds.
    fn play(sessions: usize, over: Duration) -> Vec<(u128, usize)> {
        let waves = Waves::new(sessions, BEGUN, over);
        let (mut now, mut played) = (BEGUN, Vec::new());
        loop {
            played.push(((now - BEGUN).as_millis(), waves.due(now)));
            match waves.next(now) {
                Some(next) => {
                    assert!(next > now, "time goes on");
                    now = next;
                }
                None => return played,
            }
        }
    }

    #[test]
    fn few_sessions_go_one_by_one_over_all_the_time() {
        assert_eq!(play(3, Duration::from_secs(10)), [(0, 1), (5_000, 2), (10_000, 3)]);
        assert_eq!(play(1, Duration::from_secs(10)), [(0, 1)]);
    }

    #[test]
    fn many_sessions_go_in_even_waves_ten_a_second() {
        let played = play(10_000, Duration::from_secs(10));
        assert_eq!(played.len(), 101);
        assert_eq!(
            (played[0], played[50], played[100]),
            ((0, 100), (5_000, 5_050), (10_000, 10_000))
        );
        let largest = played.windows(2).map(|pair| pair[1].1 - pair[0].1).max();
        assert_eq!(largest, Some(99), "no wave is larger than its share");
    }

    #[test]
    fn without_time_all_go_at_once() {
        assert_eq!(play(1_000, Duration::ZERO), [(0, 1_000)]);
        assert_eq!(play(1_000, Duration::from_millis(99)), [(0, 1_000)]);
        assert_eq!(play(0, Duration::from_secs(10)), [(0, 0)]);
    }

    #[test]
    fn everybody_is_due_when_the_time_is_over_whatever_the_numbers() {
        for sessions in 0..200 {
            for millis in [0, 1, 100, 101, 250, 999, 1_000, 3_333] {
                let over = Duration::from_millis(millis);
                let played = play(sessions, over);
                assert!(played.windows(2).all(|pair| pair[0].1 <= pair[1].1));
                assert_eq!(played.last().map(|last| last.1), Some(sessions));
                assert_eq!(Waves::new(sessions, BEGUN, over).due(BEGUN + over), sessions);
            }
        }
        let waves = Waves::new(usize::MAX, BEGUN, Duration::MAX);
        assert!(waves.due(BEGUN) <= usize::MAX / 1_000 && waves.next(BEGUN).is_some());
    }

    #[test]
    fn a_late_look_finds_all_that_was_due_meanwhile() {
        let waves = Waves::new(100, BEGUN, Duration::from_secs(10));
        assert_eq!(waves.due(BEGUN + Duration::from_secs(1_000)), 100);
        assert_eq!(waves.next(BEGUN + Duration::from_secs(1_000)), None);
    }

    #[test]
    fn a_code_that_may_not_be_sent_counts_as_the_default() {
        assert_eq!(Drain::new().code(CloseCode::ABNORMAL), Drain::new());
        let restart = Drain::new().code(CloseCode::SERVICE_RESTART);
        assert_eq!(restart.code, CloseCode::SERVICE_RESTART);
    }
}
