//! In which order, and when, the addresses of a host are tried (RFC 8305, happy eyeballs).
//!
//! A route that is broken swallows an attempt for many seconds. So the next address does not
//! wait for the last one to fail: it starts a little later, in the other family first, and
//! the first connection wins.

use alloc::collections::BTreeSet;
use alloc::vec::{IntoIter, Vec};
use core::net::SocketAddr;
use core::time::Duration;

use crate::Instant;

/// The head start of an attempt over the next one: the delay that RFC 8305 section 8
/// recommends. A dead route costs this much.
pub(crate) const STAGGER: Duration = Duration::from_millis(250);

/// The attempts of one connect. The caller makes them; whichever connects first ends the
/// plan, and the others are dropped.
#[derive(Debug)]
pub(crate) struct DialPlan {
    left: IntoIter<SocketAddr>,
    stagger: Duration,
    /// When the next attempt may start.
    next: Instant,
    started: usize,
    /// The attempts whose end is not known.
    under_way: Vec<usize>,
}

impl DialPlan {
    /// A plan for `addresses`, in the order in which the look-up prefers them; the first
    /// attempt is due `now`.
    pub(crate) fn new(addresses: Vec<SocketAddr>, stagger: Duration, now: Instant) -> DialPlan {
        let left = interleave(addresses).into_iter();
        DialPlan { left, stagger, next: now, started: 0, under_way: Vec::new() }
    }

    /// The attempt to start now, if one is due: its number and its address. Never a second
    /// one at the same time.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<(usize, SocketAddr)> {
        if now < self.next {
            return None;
        }
        let address = self.left.next()?;
        self.started += 1;
        self.under_way.push(self.started);
        self.next = now + self.stagger;
        Some((self.started, address))
    }

    /// When the next attempt is due; none if every address has had one.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        (!self.left.as_slice().is_empty()).then_some(self.next)
    }

    /// An attempt failed; the next one is due at once (section 5).
    pub(crate) fn failed(&mut self, id: usize, now: Instant) {
        self.under_way.retain(|&under_way| under_way != id);
        self.next = self.next.min(now);
    }

    /// True once every address was tried and every attempt failed.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.left.as_slice().is_empty() && self.under_way.is_empty()
    }
}

/// Each address once, the families in turn, that of the first address first (section 4). The
/// order within a family stays.
fn interleave(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut seen = BTreeSet::new();
    addresses.retain(|&address| seen.insert(address));
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut turns = Vec::with_capacity(first.len() + other.len());
    while first.len() + other.len() > 0 {
        turns.extend(first.next());
        turns.extend(other.next());
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses by their first letter: `a` is IPv6, `1` is IPv4.
    fn addresses(names: &str) -> Vec<SocketAddr> {
        let address = |name: char| match name {
            'a'..='f' => alloc::format!("[2001:db8::{name}]:80").parse().unwrap(),
            _ => alloc::format!("192.0.2.{name}:80").parse().unwrap(),
        };
        names.chars().map(address).collect()
    }

    fn plan(names: &str) -> DialPlan {
        DialPlan::new(addresses(names), STAGGER, Instant::ZERO)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn families_take_turns_from_that_of_the_first_address() {
        for (found, tried) in [
            ("abc123", "a1b2c3"),
            ("123abc", "1a2b3c"),
            ("abc1", "a1bc"),
            ("a123", "a123"),
            ("a12bc", "a1b2c"),
            ("123", "123"),
            ("a", "a"),
            ("", ""),
        ] {
            assert_eq!(interleave(addresses(found)), addresses(tried), "{found}");
        }
    }

    #[test]
    fn an_address_that_was_found_twice_is_tried_once() {
        assert_eq!(interleave(addresses("1a1aab")), addresses("1ab"));
    }

    #[test]
    fn a_dead_ipv6_route_costs_250_ms() {
        let mut plan = plan("a1");
        assert_eq!(plan.poll(at(0)), Some((1, addresses("a")[0])));
        assert_eq!(plan.poll_timeout(), Some(at(250)));
        assert_eq!(plan.poll(at(249)), None);
        assert_eq!(plan.poll(at(250)), Some((2, addresses("1")[0])));
        assert_eq!(plan.poll_timeout(), None);
    }

    #[test]
    fn a_failure_starts_the_next_attempt_at_once() {
        let mut plan = plan("a1b");
        assert_eq!(plan.poll(at(0)).unwrap().0, 1);
        plan.failed(1, at(3));
        assert_eq!(plan.poll_timeout(), Some(at(3)));
        assert_eq!(plan.poll(at(3)).unwrap().0, 2);
        // The third has its own head start to wait for, from the second on.
        assert_eq!(plan.poll(at(3)), None);
        assert_eq!(plan.poll_timeout(), Some(at(253)));
    }

    #[test]
    fn attempts_start_one_at_a_time_however_many_fail_or_however_late_it_is() {
        let mut plan = plan("a1b2c");
        for (id, time) in [(1, 0), (2, 250)] {
            assert_eq!(plan.poll(at(time)).unwrap().0, id);
        }
        plan.failed(1, at(300));
        plan.failed(2, at(300));
        assert_eq!(plan.poll(at(300)).unwrap().0, 3);
        assert_eq!(plan.poll(at(300)), None);
        assert_eq!(plan.poll(at(9000)).unwrap().0, 4);
        assert_eq!(plan.poll(at(9000)), None);
    }

    #[test]
    fn a_failure_that_is_told_late_does_not_put_off_an_attempt_that_is_due() {
        let mut plan = plan("a1");
        assert!(plan.poll(at(0)).is_some());
        plan.failed(1, at(400));
        assert_eq!(plan.poll_timeout(), Some(at(250)));
    }

    #[test]
    fn a_plan_is_exhausted_when_the_last_attempt_failed() {
        let mut plan = plan("a1");
        for time in [0, 250] {
            assert!(plan.poll(at(time)).is_some());
        }
        plan.failed(2, at(260));
        plan.failed(2, at(260));
        assert_eq!(plan.poll(at(999)), None);
        assert!(!plan.is_exhausted(), "the first may still connect");
        plan.failed(1, at(999));
        assert!(plan.is_exhausted());
    }

    #[test]
    fn a_host_without_addresses_is_exhausted_from_the_start() {
        let mut plan = plan("");
        assert_eq!((plan.poll(at(0)), plan.poll_timeout()), (None, None));
        assert!(plan.is_exhausted());
    }
}
