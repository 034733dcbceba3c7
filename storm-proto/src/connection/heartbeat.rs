//! Finds out that the peer is gone, and measures how far away it is.

use core::time::Duration;

use super::options::Heartbeat;
use crate::Instant;

/// The state behind a [`Heartbeat`]. The deadline itself stands in the timer table.
#[derive(Debug)]
pub(crate) struct Pulse {
    options: Heartbeat,
    /// Intervals since the last sign of life.
    missed: u32,
    /// This side does not read: silence is our own doing.
    paused: bool,
    /// The number of the last Ping, which is its payload.
    number: u32,
    /// When it was sent, until it is answered.
    sent: Option<Instant>,
    round_trip: Option<Duration>,
}

/// What an interval brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Beat {
    /// Send a Ping with this payload.
    Ping([u8; 4]),
    /// The peer is dead.
    Dead,
}

impl Pulse {
    pub(crate) fn new(options: Heartbeat) -> Pulse {
        Pulse { options, missed: 0, paused: false, number: 0, sent: None, round_trip: None }
    }

    /// When the next interval ends, counted from `now`.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        self.options.interval.map(|interval| now + interval)
    }

    /// An interval ended.
    pub(crate) fn beat(&mut self, now: Instant) -> Beat {
        if !self.paused {
            // Never before the peer had a Ping to answer.
            if self.missed >= self.options.missed.max(1) {
                return Beat::Dead;
            }
            self.missed += 1;
        }
        self.number = self.number.wrapping_add(1);
        self.sent = Some(now);
        Beat::Ping(self.number.to_be_bytes())
    }

    /// The peer lives.
    pub(crate) fn alive(&mut self) {
        self.missed = 0;
    }

    /// A Pong came; it measures the round trip if it answers our last Ping.
    pub(crate) fn pong(&mut self, payload: &[u8], now: Instant) {
        if payload == self.number.to_be_bytes()
            && let Some(sent) = self.sent.take()
        {
            self.round_trip = Some(now - sent);
        }
    }

    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// The last measured time from a Ping to its Pong.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(missed: u32) -> Pulse {
        Pulse::new(Heartbeat::every(Duration::from_secs(10)).missed(missed))
    }

    #[test]
    fn a_silent_peer_is_dead_after_one_interval_more_than_is_forgiven() {
        for forgiven in 1..5 {
            let mut pulse = pulse(forgiven);
            for _ in 0..forgiven {
                assert!(matches!(pulse.beat(Instant::ZERO), Beat::Ping(_)));
            }
            assert_eq!(pulse.beat(Instant::ZERO), Beat::Dead);
        }
    }

    #[test]
    fn nobody_is_declared_dead_before_the_first_ping() {
        let mut pulse = pulse(0);
        assert!(matches!(pulse.beat(Instant::ZERO), Beat::Ping(_)));
        assert_eq!(pulse.beat(Instant::ZERO), Beat::Dead);
    }

    #[test]
    fn any_sign_of_life_starts_the_count_anew() {
        let mut pulse = pulse(1);
        for _ in 0..10 {
            assert!(matches!(pulse.beat(Instant::ZERO), Beat::Ping(_)));
            pulse.alive();
        }
    }

    #[test]
    fn intervals_in_which_this_side_does_not_read_are_not_counted() {
        let mut pulse = pulse(1);
        pulse.pause(true);
        for _ in 0..10 {
            assert!(matches!(pulse.beat(Instant::ZERO), Beat::Ping(_)));
        }
        pulse.pause(false);
        assert!(matches!(pulse.beat(Instant::ZERO), Beat::Ping(_)));
        assert_eq!(pulse.beat(Instant::ZERO), Beat::Dead);
    }

    #[test]
    fn only_the_answer_to_the_last_ping_measures_the_round_trip() {
        let mut pulse = pulse(3);
        let Beat::Ping(first) = pulse.beat(Instant::from_millis(100)) else { panic!("dead") };
        pulse.pong(b"unsolicited", Instant::from_millis(101));
        assert_eq!(pulse.round_trip(), None);
        pulse.pong(&first, Instant::from_millis(107));
        pulse.pong(&first, Instant::from_millis(999));
        assert_eq!(pulse.round_trip(), Some(Duration::from_millis(7)));
    }
}
