//! Finds out that the peer is gone, and measures how far away it is.

use core::time::Duration;

use super::options::Heartbeat;
use crate::Instant;

/// The state behind a [`Heartbeat`]. The deadline itself stands in the timer table.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// Intervals since the last sign of life.
    missed: u32,
    /// This side does not read: silence is our own doing.
    paused: bool,
    /// The number of the last Ping, which is its payload.
    number: u32,
    /// When it was sent; never, once it is answered.
    sent: Instant,
    /// In nanoseconds; 0 before the first.
    round_trip: u64,
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
    pub(crate) const fn new() -> Pulse {
        Pulse { missed: 0, paused: false, number: 0, sent: Instant::NEVER, round_trip: 0 }
    }

    /// An interval ended.
    pub(crate) fn beat(&mut self, options: Heartbeat, now: Instant) -> Beat {
        if self.gives_up(options) {
            return Beat::Dead;
        }
        self.missed += u32::from(!self.paused);
        self.number = self.number.wrapping_add(1);
        self.sent = now;
        Beat::Ping(self.number.to_be_bytes())
    }

    /// True if the end of the current interval means that the peer is dead. Never before the
    /// peer had a Ping to answer, and never while this side does not read.
    pub(crate) fn gives_up(&self, options: Heartbeat) -> bool {
        !self.paused && self.missed >= options.missed.max(1)
    }

    /// The peer lives.
    pub(crate) fn alive(&mut self) {
        self.missed = 0;
    }

    /// A Pong came; it measures the round trip if it answers our last Ping.
    pub(crate) fn pong(&mut self, payload: &[u8], now: Instant) {
        if payload == self.number.to_be_bytes() && self.sent != Instant::NEVER {
            let sent = core::mem::replace(&mut self.sent, Instant::NEVER);
            self.round_trip = (now.as_nanos() - sent.as_nanos().min(now.as_nanos())).max(1);
        }
    }

    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// The last measured time from a Ping to its Pong.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        (self.round_trip > 0).then(|| Duration::from_nanos(self.round_trip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forgiving(missed: u32) -> Heartbeat {
        Heartbeat::every(Duration::from_secs(10)).missed(missed)
    }

    /// An interval ended without the peer being given up.
    fn pinged(pulse: &mut Pulse, options: Heartbeat) -> [u8; 4] {
        match pulse.beat(options, Instant::from_millis(100)) {
            Beat::Ping(payload) => payload,
            Beat::Dead => panic!("dead"),
        }
    }

    fn is_dead(pulse: &mut Pulse, options: Heartbeat) -> bool {
        pulse.beat(options, Instant::ZERO) == Beat::Dead
    }

    #[test]
    fn a_silent_peer_is_dead_after_one_interval_more_than_is_forgiven() {
        for forgiven in 1..5 {
            let (mut pulse, options) = (Pulse::new(), forgiving(forgiven));
            for _ in 0..forgiven {
                pinged(&mut pulse, options);
            }
            assert!(is_dead(&mut pulse, options));
        }
    }

    #[test]
    fn nobody_is_declared_dead_before_the_first_ping() {
        let mut pulse = Pulse::new();
        pinged(&mut pulse, forgiving(0));
        assert!(is_dead(&mut pulse, forgiving(0)));
    }

    #[test]
    fn any_sign_of_life_starts_the_count_anew() {
        let mut pulse = Pulse::new();
        for _ in 0..10 {
            pinged(&mut pulse, forgiving(1));
            pulse.alive();
        }
    }

    #[test]
    fn intervals_in_which_this_side_does_not_read_are_not_counted() {
        let mut pulse = Pulse::new();
        pulse.pause(true);
        for _ in 0..10 {
            pinged(&mut pulse, forgiving(1));
        }
        pulse.pause(false);
        pinged(&mut pulse, forgiving(1));
        assert!(is_dead(&mut pulse, forgiving(1)));
    }

    #[test]
    fn only_the_answer_to_the_last_ping_measures_the_round_trip() {
        let mut pulse = Pulse::new();
        let first = pinged(&mut pulse, forgiving(3));
        pulse.pong(b"unsolicited", Instant::from_millis(101));
        assert_eq!(pulse.round_trip(), None);
        pulse.pong(&first, Instant::from_millis(107));
        pulse.pong(&first, Instant::from_millis(999));
        assert_eq!(pulse.round_trip(), Some(Duration::from_millis(7)));
    }
}
